"""Compiled sums in double the working precision: each number is a pair of doubles, high and low, whose sum it is.

Dekker, Numer. Math. 18, 224 (1971), doi:10.1007/BF01397083; Hida, Li, Bailey, 15th IEEE Symposium on Computer Arithmetic, 155 (2001),
doi:10.1109/ARITH.2001.930115. The compiler may not reorder these sums; kernels are compiled without such licence.
"""

from __future__ import annotations

import math

import numpy as np

from tiandi.compiling import kernel

SPLITTER = 134217729.0
"""2^27 + 1: halves a double's digits."""


@kernel
def _sum(a, b, c, d):  # type: ignore[no-untyped-def]
    """(a + b) + (c + d)."""
    high = a + c
    shift = high - a
    low = (a - (high - shift)) + (c - shift) + b + d
    total = high + low
    return total, low - (total - high)


@kernel
def _product(a, b, c, d):  # type: ignore[no-untyped-def]
    """(a + b) (c + d)."""
    high = a * c
    left = SPLITTER * a
    left -= left - a
    right = SPLITTER * c
    right -= right - c
    low = ((left * right - high) + left * (c - right) + (a - left) * right) + (a - left) * (c - right) + (a * d + b * c)
    total = high + low
    return total, low - (total - high)


@kernel
def _quotient(a, b, c, d):  # type: ignore[no-untyped-def]
    """(a + b) / (c + d), by one step of Newton from doubles."""
    guess = a / c
    e, f = _product(guess, 0.0, c, d)
    e, f = _sum(a, b, -e, -f)
    return _sum(guess, 0.0, e / c, 0.0)


@kernel
def _root(a, b):  # type: ignore[no-untyped-def]
    """sqrt(a + b), by one step of Newton from doubles."""
    guess = math.sqrt(a)
    e, f = _product(guess, 0.0, guess, 0.0)
    e, f = _sum(a, b, -e, -f)
    return _sum(guess, 0.0, e / (2 * guess), 0.0)


@kernel
def _eliminate(source, target, mode):  # type: ignore[no-untyped-def]
    """As `kernels.eliminate` without means, of matrices (2, 2 modes, 2 modes): high and low parts. Returns 1 / sqrt(determinant)."""
    size, x = source.shape[1], 2 * mode
    a, b, c = source[:, x, x], source[:, x, x + 1], source[:, x + 1, x + 1]
    first, second = _product(a[0], a[1], c[0], c[1]), _product(b[0], b[1], b[0], b[1])
    determinant = _sum(first[0], first[1], -second[0], -second[1])
    inverse = _quotient(1.0, 0.0, determinant[0], determinant[1])
    for i in range(x + 2, size):
        left, right = source[:, x, i], source[:, x + 1, i]
        u, v = _product(c[0], c[1], left[0], left[1]), _product(b[0], b[1], right[0], right[1])
        first = _sum(u[0], u[1], -v[0], -v[1])
        first = _product(first[0], first[1], inverse[0], inverse[1])
        u, v = _product(a[0], a[1], right[0], right[1]), _product(b[0], b[1], left[0], left[1])
        second = _sum(u[0], u[1], -v[0], -v[1])
        second = _product(second[0], second[1], inverse[0], inverse[1])
        for j in range(i, size):
            u = _product(first[0], first[1], source[0, x, j], source[1, x, j])
            v = _product(second[0], second[1], source[0, x + 1, j], source[1, x + 1, j])
            u = _sum(u[0], u[1], v[0], v[1])
            target[0, i, j], target[1, i, j] = _sum(source[0, i, j], source[1, i, j], -u[0], -u[1])
    return _root(inverse[0], inverse[1])


@kernel
def all_click_precisely(matrix, dark):  # type: ignore[no-untyped-def]
    """As `kernels.all_click` of a state without displacement, with twice the digits: the probability, and the sum of the terms' sizes."""
    modes = len(matrix) // 2
    matrices = np.zeros((modes + 1, 2, 2 * modes, 2 * modes))
    matrices[0, 0] = matrix
    owner, weights = np.zeros(modes + 1, np.int64), np.zeros((modes + 1, 2))
    weights[0, 0] = 1.0
    total, size = (1.0, 0.0), 1.0
    for mask in range(1, 1 << modes):
        depth = modes - 1
        while not mask >> (modes - 1 - depth) & 1:
            depth -= 1
        level = owner[depth]
        factor = _eliminate(matrices[level], matrices[depth + 1], depth)
        weight = _product(-weights[level, 0], -weights[level, 1], factor[0], factor[1])
        weight = _product(weight[0], weight[1], dark, 0.0)
        weights[depth + 1, 0], weights[depth + 1, 1] = weight
        owner[depth + 1 :] = depth + 1
        total = _sum(total[0], total[1], weight[0], weight[1])
        size += abs(weight[0])
    return total[0] + total[1], size
