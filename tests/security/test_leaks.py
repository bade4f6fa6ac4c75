"""A whole story of keys, after which none of them is anywhere but in the answers to those whom they are for.

Link key comes in, supply keys of several sizes go out at two doors, everything that can fail is made to fail, a KME dies and comes
back, another is drained. Then the store's files at several moments, the log at its most talkative, every refusal, the operators'
pages and every exception are searched for all of it.
"""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import os
import shutil
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest

from tests.security.fortress import PAIR, Fortress, decoded
from tests.security.searching import Search
from tests.security.test_certificates import NEIGHBOURS_PATHS, OPERATORS_PATHS
from tests.security.test_http import BODIES, NAMES
from tests.security.test_message_bombs import BOMBS
from tiandi.distill.records import KeyBlock
from tiandi.kms import etsi014, skip
from tiandi.kms.directory import Directory, PairPolicy
from tiandi.kms.doors import answers
from tiandi.kms.entity import KeyManagementEntity
from tiandi.kms.keys import SupplyKey
from tiandi.kms.operating.logs import JsonLines
from tiandi.kms.operating.operations import TABLES
from tiandi.kms.relay import exchange
from tiandi.kms.relay.hybrid import KemKeys
from tiandi.kms.store.database import Transaction
from tiandi.kms.store.master_keys import open_master_key
from tiandi.kms.store.sqlite_database import SqliteDatabase
from tiandi.kms.streams import etsi004
from tiandi.kms.tls.pki import Credentials

SIZES_BIT = (128, 256, 264, 1024, 32_768)


class _Log(logging.Handler):
    """Keeps every line as the service would write it, and as Python's own formatter, which quotes exceptions, would."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines += [JsonLines().format(record), logging.Formatter("%(name)s %(message)s").format(record), repr(record.args)]


class Story:
    """What was secret, and what became public or stayed on disk."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.fortress = folder, Fortress(folder / "kmes")
        self.secrets: list[bytes] = []
        self.found: dict[str, bytes] = {}
        self.errors: list[str] = []

    def note_refusal(self, _: Any, error: Exception) -> None:
        """Stands in for the doors' own, which counts refusals: keeps everything that an exception could tell."""
        self.errors += [repr(error), str(error), repr(error.args), repr(vars(error)), "".join(traceback.format_exception(error))]

    def ask(self, who: Credentials, path: str, body: Any = None, *, kme: str = "kme-0", headers: str = "") -> bytes:
        """A request that is to fail: whatever it is answered is public."""
        status, said = self.fortress.ask(who, path, body, kme=kme, headers=headers)
        assert status >= 400, (path, body)
        self.found[f"answer {len(self.found)} {path[:60]}"] = said
        return said

    def deliver(self, body: dict[str, Any], *, fetch: bool = True) -> dict[UUID, bytes]:
        """Keys to alice, and, if they are fetched, to bob."""
        status, said = self.fortress.ask(self.fortress.alice, PAIR + "/enc_keys", body)
        assert status == 200, said
        keys = decoded(said)
        self.secrets += keys.values()
        if fetch:
            status, said = self.fortress.fetch(list(keys))
            assert (status, decoded(said)) == (200, keys)
        return keys

    def snapshot(self, name: str) -> Path:
        """The stores as they are on disk now, which is what a kill would leave."""
        folder = self.folder / name
        folder.mkdir()
        for path in (self.folder / "kmes").glob("*.sqlite*"):
            shutil.copy(path, folder)
            self.found[f"{name} {path.name}"] = path.read_bytes()
        return folder


def provoke(story: Story) -> None:
    """Fail at every door in every way the other tests know."""
    fortress = story.fortress
    for name in NAMES:
        story.ask(fortress.alice, f"/api/v1/keys/{name}/enc_keys")
    for body in BODIES.values():
        story.ask(fortress.alice, PAIR + "/enc_keys", body)
        story.ask(fortress.bob, "/api/v1/keys/alice/dec_keys", body, kme="kme-2")
    for body in ({"number": 10**6}, {"size": 7}, {"size": 2**20, "number": 128}, {"extension_mandatory": [{"x": 1}]}):
        story.ask(fortress.alice, PAIR + "/enc_keys", body)
    for path in ("/key", "/key/zz?remoteSystemID=b", "/entropy?minentropy=x", "/nowhere"):
        story.ask(fortress.alice, path)
    for path in (*NEIGHBOURS_PATHS, *OPERATORS_PATHS):
        story.ask(fortress.alice, path)
    for path in NEIGHBOURS_PATHS:
        for name, bomb in BOMBS.items():
            status, said = fortress.call(fortress.credentials_of("kme-1"), path, bomb)
            assert status == 400
            story.found[f"{path} {name}"] = json.dumps(said).encode()


