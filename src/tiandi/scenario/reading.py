"""Scenario files read: TOML of bounded size into the structures of the schema, with one clear error for whatever does not fit."""

from __future__ import annotations

import tomllib
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import msgspec
from msgspec import inspect

from tiandi.errors import ScenarioError
from tiandi.scenario import schema

FILE_LIMIT_BYTE = 10_000_000
UNKNOWN_FIELD = "Object contains unknown field"


def read_text(path: Path, field: str) -> str:
    """The text of a file. Raises ScenarioError naming ``field`` when it is too large, before it is read, or not text in UTF-8."""
    try:
        if not path.is_file():
            raise ScenarioError(field, str(path), "must be an existing file")
        if path.stat().st_size > FILE_LIMIT_BYTE:
            raise ScenarioError(field, str(path), f"must be smaller than {FILE_LIMIT_BYTE} bytes")
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ScenarioError(field, str(path), f"must be text in UTF-8: {error}") from None
    except (OSError, ValueError) as error:
        raise ScenarioError(field, str(path), f"cannot be read: {error}") from None


def read_file(path: Path) -> schema.ScenarioFile:
    """The scenario file at ``path``. Raises ScenarioError naming the field, its value and what it must be."""
    try:
        raw = tomllib.loads(read_text(path, "scenario"))
    except tomllib.TOMLDecodeError as error:
        raise ScenarioError("scenario", str(path), f"must be TOML in UTF-8: {error}") from None
    except RecursionError:
        raise ScenarioError("scenario", str(path), "is nested too deeply") from None
    try:
        return msgspec.convert(raw, schema.ScenarioFile)
    except msgspec.ValidationError as error:
        what, _, where = str(error).partition(" - at `$")
        field = where.strip("`.[]")
        if what.startswith(UNKNOWN_FIELD):
            what += _nearest(what.split("`")[1], _fields_at(field))
        raise ScenarioError(field or "scenario", _value_at(raw, field) if field else str(path), what) from None


def _parts(field: str) -> list[str]:
    return [part for part in field.replace("[", ".").replace("]", "").split(".") if part]


def _value_at(raw: Any, field: str) -> Any:
    """The value a field path like ``topology.fibres[3].length_km`` names; None for a whole table, which is too much to show."""
    try:
        for part in _parts(field):
            raw = raw[int(part)] if isinstance(raw, list) else raw[part]
    except (KeyError, IndexError, ValueError, TypeError):
        return None
    return raw.get("name") if isinstance(raw, dict) else raw


def _fields_at(field: str) -> list[str]:
    """The fields that a table at this path may have."""
    kind: inspect.Type | None = inspect.type_info(schema.ScenarioFile)
    for part in _parts(field):
        if isinstance(kind, inspect.StructType):
            kind = next((item.type for item in kind.fields if item.encode_name == part), None)
        elif isinstance(kind, inspect.ListType):
            kind = kind.item_type
        elif isinstance(kind, inspect.DictType):
            kind = kind.value_type
        if isinstance(kind, inspect.UnionType):
            kind = next((item for item in kind.types if isinstance(item, inspect.StructType)), None)
    return [item.encode_name for item in kind.fields] if isinstance(kind, inspect.StructType) else []


def _nearest(unknown: str, fields: list[str]) -> str:
    """The field that was meant: one of the same quantity in the unit that is known here, or one spelt much alike."""
    quantity = unknown.rpartition("_")[0]
    meant = [name for name in fields if quantity and name.rpartition("_")[0] == quantity] or get_close_matches(unknown, fields, 1)
    return f"; the field is `{meant[0]}`" if meant else f"; fields are {', '.join(fields)}" if fields else ""
