"""A data sheet of a chip as it was calibrated here: written as a file, read as a twin that the cloud can serve.

The file is TOML with one line for each qubit and coupler. Errors in it are Pauli errors, as in all calibrations here. What the noise model
can have beside (crosstalk between gates, leakage) is not in it and does not happen in its twin.
"""

from __future__ import annotations

import json
import math
import tomllib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from tiandi.computing.control.experiments.gates import GATE_NS
from tiandi.computing.control.experiments.pairing import designed_cz_ns
from tiandi.computing.control.knowledge import Knowledge
from tiandi.computing.control.writing import write_whole
from tiandi.computing.instruments.program import FloatArray
from tiandi.computing.machines.calibration import Calibration
from tiandi.computing.machines.lattice import NO_PATTERN, Lattice
from tiandi.computing.machines.mechanisms import mechanisms_of
from tiandi.computing.machines.sheets import DataSheet, Fact, pauli_per_average
from tiandi.computing.machines.twin import Twin
from tiandi.errors import InputError

FORMAT = 1
NATIVE = ("sx", "sxdg", "sy", "sydg", "rxy", "rz", "cz")
"""Turns about axes in the equator, virtual Z, and CZ."""
_QUBIT = (
    "row",
    "column",
    "works",
    "frequency_hz",
    "anharmonicity_hz",
    "t1_s",
    "t2_s",
    "single_qubit_error",
    "one_for_zero",
    "zero_for_one",
)
_COUPLER = ("first", "second", "works", "two_qubit_error", "coupling_hz")
_DURATIONS = ("single_qubit_gate_s", "two_qubit_gate_s", "readout_s")
_SOURCE = "measured by tiandi's control system"


def calibration_of(knowledge: Knowledge) -> Calibration:
    """What a control system measured, as a calibration. T2 is that of the echo where it was measured, else that of Ramsey fringes; the
    two-qubit gates take as long as the longest of them, for which those of a layer wait.

    A qubit works if all its figures are known and it is not flagged; a coupler if both its qubits work and its CZ was benchmarked. Where an
    element does not work its figures are the medians of those that do. Errors: "half_pi_error" and "cz_error" are average infidelities and
    become Pauli errors. Raises InputError where no qubit works.
    """
    electronics = knowledge.electronics
    qubits, couplers = electronics.qubits, len(electronics.couplers)

    def of(name: str, size: int) -> FloatArray:
        return knowledge[name].copy() if name in knowledge.parameters else np.full(size, np.nan)

    echo, fringes = of("t2_echo_s", qubits), of("t2_ramsey_s", qubits)
    t1 = of("t1_s", qubits)
    table = {
        "frequency_hz": of("frequency_hz", qubits),
        "anharmonicity_hz": np.where(
            np.isfinite(of("anharmonicity_hz", qubits)), of("anharmonicity_hz", qubits), electronics.design_anharmonicity_hz
        ),
        "t1_s": t1,
        "t2_s": np.minimum(np.where(np.isfinite(echo), echo, fringes), 2.0 * t1),
        "single_qubit_error": np.clip(of("half_pi_error", qubits) * pauli_per_average(1), 0.0, 0.5),
        "one_for_zero": np.clip(of("one_for_zero", qubits), 0.0, 0.5),
        "zero_for_one": np.clip(of("zero_for_one", qubits), 0.0, 0.5),
    }
    works = np.zeros(qubits, bool)
    works[knowledge.sound("qubit")] = True
    works &= np.isfinite(np.stack(list(table.values()))).all(axis=0)
    if not works.any():
        missing = [name for name, values in table.items() if not np.isfinite(values).any()]
        raise InputError("data sheet", ", ".join(missing) or "no qubit", "must be known of at least one sound qubit: calibrate further")
    error = np.clip(of("cz_error", couplers) * pauli_per_average(2), 0.0, 0.5)
    coupling = np.where(np.isfinite(of("coupling_hz", couplers)), of("coupling_hz", couplers), electronics.design_coupling_hz)
    pair_works = np.zeros(couplers, bool)
    pair_works[knowledge.sound("coupler")] = True
    pair_works &= works[electronics.couplers].all(axis=1) & np.isfinite(error)
    length_ns = of("cz_duration_ns", couplers)
    longest_ns = np.max(np.where(pair_works & np.isfinite(length_ns), length_ns, 0.0), initial=0.0) or designed_cz_ns(knowledge)
    filled = {name: np.where(works, values, np.median(values[works])) for name, values in table.items()}
    return Calibration(
        filled["frequency_hz"], filled["anharmonicity_hz"], filled["t1_s"], filled["t2_s"], filled["single_qubit_error"],
        filled["one_for_zero"], filled["zero_for_one"], works,
        np.where(pair_works, error, np.median(error[pair_works]) if pair_works.any() else 0.0), coupling, pair_works,
        GATE_NS * 1e-9, float(longest_ns) * 1e-9, knowledge.settings.readout_duration_ns * 1e-9,
    )  # fmt: skip


