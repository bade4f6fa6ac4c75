"""The calibration file of cqlib (the configuration that Tianyan's and GuoDun's clients download): pulses written into it, all of it read.

What a cloud says of a machine without its pulses is written by the cloud (`computing.cloud.dialects.machines.configuration`); `with_pulses`
adds what only a control system knows, under "gatePulseParameter". Keys, units and meanings are those that cqlib 1.3.11 reads (label:
installed package): frequencies of pulses in Hz, lengths in ns, the DRAG weight in samples, amplitudes of the AWG's full scale or in
volts, the
flux mapping f(z) = (max_f01 - fah) sqrt|cos(pi kf (z - bias_offset))| + fah with z counted from the working point. That mapping knows no
asymmetry of the junctions: what it says far from the sweet spot of an asymmetric transmon is too low.

A CZ is written with its lengths, voltages and phases. The coupler's pulse is flat-topped here; the client knows no wave for couplers but
the slepian of "cz_extra_param" (thf, thi, lam2, lam3; Martinis and Geller, doi 10.1103/PhysRevA.90.022307): what it draws has the size and
length of the pulse that was calibrated, and not its form.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from tiandi.computing.control.experiments.pairing import QUBIT_SHAPE, pairs_of
from tiandi.computing.control.knowledge import Knowledge
from tiandi.computing.instruments.program import FloatArray
from tiandi.errors import InputError

RATE_OF_TYPE = {"EZQ1.0": (2e9, 2e9), "EZQ2.0": (5e8, 1e9), "EZQ2.1": (5e8, 1e9)}
"""Sample rates of drive and flux lines by "electronicType", as cqlib 1.3.11 has them."""
_QUBIT_LISTS: dict[str, tuple[tuple[str, ...], Callable[[float], float]]] = {
    "t1_s": (("qubit", "relatime", "T1"), lambda value: value * 1e-6),
    "t2_ramsey_s": (("qubit", "relatime", "T2"), lambda value: value * 1e-6),
    "frequency_hz": (("qubit", "frequency", "f01"), lambda value: value * 1e6),
    "anharmonicity_hz": (("qubit", "frequency", "fah"), lambda value: value * 1e6),
    "single_qubit_error": (("qubit", "singleQubit", "gate error"), lambda value: value),
    "one_for_zero": (("readout", "readoutArray", "|0> readout fidelity"), lambda value: 1.0 - value),
    "zero_for_one": (("readout", "readoutArray", "|1> readout fidelity"), lambda value: 1.0 - value),
}
_COUPLER_LISTS: dict[str, tuple[tuple[str, ...], Callable[[float], float]]] = {
    "two_qubit_error": (("twoQubitGate", "czGate", "gate error"), lambda value: value),
    "coupling_hz": (("twoQubitGate", "czGate", "coupling strength"), lambda value: value * 1e6),
}
_CZ = ("cz_amplitude_v", "cz_qubit_amplitude_v", "cz_duration_ns", "cz_phase_first_rad", "cz_phase_second_rad")
_SLEPIAN = "0.85 0.05 -0.18 0.04"
_SINGLE = ("length", "amplitude", "drag_alpha", "extra_param", "drive_detune")


def with_pulses(configuration: Mapping[str, Any], knowledge: Knowledge, *, gate_ns: float = 30.0) -> dict[str, Any]:
    """``configuration`` with "electronicType" and "gatePulseParameter" of every qubit whose half turn, frequency and flux arc are known.

    ``gate_ns``: length of the half turn, a cosine. Raises InputError for electronics whose sample rates are those of no type.
    """
    rates = (knowledge.electronics.drive_rate_hz, knowledge.electronics.flux_rate_hz)
    types = [name for name, known in RATE_OF_TYPE.items() if known == rates]
    if not types:
        known = ", ".join(f"{name}: {drive:g} and {flux:g}" for name, (drive, flux) in RATE_OF_TYPE.items())
        raise InputError("sample rates", rates, f"must be those of an electronicType ({known})")
    half = _values(knowledge, "half_pi_amplitude", 0.5 * _values(knowledge, "pi_amplitude"))
    drag = -_values(knowledge, "drag_ns", np.zeros(len(half))) * 1e-9 * rates[0]
    frequency, anharmonicity = _values(knowledge, "frequency_hz"), _values(knowledge, "anharmonicity_hz")
    top, sweet, period = (_values(knowledge, name) for name in ("top_frequency_hz", "sweet_spot_v", "volt_per_flux_quantum"))
    bias = knowledge.settings.flux_bias_v
    single, pulse = {}, {}
    sound = set(knowledge.sound("qubit").tolist())
    for qubit in sorted(sound):
        if np.isfinite([half[qubit], drag[qubit], frequency[qubit]]).all():
            numbers = (gate_ns, float(half[qubit]), float(drag[qubit]), 0.0, 0.0)
            single[f"Q{qubit}"] = dict(zip(_SINGLE, numbers, strict=True))
        if np.isfinite([frequency[qubit], anharmonicity[qubit], top[qubit], sweet[qubit], period[qubit]]).all():
            mapper = [float(top[qubit]), float(sweet[qubit] - bias[qubit]), float(1.0 / period[qubit])]
            pulse[f"Q{qubit}"] = (float(frequency[qubit]), float(anharmonicity[qubit]), mapper, float(bias[qubit]))
    couplers = {f"G{coupler}": float(knowledge.settings.coupler_bias_v[coupler]) for coupler in knowledge.sound("coupler").tolist()}
    return {
        **configuration,
        "electronicType": types[0],
        "gatePulseParameter": {
            "single_parameter": single,
            "pulse_parm": {
                "f01": {name: one[0] for name, one in pulse.items()},
                "fah": {name: one[1] for name, one in pulse.items()},
                "zbias2f01_mapper": {name: one[2] for name, one in pulse.items()},
                "workbias_shift": {name: one[3] for name, one in pulse.items()} | couplers,
            },
            "cz_parameter": _gates_of_pairs(knowledge),
        },
    }


def _gates_of_pairs(knowledge: Knowledge) -> dict[str, dict[str, Any]]:
    """Name of a coupler -> what cqlib's clients read of its CZ, for those whose CZ was calibrated."""
    if not set(_CZ) <= set(knowledge.parameters):
        return {}
    sound = knowledge.sound("coupler")
    known = sound[np.isfinite([knowledge[name][sound] for name in _CZ]).all(axis=0)]
    pair = pairs_of(knowledge, known)
    found = {}
    for place, coupler in enumerate(known.tolist()):
        volt, qubit_volt, length, first, second = (float(knowledge[name][coupler]) for name in _CZ)
        moves_first = bool(pair.moves_first[place])
        found[f"G{coupler}"] = {
            "qubit0": f"Q{pair.first[place]}", "qubit1": f"Q{pair.second[place]}", "is_g2bias_mapping": 0,
            "pad_time_left": 0, "pad_time_right": 0, "detune_length": length, "detune_extra_param": str(QUBIT_SHAPE.edge_ns),
            "qubit0_detune_amplitude": qubit_volt if moves_first else 0.0, "qubit1_detune_amplitude": 0.0 if moves_first else qubit_volt,
            "qubit0_dynamic_phase": first, "qubit1_dynamic_phase": second, "coupler_detune_amplitude": 0.0,
            "coupler_detune_longer_left": 0, "coupler_detune_longer_right": 0,
            "cz_length": length, "cz_amplitude": volt, "cz_extra_param": _SLEPIAN,
        }  # fmt: skip
    return found


