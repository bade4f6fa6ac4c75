"""The cloud's page: its files, and a session for the browser of a user who has shown an API key once.

The key is typed into a form and goes to the server, which keeps it in memory while the session lasts; the browser has a random cookie
instead, which no script may read and which is good for half a day on this server alone. A script that got into the page could so steal no
key. What keeps others out:

    a page of another site     the cookie is SameSite=Strict; Sec-Fetch-Site must be this site, and for what changes something Origin and a
                               header of our own must be right (CSRF)
    script in the page         the Content-Security-Policy allows files of this door alone
    a page around ours         frame-ancestors 'none'
    a key that was revoked     the key of a session is asked for on every request, as if it had come with it
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import NamedTuple

import msgspec
from litestar.exceptions import HTTPException, NotFoundException
from litestar.handlers import ASGIRouteHandler
from litestar.types import HTTPScope, Receive

from tiandi.computing.cloud.answers import (
    Answer,
    answer,
    bearer,
    decode,
    header,
    parameters,
    path_segments,
    read_body,
    require_method,
    route,
)
from tiandi.computing.cloud.service import Cloud
from tiandi.errors import NotAuthorised
from tiandi.random import secret_bytes
from tiandi.unshown import Unshown

SESSION_LIFE_S = 12 * 3600.0
SESSIONS_LIMIT, SESSIONS_OF_ONE = 2000, 20
SECRET_BYTE = 32
LOG_IN_BYTE = 1024
MEDIA_TYPES = {
    "css": b"text/css; charset=utf-8",
    "html": b"text/html; charset=utf-8",
    "js": b"text/javascript; charset=utf-8",
    "json": b"application/json",
    "svg": b"image/svg+xml",
}
"""By the end of a file's name. A file of another name is not served."""

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
GUARDS = (
    (b"content-security-policy", POLICY.encode()),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=()"),
)


class LogIn(Unshown, frozen=True, forbid_unknown_fields=True):
    """What the form sends."""

    key: str

    def __repr__(self) -> str:
        return "LogIn()"


class _Session(NamedTuple):
    key: str
    owner: str
    ends_s: float


class Sessions:
    """Secrets of cookies, of which only hashes are kept, and the API key that each stands for. ``now`` tells the time [s]."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._sessions: dict[bytes, _Session] = {}

    def give(self, key: str, owner: str) -> str:
        """The secret of a new session. Of too many the oldest must go, and of one user's its own."""
        now_s = self._now()
        self._sessions = {name: session for name, session in self._sessions.items() if session.ends_s > now_s}
        own = [name for name, session in self._sessions.items() if session.owner == owner]
        if len(own) >= SESSIONS_OF_ONE:
            del self._sessions[own[0]]
        elif len(self._sessions) >= SESSIONS_LIMIT:
            del self._sessions[next(iter(self._sessions))]
        secret = secret_bytes(SECRET_BYTE).hex()
        self._sessions[_hash(secret)] = _Session(key, owner, now_s + SESSION_LIFE_S)
        return secret

    def key(self, secret: str) -> str | None:
        """The API key of a session; None for one that is unknown or has ended."""
        # What is looked up is a hash: how long that takes tells nothing of the secret.
        found = self._sessions.get(_hash(secret))
        return found.key if found is not None and found.ends_s > self._now() else None

    def end(self, secret: str) -> None:
        """Forget a session."""
        self._sessions.pop(_hash(secret), None)


