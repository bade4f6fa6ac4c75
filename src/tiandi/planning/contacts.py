"""Every contact of a study: when a satellite serves a station in the dark, and the key that finite-key analysis expects of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from multiprocessing import get_context
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tiandi.clock import julian_dates
from tiandi.errors import InputError
from tiandi.limits import require_within
from tiandi.physics.eclipse import sunlit_fraction
from tiandi.physics.moon import moon_illuminated_fraction, moon_positions
from tiandi.physics.orbit import propagate
from tiandi.physics.pass_search import PassRows, PassSearch, Places
from tiandi.physics.sky import CLEAR_NIGHT, sky_radiance
from tiandi.physics.sun import sun_positions
from tiandi.planning.inputs import PlannedSatellite, PlannedStation, StudyInputs
from tiandi.planning.pass_key import SkyLink
from tiandi.planning.watches import watches

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]

CONTACT_ROW = np.dtype(
    [
        ("satellite", np.int64),
        ("station", np.int64),
        ("start_s", np.float64),
        ("end_s", np.float64),
        ("culmination_s", np.float64),
        ("culmination_deg", np.float64),
        ("closest_km", np.float64),
        ("sifted_bit", np.float64),
        ("secret_bit", np.float64),
    ]
)
"""One contact: satellite and station by number, times in seconds after the table's start, bits expected under clear sky."""

NODES = 20
"""Gauss-Legendre nodes of a contact; more change no figure by a thousandth in a low orbit."""
HIGH_ORBIT_PERIOD_S = 4 * 3600.0
"""Satellites slower than this may stay up for longer than a night: their contacts are cut to it, not found as passes."""


@dataclass(frozen=True)
class ContactTable:
    """Contacts of ``satellites`` and ``stations`` (names) by satellite, station and time; ``rows`` is an array of `CONTACT_ROW`."""

    satellites: tuple[str, ...]
    stations: tuple[str, ...]
    start: datetime
    rows: NDArray[np.void]

    def __len__(self) -> int:
        return self.rows.size


@dataclass(frozen=True)
class _Task:
    """A satellite and the stations that its downlinks lead to, ``numbers`` being theirs in the study."""

    number: int
    satellite: PlannedSatellite
    stations: tuple[PlannedStation, ...]
    numbers: Indices
    epsilon_secrecy: float
    epsilon_correctness: float
    start: datetime
    end_s: float

    def links(self) -> list[SkyLink]:
        """Its downlinks, in the order of its stations. Raises InputError as `SkyLink` does."""
        return [
            SkyLink(
                self.satellite.transmitter,
                station.receiver,
                station.zenith_extinction_db,
                epsilon_secrecy=self.epsilon_secrecy,
                epsilon_correctness=self.epsilon_correctness,
            )
            for station in self.stations
        ]


def tabulate_contacts(
    inputs: StudyInputs,
    *,
    start: datetime,
    end: datetime,
    workers: int = 1,
    progress: Callable[[float], None] | None = None,
) -> ContactTable:
    """Contacts over every link of kind "downlink" whose highest point lies in [``start``, ``end``], with the key of each alone.

    A contact is the part of a pass within the station's `Visibility` and its maximum range; the sun counts when the satellite culminates.
    Where the satellite may not work in sunlight, all of a contact is in the Earth's shadow. A satellite that takes longer than four hours
    for a revolution is up for long: its contacts are cut to the night, and those under way at the ends of the window to the window. The
    data sheets' background is taken as that of a dark sky, and grows with moon and twilight as `tiandi.physics.sky` has it; clouds are
    left out. Satellites are shared out among ``workers`` processes, each of which takes as long to start as a year of ten satellites over
    twenty stations takes one of them; ``progress`` is told which share of the satellites is done.

    Raises InputError when the window is empty, a downlink lacks its satellite or station, or a data sheet lacks what it needs, and
    ElementsError when elements are too old for the window.
    """
    if end <= start:
        raise InputError("to", end.isoformat(), f"must be later than from = {start.isoformat()}")
    require_within("workers", workers, 1, 1024)
    tasks = list(_tasks(inputs, start, end))
    found: list[NDArray[np.void]] = [np.empty(0, CONTACT_ROW)]
    for done, rows in enumerate(_carried_out(tasks, workers), 1):
        found.append(rows)
        if progress is not None:
            progress(done / len(tasks))
    satellites, stations = (tuple(item.name for item in items) for items in (inputs.satellites, inputs.stations))
    return ContactTable(satellites, stations, start, np.concatenate(found))


