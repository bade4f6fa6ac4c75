"""Voiding: an operator wants keys gone, here and at the other KME.

Supply keys live in reservations, and a reservation is voided as a whole. The master's KME gives it up and has every slave's KME void
it, however long that takes (`relaying`). A slave's KME destroys what it holds at once and tells the master's. Link key is destroyed
here, and the peer is made an offer that no block equals, upon which it destroys its own. Who cannot be told is named, in an alarm too.
Asked again, because a crash has kept the answer, it tells them again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import cast
from uuid import UUID

import msgspec

from tiandi.errors import InputError, KeyNotFound, TiandiError
from tiandi.kms.entity import KeyManagementEntity
from tiandi.kms.keys import split_identifier
from tiandi.kms.operating.alarms import raise_alarm
from tiandi.kms.relay.exchange import COMPARE_PATH, FAILED_PATH
from tiandi.kms.relay.listening import VOIDED
from tiandi.kms.relay.relay_messages import Confirmation, Place
from tiandi.kms.states import State
from tiandi.kms.store import ledger
from tiandi.kms.store.database import Row, Transaction
from tiandi.kms.store.link_keys import BlockOffer, Comparison

WAIT_S = 3.0
"""How long the other KMEs' answers are waited for; whatever is open then goes on by itself."""
PORTION = 500
MOST_TOLD_AT_ONCE = 512
_OPEN = (State.RESERVED, State.READY, State.UNCERTAIN)


class Voided(msgspec.Struct, frozen=True):
    """What a request to void came to: bits that are gone here, bits whose other KME has not answered yet, and KMEs that were not told."""

    voided_bit: int
    uncertain_bit: int
    not_told: list[str]


@dataclass
class _Begun:
    """Reservations in the course of being voided, with what they held [bit]."""

    places: dict[Place, int] = field(default_factory=dict)
    questions: dict[tuple[str, Place], Confirmation] = field(default_factory=dict)
    """To be settled with slaves' KMEs."""
    to_tell: dict[Place, str] = field(default_factory=dict)
    """Masters' KMEs that are to learn of it."""

    def add(self, other: _Begun) -> None:
        """Take over what another transaction has begun."""
        self.places = other.places | self.places
        self.questions |= other.questions
        self.to_tell |= other.to_tell


