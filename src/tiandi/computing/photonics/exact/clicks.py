"""Clicks of threshold detectors, exactly: by inclusion and exclusion over the probabilities that sets of modes stay dark.

Quesada, Arrazola, Killoran, Phys. Rev. A 98, 062322 (2018), doi:10.1103/PhysRevA.98.062322: the sum is the torontonian; with displacement
the loop torontonian, Bulmer, Paesani, Chadwick, Quesada, Phys. Rev. A 106, 043712 (2022), doi:10.1103/PhysRevA.106.043712. Every function
takes a Gaussian state, or a machine: then with its dark counts and its partly distinguishable light (`light`). Of pseudo-number detectors a
click here is a click of any bin.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from tiandi.computing.photonics.exact.double_double import all_click_precisely
from tiandi.computing.photonics.exact.kernels import all_click, all_click_each, no_click_table
from tiandi.computing.photonics.exact.light import IntArray, dark_probability, is_pure_light, require_subsets, subset_moments
from tiandi.computing.photonics.gaussian import FloatArray, GaussianState, Machine
from tiandi.errors import InputError
from tiandi.limits import require_within

LARGEST_ORDER = 12
LARGEST_CLICKS = 26
EPSILON = float(np.finfo(float).eps)
LARGEST_PATTERN_MODES = 14
CHUNK_NUMBERS = 1 << 22
LARGEST_SUBSETS = 20_000_000
DIGITS_LOST = 1e-8
"""Relative error by rounding above which a sum is done again in twice the digits."""


def no_click_probabilities(light: GaussianState | Machine, subsets: IntArray) -> FloatArray:
    """Probability (n,) that no detector of a row of ``subsets`` (n, k) clicks: exp(-mu^T A^-1 mu / 4) / sqrt(det A), A = (V_S + 1)/2."""
    rows = require_subsets(subsets, light.modes)
    if not rows.shape[1]:
        return np.ones(len(rows))
    chunks = [_no_light(light, rows[part]) for part in _chunks(light, rows)]
    return np.concatenate([np.zeros(0), *chunks]) * (1 - dark_probability(light)) ** rows.shape[1]


def click_moments(light: GaussianState | Machine, order: int, subsets: IntArray | None = None) -> FloatArray:
    """Mean (n,) of the product of the clicks of the ``order`` modes in each row of ``subsets`` (n, order).

    Without ``subsets`` of all sets of modes in lexicographic order: the rates for order 1, all pairs for 2. Raises InputError above order
    12 or above 20 million sets.
    """
    require_within("order", order, 1, LARGEST_ORDER)
    rows = all_subsets(light.modes, order) if subsets is None else require_subsets(subsets, light.modes)
    if rows.shape[1] != order:
        raise InputError("subsets", list(rows.shape), f"must name {order} modes in each row")
    if not is_pure_light(light):
        return sum(((-1) ** len(part) * no_click_probabilities(light, rows[:, part]) for part in _parts(order)), np.zeros(len(rows)))
    out, dark = np.empty(len(rows)), 1 - dark_probability(light)
    for part in _chunks(light, rows):
        matrices, means = subset_moments(light, rows[part])
        all_click_each(matrices, means, dark, out[part])
    return out


def all_subsets(modes: int, order: int) -> IntArray:
    """All sets (n, order) of ``order`` of ``modes`` modes in lexicographic order; InputError above 20 million."""
    count = 1
    for i in range(order):
        count = count * (modes - i) // (i + 1)
    if count > LARGEST_SUBSETS:
        raise InputError("order", order, f"has {count:,} sets of {modes} modes; at most {LARGEST_SUBSETS:,}, so name subsets")
    flat = np.fromiter((mode for rows in combinations(range(modes), order) for mode in rows), np.int64, count * order)
    return flat.reshape(count, order)


def click_cumulants(light: GaussianState | Machine) -> FloatArray:
    """Covariance (modes, modes) of the clicks: off the diagonal the two-mode cumulants, on it the variances p (1 - p)."""
    rates = click_moments(light, 1)
    covariance = np.diag(rates * (1 - rates))
    first, second = np.triu_indices(light.modes, 1)
    covariance[first, second] = click_moments(light, 2) - rates[first] * rates[second]
    covariance[second, first] = covariance[first, second]
    return covariance


def no_click_probability_of_sets(light: GaussianState | Machine, modes: Sequence[int] | IntArray) -> FloatArray:
    """Probability (2^k,) that no mode of a set clicks, for all sets of ``modes``: bit i of the index stands for ``modes[i]``."""
    chosen = require_subsets(np.asarray(modes, np.int64)[None, :], light.modes)[0]
    require_within("modes", len(chosen), 1, LARGEST_PATTERN_MODES)
    size = 1 << len(chosen)
    bits = np.arange(size)[:, None] >> np.arange(len(chosen)) & 1
    table = np.empty(size)
    if is_pure_light(light):
        matrices, means = subset_moments(light, chosen[None, ::-1])
        no_click_table(matrices[0], means[0], table)
        return table * (1 - dark_probability(light)) ** bits.sum(axis=1)
    for count in range(len(chosen) + 1):
        here = np.flatnonzero(bits.sum(axis=1) == count)
        sets = chosen[np.nonzero(bits[here])[1].reshape(len(here), count)]
        table[here] = no_click_probabilities(light, sets)
    return table


def pattern_probabilities(light: GaussianState | Machine, modes: Sequence[int] | IntArray) -> FloatArray:
    """Probability (2^k,) of each pattern of clicks on ``modes`` (at most 14), the others not looked at.

    Bit i of the index says whether ``modes[i]`` clicks. Moebius transform of `no_click_probability_of_sets`.
    """
    dark = no_click_probability_of_sets(light, modes)
    return patterns_of_sets(dark)


def patterns_of_sets(dark: FloatArray) -> FloatArray:
    """Pattern probabilities (2^k,) of the probabilities that sets stay dark (2^k,)."""
    probabilities = dark[::-1].copy()
    step = 1
    while step < len(probabilities):
        pairs = probabilities.reshape(-1, 2, step)
        pairs[:, 1] -= pairs[:, 0]
        step *= 2
    return np.clip(probabilities, 0.0, 1.0)


def _no_light(light: GaussianState | Machine, rows: IntArray) -> FloatArray:
    """Probability (n,) of no light on any mode of each row."""
    matrices, means = subset_moments(light, rows)
    if not is_pure_light(light):
        return _no_partly_distinguishable_light(light, rows)
    lower = np.linalg.cholesky(matrices)
    moved = np.linalg.solve(lower, means[:, :, None])[:, :, 0]
    return np.exp(-(moved**2).sum(axis=1) / 4) / np.prod(np.diagonal(lower, axis1=1, axis2=2), axis=1)


def _no_partly_distinguishable_light(light: GaussianState | Machine, rows: IntArray) -> FloatArray:
    """det(1 + E H) over the sources, E = (e^{2r} - 1)/2 of x and (e^{-2r} - 1)/2 of p, H = s G + (1 - s) diag G, G = T_S^t T_S.

    The diagonal part is each source's own; the rest has rank 2k, so that the determinant is one of 2k rows.
    """
    assert isinstance(light, Machine)
    share, transfer = light.indistinguishability, light.transfer[rows]
    excess = np.stack([np.expm1(2 * light.squeezing_r), np.expm1(-2 * light.squeezing_r)]) / 2
    own = 1 + (1 - share) * excess * (np.abs(transfer) ** 2).sum(axis=1)[:, None, :]
    weights = share * excess / own
    plus, minus = (weights[:, 0] + weights[:, 1]) / 2, (weights[:, 0] - weights[:, 1]) / 2
    normal = (transfer.conj() * plus[:, None, :]) @ transfer.swapaxes(1, 2)
    anomalous = (transfer * minus[:, None, :]) @ transfer.swapaxes(1, 2)
    matrix = np.block([[(normal + anomalous).real, (normal + anomalous).imag], [(anomalous - normal).imag, (normal - anomalous).real]])
    determinant = np.linalg.det(matrix + np.eye(2 * rows.shape[1])) * np.prod(own, axis=(1, 2))
    return 1 / np.sqrt(determinant)


def _parts(order: int) -> list[list[int]]:
    return [list(part) for size in range(order + 1) for part in combinations(range(order), size)]


def _chunks(light: GaussianState | Machine, rows: NDArray[np.int64]) -> list[slice]:
    """Slices of ``rows`` whose intermediate tables stay small."""
    width = rows.shape[1] * (4 * rows.shape[1] if isinstance(light, GaussianState) else 4 * light.transfer.shape[1])
    step = max(1, CHUNK_NUMBERS // width)
    return [slice(start, start + step) for start in range(0, len(rows), step)]


@dataclass(frozen=True, slots=True)
class ClickProbability:
    """A probability and how far rounding may have moved it, relative to itself."""

    value: float
    relative_error: float


def click_probability(light: GaussianState | Machine, pattern: Sequence[int] | IntArray) -> float:
    """Probability of one ``pattern`` (modes,) of 0 and 1 on all modes; see `click_probability_with_error`."""
    return click_probability_with_error(light, pattern).value


def click_probability_with_error(light: GaussianState | Machine, pattern: Sequence[int] | IntArray) -> ClickProbability:
    """Probability of one ``pattern`` (modes,) of 0 and 1 on all modes: a torontonian behind the modes that stay dark.

    The silent modes are eliminated first, then the 2^c terms of c clicks are summed: in twice the digits of a double, so that the
    alternating sum loses none; of displaced light in doubles, whose error is told. 20 clicks take 0.3 s, each click more twice as long.
    Raises InputError above 26 clicks, or above 12 of partly distinguishable light.
    """
    clicks = np.asarray(pattern)
    if clicks.shape != (light.modes,) or not np.isin(clicks, (0, 1)).all():
        raise InputError("pattern", clicks.tolist(), f"must be {light.modes} figures of 0 and 1")
    on, off = np.flatnonzero(clicks), np.flatnonzero(clicks == 0)
    require_within("clicks", len(on), 0, LARGEST_CLICKS if is_pure_light(light) else LARGEST_ORDER)
    silent = 1 - dark_probability(light)
    if not is_pure_light(light):
        rows = [np.concatenate([off, on[part]])[None] for part in _parts(len(on))]
        terms = [(-1) ** (row.shape[1] - len(off)) * float(no_click_probabilities(light, row)[0]) for row in rows]
        return _with_error(math.fsum(terms), sum(map(abs, terms)), EPSILON)
    matrices, means = subset_moments(light, np.concatenate([off, on])[None])
    matrix, mean, split = matrices[0], means[0], 2 * len(off)
    dark = no_click_probabilities(light, off[None])[0]
    if split:
        carried = np.linalg.solve(matrix[:split, :split], np.column_stack([matrix[:split, split:], mean[:split]]))
        mean = mean[split:] - matrix[split:, :split] @ carried[:, -1]
        matrix = matrix[split:, split:] - matrix[split:, :split] @ carried[:, :-1]
    matrix = (matrix + matrix.T) / 2
    if np.any(mean):
        value, size = all_click(matrix, mean, silent)
        return _with_error(float(dark * value), float(dark * size), EPSILON)
    value, size = all_click_precisely(matrix, silent)
    return _with_error(float(dark * value), float(dark * size), EPSILON**2)


def click_logarithms(state: GaussianState, patterns: NDArray[np.uint8], dark: float = 0.0) -> FloatArray:
    """ln p (n,) of rows of ``patterns`` (n, modes) of 0 and 1 on all modes of a state without displacement; at most 26 clicks each.

    Silence of the silent, then of the rest, given that silence, that all click. With A = (V + 1)/2 and its inverse P, the rest is left with
    A' = (P of the rest)^-1, and det A of the silent is det A times det P of the rest: only the modes that click make work. Doubles serve
    where they can, six times as fast; the weaker the light and the more clicks, the fewer of their digits the alternating sum leaves.
    ``dark``: probability of a click without light.
    """
    if np.any(state.mean):
        raise InputError("state.mean", float(np.abs(state.mean).max()), "must be 0")
    most = int(patterns.sum(axis=1).max()) if len(patterns) else 0
    require_within("clicks", most, 0, LARGEST_CLICKS)
    modes = state.modes
    matrix = (state.covariance + np.eye(2 * modes)) / 2
    inverse, whole = np.linalg.inv(matrix), np.linalg.slogdet(matrix)[1]
    found = np.empty(len(patterns))
    for number, row in enumerate(patterns):
        on = np.flatnonzero(row)
        near = np.stack([on, on + modes], axis=1).ravel()
        rest = inverse[np.ix_(near, near)]
        behind = np.linalg.inv(rest)
        value, size = all_click(behind, np.zeros(len(near)), 1 - dark)
        if EPSILON * size > DIGITS_LOST * value:
            value, size = all_click_precisely((behind + behind.T) / 2, 1 - dark)
        silence = (modes - len(on)) * math.log1p(-dark) - (whole + np.linalg.slogdet(rest)[1]) / 2
        found[number] = silence + math.log(max(value, EPSILON**2 * size))
    return found


def _with_error(value: float, size: float, digit: float) -> ClickProbability:
    """Terms that add up to ``size`` carry an error of about one ``digit`` each; the entries, which are doubles, one of a few of theirs."""
    kept = max(value, 0.0)
    return ClickProbability(kept, digit * size / kept + 100 * EPSILON if kept else math.inf)
