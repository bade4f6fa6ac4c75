"""Time tags against the rates expected of them, and the searches in them against plain loops.

Statistical tests allow five standard deviations: one false alarm in 1.7 million comparisons. They are seeded.
"""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiandi.errors import InputError
from tiandi.physics.sources import ContinuousPairSource
from tiandi.protocols.bbm92 import BASES_RAD, sifted_counts
from tiandi.protocols.continuous_pairs import (
    TaggingReceiver,
    TimeTags,
    coincidence_counts,
    continuous_rates,
    find_coincidences,
    sample_time_tags,
)
from tiandi.protocols.device_independent import CHSH_ANGLES_RAD, chsh_from_counts

SIGMAS = 5.0
SOURCE = ContinuousPairSource(pair_rate_hz=2e6, visibility=0.96)
ALICE = TaggingReceiver(angles_rad=CHSH_ANGLES_RAD[0], probabilities=(0.5, 0.5), noise_rate_hz=2e4)
BOB = TaggingReceiver(angles_rad=(*CHSH_ANGLES_RAD[1], 0.0, math.pi / 4), probabilities=(0.3, 0.3, 0.2, 0.2), noise_rate_hz=5e4)


def tags(times: list[float]) -> TimeTags:
    return TimeTags(np.sort(np.array(times)), np.zeros(len(times), np.uint8), np.zeros(len(times), np.uint8))


def test_errors_and_bell_violation_come_out_of_the_tags() -> None:
    """Two steps of different loss: singles, coincidences, errors and S against what is expected of them."""
    window_s, duration_s = 20e-9, np.array([5.0, 3.0])
    eta_a, eta_b = np.array([0.1, 0.05]), np.array([0.05, 0.12])
    alice, bob = sample_time_tags(
        SOURCE,
        ALICE,
        BOB,
        alice_efficiency=eta_a,
        bob_efficiency=eta_b,
        duration_s=duration_s,
        generator=np.random.default_rng(8),
        misalignment=0.01,
    )
    rates = continuous_rates(SOURCE, ALICE, BOB, eta_a, eta_b, window_s=window_s, misalignment=0.01)
    for seen, rate_hz in ((alice, rates.alice_singles_hz), (bob, rates.bob_singles_hz)):
        assert abs(seen.time_s.size - rate_hz @ duration_s) < SIGMAS * math.sqrt(rate_hz @ duration_s)
        assert (np.diff(seen.time_s) >= 0).all()
    found = find_coincidences(alice, bob, window_s=window_s)
    expected = rates.coincidence_rate_hz @ duration_s
    # Two clicks of one end in a window share one partner; that is rarer than the window times the rate.
    crowded = expected * window_s * float(rates.alice_singles_hz.max() + rates.bob_singles_hz.max())
    assert abs(found[0].size - expected) < SIGMAS * math.sqrt(expected) + crowded
    counts = coincidence_counts(alice, bob, found, alice_settings=2, bob_settings=4)
    assert counts.sum() == found[0].size
    visibility = float(rates.visibility @ (rates.coincidence_rate_hz * duration_s)) / expected
    value, deviation = chsh_from_counts(counts)
    assert abs(value - 2 * math.sqrt(2) * visibility) < SIGMAS * deviation
    assert rates.accidental_rate_hz.max() > 0.05 * rates.true_rate_hz.max()
    sifted, errors = sifted_counts(counts[:, 2:])
    qber = 0.5 * (1 - visibility)
    assert (np.abs(errors - sifted * qber) < SIGMAS * np.sqrt(sifted * qber * (1 - qber))).all()


