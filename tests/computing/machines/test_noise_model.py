"""The noise that is written out: each gate has the published error and no more, and the rest happens when it should."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from tests.computing.machines.exact import entanglement_fidelity
from tiandi.computing.circuits.circuit import Circuit, Operation
from tiandi.computing.circuits.noise import Damping, Leakage, Measurement, PauliNoise, Unitary
from tiandi.computing.machines.noise_model import damping, damping_fidelity
from tiandi.computing.machines.schedule import schedule
from tiandi.computing.machines.twin import Twin, build_twin
from tiandi.errors import InputError


def gate(name: str, *qubits: int, parameters: tuple[float, ...] = ()) -> Operation:
    return Operation(name, qubits, parameters)


def circuit(twin: Twin, *operations: Operation) -> Circuit:
    return Circuit(twin.lattice.qubit_count, operations)


@pytest.fixture(scope="module")
def twin() -> Twin:
    return build_twin("zuchongzhi-3.0")


@pytest.mark.parametrize("name", ["zuchongzhi-2.0", "zuchongzhi-3.0", "origin-wukong", "ibm-eagle", "google-willow"])
def test_a_gate_has_its_calibrated_error_and_no_more(name: str) -> None:
    """Damping, leakage and depolarising, multiplied out over all their Kraus operators; now and then two of them undo each other."""
    machine = build_twin(name)
    single = "u" if "u" in machine.native_gates else "sx"
    parameters = (1.0, 2.0, 3.0) if single == "u" else ()
    for qubit in (10, 20, 30):
        steps = machine.noisy(circuit(machine, gate(single, qubit, parameters=parameters))).steps
        assert 1 - entanglement_fidelity(list(steps[1:]), (qubit,)) == pytest.approx(
            machine.calibration.single_qubit_error[qubit], rel=0.01
        )
    two = "cx" if name == "ibm-eagle" else "cz"
    for number in (5, 25):
        pair = tuple(int(qubit) for qubit in machine.lattice.couplers[number])
        steps = machine.noisy(circuit(machine, gate(two, *pair))).steps
        assert any(isinstance(step, Leakage) for step in steps)
        assert 1 - entanglement_fidelity(list(steps[1:]), pair) == pytest.approx(machine.calibration.two_qubit_error[number], rel=0.01)


def test_waiting_is_decay_and_dephasing_of_the_published_times(twin: Twin) -> None:
    steps = twin.noisy(circuit(twin, gate("sx", 3), gate("delay", 3, parameters=(10e-6,)), gate("sx", 3))).steps
    wait = next(step for step in steps if isinstance(step, Damping) and step.amplitude > 0.05)
    t1, t2 = twin.calibration.t1_s[3], twin.calibration.t2_s[3]
    assert wait.amplitude == pytest.approx(1 - math.exp(-10e-6 / t1), rel=1e-9)
    # Coherence after decay and dephasing is exp(-t/T2).
    assert math.sqrt(1 - wait.amplitude) * (1 - 2 * wait.phase) == pytest.approx(math.exp(-10e-6 / t2), rel=1e-9)


def test_slow_noise_spares_short_times_and_meets_t2_at_its_time() -> None:
    rates = {"t1_s": 1.0, "t2_s": 5e-6}
    slow, fast = (damping(0, 50e-9, slow=slow, **rates) for slow in (True, False))
    assert slow.phase < 0.02 * fast.phase
    assert damping(0, 5e-6, slow=True, **rates).phase == pytest.approx(damping(0, 5e-6, slow=False, **rates).phase, rel=1e-4)


def test_damping_fidelity_is_that_of_its_kraus_operators() -> None:
    step = Damping(0.3, 0.1, 0)
    assert damping_fidelity(step) == pytest.approx(entanglement_fidelity([step], (0,)), rel=1e-12)


def test_a_qubit_waits_while_its_partner_is_busy_but_not_before_it_begins(twin: Twin) -> None:
    first, second = (int(qubit) for qubit in twin.lattice.couplers[0])
    late = schedule(circuit(twin, *[gate("sx", first)] * 3, gate("cz", first, second)), twin.calibration)
    assert late[-1].idle == (0, 0)
    begun = schedule(circuit(twin, gate("sx", second), *[gate("sx", first)] * 3, gate("cz", first, second)), twin.calibration)
    assert begun[-1].idle == (0, 2 * round(28e-9 * 1e15))


def test_barriers_hold_up_all_their_qubits(twin: Twin) -> None:
    items = schedule(circuit(twin, gate("sx", 0), gate("sx", 0), gate("barrier", 0, 50), gate("sx", 50)), twin.calibration)
    assert items[-1].start == items[1].end


def test_turns_about_z_cost_nothing(twin: Twin) -> None:
    noisy = twin.noisy(circuit(twin, gate("rz", 0, parameters=(1.0,)), gate("s", 0), gate("t", 0)))
    assert all(isinstance(step, Unitary) for step in noisy.steps)
    assert len(noisy.steps) == 3


def crossings(twin: Twin, *operations: Operation) -> list[tuple[int, ...]]:
    steps = twin.noisy(circuit(twin, *operations)).steps
    return [step.qubits for step in steps if isinstance(step, PauliNoise) and step.probabilities[-1] == twin.mechanisms.crosstalk]


def test_neighbouring_gates_disturb_each_other_only_at_the_same_time(twin: Twin) -> None:
    near = twin.lattice.coupler_number()
    first, second = (int(qubit) for qubit in twin.lattice.couplers[twin.lattice.pattern == 0][20])
    other = next(
        pair
        for pair in near
        if not {first, second} & set(pair) and any((min(a, b), max(a, b)) in near for a in (first, second) for b in pair)
    )
    together = crossings(twin, gate("cz", first, second), gate("cz", *other))
    assert together
    assert all(((min(pair), max(pair)) in near) for pair in together)
    assert not crossings(twin, gate("cz", first, second), gate("barrier", first, second, *other), gate("cz", *other))
    assert not crossings(twin, gate("cz", first, second), gate("sx", other[0]))


def test_readout_is_as_calibrated_and_at_the_end(twin: Twin) -> None:
    noisy = twin.noisy(circuit(twin, gate("sx", 1), gate("measure", 1), gate("measure", 0)))
    assert noisy.measurements == (
        Measurement(1, twin.calibration.one_for_zero[1], twin.calibration.zero_for_one[1]),
        Measurement(0, twin.calibration.one_for_zero[0], twin.calibration.zero_for_one[0]),
    )


def test_bits_keep_the_order_of_the_circuit_when_it_measures_in_between(twin: Twin) -> None:
    operations = (gate("sx", 1), gate("sx", 1), gate("sx", 1), gate("measure", 1), gate("measure", 0), gate("sx", 0), gate("measure", 0))
    assert [read.qubit for read in twin.noisy(circuit(twin, *operations)).measurements] == [1, 0, 0]


def test_all_is_well_formed(twin: Twin) -> None:
    chosen = twin.subset(12)
    operations = [gate("sx", qubit) for qubit in chosen] + [
        gate("cz", *pair) for pair in twin.lattice.couplers.tolist() if set(pair) <= set(chosen)
    ]
    for step in twin.noisy(circuit(twin, *operations)).steps:
        if isinstance(step, PauliNoise):
            assert step.probabilities.sum() == pytest.approx(1.0, abs=1e-12)
            assert (step.probabilities >= 0).all()
            assert len(step.probabilities) == 4 ** len(step.qubits)


@pytest.mark.parametrize(
    ("operation", "why"),
    [
        (gate("h", 0), "gate = 'h': must be native to this machine"),
        (gate("cx", 0, 7), "gate = 'cx'"),
        (gate("cz", 0, 50), r"qubits of cz = \(0, 50\): are not joined by a coupler that works"),
    ],
)
def test_what_the_machine_cannot_do_is_refused(twin: Twin, operation: Operation, why: str) -> None:
    with pytest.raises(InputError, match=why):
        twin.noisy(circuit(twin, operation))


def test_disabled_qubits_and_couplers_are_refused(twin: Twin) -> None:
    works = twin.calibration.qubit_works.copy()
    works[4] = False
    broken = replace(twin, calibration=replace(twin.calibration, qubit_works=works))
    with pytest.raises(InputError, match="qubit of sx = 4: is disabled"):
        broken.noisy(circuit(twin, gate("sx", 4)))
    cut = replace(twin, calibration=replace(twin.calibration, coupler_works=np.zeros(len(twin.lattice.couplers), bool)))
    with pytest.raises(InputError, match="not joined by a coupler that works"):
        cut.noisy(circuit(twin, gate("cz", *(int(qubit) for qubit in twin.lattice.couplers[0]))))


def test_a_circuit_wider_than_the_machine_is_refused(twin: Twin) -> None:
    with pytest.raises(InputError, match="qubits = 200: must be at most the machine's 105"):
        twin.noisy(Circuit(200, ()))
