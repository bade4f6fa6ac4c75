"""Attacks against photons followed one by one, and the proof against the attacks: what each alarm notices, and what none does.

Statistical tests allow five standard deviations: one false alarm in 1.7 million comparisons. Their twins are seeded.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from math import comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from tiandi.errors import InputError
from tiandi.physics.detectors import Detector
from tiandi.physics.equipment import Receiver, Transmitter
from tiandi.protocols.decoy_bb84 import expected_counts, outcome_probabilities, photons_at_detectors, sample_detections, squash
from tiandi.protocols.detector_attacks import detector_blinding, time_shift
from tiandi.protocols.eavesdroppers import (
    MOST_PHOTONS,
    Eavesdropping,
    beam_splitting,
    discrimination_probability,
    fock_outcomes,
    intercept_resend,
    photon_number_splitting,
    sifted_share,
    smallest_noticed_share,
    unambiguous_discrimination,
)
from tiandi.protocols.finite_key import Bound, proven_key
from tiandi.protocols.information import binary_entropy

SIGMAS = 5.0
PULSES = 200_000
Attack = Callable[[Transmitter, Receiver, NDArray[np.float64]], Eavesdropping]
Ints, Bools = NDArray[np.int64], NDArray[np.bool_]
ATTACKS: dict[str, Attack] = {
    "intercept-resend": intercept_resend,
    "photon-number splitting": photon_number_splitting,
    "unambiguous discrimination": unambiguous_discrimination,
    "beam splitting": beam_splitting,
    "time shift": time_shift,
    "detector blinding": detector_blinding,
}
ON_THE_LIGHT = list(ATTACKS)[:4]

BRIGHT = Transmitter(clock_hz=1e6, mean_photon_numbers=(2.0, 0.4, 0.0), probabilities=(0.5, 0.3, 0.2))
NOISY = Receiver(
    optics_efficiency=0.8,
    detector=Detector(efficiency=0.8, dark_count_rate_hz=1e7),
    gate_s=4e-9,
    misalignment=0.08,
    x_basis_probability=0.5,
)
RECEIVERS = {
    "passive": NOISY,
    "passive, uneven": replace(NOISY, x_basis_probability=0.8),
    "active, uneven": replace(NOISY, basis_choice="active", x_basis_probability=0.7),
}
every_receiver = pytest.mark.parametrize("noisy", RECEIVERS.values(), ids=RECEIVERS.keys())


def detect(receiver: Receiver, photons: Ints, turned: Bools, generator: np.random.Generator, favoured: Bools | None = None) -> Ints:
    """Outcome of each pulse: its ``photons`` carry the right bit of Alice's basis X, or where ``turned`` a bit of the other basis.

    Each photon goes its own way to one of four detectors. Where ``favoured`` is given, right detectors are more efficient there.
    """
    pulses, pulse = photons.size, np.repeat(np.arange(photons.size), photons)
    active = receiver.basis_choice == "active"
    chosen_x = generator.random(pulses) < receiver.x_basis_probability
    to_x = chosen_x[pulse] if active else generator.random(pulse.size) < receiver.x_basis_probability
    flipped = generator.random(pulse.size) < np.where(to_x != turned[pulse], receiver.misalignment, 0.5)
    efficiency = np.full(pulse.size, receiver.efficiency)
    if favoured is not None:
        efficiency *= np.where(flipped != favoured[pulse], 0.9, 0.3)
    caught = generator.random(pulse.size) < efficiency
    clicks = generator.random((pulses, 4)) < receiver.noise_probability
    clicks[pulse[caught], (np.where(to_x, 0, 2) + flipped)[caught]] = True
    if active:
        clicks &= np.repeat(np.stack([chosen_x, ~chosen_x], axis=1), 2, axis=1)
    return take(clicks, generator)


def take(clicks: Bools, generator: np.random.Generator) -> Ints:
    """What Bob makes of the clicks of four detectors: nothing, right, wrong, other basis."""
    in_x, in_z = clicks[:, :2].any(axis=1), clicks[:, 2:].any(axis=1)
    choose_x = in_x & (~in_z | (generator.random(in_x.size) < 0.5))
    wrong = np.where(clicks[:, 0] & clicks[:, 1], generator.random(in_x.size) < 0.5, clicks[:, 1])
    return np.where(choose_x, np.where(wrong, 2, 1), np.where(in_z, 3, 0))


def assert_frequencies(outcomes: Ints, known: NDArray[np.float64], expected: Eavesdropping, intensity: int) -> None:
    """Outcomes of pulses of basis X, and ``known`` bits of the sifted ones, against those expected."""
    shares = expected.outcomes[0, intensity, 0]
    seen = np.bincount(outcomes, minlength=4) / outcomes.size
    assert (np.abs(seen - shares) <= SIGMAS * np.sqrt(shares * (1 - shares) / outcomes.size)).all()
    worth = np.where((outcomes == 1) | (outcomes == 2), known, 0.0)
    known_share = expected.known_share[0, intensity, 0] * (shares[1] + shares[2])
    assert abs(worth.mean() - known_share) <= SIGMAS * max(worth.std(), 1e-9) / np.sqrt(outcomes.size)


@every_receiver
@pytest.mark.parametrize("photons", [0, 1, 2, 5])
def test_outcomes_of_photon_numbers_are_those_of_single_photons(noisy: Receiver, photons: int) -> None:
    seen = detect(noisy, np.full(PULSES, photons), np.zeros(PULSES, bool), np.random.default_rng(photons))
    expected = fock_outcomes(noisy)[photons, 0]
    shares = np.bincount(seen, minlength=4) / PULSES
    assert (np.abs(shares - expected) <= SIGMAS * np.sqrt(expected * (1 - expected) / PULSES)).all()


@every_receiver
@pytest.mark.parametrize("mean_photons", [0.0, 0.3, 2.0])
def test_a_poisson_mixture_of_photon_numbers_is_coherent_light(noisy: Receiver, mean_photons: float) -> None:
    mixture = np.tensordot(stats.poisson.pmf(np.arange(MOST_PHOTONS + 1), mean_photons), fock_outcomes(noisy), axes=1)
    coherent = squash(photons_at_detectors(np.array([[mean_photons * noisy.efficiency]]), noisy), noisy)[0, 0]
    assert mixture == pytest.approx(coherent, abs=1e-13)


@every_receiver
@pytest.mark.parametrize("intensity", [0, 1, 2])
@pytest.mark.parametrize("attacked_share", [1.0, 0.3])
def test_intercept_resend_pulse_by_pulse(noisy: Receiver, intensity: int, attacked_share: float) -> None:
    generator, transmittance = np.random.default_rng(3), 0.3
    mu, p = np.asarray(BRIGHT.mean_photon_numbers), np.asarray(BRIGHT.probabilities)
    lit = p @ (1 - np.exp(-mu * transmittance * noisy.efficiency)) / (p @ (1 - np.exp(-mu)))
    photons = generator.poisson(mu[intensity], PULSES)
    attacked = generator.random(PULSES) < attacked_share
    turned = attacked & (generator.random(PULSES) < 0.5)
    resent = generator.poisson(-np.log(1 - lit) / noisy.efficiency, PULSES) * (photons > 0)
    received = np.where(attacked, resent, generator.binomial(photons, transmittance))
    outcomes = detect(noisy, received, turned, generator)
    expected = intercept_resend(BRIGHT, noisy, np.array([transmittance]), attacked_share=attacked_share)
    assert_frequencies(outcomes, attacked & ~turned & (photons > 0), expected, intensity)


def test_intercept_resend_without_noise_knows_half_of_the_bits(transmitter: Transmitter, receiver: Receiver) -> None:
    quiet = replace(receiver, detector=Detector(efficiency=0.1, dark_count_rate_hz=0.0))
    known = intercept_resend(transmitter, quiet, np.array([1e-3])).known_share[0, :2]
    assert known == pytest.approx(0.5, abs=1e-4)


def poisson(photons: int) -> float:
    return float(stats.poisson.pmf(photons, BRIGHT.mean_photon_numbers[0]))


@every_receiver
@pytest.mark.parametrize("intensity", [0, 1, 2])
@pytest.mark.parametrize(("transmittance", "regime"), [(0.2, "block several"), (0.6, "pass single"), (0.9, "pass several")])
def test_photon_number_splitting_pulse_by_pulse(noisy: Receiver, intensity: int, transmittance: float, regime: str) -> None:
    """She draws by shares found from the chance that the receiver's light stays undetected, as the paper does; noise cancels."""
    generator, missed = np.random.default_rng(4), 1.0 - noisy.efficiency
    numbers = range(2, MOST_PHOTONS + 1)
    honest = np.exp(-BRIGHT.mean_photon_numbers[0] * transmittance * noisy.efficiency)
    split = sum(poisson(n) * missed ** (n - 1) for n in numbers)
    whole = sum(poisson(n) * missed**n for n in numbers)
    several = 1.0 - poisson(0) - poisson(1)
    split_share = single_share = whole_share = 0.0
    if regime == "block several":
        split_share = (1.0 - honest) / (several - split)
    elif regime == "pass single":
        split_share, single_share = 1.0, (1.0 - several + split - honest) / (poisson(1) * noisy.efficiency)
    else:
        single_share, whole_share = 1.0, (poisson(0) + poisson(1) * missed + split - honest) / (split - whole)
        split_share = 1.0 - whole_share
    assert all(0.0 <= share <= 1.0 for share in (split_share, single_share, whole_share))

    photons, draw = generator.poisson(BRIGHT.mean_photon_numbers[intensity], PULSES), generator.random(PULSES)
    of_several = np.select([draw < split_share, draw < split_share + whole_share], [photons - 1, photons], 0)
    forwarded = np.where(photons >= 2, of_several, np.where(draw < single_share, photons, 0))
    outcomes = detect(noisy, forwarded, np.zeros(PULSES, bool), generator)
    expected = photon_number_splitting(BRIGHT, noisy, np.array([transmittance]))
    assert_frequencies(outcomes, forwarded < photons, expected, intensity)


