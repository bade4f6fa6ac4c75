"""Data and fits of the last measurements, kept for reports: one file for each experiment, thinned so that it stays small."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass, field
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from tiandi.computing.control.experiment import Curves
from tiandi.computing.control.writing import write_whole
from tiandi.computing.instruments.program import IntArray
from tiandi.errors import InputError, StateError

MOST_POINTS, MOST_ROWS = 201, 61
"""Points that are kept of a scan; longer ones are thinned evenly."""
_NAME = re.compile(r"[a-z0-9_-]+", re.IGNORECASE)


@dataclass(eq=False)
class _Batch:
    """Curves of targets that were measured together."""

    elements: IntArray
    curves: Curves

    def of(self, place: int) -> Curves:
        """Those of one target, still with an axis of targets."""
        one, held = slice(place, place + 1), self.curves

        def part(values: NDArray[np.float64]) -> NDArray[np.float64]:
            return values[one] if len(values) > 1 or len(self.elements) == 1 else values

        model = None if held.model is None else held.model[one]
        return Curves(part(held.x), held.y[one], model, held.x_name, held.y_name, held.rows, held.rows_name)


@dataclass(eq=False)
class CurveKeeper:
    """Curves of all experiments, in ``folder`` or, without one, in memory."""

    folder: Path | None = None
    _held: dict[str, list[_Batch]] = field(default_factory=dict)

    def take(self, experiment: str, elements: IntArray, curves: Curves) -> None:
        """Take curves of some elements; they replace older ones of the same elements. Call `flush` when the experiment is over."""
        batches = self._batches(experiment)
        kept = [batch for batch in batches if not np.isin(batch.elements, elements).all()]
        self._held[experiment] = [_Batch(np.asarray(elements, np.int64), _thinned(curves, len(elements))), *kept]

    def flush(self, experiment: str) -> None:
        """Write what was taken, where there is a folder."""
        if self.folder is None or experiment not in self._held:
            return
        table: dict[str, NDArray[np.generic]] = {}
        for number, batch in enumerate(self._held.pop(experiment)):
            held = batch.curves
            table[f"{number}.elements"], table[f"{number}.x"], table[f"{number}.y"] = batch.elements, held.x, held.y
            if held.model is not None:
                table[f"{number}.model"] = held.model
            if held.rows is not None:
                table[f"{number}.rows"] = held.rows
            table[f"{number}.names"] = np.array([held.x_name, held.y_name, held.rows_name])
        content = io.BytesIO()
        np.savez(content, allow_pickle=False, **table)
        path = self._file(experiment)
        try:
            write_whole(path, content.getvalue())
        except OSError as error:
            raise StateError("curves", str(path), f"cannot be written ({error.strerror}): those before are whole") from None

    def of(self, experiment: str, element: int) -> Curves | None:
        """The curve of one element, arrays with one target; None where none was kept. Raises StateError for a file that cannot be read."""
        for batch in self._batches(experiment):
            place = np.flatnonzero(batch.elements == element)
            if len(place):
                return batch.of(int(place[0]))
        return None

    def elements(self, experiment: str) -> IntArray:
        """The elements with curves, sorted."""
        batches = self._batches(experiment)
        return np.unique(np.concatenate([batch.elements for batch in batches])) if batches else np.zeros(0, np.int64)

    def _file(self, experiment: str) -> Path:
        if not _NAME.fullmatch(experiment):
            raise InputError("experiment", experiment, "must be letters, digits, hyphens")
        assert self.folder is not None
        return self.folder / f"{experiment}.npz"

    def _batches(self, experiment: str) -> list[_Batch]:
        if experiment in self._held or self.folder is None:
            return self._held.get(experiment, [])
        path = self._file(experiment)
        if not path.exists():
            return []
        try:
            with np.load(path, allow_pickle=False) as table:
                count = sum(name.endswith(".elements") for name in table.files)
                return [
                    _loaded({name.split(".", 1)[1]: table[name] for name in table.files if name.startswith(f"{one}.")})
                    for one in range(count)
                ]
        except (OSError, ValueError, KeyError, BadZipFile) as error:
            raise StateError("curves", str(path), f"cannot be read ({error})") from None


def _loaded(part: dict[str, NDArray[np.generic]]) -> _Batch:
    x_name, y_name, rows_name = (str(word) for word in part["names"])

    def numbers(name: str) -> NDArray[np.float64]:
        return np.asarray(part[name], np.float64)

    model, rows = numbers("model") if "model" in part else None, numbers("rows") if "rows" in part else None
    return _Batch(np.asarray(part["elements"], np.int64), Curves(numbers("x"), numbers("y"), model, x_name, y_name, rows, rows_name))


def _thinned(curves: Curves, targets: int) -> Curves:
    """The same as float32, x with an axis of targets, of at most MOST_POINTS by MOST_ROWS points."""
    y = np.asarray(curves.y, np.float32)
    every = -(-y.shape[-1] // MOST_POINTS)
    x = np.atleast_2d(np.asarray(curves.x, np.float64))[..., ::every]
    model = None if curves.model is None else np.broadcast_to(np.asarray(curves.model, np.float32), y.shape)[..., ::every]
    y, rows = y[..., ::every], curves.rows
    if rows is not None and y.ndim == 3:
        skip = -(-y.shape[1] // MOST_ROWS)
        y, rows = y[:, ::skip], np.asarray(rows, np.float64)[::skip]
        model = None if model is None else model[:, ::skip]
    if len(y) != targets:
        raise InputError("curves: y", y.shape, f"must have {targets} targets")
    return Curves(x, y, model, curves.x_name, curves.y_name, rows, curves.rows_name)  # type: ignore[arg-type]
