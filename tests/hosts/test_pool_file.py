"""The pool in a file: killed, damaged, opened twice, on a full disk."""

import os
import random
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA65PrivateKey

from tiandi.distill.authentication import BLOCK_KEY_BYTE, AuthenticationPool, OneTimeTags, PoolPosition, Signatures
from tiandi.distill.ledger import Ledger, LifeLedger
from tiandi.errors import InputError, ProtocolViolation, StateError
from tiandi.hosts.pool_file import APPLICATION_ID, PoolFile, create_pair

SAID, CONFIRMATION = [b"announcement", b"sifting"], b"confirmation"
PRE_SHARED = UUID(int=0)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "link.pool"


@pytest.fixture
def pool(path: Path) -> Iterator[PoolFile]:
    with PoolFile.create(path, "link", bytes(range(256))) as made:
        yield made


def everything(pool: PoolFile) -> tuple[object, ...]:
    segments = [(segment.block_id, segment.number, bytes(segment.key), segment.start) for segment in pool._segments]
    return pool.name, pool.origin, pool.stage, pool.life(), segments


def talk(alice: AuthenticationPool, bob: AuthenticationPool) -> None:
    """A block under one-time tags that comes to its end."""
    block_id = uuid4()
    here, there = OneTimeTags(alice), OneTimeTags(bob)
    here.open(SAID, there.seal(SAID))
    here.replenish(block_id, block_id.bytes * 8)
    there.open_answer(CONFIRMATION, here.answer(CONFIRMATION))
    there.replenish(block_id, block_id.bytes * 8)


def run_python(script: str, *arguments: object, check: bool = True) -> str:
    command = [sys.executable, "-c", script, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "OPENBLAS_NUM_THREADS": "1"})
    assert done.returncode == 0 or not check, done.stderr
    return done.stdout


# The same pool, in memory and in a file.


def test_a_pool_file_spends_what_a_pool_in_memory_spends(path: Path) -> None:
    """150 random steps on both; the file is closed and opened again between some of them."""
    chance, shared = random.Random(5), bytes(range(256)) * 4
    memory, file = AuthenticationPool("link", shared), PoolFile.create(path, "link", shared)
    for step in range(150):
        if chance.random() < 0.4:
            key, block_id = chance.randbytes(chance.choice((64, 128, 5000))), UUID(int=step + 1)
            memory.replenish(block_id, key)
            file.replenish(block_id, key)
        elif memory.available_bit:
            segment = chance.choice(memory._segments[:3])
            start = chance.randrange(segment.start, len(segment.key))
            position = PoolPosition(segment.block_id, start)
            wanted_byte = chance.randrange(1, len(segment.key) - start + 1)
            assert file.take(position, wanted_byte) == memory.take(position, wanted_byte)
            with pytest.raises(ProtocolViolation):
                file.take(position, wanted_byte)
        if chance.random() < 0.1:
            file.close()
            file = PoolFile(path)
        assert file.available_bit == memory.available_bit
        assert [segment.key for segment in file._segments] == [segment.key for segment in memory._segments]
    file.close()


def test_everything_survives_closing(path: Path, pool: PoolFile) -> None:
    pool.take(pool.next_position(64), 64)
    pool.replenish(UUID(int=1), b"k" * 128)
    pool.record(Ledger(), True)
    before = everything(pool)
    pool.close()
    with PoolFile(path) as again:
        assert everything(again) == before
        assert again.available_bit == (256 - 64 + 128) * 8


def test_a_closed_pool_gives_nothing(pool: PoolFile) -> None:
    position = pool.next_position(64)
    pool.close()
    with pytest.raises(ProtocolViolation):
        pool.take(position, 64)
    with pytest.raises(StateError):
        pool.replenish(uuid4(), bytes(64))
    with pytest.raises(StateError):
        pool.record(Ledger(), True)


def test_a_pool_file_does_not_show_its_key(pool: PoolFile) -> None:
    assert repr(pool) == "PoolFile(link, 2048 bit)"
    assert "bytearray" not in repr(pool._segments)


def test_a_pair_holds_the_same_fresh_key_for_so_many_blocks(tmp_path: Path) -> None:
    first, second = tmp_path / "a.pool", tmp_path / "b.pool"
    create_pair(first, second, "link", 3)
    with PoolFile(first) as alice, PoolFile(second) as bob:
        assert everything(alice) == everything(bob)
        assert (alice.origin, alice.unused, alice.available_bit) == ("pre-shared", False, 3 * BLOCK_KEY_BYTE * 8)
        assert alice._segments[0].key != bytes(3 * BLOCK_KEY_BYTE)
        talk(alice, bob)
    create_pair(tmp_path / "c.pool", tmp_path / "d.pool", "link", 3)
    assert PoolFile(tmp_path / "c.pool")._segments[0].key[64:] != PoolFile(first)._segments[0].key[64:]


