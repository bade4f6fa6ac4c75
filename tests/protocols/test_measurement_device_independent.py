"""The relay against coherent amplitudes and single photons followed through its beam splitter; the key against relays that may do anything.

Statistical tests allow five standard deviations: one false alarm in 1.7 million comparisons. Seeds are fixed, so a test that passes
once passes always.
"""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.optimize import linprog
from scipy.special import factorial

from tiandi.errors import InputError
from tiandi.protocols.concentration import Bound
from tiandi.protocols.events import Basis
from tiandi.protocols.information import binary_entropy, plob_bound
from tiandi.protocols.mdi_finite_key import (
    ProvenPairKey,
    phase_errors_upper_bound,
    proven_key,
    secret_single_photon_bits,
    single_photon_lower_bound,
    vacuum_lower_bound,
)
from tiandi.protocols.measurement_device_independent import (
    DecoySource,
    Outcome,
    RelayLink,
    asymptotic_key_rate,
    bell_gains,
    event_probabilities,
    event_table,
    single_photon_pairs,
)

Array = NDArray[np.float64]

SIGMAS = 5.0
THREE = DecoySource((0.4, 0.1, 0.0), (0.1, 0.1, 0.05), (0.5, 0.15, 0.1))
OTHER_THREE = DecoySource((0.5, 0.15, 0.01), (0.1, 0.15, 0.05), (0.45, 0.15, 0.1))
FOUR = DecoySource((0.5, 0.3, 0.08, 0.0), (0.0, 0.1, 0.3, 0.2), (0.4, 0.0, 0.0, 0.0))
OTHER_FOUR = DecoySource((0.6, 0.25, 0.05, 0.0), (0.0, 0.1, 0.25, 0.15), (0.5, 0.0, 0.0, 0.0))

FEW_KEY_BITS = DecoySource((0.5, 0.1, 0.0), (0.146, 0.5, 0.35), (0.004, 0.0, 0.0))
FEW_TEST_BITS = DecoySource((0.5, 0.1, 0.0), (0.02, 0.05, 0.03), (0.9, 0.0, 0.0))

NINE = DecoySource(tuple(np.arange(9, 0, -1) / 10), (0.1,) + (0.0,) * 8, (0.1,) * 9)


def link(alice: DecoySource = FOUR, bob: DecoySource = FOUR, loss_db: float = 10.0, **changes: object) -> RelayLink:
    """Two equal arms of ``loss_db`` [dB] unless ``changes`` say otherwise."""
    arm = np.array([10 ** (-loss_db / 10)])
    return replace(RelayLink(alice, bob, arm, arm, 0.6, 1e-7, (0.01, 0.005)), **changes)  # type: ignore[arg-type]


def key(relay: RelayLink, pulses: float, bound: Bound = "chernoff", counts: Array | None = None) -> ProvenPairKey:
    """Key of every step by itself, from expected counts unless ``counts`` are given, with a leak of 1.16 times Shannon's limit."""
    counts = event_probabilities(relay) * pulses if counts is None else counts
    sifted = np.nan_to_num(counts[..., Basis.Z, 0, 0, :], posinf=0.0)
    leak = 1.16 * sifted.sum(axis=-1) * binary_entropy(sifted[..., Outcome.WRONG] / np.maximum(sifted.sum(axis=-1), 1e-300))
    return proven_key(
        counts, alice=relay.alice, bob=relay.bob, leaked_bit=leak, epsilon_secrecy=1e-10, epsilon_correctness=1e-15, bound=bound
    )


def polarisation(basis: int, bit: int) -> Array:
    """Amplitudes of H and V."""
    return np.eye(2)[bit] if basis == Basis.Z else np.array([1.0, (-1.0) ** bit]) / np.sqrt(2)


def is_right(basis: int, bits: tuple[int, int], same_output: bool) -> bool:
    """Psi+ (same output) and Psi- belong to opposite bits in Z; in X Psi+ belongs to equal bits, Psi- to opposite ones."""
    return (bits[0] == bits[1]) == (basis == Basis.X and same_output)


