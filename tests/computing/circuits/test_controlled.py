"""Gates backwards and under controls, against their matrices."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings

from tests.computing.circuits.amplitudes import final_amplitudes, operations, overlap, some_amplitudes
from tiandi.computing.circuits.circuit import Circuit, Operation
from tiandi.computing.circuits.controlled import controlled, inverse
from tiandi.computing.circuits.gates import GATES
from tiandi.errors import InputError


@settings(max_examples=100, deadline=None)
@given(operations(3, list(GATES)))
def test_a_gate_and_its_inverse_do_nothing(operation: Operation) -> None:
    state = some_amplitudes(3, 1)
    assert np.allclose(final_amplitudes(Circuit(3, (operation, inverse(operation))), state), state)


@pytest.mark.parametrize(("name", "controls"), list(itertools.product(GATES, [1, 2, 3])))
def test_a_gate_under_controls_is_its_matrix_in_the_last_corner(name: str, controls: int) -> None:
    gate = GATES[name]
    angles = (0.7, -1.9, 2.6)[: gate.parameter_count]
    count = controls + gate.qubit_count
    targets = tuple(range(controls, count))
    state = some_amplitudes(count, 2)
    expected = state.copy()
    expected[-(2**gate.qubit_count) :] = gate.unitary(*angles) @ state[-(2**gate.qubit_count) :]
    made = Circuit(count, controlled(Operation(name, targets, angles), tuple(range(controls))))
    assert overlap(final_amplitudes(made, state), expected) == pytest.approx(1, abs=1e-9)


def test_six_controls_are_the_most() -> None:
    made = controlled(Operation("x", (6,)), tuple(range(6)))
    ones = np.eye(2**7, dtype=complex)[-2]
    assert overlap(final_amplitudes(Circuit(7, made), ones), np.eye(2**7)[-1]) == pytest.approx(1)
    with pytest.raises(InputError, match="at most 6"):
        controlled(Operation("x", (7,)), tuple(range(7)))


def test_a_control_that_the_gate_acts_on_is_refused() -> None:
    with pytest.raises(InputError, match="must differ"):
        controlled(Operation("h", (1,)), (0, 1))