def test_a_link_that_signatures_begin_remembers_it_across_processes(tmp_path: Path) -> None:
    paths = tmp_path / "a.pool", tmp_path / "b.pool"
    keys = [MLDSA65PrivateKey.generate() for _ in paths]
    pools = [PoolFile.create(path, "link", None) for path in paths]
    assert all(pool.unused for pool in pools)
    for attempt, answered in enumerate((False, True)):
        ends = [Signatures(pool, keys[end], keys[1 - end].public_key()) for end, pool in enumerate(pools)]
        block_id = UUID(int=attempt + 1)
        ends[0].open(SAID, ends[1].seal(SAID))
        answer = ends[0].answer(CONFIRMATION)
        ends[0].replenish(block_id, b"k" * 128)
        if answered:
            ends[1].open_answer(CONFIRMATION, answer)
            ends[1].replenish(block_id, b"k" * 128)
        for pool in pools:
            pool.close()
        pools = [PoolFile(path) for path in paths]
        assert [pool.stage for pool in pools] == (["unconfirmed", "confirmed"] if answered else ["unconfirmed", "unused"])
    talk(*pools)
    for pool, path in zip(pools, paths, strict=True):
        pool.close()
        with PoolFile(path) as again:
            assert (again.origin, again.stage, again.strength) == ("signatures", "confirmed", "computational")
            assert again.life().strength == "computational"


# The file.


def test_only_its_owner_may_read_it(path: Path, pool: PoolFile) -> None:
    pool.take(pool.next_position(64), 64)
    assert {stat.S_IMODE(item.stat().st_mode) for item in path.parent.iterdir()} == {0o600}


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o610, 0o602])
def test_a_file_that_others_may_touch_is_refused(path: Path, pool: PoolFile, mode: int) -> None:
    pool.close()
    path.chmod(mode)
    with pytest.raises(InputError, match="readable by nobody else"):
        PoolFile(path)
    path.chmod(0o600)
    PoolFile(path).close()


def test_somebody_elses_file_is_refused(path: Path, pool: PoolFile, monkeypatch: pytest.MonkeyPatch) -> None:
    pool.close()
    owner = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    with pytest.raises(InputError, match="must be its owner's"):
        PoolFile(path)


def test_a_second_opener_is_refused_here_and_in_another_process(path: Path, pool: PoolFile) -> None:
    with pytest.raises(InputError, match="in use by another process"):
        PoolFile(path)
    script = "import sys; from tiandi.hosts.pool_file import PoolFile; from tiandi.errors import InputError\n"
    script += "try: PoolFile(sys.argv[1])\nexcept InputError as error: print(error)"
    assert "is in use by another process" in run_python(script, path)
    pool.take(pool.next_position(64), 64)
    pool.close()
    assert run_python(script, path) == ""


FORKED = """
import os, sys
from pathlib import Path
from tiandi.hosts.pool_file import PoolFile
from tiandi.errors import InputError
pool = PoolFile(Path(sys.argv[1]))
if os.fork() == 0:
    try:
        pool.take(pool.next_position(64), 64)
    except InputError as error:
        os.write(1, str(error).encode())
    os._exit(0)
os.wait()
assert pool.take(pool.next_position(64), 64) == bytes(range(64))
"""


def test_a_child_process_cannot_spend_its_parents_key(path: Path, pool: PoolFile) -> None:
    pool.close()
    assert run_python(FORKED, path).endswith("belongs to the process that opened it, not to its child")


@pytest.mark.parametrize("pre_shared", [b"k" * 64, None])
def test_no_file_is_written_over(path: Path, pool: PoolFile, pre_shared: bytes | None) -> None:
    pool.close()
    before = path.read_bytes()
    with pytest.raises(InputError, match="is taken"):
        PoolFile.create(path, "other", pre_shared)
    assert path.read_bytes() == before
    assert list(path.parent.glob(".*")) == []


def test_a_pair_is_made_whole_or_not_at_all(tmp_path: Path) -> None:
    first, second = tmp_path / "a.pool", tmp_path / "b.pool"
    for bad in (first, tmp_path / "nowhere" / "b.pool"):
        with pytest.raises(InputError):
            create_pair(first, bad, "link", 8)
        assert list(tmp_path.iterdir()) == []
    for blocks in (0, -1, 100_001):
        with pytest.raises(InputError, match="blocks"):
            create_pair(first, second, "link", blocks)
    with pytest.raises(InputError, match="must hold key"):
        PoolFile.create(first, "link", b"")
    assert list(tmp_path.iterdir()) == []


