"""Key stream associations (ETSI GS QKD 004 V2.1.1): one stream of equal chunks for two SAEs, whichever KMEs they live at.

Of the two SAEs the one whose name sorts first is the *master*. Its KME, the *keeper*, decides on the quality of service and alone has
chunks made; the other KME asks it. Any message may be lost or repeated. What a KME knows of a stream stands in its database:

    state     what leads to it                              what it allows
    open      the first OPEN_CONNECT                        joining; GET_KEY once both ends have connected
    closing   one end has closed                            the other end takes chunks that are there; none are made
    ended     both have closed, or nobody came for TTL      nothing
    void      its unused chunks are destroyed at this KME   nothing; the row stays, so that the KSID is never used again
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Literal, Protocol
from uuid import UUID

import msgspec
from msgspec.structs import replace

from tiandi.errors import KeyNotFound, KeysExhausted, KmeUnreachable, NotAuthorised, RelayFailed, TiandiError
from tiandi.kms.store.database import Database, Row, Transaction
from tiandi.kms.streams.etsi004 import JSON, GetKeyRequest, GetKeyResponse, OpenConnectResponse, Qos, Status, UInt32
from tiandi.random import secret_bytes
from tiandi.units import BIT_PER_BYTE

BATCH_CHUNKS = 16
LARGEST_CHUNK_BYTE, LARGEST_TIMEOUT_MS, LARGEST_TTL_S = 8192, 60_000, 7 * 86_400
USUAL_TTL_S = 3600
MOST_STREAMS, BURST_MS = 64, 1000
PATIENCE_S, SETTLING_PATIENCE_S, PAUSE_S = 5.0, 1.0, 0.1
LONGEST_AGE_MS, MOST_HOPS = 10**12 - 1, 999

STREAM_SCHEMA = """
CREATE TABLE stream (
    ksid TEXT PRIMARY KEY, master TEXT NOT NULL, slave TEXT NOT NULL, qos BLOB NOT NULL, batches INTEGER NOT NULL,
    state TEXT NOT NULL, expires_ms INTEGER NOT NULL) STRICT;
CREATE INDEX stream_expiry ON stream (state, expires_ms);
CREATE TABLE stream_end (
    ksid TEXT NOT NULL, sae TEXT NOT NULL, closed INTEGER NOT NULL, told INTEGER NOT NULL, due_ms INTEGER NOT NULL,
    PRIMARY KEY (ksid, sae)) STRICT;
CREATE INDEX stream_end_open ON stream_end (sae) WHERE closed = 0;
CREATE INDEX stream_end_untold ON stream_end (ksid) WHERE closed = 1 AND told = 0;
"""
"""``told``: the other KME knows that this end has closed, or need not. ``due_ms``: when Max_bps would allow the next chunk."""


class StreamMessage(msgspec.Struct, frozen=True, omit_defaults=True):
    """What two KMEs say of a stream: a request of the KME of ``sae``, or the answer ``state``: what its KME knows of the ends."""

    kind: Literal["open", "query", "more", "close", "state"]
    ksid: UUID
    sae: str = ""
    peer: str = ""
    qos: Qos | None = None
    batch: UInt32 = 0
    batches: UInt32 = 0
    status: Status = Status.SUCCESSFUL
    ends: dict[str, bool] = {}
    over: bool = False


class StreamSupply(Protocol):
    """What streams need of the key management entity. Every method may be repeated."""

    kme_id: str

    def home(self, sae: str) -> str:
        """The KME of an SAE. Raises InputError for an unknown one."""

    def available_bps(self, master: str, slave: str) -> int:
        """Key rate that a new stream of this pair may count on [bit/s]."""

    async def reserve_stream(self, ksid: UUID, batch: int, *, master: str, slave: str, size_bit: int, count: int) -> None:
        """Have chunks ``batch * count`` and on ready at both KMEs. Raises KeysExhausted or RelayFailed."""

    async def take_chunk(self, ksid: UUID, index: int, sae: str) -> tuple[bytes, int, int]:
        """A chunk, its age [ms] and hops, delivered to this end once, committed. Raises KeyNotFound when it is not there."""

    async def void_stream(self, ksid: UUID) -> None:
        """Destroy what this KME holds of a stream's chunks."""

    async def tell_stream(self, kme: str, message: StreamMessage) -> StreamMessage:
        """The answer of `Streams.receive` at another KME. Raises KmeUnreachable when none came."""


