"""Metrics of a KME for Prometheus: what the ledger holds, and what this process has counted.

What happened to keys is read from the store when it is asked for: it survives restarts, and every process of a node tells the same.
Refusals, commits and connections are this process's own. Labels are names of a configured network or words of a fixed list; pairs
beyond `MOST_PAIRS` are summed up under one name. No metric holds a key or an identifier of one.
"""

from __future__ import annotations

import time
from collections import Counter as Tally
from collections.abc import Callable, Iterable, Iterator

import msgspec
from litestar.types import ASGIApp, Message, Receive, Scope, Send
from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from tiandi import errors
from tiandi.errors import StateError
from tiandi.kms.doors.answers import REFUSALS_KEY
from tiandi.kms.operating import alarms
from tiandi.kms.states import LIVING, State
from tiandi.kms.store import ledger
from tiandi.kms.store.database import Arguments, Database, Result, Transaction, Work

MEDIA_TYPE = CONTENT_TYPE_LATEST.encode()
MOST_PAIRS = 500
OTHERS = "(others)"
SIZE_CLASSES_BIT = (128, 256, 512, 1024, 4096)
COMMIT_BUCKETS_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0)
DOORS = {"api": "etsi014", "capabilities": "skip", "key": "skip", "entropy": "skip", "kx": "neighbours", "kmapi": "etsi020"}
OPERATORS_DOOR = ("admin", "healthz", "metrics", "openapi", "readyz", "restconf")
_REASONS = frozenset(name for name, kind in vars(errors).items() if isinstance(kind, type)) | {"HTTPException"}
_LIVING_ROWS = ("reserved", "held", "uncertain", "ready")


class Snapshot(msgspec.Struct, frozen=True):
    """What the store tells at one moment."""

    accounts: dict[str, dict[str, int]]
    """Bits by stock and state."""
    reservations: dict[str, int]
    """Reservations that are alive, by state."""
    outbox: int
    """Relays that wait for the next node's answer."""
    confirmations: int
    """Questions to other KMEs that are not answered."""
    alarms: dict[str, int]
    """Open alarms by severity."""


async def read_snapshot(transaction: Transaction) -> Snapshot:
    """The figures of a store. They are read through indices of what is alive, however many keys have gone."""
    found = await transaction.rows(
        "SELECT state, count(*) FROM reservation WHERE state IN ('reserved', 'held', 'uncertain', 'ready') GROUP BY state"
    )
    outbox = await transaction.rows("SELECT count(*) FROM relay WHERE state = 'waiting'")
    confirmations = await transaction.rows("SELECT count(*) FROM confirmation WHERE state <> 'ready' AND state <> 'voided'")
    return Snapshot(
        accounts=await ledger.accounts(transaction),
        reservations=dict.fromkeys(_LIVING_ROWS, 0) | {state: int(count) for state, count in found},
        outbox=int(outbox[0][0]),
        confirmations=int(confirmations[0][0]),
        alarms=await alarms.open_counts(transaction),
    )


class Metrics:
    """The metrics of one KME. Its database and its application count when they are wrapped by `measured` and `counting`."""

    def __init__(self, kme_id: str) -> None:
        self._kme_id = kme_id
        self._registry = CollectorRegistry()
        self._refusals = Counter("tiandi_refusals", "Requests refused.", ["door", "reason"], registry=self._registry)
        self._requests = Counter("tiandi_requests", "Requests answered.", ["door", "status"], registry=self._registry)
        self._commit_s = Histogram(
            "tiandi_commit_seconds", "Time that durable transactions took.", registry=self._registry, buckets=COMMIT_BUCKETS_S
        )
        self._failures = Counter("tiandi_store_failures", "Transactions that the store refused.", registry=self._registry)
        self.connection_count: Callable[[], int] | None = None
        """How many TLS connections are open; whoever serves them sets it."""

    def measured(self, database: Database) -> Database:
        """``database``, whose transactions are timed."""
        return _Measured(database, self._commit_s, self._failures)

    def counting(self, app: ASGIApp) -> ASGIApp:
        """``app``, whose answers and refusals are counted."""

        async def counted(scope: Scope, receive: Receive, send: Send) -> None:
            door, refusals = _door(scope), list[str]()
            scope[REFUSALS_KEY] = refusals  # type: ignore[literal-required]

            async def noted(message: Message) -> None:
                if message["type"] == "http.response.start":
                    self._requests.labels(door, str(message["status"])).inc()
                    for reason in refusals:
                        self._refusals.labels(door, reason if reason in _REASONS else "fault").inc()
                await send(message)

            await app(scope, receive, noted)

        return counted

    def exposition(self, snapshot: Snapshot | None, *, ready: bool, draining: bool) -> bytes:
        """Everything in Prometheus's text format; without a snapshot (the store does not answer) what this process has counted."""
        families = [
            *(_families(snapshot) if snapshot is not None else ()),
            _gauge("tiandi_ready", "Whether this process takes requests.", int(ready)),
            _gauge("tiandi_draining", "Whether this node hands out no new keys.", int(draining)),
        ]
        if self.connection_count is not None:
            families.append(_gauge("tiandi_tls_connections", "TLS connections that are open.", self.connection_count()))
        information = GaugeMetricFamily("tiandi_kme_info", "Which KME this is.", labels=["kme"])
        information.add_metric([self._kme_id], 1)
        return generate_latest(self._registry) + generate_latest(_Fixed([*families, information]))


