"""The calibration file of cqlib: what the cloud writes, the pulses added, all of it read again."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.computing.control.bench import cold, electronics
from tests.computing.control.calibrated import calibrated
from tests.computing.control.test_sheet import FromFile
from tiandi.computing.cloud.dialects.machines import configuration
from tiandi.computing.control.calibration_file import take_configuration, with_pulses
from tiandi.computing.control.fitting import arc_frequency
from tiandi.computing.control.knowledge import Knowledge
from tiandi.computing.control.sheet import write_sheet
from tiandi.errors import InputError


@pytest.fixture
def file(tmp_path: Path) -> dict[str, Any]:
    """As JSON brings it."""
    chip = calibrated()
    write_sheet(tmp_path / "here.toml", chip, name="here", now_s=5.0)
    return json.loads(json.dumps(with_pulses(configuration("here", FromFile(tmp_path / "here.toml")), chip)))


def test_everything_goes_round(file: dict[str, Any]) -> None:
    chip, found = calibrated(), cold(electronics())
    counts = take_configuration(file, found, measured_s=9.0)
    assert counts["frequency_hz"] == 11
    assert counts["t1_s"] == 10
    assert counts["two_qubit_error"] == len(file["twoQubitGate"]["czGate"]["gate error"]["qubit_used"])
    there = np.isfinite(found["t1_s"])
    assert np.flatnonzero(~there).tolist() == [2, 5]
    for name in (
        "frequency_hz",
        "anharmonicity_hz",
        "t1_s",
        "one_for_zero",
        "half_pi_amplitude",
        "drag_ns",
        "top_frequency_hz",
        "sweet_spot_v",
    ):
        assert found[name][there] == pytest.approx(chip[name][there], rel=1e-6), name
    assert found["volt_per_flux_quantum"][there] == pytest.approx(chip["volt_per_flux_quantum"][there], rel=1e-6)
    assert found.settings.flux_bias_v[there] == pytest.approx(chip.settings.flux_bias_v[there])
    assert (found.parameters["t1_s"].measured_s[there] == 9.0).all()
    assert np.isnan(found.parameters["t1_s"].uncertainty).all()


def test_the_flux_mapping_is_that_of_a_symmetric_transmon_from_the_working_point(file: dict[str, Any]) -> None:
    chip = calibrated()
    pulses = file["gatePulseParameter"]["pulse_parm"]
    top, offset, kf = pulses["zbias2f01_mapper"]["Q3"]
    fah, z = pulses["fah"]["Q3"], 0.1
    # As cqlib 1.3.11 reads it: f01 at a flux pulse of z volts.
    theirs = (top - fah) * np.sqrt(np.abs(np.cos(np.pi * kf * (z - offset)))) + fah
    ours = arc_frequency(
        chip.settings.flux_bias_v[3] + z, top_hz=chip["top_frequency_hz"][3], offset_v=chip["sweet_spot_v"][3],
        period_v=chip["volt_per_flux_quantum"][3], asymmetry=0.0, anharmonicity_hz=chip["anharmonicity_hz"][3],
    )  # fmt: skip
    assert theirs == pytest.approx(float(ours), rel=1e-9)


def test_pulses_are_as_cqlib_plays_them(file: dict[str, Any]) -> None:
    chip, entry = calibrated(), file["gatePulseParameter"]["single_parameter"]["Q3"]
    assert file["electronicType"] == "EZQ2.0"
    assert entry["length"] == 30.0
    assert entry["amplitude"] == pytest.approx(chip["half_pi_amplitude"][3])
    # Its cosine is (1 - cos) / 2 less i drag_alpha times the change per sample, of 2 ns; ours is plus i drag_ns times the rate of change.
    assert entry["drag_alpha"] * 2.0 == pytest.approx(-chip["drag_ns"][3])


def test_electronics_of_no_known_type_are_refused() -> None:
    chip = calibrated()
    other = Knowledge(replace(chip.electronics, drive_rate_hz=1e9), chip.settings, chip.parameters)
    with pytest.raises(InputError, match="electronicType"):
        with_pulses({}, other)


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (("qubit", "relatime", "T1", "qubit_used", 0), "Q99", "Q0 to Q11"),
        (("qubit", "relatime", "T1", "param_list"), [1.0], "equally long"),
        (("qubit", "relatime", "T1", "param_list", 0), "long", "finite number"),
        (("qubit", "relatime"), 3, "must be a table"),
        (("overview", "coupler_map", "G0"), ["Q0", "Q11"], "must join two qubits"),
        (("twoQubitGate", "czGate", "gate error", "qubit_used", 0), "G99", "coupler_map"),
        (("gatePulseParameter", "single_parameter", "Q0"), {"length": 3}, "must have length, amplitude"),
        (("gatePulseParameter", "pulse_parm", "zbias2f01_mapper", "Q0"), [1.0, 2.0, 0.0], "kf"),
        (("gatePulseParameter", "pulse_parm", "workbias_shift", "G0"), None, "finite number"),
        (("electronicType",), "EZQ9", "must be one of EZQ1.0"),
    ],
)
def test_files_that_cannot_stand_are_refused_and_nothing_is_taken(
    file: dict[str, Any], path: tuple[Any, ...], value: Any, words: str
) -> None:
    wrong = copy.deepcopy(file)
    here: Any = wrong
    for key in path[:-1]:
        here = here[key]
    here[path[-1]] = value
    chip = cold(electronics())
    with pytest.raises(InputError, match=words):
        take_configuration(wrong, chip, measured_s=1.0)
    assert not chip.parameters
    assert (chip.settings.flux_bias_v == 0.0).all()
