"""Two ends over real sockets: equal keys, and nothing lost or taken twice whatever the peer or the network does."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import shutil
import stat
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any
from uuid import uuid4

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiandi.bits import pack
from tiandi.distill import messages
from tiandi.distill.records import ReceiverRecord, TransmitterRecord
from tiandi.distill.sifting import encode_slots
from tiandi.errors import DistillationAborted, InputError, ProtocolViolation
from tiandi.hosts import greeting
from tiandi.hosts.key_folder import KeyFolder
from tiandi.hosts.link_end import LinkEnd, Report
from tiandi.hosts.pool_file import PoolFile, create_pair
from tiandi.hosts.post_processing import connect, serve
from tiandi.hosts.recordings import LEAST_BLOCK_EVENTS, Recording, Recordings, UsedSpans, plan_blocks, unused
from tiandi.hosts.session import PINGS
from tiandi.hosts.twin_recording import record_twin
from tiandi.hosts.wire import CONTROL, HEADER, Address, tls_context
from tiandi.kms.tls.pki import CertificateAuthority
from tiandi.protocols.event_file import read_run, read_whole, write_blocks
from tiandi.quantum.link import SecuritySettings

ANYWHERE = Address("127.0.0.1", 0)
BLOCK_EVENTS = 800_000
SILENCE_S = 5.0


@pytest.fixture(scope="module")
def twins(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Event files of 0.45 s over 20 km, cut by `BLOCK_EVENTS` into three blocks."""
    folder = tmp_path_factory.mktemp("twins")
    record_twin(folder / "alice.h5", folder / "bob.h5", length_km=20.0, duration_s=0.45, seed=1)
    return folder


@dataclass(frozen=True)
class Place:
    """A folder with everything that two ends need."""

    folder: Path

    @contextmanager
    def end(
        self, name: str, *files: Path, join: bool = False, block_events: int | None = BLOCK_EVENTS, **options: Any
    ) -> Iterator[LinkEnd]:
        recordings = [Recording.open(path) for path in files or (self.folder / f"{name}.h5",)]
        with (
            Recordings(recordings, join=join, block_events=None if join else block_events) as opened,
            PoolFile(self.folder / f"{name}.pool") as pool,
        ):
            yield LinkEnd(opened, pool, KeyFolder(self.folder / f"{name}.keys"), **{"silence_s": SILENCE_S, **options})

    def keys(self, name: str) -> dict[str, bytes]:
        folder = self.folder / f"{name}.keys"
        return {path.name: path.read_bytes() for path in sorted(folder.glob("*.key"))}


@pytest.fixture
def place(tmp_path: Path, twins: Path) -> Place:
    for name in ("alice.h5", "bob.h5"):
        shutil.copy(twins / name, tmp_path)
    create_pair(tmp_path / "alice.pool", tmp_path / "bob.pool", "Here - There", 64)
    return Place(tmp_path)


def run(work: Awaitable[Any]) -> Any:
    return asyncio.run(asyncio.wait_for(work, 120.0))


class Server:
    """An end that serves while the test goes on."""

    def __init__(self, end: LinkEnd, tls: Any = None) -> None:
        self.said: list[str] = []
        self._listening: asyncio.Future[Address] = asyncio.get_running_loop().create_future()
        self.task = asyncio.create_task(serve(ANYWHERE, end, tls=tls, tell=self._hear))

    def _hear(self, line: str) -> None:
        self.said.append(line)
        if line.startswith("listening at "):
            self._listening.set_result(Address.parse(line.removeprefix("listening at ")))

    async def address(self) -> Address:
        return await self._listening


async def distil(serving: LinkEnd, calling: LinkEnd) -> tuple[Report, Report]:
    server = Server(serving)
    return await connect(await server.address(), calling), await server.task