def foreign_file(path: Path) -> None:
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("CREATE TABLE pool (content BLOB)")
    database.close()


def later_version(path: Path) -> None:
    with sqlite3.connect(path) as database:
        database.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        database.execute("PRAGMA user_version = 2")
        database.execute("CREATE TABLE pool (content BLOB)")
    database.close()


@pytest.mark.parametrize(
    "write",
    [
        foreign_file,
        later_version,
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"key" * 5000),
        lambda path: path.mkdir(),
        lambda path: None,
    ],
    ids=["another's SQLite", "another version", "empty", "no SQLite", "folder", "nothing"],
)
def test_what_is_no_pool_is_refused_and_left_as_it_is(path: Path, write: object) -> None:
    assert callable(write)
    write(path)
    if path.exists():
        path.chmod(0o600 if path.is_file() else 0o700)
    before = path.read_bytes() if path.is_file() else None
    with pytest.raises(InputError, match="authentication pool"):
        PoolFile(path)
    assert (path.read_bytes() if path.is_file() else None) == before


def make_worn_pool(path: Path) -> tuple[object, ...]:
    with PoolFile.create(path, "link", os.urandom(640)) as pool:
        for number in range(1, 40):
            pool.replenish(UUID(int=number), os.urandom(128))
        pool.take(pool.next_position(64), 64)
        pool.record(Ledger(), True)
        return everything(pool)


def test_a_damaged_byte_is_noticed_or_does_not_matter(path: Path) -> None:
    """400 bytes of what is in use, one at a time, each in some bit."""
    chance, before = random.Random(6), make_worn_pool(path)
    whole = path.read_bytes()
    noticed: list[str] = []
    for offset in chance.sample([offset for offset, byte in enumerate(whole) if byte], 400):
        path.write_bytes(whole[:offset] + bytes([whole[offset] ^ 1 << chance.randrange(8)]) + whole[offset + 1 :])
        try:
            with PoolFile(path) as pool:
                assert everything(pool) == before
        except StateError as error:
            noticed.append(str(error))
    assert len(noticed) > 300
    assert all("link.pool" in message for message in noticed)


@pytest.mark.parametrize(
    "change", ["start = 0", "start = 128", "number = 5", "block_id = '00000000-0000-0000-0000-000000000009'", "cell = 9"]
)
def test_key_is_not_taken_for_another_nor_overwritten_bytes_for_key(path: Path, pool: PoolFile, change: str) -> None:
    """The file is whole, but says something else of its key."""
    pool.take(pool.next_position(64), 64)
    pool.close()
    with sqlite3.connect(path) as database:
        database.execute(f"UPDATE segment SET {change}")
    database.close()
    with pytest.raises(StateError, match="damaged"):
        PoolFile(path)


def test_a_change_that_fails_leaves_the_pool_in_order(path: Path, pool: PoolFile) -> None:
    pool.replenish(UUID(int=1), bytes(64), number=1)
    before = everything(pool)
    with pytest.raises(StateError, match="cannot be written"):
        pool.replenish(UUID(int=2), bytes(64), number=1)
    assert everything(pool) == before
    pool.replenish(UUID(int=2), bytes(64), number=2)
    after = everything(pool)
    pool.close()
    with PoolFile(path) as again:
        assert everything(again) == after


def test_a_truncated_file_is_refused(path: Path) -> None:
    before = make_worn_pool(path)
    whole = path.read_bytes()
    for size in range(0, len(whole), 512):
        path.write_bytes(whole[:size])
        with pytest.raises(StateError):
            PoolFile(path)
    path.write_bytes(whole)
    with PoolFile(path) as pool:
        assert everything(pool) == before


