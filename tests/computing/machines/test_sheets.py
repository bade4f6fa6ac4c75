"""Data sheets: what stands in them, and that nothing stands there without label and source."""

from __future__ import annotations

import pytest

from tiandi.computing.machines.sheets import LABELS, find_sheet, load_sheets, pauli_per_average, read_sheets
from tiandi.errors import InputError

WANTED = [
    *("zuchongzhi-2.0", "zuchongzhi-2.1", "tianyan-176", "tianyan-287", "zuchongzhi-3.0", "zuchongzhi-3.2", "xiaohong", "origin-wukong"),
    *("ibm-eagle", "ibm-heron-r1", "ibm-heron-r2", "ibm-heron-r3", "ibm-nighthawk", "ibm-condor"),
    *("google-sycamore", "google-willow", "atom-computing", "dwave-advantage2"),
]


def test_every_machine_is_there() -> None:
    assert sorted(load_sheets()) == sorted(WANTED)


@pytest.mark.parametrize("name", WANTED)
def test_every_figure_has_a_label_and_a_source(name: str) -> None:
    sheet = find_sheet(name)
    assert sheet.facts["qubits"].number > 0
    assert (sheet.layout is None) == bool(sheet.no_twin)
    for fact in sheet.facts.values():
        assert fact.label in LABELS
        assert len(fact.source) > 3


@pytest.mark.parametrize(("name", "qubits", "couplers"), [("tianyan-176", 66, 110), ("tianyan-287", 105, 182)])
def test_a_name_that_counts_couplers_is_shown_with_its_qubits(name: str, qubits: int, couplers: int) -> None:
    sheet = find_sheet(name)
    assert sheet.size == f"{qubits} qubits and {couplers} couplers (named {qubits + couplers}, their sum)"
    assert f"{qubits} qubits and {couplers} couplers" in sheet.note


def test_an_annealer_says_that_it_cannot_be_compared_by_gates() -> None:
    sheet = find_sheet("dwave-advantage2")
    assert "Not comparable by gates" in sheet.note
    assert sheet.pauli_errors is None


def test_what_is_taken_from_another_machine_is_assumed() -> None:
    taken, own = find_sheet("tianyan-287").facts["two_qubit_error"], find_sheet("zuchongzhi-3.0").facts["two_qubit_error"]
    assert (taken.value, taken.label) == (own.value, "assumed")
    assert own.label == "published"


def test_average_infidelities_become_pauli_errors() -> None:
    # A depolarised qubit keeps its state with F_avg = (2 F_e + 1)/3: 1 - F_e = 3/2 (1 - F_avg).
    assert pauli_per_average(1) == 1.5
    assert pauli_per_average(2) == 1.25
    assert find_sheet("ibm-heron-r2").pauli_errors == pytest.approx((1.5 * 0.00023, 1.25 * 0.00323))
    assert find_sheet("google-willow").pauli_errors == pytest.approx((0.0004, 0.0034))


def test_an_unknown_machine_is_refused_by_those_that_exist() -> None:
    with pytest.raises(InputError, match=r"machine = 'osprey': must be one of zuchongzhi-2\.0"):
        find_sheet("osprey")


SHEET = """[m]
name = "M"
maker = "m"
kind = "k"
year = 2020
{extra}
[m.facts]
qubits = {{ value = {value}, label = "{label}", source = "{source}" }}
"""


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"label": "guessed"}, "m: label of qubits = 'guessed'"),
        ({"source": ""}, "m: source of qubits"),
        ({"value": "inf"}, "m: qubits = inf: must be finite"),
        ({"extra": 'error_kind = "total"'}, "m: error_kind = 'total'"),
        ({"extra": 'like = "other"'}, "m: like = 'other'"),
    ],
)
def test_a_sheet_that_cannot_stand_names_machine_and_field(changed: dict[str, str], why: str) -> None:
    with pytest.raises(InputError, match=why):
        read_sheets(SHEET.format(**{"value": "3", "label": "published", "source": "here", "extra": "", **changed}))
