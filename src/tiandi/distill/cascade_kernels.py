"""Compiled loops of Cascade over packed bits.

A row holds one frame in the order of one pass, 64 bits a word, in planes: the bits and, at Bob's end, where known parts begin and which of
those differ. Sums hold a bit for every word of a row: the parity of the word, whether a part begins in it, whether one that differs does.

A part of 2^level bits has a node number: from the top, the pass, the frame within its batch (`FRAME_BITS` binary digits) and a heap number
(1 for the whole row). A random subset counts as one more pass; its tree spans the whole batch, so frame and heap number are one.
"""

from __future__ import annotations

import numpy as np

from tiandi.compiling import inlined, kernel, lean_kernel
from tiandi.distill.cascade_plan import FRAME_BITS, FRAME_MASK
from tiandi.distill.cascade_words import ALL, ONE, bit_at, fetch_word, ones, put_bit, slice_parity, zeros_above, zeros_below

BITS, STARTS, ODD = 0, 1, 2
"""Planes of a row: its bits; a one where a known part begins; a one where a part begins whose parities differ."""

REFUSED = -1
AHEAD = 8
"""Rows of many frames are more than caches hold: so many searches before its turn, what a search will read is fetched."""

WORD_LEVEL = 6
"""A part of this level is a word. From there on a search holds its word, beside its node, and leaves the rows alone until it has ended."""

NODE, WORD, BEGUN = 0, 1, 2
"""What is held of a search: its node, the word of bits that it has come down to and, at Bob's end, the parts that begin in it since."""

POSITION_BITS = 16
"""Binary digits of a position in a frame, of which none is longer than 2^16 bits."""


@inlined
def _parity(rows, sums, frame, number, level, start):  # type: ignore[no-untyped-def]
    """Parity of a part of a row: of bits of one word, or of parities of words."""
    if level <= 6:
        return slice_parity(rows[frame, number, start >> 6, BITS], start & 63, level)
    if level <= 12:
        return slice_parity(sums[frame, number, start >> 12, BITS], (start >> 6) & 63, level - 6)
    total = np.uint64(0)
    for g in range(start >> 12, min((start + (1 << level)) >> 12, sums.shape[2])):
        total ^= sums[frame, number, g, BITS]
    return ones(total) & 1


@inlined
def _subset_parity(rows, masks, offsets, subset, level, start, root):  # type: ignore[no-untyped-def]
    """Parity of those bits of a part of the batch that are in a random subset; each frame sees the masks from an offset of its own."""
    frame, first = start >> root, (start & ((1 << root) - 1)) >> 6
    if level <= 6:
        return slice_parity(rows[frame, 0, first, BITS] & masks[subset, offsets[frame] + first], start & 63, level)
    total = np.uint64(0)
    end = min(first + (1 << (min(level, root) - 6)), rows.shape[2])
    for f in range(frame, min(frame + (1 << max(0, level - root)), rows.shape[0])):
        offset = offsets[f]
        for w in range(first, end):
            total ^= rows[f, 0, w, BITS] & masks[subset, offset + w]
    return ones(total) & 1


@kernel
def subset_parities(rows, masks, offsets, out):  # type: ignore[no-untyped-def]
    """Parities of all random subsets of a batch."""
    words = rows.shape[2]
    folded = np.zeros(words, np.uint64)
    for f in range(rows.shape[0]):
        for w in range(words):
            folded[(w + offsets[f]) % words] ^= rows[f, 0, w, BITS]
    for s in range(out.size):
        total = np.uint64(0)
        for w in range(words):
            total ^= folded[w] & masks[s, w]
        out[s] = ones(total) & 1


@kernel
def make_rows(rows, sums, maps, openings):  # type: ignore[no-untyped-def]
    """Write rows (the pass times 2^FRAME_BITS plus the frame) from those of the first pass, and the parities of their words."""
    words = rows.shape[2]
    columns = words >> 6
    table = np.empty((64, columns), np.uint64)
    for opening in openings:
        number, frame = opening >> FRAME_BITS, opening & FRAME_MASK
        if number:
            for w in range(words):
                to = np.int64(maps[number, 0, w])
                word, turn = rows[frame, 0, w, BITS], np.uint64(to >> 10)
                table[to & 63, (to >> 6) & 15] = (word << turn) | (word >> (np.uint64(64 - (to >> 10)) & np.uint64(63)))
            step, mask = 32, np.uint64(2**32 - 1)
            # Transposing squares of 64 x 64 bits swaps quarters, then quarters of the quarters.
            while step:
                shift = np.uint64(step)
                for line in range(64):
                    if line & step == 0:
                        for g in range(columns):
                            swap = ((table[line, g] >> shift) ^ table[line + step, g]) & mask
                            table[line, g] ^= swap << shift
                            table[line + step, g] ^= swap
                step >>= 1
                mask ^= mask << np.uint64(step)
            for line in range(64):
                for g in range(columns):
                    rows[frame, number, maps[number, 1, line * columns + g], BITS] = table[line, g]
        for g in range(columns):
            total = np.uint64(0)
            for w in range(64):
                total |= np.uint64(ones(rows[frame, number, (g << 6) + w, BITS]) & 1) << np.uint64(w)
            sums[frame, number, g, BITS] = total


