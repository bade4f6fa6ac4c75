"""Vectors of elements of GF(2^64) in compiled loops: 64-bit words, added by exclusive or, multiplied by carry-less multiplication.

An element is a word, bit k the coefficient of x^k, modulo x^64 + x^4 + x^3 + x + 1. How many words a vector has is told by ``lanes``, a
tuple of that length; its contents mean nothing. The length is part of its type, so that numba compiles each function anew for each:

- 8: AVX-512 with VPCLMULQDQ and GFNI (Intel since Ice Lake, AMD since Zen 4);
- 4: AVX2 with VPCLMULQDQ (AMD Zen 3, Intel Alder Lake);
- 2: PCLMULQDQ (any other x86-64 since 2011);
- 1: single words anywhere else; integer products of bits spaced apart take the place of the instruction.

No form branches on data or looks anything up by it. The functions work inside functions compiled by numba and nowhere else. A compiled
function that uses them does not notice a change of this file: empty ``__pycache__`` after one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache, reduce
from typing import Any, cast

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, models, register_model

from tiandi.compiling import target_features

Lanes = tuple[int, ...]

MODULUS_TAIL = 0b11011
"""The modulus without x^64: x^64 = x^4 + x^3 + x + 1."""

LANES_BY_FEATURES = {8: ("avx512f", "vpclmulqdq", "gfni"), 4: ("avx2", "vpclmulqdq"), 2: ("pclmul",), 1: ()}
"""Vector lengths, longest first, and what each takes of the processor."""

_WORD, _BYTE, _INDEX = ir.IntType(64), ir.IntType(8), ir.IntType(32)
_PRODUCTS = {8: "llvm.x86.pclmulqdq.512", 4: "llvm.x86.pclmulqdq.256", 2: "llvm.x86.pclmulqdq"}
_EVEN, _ODD = 0x00, 0x11
_EVERY_FOURTH = 0x1111111111111111
_LOWER_HALF = 0xFFFFFFFF


@cache
def lanes_available() -> tuple[Lanes, ...]:
    """Every vector length that loops may work with on this processor, fastest first."""
    return lanes_with(target_features())


def lanes_with(features: Mapping[str, bool]) -> tuple[Lanes, ...]:
    """Every vector length that a processor with these features, as LLVM names them, can work with, fastest first."""
    return tuple((0,) * count for count, wanted in LANES_BY_FEATURES.items() if all(features.get(name, False) for name in wanted))


def carryless_product(left: int, right: int) -> int:
    """Product of two polynomials over GF(2), bit k the coefficient of x^k; for constants, not for speed."""
    return reduce(int.__xor__, (left << place for place in range(right.bit_length()) if right >> place & 1), 0)


def field_product(left: int, right: int) -> int:
    """Product of two elements of GF(2^64); for constants, not for speed."""
    product = carryless_product(left, right)
    while product >> 64:
        product = product % (1 << 64) ^ carryless_product(product >> 64, MODULUS_TAIL)
    return product


class _VectorType(types.Type):
    def __init__(self, count: int) -> None:
        self.count = count
        super().__init__(name=f"FieldElements({count})")


def _intrinsic(function: Callable[..., Any]) -> Callable[..., Any]:
    return cast(Callable[..., Any], intrinsic(function))


@register_model(_VectorType)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager, kind):  # type: ignore[no-untyped-def]
        super().__init__(manager, kind, ir.VectorType(_WORD, kind.count))


@_intrinsic
def load(typing, array, index, lanes):  # type: ignore[no-untyped-def]
    """``len(lanes)`` words of an array of uint64 from ``index``; nothing checks that they are there."""

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        return _load_at(builder, _address(context, builder, signature, arguments), lanes.count)

    return _VectorType(lanes.count)(array, types.intp, lanes), generate


@_intrinsic
def store(typing, array, index, vector):  # type: ignore[no-untyped-def]
    """Put a vector into an array of uint64 at ``index``; nothing checks that there is room."""

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        _store_at(builder, _address(context, builder, signature, arguments), arguments[2])
        return context.get_dummy_value()

    return types.void(array, types.intp, vector), generate


@_intrinsic
def broadcast(typing, word, lanes):  # type: ignore[no-untyped-def]
    """A vector of ``len(lanes)`` times the same word."""

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        undefined = ir.Constant(ir.VectorType(_WORD, lanes.count), ir.Undefined)
        first = builder.insert_element(undefined, arguments[0], ir.Constant(_INDEX, 0))
        return _shuffle(builder, first, undefined, [0] * lanes.count)

    return _VectorType(lanes.count)(types.uint64, lanes), generate


@_intrinsic
def add(typing, left, right):  # type: ignore[no-untyped-def]
    """Sums in GF(2^64), word by word."""

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        return builder.xor(*arguments)

    return left(left, right), generate


@_intrinsic
def multiply(typing, left, right):  # type: ignore[no-untyped-def]
    """Products in GF(2^64), word by word."""

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        low, high = (_product_of_words if left.count == 1 else _product_of_pairs)(builder, *arguments)
        return (_fold_bytes if left.count == 8 else _fold)(builder, low, high)

    return left(left, right), generate


def row_additions(rows: int, additions: list[tuple[int, int]]) -> Callable[..., None]:
    """A function (array, start, stride, lanes) for compiled loops that adds rows to rows in the order of ``additions`` (target, source).

    Row r is the ``len(lanes)`` words from ``start`` + r ``stride``. All ``rows`` rows stay in registers meanwhile.
    """

    @_intrinsic
    def operation(typing, array, start, stride, lanes):  # type: ignore[no-untyped-def]
        def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
            addresses = _row_addresses(context, builder, signature, arguments[:3], rows)
            values = [_load_at(builder, address, lanes.count) for address in addresses]
            for target, source in additions:
                values[target] = builder.xor(values[target], values[source])
            for address, value in zip(addresses, values, strict=True):
                _store_at(builder, address, value)
            return context.get_dummy_value()

        return types.void(array, types.intp, types.intp, lanes), generate

    return operation


@_intrinsic
def transpose(typing, target, target_start, target_stride, source, source_start, source_stride):  # type: ignore[no-untyped-def]
    """Put word j of row i of ``source`` into row j of ``target`` as word i. Eight rows of eight words, ``stride`` words from row to row."""

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        addresses = []
        for place in (0, 3):
            kinds = types.void(*signature.args[place : place + 3])
            addresses.append(_row_addresses(context, builder, kinds, arguments[place : place + 3], 8))
        rows = [_load_at(builder, address, 8) for address in addresses[1]]
        for bit in (1, 2, 4):
            for first in (row for row in range(8) if not row & bit):
                pair = rows[first], rows[first | bit]
                rows[first] = _shuffle(builder, *pair, [word + 8 - bit if word & bit else word for word in range(8)])
                rows[first | bit] = _shuffle(builder, *pair, [word + 8 if word & bit else word + bit for word in range(8)])
        for address, row in zip(addresses[0], rows, strict=True):
            _store_at(builder, address, row)
        return context.get_dummy_value()

    return types.void(target, types.intp, types.intp, source, types.intp, types.intp), generate


def _address(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    """Where element ``arguments[1]`` of the array ``arguments[0]`` is."""
    return builder.gep(context.make_array(signature.args[0])(context, builder, arguments[0]).data, [arguments[1]])


def _row_addresses(context: Any, builder: Any, signature: Any, arguments: Any, rows: int) -> list[Any]:
    """Where rows of the array ``arguments[0]`` are that start at ``arguments[1]`` and lie ``arguments[2]`` words apart."""
    array, start, stride = arguments
    indices = [builder.add(start, builder.mul(stride, ir.Constant(_WORD, row))) for row in range(rows)]
    return [_address(context, builder, signature, [array, index]) for index in indices]


def _load_at(builder: Any, address: Any, count: int) -> Any:
    loaded = builder.load(builder.bitcast(address, ir.PointerType(ir.VectorType(_WORD, count))))
    loaded.align = 8
    return loaded


def _store_at(builder: Any, address: Any, value: Any) -> None:
    builder.store(value, builder.bitcast(address, ir.PointerType(value.type))).align = 8


def _constant(like: Any, word: int) -> Any:
    return ir.Constant(like.type, [word] * like.type.count)


def _shuffle(builder: Any, left: Any, right: Any, order: list[int]) -> Any:
    return builder.shuffle_vector(left, right, ir.Constant(ir.VectorType(_INDEX, len(order)), order))


def _sum(builder: Any, terms: list[Any]) -> Any:
    return reduce(builder.xor, terms)


def _product_of_pairs(builder: Any, left: Any, right: Any) -> tuple[Any, Any]:
    """Lower and upper words of the products, by the instruction that multiplies every other word."""
    kind, count = left.type, left.type.count
    function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(kind, [kind, kind, _BYTE]), _PRODUCTS[count])
    even, odd = (builder.call(function, [left, right, ir.Constant(_BYTE, which)]) for which in (_EVEN, _ODD))
    low = [place for pair in range(0, count, 2) for place in (pair, count + pair)]
    return _shuffle(builder, even, odd, low), _shuffle(builder, even, odd, [place + 1 for place in low])


def _product_of_words(builder: Any, left: Any, right: Any) -> tuple[Any, Any]:
    """The same by three products of halves (Karatsuba)."""
    half, lower = _constant(left, 32), _constant(left, _LOWER_HALF)
    parts = [(builder.and_(word, lower), builder.lshr(word, half)) for word in (left, right)]
    low, high = (_product_of_halves(builder, *part) for part in zip(*parts, strict=True))
    middle = _sum(builder, [_product_of_halves(builder, *(builder.xor(*part) for part in parts)), low, high])
    return builder.xor(low, builder.shl(middle, half)), builder.xor(high, builder.lshr(middle, half))


def _product_of_halves(builder: Any, left: Any, right: Any) -> Any:
    """Product of polynomials of 32 bits. With every fourth bit at a time, at most eight ones meet: their sum stays below the next bit."""
    masks = [_constant(left, _EVERY_FOURTH << place) for place in range(4)]
    lefts, rights = ([builder.and_(word, mask) for mask in masks] for word in (left, right))
    sums = [_sum(builder, [builder.mul(lefts[part], rights[(place - part) % 4]) for part in range(4)]) for place in range(4)]
    return _sum(builder, [builder.and_(total, mask) for total, mask in zip(sums, masks, strict=True)])


def _fold(builder: Any, low: Any, high: Any) -> Any:
    """``low`` + x^64 ``high``; what the product with x^4 + x^3 + x + 1 carries out of the word comes round once more."""
    whole = _sum(builder, [high] + [builder.lshr(high, _constant(high, places)) for places in (60, 61, 63)])
    return _sum(builder, [low, whole] + [builder.shl(whole, _constant(whole, places)) for places in (1, 3, 4)])


def _fold_bytes(builder: Any, low: Any, high: Any) -> Any:
    """The same with bit matrices for each byte: what stays in it, what goes to the next one, and what comes round from the last."""
    byte_vector = ir.VectorType(_BYTE, 8 * high.type.count)
    kind = ir.FunctionType(byte_vector, [byte_vector, byte_vector, _BYTE])
    function = cgutils.get_or_insert_function(builder.module, kind, "llvm.x86.vgf2p8affineqb.512")

    def mapped(images: list[int]) -> Any:
        operands = [builder.bitcast(operand, byte_vector) for operand in (high, _constant(high, _byte_matrix(images)))]
        return builder.bitcast(builder.call(function, [*operands, ir.Constant(_BYTE, 0)]), high.type)

    times_tail = [carryless_product(1 << bit, MODULUS_TAIL) for bit in range(8)]
    carried = [image >> 8 for image in times_tail]
    stays = mapped([image & 0xFF for image in times_tail])
    moves = builder.shl(mapped(carried), _constant(high, 8))
    comes_round = builder.lshr(mapped([carryless_product(image, MODULUS_TAIL) for image in carried]), _constant(high, 56))
    return _sum(builder, [low, stays, moves, comes_round])


def _byte_matrix(images: list[int]) -> int:
    """The word by which GF2P8AFFINEQB maps bit j to ``images[j]``: its byte 7 - i holds the inputs of output bit i."""
    rows = [sum((images[column] >> row & 1) << column for column in range(8)) for row in range(8)]
    return sum(inputs << 8 * (7 - row) for row, inputs in enumerate(rows))
