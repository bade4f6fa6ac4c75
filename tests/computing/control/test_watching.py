"""The drift watch: few points where all is well, new measurements only of what drifted and what follows from it."""

from __future__ import annotations

import numpy as np
import pytest

from tests.computing.control.bench import Bench, Node, check, electronics, rabi
from tiandi.computing.control.bringup import Session, bring_up, open_session
from tiandi.computing.control.graph import Graph
from tiandi.computing.control.watching import Round, watch
from tiandi.errors import InputError

GRAPH = Graph(
    [Node("rabi", does=rabi), Node("drag", ("rabi",)), Node("fine", ("rabi",)), Node("cz", ("drag",), "coupler", valid_s=5_000.0)]
)
CHECKS = [Node("check-rabi", watches="rabi", does=check), Node("check-fine", watches="fine")]


def brought_up() -> tuple[Bench, Session]:
    bench = Bench.of(electronics())
    session = open_session(bench, GRAPH)
    bring_up(session)
    bench.programs.clear()
    return bench, session


def test_nothing_is_measured_while_all_is_well() -> None:
    bench, session = brought_up()
    rounds = watch(session, CHECKS, period_s=1_000.0, rounds=2)
    assert [one.checked for one in rounds] == [{"rabi": 12, "fine": 12}] * 2
    assert all(not one.walk.measured and not any(one.failed.values()) for one in rounds)
    assert {program.points for program in bench.programs} == {2}


def test_only_what_drifted_and_what_follows_is_measured() -> None:
    bench, session = brought_up()
    bench.drift[[3, 8]] = 0.3 * bench.gain[[3, 8]] / 1_000.0
    told: list[Round] = []
    (one,) = watch(session, CHECKS, period_s=1_000.0, rounds=1, told=told.append)
    assert told == [one]
    assert set(one.failed["rabi"]) == {3, 8}
    assert one.failed["rabi"][3] == "a turn is none"
    # Drag follows and has no check: it is measured on the two; the couplers that touch them too. What has a check is checked.
    assert one.walk.measured["rabi"] == 2
    assert one.walk.measured["drag"] == 2
    assert one.walk.measured["cz"] == np.isin(session.knowledge.electronics.couplers, [3, 8]).any(axis=1).sum()
    assert "fine" not in one.walk.measured
    assert session.knowledge["pi_amplitude"][3] == pytest.approx(1.0 / (1.3 * bench.gain[3]), rel=0.03)


def test_what_a_new_value_touches_after_the_checks_is_measured() -> None:
    """Rabi grows too old and, measured again, finds another value when all checks are over: nobody would check what follows."""
    bench = Bench.of(electronics())
    session = open_session(bench, GRAPH.with_experiment(Node("rabi", does=rabi, valid_s=500.0)))
    bring_up(session)
    bench.gain[4] *= 1.3
    (one,) = watch(session, CHECKS[1:], period_s=1_000.0, rounds=1)
    assert one.checked == {"fine": 12}
    assert one.walk.measured["rabi"] == 12
    assert one.walk.measured["fine"] == one.walk.measured["drag"] == 1


def test_what_is_too_old_is_measured_anew() -> None:
    _, session = brought_up()
    (one,) = watch(session, CHECKS, period_s=6_000.0, rounds=1)
    assert one.walk.measured == {"cz": 17}


def test_what_holds_its_check_is_as_good_as_new() -> None:
    bench = Bench.of(electronics())
    session = open_session(bench, GRAPH.with_experiment(Node("rabi", valid_s=1_500.0, does=rabi)))
    bring_up(session)
    for one in watch(session, CHECKS, period_s=2_000.0, rounds=2):
        assert one.checked["rabi"] == 12
        assert not one.walk.measured


@pytest.mark.parametrize(("options", "words"), [({"period_s": -1.0, "rounds": 1}, "period_s"), ({"period_s": 1.0, "rounds": 0}, "rounds")])
def test_watches_out_of_bounds_are_refused(options: dict[str, float], words: str) -> None:
    with pytest.raises(InputError, match=words):
        watch(brought_up()[1], CHECKS, **options)  # type: ignore[arg-type]


def test_a_check_of_nothing_is_refused() -> None:
    with pytest.raises(InputError, match="watches"):
        watch(brought_up()[1], [Node("x", watches="nothing")], period_s=1.0, rounds=1)