def bb84_states(photons: int) -> NDArray[np.float64]:
    """The four BB84 states of ``photons`` photons in one mode each of H and V, amplitudes by the number in V, shape (4, photons + 1)."""
    return np.array(
        [
            [np.sqrt(comb(photons, v)) * np.cos(angle) ** (photons - v) * np.sin(angle) ** v for v in range(photons + 1)]
            for angle in np.arange(4) * np.pi / 4
        ]
    )


@pytest.mark.parametrize("photons", range(1, 12))
def test_discrimination_succeeds_as_often_as_the_gram_matrix_allows(photons: int) -> None:
    states = bb84_states(photons)
    assert float(discrimination_probability(photons)) == pytest.approx(np.linalg.eigvalsh(states @ states.T)[0], abs=1e-12)


@pytest.mark.parametrize("photons", [3, 4, 7])
def test_there_is_a_measurement_that_discriminates_without_error(photons: int) -> None:
    """Projections on the reciprocal states never fire for another state, and leave room for exactly the inconclusive outcome."""
    states, success = bb84_states(photons), float(discrimination_probability(photons))
    reciprocal = np.linalg.pinv(states).T
    fires = success * (reciprocal @ states.T) ** 2
    assert fires == pytest.approx(success * np.eye(4), abs=1e-12)
    inconclusive = np.eye(photons + 1) - success * reciprocal.T @ reciprocal
    assert np.linalg.eigvalsh(inconclusive)[0] == pytest.approx(0.0, abs=1e-12)


