"""Key streams of ETSI GS QKD 004: two KMEs over real databases, then the door over real TLS."""

from __future__ import annotations

import asyncio
import json
import os
import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiandi.errors import (
    InputError,
    KeyNotFound,
    KeysExhausted,
    KmeUnreachable,
    NotAuthorised,
    ProtocolViolation,
    RemoteRefused,
    StateError,
)
from tiandi.kms.conversation import KeysUncertain
from tiandi.kms.doors.etsi004 import StreamDoor
from tiandi.kms.store.sqlite_database import SqliteDatabase
from tiandi.kms.streams import associations as module
from tiandi.kms.streams.associations import BATCH_CHUNKS, LARGEST_CHUNK_BYTE, METADATA_BYTE, STREAM_SCHEMA, StreamMessage, Streams, granted
from tiandi.kms.streams.client import QosNotMet, StreamClient
from tiandi.kms.streams.etsi004 import (
    HEADER_BYTE,
    JSON,
    CloseRequest,
    CloseResponse,
    GetKeyRequest,
    GetKeyResponse,
    OpenConnectRequest,
    OpenConnectResponse,
    Qos,
    Response,
    Status,
    decode_header,
    decode_response,
    encode,
)
from tiandi.kms.tls.contexts import ServerTls
from tiandi.kms.tls.identities import ClientCertificate
from tiandi.kms.tls.pki import CertificateAuthority
from tiandi.kms.tls.serving import start_tls_server

QOS = Qos(chunk_byte=32, timeout_ms=3000, ttl_s=60)
HOMES = {"alice": "kme-a", "bob": "kme-b", "carol": "kme-a", "mallory": "kme-b"}


@dataclass
class Network:
    """What the KMEs share: where SAEs live, the key there is, and the line between them, which may lose what it carries."""

    homes: dict[str, str] = field(default_factory=lambda: dict(HOMES))
    key_bit: int = 10**6
    nodes: dict[str, Node] = field(default_factory=dict)
    lost_requests: int = 0
    lost_answers: int = 0
    reserved: list[tuple[UUID, int]] = field(default_factory=list)
    now_ms: int = 1_000_000


class Node:
    """An honest supply of one KME in memory, and the streams that draw on it."""

    def __init__(self, network: Network, kme_id: str, database: SqliteDatabase) -> None:
        self.network, self.kme_id, self.database = network, kme_id, database
        self.chunks: dict[tuple[UUID, int, str], bytes] = {}
        self.voided: list[UUID] = []
        network.nodes[kme_id] = self
        self.streams = self.reopened()

    def reopened(self, **options: int) -> Streams:
        self.streams = Streams(self.database, self, now_ms=lambda: self.network.now_ms, **options)
        return self.streams

    def home(self, sae: str) -> str:
        if sae not in self.network.homes:
            raise InputError("SAE", sae, "is unknown")
        return self.network.homes[sae]

    def available_bps(self, master: str, slave: str) -> int:
        return 50_000

    async def reserve_stream(self, ksid: UUID, batch: int, *, master: str, slave: str, size_bit: int, count: int) -> None:
        assert self.kme_id == self.home(master)
        if (ksid, batch) in self.network.reserved:
            return
        if self.network.key_bit < size_bit * count:
            raise KeysExhausted("link", self.network.key_bit, size_bit * count)
        self.network.key_bit -= size_bit * count
        self.network.reserved.append((ksid, batch))
        for index in range(batch * count, (batch + 1) * count):
            key = os.urandom(size_bit // 8)
            for sae in (master, slave):
                self.network.nodes[self.home(sae)].chunks[ksid, index, sae] = key

    async def take_chunk(self, ksid: UUID, index: int, sae: str) -> tuple[bytes, int, int]:
        try:
            return self.chunks.pop((ksid, index, sae)), 12, 1
        except KeyError:
            raise KeyNotFound(str(ksid)) from None

    async def void_stream(self, ksid: UUID) -> None:
        self.voided.append(ksid)
        [(batches,)] = await self.database.run(lambda t: t.rows("SELECT batches FROM stream WHERE ksid = $1", str(ksid)))
        for name in [name for name in self.chunks if name[0] == ksid and name[1] < batches * BATCH_CHUNKS]:
            del self.chunks[name]

    async def tell_stream(self, kme: str, message: StreamMessage) -> StreamMessage:
        if self.network.lost_requests:
            self.network.lost_requests -= 1
            raise KmeUnreachable(kme)
        answer = await self.network.nodes[kme].streams.receive(self.kme_id, message)
        if self.network.lost_answers:
            self.network.lost_answers -= 1
            raise KmeUnreachable(kme)
        return answer


async def start(network: Network, folder: Path, kme_id: str) -> Node:
    """A KME whose tables are there, new or from before."""
    database = SqliteDatabase(folder / f"{kme_id}.sqlite")

    async def create(transaction: object) -> None:
        if not await transaction.rows("SELECT 1 FROM sqlite_master WHERE name = 'stream'"):  # type: ignore[attr-defined]
            for statement in filter(str.strip, STREAM_SCHEMA.split(";")):
                await transaction.rows(statement)  # type: ignore[attr-defined]

    await database.run(create)
    return Node(network, kme_id, database)


def in_network(folder: Path, play: Callable[[Network], Awaitable[None]]) -> Network:
    """Let two KMEs live while ``play`` runs."""
    network = Network()

    async def run() -> None:
        for kme_id in ("kme-a", "kme-b"):
            await start(network, folder, kme_id)
        try:
            async with asyncio.timeout(20):
                await play(network)
        finally:
            for node in network.nodes.values():
                await node.database.close()

    asyncio.run(run())
    return network


@contextmanager
def impatient() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "PATIENCE_S", 0.3)
        patch.setattr(module, "SETTLING_PATIENCE_S", 0.2)
        patch.setattr(module, "PAUSE_S", 0.01)
        yield


