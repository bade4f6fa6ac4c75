"""Event files: what goes in comes out, in pieces too; what is not whole, not ours or not sane is refused by name."""

import os
import stat
import subprocess
import sys
import tracemalloc
import zlib
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiandi.distill.records import ReceiverRecord, TransmitterRecord
from tiandi.errors import InputError
from tiandi.protocols import event_file
from tiandi.protocols.event_file import CHUNK_EVENTS, Run, read_blocks, read_run, read_whole, slots_from_time_tags, write_blocks
from tiandi.protocols.events import Events

RUN = Run(
    protocol="decoy BB84",
    clock_hz=625e6,
    start=datetime(2026, 3, 1, 20, 0, tzinfo=timezone(timedelta(hours=8))),
    pulses=np.array([10**8, 2 * 10**8]),
    mean_photon_numbers=(0.5, 0.1, 0.0),
    probabilities=(0.7, 0.2, 0.1),
    hardware="Zähler 7",
    comment="first light",
)


def transmitter_record(events: int, seed: int = 1) -> TransmitterRecord:
    generator = np.random.default_rng(seed)
    slots = np.cumsum(generator.geometric(1e-3, events)) - 1
    intensities, bases, bits = (generator.integers(0, top, events).astype(np.uint8) for top in (3, 2, 2))
    return TransmitterRecord(slots, intensities, bases, bits)


def part(record: Any, start: int, stop: int) -> Any:
    values = {name: values[start:stop] for name, values in vars(record).items() if isinstance(values, np.ndarray)}
    return replace(record, **values)


def write(path: Path, record: Any, run: Run = RUN, step: int = 10**9) -> Path:
    with write_blocks(path, run, type(record)) as append:
        for start in range(0, record.slots.size, step):
            append(part(record, start, start + step))
    return path


def same(one: Any, other: Any) -> bool:
    return all(np.array_equal(values, getattr(other, name)) for name, values in vars(one).items())


@pytest.mark.parametrize("events", [0, 1, CHUNK_EVENTS, CHUNK_EVENTS + 1, 150_000])
def test_both_ends_read_what_they_wrote(tmp_path: Path, events: int) -> None:
    alice = transmitter_record(events)
    bob = ReceiverRecord(alice.slots, alice.bases ^ 1, alice.bits)
    assert same(read_whole(write(tmp_path / "alice.h5", alice), TransmitterRecord), alice)
    assert same(read_whole(write(tmp_path / "bob.h5", bob), ReceiverRecord), bob)


def test_events_of_any_protocol_are_read_as_they_were_written(tmp_path: Path) -> None:
    run = replace(RUN, protocol="BBM92", shape=(3, 2, 4), axes=("intensity", "basis", "outcome"))
    generator = np.random.default_rng(4)
    events = Events(np.arange(100_000) * 7, generator.integers(0, 24, 100_000).astype(np.uint8), (3, 2, 4))
    found = read_whole(write(tmp_path / "events.h5", events, run), Events)
    assert same(found, events)
    assert (found.counts() == events.counts()).all()


@pytest.mark.parametrize("step", [999, CHUNK_EVENTS, 100_000])
def test_blocks_of_any_size_make_the_same_file(tmp_path: Path, step: int) -> None:
    record = transmitter_record(150_000)
    blocks = list(read_blocks(write(tmp_path / "alice.h5", record, step=step), TransmitterRecord))
    assert [block.slots.size for block in blocks] == [CHUNK_EVENTS, CHUNK_EVENTS, 150_000 - 2 * CHUNK_EVENTS]
    assert same(part(record, CHUNK_EVENTS, 2 * CHUNK_EVENTS), blocks[1])


def test_the_run_is_read_as_it_was_written(tmp_path: Path) -> None:
    run = replace(RUN, shape=(2, 3), axes=("basis", "outcome"))
    found = read_run(write(tmp_path / "events.h5", Events(np.arange(3), np.zeros(3, np.uint8), (2, 3)), run))
    assert found.start == run.start
    assert found.start.tzinfo == UTC
    assert {**vars(found), "start": 0, "pulses": found.pulses.tolist()} == {**vars(run), "start": 0, "pulses": run.pulses.tolist()}


