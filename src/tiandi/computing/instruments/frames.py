"""What goes over the wire between a control system and an instrument: frames of a MessagePack text and the bytes of its arrays, bounded.

A frame is four bytes of its length and four of its text's length (big-endian), the text, and the bytes of the arrays in it, one after the
other. Objects are maps with a "type"; arrays carry their kind and shape. That the bytes are no part of the text keeps the text short, and
with it the memory that decoding takes: no more than a few times what was sent. Nothing but the types of this module's list can come out
of a frame.
"""

from __future__ import annotations

import math
import socket
import time
from dataclasses import fields, is_dataclass
from io import BytesIO
from typing import Any

import msgspec
import numpy as np

from tiandi.computing.instruments.instrument import Electronics, Settings, Spectrum
from tiandi.computing.instruments.program import Drive, Flux, Measure, Phase, Program, Reading, Shape, Train, Wait
from tiandi.errors import InputError

LARGEST_FRAME = 256 * 2**20
"""Bytes."""
LARGEST_TEXT = 4 * 2**20
"""Bytes of a frame without its arrays. An empty list takes one byte there and some sixty when decoded."""
DEEPEST = 12
PATIENCE_S = 30.0
"""How long a frame that has begun may take, beside a second for each of `SLOWEST_BYTE_S` bytes."""
SLOWEST_BYTE_S = 1e6
TYPES: dict[str, type] = {
    kind.__name__: kind for kind in (Drive, Electronics, Flux, Measure, Phase, Program, Reading, Settings, Shape, Spectrum, Train, Wait)
}
ARRAYS = frozenset({"<f8", "<c16", "<i8", "<i4", "<i2", "|b1"})
_LENGTH = 4


def pack(message: object) -> bytes:
    """One message as bytes: what follows the length of its frame."""
    arrays = bytearray()
    text = msgspec.msgpack.encode(_plain(message, arrays))
    if len(text) > LARGEST_TEXT:
        raise InputError("text of a frame", f"{len(text)} bytes", f"must have at most {LARGEST_TEXT} bytes")
    return len(text).to_bytes(_LENGTH, "big") + text + arrays


def unpack(payload: bytes) -> Any:
    """The message of a payload; InputError where it is none."""
    length = int.from_bytes(payload[:_LENGTH], "big")
    if len(payload) < _LENGTH or length > min(LARGEST_TEXT, len(payload) - _LENGTH):
        raise InputError("text of a frame", f"{length} bytes", f"must have at most {LARGEST_TEXT} bytes and be whole")
    stream = BytesIO(payload)
    stream.seek(_LENGTH)
    try:
        return _rebuilt(msgspec.msgpack.decode(stream.read(length)), stream, 0)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise InputError("frame", f"{len(payload)} bytes", "must hold one MessagePack message") from error


def send(connection: socket.socket, message: object) -> None:
    """Send one frame; InputError where the message is larger than any frame."""
    payload = pack(message)
    if len(payload) > LARGEST_FRAME:
        raise InputError("frame", f"{len(payload)} bytes", f"must have at most {LARGEST_FRAME} bytes")
    connection.sendall(len(payload).to_bytes(_LENGTH, "big") + payload)


def receive(connection: socket.socket, *, patience_s: float = PATIENCE_S) -> Any:
    """The next message; None when the other end has gone. InputError for what is no frame.

    A frame may be long in coming, by the connection's own timeout; once it has begun TimeoutError ends a wait beyond ``patience_s``.
    """
    usual_s = connection.gettimeout()
    first = connection.recv(1)
    if not first:
        return None
    deadline_s = time.monotonic() + patience_s
    try:
        head = _exactly(connection, _LENGTH - 1, deadline_s)
        if head is None:
            return None
        length = int.from_bytes(first + head, "big")
        if not 1 <= length <= LARGEST_FRAME:
            raise InputError("length of a frame", length, f"must be from 1 to {LARGEST_FRAME}")
        payload = _exactly(connection, length, deadline_s + length / SLOWEST_BYTE_S)
    finally:
        connection.settimeout(usual_s)
    return None if payload is None else unpack(payload)


