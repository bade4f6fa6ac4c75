"""The page of a network that really lives: what an operator does is done to it, and the stream tells what follows."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from tests.web import Window
from tiandi.scenario.living import LivingNetwork
from tiandi.scenario.scenario import load_scenario
from tiandi.scenario.view import AuditView, EventView, LinkView, MessageView, NetworkView, NodeView, PairView
from tiandi.web import WindowServer

EAST = "North - East"
PATIENCE_S = 40.0


@pytest.fixture(scope="module")
def living(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LivingNetwork]:
    with LivingNetwork(load_scenario("ring"), tmp_path_factory.mktemp("window"), speed=60.0) as network:
        yield network


@pytest.fixture
def window(living: LivingNetwork) -> Iterator[Window]:
    server = WindowServer(living)
    living.call(server.start())
    yield Window(living, server)  # type: ignore[arg-type]
    living.call(server.stop())


async def until_there_is_key(window: Window) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while True:
            view = (await window.ask("GET", "/api/v1/network")).json()
            if all(link["stock_bit"] > 100_000 for link in view["links"]):
                return
            await asyncio.sleep(0.3)


def test_the_whole_network_is_shown(living: LivingNetwork, window: Window) -> None:
    async def work() -> None:
        await until_there_is_key(window)
        kinds: list[tuple[str, Any]] = [
            ("network", NetworkView),
            (f"links/{EAST}", LinkView),
            ("nodes/North", NodeView),
            ("pairs/North/East", PairView),
            ("journal", list[msgspec.Raw]),
            ("audit?node=North&kind=link&limit=3", AuditView),
        ]
        for path, kind in kinds:
            answer = await window.ask("GET", f"/api/v1/{path}", role="viewer")
            assert answer.status_code == 200, answer.text
            assert msgspec.json.decode(answer.content, type=kind)
        assert (await window.ask("GET", "/api/v1/pairs/North/North")).status_code == 400
        assert (await window.ask("POST", "/api/v1/stations/North/cloud", {"on": True})).status_code == 400

    living.call(work())


def test_an_eavesdropper_is_turned_on_and_the_stream_tells_of_the_alarm(living: LivingNetwork, window: Window) -> None:
    async def work() -> None:
        await until_there_is_key(window)
        async with window.follow() as told, asyncio.timeout(PATIENCE_S):
            assert (await window.ask("POST", f"/api/v1/links/{EAST}/eavesdropper", {"on": True})).status_code == 200
            while (await told.next("event"))[2]["kind"] != "alarm":
                pass
            view: dict[str, Any] = (await told.next("network"))[2]
            while next(link for link in view["links"] if link["name"] == EAST)["state"] != "alarm":
                view = (await told.next("network"))[2]
            (alarm,) = view["alarms"]
            await window.ask("POST", f"/api/v1/links/{EAST}/eavesdropper", {"on": False})
            assert (await window.ask("POST", f"/api/v1/alarms/{alarm['id']}/acknowledge", {})).status_code == 200
            while (await told.next("event"))[2]["kind"] != "cleared":
                pass
        journal = (await window.ask("GET", f"/api/v1/journal?kind=alarm&link={EAST.replace(' ', '%20')}")).json()
        assert len(journal) == 1
        assert journal[0].keys() <= set(EventView.__struct_fields__)

    living.call(work())


def test_a_message_is_sent_and_time_is_told_how_to_pass(living: LivingNetwork, window: Window) -> None:
    async def work() -> None:
        await until_there_is_key(window)
        body = {"sender": "North", "recipient": "South", "text": "天地"}
        answer = await window.ask("POST", "/api/v1/messages", body)
        assert msgspec.json.decode(answer.content, type=MessageView).plaintext == "天地"
        assert (await window.ask("POST", "/api/v1/messages", body | {"recipient": "Atlantis"})).status_code == 400
        assert (await window.ask("POST", "/api/v1/time", {"jump": "next pass"})).status_code == 400
        assert (await window.ask("POST", "/api/v1/time", {"jump": "2000-01-01"})).status_code == 400
        for paused in (True, False):
            assert (await window.ask("POST", "/api/v1/time", {"paused": paused})).status_code == 200
            await asyncio.sleep(0.3)
            assert (await window.ask("GET", "/api/v1/network")).json()["paused"] is paused
        assert (await window.ask("POST", "/api/v1/time", {"speed": 30})).status_code == 200

    living.call(work())
