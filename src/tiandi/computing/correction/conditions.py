"""How error correction ran on each machine: data/experiments.toml. Machines that are not there run as their data sheets say."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from tiandi.computing.machines.sheets import Fact

ASSUMED = {
    "reset_s": Fact(1e-7, "assumed", "usual for a reset by microwaves"),
    "reset_error": Fact(0.005, "assumed", "usual for a reset by microwaves"),
    "ancilla_removal": Fact(0.0, "assumed", "no removal of leakage is known"),
    "data_removal": Fact(0.0, "assumed", "no removal of leakage is known"),
    "stray": Fact(0.0, "assumed", "nothing is published to fit it to"),
    "rounds": Fact(15, "assumed", "long enough that the ends do not matter"),
}


@dataclass(frozen=True)
class Conditions:
    """``reset``: whether ancillas are reset after each readout. ``name``: the experiment, empty where none is known."""

    name: str
    reset: bool
    facts: dict[str, Fact]

    @property
    def distances(self) -> tuple[int, ...]:
        """Distances whose logical errors per cycle are published."""
        return tuple(sorted(int(field.removeprefix("error_of_")) for field in self.facts if field.startswith("error_of_")))

    def number(self, field: str) -> float | None:
        """The figure of ``field``, an assumed one where the experiment's is not known, or None."""
        fact = self.facts.get(field, ASSUMED.get(field))
        return None if fact is None else fact.number

    def need(self, field: str) -> float:
        """The figure of ``field``, which `ASSUMED` has at least."""
        return (self.facts[field] if field in self.facts else ASSUMED[field]).number


@cache
def load_conditions() -> dict[str, Conditions]:
    """All experiments by the id of their machine."""
    text = files("tiandi.computing.correction").joinpath("data", "experiments.toml").read_text(encoding="utf-8")
    return {
        machine: Conditions(raw["name"], raw["reset"], {field: Fact(**fact) for field, fact in raw["facts"].items()})
        for machine, raw in tomllib.loads(text).items()
    }


def conditions_of(machine: str) -> Conditions:
    """The experiment on ``machine``, or a cycle with assumed resets where none is known."""
    return load_conditions().get(machine, Conditions("", True, {}))
