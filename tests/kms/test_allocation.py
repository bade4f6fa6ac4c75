from collections.abc import Sequence
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tiandi.errors import InputError
from tiandi.kms.supply.allocation import Demand, TokenBucket, allocate

AMOUNTS = st.one_of(st.integers(0, 12), st.integers(0, 400))


@st.composite
def _some_demands(draw: st.DrawFn) -> list[Demand]:
    demands = []
    for index in range(draw(st.integers(0, 6))):
        low, high = sorted((draw(AMOUNTS), draw(AMOUNTS)))
        demands.append(_demand(draw(AMOUNTS), priority=draw(st.integers(0, 2)), minimum=low, maximum=high, name=str(index)))
    return demands


def _demand(wanted: int, *, priority: int = 0, minimum: int = 0, maximum: int = 1 << 40, name: str = "slave") -> Demand:
    return Demand(pair=("master", name), wanted_bit=wanted, priority=priority, minimum_bit=minimum, maximum_bit=maximum)


def _byte_by_byte(available_bit: int, demands: Sequence[Demand]) -> list[int]:
    """What is left above the minimum rates, when these fit: each byte to whoever has least in the first class where one is wanted."""
    given = [demand.floor_byte for demand in demands]
    for _ in range(available_bit // 8 - sum(given)):
        wanting = [index for index, demand in enumerate(demands) if given[index] < demand.ceiling_byte]
        if not wanting:
            break
        given[min(wanting, key=lambda index: (demands[index].priority, given[index], index))] += 1
    return [8 * share for share in given]


@given(st.integers(0, 3000), _some_demands())
def test_nobody_gets_too_much_and_nothing_is_left_while_someone_wants_more(available_bit: int, demands: list[Demand]) -> None:
    given = allocate(available_bit, demands)
    assert len(given) == len(demands)
    assert all(share >= 0 and share % 8 == 0 for share in given)
    assert all(share <= min(demand.wanted_bit, demand.maximum_bit) for share, demand in zip(given, demands, strict=True))
    most = sum(min(demand.wanted_bit, demand.maximum_bit) // 8 for demand in demands)
    assert sum(given) == 8 * min(available_bit // 8, most)


@given(st.integers(0, 3000), _some_demands())
def test_what_is_left_above_minimum_rates_is_shared_as_byte_by_byte_to_whoever_has_least(available_bit: int, demands: list[Demand]) -> None:
    available_bit += 8 * sum(demand.floor_byte for demand in demands)
    assert allocate(available_bit, demands) == _byte_by_byte(available_bit, demands)


@given(st.integers(0, 600), _some_demands())
@settings(max_examples=300)
def test_minimum_rates_come_first_then_priority_then_proportion(available_bit: int, demands: list[Demand]) -> None:
    """Stated without the code: bytes of minimum that the classes before do not need, divided exactly, and rounded by less than a byte."""
    given = allocate(available_bit, demands)
    left = available_bit // 8
    for priority in range(3):
        members = [(share // 8, demand.floor_byte) for share, demand in zip(given, demands, strict=True) if demand.priority == priority]
        wanted = sum(floor for _, floor in members)
        for share, floor in members:
            if wanted <= left:
                assert share >= floor
            else:
                assert share <= floor
                assert abs(share - Fraction(left * floor, wanted)) < 1
        left = max(0, left - wanted)


@given(st.integers(0, 3000), _some_demands())
def test_inside_a_class_nobody_has_more_at_the_cost_of_one_who_has_less(available_bit: int, demands: list[Demand]) -> None:
    available_bit += 8 * sum(demand.floor_byte for demand in demands)
    given = [share // 8 for share in allocate(available_bit, demands)]
    for share, demand in zip(given, demands, strict=True):
        if share < demand.ceiling_byte:
            for other_share, other in zip(given, demands, strict=True):
                if other.priority == demand.priority:
                    assert other_share <= max(share + 1, other.floor_byte)
                if other.priority > demand.priority:
                    assert other_share == other.floor_byte


@pytest.mark.parametrize(
    ("available_bit", "demands", "expected"),
    [
        (0, [], []),
        (800, [], []),
        (0, [_demand(80)], [0]),
        (807, [_demand(4096)], [800]),
        (800, [_demand(87), _demand(9)], [80, 8]),
        # Three want 16, 80 and 800 bit of 240: the little one is content, the others share the rest.
        (240, [_demand(16), _demand(800), _demand(80)], [16, 144, 80]),
        (240, [_demand(800), _demand(800, maximum=40), _demand(800)], [104, 40, 96]),
        (240, [_demand(800, priority=1), _demand(160, priority=0)], [80, 160]),
        (240, [_demand(800, priority=1, minimum=200), _demand(160, priority=0)], [200, 40]),
        (240, [_demand(800, minimum=160), _demand(800)], [160, 80]),
        (240, [_demand(800, minimum=100), _demand(800)], [120, 120]),
        # Minimum rates that do not fit: class 0 keeps its own, class 1 shares 120 bit as 1 to 2.
        (320, [_demand(800, minimum=200), _demand(800, minimum=120, priority=1), _demand(800, minimum=240, priority=1)], [200, 40, 80]),
        (320, [_demand(8, minimum=200), _demand(800, minimum=400)], [8, 312]),
        (80, [_demand(800, minimum=9)], [80]),
        (24, [_demand(800, minimum=1), _demand(800, minimum=9)], [8, 16]),
        # Bytes that cannot be divided: never to one who has more already, never to a class behind, up for whom rounding down hurts most.
        (184, [_demand(800, minimum=160), _demand(800), _demand(800)], [160, 16, 8]),
        (136, [_demand(800, minimum=80), _demand(800, minimum=80), _demand(800, minimum=80, priority=1)], [72, 64, 0]),
        (24, [_demand(800, minimum=32), _demand(800, minimum=8)], [16, 8]),
    ],
)
def test_examples_worked_by_hand(available_bit: int, demands: list[Demand], expected: list[int]) -> None:
    assert allocate(available_bit, demands) == expected


def test_amounts_far_above_any_real_one_are_shared_too() -> None:
    assert allocate(1 << 60, [_demand(1 << 80, maximum=1 << 90)] * 2) == [1 << 59, 1 << 59]


@pytest.mark.parametrize("field", ["wanted_bit", "priority", "minimum_bit", "maximum_bit"])
def test_negative_figures_are_refused(field: str) -> None:
    figures = {"wanted_bit": 0, "priority": 0, "minimum_bit": 0, "maximum_bit": 0, field: -1}
    with pytest.raises(InputError, match=f"{field} = -1"):
        Demand(pair=("master", "slave"), **figures)


def test_a_minimum_above_the_maximum_is_refused() -> None:
    with pytest.raises(InputError, match="minimum_bit = 9"):
        _demand(8, minimum=9, maximum=8)


def test_less_than_nothing_is_not_shared() -> None:
    with pytest.raises(InputError, match="available_bit = -1"):
        allocate(-1, [])


class Watch:
    """A clock that tests turn."""

    def __init__(self) -> None:
        self.time_s = 1000.0

    def __call__(self) -> float:
        return self.time_s


@given(
    rate_bps=st.integers(0, 1000),
    burst_bit=st.integers(0, 1000),
    steps=st.lists(st.tuples(st.integers(0, 100), st.integers(0, 1200)), max_size=30),
)
def test_a_bucket_does_what_exact_arithmetic_says(rate_bps: int, burst_bit: int, steps: list[tuple[int, int]]) -> None:
    """Steps of 1/64 s, so that the bucket's figures are exact as well."""
    watch = Watch()
    bucket = TokenBucket(rate_bps=rate_bps, burst_bit=burst_bit, clock=watch)
    level, latest_s = Fraction(burst_bit), Fraction(1000)
    for ticks, bit in steps:
        watch.time_s += ticks / 64
        now_s = Fraction(watch.time_s)
        level = min(Fraction(burst_bit), level + rate_bps * max(Fraction(0), now_s - latest_s))
        latest_s = max(latest_s, now_s)
        assert bucket.available == int(level)
        assert bucket.take(bit) == (bit <= level)
        level -= bit if bit <= level else 0


@given(
    rate_bps=st.floats(0, 1e9),
    burst_bit=st.integers(0, 10**9),
    steps=st.lists(st.tuples(st.floats(0, 10), st.integers(0, 10**9)), max_size=30),
)
def test_no_stretch_of_time_sees_more_than_burst_and_rate(rate_bps: float, burst_bit: int, steps: list[tuple[float, int]]) -> None:
    watch = Watch()
    bucket = TokenBucket(rate_bps=rate_bps, burst_bit=burst_bit, clock=watch)
    taken: list[tuple[float, int]] = []
    for wait_s, bit in steps:
        watch.time_s += wait_s
        if bucket.take(bit):
            taken.append((watch.time_s, bit))
    for start, (start_s, _) in enumerate(taken):
        for end, (end_s, _) in enumerate(taken[start:], start + 1):
            assert sum(bit for _, bit in taken[start:end]) <= burst_bit + rate_bps * (end_s - start_s) + 1


def test_asking_often_does_not_stop_the_inflow() -> None:
    """At 1 bit/s a microsecond is less than a full bucket of 10^12 bit can resolve."""
    watch = Watch()
    bucket = TokenBucket(rate_bps=1, burst_bit=10**12, clock=watch)
    assert bucket.take(8)
    for step in range(1000):
        watch.time_s = 1000 + step * 1e-6
        assert bucket.available == 10**12 - 8
        assert not bucket.take(10**12)
    watch.time_s = 1008
    assert bucket.take(10**12)


def test_a_clock_set_back_gives_nothing_twice() -> None:
    watch = Watch()
    bucket = TokenBucket(rate_bps=8, burst_bit=80, clock=watch)
    assert bucket.take(80)
    for time_s, available in ((1005, 40), (900, 0), (1005, 40)):
        watch.time_s = time_s
        assert bucket.available == available
    assert bucket.take(40)
    watch.time_s = 900
    assert bucket.take(0)
    watch.time_s = 1005
    assert not bucket.take(1)


def test_more_than_a_burst_is_never_let_through() -> None:
    watch = Watch()
    bucket = TokenBucket(rate_bps=1000, burst_bit=80, clock=watch)
    watch.time_s += 1e6
    assert not bucket.take(81)
    assert bucket.take(80)


@pytest.mark.parametrize(("rate_bps", "burst_bit"), [(-1.0, 1), (1.0, -1), (float("nan"), 1), (float("inf"), 1)])
def test_a_bucket_without_sense_is_refused(rate_bps: float, burst_bit: int) -> None:
    with pytest.raises(InputError, match="must be finite and not negative"):
        TokenBucket(rate_bps=rate_bps, burst_bit=burst_bit, clock=Watch())


def test_a_negative_amount_cannot_be_taken() -> None:
    with pytest.raises(InputError, match="bit = -1"):
        TokenBucket(rate_bps=1, burst_bit=1, clock=Watch()).take(-1)
