"""OriginIR against pyqpanda3: state vectors of random circuits; blocks; and programs that cannot be read."""

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
from tiandi.computing.circuits.origin_ir import read_origin_ir, read_origin_program, write_origin_ir
from tiandi.errors import InputError

PEERS = json.loads(Path(__file__).with_name("peers.json").read_text(encoding="utf-8"))["pyqpanda3 circuits"]
HEAD = "QINIT 4\nCREG 2\n"


@pytest.mark.parametrize("number", range(len(PEERS)))
def test_random_circuits_have_the_amplitudes_of_pyqpanda3(number: int) -> None:
    circuit = read_origin_ir(PEERS[number]["text"])
    expected = (np.array(PEERS[number]["state"]) @ [1, 1j]).reshape((2,) * 6).transpose().ravel()  # pyqpanda3: qubit 0 least significant.
    assert circuit.qubit_count == 6
    assert overlap(final_amplitudes(circuit), expected) == pytest.approx(1, abs=1e-9)


def test_the_recorded_circuits_hold_blocks_and_every_gate() -> None:
    words = {line.split()[0] for record in PEERS for line in record["text"].split("\n") if line}
    assert {"DAGGER", "CONTROL", "U4", "CU", "RZX", "SQISWAP", "RPhi", "X1", "Z1", "ISWAP", "CR"} <= words


@settings(max_examples=150, deadline=None)
@given(circuits())
def test_what_is_written_is_read_back(circuit: Circuit) -> None:
    back = read_origin_program(write_origin_ir(circuit))
    state = some_amplitudes(circuit.qubit_count, 4)
    assert back.circuit.qubit_count == circuit.qubit_count
    assert overlap(final_amplitudes(back.circuit, state), final_amplitudes(circuit, state)) == pytest.approx(1, abs=1e-9)
    assert back.circuit.measured_qubits == circuit.measured_qubits
    assert back.bits_follow_measurements or not circuit.measured_qubits


EXACT = [
    "id",
    "x",
    "h",
    "s",
    "sdg",
    "sx",
    "sxdg",
    "sy",
    "sydg",
    "rx",
    "rz",
    "p",
    "u",
    "rxy",
    "cx",
    "cy",
    "cz",
    "cp",
    "swap",
    "iswap",
    "rzz",
]


@settings(max_examples=100, deadline=None)
@given(circuits(EXACT))
def test_gates_that_origin_ir_has_come_back_as_they_were(circuit: Circuit) -> None:
    assert read_origin_ir(write_origin_ir(circuit)) == circuit


def test_everything_that_is_no_gate() -> None:
    circuit = Circuit(3, (Operation(RESET, (1,)), Operation(BARRIER, (0, 2)), Operation(DELAY, (0,), (4e-8,)), Operation(MEASURE, (2,))))
    assert read_origin_ir(write_origin_ir(circuit)) == circuit


def test_blanks_comments_registers_and_bits() -> None:
    program = read_origin_program(
        "/* one\ntwo */\n// three\nQINIT 3\nCREG 4\n  H  q[ 0 ] // four\r\nX q[1],q[2]\nMEASURE q[2],c[3]\nMEASURE q[0], c[0]"
    )
    assert program.circuit.operations == (
        *(Operation(name, (qubit,)) for name, qubit in (("h", 0), ("x", 1), ("x", 2))),
        Operation(MEASURE, (2,)),
        Operation(MEASURE, (0,)),
    )
    assert program.classical_bits == (3, 0)
    assert program.classical_bit_count == 4
    assert not program.bits_follow_measurements
    everything = read_origin_program("QINIT 3\nCREG 3\nRX q,(pi/2)\nBARRIER q\nMEASURE q,c")
    assert everything.circuit.counted() == {"rx": 3, "barrier": 1, "measure": 3}
    assert everything.classical_bits == (0, 1, 2)


def test_angles_stand_with_and_without_brackets() -> None:
    circuit = read_origin_ir(HEAD + "RX q[0],(PI/2)\nRX q[0],-0.5\nU3 q[0],((1+2)*3,-1e-3,.5)\nU2 q[1],0.1,0.2")
    assert [operation.parameters for operation in circuit.operations] == [(np.pi / 2,), (-0.5,), (9.0, -1e-3, 0.5), (np.pi / 2, 0.1, 0.2)]


def test_blocks_in_blocks() -> None:
    text = "CONTROL q[3]\nDAGGER\nS q[0]\nCONTROL q[2]\nX q[1]\nENDCONTROL\nENDDAGGER\nENDCONTROL"
    plain = "CONTROL q[2],q[3]\nX q[1]\nENDCONTROL\nCR q[3],q[0],(-pi/2)"
    state = some_amplitudes(4, 5)
    assert overlap(final_amplitudes(read_origin_ir(HEAD + text), state), final_amplitudes(read_origin_ir(HEAD + plain), state)) > 1 - 1e-9


