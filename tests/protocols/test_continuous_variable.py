"""GG02 against Gaussian states worked out mode by mode, against limits known in closed form, and against its own samples.

Statistical tests allow five standard deviations or p > 1e-6: about one false alarm in a million. Their seeds are fixed.
"""

from dataclasses import replace
from typing import Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import optimize, stats

from tiandi.errors import InputError
from tiandi.protocols import continuous_variable
from tiandi.protocols.continuous_variable import (
    GaussianProtocol,
    Moments,
    asymptotic_key_rate,
    estimate_channel,
    expected_moments,
    holevo_information,
    moments_of,
    mutual_information,
    proven_key,
    sample_moments,
    sample_quadratures,
)
from tiandi.protocols.information import plob_bound

SIGMAS = 5.0
FALSE_ALARM = 1e-6
USUAL = GaussianProtocol(
    modulation_variance=4.0, excess_noise=0.01, detector_efficiency=0.6, electronic_noise=0.1, reconciliation_efficiency=0.95
)
IDEAL = GaussianProtocol(
    modulation_variance=4.0, excess_noise=0.0, detector_efficiency=1.0, electronic_noise=0.0, reconciliation_efficiency=1.0
)
DETECTIONS: list[Literal["homodyne", "heterodyne"]] = ["homodyne", "heterodyne"]

Matrix = NDArray[np.float64]


