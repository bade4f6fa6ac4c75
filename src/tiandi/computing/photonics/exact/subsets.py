"""Compiled loops for amplitudes of many single photons: 2^(N/2) subsets of pairs of photons instead of 2^N terms.

Take the photons in pairs (u, v). The loop hafnian is the coefficient of z^P, P pairs, of the sum over sets Z of pairs of (-1)^(P - |Z|)
times the product over Z of 1 + z d/du d/dv on exp(x A x / 2 + g x): what uses a pair twice leaves another out and cancels. Pair after pair
is eliminated, which changes the couplings b of the photons left, their loops l, and a factor: b_ij gains z (b_iu b_vj + b_iv b_uj), l_i
gains z (l_u b_vi + l_v b_ui), all polynomials of z that end at the number of pairs passed. (Recursion of Bjorklund, Gupt, Quesada, ACM J.
Exp. Algorithmics 24, 1.11 (2019), doi:10.1145/3325111, here with loops.) Two kinds of loops, g + s c, give all powers of s in one pass.
"""

from __future__ import annotations

import numpy as np

from tiandi.compiling import kernel


@kernel
def _add_product(target, first, second, top):  # type: ignore[no-untyped-def]
    """Add z ``first`` ``second`` to ``target``, up to z^top."""
    for i in range(top):
        value = first[i]
        if value == 0:
            continue
        for j in range(top - i):
            target[i + j + 1] += value * second[j]


@kernel
def _eliminate_pair(couplings, loops, source, target, u, top):  # type: ignore[no-untyped-def] # noqa: PLR0917
    """From level ``source`` to level ``target``, without the pair (u, u + 1), all up to z^top. What is left stands behind it.

    ``couplings`` (levels, 2P, 2P, P + 1); ``loops`` (levels, 2, 2P, P + 1).
    """
    size, v = couplings.shape[1], u + 1
    for i in range(u + 2, size):
        for kind in range(2):
            loops[target, kind, i, : top + 1] = loops[source, kind, i, : top + 1]
            _add_product(loops[target, kind, i], loops[source, kind, u], couplings[source, v, i], top)
            _add_product(loops[target, kind, i], loops[source, kind, v], couplings[source, u, i], top)
        for j in range(i + 1, size):
            couplings[target, i, j, : top + 1] = couplings[source, i, j, : top + 1]
            _add_product(couplings[target, i, j], couplings[source, u, i], couplings[source, v, j], top)
            _add_product(couplings[target, i, j], couplings[source, v, i], couplings[source, u, j], top)


@kernel
def _extend_factors(factors, couplings, loops, source, target, u, top):  # type: ignore[no-untyped-def] # noqa: PLR0917
    """``factors`` (levels, 4, P + 1): the product of 1 + z b_uv, and the exponent's parts of s^0, s^1, s^2."""
    factors[target] = factors[source]
    _add_product(factors[target, 0], factors[source, 0], couplings[source, u, u + 1], top)
    first, second = loops[source, :, u], loops[source, :, u + 1]
    _add_product(factors[target, 1], first[0], second[0], top)
    _add_product(factors[target, 2], first[0], second[1], top)
    _add_product(factors[target, 2], first[1], second[0], top)
    _add_product(factors[target, 3], first[1], second[1], top)


@kernel
def _add_coefficients(factors, series, sign, out):  # type: ignore[no-untyped-def]
    """Add ``sign`` times the coefficients of z^P s^i of factors[0] exp(factors[1] + s factors[2] + s^2 factors[3]) to ``out``.

    ``series`` (P + 1, highest + 1): j E_j = sum_k k f_k E_{j-k}.
    """
    pairs, highest = len(series) - 1, len(out) - 1
    series[:] = 0.0
    series[0, 0] = 1.0
    for j in range(1, pairs + 1):
        reach = min(highest, 2 * j)
        for k in range(1, j + 1):
            a, b, c = factors[1, k] * k / j, factors[2, k] * k / j, factors[3, k] * k / j
            for i in range(min(reach, 2 * (j - k)) + 1):
                value = series[j - k, i]
                series[j, i] += a * value
                if i + 1 <= highest:
                    series[j, i + 1] += b * value
                if i + 2 <= highest:
                    series[j, i + 2] += c * value
    for j in range(pairs + 1):
        weight = sign * factors[0, pairs - j]
        for i in range(highest + 1):
            out[i] += weight * series[j, i]


@kernel
def single_photon_moments(quadratic, gamma, column, out):  # type: ignore[no-untyped-def]
    """As `amplitudes.photon_moments`, of one photon in each of the modes: ``quadratic`` (k, k), ``gamma`` and ``column`` (k,)."""
    photons = len(gamma)
    pairs = (photons + 1) // 2
    couplings = np.zeros((pairs + 1, 2 * pairs, 2 * pairs, pairs + 1), np.complex128)
    loops = np.zeros((pairs + 1, 2, 2 * pairs, pairs + 1), np.complex128)
    factors = np.zeros((pairs + 1, 4, pairs + 1), np.complex128)
    couplings[0, :photons, :photons, 0] = quadratic
    loops[0, 0, :photons, 0] = gamma
    loops[0, 1, :photons, 0] = column
    if photons % 2:
        loops[0, 0, photons, 0] = 1.0
    factors[0, 0, 0] = 1.0
    series = np.zeros((pairs + 1, len(out)), np.complex128)
    owner, kept = np.zeros(pairs + 1, np.int64), np.zeros(pairs + 1, np.int64)
    out[:] = 0.0
    _add_coefficients(factors[0], series, (-1.0) ** pairs, out)
    for mask in range(1, 1 << pairs):
        depth = pairs - 1
        while not mask >> (pairs - 1 - depth) & 1:
            depth -= 1
        level, top = owner[depth], depth + 1
        _extend_factors(factors, couplings, loops, level, top, 2 * depth, top)
        if top < pairs:
            _eliminate_pair(couplings, loops, level, top, 2 * depth, top)
        kept[top] = kept[level] + 1
        owner[top:] = top
        _add_coefficients(factors[top], series, (-1.0) ** (pairs - kept[top]), out)
    factorial = 1.0
    for i in range(len(out)):
        if i:
            factorial *= i
        out[i] *= factorial
