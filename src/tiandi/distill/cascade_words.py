"""What Cascade's compiled loops do with words of 64 bits and packed strings. They hold it: empty ``__pycache__`` after a change."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import extending, types
from numba.core import cgutils

from tiandi.compiling import inlined

ONE = np.uint64(1)
ALL = np.uint64(2**64 - 1)

intrinsic: Any = extending.intrinsic  # Its own types count the compiler's argument among the caller's.
_ADDRESS, _FLAG = ir.PointerType(ir.IntType(8)), ir.IntType(32)


def _of_word(instruction: Callable[..., Any]) -> Any:
    """A function of a 64-bit word for compiled loops; ``instruction`` takes builder and word."""

    def typed(_context, word):  # type: ignore[no-untyped-def]
        return types.int64(word), lambda _, builder, __, arguments: instruction(builder, arguments[0])

    return intrinsic(typed)


ones = _of_word(lambda builder, word: builder.ctpop(word))
"""Number of ones in a word."""

zeros_above = _of_word(lambda builder, word: builder.ctlz(word, cgutils.false_bit))
zeros_below = _of_word(lambda builder, word: builder.cttz(word, cgutils.false_bit))
"""Number of zeros above the highest one of a word, and below its lowest one; 64 if there is none."""


def _fetching(writes: bool) -> Any:
    """A function of an array and an index for compiled loops: begin to bring the numbers from there on into the cache."""

    def typed(_context, array, index):  # type: ignore[no-untyped-def]
        def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
            data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
            address = builder.bitcast(builder.gep(data, [arguments[1]]), _ADDRESS)
            fetch = builder.module.declare_intrinsic("llvm.prefetch", [_ADDRESS], ir.FunctionType(ir.VoidType(), [_ADDRESS] + 3 * [_FLAG]))
            builder.call(fetch, [address, *[ir.Constant(_FLAG, flag) for flag in (int(writes), 3, 1)]])
            return context.get_dummy_value()

        return types.none(array, types.int64), generate

    return intrinsic(typed)


fetch_to_read, _fetch_to_write = _fetching(False), _fetching(True)


@inlined
def fetch_word(rows, frame, number, position):  # type: ignore[no-untyped-def]
    """Begin to bring the word of a row that holds a position into the cache."""
    _fetch_to_write(rows, ((np.int64(frame) * rows.shape[1] + number) * rows.shape[2] + (position >> 6)) * rows.shape[3])


@inlined
def slice_parity(word, start, level):  # type: ignore[no-untyped-def]
    """Parity of 2^level bits of a word."""
    return ones((word >> np.uint64(start)) & (ALL >> np.uint64(64 - (1 << level)))) & 1


@inlined
def bit_at(packed, i):  # type: ignore[no-untyped-def]
    """Bit of a packed string, first bit lowest."""
    return (np.int64(packed[i >> 3]) >> (i & 7)) & 1


@inlined
def put_bit(packed, i, bit):  # type: ignore[no-untyped-def]
    """Write a bit of a packed string, from the first bit on; the last byte is filled up with zeros."""
    packed[i >> 3] = np.uint8(bit << (i & 7)) | (packed[i >> 3] if i & 7 else np.uint8(0))
