from collections.abc import Callable

import pytest

from tiandi.errors import KeysExhausted, RequestRefused
from tiandi.kms.directory import Directory, PairPolicy
from tiandi.kms.supply import quotas, stocks
from tiandi.kms.supply.granting import Granting, Want
from tiandi.kms.supply.quotas import Quotas
from tiandi.kms.supply.stocks import IDLE_S, Stocks

TICK_S = 0.02
MINUTE_S = 60


class Minute:
    """A simulated minute of one link, over which pairs want ever more than comes."""

    def __init__(self, link_bps: int, policies: dict[str, PairPolicy], sizes: dict[str, int] | None = None, step_bit: int = 1) -> None:
        self.now_s = 0.0
        self.granting = Granting(clock=lambda: self.now_s)
        self.sizes, self.policies = sizes or {}, policies
        self.made_bit = dict.fromkeys(policies, 0)
        self.spent_bit, self.came_bit, self.link_bps, self.step_bit = 0, 0, link_bps, step_bit

    def wants(self) -> list[Want]:
        return [Want((name, "bob"), self.sizes.get(name, 256), 500, 0, policy) for name, policy in self.policies.items()]

    def run(self, duration_s: float = MINUTE_S) -> None:
        end_s = self.now_s + duration_s
        while self.now_s < end_s:
            self.now_s += TICK_S
            self.came_bit = int(self.now_s * self.link_bps) // self.step_bit * self.step_bit
            if self.granting.is_pausing("kme-b"):
                continue
            wants = self.wants()
            for want, count in zip(wants, self.granting.grant("kme-b", self.came_bit - self.spent_bit, wants), strict=True):
                self.spent_bit += want.cost_bit(count)
                self.made_bit[want.pair[0]] += count * want.size_bit
            assert self.spent_bit <= self.came_bit


def test_too_little_key_for_a_minute_minimum_rates_hold_priorities_hold_and_nothing_is_wasted() -> None:
    minute = Minute(20_000, {"high": PairPolicy(priority=0), "low": PairPolicy(priority=5, minimum_bps=3_000)})
    minute.run()
    assert 3_000 <= minute.made_bit["low"] / MINUTE_S < 3_400, "its minimum, and no more while another goes first"
    assert minute.came_bit - minute.spent_bit < 20_000 * 0.3 + 640, "what came was used, but for the last moment's"
    overhead_bit = minute.spent_bit - sum(minute.made_bit.values())
    assert overhead_bit < 0.2 * minute.spent_bit, "and not for overhead"
    assert minute.made_bit["high"] == minute.spent_bit - overhead_bit - minute.made_bit["low"]


def test_a_maximum_rate_holds_though_there_is_key_for_more() -> None:
    minute = Minute(100_000, {"bounded": PairPolicy(priority=0, maximum_bps=2_000), "free": PairPolicy(priority=1)})
    minute.run()
    assert minute.made_bit["bounded"] <= 2_000 * (MINUTE_S + quotas.BURST_S)
    assert minute.made_bit["bounded"] > 2_000 * MINUTE_S
    assert minute.made_bit["free"] > 60_000 * MINUTE_S


def test_minimum_rates_that_do_not_all_fit_are_kept_by_priority() -> None:
    policies = {name: PairPolicy(priority=priority, minimum_bps=6_000) for name, priority in (("high", 0), ("low", 1))}
    minute = Minute(8_000, policies)
    minute.run()
    assert minute.made_bit["high"] > 5_000 * MINUTE_S
    assert minute.made_bit["low"] < 1_500 * MINUTE_S


@pytest.mark.parametrize("link_bps", [400, 4_000])
def test_pairs_of_one_priority_share_alike_though_their_keys_differ_in_size(link_bps: int) -> None:
    """Of a large key's share what is too little for it is saved, not given to those with small keys."""
    minute = Minute(link_bps, {"small": PairPolicy(), "large": PairPolicy()}, {"small": 64, "large": 8_192})
    minute.run(600)
    assert minute.made_bit["large"] > 0.8 * 600 * link_bps / 2 - 8_192
    assert minute.made_bit["small"] > 0
    assert minute.came_bit - minute.spent_bit < 8_192 + 384 + link_bps


