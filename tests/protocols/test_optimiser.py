"""The optimiser against a search that knows nothing of it, and against itself."""

from dataclasses import replace

import numpy as np
import pytest

from tiandi.physics.equipment import Receiver, Transmitter
from tiandi.protocols.decoy_bb84 import expected_counts, outcome_probabilities
from tiandi.protocols.finite_key import expected_secret_bit
from tiandi.protocols.optimiser import Optimum, optimise_decoy_bb84
from tiandi.quantum.link import QkdLink

TRANSMITTANCE = np.geomspace(0.002, 0.2, 100)
PULSES = np.full(100, 20_000_000)


def secret_bit(transmitter: Transmitter, receiver: Receiver) -> float:
    counts = expected_counts(transmitter, receiver, outcome_probabilities(transmitter, receiver, TRANSMITTANCE), PULSES)
    return float(
        expected_secret_bit(
            counts.sifted,
            counts.errors,
            mean_photon_numbers=transmitter.mean_photon_numbers,
            probabilities=transmitter.probabilities,
            epsilon_secrecy=1e-9,
            epsilon_correctness=1e-15,
            error_correction_efficiency=1.06,
        )
    )


def random_settings(transmitter: Transmitter, receiver: Receiver, generator: np.random.Generator) -> tuple[Transmitter, Receiver]:
    means = np.sort(generator.uniform(0.01, 0.5, len(transmitter.mean_photon_numbers)))[::-1] * [
        2.0,
        *[1.0] * (len(transmitter.probabilities) - 1),
    ]
    if transmitter.mean_photon_numbers[-1] == 0.0:
        means[-1] = 0.0
    probabilities = np.clip(generator.dirichlet(np.ones(means.size)), 0.01, None)
    bias = float(generator.uniform(0.05, 0.95))
    candidate = replace(
        transmitter,
        mean_photon_numbers=tuple(means.tolist()),
        probabilities=tuple((probabilities / probabilities.sum()).tolist()),
        x_basis_probability=bias,
    )
    return candidate, replace(receiver, x_basis_probability=bias) if receiver.basis_choice == "active" else receiver


def best(transmitter: Transmitter, receiver: Receiver) -> Optimum:
    return optimise_decoy_bb84(transmitter, receiver, TRANSMITTANCE, PULSES)


@pytest.mark.parametrize("basis_choice", ["passive", "active"])
@pytest.mark.parametrize("means", [(0.5, 0.15, 0.0), (0.5, 0.15), (0.5, 0.2, 0.01)])
def test_no_random_settings_make_more_key(
    transmitter: Transmitter, receiver: Receiver, basis_choice: str, means: tuple[float, ...]
) -> None:
    start = replace(transmitter, mean_photon_numbers=means, probabilities=tuple(np.full(len(means), 1 / len(means)).tolist()))
    receiver = replace(receiver, basis_choice=basis_choice)
    found = best(start, receiver)
    assert found.secret_bit == pytest.approx(secret_bit(found.transmitter, found.receiver), rel=1e-9)
    generator = np.random.default_rng(8)
    rivals = [secret_bit(*random_settings(start, receiver, generator)) for _ in range(150)]
    assert max(rivals) > 0.3 * found.secret_bit
    assert max(rivals) <= found.secret_bit * 1.001


def test_small_changes_of_the_best_settings_make_less_key(transmitter: Transmitter, receiver: Receiver) -> None:
    found = best(transmitter, receiver)
    signal, decoy, vacuum = found.transmitter.mean_photon_numbers
    for means in (
        (signal * 1.1, decoy, vacuum),
        (signal * 0.9, decoy, vacuum),
        (signal, decoy * 1.1, vacuum),
        (signal, decoy * 0.9, vacuum),
    ):
        assert secret_bit(replace(found.transmitter, mean_photon_numbers=means), found.receiver) < found.secret_bit


def test_a_bias_is_worth_nearly_twice_the_key(transmitter: Transmitter, receiver: Receiver) -> None:
    """Efficient BB84 (Lo, Chau, Ardehali 2005, doi:10.1007/s00145-004-0142-y): with an active choice, nearly all clicks are sifted."""
    passive, active = (best(transmitter, replace(receiver, basis_choice=choice)) for choice in ("passive", "active"))
    assert active.transmitter.x_basis_probability == active.receiver.x_basis_probability
    assert abs(active.transmitter.x_basis_probability - 0.5) > 0.25
    assert 1.2 * passive.secret_bit < active.secret_bit < 2 * passive.secret_bit


def test_an_optimised_link_distils_more(link: QkdLink) -> None:
    better = link.optimised(20.0)
    assert better.forecast(20.0).secret_bit > link.forecast(20.0).secret_bit
    alice, bob = better.distil(20.0, seed=5).keys()
    assert alice.key == bob.key
