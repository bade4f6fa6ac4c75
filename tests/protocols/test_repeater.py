"""A chain of memories against exact Markov chains, an event-by-event simulation of its own, density matrices and textbook formulas.

Statistical tests allow five standard deviations, one false alarm in 1.7 million comparisons, or ask for p > 1e-6, with fixed seeds.
"""

import heapq
import math
from collections import defaultdict
from dataclasses import replace
from functools import reduce
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats
from scipy.optimize import brentq

from tiandi.constants import LIGHT_SPEED_IN_FIBRE_KM_PER_S
from tiandi.errors import InputError
from tiandi.protocols.information import binary_entropy, plob_bound
from tiandi.protocols.repeater import (
    DeliveredPairs,
    Memory,
    RepeaterChain,
    chain_key,
    end_to_end_state,
    expected_two_links,
    plob_crossing_km,
    sample_pairs,
    slowest_of,
)
from tiandi.protocols.teleportation import error_rates, werner

SIGMAS = 5.0
FALSE_ALARM = 1e-6
FOREVER = Memory(math.inf)

PAULIS = np.array([[[1, 0], [0, 1]], [[1, 0], [0, -1]], [[0, 1], [1, 0]], [[0, -1j], [1j, 0]]])
BELL = np.array([[1, 0, 0, 1], [1, 0, 0, -1], [0, 1, 1, 0], [0, 1, -1, 0]]) / np.sqrt(2)


def equal_chain(
    links: int, probability: float, cutoff_attempts: float = math.inf, coherence_attempts: float = 8.0, **rest
) -> RepeaterChain:  # type: ignore[no-untyped-def]
    """Links of 10 km without loss that succeed with ``probability``; times are given in attempts."""
    attempt_s = 10.0 / LIGHT_SPEED_IN_FIBRE_KM_PER_S
    memory = Memory(coherence_attempts * attempt_s, cutoff_s=cutoff_attempts * attempt_s)
    return RepeaterChain((10.0,) * links, memory, attenuation_db_per_km=0.0, link_efficiency=probability, **rest)


def agrees(samples: NDArray[np.float64], mean: float) -> bool:
    return bool(abs(samples.mean() - mean) <= SIGMAS * samples.std() / np.sqrt(samples.size) + 1e-12 * mean)


def alike(first_s: NDArray[np.float64], second_s: NDArray[np.float64]) -> bool:
    """Kolmogorov and Smirnov, with times that differ by rounding taken as one; conservative for a lattice of times."""
    return bool(stats.ks_2samp(np.round(first_s, 12), np.round(second_s, 12)).pvalue > FALSE_ALARM)


def coherence(chain: RepeaterChain, pairs: DeliveredPairs) -> NDArray[np.float64]:
    return np.exp(-pairs.storage_s / chain.memory.coherence_time_s)


State = tuple[tuple[int | None, ...], tuple[int | None, ...]]


def measured_at_once(state: State, chosen: list[int], success: float) -> list[tuple[float, State]]:
    """All outcomes of swaps at ``chosen`` nodes: broken segments lose their links."""
    outcomes = []
    for results in product([True, False], repeat=len(chosen)):
        ages, stored = list(state[0]), list(state[1])
        weight = 1.0
        for node, good in zip(chosen, results, strict=True):
            weight *= success if good else 1 - success
            if good:
                stored[node] = state[0][node] + state[0][node + 1]  # type: ignore[operator]
        broken = {link for node, good in zip(chosen, results, strict=True) if not good for link in (node, node + 1)}
        outcomes.append((weight, without(broken, ages, stored)))
    return outcomes


def without(broken: set[int], ages: list[int | None], stored: list[int | None]) -> State:
    """Lose the broken links and all that are entangled with them."""
    spread = True
    while spread:
        more = {link for node, kept in enumerate(stored) if kept is not None and broken & {node, node + 1} for link in (node, node + 1)}
        spread = not more <= broken
        broken = broken | more
    return (
        tuple(None if link in broken else age for link, age in enumerate(ages)),
        tuple(None if broken & {node, node + 1} else kept for node, kept in enumerate(stored)),
    )


