"""Experiments of Qibocal and of qiskit-experiments on our chip, through adapters, and our fits of the same points.

The chip is brought up here and served as an instrument. Each peer measures with its own pulse sequences or circuits, which the adapters
`peers/qibolab_twin.py` and `peers/qiskit_twin.py` play, and fits with its own analysis; the points come back with its values, and are
fitted here. A figure is the largest difference over the qubits, in standard deviations of the fit here: of the same points two fits of one
model may differ by less than one. A fit of a peer's that fails is said, and counts as no agreement.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from measure import Figure
from tiandi.computing.chip.twin import chip_twin
from tiandi.computing.control.bringup import bring_up, open_session
from tiandi.computing.control.experiments.gates import listening
from tiandi.computing.control.fits.engine import linear_solve
from tiandi.computing.control.fitting import (
    best_threshold,
    fit_benchmarking,
    fit_clouds,
    fit_damped_cosine,
    fit_decay,
    fit_line,
    fit_lorentzian,
    fit_resonator,
    shot_noise,
)
from tiandi.computing.control.knowledge import Knowledge
from tiandi.computing.control.standard import standard_graph
from tiandi.computing.instruments.server import InstrumentServer

QUBITS, SEED = 12, 5
SHOTS = 4_000
DETUNING_HZ, DELTA_AMPLITUDE = 1e6, 0.02
"""Of Qibocal's Ramsey and of its flips, as its script plays them."""
PEERS = (("qibocal_experiments.py", "Qibocal"), ("qiskit_experiments_runs.py", "qiskit-experiments"))
ENVIRONMENT = ".venv-peers-qibocal"
GOAL_DEVIATIONS = {"single_shot_classification": 2.0}
"""1 where nothing is said: both fit one model to all points. Qibocal's classifier is trained on three quarters of the shots, taken at
random, whose share of errors scatters by 0.58 standard deviations about that of all."""
Found = tuple[Any, Any]
"""Values and standard deviations, (qubits,) each."""


def benchmark_control_peers() -> list[Figure]:
    """One figure for each experiment of each peer; none where the peers are not installed."""
    if not _python().exists():
        return []
    session = open_session(chip_twin(QUBITS, seed=SEED, faults=False), standard_graph())
    bring_up(session, ["fine-amplitude"])
    known = told(session.knowledge)
    with InstrumentServer(session.runner.instrument, "127.0.0.1", 0) as server:
        answers = [(peer, ask(script, {"address": server.address, "known": known})) for script, peer in PEERS]
    return [figure(peer, name, {**answer, "known": known}) for peer, found in answers for name, answer in found.items()]


def figure(peer: str, name: str, answer: dict[str, Any]) -> Figure:
    """How far a peer's values of one experiment are from ours of the same points."""
    what, unit, fit = OURS[name]
    values, errors = fit(answer)
    found = [one for one in answer["values"] if one is not None and one[0] is not None]
    apart = [abs(one[0] - value) / error for one, value, error in zip(answer["values"], values, errors, strict=True) if one in found]
    failed = len(values) - len(found)
    words = f"{len(found)} of {len(values)} qubits, typical difference {np.median(apart or [np.nan]):.2f} sd; median {what} "
    words += f"{np.median([one[0] for one in found] or [np.nan]):.6g} {unit}, ours {np.median(values):.6g}, sd {np.median(errors):.2g}"
    worst = float("inf") if failed or not apart else max(apart)
    return Figure(f"Control: {peer} {name} on our chip beside our fit", worst, GOAL_DEVIATIONS.get(name, 1.0), "sd", words)


def told(knowledge: Knowledge) -> dict[str, list[float]]:
    """What a peer is given: a number for each qubit."""
    qubits = np.arange(QUBITS)
    readout = listening(knowledge, qubits)
    arrays = {
        "qubit": qubits,
        "drive_line": knowledge.drive_line,
        **{name: knowledge[name] for name in ("frequency_hz", "pi_amplitude", "half_pi_amplitude", "drag_ns")},
        "readout_hz": readout.frequency_hz,
        "readout_amplitude": readout.amplitude,
        "readout_ns": readout.duration_ns,
    }
    return {name: np.broadcast_to(np.ravel(array), QUBITS).tolist() for name, array in arrays.items()}


def ask(script: str, given: dict[str, Any]) -> dict[str, Any]:
    """What a peer measured and found."""
    here = Path(__file__).parent
    path = {**os.environ, "PYTHONPATH": str(here.parent / "src")}
    command = [_python().absolute(), here / "peers" / script]
    with tempfile.TemporaryDirectory() as folder:  # Qibocal leaves files wherever it works.
        done = subprocess.run(command, input=json.dumps(given), capture_output=True, text=True, check=True, env=path, cwd=folder)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def _python() -> Path:
    return Path(__file__).parent.parent / ENVIRONMENT / "bin" / "python"


def _points(answer: dict[str, Any]) -> tuple[Any, Any, Any]:
    """x, y and its standard deviation, (qubits, points) each."""
    share = np.array(answer["y"], float)[:, 0]
    return np.array(answer["x"], float), share, shot_noise(share, SHOTS)


def _decay(answer: dict[str, Any]) -> Found:
    fit = fit_decay(*_points(answer))
    return fit["time"], fit.uncertainties["time"]