@inlined
def _forward(maps, number, position):  # type: ignore[no-untyped-def]
    """Where a pass puts a bit of the frame."""
    if number == 0:
        return position
    to = np.int64(maps[number, 0, position >> 6])
    line = ((position & 63) + (to >> 10)) & 63
    return (np.int64(maps[number, 1, line * (maps.shape[2] >> 6) + ((to >> 6) & 15)]) << 6) + (to & 63)


@inlined
def _backward(maps, number, position):  # type: ignore[no-untyped-def]
    """Which bit of the frame a pass has put there."""
    if number == 0:
        return position
    source = np.int64(maps[number, 2, position >> 6])
    w = np.int64(maps[number, 3, (position & 63) * (maps.shape[2] >> 6) + (source >> 6)])
    return (w << 6) + (((source & 63) - (np.int64(maps[number, 0, w]) >> 10)) & 63)


@inlined
def _locate(node, passes, root):  # type: ignore[no-untyped-def]
    """Pass, frame, heap number, level and first position of a node; of a random subset, the position counts 2^root bits a frame."""
    number = node >> (FRAME_BITS + root + 1)
    frame = (node >> (root + 1)) & FRAME_MASK
    depth = root
    if number >= passes:
        frame, depth = 0, root + FRAME_BITS
    heap = node & ((2 << depth) - 1)
    level = depth - 63 + zeros_above(np.uint64(heap))
    return number, frame, heap, level, (heap << level) - (1 << depth)


@inlined
def _exists(rows, number, passes, root, position):  # type: ignore[no-untyped-def]
    """Whether a position lies within the row or, for a random subset, within a row of the batch."""
    frames = 1 if number < passes else rows.shape[0]
    return position >> root < frames and position & ((1 << root) - 1) < rows.shape[2] << 6


@lean_kernel
def tell_blocks(rows, sums, shapes, openings, out):  # type: ignore[no-untyped-def]
    """Alice: the packed block parities of the rows opened; ``shapes`` are level, blocks and blocks told of each pass."""
    at = 0
    for opening in openings:
        number, frame = opening >> FRAME_BITS, opening & FRAME_MASK
        level = shapes[number, 0]
        for b in range(shapes[number, 2]):
            put_bit(out, at, _parity(rows, sums, frame, number, level, b << level))
            at += 1


@lean_kernel
def tell_halves(rows, sums, masks, offsets, opened, root, searches, going_on, turns, starts, out):  # type: ignore[no-untyped-def]
    """Alice: take the packed turns of the searches that go on, begin new ones, tell the packed parity of each one's left half.

    ``searches`` hold a node and a word each. Returns how many go on, or REFUSED when a node does not exist or two random subsets are
    searched at a time.
    """
    passes = rows.shape[1]
    kept = 0
    subset_searches = 0
    for i in range(going_on + starts.size):
        if i + AHEAD < going_on:
            number, frame, heap, level, start = _locate(np.int64(searches[i + AHEAD, NODE]), passes, root)
            if number < passes and level == WORD_LEVEL + 1:
                fetch_word(rows, frame, number, start + (bit_at(turns, i + AHEAD) << WORD_LEVEL))
        begins = i >= going_on
        node = starts[i - going_on] if begins else np.int64(searches[i, NODE])
        number, frame, heap, level, start = _locate(node, passes, root)
        if begins:
            if heap == 0 or level == 0 or frame >= rows.shape[0] or number >= opened[frame]:
                return REFUSED
        else:
            level -= 1
            turn = bit_at(turns, i)
            node += heap + turn
            start += turn << level
        if not _exists(rows, number, passes, root, start):
            return REFUSED
        word = np.uint64(0)
        if number >= passes:
            put_bit(out, i, _subset_parity(rows, masks, offsets, number - passes, level - 1, start, root))
            subset_searches += 1
            if subset_searches > 1:
                return REFUSED
        elif level > WORD_LEVEL:
            put_bit(out, i, _parity(rows, sums, frame, number, level - 1, start))
        else:
            word = rows[frame, number, start >> 6, BITS] if begins or level == WORD_LEVEL else searches[i, WORD]
            put_bit(out, i, slice_parity(word, start & 63, level - 1))
        if level > 1:
            searches[kept, NODE], searches[kept, WORD] = np.uint64(node), word
            kept += 1
    return kept


