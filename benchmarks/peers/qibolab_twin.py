"""A Qibolab controller that plays on tiandi's chip: pulse sequences and sweepers become programs of the `Instrument` interface.

Qibolab's Drag envelopes are played as cosines with ``beta`` nanoseconds of derivative, which is what the chip's gates are calibrated with;
other drive envelopes are refused. The readout of a qubit starts when its acquisition channel says so, never before its drive has ended. A
shot that the discriminator calls 2 counts as 1. Runs in the peers' environment with tiandi's sources on the path.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from qibocal.calibration import CalibrationPlatform
from qibocal.calibration.calibration import Calibration, QubitCalibration
from qibolab import AcquisitionType, AveragingMode, Delay, Drag, Pulse, Qubit, Readout, Rectangular, VirtualZ
from qibolab._core.components import AcquisitionChannel, IqChannel
from qibolab._core.components.configs import AcquisitionConfig, IqConfig
from qibolab._core.instruments.abstract import Controller
from qibolab._core.native import Native, SingleQubitNatives
from qibolab._core.parameters import NativeGates, Parameters, Settings

from tiandi.computing.instruments.client import RemoteInstrument
from tiandi.computing.instruments.program import Drive, Measure, Program, Shape, Train, Wait

GATE_NS = 30.0
PLAYED, WAITED, NOTHING = 0, 1, -1


class TwinController(Controller):
    """Plays on ``chip``; ``line`` maps each qubit to its drive line."""

    chip: Any
    line: dict[int, int]

    @property
    def sampling_rate(self) -> float:
        return self.chip.electronics.drive_rate_hz * 1e-9

    def connect(self) -> None:
        """The connection is given."""

    def disconnect(self) -> None:
        """It is closed by whoever made it."""

    def play(self, configs: Any, sequences: Any, options: Any, sweepers: Any) -> dict[Any, Any]:
        shape = tuple(len(parallel[0].values) for parallel in sweepers)
        place = np.indices(shape or (1,)).reshape(len(shape) or 1, -1)
        points = place.shape[1]
        swept = {
            (target if isinstance(target, str) else target.id, sweeper.parameter.name): np.asarray(sweeper.values, float)[place[axis]]
            for axis, parallel in enumerate(sweepers)
            for sweeper in parallel
            for target in (sweeper.pulses or sweeper.channels)
        }
        aligned = [one.align_to_delays() for one in sequences]
        qubits = sorted({int(channel.split("/")[0]) for channel, _ in aligned[0]})
        parts = [[_Line(one, qubit, swept, points) for one in aligned] for qubit in qubits]

        def frequencies(kind: str) -> Any:
            """(qubits, sequences and points): of each qubit's channel, swept or not."""
            given = [swept.get((f"{one}/{kind}", "frequency"), np.full(points, configs[f"{one}/{kind}"].frequency)) for one in qubits]
            return np.tile(np.stack(given), len(aligned))

        program = Program(
            len(qubits), len(aligned) * points, _steps(parts, self.line, frequencies("drive"), points),
            (_measure(parts, qubits, frequencies("probe")),), options.nshots, _outcome(options), wait_ns=float(options.relaxation_time),
        )  # fmt: skip
        reading = self.chip.run(program)
        answers = {}
        for row, lines in enumerate(parts):
            for number, line in enumerate(lines):
                at = slice(number * points, (number + 1) * points)
                answers[line.readout.id] = _answer(reading, row, at, options, shape)
        return answers


class _Line:
    """What one qubit does in one sequence: (kind, amplitude, phase, drag, duration) of each step, (points,) each, and its readout."""

    def __init__(self, sequence: Any, qubit: int, swept: dict[Any, Any], points: int) -> None:
        def of(pulse: Any, name: str) -> Any:
            return np.broadcast_to(swept.get((pulse.id, name), getattr(pulse, name)), (points,)).astype(float)

        self.qubit = qubit
        self.steps: list[tuple[int, Any, Any, Any, Any]] = []
        turned, ends, zero = np.zeros(points), np.zeros(points), np.zeros(points)
        for pulse in sequence.channel(f"{qubit}/drive"):
            if isinstance(pulse, VirtualZ):
                turned = turned + of(pulse, "phase")
                continue
            duration = of(pulse, "duration")
            ends = ends + duration
            if isinstance(pulse, Delay):
                self.steps.append((WAITED, zero, zero, zero, duration))
            elif isinstance(pulse, Pulse) and isinstance(pulse.envelope, Drag):
                phase = of(pulse, "relative_phase") + turned
                self.steps.append((PLAYED, of(pulse, "amplitude"), phase, zero + pulse.envelope.beta, duration))
            else:
                raise ValueError(f"{pulse}: the adapter plays Drag envelopes, delays and virtual Z on drive lines")
        starts = zero
        for pulse in sequence.channel(f"{qubit}/acquisition"):
            if isinstance(pulse, Readout):
                self.readout = pulse
            else:
                starts = starts + of(pulse, "duration")
        self.steps.append((WAITED, zero, zero, zero, np.maximum(starts - ends, 0.0)))