def take_configuration(configuration: Mapping[str, Any], knowledge: Knowledge, *, measured_s: float) -> dict[str, int]:
    """Take what a calibration file says into the knowledge; returns parameter -> how many elements it gave.

    Qubits are those of the same number; couplers those that join the same qubits, whatever they are called. Uncertainties are not in the
    file: they become NaN. Raises InputError for a qubit or coupler that the chip does not have, and for a file of another form; nothing is
    taken then.
    """
    qubits, couplers = knowledge.electronics.qubits, _coupler_numbers(configuration, knowledge)

    def qubit(name: Any) -> int:
        number = str(name)[1:]
        if not (str(name)[:1] == "Q" and number.isascii() and number.isdigit() and int(number) < qubits):
            raise InputError("calibration file: qubit", name, f"must be Q0 to Q{qubits - 1}")
        return int(number)

    def coupler(name: Any) -> int:
        if name not in couplers:
            raise InputError("calibration file: coupler", name, "must be in overview.coupler_map")
        return couplers[name]

    found: list[tuple[str, str, dict[int, float]]] = []
    for lists, place, element in ((_QUBIT_LISTS, qubit, "qubit"), (_COUPLER_LISTS, coupler, "coupler")):
        for name, (path, convert) in lists.items():
            found.append((element, name, _listed(configuration, path, place, convert)))
    found += [("qubit", name, values) for name, values in _pulses(configuration, qubit, knowledge).items()]
    found += [("coupler", name, values) for name, values in _pair_pulses(configuration, coupler).items()]
    settings = knowledge.settings
    biases = [
        (settings.flux_bias_v, qubit(name), _number("workbias_shift", value))
        if name[:1] == "Q"
        else (settings.coupler_bias_v, coupler(name), _number("workbias_shift", value))
        for name, value in _table(configuration, "gatePulseParameter", "pulse_parm", "workbias_shift").items()
    ]
    for held, index, value in biases:
        held[index] = value
    counts = {}
    for element, name, values in found:
        if values:
            targets, numbers = np.array(list(values), np.int64), np.array(list(values.values()), float)
            knowledge.learn("qubit" if element == "qubit" else "coupler", name, targets, numbers, np.nan, measured_s=measured_s)
            counts[name] = len(values)
    return counts


