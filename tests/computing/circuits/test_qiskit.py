"""Everything that needs Qiskit: circuits to and from it, OpenQASM, layouts. One file, because Qiskit takes seconds to import."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from qiskit import QuantumCircuit, qasm2, qasm3
from qiskit.circuit import Parameter
from qiskit.circuit import library as gates
from qiskit.circuit.random import random_circuit as random_qiskit
from qiskit.quantum_info import Operator

from tests.computing.circuits.amplitudes import circuits, final_amplitudes, overlap, random_circuit, some_amplitudes
from tiandi.computing.circuits.circuit import DELAY, MEASURE, RESET, Circuit, Operation, measure_all
from tiandi.computing.circuits.languages import language_of, read_circuit, read_program
from tiandi.computing.circuits.openqasm import read_openqasm, read_openqasm_program, write_openqasm
from tiandi.computing.circuits.origin_ir import write_origin_ir
from tiandi.computing.circuits.qcis import write_qcis
from tiandi.computing.circuits.qiskit_circuits import from_qiskit, from_qiskit_program, to_qiskit
from tiandi.computing.machines.lattice import rotated_square
from tiandi.computing.machines.transpile import compile_circuit, compile_with_places
from tiandi.computing.machines.twin import build_twin
from tiandi.errors import InputError


def unitary_of(circuit: QuantumCircuit) -> np.ndarray:
    """Qiskit's matrix with qubit 0 most significant."""
    return Operator(circuit.reverse_bits()).data


@pytest.mark.parametrize("seed", range(8))
def test_random_circuits_of_qiskit_keep_their_unitary(seed: int) -> None:
    circuit = random_qiskit(4, 6, max_operands=4, seed=seed)
    state = some_amplitudes(4, seed)
    assert overlap(final_amplitudes(from_qiskit(circuit), state), unitary_of(circuit) @ state) == pytest.approx(1, abs=1e-8)


@settings(max_examples=60, deadline=None)
@given(circuits(measured=False))
def test_to_qiskit_keeps_the_unitary_and_comes_back(circuit: Circuit) -> None:
    there = to_qiskit(circuit)
    state = some_amplitudes(circuit.qubit_count, 6)
    expected = final_amplitudes(circuit, state)
    assert overlap(unitary_of(there) @ state, expected) == pytest.approx(1, abs=1e-8)
    assert overlap(final_amplitudes(from_qiskit(there), state), expected) == pytest.approx(1, abs=1e-8)


def test_controls_on_zero_and_foreign_gates() -> None:
    circuit = QuantumCircuit(3)
    circuit.append(gates.XGate().control(2, ctrl_state=1), [0, 1, 2])
    circuit.append(gates.CZGate(ctrl_state=0), [0, 2])
    circuit.unitary(np.array([[0, 1j], [1, 0]]), [1])
    circuit.append(gates.QFTGate(3), [2, 0, 1])
    state = some_amplitudes(3, 1)
    assert overlap(final_amplitudes(from_qiskit(circuit), state), unitary_of(circuit) @ state) == pytest.approx(1, abs=1e-8)


def test_classical_bits_delays_and_resets() -> None:
    circuit = QuantumCircuit(2, 3)
    circuit.reset(0)
    circuit.delay(30, 1, unit="ns")
    circuit.measure([1, 0], [0, 2])
    program = from_qiskit_program(circuit)
    assert program.circuit.operations[0] == Operation(RESET, (0,))
    assert program.circuit.operations[1].parameters == pytest.approx((3e-8,))
    assert program.classical_bits == (0, 2)
    assert program.classical_bit_count == 3


def steered() -> QuantumCircuit:
    circuit = QuantumCircuit(1, 1)
    circuit.measure(0, 0)
    with circuit.if_test((0, 1)):
        circuit.x(0)
    return circuit


def free() -> QuantumCircuit:
    circuit = QuantumCircuit(1)
    circuit.rx(Parameter("theta"), 0)
    return circuit


def in_dt() -> QuantumCircuit:
    circuit = QuantumCircuit(1)
    circuit.delay(30, 0, unit="dt")
    return circuit


@pytest.mark.parametrize(
    ("circuit", "limit"), [(steered(), "steers"), (free(), "values"), (in_dt(), "must be one of s"), (QuantumCircuit(), "qubit")]
)
def test_what_cannot_run_is_refused(circuit: QuantumCircuit, limit: str) -> None:
    with pytest.raises(InputError, match=limit):
        from_qiskit(circuit)


@pytest.mark.parametrize("seed", range(3))
def test_openqasm_2_and_3_against_qiskit(seed: int) -> None:
    circuit = random_qiskit(4, 4, max_operands=3, seed=seed)
    state = some_amplitudes(4, seed)
    for text in (qasm2.dumps(circuit), qasm3.dumps(circuit)):
        assert overlap(final_amplitudes(read_openqasm(text), state), unitary_of(circuit) @ state) == pytest.approx(1, abs=1e-8)


