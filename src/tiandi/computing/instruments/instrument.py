"""The one interface between the control system and what it controls."""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from tiandi.computing.instruments.program import ComplexArray, FloatArray, IntArray, Program, Reading


@dataclass(frozen=True, eq=False)
class Electronics:
    """What the lines can do, and what the designer meant the chip to be. All frequencies of design are off by what fabrication scatters."""

    name: str
    qubits: int
    couplers: IntArray
    """(couplers, 2): the qubits a coupler joins, lower number first."""
    position: IntArray
    """(qubits, 2): row and column on the chip."""
    feed_line: IntArray
    """(qubits,): the feed line that a qubit's resonator hangs on. Measures of one program share a feed line only up to ``multiplexing``."""
    multiplexing: int
    design_qubit_hz: FloatArray
    """(qubits,): at the upper sweet spot."""
    design_anharmonicity_hz: FloatArray
    design_resonator_hz: FloatArray
    design_volt_per_flux_quantum: FloatArray
    """(qubits,): of the qubits' flux lines."""
    design_coupler_volt_per_flux_quantum: FloatArray
    """(couplers,)."""
    design_coupling_hz: FloatArray
    """(couplers,): the strongest coupling that a coupler can make."""
    design_rabi_hz: FloatArray
    """(qubits,): how fast a qubit turns while its drive line plays at full scale."""
    drive_rate_hz: float
    flux_rate_hz: float
    drive_bit: int
    flux_bit: int
    drive_band_hz: float
    """Width of the band around the local oscillator that a drive line can play."""
    readout_amplitude_limit: float
    flux_limit_v: float
    digitiser_rate_hz: float = 1e9
    digitiser_bit: int = 8
    digitiser_range_v: float = 0.5
    """Of I and of Q: from minus this to plus this. Steps of so many bits add to a shot what is small beside the amplifier's noise."""


@dataclass(eq=False)
class Settings:
    """What stays as it is while programs run. ``idle`` gives one for electronics just switched on."""

    flux_bias_v: FloatArray
    """(qubits,)."""
    coupler_bias_v: FloatArray
    """(couplers,)."""
    oscillator_hz: FloatArray
    """(qubits,): local oscillator of each drive line."""
    drive_offset: ComplexArray
    """(qubits,): added to I + iQ, against the mixer's leakage at the local oscillator."""
    drive_imbalance: ComplexArray
    """(qubits,): I + iQ is sent as z - imbalance conj(z), against the mixer's image."""
    drive_delay_ns: FloatArray
    flux_delay_ns: FloatArray
    coupler_delay_ns: FloatArray
    """(qubits,), (qubits,), (couplers,): against the lines' skew."""
    predistortion_amplitude: FloatArray
    predistortion_time_ns: FloatArray
    """(qubits, terms): the flux line's step response is taken to be 1 + sum of amplitude exp(-t / time), and undone."""
    flux_compensation: dict[tuple[int, int], float] = field(default_factory=dict)
    """(line, other line) -> share of the other flux line's voltage that is subtracted on this line; biases and pulses alike. The lines of
    couplers are numbered after those of the qubits."""
    discriminator: ComplexArray = field(default_factory=lambda: np.zeros((0, 3), np.complex128))
    """(qubits, 3): centres of the clouds of states 0, 1, 2 in the IQ plane; NaN for one not known. A shot belongs to the nearest centre."""
    threshold: FloatArray = field(default_factory=lambda: np.zeros(0))
    """(qubits,): shift of the boundary between 0 and 1, from the middle of their centres towards 1, in volts."""
    reset_amplitude: FloatArray = field(default_factory=lambda: np.zeros(0))
    reset_frequency_hz: FloatArray = field(default_factory=lambda: np.zeros(0))
    reset_duration_ns: float = 30.0
    """(qubits,): the pi pulse of active reset, a cosine."""
    reset_line: IntArray = field(default_factory=lambda: np.zeros(0, np.int64))
    """(qubits,): the drive line that it is played on: a qubit's own number, or another where cables are swapped."""
    readout_frequency_hz: FloatArray = field(default_factory=lambda: np.zeros(0))
    readout_amplitude: FloatArray = field(default_factory=lambda: np.zeros(0))
    readout_duration_ns: float = 1_000.0
    """(qubits,): the measurement of active reset."""


def idle(electronics: Electronics, terms: int = 3) -> Settings:
    """Settings of electronics just switched on: no bias, no corrections, local oscillators where the designer wants the qubits."""
    qubits, couplers = electronics.qubits, len(electronics.couplers)

    def nothing() -> FloatArray:
        return np.zeros(qubits)

    return Settings(
        flux_bias_v=nothing(),
        coupler_bias_v=np.zeros(couplers),
        oscillator_hz=electronics.design_qubit_hz.copy(),
        drive_offset=np.zeros(qubits, np.complex128),
        drive_imbalance=np.zeros(qubits, np.complex128),
        drive_delay_ns=nothing(),
        flux_delay_ns=nothing(),
        coupler_delay_ns=np.zeros(couplers),
        predistortion_amplitude=np.zeros((qubits, terms)),
        predistortion_time_ns=np.ones((qubits, terms)),
        discriminator=np.full((qubits, 3), np.nan, np.complex128),
        threshold=nothing(),
        reset_amplitude=nothing(),
        reset_frequency_hz=electronics.design_qubit_hz.copy(),
        reset_line=np.arange(qubits),
        readout_frequency_hz=electronics.design_resonator_hz.copy(),
        readout_amplitude=nothing(),
    )


def copied(settings: Settings) -> Settings:
    """Settings that may be changed without changing these; `copy.deepcopy` takes each of thousands of compensations apart."""
    new = copy(settings)
    for name, value in vars(settings).items():
        if isinstance(value, np.ndarray | dict):
            setattr(new, name, value.copy())
    return new


@dataclass(frozen=True, eq=False)
class Spectrum:
    """What a spectrum analyser finds at the mixers' outputs while a line plays a tone, in dBc of that tone; (lines,)."""

    leakage_dbc: FloatArray
    image_dbc: FloatArray


class Instrument(Protocol):
    """A chip with its electronics. All that the control system knows comes through here."""

    @property
    def electronics(self) -> Electronics: ...

    @property
    def now_s(self) -> float:
        """Laboratory time: it passes while programs run, and while the instrument rests."""

    def configure(self, settings: Settings) -> None:
        """Take new settings; InputError names what is out of bounds, and nothing is taken then."""

    def run(self, program: Program) -> Reading:
        """Play a program; InputError names what the lines cannot do."""

    def monitor(self, lines: NDArray[np.int64]) -> Spectrum:
        """Look at drive lines with the spectrum analyser while each plays a tone 50 MHz above its local oscillator at amplitude 0.5."""

    def rest(self, time_s: float) -> None:
        """Let laboratory time pass."""
