"""A KME as its configuration describes it: database, doors, sources of link key, from start to drain.

SIGTERM and SIGINT drain it: what was asked is answered, what goes on between KMEs stands in the store. SIGHUP reads SAEs, pairs, peers
and ways anew; all else of the file takes effect at the next start.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import stat
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any

from cryptography import x509

from tiandi.errors import InputError, StateError, TiandiError
from tiandi.kms.directory import Directory, Routing
from tiandi.kms.doors import backups, skip
from tiandi.kms.doors import operations as operations_door
from tiandi.kms.doors.etsi004 import StreamDoor
from tiandi.kms.doors.neighbours import message_route
from tiandi.kms.entity import KeyManagementEntity
from tiandi.kms.interworking.partners import Partners
from tiandi.kms.operating import collecting, operations
from tiandi.kms.operating.border import Border, partner_tls
from tiandi.kms.operating.collecting import OFFER_PATH, Collectors, KeyOffer
from tiandi.kms.operating.configuration import read_configuration
from tiandi.kms.operating.configuration_tables import Configuration
from tiandi.kms.operating.link_watch import LinkWatch, alarms_of_links
from tiandi.kms.operating.metrics import Metrics
from tiandi.kms.operating.operations import Operations
from tiandi.kms.operating.systems import DirectorySystems
from tiandi.kms.relay.link_reports import LinkReport, LinkReports
from tiandi.kms.relay.neighbours import Neighbours
from tiandi.kms.relay.spreading import LINK_STATE_PATH, Spreading
from tiandi.kms.server import KmeServer, create_app, listen
from tiandi.kms.store import backup, ledger, restoring
from tiandi.kms.store.database import Database, Transaction
from tiandi.kms.store.master_keys import open_master_key
from tiandi.kms.store.postgres_database import PostgresDatabase
from tiandi.kms.store.restoring import RESTORED_PATH, Restoration
from tiandi.kms.store.sqlite_database import SqliteDatabase
from tiandi.kms.streams import associations as streams
from tiandi.kms.streams.associations import Streams
from tiandi.kms.streams.chunks import KeyStreamSupply
from tiandi.kms.tls.contexts import ServerTls
from tiandi.kms.tls.serving import start_tls_server

LOOK_EVERY_S = 1.0
MILLISECOND_PER_SECOND = 1000
MORE_TABLES = (streams.STREAM_SCHEMA, restoring.SCHEMA, *operations.TABLES, *collecting.TABLES)
"""What a store has beside the tables of `schema`, whatever its configuration uses of it."""
_CLAIMED = (
    "relay WHERE state = 'waiting'",
    "announcement WHERE state = 'waiting'",
    "hand_over WHERE state = 'waiting'",
    "confirmation WHERE state <> 'ready' AND state <> 'voided'",
    "outgoing WHERE state = 'held' OR state = 'voiding'",
    "incoming WHERE state = 'carrying' OR state = 'voiding'",
    "notice",
)
"""Rows that some process is at work on until a time."""

MakeRouting = Callable[[Configuration, Routing | None], Routing]
"""Makes who decides which ways keys go, from a configuration and, when that has changed, from who decided before."""

_log = logging.getLogger(__name__)


class Service:
    """One process of a KME on the running event loop. `open`, then `start`; end with `close`."""

    def __init__(self, configuration: Configuration, make_routing: MakeRouting) -> None:
        self.configuration = configuration
        self.directory = Directory()
        self._make_routing = make_routing
        self.routing = make_routing(configuration, None)
        configuration.put_into(self.directory, self.routing)
        self._closing = AsyncExitStack()
        self._tasks: list[asyncio.Task[None]] = []
        self.border: Border | None = None
        self.address = self.streams_address = ""

    async def open(self) -> None:
        """Open everything, and begin to listen. Raises InputError or StateError, and leaves nothing open then."""
        async with AsyncExitStack() as opened:
            await self._open(opened)
            self._closing = opened.pop_all()

    async def _open(self, opened: AsyncExitStack) -> None:
        c = self.configuration
        credentials = c.credentials()
        self.tls, partners = server_tls(c), partner_tls(c)
        master_key = await asyncio.to_thread(open_master_key, c.master_key())
        listener = listen(c.listen.port, "listen.port", c.listen.address)
        opened.callback(listener.close)
        self.address = _url(listener)
        self._neighbours = Neighbours(credentials, self.directory)
        opened.push_async_callback(self._neighbours.close)
        calls = Partners({table.kme_id: c.partner_credentials(table) for table in c.partners if table.name in partners})
        opened.push_async_callback(calls.close)
        self.database = await open_database(c)
        opened.push_async_callback(self.database.close)
        metrics = Metrics(c.kme.id)
        self.entity = await KeyManagementEntity.open(
            c.kme.id,
            metrics.measured(self.database),
            master_key,
            directory=self.directory,
            post=self._neighbours,
            limits=c.limits,
            tables=MORE_TABLES,
        )
        self.entity.exchange.records_s = c.expiry.records_s
        if c.database.sqlite is not None:
            await self.database.run(_release_claims)
        self.operations = Operations(self.entity, master_key=master_key, revocations=self.tls.revocations, metrics=metrics)
        self.restoration = Restoration(self.entity)
        self.streams = Streams(self.database, KeyStreamSupply(self.entity))
        self.collectors = Collectors(c, self.entity, watched=self.operations.watched)
        opened.push_async_callback(self.collectors.close)
        self.collectors.open()
        self.spreading = self._spreading()
        self.operations.link_reports = self.spreading.reports
        opened.push_async_callback(self.spreading.close)
        app = create_app(self.entity, *self._routes(), streams=self.streams)
        self._server = server = KmeServer(self.entity, metrics.counting(app), self.tls, listener)
        metrics.connection_count = lambda: server.connection_count
        opened.push_async_callback(self._server.stop)
        if partners:
            self.border = Border(c, self.entity, calls)
            opened.push_async_callback(self.border.close)
            self.border.open(partners, metrics.counting)
        if c.listen.streams is not None:
            await self._open_streams(c.listen.streams.port, opened)

    def _spreading(self) -> Spreading:
        """Of link states: this KME's own go out, those of all others come in."""
        kme_id = self.configuration.kme.id

        def neighbours() -> set[str]:
            return self.routing.neighbours(kme_id)

        async def obstacles() -> Mapping[str, str]:
            return await self.database.run(alarms_of_links)

        self.link_watch = LinkWatch(self.entity, neighbours, obstacles=obstacles, silent=lambda: self.spreading.silent)
        return Spreading(
            LinkReports(kme_id, is_link=lambda kme, neighbour: neighbour in self.routing.neighbours(kme)),
            # Each process of a neighbour finds its own ways.
            post=self._neighbours.tell_all,
            look=self.link_watch.look,
            neighbours=neighbours,
            heard=self._heard,
        )

    def _heard(self, reports: Sequence[LinkReport]) -> None:
        self.routing.heard(reports)

    def _routes(self) -> list[Any]:
        c = self.configuration
        found = [
            message_route(OFFER_PATH, list[KeyOffer], self.collectors.receive_offers),
            message_route(LINK_STATE_PATH, list[LinkReport], self.spreading.receive),
            message_route(RESTORED_PATH, list[bytes], self.restoration.receive),
            *operations_door.routes(self.operations),
            *backups.routes(lambda: backup.dump(self.database, c.kme.id, MORE_TABLES)),
        ]
        if c.skip is not None:
            found += skip.routes(self.entity, DirectorySystems(self.directory, c.skip.remote))
        return found

    async def _open_streams(self, port: int, opened: AsyncExitStack) -> None:
        listener = listen(port, "listen.streams.port", self.configuration.listen.address)
        opened.callback(listener.close)
        self.streams_address = _url(listener, "tls")
        server = await start_tls_server(StreamDoor(self.streams).connected, listener, self.tls)
        opened.callback(server.close)

    async def start(self) -> None:
        """Serve and collect; returns when connections are accepted."""
        await self.operations.start()
        await self._server.start()
        if self.border is not None:
            await self.border.start()
        self.spreading.start()
        self._tasks = [asyncio.create_task(self._repeat(self._look)), asyncio.create_task(self._repeat(self.streams.sweep))]
        self._tasks.append(asyncio.create_task(self._tell_and_collect()))

    async def _tell_and_collect(self) -> None:
        """After a restoration neighbours hear of it before new key comes: what they hold is destroyed when they hear."""
        await self.restoration.tell(self.directory.kme_addresses)
        self.collectors.start()
        await self._repeat(lambda: self.restoration.tell(self.directory.kme_addresses))

    async def _repeat(self, work: Callable[[], Any]) -> None:
        while True:
            with suppress(TiandiError):  # A disk that fails now may not fail in a second.
                await work()
            await asyncio.sleep(LOOK_EVERY_S)

    async def _look(self) -> None:
        """Destroy what has grown too old."""
        expiry, now_ms = self.configuration.expiry, ledger.now_ms()
        if expiry.link_key_s is not None:
            await self.database.run(self.entity.link_keys.expire, now_ms - _ms(expiry.link_key_s))
        if expiry.supply_key_s is not None:
            expire, age_ms = self.entity.supply_keys.expire, _ms(expiry.supply_key_s)
            await self.database.run(expire, now_ms - age_ms, "master")
            await self.database.run(expire, now_ms - age_ms - _ms(expiry.collection_s), "slave")

    async def reload(self) -> None:
        """Read the file again. One with an error changes nothing, and the log says so."""
        try:
            configuration = read_configuration(self.configuration.file)
        except InputError as error:
            _log.error("%s was not taken up: %s", self.configuration.file, error)
            return
        partners = self.directory.partners
        self.routing = self._make_routing(configuration, self.routing)
        configuration.put_into(self.directory, self.routing)
        self.routing.heard(list(self.spreading.reports))
        # Their ports and authorities are those of the start.
        self.directory.partners = partners
        await self.operations.settings.refresh_all()
        _log.info("%s was read again: %d SAEs, %d pairs, %d peers", configuration.file, *_counts(configuration))

    async def close(self) -> None:
        """Hand out no new keys, answer what was asked, then stop and close the store."""
        self.entity.draining = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.collectors.close()
        await self.operations.close()
        await self._closing.aclose()


