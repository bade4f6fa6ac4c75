"""The circuits written here beside those that stim generates."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tiandi.computing.correction.extraction import Memory, memory
from tiandi.computing.correction.noise import cycle_noise, enlarged, uniform_noise
from tiandi.computing.correction.patch import chosen, placements
from tiandi.computing.machines.lattice import Lattice, checkerboard, rotated_square
from tiandi.computing.machines.twin import build_twin
from tiandi.errors import InputError

stim = pytest.importorskip("stim")
pymatching = pytest.importorskip("pymatching")

ERROR = 0.004


def experiment(lattice: Lattice, distance: int, basis: str, *, resets: bool = True, rounds: int = 3) -> Memory:
    noise = replace(uniform_noise(lattice, ERROR, rounds=rounds), resets=resets)
    return memory(chosen(placements(lattice, distance), lattice)[0], noise, basis=basis)


def generated(distance: int, basis: str, rounds: int = 3, single: float = ERROR) -> stim.Circuit:
    circuit = stim.Circuit.generated(
        f"surface_code:rotated_memory_{basis.lower()}",
        distance=distance,
        rounds=rounds,
        after_clifford_depolarization=ERROR,
        before_measure_flip_probability=ERROR,
        after_reset_flip_probability=ERROR,
        before_round_data_depolarization=ERROR,
    )
    if single == ERROR:
        return circuit
    kept = stim.Circuit()
    for instruction in circuit.flattened():
        # Of DEPOLARIZE1 only that before a round, which hits all data qubits at once, is no gate's.
        if instruction.name != "DEPOLARIZE1" or len(instruction.targets_copy()) == distance**2:
            kept.append(instruction)
    return kept


@pytest.mark.parametrize("resets", [True, False])
@pytest.mark.parametrize("basis", ["X", "Z"])
@pytest.mark.parametrize(("lattice", "distance"), [(rotated_square(11, 6), 3), (rotated_square(11, 6), 5), (checkerboard(15, 15), 7)])
def test_distance_and_detectors_are_those_of_stims_own_circuit(lattice: Lattice, distance: int, basis: str, resets: bool) -> None:
    own, other = experiment(lattice, distance, basis, resets=resets).circuit, generated(distance, basis)
    assert own.num_detectors == other.num_detectors == 3 * (distance**2 - 1)
    assert len(own.shortest_graphlike_error()) == len(other.shortest_graphlike_error()) == distance


@pytest.mark.parametrize("basis", ["X", "Z"])
@pytest.mark.parametrize("rounds", [1, 2])
def test_few_cycles_without_reset_have_their_distance(basis: str, rounds: int) -> None:
    circuit = experiment(checkerboard(7, 7), 3, basis, resets=False, rounds=rounds).circuit
    assert len(circuit.shortest_graphlike_error()) == 3


def test_logical_errors_are_those_of_stims_own_circuit_where_only_its_errors_happen() -> None:
    # Turns are faultless in both: the two circuits have different ones. What is left of the difference is where readout errors stand.
    noise = uniform_noise(checkerboard(11, 11), ERROR, rounds=5).without("single-qubit gates")
    own = memory(placements(noise.lattice, 5)[0], noise, basis="Z").circuit
    shares = []
    for circuit in (own, generated(5, "Z", rounds=5, single=0)):
        matching = pymatching.Matching.from_detector_error_model(circuit.detector_error_model(decompose_errors=True))
        detectors, observables = circuit.compile_detector_sampler(seed=3).sample(60_000, separate_observables=True)
        shares.append((matching.decode_batch(detectors) != observables).mean())
    assert shares[0] == pytest.approx(shares[1], rel=0.3)


def test_only_native_gates_are_used() -> None:
    twin = build_twin("zuchongzhi-3.2")
    patch = placements(twin.lattice, 7)[0]
    names = {instruction.name for instruction in memory(patch, cycle_noise(twin), rounds=1).circuit}
    gates = {name for name in names if stim.gate_data(name).is_unitary}
    assert gates == {"SQRT_Y", "SQRT_Y_DAG", "CZ"}


def test_without_noise_nothing_is_detected() -> None:
    noise = uniform_noise(checkerboard(7, 7), 0.0)
    circuit = memory(placements(noise.lattice, 3)[0], noise, basis="X").circuit
    detectors, observables = circuit.compile_detector_sampler().sample(100, separate_observables=True)
    assert not detectors.any()
    assert not observables.any()


@pytest.mark.parametrize(("what", "change"), [("rounds", {"rounds": 0}), ("basis", {"basis": "Y"})])
def test_bad_input_is_named(what: str, change: dict[str, object]) -> None:
    noise = uniform_noise(checkerboard(7, 7), ERROR)
    with pytest.raises(InputError, match=what):
        memory(placements(noise.lattice, 3)[0], noise, **change)


def test_a_larger_lattice_has_the_machines_errors() -> None:
    noise = cycle_noise(build_twin("google-willow"))
    larger = enlarged(noise, 11, seed=1)
    assert larger.hypothetical
    assert set(larger.readout) <= set(noise.readout)
    assert np.mean(larger.two_qubit) == pytest.approx(np.mean(noise.two_qubit), rel=0.1)
    with pytest.raises(InputError, match="distance"):
        enlarged(noise, 2, seed=1)
