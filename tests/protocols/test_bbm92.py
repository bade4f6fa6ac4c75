"""Click probabilities against Fock-space linear algebra, sums over pairs and exact fractions; key lengths against the exact tail.

Statistical tests allow five standard deviations: one false alarm in 1.7 million comparisons. They are seeded, so a test that passes
once passes always.
"""

import math
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import linalg, stats

from tiandi.errors import InputError
from tiandi.physics.sources import PairStatistics, PulsedPairSource
from tiandi.protocols.bbm92 import (
    BASES_RAD,
    PairClicks,
    asymptotic_key_rate,
    event_table,
    pair_clicks,
    proven_key,
    sifted_counts,
)
from tiandi.protocols.concentration import exact_rate_bound, small_block_deviation
from tiandi.protocols.device_independent import CHSH_ANGLES_RAD, chsh_from_counts, error_rate
from tiandi.protocols.information import binary_entropy, plob_bound

SIGMAS = 5.0
SOURCE = PulsedPairSource(clock_hz=1e9, mean_pairs=0.05, visibility=0.97)
EPSILON = {"epsilon_secrecy": 1e-10, "epsilon_correctness": 1e-10}


def bit_probabilities(photons: NDArray[np.int64], efficiency: float, noise: float) -> NDArray[np.float64]:
    """Probability of bit 0 and of bit 1 for (detector 0, detector 1) photons in the last axis; double clicks are random."""
    first, second = np.moveaxis(1.0 - (1.0 - noise) * (1.0 - efficiency) ** photons, -1, 0)
    return np.stack([first * (1 - 0.5 * second), second * (1 - 0.5 * first)], axis=-1)


def fock_space_clicks(
    mean_pairs: float, efficiencies: tuple[float, float], noises: tuple[float, float], angles: tuple[float, float]
) -> Any:
    """Joint probabilities of both bits from the truncated state of two squeezed vacua, turned photon number by photon number."""
    squared = mean_pairs / 2 / (1 + mean_pairs / 2)
    joint = np.zeros((2, 2))
    for pairs in range(2 + int(32 / -math.log(squared))):
        second = np.arange(pairs + 1)
        hop = np.diag(np.sqrt((pairs - second[:-1]) * (second[:-1] + 1.0)), 1)
        turned = [linalg.expm(angle * (hop - hop.T)) for angle in angles]
        amplitudes = (1 - squared) * squared ** (pairs / 2) * turned[0] @ turned[1].T
        photons = np.stack([pairs - second, second], axis=-1)
        alice, bob = (bit_probabilities(photons, eta, noise) for eta, noise in zip(efficiencies, noises, strict=True))
        joint += alice.T @ amplitudes**2 @ bob
    return joint


@pytest.mark.parametrize("mean_pairs", [0.02, 0.3, 0.8])
@pytest.mark.parametrize("noises", [(0.0, 0.0), (0.01, 0.03)])
@pytest.mark.parametrize("angles", [(0.0, 0.0), (0.3, -0.2), (math.pi / 4, math.pi / 4)])
def test_gain_and_qber_are_those_of_squeezed_vacua_on_four_detectors(
    mean_pairs: float, noises: tuple[float, float], angles: tuple[float, float]
) -> None:
    efficiencies = (0.4, 0.15)
    expected = fock_space_clicks(mean_pairs, efficiencies, noises, angles)
    ours = pair_clicks(
        PulsedPairSource(clock_hz=1e9, mean_pairs=mean_pairs),
        *efficiencies,
        alice_noise_probability=noises[0],
        bob_noise_probability=noises[1],
        angle_rad=angles[0] - angles[1],
    )
    assert float(ours.gain) == pytest.approx(expected.sum(), rel=1e-9)
    assert float(ours.correlation) == pytest.approx(expected[0, 0] + expected[1, 1] - expected[0, 1] - expected[1, 0], rel=1e-9)
    assert float(ours.qber) == pytest.approx((expected[0, 1] + expected[1, 0]) / expected.sum(), rel=1e-8)


