"""Three KMEs in a row with every HTTP door open, over real mutual TLS, and what an attacker needs to talk to them byte by byte."""

from __future__ import annotations

import http.client
import os
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import msgspec

from tests.conftest import KmeChain
from tiandi.kms.directory import Sae
from tiandi.kms.doors import operations as operations_door
from tiandi.kms.doors import skip
from tiandi.kms.entity import KeyManagementEntity
from tiandi.kms.operating.operations import TABLES, Operations
from tiandi.kms.operating.systems import DirectorySystems
from tiandi.kms.relay.neighbours import Neighbours
from tiandi.kms.server import KmeServer, create_app
from tiandi.kms.tls import calling as transport
from tiandi.kms.tls.contexts import ServerTls
from tiandi.kms.tls.pki import Credentials

PATIENCE_S = 10.0
PAIR = "/api/v1/keys/bob"


class Fortress(KmeChain):
    """`KmeChain` with the doors for SKIP and for operators; alice and eve live at the first KME, bob and mallory at the last."""

    def __init__(self, folder: Path, length: int = 3) -> None:
        super().__init__(folder, length)
        self.operations: list[Operations] = []
        self._callers: dict[str, httpx.Client] = {}
        self.host._start = self._open_every_door  # type: ignore[method-assign]
        first, last = self.names[0], self.names[-1]
        self.host.directory.saes |= {
            "alice": Sae(first, system_id="a"),
            "bob": Sae(last, system_id="b"),
            "eve": Sae(first),
            "mallory": Sae(last),
        }
        self.eve, self.mallory = self.issue("eve"), self.issue("mallory")
        self.operator = self.authority.issue("operator", "root")
        # Of the authority, and of nobody's neighbourhood.
        self.stranger = self.authority.issue("kme", "kme-stranger")

    async def _open_every_door(self) -> None:
        for plan in self.host._plans:
            directory = self.host.directory
            plan.neighbours = Neighbours(plan.credentials, directory)
            entity = await KeyManagementEntity.open(
                plan.kme_id, plan.database, plan.master_key, directory=directory, post=plan.neighbours, limits=plan.limits, tables=TABLES
            )
            operations = Operations(entity)
            await operations.settings.refresh()
            self.operations.append(operations)
            self.host.entities[plan.kme_id] = entity
            doors = [*operations_door.routes(operations), *skip.routes(entity, DirectorySystems(directory, ("*",)))]
            plan.server = KmeServer(entity, create_app(entity, *doors), ServerTls(plan.credentials), plan.listener)
            await plan.server.start()

    def hang_up(self) -> None:
        """Close the connections that `call` has kept."""
        for client in self._callers.values():
            client.close()

    def fill(self, length_byte: int) -> list[bytes]:
        """Link key on every hop; what it was."""
        keys = [os.urandom(length_byte) for _ in self.names[1:]]
        for (here, there), key in zip(pairwise(self.names), keys, strict=True):
            self.share(here, there, key)
        return keys

    def credentials_of(self, kme: str) -> Credentials:
        """With which a KME shows itself."""
        return next(plan.credentials for plan in self.host._plans if plan.kme_id == kme)

    def port(self, kme: str) -> int:
        return int(self.address(kme).rpartition(":")[2])

    @contextmanager
    def connected(self, credentials: Credentials | ssl.SSLContext, kme: str = "kme-0") -> Iterator[ssl.SSLSocket]:
        """A TLS connection of the standard library's."""
        context = credentials if isinstance(credentials, ssl.SSLContext) else credentials.client_context()
        plain = socket.create_connection(("127.0.0.1", self.port(kme)), PATIENCE_S)
        with plain, context.wrap_socket(plain, server_hostname=kme) as made:
            yield made

    def ask(
        self, credentials: Credentials | ssl.SSLContext, path: str, body: Any = None, *, kme: str = "kme-0", headers: str = ""
    ) -> tuple[int, bytes]:
        """Status and body of one request on a connection of its own; a body that is no bytes is sent as JSON."""
        with self.connected(credentials, kme) as peer:
            peer.sendall(request(path, body, headers=headers))
            return answer(peer)

    def call(self, credentials: Credentials, path: str, messages: Any, *, kme: str = "kme-0") -> tuple[int, Any]:
        """What a KME hears when another, or somebody with a KME's certificate, calls: status, and the answers or the refusal's words."""
        body = messages if isinstance(messages, bytes) else msgspec.msgpack.encode(messages)
        if credentials.identity not in self._callers:
            self._callers[credentials.identity] = transport.client(credentials, timeout_s=PATIENCE_S, post_quantum_only=True)
        response = self._callers[credentials.identity].post(
            self.address(kme) + path, content=body, headers={"Content-Type": "application/msgpack"}, extensions={"sni_hostname": kme}
        )
        decode = msgspec.msgpack.decode if response.status_code == httpx.codes.OK else msgspec.json.decode
        return response.status_code, decode(response.content)

    def keys(self, number: int = 1, size: int = 256) -> dict[UUID, bytes]:
        """Keys that alice gets for bob."""
        status, body = self.ask(self.alice, PAIR + "/enc_keys", {"number": number, "size": size})
        assert status == httpx.codes.OK, body
        return decoded(body)

    def fetch(self, key_ids: list[UUID], *, who: Credentials | None = None, master: str = "alice", kme: str = "kme-2") -> tuple[int, bytes]:
        """What bob, or ``who``, hears when he asks for keys by their identifiers."""
        body = {"key_IDs": [{"key_ID": key_id} for key_id in key_ids]}
        return self.ask(who or self.bob, f"/api/v1/keys/{master}/dec_keys", body, kme=kme)


def decoded(body: bytes) -> dict[UUID, bytes]:
    """The keys of a key container."""
    return {UUID(key["key_ID"]): msgspec.convert(key["key"], bytes) for key in msgspec.json.decode(body)["keys"]}


def request(path: str, body: Any = None, *, headers: str = "") -> bytes:
    """A request by hand."""
    if body is None:
        return f"GET {path} HTTP/1.1\r\nHost: kme\r\n{headers}\r\n".encode()
    content = body if isinstance(body, bytes) else msgspec.json.encode(body)
    type_ = "" if "content-type" in headers.lower() else "Content-Type: application/json\r\n"
    return f"POST {path} HTTP/1.1\r\nHost: kme\r\n{type_}{headers}Content-Length: {len(content)}\r\n\r\n".encode() + content


def answer(peer: ssl.SSLSocket) -> tuple[int, bytes]:
    """The next answer on a connection. Raises OSError or http.client.HTTPException when there is none."""
    response = http.client.HTTPResponse(peer)
    response.begin()
    return response.status, response.read()


def is_cut_off(peer: ssl.SSLSocket) -> bool:
    """Whether the other end closes, within the connection's time-out."""
    try:
        while peer.recv(65_536):
            pass
    except TimeoutError:
        return False
    except OSError:
        pass
    return True
