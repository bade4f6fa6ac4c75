"""Serving the cloud: HTTP over TCP, or over TLS where a context is given, with limits on whoever connects."""

from __future__ import annotations

import asyncio
import resource
import socket
import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import uvicorn
from litestar import Litestar
from litestar.handlers import ASGIRouteHandler
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from tiandi.computing.cloud import api
from tiandi.computing.cloud.answers import EXCEPTION_HANDLERS
from tiandi.computing.cloud.page import Page
from tiandi.computing.cloud.service import Cloud
from tiandi.errors import InputError, StateError
from tiandi.handshakes import Handshakes

LOOPBACK = "127.0.0.1"
OWN_ADDRESSES = (LOOPBACK, "::1")
CONNECTION_LIMIT = 4000
HEADERS_LIMIT_BYTE = 32 * 1024
MESSAGE_LIMIT_BYTE = 32 << 20
"""Of a request with all that is said around its body, read or not."""
PIPELINE_LIMIT = 64
REQUEST_TIMEOUT_S = 45.0
KEEP_ALIVE_S = 60
STOP_TIMEOUT_S = 3.0
BACKLOG = 1024


def create_app(cloud: Cloud, *more: ASGIRouteHandler) -> Litestar:
    """The ASGI application of a cloud: its page, its own API, and ``more`` routes, such as those of a dialect."""
    page = Page(cloud)
    handlers: Sequence[Any] = [*page.routes(), *api.routes(cloud, page.key), *more]
    return Litestar(route_handlers=handlers, exception_handlers=dict(EXCEPTION_HANDLERS), openapi_config=None, logging_config=None)


def listen(port: int, address: str = LOOPBACK, *, protected: bool = False) -> socket.socket:
    """A socket bound to ``port`` of an address, or to a free port for 0.

    Raises InputError for an address that others reach unless what is said there is ``protected``, StateError for a port that is taken.
    """
    if address not in OWN_ADDRESSES and not protected:
        raise InputError("address", address, f"others reach it and would read API keys: needs --certificate and --key, or {LOOPBACK}")
    # The protocol is named, for asyncio then sends small writes at once (TCP_NODELAY) on what is accepted.
    listener = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((address, port))
    except (OSError, OverflowError) as error:
        listener.close()
        raise StateError("port", port, f"cannot listen on {address}:{port} ({error}); choose a free port, or 0 for any") from None
    return listener


