"""Predicted cross-entropy fidelities against published ones, and against density matrices."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tests.computing.machines.exact import distribution, renumbered
from tiandi.computing.circuits.gates import GATES
from tiandi.computing.circuits.noise import Damping, Leakage, Measurement, NoisyCircuit, PauliNoise, Reset, Step, Unitary, without_noise
from tiandi.computing.machines.lattice import rotated_square
from tiandi.computing.machines.prediction import predicted_cross_entropy, product_formula, twirled
from tiandi.computing.machines.twin import build_twin
from tiandi.computing.machines.yardsticks import predicted_sampling
from tiandi.computing.sampling.random_circuits import random_circuit
from tiandi.errors import InputError

PUBLISHED = [
    # machine, qubits, cycles, published fidelity, label, what the product formula makes of it (over the published)
    ("zuchongzhi-2.0", 56, 20, 6.62e-4, "recalled", (1.2, 1.45)),
    ("zuchongzhi-2.1", 60, 24, 3.66e-4, "published", (1.4, 1.75)),
    ("zuchongzhi-3.0", 83, 32, 2.6e-4, "recalled", (1.3, 1.75)),
    ("google-sycamore", 53, 20, 2.24e-3, "recalled", (0.55, 0.75)),
]


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("case", PUBLISHED, ids=lambda case: case[0])
def test_the_twin_meets_the_published_fidelity_where_the_product_formula_does_not(
    case: tuple[str, int, int, float, str, tuple[float, float]], seed: int
) -> None:
    name, qubits, cycles, published, label, product = case
    twin = build_twin(name, seed=seed)
    found = predicted_sampling(twin)
    print(f"{name}: {qubits} x {cycles}: product {found.product:.3g}, twin {found.twin:.3g}, published {published:.3g} ({label})")
    assert (found.qubits, found.cycles, found.published) == (qubits, cycles, published)
    assert twin.sheet.need("xeb").label == label
    assert found.twin == pytest.approx(published, rel=0.1)
    assert product[0] < found.product / published < product[1]


@pytest.mark.parametrize("name", ["zuchongzhi-2.0", "zuchongzhi-3.0"])
def test_the_circuit_of_the_papers_gives_the_same(name: str) -> None:
    """Own gates drawn at random and angles coupler by coupler make no difference: errors do not depend on them, only the ends do."""
    twin = build_twin(name)
    found = predicted_sampling(twin)
    circuit = random_circuit(twin.lattice, twin.subset(found.qubits), found.cycles, seed=7)
    assert twin.predicted_fidelity(circuit) == pytest.approx(found.twin, rel=0.02)


def test_idling_is_told_apart_from_crosstalk() -> None:
    """Of what the product formula lacks, idling explains part by T1, T2 and gate times alone; the fitted crosstalk is the rest."""
    twin = build_twin("zuchongzhi-3.0")
    circuit = random_circuit(twin.lattice, twin.subset(83), 32)
    steps = twin.noisy(circuit).steps
    crosstalk = [step for step in steps if isinstance(step, PauliNoise) and step.probabilities[-1] == twin.mechanisms.crosstalk]
    share = len(crosstalk) * twin.mechanisms.crosstalk
    assert 0.1 < share < 0.4
    assert twin.mechanisms.crosstalk < 0.1 * float(np.mean(twin.calibration.two_qubit_error))


def heavier(noisy: NoisyCircuit, factor: float) -> NoisyCircuit:
    """The same circuit with errors of gates ``factor`` times as likely."""
    steps: list[Step] = []
    for step in noisy.steps:
        if isinstance(step, PauliNoise):
            words = factor * step.probabilities
            steps.append(PauliNoise(np.array([1 - words[1:].sum(), *words[1:]]), step.qubits))
        elif isinstance(step, Damping):
            steps.append(Damping(factor * step.amplitude, factor * step.phase, step.qubit))
        else:
            steps.append(Leakage(factor * step.probability, step.qubit) if isinstance(step, Leakage) else step)
    return NoisyCircuit(noisy.qubit_count, tuple(steps))


@pytest.mark.parametrize(("factor", "cycles"), [(1.0, 14), (4.0, 16)])
def test_predictions_agree_with_density_matrices(factor: float, cycles: int) -> None:
    """Seven qubits: linear cross entropy of exact noisy distributions over that of ideal ones, mean of eight circuits.

    At four times the noise 0.17 is left; the product of fidelities is then a tenth too low.
    """
    twin = build_twin("zuchongzhi-2.0")
    chosen = twin.subset(7)
    place = {qubit: number for number, qubit in enumerate(chosen)}
    found = []
    for seed in range(8):
        circuit = random_circuit(twin.lattice, chosen, cycles, seed=seed)
        ideal = distribution(without_noise(circuit.relabelled(place, 7)))
        noisy = heavier(renumbered(twin.noisy(circuit), chosen), factor)
        exact = (128 * distribution(noisy) @ ideal - 1) / (128 * ideal @ ideal - 1)
        found.append((exact, predicted_cross_entropy(noisy)[0], product_formula(noisy)))
    exact, predicted, product = np.mean(found, axis=0)
    print(f"exact {exact:.4f}, predicted {predicted:.4f}, product {product:.4f}")
    assert predicted == pytest.approx(exact, rel=0.04)
    assert product < (0.93 if factor > 1 else 0.99) * exact


def test_parts_that_no_gate_joins_are_multiplied() -> None:
    lattice = rotated_square(4, 4)
    halves = (range(8), range(8, 16))
    whole = without_noise(random_circuit(lattice, range(16), 12, patches=halves))
    steps: list[Step] = []
    for step in whole.steps:
        steps.append(step)
        if isinstance(step, Unitary) and len(step.qubits) == 2:
            steps.append(PauliNoise(np.array([0.98, *[0.02 / 15] * 15]), step.qubits))

    def of(qubits: set[int]) -> float:
        return predicted_cross_entropy(
            NoisyCircuit(16, tuple(step for step in steps if qubits.issuperset(getattr(step, "qubits", (getattr(step, "qubit", 0),)))))
        )[0]

    assert of(set(range(16))) == pytest.approx(of(set(halves[0])) * of(set(halves[1])), rel=0.03)


def test_the_product_formula_multiplies_what_does_nothing() -> None:
    steps = (PauliNoise(np.array([0.9, 0.1, 0.0, 0.0]), (0,)), Leakage(0.04, 0), Damping(0.2, 0.1, 0), Measurement(0, 0.02, 0.06))
    root = math.sqrt(0.8)
    damping = 0.9 * ((1 + root) / 2) ** 2 + 0.1 * ((1 - root) / 2) ** 2
    assert product_formula(NoisyCircuit(1, steps)) == pytest.approx(0.9 * 0.97 * damping * 0.96)


def test_phases_that_no_bit_shows_do_no_harm() -> None:
    phase = PauliNoise(np.array([0.7, 0.0, 0.0, 0.3]), (0,))
    turn = Unitary(GATES["sx"].unitary(), (0,))
    cases = [
        ((turn, turn, phase, Measurement(0)), 1.0),
        # A Z between quarter turns about x is a flip behind both.
        ((turn, phase, turn, Measurement(0)), 0.4),
        ((phase, turn, turn, Measurement(0)), 1.0),
    ]
    assert [predicted_cross_entropy(NoisyCircuit(1, steps))[0] for steps, _ in cases] == pytest.approx([value for _, value in cases])


def test_without_noise_all_is_left() -> None:
    assert predicted_cross_entropy(NoisyCircuit(1, (Measurement(0),))) == (1.0, 0.0)


@pytest.mark.parametrize("steps", [(Reset(0), Measurement(0)), (Measurement(0), Unitary(GATES["x"].unitary(), (0,)))])
def test_circuits_that_are_not_read_last_have_no_prediction(steps: tuple[Step, ...]) -> None:
    with pytest.raises(InputError, match="for a cross entropy to be predicted"):
        predicted_cross_entropy(NoisyCircuit(1, steps))


def test_the_twirl_of_decay_is_that_of_its_process_matrix() -> None:
    words = twirled(Damping(0.2, 0.05, 0))
    assert words.sum() == pytest.approx(1.0, abs=1e-12)
    # Ghosh, Fowler and Geller 2012: decay alone gives X and Y with a quarter of its probability each.
    assert twirled(Damping(0.2, 0.0, 0))[1:3] == pytest.approx([0.05, 0.05], abs=1e-12)
    assert twirled(Damping(0.2, 0.0, 0))[3] == pytest.approx(0.5 - 0.05 - 0.5 * math.sqrt(0.8), abs=1e-12)


def test_sampling_without_an_experiment_needs_a_size() -> None:
    with pytest.raises(InputError, match="must be given with cycles"):
        predicted_sampling(build_twin("google-willow"))
    with pytest.raises(InputError, match="no patterns"):
        predicted_sampling(build_twin("ibm-heron-r2"), 20, 4)
