"""What the command line says, word for word: each transcript is a command after $, its output, and its exit status."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import pytest

TRANSCRIPTS = sorted(Path(__file__).parent.glob("*.txt"))


@pytest.mark.parametrize("path", TRANSCRIPTS, ids=lambda path: path.stem)
def test_transcript(path: Path) -> None:
    command, _, expected = path.read_text().partition("\n")
    arguments = shlex.split(command.removeprefix("$ tiandi "))
    done = subprocess.run(
        [sys.executable, "-m", "tiandi", *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={"COLUMNS": "100", "NO_COLOR": "1", "LANG": "C.UTF-8", "PATH": ""},
    )
    assert f"{done.stdout}{done.stderr}exit status {done.returncode}\n" == expected
