"""Numbered frames between two hosts, over TCP or TLS: what the two ends of a block say travels in them.

Plain TCP is allowed: nothing secret is said, and the tags of a block authenticate every word of it. TLS hides from a listener how well the
link does, and keeps strangers from taking up time. A peer that is not what it should be takes no memory: of what it announces only what
has arrived is held, no more than a frame of the agreed size, and after a few unread frames nothing more is read.
"""

from __future__ import annotations

import asyncio
import re
import ssl
import struct
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tiandi.bits import Data
from tiandi.errors import DistillationAborted, InputError, ProtocolViolation
from tiandi.handshakes import Handshakes

HEADER = struct.Struct(">II")
GREETING_BYTE = 1 << 20
"""Longest frame before the ends have agreed on anything."""
HANDSHAKES = 64
"""Peers that shake hands at a door at once; there is one that is meant."""
ROOM_BYTE = 1 << 18
CONTROL = 2**32 - 1
"""The number of frames that are of no block."""
MOST_UNREAD = 16
JOINED_BYTE = 1 << 16
PIECE_BYTE = 1 << 18
"""Of a long frame so much is handed over at a time: a transport copies whatever does not leave at once, and TLS copies all of it."""
ADDRESS = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([^:\s\[\]]+)):([0-9]{1,5})")


class Frame(NamedTuple):
    """A message of the block ``number``."""

    number: int
    payload: Data