def test_both_ends_find_the_same_keys_and_accounts_in_their_folders(place: Place) -> None:
    with place.end("alice", transcripts=True) as alice, place.end("bob", transcripts=True) as bob:
        bobs, alices = run(distil(alice, bob))
    assert bobs.complete
    assert alices.complete
    assert len(bobs.blocks) == 3
    assert place.keys("alice") == place.keys("bob")
    assert {f"{block.block_id}.key": block.key_bit for block in bobs.blocks} == {
        name: 8 * len(key) for name, key in place.keys("bob").items()
    }
    assert [block.ledger for block in sorted(alices.blocks, key=lambda block: block.number)] == [
        block.ledger for block in sorted(bobs.blocks, key=lambda block: block.number)
    ]
    for block in bobs.blocks:
        account = msgspec.json.decode((place.folder / "bob.keys" / f"{block.block_id}.json").read_bytes())
        assert account["key_bit"] == block.key_bit
        assert account["agreement"]["link"] == "Here - There"
        said = [(place.folder / f"{end}.keys" / f"{block.block_id}.transcript").stat().st_size for end in ("alice", "bob")]
        assert min(said) > 100_000
    for path in (place.folder / "alice.keys").iterdir():
        assert path.suffix == ".transcript" or stat.S_IMODE(path.stat().st_mode) == 0o600
        assert not path.name.startswith(".")


def test_it_does_not_matter_who_serves_and_tls_works_as_well(place: Place) -> None:
    authority = CertificateAuthority(place.folder / "pki")
    contexts = []
    for name, serving in (("bob", True), ("alice", False)):
        shown = authority.issue("kme", name)
        contexts.append(
            tls_context(serving=serving, certificate=shown.certificate, private_key=shown.private_key, authority=shown.authority)
        )

    async def work(serving: LinkEnd, calling: LinkEnd) -> None:
        server = Server(serving, contexts[0])
        assert (await connect(await server.address(), calling, tls=contexts[1])).complete
        assert (await server.task).complete

    with place.end("alice", block_events=None) as alice, place.end("bob", block_events=None) as bob:
        run(work(bob, alice))
    assert place.keys("alice") == place.keys("bob") != {}


def test_nothing_is_said_to_another_who_answers(place: Place) -> None:
    """And no key of the pool is spent on words to it."""

    async def work(serving: LinkEnd, calling: LinkEnd) -> None:
        server, before_bit = Server(serving), calling.pool.available_bit
        with pytest.raises(DistillationAborted, match="is not the other end of Here - There"):
            await connect(await server.address(), calling, admits=lambda _: False)
        assert calling.pool.available_bit == before_bit
        assert (await connect(await server.address(), calling)).complete
        assert (await server.task).complete

    with place.end("alice", block_events=None) as alice, place.end("bob", block_events=None) as bob:
        run(work(alice, bob))


def test_the_receiver_need_not_know_the_light(place: Place) -> None:
    run_of_bob = replace(read_run(place.folder / "bob.h5"), mean_photon_numbers=(), probabilities=())
    with write_blocks(place.folder / "plain.h5", run_of_bob, ReceiverRecord) as append:
        append(read_whole(place.folder / "bob.h5", ReceiverRecord))
    with place.end("alice", block_events=None) as alice, place.end("bob", place.folder / "plain.h5", block_events=None) as bob:
        assert run(distil(alice, bob))[0].complete
    assert place.keys("alice") == place.keys("bob") != {}


def test_several_files_make_one_block(place: Place) -> None:
    halves = {"alice": TransmitterRecord, "bob": ReceiverRecord}
    for name, kind in halves.items():
        whole, description = read_whole(place.folder / f"{name}.h5", kind), read_run(place.folder / f"{name}.h5")
        middle = int(np.sum(description.pulses)) // 2
        cut = int(np.searchsorted(whole.slots, middle))
        columns = [getattr(whole, field) for field in ("intensities", "bases", "bits") if hasattr(whole, field)]
        for part, rows, start, pulses in ((1, slice(cut), 0, middle), (2, slice(cut, None), middle, middle + 1)):
            with write_blocks(place.folder / f"{name}-{part}.h5", replace(description, pulses=np.array([pulses])), kind) as append:
                append(kind(whole.slots[rows] - start, *(column[rows] for column in columns)))
    files = {name: [place.folder / f"{name}-{part}.h5" for part in (1, 2)] for name in halves}
    with place.end("alice", *files["alice"], join=True) as alice, place.end("bob", *files["bob"], join=True) as bob:
        report, _ = run(distil(alice, bob))
    (block,) = report.blocks
    assert block.ledger.detected == read_whole(place.folder / "bob.h5", ReceiverRecord).slots.size
    assert place.keys("alice") == place.keys("bob")
    assert block.key_bit > 0


