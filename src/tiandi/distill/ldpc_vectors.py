"""Vectors of 64 signed bytes in compiled loops: what a decoder does to 64 checks at once.

Each function is a single operation of LLVM on <64 x i8>, which becomes one or a few machine instructions with whatever vectors the
processor has; only the table lookup has two forms. They work inside functions compiled by numba, and nowhere else. A compiled function that
uses them does not notice a change of this file: empty ``__pycache__`` after one.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from llvmlite import ir
from numba import extending, types
from numba.core import cgutils
from numba.extending import models, register_model

from tiandi.compiling import target_features

intrinsic: Any = extending.intrinsic  # Its own types count the compiler's argument among the caller's.

LANES = 64
_BYTE, _BIT, _INDEX = ir.IntType(8), ir.IntType(1), ir.IntType(32)
_VECTOR, _MASK, _WORD = ir.VectorType(_BYTE, LANES), ir.VectorType(_BIT, LANES), ir.IntType(64)


class _VectorType(types.Type):
    def __init__(self) -> None:
        super().__init__(name="SixtyFourBytes")


class _MaskType(types.Type):
    def __init__(self) -> None:
        super().__init__(name="SixtyFourFlags")


_vector, _mask = _VectorType(), _MaskType()


@register_model(_VectorType)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager, kind):  # type: ignore[no-untyped-def]
        super().__init__(manager, kind, _VECTOR)


@register_model(_MaskType)
class _MaskModel(models.PrimitiveModel):
    def __init__(self, manager, kind):  # type: ignore[no-untyped-def]
        super().__init__(manager, kind, _MASK)


@cache
def shuffle_flag() -> bool | None:
    """True where one instruction looks up 64 bytes (AVX-512 VBMI); None for the portable form. `looked_up` chooses by the type."""
    return True if target_features().get("avx512vbmi", False) else None


def _address(context, builder, signature, arguments, pointee):  # type: ignore[no-untyped-def]
    """Address of the element of an array, the first argument, at an index, the second."""
    data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
    return builder.bitcast(builder.gep(data, [arguments[1]]), ir.PointerType(pointee))


@intrinsic
def load(typing, array, index):  # type: ignore[no-untyped-def]
    """64 bytes of an array of int8 from ``index``; nothing checks that they are there."""

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        loaded = builder.load(_address(context, builder, signature, arguments, _VECTOR))
        loaded.align = 1
        return loaded

    return _vector(array, types.intp), generate


@intrinsic
def store(typing, array, index, vector):  # type: ignore[no-untyped-def]
    """Put 64 bytes into an array of int8 at ``index``; nothing checks that there is room."""

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        stored = builder.store(arguments[2], _address(context, builder, signature, arguments, _VECTOR))
        stored.align = 1
        return context.get_dummy_value()

    return types.void(array, types.intp, _vector), generate


@intrinsic
def splat(typing, value):  # type: ignore[no-untyped-def]
    """64 times the lowest byte of an int64."""

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        undefined = ir.Constant(_VECTOR, ir.Undefined)
        first = builder.insert_element(undefined, builder.trunc(arguments[0], _BYTE), ir.Constant(_INDEX, 0))
        return builder.shuffle_vector(first, undefined, ir.Constant(ir.VectorType(_INDEX, LANES), [0] * LANES))

    return _vector(types.int64), generate


def _of_two(emit, result=_vector):  # type: ignore[no-untyped-def]
    @intrinsic
    def operation(typing, left, right):  # type: ignore[no-untyped-def]
        def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
            return emit(builder, *arguments)

        return result(_vector, _vector), generate

    return operation


def _named(name):  # type: ignore[no-untyped-def]
    def emit(builder, left, right):  # type: ignore[no-untyped-def]
        kind = ir.FunctionType(_VECTOR, [_VECTOR, _VECTOR])
        return builder.call(cgutils.get_or_insert_function(builder.module, kind, f"llvm.{name}.v{LANES}i8"), [left, right])

    return _of_two(emit)


saturated_sum, saturated_difference = _named("sadd.sat"), _named("ssub.sat")
lesser, greater = _named("umin"), _named("umax")  # As unsigned bytes, so that the magnitude of -128 is 128.
exclusive_or = _of_two(lambda builder, left, right: builder.xor(left, right))
difference = _of_two(lambda builder, left, right: builder.sub(left, right))
is_less = _of_two(lambda builder, left, right: builder.icmp_signed("<", left, right), _mask)
is_equal = _of_two(lambda builder, left, right: builder.icmp_signed("==", left, right), _mask)
exceeds = _of_two(lambda builder, left, right: builder.icmp_unsigned(">", left, right), _mask)  # As unsigned bytes.


@intrinsic
def magnitude(typing, vector):  # type: ignore[no-untyped-def]
    """Absolute values; that of -128 is 128, to be read as unsigned."""

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        kind = ir.FunctionType(_VECTOR, [_VECTOR, _BIT])
        function = cgutils.get_or_insert_function(builder.module, kind, f"llvm.abs.v{LANES}i8")
        return builder.call(function, [arguments[0], ir.Constant(_BIT, 0)])

    return _vector(_vector), generate


@intrinsic
def select(typing, mask, where_set, elsewhere):  # type: ignore[no-untyped-def]
    """``where_set`` where the flag of ``mask`` is set, else ``elsewhere``."""

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        return builder.select(*arguments)

    return _vector(_mask, _vector, _vector), generate


@intrinsic
def count(typing, mask):  # type: ignore[no-untyped-def]
    """How many flags of a mask are set."""

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        return builder.ctpop(builder.bitcast(arguments[0], _WORD))

    return types.int64(_mask), generate


@intrinsic
def looked_up(typing, tables, offset, places, shuffle):  # type: ignore[no-untyped-def]
    """Bytes of ``tables`` (int8) at ``offset`` + ``places``, each place 0 to 63; the type of ``shuffle`` says how, see `shuffle_flag`."""

    def by_shuffle(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        table = builder.load(_address(context, builder, signature, arguments, _VECTOR))
        table.align = 1
        kind = ir.FunctionType(_VECTOR, [_VECTOR, _VECTOR])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.x86.avx512.permvar.qi.512")
        return builder.call(function, [table, arguments[2]])

    def one_by_one(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        table = _address(context, builder, signature, arguments, _BYTE)
        result = ir.Constant(_VECTOR, ir.Undefined)
        for lane in range(LANES):
            position = ir.Constant(_INDEX, lane)
            place = builder.zext(builder.extract_element(arguments[2], position), _WORD)
            result = builder.insert_element(result, builder.load(builder.gep(table, [place])), position)
        return result

    portable = isinstance(shuffle, types.NoneType)
    return _vector(tables, types.intp, _vector, shuffle), one_by_one if portable else by_shuffle