def settled(state: State, success: float, cutoff: float, doubling: bool) -> list[tuple[float, State]]:
    """Swap all that can be swapped, then discard what is too old."""
    ages, stored = state

    def allowed(node: int) -> bool:
        return not doubling or node % 2 == 0 or (stored[0] is not None and stored[2] is not None)

    ready = [
        node for node, kept in enumerate(stored) if kept is None and ages[node] is not None and ages[node + 1] is not None and allowed(node)
    ]
    if ready:
        return [
            (weight * further, last)
            for weight, after in measured_at_once(state, ready, success)
            for further, last in settled(after, success, cutoff, doubling)
        ]
    old = {
        link
        for node, kept in enumerate(stored)
        if kept is None
        for link in (node, node + 1)
        if ages[link] is not None and ages[link] >= cutoff  # type: ignore[operator]
    }
    return [(1.0, without(old, list(ages), list(stored)))]


def markov_chain(links: int, probability: float, success: float, cutoff: float, *, doubling: bool = False) -> tuple[float, float]:
    """Mean attempts and mean of exp(-storage / 8 attempts) over all histories, step by step, until less than 1e-8 of them are left."""
    alive: dict[State, float] = {((None,) * links, (None,) * (links - 1)): 1.0}
    attempts = kept = ended = 0.0
    while (left := sum(alive.values())) > 1e-8:
        attempts += left
        following: dict[State, float] = defaultdict(float)
        for (ages, stored), mass in alive.items():
            missing = [link for link, age in enumerate(ages) if age is None]
            for results in product([True, False], repeat=len(missing)):
                new = [None if age is None else age + 1 for age in ages]
                for link, good in zip(missing, results, strict=True):
                    new[link] = 0 if good else None
                weight = mass * math.prod(probability if good else 1 - probability for good in results)
                for share, state in settled((tuple(new), stored), success, cutoff, doubling):
                    if all(one is not None for one in state[1]):
                        kept += weight * share * math.exp(-sum(state[1]) / 8)  # type: ignore[arg-type]
                        ended += weight * share
                    else:
                        following[state] += weight * share
        alive = following
    return attempts, kept / ended


@pytest.mark.parametrize(
    ("links", "probability", "success", "cutoff", "order"),
    [
        (2, 0.2, 0.6, 4, "as soon as possible"),
        (3, 0.4, 0.6, 3, "as soon as possible"),
        (3, 0.7, 0.5, 2, "as soon as possible"),
        (4, 0.6, 0.8, 2, "as soon as possible"),
        (4, 0.8, 0.7, 3, "doubling"),
        (4, 0.6, 1.0, 2, "doubling"),
    ],
)
def test_samples_have_the_means_of_the_exact_markov_chain(links: int, probability: float, success: float, cutoff: int, order) -> None:  # type: ignore[no-untyped-def]
    chain = equal_chain(links, probability, cutoff, swap_probability=success, order=order)
    attempts, kept = markov_chain(links, probability, success, cutoff, doubling=order == "doubling")
    pairs = sample_pairs(chain, 100_000, np.random.default_rng(links))
    assert agrees(pairs.waiting_s / chain.attempts_s[0], attempts)
    assert agrees(coherence(chain, pairs), kept)


@pytest.mark.parametrize("probability", [1.0, 0.8, 0.3])
@pytest.mark.parametrize("cutoff", [1, 5, math.inf])
@pytest.mark.parametrize("success", [1.0, 0.5])
def test_the_closed_form_of_two_links_is_that_of_the_markov_chain_and_of_samples(probability: float, cutoff: float, success: float) -> None:
    chain = equal_chain(2, probability, cutoff, swap_probability=success)
    waiting_s, kept = expected_two_links(chain)
    attempts, exact = markov_chain(2, probability, success, cutoff)
    assert waiting_s / chain.attempts_s[0] == pytest.approx(attempts, rel=1e-6)
    assert kept == pytest.approx(exact, rel=1e-6)
    pairs = sample_pairs(chain, 50_000, np.random.default_rng(3))
    assert agrees(pairs.waiting_s, waiting_s)
    assert agrees(coherence(chain, pairs), kept)


