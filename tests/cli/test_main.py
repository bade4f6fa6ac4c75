"""The command line as its user meets it: exit status, one clear line, nothing half done."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.command_line import tiandi
from tests.conftest import RING_SCENARIO
from tiandi.cli import EXIT_BAD_INPUT, EXIT_FAILED, EXIT_INTERRUPTED


def test_demo_prints_tables_a_person_wants_to_read() -> None:
    done = tiandi("demo", "--scenario", str(RING_SCENARIO), "--seed", "1", "--message", "hello 天地")
    assert done.returncode == 0, done.stderr
    for part in (
        "A ring of four towns",
        "QBER %",
        "text before  hello 天地",
        "text after   hello 天地",
        "identical",
        "carried by another way",
    ):
        assert part in done.stdout
    assert done.stderr == ""


def test_demo_prints_one_json_object(tmp_path: Path) -> None:
    state = tmp_path / "state"
    done = tiandi("demo", "--scenario", str(RING_SCENARIO), "--seed", "1", "--json", "--eavesdropper", "none", "--state", str(state))
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["eavesdropper"] is None
    assert report["text"]["received"] == "round the ring"
    assert len(report["links"]) == 4
    assert json.loads((state / "report.json").read_text()) == report


def test_a_taken_state_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "tiandi-state.json").write_text('{"version": 0}')
    done = tiandi("demo", "--scenario", str(RING_SCENARIO), "--state", str(tmp_path / "state"))
    assert done.returncode == EXIT_BAD_INPUT
    assert "holds state of version 0, this tiandi writes version 1" in done.stderr


def test_passes_as_json() -> None:
    done = tiandi("passes", "--station", "Xinglong", "--from", "2016-12-19", "--to", "2016-12-20", "--json")
    (found,) = json.loads(done.stdout)["passes"]
    assert found["culmination"] in ("2016-12-19T16:52:13Z", "2016-12-19T16:52:14Z")
    assert found["closest_km"] == pytest.approx(645, abs=1)
    assert found["culmination_deg"] == pytest.approx(47.8, abs=0.1)


def test_passes_as_a_table() -> None:
    done = tiandi("passes", "--scenario", "shanghai-vienna")
    assert done.returncode == 0
    assert "Xinglong" in done.stdout
    assert "47.8°" in done.stdout


def listens(process_id: int) -> bool:
    """Whether a process has come as far as to have handlers of its own; before that its end is the interpreter's. Told by Linux alone."""
    if sys.platform != "linux":
        return True
    caught = re.search(r"^SigCgt:\s*([0-9a-f]+)", Path(f"/proc/{process_id}/status").read_text(), re.MULTILINE)
    return caught is not None and bool(int(caught[1], 16) >> (signal.SIGTERM - 1) & 1)


@pytest.mark.parametrize(
    ("signal_number", "after_s"),
    [
        pytest.param(number, after_s, marks=[pytest.mark.slow] if (i + j) % 3 else [])  # Each signal, and each time, once.
        for i, number in enumerate((signal.SIGINT, signal.SIGTERM, signal.SIGHUP))
        for j, after_s in enumerate((1.0, 2.5, 5.0))
    ],
)
def test_an_interrupt_leaves_nothing(tmp_path: Path, signal_number: signal.Signals, after_s: float) -> None:
    state = tmp_path / "state"
    process = subprocess.Popen(
        [sys.executable, "-m", "tiandi", "demo", "--state", str(state)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONFAULTHANDLER": ""},
    )
    while process.poll() is None and not listens(process.pid):
        time.sleep(0.01)
    time.sleep(after_s)
    process.send_signal(signal_number)
    stdout, stderr = process.communicate(timeout=60)
    # An interrupt inside code that a library runs from text makes Python end by SIGINT itself; a shell shows 130 for both.
    assert process.returncode in (EXIT_INTERRUPTED, -signal.SIGINT)
    assert stdout == ""
    assert stderr == "tiandi: interrupted\n"
    assert list(tmp_path.iterdir()) == []


def test_output_that_cannot_be_written_is_one_line() -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([sys.executable, "-m", "tiandi", "passes"], stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == EXIT_FAILED
    assert done.stderr == "tiandi: cannot write: No space left on device\n"


def test_the_folder_one_stands_in_is_not_replaced(tmp_path: Path) -> None:
    for name in ("", "."):
        done = tiandi("demo", "--scenario", "ring", "--state", name, folder=tmp_path)
        assert done.returncode == EXIT_BAD_INPUT
        assert "not the one you stand in" in done.stderr


def test_help_answers_at_once() -> None:
    assert "demo" in tiandi("--help").stdout
    loaded = "import sys, tiandi.cli.main; print([name for name in ('numpy', 'numba', 'scipy', 'litestar') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_experiments_as_json_and_as_a_report(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    done = tiandi("reproduce", "micius-2017", "gys-2004", "--json", "--report", str(path))
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)["experiments"]
    assert {row["experiment"] for row in rows} == {"micius-2017", "gys-2004"}
    assert {row["verdict"] for row in rows} == {"pass"}
    assert all(row["low"] <= row["ours"] <= row["high"] and row["why"] and row["label"] for row in rows)
    text = path.read_text()
    assert text.startswith("<!doctype html>")
    assert text.count("<svg") == 4
    assert [entry.name for entry in tmp_path.iterdir()] == ["report.html"]


@pytest.mark.parametrize("place", [".", "missing/report.html"])
def test_a_report_that_cannot_be_written_is_one_clear_line(tmp_path: Path, place: str) -> None:
    done = tiandi("reproduce", "gys-2004", "--report", str(tmp_path / place))
    assert done.returncode == EXIT_BAD_INPUT
    assert done.stderr.startswith("tiandi: report = ")
    assert done.stderr.count("\n") == 1