@pytest.mark.parametrize("seed", range(3))
def test_openqasm_is_written_and_read_back(seed: int) -> None:
    circuit = measure_all(random_circuit(4, 15, seed), (2, 0, 3))
    back = read_program(write_openqasm(circuit))
    state = some_amplitudes(4, seed)
    assert overlap(final_amplitudes(back.circuit, state), final_amplitudes(circuit, state)) == pytest.approx(1, abs=1e-8)
    assert back.circuit.measured_qubits == (2, 0, 3)
    assert back.bits_follow_measurements


BEGIN_3, BEGIN_2 = 'OPENQASM 3.0;\ninclude "stdgates.inc";\n', 'OPENQASM 2.0;\ninclude "qelib1.inc";\n'


@pytest.mark.parametrize(
    ("text", "line", "token", "limit"),
    [
        (BEGIN_3 + "qubit[2] q;\nfoo q[0];", 4, "foo", "not defined"),
        (BEGIN_3 + "qubit[2 q;", 3, "q;", "importer"),
        (BEGIN_3 + "qubit[1000000000] q;", 3, "1000000000", "at most 10000"),
        (BEGIN_3 + "bit[1000000000] c;", 3, "1000000000", "at most 10000"),
        (BEGIN_3 + "qubit[20000*20000] q;", 3, "BinaryExpression", "whole number"),
        (BEGIN_3 + "qubit q;\nctrl(1000000000) @ x q;", 4, "1000000000", "at most 10000"),
        (BEGIN_3 + "x $5;", 3, "$5", "hardware qubits"),
        ('OPENQASM 3.0;\ninclude "/etc/hostname";', 2, "/etc/hostname", "only stdgates.inc"),
        (BEGIN_3 + "qubit q;\nrx(" + "(" * 3000 + "1" + ")" * 3000 + ") q;", 4, "(", "32 deep"),
        (BEGIN_3 + "qubit q;\nrx(" + "-" * 3000 + "1) q;", 4, "-", "32 deep"),
        ("OPENQASM 4.0;\nqubit q;", 1, "OPENQASM 4.0;", "version 2 or 3"),
        (BEGIN_2 + "qreg q[2];\nx q[0]\ny q[1];", 5, "y", "needed ';'"),
        (BEGIN_2 + "qreg q[1000000000];", 3, "1000000000", "[0, 10000]"),
        (BEGIN_2 + "qreg // \n q [1000000000];", 3, "1000000000", "[0, 10000]"),
        ('OPENQASM 2.0;\ninclude "/etc/hostname";', 2, "/etc/hostname", "only qelib1.inc"),
        (BEGIN_2 + "qreg q[1];\nrx(" + "^".join(["2"] * 100) + ") q[0];", 4, "^", "32 deep"),
    ],
)
def test_openqasm_that_cannot_be_read_is_named_by_line_and_token(text: str, line: int, token: str, limit: str) -> None:
    with pytest.raises(InputError) as caught:
        read_openqasm(text)
    assert caught.value.field == f"OpenQASM line {line}"
    assert str(caught.value.value).startswith(token)
    assert limit in caught.value.limit


@pytest.mark.parametrize(
    "text",
    [
        BEGIN_3 + "qubit q;\nrx(1/0) q;",
        BEGIN_3 + "input float a;\nqubit q;\nrx(a) q;",
        BEGIN_3 + "qubit q;\nfor int i in [0:1000000000] {x q;}",
        BEGIN_3 + "qubit q;\nbit c;\nc = measure q;\nif (c) {x q;}",
        BEGIN_2 + "qreg q[1];\nopaque f a;\nf q[0];",
        BEGIN_2
        + "gate g0 a {x a; x a;}\n"
        + "".join(f"gate g{k + 1} a {{g{k} a; g{k} a;}}\n" for k in range(40))
        + "qreg q[1];\ng40 q[0];",
        BEGIN_3 + "x" * 2_000_000,
    ],
)
def test_openqasm_beyond_circuits_or_measure_is_refused(text: str) -> None:
    with pytest.raises(InputError):
        read_openqasm(text)


@settings(max_examples=60, deadline=None)
@given(st.text(alphabet="qubitxh[]{}();=$0123 ^-\n", max_size=40))
def test_any_text_behind_a_version_is_read_or_refused(text: str) -> None:
    for begin in (BEGIN_2, BEGIN_3):
        with contextlib.suppress(InputError):
            read_openqasm_program(begin + text)


def test_languages_are_recognised() -> None:
    circuit = measure_all(Circuit(2, (Operation("h", (0,)), Operation("cz", (0, 1)))))
    texts = {"qcis": write_qcis(circuit), "originir": write_origin_ir(circuit), "openqasm": write_openqasm(circuit)}
    for name, text in texts.items():
        assert language_of("// a comment\n\n" + text) == name
        assert read_circuit(text) == read_circuit(text, name) == circuit
    with pytest.raises(InputError, match="must begin like QCIS"):
        read_circuit("\n\nhello")
    with pytest.raises(InputError, match="must be one of qcis"):
        read_circuit("H Q0", "quil")


