"""Parameters of a study by name, such as stations.Xinglong.receiver.aperture_m, and what a study depends on as one hash."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import fields, is_dataclass, replace
from datetime import datetime
from importlib.metadata import version
from typing import Any

import numpy as np

from tiandi.errors import InputError
from tiandi.planning.inputs import StudyInputs

Value = bool | int | float | str

COUNTED = ("satellites", "stations")
TABLES = ("satellites", "stations", "demands", "links", "nodes")
SYNTAX = "write TABLE.NAME.FIELD, with TABLE one of satellites, stations, demands, links, nodes, and * for all names; or satellites.count"


def with_parameter(inputs: StudyInputs, parameter: str, value: Value) -> StudyInputs:
    """``inputs`` with one parameter at another value.

    A parameter is named as stations.Xinglong.receiver.aperture_m, links.*.rate_bps, prices.satellite or epsilon_secrecy; satellites.count
    and stations.count keep the first of them. Names may hold dots. Raises InputError on one that there is not, or a value it cannot have.
    """
    table, _, rest = parameter.partition(".")
    if table in COUNTED and rest == "count":
        return _first(inputs, parameter, table, value)
    if table not in TABLES:
        changed = _with_field(inputs, parameter, parameter.split("."), value)
        assert isinstance(changed, StudyInputs)
        return changed
    items = _table(inputs, table)
    fitting = [item for item in items if rest.startswith(("*.", f"{item.name}."))]
    if not fitting:
        known = ", ".join(item.name for item in items[:8]) or "none"
        raise InputError("vary", parameter, f"there is no such name among the {table} ({known}); {SYNTAX}")
    changed_items: dict[str, Any] = {}
    for item in fitting:
        path = rest.removeprefix("*." if rest.startswith("*.") else f"{item.name}.").split(".")
        changed_items[item.name] = _with_field(item, parameter, path, value)
    if table in ("links", "nodes"):
        return replace(inputs, topology=inputs.topology.with_changes(put=changed_items.values()))
    whole: dict[str, Any] = {table: tuple(changed_items.get(item.name, item) for item in items)}
    return replace(inputs, **whole)


def has_whole_values(inputs: StudyInputs, parameter: str) -> bool:
    """Whether a parameter is a number without fractions. Raises InputError on one that there is not."""
    try:
        with_parameter(inputs, parameter, 1.5)
    except InputError as error:
        if "whole number" in error.limit:
            return True
        if error.field == "vary":
            raise
    return False


def inputs_hash(inputs: StudyInputs, start: datetime, end: datetime) -> str:
    """SHA-256, in hexadecimal digits, of everything that a study's figures depend on besides its seed, this version of tiandi included."""
    return hash_of(["tiandi", version("tiandi"), start.isoformat(), end.isoformat(), inputs])


def hash_of(content: object) -> str:
    """SHA-256 of plain data, dataclasses and arrays among it, in hexadecimal digits; the same in every process."""
    return hashlib.sha256(json.dumps(_plain(content), separators=(",", ":")).encode()).hexdigest()


def _table(inputs: StudyInputs, table: str) -> list[Any]:
    return list(getattr(inputs.topology, table).values()) if table in ("links", "nodes") else list(getattr(inputs, table))


def _first(inputs: StudyInputs, parameter: str, table: str, value: Value) -> StudyInputs:
    """The study with only the first satellites or stations."""
    items = _table(inputs, table)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= len(items):
        raise InputError(parameter, value, f"must be a whole number from 0 to {len(items)}, as many as the scenario has")
    kept: dict[str, Any] = {table: tuple(items[:value])}
    return replace(inputs, topology=inputs.topology.with_changes(remove=[item.name for item in items[value:]]), **kept)


def _with_field(item: object, parameter: str, path: list[str], value: Value) -> object:
    name, *rest = path
    known = [field.name for field in fields(item)] if is_dataclass(item) and not isinstance(item, type) else []
    if name not in known:
        choice = f"there is no field {name}; known here: {', '.join(known)}" if known else f"there is nothing in it called {name}"
        raise InputError("vary", parameter, choice)
    before = getattr(item, name)
    if rest:
        after: object = _with_field(before, parameter, rest, value)
    else:
        after = _fitting(parameter, before, value)
    try:
        return replace(item, **{name: after})  # type: ignore[type-var]
    except TypeError:
        raise InputError("vary", parameter, "is not a field that can be varied") from None


def _fitting(parameter: str, before: object, value: Value) -> Value:
    """``value`` as the kind of thing that stands there. Raises InputError."""
    if isinstance(before, bool):
        if isinstance(value, bool):
            return value
        raise InputError(parameter, value, "must be true or false")
    if isinstance(before, int):
        if isinstance(value, int) and not isinstance(value, bool):
            return value
        raise InputError(parameter, value, "must be a whole number")
    if isinstance(before, float) or before is None:
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
            return float(value)
        raise InputError(parameter, value, "must be a finite number")
    if isinstance(before, str):
        return str(value)
    raise InputError("vary", parameter, "is no single number, word or choice: name a field in it")


def _plain(value: object) -> object:
    """What a value is made of, as lists and words that are the same in every process."""
    if is_dataclass(value) and not isinstance(value, type):
        return [type(value).__name__, *([field.name, _plain(getattr(value, field.name))] for field in fields(value) if field.compare)]
    if isinstance(value, dict):
        return [[_plain(key), _plain(entry)] for key, entry in value.items()]
    if isinstance(value, np.generic | np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    return value.hex() if isinstance(value, float) else value if value is None or isinstance(value, bool | int) else str(value)