class Address(NamedTuple):
    """Where an end listens."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Address:
        """The address in HOST:PORT or [IPv6]:PORT. Raises InputError for anything else."""
        found = ADDRESS.fullmatch(text)
        if not found or int(found[3]) > 65535:
            raise InputError("address", text, "must be HOST:PORT, or [IPv6]:PORT")
        return cls(found[1] or found[2], int(found[3]))

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def _never(_: Frame) -> bool:
    return False


class Wire(asyncio.BufferedProtocol):
    """One end of a connection. Frames are sent at once and in order; `receive` gives the peer's, in order.

    Frames of blocks are taken after `admit_blocks`: until then whoever is there may only say what concerns no block.
    """

    def __init__(self, greet: Callable[[Wire], None] | None = None) -> None:
        self._limit_byte, self._blocks_admitted = GREETING_BYTE, False
        self.peer = "nobody"
        self._greet = greet
        self._transport: asyncio.Transport | None = None
        self._unread: deque[Frame] = deque()
        self._heard_s = 0.0
        self._answer_at_once: Callable[[Frame], bool] = _never
        self._waiting: asyncio.Future[None] | None = None
        self._broken: Exception | None = None
        self._closed = asyncio.get_running_loop().create_future()
        self._unsent: deque[Data] = deque()
        self._may_write, self._closes_when_sent = True, False
        self._room = memoryview(bytearray(ROOM_BYTE))
        self._rest = b""
        self._number: int | None = None
        self._long: memoryview | None = None
        self._size_byte = self._filled_byte = 0

    def admit_blocks(self, limit_byte: int, answer_at_once: Callable[[Frame], bool] = _never) -> None:
        """Take frames of blocks from now on, up to this length; one that ``answer_at_once`` says it has dealt with is not laid aside."""
        self._limit_byte, self._blocks_admitted, self._answer_at_once = limit_byte, True, answer_at_once

    @property
    def certificate(self) -> bytes:
        """The certificate that the peer has shown (DER); of plain TCP nothing."""
        secured = None if self._transport is None else self._transport.get_extra_info("ssl_object")
        return (secured.getpeercert(binary_form=True) if secured is not None else None) or b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Note who is there, and tell whoever waits for connections."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        name = transport.get_extra_info("peername")
        self.peer = str(Address(*name[:2])) if name else "somebody"
        if self._greet is not None:
            self._greet(self)

    def get_buffer(self, sizehint: int) -> memoryview:
        """Room for what arrives next: a long frame fills its own."""
        return self._room if self._long is None else self._long[self._filled_byte :]

    def buffer_updated(self, nbytes: int) -> None:
        """Cut what has arrived into frames; whole ones are laid aside for `receive`."""
        self._heard_s = asyncio.get_running_loop().time()
        if self._long is None:
            self._cut(self._rest + self._room[:nbytes])
            return
        self._filled_byte += nbytes
        if self._filled_byte == len(self._long):
            whole, self._long = self._long, None
            self._end_of_frame(whole)

    def _cut(self, data: bytes) -> None:
        """Take the frames out of ``data``; the beginning of another one is kept until the rest of it arrives."""
        start = 0
        while self._broken is None:
            if self._number is None:
                if len(data) - start < HEADER.size:
                    break
                self._number, self._size_byte = HEADER.unpack_from(data, start)
                start += HEADER.size
                self._admit()
            elif len(data) - start < self._size_byte:
                if self._size_byte > ROOM_BYTE:
                    # Memory that nobody has written to is not taken yet, whatever was announced.
                    self._long, self._filled_byte = np.empty(self._size_byte, np.uint8).data, len(data) - start
                    self._long[: self._filled_byte] = data[start:]
                    start = len(data)
                break
            else:
                end = start + self._size_byte
                self._end_of_frame(data[start:end])
                start = end
        self._rest = data[start:]

    def _admit(self) -> None:
        """Break with a peer that announces a frame which it may not send."""
        if self._number != CONTROL and not self._blocks_admitted:
            self._break(ProtocolViolation("what the peer says is no greeting"))
        elif self._size_byte > self._limit_byte:
            self._break(ProtocolViolation(f"a frame of {self._size_byte} bytes is announced, {self._limit_byte} are the most"))

    def _end_of_frame(self, payload: Data) -> None:
        assert self._number is not None
        number, self._number = self._number, None
        self._lay_aside(Frame(number, payload))

    def _lay_aside(self, frame: Frame) -> None:
        if not self._unread and self._answer_at_once(frame):
            return
        self._unread.append(frame)
        self._wake()
        if len(self._unread) == MOST_UNREAD and self._transport is not None:
            self._transport.pause_reading()

    def _wake(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    def hang_up(self, reason: Exception) -> None:
        """Break the connection: `receive` raises ``reason``, whatever has arrived."""
        self._unread.clear()
        self._break(reason)

    def _break(self, reason: Exception) -> None:
        """Frames that arrived whole before are still given out, then the first ``reason`` is raised."""
        if self._broken is None:
            self._broken = reason
            self._wake()
        self._unsent.clear()
        if self._transport is not None:
            self._transport.abort()

    def eof_received(self) -> bool:
        """Nobody reads what a peer is told that has stopped talking."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell whoever waits."""
        if not self._closed.done():
            self._closed.set_result(None)
        self._break(DistillationAborted(f"the connection broke: {_reason(exc)}"))

    async def receive(self, within_s: float) -> Frame:
        """The peer's next frame. Raises DistillationAborted when the connection is broken, or nothing comes ``within_s`` [s]."""
        loop = asyncio.get_running_loop()
        self._heard_s = max(self._heard_s, loop.time())
        while not self._unread:
            if self._broken is not None:
                raise self._broken
            if loop.time() >= self._heard_s + within_s:
                self._break(DistillationAborted(f"the peer has been silent for {within_s:g} s"))
                continue
            self._waiting = loop.create_future()
            silence = loop.call_at(self._heard_s + within_s, self._wake)
            try:
                await self._waiting
            finally:
                silence.cancel()
        frame = self._unread.popleft()
        if len(self._unread) == MOST_UNREAD // 2 and self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()
        return frame

    def send(self, number: int, payload: bytes) -> None:
        """Send a frame. What cannot leave at once waits in memory: an end has one message a block to say before it is answered."""
        if self._transport is None or self._transport.is_closing():
            return
        header = HEADER.pack(number, len(payload))
        if len(payload) < JOINED_BYTE:
            self._unsent.append(header + payload)
        else:
            whole = memoryview(payload)
            self._unsent += [header, *(whole[start : start + PIECE_BYTE] for start in range(0, len(payload), PIECE_BYTE))]
        self._write()

    def _write(self) -> None:
        """Hand over what is to be sent for as long as the transport has room."""
        assert self._transport is not None
        while self._unsent and self._may_write:
            self._transport.write(self._unsent.popleft())
        if self._closes_when_sent and not self._unsent:
            self._transport.close()

    def pause_writing(self) -> None:
        """The transport holds enough that has not left."""
        self._may_write = False

    def resume_writing(self) -> None:
        """The transport has room again."""
        self._may_write = True
        self._write()

    async def close(self, within_s: float) -> None:
        """Hang up when everything is sent, or after ``within_s`` [s]."""
        if self._transport is not None:
            self._closes_when_sent = True
            self._write()
            await asyncio.wait([self._closed], timeout=within_s)
            self._transport.abort()