async def run(configuration: Configuration, *, make_routing: MakeRouting, ready: Callable[[Service], None] | None = None) -> None:
    """Run a KME until SIGTERM or SIGINT; ``ready`` is called when it serves. Raises InputError or StateError when it cannot begin."""
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    service = Service(configuration, make_routing)
    reloading: set[asyncio.Task[None]] = set()

    def reload() -> None:
        task = loop.create_task(service.reload())
        reloading.add(task)
        task.add_done_callback(reloading.discard)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await service.open()
    try:
        await service.start()
        loop.add_signal_handler(signal.SIGHUP, reload)
        _log.info("%s serves %s", configuration.kme.id, " and ".join(filter(None, (service.address, service.streams_address))))
        if ready is not None:
            ready(service)
        await stop.wait()
        _log.info("%s is being drained", configuration.kme.id)
    finally:
        await service.close()
    _log.info("%s has stopped", configuration.kme.id)


async def open_database(configuration: Configuration) -> Database:
    """The database that a configuration names; a file of SQLite is made, for its owner only, where there is none. Raises StateError."""
    if configuration.database.postgresql is not None:
        database = PostgresDatabase(configuration.database.postgresql)
        await database.open()
        return database
    assert configuration.database.sqlite is not None
    path = configuration.path(configuration.database.sqlite)
    _prepare_file(path)
    return SqliteDatabase(path)