def test_any_program_reads_the_datasets_and_attributes_of_the_manual(tmp_path: Path) -> None:
    record = transmitter_record(100)
    with h5py.File(write(tmp_path / "alice.h5", record)) as file:
        assert set(file) == {"slots", "intensities", "bases", "bits"}
        assert (file["slots"][:] == record.slots).all()
        assert (file["bits"][:] == record.bits).all()
        assert file.attrs["format"].decode() == "tiandi events"
        assert file.attrs["start_utc"].decode() == "2026-03-01T12:00:00+00:00"
        assert file.attrs["hardware"].decode() == "Zähler 7"
        assert file.attrs["clock_hz"] == 625e6
        attributes = set(file.attrs)
    manual = (Path(__file__).parents[2] / "docs" / "event-files.md").read_text(encoding="utf-8")
    assert [name for name in attributes | {"slots", "kinds", "intensities", "bases", "bits"} if f"`{name}`" not in manual] == []


def test_a_record_takes_a_third_of_its_size_on_disk(tmp_path: Path) -> None:
    path = write(tmp_path / "alice.h5", transmitter_record(200_000))
    assert path.stat().st_size < 200_000 * (8 + 3) / 3


def test_neither_end_writes_what_only_the_other_knows(tmp_path: Path) -> None:
    alice = transmitter_record(10)
    path = write(
        tmp_path / "bob.h5", ReceiverRecord(alice.slots, alice.bases, alice.bits), replace(RUN, mean_photon_numbers=(), probabilities=())
    )
    with h5py.File(path) as file:
        assert set(file) == {"slots", "bases", "bits"}
    with pytest.raises(InputError, match="content"):
        read_whole(path, TransmitterRecord)


def test_memory_stays_small_however_long_the_run(tmp_path: Path) -> None:
    path, whole = tmp_path / "alice.h5", 1_500_000 * 11
    tracemalloc.start()
    with write_blocks(path, RUN, TransmitterRecord) as append:
        for start in range(0, 1_500_000, 50_000):
            zeros = np.zeros(50_000, np.uint8)
            append(TransmitterRecord(np.arange(start, start + 50_000), zeros, zeros, zeros))
    assert sum(block.slots.size for block in read_blocks(path, TransmitterRecord)) == 1_500_000
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < whole / 2


