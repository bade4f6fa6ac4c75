"""Workers on a Dask cluster: every task starts, or goes on with, a worker process of ours on the machine where it lands.

So a job has the same limits there as here, and one that dies takes no worker of the cluster with it. The cluster is trusted as this
machine is: Dask's own messages are pickles.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from contextlib import suppress
from importlib import import_module
from typing import Any, BinaryIO, cast

import msgspec

from tiandi.computing.cloud.pool import DYING_TIMEOUT_S, START_TIMEOUT_S, WorkerDied, ended_by, worker_environment
from tiandi.computing.cloud.queue import Taken
from tiandi.computing.cloud.worker import LENGTH, Reply, Request
from tiandi.errors import InputError

CONNECT_LIMIT_S = 8.0
STOP_LIMIT_S = 2.0
DEATH = b"died:"
LATE = b"late:"

_local = threading.local()
_asked: dict[str, subprocess.Popen[bytes]] = {}
"""On a worker of the cluster: the processes that do something, by the task."""
_encoder, _reply = msgspec.msgpack.Encoder(), msgspec.msgpack.Decoder(Reply)


class ClusterRunner:
    """Runs jobs on the cluster of the scheduler at ``address``; `open` makes one."""

    def __init__(self, client: Any, size: int, catalogue: str, *, time_limit_s: float, memory_byte: int) -> None:
        self.size = size
        self._client, self._catalogue = client, catalogue
        self._time_limit_s, self._memory_byte = time_limit_s, memory_byte
        self._tasks: dict[str, str] = {}

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
        task = self._tasks[taken.job_id] = f"{taken.job_id}-{taken.fence}"
        arguments = (self._catalogue, self._memory_byte, self._time_limit_s, _encoder.encode(request))
        future = self._client.submit(run_in_process, task, *arguments, pure=False)
        try:
            told: bytes = await future
        except (Exception, asyncio.CancelledError) as error:
            if not future.cancelled() and isinstance(error, asyncio.CancelledError):
                raise
            # Its worker died, or the scheduler went away: another takes the job.
            raise WorkerDied(type(error).__name__) from None
        finally:
            del self._tasks[taken.job_id]
        if told.startswith(DEATH):
            raise WorkerDied(told.removeprefix(DEATH).decode())
        if told.startswith(LATE):
            raise TimeoutError(f"it took longer than the {self._time_limit_s:g} s that a job may take")
        return _reply.decode(told)

    async def stop(self, job_id: str) -> None:
        """See `pool.Runner.stop`: ends the job's process, and `run` goes on until the cluster has said so.

        The task itself is not cancelled: the cluster would forget it at once, and its thread compute on while another job is sent there.
        One that has no process yet, or is out of reach, keeps its place; who holds the job asks again.
        """
        if (task := self._tasks.get(job_id)) is not None:
            with suppress(TimeoutError, OSError):
                async with asyncio.timeout(STOP_LIMIT_S):
                    await self._client.run(end_process, task, on_error="ignore")

    async def close(self) -> None:
        """See `pool.Runner.close`."""
        await self._client.close()


def end_process(task: str) -> None:
    """On every worker of the cluster: end the process that has ``task``, where it is here."""
    if (process := _asked.get(task)) is not None:
        process.kill()


def run_in_process(task: str, catalogue: str, memory_byte: int, time_limit_s: float, request: bytes) -> bytes:
    """On a worker of the cluster: the reply of a process of ours, one for each thread; or `DEATH` or `LATE`, and how it ended."""
    process: subprocess.Popen[bytes] | None = getattr(_local, "process", None)
    if process is None or process.poll() is not None:
        command = (sys.executable, "-m", "tiandi.computing.cloud.worker", catalogue, str(memory_byte))
        environment = worker_environment()
        process = _local.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)  # noqa: S603 - ours.
        if _within(process, START_TIMEOUT_S) is None:
            return DEATH + b"not started"
    _asked[task] = process
    try:
        requests = cast(BinaryIO, process.stdin)
        requests.write(LENGTH.pack(len(request)) + request)
        requests.flush()
        reply = _within(process, time_limit_s)
    except OSError:
        return DEATH + ended_by(process.wait()).encode()
    finally:
        del _asked[task]
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