def _fringe(answer: dict[str, Any]) -> Found:
    fit = fit_damped_cosine(*_points(answer))
    return fit["frequency"], fit.uncertainties["frequency"]


def _detuned(answer: dict[str, Any]) -> Found:
    """The qubits' frequencies; Qibocal drives `DETUNING_HZ` above what is known of them, and counts in nanoseconds."""
    fringes, error = _fringe(answer)
    return np.array(answer["known"]["frequency_hz"]) + DETUNING_HZ - 1e9 * fringes, 1e9 * error


def _rabi(answer: dict[str, Any]) -> Found:
    fit = fit_damped_cosine(*_points(answer), envelope="none", phase=np.pi)
    turn = 0.5 / fit["frequency"]
    return turn, turn * fit.uncertainties["frequency"] / fit["frequency"]


def _flips(answer: dict[str, Any]) -> Found:
    """Pairs of turns that are too large by a share f turn by f of a full turn each, which is the frequency of the fringes."""
    fit = fit_damped_cosine(*_points(answer))
    amplitude = (np.array(answer["known"]["pi_amplitude"]) + DELTA_AMPLITUDE) / (1.0 + fit["frequency"])
    return amplitude, amplitude * fit.uncertainties["frequency"] / (1.0 + fit["frequency"])


def _line(answer: dict[str, Any]) -> Found:
    fit = fit_lorentzian(np.array(answer["x"]), np.array(answer["y"])[:, 0])
    return fit["centre"], fit.uncertainties["centre"]


def _dip(answer: dict[str, Any]) -> Found:
    """Qibocal's phase is that of Q + iI."""
    size, phase = np.moveaxis(np.array(answer["y"]), 1, 0)
    fit = fit_resonator(np.array(answer["x"]), 1j * size * np.exp(-1j * phase))
    return fit["centre"], fit.uncertainties["centre"]


def _crossing(answer: dict[str, Any]) -> Found:
    """Of the two lines, whose points alternate: where their difference is zero."""
    beta, share, error = _points(answer)
    fit = fit_line(beta[:, ::2], share[:, ::2] - share[:, 1::2], np.hypot(error[:, ::2], error[:, 1::2]))
    return fit["crossing"], fit.uncertainties["crossing"]


def _assignment(answer: dict[str, Any]) -> Found:
    real, imaginary = np.moveaxis(np.array(answer["y"]), 1, 0)
    shots = (real + 1j * imaginary).reshape(len(real), 2, -1)
    _, one_for_zero, zero_for_one = best_threshold(shots, fit_clouds(shots).centres)
    variance = sum(error * (1.0 - error) for error in (one_for_zero, zero_for_one)) / shots.shape[2]
    return 1.0 - 0.5 * (one_for_zero + zero_for_one), 0.5 * np.sqrt(variance)


def _train(answer: dict[str, Any]) -> Found:
    """Error of one turn: after a half turn, N turns leave 1/2 + (-1)^N N error contrast / 2; the first two circuits tell the contrast."""
    count, share, error = _points(answer)
    contrast = share[:, 1] - share[:, 0]
    turns = count[:, 2:]
    basis = np.stack([np.ones_like(turns), np.where(turns % 2 == 0, 1.0, -1.0) * turns], axis=2)
    found, _ = linear_solve(basis, share[:, 2:], 1.0 / error[:, 2:])
    covariance = np.linalg.inv(np.einsum("tnp,tn,tnq->tpq", basis, 1.0 / error[:, 2:] ** 2, basis))
    return 2.0 * found[:, 1] / contrast, 2.0 * np.sqrt(covariance[:, 1, 1]) / contrast


def _survival(answer: dict[str, Any]) -> Found:
    lengths, ones, _ = _points(answer)
    each = np.unique(lengths[0])
    grouped = np.stack([1.0 - ones[:, lengths[0] == length] for length in each], axis=1)
    scatter = np.maximum(grouped.std(axis=2, ddof=1), 0.5 / np.sqrt(SHOTS)) / np.sqrt(grouped.shape[2])
    fit = fit_benchmarking(each, grouped.mean(axis=2), scatter)
    return fit["decay"], fit.uncertainties["decay"]


OURS: dict[str, tuple[str, str, Callable[[dict[str, Any]], Found]]] = {
    "resonator_spectroscopy": ("centre", "Hz", _dip),
    "qubit_spectroscopy": ("centre", "Hz", _line),
    "rabi_amplitude": ("pi amplitude", "", _rabi),
    "ramsey": ("frequency", "Hz", _detuned),
    "t1": ("T1", "ns", _decay),
    "spin_echo": ("T2", "ns", _decay),
    "flipping": ("pi amplitude", "", _flips),
    "drag_simple": ("derivative", "ns", _crossing),
    "single_shot_classification": ("assignment fidelity", "", _assignment),
    "T1": ("T1", "s", _decay),
    "T2Ramsey": ("fringes", "Hz", _fringe),
    "T2Hahn": ("T2", "s", _decay),
    "FineXAmplitude": ("error of a turn", "rad", _train),
    "StandardRB": ("decay per Clifford", "", _survival),
}
"""What an experiment of a peer's finds, its unit, and our fit of its points."""


if __name__ == "__main__":
    for each in benchmark_control_peers():
        print(each.line())
