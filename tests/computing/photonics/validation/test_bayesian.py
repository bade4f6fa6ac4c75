"""Likelihoods against an independent library and against each other; tests against samples of known origin."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import mpmath
import numpy as np
import pytest

from tests.computing.photonics.validation.small import MODES, drawn, small_machine
from tiandi.computing.photonics.gaussian import Detectors
from tiandi.computing.photonics.machines import haar_columns
from tiandi.computing.photonics.samplers import SAMPLERS
from tiandi.computing.photonics.validation.bayesian import (
    MOCK_UPS,
    ideal_law,
    make_trial,
    mock_up_law,
    odds,
)
from tiandi.computing.photonics.validation.ideal import make_ideal
from tiandi.computing.photonics.validation.tally import Extent, tally

SOME = np.array([[0, 0, 0, 0], [1, 0, 1, 0], [0, 1, 1, 1], [1, 1, 1, 1]], np.uint8)


@pytest.mark.parametrize("kind", ["ideal", *MOCK_UPS])
@pytest.mark.parametrize("dark", [0.0, 0.03])
def test_both_ways_to_a_probability_agree_and_all_add_up(kind: str, dark: float) -> None:
    machine = replace(small_machine(), detectors=Detectors(dark_count_probability=dark))
    law = ideal_law(machine) if kind == "ideal" else mock_up_law(machine, kind, np.random.default_rng(1))
    modes = np.array([5, 0, 3, 6])
    patterns = law.patterns(modes)
    assert patterns.sum() == pytest.approx(1.0)
    within = 0.1 if kind == "coherent" else 1e-9
    assert np.exp(law.logarithm(modes, SOME)) == pytest.approx(patterns[SOME @ [1, 2, 4, 8]], rel=within)


@pytest.mark.parametrize("kind", MOCK_UPS)
def test_laws_of_mock_ups_are_those_of_their_samplers(kind: str) -> None:
    """Chi-square of 16 patterns, which a right law passes 9,999 times in 10,000; of coherent light fewer samples, as its law is a mean."""
    generator, number = np.random.default_rng(6), 4_000 if kind == "coherent" else 40_000
    machine = replace(small_machine(), transfer=small_machine().transfer[:4])
    samples = SAMPLERS[kind](machine, generator).sample(number, generator)
    counts = np.bincount(samples @ np.array([1, 2, 4, 8]), minlength=16)
    expected = mock_up_law(machine, kind, generator).patterns(np.arange(4)) * number
    assert ((counts - expected) ** 2 / expected).sum() < 44.3


def test_distinguishable_squeezers_click_as_products_of_their_silences() -> None:
    machine = replace(small_machine(), transfer=small_machine().transfer[:1])
    shares, squeezing = np.abs(machine.transfer[0]) ** 2, machine.squeezing_r
    photons, pairs = np.sinh(squeezing) ** 2, np.sinh(squeezing) * np.cosh(squeezing)
    silence = np.prod(1 / np.sqrt((1 + shares * photons) ** 2 - (shares * pairs) ** 2))
    law = mock_up_law(machine, "distinguishable", np.random.default_rng(1))
    assert np.exp(law.logarithm(np.array([0]), np.array([[0], [1]], np.uint8))) == pytest.approx([silence, 1 - silence])


def test_weak_distinguishable_light_keeps_its_digits() -> None:
    """Eight clicks that come once in 10^18 times, against a sum of fifty figures."""
    machine = replace(small_machine(), transfer=0.06 * small_machine().transfer, indistinguishability=0.0)
    law = mock_up_law(machine, "distinguishable", np.random.default_rng(1))
    found = law.logarithm(np.arange(MODES), np.ones((1, MODES), np.uint8))[0]
    shares, photons = np.abs(machine.transfer) ** 2, np.sinh(machine.squeezing_r) ** 2
    with mpmath.workdps(50):
        total = mpmath.mpf(0)
        for chosen in product((0, 1), repeat=MODES):
            term = mpmath.mpf((-1) ** sum(chosen))
            for k, number in enumerate(photons):
                share = mpmath.fsum(shares[mode, k] for mode in range(MODES) if chosen[mode])
                term /= mpmath.sqrt(1 + number * share * (2 - share))
            total += term
        assert found == pytest.approx(float(mpmath.log(total)), abs=1e-9)
    assert found < -43


def test_choosing_samples_of_few_clicks_speaks_for_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """With at most two clicks of eight the mean log ratio of ideal samples is a relative entropy: that of both laws given so few."""
    monkeypatch.setattr("tiandi.computing.photonics.validation.bayesian.MOST_CLICKS", 2)
    generator, machine = np.random.default_rng(8), small_machine()
    ideal = make_ideal(machine, generator, extent=Extent(1, 1, 0))
    trial = make_trial(ideal, generator)
    laws = {kind: mock_up_law(machine, kind, generator).patterns(np.arange(MODES)) for kind in ("thermal", "squashed", "distinguishable")}
    few = np.bitwise_count(np.arange(1 << MODES)) <= 2
    own = ideal_law(machine).patterns(np.arange(MODES))
    counted = tally(ideal.plan, drawn(own, 3000, generator))
    for item in odds(trial, counted.patterns["clustered 12"], counted.samples, np.concatenate(counted.kept)):
        if item.mock_up not in laws:
            continue
        assert item.whole is not None
        assert item.whole_clicks == 2
        mine, theirs = own[few] / own[few].sum(), laws[item.mock_up][few] / laws[item.mock_up][few].sum()
        assert abs(item.whole.value - (mine * np.log(mine / theirs)).sum()) < 5 * item.whole.error


def test_coherent_light_of_one_input_has_no_phase_to_average() -> None:
    machine = replace(small_machine(), transfer=haar_columns(3, 1, np.random.default_rng(2)), squeezing_r=np.array([0.8]))
    rates = 1 - np.exp(-(np.abs(machine.transfer[:, 0]) ** 2) * np.sinh(0.8) ** 2)
    law = mock_up_law(machine, "coherent", np.random.default_rng(1))
    assert np.exp(law.logarithm(np.arange(3), np.ones((1, 3), np.uint8)))[0] == pytest.approx(rates.prod())


def test_samples_speak_for_what_they_came_from() -> None:
    """Ideal samples against each mock-up above 0, a mock-up's own below: 5,000 samples settle it by ten standard errors."""
    generator, machine = np.random.default_rng(3), small_machine()
    ideal = make_ideal(machine, generator, extent=Extent(2, 2, 1))
    trial = make_trial(ideal, generator)
    origins = {"ideal": ideal_law(machine)} | {kind: mock_up_law(machine, kind, generator) for kind in MOCK_UPS}
    for origin, law in origins.items():
        counted = tally(ideal.plan, drawn(law.patterns(np.arange(MODES)), 5000, generator))
        found = {
            item.mock_up: item for item in odds(trial, counted.patterns["clustered 12"], counted.samples, np.concatenate(counted.kept))
        }
        for kind in MOCK_UPS if origin == "ideal" else [origin]:
            sign = 1 if origin == "ideal" else -1
            assert sign * found[kind].small_sets.deviations > 10, (origin, kind)
            wide = found[kind].wide
            assert wide is not None
            assert sign * wide.deviations > 2, (origin, kind)
            assert found[kind].wide_samples == 400
            whole = found[kind].whole
            assert (whole is None) == (kind == "coherent")
            assert whole is None or (found[kind].whole_clicks == MODES and sign * whole.deviations > 2), (origin, kind)