def test_spent_key_is_nowhere_in_the_file_any_more(path: Path) -> None:
    """Every 8 bytes that were ever spent, searched for in the file and its journal after each of 700 steps or so."""
    chance = random.Random(7)
    keys = {PRE_SHARED: os.urandom(3000)}
    pool = PoolFile.create(path, "link", keys[PRE_SHARED])
    pool._database.execute("PRAGMA synchronous = OFF")
    spent: set[bytes] = set()
    for step in range(1500):
        if chance.random() < (0.6 if step % 500 < 250 else 0.3):
            block_id, key = uuid4(), os.urandom(chance.choice([128] * 20 + [640, 8000]))
            keys[block_id] = key
            pool.replenish(block_id, key)
        elif pool.available_bit:
            segment = chance.choice(pool._segments[:3])
            starts = {held.block_id: held.start for held in pool._segments}
            pool.take(PoolPosition(segment.block_id, segment.start), min(64, len(segment.key) - segment.start))
            ends = {held.block_id: held.start for held in pool._segments}
            for name, start in starts.items():
                gone = keys[name][start : ends.get(name, len(keys[name]))]
                spent.update(gone[at : at + 8] for at in range(0, len(gone) - 7, 8))
        if step % 20 == 0:
            raw = b"".join(item.read_bytes() for item in path.parent.iterdir())
            assert spent.isdisjoint(raw[at : at + 8] for at in range(len(raw) - 7))
    unspent = bytes(pool._segments[-1].key)
    assert unspent[-64:] in path.read_bytes()  # The search does find what is there.
    assert len(spent) > 10_000
    pool.close()


FULL_DISK = """
import os, resource, sys
from pathlib import Path
from uuid import UUID
from tiandi.distill.ledger import Ledger
from tiandi.hosts.pool_file import PoolFile, create_pair
from tiandi.errors import StateError
path = Path(sys.argv[1])
pool = PoolFile(path)
failed = 0
def everything():
    segments = [(segment.block_id, bytes(segment.key), segment.start) for segment in pool._segments]
    return segments, pool.life(), pool.stage
for number, limit in enumerate(range(0, path.stat().st_size + 20_000, 2500)):
    for act in (
        lambda: pool.take(pool.next_position(64), 64),
        lambda: pool.replenish(UUID(int=1000 + number), os.urandom(6000)),
        lambda: pool.record(Ledger(), True),
    ):
        before = everything()
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
        try:
            act()
        except StateError as error:
            assert "cannot be written" in str(error), error
            assert everything() == before
            failed += 1
        else:
            assert everything() != before
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        if limit % 4 == 0:
            before = everything()
            pool.close()
            pool = PoolFile(path)
            assert everything() == before
resource.setrlimit(resource.RLIMIT_FSIZE, (9000, resource.RLIM_INFINITY))
try:
    create_pair(path.with_name("a"), path.with_name("b"), "link", 64)
except StateError as error:
    failed += 1
assert sorted(item.name for item in path.parent.iterdir()) == ["link.pool", "link.pool-journal"]
print(failed)
"""


def test_a_full_disk_is_one_clear_error_and_nothing_is_spent_or_lost(path: Path) -> None:
    make_worn_pool(path)
    assert int(run_python(FULL_DISK, path)) > 10


# Killed at any instant.

KILLED = """
import hashlib, os, random, signal, socket, sys, time
from pathlib import Path
from uuid import UUID
from tiandi.distill.authentication import OneTimeTags, Seal
from tiandi.hosts.pool_file import PoolFile

SAID, CONFIRMATION = [b"announcement", b"sifting"], b"confirmation"
alice_path, bob_path = map(Path, sys.argv[1:3])
sealed, sealing = os.pipe()
chance = random.Random(8)

def tell(*words):
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())

def block(tag):
    return UUID(bytes=hashlib.sha256(tag).digest()[:16]), hashlib.shake_256(tag).digest(128)

def alice(line):
    with PoolFile(alice_path) as pool:
        while data := line.recv(100):
            tags, seal = OneTimeTags(pool), Seal(UUID(bytes=data[:16]), int.from_bytes(data[16:24]), data[24:])
            tags.open(SAID, seal)
            tell("alice", seal.segment, seal.start)
            tags.replenish(*block(seal.tag))
            line.send(tags.answer(CONFIRMATION) if os.urandom(1)[0] > 30 else b"lost")

def bob(line):
    with PoolFile(bob_path) as pool:
        while True:
            tags = OneTimeTags(pool)
            seal = tags.seal(SAID)
            tell("bob", seal.segment, seal.start)
            os.write(sealing, b".")
            line.send(seal.segment.bytes + seal.start.to_bytes(8) + seal.tag)
            if not (answer := line.recv(100)):
                break
            if answer != b"lost":
                tags.open_answer(CONFIRMATION, answer)
                tags.replenish(*block(seal.tag))

def start(end, line, other):
    child = os.fork()
    if child == 0:
        other.close()
        try:
            end(line)
        except ConnectionError:
            pass
        except BaseException as error:
            tell("failed", end.__name__, repr(error))
        os.write(sealing, b"." * 8)
        signal.pause()
    return child

for _ in range(int(sys.argv[3])):
    lines = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    children = [start(alice, *lines), start(bob, *lines[::-1])]
    for line in lines:
        line.close()
    chance.shuffle(children)
    for _ in range(chance.randrange(1, 6)):
        os.read(sealed, 1)
    time.sleep(chance.uniform(0, 0.02))
    for child in children:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        time.sleep(chance.uniform(0, 0.01))
    os.set_blocking(sealed, False)
    try:
        os.read(sealed, 1000)
    except BlockingIOError:
        pass
    os.set_blocking(sealed, True)
    torn = sum(path.with_name(path.name + "-journal").stat().st_size > 0 for path in (alice_path, bob_path))
    with PoolFile(alice_path) as here, PoolFile(bob_path) as there:
        receiver, sender = OneTimeTags(here), OneTimeTags(there)
        seal = sender.seal(SAID)
        receiver.open(SAID, seal)
        receiver.replenish(*block(seal.tag))
        sender.open_answer(CONFIRMATION, receiver.answer(CONFIRMATION))
        sender.replenish(*block(seal.tag))
        tell("bob", seal.segment, seal.start)
        tell("alice", seal.segment, seal.start)
    tell("agreed", torn)
"""


