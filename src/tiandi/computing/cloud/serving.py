"""A cloud as a process: store, workers and door, from the first connection to SIGTERM."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from tiandi.computing.cloud import dialects
from tiandi.computing.cloud.cluster import ClusterRunner
from tiandi.computing.cloud.database import Database
from tiandi.computing.cloud.machines import DEFAULT_CATALOGUE, open_catalogue
from tiandi.computing.cloud.pool import ProcessPool, Reader, Runner, WorkerDied
from tiandi.computing.cloud.server import LOOPBACK, CloudServer, create_app, listen, tls_context
from tiandi.computing.cloud.service import Cloud
from tiandi.errors import StateError

MOST_FILES = 65_536


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How a cloud serves: ``workers`` jobs at once (None: as many as processors), on ``scheduler`` (Dask) where that is given."""

    address: str = LOOPBACK
    port: int = 0
    certificate: Path | None = None
    key: Path | None = None
    workers: int | None = None
    scheduler: str | None = None
    time_limit_s: float = 600.0
    memory_byte: int = 4 << 30
    keep_s: float = 90 * 86_400.0
    catalogue: str = DEFAULT_CATALOGUE


OtherDoor = Callable[[CloudServer], AbstractAsyncContextManager[str]]
"""Opens another door to the same cloud while it serves, and says where that is."""


async def serve_cloud(
    open_database: Callable[[], Awaitable[Database]], settings: Settings, tell: Callable[[str], None], other_door: OtherDoor | None = None
) -> None:
    """Serve until SIGTERM or SIGINT; ``tell`` hears the address once connections are accepted. Raises InputError, StateError."""
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    _set_limits()
    context = None if settings.certificate is None or settings.key is None else tls_context(settings.certificate, settings.key)
    machines = open_catalogue(settings.catalogue)
    listener = listen(settings.port, settings.address, protected=context is not None)
    try:
        cloud = Cloud(
            await open_database(), machines, reader=Reader(settings.catalogue), runner=await _runner(settings), keep_s=settings.keep_s
        )
    except BaseException:
        listener.close()
        raise
    server = CloudServer(create_app(cloud, *dialects.routes(cloud)), listener, context=context)
    try:
        await cloud.start()
        await server.start()
        async with nullcontext("") if other_door is None else other_door(server) as other:
            tell(f"serves {server.address} with {', '.join(machines)}")
            if other:
                tell(other)
            await ended.wait()
    finally:
        await server.stop()
        await cloud.close()


async def _runner(settings: Settings) -> Runner:
    if settings.scheduler is not None:
        return await ClusterRunner.open(
            settings.scheduler,
            settings.catalogue,
            size=settings.workers,
            time_limit_s=settings.time_limit_s,
            memory_byte=settings.memory_byte,
        )
    pool = ProcessPool(
        settings.catalogue,
        size=settings.workers or default_workers(),
        time_limit_s=settings.time_limit_s,
        memory_byte=settings.memory_byte,
    )
    try:
        await pool.start()
    except WorkerDied as error:
        raise StateError("workers", pool.size, str(error)) from None
    return pool


def default_workers() -> int:
    """One for each processor that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _set_limits() -> None:
    """No memory with API keys in it becomes a file, and this process may have many connections."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_FILES if hard == resource.RLIM_INFINITY else min(MOST_FILES, hard)
    if resource.RLIM_INFINITY != soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
