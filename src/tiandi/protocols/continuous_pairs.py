"""Entangled pairs from a continuously pumped source: rates, time tags at both ends, and the coincidences found among them.

There are no pulses: both ends write down when they clicked, and two clicks within a window count as a pair. Accidental coincidences,
the errors they bring and the loss of Bell violation come out of the tags by themselves; `continuous_rates` gives what to expect of them.
Times are those of the source, the two ways' flight times taken off.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tiandi.errors import InputError
from tiandi.limits import require_distribution, require_each_within, require_within
from tiandi.physics.detectors import gate_acceptance
from tiandi.physics.sources import ContinuousPairSource

Array = NDArray[np.float64]
Indices = NDArray[np.int64]


@dataclass(frozen=True)
class TaggingReceiver:
    """One end: a passive choice among analysers with two detectors each, whose clicks are time-tagged.

    ``angles_rad`` of the analysers and the probabilities of taking each. ``noise_rate_hz`` is of all detectors together, and falls on
    every analyser as the light does. ``jitter_sigma_s`` is the standard deviation of a tag. All detectors are blanked together for
    ``dead_time_s`` after a click. Raises InputError on a field out of its range.
    """

    angles_rad: tuple[float, ...]
    probabilities: tuple[float, ...]
    noise_rate_hz: float = 0.0
    jitter_sigma_s: float = 0.0
    dead_time_s: float = 0.0

    def __post_init__(self) -> None:
        require_within("number of analysers", len(self.angles_rad), 1, 16)
        if len(self.probabilities) != len(self.angles_rad):
            raise InputError("probabilities", self.probabilities, f"must be {len(self.angles_rad)}, one an analyser")
        require_distribution("probabilities", self.probabilities)
        require_within("noise_rate_hz", self.noise_rate_hz, 0.0, 1e9)
        require_within("jitter_sigma_s", self.jitter_sigma_s, 0.0, 1e-6)
        require_within("dead_time_s", self.dead_time_s, 0.0, 1e-3)


@dataclass(frozen=True)
class ContinuousRates:
    """Rates [1/s] of clicks at the two ends, of true and of accidental coincidences, and the correlation [1] of a true one; (...,) each."""

    alice_singles_hz: Array
    bob_singles_hz: Array
    true_rate_hz: Array
    accidental_rate_hz: Array
    true_correlation: float

    @property
    def coincidence_rate_hz(self) -> Array:
        """Coincidences of either sort per second."""
        return self.true_rate_hz + self.accidental_rate_hz

    @property
    def visibility(self) -> Array:
        """Correlation of all coincidences in equal settings: accidental ones have none."""
        total = self.coincidence_rate_hz
        return np.asarray(self.true_correlation * self.true_rate_hz / np.where(total > 0.0, total, 1.0))

    @property
    def qber(self) -> Array:
        """Share of errors among coincidences in equal settings; 1/2 where there are none."""
        return 0.5 * (1.0 - self.visibility)


@dataclass(frozen=True)
class TimeTags:
    """Clicks of one end in order of time: ``time_s`` (n,), which analyser (n,), which bit (n,)."""

    time_s: Array
    settings: NDArray[np.uint8]
    bits: NDArray[np.uint8]


def continuous_rates(
    source: ContinuousPairSource,
    alice: TaggingReceiver,
    bob: TaggingReceiver,
    alice_efficiency: ArrayLike,
    bob_efficiency: ArrayLike,
    *,
    window_s: float,
    misalignment: float = 0.0,
) -> ContinuousRates:
    """Expected rates [1/s] when clicks within ``window_s`` of full width count as coincident; broadcast over the efficiencies.

    Singles B eta + noise, true pairs B eta_A eta_B times the share that jitter leaves in the window, accidental ones S_A S_B window: the
    model that Neumann et al. 2021 (doi:10.1103/PhysRevA.104.022406) work out (recalled). Without dead time it is exact for the number of
    pairs of tags within the window. Dead time scales every rate by the share of time in which an end is awake, as if the two ends slept
    independently. Efficiencies run from the source to the click. Raises InputError on a figure out of its range.
    """
    eta_a = require_each_within("alice_efficiency", alice_efficiency, 0.0, 1.0)
    eta_b = require_each_within("bob_efficiency", bob_efficiency, 0.0, 1.0)
    require_within("window_s", window_s, 1e-13, 1e-6)
    single_a, single_b = source.pair_rate_hz * eta_a + alice.noise_rate_hz, source.pair_rate_hz * eta_b + bob.noise_rate_hz
    awake_a, awake_b = 1.0 / (1.0 + single_a * alice.dead_time_s), 1.0 / (1.0 + single_b * bob.dead_time_s)
    within = gate_acceptance(window_s, math.hypot(alice.jitter_sigma_s, bob.jitter_sigma_s))
    return ContinuousRates(
        alice_singles_hz=single_a * awake_a,
        bob_singles_hz=single_b * awake_b,
        true_rate_hz=source.pair_rate_hz * eta_a * eta_b * awake_a * awake_b * within,
        accidental_rate_hz=single_a * awake_a * single_b * awake_b * window_s,
        true_correlation=_quality(source, misalignment),
    )


def sample_time_tags(
    source: ContinuousPairSource,
    alice: TaggingReceiver,
    bob: TaggingReceiver,
    *,
    alice_efficiency: ArrayLike,
    bob_efficiency: ArrayLike,
    duration_s: ArrayLike,
    generator: np.random.Generator,
    misalignment: float = 0.0,
) -> tuple[TimeTags, TimeTags]:
    """Tags of both ends over steps of ``duration_s`` (steps,) with constant efficiencies (steps,); exact in distribution.

    A thinned Poisson process is again one, so pairs caught at both ends, and clicks at one end alone, are drawn by themselves and pairs
    that nobody catches never are. Memory grows with the clicks of the run, about 40 byte each: take a long run in parts. Floating
    point keeps a time to a picosecond up to an hour. Raises InputError on a figure out of its range.
    """
    eta_a, eta_b, duration = np.broadcast_arrays(
        require_each_within("alice_efficiency", alice_efficiency, 0.0, 1.0),
        require_each_within("bob_efficiency", bob_efficiency, 0.0, 1.0),
        np.atleast_1d(require_each_within("duration_s", duration_s, 0.0, 1e7)),
    )
    rate = source.pair_rate_hz
    both = _arrivals(rate * eta_a * eta_b, duration, generator)
    settings_a, settings_b = _settings(alice, both.size, generator), _settings(bob, both.size, generator)
    angle = np.subtract.outer(alice.angles_rad, bob.angles_rad)[settings_a, settings_b]
    bits: NDArray[np.uint8] = generator.integers(0, 2, both.size, np.uint8)
    flipped = generator.random(both.size) < 0.5 - 0.5 * _quality(source, misalignment) * np.cos(2.0 * angle)
    alone_a = _arrivals(rate * eta_a * (1.0 - eta_b) + alice.noise_rate_hz, duration, generator)
    alone_b = _arrivals(rate * eta_b * (1.0 - eta_a) + bob.noise_rate_hz, duration, generator)
    return (
        _recorded(alice, TimeTags(both, settings_a, bits), alone_a, generator),
        _recorded(bob, TimeTags(both, settings_b, bits ^ flipped.astype(np.uint8)), alone_b, generator),
    )


def find_coincidences(alice: TimeTags, bob: TimeTags, *, window_s: float) -> tuple[Indices, Indices]:
    """Indices into Alice's and into Bob's tags of the coincidences, (n,) each: tags that are each other's nearest and within the window.

    ``window_s`` is the full width. No tag is used twice, and neither end is preferred. Raises InputError on a window out of its range.
    """
    require_within("window_s", window_s, 1e-13, 1e-6)
    if alice.time_s.size == 0 or bob.time_s.size == 0:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    of_alice, of_bob = _nearest(alice.time_s, bob.time_s), _nearest(bob.time_s, alice.time_s)
    mutual = of_bob[of_alice] == np.arange(of_alice.size)
    chosen = np.flatnonzero(mutual & (np.abs(bob.time_s[of_alice] - alice.time_s) <= 0.5 * window_s))
    return chosen, of_alice[chosen]


def coincidence_counts(
    alice: TimeTags, bob: TimeTags, coincidences: tuple[Indices, Indices], *, alice_settings: int, bob_settings: int
) -> NDArray[np.int64]:
    """Coincidences by (Alice's setting, Bob's setting, Alice's bit, Bob's bit)."""
    shape = (alice_settings, bob_settings, 2, 2)
    of_alice, of_bob = coincidences
    kinds = (alice.settings[of_alice], bob.settings[of_bob], alice.bits[of_alice], bob.bits[of_bob])
    return np.bincount(np.ravel_multi_index(kinds, shape), minlength=math.prod(shape)).reshape(shape)


def _quality(source: ContinuousPairSource, misalignment: float) -> float:
    """Correlation of a pair in equal settings."""
    require_within("misalignment", misalignment, 0.0, 0.5)
    return source.visibility * (1.0 - 2.0 * misalignment)


def _arrivals(rate_hz: Array, duration_s: Array, generator: np.random.Generator) -> Array:
    """Times of a Poisson process whose rate is constant in every step; in order of steps but not within them."""
    counts = generator.poisson(rate_hz * duration_s)
    starts = np.concatenate([[0.0], np.cumsum(duration_s)[:-1]])
    return np.repeat(starts, counts) + np.repeat(duration_s, counts) * generator.random(int(counts.sum()))


def _settings(receiver: TaggingReceiver, clicks: int, generator: np.random.Generator) -> NDArray[np.uint8]:
    """Which analyser each click is in."""
    return np.searchsorted(np.cumsum(receiver.probabilities[:-1]), generator.random(clicks), side="right").astype(np.uint8)


def _recorded(receiver: TaggingReceiver, paired: TimeTags, alone: Array, generator: np.random.Generator) -> TimeTags:
    """The tags of one end in order, jitter and dead time included; clicks ``alone`` find a random analyser and a random bit."""
    # Jitter leaves the times of a Poisson process of lone clicks what they were.
    jittered = paired.time_s + receiver.jitter_sigma_s * generator.standard_normal(paired.time_s.size)
    time = np.concatenate([jittered, alone])
    settings = np.concatenate([paired.settings, _settings(receiver, alone.size, generator)])
    bits = np.concatenate([paired.bits, generator.integers(0, 2, alone.size, np.uint8)])
    order = np.argsort(time)
    order = order[_awake(time[order], receiver.dead_time_s)]
    return TimeTags(time[order], settings[order], bits[order])


def _awake(time: Array, dead_time_s: float) -> NDArray[np.bool_]:
    """Which of the clicks find their detectors awake, when a click that finds them blanked does not prolong the dead time.

    A click does for certain if the one before it is a dead time away. From all of these at once, each awake click leads to the first one
    after its dead time, so that there are as many rounds as the longest row of clicks is long.
    """
    if dead_time_s == 0.0 or time.size == 0:
        return np.ones(time.size, bool)
    following = np.searchsorted(time, time + dead_time_s)
    awake = np.concatenate([[True], following[:-1] <= np.arange(1, time.size)])
    current = np.flatnonzero(awake)
    while current.size:
        current = following[current]
        current = current[current < time.size]
        current = current[~awake[current]]
        awake[current] = True
    return awake


def _nearest(times: Array, others: Array) -> Indices:
    """Index of the one of ``others`` nearest to each of ``times``, both in order."""
    fenced = np.concatenate([[-np.inf], others, [np.inf]])
    after = np.searchsorted(others, times)
    return after - (times - fenced[after] <= fenced[after + 1] - times)
