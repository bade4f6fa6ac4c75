"""Sending or not sending against pulses followed one by one, pairs of qubits worked out exactly, and bounds on the safe side.

Statistical tests allow five standard deviations (one false alarm in 1.7 million comparisons) and are seeded.
"""

import math
from collections.abc import Iterator
from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tiandi.errors import InputError
from tiandi.protocols.information import binary_entropy, plob_bound
from tiandi.protocols.sending_or_not_sending import (
    SIGNAL_WINDOWS,
    Result,
    SendingRate,
    SendingSource,
    Window,
    asymptotic_key_rate,
    code_gains,
    event_table,
    pair_bits,
    paired_counts,
    single_photon_yields,
    slice_clicks,
)
from tiandi.protocols.twin_field import CentralStation, fock_yields, phase_mismatch_rad
from tiandi.protocols.twin_field_finite_key import (
    TwinFieldKey,
    failure_shares,
    paired_single_photons,
    sending_proven_key,
    single_photon_counts,
)

SIGMAS = 5.0
STATION = CentralStation(1e-8, phase_mismatch_rad=phase_mismatch_rad(0.04))
SOURCE = SendingSource(
    signal_mean_photon_number=0.45,
    sending_probability=0.27,
    signal_probability=0.75,
    decoy_mean_photon_numbers=(0.45, 0.08),
    decoy_probabilities=(0.1, 0.8, 0.1),
    slice_half_width_rad=0.25,
)


def test_windows_are_those_of_pulses_followed_one_by_one() -> None:
    """Random phases and photons of 3 million pairs of windows: every cell of the table, slices and their errors among them."""
    station, arms, pulses, generator = CentralStation(5e-3, polarisation_mismatch_rad=0.6), (0.5, 0.3), 3_000_000, np.random.default_rng(4)
    source = replace(SOURCE, decoy_mean_photon_numbers=(0.9, 0.4), slice_half_width_rad=0.5)
    expected = event_table(station, source, *arms).probabilities[0]
    windows = generator.choice(5, size=(2, pulses), p=source.probabilities)
    light = source.mean_photon_numbers[windows] * np.array(arms)[:, None]
    phase = generator.uniform(-math.pi, math.pi, pulses)
    both_weak = (windows == Window.WEAK).all(axis=0)
    near = both_weak & (np.abs(np.sin(phase)) <= math.sin(0.5))
    crossed = math.cos(0.6) * np.sqrt(light[0] * light[1]) * np.cos(phase)
    clicks = np.array([generator.poisson(light.sum(axis=0) / 2 + sign * crossed) > 0 for sign in (1, -1)])
    clicks |= generator.random((2, pulses)) < 5e-3
    result = np.where(near, np.where(clicks[0] == (np.cos(phase) > 0), Result.RIGHT, Result.WRONG), Result.HERALDED)
    one = clicks[0] != clicks[1]
    cells = np.ravel_multi_index((windows[0][one], windows[1][one], result[one]), expected.shape)
    seen = np.bincount(cells, minlength=expected.size).reshape(expected.shape)
    assert (np.abs(seen - pulses * expected) <= SIGMAS * np.sqrt(pulses * expected)).all()
    assert seen[expected == 0].sum() == 0


def test_a_slice_of_all_phases_leaves_nothing_outside() -> None:
    plain = CentralStation(1e-3)
    clicks = sum(slice_clicks((0.6, 0.3), plain, math.pi / 2))
    whole = event_table(
        plain, replace(SOURCE, slice_half_width_rad=math.pi / 2, decoy_mean_photon_numbers=(0.6, 0.3)), 1.0, 1.0
    ).probabilities[0]
    assert whole[Window.WEAK, Window.WEAK, Result.HERALDED] == pytest.approx(0.0, abs=1e-15)
    assert clicks == pytest.approx(sum(slice_clicks((0.3, 0.6), plain, math.pi / 2)))


def test_single_photons_are_those_of_the_fock_yields() -> None:
    yields = fock_yields(0.3, 0.1, STATION, 1)
    of_alice, of_bob, _ = single_photon_yields(0.3, 0.1, STATION)
    assert [float(of_alice), float(of_bob)] == pytest.approx([yields[1, 0], yields[0, 1]], rel=1e-12)


