"""The QKD modules of one node: block after block of each of its fibre links, distilled with the host at the other end.

The transmitter's end has the quantum-channel twin: it sends light at the link's real rate, one block ahead, and serves; the receiver's end
calls for light, and connects. Raw key is in memory only, and what was begun and not finished is lost with it. Keys are on disk at both ends
before they count; the KME beside each end collects them there. Whatever breaks is begun anew after a pause.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from abc import abstractmethod
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tiandi.distill.records import ReceiverRecord, TransmitterRecord
from tiandi.errors import DistillationAborted, TiandiError
from tiandi.hosts.link_end import LinkEnd, Report
from tiandi.hosts.post_processing import connect, serve
from tiandi.hosts.recordings import Recording, Recordings
from tiandi.hosts.twin_recording import twin_light, twin_run
from tiandi.hosts.wire import CONTROL, Address, Wire, dial, listen, tls_context
from tiandi.protocols.event_file import Run
from tiandi.random import twin_generator
from tiandi.scenario.link_workers import GROWTH, NEARLY_FULL, shortest_block_s
from tiandi.scenario.node_files import LinkEndTable
from tiandi.scenario.node_light import LIGHT, LIGHT_BYTE, MEMORY, call, decode_detections, encode_detections, is_kme, require_call

if TYPE_CHECKING:
    import ssl

    from tiandi.hosts.key_folder import KeyFolder
    from tiandi.hosts.pool_file import PoolFile
    from tiandi.kms.tls.pki import Credentials
    from tiandi.scenario.scenario import PlannedLink

MOST_STOCK_BIT = 1 << 24
"""A link sends no light while its KME holds this much key of it to send under; as `tiandi up` has it."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 10.0
DIAL_S = 10.0
LIGHT_LATE_S = 120.0
"""How much later than its light a block's detections may come before the receiver calls again."""
NEVER_S = 1e7
SETTLING_S = 10.0
"""How long the transmitter waits for its own end of a block that the receiver is done with."""
STOCK_EVERY_S = 1.0
ALARM_S = 30.0
"""For how long a link may give no key, such as while the other host starts, before operators hear of it."""
ACCOUNTS_KEPT = 1000
REVOCATIONS_S = 600.0

Trouble = Callable[[str, str], Awaitable[None]]
"""Hears of a link, by name, that it gives no key, and why."""

_log = logging.getLogger(__name__)