def test_pairs_of_a_poisson_source_meet_the_detectors_one_by_one() -> None:
    """Sum over the number of pairs and over where each of them goes."""
    mean, efficiencies, noise, angle = 0.4, (0.5, 0.2), 0.02, 0.25
    equal = 0.5 * math.cos(angle) ** 2
    joint = np.zeros((2, 2))
    for pairs in range(12):
        for first in range(pairs + 1):
            for second in range(pairs + 1):
                both = range(max(0, first + second - pairs), min(first, second) + 1)
                chance = sum(
                    stats.multinomial.pmf(
                        [k, first - k, second - k, pairs - first - second + k], pairs, [equal, 0.5 - equal, 0.5 - equal, equal]
                    )
                    for k in both
                )
                alice = bit_probabilities(np.array([first, pairs - first]), efficiencies[0], noise)
                bob = bit_probabilities(np.array([second, pairs - second]), efficiencies[1], noise)
                joint += stats.poisson.pmf(pairs, mean) * chance * np.outer(alice, bob)
    ours = pair_clicks(
        PulsedPairSource(clock_hz=1e9, mean_pairs=mean, statistics="poisson"),
        *efficiencies,
        alice_noise_probability=noise,
        bob_noise_probability=noise,
        angle_rad=angle,
    )
    assert float(ours.gain) == pytest.approx(joint.sum(), rel=1e-9)
    assert float(ours.qber) == pytest.approx((joint[0, 1] + joint[1, 0]) / joint.sum(), rel=1e-9)


