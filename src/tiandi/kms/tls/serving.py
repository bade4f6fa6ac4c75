"""What a KME serves over mutual TLS: HTTP by uvicorn, and streams for protocols of their own.

The client's certificate goes with every request, in the scope, and is asked anew each time whether it is still good.
"""

from __future__ import annotations

import asyncio
import json
import logging
import resource
import socket
from collections.abc import Awaitable, Callable
from typing import Any

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from tiandi.errors import NotAuthorised
from tiandi.kms.tls.connections import TlsProtocol, TlsStream, TlsTransport
from tiandi.kms.tls.contexts import ServerTls
from tiandi.kms.tls.identities import SCOPE_KEY, ClientCertificate

HEADERS_LIMIT_BYTE = 64 * 1024
REQUEST_LIMIT_BYTE = 32 * 1024 * 1024
"""Of a whole request; an application sets a lower limit for bodies."""
REQUEST_TIMEOUT_S = 30.0
PIPELINE_LIMIT = 64
CONNECTION_LIMIT = 10_000

_log = logging.getLogger(__name__)


class Crowd:
    """The open connections of one server, at most ``limit``: for a new one, the one that has waited longest for its peer must go.

    The limit is lowered to three quarters of the files that this process may open.
    """

    def __init__(self, limit: int = CONNECTION_LIMIT) -> None:
        files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        self.limit = limit if files == resource.RLIM_INFINITY else min(limit, files * 3 // 4)
        self.members: set[TlsProtocol] = set()
        self._waiting: dict[TlsProtocol, None] = {}

    def enter(self, newcomer: TlsProtocol) -> bool:
        """Let somebody in, who waits for a request from now on; False when everybody else is busy."""
        if len(self.members) >= self.limit:
            oldest = next(iter(self._waiting), None)
            if oldest is None:
                return False
            self.leave(oldest)
            oldest.raw.abort()
        self.members.add(newcomer)
        self._waiting[newcomer] = None
        return True

    def set_busy(self, member: TlsProtocol) -> None:
        """It is the server's turn: nobody takes this connection's place."""
        self._waiting.pop(member, None)

    def set_waiting(self, member: TlsProtocol) -> None:
        """It is the peer's turn."""
        if member in self.members:
            self._waiting[member] = None

    def leave(self, member: TlsProtocol) -> None:
        """A connection is gone."""
        self.members.discard(member)
        self._waiting.pop(member, None)


def http_protocol(tls: ServerTls, *, connection_limit: int = CONNECTION_LIMIT) -> type[asyncio.Protocol]:
    """uvicorn's ``http=``: a protocol that speaks TLS itself, so that uvicorn is told of no certificates.

    A client that shakes no hands in 10 s, sends no whole request in `REQUEST_TIMEOUT_S` or more than `HEADERS_LIMIT_BYTE` of headers, or
    takes no answer in 30 s, is cut off.
    """
    crowd = Crowd(connection_limit)

    class MutualTlsProtocol(_HttpConnection):
        def __init__(
            self, config: Config, server_state: ServerState, app_state: dict[str, Any], _loop: asyncio.AbstractEventLoop | None = None
        ) -> None:
            super().__init__(tls, crowd, server_state)
            self.options = {"config": config, "server_state": server_state, "app_state": app_state, "_loop": _loop}

    return MutualTlsProtocol


async def start_tls_server(
    connected: Callable[[TlsStream, ClientCertificate], Awaitable[None]],
    listener: socket.socket,
    contexts: ServerTls,
    *,
    connection_limit: int = 1000,
) -> asyncio.Server:
    """Serve ``listener``: ``connected`` runs for each client that TLS and revocations admit, and its stream is closed when it returns."""
    crowd, tasks = Crowd(connection_limit), set[asyncio.Future[None]]()
    loop = asyncio.get_running_loop()
    return await loop.create_server(lambda: _StreamConnection(contexts, crowd, connected, tasks), sock=listener)


class _ServerConnection(TlsProtocol):
    def __init__(self, tls: ServerTls, crowd: Crowd) -> None:
        super().__init__(tls)
        self._server_tls = tls
        self.crowd = crowd

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        if not self.crowd.enter(self):
            self.raw.abort()

    def data_received(self, data: bytes) -> None:
        # Whoever says nothing costs no more than its socket.
        if self.connection is None and not self.raw.is_closing():
            self.connection = self._server_tls.connection()
        super().data_received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.crowd.leave(self)
        super().connection_lost(exc)


class _StreamConnection(_ServerConnection):
    def __init__(
        self,
        tls: ServerTls,
        crowd: Crowd,
        connected: Callable[[TlsStream, ClientCertificate], Awaitable[None]],
        tasks: set[asyncio.Future[None]],
    ) -> None:
        super().__init__(tls, crowd)
        self._connected, self._tasks = connected, tasks

    def opened(self, transport: TlsTransport, certificate: ClientCertificate) -> asyncio.Protocol:
        self.crowd.set_busy(self)
        stream = TlsStream(transport, certificate, self.tls)
        task = asyncio.ensure_future(self._serve(stream, certificate))
        # The event loop itself keeps no task alive.
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return stream.protocol

    async def _serve(self, stream: TlsStream, certificate: ClientCertificate) -> None:
        try:
            await self._connected(stream, certificate)
        except (ConnectionError, EOFError, NotAuthorised) as error:
            _log.info("stream of %s: %s", certificate.identities, error)
        finally:
            stream.close()


class _HttpConnection(_ServerConnection):
    options: dict[str, Any]

    def __init__(self, tls: ServerTls, crowd: Crowd, server_state: ServerState) -> None:
        super().__init__(tls, crowd)
        self._uvicorns = server_state.connections

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvicorn waits for those whom it knows when it shuts down.
        self._uvicorns.add(self)  # type: ignore[arg-type]
        super().connection_made(transport)

    def opened(self, transport: TlsTransport, certificate: ClientCertificate) -> asyncio.Protocol:
        self._uvicorns.discard(self)
        inside = _Http(self, certificate)
        inside.connection_made(transport)
        return inside

    def connection_lost(self, exc: Exception | None) -> None:
        self._uvicorns.discard(self)
        super().connection_lost(exc)

    def shutdown(self) -> None:
        """uvicorn stops: nobody waits for a handshake."""
        self.raw.abort()


class _Http(HttpToolsProtocol):
    """uvicorn's HTTP with limits, and with the client's certificate in every scope."""

    def __init__(self, outside: _HttpConnection, certificate: ClientCertificate) -> None:
        super().__init__(**outside.options)
        self._outside = outside
        self._certificate = certificate
        self._received_byte = self._headers_byte = 0
        self._receiving = self._in_headers = False
        self._patience: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        self._unset_keepalive_if_required()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        # The parser keeps a header without end to itself.
        self._received_byte += len(data)
        super().data_received(data)
        if self.transport.is_closing():
            return
        if self._received_byte > (HEADERS_LIMIT_BYTE if self._in_headers else REQUEST_LIMIT_BYTE):
            self.send_400_response("too long a request")
        elif self._receiving or self.cycle is None or self.cycle.response_complete:
            self._wait()
        else:
            self._stop_waiting()

    def on_message_begin(self) -> None:
        self._received_byte = self._headers_byte = 0
        self._receiving = self._in_headers = True
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Headers after a chunked body count too; the parser turns an error into status 400."""
        self._headers_byte += len(name) + len(value)
        if self._headers_byte > HEADERS_LIMIT_BYTE:
            raise ValueError("too long headers")
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Whoever is no longer trusted gets a refusal, and the end of the connection."""
        self._in_headers = False
        self.scope["extensions"] = {SCOPE_KEY: self._certificate}  # type: ignore[dict-item]
        if refusal := self._outside.tls.revocations.refusal(self._certificate):
            self.app = _refusing(refusal)
        super().on_headers_complete()
        if len(self.pipeline) > PIPELINE_LIMIT:
            raise ValueError("too many requests at once")

    def on_message_complete(self) -> None:
        """The request is whole: from here on it is the application that takes its time."""
        self._receiving = False
        self._outside.crowd.set_busy(self._outside)
        super().on_message_complete()

    def on_response_complete(self) -> None:
        self._outside.crowd.set_waiting(self._outside)
        super().on_response_complete()

    def send_400_response(self, msg: str) -> None:
        """An answer in the middle of another would be taken for a part of it."""
        if self.cycle is not None and not self.cycle.response_complete:
            self.transport.abort()
            return
        body = json.dumps({"message": msg}).encode()
        head = f"HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n"
        self.transport.write(head.encode() + b"cache-control: no-store\r\nconnection: close\r\n\r\n" + body)
        self.transport.close()

    def _wait(self) -> None:
        if self._patience is None:
            self._patience = self.loop.call_later(REQUEST_TIMEOUT_S, self.transport.abort)

    def _stop_waiting(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None


def _refusing(reason: str) -> Any:
    body = json.dumps({"message": reason}).encode()

    async def refuse(scope: Any, receive: Any, send: Any) -> None:
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        headers += [(b"cache-control", b"no-store"), (b"connection", b"close")]
        await send({"type": "http.response.start", "status": 401, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    return refuse