@inlined
def _start_of_part(rows, sums, frame, number, position):  # type: ignore[no-untyped-def]
    """Where the smallest known part that holds a position begins."""
    w = position >> 6
    word = rows[frame, number, w, STARTS] & (ALL >> np.uint64(63 - (position & 63)))
    if word == 0:
        g = w >> 6
        some = sums[frame, number, g, STARTS] & ((ONE << np.uint64(w & 63)) - ONE)
        while some == 0:
            g -= 1
            some = sums[frame, number, g, STARTS]
        w = (g << 6) + 63 - zeros_above(some)
        word = rows[frame, number, w, STARTS]
    return (w << 6) + 63 - zeros_above(word)


@inlined
def _level_of_part(rows, sums, frame, number, start):  # type: ignore[no-untyped-def]
    """Level of the smallest known part that begins at ``start``; where the row ends early, of the smallest power of two that holds it."""
    w = start >> 6
    word = rows[frame, number, w, STARTS] & ((ALL << np.uint64(start & 63)) << ONE)
    if word == 0:
        g = w >> 6
        some = sums[frame, number, g, STARTS] & ((ALL << np.uint64(w & 63)) << ONE)
        while some == 0 and g + 1 < sums.shape[2]:
            g += 1
            some = sums[frame, number, g, STARTS]
        if some == 0:
            return 64 - zeros_above(np.uint64((rows.shape[2] << 6) - start - 1))
        w = (g << 6) + zeros_below(some)
        word = rows[frame, number, w, STARTS]
    return 64 - zeros_above(np.uint64((w << 6) + zeros_below(word) - start - 1))


@inlined
def _begin(rows, sums, frame, number, start):  # type: ignore[no-untyped-def]
    """Note that a known part begins here."""
    rows[frame, number, start >> 6, STARTS] |= ONE << np.uint64(start & 63)
    sums[frame, number, start >> 12, STARTS] |= ONE << np.uint64((start >> 6) & 63)


@inlined
def _toggle(rows, sums, counts, frame, number, start):  # type: ignore[no-untyped-def]
    """Note that a part now differs that did not, or the reverse; ``counts`` are the parts that differ, shape (frames, passes)."""
    w = start >> 6
    bit, bit_of_word = ONE << np.uint64(start & 63), ONE << np.uint64(w & 63)
    word = rows[frame, number, w, ODD] ^ bit
    rows[frame, number, w, ODD] = word
    counts[frame, number] += 1 if word & bit else -1
    others = sums[frame, number, w >> 6, ODD] & ~bit_of_word
    sums[frame, number, w >> 6, ODD] = others | (bit_of_word if word else np.uint64(0))


@inlined
def _correct(rows, sums, counts, maps, opened, frame, position, own):  # type: ignore[no-untyped-def]
    """Flip a bit of a frame in every open pass; its part of each pass but ``own``, where the search has ended at it, changes sides."""
    for number in range(opened[frame]):
        there = _forward(maps, number, position)
        w = there >> 6
        rows[frame, number, w, BITS] ^= ONE << np.uint64(there & 63)
        sums[frame, number, w >> 6, BITS] ^= ONE << np.uint64(w & 63)
        if number != own:
            _toggle(rows, sums, counts, frame, number, _start_of_part(rows, sums, frame, number, there))


@inlined
def _correct_all(rows, sums, counts, maps, opened, found):  # type: ignore[no-untyped-def]
    """Flip all bits found: a pass and frame each, as in openings, and below them `POSITION_BITS` of the position in the frame."""
    for i in range(-AHEAD, found.size):
        if i + AHEAD < found.size:
            ahead = found[i + AHEAD]
            frame, position = (ahead >> POSITION_BITS) & FRAME_MASK, ahead & ((1 << POSITION_BITS) - 1)
            for number in range(opened[frame]):
                fetch_word(rows, frame, number, _forward(maps, number, position))
        if i >= 0:
            this = found[i]
            frame, position = (this >> POSITION_BITS) & FRAME_MASK, this & ((1 << POSITION_BITS) - 1)
            _correct(rows, sums, counts, maps, opened, frame, position, this >> (POSITION_BITS + FRAME_BITS))


@lean_kernel
def enter_blocks(rows, sums, counts, shapes, opened, frame_parities, openings, told):  # type: ignore[no-untyped-def]
    """Bob: note which blocks of the rows opened differ from the packed parities told."""
    at = 0
    for opening in openings:
        number, frame = opening >> FRAME_BITS, opening & FRAME_MASK
        level = shapes[number, 0]
        end = shapes[number, 1] << level
        rest = frame_parities[frame]
        for start in range(0, end, 1 << level):
            # All parities of the first pass are told; after that the last one follows from the others.
            parity = rest
            if number == 0 or start + (1 << level) < end:
                parity = bit_at(told, at)
                rest ^= parity
                at += 1
            _begin(rows, sums, frame, number, start)
            if parity != _parity(rows, sums, frame, number, level, start):
                _toggle(rows, sums, counts, frame, number, start)
        if end < rows.shape[2] << 6:
            _begin(rows, sums, frame, number, end)
        if number == 0:
            frame_parities[frame] = rest
        opened[frame] = number + 1


