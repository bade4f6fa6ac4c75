"""ETSI GS QKD 004 V2.1.1 (2020-08): statuses, quality of service and the de-facto wire framing, as pure functions.

The standard leaves the transport open. Followed here, byte for byte, is the framing of QUBIP/etsi-qkd-004 (Python, March 2025; after
the C reference of the ETSI forge): frames over TLS on port 25575, everything big-endian, in version 1.0.1:

    header            version (3 bytes), service (1 byte), length of what follows (uint32)
    OPEN_CONNECT  02  source and destination (UTF-8, each ended by a NUL), QoS, KSID
                  03  status, then QoS and KSID with statuses 0, 1 and 7
    QoS               7 uint32, then 256 bytes of mimetype, filled up with NUL
    GET_KEY       04  KSID, index, size of the metadata buffer
                  05  status, then with status 0 index, length of the key, key, size of the metadata, metadata; with 8 the size it needs
    CLOSE         08  KSID
                  09  status

A KSID is 16 bytes, 16 NULs where there is none. Statuses and sizes are uint32. Other descendants of the C code write version 2.1.1, a
mimetype that ends at its NUL and the metadata buffer itself in 04; their frames are refused by their version. Not confirmed: what the
forge's own repository writes today; it could not be read.
"""

from __future__ import annotations

import re
import struct
from enum import IntEnum
from typing import Annotated, TypeVar
from uuid import UUID

import msgspec

from tiandi.errors import InputError
from tiandi.unshown import Unshown

PORT = 25575
VERSION = (1, 0, 1)
JSON = "application/json"
URI_LIMIT_BYTE = 256
KEY_LIMIT_BYTE = 65_536
METADATA_LIMIT_BYTE = 4096
MIMETYPE_BYTE = 256
NULL_KSID = UUID(int=0)

_HEADER = struct.Struct("!3BBI")
_QOS = struct.Struct(f"!7I{MIMETYPE_BYTE}s")
_GET_KEY = struct.Struct("!16sII")
HEADER_BYTE = _HEADER.size
_URI = re.compile(r"(?:qkd|client|server)://([^/]+)/?", re.IGNORECASE)

UInt32 = Annotated[int, msgspec.Meta(ge=0, lt=2**32)]
Number = TypeVar("Number", bound=IntEnum)


class Service(IntEnum):
    """What a frame is."""

    OPEN_CONNECT_REQUEST = 2
    OPEN_CONNECT_RESPONSE = 3
    GET_KEY_REQUEST = 4
    GET_KEY_RESPONSE = 5
    CLOSE_REQUEST = 8
    CLOSE_RESPONSE = 9


class Status(IntEnum):
    """Outcome of a call."""

    SUCCESSFUL = 0
    PEER_NOT_CONNECTED = 1
    INSUFFICIENT_KEY = 2
    GET_KEY_PEER_NOT_CONNECTED = 3
    NO_QKD_CONNECTION = 4
    KSID_IN_USE = 5
    TIMEOUT = 6
    QOS_NOT_MET = 7
    METADATA_SIZE_INSUFFICIENT = 8


STATUSES_WITH_QOS = (Status.SUCCESSFUL, Status.PEER_NOT_CONNECTED, Status.QOS_NOT_MET)


class Qos(msgspec.Struct, frozen=True, kw_only=True):
    """Quality of service of a key stream, in the order of the wire. 0 leaves a number to the key manager, except for priority."""

    chunk_byte: UInt32 = 32
    max_bps: UInt32 = 0
    min_bps: UInt32 = 0
    jitter_bps: UInt32 = 0
    priority: UInt32 = 0
    timeout_ms: UInt32 = 0
    ttl_s: UInt32 = 0
    metadata_mimetype: str = JSON


class OpenConnectRequest(msgspec.Struct, frozen=True):
    """Service 02. Without a KSID the key manager makes one."""

    source: str
    destination: str
    qos: Qos
    ksid: UUID | None = None


class OpenConnectResponse(msgspec.Struct, frozen=True):
    """Service 03. QoS and KSID come with `STATUSES_WITH_QOS`; a counter-proposal has no KSID."""

    status: Status
    qos: Qos | None = None
    ksid: UUID | None = None


class GetKeyRequest(msgspec.Struct, frozen=True):
    """Service 04. A metadata size of 0 asks for none."""

    ksid: UUID
    index: int
    metadata_byte: int = 0


