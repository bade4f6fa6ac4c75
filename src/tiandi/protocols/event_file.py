"""Event files: what detectors recorded, on disk, so that real hardware can take the place of a twin.

One HDF5 file holds the events of a run of any protocol, or one end's record of decoy-state BB84. Layout and limits are in
docs/event-files.md. Events go in and come out in blocks, so that memory stays small however long the run.

Files come from anywhere: nothing in them is executed or leads to another file, every size is checked before memory is taken, and what
does not fit is refused. Not promised: that the HDF5 library, which is written in C, withstands every hostile file.
"""

from __future__ import annotations

import errno
import io
import math
import os
import tempfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import h5py
import numpy as np
from numpy.typing import ArrayLike, NDArray

from tiandi.distill.records import ReceiverRecord, TransmitterRecord
from tiandi.errors import InputError
from tiandi.limits import require_within
from tiandi.protocols.events import MOST_KINDS, Events

AnyBlock = Events | TransmitterRecord | ReceiverRecord
Block = TypeVar("Block", bound=AnyBlock)

FORMAT, FORMAT_VERSION = "tiandi events", 1
CHUNK_EVENTS = 2**16
MOST_EVENTS_AT_ONCE = 10**8
MOST_PULSES = 2**62
MOST_STEPS = 8000
LONGEST_ATTRIBUTE_BYTE = 64_000  # HDF5 keeps no attribute of 64 KiB.
PICOSECOND_PER_SECOND = 10**12

_CONTENTS: dict[type, tuple[str, tuple[str, ...]]] = {
    Events: ("events", ("slots", "kinds")),
    TransmitterRecord: ("transmitter record", ("slots", "intensities", "bases", "bits")),
    ReceiverRecord: ("receiver record", ("slots", "bases", "bits")),
}
_SMALL = np.dtype("u1")
_DTYPES = {"slots": np.dtype("<i8"), "kinds": _SMALL, "intensities": _SMALL, "bases": _SMALL, "bits": _SMALL}
_LAYOUT = {"maxshape": (None,), "chunks": (CHUNK_EVENTS,), "shuffle": True, "compression": "gzip", "compression_opts": 1}
_FILTERS = [h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_DEFLATE]
_TEXT = ("protocol", "hardware", "comment")
_REAL = ("clock_hz", "mean_photon_numbers", "probabilities")


@dataclass(frozen=True)
class Run:
    """What is known of a run beside its events; ``pulses`` (steps,) are sent in steps of constant light, the first slot at ``start``.

    ``mean_photon_numbers`` and ``probabilities`` are those of the transmitter's intensities, where its end writes them. ``shape`` and
    ``axes`` lay out the kinds of `Events`, and stay empty for records. Raises InputError on a field out of its range.
    """

    protocol: str
    clock_hz: float
    start: datetime
    pulses: NDArray[np.int64]
    mean_photon_numbers: tuple[float, ...] = ()
    probabilities: tuple[float, ...] = ()
    shape: tuple[int, ...] = ()
    axes: tuple[str, ...] = ()
    hardware: str = ""
    comment: str = ""

    def __post_init__(self) -> None:
        require_within("clock_hz", self.clock_hz, 1.0, 1e12)
        pulses, means, shares = np.asarray(self.pulses), self.mean_photon_numbers, self.probabilities
        _require(self.start.tzinfo is not None, "start", self.start, "must say its time zone")
        steps = pulses.size if pulses.ndim == 1 and pulses.dtype.kind in "iu" else 0
        _require(1 <= steps <= MOST_STEPS, "pulses", pulses, f"must be a whole number for each of 1 to {MOST_STEPS} steps")
        sane = (pulses >= 0).all() and pulses.sum(dtype=float) <= MOST_PULSES
        _require(bool(sane), "pulses", pulses, f"must not be negative, nor more than {MOST_PULSES} in all")
        sane = len(means) <= MOST_KINDS and all(0.0 <= mean <= 1e6 for mean in means)
        _require(sane, "mean_photon_numbers", means, f"must be at most {MOST_KINDS}, each in [0, 1e6]")
        sane = len(shares) == len(means) and all(0.0 <= share <= 1.0 for share in shares)
        _require(sane, "probabilities", shares, f"must be {len(means)} in [0, 1], one a mean photon number")
        sane = len(self.shape) <= 8 and all(1 <= length <= MOST_KINDS for length in self.shape) and math.prod(self.shape) <= MOST_KINDS
        _require(sane, "shape", self.shape, f"must make at most {MOST_KINDS} kinds on 8 axes")
        sane = len(self.axes) == len(self.shape) and all(0 < len(axis) <= 100 and "," not in axis for axis in self.axes)
        _require(sane, "axes", self.axes, f"must be {len(self.shape)} names of at most 100 characters without a comma")
        for name in _TEXT:
            size = len(getattr(self, name).encode())
            _require(size <= LONGEST_ATTRIBUTE_BYTE, name, f"{size} bytes", f"must be at most {LONGEST_ATTRIBUTE_BYTE} bytes")


