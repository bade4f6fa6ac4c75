"""Runs many independent tasks: in this process, in a pool of processes on this machine, or on a Dask cluster. The results are the same."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from importlib import import_module
from typing import Any, TypeVar

from tiandi.errors import InputError, TiandiError
from tiandi.limits import require_within

Shared = TypeVar("Shared")
Task = TypeVar("Task")
Result = TypeVar("Result")

CONNECT_LIMIT_S = 8.0
"""How long a scheduler may take to answer, and then to name a worker."""
MOST_WORKERS = 4096


@dataclass(frozen=True)
class _Failure:
    """An error on purpose on its way home: an exception with arguments of its own does not survive pickling."""

    text: str
    parts: tuple[str, object, str] | None = None

    def error(self) -> TiandiError:
        return InputError(*self.parts) if self.parts else TiandiError(self.text)


def default_workers() -> int:
    """One for each processor that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run_tasks(
    function: Callable[[Shared, Task], Result],
    shared: Shared,
    tasks: Sequence[Task],
    *,
    workers: int | None = None,
    scheduler: str | None = None,
) -> Iterator[tuple[int, Result]]:
    """The number of each task and ``function(shared, task)``, as they are done, in any order.

    ``function`` is one of a module; it, what all tasks share, tasks and results must pickle. By default there are as many ``workers`` as
    processors; with one, all is done in this process. ``scheduler`` is the address of a Dask scheduler, such as tcp://10.0.0.1:8786, whose
    workers have tiandi installed: one that dies is replaced by another. Raises what a task raised (errors of tiandi other than InputError
    as TiandiError), and InputError when there is no such scheduler, no worker, or a worker of the pool dies.
    """
    if workers is not None:
        require_within("workers", workers, 1, MOST_WORKERS)
    if not tasks:
        return
    if scheduler is not None:
        yield from _on_cluster(function, shared, tasks, scheduler)
        return
    count = min(workers or default_workers(), len(tasks))
    if count == 1:
        for number, task in enumerate(tasks):
            yield number, function(shared, task)
        return
    yield from _in_pool(function, shared, tasks, count)


def _attempt(function: Callable[[Any, Any], Result], shared: object, task: object) -> Result | _Failure:
    try:
        return function(shared, task)
    except InputError as error:
        return _Failure(str(error), (error.field, error.value, error.limit))
    except TiandiError as error:
        return _Failure(str(error))


def _opened(result: Result | _Failure) -> Result:
    if isinstance(result, _Failure):
        raise result.error()
    return result


_shared_in_worker: list[object] = []


def _keep_shared(shared: object) -> None:
    """Once in each process of a pool, so that what all tasks share does not travel with every task."""
    _shared_in_worker[:] = [shared]


def _attempt_in_worker(function: Callable[[Any, Any], Result], task: object) -> Result | _Failure:
    return _attempt(function, _shared_in_worker[0], task)


def _in_pool(function: Callable[[Any, Any], Result], shared: object, tasks: Sequence[Any], count: int) -> Iterator[tuple[int, Result]]:
    # Processes are started afresh: a fork would copy locks that threads of this process may hold.
    fresh = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(count, mp_context=fresh, initializer=_keep_shared, initargs=(shared,))
    try:
        numbers = {pool.submit(_attempt_in_worker, function, task): number for number, task in enumerate(tasks)}
        for future in as_completed(numbers):
            yield numbers[future], _opened(future.result())
    except BrokenProcessPool:
        raise InputError("workers", count, "a worker process died; perhaps memory was short: fewer workers need less") from None
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _on_cluster(function: Callable[[Any, Any], Result], shared: object, tasks: Sequence[Any], address: str) -> Iterator[tuple[int, Result]]:
    try:
        distributed: Any = import_module("distributed")
    except ImportError:
        raise InputError("scheduler", address, "needs Dask: pip install 'tiandi[cluster]'") from None
    client = _connect(distributed, address)
    with client:
        # Every worker gets a copy, so that those that are left need nothing of one that died.
        (everywhere,) = client.scatter([shared], broadcast=True)
        futures = client.map(_attempt, [function] * len(tasks), [everywhere] * len(tasks), list(tasks), pure=False, batch_size=1000)
        numbers = {future.key: number for number, future in enumerate(futures)}
        try:
            for future in distributed.as_completed(futures, loop=client.loop):
                yield numbers[future.key], _opened(future.result())
        except distributed.KilledWorker:
            raise InputError("scheduler", address, "its workers die under this work; perhaps memory is short") from None
        except (distributed.client.FutureCancelledError, OSError):
            raise InputError("scheduler", address, "it went away, or lost what its workers shared") from None


def _connect(distributed: Any, address: str) -> Any:
    class Client(distributed.Client):  # type: ignore[misc]
        def start(self, **how: Any) -> None:
            """Close a client that cannot start: the garbage collector would do it one day, perhaps while another one starts, and would wait
            for ever for the lock that this one holds."""
            try:
                super().start(**how)
            except BaseException:
                self.close()
                raise

    try:
        client = Client(address, timeout=CONNECT_LIMIT_S / 2, set_as_default=False)
    except (OSError, ValueError, TypeError) as error:
        reason = f"no Dask scheduler answers there ({type(error).__name__}); start one with: dask scheduler"
        raise InputError("scheduler", address, reason) from None
    try:
        client.wait_for_workers(1, timeout=CONNECT_LIMIT_S / 2)
    except TimeoutError:
        client.close()
        raise InputError("scheduler", address, "it has no workers; start one with: dask worker ADDRESS") from None
    return client
