"""Machines side by side, by yardsticks that do not agree: whoever chooses the yardstick chooses the winner."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from tiandi.computing.machines.factoring import ESTIMATES, factoring_cost, suppression_by_errors
from tiandi.computing.machines.lattice import NO_PATTERN
from tiandi.computing.machines.sheets import DataSheet, load_sheets
from tiandi.computing.machines.twin import Twin, build_twin
from tiandi.computing.machines.yardsticks import predicted_sampling, quantum_volume

SAMPLED_QUBITS, SAMPLED_CYCLES = 53, 20
"""One random circuit for all machines: the size of the first of these experiments."""
LATEST = ESTIMATES[-1]


@dataclass(frozen=True, slots=True)
class Yardstick:
    """``more`` says whether more is better."""

    key: str
    title: str
    more: bool
    explanation: str


YARDSTICKS = (
    Yardstick("qubits", "qubits", True, "as the maker counts them, couplers not among them"),
    Yardstick("two_qubit_error", "two-qubit error", False, "Pauli error; average infidelities converted"),
    Yardstick("readout_error", "readout error", False, "mean of both kinds"),
    Yardstick(
        "sampling",
        f"XEB {SAMPLED_QUBITS} x {SAMPLED_CYCLES}",
        True,
        f"the twins' prediction for random circuits of {SAMPLED_QUBITS} qubits, {SAMPLED_CYCLES} cycles, on lattices with their patterns",
    ),
    Yardstick("quantum_volume", "quantum volume", True, "a lower estimate from the twin's median errors, heavy outputs above 2/3"),
    Yardstick("suppression", "Lambda", True, "published fall of the logical error for each step of two in distance"),
    Yardstick(
        "factoring_qubits",
        "qubits for RSA-2048",
        False,
        f"by the machine's own errors, as if every lattice were square and every cycle 1 us, scaled from {LATEST.name} "
        f"({LATEST.qubits:,.0f} at 1e-3); hexagons need more qubits, atoms far more time",
    ),
    Yardstick("factoring_machines", "machines for RSA-2048", False, "those qubits over the machine's; none could be joined that way today"),
)


@dataclass(frozen=True, slots=True)
class Figure:
    """``value`` None: not known, or it has no such thing; infinite: not at any size. One that rests on an assumed error is "assumed"."""

    value: float | None
    label: str = ""


@dataclass(frozen=True)
class Row:
    """One machine: its figures and ranks (1 the best, equals alike) by yardstick key. What is assumed is shown but not ranked.

    ``by_published_suppression``: qubits for RSA-2048 by the Lambda that was measured instead, where one was.
    """

    sheet: DataSheet
    figures: dict[str, Figure]
    ranks: dict[str, int]
    published_xeb: str
    by_published_suppression: float | None


def compare(*, seed: int = 1, progress: Callable[[str, float], None] = lambda what, share: None) -> list[Row]:
    """All machines by all yardsticks, in the order of the catalogue. Twins are built with ``seed``."""
    sheets = load_sheets()
    figures: dict[str, dict[str, Figure]] = {}
    for number, (name, sheet) in enumerate(sheets.items()):
        progress(name, number / len(sheets))
        twin = None if sheet.no_twin else build_twin(name, seed=seed)
        figures[name] = {**_published(sheet), **_of_twin(twin), **_factoring(sheet)}
    ranks = {yardstick.key: _ranks(figures, yardstick) for yardstick in YARDSTICKS}
    return [
        Row(
            sheet,
            figures[name],
            {key: of[name] for key, of in ranks.items() if name in of},
            published_sampling(sheet),
            factoring_cost(sheet.need("suppression").number).qubits[LATEST.name] if "suppression" in sheet.facts else None,
        )
        for name, sheet in sheets.items()
    ]


def published_sampling(sheet: DataSheet) -> str:
    """The published cross-entropy fidelity with its size and label, or nothing."""
    xeb, qubits, cycles = (sheet.facts.get(field) for field in ("xeb", "qubits_used", "cycles_used"))
    if xeb is None or qubits is None or cycles is None:
        return ""
    return f"{xeb.number:.3g} at {qubits.number:.0f} x {cycles.number:.0f} ({xeb.label})"


def _published(sheet: DataSheet) -> dict[str, Figure]:
    found = {}
    for field in ("qubits", "readout_error", "suppression", "two_qubit_error"):
        fact = sheet.facts.get(field)
        found[field] = Figure(None) if fact is None else Figure(fact.number, fact.label)
    if sheet.two_qubit_pauli_error is not None:
        found["two_qubit_error"] = Figure(sheet.two_qubit_pauli_error, sheet.need("two_qubit_error").label)
    return found


def _label(sheet: DataSheet) -> str:
    """Of what is computed from a machine's errors: no better than they are."""
    labels = {sheet.facts[field].label for field in ("single_qubit_error", "two_qubit_error", "readout_error") if field in sheet.facts}
    return next((label for label in ("assumed", "recalled") if label in labels), "computed")


def _of_twin(twin: Twin | None) -> dict[str, Figure]:
    if twin is None:
        return {"sampling": Figure(None), "quantum_volume": Figure(None)}
    patterned = not (twin.lattice.pattern == NO_PATTERN).any()
    sampling = Figure(predicted_sampling(twin, SAMPLED_QUBITS, SAMPLED_CYCLES).twin, _label(twin.sheet)) if patterned else Figure(None)
    return {"sampling": sampling, "quantum_volume": Figure(float(quantum_volume(twin)), _label(twin.sheet))}


def _factoring(sheet: DataSheet) -> dict[str, Figure]:
    suppression = suppression_by_errors(sheet)
    if suppression is None:
        return {"factoring_qubits": Figure(None), "factoring_machines": Figure(None)}
    qubits = factoring_cost(suppression).qubits[LATEST.name]
    machines = qubits if math.isinf(qubits) else math.ceil(qubits / sheet.need("qubits").number)
    return {"factoring_qubits": Figure(qubits, _label(sheet)), "factoring_machines": Figure(machines, _label(sheet))}


def _ranks(figures: dict[str, dict[str, Figure]], yardstick: Yardstick) -> dict[str, int]:
    """1 for the best; a machine has as many before it as are better."""
    ranked = {name: own[yardstick.key].value for name, own in figures.items() if own[yardstick.key].label != "assumed"}
    known = {name: -value if yardstick.more else value for name, value in ranked.items() if value is not None}
    return {name: 1 + sum(other < value for other in known.values()) for name, value in known.items()}
