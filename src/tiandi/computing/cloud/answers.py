"""How the cloud's doors read a request and answer it. Errors are problem details (RFC 9457) and quote no key and no program.

Doors are ASGI functions on Litestar's routes; a dialect brings its own ``refuse``, for clients that expect other words.
"""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, TypeVar, cast
from urllib.parse import parse_qsl, unquote_to_bytes

import msgspec
from litestar import Request, Response, asgi
from litestar.exceptions import HTTPException, MethodNotAllowedException, NotFoundException
from litestar.handlers import ASGIRouteHandler
from litestar.types import ExceptionHandlersMap, HTTPScope, Receive, Scope, Send

from tiandi.computing.cloud.jobs import JobConflict, JobNotFound, QuotaExceeded
from tiandi.errors import InputError, NotAuthorised, StateError, TiandiError

BODY_LIMIT_BYTE = 8 << 20
BODY_TIMEOUT_S = 30.0
PARAMETERS_LIMIT = 16
QUOTED_LETTERS = 100
DETAIL_LETTERS = 1000
JSON, PROBLEM = b"application/json", b"application/problem+json"

Format = TypeVar("Format")

_STATUS: list[tuple[type[TiandiError], int]] = [
    (NotAuthorised, 401),
    (JobNotFound, 404),
    (JobConflict, 409),
    (QuotaExceeded, 429),
    (StateError, 503),
    (InputError, 400),
]
_NO_SNIFF = (b"x-content-type-options", b"nosniff")
_NO_STORE = (b"cache-control", b"no-store")
_log = logging.getLogger("tiandi.cloud")


class Problem(msgspec.Struct, frozen=True, omit_defaults=True):
    """An error: ``field``, ``value`` and ``limit`` say what was given and what would do, where it is about something given."""

    title: str
    status: int
    detail: str
    type: str = "about:blank"
    field: str | None = None
    value: str | None = None
    limit: str | None = None


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


def answer(body: Any, status: int = 200) -> Answer:
    """``body`` (anything that msgspec knows) in JSON."""
    return Answer(status, msgspec.json.encode(body))


def status_code(error: Exception) -> int:
    """The HTTP status that an error is told with."""
    if isinstance(error, HTTPException):
        return error.status_code
    return next((code for kind, code in _STATUS if isinstance(error, kind)), 500)


def refusal(error: Exception) -> Answer:
    """How an error is told. Of a fault of ours nothing is told but that it is one."""
    status = status_code(error)
    headers: list[tuple[bytes, bytes]] = []
    field = value = limit = None
    if isinstance(error, HTTPException):
        detail = error.detail
        headers = [(name.lower().encode(), text.encode()) for name, text in (error.headers or {}).items()]
    elif isinstance(error, InputError):
        detail, field, value, limit = str(error), error.field, _short(str(error.value), QUOTED_LETTERS), error.limit
    elif isinstance(error, TiandiError) and status != 500:
        detail = str(error)
    else:
        note_fault(error)
        detail = "a fault of the cloud; it is in its log"
    if status == 401:
        headers.append((b"www-authenticate", b'Bearer realm="tiandi cloud"'))
    if status in (429, 503):
        headers.append((b"retry-after", b"1"))
    problem = Problem(HTTPStatus(status).phrase, status, _short(detail, DETAIL_LETTERS), field=field, value=value, limit=limit)
    return Answer(status, msgspec.json.encode(problem), tuple(headers), PROBLEM)


def note_fault(error: Exception) -> None:
    """Log where a fault is; neither its text nor the values around it, since either may be a key."""
    _log.error("fault at a door: %s\n%s", type(error).__name__, "".join(traceback.format_tb(error.__traceback__)))


def _short(text: str, letters: int) -> str:
    return text if len(text) <= letters else text[:letters] + "..."