@pytest.fixture(autouse=True)
def _impatient() -> Iterator[None]:
    with impatient():
        yield


def streams(network: Network, sae: str) -> Streams:
    return network.nodes[network.homes[sae]].streams


async def opened(network: Network, first: str = "alice", second: str = "bob", qos: Qos = QOS) -> UUID:
    """A stream that both SAEs have joined."""
    answer = await streams(network, first).open(first, second, qos)
    assert (answer.status, answer.qos) == (Status.SUCCESSFUL, granted(qos, 50_000)[0])
    assert answer.ksid is not None
    joined = await streams(network, second).open(second, first, Qos(chunk_byte=1), answer.ksid)
    assert joined == answer
    return answer.ksid


async def fetch(network: Network, sae: str, ksid: UUID, index: int, metadata_byte: int = 0) -> GetKeyResponse:
    return await streams(network, sae).get_key(sae, GetKeyRequest(ksid, index, metadata_byte))


PAIRS = [("alice", "bob"), ("bob", "alice"), ("alice", "carol"), ("carol", "alice"), ("mallory", "bob")]


@pytest.mark.parametrize(("first", "second"), PAIRS)
def test_both_ends_get_equal_chunks_once_each(tmp_path: Path, first: str, second: str) -> None:
    async def play(network: Network) -> None:
        ksid = await opened(network, first, second)
        keys = set()
        for index in range(BATCH_CHUNKS + 3):
            one, two = await fetch(network, second, ksid, index), await fetch(network, first, ksid, index, 1024)
            assert (one.status, two.status, one.index) == (Status.SUCCESSFUL, Status.SUCCESSFUL, index)
            assert one.key == two.key
            assert len(one.key) == 32
            assert (one.metadata, json.loads(two.metadata)) == (b"", {"age": 12, "hops": 1})
            keys.add(one.key)
        assert len(keys) == BATCH_CHUNKS + 3
        for sae in (first, second):
            assert (await fetch(network, sae, ksid, 0)).status is Status.INSUFFICIENT_KEY
        assert network.reserved == [(ksid, 0), (ksid, 1)]

    in_network(tmp_path, play)


def test_a_known_stream_is_joined_from_either_end_at_the_same_moment(tmp_path: Path) -> None:
    async def play(network: Network) -> None:
        ksid = uuid4()
        one, two = await asyncio.gather(
            streams(network, "alice").open("alice", "bob", QOS, ksid), streams(network, "bob").open("bob", "alice", QOS, ksid)
        )
        assert one == two == OpenConnectResponse(Status.SUCCESSFUL, QOS, ksid)
        assert (await fetch(network, "alice", ksid, 0)).key == (await fetch(network, "bob", ksid, 0)).key != b""

    in_network(tmp_path, play)


@pytest.mark.parametrize("waiting", ["alice", "bob"])
def test_who_waits_for_a_peer_goes_on_when_it_comes_or_hears_that_it_did_not(tmp_path: Path, waiting: str) -> None:
    async def play(network: Network) -> None:
        ksid, peer = uuid4(), "bob" if waiting == "alice" else "alice"
        early = await streams(network, waiting).open(waiting, peer, Qos(timeout_ms=50), ksid)
        assert (early.status, early.ksid) == (Status.PEER_NOT_CONNECTED, ksid)
        assert (await fetch(network, waiting, ksid, 0)).status is Status.GET_KEY_PEER_NOT_CONNECTED
        again = asyncio.create_task(streams(network, waiting).open(waiting, peer, QOS, ksid))
        await asyncio.sleep(0.1)
        assert not again.done()
        assert (await streams(network, peer).open(peer, waiting, QOS, ksid)).status is Status.SUCCESSFUL
        assert (await again).status is Status.SUCCESSFUL
        assert (await again).qos == early.qos

    in_network(tmp_path, play)


