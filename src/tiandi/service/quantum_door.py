"""A door to a server over the quantum-secured network, and a tunnel to it for any client of TCP.

    client ── loopback ── QuantumTunnel ══ TLS 1.3 under a quantum key ══ QuantumDoor ── server
                              │ Get key                                       │ Get key with key IDs
                             KME  ═════════════ the network ═══════════════  KME

The tunnel is the master SAE and draws a new key for every connection (ETSI GS QKD 014). The door asks its own KME for the key that the
identity of the preshared key names, once: who comes with another key, a used one or none is refused, and so is everybody while a KME
is not there. See `tiandi.service.preshared_tls` for the handshake.

A key is in this process as immutable ``bytes``, as the key client decodes it: it is dropped after the handshake, but not overwritten.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

import msgspec
from OpenSSL import SSL

from tiandi.errors import InputError, NotAuthorised, StateError, TiandiError
from tiandi.kms.client import KeyClient
from tiandi.service.preshared_tls import CHUNK_BYTE, KEY_SIZE_BIT, FindKey, Secured, calling_end, serving_end

CONNECT_TIMEOUT_S = 10.0
HANDSHAKE_TIMEOUT_S = 45.0
"""A KME may take half a minute to answer."""
PATIENCE_S = 10.0
WAITING_KMES = 16
CONNECTIONS_LIMIT = 1000
KEYS_REMEMBERED = 100_000
STOP_TIMEOUT_S = 3.0

DrawKey = Callable[[], tuple[UUID, bytes]]
Adopt = Callable[[socket.socket], Awaitable[None]]
_log = logging.getLogger(__name__)


class DoorSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A quantum door's file (TOML): ``listen`` (HOST:PORT), ``peers`` (SAE IDs that may come), and who it is at which KME.

    Files are looked for where the settings are.
    """

    listen: str
    peers: list[str]
    kme: list[str]
    kme_id: str
    certificate: str
    key: str
    authority: str


def read_settings(path: Path) -> DoorSettings:
    """Raises InputError for a file that cannot be read, or does not say what a door needs."""
    try:
        settings = msgspec.toml.decode(path.read_bytes(), type=DoorSettings)
    except (OSError, msgspec.DecodeError, ValueError) as error:
        raise InputError("quantum door", str(path), f"cannot be read: {error}") from None
    files = {name: str(path.parent / getattr(settings, name)) for name in ("certificate", "key", "authority")}
    return msgspec.structs.replace(settings, **files)


def parse_place(field: str, place: str) -> tuple[str, int]:
    """Host and port of HOST:PORT. Raises InputError."""
    host, _, port = place.rpartition(":")
    if not host or not (port.isascii() and port.isdigit() and int(port[:6]) <= 65_535):
        raise InputError(field, place, "must be HOST:PORT")
    return host.removeprefix("[").removesuffix("]"), int(port)


def listen(host: str, port: int) -> socket.socket:
    """A socket bound to ``port`` of an address of this machine, or to a free port for 0. Raises StateError."""
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        raise StateError("port", port, f"cannot listen on {host}:{port} ({error}); choose a free port, or 0 for any") from None


class KeyFinder:
    """The door's side of ETSI GS QKD 014: keys that ``peers`` (SAE IDs) drew for this SAE, each given once. Raises InputError."""

    def __init__(self, client: KeyClient, peers: Collection[str]) -> None:
        if not peers:
            raise InputError("peers", "none", "must name the SAEs that may come through the quantum door")
        self._client, self._peers = client, frozenset(peers)
        self._used: dict[UUID, object] = {}

    def __call__(self, sae_id: str, key_id: UUID) -> bytes:
        """Raises NotAuthorised for another SAE or a used key, and what `KeyClient.get_keys_with_ids` raises."""
        if sae_id not in self._peers:
            raise NotAuthorised(f"the SAE {sae_id!r} may not come here")
        mine = object()
        # The KME gives a key once, too; this holds whoever made it.
        if self._used.setdefault(key_id, mine) is not mine:
            raise NotAuthorised(f"key {key_id} was used for another connection")
        if len(self._used) > KEYS_REMEMBERED:
            self._used.pop(next(iter(self._used)), None)
        (key,) = self._client.get_keys_with_ids(sae_id, [key_id], size_bit=KEY_SIZE_BIT)
        return key.key


