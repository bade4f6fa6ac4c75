"""Discrimination: the clouds of states 0, 1 and 2 in the IQ plane, the boundary between them, and what is in the wrong cloud from the
start.

Mixtures of Gaussians are fitted to the shots of three preparations. The share of the resting qubit's shots that lies in the cloud of 1 is
thermal population; what noise alone puts on the wrong side of the boundary is overlap: the first is no error of the readout. The boundary
minimises the sum of both assignment errors, relaxation during the measurement included.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tiandi.computing.control.experiment import Findings, Measurement
from tiandi.computing.control.experiments.anharmonicity import second_turn
from tiandi.computing.control.experiments.gates import gates, listening
from tiandi.computing.control.experiments.node import HOUR_S, Node, column, verdicts
from tiandi.computing.control.fitting import best_threshold, fit_clouds
from tiandi.computing.control.knowledge import Knowledge
from tiandi.computing.instruments.instrument import copied
from tiandi.computing.instruments.program import IntArray, Program, Reading

SHOTS = 3_000
"""An assignment error e is counted to sqrt(e (1 - e) / shots), 0.25 % at 2 %; the boundary lies in a flat minimum and needs less."""
WORST = 0.2
LONGER = 2.0


@dataclass(frozen=True)
class Discrimination(Node):
    """one_for_zero, zero_for_one, assignment_error, thermal_population, overlap_error, two_for_zero, two_for_one and two_for_two; sets
    discriminator and threshold.
    """

    name: str = "discrimination"
    title: str = "Discrimination of three states"
    after: tuple[str, ...] = ("anharmonicity",)
    valid_s: float = 4.0 * HOUR_S

    def measure(self, knowledge: Knowledge, targets: IntArray) -> Measurement:
        gate = gates(knowledge, targets)
        first = gate.pulse(column(gate.pi_amplitude) * np.array([0.0, 1.0, 1.0]))
        second = second_turn(gate, column(gate.frequency_hz + knowledge["anharmonicity_hz"][targets]), LONGER)
        third = gate.pulse(
            np.asarray(second.amplitude) * np.array([0.0, 0.0, 1.0]),
            frequency_hz=second.frequency_hz, duration_ns=second.duration_ns, drag_ns=0.0,
        )  # fmt: skip
        measure = listening(knowledge, targets)
        reading: Reading = yield Program(len(targets), 3, ((first,), (third,)), (measure,), SHOTS, "shots")
        assert reading.iq is not None
        shots = reading.iq[0]
        clouds = fit_clouds(shots)
        shift, one_for_zero, zero_for_one = best_threshold(shots[:, :2], clouds.centres)
        error = 0.5 * (one_for_zero + zero_for_one)
        good = clouds.good & (error < WORST)
        settings = copied(knowledge.settings)
        chosen = targets[good]
        settings.discriminator[chosen] = clouds.centres[good]
        settings.threshold[chosen] = shift[good]
        settings.readout_frequency_hz[chosen] = np.broadcast_to(measure.frequency_hz, (len(targets), 1))[good, 0]
        settings.readout_amplitude[chosen] = np.broadcast_to(measure.amplitude, (len(targets), 1))[good, 0]
        yield settings
        away = np.abs(shots[:, :, None, :] - clouds.centres[:, None, :, None])
        called_two = (away[:, :, 2] < np.minimum(away[:, :, 0], away[:, :, 1])).mean(axis=2)
        values = {
            "one_for_zero": one_for_zero,
            "zero_for_one": zero_for_one,
            "assignment_error": error,
            "thermal_population": clouds.share[:, 0, 1],
            "overlap_error": clouds.overlap_error,
            "two_for_zero": called_two[:, 0],
            "two_for_one": called_two[:, 1],
            "two_for_two": called_two[:, 2],
        }
        return Findings(
            values,
            {name: np.sqrt(np.clip(value * (1.0 - value), 1e-6, 1.0) / SHOTS) for name, value in values.items()},
            verdicts(
                len(targets),
                (~clouds.good, "the three preparations do not give three clouds: a turn fails, or the tone throws the qubit out"),
                (~good, f"more than {WORST:.0%} of 0 and 1 are taken for each other"),
            ),
            reported=frozenset(values),
        )