@pytest.mark.parametrize("second", ["bob", "alice"])
def test_a_stream_in_use_is_not_opened_again_nor_by_others(tmp_path: Path, second: str) -> None:
    async def play(network: Network) -> None:
        ksid = await opened(network)
        for sae, peer in ((second, "alice" if second == "bob" else "bob"), ("carol", "bob"), ("mallory", "alice"), ("mallory", "bob")):
            assert await streams(network, sae).open(sae, peer, QOS, ksid) == OpenConnectResponse(Status.KSID_IN_USE)
        for sae in ("carol", "mallory"):
            assert (await fetch(network, sae, ksid, 0)).status is Status.GET_KEY_PEER_NOT_CONNECTED
            assert await streams(network, sae).close(sae, ksid) is Status.GET_KEY_PEER_NOT_CONNECTED

    in_network(tmp_path, play)


def test_strangers_and_saes_of_other_kmes_open_nothing(tmp_path: Path) -> None:
    async def play(network: Network) -> None:
        here = network.nodes["kme-a"].streams
        for sae, peer in (("bob", "alice"), ("alice", "alice")):
            with pytest.raises(NotAuthorised):
                await here.open(sae, peer, QOS)
        for sae, peer in (("nobody", "alice"), ("alice", "nobody")):
            with pytest.raises(InputError):
                await here.open(sae, peer, QOS)
        assert await here.close("alice", uuid4()) is Status.GET_KEY_PEER_NOT_CONNECTED

    in_network(tmp_path, play)


@given(
    qos=st.builds(
        Qos,
        chunk_byte=st.integers(0, 10**5),
        max_bps=st.integers(0, 10**6),
        min_bps=st.integers(0, 10**6),
        timeout_ms=st.integers(0, 10**6),
        ttl_s=st.integers(0, 10**7),
        metadata_mimetype=st.sampled_from(["", JSON, "text/xml"]),
    ),
    available_bps=st.integers(0, 10**6),
)
def test_a_counter_proposal_would_be_granted(qos: Qos, available_bps: int) -> None:
    proposal, is_met = granted(qos, available_bps)
    assert granted(proposal, available_bps) == (proposal, True)
    assert 0 < proposal.chunk_byte <= LARGEST_CHUNK_BYTE
    assert proposal.min_bps <= min(qos.min_bps, available_bps)
    assert proposal.ttl_s > 0
    if is_met:
        assert all(asked in (0, got) for asked, got in zip(vars_of(qos), vars_of(proposal), strict=True))


def vars_of(qos: Qos) -> list[object]:
    return [getattr(qos, name) or 0 for name in Qos.__struct_fields__]


WISHES = [
    (Qos(min_bps=60_000), Qos(min_bps=50_000, ttl_s=3600)),
    (Qos(metadata_mimetype="text/xml"), Qos(ttl_s=3600)),
    (Qos(chunk_byte=10_000), Qos(chunk_byte=8192, ttl_s=3600)),
    (Qos(max_bps=10, min_bps=20), Qos(max_bps=10, min_bps=10, ttl_s=3600)),
]


@pytest.mark.parametrize(("wish", "proposal"), WISHES)
@pytest.mark.parametrize(("sae", "peer"), [("alice", "bob"), ("bob", "alice")])
def test_a_quality_that_is_not_to_be_had_is_refused_with_another(tmp_path: Path, wish: Qos, proposal: Qos, sae: str, peer: str) -> None:
    async def play(network: Network) -> None:
        ksid = uuid4()
        assert await streams(network, sae).open(sae, peer, wish, ksid) == OpenConnectResponse(Status.QOS_NOT_MET, proposal)
        assert (await streams(network, sae).open(sae, peer, proposal, ksid)).status is Status.PEER_NOT_CONNECTED

    in_network(tmp_path, play)


def test_too_small_a_metadata_buffer_costs_no_key(tmp_path: Path) -> None:
    async def play(network: Network) -> None:
        ksid = await opened(network)
        refused = await fetch(network, "alice", ksid, 0, METADATA_BYTE - 1)
        assert refused == GetKeyResponse(Status.METADATA_SIZE_INSUFFICIENT, needed_byte=METADATA_BYTE)
        assert (await fetch(network, "alice", ksid, 0, METADATA_BYTE)).key == (await fetch(network, "bob", ksid, 0)).key != b""
        without = await opened(network, qos=Qos(metadata_mimetype=""))
        assert (await fetch(network, "alice", without, 0, 1)).metadata == b""

    in_network(tmp_path, play)


