"""The Jiuzhang machines: data sheets, and machines built of the public data or drawn from the published summary figures.

Labels of figures: "published" was read in the source named, "second-hand" in a quotation of it, "computed" follows from public data or from
other figures, "recalled" was remembered and not read again, "assumed" is ours.
"""

from __future__ import annotations

import math
import tomllib
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

import numpy as np
from scipy.linalg import blas, cholesky
from scipy.optimize import brentq

from tiandi.computing.photonics.exact.clicks import click_moments
from tiandi.computing.photonics.gaussian import LARGEST_R, ComplexArray, DetectorKind, Detectors, FloatArray, Machine
from tiandi.computing.photonics.public_data import SETTINGS, read_calibration
from tiandi.errors import InputError
from tiandi.random import twin_generator

Label = Literal["published", "second-hand", "computed", "recalled", "assumed"]
LABELS: tuple[Label, ...] = ("published", "second-hand", "computed", "recalled", "assumed")
STRONGEST_SCALE = 4.0
TALL = 4
"""Rows over columns of a Gaussian matrix, above which its largest singular value is less than about three times its smallest."""
OF_ITS_SETTING = ("power_w", "most_clicks", "mean_photons", "mean_clicks_theory", "mean_clicks_experiment")
"""Figures that a sheet does not take from the one it is like."""


@dataclass(frozen=True, slots=True)
class Fact:
    """One figure of a data sheet, with what it is worth and where it stands."""

    value: float
    label: Label
    source: str


@dataclass(frozen=True)
class MachineSheet:
    """What is known of one setting of one machine."""

    id: str
    name: str
    year: int
    note: str
    detector: DetectorKind
    two_mode_sources: bool
    """Whether each source gives two-mode squeezed light, that is two inputs of opposite squeezing behind a splitter."""
    facts: dict[str, Fact]

    @property
    def has_public_data(self) -> bool:
        """Whether calibration and click statistics of this setting are in the public data set."""
        return self.id in SETTINGS

    def number(self, field: str) -> float | None:
        """The figure of ``field``, or None where nothing is known of it."""
        fact = self.facts.get(field)
        return None if fact is None else fact.value

    def need(self, field: str) -> float:
        """The figure of ``field``; raises InputError where the sheet has none."""
        if field not in self.facts:
            raise InputError("field of the data sheet", field, f"is not known of {self.name}")
        return self.facts[field].value


@cache
def load_machines() -> dict[str, MachineSheet]:
    """All data sheets by their id."""
    text = files("tiandi.computing.photonics").joinpath("data", "machines.toml").read_text(encoding="utf-8")
    return read_machines(text)


def read_machines(text: str) -> dict[str, MachineSheet]:
    """Data sheets of a TOML text. A sheet takes what it does not say from the one named by ``like``, which stands before it."""
    sheets: dict[str, MachineSheet] = {}
    for name, raw in tomllib.loads(text).items():
        like = raw.get("like")
        if like is not None and like not in sheets:
            raise InputError(f"{name}: like", like, "must be a machine that stands before")
        base: dict[str, Any] = {} if like is None else {**vars(sheets[like]), "facts": dict(sheets[like].facts)}
        taken = {field: fact for field, fact in base.get("facts", {}).items() if field not in OF_ITS_SETTING}
        facts = {**taken, **{field: _fact(name, field, fact) for field, fact in raw["facts"].items()}}
        fields = {field: raw.get(field, base.get(field)) for field in ("name", "year", "note", "detector", "two_mode_sources")}
        absent = [field for field, value in fields.items() if value is None]
        if absent:
            raise InputError(f"{name}: {absent[0]}", None, "must be given")
        sheets[name] = MachineSheet(id=name, facts=facts, **fields)
    return sheets


def find_machine(name: str) -> MachineSheet:
    """The data sheet of ``name``; raises InputError that names those that exist."""
    sheets = load_machines()
    if name not in sheets:
        raise InputError("machine", name, f"must be one of {', '.join(sheets)}")
    return sheets[name]


