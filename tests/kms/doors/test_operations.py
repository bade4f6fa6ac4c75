"""The operators' door: who may ask, what is told, and that every change is in the journal before the answer."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Coroutine
from importlib.resources import files
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import jsonschema
import msgspec
import pytest

from tests.kms.network import Blocks
from tests.kms.operated import OPERATOR, Operated, operated
from tiandi.errors import KeyNotFound, KeysExhausted, StateError
from tiandi.kms import etsi014
from tiandi.kms.directory import Sae
from tiandi.kms.doors.operations import Ready
from tiandi.kms.operating import alarms, etsi015, operations
from tiandi.kms.operating.administration import Drain, LinkEntry, LinkStateEntry, NodeStatus, PairEntry, SaeEntry, StockEntry, Void
from tiandi.kms.operating.settings import PairSetting, SaeSetting
from tiandi.kms.operating.voiding import Voided
from tiandi.kms.relay.link_reports import LinkReport, LinkReports
from tiandi.kms.store.journal import JournalEntry

DOCUMENT = json.loads(files("tiandi.kms").joinpath("openapi", "operations.json").read_text())
ADMIN = "/admin/v1"
READ = ["status", "saes", "pairs", "links", "stocks", "alarms", "journal"]
FOR_OPERATORS = ["/metrics", etsi015.PATH, *(f"{ADMIN}/{name}" for name in READ), f"{ADMIN}/saes/alice", f"{ADMIN}/pairs/alice/bob"]

Run = Callable[[Callable[[Operated], Awaitable[None]]], None]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Runs a test over kme-a, kme-b and kme-c in a row."""

    def run_it(work: Callable[[Operated], Coroutine[Any, Any, None]]) -> None:
        async def opened() -> None:
            async with operated(tmp_path, "kme-a", "kme-b", "kme-c") as network:
                await work(network)

        asyncio.run(opened())

    return run_it  # type: ignore[return-value]


# Who may ask.


def test_what_is_for_operators_is_for_nobody_else(run: Run) -> None:
    async def work(network: Operated) -> None:
        for path in FOR_OPERATORS:
            assert (await network.ask("kme-a", "GET", path)).status_code in {200, 404}, path
            for kind in ("sae", "kme"):
                answer = await network.ask("kme-a", "GET", path, who="alice", kind=kind)
                assert (answer.status_code, answer.json().keys()) == (401, {"message"}), path
        for path, body in (("drain", {"draining": True}), ("void", {"pair": ["alice", "bob"]})):
            answer = await network.ask("kme-a", "POST", f"{ADMIN}/{path}", who="alice", kind="sae", json=body)
            assert answer.status_code == 401
        for name in ("saes/eve", "pairs/alice/bob"):
            assert (await network.ask("kme-a", "PUT", f"{ADMIN}/{name}", who="alice", kind="sae", json={})).status_code == 401
        assert not network.entities["kme-a"].draining
        for path in ("/healthz", "/readyz"):
            assert (await network.ask("kme-a", "GET", path, who="alice", kind="sae")).status_code == 200
        assert (await network.ask("kme-a", "GET", "/api/v1/keys/bob/status", who=OPERATOR)).status_code == 401

    run(work)