def _values(knowledge: Knowledge, name: str, otherwise: FloatArray | None = None) -> FloatArray:
    """(qubits,): a parameter, or ``otherwise`` (NaN) where it is not known."""
    fallback = np.full(knowledge.electronics.qubits, np.nan) if otherwise is None else otherwise
    if name not in knowledge.parameters:
        return fallback
    return np.where(np.isfinite(knowledge[name]), knowledge[name], fallback)


def _coupler_numbers(configuration: Mapping[str, Any], knowledge: Knowledge) -> dict[str, int]:
    """Name of a coupler in the file -> its number here."""
    number = {(int(first), int(second)): one for one, (first, second) in enumerate(knowledge.electronics.couplers)}
    found = {}
    for name, pair in _table(configuration, "overview", "coupler_map").items():
        try:
            ends = sorted(int(str(one)[1:]) for one in pair)
            found[name] = number[ends[0], ends[1]]
        except (KeyError, IndexError, ValueError, TypeError):
            raise InputError(f"calibration file: coupler {name}", pair, "must join two qubits that a coupler of this chip joins") from None
    return found


def _table(configuration: Mapping[str, Any], *path: str) -> Mapping[str, Any]:
    """A table within the file; empty where it is not there."""
    here: Any = configuration
    for key in path:
        here = here.get(key, {}) if isinstance(here, Mapping) else None
        if not isinstance(here, Mapping):
            raise InputError(f"calibration file: {'.'.join(path)}", type(here).__name__, "must be a table")
    return here


def _number(field: str, value: Any) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not np.isfinite(value):
        raise InputError(f"calibration file: {field}", value, "must be a finite number")
    return float(value)


