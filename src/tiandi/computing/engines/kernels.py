"""The loops that state vectors, trajectories and density matrices spend their time in, as vector instructions.

An array of amplitudes is kept as its real and its imaginary parts. Its lowest bits number the elements ("lanes") of one vector of
`VECTOR_BYTE`; a small matrix is multiplied on bits above those, so that all lanes do the same. A loop in Python's words would leave it to
the compiler to find this: it did so at half the speed. Processors with narrower registers take a vector in parts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from tiandi.compiling import kernel

VECTOR_BYTE = 64
_FUSED_MULTIPLY_ADD = ("contract",)
_NUMBER = ir.IntType(32)


def _vector(precision: Any) -> ir.VectorType:
    return ir.VectorType(ir.FloatType() if precision is types.float32 else ir.DoubleType(), VECTOR_BYTE * 8 // precision.bitwidth)


def _place(builder: Any, data: Any, number: Any, vector: ir.VectorType) -> Any:
    """Where the vector begins whose first element has ``number``."""
    return builder.bitcast(builder.gep(data, [number]), vector.as_pointer())


def _shuffled(builder: Any, first: Any, second: Any, lanes: Sequence[int]) -> Any:
    return builder.shuffle_vector(first, second, ir.Constant(ir.VectorType(_NUMBER, len(lanes)), list(lanes)))


def _everywhere(builder: Any, data: Any, number: int, vector: ir.VectorType) -> Any:
    """Element ``number`` of ``data`` in every lane."""
    element = builder.load(builder.gep(data, [ir.Constant(ir.IntType(64), number)]))
    nothing = ir.Constant(vector, ir.Undefined)
    return _shuffled(builder, builder.insert_element(nothing, element, ir.Constant(_NUMBER, 0)), nothing, [0] * vector.count)


@intrinsic
def _product(_context: Any, real: Any, imaginary: Any, matrix: Any, strides: Any, base: Any) -> tuple[Any, Callable[..., Any]]:
    """Multiply ``matrix`` (flat; of each entry the real part, then the imaginary) onto the vectors at ``base`` + ``strides``."""
    size = len(strides)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        arrays = [context.make_array(signature.args[each])(context, builder, arguments[each]).data for each in range(3)]
        vector = _vector(real.dtype)
        starts = [builder.add(arguments[4], builder.extract_value(arguments[3], row)) for row in range(size)]
        places = [[_place(builder, part, start, vector) for start in starts] for part in arrays[:2]]
        align = real.dtype.bitwidth // 8
        x, y = ([builder.load(place, align=align) for place in part] for part in places)
        for row in range(size):
            sums: list[Any] = [ir.Constant(vector, [0.0] * vector.count)] * 2
            for column in range(size):
                a, b = (_everywhere(builder, arrays[2], 2 * (row * size + column) + part, vector) for part in (0, 1))
                # (a + ib) (x + iy).
                for part, factor, term, add in (
                    (0, a, x, builder.fadd),
                    (1, a, y, builder.fadd),
                    (0, b, y, builder.fsub),
                    (1, b, x, builder.fadd),
                ):
                    product = builder.fmul(factor, term[column], flags=_FUSED_MULTIPLY_ADD)
                    sums[part] = add(sums[part], product, flags=_FUSED_MULTIPLY_ADD)
            for part in (0, 1):
                builder.store(sums[part], places[part][row], align=align)
        return context.get_dummy_value()

    return types.void(real, imaginary, matrix, strides, types.int64), generate


@intrinsic
def _transpose(_context: Any, part: Any, strides: Any, base: Any) -> tuple[Any, Callable[..., Any]]:
    """Exchange rows and lanes of the square of vectors at ``base`` + ``strides``."""
    lanes = len(strides)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        starts = [builder.add(arguments[2], builder.extract_value(arguments[1], row)) for row in range(lanes)]
        places = [_place(builder, data, start, _vector(part.dtype)) for start in starts]
        align = part.dtype.bitwidth // 8
        rows = [builder.load(place, align=align) for place in places]
        bit = 1
        # Each round exchanges one bit of the row's number with that of the lane's.
        while bit < lanes:
            zeros = [lane if not lane & bit else lanes + (lane ^ bit) for lane in range(lanes)]
            ones = [lane | bit if not lane & bit else lanes + lane for lane in range(lanes)]
            for row in range(lanes):
                if not row & bit:
                    pair = rows[row], rows[row | bit]
                    rows[row], rows[row | bit] = (_shuffled(builder, *pair, taken) for taken in (zeros, ones))
            bit *= 2
        for row, place in zip(rows, places, strict=True):
            builder.store(row, place, align=align)
        return context.get_dummy_value()

    return types.void(part, strides, types.int64), generate


@kernel
def _spread(number, taken):  # type: ignore[no-untyped-def]
    """``number`` with a zero inserted at each place of ``taken``, which rise."""
    for place in taken:
        number = (number >> place) << (place + 1) | (number & ((1 << place) - 1))
    return number


@kernel
def multiply(real, imaginary, matrix, strides, taken, lanes):  # type: ignore[no-untyped-def]  # noqa: PLR0917
    """Multiply ``matrix`` onto the bits ``taken`` (rising, above the lanes'); row r of it stands at ``strides[r]``."""
    for group in range(real.size // (lanes * len(strides))):
        _product(real, imaginary, matrix, strides, _spread(group * lanes, taken))  # type: ignore[call-arg] # numba gives the context


@kernel
def exchange(real, imaginary, strides, taken):  # type: ignore[no-untyped-def]
    """Exchange the lanes' bits with the bits ``taken`` (rising); as many, with all their ``strides``, the first lane bit's least."""
    lanes = len(strides)
    for group in range(real.size // (lanes * lanes)):
        base = _spread(group * lanes, taken)
        _transpose(real, strides, base)  # type: ignore[call-arg]
        _transpose(imaginary, strides, base)


@kernel
def squared_norms(table):  # type: ignore[no-untyped-def]
    """Sums (2,) of the squares of ``table`` (2, outer, 2, inner) over all but its third axis."""
    sums = np.zeros(2)
    for part in range(2):
        for outer in range(table.shape[1]):
            for value in range(2):
                row = table[part, outer, value]
                total = np.float64(0.0)
                # Sums of some hundred squares at a time, so that single precision is enough within.
                for begin in range(0, row.size, 256):
                    few = row.dtype.type(0)
                    for place in range(begin, min(begin + 256, row.size)):
                        few += row[place] * row[place]
                    total += few
                sums[value] += total
    return sums


@kernel
def walk(real, imaginary, chunks, left):  # type: ignore[no-untyped-def]
    """In each chunk (row of ``real`` and ``imaginary``), the number where the sum of squared amplitudes passes what is ``left``."""
    numbers = np.empty(chunks.size, np.int64)
    width = real.shape[1]
    for shot in range(chunks.size):
        chunk, rest, found = chunks[shot], left[shot], -1
        for place in range(width):
            weight = np.float64(real[chunk, place]) ** 2 + np.float64(imaginary[chunk, place]) ** 2
            if weight > 0.0:
                # Rounding may leave a rest after the last amplitude: that one is taken.
                found = place
                rest -= weight
                if rest < 0.0:
                    break
        numbers[shot] = chunk * width + max(found, 0)
    return numbers
