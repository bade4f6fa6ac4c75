"""What is broken on a chip. The names are those that a control system gives to what it finds; how many there are is assumed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tiandi.computing.chip.parameters import Hidden, IntArray
from tiandi.random import twin_generator

PER_THOUSAND = {
    "dead": 6.0,
    "no resonator": 6.0,
    "drive line broken": 6.0,
    "flux line broken": 6.0,
    "drive cables swapped": 4.0,
    "flux cables swapped": 4.0,
    "collision": 6.0,
    "coupler broken": 4.0,
}
"""Events among a thousand qubits (of "coupler broken": couplers); at least one of each on a chip that has room."""
FAR_AWAY_HZ = 14e9


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong; ``partner``: the other qubit of swapped cables or of a collision, -1 without one.

    A collision is two neighbours whose upper sweet spots lie within 2 MHz: flux can part them, so that no qubit is lost.
    """

    element: Literal["qubit", "coupler"]
    index: int
    fault: str
    partner: int = -1


def with_faults(hidden: Hidden, seed: int) -> tuple[Hidden, tuple[Fault, ...]]:
    """The chip with faults drawn from ``seed``, no qubit in two of them; faults of two qubits stand in the list once for each."""
    generator = twin_generator(seed, "chip", "faults")
    couplers = hidden.layout.couplers
    free = np.ones(hidden.qubits, bool)
    faults: list[Fault] = []
    for name, share in PER_THOUSAND.items():
        if name == "coupler broken":
            sound = np.flatnonzero(free[couplers].all(axis=1))
            count = min(len(sound), max(1, round(share * len(couplers) / 1000)))
            faults += [Fault("coupler", int(index), name) for index in generator.choice(sound, count, replace=False)]
            continue
        for _ in range(max(1, round(share * hidden.qubits / 1000))):
            if name in ("drive cables swapped", "flux cables swapped", "collision"):
                pairs = couplers[free[couplers].all(axis=1)]
                if not len(pairs):
                    break
                one, other = (int(qubit) for qubit in pairs[generator.integers(len(pairs))])
                faults += [Fault("qubit", one, name, other), Fault("qubit", other, name, one)]
                free[[one, other]] = False
            elif free.any():
                index = int(generator.choice(np.flatnonzero(free)))
                faults.append(Fault("qubit", index, name))
                free[index] = False
    return _broken(hidden, tuple(faults), generator), tuple(faults)


def _broken(hidden: Hidden, faults: tuple[Fault, ...], generator: np.random.Generator) -> Hidden:
    maximum, coupling = hidden.maximum_hz.copy(), hidden.resonator_coupling_hz.copy()
    visibility, drive, flux = hidden.visibility.copy(), hidden.drive_value.copy(), hidden.flux_value.copy()
    drive_column, flux_column = hidden.drive_column.copy(), hidden.flux_column.copy()
    for fault in faults:
        index, partner = fault.index, fault.partner
        if fault.fault == "dead":
            maximum[index], coupling[index] = FAR_AWAY_HZ, 0.0
            drive[hidden.drive_row == index] = 0.0
        elif fault.fault == "no resonator":
            visibility[index] = 0.0
        elif fault.fault == "drive line broken":
            drive[hidden.drive_column == index] = 0.0
        elif fault.fault == "flux line broken":
            flux[hidden.flux_column == index] = 0.0
        elif fault.fault == "coupler broken":
            flux[hidden.flux_column == hidden.qubits + index] = 0.0
        elif fault.fault == "drive cables swapped" and index < partner:
            drive_column = _swapped(drive_column, index, partner)
        elif fault.fault == "flux cables swapped" and index < partner:
            flux_column = _swapped(flux_column, index, partner)
        elif fault.fault == "collision" and index < partner:
            maximum[partner] = maximum[index] + generator.uniform(-2e6, 2e6)
    return replace(
        hidden,
        maximum_hz=maximum,
        resonator_coupling_hz=coupling,
        visibility=visibility,
        drive_value=drive,
        flux_value=flux,
        drive_column=drive_column,
        flux_column=flux_column,
    )


def _swapped(column: IntArray, one: int, other: int) -> NDArray[np.int64]:
    return np.where(column == one, other, np.where(column == other, one, column))
