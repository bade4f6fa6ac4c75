from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from tiandi.control.quotas import Quota, TokenBucket
from tiandi.errors import InputError


def test_over_any_time_a_pair_gets_its_rate_and_one_burst_at_most() -> None:
    random = np.random.default_rng(5)
    bucket = TokenBucket(10.0, 200.0)
    taken = []
    for now_s in np.cumsum(random.exponential(1.0, 2000)):
        bit = float(random.integers(1, 60))
        if bucket.holds(bit, now_s):
            bucket.take(bit)
            taken.append((now_s, bit))
    times, bits = np.array(taken).T
    before = np.concatenate(([0.0], np.cumsum(bits)))
    for first in range(len(times)):
        got = before[first + 1 :] - before[first]
        assert (got <= 200.0 + 10.0 * (times[first:] - times[first]) + 1e-6).all()
    assert before[-1] > 0.95 * 10.0 * times[-1]


def test_a_bucket_begins_full_and_never_holds_more() -> None:
    bucket = TokenBucket(10.0, 200.0)
    assert bucket.holds(200.0, 0.0)
    assert not bucket.holds(201.0, 1e6)


def test_time_that_runs_backwards_brings_nothing() -> None:
    bucket = TokenBucket(10.0, 200.0)
    assert bucket.holds(200.0, 100.0)
    bucket.take(200.0)
    assert not bucket.holds(1.0, 50.0)
    assert not bucket.holds(11.0, 101.0)
    assert bucket.holds(10.0, 101.0)


def test_what_is_given_back_may_be_taken_again_but_not_above_the_burst() -> None:
    bucket = TokenBucket(10.0, 200.0)
    assert bucket.holds(150.0, 0.0)
    bucket.take(150.0)
    bucket.give_back(100.0)
    assert bucket.holds(150.0, 0.0)
    bucket.give_back(1000.0)
    assert not bucket.holds(201.0, 0.0)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Quota(minimum_bps=-1.0),
        lambda: Quota(minimum_bps=5.0, maximum_bps=4.0),
        lambda: Quota(maximum_bps=float("nan")),
        lambda: Quota(burst_s=0.0),
    ],
    ids=["minimum", "maximum", "nan", "burst"],
)
def test_bad_quotas_are_refused(make: Callable[[], object]) -> None:
    with pytest.raises(InputError, match="quotas"):
        make()
