"""The engines against each other and against exact probabilities; the choice between them, and its refusals."""

from __future__ import annotations

import numpy as np
import pytest
import stim
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.computing.engines.circuits import agrees, look_alike, pauli_noise, random_circuit, unitary
from tiandi.computing.circuits.noise import Damping, Leakage, Measurement, NoisyCircuit, PauliNoise, Reset, Unitary
from tiandi.computing.engines import Limits, TooExpensive, choose, run
from tiandi.computing.engines.channels import kraus_operators
from tiandi.computing.engines.density_matrix import final_density_matrix
from tiandi.computing.engines.stabilizer import stim_circuit, twirled_damping
from tiandi.errors import InputError

SHOTS = 20_000


@settings(max_examples=3, deadline=None, derandomize=True)
@given(st.integers(0, 2**32))
def test_engines_agree_on_noise_resets_and_measurements_inside(seed: int) -> None:
    noisy = random_circuit(seed, 3, 20)
    exact = run(noisy, SHOTS, seed=1, engine="density matrix").bits
    assert look_alike(exact[:3000], run(noisy, 3000, seed=2, engine="trajectories").bits)
    assert look_alike(exact[:500], run(noisy, 500, seed=3, engine="matrix product state").bits)


@settings(max_examples=3, deadline=None, derandomize=True)
@given(st.integers(0, 2**32))
def test_stabilizer_agrees_on_pauli_noise(seed: int) -> None:
    noisy = random_circuit(seed, 4, 30, clifford=True, damping=False)
    assert choose(noisy, 10**6).engine == "stabilizer"
    assert look_alike(run(noisy, SHOTS, seed=1, engine="stabilizer").bits, run(noisy, SHOTS, seed=2, engine="density matrix").bits)


@pytest.mark.parametrize("engine", ["trajectories", "density matrix", "matrix product state"])
def test_results_follow_the_exact_density_matrix(engine: str) -> None:
    noisy = random_circuit(7, 3, 15, looking=False)
    noisy = NoisyCircuit(3, tuple(step for step in noisy.steps if not isinstance(step, Measurement)))
    probabilities = final_density_matrix(noisy).diagonal().real
    read = NoisyCircuit(3, (*noisy.steps, *(Measurement(qubit) for qubit in (2, 1, 0))))
    assert agrees(run(read, 1000 if engine == "matrix product state" else 4000, seed=5, engine=engine).bits, probabilities)


@pytest.mark.parametrize("engine", ["stabilizer", "state vector", "density matrix", "trajectories", "matrix product state"])
def test_bits_follow_the_order_of_the_measurements(engine: str) -> None:
    noise = (Leakage(1e-12, 2),) if engine == "trajectories" else ()
    noisy = NoisyCircuit(3, (unitary("x", (2,)), *noise, Measurement(1), Measurement(2), Measurement(0), Measurement(2)))
    assert run(noisy, 5, seed=1, engine=engine).bits.tolist() == [[0, 1, 0, 1]] * 5


@pytest.mark.parametrize("engine", ["stabilizer", "density matrix", "trajectories", "matrix product state"])
def test_repeated_measurement_finds_the_same_and_reset_forgets(engine: str) -> None:
    steps = (unitary("h", (0,)), Measurement(0), unitary("cx", (0, 1)), Measurement(0), Measurement(1), Reset(0), Measurement(0))
    bits = run(NoisyCircuit(2, steps), 1000, seed=1, engine=engine).bits
    assert (bits[:, 0] == bits[:, 1]).all()
    assert (bits[:, 0] == bits[:, 2]).all()
    assert not bits[:, 3].any()
    # Five standard deviations of 1000 fair draws.
    assert abs(bits[:, 0].mean() - 0.5) < 5 * 0.5 / np.sqrt(1000)


