"""Twins: drawn calibrations meet what is published, repeat, and drift along one path."""

from __future__ import annotations

import numpy as np
import pytest

from tiandi.computing.machines.sheets import find_sheet, load_sheets, pauli_per_average
from tiandi.computing.machines.twin import Twin, build_twin
from tiandi.errors import InputError

TWINS = [name for name, sheet in load_sheets().items() if not sheet.no_twin]
HOUR_S = 3600.0


def of_used(twin: Twin) -> tuple[list[int], np.ndarray]:
    """Qubits that the published figures are of, and the couplers between them."""
    count = twin.sheet.number("qubits_used") or twin.sheet.need("qubits").number
    qubits = list(twin.subset(int(count)))
    return qubits, np.isin(twin.lattice.couplers, qubits).all(axis=1)


@pytest.mark.parametrize("seed", [1, 5])
@pytest.mark.parametrize("name", TWINS)
def test_what_is_drawn_meets_what_is_published(name: str, seed: int) -> None:
    twin = build_twin(name, seed=seed)
    qubits, couplers = of_used(twin)
    scale = (pauli_per_average(1), pauli_per_average(2)) if twin.sheet.error_kind == "average" else (1.0, 1.0)
    drawn = {
        "t1_s": twin.calibration.t1_s[qubits],
        "single_qubit_error": twin.calibration.single_qubit_error[qubits] / scale[0],
        "two_qubit_error": twin.calibration.two_qubit_error[couplers] / scale[1],
        "frequency_hz": twin.calibration.frequency_hz[qubits],
    }
    if "one_for_zero" not in twin.sheet.facts:
        drawn["readout_error"] = (twin.calibration.one_for_zero + twin.calibration.zero_for_one)[qubits] / 2
    for field, values in drawn.items():
        fact = twin.sheet.need(field)
        ours = np.median(values) if fact.statistic == "median" else values.mean()
        assert ours == pytest.approx(fact.number, rel=0.01), field
        assert np.log(values).std() == pytest.approx(fact.spread, rel=0.35), field


def test_a_twin_repeats_by_its_seed_and_differs_by_another() -> None:
    first, again, other = (build_twin("zuchongzhi-2.1", seed=seed) for seed in (3, 3, 4))
    assert np.array_equal(first.calibration.t1_s, again.calibration.t1_s)
    assert np.array_equal(first.calibration.two_qubit_error, again.calibration.two_qubit_error)
    assert not np.array_equal(first.calibration.t1_s, other.calibration.t1_s)


@pytest.mark.parametrize("name", TWINS)
def test_no_qubit_is_impossible(name: str) -> None:
    calibration = build_twin(name, age_s=20 * HOUR_S).calibration
    assert (calibration.t2_s <= 2 * calibration.t1_s * (1 + 1e-12)).all()
    assert (calibration.t1_s > 0).all()
    for errors in (calibration.single_qubit_error, calibration.two_qubit_error, calibration.one_for_zero, calibration.zero_for_one):
        assert ((errors > 0) & (errors <= 0.5)).all()


def test_absent_qubits_have_no_number() -> None:
    twin = build_twin("google-sycamore")
    assert (twin.lattice.qubit_count, len(twin.lattice.couplers)) == (53, 86)
    assert twin.calibration.qubit_works.all()


def test_gates_only_get_worse_as_a_calibration_ages_and_t1_wanders() -> None:
    fresh, old = (build_twin("zuchongzhi-3.0", age_s=age).calibration for age in (0.0, 48 * HOUR_S))
    assert old.age_s == 48 * HOUR_S
    assert (old.single_qubit_error >= fresh.single_qubit_error).all()
    assert (old.two_qubit_error >= fresh.two_qubit_error).all()
    ratio = old.t1_s / fresh.t1_s
    assert (ratio > 1).any()
    assert (ratio < 1).any()
    # A defect for 6 h every 10 days: one in forty of the qubits has one, at a third of its T1.
    assert 0 <= (ratio < 0.5).mean() < 0.15


def test_ages_lie_on_one_path() -> None:
    """A quarter of an hour changes little, a day much."""
    ages = [24 * HOUR_S, 24.25 * HOUR_S, 48 * HOUR_S]
    first, soon, later = (np.log(build_twin("google-willow", age_s=age).calibration.t1_s) for age in ages)
    assert np.median(np.abs(soon - first)) < 0.3 * np.median(np.abs(later - first))


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("dwave-advantage2", "has no twin: it is an annealer"),
        ("xiaohong", "has no twin: its lattice and its errors are not published"),
        ("ibm-condor", "has no twin"),
        ("atom-computing", "has no twin: atoms are moved"),
        ("nothing", "must be one of"),
    ],
)
def test_a_machine_without_a_twin_says_why(name: str, why: str) -> None:
    with pytest.raises(InputError, match=why):
        build_twin(name)


def test_an_age_or_seed_out_of_range_is_refused() -> None:
    with pytest.raises(InputError, match="age_s"):
        build_twin("zuchongzhi-2.0", age_s=-1.0)
    with pytest.raises(InputError, match="age_s"):
        build_twin("zuchongzhi-2.0", age_s=1e9)
    with pytest.raises(InputError, match="seed"):
        build_twin("zuchongzhi-2.0", seed=-1)


def test_fitted_is_one_parameter_a_machine() -> None:
    for name in TWINS:
        fitted = [field for field, fact in find_sheet(name).facts.items() if fact.label == "fitted"]
        assert len(fitted) == (1 if "xeb" in find_sheet(name).facts else 0), name
