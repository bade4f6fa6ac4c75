from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tiandi.errors import KeyNotFound, KeysExhausted, NotAuthorised, StateError
from tiandi.kms.store import KeyStore, Segment, SupplyKey

MASTER_KEY = bytes(range(32))


@pytest.fixture
def store(tmp_path: Path) -> KeyStore:
    return KeyStore(tmp_path / "store.sqlite", "kme-a", MASTER_KEY)


def test_both_ends_spend_the_same_bytes_once(tmp_path: Path) -> None:
    here, there = (KeyStore(tmp_path / f"{name}.sqlite", name, MASTER_KEY) for name in ("kme-a", "kme-b"))
    key, block_id = os.urandom(10_000), uuid4()
    here.add_block("kme-b", block_id, key, "first")
    there.add_block("kme-a", block_id, key, "second")
    seen = set()
    for sender, receiver in ((here, there), (there, here)) * 12:
        [(spent, segments)] = sender.spend((receiver.kme, 400))
        assert receiver.spend_segments(sender.kme, segments) == spent
        for segment in segments:
            places = set(range(segment.start, segment.start + segment.length))
            assert key[segment.start : segment.start + segment.length] in spent
            assert not places & seen
            seen |= places
    assert len(seen) == 24 * 400


def test_the_last_byte_can_be_spent_and_no_more(store: KeyStore) -> None:
    store.add_block("kme-b", uuid4(), os.urandom(9001), "first")
    assert store.stock_bit("kme-b") == 4500 * 8
    store.spend(("kme-b", 4500))
    assert store.stock_bit("kme-b") == 0
    with pytest.raises(KeysExhausted, match="holds 0 bit of key, 8 bit are wanted"):
        store.spend(("kme-b", 1))


def test_too_little_of_one_stock_spends_nothing_of_any(store: KeyStore) -> None:
    store.add_block("kme-b", uuid4(), os.urandom(1000), "first")
    store.add_block("kme-c", uuid4(), os.urandom(100), "first")
    with pytest.raises(KeysExhausted):
        store.spend(("kme-b", 100), ("kme-c", 100))
    assert store.stock_bit("kme-b") == 500 * 8


def test_ranges_not_the_peers_are_refused_and_the_rest_destroyed(store: KeyStore) -> None:
    block_id = uuid4()
    store.add_block("kme-b", block_id, os.urandom(1000), "first")
    good = Segment(block_id, 500, 32)
    for bad in (Segment(block_id, 0, 32), Segment(uuid4(), 500, 32), Segment(block_id, 990, 32)):
        with pytest.raises(KeyNotFound):
            store.spend_segments("kme-b", [bad])
    with pytest.raises(KeyNotFound):
        store.spend_segments("kme-c", [good])
    assert len(store.spend_segments("kme-b", [good])) == 32
    with pytest.raises(KeyNotFound):
        store.spend_segments("kme-b", [good])


def test_a_block_is_stored_once(store: KeyStore) -> None:
    block_id = uuid4()
    store.add_block("kme-b", block_id, os.urandom(100), "first")
    with pytest.raises(StateError, match="in the store already"):
        store.add_block("kme-c", block_id, os.urandom(100), "first")
    assert store.stock_bit("kme-c") == 0


@settings(deadline=None, max_examples=30)
@given(st.lists(st.tuples(st.booleans(), st.integers(1, 6000)), max_size=25))
def test_the_account_balances_to_the_bit(tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[bool, int]]) -> None:
    store = KeyStore(tmp_path_factory.mktemp("store") / "s.sqlite", "kme-a", MASTER_KEY)
    for adds, length in steps:
        if adds:
            store.add_block("kme-b", uuid4(), os.urandom(length), "first")
        elif store.stock_bit("kme-b") >= 8 * length:
            store.spend(("kme-b", length))
    account = store.account().get("kme-b", {"received": 0})
    ((left,),) = store._rows("SELECT coalesce(sum(length), 0) FROM link_key")
    assert account["received"] == account.get("spent", 0) + 8 * left


def supply(number: int) -> list[SupplyKey]:
    return [SupplyKey(uuid4(), os.urandom(32)) for _ in range(number)]