@pytest.mark.parametrize("engine", ["stabilizer", "state vector", "density matrix", "matrix product state"])
def test_reading_errors_are_those_of_each_measurement(engine: str) -> None:
    noisy = NoisyCircuit(2, (unitary("x", (1,)), Measurement(0, 0.03, 0.5), Measurement(1, 0.2, 0.06), Measurement(1, 0.3, 0.01)))
    shots = 100_000
    flipped = run(noisy, shots, seed=1, engine=engine).bits != [0, 1, 1]
    expected = np.array([0.03, 0.06, 0.01])
    assert (np.abs(flipped.mean(axis=0) - expected) < 5 * np.sqrt(expected / shots)).all()
    # Flips of one measurement know nothing of another's.
    assert abs((flipped[:, 0] & flipped[:, 1]).mean() - 0.03 * 0.06) < 5 * np.sqrt(0.03 * 0.06 / shots)


def test_shots_have_noise_of_their_own() -> None:
    noisy = NoisyCircuit(2, (unitary("t", (0,)), PauliNoise(np.array([0.5, 0.5, 0, 0]), (0,)), unitary("cx", (0, 1)), Measurement(1)))
    bits = run(noisy, 40_000, seed=1, engine="trajectories").bits[:, 0].astype(int)
    assert abs(bits.mean() - 0.5) < 5 * 0.5 / np.sqrt(bits.size)
    assert abs((bits[1:] == bits[:-1]).mean() - 0.5) < 5 * 0.5 / np.sqrt(bits.size)


def test_the_same_seed_gives_the_same_bits() -> None:
    noisy = random_circuit(3, 4, 30)
    for engine in ("trajectories", "density matrix", "matrix product state"):
        first, second, other = (run(noisy, 50, seed=seed, engine=engine).bits for seed in (1, 1, 2))
        assert (first == second).all()
        assert (first != other).any()


def test_stim_circuit_is_the_one_that_stim_would_be_given() -> None:
    noisy = NoisyCircuit(
        2,
        (
            unitary("h", (0,)),
            PauliNoise(np.array([0.97, 0.01, 0.01, 0.01]), (0,)),
            unitary("cx", (0, 1)),
            PauliNoise(np.array([0.85, *[0.01] * 15]), (0, 1)),
            Leakage(0.04, 1),
            Reset(0),
            Measurement(1, 0.1, 0.1),
        ),
    )
    text = "H 0\nDEPOLARIZE1(0.03) 0\nCX 0 1\nDEPOLARIZE2(0.15) 0 1\nDEPOLARIZE1(0.03) 1\nR 0\nM(0.1) 1"
    assert stim_circuit(noisy).approx_equals(stim.Circuit(text), atol=1e-9)


def test_clifford_gates_are_known_by_their_matrix() -> None:
    quarter = unitary("rzz", (0, 1), np.pi / 2)
    noisy = NoisyCircuit(2, (Unitary(quarter.matrix, (0, 1)), unitary("u", (0,), np.pi / 2, 0.0, np.pi), Measurement(0)))
    assert choose(noisy, 10).engine in {"stabilizer", "state vector"}
    assert stim_circuit(noisy).to_tableau(ignore_measurement=True).to_unitary_matrix(endian="big").shape == (4, 4)
    # stim alone would take the small turns for Clifford.
    for other in (unitary("t", (0,)), unitary("rz", (0,), 0.3), unitary("ry", (0,), 1e-3)):
        with pytest.raises(InputError, match="stabilizer"):
            choose(NoisyCircuit(1, (other, Measurement(0))), 10, engine="stabilizer")


def test_twirled_damping_is_the_diagonal_of_the_process_matrix() -> None:
    paulis = [np.eye(2), np.array([[0, 1], [1, 0]]), np.array([[0, -1j], [1j, 0]]), np.diag([1, -1])]
    kraus = kraus_operators(Damping(0.3, 0.2, 0))
    expected = [sum(abs(np.trace(pauli.conj().T @ one)) ** 2 for one in kraus) / 4 for pauli in paulis]
    assert twirled_damping(0.3, 0.2) == pytest.approx(expected, abs=1e-15)


