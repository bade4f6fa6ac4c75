"""`tiandi up`, `status` and `down`, as a newcomer runs them."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import tiandi

SOURCE = str(Path(tiandi.__file__ or "").parents[1])
PATIENCE_S = 60.0


def _environment(home: Path) -> dict[str, str]:
    return os.environ | {"PYTHONPATH": SOURCE, "XDG_STATE_HOME": str(home)}


def _run(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tiandi", *arguments]
    return subprocess.run(command, env=_environment(home), capture_output=True, text=True, timeout=PATIENCE_S, check=False)


@contextmanager
def _up(home: Path, *arguments: str) -> Iterator[tuple[subprocess.Popen[str], list[str]]]:
    command = [sys.executable, "-m", "tiandi", "up", "ring", "--lite", *arguments]
    with subprocess.Popen(command, env=_environment(home), stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            lines = []
            for line in process.stdout:
                lines.append(line.rstrip())
                if "tiandi down" in line:
                    break
            yield process, lines
        finally:
            if process.poll() is None:
                process.kill()


def test_up_says_where_the_doors_are_status_finds_it_and_down_stops_it(tmp_path: Path) -> None:
    with _up(tmp_path, "--speed", "30") as (process, lines):
        doors = [line for line in lines if re.fullmatch(r"  \w+: https://127\.0\.0\.1:\d+", line)]
        assert [line.split(":")[0].strip() for line in doors] == ["North", "East", "South", "West"]
        assert lines[0] == "A ring of four towns: 4 KMEs, 4 fibre links, speed 30"
        found = json.loads(_run(tmp_path, "status", "--json").stdout)["running"]
        assert list(found) == [str(tmp_path / "tiandi" / "ring")]
        assert found[str(tmp_path / "tiandi" / "ring")]["process"] == process.pid
        again = _run(tmp_path, "up", "ring", "--lite")
        assert again.returncode != 0
        assert "in use by a running network" in again.stderr
        down = _run(tmp_path, "down")
        assert down.stdout.startswith("ring: stopped")
        assert process.wait(PATIENCE_S) == 0
    assert _run(tmp_path, "status").stdout == "no network is running\n"
    assert "no network is running" in _run(tmp_path, "down").stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_a_signal_stops_it_cleanly_and_it_goes_on_where_it_was(tmp_path: Path, number: signal.Signals) -> None:
    state = tmp_path / "state"
    with _up(tmp_path, "--speed", "60", "--state", str(state)) as (process, _):
        process.send_signal(number)
        assert process.wait(PATIENCE_S) == 0
    before = json.loads((state / "living.json").read_bytes())
    with _up(tmp_path, "--state", str(state)) as (process, lines):
        assert lines[0].endswith("speed 60")
        process.send_signal(number)
        assert process.wait(PATIENCE_S) == 0
    assert json.loads((state / "living.json").read_bytes())["time"] > before["time"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("up", "nowhere"), "must be one of"),
        (("up", "ring", "--speed", "0"), "speed = 0"),
        (("up", "ring", "--speed", "nan"), "speed = nan"),
        (("up", "ring", "--port-base", "80"), "port-base = 80"),
    ],
)
def test_bad_input_is_one_line(tmp_path: Path, arguments: tuple[str, ...], words: str) -> None:
    done = _run(tmp_path, *arguments)
    assert done.returncode == 2
    assert words in done.stderr.splitlines()[-1]


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "letters.txt").write_text("mine", encoding="utf-8")
    done = _run(tmp_path, "up", "ring", "--lite", "--state", str(tmp_path))
    assert done.returncode != 0
    assert "not a living network's" in done.stderr
