"""Twins behind the cloud: what is refused before anything runs, and what comes out."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from tiandi.computing.circuits.circuit import Circuit, Operation
from tiandi.computing.circuits.noise import without_noise
from tiandi.computing.circuits.program import Program
from tiandi.computing.cloud.limits import require_fitting
from tiandi.computing.cloud.machines import TwinMachine, twins
from tiandi.computing.cloud.running import classical, in_native_gates
from tiandi.computing.cloud.worker import Reply, Request, answer
from tiandi.computing.engines.state_vector import final_state
from tiandi.errors import InputError
from tiandi.random import twin_generator

MACHINES = twins()


def zuchongzhi() -> TwinMachine:
    machine = MACHINES["zuchongzhi-2.1"]
    assert isinstance(machine, TwinMachine)
    return machine


def test_facts_and_calibration_are_of_the_whole_machine() -> None:
    for name, qubits, couplers in (("zuchongzhi-2.1", 66, 110), ("tianyan-287", 105, 182), ("origin-wukong", 72, 126)):
        facts, calibration = MACHINES[name].facts(), MACHINES[name].calibration()
        assert (facts["qubits"], facts["couplers"]) == (qubits, couplers)
        assert (len(calibration["qubits"]), len(calibration["couplers"])) == (qubits, couplers)
        assert sum(item["works"] for item in calibration["qubits"]) == facts["qubits_that_work"]
        assert all(0 < item["readout_error"] < 0.5 for item in calibration["qubits"])


@pytest.mark.parametrize(
    ("program", "language", "compile", "words"),
    [
        ("X Q0", None, False, "must measure a qubit"),
        ("M Q400", None, False, "is not there: qubits are 0 to 65"),
        ("CZ Q0 Q1\nM Q0", None, False, "no working coupler"),
        ("X Q0\nNONSENSE Q1\nM Q0", "qcis", False, "line 2"),
        ("what is this", None, False, "must begin like QCIS"),
        ("M Q0", "fortran", False, "must be one of qcis, originir, openqasm"),
        ("\n".join(f"M Q{number}" for number in range(67)), "qcis", True, "qubits that work"),
    ],
)
def test_what_the_machine_could_never_run_is_refused_at_once(program: str, language: str | None, compile: bool, words: str) -> None:
    with pytest.raises(InputError, match=words):
        zuchongzhi().prepare(program, language, compile=compile)


@pytest.mark.parametrize("wide", ["H q", "H  q", "BARRIER q ", "MEASURE q,c", "CONTROL q[1]", "DAGGER"])
def test_what_says_much_in_few_words_is_not_read_by_the_server_itself(wide: str) -> None:
    """Some hundred letters are half a million operations: other users would wait for seconds."""
    origin = MACHINES["origin-wukong"]
    assert origin.is_slow_to_read(f"QINIT 72\nCREG 72\n{wide}\n", None)
    assert origin.is_slow_to_read("OPENQASM 2.0;", None)
    assert not origin.is_slow_to_read("QINIT 2\nCREG 2\nH q[0]\nCNOT q[0], q[1]\nMEASURE q[0],c[0]", None)
    assert not origin.is_slow_to_read("H Q0\nM Q0", None)


def test_no_few_words_ask_for_more_result_than_a_server_holds() -> None:
    """Bits that nothing writes, and measurements without end, of every shot."""
    wide = "QINIT 2\nCREG 10000\nMEASURE q[0],c[0]"
    with pytest.raises(InputError, match=r"10000 classical bits.*at most 73"):
        MACHINES["origin-wukong"].prepare(wide, None, compile=True)
    limits = zuchongzhi().limits
    require_fitting(limits, shots=10_000, measured=[105] * 600)
    for circuits in (1, 8):
        with pytest.raises(InputError, match="must be at most 671 for"):
            require_fitting(limits, shots=10_000, measured=[200_000] * circuits)


def test_disabled_qubits_and_couplers_are_refused() -> None:
    machine = zuchongzhi()
    calibration = machine.calibration()
    if broken := [item["qubit"] for item in calibration["qubits"] if not item["works"]]:
        with pytest.raises(InputError, match="is disabled"):
            machine.prepare(f"M Q{broken[0]}", "qcis", compile=False)
    works = {item["qubit"] for item in calibration["qubits"] if item["works"]}
    for item in calibration["couplers"]:
        first, second = item["qubits"]
        program = f"CZ Q{first} Q{second}\nM Q{first}"
        if item["works"] and {first, second} <= works:
            machine.prepare(program, "qcis", compile=False)
        else:
            with pytest.raises(InputError, match=r"disabled|no working coupler"):
                machine.prepare(program, "qcis", compile=False)


def test_a_server_imports_no_compiler_to_accept() -> None:
    program = (
        "import sys; from tiandi.computing.cloud import serving; from tiandi.computing.cloud.machines import twins;"
        "twins()['tianyan-176'].prepare('X Q0\\nM Q0', None, compile=True);"
        "print([name for name in ('qiskit', 'stim', 'cotengra', 'numba', 'scipy') if name in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout == "[]\n"


@pytest.mark.parametrize("native", [frozenset(MACHINES[name].facts()["native_gates"]) for name in ("zuchongzhi-2.1", "origin-wukong")])
def test_native_gates_do_what_the_program_says(native: frozenset[str]) -> None:
    """Probabilities of random circuits before and after are the same."""
    generator = twin_generator(5, "native")
    ones, twos = ["h", "t", "sdg", "y", "sx", "sydg"], ["cx", "cy", "swap", "cz"]
    for _ in range(10):
        operations = []
        for _ in range(25):
            first, second = (int(qubit) for qubit in generator.permutation(3)[:2])
            operations.append(Operation(ones[generator.integers(len(ones))], (first,)))
            operations.append(Operation(twos[generator.integers(len(twos))], (first, second)))
        circuit = Circuit(3, tuple(operations))
        written = in_native_gates(circuit, native, 3)
        assert {operation.name for operation in written.operations} <= native | {"rz", "id"}
        before, after = (np.abs(final_state(without_noise(item))) ** 2 for item in (circuit, written))
        assert np.abs(before - after).max() < 1e-9


def test_columns_are_classical_bits() -> None:
    bits = np.array([[0, 1], [1, 1]], np.uint8)
    circuit = Circuit(2, (Operation("measure", (0,)), Operation("measure", (1,))))
    assert classical(bits, Program(circuit, (2, 0), 3)).tolist() == [[1, 0, 0], [1, 0, 1]]


def ran(machine: str, program: str, **more: object) -> Reply:
    request = Request(**{"machine": machine, "language": None, "compile": False, "programs": [program], "shots": 400, "seed": 3, **more})  # type: ignore[arg-type]
    reply = answer(MACHINES, request)
    assert (reply.refused, reply.failed) == (None, "")
    return reply


def test_a_bell_pair_comes_out_as_one_on_both_makers_machines() -> None:
    for machine in ("zuchongzhi-2.1", "origin-wukong"):
        couplers = [item["qubits"] for item in MACHINES[machine].calibration()["couplers"] if item["works"]]
        first, second = couplers[len(couplers) // 2]
        program = f"H Q{first}\nH Q{second}\nCZ Q{first} Q{second}\nH Q{second}\nM Q{first}\nM Q{second}"
        [outcome] = ran(machine, program).outcomes
        counts = outcome.counts()
        assert outcome.qubits == [first, second]
        assert counts["00"] + counts["11"] > 300
        assert min(counts["00"], counts["11"]) > 120
        assert outcome.engine
        assert ran(machine, program).outcomes[0].rows == outcome.rows


def test_openqasm_is_laid_out_and_read_in_its_own_bits() -> None:
    program = 'OPENQASM 3.0; include "stdgates.inc"; qubit[3] q; bit[3] c; x q[0]; cx q[0], q[2]; c[2] = measure q[0]; c[0] = measure q[1];'
    [outcome] = ran("zuchongzhi-2.1", program, compile=True).outcomes
    assert outcome.counts()["001"] > 300
    assert outcome.qubits[1] == -1
