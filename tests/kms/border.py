"""Networks in one process that meet at their borders, and what can go wrong between them."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from itertools import pairwise
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import msgspec
from litestar.types import ASGIApp, Receive, Scope, Send

from tests.kms.doors import application
from tiandi.distill.records import KeyBlock
from tiandi.errors import RelayFailed, StateError
from tiandi.kms.directory import Directory, PairPolicy, Partner, Sae
from tiandi.kms.doors import etsi020
from tiandi.kms.entity import KeyManagementEntity
from tiandi.kms.etsi014 import KeyRequest
from tiandi.kms.interworking.border_kme import Interworking
from tiandi.kms.keys import SupplyKey
from tiandi.kms.relay import exchange as kx
from tiandi.kms.store.link_keys import BlockOffer
from tiandi.kms.store.master_keys import create_master_key_file, open_master_key
from tiandi.kms.store.sqlite_database import SqliteDatabase
from tiandi.kms.tls.identities import SCOPE_KEY, ClientCertificate

Fault = Callable[[str, str, bytes], str]
"""(caller, path, body) of a call to a partner -> "", "lose request", "lose answer" or a status."""


class Blocks:
    """A link that has made one block."""

    def __init__(self, peer: str, half: Any, block: KeyBlock) -> None:
        self.peer, self.own_half, self.name, self.block = peer, half, "test", block

    async def take_blocks(self) -> list[KeyBlock]:
        return [self.block]

    async def acknowledge(self, _: list[Any]) -> None:
        return


class Dying:
    """A database whose process dies before its n-th transaction, and after that."""

    def __init__(self, database: SqliteDatabase, left: int | None) -> None:
        self.database, self.left = database, left

    async def run(self, work: Any, *arguments: Any, **named: Any) -> Any:
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                raise StateError("process", "", "was killed")
        return await self.database.run(work, *arguments, **named)

    async def close(self) -> None:
        await self.database.close()


def certificate_of(app: ASGIApp, identities: tuple[tuple[Any, str], ...]) -> ASGIApp:
    """An application as called by who shows these identities."""
    certificate = ClientCertificate(identities=identities, issuer=b"", serial=1, fingerprint="", starts=0, expires=2e9)

    async def call(scope: Scope, receive: Receive, send: Send) -> None:
        await app({**scope, "extensions": {SCOPE_KEY: certificate}}, receive, send)  # type: ignore[typeddict-item]

    return call


class World:
    """Every network; KME names are unique here, as the tests speak of them by name alone."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.entities: dict[str, KeyManagementEntity] = {}
        self.borders: dict[str, Interworking] = {}
        self.apps: dict[str, Any] = {}
        self.directories: dict[str, Directory] = {}
        self.fault: Fault = lambda *_: ""
        self.calls: list[tuple[str, str, bytes, int]] = []

    def network(self, names: list[str], saes: dict[str, Sae], partners: dict[str, Partner]) -> None:
        directory = Directory(kme_addresses=dict.fromkeys(names, "x"), saes=saes, partners=partners)
        directory.default_policy = PairPolicy(ahead_count=0)

        def find_routes(source: str, target: str, *_: int) -> list[list[str]]:
            i, j = names.index(source), names.index(target)
            return [names[i : j + 1] if i < j else names[j : i + 1][::-1]]

        directory.find_routes = find_routes
        self.directories |= dict.fromkeys(names, directory)

    async def open(self, name: str, *, die_after: int | None = None) -> None:
        key = self.folder / f"{name}.key"
        if not key.exists():
            create_master_key_file(key)
        database = Dying(SqliteDatabase(self.folder / f"{name}.sqlite"), None)
        entity = await KeyManagementEntity.open(
            name, database, open_master_key(f"file:{key}"), directory=self.directories[name], post=self._post(name)
        )
        database.left = die_after
        self.entities[name] = entity
        if any(partner.border == name for partner in entity.directory.partners.values()):
            border = self.borders[name] = Interworking(entity, self._call(name))
            self.apps[name] = application(etsi020.routes(border))
            border.start()
        entity.start()

    async def open_all(self) -> None:
        for name in self.directories:
            await self.open(name)

    async def close(self, name: str) -> None:
        if name in self.borders:
            await self.borders.pop(name).close()
            self.apps.pop(name)
        await self.entities.pop(name).close()

    async def close_all(self) -> None:
        for name in list(self.entities):
            await self.close(name)

    async def link(self, a: str, b: str, length_byte: int = 200_000) -> None:
        key, number = os.urandom(length_byte), uuid4()
        await self.entities[b].collect(Blocks(a, "second", KeyBlock(number, key)))
        await self.entities[a].collect(Blocks(b, "first", KeyBlock(number, key)))

    async def link_all(self) -> None:
        for directory in {id(d): d for d in self.directories.values()}.values():
            for a, b in pairwise(directory.kme_addresses):
                await self.link(a, b)
        await asyncio.sleep(0.05)

    def _post(self, me: str) -> Any:
        kinds: dict[str, tuple[Any, str]] = {
            kx.RELAY_PATH: (list[kx.RelayMessage], "receive_relays"),
            kx.CONFIRM_PATH: (list[kx.Confirmation], "receive_confirmations"),
            kx.VOID_PATH: (list[kx.Place], "receive_voids"),
            kx.COMPARE_PATH: (list[BlockOffer], "receive_offers"),
            kx.FAILED_PATH: (list[tuple[kx.Place, str]], "receive_failures"),
        }

        async def post(kme: str, path: str, body: bytes) -> bytes:
            if kme not in self.entities:
                raise RelayFailed(kme, "is down")
            kind, method = kinds[path]
            receive: Callable[[str, Any], Awaitable[Any]] = getattr(self.entities[kme].exchange, method)
            try:
                return msgspec.msgpack.encode(await receive(me, msgspec.msgpack.decode(body, type=kind)))
            except StateError as error:
                raise RelayFailed(kme, str(error)) from None

        return post

    def _call(self, me: str) -> Any:
        async def call(partner: Partner, path: str, body: bytes) -> tuple[int, bytes]:
            fault = self.fault(me, path, body)
            if fault == "lose request" or partner.kme_id not in self.apps:
                raise RelayFailed(partner.kme_id, "no answer")
            if fault.isdigit():
                return int(fault), b"{}"
            response = await self.ask(partner.kme_id, "POST", path, content=body, kme=me)
            self.calls.append((me, path, body, response.status_code))
            if fault == "lose answer":
                raise RelayFailed(partner.kme_id, "no answer")
            return response.status_code, response.content

        return call

    async def ask(self, border: str, method: str, path: str, *, kme: str = "", sae: str = "", **more: Any) -> httpx.Response:
        identities = tuple((kind, name) for kind, name in (("kme", kme), ("sae", sae)) if name)
        transport = httpx.ASGITransport(app=certificate_of(self.apps[border], identities))
        async with httpx.AsyncClient(transport=transport, base_url=f"https://{border}") as client:
            return await client.request(method, path, headers={"content-type": "application/json"}, **more)

    # What SAEs do.

    async def get(self, kme: str, master: str, slave: str, **request: Any) -> list[SupplyKey]:
        return await self.entities[kme].get_keys(master, slave, KeyRequest(**request))

    async def fetch(self, kme: str, slave: str, master: str, keys: list[SupplyKey]) -> list[SupplyKey]:
        return await self.entities[kme].get_keys_with_ids(slave, master, [key.key_id for key in keys])

    async def accounts(self, kme: str) -> dict[str, int]:
        """Bits of supply keys at a KME by state."""
        total: dict[str, int] = {}
        for stock, states in (await self.entities[kme].account()).items():
            if stock.startswith("supply"):
                for state, bit in states.items():
                    total[state] = total.get(state, 0) + bit
        return total

    async def keys_kept(self, kme: str) -> int:
        """Rows with key in them."""

        async def count(transaction: Any) -> int:
            rows = await transaction.rows("SELECT count(*) FROM reservation WHERE sealed IS NOT NULL")
            held = await transaction.rows("SELECT count(*) FROM relay WHERE sealed IS NOT NULL")
            return int(rows[0][0]) + int(held[0][0])

        return await self.entities[kme].database.run(count)

    async def quiet(self, within_s: float = 12.0) -> None:
        """Wait until nothing is on its way anywhere: no transfer, no arrival, no notice, no confirmation."""

        async def open_rows(transaction: Any) -> int:
            queries = (
                "SELECT count(*) FROM outgoing WHERE state = 'held' OR state = 'voiding'",
                "SELECT count(*) FROM incoming WHERE state = 'carrying' OR state = 'voiding'",
                "SELECT count(*) FROM notice",
                "SELECT count(*) FROM confirmation WHERE state <> 'ready' AND state <> 'voided'",
            )
            return sum([int((await transaction.rows(query))[0][0]) for query in queries])

        async with asyncio.timeout(within_s):
            while any([await entity.database.run(open_rows) for entity in self.entities.values()]):
                await asyncio.sleep(0.02)


