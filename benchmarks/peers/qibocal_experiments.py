"""Qibocal's experiments on tiandi's chip: its own pulse sequences, acquisition and fits, played by `qibolab_twin`.

Standard input: {"address": ..., "known": {...}} of a chip that is served and calibrated. Prints for each experiment its points (x, y of
each qubit) and what Qibocal found: [value, standard deviation or null] of each qubit, or null where its fit failed.
"""

from __future__ import annotations

import json
import logging
import sys
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from qibocal.protocols import PROTOCOLS
from qibolab_twin import platform_of

from tiandi.computing.instruments.client import connect

warnings.filterwarnings("ignore")
logging.disable(logging.CRITICAL)

DETUNING_HZ = 1_000_000
RUNS: dict[str, tuple[dict[str, Any], str, str, Callable[[Any, int], Any]]] = {
    "resonator_spectroscopy": (
        {"freq_width": 40_000_000, "freq_step": 100_000, "fit_function": "s21", "nshots": 2_000},
        "freq", "signal phase", lambda found, qubit: [found.frequency[qubit], None],
    ),
    "qubit_spectroscopy": (
        {"freq_width": 40_000_000, "freq_step": 600_000, "drive_duration": 300, "drive_amplitude": 0.03, "nshots": 2_000},
        "freq", "signal", lambda found, qubit: [found.frequency[qubit], None],
    ),
    "rabi_amplitude": (
        {"min_amp": 0.0, "max_amp": 0.9, "step_amp": 0.012, "pulse_length": 30, "nshots": 2_000},
        "amp", "prob", lambda found, qubit: found.amplitude[qubit],
    ),
    "ramsey": (
        {"delay_between_pulses_start": 20, "delay_between_pulses_end": 8_000, "delay_between_pulses_step": 80, "detuning": DETUNING_HZ,
         "nshots": 4_000},
        "wait", "prob", lambda found, qubit: found.frequency[qubit],
    ),
    "t1": (
        {"delay_before_readout_start": 100, "delay_before_readout_end": 90_000, "delay_before_readout_step": 2_200, "nshots": 4_000},
        "wait", "prob", lambda found, qubit: found.t1[qubit],
    ),
    "spin_echo": (
        {"delay_between_pulses_start": 40, "delay_between_pulses_end": 60_000, "delay_between_pulses_step": 1_500, "nshots": 4_000},
        "wait", "prob", lambda found, qubit: found.t2[qubit],
    ),
    "flipping": (
        {"nflips_max": 40, "nflips_step": 2, "delta_amplitude": 0.02, "nshots": 4_000},
        "flips", "prob", lambda found, qubit: found.amplitude[qubit],
    ),
    "drag_simple": (
        {"beta_start": -1.5, "beta_end": 2.5, "beta_step": 0.2, "nshots": 4_000},
        "beta", "prob", lambda found, qubit: [found.betas[qubit], None],
    ),
    "single_shot_classification": (
        {"nshots": 4_000, "classifiers_list": ["qubit_fit"]},
        "state", "i q", lambda found, qubit: [found.assignment_fidelity[qubit], None],
    ),
}  # fmt: skip
"""Qibocal's parameters; its names of x and y; where its result has the value."""


def run(platform: Any, name: str) -> dict[str, Any]:
    given, x, y, value = RUNS[name]
    protocol = PROTOCOLS[name]
    parameters = protocol.parameters_type.load({**given, "relaxation_time": 300_000})
    qubits = list(platform.qubits)
    data, _ = protocol.acquisition(parameters, platform, qubits)
    found, _ = protocol.fit(data)
    values = []
    for qubit in qubits:
        try:
            values.append([None if number is None else float(number) for number in value(found, qubit)])
        except KeyError:
            values.append(None)
    return {
        "x": [np.asarray(data.data[qubit][x], float).tolist() for qubit in qubits],
        "y": [[np.asarray(data.data[qubit][one], float).tolist() for one in y.split()] for qubit in qubits],
        "values": values,
    }


given = json.load(sys.stdin)
chip = connect(given["address"])
_ = chip.electronics  # Whoever has said nothing for half a minute is sent away, and long sequences take their time to be made.
platform = platform_of(chip, given["known"])
print(json.dumps({name: run(platform, name) for name in given.get("experiments", RUNS)}))
chip.close()