class Page:
    """The page of one cloud."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud, self._sessions = cloud, Sessions()
        self._files = dict(_files(files("tiandi.computing.cloud") / "static"))

    def routes(self) -> list[ASGIRouteHandler]:
        """The page, its files, and /session: who looks, logging in (POST) and out (DELETE)."""
        return [
            route("/", self._tell_home),
            route("/static", self._tell_file, is_mount=True),
            route("/session", self._session),
        ]

    def key(self, scope: HTTPScope) -> str:
        """The API key that a request comes with, or the session it is of. Raises NotAuthorised, HTTPException 403 for another's page."""
        secret = _cookie(scope)
        if not secret or header(scope, b"authorization"):
            return bearer(scope)
        _require_our_own_page(scope)
        if (key := self._sessions.key(secret)) is None:
            raise NotAuthorised("the session has ended: log in again")
        return key

    async def _tell_home(self, scope: HTTPScope, _: Receive) -> Answer:
        return self._file(scope, "index.html")

    async def _tell_file(self, scope: HTTPScope, _: Receive) -> Answer:
        return self._file(scope, "/".join(path_segments(scope)[1:]))

    def _file(self, scope: HTTPScope, name: str) -> Answer:
        require_method(scope, ("GET", "HEAD"))
        if (found := self._files.get(name)) is None:
            raise NotFoundException("no such path")
        return found

    async def _session(self, scope: HTTPScope, receive: Receive) -> Answer:
        require_method(scope, ("GET", "POST", "DELETE"))
        parameters(scope)
        _require_our_own_page(scope)
        if scope["method"] == "GET":
            return _guarded(answer({"user": await self._who(scope)}))
        if scope["method"] == "DELETE":
            self._sessions.end(_cookie(scope))
            return _guarded(answer({"user": None}), _set_cookie(scope, "", 0))
        key = decode(await read_body(scope, receive, limit_byte=LOG_IN_BYTE), _log_in).key.strip()
        owner = await self._cloud.authenticate(key)
        self._sessions.end(_cookie(scope))
        return _guarded(answer({"user": owner}), _set_cookie(scope, self._sessions.give(key, owner), int(SESSION_LIFE_S)))

    async def _who(self, scope: HTTPScope) -> str | None:
        key = self._sessions.key(_cookie(scope))
        try:
            return None if key is None else await self._cloud.authenticate(key)
        except NotAuthorised:
            return None


_log_in = msgspec.json.Decoder(LogIn)


def _hash(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()


def _files(folder: Traversable, before: str = "") -> Iterator[tuple[str, Answer]]:
    """Nothing but what is found here can be asked for."""
    for item in folder.iterdir():
        if item.is_dir():
            yield from _files(item, f"{before}{item.name}/")
        elif (media_type := MEDIA_TYPES.get(item.name.rpartition(".")[2])) is not None:
            yield before + item.name, Answer(200, item.read_bytes(), GUARDS, media_type)


def _guarded(given: Answer, *more: tuple[bytes, bytes]) -> Answer:
    return Answer(given.status, given.body, (*given.headers, *GUARDS, *more), given.media_type)


def _cookie_name(scope: HTTPScope) -> str:
    """Cookies do not know of ports: the name tells the pages of several clouds on one machine apart, through tunnels, too."""
    port = header(scope, b"host").rpartition(":")[2]
    return f"tiandi-cloud-{port if port.isascii() and port.isdigit() else 0}"


def _cookie(scope: HTTPScope) -> str:
    """The session that a request carries; empty where there is none."""
    wanted = _cookie_name(scope)
    pairs = (item.strip().partition("=") for item in header(scope, b"cookie").split(";"))
    return next((value for name, _, value in pairs if name == wanted), "")


def _set_cookie(scope: HTTPScope, secret: str, life_s: int) -> tuple[bytes, bytes]:
    secure = "; Secure" if scope["scheme"] == "https" else ""
    text = f"{_cookie_name(scope)}={secret}; Path=/; Max-Age={life_s}; HttpOnly; SameSite=Strict{secure}"
    return b"set-cookie", text.encode()


def _require_our_own_page(scope: HTTPScope) -> None:
    """A request that the browser adds a session to must come from this page; one that only reads, from nowhere else."""
    if header(scope, b"sec-fetch-site") not in ("", "same-origin", "none"):
        raise HTTPException(status_code=403, detail="a page of another site asks for this")
    if scope["method"] in ("GET", "HEAD"):
        return
    if header(scope, b"x-tiandi") != "1":
        raise HTTPException(status_code=403, detail="the header X-Tiandi: 1 is missing")
    if header(scope, b"origin").lower() != f"{scope['scheme']}://{header(scope, b'host').lower()}":
        raise HTTPException(status_code=403, detail="the header Origin must be this cloud, as Host says")
