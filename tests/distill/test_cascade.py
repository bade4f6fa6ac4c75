import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tiandi.distill.cascade import CascadeAnswerer, CascadeCorrector, CascadePlan, block_levels, repair_levels, unpack_parities
from tiandi.errors import ProtocolViolation
from tiandi.protocols.information import binary_entropy


def plan_for(key_bit: int, frames: int, qber: float) -> CascadePlan:
    return CascadePlan.checked(key_bit=key_bit, frames=frames, levels=block_levels(qber, -(-key_bit // frames)), seed=os.urandom(16))


def reconcile(plan: CascadePlan, alice_bits: np.ndarray, bob_bits: np.ndarray) -> tuple[np.ndarray, int]:
    """Bob's key afterwards, and the parities Alice told."""
    alice, bob = CascadeAnswerer(plan, alice_bits), CascadeCorrector(plan, bob_bits)
    told = 0
    while bob.query is not None or bob.next_pass is not None:
        if bob.query is not None:
            answer = alice.answer(bob.query)
            bob.absorb(answer)
        else:
            answer = alice.top(bob.next_pass or 0)
            bob.absorb_top(answer)
        told += answer.size
    return bob.corrected, told


@settings(deadline=None, max_examples=40)
@given(st.integers(2, 3000), st.floats(0.0, 0.15), st.integers(0, 2**32))
def test_every_parity_told_is_that_of_the_bits(key_bit: int, qber: float, seed: int) -> None:
    """Nodes of the trees against parities computed by a loop over the shuffled bits."""
    generator = np.random.default_rng(seed)
    bits = generator.integers(0, 2, key_bit, dtype=np.uint8)
    plan = plan_for(key_bit, 1, max(qber, 0.001))
    alice = CascadeAnswerer(plan, bits)
    for number in range(len(plan.levels)):
        shuffled = bits[plan.shuffle(number)]
        size = 1 << plan.levels[number]
        blocks = [int(shuffled[start : start + size].sum()) % 2 for start in range(0, key_bit, size)]
        assert alice.top(number).tolist() == (blocks[:-1] if number else blocks)
    level, index = 1, int(generator.integers(0, -(-key_bit // 2)))
    node = (1 << (plan.root_level - level)) + index
    assert alice.answer(np.array([node]))[0] == bits[2 * index : 2 * index + 2].sum() % 2


@settings(deadline=None, max_examples=60)
@given(st.integers(100, 20_000), st.integers(1, 4), st.floats(0.0, 0.11), st.integers(0, 2**32))
def test_errors_are_corrected(key_bit: int, frames: int, qber: float, seed: int) -> None:
    generator = np.random.default_rng(seed)
    alice_bits = generator.integers(0, 2, key_bit, dtype=np.uint8)
    bob_bits = alice_bits ^ (generator.random(key_bit) < qber)
    plan = plan_for(key_bit, frames, max(qber, 0.002))
    corrected, _ = reconcile(plan, alice_bits, bob_bits)
    assert corrected.size == key_bit
    left = plan.frames_of(corrected ^ alice_bits).sum(axis=1)
    assert set(left.tolist()) <= {0, 2}  # A pair that twelve passes of halves have hidden, one frame in thousands.
    assert (left > 0).sum() <= 1


@pytest.mark.parametrize("frame_bit", [2, 3, 25, 33, 1000, 33_000, 40_000, 49_152, 62_500, 65_536])
def test_the_last_passes_part_two_errors_nearly_every_other_time(frame_bit: int) -> None:
    size = 1 << block_levels(0.02, frame_bit)[-1]
    blocks = np.bincount(np.arange(frame_bit) // size)
    apart = 1 - (blocks * (blocks - 1)).sum() / (frame_bit * (frame_bit - 1))
    assert apart > 0.44


@pytest.mark.parametrize(("qber", "efficiency"), [(0.01, 1.04), (0.02, 1.05), (0.05, 1.07)])
def test_leak_is_close_to_the_shannon_limit(qber: float, efficiency: float) -> None:
    """16 frames of 65,536 bits. Mao et al. 2021 (arXiv:2101.12565) report 1.038."""
    generator = np.random.default_rng(int(1000 * qber))
    alice_bits = generator.integers(0, 2, 16 * 65_536, dtype=np.uint8)
    errors = generator.random(alice_bits.size) < qber
    corrected, told = reconcile(plan_for(alice_bits.size, 16, qber), alice_bits, alice_bits ^ errors)
    assert (corrected == alice_bits).all()
    assert told < efficiency * float(binary_entropy(errors.mean())) * alice_bits.size


def test_no_errors_cost_only_the_block_parities() -> None:
    bits = np.random.default_rng(1).integers(0, 2, 10_000, dtype=np.uint8)
    plan = plan_for(bits.size, 1, 0.01)
    corrected, told = reconcile(plan, bits, bits)
    assert (corrected == bits).all()
    assert told == sum(plan.top_parities(number) for number in range(len(plan.levels)))


def test_repair_finds_the_pair_that_all_blocks_hid() -> None:
    alice_bits = np.zeros(5000, np.uint8)
    bob_bits = alice_bits.copy()
    bob_bits[[17, 4711]] ^= 1
    plan = CascadePlan.checked(key_bit=5000, frames=1, levels=repair_levels(5000), seed=os.urandom(16))
    corrected, _ = reconcile(plan, alice_bits, bob_bits)
    assert (corrected == alice_bits).all()


def test_both_ends_shuffle_alike_and_differently_in_each_pass() -> None:
    seed = bytes(range(16))
    first, second = (CascadePlan(1, 1000, (5, 6, 7), seed) for _ in range(2))
    orders = [first.shuffle(number) for number in range(3)]
    assert all((order == second.shuffle(number)).all() for number, order in enumerate(orders))
    assert all((np.sort(order) == np.arange(1000)).all() for order in orders)
    assert (orders[1] != orders[2]).any()


@pytest.mark.parametrize(
    "changes",
    [{"frames": 0}, {"frames": 5000}, {"levels": ()}, {"levels": (3,) * 33}, {"levels": (-1,)}, {"levels": (40,)}, {"seed": b"short"}],
)
def test_a_plan_out_of_range_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(ProtocolViolation):
        CascadePlan.checked(**{"key_bit": 1000, "frames": 1, "levels": (5, 6), "seed": bytes(16), **changes})  # type: ignore[arg-type]


def test_frames_may_not_be_too_long() -> None:
    with pytest.raises(ProtocolViolation):
        CascadePlan.checked(key_bit=10**9, frames=1, levels=(5,), seed=bytes(16))


@pytest.mark.parametrize("node", [-1, 0, 2**40, 2**63 - 1])
def test_a_node_outside_the_trees_is_refused(node: int) -> None:
    alice = CascadeAnswerer(plan_for(1000, 1, 0.01), np.zeros(1000, np.uint8))
    with pytest.raises(ProtocolViolation):
        alice.answer(np.array([node]))


def test_another_number_of_parities_is_refused() -> None:
    with pytest.raises(ProtocolViolation):
        unpack_parities(b"\x00\x00", 3)
