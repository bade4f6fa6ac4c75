"""Coupler timing: how much later a coupler's line acts than the flux line of the qubit that moves.

Two short pulses, one that brings |11> into resonance with |20> and one that couples them, exchange most where they meet at the chip.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tiandi.computing.control.experiment import Curves, Findings, Measurement
from tiandi.computing.control.experiments.node import HOUR_S, column, verdicts
from tiandi.computing.control.experiments.pairing import PairNode, counting_pairs, coupler_volt, exchanged, pairs_of, resonant_volt
from tiandi.computing.control.experiments.timing import dip
from tiandi.computing.control.knowledge import Knowledge
from tiandi.computing.instruments.instrument import copied
from tiandi.computing.instruments.program import Flux, IntArray, Shape

PULSE_NS, QUBIT_START_NS = 20.0, 30.0
STARTS_NS = np.arange(0.0, 61.0, 2.5)
EDGE = Shape("flattop", 4.0)
STRONGER = 0.019
"""Beyond the pulse that is known as strong, in flux quanta of the design: these are short."""
SHOTS = 2_000
SHALLOW = 0.05
WORST_NS = 12.0


@dataclass(frozen=True)
class CouplerTiming(PairNode):
    """coupler_lag_ns, as it was before settings.coupler_delay_ns took it away."""

    name: str = "coupler-timing"
    title: str = "Timing of couplers against qubits"
    after: tuple[str, ...] = ("coupler-bias", "timing", "ramsey")
    valid_s: float = 168.0 * HOUR_S

    def measure(self, knowledge: Knowledge, targets: IntArray) -> Measurement:
        pair = pairs_of(knowledge, targets)
        resonant = resonant_volt(knowledge, pair, np.zeros((1, 1)))
        qubit = Flux(knowledge.flux_line[pair.moved], resonant, PULSE_NS, EDGE, start_ns=QUBIT_START_NS)
        volt = column(knowledge["coupler_strong_v"][targets]) + coupler_volt(knowledge, targets, STRONGER)
        coupler = Flux(targets, volt, PULSE_NS, EDGE, coupler=True, start_ns=STARTS_NS)
        steps = ((pair.first_gates.turn(), pair.second_gates.turn()), (qubit, coupler))
        populations = yield from counting_pairs(knowledge, pair, len(STARTS_NS), steps, SHOTS)
        signal = exchanged(pair, populations)
        centre, error, depth, model = dip(STARTS_NS, -signal)
        lag = QUBIT_START_NS - centre
        flat = depth < SHALLOW
        far = np.abs(lag) > WORST_NS
        settings = copied(knowledge.settings)
        good = ~flat & ~far
        settings.coupler_delay_ns[targets[good]] -= lag[good]
        yield settings
        return Findings(
            {"coupler_lag_ns": lag},
            {"coupler_lag_ns": error},
            verdicts(
                len(targets),
                (flat, "11 is not exchanged with 20 wherever the coupler's pulse stands: the resonance lies elsewhere"),
                (far, f"coupler and qubit meet more than {WORST_NS:.0f} ns from where they are sent to"),
            ),
            curves=Curves(STARTS_NS, signal, -model, "start of the coupler's pulse (ns)", "population of the lower qubit in 0"),
        )