@pytest.mark.parametrize("probability", [1e-12, 0.01, 0.3, 1.0])
def test_the_slower_of_two_links_takes_the_textbook_number_of_attempts(probability: float) -> None:
    """(3 - 2 p) / (p (2 - p)), which is 3 / 2 of a single link's when attempts seldom succeed."""
    textbook = (3 - 2 * probability) / (probability * (2 - probability))
    assert slowest_of(2, probability) == pytest.approx(textbook, rel=1e-9)
    chain = equal_chain(2, max(probability, 1e-9))
    assert expected_two_links(chain)[0] / chain.attempts_s[0] == pytest.approx(slowest_of(2, max(probability, 1e-9)), rel=1e-9)
    assert slowest_of(1, probability) == pytest.approx(1 / probability, rel=1e-9)


@pytest.mark.parametrize(("links", "probability"), [(3, 0.3), (8, 0.05), (32, 0.2)])
def test_the_slowest_of_many_links_is_the_sum_over_its_distribution(links: int, probability: float) -> None:
    """Sum over t of P(more than t attempts) = 1 - (1 - (1 - p)^t)^n, term by term; and samples in both orders of swapping."""
    step = np.arange(5000)
    attempts = np.sum(1 - (1 - (1 - probability) ** step) ** links)
    assert slowest_of(links, probability) == pytest.approx(attempts, rel=1e-6)
    for order in ("as soon as possible", "doubling"):
        if order == "doubling" and links & (links - 1):
            continue
        chain = equal_chain(links, probability, order=order)
        pairs = sample_pairs(chain, 5000, np.random.default_rng(links))
        assert agrees(pairs.waiting_s / chain.attempts_s[0], attempts)


def test_waiting_times_are_distributed_as_the_slowest_link() -> None:
    links, probability = 3, 0.25
    chain = equal_chain(links, probability)
    seen = np.rint(sample_pairs(chain, 100_000, np.random.default_rng(5)).waiting_s / chain.attempts_s[0]).astype(int)
    within = (1 - (1 - probability) ** np.arange(31)) ** links
    expected = np.append(np.diff(within), 1 - within[-1])
    observed = np.bincount(np.minimum(seen, 31), minlength=32)[1:]
    assert stats.chisquare(observed, expected * seen.size).pvalue > FALSE_ALARM


def test_storage_in_a_long_chain_fades_as_the_sum_over_all_histories() -> None:
    """Without cut-off the memories of a node wait for the difference of two geometric times: a product of kernels on a grid."""
    links, probability, fade = 6, 0.2, math.exp(-1 / 8)
    step = np.arange(1, 200)
    weight = probability * (1 - probability) ** (step - 1)
    kernel = fade ** np.abs(step[:, None] - step[None, :])
    vector = np.ones(step.size)
    for _ in range(links - 1):
        vector = kernel @ (weight * vector)
    chain = equal_chain(links, probability)
    assert agrees(coherence(chain, sample_pairs(chain, 100_000, np.random.default_rng(6))), float(weight @ vector))


def test_nested_swapping_takes_about_three_halves_per_level() -> None:
    """(3 / 2)^k / (p swap^k) attempts, as Sangouard et al. 2011 estimate for rare success (recalled); exact to some per cent."""
    chain = equal_chain(4, 0.002, swap_probability=0.3, order="doubling")
    attempts = sample_pairs(chain, 20_000, np.random.default_rng(7)).waiting_s.mean() / chain.attempts_s[0]
    assert attempts == pytest.approx(1.5**2 / (0.002 * 0.3**2), rel=0.1)


