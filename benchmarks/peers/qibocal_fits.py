"""Qibocal's fit of T1 to populations that come on standard input as JSON (as for qiskit_experiments_fits.py); prints {"t1_s": ...}."""

from __future__ import annotations

import json
import sys

import numpy as np
from qibocal.protocols.coherence.t1 import CoherenceProbType, T1Data, t1

part = json.load(sys.stdin)["t1"]
data = T1Data()
for qubit, population in enumerate(part["population"]):
    share = np.array(population)
    error = np.sqrt(np.maximum(share * (1.0 - share), 1e-4) / part["shots"])
    data.register_qubit(CoherenceProbType, qubit, {"wait": 1e9 * np.array(part["delay_s"]), "prob": share, "error": error})
found, _ = t1.fit(data)
print(json.dumps({"t1_s": [[1e-9 * found.t1[qubit][0], 1e-9 * found.t1[qubit][1]] for qubit in range(len(part["population"]))]}))