def test_phase_errors_are_those_of_ever_fainter_light() -> None:
    """Of clicks of two equal pulses in one slice, nearly all come from one photon when there is nearly no light."""
    station, half_width = CentralStation(0.0, 0.4, 0.1), 0.6
    right, wrong = slice_clicks((0.3e-7, 0.1e-7), station, half_width)
    assert float(wrong / (right + wrong)) == pytest.approx(
        float(single_photon_yields(0.3, 0.1, station, slice_half_width_rad=half_width)[2]), rel=1e-6
    )


def test_samples_have_the_expected_counts() -> None:
    arms, pulses = np.array([0.05, 0.01]), np.array([10_000_000, 40_000_000])
    table = event_table(CentralStation(1e-4, 0.4), SOURCE, arms, arms[::-1], dead_pulses=2)
    expected = table.expected_counts(pulses)
    assert expected.shape == (5, 5, 3)
    assert expected.size <= 256
    seen = table.sample(pulses, np.random.default_rng(2)).counts()
    # Dead time correlates neighbours and only lowers the variance.
    assert (np.abs(seen - expected) <= SIGMAS * np.sqrt(expected) + 1).all()


def rate(loss_db: float = 60.0, station: CentralStation = STATION, pairing: bool = True, sent: float = 0.27) -> SendingRate:
    arm = 10.0 ** (-loss_db / 20.0)
    return asymptotic_key_rate(
        arm, arm, station, signal_mean_photon_number=0.45, sending_probability=sent, error_correction_efficiency=1.1, pairing=pairing
    )


def test_the_rate_goes_with_the_root_of_the_transmittance_and_passes_the_plob_bound() -> None:
    quiet = replace(STATION, dark_count_probability=0.0)
    for pairing, sent in ((False, 0.03), (True, 0.27)):
        rates = [float(rate(loss, quiet, pairing, sent).bit_per_pulse) for loss in (40.0, 60.0, 80.0, 100.0)]
        assert np.array(rates[:-1]) / rates[1:] == pytest.approx(10.0, rel=0.1)
        assert rates[1] > 3 * float(plob_bound(1e-6))


def test_without_interference_there_is_no_key() -> None:
    assert float(rate(60.0, CentralStation(1e-8, phase_mismatch_rad=math.pi / 2)).bit_per_pulse) == 0.0


def test_misalignment_makes_no_wrong_bit() -> None:
    bent = CentralStation(1e-8, phase_mismatch_rad=phase_mismatch_rad(0.2))
    assert float(rate(60.0, bent).bit_error) == float(rate(60.0).bit_error)


@given(st.floats(1e-12, 1e-4), st.floats(1e-12, 1e-4), st.floats(0.0, 0.4), st.floats(0.0, 0.4))
def test_noise_and_misalignment_never_help(noise_1: float, noise_2: float, wrong_1: float, wrong_2: float) -> None:
    (quiet, loud), (sharp, dull) = sorted((noise_1, noise_2)), sorted((wrong_1, wrong_2))
    for pairing, sent in ((False, 0.03), (True, 0.27)):
        best = rate(50.0, CentralStation(quiet, phase_mismatch_rad(sharp)), pairing, sent).bit_per_pulse
        assert rate(50.0, CentralStation(loud, phase_mismatch_rad(sharp)), pairing, sent).bit_per_pulse <= best * (1 + 1e-9)
        assert rate(50.0, CentralStation(quiet, phase_mismatch_rad(dull)), pairing, sent).bit_per_pulse <= best * (1 + 1e-9)


def test_noise_as_strong_as_light_leaves_nothing() -> None:
    noisy = replace(STATION, dark_count_probability=1e-3)
    assert float(rate(80.0, noisy).bit_per_pulse) == float(rate(80.0, noisy, pairing=False, sent=0.03).bit_per_pulse) == 0.0
    assert float(rate(math.inf, CentralStation(0.0)).bit_per_pulse) == 0.0


