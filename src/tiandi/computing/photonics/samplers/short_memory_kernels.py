"""The compiled loop of the chain rule that, at each mode, looks back at the clicks that matter most to it alone."""

from __future__ import annotations

import numpy as np

from tiandi.compiling import kernel
from tiandi.computing.photonics.exact.amplitudes import mode_amplitudes
from tiandi.computing.photonics.exact.chain_kernels import draw_later_light

FIRST_HIGHEST, HIGHEST = 4, 32
"""Photons in one mode that are looked at: at first, and at most."""
TAIL = 1e-5
"""Weight of the last of them, over that of all, above which more are looked at."""
SURELY = 2.5
"""A mode is dark without further ado where it would be with so many times the light expected from the photons' last known inverses."""
LEAST = 0.05
"""And with so much more."""


@kernel
def without_each(sub, local, table, out):  # type: ignore[no-untyped-def]
    """Loop hafnians of all sets of n photons into ``table`` (2^n,), those without photon i over the whole one's into ``out`` (n,)."""
    photons = len(local)
    table[0] = 1.0
    for i in range(photons):
        bit = 1 << i
        for rest in range(bit):
            table[bit + rest] = local[i] * table[rest]
        for j in range(i):
            value, step = sub[i, j], 1 << j
            for start in range(0, bit, 2 * step):
                for rest in range(start, start + step):
                    table[bit + step + rest] += value * table[rest]
    whole = (1 << photons) - 1
    for i in range(photons):
        out[i] = table[whole ^ (1 << i)] / table[whole]


@kernel
def light_moments(table, column, moments):  # type: ignore[no-untyped-def]
    """Derivatives 0 to 3 of the whole loop hafnian, over itself, where loops change by z ``column`` (n,); higher ones are left zero."""
    photons = len(column)
    whole = (1 << photons) - 1
    moments[:] = 0.0
    moments[0] = 1.0
    for i in range(photons):
        one = whole ^ (1 << i)
        moments[1] += column[i] * table[one]
        for j in range(i):
            two = one ^ (1 << j)
            pair = 2 * column[i] * column[j]
            moments[2] += pair * table[two]
            for k in range(j):
                moments[3] += 3 * pair * column[k] * table[two ^ (1 << k)]
    for i in range(1, 4):
        moments[i] /= table[whole]


@kernel
def draw_clicks(quadratic, linear, outcomes, memory, uniform, generator, rows):  # type: ignore[no-untyped-def] # noqa: PLR0917
    """Fill ``rows`` (samples, modes) with clicks.

    ``quadratic`` (modes, modes): B; ``linear`` (samples, modes): g of each mode given heterodyne outcomes of those behind it;
    ``outcomes`` (samples, modes): those, conjugate; ``uniform`` (samples, modes): random numbers in [0, 1).
    """
    samples, modes = linear.shape
    where, gamma, inverse = np.empty(modes, np.int64), np.empty(modes, np.complex128), np.empty(modes, np.complex128)
    size, kept = np.empty(modes), np.empty(memory, np.int64)
    table, sub = np.empty(1 << memory, np.complex128), np.empty((memory, memory), np.complex128)
    local, column, fresh = np.empty(memory, np.complex128), np.empty(memory, np.complex128), np.empty(memory, np.complex128)
    moments, space = np.empty(HIGHEST + 1, np.complex128), np.empty(HIGHEST + 1, np.complex128)
    later = np.empty(modes, np.complex128)
    for sample in range(samples):
        found = 0
        later[:] = 0.0
        for mode in range(modes):
            outcome, row = outcomes[sample, mode], quadratic[mode]
            own = linear[sample, mode] + later[mode]
            amplitude = own
            for i in range(found):
                coupling = row[where[i]]
                change = coupling * outcome
                gamma[i] -= change
                inverse[i] -= change
                amplitude += coupling / inverse[i]
            rows[sample, mode] = 0
            square = amplitude * amplitude
            two = square + row[mode]
            expected = abs(square) + (two.real * two.real + two.imag * two.imag) / 2
            if uniform[sample, mode] * (1 + LEAST + SURELY * expected) < 1:
                continue
            near = _choose_near(row, where, inverse, found, size, kept)
            loop = own + _gather(quadratic, mode, where[:found], gamma, inverse, kept[:near], size, local, column, sub)
            without_each(sub, local[:near], table, fresh)
            for i in range(near):
                inverse[kept[i]] = 1 / fresh[i]
            light_moments(table, column[:near], moments)
            amplitudes = _few_amplitudes(moments, row[mode], loop, space)
            if uniform[sample, mode] * _weight(amplitudes) < _weight(amplitudes[:1]):
                continue
            rows[sample, mode] = 1
            light = draw_later_light(amplitudes, generator)
            for i in range(found):
                gamma[i] += row[where[i]] * light
                inverse[i] += row[where[i]] * light
            for i in range(mode + 1, modes):
                later[i] += row[i] * light
            where[found], gamma[found] = mode, own + row[mode] * light
            inverse[found] = amplitudes[1] + row[mode] * light
            found += 1


@kernel
def _weight(amplitudes):  # type: ignore[no-untyped-def]
    """Sum of squares of absolute values."""
    total = 0.0
    for amplitude in amplitudes:
        total += amplitude.real * amplitude.real + amplitude.imag * amplitude.imag
    return total


@kernel
def _few_amplitudes(moments, own, loop, space):  # type: ignore[no-untyped-def]
    """Amplitudes (n,) of 0, 1, .. photons in a mode, in ``space``, up to where the last has little weight."""
    highest = FIRST_HIGHEST
    while True:
        amplitudes = space[: highest + 1]
        mode_amplitudes(moments, own, loop, amplitudes)
        if highest == HIGHEST or _weight(amplitudes[highest:]) < TAIL * _weight(amplitudes):
            return amplitudes
        highest *= 2


@kernel
def _gather(quadratic, mode, where, gamma, inverse, kept, size, local, column, sub):  # type: ignore[no-untyped-def] # noqa: PLR0917
    """Loops, couplings to ``mode`` and couplings of the photons ``kept``; the others, as a mean field, are added to their loops.

    Returns what they add to that of ``mode``.
    """
    near, field = len(kept), 0j
    for i in range(near):
        at = kept[i]
        local[i], column[i] = gamma[at], quadratic[mode, where[at]]
        for j in range(i):
            sub[i, j] = quadratic[where[at], where[kept[j]]]
    if near == len(where):
        return field
    for far in range(len(where)):
        if size[far] < 0:
            continue
        field += quadratic[mode, where[far]] / inverse[far]
        for i in range(near):
            local[i] += quadratic[where[far], where[kept[i]]] / inverse[far]
    return field


@kernel
def _choose_near(row, where, inverse, found, size, kept):  # type: ignore[no-untyped-def] # noqa: PLR0917
    """Into ``kept`` the places of those photons found that add most to the amplitude; returns how many."""
    near = min(found, len(kept))
    if near == found:
        for i in range(found):
            kept[i] = i
        return near
    for i in range(found):
        coupling = row[where[i]] / inverse[i]
        size[i] = coupling.real * coupling.real + coupling.imag * coupling.imag
    for k in range(near):
        best = 0
        for i in range(1, found):
            if size[i] > size[best]:
                best = i
        kept[k] = best
        size[best] = -1.0
    return near