def test_another_pool_of_the_same_name_makes_no_key(place: Place) -> None:
    os.unlink(place.folder / "bob.pool")
    create_pair(place.folder / "other.pool", place.folder / "bob.pool", "Here - There", 64)
    with place.end("alice") as alice, place.end("bob") as bob:
        assert "the peer's has the same name and is of another" in run(_refused(alice, bob, "must be of one pair at both ends"))
        assert alice.recordings.used[0].spans == bob.recordings.used[0].spans == []
    assert place.keys("alice") == place.keys("bob") == {}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            {"security": SecuritySettings(epsilon_secrecy=1e-10)},
            r"epsilon_secrecy = 1e-10: must be the same at both ends: the peer has 1e-09",
        ),
        ({"security": SecuritySettings(qber_limit=0.08)}, r"qber_limit = 0.08: .*the peer has 0.11"),
        ({"block_events": 600_000}, r"block_events = 600000: .*the peer has 800000"),
        ({"join": True}, r"join = True: .*the peer has False"),
    ],
)
def test_ends_that_are_not_of_one_mind_are_told_the_field_and_both_values(place: Place, options: dict[str, Any], words: str) -> None:
    async def work(alice: LinkEnd, bob: LinkEnd) -> list[str]:
        server = Server(alice)
        with pytest.raises(InputError, match=words):
            await connect(await server.address(), bob)
        await asyncio.sleep(0.2)
        assert not server.task.done()  # It waits for the right one.
        server.task.cancel()
        return server.said

    with place.end("alice") as alice, place.end("bob", **options) as bob:
        said = run(work(alice, bob))
    assert "was sent away" in said[-1]
    assert not list(place.folder.glob("*.used"))


def test_two_ends_of_the_same_role_are_refused(place: Place) -> None:
    shutil.copy(place.folder / "alice.h5", place.folder / "again.h5")

    async def work(alice: LinkEnd, bob: LinkEnd) -> None:
        server = Server(alice)
        with pytest.raises(InputError, match="transmitter"):
            await connect(await server.address(), bob)
        server.task.cancel()

    with place.end("alice") as alice, place.end("bob", place.folder / "again.h5") as bob:
        run(work(alice, bob))


def test_pools_of_two_links_are_refused(place: Place) -> None:
    os.unlink(place.folder / "bob.pool")
    create_pair(place.folder / "other.pool", place.folder / "bob.pool", "Elsewhere", 64)

    async def work(alice: LinkEnd, bob: LinkEnd) -> None:
        server = Server(alice)
        with pytest.raises(InputError, match="link = 'Elsewhere': must be the same at both ends: the peer has 'Here - There'"):
            await connect(await server.address(), bob)
        server.task.cancel()

    with place.end("alice") as alice, place.end("bob") as bob:
        run(work(alice, bob))


def test_strangers_at_the_door_keep_nobody_out(place: Place) -> None:
    """One is silent, one sends garbage, one a hello that cannot be, one hangs up at once."""
    impossible = b'{"type":"Hello","version":1,"files":[]}'

    async def work(alice: LinkEnd, bob: LinkEnd) -> None:
        server = Server(alice)
        strangers = [await asyncio.open_connection(*await server.address()) for _ in range(4)]
        strangers[1][1].write(os.urandom(4096))
        strangers[2][1].write(HEADER.pack(CONTROL, len(impossible)) + impossible)
        strangers[3][1].close()
        assert (await connect(await server.address(), bob)).complete
        assert (await server.task).complete
        for _, writer in strangers:
            writer.close()
        assert sum("was sent away" in line for line in server.said) == 3

    with place.end("alice", block_events=None) as alice, place.end("bob", block_events=None) as bob:
        run(work(alice, bob))


class Meddler:
    """Somebody between the ends, who may do to the frames that the caller sends what she likes."""

    def __init__(self, target: Address, meddle: Callable[[int, bytes], bytes | None]) -> None:
        self._target, self._meddle = target, meddle

    async def __aenter__(self) -> Address:
        self._server = await asyncio.start_server(self._carry, *ANYWHERE)
        return Address(*self._server.sockets[0].getsockname()[:2])

    async def __aexit__(self, *_: object) -> None:
        self._server.close()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(*self._target)
        copying = asyncio.create_task(self._copy(there, writer))
        count = 0
        try:
            while True:
                header = await reader.readexactly(HEADER.size)
                frame = header + await reader.readexactly(HEADER.unpack(header)[1])
                count += HEADER.unpack(header)[0] != CONTROL
                changed = self._meddle(count, frame)
                if changed is None:
                    break
                back.write(changed)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        copying.cancel()
        writer.close()
        back.close()

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
        writer.close()