def sum_over_patterns(clicks: Array, basis: int, bits: tuple[int, int]) -> Array:
    """Chances of (Psi+, Psi-) x (right, wrong) from chances of clicks (..., outputs, H and V) that are independent."""
    found = np.zeros((2, 2))
    for first, second in product(range(2), range(2)):
        wanted = np.zeros((2, 2), bool)
        wanted[first, 0] = wanted[second, 1] = True
        chance = np.where(wanted, clicks, 1.0 - clicks).prod(axis=(-2, -1)).mean()
        found[int(first != second), int(not is_right(basis, bits, first == second))] += chance
    return found


def integrated_gains(alice: float, bob: float, dark: float, basis: int) -> Array:
    """Bell states x outcomes, by averaging threshold clicks under coherent amplitudes over both random phases and all bits."""
    phases = np.linspace(0.0, 2 * np.pi, 48, endpoint=False)
    alice_phase, bob_phase = np.exp(1j * phases[:, None, None]), np.exp(1j * phases[None, :, None])
    total = np.zeros((2, 2))
    for bits in product(range(2), range(2)):
        first = np.sqrt(alice) * alice_phase * polarisation(basis, bits[0])
        second = np.sqrt(bob) * bob_phase * polarisation(basis, bits[1])
        outputs = np.stack([first + second, first - second], axis=-2) / np.sqrt(2)
        clicks = dark - (1 - dark) * np.expm1(-(np.abs(outputs) ** 2))
        total += sum_over_patterns(clicks, basis, bits) / 4
    return total


@pytest.mark.parametrize("basis", [Basis.Z, Basis.X])
@pytest.mark.parametrize(("alice_arm", "bob_arm", "dark"), [(0.9, 0.9, 1e-3), (0.3, 0.05, 0.0), (1e-4, 1e-4, 1e-8), (1e-5, 0.4, 0.02)])
@pytest.mark.parametrize("states", [1, 2])
def test_gains_are_those_of_coherent_light_of_random_phases(basis: int, alice_arm: float, bob_arm: float, dark: float, states: int) -> None:
    relay = link(
        THREE,
        OTHER_THREE,
        alice_transmittance=np.array([alice_arm]),
        bob_transmittance=np.array([bob_arm]),
        detector_efficiency=0.8,
        dark_count_probability=dark,
        announced_bell_states=states,
        misalignment=(0.07, 0.02),
    )
    gains = bell_gains(relay)[0, basis]
    for (a, alice), (b, bob) in product(enumerate(THREE.mean_photon_numbers), enumerate(OTHER_THREE.mean_photon_numbers)):
        followed = integrated_gains(0.8 * alice_arm * alice, 0.8 * bob_arm * bob, dark, basis)
        right, wrong = followed.sum(axis=0) if states == 2 else followed[1]
        flipped = relay.misalignment[basis]
        expected = [(1 - flipped) * right + flipped * wrong, (1 - flipped) * wrong + flipped * right]
        assert gains[a, b] == pytest.approx(expected, rel=1e-8, abs=1e-300)


def photon_pair_gains(alice: float, bob: float, dark: float, basis: int) -> Array:
    """Bell states x outcomes of one photon from either side: Fock states of two photons in four detected modes and two lost ones."""
    total = np.zeros((2, 2))
    for bits in product(range(2), range(2)):
        first, second = polarisation(basis, bits[0]) / np.sqrt(2), polarisation(basis, bits[1]) / np.sqrt(2)
        one = np.concatenate([np.sqrt(alice) * np.tile(first, 2), [np.sqrt(1 - alice), 0.0]])
        other = np.concatenate([np.sqrt(bob) * second, -np.sqrt(bob) * second, [0.0, np.sqrt(1 - bob)]])
        amplitudes = np.outer(one, other) + np.outer(other, one)
        for i, j in product(range(6), range(6)):
            if i <= j:
                chance = amplitudes[i, j] ** 2 if i < j else 0.5 * amplitudes[i, i] ** 2
                clicks = np.full(4, dark)
                clicks[[mode for mode in (i, j) if mode < 4]] = 1.0
                total += 0.25 * chance * sum_over_patterns(clicks.reshape(2, 2), basis, bits)
    return total


