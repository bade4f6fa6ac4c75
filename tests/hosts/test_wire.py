"""Frames over real sockets: whole, in order, bounded, and patient only so long."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tiandi.errors import DistillationAborted, InputError, ProtocolViolation
from tiandi.hosts.wire import CONTROL, GREETING_BYTE, MOST_UNREAD, Address, Wire, dial, listen, tls_context
from tiandi.kms.tls.pki import CertificateAuthority

ANYWHERE = Address("127.0.0.1", 0)
PATIENCE_S = 10.0
MEBIBYTE = 1 << 20


@asynccontextmanager
async def pair(serving: ssl.SSLContext | None = None, calling: ssl.SSLContext | None = None) -> AsyncIterator[tuple[Wire, Wire]]:
    """Both ends of a connection."""
    arrivals: asyncio.Queue[Wire] = asyncio.Queue()
    server = await listen(ANYWHERE, serving, arrivals.put_nowait)
    caller = await dial(Address(*server.sockets[0].getsockname()[:2]), calling, PATIENCE_S)
    ends = await asyncio.wait_for(arrivals.get(), PATIENCE_S), caller
    for end in ends:
        end.admit_blocks(32 * MEBIBYTE)
    try:
        yield ends
    finally:
        server.close()
        caller.hang_up(DistillationAborted("the test is over"))
        await asyncio.sleep(0.01)


@asynccontextmanager
async def raw() -> AsyncIterator[tuple[Wire, socket.socket]]:
    """A wire, and a bare socket at its other end."""
    arrivals: asyncio.Queue[Wire] = asyncio.Queue()
    server = await listen(ANYWHERE, None, arrivals.put_nowait)
    with socket.create_connection(server.sockets[0].getsockname()[:2]) as peer:
        peer.setblocking(False)
        wire = await asyncio.wait_for(arrivals.get(), PATIENCE_S)
        yield wire, peer
        wire.hang_up(DistillationAborted("the test is over"))
        await asyncio.sleep(0.01)
        server.close()


@pytest.fixture
def contexts(tmp_path: Path) -> Callable[[str], ssl.SSLContext]:
    authority = CertificateAuthority(tmp_path / "pki")

    def make(name: str, *, authority: CertificateAuthority = authority) -> ssl.SSLContext:
        credentials = authority.issue("kme", name)
        return tls_context(
            serving=name == "server",
            certificate=credentials.certificate,
            private_key=credentials.private_key,
            authority=credentials.authority,
        )

    return make


def run(work: Awaitable[None]) -> None:
    asyncio.run(asyncio.wait_for(work, 60.0))


@pytest.mark.parametrize("encrypted", [False, True])
def test_frames_arrive_whole_and_in_order(contexts: Callable[[str], ssl.SSLContext], *, encrypted: bool) -> None:
    sent = [(number % 7, os.urandom(size)) for number, size in enumerate([0, 1, 7, 8, 9, 4096, 65_535, 65_536, 300_000, 262_144, 0, 3])]

    async def work() -> None:
        both = (contexts("server"), contexts("client")) if encrypted else (None, None)
        async with pair(*both) as (here, there):
            for frame in sent:
                there.send(*frame)
            assert [tuple(await here.receive(PATIENCE_S)) for _ in sent] == sent

    run(work())


@pytest.mark.parametrize("encrypted", [False, True])
def test_both_ends_may_send_tens_of_megabytes_at_once(contexts: Callable[[str], ssl.SSLContext], *, encrypted: bool) -> None:
    payloads = [os.urandom(24 * MEBIBYTE), os.urandom(20 * MEBIBYTE)]

    async def work() -> None:
        both = (contexts("server"), contexts("client")) if encrypted else (None, None)
        async with pair(*both) as ends:
            for end, payload in zip(ends, payloads, strict=True):
                for number in range(3):
                    end.send(number, payload)
            for end, payload in zip(ends, reversed(payloads), strict=True):
                assert [await end.receive(PATIENCE_S) for _ in range(3)] == [(number, payload) for number in range(3)]

    run(work())


@pytest.mark.parametrize("encrypted", [False, True])
def test_all_that_was_said_leaves_before_an_end_hangs_up(contexts: Callable[[str], ssl.SSLContext], *, encrypted: bool) -> None:
    payload = os.urandom(24 * MEBIBYTE)

    async def work() -> None:
        both = (contexts("server"), contexts("client")) if encrypted else (None, None)
        async with pair(*both) as (here, there):
            there.send(0, payload)
            there.send(1, b"the last word")
            closing = asyncio.create_task(there.close(PATIENCE_S))
            assert [tuple(await here.receive(PATIENCE_S)) for _ in range(2)] == [(0, payload), (1, b"the last word")]
            await closing

    run(work())


def test_an_end_that_nobody_hears_hangs_up_all_the_same() -> None:
    async def work() -> None:
        async with raw() as (wire, _):
            wire.send(0, bytes(24 * MEBIBYTE))
            await wire.close(0.05)
            with pytest.raises(DistillationAborted):
                await wire.receive(PATIENCE_S)

    run(work())


def test_a_frame_that_is_announced_too_long_breaks_the_connection() -> None:
    async def work() -> None:
        async with raw() as (wire, peer):
            await asyncio.get_running_loop().sock_sendall(peer, struct.pack(">II", CONTROL, GREETING_BYTE + 1))
            with pytest.raises(ProtocolViolation, match="1048577 bytes is announced, 1048576 are the most"):
                await wire.receive(PATIENCE_S)

    run(work())


def test_nothing_but_a_greeting_is_taken_before_blocks_are_admitted() -> None:
    async def work() -> None:
        async with raw() as (wire, peer):
            await asyncio.get_running_loop().sock_sendall(peer, b"GET / HTTP/1.1\r\nHost: nobody\r\n\r\n")
            with pytest.raises(ProtocolViolation, match="is no greeting"):
                await wire.receive(PATIENCE_S)

    run(work())


def resident_byte() -> int:
    """Memory that this process really has; what was allotted and never written to is not there."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="this system does not tell how much memory a process has")
