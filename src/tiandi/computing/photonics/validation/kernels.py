"""Compiled loops that count clicks: one pass over a batch of samples, integers only, so that nothing is rounded."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from tiandi.compiling import kernel

Words = NDArray[np.uint64]
Integers = NDArray[np.int64]
WORDS_AT_ONCE = 128
"""Of each mode, so that all modes' bits stay in the second cache."""


@kernel
def pack_clicks(samples, packed):  # type: ignore[no-untyped-def]
    """Bit s % 64 of ``packed[s // 64, mode]`` says whether that mode clicked in sample s; ``packed`` must come as zeros."""
    for sample in range(samples.shape[0]):
        word, place = sample >> 6, np.uint64(sample & 63)
        for mode in range(samples.shape[1]):
            packed[word, mode] |= np.uint64(samples[sample, mode] != 0) << place


@kernel
def popcount(word):  # type: ignore[no-untyped-def]
    """Ones of a word, in the form that the compiler knows as one instruction."""
    word -= (word >> np.uint64(1)) & np.uint64(0x5555555555555555)
    word = (word & np.uint64(0x3333333333333333)) + ((word >> np.uint64(2)) & np.uint64(0x3333333333333333))
    word = (word + (word >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return np.int64((word * np.uint64(0x0101010101010101)) >> np.uint64(56))


@kernel
def count_together(packed, pairs, triples):  # type: ignore[no-untyped-def]
    """Add to ``pairs`` and ``triples`` how often all modes of each clicked; packed (modes, words), in lexicographic order.

    A pair's bits are joined once and then held against each third mode: one AND and one count a word and triple, the least that a
    full table of triples takes.
    """
    modes, words = packed.shape
    both = np.empty(words, np.uint64)
    pair, triple = 0, 0
    for i in range(modes):
        for j in range(i + 1, modes):
            total = np.int64(0)
            for word in range(words):
                both[word] = packed[i, word] & packed[j, word]
                total += popcount(both[word])
            pairs[pair] += total
            pair += 1
            for k in range(j + 1, modes):
                total = np.int64(0)
                for word in range(words):
                    total += popcount(both[word] & packed[k, word])
                triples[triple] += total
                triple += 1


@kernel
def count_patterns(samples, subsets, counts):  # type: ignore[no-untyped-def]
    """Add to ``counts[subset, pattern]`` the samples with that pattern of clicks; bit i of a pattern is the subset's i-th mode."""
    for sample in range(samples.shape[0]):
        for subset in range(subsets.shape[0]):
            pattern = np.int64(0)
            for place in range(subsets.shape[1]):
                pattern |= np.int64(samples[sample, subsets[subset, place]] != 0) << place
            counts[subset, pattern] += 1


@kernel
def all_click_apart(shares, silent, excess, dark):  # type: ignore[no-untyped-def]
    """Probability that all detectors of a set click and those of another stay silent, of squeezers that do not interfere with each other.

    ``shares`` (clicks, inputs) and ``silent`` (inputs,) are the shares of each input's light that go to each detector that clicks, and to
    all silent ones; ``excess`` (2, inputs) is (V - 1)/2 of both quadratures, ``dark`` the probability that a detector in the dark is
    silent. Inclusion and exclusion in the order of a Gray code, so that each set differs from the one before by one detector. Returns the
    sum of the terms' sizes too: what `all_click_apart_precisely` is for.
    """
    clicks, inputs = shares.shape
    reached = silent.copy()
    total, size, sign = 0.0, 0.0, 1.0
    weight = 1.0
    member = np.zeros(clicks, np.bool_)
    for code in range(1 << clicks):
        if code:
            place = 0
            while not code >> place & 1:
                place += 1
            member[place] = not member[place]
            step = 1.0 if member[place] else -1.0
            for k in range(inputs):
                reached[k] += step * shares[place, k]
            weight = weight * dark if member[place] else weight / dark
            sign = -sign
        product = 1.0
        for k in range(inputs):
            product *= (1 + excess[0, k] * reached[k]) * (1 + excess[1, k] * reached[k])
        term = weight / math.sqrt(product)
        total += sign * term
        size += term
    return total, size


@kernel
def group_polynomials(silent, members, real, imaginary):  # type: ignore[no-untyped-def]
    """Coefficients of the product over ``members`` of q + (1 - q) z, for each of LANES samples of the complex q.

    ``silent`` (2, modes, LANES) holds q's real and imaginary parts; ``real`` and ``imaginary`` (members + 1, LANES) are filled.
    """
    real[:] = 0.0
    imaginary[:] = 0.0
    real[0] = 1.0
    one = np.float32(1.0)
    for degree in range(len(members)):
        mode = members[degree]
        for k in range(degree + 1, -1, -1):
            before = max(k - 1, 0)
            keep = one if k else np.float32(0.0)
            for lane in range(real.shape[1]):
                a, b = silent[0, mode, lane], silent[1, mode, lane]
                c, d = (one - a) * keep, -b * keep
                x, y, u, v = real[k, lane], imaginary[k, lane], real[before, lane], imaginary[before, lane]
                real[k, lane] = x * a - y * b + u * c - v * d
                imaginary[k, lane] = x * b + y * a + u * d + v * c
