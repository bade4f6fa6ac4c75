"""What Alice and Bob say to each other: MessagePack, decoded with every type checked."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

import msgspec

from tiandi.distill.cascade_plan import MAXIMUM_BATCHES, MAXIMUM_PASSES, Question
from tiandi.errors import ProtocolViolation

Questions = Annotated[tuple[Question, ...], msgspec.Meta(min_length=1, max_length=MAXIMUM_BATCHES)]


class Message(msgspec.Struct, frozen=True, tag=True, forbid_unknown_fields=True):
    """Base of all messages. Bit strings are packed, first bit lowest. Everything but bit strings has a bounded length."""


class Announcement(Message, frozen=True):
    """Bob: which slots clicked (gaps between them, little-endian uint32) and in which basis; which authentication key will be used."""

    gaps: bytes
    bases: bytes
    authentication_segment: UUID
    authentication_start: Annotated[int, msgspec.Meta(ge=0, le=2**40)]


class Sifting(Message, frozen=True):
    """Alice: which of these detections are in her basis, their intensities (a byte each), and a random sample with her bits of it."""

    matched: bytes
    intensities: bytes
    sampled: bytes
    sample_bits: bytes


class Estimate(Message, frozen=True):
    """Bob: his bits of the sample."""

    sample_bits: bytes


class Proceed(Message, frozen=True):
    """Alice: the error rate is low enough."""


class Reconciliation(Message, frozen=True):
    """Bob: start Cascade on the key of one basis with these block sizes (as powers of two), so many random subsets of a batch and this seed
    of the shuffles; and his first questions."""

    basis: int
    frames: int
    levels: Annotated[tuple[int, ...], msgspec.Meta(max_length=MAXIMUM_PASSES)]
    subsets: int
    seed: bytes
    questions: Questions


class Query(Message, frozen=True):
    """Bob: what he asks next, one question a batch."""

    questions: Questions


class Parities(Message, frozen=True):
    """Alice: the parities asked for; of each batch those of searches and those of rows begin with a new byte."""

    bits: bytes


class VerificationRequest(Message, frozen=True):
    """Bob: I hold your key of this basis, I think."""

    basis: int


class Verification(Message, frozen=True):
    """Alice: a fresh hash key and the hash of her key under it."""

    hash_key: bytes
    hash: bytes


class Errors(Message, frozen=True):
    """Bob: how many bits he corrected, by basis and intensity. He has verified both keys."""

    counts: tuple[tuple[int, ...], tuple[int, ...]]


class Amplification(Message, frozen=True):
    """Alice: the identifier of the block and, drawn after everything else was said, the Toeplitz seed of each basis."""

    block_id: UUID
    seeds: tuple[bytes, bytes]


class Confirmation(Message, frozen=True):
    """Either end: the tag of everything said so far."""

    tag: bytes


class Abort(Message, frozen=True):
    """Either end: the block is void."""

    reason: Annotated[str, msgspec.Meta(max_length=200)]


AnyMessage = (
    Announcement
    | Sifting
    | Estimate
    | Proceed
    | Reconciliation
    | Query
    | Parities
    | VerificationRequest
    | Verification
    | Errors
    | Amplification
    | Confirmation
    | Abort
)

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(AnyMessage)


def encode(message: Message) -> bytes:
    """The bytes of a message."""
    return _encoder.encode(message)


def decode(data: bytes) -> AnyMessage:
    """The message in ``data``. Raises ProtocolViolation when it is none."""
    try:
        return _decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ProtocolViolation(f"a message cannot be decoded: {error}") from None
