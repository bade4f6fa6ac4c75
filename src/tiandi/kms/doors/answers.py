"""What all HTTP doors share: how a request is read, how an answer is sent, and how an error becomes an answer.

Doors are ASGI applications on Litestar's routes. They read the scope themselves, since building a request object costs more than all
the rest of a door's work, and since only the raw path tells a slash within an identifier from one between two.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, TypeVar, cast
from urllib.parse import parse_qsl, unquote_to_bytes

import msgspec
from litestar import Request, Response, asgi
from litestar.exceptions import HTTPException, MethodNotAllowedException
from litestar.handlers import ASGIRouteHandler
from litestar.types import ExceptionHandlersMap, HTTPScope, Receive, Scope, Send

from tiandi.errors import (
    AuthenticationFailed,
    InputError,
    KeyNotFound,
    MessageRejected,
    NotAuthorised,
    RequestRefused,
    StateError,
    TiandiError,
)
from tiandi.kms.etsi014 import KEYS_NOT_FOUND, Error
from tiandi.kms.tls.identities import KINDS, SCOPE_KEY, ClientCertificate

BODY_LIMIT_BYTE = 64 * 1024
JSON, MESSAGE_PACK = b"application/json", b"application/msgpack"
PARAMETERS_LIMIT = 16
MESSAGE_LIMIT = 500
REFUSALS_KEY = "tiandi.refusals"
"""Where a scope may have a list, to which doors add why they refuse."""

Format = TypeVar("Format")

# Everything else - too few keys, a relay that stopped, a fault - is 503: nothing was delivered, try again.
_STATUS_CODES: list[tuple[type[TiandiError], int]] = [
    (NotAuthorised, 401),
    (StateError, 503),
    (AuthenticationFailed, 400),
    (InputError, 400),
    (KeyNotFound, 400),
    (MessageRejected, 400),
    (RequestRefused, 400),
]
_NO_STORE = (b"cache-control", b"no-store")
_RETRY_AFTER = ((b"retry-after", b"1"),)
"""Keys are made once a second, where they can be made."""
_log = logging.getLogger("tiandi.kms")


@dataclass(frozen=True, repr=False)
class Answer:
    """Status, body, headers beyond those that every answer has, and the body's media type."""

    status: int
    body: bytes
    headers: tuple[tuple[bytes, bytes], ...] = ()
    media_type: bytes = JSON


Handle = Callable[[HTTPScope, Receive], Awaitable[Answer]]
Refuse = Callable[[Exception], Answer]


class Disconnected(Exception):
    """The client left before its request was whole."""


def answer(body: Any) -> Answer:
    """200 with ``body`` (a msgspec struct) in JSON."""
    return Answer(200, msgspec.json.encode(body))


def refusal(error: Exception) -> Answer:
    """How an error is told: a 014 Error body under the status that fits. Of a fault of ours nothing is told but its name."""
    if isinstance(error, HTTPException):
        headers = tuple((name.lower().encode(), value.encode()) for name, value in (error.headers or {}).items())
        return Answer(error.status_code, _error_body(error.detail), headers)
    if isinstance(error, KeyNotFound):
        return Answer(400, _error_body(KEYS_NOT_FOUND))
    if isinstance(error, TiandiError):
        status = status_code(error)
        return Answer(status, _error_body(str(error)), _RETRY_AFTER if status == 503 else ())
    # Neither the text of the exception nor the values in its frames: either may be key.
    _log.error("fault at a door: %s\n%s", type(error).__name__, "".join(traceback.format_tb(error.__traceback__)))
    return Answer(503, _error_body(f"internal error ({type(error).__name__})"))


def status_code(error: TiandiError) -> int:
    """The HTTP status that an error of ours is told with."""
    return next((code for kind, code in _STATUS_CODES if isinstance(error, kind)), 503)


def _error_body(message: str) -> bytes:
    return msgspec.json.encode(Error(message if len(message) <= MESSAGE_LIMIT else message[:MESSAGE_LIMIT] + "..."))