def route(path: str, handle: Handle, *, refuse: Refuse = refusal, is_mount: bool = False) -> ASGIRouteHandler:
    """A Litestar route that answers with what ``handle`` returns, or with what ``refuse`` makes of the exception it raises."""

    @asgi(path, is_mount=is_mount, copy_scope=False)
    async def door(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            given = await handle(cast(HTTPScope, scope), receive)
        except Disconnected:
            return
        except Exception as error:
            given = refuse(error)
        await send_answer(given, send)

    return door


async def send_answer(given: Answer, send: Send) -> None:
    """Send a whole answer."""
    headers = [(b"content-type", given.media_type), (b"content-length", b"%d" % len(given.body)), _NO_STORE, _NO_SNIFF, *given.headers]
    await send({"type": "http.response.start", "status": given.status, "headers": headers})
    await send({"type": "http.response.body", "body": given.body, "more_body": False})


def _refuse_anywhere(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    given = refusal(error)
    headers = {name.decode(): value.decode() for name, value in (_NO_STORE, _NO_SNIFF, *given.headers)}
    return Response(given.body, status_code=given.status, media_type=given.media_type.decode(), headers=headers)


EXCEPTION_HANDLERS: ExceptionHandlersMap = {HTTPException: _refuse_anywhere, Exception: _refuse_anywhere}
"""For the application: what no door answers, such as a path that nobody serves, is refused like the rest."""


def header(scope: HTTPScope, name: bytes) -> str:
    """A header's value; empty where it is not given."""
    return next((value for key, value in scope["headers"] if key == name), b"").decode("latin-1")


def bearer(scope: HTTPScope) -> str:
    """The API key of a request. Raises NotAuthorised where there is none."""
    scheme, _, key = header(scope, b"authorization").partition(" ")
    if scheme.lower() != "bearer" or not key.strip():
        raise NotAuthorised("an API key is needed: Authorization: Bearer KEY")
    return key.strip()


def require_method(scope: HTTPScope, allowed: Collection[str]) -> None:
    """Raise MethodNotAllowedException (405), with the Allow header, unless the request's method is one of ``allowed``."""
    if scope["method"] not in allowed:
        raise MethodNotAllowedException("method not allowed", headers={"Allow": ", ".join(sorted(allowed))})


def path_segments(scope: HTTPScope) -> list[str]:
    """The path, percent-decoded after it is split. Raises NotFoundException for a segment that is not UTF-8."""
    try:
        return [unquote_to_bytes(part).decode() for part in scope["raw_path"].split(b"?")[0].split(b"/")[1:]]
    except UnicodeDecodeError:
        raise NotFoundException("no such path") from None


def parameters(scope: HTTPScope, allowed: Collection[str] = ()) -> dict[str, str]:
    """The query's parameters. Raises InputError for any that is not ``allowed``, is given twice or is not UTF-8."""
    query = scope["query_string"]
    if not query:
        return {}
    try:
        pairs = parse_qsl(query.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=PARAMETERS_LIMIT)
    except ValueError:
        raise InputError(
            "query", f"{len(query)} bytes", f"must be at most {PARAMETERS_LIMIT} parameters in UTF-8, percent-encoded"
        ) from None
    given = dict(pairs)
    if unknown := given.keys() - set(allowed):
        must = f"only {', '.join(allowed)} may be given" if allowed else "no parameter may be given here"
        raise InputError("query", _short(", ".join(sorted(unknown)), QUOTED_LETTERS), must)
    if len(given) < len(pairs):
        raise InputError("query", "twice", "each parameter may be given once")
    return given


def whole_number(field: str, text: str, most: int = 2**53) -> int:
    """A number from a query. Raises InputError unless it is decimal digits and at most ``most``."""
    if not (text.isascii() and text.isdigit() and len(text) <= 16 and int(text) <= most):
        raise InputError(field, text[:32], f"must be a whole number in [0, {most}]")
    return int(text)


async def read_body(scope: HTTPScope, receive: Receive, *, limit_byte: int = BODY_LIMIT_BYTE, media_type: bytes | None = JSON) -> bytes:
    """The body, which must be of ``media_type`` (any for None) as far as its headers tell.

    Raises HTTPException 408, 413 and 415, and Disconnected when the client has left.
    """
    headers = dict(scope["headers"])
    announced = headers.get(b"content-length", b"0")
    if announced.isdigit() and int(announced[:20]) > limit_byte:
        raise _too_large(limit_byte)
    chunks: list[bytes] = []
    length_byte, more = 0, True
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            while more:
                message = await receive()
                if message["type"] != "http.request":
                    raise Disconnected
                chunks.append(message.get("body", b""))
                length_byte += len(chunks[-1])
                if length_byte > limit_byte:
                    raise _too_large(limit_byte)
                more = message.get("more_body", False)
    except TimeoutError:
        raise HTTPException(status_code=408, detail=f"the body took longer than {BODY_TIMEOUT_S:g} s") from None
    given = headers.get(b"content-type", media_type or b"").split(b";")[0].strip().lower()
    if length_byte and media_type is not None and given != media_type:
        raise HTTPException(status_code=415, detail=f"Content-Type must be {media_type.decode()}")
    if headers.get(b"content-encoding", b"identity").strip().lower() != b"identity":
        raise HTTPException(status_code=415, detail="Content-Encoding must be identity")
    return b"".join(chunks)


def decode(body: bytes, decoder: msgspec.json.Decoder[Format]) -> Format:
    """The body as what ``decoder`` reads. Raises InputError that names what is wrong in it, without quoting it."""
    try:
        return decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        words = str(error) if isinstance(error, msgspec.DecodeError) else type(error).__name__
        raise InputError("body", f"{len(body)} bytes", words) from None


def _too_large(limit_byte: int) -> HTTPException:
    return HTTPException(status_code=413, detail=f"the body must not exceed {limit_byte} bytes")