def test_the_arms_may_be_swapped() -> None:
    both: dict[str, Any] = {"signal_mean_photon_number": 0.45, "sending_probability": 0.27, "error_correction_efficiency": 1.1}
    arms = ((0.01, 0.02), (0.02, 0.01))
    one, other = (float(asymptotic_key_rate(*each, STATION, **both).single_photon) for each in arms)
    assert one == pytest.approx(other, rel=1e-12)
    one, other = (float(asymptotic_key_rate(*each, STATION, pairing=True, **both).single_photon) for each in arms)
    assert one < other  # Bob makes the pairs, and has more of them when his is the darker arm.
    tables = [event_table(STATION, SOURCE, *each).probabilities for each in arms]
    assert tables[0] == pytest.approx(tables[1].swapaxes(1, 2), rel=1e-12)


def test_many_intensities_at_once_equal_each_alone() -> None:
    mu, sent = np.array([[0.2], [0.5]]), np.array([0.1, 0.2, 0.3])
    common: dict[str, Any] = {"error_correction_efficiency": 1.1, "pairing": True}
    together = asymptotic_key_rate(1e-3, 1e-3, STATION, signal_mean_photon_number=mu, sending_probability=sent, **common).bit_per_pulse
    alone = [
        [
            float(asymptotic_key_rate(1e-3, 1e-3, STATION, signal_mean_photon_number=m, sending_probability=e, **common).bit_per_pulse)
            for e in sent
        ]
        for m in mu[:, 0]
    ]
    assert together == pytest.approx(np.array(alone), rel=1e-12)