def _exactly(connection: socket.socket, count: int, deadline_s: float) -> bytes | None:
    """So many bytes, or None when the connection ends before. Memory grows with what has come, not with what was announced."""
    parts = bytearray()
    while len(parts) < count:
        left_s = deadline_s - time.monotonic()
        if left_s <= 0:
            raise TimeoutError("a frame took too long")
        connection.settimeout(left_s)
        part = connection.recv(min(count - len(parts), 1 << 20))
        if not part:
            return None
        parts += part
    return bytes(parts)


def _plain(value: object, arrays: bytearray) -> Any:  # noqa: PLR0911  # One answer for each kind.
    if isinstance(value, np.ndarray):
        kind = value.dtype.newbyteorder("<").str
        if kind not in ARRAYS:
            raise InputError("array", kind, f"must be one of {', '.join(sorted(ARRAYS))}")
        arrays += np.ascontiguousarray(value, dtype=kind).tobytes()
        return {"type": "array", "kind": kind, "shape": list(value.shape)}
    if isinstance(value, np.generic):
        return _plain(value.item(), arrays)
    if is_dataclass(value) and not isinstance(value, type):
        return {"type": type(value).__name__} | {field.name: _plain(getattr(value, field.name), arrays) for field in fields(value)}
    if isinstance(value, dict) and any(not isinstance(key, str) for key in value):
        return {"type": "pairs", "items": [[_plain(list(key), arrays), _plain(item, arrays)] for key, item in value.items()]}
    if isinstance(value, dict):
        return {key: _plain(item, arrays) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item, arrays) for item in value]
    return value


def _rebuilt(value: Any, stream: BytesIO, depth: int) -> Any:
    if depth > DEEPEST:
        raise InputError("frame", "nested too deeply", f"must have at most {DEEPEST} levels")
    if isinstance(value, list):
        return tuple(_rebuilt(item, stream, depth + 1) for item in value)
    if not isinstance(value, dict):
        return value
    kind = value.get("type")
    if kind == "array":
        return _array(value, stream)
    if kind == "pairs":
        return _pairs(value)
    parts = {str(name): _rebuilt(item, stream, depth + 1) for name, item in value.items() if name != "type"}
    if kind is None:
        return parts
    if not isinstance(kind, str) or kind not in TYPES:
        raise InputError("type in a frame", str(kind)[:40], f"must be one of {', '.join(TYPES)}")
    try:
        return TYPES[kind](**parts)
    except TypeError as error:
        raise InputError(f"{kind} in a frame", sorted(parts)[:20], "must have its fields and no others") from error


def _pairs(value: dict[str, Any]) -> dict[Any, Any]:
    try:
        return {tuple(int(part) for part in key): float(item) for key, item in value["items"]}
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise InputError("pairs in a frame", "not pairs", "must be whole numbers and a number each") from error


def _array(value: dict[str, Any], stream: BytesIO) -> np.ndarray[Any, np.dtype[Any]]:
    kind, shape = value.get("kind"), value.get("shape")
    if not isinstance(kind, str) or kind not in ARRAYS or not isinstance(shape, list) or len(shape) > 8:
        raise InputError("array in a frame", str(kind)[:20], f"must have a kind of {', '.join(sorted(ARRAYS))} and a shape")
    if not all(isinstance(size, int) and 0 <= size <= LARGEST_FRAME for size in shape):
        raise InputError("shape of an array in a frame", str(shape)[:80], "must be whole numbers")
    dtype = np.dtype(kind)
    size = math.prod(shape) * dtype.itemsize
    data = stream.read(min(size, LARGEST_FRAME + 1))
    if len(data) != size:
        raise InputError("array in a frame", f"{len(data)} bytes", f"must have as many as its shape {shape} says")
    if kind == "|b1" and np.frombuffer(data, np.uint8).max(initial=0) > 1:
        raise InputError("array in a frame", kind, "must hold 0 and 1")
    return np.frombuffer(data, dtype).reshape(shape).copy()