def test_light_that_is_not_entangled_gives_accidental_coincidences_only() -> None:
    dark = ContinuousPairSource(pair_rate_hz=0.0)
    ends = {"angles_rad": BASES_RAD, "probabilities": (0.5, 0.5)}
    alice_end, bob_end = TaggingReceiver(noise_rate_hz=2e5, **ends), TaggingReceiver(noise_rate_hz=4e5, **ends)  # type: ignore[arg-type]
    rates = continuous_rates(dark, alice_end, bob_end, 0.1, 0.1, window_s=10e-9)
    assert float(rates.true_rate_hz) == 0.0
    assert float(rates.qber) == 0.5
    alice, bob = sample_time_tags(
        dark, alice_end, bob_end, alice_efficiency=0.1, bob_efficiency=0.1, duration_s=2.0, generator=np.random.default_rng(1)
    )
    expected = float(rates.accidental_rate_hz) * 2.0
    assert abs(find_coincidences(alice, bob, window_s=10e-9)[0].size - expected) < SIGMAS * math.sqrt(expected) + 0.01 * expected


def test_jitter_moves_pairs_out_of_the_window() -> None:
    blurred = [replace(end, jitter_sigma_s=sigma_s, noise_rate_hz=0.0) for end, sigma_s in ((ALICE, 0.3e-9), (BOB, 0.4e-9))]
    alice, bob = sample_time_tags(
        SOURCE, *blurred, alice_efficiency=0.05, bob_efficiency=0.05, duration_s=4.0, generator=np.random.default_rng(2)
    )
    rates = continuous_rates(SOURCE, *blurred, 0.05, 0.05, window_s=1e-9)
    within = math.erf(0.5 / (0.5 * math.sqrt(2)))
    assert float(rates.true_rate_hz) == pytest.approx(2e6 * 0.05**2 * within, rel=1e-12)
    expected = 4.0 * float(rates.coincidence_rate_hz)
    assert abs(find_coincidences(alice, bob, window_s=1e-9)[0].size - expected) < SIGMAS * math.sqrt(expected)


def test_dead_time_blanks_what_a_loop_would_blank() -> None:
    """The same arrivals, awake one by one: jitter off, so that the same seed draws the same clicks."""
    sleepy = replace(ALICE, dead_time_s=20e-6)
    drawn = [
        sample_time_tags(SOURCE, end, BOB, alice_efficiency=0.05, bob_efficiency=0.0, duration_s=0.5, generator=np.random.default_rng(6))[0]
        for end in (ALICE, sleepy)
    ]
    kept, last = [], -math.inf
    for time_s in drawn[0].time_s:
        if time_s >= last + sleepy.dead_time_s:
            kept.append(time_s)
            last = time_s
    assert drawn[1].time_s.tolist() == kept
    expected = 0.5 * float(continuous_rates(SOURCE, sleepy, BOB, 0.05, 0.0, window_s=1e-9).alice_singles_hz)
    assert len(kept) < 0.4 * drawn[0].time_s.size
    assert abs(len(kept) - expected) < SIGMAS * math.sqrt(expected)


def test_dead_time_costs_coincidences_at_both_ends() -> None:
    sleepy = [replace(end, dead_time_s=5e-6) for end in (ALICE, BOB)]
    alice, bob = sample_time_tags(
        SOURCE, *sleepy, alice_efficiency=0.02, bob_efficiency=0.02, duration_s=10.0, generator=np.random.default_rng(3)
    )
    rates = continuous_rates(SOURCE, *sleepy, 0.02, 0.02, window_s=4e-9)
    expected = 10.0 * float(rates.coincidence_rate_hz)
    assert float(rates.true_rate_hz) < 0.6 * 2e6 * 4e-4
    # Ends sleep together after a pair, by the share of pairs among the clicks: about one in a hundred.
    assert find_coincidences(alice, bob, window_s=4e-9)[0].size == pytest.approx(expected, rel=0.03)