def test_a_key_is_delivered_to_each_once(store: KeyStore) -> None:
    keys = supply(3)
    store.add_supply_keys("alice", "bob", "master", keys)
    assert store.supply_count("alice", "bob", 256) == 3
    delivered = store.deliver_to_master("alice", "bob", 2, 256)
    assert [(item.key_id, item.key) for item in delivered] == [(item.key_id, item.key) for item in keys[:2]]
    with pytest.raises(KeysExhausted):
        store.deliver_to_master("alice", "bob", 2, 256)
    assert store.supply_count("alice", "bob", 256) == 1


def test_a_slave_gets_its_keys_all_or_none(store: KeyStore) -> None:
    keys = supply(2)
    store.add_supply_keys("alice", "bob", "slave", keys)
    with pytest.raises(KeyNotFound):
        store.deliver_to_slave("alice", "bob", [keys[0].key_id, uuid4()])
    with pytest.raises(KeyNotFound):
        store.deliver_to_slave("alice", "bob", [keys[0].key_id, keys[0].key_id])
    assert [item.key for item in store.deliver_to_slave("alice", "bob", [keys[0].key_id])] == [keys[0].key]
    with pytest.raises(KeyNotFound, match="delivered before"):
        store.deliver_to_slave("alice", "bob", [keys[0].key_id])


@pytest.mark.parametrize(("master", "slave"), [("alice", "eve"), ("eve", "bob"), ("bob", "alice")])
def test_another_pair_gets_nothing(store: KeyStore, master: str, slave: str) -> None:
    (item,) = supply(1)
    store.add_supply_keys("alice", "bob", "slave", [item])
    with pytest.raises(NotAuthorised):
        store.deliver_to_slave(master, slave, [item.key_id])
    assert store.deliver_to_slave("alice", "bob", [item.key_id])[0].key == item.key


def test_the_master_does_not_get_its_key_back_as_slave(store: KeyStore) -> None:
    (item,) = supply(1)
    store.add_supply_keys("alice", "bob", "master", [item])
    with pytest.raises(NotAuthorised):
        store.deliver_to_slave("alice", "bob", [item.key_id])


def test_an_identifier_never_comes_back(store: KeyStore) -> None:
    (item,) = supply(1)
    store.add_supply_keys("alice", "bob", "master", [item])
    store.deliver_to_master("alice", "bob", 1, 256)
    with pytest.raises(StateError, match="used before"):
        store.add_supply_keys("alice", "bob", "master", [item])


def test_no_key_byte_is_in_the_files(tmp_path: Path) -> None:
    store = KeyStore(tmp_path / "store.sqlite", "kme-a", MASTER_KEY)
    block, keys = os.urandom(5000), supply(20)
    store.add_block("kme-b", uuid4(), block, "first")
    store.add_supply_keys("alice", "bob", "master", keys)
    store.spend(("kme-b", 100))
    store.deliver_to_master("alice", "bob", 3, 256)
    files = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    for secret in [item.key for item in keys] + [block[start : start + 16] for start in range(0, 4984, 16)]:
        assert secret not in files


