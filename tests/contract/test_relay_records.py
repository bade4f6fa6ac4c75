"""What a KME writes down of relays, on SQLite and on PostgreSQL: announcements, hand-overs, and forgetting."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests.contract.test_key_store import Node, depart, master_beside, node, postgres, postgres_server, reservation
from tiandi.kms.relay.hand_over import claim_hand_overs, let_hand_over_go, note_hand_over_sent, prepare_hand_over
from tiandi.kms.relay.relay_messages import Announcement, RelayMessage, Way
from tiandi.kms.store import ledger
from tiandi.kms.store.database import Transaction
from tiandi.kms.store.pruning import prune

__all__ = ["node", "postgres", "postgres_server"]
TABLES = ("relay", "announcement", "hand_over", "arrival", "confirmation")


async def counts(node: Node) -> dict[str, int]:
    return {table: (await node.store.rows(f"SELECT count(*) FROM {table}"))[0][0] for table in TABLES}


def test_announced_keys_pass_a_node_and_are_forgotten_in_the_end(node: Node, tmp_path: Path) -> None:
    """kme-m's keys pass kme-a, whose store it is, to kme-z."""
    r, store = reservation(), node.store

    async def run() -> None:
        async with master_beside(node, tmp_path) as master:
            await store.put_block("kme-z", uuid4(), os.urandom(4000), "first")
            way = Way([["kme-m", "kme-a", "kme-z"]], 1, announced=True)
            departure = await master.run(master.relaying.depart, r, {"bob": "kme-z"}, {"kme-z": way}, claim_ms=0, deadline_ms=2**50)
            [(_, message)] = departure.relays
            [(_, onward), (_, announcement)] = await store.run(store.relaying.accept, "kme-m", message, claim_ms=0)
            assert (type(onward), type(announcement)) == (RelayMessage, Announcement)
            now_ms = ledger.now_ms()
            claim = {"now_ms": now_ms, "claim_ms": now_ms + 1000}
            claimed = await store.run(store.relaying.claim_waiting, **claim)
            assert [parcel for _, parcel in claimed] == [onward, announcement]
            for parcel in (onward, announcement):
                assert await store.run(store.relaying.let_go, parcel)
                assert await store.run(store.relaying.is_waiting, parcel)
                await store.run(store.relaying.sent, parcel, accepted=True)
                assert not await store.run(store.relaying.is_waiting, parcel)
            await master.run(master.relaying.let_question_go, r, "kme-z")
            [(target, question, _)] = await master.run(master.relaying.claim_confirmations, now_ms=now_ms + 2000, claim_ms=now_ms + 9000)
            assert (target, question) == departure.confirmations[0]
            await store.run(store.relaying.void, "kme-m", r.prefix, 0)
            assert await counts(node) == {"relay": 1, "announcement": 1, "hand_over": 0, "arrival": 1, "confirmation": 0}
            assert await store.run(prune, now_ms - 1000) == 0
            assert await store.run(prune, now_ms + 60_000) == 3
            assert set((await counts(node)).values()) == {0}

    node.run(run())


async def _while_another(first: tuple[Node, Any, Sequence[Any]], second: tuple[Any, Sequence[Any]]) -> None:
    """Begin the second when the first is done but for its commit, which waits for the second's end, or a while."""
    (node, work, arguments), (other_work, other_arguments) = first, second
    begun: list[asyncio.Task[Any]] = []

    async def slowly(transaction: Transaction) -> None:
        await work(transaction, *arguments, claim_ms=0)
        begun.append(asyncio.ensure_future(node.processes[-1].run(other_work, *other_arguments)))
        await asyncio.wait(begun, timeout=0.3)

    await node.store.run(slowly)
    await begun[0]


@pytest.mark.parametrize("node", ["postgres"], indirect=True)  # SQLite has one writer.
@pytest.mark.parametrize("end", ["voided", "ready"])
def test_a_share_that_is_being_taken_while_its_fate_is_decided_is_not_kept_for_ever(node: Node, tmp_path: Path, end: str) -> None:
    """As when a database stood still, and a share and the word that it is given up wait side by side for it."""
    r, store = reservation(), node.store

    async def run() -> None:
        async with master_beside(node, tmp_path) as master:
            departure, question = await depart(master, r)
            [(_, message)] = departure.relays
            other = node.processes[-1].relaying
            accept = (node, store.relaying.accept, ("kme-m", message))
            if end == "voided":
                await _while_another(accept, (other.void, ("kme-m", r.prefix, 0)))
            else:
                await _while_another(accept, (other.confirm, ("kme-m", question, {})))
            assert await store.run(store.relaying.confirm, "kme-m", question, {}) == end
            assert await store.rows("SELECT state FROM relay WHERE sealed IS NOT NULL") == []
            assert await store.rows("SELECT state FROM relay") == [("done",)]

    node.run(run())


def test_a_hand_over_waits_until_both_stations_have_answered(node: Node) -> None:
    store = node.store

    async def run() -> None:
        for station in ("kme-b", "kme-c"):
            await store.put_block(station, uuid4(), os.urandom(4000), "first")
        now_ms = ledger.now_ms()
        told = await store.run(
            prepare_hand_over, store.link_keys, "kme-a", ("kme-b", "kme-c"), block_id=uuid4(), length_byte=500, claim_ms=now_ms - 1
        )
        waiting = await store.run(claim_hand_overs, now_ms=now_ms, claim_ms=now_ms + 1000)
        assert dict(waiting) == dict(zip(("kme-b", "kme-c"), told, strict=True))
        assert await store.run(claim_hand_overs, now_ms=now_ms, claim_ms=now_ms + 1000) == []
        await store.run(let_hand_over_go, "kme-b", told[0])
        await store.run(note_hand_over_sent, "kme-c", told[1], accepted=True)
        later_ms = now_ms + 20_000
        assert await store.run(claim_hand_overs, now_ms=later_ms, claim_ms=later_ms + 30_000) == [("kme-b", told[0])]
        assert await store.run(prune, now_ms + 60_000) == 2

    node.run(run())
