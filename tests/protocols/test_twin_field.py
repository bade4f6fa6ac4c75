"""The station in the middle against other ways to compute it; Curty, Azuma, Lo: bounds on the safe side, and what any such key must do.

Statistical tests allow five standard deviations (one false alarm in 1.7 million comparisons) and are seeded.
"""

import math
from functools import cache
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.integrate import quad
from scipy.linalg import expm
from scipy.stats import poisson

from tiandi.errors import InputError
from tiandi.protocols.information import binary_entropy, plob_bound
from tiandi.protocols.twin_field import (
    HIGHEST_PHOTON_NUMBER,
    CentralStation,
    Pulse,
    TwinFieldRate,
    TwinFieldSource,
    asymptotic_key_rate,
    event_table,
    fock_yields,
    known_phase_clicks,
    phase_mismatch_rad,
    random_phase_gain,
    unknown_amplitude,
)
from tiandi.protocols.twin_field_finite_key import TwinFieldKey, dependent_count, dependent_mean, highest_yields, twin_field_proven_key

SIGMAS = 5.0
STATION = CentralStation(1e-8, phase_mismatch_rad=math.acos(0.96))
SOURCE = TwinFieldSource(0.02, (0.5, 0.12), 0.85, (0.12, 0.32, 0.56))


def binomial(k: int, n: int, p: float) -> float:
    return math.comb(n, k) * p**k * (1.0 - p) ** (n - k)


@cache
def port_distribution(photons_a: int, photons_b: int) -> NDArray[np.float64]:
    """Probability of k photons at port 0 behind a balanced beam splitter fed with Fock states, shape (photons_a + photons_b + 1,)."""
    total = photons_a + photons_b
    hop = np.diag(np.sqrt(np.arange(1.0, total + 1) * np.arange(total, 0.0, -1)), 1)  # a^dagger b between |k, total - k>.
    splitter = expm(0.25 * np.pi * (hop - hop.T))
    return np.abs(splitter[:, photons_a]) ** 2


def yield_by_fock_algebra(sent: tuple[int, int], arms: tuple[float, float], overlap: float, noise: float) -> float:
    """Probability that exactly one detector clicks: photons lost one by one, a share of Bob's in a mode that does not interfere."""
    result = 0.0
    for a, b in product(range(sent[0] + 1), range(sent[1] + 1)):
        arrive = binomial(a, sent[0], arms[0]) * binomial(b, sent[1], arms[1])
        for stray in range(b + 1):
            share = arrive * binomial(stray, b, 1.0 - overlap**2)
            for (k, p), j in product(enumerate(port_distribution(a, b - stray)), range(stray + 1)):
                at_0 = k + j
                at_1 = a + b - at_0
                dark_0, dark_1 = (1.0 - noise) * (at_0 == 0), (1.0 - noise) * (at_1 == 0)
                result += share * p * binomial(j, stray, 0.5) * (dark_0 * (1.0 - dark_1) + dark_1 * (1.0 - dark_0))
    return result


@pytest.mark.parametrize("arms", [(0.3, 0.3), (0.9, 0.2), (1.0, 1.0)])
@pytest.mark.parametrize("polarisation_mismatch_rad", [0.0, 0.6, math.pi / 2])
def test_yields_are_those_of_fock_space(arms: tuple[float, float], polarisation_mismatch_rad: float) -> None:
    station = CentralStation(1e-3, polarisation_mismatch_rad=polarisation_mismatch_rad)
    ours = fock_yields(*arms, station, 4)
    theirs = [[yield_by_fock_algebra((n, m), arms, station.overlap, 1e-3) for m in range(5)] for n in range(5)]
    assert ours == pytest.approx(np.array(theirs), rel=1e-10, abs=1e-15)


def test_two_photons_bunch() -> None:
    """Hong, Ou, Mandel: one photon from each side, no loss, no noise, leave by one port together and always make one click."""
    assert fock_yields(1.0, 1.0, CentralStation(0.0), 1)[1, 1] == pytest.approx(1.0)
    assert fock_yields(1.0, 1.0, CentralStation(0.0, polarisation_mismatch_rad=math.pi / 2), 1)[1, 1] == pytest.approx(0.5)