def test_what_was_spent_is_gone_after_closing_even_for_who_has_the_master_key(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite"
    store = KeyStore(path, "kme-a", MASTER_KEY)
    keys = supply(5)
    store.add_supply_keys("alice", "bob", "master", keys)
    sealed = [bytes(row[0]) for row in store._rows("SELECT sealed FROM supply_key")]
    store.deliver_to_master("alice", "bob", 5, 256)
    store.close()
    assert not any(item in path.read_bytes() for item in sealed)


def test_a_store_opens_again_where_it_was(tmp_path: Path) -> None:
    path, block_id = tmp_path / "store.sqlite", uuid4()
    first = KeyStore(path, "kme-a", MASTER_KEY)
    first.add_block("kme-b", block_id, bytes(200), "first")
    first.close()
    assert KeyStore(path, "kme-a", MASTER_KEY).stock_bit("kme-b") == 800


def test_another_master_key_opens_nothing(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite"
    store = KeyStore(path, "kme-a", MASTER_KEY)
    store.add_block("kme-b", uuid4(), bytes(200), "first")
    store.close()
    with pytest.raises(StateError, match="altered or belongs to another master key"):
        KeyStore(path, "kme-a", bytes(32)).spend(("kme-b", 10))


def test_an_altered_entry_is_refused(tmp_path: Path) -> None:
    store = KeyStore(tmp_path / "store.sqlite", "kme-a", MASTER_KEY)
    store.add_block("kme-b", uuid4(), bytes(200), "first")
    store._database.execute("UPDATE link_key SET peer = 'kme-c'")
    with pytest.raises(StateError, match="altered"):
        store.spend(("kme-c", 10))


@pytest.mark.parametrize("change", ["UPDATE store SET version = 99", "UPDATE store SET kme = 'kme-z'"])
def test_a_store_of_another_version_or_kme_is_refused(tmp_path: Path, change: str) -> None:
    path = tmp_path / "store.sqlite"
    store = KeyStore(path, "kme-a", MASTER_KEY)
    store._database.execute(change)
    store.close()
    with pytest.raises(StateError, match="must be version 1 of kme-a"):
        KeyStore(path, "kme-a", MASTER_KEY)


def test_a_second_process_on_the_same_store_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite"
    KeyStore(path, "kme-a", MASTER_KEY).close()
    first = KeyStore(path, "kme-a", MASTER_KEY)
    first.add_block("kme-b", uuid4(), bytes(10), "first")
    with pytest.raises(StateError, match="key store"):
        KeyStore(path, "kme-a", MASTER_KEY)


@pytest.mark.parametrize("content", [b"no database at all, but long enough to be looked at" * 20, None])
def test_a_file_that_is_no_store_is_refused(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "store.sqlite" if content else tmp_path / "missing" / "store.sqlite"
    if content:
        path.write_bytes(content)
    with pytest.raises(StateError, match="cannot be"):
        KeyStore(path, "kme-a", MASTER_KEY)


FULL_DISK = """
import os, resource, sys
from pathlib import Path
from uuid import uuid4
from tiandi.errors import StateError
from tiandi.kms.store import KeyStore
path = Path(sys.argv[1])
store = KeyStore(path, "kme-a", bytes(32))
store.add_block("kme-b", uuid4(), bytes(20_000), "first")
before = store.account(), store.stock_bit("kme-b")
used = max(item.stat().st_size for item in path.parent.iterdir())
resource.setrlimit(resource.RLIMIT_FSIZE, (used + 4096, resource.RLIM_INFINITY))
try:
    store.add_block("kme-b", uuid4(), bytes(500_000), "first")
except StateError as error:
    print(error)
assert (store.account(), store.stock_bit("kme-b")) == before
store.close()
"""


def test_a_full_disk_is_one_clear_error_and_nothing_is_lost(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", FULL_DISK, str(tmp_path / "store.sqlite")], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("key store = 'kme-a': cannot be written")


def test_sixteen_threads_and_one_key_give_one_success(store: KeyStore) -> None:
    (item,) = supply(1)
    store.add_supply_keys("alice", "bob", "slave", [item])
    outcomes: list[str] = []

    def fetch() -> None:
        try:
            store.deliver_to_slave("alice", "bob", [item.key_id])
            outcomes.append("key")
        except KeyNotFound:
            outcomes.append("refused")

    threads = [threading.Thread(target=fetch) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["key"] + ["refused"] * 15


DELIVERER = """
import sys
from tiandi.kms.store import KeyStore
store = KeyStore(sys.argv[1], "kme-a", bytes(range(32)))
for _ in range(100000):
    (item,) = store.deliver_to_master("alice", "bob", 1, 256)
    print(item.key_id, flush=True)
"""


def test_a_key_acknowledged_before_kill_9_is_not_delivered_again(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite"
    store = KeyStore(path, "kme-a", MASTER_KEY)
    store.add_supply_keys("alice", "bob", "master", supply(3000))
    store.close()
    delivered: list[UUID] = []
    for kill_after in (1, 20, 77, 200):
        process = subprocess.Popen([sys.executable, "-c", DELIVERER, str(path)], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        delivered += [UUID(process.stdout.readline().strip()) for _ in range(kill_after)]
        process.kill()
        delivered += [UUID(line.strip()) for line in process.stdout if len(line.strip()) == 36]
        process.wait()
    assert len(set(delivered)) == len(delivered)
    left = KeyStore(path, "kme-a", MASTER_KEY).supply_count("alice", "bob", 256)
    assert 0 <= 3000 - left - len(delivered) <= 4  # At most one key a kill was committed and never told.
