"""Satellites with QKD aboard as data sheets: those that flew and those that are planned, each figure with how well it is known."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from importlib.resources import files
from typing import Any

from tiandi.clock import julian_date
from tiandi.errors import ElementsError, InputError
from tiandi.physics.constellation import designed_orbit
from tiandi.physics.detectors import Detector
from tiandi.physics.equipment import Receiver, Transmitter
from tiandi.physics.orbit import Elements

LABELS = ("published", "computed", "recalled", "assumed")
"""How well a figure is known, the best first."""
DETECTOR_FIELDS = {"detector_efficiency": "efficiency", "dark_count_rate_hz": "", "dead_time_s": "", "jitter_fwhm_s": ""}
"""Fields of a receiver's sheet that are its detectors', and their names there where they differ."""


@dataclass(frozen=True)
class Spacecraft:
    """Data sheet of a satellite. It sends light down (``transmitter``), or catches what stations send up (``receiver``); one is None.

    ``altitude_km`` and ``inclination_deg`` design a circular orbit; ``lines`` are archived two-line elements, where there are any. It keeps
    at most ``buffer_bit`` of key, points for at most ``contact_limit_s`` a day, and takes ``slew_s`` from one station to the next.
    ``labels`` and ``sources`` have an entry for every field: one of `LABELS`, and where the figure is from.
    """

    name: str
    title: str
    altitude_km: float
    inclination_deg: float
    wavelength_nm: float
    transmitter: Transmitter | None
    receiver: Receiver | None
    buffer_bit: float
    contact_limit_s: float
    slew_s: float
    sunlit_allowed: bool
    lines: tuple[tuple[str, str], ...]
    labels: dict[str, str]
    sources: dict[str, str]

    def elements(self, epoch: datetime, name: str = "", node_deg: float = 0.0, mean_anomaly_deg: float = 0.0) -> Elements:
        """Elements of a circular orbit of its altitude and inclination, for any date; ``name`` is its own where none is given."""
        return designed_orbit(
            name or self.name,
            epoch=epoch,
            altitude_km=self.altitude_km,
            inclination_deg=self.inclination_deg,
            node_deg=node_deg,
            mean_anomaly_deg=mean_anomaly_deg,
        )

    def archived_elements(self, moment: datetime, name: str = "") -> Elements:
        """The archived elements nearest to ``moment``. Raises ElementsError when there are none, or none of that time."""
        sets = [Elements(name or self.name, *lines) for lines in self.lines]
        if not sets:
            raise ElementsError(f"elements of {self.name}", None, "no two-line elements are archived; use elements(), a designed orbit")
        nearest = min(sets, key=lambda elements: abs(elements.epoch_julian_date - julian_date(moment)))
        nearest.require_age(moment)
        return nearest


@cache
def load_spacecraft() -> dict[str, Spacecraft]:
    """All data sheets by name: micius, jinan-1, microsatellite, eagle-1, qeyssat, dawn-meo and dawn-geo."""
    text = files("tiandi.physics").joinpath("data/satellites.toml").read_text(encoding="utf-8")
    return {name: _spacecraft(name, sheet) for name, sheet in tomllib.loads(text).items()}


def _spacecraft(name: str, sheet: Mapping[str, Any]) -> Spacecraft:
    parts = {part: facts for part, facts in sheet.items() if part not in ("title", "lines")}
    values = {part: {field: fact["value"] for field, fact in facts.items()} for part, facts in parts.items()}
    every = {field: fact for facts in parts.values() for field, fact in facts.items()}
    for field, fact in every.items():
        if fact["label"] not in LABELS:
            raise InputError(f"satellites ({name}).{field}.label", fact["label"], f"must be one of {', '.join(LABELS)}")
    return Spacecraft(
        name=name,
        title=sheet["title"],
        **values["orbit"],
        **values["light"],
        transmitter=_transmitter(values["transmitter"]) if "transmitter" in values else None,
        receiver=_receiver(values["receiver"]) if "receiver" in values else None,
        **values["operation"],
        lines=tuple((lines["line1"], lines["line2"]) for lines in sheet.get("lines", [])),
        labels={field: fact["label"] for field, fact in every.items()},
        sources={field: fact["source"] for field, fact in every.items()},
    )


def _transmitter(values: dict[str, Any]) -> Transmitter:
    means, probabilities = tuple(values["mean_photon_numbers"]), tuple(values["probabilities"])
    return Transmitter(**values | {"mean_photon_numbers": means, "probabilities": probabilities})


def _receiver(values: dict[str, Any]) -> Receiver:
    detector = Detector(**{known or field: values[field] for field, known in DETECTOR_FIELDS.items()})
    return Receiver(detector=detector, **{field: value for field, value in values.items() if field not in DETECTOR_FIELDS})
