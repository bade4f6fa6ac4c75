"""KMEs that do not hear each other: whatever the network does, it heals without a hand, and no key is lost, torn or used twice."""

from __future__ import annotations

import asyncio
import os
import random
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from tests.conftest import KmeChain
from tests.kms import network
from tests.kms.network import assert_balanced
from tests.partition.proxy import Proxy, Weather
from tiandi.errors import RelayFailed, TiandiError
from tiandi.kms.client import KeyClient
from tiandi.kms.directory import PairPolicy, Sae
from tiandi.kms.etsi014 import KeyRequest
from tiandi.kms.relay import neighbours, patience
from tiandi.kms.states import State
from tiandi.kms.store.database import Transaction

STORM: list[Weather] = ["cut", "mute", "deaf", "half", "slow", "refuse", "black"]
AHEAD = 128


class TornChain(KmeChain):
    """`KmeChain` whose KMEs reach each other through a `Proxy` each; SAEs reach them directly."""

    def __init__(self, folder: Path, length: int) -> None:
        super().__init__(folder, length)
        self.direct = dict(self.host.directory.kme_addresses)
        self.proxies: dict[str, Proxy] = {}
        self.host.directory.default_policy = PairPolicy(ahead_count=AHEAD)

    @contextmanager
    def running(self) -> Iterator[TornChain]:
        with ExitStack() as stack:
            for number, name in enumerate(self.names):
                proxy = stack.enter_context(Proxy(int(self.direct[name].rpartition(":")[2]), seed=number))
                self.proxies[name] = proxy
                self.host.directory.kme_addresses[name] = f"https://127.0.0.1:{proxy.port}"
            stack.enter_context(self.host)
            for here, there in pairwise(self.names):
                self.share(here, there, os.urandom(2_000_000))
            yield self

    def weather(self, weather: Weather) -> None:
        for proxy in self.proxies.values():
            proxy.weather = weather
            if weather == "refuse":
                proxy.break_all()

    def client(self, name: str) -> KeyClient:
        """alice's or bob's."""
        kme, who = (self.names[0], self.alice) if name == "alice" else (self.names[-1], self.bob)
        return KeyClient(self.direct[kme], kme, who, retry_s=0)

    def rows(self, kme: str, query: str) -> list[tuple[Any, ...]]:
        async def read(transaction: Transaction) -> list[tuple[Any, ...]]:
            return await transaction.rows(query)

        return self.host.call(self.entity(kme).database.run(read))

    def open_count(self) -> int:
        """What is not settled at any KME: reservations, questions, messages, shares."""
        queries = (
            "SELECT count(*) FROM reservation WHERE state IN ('reserved', 'uncertain', 'held')",
            "SELECT count(*) FROM confirmation WHERE state <> 'ready' AND state <> 'voided'",
            "SELECT count(*) FROM relay WHERE state = 'waiting'",
        )
        return sum(self.rows(kme, query)[0][0] for kme in self.names for query in queries)

    def settle(self, within_s: float) -> None:
        """Wait until nothing is open. Nobody is given a hand."""
        end_s = time.monotonic() + within_s
        while self.open_count() and time.monotonic() < end_s:
            time.sleep(0.1)
        assert not self.open_count()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A minute of patience in six seconds: the order of all waits stays as it is."""
    for module, name, value in (
        (neighbours, "TIMEOUT_S", 0.8),
        (neighbours, "WHOLE_TIMEOUT_S", 1.2),
        (patience, "ASKING_MS", 1200),
        (patience, "CLAIM_MS", 3000),
        (patience, "LONGEST_PAUSE_S", 0.2),
        (patience, "SWEEP_PAUSE_S", 0.2),
        (patience, "PATIENCE_S", 2.0),
    ):
        monkeypatch.setattr(module, name, value)


@pytest.fixture
def chain(tmp_path: Path, impatient: None) -> Iterator[TornChain]:
    with TornChain(tmp_path, 3).running() as running:
        yield running


@dataclass
class Load:
    """alice asks all the time, and bob fetches what she has been given."""

    chain: TornChain
    keys: dict[UUID, bytes] = field(default_factory=dict)
    fetched: set[UUID] = field(default_factory=set)
    waits_s: list[float] = field(default_factory=list)
    refused: int = 0
    pause_s: float = 0.01

    def __post_init__(self) -> None:
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Load:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        with self.chain.client("alice") as alice, self.chain.client("bob") as bob:
            while not self._over.is_set():
                start_s = time.monotonic()
                try:
                    [key] = alice.get_keys("bob", size_bit=256)
                except TiandiError:
                    self.refused += 1
                else:
                    self.waits_s.append(time.monotonic() - start_s)
                    assert key.key_ID not in self.keys
                    self.keys[key.key_ID] = key.key
                    if len(self.keys) % 3 == 0:
                        [same] = bob.get_keys_with_ids("alice", [key.key_ID])
                        assert same.key == key.key
                        self.fetched.add(key.key_ID)
                time.sleep(self.pause_s)


def check(chain: TornChain, load: Load) -> None:
    """Both ends agree to the bit, and nobody gets anything twice."""
    with chain.client("bob") as bob:
        for key_id, key in load.keys.items():
            if key_id in load.fetched:
                with pytest.raises(TiandiError):
                    bob.get_keys_with_ids("alice", [key_id])
            else:
                assert bob.get_keys_with_ids("alice", [key_id])[0].key == key
    query = "SELECT prefix, first_index, state FROM reservation WHERE role = '{}' ORDER BY prefix, first_index"
    at_master = {tuple(place): state for *place, state in chain.rows(chain.names[0], query.format("master"))}
    at_slave = {tuple(place): state for *place, state in chain.rows(chain.names[-1], query.format("slave"))}
    living = {State.READY, State.DELIVERED}
    for place, state in at_master.items():
        assert (state in living) == (at_slave.get(place) in living), (state, at_slave.get(place))
    assert at_slave.keys() <= at_master.keys()
    assert any(state in living for state in at_master.values())
    for name in chain.names:
        chain.host.call(chain.entity(name).database.run(assert_balanced))
    # Of what one end of a link says is left to spend, the other end has no other view, once nothing is on its way.
    for here, there in pairwise(chain.names):
        for sender, receiver in ((here, there), (there, here)):
            account_s, account_r = (chain.host.call(chain.entity(name).account()) for name in (sender, receiver))
            assert account_r[f"link {sender} peer"]["stored"] >= account_s[f"link {receiver} own"]["stored"]


def test_storms_pass_and_leave_every_key_whole(chain: TornChain) -> None:
    with Load(chain) as load:
        time.sleep(0.5)
        for weather in STORM:
            chain.weather(weather)
            time.sleep(0.6)
            chain.weather("fair")
            time.sleep(0.2)
        assert sum(proxy.broken for proxy in chain.proxies.values()) > 5
        before, start_s = len(load.keys), time.monotonic()
        while len(load.keys) < before + 2 * AHEAD and time.monotonic() < start_s + 15:
            time.sleep(0.1)
        assert len(load.keys) >= before + 2 * AHEAD, "keys flow again"
    chain.settle(15)
    check(chain, load)


def test_what_is_ready_is_handed_out_while_nobody_is_heard(chain: TornChain) -> None:
    with Load(chain, pause_s=0.03) as load:
        while len(load.keys) < 20:
            time.sleep(0.05)
        chain.weather("black")
        load.waits_s.clear()
        refused = load.refused
        until_s = time.monotonic() + 20.0
        while len(load.waits_s) <= 20 and time.monotonic() < until_s:
            time.sleep(0.05)
        assert len(load.waits_s) > 20
        assert load.refused == refused
        assert sorted(load.waits_s)[int(0.99 * len(load.waits_s))] < 0.5
        chain.weather("fair")
    chain.settle(15)
    check(chain, load)


def test_a_partition_in_the_middle_of_everything_heals(chain: TornChain) -> None:
    """The slave's KME alone is cut off: shares get to it by its neighbour, and the question whether they came does not."""
    proxy = chain.proxies[chain.names[-1]]
    with Load(chain, pause_s=0.002) as load:
        while len(load.keys) < 20:
            time.sleep(0.02)
        for weather in ("mute", "black"):
            proxy.weather = weather
            time.sleep(1.5)
            proxy.weather = "fair"
            time.sleep(0.5)
        before, start_s = len(load.keys), time.monotonic()
        while len(load.keys) < before + AHEAD and time.monotonic() < start_s + 15:
            time.sleep(0.1)
        assert len(load.keys) >= before + AHEAD
    chain.settle(15)
    check(chain, load)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_minutes_of_changing_weather_with_all_waits_as_they_are(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    with TornChain(tmp_path, 4).running() as chain, Load(chain, pause_s=0.02) as load:
        end_s = time.monotonic() + 60
        while time.monotonic() < end_s:
            proxy = chance.choice(list(chain.proxies.values()))
            proxy.weather = chance.choice(STORM)
            time.sleep(chance.random() * 4)
            proxy.weather = "fair"
        chain.weather("fair")
        before, start_s = len(load.keys), time.monotonic()
        while len(load.keys) < before + AHEAD and time.monotonic() < start_s + 60:
            time.sleep(0.1)
        assert len(load.keys) >= before + AHEAD
        load.__exit__()
        chain.settle(90)
        check(chain, load)


def test_a_neighbour_that_says_nothing_keeps_no_other_pair_waiting(tmp_path: Path) -> None:
    asyncio.run(_with_a_silent_neighbour(tmp_path))


async def _with_a_silent_neighbour(folder: Path) -> None:
    async with network._opened(folder, ["kme-0", "kme-1", "kme-2"]) as kmes:
        kmes.directory.saes |= {"alice": Sae("kme-0"), "bob": Sae("kme-2")} | {f"dead-{number}": Sae("kme-1") for number in range(40)}
        kmes.directory.find_routes = lambda source, target, *_: [[source, target]]
        await kmes.link("kme-0", "kme-1")
        await kmes.link("kme-0", "kme-2")
        here, post, never = kmes.entities["kme-0"], kmes._post, asyncio.Event()

        async def silent(sender: str, receiver: str, path: str, body: bytes) -> bytes:
            if receiver == "kme-1":
                await never.wait()
                raise RelayFailed(receiver, "silent")
            return await post(sender, receiver, path, body)

        kmes._post = silent  # type: ignore[method-assign]
        waiting = [asyncio.create_task(here.get_keys("alice", f"dead-{number}", KeyRequest())) for number in range(40)]
        await asyncio.sleep(0.2)
        async with asyncio.timeout(3):
            assert len(await here.get_keys("alice", "bob", KeyRequest(number=3))) == 3
        for task in waiting:
            task.cancel()
        with suppress(TiandiError):
            await asyncio.gather(*waiting, return_exceptions=True)
