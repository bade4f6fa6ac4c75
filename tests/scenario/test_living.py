"""A ring of four towns lives for some seconds at 60 times real time; then it is disturbed in every way there is."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tiandi.errors import InputError, NoRoute, StateError
from tiandi.kms.etsi014 import KeyRequest
from tiandi.kms.keys import SupplyKey
from tiandi.kms.store import audit
from tiandi.kms.store.master_keys import open_master_key
from tiandi.quantum.link import LinkBlock
from tiandi.scenario import customers
from tiandi.scenario.link_workers import LinkWorkers
from tiandi.scenario.living import LivingNetwork
from tiandi.scenario.living_state import Remembered, StateLock, find_running, read_remembered
from tiandi.scenario.scenario import load_scenario
from tiandi.scenario.speed_clock import SpeedClock
from tiandi.scenario.view import EventView, LinkLine, NetworkView

SPEED = 60.0
PATIENCE_S = 120.0
EAST = "North - East"


class Watcher:
    """A living network as a page sees it: views and actions on its loop, events as they come."""

    def __init__(self, living: LivingNetwork) -> None:
        self.living = living
        self.events: list[EventView] = []
        self.living.call(self._subscribe())

    async def _subscribe(self) -> None:
        async def listen(events: AsyncIterator[EventView]) -> None:
            async for event in events:
                self.events.append(event)

        self._task = asyncio.create_task(listen(self.living.subscribe()))

    def do(self, action: Coroutine[Any, Any, Any]) -> Any:
        return self.living.call(action)

    def see(self, what: Callable[..., Any], *names: str) -> Any:
        async def look() -> Any:
            return what(*names)

        return self.living.call(look())

    @property
    def view(self) -> NetworkView:
        view = self.see(self.living.view)
        assert isinstance(view, NetworkView)
        return view

    def line(self, link: str) -> LinkLine:
        return next(line for line in self.view.links if line.name == link)

    def until(self, condition: Callable[[], bool], what: str) -> None:
        end_s = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < end_s, f"in vain: {what}; {self.view.links}, {self.events[-5:]}"
            time.sleep(0.1)


@pytest.fixture(scope="module")
def ring(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watcher]:
    with LivingNetwork(load_scenario("ring"), tmp_path_factory.mktemp("living"), speed=SPEED) as living:
        yield Watcher(living)


def test_keys_flow_and_the_view_tells_of_them(ring: Watcher) -> None:
    ring.until(lambda: ring.view.totals.keys > 0 and all(line.stock_bit for line in ring.view.links), "keys for customers")
    view = ring.view
    assert {node.name for node in view.nodes} == {"North", "East", "South", "West"}
    assert [line.kind for line in view.links] == ["fibre"] * 4
    assert all(line.qber is not None and 0.0 < line.qber < 0.03 for line in view.links)
    assert view.totals.secret_bit > view.totals.delivered_bit == view.totals.keys * 256
    # A request may have come before its key.
    ring.until(lambda: [(pair.ends, pair.state) for pair in ring.view.pairs] == [(("North", "East"), "served")], "a pair that is served")
    assert view.wanted_speed == SPEED
    assert msgspec.json.decode(msgspec.json.encode(view), type=NetworkView) == view


def test_key_rates_are_those_of_the_forecast(ring: Watcher) -> None:
    scenario = load_scenario("ring")
    ring.until(lambda: len(ring.see(ring.living.link, EAST).blocks) >= 6, "blocks of full length")
    for number, line in enumerate(ring.view.links):
        assert line.rate_bps == pytest.approx(scenario.fibre_rate_bps(number), rel=0.25)


def test_details_of_link_node_and_pair(ring: Watcher) -> None:
    ring.until(lambda: bool(ring.see(ring.living.link, EAST).history and ring.view.totals.keys), "history")
    link = ring.see(ring.living.link, EAST)
    funnel = link.funnel
    assert funnel.pulses > funnel.detected > funnel.sifted_bit >= funnel.verified_bit > funnel.secret_bit > 0
    assert link.length_km == 20.0
    assert 0.0 < link.epsilon_spent < 1e-3
    node = ring.see(ring.living.node, "North")
    assert node.address.startswith("https://127.0.0.1:")
    assert {stock.peer for stock in node.stocks} == {"East", "West"}
    assert {"sae-north", "customer-north"} <= set(node.saes)
    # Until their own link has key in stock, the way round may be the better one.
    ring.until(lambda: ring.see(ring.living.pair, "North", "East").route == ["North", "East"], "the short way")
    pair = ring.see(ring.living.pair, "North", "East")
    assert ["North", "West", "South", "East"] in pair.routes
    assert pair.age_s is not None
    assert "no node on the way" in " ".join(pair.trust)


def test_a_message_goes_under_keys_from_the_doors(ring: Watcher) -> None:
    sent = ring.do(ring.living.send_message("North", "South", "天地"))
    assert sent.plaintext == "天地"
    assert bytes.fromhex(sent.ciphertext) != "天地".encode()
    assert len(sent.key_ids) >= 2
    assert sent.route in (["North", "East", "South"], ["North", "West", "South"])
    assert ring.view.totals.messages >= 1


def test_a_message_right_after_the_start_waits_for_the_first_key(tmp_path: Path) -> None:
    with LivingNetwork(load_scenario("ring"), tmp_path) as living:
        assert living.totals_now().secret_bit == 0
        assert living.call(living.send_message("North", "South", "first")).plaintext == "first"


def test_a_message_is_refused_at_once_while_no_key_can_come(tmp_path: Path) -> None:
    with LivingNetwork(load_scenario("ring"), tmp_path) as living:
        living.call(living.pause(True))
        begun_s = time.monotonic()
        with pytest.raises(NoRoute, match="North to South"):
            living.call(living.send_message("North", "South", "time stands still"))
        assert time.monotonic() - begun_s < 2.0


def test_a_message_without_a_way_is_refused_at_once(ring: Watcher) -> None:
    for link in ("East - South", "South - West"):
        ring.do(ring.living.cut(link, True))
    begun_s = time.monotonic()
    with pytest.raises(NoRoute, match="the fibre is cut"):
        ring.do(ring.living.send_message("West", "South", "nobody hears"))
    assert time.monotonic() - begun_s < 2.0
    for link in ("East - South", "South - West"):
        ring.do(ring.living.cut(link, False))


def test_an_eavesdropper_raises_an_alarm_and_keys_go_round(ring: Watcher) -> None:
    living = ring.living
    ring.until(lambda: all(line.stock_bit > 100_000 for line in ring.view.links), "stock for the detour")
    ring.do(living.eavesdrop(EAST, True))
    ring.until(lambda: ring.line(EAST).state == "alarm", "an alarm")
    line = ring.line(EAST)
    assert line.qber is not None
    assert line.qber > 0.11
    assert line.eavesdropped
    (alarm,) = [alarm for alarm in ring.view.alarms if alarm.link == EAST]
    assert alarm.severity == "critical"
    assert ring.see(living.pair, "North", "East").route == ["North", "West", "South", "East"]
    assert ring.do(living.send_message("sae-north", "sae-east", "round the ring")).route == ["North", "West", "South", "East"]
    ring.do(living.eavesdrop(EAST, False))
    assert not ring.see(living.link, EAST).eavesdropped
    ring.do(living.acknowledge(alarm.id))
    ring.until(lambda: ring.line(EAST).state == "up", "an alarm that is cleared")
    assert ring.see(living.pair, "North", "East").route == ["North", "East"]
    assert {"alarm", "cleared", "action", "block"} <= {event.kind for event in ring.events}
    assert [event.id for event in ring.events] == sorted({event.id for event in ring.events})


def test_a_fibre_is_cut_and_mended(ring: Watcher) -> None:
    living = ring.living
    ring.do(living.cut(EAST, True))
    assert ring.line(EAST).state == "cut" or ring.see(living.link, EAST).state == "cut"
    assert ring.see(living.pair, "North", "East").route == ["North", "West", "South", "East"]
    before = ring.see(living.link, EAST).funnel
    time.sleep(1.0)
    assert ring.see(living.link, EAST).funnel == before
    ring.do(living.cut(EAST, False))
    assert ring.see(living.link, EAST).state == "up"
    ring.until(lambda: ring.see(living.link, EAST).funnel.secret_bit > before.secret_bit, "key after the mending")
    assert ring.see(living.pair, "North", "East").route == ["North", "East"]


def test_a_pair_without_a_way_asks_less_and_less_and_again_when_there_is_one(ring: Watcher, monkeypatch: pytest.MonkeyPatch) -> None:
    living = ring.living
    pair = next(pair for ends, pair in living.customers.pairs.items() if "East" in ends)
    entity = living.network.entity(pair.ends[0])
    real = entity.get_keys
    asked: list[float] = []

    async def counted(master: str, slave: str, request: KeyRequest) -> list[SupplyKey]:
        if (master, slave) == pair.saes:
            asked.append(time.monotonic())
        return await real(master, slave, request)

    monkeypatch.setattr(entity, "get_keys", counted)
    monkeypatch.setattr(customers, "TICK_S", 0.02)
    links = [line.name for line in ring.view.links if "East" in line.ends]
    for link in links:
        ring.do(living.cut(link, True))
    try:
        ring.until(lambda: pair.pause > 0, "a request that fails")
        first, begin_s = len(asked), time.monotonic()
        time.sleep(2.0)  # 100 ticks less the time that each takes: 1, 3, 7, 15, 31, 63 between requests.
        assert len(asked) - first <= 6
    finally:
        for link in links:
            ring.do(living.cut(link, False))
    ring.until(lambda: pair.pause == 0 and not pair.failed and asked[-1] > begin_s + 2.0, "keys again")


def test_a_compromised_relay_learns_what_passes(ring: Watcher) -> None:
    living = ring.living
    ring.do(living.compromise("West", True))
    assert "Nothing yet" in ring.see(living.node, "West").what_it_learns[0]
    ring.do(living.cut(EAST, True))
    ring.until(lambda: any(event.kind == "relay" and event.pair == ("North", "East") for event in ring.events), "a relay that is told of")
    relay = next(event for event in ring.events if event.kind == "relay" and event.pair == ("North", "East"))
    assert relay.what.endswith("keys relayed by West, South")
    ring.until(lambda: "knows each of them" in ring.see(living.node, "West").what_it_learns[0], "keys on the detour")
    ring.do(living.compromise("North", True))
    assert "by right" in ring.see(living.node, "North").what_it_learns[0]
    for node in ("West", "North"):
        ring.do(living.compromise(node, False))
    ring.do(living.cut(EAST, False))
    assert ring.see(living.node, "West").what_it_learns == []


def test_time_stands_still_goes_on_and_jumps(ring: Watcher) -> None:
    living = ring.living
    ring.do(living.pause(True))
    then = living.clock.now()
    time.sleep(0.3)
    assert living.clock.now() == then
    assert ring.see(living.view).paused or living.clock.paused
    ring.do(living.pause(False))
    before = ring.view.totals.secret_bit
    ring.do(living.jump("2099-01-01T00:00:00Z"))
    assert living.clock.now().year == 2099
    time.sleep(1.0)
    assert ring.view.totals.secret_bit - before < 100_000_000  # Nobody sent light in all those years.
    assert living.clock.share == 1.0
    with pytest.raises(InputError, match="time does not run backwards"):
        ring.do(living.jump("2000-01-01"))
    with pytest.raises(InputError, match="no pass is planned"):
        ring.do(living.jump("next pass"))
    ring.do(living.set_speed(2.0))
    assert living.clock.wanted_speed == 2.0
    ring.do(living.set_speed(SPEED))


def test_years_that_nobody_was_awake_for_make_no_more_key_than_a_link_may_hold(caplog: pytest.LogCaptureFixture) -> None:
    """Such as a process that was stopped, at a high speed: all of it at once would not fit into memory, and one lost block ends no link."""
    most_bit = 1_000_000
    received: list[int] = []

    async def receive(block: LinkBlock) -> None:
        assert block.alice is not None
        received.append(block.alice.length_bit)
        if len(received) == 2:
            raise StateError("store", "", "cannot be written")

    async def work() -> None:
        clock = SpeedClock(datetime(2026, 1, 1, tzinfo=UTC))
        workers = LinkWorkers(load_scenario("ring"), clock, receive=receive, renewed=lambda _: None, stock_limit_bit=most_bit)
        link = workers.links[EAST]
        for _ in range(2):
            link.fidelity, link.begun_s, link.due_s, link.busy = "expected", -1e9, 0.0, True
            await workers._make(link)
            assert not link.busy
        await workers.close()

    asyncio.run(work())
    assert len(received) == 2
    assert all(0 < bit <= max(most_bit, load_scenario("ring").fibre_links()[0].link.forecast(60.0).secret_bit) for bit in received)
    assert "a block was lost" in caplog.text


@pytest.mark.parametrize(
    ("action", "arguments", "words"),
    [
        ("eavesdrop", ("North - South", True), "link"),
        ("cut", ("nowhere", True), "link"),
        ("cloud", ("North", True), "station"),
        ("compromise", ("Nowhere", True), "node"),
        ("acknowledge", (4711,), "no alarm of that number"),
        ("set_speed", (0.0,), "speed"),
        ("set_speed", (float("nan"),), "speed"),
        ("jump", ("tomorrow",), "jump"),
        ("jump", ("9999-12-31T23:59:59Z",), "must be before the year 9000"),
        ("send_message", ("North", "North", "x"), "recipient"),
        ("send_message", ("North", "Nowhere", "x"), "recipient"),
        ("send_message", ("North", "East", ""), "text"),
    ],
)
def test_what_cannot_be_done_names_its_field(ring: Watcher, action: str, arguments: tuple[Any, ...], words: str) -> None:
    with pytest.raises(InputError, match=words):
        ring.do(getattr(ring.living, action)(*arguments))


def test_a_full_link_stops_and_goes_on(tmp_path: Path) -> None:
    with LivingNetwork(load_scenario("ring"), tmp_path, speed=SPEED, stock_limit_bit=100_000) as living:
        watcher = Watcher(living)
        watcher.until(lambda: all(line.state == "idle" for line in watcher.view.links), "full links")


def test_too_high_a_speed_lowers_fidelity_but_not_of_what_is_looked_at(tmp_path: Path) -> None:
    with LivingNetwork(load_scenario("ring"), tmp_path, speed=3000.0, stock_limit_bit=1 << 40) as living:
        watcher = Watcher(living)
        watcher.until(lambda: any(line.fidelity == "expected" for line in watcher.view.links), "expected key")
        watcher.until(lambda: watcher.view.totals.secret_bit > 20_000_000, "key at high speed")
        assert watcher.view.fidelity in ("mixed", "expected")


RUN = """
import sys, time
from pathlib import Path
from tiandi.scenario.living import LivingNetwork
from tiandi.scenario.scenario import load_scenario
with LivingNetwork(load_scenario("ring"), Path(sys.argv[1]), speed=60.0) as living:
    print("lives", flush=True)
    while True:
        time.sleep(0.1)
        print(living.totals_now().keys, flush=True)
