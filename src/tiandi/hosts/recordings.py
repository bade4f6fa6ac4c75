"""What one end brings to distillation: event files, cut or joined into blocks, none of them spoken of twice.

What is said of a block tells an eavesdropper something of its events for good. An event that is spoken of again, in another run, would
count that as if she did not know it. So before the first word about a stretch of an event file is said, the stretch is entered in a list
beside it, `FILE.used`, and no later run takes it up.
"""

from __future__ import annotations

import fcntl
import os
import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Literal, Self

import numpy as np

from tiandi.distill.records import ReceiverRecord, TransmitterRecord
from tiandi.errors import InputError
from tiandi.protocols.event_file import Run, read_blocks, read_run, read_whole

Record = TransmitterRecord | ReceiverRecord
Role = Literal["transmitter", "receiver"]
Span = tuple[int, int]
"""Slots from the first to before the second."""

MOST_FILES = 1000
MOST_BLOCKS = 10_000
MOST_SPANS = 20_000
LEAST_BLOCK_EVENTS = 1000
LINE = re.compile(r"(\d{1,19}) (\d{1,19})")
_ROLES: dict[type[TransmitterRecord | ReceiverRecord], Role] = {TransmitterRecord: "transmitter", ReceiverRecord: "receiver"}


@dataclass(frozen=True)
class Recording:
    """One end's record of a run: whose it is, how many events it has, and how to read them."""

    path: Path
    role: Role
    run: Run
    events: int
    load: Callable[[], Record]
    used: Callable[[], UsedSpans] | None = None
    """Opens the list of what was spoken of, where that is not beside ``path``."""

    @classmethod
    def in_memory(cls, path: Path, run: Run, record: Record) -> Recording:
        """A record that is nowhere but in memory, and gone with it; ``path`` is but its name."""
        return cls(path, _ROLES[type(record)], run, record.slots.size, lambda: record, SpansInMemory)

    @classmethod
    def open(cls, path: Path) -> Recording:
        """The event file ``path``, read through once so that a damaged one is refused before a word is said of it. Raises InputError."""
        run = read_run(path)
        for kind, role in _ROLES.items():
            try:
                events = sum(block.slots.size for block in read_blocks(path, kind))
            except InputError as error:
                if error.field == f"{path.name}: content":
                    continue
                raise
            return cls(path, role, run, events, partial(read_whole, path, kind))
        raise InputError(path.name, "events", "must be the record of a transmitter or of a receiver")

    @property
    def pulses(self) -> int:
        return int(np.sum(self.run.pulses))


@dataclass(frozen=True)
class Stretch:
    """Slots of one of the files."""

    file: int
    span: Span


BlockPlan = tuple[Stretch, ...]


