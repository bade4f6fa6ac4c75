"""Clifford circuits with Pauli noise, by stim: thousands of qubits, millions of shots.

Damping is no Pauli noise. Where the caller allows it, it is twirled: replaced by the Pauli noise with the same weights on the diagonal of
its process matrix. Leakage into the maximally mixed state is Pauli noise as it is.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiandi.computing.circuits.gates import GATES
from tiandi.computing.circuits.noise import Damping, Leakage, Measurement, NoisyCircuit, PauliNoise, Reset, Step, Unitary
from tiandi.computing.engines.channels import pauli_word
from tiandi.computing.engines.preparing import BitTable, once_a_circuit, read
from tiandi.errors import InputError

_STIM_NAMES = {
    "id": "I",
    "x": "X",
    "y": "Y",
    "z": "Z",
    "h": "H",
    "s": "S",
    "sdg": "S_DAG",
    "sx": "SQRT_X",
    "sxdg": "SQRT_X_DAG",
    "sy": "SQRT_Y",
    "sydg": "SQRT_Y_DAG",
    "cx": "CX",
    "cy": "CY",
    "cz": "CZ",
    "swap": "SWAP",
    "iswap": "ISWAP",
}


def stim_module() -> ModuleType:
    """The module stim; raises InputError that names the extra where it is not installed."""
    try:
        import stim  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise InputError("engine", "stabilizer", "needs the extra: pip install 'tiandi[computing]'") from error
    return stim


def is_clifford(step: Unitary) -> bool:
    """Whether a gate maps Pauli words to Pauli words."""
    return _instructions(step.name, step.matrix.tobytes(), len(step.matrix)) is not None


def sampled_exactly(steps: tuple[Step, ...]) -> bool:
    """Whether `sample` needs no twirling: Clifford gates and Pauli noise on at most two qubits only."""
    return not any(isinstance(step, Damping) and (step.amplitude or step.phase) for step in steps)


def fits(steps: tuple[Step, ...], *, twirl: bool) -> bool:
    """Whether stim can run ``steps``, with damping twirled if ``twirl``."""
    return all(
        is_clifford(step) if isinstance(step, Unitary) else not isinstance(step, PauliNoise) or len(step.qubits) <= 2 for step in steps
    ) and (twirl or sampled_exactly(steps))


@lru_cache(maxsize=4096)
def _instructions(name: str, matrix: bytes, size: int) -> tuple[tuple[str, tuple[int, ...]], ...] | None:
    """A Clifford gate as stim's instructions on qubits 0 and 1; None for a gate that is none."""
    if name in _STIM_NAMES:
        return ((_STIM_NAMES[name], tuple(range(GATES[name].qubit_count))),)
    values = np.frombuffer(matrix, complex).reshape(size, size)
    if not _maps_words_to_words(values):
        return None
    tableau = stim_module().Tableau.from_unitary_matrix(values, endian="big")
    return tuple(
        (instruction.name, tuple(target.value for target in instruction.targets_copy()))
        for instruction in tableau.to_circuit("elimination")
    )


def _maps_words_to_words(matrix: NDArray[np.complex128]) -> bool:
    """Whether each X and Z of one qubit becomes a Pauli word; stim itself takes small turns for Clifford (a turn by 0.3 rad, 1.16)."""
    size = len(matrix)
    count = size.bit_length() - 1
    words = np.array([pauli_word(number, count) for number in range(size * size)])
    turned = [matrix @ words[letter << 2 * qubit] @ matrix.conj().T for qubit in range(count) for letter in (1, 3)]
    overlaps = np.abs(np.einsum("pij,gji->gp", words, np.array(turned))) / size
    # The overlap falls short by half the square of an angle: 1e-12 is a turn by about a microradian.
    return bool((overlaps.max(axis=1) > 1 - 1e-12).all())


def twirled_damping(amplitude: float, phase: float) -> NDArray[np.float64]:
    """Probabilities (4,) of I, X, Y, Z on the diagonal of the process matrix of `Damping`: |tr(P K)|**2 / 4 over its Kraus operators."""
    keep = np.sqrt(1 - amplitude)
    # K0 = diag(1, keep) overlaps with I and Z, K1 = sqrt(amplitude) |0><1| with X and Y; dephasing swaps I with Z, X with Y.
    damped = np.array([(1 + keep) ** 2, amplitude, amplitude, (1 - keep) ** 2]) / 4
    return (1 - phase) * damped + phase * damped[[3, 2, 1, 0]]


