"""What one more satellite, station, telescope, metre of aperture or relay buys: the same weather again, with the change and without."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from math import degrees, nan

import numpy as np

from tiandi.constants import EARTH_EQUATORIAL_RADIUS_KM, JULIAN_DATE_UNIX_EPOCH, SECONDS_PER_DAY
from tiandi.control.topology import Link, Node
from tiandi.physics.constellation import designed_orbit
from tiandi.physics.orbit import Elements, Station
from tiandi.planning.inputs import PlannedStation, Prices, StudyInputs
from tiandi.planning.results import MarginalValue, StudyResult
from tiandi.planning.study import run_study

APERTURE_STEP_M = 0.1
"""A metre more would change some telescopes beyond recognition."""
FIBRE_LOSS_DB_PER_KM = 0.2
"""For what a relay in the middle of a fibre gains [assumed]: the rate of decoy-state BB84 falls as the light does."""


@dataclass(frozen=True)
class Change:
    """One more of something: what kind, in words, the study with it, and what it costs."""

    kind: str
    what: str
    inputs: StudyInputs
    cost: float | None


def marginal_values(
    result: StudyResult,
    *,
    workers: int | None = None,
    scheduler: str | None = None,
    progress: Callable[[str, float], None] | None = None,
) -> tuple[MarginalValue, ...]:
    """What each of `changes` adds to the key of all pairs together [bit/day], the most first.

    Every change is studied under the seeds of ``result``, so that weather cancels out of the difference; its error is the standard error
    of the mean of the differences.
    """
    tried = list(changes(result))
    before = result.key_per_day_bit().sum(axis=1)
    found = []
    for done, change in enumerate(tried):
        if progress is not None:
            progress(f"one more {change.kind}", done / len(tried))
        study = run_study(
            change.inputs,
            start=result.start,
            end=result.end,
            seeds=len(result.seeds),
            first_seed=result.seeds[0],
            workers=workers,
            scheduler=scheduler,
        )
        gained = study.key_per_day_bit().sum(axis=1) - before
        error = float(gained.std(ddof=1) / np.sqrt(gained.size)) if gained.size > 1 else nan
        found.append(MarginalValue(change.kind, change.what, float(gained.mean()), error, change.cost))
    return tuple(sorted(found, key=lambda value: -value.gained_bit_per_day))


def changes(result: StudyResult) -> Iterator[Change]:
    """One more of everything that the study has, each where it promises most."""
    inputs = result.inputs
    prices = inputs.prices or Prices()
    if inputs.satellites:
        yield _one_more_satellite(inputs, prices)
    if inputs.stations:
        yield from _one_more_station(result, prices)
        aperture = _more_aperture(inputs, prices)
        if aperture is not None:
            yield aperture
    yield from _more_fibre(result, prices)


def _one_more_satellite(inputs: StudyInputs, prices: Prices) -> Change:
    """Like the first, in the same plane, which sees the same hours of night, half a revolution further."""
    like = inputs.satellites[0]
    name = _free_name(inputs, f"{like.name} (one more)")
    more = replace(like, elements=_turned(like.elements, name))
    links = [
        replace(link, name=_free_name(inputs, f"{link.name} (one more)"), ends=_instead(link.ends, like.name, name))
        for link in inputs.topology.links.values()
        if link.kind == "downlink" and like.name in link.ends
    ]
    topology = inputs.topology.with_changes(put=[replace(inputs.topology.nodes[like.name], name=name), *links])
    what = f"like {like.name}, half a revolution further"
    return Change("satellite", what, replace(inputs, topology=topology, satellites=(*inputs.satellites, more)), prices.satellite)


def _turned(elements: Elements, name: str) -> Elements:
    """The orbit of ``elements``, without drag, half a revolution further."""
    satellite = elements.satellite
    epoch = datetime.fromtimestamp((elements.epoch_julian_date - JULIAN_DATE_UNIX_EPOCH) * SECONDS_PER_DAY, UTC)
    return designed_orbit(
        name,
        epoch=epoch,
        altitude_km=(satellite.a - 1.0) * EARTH_EQUATORIAL_RADIUS_KM,
        inclination_deg=degrees(satellite.inclo),
        eccentricity=satellite.ecco,
        node_deg=degrees(satellite.nodeo),
        argument_of_perigee_deg=degrees(satellite.argpo),
        mean_anomaly_deg=degrees(satellite.mo) + 180.0,
    )


def _one_more_station(result: StudyResult, prices: Prices) -> Iterator[Change]:
    """A station where key is wanted and there is none, and a second telescope where the most contacts are."""
    inputs = result.inputs
    busiest = int(result.contacts_planned.sum(axis=(0, 1)).argmax())
    own = inputs.stations[busiest]
    stations = tuple(replace(item, telescopes=item.telescopes + 1) if item is own else item for item in inputs.stations)
    yield Change("telescope", f"at {own.name}", replace(inputs, stations=stations), None)
    short = (result.wanted_bit - result.carried_bit.mean(axis=0)).sum(axis=0)
    have = {station.name for station in inputs.stations}
    for pair in np.argsort(-short, kind="stable"):
        for end in inputs.demands[pair].ends:
            node = inputs.topology.nodes[end]
            if end not in have and node.latitude_deg is not None and node.longitude_deg is not None:
                yield _station_at(inputs, own, node, prices)
                return


def _station_at(inputs: StudyInputs, like: PlannedStation, node: Node, prices: Prices) -> Change:
    """A station beside ``node``, equipped as ``like`` and under its climate, joined to the node by more than any sky brings."""
    assert node.latitude_deg is not None
    assert node.longitude_deg is not None
    name = _free_name(inputs, f"station at {node.name}")
    station = replace(like, station=Station(name, node.latitude_deg, node.longitude_deg, node.altitude_m))
    place = Node(name, "ground station", node.trust, node.latitude_deg, node.longitude_deg, node.altitude_m)
    downlinks = [
        Link(_free_name(inputs, f"{satellite.name} - {name}"), (satellite.name, name), "downlink") for satellite in inputs.satellites
    ]
    topology = inputs.topology.with_changes(
        put=[place, Link(_free_name(inputs, f"{name} - fibre"), (name, node.name), rate_bps=1e9), *downlinks]
    )
    what = f"at {node.name}, equipped as {like.name}"
    cost = prices.station
    if cost is not None:
        cost += (prices.aperture_per_metre or 0.0) * (like.receiver.aperture_m or 0.0)
    return Change("station", what, replace(inputs, topology=topology, stations=(*inputs.stations, station)), cost)


def _more_aperture(inputs: StudyInputs, prices: Prices) -> Change | None:
    """Every telescope on the ground a little larger."""
    wider = [
        replace(item, receiver=replace(item.receiver, aperture_m=item.receiver.aperture_m + APERTURE_STEP_M))
        for item in inputs.stations
        if item.receiver.aperture_m is not None
    ]
    if len(wider) < len(inputs.stations):
        return None
    cost = None if prices.aperture_per_metre is None else prices.aperture_per_metre * APERTURE_STEP_M * len(wider)
    return Change("aperture", f"{APERTURE_STEP_M:g} m at every station", replace(inputs, stations=tuple(wider)), cost)


def _more_fibre(result: StudyResult, prices: Prices) -> Iterator[Change]:
    """On the link that limits most pairs on most days: as many systems again, and a relay in its middle."""
    inputs = result.inputs
    links = list(inputs.topology.links.values())
    limiting = np.bincount(result.bottleneck[result.bottleneck >= 0], minlength=len(links))
    steady = np.array([link.kind == "fibre" for link in links])
    if not (limiting * steady).any():
        return
    fullest = links[int((limiting * steady).argmax())]
    second = replace(fullest, rate_bps=2.0 * fullest.rate_bps)
    yield Change("system", f"as many again on {fullest.name}", replace(inputs, topology=inputs.topology.with_changes(put=[second])), None)
    if fullest.length_km > 0.0:
        gain = 10.0 ** (FIBRE_LOSS_DB_PER_KM * fullest.length_km / 2.0 / 10.0)
        relay = _free_name(inputs, f"relay on {fullest.name}")
        halves = [
            replace(
                fullest,
                name=_free_name(inputs, f"{fullest.name} ({part})"),
                ends=ends,
                rate_bps=gain * fullest.rate_bps,
                length_km=0.5 * fullest.length_km,
            )
            for part, ends in (("first half", (fullest.ends[0], relay)), ("second half", (relay, fullest.ends[1])))
        ]
        topology = inputs.topology.with_changes(put=[Node(relay), *halves], remove=[fullest.name])
        yield Change("relay", f"in the middle of {fullest.name}", replace(inputs, topology=topology), prices.relay)


def _instead(ends: tuple[str, str], old: str, new: str) -> tuple[str, str]:
    return (new, ends[1]) if ends[0] == old else (ends[0], new)


def _free_name(inputs: StudyInputs, name: str) -> str:
    """``name``, or with a sign behind it until no node or link has it."""
    while name in inputs.topology.nodes or name in inputs.topology.links:
        name += "+"
    return name
