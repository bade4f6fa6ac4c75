"""The state file: everything comes back, the same text for the same state, whole at any instant."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
import tomllib
from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.computing.control.bench import cold, electronics
from tiandi.computing.control.graph import Condition, Progress
from tiandi.computing.control.knowledge import Knowledge
from tiandi.computing.control.state_text import read_state, state_lines
from tiandi.computing.control.store import KEPT, Store
from tiandi.computing.instruments.instrument import Electronics
from tiandi.errors import StateError

WRITER = """
import sys
import numpy as np
from pathlib import Path
from tests.computing.control.bench import cold, electronics
from tiandi.computing.control.graph import Condition
from tiandi.computing.control.store import Store
chip, store, number = cold(electronics(12, 12)), Store(Path(sys.argv[1])), 0
every = np.arange(144)
while True:
    number += 1
    chip.learn("qubit", "number", every, np.full(144, float(number)), np.nan, measured_s=number)
    store.save(chip, Condition(), float(number), keep=number % 5 == 0)
    print(number, flush=True)
"""


def full() -> tuple[Knowledge, Condition]:
    random, chip = np.random.default_rng(4), cold(electronics())
    chip.learn("qubit", "frequency_hz", np.arange(10), random.normal(5e9, 1e8, 10), random.uniform(100, 3e3, 10), measured_s=12.3456)
    chip.learn("qubit", "t1_s", np.arange(12), random.uniform(1e-5, 5e-5, 12), 1e-6, measured_s=20.0)
    chip.learn("coupler", "coupling_hz", np.array([1, 16]), np.array([1e7, 2e7]), np.nan, measured_s=30.0)
    chip.settings.flux_bias_v[:] = random.normal(size=12)
    chip.settings.coupler_bias_v[3] = 0.1
    chip.settings.drive_offset[2] = 1e-3 - 2e-3j
    chip.settings.discriminator[:, :2] = random.normal(size=(12, 2)) + 1j
    chip.settings.predistortion_amplitude[5] = [0.1, -0.2, 0.0]
    chip.settings.flux_compensation[3, 14] = 0.0123
    chip.settings.readout_duration_ns = 800.0
    chip.flag("qubit", 7, "drive cables swapped", 'the line of "8" moves it\n')
    chip.flag("coupler", 2, "broken", "does nothing")
    chip.drive_line[[7, 8]] = [8, 7]
    state = np.array([0, 1, 2, 3] * 3, np.int8)
    return chip, Condition({"rabi": Progress("qubit", state, np.where(state > 0, 5.5, np.nan), {3: "no signal: \u00e9 \x7f"})})


def assert_same(one: Knowledge, other: Knowledge) -> None:
    assert one.flags == other.flags or sorted(map(repr, one.flags)) == sorted(map(repr, other.flags))
    assert set(one.parameters) == set(other.parameters)
    for name, known in one.parameters.items():
        error = np.nan_to_num(known.uncertainty)
        assert np.allclose(known.value, other[name], rtol=0, atol=0.051 * error.max(), equal_nan=True), name
        assert np.allclose(known.measured_s, other.parameters[name].measured_s, atol=1e-3, equal_nan=True)
    for name, held in vars(one.settings).items():
        if isinstance(held, np.ndarray):
            assert np.array_equal(held, getattr(other.settings, name), equal_nan=True), name
        else:
            assert held == getattr(other.settings, name), name
    assert np.array_equal(one.drive_line, other.drive_line)
    for name, value in vars(one.electronics).items():
        assert np.array_equal(value, getattr(other.electronics, name)), name


def test_everything_comes_back(tmp_path: Path) -> None:
    chip, condition = full()
    store = Store(tmp_path / "state")
    store.save(chip, condition, 33.0)
    loaded = store.load()
    assert_same(chip, loaded.knowledge)
    assert loaded.now_s == 33.0
    assert loaded.condition.progress["rabi"].state.tolist() == condition.progress["rabi"].state.tolist()
    assert loaded.condition.progress["rabi"].reason == condition.progress["rabi"].reason


def test_the_same_state_is_the_same_text(tmp_path: Path) -> None:
    chip, condition = full()
    store = Store(tmp_path)
    store.save(chip, condition, 33.0)
    text = store.file.read_text()
    loaded = store.load()
    store.save(loaded.knowledge, loaded.condition, loaded.now_s)
    assert store.file.read_text() == text


def test_lines_are_one_for_each_element_and_rounded_by_uncertainty(tmp_path: Path) -> None:
    chip = cold(electronics())
    chip.learn("qubit", "frequency_hz", np.array([2]), np.array([4.987654321987e9]), 1234.0, measured_s=7.0)
    Store(tmp_path).save(chip, Condition(), 8.0)
    text = (tmp_path / "calibration.toml").read_text()
    assert "\n[qubit.frequency_hz]\nq02 = [4987654300.0, 1200.0, 7.0]\n" in text


@given(st.floats(-1e12, 1e12), st.floats(1e-12, 1e12))
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_rounding_keeps_a_value_within_a_twentieth_of_its_uncertainty(tmp_path: Path, value: float, error: float) -> None:
    chip, store = cold(electronics(1, 2)), Store(tmp_path)
    chip.learn("qubit", "x", np.array([0]), np.array([value]), error, measured_s=0.0)
    store.save(chip, Condition(), 0.0)
    found = store.load().knowledge.parameters["x"]
    assert abs(found.value[0] - value) <= 0.0501 * error + 1e-15 * abs(value)
    assert found.uncertainty[0] == pytest.approx(error, rel=0.051)


def test_killed_at_any_instant_the_file_is_whole(tmp_path: Path) -> None:
    random = np.random.default_rng(9)
    for _ in range(4):
        with subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout is not None
            told = [int(writer.stdout.readline()) for _ in range(3)]
            time.sleep(random.uniform(0.0, 0.05))
            writer.send_signal(signal.SIGKILL)
            told += [int(line) for line in writer.stdout.read().split()]
        loaded = Store(tmp_path).load()
        values = loaded.knowledge["number"]
        assert (values == values[0]).all()
        assert values[0] >= told[-1]
        assert loaded.now_s == values[0]
        for earlier in Store(tmp_path).history():
            Store(tmp_path).load(earlier)
    Store(tmp_path).save(cold(electronics()), Condition(), 1.0)
    assert not list(tmp_path.glob(".calibration*.new"))


def test_history_is_kept_and_bounded(tmp_path: Path) -> None:
    store, chip = Store(tmp_path), cold(electronics(1, 2))
    for number in range(KEPT + 3):
        store.save(chip, Condition(), float(number), keep=True)
    history = store.history()
    assert len(history) == KEPT
    assert store.load(history[0]).now_s == 3.0


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("format = 1", "format = 9", "format"),
        ('q03 = ["failed"', 'q03 = ["fine"', "must be one of never, good, stale, failed"),
        ("\nq07 = 8", "\nq77 = 8", "must be a qubit"),
        ("\nq07 = 8", "\nq07 = 99", "must be a whole number from 0 to 11"),
        ("[settings.flux_bias_v]", "[settings.flux_bias]", "must be one of"),
        ("[electronics]", "[electronic]", r"\[electronics\] = 'missing': must be a section"),
        ('element = "qubit"', 'element = "cat"', "must be one of qubit, coupler"),
        ("[qubit.frequency_hz]\nq00 = [", "[qubit.frequency_hz]\nq00 = [1.0, ", "calibration"),
        ("q00 = [", "q00 = [[", "cannot be read"),
        ("[settings.flux_bias_v]\nq00 = ", "[settings.flux_bias_v]\nq00 = nan # ", "must be finite"),
        (
            "[settings.drive_offset]\nq02 = ",
            "[settings.drive_offset]\nq02 = 1.0 # ",
            r"\[settings.drive_offset\].*is not what stands there",
        ),
        ("[qubit.frequency_hz]\nq00 = [", "[qubit.frequency_hz]\nq00 = [inf, 1.0, 1.0] # ", "must be finite"),
        ("\nqubits = 12", "\nqubits = 4000000000000", "qubits"),
        ("\nqubits = 12", "\nqubits = 11", "electronics"),
        ("\nnow_s = 1.0", "\nnow_s = nan", "now_s"),
        ("[electronics]", "x = " + "[" * 5_000 + "]" * 5_000 + "\n[electronics]", "cannot be read"),
    ],
)
def test_a_file_that_cannot_stand_is_refused_with_its_place(tmp_path: Path, old: str, new: str, words: str) -> None:
    chip, condition = full()
    store = Store(tmp_path)
    store.save(chip, condition, 1.0)
    text = store.file.read_text()
    assert old in text
    store.file.write_text(text.replace(old, new, 1))
    with pytest.raises(StateError, match=words):
        store.load()


def written() -> dict[str, Any]:
    return tomllib.loads("\n".join(state_lines(*full(), 33.0)))


@pytest.mark.parametrize("name", [each.name for each in fields(Electronics)])
def test_a_field_that_an_older_version_did_not_write_is_named_with_what_to_do(name: str) -> None:
    raw = written()
    del raw["electronics"][name]
    with pytest.raises(StateError, match=rf"calibration\.toml: \[electronics\] {name} = 'missing': .*--cold"):
        read_state(raw, "calibration.toml")


WRONG = st.sampled_from(["x", "nan", "", -1, 10**30, True, float("nan"), [], [[]], ["x"], [1, [2]], {}, {"q00": 1}, {"x": [1]}])


@given(st.data())
@settings(max_examples=400, deadline=None)
def test_whatever_is_missing_or_of_another_type_is_one_error_that_names_file_and_place(data: st.DataObject) -> None:
    raw = written()
    place: Any = raw
    while True:
        key = data.draw(st.sampled_from(sorted(place) if isinstance(place, dict) else range(len(place))))
        inner = place[key]
        if not isinstance(inner, dict | list) or not inner or data.draw(st.booleans()):
            break
        place = inner
    if data.draw(st.booleans()):
        del place[key]
    else:
        place[key] = data.draw(WRONG)
    with suppress(StateError):
        read_state(raw, "calibration.toml")
        return
    with pytest.raises(StateError, match=r"^calibration\.toml: \S"):
        read_state(raw, "calibration.toml")


CLAIM = """
import sys
from tiandi.computing.control.store import Store
Store(sys.argv[1]).claim()
print("mine", flush=True)
sys.stdin.read()
"""
FULL = """
import resource, signal, sys
from tests.computing.control.test_store import full
from tiandi.computing.control.store import Store
from tiandi.errors import StateError
chip, condition = full()
store = Store(sys.argv[1])
store.save(chip, condition, 1.0, keep=True)
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, resource.RLIM_INFINITY))
try:
    store.save(chip, condition, 2.0, keep=True)
except StateError as error:
    print(error)
"""


def test_two_processes_do_not_work_in_one_folder(tmp_path: Path) -> None:
    command = [sys.executable, "-c", CLAIM, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "mine\n"
        with pytest.raises(StateError, match="is in use"):
            Store(tmp_path).claim()
        other.kill()
    Store(tmp_path).claim()
    Store(tmp_path).claim()


def test_a_file_that_finds_no_room_leaves_the_one_before(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", FULL, str(tmp_path)], capture_output=True, text=True, check=True, timeout=60)
    assert "cannot be written" in done.stdout
    assert Store(tmp_path).load().now_s == 1.0
    assert not list(tmp_path.glob(".*.new"))
    assert len(Store(tmp_path).history()) == 1


def test_folders_and_files_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(StateError, match="bring the chip up first"):
        Store(tmp_path).load()
    (tmp_path / "file").write_text("")
    with pytest.raises(StateError, match="folder"):
        Store(tmp_path / "file")
