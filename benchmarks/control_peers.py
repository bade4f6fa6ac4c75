"""The same data of the twin fitted here and by qiskit-experiments and Qibocal: T1 of a decay, the frequency of Ramsey fringes.

The figure is the largest difference in units of its standard deviation, which both fits of the same points share.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np

from measure import Figure
from tiandi.computing.chip.twin import chip_twin
from tiandi.computing.control.bringup import bring_up, open_session
from tiandi.computing.control.experiments.gates import counting, excited, gates
from tiandi.computing.control.experiments.ramsey import fringes
from tiandi.computing.control.fitting import fit_damped_cosine, fit_decay, shot_noise
from tiandi.computing.control.standard import standard_graph
from tiandi.computing.instruments.program import Wait

QUBITS, SEED, SHOTS = 12, 5, 4_000
T1_DELAYS_S, RAMSEY_DELAYS_S = np.linspace(0.2e-6, 90e-6, 41), np.linspace(0.0, 8e-6, 81)
ARTIFICIAL_HZ = 1e6
PEERS = (
    (".venv-peers", "qiskit_experiments_fits.py", "qiskit-experiments"),
    (".venv-peers-qibocal", "qibocal_fits.py", "Qibocal"),
)
"""Environment, script and name. Qibocal 0.2.6 needs another plotly than the other peers, so that it has an environment of its own."""
GOAL_DEVIATIONS = 1.0
"""Two fits of the same points may differ by less than what the points say."""


def benchmark_control_peers() -> list[Figure]:
    """One figure for each parameter and peer; none where a peer's environment is not there."""
    data, own = measurements()
    figures = []
    for environment, script, peer in PEERS:
        theirs = ask(environment, script, data)
        for name, found in (theirs or {}).items():
            values, errors = own[name]
            apart = np.abs(np.array(found)[:, 0] - values) / np.maximum(errors, 1e-30)
            told = f"{peer}: median of {QUBITS} qubits {np.median(np.array(found)[:, 0]):.6g}, ours {np.median(values):.6g}"
            figures.append(
                Figure(f"Control: {name} of {peer} beside ours, largest difference", float(apart.max()), GOAL_DEVIATIONS, "sd", told)
            )
    return figures


def measurements() -> tuple[dict[str, Any], dict[str, tuple[Any, Any]]]:
    """Data for the peers, and our values with their errors, (qubits,) each."""
    session = open_session(chip_twin(QUBITS, seed=SEED, faults=False), standard_graph())
    bring_up(session, ["fine-amplitude"])
    knowledge, chip = session.knowledge, session.runner.instrument
    qubits = np.arange(QUBITS)
    delay = np.broadcast_to(T1_DELAYS_S, (len(qubits), len(T1_DELAYS_S)))
    steps = ((gates(knowledge, qubits).turn(),), (Wait(1e9 * delay),))
    decay = excited(chip.run(counting(knowledge, qubits, len(T1_DELAYS_S), steps, SHOTS)))
    t1 = fit_decay(delay, decay, shot_noise(decay, SHOTS))
    delay = np.broadcast_to(RAMSEY_DELAYS_S, (len(qubits), len(RAMSEY_DELAYS_S)))
    fringe = excited(chip.run(fringes(knowledge, qubits, 1e9 * delay, np.full(len(qubits), ARTIFICIAL_HZ), SHOTS)))
    ramsey = fit_damped_cosine(delay, fringe, shot_noise(fringe, SHOTS))
    data = {
        "t1": {"shots": SHOTS, "delay_s": T1_DELAYS_S.tolist(), "population": decay.tolist()},
        "ramsey": {"shots": SHOTS, "delay_s": RAMSEY_DELAYS_S.tolist(), "population": fringe.tolist()},
    }
    return data, {
        "t1_s": (t1["time"], t1.uncertainties["time"]),
        "frequency_hz": (ramsey["frequency"], ramsey.uncertainties["frequency"]),
    }


def ask(environment: str, script: str, data: dict[str, Any]) -> dict[str, Any] | None:
    """What a peer says; None where it is not installed."""
    here = Path(__file__).parent
    python = here.parent / environment / "bin" / "python"
    if not python.exists():
        return None
    done = subprocess.run([python, here / "peers" / script], input=json.dumps(data), capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


if __name__ == "__main__":
    for figure in benchmark_control_peers():
        print(figure.line())