@pytest.mark.parametrize("photons", [(0.4, 0.4), (1.3, 0.2), (0.0, 0.7), (4.0, 4.0)])
def test_gain_at_random_phase_is_the_integral_over_the_phase(photons: tuple[float, float]) -> None:
    station = CentralStation(1e-3, polarisation_mismatch_rad=0.4)

    def one_click(phase: float) -> float:
        crossed = 2.0 * math.cos(0.4) * math.sqrt(photons[0] * photons[1]) * math.cos(phase)
        dark = [(1.0 - 1e-3) * math.exp(-0.5 * (sum(photons) + sign * crossed)) for sign in (1, -1)]
        return (1.0 - dark[0]) * dark[1] + (1.0 - dark[1]) * dark[0]

    integral = quad(one_click, 0.0, math.pi, epsabs=1e-13)[0] / math.pi
    assert float(random_phase_gain(*photons, station)) == pytest.approx(integral, rel=1e-11)


def test_gain_at_random_phase_is_the_poisson_mixture_of_yields() -> None:
    station, arms, photons = CentralStation(1e-6, polarisation_mismatch_rad=0.3), (0.2, 0.05), (0.5, 0.3)
    n = np.arange(25)
    mixture = poisson.pmf(n, photons[0]) @ fock_yields(*arms, station, 24) @ poisson.pmf(n, photons[1])
    assert float(random_phase_gain(arms[0] * photons[0], arms[1] * photons[1], station)) == pytest.approx(mixture, rel=1e-12)


@pytest.mark.parametrize("light", [1e-6, 1e-9, 1e-13])
def test_faint_light_loses_no_digits(light: float) -> None:
    """To second order one click has probability s - 3/4 s^2 + x^2 / 2 + 2 p, with s the sum and x the geometric mean of the light."""
    noise = 1e-3 * light
    expected = 2 * light - 0.75 * (2 * light) ** 2 + 0.5 * light**2 + 2 * noise
    assert float(random_phase_gain(light, light, CentralStation(noise))) == pytest.approx(expected, rel=4e-8 if light == 1e-6 else 1e-9)
    assert float(fock_yields(light, light, CentralStation(noise), 1)[1, 0]) == pytest.approx(light + 2 * noise, rel=1e-8 + 3 * light)


def test_clicks_at_known_phase_are_those_of_photons_followed_one_by_one() -> None:
    station, pulses, generator = CentralStation(0.02, 0.3, 0.2), 400_000, np.random.default_rng(3)
    a, b, cosine = 0.6, 0.2, 0.8
    # The share of the light at the bright port: each photon of the total intensity goes there or to the other one independently.
    bright = 0.5 + math.cos(0.3) * math.cos(0.2) * math.sqrt(a * b) * cosine / (a + b)
    photons = generator.poisson(a + b, pulses)
    at_bright = generator.binomial(photons, bright)
    clicks = np.stack([at_bright > 0, photons - at_bright > 0]) | (generator.random((2, pulses)) < 0.02)
    seen = np.array([(clicks[0] & ~clicks[1]).mean(), (clicks[1] & ~clicks[0]).mean()])
    expected = np.array(known_phase_clicks(a, b, station, cosine))
    assert (np.abs(seen - expected) < SIGMAS * np.sqrt(expected * (1 - expected) / pulses)).all()


def phase_errors_of_cat_states(arms: tuple[float, float], amplitude: float, station: CentralStation) -> float:
    """Exact probability of one click of two even, or two odd, superpositions of coherent states of phase 0 and pi.

    A silent port has the operator :exp(-N):, whose elements between coherent states u and v are <u|v> exp(-u* M v).
    """
    signs = np.array([1.0, -1.0])
    states = amplitude * np.array(list(product(signs, signs)))
    cross = 0.5 * station.overlap * math.sqrt(arms[0] * arms[1])
    port = {sign: np.array([[0.5 * arms[0], sign * cross], [sign * cross, 0.5 * arms[1]]]) for sign in (1, -1)}
    overlaps = np.exp(states @ states.T - 0.5 * (states**2).sum(1)[:, None] - 0.5 * (states**2).sum(1))
    silent = {name: overlaps * np.exp(-(states @ m @ states.T)) for name, m in (*port.items(), (0, port[1] + port[-1]))}
    awake = 1.0 - station.dark_count_probability
    one_click = awake * (silent[1] + silent[-1]) - 2.0 * awake**2 * silent[0]
    even, odd = np.full(4, 0.25), 0.25 * states.prod(axis=1) / amplitude**2
    return float(even @ one_click @ even + odd @ one_click @ odd)