@once_a_circuit
def stim_circuit(noisy: NoisyCircuit) -> Any:
    """The circuit as a `stim.Circuit`, damping twirled; of reading errors only the part that is the same for 0 and 1.

    Raises InputError for a gate that is not Clifford, or Pauli noise on more than two qubits.
    """
    lines: list[_Line] = []
    for step in noisy.steps:
        if isinstance(step, Reset) and lines and lines[-1].name == "M" and lines[-1].targets[-1] == step.qubit:
            # Measured, then reset: one instruction.
            measured = lines[-1]
            measured.targets.pop()
            if not measured.targets:
                lines.pop()
            _add(lines, "MR", measured.arguments, (step.qubit,))
        else:
            for name, arguments, targets in _in_stim(step):
                _add(lines, name, arguments, targets)
    # Stim reads text ten times as fast as it takes single instructions.
    return stim_module().Circuit("\n".join(line.text() for line in lines))


@dataclass(slots=True)
class _Line:
    """One instruction of stim on many qubits, one after the other."""

    name: str
    arguments: tuple[float, ...]
    targets: list[int]

    def text(self) -> str:
        arguments = f"({','.join(repr(float(argument)) for argument in self.arguments)})" if self.arguments else ""
        return f"{self.name}{arguments} {' '.join(map(str, self.targets))}"


def _add(lines: list[_Line], name: str, arguments: tuple[float, ...], targets: Iterable[int]) -> None:
    if lines and lines[-1].name == name and lines[-1].arguments == arguments:
        lines[-1].targets += targets
    else:
        lines.append(_Line(name, arguments, list(targets)))


def _in_stim(step: Step) -> list[tuple[str, tuple[float, ...], tuple[int, ...]]]:
    """A step as stim's instructions: names, arguments, qubits."""
    if isinstance(step, Unitary):
        instructions = _instructions(step.name, step.matrix.tobytes(), len(step.matrix))
        if instructions is None:
            raise InputError("gate", step.name or "a matrix", "is not Clifford: the stabilizer engine cannot run it")
        return [(name, (), tuple(step.qubits[place] for place in places)) for name, places in instructions]
    if isinstance(step, PauliNoise):
        return [(*noise, step.qubits) for noise in _pauli_noise(step.probabilities.tobytes())]
    if isinstance(step, Damping):
        return [(*noise, (step.qubit,)) for noise in _pauli_noise(twirled_damping(step.amplitude, step.phase).tobytes())]
    if isinstance(step, Leakage):
        return [("DEPOLARIZE1", (0.75 * step.probability,), (step.qubit,))] if step.probability else []
    if isinstance(step, Reset):
        return [("R", (), (step.qubit,))]
    common = _common(step)
    return [("M", (common,) if common else (), (step.qubit,))]


@lru_cache(maxsize=4096)
def _pauli_noise(probabilities: bytes) -> list[tuple[str, tuple[float, ...]]]:
    """Stim's name and arguments for the probabilities of Pauli words; nothing where no error happens."""
    errors = [max(0.0, float(probability)) for probability in np.frombuffer(probabilities)[1:]]
    if not any(errors):
        return []
    if len(errors) not in {3, 15}:
        raise InputError("words of Pauli noise", len(errors) + 1, "the stabilizer engine takes at most two qubits: 16")
    qubits = 1 if len(errors) == 3 else 2
    if max(errors) - min(errors) < 1e-15:
        return [(f"DEPOLARIZE{qubits}", (sum(errors),))]
    return [(f"PAULI_CHANNEL_{qubits}", tuple(errors))]


def sample(noisy: NoisyCircuit, shots: int, generator: np.random.Generator) -> BitTable:
    """Bits (shots, measured) with reading errors, damping twirled."""
    sampler = stim_circuit(noisy).compile_sampler(seed=int(generator.integers(1 << 62)))
    bits: BitTable = sampler.sample(shots).view(np.uint8)
    return read(bits, [_uneven(step) for step in noisy.measurements], generator)


def _common(step: Measurement) -> float:
    """The probability of a flip that stim makes, the same for 0 and 1."""
    common = min(step.one_for_zero, step.zero_for_one)
    return common if common < 0.5 else 0.0


def _uneven(step: Measurement) -> Measurement:
    """What is left of a reading error after stim's flips: the confusion matrix times the inverse of theirs."""
    common = _common(step)
    one_for_zero = (step.one_for_zero * (1 - common) - (1 - step.zero_for_one) * common) / (1 - 2 * common)
    zero_for_one = (step.zero_for_one * (1 - common) - (1 - step.one_for_zero) * common) / (1 - 2 * common)
    return Measurement(step.qubit, max(0.0, one_for_zero), max(0.0, zero_for_one))
