"""The page's server, for this machine alone: whoever asks from a page of another site or under another name is refused.

It only tells, and changes nothing: there is nothing to log in to. From elsewhere it is reached through a tunnel, as `ssh -L` makes one.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

from tiandi.computing.control.page.board import Board, encoded
from tiandi.computing.control.running import Step
from tiandi.errors import InputError, StateError, TiandiError
from tiandi.limits import require_within

LOOPBACK = "127.0.0.1"
OWN_NAMES = (LOOPBACK, "localhost")
MEDIA_TYPES = {
    "css": "text/css; charset=utf-8",
    "html": "text/html; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}
GUARDS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Cache-Control": "no-store",
}
MOST_CONNECTIONS = 64
TIMEOUT_S = 30.0
EVENTS_EVERY_S, SIGN_OF_LIFE_S = 0.25, 10.0
_LOGGER = logging.getLogger("tiandi.computing.control")


class News:
    """What happens, for those who watch the page: the last step of a run, and a number that grows with every change."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._version, self._step = 0, dict[str, Any]()
        self._closed = False

    def step(self, step: Step) -> None:
        """A run has come further."""
        self.tell(vars(step))

    def tell(self, step: dict[str, Any]) -> None:
        """Something has changed; ``step`` is empty when nothing is being measured."""
        with self._changed:
            self._version, self._step = self._version + 1, dict(step)
            self._changed.notify_all()

    def close(self) -> None:
        """Let go who waits."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def after(self, version: int, timeout_s: float) -> tuple[int, dict[str, Any]] | None:
        """What is newer than ``version``, waited for; its own number again where nothing came, None at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._version != version, timeout_s)
            return None if self._closed else (self._version, self._step)


class PageServer:
    """Serves from its making until `close`; ``look`` gives the calibration as it is now. Also a context manager."""

    def __init__(self, look: Callable[[], Board], news: News, port: int) -> None:
        """Raises InputError for a port that cannot be, StateError for one that is taken."""
        require_within("port", port, 0, 65_535)
        static = files("tiandi.computing.control.page") / "static"

        class Handler(_Handler):
            board = staticmethod(look)
            happenings = news
            static_files: ClassVar = {
                item.name: item.read_bytes() for item in static.iterdir() if item.name.rpartition(".")[2] in MEDIA_TYPES
            }
            room = threading.BoundedSemaphore(MOST_CONNECTIONS)

        self._news = news
        try:
            self._server = ThreadingHTTPServer((LOOPBACK, port), Handler)
        except OSError as error:
            raise StateError("port", port, f"cannot be listened to at {LOOPBACK}: {error.strerror or error}") from None
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.1}, name="page", daemon=True)
        self._thread.start()

    @property
    def address(self) -> str:
        """As "http://127.0.0.1:8600"."""
        return f"http://{LOOPBACK}:{self._server.server_address[1]}"

    def close(self) -> None:
        """Hear nobody any more."""
        self._news.close()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def __enter__(self) -> PageServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "tiandi", ""
    timeout = TIMEOUT_S
    board: Callable[[], Board]
    happenings: News
    static_files: ClassVar[dict[str, bytes]]
    room: threading.BoundedSemaphore

    def handle(self) -> None:
        """One connection; one too many is closed at once."""
        if not self.room.acquire(blocking=False):
            return
        try:
            super().handle()
        except (ConnectionError, TimeoutError):
            self.close_connection = True  # It has gone by itself.
        finally:
            self.room.release()

    def log_message(self, format: str, *args: Any) -> None:
        """Requests are not logged: a page asks often."""

    def do_GET(self) -> None:
        """A file, an answer in JSON, or the stream of events."""
        address = urlsplit(self.path)
        given = {name: values[-1] for name, values in parse_qs(address.query, max_num_fields=8).items()}
        if not self._is_ours():
            self._refuse(403, "this page is for this machine alone")
        elif address.path == "/":
            self._send(200, self.static_files["index.html"], MEDIA_TYPES["html"])
        elif address.path.removeprefix("/static/") in self.static_files:
            name = address.path.removeprefix("/static/")
            self._send(200, self.static_files[name], MEDIA_TYPES[name.rpartition(".")[2]])
        elif address.path == "/api/events":
            self._events()
        else:
            self._answer(address.path, given)

    def _is_ours(self) -> bool:
        """A page of another site may not ask, nor one under a name that somebody lets point to this machine."""
        host = self.headers.get("Host", "").rpartition(":")
        return host[0] in OWN_NAMES and self.headers.get("Sec-Fetch-Site", "none") in ("same-origin", "none")

    def _answer(self, path: str, given: dict[str, str]) -> None:
        try:
            found = self._found(path, given)
        except (InputError, KeyError) as error:
            self._refuse(400, str(error) if isinstance(error, InputError) else f"the parameter {error} is missing")
        except TiandiError as error:
            self._refuse(503, str(error))
        else:
            if found is None:
                self._refuse(404, "no such path")
            else:
                self._send(200, encoded(found).encode(), "application/json")

    def _found(self, path: str, given: dict[str, str]) -> dict[str, Any] | None:
        if path == "/api/chip":
            return type(self).board().chip()
        if path == "/api/parameter":
            return type(self).board().parameter(given["name"])
        if path == "/api/element":
            return type(self).board().element(given["kind"], _whole(given["index"]))
        if path == "/api/fit":
            return type(self).board().fit(given["experiment"], _whole(given["index"]))
        return None

    def _events(self) -> None:
        """Server-sent events, the newest only, until the reader goes."""
        self.send_response(200)
        self._headers("text/event-stream; charset=utf-8")
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        version = -1
        while (news := self.happenings.after(version, SIGN_OF_LIFE_S)) is not None:
            text = ": here\n\n" if news[0] == version else f"id: {news[0]}\nevent: step\ndata: {json.dumps(news[1])}\n\n"
            version = news[0]
            self.wfile.write(text.encode())
            self.wfile.flush()
            time.sleep(EVENTS_EVERY_S)

    def _refuse(self, status: int, detail: str) -> None:
        self._send(status, json.dumps({"detail": detail}).encode(), "application/problem+json")

    def _send(self, status: int, body: bytes, media_type: str) -> None:
        self.send_response(status)
        self._headers(media_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _headers(self, media_type: str) -> None:
        self.send_header("Content-Type", media_type)
        for name, value in GUARDS.items():
            self.send_header(name, value)


def _whole(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 9):
        raise InputError("index", text[:20], "must be a whole number from 0")
    return int(text)