@every_receiver
@pytest.mark.parametrize("intensity", [0, 1])
@pytest.mark.parametrize(("transmittance", "regime"), [(0.03, "identified"), (0.3, "few as well")])
def test_unambiguous_discrimination_pulse_by_pulse(noisy: Receiver, intensity: int, transmittance: float, regime: str) -> None:
    generator, missed, resent = np.random.default_rng(5), 1.0 - noisy.efficiency, 0.4
    honest = np.exp(-BRIGHT.mean_photon_numbers[0] * transmittance * noisy.efficiency)
    success = np.array([0.0] + [np.linalg.eigvalsh(bb84_states(n) @ bb84_states(n).T)[0] for n in range(1, MOST_PHOTONS + 1)])
    success[:3] = 0.0  # Eigenvalues of dependent states are zero up to rounding.
    identified = sum(poisson(n) * success[n] for n in range(3, MOST_PHOTONS + 1)) * (1.0 - np.exp(-resent))
    if regime == "identified":
        attacked_share, few_share = (1.0 - honest) / identified, 0.0
    else:
        attacked_share, few_share = 1.0, (1.0 - honest - identified) / sum(poisson(n) * (1.0 - missed**n) for n in (1, 2))
    assert 0.0 <= attacked_share <= 1.0
    assert 0.0 <= few_share <= 1.0

    photons, draw = generator.poisson(BRIGHT.mean_photon_numbers[intensity], PULSES), generator.random(PULSES)
    sure = (draw < attacked_share) & (generator.random(PULSES) < success[photons])
    passed = np.where((photons <= 2) & (draw < few_share), photons, 0)
    forwarded = np.where(sure, generator.poisson(resent / noisy.efficiency, PULSES), passed)
    outcomes = detect(noisy, forwarded, np.zeros(PULSES, bool), generator)
    expected = unambiguous_discrimination(BRIGHT, noisy, np.array([transmittance]), resent_mean_photons=resent)
    assert_frequencies(outcomes, sure, expected, intensity)


