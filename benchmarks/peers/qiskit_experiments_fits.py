"""Fits of qiskit-experiments to populations that come on standard input as JSON; prints theirs as JSON.

In: {"t1": {"shots": n, "delay_s": [...], "population": [[...] of each qubit]}, "ramsey": the same}. Out: {"t1_s": [[value, error], ...],
"frequency_hz": [[value, error], ...]}. Counts are the populations times the shots.
"""

from __future__ import annotations

import json
import sys
import warnings

from qiskit_experiments.framework import ExperimentData
from qiskit_experiments.library.characterization.analysis import T1Analysis, T2RamseyAnalysis

warnings.filterwarnings("ignore")


def results(analysis, delays_s, population, shots, name):
    """Value and standard error of one qubit's parameter."""
    data = ExperimentData()
    for delay_s, share in zip(delays_s, population, strict=True):
        ones = round(shots * share)
        data.add_data({"counts": {"0": shots - ones, "1": ones}, "metadata": {"xval": delay_s, "unit": "s"}, "shots": shots})
    analysis.set_options(plot=False)
    found = analysis.run(data).block_for_results()
    values = found.analysis_results(dataframe=True)
    value = values[values.name == name].value.iloc[0]
    return [value.nominal_value, value.std_dev]


given = json.load(sys.stdin)
answer = {}
for key, kind, name, out in (("t1", T1Analysis, "T1", "t1_s"), ("ramsey", T2RamseyAnalysis, "Frequency", "frequency_hz")):
    part = given[key]
    answer[out] = [results(kind(), part["delay_s"], one, part["shots"], name) for one in part["population"]]
print(json.dumps(answer))
