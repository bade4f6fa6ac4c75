"""The de-facto framing of ETSI GS QKD 004: what is written comes back, and nothing else is read."""

from __future__ import annotations

import struct
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.fuzz_streams import RECORDED, try_frame
from tiandi.errors import InputError
from tiandi.kms.streams.etsi004 import (
    HEADER_BYTE,
    JSON,
    KEY_LIMIT_BYTE,
    STATUSES_WITH_QOS,
    CloseRequest,
    CloseResponse,
    GetKeyRequest,
    GetKeyResponse,
    OpenConnectRequest,
    OpenConnectResponse,
    Qos,
    Request,
    Response,
    Service,
    Status,
    decode_header,
    decode_request,
    decode_response,
    encode,
    sae_from_uri,
)

KSID = UUID("c42fe0b3-dfa7-4872-b170-9d3b63b1f841")

uint32 = st.integers(0, 2**32 - 1)
ksids = st.uuids().filter(lambda ksid: ksid.int != 0)
uris = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=64)
mimetypes = st.text(st.characters(min_codepoint=1, max_codepoint=127), max_size=255)
qualities = st.builds(
    Qos,
    chunk_byte=uint32,
    max_bps=uint32,
    min_bps=uint32,
    jitter_bps=uint32,
    priority=uint32,
    timeout_ms=uint32,
    ttl_s=uint32,
    metadata_mimetype=mimetypes,
)
requests = st.one_of(
    st.builds(OpenConnectRequest, uris, uris, qualities, st.none() | ksids),
    st.builds(GetKeyRequest, st.uuids(), uint32, uint32),
    st.builds(CloseRequest, st.uuids()),
)
responses = st.one_of(
    st.builds(OpenConnectResponse, st.sampled_from(STATUSES_WITH_QOS), qualities, st.none() | ksids),
    st.builds(OpenConnectResponse, st.sampled_from([status for status in Status if status not in STATUSES_WITH_QOS])),
    st.builds(GetKeyResponse, st.just(Status.SUCCESSFUL), uint32, st.binary(max_size=600), st.binary(max_size=100)),
    st.builds(GetKeyResponse, st.just(Status.METADATA_SIZE_INSUFFICIENT), needed_byte=uint32),
    st.builds(GetKeyResponse, st.sampled_from([Status.INSUFFICIENT_KEY, Status.GET_KEY_PEER_NOT_CONNECTED, Status.TIMEOUT])),
    st.builds(CloseResponse, st.sampled_from(Status)),
)


def decoded(frame: bytes) -> Request | Response:
    service, length_byte = decode_header(frame[:HEADER_BYTE])
    payload = frame[HEADER_BYTE:]
    assert len(payload) == length_byte
    return decode_response(service, payload) if service.name.endswith("RESPONSE") else decode_request(service, payload)


@given(requests | responses)
def test_what_is_written_is_read_again(message: Request | Response) -> None:
    assert decoded(encode(message)) == message


@given(requests | responses, st.data())
def test_a_truncated_or_lengthened_payload_is_refused(message: Request | Response, data: st.DataObject) -> None:
    frame = encode(message)
    service = decode_header(frame[:HEADER_BYTE])[0]
    payload = frame[HEADER_BYTE:]
    decode = decode_response if service.name.endswith("RESPONSE") else decode_request
    for other in (payload[: data.draw(st.integers(0, len(payload) - 1))], payload + b"x"):
        try:
            again = decode(service, other)
        except InputError:
            continue
        # A status alone is a response as well; bytes are never made up or left over.
        assert encode(again)[HEADER_BYTE:] == other


@given(st.sampled_from(RECORDED), st.integers(0, 10_000), st.binary(max_size=40))
def test_a_changed_frame_is_a_message_or_an_input_error(frame: bytes, place: int, change: bytes) -> None:
    place %= len(frame)
    try_frame(frame[:place] + change + frame[place + len(change) :])


@given(st.binary(max_size=400))
def test_bytes_are_a_message_or_an_input_error(data: bytes) -> None:
    try_frame(data)


def test_the_layout_is_the_one_of_the_field() -> None:
    """Written out by hand after QUBIP/etsi-qkd-004."""
    qos = Qos(chunk_byte=32, max_bps=40_000, min_bps=5000, jitter_bps=10, priority=0, timeout_ms=5000, ttl_s=3600)
    packed = struct.pack("!7I", 32, 40_000, 5000, 10, 0, 5000, 3600) + JSON.encode().ljust(256, b"\0")
    frame = b"\x01\x00\x01\x02" + struct.pack("!I", 17 + 13 + 284 + 16) + b"client://sae-one\0server://two\0" + packed + bytes(16)
    assert encode(OpenConnectRequest("client://sae-one", "server://two", qos)) == frame
    assert decoded(frame) == OpenConnectRequest("client://sae-one", "server://two", qos)
    opened = b"\x01\x00\x01\x03" + struct.pack("!II", 304, 0) + packed + KSID.bytes
    assert decoded(opened) == OpenConnectResponse(Status.SUCCESSFUL, qos, KSID)
    asked = b"\x01\x00\x01\x04" + struct.pack("!I", 24) + KSID.bytes + struct.pack("!II", 7, 1024)
    assert decoded(asked) == GetKeyRequest(KSID, 7, 1024)
    given_key = b"\x01\x00\x01\x05" + struct.pack("!IIII", 29, 0, 7, 3) + b"key" + struct.pack("!I", 10) + b'{"age": 1}'
    assert decoded(given_key) == GetKeyResponse(Status.SUCCESSFUL, 7, b"key", b'{"age": 1}')
    assert encode(GetKeyResponse(Status.METADATA_SIZE_INSUFFICIENT, needed_byte=33)) == b"\1\0\1\5" + struct.pack("!III", 8, 8, 33)
    assert encode(CloseRequest(KSID)) == b"\x01\x00\x01\x08\0\0\0\x10" + KSID.bytes
    assert encode(CloseResponse(Status.SUCCESSFUL)) == b"\x01\x00\x01\x09\0\0\0\x04\0\0\0\0"