@every_receiver
@pytest.mark.parametrize("intensity", [0, 1])
def test_beam_splitting_photon_by_photon(noisy: Receiver, intensity: int) -> None:
    generator, transmittance = np.random.default_rng(6), 0.25
    photons = generator.poisson(BRIGHT.mean_photon_numbers[intensity], PULSES)
    forwarded = generator.binomial(photons, transmittance)
    outcomes = detect(noisy, forwarded, np.zeros(PULSES, bool), generator)
    assert_frequencies(outcomes, forwarded < photons, beam_splitting(BRIGHT, noisy, np.array([transmittance])), intensity)


def test_beam_splitting_wins_less_than_the_share_of_several_photons_among_the_clicks() -> None:
    """Without noise; and all of it where the loss is high."""
    quiet = replace(NOISY, detector=Detector(efficiency=0.1, dark_count_rate_hz=0.0))
    transmittance = np.array([1e-4, 0.03, 0.3, 1.0])
    known = beam_splitting(BRIGHT, quiet, transmittance).known_share[:, 0, 0]
    mu, eta = BRIGHT.mean_photon_numbers[0], transmittance * quiet.efficiency
    several = 1.0 - mu * np.exp(-mu) * eta / (1.0 - np.exp(-mu * eta))
    assert (known < several).all()
    assert known[0] == pytest.approx(several[0], rel=1e-3)


@every_receiver
@pytest.mark.parametrize("intensity", [0, 1, 2])
def test_time_shift_photon_by_photon(noisy: Receiver, intensity: int) -> None:
    """Her information is that of the guess that the favoured bit clicked."""
    generator, transmittance, mean_efficiency = np.random.default_rng(7), 0.3, 0.6
    photons = generator.binomial(generator.poisson(BRIGHT.mean_photon_numbers[intensity], PULSES), transmittance / mean_efficiency)
    favoured = generator.random(PULSES) < 0.5
    outcomes = detect(noisy, photons, np.zeros(PULSES, bool), generator, favoured)
    expected = time_shift(BRIGHT, noisy, np.array([transmittance]), favoured_efficiency=0.9, other_efficiency=0.3)
    assert_frequencies(outcomes, np.full(PULSES, expected.known_share[0, intensity, 0]), expected, intensity)
    sifted = (outcomes == 1) | (outcomes == 2)
    hit, spread = favoured[sifted].mean(), 0.5 / np.sqrt(sifted.sum())
    low, high = (1.0 - float(binary_entropy(max(0.5, hit + side * SIGMAS * spread))) for side in (-1, 1))
    assert low - 1e-9 <= expected.known_share[0, intensity, 0] <= high


@pytest.mark.parametrize("ratio", [0.0, 0.2, 1.0])
def test_time_shift_without_noise_wins_what_the_ratio_of_efficiencies_says(ratio: float) -> None:
    quiet = replace(NOISY, detector=Detector(efficiency=0.1, dark_count_rate_hz=0.0), misalignment=0.0)
    known = time_shift(BRIGHT, quiet, np.array([1e-5]), favoured_efficiency=0.5, other_efficiency=0.5 * ratio).known_share[0, 0, 0]
    assert known == pytest.approx(1.0 - float(binary_entropy(1.0 / (1.0 + ratio))), abs=1e-4)


