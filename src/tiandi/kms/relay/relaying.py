"""How supply keys get from the master's KME to a slave's: along routes of trusted nodes, then confirmed directly.

One key may travel in shares over several routes (`sharing`), and under a mask of ML-KEM (`hybrid`). What nodes on the way do stands in
`passing`. When everything is under way the master's KME asks the slave's directly whether it holds the keys, with a tag that no relay
could fit other keys to (`answering`). A slave's KME supplies nothing that was not confirmed so; a master's KME supplies nothing before
it is answered "ready". Only the master's KME can give a reservation up, and it does so at both ends.
"""

# ruff: noqa: S608 - what is put into statements is constant.

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from tiandi.bits import exclusive_or
from tiandi.errors import InputError
from tiandi.kms.relay import patience, sharing
from tiandi.kms.relay.answering import kem_context
from tiandi.kms.relay.hybrid import encapsulate
from tiandi.kms.relay.passing import WayNode, never_claimed_ms
from tiandi.kms.relay.relay_messages import LARGEST_ANNOUNCED_BYTE, PAD_BYTE, Answer, Confirmation, Departure, RelayMessage, Way, confirmed
from tiandi.kms.states import State
from tiandi.kms.store import ledger
from tiandi.kms.store.database import Row, Transaction
from tiandi.kms.store.supply_keys import Reservation
from tiandi.random import secret_bytes
from tiandi.tags import TAG_KEY_BYTE, one_time_tag

SCHEMA = """
CREATE TABLE confirmation (
    prefix BLOB NOT NULL, first_index INTEGER NOT NULL, target TEXT NOT NULL, state TEXT NOT NULL, claimed_ms INTEGER NOT NULL,
    created_ms INTEGER NOT NULL, deadline_ms INTEGER NOT NULL, message BLOB NOT NULL, ciphertexts BLOB,
    PRIMARY KEY (prefix, first_index, target)
) STRICT;
CREATE INDEX confirmation_open ON confirmation (claimed_ms) WHERE state <> 'ready' AND state <> 'voided';
CREATE INDEX confirmation_age ON confirmation (created_ms);
"""
_OF_RESERVATION = "prefix = $1 AND first_index = $2"


@dataclass(frozen=True)
class _Times:
    """Until when the caller is at work on a departure, and until when its keys may be on their way."""

    claim_ms: int
    deadline_ms: int