def test_too_little_key_loses_nothing_and_is_made_up_later(tmp_path: Path) -> None:
    async def play(network: Network) -> None:
        ksid = await opened(network)
        network.key_bit = 100
        for sae in ("alice", "bob"):
            assert (await fetch(network, sae, ksid, 0)).status is Status.INSUFFICIENT_KEY
        network.key_bit = 10**6
        assert (await fetch(network, "bob", ksid, 0)).key == (await fetch(network, "alice", ksid, 0)).key != b""
        for sae in ("alice", "bob"):
            assert (await fetch(network, sae, ksid, 5 * BATCH_CHUNKS)).status is Status.INSUFFICIENT_KEY
        assert network.reserved == [(ksid, 0)]

    in_network(tmp_path, play)


def test_no_end_gets_more_than_max_bps(tmp_path: Path) -> None:
    async def play(network: Network) -> None:
        ksid = await opened(network, qos=Qos(chunk_byte=32, max_bps=1024, ttl_s=60))
        delivered = 0
        for _ in range(100):
            delivered += (await fetch(network, "alice", ksid, delivered)).status is Status.SUCCESSFUL
            network.now_ms += 100
        # 10 s at 1024 bit/s are 40 chunks; a burst of one second and one chunk begun come on top.
        assert 40 <= delivered <= 45
        assert (await fetch(network, "bob", ksid, 0)).status is Status.SUCCESSFUL

    in_network(tmp_path, play)


@pytest.mark.parametrize(("first", "second"), PAIRS)
def test_a_closed_end_gets_no_more_and_the_other_what_was_there(tmp_path: Path, first: str, second: str) -> None:
    async def play(network: Network) -> None:
        ksid = await opened(network, first, second)
        key = (await fetch(network, first, ksid, 0)).key
        for _ in range(2):
            assert await streams(network, first).close(first, ksid) is Status.SUCCESSFUL
        assert (await fetch(network, first, ksid, 1)).status is Status.GET_KEY_PEER_NOT_CONNECTED
        assert (await fetch(network, second, ksid, 0)).key == key
        assert (await fetch(network, second, ksid, BATCH_CHUNKS)).status is Status.INSUFFICIENT_KEY
        assert network.reserved == [(ksid, 0)]
        assert not any(ksid in node.voided for node in network.nodes.values())
        assert await streams(network, second).close(second, ksid) is Status.SUCCESSFUL
        for kme_id in {network.homes[first], network.homes[second]}:
            assert ksid in network.nodes[kme_id].voided
            assert not network.nodes[kme_id].chunks
        for sae, peer in ((first, second), (second, first)):
            assert (await fetch(network, sae, ksid, 1)).status is Status.GET_KEY_PEER_NOT_CONNECTED
            assert await streams(network, sae).open(sae, peer, QOS, ksid) == OpenConnectResponse(Status.KSID_IN_USE)

    in_network(tmp_path, play)


@pytest.mark.parametrize("sae", ["alice", "bob"])
def test_a_stream_that_nobody_joined_ends_with_its_only_end(tmp_path: Path, sae: str) -> None:
    async def play(network: Network) -> None:
        peer = "bob" if sae == "alice" else "alice"
        ksid = (await streams(network, sae).open(sae, peer, QOS)).ksid
        assert ksid is not None
        assert await streams(network, sae).close(sae, ksid) is Status.SUCCESSFUL
        assert (await streams(network, peer).open(peer, sae, QOS, ksid)).status is Status.KSID_IN_USE

    in_network(tmp_path, play)


@pytest.mark.parametrize("lost_requests", [0, 50])
def test_an_end_that_closes_before_it_heard_of_its_peer_leaves_it_its_chunks(tmp_path: Path, lost_requests: int) -> None:
    async def play(network: Network) -> None:
        ksid = await opened(network, "bob", "alice")
        assert (await fetch(network, "alice", ksid, 0)).status is Status.SUCCESSFUL
        network.lost_requests = lost_requests
        assert await streams(network, "bob").close("bob", ksid) is Status.SUCCESSFUL
        assert not any(node.voided for node in network.nodes.values())
        assert (await fetch(network, "alice", ksid, 1)).status is Status.SUCCESSFUL
        network.lost_requests = 0
        assert await streams(network, "alice").close("alice", ksid) is Status.SUCCESSFUL
        for node in network.nodes.values():
            await node.streams.sweep()
            assert node.voided
            assert not node.chunks

    in_network(tmp_path, play)


def test_unused_chunks_are_held_for_ttl_and_then_destroyed(tmp_path: Path) -> None:
    async def play(network: Network) -> None:
        ksid = await opened(network)
        for sae in ("alice", "bob"):
            await fetch(network, sae, ksid, 0)
        await streams(network, "alice").close("alice", ksid)
        network.now_ms += 59_000
        for node in network.nodes.values():
            await node.streams.sweep()
        assert (await fetch(network, "bob", ksid, 1)).status is Status.SUCCESSFUL
        network.now_ms += 1100
        assert (await fetch(network, "bob", ksid, 2)).status is Status.GET_KEY_PEER_NOT_CONNECTED
        for node in network.nodes.values():
            assert node.chunks
            await node.streams.sweep()
            assert node.voided == [ksid]
            assert not node.chunks

    in_network(tmp_path, play)


