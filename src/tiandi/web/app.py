"""The page's doors: an ASGI application that lets nobody in but browsers of this machine, and tells them apart.

On a loopback address, by plain HTTP with a session, or by TLS with a certificate. What keeps others out:

    a page of another site         Host must name this machine (DNS rebinding), Sec-Fetch-Site this site, and for what changes something
                                   Origin and a header of our own must be right (CSRF)
    script in the page             the Content-Security-Policy allows files of this door alone; the cookie is not for scripts
    a page around ours             frame-ancestors 'none'
    whoever asks too much          limits of bodies, streams, connections and patience
    a certificate of others        only the network's own authority counts, and of its people operators and viewers; asked on every request
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import cast

from litestar.exceptions import HTTPException, NotFoundException
from litestar.types import HTTPScope, Receive, Scope, Send

from tiandi import __version__
from tiandi.errors import NotAuthorised
from tiandi.kms.doors.answers import Answer, Disconnected, parameters, path_segments, refusal, require_method
from tiandi.kms.tls.identities import SCOPE_KEY, ClientCertificate
from tiandi.kms.tls.revocation import Revocations
from tiandi.web.documents import DOCUMENT, EVENTS, openapi_document, static_files
from tiandi.web.operations import Asked, Operation, Operations
from tiandi.web.sessions import Role, Sessions
from tiandi.web.stream import Stream
from tiandi.web.watched import Watched

OWN_HOSTS = ("127.0.0.1", "localhost", "[::1]")
STREAMS_LIMIT = 200
TAKE_TIMEOUT_S = 10.0
"""A reader of the stream who takes nothing for so long is dropped."""
ABORT_KEY = "tiandi.abort"
"""Where a scope's extensions may have a function that breaks the connection off."""

ROLES: dict[str, Role] = {"operator": "operator", "viewer": "viewer"}
"""What the kinds of identity in a certificate may do; KMEs and SAEs have no business here."""

POLICY = "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
_EVERY_ANSWER = (
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=()"),
)
_NO_STORE = (b"cache-control", b"no-store")
_log = logging.getLogger(__name__)


