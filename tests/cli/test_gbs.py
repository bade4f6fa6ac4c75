"""`tiandi gbs` as its user meets it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.computing.photonics.public_data import jiuzhang_data
from tiandi.cli.gbs import app
from tiandi.computing.photonics.file_format import read_samples, write_samples
from tiandi.computing.photonics.gaussian import Detectors, Machine
from tiandi.computing.photonics.machine_file import write_machine
from tiandi.computing.photonics.machines import haar_columns
from tiandi.errors import InputError

SMALL = Machine("small", np.tile([-0.6, 0.6], 3), 0.8 * haar_columns(10, 6, np.random.default_rng(1)))


def run(*arguments: str) -> None:
    app(list(arguments), result_action="return_value")


@pytest.fixture
def small(tmp_path: Path) -> str:
    """The file of a machine of ten modes; those of Jiuzhang are judged in tests of the judge."""
    at = tmp_path / "small.npz"
    write_machine(at, SMALL)
    return str(at)


def test_machines_are_listed_and_shown_with_sources(capsys: pytest.CaptureFixture[str]) -> None:
    run("machines")
    listed = capsys.readouterr().out
    for part in ("jiuzhang-1.0", "jiuzhang-2.0-1.65w", "jiuzhang-4.0", "no: synthetic", "no licence"):
        assert part in listed
    run("machines", "jiuzhang-3.0")
    assert "second-hand:" in capsys.readouterr().out
    run("machines", "--json")
    sheets = {sheet["id"]: sheet for sheet in json.loads(capsys.readouterr().out)["machines"]}
    assert sheets["jiuzhang-2.0-0.15w"]["public_data"]
    assert not sheets["jiuzhang-3.0"]["public_data"]
    assert sheets["jiuzhang-3.0"]["facts"]["modes"]["label"] == "published"


def test_samples_go_to_a_file_that_the_judge_reads(small: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    drawn, report, figure = tmp_path / "mine.npz", tmp_path / "report.html", tmp_path / "totals.png"
    run("sample", small, str(drawn), "--sampler", "squashed", "--samples", "3000", "--json")
    told = json.loads(capsys.readouterr().out)
    assert told["samples"] == 3000
    assert "squashed" in told["approximates"].lower()
    file = read_samples(drawn)
    assert file.metadata.machine == "small"
    assert file.samples.sum(axis=1).mean() == pytest.approx(told["mean_total"])
    run(
        "validate",
        small,
        str(drawn),
        "--samplers",
        "thermal",
        "--samples",
        "3000",
        "--report",
        str(report),
        "--figure",
        str(figure),
    )
    answer = capsys.readouterr()
    assert answer.err == f"written: {figure}\nwritten: {report}\n"
    assert "mine" in answer.out
    assert "thermal:" in answer.out
    assert figure.stat().st_size > 10_000
    assert "<svg" in report.read_text()


def test_the_same_seed_gives_the_same_verdict(small: str, capsys: pytest.CaptureFixture[str]) -> None:
    found = []
    for seed in ("1", "1", "2"):
        run("validate", small, "--samplers", "squashed", "--samples", "2000", "--seed", seed, "--json")
        found.append(json.loads(capsys.readouterr().out)["scores"][0]["figures"]["total_mean"]["value"])
    assert found[0] == found[1] != found[2]


def test_exact_tells_its_cost_first_and_refuses_what_takes_too_long(small: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run("exact", small, str(tmp_path / "exact.csv"), "--samples", "200")
    answer = capsys.readouterr()
    assert "s for 200 on one thread" in answer.err
    assert "200 exact samples" in answer.out
    with pytest.raises(InputError, match="would take"):
        run("exact", small, str(tmp_path / "more.npz"), "--samples", "1000000", "--most-seconds", "0.01")
    assert not (tmp_path / "more.npz").exists()


def test_numbers_out_of_range_are_refused(tmp_path: Path) -> None:
    out = str(tmp_path / "a.npz")
    for arguments, field in (
        (("exact", "jiuzhang-1.0", out, "--samples", "0"), "samples = 0"),
        (("exact", "jiuzhang-1.0", out, "--most-seconds", "nan"), "most_seconds = nan"),
        (("exact", "jiuzhang-4.0", out), "modes = 8176"),
        (("sample", "jiuzhang-1.0", out, "--samples", "0"), "samples = 0"),
        (("sample", "jiuzhang-1.0", out, "--samples", "100000000000"), "samples = 100000000000"),
        (("validate", "jiuzhang-1.0", "--samples", "999"), "samples = 999"),
    ):
        with pytest.raises(InputError, match=field):
            run(*arguments)


def test_a_sheet_says_that_its_purity_is_not_in_the_machine(capsys: pytest.CaptureFixture[str]) -> None:
    run("machines", "jiuzhang-2.0-1.65w")
    assert capsys.readouterr().out.count("not in the machine that is built") == 2


def test_the_experiment_is_judged_where_its_data_is_here(capsys: pytest.CaptureFixture[str]) -> None:
    run("validate", "jiuzhang-2.0-0.3w", "--samplers", "none", "--data", str(jiuzhang_data()))
    answer = capsys.readouterr().out
    assert "experiment" in answer
    assert "11.97" in answer


def test_files_of_others_are_checked_before_they_are_judged(small: str, tmp_path: Path) -> None:
    generator = np.random.default_rng(2)
    write_samples(tmp_path / "wide.npz", generator.integers(0, 2, (2000, 11), np.uint8))
    write_samples(tmp_path / "counts.npz", generator.integers(0, 4, (2000, 10), np.uint8), detector="number")
    (tmp_path / "broken.npz").write_bytes(b"PK\x03\x04 not a zip")
    (tmp_path / "words.csv").write_text("0,1,two\n")
    (tmp_path / "few.csv").write_text("0000000001\n")
    for name, what in (
        ("wide.npz", "modes"),
        ("counts.npz", "detector"),
        ("broken.npz", "npz"),
        ("words.csv", "sample 0"),
        ("few.csv", "samples"),
    ):
        with pytest.raises(InputError, match=what):
            run("validate", small, str(tmp_path / name), "--samplers", "none")


def test_bins_of_a_file_are_those_of_the_machine(tmp_path: Path) -> None:
    write_machine(tmp_path / "four.npz", replace(SMALL, detectors=Detectors("pseudo-number", 4)))
    write_samples(tmp_path / "eight.npz", np.zeros((2000, 10), np.uint8), detector="pseudo-number", bins=8)
    with pytest.raises(InputError, match="bins"):
        run("validate", str(tmp_path / "four.npz"), str(tmp_path / "eight.npz"), "--samplers", "none")


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (["machines", "jiuzhang-9"], "machine"),
        (["sample", "jiuzhang-1.0", "samples.json"], "out"),
        (["sample", "jiuzhang-1.0", "missing/samples.npz"], "out"),
        (["sample", "jiuzhang-1.0", "samples.npz", "--sampler", "oracle"], "sampler"),
        (["exact", "jiuzhang-9", "samples.npz"], "machine"),
        (["validate", "jiuzhang-1.0", "--samplers", "thermal,oracle"], "sampler"),
        (["validate", "jiuzhang-1.0", "--samplers", "thermal,thermal"], "samplers"),
        (["validate", "jiuzhang-1.0", "--figure", "verdict.gif"], "figure"),
        (["validate", "jiuzhang-1.0", "--report", "missing/report.html"], "report"),
        (["validate", "jiuzhang-1.0", "nothing.npz", "nothing.csv"], "file"),
        (["sample", "nothing.npz", "samples.npz"], "machine"),
    ],
)
def test_bad_input_is_named(arguments: list[str], what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError) as caught:
        run(*arguments)
    assert caught.value.field == what
