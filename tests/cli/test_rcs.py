"""`tiandi rcs` as its user meets it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from tiandi.cli.rcs import app
from tiandi.errors import InputError

pytest.importorskip("cotengra")

SMALL = ["zuchongzhi-2.1", "--qubits", "8", "--cycles", "8", "--shots", "100"]


def test_a_person_reads_cost_result_and_expectation(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    figure = tmp_path / "histogram.png"
    app([*SMALL, "--figure", str(figure)], result_action="return_value")
    told = capsys.readouterr()
    assert told.err.startswith("engine: tensor network, ")
    assert told.err.endswith(f"written: {figure}\n")
    for part in (
        "Zuchongzhi 2.1: 8 qubits, 8 cycles of ABCDCDAB, full circuit, 100 samples",
        "XEB, linear",
        "product formula",
        "reported, 60 x 24 cycles",
    ):
        assert part in told.out
    with Image.open(figure) as picture:
        assert picture.size == (1050, 675)


@pytest.mark.parametrize("circuit", ["full", "patch", "elided"])
def test_a_program_reads_json(capsys: pytest.CaptureFixture[str], circuit: str) -> None:
    app([*SMALL, "--circuit", circuit, "--json"], result_action="return_value")
    found = json.loads(capsys.readouterr().out)
    assert (found["circuit"], found["sequence"]) == (circuit, "ABCDCDAB")
    assert len(found["qubits"]) == 8
    assert found["xeb_linear"]["shots"] == 100
    assert found["product_formula"] < found["expected"]
    assert found["published"]["xeb"]["label"] == "published"


def test_another_sequence_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    app([*SMALL, "--sequence", "ADCBCBAD"], result_action="return_value")
    assert "8 cycles of ADCBCBAD, full circuit" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        (["abacus", *SMALL[1:]], "machine"),
        (["zuchongzhi-2.1", "--qubits", "99", "--cycles", "8"], "qubits"),
        ([*SMALL, "--figure", "/nowhere/figure.png"], "figure"),
        ([*SMALL, "--figure", "figure.doc"], "figure"),
        ([*SMALL, "--sequence", "ABCDE"], "sequence"),
    ],
)
def test_bad_input_is_named(arguments: list[str], field: str) -> None:
    with pytest.raises(InputError) as caught:
        app(arguments, result_action="return_value")
    assert caught.value.field == field
