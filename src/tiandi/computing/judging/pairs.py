"""CZ gates beside the best that pulses of the same shapes and length can do, from the twin's own evolution without decay and noise.

The error of a gate is one minus its average fidelity with a CZ, leakage included: F = (|tr M|^2 + tr M M^dagger) / (d (d + 1)) with M the
part of CZ^dagger U on the four states of two qubits (Pedersen, Moller, Molmer, doi 10.1016/j.physleta.2007.02.069). One gate is played, its
lines at rest before it; gates that share no qubit are played at once, so that crosstalk from neighbours is in the error. Of the control
system's gate the virtual phases are its own; of the best one they are ideal. Decay, the same for both, is left out of both. The best
voltages are looked for on a grid around the control system's that is made finer twice; where that finds nothing better than half of the
couplers reach (a gate far off), the median of the chip counts as the best.
"""

from __future__ import annotations

import numpy as np

from tiandi.computing.chip.conditions import Conditions
from tiandi.computing.chip.evolution.pair import PairUnitaries
from tiandi.computing.chip.pair_gates import moment_unitaries
from tiandi.computing.chip.twin import ChipTwin
from tiandi.computing.control.experiments.gates import listening
from tiandi.computing.control.experiments.pairing import Pairs, cz_moment, pairs_of, resonant_volt
from tiandi.computing.control.knowledge import Knowledge
from tiandi.computing.instruments.program import FloatArray, IntArray, Program
from tiandi.computing.judging.criteria import Criterion, Mark, mark_of

CZ = Criterion("cz", "CZ error beyond the best", "coupler", "share", 1e-3, 0.95)
NEEDED = ("cz_amplitude_v", "cz_qubit_amplitude_v", "cz_phase_first_rad", "cz_phase_second_rad")
COUPLER_V, QUBIT_HZ = 0.012, 4e6
"""Half the width of the first grid: of the coupler's pulse, and of the moved qubit's frequency."""
GRID, FINER = 9, (1.0, 0.25, 0.06)
AT_ONCE = 128


def judge_couplers(twin: ChipTwin, knowledge: Knowledge, couplers: IntArray) -> tuple[Mark, ...]:
    """The mark of the CZ gates of ``couplers``; none where no coupler was ever calibrated."""
    if any(name not in knowledge.parameters for name in NEEDED):
        return ()
    known = np.isfinite(np.stack([knowledge[name][couplers] for name in NEEDED])).all(axis=0)
    when = knowledge.parameters["cz_qubit_amplitude_v"].measured_s[couplers]
    own, best = np.full((2, len(couplers)), np.nan)
    for time in np.unique(when[known]):
        now = twin.conditions(float(time), knowledge.settings)
        there = np.flatnonzero(known & (when == time))
        for part in np.array_split(there, -(-len(there) // AT_ONCE)):
            own[part], best[part] = cz_errors(twin, now, knowledge, couplers[part])
    if known.any():
        best = np.minimum(best, np.nanmedian(best))
    return (mark_of(CZ, couplers, own - best),)


def cz_errors(twin: ChipTwin, now: Conditions, knowledge: Knowledge, couplers: IntArray) -> tuple[FloatArray, FloatArray]:
    """(couplers,) twice: error of the control system's gates, and of the best found. Couplers that share qubits are played in turn."""
    own, best = np.empty((2, len(couplers)))
    for group in _apart(knowledge, couplers):
        own[group], best[group] = _errors(twin, now, knowledge, couplers[group])
    return own, best


def _errors(twin: ChipTwin, now: Conditions, knowledge: Knowledge, couplers: IntArray) -> tuple[FloatArray, FloatArray]:
    pair = pairs_of(knowledge, couplers)
    coupler_v, qubit_v, first, second = (knowledge[name][couplers] for name in NEEDED)
    gate = _played(twin, now, knowledge, pair, (coupler_v[:, None], qubit_v[:, None]))
    own = gate_errors(gate, first[:, None], second[:, None])[:, 0]
    slope = _volt_per_hz(knowledge, pair)
    one, other = (axis.ravel() for axis in np.meshgrid(np.linspace(-1, 1, GRID), np.linspace(-1, 1, GRID)))
    centre = np.stack([coupler_v, qubit_v])
    best = np.full(len(couplers), np.inf)
    for share in FINER:
        tried = centre[0][:, None] + share * COUPLER_V * one, centre[1][:, None] + share * QUBIT_HZ * slope[:, None] * other
        errors = gate_errors(_played(twin, now, knowledge, pair, tried))
        place = errors.argmin(axis=1)
        rows = np.arange(len(couplers))
        best = np.minimum(best, errors[rows, place])
        centre = np.stack([tried[0][rows, place], tried[1][rows, place]])
    return own, best


def gate_errors(gate: PairUnitaries, first_rad: FloatArray | None = None, second_rad: FloatArray | None = None) -> FloatArray:
    """(...): error of a gate whose qubits' own phases are taken off: those given, else the ones that leave the least."""
    zero_one, one_zero, both = gate.single[..., 0, 0], gate.single[..., 1, 1], -gate.double[..., 0, 0]
    kept = 1.0 + (np.abs(gate.single) ** 2).sum(axis=(-1, -2)) + np.abs(both) ** 2
    if first_rad is None or second_rad is None:
        # To first order the best phases share what the conditional phase is off half and half.
        off = np.angle(both * zero_one.conj() * one_zero.conj())
        first_rad, second_rad = np.angle(one_zero) + 0.5 * off, np.angle(zero_one) + 0.5 * off
    turned = 1.0 + zero_one * np.exp(-1j * second_rad) + one_zero * np.exp(-1j * first_rad) + both * np.exp(-1j * (first_rad + second_rad))
    return 1.0 - (np.abs(turned) ** 2 + kept) / 20.0


def _played(twin: ChipTwin, now: Conditions, knowledge: Knowledge, pair: Pairs, volt: tuple[FloatArray, FloatArray]) -> PairUnitaries:
    moment = cz_moment(knowledge, pair, *volt)
    program = Program(len(pair.coupler), volt[0].shape[1], (moment,), (listening(knowledge, pair.first),), 1)
    return moment_unitaries(twin.hidden, twin.electronics, knowledge.settings, now, program)


def _volt_per_hz(knowledge: Knowledge, pair: Pairs) -> FloatArray:
    """(pairs,): how much more voltage brings the moved qubit a hertz further, from a difference of the arc the control system knows."""
    low, high = (resonant_volt(knowledge, pair, np.full((1, 1), offset))[:, 0] for offset in (-1e6, 1e6))
    return np.nan_to_num((high - low) / 2e6)


def _apart(knowledge: Knowledge, couplers: IntArray) -> list[IntArray]:
    """Places of ``couplers`` in groups whose qubits are all different."""
    groups: list[tuple[set[int], list[int]]] = []
    for place, ends in enumerate(knowledge.electronics.couplers[couplers].tolist()):
        chosen = next((group for group in groups if not group[0] & set(ends)), None)
        if chosen is None:
            chosen = (set(), [])
            groups.append(chosen)
        chosen[0].update(ends)
        chosen[1].append(place)
    return [np.array(places, np.int64) for _, places in groups]