class GetKeyResponse(Unshown, frozen=True):
    """Service 05. ``needed_byte`` is what the metadata needs, with status 8. Its repr shows no key."""

    status: Status
    index: int = 0
    key: bytes = b""
    metadata: bytes = b""
    needed_byte: int = 0

    def __repr__(self) -> str:
        return f"GetKeyResponse({self.status!r}, index {self.index}, {len(self.key)} bytes)"


class CloseRequest(msgspec.Struct, frozen=True):
    """Service 08."""

    ksid: UUID


class CloseResponse(msgspec.Struct, frozen=True):
    """Service 09."""

    status: Status


Request = OpenConnectRequest | GetKeyRequest | CloseRequest
Response = OpenConnectResponse | GetKeyResponse | CloseResponse

_OPEN_LEAST_BYTE = _QOS.size + 16 + 4
_PAYLOAD_LIMITS_BYTE = {
    Service.OPEN_CONNECT_REQUEST: (_OPEN_LEAST_BYTE, _OPEN_LEAST_BYTE - 2 + 2 * URI_LIMIT_BYTE),
    Service.OPEN_CONNECT_RESPONSE: (4, 4 + _QOS.size + 16),
    Service.GET_KEY_REQUEST: (_GET_KEY.size, _GET_KEY.size),
    Service.GET_KEY_RESPONSE: (4, 16 + KEY_LIMIT_BYTE + METADATA_LIMIT_BYTE),
    Service.CLOSE_REQUEST: (16, 16),
    Service.CLOSE_RESPONSE: (4, 4),
}


def encode(message: Request | Response) -> bytes:
    """A whole frame. Raises InputError for a number or a text that has no place in it."""
    try:
        service, payload = _payload(message)
    except (struct.error, UnicodeEncodeError):
        raise InputError(type(message).__name__, "a field", "must fit the frame") from None
    _require_length(service, len(payload))
    return _HEADER.pack(*VERSION, service, len(payload)) + payload


def decode_header(header: bytes) -> tuple[Service, int]:
    """Service and length of the payload [byte], from `HEADER_BYTE` bytes. Raises InputError for another version, service or length."""
    *version, number, length_byte = _HEADER.unpack(header)
    if tuple(version) != VERSION:
        raise InputError("version", ".".join(map(str, version)), "must be " + ".".join(map(str, VERSION)))
    service = _member(Service, number)
    _require_length(service, length_byte)
    return service, length_byte


def decode_request(service: Service, payload: bytes) -> Request:
    """What a client asks. Raises InputError unless the payload is exactly one request."""
    _require_length(service, len(payload))
    if service is Service.OPEN_CONNECT_REQUEST:
        source, rest = _text(payload, "source")
        destination, rest = _text(rest, "destination")
        qos, ksid = _qos_and_ksid(rest)
        return OpenConnectRequest(source, destination, qos, ksid)
    if service is Service.GET_KEY_REQUEST:
        ksid_bytes, index, metadata_byte = _GET_KEY.unpack(payload)
        return GetKeyRequest(UUID(bytes=ksid_bytes), index, metadata_byte)
    if service is Service.CLOSE_REQUEST:
        return CloseRequest(UUID(bytes=payload))
    raise InputError("service", service.name, "must be a request")


def decode_response(service: Service, payload: bytes) -> Response:
    """What a key manager answers. Raises InputError, which shows no key, unless the payload is exactly one response."""
    _require_length(service, len(payload))
    status, rest = _member(Status, int.from_bytes(payload[:4], "big")), payload[4:]
    if service is Service.CLOSE_RESPONSE:
        return CloseResponse(status)
    if service is Service.GET_KEY_RESPONSE:
        return _get_key_response(status, rest)
    if service is not Service.OPEN_CONNECT_RESPONSE:
        raise InputError("service", service.name, "must be a response")
    if not rest and status not in STATUSES_WITH_QOS:
        return OpenConnectResponse(status)
    return OpenConnectResponse(status, *_qos_and_ksid(rest))


def sae_from_uri(uri: str) -> str:
    """The SAE that a source or destination names: ``qkd://NAME`` (also ``client://`` and ``server://``), or NAME itself."""
    found = _URI.fullmatch(uri)
    return found[1] if found else uri


def _payload(message: Request | Response) -> tuple[Service, bytes]:
    match message:
        case OpenConnectRequest(source, destination, qos, ksid):
            return Service.OPEN_CONNECT_REQUEST, _terminated(source) + _terminated(destination) + _packed(qos, ksid)
        case OpenConnectResponse(status, qos, ksid):
            return Service.OPEN_CONNECT_RESPONSE, _number(status) + (b"" if qos is None else _packed(qos, ksid))
        case GetKeyRequest(ksid, index, metadata_byte):
            return Service.GET_KEY_REQUEST, _GET_KEY.pack(ksid.bytes, index, metadata_byte)
        case GetKeyResponse():
            return Service.GET_KEY_RESPONSE, _number(message.status) + _key_and_metadata(message)
        case CloseRequest(ksid):
            return Service.CLOSE_REQUEST, ksid.bytes
    return Service.CLOSE_RESPONSE, _number(message.status)


