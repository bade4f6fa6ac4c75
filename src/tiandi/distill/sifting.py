"""Sifting on packed bits: bases compared and bits selected 64 at a time, detections told as the gaps between them."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from tiandi.bits import BitArray, Data
from tiandi.distill import sifting_kernels as kernels
from tiandi.distill.sifting_kernels import BYTES_AT_ONCE, FIRST_SLOT_REFUSED, LONGEST_NUMBER_BYTE, WORD_BIT
from tiandi.errors import InputError, ProtocolViolation
from tiandi.limits import require_within
from tiandi.units import byte_from_bit

Words = NDArray[np.uint64]
"""Bits 64 a word, first bit lowest; what is left of the last word is zero."""

Slots = NDArray[np.int64]

MOST_PLANES = 8
NO_MORE = 0x80
NUMBER_BYTE = 8
"""`kernels.decode` reads numbers so many bytes at a time."""


def pack_words(bits: BitArray, into: Words | None = None) -> Words:
    """``bits``, shape (n,) of 0 and 1, as words, shape (ceil(n / 64),); written to ``into`` where that is given."""
    return planes(bits, 1, None if into is None else into[np.newaxis])[0]


def unpack_words(words: Words, count: int) -> BitArray:
    """The first ``count`` bits of ``words``, shape (ceil(count / 64),), as an array of 0 and 1, shape (count,).

    Raises InputError when ``words`` is not exactly as long as ``count`` bits need.
    """
    _require_words("words", words, count)
    return np.unpackbits(np.ascontiguousarray(words).view(np.uint8), count=count, bitorder="little")


def words_from(packed: bytes, count: int) -> Words:
    """``count`` bits from a message, eight a byte, as words, shape (ceil(count / 64),); what fills up the last byte is cleared.

    Raises ProtocolViolation when ``packed`` is not exactly as long as ``count`` bits need.
    """
    if len(packed) != byte_from_bit(count):
        raise ProtocolViolation(f"a bit string has the wrong length: {count} bit need {byte_from_bit(count)} bytes, not {len(packed)}")
    words = np.zeros(words_for(count), np.uint64)
    words.view(np.uint8)[: len(packed)] = np.frombuffer(packed, np.uint8)
    return cut(words, count)


def bytes_from(words: Words, count: int) -> bytes:
    """The first ``count`` bits of ``words``, shape (ceil(count / 64),), eight a byte for a message.

    Raises InputError when ``words`` is not exactly as long as ``count`` bits need.
    """
    _require_words("words", words, count)
    return np.ascontiguousarray(words).view(np.uint8)[: byte_from_bit(count)].tobytes()


def planes(values: NDArray[np.uint8], number: int, into: Words | None = None) -> Words:
    """Plane k holds binary digit k of each of ``values``, shape (n,); shape (``number``, ceil(n / 64)), written to ``into`` if given.

    Raises InputError unless ``number`` is 1 to 8 and every value has no more digits.
    """
    require_within("number", number, 1, MOST_PLANES)
    values = np.ascontiguousarray(values, np.uint8)
    split = np.empty((number, words_for(values.size)), np.uint64) if into is None else into
    if kernels.split(values, split):
        raise InputError("values", int(values.max()), f"must have no more than {number} binary digits")
    return split


def values_of(planes: Words, count: int) -> NDArray[np.uint8]:
    """The first ``count`` values, shape (count,), whose binary digits are ``planes``, shape (P, ceil(count / 64)), P at most 8.

    Raises InputError when the planes are not exactly as long as ``count`` values need.
    """
    _require_words("planes", planes, count)
    values = np.zeros(count, np.uint8)
    for digit, plane in enumerate(planes):
        # 0 - 1 has every digit, of which one is kept: vectors, where NumPy shifts and multiplies bytes one by one.
        values |= -unpack_words(plane, count) & np.uint8(1 << digit)
    return values


def words_for(count: int) -> int:
    """How many words ``count`` bits need."""
    return -(-count // WORD_BIT)


def ones(words: Words) -> int:
    """How many bits of ``words`` are one."""
    return int(kernels.ones(np.ascontiguousarray(words)))


def everything(count: int) -> Words:
    """``count`` ones, shape (ceil(count / 64),)."""
    return cut(np.full(words_for(count), kernels.ALL), count)


def tally(planes: Words, chosen: Words, values: int) -> list[int]:
    """How many of the bits that are one in ``chosen`` (W,) have each of so many ``values``, whose digits are ``planes`` (P, W).

    All others together come last.
    """
    counted = np.zeros(values, np.int64)
    kernels.tally(planes, chosen, counted)
    return [*counted.tolist(), ones(chosen) - int(counted.sum())]


def matching(left: Words, right: Words, count: int) -> Words:
    """Ones where the first ``count`` bits of two strings are equal, as those of the bases of two ends; all of shape (ceil(count / 64),).

    Raises InputError when either is not exactly as long as ``count`` bits need.
    """
    _require_words("left", left, count)
    _require_words("right", right, count)
    matched = np.bitwise_xor(left, right)
    return cut(np.invert(matched, out=matched), count)


def select(planes: Words, chosen: Words, count: int) -> Words:
    """Of each of ``planes``, shape (P, W), those of the first ``count`` bits where ``chosen``, shape (W,), is one, moved together in order.

    With k of these ones the result has shape (P, ceil(k / 64)). Raises InputError unless W is what ``count`` bits need.
    """
    _require_words("planes", planes, count)
    _require_words("chosen", chosen, count)
    if count % WORD_BIT and chosen[-1] >> np.uint64(count % WORD_BIT):
        chosen = cut(chosen.copy(), count)
    words = words_for(ones(chosen))
    selected = np.empty(len(planes) * words + 1, np.uint64)
    kernels.select(np.ascontiguousarray(planes), np.ascontiguousarray(chosen), words, selected, kernels.extraction_flag())
    return selected[:-1].reshape(len(planes), words)


def encode_slots(slots: Slots) -> memoryview:
    """The bytes that tell ``slots``, shape (n,), which rise from 0 or more and stay below 2^62.

    Of each, how many slots were left out since the one before: seven bits a byte, the lowest first, the highest bit set in all bytes of a
    number but its last (LEB128). Raises InputError for slots that do not rise, or not in this range.
    """
    slots = np.ascontiguousarray(slots, np.int64)
    size_byte = -1
    if not slots.size:
        return memoryview(b"")
    if 0 <= slots[-1] < FIRST_SLOT_REFUSED:
        # A gap g takes at most 1 + log2(1 + g) / 7 bytes, which is concave: all of them together no more than as many mean gaps.
        most = slots.size * (1.0 + math.log2((int(slots[-1]) + 1) / slots.size) / 7.0)
        data = np.empty(int(most) + kernels.ROOM_BYTE, np.uint8)
        size_byte = int(kernels.encode(slots, data, kernels.extraction_flag()))
    if size_byte < 0:
        raise InputError("slots", f"{slots.size} slots", f"must rise from 0 or more and stay below {FIRST_SLOT_REFUSED}")
    return data[:size_byte].data


def decode_slots(data: Data, most: int) -> Slots:
    """The slots, shape (n,), that `encode_slots` has told: whatever this gives rises from 0 or more and stays below 2^62.

    Raises ProtocolViolation when a number is cut off, longer than 9 bytes or than it need be, when a slot is too high, and when there are
    more than ``most``.
    """
    whole, rest = _blocks(data)
    count = int(np.count_nonzero(np.frombuffer(data, np.uint8) < NO_MORE))
    if count > most:
        raise ProtocolViolation(f"{count} slots are told of where there can be {most}")
    slots = np.empty(count, np.int64)
    _require_nothing_wrong(kernels.decode(whole, rest, slots, None, None, kernels.extraction_flag()))
    return slots


def find_slots(data: Data, sent_slots: Slots) -> Words:
    """Which of ``sent_slots``, shape (m,), which rise, are among the slots that `encode_slots` has told: a bit each, shape (ceil(m / 64),).

    One walk through both, quick where nearly all that was sent is told and where every slot was sent. Raises ProtocolViolation like
    `decode_slots`, and when a slot was not sent.
    """
    whole, rest = _blocks(data)
    marks = np.zeros(words_for(sent_slots.size), np.uint64)
    sent_slots = np.ascontiguousarray(sent_slots, np.int64)
    _require_nothing_wrong(kernels.decode(whole, rest, None, sent_slots, marks, kernels.extraction_flag()))
    return marks


def _blocks(data: Data) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """A list of slots as `kernels.decode` reads it. Raises ProtocolViolation for a number cut off."""
    listed = np.frombuffer(data, np.uint8)
    listed.flags.writeable = False
    if listed.size and listed[-1] >= NO_MORE:
        raise ProtocolViolation("a list of slots is cut off")
    whole_byte = max(0, listed.size - NUMBER_BYTE) // BYTES_AT_ONCE * BYTES_AT_ONCE
    rest = listed[max(0, whole_byte - BYTES_AT_ONCE) :].tobytes()
    padded_byte = -(-(len(rest) + NUMBER_BYTE) // BYTES_AT_ONCE) * BYTES_AT_ONCE
    return listed[:whole_byte], np.frombuffer(rest.ljust(padded_byte, bytes([NO_MORE])), np.uint8)


def _require_nothing_wrong(wrong: int) -> None:
    """Raise ProtocolViolation for the gravest of the faults that `kernels.decode` has found."""
    if wrong & kernels.MISSING:
        raise ProtocolViolation("a detection is announced of a pulse that was not sent")
    if wrong & kernels.TOO_LONG:
        raise ProtocolViolation(f"a number in a list of slots is longer than {LONGEST_NUMBER_BYTE} bytes")
    if wrong & kernels.NOT_MINIMAL:
        raise ProtocolViolation("a number in a list of slots is longer than it need be")
    if wrong:
        raise ProtocolViolation(f"a slot is not below {FIRST_SLOT_REFUSED}")


def _require_words(field: str, words: Words, count: int) -> None:
    if words.shape[-1] != words_for(count):
        raise InputError(field, words.shape, f"{count} bit need {words_for(count)} words")


def cut(words: Words, count: int) -> Words:
    """Put zeros in place of all that comes after ``count`` bits."""
    if count % WORD_BIT:
        words[-1] &= np.uint64((1 << count % WORD_BIT) - 1)
    return words
