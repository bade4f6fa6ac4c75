"""Workers on a Dask cluster: every task starts, or goes on with, a worker process of ours on the machine where it lands.

So a job has the same limits there as here, and one that dies takes no worker of the cluster with it. The cluster is trusted as this
machine is: Dask's own messages are pickles.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from importlib import import_module
from typing import Any, BinaryIO, cast

import msgspec

from tiandi.computing.cloud.pool import DYING_TIMEOUT_S, START_TIMEOUT_S, WorkerDied, ended_by, worker_environment
from tiandi.computing.cloud.queue import Taken
from tiandi.computing.cloud.worker import LENGTH, Reply, Request
from tiandi.errors import InputError

CONNECT_LIMIT_S = 8.0
DEATH = b"died:"
LATE = b"late:"

_local = threading.local()
_encoder, _reply = msgspec.msgpack.Encoder(), msgspec.msgpack.Decoder(Reply)


class ClusterRunner:
    """Runs jobs on the cluster of the scheduler at ``address``; `open` makes one."""

    def __init__(self, client: Any, size: int, catalogue: str, *, time_limit_s: float, memory_byte: int) -> None:
        self.size = size
        self._client, self._catalogue = client, catalogue
        self._time_limit_s, self._memory_byte = time_limit_s, memory_byte
        self._futures: dict[str, Any] = {}

    @classmethod
    async def open(cls, address: str, catalogue: str, *, size: int | None, time_limit_s: float, memory_byte: int) -> ClusterRunner:
        """As many jobs at once as the cluster has threads, unless ``size`` says. Raises InputError where none with workers answers."""
        try:
            distributed: Any = import_module("distributed")
        except ImportError:
            raise InputError("scheduler", address, "needs Dask: pip install 'tiandi[cluster]'") from None
        try:
            client = await distributed.Client(address, asynchronous=True, timeout=CONNECT_LIMIT_S / 2, set_as_default=False)
        except (OSError, ValueError, TypeError) as error:
            raise InputError("scheduler", address, f"no Dask scheduler answers there ({type(error).__name__})") from None
        try:
            await client.wait_for_workers(1, timeout=CONNECT_LIMIT_S / 2)
        except TimeoutError:
            await client.close()
            raise InputError("scheduler", address, "it has no workers; start one with: dask worker ADDRESS") from None
        threads = sum((await client.nthreads()).values())
        return cls(client, size or threads, catalogue, time_limit_s=time_limit_s, memory_byte=memory_byte)

    async def run(self, taken: Taken) -> Reply:
        """See `pool.Runner.run`."""
        request = Request(taken.machine, taken.language, taken.compile, taken.programs, taken.shots, taken.seed)
        arguments = (self._catalogue, self._memory_byte, self._time_limit_s, _encoder.encode(request))
        future = self._client.submit(run_in_process, *arguments, pure=False)
        self._futures[taken.job_id] = future
        try:
            told: bytes = await future
        except (Exception, asyncio.CancelledError) as error:
            if not future.cancelled() and isinstance(error, asyncio.CancelledError):
                raise
            # Its worker died, was cancelled, or the scheduler went away: another takes the job.
            raise WorkerDied(type(error).__name__) from None
        finally:
            del self._futures[taken.job_id]
        if told.startswith(DEATH):
            raise WorkerDied(told.removeprefix(DEATH).decode())
        if told.startswith(LATE):
            raise TimeoutError(f"it took longer than the {self._time_limit_s:g} s that a job may take")
        return _reply.decode(told)

    async def stop(self, job_id: str) -> None:
        """See `pool.Runner.stop`. A process that computes already ends with its time limit; what it brings is not kept."""
        if (future := self._futures.get(job_id)) is not None:
            await future.cancel()

    async def close(self) -> None:
        """See `pool.Runner.close`."""
        await self._client.close()


def run_in_process(catalogue: str, memory_byte: int, time_limit_s: float, request: bytes) -> bytes:
    """On a worker of the cluster: the reply of a process of ours, one for each thread; or `DEATH` or `LATE`, and how it ended."""
    process: subprocess.Popen[bytes] | None = getattr(_local, "process", None)
    if process is None or process.poll() is not None:
        command = (sys.executable, "-m", "tiandi.computing.cloud.worker", catalogue, str(memory_byte))
        environment = worker_environment()
        process = _local.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)  # noqa: S603 - ours.
        if _within(process, START_TIMEOUT_S) is None:
            return DEATH + b"not started"
    try:
        requests = cast(BinaryIO, process.stdin)
        requests.write(LENGTH.pack(len(request)) + request)
        requests.flush()
    except OSError:
        return DEATH + ended_by(process.wait()).encode()
    reply = _within(process, time_limit_s)
    if reply is not None:
        return reply
    late = _local.late
    status = process.wait(DYING_TIMEOUT_S)
    return LATE if late else DEATH + ended_by(status).encode()


def _within(process: subprocess.Popen[bytes], duration_s: float) -> bytes | None:
    """What the process says next, or None where it ends before, or after ``duration_s`` [s] is ended."""
    _local.late = False
    late = threading.Event()

    def end() -> None:
        late.set()
        process.kill()

    timer = threading.Timer(duration_s, end)
    timer.start()
    answers = cast(BinaryIO, process.stdout)
    try:
        head = answers.read(LENGTH.size)
        body = answers.read(LENGTH.unpack(head)[0]) if len(head) == LENGTH.size else b""
        whole = len(head) == LENGTH.size and len(body) == LENGTH.unpack(head)[0]
    finally:
        timer.cancel()
    _local.late = late.is_set()
    return body if whole and not late.is_set() else None