class _Stream(msgspec.Struct, frozen=True):
    """What this KME knows of a stream; ``ends`` says of each SAE known to have connected whether it has closed."""

    ksid: UUID
    master: str
    slave: str
    qos: Qos
    batches: int
    state: Literal["open", "closing", "ended", "void"]
    expires_ms: int
    ends: dict[str, bool]
    due_ms: dict[str, int]

    def serves(self, sae: str, now_ms: int) -> bool:
        """Whether this end may ask for chunks."""
        return self.ends.get(sae) is False and self.state in ("open", "closing") and now_ms < self.expires_ms


def granted(qos: Qos, available_bps: int) -> tuple[Qos, bool]:
    """What a stream would get, and whether that is what was asked for; what was left open (0) is chosen.

    Min_bps is checked against ``available_bps`` [bit/s], Max_bps enforced; jitter and priority are registered as they are.
    """
    asked = replace(qos, chunk_byte=qos.chunk_byte or Qos().chunk_byte, ttl_s=qos.ttl_s or USUAL_TTL_S)
    met = replace(
        asked,
        chunk_byte=min(asked.chunk_byte, LARGEST_CHUNK_BYTE),
        min_bps=min(asked.min_bps, asked.max_bps or asked.min_bps, available_bps),
        timeout_ms=min(asked.timeout_ms, LARGEST_TIMEOUT_MS),
        ttl_s=min(asked.ttl_s, LARGEST_TTL_S),
        metadata_mimetype=asked.metadata_mimetype and JSON,
    )
    return met, met == asked


def _metadata(age_ms: int, hops: int) -> bytes:
    return msgspec.json.encode({"age": max(0, min(age_ms, LONGEST_AGE_MS)), "hops": max(0, min(hops, MOST_HOPS))})


METADATA_BYTE = len(_metadata(LONGEST_AGE_MS, MOST_HOPS))
"""What GET_KEY asks of a metadata buffer: the longest text, since age and hops are not known before the chunk is taken."""


