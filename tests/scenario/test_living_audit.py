"""The audit journals of a living network's KMEs, read with filters, against the stores themselves."""

from __future__ import annotations

import asyncio
import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tiandi.errors import InputError
from tiandi.kms.store.database import Transaction
from tiandi.kms.store.journal import read_journal
from tiandi.scenario.living import LivingNetwork
from tiandi.scenario.scenario import load_scenario
from tiandi.scenario.view import AuditView


class Ring:
    """A ring of four towns, standing still after it has made some keys."""

    def __init__(self, living: LivingNetwork) -> None:
        self.living = living

    def audit(self, **sought: Any) -> AuditView:
        found = self.living.call(self.living.audit(**sought))
        assert isinstance(found, AuditView)
        return found


@pytest.fixture(scope="module")
def ring(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ring]:
    with LivingNetwork(load_scenario("ring"), tmp_path_factory.mktemp("living"), speed=60.0) as living:

        async def until_there_are_keys() -> None:
            while living.totals_now().keys < 40:
                await asyncio.sleep(0.05)
            await living.pause(True)
            await asyncio.sleep(1.5)  # What was under way comes to rest.

        living.call(until_there_are_keys())
        yield Ring(living)


def _all_of(ring: Ring, **sought: Any) -> list[tuple[Any, ...]]:
    """Every line, page by page, as a reader goes back through them."""
    found: dict[tuple[Any, ...], None] = {}
    until = ""
    while True:
        view = ring.audit(until=until, limit=200, **sought)
        before = len(found)
        found |= {(line.time, *msgspec.structs.astuple(line)): None for line in view.lines}
        if not view.more or len(found) == before:
            return list(found)
        until = view.lines[-1].time


def test_lines_are_those_of_the_stores(ring: Ring) -> None:
    view = ring.audit(limit=300)
    assert {line.node for line in view.lines} == {"North", "East", "South", "West"}
    assert [line.time for line in view.lines] == sorted((line.time for line in view.lines), reverse=True)
    assert {line.kind for line in view.lines} == {"link", "supply"}
    assert not view.broken
    entity = ring.living.network.entity("North")
    stored = ring.living.call(entity.database.run(read_journal, 100))
    own = [line for line in ring.audit(node="North", limit=100).lines if line.page > stored[-1].page]
    wanted = {(line.page, line.stock, line.before, line.after, line.bit, line.what) for line in stored}
    assert {(line.page, line.stock, line.before, line.after, line.bit, line.what) for line in own} <= wanted
    assert len(own) > 10  # As many as pages that both have read in full; how many that is depends on how fast the network lives.


def test_accounts_are_the_sums_of_all_lines(ring: Ring) -> None:
    lines = _all_of(ring, node="North")
    account: dict[tuple[str, str], int] = {}
    for _, _, _, _, _, _, stock, before, after, bit, *_ in lines:
        account[stock, after] = account.get((stock, after), 0) + bit
        if before:
            account[stock, before] = account.get((stock, before), 0) - bit
    told = ring.living.call(ring.living.network.entity("North").account())
    assert {(stock, state): bit for stock, states in told.items() for state, bit in states.items()} == {
        key: bit for key, bit in account.items() if bit
    }


def test_filters_choose(ring: Ring) -> None:
    supplied = ring.audit(kind="supply", text="DELIVERED")
    assert supplied.lines
    assert {(line.kind, line.after) for line in supplied.lines} == {("supply", "delivered")}
    assert {line.node for line in supplied.lines} <= {"North", "East"}
    every = ring.audit(node="East", limit=1000).lines
    middle = every[len(every) // 2].time
    early, late = ring.audit(node="East", until=middle, limit=1000).lines, ring.audit(node="East", since=middle, limit=1000).lines
    assert all(line.time <= middle for line in early)
    assert all(line.time >= middle for line in late)
    assert {line.time for line in early} & {line.time for line in late} == {middle}
    assert {msgspec.structs.astuple(line) for line in every} <= {msgspec.structs.astuple(line) for line in [*early, *late]}
    assert ring.audit(since="2099-01-01").lines == ring.audit(until="2000-01-01").lines == []
    assert ring.audit(until="2000-01-01").pages == 0
    assert ring.audit(kind="operator").lines == []
    assert not ring.audit(text="no such thing").more


def test_few_lines_need_few_pages(ring: Ring) -> None:
    view = ring.audit(limit=1)
    assert len(view.lines) == 1
    assert view.more
    assert view.pages <= 4 * 64


def test_no_key_is_shown(ring: Ring) -> None:
    text = msgspec.json.encode(ring.audit(limit=1000)).decode()
    longest = max(re.findall(r"[0-9a-fA-F]{33,}", text), key=len, default="")
    assert len(longest) <= 64  # Digests of pages.
    assert all(len(word) == 64 for word in re.findall(r"[0-9a-fA-F]{33,}", text))


def test_a_changed_page_is_told(tmp_path: Path) -> None:
    with LivingNetwork(load_scenario("ring"), tmp_path, speed=60.0) as living:

        async def until_there_are_pages() -> None:
            while (await living.audit(node="West")).pages < 3:
                await asyncio.sleep(0.1)

        living.call(until_there_are_pages())
        assert not Ring(living).audit(node="West").broken
    store = tmp_path / "kme" / "kme-west" / "store.sqlite"
    with sqlite3.connect(store) as database:
        database.execute("UPDATE journal SET entries = CAST(CAST(entries AS TEXT) || ' ' AS BLOB) WHERE number = 2")
    database.close()
    with LivingNetwork(load_scenario("ring"), tmp_path, speed=60.0) as living:
        assert Ring(living).audit(node="West", limit=1000).broken == ["West: chain sqlite, page 2"]


NO_TIME = b'[{"time_ms":1000000000000000000,"stock":"s","before":"","after":"a","bit":1}]'


@pytest.mark.parametrize("page", [b"", b"[]", b"{", b"\xff", NO_TIME])
def test_a_page_that_says_nothing_is_told_to_those_who_seek_by_time(ring: Ring, page: bytes) -> None:
    database = ring.living.network.entity("West").database
    newest = ring.audit(node="West", limit=1).lines[0]
    middle = (newest.page + 1) // 2  # Where a search by halves looks first.
    query = "UPDATE journal SET entries = $1 WHERE chain = $2 AND number = $3"

    async def put(entries: bytes) -> bytes:
        async def work(transaction: Transaction) -> bytes:
            [(before,)] = await transaction.rows("SELECT entries FROM journal WHERE chain = $1 AND number = $2", newest.chain, middle)
            await transaction.rows(query, entries, newest.chain, middle)
            return bytes(before)

        return await database.run(work)

    before = ring.living.call(put(page))
    try:
        for until in ("", newest.time):
            assert ring.audit(node="West", text="none has this", until=until).broken == [f"West: chain {newest.chain}, page {middle}"]
            assert ring.audit(node="West", limit=1, until=until).lines
    finally:
        ring.living.call(put(before))
    assert not ring.audit(node="West", text="none has this").broken


@pytest.mark.parametrize(
    ("sought", "words"),
    [
        ({"node": "Nowhere"}, "node"),
        ({"kind": "block"}, "kind"),
        ({"since": "yesterday"}, "since"),
        ({"until": "tomorrow"}, "until"),
        ({"since": "2026-01-02", "until": "2026-01-01"}, "since"),
        ({"limit": 0}, "limit"),
        ({"limit": 1001}, "limit"),
        ({"text": "x" * 201}, "text"),
    ],
)
def test_what_cannot_be_sought_names_its_field(ring: Ring, sought: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        ring.audit(**sought)
