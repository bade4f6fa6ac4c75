"""Lines of pulses as cqlib has them in QCIS: PXY, PZ and PZ0, with their waves, beside I, B, RZ and M.

Grammar and limits are those of cqlib 1.3.11 and of cqlib-pulse 0.1.0b1 (label: installed packages):
    PXY Q<n> wave length amplitude frequency phase drag_alpha [parameters of the wave]
    PZ | PZ0  Q<n> | G<n>  wave length amplitude call_mapper [parameters of the wave]
    I <element> length;  B <elements>;  RZ Q<n> angle;  M <qubits>
Waves: 0 cosine; 1 flattop, with its edge; 2 slepian, with thf, thi, lam2, lam3. Lengths in ns, frequencies in Hz, angles in rad, the weight
of DRAG in samples of the drive line, against the sign of ours. Elements number the lines of ours: Q<n> a qubit's, G<n> a coupler's.

The edges of a flattop are cosines here and error functions of the same area at cqlib; within an edge they differ by
up to 4 % of the peak, 10 % for one of 4 ns.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tiandi.computing.instruments.program import Shape
from tiandi.computing.instruments.waveforms import check_shape
from tiandi.errors import InputError
from tiandi.limits import require_within

LONGEST_NS = 49_984
LONGEST_TEXT = 4_000_000
BAND_HZ = (4e9, 6e9)
_WAVES = ("cosine", "flattop", "slepian")
_PARAMETERS = {"cosine": 0, "flattop": 1, "slepian": 4}
_FIXED = {"PXY": 6, "PZ": 4, "PZ0": 4, "I": 1, "B": 0, "RZ": 1, "M": 0}
_ELEMENT = re.compile(r"([QG])([0-9]{1,7})")
_CZ_KEYS = ("pad_time_left", "pad_time_right", "detune_wave_class", "detune_length", "detune_extra_param", "cz_wave_class", "cz_length")


@dataclass(frozen=True)
class Line:
    """One line: its name, its elements as letter and number, and its numbers as they stand."""

    name: str
    elements: tuple[tuple[str, int], ...]
    numbers: tuple[float, ...]

    @property
    def length_ns(self) -> float:
        """Of a pulse or an I."""
        return self.numbers[0 if self.name == "I" else 1]

    def shape(self) -> Shape:
        """The wave of a pulse, checked."""
        kind, parameters = _WAVES[int(self.numbers[0])], self.numbers[_FIXED[self.name] :]
        if kind == "flattop":
            shape = Shape("flattop", parameters[0])
        elif kind == "slepian":
            final, initial, second, third = parameters
            shape = Shape("slepian", 0.0, final, initial, second, third)
        else:
            shape = Shape("cosine")
        check_shape(shape)
        return shape


def lines_of(text: str) -> list[Line]:
    """The lines of ``text``, checked against the grammar; comments begin with # or //. InputError names the line."""
    require_within("length of the text", len(text), 0, LONGEST_TEXT)
    found = []
    for number, raw in enumerate(text.splitlines(), 1):
        words = re.sub(r"[\[\],]", " ", re.sub(r"(#|//).*", "", raw)).split()
        if words:
            found.append(_line(f"line {number}", words))
    return found


def text_of(lines: list[Line]) -> str:
    """The same as text."""
    return "\n".join(
        " ".join([line.name, *(f"{letter}{index}" for letter, index in line.elements), *(f"{number:.15g}" for number in line.numbers)])
        for line in lines
    )


def wave_of(shape: Shape) -> tuple[int, tuple[float, ...]]:
    """Class of the wave of a shape, and its parameters; InputError for a shape that has none."""
    if shape.kind not in _WAVES:
        raise InputError("kind of shape", shape.kind, f"must be one of cqlib's waves, {', '.join(_WAVES)}")
    if shape.kind == "flattop":
        return 1, (shape.edge_ns,)
    if shape.kind == "slepian":
        return 2, (shape.final_angle_rad, shape.initial_angle_rad, shape.second_cosine, shape.third_cosine)
    return 0, ()


