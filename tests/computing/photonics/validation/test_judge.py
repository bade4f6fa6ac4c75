"""The verdict: an exact sampler first and a bad one last, whatever the detectors; what is wrong is refused."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import msgspec
import numpy as np
import pytest
from PIL import Image

from tests.computing.photonics.public_data import jiuzhang_data
from tests.computing.photonics.validation.small import MODES, drawn, exact_samples, ideal_patterns, independent_samples, small_machine
from tiandi.cli.gbs_report import html_report
from tiandi.computing.photonics.exact.chain_rule import sample_exact
from tiandi.computing.photonics.gaussian import CountArray, Detectors, Machine
from tiandi.computing.photonics.machines import build_machine, haar_columns
from tiandi.computing.photonics.public_data import Published, read_published
from tiandi.computing.photonics.validation import EXPERIMENT, Verdict, validate
from tiandi.computing.photonics.validation.bayesian import mock_up_law
from tiandi.computing.photonics.validation.estimates import Estimate
from tiandi.computing.photonics.validation.figure import draw_verdict
from tiandi.computing.photonics.validation.ideal import make_ideal
from tiandi.computing.photonics.validation.ranking import CRITERIA, failures, rank, shown
from tiandi.computing.photonics.validation.tally import Extent, tally
from tiandi.errors import InputError

SMALL = Extent(small=4, large=2, partitions=1)


@cache
def verdict() -> Verdict:
    generator = np.random.default_rng(1)
    squashed = mock_up_law(small_machine(), "squashed", generator).patterns(np.arange(MODES))
    samples = {
        "bad": independent_samples(40_000, generator),
        "squashed": drawn(squashed, 40_000, generator),
        "exact": exact_samples(40_000, generator),
    }
    return validate(small_machine(), samples, published(), extent=SMALL)


@cache
def published() -> Published:
    """What an experiment would publish that is a little off: statistics of a million samples of a machine with other squeezing."""
    other = replace(small_machine(), squeezing_r=1.1 * small_machine().squeezing_r)
    samples = drawn(mock_up_law(other, "squashed", np.random.default_rng(2)).patterns(np.arange(MODES)), 200_000, np.random.default_rng(2))
    on = samples.astype(float)
    first, second = np.triu_indices(MODES, 1)
    triples = [(i, j, k) for i in range(MODES) for j in range(i + 1, MODES) for k in range(j + 1, MODES)]
    halves = np.zeros((5, 5))
    np.add.at(halves, (samples[:, :4].sum(axis=1), samples[:, 4:].sum(axis=1)), 1 / len(samples))
    return Published(
        "small",
        on.mean(axis=0),
        np.bincount(samples.sum(axis=1), minlength=MODES + 1) / len(samples),
        halves,
        len(samples),
        (on[:, first] * on[:, second]).mean(axis=0),
        np.array([on[:, modes].prod(axis=1).mean() for modes in triples]),
    )


def test_an_exact_sampler_is_first_and_a_bad_one_last() -> None:
    names = [place.name for place in verdict().ranking]
    assert names[0] == "exact"
    assert names[-1] == "bad"
    scores = {score.name: score for score in verdict().scores}
    assert scores["exact"].failures == ()
    assert any("two-mode correlations are" in text and "too weak" in text for text in scores["bad"].failures)
    assert any(text.startswith("squashed light explains") for text in scores["squashed"].failures)
    assert any("too high" in text for text in scores[EXPERIMENT].failures)


def test_published_statistics_are_judged_as_the_samples_behind_them() -> None:
    """The same samples whole and as published statistics: the same figures."""
    other = replace(small_machine(), squeezing_r=1.1 * small_machine().squeezing_r)
    samples = drawn(mock_up_law(other, "squashed", np.random.default_rng(2)).patterns(np.arange(MODES)), 200_000, np.random.default_rng(2))
    found = validate(small_machine(), {"whole": samples}, published(), extent=SMALL).scores
    whole, summary = (score.figures for score in found)
    for key, estimate in summary.items():
        assert estimate.value == pytest.approx(whole[key].value, rel=2e-2, abs=2e-3), key
    for key in ("total_mean", "total_deviation", "pair_slope", "triple_slope", "pair_relative_error"):
        assert 0.55 < summary[key].error / whole[key].error < 1.8, key


def test_samples_that_are_sorted_are_told() -> None:
    samples = exact_samples(5_000, np.random.default_rng(3))
    found = validate(small_machine(), {"drawn": samples, "sorted": samples[np.argsort(samples.sum(axis=1))]}, extent=SMALL).scores
    assert not any("as if sorted" in text for text in found[0].failures)
    assert any("as if sorted" in text for text in found[1].failures)


def test_batches_of_any_size_are_judged_alike() -> None:
    """Ten samples a batch too, fewer than there are blocks: else half of the blocks stay empty, and errors are those of the other half."""
    samples = exact_samples(2_000, np.random.default_rng(3))
    counted = tally(make_ideal(small_machine(), np.random.default_rng(1), extent=SMALL).plan, iter(samples.reshape(-1, 10, MODES)))
    np.testing.assert_array_equal(counted.samples, 100)


def test_batches_are_judged_as_the_whole() -> None:
    samples = exact_samples(20_000, np.random.default_rng(3))
    found = validate(small_machine(), {"whole": samples, "batches": iter(np.array_split(samples, 7))}, extent=SMALL).scores
    assert [score.samples for score in found] == [20_000, 20_000]
    whole, batches = (score.figures for score in found)
    for key in ("total_mean", "total_deviation", "pair_slope", "triple_slope", "order_4_slope", "random_8_heavy_outputs"):
        assert batches[key].value == pytest.approx(whole[key].value), key
        assert 0.4 < batches[key].error / whole[key].error < 2.5, key


@pytest.mark.parametrize("detectors", [Detectors("pseudo-number", 3, 0.01), Detectors("number", 1, 0.01)], ids=["pseudo-number", "number"])
def test_detectors_that_count_are_judged_by_moments_of_counts(detectors: Detectors) -> None:
    generator = np.random.default_rng(4)
    machine = replace(
        small_machine(), squeezing_r=0.6 * small_machine().squeezing_r, transfer=small_machine().transfer[:4], detectors=detectors
    )
    good = sample_exact(machine, 40_000, generator)
    bad = generator.permuted(good, axis=0)
    found = validate(machine, {"bad": bad, "good": good}, extent=SMALL, phase_space_samples=100_000)
    assert [place.name for place in found.ranking] == ["good", "bad"]
    figures = {score.name: score.figures for score in found.scores}
    for key in ("count_pair_slope", "count_triple_slope", "total_mean", "total_deviation"):
        assert abs(figures["good"][key].deviations) < 5, key
    for key in ("count_rate_error", "count_pair_relative_error", "count_triple_relative_error", "total_distance"):
        assert figures["good"][key].deviations < 5, key
    assert abs(figures["bad"]["count_triple_slope"].value) < 0.5
    assert figures["bad"]["total_distance"].deviations > 10


def test_more_modes_than_all_pairs_are_taken_of_are_judged_by_a_part() -> None:
    generator = np.random.default_rng(5)
    machine = Machine("large", np.tile([-0.9, 0.9], 20), haar_columns(600, 40, generator))
    samples = (generator.random((1500, 600)) < 0.3).astype(np.uint8)
    found = validate(machine, {"noise": samples}, extent=Extent(2, 1, 1))
    assert found.ideal.totals is None
    assert len(found.ideal.plan.close) == 160
    assert "total_distance" not in found.scores[0].figures
    assert found.scores[0].failures


def test_the_experiment_is_ranked_beside_samples() -> None:
    folder = jiuzhang_data()
    name = "jiuzhang-2.0-0.15w"
    machine = build_machine(name, data=folder)
    rates = read_published(name, folder).rates
    samples = (np.random.default_rng(6).random((5000, 144)) < rates).astype(np.uint8)
    found = validate(machine, {"rates only": samples}, read_published(name, folder), extent=Extent(2, 1, 0), phase_space_samples=20_480)
    assert [place.name for place in found.ranking] == [EXPERIMENT, "rates only"]
    assert found.scores[1].samples > 40_000_000
    assert found.scores[1].figures["total_mean"].value == pytest.approx(5.989, abs=1e-3)


def test_everything_can_be_had_as_json_picture_and_page(tmp_path: Path) -> None:
    read = msgspec.json.decode(msgspec.json.encode(verdict().as_json()))
    assert {score["name"] for score in read["scores"]} == {"bad", "squashed", "exact", EXPERIMENT}
    keys = {criterion.key for criterion in CRITERIA}
    for score in read["scores"]:
        assert set(score["figures"]) <= keys
        assert all(figure["error"] is not None and figure["method"] for figure in score["figures"].values())
    for ending in ("png", "svg", "pdf"):
        draw_verdict(verdict(), tmp_path / f"verdict.{ending}")
    with Image.open(tmp_path / "verdict.png") as picture:
        assert min(picture.size) > 900
    page = html_report(verdict())
    assert page.count("<svg") == 2
    assert "squashed light explains the samples better" in page
    assert "http" not in page.replace("http://www.w3.org", "")
    with pytest.raises(InputError, match="figure"):
        draw_verdict(verdict(), tmp_path / "verdict.gif")


@pytest.mark.parametrize(
    ("samples", "what"),
    [
        (np.zeros((5000, MODES + 1), np.uint8), "shape"),
        (np.zeros(5000, np.uint8), "shape"),
        (np.zeros((5000, MODES)), "uint8"),
        (np.full((5000, MODES), 2, np.uint8), "at most 1"),
        (np.zeros((10, MODES), np.uint8), "samples"),
        (np.zeros((0, MODES), np.uint8), "samples"),
    ],
)
def test_samples_that_no_such_machine_gives_are_refused(samples: CountArray, what: str) -> None:
    with pytest.raises(InputError, match=what):
        validate(small_machine(), {"odd": samples}, extent=SMALL)


def test_a_sampler_that_never_clicks_or_always_does_gets_a_verdict() -> None:
    silent, bright = np.zeros((2000, MODES), np.uint8), np.ones((2000, MODES), np.uint8)
    found = validate(
        small_machine(), {"silent": silent, "bright": bright, "exact": exact_samples(2000, np.random.default_rng(7))}, extent=SMALL
    )
    assert found.ranking[0].name == "exact"
    msgspec.json.encode(found.as_json())
    html_report(found)


def test_nothing_to_judge_and_wrong_statistics_are_refused() -> None:
    with pytest.raises(InputError, match="samples"):
        validate(small_machine(), {})
    with pytest.raises(InputError, match="experiment"):
        validate(small_machine(), {EXPERIMENT: exact_samples(2000, np.random.default_rng(8))})
    with pytest.raises(InputError, match="published"):
        validate(replace(small_machine(), transfer=small_machine().transfer[:5]), {}, published())


def test_machines_of_two_modes_have_no_triples_to_judge() -> None:
    with pytest.raises(InputError, match="modes"):
        validate(replace(small_machine(), transfer=small_machine().transfer[:2]), {"two": np.zeros((2000, 2), np.uint8)})


def test_ranking_counts_wins_and_calls_equals_equal() -> None:
    def near(value: float) -> dict[str, Estimate]:
        return {"rate_error": Estimate(value, 0.01, 0.0), "pair_relative_error": Estimate(2 * value, 0.01, 0.0)}

    places = {place.name: place for place in rank({"far": near(0.5), "near": near(0.1), "as near": near(0.105), "alone": {}})}
    assert (places["near"].place, places["as near"].place, places["far"].place) == (1, 1, 3)
    assert places["near"].won == 0.75
    assert places["near"].first_in == ("rate_error", "pair_relative_error")
    assert np.isnan(places["alone"].won)


def test_words_name_the_way_and_the_size_of_a_departure() -> None:
    told = failures(
        {"total_mean": Estimate(68.22, 0.01, 66.87), "pair_slope": Estimate(0.918, 0.001, 1.0), "rate_error": Estimate(0.1, 0.1, 0.0)}
    )
    assert told == (
        "the mean total is 1.35 too high (68.220 ± 0.010 against 66.87)",
        "two-mode correlations are 8.2 % too weak (slope 0.9180 ± 0.0010)",
    )
    assert shown(Estimate(12345.6, 230.0)) == "12346 ± 230"


def test_ideal_patterns_of_the_small_machine_are_probabilities() -> None:
    assert ideal_patterns().sum() == pytest.approx(1.0)
