"""What a KME says to other KMEs (reference point Kx): relays, confirmations, comparisons of link key, hand-overs.

Requests are lists, so that whatever waits for one neighbour goes in one message. Everything that was begun stands in the store with
the time until which somebody is at work on it; what is left over, be it that nobody answered or that this process died, is taken up by
`sweep`, here or in another process of the same node.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Sequence
from typing import Any, Protocol, TypeVar

import msgspec

from tiandi.errors import RelayFailed, RemoteRefused, TiandiError
from tiandi.kms.directory import Directory
from tiandi.kms.keys import new_block_identifier
from tiandi.kms.relay import patience
from tiandi.kms.relay.gathering import Gatherer
from tiandi.kms.relay.hand_over import HandOver, claim_hand_overs, let_hand_over_go, note_hand_over_sent, prepare_hand_over
from tiandi.kms.relay.hybrid import PUBLIC_KEY_BYTE
from tiandi.kms.relay.listening import Listener
from tiandi.kms.relay.relay_messages import Answer, Confirmation, Departure, Parcel, Place, RelayMessage
from tiandi.kms.relay.relaying import Relaying
from tiandi.kms.states import State
from tiandi.kms.store import ledger
from tiandi.kms.store.database import Database
from tiandi.kms.store.link_keys import Comparison, LinkKeys
from tiandi.kms.store.pruning import prune
from tiandi.kms.store.supply_keys import Reservation

RELAY_PATH = "/kx/v1/relay"
ANNOUNCE_PATH = "/kx/v1/announce"
CONFIRM_PATH = "/kx/v1/confirm"
VOID_PATH = "/kx/v1/void"
FAILED_PATH = "/kx/v1/failed"
COMPARE_PATH = "/kx/v1/compare"
HAND_OVER_PATH = "/kx/v1/hand-over"
KEM_PATH = "/kx/v1/kem-key"
STREAM_PATH = "/kx/v1/streams"
LARGEST_BATCH = 64
HEAD_START_S = 1.0
"""How long shares are waited for before the slave's KME is asked about them."""

Outcome = TypeVar("Outcome")


class Post(Protocol):
    """Sends a body to a path of another KME and returns the answer's. Raises RelayFailed when there was no whole answer,
    RemoteRefused when it was a refusal."""

    async def __call__(self, kme: str, path: str, body: bytes) -> bytes: ...