def test_only_the_owner_may_read_and_nothing_else_is_left(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        path = write(tmp_path / "alice.h5", transmitter_record(10))
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_an_error_while_writing_leaves_nothing(tmp_path: Path) -> None:
    def fail() -> None:
        with write_blocks(tmp_path / "alice.h5", RUN, TransmitterRecord) as append:
            append(transmitter_record(10))
            assert not (tmp_path / "alice.h5").exists()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert list(tmp_path.iterdir()) == []


WRITER = """
import os, resource, sys
from pathlib import Path
import numpy as np
from datetime import UTC, datetime
from tiandi.distill.records import ReceiverRecord
from tiandi.errors import InputError
from tiandi.protocols.event_file import Run, write_blocks

how, path = sys.argv[1], Path(sys.argv[2])
run = Run("decoy BB84", 1e8, datetime(2026, 1, 1, tzinfo=UTC), np.array([10**12]))
if how.isdigit():
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(how), int(how)))
slots = np.cumsum(np.random.default_rng(1).integers(1, 10**5, 200_000))
bits = np.zeros(200_000, np.uint8)
try:
    with write_blocks(path, run, ReceiverRecord) as append:
        append(ReceiverRecord(slots, bits, bits))
        if how == "kill":
            os._exit(9)
except InputError as error:
    print(error)
"""


@pytest.mark.parametrize("limit", [0, 3000, 200_000, 480_000, -10])
def test_a_full_disk_is_an_error_and_leaves_nothing(tmp_path: Path, limit: int) -> None:
    """As a limit on the size of files, in a process of its own: HDF5 left alone with a failed write takes the interpreter down."""
    folder = tmp_path / "state"
    folder.mkdir()
    if limit < 0:  # The very last bytes: a write that is cut short and has no other after it.
        subprocess.run([sys.executable, "-c", WRITER, "free", str(tmp_path / "bob.h5")], check=True)
        limit += (tmp_path / "bob.h5").stat().st_size
    full = subprocess.run([sys.executable, "-c", WRITER, str(limit), str(folder / "bob.h5")], stdout=subprocess.PIPE, text=True, check=True)
    assert "bob.h5': cannot be written: [Errno" in full.stdout
    assert list(folder.iterdir()) == []


def test_hdf5_reads_back_what_could_not_be_written(tmp_path: Path) -> None:
    path = tmp_path / "spool"
    path.write_bytes(b"abcdefgh")
    descriptor = os.open(path, os.O_RDONLY)
    spool, buffer = event_file._Spool(descriptor), bytearray(8)
    for start, piece in ((2, b"XY"), (3, b"Z"), (7, b"!!")):
        spool.seek(start)
        assert spool.write(piece) == len(piece)
    assert spool.truncate(4) == 4
    spool.seek(0)
    spool.readinto(buffer)
    os.close(descriptor)
    assert bytes(buffer) == b"abXZefg!"
    assert path.read_bytes() == b"abcdefgh"
    assert spool.failure is not None


def test_a_killed_process_leaves_no_file_of_that_name(tmp_path: Path) -> None:
    killed = subprocess.run([sys.executable, "-c", WRITER, "kill", str(tmp_path / "bob.h5")], check=False)
    assert killed.returncode == 9
    (left,) = tmp_path.iterdir()
    assert left.name.startswith(".bob.h5-partial-")
    assert stat.S_IMODE(left.stat().st_mode) == 0o600


def test_no_file_is_written_over_and_none_beside_nothing(tmp_path: Path) -> None:
    path = write(tmp_path / "alice.h5", transmitter_record(10))
    with pytest.raises(InputError, match="is taken"):
        write(path, transmitter_record(10))
    with pytest.raises(InputError, match="cannot be written"):
        write(tmp_path / "nowhere" / "alice.h5", transmitter_record(10))


BAD_BLOCKS: list[tuple[str, dict[str, Any]]] = [
    ("slots", {"slots": np.array([5, 4, 6])}),
    ("slots", {"slots": np.array([4, 4, 6])}),
    ("slots", {"slots": np.array([-1, 4, 6])}),
    ("slots", {"slots": np.array([1, 4, 3 * 10**8])}),
    ("slots", {"slots": np.array([1.0, 4.0, 6.0])}),
    ("intensities", {"intensities": np.array([0, 1, 3], np.uint8)}),
    ("bases", {"bases": np.array([0, 1, 2], np.uint8)}),
    ("bits", {"bits": np.array([0, 1, -1])}),
    ("bits", {"bits": np.array([0, 1], np.uint8)}),
    ("bits", {"bits": np.array([[0, 1, 1]], np.uint8)}),
]


@pytest.mark.parametrize(("field", "change"), BAD_BLOCKS)
def test_a_block_that_does_not_fit_is_not_written(tmp_path: Path, field: str, change: dict[str, Any]) -> None:
    small = np.array([0, 1, 1], np.uint8)
    good = TransmitterRecord(np.array([1, 4, 6]), small, small, small)
    assert same(read_whole(write(tmp_path / "good.h5", good), TransmitterRecord), good)
    with pytest.raises(InputError) as refused:
        write(tmp_path / "alice.h5", replace(good, **change))
    assert refused.value.field == field
    assert not (tmp_path / "alice.h5").exists()


def test_slots_rise_from_block_to_block(tmp_path: Path) -> None:
    with write_blocks(tmp_path / "alice.h5", RUN, TransmitterRecord) as append:
        append(transmitter_record(10))
        with pytest.raises(InputError, match="slots"):
            append(transmitter_record(10))
    assert same(read_whole(tmp_path / "alice.h5", TransmitterRecord), transmitter_record(10))


def test_kinds_lie_within_the_shape(tmp_path: Path) -> None:
    run = replace(RUN, shape=(2, 2), axes=("basis", "bit"))
    for events, field in (
        (Events(np.arange(2), np.array([0, 4], np.uint8), (2, 2)), "kinds"),
        (Events(np.arange(2), np.array([0, 3], np.uint8), (4,)), "shape"),
    ):
        with pytest.raises(InputError) as refused:
            write(tmp_path / "events.h5", events, run)
        assert refused.value.field == field


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("clock_hz", 0.0),
        ("clock_hz", float("nan")),
        ("start", datetime(2026, 1, 1)),
        ("pulses", np.array([1.5])),
        ("pulses", np.array([-1])),
        ("pulses", np.array([], np.int64)),
        ("pulses", np.array([2**62, 2**62])),
        ("pulses", np.ones(event_file.MOST_STEPS + 1, np.int64)),
        ("mean_photon_numbers", (0.5, -0.1, 0.0)),
        ("probabilities", (0.5, 0.5)),
        ("probabilities", (0.5, 0.5, 1.5)),
        ("shape", (20, 20)),
        ("axes", ("basis",)),
        ("comment", "x" * 70_000),
    ],
)
def test_a_field_of_the_run_out_of_range_is_named(field: str, value: object) -> None:
    with pytest.raises(InputError) as refused:
        replace(RUN, **{field: value})
    assert refused.value.field == field


