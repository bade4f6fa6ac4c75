"""Correlations and Bell violations against state vectors and density matrices, keys against an eavesdropper who holds the purification.

Statistical tests allow five standard deviations: one false alarm in 1.7 million comparisons. They are seeded.
"""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import optimize

from tiandi.errors import InputError
from tiandi.protocols.device_independent import (
    CHSH_ANGLES_RAD,
    TSIRELSON_BOUND,
    asymptotic_key_rate,
    chsh_from_counts,
    chsh_from_visibility,
    correlation_from_counts,
    error_rate,
    event_table,
    fidelity_from_visibility,
    polarisation_correlation,
    visibility_from_qber,
)

SIGMAS = 5.0
BELL = np.array([1.0, 0.0, 0.0, 1.0]) / math.sqrt(2)
PAULI = np.array([[[0, 1], [1, 0]], [[0, -1j], [1j, 0]], [[1, 0], [0, -1]]])


def werner(visibility: float) -> NDArray[np.float64]:
    return visibility * np.outer(BELL, BELL) + (1 - visibility) * np.eye(4) / 4


def analyser(angle: float) -> NDArray[np.float64]:
    """Observable +1 for light along the analyser, -1 across it."""
    along = np.array([math.cos(angle), math.sin(angle)])
    return 2 * np.outer(along, along) - np.eye(2)


@pytest.mark.parametrize("visibility", [1.0, 0.8, 0.0])
def test_correlations_and_fidelity_are_those_of_a_werner_state(visibility: float) -> None:
    state = werner(visibility)
    angles = np.linspace(-1.0, 2.0, 7)
    expected = [[np.trace(state @ np.kron(analyser(a), analyser(b))) for b in angles] for a in angles]
    assert polarisation_correlation(angles[:, None], angles, visibility) == pytest.approx(np.array(expected), abs=1e-12)
    assert float(fidelity_from_visibility(visibility)) == pytest.approx(BELL @ state @ BELL)
    bell = polarisation_correlation(*np.ix_(*CHSH_ANGLES_RAD), visibility)
    value = bell[0, 0] + bell[0, 1] + bell[1, 0] - bell[1, 1]
    assert value == pytest.approx(float(chsh_from_visibility(visibility)), abs=1e-12)


def test_no_other_angles_violate_more() -> None:
    def less(angles: NDArray[np.float64]) -> float:
        bell = polarisation_correlation(angles[:2, None], angles[2:])
        return -float(bell[0, 0] + bell[0, 1] + bell[1, 0] - bell[1, 1])

    best = [optimize.minimize(less, start).fun for start in np.random.default_rng(0).uniform(0, math.pi, (10, 4))]
    assert min(best) == pytest.approx(-TSIRELSON_BOUND, rel=1e-6)


def entropy(matrix: NDArray[np.complex128]) -> float:
    values = np.linalg.eigvalsh(matrix)
    values = values[values > 1e-14]
    return float(-np.sum(values * np.log2(values)))


def eavesdropper_entropy(state: NDArray[np.complex128], observable: NDArray[np.complex128], flip: float) -> float:
    """H(A|E) of Alice's bit when Eve purifies the two qubits and Alice flips it with probability ``flip``."""
    weights, vectors = np.linalg.eigh(state)
    pure = (vectors * np.sqrt(np.clip(weights, 0, None))).reshape(2, 2, 4)
    projectors = [(np.eye(2) + sign * observable) / 2 for sign in (1, -1)]
    parts = [np.einsum("ap,abe,pbf->ef", projector, pure.conj(), pure).T for projector in projectors]
    mixed = [(1 - flip) * parts[0] + flip * parts[1], (1 - flip) * parts[1] + flip * parts[0]]
    return sum(entropy(part) for part in mixed) - entropy(parts[0] + parts[1])


