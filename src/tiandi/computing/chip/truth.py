"""What a judge may read of a chip twin, and a control system must not: the parameters as they are under given settings at a given time.

Conventions: frequencies, T1 and T2 at the biases of the settings and at the laboratory time asked for; T2 of a Ramsey experiment is when
its envelope, exp(-t / T2 echo - (2 pi s t)^2 / 2) with slow noise of deviation s, has fallen to 1/e.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse

from tiandi.computing.chip.conditions import Conditions
from tiandi.computing.chip.evolution.decay import Decay
from tiandi.computing.chip.faults import Fault
from tiandi.computing.chip.parameters import ComplexArray, FloatArray, Hidden, IntArray
from tiandi.computing.chip.pulsing import Played, maps_of
from tiandi.computing.chip.readout import assignment, signals
from tiandi.computing.instruments.program import Shape

_THRESHOLDS = 201


@dataclass(frozen=True, eq=False)
class Truth:
    """(qubits,) or (couplers,) unless said otherwise."""

    time_s: float
    faults: tuple[Fault, ...]
    frequency_hz: FloatArray
    maximum_hz: FloatArray
    anharmonicity_hz: FloatArray
    t1_s: FloatArray
    t2_ramsey_s: FloatArray
    t2_echo_s: FloatArray
    thermal_population: FloatArray
    flux_quanta: FloatArray
    """At the biases, from the upper sweet spot."""
    volt_per_flux_quantum: FloatArray
    resonator_hz: FloatArray
    """With the qubit in state 0, at low power."""
    dispersive_shift_hz: FloatArray
    """Of the resonator, from state 0 to 1."""
    linewidth_hz: FloatArray
    drive_line: IntArray
    flux_line: IntArray
    """The line that reaches each qubit most; -1 for none."""
    drive_skew_ns: FloatArray
    flux_skew_ns: FloatArray
    leakage: ComplexArray
    imbalance: ComplexArray
    """Of the mixers, without corrections."""
    step_amplitude: FloatArray
    step_time_ns: FloatArray
    """(qubits, terms)."""
    coupling_hz: FloatArray
    coupler_hz: FloatArray
    zz_hz: FloatArray
    drive_matrix: sparse.csr_array
    """(qubits, lines): Rabi frequency at amplitude 1 [Hz] with its phase."""
    flux_matrix: sparse.csr_array
    """(elements, lines): share of a line's voltage that acts as if on the element's own; couplers after qubits."""

    def as_json(self) -> dict[str, Any]:
        """Lists and numbers; complex numbers as pairs, matrices as (row, column, value)."""
        result: dict[str, Any] = {}
        for name in self.__dataclass_fields__:
            value = getattr(self, name)
            if name == "faults":
                result[name] = [vars(fault) for fault in value]
            elif isinstance(value, sparse.csr_array):
                listed = value.tocoo()
                result[name] = [
                    [int(row), int(column), *_plain(each)] for row, column, each in zip(listed.row, listed.col, listed.data, strict=True)
                ]
            elif isinstance(value, np.ndarray) and np.iscomplexobj(value):
                result[name] = [_plain(each) for each in value]
            else:
                result[name] = value.tolist() if isinstance(value, np.ndarray) else value
        return result


def _plain(value: complex) -> list[float]:
    return [float(value.real), float(value.imag)] if np.iscomplexobj(value) else [float(value.real)]


def truth_of(hidden: Hidden, now: Conditions, faults: tuple[Fault, ...], time_s: float) -> Truth:
    """The truth under the conditions ``now``."""
    qubits = hidden.qubits
    size = now.flux_matrix.shape[0]
    echo = 1 / (0.5 / now.t1_s + now.white_dephasing_hz)
    drive = abs(now.drive)
    flux = abs(sparse.csr_array((hidden.flux_value, (hidden.flux_row, hidden.flux_column)), shape=(size, size)))
    own_flux = flux[:qubits, :qubits]
    return Truth(
        time_s=time_s,
        faults=faults,
        frequency_hz=now.frequency_hz,
        maximum_hz=hidden.maximum_hz,
        anharmonicity_hz=hidden.anharmonicity_hz,
        t1_s=now.t1_s,
        t2_ramsey_s=_ramsey_s(echo, now.slow_hz),
        t2_echo_s=echo,
        thermal_population=now.thermal,
        flux_quanta=now.flux,
        volt_per_flux_quantum=hidden.volt,
        resonator_hz=now.resonator_hz[:, 0],
        dispersive_shift_hz=now.resonator_hz[:, 1] - now.resonator_hz[:, 0],
        linewidth_hz=hidden.linewidth_hz,
        drive_line=_strongest(drive, 0.3 * np.median(drive.max(axis=1).toarray())),
        flux_line=_strongest(own_flux, 0.3),
        drive_skew_ns=hidden.drive_skew_ns,
        flux_skew_ns=hidden.flux_skew_ns,
        leakage=hidden.leakage,
        imbalance=hidden.imbalance,
        step_amplitude=hidden.step_amplitude,
        step_time_ns=hidden.step_time_ns,
        coupling_hz=now.coupling_hz,
        coupler_hz=now.coupler_hz,
        zz_hz=now.zz_hz,
        drive_matrix=now.drive,
        flux_matrix=sparse.csr_array((hidden.flux_value, (hidden.flux_row, hidden.flux_column)), shape=(size, size)),
    )


def _strongest(matrix: sparse.csr_array, least: float) -> IntArray:
    dense = matrix.argmax(axis=1)
    strength = matrix.max(axis=1).toarray().ravel()
    return np.where(strength >= least, np.asarray(dense).ravel(), -1).astype(np.int64)


def _ramsey_s(echo_s: FloatArray, slow_hz: FloatArray) -> FloatArray:
    """The time t with t / echo + (2 pi slow t)^2 / 2 = 1."""
    square = 0.5 * (2 * np.pi * slow_hz) ** 2
    return 2 / (1 / echo_s + np.sqrt(1 / echo_s**2 + 4 * square))


def pi_amplitude(
    hidden: Hidden,
    now: Conditions,
    qubits: IntArray,
    lines: IntArray,
    *,
    shape: Shape,
    duration_ns: float,
    drag_ns: FloatArray,
    frequency_hz: FloatArray,
) -> FloatArray:
    """(E,): amplitude at which a pulse of these properties on ``lines`` brings ``qubits`` from state 0 to most of state 1, without decay.

    NaN where the line does not reach the qubit.
    """
    reach = np.abs(now.drive[qubits, lines]).astype(float)
    area = {"cosine": 0.5, "gaussian": 0.48, "square": 1.0}.get(shape.kind, 0.7)
    with np.errstate(divide="ignore"):
        centre = np.where(reach > 1e6, 0.5e9 / (duration_ns * area * np.maximum(reach, 1.0)), np.nan)
    width = 0.5
    for _ in range(6):
        tried = centre[:, None] * (1 + width * np.linspace(-1, 1, 13))
        excited = _excited(hidden, now, qubits, reach, tried, shape, duration_ns, drag_ns, frequency_hz)
        best = np.clip(excited.argmax(axis=1), 1, 11)
        rows = np.arange(len(qubits))
        low, middle, high = (excited[rows, best + step] for step in (-1, 0, 1))
        curve = low - 2 * middle + high
        offset = np.where(np.abs(curve) > 1e-15, 0.5 * (low - high) / np.where(curve == 0, 1.0, curve), 0.0)
        centre = tried[rows, best] + np.clip(offset, -1, 1) * (tried[:, 1] - tried[:, 0])
        width = max(0.25 * width, 0.01)
    return centre


def _excited(  # noqa: PLR0917
    hidden: Hidden,
    now: Conditions,
    qubits: IntArray,
    reach: FloatArray,
    amplitude: FloatArray,
    shape: Shape,
    duration_ns: float,
    drag_ns: FloatArray,
    frequency_hz: FloatArray,
) -> FloatArray:
    count, width = amplitude.shape
    size = count * width

    def column(values: FloatArray) -> FloatArray:
        return np.repeat(np.broadcast_to(values, count), width)[:, None]

    tones = Played(
        rabi_rad_s=2 * np.pi * (reach[:, None] * np.nan_to_num(amplitude)).reshape(size, 1),
        frequency_hz=column(frequency_hz),
        phase_rad=np.zeros((size, 1)),
        drag_ns=column(drag_ns),
        duration_ns=np.full((size, 1), duration_ns),
        start_ns=np.zeros((size, 1)),
        shape=np.zeros((size, 1), np.int64),
        clock_ns=np.zeros(size),
        qubit_hz=np.repeat(now.frequency_hz[qubits], width),
        anharmonicity_hz=np.repeat(hidden.anharmonicity_hz[qubits], width),
    )
    none = np.zeros(size)
    return maps_of(tones, (shape,), Decay(none, none, none))[:, 1, 0].reshape(count, width)


def assignment_errors(
    hidden: Hidden,
    now: Conditions,
    qubits: IntArray,
    *,
    frequency_hz: FloatArray,
    amplitude: FloatArray,
    duration_ns: FloatArray,
    discriminator: ComplexArray,
    threshold: FloatArray,
) -> tuple[FloatArray, FloatArray]:
    """(E,) twice: error (P(1|0) + P(0|1)) / 2 with this discriminator and threshold, and the least that any threshold on the line between
    the true centres of 0 and 1 gives. State 2 is left out of both."""
    read = signals(hidden, now, qubits, frequency_hz=frequency_hz, amplitude=amplitude, duration_ns=duration_ns)

    def error(centres: ComplexArray, shift: FloatArray) -> FloatArray:
        two = np.concatenate([centres[:, :2], np.full((len(centres), 1), np.nan)], axis=1)
        chances = assignment(read, two, shift)
        return 0.5 * (chances[:, 0, 1] + chances[:, 1, 0])

    apart = np.abs(read.centre[:, 1] - read.centre[:, 0])
    tried = np.stack([error(read.centre, share * apart) for share in np.linspace(-0.4, 0.4, _THRESHOLDS)])
    return error(discriminator, threshold), tried.min(axis=0)
