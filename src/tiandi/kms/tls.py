"""Who is at the other end of a connection: the client certificate that TLS has verified, handed to the ASGI application."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from tiandi.errors import NotAuthorised
from tiandi.kms.pki import IdentityKind, identity_uri

SCOPE_KEY = "tiandi.client_names"
HEADERS_LIMIT_BYTE = 64 * 1024
REQUEST_TIMEOUT_S = 30.0


class MutualTlsProtocol(HttpToolsProtocol):
    """uvicorn's HTTP protocol that puts the subject alternative names of the client's verified certificate into the scope.

    A client that sends no whole request in `REQUEST_TIMEOUT_S`, or more than `HEADERS_LIMIT_BYTE` of headers, is cut off.
    """

    _client_names: tuple[tuple[str, str], ...] = ()
    _headers_byte = 0
    _patience: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Note whose certificate TLS has verified."""
        super().connection_made(transport)
        tls = transport.get_extra_info("ssl_object")
        certificate = tls.getpeercert() if tls is not None else None
        if certificate:
            self._client_names = certificate.get("subjectAltName", ())
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        self._stop_waiting()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        """Count this request's headers from nothing and wait for its end."""
        self._headers_byte = 0
        if self._patience is None:
            self._wait()
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Cut off a client whose headers never end."""
        self._headers_byte += len(name) + len(value)
        if self._headers_byte > HEADERS_LIMIT_BYTE:
            self.transport.abort()
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Hand the client's names to the application with every request."""
        self.scope["extensions"] = {SCOPE_KEY: {"names": self._client_names}}
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """The request is whole: from here on it is the application that takes its time."""
        self._stop_waiting()
        super().on_message_complete()

    def _wait(self) -> None:
        self._patience = self.loop.call_later(REQUEST_TIMEOUT_S, self.transport.abort)

    def _stop_waiting(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None


def caller_identity(scope: Mapping[str, Any], kind: IdentityKind) -> str:
    """The one identity of ``kind`` in the caller's certificate. Raises NotAuthorised when it has none."""
    prefix = identity_uri(kind, "")
    names = scope.get("extensions", {}).get(SCOPE_KEY, {}).get("names", ())
    identities = [value[len(prefix) :] for name, value in names if name == "URI" and value.startswith(prefix)]
    if len(identities) != 1 or not identities[0]:
        raise NotAuthorised(f"this door is for the certificate of one {kind.upper()}")
    return identities[0]