@pytest.mark.parametrize(("alice_arm", "bob_arm", "dark"), [(1.0, 1.0, 0.0), (0.7, 0.2, 0.03), (1e-3, 1.0, 1e-5), (0.0, 0.0, 0.01)])
@pytest.mark.parametrize("states", [1, 2])
def test_single_photons_interfere_as_in_fock_space(alice_arm: float, bob_arm: float, dark: float, states: int) -> None:
    relay = link(
        alice_transmittance=np.array([alice_arm]),
        bob_transmittance=np.array([bob_arm]),
        detector_efficiency=1.0,
        dark_count_probability=dark,
        announced_bell_states=states,
        misalignment=(0.0, 0.0),
    )
    pairs = single_photon_pairs(relay)
    for basis in Basis:
        followed = photon_pair_gains(alice_arm, bob_arm, dark, basis)
        right, wrong = followed.sum(axis=0) if states == 2 else followed[1]
        assert float(pairs.yields[0]) == pytest.approx(right + wrong, rel=1e-12)
        assert float(pairs.error_rates[0, basis]) == pytest.approx(wrong / (right + wrong), rel=1e-12, abs=1e-12)
        misaligned = single_photon_pairs(replace(relay, misalignment=(0.1, 0.1))).error_rates[0, basis]
        assert float(misaligned) == pytest.approx((0.9 * wrong + 0.1 * right) / (right + wrong), rel=1e-12)


def test_a_relay_that_sees_nothing_says_nothing() -> None:
    dead = link(detector_efficiency=0.0, dark_count_probability=0.0)
    assert not bell_gains(dead).any()
    assert (single_photon_pairs(dead).error_rates == 0.5).all()
    assert asymptotic_key_rate(dead, 1.16) == 0.0
    assert key(dead, 1e12).length_bit == 0.0


@pytest.mark.parametrize("dead_pulses", [0, 400])
def test_samples_have_the_expected_counts(dead_pulses: int) -> None:
    arms = np.array([0.5, 0.1, 0.0])
    relay = link(THREE, OTHER_THREE, alice_transmittance=arms, bob_transmittance=arms[::-1].copy(), dead_pulses=dead_pulses)
    relay = replace(relay, dark_count_probability=1e-3, misalignment=(0.1, 0.05))
    table, pulses = event_table(relay), np.array([100_000_000, 200_000_000, 100_000_000])
    expected = table.expected_counts(pulses)
    assert expected.shape == (2, 3, 3, 2)
    assert expected.sum() > 50_000
    seen = table.sample(pulses, np.random.default_rng(7)).counts()
    assert (np.abs(seen - expected) < SIGMAS * np.sqrt(expected) + 1).all()
    if dead_pulses == 0:
        assert expected == pytest.approx(np.tensordot(pulses, event_probabilities(relay), axes=1))


def secret_bits(pairs: Array, phase_errors: Array) -> Array:
    """n1 [1 - h(e1)], and 0 for an error rate above 1/2, where n1 pairs may hide anything."""
    return pairs * (1.0 - binary_entropy(np.minimum(phase_errors / np.maximum(pairs, 1e-300), 0.5)))


def photon_shares(alice: DecoySource, bob: DecoySource, photons: int) -> Array:
    """Chance of (bases, intensities, intensities) and of m and n photons in them, m and n below ``photons``."""
    numbers = np.arange(photons)
    poisson = [np.exp(-mu) * mu**numbers / factorial(numbers) for mu in (np.array(s.mean_photon_numbers)[:, None] for s in (alice, bob))]
    return np.einsum("ki,kj,im,jn->kijmn", alice.probabilities, bob.probabilities, *poisson)


