"""The engines against each other and against exact probabilities; the choice between them, and its refusals."""

from __future__ import annotations

import tracemalloc
import weakref

import numpy as np
import pytest
import stim

from tests.computing.engines.circuits import agrees, exact_probabilities, pauli_noise, random_circuit, unitary
from tiandi.computing.circuits.noise import Damping, Leakage, Measurement, NoisyCircuit, PauliNoise, Reset, Step, Unitary
from tiandi.computing.engines import Limits, TooExpensive, choose, run
from tiandi.computing.engines.amplitudes import Amplitudes, state_byte
from tiandi.computing.engines.channels import kraus_operators
from tiandi.computing.engines.preparing import prepare
from tiandi.computing.engines.stabilizer import stim_circuit, twirled_damping
from tiandi.computing.engines.trajectories import Trajectories
from tiandi.errors import InputError


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("engine", "shots"), [("density matrix", 50_000), ("trajectories", 10_000), ("matrix product state", 500)])
def test_results_follow_exact_probabilities_with_resets_and_measurements_inside(engine: str, shots: int, seed: int) -> None:
    noisy = random_circuit(seed, 3, 16)
    assert agrees(run(noisy, shots, seed=1, engine=engine).bits, exact_probabilities(noisy))


@pytest.mark.parametrize("seed", range(4))
def test_stabilizer_results_follow_exact_probabilities(seed: int) -> None:
    noisy = random_circuit(seed, 4, 24, clifford=True, damping=False)
    assert choose(noisy, 10**6).engine == "stabilizer"
    assert agrees(run(noisy, 200_000, seed=1, engine="stabilizer").bits, exact_probabilities(noisy))


SHOTS = {"stabilizer": 300_000, "density matrix": 300_000, "trajectories": 60_000, "matrix product state": 3_000}


def bell_pairs(count: int, *between: Step) -> NoisyCircuit:
    """What ``between`` does to qubits below ``count``, each one's half of a Bell pair: the word of Paulis, read by Bell measurements."""
    there = tuple(step for qubit in range(count) for step in (unitary("h", (qubit,)), unitary("cx", (qubit, count + qubit))))
    read = tuple(Measurement(place) for qubit in range(count) for place in (qubit, count + qubit))
    return NoisyCircuit(2 * count, (*there, *between, *there[::-1], *read))


WORDS = np.arange(16, 0, -1) / 136.0
"""Each word as likely as no other; the identity most."""
CHANNELS: dict[str, tuple[Step, ...]] = {
    "one qubit": (PauliNoise(np.array([0.55, 0.2, 0.15, 0.1]), (0,)),),
    "two qubits": (PauliNoise(WORDS, (1, 0)),),
    "rare words": (PauliNoise(np.array([0.92, 0.05, 0.01, 0.02]), (0,)), PauliNoise(np.array([0.9, 0.02, 0.03, 0.05]), (1,))),
    "leakage": (Leakage(0.3, 0), Leakage(0.1, 1)),
    "damping": (Damping(0.3, 0.2, 0), Damping(0.1, 0.0, 1)),
    "reset": (Reset(1), PauliNoise(np.array([0.8, 0.1, 0.1, 0.0]), (1,))),
}


@pytest.mark.parametrize("engine", ["stabilizer", "density matrix", "trajectories", "matrix product state"])
@pytest.mark.parametrize("channel", CHANNELS)
def test_each_channel_strikes_as_often_as_it_should(channel: str, engine: str) -> None:
    noisy = bell_pairs(2, *CHANNELS[channel])
    # Damping's twirl has the same weights on the Bell states.
    bits = run(noisy, SHOTS[engine], seed=1, engine=engine, twirl=True).bits
    assert agrees(bits, exact_probabilities(noisy))


