"""`tiandi qec` as its user meets it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from tiandi.cli.qec import app
from tiandi.errors import InputError

pytest.importorskip("stim")
pytest.importorskip("pymatching")

SMALL = ["google-willow", "--distances", "3,5", "--shots", "600", "--rounds", "3"]


def test_a_person_reads_errors_lambda_and_budget(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    figure = tmp_path / "errors.png"
    app([*SMALL, "--figure", str(figure)], result_action="return_value")
    told = capsys.readouterr()
    assert told.err == f"written: {figure}\n"
    for part in ("Google Willow: surface code, correlated matching", "Lambda ", "(published: 2.14 +- 0.02)", "without leakage", "fitted"):
        assert part in told.out
    with Image.open(figure) as picture:
        assert picture.size == (1050, 720)


def test_a_program_reads_json(capsys: pytest.CaptureFixture[str]) -> None:
    app([*SMALL, "--no-budget", "--basis", "X", "--decoder", "plain", "--json"], result_action="return_value")
    found = json.loads(capsys.readouterr().out)
    assert [error["distance"] for error in found["errors"]] == [3, 5]
    assert found["decoder"] == "plain"
    assert found["budget"] == []
    assert found["facts"]["stray"]["label"] == "fitted"


def test_a_code_larger_than_the_machine_is_marked(capsys: pytest.CaptureFixture[str]) -> None:
    app(["zuchongzhi-2.1", "--distances", "7", "--shots", "50", "--rounds", "1", "--no-budget"], result_action="return_value")
    assert "97*" in capsys.readouterr().out


def test_a_state_beyond_recovery_is_called_lost(capsys: pytest.CaptureFixture[str]) -> None:
    app(["origin-wukong", "--distances", "3", "--shots", "300", "--no-budget"], result_action="return_value")
    assert "state lost" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (["dwave-advantage2"], "no twin"),
        (["ibm-eagle"], "square grid"),
        (["google-willow", "--distances", "three"], "distances"),
        (["google-willow", "--distances", "4"], "distance"),
        (["google-willow", "--figure", "errors.txt"], "figure"),
    ],
)
def test_bad_input_is_named(arguments: list[str], what: str) -> None:
    with pytest.raises(InputError, match=what):
        app(arguments, result_action="return_value")