def test_a_pairs_rates_are_the_pairs_whatever_sizes_it_asks_for() -> None:
    policy = PairPolicy(priority=5, minimum_bps=3_000)
    minute = Minute(20_000, {"high": PairPolicy(priority=0)})
    one = minute.wants
    made = {"low": 0}

    def wants() -> list[Want]:
        return [*one(), *(Want(("low", "bob"), size, 100, 0, policy) for size in (128, 256, 512))]

    minute.wants = wants  # type: ignore[method-assign]
    minute.made_bit |= made
    minute.run()
    assert 3_000 <= minute.made_bit["low"] / MINUTE_S < 3_500


def test_requests_that_a_quota_let_through_are_not_held_up_by_what_was_made_before() -> None:
    granting = Granting(clock=lambda: 0.0)
    policy = PairPolicy(maximum_bps=256)
    assert granting.grant("kme-b", 10**6, [Want(("a", "b"), 256, 64, 0, policy)]) == [10]
    assert granting.grant("kme-b", 10**6, [Want(("a", "b"), 256, 64, 5, policy)]) == [5]


# Quotas.


def test_a_quota_lets_through_its_rate_and_what_is_given_back() -> None:
    now = [0.0]
    quota = Quotas(clock=lambda: now[0])
    pair = ("alice", "bob")
    with pytest.raises(RequestRefused):
        quota.take(pair, 100, 1001, least_bit=8)
    quota.take(pair, 100, 900, least_bit=8)
    with pytest.raises(KeysExhausted):
        quota.take(pair, 100, 200, least_bit=8)
    quota.give_back(pair, 100, 900)
    quota.take(pair, 100, 1000, least_bit=8)
    quota.give_back(pair, 100, 5000)
    with pytest.raises(RequestRefused):
        quota.take(pair, 100, 1001, least_bit=8)
    now[0] = 5.0
    quota.take(pair, 100, 1000, least_bit=8)
    with pytest.raises(KeysExhausted):
        quota.take(pair, 100, 8, least_bit=8)


def test_quotas_of_pairs_that_owe_nothing_are_forgotten() -> None:
    now = [0.0]
    quota = Quotas(clock=lambda: now[0])
    for number in range(5000):
        now[0] += 1.0
        quota.take((f"alice-{number}", "bob"), 100, 100, least_bit=8)
    assert len(quota._buckets) <= quotas.LOOK_COUNT


# Which sizes are kept ready.


@pytest.fixture
def now() -> list[float]:
    return [1000.0]


@pytest.fixture
def table(now: list[float]) -> Stocks:
    return Stocks(Directory(default_policy=PairPolicy(ahead_count=64, ahead_sizes=3)), 256, clock=lambda: now[0])


def ahead(table: Stocks) -> dict[int, int]:
    return {stock.size_bit: table.ahead_count(stock) for stock in table if table.ahead_count(stock)}


def test_the_default_size_and_a_few_that_are_asked_for_again_are_kept_ready(table: Stocks) -> None:
    for size in (128, 512, 128, 1024, 512, 1024, 2048, 256):
        table.ask("alice", "bob", size)
    assert ahead(table) == {256: 64, 128: 64, 512: 32}


def test_a_stock_that_nobody_asks_for_is_left_alone_and_then_forgotten(table: Stocks, now: list[float]) -> None:
    ask: Callable[[int], object] = lambda size: table.ask("alice", "bob", size)  # noqa: E731
    for size in (256, 512, 512):
        ask(size)
    now[0] += IDLE_S + 1
    assert ahead(table) == {}
    table.forget_idle()
    assert len(table) == 0
    ask(256)
    assert ahead(table) == {256: 64}


def test_a_new_size_takes_the_place_of_one_that_nobody_asks_for(table: Stocks, now: list[float]) -> None:
    for size in (128, 128, 512, 512):
        table.ask("alice", "bob", size)
    now[0] += IDLE_S + 1
    for size in (512, 1024, 1024):
        table.ask("alice", "bob", size)
    assert set(ahead(table)) == {512, 1024}


def test_whoever_asks_for_everything_fills_no_memory(table: Stocks, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stocks, "MOST_STOCKS", 50)
    waiting = table.ask("carol", "bob", 256)
    waiting.asked_for = 1
    for size in range(8, 8 * 500, 8):
        table.ask("alice", "bob", size)
        assert len(table) <= 1 + 1 + 2 + stocks.MOST_REMEMBERED
    for number in range(500):
        table.ask("alice", f"bob-{number}", 256)
        assert len(table) == len(list(table)) <= 50
    assert table.knows("carol", "bob", 256), "somebody waits"
