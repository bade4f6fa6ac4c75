"""How an SAE uses key streams: a client of ETSI GS QKD 004 in the framing of `kms.streams.etsi004`, over mutual TLS, without an event loop.

For people, tests and programs that draw key from a box of another maker.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from types import TracebackType
from typing import Self, TypeVar
from uuid import UUID

from OpenSSL import SSL

from tiandi.errors import InputError, KmeUnreachable, NotAuthorised, ProtocolViolation, RemoteRefused
from tiandi.kms.conversation import KeysUncertain
from tiandi.kms.streams.etsi004 import (
    HEADER_BYTE,
    METADATA_LIMIT_BYTE,
    PORT,
    CloseRequest,
    CloseResponse,
    GetKeyRequest,
    GetKeyResponse,
    OpenConnectRequest,
    OpenConnectResponse,
    Qos,
    Request,
    Response,
    Status,
    decode_header,
    decode_response,
    encode,
)
from tiandi.kms.tls.contexts import ClientTls, pending_output, reason_of
from tiandi.kms.tls.pki import Credentials

TIMEOUT_S = 30.0
READ_BYTE = 65_536

Outcome = TypeVar("Outcome")
Answer = TypeVar("Answer", OpenConnectResponse, GetKeyResponse, CloseResponse)


class QosNotMet(RemoteRefused):
    """The quality of service asked for is not to be had; ``qos`` is the key manager's counter-proposal."""

    def __init__(self, qos: Qos) -> None:
        self.qos = qos
        super().__init__(Status.QOS_NOT_MET, "this quality of service is not to be had; another is proposed")


class StreamClient:
    """The key manager ``kme_id`` at ``host`` and ``port``, as the SAE of ``credentials`` sees it; one connection, made when needed.

    Every call raises RemoteRefused with the status of the standard, KmeUnreachable when there was no conversation, ProtocolViolation for
    an answer that does not fit, InputError for what cannot be asked.
    """

    def __init__(self, host: str, kme_id: str, credentials: Credentials, *, port: int = PORT, timeout_s: float = TIMEOUT_S) -> None:
        self._host, self._port, self._kme_id, self._timeout_s = host, port, kme_id, timeout_s
        self._tls = ClientTls(credentials, post_quantum_only=False)
        self._line: _Line | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.hang_up()

    def hang_up(self) -> None:
        """Close the connection; streams stay."""
        if self._line is not None:
            self._line.close()
            self._line = None

    def open(self, source: str, destination: str, qos: Qos, ksid: UUID | None = None) -> OpenConnectResponse:
        """OPEN_CONNECT: the KSID, the quality of service registered, and status 0, or 1 when the peer has not connected in time.

        Raises QosNotMet with a counter-proposal.
        """
        request = OpenConnectRequest(source, destination, qos, ksid)
        answer = self._ask(request, OpenConnectResponse, self._timeout_s + qos.timeout_ms / 1000)
        if answer.status is Status.QOS_NOT_MET and answer.qos is not None:
            raise QosNotMet(answer.qos)
        _require(answer.status, Status.SUCCESSFUL, Status.PEER_NOT_CONNECTED)
        if answer.ksid is None or ksid not in (None, answer.ksid):
            raise ProtocolViolation("the answer to OPEN_CONNECT is of another stream")
        return answer

    def get_key(self, ksid: UUID, index: int, *, metadata_byte: int = METADATA_LIMIT_BYTE) -> GetKeyResponse:
        """GET_KEY: the chunk at ``index``. Raises KeysUncertain when the answer was lost, and the chunk with it."""
        answer = self._ask(GetKeyRequest(ksid, index, metadata_byte), GetKeyResponse, self._timeout_s)
        if answer.status is Status.METADATA_SIZE_INSUFFICIENT:
            raise RemoteRefused(answer.status, f"the metadata needs {answer.needed_byte} bytes")
        _require(answer.status, Status.SUCCESSFUL)
        if answer.index != index or not answer.key:
            raise ProtocolViolation(f"the answer to GET_KEY is not chunk {index}")
        return answer

    def close(self, ksid: UUID) -> None:
        """CLOSE: no more chunks of this stream."""
        _require(self._ask(CloseRequest(ksid), CloseResponse, self._timeout_s).status, Status.SUCCESSFUL)

    def _ask(self, request: Request, kind: type[Answer], timeout_s: float) -> Answer:
        frame = encode(request)
        deadline_s = time.monotonic() + timeout_s
        where = f"{self._kme_id} at {self._host}:{self._port}"
        try:
            if self._line is None:
                self._line = _Line(self._host, self._port, self._kme_id, self._tls, deadline_s)
        except (OSError, SSL.Error, NotAuthorised) as error:
            raise KmeUnreachable(f"{where}: {_words(error)}") from None
        try:
            answer = self._line.converse(frame, deadline_s)
            if not isinstance(answer, kind):
                raise ProtocolViolation(f"{where} gave another answer than was asked for")
        except BaseException as error:
            # An answer that came too late would be taken for the next.
            self.hang_up()
            if isinstance(error, InputError):
                raise ProtocolViolation(f"{where}: {error}") from None
            if not isinstance(error, (OSError, SSL.Error)):
                raise
            if isinstance(request, GetKeyRequest):
                raise KeysUncertain(where, f"chunk {request.index}: {_words(error)}") from None
            raise KmeUnreachable(f"{where}: {_words(error)}") from None
        return answer


