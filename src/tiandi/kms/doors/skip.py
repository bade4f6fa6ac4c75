"""The door for encryptors that speak SKIP (draft-cisco-skip-02): /capabilities, /key, /key/{keyId} and /entropy, all by GET.

Status codes are the draft's: 400 for what is asked wrongly or not there, 404, 405, 500 for a fault, 503 for want of randomness. Where it
is silent: 503 also for want of key, 401 for a certificate of no SAE. A key of others is "not found", as one that was never there.
"""

from __future__ import annotations

from typing import Protocol
from uuid import UUID

from litestar.exceptions import HTTPException, NotFoundException
from litestar.handlers import ASGIRouteHandler
from litestar.types import HTTPScope, Receive

from tiandi.errors import InputError, KeyNotFound, NotAuthorised, TiandiError
from tiandi.kms.doors.answers import Answer, answer, document_route, parameters, path_segments, refusal, require_method, route, whole_number
from tiandi.kms.etsi014 import KeyRequest, Limits
from tiandi.kms.keys import SupplyKey
from tiandi.kms.skip import (
    ALGORITHM,
    DEFAULT_ENTROPY_BIT,
    Capabilities,
    Key,
    Systems,
    key_identifier,
    parse_key_identifier,
    random_string,
)
from tiandi.kms.tls.identities import caller_identity


class Supplier(Protocol):
    """What stands behind this door."""

    limits: Limits

    async def get_keys(self, caller_sae: str, slave_sae: str, request: KeyRequest, /) -> list[SupplyKey]: ...

    async def get_keys_with_ids(self, caller_sae: str, master_sae: str, key_ids: list[UUID], /) -> list[SupplyKey]: ...


class _Door:
    def __init__(self, entity: Supplier, systems: Systems) -> None:
        self._entity = entity
        self._systems = systems

    async def capabilities(self, scope: HTTPScope, _: Receive) -> Answer:
        caller, _given = _asked(scope, ())
        local, remote = self._systems.local_system(caller), list(self._systems.remote)
        return answer(Capabilities(entropy=True, key=True, algorithm=ALGORITHM, localSystemID=local, remoteSystemID=remote))

    async def key(self, scope: HTTPScope, _: Receive) -> Answer:
        """/key and /key/{keyId}: both, since Litestar gives an ASGI application no parameters of its path."""
        match path_segments(scope):
            case ["key"]:
                return await self._new_key(scope)
            case ["key", key_id]:
                return await self._key_by_id(scope, key_id)
        raise NotFoundException("no such path")

    async def _new_key(self, scope: HTTPScope) -> Answer:
        caller, given = _asked(scope, ("remoteSystemID", "size"))
        slave = self._systems.sae(_remote(given))
        size_bit = whole_number("size", given["size"]) if "size" in given else self._entity.limits.key_size
        return _one(await self._entity.get_keys(caller, slave, KeyRequest(size=size_bit)))

    async def _key_by_id(self, scope: HTTPScope, text: str) -> Answer:
        caller, given = _asked(scope, ("remoteSystemID",))
        master = self._systems.sae(_remote(given))
        key_id = parse_key_identifier(text)
        try:
            return _one(await self._entity.get_keys_with_ids(caller, master, [key_id]))
        except NotAuthorised:
            raise KeyNotFound(str(key_id)) from None

    async def entropy(self, scope: HTTPScope, _: Receive) -> Answer:
        _caller, given = _asked(scope, ("minentropy",))
        return answer(random_string(whole_number("minentropy", given["minentropy"]) if "minentropy" in given else DEFAULT_ENTROPY_BIT))


def routes(entity: Supplier, systems: Systems) -> list[ASGIRouteHandler]:
    """The routes of this door, and of its OpenAPI document."""
    door = _Door(entity, systems)
    return [
        route("/capabilities", door.capabilities, refuse=_refuse),
        route("/key", door.key, refuse=_refuse, is_mount=True),
        route("/entropy", door.entropy),
        document_route("skip.json"),
    ]


def _asked(scope: HTTPScope, allowed: tuple[str, ...]) -> tuple[str, dict[str, str]]:
    caller = caller_identity(scope, "sae")
    require_method(scope, ("GET",))
    return caller, parameters(scope, allowed)


def _remote(given: dict[str, str]) -> str:
    if "remoteSystemID" not in given:
        raise InputError("remoteSystemID", None, "must be given")
    return given["remoteSystemID"]


def _one(keys: list[SupplyKey]) -> Answer:
    (item,) = keys
    return answer(Key(key_identifier(item.key_id), item.key.hex()))


def _refuse(error: Exception) -> Answer:
    """As elsewhere, but for a fault of ours: there the draft has 500."""
    given = refusal(error)
    return given if isinstance(error, TiandiError | HTTPException) else Answer(500, given.body)