def test_odd_requests_are_refused_and_change_nothing(run: Run) -> None:
    async def work(network: Operated) -> None:
        before = await network.get("kme-a", f"{ADMIN}/journal")
        for method, path, body, status in (
            ("POST", "/healthz", None, 405),
            ("GET", "/healthz?x=1", None, 400),
            ("GET", "/restconf/data/other", None, 404),
            ("PUT", etsi015.PATH, {}, 405),
            ("GET", f"{ADMIN}/nothing", None, 404),
            ("GET", ADMIN, None, 404),
            ("DELETE", f"{ADMIN}/status", None, 405),
            ("GET", f"{ADMIN}/void", None, 405),
            ("GET", f"{ADMIN}/journal?limit=0", None, 400),
            ("GET", f"{ADMIN}/journal?limit=1001", None, 400),
            ("GET", f"{ADMIN}/alarms?acknowledged=1", None, 400),
            ("POST", f"{ADMIN}/alarms/x/acknowledge", None, 400),
            ("POST", f"{ADMIN}/alarms/{uuid4()}/acknowledge", None, 404),
            ("GET", f"{ADMIN}/saes/nobody", None, 404),
            ("DELETE", f"{ADMIN}/saes/nobody", None, 404),
            ("GET", f"{ADMIN}/saes/%00", None, 400),
            ("PUT", f"{ADMIN}/saes/a%2Fb", {"home": "kme-a"}, 400),
            ("PUT", f"{ADMIN}/saes/carol", {}, 400),
            ("PUT", f"{ADMIN}/saes/carol", {"home": "kme-z"}, 400),
            ("PUT", f"{ADMIN}/saes/carol", {"home": "kme-a", "surprise": 1}, 400),
            ("PUT", f"{ADMIN}/pairs/alice/nobody", {}, 400),
            ("PUT", f"{ADMIN}/pairs/alice/bob", {"maximum_bps": -1}, 400),
            ("PUT", f"{ADMIN}/pairs/alice/bob", {"maximum_bps": 10**30}, 400),
            ("PUT", f"{ADMIN}/pairs/alice/bob", [], 400),
            ("DELETE", f"{ADMIN}/pairs/alice/bob", None, 404),
            ("POST", f"{ADMIN}/drain", {}, 400),
            ("POST", f"{ADMIN}/drain", {"draining": 1}, 400),
            ("POST", f"{ADMIN}/void", {}, 400),
            ("POST", f"{ADMIN}/void", {"pair": ["alice", "bob"], "link": "kme-b"}, 400),
            ("POST", f"{ADMIN}/void", {"pair": ["alice"]}, 400),
            ("POST", f"{ADMIN}/void", {"pair": ["alice", "nobody"]}, 400),
            ("POST", f"{ADMIN}/void", {"link": "kme-z"}, 400),
            ("POST", f"{ADMIN}/void", {"link": "kme-b\0"}, 400),
            ("POST", f"{ADMIN}/void", {"key_ids": []}, 400),
            ("POST", f"{ADMIN}/void", {"key_ids": [str(uuid4())]}, 400),
            ("POST", f"{ADMIN}/void", {"key_ids": ["x"]}, 400),
        ):
            answer = await network.ask("kme-a", method, path, json=body)
            assert (answer.status_code, answer.json().keys()) == (status, {"message"}), (method, path, answer.text)
            assert answer.headers["cache-control"] == "no-store"
        for more, status in (({"content": b"{"}, 400), ({"content": b"x", "headers": {"Content-Type": "text/plain"}}, 415)):
            assert (await network.ask("kme-a", "POST", f"{ADMIN}/void", **more)).status_code == status
        assert (await network.ask("kme-a", "POST", f"{ADMIN}/void", content=b" " * 70_000)).status_code == 413
        assert await network.get("kme-a", f"{ADMIN}/journal") == before

    run(work)


# Health.


def test_health_says_that_the_process_is_up_and_readiness_which_check_fails(run: Run) -> None:
    async def work(network: Operated) -> None:
        assert await network.get("kme-a", "/healthz") == {"status": "up"}
        assert (await network.get("kme-a", "/readyz"))["ready"] is True
        await network.ask("kme-a", "POST", f"{ADMIN}/drain", json={"draining": True})
        answer = await network.ask("kme-a", "GET", "/readyz")
        assert answer.status_code == 503
        assert [name for name, good in answer.json()["checks"].items() if not good] == ["draining"]
        assert (await network.get("kme-a", "/healthz")) == {"status": "up"}

    run(work)


