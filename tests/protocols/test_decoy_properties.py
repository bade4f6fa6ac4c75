"""What must hold for every decoy-state link, whatever its hardware: properties tried on random ones."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tiandi.physics.detectors import Detector
from tiandi.physics.equipment import Receiver, Transmitter
from tiandi.protocols.decoy_bb84 import ExpectedCounts, expected_counts, outcome_probabilities
from tiandi.protocols.finite_key import Bound, expected_secret_bit
from tiandi.protocols.information import plob_bound

PULSES = 10**9


@st.composite
def links(draw: st.DrawFn) -> tuple[Transmitter, Receiver]:
    """One or two decoys, with or without vacuum, any bias, passive or active."""
    signal, decoy = draw(st.floats(0.2, 0.9)), draw(st.floats(0.02, 0.09))
    signal_share, decoy_share = draw(st.floats(0.3, 0.8)), draw(st.floats(0.3, 0.7))
    means, probabilities = draw(
        st.sampled_from(
            [
                ((signal, decoy, 0.0), (signal_share, (1 - signal_share) * decoy_share, (1 - signal_share) * (1 - decoy_share))),
                ((signal, 2 * decoy), (signal_share, 1 - signal_share)),
            ]
        )
    )
    basis_choice = draw(st.sampled_from(["active", "passive"]))
    bias = draw(st.floats(0.1, 0.9)) if basis_choice == "active" else 0.5
    receiver = Receiver(
        optics_efficiency=draw(st.floats(0.1, 1.0)),
        detector=Detector(draw(st.floats(0.05, 1.0)), draw(st.floats(0.0, 1e4)), dead_time_s=draw(st.sampled_from([0.0, 1e-6]))),
        gate_s=1e-9,
        misalignment=draw(st.floats(0.0, 0.08)),
        x_basis_probability=bias,
        basis_choice=basis_choice,
    )
    return Transmitter(1e8, means, probabilities, x_basis_probability=bias), receiver


def counts(transmitter: Transmitter, receiver: Receiver, transmittance: float, pulses: float = PULSES) -> ExpectedCounts:
    outcomes = outcome_probabilities(transmitter, receiver, np.array([transmittance]))
    return expected_counts(transmitter, receiver, outcomes, np.array([pulses]))


def key(transmitter: Transmitter, found: ExpectedCounts, bound: Bound = "hoeffding") -> float:
    return float(
        expected_secret_bit(
            found.sifted,
            found.errors,
            mean_photon_numbers=transmitter.mean_photon_numbers,
            probabilities=transmitter.probabilities,
            epsilon_secrecy=1e-9,
            epsilon_correctness=1e-15,
            error_correction_efficiency=1.0,
            bound=bound,
        )
    )


@given(links(), st.floats(1e-5, 1.0))
def test_no_key_above_what_any_protocol_without_a_repeater_could_make(link: tuple[Transmitter, Receiver], transmittance: float) -> None:
    """Dead time and noise included; the bound is that of the channel alone."""
    transmitter, _ = link
    # Light in two polarisations: twice the bound of one mode.
    assert key(transmitter, counts(*link, transmittance), "asymptotic") <= 2 * PULSES * float(plob_bound(min(transmittance, 1 - 1e-12)))


@given(links(), st.floats(1e-4, 0.5))
def test_a_block_makes_less_than_infinitely_many_pulses_and_comes_near_them(
    link: tuple[Transmitter, Receiver], transmittance: float
) -> None:
    transmitter, _ = link
    asymptotic = key(transmitter, counts(*link, transmittance), "asymptotic") / PULSES
    rates = [key(transmitter, counts(*link, transmittance, pulses)) / pulses for pulses in (1e7, 1e9, 1e11, 1e17)]
    assert rates == sorted(rates)
    assert rates[-1] <= asymptotic * (1 + 1e-9)
    # Near the end of the reach a small correction is a large share of the key.
    if asymptotic > 1e-2 * transmittance:
        assert rates[-1] > 0.9 * asymptotic


@given(links(), st.floats(1e-4, 0.3), st.floats(1.05, 3.0))
def test_more_loss_is_less_key(link: tuple[Transmitter, Receiver], transmittance: float, factor: float) -> None:
    """Without dead time: with it, a saturated receiver may gain from loss."""
    transmitter, receiver = link
    receiver = replace(receiver, detector=replace(receiver.detector, dead_time_s=0.0))
    near, far = (key(transmitter, counts(transmitter, receiver, t)) for t in (transmittance, transmittance / factor))
    assert far <= near + 1.0


@given(links(), st.floats(1e-4, 0.5), st.floats(1.1, 10.0))
def test_more_noise_is_less_key(link: tuple[Transmitter, Receiver], transmittance: float, factor: float) -> None:
    transmitter, receiver = link
    noisy = replace(receiver, background_rate_hz=factor * (receiver.detector.dark_count_rate_hz + 10.0))
    assert (
        key(transmitter, counts(transmitter, noisy, transmittance)) <= key(transmitter, counts(transmitter, receiver, transmittance)) + 1.0
    )


@given(links(), st.floats(1e-4, 0.5), st.floats(0.0, 0.05))
def test_more_misalignment_is_less_key(link: tuple[Transmitter, Receiver], transmittance: float, more: float) -> None:
    transmitter, receiver = link
    worse = replace(receiver, misalignment=receiver.misalignment + more)
    assert (
        key(transmitter, counts(transmitter, worse, transmittance)) <= key(transmitter, counts(transmitter, receiver, transmittance)) + 1.0
    )


@given(links(), st.floats(1e-4, 0.5))
def test_the_names_of_the_bases_do_not_matter(link: tuple[Transmitter, Receiver], transmittance: float) -> None:
    transmitter, receiver = link
    other = replace(transmitter, x_basis_probability=1 - transmitter.x_basis_probability)
    renamed = counts(other, replace(receiver, x_basis_probability=1 - receiver.x_basis_probability), transmittance)
    found = counts(transmitter, receiver, transmittance)
    assert np.allclose(renamed.sifted, found.sifted[::-1], rtol=1e-12)
    assert np.allclose(renamed.errors, found.errors[::-1], rtol=1e-12)
    assert abs(key(other, renamed) - key(transmitter, found)) < 1e-6 * PULSES
