"""One run between two ends of one mind: blocks in flight, and what becomes of each."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import msgspec
import numpy as np

from tiandi.bits import Data
from tiandi.distill import messages
from tiandi.distill.alice import Alice
from tiandi.distill.authentication import BLOCK_KEY_BIT
from tiandi.distill.bob import Bob
from tiandi.distill.ledger import Ledger
from tiandi.distill.party import State
from tiandi.distill.records import KeyBlock, TransmitterRecord
from tiandi.errors import DistillationAborted, InputError, PeerAborted, ProtocolViolation, QberTooHigh
from tiandi.hosts import greeting
from tiandi.hosts.greeting import Hello, agreed_blocks, agreement_on
from tiandi.hosts.link_end import BlockReport, LinkEnd, Report, Tell, TellBlock
from tiandi.hosts.recordings import BlockPlan
from tiandi.hosts.transcript import write_transcript
from tiandi.hosts.wire import CONTROL, Frame, Wire
from tiandi.quantum.agreement import Agreement

PINGS = 5
LEAST_FRAME_BYTE, FRAME_BYTE_PER_EVENT = 1 << 20, 16
BEATS_PER_SILENCE = 4
QUICK_BYTE = 8192
"""A round of Cascade said in no more than this, tens of thousands of parities or turns, is answered by the event loop itself within some
milliseconds: rounds are many, and changing threads takes longer than most. All else is for the thread: nothing long may keep rounds
waiting."""
CLOSING_S = 5.0


@dataclass
class _Block:
    number: int
    plan: BlockPlan
    party: Alice | Bob | None = None
    busy: bool = False
    spoken: bool = False
    recorded: bool = False
    report: BlockReport | None = None
    asked_s: float = 0.0


class Session:
    """One run between two ends of one mind."""

    def __init__(self, wire: Wire, end: LinkEnd, ours: Hello, theirs: Hello, *, tell: Tell, tell_block: TellBlock) -> None:
        self._wire, self._end, self._theirs = wire, end, theirs
        self._tell, self._tell_block = tell, tell_block
        self._is_bob = ours.role == "receiver"
        self._plan = agreed_blocks(end.recordings, ours, theirs, end.security)
        self._next = 0
        self._blocks: dict[int, _Block] = {}
        self._open: set[int] = set()
        self._in_flight = min(ours.blocks_in_flight, theirs.blocks_in_flight)
        self._signed = "signatures" in (ours.authentication, theirs.authentication)
        self._round_trip_s = 0.0
        self._jobs: set[asyncio.Task[None]] = set()
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="distil")
        self._over = self._is_done = self._peer_is_done = False
        events = [recording.events for recording in end.recordings.recordings]
        most_events = sum(events) if ours.join else max(events)
        wire.admit_blocks(max(LEAST_FRAME_BYTE, FRAME_BYTE_PER_EVENT * most_events), self._answer_at_once)

    async def run(self) -> Report:
        """Distil all blocks, or as many as the connection lasts for."""
        start_s = time.monotonic()
        broken: DistillationAborted | None = None
        heart = asyncio.create_task(self._beat())
        why = "this end was interrupted"
        try:
            await self._measure_round_trip()
            self._tell(f"blocks: {len(self._plan)}, with {self._wire.peer}, round trip {1e3 * self._round_trip_s:.3g} ms")
            await self._talk()
        except DistillationAborted as error:
            broken, why = error, str(error)
        except InputError as error:
            why = str(error)
            raise
        finally:
            heart.cancel()
            self._over = True
            self._worker.submit(self._abandon, why).result()
            self._worker.shutdown()
            self._wire.hang_up(DistillationAborted("this end is done"))
        reports = [block.report for block in self._blocks.values() if block.report is not None]
        return Report(
            link=self._theirs.link,
            role="receiver" if self._is_bob else "transmitter",
            peer=self._wire.peer,
            round_trip_s=self._round_trip_s,
            elapsed_s=time.monotonic() - start_s,
            blocks=tuple(reports),
            left=len(self._plan) - self._next,
            broken=None if broken is None else str(broken),
        )

    async def _measure_round_trip(self) -> None:
        """The median of a few, measured by the receiver, whose questions cost it. Raises DistillationAborted when that takes too long."""
        try:
            async with asyncio.timeout(2 * self._end.silence_s):
                await (self._ask_for_pongs() if self._is_bob else self._answer_pings())
        except TimeoutError:
            raise DistillationAborted("the peer does not come to the first block") from None

    async def _answer_pings(self) -> None:
        for _ in range(PINGS):
            message = await self._control()
            if not isinstance(message, greeting.Ping):
                raise ProtocolViolation(f"{type(message).__name__} is not what comes before the first block")
            self._wire.send(CONTROL, greeting.encode(greeting.Pong(message.number)))
        message = await self._control()
        if not isinstance(message, greeting.Begin):
            raise ProtocolViolation(f"{type(message).__name__} is not what comes before the first block")
        self._round_trip_s = message.round_trip_s

    async def _ask_for_pongs(self) -> None:
        times_s = []
        for number in range(PINGS):
            start_s = time.monotonic()
            self._wire.send(CONTROL, greeting.encode(greeting.Ping(number)))
            if await self._control() != greeting.Pong(number):
                raise ProtocolViolation("a ping is answered with something else")
            times_s.append(time.monotonic() - start_s)
        self._round_trip_s = min(float(np.median(times_s)), 60.0)
        self._wire.send(CONTROL, greeting.encode(greeting.Begin(self._round_trip_s)))

    async def _control(self) -> greeting.Control:
        frame = await self._frame()
        if not isinstance(frame, Frame):
            return frame
        raise ProtocolViolation("a block is spoken of too early")

    async def _frame(self) -> Frame | greeting.Control:
        """The peer's next word about a block, or about the run. Raises DistillationAborted when the peer hangs up, and says why."""
        while True:
            frame = await self._wire.receive(self._end.silence_s)
            if frame.number != CONTROL:
                return frame
            message = greeting.decode(bytes(frame.payload))
            if isinstance(message, greeting.Refusal):
                raise PeerAborted("".join(sign if sign.isprintable() else "?" for sign in message.reason))
            if not isinstance(message, greeting.Alive):
                return message

    async def _beat(self) -> None:
        """Let the peer know that this end lives, however long it works on a block; and watch that the peer does work."""
        while True:
            await asyncio.sleep(self._end.silence_s / BEATS_PER_SILENCE)
            self._wire.send(CONTROL, greeting.encode(greeting.Alive()))
            for block in [self._blocks[number] for number in self._open]:
                if not block.busy and time.monotonic() - block.asked_s > self._end.answer_s:
                    self._wire.hang_up(DistillationAborted(f"block {block.number + 1} has had no answer for {self._end.answer_s:g} s"))

    async def _talk(self) -> None:
        """Until every block has come to its end at both ends: Bob says goodbye first, Alice answers it, Bob hangs up."""
        self._begin_blocks()
        try:
            while not (self._peer_is_done and self._is_done):
                message = await self._frame()
                if isinstance(message, Frame):
                    self._hear(message)
                elif isinstance(message, greeting.Goodbye):
                    self._peer_is_done = True
                    self._say_goodbye()
                else:
                    raise ProtocolViolation(f"{type(message).__name__} is not for now")
        except DistillationAborted:
            if not (self._peer_is_done and self._is_done):
                raise
        await self._wire.close(CLOSING_S)

    def _say_goodbye(self) -> None:
        finished = not self._open and self._next == len(self._plan)
        if finished and not self._is_done and (self._is_bob or self._peer_is_done):
            self._wire.send(CONTROL, greeting.encode(greeting.Goodbye()))
            self._is_done = True

    def _begin_blocks(self) -> None:
        """Bob begins as many blocks as may be in flight: one, while signatures authenticate the first of a pool."""
        if not self._is_bob or self._over:
            return
        # No block without key for its tags and for those of the blocks that are not yet paid.
        payable = self._end.pool.available_bit // BLOCK_KEY_BIT
        most = 1 if self._signed else max(1, min(self._in_flight, payable))
        while len(self._open) < most and self._next < len(self._plan):
            self._start(self._add_block(), None)

    def _add_block(self) -> _Block:
        block = _Block(self._next, self._plan[self._next])
        self._blocks[block.number] = block
        self._open.add(block.number)
        self._next += 1
        return block

    def _hear(self, frame: Frame) -> None:
        """Hand a message to its block. Raises ProtocolViolation for a block that is not in flight, or still works on the last message."""
        block = self._blocks.get(frame.number)
        if block is None:
            if self._is_bob or frame.number != self._next or self._next == len(self._plan) or len(self._open) >= self._in_flight:
                raise ProtocolViolation(f"block {frame.number + 1} is spoken of out of turn")
            block = self._add_block()
        elif block.busy:
            raise ProtocolViolation(f"block {frame.number + 1} is spoken of again before an answer")
        self._start(block, frame.payload)

    def _answer_at_once(self, frame: Frame) -> bool:
        """Answer a message that is quick to answer, where it arrives; whether that was done."""
        block = self._blocks.get(frame.number)
        if block is None or block.busy or block.party is None or block.party.state is not State.RECONCILING:
            return False
        if len(frame.payload) > QUICK_BYTE or not messages.is_round(frame.payload):
            return False
        try:
            self._answer(block, self._work(block, frame.payload))
        except Exception as error:
            self._fail(error)
        return True

    def _start(self, block: _Block, payload: Data | None) -> None:
        block.busy = True
        job = asyncio.create_task(self._step(block, payload))
        self._jobs.add(job)
        job.add_done_callback(self._jobs.discard)

    async def _step(self, block: _Block, payload: Data | None) -> None:
        """One message in, one message out; jobs begin and end in the order of the messages."""
        try:
            answer = await asyncio.get_running_loop().run_in_executor(self._worker, self._work, block, payload)
        except Exception as error:
            self._fail(error)
        else:
            self._answer(block, answer)

    def _fail(self, error: Exception) -> None:
        self._wire.send(CONTROL, greeting.encode(greeting.Refusal("the other end failed and cannot go on")))
        self._wire.hang_up(error)

    def _answer(self, block: _Block, answer: bytes | None) -> None:
        block.busy, block.asked_s = False, time.monotonic()
        if answer is not None:
            self._wire.send(block.number, answer)
        if block.report is not None and block.number in self._open:
            self._open.remove(block.number)
            self._tell_block(block.report, len(self._plan))
            self._begin_blocks()
            self._say_goodbye()

    def _work(self, block: _Block, payload: Data | None) -> bytes | None:
        """In the worker's thread: let a party read a message. Before its first word leaves, its events count as used."""
        if self._over:
            return None
        if block.party is None:
            if block.report is not None:
                return None
            block.party = self._party(block.plan)
        party = block.party
        answer = party.start() if isinstance(party, Bob) and payload is None else party.receive(payload or b"")
        # An answer that was computed from the record, be it a refusal, tells of its bases: no second talk about these events.
        if not block.spoken and (party.outcome is None or party.ledger.detected):
            self._end.recordings.mark(block.plan)
            block.spoken = True
        if party.outcome is not None and block.report is None:
            self._settle(block, party, party.outcome)
        elif block.report is not None:
            block.party = None
        return answer

    def _party(self, plan: BlockPlan) -> Alice | Bob:
        record = self._end.recordings.load(plan)
        agreement = agreement_on(plan, self._end.recordings, self._theirs, self._end.security)
        settings = agreement.settings(self._round_trip_s)
        authentication = self._end.authentication(signed=self._signed)
        if isinstance(record, TransmitterRecord):
            return Alice(record, settings, authentication)
        return Bob(record, settings, authentication)

    def _settle(self, block: _Block, party: Alice | Bob, outcome: KeyBlock | DistillationAborted) -> None:
        """Put the key on disk, or note why there is none; and enter the block in the life account of the link."""
        if isinstance(outcome, KeyBlock):
            account = self._end.recordings.account(block.plan) | {"ledger": party.ledger, "key_bit": outcome.length_bit}
            account |= {"block_id": outcome.block_id, "agreement": Agreement.decode(bytes(party.transcript[0]))}
            write = partial(write_transcript, party=party) if self._end.transcripts else None
            # Both ends have key now, and the next block is paid for with it.
            self._signed = False
            self._record(block, party.ledger, delivered=True)
            self._end.keys.deliver(outcome.block_id, outcome.key, msgspec.json.format(msgspec.json.encode(account), indent=2), write)
            block.report = BlockReport(block.number, outcome.block_id, outcome.length_bit, "", party.ledger)
        else:
            self._record(block, party.ledger, delivered=False)
            block.report = BlockReport(block.number, None, 0, str(outcome), party.ledger)
        # Only an end that gave up while it owed an answer may be spoken to again.
        block.party = party if isinstance(outcome, QberTooHigh) else None

    def _record(self, block: _Block, ledger: Ledger, *, delivered: bool) -> None:
        """Enter a block in the life account, once, and before its key is handed out."""
        if not block.recorded:
            block.recorded = True
            self._end.pool.record(ledger, delivered)

    def _abandon(self, why: str) -> None:
        """In the worker's thread, when nothing runs any more: blocks that did not come to their end are destroyed."""
        for block in [self._blocks[number] for number in self._open if self._blocks[number].report is None]:
            if block.party is None:
                block.report = BlockReport(block.number, None, 0, why, Ledger())
                continue
            block.party.abandon(why)
            self._record(block, block.party.ledger, delivered=False)
            block.report = BlockReport(block.number, None, 0, why, block.party.ledger)
