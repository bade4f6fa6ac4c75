"""Coupler bias: where a coupler's direct and mediated couplings cancel (Yan et al., doi 10.1103/PhysRevApplied.10.054062).

Between two half turns of the first qubit a pulse of growing voltage is played on the coupler; the second qubit is in 0 or in 1. The
difference of the two phases is ZZ, which goes with the square of the coupling and grows fast on either side of the coupler's sweet spot.
A second scan, longer and around the zero that the first one lets expect, finds it as the zero of that square. Where it does not, a third
scan, wider and longer still, takes off what ZZ does during the half turns, and may find a stretch too quiet to have a zero one could tell:
its middle does as well. A coupler whose voltage changes nothing is broken.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiandi.computing.control.experiment import Curves, Findings, Measurement, Request
from tiandi.computing.control.experiments.node import HOUR_S, column, verdicts
from tiandi.computing.control.experiments.pairing import MOST_LIMIT, QUADRATURES, PairNode, Pairs, fringe_steps, only, pairs_of, phasors
from tiandi.computing.control.fitting import levenberg_marquardt
from tiandi.computing.control.knowledge import Flag, Knowledge
from tiandi.computing.instruments.instrument import copied
from tiandi.computing.instruments.program import FloatArray, Flux, IntArray, Reading, Shape

SCAN, SCAN_NS, SCAN_SHOTS = np.linspace(0.075, 0.4, 14), 120.0, 1_500
FURTHER = np.linspace(0.425, 0.6, 8)
"""One side of the sweet spot in flux quanta of the design; and beyond, for those that have not coupled by then."""
FINE, FINE_NS, FINE_SHOTS = np.linspace(-0.075, 0.05, 9), 400.0, 6_000
STRONG_RAD = 0.5
"""The ZZ phase of a coupling of some megahertz."""
BACK = 0.0875
"""From there back to zero, as the scan lets expect it."""
QUIET, QUIET_NS, QUIET_RAD = np.linspace(-0.19, -0.04, 13), 1_000.0, 0.15
"""Beside the voltage of strong coupling, for a zero that was not found; a phase below this is a ZZ of less than 24 kHz."""
DULL_RAD = 0.25
"""A coupler that works changes its phase by more than this somewhere; the phase of one at its sweet spot for good has noise of 0.03."""
FAINT = 0.08
EDGE = Shape("flattop", 5.0)


@dataclass(frozen=True)
class CouplerBias(PairNode):
    """idle_coupler_bias, in volts, and coupler_strong_v (beside it); sets biases, flags broken couplers."""

    name: str = "coupler-bias"
    title: str = "Coupler bias of least coupling"
    after: tuple[str, ...] = ("discrimination",)
    valid_s: float = 168.0 * HOUR_S

    def measure(self, knowledge: Knowledge, targets: IntArray) -> Measurement:
        pair = pairs_of(knowledge, targets)
        static = knowledge.settings.coupler_bias_v[targets]
        quantum = knowledge.electronics.design_coupler_volt_per_flux_quantum[targets]
        above, dull, faint = yield from self._strong(knowledge, pair, static, quantum)
        unseen = ~dull & ~faint & ~np.isfinite(above)
        chosen = np.nan_to_num(above, nan=0.4 * quantum.mean()) - BACK * quantum
        volt = column(chosen) + column(quantum) * FINE
        fine, _ = yield from self._phases(knowledge, pair, volt, FINE_NS, FINE_SHOTS)
        zero, error, model, lost = _zero(volt, fine)
        again = np.flatnonzero(lost & ~dull & ~faint & ~unseen)
        if len(again):
            # The first scan was a little out; the parabola says where to.
            reach = 0.0625 * quantum[again]
            volt[again] += column(np.clip(np.nan_to_num(zero[again] - chosen[again]), -reach, reach))
            fine[again], _ = yield from self._phases(knowledge, pairs_of(knowledge, targets[again]), volt[again], FINE_NS, FINE_SHOTS)
            zero, error, model, lost = _zero(volt, fine)
            again = again[lost[again]]
        if len(again):
            zero[again], error[again], lost[again] = yield from self._quiet(
                knowledge, pairs_of(knowledge, targets[again]), above[again], quantum[again]
            )
        reason = f"no voltage changes its ZZ phase by more than {DULL_RAD} rad: its flux line does not reach it"
        result = verdicts(
            len(targets),
            (faint, "no fringes between the half turns: the phase of the first qubit decays at once"),
            (dull, reason),
            (unseen, f"the coupling does not grow within {FURTHER[-1]} flux quanta of the design"),
            (lost, "no zero of the coupling where the scan lets expect it"),
        )
        take = np.asarray(result == "", bool)
        settings = copied(knowledge.settings)
        settings.coupler_bias_v[targets[take]] = static[take] + zero[take]
        yield settings
        return Findings(
            {"idle_coupler_bias": static + zero, "coupler_strong_v": above - zero},
            {"idle_coupler_bias": error, "coupler_strong_v": np.full(len(targets), 0.01)},
            result,
            [Flag("coupler", int(coupler), "coupler broken", reason) for coupler in targets[dull]],
            Curves(volt, fine, model, "coupler pulse (V)", "ZZ phase (rad)"),
        )

    def _strong(
        self, knowledge: Knowledge, pair: Pairs, static: FloatArray, quantum: FloatArray
    ) -> Generator[Request, Any, tuple[FloatArray, NDArray[np.bool_], NDArray[np.bool_]]]:
        """(targets,) each: lowest pulse at which the coupling is strong, NaN for none; whether no pulse does anything; whether there are
        no fringes.
        """
        most = MOST_LIMIT * knowledge.electronics.flux_limit_v
        volt = np.minimum(column(quantum) * SCAN, most) - column(static)
        phase, contrast = yield from self._phases(knowledge, pair, volt, SCAN_NS)
        faint = np.median(contrast, axis=1) < FAINT
        above, dull = _first(volt, phase, contrast)
        some = np.flatnonzero(~faint & ~np.isfinite(above))
        if len(some):
            beyond = np.minimum(column(quantum[some]) * FURTHER, most) - column(static[some])
            found = yield from self._phases(knowledge, pairs_of(knowledge, pair.coupler[some]), beyond, SCAN_NS)
            both = [np.concatenate([one[some], more], axis=1) for one, more in zip((volt, phase, contrast), (beyond, *found), strict=True)]
            above[some], dull[some] = _first(*both)
        return above, dull & ~faint, faint

    def _quiet(
        self, knowledge: Knowledge, pair: Pairs, above: FloatArray, quantum: FloatArray
    ) -> Generator[Request, Any, tuple[FloatArray, FloatArray, NDArray[np.bool_]]]:
        """(targets,) each: zero of the coupling, or middle of where it is too faint to be seen; uncertainty; whether there is neither."""
        volt = column(above) + column(quantum) * QUIET
        within, _ = yield from self._phases(knowledge, pair, np.zeros((len(volt), 1)), 2.0 * EDGE.edge_ns, FINE_SHOTS)
        phase, _ = yield from self._phases(knowledge, pair, volt, QUIET_NS, FINE_SHOTS)
        phase = np.angle(np.exp(1j * (phase - within)))
        zero, error, _, lost = _zero(volt, phase)
        quiet = np.abs(phase) < QUIET_RAD
        count = np.maximum(quiet.sum(axis=1), 1)
        step = volt[:, 1] - volt[:, 0]
        zero = np.where(lost, (volt * quiet).sum(axis=1) / count, zero)
        return zero, np.where(lost, count * step / np.sqrt(12.0), error), lost & ~quiet.any(axis=1)

    def _phases(
        self, knowledge: Knowledge, pair: Pairs, volt: FloatArray, time_ns: float, shots: int = SCAN_SHOTS
    ) -> Generator[Request, Any, tuple[FloatArray, FloatArray]]:
        """(targets, voltages) twice: ZZ phase, and length of the shorter fringe."""
        count = volt.shape[1]
        control = np.repeat([0.0, 1.0], len(QUADRATURES))
        points = count * len(control)
        flux = Flux(pair.coupler, np.repeat(volt, len(control), axis=1), time_ns, EDGE, coupler=True)
        steps = fringe_steps(pair, 0, np.tile(control, count), np.tile(QUADRATURES, 2 * count)[None, :], ((flux,),))
        reading: Reading = yield only(knowledge, pair.first, points, steps, shots)
        assert reading.populations is not None
        both = phasors(reading.populations).reshape(len(volt), count, 2)
        return np.angle(both[:, :, 1] * both[:, :, 0].conj()), np.abs(both).min(axis=2)


def _first(volt: FloatArray, phase: FloatArray, contrast: FloatArray) -> tuple[FloatArray, NDArray[np.bool_]]:
    """(targets,) each: lowest voltage at which the coupling is strong, between two of the scan by a line, NaN for none; and whether nothing
    changes.
    """
    works = contrast > 0.6 * np.median(contrast, axis=1, keepdims=True)
    dull = works.all(axis=1) & (np.abs(phase - np.median(phase, axis=1, keepdims=True)).max(axis=1) < DULL_RAD)
    strong = ~works | (np.abs(phase) > STRONG_RAD)
    place, rows = strong.argmax(axis=1), np.arange(len(phase))
    before = np.maximum(place - 1, 0)
    low, high = (np.minimum(np.abs(phase[rows, each]), STRONG_RAD) for each in (before, place))
    size = np.abs(phase[rows, place])
    share = np.where(high >= STRONG_RAD, (STRONG_RAD - low) / np.maximum(size - low, 1e-9), 1.0)
    found = volt[rows, before] + np.clip(share, 0.0, 1.0) * (volt[rows, place] - volt[rows, before])
    return np.where(strong.any(axis=1) & ~dull, found, np.nan), dull


def _zero(volt: FloatArray, phase: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray, NDArray[np.bool_]]:
    """Zero of the coupling, its uncertainty (targets,), model, and whether it was not found; ZZ is the square of a parabola in voltage."""
    sign = np.where(np.sum(phase, axis=1) < 0, -1.0, 1.0)[:, None]
    # Beyond a turn the phase tells nothing; so strong a coupling is far from zero.
    steps = np.abs(np.diff(phase, axis=1)) > 1.5
    lowest = np.abs(phase).argmin(axis=1)
    columns = np.arange(phase.shape[1])
    jumped = np.concatenate([np.zeros((len(phase), 1), bool), np.cumsum(steps, axis=1) > 0], axis=1)
    weight = np.where(jumped & (columns > lowest[:, None]), 0.0, 1.0)
    start_v = np.take_along_axis(volt, lowest[:, None], axis=1)[:, 0]
    far = np.take_along_axis(np.abs(phase), np.zeros((len(phase), 1), int), axis=1)[:, 0]
    slope = np.sqrt(np.maximum(far, 0.02)) / np.maximum(np.abs(start_v - volt[:, 0]), 0.02)

    def model(x: FloatArray, parameters: FloatArray) -> tuple[FloatArray, FloatArray]:
        zero, tilt, bend = (parameters[:, [number]] for number in range(3))
        away = x - zero
        root = tilt * away + bend * away**2
        derivative = np.stack([-(tilt + 2.0 * bend * away), away, away**2], axis=2)
        return root**2, 2.0 * root[..., None] * derivative

    solution = levenberg_marquardt(model, volt, sign * phase, weight, start=np.stack([start_v, slope, 0.0 * slope], axis=1), weighted=False)
    zero, error = solution.parameters[:, 0], np.sqrt(solution.covariance[:, 0, 0])
    # Where the coupling only touches zero, its root has no slope there, and the fit's own error no bound.
    error = np.minimum(error, volt[:, 1] - volt[:, 0])
    return zero, error, sign * solution.model, ~solution.good | (zero < volt[:, 0]) | (zero > volt[:, -1])