NATIVE = {"zuchongzhi-2.1": "cz", "origin-wukong": "cz", "ibm-eagle": "cx"}


@pytest.mark.parametrize("machine", NATIVE)
@pytest.mark.parametrize("optimisation", [0, 1, 3])
def test_a_compiled_circuit_is_the_same_on_other_qubits(machine: str, optimisation: int) -> None:
    twin = build_twin(machine)
    circuit = random_circuit(5, 20, optimisation)
    compiled = compile_with_places(
        circuit, twin.lattice, native_gates=twin.native_gates, calibration=twin.calibration, optimisation=optimisation, seed=4
    )
    assert twin.noisy(compiled.circuit).qubit_count == twin.lattice.qubit_count
    assert set(compiled.circuit.counted()) <= set(twin.native_gates) | {"rz"}
    touched = sorted({*compiled.circuit.used_qubits, *compiled.first_places, *compiled.last_places})
    assert len(touched) <= 12
    small = compiled.circuit.relabelled({qubit: number for number, qubit in enumerate(touched)}, len(touched))
    first = [touched.index(place) for place in compiled.first_places]
    last = [touched.index(place) for place in compiled.last_places]
    rest = [number for number in range(len(touched)) if number not in first]
    state = some_amplitudes(5, 9)
    empty = np.eye(1, 2 ** len(rest), dtype=complex)[0]
    beginning = np.moveaxis(np.kron(state, empty).reshape((2,) * len(touched)), range(len(touched)), first + rest)
    end = final_amplitudes(small, np.ascontiguousarray(beginning).ravel()).reshape((2,) * len(touched))
    others = [number for number in range(len(touched)) if number not in last]
    found = np.moveaxis(end, last + others, range(len(touched))).reshape(32, -1)[:, 0]
    assert overlap(found, final_amplitudes(circuit, state)) == pytest.approx(1, abs=1e-8)


def test_measurements_keep_their_order_and_disabled_qubits_stay_out() -> None:
    twin = build_twin("zuchongzhi-2.1")
    off = np.array([0, 13, 20, 33])
    twin.calibration.qubit_works[off] = False
    twin.calibration.coupler_works[[5, 40]] = False
    circuit = read_circuit("X Q7\nX Q900\nCX Q7 Q2\nCX Q2 Q900\nCX Q900 Q7\nM Q900 Q2 Q7")
    compiled = compile_circuit(circuit, twin.lattice, native_gates=twin.native_gates, calibration=twin.calibration, seed=2)
    assert not set(compiled.used_qubits) & set(off.tolist())
    couplers = {tuple(pair) for pair in twin.lattice.couplers[[5, 40]].tolist()}
    assert not {tuple(sorted(operation.qubits)) for operation in compiled.operations} & couplers
    assert _deterministic(compiled) == _deterministic(circuit)


def _deterministic(circuit: Circuit) -> list[int]:
    used = circuit.used_qubits
    small = circuit.relabelled({qubit: number for number, qubit in enumerate(used)}, len(used))
    number = int(np.argmax(np.abs(final_amplitudes(small))))
    return [number >> (len(used) - 1 - qubit) & 1 for qubit in small.measured_qubits]


def test_measurements_in_the_middle_stay_in_order() -> None:
    text = "H Q0\nM Q0\nCX Q0 Q1\nM Q2\nM Q1\nH Q2\nM Q0"
    compiled = compile_circuit(read_circuit(text), rotated_square(3, 3), native_gates=("rxy", "rz", "cz"))
    assert len(compiled.measured_qubits) == 4
    assert compiled.measured_qubits[0] == compiled.measured_qubits[3]


def test_what_cannot_be_laid_out_is_refused() -> None:
    lattice = rotated_square(2, 2)
    circuit = Circuit(5, tuple(Operation("h", (qubit,)) for qubit in range(5)))
    with pytest.raises(InputError, match="largest connected part"):
        compile_circuit(circuit, lattice, native_gates=("rxy", "cz"))
    with pytest.raises(InputError, match="must hold one of cz"):
        compile_circuit(circuit.relabelled(dict.fromkeys(range(5), 0), 1), lattice, native_gates=("rxy",))
    with pytest.raises(InputError, match="must hold rxy"):
        compile_circuit(circuit.relabelled(dict.fromkeys(range(5), 0), 1), lattice, native_gates=("cz",))


def test_one_pulse_is_enough_for_any_turn() -> None:
    circuit = random_circuit(1, 30, 1, ["h", "t", "u", "sx", "ry", "p"])
    compiled = compile_circuit(circuit, rotated_square(2, 2), native_gates=("rxy", "rz", "cz"))
    assert sum(operation.name == "rxy" for operation in compiled.operations) == 1
    assert {operation.name for operation in compiled.operations} <= {"rxy", "rz"}
    assert DELAY not in compiled.counted()
    assert MEASURE not in compiled.counted()
