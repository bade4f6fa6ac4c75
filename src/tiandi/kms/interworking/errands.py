"""What the KME at a border does by itself: it sends what its store says is to be sent to other networks, until they have answered.

Every row that is at work is claimed until a time; what is left over after a crash, here or in another process of the same node, is taken
up by the next sweep.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Iterable, Sequence
from contextlib import suppress
from itertools import groupby
from typing import Any, Protocol
from uuid import UUID

import msgspec
from msgspec import UNSET, UnsetType

from tiandi.errors import RelayFailed, TiandiError
from tiandi.kms.directory import Partner
from tiandi.kms.entity import KeyManagementEntity
from tiandi.kms.etsi020 import (
    ACK_PATH,
    KEYS_PATH,
    MOST_ITEMS,
    VOID_PATH,
    AckContainers,
    Extension,
    ExternalKey,
    KeyContainer,
    VoidContainer,
    ack_containers,
)
from tiandi.kms.interworking.incoming import VOID_NOTICE, Arrival, Incoming
from tiandi.kms.interworking.notices import Notice
from tiandi.kms.interworking.outgoing import Outgoing, Transfer
from tiandi.kms.relay import patience
from tiandi.kms.relay.relay_messages import Place
from tiandi.kms.store import ledger
from tiandi.kms.store.supply_keys import Reservation

SWEEP_PAUSE_S, LEAST_PAUSE_S = 1.0, 0.01
RETRY_MS, LONGEST_RETRY_MS = 1000, 60_000
ANSWER_MS = 4000
"""How long an acknowledgement is waited for before the request is sent again."""
LOOK_AGAIN_MS = 1000
MOST_TRANSFERS = 256
LARGEST_REQUEST_BYTE = 1024 * 1024
"""Keys in one request."""
OK, ACCEPTED, BAD_REQUEST, UNAUTHORISED = 200, 202, 400, 401


class Call(Protocol):
    """Posts JSON to a path of a partner and returns status and body. Raises RelayFailed when there is no whole answer."""

    async def __call__(self, partner: Partner, path: str, body: bytes) -> tuple[int, bytes]: ...


class Luggage(msgspec.Struct, omit_defaults=True):
    """What a key brings along for the next network."""

    optional: Extension | UnsetType = UNSET
    key: Extension | UnsetType = UNSET


_ACKS = msgspec.json.Decoder(AckContainers)
LUGGAGE = msgspec.json.Decoder(Luggage)


class Errands:
    """The errands of one KME. Begin with `start`, end with `close`."""

    def __init__(self, entity: KeyManagementEntity, outgoing: Outgoing, incoming: Incoming, *, call: Call, wake: asyncio.Event) -> None:
        self._entity = entity
        self._outgoing = outgoing
        self._incoming = incoming
        self._call = call
        self._run = entity.database.run
        self._wake = wake
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to take up what was left."""
        self._task = self._task or asyncio.create_task(self._keep_on())

    async def close(self) -> None:
        """Stop; what goes on stands in the store."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _keep_on(self) -> None:
        while True:
            self._wake.clear()
            with suppress(TiandiError):  # A disk that fails now may not fail in a second.
                await self._sweep()
            with suppress(TimeoutError):
                async with asyncio.timeout(SWEEP_PAUSE_S):
                    await self._wake.wait()
            await asyncio.sleep(LEAST_PAUSE_S)

    async def _sweep(self) -> None:
        now = ledger.now_ms()
        later = self._entity.exchange.later
        claim_ms = now + patience.CLAIM_MS
        for group in _transfer_groups(await self._run(self._outgoing.claim, now_ms=now, claim_ms=claim_ms, most=MOST_TRANSFERS)):
            later(self._pass_on(group) if group[0].state == "held" else self._void_beyond(group))
        for arrival in await self._run(self._incoming.claim, now_ms=now, claim_ms=now + LOOK_AGAIN_MS):
            later(self.conclude(arrival.partner, arrival.key_id) if arrival.state == "carrying" else self._void_here(arrival))
        notices = await self._run(self._incoming.notices.claim, now_ms=now, claim_ms=claim_ms)
        for _, some in groupby(sorted(notices, key=_notice_kind), key=_notice_kind):
            later(self._tell(list(some)))

    # Passing keys on.

    async def _pass_on(self, group: Sequence[Transfer]) -> None:
        partner = self._entity.directory.partners.get(group[0].partner)
        if partner is None:
            return
        luggage = [LUGGAGE.decode(transfer.extension or b"{}") for transfer in group]
        request = KeyContainer(
            keys=[
                ExternalKey(str(key.key_id), base64.b64encode(key.key).decode(), own.key)
                for transfer, own in zip(group, luggage, strict=True)
                for key in transfer.keys
            ],
            initiator_sae_id=group[0].master,
            target_sae_ids=group[0].slaves,
            ack_callback_url=_callback(partner),
            extension_optional=luggage[0].optional,
        )
        status = await self._ask(group, partner, KEYS_PATH, request)
        if status in {BAD_REQUEST, UNAUTHORISED}:
            await self._run(self._outgoing.refused, group)

    async def _void_beyond(self, group: Sequence[Transfer]) -> None:
        partner = self._entity.directory.partners.get(group[0].partner)
        if partner is None:
            return
        key_ids = [str(key_id) for transfer in group for key_id in transfer.key_ids()]
        for start in range(0, len(key_ids), MOST_ITEMS):
            request = VoidContainer(key_ids[start : start + MOST_ITEMS], group[0].master, group[0].slaves, _callback(partner))
            await self._ask(group, partner, VOID_PATH, request)

    async def _ask(self, group: Sequence[Transfer], partner: Partner, path: str, request: KeyContainer | VoidContainer) -> int:
        """Send a request and note what its answer acknowledges; unless that is all, it is sent again later. 0 without an answer."""
        try:
            status, body = await self._call(partner, path, msgspec.json.encode(request))
        except RelayFailed:
            status, body = 0, b""
        again_ms = RETRY_MS << min(group[0].attempts, 10)
        if status in {OK, ACCEPTED}:
            again_ms = max(again_ms, ANSWER_MS)
        await self._run(self._outgoing.postpone, group, ledger.now_ms() + min(again_ms, LONGEST_RETRY_MS))
        if status == OK:
            with suppress(msgspec.DecodeError):
                await self._run(self._outgoing.acknowledge_all, group[0].partner, _ACKS.decode(body))
            self._wake.set()
        return status

    # Looking after keys that came.

    async def conclude(self, partner: str, key_id: UUID) -> None:
        """See whether every KME has a key by now."""
        if await self._run(self._incoming.conclude, partner, key_id):
            self._wake.set()

    async def _void_here(self, arrival: Arrival) -> None:
        """Have every KME void a key that a partner sent; those that do not answer are asked again."""
        place = Place(*arrival.place)
        slaves = msgspec.json.decode(arrival.slave_names, type=list[str])
        reservation = Reservation(
            prefix=place.prefix, first_index=place.first_index, master=arrival.master, slaves=slaves, size_bit=8, count=1
        )
        answers = set()
        for target in await self._run(self._incoming.targets, arrival):
            answer = await self._entity.exchange.void_at(target, place)
            await self._run(self._entity.relaying.answered, reservation, target, answer)
            answers.add(answer)
        if "unknown" not in answers:
            await self._run(self._incoming.voided, arrival, delivered="delivered" in answers)
            self._wake.set()

    # Telling.

    async def _tell(self, notices: Sequence[Notice]) -> None:
        """Tell a partner of keys; when it refuses that of several, it is told of each alone."""
        partner = self._entity.directory.partners.get(notices[0].partner)
        if partner is None:
            return
        path = VOID_PATH if notices[0].kind == VOID_NOTICE else notices[0].callback
        try:
            status, _ = await self._call(partner, path, _notification(partner, notices))
        except RelayFailed:
            status = 0
        if status in {OK, ACCEPTED}:
            await self._run(self._incoming.notices.taken, notices)
        elif status == BAD_REQUEST and len(notices) > 1:
            for notice in notices:
                await self._tell([notice])
        elif status == BAD_REQUEST:
            await self._run(self._incoming.not_taken, notices[0])
            self._wake.set()
        else:
            await self._run(self._incoming.notices.postpone, notices, ledger.now_ms() + RETRY_MS)


def _callback(partner: Partner) -> str | UnsetType:
    return UNSET if partner.synchronous else partner.own_address + ACK_PATH


def _transfer_groups(transfers: Iterable[Transfer]) -> list[list[Transfer]]:
    """Transfers that go in one request each: of one pair, with one extension, and not too many keys."""

    def kind(transfer: Transfer) -> tuple[Any, ...]:
        optional = LUGGAGE.decode(transfer.extension or b"{}").optional
        return transfer.partner, transfer.state, transfer.master, transfer.slave_names, msgspec.json.encode(Luggage(optional))

    groups: list[list[Transfer]] = []
    for _, some in groupby(sorted(transfers, key=kind), key=kind):
        count = length_byte = 0
        groups.append([])
        for transfer in some:
            count += transfer.key_count
            length_byte += sum(len(key.key) for key in transfer.keys)
            if groups[-1] and (count > MOST_ITEMS or length_byte > LARGEST_REQUEST_BYTE):
                groups.append([])
                count, length_byte = transfer.key_count, sum(len(key.key) for key in transfer.keys)
            groups[-1].append(transfer)
    return [group for group in groups if group]


def _notice_kind(notice: Notice) -> tuple[Any, ...]:
    """Notices of one kind go in one request; voids name one pair in each."""
    if notice.kind == VOID_NOTICE:
        return notice.partner, VOID_NOTICE, notice.callback, notice.master, notice.slave_names
    return notice.partner, "", notice.callback, "", ""


def _notification(partner: Partner, notices: Sequence[Notice]) -> bytes:
    slaves = {notice.slave_names: tuple(msgspec.json.decode(notice.slave_names, type=list[str])) for notice in notices}
    if notices[0].kind == VOID_NOTICE:
        first = notices[0]
        key_ids = [str(notice.key_id) for notice in notices]
        return msgspec.json.encode(VoidContainer(key_ids, first.master, list(slaves[first.slave_names]), partner.own_address + ACK_PATH))
    return msgspec.json.encode(ack_containers((n.kind, n.master, slaves[n.slave_names], str(n.key_id)) for n in notices))
