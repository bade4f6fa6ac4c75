"""The door for other KMEs of the same network (reference point Kx): lists of messages in MessagePack, a list of answers for each.

Who calls is read from the client certificate; what it may say is decided by `tiandi.kms.relay.exchange`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, Any

import msgspec
from litestar.handlers import ASGIRouteHandler
from litestar.types import HTTPScope, Receive

from tiandi.errors import InputError, RequestRefused
from tiandi.kms.doors.answers import MESSAGE_PACK, Answer, read_body, require_method, route
from tiandi.kms.relay.exchange import (
    ANNOUNCE_PATH,
    COMPARE_PATH,
    CONFIRM_PATH,
    FAILED_PATH,
    HAND_OVER_PATH,
    KEM_PATH,
    LARGEST_BATCH,
    RELAY_PATH,
    STREAM_PATH,
    VOID_PATH,
    Exchange,
)
from tiandi.kms.relay.hand_over import HandOver
from tiandi.kms.relay.relay_messages import Announcement, Confirmation, Place, RelayMessage
from tiandi.kms.store.link_keys import BlockOffer
from tiandi.kms.streams.associations import StreamMessage, Streams
from tiandi.kms.tls.identities import caller_identity

BODY_LIMIT_BYTE = 48 * 1024 * 1024


def routes(exchange: Exchange, streams: Streams | None = None) -> list[ASGIRouteHandler]:
    """The routes of this door; ``streams`` where the KME serves ETSI GS QKD 004."""

    async def kem_keys(_: str, asked: list[bytes]) -> list[bytes]:
        return exchange.receive_kem_requests(len(asked))

    async def stream_messages(sender: str, said: list[StreamMessage]) -> list[StreamMessage]:
        if streams is None:
            raise RequestRefused("this KME serves no key streams")
        return [await streams.receive(sender, message) for message in said]

    return [
        message_route(STREAM_PATH, list[StreamMessage], stream_messages),
        message_route(RELAY_PATH, list[RelayMessage], exchange.receive_relays),
        message_route(ANNOUNCE_PATH, list[Announcement], exchange.receive_announcements),
        message_route(CONFIRM_PATH, list[Confirmation], exchange.receive_confirmations),
        message_route(VOID_PATH, list[Place], exchange.receive_voids),
        message_route(FAILED_PATH, list[tuple[Place, str]], exchange.receive_failures),
        message_route(COMPARE_PATH, list[BlockOffer], exchange.receive_offers),
        message_route(HAND_OVER_PATH, list[HandOver], exchange.receive_hand_overs),
        message_route(KEM_PATH, list[bytes], kem_keys),
    ]


def message_route(path: str, kind: Any, receive_messages: Callable[[str, Any], Awaitable[Any]]) -> ASGIRouteHandler:
    """A route for lists, of type ``kind``, from other KMEs; answers what ``receive_messages(sender, list)`` gives."""
    # A list of millions of small messages would keep this KME busy for minutes.
    decoder = msgspec.msgpack.Decoder(Annotated[kind, msgspec.Meta(max_length=LARGEST_BATCH)])

    async def handle(scope: HTTPScope, receive: Receive) -> Answer:
        sender = caller_identity(scope, "kme")
        require_method(scope, ["POST"])
        body = await read_body(scope, receive, limit_byte=BODY_LIMIT_BYTE, media_type=MESSAGE_PACK)
        try:
            messages = decoder.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise InputError("body", f"{len(body)} bytes", str(error)) from None
        return Answer(200, msgspec.msgpack.encode(await receive_messages(sender, messages)), media_type=MESSAGE_PACK)

    return route(path, handle)