def _tasks(inputs: StudyInputs, start: datetime, end: datetime) -> Iterator[_Task]:
    """One task a satellite that has downlinks; everything is checked before the first is carried out."""
    downlinks = [link for link in inputs.topology.links.values() if link.kind == "downlink"]
    satellites = {satellite.name: satellite for satellite in inputs.satellites}
    stations = {station.name: number for number, station in enumerate(inputs.stations)}
    served: dict[str, set[int]] = {name: set() for name in satellites}
    for link in downlinks:
        satellite, station = link.ends if link.ends[0] in satellites else link.ends[::-1]
        if satellite not in satellites or station not in stations:
            raise InputError(f"links ({link.name}).ends", link.ends, "a downlink joins a satellite and a ground station of the study")
        served[satellite].add(stations[station])
    for number, (name, planned) in enumerate(satellites.items()):
        if not served[name]:
            continue
        for moment in (start, end):
            planned.elements.require_age(moment)
        numbers = np.array(sorted(served[name]), np.int64)
        task = _Task(
            number,
            planned,
            tuple(inputs.stations[index] for index in numbers),
            numbers,
            inputs.epsilon_secrecy,
            inputs.epsilon_correctness,
            start,
            (end - start).total_seconds(),
        )
        task.links()
        yield task


def _carried_out(tasks: list[_Task], workers: int) -> Iterable[NDArray[np.void]]:
    if workers == 1 or len(tasks) < 2:
        yield from map(_contacts, tasks)
        return
    with ProcessPoolExecutor(min(workers, len(tasks)), mp_context=get_context("spawn")) as pool:
        yield from pool.map(_contacts, tasks)


class _Sky(NamedTuple):
    """Contacts of a satellite and what its nodes see, arrays of shape (n, nodes); stations go by their number in the task."""

    rows: NDArray[np.void]
    weights_s: Floats
    sine: Floats
    range_km: Floats
    brightness: Floats


def _contacts(task: _Task) -> NDArray[np.void]:
    """All contacts of a satellite, by station and time, with their bits."""
    high = task.satellite.elements.period_s > HIGH_ORBIT_PERIOD_S
    parts = list(_high_contacts(task) if high else _low_contacts(task))
    rows, weights_s, sine, range_km, brightness = (np.concatenate(column) for column in zip(*parts, strict=True))
    elevation_deg = np.degrees(np.arcsin(np.clip(sine, 0.0, 1.0)))
    numbers: dict[SkyLink, list[int]] = {}
    for number, link in enumerate(task.links()):
        numbers.setdefault(link, []).append(number)
    for link, alike in numbers.items():
        these = np.flatnonzero(np.isin(rows["station"], alike))
        rows["sifted_bit"][these], rows["secret_bit"][these] = link.expected_key(
            range_km[these], elevation_deg[these], duration_s=weights_s[these], brightness=brightness[these]
        )
    rows["satellite"], rows["station"] = task.number, task.numbers[rows["station"]]
    return np.asarray(rows[np.lexsort((rows["start_s"], rows["station"]))])


def _low_contacts(task: _Task) -> Iterator[_Sky]:
    """Contacts of a satellite that rises and sets, some weeks at a time."""
    stations = [planned.station for planned in task.stations]
    visibilities = [planned.visibility for planned in task.stations]
    maximum_range_km = np.array([planned.maximum_range_km for planned in task.stations])
    search = PassSearch(task.satellite.elements, stations, task.start)
    chunks = search.chunks(
        task.end_s,
        [visibility.elevation_cutoff_deg for visibility in visibilities],
        culmination_deg=[visibility.culmination_deg for visibility in visibilities],
        sun_elevation_limit_deg=[visibility.sun_elevation_limit_deg for visibility in visibilities],
    )
    for way, passes in chunks:
        reached = way.within_reach(passes, maximum_range_km[passes["station"]])
        usable = reached[:, 1] > reached[:, 0]
        rows = _rows(passes[usable], *reached[usable].T)
        rows = rows[_allowed(task, rows)]
        times_s, weights_s = _nodes(rows)
        sine, range_km = way.look(np.ascontiguousarray(rows["station"]), times_s)
        # Twilight fades exponentially: its logarithm is nearly straight.
        brightness = np.exp(np.log(_brightness(task, way.places, rows, _thirds(rows))) @ _PARABOLA)
        yield _Sky(rows, weights_s, sine, range_km, brightness)


