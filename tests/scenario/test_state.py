import json
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tiandi.errors import StateError
from tiandi.scenario.state import MARKER, state_folder


def test_without_a_folder_nothing_stays() -> None:
    with state_folder(None, "ring") as folder:
        (folder / "secret").write_text("x")
    assert not folder.exists()


def test_a_finished_folder_takes_its_place_whole(tmp_path: Path) -> None:
    wanted = tmp_path / "deep" / "state"
    with state_folder(wanted, "ring") as folder:
        (folder / "secret").write_text("x")
        assert not wanted.exists()
    assert (wanted / "secret").read_text() == "x"
    assert json.loads((wanted / MARKER).read_text()) == {"version": 1, "scenario": "ring"}
    assert stat.S_IMODE(wanted.stat().st_mode) == 0o700
    assert [path.name for path in wanted.parent.iterdir()] == ["state"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError, SystemExit])
def test_whatever_stops_the_work_leaves_nothing(tmp_path: Path, error: type[BaseException]) -> None:
    def work() -> None:
        with state_folder(tmp_path / "state", "ring") as folder:
            (folder / "half").write_text("x")
            raise error

    with pytest.raises(error):
        work()
    assert list(tmp_path.iterdir()) == []


KILLED = """
import os, signal, sys
from pathlib import Path
from tiandi.scenario.state import state_folder
with state_folder(Path(sys.argv[1]), "ring") as folder:
    (folder / "master.key").write_text("secret")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_run_left_is_removed_by_the_next(tmp_path: Path) -> None:
    wanted = tmp_path / "state"
    assert subprocess.run([sys.executable, "-c", KILLED, str(wanted)], check=False).returncode == -signal.SIGKILL
    assert not wanted.exists()
    assert len(list(tmp_path.rglob("master.key"))) == 1
    with state_folder(wanted, "ring"), state_folder(tmp_path / "other", "ring"):
        assert len(list(tmp_path.glob(".state-partial-*"))) == 1
    assert list(tmp_path.rglob("master.key")) == []


def test_an_empty_folder_may_be_taken(tmp_path: Path) -> None:
    wanted = tmp_path / "state"
    wanted.mkdir()
    with state_folder(wanted, "ring"):
        pass
    assert (wanted / MARKER).exists()


@pytest.mark.parametrize(
    ("marker", "message"),
    [
        ('{"version": 1}', "holds a finished run already"),
        ('{"version": 99}', "holds state of version 99, this tiandi writes version 1"),
        ("{}", "holds state of version unreadable"),
        ("[]", "holds state of version unreadable"),
        (None, "is not empty and not tiandi's"),
    ],
)
def test_a_taken_folder_is_refused_and_left_alone(tmp_path: Path, marker: str | None, message: str) -> None:
    wanted = tmp_path / "state"
    wanted.mkdir()
    (wanted / "something").write_text("mine")
    if marker is not None:
        (wanted / MARKER).write_text(marker)
    with pytest.raises(StateError, match=message), state_folder(wanted, "ring"):
        pytest.fail("must not begin")
    assert (wanted / "something").read_text() == "mine"


def test_odd_names_are_refused_or_followed(tmp_path: Path) -> None:
    with pytest.raises(StateError, match="cannot be made there"), state_folder(tmp_path / "nul\0", "ring"):
        pytest.fail("must not begin")
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with state_folder(tmp_path / "link", "ring"):
        pass
    assert (tmp_path / "real" / MARKER).exists()


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    wanted = tmp_path / "state"
    wanted.write_text("mine")
    for path in (wanted, wanted / "below"):
        with pytest.raises(StateError, match="state = "), state_folder(path, "ring"):
            pytest.fail("must not begin")
    assert wanted.read_text() == "mine"