@given(
    sources=st.sampled_from([(THREE, OTHER_THREE), (FOUR, OTHER_FOUR), (OTHER_THREE, OTHER_THREE), (FOUR, OTHER_THREE)]),
    seed=st.integers(0, 2**32 - 1),
    sparse=st.sampled_from([0.0, 0.5, 0.9]),
)
@settings(max_examples=100, deadline=None)
def test_no_relay_deceives_the_decoys(sources: tuple[DecoySource, DecoySource], seed: int, sparse: float) -> None:
    """Any yield and error rate for any number of photons, as an eavesdropper may choose them; nothing for more than seven photons."""
    alice, bob = sources
    generator = np.random.default_rng(seed)
    yields = generator.random((2, 8, 8)) * (generator.random((2, 8, 8)) > sparse)
    yields[:, 1, 1] = yields[0, 1, 1]
    errors = generator.random((2, 8, 8))
    errors[:, 0, :] = errors[:, :, 0] = 0.5
    shares = photon_shares(alice, bob, 8) * 1e10
    wrong = np.einsum("kijmn,kmn->kij", shares, yields * errors)
    counts = np.stack([np.einsum("kijmn,kmn->kij", shares, yields) - wrong, wrong], axis=-1)
    pairs = shares[Basis.Z, 0, 0] * yields[Basis.Z]
    given_to_all = {"alice": alice, "bob": bob, "failure": 1e-10, "bound": "asymptotic"}
    slack = 1e-9 * counts.sum()  # Rounding.
    assert single_photon_lower_bound(counts, **given_to_all) <= pairs[1, 1] + slack  # type: ignore[arg-type]
    assert vacuum_lower_bound(counts, **given_to_all) <= max(pairs[0].sum(), pairs[:, 0].sum()) + slack  # type: ignore[arg-type]
    phase_errors = phase_errors_upper_bound(counts, **given_to_all)  # type: ignore[arg-type]
    assert phase_errors >= pairs[1, 1] * errors[Basis.X, 1, 1] - slack
    secret = secret_single_photon_bits(counts, **given_to_all)  # type: ignore[arg-type]
    assert secret <= secret_bits(pairs[1, 1], pairs[1, 1] * errors[Basis.X, 1, 1]) + slack


def test_the_decoys_find_most_of_what_a_linear_programme_finds_and_no_more() -> None:
    """The least yield of single photons that fits the expected counts in X, over all yields up to 12 photons from either side."""
    relay = link(loss_db=8.0)
    counts = event_probabilities(relay)[0] * 1e12
    numbers = 13
    shares = photon_shares(FOUR, FOUR, numbers)[Basis.X, 1:, 1:].reshape(9, -1) * 1e12
    seen = counts[Basis.X, 1:, 1:].sum(axis=-1).ravel()
    scale = shares.sum(axis=1)
    least = linprog(
        np.eye(numbers**2)[numbers + 1],
        A_ub=np.concatenate([shares, -shares]) / np.tile(scale, 2)[:, None],
        b_ub=np.concatenate([seen * (1 + 1e-9), -seen * (1 - 1e-9)]) / np.tile(scale, 2),
        bounds=(0.0, 1.0),
    )
    truth = photon_shares(FOUR, FOUR, 2)[Basis.Z, 0, 0, 1, 1] * 1e12
    ours = float(key(relay, 1e12, "asymptotic").single_photon_pairs[0]) / truth
    yields = float(single_photon_pairs(relay).yields[0])
    assert 0.85 * yields < ours <= least.fun * (1 + 1e-4)
    assert least.fun < yields


@pytest.mark.parametrize("relay", [link(), link(FOUR, OTHER_FOUR, 20.0), link(THREE, OTHER_THREE)], ids=["four", "unequal", "three"])
def test_bounds_from_expected_counts_lie_on_the_safe_side_of_the_model(relay: RelayLink) -> None:
    pulses = 1e14
    proven = [key(relay, pulses, bound) for bound in ("chernoff", "asymptotic")]
    true_pairs = photon_shares(relay.alice, relay.bob, 2)[Basis.Z, 0, 0, 1, 1] * pulses * single_photon_pairs(relay).yields
    true_error = single_photon_pairs(relay).error_rates[:, Basis.X]
    assert 0 < proven[0].single_photon_pairs < proven[1].single_photon_pairs < true_pairs
    assert proven[0].phase_error > proven[1].phase_error > true_error
    assert 0 < proven[0].secret_single_photon_bit < proven[1].secret_single_photon_bit < secret_bits(true_pairs, true_pairs * true_error)
    assert 0 < proven[0].length_bit < proven[1].length_bit


