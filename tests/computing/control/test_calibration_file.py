"""The calibration file of cqlib: what the cloud writes, the pulses added, all of it read again."""

from __future__ import annotations

import copy
import json
import os
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.computing.cloud.clients.test_clients import python_of
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


CLIENT = """
import json, sys
from types import SimpleNamespace
from cqlib.utils.get_pulse import GetPulse
file = json.load(sys.stdin)
pulses = GetPulse(SimpleNamespace(machine_name="here", download_config=lambda: file))
cz = pulses.get_gate_pulse_parameter("CZ", "G6")
wave = pulses.get_z_amp_samples("G6", 2, int(cz["cz_length"]), cz["cz_amplitude"], 0, [float(one) for one in cz["cz_extra_param"].split()])
print(json.dumps({
    "half": pulses.get_gate_pulse_parameter("X2P", "Q3"), "cz": cz, "wave": wave, "bias": pulses.get_qagent_workbias("Q3"),
    "f01": pulses.get_qubit_f01("Q3"), "shift": pulses.detune_2_f01_shift("Q3", 0.02),
}))
"""


def with_cz(chip: Knowledge) -> Knowledge:
    couplers = np.arange(1, len(chip.electronics.couplers))
    figures = {
        "cz_amplitude_v": 0.31,
        "cz_qubit_amplitude_v": 0.12,
        "cz_duration_ns": 52.0,
        "cz_phase_first_rad": 0.7,
        "cz_phase_second_rad": -2.0,
    }
    for name, value in figures.items():
        chip.learn("coupler", name, couplers, np.full(len(couplers), value), 1e-4, measured_s=100.0)
    return chip


def test_cqlib_itself_reads_the_file(tmp_path: Path) -> None:
    """Its own program, in an environment of its own: half turn, flux mapping and CZ."""
    chip = with_cz(calibrated())
    write_sheet(tmp_path / "here.toml", chip, name="here", now_s=5.0)
    file = json.dumps(with_pulses(configuration("here", FromFile(tmp_path / "here.toml")), chip))
    around = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")} | {"MPLCONFIGDIR": str(tmp_path)}
    done = subprocess.run(
        [python_of("cqlib"), "-c", CLIENT], input=file, capture_output=True, text=True, timeout=120, env=around, cwd=tmp_path, check=False
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["half"]["amplitude"] == pytest.approx(chip["half_pi_amplitude"][3])
    assert found["f01"] == pytest.approx(chip["frequency_hz"][3])
    assert found["bias"] == pytest.approx(chip.settings.flux_bias_v[3])
    assert np.isfinite(found["shift"])
    first, second = chip.electronics.couplers[6]
    cz = found["cz"]
    assert (cz["qubit0"], cz["qubit1"], cz["coupler"]) == (f"Q{first}", f"Q{second}", "G6")
    assert sorted([cz["qubit0_detune_amplitude"], cz["qubit1_detune_amplitude"]]) == [0.0, 0.12]
    # It plays RZ by what it gives back, which takes away the phase that the qubit gained.
    assert (cz["qubit0_dynamic_phase"], cz["qubit1_dynamic_phase"]) == pytest.approx((-0.7, 2.0))
    assert len(found["wave"]) == 52
    assert max(found["wave"]) == pytest.approx(0.31, rel=0.05)


def test_gates_of_pairs_go_round(tmp_path: Path) -> None:
    chip, found = with_cz(calibrated()), cold(electronics())
    write_sheet(tmp_path / "here.toml", chip, name="here", now_s=5.0)
    file = json.loads(json.dumps(with_pulses(configuration("here", FromFile(tmp_path / "here.toml")), chip)))
    take_configuration(file, found, measured_s=9.0)
    sound = chip.sound("coupler")[1:]
    assert len(file["gatePulseParameter"]["cz_parameter"]) == len(sound)
    for name in ("cz_amplitude_v", "cz_qubit_amplitude_v", "cz_duration_ns", "cz_phase_first_rad", "cz_phase_second_rad"):
        assert found[name][sound] == pytest.approx(chip[name][sound]), name
