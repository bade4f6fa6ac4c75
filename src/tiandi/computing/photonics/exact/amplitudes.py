"""Compiled loops for amplitudes of photon numbers in pure Gaussian states.

The unnormalised amplitude of photon numbers n is the derivative d^n/dz^n of exp(z B z / 2 + g z) at 0, a loop hafnian with B's rows
repeated n times. It is a sum over h_i = n_i, n_i - 2, .., -n_i with weights (-1)^v C(n_i, v), h_i = n_i - 2 v, of the part of degree N =
sum n_i of exp(h B h / 2 + g h), over 2^N (a finite difference of order n is exact on polynomials of degree N: Kan, J. Multivar. Anal. 99,
542 (2008), doi:10.1016/j.jmva.2007.01.013). Repeated photons of a mode share terms, and one pass gives all photon numbers of one more mode.
"""

from __future__ import annotations

import numpy as np

from tiandi.compiling import kernel

LANES = 64
"""Terms of the sum that are worked on at once, a number known to the compiler."""
Q_RE, Q_IM, L_RE, L_IM, C_RE, C_IM, E_RE, E_IM, F_RE, F_IM, S = (LANES * i for i in range(11))
"""Places in the table of lanes: h B h, g h, c h, the newest and the one before of the series, weights."""
POWERS = 11 * LANES
"""Where weights times powers of c h begin; behind them the sums."""
STRIDE = 4 * LANES
"""Of each power: its real and imaginary part, and those of its sum."""


@kernel
def _prepare_lanes(quadratic, counts, gamma, column, first, inner):  # type: ignore[no-untyped-def] # noqa: PLR0917
    """The terms of the modes from ``first`` on: ``inner`` (LANES, 7 + modes): h B h, g h, c h (real, imaginary), weight, h of each mode."""
    modes = len(counts)
    inner[:] = 0.0
    lanes = 1
    for i in range(first, modes):
        lanes *= counts[i] + 1
    for lane in range(lanes):
        terms = inner[lane]
        rest, weight = lane, 1.0
        for i in range(first, modes):
            v = rest % (counts[i] + 1)
            rest //= counts[i] + 1
            for k in range(v):
                weight *= -(counts[i] - k) / (k + 1)
            terms[7 + i] = counts[i] - 2 * v
        terms[6] = weight
        for i in range(first, modes):
            h = terms[7 + i]
            terms[2] += h * gamma[i].real
            terms[3] += h * gamma[i].imag
            terms[4] += h * column[i].real
            terms[5] += h * column[i].imag
            for j in range(first, modes):
                terms[0] += h * terms[7 + j] * quadratic[i, j].real
                terms[1] += h * terms[7 + j] * quadratic[i, j].imag


@kernel
def _run_series(work, photons, highest):  # type: ignore[no-untyped-def]
    """Add to the sums of each power i up to ``highest`` weight (c h)^i E_{N-i}, where j E_j = (g h) E_{j-1} + (h B h) E_{j-2}."""
    for t in range(LANES):
        work[E_RE + t] = 1.0
        work[E_IM + t] = 0.0
        work[F_RE + t] = 0.0
        work[F_IM + t] = 0.0
        work[POWERS + t] = work[S + t]
        work[POWERS + LANES + t] = 0.0
    for power in range(highest):
        at = POWERS + power * STRIDE
        for t in range(LANES):
            a, b = work[at + t], work[at + LANES + t]
            work[at + STRIDE + t] = a * work[C_RE + t] - b * work[C_IM + t]
            work[at + STRIDE + LANES + t] = a * work[C_IM + t] + b * work[C_RE + t]
    for j in range(photons + 1):
        if j:
            scale = 1.0 / j
            for t in range(LANES):
                a, b, c, d = work[E_RE + t], work[E_IM + t], work[F_RE + t], work[F_IM + t]
                work[E_RE + t] = (work[L_RE + t] * a - work[L_IM + t] * b + work[Q_RE + t] * c - work[Q_IM + t] * d) * scale
                work[E_IM + t] = (work[L_RE + t] * b + work[L_IM + t] * a + work[Q_RE + t] * d + work[Q_IM + t] * c) * scale
                work[F_RE + t] = a
                work[F_IM + t] = b
        power = photons - j
        if power <= highest:
            at = POWERS + power * STRIDE
            for t in range(LANES):
                a, b, c, d = work[E_RE + t], work[E_IM + t], work[at + t], work[at + LANES + t]
                work[at + 2 * LANES + t] += a * c - b * d
                work[at + 3 * LANES + t] += a * d + b * c