def test_tangents_lose_next_to_nothing() -> None:
    proven = key(link(alice_transmittance=10 ** -np.linspace(0, 3, 9), bob_transmittance=10 ** -np.linspace(0, 3, 9)), 1e14, "asymptotic")
    apart = proven.single_photon_pairs * (1.0 - binary_entropy(proven.phase_error))
    assert (proven.secret_single_photon_bit <= apart * (1 + 1e-9)).all()
    assert (proven.secret_single_photon_bit > 0.99 * apart).all()


def test_pairs_and_errors_bounded_together_are_worth_more_than_apart() -> None:
    together = key(link(FOUR, OTHER_FOUR, 20.0), 1e14)
    assert together.secret_single_photon_bit > together.single_photon_pairs * (1.0 - binary_entropy(together.phase_error))


def test_the_proof_costs_what_its_epsilons_say() -> None:
    """log2(8 / eps_cor) + 2 log2(2 / (eps' eps^)) + 2 log2(1 / (2 eps_PA)) with a twelfth of the secrecy parameter each."""
    proven = key(link(dark_count_probability=0.0, misalignment=(0.01, 0.0)), 1e14)
    twelfth = 1e-10 / 12
    cost = np.log2(8 / 1e-15) + 2 * np.log2(2 / twelfth**2) + 2 * np.log2(1 / (2 * twelfth))
    assert proven.length_bit == pytest.approx(proven.secret_single_photon_bit - cost, abs=1e-3)


@pytest.mark.parametrize(
    ("source", "pulses", "vacuum_yield"),
    [(THREE, 2e6, 2e-4), (FEW_KEY_BITS, 5e9, 2e-4), (FEW_TEST_BITS, 1e9, 0.0), (FEW_TEST_BITS, 1e9, 0.02)],
    ids=["three", "few key bits", "few test bits", "much vacuum"],
)
def test_bounds_fail_no_more_often_than_they_say(source: DecoySource, pulses: float, vacuum_yield: float) -> None:
    """4,000 runs against a relay that answers single photons and vacuum only, which leaves the bounds no slack but their statistics.

    Without an allowance for statistics they would fail in about every other run, and the last lines see to it that the test would notice.
    """
    runs, failure, e11 = 4_000, 0.02, 0.1
    alice = bob = source
    generator = np.random.default_rng(23)
    yields = np.array([[vacuum_yield, vacuum_yield], [vacuum_yield, 0.02]])
    errors = np.array([[0.5, 0.5], [0.5, e11]])
    shares = photon_shares(alice, bob, 2) * pulses
    wrong = generator.poisson(shares * yields * errors, (runs, *shares.shape))
    right = generator.poisson(shares * yields * (1 - errors), (runs, *shares.shape))
    counts = np.stack([right.sum(axis=(-2, -1)), wrong.sum(axis=(-2, -1))], axis=-1)
    pairs = (right + wrong)[:, Basis.Z, 0, 0]
    phase_errors = generator.binomial(pairs[:, 1, 1], e11)
    sources = {"alice": alice, "bob": bob, "failure": failure}

    def failures(bound: str) -> list[float]:
        single = single_photon_lower_bound(counts, **sources, bound=bound)  # type: ignore[arg-type]
        above = phase_errors_upper_bound(counts, **sources, bound=bound)  # type: ignore[arg-type]
        vacuum = vacuum_lower_bound(counts, **sources, bound=bound)  # type: ignore[arg-type]
        secret = secret_single_photon_bits(counts, **sources, bound=bound)  # type: ignore[arg-type]
        fails = (
            single > pairs[:, 1, 1],
            above < phase_errors,
            secret > secret_bits(pairs[:, 1, 1], phase_errors),
            vacuum > np.maximum(pairs[:, 0].sum(axis=-1), pairs[:, :, 0].sum(axis=-1)),
        )
        return [float(of_runs.mean()) for of_runs in fails]

    allowed = failure + SIGMAS * np.sqrt(failure * (1 - failure) / runs)
    assert max(failures("chernoff")) < allowed
    assert min(failures("asymptotic")[:3]) > allowed