@pytest.mark.parametrize("loss_db", [0, 40, 80, 120])
def test_no_digit_is_lost_in_loss(loss_db: int) -> None:
    """The plain formula in exact fractions: ours is right to 1e-12 where floating point leaves it eight digits at 40 dB."""
    half, eta = Fraction(1, 100), Fraction(1, 10 ** (1 + loss_db // 20))
    noise, error = Fraction(1, 10**9), Fraction(15, 1000)
    dark = (1 - noise) ** 2
    joint = 1 + 2 * half * eta - half * eta * eta
    gain = 1 - 2 * dark / (1 + half * eta) ** 2 + dark**2 / joint**2
    correlation = (1 - 2 * error) * dark * 2 * (1 / joint - 1 / (1 + half * eta) ** 2)
    ours = pair_clicks(
        PulsedPairSource(clock_hz=1e9, mean_pairs=0.02),
        float(eta),
        float(eta),
        alice_noise_probability=1e-9,
        bob_noise_probability=1e-9,
        misalignment=0.015,
    )
    assert float(ours.gain) == pytest.approx(float(gain), rel=1e-12)
    assert float(ours.qber) == pytest.approx(float((1 - correlation / gain) / 2), rel=1e-12)


@pytest.mark.parametrize("statistics", ["thermal", "poisson"])
@given(mean=st.floats(1e-4, 1.0), loss_db=st.floats(0.0, 60.0), noise=st.floats(0.0, 1e-3), step=st.floats(1.001, 3.0))
def test_qber_rises_with_pairs_and_with_noise(statistics: PairStatistics, mean: float, loss_db: float, noise: float, step: float) -> None:
    eta = 10 ** (-loss_db / 20)

    def qber(mean_pairs: float, noise_probability: float) -> float:
        source = replace(SOURCE, mean_pairs=mean_pairs, statistics=statistics)
        noises = {"alice_noise_probability": noise_probability, "bob_noise_probability": noise_probability}
        return float(pair_clicks(source, eta, eta, **noises).qber)

    assert qber(mean, noise * step) >= qber(mean, noise) - 1e-12
    assert qber(mean * step, 0.0) >= qber(mean, 0.0) - 1e-12
    assert 0.0 <= qber(mean, noise) <= 0.5


@pytest.mark.parametrize("statistics", ["thermal", "poisson"])
@given(mean=st.floats(1e-4, 1.0), first_db=st.floats(0.0, 40.0), second_db=st.floats(0.0, 40.0), more_db=st.floats(0.0, 20.0))
def test_key_falls_with_loss_and_stays_below_what_the_channel_can_carry(
    statistics: PairStatistics, mean: float, first_db: float, second_db: float, more_db: float
) -> None:
    source = PulsedPairSource(clock_hz=1e9, mean_pairs=mean, statistics=statistics)
    first, second = 10 ** (-np.array([first_db, first_db + more_db]) / 10), 10 ** (-second_db / 10)
    clicks = pair_clicks(source, first, second, alice_noise_probability=1e-7, bob_noise_probability=1e-7)
    key = asymptotic_key_rate(clicks.gain, clicks.qber, clicks.qber, sifting=1.0, error_correction_efficiency=1.0)
    assert key[1] <= key[0] * (1 + 1e-9)
    assert (key <= plob_bound(np.minimum(first * second, 1 - 1e-12))).all()


def test_ends_and_bases_may_trade_places() -> None:
    here = pair_clicks(SOURCE, 0.3, 0.01, alice_noise_probability=1e-6, bob_noise_probability=1e-4, angle_rad=0.3)
    there = pair_clicks(SOURCE, 0.01, 0.3, alice_noise_probability=1e-4, bob_noise_probability=1e-6, angle_rad=-0.3)
    assert float(here.gain) == pytest.approx(float(there.gain), rel=1e-14)
    assert float(here.correlation) == pytest.approx(float(there.correlation), rel=1e-14)
    sifted, errors, leak = np.array([3e4, 5e3]), np.array([300.0, 80.0]), np.array([4e3, 900.0])
    key = proven_key(sifted, errors, leak, **EPSILON)
    swapped = proven_key(sifted[::-1], errors[::-1], leak[::-1], **EPSILON)
    assert float(key.length_bit) == pytest.approx(float(swapped.length_bit), rel=1e-12)
    assert key.phase_error == pytest.approx(swapped.phase_error[::-1])


def bases_table(source: PulsedPairSource, eta_a: NDArray[np.float64], eta_b: NDArray[np.float64], share: float = 0.5) -> Any:
    clicks = pair_clicks(
        source,
        eta_a[:, None, None],
        eta_b[:, None, None],
        alice_noise_probability=1e-5,
        bob_noise_probability=3e-5,
        misalignment=0.01,
        angle_rad=np.subtract.outer(BASES_RAD, BASES_RAD),
    )
    return clicks, event_table(clicks, [share, 1 - share], [share, 1 - share])


@pytest.mark.parametrize("statistics", ["thermal", "poisson"])
def test_sampled_events_have_the_expected_counts(statistics: PairStatistics) -> None:
    source = replace(SOURCE, mean_pairs=0.2, statistics=statistics)
    clicks, table = bases_table(source, np.array([0.1, 0.02]), np.array([0.05, 0.1]), 0.8)
    pulses = np.array([20_000_000, 30_000_000])
    assert table.probabilities.sum(axis=(1, 2, 3, 4)) == pytest.approx(clicks.gain[:, 0, 0], rel=1e-12)
    expected = table.expected_counts(pulses)
    seen = table.sample(pulses, np.random.default_rng(9)).counts()
    assert (np.abs(seen - expected) < SIGMAS * np.sqrt(expected)).all()
    sifted, errors = sifted_counts(seen)
    assert sifted.tolist() == [seen[0, 0].sum(), seen[1, 1].sum()]
    assert errors.tolist() == [seen[0, 0, 0, 1] + seen[0, 0, 1, 0], seen[1, 1, 0, 1] + seen[1, 1, 1, 0]]


def test_the_bell_violation_of_a_sample_agrees_with_its_errors() -> None:
    """S against 2 sqrt(2) (1 - 2 E), both from counts, within five of the standard errors they come with."""
    generator = np.random.default_rng(21)
    angles = np.subtract.outer((*CHSH_ANGLES_RAD[0],), (*CHSH_ANGLES_RAD[1], 0.0))
    clicks = pair_clicks(SOURCE, np.full((1, 1, 1), 0.1), 0.1, alice_noise_probability=1e-5, bob_noise_probability=1e-5, angle_rad=angles)
    counts = event_table(clicks, [0.5, 0.5], [0.3, 0.3, 0.4]).sample(np.array([200_000_000]), generator).counts()
    value, deviation = chsh_from_counts(counts)
    rate, spread = error_rate(counts[0, 2])
    bound = 2 * math.sqrt(2)
    assert abs(value - bound * (1 - 2 * rate)) < SIGMAS * math.hypot(deviation, 2 * bound * spread)
    assert value - SIGMAS * deviation > 2.0


def test_no_light_and_no_noise_give_no_coincidence() -> None:
    clicks = pair_clicks(replace(SOURCE, mean_pairs=0.0), 0.1, 0.1)
    assert float(clicks.gain) == float(clicks.correlation) == 0.0
    assert float(clicks.qber) == 0.5
    dark = pair_clicks(SOURCE, 0.0, 1.0, alice_noise_probability=1e-3)
    assert float(dark.qber) == 0.5


@pytest.mark.parametrize(("tested", "kept"), [(300, 300), (1550, 1550), (200, 5000), (5000, 200), (20_000, 20_000)])
@pytest.mark.parametrize("failure", [1e-3, 1e-10, 1e-20])
def test_the_exact_bound_fails_no_more_often_than_it_says_and_hardly_less(tested: int, kept: int, failure: float) -> None:
    """Whatever the number of errors in the lot: SciPy's hypergeometric tail of the tests that would mislead."""
    seen = np.arange(tested + 1)
    bound = exact_rate_bound(seen, tested, kept, failure)
    worst = 0.0
    for errors in np.unique(np.geomspace(1, (tested + kept) // 3, 60).astype(int)):
        misled = seen[(errors - seen > bound * kept) & (seen <= errors)]
        if misled.size:
            worst = max(worst, float(stats.hypergeom.cdf(misled.max(), tested + kept, errors, tested)))
    assert 0.02 * failure < worst <= failure * (1 + 1e-6)


def test_the_small_block_bound_is_only_for_small_blocks() -> None:
    """Over two million events with 11 % of errors it fails 35 times as often as it says, by the exact tail."""
    events, failure, errors = 1_000_000, 1e-10 / 6, 216_301
    seen = np.arange(100_000, 110_001)
    bound = seen / events + small_block_deviation(seen / events, events, events, failure)
    misled = seen[errors - seen > bound * events].max()
    assert stats.hypergeom.cdf(misled, 2 * events, errors, events) > 30 * failure
    honest = exact_rate_bound(misled, events, events, failure)
    assert errors - misled <= honest * events


def honest_key(block: float, qber: float, bound: Any = "exact") -> float:
    sifted = np.array([0.5, 0.5]) * block
    leak = 1.16 * float(binary_entropy(qber)) * sifted
    return float(proven_key(sifted, qber * sifted, leak, bound=bound, **EPSILON).length_bit)


@pytest.mark.parametrize("bound", ["exact", "serfling", "small_block"])
def test_the_finite_key_grows_into_the_asymptotic_one(bound: Any) -> None:
    qber = 0.03
    asymptotic = float(asymptotic_key_rate(1.0, qber, qber, sifting=1.0, error_correction_efficiency=1.16))
    rates = [honest_key(block, qber, bound) / block for block in np.logspace(3, 13, 21)]
    assert rates[0] == 0.0
    assert (np.diff(rates) >= 0).all()
    assert rates[-1] < asymptotic
    assert rates[-1] == pytest.approx(asymptotic, rel=1e-4)


@settings(max_examples=40)
@given(block=st.floats(0.0, 1e8), qber=st.floats(0.0, 0.5))
def test_the_published_proof_never_promises_more_than_the_exact_tail(block: float, qber: float) -> None:
    exact, serfling = honest_key(block, qber), honest_key(block, qber, "serfling")
    assert 0.0 <= serfling <= exact + 1e-6
    assert exact <= block
    assert honest_key(block, min(qber * 1.1, 0.5)) <= exact + 1e-6


def test_efficient_bbm92_may_give_its_bases_unequal_shares() -> None:
    """A million coincidences in both bases: with 90 % of the choices in one, more are sifted and more is key."""
    even = bases_table(SOURCE, np.array([0.1]), np.array([0.1]))[1]
    biased = bases_table(SOURCE, np.array([0.1]), np.array([0.1]), 0.9)[1]
    lengths = []
    for table in (even, biased):
        sifted, errors = sifted_counts(table.expected_counts(np.array([3_000_000_000])))
        leak = 1.16 * sifted * binary_entropy(errors / sifted)
        lengths.append(float(proven_key(sifted, errors, leak, **EPSILON).length_bit))
    assert lengths[1] > 1.4 * lengths[0] > 0.0


@pytest.mark.parametrize("bound", ["exact", "serfling", "small_block"])
@pytest.mark.parametrize(
    ("sifted", "errors"),
    [
        ([0, 0], [0, 0]),
        ([0, 5000], [0, 0]),
        ([10, 10], [0, 1]),
        ([1000, 1000], [2000, 10]),
        ([1000, 1000], [600, 600]),
        ([1, 1e15], [0, 0]),
    ],
)
def test_counts_that_say_nothing_give_no_key(sifted: list[float], errors: list[float], bound: Any) -> None:
    key = proven_key(sifted, errors, [0, 0], bound=bound, **EPSILON)
    assert float(key.length_bit) == 0.0
    assert np.isfinite(key.phase_error).all()


def test_many_links_are_one_call() -> None:
    sifted, errors = np.full((4, 3, 2), 1e5), np.full((4, 3, 2), 1e3)
    key = proven_key(sifted, errors, 1e4, **EPSILON)
    assert key.length_bit.shape == (4, 3)
    assert key.phase_error.shape == (4, 3, 2)
    assert (key.length_bit > 1e5).all()


@pytest.mark.parametrize(
    ("call", "field"),
    [
        (lambda: pair_clicks(SOURCE, 1.1, 0.1), "alice_efficiency"),
        (lambda: pair_clicks(SOURCE, 0.1, [0.1, -0.1]), "bob_efficiency"),
        (lambda: pair_clicks(SOURCE, 0.1, 0.1, bob_noise_probability=0.9), "bob_noise_probability"),
        (lambda: pair_clicks(SOURCE, 0.1, 0.1, misalignment=0.6), "misalignment"),
        (lambda: event_table(PairClicks(np.zeros((1, 2, 2)), np.zeros((1, 2, 2))), [0.5, 0.4], [0.5, 0.5]), "alice_probabilities"),
        (lambda: event_table(PairClicks(np.zeros((1, 9, 9)), np.zeros((1, 9, 9))), [1 / 9] * 9, [1 / 9] * 9), "probabilities"),
        (lambda: asymptotic_key_rate(1.0, math.nan, 0.1, sifting=0.5, error_correction_efficiency=1.1), "bit_error"),
        (lambda: asymptotic_key_rate(1.0, 0.1, 0.1, sifting=0.5, error_correction_efficiency=0.9), "error_correction_efficiency"),
        (lambda: exact_rate_bound(1, 10, 10, 0.0), "failure"),
        (lambda: proven_key([1, 1], [0, -1], [0, 0], **EPSILON), "errors"),
        (lambda: proven_key([1, 1], [0, 0], [0, 0], epsilon_secrecy=0.0, epsilon_correctness=1e-9), "epsilon_secrecy"),
        (lambda: proven_key([1, 1], [0, 0], [0, 0], bound="best", **EPSILON), "bound"),  # type: ignore[arg-type]
    ],
)
def test_bad_figures_are_named(call: Any, field: str) -> None:
    with pytest.raises(InputError) as caught:
        call()
    assert caught.value.field == field