def test_a_stream_in_use_does_not_expire(tmp_path: Path) -> None:
    async def play(network: Network) -> None:
        ksid = await opened(network)
        for index in range(10):
            network.now_ms += 30_000
            for sae in ("alice", "bob"):
                assert (await fetch(network, sae, ksid, index)).status is Status.SUCCESSFUL
            for node in network.nodes.values():
                await node.streams.sweep()

    in_network(tmp_path, play)


def test_an_sae_has_so_many_streams_and_gets_the_places_of_ended_ones_back(tmp_path: Path) -> None:
    async def play(network: Network) -> None:
        for sae, peer in (("alice", "bob"), ("bob", "alice")):
            few = network.nodes[network.homes[sae]].reopened(most_streams=2)
            one, two = [(await few.open(sae, peer, QOS)).ksid for _ in range(2)]
            assert await few.open(sae, peer, QOS) == OpenConnectResponse(Status.NO_QKD_CONNECTION)
            assert one is not None
            assert two is not None
            await few.close(sae, one)
            assert (await few.open(sae, peer, QOS)).status is Status.SUCCESSFUL
            assert (await few.open(sae, peer, Qos(), two)).status is Status.PEER_NOT_CONNECTED
            network.now_ms += 61_000
            await few.sweep()
            assert (await few.open(sae, peer, QOS)).status is Status.SUCCESSFUL

    in_network(tmp_path, play)


@pytest.mark.parametrize("lost", ["lost_requests", "lost_answers"])
def test_what_the_line_loses_between_kmes_is_said_again(tmp_path: Path, lost: str) -> None:
    async def play(network: Network) -> None:
        setattr(network, lost, 2)
        ksid = await opened(network, "bob", "alice")
        setattr(network, lost, 2)
        key = (await fetch(network, "bob", ksid, 0)).key
        assert key == (await fetch(network, "alice", ksid, 0)).key != b""
        assert network.reserved == [(ksid, 0)]
        setattr(network, lost, 2)
        await streams(network, "bob").close("bob", ksid)
        await streams(network, "alice").close("alice", ksid)
        assert all(node.voided and not node.chunks for node in network.nodes.values())

    in_network(tmp_path, play)


def test_without_a_line_the_far_end_waits_and_makes_up_for_it(tmp_path: Path) -> None:
    async def play(network: Network) -> None:
        network.lost_requests = 10**6
        assert await streams(network, "bob").open("bob", "alice", Qos(), uuid4()) == OpenConnectResponse(Status.TIMEOUT)
        network.lost_requests = 0
        ksid = await opened(network)
        assert (await fetch(network, "alice", ksid, 0)).status is Status.SUCCESSFUL
        network.lost_requests = 10**6
        assert (await fetch(network, "bob", ksid, 0)).status is Status.SUCCESSFUL
        assert (await fetch(network, "bob", ksid, BATCH_CHUNKS)).status is Status.INSUFFICIENT_KEY
        for sae in ("bob", "alice"):
            assert await streams(network, sae).close(sae, ksid) is Status.SUCCESSFUL
        assert not any(node.voided for node in network.nodes.values())
        network.lost_requests = 0
        for node in network.nodes.values():
            await node.streams.sweep()
        assert all(ksid in node.voided and not node.chunks for node in network.nodes.values())
        for node in network.nodes.values():
            node.voided.clear()
            await node.streams.sweep()
            assert not node.voided

    in_network(tmp_path, play)


def test_a_stream_outlives_its_processes(tmp_path: Path) -> None:
    async def play(network: Network) -> None:
        ksid = await opened(network)
        key = (await fetch(network, "alice", ksid, 0)).key
        for kme_id, node in list(network.nodes.items()):
            await node.database.close()
            chunks = node.chunks
            (await start(network, tmp_path, kme_id)).chunks = chunks
        assert (await fetch(network, "bob", ksid, 0)).key == key
        assert (await fetch(network, "alice", ksid, 0)).status is Status.INSUFFICIENT_KEY
        assert (await streams(network, "alice").open("alice", "bob", QOS, ksid)).status is Status.KSID_IN_USE

    in_network(tmp_path, play)


def test_of_sixteen_requests_for_a_chunk_one_gets_it(tmp_path: Path) -> None:
    async def play(network: Network) -> None:
        ksid = await opened(network)
        for sae in ("bob", "alice"):
            answers = await asyncio.gather(*(fetch(network, sae, ksid, 3) for _ in range(16)))
            assert sorted(answer.status for answer in answers) == [Status.SUCCESSFUL] + [Status.INSUFFICIENT_KEY] * 15

    in_network(tmp_path, play)


