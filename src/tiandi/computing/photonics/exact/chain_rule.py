"""Exact samples by the chain rule, as far as they go: the time of a sample doubles with each click.

The state is a pure one with classical noise on its mean (Williamson's theorem: V = S D S^T, of which S S^T is pure and S (D - 1) S^T
noise), so that each sample is one of a displaced pure state: Quesada et al., PRX Quantum 3, 010306 (2022), doi:10.1103/PRXQuantum.3.010306.
Numbers of photons that are cut away have less than 1e-9 of the weight in each step.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from tiandi.computing.photonics.exact.chain_kernels import draw_sample
from tiandi.computing.photonics.exact.costs import cost_of_exact
from tiandi.computing.photonics.exact.light import seen_state
from tiandi.computing.photonics.gaussian import ComplexArray, CountArray, FloatArray, GaussianState, Machine
from tiandi.errors import InputError
from tiandi.limits import require_within

LARGEST_SECONDS = 600.0
LARGEST_NUMBER = 10_000_000
LARGEST_COUNT = 50
"""Photons of one sample above which it is given up: it would take days."""
BLOCK = 16
CLIPPED = 255


@dataclass(frozen=True, eq=False)
class PureWithNoise:
    """A Gaussian state as a pure one whose mean is noisy: what the chain rule works on."""

    quadratic: ComplexArray
    """B (modes, modes) of the Bargmann function exp(z B z / 2 + g z)."""
    mean: FloatArray
    noise_root: FloatArray
    """(2 modes, 2 modes): times normal numbers, the noise of the mean."""
    heterodyne_root: FloatArray
    """(2 modes, 2 modes): the same for heterodyne outcomes about the mean."""

    def linear(self, amplitude: ComplexArray) -> ComplexArray:
        """g (modes,) of the pure state displaced by ``amplitude`` (modes,): alpha - B alpha*."""
        return amplitude - self.quadratic @ amplitude.conj()


def pure_with_noise(state: GaussianState) -> PureWithNoise:
    """Splits V into a pure part, V^1/2 |V^1/2 W V^1/2|^-1 V^1/2 with the symplectic form W, and classical noise; no state is refused."""
    modes = state.modes
    values, vectors = np.linalg.eigh(state.covariance)
    root = (vectors * np.sqrt(values)) @ vectors.T
    turned = root @ np.concatenate([root[modes:], -root[:modes]])
    values, vectors = np.linalg.eigh(turned.T @ turned)
    pure = root @ (vectors / np.sqrt(values)) @ vectors.T @ root
    pure = (pure + pure.T) / 2
    values, vectors = np.linalg.eigh(state.covariance - pure)
    noise_root = vectors * np.sqrt(np.clip(values, 0, None))
    return PureWithNoise(bargmann_quadratic(pure), state.mean, noise_root, np.linalg.cholesky(pure + np.eye(2 * modes)))


def bargmann_quadratic(covariance: FloatArray) -> ComplexArray:
    """B (modes, modes) of a pure state: the block of 1 - Q^-1 between creation and annihilation, Q = <a a^t> of Husimi's function.

    Hamilton et al., Phys. Rev. Lett. 119, 170501 (2017), doi:10.1103/PhysRevLett.119.170501.
    """
    modes = len(covariance) // 2
    unit = np.eye(modes)
    change: ComplexArray = np.asarray(np.block([[unit, 1j * unit], [unit, -1j * unit]]) / 2, complex)
    husimi = change @ covariance @ change.conj().T + np.eye(2 * modes) / 2
    block: ComplexArray = (np.eye(2 * modes) - np.linalg.inv(husimi))[modes:, :modes].conj()
    return (block + block.T) / 2


def sample_exact(
    machine: Machine,
    number: int,
    generator: np.random.Generator,
    *,
    largest_seconds: float = LARGEST_SECONDS,
    workers: int | None = None,
    progress: Callable[[int], None] = lambda done: None,
) -> CountArray:
    """``number`` exact samples (number, modes) of what ``machine``'s detectors show.

    The cost is told before: InputError, with the seconds expected, where they are above ``largest_seconds``. ``workers``: threads, as many
    as processors unless told; the samples do not depend on them. Partly distinguishable light is sampled with all its modes, so only on
    small machines; dark counts are added. ``progress`` is told how many samples are done.
    """
    require_within("number", number, 0, LARGEST_NUMBER)
    require_within("largest_seconds", largest_seconds, 0.0, math.inf)
    threads = workers or os.cpu_count() or 1
    cost = cost_of_exact(machine)
    seconds = cost.expected_seconds(number, threads)
    if seconds > largest_seconds:
        raise InputError(
            "number", number, f"would take {seconds:,.3g} s on {threads} threads; {cost.words()}; at most {largest_seconds:g} s"
        )
    state, detector = seen_state(machine)
    seen = sample_state(state, number, generator, threshold=machine.detectors.kind == "threshold", workers=threads, progress=progress)
    return _detect(machine, seen, detector, generator)


def sample_state(
    state: GaussianState,
    number: int,
    generator: np.random.Generator,
    *,
    threshold: bool,
    workers: int = 1,
    largest: int = LARGEST_COUNT,
    progress: Callable[[int], None] = lambda done: None,
) -> CountArray:
    """``number`` exact samples (number, modes) of ``state``: clicks, or photon numbers (255 stands for all above).

    Modes with little light are counted first, so that most steps have few photons. A sample that passes ``largest`` is InputError.
    """
    order = np.argsort(state.mean_photon_numbers)
    split = pure_with_noise(state.part(order))
    blocks = [min(BLOCK, number - start) for start in range(0, number, BLOCK)]
    tasks = zip(blocks, generator.spawn(len(blocks)), strict=True)
    with ThreadPoolExecutor(workers) as pool:
        parts: list[CountArray] = []
        for part in pool.map(lambda task: _sample_block(split, task[0], task[1], threshold=threshold, largest=largest), tasks):
            parts.append(part)
            progress(len(parts) * BLOCK if len(parts) < len(blocks) else number)
    samples = np.zeros((number, state.modes), np.uint8)
    if parts:
        samples[:, order] = np.concatenate(parts)
    return samples


def _sample_block(split: PureWithNoise, number: int, generator: np.random.Generator, *, threshold: bool, largest: int) -> CountArray:
    modes = len(split.mean) // 2
    means = split.mean + generator.standard_normal((number, 2 * modes)) @ split.noise_root.T
    quadratures = means + generator.standard_normal((number, 2 * modes)) @ split.heterodyne_root.T
    displacements = ((means[:, :modes] + 1j * means[:, modes:]) / 2).astype(np.complex128)
    measured = ((quadratures[:, :modes] + 1j * quadratures[:, modes:]) / 2).astype(np.complex128)
    samples, sample = np.zeros((number, modes), np.uint8), np.zeros(modes, np.int64)
    for i in range(number):
        linear, outcomes = split.linear(displacements[i]), measured[i]
        total = draw_sample(split.quadratic, linear, outcomes, threshold, generator, largest, sample)
        if total > largest:
            raise InputError("counts of one sample", total, f"must be at most {largest}: more would take too long")
        samples[i] = np.minimum(sample, CLIPPED)
    return samples


def _detect(machine: Machine, seen: CountArray, detector: np.ndarray, generator: np.random.Generator) -> CountArray:
    """What the detectors show of the counts of all modes of light (number, modes seen): sums of modes, bins and dark counts."""
    counts = np.zeros((len(seen), machine.modes), np.int64)
    for start in range(0, len(detector), machine.modes):
        counts += seen[:, start : start + machine.modes]
    detectors = machine.detectors
    if detectors.kind == "number":
        dark = generator.random(counts.shape) < detectors.dark_count_probability
        return np.minimum(counts + dark, CLIPPED).astype(np.uint8)
    bins = detectors.bins if detectors.kind == "pseudo-number" else 1
    occupied = _occupied_bins(counts, bins, generator)
    return (occupied + generator.binomial(bins - occupied, detectors.dark_count_probability)).astype(np.uint8)


def _occupied_bins(counts: np.ndarray, bins: int, generator: np.random.Generator) -> np.ndarray:
    """Bins (number, modes) that hold a photon when each photon falls into one of ``bins`` at random."""
    occupied, left = np.zeros_like(counts), counts.copy()
    while (left > 0).any():
        occupied += (left > 0) & (generator.random(counts.shape) * bins >= occupied)
        left -= 1
    return occupied