def route(path: str, handle: Handle, *, refuse: Refuse = refusal, is_mount: bool = False) -> ASGIRouteHandler:
    """A Litestar route that answers with what ``handle`` returns, or with what ``refuse`` makes of the exception it raises."""

    @asgi(path, is_mount=is_mount, copy_scope=False)
    async def door(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            given = await handle(cast(HTTPScope, scope), receive)
        except Disconnected:
            return
        except Exception as error:
            note_refusal(scope, error)
            given = refuse(error)
        length = (b"content-length", b"%d" % len(given.body))
        headers = [(b"content-type", given.media_type), length, _NO_STORE, *given.headers]
        await send({"type": "http.response.start", "status": given.status, "headers": headers})
        await send({"type": "http.response.body", "body": given.body, "more_body": False})

    return door


def note_refusal(scope: Mapping[str, Any], error: Exception) -> None:
    """Tell whoever counts refusals by their reason, if anybody does."""
    noted = scope.get(REFUSALS_KEY)
    if noted is not None:
        noted.append("HTTPException" if isinstance(error, HTTPException) else type(error).__name__)


def document_route(name: str) -> ASGIRouteHandler:
    """GET /openapi/``name``, the OpenAPI document of that name in `tiandi.kms.openapi`, for every caller with a certificate of ours."""
    body = files("tiandi.kms").joinpath("openapi", name).read_bytes()

    async def handle(scope: HTTPScope, _: Receive) -> Answer:
        certificate = (scope.get("extensions") or {}).get(SCOPE_KEY)
        if not isinstance(certificate, ClientCertificate) or not any(certificate.is_of(kind) for kind in KINDS):
            raise NotAuthorised("this door is for callers with a certificate")
        require_method(scope, ["GET"])
        return Answer(200, body)

    return route(f"/openapi/{name}", handle)


def _refuse_anywhere(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    note_refusal(request.scope, error)
    given = refusal(error)
    headers = {name.decode(): value.decode() for name, value in (_NO_STORE, *given.headers)}
    return Response(given.body, status_code=given.status, media_type="application/json", headers=headers)


EXCEPTION_HANDLERS: ExceptionHandlersMap = {
    HTTPException: _refuse_anywhere,
    Exception: _refuse_anywhere,
}
"""For the application: what no door answers (a path that nobody serves, a bad Host) is refused like the rest."""


def require_method(scope: HTTPScope, allowed: Collection[str]) -> None:
    """Raise MethodNotAllowedException (405), with the Allow header, unless the request's method is one of ``allowed``."""
    if scope["method"] not in allowed:
        raise MethodNotAllowedException("method not allowed", headers={"Allow": ", ".join(allowed)})


def path_segments(scope: HTTPScope) -> list[str]:
    """The path, percent-decoded after it is split; empty segments are left out, so a slash may be doubled or trail.

    Raises InputError for a segment that is not UTF-8.
    """
    try:
        return [unquote_to_bytes(part).decode() for part in scope["raw_path"].split(b"/") if part]
    except UnicodeDecodeError:
        raise InputError("path", scope["path"], "must be UTF-8, percent-encoded") from None


def parameters(scope: HTTPScope, allowed: Collection[str]) -> dict[str, str]:
    """The query's parameters. Raises InputError for any that is not ``allowed``, is given twice or is not UTF-8."""
    query = scope["query_string"]
    if not query:
        return {}
    try:
        pairs = parse_qsl(query.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=PARAMETERS_LIMIT)
    except ValueError:
        raise InputError("query", query[:64], f"must be at most {PARAMETERS_LIMIT} parameters in UTF-8, percent-encoded") from None
    given = dict(pairs)
    if unknown := given.keys() - set(allowed):
        must = f"only {', '.join(allowed)} may be given" if allowed else "no parameter may be given here"
        raise InputError("query", sorted(unknown), must)
    if len(given) < len(pairs):
        raise InputError("query", [name for name, _ in pairs], "each parameter may be given once")
    return given


def whole_number(field: str, text: str) -> int:
    """A number from a query. Raises InputError unless it is decimal digits, 15 at most."""
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 15):
        raise InputError(field, text[:64], "must be a whole number")
    return int(text)


async def read_body(scope: HTTPScope, receive: Receive, *, limit_byte: int = BODY_LIMIT_BYTE, media_type: bytes = JSON) -> bytes:
    """The body, which must be of ``media_type`` as far as its headers tell.

    Raises HTTPException 413 above ``limit_byte`` and 415 for another type or coding, Disconnected when the client has left.
    """
    headers = dict(scope["headers"])
    announced = headers.get(b"content-length", b"0")
    if announced.isdigit() and int(announced[:20]) > limit_byte:
        raise _too_large(limit_byte)
    chunks: list[bytes] = []
    length_byte = 0
    more = True
    while more:
        message = await receive()
        if message["type"] != "http.request":
            raise Disconnected
        chunks.append(message.get("body", b""))
        length_byte += len(chunks[-1])
        if length_byte > limit_byte:
            raise _too_large(limit_byte)
        more = message.get("more_body", False)
    if length_byte:
        _require_type(headers, media_type)
    return b"".join(chunks)


def decode(body: bytes, decoder: msgspec.json.Decoder[Format]) -> Format:
    """The body as what ``decoder`` reads. Raises InputError that names what is wrong in it, without quoting it."""
    try:
        return decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InputError("body", f"{len(body)} bytes", str(error)) from None


def _too_large(limit_byte: int) -> HTTPException:
    return HTTPException(status_code=413, detail=f"the body must not exceed {limit_byte} bytes")


def _require_type(headers: Mapping[bytes, bytes], media_type: bytes) -> None:
    if headers.get(b"content-type", media_type).split(b";")[0].strip().lower() != media_type:
        raise HTTPException(status_code=415, detail=f"Content-Type must be {media_type.decode()}")
    if headers.get(b"content-encoding", b"identity").strip().lower() != b"identity":
        raise HTTPException(status_code=415, detail="Content-Encoding must be identity")