class Relaying(WayNode):
    """Relay at one KME, be it the first, the last, or one on the way. Every method is part of the caller's transaction."""

    async def depart(
        self, transaction: Transaction, reservation: Reservation, homes: Mapping[str, str], ways: Mapping[str, Way], *,
        claim_ms: int, deadline_ms: int, keys: bytes | None = None,
    ) -> Departure:  # fmt: skip
        """Make a reservation's keys (or take ``keys``, which came from elsewhere) and start them on their ways.

        ``homes`` names the KME of each slave, ``ways`` how each of those KMEs but this one is reached. Until ``claim_ms`` the caller
        sends what is returned; after that anybody does, and after ``deadline_ms`` the keys are given up. Raises KeysExhausted when there
        is too little link key for a first hop.
        """
        keys = keys or secret_bytes(reservation.length_byte)
        departure, times = Departure([], []), _Times(claim_ms, deadline_ms)
        for target, way in sorted(ways.items()):
            local = msgspec.structs.replace(reservation, slaves=[slave for slave in reservation.slaves if homes[slave] == target])
            await self._start(transaction, departure, local, keys, target=target, way=way, times=times)
        here = [slave for slave in reservation.slaves if homes[slave] == self._kme_id]
        foreign = self._foreign(here)
        state = State.RESERVED if ways or foreign else State.READY
        await self._supply_keys.add(transaction, reservation, "master", reservation.slaves[0], keys=keys, state=state)
        for slave in here:
            await self._supply_keys.add(
                transaction, reservation, "slave", slave, keys=keys, state=State.HELD if slave in foreign else state
            )
        if foreign:
            # This KME asks itself, as if it were another at the border.
            local = msgspec.structs.replace(reservation, slaves=foreign)
            await self._arrival(transaction, local.prefix, local.first_index, self._kme_id)
            await self._hold(transaction, local, self._kme_id)
            question = Confirmation(reservation=local, threshold=1, last_hops=[self._kme_id], nonce=b"", tag=b"")
            await self._note_question(transaction, departure, self._kme_id, question, times)
        return departure

    async def _start(
        self, transaction: Transaction, departure: Departure, reservation: Reservation, keys: bytes, *, target: str, way: Way, times: _Times
    ) -> None:
        nonce, pad = secret_bytes(TAG_KEY_BYTE - PAD_BYTE), secret_bytes(PAD_BYTE)
        kem_ciphertext, material = b"", keys + pad
        if way.announced and len(material) * len(way.routes) > LARGEST_ANNOUNCED_BYTE:
            raise InputError("count", reservation.count, f"all shares of announced keys must be at most {LARGEST_ANNOUNCED_BYTE} bytes")
        if way.kem_public:
            kem_ciphertext, mask = encapsulate(way.kem_public, kem_context(reservation, self._kme_id, target))
            material = mask.over(material)
        shares = sharing.split(material, threshold=way.threshold, shares=len(way.routes))
        ciphertexts: list[bytes] = []
        for number, (route, share) in enumerate(zip(way.routes, shares, strict=True)):
            message = RelayMessage(
                reservation=reservation, share=number, route=list(route), segments=[], ciphertext=b"", tag=b"", announced=way.announced
            )
            await self._note(transaction, message, "")
            if way.announced:
                message, first_pad = await self._name_on(transaction, message, route[1], claim_ms=times.claim_ms)
                ciphertexts.append(exclusive_or(share, first_pad))
            else:
                message = await self._send_on(transaction, message, share, route[1], claim_ms=times.claim_ms)
            departure.relays.append((route[1], message))
        question = Confirmation(
            reservation=reservation,
            threshold=way.threshold,
            nonce=nonce,
            tag=one_time_tag(nonce + pad, confirmed(reservation, keys)),
            last_hops=[route[-2] for route in way.routes],
            kem_public=way.kem_public,
            kem_ciphertext=kem_ciphertext,
            ciphertexts=ciphertexts,
        )
        await self._note_question(transaction, departure, target, question, times)

    # Questions to the slaves' KMEs.

    async def _note_question(
        self, transaction: Transaction, departure: Departure, target: str, question: Confirmation, times: _Times
    ) -> None:
        # Ciphertexts stand apart, so that they are destroyed with the answer, while the question stays.
        await transaction.rows(
            "INSERT INTO confirmation (prefix, first_index, target, state, claimed_ms, created_ms, deadline_ms, message, ciphertexts)"
            " VALUES ($1, $2, $3, 'open', $4, $5, $6, $7, $8)",
            question.reservation.prefix,
            question.reservation.first_index,
            target,
            times.claim_ms,
            ledger.now_ms(),
            times.deadline_ms,
            msgspec.msgpack.encode(msgspec.structs.replace(question, ciphertexts=[])),
            msgspec.msgpack.encode(question.ciphertexts) if question.ciphertexts else None,
        )
        departure.confirmations.append((target, question))

    async def claim_confirmations(self, transaction: Transaction, *, now_ms: int, claim_ms: int) -> list[tuple[str, Confirmation, int]]:
        """Confirmations that nobody is asking about, now the caller's to ask until ``claim_ms``: target, question, until when [ms]."""
        rows = await transaction.rows(
            "SELECT prefix, first_index, target, deadline_ms, message, ciphertexts FROM confirmation"
            " WHERE state <> 'ready' AND state <> 'voided' AND (claimed_ms < $1 OR claimed_ms > $2)"
            " ORDER BY claimed_ms LIMIT 64 FOR UPDATE SKIP LOCKED",
            now_ms,
            never_claimed_ms(now_ms, claim_ms),
        )
        for prefix, first_index, target, *_ in rows:
            query = f"UPDATE confirmation SET claimed_ms = $4 WHERE {_OF_RESERVATION} AND target = $3"
            await transaction.rows(query, prefix, first_index, target, claim_ms)
        return [(row[2], _question(row), row[3]) for row in rows]

    async def let_question_go(self, transaction: Transaction, reservation: Reservation, target: str) -> None:
        """A question that was not answered is anybody's to ask, after a while."""
        place, now_ms = (reservation.prefix, reservation.first_index, target), ledger.now_ms()
        query = f"SELECT created_ms FROM confirmation WHERE {_OF_RESERVATION} AND target = $3 FOR UPDATE"
        for (created_ms,) in await transaction.rows(query, *place):
            query = f"UPDATE confirmation SET claimed_ms = $4 WHERE {_OF_RESERVATION} AND target = $3"
            await transaction.rows(query, *place, now_ms + patience.rest_ms(now_ms - created_ms))

    async def answered(self, transaction: Transaction, reservation: Reservation, target: str, answer: Answer) -> State | None:
        """Note what a slave's KME answered. Returns how that settles it there, or None when it is to be asked again.

        The reservation is ready when every slave's KME is, and voided when every one has voided it.
        """
        place = (reservation.prefix, reservation.first_index)
        # Locked before they are changed: of two answers at once the later one has to see both.
        rows = await transaction.rows(f"SELECT target, state FROM confirmation WHERE {_OF_RESERVATION} FOR UPDATE", *place)
        states: dict[str, str] = dict(rows)
        if answer == "unknown" or (answer == "ready" and states[target] in {"voiding", "voided"}):
            return None if states[target] != "voided" else State.VOIDED
        answer = "voided" if answer == "delivered" else answer  # A slave has it, its master never will.
        states[target] = answer
        query = f"UPDATE confirmation SET state = $4, ciphertexts = NULL WHERE {_OF_RESERVATION} AND target = $3"
        await transaction.rows(query, *place, target, answer)
        if answer == "ready":
            if set(states.values()) == {"ready"}:
                await self._supply_keys.change(transaction, *place, [State.RESERVED, State.UNCERTAIN], State.READY)
            return State.READY
        await self.give_up(transaction, *place)
        if set(states.values()) == {"voided"}:
            await self._supply_keys.change(transaction, *place, [State.UNCERTAIN], State.VOIDED)
        return State.VOIDED

    # Giving up.

    async def give_up(self, transaction: Transaction, prefix: bytes, first_index: int, *, even_ready: bool = False) -> None:
        """From now on every slave's KME is told to void the reservation, until it has answered.

        One that is ready stays, for its keys may have been handed out already, unless ``even_ready`` says that an operator wants it gone.
        """
        place = (prefix, first_index)
        rows = await transaction.rows(f"SELECT state FROM confirmation WHERE {_OF_RESERVATION} FOR UPDATE", *place)
        if not even_ready and all(state == "ready" for (state,) in rows):
            return
        query = f"UPDATE confirmation SET state = 'voiding', ciphertexts = NULL WHERE {_OF_RESERVATION} AND state <> 'voided'"
        await transaction.rows(query, *place)
        await self._supply_keys.change(transaction, *place, [State.RESERVED, State.READY], State.UNCERTAIN)
        query = f"UPDATE relay SET state = 'refused', message = NULL WHERE {_OF_RESERVATION} AND state = 'waiting'"
        await transaction.rows(query, *place)

    async def give_up_unless_others_do(self, transaction: Transaction, prefix: bytes, first_index: int) -> None:
        """As `give_up`, when a node could not pass a share on; where fewer shares than were sent are enough, the others are waited for."""
        rows = await transaction.rows(f"SELECT message FROM confirmation WHERE {_OF_RESERVATION}", prefix, first_index)
        questions = [msgspec.msgpack.decode(message, type=Confirmation) for (message,) in rows]
        if any(question.threshold == len(question.last_hops) for question in questions):
            await self.give_up(transaction, prefix, first_index)

    async def give_up_voided(self, transaction: Transaction, prefix: bytes, first_index: int, target: str) -> None:
        """As `give_up`, of a reservation that a slave's KME says it has voided, ready or not."""
        query = f"SELECT 1 FROM confirmation WHERE {_OF_RESERVATION} AND target = $3"
        if await transaction.rows(query, prefix, first_index, target):
            await self.give_up(transaction, prefix, first_index, even_ready=True)

    async def is_voiding(self, transaction: Transaction, reservation: Reservation, target: str) -> bool:
        """Whether a slave's KME is to be told to void the reservation."""
        query = f"SELECT state FROM confirmation WHERE {_OF_RESERVATION} AND target = $3"
        rows = await transaction.rows(query, reservation.prefix, reservation.first_index, target)
        return bool(rows) and rows[0][0] == "voiding"


def _question(row: Row) -> Confirmation:
    *_, message, ciphertexts = row
    question = msgspec.msgpack.decode(message, type=Confirmation)
    if ciphertexts is None:
        return question
    return msgspec.structs.replace(question, ciphertexts=msgspec.msgpack.decode(ciphertexts, type=list[bytes]))
