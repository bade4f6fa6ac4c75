"""What can be asked of the page's door: one table, from which requests are answered and the OpenAPI document is made."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec
from litestar.exceptions import NotFoundException
from litestar.types import HTTPScope, Receive

from tiandi.errors import InputError, StateError
from tiandi.kms.doors.answers import Answer, answer, decode, parameters, read_body, whole_number
from tiandi.scenario.view import AuditView, EventView, LinkView, MessageView, NetworkView, NodeView, PairView
from tiandi.web import formats
from tiandi.web.sessions import SESSION_LIFE_S, Role, Sessions
from tiandi.web.stream import EVENTS_KEPT, Stream
from tiandi.web.watched import Watched

EVENTS_GIVEN = AUDIT_GIVEN = 200
MOST_SEARCHES = 4
EVENT_FILTERS = ("kind", "link", "node")
AUDIT_FILTERS = ("node", "kind", "since", "until", "text")

Body = TypeVar("Body")
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Asked:
    """A request: what its path names, who asks, and the rest of it."""

    names: tuple[str, ...]
    role: Role | None
    session: str
    cookie: str
    """The name of the cookie that holds a session."""
    scope: HTTPScope
    receive: Receive

    async def body(self, kind: type[Body]) -> Body:
        """What is sent. Raises InputError, or HTTPException for its size or type."""
        return decode(await read_body(self.scope, self.receive, limit_byte=formats.BODY_LIMIT_BYTE), msgspec.json.Decoder(kind))


@dataclass(frozen=True)
class Operation:
    """A method and a path, who may ask (None is everybody), and what is sent and answered: types, or a JSON schema."""

    method: str
    path: str
    role: Role | None
    summary: str
    handle: Callable[[Asked], Awaitable[Answer]]
    body: Any = None
    answers: Any = None
    filters: tuple[str, ...] = ()

    def names(self, segments: list[str]) -> tuple[str, ...] | None:
        """What the segments of a path give for this one's ``{}``; None where it is another path."""
        own = self.path.split("/")[1:]
        if len(own) != len(segments) or any(mine not in ("{}", given) for mine, given in zip(own, segments, strict=True)):
            return None
        return tuple(given for mine, given in zip(own, segments, strict=True) if mine == "{}")


