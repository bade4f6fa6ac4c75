"""What the control system believes: values of parameters, how sure, when measured, and what was flagged."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tiandi.computing.instruments.instrument import Electronics, Settings
from tiandi.computing.instruments.program import FloatArray, IntArray

Element = Literal["qubit", "coupler"]


@dataclass(eq=False)
class Parameter:
    """One parameter of all qubits or all couplers; NaN where nothing is known. Arrays: (elements,)."""

    element: Element
    value: FloatArray
    uncertainty: FloatArray
    """One standard deviation."""
    measured_s: FloatArray
    """Laboratory time."""


@dataclass(frozen=True)
class Flag:
    """Something is wrong with an element for good: it is left out of what needs it."""

    element: Element
    index: int
    fault: str
    """As "dead", "drive line broken", "flux line broken", "drive cables swapped", "flux cables swapped", "collision", "no resonator"."""
    reason: str


@dataclass(eq=False)
class Knowledge:
    """The chip as far as it is known. Names of parameters carry their unit: "frequency_hz", "pi_amplitude", "t1_s"."""

    electronics: Electronics
    settings: Settings
    parameters: dict[str, Parameter] = field(default_factory=dict)
    flags: list[Flag] = field(default_factory=list)
    drive_line: IntArray = field(default_factory=lambda: np.zeros(0, np.int64))
    flux_line: IntArray = field(default_factory=lambda: np.zeros(0, np.int64))
    """(qubits,): the line that turned out to reach each qubit. A qubit is named by its readout channel."""

    def __post_init__(self) -> None:
        if not len(self.drive_line):
            self.drive_line, self.flux_line = np.arange(self.electronics.qubits), np.arange(self.electronics.qubits)

    def elements(self, element: Element) -> int:
        return self.electronics.qubits if element == "qubit" else len(self.electronics.couplers)

    def __getitem__(self, name: str) -> FloatArray:
        """(elements,): values of a parameter; KeyError for one that nobody has measured."""
        return self.parameters[name].value

    def learn(
        self,
        element: Element,
        name: str,
        targets: NDArray[np.int64],
        value: FloatArray,
        uncertainty: FloatArray | float,
        *,
        measured_s: float,
    ) -> None:
        """Take values for some elements; the others keep what they have."""
        if name not in self.parameters:
            size = self.elements(element)
            self.parameters[name] = Parameter(element, np.full(size, np.nan), np.full(size, np.nan), np.full(size, np.nan))
        known = self.parameters[name]
        known.value[targets] = value
        known.uncertainty[targets] = uncertainty
        known.measured_s[targets] = measured_s

    def flag(self, element: Element, index: int, fault: str, reason: str) -> None:
        """Note a fault, once."""
        if not self.flagged(element, index, fault):
            self.flags.append(Flag(element, index, fault, reason))

    def flagged(self, element: Element, index: int, fault: str | None = None) -> bool:
        return any(flag.element == element and flag.index == index and fault in (None, flag.fault) for flag in self.flags)

    def sound(self, element: Element) -> IntArray:
        """Elements without a flag; a coupler needs both its qubits sound."""
        good = np.ones(self.electronics.qubits, bool)
        good[[flag.index for flag in self.flags if flag.element == "qubit"]] = False
        if element == "coupler":
            first, second = self.electronics.couplers.T
            good = good[first] & good[second]
            good[[flag.index for flag in self.flags if flag.element == "coupler"]] = False
        return np.flatnonzero(good)