@given(
    st.lists(st.integers(0, 300), max_size=30, unique=True),
    st.lists(st.integers(0, 300), max_size=30, unique=True),
    st.integers(1, 60),
)
def test_coincidences_are_each_others_nearest(first: list[int], second: list[int], width: int) -> None:
    """Against a loop over all pairs; a shift by an irrational part of a unit leaves no ties."""
    unit = 1e-9
    alice, bob = tags([unit * value for value in first]), tags([unit * (value + math.pi / 13) for value in second])
    window_s = 2 * unit * (width + 0.37)
    found = find_coincidences(alice, bob, window_s=window_s)
    distances = np.abs(np.subtract.outer(alice.time_s, bob.time_s))
    expected = [
        (i, j)
        for i, j in np.ndindex(distances.shape)
        if distances[i, j] == distances[i].min() == distances[:, j].min() and distances[i, j] <= 0.5 * window_s
    ]
    assert list(zip(*(side.tolist() for side in found), strict=True)) == expected
    mirrored = find_coincidences(bob, alice, window_s=window_s)
    assert mirrored[0].tolist() == found[1].tolist()


def test_pairs_that_nobody_catches_are_never_drawn() -> None:
    """10^12 pairs a second for 1,000 s, all but a few lost."""
    quiet = [replace(end, noise_rate_hz=0.0) for end in (ALICE, BOB)]
    alice, bob = sample_time_tags(
        ContinuousPairSource(pair_rate_hz=1e12),
        *quiet,
        alice_efficiency=1e-12,
        bob_efficiency=1e-12,
        duration_s=1000.0,
        generator=np.random.default_rng(7),
    )
    assert 800 < alice.time_s.size < 1200
    assert find_coincidences(alice, bob, window_s=1e-9)[0].size == 0


def test_ends_may_trade_places() -> None:
    here = continuous_rates(SOURCE, ALICE, BOB, 0.01, 0.02, window_s=1e-9)
    there = continuous_rates(SOURCE, BOB, ALICE, 0.02, 0.01, window_s=1e-9)
    assert float(here.qber) == pytest.approx(float(there.qber), rel=1e-14)
    assert float(here.coincidence_rate_hz) == pytest.approx(float(there.coincidence_rate_hz), rel=1e-14)


@given(pair_rate_hz=st.floats(1e3, 1e8), loss_db=st.floats(10.0, 80.0), noise_rate_hz=st.floats(0.0, 1e5))
def test_qber_rises_with_the_pair_rate_and_with_noise(pair_rate_hz: float, loss_db: float, noise_rate_hz: float) -> None:
    eta = 10 ** (-loss_db / 20)

    def qber(brightness: float, noise: float) -> float:
        end = TaggingReceiver(angles_rad=BASES_RAD, probabilities=(0.5, 0.5), noise_rate_hz=noise)
        return float(continuous_rates(replace(SOURCE, pair_rate_hz=brightness), end, end, eta, eta, window_s=1e-9).qber)

    assert qber(pair_rate_hz, 1.5 * noise_rate_hz) >= qber(pair_rate_hz, noise_rate_hz) - 1e-15
    assert qber(1.5 * pair_rate_hz, 0.0) >= qber(pair_rate_hz, 0.0) - 1e-15


@pytest.mark.parametrize(
    ("call", "field"),
    [
        (lambda: TaggingReceiver(angles_rad=(0.0, 1.0), probabilities=(0.5, 0.4)), "probabilities"),
        (lambda: TaggingReceiver(angles_rad=(0.0, 1.0), probabilities=(1.0,)), "probabilities"),
        (lambda: TaggingReceiver(angles_rad=(), probabilities=()), "number of analysers"),
        (lambda: TaggingReceiver(angles_rad=(0.0,), probabilities=(1.0,), noise_rate_hz=-1.0), "noise_rate_hz"),
        (lambda: continuous_rates(SOURCE, ALICE, BOB, 1.5, 0.1, window_s=1e-9), "alice_efficiency"),
        (lambda: continuous_rates(SOURCE, ALICE, BOB, 0.5, 0.1, window_s=1.0), "window_s"),
        (lambda: continuous_rates(SOURCE, ALICE, BOB, 0.5, 0.1, window_s=1e-9, misalignment=0.7), "misalignment"),
        (lambda: find_coincidences(tags([0.0]), tags([0.0]), window_s=0.0), "window_s"),
    ],
)
def test_bad_figures_are_named(call: Any, field: str) -> None:
    with pytest.raises(InputError) as caught:
        call()
    assert caught.value.field == field
