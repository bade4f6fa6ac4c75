"""How a KME or an SAE calls over HTTPS: httpx on httpcore, with pyOpenSSL beneath, so that X25519MLKEM768 is spoken.

A connection is kept for the server's name that its certificate was checked under, and used again only under that name, while nothing
unasked has come and neither end's trust has changed; a dead one is found before anything is sent on it, and then a new one is opened.
Nothing that was sent is sent again.
"""

from __future__ import annotations

import ssl
from typing import Any

import httpcore
import httpx

from tiandi.kms.tls.backends import AsyncBackend, Backend
from tiandi.kms.tls.contexts import ClientTls
from tiandi.kms.tls.pki import Credentials

CONNECTION_LIMIT, KEPT_LIMIT = 100, 20
KEEP_ALIVE_S = 30.0


def async_client(credentials: Credentials, *, timeout_s: float, post_quantum_only: bool, **options: Any) -> httpx.AsyncClient:
    """An httpx client that calls as ``credentials``; ``options`` are httpx's own, such as ``base_url``.

    The server must show a certificate of the authority under ``extensions={"sni_hostname": ...}``, or under the host it is called at.
    With ``post_quantum_only`` nothing but TLS 1.3 with X25519MLKEM768 is spoken, which is what KMEs ask of each other. A response tells
    the group: ``response.extensions["network_stream"].get_extra_info("group")``.
    """
    transport = _AsyncTransport(ClientTls(credentials, post_quantum_only=post_quantum_only))
    return httpx.AsyncClient(transport=transport, timeout=timeout_s, trust_env=False, **options)


def client(credentials: Credentials, *, timeout_s: float, post_quantum_only: bool, **options: Any) -> httpx.Client:
    """As `async_client`, for callers that wait."""
    transport = _Transport(ClientTls(credentials, post_quantum_only=post_quantum_only))
    return httpx.Client(transport=transport, timeout=timeout_s, trust_env=False, **options)


class _AsyncTransport(httpx.AsyncBaseTransport):
    """A pool for each server name: httpcore keeps connections by address alone."""

    def __init__(self, tls: ClientTls) -> None:
        self._backend = AsyncBackend(tls)
        self._named: dict[str, httpx.AsyncHTTPTransport] = {}

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        name = _server_name(request)
        if name not in self._named:
            self._named[name] = httpx.AsyncHTTPTransport(verify=_NOT_USED, trust_env=False)
            self._named[name]._pool = httpcore.AsyncConnectionPool(network_backend=self._backend, **_POOL)
        return await self._named[name].handle_async_request(request)

    async def aclose(self) -> None:
        for transport in self._named.values():
            await transport.aclose()


class _Transport(httpx.BaseTransport):
    def __init__(self, tls: ClientTls) -> None:
        self._backend = Backend(tls)
        self._named: dict[str, httpx.HTTPTransport] = {}

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        name = _server_name(request)
        if name not in self._named:
            transport = httpx.HTTPTransport(verify=_NOT_USED, trust_env=False)
            transport._pool = httpcore.ConnectionPool(network_backend=self._backend, **_POOL)
            # Of two threads the first wins.
            self._named.setdefault(name, transport)
        return self._named[name].handle_request(request)

    def close(self) -> None:
        for transport in self._named.values():
            transport.close()


# httpcore wants to set this one's ALPN, and would hand it to `start_tls`.
_NOT_USED = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
_POOL: dict[str, Any] = {
    "ssl_context": _NOT_USED,
    "max_connections": CONNECTION_LIMIT,
    "max_keepalive_connections": KEPT_LIMIT,
    "keepalive_expiry": KEEP_ALIVE_S,
}


def _server_name(request: httpx.Request) -> str:
    if request.url.scheme != "https":
        raise httpx.UnsupportedProtocol(f"{request.url.scheme}: nothing but https is spoken", request=request)
    return str(request.extensions.get("sni_hostname") or request.url.host)