def one_by_one(chain: RepeaterChain, generator: np.random.Generator) -> tuple[float, float]:
    """One pair, from a calendar of events and sets of entangled links; lengths differ, so that no two events coincide but by cause."""
    links = len(chain.link_lengths_km)
    calendar: list[tuple[float, int, str, int, int]] = []
    ready = [math.inf] * links
    segment = [frozenset([link]) for link in range(links)]
    version, stored, order = [0] * links, [0.0] * links, 0

    def start(link: int, now: float) -> None:
        nonlocal order
        order += 1
        version[link] += 1
        ready[link], segment[link] = math.inf, frozenset([link])
        attempts = int(generator.geometric(chain.link_probabilities[link]))
        heapq.heappush(calendar, (now + attempts * chain.attempts_s[link], order, "herald", link, version[link]))

    for link in range(links):
        start(link, 0.0)
    while True:
        now, _, what, link, of = heapq.heappop(calendar)
        if of != version[link]:
            continue
        lost: frozenset[int] = frozenset()
        if what == "herald":
            ready[link] = now
            order += 1
            heapq.heappush(calendar, (now + chain.memory.cutoff_s, order, "expire", link, of))
            for left in (link - 1, link):
                if left >= 0 and left + 1 < links and max(ready[left], ready[left + 1]) <= now:
                    stored[left] = now - min(ready[left], ready[left + 1])
                    if generator.random() < 0.9 * 0.9**2:  # The swap itself, and reading two memories.
                        joined = segment[left] | segment[left + 1]
                        for member in joined:
                            segment[member] = joined
                    else:
                        lost |= segment[left] | segment[left + 1]
            lost = reduce(frozenset.union, (segment[member] for member in lost), lost)
        elif any(0 <= other < links and other not in segment[link] for other in (link - 1, link + 1)):
            lost = segment[link]
        for member in lost:
            start(member, now)
        if len(segment[0]) == links:
            return now, sum(stored[: links - 1])


def test_links_of_unequal_length_agree_with_a_calendar_of_events() -> None:
    chain = RepeaterChain((10.0, 23.7, 17.1), Memory(5e-4, efficiency=0.9, cutoff_s=4e-4), link_efficiency=0.7, swap_probability=0.9)
    generator = np.random.default_rng(12)
    slow = np.array([one_by_one(chain, generator) for _ in range(10_000)])
    quick = sample_pairs(chain, 40_000, generator)
    for ours, theirs in ((quick.waiting_s, slow[:, 0]), (quick.storage_s, slow[:, 1])):
        assert abs(ours.mean() - theirs.mean()) < SIGMAS * np.hypot(ours.std() / 200, theirs.std() / 100)
        assert alike(ours, theirs)


@pytest.mark.parametrize("lengths_km", [(10.0, 25.0, 40.0), (20.0, 20.0, 35.0, 5.0)])
def test_a_chain_and_its_mirror_image_deliver_alike(lengths_km: tuple[float, ...]) -> None:
    memory = Memory(1e-3, cutoff_s=1e-3)
    chain = RepeaterChain(lengths_km, memory, link_efficiency=0.9, swap_probability=0.6)
    mirrored = replace(chain, link_lengths_km=lengths_km[::-1])
    one, other = (sample_pairs(way, 30_000, np.random.default_rng(seed)) for seed, way in enumerate((chain, mirrored)))
    for ours, theirs in ((one.waiting_s, other.waiting_s), (one.storage_s, other.storage_s)):
        assert alike(ours, theirs)


def test_sure_links_and_swaps_deliver_with_every_attempt() -> None:
    chain = equal_chain(5, 1.0, link_fidelity=0.9, swap_fidelity=0.95)
    pairs = sample_pairs(chain, 10, np.random.default_rng(0))
    assert pairs.waiting_s == pytest.approx(np.full(10, chain.attempts_s[0]))
    assert (pairs.storage_s == 0).all()
    visibility = (4 * 0.9 / 3 - 1 / 3) ** 5 * (4 * 0.95 / 3 - 1 / 3) ** 4
    assert end_to_end_state(chain, 1.0)[0] == pytest.approx((1 + 3 * visibility) / 4)


