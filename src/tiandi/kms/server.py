"""Runs KMEs: one HTTPS server each, on an event loop in a thread of its own."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from collections.abc import Coroutine
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx
import msgspec
import uvicorn

from tiandi.errors import RelayFailed, RemoteRefused, StateError
from tiandi.kms.api import create_app
from tiandi.kms.entity import RELAY_PATH, Directory, KeyManagementEntity
from tiandi.kms.pki import Credentials
from tiandi.kms.store import KeyStore
from tiandi.kms.tls import MutualTlsProtocol

LOOPBACK = "127.0.0.1"
NEIGHBOUR_TIMEOUT_S = 60.0
START_TIMEOUT_S = 30.0

Result = TypeVar("Result")


def listen(port: int, field: str) -> socket.socket:
    """A socket bound to ``port`` of the loopback address, or to a free port for 0. Raises StateError naming ``field``."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((LOOPBACK, port))
    except (OSError, OverflowError) as error:
        listener.close()
        raise StateError(field, port, f"cannot listen on {LOOPBACK}:{port} ({error}); choose a free port, or 0 for any") from None
    return listener


@dataclass
class _Node:
    entity: KeyManagementEntity
    server: uvicorn.Server
    listener: socket.socket
    neighbours: httpx.AsyncClient
    task: asyncio.Task[None] | None = None


class KmeHost:
    """Hosts any number of KMEs in this process. A context manager; leaving it stops every server and closes every store."""

    def __init__(self, directory: Directory) -> None:
        self.directory = directory
        self.entities: dict[str, KeyManagementEntity] = {}
        self._nodes: list[_Node] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="kme-host", daemon=True)

    def add(self, store: KeyStore, credentials: Credentials, listener: socket.socket) -> KeyManagementEntity:
        """A KME that will serve ``listener`` with ``credentials`` once the host is entered."""
        self.directory.kme_addresses[store.kme] = f"https://{LOOPBACK}:{listener.getsockname()[1]}"
        neighbours = httpx.AsyncClient(verify=credentials.client_context(), timeout=NEIGHBOUR_TIMEOUT_S, trust_env=False)

        async def post(kme: str, path: str, message: Any) -> None:
            await _post(neighbours, self.directory, kme, path, message)

        entity = KeyManagementEntity(store, self.directory, post)
        config = uvicorn.Config(
            create_app(entity),
            http=MutualTlsProtocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            ssl_context_factory=lambda _config, _default: credentials.server_context(),
            timeout_graceful_shutdown=1,
        )
        self._nodes.append(_Node(entity, uvicorn.Server(config), listener, neighbours))
        self.entities[store.kme] = entity
        return entity

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
        for node in self._nodes:
            node.listener.close()
            node.entity.store.close()

    def call(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Run ``work`` on the host's loop and wait for it."""
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    async def _start(self) -> None:
        for node in self._nodes:
            node.task = asyncio.create_task(node.server._serve(sockets=[node.listener]))
        async with asyncio.timeout(START_TIMEOUT_S):
            while not all(node.server.started for node in self._nodes):
                await asyncio.sleep(0.01)

    async def _stop(self) -> None:
        for node in self._nodes:
            node.server.should_exit = True
            await node.neighbours.aclose()
        await asyncio.gather(*(node.task for node in self._nodes if node.task is not None))


async def _post(client: httpx.AsyncClient, directory: Directory, kme: str, path: str, message: Any) -> None:
    """Post to a KME under its own name: TLS refuses an answer from any other. Raises RemoteRefused or RelayFailed."""
    if kme not in directory.kme_addresses:
        raise RelayFailed(kme, "nobody knows the address of that KME")
    try:
        response = await client.post(
            directory.kme_addresses[kme] + path,
            content=msgspec.json.encode(message),
            headers={"Content-Type": "application/json"},
            extensions={"sni_hostname": kme},
        )
    except (httpx.TransportError, ssl.SSLError) as error:
        raise RelayFailed(kme, f"no answer ({type(error).__name__}: {error})") from None
    if response.is_success:
        return
    try:
        reason = msgspec.json.decode(response.content)["message"]
    except (msgspec.DecodeError, KeyError, TypeError):
        reason = response.reason_phrase
    if response.status_code == 503 and path == RELAY_PATH:
        raise RelayFailed(kme, str(reason))
    raise RemoteRefused(response.status_code, str(reason))
