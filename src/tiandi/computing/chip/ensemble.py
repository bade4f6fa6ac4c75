"""States of all qubits of a program at all its points, and what acts on them.

A state is a vector of evolution.hermitian (nine real numbers) in a frame that turns with the qubit's own frequency. Slow noise makes the
frequency of each shot a little different: the mean over its Gaussian distribution is taken at a few nodes (Gauss and Hermite).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tiandi.computing.chip.conditions import Conditions
from tiandi.computing.chip.evolution.decay import Decay, idle_superoperators
from tiandi.computing.chip.parameters import FloatArray, IntArray

NODES = 7
WIDE_RAD = 0.03
"""Slow noise that turns a qubit by less than this over a whole program is left out."""


@dataclass(eq=False)
class Ensemble:
    """E entries: the qubits that targets measure, then those that they drive besides. P points, N nodes of slow noise."""

    qubits: IntArray
    """(E,)."""
    target: IntArray
    """(E,): whose clock counts for an entry."""
    vectors: FloatArray
    """(E, P, N, 9)."""
    clock_ns: FloatArray
    """(T, P): since the program began."""
    offset_hz: FloatArray
    """(E, N): the nodes' shift of the frequency."""
    weight: FloatArray
    """(N,)."""
    decay: Decay
    zz_hz: FloatArray
    """(C,): of couplers with both ends among the entries, and the two entries, (C, 2)."""
    zz_entries: IntArray

    @property
    def excitation(self) -> FloatArray:
        """(E, P): mean number of quanta."""
        return (self.vectors[..., 1] + 2 * self.vectors[..., 2]) @ self.weight

    def neighbours_shift_hz(self) -> FloatArray:
        """(E, P): what the neighbours' mean excitation adds to the frequency: a mean field, in place of the pair's own evolution."""
        excitation = self.excitation
        shift = np.zeros_like(excitation)
        first, second = self.zz_entries.T
        np.add.at(shift, first, self.zz_hz[:, None] * excitation[second])
        np.add.at(shift, second, self.zz_hz[:, None] * excitation[first])
        return shift

    def turn(self, angle_rad: FloatArray, entries: IntArray | slice = slice(None)) -> None:
        """Turn <0|rho|1> of ``entries`` by exp(i angle); ``angle_rad`` broadcasts to (entries, P, N)."""
        turned(self.vectors, angle_rad, entries)

    def rest(self, duration_ns: FloatArray) -> None:
        """Let (E, P or 1) nanoseconds pass: relaxation and dephasing, no turn."""
        if not duration_ns.any():
            return
        flat = np.ascontiguousarray(duration_ns)
        times, place = np.unique(flat, return_inverse=True)
        entries = len(self.qubits)
        if len(times) == 1:
            maps = idle_superoperators(np.full(entries, times[0] * 1e-9), self.decay)[:, None]
        else:
            columns = flat.shape[1]
            decay = Decay(*(np.repeat(np.broadcast_to(rate, entries), columns) for rate in _rates(self.decay)))
            maps = idle_superoperators(times[place].ravel() * 1e-9, decay).reshape(entries, columns, 9, 9)
        self.vectors = self.vectors @ maps.swapaxes(-1, -2)

    def decay_more(self, relaxed: FloatArray, dephased: FloatArray) -> None:
        """Relax by exp(-relaxed) and dephase by exp(-dephased) in addition, (E, P): what other frequencies than the idle one bring.

        Negative numbers, where a qubit was away from a two-level system, take back as much of the decay at the idle frequency.
        """
        kept, coherent = np.exp(-relaxed)[:, :, None], np.exp(-0.5 * relaxed - dephased)[:, :, None]
        vectors = self.vectors
        two = vectors[..., 2] * kept**2
        one = vectors[..., 1] * kept + (vectors[..., 2] - two)
        vectors[..., 0] += vectors[..., 1] + vectors[..., 2] - one - two
        vectors[..., 1], vectors[..., 2] = one, two
        for place, power in ((3, 1), (5, 2), (7, 3)):
            vectors[..., place : place + 2] *= (coherent**power)[..., None]


def _rates(decay: Decay) -> tuple[FloatArray, FloatArray, FloatArray]:
    return np.asarray(decay.down_per_s), np.asarray(decay.dephasing_per_s), np.asarray(decay.up_per_s)


def turned(vectors: FloatArray, angle_rad: FloatArray, entries: IntArray | slice) -> None:
    """Turn the coherences of ``vectors[entries]`` in place."""
    phase = np.exp(1j * angle_rad)
    part = vectors[entries]
    for place, factor in ((3, phase), (5, phase * phase), (7, phase)):
        value = (part[..., place] + 1j * part[..., place + 1]) * factor
        part[..., place], part[..., place + 1] = value.real, value.imag
    vectors[entries] = part


def decay_of_entries(now: Conditions, qubits: IntArray) -> Decay:
    """Rates of the entries as the chip is ``now``."""
    thermal = now.thermal[qubits]
    return Decay((1 - thermal) / now.t1_s[qubits], now.white_dephasing_hz[qubits], thermal / now.t1_s[qubits])


def equilibrium(now: Conditions, qubits: IntArray) -> FloatArray:
    """(E, 3): populations after a long rest; state 2 as the ladder has it."""
    thermal = now.thermal[qubits]
    ratio = thermal / (1 - thermal)
    shares = np.stack([np.ones_like(ratio), ratio, ratio**2], axis=1)
    return shares / shares.sum(axis=1, keepdims=True)


def nodes_of(slow_hz: FloatArray, total_ns: float) -> tuple[FloatArray, FloatArray]:
    """Shifts (E, N) and weights (N,) for slow noise of these standard deviations over a program of ``total_ns``."""
    if 2e-9 * np.pi * total_ns * slow_hz.max(initial=0.0) < WIDE_RAD:
        return np.zeros((len(slow_hz), 1)), np.ones(1)
    places, weights = np.polynomial.hermite_e.hermegauss(NODES)
    return slow_hz[:, None] * places, weights / weights.sum()


def zz_of_entries(now: Conditions, couplers: IntArray, qubits: IntArray, size: int) -> tuple[FloatArray, IntArray]:
    """ZZ [Hz] of the couplers with both ends among the entries, and which entries those are, (C, 2)."""
    entry = np.full(size, -1)
    entry[qubits] = np.arange(len(qubits))
    ends = entry[couplers]
    both = (ends >= 0).all(axis=1)
    return now.zz_hz[both], ends[both]