@pytest.mark.parametrize(
    ("text", "line", "token", "limit"),
    [
        (HEAD + "h q[0]", 3, "h", "must begin with one of"),
        (HEAD + "H q[0] X q[1]", 3, "q[0]Xq[1]", "such as q[0]"),
        (HEAD + "H q[4]", 3, "4", "[0, 3]"),
        (HEAD + "H q[" + "9" * 100_000 + "]", 3, "999", "[0, 3]"),
        (HEAD + "H q[-1]", 3, "q[-1]", "such as q[0]"),
        (HEAD + "CNOT q[0],q[0]", 3, "CNOT", "must differ"),
        (HEAD + "CNOT q[0]", 3, "CNOT", "as in CNOT q[0],q[1]"),
        (HEAD + "CNOT q", 3, "CNOT q", "as in CNOT q[0],q[1]"),
        (HEAD + "RX q[0]", 3, "q[0]", "numbers and pi"),
        (HEAD + "RX q[0],(nan)", 3, "nan", "finite"),
        (HEAD + "RX q[0],(1e400)", 3, "1e400", "finite"),
        (HEAD + "RX q[0],(a)", 3, "a", "numbers and pi"),
        (HEAD + "RX q[0],(1,2)", 3, "RX", "1 qubit and 1 angle"),
        (HEAD + "RX q[0],(1", 3, "(1", "numbers and pi"),
        (HEAD + "H", 3, "", "such as q[0]"),
        (HEAD + "MEASURE q[0]", 3, "MEASURE", "as in MEASURE"),
        (HEAD + "MEASURE q[0],c[2]", 3, "2", "a bit of CREG"),
        (HEAD + "MEASURE q,c", 3, "MEASURE q,c", "as many bits"),
        ("QINIT 2\nMEASURE q[0],c[0]", 2, "c[0]", "bit of CREG"),
        ("H q[0]", 1, "q[0]", "QINIT"),
        ("CREG 2", 1, "end of the program", "QINIT"),
        ("QINIT 0", 1, "0", "[1, 10000]"),
        ("QINIT 100000", 1, "100000", "[0, 10000]"),
        ("QINIT 2\nQINIT 2", 2, "QINIT", "once"),
        (HEAD + "CREG 2", 3, "CREG", "once"),
        (HEAD + "DAGGER\nH q[0]", 4, "end of the program", "line 3 is not closed"),
        (HEAD + "ENDCONTROL", 3, "ENDCONTROL", "no CONTROL block"),
        (HEAD + "DAGGER\nENDCONTROL", 4, "ENDCONTROL", "no CONTROL block"),
        (HEAD + "DAGGER\nMEASURE q[0],c[0]", 4, "MEASURE", "must not stand in a DAGGER"),
        (HEAD + "CONTROL q[0]\nH q[0]\nENDCONTROL", 5, "(0,)", "must differ"),
        (HEAD + "DAGGER\n" * 40, 35, "DAGGER", "32 deep"),
        (HEAD + "QIF c[0]==1", 3, "QIF", "branches"),
        (HEAD + "QWHILE c[0]", 3, "QWHILE", "loops"),
        (HEAD + "QGATE a b", 3, "QGATE", "definitions"),
        (HEAD + "IDLE q[0],(-1)", 3, "IDLE", "ns"),
        (HEAD + "H q[0]\n/* never closed", 4, "/*", "closed by */"),
    ],
)
def test_what_cannot_be_read_is_named_by_line_and_token(text: str, line: int, token: str, limit: str) -> None:
    with pytest.raises(InputError) as caught:
        read_origin_ir(text)
    assert caught.value.field == f"OriginIR line {line}"
    assert str(caught.value.value).startswith(token)
    assert limit in caught.value.limit
    assert len(str(caught.value)) < 500


def test_a_few_lines_cannot_ask_for_endless_work() -> None:
    with pytest.raises(InputError, match="touch at most"):
        read_origin_ir("QINIT 10000\n" + "H q\n" * 100)
    controls = ",".join(f"q[{number}]" for number in range(1, 7))
    many = f"QINIT 7\nCONTROL {controls}\n" + "RX q[0],(1)\n" * 500 + "ENDCONTROL"
    with pytest.raises(InputError, match="touch at most"):
        read_origin_ir(many)


def test_comments_without_number_are_read_in_time_that_grows_as_their_length() -> None:
    with pytest.raises(InputError, match="QINIT"):
        read_origin_ir("/**/" * 300_000 + "CREG 2")


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet="HXRCNOTDAGEqc[](),0123456789 .pi\n", max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(InputError):
        read_origin_ir(HEAD + text)