def test_two_ends_killed_at_independent_instants_stay_together_and_take_no_position_twice(tmp_path: Path) -> None:
    """50 kills while the two take and replenish, and lose an answer now and then; after each two, a block must succeed."""
    first, second = tmp_path / "a.pool", tmp_path / "b.pool"
    create_pair(first, second, "link", 64)
    told = [line.split() for line in run_python(KILLED, first, second, 25).splitlines()]
    assert [words for words in told if words[0] == "failed"] == []
    agreed = [int(words[1]) for words in told if words[0] == "agreed"]
    assert len(agreed) == 25
    assert sum(agreed) > 0  # Some kills fell into the middle of a write.
    for end in ("alice", "bob"):
        places = [tuple(words[1:]) for words in told if words[0] == end]
        assert len(places) > 60
        assert len(set(places)) == len(places)


# The life account.


def ledger_of(secret_bit: int) -> Ledger:
    ledger = Ledger(epsilon_secrecy=1e-9, epsilon_correctness=1e-15)
    ledger.sifted = {"X": 400, "Z": 600}
    ledger.parities_leaked_bit = {"X": 30, "Z": 40}
    ledger.revealed_bit = {"X": 0, "Z": 5}
    ledger.secret_bit = {"X": secret_bit, "Z": 1}
    return replace(ledger, authentication_spent_bit=512, authentication_replenished_bit=1024, epsilon_authentication=1e-20)


def test_the_life_account_sums_what_was_recorded_across_openings(path: Path, pool: PoolFile) -> None:
    assert pool.life() == LifeLedger()
    pool.record(ledger_of(100), True)
    pool.close()
    with PoolFile(path) as again:
        again.record(ledger_of(200), True)
        life = again.life()
    assert (life.blocks, life.aborted_blocks) == (2, 0)
    assert (life.sifted_bit, life.leaked_bit, life.revealed_bit, life.secret_bit) == (2000, 150, 10, 302)
    assert (life.authentication_spent_bit, life.authentication_replenished_bit) == (1024, 2048)
    assert (life.epsilon_secrecy, life.epsilon_correctness, life.epsilon_authentication) == (2e-9, 2e-15, 2e-20)
    assert life.strength == "information-theoretic"
    with PoolFile(path) as again:
        assert again.life() == life


def test_an_aborted_block_adds_its_epsilons_and_no_key(pool: PoolFile) -> None:
    pool.record(ledger_of(100), False)
    life = pool.life()
    assert (life.blocks, life.aborted_blocks, life.secret_bit) == (1, 1, 0)
    assert (life.epsilon_secrecy, life.epsilon_correctness, life.epsilon_authentication) == (1e-9, 1e-15, 1e-20)
    assert life.authentication_spent_bit == 512


def test_every_count_of_a_block_that_is_a_number_of_its_own_has_a_sum() -> None:
    """A field that the account of a block gains is either summed or on this list."""
    not_summed = {
        "detected", "signal_sifted", "signal_qber", "sampled", "bob_told_bit", "reconciliation", "sample_qber", "errors", "phase_error",
        "authentication_strength", "parities_leaked_bit", "verification_leaked_bit", "sifted",
    }  # fmt: skip
    assert set(Ledger.__dataclass_fields__) - not_summed <= set(LifeLedger.__dataclass_fields__)
