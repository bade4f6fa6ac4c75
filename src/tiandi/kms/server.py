"""Serving KMEs: every HTTP door of a KME on one port, and a host that runs several KMEs on an event loop in a thread of its own."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar

import uvicorn
from litestar import Litestar
from litestar.types import ASGIApp

from tiandi.errors import StateError
from tiandi.kms.directory import Directory
from tiandi.kms.doors import etsi014, neighbours
from tiandi.kms.doors.answers import EXCEPTION_HANDLERS
from tiandi.kms.entity import KeyManagementEntity
from tiandi.kms.etsi014 import Limits
from tiandi.kms.relay.neighbours import Neighbours
from tiandi.kms.store.database import Database
from tiandi.kms.store.master_keys import MasterKey
from tiandi.kms.streams.associations import Streams
from tiandi.kms.tls.contexts import ServerTls
from tiandi.kms.tls.pki import Credentials
from tiandi.kms.tls.serving import http_protocol

LOOPBACK = "127.0.0.1"
START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 2
KEEP_ALIVE_S = 60
"""Longer than clients keep a connection, so that it is they who close it."""

Result = TypeVar("Result")


def listen(port: int, field: str, address: str = LOOPBACK) -> socket.socket:
    """A socket bound to ``port`` of an address, or to a free port for 0. Raises StateError naming ``field``."""
    # The protocol is named, for asyncio then sends small writes at once (TCP_NODELAY) on what is accepted.
    listener = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((address, port))
    except (OSError, OverflowError) as error:
        listener.close()
        raise StateError(field, port, f"cannot listen on {address}:{port} ({error}); choose a free port, or 0 for any") from None
    return listener


def create_app(entity: KeyManagementEntity, *more: Any, streams: Streams | None = None) -> Litestar:
    """The ASGI application of one KME: the doors for SAEs and for neighbours, and ``more`` routes; ``streams`` as `neighbours.routes`."""
    return application([*etsi014.routes(entity), *neighbours.routes(entity.exchange, streams), *more])


def application(handlers: Sequence[Any]) -> Litestar:
    """The ASGI application of some routes, which is as silent as a door must be."""
    return Litestar(route_handlers=handlers, exception_handlers=dict(EXCEPTION_HANDLERS), openapi_config=None, logging_config=None)


class Served(Protocol):
    """What stands behind a port: a KME, or the side of it that other networks see."""

    def start(self) -> None:
        """Begin to take up what was left."""
        ...

    async def close(self) -> None:
        """Stop."""
        ...


class KmeServer:
    """One port of a KME, on the running event loop, and what stands behind it."""

    def __init__(self, served: Served, app: ASGIApp, tls: ServerTls, listener: socket.socket) -> None:
        self._served = served
        self._listener = listener
        config = uvicorn.Config(
            app,
            http=http_protocol(tls),
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=STOP_TIMEOUT_S,
            timeout_keep_alive=KEEP_ALIVE_S,
        )
        self._server = uvicorn.Server(config)
        self._task: asyncio.Task[None] | None = None

    @property
    def connection_count(self) -> int:
        """Connections that are open."""
        return len(self._server.server_state.connections)

    async def start(self) -> None:
        """Serve; returns when connections are accepted."""
        self._served.start()
        self._task = asyncio.create_task(self._server._serve(sockets=[self._listener]))
        async with asyncio.timeout(START_TIMEOUT_S):
            while not self._server.started:
                await asyncio.sleep(0.01)

    async def stop(self) -> None:
        """Answer what was asked, then stop, and close what stands behind."""
        self._server.should_exit = True
        if self._task is not None:
            await self._task
        self._listener.close()
        await self._served.close()


@dataclass
class _Plan:
    """A KME to be run."""

    kme_id: str
    database: Database
    master_key: MasterKey
    credentials: Credentials
    listener: socket.socket
    limits: Limits
    neighbours: Neighbours | None = None
    server: KmeServer | None = None


class KmeHost:
    """Hosts any number of KMEs in this process. A context manager; leaving it stops every server and closes every store."""

    def __init__(self, directory: Directory) -> None:
        self.directory = directory
        self.entities: dict[str, KeyManagementEntity] = {}
        self._plans: list[_Plan] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="kme-host", daemon=True)

    def add(
        self, kme_id: str, database: Database, master_key: MasterKey, *, credentials: Credentials, listener: socket.socket,
        limits: Limits = Limits(),  # noqa: B008 - it cannot be changed.
    ) -> None:  # fmt: skip
        """A KME that will serve ``listener`` with ``credentials`` once the host is entered."""
        self.directory.kme_addresses[kme_id] = f"https://{LOOPBACK}:{listener.getsockname()[1]}"
        self._plans.append(_Plan(kme_id, database, master_key, credentials, listener, limits))

    def __enter__(self) -> Self:
        self._thread.start()
        try:
            self.call(self._start())
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Stop every server and close every store, whether the host was entered or not."""
        if self._thread.is_alive():
            self.call(self._stop())
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
        else:
            self._loop.run_until_complete(self._stop())
        self._loop.close()

    def call(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Run ``work`` on the host's loop and wait for it."""
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    async def _start(self) -> None:
        for plan in self._plans:
            plan.neighbours = Neighbours(plan.credentials, self.directory)
            entity = await KeyManagementEntity.open(
                plan.kme_id, plan.database, plan.master_key, directory=self.directory, post=plan.neighbours, limits=plan.limits
            )
            self.entities[plan.kme_id] = entity
            plan.server = KmeServer(entity, create_app(entity), ServerTls(plan.credentials), plan.listener)
        await asyncio.gather(*(plan.server.start() for plan in self._plans if plan.server is not None))

    async def _stop(self) -> None:
        await asyncio.gather(*(self._stop_one(plan) for plan in self._plans))

    async def _stop_one(self, plan: _Plan) -> None:
        if plan.server is not None:
            await plan.server.stop()
        else:
            plan.listener.close()
            await plan.database.close()
        if plan.neighbours is not None:
            await plan.neighbours.close()
