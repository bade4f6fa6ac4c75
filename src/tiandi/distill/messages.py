"""What Alice and Bob say to each other: MessagePack, decoded with every type checked."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

import msgspec

from tiandi.bits import Data
from tiandi.distill.cascade_plan import MAXIMUM_BATCHES, MAXIMUM_PASSES, Question
from tiandi.errors import ProtocolViolation

Questions = Annotated[tuple[Question, ...], msgspec.Meta(max_length=MAXIMUM_BATCHES)]
ByBasis = tuple[bytes, bytes]
"""What is said of the X and of the Z basis; nothing of a basis is an empty string."""


class CascadeProposal(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Cascade on the key of one basis: frames, block sizes (as powers of two), random subsets of a batch, and the seed of the shuffles."""

    frames: int
    levels: Annotated[tuple[int, ...], msgspec.Meta(max_length=MAXIMUM_PASSES)]
    subsets: int
    seed: bytes


class LdpcProposal(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An LDPC code for the key of one basis: frames, rows of circulants, their size, and its seed."""

    frames: int
    rows: int
    circulant: int
    seed: int


class Message(msgspec.Struct, frozen=True, tag=True, forbid_unknown_fields=True):
    """Base of all messages. Bit strings are packed, first bit lowest. Everything but bit strings has a bounded length."""


class Announcement(Message, frozen=True):
    """Bob: which slots clicked (LEB128, see `sifting.encode_slots`), and in which basis; and a number that no other block has."""

    nonce: bytes
    slots: memoryview
    bases: bytes


class Sifting(Message, frozen=True):
    """Alice: which of these detections are in her basis, their intensities digit by digit, and of each basis a random sample: which of its
    sifted bits it takes, and her values of them."""

    matched: bytes
    intensities: Annotated[tuple[bytes, ...], msgspec.Meta(max_length=8)]
    sampled: ByBasis
    sample_bits: ByBasis


class Estimate(Message, frozen=True):
    """Bob: his bits of the samples."""

    sample_bits: ByBasis


class Proceed(Message, frozen=True):
    """Alice: the error rate is low enough."""


class Reconciliation(Message, frozen=True):
    """Bob: start Cascade on the keys of these bases; and his first questions."""

    proposals: tuple[CascadeProposal | None, CascadeProposal | None]
    questions: tuple[Questions, Questions]


class Query(Message, frozen=True):
    """Bob: what he asks next, one question a batch."""

    questions: tuple[Questions, Questions]


class Parities(Message, frozen=True):
    """Alice: the parities asked for; of each batch those of searches and those of rows begin with a new byte."""

    bits: ByBasis


class SyndromeRequest(Message, frozen=True):
    """Bob: tell the syndromes of the keys of these bases under these codes."""

    proposals: tuple[LdpcProposal | None, LdpcProposal | None]


class IncrementRequest(Message, frozen=True):
    """Bob: these frames (a bit each) need more."""

    frames: ByBasis


class Syndromes(Message, frozen=True):
    """Alice: what the next stage tells of the frames asked for, one after the other."""

    bits: ByBasis


class VerificationRequest(Message, frozen=True):
    """Bob: I hold your keys of these bases, I think."""

    wanted: tuple[bool, bool]


class Verification(Message, frozen=True):
    """Alice: a fresh hash key and the hashes of her keys under it."""

    hash_key: bytes
    hashes: ByBasis


class PieceHashRequest(Message, frozen=True):
    """Bob: the keys of these bases still differ; tell where."""

    wanted: tuple[bool, bool]


class PieceHashes(Message, frozen=True):
    """Alice: a fresh hash key and the hashes of all pieces of her keys under it."""

    hash_key: bytes
    hashes: ByBasis


class RevelationRequest(Message, frozen=True):
    """Bob: these pieces (a bit each) cannot be corrected; tell them."""

    pieces: ByBasis


class Revelation(Message, frozen=True):
    """Alice: the bits of the pieces, one after the other. They are public from now on and count as leaked."""

    bits: ByBasis


class Errors(Message, frozen=True):
    """Bob: how many bits he corrected, by basis and intensity, having verified both keys; and how much of them goes to the authentication
    pool."""

    counts: tuple[tuple[int, ...], tuple[int, ...]]
    replenish_bit: int


class Amplification(Message, frozen=True):
    """Alice: the identifier of the block and, drawn after everything else was said, the Toeplitz seed of each basis."""

    block_id: UUID
    seeds: ByBasis


class Confirmation(Message, frozen=True):
    """Bob: the tag of everything said so far, and the place in the authentication pool that paid for it."""

    segment: UUID
    start: Annotated[int, msgspec.Meta(ge=0, le=2**40)]
    tag: bytes


class Acknowledgement(Message, frozen=True):
    """Alice: her tag of Bob's confirmation, which she has checked. Both have the key."""

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
    | SyndromeRequest
    | IncrementRequest
    | Syndromes
    | VerificationRequest
    | Verification
    | PieceHashRequest
    | PieceHashes
    | RevelationRequest
    | Revelation
    | Errors
    | Amplification
    | Confirmation
    | Acknowledgement
    | Abort
)

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(AnyMessage)


class _Kind(msgspec.Struct):
    """What every message begins with."""

    type: str


_kind_decoder = msgspec.msgpack.Decoder(_Kind)
ROUNDS = frozenset({Query.__name__, Parities.__name__})


def encode(message: Message) -> bytes:
    """The bytes of a message."""
    return _encoder.encode(message)


def decode(data: Data) -> AnyMessage:
    """The message in ``data``. Raises ProtocolViolation when it is none."""
    try:
        return _decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ProtocolViolation(f"a message cannot be decoded: {error}") from None


def is_round(data: Data) -> bool:
    """Whether ``data`` says that it is one of the hundreds of rounds of Cascade; the rest of it is not read."""
    try:
        return _kind_decoder.decode(data).type in ROUNDS
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