class Exchange(Listener):
    """The conversation of one KME with others."""

    def __init__(
        self, kme_id: str, database: Database, relaying: Relaying, link_keys: LinkKeys, *, directory: Directory, post: Post
    ) -> None:
        super().__init__(kme_id, database, relaying, link_keys, directory=directory)
        self._post = post
        self._gatherers: dict[tuple[str, str], Gatherer[Any, Any]] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._comparing: dict[str, asyncio.Lock] = {}
        self._peers_kem: dict[str, tuple[bytes, float]] = {}
        self.records_s = patience.RECORDS_S
        """How long what is settled is remembered."""
        self._pruned_s = 0.0

    def later(self, work: Awaitable[Any]) -> None:
        """See `Listener.later`."""
        self._begin(work)

    def _begin(self, work: Awaitable[Any]) -> asyncio.Task[None]:
        task = asyncio.ensure_future(_quietly(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def close(self) -> None:
        """Stop whatever goes on; it stands in the store."""
        for task in list(self._tasks):
            task.cancel()
        for gatherer in self._gatherers.values():
            gatherer.close()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def ask(self, kme: str, path: str, item: Any, answer: type[Outcome]) -> Outcome:
        """One item to a neighbour, together with whatever else goes there."""

        async def send(items: list[Any]) -> list[Any]:
            content = await self._post(kme, path, msgspec.msgpack.encode(items))
            answers: list[Any] = msgspec.msgpack.decode(content, type=list[answer])  # type: ignore[valid-type]
            if len(answers) != len(items):
                raise RelayFailed(kme, "gave fewer answers than it was asked")
            return answers

        gatherer = self._gatherers.setdefault((kme, path), Gatherer(send))
        try:
            return await gatherer.ask(item)
        except msgspec.DecodeError as error:
            raise RelayFailed(kme, f"its answer cannot be read: {error}") from None
        except RemoteRefused as error:
            raise RelayFailed(kme, str(error)) from None

    # Sending keys.

    async def carry(self, departure: Departure, *, deadline_ms: int, is_patient: bool = True) -> State:
        """Send a reservation's shares and ask whether they came: ready, voided, or reserved when they are still on their way.

        Returns before anybody else may take over; `sweep` then goes on until ``deadline_ms``. Who is not patient, since the keys will
        be on their way for hours, asks once.
        """
        sending = [(message.target, self._begin(self.send(receiver, message))) for receiver, message in departure.relays]
        states = await asyncio.gather(
            *(
                self._carried([task for to, task in sending if to == target], target, question, deadline_ms, is_patient)
                for target, question in departure.confirmations
            )
        )
        return next((state for state in (State.VOIDED, State.RESERVED) if state in states), State.READY)

    async def _carried(
        self, sending: Sequence[asyncio.Task[None]], target: str, question: Confirmation, deadline_ms: int, is_patient: bool
    ) -> State:
        """Ask once as many shares as are enough were taken, or after a while: one dead path of several holds nobody up."""
        end_s = time.monotonic() + HEAD_START_S
        waiting: set[asyncio.Task[None]] = set(sending)
        while waiting and len(sending) - len(waiting) < question.threshold and (left_s := end_s - time.monotonic()) > 0:
            _, waiting = await asyncio.wait(waiting, timeout=left_s, return_when=asyncio.FIRST_COMPLETED)
        return await self.settle(target, question, deadline_ms=deadline_ms, is_patient=is_patient)

    async def send(self, receiver: str, parcel: Parcel) -> None:
        """A share or an announcement to another node, again and again until it answers; a refusal gives the reservation up."""
        path = RELAY_PATH if isinstance(parcel, RelayMessage) else ANNOUNCE_PATH
        end_ms, pause_s = ledger.now_ms() + patience.ASKING_MS, patience.FIRST_PAUSE_S
        while True:
            try:
                refusal = await self.ask(receiver, path, parcel, str)
                break
            except RelayFailed:
                if ledger.now_ms() + int(1000 * pause_s) > end_ms:
                    await self._database.run(self._relaying.let_go, parcel)
                    return  # Sweeping sends it again.
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, patience.LONGEST_PAUSE_S)
            if not await self._database.run(self._relaying.is_waiting, parcel):
                return
        await self._database.run(self._relaying.sent, parcel, accepted=not refusal)
        if refusal:
            await self._failed(parcel.reservation, parcel.route[0], f"{receiver}: {refusal}")

    async def _failed(self, reservation: Reservation, origin: str, why: str) -> None:
        """Give a reservation up at the master's KME, or tell that KME of it."""
        if origin == self._kme_id:
            await self._database.run(self._relaying.give_up_unless_others_do, reservation.prefix, reservation.first_index)
        else:
            await self.ask(origin, FAILED_PATH, (Place(reservation.prefix, reservation.first_index), why), str)

    async def settle(self, target: str, question: Confirmation, *, deadline_ms: int, is_patient: bool = True) -> State:
        """Ask a slave's KME until it knows, or once; from ``deadline_ms`` on have it void the reservation. Ends before a claim does."""
        r = question.reservation
        end_ms, pause_s = ledger.now_ms() + patience.ASKING_MS, patience.FIRST_PAUSE_S
        while True:
            giving_up = await self._database.run(self._relaying.is_voiding, r, target)
            if not giving_up and ledger.now_ms() > deadline_ms:
                await self._database.run(self._relaying.give_up, r.prefix, r.first_index)
                # Somebody else may have had the answer meanwhile: what is ready is no more to be voided.
                giving_up = await self._database.run(self._relaying.is_voiding, r, target)
            try:
                answer = await (self.void_at(target, Place(r.prefix, r.first_index)) if giving_up else self._ask_about(target, question))
            except RelayFailed:
                answer = "unknown"
            state = await self._database.run(self._relaying.answered, r, target, answer)
            if state is not None:
                return state
            if not is_patient or ledger.now_ms() + int(1000 * pause_s) > end_ms:
                await self._database.run(self._relaying.let_question_go, r, target)
                return State.RESERVED
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, patience.LONGEST_PAUSE_S)

    async def _ask_about(self, target: str, question: Confirmation) -> Answer:
        if target == self._kme_id:  # Keys that are held here for another network.
            return await self._confirm(target, question)
        return await self.ask(target, CONFIRM_PATH, question, Answer)  # type: ignore[arg-type]

    async def void_at(self, target: str, place: Place) -> Answer:
        """Have a slave's KME void a reservation of ours; "delivered" where its slave had taken it already. Raises RelayFailed."""
        if target == self._kme_id:
            return (await self.receive_voids(target, [place]))[0]
        return await self.ask(target, VOID_PATH, place, Answer)  # type: ignore[arg-type]

    async def kem_public(self, kme: str) -> bytes:
        """The ML-KEM key of another KME, which is used for an hour at most. Raises RelayFailed."""
        public, known_s = self._peers_kem.get(kme, (b"", 0.0))
        if not public or time.monotonic() - known_s > patience.KEM_MEMORY_S:
            public = await self.ask(kme, KEM_PATH, b"", bytes)
            if len(public) != PUBLIC_KEY_BYTE:
                raise RelayFailed(kme, "it has no ML-KEM key to give")
            self._peers_kem[kme] = public, time.monotonic()
        return public

    def forget_kem(self, kme: str) -> None:
        """Ask for a KME's key again: it has a new one."""
        self._peers_kem.pop(kme, None)

    # Taking up what was left.

    async def sweep(self) -> None:
        """Take up what nobody is at work on, compare blocks that wait for it, and forget what is long settled."""
        now_ms = ledger.now_ms()
        claim = {"now_ms": now_ms, "claim_ms": now_ms + patience.CLAIM_MS}
        for receiver, parcel in await self._database.run(self._relaying.claim_waiting, **claim):
            self.later(self.send(receiver, parcel))
        for target, question, deadline_ms in await self._database.run(self._relaying.claim_confirmations, **claim):
            # What the first burst of questions did not settle is asked about once in a while.
            self.later(self.settle(target, question, deadline_ms=deadline_ms, is_patient=False))
        for station, hand_over in await self._database.run(claim_hand_overs, **claim):
            self.later(self._tell_station(station, hand_over))
        for peer in await self._database.run(self._link_keys.peers_to_compare):
            self.later(self.compare(peer))
        if time.monotonic() - self._pruned_s > patience.PRUNE_EVERY_S:
            self._pruned_s = time.monotonic()
            age_s = max(self.records_s, 2 * self._directory.satellite_patience_s)
            await self._database.run(prune, now_ms - int(1000 * age_s))

    async def compare(self, peer: str) -> None:
        """See `Listener.compare`."""
        async with self._comparing.setdefault(peer, asyncio.Lock()):
            offers = await self._database.run(self._link_keys.offers, peer, LARGEST_BATCH)
            answers: list[Comparison] = await asyncio.gather(*(self.ask(peer, COMPARE_PATH, offer, Comparison) for offer in offers))  # type: ignore[arg-type]
            for offer, answer in zip(offers, answers, strict=True):
                await self._database.run(self._link_keys.settle, peer, offer.block_id, answer)

    # Satellites.

    async def hand_over(self, station_a: str, station_b: str, length_byte: int) -> str:
        """Make two stations share ``length_byte`` bytes of what this satellite shares with each. Returns the block's identifier.

        A station that gives no answer is told later, by `sweep`. Raises KeysExhausted, or RelayFailed when one refuses or was not reached.
        """
        block_id, claim_ms = new_block_identifier(), ledger.now_ms() + patience.CLAIM_MS
        stations = station_a, station_b
        to_a, to_b = await self._database.run(
            prepare_hand_over, self._link_keys, self._kme_id, stations, block_id=block_id, length_byte=length_byte, claim_ms=claim_ms
        )
        outcomes = await asyncio.gather(
            *(self._tell_station(station, message) for station, message in ((station_b, to_b), (station_a, to_a))), return_exceptions=True
        )
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome
        return str(block_id)

    async def _tell_station(self, station: str, message: HandOver) -> None:
        try:
            refusal = await self.ask(station, HAND_OVER_PATH, message, str)
        except RelayFailed:
            await self._database.run(let_hand_over_go, station, message)
            raise
        await self._database.run(note_hand_over_sent, station, message, accepted=not refusal)
        if refusal:
            raise RelayFailed(station, refusal)


async def _quietly(work: Awaitable[Any]) -> None:
    """Await work whose failure the store remembers."""
    try:
        await work
    except TiandiError:
        return
