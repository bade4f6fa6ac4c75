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
MILD = 1.0
"""Decay that a flux pulse takes back is put in after the rest up to this; above, the rest is made anew with the rates that hold."""


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

    def rest(self, duration_ns: FloatArray, more: FloatArray | None = None) -> None:
        """Let (E, P or 1) nanoseconds pass: relaxation and dephasing, no turn.

        ``more`` (E, P, 2): by how much other frequencies than the idle one relax and dephase in addition, as in `decay_more`.
        """
        before = self.vectors
        self._rest(duration_ns)
        if more is None:
            return
        strong = np.flatnonzero((more.min(axis=2) < -MILD).any(axis=1))
        mild = more.copy()
        mild[strong] = 0.0
        self.decay_more(mild[..., 0], mild[..., 1])
        if len(strong):
            time = np.broadcast_to(duration_ns, more.shape[:2])[strong] * 1e-9
            self.vectors[strong] = before[strong] @ self._maps_with(strong, time, more[strong]).swapaxes(-1, -2)

    def _rest(self, duration_ns: FloatArray) -> None:
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

    def _maps_with(self, entries: IntArray, time_s: FloatArray, more: FloatArray) -> FloatArray:
        """(G, P, 9, 9): rest of ``time_s`` (G, P) with as much more relaxation and dephasing as ``more`` (G, P, 2) says."""
        down, dephasing, up = (np.broadcast_to(rate, len(self.qubits))[entries, None] for rate in _rates(self.decay))
        length = np.maximum(time_s, 1e-15)
        factor = np.maximum(1 + more[..., 0] / ((down + up) * length), 0.0)
        decay = Decay((down * factor).ravel(), np.maximum(dephasing + more[..., 1] / length, 0.0).ravel(), (up * factor).ravel())
        return idle_superoperators(time_s.ravel(), decay).reshape(*time_s.shape, 9, 9)

    def decay_more(self, relaxed: FloatArray, dephased: FloatArray) -> None:
        """Relax towards equilibrium by exp(-relaxed) and dephase by exp(-dephased) in addition, (E, P): what other frequencies bring.

        Negative numbers, where a qubit was away from a two-level system, take back as much of the decay at the idle frequency.
        """
        kept, coherent = np.exp(-relaxed)[:, :, None], np.exp(-0.5 * relaxed - dephased)[:, :, None]
        vectors = self.vectors
        down, _, up = _rates(self.decay)
        rest = _equilibrium(np.broadcast_to(up / down, len(self.qubits)))[:, None, None, :]
        first, second = vectors[..., 1] - rest[..., 1], vectors[..., 2] - rest[..., 2]
        two = second * kept**2
        one = first * kept + (second - two)
        vectors[..., 0] += first + second - one - two
        vectors[..., 1], vectors[..., 2] = rest[..., 1] + one, rest[..., 2] + two
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
    return _equilibrium(thermal / (1 - thermal))


def _equilibrium(ratio: FloatArray) -> FloatArray:
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
