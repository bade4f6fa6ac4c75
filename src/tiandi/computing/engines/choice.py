"""Which engine runs a circuit: of those that a job's limits allow, the fastest; or a refusal that says what it would cost."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec

import numpy as np

from tiandi.computing.circuits.noise import NoisyCircuit
from tiandi.computing.engines import costs, density_matrix, matrix_product_state, stabilizer, state_vector, trajectories
from tiandi.computing.engines.costs import Estimate
from tiandi.computing.engines.preparing import BitTable, Prepared, prepare, read
from tiandi.errors import InputError
from tiandi.limits import require_within
from tiandi.random import twin_generator

MOST_SHOTS = 100_000_000
STABILIZER, STATE_VECTOR, DENSITY_MATRIX = "stabilizer", "state vector", "density matrix"
TRAJECTORIES, MATRIX_PRODUCT_STATE, TENSOR_NETWORK = "trajectories", "matrix product state", "tensor network"
ENGINES = (STABILIZER, STATE_VECTOR, DENSITY_MATRIX, TRAJECTORIES, MATRIX_PRODUCT_STATE, TENSOR_NETWORK)


def _free_memory_byte() -> float:
    return 0.8 * os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class Limits:
    """What a job may take: bytes (four fifths of what is free unless given) and seconds of one core."""

    memory_byte: float | None = None
    seconds: float = 3600.0

    def allowed_byte(self) -> float:
        """The bytes that a job may take."""
        return _free_memory_byte() if self.memory_byte is None else self.memory_byte


@dataclass(frozen=True)
class Choice:
    """An engine, why it, and what the job will cost: real operations, bytes, seconds on one core (about a factor of 2)."""

    engine: str
    why: str
    flop: float
    memory_byte: float
    seconds: float

    @property
    def cost(self) -> str:
        """The cost in words."""
        return f"{self.flop:.1e} operations, {_in_words(self.memory_byte)}, about {self.seconds:.1g} s"


@dataclass(frozen=True, eq=False)
class Run:
    """``bits`` (shots, measured) uint8, column k from the k-th measurement; the engine that made them, why it, and its cost.

    ``truncation_error``: about 1 minus the fidelity of a matrix product state that was cut, mean over the shots; 0 for other engines.
    """

    bits: BitTable
    engine: str
    why: str
    cost: Choice
    truncation_error: float = 0.0


class TooExpensive(InputError):
    """A job beyond the limits: ``choice`` is the cheapest engine that could run it, and what it would cost."""

    def __init__(self, choice: Choice, limits: Limits) -> None:
        self.choice = choice
        allowed = f"allowed are {_in_words(limits.allowed_byte())} and {limits.seconds:g} s; the cheapest engine is: {choice.engine}"
        super().__init__("cost of the circuit", choice.cost, allowed)


def _in_words(byte: float) -> str:
    for unit, size in (("TiB", 2**40), ("GiB", 2**30), ("MiB", 2**20)):
        if byte >= size:
            return f"{byte / size:.3g} {unit}"
    return f"{byte / 1024:.3g} KiB"


def choose(noisy: NoisyCircuit, shots: int, limits: Limits | None = None, *, engine: str | None = None, twirl: bool = False) -> Choice:
    """The engine that runs ``noisy`` within ``limits`` in least time; only ``engine`` where that is given.

    ``twirl`` allows damping to be replaced by Pauli noise, so that the stabilizer engine can run Clifford circuits that decay.
    Raises TooExpensive with the cost where no engine keeps the limits, InputError for an engine that cannot run the circuit.
    """
    require_within("shots", shots, 0, MOST_SHOTS)
    _require_engine(engine)
    return _choose(prepare(noisy), noisy, shots, limits or Limits(), engine=engine, twirl=twirl)


def _require_engine(engine: str | None) -> None:
    if engine is not None and engine not in ENGINES:
        raise InputError("engine", engine, f"must be one of {', '.join(ENGINES)}")


def _choose(prepared: Prepared, noisy: NoisyCircuit, shots: int, limits: Limits, *, engine: str | None, twirl: bool) -> Choice:
    found: Choice | None = None
    for choice in _able(prepared, noisy, shots, limits.allowed_byte(), twirl=twirl, engine=engine):
        if _allowed(choice, limits):
            return choice
        if found is None or choice.seconds < found.seconds:
            found = choice
    if found is None:
        raise InputError("engine", engine, f"cannot run this circuit: it is for {_RUNS[str(engine)]}")
    raise TooExpensive(found, limits)


def _allowed(choice: Choice, limits: Limits) -> bool:
    return choice.memory_byte <= limits.allowed_byte() and choice.seconds <= limits.seconds


_RUNS = {
    STABILIZER: "Clifford gates and Pauli noise (and damping, where twirling is allowed)",
    STATE_VECTOR: "gates without noise, resets or measurements before the end",
    DENSITY_MATRIX: "few qubits",
    TRAJECTORIES: "any circuit",
    MATRIX_PRODUCT_STATE: "gates and noise on at most two qubits each",
    TENSOR_NETWORK: "wide circuits with all measurements at the end, without resets",
}


def _able(prepared: Prepared, noisy: NoisyCircuit, shots: int, allowed_byte: float, *, twirl: bool, engine: str | None) -> Iterator[Choice]:
    """The engines that can run a circuit: the stabilizer's, then the fastest of the exact ones, then the tensor network.

    The last takes long to find its cost, and refuses results that are far from even: it is for circuits that no other engine may run.
    """
    if engine in {None, STABILIZER} and find_spec("stim") and stabilizer.fits(prepared.body, twirl=twirl):
        exact = stabilizer.sampled_exactly(prepared.body)
        why = "all gates are Clifford, and all noise is Pauli noise" + ("" if exact else " once damping is twirled, as the caller allows")
        yield _choice(STABILIZER, why, costs.stabilizer_cost(prepared, shots))
    choices = []
    width = f"{prepared.qubit_count} qubits"
    if engine in {None, STATE_VECTOR} and prepared.only_gates:
        why = f"no noise before the last measurements; {width}"
        choices.append(_choice(STATE_VECTOR, why, costs.state_vector_cost(prepared, shots)))
    if engine == TRAJECTORIES or (engine is None and not prepared.only_gates):
        why = f"noise or measurements inside the circuit; {width}, each shot's own history of noise"
        choices.append(_choice(TRAJECTORIES, why, costs.trajectories_cost(prepared, shots, allowed_byte)))
    if engine in {None, DENSITY_MATRIX}:
        why = f"{width} are few enough for every entry of the density matrix"
        choices.append(_choice(DENSITY_MATRIX, why, costs.density_matrix_cost(prepared, shots)))
    if engine in {None, MATRIX_PRODUCT_STATE} and matrix_product_state.fits(prepared.body):
        cost, bond = costs.matrix_product_state_cost(prepared, shots, allowed_byte)
        exact = bond <= matrix_product_state.MOST_BOND
        if exact or engine == MATRIX_PRODUCT_STATE:
            why = f"{width} in a line with bonds of at most {min(bond, matrix_product_state.MOST_BOND):g}"
            choices.append(_choice(MATRIX_PRODUCT_STATE, why if exact else f"{why}, cut: see the truncation error", cost))
    yield from sorted(choices, key=lambda choice: choice.seconds)
    if engine in {None, TENSOR_NETWORK} and not prepared.body_columns and find_spec("cotengra"):
        yield from _tensor_network(prepared, noisy, shots)


def _choice(engine: str, why: str, cost: Estimate) -> Choice:
    return Choice(engine, why, cost.flop, cost.memory_byte, cost.seconds)


def _tensor_network(prepared: Prepared, noisy: NoisyCircuit, shots: int) -> Iterator[Choice]:
    from tiandi.computing.engines import tensor_network  # noqa: PLC0415 - cotengra takes a second to load

    try:
        flop, memory_byte = tensor_network.estimate(noisy)
    except InputError:
        return
    why = f"{prepared.qubit_count} qubits are too many for their amplitudes, but the circuit is shallow"
    drawn = flop * (tensor_network.SHORTEST_PILOT + costs.DRAWS_A_SHOT * shots)
    yield Choice(TENSOR_NETWORK, why, drawn, memory_byte, drawn / tensor_network.CONTRACTION_FLOP_PER_S)


def run(
    noisy: NoisyCircuit,
    shots: int,
    *,
    seed: int | None = None,
    engine: str | None = None,
    limits: Limits | None = None,
    twirl: bool = False,
) -> Run:
    """``shots`` results of ``noisy``, from the engine that `choose` takes; the same seed gives the same bits.

    Raises as `choose` does.
    """
    require_within("shots", shots, 0, MOST_SHOTS)
    _require_engine(engine)
    prepared = prepare(noisy)
    limits = limits or Limits()
    choice = _choose(prepared, noisy, shots, limits, engine=engine, twirl=twirl)
    generator = twin_generator(seed, "computing", choice.engine)
    lost = 0.0
    if choice.engine == STABILIZER:
        bits = stabilizer.sample(noisy, shots, generator)
    elif choice.engine == TENSOR_NETWORK:
        from tiandi.computing.engines import tensor_network  # noqa: PLC0415

        bits = tensor_network.sample(noisy, shots, int(generator.integers(1 << 62)))
    else:
        if choice.engine == MATRIX_PRODUCT_STATE:
            bits, lost = matrix_product_state.sample(prepared, shots, generator, limits.allowed_byte())
        elif choice.engine == TRAJECTORIES:
            bits = trajectories.sample(prepared, shots, generator, limits.allowed_byte())
        else:
            bits = _SAMPLERS[choice.engine](prepared, shots, generator)
        bits = read(bits, prepared.measurements, generator)
    return Run(bits, choice.engine, choice.why, choice, lost)


_SAMPLERS: dict[str, Callable[[Prepared, int, np.random.Generator], BitTable]] = {
    STATE_VECTOR: state_vector.sample,
    DENSITY_MATRIX: density_matrix.sample,
}