@given(loss_db=st.floats(0.0, 25.0), more_db=st.floats(0.1, 10.0), dark=st.floats(0.0, 1e-4), error=st.floats(0.0, 0.1))
@settings(max_examples=30, deadline=None)
def test_loss_and_noise_never_help(loss_db: float, more_db: float, dark: float, error: float) -> None:
    good = link(FOUR, OTHER_FOUR, loss_db, dark_count_probability=dark, misalignment=(error, error))
    worse = (
        link(FOUR, OTHER_FOUR, loss_db + more_db, dark_count_probability=dark, misalignment=(error, error)),
        replace(good, dark_count_probability=2 * dark + 1e-7),
        replace(good, misalignment=(error + 0.01, error)),
        replace(good, misalignment=(error, error + 0.01)),
        replace(good, announced_bell_states=1),
    )
    for other in worse:
        assert asymptotic_key_rate(other, 1.16) <= asymptotic_key_rate(good, 1.16)
        assert key(other, 1e13).length_bit <= key(good, 1e13).length_bit


@given(
    signal=st.floats(0.01, 2.0),
    arms=st.tuples(st.floats(1e-6, 0.999), st.floats(1e-6, 0.999)),
    pulses=st.floats(1e6, 1e16),
    bound=st.sampled_from(["chernoff", "asymptotic"]),
)
@settings(max_examples=100, deadline=None)
def test_key_is_below_plob_and_finite_key_below_the_asymptotic(
    signal: float, arms: tuple[float, float], pulses: float, bound: Bound
) -> None:
    source = DecoySource((signal, 0.4 * signal, 0.1 * signal, 0.0), (0.0, 0.05, 0.15, 0.1), (0.7, 0.0, 0.0, 0.0))
    relay = link(source, source, alice_transmittance=np.array(arms[:1]), bob_transmittance=np.array(arms[1:]), detector_efficiency=1.0)
    rate = asymptotic_key_rate(relay, 1.16)
    assert rate <= plob_bound(arms[0] * arms[1])
    assert key(relay, pulses, bound).length_bit <= 0.7**2 * pulses * rate * (1 + 1e-9)


@pytest.mark.parametrize(("alice", "bob"), [(FOUR, OTHER_FOUR), (THREE, OTHER_THREE), (FOUR, OTHER_THREE)])
def test_alice_and_bob_may_trade_places(alice: DecoySource, bob: DecoySource) -> None:
    arms = np.array([0.2, 0.1]), np.array([0.05, 0.1])
    one = link(alice, bob, alice_transmittance=arms[0], bob_transmittance=arms[1])
    other = link(bob, alice, alice_transmittance=arms[1], bob_transmittance=arms[0])
    assert np.swapaxes(event_probabilities(other), 2, 3) == pytest.approx(event_probabilities(one), rel=1e-12)
    assert single_photon_pairs(other).error_rates == pytest.approx(single_photon_pairs(one).error_rates, rel=1e-12)
    assert asymptotic_key_rate(other, 1.16) == pytest.approx(asymptotic_key_rate(one, 1.16), rel=1e-12)
    first, second = key(one, 1e14), key(other, 1e14)
    assert first.length_bit == pytest.approx(second.length_bit, rel=1e-9)
    assert first.vacuum == pytest.approx(second.vacuum, rel=1e-9)
    assert (first.length_bit > 0).all()


def test_many_links_at_once_are_as_many_links() -> None:
    arms = 10 ** (-np.linspace(0.0, 3.0, 7))
    together = key(link(alice_transmittance=arms, bob_transmittance=arms), 1e14)
    alone = [key(link(alice_transmittance=arm, bob_transmittance=arm), 1e14) for arm in arms[:, None]]
    assert together.length_bit.tolist() == [pytest.approx(float(one.length_bit[0]), rel=1e-12) for one in alone]
    assert together.length_bit[0] > 0 == together.length_bit[-1]


