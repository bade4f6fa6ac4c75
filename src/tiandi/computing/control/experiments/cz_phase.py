"""CZ phase: voltages at which the conditional phase is pi and nothing stays in 2, and the phases that each qubit gains beside.

Around the first return of |11> the population left in 2 is a quadratic form of both voltages, with a valley along which it all but
vanishes; the conditional phase, by Ramsey with the other qubit in 0 and in 1, is a plane. The gate is where the valley meets pi (Foxen et
al., doi 10.1103/PhysRevLett.125.120504). Two rounds, the second on a smaller grid around what the first one found. The phases of the
qubits alone are taken off by virtual turns (McKay et al., doi 10.1103/PhysRevA.96.022330).
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiandi.computing.control.experiment import Curves, Findings, Measurement, Request
from tiandi.computing.control.experiments.node import HOUR_S, column, verdicts
from tiandi.computing.control.experiments.pairing import (
    QUADRATURES,
    PairNode,
    Pairs,
    counting_pairs,
    cz_moment,
    exchanged,
    fringe_steps,
    only,
    pairs_of,
    phasors,
    resonant_volt,
)
from tiandi.computing.control.knowledge import Knowledge
from tiandi.computing.instruments.program import ComplexArray, FloatArray, Flux, IntArray, Moment, Reading

ROUNDS = ((0.28, 5e6, 1_500), (0.14, 2.5e6, 3_000))
"""Half the width of the grid in coupler voltage, as a share of `cz_swing_v`, and in the moved qubit's frequency, and shots."""
GRID = tuple(axis.ravel() for axis in np.meshgrid(np.linspace(-1.0, 1.0, 5), np.linspace(-1.0, 1.0, 3), indexing="ij"))
"""Coupler voltage, and frequency."""
PHASE_SHOTS = 4_000
FAR_RAD = 0.15
WORST_LEAKAGE = 0.04


@dataclass(frozen=True)
class CzPhase(PairNode):
    """cz_amplitude_v, cz_qubit_amplitude_v, cz_phase_first_rad, cz_phase_second_rad, and cz_rad_per_v of the qubit's pulse."""

    name: str = "cz-phase"
    title: str = "Conditional phase of the CZ"
    after: tuple[str, ...] = ("cz-chevron",)
    valid_s: float = 12.0 * HOUR_S

    def measure(self, knowledge: Knowledge, targets: IntArray) -> Measurement:
        pair = pairs_of(knowledge, targets)
        volt, offset = knowledge["cz_amplitude_v"][targets].copy(), knowledge["cz_offset_hz"][targets].copy()
        for wide, wide_hz, shots in ROUNDS:
            wide_v = wide * knowledge["cz_swing_v"][targets]
            trials = column(volt) + column(wide_v) * GRID[0]
            away = column(offset) + wide_hz * GRID[1]
            moment = cz_moment(knowledge, pair, trials, resonant_volt(knowledge, pair, away))
            left = yield from leakages(knowledge, pair, moment, len(GRID[0]), shots)
            phase = yield from conditional_phases(knowledge, pair, moment, len(GRID[0]), shots)
            step_v, step_hz, slope, bottom, found = _meet(left, phase)
            volt, offset = volt + wide_v * step_v, offset + wide_hz * step_hz
            slope_per_hz = slope / wide_hz
        low, qubit_volt, high = (resonant_volt(knowledge, pair, column(offset + part))[:, 0] for part in (-1e6, 0.0, 1e6))
        moment = cz_moment(knowledge, pair, column(volt), column(qubit_volt))
        first, second, conditional, contrast = yield from both_phases(knowledge, pair, (moment,), PHASE_SHOTS)
        off = np.angle(-np.exp(1j * conditional))
        noise = np.sqrt(2.0 / 3.0 / PHASE_SHOTS) * 0.25 / np.maximum(contrast, 0.02)
        return Findings(
            {
                "cz_amplitude_v": volt, "cz_qubit_amplitude_v": qubit_volt, "cz_offset_hz": offset,
                "cz_phase_first_rad": first, "cz_phase_second_rad": second, "cz_rad_per_v": slope_per_hz * 2e6 / (high - low),
            },
            {
                "cz_amplitude_v": np.full(len(targets), 3e-4), "cz_qubit_amplitude_v": noise / np.abs(slope_per_hz * 2e6 / (high - low)),
                "cz_offset_hz": noise / np.abs(slope_per_hz), "cz_phase_first_rad": noise, "cz_phase_second_rad": noise,
                "cz_rad_per_v": np.full(len(targets), np.nan),
            },
            verdicts(
                len(targets),
                (contrast < 0.05, "no fringes across the gate: a phase decays within it"),
                (~found, "the population left in 2 has no valley around the chevron's return"),
                (bottom > WORST_LEAKAGE, f"more than {WORST_LEAKAGE:.0%} stay in 2 at the best"),
                (np.abs(off) > FAR_RAD, "the conditional phase does not become pi in the valley of leakage"),
            ),
            curves=Curves(trials, left, None, "coupler pulse (V)", "population left in 20"),
            # The chevron makes a longer gate where it hears that this one cannot be.
            repairs={"cz-chevron": targets[~found | (bottom > WORST_LEAKAGE) | (np.abs(off) > FAR_RAD)]},
        )  # fmt: skip