def steal(story: Story) -> None:
    """Ask for what others have, and for what is gone."""
    fortress = story.fortress
    keys = list(story.deliver({"number": 2}, fetch=False))
    body = {"key_IDs": [{"key_ID": key_id} for key_id in keys]}
    story.ask(fortress.mallory, "/api/v1/keys/alice/dec_keys", body, kme="kme-2")
    story.ask(fortress.eve, PAIR + "/dec_keys", body)
    assert fortress.fetch(keys)[0] == 200
    story.ask(fortress.bob, "/api/v1/keys/alice/dec_keys", body, kme="kme-2")
    place = {"prefix": keys[0].bytes[:14], "first_index": 0}
    for path, message in (
        (exchange.VOID_PATH, place),
        (exchange.FAILED_PATH, (place, "gone")),
        (exchange.COMPARE_PATH, {"block_id": uuid4(), "length": 1, "tag": b""}),
    ):
        story.found[f"{path} of nothing"] = repr(fortress.call(fortress.stranger, path, [message])).encode()


def spoil(story: Story) -> None:
    """Damage a sealed key in the store, so that opening it fails; and let keys be asked for beyond what there is."""
    fortress = story.fortress
    keys = story.deliver({"number": 1, "size": 512}, fetch=False)

    async def damage(transaction: Transaction) -> None:
        place = next(iter(keys)).bytes[:14]
        [(sealed,)] = await transaction.rows("SELECT sealed FROM reservation WHERE prefix = $1 AND role = 'slave'", place)
        spoilt = sealed[:-1] + bytes([sealed[-1] ^ 1])
        await transaction.rows("UPDATE reservation SET sealed = $2 WHERE prefix = $1 AND role = 'slave'", place, spoilt)

    fortress.host.call(fortress.entity("kme-2").database.run(damage))
    story.ask(fortress.bob, "/api/v1/keys/alice/dec_keys", {"key_IDs": [{"key_ID": next(iter(keys))}]}, kme="kme-2")
    story.ask(fortress.alice, PAIR + "/enc_keys", {"number": 1, "size": 2**20})