@pytest.mark.parametrize(
    ("header", "field"),
    [
        (b"\x02\x01\x01\x02" + struct.pack("!I", 330), "version"),
        (b"\x01\x00\x02\x02" + struct.pack("!I", 330), "version"),
        (b"\x01\x00\x01\xff" + struct.pack("!I", 0), "service"),
        (b"\x01\x00\x01\x06" + struct.pack("!I", 16), "service"),
        (b"\x01\x00\x01\x08" + struct.pack("!I", 17), "length of CLOSE_REQUEST"),
        (b"\x01\x00\x01\x02" + struct.pack("!I", 2**32 - 1), "length of OPEN_CONNECT_REQUEST"),
        (b"\x01\x00\x01\x05" + struct.pack("!I", 2**20), "length of GET_KEY_RESPONSE"),
        (b"GET / HT", "version"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01", "version"),
    ],
)
def test_a_foreign_header_is_refused_by_name(header: bytes, field: str) -> None:
    with pytest.raises(InputError) as refused:
        decode_header(header)
    assert refused.value.field == field


@pytest.mark.parametrize("uri", ["", "a\0b", "x" * 257, "\ud800"])
def test_a_uri_that_has_no_place_is_not_written(uri: str) -> None:
    with pytest.raises(InputError):
        encode(OpenConnectRequest(uri, "b", Qos()))


@pytest.mark.parametrize("mimetype", [b"x" * 256, b"caf\xc3\xa9\0"])
def test_a_mimetype_without_end_or_of_other_letters_is_refused(mimetype: bytes) -> None:
    payload = b"a\0b\0" + struct.pack("!7I", 32, 0, 0, 0, 0, 0, 0) + mimetype.ljust(256, b"\0") + bytes(16)
    with pytest.raises(InputError, match="metadata_mimetype"):
        decode_request(Service.OPEN_CONNECT_REQUEST, payload)


def test_numbers_and_keys_that_do_not_fit_are_not_written() -> None:
    for message in (
        GetKeyRequest(KSID, 2**32),
        OpenConnectRequest("a", "b", Qos(ttl_s=-1)),
        GetKeyResponse(Status.SUCCESSFUL, 0, bytes(2 * KEY_LIMIT_BYTE)),
        OpenConnectRequest("a", "b", Qos(metadata_mimetype="é")),
        OpenConnectRequest("a", "b", Qos(metadata_mimetype="x" * 256)),
    ):
        with pytest.raises(InputError):
            encode(message)


def test_no_key_is_shown_in_a_repr_or_an_error() -> None:
    key = b"\x5aSECRETKEY\x5a"
    answer = GetKeyResponse(Status.SUCCESSFUL, 3, key, b"{}")
    assert "SECRET" not in repr(answer)
    payload = encode(answer)[HEADER_BYTE:]
    with pytest.raises(InputError) as refused:
        decode_response(Service.GET_KEY_RESPONSE, payload + b"!")
    assert "SECRET" not in str(refused.value)


def test_requests_and_responses_are_not_taken_for_each_other() -> None:
    with pytest.raises(InputError, match="must be a request"):
        decode_request(Service.CLOSE_RESPONSE, bytes(4))
    with pytest.raises(InputError, match="must be a response"):
        decode_response(Service.CLOSE_REQUEST, bytes(16))


@pytest.mark.parametrize(
    ("uri", "sae"),
    [
        ("alice", "alice"),
        ("qkd://alice", "alice"),
        ("QKD://alice/", "alice"),
        ("client://alice", "alice"),
        ("server://bob-2", "bob-2"),
        ("qkd://app1@node", "app1@node"),
        ("http://alice", "http://alice"),
        ("qkd://", "qkd://"),
        ("qkd://alice/../bob", "qkd://alice/../bob"),
    ],
)
def test_a_uri_names_one_sae(uri: str, sae: str) -> None:
    assert sae_from_uri(uri) == sae


def test_a_null_ksid_is_none() -> None:
    frame = encode(OpenConnectRequest("a", "b", Qos(), UUID(int=0)))
    assert decoded(frame) == OpenConnectRequest("a", "b", Qos(), None)
    other = uuid4()
    assert decoded(encode(OpenConnectRequest("a", "b", Qos(), other))) == OpenConnectRequest("a", "b", Qos(), other)
