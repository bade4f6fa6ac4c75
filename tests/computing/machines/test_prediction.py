"""Predicted cross-entropy fidelities against published ones, and against density matrices."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tests.computing.machines.exact import distribution, renumbered
from tiandi.computing.circuits.circuit import Circuit, Operation
from tiandi.computing.circuits.noise import Damping, NoisyCircuit, PauliNoise, without_noise
from tiandi.computing.machines.prediction import predicted_fidelity, twirled
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


@pytest.mark.parametrize(("name", "cycles", "circuits"), [("zuchongzhi-2.0", 10, 4), ("zuchongzhi-3.0", 14, 3)])
def test_predictions_agree_with_density_matrices(name: str, cycles: int, circuits: int) -> None:
    """Six qubits: linear cross entropy of exact noisy distributions over that of ideal ones, mean of a few circuits."""
    twin = build_twin(name)
    chosen = twin.subset(6)
    place = {qubit: number for number, qubit in enumerate(chosen)}
    ratios = []
    for seed in range(circuits):
        circuit = random_circuit(twin.lattice, chosen, cycles, seed=seed)
        ideal = distribution(without_noise(circuit.relabelled(place, 6)))
        real = distribution(renumbered(twin.noisy(circuit), chosen))
        exact = (64 * real @ ideal - 1) / (64 * ideal @ ideal - 1)
        ratios.append(exact / twin.predicted_fidelity(circuit))
    assert np.mean(ratios) == pytest.approx(1.0, abs=0.04)


def test_words_at_the_ends_that_do_nothing_do_not_count() -> None:
    phase = PauliNoise(np.array([0.9, 0.0, 0.0, 0.1]), (0,))
    flip = PauliNoise(np.array([0.9, 0.1, 0.0, 0.0]), (0,))
    circuit = Circuit(2, tuple(Operation(*what) for what in (("sx", (0,)), ("cz", (0, 1)), ("sx", (0,)), ("measure", (0,)))))
    first, entangling, last, read = without_noise(circuit).steps
    cases = [
        ((phase, first, entangling, last, read), 1.0),  # Z on |0>.
        ((flip, first, entangling, last, read), 0.9),
        ((first, flip, entangling, last, read), 0.9),  # The state lies along -Y: X turns it over.
        ((first, phase, entangling, last, read), 0.9),
        ((first, entangling, phase, last, read), 0.9),  # Before the last turn, Y is what will be read.
        ((first, entangling, last, phase, read), 1.0),
        ((first, entangling, last, flip, read), 0.9),
    ]
    assert [predicted_fidelity(NoisyCircuit(2, steps)) for steps, _ in cases] == pytest.approx([value for _, value in cases], abs=1e-12)


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