async def distil_through(serving: LinkEnd, calling: LinkEnd, meddle: Callable[[int, bytes], bytes | None]) -> tuple[Report, Report]:
    server = Server(serving)
    async with Meddler(await server.address(), meddle) as address:
        caller = await connect(address, calling)
        return caller, await server.task


def test_a_connection_that_breaks_loses_the_blocks_in_flight_and_no_other_and_the_next_run_takes_up_the_rest(place: Place) -> None:
    def cut_after_first_block(_: int, frame: bytes) -> bytes | None:
        return None if HEADER.unpack(frame[: HEADER.size])[0] == 1 and b"Announcement" not in frame[:64] else frame

    with place.end("alice", blocks_in_flight=1) as alice, place.end("bob", blocks_in_flight=1) as bob:
        bobs, alices = run(distil_through(alice, bob, cut_after_first_block))
    for report in (bobs, alices):
        assert report.broken is not None
        assert "the connection broke" in report.broken
        assert [block.block_id is not None for block in report.blocks] == [True, False]
        assert report.left == 1
    first = place.keys("bob")
    assert first == place.keys("alice")
    assert len(first) == 1

    with place.end("alice") as alice, place.end("bob") as bob:
        bobs, _ = run(distil(alice, bob))
    # The block that broke was spoken of: only the third is left.
    assert bobs.complete
    assert len(bobs.blocks) == 1
    assert len(place.keys("bob")) == 2
    assert place.keys("bob") == place.keys("alice")

    for name in ("alice", "bob"):
        with place.end(name) as end, pytest.raises(InputError, match=r"were distilled before \(FILE.used beside them\)"):
            run(serve(ANYWHERE, end))


async def _refused(serving: LinkEnd, calling: LinkEnd, words: str) -> str:
    server = Server(serving)
    with pytest.raises(InputError, match=words):
        await connect(await server.address(), calling)
    await asyncio.sleep(0.2)
    server.task.cancel()
    return server.said[-1]


def test_a_changed_bit_makes_no_key(place: Place) -> None:
    def flip(count: int, frame: bytes) -> bytes | None:
        return frame[:-1] + bytes([frame[-1] ^ 1]) if count == 2 else frame

    with place.end("alice", block_events=None) as alice, place.end("bob", block_events=None) as bob:
        bobs, alices = run(distil_through(alice, bob, flip))
    assert not bobs.complete
    assert not alices.complete
    assert place.keys("alice") == place.keys("bob") == {}


def test_a_peer_that_speaks_before_it_is_answered_is_cut_off(place: Place) -> None:
    def twice(count: int, frame: bytes) -> bytes | None:
        return frame * 20 if count == 1 else frame

    with place.end("alice", block_events=None) as alice, place.end("bob", block_events=None) as bob:
        bobs, alices = run(distil_through(alice, bob, twice))
    assert alices.broken == "block 1 is spoken of again before an answer"
    assert bobs.broken is not None
    assert place.keys("alice") == place.keys("bob") == {}


def test_a_block_out_of_turn_is_cut_off(place: Place) -> None:
    def renumber(count: int, frame: bytes) -> bytes | None:
        return HEADER.pack(7, len(frame) - HEADER.size) + frame[HEADER.size :] if count == 1 else frame

    with place.end("alice", block_events=None) as alice, place.end("bob", block_events=None) as bob:
        _, alices = run(distil_through(alice, bob, renumber))
    assert alices.broken == "block 8 is spoken of out of turn"


def test_a_peer_that_goes_silent_in_the_middle_is_given_up(place: Place) -> None:
    def swallow(count: int, frame: bytes) -> bytes | None:
        return b"" if count >= 3 else frame

    with place.end("alice", silence_s=1.0, block_events=None) as alice, place.end("bob", silence_s=1.0, block_events=None) as bob:
        _, alices = run(distil_through(alice, bob, swallow))
    assert alices.broken == "the peer has been silent for 1 s"


def test_a_peer_that_lives_but_does_not_answer_is_given_up(place: Place) -> None:
    def swallow_blocks(count: int, frame: bytes) -> bytes | None:
        return b"" if count >= 3 and HEADER.unpack(frame[: HEADER.size])[0] != CONTROL else frame

    patience = {"silence_s": 1.0, "answer_s": 2.0, "block_events": None}
    with place.end("alice", **patience) as alice, place.end("bob", **patience) as bob:
        bobs, alices = run(distil_through(alice, bob, swallow_blocks))
    assert "block 1 has had no answer for 2 s" in f"{alices.broken} {bobs.broken}"


