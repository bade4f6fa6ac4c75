"""Clicks of photonic jobs beside the ideal ones: against figures worked out here from the same samples, exactly and by brute force."""

from __future__ import annotations

import json
from itertools import combinations
from typing import Any

import numpy as np
import pytest

from tests.computing.photonics.public_data import jiuzhang_data
from tiandi.computing.cloud.click_figures import MOST_PAIRS, chosen_pairs
from tiandi.computing.cloud.clicks import ClickFigures
from tiandi.computing.cloud.jobs import Outcome
from tiandi.computing.cloud.photonic import PhotonicMachine
from tiandi.computing.cloud.worker import Reply, Request, answer
from tiandi.computing.photonics.exact.clicks import click_moments, pattern_probabilities
from tiandi.computing.photonics.foreign import machine_from_matrices
from tiandi.computing.photonics.machines import build_machine, load_machines
from tiandi.computing.photonics.public_data import read_published
from tiandi.errors import InputError
from tiandi.random import twin_generator

WEAK, STRONG, COUNTING = "jiuzhang-2.0-0.15w", "jiuzhang-2.0-1.65w", "jiuzhang-3.0"
MACHINES: Any = {name: PhotonicMachine(name) for name in (WEAK, COUNTING)}
SQUEEZING = [0.5, -0.4, 0.45]


def own_light() -> dict[str, Any]:
    """Five modes, all told but one, in another order."""
    generator = twin_generator(1, "clicks")
    matrix = np.linalg.qr(generator.standard_normal((5, 5)) + 1j * generator.standard_normal((5, 5)))[0][:, :3]
    rows = [[[entry.real, entry.imag] for entry in row] for row in matrix]
    return {"squeezing_r": SQUEEZING, "interferometer": rows, "modes": [4, 0, 1, 3]}


def asked(machine: Any, outcome: Outcome | None = None, shots: int = 0, **job: Any) -> Reply:
    reply = answer({"it": machine}, Request("it", None, False, [json.dumps(job)], shots, 3, outcome))
    assert (reply.refused, reply.failed) == (None, "")
    return reply


def told(machine: Any, shots: int = 4000, **job: Any) -> tuple[Outcome, ClickFigures]:
    outcome = asked(machine, shots=shots, **job).outcomes[0]
    clicks = asked(machine, outcome, **job).clicks
    assert clicks is not None
    return outcome, clicks


def test_of_the_users_light_all_figures_are_those_worked_out_here() -> None:
    job = own_light()
    outcome, clicks = told(MACHINES[WEAK], sampler="exact", **job)
    modes = job["modes"]
    assert clicks.modes == clicks.looked_at == modes
    matrix = np.array(job["interferometer"]) @ [1, 1j] * np.sqrt(load_machines()[WEAK].need("transmission"))
    patterns = pattern_probabilities(machine_from_matrices(matrix, SQUEEZING), modes)
    on = (np.arange(16)[:, None] >> np.arange(4)) & 1
    exact = np.bincount(on.sum(axis=1), patterns)
    assert clicks.totals.ideal == pytest.approx(exact, abs=1e-9)
    assert clicks.totals.ideal_errors == [0] * 5
    assert clicks.totals.ideal_mean == pytest.approx(patterns @ on.sum(axis=1), abs=1e-9)
    bits = outcome.bits()
    assert clicks.totals.samples == np.bincount(bits.sum(axis=1), minlength=5).tolist()
    pairs = clicks.pairs
    assert pairs is not None
    assert pairs.modes == list(combinations(modes, 2))
    assert pairs.samples == pytest.approx(np.cov(bits.T.astype(float))[np.triu_indices(4, 1)], abs=1e-6)
    covariance = (on * patterns[:, None]).T @ on - np.outer(patterns @ on, patterns @ on)
    ideal = covariance[np.triu_indices(4, 1)]
    assert pairs.ideal == pytest.approx(ideal, abs=1e-9)
    # These are exact samples: all within their sampling noise of it. False alarm one in ten thousand.
    assert np.abs(np.array(pairs.samples) - ideal).max() < 4.5 * pairs.standard_error
    assert pairs.agreement is not None
    assert pairs.agreement.slope.value == pytest.approx((pairs.samples @ ideal) / (ideal @ ideal), rel=1e-6)
    assert (pairs.all, pairs.experiment, pairs.experiment_agreement, clicks.totals.experiment) == (6, None, None, None)


