"""A running network goes by its controller: what KMEs hold, alarms and satellites decide which way keys go."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from tests.conftest import RING_SCENARIO
from tests.control.networks import filled
from tiandi.clock import SimulatedClock
from tiandi.control.link_states import SATELLITE_WAIT_S
from tiandi.control.routing import RoutePolicy, Router
from tiandi.errors import NoRoute
from tiandi.scenario.network import RunningNetwork, kme_identity, relay_bit, relay_topology
from tiandi.scenario.scenario import load_scenario

NORTH_EAST = "North - East"


@pytest.fixture(scope="module")
def ring(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningNetwork]:
    """A ring of four with a block of key on every link; the tests after another spend of it."""
    scenario = load_scenario(str(RING_SCENARIO))
    with RunningNetwork(scenario, tmp_path_factory.mktemp("ring"), SimulatedClock(datetime(2026, 1, 1, tzinfo=UTC))) as network:
        for planned in scenario.fibre_links():
            assert network.receive(planned.link.distil(planned.duration_s, seed=1)) is None
        yield network


def test_the_controller_knows_what_both_ends_hold_and_the_error_rate(ring: RunningNetwork) -> None:
    ring.look()
    states = ring.controller.states
    for name, link in ring.controller.topology.links.items():
        number = states.number[name]
        here, there = (kme.removeprefix("kme-").capitalize() for kme in link.ends)
        assert states.stock_bit[number] == min(ring.stock_bit(here, there), ring.stock_bit(there, here)) > relay_bit(8)
        assert 0.0 < states.qber[number] < 0.05
        assert states.in_service[number]


def test_keys_go_the_short_way_and_another_where_a_policy_forbids_it(ring: RunningNetwork) -> None:
    assert ring.relay_keys("sae-north", "sae-east", 2)[0] == ["North", "East"]
    way, key_ids = ring.relay_keys("sae-north", "sae-east", 3, policy=RoutePolicy(avoid=frozenset({NORTH_EAST})))
    assert way == ["North", "West", "South", "East"]
    assert len(key_ids) == 3
    with pytest.raises(NoRoute, match="from North to East: North - East is to be avoided"):
        ring.relay_keys("sae-north", "sae-east", 1, policy=RoutePolicy(least_trust="guarded", avoid=frozenset({NORTH_EAST})))


def test_an_alarm_takes_a_link_out_of_service_until_it_is_cleared(ring: RunningNetwork) -> None:
    scenario = load_scenario(str(RING_SCENARIO))
    planned = next(item for item in scenario.fibre_links() if item.link.name == NORTH_EAST)
    assert ring.receive(planned.link.distil(planned.duration_s, seed=2, eavesdropper="intercept-resend")) is not None
    states = ring.controller.states
    assert "QBER" in (states.obstacle(NORTH_EAST, 0.0) or "")
    assert ring.relay_keys("sae-north", "sae-east", 1)[0] == ["North", "West", "South", "East"]
    ring.faults.clear(NORTH_EAST)
    assert ring.relay_keys("sae-north", "sae-east", 1)[0] == ["North", "East"]


def test_more_than_any_link_holds_is_refused_with_the_obstacles(ring: RunningNetwork) -> None:
    with pytest.raises(NoRoute, match=r"North - East holds \d+ bit of key, \d+ bit are wanted"):
        ring.relay_keys("sae-north", "sae-east", 100_000)


def test_keys_are_relayed_over_fibres_and_hand_overs_not_over_downlinks() -> None:
    file = load_scenario("shanghai-vienna").file.topology
    topology = relay_topology(file, str)
    assert set(topology.links) == {*(entry.name for entry in file.fibres), "Xinglong - Graz (by Micius)"}
    (route,) = Router(filled(topology)).find_routes("Shanghai Pudong", "Vienna", wanted_bit=1)
    assert route.links[-4] == "Xinglong - Graz (by Micius)"
    assert route.latency_ms == pytest.approx(1e3 * SATELLITE_WAIT_S, rel=1e-3)
    assert set(relay_topology(file).nodes) == {kme_identity(node.name) for node in file.nodes}
