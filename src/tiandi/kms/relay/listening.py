"""What a KME hears from others (reference point Kx), and what it answers. Who says it was read from the certificate."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Sequence
from typing import Any

from tiandi.errors import AuthenticationFailed, InputError, KeyNotFound, KeysExhausted, NotAuthorised, StateError
from tiandi.kms.directory import Directory
from tiandi.kms.keys import Segment
from tiandi.kms.relay import patience
from tiandi.kms.relay.hand_over import HandOver, accept_hand_over
from tiandi.kms.relay.hybrid import KemKeys
from tiandi.kms.relay.kem_keys import read_kem_keys
from tiandi.kms.relay.relay_messages import Announcement, Answer, Confirmation, Parcel, Place, RelayMessage, require_reservation
from tiandi.kms.relay.relaying import Relaying
from tiandi.kms.store import ledger
from tiandi.kms.store.database import Database
from tiandi.kms.store.link_keys import BlockOffer, Comparison, LinkKeys
from tiandi.kms.store.sealing import Sealer

VOIDED = "voided"
"""Why a slave's KME says that a reservation has failed, when an operator there wanted it gone."""


class Listener(ABC):
    """The answering half of a KME's conversation with others; what follows from what it hears is done by the other half."""

    def __init__(self, kme_id: str, database: Database, relaying: Relaying, link_keys: LinkKeys, *, directory: Directory) -> None:
        self._kme_id = kme_id
        self._database = database
        self._relaying = relaying
        self._link_keys = link_keys
        self._directory = directory
        self.kem_keys: dict[bytes, KemKeys] = {}

    @abstractmethod
    def later(self, work: Awaitable[Any]) -> None:
        """Let ``work`` go on by itself; what fails is taken up again from the store."""

    @abstractmethod
    async def send(self, receiver: str, parcel: Parcel) -> None:
        """A message to another node, until it answers."""

    @abstractmethod
    async def compare(self, peer: str) -> None:
        """Compare the blocks that wait for it with a peer."""

    # Relays.

    async def receive_relays(self, sender: str, messages: Sequence[RelayMessage]) -> list[str]:
        """Shares from a neighbour: for each, nothing when it was accepted, or why not."""
        return list(await asyncio.gather(*(self._receive_relay(sender, message) for message in messages)))

    async def _receive_relay(self, sender: str, message: RelayMessage) -> str:
        try:
            require_reservation(message.reservation)
            self._directory.place_on_route(self._kme_id, message.reservation, message.route, sender)
            claim_ms = ledger.now_ms() + patience.CLAIM_MS
            onward = await self._database.run(self._relaying.accept, sender, message, claim_ms=claim_ms)
        except (KeyNotFound, AuthenticationFailed, InputError, NotAuthorised, KeysExhausted) as error:
            return await self._refuse(sender, message.segments, error)
        for parcel in onward:
            self.later(self.send(*parcel))
        return ""

    async def _refuse(self, sender: str, segments: Sequence[Segment], error: Exception) -> str:
        """Destroy link key that was named in vain: its sender may have used it. Returns why."""
        if isinstance(error, StateError):
            raise error  # A fault of this KME's own store.
        await self._database.run(self._link_keys.destroy_named, sender, segments)
        return str(error)

    async def receive_announcements(self, sender: str, announcements: Sequence[Announcement]) -> list[str]:
        """Differences of pads from nodes on the way: for each, nothing when it was accepted, or why not."""
        return list(await asyncio.gather(*(self._receive_announcement(sender, announcement) for announcement in announcements)))

    async def _receive_announcement(self, sender: str, announcement: Announcement) -> str:
        route = announcement.route
        try:
            require_reservation(announcement.reservation)
            place = self._directory.place_on_route(self._kme_id, announcement.reservation, route, route[-2])
            if place != len(route) - 1 or sender not in route[1:-1]:
                raise NotAuthorised(f"{sender} is not on the way to {self._kme_id}")
            await self._database.run(self._relaying.take_announcement, sender, announcement)
        except (KeyNotFound, InputError, NotAuthorised) as error:
            if isinstance(error, StateError):
                raise
            return str(error)
        return ""

    # Confirming and giving up.

    async def receive_confirmations(self, sender: str, questions: Sequence[Confirmation]) -> list[Answer]:
        """Questions of a master's KME; of one that is not the sender's to ask, or cannot stand, nothing is known here."""
        return list(await asyncio.gather(*(self._confirm(sender, question) for question in questions)))

    async def _confirm(self, sender: str, question: Confirmation) -> Answer:
        try:
            require_reservation(question.reservation)
            homes = {self._directory.home(slave) for slave in question.reservation.slaves}
            if self._directory.home(question.reservation.master) != sender or homes != {self._kme_id}:
                return "unknown"
            if self._relaying.beyond is None and any(self._directory.beyond(slave) for slave in question.reservation.slaves):
                return "unknown"
            return self._woken(await self._database.run(self._relaying.confirm, sender, question, self.kem_keys))
        except InputError as error:
            if isinstance(error, StateError):
                raise
            return "unknown"

    async def receive_voids(self, sender: str, places: Sequence[Place]) -> list[Answer]:
        """Reservations that a master's KME gives up: nothing of them will be supplied here any more."""
        void = self._relaying.void_everywhere
        return [self._woken(await self._database.run(void, sender, place.prefix, place.first_index)) for place in places]

    def _woken(self, answer: Answer) -> Answer:
        """What is not known yet may be another network's to say."""
        if answer == "unknown" and self._relaying.beyond is not None:
            self._relaying.beyond.wake()
        return answer

    async def receive_failures(self, sender: str, failures: Sequence[tuple[Place, str]]) -> list[str]:
        """A node on the way could not go on: a reservation is given up unless it was ready; in any case when its slave's KME voided it."""
        for place, why in failures:
            if why == VOIDED:
                await self._database.run(self._relaying.give_up_voided, place.prefix, place.first_index, sender)
            else:
                await self._database.run(self._relaying.give_up_unless_others_do, place.prefix, place.first_index)
        return [""] * len(failures)

    # Link key and ML-KEM keys.

    async def receive_offers(self, sender: str, offers: Sequence[BlockOffer]) -> list[Comparison]:
        """Blocks that a neighbour wants to compare."""
        return [await self._database.run(self._link_keys.compare, sender, offer) for offer in offers]

    async def load_kem_keys(self, sealer: Sealer) -> None:
        """Read this node's ML-KEM keys; a new pair is made when the newest is a day old, and those of two days are destroyed."""
        self.kem_keys = await self._database.run(read_kem_keys, sealer)

    def receive_kem_requests(self, count: int) -> list[bytes]:
        """This KME's newest ML-KEM key."""
        return [list(self.kem_keys)[-1] if self.kem_keys else b""] * count

    async def receive_hand_overs(self, satellite: str, messages: Sequence[HandOver]) -> list[str]:
        """Blocks that a satellite made this station share with others: for each, nothing or why it was refused."""
        return [await self._receive_hand_over(satellite, message) for message in messages]

    async def _receive_hand_over(self, satellite: str, message: HandOver) -> str:
        is_a = (satellite, self._kme_id, message.peer) in self._directory.hand_overs
        if not is_a and (satellite, message.peer, self._kme_id) not in self._directory.hand_overs:
            raise NotAuthorised(f"{satellite} is not to join {self._kme_id} and {message.peer}")
        try:
            await self._database.run(accept_hand_over, self._link_keys, self._kme_id, satellite, message, is_a=is_a)
        except (KeyNotFound, AuthenticationFailed, InputError) as error:
            return await self._refuse(satellite, [*message.tag_segments, *message.own_segments], error)
        if is_a:
            self.later(self.compare(message.peer))
        return ""
