"""Relaxation, excitation and dephasing of a transmon, exactly, for any time.

drho/dt = -i [H, rho] + (down D[a] + up D[a^dagger] + 2 dephasing D[n]) rho, with D[c] rho = c rho c^dagger -
(c^dagger c rho + rho c^dagger c) / 2 and the ladder cut off above the highest level. With H diagonal the elements <n| rho |n + k> of each k
evolve among themselves: L small matrices, no larger than L x L, whose exponentials are taken by scaling and squaring, with as many terms of
the series as double precision can tell.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from tiandi.compiling import kernel
from tiandi.computing.chip.evolution.batches import on_all_cores
from tiandi.computing.chip.evolution.hermitian import pairs_of
from tiandi.computing.instruments.program import ComplexArray, FloatArray
from tiandi.limits import require_each_within

_LARGEST = 0.5
_ROUNDING = 1e-17


@dataclass(frozen=True, eq=False)
class Decay:
    """Rates of a batch of transmons [1/s], each a number or (B,)."""

    down_per_s: float | FloatArray
    """Of 1 -> 0; n -> n - 1 goes n times as fast."""
    dephasing_per_s: float | FloatArray
    """Pure dephasing: the element <m| rho |n> decays at this times (m - n)^2, beside what relaxation takes."""
    up_per_s: float | FloatArray = 0.0
    """Of 0 -> 1; n -> n + 1 goes n + 1 times as fast."""


def decay_of(t1_s: ArrayLike, dephasing_time_s: ArrayLike, thermal_population: ArrayLike = 0.0) -> Decay:
    """Rates of a qubit that relaxes as exp(-t / T1) towards ``thermal_population`` of state 1, and whose pure dephasing time is given.

    1/T1 = down + up; up = 1/T1 times the population (of two levels: higher ones fill as the ladder has it). Infinite times are allowed.
    """
    t1 = require_each_within("t1_s", t1_s, 1e-9, np.inf)
    dephasing = require_each_within("dephasing_time_s", dephasing_time_s, 1e-9, np.inf)
    population = require_each_within("thermal_population", thermal_population, 0.0, 0.5)
    return Decay((1.0 - population) / t1, 1.0 / dephasing, population / t1)


@kernel
def _exponential(generator, size, result):  # type: ignore[no-untyped-def]  # noqa: PLR0912
    """exp of ``generator`` (its first ``size`` rows and columns) into ``result``; the generator is scaled in place."""
    norm = 0.0
    for row in range(size):
        total = 0.0
        for column in range(size):
            total += abs(generator[row, column])
        norm = max(norm, total)
    squarings = 0
    while norm > _LARGEST:
        norm *= 0.5
        squarings += 1
    term, product = np.zeros((4, 4), np.complex128), np.zeros((4, 4), np.complex128)
    for row in range(size):
        for column in range(size):
            generator[row, column] /= 2.0**squarings
            result[row, column] = term[row, column] = 1.0 if row == column else 0.0
    terms, left = 0, 1.0
    while left > _ROUNDING:
        terms += 1
        left *= norm / terms
    for order in range(1, terms + squarings + 1):
        series = order <= terms
        for row in range(size):
            for column in range(size):
                value = 0.0j
                for middle in range(size):
                    if series:
                        value += term[row, middle] * generator[middle, column] / order
                    else:
                        value += result[row, middle] * result[middle, column]
                product[row, column] = value
        for row in range(size):
            for column in range(size):
                if series:
                    term[row, column] = product[row, column]
                    result[row, column] += product[row, column]
                else:
                    result[row, column] = product[row, column]


@kernel
def _same(rows, number):  # type: ignore[no-untyped-def]
    """Whether a row is as the one before it."""
    for column in range(rows.shape[1]):  # noqa: SIM110 # numba knows no all().
        if rows[number, column] != rows[number - 1, column]:
            return False
    return True


@kernel
def _idle(begin, end, levels, time, rates, energies, results):  # type: ignore[no-untyped-def]  # noqa: PLR0917
    """``results`` (B, L, 4, 4): for each k the map of the elements <n| rho |n + k>. ``rates`` (B, 3): down, dephasing, up."""
    generator = np.zeros((4, 4), np.complex128)
    for entry in range(begin, end):
        # In sweeps many entries in a row are of one transmon.
        if entry > begin and time[entry] == time[entry - 1] and _same(rates, entry) and _same(energies, entry):
            results[entry] = results[entry - 1]
            continue
        down, dephasing, up = rates[entry]
        for apart in range(levels):
            size = levels - apart
            generator[:] = 0.0
            for low in range(size):
                high = low + apart
                lost = 0.5 * down * (low + high) + dephasing * apart * apart
                lost += 0.5 * up * ((low + 1 if low < levels - 1 else 0) + (high + 1 if high < levels - 1 else 0))
                turn = energies[entry, high] - energies[entry, low]
                generator[low, low] = (-lost + 1j * turn) * time[entry]
                if high + 1 < levels:
                    generator[low, low + 1] = down * np.sqrt((low + 1.0) * (high + 1.0)) * time[entry]
                    generator[low + 1, low] = up * np.sqrt((low + 1.0) * (high + 1.0)) * time[entry]
            _exponential(generator, size, results[entry, apart])


def idle_blocks(duration_s: ArrayLike, decay: Decay, energies_rad_s: ArrayLike) -> ComplexArray:
    """(B, L, 4, 4): for each k = 0 to L - 1 the (L - k) x (L - k) map of the elements <n| rho |n + k>, after ``duration_s`` of rest.

    ``energies_rad_s`` (B or 1, L) are those of the levels in the frame.
    """
    energies = np.atleast_2d(np.asarray(energies_rad_s, float))
    parts = np.broadcast_arrays(np.atleast_1d(duration_s), decay.down_per_s, decay.dephasing_per_s, decay.up_per_s, energies[:, 0])
    count, levels = parts[0].size, energies.shape[1]
    time = require_each_within("duration_s", parts[0], 0.0, np.inf)
    rates = np.stack([require_each_within("rate", part, 0.0, np.inf) for part in parts[1:4]], axis=1)
    results = np.zeros((count, levels, 4, 4), np.complex128)
    on_all_cores(_idle, count, levels, time.copy(), rates, np.ascontiguousarray(np.broadcast_to(energies, (count, levels))), results)
    return results


def idle_superoperators(
    duration_s: ArrayLike,
    decay: Decay,
    detuning_rad_s: ArrayLike = 0.0,
    anharmonicity_rad_s: ArrayLike = 0.0,
    *,
    levels: int = 3,
) -> FloatArray:
    """(B, L^2, L^2): what rest of ``duration_s`` does to vectors of `hermitian`. All arguments are numbers or (B,); exact to rounding.

    The frame is the drive's: level n has the energy detuning n + anharmonicity n (n - 1) / 2 [rad/s].
    """
    detuning, anharmonicity = np.broadcast_arrays(np.atleast_1d(detuning_rad_s), np.atleast_1d(anharmonicity_rad_s))
    number = np.arange(levels)
    energies = detuning[:, None] * number + 0.5 * anharmonicity[:, None] * number * (number - 1)
    blocks = idle_blocks(duration_s, decay, energies)
    maps = np.zeros((len(blocks), levels**2, levels**2))
    maps[:, :levels, :levels] = blocks[:, 0, :levels, :levels].real
    place = {pair: levels + 2 * number for number, pair in enumerate(pairs_of(levels))}
    for row, column in ((row, column) for row in place for column in place if row[1] - row[0] == column[1] - column[0]):
        value = blocks[:, row[1] - row[0], row[0], column[0]]
        at, of = place[row], place[column]
        maps[:, at, of], maps[:, at + 1, of + 1] = value.real, value.real
        maps[:, at, of + 1], maps[:, at + 1, of] = -value.imag, value.imag
    return maps
