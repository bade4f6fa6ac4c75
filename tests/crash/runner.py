"""A KME process of the crash tests: the service as it is, with short patience, faults on demand, and a socket to ask it by."""

from __future__ import annotations

import asyncio
import os
import resource
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec

from tests.crash import faults
from tests.crash.faults import FAULTS, Fault
from tests.kms.network import assert_balanced
from tiandi.control.controller import controlled
from tiandi.errors import TiandiError
from tiandi.kms.operating.configuration import read_configuration
from tiandi.kms.operating.logs import log_to_stderr
from tiandi.kms.operating.service import Service, run
from tiandi.kms.operating.voiding import Voiding
from tiandi.kms.relay import neighbours, patience
from tiandi.kms.store.audit import verify
from tiandi.kms.store.database import Transaction
from tiandi.kms.store.master_keys import open_master_key
from tiandi.kms.supply import stock_keeping as supply

CLAIM_MS, ASKING_MS, REQUEST_S = 1200, 300, 0.8
PATIENCE_S, WAIT_FOR_KEYS_S, SWEEP_PAUSE_S = 1.5, 1.5, 0.1
UNSETTLED = {
    "confirmation": "SELECT state, target FROM confirmation WHERE state NOT IN ('ready', 'voided')",
    "relay": "SELECT state, receiver FROM relay WHERE state NOT IN ('sent', 'refused', 'done')",
    "announcement": "SELECT state, target FROM announcement WHERE state = 'waiting'",
    "hand-over": "SELECT state, station FROM hand_over WHERE state = 'waiting'",
    "reservation": "SELECT state, role, master, slave FROM reservation WHERE state IN ('reserved', 'uncertain', 'held')",
}
Command = Callable[[Service, Any], Awaitable[Any]]


class Start(msgspec.Struct, frozen=True, kw_only=True):
    """How one process is started."""

    configuration: str
    control: str
    """Path of the socket at which it answers the test."""
    log: str
    hand_overs: list[tuple[str, str, str]] = []
    fault: Fault | None = None


def be_impatient() -> None:
    """What waits for half a minute in the field waits for seconds here; the order of the figures stays the same."""
    patience.CLAIM_MS, patience.ASKING_MS, patience.PATIENCE_S = CLAIM_MS, ASKING_MS, PATIENCE_S
    patience.LONGEST_PAUSE_S = patience.SWEEP_PAUSE_S = SWEEP_PAUSE_S
    neighbours.TIMEOUT_S = neighbours.WHOLE_TIMEOUT_S = REQUEST_S
    supply.WAIT_FOR_KEYS_S = WAIT_FOR_KEYS_S


def serve(start: Start) -> None:
    """Run a KME until SIGTERM; ends the process."""
    log = os.open(start.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)
    log_to_stderr("info")
    vfs = faults.install()
    be_impatient()
    FAULTS.arm(start.fault)
    status = 0
    try:
        asyncio.run(_run(start))
    except TiandiError as error:
        print(error, file=sys.stderr, flush=True)
        status = 2
    del vfs
    os._exit(status)


async def _run(start: Start) -> None:
    servers: list[asyncio.Task[Any]] = []

    def ready(service: Service) -> None:
        service.directory.hand_overs.update(start.hand_overs)
        servers.append(asyncio.create_task(_listen(service, Path(start.control))))

    await run(read_configuration(Path(start.configuration)), make_routing=controlled, ready=ready)


async def _listen(service: Service, path: Path) -> None:
    path.unlink(missing_ok=True)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        name, argument = msgspec.json.decode(await reader.read())
        try:
            reply: Any = [True, await COMMANDS[name](service, argument)]
        except (TiandiError, AssertionError) as error:
            reply = [False, f"{type(error).__name__}: {error}"]
        writer.write(msgspec.json.encode(reply))
        await writer.drain()
        writer.close()

    await (await asyncio.start_unix_server(answer, path)).serve_forever()


# What the test may ask.


async def _rows(transaction: Transaction, query: str) -> list[tuple[Any, ...]]:
    return [tuple(value.hex() if isinstance(value, bytes) else value for value in row) for row in await transaction.rows(query)]


async def _arm(_: Service, fault: Any) -> None:
    FAULTS.arm(None if fault is None else msgspec.convert(fault, Fault))


async def _counts(_: Service, __: Any) -> tuple[int, int]:
    return FAULTS.commits, FAULTS.calls


async def _query(service: Service, query: str) -> Any:
    return await service.database.run(_rows, query)


async def _unsettled(service: Service, _: Any) -> list[Any]:
    found = []
    for table, query in UNSETTLED.items():
        found += [(table, *row) for row in await service.database.run(_rows, query)]
    return found


async def _balance(service: Service, _: Any) -> None:
    await service.database.run(assert_balanced)
    report = await verify(service.database, master_key=open_master_key(service.configuration.master_key()))
    assert report.good, report.findings


async def _alive(service: Service, _: Any) -> None:
    """What ought to run for ever does."""
    assert service.entity._housekeeping is not None
    for task in (service.entity._housekeeping, *service._tasks):
        assert not task.done(), f"{task.get_coro()} has ended: {task.exception()!r}"


async def _link_keys(service: Service, _: Any) -> list[tuple[str, str, int, int, int, str]]:
    """Every chunk of link key: block, peer, whether it is this end's and was compared, its start, the key."""

    async def read(transaction: Transaction) -> list[Any]:
        keys = service.entity.link_keys
        rows = await transaction.rows("SELECT block_id, peer, own, stored, start, sealed FROM link_key ORDER BY block_id, start")
        found = []
        for block_id, peer, own, stored, start, sealed in rows:
            key = await keys._opened(transaction, sealed, b"link key " + block_id + start.to_bytes(8, "big") + peer.encode())
            found.append((block_id.hex(), peer, own, stored, start, key.hex()))
        return found

    return await service.database.run(read)


async def _void(service: Service, pair: list[str]) -> Any:
    voided = await Voiding(service.entity).void_pair("tester", *pair)
    return msgspec.structs.asdict(voided)


async def _void_link(service: Service, peer: str) -> Any:
    return msgspec.structs.asdict(await Voiding(service.entity).void_link("tester", peer))


async def _hand_over(service: Service, argument: list[Any]) -> str:
    return await service.entity.exchange.hand_over(*argument)


async def _limit_files(_: Service, limit_byte: int | None) -> None:
    """No file may grow beyond this, as on a full disk."""
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard if limit_byte is None else limit_byte, hard))


COMMANDS: dict[str, Command] = {
    "arm": _arm,
    "counts": _counts,
    "query": _query,
    "unsettled": _unsettled,
    "balance": _balance,
    "alive": _alive,
    "link keys": _link_keys,
    "void": _void,
    "void link": _void_link,
    "hand over": _hand_over,
    "limit files": _limit_files,
}
