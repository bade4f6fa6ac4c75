"""Cross entropy, against the law of Porter and Thomas and against density matrices."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tests.computing.engines.test_tensor_network import all_strings, exact_distribution
from tiandi.computing.circuits.gates import GATES
from tiandi.computing.circuits.noise import Damping, Leakage, Measurement, NoisyCircuit, PauliNoise, Step, Unitary, without_noise
from tiandi.computing.engines.tensor_network import amplitudes
from tiandi.computing.machines.lattice import rotated_square
from tiandi.computing.sampling.cross_entropy import (
    linear_cross_entropy,
    logarithmic_cross_entropy,
    predicted_cross_entropy,
    product_formula,
)
from tiandi.computing.sampling.random_circuits import random_circuit
from tiandi.errors import InputError

pytest.importorskip("cotengra")


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_both_estimates_find_the_share_of_ideal_samples(share: float) -> None:
    generator = np.random.default_rng(1)
    even, ideal = generator.exponential(size=40_000), generator.gamma(2.0, size=40_000)
    scaled = np.where(generator.random(40_000) < share, ideal, even)
    for found in (linear_cross_entropy(scaled), logarithmic_cross_entropy(scaled)):
        assert found.shots == 40_000
        assert abs(found.value - share) < 4 * found.error


def test_the_error_is_that_of_the_mean_of_even_bits() -> None:
    # Under Porter and Thomas D p has variance 1: the error is 1/sqrt(N), that of its logarithm pi/sqrt(6 N).
    scaled = np.random.default_rng(2).exponential(size=30_000)
    assert linear_cross_entropy(scaled).error == pytest.approx(1 / math.sqrt(30_000), rel=0.03)
    assert logarithmic_cross_entropy(scaled).error == pytest.approx(math.pi / math.sqrt(6 * 30_000), rel=0.03)


def noisy_version(seed: int, rate: float) -> tuple[NoisyCircuit, NoisyCircuit]:
    ideal = without_noise(random_circuit(rotated_square(4, 2), range(8), 14, seed=seed))
    steps: list[Step] = []
    for step in ideal.steps:
        if isinstance(step, Measurement):
            steps.append(Measurement(step.qubit, 0.02, 0.05))
        else:
            steps.append(step)
            if isinstance(step, Unitary) and len(step.qubits) == 2:
                steps.append(PauliNoise(np.array([1 - rate, *[rate / 15] * 15]), step.qubits))
                steps += [Damping(0.002, 0.001, qubit) for qubit in step.qubits]
    return ideal, NoisyCircuit(ideal.qubit_count, tuple(steps))


def test_the_prediction_meets_density_matrices_better_than_the_product_does() -> None:
    ratios, predicted = [], 0.0
    for seed in (1, 2, 3, 4):
        ideal, noisy = noisy_version(seed, 0.01)
        chances = np.abs(amplitudes(ideal, all_strings(8))) ** 2
        exact = 2**8 * (chances * exact_distribution(noisy)).sum() - 1
        ratios.append(exact / (2**8 * (chances**2).sum() - 1))
        predicted, error = predicted_cross_entropy(noisy)
        assert error < 0.02 * predicted
    assert predicted == pytest.approx(float(np.mean(ratios)), rel=0.08)
    assert abs(predicted - np.mean(ratios)) < abs(product_formula(noisy) - np.mean(ratios))


def test_the_product_formula_multiplies_what_does_nothing() -> None:
    steps = (
        PauliNoise(np.array([0.9, 0.1, 0.0, 0.0]), (0,)),
        Leakage(0.04, 0),
        Damping(0.2, 0.1, 0),
        Measurement(0, 0.02, 0.06),
    )
    root = math.sqrt(0.8)
    damping = 0.9 * ((1 + root) / 2) ** 2 + 0.1 * ((1 - root) / 2) ** 2
    assert product_formula(NoisyCircuit(1, steps)) == pytest.approx(0.9 * 0.97 * damping * 0.96)


def test_phases_just_before_a_measurement_do_no_harm() -> None:
    phase = PauliNoise(np.array([0.7, 0.0, 0.0, 0.3]), (0,))
    turn = Unitary(GATES["sx"].unitary(), (0,))
    assert predicted_cross_entropy(NoisyCircuit(1, (turn, phase, Measurement(0))))[0] == pytest.approx(1.0)
    # A Z before a quarter turn about x is a flip behind it; but of |0> it is nothing.
    twice = predicted_cross_entropy(NoisyCircuit(1, (turn, phase, turn, Measurement(0))))[0]
    assert twice == pytest.approx(0.7)
    assert predicted_cross_entropy(NoisyCircuit(1, (phase, turn, Measurement(0))))[0] == pytest.approx(1.0)


def test_without_noise_all_is_left() -> None:
    assert predicted_cross_entropy(NoisyCircuit(1, (Measurement(0),))) == (1.0, 0.0)


@pytest.mark.parametrize("samples", [[1.0], [[1.0, 2.0]], [1.0, -0.1], [1.0, math.nan]])
def test_samples_that_are_none_are_refused(samples: list[float]) -> None:
    with pytest.raises(InputError):
        linear_cross_entropy(samples)


def test_the_logarithm_of_nothing_is_refused() -> None:
    with pytest.raises(InputError, match="above 0"):
        logarithmic_cross_entropy([0.0, 1.0])
