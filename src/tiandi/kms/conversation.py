"""What an SAE asks a KME by ETSI GS QKD 014, how answers are read, and when to ask again; no input and output.

A key is fetched once or not at all. Asked again, after a pause, is only what has certainly delivered nothing: a connection that did
not come about, a 503 in the KME's own words, Get status. When the answer to a request for keys is lost, they may be gone, and
`KeysUncertain` says so. An answer that does not fit what was asked for is discarded as a whole.
"""

from __future__ import annotations

import secrets
import time
from collections import deque
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar
from urllib.parse import quote
from uuid import UUID

import msgspec

from tiandi.errors import InputError, KmeUnreachable, ProtocolViolation, RemoteRefused, TiandiError
from tiandi.kms import etsi014
from tiandi.kms.etsi014 import Key
from tiandi.units import BIT_PER_BYTE

FIRST_PAUSE_S = 0.05
LONGEST_PAUSE_S = 5.0
PREAMBLE_LIMIT_BYTE = 16 * 1024
"""What an answer may hold beside its keys."""
ENTRY_LIMIT_BYTE = 1024
"""What an answer may hold for each key beside the key."""
KEY_LIMIT_BYTE = 128 * 1024
MESSAGE_LIMIT = 300
NUMBER_LIMIT = 65_536
SAE_ID_LIMIT = 255

Answer = TypeVar("Answer")


class KeysUncertain(TiandiError):
    """The answer to a request for keys was lost. The KME may have delivered them, so that nobody will ever have them.

    ``key_ids`` are those that were asked for, none where new keys were. The client does not ask again.
    """

    def __init__(self, kme_id: str, why: str, key_ids: Sequence[UUID] = ()) -> None:
        self.kme_id, self.why, self.key_ids = kme_id, why, tuple(key_ids)
        super().__init__(f"no answer from {kme_id} ({why}): the keys may be gone; void them, do not expect them a second time")


# What is asked, and how the answer is read.


@dataclass(frozen=True)
class Question(Generic[Answer]):
    """One request, and how to read its answer of at most ``limit_byte`` bytes. ``delivers``: asked twice, it would cost keys."""

    method: str
    path: str
    body: bytes
    read: Callable[[bytes], Answer]
    limit_byte: int
    delivers: bool = False
    key_ids: tuple[UUID, ...] = ()


@dataclass(frozen=True)
class Reply:
    """What a KME answered. Its repr shows no content."""

    status: int
    reason: str
    content: bytes

    def __repr__(self) -> str:
        return f"Reply({self.status}, {len(self.content)} bytes)"


@dataclass(frozen=True)
class Failure:
    """No answer came. ``sent``: the KME may have seen the request. ``untrusted``: one side refused the other's certificate."""

    why: str
    sent: bool
    untrusted: bool = False


Talk = Generator[str | float, Reply | Failure | None, Answer]
"""Yields the address to which the question goes, and is sent a reply or failure; or yields how long to wait [s]."""


def ask_status(slave_sae: str) -> Question[etsi014.Status]:
    """Get status. Raises InputError for an SAE ID that cannot be one."""
    path = _path("slave_SAE_ID", slave_sae, "status")
    return Question("GET", path, b"", lambda content: msgspec.json.decode(content, type=etsi014.Status), PREAMBLE_LIMIT_BYTE)


def ask_keys(
    slave_sae: str,
    *,
    number: int,
    size_bit: int,
    additional_slaves: Sequence[str] = (),
    mandatory: Mapping[str, Any] | None = None,
    optional: Mapping[str, Any] | None = None,
) -> Question[list[Key]]:
    """Get key. Raises InputError for a number or size out of range, or an SAE ID that cannot be one."""
    _require_size(size_bit)
    if not 1 <= number <= NUMBER_LIMIT:
        raise InputError("number", number, f"must lie in [1, {NUMBER_LIMIT}]")
    request: dict[str, Any] = {"number": number, "size": size_bit}
    for name, extensions in (("extension_mandatory", mandatory), ("extension_optional", optional)):
        if extensions:
            request[name] = [{key: value} for key, value in extensions.items()]
    if additional_slaves:
        request["additional_slave_SAE_IDs"] = list(additional_slaves)

    def read(content: bytes) -> list[Key]:
        return _fitting(msgspec.json.decode(content, type=etsi014.KeyContainer).keys, number, size_bit)

    limit_byte = _limit_byte(number, size_bit)
    return Question("POST", _path("slave_SAE_ID", slave_sae, "enc_keys"), msgspec.json.encode(request), read, limit_byte, delivers=True)


def ask_keys_with_ids(master_sae: str, key_ids: Sequence[UUID], size_bit: int | None = None) -> Question[list[Key]]:
    """Get key with key IDs; the answer is in the order of ``key_ids``. Raises InputError when they are none, or not distinct."""
    if not key_ids or len(set(key_ids)) < len(key_ids):
        raise InputError("key_IDs", len(key_ids), "must be one or more identifiers, each once")
    if size_bit is not None:
        _require_size(size_bit)
    body = msgspec.json.encode({"key_IDs": [{"key_ID": key_id} for key_id in key_ids]})

    def read(content: bytes) -> list[Key]:
        keys = _fitting(msgspec.json.decode(content, type=etsi014.KeyContainer).keys, len(key_ids), size_bit)
        by_id = {item.key_ID: item for item in keys}
        if by_id.keys() != set(key_ids):
            raise ProtocolViolation("keys under other identifiers than were asked for")
        return [by_id[key_id] for key_id in key_ids]

    limit_byte = _limit_byte(len(key_ids), size_bit or KEY_LIMIT_BYTE * BIT_PER_BYTE)
    path = _path("master_SAE_ID", master_sae, "dec_keys")
    return Question("POST", path, body, read, limit_byte, delivers=True, key_ids=tuple(key_ids))


