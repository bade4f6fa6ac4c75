"""Doors in process: a small honest supplier behind them, and callers with the certificate that TLS would have verified."""

from __future__ import annotations

import asyncio
import os
from collections import defaultdict
from collections.abc import Sequence
from typing import Any
from uuid import UUID, uuid4

import httpx
from litestar import Litestar
from litestar.handlers import ASGIRouteHandler
from litestar.types import ASGIApp, Receive, Scope, Send

from tiandi.errors import InputError, KeyNotFound, KeysExhausted, NotAuthorised
from tiandi.kms.doors.answers import EXCEPTION_HANDLERS
from tiandi.kms.etsi014 import EXTENSION_NOT_MET, KeyRequest, Limits, RequestRefused, Status, SupplyOptions
from tiandi.kms.keys import SupplyKey
from tiandi.kms.tls.identities import SCOPE_KEY, ClientCertificate

SAES = ("alice", "bob", "carol", "dave", "probe")
PROBE = "probe"
"""The one SAE that may pair with itself."""


class Supply:
    """Both KMEs of a pair of nodes in one: keys are fetched once by the master and once by each slave."""

    def __init__(self, limits: Limits, stock_bit: int = 2**16) -> None:
        self.limits = limits
        self.stock_bit = stock_bit
        self.asked: list[KeyRequest] = []
        self._waiting: dict[UUID, dict[str, bytes]] = defaultdict(dict)
        self._masters: dict[UUID, str] = {}

    async def status(self, caller_sae: str, slave_sae: str) -> Status:
        _require_pair(caller_sae, slave_sae)
        limits = self.limits
        return Status(
            source_KME_ID="kme-0",
            target_KME_ID="kme-1",
            master_SAE_ID=caller_sae,
            slave_SAE_ID=slave_sae,
            key_size=limits.key_size,
            stored_key_count=self.stock_bit // limits.key_size,
            max_key_count=limits.max_key_count,
            max_key_per_request=limits.max_key_per_request,
            max_key_size=limits.max_key_size,
            min_key_size=limits.min_key_size,
            max_SAE_ID_count=limits.max_SAE_ID_count,
        )

    async def get_keys(self, caller_sae: str, slave_sae: str, request: KeyRequest) -> list[SupplyKey]:
        _require_pair(caller_sae, slave_sae)
        request.require(self.limits)
        slaves = request.slaves(caller_sae, slave_sae)
        for slave in slaves:
            _require_known(slave)
        if request.mandatory_options() != SupplyOptions():
            raise RequestRefused(EXTENSION_NOT_MET)
        wanted_bit = request.number * request.size
        if wanted_bit > self.stock_bit:
            raise KeysExhausted("the pair", self.stock_bit, wanted_bit)
        self.stock_bit -= wanted_bit
        self.asked.append(request)
        keys = [SupplyKey(uuid4(), os.urandom(request.size // 8)) for _ in range(request.number)]
        for item in keys:
            self._masters[item.key_id] = caller_sae
            self._waiting[item.key_id] = dict.fromkeys(slaves, item.key)
        return keys

    async def get_keys_with_ids(self, caller_sae: str, master_sae: str, key_ids: list[UUID]) -> list[SupplyKey]:
        _require_known(master_sae)
        for key_id in key_ids:
            if self._masters.get(key_id) != master_sae:
                raise KeyNotFound(str(key_id))
            if caller_sae not in self._waiting[key_id]:
                raise NotAuthorised(f"a key of {master_sae} is not {caller_sae}'s")
        if any(not self._waiting[key_id][caller_sae] for key_id in key_ids):
            raise KeyNotFound("handed out")
        keys = [SupplyKey(key_id, self._waiting[key_id][caller_sae]) for key_id in key_ids]
        for key_id in key_ids:
            self._waiting[key_id][caller_sae] = b""
        return keys


def _require_known(sae: str) -> None:
    if sae not in SAES:
        raise InputError("SAE_ID", sae, "no KME of this network knows that SAE")


def _require_pair(caller: str, slave: str) -> None:
    if slave == caller != PROBE:
        raise InputError("slave_SAE_ID", slave, "must be another SAE than the caller")
    _require_known(slave)


def application(routes: Sequence[ASGIRouteHandler]) -> Litestar:
    return Litestar(routes, exception_handlers=EXCEPTION_HANDLERS, openapi_config=None, logging_config=None)


def with_certificate(app: ASGIApp, sae: str | None) -> ASGIApp:
    """``app`` as it is called when TLS has verified the certificate of ``sae``, or none."""
    identities = (("sae", sae),) if sae else ()
    certificate = ClientCertificate(identities=identities, issuer=b"", serial=1, fingerprint="", starts=0, expires=2e9)

    async def call(scope: Scope, receive: Receive, send: Send) -> None:
        await app({**scope, "extensions": {SCOPE_KEY: certificate}}, receive, send)

    return call


def ask(app: ASGIApp, sae: str | None, method: str, path: str, **more: Any) -> httpx.Response:
    """One request of ``sae``."""

    async def run() -> httpx.Response:
        transport = httpx.ASGITransport(app=with_certificate(app, sae), raise_app_exceptions=True)
        async with httpx.AsyncClient(transport=transport, base_url="https://kme-0") as client:
            return await client.request(method, path, **more)

    return asyncio.run(run())