def _listed(
    configuration: Mapping[str, Any], path: tuple[str, ...], place: Callable[[Any], int], convert: Callable[[float], float]
) -> dict[int, float]:
    """Element -> value of a list with "param_list" and "qubit_used"; an element without a value is left out."""
    entry = _table(configuration, *path)
    if not entry:
        return {}
    values, names = entry.get("param_list"), entry.get("qubit_used")
    if not isinstance(values, list) or not isinstance(names, list) or len(values) != len(names):
        raise InputError(f"calibration file: {'.'.join(path)}", list(entry), "must have param_list and qubit_used, equally long")
    return {place(name): convert(_number(".".join(path), value)) for name, value in zip(names, values, strict=True) if value is not None}


def _pair_pulses(configuration: Mapping[str, Any], coupler: Callable[[Any], int]) -> dict[str, dict[int, float]]:
    """Parameter -> coupler -> value, of the CZs in the file; the qubit's voltage is that of the one that moves."""
    names = (
        "cz_amplitude",
        "qubit0_detune_amplitude",
        "qubit1_detune_amplitude",
        "cz_length",
        "qubit0_dynamic_phase",
        "qubit1_dynamic_phase",
    )
    found: dict[str, dict[int, float]] = {}
    for name, entry in _table(configuration, "gatePulseParameter", "cz_parameter").items():
        if not isinstance(entry, Mapping) or not set(names) <= set(entry):
            raise InputError(f"calibration file: cz_parameter of {name}", entry, f"must have {', '.join(names)}")
        volt, first_volt, second_volt, length, first, second = (_number(one, entry[one]) for one in names)
        for parameter, value in zip(_CZ, (volt, first_volt or second_volt, length, first, second), strict=True):
            found.setdefault(parameter, {})[coupler(name)] = value
    return found


def _pulses(configuration: Mapping[str, Any], qubit: Callable[[Any], int], knowledge: Knowledge) -> dict[str, dict[int, float]]:
    """Parameter -> qubit -> value, of the pulses in the file."""
    kind = configuration.get("electronicType")
    single = _table(configuration, "gatePulseParameter", "single_parameter")
    parameters = {
        name: _table(configuration, "gatePulseParameter", "pulse_parm", name)
        for name in ("f01", "fah", "zbias2f01_mapper", "workbias_shift")
    }
    if single and kind not in RATE_OF_TYPE:
        raise InputError("calibration file: electronicType", kind, f"must be one of {', '.join(RATE_OF_TYPE)}")
    found: dict[str, dict[int, float]] = {}

    def take(name: str, index: int, value: float) -> None:
        found.setdefault(name, {})[index] = value

    for name, entry in single.items():
        if not isinstance(entry, Mapping) or not set(_SINGLE) <= set(entry):
            raise InputError(f"calibration file: single_parameter of {name}", entry, f"must have {', '.join(_SINGLE)}")
        amplitude = _number("amplitude", entry["amplitude"])
        take("half_pi_amplitude", qubit(name), amplitude)
        take("pi_amplitude", qubit(name), 2.0 * amplitude)
        take("drag_ns", qubit(name), -_number("drag_alpha", entry["drag_alpha"]) * 1e9 / RATE_OF_TYPE[str(kind)][0])
    for name, value in parameters["f01"].items():
        take("frequency_hz", qubit(name), _number("f01", value))
    for name, value in parameters["fah"].items():
        take("anharmonicity_hz", qubit(name), _number("fah", value))
    for name, mapper in parameters["zbias2f01_mapper"].items():
        if not isinstance(mapper, list) or len(mapper) != 3 or not _number("kf", mapper[2]):
            raise InputError(f"calibration file: zbias2f01_mapper of {name}", mapper, "must be max_f01, bias_offset and kf, which is not 0")
        bias = _number("workbias_shift", parameters["workbias_shift"].get(name, knowledge.settings.flux_bias_v[qubit(name)].item()))
        take("top_frequency_hz", qubit(name), _number("max_f01", mapper[0]))
        take("sweet_spot_v", qubit(name), _number("bias_offset", mapper[1]) + bias)
        take("volt_per_flux_quantum", qubit(name), 1.0 / _number("kf", mapper[2]))
    return found
