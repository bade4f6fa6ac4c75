"""The hidden parameters of a chip: drawn once from a seed, never seen through the instrument.

Where the numbers come from: "published" and "recalled" as in machines/data/machines.toml for Zuchongzhi 2 (T1 of 30.6 us and T2* of 5.3 us,
recalled; EZQ 2.x sample rates of 0.5 GS/s drive and 1 GS/s flux, from an installed package, cqlib). All other centres and spreads are
assumed: usual for such chips, ours to choose. Frequencies in Hz, times in seconds or (of pulses) nanoseconds, voltages at the AWG.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tiandi.computing.chip.xiaohong import Layout
from tiandi.random import twin_generator

FloatArray = NDArray[np.float64]
ComplexArray = NDArray[np.complex128]
IntArray = NDArray[np.int64]

DESIGN_QUBIT_HZ = (5.05e9, 4.90e9)
"""Of the two colours of the checkerboard, at the upper sweet spot. Assumed."""
DESIGN_ANHARMONICITY_HZ = -240e6
"""Assumed, as in the data sheets."""
DESIGN_RESONATOR_HZ, RESONATOR_SPACING_HZ = 6.30e9, 60e6
DESIGN_VOLT, DESIGN_COUPLER_VOLT = 1.6, 1.6
DESIGN_COUPLING_HZ = -12e6
DESIGN_RABI_HZ = 60e6
DRIVE_RATE_HZ, FLUX_RATE_HZ = 0.5e9, 1.0e9
"""EZQ 2.x (from an installed package, cqlib)."""
DEFECTS = 6
FLUX_TERMS = 3


@dataclass(frozen=True, eq=False)
class Couplers:
    """Tunable couplers; (couplers,). Coupling after Yan et al. (2018), doi 10.1103/PhysRevApplied.10.054062, equation 2."""

    maximum_hz: FloatArray
    asymmetry: FloatArray
    anharmonicity_hz: FloatArray
    volt: FloatArray
    offset: FloatArray
    """Flux at no voltage, in flux quanta."""
    direct_hz: FloatArray
    first_hz: FloatArray
    second_hz: FloatArray
    """Coupling of the two qubits to each other, and of each of them to the coupler."""
    skew_ns: FloatArray


@dataclass(frozen=True, eq=False)
class Hidden:
    """What a chip is. All arrays (qubits,) unless said otherwise."""

    layout: Layout
    maximum_hz: FloatArray
    """f01 at the upper sweet spot."""
    asymmetry: FloatArray
    anharmonicity_hz: FloatArray
    volt: FloatArray
    offset: FloatArray
    t1_s: FloatArray
    """Without two-level systems."""
    white_dephasing_hz: FloatArray
    """Rate of pure dephasing at the sweet spot, as 1 / Tphi."""
    flux_noise: FloatArray
    """Standard deviation of the quasi-static part of the flux noise, in flux quanta."""
    slow_hz: FloatArray
    """Standard deviation of slow noise of the frequency that does not come by flux."""
    thermal: FloatArray
    """Population of state 1 in equilibrium."""
    defect_hz: FloatArray
    defect_coupling_hz: FloatArray
    defect_width_hz: FloatArray
    """(qubits, defects)."""
    resonator_hz: FloatArray
    """Bare."""
    resonator_coupling_hz: FloatArray
    linewidth_hz: FloatArray
    visibility: FloatArray
    """Share of the linewidth that goes to the feed line: the depth of the dip. 0 where there is no resonator."""
    photons: FloatArray
    """In the resonator at amplitude 1 on resonance."""
    gain: FloatArray
    """Volts at the digitiser at amplitude 1."""
    angle_rad: FloatArray
    cable_ns: FloatArray
    noise: FloatArray
    """Standard deviation of I and of Q of one shot of 1 us, in volts."""
    drive_row: IntArray
    drive_column: IntArray
    drive_value: ComplexArray
    """The drive matrix as a list: qubit, line, Rabi frequency at amplitude 1 in Hz with its phase; (entries,)."""
    flux_row: IntArray
    flux_column: IntArray
    flux_value: FloatArray
    """The flux matrix as a list: element, line, share of the line's voltage that acts as if on the element's own line; (entries,).
    Elements and lines of couplers are numbered after those of the qubits."""
    step_amplitude: FloatArray
    step_time_ns: FloatArray
    """(qubits, terms): the flux line's step response is 1 + sum of amplitude exp(-t / time)."""
    drive_skew_ns: FloatArray
    flux_skew_ns: FloatArray
    leakage: ComplexArray
    """Of the mixer at the local oscillator, in amplitude."""
    imbalance: ComplexArray
    """The mixer sends z + imbalance conj(z)."""
    couplers: Couplers

    @property
    def qubits(self) -> int:
        """How many."""
        return len(self.maximum_hz)


