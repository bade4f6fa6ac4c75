"""Programs from cqlib's pulses, and pulses from programs: `read_pulses` and `write_pulses`. The text itself: `pulse_text`.

Every element has a clock: PXY, PZ and I move it on, PZ0 does not (it adds to what comes after), B sets the clocks of its elements to the
latest of them. RZ turns later drive pulses of its qubit by minus its angle. All measurements begin together, when all lines have ended.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from tiandi.computing.instruments.instrument import Electronics, Settings
from tiandi.computing.instruments.program import Drive, Flux, Measure, Moment, Operation, Outcome, Phase, Program, Shape, Train, Wait
from tiandi.computing.instruments.pulse_text import LONGEST_NS, Line, lines_of, text_of, wave_of
from tiandi.errors import InputError
from tiandi.limits import require_within

Element = tuple[str, int]


@dataclass(frozen=True)
class _Pulse:
    element: Element
    name: str
    start_ns: float
    length_ns: float
    amplitude: float
    shape: Shape
    frequency_hz: float = 0.0
    phase_rad: float = 0.0
    drag_ns: float = 0.0

    @property
    def end_ns(self) -> float:
        """On the element's clock."""
        return self.start_ns + self.length_ns


@dataclass
class _Score:
    """A text laid out in time."""

    pulses: list[_Pulse] = field(default_factory=list)
    measured: list[int] = field(default_factory=list)
    clock_ns: dict[Element, float] = field(default_factory=dict)

    @property
    def end_ns(self) -> float:
        """When the last line ends."""
        return max([*self.clock_ns.values(), *(pulse.end_ns for pulse in self.pulses)], default=0.0)


def read_pulses(text: str, electronics: Electronics, settings: Settings, *, shots: int, outcome: Outcome = "populations") -> Program:
    """The program that plays ``text``; its measures are those of ``settings``.

    Without pulses on couplers there is one target for each qubit that occurs, in rising order, and all are measured. With such pulses there
    is one for each coupler that is played, in rising order, and its two qubits are measured. Raises InputError with the line, the value
    and the limit for what is no such text, and for elements that the chip has not.
    """
    score = _laid_out(lines_of(text), electronics)
    if not score.measured:
        raise InputError("M", "none", "must say what is measured, once at least")
    slots = _slots(score, electronics)
    lines = slots[: 2 if len(slots) == 3 else 1]
    measures = tuple(
        Measure(
            np.array([index for _, index in slot]),
            settings.readout_frequency_hz[[index for _, index in slot], None],
            settings.readout_amplitude[[index for _, index in slot], None],
            settings.readout_duration_ns,
        )
        for slot in lines
    )
    return Program(len(slots[0]), 1, tuple(_moments(score, slots, settings)), measures, shots, outcome)


def _laid_out(lines: list[Line], electronics: Electronics) -> _Score:
    score, angle = _Score(), dict[Element, float]()
    count = {"Q": electronics.qubits, "G": len(electronics.couplers)}
    for line in lines:
        for letter, index in line.elements:
            if index >= count[letter]:
                raise InputError(f"{line.name}: element", f"{letter}{index}", f"must be below {letter}{count[letter]}")
        clocks = [score.clock_ns.get(element, 0.0) for element in line.elements]
        first = line.elements[0]
        if line.name != "M" and any(letter == "Q" and index in score.measured for letter, index in line.elements):
            raise InputError(line.name, f"Q{first[1]}", "must come before the qubit's M")
        if line.name == "B":
            score.clock_ns.update(dict.fromkeys(line.elements, max(clocks)))
        elif line.name == "M":
            score.measured += [index for _, index in line.elements]
        elif line.name == "RZ":
            angle[first] = angle.get(first, 0.0) - line.numbers[0]
        elif line.name == "I":
            score.clock_ns[first] = clocks[0] + line.length_ns
        else:
            score.pulses.append(_pulse_of(line, clocks[0], angle.get(first, 0.0), electronics))
            score.clock_ns[first] = clocks[0] + (0.0 if line.name == "PZ0" else line.length_ns)
    score.pulses[:] = [pulse for pulse in score.pulses if pulse.length_ns > 0]
    return score


def _pulse_of(line: Line, start_ns: float, angle_rad: float, electronics: Electronics) -> _Pulse:
    _, length, amplitude, *rest = line.numbers
    if line.name != "PXY":
        return _Pulse(line.elements[0], line.name, start_ns, length, amplitude, line.shape())
    frequency, phase, drag = rest[:3]
    drag_ns = -drag * 1e9 / electronics.drive_rate_hz
    return _Pulse(line.elements[0], line.name, start_ns, length, amplitude, line.shape(), frequency, phase + angle_rad, drag_ns)