def _key_and_metadata(message: GetKeyResponse) -> bytes:
    if message.status is Status.METADATA_SIZE_INSUFFICIENT:
        return _number(message.needed_byte)
    if message.status is not Status.SUCCESSFUL:
        return b""
    key, metadata = message.key, message.metadata
    return b"".join((_number(message.index), _number(len(key)), key, _number(len(metadata)), metadata))


def _number(number: int) -> bytes:
    return struct.pack("!I", number)


def _member(kind: type[Number], number: int) -> Number:
    try:
        return kind(number)
    except ValueError:
        raise InputError(kind.__name__.lower(), number, f"must be one of {[int(member) for member in kind]}") from None


def _terminated(text: str) -> bytes:
    if not 1 <= len(text.encode()) <= URI_LIMIT_BYTE or "\0" in text:
        raise InputError("uri", text[:URI_LIMIT_BYTE], f"must be 1 to {URI_LIMIT_BYTE} bytes without NUL")
    return text.encode() + b"\0"


def _text(payload: bytes, field: str) -> tuple[str, bytes]:
    """A text that a NUL ends, and what follows."""
    end = payload.find(b"\0", 0, URI_LIMIT_BYTE + 1)
    if end < 1:
        raise InputError(field, len(payload), f"must be 1 to {URI_LIMIT_BYTE} bytes ended by a NUL")
    try:
        return payload[:end].decode(), payload[end + 1 :]
    except UnicodeDecodeError:
        raise InputError(field, payload[:end], "must be UTF-8") from None


def _packed(qos: Qos, ksid: UUID | None) -> bytes:
    *numbers, mimetype = msgspec.structs.astuple(qos)
    if len(mimetype) >= MIMETYPE_BYTE or "\0" in mimetype:
        raise InputError("metadata_mimetype", mimetype[:MIMETYPE_BYTE], f"must be shorter than {MIMETYPE_BYTE} bytes, without NUL")
    return _QOS.pack(*numbers, mimetype.encode("ascii")) + (ksid or NULL_KSID).bytes


def _qos_and_ksid(payload: bytes) -> tuple[Qos, UUID | None]:
    if len(payload) != _QOS.size + 16:
        raise InputError("QoS and KSID", len(payload), f"must be {_QOS.size + 16} bytes")
    *numbers, mimetype = _QOS.unpack(payload[: _QOS.size])
    text, end, _ = mimetype.partition(b"\0")
    if not end or not text.isascii():
        raise InputError("metadata_mimetype", mimetype, "must be ASCII ended by a NUL")
    qos = Qos(**dict(zip(Qos.__struct_fields__, (*numbers, text.decode()), strict=True)))
    return qos, UUID(bytes=payload[_QOS.size :]) if any(payload[_QOS.size :]) else None


def _get_key_response(status: Status, rest: bytes) -> GetKeyResponse:
    if status is Status.METADATA_SIZE_INSUFFICIENT and len(rest) == 4:
        return GetKeyResponse(status, needed_byte=int.from_bytes(rest, "big"))
    if status not in (Status.SUCCESSFUL, Status.METADATA_SIZE_INSUFFICIENT) and not rest:
        return GetKeyResponse(status)
    index, key_byte, metadata_byte = 0, KEY_LIMIT_BYTE + 1, 0
    if status is Status.SUCCESSFUL and len(rest) >= 12:
        index, key_byte = struct.unpack("!II", rest[:8])
        metadata_byte = int.from_bytes(rest[8 + key_byte : 12 + key_byte], "big")
    if key_byte > KEY_LIMIT_BYTE or metadata_byte > METADATA_LIMIT_BYTE or len(rest) != 12 + key_byte + metadata_byte:
        raise InputError("GET_KEY response", len(rest), "must be as long as its own lengths say")
    return GetKeyResponse(status, index, rest[8 : 8 + key_byte], rest[12 + key_byte :])


def _require_length(service: Service, length_byte: int) -> None:
    least, most = _PAYLOAD_LIMITS_BYTE[service]
    if not least <= length_byte <= most:
        raise InputError(f"length of {service.name}", length_byte, f"must lie in [{least}, {most}] bytes")
