"""The rows of a sweep in Parquet: each run is a file of its own, put in place whole, so that nothing that is written is ever lost or torn.

A sweep to a folder leaves its runs there, which any reader of Parquet takes as one table. A sweep to a file keeps them in a hidden folder
beside it, and makes them one file in the end.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from tiandi.errors import InputError

Row = dict[str, Any]
KEY = b"tiandi-sweep"
FORMAT = 1


class SweepStore:
    """Rows of a sweep over ``parameters`` in the file (ending in .parquet) or folder ``place``.

    Raises InputError when it cannot be written, is not Parquet, or belongs to a sweep over other parameters; and without PyArrow.
    """

    def __init__(self, place: Path, parameters: Sequence[str]) -> None:
        self._arrow, self._parquet = _arrow(place)
        self._place, self._parameters = place, list(parameters)
        self._is_file = place.suffix == ".parquet"
        self._folder = place.with_name(f".{place.name}.runs") if self._is_file else place
        if (self._is_file and place.is_dir()) or (not self._is_file and place.exists() and not place.is_dir()):
            raise InputError("to", str(place), "must be a file that ends in .parquet, or a folder")
        if not place.absolute().parent.is_dir():
            raise InputError("to", str(place), "its folder must exist")
        self._rows = self._read()
        try:
            self._folder.mkdir(exist_ok=True)
            for torn in self._folder.glob(".*.partial"):
                torn.unlink()
        except OSError as error:
            raise InputError("to", str(place), f"cannot be written: {error.strerror}") from None

    @property
    def rows(self) -> Mapping[tuple[str, int], Row]:
        """Every row by the hash of its inputs and its seed."""
        return self._rows

    def add(self, row: Row) -> None:
        """Write one row; when this returns it is on disk. Raises InputError when it cannot be written."""
        key = row["inputs_hash"], int(row["seed"])
        self._write(self._folder / f"run-{key[0][:32]}-{key[1]}.parquet", [row])
        self._rows[key] = row

    def finish(self) -> None:
        """Make a sweep to a file that file. Raises InputError when it cannot be written."""
        if self._is_file:
            self._write(self._place, sorted(self._rows.values(), key=lambda row: (*map(repr, map(row.get, self._parameters)), row["seed"])))
            shutil.rmtree(self._folder, ignore_errors=True)

    def _read(self) -> dict[tuple[str, int], Row]:
        runs = sorted(self._folder.glob("*.parquet")) if self._folder.is_dir() else []
        found: dict[tuple[str, int], Row] = {}
        for path in ([self._place] if self._is_file and self._place.exists() else []) + runs:
            for row in self._read_file(path):
                found[row["inputs_hash"], int(row["seed"])] = row
        return found

    def _read_file(self, path: Path) -> list[Row]:
        try:
            with path.open("rb") as file:
                table = self._parquet.read_table(file)
        except (OSError, self._arrow.ArrowException) as error:
            raise InputError("to", str(path), f"cannot be read as Parquet ({' '.join(str(error).split())[:80]}); move it away") from None
        try:
            described = json.loads((table.schema.metadata or {}).get(KEY, b"{}"))
        except ValueError:
            described = {}
        if described.get("format") != FORMAT or not {"inputs_hash", "seed"} <= set(table.column_names):
            raise InputError("to", str(path), "is not a table of runs that a sweep has written; choose another place")
        if described["parameters"] != self._parameters:
            others = ", ".join(described["parameters"]) or "nothing"
            raise InputError("to", str(path), f"belongs to a sweep over {others}; choose another place")
        rows: list[Row] = table.to_pylist()
        return rows

    def _write(self, path: Path, rows: Iterable[Row]) -> None:
        partial = path.with_name(f".{path.name}.partial")
        table = self._arrow.Table.from_pylist(list(rows))
        table = table.replace_schema_metadata({KEY: json.dumps({"format": FORMAT, "parameters": self._parameters})})
        try:
            with partial.open("wb") as file:
                self._parquet.write_table(table, file)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)
        except OSError as error:
            partial.unlink(missing_ok=True)
            raise InputError("to", str(self._place), f"cannot be written: {error.strerror}") from None


def _arrow(place: Path) -> tuple[Any, Any]:
    try:
        return import_module("pyarrow"), import_module("pyarrow.parquet")
    except ImportError:
        raise InputError("to", str(place), "sweeps are written as Parquet, which needs PyArrow: pip install 'tiandi[planning]'") from None