def two_networks(folder: Path, *, synchronous: bool = False) -> World:
    """a1 - a2 | b2 - b1: alice at a1, bob at b1; ann at the border a2 itself, ben at b2."""
    world = World(folder)
    east = Partner("a2", "b2", "https://b2", "https://a2", synchronous)
    west = Partner("b2", "a2", "https://a2", "https://b2", synchronous)
    a = {"alice": Sae("a1"), "ann": Sae("a2"), "bob": Sae("a2", beyond="east"), "ben": Sae("a2", beyond="east")}
    b = {"bob": Sae("b1"), "ben": Sae("b2"), "alice": Sae("b2", beyond="west"), "ann": Sae("b2", beyond="west")}
    world.network(["a1", "a2"], a, {"east": east})
    world.network(["b2", "b1"], b, {"west": west})
    return world


def three_networks(folder: Path, *, synchronous: bool = False) -> World:
    """a1 - a2 | t1 - t2 | c2 - c1: alice at a1, carol at c1; tom at t1, in the network between, which relays for them."""
    world = World(folder)
    world.network(
        ["a1", "a2"],
        {"alice": Sae("a1"), "carol": Sae("a2", beyond="transit"), "tom": Sae("a2", beyond="transit")},
        {"transit": Partner("a2", "t1", "https://t1", "https://a2", synchronous)},
    )
    world.network(
        ["t1", "t2"],
        {"alice": Sae("t1", beyond="west"), "carol": Sae("t2", beyond="east"), "tom": Sae("t1")},
        {
            "west": Partner("t1", "a2", "https://a2", "https://t1", synchronous),
            "east": Partner("t2", "c2", "https://c2", "https://t2", synchronous),
        },
    )
    world.network(
        ["c2", "c1"],
        {"carol": Sae("c1"), "alice": Sae("c2", beyond="transit"), "tom": Sae("c2", beyond="transit")},
        {"transit": Partner("c2", "t2", "https://t2", "https://c2", synchronous)},
    )
    return world