def key_drawer(client: KeyClient, peer: str) -> DrawKey:
    """The tunnel's side of ETSI GS QKD 014: a new key for ``peer`` (SAE ID) with every call. It raises what `KeyClient.get_keys` raises."""

    def draw() -> tuple[UUID, bytes]:
        (key,) = client.get_keys(peer, number=1, size_bit=KEY_SIZE_BIT)
        return key.key_ID, key.key

    return draw


class _Stream(NamedTuple):
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def send(self, data: bytes) -> None:
        if data:
            self.writer.write(data)
            await self.writer.drain()

    def break_off(self) -> None:
        """Close so that the peer takes what it has for cut."""
        with suppress(OSError):
            self.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    async def close(self) -> None:
        self.writer.close()
        with suppress(OSError, TimeoutError):
            async with asyncio.timeout(STOP_TIMEOUT_S):
                await self.writer.wait_closed()


class _Port(ABC):
    """A listening socket, and a task for each connection; `start` and `stop` on the event loop that serves it."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._pool = ThreadPoolExecutor(WAITING_KMES, thread_name_prefix="quantum-door")
        host, port = listener.getsockname()[:2]
        self.address = f"{f'[{host}]' if ':' in host else host}:{port}"

    async def start(self) -> None:
        """Serve; returns when connections are accepted."""
        self._server = await asyncio.start_server(self._accept, sock=self._listener)

    async def stop(self) -> None:
        """Break every connection off."""
        if self._server is None:
            self._listener.close()
        else:
            self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        if len(self._tasks) >= CONNECTIONS_LIMIT:
            writer.transport.abort()
            return
        self._tasks.add(task)
        newcomer = _Stream(reader, writer)
        try:
            await self._serve(newcomer)
        except (OSError, SSL.Error, TiandiError) as error:
            _log.info("a connection broke off: %s", _words(error))
            newcomer.break_off()
        except asyncio.CancelledError:
            newcomer.break_off()
        except Exception as error:  # Its words may quote a key.
            _log.error("fault at the quantum door: %s", type(error).__name__)
            newcomer.break_off()
        finally:
            self._tasks.discard(task)
            await newcomer.close()

    @abstractmethod
    async def _serve(self, newcomer: _Stream) -> None:
        """What is done with a connection; it is closed when this ends."""

    async def _shake_hands(self, end: Secured, outer: _Stream, patience_s: float) -> None:
        """The peer may take ``patience_s`` [s] for each message. Raises SSL.Error, ConnectionError, TimeoutError."""
        data, loop = b"", asyncio.get_running_loop()
        async with asyncio.timeout(HANDSHAKE_TIMEOUT_S):
            while True:
                try:
                    # In a thread: the serving end waits for its KME. While the thread is at it, nothing else may touch ``end``.
                    done = await loop.run_in_executor(self._pool, end.advance, data)
                except SSL.Error:
                    await outer.send(end.output())
                    raise
                await outer.send(end.output())
                if done:
                    return
                async with asyncio.timeout(patience_s):
                    data = await outer.reader.read(CHUNK_BYTE)
                if not data:
                    raise ConnectionResetError("the peer hung up in the handshake")


class QuantumDoor(_Port):
    """Accepts who has a key that ``find_key`` finds, and has ``adopt`` serve what is said, on a socket that no other process has."""

    def __init__(self, listener: socket.socket, find_key: FindKey, adopt: Adopt) -> None:
        super().__init__(listener)
        self._find_key, self._adopt = find_key, adopt

    async def _serve(self, newcomer: _Stream) -> None:
        end = serving_end(self._find_key)
        try:
            await self._shake_hands(end, newcomer, PATIENCE_S)
        except (SSL.Error, OSError) as error:
            _log.warning("refused a connection at the quantum door: %s", end.refusal or _words(error))
            return
        ours, its = socket.socketpair()
        inner = _Stream(*await asyncio.open_connection(sock=ours))
        try:
            await self._adopt(its)
            await _carry(end, newcomer, inner, server=inner)
        finally:
            inner.writer.transport.abort()


class QuantumTunnel(_Port):
    """Carries what local clients say to the door at ``host`` and ``port``, as SAE ``sae_id``, under a key of ``draw_key`` each."""

    def __init__(self, listener: socket.socket, host: str, port: int, sae_id: str, draw_key: DrawKey) -> None:
        super().__init__(listener)
        self._place, self._sae_id, self._draw_key = (host, port), sae_id, draw_key

    async def _serve(self, newcomer: _Stream) -> None:
        outer: _Stream | None = None
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                outer = _Stream(*await asyncio.open_connection(*self._place))
            drawn = await asyncio.get_running_loop().run_in_executor(self._pool, self._draw_key)
            end = calling_end(self._sae_id, *drawn)
            del drawn
            await self._shake_hands(end, outer, HANDSHAKE_TIMEOUT_S)
        except (OSError, SSL.Error, TiandiError) as error:
            why = f"no quantum-secured connection to {self._place[0]}:{self._place[1]}: {_reason(error)}"
            _log.warning("%s", why)
            if outer is not None:
                outer.writer.transport.abort()
            await _tell_refused(newcomer, why)
            return
        try:
            await _carry(end, outer, newcomer, server=outer)
        finally:
            await outer.close()


async def _carry(end: Secured, outer: _Stream, inner: _Stream, *, server: _Stream) -> None:
    """Both ways, until the ``server`` has said all, or either way breaks. Raises OSError, SSL.Error."""
    inward, outward = asyncio.create_task(_inward(end, outer, inner)), asyncio.create_task(_outward(end, outer, inner))
    last = inward if server is outer else outward
    waiting = {inward, outward}
    try:
        while waiting and not last.done():
            done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
    finally:
        inward.cancel()
        outward.cancel()
        await asyncio.gather(inward, outward, return_exceptions=True)


async def _inward(end: Secured, outer: _Stream, inner: _Stream) -> None:
    data = b""  # Records may have come with the end of the handshake.
    while True:
        said, is_all = end.opened(data)
        await outer.send(end.output())
        await inner.send(said)
        if is_all:
            inner.writer.write_eof()
            return
        if not (data := await outer.reader.read(CHUNK_BYTE)):
            raise ConnectionResetError("the peer hung up without a word: what it said may be cut")


async def _outward(end: Secured, outer: _Stream, inner: _Stream) -> None:
    while data := await inner.reader.read(CHUNK_BYTE):
        end.seal(data)
        await outer.send(end.output())
    end.seal(b"")
    await outer.send(end.output())


def _words(error: BaseException) -> str:
    """An error in a few words. Of OpenSSL's only what it calls the fault."""
    if isinstance(error, SSL.Error) and error.args and isinstance(error.args[0], list):
        return "; ".join(str(entry[-1]) for entry in error.args[0]) or "the connection ended"
    return str(error) or type(error).__name__


def _reason(error: BaseException) -> str:
    if isinstance(error, SSL.Error):
        return f"the far end refused the handshake ({_words(error)}); its KME may not give it this key, or it does not know this SAE"
    return _words(error)


async def _tell_refused(client: _Stream, why: str) -> None:
    """Answer a client of HTTP, so that its user reads why; to others it is as good as hanging up."""
    with suppress(OSError, TimeoutError):
        async with asyncio.timeout(STOP_TIMEOUT_S):
            await client.reader.read(CHUNK_BYTE)
        body = msgspec.json.encode({"title": "Bad Gateway", "status": 502, "detail": why, "type": "about:blank"})
        head = b"HTTP/1.1 502 Bad Gateway\r\ncontent-type: application/problem+json\r\nconnection: close\r\ncontent-length: %d\r\n\r\n"
        await client.send(head % len(body) + body)
