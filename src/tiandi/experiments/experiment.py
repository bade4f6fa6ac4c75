"""What an experiment is: published parameters and figures in a data file, and one function that computes ours from the parameters.

The data file (TOML, beside this module in ``data/``) says what was published and how well it is known; the function sees
nothing but parameters. A parameter that the publication leaves open is free: it has a range, and every figure of ours is computed over the
ends of all ranges as well, so that the table shows how much the freedom matters. No optimiser fits a parameter to a figure.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from importlib.resources import files
from itertools import product
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from tiandi.errors import InputError
from tiandi.physics.orbit import Elements, Station

Label = Literal["published", "recalled", "computed", "assumed"]
"""Published: read in the source. Recalled: known to the field, not re-read here. Computed: worked out from other figures. Assumed: ours."""

Array = NDArray[np.float64]
Verdict = Literal["pass", "check", "fail", "not reproducible"]
"""A check holds, but beside nothing that was measured: a figure computed from others, or a limit to one side."""

Parameters = Mapping[str, float]
Figures = Mapping[str, float]


class Entry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of everything in a data file: no field may be misspelt."""


class Parameter(Entry, frozen=True, kw_only=True):
    """A parameter of the experiment; one with ``low`` and ``high`` is free within them, and ``why`` says what the publication allows."""

    value: float
    label: Label
    low: float | None = None
    high: float | None = None
    why: str = ""

    @property
    def ends(self) -> tuple[float, ...]:
        """Both ends of the range that the publication leaves open; none where it leaves nothing open."""
        return () if self.low is None or self.high is None else (self.low, self.high)


class Published(Entry, frozen=True, kw_only=True):
    """A published figure and how close ours must come: within ``low`` and ``high``, or not at all where ``not_reproducible`` says why."""

    what: str
    unit: str
    value: float
    label: Label
    low: float | None = None
    high: float | None = None
    why: str = ""
    not_reproducible: str = ""


class Digitised(Entry, frozen=True, kw_only=True):
    """Points read off a published figure or table."""

    x: list[float]
    y: list[float]
    label: Label


class ElementsEntry(Entry, frozen=True, kw_only=True):
    """Two-line elements of the satellite at the time of the experiment."""

    line1: str
    line2: str
    source: str


class StationEntry(Entry, frozen=True, kw_only=True):
    """Where a ground station stands."""

    latitude_deg: float
    longitude_deg: float
    altitude_m: float
    source: str


class DataFile(Entry, frozen=True, kw_only=True):
    """Everything known about one experiment from outside."""

    title: str
    source: str
    model: str
    parameters: dict[str, Parameter] = {}
    published: dict[str, Published]
    digitised: dict[str, Digitised] = {}
    elements: dict[str, ElementsEntry] = {}
    stations: dict[str, StationEntry] = {}

    def satellite(self, name: str) -> Elements:
        """The elements called ``name``."""
        return Elements(name, self.elements[name].line1, self.elements[name].line2)

    def station(self, name: str) -> Station:
        """The ground station called ``name``."""
        entry = self.stations[name]
        return Station(name, entry.latitude_deg, entry.longitude_deg, entry.altitude_m)


@dataclass(frozen=True)
class Curve:
    """A line of a plot, or points where ``points`` is set."""

    label: str
    x: Sequence[float] | NDArray[np.float64]
    y: Sequence[float] | NDArray[np.float64]
    points: bool = False


@dataclass(frozen=True)
class Plot:
    """Ours beside the published data; ``marks`` are places on the x axis, ``ticks`` names for 0, 1, ... on it."""

    title: str
    x_label: str
    y_label: str
    curves: Sequence[Curve]
    logarithmic: bool = False
    marks: Sequence[float] = ()
    ticks: Sequence[str] = ()


@dataclass(frozen=True)
class Row:
    """One line of the table: a published figure beside ours; ``spread`` is ours over the ranges of the free parameters."""

    experiment: str
    key: str
    what: str
    unit: str
    published: float
    label: Label
    ours: float | None
    spread: tuple[float, float] | None
    low: float | None
    high: float | None
    why: str
    verdict: Verdict


@dataclass(frozen=True)
class Experiment:
    """A published experiment. ``compute`` turns parameters into our figures, under the names the data file publishes them."""

    name: str
    compute: Callable[[Parameters, DataFile], Figures]
    draw: Callable[[Parameters, DataFile], Sequence[Plot]] = field(default=lambda _parameters, _data: ())

    @cached_property
    def data(self) -> DataFile:
        """The data file of this experiment."""
        text = files("tiandi.experiments").joinpath("data", f"{self.name}.toml").read_bytes()
        return msgspec.toml.decode(text, type=DataFile)

    @property
    def parameters(self) -> dict[str, float]:
        """Every parameter at its stated value."""
        return {name: parameter.value for name, parameter in self.data.parameters.items()}

    def plots(self) -> Sequence[Plot]:
        """Our curves beside the digitised data, at the stated parameters."""
        return self.draw(self.parameters, self.data)

    def corners(self) -> list[dict[str, float]]:
        """The parameters at every combination of the ends of the free ones; none when nothing is free."""
        free = {name: entry.ends for name, entry in self.data.parameters.items() if entry.ends}
        if not free:
            return []
        return [self.parameters | dict(zip(free, ends, strict=True)) for ends in product(*free.values())]

    def rows(self) -> list[Row]:
        """The table of this experiment."""
        stated, *spread = (
            {key: float(value) for key, value in self.compute(at, self.data).items()} for at in (self.parameters, *self.corners())
        )
        return [self._row(key, stated, spread) for key in self.data.published]

    def _row(self, key: str, stated: Figures, spread: Sequence[Figures]) -> Row:
        published = self.data.published[key]
        ours = stated.get(key)
        all_of_ours = [figures[key] for figures in (stated, *spread) if key in figures]
        if published.not_reproducible:
            verdict: Verdict = "not reproducible"
        elif ours is None or published.low is None or published.high is None:
            raise InputError(f"{self.name}.{key}", ours, "a figure needs a value of ours, a low and a high, or not_reproducible")
        else:
            measured = published.label in ("published", "recalled") and np.isfinite(published.high)
            verdict = ("pass" if measured else "check") if published.low <= ours <= published.high else "fail"
        return Row(
            experiment=self.name,
            key=key,
            what=published.what,
            unit=published.unit,
            published=published.value,
            label=published.label,
            ours=ours,
            spread=(min(all_of_ours), max(all_of_ours)) if spread and all_of_ours else None,
            low=published.low,
            high=published.high,
            why=published.why or published.not_reproducible,
            verdict=verdict,
        )