@pytest.mark.parametrize("engine", ["density matrix", "trajectories"])
@pytest.mark.parametrize("turn", ["id", "h", "sx"])
def test_damping_keeps_the_right_populations_and_coherences(turn: str, engine: str) -> None:
    damped = (Damping(0.6, 0.0, 0), unitary("ry", (0,), 0.7), Damping(0.1, 0.2, 0))
    noisy = NoisyCircuit(1, (unitary("ry", (0,), 1.9), *damped, unitary(turn, (0,)), Measurement(0)))
    assert agrees(run(noisy, SHOTS[engine], seed=1, engine=engine).bits, exact_probabilities(noisy))


@pytest.mark.parametrize("engine", ["density matrix", "trajectories"])
def test_a_measurement_inside_finds_1_with_its_population(engine: str) -> None:
    noisy = NoisyCircuit(1, (unitary("ry", (0,), 1.2), Measurement(0), unitary("x", (0,)), Measurement(0)))
    assert agrees(run(noisy, 200_000, seed=1, engine=engine).bits, exact_probabilities(noisy))


@pytest.mark.parametrize("engine", ["stabilizer", "density matrix", "trajectories"])
def test_uneven_reading_errors_and_measurements_that_are_used_again(engine: str) -> None:
    noise = PauliNoise(np.array([0.7, 0.3, 0.0, 0.0]), (0,))
    noisy = NoisyCircuit(1, (noise, Measurement(0, 0.1, 0.3), noise, Measurement(0, 0.2, 0.15), Reset(0), noise, Measurement(0, 0.05, 0.4)))
    assert agrees(run(noisy, SHOTS[engine], seed=1, engine=engine).bits, exact_probabilities(noisy))


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
    assert choice.memory_byte < 1e6
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


def test_trajectories_keep_as_few_states_as_memory_holds() -> None:
    noisy = entangling(13, 6)
    tight = Limits(memory_byte=2.2 * state_byte(13))
    choice = choose(noisy, 40, tight, engine="trajectories")
    assert choice.memory_byte <= tight.allowed_byte()
    run(noisy, 1, seed=1, engine="trajectories", limits=tight)  # What is compiled is there before memory is looked at.
    tracemalloc.start()
    bits = run(noisy, 40, seed=1, engine="trajectories", limits=tight).bits
    _, peak_byte = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert bits.shape == (40, 13)
    # Beside the states: the circuit's own matrices, which are small.
    assert peak_byte < tight.allowed_byte() + 2**20


def test_waiting_states_grow_with_the_logarithm_of_the_shots() -> None:
    noisy = NoisyCircuit(1, tuple(step for _ in range(12) for step in (unitary("h", (0,)), Measurement(0))))
    kept = []

    class Counted(Amplitudes):
        def __init__(self, qubit_count: int) -> None:
            super().__init__(qubit_count)
            kept.append(weakref.ref(self))

        def copy(self) -> Amplitudes:
            other = super().copy()
            kept.append(weakref.ref(other))
            most.append(sum(one() is not None for one in kept))
            return other

    most: list[int] = []
    Trajectories(prepare(noisy), np.random.default_rng(1)).sample(lambda: Counted(1), 63, 63)
    # floor(log2(63)) + 1.
    assert max(most) <= 6


def test_the_tensor_network_runs_what_no_other_engine_may() -> None:
    pytest.importorskip("cotengra")
    generator = np.random.default_rng(1)
    steps: list[Step] = []
    for cycle in range(6):
        steps += [unitary("rxy", (qubit,), np.pi / 2, float(generator.integers(8)) * np.pi / 4) for qubit in range(18)]
        steps += [unitary("fsim", (qubit, qubit + 1), 1.5, 0.5) for qubit in range(cycle % 2, 17, 2)]
        steps += [PauliNoise(np.array([0.98, 0.01, 0.0, 0.01]), (qubit,)) for qubit in range(18)]
    noisy = NoisyCircuit(18, (*steps, *(Measurement(qubit, 0.01, 0.03) for qubit in range(18))))
    assert choose(noisy, 20).engine != "tensor network"
    done = run(noisy, 20, seed=1, engine="tensor network")
    assert done.bits.shape == (20, 18)
    assert done.cost.flop > 0
    assert 0 < done.cost.seconds < 60


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
