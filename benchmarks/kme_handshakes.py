"""How many callers a KME lets in: new connections with mutual TLS, each with one request that costs nothing behind the door."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from kme_client import connect
from kme_processes import FORK, Plan, empty_handler, network
from measure import Figure

CONNECTION_GOAL_US = 1e6 / 300
THREADS = 8
WARM, MEASURED = 50, 400
TRIALS = 4
READ_BYTE = 4096
REQUEST = b"GET /api/v1/keys/nothing HTTP/1.1\r\nHost: kme\r\nConnection: close\r\n\r\n"
MICROSECOND = 1e6


def benchmark_kme_handshakes() -> list[Figure]:
    """Connect, ask, read, close: from several threads of one client process."""
    with (
        tempfile.TemporaryDirectory() as name,
        network(Path(name), kmes=1) as kmes,
        empty_handler(kmes.plan, 60) as (bare_address, bare_cpu_s),
    ):
        address = kmes.plan.addresses[kmes.plan.kmes[0]]
        trials = [(_measure(kmes.plan, address, kmes.cpu_s), _measure(kmes.plan, bare_address, bare_cpu_s)) for _ in range(TRIALS)]
    # The quickest: whatever else the machine does only adds to it.
    (elapsed_s, spent), (bare_s, _) = (min(measured) for measured in zip(*trials, strict=True))
    peer = f"{bare_s / elapsed_s:.2f} of the same TLS before an empty handler ({MEASURED / bare_s:,.0f}/s); {spent} a connection"
    what = f"open a connection with mutual TLS and be answered ({MEASURED / elapsed_s:,.0f}/s)"
    return [Figure(what, MICROSECOND * elapsed_s / MEASURED, CONNECTION_GOAL_US, "us", peer)]


def _measure(plan: Plan, address: str, cpu_s: Callable[[], dict[str, float]]) -> tuple[float, str]:
    """Time for the measured connections [s], and who spent how much of it."""
    _connect_all(plan, address, WARM)
    before_s = cpu_s()
    elapsed_s, client_s = _connect_all(plan, address, MEASURED)
    spent = {name: after_s - before_s[name] for name, after_s in cpu_s().items()} | {"client": client_s}
    return elapsed_s, ", ".join(f"{name} {MICROSECOND * seconds / MEASURED:.0f} us" for name, seconds in spent.items())


def _connect_all(plan: Plan, address: str, count: int) -> tuple[float, float]:
    near, far = FORK.Pipe()
    process = FORK.Process(target=lambda: far.send(_in_threads(plan, address, count)))
    process.start()
    far.close()
    elapsed_s, cpu_s = near.recv()
    process.join(5)
    return elapsed_s, cpu_s


def _in_threads(plan: Plan, address: str, count: int) -> tuple[float, float]:
    credentials = plan.credentials[plan.pairs[0][0]]
    context = credentials.client_context()

    def one(_: int) -> None:
        with connect(address, plan.kmes[0], context) as connection:
            connection.sendall(REQUEST)
            if not connection.recv(READ_BYTE).startswith(b"HTTP/1.1 "):
                raise RuntimeError("no answer")

    with ThreadPoolExecutor(THREADS) as threads:
        began_s, began_cpu_s = time.perf_counter(), time.process_time()
        for _ in threads.map(one, range(count)):
            pass
        return time.perf_counter() - began_s, time.process_time() - began_cpu_s


if __name__ == "__main__":
    for figure in benchmark_kme_handshakes():
        print(figure.line())
    sys.exit(0)
