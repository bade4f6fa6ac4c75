"""Cascade between two ends: parities against the bits they are said to be of, leak against the Shannon limit, and peers who lie."""

from __future__ import annotations

import os
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tiandi.bits import unpack
from tiandi.distill import messages
from tiandi.distill.cascade import BATCHES_IN_FLIGHT, CascadeAnswerer, CascadeCorrector
from tiandi.distill.cascade_plan import (
    BATCH_FRAMES,
    FRAME_BIT,
    FRAME_BITS,
    MAXIMUM_BATCHES,
    CascadePlan,
    Question,
    block_levels,
    last_subsets,
    repair_levels,
)
from tiandi.errors import ProtocolViolation
from tiandi.protocols.information import binary_entropy

SURE = 32
"""Random subsets that leave an error with probability 2^-32."""

QBERS = (0.001, 0.003, 0.005, 0.01, 0.02, 0.03, 0.05, 0.08, 0.11)


def plan_for(key_bit: int, frames: int, qber: float, subsets: int | None = None, seed: bytes | None = None) -> CascadePlan:
    levels = block_levels(qber, -(-key_bit // frames))
    return CascadePlan.checked(
        key_bit=key_bit, frames=frames, levels=levels, subsets=subsets or last_subsets(frames), seed=seed or os.urandom(16)
    )


def keys(key_bit: int, qber: float, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Alice's bits, and Bob's."""
    bits = generator.integers(0, 2, key_bit, dtype=np.uint8)
    return bits, bits ^ (generator.random(key_bit) < qber)


def reconcile(plan: CascadePlan, alice_bits: np.ndarray, bob_bits: np.ndarray) -> tuple[np.ndarray, int]:
    """Bob's key afterwards, and the parities Alice told; each end has its own plan."""
    alice, bob = CascadeAnswerer(plan, alice_bits), CascadeCorrector(replace(plan), bob_bits)
    received = 0
    while bob.questions:
        answer = alice.answer(bob.questions)
        received += bob.expected
        assert 8 * len(answer) < bob.expected + 16 * len(bob.questions)
        bob.absorb(answer)
    assert alice.told == received
    return bob.corrected, received


def efficiency(told: int, alice_bits: np.ndarray, bob_bits: np.ndarray) -> float:
    """Leak over the Shannon limit of the errors there were."""
    return told / (alice_bits.size * float(binary_entropy((alice_bits != bob_bits).mean())))


def permutation(plan: CascadePlan, number: int) -> np.ndarray:
    """Position in the frame of each position of a pass, by moving positions about instead of bits."""
    words, columns = plan.row_words, plan.row_words // 64
    positions = np.arange(64 * words).reshape(words, 64)
    if number == 0:
        return positions.ravel()
    first, second = plan.maps[number, :2].astype(int)
    table = np.empty((64, columns, 64), int)
    for word in range(words):
        line, column, turn = first[word] & 63, (first[word] >> 6) & 15, first[word] >> 10
        table[line, column] = np.roll(positions[word], turn)
    row = np.empty((words, 64), int)
    row[second] = table.transpose(2, 1, 0).reshape(words, 64)
    return row.ravel()


def opening(number: int, frame: int) -> bytes:
    return ((number << FRAME_BITS) + frame).to_bytes(2, "little")


def node(plan: CascadePlan, number: int, frame: int, level: int, index: int) -> int:
    return ((number << FRAME_BITS) + frame << plan.root_level + 1) + (1 << plan.root_level - level) + index


def told(alice: CascadeAnswerer, turns: bytes = b"", search: bytes = b"", openings: bytes = b"") -> list[int]:
    """The parities in Alice's answer to a question about batch 0, whatever she has told before."""
    count, answer = alice._batch(0).answer(Question(0, turns, search, openings), 10**6)
    assert len(answer) == (count + 7) // 8
    return unpack(answer, count).tolist()


def starts(*nodes: int) -> bytes:
    return np.array(nodes, "<u4").tobytes()


def opened(plan: CascadePlan, bits: np.ndarray, passes: int, frames: int = 1) -> CascadeAnswerer:
    """Alice when so many passes of the first frames have been asked for; the random subsets come after the last pass."""
    alice = CascadeAnswerer(plan, bits)
    for number in range(min(passes, len(plan.levels))):
        alice.answer([Question(0, b"", b"", b"".join(opening(number, frame) for frame in range(frames)))])
    if passes > len(plan.levels):
        alice.answer([Question(0, b"", b"", opening(len(plan.levels), 0))])
    return alice


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 20_000), st.integers(0, 2**32))
def test_every_parity_told_is_that_of_the_bits(key_bit: int, seed: int) -> None:
    """Blocks and halves of parts against parities summed over the shuffled bits."""
    generator = np.random.default_rng(seed)
    bits = generator.integers(0, 2, key_bit, dtype=np.uint8)
    plan = CascadePlan.checked(key_bit=key_bit, frames=1, levels=(3, 7, 5), subsets=4, seed=generator.bytes(16))
    alice = CascadeAnswerer(plan, bits)
    row = np.zeros(64 * plan.row_words, np.uint8)
    row[:key_bit] = bits
    for number, level in enumerate(plan.levels):
        shuffled = row[permutation(plan, number)]
        end = -(-key_bit // 64) * 64 if number == 0 else row.size
        blocks = shuffled[:end].reshape(-1, min(1 << level, end)).sum(axis=1) % 2
        assert told(alice, openings=opening(number, 0)) == (blocks if number == 0 else blocks[:-1]).tolist()
        size = 1 << int(generator.integers(1, plan.root_level + 1))
        index = int(generator.integers(0, -(-row.size // size)))
        half = told(alice, search=starts(node(plan, number, 0, size.bit_length() - 1, index)))
        assert half == [shuffled[index * size : index * size + size // 2].sum() % 2]
        while (size := size // 2) > 1:
            turn = int(generator.integers(0, 2)) if (2 * index + 1) * size < row.size else 0
            index = 2 * index + turn
            half = told(alice, turns=bytes([turn]))
            assert half == [shuffled[index * size : index * size + size // 2].sum() % 2]


@pytest.mark.parametrize("key_bit", [1, 4000, 20_000, 65_536])
def test_each_pass_is_a_permutation_and_both_ends_have_the_same(key_bit: int) -> None:
    seed = bytes(range(16))
    first, second = (plan_for(key_bit, 1, 0.02, seed=seed) for _ in range(2))
    orders = [permutation(first, number) for number in range(4)]
    assert all((order == permutation(second, number)).all() for number, order in enumerate(orders))
    assert all((np.sort(order) == np.arange(order.size)).all() for order in orders)
    assert all((orders[i] != orders[j]).any() for i in range(4) for j in range(i))
    assert (permutation(plan_for(key_bit, 1, 0.02), 1) != orders[1]).any()


@pytest.mark.parametrize("kind", ["same block", "same place in the next word", "same place 16 words on", "same place in any word"])
def test_neighbours_meet_again_as_seldom_as_strangers(kind: str) -> None:
    """Bits fall together into a block of a later pass, and of two, as often as by chance, to five sigma; 32 plans of 100,000 pairs.

    Words move as one: a plan has little more than a thousand independent moves, however many pairs are looked at.
    """
    plans, pairs, words = 32, 100_000, FRAME_BIT // 64
    generator = np.random.default_rng(1)
    together = np.zeros(3)
    for _ in range(plans):
        plan = CascadePlan.checked(key_bit=FRAME_BIT, frames=1, levels=(7, 9, 12), subsets=1, seed=generator.bytes(16))
        places = [np.argsort(permutation(plan, number)) for number in (1, 2)]
        left = generator.integers(0, FRAME_BIT, pairs)
        right = {
            "same block": left ^ generator.integers(1, 128, pairs),
            "same place in the next word": left ^ 64,
            "same place 16 words on": (left + 64 * 16) % FRAME_BIT,
            "same place in any word": (left + 64 * generator.integers(1, words, pairs)) % FRAME_BIT,
        }[kind]
        second, third = ((place[left] >> level) == (place[right] >> level) for place, level in zip(places, (9, 12), strict=True))
        together += [second.mean() / plans, third.mean() / plans, (second & third).mean() / plans]
    for share, chance in zip(together, (2**-7, 2**-4, 2**-11), strict=True):
        sigma = np.sqrt(chance * (1 / (plans * pairs) + 1 / (plans * words)))
        assert share == pytest.approx(chance, abs=5 * sigma)


@settings(deadline=None, max_examples=60)
@given(st.integers(64, 20_000), st.integers(1, 4), st.floats(0.0, 0.11), st.integers(0, 2**32))
def test_errors_are_corrected_whatever_the_length(key_bit: int, frames: int, qber: float, seed: int) -> None:
    generator = np.random.default_rng(seed)
    alice_bits, bob_bits = keys(key_bit, qber, generator)
    plan = plan_for(key_bit, min(frames, -(-key_bit // 64)), qber, SURE)
    try:
        corrected, _ = reconcile(plan, alice_bits, bob_bits)
    except ProtocolViolation:
        assert key_bit < 1000  # The subsets alone cost a short key more than it has.
        return
    assert (corrected == alice_bits).all()


@pytest.mark.parametrize("frame_bit", [4096, 16_384, 50_000, 65_536])
def test_several_batches_are_in_flight_and_the_last_frame_may_be_short(frame_bit: int) -> None:
    frames = 5 * BATCH_FRAMES if frame_bit == 4096 else BATCH_FRAMES + 2
    key_bit = frames * frame_bit - 4321 % frame_bit
    generator = np.random.default_rng(frame_bit)
    alice_bits, bob_bits = keys(key_bit, 0.02, generator)
    plan = plan_for(key_bit, frames, 0.02, SURE)
    alice, bob = CascadeAnswerer(plan, alice_bits), CascadeCorrector(plan, bob_bits)
    together = 0
    while bob.questions:
        together = max(together, len(bob.questions))
        bob.absorb(alice.answer(bob.questions))
    assert together == min(plan.batches, BATCHES_IN_FLIGHT)
    assert (bob.corrected == alice_bits).all()


@pytest.mark.parametrize(("qber", "limit"), [(0.002, 1.035), (0.01, 1.03), (0.02, 1.04), (0.05, 1.05), (0.11, 1.085)])
def test_leak_is_close_to_the_shannon_limit(qber: float, limit: float) -> None:
    """32 frames of 65,536 bits. Mao et al. 2021 (arXiv:2101.12565) report 1.038."""
    alice_bits, bob_bits = keys(32 * FRAME_BIT, qber, np.random.default_rng(int(1000 * qber)))
    corrected, told = reconcile(plan_for(alice_bits.size, 32, qber, seed=bytes(16)), alice_bits, bob_bits)
    assert (corrected == alice_bits).all()
    assert efficiency(told, alice_bits, bob_bits) < limit


@pytest.mark.parametrize(("frame_bit", "limit"), [(4096, 1.09), (16_384, 1.05)])
@pytest.mark.parametrize("qber", [0.01, 0.02, 0.05])
def test_small_frames_leak_little_more(frame_bit: int, limit: float, qber: float) -> None:
    alice_bits, bob_bits = keys(BATCH_FRAMES * frame_bit, qber, np.random.default_rng(2))
    corrected, told = reconcile(plan_for(alice_bits.size, BATCH_FRAMES, qber, seed=bytes(16)), alice_bits, bob_bits)
    assert (corrected == alice_bits).all()
    assert efficiency(told, alice_bits, bob_bits) < limit


@pytest.mark.slow
@pytest.mark.parametrize("qber", QBERS)
def test_leak_and_frame_errors_over_many_frames(qber: float) -> None:
    """10,112 frames of 65,536 bits, of which 1e-3 may be wrong before verification; none was ever seen.

    The goals of 1, 2 and 5 % are 1.03, 1.04 and 1.065.
    """
    limits = dict(zip(QBERS, (1.035, 1.034, 1.032, 1.03, 1.04, 1.04, 1.05, 1.072, 1.083), strict=True))
    generator = np.random.default_rng(int(10_000 * qber))
    told = wrong = 0
    leak_limit = 0.0
    for _ in range(79):
        alice_bits, bob_bits = keys(128 * FRAME_BIT, qber, generator)
        corrected, parities = reconcile(plan_for(alice_bits.size, 128, qber, seed=generator.bytes(16)), alice_bits, bob_bits)
        told += parities
        wrong += int((corrected != alice_bits).reshape(128, -1).any(axis=1).sum())
        leak_limit += alice_bits.size * float(binary_entropy((alice_bits != bob_bits).mean()))
    print(f"QBER {qber:.1%}: f {told / leak_limit:.4f}, {wrong} of 10112 frames wrong before verification")
    assert told / leak_limit < limits[qber]
    assert wrong <= 2


def test_no_errors_cost_only_blocks_and_subsets() -> None:
    bits = np.random.default_rng(1).integers(0, 2, 10_000, dtype=np.uint8)
    plan = plan_for(bits.size, 1, 0.01)
    corrected, told = reconcile(plan, bits, bits)
    assert (corrected == bits).all()
    assert told == plan.shapes[:, 2].sum() + plan.subsets
    assert plan.shapes[0, 2] == -(-10_048 // (1 << plan.levels[0]))  # Nothing is told of the zeros that fill up a row.


def test_an_error_rate_far_beyond_the_estimate_costs_parities_and_no_errors() -> None:
    alice_bits, bob_bits = keys(4 * FRAME_BIT, 0.05, np.random.default_rng(3))
    corrected, told = reconcile(plan_for(alice_bits.size, 4, 0.005, SURE), alice_bits, bob_bits)
    assert (corrected == alice_bits).all()
    assert efficiency(told, alice_bits, bob_bits) < 1.5


@pytest.mark.parametrize("frames", [1, 3, 70])
def test_repair_finds_pairs_that_all_blocks_hid(frames: int) -> None:
    alice_bits = np.zeros(5056 * frames, np.uint8)
    bob_bits = alice_bits.copy()
    bob_bits[[17, 4711]] ^= 1
    bob_bits[[-2, -3000]] ^= 1
    levels = repair_levels(5056)
    plan = CascadePlan.checked(key_bit=alice_bits.size, frames=frames, levels=levels, subsets=SURE, seed=os.urandom(16))
    corrected, told = reconcile(plan, alice_bits, bob_bits)
    assert (corrected == alice_bits).all()
    assert told < frames + plan.batches * SURE + 4 * 25


def test_the_same_pair_in_two_frames_does_not_cancel() -> None:
    """One permutation serves all frames, so it hides the same pairs in all of them: a subset must not see them alike."""
    bits = np.zeros(2 * FRAME_BIT, np.uint8)
    wrong = bits.copy()
    wrong[[100, 60_000, FRAME_BIT + 100, FRAME_BIT + 60_000]] ^= 1
    plan = CascadePlan.checked(key_bit=bits.size, frames=2, levels=(16,), subsets=SURE, seed=bytes(16))
    assert (reconcile(plan, bits, wrong)[0] == bits).all()


@pytest.mark.parametrize(
    "changes",
    [
        {"key_bit": 0},
        {"key_bit": 10**9},
        {"frames": 0},
        {"frames": 17},
        {"frames": -1},
        {"levels": ()},
        {"levels": (3,) * 9},
        {"levels": (0,)},
        {"levels": (-1,)},
        {"levels": (13,)},
        {"levels": (2**70,)},
        {"subsets": 0},
        {"subsets": 33},
        {"seed": b"short"},
    ],
)
def test_a_plan_out_of_range_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(ProtocolViolation):
        CascadePlan.checked(**{"key_bit": 1000, "frames": 1, "levels": (5, 6), "subsets": 4, "seed": bytes(16), **changes})  # type: ignore[arg-type]


SHORT = CascadePlan.checked(key_bit=3 * 20_480 - 100, frames=3, levels=(5, 8), subsets=4, seed=bytes(16))
"""Three frames of 20,480 bits: neither rows nor batch fill their trees of 32,768 bits and `BATCH_FRAMES` frames."""


@pytest.mark.parametrize(
    "question",
    [
        Question(-1, b"", b"", b""),
        Question(1, b"", b"", b""),
        Question(2**62, b"", b"", b""),
        Question(0, b"\0", b"", b""),
        Question(0, b"", b"\0\0\0", b""),
        Question(0, b"", b"", b"\0"),
        Question(0, b"", starts(0), b""),
        Question(0, b"", starts(2**32 - 1), b""),
        Question(0, b"", starts(node(SHORT, 0, 0, 0, 5)), b""),
        Question(0, b"", starts(node(SHORT, 0, 0, 5, 20_480 // 32)), b""),
        Question(0, b"", starts(node(SHORT, 0, 1, 5, 0)), b""),
        Question(0, b"", starts(node(SHORT, 0, 3, 5, 0)), b""),
        Question(0, b"", starts(node(SHORT, 1, 0, 5, 0)), b""),
        Question(0, b"", starts((2 << FRAME_BITS + 16) + (1 << 6)), b""),
        Question(0, b"", b"", opening(0, 0)),
        Question(0, b"", b"", opening(1, 1)),
        Question(0, b"", b"", opening(0, 1) + opening(0, 1)),
        Question(0, b"", b"", opening(0, 3)),
        Question(0, b"", b"", opening(2, 0)),
        Question(0, b"", b"", opening(2, 1)),
        Question(0, b"", b"", opening(3, 0)),
        Question(0, b"", b"", b"\xff\xff"),
        Question(0, b"", b"", opening(1, 0) * 4),
    ],
)
def test_a_question_that_is_not_due_is_refused(question: Question) -> None:
    alice = opened(SHORT, np.zeros(SHORT.key_bit, np.uint8), 1)
    with pytest.raises(ProtocolViolation):
        alice.answer([question])


@pytest.mark.parametrize(("subset", "heap"), [(4, BATCH_FRAMES), (0, BATCH_FRAMES + 1), (0, 0), (3, BATCH_FRAMES * 2**15 - 1)])
def test_a_random_subset_that_does_not_exist_is_refused(subset: int, heap: int) -> None:
    plan = CascadePlan.checked(key_bit=20_480, frames=1, levels=(5, 8), subsets=4, seed=bytes(16))
    alice = opened(plan, np.ones(plan.key_bit, np.uint8), 3)
    with pytest.raises(ProtocolViolation):
        alice.answer([Question(0, b"", starts((2 + subset << FRAME_BITS + plan.root_level + 1) + heap), b"")])


def test_random_subsets_are_told_once_and_searched_one_at_a_time() -> None:
    plan = CascadePlan.checked(key_bit=20_480, frames=1, levels=(5, 8), subsets=4, seed=bytes(16))
    first, last = ((2 + subset << FRAME_BITS + plan.root_level + 1) + BATCH_FRAMES for subset in (0, 3))
    for bad in (
        Question(0, b"\0", b"", opening(2, 0)),
        Question(0, b"\0", b"", opening(6, 0)),
        Question(0, b"\0", b"", opening(7, 0)),
        Question(0, b"\0", starts(first), b""),
    ):
        alice = opened(plan, np.zeros(plan.key_bit, np.uint8), 3)
        assert len(alice.answer([Question(0, b"", starts(last), b"")])) == 1
        with pytest.raises(ProtocolViolation):
            alice.answer([bad])


def test_a_turn_beyond_the_end_is_refused() -> None:
    alice = opened(SHORT, np.zeros(SHORT.key_bit, np.uint8), 1)
    alice.answer([Question(0, b"", starts(node(SHORT, 0, 0, 15, 0)), b"")])
    alice.answer([Question(0, b"\1", b"", b"")])
    with pytest.raises(ProtocolViolation):
        alice.answer([Question(0, b"\1", b"", b"")])


def test_no_more_parities_are_told_than_the_key_has_bits() -> None:
    alice = opened(SHORT, np.zeros(SHORT.key_bit, np.uint8), 1)
    again = Question(0, b"", starts(*[node(SHORT, 0, 0, 1, 0)] * 1000), b"")
    while alice.told + 1000 <= SHORT.key_bit:
        alice.answer([again])
    with pytest.raises(ProtocolViolation):
        alice.answer([again])
    assert alice.told <= SHORT.key_bit


@settings(deadline=None, max_examples=300)
@given(st.data())
def test_noise_is_answered_or_refused(data: st.DataObject) -> None:
    """Questions of all shapes, mostly nearly right ones."""
    alice = opened(SHORT, np.ones(SHORT.key_bit, np.uint8), data.draw(st.integers(0, 3)), frames=3)
    nodes = st.builds(
        lambda number, frame, heap: ((number << FRAME_BITS) + frame << 16) + heap,
        st.integers(0, 7),
        st.integers(0, 4),
        st.integers(0, 2**16 - 1),
    )
    try:
        for _ in range(data.draw(st.integers(1, 12))):
            active = alice._batch(0)._active
            turns = data.draw(st.binary(min_size=(active + 7) // 8, max_size=(active + 7) // 8))
            chosen = data.draw(st.lists(nodes, max_size=4))
            rows = data.draw(st.sampled_from([b"", b"", opening(0, 1), opening(1, 0), opening(2, 0), b"\1"]))
            before = alice.told
            answer = alice.answer([Question(0, turns, starts(*chosen), rows)])
            assert 8 * len(answer) < alice.told - before + 16
    except ProtocolViolation:
        pass


@pytest.mark.parametrize("levels", [(5, 8, 12), (14,), (1, 13)])
def test_a_lying_alice_is_found_out_or_comes_to_an_end(levels: tuple[int, ...]) -> None:
    """Random parities contradict each other; Bob stops, at the latest when he has been told more parities than there are parts."""
    generator = np.random.default_rng(5)
    plan = CascadePlan.checked(key_bit=3 * 9000, frames=3, levels=levels, subsets=32, seed=bytes(16))
    refused = 0
    for _ in range(20):
        bob = CascadeCorrector(plan, generator.integers(0, 2, plan.key_bit, dtype=np.uint8))
        heard = 0
        try:
            while bob.questions:
                heard += bob.expected
                assert heard < 100 * plan.key_bit
                bob.absorb(generator.bytes(sum(batch.answer_byte for batch in bob._batches.values())))
        except ProtocolViolation:
            refused += 1
    assert refused > 0 or len(levels) == 1


@pytest.mark.parametrize("byte", [-1, 1, -10_000])
def test_another_number_of_parities_is_refused(byte: int) -> None:
    bob = CascadeCorrector(SHORT, np.zeros(SHORT.key_bit, np.uint8))
    answer = CascadeAnswerer(SHORT, np.zeros(SHORT.key_bit, np.uint8)).answer(bob.questions)
    with pytest.raises(ProtocolViolation):
        bob.absorb(answer[:byte] if byte < 0 else answer + bytes(byte))


@pytest.mark.parametrize("batches", [0, MAXIMUM_BATCHES + 1])
def test_no_question_or_too_many_are_no_message(batches: int) -> None:
    with pytest.raises(ProtocolViolation):
        messages.decode(messages.encode(messages.Query((Question(0, b"", b"", b""),) * batches)))


def test_wiping_leaves_nothing() -> None:
    alice_bits, bob_bits = keys(100_000, 0.05, np.random.default_rng(6))
    plan = plan_for(alice_bits.size, 2, 0.05)
    alice, bob = CascadeAnswerer(plan, alice_bits), CascadeCorrector(plan, bob_bits)
    for _ in range(20):
        bob.absorb(alice.answer(bob.questions))
    ends = alice._batches[0], bob._batches[0]
    rows = [alice._words, bob._words, *[held for batch in ends for held in (batch.rows, batch.sums, batch._searches)]]
    assert all(row.any() for row in rows)
    alice.wipe()
    bob.wipe()
    assert not any(row.any() for row in rows)
