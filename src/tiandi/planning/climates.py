"""How often it is cloudy where, by month, and for how long: the table that comes with tiandi, the user's own, and records of the sky."""

from __future__ import annotations

import csv
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from importlib.resources import files
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from tiandi.clock import parse_utc
from tiandi.errors import InputError
from tiandi.limits import require_each_within, require_within

MONTHS = 12
PERSISTENCE_RANGE_H = (0.5, 240.0)
LABELS = ("published", "computed", "recalled", "assumed")
"""How well a row is known: read in its source; worked out from figures read there; from memory of the literature; a guess."""

CLIMATE_FILE_LIMIT_BYTE = 1_000_000
RECORD_FILE_LIMIT_BYTE = 256_000_000
RECORD_COLUMNS = ["time", "station", "cloudy"]


@dataclass(frozen=True)
class Climate:
    """Cloud of a place by month, January first. Raises InputError on figures that cannot be.

    ``cloud_fraction`` is the share of time in which clouds stand between the station and a satellite, by night where the source tells.
    ``persistence_h`` is the time [h] after which the autocorrelation of the cloudy-or-clear sky has fallen to 1/e. ``label`` and
    ``persistence_label`` say how well they are known (`LABELS`), ``source`` whence.
    """

    name: str
    cloud_fraction: tuple[float, ...]
    persistence_h: tuple[float, ...]
    source: str
    label: str
    persistence_label: str = "assumed"

    def __post_init__(self) -> None:
        for field_name, (low, high) in (("cloud_fraction", (0.0, 1.0)), ("persistence_h", PERSISTENCE_RANGE_H)):
            where, values = f"climates ({self.name}).{field_name}", getattr(self, field_name)
            if len(values) != MONTHS:
                raise InputError(where, values, f"must have {MONTHS} values, one a month")
            require_each_within(where, values, low, high)
        for field_name in ("label", "persistence_label"):
            if getattr(self, field_name) not in LABELS:
                raise InputError(f"climates ({self.name}).{field_name}", getattr(self, field_name), f"must be one of {', '.join(LABELS)}")
        if not self.source:
            raise InputError(f"climates ({self.name}).source", self.source, "must say where the figures come from")


class _ClimateEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    cloud_fraction: tuple[float, ...]
    persistence_h: float | tuple[float, ...]
    source: str
    label: str
    persistence_label: str = "assumed"


@dataclass(frozen=True)
class CloudRecord:
    """A record of the sky over stations: when [s since 1970, UTC], shape (n,), rising, and the share of the sky in cloud, shape (n,)."""

    time_s: Mapping[str, NDArray[np.float64]]
    cloud_fraction: Mapping[str, NDArray[np.float64]]

    @property
    def stations(self) -> tuple[str, ...]:
        """Names of the stations, in the order of their first line."""
        return tuple(self.time_s)


def load_climates() -> dict[str, Climate]:
    """The climates that come with tiandi, by name: of stations and cities, and classes for any other place.

    The classes are "arid", "highland", "mediterranean", "monsoon", "temperate" and "tropical". Each row says how well it is known.
    """
    return _climates(tomllib.loads(files("tiandi.planning").joinpath("data", "climates.toml").read_text(encoding="utf-8")))