def test_damping_is_twirled_only_where_the_caller_allows_it() -> None:
    noisy = NoisyCircuit(60, tuple(step for qubit in range(59) for step in (unitary("cx", (qubit, qubit + 1)), Damping(0.01, 0.0, qubit))))
    noisy = NoisyCircuit(60, (*noisy.steps, *(Measurement(qubit) for qubit in range(60))))
    assert choose(noisy, 10).engine != "stabilizer"
    allowed = choose(noisy, 1_000_000, twirl=True)
    assert allowed.engine == "stabilizer"
    assert "twirled" in allowed.why


def test_what_cannot_be_seen_costs_nothing() -> None:
    idle = tuple(Damping(0.01, 0.01, qubit) for qubit in range(500))
    noisy = NoisyCircuit(500, (unitary("h", (490,)), *idle, Measurement(490), unitary("cx", (490, 3))))
    choice = choose(noisy, 100)
    assert choice.memory_byte < 1e5
    assert run(noisy, 100, seed=1).bits.shape == (100, 1)


def entangling(qubits: int, cycles: int) -> NoisyCircuit:
    generator = np.random.default_rng(1)
    steps = []
    for _ in range(cycles):
        order = generator.permutation(qubits)
        steps += [unitary("u", (qubit,), *generator.uniform(0, 3, 3)) for qubit in range(qubits)]
        steps += [unitary("cz", (int(first), int(second))) for first, second in zip(order[::2], order[1::2], strict=False)]
        steps += [pauli_noise(generator, (qubit,), 0.001) for qubit in range(qubits)]
    return NoisyCircuit(qubits, (*steps, *(Measurement(qubit) for qubit in range(qubits))))


def test_the_engine_follows_width_depth_noise_and_memory() -> None:
    assert choose(entangling(3, 4), 10**6).engine == "density matrix"
    noisy = entangling(14, 10)
    assert choose(noisy, 100).engine == "trajectories"
    silent = NoisyCircuit(14, tuple(step for step in noisy.steps if not isinstance(step, PauliNoise)))
    assert choose(silent, 100).engine == "state vector"
    chain = tuple(unitary("cx", (qubit, qubit + 1)) for qubit in range(79))
    wide = NoisyCircuit(80, (unitary("ry", (0,), 0.3), *chain, Measurement(79)))
    assert choose(wide, 100).engine == "matrix product state"
    # Amplitude 1 of a rotation by 0.3 is sin(0.15).
    ones = run(wide, 10_000, seed=1).bits.mean()
    assert abs(ones - np.sin(0.15) ** 2) < 5 * np.sin(0.15) / 100


def test_a_job_beyond_the_limits_is_refused_with_its_cost() -> None:
    with pytest.raises(TooExpensive, match=r"operations, .*iB, about .* s: must|cheapest engine") as refused:
        choose(entangling(16, 10), 1000, Limits(memory_byte=1e5), engine="trajectories")
    assert refused.value.choice.engine == "trajectories"
    # 2**16 amplitudes of 8 byte at least.
    assert refused.value.choice.memory_byte >= 2**19
    with pytest.raises(TooExpensive):
        choose(entangling(16, 10), 10**8, Limits(seconds=1.0), engine="trajectories")


@pytest.mark.parametrize("engine", ["quantum", "state vector"])
def test_engines_that_do_not_exist_or_cannot_run_the_circuit(engine: str) -> None:
    with pytest.raises(InputError, match="engine"):
        choose(entangling(3, 2), 10, engine=engine)


def test_bad_shots_and_wide_steps() -> None:
    with pytest.raises(InputError, match="shots"):
        run(NoisyCircuit(1, (Measurement(0),)), -1)
    wide = NoisyCircuit(5, (Unitary(np.eye(32, dtype=complex), (0, 1, 2, 3, 4)), Measurement(0)))
    with pytest.raises(InputError, match="qubits of a step"):
        run(wide, 1)
    assert run(NoisyCircuit(1, (Measurement(0),)), 0).bits.shape == (0, 1)
    assert run(NoisyCircuit(2, (unitary("x", (1,)),)), 3).bits.shape == (3, 0)