def fail_inside(story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault of ours, in whose frames keys stand, after they were taken and before they are sent."""

    def broken(keys: Any) -> Any:
        story.secrets += [key.key for key in keys]
        raise ValueError(f"fault over {keys!r}")

    with monkeypatch.context() as patch:
        patch.setattr("tiandi.kms.doors.etsi014._container", broken)
        patch.setattr("tiandi.kms.doors.skip._one", broken)
        story.ask(story.fortress.alice, PAIR + "/enc_keys")
        story.ask(story.fortress.alice, "/key?remoteSystemID=b")


def look_at_everything(story: Story) -> None:
    """What operators can read."""
    pages = [*OPERATORS_PATHS, "/admin/v1/audit", "/admin/v1/saes", "/admin/v1/settings", "/readyz", "/healthz"]
    for number, kme in enumerate(story.fortress.names):
        for path in pages:
            status, said = story.fortress.ask(story.fortress.operator, path, kme=kme)
            story.found[f"{kme} {path} {status}"] = said
        story.found[f"{kme} account"] = repr(story.fortress.host.call(story.fortress.entity(kme).account())).encode()
        story.found[f"{kme} objects"] = repr([vars(story.fortress.entity(kme)), vars(story.fortress.operations[number])]).encode()


async def come_back(folder: Path, kmes: Path, directory: Directory) -> dict[str, dict[str, int]]:
    """Start a KME on the files that a killed one left, let it take up what was begun, and stop it."""

    async def nobody(kme: str, path: str, body: bytes) -> bytes:
        raise exchange.RelayFailed(kme, "nobody is there")

    master_key = open_master_key(f"file:{kmes / 'kme-0.key'}")
    entity = await KeyManagementEntity.open(
        "kme-0", SqliteDatabase(folder / "kme-0.sqlite"), master_key, directory=directory, post=nobody, tables=TABLES
    )
    await entity.exchange.sweep()
    account = await entity.account()
    await entity.close()
    return account


@pytest.fixture
def log() -> Iterator[_Log]:
    root, handler = logging.getLogger(), _Log()
    levels = {name: logging.getLogger(name).level for name in ("", "asyncio", "httpx", "httpcore", "uvicorn.error", "tiandi.kms")}
    for name in levels:
        logging.getLogger(name).setLevel(logging.DEBUG)
    root.addHandler(handler)
    yield handler
    root.removeHandler(handler)
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


def test_no_key_is_anywhere_but_with_those_it_is_for(tmp_path: Path, log: _Log, monkeypatch: pytest.MonkeyPatch) -> None:
    story = Story(tmp_path)
    fortress = story.fortress
    monkeypatch.setattr(answers, "note_refusal", story.note_refusal)
    with fortress.host:
        fortress.host._loop.set_debug(True)
        fortress.host._loop.slow_callback_duration = 60
        story.secrets += fortress.fill(60_000)
        for size in SIZES_BIT:
            story.deliver({"size": size, "number": 3})
        story.deliver({"additional_slave_SAE_IDs": ["mallory"], "number": 2})
        monkeypatch.setitem(fortress.host.directory.policies, ("alice", "bob"), PairPolicy(ahead_count=16, post_quantum=True))
        story.deliver({"size": 256, "number": 4})
        story.snapshot("while it runs")
        provoke(story)
        steal(story)
        spoil(story)
        fail_inside(story, monkeypatch)
        look_at_everything(story)
        killed = story.snapshot("killed")
        for entity in fortress.host.entities.values():
            entity.draining = True
        story.ask(fortress.alice, PAIR + "/enc_keys")
        fortress.hang_up()
    story.snapshot("drained")
    account = asyncio.run(come_back(killed, tmp_path / "kmes", fortress.host.directory))
    story.found["account after coming back"] = repr(account).encode()
    for path in killed.iterdir():
        story.found[f"came back {path.name}"] = path.read_bytes()
    story.found["log"] = "\n".join(log.lines).encode()
    story.found["exceptions"] = "\n".join(story.errors).encode()

    search = Search(story.secrets)
    assert len(log.lines) > 100
    assert len(story.errors) > 100
    assert sum(len(secret) for secret in story.secrets) > 120_000
    if search.finds(b"\n".join(story.found.values())):
        assert [name for name, text in story.found.items() if search.finds(text)] == []


def test_the_search_finds_sixteen_bytes_in_every_writing() -> None:
    """What the story would prove nothing without."""
    secret = os.urandom(1000)
    search = Search([secret])
    for start in range(100, 140):
        part = secret[start : start + 16]
        for ahead in range(3):
            mixed = os.urandom(ahead) + part + os.urandom(5)
            for text in (
                mixed,
                mixed.hex().encode(),
                mixed.hex().upper().encode(),
                repr(mixed).encode(),
                base64.b64encode(mixed),
                base64.urlsafe_b64encode(mixed),
            ):
                assert search.finds(b'{"key": "' + text + b'"}'), (start, text)
    assert not search.finds(os.urandom(10_000) + os.urandom(10_000).hex().encode() + base64.b64encode(os.urandom(10_000)))


def test_nothing_that_holds_key_shows_it() -> None:
    key, key_id = os.urandom(64), uuid4()
    holders = [
        SupplyKey(key_id, key),
        etsi014.Key(key_id, key),
        etsi014.KeyContainer([etsi014.Key(key_id, key)]),
        skip.Key(key_id.hex, key.hex()),
        etsi004.GetKeyResponse(etsi004.Status.SUCCESSFUL, 0, key),
        KeyBlock(key_id, key),
        KemKeys(key),
        answers.answer(etsi014.KeyContainer([etsi014.Key(key_id, key)])),
    ]
    search = Search([key])
    for holder in holders:
        assert not search.finds(f"{holder!r} {holder!s} {[holder]!r}".encode()), type(holder)
    with pytest.raises(msgspec.ValidationError) as error:
        msgspec.convert({"key": key, "key_ID": 1}, etsi014.Key)
    assert not search.finds(repr(error.value).encode())