def entropy(covariance: Matrix) -> float:
    """Entropy [bit] of a Gaussian state, quadratures in the order x1, p1, x2, p2: from the eigenvalues of |i Omega gamma|."""
    omega = np.kron(np.eye(covariance.shape[0] // 2), [[0.0, 1.0], [-1.0, 0.0]])
    values = np.sort(np.abs(np.linalg.eigvals(1j * omega @ covariance)))[::2]
    photons = np.maximum((values - 1.0) / 2.0, 1e-16)
    return float(np.sum((photons + 1) * np.log2(photons + 1) - photons * np.log2(photons)))


def pairs_of_twins(*variances: float) -> Matrix:
    """Covariance of two-mode squeezed vacua, one after the other."""
    state = np.zeros((4 * len(variances), 4 * len(variances)))
    for number, variance in enumerate(variances):
        correlation = np.sqrt(variance**2 - 1.0) * np.diag([1.0, -1.0])
        state[4 * number : 4 * number + 4, 4 * number : 4 * number + 4] = np.block(
            [[variance * np.eye(2), correlation], [correlation, variance * np.eye(2)]]
        )
    return state


def split(state: Matrix, one: int, other: int, transmittance: float) -> Matrix:
    """The state after modes ``one`` and ``other`` met at a beam splitter."""
    straight, across = np.sqrt(transmittance) * np.eye(2), np.sqrt(1.0 - transmittance) * np.eye(2)
    splitter = np.eye(state.shape[0])
    i, j = slice(2 * one, 2 * one + 2), slice(2 * other, 2 * other + 2)
    splitter[i, i], splitter[i, j], splitter[j, i], splitter[j, j] = straight, across, -across, straight
    return splitter @ state @ splitter.T


def modes(state: Matrix, *wanted: int) -> Matrix:
    rows = np.concatenate([[2 * mode, 2 * mode + 1] for mode in wanted])
    return state[np.ix_(rows, rows)]


def conditional(state: Matrix, wanted: tuple[int, ...], measured: int, detection: str) -> Matrix:
    """Covariance of the modes ``wanted`` once ``measured`` has been read by homodyne (x) or ideal heterodyne detection."""
    both = modes(state, *wanted, measured)
    rest, cross, seen = both[:-2, :-2], both[:-2, -2:], both[-2:, -2:]
    inverse = np.diag([1.0 / seen[0, 0], 0.0]) if detection == "homodyne" else np.linalg.inv(seen + np.eye(2))
    return rest - cross @ inverse @ cross.T


def holevo_by_modes(protocol: GaussianProtocol, transmittance: float) -> tuple[float, float]:
    """Eve's information twice: from the trusted modes A, F, G that purify her, and from her own two modes of an entangling cloner.

    Modes: A 0, B 1, Eve's 2 and 3, the detector's F 4 and G 5. Electronic noise is that of a squeezed vacuum of which F enters the
    detector's beam splitter; heterodyne detection reads half of it.
    """
    lost = 1.0 - transmittance
    cloner = 1.0 + transmittance * protocol.excess_noise / lost
    detector = 1.0 + protocol.quadratures * protocol.electronic_noise / (1.0 - protocol.detector_efficiency)
    state = pairs_of_twins(protocol.modulation_variance + 1.0, cloner, detector)
    state = split(state, 1, 2, transmittance)
    before = entropy(modes(state, 0, 1)), entropy(modes(state, 2, 3))
    state = split(state, 1, 4, protocol.detector_efficiency)
    after = (
        entropy(conditional(state, (0, 4, 5), 1, protocol.detection)),
        entropy(conditional(state, (2, 3), 1, protocol.detection)),
    )
    return before[0] - after[0], before[1] - after[1]


@pytest.mark.parametrize("detection", DETECTIONS)
@pytest.mark.parametrize("transmittance", [0.9, 0.5, 0.1, 0.01])
@pytest.mark.parametrize("figures", [(4, 0.01, 0.6, 0.1), (20, 0.1, 0.9, 0.01), (1, 1.0, 0.3, 1.0)])
def test_eves_information_is_that_of_the_modes_she_holds(
    detection: Literal["homodyne", "heterodyne"], transmittance: float, figures: tuple[float, float, float, float]
) -> None:
    protocol = GaussianProtocol(*figures, 0.95, detection)
    ours = float(holevo_information(protocol, transmittance))
    for theirs in holevo_by_modes(protocol, transmittance):
        assert ours == pytest.approx(theirs, abs=1e-7)  # The eigenvalues of the twelve quadratures are no better.


@pytest.mark.parametrize("detection", DETECTIONS)
def test_an_untrusted_detector_is_part_of_the_channel(detection: Literal["homodyne", "heterodyne"]) -> None:
    untrusted = replace(USUAL, electronic_noise=0.02, detection=detection, trusted_detector=False)
    transmittance = 0.7 * untrusted.detector_efficiency
    noise = untrusted.excess_noise + untrusted.quadratures * untrusted.electronic_noise / transmittance
    channel = GaussianProtocol(4.0, noise, 1.0 - 1e-12, 0.0, 0.95, detection)
    assert float(holevo_information(untrusted, 0.7)) == pytest.approx(holevo_by_modes(channel, transmittance)[1], abs=1e-7)
    assert float(mutual_information(untrusted, 0.7)) == pytest.approx(float(mutual_information(channel, transmittance)), rel=1e-9)
    light = np.linspace(0.01, 1, 9)
    assert (holevo_information(untrusted, light) > holevo_information(replace(untrusted, trusted_detector=True), light)).all()


@pytest.mark.parametrize("transmittance", [0.9, 0.5, 0.1, 1e-3])
def test_strong_modulation_over_pure_loss_reaches_the_known_limits(transmittance: float) -> None:
    """Homodyne: half of the bound of Pirandola et al. Heterodyne: the limit of the same entropies, taken by hand."""
    strong = replace(IDEAL, modulation_variance=1e4)
    lost = 1.0 - transmittance
    ratio = lost / transmittance
    after = (ratio + 1) * np.log2(ratio + 1) - ratio * np.log2(ratio)
    heterodyne = after - np.log2(np.e * ratio)
    allowed = 1e-3 / transmittance * 0.02 + 1e-3
    assert float(asymptotic_key_rate(strong, transmittance)) == pytest.approx(-0.5 * np.log2(lost), rel=allowed)
    assert float(asymptotic_key_rate(replace(strong, detection="heterodyne"), transmittance)) == pytest.approx(heterodyne, rel=10 * allowed)


@pytest.mark.parametrize("detection", DETECTIONS)
def test_without_loss_and_noise_eve_knows_nothing_and_without_light_nobody_does(detection: Literal["homodyne", "heterodyne"]) -> None:
    protocol = replace(IDEAL, detection=detection)
    assert float(holevo_information(protocol, 1.0)) == 0.0
    assert float(asymptotic_key_rate(protocol, 1.0)) == pytest.approx(0.5 * np.log2(5.0) if detection == "homodyne" else np.log2(3.0))
    assert float(mutual_information(protocol, 0.0)) == float(holevo_information(protocol, 0.0)) == 0.0


@pytest.mark.parametrize("beta", [0.9, 0.95, 0.98])
def test_the_best_modulation_over_long_fibre_is_that_of_the_expansion_in_the_transmittance(beta: float) -> None:
    """To first order in T, without noise: key / T = beta V / (2 ln 2) - V^2 / 4 log2(1 + 2 / V), by hand from the entropies."""
    variances, transmittance = np.linspace(0.5, 12.0, 4000), 1e-5
    keys = np.array(
        [
            float(asymptotic_key_rate(replace(IDEAL, modulation_variance=v, reconciliation_efficiency=beta), transmittance))
            for v in variances
        ]
    )
    first_order = beta * variances / (2 * np.log(2)) - variances**2 / 4 * np.log2(1 + 2 / variances)
    assert keys / transmittance == pytest.approx(np.maximum(first_order, 0.0), abs=1e-3)
    best = optimize.brentq(lambda v: beta - v * np.log(1 + 2 / v) + v / (v + 2), 0.5, 12.0)
    assert variances[keys.argmax()] == pytest.approx(best, abs=0.02)


protocols = st.builds(
    GaussianProtocol,
    modulation_variance=st.floats(0.1, 100.0),
    excess_noise=st.floats(0.0, 0.3),
    detector_efficiency=st.floats(0.05, 1.0),
    electronic_noise=st.floats(0.0, 1.0),
    reconciliation_efficiency=st.floats(0.5, 1.0),
    detection=st.sampled_from(DETECTIONS),
    trusted_detector=st.booleans(),
)


@given(protocols, st.floats(1e-6, 0.999999))
def test_no_key_is_above_what_the_channel_can_carry(protocol: GaussianProtocol, transmittance: float) -> None:
    key = float(asymptotic_key_rate(replace(protocol, reconciliation_efficiency=1.0), transmittance))
    assert 0.0 <= key <= float(plob_bound(transmittance)) + 1e-10


@given(protocols, st.floats(1e-6, 1.0), st.floats(1e-4, 1.0))
def test_noise_never_helps_eves_victims(protocol: GaussianProtocol, transmittance: float, more: float) -> None:
    noisier = replace(protocol, excess_noise=protocol.excess_noise + more)
    assert float(holevo_information(noisier, transmittance)) >= float(holevo_information(protocol, transmittance)) - 1e-10
    assert float(asymptotic_key_rate(noisier, transmittance)) <= float(asymptotic_key_rate(protocol, transmittance)) + 1e-10


@given(protocols, st.floats(1e-6, 1.0), st.floats(0.01, 0.99))
def test_loss_never_helps(protocol: GaussianProtocol, transmittance: float, share: float) -> None:
    assert float(asymptotic_key_rate(protocol, share * transmittance)) <= float(asymptotic_key_rate(protocol, transmittance)) + 1e-10


def test_rates_of_many_links_are_those_of_each() -> None:
    transmittances = np.logspace(-4, 0, 12).reshape(3, 4)
    together = asymptotic_key_rate(USUAL, transmittances)
    assert together.shape == (3, 4)
    assert together == pytest.approx(np.array([[float(asymptotic_key_rate(USUAL, t)) for t in row] for row in transmittances]), abs=0)


@pytest.mark.parametrize("detection", DETECTIONS)
def test_samples_have_the_expected_moments(detection: Literal["homodyne", "heterodyne"]) -> None:
    protocol, transmittance, symbols = replace(USUAL, detection=detection), 0.4, 1_500_000
    seen = moments_of(sample_quadratures(protocol, transmittance, symbols, np.random.default_rng(5)))
    expected = expected_moments(protocol, transmittance, symbols)
    pairs = symbols * protocol.quadratures
    assert seen.pairs == expected.pairs == pairs
    x, y, xy = expected.sum_xx / pairs, expected.sum_yy / pairs, expected.sum_xy / pairs
    assert abs(seen.sum_xx - expected.sum_xx) < SIGMAS * x * np.sqrt(2 * pairs)
    assert abs(seen.sum_yy - expected.sum_yy) < SIGMAS * y * np.sqrt(2 * pairs)
    assert abs(seen.sum_xy - expected.sum_xy) < SIGMAS * np.sqrt((x * y + xy**2) * pairs)


def test_samples_are_gaussian_and_their_noise_does_not_know_the_signal() -> None:
    sent, read = next(sample_quadratures(USUAL, 0.4, 200_000, np.random.default_rng(8)))
    noise = read - np.sqrt(0.6 * 0.4) * sent
    assert stats.kstest(sent / 2.0, "norm").pvalue > FALSE_ALARM
    assert stats.kstest(noise / np.sqrt(1.1 + 0.6 * 0.4 * 0.01), "norm").pvalue > FALSE_ALARM
    assert stats.spearmanr(sent**2, noise**2).pvalue > FALSE_ALARM


@pytest.mark.parametrize("symbols", [1, 2, 5, 50])
def test_moments_drawn_at_once_are_distributed_as_those_of_samples(symbols: int) -> None:
    runs, generator = 20_000, np.random.default_rng(symbols)
    drawn = sample_moments(USUAL, 0.3, np.full(runs, symbols), generator)
    sent, read = next(sample_quadratures(USUAL, 0.3, symbols * runs, generator))
    sent, read = sent.reshape(runs, symbols), read.reshape(runs, symbols)
    for ours, theirs in (
        (drawn.sum_xx, (sent**2).sum(axis=1)),
        (drawn.sum_xy, (sent * read).sum(axis=1)),
        (drawn.sum_yy, (read**2).sum(axis=1)),
        (drawn.sum_xy * drawn.sum_yy / drawn.sum_xx, (sent * read).sum(axis=1) * (read**2).sum(axis=1) / (sent**2).sum(axis=1)),
    ):
        assert stats.ks_2samp(ours, theirs).pvalue > FALSE_ALARM


def test_a_long_run_costs_no_more_than_what_is_looked_at() -> None:
    moments = sample_moments(USUAL, 0.1, 1e15, np.random.default_rng(1))
    assert float(moments.sum_xx) == pytest.approx(4e15, rel=1e-6)
    sent, _ = next(sample_quadratures(USUAL, 0.1, 10**15, np.random.default_rng(1)))
    assert sent.size == continuous_variable.BLOCK_PAIRS
    nothing = moments_of(sample_quadratures(USUAL, 0.1, 0, np.random.default_rng(1)))
    assert nothing.pairs == float(sample_moments(USUAL, 0.1, 0, np.random.default_rng(1)).sum_yy) == 0.0


@pytest.mark.parametrize("detection", DETECTIONS)
def test_estimates_cover_the_truth_at_the_stated_rate(detection: Literal["homodyne", "heterodyne"]) -> None:
    """Bounds of the transmittance are exact; those of the noise fail less often than stated, here one time in twelve."""
    protocol, transmittance, failure, runs = replace(USUAL, detection=detection, excess_noise=0.3), 0.5, 0.01, 60_000
    moments = sample_moments(protocol, np.full(runs, transmittance), 5_000, np.random.default_rng(23))
    estimate = estimate_channel(protocol, moments, failure=failure)
    allowed = SIGMAS * np.sqrt(failure * (1 - failure) / runs)
    for missed in (estimate.transmittance_low > transmittance, estimate.transmittance_high < transmittance):
        assert abs(missed.mean() - failure) < allowed
    noise = float(protocol.noise_variance(transmittance))
    assert failure / 20 < (estimate.noise_variance_high < noise).mean() < failure + allowed
    assert (estimate.excess_noise_high < 0.3).mean() < 2 * failure + allowed
    assert (estimate.excess_noise_low > 0.3).mean() < 2 * failure + allowed
    assert estimate.transmittance.mean() == pytest.approx(transmittance, rel=1e-3)
    assert estimate.excess_noise.mean() == pytest.approx(0.3, abs=5 * estimate.excess_noise.std() / np.sqrt(runs) + 1e-3)


def test_a_channel_of_no_light_is_estimated_as_such() -> None:
    moments = sample_moments(USUAL, np.zeros(1000), 10_000, np.random.default_rng(2))
    estimate = estimate_channel(USUAL, moments, failure=1e-6)
    assert (estimate.transmittance_low == 0.0).all()
    assert (estimate.transmittance < 0.01).all()


def test_the_worst_holevo_information_is_the_largest_of_the_whole_box() -> None:
    for detection, trusted, transmittance in (
        (d, t, value) for d in DETECTIONS for t in (True, False) for value in (0.01, 0.3, 0.85, 0.999)
    ):
        protocol = replace(USUAL, detection=detection, trusted_detector=trusted, electronic_noise=0.01)
        key = proven_key(protocol, expected_moments(protocol, transmittance, 3e5), key_symbols=1e6)
        lights = np.linspace(key.estimate.transmittance_low, min(key.estimate.transmittance_high, 1.0), 400)[:, None]
        noises = np.linspace(0.0, float(key.estimate.noise_variance_high) - 1.01, 60) / protocol.gain
        everywhere = continuous_variable._holevo(protocol, lights, noises).max()
        assert float(key.holevo_information) >= everywhere - 1e-12
        assert float(key.holevo_information) == pytest.approx(everywhere, rel=1e-3)


def test_the_bound_on_eves_information_fails_no_more_often_than_stated() -> None:
    truth, runs = float(holevo_information(USUAL, 0.3)), 20_000
    moments = sample_moments(USUAL, np.full(runs, 0.3), 20_000, np.random.default_rng(77))
    key = proven_key(USUAL, moments, key_symbols=1e6, epsilon_estimation=0.03)
    assert (key.holevo_information < truth).mean() < 0.03 + SIGMAS * np.sqrt(0.03 / runs)


def test_a_finite_key_is_the_formula_of_leverrier_grosshans_and_grangier() -> None:
    """Every term worked out anew: I from the correlation, chi by modes at the worst end of the box, Delta(n) by hand."""
    pairs, symbols, transmittance = 1e7, 3e7, 0.3
    moments = expected_moments(USUAL, transmittance, pairs)
    key = proven_key(
        USUAL, moments, key_symbols=symbols, epsilon_estimation=3e-9, epsilon_smoothing=2.0**-39, epsilon_amplification=2.0**-190
    )
    noise = (1.1 + 0.6 * transmittance * 0.01) * pairs / (pairs - 1)  # Expected sums know the slope, an estimate does not.
    slope = np.sqrt(0.6 * transmittance) + stats.t.isf(1e-9, pairs - 1) * np.sqrt(noise / (4 * pairs))
    added = noise / (1.0 - 2.0 * np.sqrt(9 * np.log(10) / pairs)) - 1.1
    eve = holevo_by_modes(replace(USUAL, excess_noise=added / slope**2), slope**2 / 0.6)[1]
    shared = 0.5 * np.log2(1.0 + 0.6 * transmittance * 4.0 / noise)
    delta = 7 * np.sqrt(40 / symbols) + 380 / symbols
    assert float(key.bit_per_symbol) == pytest.approx(0.75 * (0.95 * shared - eve - delta), abs=1e-7)
    assert float(key.length_bit) == pytest.approx(4e7 * float(key.bit_per_symbol))


@given(protocols, st.floats(1e-4, 1.0), st.floats(2.0, 14.0))
def test_a_finite_key_is_never_longer_than_the_asymptotic_one(protocol: GaussianProtocol, transmittance: float, exponent: float) -> None:
    symbols = 10.0**exponent
    key = proven_key(protocol, expected_moments(protocol, transmittance, symbols), key_symbols=symbols)
    assert 0.0 <= float(key.length_bit) <= symbols * (float(asymptotic_key_rate(protocol, transmittance)) + 1e-10)


def test_long_blocks_approach_the_asymptotic_key() -> None:
    transmittances = np.array([0.1, 0.3, 0.8])
    rates = [
        proven_key(USUAL, expected_moments(USUAL, transmittances, 0.01 * symbols), key_symbols=symbols).bit_per_symbol
        for symbols in (1e8, 1e10, 1e16)
    ]
    assert (rates[0] < rates[1]).all()
    assert (rates[1] < rates[2]).all()
    assert rates[2] == pytest.approx(asymptotic_key_rate(USUAL, transmittances) / 1.01, rel=1e-3)


@pytest.mark.parametrize(
    "moments",
    [
        Moments(*np.zeros(4)),
        Moments(*np.array([1.0, 4.0, 1.0, 2.0])),
        Moments(*np.array([2.0, 8.0, 3.0, 3.0])),
        Moments(*np.array([1e9, 4e9, 3.7947e9, 4.7e9])),  # More light arrives than was sent.
        Moments(*np.array([1e9, 4e9, 2.19e9, 2.1e9])),  # Quieter than the vacuum.
        Moments(*np.array([1e9, 4e9, 4e9, 1e9])),  # More correlated than can be.
        Moments(*np.array([1e9, 1.6e10, 3.394e9, 1.822e9])),  # Alice's numbers in half their unit.
        Moments(*np.array([1e9, 1e-9, 1e-9, 2e9])),
        Moments(*np.array([1e9, 4e9, 0.0, 1e200])),
    ],
)
def test_impossible_or_too_few_moments_give_no_key(moments: Moments) -> None:
    key = proven_key(USUAL, moments, key_symbols=1e9)
    assert float(key.length_bit) == float(key.bit_per_symbol) == 0.0


def test_what_fluctuates_above_all_light_is_counted_as_all_light() -> None:
    moments = expected_moments(USUAL, 1.0, 1e5)
    lucky = proven_key(USUAL, replace(moments, sum_xy=1.005 * moments.sum_xy, sum_yy=1.007 * moments.sum_yy), key_symbols=1e9)
    assert float(lucky.estimate.transmittance) > 1.0 > float(lucky.estimate.transmittance_low)
    assert 0.0 < float(lucky.mutual_information) < float(mutual_information(replace(USUAL, excess_noise=0.0), 1.0))


def test_no_symbols_left_for_the_key_give_no_key() -> None:
    assert float(proven_key(USUAL, expected_moments(USUAL, 0.5, 1e9), key_symbols=0).length_bit) == 0.0


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("modulation_variance", 0.0),
        ("excess_noise", -0.01),
        ("detector_efficiency", 1.1),
        ("electronic_noise", float("nan")),
        ("reconciliation_efficiency", 1.01),
        ("detection", "photon counting"),
    ],
)
def test_a_field_out_of_range_is_named(field: str, value: object) -> None:
    with pytest.raises(InputError) as refused:
        replace(USUAL, **{field: value})
    assert refused.value.field == field


def test_malformed_input_is_refused() -> None:
    with pytest.raises(InputError, match="transmittance"):
        asymptotic_key_rate(USUAL, [0.5, 1.2])
    with pytest.raises(InputError, match="sum_yy"):
        Moments(*np.array([1.0, 1.0, 1.0, -1.0]))
    with pytest.raises(InputError, match="key_symbols"):
        proven_key(USUAL, expected_moments(USUAL, 0.5, 1e9), key_symbols=-1)
    for epsilon in ("epsilon_smoothing", "epsilon_amplification"):
        with pytest.raises(InputError, match=epsilon):
            proven_key(USUAL, expected_moments(USUAL, 0.5, 1e9), key_symbols=1e9, **{epsilon: 0.0})
    with pytest.raises(InputError, match="failure"):
        estimate_channel(USUAL, expected_moments(USUAL, 0.5, 1e9), failure=0.0)
