"""Transcript of a block on disk: everything both ends said, and what one of them reports of it. Nothing in it is secret."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal

import msgspec

from tiandi.distill.ledger import Ledger
from tiandi.distill.party import Party
from tiandi.distill.records import KeyBlock
from tiandi.errors import InputError

Format = Literal["tiandi transcript 1"]
FORMAT: Format = "tiandi transcript 1"
LARGEST_BYTE = 4 << 30


class Transcript(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``said`` begins with the agreement; then come the messages of both ends, in order.

    ``outcome`` is the identifier of the block, or why there is none; ``key_bit`` is what was delivered.
    """

    format: Format
    said: tuple[bytes, ...]
    ledger: Ledger
    outcome: str
    key_bit: int

    @classmethod
    def of(cls, party: Party) -> Transcript:
        """The transcript of a party that has come to its end."""
        block = party.outcome
        outcome, key_bit = (str(block.block_id), block.length_bit) if isinstance(block, KeyBlock) else (str(block), 0)
        return cls(FORMAT, tuple(map(bytes, party.transcript)), party.ledger, outcome, key_bit)


def write_transcript(path: Path, party: Party) -> None:
    """Write the transcript of ``party`` to a new file, whole or not at all. Raises InputError where it cannot be written."""
    partial = path.with_name(f".{path.name}.partial")
    try:
        with partial.open("xb") as file:
            file.write(msgspec.msgpack.encode(Transcript.of(party)))
            file.flush()
            os.fsync(file.fileno())
        os.link(partial, path)
    except OSError as error:
        raise InputError("transcript", str(path), f"cannot be written: {error.strerror}") from None
    finally:
        partial.unlink(missing_ok=True)


def read_transcript(path: Path) -> Transcript:
    """The transcript in the file ``path``. Raises InputError when there is none."""
    try:
        if path.stat().st_size > LARGEST_BYTE:
            raise InputError("transcript", str(path), f"must have at most {LARGEST_BYTE} bytes")
        data: Any = path.read_bytes()
        return msgspec.msgpack.decode(data, type=Transcript)
    except OSError as error:
        raise InputError("transcript", str(path), f"cannot be read: {error.strerror}") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InputError("transcript", str(path), f"is no transcript of a block: {error}") from None