def _high_contacts(task: _Task) -> Iterator[_Sky]:
    """Contacts of a satellite that stays up for hours or always, cut to the nights."""
    for number, planned in enumerate(task.stations):
        found = watches(
            task.satellite.elements,
            planned.station,
            start=task.start,
            end_s=task.end_s,
            visibility=planned.visibility,
            maximum_range_km=planned.maximum_range_km,
        )
        found["station"] = number
        rows = _rows(found, found["start_s"], found["end_s"])
        rows = rows[_allowed(task, rows)]
        times_s, weights_s = _nodes(rows)
        places = Places([item.station for item in task.stations])
        positions = propagate(task.satellite.elements, julian_dates(task.start, times_s.ravel()))
        away = positions - places.rows[number, :3]
        range_km = np.sqrt(np.einsum("ij,ij->i", away, away))
        sine = (away @ places.rows[number, 3:] / range_km).reshape(times_s.shape)
        yield _Sky(rows, weights_s, sine, range_km.reshape(times_s.shape), _brightness(task, places, rows, times_s))


def _rows(passes: PassRows, start_s: Floats, end_s: Floats) -> NDArray[np.void]:
    rows = np.zeros(passes.size, CONTACT_ROW)
    for name in ("station", "culmination_deg", "closest_km"):
        rows[name] = passes[name]
    rows["start_s"], rows["end_s"] = start_s, end_s
    rows["culmination_s"] = np.clip(passes["culmination_s"], start_s, end_s)
    return rows


def _allowed(task: _Task, rows: NDArray[np.void]) -> NDArray[np.bool_]:
    """Whether the satellite may work: in sunlight too, or all of the contact is in the Earth's shadow."""
    if task.satellite.sunlit_allowed or not rows.size:
        return np.ones(rows.size, np.bool_)
    dates = julian_dates(task.start, _thirds(rows).ravel())
    lit = sunlit_fraction(propagate(task.satellite.elements, dates), dates).reshape(-1, 3)
    return np.asarray(lit.max(axis=1) == 0.0)


_POINTS, _WEIGHTS = np.polynomial.legendre.leggauss(NODES)
_PARABOLA = np.stack([0.5 * _POINTS * (_POINTS - 1.0), 1.0 - _POINTS**2, 0.5 * _POINTS * (_POINTS + 1.0)])
"""What start, middle and end of a contact give at its nodes, by the parabola through them, shape (3, nodes)."""


def _thirds(rows: NDArray[np.void]) -> Floats:
    """Start, middle and end of each contact [s], shape (n, 3)."""
    return np.stack([rows["start_s"], 0.5 * (rows["start_s"] + rows["end_s"]), rows["end_s"]], axis=1)


def _nodes(rows: NDArray[np.void]) -> tuple[Floats, Floats]:
    """Moments [s] of the nodes of each contact and the seconds each stands for, both of shape (n, nodes)."""
    half_s = 0.5 * (rows["end_s"] - rows["start_s"])[:, None]
    return rows["start_s"][:, None] + half_s * (1.0 + _POINTS), half_s * _WEIGHTS


def _brightness(task: _Task, places: Places, rows: NDArray[np.void], times_s: Floats) -> Floats:
    """How often brighter than a dark sky the sky over each contact's station is at ``times_s`` (n, m), of that shape."""
    dates = julian_dates(task.start, times_s.ravel())
    station = np.repeat(rows["station"], times_s.shape[1])
    sun_deg, moon_deg = (np.degrees(np.arcsin(places.sine(body(dates), station))) for body in (sun_positions, moon_positions))
    radiance = sky_radiance(sun_deg, moon_elevation_deg=moon_deg, illuminated_fraction=moon_illuminated_fraction(dates))
    return np.asarray(radiance / CLEAR_NIGHT).reshape(times_s.shape)