def test_links_that_hardly_ever_stand_still_give_finite_times() -> None:
    chain = RepeaterChain((1000.0, 1000.0), Memory(1.0), attenuation_db_per_km=2.5, link_efficiency=1e-9)
    pairs = sample_pairs(chain, 10, np.random.default_rng(0))
    key = chain_key(chain, *expected_two_links(chain))
    assert np.isfinite(pairs.waiting_s).all()
    assert key.secret_key_rate_bps == key.plob_bit_per_attempt == 0.0


def test_one_link_is_a_geometric_wait() -> None:
    chain = RepeaterChain((50.0,), FOREVER, link_efficiency=0.4, preparation_s=1e-5)
    pairs = sample_pairs(chain, 50_000, np.random.default_rng(1))
    assert chain.link_probabilities[0] == pytest.approx(0.04)
    assert agrees(pairs.waiting_s, (1e-5 + 50 * 1.468 / 299_792.458) / 0.04)


def swapped_by_matrices(chain: RepeaterChain, storage_s: float) -> NDArray[np.complex128]:
    """Two links of qubits 1, 2 and 3, 4: qubit 2 waits, 2 and 3 are projected on phi+, the pair passes the noise of the swap."""
    link = sum(weight * np.outer(bell, bell) for weight, bell in zip(werner(chain.link_fidelity), BELL, strict=True))
    fade = math.exp(-storage_s / chain.memory.coherence_time_s)
    flips = [(1 + fade) / 2, (1 - fade) / 2, 0, 0] if chain.memory.noise == "dephasing" else [(1 + 3 * fade) / 4, *[(1 - fade) / 4] * 3]
    kraus = [np.sqrt(flip) * np.kron(np.eye(2), pauli) for flip, pauli in zip(flips, PAULIS, strict=True)]
    waited = sum(one @ link @ one.conj().T for one in kraus)
    effect = np.outer(BELL[0], BELL[0]).reshape([2] * 4)
    pair = 4 * np.einsum("efbc,abcdxefy->adxy", effect, np.kron(waited, link).reshape([2] * 8)).reshape(4, 4)
    mixing = 4 / 3 * (1 - chain.swap_fidelity)
    return (1 - mixing) * pair + mixing * np.eye(4) / 4


@pytest.mark.parametrize("noise", ["dephasing", "depolarising"])
def test_the_end_to_end_state_is_that_of_density_matrices(noise) -> None:  # type: ignore[no-untyped-def]
    chain = RepeaterChain((20.0, 20.0), Memory(0.01, noise=noise), link_fidelity=0.93, swap_fidelity=0.97)
    state = swapped_by_matrices(chain, 0.004)
    ours = end_to_end_state(chain, math.exp(-0.4))
    assert np.einsum("ij,jk,ik->i", BELL, state, BELL).real == pytest.approx(ours)
    in_x, in_z = error_rates(ours)
    equal_z = np.diag([0, 1, 1, 0])
    hadamard = np.kron(*[np.array([[1, 1], [1, -1]]) / np.sqrt(2)] * 2)
    assert in_z == pytest.approx(np.trace(state @ equal_z).real)
    assert in_x == pytest.approx(np.trace(state @ hadamard @ equal_z @ hadamard).real)


@given(first=st.floats(0.0, 1.0), second=st.floats(0.0, 1.0), noise=st.sampled_from(["dephasing", "depolarising"]))
def test_fidelity_and_key_fall_with_storage(first: float, second: float, noise) -> None:  # type: ignore[no-untyped-def]
    chain = RepeaterChain((20.0, 20.0), Memory(0.01, noise=noise), link_fidelity=0.97)
    short, long = (math.exp(-storage) for storage in sorted((first, second)))
    assert end_to_end_state(chain, long)[0] <= end_to_end_state(chain, short)[0]
    assert chain_key(chain, 1.0, long).bit_per_pair <= chain_key(chain, 1.0, short).bit_per_pair


