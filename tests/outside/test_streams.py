"""ETSI GS QKD 004 over two KMEs: the project's client, and one that knows nothing but the frames on the wire.

The second one is the standard library's TLS and `struct` only, and shares no line with `tiandi.kms.streams.etsi004`.
"""

from __future__ import annotations

import json
import socket
import ssl
import struct
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from uuid import UUID, uuid4

import pytest

from tests.outside.programs import OutsidePair
from tiandi.errors import RemoteRefused
from tiandi.kms.streams.client import StreamClient
from tiandi.kms.streams.etsi004 import Qos

CHUNK_BYTE, CHUNKS = 32, 20
TIMEOUT_MS = 30_000
OPEN_CONNECT, GET_KEY, CLOSE = 2, 4, 8
NULL = bytes(16)


class Wire:
    """One connection, one frame out and one frame in at a time."""

    def __init__(self, pair: OutsidePair, sae: str) -> None:
        who = pair.credentials("sae", sae)
        context = ssl.create_default_context(cafile=str(pair.authority))
        context.load_cert_chain(who.certificate, who.private_key)
        plain = socket.create_connection(("127.0.0.1", pair.streams_ports[pair.home(sae)]), timeout=60)
        self.stream = context.wrap_socket(plain, server_hostname="127.0.0.1")

    def ask(self, service: int, payload: bytes) -> bytes:
        """The answer's payload, whose header must be that of the same service and version."""
        self.stream.sendall(struct.pack("!BBBBI", 1, 0, 1, service, len(payload)) + payload)
        *version, answered, length = struct.unpack("!BBBBI", self._read(8))
        assert (version, answered) == ([1, 0, 1], service + 1)
        return self._read(length)

    def _read(self, length: int) -> bytes:
        data = b""
        while len(data) < length:
            part = self.stream.recv(length - len(data))
            assert part, "the key manager hung up"
            data += part
        return data

    def open(self, source: str, destination: str, ksid: bytes, timeout_ms: int = TIMEOUT_MS) -> tuple[int, bytes, bytes]:
        """Status, quality of service, KSID."""
        qos = struct.pack("!7I", CHUNK_BYTE, 0, 0, 0, 0, timeout_ms, 60) + b"application/json".ljust(256, b"\0")
        answer = self.ask(OPEN_CONNECT, source.encode() + b"\0" + destination.encode() + b"\0" + qos + ksid)
        [status] = struct.unpack("!I", answer[:4])
        return status, answer[4:288], answer[288:]

    def get(self, ksid: bytes, index: int, metadata_byte: int = 1024) -> tuple[int, bytes, bytes]:
        """Status, key and metadata; with status 8 the size wanted in the key's place."""
        answer = self.ask(GET_KEY, ksid + struct.pack("!II", index, metadata_byte))
        [status] = struct.unpack("!I", answer[:4])
        if status:
            return status, answer[4:], b""
        told, length = struct.unpack("!II", answer[4:12])
        [metadata_length] = struct.unpack("!I", answer[12 + length : 16 + length])
        assert told == index
        assert len(answer) == 16 + length + metadata_length
        return status, answer[12 : 12 + length], answer[16 + length :]

    def close(self, ksid: bytes) -> int:
        return int.from_bytes(self.ask(CLOSE, ksid), "big")


@contextmanager
def wires(pair: OutsidePair) -> Iterator[tuple[Wire, Wire]]:
    alice, bob = Wire(pair, "alice"), Wire(pair, "bob")
    with alice.stream, bob.stream:
        yield alice, bob


def test_the_projects_client_streams_the_same_key_at_both_ends(pair: OutsidePair) -> None:
    def client(sae: str) -> StreamClient:
        kme = pair.home(sae)
        return StreamClient("127.0.0.1", kme, pair.credentials("sae", sae), port=pair.streams_ports[kme])

    ksid, qos = uuid4(), Qos(chunk_byte=CHUNK_BYTE, timeout_ms=TIMEOUT_MS, ttl_s=60)
    with client("alice") as alice, client("bob") as bob, ThreadPoolExecutor() as threads:
        ends = [threads.submit(alice.open, "alice", "bob", qos, ksid), threads.submit(bob.open, "alice", "bob", qos, ksid)]
        assert [end.result().status for end in ends] == [0, 0]
        chunks = [alice.get_key(ksid, index).key for index in range(CHUNKS)]
        assert [bob.get_key(ksid, index).key for index in range(CHUNKS)] == chunks
        assert len(set(chunks)) == CHUNKS
        with pytest.raises(RemoteRefused):
            bob.get_key(ksid, 0)
        alice.close(ksid)
        bob.close(ksid)


def test_a_client_of_the_frames_alone_streams_the_same_key_at_both_ends(pair: OutsidePair) -> None:
    with wires(pair) as (alice, bob):
        # bob cannot have come before alice knows the stream's name.
        status, qos, ksid = alice.open("qkd://alice", "qkd://bob", NULL)
        assert (status, len(qos), UUID(bytes=ksid).version) == (0, 284, 4)
        assert alice.get(ksid, 0) == (3, b"", b"")
        assert alice.open("qkd://alice", "qkd://bob", uuid4().bytes, timeout_ms=0)[0] == 1
        status, agreed, joined = bob.open("qkd://alice", "qkd://bob", ksid)
        assert (status, agreed, joined) == (0, qos, ksid)
        status, size, _ = alice.get(ksid, 0, metadata_byte=1)
        assert status == 8
        got = [alice.get(ksid, index, int.from_bytes(size, "big") + 16) for index in range(CHUNKS)]
        assert all((status, len(key), json.loads(metadata)["hops"]) == (0, CHUNK_BYTE, 0) for status, key, metadata in got)
        taken = [bob.get(ksid, index, metadata_byte=0) for index in range(CHUNKS)]
        assert [(status, key) for status, key, _ in taken] == [(0, key) for _, key, _ in got]
        assert {metadata for *_, metadata in taken} == {b""}
        assert bob.get(ksid, 0)[0] != 0
        assert [alice.close(ksid), bob.close(ksid)] == [0, 0]
        assert alice.get(ksid, CHUNKS)[0] != 0


def test_a_client_of_the_frames_alone_is_refused_what_is_not_its_own(pair: OutsidePair) -> None:
    with wires(pair) as (alice, _):
        status, *rest = alice.open("qkd://bob", "qkd://probe", NULL, timeout_ms=0)
        assert (status, rest) == (4, [b"", b""])
        assert alice.get(uuid4().bytes, 0)[0] != 0
        _, _, ksid = alice.open("qkd://alice", "qkd://bob", NULL, timeout_ms=0)
        probe = Wire(pair, "probe")
        with probe.stream:
            assert probe.get(ksid, 0)[0] != 0
            assert probe.open("qkd://probe", "qkd://bob", ksid, timeout_ms=0)[0] in (4, 5)
        assert alice.close(ksid) == 0