def leakages(knowledge: Knowledge, pair: Pairs, moment: Moment, points: int, shots: int) -> Generator[Request, Any, FloatArray]:
    """(targets, points): what 11 leaves in 20, seen by the lower qubit in 0, less what is called so after no gate at all."""
    steps = ((pair.first_gates.turn(), pair.second_gates.turn()), _repeated(moment, points, 1, silent=1))
    found = exchanged(pair, (yield from counting_pairs(knowledge, pair, points + 1, steps, shots)))
    return found[:, 1:] - found[:, :1]


def conditional_phases(knowledge: Knowledge, pair: Pairs, moment: Moment, points: int, shots: int) -> Generator[Request, Any, FloatArray]:
    """(targets, points): phase of 11 beyond those of 10 and 01, less pi, within half a turn."""
    repeats = 2 * len(QUADRATURES)
    spread = _repeated(moment, points, repeats)
    control = np.tile(np.repeat([0.0, 1.0], len(QUADRATURES)), points)
    steps = fringe_steps(pair, 0, control, np.tile(QUADRATURES, 2 * points)[None, :], (spread,))
    reading: Reading = yield only(knowledge, pair.first, points * repeats, steps, shots)
    assert reading.populations is not None
    both = phasors(reading.populations).reshape(len(pair.coupler), points, 2)
    return np.angle(-both[:, :, 1] * both[:, :, 0].conj())


def both_phases(
    knowledge: Knowledge, pair: Pairs, moments: tuple[Moment, ...], shots: int
) -> Generator[Request, Any, tuple[FloatArray, FloatArray, FloatArray, FloatArray]]:
    """(targets,) each: phase that the first and the second qubit gain, the conditional phase, and the length of the shortest fringe.

    What the conditional phase is beside pi is shared: half of it is added to each qubit's own.
    """
    control = np.repeat([0.0, 1.0], len(QUADRATURES))
    found: list[ComplexArray] = []
    for side, qubit in enumerate((pair.first, pair.second)):
        steps = fringe_steps(pair, side, control, np.tile(QUADRATURES, 2)[None, :], moments)
        reading: Reading = yield only(knowledge, qubit, len(control), steps, shots)
        assert reading.populations is not None
        found.append(phasors(reading.populations))
    off = [np.angle(-one[:, 1] * one[:, 0].conj()) for one in found]
    conditional = np.pi + 0.5 * (off[0] + off[1])
    alone = [np.angle(one[:, 0]) + 0.5 * each for one, each in zip(found, off, strict=True)]
    return alone[0], alone[1], conditional, np.min([np.abs(one).min(axis=1) for one in found], axis=0)


def _repeated(moment: Moment, points: int, times: int, *, silent: int = 0) -> Moment:
    """The moment's pulses with each point ``times`` over, and before them some of amplitude 0."""

    def widened(part: Flux) -> Flux:
        amplitude = np.broadcast_to(np.asarray(part.amplitude), (len(part.lines), points))
        return replace(part, amplitude=np.pad(np.repeat(amplitude, times, axis=1), ((0, 0), (silent, 0))))

    return tuple(widened(part) for part in moment if isinstance(part, Flux))


def _meet(left: FloatArray, phase: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray, NDArray[np.bool_]]:
    """Where the valley of ``left`` meets the zero of ``phase`` (targets, GRID), in units of the grid, within 1.6 of its middle.

    Also the slope of the phase along the frequency, the population at the meeting, and whether there is a valley.
    """
    x, y = GRID
    basis = np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], axis=1)
    form = left @ np.linalg.pinv(basis).T
    # The phase leaves its plane where much is left in 2; such points count less.
    plane = np.stack([np.ones_like(x), x, y], axis=1)
    weight = 1.0 / (0.03 + np.maximum(left - left.min(axis=1, keepdims=True), 0.0))
    weighted = plane * weight[:, :, None]
    level, tilt, slope = np.linalg.solve(
        weighted.transpose(0, 2, 1) @ weighted, (weighted.transpose(0, 2, 1) @ (phase * weight)[..., None])
    )[..., 0].T
    found = form[:, 3] > 0.0
    bend = np.where(found, 2.0 * form[:, 3], 1.0)
    # Valley: x = -(form1 + form4 y) / bend; there level + tilt x + slope y = 0.
    along = slope - tilt * form[:, 4] / bend
    place = np.clip((tilt * form[:, 1] / bend - level) / np.where(along == 0.0, 1.0, along), -1.6, 1.6)
    across = np.clip(-(form[:, 1] + form[:, 4] * place) / bend, -1.6, 1.6)
    terms = np.stack([np.ones_like(place), across, place, across**2, across * place, place**2], axis=1)
    return across, place, slope, (form * terms).sum(axis=1), found
