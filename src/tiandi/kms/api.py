"""The HTTPS doors of a KME: ETSI GS QKD 014 for SAEs, relay and hand-over for other KMEs.

Who calls is read from the client certificate that TLS has verified. Every refusal carries a 014 Error body.
"""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec
from litestar import Litestar, Request, Response, get, post
from litestar.enums import MediaType
from litestar.exceptions import HTTPException
from litestar.params import FromPath

from tiandi.errors import AuthenticationFailed, InputError, KeyNotFound, NotAuthorised, RequestRefused, StateError, TiandiError
from tiandi.kms import etsi014
from tiandi.kms.entity import HAND_OVER_PATH, RELAY_PATH, KeyManagementEntity
from tiandi.kms.relay import HandOver, RelayRequest
from tiandi.kms.store import SupplyKey
from tiandi.kms.tls import caller_identity

SUPPLY_BODY_LIMIT_BYTE = 64 * 1024
NEIGHBOUR_BODY_LIMIT_BYTE = 16 * 1024 * 1024

Format = TypeVar("Format")

# Everything else - too few keys, a relay that stopped, a fault - is 503: nothing was delivered, try again.
_STATUS_CODES: list[tuple[type[TiandiError], int]] = [
    (NotAuthorised, 401),
    (KeyNotFound, 400),
    (AuthenticationFailed, 400),
    (StateError, 503),
    (InputError, 400),
    (RequestRefused, 400),
]


def create_app(kme: KeyManagementEntity) -> Litestar:
    """The ASGI application of one KME."""

    @get("/api/v1/keys/{slave:str}/status", sync_to_thread=False)
    def get_status(slave: FromPath[str], request: Request[Any, Any, Any]) -> Response[bytes]:
        return _json(kme.status(caller_identity(request.scope, "sae"), slave))

    @get("/api/v1/keys/{slave:str}/enc_keys", sync_to_thread=False)
    def get_keys_simple(slave: FromPath[str], request: Request[Any, Any, Any]) -> Response[bytes]:
        caller = caller_identity(request.scope, "sae")
        return _container(kme.get_keys(caller, slave, _query_request(request, {"number", "size"}, etsi014.KeyRequest)))

    @post("/api/v1/keys/{slave:str}/enc_keys", status_code=200, request_max_body_size=SUPPLY_BODY_LIMIT_BYTE)
    async def get_keys(slave: FromPath[str], request: Request[Any, Any, Any]) -> Response[bytes]:
        caller = caller_identity(request.scope, "sae")
        return _container(kme.get_keys(caller, slave, _decode(await request.body() or b"{}", etsi014.KeyRequest)))

    @get("/api/v1/keys/{master:str}/dec_keys", sync_to_thread=False)
    def get_key_with_id_simple(master: FromPath[str], request: Request[Any, Any, Any]) -> Response[bytes]:
        caller = caller_identity(request.scope, "sae")
        wanted = _query_request(request, {"key_ID"}, etsi014.KeyID)
        return _container(kme.get_keys_with_ids(caller, master, [wanted.key_ID]))

    @post("/api/v1/keys/{master:str}/dec_keys", status_code=200, request_max_body_size=SUPPLY_BODY_LIMIT_BYTE)
    async def get_keys_with_ids(master: FromPath[str], request: Request[Any, Any, Any]) -> Response[bytes]:
        caller = caller_identity(request.scope, "sae")
        wanted = _decode(await request.body(), etsi014.KeyIDs)
        return _container(kme.get_keys_with_ids(caller, master, [item.key_ID for item in wanted.key_IDs]))

    @post(RELAY_PATH, status_code=204, request_max_body_size=NEIGHBOUR_BODY_LIMIT_BYTE)
    async def relay(request: Request[Any, Any, Any]) -> None:
        sender = caller_identity(request.scope, "kme")
        await kme.receive_relay(sender, _decode(await request.body(), RelayRequest))

    @post(HAND_OVER_PATH, status_code=204, request_max_body_size=NEIGHBOUR_BODY_LIMIT_BYTE)
    async def hand_over(request: Request[Any, Any, Any]) -> None:
        sender = caller_identity(request.scope, "kme")
        kme.receive_hand_over(sender, _decode(await request.body(), HandOver))

    return Litestar(
        route_handlers=[get_status, get_keys_simple, get_keys, get_key_with_id_simple, get_keys_with_ids, relay, hand_over],
        exception_handlers={TiandiError: _refuse, HTTPException: _refuse_http, Exception: _refuse_fault},
        openapi_config=None,
        logging_config=None,
    )


def _json(body: msgspec.Struct, status_code: int = 200) -> Response[bytes]:
    return Response(msgspec.json.encode(body), status_code=status_code, media_type=MediaType.JSON, headers={"Cache-Control": "no-store"})


def _container(keys: list[SupplyKey]) -> Response[bytes]:
    return _json(etsi014.KeyContainer([etsi014.Key(item.key_id, item.key) for item in keys]))


def _decode(body: bytes, as_type: type[Format]) -> Format:
    """The body as ``as_type``. Raises InputError that names what is wrong in it."""
    try:
        return msgspec.json.decode(body, type=as_type)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InputError("body", f"{len(body)} bytes", str(error)) from None


def _query_request(request: Request[Any, Any, Any], allowed: set[str], as_type: type[Format]) -> Format:
    """A request of the simple GET form from its query parameters, each at most once."""
    pairs = list(request.query_params.multi_items())
    names = [name for name, _ in pairs]
    if unknown := set(names) - allowed:
        raise InputError("query", sorted(unknown), f"only {', '.join(sorted(allowed))} may be given; use POST for more")
    if len(set(names)) < len(names):
        raise InputError("query", names, "each parameter may be given once")
    try:
        return msgspec.convert(dict(pairs), type=as_type, strict=False)
    except msgspec.ValidationError as error:
        raise InputError("query", dict(pairs), str(error)) from None


def _refuse(_: Request[Any, Any, Any], error: TiandiError) -> Response[bytes]:
    status = next((code for kind, code in _STATUS_CODES if isinstance(error, kind)), 503)
    if isinstance(error, KeyNotFound):
        return _json(etsi014.Error(etsi014.KEYS_NOT_FOUND), status)
    return _json(etsi014.Error(str(error)), status)


def _refuse_fault(_: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """A fault of ours: nothing was delivered, and nothing of it is told."""
    return _json(etsi014.Error(f"internal error ({type(error).__name__})"), 503)


def _refuse_http(_: Request[Any, Any, Any], error: HTTPException) -> Response[bytes]:
    return _json(etsi014.Error(error.detail), error.status_code)