def _reason(fault: Exception | None) -> str:
    if fault is None or isinstance(fault, ConnectionResetError | ConnectionAbortedError | BrokenPipeError):
        return "the peer hung up"
    if isinstance(fault, ssl.SSLError) and fault.reason:
        return f"TLS: {fault.reason.lower().replace('_', ' ')}"
    if isinstance(fault, OSError) and fault.strerror:
        return fault.strerror.lower()
    return type(fault).__name__


def tls_context(*, serving: bool, certificate: Path, private_key: Path, authority: Path, revocations: Path | None = None) -> ssl.SSLContext:
    """TLS 1.3 in which both ends show a certificate of ``authority``; the one that serves under the name it is called by.

    With ``revocations``, the authority's list, no certificate on it is taken, and none at all when the list is out of date.
    Raises InputError for files that cannot be read or do not fit.
    """
    for field, path in (("tls-certificate", certificate), ("tls-key", private_key), ("tls-authority", authority)):
        if not path.is_file():
            raise InputError(field, str(path), "must be a file")
    try:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH if serving else ssl.Purpose.SERVER_AUTH, cafile=authority)
        context.load_cert_chain(certificate, private_key)
        if revocations is not None:
            context.load_verify_locations(revocations)
            context.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF
    except (ssl.SSLError, OSError) as error:
        limit = "certificate, key and authority must be PEM files that belong together"
        raise InputError("tls-certificate", str(certificate), f"{limit} ({_reason(error)})") from None
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.verify_mode = ssl.CERT_REQUIRED
    return context


async def listen(address: Address, tls: ssl.SSLContext | None, greet: Callable[[Wire], None]) -> asyncio.Server:
    """A server that hands every connection to ``greet``. Raises InputError for an address that is taken or not of this host."""
    loop = asyncio.get_running_loop()
    try:
        door = (lambda: Wire(greet)) if tls is None else Handshakes(tls, lambda: Wire(greet), limit=lambda: HANDSHAKES).door
        return await loop.create_server(door, address.host, address.port)
    except OSError as error:
        raise InputError("listen", str(address), f"cannot be listened at: {(error.strerror or str(error)).lower()}") from None


async def dial(address: Address, tls: ssl.SSLContext | None, within_s: float) -> Wire:
    """A connection to whoever listens at ``address``. Raises InputError when nobody does, or the certificates do not fit."""
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(within_s):
            _, wire = await loop.create_connection(Wire, address.host, address.port, ssl=tls)
    except TimeoutError:
        raise InputError("address", str(address), f"does not answer within {within_s:g} s") from None
    except ssl.SSLCertVerificationError as error:
        raise InputError("address", str(address), f"shows a certificate that is not accepted: {error.verify_message}") from None
    except OSError as error:
        doubt = " (does it speak TLS, and take this end's certificate?)" if tls is not None else ""
        raise InputError("address", str(address), f"cannot be reached: {_reason(error)}{doubt}") from None
    return wire