def test_pairing_of_bits_has_the_counts_of_its_model() -> None:
    """2 million bits, a third of them wrong; five standard deviations."""
    generator = np.random.default_rng(9)
    gains = code_gains(1e-2, 1e-2, CentralStation(1e-3), signal_mean_photon_number=0.5, sending_probability=0.3)
    cells = generator.choice(4, size=2_000_000, p=(gains / gains.sum()).ravel())
    alice, bob = (1 - cells // 2).astype(np.uint8), (cells % 2).astype(np.uint8)  # Alice's bit is that she sent, Bob's that he did not.
    assert 0.25 < (alice != bob).mean() < 0.45
    kept_alice, kept_bob = pair_bits(alice, bob, generator)
    bits, errors = (float(count) for count in paired_counts(np.bincount(cells, minlength=4).reshape(2, 2)))
    assert abs(kept_alice.size - bits) < SIGMAS * math.sqrt(bits)
    assert abs((kept_alice != kept_bob).sum() - errors) < SIGMAS * math.sqrt(errors)
    assert abs(kept_bob.mean() - 0.5) < SIGMAS * 0.5 / math.sqrt(bits)


def pairings(items: tuple[int, ...], pairs: int) -> Iterator[list[tuple[int, int]]]:
    """Every set of so many disjoint pairs of the items."""
    if pairs == 0:
        yield []
        return
    for first, second in combinations(items, 2):
        later = tuple(item for item in items if item > first and item != second)
        yield from ([(first, second), *rest] for rest in pairings(later, pairs - 1))


def singlets_after_pairing(state: NDArray[np.complex128]) -> dict[int, NDArray[np.float64]]:
    """Exact probability of s singlets among the pairs, for each number of pairs, when a state of qubits is read and paired as Bob does."""
    qubits = state.ndim
    to_bell = np.array([[0, 1, -1, 0], [0, 1, 1, 0]]) / math.sqrt(2)
    found = {pairs: np.zeros(pairs + 1) for pairs in range(qubits // 2 + 1)}
    for pairs, law in found.items():
        majority = qubits - pairs
        for chosen in pairings(tuple(range(qubits)), pairs):
            paired = [qubit for pair in chosen for qubit in pair]
            left = [qubit for qubit in range(qubits) if qubit not in paired]
            table = state.transpose(paired + left).reshape([4] * pairs + [2 ** len(left)])
            for _ in range(pairs):
                table = np.moveaxis(np.tensordot(to_bell, table, axes=(1, 0)), 0, pairs - 1)
            table = np.abs(table[..., [0, -1] if left else [0]]) ** 2  # All left over have one value.
            for index in np.ndindex(*[2] * pairs):
                law[index.count(0)] += table[index].sum() * math.factorial(majority - pairs) / math.factorial(majority)
    return found


def moment_bound(order: int, errors: int, qubits: int, majority: int) -> float:
    return (
        math.perm(errors, order) * math.perm(qubits - errors + 1, order) / (2**order * math.factorial(order) * math.perm(majority, order))
    )


@pytest.mark.parametrize("errors", [1, 2])
def test_phase_errors_after_pairing_of_six_qubits_worked_out_exactly(errors: int) -> None:
    """Any superposition with so many phase errors at most; equality for so many singlets beside equal qubits."""
    qubits, generator = 6, np.random.default_rng(errors)
    hadamard = np.array([[1, 1], [1, -1]]) / math.sqrt(2)
    to_phases = hadamard
    for _ in range(qubits - 1):
        to_phases = np.kron(to_phases, hadamard)
    few = np.array([bin(string).count("1") <= errors for string in range(2**qubits)])
    entangled = to_phases @ (few * (generator.normal(size=2**qubits) + 1j * generator.normal(size=2**qubits)))
    singlet = np.array([0, 1, -1, 0]) / math.sqrt(2)
    extreme = np.ones(1)
    for factor in [singlet] * errors + [np.ones(2) / math.sqrt(2)] * (qubits - 2 * errors):
        extreme = np.kron(extreme, factor)
    for state, exact in ((entangled / np.linalg.norm(entangled), False), (extreme, True)):
        found = singlets_after_pairing(state.astype(complex).reshape([2] * qubits))
        assert sum(law.sum() for law in found.values()) == pytest.approx(1.0)
        for pairs, law in found.items():
            for order in range(1, pairs + 1):
                moment = sum(math.comb(s, order) * p for s, p in enumerate(law))
                bound = moment_bound(order, errors, qubits, qubits - pairs) * law.sum()
                assert moment <= bound * (1 + 1e-9) + 1e-15
                assert not exact or moment == pytest.approx(bound, abs=1e-14)


@given(st.integers(2, 400), st.data())
def test_moments_of_singlets_are_below_those_of_poisson(majority: int, data: Any) -> None:
    qubits = data.draw(st.integers(2, 2 * majority))
    errors = data.draw(st.integers(1, qubits // 2))
    mean = errors * (qubits - errors + 1) / (2 * majority)
    for order in range(1, min(errors, 12) + 1):
        assert moment_bound(order, errors, qubits, majority) <= mean**order / math.factorial(order) * (1 + 1e-12)


def expected_counts(pulses: float, arm: float = 1e-3, station: CentralStation = STATION, source: SendingSource = SOURCE) -> Any:
    return pulses * event_table(station, source, arm, arm).probabilities[0]


def key(
    counts: Any, pulses: Any, bound: Any = "chernoff", pairing: bool = True, source: SendingSource = SOURCE, **how: Any
) -> TwinFieldKey:
    code = np.asarray(counts, float)[..., SIGNAL_WINDOWS, SIGNAL_WINDOWS, :].sum(axis=-1)
    bits, errors = paired_counts(code) if pairing else (code.sum(axis=(-2, -1)), code[..., 0, 0] + code[..., 1, 1])
    leaked_bit = 1.1 * bits * binary_entropy(errors / np.maximum(bits, 1e-300))
    settings = {"epsilon_secrecy": 1e-10, "epsilon_correctness": 1e-10} | how
    return sending_proven_key(counts, source=source, pulses=pulses, leaked_bit=leaked_bit, pairing=pairing, bound=bound, **settings)


@given(
    st.tuples(st.floats(1e-4, 0.9), st.floats(1e-4, 0.9)),
    st.tuples(st.floats(0.01, 0.6), st.floats(0.05, 0.9)),
    st.floats(1e-9, 1e-2),
    st.floats(0.0, 0.4),
    st.floats(0.01, 1.5),
)
def test_decoy_bounds_are_on_the_safe_side_of_the_truth(
    arms: tuple[float, float], decoys: tuple[float, float], noise: float, misalignment: float, half_width: float
) -> None:
    station = CentralStation(noise, phase_mismatch_rad(misalignment))
    weak, strong = decoys[0] * decoys[1], decoys[0]
    source = replace(SOURCE, decoy_mean_photon_numbers=(max(strong, 2e-3), max(weak, 1e-3)), slice_half_width_rad=half_width)
    pulses = 1e20
    counts = pulses * event_table(station, source, *arms).probabilities[0]
    shares = failure_shares(1e-10, counts=8, phases=4)
    bounds = single_photon_counts(counts, source=source, pulses=np.array(pulses), shares=shares, bound="asymptotic")
    of_alice, of_bob, error = single_photon_yields(*arms, station, slice_half_width_rad=half_width)
    mu, p = source.signal_mean_photon_number, source.probabilities
    emitted = pulses * p[Window.SENT] * p[Window.NOT_SENT] * mu * math.exp(-mu)
    true = emitted * np.array([float(of_alice), float(of_bob)])
    assert (bounds.bits <= true * (1 + 1e-9)).all()
    assert float(bounds.phase_errors) >= float(error) * true.sum() * (1 - 1e-9)


def test_decoys_tell_nearly_all_when_weak() -> None:
    source = replace(SOURCE, decoy_mean_photon_numbers=(0.3, 1e-3), slice_half_width_rad=0.01)
    for pairing in (False, True):
        decoys = key(expected_counts(1e30, source=source), 1e30, "asymptotic", pairing, source)
        every = rate(60.0, pairing=pairing)
        windows = source.signal_probability**2 * 1e30
        assert float(decoys.single_photon) / windows == pytest.approx(float(every.single_photon), rel=2e-3)
        assert float(decoys.phase_error) == pytest.approx(float(every.phase_error), rel=1e-2)


@pytest.mark.parametrize("pulses", [3e10, 1e12, 1e14])
def test_the_finite_key_is_shorter_than_the_asymptotic_one_and_tends_to_it(pulses: float) -> None:
    finite, more = (float(key(expected_counts(n), n).length_bit) / n for n in (pulses, 100 * pulses))
    limit = float(key(expected_counts(1e22), 1e22, "asymptotic").length_bit) / 1e22
    assert 0 < finite < more < limit
    assert float(key(expected_counts(1e20), 1e20).length_bit) / 1e20 == pytest.approx(limit, rel=0.01)


def test_a_finite_key_passes_the_plob_bound() -> None:
    assert float(key(expected_counts(1e12), 1e12).length_bit) / 1e12 > float(plob_bound(1e-6))


def test_adding_failures_up_gives_more_than_is_proven() -> None:
    counts = expected_counts(1e11)
    assert float(key(counts, 1e11, composition="sum").length_bit) > float(key(counts, 1e11).length_bit) > 0.0


@pytest.mark.parametrize("pairing", [False, True])
@pytest.mark.parametrize("amount", [0, 1, 9])
def test_tiny_or_senseless_counts_give_no_key(amount: int, pairing: bool) -> None:
    assert float(key(np.full((5, 5, 3), amount), 1e6, pairing=pairing).length_bit) == 0.0
    only_code = np.zeros((5, 5, 3))
    only_code[SIGNAL_WINDOWS, SIGNAL_WINDOWS, 0] = [[0, amount], [amount, 0]]
    for bound in ("chernoff", "asymptotic"):
        assert float(key(only_code, 1.0, bound, pairing).length_bit) == 0.0


@given(st.lists(st.integers(0, 10**7), min_size=75, max_size=75))
def test_no_counts_whatever_give_more_key_than_bits(cells: list[int]) -> None:
    counts = np.array(cells).reshape(5, 5, 3)
    for pairing in (False, True):
        length = float(key(counts, 1e8, pairing=pairing).length_bit)
        assert 0.0 <= length <= counts[SIGNAL_WINDOWS, SIGNAL_WINDOWS].sum()


def test_keys_of_many_links_equal_each_alone() -> None:
    pulses = np.array([[1e11, 1e12], [1e13, 1e14]])
    counts = pulses[..., None, None, None] * expected_counts(1.0)
    together = key(counts, pulses).length_bit
    alone = [[float(key(counts[i, j], pulses[i, j]).length_bit) for j in (0, 1)] for i in (0, 1)]
    assert together == pytest.approx(np.array(alone), rel=1e-12)


def test_sampled_runs_fail_no_more_often_than_claimed() -> None:
    """Single photons, phase errors, pairs and their phase errors drawn as they are, 4,000 runs with inequalities that may fail often."""
    pulses, arm, runs, generator = 3 * 10**9, 1e-3, 4_000, np.random.default_rng(12)
    table = event_table(STATION, SOURCE, arm, arm).probabilities[0].ravel()
    counts = generator.multinomial(pulses, np.append(table, 1.0 - table.sum()), size=runs)[:, :-1].reshape(runs, 5, 5, 3)
    shares = replace(failure_shares(0.5, counts=8, phases=4), count=0.02, phase=0.02)
    sent = np.full(runs, float(pulses))
    single = single_photon_counts(counts.astype(float), source=SOURCE, pulses=sent, shares=shares)
    code = counts[:, SIGNAL_WINDOWS, SIGNAL_WINDOWS].sum(axis=-1)
    mu = SOURCE.signal_mean_photon_number
    of_alice, _, error = single_photon_yields(arm, arm, STATION, slice_half_width_rad=SOURCE.slice_half_width_rad)
    gain = code_gains(arm, arm, STATION, signal_mean_photon_number=mu, sending_probability=0.5)[0, 1] * 4
    both = np.stack([code[:, 0, 1], code[:, 1, 0]], axis=-1)
    true = generator.binomial(both, mu * math.exp(-mu) * float(of_alice / gain))
    errors = generator.binomial(true.sum(axis=-1), float(error))
    assert (true < single.bits).any(axis=-1).mean() <= 7 * 0.02
    assert (errors > single.phase_errors).mean() <= 3 * 0.02
    bob_bits = code.sum(axis=1)
    majority = bob_bits.max(axis=-1)
    bits, most_errors = paired_single_photons(single, majority.astype(float), shares=shares)
    pairs = generator.hypergeometric(true[:, 0], majority - true[:, 0], true[:, 1])
    wrong = generator.binomial(pairs, 2 * float(error) * (1 - float(error)))
    assert (pairs < bits).mean() <= 8 * 0.02
    assert (wrong > most_errors).mean() <= 4 * 0.02
    assert (bits > 0.8 * pairs).all()
    assert (most_errors < 0.4 * bits).all()


@pytest.mark.parametrize(
    ("call", "field"),
    [
        (lambda: replace(SOURCE, sending_probability=1.5), "sending_probability"),
        (lambda: replace(SOURCE, slice_half_width_rad=2.0), "slice_half_width_rad"),
        (lambda: replace(SOURCE, decoy_mean_photon_numbers=(0.4, 0.5)), "decoy_mean_photon_numbers[weak]"),
        (lambda: replace(SOURCE, decoy_probabilities=(0.5, 0.4, 0.3)), "decoy_probabilities"),
        (lambda: rate(sent=1.1), "sending_probability"),
        (lambda: event_table(STATION, SOURCE, 2.0, 0.1), "alice_transmittance"),
        (lambda: single_photon_yields(0.1, math.nan, STATION), "bob_transmittance"),
        (lambda: key(np.zeros((4, 5, 3)), 1e6), "counts"),
        (lambda: key(np.full((5, 5, 3), math.inf), 1e6), "counts"),
        (lambda: key(np.zeros((5, 5, 3)), 0.0), "pulses"),
        (lambda: key(np.zeros((5, 5, 3)), 1e6, "hoeffding"), "bound"),
        (lambda: key(np.zeros((5, 5, 3)), 1e6, composition="product"), "composition"),
        (lambda: key(np.zeros((5, 5, 3)), 1e6, epsilon_correctness=0.0), "epsilon_correctness"),
    ],
)
def test_bad_input_is_refused_by_name(call: Any, field: str) -> None:
    with np.errstate(invalid="ignore"), pytest.raises(InputError) as refused:
        call()
    assert refused.value.field == field