def _slots(score: _Score, electronics: Electronics) -> list[list[Element]]:
    """Places of a target, each with the elements of all targets: the qubit; or the first, the second qubit and the coupler."""
    occurring = {pulse.element for pulse in score.pulses} | {("Q", qubit) for qubit in score.measured}
    couplers = sorted(index for letter, index in occurring if letter == "G")
    qubits = sorted(index for letter, index in occurring if letter == "Q")
    if not couplers:
        return [[("Q", qubit) for qubit in qubits]]
    ends = electronics.couplers[couplers]
    if len(np.unique(ends)) != ends.size:
        raise InputError("couplers", couplers, "must have qubits of their own")
    strange = sorted(set(qubits) - set(ends.ravel().tolist()))
    if strange:
        raise InputError("qubits", strange, "must be joined by a coupler that is played, where couplers are played")
    return [[("Q", int(qubit)) for qubit in side] for side in ends.T] + [[("G", coupler) for coupler in couplers]]


def _moments(score: _Score, slots: list[list[Element]], settings: Settings) -> list[Moment]:
    """Pulses that overlap make one moment; what lies between is waited for."""
    tune = {pulse.element: pulse.frequency_hz for pulse in reversed(score.pulses) if pulse.name == "PXY"}
    moments: list[Moment] = []
    now, group, until = 0.0, list[_Pulse](), 0.0
    ordered = sorted(score.pulses, key=lambda pulse: pulse.start_ns)
    for pulse in [*ordered, None]:
        start = score.end_ns if pulse is None else pulse.start_ns
        if group and (pulse is None or start >= until):
            moments.append(_together(group, now, until, slots=slots, tune=tune, settings=settings))
            now, group = until, []
        if not group and start > now:
            moments.append((Wait(start - now),))
            now = start
        if pulse is not None:
            group, until = [*group, pulse], max(until, pulse.end_ns)
    return moments


def _together(
    group: list[_Pulse], begin: float, end: float, *, slots: list[list[Element]], tune: dict[Element, float], settings: Settings
) -> Moment:
    """One operation for each place of a target, kind of pulse, shape and turn; targets that have fewer play nothing on theirs."""
    place = {element: (slot, target) for slot, elements in enumerate(slots) for target, element in enumerate(elements)}
    turn: dict[tuple[Element, bool, Shape], int] = {}
    tables: dict[tuple[int, bool, Shape, int], dict[int, _Pulse]] = {}
    for pulse in group:
        slot, target = place[pulse.element]
        drive = pulse.name == "PXY"
        number = turn.get((pulse.element, drive, pulse.shape), 0)
        turn[pulse.element, drive, pulse.shape] = number + 1
        tables.setdefault((slot, drive, pulse.shape, number), {})[target] = pulse
    operations: list[Operation] = [Wait(end - begin)]
    for (slot, drive, shape, _), pulses in tables.items():
        elements = slots[slot]
        lines = np.array([index for _, index in elements])
        numbers = np.zeros((6, len(elements), 1))
        numbers[3, :, 0] = [tune.get(element, settings.oscillator_hz[element[1]]) if drive else 0.0 for element in elements]
        for target, pulse in pulses.items():
            start = pulse.start_ns - begin
            numbers[:, target, 0] = (pulse.amplitude, pulse.length_ns, start, pulse.frequency_hz, pulse.phase_rad, pulse.drag_ns)
        amplitude, length, start_ns, frequency, phase, drag_ns = numbers
        if drive:
            operations.append(Drive(lines, amplitude, length, frequency, phase, drag_ns, shape, start_ns))
        else:
            operations.append(Flux(lines, amplitude, length, shape, elements[0][0] == "G", start_ns))
    return tuple(operations)


def write_pulses(program: Program, electronics: Electronics, *, point: int = 0) -> str:
    """The text that plays one point of ``program``; how it is read out and how often is not in it.

    Raises InputError for what the text cannot say: shapes without a class of waves, lengths that are no whole nanoseconds, drive pulses
    that overlap with what begins after them on the same qubit.
    """
    require_within("point", point, 0, program.points - 1)
    lines: list[Line] = []
    for target in range(program.targets):
        pulses, end = _of_target(program, electronics, target, point)
        measured = [("Q", int(measure.lines[target])) for measure in program.measures]
        for element in dict.fromkeys([*(pulse.element for pulse in pulses), *measured]):
            lines += _of_element(element, [pulse for pulse in pulses if pulse.element == element], end if element in measured else 0.0)
    every = tuple(("Q", int(line)) for measure in program.measures for line in measure.lines)
    return text_of([*lines, Line("M", every, ())])


