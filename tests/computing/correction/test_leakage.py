"""Leakage: against a slow simulator that carries every frame and every leaked qubit, and against rates by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from tiandi.computing.correction.extraction import Memory, memory
from tiandi.computing.correction.leakage import sample
from tiandi.computing.correction.noise import CycleNoise, uniform_noise
from tiandi.computing.correction.patch import placements
from tiandi.computing.machines.lattice import checkerboard

stim = pytest.importorskip("stim")


def quiet(rounds: int = 4) -> CycleNoise:
    return uniform_noise(checkerboard(7, 7), 0.0, rounds=rounds)


def carried(experiment: Memory, shots: int, generator: np.random.Generator) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Detectors and observable, shot by shot and qubit by qubit as the model is told."""
    noise, qubits = experiment.noise, experiment.noise.lattice.qubit_count
    frames = stim.FlipSimulator(batch_size=shots, num_qubits=qubits)
    leaked, coupler = np.zeros((qubits, shots), bool), noise.lattice.coupler_number()
    stay = np.ones(qubits)
    stay[list(experiment.patch.data)] = (1 - noise.data_removal) * (1 - noise.settling)
    stay[[check.ancilla for check in experiment.patch.checks]] = (1 - noise.ancilla_removal) * (1 - noise.settling)

    def scramble(where: NDArray[np.bool_], letters: str) -> None:
        for letter in letters:
            frames.broadcast_pauli_errors(pauli=letter, mask=where, p=0.5)

    for stage in experiment.stages:
        if stage.kind == "readout":
            scramble(leaked, "X")
        frames.do(stage.circuit)
        if stage.kind == "gates":
            hit = np.zeros_like(leaked)
            for first, second in stage.qubits:
                hit[first], hit[second] = leaked[second], leaked[first]
            scramble(hit, "XZ")
            for first, second in stage.qubits:
                rate = noise.leaking[coupler[min(first, second), max(first, second)]]
                leaked[[first, second]] |= generator.random((2, shots)) < rate
        elif stage.kind == "end of cycle":
            back = leaked & (generator.random(leaked.shape) >= stay[:, np.newaxis])
            leaked &= ~back
            scramble(back, "XZ")
    return frames.get_detector_flips().T, frames.get_observable_flips()[0]


@pytest.mark.parametrize(("basis", "resets"), [("Z", True), ("X", True), ("Z", False)])
def test_samples_have_the_law_of_the_slow_simulator(basis: str, resets: bool) -> None:
    noise = uniform_noise(checkerboard(7, 7), 0.005, rounds=4)
    noise = replace(
        noise, leaking=np.full_like(noise.two_qubit, 0.01), settling=0.1, data_removal=0.4, ancilla_removal=0.6, stray=0.002, resets=resets
    )
    experiment, shots = memory(placements(noise.lattice, 3)[0], noise, basis=basis), 30_000
    found = sample(experiment, shots, np.random.default_rng(1))
    detectors, observable = carried(experiment, shots, np.random.default_rng(2))
    error = np.sqrt(2 * 0.25 / shots)
    assert found.detectors.mean(axis=0) == pytest.approx(detectors.mean(axis=0), abs=4.5 * error)
    assert found.observable.mean() == pytest.approx(observable.mean(), abs=4.5 * error)
    own, other = (np.cov(each.T.astype(float)) for each in (found.detectors, detectors))
    assert np.abs(own - other).max() < 5.5 * error / 2


def test_without_leakage_stims_sampler_is_used_as_it_is() -> None:
    experiment = memory(placements(checkerboard(7, 7), 3)[0], uniform_noise(checkerboard(7, 7), 0.01, rounds=2))
    found = sample(experiment, 300, np.random.default_rng(4))
    seed = int(np.random.default_rng(4).integers(1 << 62))
    detectors, observables = experiment.circuit.compile_detector_sampler(seed=seed).sample(300, separate_observables=True)
    assert (found.detectors == detectors).all()
    assert (found.observable == observables[:, 0]).all()


def test_leaked_share_follows_rates_and_removal() -> None:
    rate, rounds = 1e-3, 6
    noise = replace(quiet(rounds), leaking=np.full(len(quiet().leaking), rate))
    patch = placements(noise.lattice, 3)[0]
    gates = sum(len(check.support) for check in patch.checks)
    leaked = sample(memory(patch, noise), 40_000, np.random.default_rng(1)).leaked
    expected = 2 * gates * rate / len(patch.qubits) * np.arange(1, rounds + 1)
    assert leaked == pytest.approx(expected, rel=0.05)
    removed = replace(noise, data_removal=1.0, ancilla_removal=1.0)
    leaked = sample(memory(patch, removed), 40_000, np.random.default_rng(1)).leaked
    assert leaked == pytest.approx(np.full(rounds, expected[0]), rel=0.1)


def test_a_leaked_ancilla_reads_at_random() -> None:
    noise = quiet()
    patch = placements(noise.lattice, 3)[0]
    check = next(check for check in patch.checks if check.basis == "Z")
    pair = (min(check.ancilla, check.support[-1]), max(check.ancilla, check.support[-1]))
    leaking = np.zeros(len(noise.leaking))
    leaking[noise.lattice.coupler_number()[pair]] = 1 - 1e-12
    detectors = sample(memory(patch, replace(noise, leaking=leaking)), 8000, np.random.default_rng(3)).detectors
    order = [each.ancilla for each in patch.checks if each.basis == "Z"]
    assert detectors[:, order.index(check.ancilla)].mean() == pytest.approx(0.5, abs=0.03)
