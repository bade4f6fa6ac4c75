"""`tiandi machines` as its user meets it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.command_line import tiandi
from tiandi.cli import EXIT_BAD_INPUT


def test_the_list_says_how_many_qubits_a_name_hides() -> None:
    done = tiandi("machines", "list")
    assert done.returncode == 0, done.stderr
    assert "66 qubits and 110 couplers (named 176, their sum)" in done.stdout
    assert "105 qubits and 182 couplers (named 287, their sum)" in done.stdout
    machines = json.loads(tiandi("machines", "list", "--json").stdout)["machines"]
    assert len(machines) == 18
    assert {machine["id"] for machine in machines if machine["no_twin"]} == {"xiaohong", "ibm-condor", "atom-computing", "dwave-advantage2"}


def test_a_sheet_gives_label_and_source_of_every_figure() -> None:
    done = tiandi("machines", "show", "zuchongzhi-2.1")
    assert done.returncode == 0, done.stderr
    for part in (
        "66 qubits and 110 couplers",
        "0.000366 +- 3.45e-05",
        "published",
        "doi:10.1016/j.scib.2021.10.017",
        "fitted",
        "Pauli errors",
    ):
        assert part in done.stdout
    sheet = json.loads(tiandi("machines", "show", "dwave-advantage2", "--json").stdout)
    assert "Not comparable by gates" in sheet["note"]
    assert all({"value", "label", "source"} <= set(fact) for fact in sheet["facts"].values())


def test_the_comparison_is_a_table_a_picture_and_json(tmp_path: Path) -> None:
    picture = tmp_path / "order.png"
    done = tiandi("machines", "compare", "--figure", str(picture))
    assert done.returncode == 0, done.stderr
    assert done.stderr == f"written: {picture}\n"
    assert picture.stat().st_size > 50_000
    for part in (
        "quantum volume",
        "no size? (12)",
        "Not comparable by gates",
        "by its measured Lambda of 2.14",
        "66 qubits and 110 couplers",
    ):
        assert part in done.stdout
    compared = json.loads(tiandi("machines", "compare", "--json").stdout)
    wukong = next(machine for machine in compared["machines"] if machine["id"] == "origin-wukong")
    assert wukong["figures"]["factoring_qubits"]["value"] == "above threshold"
    assert [item["qubits"] for item in compared["rsa_2048_estimates"]] == [1e9, 2e7, 1e6]


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("show", "osprey"), "machine = 'osprey': must be one of"),
        (("compare", "--figure", "order.gif"), "must end in .png"),
        (("compare", "--seed", "-1"), "seed = -1"),
    ],
)
def test_bad_input_is_one_line(arguments: tuple[str, ...], why: str) -> None:
    done = tiandi("machines", *arguments)
    assert done.returncode == EXIT_BAD_INPUT
    assert why in done.stderr
    assert "Traceback" not in done.stderr
