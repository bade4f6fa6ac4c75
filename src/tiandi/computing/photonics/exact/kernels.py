"""Compiled loops of the exact functions.

Matrices of clicks are A = (V + 1)/2 with the quadratures of a mode side by side (x_1, p_1, x_2, p_2, ...). No detector of a set Z clicks
with probability exp(-mu_Z^T A_Z^-1 mu_Z / 4) / sqrt(det A_Z). All 2^n of them follow from n modes by eliminating one mode after another:
each elimination is shared by all sets that go on alike, so that the sum over sets of the remaining sizes squared, O(2^n), is all the work
(principal minors by Schur complements: Griffin and Tsatsomeros, Linear Algebra Appl. 419, 107 (2006), doi:10.1016/j.laa.2006.04.008; for
torontonians: Kaposi, Kolarovszki, Kozsik, Zimboras, Rakyta, arXiv:2109.04528).
"""

from __future__ import annotations

import math

import numpy as np

from tiandi.compiling import kernel


@kernel
def eliminate(source, means, target, target_means, mode):  # type: ignore[no-untyped-def]
    """Condition ``source`` on no light in ``mode``: what is behind it goes to ``target``. Returns the probability of no light there."""
    size, x = len(source), 2 * mode
    a, b, c = source[x, x], source[x, x + 1], source[x + 1, x + 1]
    determinant = a * c - b * b
    u, v = means[x], means[x + 1]
    exponent = (c * u * u - 2 * b * u * v + a * v * v) / determinant
    for i in range(x + 2, size):
        left, right = source[x, i], source[x + 1, i]
        first, second = (c * left - b * right) / determinant, (a * right - b * left) / determinant
        target_means[i] = means[i] - first * u - second * v
        for j in range(i, size):
            target[i, j] = source[i, j] - first * source[x, j] - second * source[x + 1, j]
    return math.exp(-exponent / 4) / math.sqrt(determinant)


@kernel
def no_click_table(matrix, means, table):  # type: ignore[no-untyped-def]
    """Fill ``table`` (2^n,): entry z is the probability that no mode of the set z clicks; bit n - 1 - d of z stands for mode d."""
    modes = len(matrix) // 2
    matrices, vectors = np.empty((modes + 1, 2 * modes, 2 * modes)), np.empty((modes + 1, 2 * modes))
    matrices[0], vectors[0] = matrix, means
    owner, weights = np.zeros(modes + 1, np.int64), np.ones(modes + 1)
    table[0] = 1.0
    for mask in range(1, 1 << modes):
        depth = modes - 1
        while not mask >> (modes - 1 - depth) & 1:
            depth -= 1
        level = owner[depth]
        factor = eliminate(matrices[level], vectors[level], matrices[depth + 1], vectors[depth + 1], depth)
        weights[depth + 1] = weights[level] * factor
        owner[depth + 1 :] = depth + 1
        table[mask] = weights[depth + 1]


@kernel
def all_click(matrix, means, dark):  # type: ignore[no-untyped-def]
    """Probability that all modes click, and the sum of the terms' sizes. ``dark``: probability that a detector without light is silent."""
    modes = len(matrix) // 2
    matrices, vectors = np.empty((modes + 1, 2 * modes, 2 * modes)), np.empty((modes + 1, 2 * modes))
    matrices[0], vectors[0] = matrix, means
    owner, weights = np.zeros(modes + 1, np.int64), np.ones(modes + 1)
    total, size, lost = 1.0, 1.0, 0.0
    for mask in range(1, 1 << modes):
        depth = modes - 1
        while not mask >> (modes - 1 - depth) & 1:
            depth -= 1
        level = owner[depth]
        factor = eliminate(matrices[level], vectors[level], matrices[depth + 1], vectors[depth + 1], depth)
        weight = -weights[level] * factor * dark
        weights[depth + 1] = weight
        owner[depth + 1 :] = depth + 1
        added = total + weight
        lost += (total - added) + weight if abs(total) >= abs(weight) else (weight - added) + total
        total = added
        size += abs(weight)
    return total + lost, size


@kernel
def all_click_each(matrices, means, dark, out):  # type: ignore[no-untyped-def]
    """`all_click` of each of ``matrices`` (n, 2k, 2k)."""
    for i in range(len(matrices)):
        out[i] = all_click(matrices[i], means[i], dark)[0]