def test_the_longest_run_that_may_be_described_can_be_written(tmp_path: Path) -> None:
    longest = replace(RUN, pulses=np.full(event_file.MOST_STEPS, 10**6), comment="x" * event_file.LONGEST_ATTRIBUTE_BYTE)
    assert len(read_run(write(tmp_path / "alice.h5", transmitter_record(10), longest)).comment) == event_file.LONGEST_ATTRIBUTE_BYTE


def shuffled(values: np.ndarray[Any, Any]) -> bytes:
    return np.ascontiguousarray(values.view(np.uint8).reshape(values.size, values.itemsize).T).tobytes()


def overwrite(name: str, value: int, *, at: int = 0) -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        file[name][at] = value

    return change


def attribute(name: str, value: object) -> Callable[[h5py.File], None]:
    return lambda file: file.attrs.create(name, value)


def instead(name: str, value: object) -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        del file[name]
        if value is not None:
            file[name] = value

    return change


def remade(name: str, **options: Any) -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        values = file[name][:]
        del file[name]
        file.create_dataset(name, data=values, **{"chunks": (CHUNK_EVENTS,), "maxshape": (None,), **options})

    return change


def stored_elsewhere(file: h5py.File) -> None:
    del file["bits"]
    file.create_dataset("bits", (1000,), "u1", external=[("/etc/hostname", 0, 1000)])


def virtual(file: h5py.File) -> None:
    layout = h5py.VirtualLayout((1000,), "u1")
    layout[:] = h5py.VirtualSource("elsewhere.h5", "bits", (1000,))
    del file["bits"]
    file.create_virtual_dataset("bits", layout)


def longer(file: h5py.File) -> None:
    for name in ("slots", "intensities", "bases", "bits"):
        file[name].resize((10**15,))
    file.attrs["events"] = 10**15


DAMAGED: list[tuple[str, Callable[[h5py.File], None]]] = [
    ("format", attribute("format", np.bytes_("another"))),
    ("format", attribute("version", 2)),
    ("version", lambda file: file.attrs.__delitem__("version")),
    ("content", attribute("content", np.bytes_("receiver record"))),
    ("start_utc", attribute("start_utc", np.bytes_("yesterday"))),
    ("protocol", attribute("protocol", "a text of any length")),
    ("clock_hz", attribute("clock_hz", -1.0)),
    ("clock_hz", attribute("clock_hz", [1e8, 1e8])),
    ("mean_photon_numbers", attribute("mean_photon_numbers", 0.5)),
    ("pulses", attribute("pulses", [1.0, 2.0])),
    ("slots", attribute("pulses", [100])),
    ("probabilities", attribute("mean_photon_numbers", [])),
    ("intensities", lambda file: [attribute(name, [0.5, 0.5])(file) for name in ("mean_photon_numbers", "probabilities")]),
    ("slots", attribute("events", 999)),
    ("events", attribute("events", -1)),
    ("slots", overwrite("slots", 0, at=500)),
    ("slots", overwrite("slots", -1)),
    ("slots", overwrite("slots", 2**40, at=999)),
    ("bits", overwrite("bits", 2, at=7)),
    ("bases", overwrite("bases", 255)),
    ("intensities", overwrite("intensities", 3)),
    ("crc32", lambda file: overwrite("bits", 1 - int(file["bits"][7]), at=7)(file)),
    ("bits", instead("bits", None)),
    ("bits", instead("bits", h5py.SoftLink("/bases"))),
    ("bits", instead("bits", h5py.ExternalLink("other.h5", "/bits"))),
    ("bits", lambda file: (instead("bits", None)(file), file.create_group("bits"))),
    ("bits", lambda file: file["bits"].resize((999,))),
    ("bits", instead("bits", np.zeros(1000, np.uint8))),
    ("bits", remade("bits")),
    ("bits", remade("bits", compression="lzf")),
    ("bits", remade("bits", compression="gzip", shuffle=True, fletcher32=True)),
    ("bits", remade("bits", compression="gzip", shuffle=True, dtype="i2")),
    ("slots", remade("slots", compression="gzip", shuffle=True, dtype=">i8")),
    ("bits", remade("bits", compression="gzip", shuffle=True, chunks=(100,))),
    ("bits", stored_elsewhere),
    ("bits", virtual),
    ("bits", lambda file: file["bits"].id.write_direct_chunk((0,), zlib.compress(bytes(CHUNK_EVENTS))[:-4])),
    ("bits", lambda file: file["bits"].id.write_direct_chunk((0,), zlib.compress(bytes(CHUNK_EVENTS)), filter_mask=1)),
    ("events", longer),
]