async def _release_claims(transaction: Transaction) -> None:
    """Whoever was at work on what goes on between KMEs was the process before this one, and is gone."""
    for open_rows in _CLAIMED:
        table, _, condition = open_rows.partition(" ")
        await transaction.rows(f"UPDATE {table} SET claimed_ms = 0 {condition}")  # noqa: S608 - a constant.


def _prepare_file(path: Path) -> None:
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK, 0o600)
    except OSError as error:
        raise StateError("database.sqlite", str(path), f"cannot be opened: {(error.strerror or '').lower()}") from None
    mode = os.fstat(descriptor).st_mode
    os.close(descriptor)
    if not stat.S_ISREG(mode) or mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise StateError("database.sqlite", str(path), "must be a file that is open to nobody but its owner (chmod 600)")


def server_tls(configuration: Configuration) -> ServerTls:
    """The serving end. Raises InputError unless the certificate is this KME's own and revocations are known."""
    credentials, rule = configuration.credentials(), configuration.identity_rule()
    try:
        certificate = x509.load_pem_x509_certificate(credentials.certificate.read_bytes())
    except (OSError, ValueError):
        raise InputError("tls.certificate", str(credentials.certificate), "must be a certificate (PEM)") from None
    if ("kme", configuration.kme.id) not in rule.read(certificate).identities:
        raise InputError("tls.certificate", str(credentials.certificate), f"must be the certificate of the KME {configuration.kme.id}")
    tls = ServerTls(credentials, rule=rule)
    if tls.revocations.failure is not None:
        raise InputError("tls.revocations", str(credentials.revocations), tls.revocations.failure)
    return tls


def _url(listener: Any, scheme: str = "https") -> str:
    address, port, *_ = listener.getsockname()
    return f"{scheme}://[{address}]:{port}" if ":" in address else f"{scheme}://{address}:{port}"


def _ms(seconds: float) -> int:
    return int(seconds * MILLISECOND_PER_SECOND)


def _counts(configuration: Configuration) -> tuple[int, int, int]:
    return len(configuration.saes), len(configuration.pairs), len(configuration.peers)