def build_machine(name: str, *, data: Path | None = None, seed: int = 1) -> Machine:
    """Machine ``name``: as calibrated, from the public data in the folder ``data``; without it a synthetic one, and named so.

    The public calibration is of ideal squeezed light with loss: all light interferes and no detector is dark-counting, as in the ideal
    states that the papers compare with. A synthetic machine has a Haar-random interferometer of the published number of modes with the
    published transmission, equal for all inputs, and squeezing drawn uniformly in the published range and then scaled by one factor so that
    the mean number of photons, or of clicks, is the published one where there is one. Raises InputError for a name that is not known, or
    where ``data`` has nothing of it.
    """
    sheet = find_machine(name)
    if data is not None and sheet.has_public_data:
        calibration = read_calibration(name, data)
        return Machine(sheet.name, calibration.squeezing_r, calibration.transfer @ pair_splitter(len(calibration.squeezing_r)))
    return _synthetic(sheet, seed)


def pair_splitter(inputs: int) -> FloatArray:
    """Matrix (inputs, inputs) of a 50:50 splitter on each pair of neighbouring inputs, which makes two-mode squeezed light of (-r, +r)."""
    return np.asarray(np.kron(np.eye(inputs // 2), np.array([[1.0, -1.0], [1.0, 1.0]]) / math.sqrt(2)), float)


def haar_columns(modes: int, columns: int, generator: np.random.Generator) -> ComplexArray:
    """The first columns (modes, columns) of a Haar-random unitary: QR of a Gaussian matrix with the phases of R taken out.

    Mezzadri, Notices of the AMS 54, 592 (2007), arXiv:math-ph/0609050. R with a positive diagonal is Cholesky's factor of the columns'
    products: of columns that are far from dependent, as tall Gaussian ones are, that is as precise and takes half the time.
    """
    gaussian = generator.standard_normal((modes, columns)) + 1j * generator.standard_normal((modes, columns))
    if modes >= TALL * columns:
        root = cholesky(blas.zherk(1.0, gaussian, trans=2), overwrite_a=True, check_finite=False)
        return np.ascontiguousarray(blas.ztrsm(1.0, root, gaussian, side=1, overwrite_b=True))
    unitary, upper = np.linalg.qr(gaussian)
    diagonal = upper.diagonal()
    return unitary * (diagonal / np.abs(diagonal))


def _synthetic(sheet: MachineSheet, seed: int) -> Machine:
    generator = twin_generator(seed, "photonics", "synthetic machine", sheet.id)
    sources, modes = int(sheet.need("sources")), int(sheet.need("modes"))
    drawn = generator.uniform(sheet.need("squeezing_r_min"), sheet.need("squeezing_r_max"), sources)
    squeezing_r = np.repeat(drawn, 2) * np.tile([-1.0, 1.0], sources) if sheet.two_mode_sources else drawn
    transfer = math.sqrt(sheet.need("transmission")) * haar_columns(modes, len(squeezing_r), generator)
    detectors = Detectors(sheet.detector, int(sheet.number("bins") or 1), sheet.number("dark_count_probability") or 0.0)
    machine = Machine(f"{sheet.name} (synthetic)", squeezing_r, transfer, detectors=detectors)
    return _scaled(machine, sheet)


def _scaled(machine: Machine, sheet: MachineSheet) -> Machine:
    """``machine`` with all squeezing parameters times one factor, so that its mean photons, else its mean clicks, are the sheet's."""
    photons, clicks = sheet.number("mean_photons"), sheet.number("mean_clicks_theory")
    if photons is None and clicks is None:
        return machine

    def excess(factor: float) -> float:
        tried = replace(machine, squeezing_r=factor * machine.squeezing_r)
        if photons is not None:
            return float((np.abs(tried.transfer) ** 2 @ np.sinh(tried.squeezing_r) ** 2).sum()) - photons
        assert clicks is not None
        return float(click_moments(tried, 1).sum()) - clicks

    strongest = min(STRONGEST_SCALE, LARGEST_R / float(np.abs(machine.squeezing_r).max()))
    factor = brentq(excess, 0.0, strongest, xtol=1e-9)
    return replace(machine, squeezing_r=factor * machine.squeezing_r)


def _fact(machine: str, field: str, raw: dict[str, Any]) -> Fact:
    fact = Fact(**raw)
    if fact.label not in LABELS:
        raise InputError(f"{machine}: label of {field}", fact.label, f"must be one of {', '.join(LABELS)}")
    if not fact.source:
        raise InputError(f"{machine}: source of {field}", fact.source, "must be given")
    if not math.isfinite(fact.value):
        raise InputError(f"{machine}: {field}", fact.value, "must be finite")
    return fact
