"""What factoring takes, against the numbers of the papers."""

from __future__ import annotations

import math

import pytest

from tiandi.computing.machines.factoring import (
    ESTIMATES,
    factoring_cost,
    logical_error,
    needed_distance,
    physical_qubits,
    qubits_at,
    run_failure,
    suppression_by_errors,
)
from tiandi.computing.machines.sheets import find_sheet
from tiandi.errors import InputError


def test_gidney_and_ekera_get_27_percent_at_distance_27() -> None:
    """arXiv:1905.09749, "Topological error": 10^-[27/2+1] x 226 x 63 x 0.75 x 25e9, 27 %; two steps more in distance, ten times fewer."""
    assert run_failure(27, 10.0) == pytest.approx(0.27, abs=0.005)
    assert run_failure(29, 10.0) == pytest.approx(0.027, abs=0.0005)
    assert needed_distance(10.0) == 27


def test_their_board_is_the_20_million_of_the_title() -> None:
    assert physical_qubits(27) == pytest.approx(20e6, rel=0.15)
    # "Doing so would increase the physical qubit count by 15 %."
    assert physical_qubits(29) / physical_qubits(27) == pytest.approx(1.15, abs=0.005)


def test_estimates_are_unchanged_at_the_errors_they_were_made_for() -> None:
    cost = factoring_cost(10.0)
    assert cost.qubits == pytest.approx({item.name: item.qubits for item in ESTIMATES})
    assert [item.qubits for item in ESTIMATES] == sorted((item.qubits for item in ESTIMATES), reverse=True)


@pytest.mark.parametrize("suppression", [1.4, 2.14, 5.0, 30.0])
def test_scaling_keeps_the_logical_error(suppression: float) -> None:
    """(d+1)^2 from the exact distances agrees with the square of logarithms."""
    at_ten, here = (2 * math.log(1e15 * 0.1) / math.log(value) for value in (10.0, suppression))
    assert qubits_at(ESTIMATES[-1], suppression) == pytest.approx(ESTIMATES[-1].qubits * (here / at_ten) ** 2, rel=1e-9)
    assert logical_error(round(here) - 1, suppression) == pytest.approx(1e-15, rel=2.0)
    assert run_failure(needed_distance(suppression), suppression) <= 0.28
    assert run_failure(needed_distance(suppression) - 2, suppression) > 0.25


def test_above_threshold_no_size_is_enough() -> None:
    cost = factoring_cost(0.2)
    assert cost.distance is None
    assert all(math.isinf(qubits) for qubits in cost.qubits.values())
    with pytest.raises(InputError, match=r"suppression = 1\.0: must be above 1"):
        needed_distance(1.0)


def test_suppression_by_errors_is_kinder_than_what_was_measured() -> None:
    """Willow: Lambda 2.14 measured. Wukong is above threshold. An annealer has none."""
    willow = suppression_by_errors(find_sheet("google-willow"))
    assert willow is not None
    assert 2.14 < willow < 4.0
    wukong = suppression_by_errors(find_sheet("origin-wukong"))
    assert wukong is not None
    assert wukong < 1.0
    assert suppression_by_errors(find_sheet("dwave-advantage2")) is None