def best_chsh(state: NDArray[np.complex128], first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """Largest S over Bob's measurements, when Alice measures along two directions of the Bloch sphere."""
    tensor = np.array([[np.trace(state @ np.kron(a, b)).real for b in PAULI] for a in PAULI])
    return float(np.linalg.norm((first + second) @ tensor) + np.linalg.norm((first - second) @ tensor))


@pytest.mark.parametrize("flip", [0.0, 0.1, 0.3])
@pytest.mark.parametrize("chsh", [2.05, 2.4, 2.75])
def test_the_best_attack_leaves_exactly_the_bound(chsh: float, flip: float) -> None:
    """The attack of Acin et al.: a mixture of two Bell states, of which Eve knows which, at S = 2 sqrt(1 + C^2)."""
    coherence = math.sqrt((chsh / 2) ** 2 - 1)
    other = np.array([1.0, 0.0, 0.0, -1.0]) / math.sqrt(2)
    state = (0.5 * (1 + coherence) * np.outer(BELL, BELL) + 0.5 * (1 - coherence) * np.outer(other, other)).astype(complex)
    assert best_chsh(state, np.array([0.0, 0.0, 1.0]), np.array([1.0, 0.0, 0.0])) == pytest.approx(chsh)
    bound = float(asymptotic_key_rate(chsh, 0.0, added_noise=flip)) + binary(flip)
    assert eavesdropper_entropy(state, PAULI[2], flip) == pytest.approx(bound, abs=1e-9)


def binary(probability: float) -> float:
    return -sum(p * math.log2(p) for p in (probability, 1 - probability) if p > 0)


def test_no_state_of_two_qubits_leaves_less_than_the_bound() -> None:
    """1,000 random states near a Bell state, random measurements of Alice, the best ones of Bob."""
    generator = np.random.default_rng(5)
    violating = 0
    for _ in range(1000):
        noise = generator.standard_normal((4, 4)) + 1j * generator.standard_normal((4, 4))
        share = generator.uniform(0, 0.3)
        state = (1 - share) * np.outer(BELL, BELL) + share * noise @ noise.conj().T / np.trace(noise @ noise.conj().T).real
        first, second = (vector / np.linalg.norm(vector) for vector in generator.standard_normal((2, 3)))
        chsh, flip = best_chsh(state, first, second), generator.uniform(0, 0.5)
        if chsh > 2.01:
            violating += 1
            bound = float(asymptotic_key_rate(chsh, 0.0, added_noise=flip)) + binary(flip)
            assert eavesdropper_entropy(state, np.einsum("i,ijk->jk", first, PAULI), flip) >= bound - 1e-9
    assert violating > 300


def test_added_noise_lets_more_errors_pass() -> None:
    """Largest QBER of a Werner state: 7.1 % without (Acin et al. 2007) and 8.1 % with added noise (Ho et al. 2020; recalled)."""
    qber = np.linspace(0.06, 0.09, 3001)
    chsh = chsh_from_visibility(visibility_from_qber(qber))
    plain = asymptotic_key_rate(chsh, qber)
    noisy = asymptotic_key_rate(chsh[:, None], qber[:, None], added_noise=np.linspace(0.0, 0.499, 300)).max(axis=1)
    assert qber[plain > 0][-1] == pytest.approx(0.0715, abs=2e-4)
    assert qber[noisy > 0][-1] == pytest.approx(0.0808, abs=3e-4)
    assert (noisy >= plain).all()


@given(chsh=st.floats(-4.0, 4.0), qber=st.floats(0.0, 1.0), noise=st.floats(0.0, 0.5))
def test_no_violation_no_key(chsh: float, qber: float, noise: float) -> None:
    key = float(asymptotic_key_rate(chsh, qber, added_noise=noise))
    assert 0.0 <= key <= 1.0
    assert key == 0.0 or chsh > 2.0
    assert float(asymptotic_key_rate(min(chsh + 0.05, 4.0), qber, added_noise=noise)) >= key - 1e-12


def test_sampled_events_show_the_violation_and_the_errors_they_were_given() -> None:
    chsh, qber = 2.578, 0.078
    chances = {"alice_probabilities": (0.6, 0.4), "bob_probabilities": (0.25, 0.25, 0.5)}
    table = event_table(chsh, qber, heralding_probability=[1e-6, 3e-6], **chances)  # type: ignore[arg-type]
    attempts = np.array([100_000_000_000, 50_000_000_000])
    expected = table.expected_counts(attempts)
    assert expected.sum() == pytest.approx(250_000)
    counts = table.sample(attempts, np.random.default_rng(12)).counts()
    assert (np.abs(counts - expected) < SIGMAS * np.sqrt(expected)).all()
    value, deviation = chsh_from_counts(counts)
    assert abs(value - chsh) < SIGMAS * deviation
    rate, spread = error_rate(counts[0, 2])
    assert abs(rate - qber) < SIGMAS * spread
    exact, _ = chsh_from_counts(expected)
    assert float(exact) == pytest.approx(chsh, rel=1e-12)
    assert float(error_rate(expected[0, 2])[0]) == pytest.approx(qber, rel=1e-12)
    assert float(correlation_from_counts(expected[1, 2])[0]) == pytest.approx(0.0, abs=1e-12)


def test_the_standard_errors_are_the_spread_of_many_runs() -> None:
    table = event_table(2.5, 0.06, heralding_probability=0.4, alice_probabilities=(0.5, 0.5), bob_probabilities=(0.3, 0.3, 0.4))
    runs = 2000
    cells = table.probabilities[0].ravel() / 0.4
    counts = np.random.default_rng(3).multinomial(5000, cells, runs).reshape(runs, 2, 3, 2, 2)
    for values, deviations in (chsh_from_counts(counts), error_rate(counts[:, 0, 2])):
        assert values.std() == pytest.approx(np.sqrt(np.mean(deviations**2)), rel=SIGMAS / math.sqrt(2 * runs))


def test_relabelling_both_ends_bits_changes_nothing() -> None:
    counts = np.random.default_rng(1).integers(1, 100, (2, 3, 2, 2))
    value, deviation = chsh_from_counts(counts)
    flipped = chsh_from_counts(counts[..., ::-1, ::-1])
    ends = chsh_from_counts(counts.transpose(1, 0, 3, 2))
    assert float(flipped[0]) == pytest.approx(float(value))
    assert float(ends[0]) == pytest.approx(float(value))
    assert float(ends[1]) == pytest.approx(float(deviation))


def test_counts_that_say_nothing_are_no_violation() -> None:
    value, deviation = chsh_from_counts(np.zeros((2, 2, 2, 2)))
    assert float(value) == 0.0
    assert math.isinf(deviation)
    assert float(error_rate(np.zeros((2, 2)))[0]) == 0.5


@pytest.mark.parametrize(
    ("call", "field"),
    [
        (lambda: asymptotic_key_rate(4.1, 0.0), "chsh"),
        (lambda: asymptotic_key_rate(2.5, -0.1), "qber"),
        (lambda: asymptotic_key_rate(2.5, 0.1, added_noise=0.6), "added_noise"),
        (lambda: heralded(chsh=2.9), "chsh"),
        (lambda: heralded(heralding_probability=0.6), "heralding_probability"),
        (lambda: heralded(alice_probabilities=(0.5, 0.4)), "alice_probabilities"),
    ],
)
def test_bad_figures_are_named(call: Any, field: str) -> None:
    with pytest.raises(InputError) as caught:
        call()
    assert caught.value.field == field


def heralded(chsh: float = 2.5, **changes: Any) -> Any:
    usual = {"heralding_probability": 0.1, "alice_probabilities": (0.5, 0.5), "bob_probabilities": (0.3, 0.3, 0.4)}
    return event_table(chsh, 0.05, **(usual | changes))