class WindowApp:
    """The ASGI application over a living network; `start` and `close` on the event loop that serves it.

    ``address`` is that of the door for sessions, to which links lead from the door for certificates; ``revocations`` tell whose
    certificate is good no longer.
    """

    def __init__(
        self, watched: Watched, sessions: Sessions | None = None, *, address: str = "", revocations: Revocations | None = None
    ) -> None:
        self.sessions = sessions or Sessions()
        self.stream = Stream(watched)
        self._address, self._revocations = address, revocations
        self.operations = Operations(watched, self.stream, self.sessions, self._login_link).table
        self._document = openapi_document(self.operations, __version__)
        self._files = static_files()

    def start(self) -> None:
        """Begin to listen to the network."""
        self.stream.start()

    async def close(self) -> None:
        """End every stream."""
        await self.stream.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        asked = cast(HTTPScope, scope)
        try:
            _require_own_host(asked)
            if _certificate(asked) is not None:
                self._require_role(asked, "viewer")
            if asked["path"] == EVENTS:
                _require_same_site(asked)
                require_method(asked, ("GET",))
                parameters(asked, ())
                self._require_role(asked, "viewer")
                await self._stream_to(asked, receive, send)
                return
            given = await self._answer(asked, receive)
        except Disconnected:
            return
        except Exception as error:
            given = refusal(error)
        headers = [*_EVERY_ANSWER, *given.headers]
        if given.status not in (204, 304):
            headers += [(b"content-type", given.media_type), (b"content-length", b"%d" % len(given.body))]
        if not any(name == b"cache-control" for name, _ in given.headers):
            headers.append(_NO_STORE)
        await send({"type": "http.response.start", "status": given.status, "headers": headers})
        body = b"" if asked["method"] == "HEAD" else given.body
        await send({"type": "http.response.body", "body": body, "more_body": False})

    async def _answer(self, scope: HTTPScope, receive: Receive) -> Answer:
        path = scope["path"]
        if path in self._files:
            return self._static(scope)
        if path == DOCUMENT:
            require_method(scope, ("GET", "HEAD"))
            return Answer(200, self._document)
        _require_same_site(scope)
        operation, names = self._find(scope)
        role, session = None, _cookie(scope)
        if operation.role is not None:
            role = self._require_role(scope, operation.role)
        if operation.method == "POST":
            _require_our_own_page(scope)
        if not operation.filters:
            parameters(scope, ())
        return await operation.handle(Asked(names, role, session, _cookie_name(scope), scope, receive))

    def _find(self, scope: HTTPScope) -> tuple[Operation, tuple[str, ...]]:
        segments = path_segments(scope)
        found = [(operation, names) for operation in self.operations if (names := operation.names(segments)) is not None]
        if not found:
            raise NotFoundException("no such path")
        require_method(scope, [operation.method for operation, _ in found])
        return next((operation, names) for operation, names in found if operation.method == scope["method"])

    def _static(self, scope: HTTPScope) -> Answer:
        """A file of the page; whoever has it already is told so."""
        require_method(scope, ("GET", "HEAD"))
        file = self._files[scope["path"]]
        headers = ((b"etag", file.tag), (b"cache-control", b"no-cache"))
        if file.tag in [tag.strip().removeprefix(b"W/") for tag in _header(scope, b"if-none-match").split(b",")]:
            return Answer(304, b"", headers, media_type=file.media_type)
        return Answer(200, file.body, headers, media_type=file.media_type)

    def _require_role(self, scope: HTTPScope, wanted: Role) -> Role:
        role = self._role(scope)
        if role is None and _certificate(scope) is not None:
            raise NotAuthorised("this door is for the certificates of operators and viewers")
        if role is None:
            raise NotAuthorised("open a session with a one-time link first; `tiandi status --links` makes one")
        if wanted == "operator" and role != "operator":
            raise HTTPException(status_code=403, detail="this is for operators")
        return role

    def _role(self, scope: HTTPScope) -> Role | None:
        """Who asks: by certificate where one was shown, else by session. The greater role counts of a certificate for two."""
        certificate = _certificate(scope)
        if certificate is None:
            return self.sessions.role(_cookie(scope))
        if self._revocations is None or self._revocations.refusal(certificate):
            return None
        found = {ROLES.get(kind) for kind, _ in certificate.identities}
        return "operator" if "operator" in found else "viewer" if "viewer" in found else None

    def _login_link(self, secret: str, scope: HTTPScope) -> str:
        """Through a tunnel the door has another port, which the browser knows."""
        by_certificate = _certificate(scope) is not None
        return f"{self._address if by_certificate else 'http://' + _header(scope, b'host').decode('ascii')}/#login={secret}"

    async def _stream_to(self, scope: HTTPScope, receive: Receive, send: Send) -> None:
        """Tell a reader what happens until it leaves, its session ends, or it takes no more."""
        if self.stream.readers >= STREAMS_LIMIT:
            raise HTTPException(status_code=503, detail=f"{STREAMS_LIMIT} streams are open, no more are given")
        headers = [(b"content-type", b"text/event-stream"), _NO_STORE, *_EVERY_ANSWER]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        telling = asyncio.ensure_future(self._tell(scope, send))
        leaving = asyncio.ensure_future(_until_gone(receive))
        try:
            await asyncio.wait((telling, leaving), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (telling, leaving):
                task.cancel()
            await asyncio.gather(telling, leaving, return_exceptions=True)
        if telling.cancelled():
            return
        if (error := telling.exception()) is None:
            await send({"type": "http.response.body", "body": b"", "more_body": False})
            return
        if not isinstance(error, TimeoutError):
            _log.error("a stream broke off", exc_info=error)
        if (abort := (scope.get("extensions") or {}).get(ABORT_KEY)) is not None:
            cast(Callable[[], None], abort)()
            # The connection is lost in the next round of the loop; until then uvicorn would miss the end of the answer.
            await asyncio.sleep(0)

    async def _tell(self, scope: HTTPScope, send: Send) -> None:
        last_event_id = _header(scope, b"last-event-id").decode("latin-1")
        async with aclosing(cast(AsyncGenerator[bytes], self.stream.follow(last_event_id))) as frames:
            async for body in frames:
                if self._role(scope) is None:
                    return
                async with asyncio.timeout(TAKE_TIMEOUT_S):
                    await send({"type": "http.response.body", "body": body, "more_body": True})


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _header(scope: HTTPScope, name: bytes) -> bytes:
    return next((value for key, value in scope["headers"] if key == name), b"")


def _cookie_name(scope: HTTPScope) -> str:
    """Cookies do not know of ports: the name tells the pages of several networks on one machine apart."""
    server = scope.get("server")
    return f"tiandi-{server[1] if server else 0}"


def _cookie(scope: HTTPScope) -> str:
    """The session that a request carries; empty where there is none."""
    pairs = (item.strip().partition(b"=") for item in _header(scope, b"cookie").split(b";"))
    wanted = _cookie_name(scope).encode()
    return next((value.decode("latin-1") for name, _, value in pairs if name == wanted), "")


def _certificate(scope: HTTPScope) -> ClientCertificate | None:
    """What who asks showed, at the door for certificates; None at the other, where nobody is asked for one."""
    found = (scope.get("extensions") or {}).get(SCOPE_KEY)
    return found if isinstance(found, ClientCertificate) else None


def _require_own_host(scope: HTTPScope) -> None:
    """Another site's name that leads here is somebody's trick. Ports are not looked at: a tunnel may have another."""
    host = _header(scope, b"host").decode("latin-1").lower()
    name, _, port = host.rpartition(":") if not host.endswith("]") and ":" in host else (host, "", "")
    if name not in OWN_HOSTS or (port and not port.isdigit()):
        raise HTTPException(status_code=421, detail="ask for 127.0.0.1 or localhost")


def _require_same_site(scope: HTTPScope) -> None:
    """Browsers say where a request comes from; a page on another port of this machine is another's, too."""
    if _header(scope, b"sec-fetch-site") not in (b"", b"same-origin", b"none"):
        raise HTTPException(status_code=403, detail="a page of another site asks for this")


def _require_our_own_page(scope: HTTPScope) -> None:
    if _header(scope, b"x-tiandi") != b"1":
        raise HTTPException(status_code=403, detail="the header X-Tiandi: 1 is missing")
    scheme = b"http://" if _certificate(scope) is None else b"https://"
    if _header(scope, b"origin").lower() != scheme + _header(scope, b"host").lower():
        raise HTTPException(status_code=403, detail=f"the header Origin must be {scheme.decode()} and what Host says")
