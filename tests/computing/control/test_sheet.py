"""A chip that was calibrated here is a machine that the cloud can serve."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.computing.control.bench import cold, electronics
from tests.computing.control.calibrated import calibrated
from tiandi.computing.cloud.limits import TIANYAN
from tiandi.computing.cloud.machines import TwinMachine
from tiandi.computing.control.sheet import calibration_of, read_sheet, write_sheet
from tiandi.errors import InputError

BELL = "Y2P Q0\nY2P Q4\nCZ Q0 Q4\nY2M Q4\nM Q0 Q4"


class FromFile(TwinMachine):
    """A machine of the cloud whose twin is read from a data sheet."""

    def __init__(self, path: Path) -> None:
        super().__init__("xiaohong-here", TIANYAN)
        self._path = path

    @cached_property
    def _twin(self) -> Any:
        return read_sheet(self._path)


def test_errors_are_pauli_errors_and_what_is_not_known_does_not_work() -> None:
    chip = calibrated()
    found = calibration_of(chip)
    assert np.flatnonzero(~found.qubit_works).tolist() == [2, 5]
    pairs = chip.electronics.couplers
    assert np.array_equal(~found.coupler_works, np.isin(pairs, [2, 5]).any(axis=1) | (np.arange(len(pairs)) == 0))
    # A Pauli error is (d + 1) / d times the average infidelity (doi 10.1016/S0375-9601(02)01272-0).
    assert found.single_qubit_error[0] == pytest.approx(1.5 * chip["half_pi_error"][0])
    works = found.coupler_works
    assert found.two_qubit_error[works] == pytest.approx(1.25 * chip["cz_error"][works])
    assert found.two_qubit_gate_s == pytest.approx(65e-9)
    assert found.t2_s[0] == pytest.approx(chip["t2_echo_s"][0])
    for values in (found.single_qubit_error, found.t1_s, found.two_qubit_error):
        assert np.isfinite(values).all()


def test_a_sheet_comes_back_as_a_twin(tmp_path: Path) -> None:
    chip = calibrated()
    write_sheet(tmp_path / "here.toml", chip, name="xiaohong-here", now_s=123.4)
    twin, calibration = read_sheet(tmp_path / "here.toml"), calibration_of(chip)
    for name, values in vars(calibration).items():
        assert getattr(twin.calibration, name) == pytest.approx(values, rel=1e-8), name
    assert np.array_equal(twin.lattice.couplers, chip.electronics.couplers)
    assert np.array_equal(twin.lattice.position, chip.electronics.position)
    assert twin.sheet.id == "xiaohong-here"
    assert not twin.sheet.slow_dephasing
    assert twin.sheet.number("qubits") == 12
    del chip.parameters["t2_echo_s"]
    write_sheet(tmp_path / "there.toml", chip, name="there", now_s=1.0)
    assert read_sheet(tmp_path / "there.toml").sheet.slow_dephasing


def test_the_cloud_runs_programs_on_it(tmp_path: Path) -> None:
    write_sheet(tmp_path / "here.toml", calibrated(), name="xiaohong-here", now_s=123.4)
    machine = FromFile(tmp_path / "here.toml")
    assert machine.facts()["qubits_that_work"] == 10
    assert machine.calibration()["qubits"][5]["works"] is False
    program = machine.prepare(BELL, "qcis", compile=False)
    outcome = machine.run(program, 2_000, seed=3, compile=False)
    counts = outcome.counts()
    assert sum(counts[word] for word in ("00", "11")) / 2_000 == pytest.approx(0.94, abs=0.04)
    with pytest.raises(InputError, match="is disabled"):
        machine.prepare("X Q5\nM Q5", "qcis", compile=False)
    with pytest.raises(InputError, match="no working coupler"):
        machine.prepare("CZ Q0 Q1\nM Q0 Q1", "qcis", compile=False)


def test_a_chip_of_which_too_little_is_known_has_no_sheet(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="calibrate further"):
        write_sheet(tmp_path / "x.toml", cold(electronics()), name="x", now_s=0.0)
    assert not (tmp_path / "x.toml").exists()


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("format = 1", "format = 2", "format"),
        ("q00 = [0, 0, true, ", "q00 = [0, 0, true, -", "must be positive"),
        ("q00 = [0, 0, true, ", "q00 = [0, 0, ", "must be row"),
        ("c00 = [0, 1,", "c00 = [0, 99,", "must join two qubits"),
        ("[qubits]", "[bits]", "not one that this program wrote"),
        ("format = 1", "format = ", "cannot be read"),
    ],
)
def test_sheets_that_cannot_stand_are_refused(tmp_path: Path, old: str, new: str, words: str) -> None:
    path = tmp_path / "here.toml"
    write_sheet(path, calibrated(), name="here", now_s=1.0)
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(InputError, match=words):
        read_sheet(path)
