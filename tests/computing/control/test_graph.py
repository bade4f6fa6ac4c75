"""The calibration graph: order, what is due, what goes stale."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.computing.control.bench import Node, cold, electronics
from tiandi.computing.control.graph import FAILED, NEVER, STALE, Condition, Graph, touching
from tiandi.errors import InputError

CHAIN = Graph([Node("c", ("b",)), Node("a"), Node("b", ("a",)), Node("pair", ("b",), "coupler"), Node("late", ("pair",))])


def good(size: int) -> np.ndarray:
    return np.full(size, "", object)


def test_each_comes_after_what_it_needs() -> None:
    assert CHAIN.order == ("a", "b", "c", "pair", "late")
    assert CHAIN.needs("late") == ("a", "b", "pair")
    assert CHAIN.followers("b") == ("c", "pair", "late")
    assert CHAIN.upto(["pair"]) == ("a", "b", "pair")


@given(st.data())
def test_any_graph_without_circles_is_ordered(data: st.DataObject) -> None:
    names = [f"n{number}" for number in range(data.draw(st.integers(1, 12)))]
    nodes = [
        Node(name, tuple(data.draw(st.lists(st.sampled_from(names[:place]), unique=True)) if place else ()))
        for place, name in enumerate(names)
    ]
    graph = Graph(data.draw(st.permutations(nodes)))
    place = {name: number for number, name in enumerate(graph.order)}
    assert all(place[earlier] < place[node.name] for node in nodes for earlier in node.after)


@pytest.mark.parametrize(
    ("nodes", "words"),
    [
        ([Node("a"), Node("a")], "twice"),
        ([Node("a", ("b",))], "must be one of a"),
        ([Node("a", ("c",)), Node("b", ("a",)), Node("c", ("b",))], "circle"),
        ([Node("a", ("a",))], "circle"),
    ],
)
def test_graphs_that_cannot_stand_are_refused(nodes: list[Node], words: str) -> None:
    with pytest.raises(InputError, match=words):
        Graph(nodes)


def test_users_add_and_replace_experiments() -> None:
    more = CHAIN.with_experiment(Node("mine", ("c",)), Node("b", ("a",), valid_s=5.0))
    assert more["b"].valid_s == 5.0
    assert "mine" in more
    assert "mine" not in CHAIN
    assert more.followers("c") == ("mine",)
    with pytest.raises(InputError, match="must be one of"):
        more["yours"]
    with pytest.raises(InputError, match="circle"):
        CHAIN.with_experiment(Node("a", ("c",)))


def test_only_what_has_its_needs_is_due() -> None:
    chip = cold(electronics())
    condition, every = Condition(), np.arange(12)
    assert condition.due(CHAIN, chip, "a", 0.0).tolist() == every.tolist()
    assert not len(condition.due(CHAIN, chip, "b", 0.0))
    verdicts = good(12)
    verdicts[3] = "no signal"
    condition.mark(CHAIN["a"], chip, every, verdicts, 1.0)
    assert not len(condition.due(CHAIN, chip, "a", 2.0))
    assert condition.due(CHAIN, chip, "b", 2.0).tolist() == [one for one in range(12) if one != 3]
    chip.flag("qubit", 5, "dead", "nothing answers")
    condition.mark(CHAIN["b"], chip, np.array([0, 1, 2, 4]), good(4), 1.0)
    pairs = chip.electronics.couplers[condition.due(CHAIN, chip, "pair", 2.0)].tolist()
    assert sorted(pairs) == [[0, 1], [0, 4], [1, 2]]
    assert not len(condition.due(CHAIN, chip, "late", 2.0))


def test_age_makes_stale() -> None:
    chip = cold(electronics())
    graph, condition = Graph([Node("a", valid_s=10.0)]), Condition()
    condition.mark(graph["a"], chip, np.arange(12), good(12), 100.0)
    assert not len(condition.due(graph, chip, "a", 109.0))
    assert len(condition.due(graph, chip, "a", 111.0)) == 12
    assert condition.counts(graph, chip, 111.0)["a"] == {"never": 0, "good": 0, "stale": 12, "failed": 0}


def test_what_follows_from_a_change_is_stale_and_failures_may_try_again() -> None:
    chip = cold(electronics())
    condition = Condition()
    for name in CHAIN.order:
        size = chip.elements(CHAIN[name].element)
        condition.mark(CHAIN[name], chip, np.arange(size), good(size), 1.0)
    condition.mark(CHAIN["c"], chip, np.array([0]), np.array(["no line"], object), 2.0)
    assert condition.progress["c"].state[0] == FAILED
    condition.follow(CHAIN, chip, "b", np.array([0]), "b changed", spared=("late",))
    assert condition.progress["c"].state.tolist() == [STALE, *[1] * 11]
    assert chip.electronics.couplers[condition.progress["pair"].state == STALE].tolist() == [[0, 1], [0, 4]]
    assert (condition.progress["late"].state == 1).all()
    assert condition.progress["c"].reason[0] == "b changed"
    assert (condition.of(Node("new"), chip).state == NEVER).all()


def test_elements_that_touch() -> None:
    chip = cold(electronics())
    couplers = touching(chip, "qubit", np.array([0]), "coupler")
    assert chip.electronics.couplers[couplers].tolist() == [[0, 1], [0, 4]]
    assert touching(chip, "coupler", couplers, "qubit").tolist() == [0, 1, 4]


def test_qubits_do_not_wait_for_couplers_that_are_all_broken() -> None:
    """What needs a coupler's bias is measured all the same where no coupler is left."""
    chip, condition = cold(electronics(1, 2)), Condition()
    graph = Graph([Node("bias", element="coupler"), Node("ramsey", ("bias",))])
    assert condition.able(graph, chip, "ramsey").tolist() == []
    chip.flag("coupler", 0, "coupler broken", "does nothing")
    assert condition.able(graph, chip, "ramsey").tolist() == [0, 1]
