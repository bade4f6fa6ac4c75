"""Serving the page on a loopback address, with limits: plain HTTP for sessions, TLS for certificates."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import h11
import uvicorn
from litestar.types import Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from tiandi.errors import InputError
from tiandi.kms.server import KEEP_ALIVE_S, LOOPBACK, START_TIMEOUT_S, STOP_TIMEOUT_S, listen
from tiandi.kms.tls.contexts import ServerTls
from tiandi.kms.tls.pki import Credentials
from tiandi.kms.tls.serving import http_protocol
from tiandi.web.app import ABORT_KEY, WindowApp
from tiandi.web.sessions import Role, Sessions
from tiandi.web.watched import Watched

HEADERS_LIMIT_BYTE = 16 * 1024
REQUEST_TIMEOUT_S = 30.0
CONNECTION_LIMIT = 512


class WindowServer:
    """The page of one network, on the running event loop; it needs `start` and `stop`.

    ``sessions`` may be kept in a folder; ``credentials`` open a second door, for people with a certificate of the same authority. A port of
    0 is any that is free. Raises StateError where one is taken, InputError for an address that is not this machine's own.
    """

    def __init__(
        self,
        watched: Watched,
        *,
        port: int = 0,
        address: str = LOOPBACK,
        sessions: Sessions | None = None,
        credentials: Credentials | None = None,
        certificate_port: int = 0,
    ) -> None:
        if address not in (LOOPBACK, "::1"):
            raise InputError("address", address, f"the page is for this machine alone: {LOOPBACK} or ::1")
        tls = None if credentials is None else ServerTls(credentials)
        listener = listen(port, "port", address)
        self.address = _address("http", listener)
        self.certificate_address = ""
        """Of the door for certificates, where there is one."""
        self.app = WindowApp(watched, sessions, address=self.address, revocations=None if tls is None else tls.revocations)
        self._doors = [_Door(self.app, _Http, listener)]
        if tls is not None:
            try:
                listener = listen(certificate_port, "certificate_port", address)
            except BaseException:
                self._doors[0].listener.close()
                raise
            self.certificate_address = _address("https", listener)
            self._doors.append(_Door(self.app, http_protocol(tls, connection_limit=CONNECTION_LIMIT), listener))

    def login_link(self, role: Role) -> str:
        """A new one-time link for a viewer or an operator. It is a secret: print it, log it nowhere."""
        return login_link(self.address, self.app.sessions, role)

    async def start(self) -> None:
        """Serve; returns when connections are accepted."""
        self.app.start()
        for door in self._doors:
            await door.start()

    async def stop(self) -> None:
        """End the streams, answer what was asked, then stop."""
        await self.app.close()
        for door in self._doors:
            await door.stop()


def login_link(address: str, sessions: Sessions, role: Role) -> str:
    """A new one-time link to the page at ``address``, which keeps its sessions there."""
    return f"{address}/#login={sessions.offer(role)}"


def _address(scheme: str, listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"


class _Door:
    """One port, and who speaks behind it."""

    def __init__(self, app: WindowApp, http: type[asyncio.Protocol], listener: socket.socket) -> None:
        self.listener = listener
        config = uvicorn.Config(
            app,
            http=http,
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            limit_concurrency=CONNECTION_LIMIT,
            h11_max_incomplete_event_size=HEADERS_LIMIT_BYTE,
            timeout_graceful_shutdown=STOP_TIMEOUT_S,
            timeout_keep_alive=KEEP_ALIVE_S,
        )
        self._server = uvicorn.Server(config)
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._task = asyncio.create_task(self._server._serve(sockets=[self.listener]))
        async with asyncio.timeout(START_TIMEOUT_S):
            while not self._server.started:
                await asyncio.sleep(0.01)

    async def stop(self) -> None:
        self._server.should_exit = True
        if self._task is not None:
            await self._task
        self.listener.close()


class _Http(H11Protocol):
    """uvicorn's HTTP for one browser, which loses patience with who sends no whole request, and can be broken off."""

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self._patience: asyncio.TimerHandle | None = None
        inside = self.app

        async def breakable(scope: Scope, receive: Receive, send: Send) -> None:
            scope["extensions"] = {ABORT_KEY: self.transport.abort}  # type: ignore[dict-item]
            await inside(scope, receive, send)

        self.app = breakable

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._patience = self.loop.call_later(REQUEST_TIMEOUT_S, transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    def handle_events(self) -> None:
        """A request that is whole waits for the application; one that is begun, for a browser that may never send the rest."""
        super().handle_events()
        state = self.conn.their_state
        if state is h11.SEND_BODY or (state is h11.IDLE and self.conn.trailing_data[0]):
            if self._patience is None:
                self._patience = self.loop.call_later(REQUEST_TIMEOUT_S, self.transport.abort)
        else:
            self._stop_waiting()

    def _stop_waiting(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None
