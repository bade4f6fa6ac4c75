"""How a chip drifts: slow random functions of laboratory time, the same whichever way that time was spent.

A function is a sum of cosines with seeded phases, their periods spread evenly in logarithm from five minutes to two days, each of equal
power: noise with a 1/f spectrum in that band (Rice's random phases; the band and all deviations are assumed). Two-level systems move in
frequency the same way and jump between two places besides, as seen by Klimov et al., PRL 121, 090502 (2018),
doi 10.1103/PhysRevLett.121.090502; how far and how often is assumed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tiandi.computing.chip.parameters import DEFECTS, FloatArray
from tiandi.random import twin_generator

PERIODS_S = np.geomspace(300.0, 172_800.0, 8)
FLUX_DEVIATION = 0.8e-6
"""Of the offset flux, in flux quanta."""
FREQUENCY_DEVIATION_HZ = 400.0
DRIVE_DEVIATION = 2e-4
"""Of the logarithm of the drive's strength."""
ANGLE_DEVIATION_RAD = 0.01
DEFECT_DEVIATION_HZ = 3e6
DEFECT_JUMP_HZ = 12e6


@dataclass(frozen=True, eq=False)
class Wander:
    """``count`` independent random functions of time, of mean 0 and variance 1; ``angle`` and ``turn`` (count, periods)."""

    angle: FloatArray
    turn: FloatArray

    def at(self, time_s: float) -> FloatArray:
        """(count,)."""
        return np.sqrt(2 / len(PERIODS_S)) * np.cos(self.angle + self.turn * time_s).sum(axis=1)


def wander(count: int, seed: int, name: str) -> Wander:
    """Random functions of this name; periods are scattered by a fifth, so that nothing repeats."""
    generator = twin_generator(seed, "chip", "drift", name)
    periods = PERIODS_S * np.exp(0.2 * generator.standard_normal((count, len(PERIODS_S))))
    return Wander(generator.uniform(0, 2 * np.pi, periods.shape), 2 * np.pi / periods)


@dataclass(frozen=True, eq=False)
class Drifted:
    """What drift adds at one moment; (qubits,), of the defects (qubits, defects), of the couplers (couplers,)."""

    flux: FloatArray
    coupler_flux: FloatArray
    frequency_hz: FloatArray
    log_drive: FloatArray
    angle_rad: FloatArray
    defect_hz: FloatArray


class Drift:
    """All drifts of one chip."""

    def __init__(self, qubits: int, couplers: int, seed: int) -> None:
        self._qubits = qubits
        self._flux = wander(qubits + couplers, seed, "flux")
        self._frequency = wander(qubits, seed, "frequency")
        self._drive = wander(qubits, seed, "drive")
        self._angle = wander(qubits, seed, "angle")
        self._defects = wander(qubits * DEFECTS, seed, "defects")
        self._jumps = wander(qubits * DEFECTS, seed, "jumps")

    def at(self, time_s: float) -> Drifted:
        """What they add at ``time_s`` [s] of laboratory time."""
        flux = FLUX_DEVIATION * self._flux.at(time_s)
        jumped = np.where(self._jumps.at(time_s) > 0.7, DEFECT_JUMP_HZ, 0.0)
        return Drifted(
            flux=flux[: self._qubits],
            coupler_flux=flux[self._qubits :],
            frequency_hz=FREQUENCY_DEVIATION_HZ * self._frequency.at(time_s),
            log_drive=DRIVE_DEVIATION * self._drive.at(time_s),
            angle_rad=ANGLE_DEVIATION_RAD * self._angle.at(time_s),
            defect_hz=(DEFECT_DEVIATION_HZ * self._defects.at(time_s) + jumped).reshape(self._qubits, DEFECTS),
        )
