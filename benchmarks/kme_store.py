"""A million keys in a KME's store: what one takes on disk, and whether Get key takes longer than from a store of ten thousand.

One KME serves both ends of the pair, so that its store holds every key twice: for the master, and for the slave.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from kme_client import Answers, Load, put_load
from kme_processes import RESERVATION, Network, network
from measure import Figure

FEW, MANY = 10_000, 1_000_000
SIZE_GOAL_BYTE = 400.0
SLOWDOWN_GOAL = 1.25
CONNECTIONS, WARM_S, MEASURED_S = 1, 0.2, 0.6
TRIALS = 6
QUICK = 0.1
"""The quickest tenth of the answers: whatever else the machine does only adds to it."""


def benchmark_kme_store() -> list[Figure]:
    """Bytes of the database and its log for each key, and the time to an answer against that of a small store."""
    with tempfile.TemporaryDirectory() as name, network(Path(name), kmes=1) as kmes:
        _fill(kmes, FEW)
        few = _best(kmes)
        _fill(kmes, MANY)
        count = kmes.call("kme-0", "ready_count", kmes.plan.pairs)
        size_byte = sum(file.stat().st_size for file in Path(name).glob("kme-0.sqlite*")) / count
        many = _best(kmes)
    shown = [f"{stored:,}: {of.latency_ms(QUICK):.2f} ms ({of.cpu_us()})" for stored, of in ((FEW, few), (count, many))]
    share = many.latency_ms(QUICK) / few.latency_ms(QUICK)
    return [
        Figure(f"store {count:,} keys of 256 bit, for master and slave: a key takes", size_byte, SIZE_GOAL_BYTE, "byte", "with its log"),
        Figure(f"Get key from {MANY:,} stored keys: time over that from {FEW:,}", share, SLOWDOWN_GOAL, "", ", ".join(shown)),
    ]


def _fill(kmes: Network, count: int) -> None:
    missing = count - kmes.call("kme-0", "ready_count", kmes.plan.pairs)
    kmes.call("kme-0", "reserve", kmes.plan.pairs, -(-missing // RESERVATION))


def _best(kmes: Network) -> Answers:
    """The quickest of several runs."""
    master, slave = kmes.plan.pairs[0]
    callers = [(kmes.plan.credentials[master], f"/api/v1/keys/{slave}/enc_keys")]
    load = Load(kmes.plan.addresses["kme-0"], "kme-0", callers, CONNECTIONS, WARM_S, MEASURED_S)
    return min((put_load(load, kmes.cpu_s) for _ in range(TRIALS)), key=lambda answers: answers.latency_ms(QUICK))


if __name__ == "__main__":
    for figure in benchmark_kme_store():
        print(figure.line())
    sys.exit(0)
