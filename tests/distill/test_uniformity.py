"""The key that comes out looks like fair coins, whatever went in, and has nothing to do with the raw key or with other blocks.

Randomness is seeded here, so that a verdict repeats. With another seed about `TESTS` times `FALSE_ALARM`, 2e-4, is the probability that
some test of this file fails although all is well.

Monobit, runs and serial tests are those of NIST SP 800-22 rev. 1a (Rukhin et al. 2010, doi:10.6028/NIST.SP.800-22r1a), sections 2.1, 2.3
and 2.11; poker and byte tests are chi-square tests of blocks of 4 and 8 bits that do not overlap.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import erfc, gammaincc

from tests.fuzz.fuzz_messages import Block, converse, records, repeatable, two_ends, two_pools
from tiandi.bits import unpack
from tiandi.distill.amplification import ROUNDED_SEED_BIT, toeplitz_hash, toeplitz_seed_bit
from tiandi.distill.records import KeyBlock

Bits = NDArray[np.uint8]

FALSE_ALARM = 1e-6
TESTS = 200
BLOCKS = 250
LIGHT = Block(seed=2, qber=0.01, detections=8000)
WINDOW_BIT = 64
LAGS = (2, 3, 8, 64, 127)


def monobit(bits: Bits) -> float:
    """Zeros and ones, SP 800-22 section 2.1."""
    return float(erfc(abs(2.0 * bits.sum() - bits.size) / np.sqrt(2.0 * bits.size)))


def runs(bits: Bits) -> float:
    """Changes between neighbours, section 2.3; without its precondition, by which monobit would be judged twice."""
    ones = bits.mean()
    expected = 2.0 * bits.size * ones * (1.0 - ones)
    if expected == 0.0:
        return 0.0
    changes = 1 + np.count_nonzero(bits[1:] != bits[:-1])
    return float(erfc(abs(changes - expected) / (2.0 * np.sqrt(2.0 * bits.size) * ones * (1.0 - ones))))


def pattern_counts(bits: Bits, length: int, step: int) -> NDArray[np.int64]:
    """How often each pattern of ``length`` bits begins at a multiple of ``step``."""
    weights = 1 << np.arange(length)[::-1]
    patterns = np.lib.stride_tricks.sliding_window_view(bits, length)[::step] @ weights
    return np.bincount(patterns, minlength=1 << length)


def serial(bits: Bits, length: int = 2) -> tuple[float, float]:
    """Overlapping patterns of ``length`` bits round the end, section 2.11."""

    def excess(size: int) -> float:
        if size == 0:
            return 0.0
        counts = pattern_counts(np.concatenate([bits, bits[: size - 1]]), size, 1).astype(float)
        return float((counts**2).sum() * 2**size / bits.size - bits.size)

    first = excess(length) - excess(length - 1)
    second = excess(length) - 2.0 * excess(length - 1) + excess(length - 2)
    return float(gammaincc(2.0 ** (length - 2), first / 2)), float(gammaincc(2.0 ** (length - 3), second / 2))


def chi_square(bits: Bits, length: int) -> float:
    """Blocks of ``length`` bits, all values alike."""
    counts = pattern_counts(bits[: bits.size // length * length], length, length)
    expected = counts.sum() / counts.size
    return float(gammaincc((counts.size - 1) / 2, ((counts - expected) ** 2).sum() / expected / 2))


def p_values(bits: Bits) -> dict[str, float]:
    """Every test of one string of bits; each value falls below p with probability p where the bits are fair coins."""
    serial_1, serial_2 = serial(bits)
    found = {"monobit": monobit(bits), "runs": runs(bits), "serial 1": serial_1, "serial 2": serial_2}
    found |= {"poker": chi_square(bits, 4), "bytes": chi_square(bits, 8)}
    return found | {f"lag {lag}": monobit(bits[lag:] ^ bits[:-lag]) for lag in LAGS}


def require_fair(bits: Bits) -> None:
    """Fail where fair coins would fail with probability `FALSE_ALARM`."""
    assert {name: p for name, p in p_values(bits).items() if p < FALSE_ALARM} == {}


def windows(bits: Bits, step: int = 1) -> list[bytes]:
    """Every string of `WINDOW_BIT` bits that begins at a multiple of ``step``."""
    return [window.tobytes() for window in np.packbits(np.lib.stride_tricks.sliding_window_view(bits, WINDOW_BIT)[::step], axis=1)]


@dataclass(frozen=True)
class Harvest:
    """The keys of many blocks made one after the other from the same light, and the raw keys of both ends."""

    keys: list[Bits]
    raw_keys: list[Bits]


def require_fair_blocks(harvest: Harvest) -> None:
    """Whole keys, their front and back, which come from one basis each, and what they share with one another and with the raw keys."""
    keys = harvest.keys
    require_fair(np.concatenate(keys))
    require_fair(np.concatenate([key[: key.size // 4] for key in keys]))
    require_fair(np.concatenate([key[-(key.size // 4) :] for key in keys]))
    require_fair(np.concatenate([left[: right.size] ^ right[: left.size] for left, right in pairwise(keys)]))
    # Two strings of 64 fair coins are alike with probability 2^-64; all pairs of these together with less than 1e-8.
    spread = [window for key in keys for window in windows(key, 8)]
    assert len(spread) == len(set(spread)), "a piece of key comes twice"
    everywhere = {window for key in keys for window in windows(key)}
    for raw in harvest.raw_keys:
        require_fair(np.concatenate([key ^ raw[: key.size] for key in keys]))
        assert everywhere.isdisjoint(windows(raw)), "a piece of raw key is key"


@pytest.fixture(scope="module")
def harvest() -> Harvest:
    """The light of all blocks is the same, and so is the raw key but for the sample: only fresh seeds can make the keys differ."""
    keys, pools = [], two_pools(1)
    with repeatable(2016):
        for _ in range(BLOCKS):
            alice, bob = two_ends(LIGHT, pools)
            converse(alice, bob)
            assert isinstance(bob.outcome, KeyBlock)
            # The front and the back quarter of a key are of one basis each.
            front_bit = bob.ledger.secret_bit["X"] - bob.ledger.authentication_replenished_bit
            assert bob.outcome.length_bit / 4 < front_bit < bob.outcome.length_bit * 3 / 4
            keys.append(unpack(bob.outcome.key, bob.outcome.length_bit))
    sent, received = records(LIGHT)
    kept = [(sent.bases == basis) & (received.bases == basis) for basis in range(2)]
    return Harvest(keys, [np.concatenate([end.bits[one] for one in kept]) for end in (sent, received)])


def test_keys_of_many_blocks_are_fair_coins(harvest: Harvest) -> None:
    require_fair_blocks(harvest)


def with_key(harvest: Harvest, number: int, key: Bits) -> Harvest:
    return replace(harvest, keys=[*harvest.keys[:number], key, *harvest.keys[number + 1 :]])


def changed(harvest: Harvest, change: Callable[[Bits], Bits]) -> Harvest:
    return replace(harvest, keys=[change(key) for key in harvest.keys])


def two_percent_ones(key: Bits) -> Bits:
    generator = np.random.default_rng(key[:64])
    return key | (generator.random(key.size) < 0.02).astype(np.uint8)


def one_bit_in_ten_copies_its_neighbour(key: Bits) -> Bits:
    copied = key.copy()
    copied[1::10] = key[:-1:10]
    return copied


BROKEN: dict[str, Callable[[Harvest], Harvest]] = {
    "one key is the raw key of Alice": lambda harvest: with_key(harvest, 5, harvest.raw_keys[0][100:600].copy()),
    "one key ends with the raw key of Bob": lambda harvest: with_key(
        harvest, 5, np.concatenate([harvest.keys[5][:200], harvest.raw_keys[1][1000:1070]])
    ),
    "one key comes again": lambda harvest: with_key(harvest, 200, harvest.keys[20]),
    "a key comes twice in itself": lambda harvest: with_key(harvest, 9, np.tile(harvest.keys[9][:160], 2)),
    "a key and its inverse take turns": lambda harvest: replace(
        harvest, keys=[harvest.keys[number // 2] ^ np.uint8(number % 2) for number in range(BLOCKS)]
    ),
    "the key is the raw key": lambda harvest: changed(harvest, lambda key: harvest.raw_keys[0][: key.size]),
    "the second basis gives nothing": lambda harvest: changed(harvest, lambda key: np.where(np.arange(key.size) < 0.7 * key.size, key, 0)),
    "ones are more frequent by a hundredth": lambda harvest: changed(harvest, two_percent_ones),
    "neighbours are alike": lambda harvest: changed(harvest, one_bit_in_ten_copies_its_neighbour),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_keys_are_noticed(harvest: Harvest, name: str) -> None:
    with pytest.raises(AssertionError):
        require_fair_blocks(BROKEN[name](harvest))


SIZES = [(8_000, 4_096, 25), (ROUNDED_SEED_BIT, ROUNDED_SEED_BIT // 2, 2)]
"""Bits in, bits out, and how many hashes: below and above the length at which the method changes."""


def hashes(inputs: list[Bits], output_bit: int, count: int, one_probability: float = 0.5) -> list[Bits]:
    """The hashes of each of ``inputs`` under the same ``count`` fresh seeds, one after the other."""
    generator = np.random.default_rng(output_bit)
    seeds = [(generator.random(toeplitz_seed_bit(inputs[0].size, output_bit)) < one_probability).astype(np.uint8) for _ in range(count)]
    return [np.concatenate([toeplitz_hash(bits, seed, output_bit) for seed in seeds]) for bits in inputs]


def single_one(length: int, place: int) -> Bits:
    bits = np.zeros(length, np.uint8)
    bits[place] = 1
    return bits


@pytest.mark.parametrize(("input_bit", "output_bit", "count"), SIZES)
@pytest.mark.parametrize("place", [0, 0.5, 1])
def test_a_raw_key_of_a_single_one_is_hashed_to_fair_coins(input_bit: int, output_bit: int, count: int, place: float) -> None:
    """The least that is not nothing: a two-universal hash owes the same for it as for any other raw key."""
    (hashed,) = hashes([single_one(input_bit, round(place * (input_bit - 1)))], output_bit, count)
    require_fair(hashed)


@pytest.mark.parametrize(("input_bit", "output_bit", "count"), SIZES)
def test_hashes_of_two_raw_keys_that_differ_in_one_bit_have_nothing_in_common(input_bit: int, output_bit: int, count: int) -> None:
    one = np.random.default_rng(3).integers(0, 2, input_bit, dtype=np.uint8)
    other = one ^ single_one(input_bit, input_bit // 3)
    left, right = hashes([one, other], output_bit, count)
    for bits in (left, right, left ^ right):
        require_fair(bits)


@pytest.mark.parametrize(("input_bit", "output_bit", "count"), SIZES)
def test_seeds_that_are_no_fair_coins_are_noticed(input_bit: int, output_bit: int, count: int) -> None:
    (hashed,) = hashes([single_one(input_bit, 17)], output_bit, count, one_probability=0.6)
    assert max(p_values(hashed)[name] for name in ("monobit", "serial 1", "poker", "bytes")) < FALSE_ALARM


def bits_of(text: str) -> Bits:
    return np.array([int(sign) for sign in text], np.uint8)


def test_p_values_are_those_of_the_standard() -> None:
    """The worked examples of SP 800-22, sections 2.1.4, 2.3.4 and 2.11.6."""
    assert monobit(bits_of("1011010101")) == pytest.approx(0.527089, abs=1e-6)
    assert runs(bits_of("1001101011")) == pytest.approx(0.147232, abs=1e-6)
    assert serial(bits_of("0011011101"), 3) == pytest.approx((0.808792, 0.670320), abs=1e-6)


def test_fair_coins_fall_below_each_level_as_often_as_it_says() -> None:
    """Five standard deviations of a binomial count: for each of these figures a false alarm of 6e-7."""
    generator = np.random.default_rng(7)
    found = [p_values(generator.integers(0, 2, 20_000, dtype=np.uint8)) for _ in range(500)]
    for name in found[0]:
        for level in (0.05, 0.5):
            below = sum(values[name] < level for values in found)
            assert abs(below - 500 * level) < 5 * np.sqrt(500 * level * (1 - level)), name
