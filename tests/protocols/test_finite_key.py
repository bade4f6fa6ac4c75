from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiandi.errors import InputError
from tiandi.protocols.finite_key import (
    Bound,
    Sampling,
    decoy_bounds,
    proven_key,
)
from tiandi.protocols.information import binary_entropy

MU, P = (0.5, 0.15, 0.0), (0.7, 0.2, 0.1)
COUNTS = np.array([205_000.0, 18_000.0, 30.0])


def key_bit(scale: float = 1.0, error_rate: float = 0.01, bound: Bound = "hoeffding", sampling: Sampling = "exact") -> float:
    counts = scale * COUNTS
    proven = proven_key(
        key_counts=counts,
        key_errors=error_rate * counts,
        test_counts=counts,
        test_errors=error_rate * counts,
        mean_photon_numbers=MU,
        probabilities=P,
        leaked_bit=1.1 * float(binary_entropy(error_rate)) * counts.sum(),
        epsilon_secrecy=1e-9,
        epsilon_correctness=1e-15,
        bound=bound,
        sampling=sampling,
    )
    return float(proven.length_bit)


@given(st.floats(0.0, 0.2), st.floats(0.0, 0.2))
def test_more_errors_never_give_more_key(first: float, second: float) -> None:
    low, high = sorted((first, second))
    assert key_bit(error_rate=low) >= key_bit(error_rate=high) - 1e-6


@given(st.floats(0.1, 1000.0))
def test_finite_key_is_never_longer_than_asymptotic(scale: float) -> None:
    assert key_bit(scale) <= key_bit(scale, bound="chernoff") <= key_bit(scale, bound="asymptotic")


def test_finite_rate_tends_to_the_asymptotic_one() -> None:
    rates = [key_bit(scale) / scale for scale in (1.0, 1e2, 1e4, 1e6)]
    assert rates == sorted(rates)
    assert rates[-1] == pytest.approx(key_bit(1.0, bound="asymptotic"), rel=0.02)


@pytest.mark.parametrize("counts", [(0, 0, 0), (10, 1, 0), (300, 0, 0)])
def test_a_tiny_block_gives_no_key(counts: tuple[int, int, int]) -> None:
    nothing = proven_key(
        key_counts=counts,
        key_errors=(0, 0, 0),
        test_counts=counts,
        test_errors=(0, 0, 0),
        mean_photon_numbers=MU,
        probabilities=P,
        leaked_bit=0,
        epsilon_secrecy=1e-9,
        epsilon_correctness=1e-15,
    )
    assert float(nothing.length_bit) == 0.0


@given(st.tuples(*[st.integers(0, 10**6)] * 3))
def test_no_counts_whatever_give_more_than_they_are(counts: tuple[int, int, int]) -> None:
    bounds = decoy_bounds(counts, (0, 0, 0), mean_photon_numbers=MU, probabilities=P, epsilon_secrecy=1e-9)
    assert 0 <= bounds.vacuum + bounds.single_photon <= sum(counts)


def test_half_of_the_bits_wrong_give_no_key() -> None:
    assert key_bit(scale=1e6, error_rate=0.5) == 0.0


def test_many_links_at_once_equal_each_alone() -> None:
    scales = np.array([[0.5, 1.0], [2.0, 30.0]])
    counts = scales[..., None] * COUNTS
    together = proven_key(
        key_counts=counts,
        key_errors=0.01 * counts,
        test_counts=counts,
        test_errors=0.01 * counts,
        mean_photon_numbers=MU,
        probabilities=P,
        leaked_bit=1.1 * float(binary_entropy(0.01)) * counts.sum(axis=-1),
        epsilon_secrecy=1e-9,
        epsilon_correctness=1e-15,
    ).length_bit
    assert together == pytest.approx(np.vectorize(key_bit)(scales), rel=1e-12)


@pytest.mark.parametrize("bound", ["hoeffding", "chernoff"])
def test_the_exact_sampling_bound_costs_a_thousandth_of_the_printed_one(bound: Bound) -> None:
    exact, printed = (key_bit(scale=100.0, bound=bound, sampling=sampling) for sampling in ("exact", "printed"))
    assert printed * 0.995 < exact < printed * 1.005


def test_a_block_without_errors_still_pays_for_those_it_may_have_missed() -> None:
    assert key_bit(scale=100.0, error_rate=0.0) < key_bit(scale=100.0, error_rate=0.0, bound="asymptotic")


