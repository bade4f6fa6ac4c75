"""The door for an operator who takes a backup of a KME while it runs: GET /admin/v1/backup. A backup holds no key."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import cast

from litestar import asgi
from litestar.handlers import ASGIRouteHandler
from litestar.types import HTTPScope, Receive, Scope, Send

from tiandi.errors import TiandiError
from tiandi.kms.doors.answers import refusal, require_method
from tiandi.kms.tls.identities import caller_identity

PATH = "/admin/v1/backup"
CHUNK_BYTE = 64 * 1024


def routes(dump: Callable[[], AsyncIterator[bytes]]) -> list[ASGIRouteHandler]:
    """The route of this door. What ``dump`` gives is sent as it comes; an answer that breaks off lacks the last line."""

    @asgi(PATH, copy_scope=False)
    async def door(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            caller_identity(scope, "operator")
            require_method(cast(HTTPScope, scope), ["GET"])
        except Exception as error:
            given = refusal(error)
            length = (b"content-length", b"%d" % len(given.body))
            await _begin(send, given.status, [(b"content-type", given.media_type), length, *given.headers])
            await send({"type": "http.response.body", "body": given.body, "more_body": False})
            return
        await _begin(send, 200, [(b"content-type", b"application/jsonl")])
        waiting = bytearray()
        try:
            async for line in dump():
                waiting += line
                if len(waiting) >= CHUNK_BYTE:
                    await send({"type": "http.response.body", "body": bytes(waiting), "more_body": True})
                    waiting.clear()
        except TiandiError:
            pass  # Its last line is missing, which is how whoever reads it knows.
        await send({"type": "http.response.body", "body": bytes(waiting), "more_body": False})

    return [door]


async def _begin(send: Send, status: int, headers: list[tuple[bytes, bytes]]) -> None:
    await send({"type": "http.response.start", "status": status, "headers": [*headers, (b"cache-control", b"no-store")]})