def test_an_announcement_takes_no_memory() -> None:
    async def work() -> None:
        async with raw() as (wire, peer):
            wire.admit_blocks(512 * MEBIBYTE)
            before_byte = resident_byte()
            await asyncio.get_running_loop().sock_sendall(peer, struct.pack(">II", 0, 512 * MEBIBYTE) + b"only this")
            with pytest.raises(DistillationAborted, match=r"silent for 0\.2 s"):
                await wire.receive(0.2)
            assert resident_byte() - before_byte < 16 * MEBIBYTE

    run(work())


def test_a_flood_is_read_no_further_than_a_few_frames() -> None:
    frame = struct.pack(">II", 0, MEBIBYTE) + bytes(MEBIBYTE)

    async def work() -> None:
        async with raw() as (wire, peer):
            wire.admit_blocks(MEBIBYTE)
            loop, taken = asyncio.get_running_loop(), 0
            with contextlib.suppress(TimeoutError):
                for taken in range(200):  # noqa: B007
                    await asyncio.wait_for(loop.sock_sendall(peer, frame), 1.0)
            # What is beyond the unread frames lies in the buffers of the two sockets.
            assert MOST_UNREAD <= taken < MOST_UNREAD + 20
            assert [len((await wire.receive(PATIENCE_S)).payload) for _ in range(MOST_UNREAD)] == [MEBIBYTE] * MOST_UNREAD

    run(work())


@pytest.mark.parametrize("cut", [0, 4, 8, 100])
def test_a_peer_that_closes_in_the_middle_is_noticed_and_what_was_whole_is_kept(cut: int) -> None:
    whole, part = struct.pack(">II", CONTROL, 5) + b"hello", (struct.pack(">II", CONTROL, 200) + bytes(200))[:cut]

    async def work() -> None:
        async with raw() as (wire, peer):
            await asyncio.get_running_loop().sock_sendall(peer, whole + part)
            peer.close()
            assert await wire.receive(PATIENCE_S) == (CONTROL, b"hello")
            for _ in range(2):
                with pytest.raises(DistillationAborted, match="the connection broke: the peer hung up"):
                    await wire.receive(PATIENCE_S)

    run(work())


def test_a_silent_peer_is_given_up() -> None:
    async def work() -> None:
        async with pair() as (here, there):
            with pytest.raises(DistillationAborted, match=r"silent for 0\.1 s"):
                await here.receive(0.1)
            with pytest.raises(DistillationAborted, match="the connection broke"):
                await there.receive(PATIENCE_S)

    run(work())


def test_what_was_sent_before_closing_arrives() -> None:
    async def work() -> None:
        async with pair() as (here, there):
            there.send(1, bytes(20 * MEBIBYTE))
            closing = asyncio.create_task(there.close(PATIENCE_S))
            assert len((await here.receive(PATIENCE_S)).payload) == 20 * MEBIBYTE
            await closing

    run(work())


