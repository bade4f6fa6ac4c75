"""The door for SAEs: ETSI GS QKD 014 V1.1.1, its three methods by GET and POST.

Where the standard is silent: unknown members of a body and extensions kept for future use are ignored, unknown parameters of a query
are refused (the standard lets a GET carry no others), and so is a query beside a body. An identifier of an SAE in the path may be
percent-encoded in any way.
"""

from __future__ import annotations

from typing import Protocol
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
    document_route,
    parameters,
    path_segments,
    read_body,
    require_method,
    route,
    whole_number,
)
from tiandi.kms.etsi014 import Key, KeyContainer, KeyIDs, KeyRequest, Limits, Status, key_request_type
from tiandi.kms.keys import SupplyKey
from tiandi.kms.tls.identities import caller_identity, require_identity

PATH = "/api/v1/keys"
METHODS = {"status": ("GET",), "enc_keys": ("GET", "POST"), "dec_keys": ("GET", "POST")}
PARAMETERS = {"status": (), "enc_keys": ("number", "size"), "dec_keys": ("key_ID",)}


class Supplier(Protocol):
    """What stands behind this door."""

    limits: Limits

    async def status(self, caller_sae: str, slave_sae: str, /) -> Status: ...

    async def get_keys(self, caller_sae: str, slave_sae: str, request: KeyRequest, /) -> list[SupplyKey]: ...

    async def get_keys_with_ids(self, caller_sae: str, master_sae: str, key_ids: list[UUID], /) -> list[SupplyKey]: ...


class _Door:
    def __init__(self, entity: Supplier) -> None:
        self._entity = entity
        self._request_type = key_request_type(entity.limits)
        self._key_request = msgspec.json.Decoder(self._request_type)
        self._key_ids = msgspec.json.Decoder(KeyIDs)

    async def handle(self, scope: HTTPScope, receive: Receive) -> Answer:
        caller = caller_identity(scope, "sae")
        segments = path_segments(scope)
        if len(segments) != 5 or segments[:3] != ["api", "v1", "keys"] or segments[4] not in METHODS:
            raise NotFoundException("no such path")
        _, _, _, other, method = segments
        require_method(scope, METHODS[method])
        is_post = scope["method"] == "POST"
        given = parameters(scope, () if is_post else PARAMETERS[method])
        require_identity(other, "master_SAE_ID" if method == "dec_keys" else "slave_SAE_ID")
        if method == "status":
            return answer(await self._entity.status(caller, other))
        body = await read_body(scope, receive) if is_post else None
        if method == "enc_keys":
            request = self._asked_by_get(given) if body is None else decode(body or b"{}", self._key_request)
            return _container(await self._entity.get_keys(caller, other, request))
        key_ids = [_key_id(given)] if body is None else decode(body, self._key_ids).require(self._entity.limits)
        return _container(await self._entity.get_keys_with_ids(caller, other, key_ids))

    def _asked_by_get(self, given: dict[str, str]) -> KeyRequest:
        return msgspec.convert({name: whole_number(name, text) for name, text in given.items()}, self._request_type)


def routes(entity: Supplier) -> list[ASGIRouteHandler]:
    """The routes of this door, and of its OpenAPI document."""
    return [route(PATH, _Door(entity).handle, is_mount=True), document_route("etsi014.json")]


def _key_id(given: dict[str, str]) -> UUID:
    if "key_ID" not in given:
        raise InputError("key_ID", None, "must be given; use POST for more than one")
    try:
        return msgspec.convert(given["key_ID"], UUID)
    except msgspec.ValidationError:
        raise InputError("key_ID", given["key_ID"][:64], "must be a UUID") from None


def _container(keys: list[SupplyKey]) -> Answer:
    return answer(KeyContainer([Key(item.key_id, item.key) for item in keys]))