@kernel
def _first_lane_mode(counts):  # type: ignore[no-untyped-def]
    """The modes from here on have at most LANES terms together."""
    lanes, first = 1, len(counts)
    while first > 0 and lanes * (counts[first - 1] + 1) <= LANES:
        first -= 1
        lanes *= counts[first] + 1
    return first


@kernel
def photon_moments(quadratic, counts, gamma, column, highest, out):  # type: ignore[no-untyped-def] # noqa: PLR0917
    """Fill ``out`` (highest + 1,) with the sums over h, over 2^N, of weight (c h)^i times the part of degree N - i, i up to N.

    ``quadratic`` (k, k), ``gamma`` (k,): B and g of the modes with ``counts`` (k,) photons each; ``column`` (k,): their couplings c to one
    more mode. Modes with an odd number stand first, so that half of the sum, which is even in h, is enough.
    """
    modes, photons = len(counts), counts.sum()
    top = min(highest, photons)
    out[:] = 0.0
    first = _first_lane_mode(counts)
    inner = np.zeros((LANES, 7 + modes))
    _prepare_lanes(quadratic, counts, gamma, column, first, inner)
    work = np.zeros(POWERS + (top + 1) * STRIDE)
    digits, h = np.zeros(modes, np.int64), counts.astype(np.float64)
    halved = first > 0 and counts[0] % 2 == 1
    base = np.zeros(3 + modes, np.complex128)
    while True:
        weight = 2.0 if halved else 1.0
        base[:] = 0.0
        for i in range(first):
            for k in range(digits[i]):
                weight *= -(counts[i] - k) / (k + 1)
            base[1] += h[i] * gamma[i]
            base[2] += h[i] * column[i]
            for j in range(modes):
                base[3 + j] += h[i] * quadratic[i, j]
        for i in range(first):
            base[0] += h[i] * base[3 + i]
        for t in range(LANES):
            real, imaginary = base[0].real + inner[t, 0], base[0].imag + inner[t, 1]
            for i in range(first, modes):
                real += 2 * inner[t, 7 + i] * base[3 + i].real
                imaginary += 2 * inner[t, 7 + i] * base[3 + i].imag
            work[Q_RE + t] = real
            work[Q_IM + t] = imaginary
            work[L_RE + t] = base[1].real + inner[t, 2]
            work[L_IM + t] = base[1].imag + inner[t, 3]
            work[C_RE + t] = base[2].real + inner[t, 4]
            work[C_IM + t] = base[2].imag + inner[t, 5]
            work[S + t] = weight * inner[t, 6]
        _run_series(work, photons, top)
        i = first - 1
        while i >= 0:
            digits[i] += 1
            if digits[i] <= (counts[i] - 1) // 2 if halved and i == 0 else digits[i] <= counts[i]:
                break
            digits[i] = 0
            h[i] = counts[i]
            i -= 1
        if i < 0:
            break
        h[i] = counts[i] - 2 * digits[i]
    for power in range(top + 1):
        at = POWERS + power * STRIDE
        for t in range(LANES):
            out[power] += complex(work[at + 2 * LANES + t], work[at + 3 * LANES + t]) / 2.0**photons


@kernel
def mode_amplitudes(moments, own, linear, amplitudes):  # type: ignore[no-untyped-def]
    """Fill ``amplitudes`` (highest + 1,) with those of 0, 1, 2, .. photons in one more mode, each over the root of its factorial.

    ``own``: the mode's diagonal entry of B; ``linear``: its g. d^m/dz^m exp(own z^2 / 2 + (linear + c h) z) at 0 is the Hermite-like
    polynomial He_m = (linear + c h) He_{m-1} + (m - 1) own He_{m-2}, here by its coefficients of the powers of c h.
    """
    highest = len(amplitudes) - 1
    now, before = np.zeros(highest + 1, np.complex128), np.zeros(highest + 1, np.complex128)
    now[0] = 1.0
    root = 1.0
    for m in range(highest + 1):
        if m:
            root *= np.sqrt(float(m))
            for i in range(m, -1, -1):
                new = linear * now[i] + (m - 1) * own * before[i]
                if i:
                    new += now[i - 1]
                before[i] = new
            now, before = before, now
        total = 0j
        for i in range(m + 1):
            total += now[i] * moments[i]
        amplitudes[m] = total / root