@dataclass(eq=False)
class Module:
    """One end of a fibre link of the scenario; ``stock_bit`` asks the KME beside it how much key it holds to send to a peer.

    ``measured`` hears the QBER of each block with a peer, a share of 1.
    """

    table: LinkEndTable
    planned: PlannedLink
    systems: int
    pool: PoolFile
    keys: KeyFolder
    credentials: Credentials
    stock_bit: Callable[[str], Awaitable[int]]
    measured: Callable[[str, float], None]
    trouble: Trouble
    blocks: int = 0
    key_bit: int = 0
    _standing: str = field(default="", init=False)
    _since_s: float | None = field(default=None, init=False)
    _told: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        self.link, self.full_s = self.planned.link, self.planned.duration_s
        self.twin, self.post_processing = Address.parse(self.table.twin), Address.parse(self.table.post_processing)

    async def run(self) -> None:
        """Make block after block, until cancelled."""
        pause_s = FIRST_PAUSE_S
        while True:
            blocks = self.blocks
            try:
                await self.work()
            except TiandiError as error:
                await self.tell(str(error))
            except Exception as error:  # A link that stands still for ever is worse than one fault told now and then.
                _log.exception("%s: fault", self.table.name)
                await self.tell(f"fault: {type(error).__name__}")
            pause_s = FIRST_PAUSE_S if self.blocks > blocks else min(2.0 * pause_s, LONGEST_PAUSE_S)
            await asyncio.sleep(pause_s)

    @abstractmethod
    async def work(self) -> None:
        """Make blocks with the other end for as long as nothing breaks."""

    def tls(self, *, serving: bool) -> ssl.SSLContext:
        """As the certificates and revocations are now."""
        own = self.credentials
        return tls_context(
            serving=serving,
            certificate=own.certificate,
            private_key=own.private_key,
            authority=own.authority,
            revocations=own.revocations,
        )

    def end(self, run: Run, record: TransmitterRecord | ReceiverRecord) -> LinkEnd:
        """What this end brings to one block."""
        recordings = Recordings([Recording.in_memory(MEMORY, run, record)])
        return LinkEnd(recordings, self.pool, self.keys, security=self.link.security)

    async def settle(self, report: Report) -> None:
        """Enter what became of a block."""
        for block in report.blocks:
            if block.block_id is None:
                await self.tell(f"a block gave no key: {block.why}", at_once=True)
                continue
            self.blocks, self.key_bit = self.blocks + 1, self.key_bit + block.key_bit
            await self.tell("")
            qber = block.ledger.qber
            self.measured(self.table.peer, qber)
            _log.info("%s: block %s, %d bit of key, QBER %.2f %%", self.table.name, block.block_id, block.key_bit, 100.0 * qber)
        if report.broken is not None:
            await self.tell(report.broken)
        await asyncio.to_thread(prune_accounts, self.keys.path)

    async def tell(self, why: str, *, at_once: bool = False) -> None:
        """Let others know why there is no key, and when there is again; of what may soon be over only the log, for a while."""
        if why != self._standing:
            _log.log(logging.WARNING if why else logging.INFO, "%s: %s", self.table.name, why or "gives key")
        if not why:
            self._since_s, self._told = None, False
        elif self._since_s is None:
            self._since_s = time.monotonic()
        self._standing = why
        if self._since_s is not None and not self._told and (at_once or time.monotonic() - self._since_s > ALARM_S):
            try:
                await self.trouble(self.table.name, why)
                self._told = True
            except Exception:  # The link goes on, and the next trouble tries again.
                _log.exception("%s: operators cannot be told", self.table.name)


class Transmitter(Module):
    """The end that has the quantum-channel twin, and serves."""

    async def work(self) -> None:
        """Attend to the receiver, whenever it calls; a new call ends the one before."""
        arrivals: asyncio.Queue[Wire] = asyncio.Queue()
        tls = self.tls(serving=True)
        server = await listen(self.twin, tls, arrivals.put_nowait)
        attending: asyncio.Task[None] | None = None
        try:
            while True:
                try:
                    async with asyncio.timeout(REVOCATIONS_S):
                        wire = await arrivals.get()
                except TimeoutError:
                    if self.credentials.revocations is not None:
                        tls.load_verify_locations(self.credentials.revocations)
                    continue
                if not is_kme(wire, self.table.peer):
                    _log.warning("%s: %s was sent away from the twin: it is not %s", self.table.name, wire.peer, self.table.peer)
                    wire.hang_up(DistillationAborted("a stranger"))
                    continue
                await _stopped(attending)
                attending = asyncio.create_task(self._attend(wire))
        finally:
            server.close()
            await _stopped(attending)

    async def _attend(self, wire: Wire) -> None:
        """Block after block with one receiver, until the connection breaks."""
        light: asyncio.Task[tuple[Run, TransmitterRecord, ReceiverRecord]] | None = None
        length_s = shortest_block_s(self.link, self.full_s)
        try:
            require_call((await wire.receive(NEVER_S)).payload, self.table.name)
            while True:
                light = light or asyncio.create_task(self._shine(length_s))
                run, sent, seen = await light
                length_s = min(self.full_s, GROWTH * length_s)
                light = asyncio.create_task(self._shine(length_s))
                await self._serve(wire, run, sent, encode_detections(run, seen))
        except TiandiError as error:
            await self.tell(str(error))
        finally:
            if light is not None:
                light.cancel()
            wire.hang_up(DistillationAborted("this end is done"))

    async def _serve(self, wire: Wire, run: Run, sent: TransmitterRecord, detections: bytes) -> None:
        """Hand over what the detectors saw, and distil until the receiver calls for the next block."""
        listening = asyncio.Event()

        def hear(line: str) -> None:
            listening.set()
            _log.debug("%s: %s", self.table.name, line)

        end = self.end(run, sent)
        with end.recordings:
            tls = self.tls(serving=True)
            serving = asyncio.create_task(
                serve(self.post_processing, end, tls=tls, admits=lambda each: is_kme(each, self.table.peer), tell=hear)
            )
            calling = asyncio.create_task(wire.receive(NEVER_S))
            try:
                began = asyncio.create_task(listening.wait())
                await asyncio.wait({began, serving}, return_when=asyncio.FIRST_COMPLETED)
                began.cancel()
                if serving.done():
                    serving.result()  # Says why it could not begin.
                wire.send(LIGHT, detections)
                await asyncio.wait({serving, calling}, return_when=asyncio.FIRST_COMPLETED)
                if not serving.done():
                    await asyncio.wait({serving}, timeout=SETTLING_S)
                if serving.done():
                    await self.settle(serving.result())
                require_call((await calling).payload, self.table.name)
            finally:
                await _stopped(serving)
                await _stopped(calling)

    async def _shine(self, length_s: float) -> tuple[Run, TransmitterRecord, ReceiverRecord]:
        """Light of ``length_s`` [s], which takes that long: with several systems side by side, so much less."""
        start_s = time.monotonic()
        run = twin_run(self.link, length_s)
        sent, seen = await asyncio.to_thread(twin_light, self.link, run, twin_generator(None, self.table.name))
        await asyncio.sleep(start_s + length_s / self.systems - time.monotonic())
        return run, sent, seen


