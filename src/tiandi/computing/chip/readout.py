"""Readout: what a tone at a resonator brings back, and how shots spread in the IQ plane.

The tone's answer is the steady state of a resonator that hangs on its feed line, S = 1 - v / (1 + 2i (f - fr) / kappa), times that of all
other resonators on the line. A shot is the mean over the pulse plus Gaussian noise that falls with the square root of its length. While
it is read a transmon may make one jump (relaxation, excitation, and, with too many photons, expulsion to the highest level), at a time
drawn exactly; a second jump in the same shot is neglected. Dispersive shifts shrink as 1 / sqrt(1 + n / n_critical) with the photon
number n (Boissonneault, Gambetta and Blais, PRL 105, 100504 (2010), doi 10.1103/PhysRevLett.105.100504); the law of expulsion is assumed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr

from tiandi.computing.chip.conditions import Conditions
from tiandi.computing.chip.parameters import ComplexArray, FloatArray, Hidden, IntArray
from tiandi.computing.chip.xiaohong import PER_FEED_LINE

STATES = 3
EXPULSION = 0.5
"""Photons over the critical number at which a transmon is expelled once in a microsecond; it goes with the fourth power."""
_JUMP_NODES, _JUMP_WEIGHTS = np.polynomial.legendre.leggauss(8)
_ACROSS = np.linspace(-5.0, 5.0, 41)
_ACROSS_WEIGHTS = np.exp(-0.5 * _ACROSS**2) / np.exp(-0.5 * _ACROSS**2).sum()


@dataclass(frozen=True, eq=False)
class Signals:
    """What one measurement can bring; E entries."""

    centre: ComplexArray
    """(E, 3): mean of a shot that stays in state 0, 1, 2, in volts."""
    noise: FloatArray
    """(E,): standard deviation of I, and of Q."""
    jump: FloatArray
    """(E, 3, 3): mean number of jumps from one state to another during the measurement, were the state refilled."""


def signals(
    hidden: Hidden, now: Conditions, qubits: IntArray, *, frequency_hz: FloatArray, amplitude: FloatArray, duration_ns: FloatArray
) -> Signals:
    """``qubits`` (E,) are read with tones of these properties (E,)."""
    kappa, visibility = hidden.linewidth_hz[qubits], hidden.visibility[qubits]
    apart = now.bare_hz[qubits] - hidden.resonator_hz[qubits]
    critical = np.square(apart) / np.maximum(4 * np.square(hidden.resonator_coupling_hz[qubits]), 1.0)
    photons = hidden.photons[qubits] * amplitude**2
    shrunk = 1 / np.sqrt(1 + photons / critical)
    shift = now.resonator_hz[qubits] - hidden.resonator_hz[qubits, None]
    resonance = hidden.resonator_hz[qubits, None] + shift * shrunk[:, None]
    response = 1 - visibility[:, None] / (1 + 2j * (frequency_hz[:, None] - resonance) / kappa[:, None])
    response = response * _neighbours(hidden, now, qubits, frequency_hz)[:, None]
    turn = np.exp(1j * (now.angle_rad[qubits] - 2 * np.pi * (frequency_hz - 6.5e9) * hidden.cable_ns[qubits] * 1e-9))
    centre = (hidden.gain[qubits] * amplitude * turn)[:, None] * response
    there = photons[:, None] / (1 + (2 * (frequency_hz[:, None] - resonance) / kappa[:, None]) ** 2)
    time = duration_ns * 1e-9
    down = time * (1 - now.thermal[qubits]) / now.t1_s[qubits]
    up = time * now.thermal[qubits] / now.t1_s[qubits]
    expelled = time[:, None] * 1e6 * (there / (EXPULSION * critical[:, None])) ** 4 * (visibility > 0)[:, None]
    jump = np.zeros((len(qubits), STATES, STATES))
    jump[:, 1, 0], jump[:, 2, 1], jump[:, 0, 1] = down, 2 * down, up
    jump[:, :2, 2] += np.minimum(expelled[:, :2], 50.0)
    return Signals(centre, hidden.noise[qubits] / np.sqrt(duration_ns / 1000), jump)


def _neighbours(hidden: Hidden, now: Conditions, qubits: IntArray, frequency_hz: FloatArray) -> ComplexArray:
    """What the other resonators on the feed line, their transmons in state 0, leave of the tone."""
    passed = np.ones(len(qubits), np.complex128)
    slot, first = hidden.layout.slot[qubits], qubits - hidden.layout.slot[qubits]
    for place in range(PER_FEED_LINE):
        other = np.minimum(first + place, hidden.qubits - 1)
        there = (place != slot) & (first + place < hidden.qubits)
        dip = hidden.visibility[other] / (1 + 2j * (frequency_hz - now.resonator_hz[other, 0]) / hidden.linewidth_hz[other])
        passed *= np.where(there, 1 - dip, 1.0)
    return passed


def jump_shares(jump: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Of mean numbers of jumps (E, 3, 3): share that stays (E, 3), share that jumps to each state (E, 3, 3), total number (E, 3)."""
    total = jump.sum(axis=2)
    left = -np.expm1(-total)
    return 1 - left, jump * (left / np.maximum(total, 1e-300))[:, :, None], total