def test_chunks_made_while_a_stream_ends_are_destroyed_at_both_kmes(tmp_path: Path) -> None:
    async def play(network: Network) -> None:
        ksid = await opened(network)
        keeper = network.nodes["kme-a"]
        reserve = keeper.reserve_stream

        async def slow(ksid: UUID, batch: int, *, master: str, slave: str, size_bit: int, count: int) -> None:
            for sae in ("alice", "bob"):
                await streams(network, sae).close(sae, ksid)
            assert all(node.voided for node in network.nodes.values())
            await reserve(ksid, batch, master=master, slave=slave, size_bit=size_bit, count=count)

        keeper.reserve_stream = slow  # type: ignore[method-assign]
        await fetch(network, "alice", ksid, 0)
        assert all(node.chunks for node in network.nodes.values())
        for node in network.nodes.values():
            await node.streams.sweep()
        assert not any(node.chunks for node in network.nodes.values())

    in_network(tmp_path, play)


def test_a_kme_speaks_for_its_own_saes_and_streams_only(tmp_path: Path) -> None:
    async def play(network: Network) -> None:
        ksid = await opened(network)
        keeper, other = network.nodes["kme-a"].streams, network.nodes["kme-b"].streams
        for kind in ("open", "query", "more", "close"):
            with pytest.raises(NotAuthorised):
                await keeper.receive("kme-b", StreamMessage(kind, ksid, "alice", "bob", QOS))
        with pytest.raises(NotAuthorised):
            await other.receive("kme-a", StreamMessage("open", uuid4(), "alice", "bob", QOS))
        with pytest.raises(NotAuthorised):
            await keeper.receive("kme-b", StreamMessage("open", uuid4(), "bob", "bob", QOS))
        with pytest.raises(InputError):
            await keeper.receive("kme-b", StreamMessage("open", uuid4(), "nobody", "alice", QOS))
        for kind in ("query", "more", "close"):
            answer = await keeper.receive("kme-b", StreamMessage(kind, ksid, "mallory"))  # type: ignore[arg-type]
            assert (answer.status, answer.ends) == (Status.NO_QKD_CONNECTION, {})
        assert (await other.receive("kme-a", StreamMessage("more", ksid, "alice"))).status is Status.INSUFFICIENT_KEY
        assert (await fetch(network, "alice", ksid, 0)).status is Status.SUCCESSFUL

    in_network(tmp_path, play)


# The door.


class PlainStream:
    """The door's view of an asyncio connection without TLS."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def read_exactly(self, size: int) -> bytes:
        return await self.reader.readexactly(size)

    async def write(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    def close(self) -> None:
        self.writer.close()


def certificate_of(sae: str, kind: str = "sae") -> ClientCertificate:
    return ClientCertificate(((kind, sae),), b"", 1, "00" * 32, 0.0, 0.0)  # type: ignore[arg-type]


Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def with_plain_door(network: Network, sae: str, talk: Callable[[Connection], Awaitable[None]], **options: float) -> None:
    """Talk to the door of an SAE's KME over an asyncio stream."""
    door = StreamDoor(streams(network, sae), **options)
    done = []

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        done.append(task)
        await door.connected(PlainStream(reader, writer), certificate_of(sae))

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    try:
        await talk((reader, writer))
    finally:
        writer.close()
        server.close()
        await asyncio.gather(*done)


async def heard(reader: asyncio.StreamReader) -> Response:
    service, length_byte = decode_header(await reader.readexactly(HEADER_BYTE))
    return decode_response(service, await reader.readexactly(length_byte))


def test_the_door_answers_in_pieces_pipelined_and_by_name(tmp_path: Path) -> None:
    async def play(network: Network) -> None:
        async def talk(connection: Connection) -> None:
            reader, writer = connection
            for byte in encode(OpenConnectRequest("client://alice", "qkd://bob", QOS)):
                writer.write(bytes([byte]))
                await asyncio.sleep(0)
            answer = await heard(reader)
            assert isinstance(answer, OpenConnectResponse)
            assert (answer.status, answer.qos) == (Status.SUCCESSFUL, QOS)
            assert answer.ksid is not None
            assert answer.ksid.version == 4
            writer.write(encode(GetKeyRequest(answer.ksid, 0, 64)) + encode(CloseRequest(answer.ksid)))
            assert await heard(reader) == GetKeyResponse(Status.GET_KEY_PEER_NOT_CONNECTED)
            assert await heard(reader) == CloseResponse(Status.SUCCESSFUL)

        await with_plain_door(network, "alice", talk)

    in_network(tmp_path, play)


