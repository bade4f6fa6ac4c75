"""`tiandi plan` as its user meets it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pyarrow import parquet

from tests.command_line import tiandi
from tiandi.cli import EXIT_BAD_INPUT

WEEK = ("--from", "2026-01-01", "--to", "2026-01-10")


def test_a_study_is_tables_a_person_can_read_and_a_page(tmp_path: Path) -> None:
    page = tmp_path / "study.html"
    done = tiandi("plan", "china-europe", *WEEK, "--workers", "1", "--no-values", "--report", str(page))
    assert done.returncode == 0, done.stderr
    for part in ("Key per day", "Beijing - Vienna", "contacts planned", "full  ", "How far to trust this", "published experiment"):
        assert part in done.stdout
    assert page.read_text().startswith("<!doctype html>")
    assert done.stderr == f"written: {page}\n"


def test_a_study_is_one_json_object() -> None:
    done = tiandi("plan", "beijing-shanghai", *WEEK, "--seeds", "2", "--workers", "1", "--json")
    assert done.returncode == 0, done.stderr
    study = json.loads(done.stdout)
    assert study["seeds"] == [1, 2]
    assert len(study["inputs_hash"]) == 64
    assert all(0.0 <= pair["availability"] <= 1.0 for pair in study["pairs"])


def test_a_sweep_writes_rows_and_finds_them_again(tmp_path: Path) -> None:
    store = tmp_path / "runs.parquet"
    order = ("plan", "sweep", "beijing-shanghai", *WEEK, "--vary", "links.*.rate_bps=1e3,2e3", "--store", str(store), "--workers", "1")
    assert tiandi(*order).stdout.startswith("2 runs computed, 0 found")
    assert tiandi(*order).stdout.startswith("0 runs computed, 2 found")
    assert parquet.read_table(store)["links.*.rate_bps"].to_pylist() == [1000.0, 2000.0]


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("plan", "nowhere"), "scenario = 'nowhere'"),
        (("plan", "beijing-shanghai", "--from", "2026-02-01", "--to", "2026-01-01"), "must be later than"),
        (("plan", "beijing-shanghai", *WEEK, "--seeds", "0"), "seeds = 0"),
        (("plan", "beijing-shanghai", *WEEK, "--report", "/nowhere/page.html"), "its folder must exist"),
        (("plan", "beijing-shanghai", *WEEK, "--scheduler", "tcp://127.0.0.1:9"), "no Dask scheduler answers there"),
        (("plan", "sweep", "beijing-shanghai", *WEEK, "--store", "runs"), "at least one parameter"),
        (("plan", "sweep", "beijing-shanghai", *WEEK, "--store", "runs", "--vary", "links"), "write NAME=VALUE"),
        (("plan", "sweep", "beijing-shanghai", *WEEK, "--store", "runs", "--vary", "links.*.rate_bps=nan"), "must be a finite number"),
        (("plan", "sweep", "beijing-shanghai", *WEEK, "--store", "runs", "--vary", "links.*.hue=1"), "there is no field hue"),
    ],
    ids=["scenario", "window", "seeds", "report", "scheduler", "nothing to vary", "no values", "nan", "unknown field"],
)
def test_bad_input_is_one_line(arguments: tuple[str, ...], why: str, tmp_path: Path) -> None:
    done = tiandi(*(str(tmp_path / item) if item == "runs" else item for item in arguments))
    assert done.returncode == EXIT_BAD_INPUT
    assert why in done.stderr
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
