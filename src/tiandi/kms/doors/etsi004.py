"""The ETSI GS QKD 004 door: key streams over mutual TLS, in the framing of `kms.streams.etsi004`.

A stream outlives its connection: a client may open, fetch and close over one connection or over one each. What is no request ends the
connection, because the framing has no word for it.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Protocol

from tiandi.errors import InputError, NotAuthorised, StateError, TiandiError
from tiandi.kms.streams.associations import Streams
from tiandi.kms.streams.etsi004 import (
    HEADER_BYTE,
    CloseRequest,
    CloseResponse,
    GetKeyRequest,
    GetKeyResponse,
    OpenConnectRequest,
    OpenConnectResponse,
    Request,
    Response,
    Status,
    decode_header,
    decode_request,
    encode,
    sae_from_uri,
)
from tiandi.kms.tls.identities import ClientCertificate

IDLE_TIMEOUT_S = 300.0
FRAME_TIMEOUT_S = 30.0

_log = logging.getLogger(__name__)


class ByteStream(Protocol):
    """What the door asks of a connection."""

    async def read_exactly(self, size: int) -> bytes:
        """``size`` bytes. Raises EOFError at the end, ConnectionError at a break."""
        ...

    async def write(self, data: bytes) -> None:
        """Send all of ``data``. Raises ConnectionError."""
        ...

    def close(self) -> None:
        """Close, after what was written."""
        ...


class StreamDoor:
    """Serves the streams of one KME. A client must go that says nothing for ``idle_timeout_s`` or takes ``frame_timeout_s`` for a frame."""

    def __init__(self, streams: Streams, *, idle_timeout_s: float = IDLE_TIMEOUT_S, frame_timeout_s: float = FRAME_TIMEOUT_S) -> None:
        self._streams = streams
        self._idle_timeout_s, self._frame_timeout_s = idle_timeout_s, frame_timeout_s

    async def connected(self, stream: ByteStream, certificate: ClientCertificate) -> None:
        """Serve one connection to its end; what `start_tls_server` calls. Raises NotAuthorised when the certificate is no SAE's."""
        try:
            sae = certificate.identity("sae")
            while True:
                request = await self._read(stream)
                answer = encode(await self._answer(sae, request))
                async with asyncio.timeout(self._frame_timeout_s):
                    await stream.write(answer)
        except (EOFError, ConnectionError, TimeoutError):
            pass  # The client has gone, or must.
        except InputError as error:
            _log.info("connection of %s ended: %s", certificate.fingerprint[:16], error)
        finally:
            stream.close()

    async def _read(self, stream: ByteStream) -> Request:
        async with asyncio.timeout(self._idle_timeout_s):
            header = await stream.read_exactly(HEADER_BYTE)
        service, length_byte = decode_header(header)
        async with asyncio.timeout(self._frame_timeout_s):
            return decode_request(service, await stream.read_exactly(length_byte))

    async def _answer(self, sae: str, request: Request) -> Response:
        """The answer to a request; one that fails for a reason without a status of its own is status 4."""
        try:
            match request:
                case OpenConnectRequest():
                    return await self._open(sae, request)
                case GetKeyRequest():
                    return await self._streams.get_key(sae, request)
                case CloseRequest(ksid):
                    return CloseResponse(await self._streams.close(sae, ksid))
        except TiandiError as error:
            level = logging.ERROR if isinstance(error, StateError) else logging.INFO
            _log.log(level, "%s of %s failed: %s", type(request).__name__, sae, error)
        answers = {OpenConnectRequest: OpenConnectResponse, GetKeyRequest: GetKeyResponse, CloseRequest: CloseResponse}
        return answers[type(request)](Status.NO_QKD_CONNECTION)

    async def _open(self, sae: str, request: OpenConnectRequest) -> OpenConnectResponse:
        names = [sae_from_uri(uri) for uri in (request.source, request.destination)]
        if sae not in names:
            raise NotAuthorised(f"{sae} is neither source nor destination")
        peer = names[1] if sae == names[0] else names[0]
        return await self._streams.open(sae, peer, request.qos, request.ksid)