def write_sheet(path: Path, knowledge: Knowledge, *, name: str, now_s: float) -> None:
    """Write the data sheet of a calibrated chip, whole or not at all; ``name``: what a cloud calls the machine."""
    calibration, electronics = calibration_of(knowledge), knowledge.electronics
    echoed = "t2_echo_s" in knowledge.parameters and bool(np.isfinite(knowledge["t2_echo_s"][calibration.qubit_works]).all())
    columns = [getattr(calibration, "qubit_works" if one == "works" else one).tolist() for one in _QUBIT[2:]]
    qubits = [[*place, *numbers] for place, numbers in zip(electronics.position.tolist(), zip(*columns, strict=True), strict=True)]
    pairs = zip(calibration.coupler_works.tolist(), calibration.two_qubit_error.tolist(), calibration.coupling_hz.tolist(), strict=True)
    couplers = [[*ends, *numbers] for ends, numbers in zip(electronics.couplers.tolist(), pairs, strict=True)]
    lines = [
        f"format = {FORMAT}",
        f"name = {json.dumps(name, ensure_ascii=False)}",
        f"chip = {json.dumps(electronics.name, ensure_ascii=False)}",
        f"calibrated_s = {round(float(now_s), 3)!r}",
        f"year = {datetime.now(UTC).year}",
        f"slow_dephasing = {str(not echoed).lower()}",
        *(f"{one} = {getattr(calibration, one)!r}" for one in _DURATIONS),
        *_section("qubits", "q", _QUBIT, qubits),
        *_section("couplers", "c", _COUPLER, couplers),
    ]
    write_whole(path, ("\n".join(lines) + "\n").encode())


def _section(name: str, letter: str, columns: tuple[str, ...], rows: list[list[Any]]) -> list[str]:
    width = len(str(max(len(rows) - 1, 0)))
    lines = [f"{letter}{number:0{width}d} = [{', '.join(_written(value) for value in row)}]" for number, row in enumerate(rows)]
    return [f"\n# {', '.join(columns)}", f"[{name}]", *lines]


def _written(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else repr(float(f"{value:.9g}")) if isinstance(value, float) else repr(value)


def read_sheet(path: Path | str) -> Twin:
    """The twin of a machine whose data sheet was written by `write_sheet`. Raises InputError that names what cannot stand."""
    try:
        raw = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError("data sheet", str(path), f"cannot be read ({error})") from None
    try:
        if raw["format"] != FORMAT:
            raise InputError("data sheet: format", raw["format"], f"must be {FORMAT}")
        qubits, couplers = _table(raw, "qubits", _QUBIT), _table(raw, "couplers", _COUPLER)
        pairs = np.array([couplers["first"], couplers["second"]], np.int64).T.reshape(-1, 2)
        if len(pairs) and not (pairs[:, 0].min() >= 0 and (pairs[:, 0] < pairs[:, 1]).all() and pairs.max() < len(qubits["row"])):
            raise InputError("data sheet: couplers", str(path), "must join two qubits of the sheet, the lower number first")
        frequency, anharmonicity, t1, t2, single, one_for_zero, zero_for_one = (np.array(qubits[one], float) for one in _QUBIT[3:])
        gate, pair_gate, readout = (float(raw[one]) for one in _DURATIONS)
        calibration = Calibration(
            frequency, anharmonicity, t1, t2, single, one_for_zero, zero_for_one, np.array(qubits["works"], bool),
            np.array(couplers["two_qubit_error"], float), np.array(couplers["coupling_hz"], float), np.array(couplers["works"], bool),
            gate, pair_gate, readout,
        )  # fmt: skip
        lattice = Lattice(np.array([qubits["row"], qubits["column"]], np.int64).T, pairs, np.full(len(pairs), NO_PATTERN, np.int64))
        sheet = _data_sheet(raw, calibration)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError("data sheet", str(path), f"is not one that this program wrote ({type(error).__name__}: {error})") from None
    _require_sane(calibration)
    return Twin(sheet, lattice, calibration, mechanisms_of(sheet), seed=1)


def _table(raw: dict[str, Any], name: str, columns: tuple[str, ...]) -> dict[str, list[Any]]:
    rows = list(raw[name].values())
    wrong = [row for row in rows if not isinstance(row, list) or len(row) != len(columns)]
    if wrong:
        raise InputError(f"data sheet: {name}", wrong[0], f"must be {', '.join(columns)}")
    return {column: [row[number] for row in rows] for number, column in enumerate(columns)}


def _require_sane(calibration: Calibration) -> None:
    probabilities = ("single_qubit_error", "one_for_zero", "zero_for_one", "two_qubit_error")
    positive = ("frequency_hz", "t1_s", "t2_s")
    for name in (*probabilities, *positive):
        values = getattr(calibration, name)
        high = 1.0 if name in probabilities else math.inf
        bad = values[~(np.isfinite(values) & (values >= 0.0) & (values <= high) & ((values > 0.0) | (name in probabilities)))]
        if len(bad):
            raise InputError(f"data sheet: {name}", float(bad[0]), "must lie in [0, 1]" if name in probabilities else "must be positive")


def _data_sheet(raw: dict[str, Any], calibration: Calibration) -> DataSheet:
    name = str(raw["name"])
    source = f"{_SOURCE} on {raw['chip']}, at laboratory time {float(raw['calibrated_s']):.0f} s"

    def mean(values: FloatArray, works: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> Fact:
        return Fact(float(values[works].mean()) if works.any() else 0.0, "computed", source)

    works, pair_works = calibration.qubit_works, calibration.coupler_works
    facts = {
        "qubits": Fact(float(len(works)), "computed", source),
        "couplers": Fact(float(len(pair_works)), "computed", source),
        "t1_s": mean(calibration.t1_s, works),
        "t2_s": mean(calibration.t2_s, works),
        "single_qubit_error": mean(calibration.single_qubit_error, works),
        "readout_error": mean(0.5 * (calibration.one_for_zero + calibration.zero_for_one), works),
    } | ({"two_qubit_error": mean(calibration.two_qubit_error, pair_works)} if pair_works.any() else {})
    return DataSheet(
        id=name, name=name, maker="tiandi", kind="superconducting", year=int(raw["year"]), native_gates=NATIVE,
        note=f"A chip calibrated here: {source}.", error_kind="pauli", slow_dephasing=bool(raw["slow_dephasing"]), layout=None, no_twin="",
        facts=facts, )  # fmt: skip
