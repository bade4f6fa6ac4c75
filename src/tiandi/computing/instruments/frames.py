"""What goes over the wire between a control system and an instrument: MessagePack in frames with their length in front, bounded.

A frame is four bytes of length (big-endian) and one message. Objects are maps with a "type"; arrays carry their kind, shape and bytes.
Nothing but the types of this module's list can come out of a frame.
"""

from __future__ import annotations

import math
import socket
from dataclasses import fields, is_dataclass
from typing import Any

import msgspec
import numpy as np

from tiandi.computing.instruments.instrument import Electronics, Settings, Spectrum
from tiandi.computing.instruments.program import Drive, Flux, Measure, Phase, Program, Reading, Shape, Train, Wait
from tiandi.errors import InputError

LARGEST_FRAME = 256 * 2**20
"""Bytes."""
DEEPEST = 12
TYPES: dict[str, type] = {
    kind.__name__: kind for kind in (Drive, Electronics, Flux, Measure, Phase, Program, Reading, Settings, Shape, Spectrum, Train, Wait)
}
ARRAYS = frozenset({"<f8", "<c16", "<i8", "<i4", "<i2", "|b1"})
_LENGTH = 4


def pack(message: object) -> bytes:
    """One message as bytes."""
    return msgspec.msgpack.encode(_plain(message))


def unpack(payload: bytes) -> Any:
    """The message of a payload; InputError where it is none."""
    try:
        return _rebuilt(msgspec.msgpack.decode(payload), 0)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise InputError("frame", f"{len(payload)} bytes", "must hold one MessagePack message") from error


def send(connection: socket.socket, message: object) -> None:
    """Send one frame; InputError where the message is larger than any frame."""
    payload = pack(message)
    if len(payload) > LARGEST_FRAME:
        raise InputError("frame", f"{len(payload)} bytes", f"must have at most {LARGEST_FRAME} bytes")
    connection.sendall(len(payload).to_bytes(_LENGTH, "big") + payload)


def receive(connection: socket.socket) -> Any:
    """The next message; None when the other end has gone. InputError for what is no frame."""
    head = _exactly(connection, _LENGTH)
    if head is None:
        return None
    length = int.from_bytes(head, "big")
    if not 1 <= length <= LARGEST_FRAME:
        raise InputError("length of a frame", length, f"must be from 1 to {LARGEST_FRAME}")
    payload = _exactly(connection, length)
    return None if payload is None else unpack(payload)


def _exactly(connection: socket.socket, count: int) -> bytes | None:
    """So many bytes, or None when the connection ends before. Memory grows with what has come, not with what was announced."""
    parts = bytearray()
    while len(parts) < count:
        part = connection.recv(min(count - len(parts), 1 << 20))
        if not part:
            return None
        parts += part
    return bytes(parts)


def _plain(value: object) -> Any:  # noqa: PLR0911  # One answer for each kind.
    if isinstance(value, np.ndarray):
        kind = value.dtype.newbyteorder("<").str
        if kind not in ARRAYS:
            raise InputError("array", kind, f"must be one of {', '.join(sorted(ARRAYS))}")
        return {"type": "array", "kind": kind, "shape": list(value.shape), "data": np.ascontiguousarray(value, dtype=kind).tobytes()}
    if isinstance(value, np.generic):
        return _plain(value.item())
    if is_dataclass(value) and not isinstance(value, type):
        return {"type": type(value).__name__} | {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, dict) and any(not isinstance(key, str) for key in value):
        return {"type": "pairs", "items": [[_plain(list(key)), _plain(item)] for key, item in value.items()]}
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


def _rebuilt(value: Any, depth: int) -> Any:
    if depth > DEEPEST:
        raise InputError("frame", "nested too deeply", f"must have at most {DEEPEST} levels")
    if isinstance(value, list):
        return tuple(_rebuilt(item, depth + 1) for item in value)
    if not isinstance(value, dict):
        return value
    kind = value.get("type")
    if kind == "array":
        return _array(value)
    if kind == "pairs":
        return _pairs(value, depth)
    parts = {str(name): _rebuilt(item, depth + 1) for name, item in value.items() if name != "type"}
    if kind is None:
        return parts
    if kind not in TYPES:
        raise InputError("type in a frame", str(kind)[:40], f"must be one of {', '.join(TYPES)}")
    try:
        return TYPES[kind](**parts)
    except TypeError as error:
        raise InputError(f"{kind} in a frame", sorted(parts)[:20], "must have its fields and no others") from error


def _pairs(value: dict[str, Any], depth: int) -> dict[Any, Any]:
    try:
        return {tuple(int(part) for part in key): float(_rebuilt(item, depth + 1)) for key, item in value["items"]}
    except (KeyError, TypeError, ValueError) as error:
        raise InputError("pairs in a frame", "not pairs", "must be whole numbers and a number each") from error


def _array(value: dict[str, Any]) -> np.ndarray[Any, np.dtype[Any]]:
    kind, shape, data = value.get("kind"), value.get("shape"), value.get("data")
    if kind not in ARRAYS or not isinstance(data, bytes) or not isinstance(shape, list) or len(shape) > 8:
        raise InputError("array in a frame", str(kind)[:20], f"must have a kind of {', '.join(sorted(ARRAYS))}, a shape and data")
    if not all(isinstance(size, int) and 0 <= size <= LARGEST_FRAME for size in shape):
        raise InputError("shape of an array in a frame", str(shape)[:80], "must be whole numbers")
    dtype = np.dtype(kind)
    if math.prod(shape) * dtype.itemsize != len(data):
        raise InputError("array in a frame", f"{len(data)} bytes", f"must have as many as its shape {shape} says")
    return np.frombuffer(data, dtype).reshape(shape).copy()