def test_three_intensities_may_count_the_vacuum_and_four_may_not() -> None:
    assert key(link(THREE, THREE, dark_count_probability=1e-5), 1e13).vacuum > 0
    assert key(link(FOUR, FOUR, dark_count_probability=1e-5), 1e13).vacuum == 0


def test_too_few_intensities_make_no_key() -> None:
    one_decoy = DecoySource((0.4, 0.1), (0.2, 0.1), (0.5, 0.2))
    only_in_z = DecoySource((0.4, 0.1, 0.0), (0.0, 0.0, 0.0), (0.5, 0.3, 0.2))
    for source in (one_decoy, only_in_z):
        assert key(link(source, source, 3.0), 1e14).length_bit == 0.0


@given(
    seed=st.integers(0, 2**32 - 1), scale=st.sampled_from([1.0, 1e3, 1e12]), sources=st.sampled_from([(THREE, OTHER_THREE), (FOUR, FOUR)])
)
@settings(max_examples=50, deadline=None)
def test_any_counts_have_a_length(seed: int, scale: float, sources: tuple[DecoySource, DecoySource]) -> None:
    generator = np.random.default_rng(seed)
    shape = (5, *event_probabilities(link(*sources)).shape[1:])
    counts = np.floor(generator.random(shape) ** 4 * scale) * (generator.random(shape) < 0.7)
    counts[0] = 0.0
    proven = key(link(*sources), 1.0, counts=counts)
    total = counts[:, Basis.Z, 0, 0].sum(axis=-1)
    assert np.isfinite(proven.length_bit).all()
    assert ((proven.length_bit >= 0) & (proven.length_bit <= total)).all()
    assert ((proven.phase_error >= 0) & (proven.phase_error <= 0.5)).all()
    assert (proven.vacuum + proven.secret_single_photon_bit <= total).all()
    assert (proven.single_photon_pairs <= total).all()
    assert proven.length_bit[0] == 0


@pytest.mark.parametrize(
    ("field", "make"),
    [
        ("z_probabilities", lambda: DecoySource((0.4, 0.1), (0.0, 0.0), (1.0,))),
        ("mean_photon_numbers", lambda: DecoySource((0.1, 0.4), (0.0, 0.0), (0.5, 0.5))),
        ("mean_photon_numbers", lambda: DecoySource((2.5, 0.4), (0.0, 0.0), (0.5, 0.5))),
        ("probabilities", lambda: DecoySource((0.4, 0.1), (0.6, 0.0), (0.5, -0.1))),
        ("probabilities", lambda: DecoySource((0.4, 0.1), (0.1, 0.0), (0.5, 0.1))),
        ("alice_transmittance", lambda: link(alice_transmittance=np.array([1.1]))),
        ("alice_transmittance", lambda: link(alice_transmittance=np.array([np.nan]))),
        ("alice_transmittance", lambda: link(alice_transmittance=np.array(0.5))),
        ("bob_transmittance", lambda: link(bob_transmittance=np.array([0.5, 0.5]))),
        ("detector_efficiency", lambda: link(detector_efficiency=1.5)),
        ("dark_count_probability", lambda: link(dark_count_probability=-1e-9)),
        ("misalignment", lambda: link(misalignment=(0.0, 0.6))),
        ("announced_bell_states", lambda: link(announced_bell_states=3)),
        ("dead_pulses", lambda: link(dead_pulses=-1)),
        ("probabilities", lambda: event_table(link(*[NINE] * 2))),
        ("error_correction_efficiency", lambda: asymptotic_key_rate(link(), 0.9)),
        ("counts", lambda: key(link(), 1.0, counts=np.ones((2, 3, 3, 2)))),
        ("counts", lambda: key(link(), 1.0, counts=-np.ones((2, 4, 4, 2)))),
        ("counts", lambda: key(link(), 1.0, counts=np.full((2, 4, 4, 2), np.nan))),
        ("counts", lambda: key(link(), 1.0, counts=np.full((2, 4, 4, 2), np.inf))),
        ("bound", lambda: key(link(), 1.0, "exact")),  # type: ignore[arg-type]
    ],
)
def test_bad_input_is_refused(field: str, make) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(InputError) as refused:
        make()
    assert refused.value.field == field