def moments(read: Signals) -> tuple[ComplexArray, FloatArray, FloatArray, FloatArray]:
    """Mean (E, 3), and variance of I, of Q and covariance (E, 3) of a shot of each state, noise of the amplifier left out.

    A shot that jumps at the share u of the pulse is at u times the first centre and (1 - u) times the second; u has the density of an
    exponential distribution cut off at 1.
    """
    stay, share, total = jump_shares(read.jump)
    first, second = _cut_exponential(total)
    start, end = read.centre[:, :, None], read.centre[:, None, :]
    mean = (stay * read.centre) + (share * (end + first[:, :, None] * (start - end))).sum(axis=2)
    parts = []
    for one, other in ((np.real, np.real), (np.imag, np.imag), (np.real, np.imag)):
        a, b, c, d = one(end), other(end), one(start - end), other(start - end)
        mixed = a * b + first[:, :, None] * (a * d + b * c) + second[:, :, None] * c * d
        parts.append(stay * one(read.centre) * other(read.centre) + (share * mixed).sum(axis=2) - one(mean) * other(mean))
    return mean, parts[0], parts[1], parts[2]


def _cut_exponential(rate: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Mean of u and of u^2 of the density rate exp(-rate u) / (1 - exp(-rate)) on [0, 1]."""
    safe = np.maximum(rate, 1e-3)
    kept = np.exp(-safe) / -np.expm1(-safe)
    first = 1 / safe - kept
    second = 2 / safe**2 - kept * (1 + 2 / safe)
    small = rate < 1e-3
    return np.where(small, 0.5 - rate / 12, first), np.where(small, 1 / 3 - rate / 12, second)


def assignment(read: Signals, discriminator: ComplexArray, threshold: FloatArray) -> FloatArray:
    """(E, 3, 3): chance that a shot of each state is called 0, 1, 2, by the nearest centre of ``discriminator`` (E, 3) that is not NaN.

    ``threshold`` (E,) moves the boundary of 0 and 1 from the middle of their centres towards 1 by so many volts. Shots of entries without
    centres 0 and 1 are called 0.
    """
    stay, share, total = jump_shares(read.jump)
    result = stay[:, :, None] * _regions(read.centre, read.noise, discriminator, threshold)
    for node, weight in zip(0.5 * (_JUMP_NODES + 1), 0.5 * _JUMP_WEIGHTS, strict=True):
        with_time = np.where(total > 1e-9, total * np.exp(-total * node) / np.maximum(-np.expm1(-total), 1e-300), 1.0)
        for end in range(STATES):
            if not share[:, :, end].any():
                continue
            at = node * read.centre + (1 - node) * read.centre[:, end : end + 1]
            result += (weight * with_time * share[:, :, end])[:, :, None] * _regions(at, read.noise, discriminator, threshold)
    return result / result.sum(axis=2, keepdims=True)


def _regions(at: ComplexArray, noise: FloatArray, discriminator: ComplexArray, threshold: FloatArray) -> FloatArray:
    """(E, S, 3): share of Gaussian clouds around ``at`` (E, S) in each centre's region. Exact along the axis from centre 0 to centre 1, and
    a sum over 41 points across."""
    known = ~np.isnan(discriminator)
    both = known[:, 0] & known[:, 1]
    result = np.zeros((*at.shape, 3))
    result[..., 0] = 1.0
    if not both.any():
        return result
    at, noise, centres, shift = at[both], noise[both, None], discriminator[both], threshold[both]
    axis = centres[:, 1] - centres[:, 0]
    length = np.abs(axis)
    axis = axis / np.where(length > 0, length, 1.0)
    border = 0.5 * length + shift
    along = ((at - centres[:, :1]) * axis.conj()[:, None]).real
    called_one = ndtr((along - border[:, None]) / noise)
    part = np.stack([1 - called_one, called_one, np.zeros_like(called_one)], axis=-1)
    three = known[both, 2]
    if three.any():
        part[three] = _three_regions(at[three], noise[three], centres[three], axis[three], border[three])
    result[both] = part
    return result


def _three_regions(at: ComplexArray, noise: FloatArray, centres: ComplexArray, axis: ComplexArray, border: FloatArray) -> FloatArray:
    """State 2 takes what is nearer to its centre than to the nearer one of 0 and 1; the rest is parted at the border.

    Coordinates x along the axis and y across it, from centre 0. Of a given y, region 2 is a half-line of x seen from centre 0 where 0 is
    the nearer, and one seen from 1 elsewhere.
    """
    placed = (at - centres[:, :1]) * axis.conj()[:, None]
    second = (centres[:, 2] - centres[:, 0]) * axis.conj()
    y = placed.imag[:, :, None] + noise[:, :, None] * _ACROSS
    x, sigma = placed.real[:, :, None], noise[:, :, None]
    edge = border[:, None, None]

    def below(limit: FloatArray) -> FloatArray:
        return ndtr((limit - x) / sigma)

    def taken(place: FloatArray, low: FloatArray, high: FloatArray) -> FloatArray:
        """Share of region 2 in low < x < high, against the centre at (place, 0)."""
        over, across = (second.real - place)[:, None, None], second.imag[:, None, None]
        constant = 0.5 * (np.abs(second) ** 2 - place**2)[:, None, None]
        cut = (constant - across * y) / np.where(over == 0, 1e-12, over)
        whole = below(high) - below(low)
        inside = below(np.clip(cut, low, high))
        return np.where(
            over > 0, below(high) - inside, np.where(over < 0, inside - below(low), np.where(across * y > constant, whole, 0.0))
        )

    none, all_of_it = np.full_like(edge, -1e9), np.full_like(edge, 1e9)
    from_zero = taken(np.zeros(len(second)), none, edge)
    from_one = taken(np.abs(centres[:, 1] - centres[:, 0]), edge, all_of_it)
    zero = ((below(edge) - from_zero) * _ACROSS_WEIGHTS).sum(axis=2)
    one = ((1 - below(edge) - from_one) * _ACROSS_WEIGHTS).sum(axis=2)
    return np.clip(np.stack([zero, one, 1 - zero - one], axis=-1), 0.0, 1.0)


def classify(points: ComplexArray, discriminator: ComplexArray, threshold: FloatArray) -> IntArray:
    """What shots (E, N) are called: the same rule as `assignment`, shot by shot."""
    zero, one, two = (discriminator[:, state, None] for state in range(3))
    axis = one - zero
    length = np.abs(axis)
    along = ((points - zero) * axis.conj()).real / np.where(length > 0, length, 1.0)
    called = (along > 0.5 * length + threshold[:, None]).astype(np.int64)
    own = np.where(called == 1, one, zero)
    called[np.abs(points - two) < np.abs(points - own)] = 2
    return np.where(np.isnan(zero) | np.isnan(one), 0, called)


def draw_shots(generator: np.random.Generator, read: Signals, state: IntArray) -> ComplexArray:
    """(E, shots): IQ points of shots that begin in ``state`` (E, shots), their jumps and their noise drawn as the model has them."""
    entries, shots = state.shape
    rows = np.arange(entries)[:, None]
    total = read.jump.sum(axis=2)[rows, state]
    towards = np.cumsum(read.jump, axis=2)[rows, state]
    pick = generator.random((entries, shots)) * towards[..., -1]
    end = (pick[..., None] > towards[..., :2]).sum(axis=2)
    share = generator.exponential(size=(entries, shots)) / np.maximum(total, 1e-300)
    stayed = np.minimum(share, 1.0)
    signal = stayed * read.centre[rows, state] + (1 - stayed) * read.centre[rows, end]
    noise = generator.standard_normal((entries, shots, 2)).view(np.complex128)[..., 0]
    return signal + read.noise[:, None] * noise