@lean_kernel
def enter_halves(rows, sums, counts, maps, masks, offsets, opened, active, root, searches, count, told, turns, found):  # type: ignore[no-untyped-def]
    """Bob: step each search into the half that differs, correct what is found; returns how many go on.

    ``searches`` hold a node, a word and what begins in it each; ``active`` are those of each frame, all of them in different parts of one
    pass, so that none changes what another holds. Packed ``turns`` are 1 for each search that goes on in the right half;
    ``found`` has room for as many bits as there are searches.
    """
    passes = rows.shape[1]
    kept = 0
    ended = 0
    for i in range(count):
        if i + AHEAD < count:
            number, frame, heap, level, start = _locate(np.int64(searches[i + AHEAD, NODE]), passes, root)
            if number < passes and (level > WORD_LEVEL or level == 1):
                fetch_word(rows, frame, number, start + (1 << (level - 1)))
        node, word, begun = np.int64(searches[i, NODE]), searches[i, WORD], searches[i, BEGUN]
        number, frame, heap, level, start = _locate(node, passes, root)
        level -= 1
        middle = start + (1 << level)
        turn = np.int64(0)
        if number < passes and level < WORD_LEVEL:
            turn = np.int64(slice_parity(word, start & 63, level) == bit_at(told, i))
            begun |= ONE << np.uint64(middle & 63)
        # At the end of a row or of the batch the right half may be empty.
        elif _exists(rows, number, passes, root, middle):
            if number < passes:
                turn = np.int64(_parity(rows, sums, frame, number, level, start) == bit_at(told, i))
                _begin(rows, sums, frame, number, middle)
            else:
                turn = np.int64(_subset_parity(rows, masks, offsets, number - passes, level, start, root) == bit_at(told, i))
        if level:
            if number < passes and level == WORD_LEVEL:
                word = rows[frame, number, (start >> 6) + turn, BITS]
            searches[kept, NODE], searches[kept, WORD], searches[kept, BEGUN] = np.uint64(node + heap + turn), word, begun
            put_bit(turns, kept, turn)
            kept += 1
        elif number < passes:
            active[frame] -= 1
            rows[frame, number, start >> 6, STARTS] |= begun
            sums[frame, number, start >> 12, STARTS] |= ONE << np.uint64((start >> 6) & 63)
            position = _backward(maps, number, start + turn)
            found[ended] = (((number << FRAME_BITS) + frame) << POSITION_BITS) + position
            ended += 1
        else:
            found[ended] = (((passes << FRAME_BITS) + (start >> root)) << POSITION_BITS) + ((start + turn) & ((1 << root) - 1))
            ended += 1
    _correct_all(rows, sums, counts, maps, opened, found[:ended])
    return kept


@lean_kernel
def choose(rows, sums, counts, opened, active, root, least, searches, count, openings):  # type: ignore[no-untyped-def]
    """Bob: let each frame without searches take up parts that differ in its earliest such pass, or ask for its next pass.

    Of many parts it takes a quarter, and not less than ``least``: what they lead to makes others agree, or smaller ones differ.
    Returns how many searches there are, or REFUSED when a single bit differs that was known to agree, and how many passes are asked for.
    """
    asked = 0
    for frame in range(rows.shape[0]):
        if active[frame]:
            continue
        number = 0
        while number < opened[frame] and counts[frame, number] == 0:
            number += 1
        if number == opened[frame]:
            if number < rows.shape[1]:
                openings[asked] = (number << FRAME_BITS) + frame
                asked += 1
            continue
        wanted = np.int64(counts[frame, number])
        if opened[frame] > 1:
            wanted = min(wanted, max(least, wanted >> 2))
        wanted = min(wanted, len(searches) - count)
        active[frame] = wanted
        g = 0
        for i in range(count, count + wanted):
            while sums[frame, number, g, ODD] == 0:
                g += 1
            w = (g << 6) + zeros_below(sums[frame, number, g, ODD])
            start = (w << 6) + zeros_below(rows[frame, number, w, ODD])
            level = _level_of_part(rows, sums, frame, number, start)
            if level == 0:
                return REFUSED, 0
            _toggle(rows, sums, counts, frame, number, start)
            node = (((number << FRAME_BITS) + frame) << (root + 1)) + (1 << (root - level)) + (start >> level)
            searches[i, NODE], searches[i, WORD], searches[i, BEGUN] = np.uint64(node), rows[frame, number, w, BITS], np.uint64(0)
        count += wanted
    return count, asked
