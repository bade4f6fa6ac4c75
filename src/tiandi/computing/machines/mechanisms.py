"""What else goes wrong on a machine than its gates' published errors say: a few numbers, each with where it comes from."""

from __future__ import annotations

from dataclasses import dataclass

from tiandi.computing.machines.sheets import DataSheet


@dataclass(frozen=True, slots=True)
class Mechanisms:
    """Parameters of the noise model beside the calibration; all are probabilities or shares."""

    crosstalk: float
    """Probability of a ZZ error on two neighbouring qubits while each takes part in another two-qubit gate."""
    leakage_share: float
    """Share of a two-qubit gate's error that is leakage."""
    readout_factor: float
    """Readout error in the experiment over the calibrated one."""
    slow_dephasing: bool
    """Whether what T2 has beyond T1 is slow noise, which dephases as exp(-(t/T)^2) and spares short times."""


def mechanisms_of(sheet: DataSheet) -> Mechanisms:
    """The mechanisms that a data sheet names; what it leaves out does not happen."""
    return Mechanisms(
        crosstalk=sheet.number("crosstalk") or 0.0,
        leakage_share=sheet.number("leakage_share") or 0.0,
        readout_factor=sheet.number("readout_factor") or 1.0,
        slow_dephasing=sheet.slow_dephasing,
    )
