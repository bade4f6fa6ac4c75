"""Who is at the other end of a connection: the client certificate that TLS has verified, handed to the ASGI application."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from tiandi.errors import NotAuthorised
from tiandi.kms.pki import IdentityKind, identity_uri

SCOPE_KEY = "tiandi.client_names"


class MutualTlsProtocol(HttpToolsProtocol):
    """uvicorn's HTTP protocol that puts the subject alternative names of the client's verified certificate into the scope."""

    _client_names: tuple[tuple[str, str], ...] = ()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Note whose certificate TLS has verified."""
        super().connection_made(transport)
        tls = transport.get_extra_info("ssl_object")
        certificate = tls.getpeercert() if tls is not None else None
        if certificate:
            self._client_names = certificate.get("subjectAltName", ())

    def on_headers_complete(self) -> None:
        """Hand it to the application with every request."""
        self.scope["extensions"] = {SCOPE_KEY: {"names": self._client_names}}
        super().on_headers_complete()


def caller_identity(scope: Mapping[str, Any], kind: IdentityKind) -> str:
    """The one identity of ``kind`` in the caller's certificate. Raises NotAuthorised when it has none."""
    prefix = identity_uri(kind, "")
    names = scope.get("extensions", {}).get(SCOPE_KEY, {}).get("names", ())
    identities = [value[len(prefix) :] for name, value in names if name == "URI" and value.startswith(prefix)]
    if len(identities) != 1 or not identities[0]:
        raise NotAuthorised(f"this door is for the certificate of one {kind.upper()}")
    return identities[0]
