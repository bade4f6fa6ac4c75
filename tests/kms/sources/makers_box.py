"""Another maker's QKD box: a small ETSI GS QKD 014 server over mutual TLS that delivers each key once, and can be told to misbehave."""

from __future__ import annotations

import base64
import http.server
import ipaddress
import json
import os
import ssl
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import unquote
from uuid import uuid4

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from tiandi.kms.tls.certificates import Template, generate_key, key_bytes, put, sign_certificate
from tiandi.kms.tls.pki import Credentials

Answer = tuple[int, bytes]
Mishap = Callable[[Callable[[], Answer]], Answer | None]
"""Instead of serving a request: may serve it or not, and gives the answer to send, or None to hang up."""


def hang_up(serve: Callable[[], Answer]) -> None:
    """Hang up before anything is delivered."""


def lose_the_answer(serve: Callable[[], Answer]) -> None:
    """Deliver, and hang up before anybody hears of it."""
    serve()


def answering(status: int, body: bytes) -> Mishap:
    """Answer so, delivering nothing."""
    return lambda serve: (status, body)


class MakersAuthority:
    """The maker's own authority: names stand in common name and host names, and nowhere in the way of tiandi."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._key = generate_key("p256")
        self._root = sign_certificate(Template("maker", (), 10, depth=0), self._key.public_key(), None, self._key)
        put(folder / "maker.crt", self._root.public_bytes(Encoding.PEM))

    def issue(self, name: str) -> Credentials:
        """For a box as well as for whoever calls it."""
        names = (x509.DNSName(name), x509.IPAddress(ipaddress.ip_address("127.0.0.1")))
        key, files = generate_key("p256"), (self._folder / f"{name}.crt", self._folder / f"{name}.key", self._folder / "maker.crt")
        certificate = sign_certificate(Template(name, names, 5, serving=True), key.public_key(), self._root, self._key)
        put(files[0], certificate.public_bytes(Encoding.PEM))
        put(files[1], key_bytes(key, None), 0o600)
        return Credentials(name, *files)


class Pool:
    """The keys that a pair of boxes shares."""

    def __init__(self, stock: int = 1000) -> None:
        self.stock = stock
        self.waiting: dict[str, tuple[str, str, bytes]] = {}
        self.lock = threading.Lock()


class MakersBox:
    """Serves ``pool`` at a free port of the loopback address while entered."""

    def __init__(self, credentials: Credentials, pool: Pool) -> None:
        self.kme_id, self.pool = credentials.identity, pool
        self.requests: list[str] = []
        self.mishaps: deque[Mishap] = deque()
        self.pause_s = 0.0
        """After every byte of an answer."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(credentials.authority))
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_cert_chain(credentials.certificate, credentials.private_key)
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.box = self
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self.address = f"https://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()

    def serve(self, caller: str, path: str, body: bytes) -> Answer:
        """The answer to one request."""
        self.requests.append(path)
        far, method = map(unquote, path.rsplit("/", 2)[-2:])
        asked = json.loads(body or b"{}")
        with self.pool.lock:
            if method == "status":
                return _json(200, _status(self, caller, far))
            keys = self._new(caller, far, asked) if method == "enc_keys" else self._named(caller, far, asked)
        if keys is None:
            return _json(*((503, {"message": "no key"}) if method == "enc_keys" else (400, {"message": "not found"})))
        return _json(200, {"keys": [{"key_ID": key_id, "key": base64.b64encode(key).decode()} for key_id, key in keys]})

    def _new(self, caller: str, far: str, asked: dict[str, Any]) -> list[tuple[str, bytes]] | None:
        if asked["number"] > self.pool.stock:
            return None
        self.pool.stock -= asked["number"]
        made = [(str(uuid4()), os.urandom(asked["size"] // 8)) for _ in range(asked["number"])]
        self.pool.waiting |= {key_id: (caller, far, key) for key_id, key in made}
        return made

    def _named(self, caller: str, far: str, asked: dict[str, Any]) -> list[tuple[str, bytes]] | None:
        key_ids = [item["key_ID"] for item in asked["key_IDs"]]
        if any(self.pool.waiting.get(key_id, ())[:2] != (far, caller) for key_id in key_ids):
            return None
        # A KME may answer in any order.
        return [(key_id, self.pool.waiting.pop(key_id)[2]) for key_id in reversed(key_ids)]


class _Server(http.server.ThreadingHTTPServer):
    box: MakersBox
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that break off are what some tests are about."""


class _Handler(http.server.BaseHTTPRequestHandler):
    server: _Server
    connection: ssl.SSLSocket
    protocol_version = "HTTP/1.1"
    wbufsize = -1

    def do_GET(self) -> None:
        box, body = self.server.box, self.rfile.read(int(self.headers.get("Content-Length", 0)))
        caller = next(value for ((name, value),) in (self.connection.getpeercert() or {})["subject"] if name == "commonName")

        def serve() -> Answer:
            return box.serve(caller, self.path, body)

        answer = box.mishaps.popleft()(serve) if box.mishaps else serve()
        if answer is None:
            self.close_connection = True
            return
        status, content = answer
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if not self.server.box.pause_s:
            self.wfile.write(content)
            return
        for byte in content:
            self.wfile.write(bytes([byte]))
            self.wfile.flush()
            time.sleep(self.server.box.pause_s)

    do_POST = do_GET

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


def _json(status: int, body: dict[str, Any]) -> Answer:
    return status, json.dumps(body).encode()


def _status(box: MakersBox, caller: str, far: str) -> dict[str, Any]:
    names = {"source_KME_ID": box.kme_id, "target_KME_ID": "far", "master_SAE_ID": caller, "slave_SAE_ID": far}
    counts = {"stored_key_count": box.pool.stock, "max_key_count": 1000, "max_key_per_request": 128, "max_SAE_ID_count": 0}
    return {**names, **counts, "key_size": 256, "max_key_size": 4096, "min_key_size": 8, "status_extension": {"colour": "red"}}