def tls_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """TLS 1.2 or newer with a server's certificate. Raises InputError where the files do not do."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(certificate, key, password="")
    except (OSError, ValueError) as error:
        raise InputError("certificate", str(certificate), f"cannot be used with key {key}: {error}") from None
    return context


class CloudServer:
    """One port of a cloud, on the running event loop."""

    def __init__(
        self, app: Any, listener: socket.socket, *, context: ssl.SSLContext | None = None, connection_limit: int = CONNECTION_LIMIT
    ) -> None:
        self._listener = listener
        self._config = uvicorn.Config(
            app, ws="none", lifespan="off", interface="asgi3", log_config=None, access_log=False, server_header=False, date_header=False,
            proxy_headers=False, timeout_keep_alive=KEEP_ALIVE_S,
        )  # fmt: skip
        self._config.load()
        self._state = ServerState()
        files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        self._crowd = _Crowd(connection_limit if files == resource.RLIM_INFINITY else min(connection_limit, files * 3 // 4))
        self._handshakes = None if context is None else Handshakes(context, self._connect, limit=self._crowd.handshakes)
        self._server: asyncio.Server | None = None
        host, port = listener.getsockname()[:2]
        self.address = f"{'http' if context is None else 'https'}://{f'[{host}]' if ':' in host else host}:{port}"

    @property
    def connection_count(self) -> int:
        """Connections that are open."""
        return len(self._crowd.members)

    async def start(self) -> None:
        """Serve; returns when connections are accepted."""
        door = self._connect if self._handshakes is None else self._handshakes.door
        self._server = await asyncio.get_running_loop().create_server(door, sock=self._listener, backlog=BACKLOG)

    async def adopt(self, connection: socket.socket) -> None:
        """Serve a connection that another door has accepted and protects."""
        await asyncio.get_running_loop().connect_accepted_socket(self._connect, connection)

    async def stop(self) -> None:
        """Answer what was asked, then close every connection."""
        if self._server is None:
            self._listener.close()
            return
        self._server.close()
        if self._handshakes is not None:
            self._handshakes.abort()
        for connection in list(self._state.connections):
            connection.shutdown()
        loop = asyncio.get_running_loop()
        until_s = loop.time() + STOP_TIMEOUT_S
        while self._crowd.members and loop.time() < until_s:
            await asyncio.sleep(0.02)
        for member in list(self._crowd.members):
            member.transport.abort()
        for task in list(self._state.tasks):
            task.cancel()
        await asyncio.gather(*self._state.tasks, return_exceptions=True)

    def _connect(self) -> asyncio.Protocol:
        return _Http(self._crowd, config=self._config, server_state=self._state, app_state={})


class _Crowd:
    """The open connections, at most ``limit``: for a new one, the one that has waited longest for its peer must go."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.members: set[_Http] = set()
        self.waiting: dict[_Http, None] = {}

    def enter(self, newcomer: _Http) -> bool:
        if len(self.members) >= self.limit:
            oldest = next(iter(self.waiting), None)
            if oldest is None:
                return False
            self.leave(oldest)
            oldest.transport.abort()
        self.members.add(newcomer)
        self.waiting[newcomer] = None
        return True

    def handshakes(self) -> int:
        """How many may shake hands: as many as there is room for, and some even where there is none."""
        return max(self.limit // 8, self.limit - len(self.members))

    def leave(self, member: _Http) -> None:
        self.members.discard(member)
        self.waiting.pop(member, None)


class _Http(HttpToolsProtocol):
    """uvicorn's HTTP, which loses patience with who sends no whole request, and whose place others may need."""

    def __init__(self, crowd: _Crowd, **options: Any) -> None:
        super().__init__(**options)
        self._crowd = crowd
        self._message_byte, self._in_headers = 0, False
        self._patience: asyncio.TimerHandle | None = None
        inside = self.app

        async def whole(scope: Any, receive: Any, send: Any) -> None:
            is_whole = False

            async def told(message: Any) -> None:
                nonlocal is_whole
                is_whole = message["type"] == "http.response.body" and not message.get("more_body", False)
                await send(message)

            await inside(scope, receive, told)
            if not is_whole:
                # A stream that was given up: to end it in order might take for ever, with a peer that takes nothing.
                self.transport.abort()
                await asyncio.sleep(0)

        self.app = whole

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if not self._crowd.enter(self):
            transport.abort()
        self._wait(REQUEST_TIMEOUT_S)

    def connection_lost(self, exc: Exception | None) -> None:
        self._crowd.leave(self)
        self._stop_waiting()
        self._unset_keepalive_if_required()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        # The parser keeps a header without end to itself, and one behind a body, too.
        self._message_byte += len(data)
        super().data_received(data)
        limit_byte = HEADERS_LIMIT_BYTE if self._in_headers else MESSAGE_LIMIT_BYTE
        if self._message_byte > limit_byte and not self.transport.is_closing():
            self.transport.abort()

    def on_message_begin(self) -> None:
        self._in_headers, self._message_byte = True, 0
        super().on_message_begin()
        self._stop_waiting()
        self._wait(REQUEST_TIMEOUT_S)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Headers; those behind a body mean nothing here, and there may be no end of them."""
        if self._in_headers:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The parser turns an error into status 400."""
        self._in_headers = False
        super().on_headers_complete()
        if len(self.pipeline) > PIPELINE_LIMIT:
            raise ValueError("too many requests at once")

    def on_message_complete(self) -> None:
        """The request is whole: from here on it is the cloud that takes its time, unless it has answered before."""
        if not self.cycle.response_complete:
            self._stop_waiting()
            self._crowd.waiting.pop(self, None)
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """It is the peer's turn, to take the answer and to ask again; one that does neither is cut off."""
        if self in self._crowd.members:
            self._crowd.waiting[self] = None
            self._stop_waiting()
            self._wait(KEEP_ALIVE_S + REQUEST_TIMEOUT_S)
        super().on_response_complete()

    def _wait(self, duration_s: float) -> None:
        self._patience = self.loop.call_later(duration_s, self.transport.abort)

    def _stop_waiting(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None
