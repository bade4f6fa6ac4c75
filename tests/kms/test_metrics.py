"""Metrics: what the ledger holds, what a process has counted, and no more labels than a network has names."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.kms.operated import Operated, operated
from tiandi.errors import InputError, StateError
from tiandi.kms.operating import metrics
from tiandi.kms.operating.metrics import MOST_PAIRS, OTHERS, Metrics, Snapshot
from tiandi.kms.store.database import Transaction


def samples(text: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Every sample by its name and labels."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def snapshot(accounts: dict[str, dict[str, int]]) -> Snapshot:
    return Snapshot(accounts=accounts, reservations={}, outbox=0, confirmations=0, alarms={})


def value(text: str, name: str, **labels: str) -> float:
    return samples(text)[name, tuple(sorted(labels.items()))]


async def scrape(network: Operated, kme: str) -> str:
    answer = await network.ask(kme, "GET", "/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=")
    return answer.text


def test_metrics_tell_what_became_of_every_bit(tmp_path: Path) -> None:
    async def run() -> None:
        async with operated(tmp_path, "kme-a", "kme-b") as network:
            await network.fetched((await network.keys(5))[:2])
            await network.keys(1, 2048)
            there = await scrape(network, "kme-b")
            text = await scrape(network, "kme-a")
            account = await network.entities["kme-a"].account()
            assert value(text, "tiandi_keys_delivered_total", role="master", size_class="up to 256") == 5
            assert value(text, "tiandi_keys_delivered_total", role="master", size_class="up to 4096") == 1
            assert value(there, "tiandi_keys_delivered_total", role="slave", size_class="up to 256") == 2
            own, peers = account["link kme-b own"], account["link kme-b peer"]
            assert value(text, "tiandi_link_key_bits", peer="kme-b", end="own", state="stored") == own["stored"]
            assert value(text, "tiandi_link_key_spent_bits_total", peer="kme-b") == own["spent"]
            assert value(text, "tiandi_link_key_received_bits_total", peer="kme-b") == sum([*own.values(), *peers.values()])
            ready = sum(states.get("ready", 0) for states in account.values())
            assert value(text, "tiandi_supply_key_bits", master="alice", slave="bob", role="master") == ready
            assert value(text, "tiandi_reservations", state="ready") > 0
            assert value(text, "tiandi_outbox") == value(text, "tiandi_confirmations_open") == 0
            assert value(text, "tiandi_kme_info", kme="kme-a") == value(text, "tiandi_ready") == 1

    asyncio.run(run())


def test_refusals_are_counted_by_door_and_reason(tmp_path: Path) -> None:
    async def run() -> None:
        async with operated(tmp_path, "kme-a", "kme-b") as network:
            for _ in range(2):
                await network.ask("kme-a", "GET", "/api/v1/keys/nobody/status", who="alice", kind="sae")
            await network.ask("kme-a", "GET", "/api/v1/keys/bob/status")
            await network.ask("kme-a", "GET", "/api/v1/keys/bob/nothing", who="alice", kind="sae")
            await network.ask("kme-a", "GET", "/wp-login.php")
            await network.ask("kme-a", "GET", "/admin/v1/saes/nobody")
            text = await scrape(network, "kme-a")
            assert value(text, "tiandi_refusals_total", door="etsi014", reason="InputError") == 2
            assert value(text, "tiandi_refusals_total", door="etsi014", reason="NotAuthorised") == 1
            assert value(text, "tiandi_refusals_total", door="etsi014", reason="HTTPException") == 1
            assert value(text, "tiandi_refusals_total", door="none", reason="HTTPException") == 1
            assert value(text, "tiandi_refusals_total", door="operators", reason="HTTPException") == 1
            assert value(text, "tiandi_requests_total", door="etsi014", status="400") == 2
            assert "wp-login" not in text

    asyncio.run(run())


def test_commits_are_timed_and_those_that_fail_are_counted(tmp_path: Path) -> None:
    async def fail(_: Transaction) -> None:
        raise StateError("store", "x", "y")

    async def refuse(_: Transaction) -> None:
        raise InputError("field", 1, "2")

    async def run() -> None:
        async with operated(tmp_path, "kme-a") as network:
            before = value(await scrape(network, "kme-a"), "tiandi_commit_seconds_count")
            for work, error in ((fail, StateError), (refuse, InputError)):
                with pytest.raises(error):
                    await network.entities["kme-a"].database.run(work)
            text = await scrape(network, "kme-a")
            assert value(text, "tiandi_store_failures_total") == 1
            assert value(text, "tiandi_commit_seconds_count") > before
            assert 0 < value(text, "tiandi_commit_seconds_sum") < 60

    asyncio.run(run())


def test_kmes_of_one_process_count_for_themselves() -> None:
    one, other = Metrics("kme-a"), Metrics("kme-b")
    one._failures.inc()
    assert value(one.exposition(None, ready=True, draining=False).decode(), "tiandi_store_failures_total") == 1
    assert value(other.exposition(None, ready=True, draining=False).decode(), "tiandi_store_failures_total") == 0


def test_very_many_pairs_are_summed_up() -> None:
    accounts = {f"supply sae-{number} bob master {8 + 8 * (number % 50)}": {"ready": 1000 + number} for number in range(3 * MOST_PAIRS)}
    text = Metrics("kme-a").exposition(snapshot(accounts), ready=True, draining=True).decode()
    stocks = {labels: bit for (name, labels), bit in samples(text).items() if name == "tiandi_supply_key_bits"}
    assert len(stocks) == MOST_PAIRS + 1
    assert sum(stocks.values()) == sum(bit for states in accounts.values() for bit in states.values())
    assert dict(next(labels for labels in stocks if dict(labels)["master"] == OTHERS)) == {
        "master": OTHERS,
        "slave": OTHERS,
        "role": "master",
    }
    assert value(text, "tiandi_draining") == 1


def test_every_size_of_a_pair_counts_for_one_stock_and_few_classes() -> None:
    accounts = {f"supply alice bob master {size}": {"ready": size, "delivered": 2 * size} for size in range(8, 8 * 1000, 8)}
    text = Metrics("kme-a").exposition(snapshot(accounts), ready=True, draining=False).decode()
    found = samples(text)
    assert value(text, "tiandi_supply_key_bits", master="alice", slave="bob", role="master") == sum(range(8, 8000, 8))
    classes = {labels: count for (name, labels), count in found.items() if name == "tiandi_keys_delivered_total"}
    assert len(classes) == len(metrics.SIZE_CLASSES_BIT) + 1
    assert sum(classes.values()) == 2 * len(range(8, 8000, 8))


def test_connections_are_told_by_whoever_serves_them() -> None:
    counted = Metrics("kme-a")
    assert "tiandi_tls_connections" not in counted.exposition(None, ready=True, draining=False).decode()
    counted.connection_count = lambda: 7
    assert value(counted.exposition(None, ready=True, draining=False).decode(), "tiandi_tls_connections") == 7


def test_every_metric_has_a_help_text_and_a_unit_in_its_name_where_it_has_one() -> None:
    accounts: dict[str, Any] = {"link kme-b own": {"stored": 8}, "supply alice bob master 256": {"ready": 256, "voided": 256}}
    text = Metrics("kme-a").exposition(snapshot(accounts), ready=True, draining=False).decode()
    families = list(text_string_to_metric_families(text))
    assert all(family.documentation and family.name.startswith("tiandi_") for family in families)
    assert {family.name for family in families if re.search("key_(?!s_)", family.name)} == {
        "tiandi_link_key_bits",
        "tiandi_link_key_received_bits",
        "tiandi_link_key_spent_bits",
        "tiandi_supply_key_bits",
        "tiandi_supply_key_ended_bits",
    }
