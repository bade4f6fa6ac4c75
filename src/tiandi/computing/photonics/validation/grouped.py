"""Ideal distributions of clicks in groups of modes: exact for a few modes, else by phase-space sampling, with their own error."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom

from tiandi.computing.photonics.exact.clicks import pattern_probabilities
from tiandi.computing.photonics.exact.light import dark_probability, seen_state
from tiandi.computing.photonics.exact.totals import total_photon_distribution
from tiandi.computing.photonics.gaussian import FloatArray, Machine
from tiandi.computing.photonics.samplers.light import Float32Array, random_field
from tiandi.computing.photonics.validation.kernels import group_polynomials
from tiandi.computing.photonics.validation.tally import MOST_GROUPED, IntArray, Plan
from tiandi.computing.photonics.validation.totals import Distribution, of_sums

MOST_EXACT = 12
LANES, STEP = 64, 1024
BATCHES = 20


def exact_grouped(machine: Machine, plan: Plan) -> tuple[Distribution, ...]:
    """Of at most 12 modes: from the probabilities of all patterns."""
    table = pattern_probabilities(machine, np.arange(machine.modes))
    on = (np.arange(len(table))[:, None] >> np.arange(machine.modes)) & 1
    size = machine.modes - machine.modes // 2 + 1
    found = []
    for inside in plan.inside.T.astype(np.int64):
        joint = np.bincount((on @ inside) * size + on @ (1 - inside), table, size * size).reshape(size, size).astype(float)
        found.append(Distribution(joint, np.zeros_like(joint), "exact"))
    return tuple(found)


def ideal_totals(
    machine: Machine, plan: Plan, generator: np.random.Generator, samples: int
) -> tuple[Distribution | None, tuple[Distribution, ...]]:
    """Of the total of clicks or counts, and of the clicks in both parts of each partition; nothing for more than 512 modes.

    Exact for threshold detectors of at most 12 modes, and for the total of photons; else by positive-P sampling with about ``samples``
    fields: given the field, modes click on their own, with complex probabilities that average to the exact ones. Of each field the
    generating functions are multiplied out, so that only fields are drawn at random, not clicks (Drummond, Opanchuk, Dellios and Reid,
    Phys. Rev. A 105, 012427 (2022), doi:10.1103/PhysRevA.105.012427). Errors are from the scatter of 20 batches.
    """
    kind = machine.detectors.kind
    if machine.modes <= MOST_EXACT and kind == "threshold":
        grouped = exact_grouped(machine, plan)
        total = of_sums(grouped[0].probabilities, machine.modes)
        return Distribution(total, np.zeros_like(total), "exact"), grouped
    if machine.modes > MOST_GROUPED:
        return None, ()
    total_of_fields, sampled = _sampled(machine, plan, generator, samples)
    if kind == "number":
        return photon_totals(machine), sampled
    return total_of_fields, sampled


def photon_totals(machine: Machine) -> Distribution:
    """Of the number of photons in all, and of dark counts, at most one a detector."""
    light = total_photon_distribution(seen_state(machine)[0])
    dark = binom.pmf(np.arange(len(light)), machine.modes, machine.detectors.dark_count_probability)
    probabilities = np.convolve(light, dark)[: len(light)]
    return Distribution(probabilities, np.zeros(len(light)), "exact")


def _sampled(machine: Machine, plan: Plan, generator: np.random.Generator, samples: int) -> tuple[Distribution, tuple[Distribution, ...]]:
    field, bins = random_field(machine, "squeezed"), machine.detectors.bins
    size = machine.modes - machine.modes // 2 + 1
    parts = [(np.flatnonzero(inside), np.flatnonzero(inside == 0)) for inside in plan.inside.T]
    rounds = max(1, samples // BATCHES // STEP)
    sums = np.zeros((BATCHES, len(parts), size, size))
    totals = np.zeros((BATCHES, machine.modes * bins + 1))
    for number in range(BATCHES):
        for _ in range(rounds):
            drawn = field.draw(STEP, generator)
            lanes = _silence(*drawn, 1 - dark_probability(machine))
            for place, (first, second) in enumerate(parts):
                a, b = _polynomials(lanes, first, size), _polynomials(lanes, second, size)
                sums[number, place] += a.real.T @ b.real - a.imag.T @ b.imag
            if bins > 1:
                totals[number] += _binned(*drawn, machine)
        sums[number] /= rounds * STEP
        totals[number] = totals[number] / (rounds * STEP) if bins > 1 else of_sums(sums[number, 0], machine.modes)
    source = f"positive-P sampling, {BATCHES * rounds * STEP:,} fields"

    def distribution(batches: FloatArray) -> Distribution:
        return Distribution(batches.mean(axis=0), batches.std(axis=0, ddof=1) / math.sqrt(BATCHES), source, batches)

    return distribution(totals), tuple(distribution(sums[:, place]) for place in range(len(parts)))


def _silence(intensity: Float32Array, cross: Float32Array | None, lit: float) -> Float32Array:
    """(samples / LANES, 2, modes, LANES): real and imaginary part of the probability exp(-alpha beta) that a mode is silent."""
    magnitude = np.exp(-intensity) * np.float32(lit)
    angle = np.zeros_like(intensity) if cross is None else cross
    silent = np.stack([magnitude * np.cos(angle), -magnitude * np.sin(angle)])
    return np.ascontiguousarray(silent.reshape(2, -1, LANES, intensity.shape[1]).transpose(1, 0, 3, 2))


def _binned(intensity: Float32Array, cross: Float32Array | None, machine: Machine) -> FloatArray:
    """Sum over the fields of the distribution of all clicked bins: the bins of a mode are alike, so that a power does for all of them."""
    bins, modes = machine.detectors.bins, machine.modes
    lanes = _silence(
        intensity * np.float32(1 / bins),
        None if cross is None else cross * np.float32(1 / bins),
        1 - machine.detectors.dark_count_probability,
    )
    coefficients = _polynomials(lanes, np.arange(modes), modes + 1)
    at_roots = np.fft.fft(coefficients, modes * bins + 1, axis=1) ** bins
    return np.asarray(np.fft.ifft(at_roots.sum(axis=0)).real)


def _polynomials(lanes: Float32Array, members: IntArray, size: int) -> NDArray[np.complex64]:
    """Each sample's coefficients, (samples, size)."""
    shape = (len(lanes), size, LANES)
    real, imaginary = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    for number, silent in enumerate(lanes):
        group_polynomials(silent, members, real[number, : len(members) + 1], imaginary[number, : len(members) + 1])
    return (real + 1j * imaginary).transpose(0, 2, 1).reshape(-1, size)
