"""What operators see and do at one KME: whether it is ready, its settings, its alarms, its metrics.

One task looks after all of it every second: it takes over settings that another process of the node has changed, and raises the alarms
that nobody else is there to raise - a source that says nothing, too little link key, a clock that jumps, a list of revocations out of
date, a store that could not be written.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection
from importlib.metadata import version
from uuid import UUID

import msgspec

from tiandi.distill.records import KeyBlock
from tiandi.errors import StateError, TiandiError
from tiandi.kms.entity import KeyManagementEntity
from tiandi.kms.keys import Half
from tiandi.kms.operating.alarms import Kind, raise_alarm
from tiandi.kms.operating.metrics import Metrics
from tiandi.kms.operating.settings import SCHEMA as SETTING_SCHEMA
from tiandi.kms.operating.settings import Settings
from tiandi.kms.operating.voiding import Voiding
from tiandi.kms.relay.link_reports import LinkReports
from tiandi.kms.source import KeySource
from tiandi.kms.states import State
from tiandi.kms.store import ledger
from tiandi.kms.store.database import Transaction
from tiandi.kms.store.master_keys import MasterKey
from tiandi.kms.tls.revocation import Revocations
from tiandi.random import secret_bytes

TABLES = (SETTING_SCHEMA,)
"""What `KeyManagementEntity.open` is to create beside its own."""
VERSION = version("tiandi")
INTERVAL_S = 1.0
SILENT_S = 60.0
CLOCK_JUMP_S = 2.0
LEAST_LINK_KEY_BIT = 65_536
MASTER_KEY_LOOK_S = 30.0

_log = logging.getLogger("tiandi.kms")


class Checks(msgspec.Struct, frozen=True):
    """Whether this process can serve: empty where all is well, else what is wrong."""

    database: str
    master_key: str
    revocations: str
    sources: str
    draining: str

    @property
    def ready(self) -> bool:
        """Whether nothing is wrong."""
        return not any(msgspec.structs.astuple(self))


class Operations:
    """The operators' side of one KME. Its database must have `TABLES`. `start` after the entity, `close` before it.

    A source that has not answered for ``silent_s``, and link key with a peer below ``least_link_key_bit`` [bit], raise an alarm.
    """

    def __init__(
        self,
        entity: KeyManagementEntity,
        *,
        master_key: MasterKey | None = None,
        revocations: Revocations | None = None,
        metrics: Metrics | None = None,
        silent_s: float = SILENT_S,
        least_link_key_bit: int = LEAST_LINK_KEY_BIT,
    ) -> None:
        self.entity = entity
        self.metrics = metrics or Metrics(entity.kme_id)
        self.settings = Settings(entity)
        self.voiding = Voiding(entity)
        self.link_reports: LinkReports | None = None
        """What is known of links throughout the network, where link states are spread."""
        self.started_ms = ledger.now_ms()
        self._master_key, self._revocations = master_key, revocations
        self._silent_s, self._least_link_key_bit = silent_s, least_link_key_bit
        self._heard_s: dict[str, float] = {}
        self._standing: set[tuple[Kind, str]] = set()
        self._unwritten: list[tuple[Kind, str, str]] = []
        self._ahead_s: float | None = None
        self._master_key_seen_s = float("-inf")
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Take over the settings, and look after everything from now on. Raises StateError when the store cannot be read."""
        await self.settings.refresh()
        self._task = asyncio.create_task(self._look_after())

    async def close(self) -> None:
        """Stop."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def watched(self, source: KeySource) -> KeySource:
        """``source``, whose silence is noticed."""
        self._heard_s[source.name] = time.monotonic()
        return _Watched(source, self._hear)

    # Whether this process can serve.

    async def checks(self) -> Checks:
        """What is well, and what is not."""
        return Checks(
            database=await self._problem_of_database(),
            master_key=await self._problem_of_master_key(),
            revocations=(self._revocations.failure or "") if self._revocations else "",
            sources=self._problem_of_sources(),
            draining="new keys are held back" if self.entity.draining else "",
        )

    async def _problem_of_database(self) -> str:
        try:
            async with asyncio.timeout(5.0):
                await self.entity.database.run(_touch)
        except (StateError, TimeoutError) as error:
            return str(error) or "does not answer"
        return ""

    async def _problem_of_master_key(self) -> str:
        """A token may be slow, and is asked now and then only."""
        if self._master_key is None or time.monotonic() - self._master_key_seen_s < MASTER_KEY_LOOK_S:
            return ""
        try:
            await asyncio.to_thread(_try_out, self._master_key)
        except TiandiError as error:
            return str(error)
        self._master_key_seen_s = time.monotonic()
        return ""

    def _problem_of_sources(self) -> str:
        """A KME that hears one source can still serve; every silent one raises an alarm."""
        silent = self._silent()
        return f"none answers: {', '.join(silent)}" if silent and len(silent) == len(self._heard_s) else ""

    def _silent(self) -> list[str]:
        now_s = time.monotonic()
        return sorted(name for name, heard_s in self._heard_s.items() if now_s - heard_s > self._silent_s)

    def _hear(self, name: str) -> None:
        self._heard_s[name] = time.monotonic()

    # Alarms.

    async def raise_alarm(self, kind: Kind, source: str, text: str) -> None:
        """Raise an alarm now, or as soon as the store can be written again."""
        self._unwritten.append((kind, source, text))
        await self._write_alarms()

    async def _write_alarms(self) -> None:
        while self._unwritten:
            try:
                await self.entity.database.run(raise_alarm, *self._unwritten[0])
            except StateError as error:
                if not any(kind == "store-failed" for kind, _, _ in self._unwritten):
                    _log.error("the store of %s cannot be written: %s", self.entity.kme_id, error)
                    self._unwritten.append(("store-failed", self.entity.kme_id, f"could not be written: {error}"))
                return
            self._unwritten.pop(0)

    async def _look_after(self) -> None:
        while True:
            try:
                await self._look()
            except TiandiError:
                pass  # Told by `_look`, once the store can be written again.
            except Exception as error:
                _log.error("fault while looking after %s: %s", self.entity.kme_id, type(error).__name__)
            await asyncio.sleep(INTERVAL_S)

    async def _look(self) -> None:
        """One look at everything."""
        try:
            await self.settings.refresh()
            low = await self.entity.database.run(_low_links, self._least_link_key_bit)
        except StateError as error:
            await self.raise_alarm("store-failed", self.entity.kme_id, str(error))
            raise
        silent = self._silent()
        stale = self._revocations.failure if self._revocations else None
        now: dict[tuple[Kind, str], str] = {("link-key-low", peer): f"{bit} bit are left to send with" for peer, bit in low.items()}
        now |= {("source-silent", name): f"has not answered for {self._silent_s:g} s" for name in silent}
        now |= {("revocations-stale", self.entity.kme_id): stale} if stale else {}
        now |= self._clock_jump()
        for kind, source in now.keys() - self._standing:
            await self.raise_alarm(kind, source, now[kind, source])
        self._standing = set(now)
        await self._write_alarms()

    def _clock_jump(self) -> dict[tuple[Kind, str], str]:
        """Whether the clock of day ran otherwise than time since the last look."""
        ahead_s = time.time() - time.monotonic()
        jump_s = 0.0 if self._ahead_s is None else ahead_s - self._ahead_s
        self._ahead_s = ahead_s
        if abs(jump_s) < CLOCK_JUMP_S:
            return {}
        return {("clock-jump", self.entity.kme_id): f"the clock was set {'forward' if jump_s > 0 else 'back'} by {abs(jump_s):.1f} s"}


class _Watched:
    """A source that tells when it answers."""

    def __init__(self, source: KeySource, hear: Callable[[str], None]) -> None:
        self._source, self._hear = source, hear

    @property
    def name(self) -> str:
        return self._source.name

    @property
    def peer(self) -> str:
        return self._source.peer

    @property
    def own_half(self) -> Half:
        return self._source.own_half

    async def take_blocks(self) -> list[KeyBlock]:
        blocks = await self._source.take_blocks()
        self._hear(self.name)
        return blocks

    async def acknowledge(self, block_ids: Collection[UUID]) -> None:
        await self._source.acknowledge(block_ids)


async def _touch(transaction: Transaction) -> None:
    await transaction.rows(
        "INSERT INTO setting (kind, name, value, changed_ms) VALUES ('probe', '', '', $1)"
        " ON CONFLICT (kind, name) DO UPDATE SET changed_ms = excluded.changed_ms",
        ledger.now_ms(),
    )


async def _low_links(transaction: Transaction, least_bit: int) -> dict[str, int]:
    """Peers with whom key was shared, and to whom less than ``least_bit`` can be sent."""
    stored: dict[str, int] = {}
    for stock, state, bit in await transaction.rows("SELECT stock, state, bit FROM account WHERE stock LIKE 'link % own'"):
        peer = stock.split(" ")[1]
        stored[peer] = stored.get(peer, 0) + (bit if state == State.STORED else 0)
    return {peer: bit for peer, bit in stored.items() if bit < least_bit}


def _try_out(master_key: MasterKey) -> None:
    probe, context = secret_bytes(32), b"tiandi probe"
    if master_key.unwrap(master_key.wrap(probe, context), context) != probe:
        raise StateError("master key", master_key.name, "does not give back what it has wrapped")