def _path(field: str, sae: str, what: str) -> str:
    if not 1 <= len(sae) <= SAE_ID_LIMIT or not sae.isprintable() or not sae.strip(". "):
        raise InputError(field, sae, f"must be 1 to {SAE_ID_LIMIT} printable characters, not only dots and blanks")
    return f"/api/v1/keys/{quote(sae, safe='')}/{what}"


def _require_size(size_bit: int) -> None:
    if size_bit % BIT_PER_BYTE or not BIT_PER_BYTE <= size_bit <= KEY_LIMIT_BYTE * BIT_PER_BYTE:
        raise InputError("size", size_bit, f"must be a multiple of 8 in [{BIT_PER_BYTE}, {KEY_LIMIT_BYTE * BIT_PER_BYTE}] bit")


def _limit_byte(number: int, size_bit: int) -> int:
    return PREAMBLE_LIMIT_BYTE + number * (ENTRY_LIMIT_BYTE + size_bit // 6 + 4)


def _fitting(keys: list[Key], number: int, size_bit: int | None) -> list[Key]:
    """``keys``, if they are what was asked for. Raises ProtocolViolation."""
    if len(keys) != number:
        raise ProtocolViolation(f"{len(keys)} keys where {number} were asked for")
    if len({item.key_ID for item in keys}) < number:
        raise ProtocolViolation("two keys under one identifier")
    lengths_bit = {len(item.key) * BIT_PER_BYTE for item in keys}
    if 0 in lengths_bit or (size_bit is not None and lengths_bit != {size_bit}):
        raise ProtocolViolation(f"keys of {sorted(lengths_bit)} bit where {size_bit or 'at least 8'} bit were asked for")
    return keys


# When to ask again, and what to say in the end.


def converse(
    question: Question[Answer], kme_id: str, addresses: deque[str], *, retry_s: float, now: Callable[[], float] = time.monotonic
) -> Talk[Answer]:
    """Ask ``question`` until it is answered, refused for good, or ``retry_s`` [s] have passed.

    The first of ``addresses`` is asked; one that cannot be connected to goes to the end. Raises RemoteRefused with the KME's status
    and words, KmeUnreachable when there was no conversation, KeysUncertain, and ProtocolViolation for an answer that does not fit.
    """
    until_s, pause_s, unconnected = now() + retry_s, FIRST_PAUSE_S, 0
    while True:
        address = addresses[0]
        outcome = yield address
        assert outcome is not None
        if isinstance(outcome, Failure) and not outcome.sent:
            addresses.rotate(-1)
            unconnected += 1
            if unconnected % len(addresses):
                continue
        if isinstance(outcome, Reply) and 200 <= outcome.status < 300:
            return _read(question, kme_id, outcome)
        error, again = _judge(question, kme_id, address, outcome)
        jittered_s = pause_s * (0.5 + secrets.randbelow(1000) / 2000)
        if not again or now() + jittered_s > until_s:
            raise error
        yield jittered_s
        pause_s = min(2 * pause_s, LONGEST_PAUSE_S)


def _judge(question: Question[Any], kme_id: str, address: str, outcome: Reply | Failure) -> tuple[TiandiError, bool]:
    """The error that an outcome is, and whether to ask again."""
    if isinstance(outcome, Failure):
        if question.delivers and outcome.sent and not outcome.untrusted:
            return KeysUncertain(kme_id, outcome.why, question.key_ids), False
        return KmeUnreachable(f"{kme_id} at {address}: {outcome.why}"), not outcome.untrusted
    words = _own_words(outcome.content)
    # Gateways answer 5xx, some of them 503, also when they have lost an answer of the KME behind them.
    if question.delivers and outcome.status >= 500 and not (outcome.status == 503 and words):
        return KeysUncertain(kme_id, f"status {outcome.status}", question.key_ids), False
    return RemoteRefused(outcome.status, words or _printable(outcome.reason)), outcome.status == 503


def _read(question: Question[Answer], kme_id: str, reply: Reply) -> Answer:
    discarded = "; its keys are discarded" if question.delivers else ""
    if len(reply.content) > question.limit_byte:
        raise ProtocolViolation(f"{kme_id} answered with more than {question.limit_byte} bytes{discarded}")
    try:
        return question.read(reply.content)
    except ProtocolViolation as error:
        raise ProtocolViolation(f"{kme_id} answered with {error}{discarded}") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        why = str(error) if isinstance(error, msgspec.DecodeError) else type(error).__name__
        raise ProtocolViolation(f"{kme_id} answered with what ETSI GS QKD 014 does not know ({_printable(why)}){discarded}") from None


def _own_words(content: bytes) -> str:
    """The message of a refusal, if it is the KME's own."""
    try:
        return _printable(msgspec.json.decode(content, type=etsi014.Error).message)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ""


def _printable(text: str) -> str:
    return "".join(letter if letter.isprintable() else " " for letter in text[:MESSAGE_LIMIT])