@every_receiver
@pytest.mark.parametrize(("never_click_power_share", "misalignment"), [(0.75, 0.08), (0.45, 0.08), (0.45, 0.4)])
def test_blinding_pulse_by_pulse(noisy: Receiver, never_click_power_share: float, misalignment: float) -> None:
    """Eve's photons one by one in her copy of the receiver, then bright pulses split by power among the blinded detectors."""
    noisy = replace(noisy, misalignment=misalignment)
    generator, transmittance, intensity = np.random.default_rng(8), 0.1, 0
    active, split, error = noisy.basis_choice == "active", noisy.x_basis_probability, noisy.misalignment
    hers = replace(noisy, x_basis_probability=0.5) if active else noisy
    photons = generator.binomial(generator.poisson(BRIGHT.mean_photon_numbers[intensity], PULSES), transmittance)
    seen = detect(hers, photons, np.zeros(PULSES, bool), generator)

    her_x = seen != 3
    her_wrong = np.where(seen == 3, generator.random(PULSES) < 0.5, seen == 2)
    her_split = np.where(her_x, split, 1 - split)
    chosen_hers = (generator.random(PULSES) < her_split) if active else None
    others = np.full(PULSES, 0.5) if active else 0.5 * (1 - her_split) / her_split
    power = np.stack([np.full(PULSES, 1 - error), np.full(PULSES, error), others, others], axis=1) / (1 - error)
    clicks = generator.random((PULSES, 4)) < (power - never_click_power_share) / (1 - never_click_power_share)
    clicks[seen == 0] = False
    if chosen_hers is not None:
        clicks &= np.repeat(np.stack([chosen_hers, ~chosen_hers], axis=1), 2, axis=1)
    relative = take(clicks, generator)
    bob_in_her_basis = relative != 3
    bob_x = bob_in_her_basis == her_x
    bob_wrong = np.where(bob_in_her_basis, her_wrong ^ (relative == 2), generator.random(PULSES) < 0.5)
    outcomes = np.where(relative == 0, 0, np.where(bob_x, np.where(bob_wrong, 2, 1), 3))

    expected = detector_blinding(BRIGHT, noisy, np.array([transmittance]), never_click_power_share=never_click_power_share)
    # She makes up for the gates in which she is not obeyed by seeing that much more.
    more = (seen != 0).mean() / (outcomes != 0).mean()
    shares, seen_shares = expected.outcomes[0, intensity, 0], np.bincount(outcomes, minlength=4) / PULSES
    assert (np.abs(more * seen_shares - shares)[1:] <= SIGMAS * more * np.sqrt(2 * seen_shares / PULSES)[1:]).all()
    alone = clicks[:, 0] & ~clicks[:, 1]
    known = (her_x & bob_x & (relative != 0) & alone).mean() * more
    known_share = expected.known_share[0, intensity, 0] * shares[1:3].sum()
    assert abs(known - known_share) <= SIGMAS * more * np.sqrt(2 * known / PULSES)


@pytest.mark.parametrize("noisy", [RECEIVERS["passive"], RECEIVERS["active, uneven"]], ids=["passive", "active, uneven"])
def test_perfect_blinding_changes_no_outcome_at_all_and_tells_everything(noisy: Receiver) -> None:
    transmittance = np.array([1e-3, 0.1, 0.2])
    attacked = detector_blinding(BRIGHT, noisy, transmittance)
    assert attacked.outcomes == pytest.approx(outcome_probabilities(BRIGHT, noisy, transmittance), abs=1e-12)
    assert attacked.known_share == pytest.approx(1.0, abs=1e-12)


def test_blinding_an_active_receiver_needs_half_of_the_light_to_spare() -> None:
    active = replace(NOISY, basis_choice="active")
    honest, attacked = (
        1.0 - outcomes[:, 0, 0, 0]
        for outcomes in (
            outcome_probabilities(BRIGHT, active, np.array([0.1, 1.0])),
            detector_blinding(BRIGHT, active, np.array([0.1, 1.0])).outcomes,
        )
    )
    assert attacked[0] == pytest.approx(honest[0], rel=1e-9)
    assert attacked[1] == pytest.approx(0.5 * (1.0 - np.exp(-2.0)), rel=1e-9)