def read_climates(path: Path) -> dict[str, Climate]:
    """Climates from a TOML file: a table for each, with the fields of `Climate`; ``persistence_h`` may be one for all months.

    Raises InputError naming the field that cannot stand.
    """
    try:
        raw = tomllib.loads(_bounded(path, "climates", CLIMATE_FILE_LIMIT_BYTE).read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InputError("climates", str(path), f"must be TOML in UTF-8: {error}") from None
    return _climates(raw)


def climate_named(name: str, climates: Mapping[str, Climate]) -> Climate:
    """The climate of that name. Raises InputError that offers the names most like it."""
    if name in climates:
        return climates[name]
    offered = get_close_matches(name, climates) or sorted(climates)
    raise InputError("climate", name, f"there is no such climate; try {', '.join(offered)}")


def read_cloud_record(path: Path) -> CloudRecord:
    """A record of the sky from CSV with the columns time (ISO 8601, UTC), station and cloudy (0 clear to 1 cloudy, or a fraction).

    Lines of a station stand in order of time. Raises InputError that names the line, the column and what it must be.
    """
    _bounded(path, "record", RECORD_FILE_LIMIT_BYTE)
    time_s: dict[str, list[float]] = {}
    cloud_fraction: dict[str, list[float]] = {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            for where, moment_s, station, fraction in _record_lines(path.name, csv.reader(file)):
                times = time_s.setdefault(station, [])
                if times and moment_s <= times[-1]:
                    raise InputError(f"{where}, time", moment_s, f"must be later than the line before of {station}")
                times.append(moment_s)
                cloud_fraction.setdefault(station, []).append(fraction)
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError("record", str(path), f"must be CSV in UTF-8: {error}") from None
    if not time_s:
        raise InputError("record", str(path), "must have at least one line below the heading")
    return CloudRecord(
        {station: np.array(values) for station, values in time_s.items()},
        {station: np.array(values) for station, values in cloud_fraction.items()},
    )


def _record_lines(file_name: str, lines: Iterator[list[str]]) -> Iterator[tuple[str, float, str, float]]:
    """Where each line is, its moment [s since 1970], station and cloud fraction."""
    heading = [column.strip() for column in next(lines, [])]
    if heading != RECORD_COLUMNS:
        raise InputError(f"{file_name}, line 1", ",".join(heading)[:100], f"must be {','.join(RECORD_COLUMNS)}")
    last_text, last_s = "", 0.0
    for number, line in enumerate(lines, start=2):
        where = f"{file_name}, line {number}"
        if not line:
            continue
        if len(line) != len(RECORD_COLUMNS):
            raise InputError(where, ",".join(line)[:100], f"must have {len(RECORD_COLUMNS)} values: {','.join(RECORD_COLUMNS)}")
        text, station, cloudy = (value.strip() for value in line)
        if text != last_text:  # Lines of many stations at one moment are common; a date is slow to read.
            last_text, last_s = text, parse_utc(text, f"{where}, time").timestamp()
        try:
            fraction = float(cloudy)
        except ValueError:
            raise InputError(f"{where}, cloudy", cloudy, "must be a number from 0 (clear) to 1 (cloudy)") from None
        require_within(f"{where}, cloudy", fraction, 0.0, 1.0)
        if not station:
            raise InputError(f"{where}, station", station, "must name a station")
        yield where, last_s, station, fraction


def record_fractions(record: CloudRecord, station: str, moments_s: NDArray[np.float64], hold_s: float) -> NDArray[np.float64]:
    """Cloud fraction of ``station`` at ``moments_s`` [s since 1970], shape (n,): of the line before, if within ``hold_s`` [s]; else nan."""
    known_s = record.time_s[station]
    before = np.searchsorted(known_s, moments_s, side="right") - 1
    known = (before >= 0) & (moments_s - known_s[np.maximum(before, 0)] < hold_s)
    return np.where(known, record.cloud_fraction[station][np.maximum(before, 0)], np.nan)


def _bounded(path: Path, field: str, limit_byte: int) -> Path:
    if not path.is_file():
        raise InputError(field, str(path), "must be an existing file")
    if path.stat().st_size > limit_byte:
        raise InputError(field, str(path), f"must be smaller than {limit_byte} bytes")
    return path


def _climates(raw: dict[str, Any]) -> dict[str, Climate]:
    climates = {}
    for name, table in raw.items():
        try:
            entry = msgspec.convert(table, _ClimateEntry)
        except msgspec.ValidationError as error:
            what, _, where = str(error).partition(" - at `$")
            raise InputError(f"climates ({name}){where.rstrip('`')}", str(table)[:100], what) from None
        persistence_h = entry.persistence_h if isinstance(entry.persistence_h, tuple) else (entry.persistence_h,) * MONTHS
        climates[name] = Climate(name, entry.cloud_fraction, persistence_h, entry.source, entry.label, entry.persistence_label)
    return climates