def _require(held: bool, field: str, value: object, limit: str) -> None:
    if not held:
        raise InputError(field, value, limit)


def _check(run: Run, block: AnyBlock, after: int) -> None:
    """Raise InputError unless ``block`` can follow the slot ``after`` in ``run``."""
    size, shape = block.slots.size, block.shape if isinstance(block, Events) else run.shape
    _require(tuple(shape) == run.shape, "shape", shape, f"must be {run.shape}, as the run says")
    total = int(np.sum(run.pulses, dtype=np.int64))
    limits = {"slots": total, "kinds": math.prod(run.shape), "intensities": len(run.mean_photon_numbers), "bases": 2, "bits": 2}
    for name in _CONTENTS[type(block)][1]:
        values = np.asarray(getattr(block, name))
        row = values.ndim == 1 and values.dtype.kind in "iub" and values.size == size
        _require(row, name, f"{values.dtype} of shape {values.shape}", f"must be {size} whole numbers, one a slot")
        for value in (values.min(), values.max()) if size else ():
            _require(0 <= value < limits[name], name, int(value), f"must lie in [0, {limits[name]})")
    late = np.flatnonzero(np.diff(block.slots.astype(np.int64), prepend=after) <= 0)
    _require(late.size == 0, "slots", block.slots[late[:1]].tolist(), "must lie after the slot before")


class _Spool(io.FileIO):
    """A file that hides failed writes from HDF5, which may crash over them: what could not be written is kept, and ``failure`` says why."""

    def __init__(self, descriptor: int) -> None:
        super().__init__(descriptor, "r+b", closefd=False)
        self.failure: OSError | None = None
        self.kept: list[tuple[int, bytes]] = []

    def write(self, data: Any) -> int:
        start, piece = self.tell(), bytes(data)
        try:
            if (super().write(piece) or 0) < len(piece):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            self.failure = error
            self.kept.append((start, piece))
        return len(piece)

    def readinto(self, buffer: Any) -> int:
        start, view = self.tell(), memoryview(buffer).cast("B")
        super().readinto(view)
        for place, piece in self.kept:
            low, high = max(place, start), min(place + len(piece), start + len(view))
            if low < high:
                view[low - start : high - start] = piece[low - place : high - place]
        return len(view)

    def truncate(self, size: int | None = None) -> int:
        try:
            return super().truncate(size)
        except OSError as error:
            self.failure = error
            return size or 0


@contextmanager
def write_blocks(path: Path, run: Run, kind: type[Block]) -> Iterator[Callable[[Block], None]]:
    """A function that appends a block of ``kind`` to a new file ``path``, which appears, whole, when the context ends without an error.

    Only its owner may read the file: a record is raw key. What a killed process leaves beside it is named ``.NAME-partial-...``.
    Raises InputError for a path that is taken or cannot be written, a full disk, and a block that does not fit the run.
    """
    content, names = _CONTENTS[kind]
    _require(not path.exists(), "path", str(path), "is taken: no event file is written over")
    try:
        descriptor, partial = tempfile.mkstemp(prefix=f".{path.name}-partial-", dir=path.parent)
    except OSError as error:
        raise InputError("path", str(path), f"cannot be written: {error.strerror}") from None
    spool, last, count, sums = _Spool(descriptor), -1, 0, [0] * len(names)

    def append(block: Block) -> None:
        nonlocal last, count
        _check(run, block, last)
        size = block.slots.size
        for number, name in enumerate(names if size else ()):
            values = getattr(block, name).astype(_DTYPES[name])
            columns[number].resize((count + size,))
            columns[number][count:] = values
            sums[number], last = zlib.crc32(values, sums[number]), int(block.slots[-1])
        count += size
        _require(not spool.failure, "path", str(path), f"cannot be written: {spool.failure}")

    try:
        with h5py.File(spool, "w", libver=("v110", "v110")) as file:
            columns = [file.create_dataset(name, (0,), _DTYPES[name], **_LAYOUT) for name in names]
            yield append
            _write_attributes(file, run, content, count, sums)
        _require(not spool.failure, "path", str(path), f"cannot be written: {spool.failure}")
        os.fsync(descriptor)
        try:
            os.link(partial, path)
        except FileExistsError:
            raise InputError("path", str(path), "is taken: no event file is written over") from None
    finally:
        os.unlink(partial)
        os.close(descriptor)
    folder = os.open(path.parent, os.O_RDONLY)
    os.fsync(folder)
    os.close(folder)