def test_detectors_that_click_at_half_power_give_blinding_away(transmitter: Transmitter, receiver: Receiver) -> None:
    outcomes = detector_blinding(transmitter, receiver, np.array([0.01]), never_click_power_share=0.2).outcomes[0, 0, 0]
    assert outcomes[2] / outcomes[1:3].sum() > 0.08


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS.keys())
@pytest.mark.parametrize("basis_choice", ["passive", "active"])
@pytest.mark.parametrize("intensities", [2, 3, 5])
def test_every_attack_gives_probabilities_for_any_number_of_intensities(attack: Attack, basis_choice: str, intensities: int) -> None:
    transmitter = Transmitter(
        clock_hz=1e6,
        mean_photon_numbers=tuple(np.linspace(1.0, 0.0, intensities) ** 3),
        probabilities=(1.0 / intensities,) * intensities,
    )
    receiver = replace(NOISY, basis_choice=basis_choice, detector=Detector(efficiency=0.2, dark_count_rate_hz=0.0))  # type: ignore[arg-type]
    result = attack(transmitter, receiver, np.concatenate([[0.0], np.logspace(-8, 0, 9)]))
    assert result.outcomes.shape == (10, intensities, 2, 4)
    assert (result.outcomes >= 0.0).all()
    assert result.outcomes.sum(axis=-1) == pytest.approx(1.0)
    assert result.known_share.shape == (10, intensities, 2)
    assert (result.known_share >= 0.0).all()
    assert (result.known_share <= 1.0 + 1e-6).all()


@pytest.mark.parametrize("attack", [photon_number_splitting, unambiguous_discrimination, beam_splitting, detector_blinding])
def test_the_signal_clicks_as_often_as_it_did(attack: Attack, transmitter: Transmitter, receiver: Receiver) -> None:
    transmittance = np.logspace(-4, -0.1, 12)
    honest = 1.0 - outcome_probabilities(transmitter, receiver, transmittance)[:, 0, :, 0]
    assert 1.0 - attack(transmitter, receiver, transmittance).outcomes[:, 0, :, 0] == pytest.approx(honest, rel=1e-7)


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS.keys())
def test_detections_are_sampled_under_every_attack(attack: Attack, transmitter: Transmitter, receiver: Receiver) -> None:
    outcomes, pulses = attack(transmitter, receiver, np.array([0.02, 0.01])).outcomes, np.array([20_000_000, 40_000_000])
    expected = expected_counts(transmitter, receiver, outcomes, pulses)
    alice, bob = sample_detections(transmitter, receiver, outcomes, pulses, np.random.default_rng(10))
    matched = alice.bases == bob.bases
    for seen, mean in ((matched.sum(), expected.sifted.sum()), ((matched & (alice.bits != bob.bits)).sum(), expected.errors.sum())):
        assert abs(seen - mean) < SIGMAS * np.sqrt(mean) + 1


def block(
    attack: Attack | None,
    transmitter: Transmitter,
    receiver: Receiver,
    *,
    transmittance: float = 0.01,
    pulses: int = 10**11,
    bound: Bound = "hoeffding",
    free: bool = False,
) -> tuple[float, float, float, float]:
    """Proven key, sifted bits that the attack leaves unknown, error rate, and sifted bits of the X basis; ``free`` error correction."""
    steps = np.array([transmittance])
    honest = Eavesdropping(outcome_probabilities(transmitter, receiver, steps), np.zeros((1, len(transmitter.mean_photon_numbers), 2)))
    result = attack(transmitter, receiver, steps) if attack else honest
    counts = expected_counts(transmitter, receiver, result.outcomes, np.array([pulses]))
    (key, test), (key_errors, test_errors) = counts.sifted, counts.errors
    error_rate = float(key_errors.sum() / key.sum())
    proven = proven_key(
        key_counts=key,
        key_errors=key_errors,
        test_counts=test,
        test_errors=test_errors,
        mean_photon_numbers=transmitter.mean_photon_numbers,
        probabilities=transmitter.probabilities,
        leaked_bit=0.0 if free else 1.1 * float(binary_entropy(error_rate)) * key.sum(),
        epsilon_secrecy=1e-9,
        epsilon_correctness=1e-15,
        bound=bound,
    )
    unknown = float((key * (1.0 - result.known_share[0, :, 0])).sum())
    return float(proven.length_bit), unknown, error_rate, float(key.sum())


