"""A neighbouring KME, with a good certificate, that answers so as to exhaust or to stop the one who asks."""

from __future__ import annotations

import asyncio
import gzip
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import pytest

from tests.security.test_message_bombs import HUGE, memory_byte
from tiandi.errors import RelayFailed
from tiandi.kms.directory import Directory
from tiandi.kms.relay import neighbours
from tiandi.kms.relay.exchange import KEM_PATH, Exchange
from tiandi.kms.relay.neighbours import Neighbours
from tiandi.kms.server import listen
from tiandi.kms.tls.connections import TlsStream
from tiandi.kms.tls.contexts import ServerTls
from tiandi.kms.tls.identities import ClientCertificate
from tiandi.kms.tls.pki import CertificateAuthority
from tiandi.kms.tls.serving import start_tls_server

Say = Callable[[TlsStream], Awaitable[None]]


def whole(body: bytes, head: str = "") -> Say:
    async def say(stream: TlsStream) -> None:
        await stream.write(f"HTTP/1.1 200 OK\r\n{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)

    return say


async def without_end(stream: TlsStream) -> None:
    await stream.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        await stream.write(b"4000\r\n" + bytes(0x4000) + b"\r\n")


async def at_length(stream: TlsStream) -> None:
    await stream.write(f"HTTP/1.1 200 OK\r\nContent-Length: {100 * 2**20}\r\n\r\n".encode())
    for _ in range(1600):
        await stream.write(bytes(65_536))


async def in_drops(stream: TlsStream) -> None:
    await stream.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    while True:
        await stream.write(b"\x91")
        await asyncio.sleep(0.05)


async def headers_without_end(stream: TlsStream) -> None:
    await stream.write(b"HTTP/1.1 200 OK\r\n")
    while True:
        await stream.write(b"X: " + b"y" * 16_000 + b"\r\n")


async def silence(stream: TlsStream) -> None:
    await asyncio.sleep(60)


async def hang_up(stream: TlsStream) -> None:
    stream.close()


ANSWERS: dict[str, Say] = {
    "a compression bomb": whole(gzip.compress(bytes(200 * 2**20)), "Content-Encoding: gzip\r\n"),
    "a hundred megabytes": at_length,
    "an answer without end": without_end,
    "an answer in drops": in_drops,
    "headers without end": headers_without_end,
    "silence": silence,
    "an end": hang_up,
    "another way": whole(b"", "Location: https://127.0.0.1:1/\r\n"),
    "no MessagePack": whole(b"\xc1"),
    "a list of four thousand million": whole(b"\xdd" + HUGE),
    "lists within lists": whole(b"\x91" * 500_000 + b"\xc0"),
    "too many answers": whole(msgspec.msgpack.encode([b"", b""])),
    "too few answers": whole(msgspec.msgpack.encode([])),
    "answers of another kind": whole(msgspec.msgpack.encode([{"a": 1}])),
    "no HTTP": hang_up,
}


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> CertificateAuthority:
    return CertificateAuthority(tmp_path_factory.mktemp("authority"))


@pytest.mark.parametrize("name", ANSWERS)
def test_no_answer_exhausts_or_holds_up_the_asker(authority: CertificateAuthority, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "TIMEOUT_S", 0.5)
    monkeypatch.setattr(neighbours, "WHOLE_TIMEOUT_S", 1.0)
    evil, good = (authority.issue("kme", kme, replacing=True) for kme in ("kme-evil", "kme-good"))

    async def answered(stream: TlsStream, _: ClientCertificate) -> None:
        await stream.read(65_536)
        await ANSWERS[name](stream)

    async def ask() -> None:
        listener = listen(0, "port")
        server = await start_tls_server(answered, listener, ServerTls(evil))
        directory = Directory(kme_addresses={"kme-evil": f"https://127.0.0.1:{listener.getsockname()[1]}"})
        post = Neighbours(good, directory)
        exchange = Exchange("kme-good", None, None, None, directory=directory, post=post)  # type: ignore[arg-type] # It only asks.
        before, start_s = memory_byte(), time.monotonic()
        with pytest.raises(RelayFailed):
            await exchange.ask("kme-evil", KEM_PATH, b"", bytes)
        assert time.monotonic() - start_s < 3
        assert memory_byte() - before < 30 * 2**20
        await exchange.close()
        await post.close()
        server.close()
        await server.wait_closed()

    asyncio.run(ask())


def test_an_sae_that_serves_is_no_kme(authority: CertificateAuthority, tmp_path: Path) -> None:
    thief, good = authority.issue("sae", "kme-stolen", replacing=True), authority.issue("kme", "kme-good", replacing=True)

    async def ask() -> None:
        listener = listen(0, "port")
        server = await start_tls_server(lambda stream, _: whole(b"\x91\xc4\x00")(stream), listener, ServerTls(thief))
        directory = Directory(kme_addresses={"kme-stolen": f"https://127.0.0.1:{listener.getsockname()[1]}"})
        post = Neighbours(good, directory)
        with pytest.raises(RelayFailed, match="certificate"):
            await post("kme-stolen", KEM_PATH, b"\x91\xc4\x00")
        await post.close()
        server.close()

    asyncio.run(ask())


def test_every_process_of_a_neighbour_is_told_whichever_is_dead(authority: CertificateAuthority) -> None:
    theirs, ours = (authority.issue("kme", kme, replacing=True) for kme in ("kme-cluster", "kme-good"))

    async def tell() -> None:
        told: list[int] = []
        listeners = [listen(0, "port") for _ in range(3)]
        ports = [listener.getsockname()[1] for listener in listeners]

        async def answered(number: int, stream: TlsStream) -> None:
            told.append(number)
            await stream.read(65_536)
            await whole(b"\x91\xc3")(stream)

        servers = [
            await start_tls_server(lambda stream, _, number=number: answered(number, stream), listeners[number], ServerTls(theirs))
            for number in (1, 2)
        ]
        listeners[0].close()
        directory = Directory(kme_addresses={"kme-cluster": tuple(f"https://127.0.0.1:{port}" for port in ports)})
        post = Neighbours(ours, directory)
        assert await post.tell_all("kme-cluster", KEM_PATH, b"\x91\xc4\x00") == b"\x91\xc3"
        assert sorted(told) == [1, 2]
        for server in servers:
            server.close()
        directory.kme_addresses["kme-cluster"] = f"https://127.0.0.1:{ports[0]}"
        with pytest.raises(RelayFailed, match="no answer"):
            await post.tell_all("kme-cluster", KEM_PATH, b"\x91\xc4\x00")
        await post.close()

    asyncio.run(tell())
