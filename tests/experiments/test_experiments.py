"""The table of experiments: that it is whole, that its verdicts mean something, and that every parameter it states is used."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from importlib.resources import files

import msgspec
import pytest

from tiandi.errors import InputError
from tiandi.experiments.catalogue import EXPERIMENTS, choose_experiments
from tiandi.experiments.experiment import DataFile, Experiment, Figures, Parameters
from tiandi.experiments.report import difference, figure_text, html_report

NAMES = [experiment.name for experiment in EXPERIMENTS]


class Watched(Mapping[str, float]):
    """Parameters that remember which of them were read."""

    def __init__(self, values: Mapping[str, float], read: set[str]) -> None:
        self.values_, self.read = dict(values), read

    def __getitem__(self, name: str) -> float:
        self.read.add(name)
        return self.values_[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.values_)

    def __len__(self) -> int:
        return len(self.values_)


@pytest.mark.parametrize("experiment", EXPERIMENTS, ids=NAMES)
def test_every_stated_parameter_is_used_and_every_figure_computed(experiment: Experiment) -> None:
    read: set[str] = set()
    watched = Watched(experiment.parameters, read)
    figures = experiment.compute(watched, experiment.data)
    experiment.draw(watched, experiment.data)
    assert set(experiment.data.parameters) <= read
    reproducible = {key for key, entry in experiment.data.published.items() if not entry.not_reproducible}
    assert reproducible <= set(figures) <= set(experiment.data.published)


@pytest.mark.parametrize("experiment", EXPERIMENTS, ids=NAMES)
def test_every_figure_says_how_close_ours_must_come_and_why(experiment: Experiment) -> None:
    for entry in experiment.data.published.values():
        assert entry.why or entry.not_reproducible
        if not entry.not_reproducible:
            assert entry.low is not None
            assert entry.high is not None
            assert entry.low <= entry.value <= entry.high
    for parameter in experiment.data.parameters.values():
        assert bool(parameter.ends) == bool(parameter.why)
        if parameter.ends:
            assert parameter.ends[0] <= parameter.value <= parameter.ends[1]


@pytest.mark.parametrize("experiment", EXPERIMENTS, ids=NAMES)
def test_no_figure_is_further_off_than_it_may(experiment: Experiment) -> None:
    assert [row.key for row in experiment.rows() if row.verdict == "fail"] == []


def test_every_data_file_has_its_experiment() -> None:
    found = {path.name.removesuffix(".toml") for path in files("tiandi.experiments").joinpath("data").iterdir()}
    assert found == set(NAMES)
    assert len(NAMES) == len(found)


def test_experiments_are_chosen_by_name() -> None:
    assert [experiment.name for experiment in choose_experiments(["gys-2004", "micius-2017", "gys-2004"])] == ["gys-2004", "micius-2017"]
    assert choose_experiments([]) == list(EXPERIMENTS)
    with pytest.raises(InputError, match="NAME = 'moon': must be one of micius-2017"):
        choose_experiments(["moon"])


DATA = msgspec.toml.decode(
    b"""
title = "A straight line"
source = "nowhere"
model = "y = slope times two"
[parameters]
slope = { value = 1.0, label = "assumed", low = 0.5, high = 1.5, why = "free" }
offset = { value = 0.0, label = "assumed", low = -1.0, high = 1.0, why = "free" }
[published]
inside = { what = "y", unit = "m", value = 2.1, label = "published", low = 1.9, high = 2.2, why = "near" }
outside = { what = "y", unit = "dB", value = 3.0, label = "recalled", low = 2.5, high = 3.5, why = "far" }
unknown = { what = "z", unit = "", value = 0.0, label = "published", not_reproducible = "nobody said how" }
""",
    type=DataFile,
)


def straight_line(parameters: Parameters, _data: DataFile) -> Figures:
    y = 2 * parameters["slope"] + parameters["offset"]
    return {"inside": y, "outside": y}


def made(data: DataFile) -> Experiment:
    experiment = Experiment("line", straight_line)
    experiment.__dict__["data"] = data
    return experiment


def test_verdicts_and_the_spread_over_all_corners() -> None:
    inside, outside, unknown = made(DATA).rows()
    assert [row.verdict for row in (inside, outside, unknown)] == ["pass", "fail", "not reproducible"]
    assert inside.spread == (0.0, 4.0)
    assert (unknown.ours, unknown.why) == (None, "nobody said how")
    assert [difference(row) for row in (inside, outside, unknown)] == ["-4.8 %", "-1.00 dB", "–"]


def test_a_figure_without_limits_is_refused() -> None:
    published = {"inside": msgspec.structs.replace(DATA.published["inside"], low=None)}
    with pytest.raises(InputError, match=r"line\.inside"):
        made(msgspec.structs.replace(DATA, published=published)).rows()


def test_the_report_stands_alone_and_repeats() -> None:
    chosen = choose_experiments(["gys-2004"])
    rows = chosen[0].rows()
    text = html_report(chosen, rows)
    assert text == html_report(chosen, rows)
    assert text.count("<svg") == len(chosen[0].plots()) == 1
    assert "2 pass (figures 2 recalled), 0 check, 0 fail, 0 not reproducible" in text
    assert "142.05" in text
    assert 'src="' not in text
    assert "@import" not in text


def test_a_report_escapes_what_it_shows() -> None:
    experiment = made(msgspec.structs.replace(DATA, title="<script>alert(1)</script>"))
    rows = [replace(row, what="a < b") for row in experiment.rows()]
    text = html_report([experiment], rows)
    assert "<script>" not in text
    assert "a &lt; b" in text


@pytest.mark.parametrize(
    ("value", "text"), [(None, "–"), (0.0, "0"), (1671072.0, "1,671,072"), (142.05, "142.05"), (2.37, "2.37"), (9.53e-12, "9.53e-12")]
)
def test_figures_as_a_person_reads_them(value: float | None, text: str) -> None:
    assert figure_text(value) == text