@pytest.mark.parametrize("basis_choice", ["passive", "active"])
@pytest.mark.parametrize(
    ("name", "errors_rise", "decoys_differ", "promise_broken"),
    [
        ("intercept-resend", True, True, False),
        ("photon-number splitting", False, True, False),
        ("unambiguous discrimination", False, True, False),
        ("beam splitting", False, False, False),
        ("time shift", False, False, True),
        ("detector blinding", False, False, True),
    ],
)
def test_who_notices(
    transmitter: Transmitter,
    receiver: Receiver,
    *,
    name: str,
    errors_rise: bool,
    decoys_differ: bool,
    promise_broken: bool,
    basis_choice: str,
) -> None:
    """20 dB of channel. Errors: five sigmas among a million sifted bits. Decoys: their gain against the signal's is off by 2 %.

    The promise is broken where the proof, Hoeffding's bounds and error correction paid, gives more key than the eavesdropper leaves:
    there only watching the detectors helps.
    """
    watched = replace(receiver, basis_choice=basis_choice)  # type: ignore[arg-type]
    attack, steps = ATTACKS[name], np.array([0.01])
    honest_key, _, honest_error_rate, _ = block(None, transmitter, watched)
    key, unknown, error_rate, sifted = block(attack, transmitter, watched)
    spread = np.sqrt(honest_error_rate * (1 - honest_error_rate) / 1e6)
    assert bool(error_rate > honest_error_rate + SIGMAS * spread) is errors_rise

    outcomes = attack(transmitter, watched, steps).outcomes
    gains, honest_gains = (1.0 - o[0, :, 0, 0] for o in (outcomes, outcome_probabilities(transmitter, watched, steps)))
    assert bool(abs(gains[1] / gains[0] / (honest_gains[1] / honest_gains[0]) - 1.0) > 0.02) is decoys_differ

    assert (key > unknown) is promise_broken
    if errors_rise or decoys_differ:
        assert key == block(attack, transmitter, watched, bound="asymptotic")[0] == 0.0
    else:
        assert key == pytest.approx(honest_key, rel=0.002)
    assert unknown < 0.7 * sifted


@pytest.mark.parametrize("bound", ["asymptotic", "chernoff", "hoeffding"])
@pytest.mark.parametrize("name", [*ON_THE_LIGHT, "a tenth intercepted"])
@given(loss_db=st.floats(0.0, 35.0), pulses=st.integers(10**6, 10**12), signal=st.floats(0.25, 1.0))
def test_the_proof_never_promises_more_than_an_attack_on_the_light_leaves(
    name: str, bound: Bound, loss_db: float, pulses: int, signal: float
) -> None:
    """Error correction is given for free, so that only privacy amplification is on trial."""
    attack = partial(intercept_resend, attacked_share=0.1) if name == "a tenth intercepted" else ATTACKS[name]
    transmitter = Transmitter(clock_hz=1e8, mean_photon_numbers=(signal, 0.1, 0.0), probabilities=(0.6, 0.25, 0.15))
    receiver = replace(NOISY, detector=Detector(efficiency=0.3, dark_count_rate_hz=500.0), gate_s=1e-9, misalignment=0.01)
    key, unknown, _, _ = block(attack, transmitter, receiver, transmittance=10 ** (-loss_db / 10), pulses=pulses, bound=bound, free=True)
    assert key <= unknown * (1.0 + 1e-7) + 1e-3


def test_a_mild_mismatch_of_detectors_alone_does_not_break_the_promise_a_strong_one_does(
    transmitter: Transmitter, receiver: Receiver
) -> None:
    keys, unknown = np.array(
        [block(partial(time_shift, other_efficiency=ratio), transmitter, receiver)[:2] for ratio in (1.0, 0.5, 0.1, 0.03, 0.0)]
    ).T
    assert keys == pytest.approx(keys[0], rel=1e-3)
    assert (keys > unknown).tolist() == [False, False, False, True, True]


def test_splitting_leaves_nothing_where_the_loss_hides_it_and_little_where_it_cannot(transmitter: Transmitter, receiver: Receiver) -> None:
    """At 20 dB several photons pay for the whole gain; at 3 dB she must let whole pulses through. Decoys find no single photon at 20 dB."""
    known = photon_number_splitting(transmitter, receiver, np.array([0.01, 0.5, 1.0])).known_share[:, 0, 0]
    assert known[0] > 0.99
    assert 0.3 < known[1] < 0.6
    assert known[2] == pytest.approx(0.0, abs=1e-9)