@settings(max_examples=200)
@given(
    first=st.floats(0.1, 300.0),
    second=st.floats(0.1, 300.0),
    efficiency=st.floats(0.01, 1.0),
    coherence_s=st.floats(1e-4, 1e3),
    fidelity=st.floats(0.8, 1.0),
)
def test_key_falls_with_distance_and_never_exceeds_what_one_link_can_carry(
    first: float, second: float, efficiency: float, coherence_s: float, fidelity: float
) -> None:
    """Between repeaters no protocol exceeds the bound of the weakest link: Pirandola 2019, doi:10.1038/s42005-019-0147-3."""
    keys = []
    for length_km in sorted((first, second)):
        chain = RepeaterChain((length_km / 2,) * 2, Memory(coherence_s), link_efficiency=efficiency, link_fidelity=fidelity)
        keys.append(chain_key(chain, *expected_two_links(chain)))
        assert 0.0 <= keys[-1].bit_per_attempt <= 2 * plob_bound(10 ** (-0.02 * length_km / 2))
        assert math.isfinite(keys[-1].secret_key_rate_bps)
    assert keys[1].bit_per_attempt <= keys[0].bit_per_attempt * (1 + 1e-9)
    assert keys[1].secret_key_rate_bps <= keys[0].secret_key_rate_bps * (1 + 1e-9)


def test_perfect_memories_beat_the_bound_from_where_the_formulas_cross() -> None:
    """p (2 - p) / (3 - 2 p) against twice -log2(1 - p^2), solved on its own; samples on both sides of it."""
    transmittance = brentq(lambda p: p * (2 - p) / (3 - 2 * p) + 2 * np.log2(1 - p**2), 0.01, 0.9)
    crossing_km = -2 * 10 * np.log10(transmittance) / 0.2
    chain = RepeaterChain((1.0, 1.0), FOREVER, link_efficiency=1.0)
    assert plob_crossing_km(chain) == pytest.approx(crossing_km, rel=1e-6)
    for factor, beyond in ((0.9, False), (1.1, True)):
        at = replace(chain, link_lengths_km=(crossing_km * factor / 2,) * 2)
        pairs = sample_pairs(at, 20_000, np.random.default_rng(2))
        key = chain_key(at, float(pairs.waiting_s.mean()), float(coherence(at, pairs).mean()))
        assert (key.bit_per_attempt > key.plob_bit_per_attempt) == beyond


def test_the_crossing_moves_away_with_worse_equipment_and_may_never_come() -> None:
    good = RepeaterChain((1.0, 1.0), Memory(1.0), link_efficiency=0.9)
    worse = [good, replace(good, link_efficiency=0.5), replace(good, link_efficiency=0.5, swap_probability=0.5)]
    crossings = [plob_crossing_km(chain) for chain in worse]
    assert crossings == sorted(crossings)
    assert math.isfinite(crossings[1])
    assert plob_crossing_km(replace(good, memory=Memory(1e-4))) == math.inf


def test_direct_transmission_never_beats_the_bound_and_loses_to_a_repeater_far_away() -> None:
    for length_km in (1.0, 50.0, 200.0, 400.0):
        direct = RepeaterChain((length_km,), FOREVER, link_efficiency=1.0)
        key = chain_key(direct, slowest_of(1, float(direct.link_probabilities[0])) * float(direct.attempts_s[0]), 1.0)
        assert key.bit_per_attempt <= key.plob_bit_per_attempt
        halved = replace(direct, link_lengths_km=(length_km / 2,) * 2, swap_probability=0.5)
        assert (chain_key(halved, *expected_two_links(halved)).bit_per_attempt > key.bit_per_attempt) == (length_km >= 50.0)


