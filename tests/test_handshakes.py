"""Handshakes that are counted: silent peers go, those who mean it come in, and nothing that they say is lost."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager

import pytest

from tiandi.handshakes import Handshakes
from tiandi.kms.tls.pki import CertificateAuthority


@pytest.fixture(scope="module")
def contexts(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Of the server, and of its client."""
    credentials = CertificateAuthority(tmp_path_factory.mktemp("pki") / "pki").issue("kme", "door", hosts=("127.0.0.1",))
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(credentials.certificate, credentials.private_key)
    return server, ssl.create_default_context(cafile=credentials.authority)


class Echo(asyncio.Protocol):
    """Says again what it hears, and when it has heard all."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        assert transport.get_extra_info("ssl_object") is not None
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)


class Pieces(asyncio.BufferedProtocol):
    """The same in pieces of three bytes at most."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport, self.room = transport, bytearray(3)

    def get_buffer(self, sizehint: int) -> bytearray:
        return self.room

    def buffer_updated(self, nbytes: int) -> None:
        self.transport.write(bytes(self.room[:nbytes]))


def run(
    context: ssl.SSLContext, inside: type[asyncio.BaseProtocol], limit: int, work: Callable[[Handshakes, int], Awaitable[None]]
) -> None:
    async def whole() -> None:
        handshakes = Handshakes(context, inside, limit=lambda: limit)
        server = await asyncio.get_running_loop().create_server(handshakes.door, "127.0.0.1", 0)
        try:
            async with asyncio.timeout(20.0):
                await work(handshakes, server.sockets[0].getsockname()[1])
        finally:
            server.close()
            handshakes.abort()
            await asyncio.gather(*handshakes.tasks)
            await asyncio.sleep(0)

    asyncio.run(whole())


@contextmanager
def silent(port: int, count: int) -> Iterator[list[socket.socket]]:
    """Peers that connect and say nothing."""
    with ExitStack() as opened:
        yield [opened.enter_context(socket.create_connection(("127.0.0.1", port))) for _ in range(count)]


def is_cut_off(peer: socket.socket) -> bool:
    peer.setblocking(False)
    try:
        return peer.recv(1) == b""
    except BlockingIOError:
        return False
    except ConnectionResetError:
        return True


async def ask(port: int, context: ssl.SSLContext, words: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    writer.write(words)
    answer = await reader.readexactly(len(words))
    writer.close()
    await writer.wait_closed()
    return answer


@pytest.mark.parametrize("inside", [Echo, Pieces])
def test_what_is_said_right_behind_the_handshake_is_heard(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext], inside: type[asyncio.BaseProtocol]
) -> None:
    server, client = contexts

    async def work(handshakes: Handshakes, port: int) -> None:
        for number in range(20):
            words = f"words {number}, ".encode() * (1 + 50 * number)
            assert await ask(port, client, words) == words
        assert not handshakes.under_way

    run(server, inside, 5, work)


def test_of_too_many_silent_peers_the_oldest_goes(contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    server, client = contexts

    async def work(handshakes: Handshakes, port: int) -> None:
        with silent(port, 30) as peers:
            while len(handshakes.under_way) < 5 or not is_cut_off(peers[24]):
                await asyncio.sleep(0.01)
            assert await ask(port, client, b"let me in") == b"let me in"
            assert len(handshakes.under_way) <= 5
            assert [is_cut_off(peer) for peer in peers] == 26 * [True] + 4 * [False]

    run(server, Echo, 5, work)


def test_who_speaks_no_tls_or_leaves_is_forgotten(contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    server, _ = contexts

    async def work(handshakes: Handshakes, port: int) -> None:
        with silent(port, 3) as peers:
            peers[0].sendall(b"GET / HTTP/1.1\r\n\r\n")
            peers[1].shutdown(socket.SHUT_RDWR)
            while len(handshakes.under_way) != 1:
                await asyncio.sleep(0.01)
        while handshakes.tasks:
            await asyncio.sleep(0.01)
        assert not handshakes.under_way

    run(server, Echo, 5, work)


def test_a_handshake_takes_no_longer_than_it_may(contexts: tuple[ssl.SSLContext, ssl.SSLContext], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tiandi.handshakes.TIMEOUT_S", 0.1)
    server, _ = contexts

    async def work(handshakes: Handshakes, port: int) -> None:
        with silent(port, 1) as [peer]:
            while not is_cut_off(peer):
                await asyncio.sleep(0.01)
        await asyncio.gather(*handshakes.tasks)  # The peer may hear of its end first.
        assert not handshakes.under_way

    run(server, Echo, 5, work)