@pytest.mark.parametrize(
    ("source", "destination"),
    [("bob", "mallory"), ("alice", "alice"), ("alice", "nobody"), ("alice", "qkd://"), ("alice", "b/c"), ("client", "server://bob")],
)
def test_the_door_has_no_connection_for_strangers_to_a_stream(tmp_path: Path, source: str, destination: str) -> None:
    async def play(network: Network) -> None:
        async def talk(connection: Connection) -> None:
            connection[1].write(encode(OpenConnectRequest(source, destination, QOS, uuid4())))
            assert await heard(connection[0]) == OpenConnectResponse(Status.NO_QKD_CONNECTION)

        await with_plain_door(network, "alice", talk)

    in_network(tmp_path, play)


FOREIGN = [
    b"GET / HTTP/1.1\r\n\r\n",
    b"\x01\x00\x01\x04\x00\x00\x00\x19" + bytes(25),
    b"\x01\x00\x01\xff\x00\x00\x00\x00",
    b"\x02\x01\x01\x08\x00\x00\x00\x10" + bytes(16),
    encode(CloseResponse(Status.SUCCESSFUL)),
    b"\x01\x00\x01\x02\xff\xff\xff\xff",
]


@pytest.mark.parametrize("said", FOREIGN, ids=["HTTP", "length", "service", "version", "response", "endless"])
def test_what_is_no_request_ends_the_connection_without_an_answer(tmp_path: Path, said: bytes) -> None:
    async def play(network: Network) -> None:
        async def talk(connection: Connection) -> None:
            connection[1].write(said)
            assert await connection[0].read() == b""

        await with_plain_door(network, "alice", talk)

    in_network(tmp_path, play)


@pytest.mark.parametrize(
    "said", [b"", b"\x01\x00", encode(CloseRequest(UUID(int=1)))[:-1]], ids=["nothing", "half a header", "half a payload"]
)
def test_idle_and_slow_clients_are_sent_away(tmp_path: Path, said: bytes) -> None:
    async def play(network: Network) -> None:
        async def talk(connection: Connection) -> None:
            connection[1].write(said)
            assert await connection[0].read() == b""

        await with_plain_door(network, "alice", talk, idle_timeout_s=0.2, frame_timeout_s=0.2)

    in_network(tmp_path, play)


def test_a_failing_database_is_no_connection_and_shows_no_more(tmp_path: Path) -> None:
    async def play(network: Network) -> None:
        class FullDisk:
            async def run(self, work: object) -> None:
                raise StateError("key store", "kme-a", "cannot be written: disk full")

        node, ksid = network.nodes["kme-a"], uuid4()
        node.streams = Streams(FullDisk(), node)  # type: ignore[arg-type]

        async def talk(connection: Connection) -> None:
            reader, writer = connection
            writer.write(encode(GetKeyRequest(ksid, 0)) + encode(CloseRequest(ksid)))
            assert await heard(reader) == GetKeyResponse(Status.NO_QKD_CONNECTION)
            assert await heard(reader) == CloseResponse(Status.NO_QKD_CONNECTION)
            writer.write(encode(OpenConnectRequest("alice", "bob", QOS)))
            assert await heard(reader) == OpenConnectResponse(Status.NO_QKD_CONNECTION)

        await with_plain_door(network, "alice", talk)

    in_network(tmp_path, play)


@pytest.mark.parametrize("certificate", [certificate_of("kme-b", "kme"), ClientCertificate((), b"", 1, "", 0.0, 0.0)])
def test_the_door_is_for_saes(tmp_path: Path, certificate: ClientCertificate) -> None:
    async def play(network: Network) -> None:
        reader = asyncio.StreamReader()
        closed = []

        class Listener(PlainStream):
            def __init__(self) -> None:
                self.reader = reader

            def close(self) -> None:
                closed.append(True)

        with pytest.raises(NotAuthorised):
            await StreamDoor(streams(network, "alice")).connected(Listener(), certificate)
        assert closed

    in_network(tmp_path, play)


# A client over mutual TLS.


@dataclass
class TlsNetwork:
    """Two KMEs with doors, and the clients of their SAEs."""

    network: Network
    authority: CertificateAuthority
    ports: dict[str, int]

    def client(self, sae: str, kme_id: str | None = None, *, at: str | None = None) -> StreamClient:
        home = at or self.network.homes.get(sae, "kme-a")
        return StreamClient("127.0.0.1", kme_id or home, self.authority.issue("sae", sae), port=self.ports[home], timeout_s=5)


def over_tls(folder: Path, talk: Callable[[TlsNetwork], None]) -> Network:
    """Run ``talk`` in a thread of its own, against two doors over mutual TLS."""

    async def play(network: Network) -> None:
        tls = TlsNetwork(network, CertificateAuthority(folder / "pki"), {})
        servers = []
        for kme_id, node in network.nodes.items():
            listener = socket.create_server(("127.0.0.1", 0))
            tls.ports[kme_id] = listener.getsockname()[1]
            contexts = ServerTls(tls.authority.issue("kme", kme_id))
            servers.append(await start_tls_server(StreamDoor(node.streams).connected, listener, contexts))
        try:
            await asyncio.to_thread(talk, tls)
        finally:
            for server in servers:
                server.close()
            await asyncio.sleep(0.05)

    return in_network(folder, play)


