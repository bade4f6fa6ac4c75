"""QCIS against cqlib: every gate's matrix, random circuits' amplitudes; and programs that cannot be read."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.computing.circuits.amplitudes import circuits, final_amplitudes, overlap, some_amplitudes
from tiandi.computing.circuits.circuit import BARRIER, DELAY, MEASURE, RESET, Circuit, Operation
from tiandi.computing.circuits.qcis import NAMES, PLAIN, read_qcis, write_qcis
from tiandi.errors import InputError

PEERS = json.loads(Path(__file__).with_name("peers.json").read_text(encoding="utf-8"))
CQLIB_GATES = [record for record in PEERS["cqlib gates"] if not record["text"].startswith("I ")]


def complex_of(pairs: list[list[float]]) -> np.ndarray:
    return np.array(pairs) @ [1, 1j]


@pytest.mark.parametrize("record", CQLIB_GATES, ids=lambda record: record["text"].split()[0])
@pytest.mark.parametrize("key", ["text", "sent"])
def test_every_gate_has_the_matrix_of_cqlib(record: dict, key: str) -> None:
    matrix = complex_of(record["matrix"])
    matrix = matrix.reshape(round(matrix.size**0.5), -1)
    count = matrix.shape[0].bit_length() - 1
    circuit = read_qcis(record[key])
    state = some_amplitudes(count, 3)
    assert circuit.qubit_count == count
    assert overlap(final_amplitudes(circuit, state), matrix @ state) == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize("number", range(len(PEERS["cqlib circuits"])))
def test_random_circuits_have_the_amplitudes_of_cqlib(number: int) -> None:
    record = PEERS["cqlib circuits"][number]
    expected = np.zeros(2**5, complex)
    for key, value in record["amplitudes"].items():
        expected[int(key[::-1], 2)] = complex_of([value])[0]  # cqlib writes qubit 0 rightmost.
    for text in (record["text"], record["sent"]):
        assert overlap(final_amplitudes(read_qcis(text)), expected) == pytest.approx(1, abs=1e-9)


def test_every_name_of_cqlib_is_read() -> None:
    assert {record["text"].split()[0] for record in PEERS["cqlib gates"]} | {"B", "M"} == set(NAMES)


def test_waits_barriers_and_measurements() -> None:
    circuit = read_qcis("# a comment\r\n  X Q3 // another\n\nB Q3 Q0\nI Q0 25\nM Q3 Q0\nM Q1")
    assert circuit == Circuit(
        4,
        (
            Operation("x", (3,)),
            Operation(BARRIER, (3, 0)),
            Operation(DELAY, (0,), (12.5e-9,)),
            *(Operation(MEASURE, (qubit,)) for qubit in (3, 0, 1)),
        ),
    )
    assert read_qcis(write_qcis(circuit)) == circuit


@pytest.mark.parametrize(
    ("angle", "value"), [("pi/2", np.pi / 2), ("-3*pi/4", -0.75 * np.pi), ("(0.1+2*pi)/2", 0.05 + np.pi), ("--1e-3", 1e-3), ("+.5", 0.5)]
)
def test_angles_may_be_written_with_pi(angle: str, value: float) -> None:
    assert read_qcis(f"RZ Q0 {angle}").operations[0].parameters[0] == pytest.approx(value, abs=1e-15)


@settings(max_examples=150, deadline=None)
@given(circuits())
def test_what_is_written_is_read_back_up_to_a_global_phase(circuit: Circuit) -> None:
    back = read_qcis(write_qcis(circuit))
    state = some_amplitudes(circuit.qubit_count, 4)
    padded = Circuit(circuit.qubit_count, back.operations)
    assert overlap(final_amplitudes(padded, state), final_amplitudes(circuit, state)) == pytest.approx(1, abs=1e-9)
    assert back.measured_qubits == circuit.measured_qubits


NATIVE = ["sx", "sxdg", "sy", "sydg", "rz", "rxy", "cz", "fsim", "h", "x", "rx", "ry", "t", "tdg"]


@settings(max_examples=100, deadline=None)
@given(circuits(NATIVE))
def test_gates_that_qcis_has_come_back_as_they_were(circuit: Circuit) -> None:
    assert read_qcis(write_qcis(circuit)).operations == circuit.operations


def test_cqlib_is_sent_nothing_but_what_it_sends() -> None:
    assert {"U", "CX", "CNOT", "CY", "SWAP"} == {name for name in PLAIN if name not in write_names()}


def write_names() -> set[str]:
    gates = [(gate, count, angles) for gate, count, angles in PLAIN.values()]
    text = "\n".join(write_qcis(Circuit(2, (Operation(gate, (0, 1)[:count], (0.3,) * angles),))) for gate, count, angles in gates)
    return {line.split()[0] for line in text.split("\n")}


@pytest.mark.parametrize(
    ("text", "line", "token", "limit"),
    [
        ("H Q0\nh Q1", 2, "h", "must begin with one of"),
        ("PXY Q0 0 30 0.2 4e9 0 0.1 0", 1, "PXY Q0", "read_pulses"),
        ("B Q0 Q1\nPZ0 G3 1 40", 2, "PZ0 G3", "read_pulses"),
        ("B Q0 G3", 1, "G3", "pulse programs only"),
        ("RZ Q0 nan", 1, "nan", "finite"),
        ("RZ Q0 1e999", 1, "1e999", "finite"),
        ("RZ Q0 1_0", 1, "1_0", "finite"),
        ("RZ Q0 theta", 1, "theta", "numbers and pi"),
        ("RZ Q0 __import__('os')", 1, "__import__('os')", "numbers and pi"),
        ("RZ Q0 2**99999999", 1, "2**99999999", "numbers and pi"),
        ("RZ Q0 " + "(" * 150 + "1" + ")" * 150, 1, "((((", "32 deep"),
        ("RZ Q0 " + "9" * 100_000, 1, "9999", "numbers and pi"),
        ("RZ Q0 1/0", 1, "1/0", "numbers and pi"),
        ("RZ Q0 (1", 1, "(1", "numbers and pi"),
        ("RZ Q0 1)", 1, "1)", "numbers and pi"),
        ("RZ Q0 *2", 1, "*2", "numbers and pi"),
        ("RZ Q0 1 2", 1, "RZ Q0 1 2", "1 qubit and 1 number"),
        ("CZ Q0 Q0", 1, "CZ Q0 Q0", "must differ"),
        ("CCX Q0 Q1 Q0", 1, "CCX Q0 Q1 Q0", "must differ"),
        ("CZ Q0", 1, "CZ Q0", "2 qubits and 0 numbers"),
        ("X 0", 1, "0", "such as Q0"),
        ("X Q", 1, "", "number of a qubit"),
        ("X Q-1", 1, "-1", "number of a qubit"),
        ("X Q²", 1, "²", "number of a qubit"),
        ("X Q10000", 1, "10000", "[0, 9999]"),
        ("X Q" + "9" * 100_000, 1, "9999", "[0, 9999]"),
        ("I Q0", 1, "I Q0", "1 qubit and 1 number"),
        ("I Q0 0.5", 1, "0.5", "steps of 0.5 ns"),
        ("M", 1, "M", "one qubit or more"),
    ],
)
def test_what_cannot_be_read_is_named_by_line_and_token(text: str, line: int, token: str, limit: str) -> None:
    with pytest.raises(InputError) as caught:
        read_qcis(text)
    assert caught.value.field == f"QCIS line {line}"
    assert str(caught.value.value).startswith(token)
    assert limit in caught.value.limit
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("text", ["", "\n\n# nothing"])
def test_a_program_without_instructions_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="must hold an instruction"):
        read_qcis(text)


@pytest.mark.parametrize(("operation", "limit"), [(Operation(RESET, (0,)), "no reset"), (Operation(DELAY, (0,), (0.3e-9,)), "0.5 ns")])
def test_what_qcis_cannot_say_is_refused(operation: Operation, limit: str) -> None:
    with pytest.raises(InputError, match=limit):
        write_qcis(Circuit(1, (operation,)))


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet="XYRZCMBIQG0123456789 .-+*/()pi#\n", max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(InputError):
        assert write_qcis(read_qcis(text)) or text


def test_a_long_program_is_read_in_time_that_grows_as_its_length() -> None:
    assert len(read_qcis("RZ Q7 0.25\n" * 20_000).operations) == 20_000