def test_more_repeaters_help_far_away() -> None:
    rates = []
    for links in (1, 2, 4, 8):
        chain = RepeaterChain((400.0 / links,) * links, Memory(10.0), link_efficiency=0.5, link_fidelity=0.995)
        pairs = sample_pairs(chain, 4000, np.random.default_rng(links))
        rates.append(chain_key(chain, float(pairs.waiting_s.mean()), float(coherence(chain, pairs).mean())).secret_key_rate_bps)
    assert rates == sorted(rates)
    assert rates[3] > 1000 * rates[0]


def test_a_cutoff_trades_pairs_for_fidelity() -> None:
    patient, hasty = (equal_chain(2, 0.02, cutoff, coherence_attempts=30.0) for cutoff in (math.inf, 20))
    (slow_s, kept), (slower_s, better) = expected_two_links(patient), expected_two_links(hasty)
    assert slower_s > slow_s
    assert better > kept
    assert chain_key(patient, slow_s, kept).secret_key_rate_bps < chain_key(hasty, slower_s, better).secret_key_rate_bps


def test_key_pays_for_errors_in_both_bases_and_for_their_correction() -> None:
    chain = RepeaterChain((20.0, 20.0), Memory(0.01), link_fidelity=0.97)
    in_x, in_z = error_rates(end_to_end_state(chain, 0.95))
    key = chain_key(chain, 0.5, 0.95, error_correction_efficiency=1.16)
    assert in_x > in_z > 0
    assert key.bit_per_pair == pytest.approx(float(1 - 1.16 * binary_entropy(in_z) - binary_entropy(in_x)))
    assert key.secret_key_rate_bps == pytest.approx(key.bit_per_pair / 0.5)
    assert chain_key(chain, 0.5, 0.0).secret_key_rate_bps == 0.0


@pytest.mark.parametrize(
    ("make", "field"),
    [
        (lambda: Memory(0.0), "coherence_time_s"),
        (lambda: Memory(1.0, efficiency=0.0), "efficiency"),
        (lambda: Memory(1.0, noise="loss"), "noise"),  # type: ignore[arg-type]
        (lambda: RepeaterChain((), FOREVER), "number of link_lengths_km"),
        (lambda: RepeaterChain((10.0, -1.0), FOREVER), "link_lengths_km"),
        (lambda: RepeaterChain((10.0,), FOREVER, link_efficiency=0.0), "link_efficiency"),
        (lambda: RepeaterChain((10.0,), FOREVER, link_fidelity=0.2), "link_fidelity"),
        (lambda: RepeaterChain((10.0,), FOREVER, swap_probability=0.0), "swap_probability"),
        (lambda: RepeaterChain((10.0,), Memory(1.0, cutoff_s=1e-6)), "cutoff_s"),
        (lambda: RepeaterChain((10.0,), FOREVER, order="random"), "order"),  # type: ignore[arg-type]
        (lambda: RepeaterChain((10.0,) * 3, FOREVER, order="doubling"), "link_lengths_km"),
        (lambda: sample_pairs(equal_chain(2, 0.5), 0, np.random.default_rng(0)), "pairs"),
        (lambda: slowest_of(33, 0.5), "links"),
        (lambda: slowest_of(2, 0.0), "probability"),
        (lambda: expected_two_links(equal_chain(3, 0.5)), "link_lengths_km"),
        (lambda: expected_two_links(RepeaterChain((10.0, 11.0), FOREVER)), "link_lengths_km"),
        (lambda: expected_two_links(equal_chain(2, 0.5, 2.5)), "cutoff_s"),
        (lambda: end_to_end_state(equal_chain(2, 0.5), 1.5), "coherence"),
        (lambda: chain_key(equal_chain(2, 0.5), 0.0, 1.0), "waiting_s"),
        (lambda: chain_key(equal_chain(2, 0.5), 1.0, 1.0, error_correction_efficiency=0.9), "error_correction_efficiency"),
    ],
)
def test_bad_input_is_named(make, field: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(InputError) as raised:
        make()
    assert raised.value.field == field