def design_qubit_hz(layout: Layout) -> FloatArray:
    """(qubits,)."""
    return np.where(layout.position.sum(axis=1) % 2 == 0, *DESIGN_QUBIT_HZ)


def draw(layout: Layout, seed: int) -> Hidden:
    """A chip without faults; the same seed gives the same chip."""
    generator = twin_generator(seed, "chip", "parameters")
    qubits = len(layout.position)

    def normal(mean: float, deviation: float, *shape: int) -> FloatArray:
        return mean + deviation * generator.standard_normal(shape or (qubits,))

    def log_normal(median: float, spread: float, *shape: int) -> FloatArray:
        return median * np.exp(spread * generator.standard_normal(shape or (qubits,)))

    maximum = design_qubit_hz(layout) + normal(0.0, 40e6)
    drive = _drive_matrix(layout, generator)
    flux = _flux_matrix(layout, generator)
    return Hidden(
        layout=layout,
        maximum_hz=maximum,
        asymmetry=np.clip(normal(0.25, 0.04), 0.05, 0.5),
        anharmonicity_hz=normal(DESIGN_ANHARMONICITY_HZ, 5e6),
        volt=normal(DESIGN_VOLT, 0.05),
        offset=np.clip(normal(0.0, 0.04), -0.12, 0.12),
        t1_s=np.clip(log_normal(30e-6, 0.18), 14e-6, 43e-6),
        white_dephasing_hz=1 / np.clip(log_normal(40e-6, 0.3), 12e-6, None),
        flux_noise=log_normal(8e-6, 0.2),
        slow_hz=log_normal(12e3, 0.25),
        thermal=np.clip(log_normal(0.008, 0.4), 0.001, 0.03),
        defect_hz=maximum[:, None] - generator.uniform(-60e6, 700e6, (qubits, DEFECTS)),
        defect_coupling_hz=log_normal(60e3, 0.5, qubits, DEFECTS),
        defect_width_hz=log_normal(1.5e6, 0.4, qubits, DEFECTS),
        resonator_hz=DESIGN_RESONATOR_HZ + RESONATOR_SPACING_HZ * layout.slot + normal(0.0, 2.5e6),
        resonator_coupling_hz=normal(90e6, 4e6),
        linewidth_hz=log_normal(1.4e6, 0.15),
        visibility=np.clip(normal(0.85, 0.04), 0.6, 0.97),
        photons=log_normal(50.0, 0.15),
        gain=log_normal(0.05, 0.1),
        angle_rad=generator.uniform(-np.pi, np.pi, qubits),
        cable_ns=normal(50.0, 1.0),
        noise=log_normal(3.5e-3, 0.08),
        drive_row=drive[0],
        drive_column=drive[1],
        drive_value=drive[2],
        flux_row=flux[0],
        flux_column=flux[1],
        flux_value=flux[2],
        step_amplitude=np.stack([normal(-0.02, 0.006), normal(-0.012, 0.004), normal(0.006, 0.003)], axis=1),
        step_time_ns=np.stack([log_normal(12.0, 0.2), log_normal(110.0, 0.2), log_normal(900.0, 0.2)], axis=1),
        drive_skew_ns=normal(0.0, 2.0),
        flux_skew_ns=normal(0.0, 2.0),
        leakage=np.asarray((normal(0.0, 1.0) + 1j * normal(0.0, 1.0)) * 6e-3, np.complex128),
        imbalance=np.asarray((normal(0.0, 1.0) + 1j * normal(0.0, 1.0)) * 0.02, np.complex128),
        couplers=_couplers(len(layout.couplers), generator),
    )