@pytest.mark.parametrize("arms", [(0.1, 0.1), (0.03, 0.2)])
@pytest.mark.parametrize("key_mean_photon_number", [0.01, 0.1, 0.4])
def test_the_phase_error_is_never_below_the_true_one(arms: tuple[float, float], key_mean_photon_number: float) -> None:
    station = CentralStation(1e-4, 0.2, 0.1)
    true = phase_errors_of_cat_states(arms, math.sqrt(key_mean_photon_number), station)
    ours = asymptotic_key_rate(*arms, station, key_mean_photon_number=key_mean_photon_number, error_correction_efficiency=1.0)
    assert float(ours.phase_error) >= min(0.5, true / float(ours.gain))


def test_what_is_left_out_is_summed_in_full() -> None:
    sequence, bound = 0.7 ** np.arange(201.0), HIGHEST_PHOTON_NUMBER
    by_pair = [0.0, 0.0]
    for n, m in product(range(201), repeat=2):
        if (n - m) % 2 == 0 and max(n, m) > bound:
            by_pair[n % 2] += sequence[n] * sequence[m]
    assert unknown_amplitude(sequence) == pytest.approx(np.array(by_pair), rel=1e-12)


def rate(loss_db: Any = 60.0, station: CentralStation = STATION, photons: Any = 0.03) -> TwinFieldRate:
    arm = 10.0 ** (-np.asarray(loss_db) / 20.0)
    return asymptotic_key_rate(arm, arm, station, key_mean_photon_number=photons, error_correction_efficiency=1.16)


def test_the_rate_goes_with_the_root_of_the_transmittance_and_passes_the_plob_bound() -> None:
    quiet = CentralStation(0.0, STATION.phase_mismatch_rad)
    rates = rate(np.array([40.0, 60.0, 80.0, 100.0]), quiet).bit_per_pulse
    assert rates[:-1] / rates[1:] == pytest.approx(10.0, rel=0.1)
    assert float(rate(60.0).bit_per_pulse) > 10 * float(plob_bound(1e-6))
    assert float(rate(20.0).bit_per_pulse) < float(plob_bound(1e-2))


def test_without_interference_there_is_no_key() -> None:
    assert float(rate(60.0, CentralStation(1e-8, phase_mismatch_rad=math.pi / 2)).bit_per_pulse) == 0.0
    assert float(rate(60.0, CentralStation(1e-8, polarisation_mismatch_rad=math.pi / 2)).bit_per_pulse) == 0.0


@given(st.floats(1e-12, 1e-4), st.floats(1e-12, 1e-4), st.floats(0.0, 0.4), st.floats(0.0, 0.4))
def test_noise_and_misalignment_never_help(noise_1: float, noise_2: float, wrong_1: float, wrong_2: float) -> None:
    (quiet, loud), (sharp, dull) = sorted((noise_1, noise_2)), sorted((wrong_1, wrong_2))
    best = rate(50.0, CentralStation(quiet, phase_mismatch_rad(sharp))).bit_per_pulse
    assert rate(50.0, CentralStation(loud, phase_mismatch_rad(sharp))).bit_per_pulse <= best * (1 + 1e-9)
    assert rate(50.0, CentralStation(quiet, phase_mismatch_rad(dull))).bit_per_pulse <= best * (1 + 1e-9)


def test_noise_as_strong_as_light_leaves_nothing() -> None:
    assert float(rate(80.0, CentralStation(1e-4, STATION.phase_mismatch_rad)).bit_per_pulse) == 0.0
    dark = asymptotic_key_rate(0.0, 0.0, CentralStation(0.0), key_mean_photon_number=0.1, error_correction_efficiency=1.1)
    assert float(dark.bit_per_pulse) == 0.0


def test_the_arms_may_be_swapped() -> None:
    arms = ((0.01, 0.02), (0.02, 0.01))
    one, other = (asymptotic_key_rate(*both, STATION, key_mean_photon_number=0.03, error_correction_efficiency=1.16) for both in arms)
    assert float(one.bit_per_pulse) == pytest.approx(float(other.bit_per_pulse), rel=1e-12)
    tables = [event_table(STATION, SOURCE, *both).probabilities for both in arms]
    assert tables[0] == pytest.approx(tables[1].swapaxes(1, 2), rel=1e-12)