def test_of_many_modes_the_strongest_pairs_and_some_of_the_others_are_told() -> None:
    outcome, clicks = told(MACHINES[WEAK], 2000, sampler="squashed")
    pairs, totals = clicks.pairs, clicks.totals
    assert pairs is not None
    machine = build_machine(WEAK)
    rates = click_moments(machine, 1)
    first, second = np.triu_indices(144, 1)
    exact = click_moments(machine, 2) - rates[first] * rates[second]
    assert (len(pairs.modes), pairs.all) == (MOST_PAIRS, len(exact))
    places = {pair: place for place, pair in enumerate(zip(first.tolist(), second.tolist(), strict=True))}
    chosen = [places[pair] for pair in pairs.modes]
    assert pairs.ideal == pytest.approx(exact[chosen], abs=1e-12)
    assert set(np.argsort(-np.abs(exact))[: MOST_PAIRS // 2].tolist()) <= set(chosen)
    assert pairs.samples == pytest.approx(np.cov(outcome.bits().T.astype(float))[first[chosen], second[chosen]], abs=1e-6)
    assert totals.ideal_mean == pytest.approx(rates.sum())
    assert totals.ideal is not None
    assert totals.ideal_errors is not None
    assert sum(totals.ideal) == pytest.approx(1, abs=1e-5)
    # Their own error, about a hundredth of a click, is what phase-space sampling leaves.
    assert np.arange(len(totals.ideal)) @ totals.ideal == pytest.approx(rates.sum(), abs=0.05)
    assert "positive-P" in totals.source
    assert told(MACHINES[WEAK], 2000, sampler="squashed")[1] == clicks


def test_of_equal_cumulants_and_of_few_the_choice_is_determined() -> None:
    assert chosen_pairs(np.ones(5)).tolist() == [0, 1, 2, 3, 4]
    places = chosen_pairs(np.ones(10_000))
    assert len(set(places.tolist())) == MOST_PAIRS
    assert (np.diff(places) > 0).all()
    assert set(range(MOST_PAIRS // 2)) <= set(places.tolist())


def test_detectors_that_count_are_told_by_their_bins_and_sums_alone() -> None:
    outcome, clicks = told(MACHINES[COUNTING], 2000, sampler="squashed", modes=[3, 9])
    values = outcome.values().astype(int)
    assert values.max() > 1
    assert clicks.totals.samples[: values.sum(axis=1).max() + 1] == np.bincount(values.sum(axis=1)).tolist()
    # Exact from one bin's rate, and by phase-space sampling of all of them.
    assert clicks.totals.ideal is not None
    assert clicks.totals.ideal_mean == pytest.approx(np.arange(len(clicks.totals.ideal)) @ clicks.totals.ideal, rel=0.02)
    assert clicks.pairs is not None
    assert clicks.pairs.samples == pytest.approx([np.cov((values > 0).T.astype(float))[0, 1]], abs=1e-6)
    sums, alone = told(MACHINES[COUNTING], 2000, sampler="squashed", modes=[3, 9], totals=True)
    assert (alone.pairs, alone.totals.ideal) == (None, pytest.approx(clicks.totals.ideal, abs=1e-12))
    assert alone.totals.samples == np.bincount(sums.values()[:, 0].astype(int), minlength=len(alone.totals.samples)).tolist()


@pytest.mark.parametrize(("shots", "modes"), [(1, [0, 1]), (5, [7]), (2, [0, 1]), (50, [0, 1, 2])])
def test_few_shots_and_single_modes_tell_what_they_can(shots: int, modes: list[int]) -> None:
    _, clicks = told(MACHINES[WEAK], shots, sampler="thermal", modes=modes)
    assert sum(clicks.totals.samples) == shots
    assert (clicks.pairs is None) == (shots == 1 or len(modes) == 1)
    assert clicks.pairs is None or clicks.pairs.agreement is None


def test_dark_light_agrees_with_nothing() -> None:
    _, clicks = told(MACHINES[WEAK], 1000, sampler="squashed", squeezing_r=[0.0] * 50, modes=list(range(20)))
    assert clicks.pairs is not None
    assert (clicks.totals.samples, clicks.pairs.agreement) == ([1000], None)


def test_of_thousands_of_modes_some_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tiandi.computing.cloud.click_figures.MOST_CLOSE", 10)
    outcome, clicks = told(MACHINES[WEAK], 1000, sampler="squashed", modes=list(range(100, 0, -1)))
    assert clicks.looked_at == [100, 89, 78, 67, 56, 45, 34, 23, 12, 1]
    columns = [100 - mode for mode in clicks.looked_at]
    assert clicks.totals.samples[:3] == np.bincount(outcome.bits()[:, columns].sum(axis=1))[:3].tolist()
    _, sums = told(MACHINES[WEAK], 1000, sampler="squashed", totals=True)
    assert (sums.totals.ideal, sums.totals.ideal_mean, sum(sums.totals.samples)) == (None, None, 1000)
    assert "10 modes" in sums.totals.source


def test_where_its_data_were_given_the_experiment_stands_beside() -> None:
    data = jiuzhang_data()
    machine: Any = PhotonicMachine(STRONG, data=data)
    _, clicks = told(machine, 2000, sampler="squashed")
    published = read_published(STRONG, data)
    totals, pairs = clicks.totals, clicks.pairs
    assert totals.experiment == pytest.approx(published.total[: len(totals.samples)])
    assert pairs is not None
    assert pairs.experiment_agreement is not None
    # The figures of docs/gbs.md.
    assert pairs.experiment_agreement.slope.value == pytest.approx(0.9176, abs=1e-4)
    assert pairs.experiment_agreement.relative_error.value == pytest.approx(0.136, abs=1e-3)
    assert published.pair_moments is not None
    assert pairs.experiment is not None
    where = {pair: place for place, pair in enumerate(combinations(range(144), 2))}
    (one, two), found = pairs.modes[700], pairs.experiment[700]
    assert found == pytest.approx(published.pair_moments[where[one, two]] - published.rates[one] * published.rates[two])
    _, part = told(machine, 2000, sampler="squashed", modes=[two, one])
    assert part.pairs is not None
    assert (part.totals.experiment, part.pairs.experiment) == (None, pytest.approx([found]))
    _, other = told(machine, 2000, sampler="squashed", squeezing_r=[0.1] * 50)
    assert other.pairs is not None
    assert (other.totals.experiment, other.pairs.experiment) == (None, None)


def test_circuits_have_no_clicks_to_tell_of() -> None:
    with pytest.raises(InputError, match="prepared"):
        MACHINES[WEAK].clicks(None, Outcome.of(np.zeros((1, 1), np.uint8), [0], engine="e", why="w"))
