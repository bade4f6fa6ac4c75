"""How many keys a KME hands out: Get key (ETSI GS QKD 014) over mutual TLS that is kept alive, every delivery on disk before its answer.

Two KMEs and the client, each a process, on one machine. First the keys were all made before; then the KMEs make them meanwhile, for the
client takes what they make: relayed, confirmed end to end, on disk at both. Every key is checked to come once, and some to be the slave's.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import msgspec

from kme_client import Answers, Load, put_load
from kme_processes import Network, empty_handler, fdatasync_rate, network
from measure import Figure
from tiandi.kms.client import KeyClient
from tiandi.kms.etsi014 import Key, KeyContainer

REQUEST_GOAL_US = 1e6 / 3000
KEY_GOAL_US = 1e6 / 60_000
P99_GOAL_MS = 25.0
PAIRS, CONNECTIONS = 4, 8
LARGE_NUMBER, LARGE_CONNECTIONS = 128, 2
AHEAD = 1024
WARM_S, MEASURED_S = 1.0, 3.0
TRIALS = 2
LINK_MEGABYTE = 96
SAMPLE = 100
MICROSECOND = 1e6

Pair = tuple[str, str]


def benchmark_kme_load() -> list[Figure]:
    """Requests of one key and of 128, keys made before and keys made meanwhile."""
    with tempfile.TemporaryDirectory() as name, network(Path(name), kmes=2, pairs=2 * PAIRS) as kmes:
        kmes.fill_links(LINK_MEGABYTE)
        small = _both(kmes, 1, CONNECTIONS, reservations=8)
        large = _both(kmes, LARGE_NUMBER, LARGE_CONNECTIONS, reservations=100)
    return small + large


def _both(kmes: Network, number: int, connections: int, *, reservations: int) -> list[Figure]:
    """The quickest of several runs each: whatever else the machine does only adds to it."""
    stocked, empty, trials = kmes.plan.pairs[:PAIRS], kmes.plan.pairs[PAIRS:], range(TRIALS)
    before = max((_run_stocked(kmes, stocked, number, connections, reservations) for _ in trials), key=_rate)
    bare = max((_run_bare(kmes, number, connections, len(before.bodies[-1][1])) for _ in trials), key=_rate)
    meanwhile, made = max((_run_making(kmes, empty, number, connections) for _ in trials), key=lambda run: run[0].rate)
    taken = number * len(meanwhile.bodies)
    limits = f"bare limit {bare.rate:,.0f}/s ({bare.cpu_us()}), disk {fdatasync_rate(kmes.folder):,.0f} fdatasync/s"
    what = "1 key" if number == 1 else f"{number} keys"
    goal_us = REQUEST_GOAL_US if number == 1 else KEY_GOAL_US
    figures = []
    for answers, where in ((before, "made before"), (meanwhile, f"{made:,} made for {taken:,} taken")):
        rate = answers.rate * number
        peer = f"{answers.rate / bare.rate:.2f} of the {limits}; {answers.cpu_us()} a request"
        figures.append(Figure(f"Get key, {what} a request ({rate:,.0f} keys/s), {where}", MICROSECOND / rate, goal_us, "us", peer))
    if number == 1:
        worst = f"p50 {meanwhile.latency_ms(0.5):.1f} ms, longest {meanwhile.latency_ms(1):.1f} ms, bare p99 {bare.latency_ms(0.99):.1f} ms"
        figures.append(Figure("Get key, 1 key, made meanwhile: 99 % answered within", meanwhile.latency_ms(0.99), P99_GOAL_MS, "ms", worst))
    return figures


def _rate(answers: Answers) -> float:
    return answers.rate


def _run_stocked(kmes: Network, pairs: Sequence[Pair], number: int, connections: int, reservations: int) -> Answers:
    first = kmes.plan.kmes[0]
    kmes.call(first, "keep_ahead", 0)
    kmes.call(first, "reserve", pairs, reservations)
    return _run(kmes, pairs, number, connections)


def _run_making(kmes: Network, pairs: Sequence[Pair], number: int, connections: int) -> tuple[Answers, int]:
    """Also how many keys were made in that time."""
    first = kmes.plan.kmes[0]
    kmes.call(first, "keep_ahead", AHEAD)
    made = kmes.call(first, "made_count")
    answers = _run(kmes, pairs, number, connections)
    return answers, kmes.call(first, "made_count") - made


def _load(kmes: Network, address: str, pairs: Sequence[Pair], number: int, connections: int) -> Load:
    plan = kmes.plan
    callers = [(plan.credentials[master], f"/api/v1/keys/{slave}/enc_keys?number={number}") for master, slave in pairs]
    return Load(address, plan.kmes[0], callers, connections, WARM_S, MEASURED_S)


def _run(kmes: Network, pairs: Sequence[Pair], number: int, connections: int) -> Answers:
    answers = put_load(_load(kmes, kmes.plan.addresses[kmes.plan.kmes[0]], pairs, number, connections), kmes.cpu_s)
    keys: list[list[Key]] = [[] for _ in pairs]
    for caller, body in answers.bodies:
        keys[caller] += msgspec.json.decode(body, type=KeyContainer).keys
    count = number * len(answers.bodies)
    if len({key.key_ID for of_pair in keys for key in of_pair}) != count:
        raise RuntimeError("a key came twice, or not at all")
    for pair, of_pair in zip(pairs, keys, strict=True):
        _check_slave(kmes, *pair, of_pair[-SAMPLE:])
    return answers


def _check_slave(kmes: Network, master: str, slave: str, keys: list[Key]) -> None:
    plan = kmes.plan
    with KeyClient(plan.addresses[plan.kmes[-1]], plan.kmes[-1], plan.credentials[slave]) as client:
        got = client.get_keys_with_ids(master, [key.key_ID for key in keys])
    if [(key.key_ID, key.key) for key in got] != [(key.key_ID, key.key) for key in keys]:
        raise RuntimeError("the slave was given other keys")


def _run_bare(kmes: Network, number: int, connections: int, body_byte: int) -> Answers:
    with empty_handler(kmes.plan, body_byte) as (address, cpu_s):
        return put_load(_load(kmes, address, kmes.plan.pairs[:PAIRS], number, connections), cpu_s)


if __name__ == "__main__":
    for figure in benchmark_kme_load():
        print(figure.line())
    sys.exit(0)