def plan_blocks(pulses: Sequence[int], events: Sequence[int], *, join: bool, block_events: int | None) -> list[BlockPlan]:
    """The blocks of files with so many ``pulses`` and, at the receiver, ``events``: one a file; all files in one; or files cut into equal
    parts of about ``block_events``. Cuts depend on numbers only, never on what was detected where. Raises InputError for too many."""
    whole = [Stretch(file, (0, count)) for file, count in enumerate(pulses)]
    if join:
        return [tuple(whole)]
    blocks: list[BlockPlan] = []
    for stretch, count in zip(whole, events, strict=True):
        end = stretch.span[1]
        parts = 1 if block_events is None else min(-(-count // block_events), end) or 1
        if len(blocks) + parts > MOST_BLOCKS:
            raise InputError("block-events", block_events, f"makes more than {MOST_BLOCKS} blocks; take larger ones")
        cuts = [end * part // parts for part in range(parts + 1)]
        blocks += [(Stretch(stretch.file, cut),) for cut in pairwise(cuts)]
    return blocks


class UsedSpans:
    """The list beside an event file of what was spoken of. One process at a time holds it; a line is on disk before `add` returns."""

    def __init__(self, recording: Path) -> None:
        recording = recording.resolve()  # A link to a recording is that recording.
        self._path = recording.with_name(recording.name + ".used")
        try:
            self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        except OSError as error:
            raise InputError("path", str(self._path), f"cannot be written: {error.strerror}") from None
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not os.path.samestat(os.fstat(self._descriptor), self._path.stat()):
                raise OSError  # Whoever held it has just taken it away.
            self.spans = self._read()
        except OSError:
            os.close(self._descriptor)
            raise InputError("path", str(recording), "is being distilled by another process") from None
        except InputError:
            os.close(self._descriptor)
            raise

    def _read(self) -> list[Span]:
        text = os.read(self._descriptor, 64 * MOST_SPANS).decode(errors="replace")
        lines = [LINE.fullmatch(line) for line in text.splitlines()]
        spans = [(int(line[1]), int(line[2])) for line in lines if line]
        if len(spans) < len(lines) or len(spans) > MOST_SPANS or (text and not text.endswith("\n")):
            raise InputError("path", str(self._path), "is damaged: nobody knows any more what was spoken of")
        return spans

    def add(self, span: Span) -> None:
        """Enter a span. Raises InputError when it cannot be put on disk."""
        try:
            line = f"{span[0]} {span[1]}\n".encode()
            if os.write(self._descriptor, line) < len(line):
                raise OSError(None, "No space left on device")
            os.fsync(self._descriptor)
            folder = os.open(self._path.parent, os.O_RDONLY)
            os.fsync(folder)
            os.close(folder)
        except OSError as error:
            raise InputError("path", str(self._path), f"cannot be written: {error.strerror}") from None
        self.spans.append(span)

    def close(self) -> None:
        """Let others have it. A list of nothing is taken away."""
        if not self.spans:
            self._path.unlink(missing_ok=True)
        os.close(self._descriptor)


class SpansInMemory(UsedSpans):
    """The list of a record that no later run can take up, because it ends with this process at the latest."""

    def __init__(self) -> None:
        self.spans = []

    def add(self, span: Span) -> None:
        """Enter a span."""
        self.spans.append(span)

    def close(self) -> None:
        """Nothing is held."""


class Recordings:
    """All recordings of one end for one run, one role in all of them. A context manager: it holds the lists of what was used.

    Raises InputError for files of both roles, too many of them, and options that do not go together.
    """

    def __init__(self, recordings: Sequence[Recording], *, join: bool = False, block_events: int | None = None) -> None:
        if not 1 <= len(recordings) <= MOST_FILES:
            raise InputError("files", len(recordings), f"must be 1 to {MOST_FILES}")
        roles = {recording.role for recording in recordings}
        if len(roles) > 1:
            raise InputError("files", "transmitter and receiver", "must be all of one end")
        if len({recording.path.resolve() for recording in recordings}) < len(recordings):
            raise InputError("files", [recording.path.name for recording in recordings], "must be different files")
        if block_events is not None and (join or block_events < LEAST_BLOCK_EVENTS):
            raise InputError("block-events", block_events, f"must be at least {LEAST_BLOCK_EVENTS}, and cuts what --join would join")
        self.role: Role = recordings[0].role
        self.join, self.block_events = join, block_events
        self.recordings = tuple(recordings)
        self.used: list[UsedSpans] = []
        self._loaded: tuple[int, Record] | None = None
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as opened:
            for recording in self.recordings:
                self.used.append(recording.used() if recording.used is not None else UsedSpans(recording.path))
                opened.callback(self.used[-1].close)
            self._stack = opened.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()
        self._loaded = None

    def mark(self, block: BlockPlan) -> None:
        """Enter a block as spoken of. Raises InputError when it cannot be put on disk."""
        for stretch in block:
            self.used[stretch.file].add(stretch.span)

    def load(self, block: BlockPlan) -> Record:
        """The record of a block, slots counted from its beginning through all of its stretches. Raises InputError as `read_whole` does."""
        parts: list[Record] = []
        start = 0
        for stretch in block:
            parts.append(_part(self._file(stretch.file), stretch.span, start))
            start += stretch.span[1] - stretch.span[0]
        return parts[0] if len(parts) == 1 else _joined(parts)

    @property
    def exhausted(self) -> bool:
        """Whether every slot of every file was distilled before."""
        whole = [[(0, recording.pulses)] for recording in self.recordings]
        return [merged(used.spans) for used in self.used] == whole

    def run(self, block: BlockPlan) -> Run:
        """The run of a block: that of its first file, with as many pulses as the block has."""
        pulses = sum(stretch.span[1] - stretch.span[0] for stretch in block)
        return replace(self.recordings[block[0].file].run, pulses=np.array([pulses]))

    def account(self, block: BlockPlan) -> dict[str, object]:
        """What a block was made of, for its account."""
        files = [{"name": self.recordings[stretch.file].path.name, "slots": stretch.span} for stretch in block]
        return {"role": self.role, "files": files}

    def _file(self, number: int) -> Record:
        if self._loaded is None or self._loaded[0] != number:
            self._loaded = None  # One file at a time is in memory.
            self._loaded = number, self.recordings[number].load()
        return self._loaded[1]


def _part(record: Record, span: Span, start: int) -> Record:
    """The events of a span, its first slot now ``start``; of a whole file no copy is made."""
    low, high = np.searchsorted(record.slots, span)
    if high - low == record.slots.size and start == span[0]:
        return record
    return _assembled(record, [column[low:high] for column in _columns(record)], start - span[0])


def _joined(parts: Sequence[Record]) -> Record:
    return _assembled(parts[0], [np.concatenate(column) for column in zip(*map(_columns, parts), strict=True)], 0)


def _columns(record: Record) -> tuple[np.ndarray, ...]:
    names = ("slots", "intensities", "bases", "bits") if isinstance(record, TransmitterRecord) else ("slots", "bases", "bits")
    return tuple(getattr(record, name) for name in names)


def _assembled(like: Record, columns: Sequence[np.ndarray], later: int) -> Record:
    slots, *others = columns
    return TransmitterRecord(slots + later, *others) if isinstance(like, TransmitterRecord) else ReceiverRecord(slots + later, *others)


def unused(blocks: Iterable[BlockPlan], used: Sequence[Sequence[Span]]) -> Iterator[BlockPlan]:
    """The blocks of which no slot lies in a span that was ``used``, given for each file."""
    apart = [merged(spans) for spans in used]
    for block in blocks:
        if not any(_overlaps(stretch.span, apart[stretch.file]) for stretch in block):
            yield block


def merged(spans: Sequence[Span]) -> list[Span]:
    """The same slots in rising spans that do not touch."""
    apart: list[Span] = []
    for low, high in sorted(spans):
        if apart and low <= apart[-1][1]:
            apart[-1] = apart[-1][0], max(high, apart[-1][1])
        else:
            apart.append((low, high))
    return apart


def _overlaps(span: Span, apart: Sequence[Span]) -> bool:
    place = bisect_right(apart, span[0], key=lambda used: used[1])
    return place < len(apart) and apart[place][0] < span[1]
