"""Data sheets of quantum computers: each figure with its label and its source, read from data/machines.toml.

Labels: "published" was read in the source named, "installed package" was read from a Python package that carries the maker's data,
"computed" follows from other figures by arithmetic, "recalled" was remembered and not read again, "assumed" is ours,
"fitted" was chosen so that the twin meets a published result.
"""

from __future__ import annotations

import math
import tomllib
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from typing import Any, Literal

from tiandi.errors import InputError

Label = Literal["published", "installed package", "computed", "recalled", "assumed", "fitted"]
LABELS: tuple[Label, ...] = ("published", "installed package", "computed", "recalled", "assumed", "fitted")
TWO_NAMES_OF_ERROR = ("pauli", "average")


@dataclass(frozen=True, slots=True)
class Fact:
    """One figure of a data sheet. ``spread``: standard deviation of its logarithm over the machine, assumed unless ``source`` says it.

    ``statistic`` says whether a figure of many qubits is their mean or their median.
    """

    value: float | str
    label: Label
    source: str
    statistic: Literal["mean", "median"] = "mean"
    spread: float = 0.0
    uncertainty: float = 0.0

    @property
    def number(self) -> float:
        """The figure, where it is a number."""
        return float(self.value)


@dataclass(frozen=True, slots=True)
class Layout:
    """How a machine's lattice is made: ``kind`` one of `layouts.KINDS`; ``absent``: qubits of it that are not there."""

    kind: str
    rows: int
    columns: int
    absent: tuple[int, ...]
    label: Label
    source: str


@dataclass(frozen=True)
class DataSheet:
    """What is known of one machine. ``error_kind``: whether its gate errors are Pauli errors or average infidelities."""

    id: str
    name: str
    maker: str
    kind: str
    year: int
    note: str
    native_gates: tuple[str, ...]
    error_kind: str
    slow_dephasing: bool
    """Whether T2 was taken without echo, so that most of it is slow noise that short times do not see."""
    layout: Layout | None
    no_twin: str
    """Why there can be no twin; empty where there is one."""
    facts: dict[str, Fact]

    def number(self, field: str) -> float | None:
        """The figure of ``field``, or None where nothing is known of it."""
        fact = self.facts.get(field)
        return None if fact is None else fact.number

    def need(self, field: str) -> Fact:
        """The fact ``field``; raises InputError where the sheet has none."""
        if field not in self.facts:
            raise InputError("field of the data sheet", field, f"is not known of {self.name}")
        return self.facts[field]

    @property
    def size(self) -> str:
        """Qubits and couplers in words; machines that are named after a sum of the two say so."""
        qubits, couplers = self.number("qubits"), self.number("couplers")
        words = f"{qubits:,.0f} qubits" + ("" if couplers is None else f" and {couplers:,.0f} couplers")
        named = self.number("named")
        return words if named is None else f"{words} (named {named:.0f}, their sum)"

    @property
    def pauli_errors(self) -> tuple[float, float] | None:
        """e1 and e2 as Pauli errors, or None. An average infidelity r of a gate on n qubits is a Pauli error of r (2^n + 1)/2^n."""
        single, two = self.number("single_qubit_error"), self.two_qubit_pauli_error
        if single is None or two is None:
            return None
        return (single * pauli_per_average(1) if self.error_kind == "average" else single), two

    @property
    def two_qubit_pauli_error(self) -> float | None:
        """e2 as a Pauli error, or None where it is not known."""
        two = self.number("two_qubit_error")
        return two if two is None or self.error_kind == "pauli" else two * pauli_per_average(2)


def pauli_per_average(qubits: int) -> float:
    """Pauli error of a depolarised gate over its average infidelity: (d + 1)/d (Nielsen 2002, doi:10.1016/S0375-9601(02)01272-0)."""
    dimension = 2**qubits
    return (dimension + 1) / dimension


@cache
def load_sheets() -> dict[str, DataSheet]:
    """All data sheets by their id."""
    text = files("tiandi.computing.machines").joinpath("data", "machines.toml").read_text(encoding="utf-8")
    return read_sheets(text)


def read_sheets(text: str) -> dict[str, DataSheet]:
    """Data sheets of a TOML text; raises InputError that names machine and field where one cannot stand."""
    sheets: dict[str, DataSheet] = {}
    for name, raw in tomllib.loads(text).items():
        like = raw.get("like")
        if like is not None and like not in sheets:
            raise InputError(f"{name}: like", like, "must be a machine that stands before")
        sheets[name] = _sheet(name, raw, None if like is None else sheets[like])
    return sheets


def find_sheet(name: str) -> DataSheet:
    """The data sheet of machine ``name``; raises InputError that names those that exist."""
    sheets = load_sheets()
    if name not in sheets:
        raise InputError("machine", name, f"must be one of {', '.join(sheets)}")
    return sheets[name]


def _sheet(name: str, raw: dict[str, Any], like: DataSheet | None) -> DataSheet:
    error_kind = raw.get("error_kind", like.error_kind if like else "pauli")
    if error_kind not in TWO_NAMES_OF_ERROR:
        raise InputError(f"{name}: error_kind", error_kind, f"must be one of {', '.join(TWO_NAMES_OF_ERROR)}")
    facts = {field: _fact(name, field, fact) for field, fact in raw["facts"].items()}
    if like is not None:
        taken = {
            field: replace(fact, label="assumed", source=f"as {like.name} ({fact.label}: {fact.source})")
            for field, fact in like.facts.items()
            if field in raw["taken"] and field not in facts
        }
        facts = {**facts, **taken}
    layout = raw.get("layout")
    return DataSheet(
        id=name,
        name=raw["name"],
        maker=raw["maker"],
        kind=raw["kind"],
        year=raw["year"],
        note=raw.get("note", ""),
        native_gates=tuple(raw.get("native_gates", like.native_gates if like else ())),
        error_kind=error_kind,
        slow_dephasing=raw.get("slow_dephasing", like.slow_dephasing if like else False),
        layout=None if layout is None else _layout(name, layout),
        no_twin=raw.get("no_twin", ""),
        facts=facts,
    )


def _fact(machine: str, field: str, raw: dict[str, Any]) -> Fact:
    fact = Fact(**raw)
    if fact.label not in LABELS:
        raise InputError(f"{machine}: label of {field}", fact.label, f"must be one of {', '.join(LABELS)}")
    if not fact.source:
        raise InputError(f"{machine}: source of {field}", fact.source, "must be given")
    if isinstance(fact.value, float | int) and not math.isfinite(fact.value):
        raise InputError(f"{machine}: {field}", fact.value, "must be finite")
    return fact


def _layout(machine: str, raw: dict[str, Any]) -> Layout:
    layout = Layout(**{**raw, "absent": tuple(raw.get("absent", ()))})
    if layout.label not in LABELS:
        raise InputError(f"{machine}: label of layout", layout.label, f"must be one of {', '.join(LABELS)}")
    return layout
