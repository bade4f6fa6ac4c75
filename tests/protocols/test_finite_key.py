from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import hypergeom

from tiandi.protocols.concentration import fewest_trusted_errors, sampling_deviation
from tiandi.protocols.finite_key import (
    EPSILON_SHARES,
    decoy_bounds,
    proven_key,
)
from tiandi.protocols.information import binary_entropy

MU, P = (0.5, 0.15, 0.0), (0.7, 0.2, 0.1)
COUNTS = np.array([205_000.0, 18_000.0, 30.0])


def key_bit(scale: float = 1.0, error_rate: float = 0.01, bound: Any = "hoeffding") -> float:
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


def failure_share(errors: float, tested: int, kept: int, epsilon_secrecy: float) -> float:
    """Exact probability that gamma fails, over what it may: drawing ``tested`` of all events without replacement shows at most
    ``errors`` errors although the kept ones hold just more than the bound allows.
    """
    rate = errors / tested
    bound = rate + float(sampling_deviation(rate, tested, kept, epsilon_secrecy / EPSILON_SHARES[3]))
    fewest_bad = int(errors + np.floor(bound * kept)) + 1
    return float(hypergeom.cdf(errors, tested + kept, fewest_bad, tested)) / (epsilon_secrecy / EPSILON_SHARES[3])


SPLITS = [(30_000, 30_000), (60_000, 3_000), (3_000, 60_000), (100_000, 1_000_000), (1_000_000, 10_000), (1_000_000, 3_000)]


@pytest.mark.parametrize(("tested", "kept"), SPLITS)
@pytest.mark.parametrize("epsilon_secrecy", [1e-3, 1e-6, 5e-10, 1e-12, 1e-16, 1e-24])
def test_the_sampling_bound_holds_from_the_fewest_errors_it_is_trusted_with(tested: int, kept: int, epsilon_secrecy: float) -> None:
    fewest = float(np.ceil(fewest_trusted_errors(tested, kept, epsilon_secrecy / EPSILON_SHARES[3])))
    for errors in (fewest, np.ceil(1.3 * fewest), 2 * fewest, 5 * fewest):
        assert errors / tested > 0.3 or failure_share(errors, tested, kept, epsilon_secrecy) <= 1.0


def test_below_them_the_bound_would_fail() -> None:
    assert failure_share(1, 30_000, 30_000, 5e-10) > 1000


def test_a_block_without_errors_is_treated_as_one_with_the_fewest() -> None:
    assert key_bit(scale=100.0, error_rate=0.0) < key_bit(scale=100.0, error_rate=0.0, bound="asymptotic")