class _Line:
    """One connection. Raises OSError and SSL.Error when it breaks, TimeoutError after a deadline [s of time.monotonic]."""

    def __init__(self, host: str, port: int, kme_id: str, tls: ClientTls, deadline_s: float) -> None:
        self._socket = socket.create_connection((host, port), _left_s(deadline_s))
        try:
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._tls = tls.connection(kme_id)
            self._advance(self._tls.do_handshake, deadline_s)
            tls.admit(self._tls)
        except BaseException:
            self._socket.close()
            raise

    def converse(self, frame: bytes, deadline_s: float) -> Response:
        """The answer to a frame."""
        self._advance(lambda: self._tls.sendall(frame), deadline_s)
        service, length_byte = decode_header(self._read(HEADER_BYTE, deadline_s))
        return decode_response(service, self._read(length_byte, deadline_s))

    def close(self) -> None:
        """Close, with a word to the peer if it takes it at once."""
        with suppress(OSError, SSL.Error):
            self._tls.shutdown()
            self._socket.setblocking(False)
            self._socket.send(pending_output(self._tls))
        self._socket.close()

    def _read(self, size: int, deadline_s: float) -> bytes:
        parts, missing = [], size
        while missing:
            parts.append(self._advance(partial(self._tls.recv, missing), deadline_s))
            missing -= len(parts[-1])
        return b"".join(parts)

    def _advance(self, step: Callable[[], Outcome], deadline_s: float) -> Outcome:
        """Take a step of TLS, sending and receiving what it needs."""
        while True:
            try:
                outcome = step()
                break
            except SSL.WantReadError:
                self._send(deadline_s)
                self._socket.settimeout(_left_s(deadline_s))
                received = self._socket.recv(READ_BYTE)
                if not received:
                    raise ConnectionResetError("the peer hung up") from None
                self._tls.bio_write(received)
        self._send(deadline_s)
        return outcome

    def _send(self, deadline_s: float) -> None:
        if output := pending_output(self._tls):
            self._socket.settimeout(_left_s(deadline_s))
            self._socket.sendall(output)


def _left_s(deadline_s: float) -> float:
    left_s = deadline_s - time.monotonic()
    if left_s <= 0:
        raise TimeoutError("the peer takes too long")
    return left_s


def _require(status: Status, *fine: Status) -> None:
    if status not in fine:
        raise RemoteRefused(status, status.name.lower().replace("_", " "))


def _words(error: Exception) -> str:
    return reason_of(error) if isinstance(error, SSL.Error) else str(error) or type(error).__name__
