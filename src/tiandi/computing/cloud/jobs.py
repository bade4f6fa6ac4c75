"""What a job is: programs for one machine, and what becomes of them.

    queued ──> running ──> completed     its results are there, and never change
      │  ^        │ ├────> failed        `Job.reason` says why
      │  └────────┘ │                    its worker or server died: it is given again
      └─────────────┴────> cancelled

The last three are final.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Literal

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from tiandi.clock import format_utc
from tiandi.errors import InputError, TiandiError

State = Literal["queued", "running", "completed", "failed", "cancelled"]
FINAL: tuple[State, ...] = ("completed", "failed", "cancelled")

LOWEST_PRIORITY, USUAL_PRIORITY, HIGHEST_PRIORITY = 0, 5, 9
MOST_CIRCUITS = 600
MOST_PROGRAM_BYTE = 1 << 20
MOST_SHOTS = 1_000_000


class JobNotFound(TiandiError):
    """No job of this user has this identifier."""


class JobConflict(TiandiError):
    """A job that is not in the state for what is asked of it."""


class QuotaExceeded(TiandiError):
    """A user has as much as the account allows."""


class Submission(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a user asks for: every program of ``programs``, one circuit each, ``shots`` times.

    Without ``compile`` the circuits name qubits of the machine; with it they are laid out on those that work. ``seed`` repeats a result.
    Programs of a photonic machine are JSON objects in strings (see PhotonicJob).
    """

    machine: Annotated[str, Meta(min_length=1, max_length=64)]
    programs: Annotated[list[Annotated[str, Meta(max_length=MOST_PROGRAM_BYTE)]], Meta(min_length=1, max_length=MOST_CIRCUITS)]
    shots: Annotated[int, Meta(ge=1, le=MOST_SHOTS)] = 1000
    language: Annotated[str, Meta(max_length=32)] | None = None
    priority: Annotated[int, Meta(ge=LOWEST_PRIORITY, le=HIGHEST_PRIORITY)] = USUAL_PRIORITY
    name: Annotated[str, Meta(max_length=200)] = ""
    compile: bool = False
    seed: Annotated[int, Meta(ge=0, lt=2**53)] | None = None


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """A job as its user sees it. Times are ISO 8601, UTC; ``busy_s`` is how long a worker had it [s]."""

    id: str
    name: str
    machine: str
    language: str | None
    circuits: int
    shots: int
    priority: int
    compile: bool
    state: State
    submitted: str
    started: str | None = None
    ended: str | None = None
    busy_s: float | None = None
    reason: str = ""
    change: int = 0
    """Number of the user's last change that this job had: of two views of a job, the later has the greater."""

    @property
    def is_final(self) -> bool:
        """Whether nothing more will become of it."""
        return self.state in FINAL


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """The result of one circuit: ``rows`` holds each shot's values in the order of the measurements, bits padded to whole bytes."""

    qubits: list[int]
    """The qubit, or mode, that each value comes from."""
    shots: int
    rows: bytes
    engine: str
    why: str
    """Why that engine."""
    value_byte: int = 0
    """Bytes of each value, the highest first; 0 where values are bits."""

    @classmethod
    def of(cls, values: NDArray[np.integer], qubits: list[int], *, engine: str, why: str, value_byte: int = 0) -> Outcome:
        """From ``values`` (shots, measured): 0 and 1, or numbers that fit ``value_byte``."""
        rows = values.astype(f">u{value_byte}") if value_byte else np.packbits(values.astype(np.uint8, copy=False), axis=1)
        return cls(qubits=qubits, shots=len(values), rows=rows.tobytes(), engine=engine, why=why, value_byte=value_byte)

    def values(self) -> NDArray[np.unsignedinteger]:
        """Every shot's values, shape (shots, measured), in the order in which they were taken."""
        if self.value_byte:
            return np.frombuffer(self.rows, f">u{self.value_byte}").reshape(self.shots, -1)
        packed = np.frombuffer(self.rows, np.uint8).reshape(self.shots, -1)
        return np.unpackbits(packed, axis=1, count=len(self.qubits))

    def bits(self) -> NDArray[np.uint8]:
        """Every shot's bits, shape (shots, measured), in the order in which they were taken; of values, whether they are above 0."""
        return (self.values() > 0).astype(np.uint8, copy=False)

    def counts(self) -> dict[str, int]:
        """How often each string of bits came, or of values with commas between; leftmost is the first measurement."""
        row_byte = len(self.qubits) * self.value_byte or (len(self.qubits) + 7) // 8
        distinct, numbers = np.unique(np.frombuffer(self.rows, f"S{row_byte}"), return_counts=True)
        if self.value_byte:
            values = np.frombuffer(distinct.tobytes(), f">u{self.value_byte}").reshape(len(distinct), -1).tolist()
            return {",".join(map(str, row)): int(number) for row, number in zip(values, numbers, strict=True)}
        rows = np.frombuffer(distinct.tobytes(), np.uint8).reshape(len(distinct), row_byte)
        text = np.unpackbits(rows, axis=1, count=len(self.qubits)) + ord("0")
        return {bytes(row).decode(): int(number) for row, number in zip(text, numbers, strict=True)}


def as_text(moment_s: float | None) -> str | None:
    """Seconds since 1970 as ISO 8601; None stays None."""
    return None if moment_s is None else format_utc(datetime.fromtimestamp(moment_s, UTC))


def require_name(field: str, name: str) -> str:
    """``name``. Raises InputError unless it is 1 to 64 letters, digits, dots, dashes, underscores or @, the first a letter or digit."""
    if not (1 <= len(name) <= 64 and name.isascii() and name[0].isalnum() and all(letter.isalnum() or letter in "._-@" for letter in name)):
        raise InputError(field, name[:64], "must be 1 to 64 letters, digits, '.', '-', '_' or '@', the first a letter or digit")
    return name
