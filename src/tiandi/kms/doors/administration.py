"""The door for operators who change something: /admin/v1. Every change stands in the journal before the answer leaves.

SAEs, pairs, alarms and the journal of one node; each node of a network is told by itself.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from uuid import UUID

import msgspec
from litestar.exceptions import NotFoundException
from litestar.handlers import ASGIRouteHandler
from litestar.types import HTTPScope, Receive

from tiandi.errors import InputError
from tiandi.kms.doors.answers import (
    Answer,
    answer,
    decode,
    parameters,
    path_segments,
    read_body,
    require_method,
    route,
    whole_number,
)
from tiandi.kms.operating import alarms
from tiandi.kms.operating.administration import (
    Drain,
    LinkEntry,
    LinkStateEntry,
    NodeStatus,
    StockEntry,
    Void,
    pair_entry,
    sae_entry,
)
from tiandi.kms.operating.alarms import Alarm
from tiandi.kms.operating.metrics import Snapshot, read_snapshot
from tiandi.kms.operating.operations import VERSION, Operations
from tiandi.kms.operating.settings import PairSetting, SaeSetting
from tiandi.kms.operating.voiding import Voided
from tiandi.kms.states import LIVING
from tiandi.kms.store import ledger
from tiandi.kms.store.journal import LARGEST_LIMIT, read_journal
from tiandi.kms.tls.identities import caller_identity, require_identity

PATH = "/admin/v1"
DEFAULT_LIMIT = 100

_decode_void = msgspec.json.Decoder(Void)
_decode_drain = msgspec.json.Decoder(Drain)
_decode_sae = msgspec.json.Decoder(SaeSetting)
_decode_pair = msgspec.json.Decoder(PairSetting)
_Handle = Callable[[str, HTTPScope, Receive], Awaitable[Answer]]


class Administration:
    """What `PATH` serves."""

    def __init__(self, operations: Operations) -> None:
        self._operations = operations
        self._entity = operations.entity
        self._simple: dict[str, tuple[str, _Handle]] = {
            "status": ("GET", self._status),
            "saes": ("GET", self._saes),
            "pairs": ("GET", self._pairs),
            "links": ("GET", self._links),
            "network": ("GET", self._network),
            "stocks": ("GET", self._stocks),
            "alarms": ("GET", self._alarms),
            "journal": ("GET", self._journal),
            "drain": ("POST", self._drain),
            "void": ("POST", self._void),
        }

    async def handle(self, scope: HTTPScope, receive: Receive) -> Answer:
        """Find who asks, and what for."""
        who = caller_identity(scope, "operator")
        match path_segments(scope):
            case ["admin", "v1", name] if name in self._simple:
                method, handle = self._simple[name]
                require_method(scope, (method,))
                return await handle(who, scope, receive)
            case ["admin", "v1", "saes", sae]:
                return await self._sae(who, sae, scope, receive)
            case ["admin", "v1", "pairs", master, slave]:
                return await self._pair(who, (master, slave), scope, receive)
            case ["admin", "v1", "alarms", alarm_id, "acknowledge"]:
                return await self._acknowledge(who, alarm_id, scope)
        raise NotFoundException("no such path")

    async def _status(self, _: str, scope: HTTPScope, __: Receive) -> Answer:
        parameters(scope, ())
        operations, directory = self._operations, self._entity.directory
        checks = await operations.checks()
        found: Snapshot = await self._entity.database.run(read_snapshot)
        return answer(
            NodeStatus(
                kme_id=self._entity.kme_id,
                version=VERSION,
                started_ms=operations.started_ms,
                now_ms=ledger.now_ms(),
                draining=self._entity.draining,
                ready=checks.ready,
                checks=checks,
                reservations=found.reservations,
                outbox=found.outbox,
                confirmations=found.confirmations,
                alarms=found.alarms,
                sae_count=len(directory.saes),
                pair_count=len(self._known_pairs()),
            )
        )

    # SAEs and pairs.

    async def _saes(self, _: str, scope: HTTPScope, __: Receive) -> Answer:
        parameters(scope, ())
        await self._operations.settings.refresh()
        return answer([sae_entry(name, sae) for name, sae in sorted(self._entity.directory.saes.items())])

    async def _sae(self, who: str, sae: str, scope: HTTPScope, receive: Receive) -> Answer:
        require_method(scope, ("GET", "PUT", "DELETE"))
        parameters(scope, ())
        require_identity(sae, "SAE_ID")
        settings, saes = self._operations.settings, self._entity.directory.saes
        if scope["method"] == "PUT":
            await settings.put_sae(who, sae, decode(await read_body(scope, receive), _decode_sae))
        else:
            await settings.refresh()
        if sae not in saes:
            raise NotFoundException("no such SAE")
        entry = sae_entry(sae, saes[sae])
        if scope["method"] == "DELETE":
            await settings.delete_sae(who, sae)
        return answer(entry)

    def _known_pairs(self) -> list[tuple[str, str]]:
        directory = self._entity.directory
        return sorted(directory.policies.keys() | (directory.pairs or set()))

    async def _pairs(self, _: str, scope: HTTPScope, __: Receive) -> Answer:
        parameters(scope, ())
        await self._operations.settings.refresh()
        return answer([pair_entry(pair, self._entity.directory.policy(*pair)) for pair in self._known_pairs()])

    async def _pair(self, who: str, pair: tuple[str, str], scope: HTTPScope, receive: Receive) -> Answer:
        require_method(scope, ("GET", "PUT", "DELETE"))
        parameters(scope, ())
        for name, sae in zip(("master_SAE_ID", "slave_SAE_ID"), pair, strict=True):
            require_identity(sae, name)
        settings = self._operations.settings
        if scope["method"] == "PUT":
            await settings.put_pair(who, *pair, decode(await read_body(scope, receive), _decode_pair))
        else:
            await settings.refresh()
        if pair not in self._known_pairs():
            raise NotFoundException("no such pair")
        entry = pair_entry(pair, self._entity.directory.policy(*pair))
        if scope["method"] == "DELETE":
            await settings.delete_pair(who, *pair)
        return answer(entry)

    # Key.

    async def _links(self, _: str, scope: HTTPScope, __: Receive) -> Answer:
        parameters(scope, ())
        accounts = await self._entity.account()
        peers = sorted({name.split(" ")[1] for name in accounts if name.startswith("link ")})
        return answer([LinkEntry(peer, accounts.get(f"link {peer} own", {}), accounts.get(f"link {peer} peer", {})) for peer in peers])

    async def _network(self, _: str, scope: HTTPScope, __: Receive) -> Answer:
        parameters(scope, ())
        reports = self._operations.link_reports
        heard = reports.since(-1, reader="") if reports is not None else []
        return answer(
            [
                LinkStateEntry(r.origin, r.neighbour, r.stock_bit, r.rate_bps, r.demand_bps, r.qber, r.in_service, r.note, r.age_s)
                for r in sorted(heard, key=lambda report: report.link)
            ]
        )

    async def _stocks(self, _: str, scope: HTTPScope, __: Receive) -> Answer:
        parameters(scope, ())
        entries = []
        for name, states in (await self._entity.account()).items():
            match name.split(" "):
                case ["supply", master, slave, role, size]:
                    living = {state: bit for state, bit in states.items() if state in LIVING}
                    ended = {state: bit for state, bit in states.items() if state not in LIVING}
                    entries.append(StockEntry(master, slave, role, int(size), living, ended))
        return answer(entries)

    async def _void(self, who: str, scope: HTTPScope, receive: Receive) -> Answer:
        parameters(scope, ())
        asked = decode(await read_body(scope, receive), _decode_void)
        given = [name for name in ("pair", "link", "key_ids") if getattr(asked, name) is not None]
        if len(given) != 1:
            raise InputError("body", given, "must name one of pair, link and key_ids")
        voiding = self._operations.voiding
        done: Voided
        if asked.pair is not None:
            for sae in asked.pair:
                require_identity(sae, "pair")
            done = await voiding.void_pair(who, *asked.pair)
        elif asked.link is not None:
            require_identity(asked.link, "link")
            done = await voiding.void_link(who, asked.link)
        else:
            done = await voiding.void_keys(who, asked.key_ids or [])
        return answer(done)

    async def _drain(self, who: str, scope: HTTPScope, receive: Receive) -> Answer:
        parameters(scope, ())
        asked = decode(await read_body(scope, receive), _decode_drain)
        await self._operations.settings.drain(who, draining=asked.draining)
        return answer(asked)

    # Alarms and the journal.

    async def _alarms(self, _: str, scope: HTTPScope, __: Receive) -> Answer:
        given = parameters(scope, ("limit", "acknowledged"))
        also = given.get("acknowledged", "false")
        if also not in ("true", "false"):
            raise InputError("acknowledged", also[:64], "must be true or false")
        found = await self._entity.database.run(alarms.read_alarms, limit=_limit(given), also_acknowledged=also == "true")
        return answer(found)

    async def _acknowledge(self, who: str, alarm_id: str, scope: HTTPScope) -> Answer:
        require_method(scope, ("POST",))
        parameters(scope, ())
        try:
            wanted = str(UUID(alarm_id))
        except ValueError:
            raise InputError("alarm_id", alarm_id[:64], "must be a UUID") from None
        alarm: Alarm | None = await self._entity.database.run(alarms.acknowledge, wanted, who)
        if alarm is None:
            raise NotFoundException("no such alarm")
        return answer(alarm)

    async def _journal(self, _: str, scope: HTTPScope, __: Receive) -> Answer:
        return answer(await self._entity.database.run(read_journal, _limit(parameters(scope, ("limit",)))))


def administration_route(operations: Operations) -> ASGIRouteHandler:
    """The route of this door."""
    return route(PATH, Administration(operations).handle, is_mount=True)


def _limit(given: dict[str, str]) -> int:
    limit = whole_number("limit", given["limit"]) if "limit" in given else DEFAULT_LIMIT
    if not 1 <= limit <= LARGEST_LIMIT:
        raise InputError("limit", limit, f"must lie in [1, {LARGEST_LIMIT}]")
    return limit