def gate_text(parameters: Mapping[str, Any]) -> str:
    """The lines of a gate from its parameters, as cqlib's `GetPulse.get_gate_pulse_parameter` gives them for X2P, X2M, Y2P, Y2M and CZ.

    Raises InputError for a parameter that is missing or is not what a line takes.
    """

    def given(name: str) -> Any:
        if name not in parameters:
            raise InputError("parameters of a gate", name, "must be there")
        return parameters[name]

    if "qubit" in parameters:
        names = ("qubit", "wave_class", "length", "amplitude", "frequency", "phase", "drag_alpha", "extra_param")
        return text_of(lines_of("PXY " + " ".join(str(given(name)) for name in names)))
    first, second, coupler = given("qubit0"), given("qubit1"), given("coupler")
    left, right, detune_wave, detune_ns, detune_extra, wave, cz_ns = (given(name) for name in _CZ_KEYS)
    found = [f"B {first} {second} {coupler}"]
    for number, qubit in enumerate((first, second)):
        amplitude, phase = given(f"qubit{number}_detune_amplitude"), given(f"qubit{number}_dynamic_phase")
        pulse = f"PZ {qubit} {detune_wave} {detune_ns} {amplitude} {given('qubit_call_mapper')} {detune_extra}"
        found += [f"I {qubit} {left}", pulse, f"I {qubit} {right}", f"RZ {qubit} {phase}"]
    amplitude, mapper = given("coupler_detune_amplitude"), given("coupler_off_call_mapper")
    found += [f"I {coupler} {left}", f"PZ0 {coupler} {detune_wave} {detune_ns} {amplitude} {mapper} {detune_extra}"]
    found += [f"I {coupler} {given('coupler_detune_longer_left')}"]
    found += [f"PZ {coupler} {wave} {cz_ns} {given('cz_amplitude')} {given('coupler_call_mapper')} {given('cz_extra_param')}"]
    found += [f"I {coupler} {given('coupler_detune_longer_right')}", f"I {coupler} {right}", f"B {first} {second} {coupler}"]
    return text_of(lines_of("\n".join(found)))


def gate_parameters(line: Line) -> dict[str, Any]:
    """A PXY line as cqlib has the parameters of a half turn; the reverse of `gate_text`."""
    if line.name != "PXY":
        raise InputError("line", line.name, "must be PXY")
    wave, length, amplitude, frequency, phase, drag = line.numbers[:6]
    extra = list(line.numbers[6:])
    return {
        "qubit": f"Q{line.elements[0][1]}",
        "qubit_channel": "xy",
        "wave_class": str(int(wave)),
        "length": length,
        "amplitude": amplitude,
        "phase": phase,
        "drag_alpha": drag,
        "extra_param": extra if len(extra) > 1 else (extra or [0.0])[0],
        "frequency": frequency,
    }


def _line(where: str, words: list[str]) -> Line:
    name = words[0].upper()
    if name not in _FIXED:
        raise InputError(where, name[:20], f"must be one of {', '.join(_FIXED)}: gates have no pulses of their own here")
    elements = [match for match in map(_ELEMENT.fullmatch, words[1:]) if match]
    numbers = tuple(_numbers(where, words[1 + len(elements) :]))
    if not elements or (name not in {"B", "M"} and len(elements) != 1):
        raise InputError(
            f"{where}: {name}", len(elements), "must name one element, Q or G and a number" + " at least" * (name in {"B", "M"})
        )
    line = Line(name, tuple((match[1], int(match[2])) for match in elements), numbers)
    if name in {"PXY", "RZ", "M"} and any(letter == "G" for letter, _ in line.elements):
        raise InputError(f"{where}: {name}", words[1], "must be of a qubit")
    if name.startswith("P"):
        return _pulse(where, line)
    if len(numbers) != _FIXED[name]:
        raise InputError(f"{where}: {name}", len(numbers), f"must have {_FIXED[name]} numbers")
    if name == "I":
        _length(where, numbers[0])
    return line


def _pulse(where: str, line: Line) -> Line:
    fixed, numbers = _FIXED[line.name], line.numbers
    if len(numbers) < fixed:
        raise InputError(f"{where}: {line.name}", len(numbers), f"must have at least {fixed} numbers")
    if numbers[0] not in (0, 1, 2):
        raise InputError(f"{where}: wave", numbers[0], "must be 0 (cosine), 1 (flattop) or 2 (slepian)")
    wanted = _PARAMETERS[_WAVES[int(numbers[0])]]
    rest = numbers[fixed:]
    if wanted == 0 and rest == (0.0,):
        rest = ()
    if len(rest) != wanted:
        raise InputError(f"{where}: parameters of a {_WAVES[int(numbers[0])]}", len(rest), f"must be {wanted}")
    _length(where, numbers[1])
    require_within(f"{where}: amplitude", numbers[2], -1.0, 1.0)
    if line.name == "PXY":
        require_within(f"{where}: frequency", numbers[3], *BAND_HZ)
        require_within(f"{where}: phase", numbers[4], -math.pi, math.pi)
        require_within(f"{where}: drag_alpha", numbers[5], -10.0, 10.0)
    elif numbers[3] != 0:
        raise InputError(f"{where}: call_mapper", numbers[3], "must be 0: amplitudes are volts, not mapped from frequencies or couplings")
    result = Line(line.name, line.elements, (*numbers[:fixed], *rest))
    try:
        result.shape()
    except InputError as error:
        raise InputError(f"{where}: {error.field}", error.value, error.limit) from error
    return result


def _length(where: str, length_ns: float) -> None:
    require_within(f"{where}: length", length_ns, 0, LONGEST_NS)
    if length_ns != int(length_ns):
        raise InputError(f"{where}: length", length_ns, "must be whole nanoseconds")


def _numbers(where: str, words: list[str]) -> Iterator[float]:
    for word in words:
        try:
            number = float(word)
        except ValueError:
            raise InputError(where, word[:40], "must be a number") from None
        if not math.isfinite(number):
            raise InputError(where, word[:40], "must be finite")
        yield number