@pytest.mark.parametrize(("field", "damage"), DAMAGED)
def test_a_damaged_file_is_refused_and_the_fault_named(tmp_path: Path, field: str, damage: Callable[[h5py.File], object]) -> None:
    path = write(tmp_path / "alice.h5", transmitter_record(1000))
    with h5py.File(path, "r+", libver="latest") as file:
        damage(file)
    with pytest.raises(InputError) as refused:
        read_whole(path, TransmitterRecord)
    assert refused.value.field == f"alice.h5: {field}"


def test_a_declared_length_takes_no_memory(tmp_path: Path) -> None:
    path = write(tmp_path / "alice.h5", transmitter_record(1000))
    with h5py.File(path, "r+", libver="latest") as file:
        longer(file)
    with pytest.raises(InputError, match="slots"):
        list(read_blocks(path, TransmitterRecord))


@pytest.mark.parametrize("megabytes", [1, 64])
def test_a_chunk_that_unpacks_to_more_than_it_may_takes_no_memory(tmp_path: Path, megabytes: int) -> None:
    path = write(tmp_path / "alice.h5", transmitter_record(1000))
    with h5py.File(path, "r+", libver="latest") as file:
        packer = zlib.compressobj(9)
        bomb = b"".join([packer.compress(bytes(2**20)) for _ in range(megabytes)] + [packer.flush()])
        file["bits"].id.write_direct_chunk((0,), bomb)
    tracemalloc.start()
    with pytest.raises(InputError, match="bits"):
        read_whole(path, TransmitterRecord)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4 * 2**20


def test_a_chunk_larger_than_its_values_is_not_even_read(tmp_path: Path) -> None:
    path = write(tmp_path / "alice.h5", transmitter_record(1000))
    with h5py.File(path, "r+", libver="latest") as file:
        file["bits"].id.write_direct_chunk((0,), bytes(2**20))
    with pytest.raises(InputError, match="1048576 bytes at 0"):
        read_whole(path, TransmitterRecord)


def test_a_swapped_pair_of_bits_that_adler_does_not_see_is_seen(tmp_path: Path) -> None:
    """Adler-32, which gzip chunks end with, is blind to +1 -1 -1 +1; the sum over the whole column is not."""
    record = transmitter_record(1000)
    record.bits[100:104] = [0, 1, 1, 0]
    path = write(tmp_path / "alice.h5", record)
    changed = np.zeros(CHUNK_EVENTS, np.uint8)
    changed[:1000] = record.bits
    before = zlib.adler32(changed)
    changed[100:104] = [1, 0, 0, 1]
    assert zlib.adler32(changed) == before
    with h5py.File(path, "r+", libver="latest") as file:
        file["bits"].id.write_direct_chunk((0,), zlib.compress(shuffled(changed)))
    with pytest.raises(InputError, match="crc32"):
        read_whole(path, TransmitterRecord)


def test_a_file_cut_short_or_with_a_flipped_bit_is_refused_or_unharmed(tmp_path: Path) -> None:
    record = transmitter_record(3000)
    whole = write(tmp_path / "alice.h5", record).read_bytes()
    path, generator = tmp_path / "hurt.h5", np.random.default_rng(12)
    refused = 0
    for trial in range(300):
        hurt = bytearray(whole[: generator.integers(len(whole))] if trial % 5 == 0 else whole)
        if trial % 5:
            hurt[generator.integers(len(hurt))] ^= 1 << generator.integers(8)
        path.write_bytes(hurt)
        try:
            assert same(read_whole(path, TransmitterRecord), record)
        except InputError as error:
            refused += "hurt.h5" in error.field
    assert refused > 200