class Streams:
    """The key streams of one KME: at most ``most_streams`` of an SAE, and those that other processes let it open at the same moment."""

    def __init__(
        self, database: Database, supply: StreamSupply, *, most_streams: int = MOST_STREAMS, now_ms: Callable[[], int] | None = None
    ) -> None:
        self._database, self._supply = database, supply
        self._most_streams, self._now_ms = most_streams, now_ms or (lambda: time.time_ns() // 1_000_000)

    async def open(self, sae: str, peer: str, qos: Qos, ksid: UUID | None = None) -> OpenConnectResponse:
        """OPEN_CONNECT by ``sae``: defines or joins a stream with ``peer`` and waits for it, Timeout at most.

        Without a KSID one is made and the answer, status 0, is immediate: nobody can join before it is known. Otherwise the status is
        0 when the peer has connected, 1 when it has not, 4 beyond the limit of streams, 5, 6 when the keeper gave no answer, or 7.
        Raises InputError for an unknown SAE, NotAuthorised for one of another KME.
        """
        wait_s = min(qos.timeout_ms, LARGEST_TIMEOUT_MS) / 1000
        stop_s = time.monotonic() + wait_s
        if sae == peer or self._supply.home(sae) != self._supply.kme_id:
            raise NotAuthorised(f"{sae} cannot open a stream to {peer} here")
        wanted = StreamMessage("open", ksid or UUID(bytes=secret_bytes(16), version=4), sae, peer, qos)
        try:
            status, registered = await self._enter(wanted, max(wait_s, PATIENCE_S))
        except TimeoutError:
            status, registered = Status.TIMEOUT, None
        if status:
            return OpenConnectResponse(status, registered)
        if ksid is not None and not await self._peer_by(ksid, sae, stop_s):
            status = Status.PEER_NOT_CONNECTED
        return OpenConnectResponse(status, registered, wanted.ksid)

    async def get_key(self, sae: str, request: GetKeyRequest) -> GetKeyResponse:
        """GET_KEY: the chunk at an index, once. Without key, above Max_bps or after delivery 2; a stream that does not serve is 3."""
        stream, now = await self._load(request.ksid), self._now_ms()
        if stream is None or not stream.serves(sae, now) or not await self._has_peer(stream, sae):
            return GetKeyResponse(Status.GET_KEY_PEER_NOT_CONNECTED)
        if stream.expires_ms < now + stream.qos.ttl_s * 900:
            await self._execute(_RENEW, str(stream.ksid), now + stream.qos.ttl_s * 1000)
        with_metadata = bool(stream.qos.metadata_mimetype and request.metadata_byte)
        if with_metadata and request.metadata_byte < METADATA_BYTE:
            return GetKeyResponse(Status.METADATA_SIZE_INSUFFICIENT, needed_byte=METADATA_BYTE)
        if stream.due_ms[sae] > now + BURST_MS:
            return GetKeyResponse(Status.INSUFFICIENT_KEY)
        try:
            key, age_ms, hops = await self._take(stream, sae, request.index)
        except (KeyNotFound, KeysExhausted, RelayFailed, TimeoutError):
            return GetKeyResponse(Status.INSUFFICIENT_KEY)
        if stream.qos.max_bps:
            lasts_ms = stream.qos.chunk_byte * BIT_PER_BYTE * 1000 // stream.qos.max_bps
            await self._execute(_CHARGE, str(stream.ksid), sae, now, lasts_ms)
        return GetKeyResponse(Status.SUCCESSFUL, request.index, key, _metadata(age_ms, hops) if with_metadata else b"")

    async def close(self, sae: str, ksid: UUID) -> Status:
        """CLOSE: no more chunks for ``sae``; a repeated one is 0 too. A stream that ``sae`` has not opened is 3."""
        stream = await self._load(ksid)
        if stream is None or sae not in stream.ends:
            return Status.GET_KEY_PEER_NOT_CONNECTED
        await self._database.run(lambda t: self._close(t, ksid, sae, told=False))
        await self._settle(ksid)
        return Status.SUCCESSFUL

    async def receive(self, sender: str, message: StreamMessage) -> StreamMessage:
        """The answer to another KME. Raises NotAuthorised when its SAE or the stream is not its own, InputError for an unknown SAE."""
        if self._supply.home(message.sae) != sender:
            raise NotAuthorised(f"{message.sae} is not at {sender}")
        status, qos = Status.SUCCESSFUL, None
        if message.kind == "open":
            status, qos = await self._register(message, local=False)
        stream = await self._load(message.ksid)
        if stream is None or message.sae not in (stream.master, stream.slave):
            return StreamMessage("state", message.ksid, qos=qos, status=status or Status.NO_QKD_CONNECTION)
        if message.kind == "close":
            of_keeper = sender == self._supply.home(stream.master)
            await self._learn(replace(message, ends={message.sae: True}, batches=message.batches if of_keeper else 0))
            await self._void_ended(message.ksid, has_heard=of_keeper)
            stream = await self._load(message.ksid) or stream
        elif message.kind == "more":
            try:
                await self._reserve(stream, message.batch)
            except (KeyNotFound, KeysExhausted, RelayFailed):
                status = Status.INSUFFICIENT_KEY
        over = stream.state in ("ended", "void")
        return StreamMessage("state", stream.ksid, qos=qos, batches=stream.batches, status=status, ends=stream.ends, over=over)

    async def sweep(self) -> None:
        """End what expired, destroy the chunks of what ended, tell closes that were not told. To be called every few seconds."""
        await self._execute(_EXPIRE, self._now_ms())
        for (ksid,) in await self._execute(_UNSETTLED):
            await self._settle(UUID(ksid))

    async def _load(self, ksid: UUID) -> _Stream | None:
        return await self._database.run(lambda t: _read(t, ksid, to_change=False))

    async def _execute(self, query: str, *values: str | int) -> list[Row]:
        return await self._database.run(lambda t: t.rows(query, *values))

    async def _ask(self, kme: str, message: StreamMessage, patience_s: float) -> StreamMessage:
        """The answer of another KME, asked until it comes. Raises TimeoutError."""
        async with asyncio.timeout(patience_s):
            while True:
                try:
                    return await self._supply.tell_stream(kme, message)
                except KmeUnreachable:
                    await asyncio.sleep(PAUSE_S)

    async def _enter(self, wanted: StreamMessage, patience_s: float) -> tuple[Status, Qos | None]:
        """Enter an SAE of this KME into a stream, first at the keeper, then here."""
        keeper = self._supply.home(min(wanted.sae, wanted.peer))
        if keeper == self._supply.kme_id:
            return await self._register(wanted, local=True)
        status, _ = await self._database.run(lambda t: self._entry(t, wanted, None, local=True))
        if status in (Status.KSID_IN_USE, Status.NO_QKD_CONNECTION):
            return status, None
        answer = await self._ask(keeper, wanted, patience_s)
        if answer.status or answer.qos is None:
            return answer.status or Status.NO_QKD_CONNECTION, answer.qos
        entered = await self._database.run(lambda t: self._entry(t, wanted, answer.qos, local=True))
        await self._learn(answer)
        return entered

    async def _register(self, wanted: StreamMessage, *, local: bool) -> tuple[Status, Qos | None]:
        """The keeper's entry of an SAE, its own or another KME's. Raises NotAuthorised when this is not the keeper."""
        master, slave = sorted((wanted.sae, wanted.peer))
        if wanted.qos is None or master == slave or self._supply.home(master) != self._supply.kme_id:
            raise NotAuthorised(f"the stream of {master} and {slave} is kept elsewhere")
        self._supply.home(slave)
        met, is_met = granted(wanted.qos, self._supply.available_bps(master, slave))
        status, qos = await self._database.run(lambda t: self._entry(t, wanted, met if is_met else None, local=local))
        return status, met if status is Status.QOS_NOT_MET else qos

    async def _entry(self, t: Transaction, wanted: StreamMessage, qos: Qos | None, *, local: bool) -> tuple[Status, Qos | None]:
        """Enter an SAE; a stream that is not there is made with ``qos``, or refused for its want."""
        stream = await _read(t, wanted.ksid)
        entered = stream is not None and wanted.sae in stream.ends
        if local and not entered:
            [(streams,)] = await t.rows("SELECT count(*) FROM stream_end WHERE sae = $1 AND closed = 0", wanted.sae)
            if streams >= self._most_streams:
                return Status.NO_QKD_CONNECTION, None
        if stream is None:
            if qos is None:
                return Status.QOS_NOT_MET, None
            expires_ms = self._now_ms() + qos.ttl_s * 1000
            await t.rows(_CREATE, str(wanted.ksid), *sorted((wanted.sae, wanted.peer)), msgspec.json.encode(qos), expires_ms)
            stream = await _read(t, wanted.ksid)
            assert stream is not None, "a row that was there stays there"
        waits = not entered or len(stream.ends) < 2 or not local
        if {wanted.sae, wanted.peer} != {stream.master, stream.slave} or stream.state != "open" or not waits:
            return Status.KSID_IN_USE, None
        await t.rows(_CONNECT, str(wanted.ksid), wanted.sae)
        return Status.SUCCESSFUL, stream.qos

    async def _peer_by(self, ksid: UUID, sae: str, stop_s: float) -> bool:
        """Whether the peer connects in time. Raises NotAuthorised when the stream ends meanwhile."""
        while True:
            stream = await self._load(ksid)
            if stream is None or not stream.serves(sae, self._now_ms()):
                raise NotAuthorised(f"stream {ksid} has ended")
            if await self._has_peer(stream, sae):
                return True
            if (left_s := stop_s - time.monotonic()) <= 0:
                return False
            await asyncio.sleep(min(PAUSE_S, left_s))

    async def _has_peer(self, stream: _Stream, sae: str) -> bool:
        """Whether the other end has connected, as far as the keeper knows or can be asked."""
        keeper = self._supply.home(stream.master)
        if len(stream.ends) == 2 or keeper == self._supply.kme_id:
            return len(stream.ends) == 2
        try:
            answer = await self._ask(keeper, StreamMessage("query", stream.ksid, sae), PATIENCE_S)
        except TimeoutError:
            return False
        await self._learn(answer)
        return len(answer.ends) == 2

    async def _take(self, stream: _Stream, sae: str, index: int) -> tuple[bytes, int, int]:
        """A chunk, of a new batch if need be. Raises KeyNotFound, KeysExhausted, RelayFailed or TimeoutError."""
        with suppress(KeyNotFound):
            return await self._supply.take_chunk(stream.ksid, index, sae)
        batch, keeper = index // BATCH_CHUNKS, self._supply.home(stream.master)
        if keeper == self._supply.kme_id:
            await self._reserve(stream, batch)
        else:
            answer = await self._ask(keeper, StreamMessage("more", stream.ksid, sae, batch=batch), PATIENCE_S)
            if answer.status:
                raise KeyNotFound(f"chunk {index} of stream {stream.ksid}")
        return await self._supply.take_chunk(stream.ksid, index, sae)

    async def _reserve(self, stream: _Stream, batch: int) -> None:
        """Have the next batch made. Raises KeyNotFound for any later one, and for a stream that is not open at both ends."""
        if batch < stream.batches:
            return
        keeps = self._supply.home(stream.master) == self._supply.kme_id
        if batch > stream.batches or stream.state != "open" or len(stream.ends) < 2 or not keeps:
            raise KeyNotFound(f"batch {batch} of stream {stream.ksid}")
        size_bit = stream.qos.chunk_byte * BIT_PER_BYTE
        await self._supply.reserve_stream(
            stream.ksid, batch, master=stream.master, slave=stream.slave, size_bit=size_bit, count=BATCH_CHUNKS
        )
        expires_ms = self._now_ms() + stream.qos.ttl_s * 1000
        await self._database.run(lambda t: _count_batch(t, stream, batch, expires_ms))

    async def _close(self, t: Transaction, ksid: UUID, sae: str, *, told: bool) -> None:
        """Note that an end has closed. The keeper knows of every end that has connected; others wait for its word."""
        stream = await _read(t, ksid)
        if stream is None:
            return
        ends = stream.ends | {sae: True}
        if not stream.ends.get(sae, False):
            told = told or self._supply.home(stream.master) == self._supply.home(stream.slave)
            await t.rows(_CONNECT, str(ksid), sae)
            await t.rows("UPDATE stream_end SET closed = 1, told = $3 WHERE ksid = $1 AND sae = $2", str(ksid), sae, int(told))
            expires_ms = self._now_ms() + stream.qos.ttl_s * 1000
            await t.rows("UPDATE stream SET state = 'closing', expires_ms = $2 WHERE ksid = $1 AND state = 'open'", str(ksid), expires_ms)
        if all(ends.values()) and (len(ends) == 2 or self._supply.home(stream.master) == self._supply.kme_id):
            await t.rows("UPDATE stream SET state = 'ended' WHERE ksid = $1", str(ksid))

    async def _learn(self, answer: StreamMessage) -> None:
        """Note what another KME knows of the ends."""

        async def learn(t: Transaction) -> None:
            if await _read(t, answer.ksid) is None:
                return
            for sae, closed in answer.ends.items():
                await t.rows(_CONNECT, str(answer.ksid), sae)
                if closed:
                    await self._close(t, answer.ksid, sae, told=True)
            await t.rows(_COUNT, str(answer.ksid), answer.batches)
            if answer.over:
                await t.rows("UPDATE stream SET state = 'ended' WHERE ksid = $1 AND state <> 'void'", str(answer.ksid))

        await self._database.run(learn)

    async def _settle(self, ksid: UUID) -> None:
        """Tell the other KME that an end here has closed, and destroy the chunks of a stream that ended; `sweep` repeats it."""
        stream = await self._load(ksid)
        for sae, other in [] if stream is None else [(stream.master, stream.slave), (stream.slave, stream.master)]:
            if await self._execute(_UNTOLD, str(ksid), sae):
                with suppress(TimeoutError, TiandiError):
                    message = StreamMessage("close", ksid, sae, batches=stream.batches if stream else 0)
                    await self._learn(await self._ask(self._supply.home(other), message, SETTLING_PATIENCE_S))
                    await self._execute("UPDATE stream_end SET told = 1 WHERE ksid = $1 AND sae = $2", str(ksid), sae)
        await self._void_ended(ksid)

    async def _void_ended(self, ksid: UUID, *, has_heard: bool = False) -> None:
        """Destroy the chunks of an ended stream, all of which are known when the keeper has been heard."""
        stream = await self._load(ksid)
        if stream is None or stream.state != "ended":
            return
        keeper = self._supply.home(stream.master)
        if keeper != self._supply.kme_id and not has_heard:
            try:
                await self._learn(await self._ask(keeper, StreamMessage("query", ksid, stream.slave), SETTLING_PATIENCE_S))
            except (TimeoutError, TiandiError):
                return
        await self._supply.void_stream(ksid)
        await self._execute("UPDATE stream_end SET closed = 1 WHERE ksid = $1 AND closed = 0", str(ksid))
        await self._execute("UPDATE stream SET state = 'void' WHERE ksid = $1 AND state = 'ended'", str(ksid))


_CONNECT = "INSERT INTO stream_end VALUES ($1, $2, 0, 1, 0) ON CONFLICT DO NOTHING"
_CREATE = "INSERT INTO stream VALUES ($1, $2, $3, $4, 0, 'open', $5) ON CONFLICT DO NOTHING"
_READ = "SELECT master, slave, qos, batches, state, expires_ms FROM stream WHERE ksid = $1"
_COUNT = "UPDATE stream SET batches = $2 WHERE ksid = $1 AND batches < $2"
_RENEW = "UPDATE stream SET expires_ms = $2 WHERE ksid = $1 AND state = 'open'"
_CHARGE = "UPDATE stream_end SET due_ms = CASE WHEN due_ms > $3 THEN due_ms ELSE $3 END + $4 WHERE ksid = $1 AND sae = $2"
_EXPIRE = "UPDATE stream SET state = 'ended' WHERE state IN ('open', 'closing') AND expires_ms < $1"
_UNSETTLED = "SELECT ksid FROM stream WHERE state = 'ended' UNION SELECT ksid FROM stream_end WHERE closed = 1 AND told = 0"
_UNTOLD = "SELECT 1 FROM stream_end WHERE ksid = $1 AND sae = $2 AND closed = 1 AND told = 0"


async def _read(t: Transaction, ksid: UUID, *, to_change: bool = True) -> _Stream | None:
    rows = await t.rows(_READ + " FOR UPDATE" if to_change else _READ, str(ksid))
    ends = await t.rows("SELECT sae, closed, due_ms FROM stream_end WHERE ksid = $1", str(ksid))
    for master, slave, qos, batches, state, expires_ms in rows:
        closed, due_ms = {sae: bool(closed) for sae, closed, _ in ends}, {sae: due_ms for sae, _, due_ms in ends}
        return _Stream(ksid, master, slave, msgspec.json.decode(qos, type=Qos), batches, state, expires_ms, closed, due_ms)
    return None


async def _count_batch(t: Transaction, stream: _Stream, batch: int, expires_ms: int) -> None:
    """Note a batch that is there; one made for a stream that has meanwhile been voided is destroyed at both KMEs."""
    ksid = str(stream.ksid)
    await t.rows(_COUNT, ksid, batch + 1)
    await t.rows(_RENEW, ksid, expires_ms)
    if await t.rows("UPDATE stream SET state = 'ended' WHERE ksid = $1 AND state = 'void' RETURNING ksid", ksid):
        await t.rows("UPDATE stream_end SET told = 0 WHERE ksid = $1 AND sae = $2 AND closed = 1", ksid, stream.master)
