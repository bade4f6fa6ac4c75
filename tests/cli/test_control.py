"""`tiandi control` as its user meets it, on a twin of six qubits."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from PIL import Image

from tests.command_line import tiandi
from tiandi.computing.cloud.machines import open_catalogue
from tiandi.computing.control.sheet import read_sheet
from tiandi.errors import InputError

CHIP = ("--qubits", 6, "--seed", 4, "--no-faults")
QUICK = ("--upto", "resonator-spectroscopy")


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A chip that was brought up once, with the judge looking on."""
    folder = tmp_path_factory.mktemp("control") / "chip"
    done = tiandi("control", "bringup", *CHIP, "--state", folder, "--upto", "randomised-benchmarking,t1,echo", "--judge", "--json")
    assert done.returncode == 0, done.stderr
    (folder / "answer.json").write_text(done.stdout, encoding="utf-8")
    return folder


@pytest.fixture
def state(kept: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    shutil.copytree(kept, tmp_path / "chip")
    return tmp_path / "chip"


def test_a_bring_up_is_judged(kept: Path) -> None:
    answer = json.loads((kept / "answer.json").read_text(encoding="utf-8"))
    assert answer["measured"]["ramsey"] == 6
    shares = {one["name"]: one["share"] for one in answer["score"]["criteria"]}
    assert shares["frequency"] == 1.0
    assert shares["pi_amplitude"] == 1.0
    assert answer["score"]["flags"]["met"]
    assert {path.name for path in kept.iterdir()} >= {"calibration.toml", "twin.toml", "curves", "history"}


def test_a_person_reads_how_far_it_is(state: Path) -> None:
    done = tiandi("control", "show", "--state", state)
    assert "Ramsey fringes, long window" in done.stdout
    assert "6 qubits" in done.stdout
    assert "0 flags" in done.stdout


def test_a_second_bring_up_measures_nothing_anew(state: Path) -> None:
    done = tiandi("control", "bringup", "--state", state, *QUICK, "--json")
    assert json.loads(done.stdout)["measured"] == {}


def test_a_parameter_is_a_map_a_table_a_picture(state: Path, tmp_path: Path) -> None:
    figure = tmp_path / "t1.png"
    done = tiandi("control", "show", "t1_s", "--state", state, "--figure", figure)
    assert "6 of 6 known" in done.stdout
    assert " us" in done.stdout
    with Image.open(figure) as picture:
        assert picture.size[0] > 300
    assert " +- " in tiandi("control", "show", "t1_s", "--state", state, "--table").stdout
    assert len(json.loads(tiandi("control", "show", "t1_s", "--state", state, "--json").stdout)["value"]) == 6
    assert "good" in tiandi("control", "show", "state:ramsey", "--state", state, "--figure", tmp_path / "s.svg").stdout
    assert (tmp_path / "s.svg").stat().st_size > 1000


def test_one_element(state: Path) -> None:
    assert "pi_amplitude" in tiandi("control", "show", "--element", "qubit:3", "--state", state).stdout
    assert json.loads(tiandi("control", "show", "--element", "qubit:3", "--state", state, "--json").stdout)["index"] == 3


def test_one_experiment_is_measured_again(state: Path) -> None:
    done = tiandi("control", "calibrate", "t1", "--elements", "1,5", "--state", state)
    assert done.returncode == 0, done.stderr
    assert "t1: 2 measured, 2 good" in done.stdout


@pytest.mark.slow  # A watch also measures what was never measured: here, the pairs.
def test_the_watch_checks(state: Path) -> None:
    done = tiandi("control", "watch", "--period-s", 1, "--state", state, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["rounds"][0]["checked"]["ramsey"] == 6


def test_a_report_is_one_file(state: Path, tmp_path: Path) -> None:
    done = tiandi("control", "report", tmp_path / "chip.html", "--qubits", "2", "--state", state)
    assert "written" in done.stderr
    text = (tmp_path / "chip.html").read_text(encoding="utf-8")
    assert '"qubit:2"' in text
    assert "/static/" not in text


def test_a_sheet_is_a_machine_of_the_cloud(state: Path, tmp_path: Path) -> None:
    sheet = tmp_path / "here.toml"
    assert tiandi("control", "export", "sheet", sheet, "--name", "xiaohong-test", "--state", state).returncode == 0
    assert read_sheet(sheet).lattice.qubit_count == 6
    assert open_catalogue(str(sheet))["xiaohong-test"].facts()["qubits_that_work"] == 6
    assert tiandi("control", "export", "sheet", sheet, "--name", "zuchongzhi-2.1", "--state", state).returncode == 0
    with pytest.raises(InputError, match="the name of another machine"):
        open_catalogue(str(sheet))


def test_the_file_of_cqlib_goes_out_and_in(state: Path, tmp_path: Path) -> None:
    file = tmp_path / "cqlib.json"
    assert tiandi("control", "export", "cqlib", file, "--state", state).returncode == 0
    assert len(json.loads(file.read_text(encoding="utf-8"))["gatePulseParameter"]["single_parameter"]) == 6
    done = tiandi("control", "import", file, *CHIP, "--state", tmp_path / "new", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["taken"]["frequency_hz"] == 6
    assert "6 of 6 known" in tiandi("control", "show", "frequency_hz", "--state", tmp_path / "new").stdout


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("show", "--state", "nowhere"), "bring the chip up first"),
        (("calibrate", "t1", "--state", "nowhere"), "bring the chip up first"),
        (("bringup", "--qubits", "6", "--state", "new", "--upto", "nonsense"), "must be one of mixer"),
        (("bringup", "--qubits", "6", "--state", "new", "--experiments", "nowhere:none"), "module:function"),
        (("bringup", "--instrument", "127.0.0.1:1", "--judge", "--state", "new"), "cannot be reached"),
        (("bringup", "--instrument", "nonsense", "--state", "new"), "127.0.0.1:4711"),
        (("import", "nowhere.json", "--state", "new"), "cannot be read as JSON"),
    ],
)
def test_bad_input_is_one_line(words: tuple[str, ...], told: str, tmp_path: Path) -> None:
    done = tiandi("control", *words, folder=tmp_path)
    assert done.returncode in (1, 2)
    assert told in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("show", "nonsense"), "must be one of"),
        (("show", "--element", "qubit:99"), "must be from 0 to 5"),
        (("show", "--element", "q3"), "qubit:3 or coupler:17"),
        (("show", "t1_s", "--figure", "x.txt"), "must end in"),
        (("show", "--figure", "x.png"), "needs a parameter"),
        (("calibrate", "nonsense"), "must be one of mixer"),
        (("calibrate", "t1", "--elements", "a"), "whole numbers"),
        (("bringup", "--qubits", "9"), "is of a twin with qubits 6"),
        (("report", "nowhere/chip.html"), "folder that exists"),
    ],
)
def test_what_a_state_does_not_have(state: Path, words: tuple[str, ...], told: str) -> None:
    done = tiandi("control", *words, "--state", state)
    assert done.returncode == 2
    assert told in done.stderr