def _couplers(count: int, generator: np.random.Generator) -> Couplers:
    def normal(mean: float, deviation: float) -> FloatArray:
        return mean + deviation * generator.standard_normal(count)

    return Couplers(
        maximum_hz=normal(6.65e9, 50e6),
        asymmetry=np.clip(normal(0.1, 0.03), 0.02, 0.3),
        anharmonicity_hz=normal(-200e6, 8e6),
        volt=normal(DESIGN_COUPLER_VOLT, 0.06),
        offset=np.clip(normal(0.0, 0.03), -0.09, 0.09),
        direct_hz=normal(6.0e6, 0.25e6),
        first_hz=normal(88e6, 2.5e6),
        second_hz=normal(88e6, 2.5e6),
        skew_ns=normal(0.0, 2.0),
    )


def _neighbours(layout: Layout) -> tuple[IntArray, IntArray, FloatArray]:
    """Ordered pairs of qubits less than 2 sites apart, and how far."""
    place = {(int(row), int(column)): number for number, (row, column) in enumerate(layout.position)}
    steps = [(row, column) for row in (-1, 0, 1) for column in (-1, 0, 1) if (row, column) != (0, 0)]
    found = [
        (number, place[row + down, column + right], float(np.hypot(down, right)))
        for (row, column), number in place.items()
        for down, right in steps
        if (row + down, column + right) in place
    ]
    one, other, far = zip(*found, strict=True) if found else ((), (), ())
    return np.array(one, np.int64), np.array(other, np.int64), np.array(far)


def _drive_matrix(layout: Layout, generator: np.random.Generator) -> tuple[IntArray, IntArray, ComplexArray]:
    """A qubit's own line turns it at about the design's rate; a neighbour's reaches it 34 dB below, a diagonal one's 50 dB."""
    own = np.arange(len(layout.position))
    row, column, far = _neighbours(layout)
    rate = DESIGN_RABI_HZ * (1 + 0.1 * generator.standard_normal(len(own)))
    crossed = (
        rate[row]
        * np.where(far < 1.2, 0.02, 0.003)
        * np.exp(0.5 * generator.standard_normal(len(row)))
        * np.exp(2j * np.pi * generator.random(len(row)))
    )
    direct = rate * np.exp(2j * np.pi * generator.random(len(own)))
    return np.concatenate([own, row]), np.concatenate([own, column]), np.concatenate([direct, crossed])


def _flux_matrix(layout: Layout, generator: np.random.Generator) -> tuple[IntArray, IntArray, FloatArray]:
    """Neighbours' flux lines act with some per cent, diagonal ones with less; couplers' lines on their qubits, and the reverse, too."""
    qubits, couplers = len(layout.position), len(layout.couplers)
    own = np.arange(qubits + couplers)
    row, column, far = _neighbours(layout)
    near = np.where(far < 1.2, 0.015, 0.005) * generator.standard_normal(len(row))
    first, second = layout.couplers.T
    coupler = qubits + np.arange(couplers)
    rows = np.concatenate([own, row, first, second, coupler, coupler])
    columns = np.concatenate([own, column, coupler, coupler, first, second])
    mixed = 0.008 * generator.standard_normal(4 * couplers)
    return rows, columns, np.concatenate([np.ones(len(own)), near, mixed])
