"""Compiled loops of sifting: bits packed 64 a word and moved together, slots as bytes and back.

One instruction moves the chosen bits of a word together and another one moves them apart (PEXT and PDEP of BMI2), where the processor has
them and does not emulate them slowly; shifts do the same elsewhere. All else is written once for every processor. Nothing branches on a bit
of key. A compiled function does not notice that an intrinsic of this file has changed: empty ``__pycache__`` after one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import numpy as np
from llvmlite import binding, ir
from numba import extending, types
from numba.core import cgutils

from tiandi.compiling import inlined, kernel, lean_kernel, target_features
from tiandi.distill.cascade_words import fetch_to_read

WORD_BIT = 64
BYTES_AT_ONCE = 64
TALLIED_AT_ONCE = 512
"""Words that are counted before the next ones are read, value by value."""
LONGEST_NUMBER_BYTE = 9
AHEAD, LINE = 512, 8
"""Slots are more than caches hold: so many before their turn their cache lines are fetched, which have so many each."""
ROOM_BYTE = 10 * BYTES_AT_ONCE + 8
"""For `BYTES_AT_ONCE` numbers, whatever they are, and the word that the last of them is written in."""
FIRST_SLOT_REFUSED = 2**62

SLOW_EXTRACTION = ("bdver4", "znver1", "znver2")
"""Processors, as LLVM names them, whose PEXT is a loop in microcode: AMD before Zen 3."""

NOT_MINIMAL, TOO_LONG, TOO_FAR, MISSING = 1, 2, 4, 8
"""What `decode` finds wrong, added up."""

ONE_BYTE = np.uint64(0x80)
"""First number that takes more than one byte."""

ZERO, ONE, ALL = np.uint64(0), np.uint64(1), np.uint64(2**64 - 1)
SIX, EIGHT, FIFTY_SIX, LAST_BIT, WHOLE = (np.uint64(bit) for bit in (6, 8, 56, WORD_BIT - 1, WORD_BIT))
MORE_FOLLOWS, SEVENS = np.uint64(0x8080808080808080), np.uint64(0x7F7F7F7F7F7F7F7F)
"""The highest bit of every byte, and the seven others."""

intrinsic: Any = extending.intrinsic  # Its own types count the compiler's argument among the caller's.

_WORD, _BYTES = ir.IntType(64), ir.VectorType(ir.IntType(8), BYTES_AT_ONCE)


@cache
def extraction_flag() -> bool | None:
    """True where one instruction moves the chosen bits of a word together; None for the portable form. Kernels choose by its type."""
    return flag_with(binding.get_host_cpu_name(), target_features())


def flag_with(processor: str, features: Mapping[str, bool]) -> bool | None:
    """The same for a processor with this name and these features, as LLVM names them."""
    return True if features.get("bmi2", False) and processor not in SLOW_EXTRACTION else None


def _of_word(instruction: Callable[..., Any]) -> Any:
    """A function of a word for compiled loops; ``instruction`` takes builder and word."""

    def typed(_context, word):  # type: ignore[no-untyped-def]
        return types.uint64(types.uint64), lambda _, builder, __, arguments: instruction(builder, arguments[0])

    return intrinsic(typed)


def _of_two_words(name: str) -> Any:
    """A function of two words for compiled loops, by its name in LLVM."""

    def typed(_context, word, mask):  # type: ignore[no-untyped-def]
        def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
            return builder.call(builder.module.declare_intrinsic(name, (), ir.FunctionType(_WORD, [_WORD, _WORD])), arguments)

        return types.uint64(types.uint64, types.uint64), generate

    return intrinsic(typed)


_extracted_at_once, _deposited_at_once = _of_two_words("llvm.x86.bmi.pext.64"), _of_two_words("llvm.x86.bmi.pdep.64")
_ones = _of_word(lambda builder, word: builder.ctpop(word))
_zeros_above = _of_word(lambda builder, word: builder.ctlz(word, cgutils.false_bit))
_zeros_below = _of_word(lambda builder, word: builder.cttz(word, cgutils.false_bit))


def _address(context: Any, builder: Any, signature: Any, arguments: Any, pointee: Any) -> Any:
    """Address of the byte of an array, the first argument, at an index, the second."""
    data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
    return builder.bitcast(builder.gep(data, [arguments[1]]), ir.PointerType(pointee))


def _loaded(context: Any, builder: Any, signature: Any, arguments: Any, kind: Any = _WORD) -> Any:
    return builder.load(_address(context, builder, signature, arguments, kind), align=1)


@intrinsic
def _load_word(_context, data, index):  # type: ignore[no-untyped-def]
    """Eight bytes of an array of uint8 from ``index``, the first one lowest; nothing checks that they are there."""
    return types.uint64(data, types.intp), _loaded


@intrinsic
def _store_word(_context, data, index, word):  # type: ignore[no-untyped-def]
    """Put eight bytes into an array of uint8 at ``index``; nothing checks that there is room."""

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        builder.store(arguments[2], _address(context, builder, signature, arguments, _WORD), align=1)
        return context.get_dummy_value()

    return types.void(data, types.intp, types.uint64), generate


@intrinsic
def _digits(_context, values, index, mask):  # type: ignore[no-untyped-def]
    """The word whose bit k says whether byte ``index`` + k of an array of uint8 meets ``mask``; nothing checks that these are there."""

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        nothing, lane = ir.Constant(_BYTES, [0] * BYTES_AT_ONCE), ir.IntType(32)
        first = builder.insert_element(nothing, arguments[2], ir.Constant(lane, 0))
        masks = builder.shuffle_vector(first, nothing, ir.Constant(ir.VectorType(lane, BYTES_AT_ONCE), [0] * BYTES_AT_ONCE))
        met = builder.and_(_loaded(context, builder, signature, arguments, _BYTES), masks)
        return builder.bitcast(builder.icmp_unsigned("!=", met, nothing), _WORD)

    return types.uint64(values, types.intp, types.uint8), generate


@lean_kernel
def split(values, planes):  # type: ignore[no-untyped-def]
    """Bit v of word w of plane k becomes binary digit k of value 64 w + v; zeros beyond the values. Tells if one has more digits."""
    whole = values.size // WORD_BIT
    higher = np.uint8(0xFF << planes.shape[0] & 0xFF)
    more = ZERO
    for w in range(whole):
        more |= _digits(values, WORD_BIT * w, higher)
        for k in range(planes.shape[0]):
            planes[k, w] = _digits(values, WORD_BIT * w, np.uint8(1 << k))
    planes[:, whole:] = ZERO
    for v in range(WORD_BIT * whole, values.size):
        more |= np.uint64(values[v] & higher)
        for k in range(planes.shape[0]):
            planes[k, whole] |= np.uint64((values[v] >> k) & 1) << np.uint64(v - WORD_BIT * whole)
    return more != ZERO


@lean_kernel
def ones(words):  # type: ignore[no-untyped-def]
    """How many bits of the words are one."""
    total = ZERO
    for word in words:
        total += _ones(word)
    return np.int64(total)


@kernel
def tally(planes, chosen, counted):  # type: ignore[no-untyped-def]
    """How many of the bits that are one in ``chosen`` have the value v, whose digits are the planes, for each v that is counted."""
    of_value = np.empty(TALLIED_AT_ONCE, np.uint64)
    counted[:] = 0
    for first in range(0, chosen.size, TALLIED_AT_ONCE):
        some = chosen[first : first + TALLIED_AT_ONCE]
        for value in range(counted.size):
            of_value[: some.size] = some
            for k in range(planes.shape[0]):
                plane, zeros = planes[k, first : first + some.size], ZERO if value >> k & 1 else ALL
                for w in range(some.size):
                    of_value[w] &= plane[w] ^ zeros
            total = ZERO
            for w in range(some.size):
                total += _ones(of_value[w])
            counted[value] += np.int64(total)


@inlined
def _extracted(word, chosen, flag):  # type: ignore[no-untyped-def]
    """The bits of a word where ``chosen`` is one, moved together to its low end; the type of ``flag`` says how, see `extraction_flag`.

    The portable form moves each bit down by the number of zeros of ``chosen`` below it, one binary digit of that number after the other
    (Warren 2012, "Hacker's Delight", compress; recalled).
    """
    if flag is not None:
        return _extracted_at_once(word, chosen)
    word &= chosen
    zeros = ~chosen << ONE
    for level in range(6):
        places = ONE << np.uint64(level)
        odd = zeros
        for step in range(6):
            odd ^= odd << (ONE << np.uint64(step))
        zeros &= ~odd
        moving = odd & chosen
        chosen = (chosen ^ moving) | (moving >> places)
        bits = word & moving
        word = (word ^ bits) | (bits >> places)
    return word


@lean_kernel
def select(planes, chosen, words, out, flag):  # type: ignore[no-untyped-def]
    """Of each plane the bits where ``chosen`` is one, moved together; ``out`` has room for ``words`` a plane, and for one word more."""
    for k in range(planes.shape[0]):
        place, filled, filling = np.uint64(words * k), ZERO, ZERO
        for w in range(chosen.size):
            piece = _extracted(planes[k, w], chosen[w], flag)
            end = filled + _ones(chosen[w])
            filling |= piece << filled
            # Written whether full or not: which of both is as good as random, and to guess it wrong costs more.
            out[place] = filling
            filling = (piece >> ONE) >> (LAST_BIT - filled) if end >= WHOLE else filling
            place += end >> SIX
            filled = end & LAST_BIT
        out[place] = filling


@inlined
def _spread(number, flag):  # type: ignore[no-untyped-def]
    """The lower 56 bits of a number, seven in each byte."""
    if flag is not None:
        return _deposited_at_once(number, SEVENS)
    number = (number & np.uint64(0x000000000FFFFFFF)) | (number & np.uint64(0x00FFFFFFF0000000)) << np.uint64(4)
    number = (number & np.uint64(0x00003FFF00003FFF)) | (number & np.uint64(0x0FFFC0000FFFC000)) << np.uint64(2)
    return (number & np.uint64(0x007F007F007F007F)) | (number & np.uint64(0x3F803F803F803F80)) << ONE


@inlined
def _joined(spread, flag):  # type: ignore[no-untyped-def]
    """The lower seven bits of each byte of a word, moved together."""
    if flag is not None:
        return _extracted_at_once(spread, SEVENS)
    spread = (spread & np.uint64(0x007F007F007F007F)) | (spread & np.uint64(0x7F007F007F007F00)) >> ONE
    spread = (spread & np.uint64(0x00003FFF00003FFF)) | (spread & np.uint64(0x3FFF00003FFF0000)) >> np.uint64(2)
    return (spread & np.uint64(0x000000000FFFFFFF)) | (spread & np.uint64(0x0FFFFFFF00000000)) >> np.uint64(4)


@inlined
def _length(number):  # type: ignore[no-untyped-def]
    """Bytes of a number below 2^63, seven bits in each: ninths of 64 instead of sevenths, which is right as far as that."""
    return (np.uint64(640) - np.uint64(9) * _zeros_above(number | ONE)) >> SIX


@inlined
def _gap(slots, first, k):  # type: ignore[no-untyped-def]
    """How many slots were left out before that at ``first`` + k. An index without a sign needs no look at its sign, so that loops become
    vectors; ``first`` has none and is 1 or more."""
    i = first + np.uint64(k)
    return np.uint64(slots[i] - slots[i - ONE] - 1)


@inlined
def _fetch_ahead(slots, first):  # type: ignore[no-untyped-def]
    """Begin to bring the slots into the cache that will be read after `AHEAD` others."""
    if first + AHEAD < slots.size:
        for line in range(0, BYTES_AT_ONCE, LINE):
            fetch_to_read(slots, first + AHEAD + line)


@inlined
def _tell_bytes(slots, first, count, out, place):  # type: ignore[no-untyped-def]
    """Write ``count`` gaps of a byte each, and tell whether they were that."""
    every = ZERO
    for k in range(count):
        gap = _gap(slots, first, k)
        every |= gap
        out[place + np.uint64(k)] = np.uint8(gap)
    return every < ONE_BYTE


@lean_kernel
def encode(slots, out, flag):  # type: ignore[no-untyped-def]
    """Write the slots and tell in how many bytes, -1 when they do not rise from 0 or more.

    ``out`` has room for slots that rise to the last of these, and ROOM_BYTE more; nothing is written beyond, whatever the slots.
    """
    place, previous, signs = ZERO, np.int64(-1), np.int64(0)
    first = 0
    while first < slots.size:
        end = min(first + BYTES_AT_ONCE, slots.size)
        if place + np.uint64(ROOM_BYTE) > np.uint64(out.size):
            return np.int64(-1)
        _fetch_ahead(slots, first)
        # Gaps of a byte each, 64 or 8 at once: the usual case where more than one pulse in twenty is detected.
        if first and end == first + BYTES_AT_ONCE and _tell_bytes(slots, np.uint64(first), BYTES_AT_ONCE, out, place):
            place += WHOLE
            first, previous = end, slots[end - 1]
            continue
        for group in range(first, end, 8):
            if group and group + 8 <= end and _tell_bytes(slots, np.uint64(group), 8, out, place):
                place += EIGHT
                previous = slots[group + 7]
                continue
            for i in range(group, min(group + 8, end)):
                slot = slots[i]
                signed = slot - previous - 1
                signs |= slot | signed
                gap = np.uint64(signed)
                length = _length(gap)
                if gap >> FIFTY_SIX:
                    _store_word(out, place, _spread(gap, flag) | MORE_FOLLOWS)
                    out[place + EIGHT] = np.uint8(gap >> FIFTY_SIX)
                else:
                    _store_word(out, place, _spread(gap, flag) | (MORE_FOLLOWS & ((ONE << (EIGHT * length - EIGHT)) - ONE)))
                place += length
                previous = slot
        first = end
    return np.int64(-1) if signs < 0 else np.int64(place)


@inlined
def _read_number(source, start, length, flag):  # type: ignore[no-untyped-def]
    """The number of so many bytes, 9 at most, from ``start`` on."""
    if length > EIGHT:
        return _joined(_load_word(source, start), flag) | np.uint64(source[start + EIGHT]) << FIFTY_SIX
    return _joined(_load_word(source, start) & (ALL >> (WHOLE - EIGHT * length)), flag)


@lean_kernel
def decode(data, rest, slots, sent_slots, marks, flag):  # type: ignore[no-untyped-def]
    """Read the slots, as many as there are bytes below 0x80, and tell what is wrong with them: 0 when nothing is.

    Either they are written to ``slots``, or, where ``slots`` is None, a bit of ``marks`` is set for the row of each in ``sent_slots``. The
    sizes of ``data`` and ``rest`` are multiples of 64. In memory at least 8 bytes of the list follow ``data``; ``rest`` repeats its last 64
    bytes, if it has any, and ends with at least 8 bytes 0x80 as if something followed.
    """
    count, start, slot, every = ZERO, ZERO, ALL, ZERO
    follows, superfluous = ZERO, ZERO
    row, at, word = ZERO, ZERO, ZERO
    told_before = data.size - min(data.size, BYTES_AT_ONCE)
    for block in range(0, told_before + rest.size, BYTES_AT_ONCE):
        source, before = data, 0
        if block >= data.size:
            source, before = rest, told_before
        continued = _digits(source, block - before, np.uint8(0x80))
        superfluous |= ~_digits(source, block - before, np.uint8(0xFF)) & (continued << ONE | follows)
        follows = continued >> LAST_BIT
        ends = ~continued
        if sent_slots is not None and continued == ZERO and start == np.uint64(block) and row and row + WHOLE <= np.uint64(sent_slots.size):
            # 64 gaps of a byte each, mostly those before the next 64 rows; the row before these is that of the last slot.
            differs = ZERO
            for k in range(BYTES_AT_ONCE):
                differs |= _gap(sent_slots, row, k) ^ np.uint64(source[np.uint64(block - before) + np.uint64(k)])
            if differs == ZERO:
                shift = row & LAST_BIT
                if row >> SIX != at:
                    marks[at] = word
                    at, word = row >> SIX, ZERO
                word |= ALL << shift
                if shift:
                    marks[at] = word
                    at, word = at + ONE, ALL >> (WHOLE - shift)
                row += WHOLE
                slot, start = np.uint64(sent_slots[row - ONE]), start + WHOLE
                every |= slot
                continue
        while ends:
            after = np.uint64(block) + _zeros_below(ends) + ONE
            ends &= ends - ONE
            if after - start > np.uint64(LONGEST_NUMBER_BYTE):
                return TOO_LONG
            gap = _read_number(source, start - np.uint64(before), after - start, flag)
            slot += gap + ONE
            every |= slot
            start = after
            if slots is not None:
                slots[count] = np.int64(slot)
                count += ONE
            if sent_slots is not None:
                rows = np.uint64(sent_slots.size)
                if row == rows or np.uint64(sent_slots[row]) != slot:
                    row = np.uint64(_row_ahead(np.int64(slot), sent_slots, np.int64(row), gap))
                    if row == rows:
                        return MISSING
                if row >> SIX != at:
                    marks[at] = word
                    at, word = row >> SIX, ZERO
                word |= ONE << (row & LAST_BIT)
                row += ONE
    if marks is not None and row > ZERO:
        marks[at] = word
    return (NOT_MINIMAL if superfluous else 0) | (TOO_FAR if every >= np.uint64(FIRST_SLOT_REFUSED) else 0)


@lean_kernel
def _row_ahead(slot, sent_slots, row, gap):  # type: ignore[no-untyped-def]
    """Row from ``row`` on with ``slot``, sought in ever longer steps; as many as there are rows if none has it.

    ``gap`` slots were left out since that of the row before.
    """
    if row == sent_slots.size:
        return row
    # Rising whole numbers from 0: no slot lies more rows ahead than it is higher, and exactly so many where every pulse was sent.
    last = row + np.int64(min(gap, np.uint64(sent_slots.size - 1 - row)))
    if sent_slots[last] == slot:
        return last
    step = 1
    while row + step < last and sent_slots[row + step] < slot:
        row += step
        step *= 2
    row += np.searchsorted(sent_slots[row : min(row + step, last)], slot)
    return row if sent_slots[row] == slot else sent_slots.size