class Receiver(Module):
    """The end that calls for light, and connects."""

    async def work(self) -> None:
        """Call for light and distil, until something breaks."""
        wire = await dial(self.twin, self.tls(serving=False), DIAL_S)
        try:
            if not is_kme(wire, self.table.peer):
                raise DistillationAborted(f"who answers at {self.twin} is not {self.table.peer}")
            wire.admit_blocks(LIGHT_BYTE)
            while True:
                await self._room()
                wire.send(CONTROL, call(self.table.name))
                frame = await wire.receive(self.full_s + LIGHT_LATE_S)
                run, seen = decode_detections(frame.payload)
                end = self.end(run, seen)
                with end.recordings:
                    tls = self.tls(serving=False)
                    await self.settle(await connect(self.post_processing, end, tls=tls, admits=lambda each: is_kme(each, self.table.peer)))
        finally:
            wire.hang_up(DistillationAborted("this end is done"))

    async def _room(self) -> None:
        """Wait while the KME is full of key of this link."""
        if await self.stock_bit(self.table.peer) >= MOST_STOCK_BIT:
            while await self.stock_bit(self.table.peer) >= NEARLY_FULL * MOST_STOCK_BIT:
                await asyncio.sleep(STOCK_EVERY_S)


def wipe_partial(folder: Path) -> None:
    """Overwrite and remove what a killed process left of files that were not whole; it may be key, which nobody was told of."""
    for path in folder.glob(".partial-*"):
        with path.open("r+b") as file:
            state = os.fstat(file.fileno())
            if state.st_nlink == 1:  # Else it was whole, has its own name, and counts: the process died between the two names.
                file.write(bytes(state.st_size))
                file.flush()
                os.fsync(file.fileno())
        path.unlink()


def prune_accounts(folder: Path) -> None:
    """Keep the newest `ACCOUNTS_KEPT` accounts of blocks, which hold no key."""
    accounts = list(folder.glob("*.json"))
    if len(accounts) <= ACCOUNTS_KEPT:
        return
    for path in sorted(accounts, key=lambda path: path.stat().st_mtime_ns)[:-ACCOUNTS_KEPT]:
        path.unlink(missing_ok=True)


async def _stopped(task: asyncio.Task[Any] | None) -> None:
    """Cancel a task, and wait until it is over."""
    if task is not None:
        task.cancel()
        await asyncio.wait({task})
        if not task.cancelled():
            task.exception()  # Else asyncio would complain that nobody asked.
