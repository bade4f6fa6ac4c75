from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import msgspec
import numpy as np
import pytest

from tiandi.errors import NotAuthorised, RelayFailed, RemoteRefused
from tiandi.kms.relay import spreading
from tiandi.kms.relay.link_reports import LinkReport, LinkReports
from tiandi.kms.relay.spreading import LINK_STATE_PATH, Spreading

Lose = Callable[[str, str], bool]


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spreading, "LOOK_EVERY_S", 0.02)
    monkeypatch.setattr(spreading, "GATHER_S", 0.001)
    monkeypatch.setattr(spreading, "LONGEST_PAUSE_S", 0.05)


class Net:
    """KMEs in a row, or joined as ``links`` say, that spread over a post which may lose."""

    def __init__(self, links: Sequence[tuple[str, str]], lose: Lose = lambda *_: False) -> None:
        self.links, self.lose = [frozenset(link) for link in links], lose
        self.names = sorted({end for link in links for end in link})
        self.stock_bit = dict.fromkeys(self.names, 1000)
        self.heard: dict[str, list[LinkReport]] = {name: [] for name in self.names}
        self.posts = 0
        self.spreadings = {name: self._spreading(name) for name in self.names}

    def neighbours(self, name: str) -> set[str]:
        return {end for link in self.links if name in link for end in link - {name}}

    def _spreading(self, name: str) -> Spreading:
        async def post(kme: str, path: str, body: bytes) -> bytes:
            assert path == LINK_STATE_PATH
            self.posts += 1
            await asyncio.sleep(0)
            if self.lose(name, kme):
                raise RelayFailed(kme, "lost")
            try:
                answer = await self.spreadings[kme].receive(name, msgspec.msgpack.decode(body, type=list[LinkReport]))
            except NotAuthorised as error:
                raise RemoteRefused(401, str(error)) from None
            return msgspec.msgpack.encode(answer)

        async def look() -> list[LinkReport]:
            stock_bit = self.stock_bit[name]
            return [LinkReport(origin=name, neighbour=peer, sequence=0, stock_bit=stock_bit) for peer in self.neighbours(name)]

        reports = LinkReports(name, is_link=lambda *link: set(link) <= set(self.names))
        return Spreading(reports, post=post, look=look, neighbours=lambda: self.neighbours(name), heard=self.heard[name].extend)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        for each in self.spreadings.values():
            each.start()
        try:
            yield
        finally:
            await asyncio.gather(*(each.close() for each in self.spreadings.values()))

    def known(self, name: str) -> dict[tuple[str, str], tuple[int, bool]]:
        return {report.link: (report.stock_bit, report.in_service) for report in self.spreadings[name].reports}

    async def until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(10.0):
            while not holds():
                await asyncio.sleep(0.005)


def row(length: int) -> list[tuple[str, str]]:
    return [(f"k{number:02}", f"k{number + 1:02}") for number in range(length)]


def run_until_all_know(net: Net) -> None:
    async def run() -> None:
        async with net.running():
            ends = 2 * len(net.links)
            await net.until(lambda: all(len(net.known(name)) == ends for name in net.names))
            net.stock_bit[net.names[0]] = 5
            await net.until(lambda: all(net.known(name)[net.names[0], net.names[1]] == (5, True) for name in net.names))

    asyncio.run(run())


def test_everybody_hears_of_every_link_along_a_row_of_thirty() -> None:
    run_until_all_know(Net(row(30)))


def test_news_gets_through_though_half_of_all_messages_are_lost() -> None:
    generator = np.random.default_rng(5)
    run_until_all_know(Net([*row(8), ("k00", "k08"), ("k02", "k06")], lose=lambda *_: generator.random() < 0.5))


def test_where_nothing_changes_nothing_is_sent() -> None:
    async def run() -> None:
        net = Net([*row(6), ("k00", "k06")])
        async with net.running():
            await net.until(lambda: all(len(net.known(name)) == 14 for name in net.names))
            await asyncio.sleep(0.1)
            before = net.posts
            await asyncio.sleep(0.2)
            assert net.posts == before

    asyncio.run(run())


def test_a_neighbour_that_does_not_answer_is_silent_until_it_does() -> None:
    dead = {"k01"}
    net = Net(row(2), lose=lambda _, kme: kme in dead)

    async def run() -> None:
        async with net.running():
            await net.until(lambda: net.spreadings["k00"].silent == {"k01"})
            dead.clear()
            await net.until(lambda: not net.spreadings["k00"].silent and len(net.known("k02")) == 4)

    asyncio.run(run())


def test_a_neighbour_that_refuses_is_there() -> None:
    net = Net(row(1))

    async def refuse(kme: str, path: str, body: bytes) -> bytes:
        raise RemoteRefused(404, "no such path")

    async def run() -> None:
        net.spreadings["k00"]._post = refuse
        async with net.running():
            await net.until(lambda: len(net.known("k00")) == 2)
            await asyncio.sleep(0.3)
            assert not net.spreadings["k00"].silent

    asyncio.run(run())


def test_a_link_that_is_taken_away_is_told_as_out_of_service_and_a_new_one_joins() -> None:
    net = Net([*row(3), ("k00", "k03")])

    async def run() -> None:
        async with net.running():
            await net.until(lambda: len(net.known("k02")) == 8)
            net.links.remove(frozenset(("k00", "k03")))
            await net.until(lambda: net.known("k02")["k00", "k03"] == (1000, False))
            net.links.append(frozenset(("k00", "k02")))
            await net.until(lambda: net.known("k01").get(("k00", "k02")) == (1000, True))

    asyncio.run(run())


def test_a_kme_that_died_is_forgotten_and_told_of_as_out_of_service() -> None:
    net = Net(row(2))

    async def run() -> None:
        async with net.running():
            await net.until(lambda: all(len(net.known(name)) == 4 for name in net.names))
            reports = net.spreadings["k00"].reports
            now_s = reports._clock()
            reports._clock = lambda: now_s + 100.0
            await net.until(lambda: any(report.note == "no report for too long" for report in net.heard["k00"]))

    asyncio.run(run())


def test_only_neighbours_are_listened_to() -> None:
    async def run() -> None:
        net = Net(row(3))
        with pytest.raises(NotAuthorised, match="no link"):
            await net.spreadings["k00"].receive("k03", [LinkReport(origin="k01", neighbour="k02", sequence=1, stock_bit=1)])
        assert net.known("k00") == {}

    asyncio.run(run())


def test_telling_a_neighbour_begins_anew_after_a_fault_that_nobody_thought_of() -> None:
    faults = [ValueError("a fault")]

    def lose(_: str, __: str) -> bool:
        if faults:
            raise faults.pop()
        return False

    run_until_all_know(Net(row(2), lose=lose))


def test_a_kme_that_begins_anew_on_a_clock_that_was_set_back_is_heard_again_when_its_old_reports_are_forgotten() -> None:
    net = Net(row(1))

    async def run() -> None:
        reports = net.spreadings["k00"].reports
        later = LinkReport(origin="k01", neighbour="k00", sequence=2_000, stock_bit=9)
        await net.spreadings["k00"].receive("k01", [later])
        now_s = reports._clock()
        reports._clock = lambda: now_s + 100.0
        await net.spreadings["k00"].look()
        assert [(old.note, old.age_s > 90.0) for old in net.heard["k00"] if old.origin == "k01"][-1] == ("no report for too long", True)
        assert await net.spreadings["k00"].receive("k01", [msgspec.structs.replace(later, sequence=1_000)]) == [True]
        await net.spreadings["k00"].close()

    asyncio.run(run())
