"""Experiments of qiskit-experiments on tiandi's chip: its own circuits and analysis, played by `qiskit_twin`.

Standard input and output are those of qibocal_experiments.py; x are the sweep's values, y the share of 1, for each qubit.
"""

from __future__ import annotations

import json
import logging
import sys
import warnings
from typing import Any

import numpy as np
from qiskit_experiments.framework import ExperimentData
from qiskit_experiments.library import (
    T1,
    FineXAmplitude,
    StandardRB,
    T2Hahn,
    T2Ramsey,
)
from qiskit_twin import TwinBackend

from tiandi.computing.instruments.client import connect

warnings.filterwarnings("ignore")
logging.disable(logging.CRITICAL)

SHOTS = 4_000
RUNS: dict[str, tuple[Any, str]] = {
    "T1": (lambda qubit, backend: T1([qubit], np.linspace(0.1e-6, 90e-6, 41), backend), "T1"),
    "T2Ramsey": (lambda qubit, backend: T2Ramsey([qubit], np.linspace(0.0, 8e-6, 41), backend, osc_freq=1e6), "Frequency"),
    "T2Hahn": (lambda qubit, backend: T2Hahn([qubit], np.linspace(0.0, 30e-6, 41), 1, backend), "T2"),
    "FineXAmplitude": (lambda qubit, backend: FineXAmplitude([qubit], backend), "d_theta"),
    "StandardRB": (lambda qubit, backend: StandardRB([qubit], [1, 20, 60, 120, 220, 400], backend, 6, seed=7), "alpha"),
}
"""How each is made for a qubit, and the name of its result."""


def run(backend: TwinBackend, name: str, qubits: list[int]) -> dict[str, Any]:
    make, wanted = RUNS[name]
    answer: dict[str, Any] = {"x": [], "y": [], "values": []}
    for qubit in qubits:
        experiment = make(qubit, backend)
        experiment.set_run_options(shots=SHOTS)
        experiment.analysis.set_options(plot=False)
        data: ExperimentData = experiment.run().block_for_results()
        table = data.analysis_results(dataframe=True)
        found = table[table.name == wanted] if len(table) else table
        value = found.value.iloc[0] if len(found) else None
        answer["values"].append(None if value is None else [value.nominal_value, value.std_dev])
        points = [(one["metadata"], one["counts"]) for one in data.data()]
        answer["x"].append([metadata.get("xval") for metadata, _ in points])
        answer["y"].append([[counts.get("1", 0) / SHOTS for _, counts in points]])
    return answer


given = json.load(sys.stdin)
chip = connect(given["address"])
_ = chip.electronics  # Whoever has said nothing for half a minute is sent away, and long sequences take their time to be made.
backend = TwinBackend(chip, given["known"])
qubits = list(range(len(given["known"]["qubit"])))
print(json.dumps({name: run(backend, name, qubits) for name in given.get("experiments", RUNS)}))
chip.close()
