"""TLS over memory between an asyncio transport and a protocol, for either end of a connection; and a plain stream on top."""

from __future__ import annotations

import asyncio
import logging
import select
from abc import abstractmethod
from contextlib import suppress
from typing import Any, cast

from OpenSSL import SSL

from tiandi.errors import NotAuthorised
from tiandi.kms.tls.contexts import ClientTls, ServerTls, pending_output, reason_of
from tiandi.kms.tls.identities import ClientCertificate

HANDSHAKE_TIMEOUT_S = 10.0
STALL_TIMEOUT_S = 30.0
"""How long a peer may take nothing of what it is sent."""
RECORD_BYTE = 16_384
HELD_BYTE = 65_536
"""What is written in one turn of the event loop goes out at once, or when it is this much."""

_log = logging.getLogger(__name__)


class TlsTransport(asyncio.Transport):
    """What a protocol writes to: plain bytes in, one write to the network for all that it writes in one go."""

    def __init__(self, raw: asyncio.Transport, connection: SSL.Connection) -> None:
        super().__init__()
        self._raw, self._connection = raw, connection
        self._held: list[bytes] = []
        self._held_byte = 0
        self.was_closed = False

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """As of the connection beneath; and ``sslcontext``, ``group`` and ``version``."""
        ask = {
            "sslcontext": self._connection.get_context,
            "group": self._connection.get_group_name,
            "version": self._connection.get_protocol_version_name,
        }
        return ask[name]() if name in ask else self._raw.get_extra_info(name, default)

    def is_closing(self) -> bool:
        """Whether nothing more can be written; ``was_closed`` tells whether that was meant."""
        return self.was_closed or self._raw.is_closing()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send ``data``, soon."""
        if self.is_closing() or not data:
            return
        if not self._held:
            asyncio.get_running_loop().call_soon(self.flush)
        self._held.append(bytes(data))
        self._held_byte += len(data)
        if self._held_byte >= HELD_BYTE:
            self.flush()

    def flush(self) -> None:
        """Send what is held, and whatever TLS itself has to say."""
        held = b"".join(self._held)
        self._held.clear()
        self._held_byte = 0
        if self._raw.is_closing():
            return
        if held:
            try:
                self._connection.sendall(held)
            except SSL.Error:
                self._raw.abort()
                return
        if output := pending_output(self._connection):
            self._raw.write(output)

    def close(self) -> None:
        """Send what is held and a close notify, then close; a peer that does not take it in time is cut off."""
        if self.was_closed:
            return
        self.flush()
        self.was_closed = True
        if self._raw.is_closing():
            return
        with suppress(SSL.Error):
            self._connection.shutdown()
        self.flush()
        if self._raw.get_write_buffer_size():
            asyncio.get_running_loop().call_later(STALL_TIMEOUT_S, self._raw.abort)
        self._raw.close()

    def abort(self) -> None:
        """Close at once."""
        self.was_closed = True
        self._held.clear()
        self._raw.abort()

    def pause_reading(self) -> None:
        """Take nothing from the network."""
        if not self._raw.is_closing():
            self._raw.pause_reading()

    def resume_reading(self) -> None:
        """Take from the network again."""
        if not self._raw.is_closing():
            self._raw.resume_reading()

    def get_write_buffer_size(self) -> int:
        """Bytes that wait here and beneath."""
        return self._held_byte + self._raw.get_write_buffer_size()


class TlsProtocol(asyncio.Protocol):
    """One end of a TLS connection. Whoever derives from it says what is spoken inside, in `opened`."""

    raw: asyncio.Transport

    def __init__(self, tls: ServerTls | ClientTls) -> None:
        self.tls = tls
        self.connection: SSL.Connection | None = None
        """This end, once somebody has begun the handshake."""
        self.transport: TlsTransport | None = None
        self._inside: asyncio.Protocol | None = None
        self._broken = "the connection was cut off"
        self._timer: asyncio.TimerHandle | None = None

    @abstractmethod
    def opened(self, transport: TlsTransport, certificate: ClientCertificate) -> asyncio.Protocol:
        """The protocol inside, which has been told of its connection."""

    def failed(self, reason: str) -> None:
        """The handshake has failed."""
        _log.info("TLS with %s: %s", self.raw.get_extra_info("peername"), reason)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for the handshake."""
        self.raw = cast(asyncio.Transport, transport)  # uvloop's are no subclass of it.
        self._expect(HANDSHAKE_TIMEOUT_S)

    def data_received(self, data: bytes) -> None:
        """Take the handshake further, or hand plain bytes to the protocol inside."""
        if self.connection is not None and not (self.transport is not None and self.transport.is_closing()):
            self.connection.bio_write(data)
            self.advance(self.connection)

    def advance(self, connection: SSL.Connection) -> None:
        """Shake hands, then read to the end of what there is; send what is to be sent."""
        try:
            if self.transport is None:
                connection.do_handshake()
                self._open(connection)
            inside, transport = self._inside, self.transport
            while inside is not None and transport is not None and not transport.is_closing():
                inside.data_received(connection.recv(RECORD_BYTE))
        except SSL.WantReadError:
            self._send(connection)
        except SSL.ZeroReturnError:
            self._end()
        except SSL.Error as error:
            self._break(connection, reason_of(error, connection))
        except NotAuthorised as error:
            self._break(connection, str(error))

    def eof_received(self) -> None:
        """An end without a close notify is a break, not an end."""
        self._broken = "the peer hung up"
        if self.transport is None:
            self.failed(self._broken)
        self.raw.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the protocol inside."""
        self._forget()
        if self._inside is not None:
            ended = self.transport is not None and self.transport.was_closed
            self._inside.connection_lost(exc if exc or ended else ConnectionResetError(self._broken))
        self._inside = self.connection = None

    def pause_writing(self) -> None:
        """The peer takes nothing: the protocol inside must wait, though not for ever."""
        self._expect(STALL_TIMEOUT_S)
        if self._inside is not None:
            self._inside.pause_writing()

    def resume_writing(self) -> None:
        """The peer takes again."""
        self._forget()
        if self._inside is not None:
            self._inside.resume_writing()

    def _open(self, connection: SSL.Connection) -> None:
        """Raises NotAuthorised for a peer who may not stay."""
        certificate = self.tls.admit(connection)
        self._forget()
        self.transport = TlsTransport(self.raw, connection)
        self.transport.flush()
        self._inside = self.opened(self.transport, certificate)

    def _end(self) -> None:
        """The peer says that it has nothing more to say."""
        if self.transport is None:
            self.failed("the peer broke the handshake off")
            self.raw.close()
            return
        if self._inside is not None:
            self._inside.eof_received()
        self.transport.close()

    def _break(self, connection: SSL.Connection, reason: str) -> None:
        """Send the alert that OpenSSL has left, if any, and close."""
        self._broken = reason
        if self.transport is None:
            self.failed(reason)
        self._send(connection)
        self.raw.close()

    def _send(self, connection: SSL.Connection) -> None:
        if self.transport is not None:
            self.transport.flush()
        elif (output := pending_output(connection)) and not self.raw.is_closing():
            self.raw.write(output)

    def _expect(self, within_s: float) -> None:
        self._forget()
        self._timer = asyncio.get_running_loop().call_later(within_s, self.raw.abort)

    def _forget(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class TlsStream:
    """A TLS connection as a stream of bytes, with the certificate of its ``peer``."""

    def __init__(self, transport: TlsTransport, peer: ClientCertificate, tls: ServerTls | ClientTls) -> None:
        loop = asyncio.get_running_loop()
        self.peer, self.transport, self._tls = peer, transport, tls
        self._reader = _CountingReader(loop=loop)
        self.protocol = asyncio.StreamReaderProtocol(self._reader, loop=loop)
        self.protocol.connection_made(transport)
        self._writer = asyncio.StreamWriter(transport, self.protocol, self._reader, loop)

    async def read(self, most: int) -> bytes:
        """At least one byte and at ``most`` so many; none when the peer has said that it is done. Raises ConnectionError, NotAuthorised."""
        data = await self._reader.read(most)
        self._reader.unread_byte -= len(data)
        self._require_good()
        return data

    async def read_exactly(self, size: int) -> bytes:
        """``size`` bytes. Raises asyncio.IncompleteReadError at the end, ConnectionError at a break, NotAuthorised when the peer's
        certificate is no longer good, after closing.
        """
        data = await self._reader.readexactly(size)
        self._reader.unread_byte -= size
        self._require_good()
        return data

    async def write(self, data: bytes) -> None:
        """Send ``data``, and wait while the peer is slow. Raises ConnectionError."""
        if self.transport.is_closing():
            raise ConnectionResetError("the connection is closed")
        self.transport.write(data)
        self.transport.flush()
        await self._writer.drain()

    def close(self) -> None:
        """Close, after what was written; safe to call more than once."""
        self.transport.close()

    @property
    def is_quiet(self) -> bool:
        """Whether it is open, the peer's certificate is good, and nothing has come that nobody asked for."""
        closed = self.transport.is_closing() or self._reader.at_eof() or self._reader.exception() is not None
        if closed or self._reader.unread_byte or self._tls.revocations.refusal(self.peer):
            return False
        return not socket_has_news(self.transport.get_extra_info("socket").fileno())

    def _require_good(self) -> None:
        if refusal := self._tls.revocations.refusal(self.peer):
            self.close()
            raise NotAuthorised(refusal)


class _CountingReader(asyncio.StreamReader):
    unread_byte = 0

    def feed_data(self, data: bytes) -> None:  # type: ignore[override] # Streams feed bytes.
        self.unread_byte += len(data)
        super().feed_data(data)


def socket_has_news(descriptor: int) -> bool:
    """Whether the system holds data, an end or an error for a socket."""
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(0))
