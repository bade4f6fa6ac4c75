"""Which pairs of ground stations the sky must serve: what fibres alone leave unmet, between the stations nearest to those who want it."""

from __future__ import annotations

from collections import deque

import numpy as np
from numpy.typing import NDArray

from tiandi.planning.inputs import StudyInputs
from tiandi.planning.relay_flow import FluidRelay


def station_pairs(inputs: StudyInputs, rate_bps: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Pairs of numbers of stations, shape (pairs, 2), and the key [bit/s] that each is to carry for the demands behind it, shape (pairs,).

    ``rate_bps`` is what each link of the topology makes all the time. An end stands for the station that the fewest such links lie
    before; demands whose ends have the same station, or one of them none, ask nothing of the sky.
    """
    if not inputs.stations or not inputs.demands:
        return np.empty((0, 2), np.int64), np.empty(0)
    wanted = np.array([demand.rate_bps for demand in inputs.demands])
    unmet = wanted - FluidRelay(inputs.topology, inputs.demands).share_out(rate_bps, wanted).carried_bit
    nearest = _nearest_stations(inputs)
    asked: dict[tuple[int, int], float] = {}
    for demand, missing in zip(inputs.demands, unmet, strict=True):
        one, other = sorted(nearest.get(end, -1) for end in demand.ends)
        if missing > 1e-9 * demand.rate_bps and 0 <= one < other:
            asked[one, other] = asked.get((one, other), 0.0) + float(missing)
    return np.array(list(asked), np.int64).reshape(-1, 2), np.array(list(asked.values()), float)


def _nearest_stations(inputs: StudyInputs) -> dict[str, int]:
    """The number of the station nearest to each node over links that work all the time; nodes that reach none are not in it."""
    neighbours: dict[str, list[str]] = {name: [] for name in inputs.topology.nodes}
    for link in inputs.topology.links.values():
        if link.kind != "downlink":
            neighbours[link.ends[0]].append(link.ends[1])
            neighbours[link.ends[1]].append(link.ends[0])
    nearest = {station.name: number for number, station in enumerate(inputs.stations)}
    waiting = deque(nearest)
    while waiting:
        name = waiting.popleft()
        for neighbour in neighbours[name]:
            if neighbour not in nearest:
                nearest[neighbour] = nearest[name]
                if inputs.topology.nodes[neighbour].relays:
                    waiting.append(neighbour)
    return nearest
