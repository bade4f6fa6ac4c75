"""Similarity of graphs: feature vectors of the samples of a machine that holds each graph, compared as vectors.

A sample's orbit is its photon numbers in descending order without the zeros; an event E(k, n) is all samples of k photons with at most n in
any mode. Their probabilities do not depend on how vertices are numbered: Schuld, Bradler, Israel, Su and Gupt, Phys. Rev. A 101, 032314
(2020), doi 10.1103/PhysRevA.101.032314, arXiv 1905.12646. Events without a bound n depend on the graph's spectrum alone, and are exact in
no time by `exact.totals`; so are closed walks, which serve as the rival.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tiandi.computing.photonics.exact.photon_numbers import photon_probability
from tiandi.computing.photonics.gaussian import CountArray, FloatArray, GaussianState
from tiandi.computing.photonics.uses.encoding import require_graph
from tiandi.errors import InputError
from tiandi.limits import require_within

Orbit = tuple[int, ...]
MOST_PATTERNS = 100_000
MOST_PHOTONS = 40


@dataclass(frozen=True, eq=False)
class Features:
    """A graph as a vector of probabilities, with the standard error of each; 0 where it is exact."""

    values: FloatArray
    errors: FloatArray


def orbits(photons: int, largest: int | None = None) -> list[Orbit]:
    """The orbits of ``photons`` with at most ``largest`` in any mode, in descending order: (3,), (2, 1), (1, 1, 1)."""
    require_within("photons", photons, 0, MOST_PHOTONS)
    return list(_partitions(photons, photons if largest is None else largest))


def orbit_features(samples: CountArray, chosen: Sequence[Orbit]) -> Features:
    """Shares of ``samples`` (number, modes) in each of the ``chosen`` orbits."""
    rows = -np.sort(-_require_samples(samples).astype(np.int64), axis=1)
    return _shares([(rows == _padded(orbit, rows.shape[1])).all(axis=1) for orbit in chosen])


def event_features(samples: CountArray, photons: Sequence[int], largest: int) -> Features:
    """Shares of ``samples`` (number, modes) in the events E(k, ``largest``), k in ``photons``."""
    rows = _require_samples(samples)
    totals, highest = rows.sum(axis=1, dtype=np.int64), rows.max(axis=1)
    return _shares([(totals == k) & (highest <= largest) for k in photons])


def exact_orbit_features(state: GaussianState, chosen: Sequence[Orbit]) -> Features:
    """Probabilities of the ``chosen`` orbits, added up over all patterns; InputError, with their number, above 100,000."""
    wanted = sum(_pattern_count(orbit, state.modes) for orbit in chosen)
    if wanted > MOST_PATTERNS:
        raise InputError("patterns", wanted, f"must be at most {MOST_PATTERNS} in all orbits together")
    values = [sum(photon_probability(state, pattern) for pattern in _patterns(orbit, state.modes)) for orbit in chosen]
    return Features(np.array(values), np.zeros(len(values)))


def closed_walks(adjacency: ArrayLike, longest: int) -> Features:
    """Closed walks of 2 to ``longest`` steps over n (n - 1)^(steps - 1), those of a complete graph roughly: classical features."""
    graph = require_graph(adjacency)
    require_within("longest", longest, 2, 60)
    eigenvalues = np.linalg.eigvalsh(graph.astype(float)) / max(1, len(graph) - 1)
    values = np.array([(eigenvalues**steps).sum() for steps in range(2, longest + 1)])
    return Features(values, np.zeros(len(values)))


def similarity(features: Sequence[Features], *, width: float | None = None) -> FloatArray:
    """(graphs, graphs): exp(-|f - g|^2 / (2 width^2)) of the vectors; without ``width`` their scalar products."""
    table = np.stack([one.values for one in features])
    if width is None:
        return table @ table.T
    require_within("width", width, 1e-12, 1e12)
    distances = ((table[:, None] - table[None]) ** 2).sum(axis=2)
    return np.asarray(np.exp(-distances / (2 * width**2)))


def leave_one_out(features: Sequence[Features], labels: Sequence[int]) -> float:
    """Share of graphs whose nearest neighbour among all others, each feature scaled to unit variance, has the same label."""
    table = np.stack([one.values for one in features])
    if len(labels) != len(table) or len(table) < 2:
        raise InputError("labels", len(labels), f"must be one for each of at least two graphs, {len(table)} here")
    deviation = table.std(axis=0)
    scaled = table[:, deviation > 0] / deviation[deviation > 0]
    distances = ((scaled[:, None] - scaled[None]) ** 2).sum(axis=2)
    np.fill_diagonal(distances, np.inf)
    known = np.asarray(labels)
    return float((known[distances.argmin(axis=1)] == known).mean())


def _partitions(total: int, largest: int) -> Iterator[Orbit]:
    if total == 0:
        yield ()
    for first in range(min(total, largest), 0, -1):
        yield from ((first, *rest) for rest in _partitions(total - first, first))


def _pattern_count(orbit: Orbit, modes: int) -> int:
    if len(orbit) > modes:
        return 0
    return math.perm(modes, len(orbit)) // math.prod(math.factorial(orbit.count(photons)) for photons in set(orbit))


def _patterns(orbit: Orbit, modes: int) -> Iterator[NDArray[np.int64]]:
    """Each distinct way to place an orbit on the modes: places for its largest number first, then for the next."""

    def place(pattern: NDArray[np.int64], left: list[int]) -> Iterator[NDArray[np.int64]]:
        if not left:
            yield pattern.copy()
            return
        photons = left[0]
        times = left.count(photons)
        for chosen in combinations(np.flatnonzero(pattern == 0), times):
            places = list(chosen)
            pattern[places] = photons
            yield from place(pattern, left[times:])
            pattern[places] = 0

    if len(orbit) <= modes:
        yield from place(np.zeros(modes, np.int64), list(orbit))


def _padded(orbit: Orbit, modes: int) -> NDArray[np.int64]:
    row = np.full(modes, -1, np.int64)
    if len(orbit) <= modes:
        row[: len(orbit)], row[len(orbit) :] = orbit, 0
    return row


def _require_samples(samples: CountArray) -> CountArray:
    rows = np.asarray(samples)
    if rows.ndim != 2 or not rows.size or rows.dtype.kind not in "iu":
        raise InputError("samples", list(rows.shape), "must be whole numbers (samples, modes), at least one")
    return rows


def _shares(members: Sequence[NDArray[np.bool_]]) -> Features:
    shares = np.array([member.mean() for member in members])
    number = len(members[0]) if members else 1
    return Features(shares, np.sqrt(shares * (1 - shares) / number))
