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
LANES = 8
"""Products that are worked on at once, a number known to the compiler."""


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


@kernel
def _lessen_and_multiply(before, after, share, product):  # type: ignore[no-untyped-def]
    """``after`` = u = ``before`` - ``share``, both (2, inputs); returns the product over inputs of 1 - u^2.

    ``product`` (2, LANES) are as many products at once, so that the processor need not wait for one of them.
    """
    product[0], product[1] = 1.0, 0.0
    for start in range(0, len(share), LANES):
        for lane in range(LANES):
            k = start + lane
            a, b = _sum(before[0, k], before[1, k], -share[k], 0.0)
            after[0, k], after[1, k] = a, b
            c, d = _product(a, b, a, b)
            c, d = _sum(1.0, 0.0, -c, -d)
            product[0, lane], product[1, lane] = _product(product[0, lane], product[1, lane], c, d)
    for lane in range(1, LANES):
        product[0, 0], product[1, 0] = _product(product[0, 0], product[1, 0], product[0, lane], product[1, lane])
    return product[0, 0], product[1, 0]


@kernel
def all_click_apart_precisely(shares, silent, dark):  # type: ignore[no-untyped-def]
    """Probability that all detectors of a set click and those of another stay silent, of squeezers that do not interfere with each other.

    Detectors that share R of the light of an input with n photons see none of it with probability 1 / sqrt(1 + n R (2 - R)), which is
    sqrt((1 - w^2) / (1 - w^2 (1 - R)^2)), w^2 = n / (1 + n). ``shares`` (clicks, inputs) and ``silent`` (inputs,) are w times the shares of
    each input's light that go to each detector that clicks, and w times that to none of the silent ones; ``dark``: probability that a
    detector in the dark is silent. Returns the probability over the product of sqrt(1 - w^2), and the sum of the terms' sizes. Inclusion
    and exclusion as in `all_click_precisely`. Inputs must come in eights (some with w = 0).
    """
    clicks, inputs = shares.shape
    left, product = np.zeros((clicks + 1, 2, inputs)), np.empty((2, LANES))
    owner, weights = np.zeros(clicks + 1, np.int64), np.zeros((clicks + 1, 2))
    left[0, 0], weights[0, 0] = silent, 1.0
    total, size, nothing = (0.0, 0.0), 0.0, np.zeros(inputs)
    for mask in range(1 << clicks):
        depth, level, share = -1, 0, nothing
        if mask:
            depth = clicks - 1
            while not mask >> (clicks - 1 - depth) & 1:
                depth -= 1
            level, share = owner[depth], shares[depth]
            weight = _product(weights[level, 0], weights[level, 1], -dark, 0.0)
            weights[depth + 1, 0], weights[depth + 1, 1] = weight
            owner[depth + 1 :] = depth + 1
        factor = _lessen_and_multiply(left[level], left[depth + 1], share, product)
        term = _quotient(1.0, 0.0, factor[0], factor[1])
        term = _root(term[0], term[1])
        term = _product(term[0], term[1], weights[depth + 1, 0], weights[depth + 1, 1])
        total = _sum(total[0], total[1], term[0], term[1])
        size += abs(term[0])
    return total[0] + total[1], size
