"""What httpcore calls over: sockets with pyOpenSSL, for callers on an event loop and for callers that wait."""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import httpcore
from OpenSSL import SSL

from tiandi.errors import NotAuthorised
from tiandi.kms.tls.connections import RECORD_BYTE, TlsProtocol, TlsStream, TlsTransport, socket_has_news
from tiandi.kms.tls.contexts import READ_BYTE, ClientTls, pending_output, reason_of
from tiandi.kms.tls.identities import ClientCertificate

_BROKEN = (OSError, EOFError, NotAuthorised)


@contextmanager
def _told_as(broken: type[Exception], late: type[Exception]) -> Iterator[None]:
    """Errors of sockets and of OpenSSL as httpcore's."""
    try:
        yield
    except TimeoutError as error:
        raise late(str(error) or "the peer takes too long") from error
    except SSL.Error as error:
        raise broken(reason_of(error)) from error
    except _BROKEN as error:
        raise broken(str(error) or type(error).__name__) from error


class AsyncBackend(httpcore.AsyncNetworkBackend):
    """Connections of an event loop, as ``tls`` says."""

    def __init__(self, tls: ClientTls) -> None:
        self._tls = tls

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """A connection that speaks TLS as soon as it is asked to. Raises httpcore's errors."""
        with _told_as(httpcore.ConnectError, httpcore.ConnectTimeout):
            async with asyncio.timeout(timeout):
                _, protocol = await asyncio.get_running_loop().create_connection(lambda: _Calling(self._tls), host, port)
        return _AsyncStream(protocol)


class _Calling(TlsProtocol):
    """The calling end, whose handshake begins when httpcore says under which name."""

    def __init__(self, tls: ClientTls) -> None:
        super().__init__(tls)
        self._client_tls = tls
        self._done: asyncio.Future[TlsStream] = asyncio.get_running_loop().create_future()

    async def shake_hands(self, server_name: str) -> TlsStream:
        """Raises ConnectionError when it fails; nothing is left open then, nor when this is cancelled."""
        try:
            self.connection = self._client_tls.connection(server_name)
            self.advance(self.connection)
            return await self._done
        except BaseException:
            self.raw.abort()
            raise

    def opened(self, transport: TlsTransport, certificate: ClientCertificate) -> asyncio.Protocol:
        stream = TlsStream(transport, certificate, self.tls)
        if self._done.cancelled():
            transport.abort()
        else:
            self._done.set_result(stream)
        return stream.protocol

    def failed(self, reason: str) -> None:
        if not self._done.done():
            self._done.set_exception(ConnectionError(reason))

    def connection_lost(self, exc: Exception | None) -> None:
        self.failed(str(exc or "the peer hung up"))
        # Whoever was to hear of it may have gone.
        if not self._done.cancelled():
            self._done.exception()
        super().connection_lost(exc)


class _AsyncStream(httpcore.AsyncNetworkStream):
    def __init__(self, protocol: _Calling) -> None:
        self._protocol = protocol
        self._stream: TlsStream | None = None

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.AsyncNetworkStream:
        with _told_as(httpcore.ConnectError, httpcore.ConnectTimeout):
            async with asyncio.timeout(timeout):
                self._stream = await self._protocol.shake_hands(server_hostname or "")
        return self

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        assert self._stream is not None
        with _told_as(httpcore.ReadError, httpcore.ReadTimeout):
            async with asyncio.timeout(timeout):
                return await self._stream.read(max_bytes)

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        assert self._stream is not None
        with _told_as(httpcore.WriteError, httpcore.WriteTimeout):
            async with asyncio.timeout(timeout):
                await self._stream.write(buffer)

    async def aclose(self) -> None:
        if self._stream is None:
            self._protocol.raw.abort()
        else:
            self._stream.close()

    def get_extra_info(self, info: str) -> Any:
        if info == "is_readable":
            return self._stream is None or not self._stream.is_quiet
        known = {"client_addr": "sockname", "server_addr": "peername", "socket": "socket", "group": "group", "version": "version"}
        return self._stream.transport.get_extra_info(known[info]) if self._stream is not None and info in known else None