@pytest.mark.parametrize(
    ("changes", "field"),
    [({"bound": "finite"}, "bound"), ({"sampling": "gamma"}, "sampling"), ({"epsilon_secrecy": 1.0}, "epsilon_secrecy")],
)
def test_a_misspelt_bound_proves_nothing(changes: dict[str, Any], field: str) -> None:
    common: dict[str, Any] = {"mean_photon_numbers": MU, "probabilities": P, "leaked_bit": 0.0, "epsilon_correctness": 1e-15}
    with pytest.raises(InputError, match=field):
        proven_key(
            key_counts=COUNTS,
            key_errors=0 * COUNTS,
            test_counts=COUNTS,
            test_errors=0 * COUNTS,
            **{"epsilon_secrecy": 1e-9} | common | changes,
        )


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"mean_photon_numbers": (0.5, 0.4, 0.2)}, "mean_photon_numbers"),
        ({"mean_photon_numbers": (0.5, 0.3, 0.2)}, "mean_photon_numbers"),
        ({"mean_photon_numbers": (0.1, 0.5, 0.0)}, "mean_photon_numbers"),
        ({"counts": (-5.0, 100.0, 10.0)}, "counts"),
        ({"counts": (float("nan"), 100.0, 10.0)}, "counts"),
        ({"errors": (200.0, 0.0, 0.0)}, "counts"),
        ({"counts": (1.0, 1.0, 1.0, 1.0), "errors": (0.0,) * 4}, "intensities"),
    ],
)
def test_what_no_light_gives_is_refused(changes: dict[str, tuple[float, ...]], field: str) -> None:
    given = {"counts": (100.0, 50.0, 10.0), "errors": (1.0, 1.0, 1.0), "mean_photon_numbers": (0.5, 0.1, 0.0)} | changes
    with pytest.raises(InputError, match=field):
        decoy_bounds(
            given["counts"], given["errors"], mean_photon_numbers=given["mean_photon_numbers"], probabilities=P, epsilon_secrecy=1e-9
        )


HADAMARD = np.array([[1, 1], [1, -1]]) / np.sqrt(2)


def entropy_bit(weights: np.ndarray) -> float:
    """Von Neumann or Shannon entropy of eigenvalues or probabilities that add up to at most 1."""
    weights = weights[weights > 1e-15]
    return float(-(weights * np.log2(weights)).sum())


def entropy_of_alice(state: np.ndarray, *, error_told: bool) -> tuple[float, float]:
    """H(Z of Alice | Eve, and the error if told) of a pure state (2, 2, d) of Alice, Bob and Eve; and the rate of phase errors."""
    in_x = np.einsum("ij,kl,jle->ike", HADAMARD, HADAMARD, state)
    phase_error = float((np.abs(in_x[[0, 1], [1, 0]]) ** 2).sum())
    bits, errors = np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1])
    eve = state[bits, bits ^ errors]  # Not normalised: what Eve holds for each bit of Alice and each error.
    groups = [eve[errors == error] for error in (0, 1)] if error_told else [eve]
    with_eve = sum(entropy_bit(np.linalg.eigvalsh(np.einsum("ie,if->ef", group, group.conj())).real) for group in groups)
    if error_told:
        return entropy_bit((np.abs(eve) ** 2).sum(axis=1)) - with_eve, phase_error
    of_bits = [np.einsum("ie,if->ef", eve[bits == bit], eve[bits == bit].conj()) for bit in (0, 1)]
    return sum(entropy_bit(np.linalg.eigvalsh(part).real) for part in of_bits) - with_eve, phase_error


def test_errors_told_take_nothing_from_the_proof_of_a_qubit() -> None:
    """States of two qubits and Eve, drawn at random: her uncertainty stays above 1 - h(phase error) when she is told the error as well."""
    generator = np.random.default_rng(1)
    told_less = 0
    for _ in range(500):
        good = np.zeros((2, 2, 4))
        good[0, 0, 0] = good[1, 1, 0] = np.sqrt(0.5)
        noise = generator.normal(size=(2, 2, 4)) + 1j * generator.normal(size=(2, 2, 4))
        state = good + generator.uniform(0, 0.3) * noise
        state /= np.linalg.norm(state)
        kept, phase_error = entropy_of_alice(state, error_told=False)
        told, _ = entropy_of_alice(state, error_told=True)
        assert told >= 1 - binary_entropy(phase_error) - 1e-9
        told_less += told < kept - 1e-6
    assert told_less > 400  # She does learn something: only the bound does not move.


def test_an_error_pattern_that_is_told_costs_the_share_of_the_vacuum() -> None:
    common: dict[str, Any] = {
        "key_counts": COUNTS,
        "key_errors": 0.01 * COUNTS,
        "test_counts": COUNTS,
        "test_errors": 0.01 * COUNTS,
        "mean_photon_numbers": MU,
        "probabilities": P,
        "leaked_bit": 20_000,
        "epsilon_secrecy": 1e-9,
        "epsilon_correctness": 1e-15,
        "bound": "asymptotic",
    }
    kept, told = proven_key(**common), proven_key(**common, error_pattern_told=True)
    assert kept.key_basis.vacuum > 0
    assert kept.length_bit - told.length_bit == pytest.approx(float(kept.key_basis.vacuum))