def _write_attributes(file: h5py.File, run: Run, content: str, events: int, sums: list[int]) -> None:
    start = run.start.astimezone(UTC).isoformat()
    attributes = {"format": FORMAT, "version": FORMAT_VERSION, "content": content, "events": events, "crc32": sums, "start_utc": start}
    attributes |= {name: getattr(run, name) for name in ("pulses", "shape", *_TEXT, *_REAL)}
    for name, value in (attributes | {"axes": ",".join(run.axes)}).items():
        if isinstance(value, str):
            file.attrs.create(name, value.encode(), dtype=h5py.string_dtype("utf-8", max(len(value.encode()), 1)))
        else:
            file.attrs.create(name, value, dtype="<f8" if name in _REAL else "<i8")


def read_run(path: Path) -> Run:
    """What the event file ``path`` says of its run. Raises InputError for a file that is damaged or of another format."""
    with _opened(path) as file:
        return _header(file)[0]


def read_blocks(path: Path, kind: type[Block]) -> Iterator[Block]:
    """The events of the file ``path``, in order, in blocks of at most CHUNK_EVENTS.

    Raises InputError naming file, field and limit for a file that is damaged, of another format or content, or does not fit its run; where
    the fault lies far back, after the blocks before it: use nothing of a file until it has been read to its end.
    """
    content, names = _CONTENTS[kind]
    with _opened(path) as file:
        run, found, events = _header(file)
        _require(found == content, "content", found, f"must be {content}")
        columns, last, sums = [_column(file, name) for name in names], -1, [0] * len(names)
        for name, column in zip(names, columns, strict=True):
            _require(column.shape == (events,), name, column.shape, f"must be ({events},), as events says")
        for start in range(0, events, CHUNK_EVENTS):
            rows = [_chunk(column, start) for column in columns]
            sums = [zlib.crc32(row.data, before) for row, before in zip(rows, sums, strict=True)]
            block = _assemble(kind, rows, run)
            _check(run, block, last)
            last = int(block.slots[-1])
            yield block
        _require(_attribute(file, "crc32", "i", many=True) == tuple(sums), "crc32", sums, "must be that of the file")


def read_whole(path: Path, kind: type[Block], *, most_events: int = MOST_EVENTS_AT_ONCE) -> Block:
    """All events of the file ``path`` at once. Raises InputError as `read_blocks` does, and for more than ``most_events``."""
    with _opened(path) as file:
        run, _, events = _header(file)
        _require(events <= most_events, "events", events, f"must be at most {most_events} to be read at once")
    blocks, names = list(read_blocks(path, kind)), _CONTENTS[kind][1]
    rows = [[np.empty(0, _DTYPES[name]), *(getattr(block, name) for block in blocks)] for name in names]
    return _assemble(kind, [np.concatenate(row) for row in rows], run)


def _assemble(kind: type[Block], columns: list[NDArray[Any]], run: Run) -> Block:
    make: Any = kind
    return make(*columns, run.shape) if kind is Events else make(*columns)


@contextmanager
def _opened(path: Path) -> Iterator[h5py.File]:
    """The file for reading; whatever is wrong with it becomes an InputError that names it."""
    _require(path.is_file(), "path", str(path), "must be a file")
    try:
        with h5py.File(path, "r", locking=False) as file:
            yield file
    except InputError as error:
        raise InputError(f"{path.name}: {error.field}", error.value, error.limit) from None
    except (OSError, RuntimeError, ValueError, KeyError, TypeError, zlib.error) as error:
        raise InputError(path.name, str(error).partition("\n")[0], "must be a whole HDF5 file") from None


def _header(file: h5py.File) -> tuple[Run, str, int]:
    """Run, content and number of events."""
    form = _attribute(file, "format", "S"), _attribute(file, "version", "i")
    _require(form == (FORMAT, FORMAT_VERSION), "format", form, f"must be {FORMAT!r}, version {FORMAT_VERSION}")
    axes = _attribute(file, "axes", "S")
    run = Run(
        start=_time(_attribute(file, "start_utc", "S")),
        pulses=np.array(_attribute(file, "pulses", "i", many=True), np.int64),
        axes=tuple(axes.split(",")) if axes else (),
        shape=_attribute(file, "shape", "i", many=True),
        clock_hz=_attribute(file, "clock_hz", "f"),
        mean_photon_numbers=_attribute(file, "mean_photon_numbers", "f", many=True),
        probabilities=_attribute(file, "probabilities", "f", many=True),
        **{name: _attribute(file, name, "S") for name in _TEXT},
    )
    events = _attribute(file, "events", "i")
    require_within("events", events, 0, MOST_PULSES)
    return run, _attribute(file, "content", "S"), events