class Voiding:
    """Voiding at one KME."""

    def __init__(self, entity: KeyManagementEntity) -> None:
        self._entity = entity

    async def void_pair(self, who: str, master: str, slave: str) -> Voided:
        """Every key of a pair that was made before now. Raises InputError for a pair of which neither SAE is served here."""
        homes = {self._entity.directory.home(sae) for sae in (master, slave)}
        if self._entity.kme_id not in homes:
            raise InputError("pair", [master, slave], f"is served by {' and '.join(sorted(homes))}, not here")
        await self._entity.database.run(_note, who, f"void pair {master} {slave}")
        begun = _Begun()
        # Also what is voided here: of the other KME nobody knows whether it was told, when a crash has cut that short.
        for state in (*_OPEN, State.DELIVERED, State.VOIDED):
            last: Row = (-1, b"", 0)
            while last:
                part, last = await self._entity.database.run(self._void_portion, (master, slave), state, last)
                begun.add(part)
        return await self._finish(begun)

    async def void_keys(self, who: str, key_ids: Sequence[UUID]) -> Voided:
        """Every reservation that holds one of these keys. Raises KeyNotFound, and voids none, when one is unknown here."""
        return await self._finish(await self._entity.database.run(self._void_named, who, key_ids))

    async def void_link(self, who: str, peer: str) -> Voided:
        """All link key shared with ``peer``. Raises InputError for a KME with which none was ever shared."""
        bit, block_ids = await self._entity.database.run(self._void_blocks, who, peer)
        offers = [BlockOffer(UUID(bytes=block_id), 0, b"") for block_id in block_ids]
        ask, kind = self._entity.exchange.ask, cast(type[str], Comparison)
        answers = await asyncio.gather(*(ask(peer, COMPARE_PATH, offer, kind) for offer in offers), return_exceptions=True)
        not_told = [peer] if any(isinstance(answer, BaseException) for answer in answers) else []
        await self._warn(not_told, f"link key with {self._entity.kme_id} was voided there: void it here too")
        return Voided(bit, 0, not_told)

    async def _void_portion(self, transaction: Transaction, pair: tuple[str, str], state: State, last: Row) -> tuple[_Begun, Row]:
        """Void what is to be voided of some of a pair's reservations, and where to go on; nothing at the end."""
        rows = await transaction.rows(
            "SELECT created_ms, prefix, first_index, master, slave FROM reservation"
            " WHERE state = $1 AND created_ms >= $2 AND (created_ms, prefix, first_index) > ($2, $3, $4)"
            " ORDER BY created_ms, prefix, first_index LIMIT $5",
            state.value,
            *last[:3],
            PORTION,
        )
        begun = _Begun()
        for place in {Place(prefix, first_index): None for _, prefix, first_index, *names in rows if tuple(names) == pair}:
            await self._begin(transaction, begun, place)
        return begun, rows[-1] if len(rows) == PORTION else ()

    async def _void_named(self, transaction: Transaction, who: str, key_ids: Sequence[UUID]) -> _Begun:
        places: dict[Place, None] = {}
        for key_id in key_ids:
            prefix, index = split_identifier(key_id)
            rows = await transaction.rows(
                "SELECT first_index FROM reservation WHERE prefix = $1 AND first_index <= $2 AND first_index + key_count > $2",
                prefix,
                index,
            )
            if not rows:
                raise KeyNotFound(f"{key_id} is unknown here")
            places |= {Place(prefix, first_index): None for (first_index,) in rows}
        ledger.note(transaction, who, f"void keys {' '.join(map(str, key_ids[:4]))}{' and more' if len(key_ids) > 4 else ''}")
        begun = _Begun()
        for place in places:
            await self._begin(transaction, begun, place)
        return begun

    async def _begin(self, transaction: Transaction, begun: _Begun, place: Place) -> None:
        """Void one reservation as far as this KME can by itself."""
        at = (place.prefix, place.first_index)
        rows = await transaction.rows(
            "SELECT role, master, state, left_count * size_bit FROM reservation WHERE prefix = $1 AND first_index = $2", *at
        )
        begun.places[place] = sum(bit for _, _, state, bit in rows if state in _OPEN)
        if not any(role == "master" for role, *_ in rows):
            origin = self._entity.directory.home(rows[0][1])
            await self._entity.relaying.void(transaction, origin, *at)
            begun.to_tell[place] = origin
            return
        questions = await transaction.rows("SELECT target, state, message FROM confirmation WHERE prefix = $1 AND first_index = $2", *at)
        if not questions:
            await self._entity.supply_keys.change(transaction, *at, _OPEN, State.VOIDED)
        elif any(state != "voided" for _, state, _ in questions):
            await self._entity.relaying.give_up(transaction, *at, even_ready=True)
            for target, _, message in questions:
                begun.questions[target, place] = msgspec.msgpack.decode(message, type=Confirmation)

    async def _finish(self, begun: _Begun) -> Voided:
        """Tell the others, wait a little for their answers, and sum up."""
        exchange = self._entity.exchange
        questions = list(begun.questions.items())[:MOST_TOLD_AT_ONCE]
        tasks = [asyncio.ensure_future(exchange.settle(target, question, deadline_ms=0)) for (target, _), question in questions]
        for task in tasks:
            exchange.later(task)
        told = await asyncio.gather(*(self._tell(kme, place) for place, kme in begun.to_tell.items()))
        if tasks:
            await asyncio.wait(tasks, timeout=WAIT_S)
        not_told = sorted({kme for kme in told if kme})
        await self._warn(not_told, f"keys of its SAEs were voided at {self._entity.kme_id}: void them here too")
        places, left_bit = list(begun.places), 0
        for start in range(0, len(places), PORTION):
            left_bit += await self._entity.database.run(_left_bit, places[start : start + PORTION])
        return Voided(sum(begun.places.values()) - left_bit, left_bit, not_told)

    async def _tell(self, kme: str, place: Place) -> str:
        """The KME if it could not be told."""
        try:
            await self._entity.exchange.ask(kme, FAILED_PATH, (place, VOIDED), str)
        except TiandiError:
            return kme
        return ""

    async def _warn(self, kmes: Sequence[str], text: str) -> None:
        for kme in kmes:
            await self._entity.database.run(raise_alarm, "pair-not-voided", kme, f"{kme} could not be told; {text}")

    async def _void_blocks(self, transaction: Transaction, who: str, peer: str) -> tuple[int, list[bytes]]:
        if not await transaction.rows("SELECT 1 FROM link_block WHERE peer = $1 LIMIT 1", peer):
            raise InputError("link", peer, "no link key was ever shared with that KME")
        rows = await transaction.rows(
            "SELECT block_id FROM link_key WHERE peer = $1 UNION SELECT block_id FROM link_block WHERE peer = $1 AND state = 'voided'", peer
        )
        ledger.note(transaction, who, f"void link {peer}")
        return await self._entity.link_keys.void_link(transaction, peer, what=f"by {who}"), [block_id for (block_id,) in rows]


async def _note(transaction: Transaction, who: str, what: str) -> None:
    ledger.note(transaction, who, what)


async def _left_bit(transaction: Transaction, places: Sequence[Place]) -> int:
    """Bits of these reservations that are neither voided nor delivered."""
    total = 0
    for place in places:
        rows = await transaction.rows(
            "SELECT coalesce(sum(left_count * size_bit), 0) FROM reservation"
            " WHERE prefix = $1 AND first_index = $2 AND state IN ('reserved', 'ready', 'uncertain')",
            place.prefix,
            place.first_index,
        )
        total += int(rows[0][0])
    return total