def _of_target(program: Program, electronics: Electronics, target: int, point: int) -> tuple[list[_Pulse], float]:
    """Pulses of a target and when its last moment ends; virtual turns are put into the phases."""

    def value(number: object) -> float:
        return float(np.broadcast_to(np.asarray(number, float), (program.targets, program.points))[target, point])

    def at(lines: np.ndarray) -> int:
        return int(lines[target])

    found, clock, angle = list[_Pulse](), 0.0, dict[int, float]()
    for moment in _in_order(program, target, point):
        length = 0.0
        for part in moment:
            if isinstance(part, Phase):
                continue
            duration = value(part.duration_ns)
            begin = 0.0 if isinstance(part, Wait) else value(part.start_ns)
            length = max(length, begin + duration)
            if isinstance(part, Drive):
                phase = value(part.phase_rad) + angle.get(at(part.lines), 0.0)
                drag, numbers = value(part.drag_ns), (clock + begin, duration, value(part.amplitude))
                found.append(_Pulse(("Q", at(part.lines)), "PXY", *numbers, part.shape, value(part.frequency_hz), phase, drag))
            elif isinstance(part, Flux):
                element = ("G" if part.coupler else "Q", at(part.lines))
                found.append(_Pulse(element, "PZ", clock + begin, duration, value(part.amplitude), part.shape))
        for part in moment:
            if isinstance(part, Phase):
                angle[at(part.lines)] = angle.get(at(part.lines), 0.0) + value(part.angle_rad)
        clock += length
    samples = 1e9 / electronics.drive_rate_hz
    turned = [_with_text_numbers(pulse, samples) for pulse in found if pulse.length_ns > 0]
    return turned, clock


def _with_text_numbers(pulse: _Pulse, sample_ns: float) -> _Pulse:
    """Phase in (-pi, pi], DRAG in samples."""
    phase = float(np.angle(np.exp(1j * pulse.phase_rad)))
    numbers = (pulse.frequency_hz, phase, 0.0 - pulse.drag_ns / sample_ns)
    return _Pulse(pulse.element, pulse.name, pulse.start_ns, pulse.length_ns, pulse.amplitude, pulse.shape, *numbers)


def _in_order(program: Program, target: int, point: int) -> list[Moment]:
    found: list[Moment] = []
    for step in program.steps:
        if isinstance(step, Train):
            rows = np.asarray(step.order)[target if len(step.order) > 1 else 0, point]
            found += [step.table[row] for row in rows if row >= 0]
        else:
            found.append(step)
    return found


def _of_element(element: Element, pulses: list[_Pulse], end_ns: float) -> list[Line]:
    """Lines of one element: a flux pulse that something overlaps becomes a PZ0."""
    ordered = sorted(pulses, key=lambda pulse: (pulse.start_ns, pulse.name != "PZ"))
    lines, clock = list[Line](), 0.0
    for number, pulse in enumerate(ordered):
        after = min((later.start_ns for later in ordered[number + 1 :]), default=np.inf)
        overlaps = after < pulse.end_ns
        if overlaps and pulse.name == "PXY":
            raise InputError(f"start_ns on {element[0]}{element[1]}", after, "must not lie within a drive pulse that began before")
        lines += _waits(element, pulse.start_ns - clock)
        wave, parameters = wave_of(pulse.shape)
        _whole(pulse.length_ns)
        numbers = (pulse.frequency_hz, pulse.phase_rad, pulse.drag_ns) if pulse.name == "PXY" else (0.0,)
        name = "PZ0" if overlaps else pulse.name
        lines.append(Line(name, (element,), (float(wave), pulse.length_ns, pulse.amplitude, *numbers, *parameters)))
        clock = pulse.start_ns if overlaps else pulse.end_ns
    return lines + _waits(element, end_ns - clock)


def _waits(element: Element, time_ns: float) -> list[Line]:
    _whole(time_ns)
    whole, rest = divmod(max(time_ns, 0.0), LONGEST_NS)
    return [Line("I", (element,), (float(LONGEST_NS),))] * int(whole) + ([Line("I", (element,), (rest,))] if rest > 0 else [])


def _whole(time_ns: float) -> None:
    if time_ns != round(time_ns):
        raise InputError("time of a pulse [ns]", time_ns, "must be whole nanoseconds")
