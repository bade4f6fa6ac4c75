"""KMEs that somebody operates: the network of `tests.kms.network`, with what operators see and do at each."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
from litestar.types import ASGIApp, Receive, Scope, Send

from tests.kms.doors import application
from tests.kms.network import IN_MEMORY, Network, master_key_file, own_clock
from tiandi.kms import etsi014
from tiandi.kms.directory import Sae
from tiandi.kms.doors import etsi014 as etsi014_door
from tiandi.kms.doors import operations as operations_door
from tiandi.kms.entity import KeyManagementEntity
from tiandi.kms.keys import SupplyKey
from tiandi.kms.operating.metrics import Metrics
from tiandi.kms.operating.operations import TABLES, Operations
from tiandi.kms.store.database import Database
from tiandi.kms.store.master_keys import MasterKey, open_master_key
from tiandi.kms.store.sqlite_database import SqliteDatabase
from tiandi.kms.tls.identities import SCOPE_KEY, ClientCertificate, IdentityKind

OPERATOR = "olga"


@dataclass
class Operated(Network):
    """A network whose KMEs have operators. Nothing is looked after but when a test says so."""

    operations: dict[str, Operations] = field(default_factory=dict)
    apps: dict[str, ASGIApp] = field(default_factory=dict)

    @property
    def master_key(self) -> MasterKey:
        return open_master_key(f"file:{master_key_file(self.folder)}")

    async def open(self, name: str, database: Database | None = None) -> KeyManagementEntity:
        async def post(kme: str, path: str, body: bytes) -> bytes:
            return await self._post(name, kme, path, body)

        self.directory.kme_addresses[name] = f"https://{name}"
        metrics = Metrics(name)
        store = metrics.measured(database or SqliteDatabase(IN_MEMORY))
        entity = await KeyManagementEntity.open(name, store, self.master_key, directory=self.directory, post=post, tables=TABLES)
        self.entities[name] = entity
        self.operations[name] = Operations(entity, master_key=self.master_key, metrics=metrics)
        app = application([*etsi014_door.routes(entity), *operations_door.routes(self.operations[name])])
        self.apps[name] = metrics.counting(app)
        return entity

    async def ask(
        self, kme: str, method: str, path: str, *, who: str = OPERATOR, kind: IdentityKind = "operator", **more: Any
    ) -> httpx.Response:
        """One request of somebody at a KME."""
        certificate = ClientCertificate(((kind, who),), issuer=b"", serial=1, fingerprint="", starts=0, expires=2e9)

        async def call(scope: Scope, receive: Receive, send: Send) -> None:
            await self.apps[kme]({**scope, "extensions": {SCOPE_KEY: certificate}}, receive, send)

        async with httpx.AsyncClient(transport=httpx.ASGITransport(app=call), base_url=f"https://{kme}") as client:
            return await client.request(method, path, **more)

    async def get(self, kme: str, path: str) -> Any:
        answer = await self.ask(kme, "GET", path)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def void(self, kme: str, **what: Any) -> dict[str, Any]:
        answer = await self.ask(kme, "POST", "/admin/v1/void", json=what)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    async def keys(self, number: int = 3, size_bit: int = 256) -> list[SupplyKey]:
        """Keys that alice is given for bob; returns when nobody tops up any more."""
        home = self.entities[self.directory.home("alice")]
        found = await home.get_keys("alice", "bob", etsi014.KeyRequest(number=number, size=size_bit))
        while home.supply._task is not None and not home.supply._task.done():
            await asyncio.sleep(0.005)
        return found

    async def fetched(self, keys: list[SupplyKey]) -> list[SupplyKey]:
        """The same keys, fetched by bob."""
        home = self.entities[self.directory.home("bob")]
        return await home.get_keys_with_ids("bob", "alice", [key.key_id for key in keys])


@asynccontextmanager
async def operated(folder: Path, *names: str, databases: dict[str, Database] | None = None) -> AsyncIterator[Operated]:
    """KMEs in a row, alice at the first, bob at the last, with link key on each hop."""
    with own_clock() as clock:
        network = Operated(folder, clock)
        try:
            for name in names:
                await network.open(name, (databases or {}).get(name))
            network.directory.saes |= {"alice": Sae(names[0]), "bob": Sae(names[-1])}
            places = {name: number for number, name in enumerate(names)}

            def find(source: str, target: str, *_: object) -> list[list[str]]:
                here, there = places[source], places[target]
                return [list(names[here : there + 1] if here < there else names[there : here + 1][::-1])]

            network.directory.find_routes = find
            for first, second in pairwise(names):
                await network.link(first, second)
            yield network
        finally:
            for entity in network.entities.values():
                await entity.close()