def test_without_decoys_splitting_would_go_unseen(transmitter: Transmitter, receiver: Receiver) -> None:
    """Gain and error rate of the signal alone stay what they were to a part in a hundred."""
    honest = outcome_probabilities(transmitter, receiver, np.array([0.01]))[0, 0]
    attacked = photon_number_splitting(transmitter, receiver, np.array([0.01])).outcomes[0, 0]
    assert 1.0 - attacked[:, 0] == pytest.approx(1.0 - honest[:, 0], rel=1e-9)
    assert attacked[:, 2] / attacked[:, 1:3].sum(axis=1) == pytest.approx(honest[:, 2] / honest[:, 1:3].sum(axis=1), rel=0.01)


@pytest.mark.parametrize("tested", [2_000, 100_000])
def test_the_smallest_noticed_share_is_noticed_as_often_as_it_says(tested: int) -> None:
    """Binomial draws: false alarms of the honest link, and misses of a link with that share attacked."""
    honest, attacked, draws = 0.01, 0.255, 200_000
    generator = np.random.default_rng(9)
    share = float(smallest_noticed_share(tested, honest_qber=honest, attacked_qber=attacked, false_alarm=0.02, missed=0.1))
    limit = stats.binom.isf(0.02, tested, honest)
    false_alarms = (generator.binomial(tested, honest, draws) > limit).mean()
    misses = (generator.binomial(tested, honest + share * (attacked - honest), draws) <= limit).mean()
    assert false_alarms <= 0.02 + SIGMAS * np.sqrt(0.02 / draws)
    assert abs(misses - 0.1) < SIGMAS * np.sqrt(0.09 / draws)


def test_what_escapes_notice_shrinks_with_the_root_of_the_bits() -> None:
    tested = np.array([0.0, 10.0, 1e4, 1e6, 1e8])
    share = smallest_noticed_share(tested, honest_qber=0.01, attacked_qber=0.255)
    assert np.isinf(share[:2]).all()
    assert 0.02 < share[2] < 0.05
    assert share[2] / share[3] == pytest.approx(10.0, rel=0.2)
    assert share[3] / share[4] == pytest.approx(10.0, rel=0.05)
    # Without any error of its own the link notices four or so: -ln(0.01) errors expected.
    flawless = float(smallest_noticed_share(1e6, honest_qber=0.0, attacked_qber=0.25))
    assert flawless == pytest.approx(np.log(100) / 1e6 / 0.25, rel=1e-3)


def test_an_interception_too_small_to_notice_is_paid_for_all_the_same(transmitter: Transmitter, receiver: Receiver) -> None:
    """Half of the share that a million bits would show: no alarm, and the key is shorter by more than she knows."""
    share = 0.5 * float(smallest_noticed_share(1e6, honest_qber=0.0126, attacked_qber=0.256))
    whole, _, _, _ = block(None, transmitter, receiver, pulses=15 * 10**9)
    partly = partial(intercept_resend, attacked_share=share)
    key, unknown, _, sifted = block(partly, transmitter, receiver, pulses=15 * 10**9)
    assert sifted == pytest.approx(1e6, rel=0.1)
    assert 0.0 < key < whole - (sifted - unknown)
    assert key < unknown


@pytest.mark.parametrize(
    ("attack", "keyword", "value"),
    [
        (intercept_resend, "attacked_share", 1.1),
        (unambiguous_discrimination, "resent_mean_photons", 0.0),
        (time_shift, "favoured_efficiency", 1.5),
        (time_shift, "other_efficiency", -0.1),
        (detector_blinding, "never_click_power_share", 1.0),
    ],
)
def test_attacks_refuse_what_cannot_be(attack: Attack, keyword: str, value: float, transmitter: Transmitter, receiver: Receiver) -> None:
    with pytest.raises(InputError, match=keyword):
        attack(transmitter, receiver, np.array([0.1]), **{keyword: value})  # type: ignore[call-arg]


def test_sifted_gates_are_right_or_wrong() -> None:
    assert sifted_share(np.array([0.1, 0.2, 0.3, 0.4])) == pytest.approx(0.5)