def test_a_certificate_of_another_authority_is_refused_by_either_end(tmp_path: Path, contexts: Callable[..., ssl.SSLContext]) -> None:
    stranger = CertificateAuthority(tmp_path / "strangers")

    async def wrong_server() -> None:
        with pytest.raises(InputError, match=r"shows a certificate that is not accepted: .*verify|self.signed|unable to get local issuer"):
            async with pair(contexts("server", authority=stranger), contexts("client")):
                pass

    async def wrong_client() -> None:
        server = await listen(ANYWHERE, contexts("server"), lambda wire: pytest.fail("a stranger got in"))
        # The server trusts only its own authority; the client is made to trust it too, so that only the client's certificate is amiss.
        context = contexts("client-2", authority=stranger)
        context.load_verify_locations(tmp_path / "pki" / "authority.crt")
        caller = await dial(Address(*server.sockets[0].getsockname()[:2]), context, PATIENCE_S)
        with pytest.raises(DistillationAborted, match="the connection broke: the peer hung up"):
            await caller.receive(PATIENCE_S)
        server.close()

    run(wrong_server())
    run(wrong_client())


def test_peers_that_never_shake_hands_have_a_limit(contexts: Callable[..., ssl.SSLContext], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tiandi.hosts.wire.HANDSHAKES", 4)

    async def work() -> None:
        arrived: asyncio.Queue[Wire] = asyncio.Queue()
        server = await listen(ANYWHERE, contexts("server"), arrived.put_nowait)
        address = Address(*server.sockets[0].getsockname()[:2])
        silent = [await asyncio.open_connection(*address) for _ in range(10)]
        async with asyncio.timeout(5.0):
            for reader, _ in silent[:6]:
                with contextlib.suppress(ConnectionResetError):
                    assert await reader.read() == b""
        peer = await dial(address, contexts("client"), 5.0)
        peer.send(CONTROL, b"hello")
        assert bytes((await (await arrived.get()).receive(5.0)).payload) == b"hello"
        await peer.close(5.0)
        server.close()
        for _, writer in silent:
            writer.close()
        await asyncio.sleep(0.05)

    run(work())


def test_tls_below_1_3_is_refused(contexts: Callable[..., ssl.SSLContext]) -> None:
    async def work() -> None:
        client = contexts("client")
        client.minimum_version, client.maximum_version = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_2
        with pytest.raises(InputError, match=r"cannot be reached: .*\(does it speak TLS"):
            async with pair(contexts("server"), client):
                pass

    run(work())


@pytest.mark.parametrize("text", ["", "host", "host:", ":1", "host:65536", "host:1:2", "::1:80", "[::1]", "a b:1"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="must be HOST:PORT"):
        Address.parse(text)


def test_addresses_are_read_as_they_are_written() -> None:
    for text, parsed in (("localhost:7", ("localhost", 7)), ("[::1]:80", ("::1", 80)), ("10.0.0.1:65535", ("10.0.0.1", 65535))):
        assert Address.parse(text) == parsed
        assert str(Address.parse(text)) == text


def test_nobody_at_an_address_is_one_clear_error() -> None:
    with socket.socket() as idle:
        idle.bind(("127.0.0.1", 0))
        address = Address(*idle.getsockname())
        with pytest.raises(InputError, match="cannot be reached: connect"):
            run(dial(address, None, PATIENCE_S))
        with pytest.raises(InputError, match=r"cannot be listened at: .*address already in use"):
            run(listen(address, None, lambda _: None))


def test_files_that_are_no_certificates_are_refused(tmp_path: Path) -> None:
    credentials = CertificateAuthority(tmp_path / "pki").issue("kme", "one")
    other = CertificateAuthority(tmp_path / "pki-2").issue("kme", "two")
    junk = tmp_path / "junk"
    junk.write_text("junk")
    for certificate, key, authority in (
        (junk, credentials.private_key, credentials.authority),
        (credentials.certificate, other.private_key, credentials.authority),
        (credentials.certificate, credentials.private_key, junk),
    ):
        with pytest.raises(InputError, match="must be PEM files that belong together"):
            tls_context(serving=True, certificate=certificate, private_key=key, authority=authority)
    with pytest.raises(InputError, match=r"tls-key = .*must be a file"):
        tls_context(serving=True, certificate=junk, private_key=tmp_path / "none", authority=junk)