def test_a_full_disk_is_one_clear_error_and_leaves_no_key_at_either_end(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(source: Path, target: Path) -> None:
        if "alice.keys" in str(target):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("tiandi.hosts.key_folder.os.link", full)

    async def work(alice: LinkEnd, bob: LinkEnd) -> None:
        server = Server(alice)
        report = await connect(await server.address(), bob)
        assert report.broken is not None
        with pytest.raises(InputError, match=r"keys = .*: cannot be written: No space left on device"):
            await server.task

    with place.end("alice", block_events=None) as alice, place.end("bob", block_events=None) as bob:
        run(work(alice, bob))
    assert place.keys("alice") == place.keys("bob") == {}
    assert not list((place.folder / "alice.keys").iterdir())
    monkeypatch.undo()
    # The pools still fit each other: another recording makes key.
    record_twin(place.folder / "alice-2.h5", place.folder / "bob-2.h5", length_km=20.0, duration_s=0.2, seed=2)
    with (
        place.end("alice", place.folder / "alice-2.h5", block_events=None) as alice,
        place.end("bob", place.folder / "bob-2.h5", block_events=None) as bob,
    ):
        assert run(distil(alice, bob))[0].complete
    assert place.keys("alice") == place.keys("bob") != {}


def test_no_key_is_written_over(tmp_path: Path) -> None:
    folder, block_id = KeyFolder(tmp_path / "keys"), uuid4()
    folder.deliver(block_id, b"first", b"{}")
    with pytest.raises(InputError, match="File exists"):
        folder.deliver(block_id, b"second", b"{}")
    assert (tmp_path / "keys" / f"{block_id}.key").read_bytes() == b"first"
    assert len(list((tmp_path / "keys").iterdir())) == 2


@given(
    pulses=st.lists(st.integers(1, 10**6), min_size=1, max_size=4),
    events=st.lists(st.integers(0, 10**6), min_size=4, max_size=4),
    block_events=st.one_of(st.none(), st.integers(LEAST_BLOCK_EVENTS, 10**6)),
)
def test_blocks_cover_every_pulse_once(pulses: list[int], events: list[int], block_events: int | None) -> None:
    blocks = plan_blocks(pulses, events[: len(pulses)], join=False, block_events=block_events)
    covered = [(stretch.file, stretch.span) for (stretch,) in blocks]
    for file, count in enumerate(pulses):
        ends = [0, *(span[1] for at, span in covered if at == file)]
        assert [span for at, span in covered if at == file] == list(pairwise(ends))
        assert ends[-1] == count
        assert ends == sorted(set(ends))


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)).map(sorted), max_size=6), st.integers(1, 12))
def test_blocks_that_touch_what_was_used_are_left_out(spans: list[list[int]], parts: int) -> None:
    blocks = plan_blocks([60], [60 * LEAST_BLOCK_EVENTS], join=False, block_events=60 * LEAST_BLOCK_EVENTS // parts)
    used = {slot for low, high in spans for slot in range(low, high)}
    left = list(unused(blocks, [[(low, high) for low, high in spans if low < high]]))
    assert left == [block for block in blocks if not used & set(range(*block[0].span))]


def test_the_list_of_what_was_used_is_held_by_one_process_and_never_guessed(tmp_path: Path) -> None:
    path = tmp_path / "alice.h5"
    first = UsedSpans(path)
    with pytest.raises(InputError, match="is being distilled by another process"):
        UsedSpans(path)
    first.add((0, 10))
    first.close()
    again = UsedSpans(path)
    assert again.spans == [(0, 10)]
    again.close()
    (tmp_path / "alice.h5.used").write_text("0 10\n20 3")
    with pytest.raises(InputError, match="is damaged"):
        UsedSpans(path)


def test_recordings_of_both_ends_do_not_go_together(place: Place) -> None:
    both = [Recording.open(place.folder / name) for name in ("alice.h5", "bob.h5")]
    assert [recording.role for recording in both] == ["transmitter", "receiver"]
    with pytest.raises(InputError, match="must be all of one end"):
        Recordings(both)
    with pytest.raises(InputError, match="must be different files"):
        Recordings([both[0], both[0]])
    with pytest.raises(InputError, match="block-events"):
        Recordings(both[:1], join=True, block_events=10_000)


@given(st.binary(max_size=200))
def test_what_is_no_control_message_is_a_violation(data: bytes) -> None:
    with pytest.raises(ProtocolViolation):
        greeting.decode(data)


def test_a_refusal_is_shown_without_its_control_characters(place: Place) -> None:
    refusal = greeting.encode(greeting.Refusal("no\x1b[2J\nway"))

    def refuse(count: int, frame: bytes) -> bytes | None:
        return HEADER.pack(CONTROL, len(refusal)) + refusal if count == 1 else frame

    with place.end("alice", block_events=None) as alice, place.end("bob", block_events=None) as bob:
        _, alices = run(distil_through(alice, bob, refuse))
    assert alices.broken == "the peer aborted: no?[2J?way"


async def stranger(address: Address) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Somebody who knows nothing but where an end serves, and says its own hello back to it."""
    reader, writer = await asyncio.open_connection(*address)
    hello = greeting.decode((await read_frame(reader))[1])
    assert isinstance(hello, greeting.Hello)
    writer.write(frame(CONTROL, greeting.encode(msgspec.structs.replace(hello, role="receiver"))))
    return reader, writer


def frame(number: int, payload: bytes) -> bytes:
    return HEADER.pack(number, len(payload)) + payload


async def read_frame(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    number, size = HEADER.unpack(await reader.readexactly(HEADER.size))
    return number, await reader.readexactly(size)


def test_events_of_which_a_stranger_was_told_anything_make_no_key(place: Place) -> None:
    """A refusal that counts sifted detections tells of bases: the events are spent with it."""
    record = read_whole(place.folder / "alice.h5", TransmitterRecord)

    async def ask() -> messages.Message:
        server = Server(alice)
        reader, writer = await stranger(await server.address())
        for number in range(PINGS):
            writer.write(frame(CONTROL, greeting.encode(greeting.Ping(number))))
            while greeting.decode((await read_frame(reader))[1]) != greeting.Pong(number):
                pass
        writer.write(frame(CONTROL, greeting.encode(greeting.Begin(0.0))))
        few = record.slots[:300]
        writer.write(frame(0, messages.encode(messages.Announcement(bytes(16), encode_slots(few), pack(np.zeros(300, np.uint8))))))
        while (said := await read_frame(reader))[0] == CONTROL:
            pass
        writer.close()
        await server.task
        return messages.decode(said[1])

    with place.end("alice", block_events=None) as alice:
        answer = run(ask())
        assert isinstance(answer, messages.Abort)
        assert "sifted detections are fewer" in answer.reason
        assert alice.recordings.used[0].spans == [(0, int(np.sum(read_run(place.folder / "alice.h5").pulses)))]


def test_a_link_to_a_recording_is_that_recording(place: Place, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "other.h5").symlink_to(place.folder / "alice.h5")
    used = UsedSpans(place.folder / "alice.h5")
    used.add((0, 10))
    with pytest.raises(InputError, match="by another process"):
        UsedSpans(elsewhere / "other.h5")
    used.close()
    linked = UsedSpans(elsewhere / "other.h5")
    assert linked.spans == [(0, 10)]
    linked.close()


@pytest.mark.parametrize("what", ["pings without end", "a hello a byte at a time"])
def test_who_never_comes_to_the_point_is_sent_away(place: Place, what: str) -> None:
    async def work() -> tuple[list[str], bool]:
        server = Server(alice)
        address = await server.address()
        if what == "pings without end":
            reader, writer = await stranger(address)
            for number in range(2 * PINGS):
                writer.write(frame(CONTROL, greeting.encode(greeting.Ping(number))))
        else:
            reader, writer = await asyncio.open_connection(*address)
            writer.write(HEADER.pack(CONTROL, 1000))
            for _ in range(12):
                writer.write(b"x")
                await asyncio.sleep(0.1)
        with contextlib.suppress(ConnectionError):
            await asyncio.wait_for(reader.read(), 10.0)
        writer.close()
        ended = server.task.done() or what == "pings without end"
        server.task.cancel()
        await asyncio.gather(server.task, return_exceptions=True)
        return server.said, ended

    with place.end("alice", silence_s=0.5) as alice:
        said, ended = run(work())
    assert ended or "was sent away: the peer has not said hello" in said[-1]