class _Measured:
    def __init__(self, database: Database, seconds: Histogram, failures: Counter) -> None:
        self._database, self._seconds, self._failures = database, seconds, failures

    async def run(self, work: Work[Arguments, Result], *arguments: Arguments.args, **named: Arguments.kwargs) -> Result:
        """See `Database.run`."""
        start_s = time.perf_counter()
        try:
            result = await self._database.run(work, *arguments, **named)
        except StateError:
            self._failures.inc()
            raise
        self._seconds.observe(time.perf_counter() - start_s)
        return result

    async def close(self) -> None:
        """See `Database.close`."""
        await self._database.close()


class _Fixed(CollectorRegistry):
    """A registry of families that are there already."""

    def __init__(self, families: Iterable[Metric]) -> None:
        super().__init__()
        self._families = families

    def collect(self) -> Iterator[Metric]:
        yield from self._families


def _door(scope: Scope) -> str:
    first = scope["path"].lstrip("/").partition("/")[0]
    return "operators" if first in OPERATORS_DOOR else DOORS.get(first, "none")


def _gauge(name: str, text: str, value: int) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, text, value=value)


def _families(snapshot: Snapshot) -> Iterator[Metric]:
    """What the store tells."""
    yield from _link_families(snapshot.accounts)
    yield from _supply_families(snapshot.accounts)
    for name, text, label, values in (
        ("tiandi_reservations", "Reservations that are alive.", "state", snapshot.reservations),
        ("tiandi_alarms", "Alarms that nobody has acknowledged.", "severity", snapshot.alarms),
    ):
        family = GaugeMetricFamily(name, text, labels=[label])
        for value, count in sorted(values.items()):
            family.add_metric([value], count)
        yield family
    yield _gauge("tiandi_outbox", "Relays that wait for the next node's answer.", snapshot.outbox)
    yield _gauge("tiandi_confirmations_open", "Questions to other KMEs that are not answered.", snapshot.confirmations)


def _link_families(accounts: dict[str, dict[str, int]]) -> Iterator[Metric]:
    stock = GaugeMetricFamily("tiandi_link_key_bits", "Link key in the store.", labels=["peer", "end", "state"])
    received = CounterMetricFamily("tiandi_link_key_received_bits", "Link key that ever came.", labels=["peer"])
    spent = CounterMetricFamily("tiandi_link_key_spent_bits", "Link key that was spent.", labels=["peer"])
    came, went = Tally[str](), Tally[str]()
    for name, states in accounts.items():
        match name.split(" "):
            case ["link", peer, end]:
                came[peer] += sum(states.values())
                went[peer] += states.get(State.SPENT, 0)
                for state in (State.RECEIVED, State.STORED):
                    stock.add_metric([peer, end, state.value], states.get(state, 0))
    for peer in sorted(came):
        received.add_metric([peer], came[peer])
        spent.add_metric([peer], went[peer])
    yield from (stock, received, spent)


def _supply_families(accounts: dict[str, dict[str, int]]) -> Iterator[Metric]:
    delivered: Tally[tuple[str, str]] = Tally()
    ends: Tally[str] = Tally()
    living: Tally[tuple[str, str, str]] = Tally()
    for name, states in accounts.items():
        match name.split(" "):
            case ["supply", master, slave, role, size]:
                delivered[role, _size_class(int(size))] += states.get(State.DELIVERED, 0) // int(size)
                living[master, slave, role] += sum(bit for state, bit in states.items() if state in LIVING)
                ends.update({state: bit for state, bit in states.items() if state not in LIVING})
    keys = CounterMetricFamily("tiandi_keys_delivered", "Keys handed out.", labels=["role", "size_class"])
    for (role, size_class), count in sorted(delivered.items()):
        if role != "relay":
            keys.add_metric([role, size_class], count)
    stock = GaugeMetricFamily("tiandi_supply_key_bits", "Supply keys in the store.", labels=["master", "slave", "role"])
    for labels, bit in _largest(living):
        stock.add_metric(list(labels), bit)
    over = CounterMetricFamily("tiandi_supply_key_ended_bits", "Supply keys that are gone.", labels=["state"])
    for state, bit in sorted(ends.items()):
        over.add_metric([state], bit)
    yield from (keys, stock, over)


def _largest(living: Tally[tuple[str, str, str]]) -> list[tuple[tuple[str, str, str], int]]:
    """Stocks by pair, the smallest of very many summed up by role."""
    ranked = sorted(living.items(), key=lambda item: (-item[1], item[0]))
    rest: Tally[tuple[str, str, str]] = Tally()
    for (_, _, role), bit in ranked[MOST_PAIRS:]:
        rest[OTHERS, OTHERS, role] += bit
    return [*ranked[:MOST_PAIRS], *sorted(rest.items())]


def _size_class(size_bit: int) -> str:
    """Which class a size belongs to: up to so many bits."""
    return next((f"up to {limit}" for limit in SIZE_CLASSES_BIT if size_bit <= limit), f"above {SIZE_CLASSES_BIT[-1]}")