def test_two_saes_draw_the_same_key_over_mutual_tls(tmp_path: Path) -> None:
    def talk(tls: TlsNetwork) -> None:
        with tls.client("alice") as alice, tls.client("bob") as bob:
            stream = alice.open("qkd://alice", "qkd://bob", QOS)
            assert stream.ksid is not None
            assert bob.open("qkd://bob", "qkd://alice", Qos(timeout_ms=2000), stream.ksid) == stream
            bob.hang_up()  # A stream outlives its connection.
            for index in range(BATCH_CHUNKS + 1):
                ours, theirs = alice.get_key(stream.ksid, index), bob.get_key(stream.ksid, index, metadata_byte=0)
                assert ours.key == theirs.key
                assert json.loads(ours.metadata) == {"age": 12, "hops": 1}
            with pytest.raises(RemoteRefused, match="status 2: insufficient key"):
                bob.get_key(stream.ksid, 0)
            with pytest.raises(RemoteRefused, match=f"status 8: the metadata needs {METADATA_BYTE} bytes"):
                bob.get_key(stream.ksid, 1, metadata_byte=3)
            for client in (alice, bob):
                client.close(stream.ksid)
            with pytest.raises(RemoteRefused, match="status 3: get key peer not connected"):
                alice.get_key(stream.ksid, 5)

    network = over_tls(tmp_path, talk)
    assert all(node.voided for node in network.nodes.values())


def test_a_client_learns_of_a_counter_proposal_and_of_a_peer_that_does_not_come(tmp_path: Path) -> None:
    def talk(tls: TlsNetwork) -> None:
        with tls.client("alice") as alice:
            with pytest.raises(QosNotMet) as refused:
                alice.open("alice", "bob", Qos(min_bps=10**6))
            assert refused.value.qos.min_bps == 50_000
            assert alice.open("alice", "bob", Qos(timeout_ms=50), uuid4()).status is Status.PEER_NOT_CONNECTED
            with pytest.raises(RemoteRefused, match="status 4"):
                alice.open("bob", "mallory", QOS)

    over_tls(tmp_path, talk)


def test_a_client_checks_who_answers_and_a_door_who_calls(tmp_path: Path) -> None:
    def talk(tls: TlsNetwork) -> None:
        with tls.client("alice", "kme-b", at="kme-a") as alice, pytest.raises(KmeUnreachable):
            alice.open("alice", "bob", QOS)
        stranger = CertificateAuthority(tmp_path / "forged").issue("sae", "bob")
        with StreamClient("127.0.0.1", "kme-b", stranger, port=tls.ports["kme-b"]) as eve, pytest.raises(KmeUnreachable):
            eve.open("bob", "alice", QOS)
        with tls.client("bob", at="kme-a") as bob, pytest.raises(RemoteRefused, match="status 4"):
            bob.open("bob", "alice", QOS)

    over_tls(tmp_path, talk)


def test_a_lost_answer_with_key_is_uncertain_and_not_asked_for_again(tmp_path: Path) -> None:
    def talk(tls: TlsNetwork) -> None:
        node = tls.network.nodes["kme-a"]

        async def broken(sae: str, request: GetKeyRequest) -> GetKeyResponse:
            asked.append(request)
            raise ConnectionResetError

        asked: list[GetKeyRequest] = []
        node.streams.get_key = broken  # type: ignore[method-assign]
        with tls.client("alice") as alice:
            stream = alice.open("alice", "bob", QOS)
            assert stream.ksid is not None
            with pytest.raises(KeysUncertain):
                alice.get_key(stream.ksid, 0)
            alice.close(stream.ksid)
        assert len(asked) == 1

    over_tls(tmp_path, talk)


def test_an_answer_of_another_chunk_is_a_violation(tmp_path: Path) -> None:
    def talk(tls: TlsNetwork) -> None:
        async def confused(sae: str, request: GetKeyRequest) -> GetKeyResponse:
            return GetKeyResponse(Status.SUCCESSFUL, request.index + 1, b"SECRET")

        tls.network.nodes["kme-a"].streams.get_key = confused  # type: ignore[method-assign]
        with tls.client("alice") as alice, pytest.raises(ProtocolViolation) as refused:
            alice.get_key(uuid4(), 0)
        assert "SECRET" not in str(refused.value)

    over_tls(tmp_path, talk)


def test_a_client_gives_no_ear_to_a_revoked_key_manager(tmp_path: Path) -> None:
    def talk(tls: TlsNetwork) -> None:
        tls.authority.revoke("kme-a")
        with tls.client("alice") as alice, pytest.raises(KmeUnreachable, match="revoked"):
            alice.open("alice", "bob", QOS)

    over_tls(tmp_path, talk)