"""


async def _verify(home: Path) -> audit.Report:
    database = await audit.open_store(str(home / "store.sqlite"))
    try:
        return await audit.verify(database, master_key=open_master_key(f"file:{home / 'master.key'}"))
    finally:
        await database.close()


def test_a_killed_network_goes_on_with_every_ledger_balanced(tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir()
    environment = os.environ | {"PYTHONPATH": str(Path(sys.modules["tiandi"].__file__ or "").parents[1])}
    with subprocess.Popen([sys.executable, "-c", RUN, str(state)], stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        for text in process.stdout:
            if text.strip().isdigit() and int(text) > 50:
                break
        process.send_signal(signal.SIGKILL)
    last = read_remembered(state, "ring")
    assert last is not None
    for home in sorted((state / "kme").iterdir()):
        report = asyncio.run(_verify(home))
        assert report.good, report.findings
    with LivingNetwork(load_scenario("ring"), state) as living:
        watcher = Watcher(living)
        assert living.clock.now().isoformat() >= last.time
        assert living.clock.wanted_speed == SPEED
        before = watcher.view.totals
        assert before.keys >= last.totals.keys
        watcher.until(lambda: watcher.view.totals.keys > before.keys, "keys after the restart")
    for home in sorted((state / "kme").iterdir()):
        report = asyncio.run(_verify(home))
        assert report.good, report.findings


def test_a_folder_has_one_network_and_one_only(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    with StateLock(folder), pytest.raises(StateError, match="in use by a running network"):
        StateLock(folder)
    assert find_running(folder) is None
    (folder / "living.json").write_bytes(msgspec.json.encode(Remembered(scenario="ring", time="2026-01-01")))
    with pytest.raises(StateError, match="holds the network 'ring'"):
        read_remembered(folder, "other")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "letters.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(StateError, match="not a living network's"):
        read_remembered(tmp_path / "other", "ring")