def _steps(parts: Any, lines: dict[int, int], frequency: Any, points: int) -> tuple[Any, ...]:
    """One train for each place in the sequences: at each point it plays, waits, or does nothing."""
    played_on = np.array([lines[row[0].qubit] for row in parts])
    longest = max(len(line.steps) for row in parts for line in row)
    result = []
    for step in range(longest):
        kinds = np.array([line.steps[step][0] if step < len(line.steps) else NOTHING for line in parts[0]])
        numbers = np.zeros((4, *frequency.shape))
        numbers[3] = GATE_NS
        for row, some in enumerate(parts):
            for number, line in enumerate(some):
                if step < len(line.steps):
                    if line.steps[step][0] != kinds[number]:
                        raise ValueError("qubits that are measured at once must play pulses of the same kind at once")
                    numbers[:, row, number * points : (number + 1) * points] = line.steps[step][1:]
        amplitude, phase, drag, duration = numbers
        pulse = Drive(played_on, amplitude, np.maximum(duration, 1.0), frequency, phase, drag, Shape("cosine"))
        order = np.repeat(kinds, points).astype(np.int16)[None, :, None]
        result.append(Train(((pulse,), (Wait(duration),)), order))
    return tuple(result)


def _measure(parts: Any, qubits: list[int], frequency: Any) -> Measure:
    probes = [line[0].readout.probe for line in parts]
    amplitude, duration = (np.array([[getattr(probe, name)] for probe in probes]) for name in ("amplitude", "duration"))
    return Measure(np.array(qubits), frequency, amplitude, duration)


def _outcome(options: Any) -> Any:
    if options.acquisition_type is AcquisitionType.DISCRIMINATION:
        return "populations"
    return "mean" if options.averaging_mode is not AveragingMode.SINGLESHOT else "shots"


def _answer(reading: Any, row: int, at: slice, options: Any, shape: tuple[int, ...]) -> Any:
    """In Qibolab's layout: shots first, then sweeps, then I and Q."""
    if reading.populations is not None:
        share = 1.0 - reading.populations[row, at, 0].reshape(shape)
        if options.averaging_mode is not AveragingMode.SINGLESHOT:
            return share
        # Shots of one point are exchangeable: their number is what was counted.
        return (np.arange(options.nshots).reshape(-1, *(1 for _ in shape)) < np.rint(options.nshots * share)).astype(int)
    points = reading.iq[0, row, at]
    single = options.averaging_mode is AveragingMode.SINGLESHOT
    points = np.moveaxis(points, -1, 0).reshape(-1, *shape) if single else points.reshape(shape)
    return np.stack([points.real, points.imag], axis=-1)


def platform_of(chip: RemoteInstrument, known: dict[str, list[float]]) -> CalibrationPlatform:
    """Qibocal's platform of the calibrated qubits; ``known`` has one number for each."""
    configs, channels, qubits, natives, calibration, line = {}, {}, {}, {}, {}, {}
    for row, name in enumerate(known["qubit"]):
        qubit = int(name)
        line[qubit] = int(known["drive_line"][row])
        drag = Drag(rel_sigma=0.2, beta=known["drag_ns"][row])
        turns = [Pulse(duration=GATE_NS, amplitude=known[size][row], envelope=drag) for size in ("pi_amplitude", "half_pi_amplitude")]
        probe = Pulse(duration=known["readout_ns"][row], amplitude=known["readout_amplitude"][row], envelope=Rectangular())
        qubits[qubit] = Qubit(drive=f"{qubit}/drive", probe=f"{qubit}/probe", acquisition=f"{qubit}/acquisition")
        channels |= {
            f"{qubit}/drive": IqChannel(mixer=None, lo=None),
            f"{qubit}/probe": IqChannel(mixer=None, lo=None),
            f"{qubit}/acquisition": AcquisitionChannel(twpa_pump=None, probe=f"{qubit}/probe"),
        }
        configs |= {
            f"{qubit}/drive": IqConfig(frequency=known["frequency_hz"][row]),
            f"{qubit}/probe": IqConfig(frequency=known["readout_hz"][row]),
            f"{qubit}/acquisition": AcquisitionConfig(delay=0.0, smearing=0.0, threshold=0.0, iq_angle=0.0, kernel=None),
        }
        natives[qubit] = SingleQubitNatives(
            RX=Native([(f"{qubit}/drive", turns[0])]),
            RX90=Native([(f"{qubit}/drive", turns[1])]),
            MZ=Native([(f"{qubit}/acquisition", Readout.from_probe(probe))]),
        )
        calibration[qubit] = QubitCalibration()
    return CalibrationPlatform(
        name="twin",
        parameters=Parameters(
            settings=Settings(nshots=1_000, relaxation_time=200_000), configs=configs, native_gates=NativeGates(single_qubit=natives)
        ),
        instruments={"twin": TwinController(address="twin", channels=channels, chip=chip, line=line)},
        qubits=qubits,
        calibration=Calibration(single_qubits=calibration),
    )