class Backend(httpcore.NetworkBackend):
    """Connections of callers that wait, as ``tls`` says."""

    def __init__(self, tls: ClientTls) -> None:
        self._tls = tls

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        """A connection that speaks TLS as soon as it is asked to. Raises httpcore's errors."""
        with _told_as(httpcore.ConnectError, httpcore.ConnectTimeout):
            plain = socket.create_connection((host, port), timeout)
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return _Stream(plain, self._tls)


class _Stream(httpcore.NetworkStream):
    """A socket, and TLS over memory between it and httpcore."""

    def __init__(self, plain: socket.socket, tls: ClientTls) -> None:
        self._socket, self._tls = plain, tls
        self._connection: SSL.Connection | None = None
        self._peer: ClientCertificate | None = None

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        deadline = _deadline(timeout)
        try:
            with _told_as(httpcore.ConnectError, httpcore.ConnectTimeout):
                self._connection = self._tls.connection(server_hostname or "")
                self._shake_hands(self._connection, deadline)
                self._peer = self._tls.admit(self._connection)
        except BaseException:
            self._socket.close()
            raise
        return self

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        assert self._connection is not None
        deadline = _deadline(timeout)
        with _told_as(httpcore.ReadError, httpcore.ReadTimeout):
            while True:
                try:
                    return self._connection.recv(min(max_bytes, RECORD_BYTE))
                except SSL.WantReadError:
                    self._exchange(self._connection, deadline)
                except SSL.ZeroReturnError:
                    return b""

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        assert self._connection is not None
        with _told_as(httpcore.WriteError, httpcore.WriteTimeout):
            if buffer:
                self._connection.sendall(buffer)
            self._socket.settimeout(timeout)
            self._socket.sendall(pending_output(self._connection))

    def close(self) -> None:
        with suppress(OSError, SSL.Error):
            if self._connection is not None:
                self._connection.shutdown()
                self._socket.setblocking(False)
                self._socket.send(pending_output(self._connection))
        self._socket.close()

    def get_extra_info(self, info: str) -> Any:
        if info == "is_readable":
            return not self._is_quiet()
        if info in ("client_addr", "server_addr"):
            return self._socket.getsockname() if info == "client_addr" else self._socket.getpeername()
        if info == "socket":
            return self._socket
        if self._connection is not None and info in ("group", "version"):
            return self._connection.get_group_name() if info == "group" else self._connection.get_protocol_version_name()
        return None

    def _is_quiet(self) -> bool:
        """As of a `TlsStream`."""
        if self._connection is None or self._peer is None or self._tls.revocations.refusal(self._peer):
            return False
        if self._socket.fileno() < 0 or socket_has_news(self._socket.fileno()):
            return False
        try:
            self._connection.recv(1, socket.MSG_PEEK)
        except SSL.WantReadError:
            return True
        except SSL.Error:
            return False
        return False

    def _shake_hands(self, connection: SSL.Connection, deadline: float | None) -> None:
        try:
            while True:
                try:
                    connection.do_handshake()
                    break
                except SSL.WantReadError:
                    self._exchange(connection, deadline)
        except SSL.Error as error:
            raise ConnectionError(reason_of(error, connection)) from None
        finally:
            # The last of the handshake, or the alert that tells the peer what is wrong.
            with suppress(OSError):
                self._socket.sendall(pending_output(connection))

    def _exchange(self, connection: SSL.Connection, deadline: float | None) -> None:
        """Send what is to be sent and wait for more. Raises OSError, of which TimeoutError after ``deadline``."""
        left_s = None if deadline is None else deadline - time.monotonic()
        if left_s is not None and left_s <= 0:
            raise TimeoutError("the peer takes too long")
        self._socket.settimeout(left_s)
        if output := pending_output(connection):
            self._socket.sendall(output)
        data = self._socket.recv(READ_BYTE)
        if not data:
            raise ConnectionResetError("the peer hung up")
        connection.bio_write(data)


def _deadline(timeout_s: float | None) -> float | None:
    return None if timeout_s is None else time.monotonic() + timeout_s
