"""The compiled loop of the chain rule: clicks or photon numbers of one displaced pure Gaussian state, mode after mode.

Quesada et al., PRX Quantum 3, 010306 (2022), doi:10.1103/PRXQuantum.3.010306: heterodyne outcomes of all modes are drawn first and stand in
for the modes that are not counted yet, so that each step needs amplitudes of a pure state only.

A threshold detector that clicks costs one photon here, however many it saw (in the spirit of the fan-out of Bulmer et al., Sci. Adv. 8,
eabl9236 (2022), doi:10.1126/sciadv.abl9236, with infinitely many branches): spread a mode's light over a time from 0 to 1, say that the
first photon comes at t, and measure what comes later by heterodyne, outcome b. On a state with Bargmann function f that has the density
|f'(sqrt(1 - t) b*)|^2 exp(-|b|^2) / pi; over all t and b it adds up to one less the vacuum, so that it is one way for a click to come
about.
"""

from __future__ import annotations

import math

import numpy as np

from tiandi.compiling import kernel
from tiandi.computing.photonics.exact.amplitudes import mode_amplitudes, photon_moments
from tiandi.computing.photonics.exact.subsets import single_photon_moments

FIRST_HIGHEST = 6
HIGHEST = 127
TAIL = 1e-9
SUBSETS_FROM = 1 << 14
"""With so many terms of the sum over signs, the sum over subsets of pairs is the faster one (measured)."""


@kernel
def choose(weights, generator):  # type: ignore[no-untyped-def]
    """A place of ``weights``, each as likely as its weight."""
    left, place = generator.random() * weights.sum(), 0
    while place < len(weights) - 1 and left >= weights[place]:
        left -= weights[place]
        place += 1
    return place


@kernel
def draw_later_light(amplitudes, generator):  # type: ignore[no-untyped-def]
    """The place sqrt(1 - t) b* of a click on the state with ``amplitudes`` (n,) of 0, 1, .. photons.

    t is drawn from its density sum_n |c_n|^2 n (1 - t)^(n-1), b from the Husimi function of what then is left: its radius
    exactly, its phase by rejection.
    """
    weights = amplitudes.real**2 + amplitudes.imag**2
    weights[0] = 0.0
    first = choose(weights, generator)
    rest = (1 - generator.random()) ** (1.0 / first)
    left = np.empty(len(amplitudes) - 1, np.complex128)
    for j in range(len(left)):
        left[j] = amplitudes[j + 1] * math.sqrt(j + 1) * rest ** (j / 2)
    radius = 0.0
    for _ in range(choose(left.real**2 + left.imag**2, generator) + 1):
        radius -= math.log(1 - generator.random())
    radius = math.sqrt(radius)
    scale, bound = 1.0, 0.0
    for j in range(len(left)):
        if j:
            scale *= radius / math.sqrt(j)
        left[j] *= scale
        bound += abs(left[j])
    while True:
        angle = 2 * math.pi * generator.random()
        turn, value = complex(math.cos(angle), math.sin(angle)), 0j
        for j in range(len(left) - 1, -1, -1):
            value = value * turn + left[j]
        if generator.random() * bound * bound < abs(value) ** 2:
            return math.sqrt(rest) * radius * turn


@kernel
def _repeated(where, counts):  # type: ignore[no-untyped-def]
    """Each mode of ``where`` as often as it has photons, as modes with one photon each."""
    rows, at = np.empty(counts.sum(), np.int64), 0
    for i in range(len(where)):
        rows[at : at + counts[i]] = where[i]
        at += counts[i]
    return rows, np.ones(len(rows), np.int64)


@kernel
def conditional_amplitudes(quadratic, gamma, where, counts, mode):  # type: ignore[no-untyped-def]
    """Amplitudes (n,) of 0, 1, .. photons in ``mode``, up to where the last two have less than 1e-9 of the weight of all."""
    terms = 1.0
    for count in counts:
        terms *= count + 1
    subsets = terms >= SUBSETS_FROM
    rows, numbers = _repeated(where, counts) if subsets else (where, counts)
    found = len(rows)
    sub, column = np.empty((found, found), np.complex128), np.empty(found, np.complex128)
    local = np.empty(found, np.complex128)
    for i in range(found):
        local[i], column[i] = gamma[rows[i]], quadratic[mode, rows[i]]
        for j in range(found):
            sub[i, j] = quadratic[rows[i], rows[j]]
    highest = FIRST_HIGHEST
    while True:
        moments, amplitudes = np.empty(highest + 1, np.complex128), np.empty(highest + 1, np.complex128)
        if subsets:
            single_photon_moments(sub, local, column, moments)
        else:
            photon_moments(sub, numbers, local, column, highest, moments)
        mode_amplitudes(moments, quadratic[mode, mode], gamma[mode], amplitudes)
        weights = amplitudes.real**2 + amplitudes.imag**2
        if weights[highest] + weights[highest - 1] < TAIL * weights.sum() or highest >= HIGHEST:
            return amplitudes
        highest = min(2 * highest, HIGHEST)


@kernel
def draw_sample(quadratic, linear, outcomes, threshold, generator, largest, sample):  # type: ignore[no-untyped-def] # noqa: PLR0917
    """Fill ``sample`` (modes,) with clicks, or with photon numbers; returns how many there are, and stops above ``largest``.

    ``quadratic`` (modes, modes) and ``linear`` (modes,): B and g of the pure state; ``outcomes`` (modes,): heterodyne outcomes.
    """
    modes = len(linear)
    where, counts = np.zeros(modes, np.int64), np.zeros(modes, np.int64)
    gamma = linear + quadratic @ np.conj(outcomes)
    found, total = 0, 0
    sample[:] = 0
    for mode in range(modes):
        gamma -= quadratic[:, mode] * np.conj(outcomes[mode])
        amplitudes = conditional_amplitudes(quadratic, gamma, where[:found], counts[:found], mode)
        number = choose(amplitudes.real**2 + amplitudes.imag**2, generator)
        if not number:
            continue
        if threshold:
            number = 1
            gamma += quadratic[:, mode] * draw_later_light(amplitudes, generator)
        sample[mode] = number
        total += number
        if total > largest:
            break
        place = found
        if number % 2:
            while place > 0 and counts[place - 1] % 2 == 0:
                counts[place], where[place] = counts[place - 1], where[place - 1]
                place -= 1
        counts[place], where[place] = number, mode
        found += 1
    return total
