"""From alpha beta and a uniform number to what a mode's detector says, for each kind of detector and its dark counts.

Given alpha beta = mu, a threshold detector stays dark with "probability" Re exp(-mu), each of the b bins of a pseudo-number detector with
Re exp(-mu / b), and a number detector counts n photons with Re exp(-mu) mu^n / n!. For a classical field these are probabilities and the
samples exact. For squeezed light they can lie outside of [0, 1]; comparing with a uniform number clips them, which is the projection of
Goodman, Dellios, Reid and Drummond, arXiv 2604.12330.
"""

from __future__ import annotations

import math

import numpy as np

from tiandi.compiling import kernel
from tiandi.computing.photonics.gaussian import CountArray, Detectors, Machine
from tiandi.computing.photonics.samplers.interface import LARGEST_COUNT
from tiandi.computing.photonics.samplers.light import Float32Array
from tiandi.errors import InputError
from tiandi.limits import require_within

LARGEST_MEAN_PHOTONS = 10.0
"""Of a mode before a number detector: squeezed light of 10 photons has more than 255 with a probability below 1e-6."""


def require_detectors(machine: Machine, sampler: str, *, kinds: tuple[str, ...] = ("threshold", "pseudo-number", "number")) -> Detectors:
    """The machine's detectors; raises InputError where a ``sampler`` cannot honour them, or samples would not fit into bytes."""
    detectors = machine.detectors
    if detectors.kind not in kinds:
        raise InputError("detectors.kind", detectors.kind, f"must be {' or '.join(kinds)} for the sampler {sampler}")
    require_within("detectors.dark_count_probability", detectors.dark_count_probability, 0.0, 1.0)
    require_within("detectors.bins", detectors.bins, 1, LARGEST_COUNT)
    if detectors.kind == "number":
        brightest = float((np.abs(machine.transfer) ** 2 @ np.sinh(machine.squeezing_r) ** 2).max())
        require_within("mean photons of the brightest mode", brightest, 0.0, LARGEST_MEAN_PHOTONS)
    return detectors


def detect(real: Float32Array, imaginary: Float32Array | None, uniform: Float32Array, detectors: Detectors, out: CountArray) -> None:
    """Fill ``out`` (samples, modes): the smallest count whose cumulative probability is at least the uniform number.

    ``real`` is used up.
    """
    if detectors.kind == "threshold":
        np.less(dark_weight(real, imaginary, detectors.dark_count_probability), uniform, out=out.view(np.bool_))
        return
    cross = np.zeros_like(real) if imaginary is None else imaginary
    if detectors.kind == "pseudo-number":
        _count_bins((real, cross), uniform, detectors.bins, detectors.dark_count_probability, out)
    else:
        _count_photons((real, cross), uniform, detectors.dark_count_probability, out)


def dark_weight(real: Float32Array, imaginary: Float32Array | None, dark_count_probability: float) -> Float32Array:
    """Re exp(-mu) (1 - d), in place of ``real``."""
    np.negative(real, out=real)
    np.exp(real, out=real)
    if imaginary is not None:
        real *= np.cos(imaginary)
    if dark_count_probability:
        real *= np.float32(1 - dark_count_probability)
    return real


def cumulative(real: Float32Array, imaginary: Float32Array, detectors: Detectors, largest: int) -> Float32Array:
    """(largest, samples, modes): clipped probabilities of at most 0, 1, ... largest - 1 counts given mu, never falling.

    ``real`` is used up.
    """
    dark_counts = np.float32(detectors.dark_count_probability)
    if detectors.kind == "number":
        out = np.empty((largest, *real.shape), np.float32)
        mu = real + 1j * imaginary
        term = np.exp(-mu)
        before = np.zeros_like(real)
        for count in range(largest):
            out[count] = before + (1 - dark_counts) * term.real
            before += term.real
            term = term * mu / np.float32(count + 1)
    elif detectors.kind == "pseudo-number":
        out = np.empty((largest, *real.shape), np.float32)
        bins = np.float32(detectors.bins)
        dark = np.clip(dark_weight(real / bins, imaginary / bins, detectors.dark_count_probability), 0, 1)
        total = np.zeros_like(real)
        for count in range(largest):
            total += np.float32(math.comb(detectors.bins, count)) * dark ** (detectors.bins - count) * (1 - dark) ** count
            out[count] = total
    else:
        out = dark_weight(real, imaginary, detectors.dark_count_probability)[None]
    np.clip(out, 0, 1, out=out)
    return np.maximum.accumulate(out, axis=0, out=out) if largest > 1 else out


@kernel
def _count_bins(light: tuple[Float32Array, Float32Array], uniform: Float32Array, bins: int, dark_counts: float, out: CountArray) -> None:
    """Clicked bins of ``bins``: the binomial distribution inverted at the uniform number."""
    real, imaginary = light
    for i in range(real.shape[0]):
        for j in range(real.shape[1]):
            dark = (1 - dark_counts) * math.exp(-real[i, j] / bins) * math.cos(imaginary[i, j] / bins)
            if dark >= 1:
                out[i, j] = 0
                continue
            if dark <= 0:
                out[i, j] = bins
                continue
            odds = (1 - dark) / dark
            term = dark**bins
            total = term
            count = 0
            while uniform[i, j] > total and count < bins:
                term *= odds * (bins - count) / (count + 1)
                count += 1
                total += term
            out[i, j] = count


@kernel
def _count_photons(light: tuple[Float32Array, Float32Array], uniform: Float32Array, dark_counts: float, out: CountArray) -> None:
    """Photons: Re exp(-mu) mu^n / n! summed until it reaches the uniform number; a dark count adds one."""
    real, imaginary = light
    for i in range(real.shape[0]):
        for j in range(real.shape[1]):
            mu = complex(real[i, j], imaginary[i, j])
            size = math.exp(-real[i, j])
            term = complex(size * math.cos(imaginary[i, j]), -size * math.sin(imaginary[i, j]))
            before = 0.0
            total = term.real
            count = 0
            while uniform[i, j] > (1 - dark_counts) * total + dark_counts * before and count < 255:
                count += 1
                term = term * mu / count
                before = total
                total += term.real
            out[i, j] = count