def _time(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise InputError("start_utc", text, "must be a date and a time as in ISO 8601") from None


def _attribute(file: h5py.File, name: str, kind: str, *, many: bool = False) -> Any:
    """An attribute of text (S), whole numbers (i) or numbers (f): one, or a tuple of ``many``."""
    _require(name in file.attrs, name, "missing", "must be an attribute of the file")
    found = file.attrs.get_id(name)
    size = math.prod(found.shape) * found.dtype.itemsize
    fits = found.dtype.kind == kind and len(found.shape) == many and size <= LONGEST_ATTRIBUTE_BYTE
    limit = f"must be of type {kind}, {'a row' if many else 'one'}, at most {LONGEST_ATTRIBUTE_BYTE} bytes"
    _require(fits, name, f"{found.dtype} of shape {found.shape}", limit)
    value = file.attrs[name]
    if kind == "S":
        return bytes(value).decode(errors="replace")
    return tuple(value.tolist()) if many else value.item()


def _column(file: h5py.File, name: str) -> h5py.Dataset:
    """The dataset ``name``, stored in this file and nowhere else, of the type and layout that the format has."""
    own = isinstance(file.get(name, getlink=True), h5py.HardLink) and isinstance(file[name], h5py.Dataset)
    found = "something else" if name in file else "missing"
    _require(own, name, found, "must be a dataset of this file, not a link or a group")
    column, plan = file[name], file[name].id.get_create_plist()
    filters = [plan.get_filter(number)[0] for number in range(plan.get_nfilters())]
    form = column.dtype, column.chunks, filters
    wanted = _DTYPES[name], (CHUNK_EVENTS,), _FILTERS
    _require(form == wanted, name, form, f"must be {wanted}: type, chunks, filters (shuffle, gzip)")
    return column


def _chunk(column: h5py.Dataset, start: int) -> NDArray[Any]:
    """Values from ``start`` on, unpacked here: HDF5 gives a chunk whatever memory its compressed bytes ask for."""
    size, limit = CHUNK_EVENTS * column.dtype.itemsize, f"must be a whole chunk of {CHUNK_EVENTS}"
    stored = column.id.get_chunk_info_by_coord((start,))
    whole = stored.byte_offset is not None and not stored.filter_mask and stored.size <= 2 * size
    _require(whole, column.name[1:], f"{stored.size} bytes at {start}", limit)
    unpacker = zlib.decompressobj()
    data = unpacker.decompress(column.id.read_direct_chunk((start,))[1], size + 1)
    _require(unpacker.eof and len(data) == size, column.name[1:], f"{len(data)} bytes unpacked at {start}", limit)
    values = np.frombuffer(data, np.uint8).reshape(-1, CHUNK_EVENTS).T.copy().view(column.dtype)[:, 0]
    return values[: column.shape[0] - start]


def slots_from_time_tags(
    time_tags_ps: ArrayLike, *, clock_hz: float, offset_ps: float, gate_ps: float
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Slots (m,) of the tags [ps] that fall within a gate, and which of the tags (n,) these are.

    Slot 0 is centred on ``offset_ps``. A tag further than half a gate from the centre of its slot, or before slot 0, is left out; two tags
    in one slot both come out. The clock is the transmitter's as the counter sees it; drift is not followed. Seconds and the rest are
    counted apart, so that no digit is lost over months. Raises InputError for tags that are not whole numbers in order of time.
    """
    require_within("clock_hz", clock_hz, 1.0, 1e12)
    require_within("gate_ps", gate_ps, 0.0, PICOSECOND_PER_SECOND / clock_hz)
    require_within("offset_ps", offset_ps, -MOST_PULSES, MOST_PULSES)
    tags = np.asarray(time_tags_ps)
    sane = tags.ndim == 1 and tags.dtype.kind in "iu" and bool(((tags > -MOST_PULSES) & (tags < MOST_PULSES)).all())
    _require(sane and not (tags[1:] < tags[:-1]).any(), "time_tags_ps", tags, f"must be whole, in order of time and within {MOST_PULSES}")
    seconds, rest = np.divmod(tags.astype(np.int64) - math.floor(offset_ps), PICOSECOND_PER_SECOND)
    whole_clock, part_clock = divmod(clock_hz, 1.0)
    position = seconds * part_clock + (rest - offset_ps % 1.0) * (clock_hz / PICOSECOND_PER_SECOND)
    nearest = np.rint(position)
    slots = seconds * int(whole_clock) + nearest.astype(np.int64)
    kept = (np.abs(position - nearest) <= 0.5 * gate_ps * clock_hz / PICOSECOND_PER_SECOND) & (slots >= 0)
    return slots[kept], kept
