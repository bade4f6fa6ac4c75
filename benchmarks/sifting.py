"""Sifting, announcing and tagging keep up with the fastest receivers: time per event or bit on one core."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from unittest import mock

import numpy as np

from measure import Figure
from tiandi.distill import sifting_kernels
from tiandi.distill.sifting import encode_slots, find_slots, matching, pack_words, planes, select
from tiandi.random import secret_bytes
from tiandi.tags import TAG_KEY_BYTE, one_time_tag
from tiandi.units import BIT_PER_BYTE

SIFTED_EVENTS = 1 << 24
ANNOUNCED_EVENTS = 1 << 20
SENT_SHARE, MEAN_GAP = 0.98, 20.0
"""Nearly all slots that Alice remembers are announced, one pulse in twenty: where fewer are detected, speed does not matter."""
TAGGED_BYTE = 64_000_000
SIFT_GOAL_NS, SHIFTS_GOAL_NS = 0.1, 3.0
ENCODE_GOAL_NS, FIND_GOAL_NS = 3.0, 4.0
TAG_GOAL_NS = 1 / 50
"""50 Gbit/s."""
ROUNDS = 15
NANOSECOND, GIGA = 1e9, 1e9


def benchmark_sifting() -> list[Figure]:
    """Best of fifteen rounds after a first one, which compiles unless that was done before."""
    return [*_sift(), *_announce(), _tag()]


def _sift() -> list[Figure]:
    """Bases compared; key bits and two digits of the intensity selected. The peer: NumPy's boolean indexing, a byte each."""
    generator = np.random.default_rng(1)
    alice_bases, bob_bases, bits = generator.integers(0, 2, (3, SIFTED_EVENTS), dtype=np.uint8)
    intensities = generator.integers(0, 4, SIFTED_EVENTS, dtype=np.uint8)
    alice, bob = pack_words(alice_bases), pack_words(bob_bases)
    packed = np.concatenate([planes(bits, 1), planes(intensities, 2)])

    def sift() -> None:
        select(packed, matching(alice, bob, SIFTED_EVENTS), SIFTED_EVENTS)

    def sift_bytes() -> None:
        matched = alice_bases == bob_bases
        assert bits[matched].size == intensities[matched].size

    at_once_s = _best_seconds(sift)
    peer_s = _best_seconds(sift_bytes, 3)
    with mock.patch.object(sifting_kernels, "extraction_flag", return_value=None):
        shifts_s = _best_seconds(sift, 5)
    figures = []
    for how, seconds, goal_ns in (("", at_once_s, SIFT_GOAL_NS), (", no BMI2", shifts_s, SHIFTS_GOAL_NS)):
        name = f"sift an event{how} ({SIFTED_EVENTS / seconds / GIGA:.1f} Gevents/s)"
        peer = f"{peer_s / seconds:.0f} times NumPy's boolean indexing"
        figures.append(Figure(name, NANOSECOND * seconds / SIFTED_EVENTS, goal_ns, "ns", peer))
    return figures


def _announce() -> list[Figure]:
    """The peer for rows: NumPy's searchsorted, on slots that it need not decode."""
    generator = np.random.default_rng(2)
    sent_slots = np.cumsum(generator.geometric(1 / MEAN_GAP, ANNOUNCED_EVENTS))
    slots = sent_slots[generator.random(ANNOUNCED_EVENTS) < SENT_SHARE]
    data = encode_slots(slots)
    encode_s = _best_seconds(lambda: encode_slots(slots))
    find_s = _best_seconds(lambda: find_slots(data, sent_slots))
    peer_s = _best_seconds(lambda: np.searchsorted(sent_slots, slots), 3)
    size = f"{len(data) / slots.size:.2f} bytes instead of 4"
    peer = f"{peer_s / find_s:.0f} times NumPy's searchsorted"
    return [
        Figure(f"announce an event ({size})", NANOSECOND * encode_s / slots.size, ENCODE_GOAL_NS, "ns"),
        Figure("find an announced event", NANOSECOND * find_s / slots.size, FIND_GOAL_NS, "ns", peer),
    ]


def _tag() -> Figure:
    """What verifies a key and authenticates a transcript, of which the longest message lies in an array, as a received frame does.

    The peer: BLAKE2b of the standard library.
    """
    key, message = secret_bytes(TAG_KEY_BYTE), np.frombuffer(secret_bytes(TAGGED_BYTE), np.uint8).copy().data
    seconds = _best_seconds(lambda: one_time_tag(key, [message]))
    peer_s = _best_seconds(lambda: hashlib.blake2b(message).digest(), 3)
    tagged_bit = BIT_PER_BYTE * TAGGED_BYTE
    name = f"verify or authenticate a bit ({tagged_bit / seconds / GIGA:.0f} Gbit/s)"
    return Figure(name, NANOSECOND * seconds / tagged_bit, TAG_GOAL_NS, "ns", f"{peer_s / seconds:.0f} times BLAKE2b")


def _best_seconds(work: Callable[[], object], rounds: int = ROUNDS) -> float:
    seconds = []
    for _ in range(rounds + 1):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return min(seconds[1:])