def test_many_links_and_intensities_at_once_equal_each_alone() -> None:
    losses, photons = np.array([[30.0], [60.0], [90.0]]), np.array([0.01, 0.03])
    together = rate(losses, photons=photons).phase_error
    alone = [[float(rate(float(loss), photons=float(mu)).phase_error) for mu in photons] for loss in losses[:, 0]]
    assert together == pytest.approx(np.array(alone), rel=1e-12)


def test_samples_have_the_expected_counts() -> None:
    arms, pulses = np.array([0.05, 0.01]), np.array([20_000_000, 60_000_000])
    table = event_table(CentralStation(1e-4, 0.4), SOURCE, arms, arms[::-1], dead_pulses=3)
    expected = table.expected_counts(pulses)
    assert expected.shape == (4, 4, 2)
    assert expected.size <= 256
    seen = table.sample(pulses, np.random.default_rng(2)).counts()
    # Dead time correlates neighbours and only lowers the variance.
    assert (np.abs(seen - expected) <= SIGMAS * np.sqrt(expected) + 1).all()


def key(counts: Any, pulses: Any, bound: Any = "chernoff", source: TwinFieldSource = SOURCE, epsilon: float = 1e-10) -> TwinFieldKey:
    counts = np.asarray(counts, float)
    bits, errors = counts[..., 0, 0, :].sum(axis=-1), counts[..., 0, 0, 1]
    leaked_bit = 1.16 * bits * binary_entropy(np.where(bits > 0, errors / np.maximum(bits, 1), 0.0))
    return twin_field_proven_key(
        counts, source=source, pulses=pulses, leaked_bit=leaked_bit, epsilon_secrecy=epsilon, epsilon_correctness=1e-10, bound=bound
    )


def expected_counts(pulses: float, arm: float = 1e-3, station: CentralStation = STATION, source: TwinFieldSource = SOURCE) -> Any:
    return pulses * event_table(station, source, arm, arm).probabilities[0]


@given(
    st.tuples(st.floats(0.01, 0.9), st.floats(0.01, 0.9)),
    st.floats(0.1, 1.5),
    st.floats(0.05, 0.9),
    st.floats(0.0, 1.5),
    st.floats(1e-9, 1e-2),
)
def test_decoy_bounds_on_yields_are_never_below_the_true_ones(
    arms: tuple[float, float], strong: float, share: float, polarisation_mismatch_rad: float, noise: float
) -> None:
    station = CentralStation(noise, polarisation_mismatch_rad=polarisation_mismatch_rad)
    source = TwinFieldSource(0.04, (strong, share * strong), 0.5, (0.3, 0.3, 0.4))
    mu = source.mean_photon_numbers[1:]
    gains = random_phase_gain(arms[0] * mu[:, None], arms[1] * mu, station)
    yields, tail = highest_yields(gains, gains, source)
    assert (yields >= fock_yields(*arms, station, HIGHEST_PHOTON_NUMBER) * (1 - 1e-9) - 1e-13).all()
    assert (tail >= 0.0).all()


def test_three_decoys_come_near_infinitely_many() -> None:
    counts = expected_counts(1e15)
    three = float(key(counts, 1e15, "asymptotic").phase_error)
    every = float(rate(60.0, photons=SOURCE.key_mean_photon_number).phase_error)
    assert every < three < 1.5 * every


@pytest.mark.parametrize("pulses", [1e9, 1e11, 1e13])
def test_the_finite_key_is_shorter_than_the_asymptotic_one_and_tends_to_it(pulses: float) -> None:
    finite, more = (float(key(expected_counts(n), n).length_bit) / n for n in (pulses, 100 * pulses))
    limit = float(key(expected_counts(1e22), 1e22, "asymptotic").length_bit) / 1e22
    assert finite < more < limit
    assert float(key(expected_counts(1e20), 1e20).length_bit) / 1e20 == pytest.approx(limit, rel=0.01)


def test_a_finite_key_passes_the_plob_bound() -> None:
    assert float(key(expected_counts(1e12), 1e12).length_bit) / 1e12 > float(plob_bound(1e-6))


@pytest.mark.parametrize("amount", [0, 1, 7])
def test_tiny_or_senseless_counts_give_no_key(amount: int) -> None:
    assert float(key(np.full((4, 4, 2), amount), 1e6).length_bit) == 0.0
    only_key = np.zeros((4, 4, 2))
    only_key[Pulse.KEY, Pulse.KEY, 0] = amount
    assert float(key(only_key, 1.0).length_bit) == 0.0