class Operations:
    """The operations of one page, over a network and its stream; ``link`` makes the address of a one-time link from its secret."""

    def __init__(self, watched: Watched, stream: Stream, sessions: Sessions, link: Callable[[str, HTTPScope], str]) -> None:
        self._watched, self._stream, self._sessions, self._link = watched, stream, sessions, link
        self._searches = 0
        switch, network = formats.Switch, NetworkView
        self.table = [
            Operation("POST", "/login", None, "Open a session with a one-time link", self._log_in, formats.Login, formats.Session),
            Operation("POST", "/logout", "viewer", "End this session", self._log_out),
            Operation("GET", "/api/v1/session", "viewer", "Who asks", self._session, answers=formats.Session),
            Operation(
                "POST", "/api/v1/login-links", "operator", "Make a one-time link for somebody else",
                self._offer, formats.LinkWanted, formats.LoginLink,
            ),
            Operation("GET", "/api/v1/network", "viewer", "Everything at a glance", self._network, answers=network),
            Operation("GET", "/api/v1/links/{}", "viewer", "One link in detail", self._one_link, answers=LinkView),
            Operation("GET", "/api/v1/nodes/{}", "viewer", "One node in detail", self._one_node, answers=NodeView),
            Operation("GET", "/api/v1/pairs/{}/{}", "viewer", "One pair of customers in detail", self._one_pair, answers=PairView),
            Operation(
                "GET", "/api/v1/journal", "viewer", "What happened of late, newest first",
                self._journal, answers=formats.JOURNAL, filters=(*EVENT_FILTERS, "limit"),
            ),
            Operation(
                "GET", "/api/v1/audit", "viewer", "What the KMEs' audit journals hold, newest first",
                self._audit, answers=AuditView, filters=(*AUDIT_FILTERS, "limit"),
            ),
            Operation("POST", "/api/v1/messages", "operator", "Send a message", self._message, formats.NewMessage, MessageView),
            Operation("POST", "/api/v1/links/{}/eavesdropper", "operator", "Listen in, or leave", self._eavesdrop, switch, network),
            Operation("POST", "/api/v1/links/{}/cut", "operator", "Cut a fibre or mend it", self._cut, switch, network),
            Operation("POST", "/api/v1/stations/{}/cloud", "operator", "Cloud over a station or clear it", self._cloud, switch, network),
            Operation("POST", "/api/v1/nodes/{}/compromise", "operator", "Let somebody read a relay", self._compromise, switch, network),
            Operation("POST", "/api/v1/alarms/{}/acknowledge", "operator", "An alarm has been seen", self._acknowledge, answers=network),
            Operation("POST", "/api/v1/time", "operator", "Speed, pause or jump", self._time, formats.TimeChange, network),
        ]  # fmt: skip

    # Sessions.

    async def _log_in(self, asked: Asked) -> Answer:
        login = await asked.body(formats.Login)
        session, role = self._sessions.log_in(login.token)
        _log.info("a session was opened for a %s", role)
        given = answer(formats.Session(role))
        return Answer(given.status, given.body, (_cookie(asked.cookie, session),))

    async def _log_out(self, asked: Asked) -> Answer:
        self._sessions.log_out(asked.session)
        return Answer(204, b"", (_cookie(asked.cookie, ""),))

    async def _session(self, asked: Asked) -> Answer:
        assert asked.role is not None
        return answer(formats.Session(asked.role))

    async def _offer(self, asked: Asked) -> Answer:
        wanted = await asked.body(formats.LinkWanted)
        return answer(formats.LoginLink(self._link(self._sessions.offer(wanted.role), asked.scope)))

    # What is shown.

    async def _network(self, _: Asked) -> Answer:
        return Answer(200, self._stream.network()[1])

    async def _one_link(self, asked: Asked) -> Answer:
        return answer(self._watched.link(self._known_link(asked)))

    async def _one_node(self, asked: Asked) -> Answer:
        return answer(self._watched.node(self._known_node(asked)))

    async def _one_pair(self, asked: Asked) -> Answer:
        one, other = asked.names
        nodes = {node.name for node in self._stream.network()[0].nodes}
        _require_known("node", one, nodes)
        _require_known("node", other, nodes)
        return answer(self._watched.pair(one, other))

    async def _journal(self, asked: Asked) -> Answer:
        given = parameters(asked.scope, (*EVENT_FILTERS, "limit"))
        limit = whole_number("limit", given.pop("limit", str(EVENTS_GIVEN)))
        if not 1 <= limit <= EVENTS_KEPT:
            raise InputError("limit", limit, f"must lie in [1, {EVENTS_KEPT}]")
        found: list[EventView] = []
        for event in self._stream.events():
            if len(found) == limit:
                break
            if all(getattr(event, field) == value for field, value in given.items()):
                found.append(event)
        return answer(found)

    async def _audit(self, asked: Asked) -> Answer:
        given = parameters(asked.scope, (*AUDIT_FILTERS, "limit"))
        limit = whole_number("limit", given.pop("limit", str(AUDIT_GIVEN)))
        if self._searches >= MOST_SEARCHES:  # Each may take seconds of the thread on which the KMEs live.
            raise StateError("audit", f"{self._searches} searches", "are under way; try again when one is done")
        self._searches += 1
        try:
            return answer(await self._watched.audit(limit=limit, **given))
        finally:
            self._searches -= 1

    # What is done.

    async def _message(self, asked: Asked) -> Answer:
        message = await asked.body(formats.NewMessage)
        sent = await self._watched.send_message(message.sender, message.recipient, message.text)
        self._stream.changed()
        return answer(sent)

    async def _eavesdrop(self, asked: Asked) -> Answer:
        return await self._switch(asked, self._known_link(asked), self._watched.eavesdrop)

    async def _cut(self, asked: Asked) -> Answer:
        return await self._switch(asked, self._known_link(asked), self._watched.cut)

    async def _cloud(self, asked: Asked) -> Answer:
        return await self._switch(asked, self._known_node(asked), self._watched.cloud)

    async def _compromise(self, asked: Asked) -> Answer:
        return await self._switch(asked, self._known_node(asked), self._watched.compromise)

    async def _acknowledge(self, asked: Asked) -> Answer:
        alarms = {str(alarm.id): alarm.id for alarm in self._stream.network()[0].alarms}
        _require_known("alarm", asked.names[0], alarms)
        await read_body(asked.scope, asked.receive, limit_byte=formats.BODY_LIMIT_BYTE)
        return await self._done(asked, self._watched.acknowledge(alarms[asked.names[0]]))

    async def _time(self, asked: Asked) -> Answer:
        change = await asked.body(formats.TimeChange)
        if change.speed is not None:
            return await self._done(asked, self._watched.set_speed(change.speed))
        if change.paused is not None:
            return await self._done(asked, self._watched.pause(change.paused))
        return await self._done(asked, self._watched.jump(change.moment()))

    async def _switch(self, asked: Asked, name: str, act: Callable[[str, bool], Awaitable[None]]) -> Answer:
        switch = await asked.body(formats.Switch)
        return await self._done(asked, act(name, switch.on))

    async def _done(self, asked: Asked, action: Awaitable[None]) -> Answer:
        """Wait for an action, and answer with the network as it is then."""
        await action
        self._stream.changed()
        _log.info("an operator acted: %r", asked.scope["path"][:200])
        return Answer(200, self._stream.network()[1])

    def _known_link(self, asked: Asked) -> str:
        _require_known("link", asked.names[0], {link.name for link in self._stream.network()[0].links})
        return asked.names[0]

    def _known_node(self, asked: Asked) -> str:
        _require_known("node", asked.names[0], {node.name for node in self._stream.network()[0].nodes})
        return asked.names[0]


def _cookie(name: str, session: str) -> tuple[bytes, bytes]:
    """Set the session, or take it back; scripts cannot read it, and other sites' requests do not carry it."""
    life_s = SESSION_LIFE_S if session else 0
    return b"set-cookie", f"{name}={session}; Path=/; HttpOnly; SameSite=Strict; Max-Age={life_s:.0f}".encode()


def _require_known(what: str, name: str, known: Iterable[str]) -> None:
    if name not in known:
        raise NotFoundException(f"no such {what}")
