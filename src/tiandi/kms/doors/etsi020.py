"""The door for KMEs of other networks: ETSI GS QKD 020 V1.1.1.

A KME serves it for each partner on a port of its own, whose TLS trusts that partner's authority and no other: what one network's
authority signs speaks for nobody of another. Requests are in application/json, and so are errors, as in the standard's description.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Any, Protocol, TypeVar

import msgspec
from litestar.exceptions import HTTPException
from litestar.handlers import ASGIRouteHandler
from litestar.types import HTTPScope, Receive

from tiandi.errors import InputError, KeysExhausted, NoRoute, NotAuthorised, StateError
from tiandi.kms.doors.answers import Answer, decode, document_route, parameters, read_body, refusal, require_method, route
from tiandi.kms.etsi020 import (
    ACK_PATH,
    KEYS_PATH,
    PROBLEMS,
    SYNCHRONOUS_MODE,
    VERSIONS_PATH,
    VOID_PATH,
    AckContainer,
    AckContainers,
    KeyContainer,
    Problem,
    ProblemDetails,
    VersionContainer,
    VoidContainer,
)
from tiandi.kms.tls.identities import caller_identity

BODY_LIMIT_BYTE = 8 * 1024 * 1024
MESSAGE_LIMIT = 500

Request = TypeVar("Request")
_KINDS = {
    KEYS_PATH: "invalid-parameter",
    ACK_PATH: "ack-not-understood",
    VOID_PATH: "void-request-not-understood",
    VERSIONS_PATH: "invalid-parameter",
}
_TOLD: dict[type[Exception], tuple[int, str, str]] = {
    NotAuthorised: (401, "unauthorized", "unauthorized"),
    TimeoutError: (408, "timeout", "timeout"),
    NoRoute: (503, "key-routing-error", "no_known_route"),
    KeysExhausted: (503, "insufficient-key-material", "insufficient_key_material"),
}


class Border(Protocol):
    """What stands behind this door."""

    def partner_of(self, kme_id: str, among: Collection[str] | None = None) -> str: ...

    async def receive_keys(self, partner: str, request: KeyContainer, /) -> list[AckContainer] | None: ...

    async def receive_acks(self, partner: str, acks: Sequence[AckContainer], /) -> None: ...

    async def receive_void(self, partner: str, request: VoidContainer, /) -> list[AckContainer] | None: ...


def routes(border: Border, partners: Collection[str] | None = None) -> list[ASGIRouteHandler]:
    """The routes of this door for some partners, or for all, and of its OpenAPI document."""

    async def versions(_: str, __: Any) -> Answer:
        return Answer(200, msgspec.json.encode(VersionContainer(["v1"], [SYNCHRONOUS_MODE])))

    async def keys(partner: str, request: KeyContainer) -> Answer:
        return _accepted(await border.receive_keys(partner, request))

    async def acks(partner: str, request: list[AckContainer]) -> Answer:
        await border.receive_acks(partner, request)
        return Answer(200, b"")

    async def void(partner: str, request: VoidContainer) -> Answer:
        return _accepted(await border.receive_void(partner, request))

    def door(path: str, kind: Any, receive_request: Callable[[str, Any], Awaitable[Answer]]) -> ASGIRouteHandler:
        decoder: msgspec.json.Decoder[Any] | None = None if kind is None else msgspec.json.Decoder(kind)

        async def handle(scope: HTTPScope, receive: Receive) -> Answer:
            partner = border.partner_of(caller_identity(scope, "kme"), partners)
            require_method(scope, ["GET" if decoder is None else "POST"])
            parameters(scope, ())
            if decoder is None:
                return await receive_request(partner, None)
            return await receive_request(partner, decode(await read_body(scope, receive, limit_byte=BODY_LIMIT_BYTE), decoder))

        return route(path, handle, refuse=lambda error: problem(error, _KINDS[path]))

    return [
        door(VERSIONS_PATH, None, versions),
        door(KEYS_PATH, KeyContainer, keys),
        door(ACK_PATH, AckContainers, acks),
        door(VOID_PATH, VoidContainer, void),
        document_route("etsi020.json"),
    ]


def _accepted(acks: list[AckContainer] | None) -> Answer:
    return Answer(202, b"") if acks is None else Answer(200, msgspec.json.encode(acks))


def problem(error: Exception, bad_request: str) -> Answer:
    """How an error is told: problem details, of type ``bad_request`` where the request cannot be understood."""
    if isinstance(error, Problem):
        return _problem(error.status, error.kind, error.details)
    if isinstance(error, HTTPException):
        headers = tuple((name.lower().encode(), value.encode()) for name, value in (error.headers or {}).items())
        # The standard knows of no 413.
        status, kind = (400, bad_request) if error.status_code == 413 else (error.status_code, "invalid-request")
        return _problem(status, kind, {kind.replace("-", "_"): error.detail}, headers)
    if isinstance(error, InputError) and not isinstance(error, StateError):
        return _problem(400, bad_request, {bad_request.replace("-", "_"): str(error)})
    for known, (status, kind, name) in _TOLD.items():
        if isinstance(error, known):
            return _problem(status, kind, {name: str(error) or "The keys are still on their way; ask again."})
    text = msgspec.json.decode(refusal(error).body)["message"]  # Which has logged a fault of ours, and tells no more than its name.
    return _problem(503, "server-side-general-error", {"server_side_general_error": text})


def _problem(status: int, kind: str, details: dict[str, str], headers: tuple[tuple[bytes, bytes], ...] = ()) -> Answer:
    told = {name: text if len(text) <= MESSAGE_LIMIT else text[:MESSAGE_LIMIT] + "..." for name, text in details.items()}
    body = ProblemDetails(PROBLEMS + kind, status, kind.replace("-", " "), told)
    return Answer(status, msgspec.json.encode(body), headers)
