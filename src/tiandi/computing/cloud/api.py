"""The cloud's own door: /api/v1 for those with an API key, and what everybody may ask: /openapi.json and /healthz."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, suppress
from typing import Any, cast

import msgspec
from litestar import asgi
from litestar.exceptions import HTTPException, NotFoundException
from litestar.handlers import ASGIRouteHandler
from litestar.types import HTTPScope, Receive, Scope, Send

from tiandi.computing.cloud.answers import (
    Answer,
    Disconnected,
    bearer,
    header,
    parameters,
    path_segments,
    refusal,
    require_method,
    route,
    send_answer,
    whole_number,
)
from tiandi.computing.cloud.openapi import openapi_document
from tiandi.computing.cloud.operations import Asked, Operations
from tiandi.computing.cloud.service import Cloud

PREFIX = "/api/v1"
PING_S = 15.0
TAKE_TIMEOUT_S = 10.0
"""A reader of a stream who takes nothing for so long is dropped."""
STREAMS_LIMIT, STREAMS_OF_ONE = 500, 10


def routes(cloud: Cloud, key_of: Callable[[HTTPScope], str] = bearer) -> list[ASGIRouteHandler]:
    """The routes of this door; ``key_of`` finds the API key of a request, or raises NotAuthorised."""
    operations = Operations(cloud)
    door = _Door(cloud, operations, key_of)
    document = openapi_document(operations.table)

    async def tell_document(scope: HTTPScope, _: Receive) -> Answer:
        require_method(scope, ("GET",))
        return Answer(200, document)

    async def tell_health(scope: HTTPScope, _: Receive) -> Answer:
        """The process is up: nothing is looked at."""
        require_method(scope, ("GET",))
        return Answer(200, b'{"status":"up"}')

    return [
        route("/openapi.json", tell_document),
        route("/healthz", tell_health),
        asgi(f"{PREFIX}/events", copy_scope=False)(door.events),
        route(PREFIX, door.answer, is_mount=True),
    ]


class _Door:
    def __init__(self, cloud: Cloud, operations: Operations, key_of: Callable[[HTTPScope], str]) -> None:
        self._cloud, self._table, self._key_of = cloud, operations.table, key_of
        self._streams: dict[str, int] = {}

    async def answer(self, scope: HTTPScope, receive: Receive) -> Answer:
        """Answer one request of the API."""
        owner = await self._cloud.authenticate(self._key_of(scope))
        segments = path_segments(scope)[2:]
        found = [(operation, names) for operation in self._table if (names := operation.names(segments)) is not None]
        if not found:
            raise NotFoundException("no such path")
        require_method(scope, [operation.method for operation, _ in found])
        operation, names = next((operation, names) for operation, names in found if operation.method == scope["method"])
        if operation.query is None:
            parameters(scope)
        return await operation.handle(Asked(names, owner, scope, receive))

    async def events(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Tell a user of its jobs until it leaves, takes no more, or its key ends."""
        asked = cast(HTTPScope, scope)
        try:
            require_method(asked, ("GET",))
            parameters(asked)
            key = self._key_of(asked)
            owner = await self._cloud.authenticate(key)
            last = header(asked, b"last-event-id")
            after = whole_number("Last-Event-ID", last) if last else await self._cloud.last_change(owner)
            if sum(self._streams.values()) >= STREAMS_LIMIT or self._streams.get(owner, 0) >= STREAMS_OF_ONE:
                raise HTTPException(status_code=429, detail="too many streams are open")
        except Disconnected:
            return
        except Exception as error:
            await send_answer(refusal(error), send)
            return
        self._streams[owner] = self._streams.get(owner, 0) + 1
        try:
            await _until_either(_tell(self._cloud, key, owner, after, send), _until_gone(receive))
        finally:
            self._streams[owner] -= 1
            if not self._streams[owner]:
                del self._streams[owner]


async def _tell(cloud: Cloud, key: str, owner: str, after: int, send: Send) -> None:
    headers = [(b"content-type", b"text/event-stream"), (b"cache-control", b"no-store"), (b"x-accel-buffering", b"no")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await _send_part(send, b"retry: 1000\n\n")
    encoder = msgspec.json.Encoder()
    async with aclosing(cast(Any, cloud.follow(owner, after, PING_S))) as changes:
        async for jobs in cast(AsyncIterator[Any], changes):
            await cloud.authenticate(key)
            frames = [b"id: %d\nevent: job\ndata: %s\n\n" % (job.change, encoder.encode(job)) for job in jobs]
            await _send_part(send, b"".join(frames) or b":\n\n")


async def _send_part(send: Send, body: bytes) -> None:
    async with asyncio.timeout(TAKE_TIMEOUT_S):
        await send({"type": "http.response.body", "body": body, "more_body": True})


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _until_either(*works: Any) -> None:
    """Until one of them ends; the others are cancelled. What ends a stream is nobody's fault: the client comes again."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        with suppress(Exception):
            await asyncio.gather(*tasks, return_exceptions=True)