def test_a_kme_whose_store_fails_is_not_ready_and_says_so_without_details(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(network: Operated) -> None:
        async def fail(*_: object, **__: object) -> None:
            raise StateError("key store", "/where/it/is", "cannot be written: disk full")

        with monkeypatch.context() as patch:
            patch.setattr(network.entities["kme-a"].database, "run", fail)
            answer = await network.ask("kme-a", "GET", "/readyz", who="alice", kind="sae")
            assert (answer.status_code, answer.json()["checks"]["database"]) == (503, False)
            assert "disk" not in answer.text
            assert "tiandi_ready 0.0" in (await network.ask("kme-a", "GET", "/metrics")).text
        assert (await network.ask("kme-a", "GET", "/readyz")).status_code == 200

    run(work)


def test_a_kme_without_its_master_key_or_without_revocations_is_not_ready(run: Run) -> None:
    class Lost:
        name = "lost"

        def wrap(self, *_: bytes) -> bytes:
            raise StateError("master key", "token", "is gone")

        unwrap = wrap

    class Stale:
        failure = "the list of revocations is out of date"

    async def work(network: Operated) -> None:
        entity = network.entities["kme-a"]
        for one, check in (({"master_key": Lost()}, "master_key"), ({"revocations": Stale()}, "revocations")):
            checks = await operations.Operations(entity, **one).checks()  # type: ignore[arg-type]
            assert not checks.ready
            assert [name for name, problem in msgspec.structs.asdict(checks).items() if problem] == [check]

    run(work)


def test_a_kme_none_of_whose_sources_answers_is_not_ready(run: Run) -> None:
    async def work(network: Operated) -> None:
        watching = operations.Operations(network.entities["kme-a"], silent_s=0.05)
        one, other = (watching.watched(Blocks("kme-b", "first", [], name)) for name in ("one", "other"))
        assert (await watching.checks()).ready
        await asyncio.sleep(0.06)
        assert (await watching.checks()).sources == "none answers: one, other"
        await network.entities["kme-a"].collect(one)
        assert (await watching.checks()).ready
        assert (other.name, other.peer, other.own_half) == ("other", "kme-b", "first")
        await watching._look()
        raised = await network.get("kme-a", f"{ADMIN}/alarms")
        assert [(alarm["kind"], alarm["source"]) for alarm in raised] == [("source-silent", "other")]

    run(work)


# SAEs and pairs.


def test_an_sae_is_made_changed_and_forgotten_and_the_journal_says_by_whom(run: Run) -> None:
    async def work(network: Operated) -> None:
        put = {"home": "kme-c", "system_id": "KP_Carol"}
        entry = {"sae_id": "carol", **put, "may_pair_with_itself": False, "beyond": ""}
        for _ in range(2):
            answer = await network.ask("kme-a", "PUT", f"{ADMIN}/saes/carol", json=put)
            assert (answer.status_code, answer.json()) == (200, entry)
        assert await network.get("kme-a", f"{ADMIN}/saes/carol") == entry
        assert entry in await network.get("kme-a", f"{ADMIN}/saes")
        await network.ask("kme-a", "PUT", f"{ADMIN}/saes/carol", json={"home": "kme-b"}, who="otto")
        answer = await network.ask("kme-a", "DELETE", f"{ADMIN}/saes/carol")
        assert (answer.status_code, answer.json()["home"]) == (200, "kme-b")
        assert (await network.ask("kme-a", "GET", f"{ADMIN}/saes/carol")).status_code == 404
        notes = [(line["stock"], line["what"]) for line in await network.get("kme-a", f"{ADMIN}/journal?limit=3")]
        assert sorted(notes) == [
            ("operator olga", "sae carol null"),
            ("operator olga", 'sae carol {"home":"kme-c","system_id":"KP_Carol","may_pair_with_itself":false,"beyond":""}'),
            ("operator otto", 'sae carol {"home":"kme-b","system_id":"","may_pair_with_itself":false,"beyond":""}'),
        ]

    run(work)


def test_a_pair_has_the_quota_that_it_was_given_from_the_next_request_on(run: Run) -> None:
    async def work(network: Operated) -> None:
        assert len(await network.keys(20)) == 20
        answer = await network.ask("kme-a", "PUT", f"{ADMIN}/pairs/alice/bob", json={"maximum_bps": 100})
        assert answer.json() == {
            "master": "alice",
            "slave": "bob",
            "priority": 1,
            "minimum_bps": 0,
            "maximum_bps": 100,
            "ahead_count": 64,
            "ahead_sizes": 4,
            "paths": 1,
            "threshold": None,
            "post_quantum": False,
            "relay_form": "hop-by-hop",
            "least_trust": "",
        }
        await network.keys(3)
        with pytest.raises(KeysExhausted, match="quota"):
            await network.keys(3)
        assert (await network.ask("kme-a", "DELETE", f"{ADMIN}/pairs/alice/bob")).json() == answer.json()
        assert len(await network.keys(20)) == 20
        assert await network.get("kme-a", f"{ADMIN}/pairs") == []

    run(work)


# Links, stocks, status.


def test_links_stocks_and_status_tell_what_the_ledger_holds(run: Run) -> None:
    async def work(network: Operated) -> None:
        keys = await network.keys(5)
        await network.fetched(keys[:2])
        account = await network.entities["kme-a"].account()
        [link] = await network.get("kme-a", f"{ADMIN}/links")
        assert link == {"peer": "kme-b", "own": account["link kme-b own"], "peers": account["link kme-b peer"]}
        [stock] = await network.get("kme-a", f"{ADMIN}/stocks")
        assert (stock["master"], stock["role"], stock["ended"]) == ("alice", "master", {"delivered": 5 * 256})
        assert stock["living"].keys() == {"ready"}
        [stock] = await network.get("kme-c", f"{ADMIN}/stocks")
        assert (stock["role"], stock["ended"]) == ("slave", {"delivered": 2 * 256})
        [relayed] = await network.get("kme-b", f"{ADMIN}/stocks")
        assert (relayed["role"], relayed["living"]) == ("relay", {})
        status = await network.get("kme-a", f"{ADMIN}/status")
        assert (status["kme_id"], status["ready"], status["draining"]) == ("kme-a", True, False)
        assert (status["reservations"]["ready"], status["sae_count"], status["outbox"]) == (1, 2, 0)

    run(work)


def test_the_journal_is_told_from_its_end_the_newest_line_first(run: Run) -> None:
    async def work(network: Operated) -> None:
        await network.keys(5)
        lines = await network.get("kme-a", f"{ADMIN}/journal?limit=1000")
        assert [line["time_ms"] for line in lines] == sorted((line["time_ms"] for line in lines), reverse=True)
        assert lines[0]["after"] == "delivered"
        assert {(line["before"], line["after"]) for line in lines} >= {("", "received"), ("received", "stored"), ("stored", "spent")}
        assert await network.get("kme-a", f"{ADMIN}/journal?limit=2") == lines[:2]

    run(work)


# Voiding.


def test_a_pair_is_voided_at_both_kmes_with_keys_that_the_slave_has_not_fetched(run: Run) -> None:
    async def work(network: Operated) -> None:
        keys = await network.keys(5)
        await network.fetched(keys[:2])
        ready_bit = (await network.entities["kme-a"].account())["supply alice bob master 256"]["ready"]
        told = await network.void("kme-a", pair=["alice", "bob"])
        assert told == {"voided_bit": ready_bit, "uncertain_bit": 0, "not_told": []}
        with pytest.raises(KeyNotFound):
            await network.fetched(keys[2:])
        for kme in ("kme-a", "kme-c"):
            [stock] = await network.get(kme, f"{ADMIN}/stocks")
            assert stock["living"] == {}
        assert await network.void("kme-a", pair=["alice", "bob"]) == {"voided_bit": 0, "uncertain_bit": 0, "not_told": []}
        again = await network.keys(2)
        assert await network.fetched(again) == again
        assert await network.assert_settled() > 0

    run(work)


def test_keys_that_the_master_has_taken_to_the_last_are_voided_at_the_slaves_kme(run: Run) -> None:
    async def work(network: Operated) -> None:
        reservation = await network.entities["kme-a"].reserve("alice", ["bob"], size_bit=128, count=4)
        home = network.entities["kme-a"]
        keys = await home.database.run(home.supply_keys.deliver_to_master, "alice", "bob", size_bit=128, number=4)
        assert {key.key_id for key in keys} == set(reservation.key_ids)
        await network.void("kme-a", pair=["alice", "bob"])
        with pytest.raises(KeyNotFound):
            await network.fetched(keys)

    run(work)


def test_the_slaves_kme_voids_at_once_and_the_masters_follows(run: Run) -> None:
    async def work(network: Operated) -> None:
        keys = await network.keys(5)
        told = await network.void("kme-c", pair=["alice", "bob"])
        assert told["voided_bit"] > 5 * 256
        assert told["not_told"] == []
        with pytest.raises(KeyNotFound):
            await network.fetched(keys)
        await network.settle_down()
        [stock] = await network.get("kme-a", f"{ADMIN}/stocks")
        assert (stock["living"], stock["ended"]["delivered"]) == ({}, 5 * 256)
        again = await network.keys(2)
        assert await network.fetched(again) == again

    run(work)


def test_whoever_cannot_be_told_is_named_and_an_alarm_stays(run: Run) -> None:
    async def work(network: Operated) -> None:
        await network.keys(5)
        network.choose = lambda *_: "lose request"
        assert (await network.void("kme-c", pair=["alice", "bob"]))["not_told"] == ["kme-a"]
        assert (await network.void("kme-b", link="kme-a"))["not_told"] == ["kme-a"]
        for kme in ("kme-c", "kme-b"):
            [alarm] = await network.get(kme, f"{ADMIN}/alarms")
            assert (alarm["kind"], alarm["source"], alarm["severity"]) == ("pair-not-voided", "kme-a", "critical")

    run(work)


def test_what_the_other_kme_has_not_answered_is_uncertain_and_goes_on_by_itself(run: Run) -> None:
    async def work(network: Operated) -> None:
        keys = await network.keys(5)
        network.choose = lambda *_: "lose request"
        told = await network.void("kme-a", pair=["alice", "bob"])
        assert told["voided_bit"] == 0
        assert told["uncertain_bit"] > 0
        await network.settle_down()
        with pytest.raises(KeyNotFound):
            await network.fetched(keys)
        [stock] = await network.get("kme-a", f"{ADMIN}/stocks")
        assert stock["ended"]["voided"] >= told["uncertain_bit"]

    run(work)


def test_keys_of_a_pair_at_one_kme_are_voided(run: Run) -> None:
    async def work(network: Operated) -> None:
        network.directory.saes["bob"] = Sae("kme-a")
        keys = await network.keys(5)
        assert (await network.void("kme-a", pair=["alice", "bob"]))["uncertain_bit"] == 0
        with pytest.raises(KeyNotFound):
            await network.fetched(keys)

    run(work)


def test_a_pair_of_others_is_not_voided_here(run: Run) -> None:
    async def work(network: Operated) -> None:
        answer = await network.ask("kme-b", "POST", f"{ADMIN}/void", json={"pair": ["alice", "bob"]})
        assert answer.status_code == 400
        assert "is served by kme-a and kme-c, not here" in answer.json()["message"]

    run(work)


def test_keys_are_voided_by_their_identifiers_with_the_reservation_they_are_in(run: Run) -> None:
    async def work(network: Operated) -> None:
        small, large = await network.keys(3, 128), await network.keys(3, 512)
        await network.void("kme-a", key_ids=[str(small[0].key_id)])
        with pytest.raises(KeyNotFound):
            await network.fetched(small[1:])
        assert await network.fetched(large) == large
        answer = await network.ask("kme-a", "POST", f"{ADMIN}/void", json={"key_ids": [str(large[0].key_id), str(uuid4())]})
        assert answer.status_code == 400
        assert (await network.entities["kme-a"].account())["supply alice bob master 512"] == {"delivered": 3 * 512}

    run(work)


def test_link_key_is_voided_at_both_ends(run: Run) -> None:
    async def work(network: Operated) -> None:
        account = await network.entities["kme-a"].account()
        held_bit = sum(account[f"link kme-b {end}"]["stored"] for end in ("own", "peer"))
        assert await network.void("kme-a", link="kme-b") == {"voided_bit": held_bit, "uncertain_bit": 0, "not_told": []}
        for kme, peer in (("kme-a", "kme-b"), ("kme-b", "kme-a")):
            entity = network.entities[kme]
            assert await entity.stock_bit(peer) == 0
            account = await entity.account()
            assert sum(account[f"link {peer} {end}"].get("voided", 0) for end in ("own", "peer")) == held_bit
        assert await network.entities["kme-b"].stock_bit("kme-c") > 0
        await network.link("kme-a", "kme-b")
        keys = await network.keys()
        assert await network.fetched(keys) == keys

    run(work)


# Alarms.


def test_an_alarm_that_comes_again_is_counted_until_it_is_acknowledged(run: Run) -> None:
    async def work(network: Operated) -> None:
        database = network.entities["kme-a"].database
        for text in ("first", "second"):
            await database.run(alarms.raise_alarm, "relay-tag", "kme-b", text)
        await database.run(alarms.raise_alarm, "relay-tag", "kme-c", "elsewhere")
        found = {alarm["source"]: alarm for alarm in await network.get("kme-a", f"{ADMIN}/alarms")}
        assert (found["kme-b"]["times"], found["kme-b"]["text"], found["kme-c"]["times"]) == (2, "second", 1)
        place = f"{ADMIN}/alarms/{found['kme-b']['alarm_id']}/acknowledge"
        for who in (OPERATOR, "otto"):
            answer = await network.ask("kme-a", "POST", place, who=who)
            assert (answer.status_code, answer.json()["acknowledged_by"]) == (200, OPERATOR)
        assert [alarm["source"] for alarm in await network.get("kme-a", f"{ADMIN}/alarms")] == ["kme-c"]
        await database.run(alarms.raise_alarm, "relay-tag", "kme-b", "third")
        assert len(await network.get("kme-a", f"{ADMIN}/alarms?acknowledged=true&limit=3")) == 3
        [line] = await network.get("kme-a", f"{ADMIN}/journal?limit=1")
        assert (line["stock"], line["what"]) == ("operator olga", f"acknowledged alarm {found['kme-b']['alarm_id']}")

    run(work)


def test_a_clock_that_jumps_and_a_stock_that_runs_low_raise_alarms_once(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(network: Operated) -> None:
        watching = operations.Operations(network.entities["kme-a"], least_link_key_bit=10**9)
        await watching._look()
        real = operations.time.time
        with monkeypatch.context() as patch:
            patch.setattr(operations.time, "time", lambda: real() - 3600)
            await watching._look()
            await watching._look()
        found = {alarm["kind"]: alarm for alarm in await network.get("kme-a", f"{ADMIN}/alarms")}
        assert found.keys() == {"link-key-low", "clock-jump"}
        assert found["link-key-low"]["times"] == 1
        assert found["clock-jump"]["text"] == "the clock was set back by 3600.0 s"

    run(work)


def test_an_alarm_of_a_store_that_could_not_be_written_is_told_once_it_can(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(network: Operated) -> None:
        async def fail(*_: object, **__: object) -> None:
            raise StateError("key store", "file", "cannot be written: disk full")

        watching = operations.Operations(network.entities["kme-a"], least_link_key_bit=0)
        with monkeypatch.context() as patch:
            patch.setattr(network.entities["kme-a"].database, "run", fail)
            for _ in range(3):
                with pytest.raises(StateError):
                    await watching._look()
        await watching._look()
        found = await network.get("kme-a", f"{ADMIN}/alarms")
        assert [alarm["kind"] for alarm in found] == ["store-failed"]
        assert "disk full" in found[0]["text"]

    run(work)


def test_operations_look_after_the_node_by_themselves(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(network: Operated) -> None:
        monkeypatch.setattr(operations, "INTERVAL_S", 0.01)
        watching = operations.Operations(network.entities["kme-a"], least_link_key_bit=10**9)
        await watching.start()
        await network.operations["kme-a"].settings.put_sae(OPERATOR, "carol", SaeSetting("kme-b"))
        network.directory.saes.pop("carol")
        watching.settings._known.clear()
        watching.settings._revision = -1
        async with asyncio.timeout(5):
            while "carol" not in network.directory.saes or not await network.get("kme-a", f"{ADMIN}/alarms"):
                await asyncio.sleep(0.01)
        await watching.close()

    run(work)


# ETSI GS QKD 015.


def test_the_node_is_shown_as_etsi_gs_qkd_015_has_it(run: Run) -> None:
    async def work(network: Operated) -> None:
        keys = await network.keys(5)
        await network.fetched(keys[:2])
        views = {}
        for kme in ("kme-a", "kme-b", "kme-c"):
            answer = await network.ask(kme, "GET", etsi015.PATH)
            assert answer.headers["content-type"] == "application/yang-data+json"
            views[kme] = answer.json()["etsi-qkd-sdn-node:qkd_node"]
        here, between, there = views["kme-a"], views["kme-b"], views["kme-c"]
        for view in views.values():
            UUID(view["qkdn_id"])
        assert here["qkdn_status"] == "etsi-qkd-node-types:OPERATING"
        [application] = here["qkd_applications"]["qkd_app"]
        assert application["app_statistics"]["statistics"] == [{"consumed_bits": str(5 * 256)}]
        assert (application["server_app_id"], application["client_app_id"]) == ("urn:tiandi:sae:alice", ["urn:tiandi:sae:bob"])
        assert application["remote_qkdn_id"] == there["qkdn_id"]
        [other] = there["qkd_applications"]["qkd_app"]
        assert (other["app_id"], other["remote_qkdn_id"]) == (application["app_id"], here["qkdn_id"])
        assert between["qkd_applications"]["qkd_app"] == []
        links = {link["qkdl_id"]: link for view in views.values() for link in view["qkd_links"]["qkd_link"]}
        assert sorted(link["qkdl_type"] for link in links.values()) == [
            "etsi-qkd-node-types:PHYS",
            "etsi-qkd-node-types:PHYS",
            "etsi-qkd-node-types:VIRT",
        ]
        assert application["backing_qkdl_id"] == [key for key, link in links.items() if link["qkdl_type"].endswith("VIRT")]
        for view in views.values():
            interfaces = {interface["qkdi_id"] for interface in view["qkd_interfaces"]["qkd_interface"]}
            physical = [link for link in view["qkd_links"]["qkd_link"] if link["qkdl_type"].endswith("PHYS")]
            assert {link["qkdl_local"]["qkdi_id"] for link in physical} == interfaces
            assert {link["qkdl_status"] for link in physical} == {"etsi-qkd-node-types:ACTIVE"}
        await network.ask("kme-a", "POST", f"{ADMIN}/drain", json={"draining": True})
        drained = await network.get("kme-a", etsi015.PATH)
        assert drained["etsi-qkd-sdn-node:qkd_node"]["qkdn_status"] == "etsi-qkd-node-types:OUT"

    run(work)


# Secrets, and the document.


def test_nothing_that_operators_are_told_holds_a_key(run: Run) -> None:
    async def work(network: Operated) -> None:
        keys = await network.keys(5)
        await network.fetched(keys)
        await network.void("kme-a", pair=["alice", "bob"])
        told = [(await network.ask(kme, "GET", path)).content for kme in network.entities for path in FOR_OPERATORS]
        metrics = [(await network.ask(kme, "GET", "/metrics")).text for kme in network.entities]
        for key in keys:
            for text in told:
                assert key.key not in text
                assert key.key.hex().encode() not in text
            assert all(str(key.key_id) not in text and key.key_id.hex not in text for text in metrics)

    run(work)


def test_the_document_describes_what_is_served(run: Run) -> None:
    structs = {
        NodeStatus, SaeEntry, PairEntry, LinkEntry, LinkStateEntry, StockEntry, JournalEntry, Drain, Ready, Voided, alarms.Alarm,
        operations.Checks, SaeSetting, PairSetting,
    }  # fmt: skip
    for struct in structs:
        schema = DOCUMENT["components"]["schemas"][struct.__name__]
        fields = msgspec.structs.fields(struct)
        assert list(schema["properties"]) == [field.encode_name for field in fields], struct
        assert schema["required"] == [field.name for field in fields if field.required], struct
        for field in fields:
            if not field.required:
                assert schema["properties"][field.name]["default"] == field.default, field
    choices = DOCUMENT["components"]["schemas"]["Void"]["oneOf"]
    assert [list(choice["properties"]) for choice in choices] == [[field.name] for field in msgspec.structs.fields(Void)]
    kinds = DOCUMENT["components"]["schemas"]["Alarm"]["properties"]["kind"]["enum"]
    assert kinds == sorted(alarms.SEVERITY)

    async def work(network: Operated) -> None:
        await network.keys()
        await network.ask("kme-a", "PUT", f"{ADMIN}/pairs/alice/bob", json={"priority": 3})
        await network.entities["kme-a"].database.run(alarms.raise_alarm, "relay-tag", "kme-b", "x")
        reports = network.operations["kme-a"].link_reports = LinkReports("kme-a", is_link=lambda *_: True)
        reports.report_own([LinkReport(origin="kme-a", neighbour="kme-b", sequence=0, stock_bit=5, qber=0.01)])
        for path, methods in DOCUMENT["paths"].items():
            if "get" not in methods:
                continue
            filled = path.format(sae_id="alice", master="alice", slave="bob")
            answer = await network.ask("kme-a", "GET", filled)
            assert answer.status_code == 200, filled
            [(media_type, described)] = methods["get"]["responses"]["200"]["content"].items()
            assert answer.headers["content-type"].split(";")[0] == media_type
            if media_type.endswith("json"):
                document = {
                    "$schema": "https://json-schema.org/draft/2020-12/schema",
                    **described["schema"],
                    "components": DOCUMENT["components"],
                }
                jsonschema.validate(answer.json(), document)
                assert answer.json()
        assert (await network.get("kme-a", "/openapi/operations.json")) == DOCUMENT

    run(work)


def test_the_014_door_still_stands_beside_it(run: Run) -> None:
    async def work(network: Operated) -> None:
        answer = await network.ask("kme-a", "GET", "/api/v1/keys/bob/status", who="alice", kind="sae")
        assert msgspec.json.decode(answer.content, type=etsi014.Status).master_SAE_ID == "alice"

    run(work)