def test_what_is_no_event_file_is_refused(tmp_path: Path) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("not a file of events")
    empty = tmp_path / "empty.h5"
    h5py.File(empty, "w").close()
    for path, match in (
        (text, "notes.txt"),
        (empty, "empty.h5: format"),
        (tmp_path, "must be a file"),
        (tmp_path / "none.h5", "must be a file"),
    ):
        with pytest.raises(InputError, match=match):
            read_run(path)


def test_more_than_may_be_read_at_once_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "alice.h5", transmitter_record(1000))
    assert read_whole(path, TransmitterRecord, most_events=1000).slots.size == 1000
    with pytest.raises(InputError, match=r"alice.h5: events = 1000: must be at most 999"):
        read_whole(path, TransmitterRecord, most_events=999)


def test_time_tags_fall_into_the_slots_of_the_clock() -> None:
    tags = np.array([-300, 1_000, 1_499, 1_501, 11_000, 20_400, 21_000, 21_499, 31_600])
    slots, kept = slots_from_time_tags(tags, clock_hz=1e8, offset_ps=1_000.0, gate_ps=1_000.0)
    assert slots.tolist() == [0, 0, 1, 2, 2]
    assert tags[kept].tolist() == [1_000, 1_499, 11_000, 21_000, 21_499]


@given(
    clock_hz=st.floats(1e6, 5e9),
    slots=st.lists(st.integers(0, 2**50), min_size=1, max_size=20, unique=True),
    start_ps=st.integers(-(10**15), 10**15),
    jitter_percent=st.integers(-20, 20),
)
def test_tags_come_back_to_their_slots_over_days_and_odd_clocks(
    clock_hz: float, slots: list[int], start_ps: int, jitter_percent: int
) -> None:
    """Tags of up to 26 days, made in whole numbers, within a gate of half a period."""
    numerator, denominator = clock_hz.as_integer_ratio()
    wanted = sorted(slot for slot in slots if slot * 10**12 * denominator // numerator < 2**61)
    tags = [start_ps + (100 * slot + jitter_percent) * 10**10 * denominator // numerator for slot in wanted]
    found, kept = slots_from_time_tags(np.array(tags, np.int64), clock_hz=clock_hz, offset_ps=start_ps, gate_ps=0.5e12 / clock_hz)
    assert found.tolist() == wanted
    assert kept.all()


def test_background_outside_the_gate_is_left_out_in_proportion() -> None:
    """A uniform background passes with the share of the gate in the period; five standard deviations."""
    tags = np.sort(np.random.default_rng(3).integers(0, 10**12, 200_000))
    slots, _ = slots_from_time_tags(tags, clock_hz=1e8, offset_ps=0.0, gate_ps=1_000.0)
    assert abs(slots.size - 20_000) < 5 * np.sqrt(200_000 * 0.1 * 0.9)


@pytest.mark.parametrize(
    ("field", "change"),
    [
        ("time_tags_ps", {"time_tags_ps": np.array([5, 4])}),
        ("time_tags_ps", {"time_tags_ps": np.array([5.0, 6.0])}),
        ("time_tags_ps", {"time_tags_ps": np.array([2**63], np.uint64)}),
        ("time_tags_ps", {"time_tags_ps": np.array([-(2**63)])}),
        ("clock_hz", {"clock_hz": 0.0}),
        ("gate_ps", {"gate_ps": 20_000.0}),
        ("offset_ps", {"offset_ps": float("nan")}),
    ],
)
def test_time_tags_that_make_no_sense_are_refused(field: str, change: dict[str, Any]) -> None:
    given_tags: dict[str, Any] = {"time_tags_ps": np.array([1, 2]), "clock_hz": 1e8, "offset_ps": 0.0, "gate_ps": 1000.0}
    with pytest.raises(InputError) as refused:
        slots_from_time_tags(**(given_tags | change))
    assert refused.value.field == field


def test_no_tags_are_no_slots() -> None:
    slots, kept = slots_from_time_tags(np.array([], np.int64), clock_hz=1e8, offset_ps=0.0, gate_ps=1000.0)
    assert slots.size == kept.size == 0
