"""What the KME at a border does: it passes keys on to KMEs of other networks and takes keys from them (ETSI GS QKD 020).

Whatever is begun stands in the store before anything is said of it (`outgoing`, `incoming`), with the time until which somebody is at
work on it; what is left over after a crash, here or in another process of the same node, is taken up by the next sweep.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from uuid import UUID

import msgspec
from msgspec import UnsetType

from tiandi.errors import KeysExhausted, NotAuthorised
from tiandi.kms.entity import KeyManagementEntity, Plan
from tiandi.kms.etsi020 import (
    AckContainer,
    AckStatus,
    Extension,
    KeyContainer,
    Problem,
    VoidContainer,
    ack_containers,
    callback_path,
)
from tiandi.kms.interworking.errands import LEAST_PAUSE_S, LOOK_AGAIN_MS, Call, Errands, Luggage
from tiandi.kms.interworking.incoming import Incoming
from tiandi.kms.interworking.outgoing import Outgoing, slave_names
from tiandi.kms.keys import SupplyKey, split_identifier
from tiandi.kms.relay.relay_messages import Departure
from tiandi.kms.store import ledger
from tiandi.kms.store.database import Transaction
from tiandi.units import BIT_PER_BYTE

SYNCHRONOUS_PATIENCE_S = 8.0
"""How long a caller in synchronous mode is kept waiting."""
LARGEST_EXTENSION_BYTE = 4096
MOST_VOIDED = 100_000


class Interworking:
    """The border's side of a KME. Begin with `start`, end with `close` before the entity is closed."""

    def __init__(self, entity: KeyManagementEntity, call: Call) -> None:
        self._entity = entity
        self._run = entity.database.run
        self._wake = asyncio.Event()
        self.outgoing = Outgoing(entity.directory, entity.relaying, entity.supply_keys, self._wake.set)
        self.incoming = Incoming(entity, entity.sealer)
        entity.relaying.beyond = self.outgoing
        self._errands = Errands(entity, self.outgoing, self.incoming, call=call, wake=self._wake)

    def start(self) -> None:
        """Begin to take up what was left."""
        self._errands.start()

    async def close(self) -> None:
        """Stop; what goes on stands in the store."""
        await self._errands.close()

    def partner_of(self, kme_id: str, among: Iterable[str] | None = None) -> str:
        """The partner whose certificate names ``kme_id``. Raises NotAuthorised when this KME has no such partner (``among`` these)."""
        partners = self._entity.directory.partners
        for name in partners if among is None else among:
            if name in partners and partners[name].kme_id == kme_id and partners[name].border == self._entity.kme_id:
                return name
        raise NotAuthorised(f"{kme_id} is no partner of {self._entity.kme_id}")

    async def receive_acks(self, partner: str, acks: Sequence[AckContainer]) -> None:
        """What became of keys that were passed to a partner. Raises Problem, and notes nothing, when one never was."""
        for ack in acks:
            ack.require()

        async def note(transaction: Transaction) -> None:
            for key_id in await self.outgoing.acknowledge_all(transaction, partner, acks):
                if not await self.incoming.is_known(transaction, partner, key_id):
                    raise Problem(400, "key-not-present", "key_not_present", "The acknowledged key IDs are not known to this KME.")

        await self._run(note)
        self._wake.set()

    # Taking keys in.

    async def receive_keys(self, partner: str, request: KeyContainer) -> list[AckContainer] | None:
        """Take keys in and start them on their ways; None in asynchronous mode. Raises Problem, NotAuthorised, NoRoute, KeysExhausted
        or RelayFailed, and then keeps nothing, or TimeoutError when a caller has waited long enough.
        """
        request.require()
        callback = self._callback_of(partner, request)
        self._require_route(partner, request)
        plans = await self._plans(request)
        claim_ms = ledger.now_ms() + LOOK_AGAIN_MS
        for plan, departure in await self._run(self.incoming.accept, partner, plans, callback=callback, claim_ms=claim_ms):
            self._entity.exchange.later(self._carry(partner, plan, departure))
        self._wake.set()
        if callback:
            return None
        return await self._settled(partner, request, {UUID(key.key_id): None for key in request.keys})

    def _callback_of(self, partner: str, request: KeyContainer | VoidContainer) -> str:
        if isinstance(request.ack_callback_url, UnsetType):
            return ""
        return callback_path(request.ack_callback_url, self._entity.directory.partners[partner].address)

    def _require_route(self, partner: str, request: KeyContainer) -> None:
        if self._entity.draining:
            raise KeysExhausted(f"{self._entity.kme_id} is being drained: it", 0, 0)
        directory = self._entity.directory
        self._require_known(request)
        initiator, targets = request.initiator_sae_id, request.target_sae_ids
        if directory.beyond(initiator) != partner or directory.home(initiator) != self._entity.kme_id:
            raise NotAuthorised(f"{initiator} is not an SAE of that network")
        if any(directory.beyond(target) == partner for target in targets):
            text = "Routing this key to a target SAE ID requires passing it back to the calling KME."
            raise Problem(400, "key-routing-error", "invalid_routing", text)
        if len(targets) > self._entity.limits.max_SAE_ID_count + 1:
            raise Problem(503, "key-routing-error", "no_route_multiple_targets", "There are too many target SAEs.")
        directory.require_pair(initiator, targets)

    def _require_known(self, request: KeyContainer | VoidContainer) -> None:
        directory = self._entity.directory
        named = {"initiator_sae_id_not_recognized": [request.initiator_sae_id], "target_sae_id_not_recognized": request.target_sae_ids}
        for name, saes in named.items():
            if not set(saes) <= set(directory.saes):
                raise Problem(400, "key-routing-error", name, "No KME of that SAE is known.")

    async def _plans(self, request: KeyContainer) -> list[tuple[SupplyKey, Plan]]:
        """Each key and how it will travel: alone, under its identifier."""
        limits = self._entity.limits
        by_size: dict[int, Plan] = {}
        plans = []
        for item in request.keys:
            key = SupplyKey(UUID(item.key_id), item.key())
            size_bit = len(key.key) * BIT_PER_BYTE
            if not limits.min_key_size <= size_bit <= limits.max_key_size:
                raise Problem(400, "invalid-parameter", "value", f"keys must have {limits.min_key_size} to {limits.max_key_size} bit")
            if size_bit not in by_size:
                by_size[size_bit] = await self._entity.plan(
                    request.initiator_sae_id, request.target_sae_ids, size_bit=size_bit, count=1, kept_apart=True
                )
            prefix, index = split_identifier(key.key_id)
            luggage = _luggage(request.extension_optional, item.extension)
            plan = by_size[size_bit]
            reservation = msgspec.structs.replace(plan.reservation, prefix=prefix, first_index=index, extension=luggage)
            plans.append((key, Plan(reservation, plan.homes, plan.ways, plan.deadline_ms)))
        return plans

    async def _carry(self, partner: str, plan: Plan, departure: Departure) -> None:
        await self._entity.exchange.carry(departure, deadline_ms=plan.deadline_ms)
        await self._errands.conclude(partner, plan.reservation.key_ids[0])

    async def _settled(
        self, partner: str, request: KeyContainer | VoidContainer, statuses: dict[UUID, AckStatus | None]
    ) -> list[AckContainer]:
        """What became of every key, once that is known. Raises TimeoutError."""
        async with asyncio.timeout(SYNCHRONOUS_PATIENCE_S):
            while True:
                for key_id in [key_id for key_id, status in statuses.items() if status is None]:
                    statuses[key_id] = await self._run(self.incoming.conclude, partner, key_id)
                if None not in statuses.values():
                    break
                await asyncio.sleep(2 * LEAST_PAUSE_S)
        settled = sorted((status, str(key_id)) for key_id, status in statuses.items() if status is not None)
        return ack_containers((status, request.initiator_sae_id, tuple(request.target_sae_ids), key_id) for status, key_id in settled)

    # Voiding.

    async def receive_void(self, partner: str, request: VoidContainer) -> list[AckContainer] | None:
        """Void keys, wherever they are; None in asynchronous mode. Raises Problem, NotAuthorised or TimeoutError."""
        request.require()
        callback = self._callback_of(partner, request)
        self._require_known(request)
        if all(self._entity.directory.beyond(sae) != partner for sae in (request.initiator_sae_id, *request.target_sae_ids)):
            raise NotAuthorised("none of these SAEs is of that network")
        statuses = await self._run(self._void, partner, request, callback)
        self._wake.set()
        return None if callback else await self._settled(partner, request, statuses)

    async def _void(self, transaction: Transaction, partner: str, request: VoidContainer, callback: str) -> dict[UUID, AckStatus | None]:
        pair = (request.initiator_sae_id, slave_names(request.target_sae_ids))
        key_ids = [UUID(key_id) for key_id in request.key_ids]
        if not key_ids:
            key_ids = await self.outgoing.passed(transaction, partner, pair, most=MOST_VOIDED)
            key_ids += await self.incoming.taken_in(transaction, partner, pair, most=MOST_VOIDED)
        statuses: dict[UUID, AckStatus | None] = {}
        for key_id in key_ids:
            status = await self.outgoing.void_by_partner(transaction, partner, pair, key_id)
            status = status or await self.incoming.void(transaction, partner, pair, key_id, callback=callback)
            statuses[key_id] = status
            if status and callback:
                await self.incoming.notices.add(transaction, partner, key_id, pair, kind=status, callback=callback)
        return statuses


def _luggage(optional: Extension | UnsetType, key: Extension | UnsetType) -> bytes:
    luggage = Luggage(optional, key)
    encoded = b"" if luggage == Luggage() else msgspec.json.encode(luggage)
    if len(encoded) > LARGEST_EXTENSION_BYTE:
        text = f"Extensions of more than {LARGEST_EXTENSION_BYTE} bytes cannot be passed on."
        raise Problem(503, "server-side-general-error", "extension_too_large", text)
    return encoded