def test_keys_of_many_links_equal_each_alone() -> None:
    pulses = np.array([[1e11, 1e12], [1e13, 1e14]])
    counts = pulses[..., None, None, None] * expected_counts(1.0)
    together = key(counts, pulses).length_bit
    alone = [[float(key(counts[i, j], pulses[i, j]).length_bit) for j in (0, 1)] for i in (0, 1)]
    assert together == pytest.approx(np.array(alone), rel=1e-12)


def test_bounds_on_dependent_events_fail_no_more_often_than_they_may() -> None:
    """Chances that follow the past as badly as they can: high until a quota of events is reached, then low, and the other way round.

    4,000 runs of 600 rounds; five standard deviations are allowed above the failure.
    """
    runs, rounds, failure, generator = 4_000, 600, 0.05, np.random.default_rng(8)
    allowed = runs * failure + SIGMAS * math.sqrt(runs * failure)
    for first, then in ((0.1, 0.001), (0.01, 0.3)):
        count, chances = np.zeros(runs), np.zeros(runs)
        for _ in range(rounds):
            chance = np.where(count < 8, first, then)
            chances += chance
            count += generator.random(runs) < chance
        low, high = dependent_mean(count, failure)
        assert (low > chances).sum() < allowed
        assert (high < chances).sum() < allowed
        assert (dependent_count(chances, failure) < count).sum() < allowed
        assert (high - low < count + 60).all()  # They say something.


def test_sampled_runs_fail_no_more_often_than_claimed() -> None:
    """Phase errors drawn with their true probability, against the bound from sampled counts, at an epsilon of 0.5: 3,000 runs."""
    pulses, arm, runs, generator = 10**10, 1e-3, 3_000, np.random.default_rng(21)
    table = event_table(STATION, SOURCE, arm, arm).probabilities[0].ravel()
    counts = generator.multinomial(pulses, np.append(table, 1.0 - table.sum()), size=runs)[:, :-1].reshape(runs, 4, 4, 2)
    proven = key(counts, np.full(runs, float(pulses)), epsilon=0.5)
    bits = counts[:, Pulse.KEY, Pulse.KEY].sum(axis=-1)
    true = phase_errors_of_cat_states((arm, arm), math.sqrt(SOURCE.key_mean_photon_number), STATION)
    gain = float(rate(60.0, photons=SOURCE.key_mean_photon_number).gain)
    errors = generator.binomial(bits, true / gain)
    assert (errors > proven.phase_error * bits).mean() <= 0.5**2 / 16
    assert (proven.phase_error < 0.4).all()


@pytest.mark.parametrize(
    ("call", "field"),
    [
        (lambda: CentralStation(-1e-9), "dark_count_probability"),
        (lambda: CentralStation(0.0, phase_mismatch_rad=2.0), "phase_mismatch_rad"),
        (lambda: phase_mismatch_rad(0.6), "misalignment"),
        (lambda: TwinFieldSource(0.3, (0.5, 0.1), 0.5, (0.3, 0.3, 0.4)), "key_mean_photon_number"),
        (lambda: TwinFieldSource(0.03, (0.5, 0.6), 0.5, (0.3, 0.3, 0.4)), "decoy_mean_photon_numbers[weak]"),
        (lambda: TwinFieldSource(0.03, (0.5, 0.1), 0.5, (0.3, 0.3, 0.3)), "decoy_probabilities"),
        (lambda: fock_yields(1.5, 0.1, STATION, 3), "alice_transmittance"),
        (lambda: event_table(STATION, SOURCE, 0.1, -0.1), "bob_transmittance"),
        (lambda: random_phase_gain(5.0, 0.1, STATION), "alice_photons"),
        (lambda: rate(photons=-0.1), "key_mean_photon_number"),
        (lambda: key(np.zeros((3, 4, 2)), 1e6), "counts"),
        (lambda: key(np.full((4, 4, 2), -1), 1e6), "counts"),
        (lambda: key(np.zeros((4, 4, 2)), 0), "pulses"),
        (lambda: key(np.zeros((4, 4, 2)), 1e6, "hoeffding"), "bound"),
        (lambda: key(np.zeros((4, 4, 2)), 1e6, epsilon=0.0), "epsilon_secrecy"),
    ],
)
def test_bad_input_is_refused_by_name(call: Any, field: str) -> None:
    with pytest.raises(InputError) as refused:
        call()
    assert refused.value.field == field
