"""Kill -9 at every commit, and at any time: nothing is given twice, nothing that was given is lost, and all is settled after a restart."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path

import pytest

from tests.crash.faults import Fault
from tests.crash.load import NOT_THERE, OK, Applications, Journal, ask_at_once, kill_and_start, under_load
from tests.crash.network import Died, Network, Process, row_of_kmes
from tests.crash.nursery import Nursery
from tests.kms.network import chain
from tiandi.kms.etsi014 import KeyRequest
from tiandi.kms.relay.relaying import Confirmation
from tiandi.kms.states import State

PAIRS = [("alice", "bob"), ("peggy", "oscar"), ("erin", "frank")]
SAMPLED = [
    ("kme-0", "before", 3),
    ("kme-0", "after", 5),
    ("kme-1", "before", 3),
    ("kme-1", "after", 2),
    ("kme-2", "after", 3),
    ("kme-2", "before", 6),
]
MOST_COMMITS = 80
"""More than any KME makes in the course of `play`."""
HAND_OVER_BYTE = 200
AT_ONCE = 16


@pytest.fixture
def network(nursery: Nursery) -> Iterator[Network]:
    with row_of_kmes(nursery) as network:
        yield network


@pytest.fixture
def applications(network: Network) -> Iterator[Applications]:
    applications = Applications(network)
    yield applications
    applications.close()


def play(network: Network, applications: Applications) -> None:
    """Link key is received and compared, keys are reserved, relayed, confirmed, delivered to masters and slaves, voided; link key is
    handed over. Whatever dies is started again when somebody has missed it."""

    def between() -> None:
        network.restart_ended()
        time.sleep(0.05)

    network.put_link_key()
    for pair in PAIRS[:2]:
        key_ids = applications.get_keys(pair, 2, between=between)
        applications.collect(pair, key_ids, between=between)
    for kme, command, argument in (
        ("kme-1", "hand over", ["kme-0", "kme-2", HAND_OVER_BYTE]),
        ("kme-0", "void", PAIRS[0]),
        ("kme-2", "void", PAIRS[1]),
    ):
        network.restart_ended()
        with suppress(Died, AssertionError):  # The neighbour may have died, and the satellite have no key left.
            network.of(kme).ask(command, argument)
    network.restart_ended()


def settle(network: Network, applications: Applications) -> None:
    network.restart_ended()
    network.settle()
    applications.settle()
    network.settle()


def play_with(network: Network, applications: Applications, victim: Process, fault: Fault) -> bool:
    """Play while a fault is armed; whether the process died of it."""
    deaths = victim.deaths
    victim.ask("arm", fault)
    play(network, applications)
    if victim.number is not None and victim.deaths == deaths:
        with suppress(Died):
            victim.ask("arm")
    settle(network, applications)
    return victim.deaths > deaths


def test_kills_at_some_commits_lose_and_repeat_no_key(network: Network, applications: Applications) -> None:
    for kme, kind, at in SAMPLED:
        assert play_with(network, applications, network.of(kme), Fault(kind=kind, at=at)), f"{kme} made no {at} commits"
    play(network, applications)
    settle(network, applications)
    print(f"\n{network.kills} kills at commits; {len(applications.settle().slaves)} keys collected")


@pytest.mark.slow
@pytest.mark.parametrize("kme", ["kme-0", "kme-1", "kme-2"])
@pytest.mark.parametrize("kind", ["before", "after"])
def test_kills_at_every_commit_lose_and_repeat_no_key(network: Network, applications: Applications, kme: str, kind: str) -> None:
    victim = network.of(kme)
    for at in count(1):
        assert at < MOST_COMMITS
        if not play_with(network, applications, victim, Fault(kind=kind, at=at)):
            break
    account = applications.settle()
    print(f"\n{network.kills} kills {kind} the commits of {kme}; {len(account.slaves)} keys collected, {len(account.uncertain)} uncertain")
    assert network.kills >= 8


@pytest.mark.slow
@pytest.mark.parametrize("kme", ["kme-0", "kme-1", "kme-2"])
def test_writes_torn_in_the_middle_lose_and_repeat_no_key(network: Network, applications: Applications, kme: str) -> None:
    victim = network.of(kme)
    for _ in range(40):
        play_with(network, applications, victim, Fault(kind="tear", at=random.randrange(1, 150)))
    account = applications.settle()
    print(f"\n{network.kills} torn writes of {kme}; {len(account.slaves)} keys collected, {len(account.uncertain)} uncertain")
    assert network.kills >= 10


@pytest.mark.slow
def test_a_store_whose_first_opening_is_killed_opens_the_next_time(nursery: Nursery) -> None:
    with row_of_kmes(nursery) as network:
        victim = network.processes[0]
        for at in count(1):
            victim.stop()
            for file in victim.folder.glob("kme-0.sqlite*"):
                file.unlink()
            victim.begin(Fault(kind=("before", "after")[at % 2], at=at))
            if victim.wait_until_ready():
                break
            victim.start()
            victim.ask("balance")
        print(f"\n{network.kills} kills while a new store was opened")
        assert network.kills >= 3


async def _settle_too_late(folder: Path) -> None:
    async with chain(folder, ["kme-a", "kme-b", "kme-c"]) as kmes:
        kme = kmes.entities["kme-a"]
        reservation = await kme.reserve("alice", ["bob"], size_bit=256, count=3)
        given = await kme.get_keys("alice", "bob", KeyRequest(number=3, size=256))
        question = Confirmation(reservation=reservation, threshold=1, last_hops=["kme-b"], nonce=b"", tag=b"")
        assert await kme.exchange.settle("kme-c", question, deadline_ms=0) == State.READY
        assert await kmes.entities["kme-c"].get_keys_with_ids("bob", "alice", [key.key_id for key in given]) == given


def test_whoever_comes_too_late_to_give_keys_up_leaves_those_that_are_ready(tmp_path: Path) -> None:
    """As a process does whose claim has run out while its database was away, and another one has had the answer."""
    asyncio.run(_settle_too_late(tmp_path))


@pytest.mark.parametrize(("kme", "command"), [("kme-0", "void"), ("kme-1", "void link")])
def test_voiding_that_a_crash_cut_short_is_done_when_it_is_asked_for_again(
    network: Network, applications: Applications, kme: str, command: str
) -> None:
    """The second commit is the last that this KME makes before it tells the other; of a link there is one only."""
    pair, at = PAIRS[1], 2 if command == "void" else 1
    network.put_link_key()
    applications.collect(pair, applications.get_keys(pair, 2, between=lambda: time.sleep(0.1)), between=lambda: time.sleep(0.1))
    network.settle()
    victim, argument = network.of(kme), pair if command == "void" else "kme-2"
    victim.ask("arm", Fault(kind="after", at=at))
    with suppress(Died):
        victim.ask(command, argument)
    network.restart_ended()
    assert network.kills == 1
    assert victim.ask(command, argument)["not_told"] == []
    settle(network, applications)
    query = "SELECT 1 FROM reservation WHERE state = 'ready' AND master = 'peggy' AND slave = 'oscar'"
    if command == "void":
        assert not network.of("kme-2").ask("query", query), "the master may still be given what its slave cannot collect"
    else:
        assert not network.of("kme-2").ask("query", "SELECT 1 FROM link_key WHERE peer = 'kme-1'")


def run_load(network: Network, *, kills: int, seed: int) -> None:
    """SAEs ask all the time while KMEs are killed at random times and started again a little later."""
    chance = random.Random(seed)
    journal = Journal(network.folder / "applications.journal")

    async def disturb() -> None:
        for number in range(kills):
            if number % 3 == 0:
                network.put_link_key()
            await kill_and_start(chance.choice(network.processes), chance)
            await asyncio.sleep(chance.uniform(0.0, 0.4))

    load = asyncio.run(under_load(network, journal, PAIRS, disturb, chance=chance))
    journal.close()
    applications = Applications(network)
    settle(network, applications)
    account = applications.settle()
    applications.close()
    print(
        f"\n{network.kills} kills under load, seed {seed}: {load.served} requests served to both SAEs, {load.failed} failed;"
        f" {len(account.masters)} keys given, {len(account.uncertain)} uncertain at slaves"
    )
    assert load.served >= kills // 4, "hardly anything was served"


def assert_one_of_many_gets_it(network: Network, pair: tuple[str, str]) -> None:
    network.put_link_key()
    applications = Applications(network)
    for _ in range(5):
        [key_id] = applications.get_keys(pair, 1, between=lambda: time.sleep(0.1))
        statuses = asyncio.run(ask_at_once(network, applications.journal, pair, key_id, AT_ONCE))
        assert statuses == [OK] + [NOT_THERE] * (AT_ONCE - 1)
    settle(network, applications)
    applications.close()


def test_of_many_who_ask_for_one_key_at_once_exactly_one_gets_it(network: Network) -> None:
    assert_one_of_many_gets_it(network, ("alice", "bob"))


def test_kills_at_any_time_lose_and_repeat_no_key(network: Network) -> None:
    run_load(network, kills=10, seed=random.randrange(2**32))


@pytest.mark.slow
@pytest.mark.parametrize("number", range(5))
def test_many_kills_at_any_time_lose_and_repeat_no_key(network: Network, number: int) -> None:
    run_load(network, kills=60, seed=random.randrange(2**32) + number)
