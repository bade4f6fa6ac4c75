"""The graph that comes with the package, and what users add to it."""

from __future__ import annotations

import pytest

from tests.computing.control.bench import Node
from tiandi.computing.control.standard import experiments_of, standard_graph
from tiandi.errors import InputError


def test_couplers_are_biased_before_frequencies_are_exact() -> None:
    graph = standard_graph()
    place = {name: number for number, name in enumerate(graph.order)}
    assert place["coupler-bias"] < place["spectroscopy-coupled"] < place["ramsey-coupled"] < place["ramsey"]
    assert place["ramsey"] < place["fine-amplitude"] < place["cz-chevron"]
    assert "coupler-bias" in graph.needs("t1")


def test_an_experiment_of_ones_own_is_added_or_takes_a_place() -> None:
    graph = standard_graph(Node("mine", after=("rabi",)), Node("t1", after=("rabi",)))
    assert graph["mine"].title == "Test of mine"
    assert graph["t1"].title == "Test of t1"


def some() -> list[Node]:
    return [Node("mine")]


def wrong() -> list[str]:
    return ["nothing"]


def test_a_function_gives_experiments() -> None:
    assert [one.name for one in experiments_of(f"{__name__}:some")] == ["mine"]
    for name in (f"{__name__}:wrong", f"{__name__}:nobody", "nowhere:none", "nonsense"):
        with pytest.raises(InputError):
            experiments_of(name)
