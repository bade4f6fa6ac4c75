"""What it would take to factor a 2048-bit RSA number, by published estimates and the scaling of the surface code.

Logical error of a patch of distance d in one cycle: 0.1 / Lambda^((d+1)/2), with Lambda = threshold over physical error, as Gidney and
Ekera assume: their 10^-(d/2+1), rounded, is this at an error of 1e-3 and a threshold of 1e-2 (arXiv:1905.09749, "Topological error").
The form is that of Fowler et al., PRA 86, 032324 (2012), doi:10.1103/PhysRevA.86.032324, and of equation 1 of Google Quantum AI,
Nature (2024), doi:10.1038/s41586-024-08449-y, with Lambda close to threshold over error.

Every estimate was made for errors of 1e-3, gates between neighbours on a square grid and cycles of 1 us. To reach the same logical error
at another Lambda, (d+1)/2 grows as ln 10/ln Lambda, the qubits as its square. What another lattice or a slower cycle costs is left out.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from tiandi.computing.machines.sheets import DataSheet, Label
from tiandi.errors import InputError
from tiandi.limits import require_within

THRESHOLD = 0.01
"""Physical error at which the surface code begins to help, as Gidney and Ekera take it (a factor of ten for 1e-3)."""
READOUT_ERRORS_PER_ERROR = 5.0
"""Readout error that weighs as much as a two-qubit error of one: the SI1000 model, arXiv:2108.10457 (label: recalled)."""
LOGICAL_TILES, TILE_SHARE, CYCLES = 226 * 63, 0.75, 25e9
"""Gidney and Ekera's board for 2048 bits, the share of it that keeps data, and how many cycles (arXiv:1905.09749, read)."""
FAILURE = 0.27
"""The failure of a run that they accept at distance 27 (read)."""
LARGEST_DISTANCE = 9999


@dataclass(frozen=True, slots=True)
class Estimate:
    """``qubits`` at an error of 1e-3 and what they would take."""

    name: str
    qubits: float
    time: str
    label: Label
    source: str


ESTIMATES = (
    Estimate("Fowler et al. 2012", 1e9, "about a day", "recalled", "doi:10.1103/PhysRevA.86.032324, as Gidney and Ekera tabulate it"),
    Estimate("Gidney and Ekerå 2019", 2e7, "8 hours", "published", "arXiv:1905.09749, title"),
    Estimate("Gidney 2025", 1e6, "less than a week", "published", "arXiv:2505.15917, abstract: less than a million"),
)


@dataclass(frozen=True, slots=True)
class FactoringCost:
    """What a machine's qubits would have to number: ``qubits`` by estimate name, infinite where its errors are above threshold."""

    suppression: float
    """Lambda: how much the logical error falls with each step of two in distance."""
    qubits: dict[str, float]
    distance: int | None
    """Code distance by Gidney and Ekera's formula; None above threshold."""


def logical_error(distance: int, suppression: float) -> float:
    """Probability of a logical error in one cycle of one patch."""
    return 0.1 * suppression ** (-(distance + 1) / 2)


def physical_qubits(distance: int) -> int:
    """Of Gidney and Ekera's whole board: 2 (d+1)^2 a tile."""
    return LOGICAL_TILES * 2 * (distance + 1) ** 2


def run_failure(distance: int, suppression: float) -> float:
    """Expected logical errors in one run of Gidney and Ekera's algorithm for 2048 bits."""
    return logical_error(distance, suppression) * LOGICAL_TILES * TILE_SHARE * CYCLES


def needed_distance(suppression: float) -> int:
    """The least odd distance with at most `FAILURE` expected errors a run; raises InputError at Lambda of 1 or less."""
    if suppression <= 1.0:
        raise InputError("suppression", suppression, "must be above 1: above threshold no size is enough")
    exact = 2 * math.log(0.1 * LOGICAL_TILES * TILE_SHARE * CYCLES / FAILURE) / math.log(suppression) - 1
    # A hair less, so that the published case is not lost to its own rounding of 26.7 to 27 %.
    return max(3, math.ceil((exact - 0.02 - 1) / 2) * 2 + 1)


def qubits_at(estimate: Estimate, suppression: float) -> float:
    """The estimate's qubits at another Lambda than the 10 it was made for; infinite at 1 or less."""
    require_within("suppression", suppression, 0.0, 1e6)
    return math.inf if suppression <= 1.0 else estimate.qubits * (math.log(10.0) / math.log(suppression)) ** 2


def factoring_cost(suppression: float) -> FactoringCost:
    """What factoring would take at a Lambda, by every estimate."""
    distance = needed_distance(suppression) if suppression > 1.0 else None
    return FactoringCost(suppression, {item.name: qubits_at(item, suppression) for item in ESTIMATES}, distance)


def suppression_by_errors(sheet: DataSheet) -> float | None:
    """The threshold over the larger of e2 and a fifth of the readout error (where known), or None without a gate error.

    One rule for all machines, and a kind one: where Lambda was measured it is less, since leakage, idling and crosstalk count, too.
    """
    two = sheet.two_qubit_pauli_error
    if two is None:
        return None
    return THRESHOLD / max(two, (sheet.number("readout_error") or 0.0) / READOUT_ERRORS_PER_ERROR)
