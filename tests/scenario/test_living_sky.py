"""Micius over three stations as a living sky: passes at speed, key that is won and handed over, clouds that change the plan."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from tests.scenario.test_contact_operations import SCENARIO
from tests.scenario.test_living import Watcher
from tiandi.clock import parse_utc
from tiandi.errors import InputError, NoRoute
from tiandi.physics.orbit import Station
from tiandi.planning.climates import load_climates
from tiandi.planning.weather import sample_weather
from tiandi.scenario.living import LivingNetwork
from tiandi.scenario.living_weather import ChosenWeather, Clouds
from tiandi.scenario.scenario import load_scenario
from tiandi.scenario.view import EventView

SPEED = 200.0
DOWNLINK, HAND_OVER = "Micius - Nanshan", "Xinglong - Nanshan (by Micius)"


@pytest.fixture(scope="module")
def sky(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watcher]:
    folder = tmp_path_factory.mktemp("sky")
    (folder / "three-stations.toml").write_text(SCENARIO, encoding="utf-8")
    with LivingNetwork(load_scenario(str(folder / "three-stations.toml")), folder / "state", speed=SPEED) as living:
        watcher = Watcher(living)
        watcher.until(lambda: bool(watcher.view.contacts), "a contact plan")
        yield watcher


def _told(sky: Watcher, words: str) -> list[EventView]:
    return [event for event in sky.events if words in event.what]


def test_a_downlink_shows_the_loss_of_the_pass_to_come(sky: Watcher) -> None:
    link = sky.see(sky.living.link, DOWNLINK)
    assert 25.0 < link.loss_db < 45.0
    assert 500.0 < link.length_km < 1200.0
    assert link.qber is None
    assert link.state == "idle"


def test_without_a_pass_nobody_waits_for_key(sky: Watcher) -> None:
    with pytest.raises(NoRoute):
        sky.do(sky.living.send_message("Xinglong", "Nanshan", "too early"))


def test_a_cloud_changes_the_plan_at_once(sky: Watcher) -> None:
    living = sky.living
    sky.do(living.pause(True))
    assert "Nanshan" in {contact.station for contact in sky.view.contacts}
    sky.do(living.cloud("Nanshan", True))
    sky.until(lambda: "Nanshan" not in {contact.station for contact in sky.view.contacts}, "a plan without Nanshan")
    assert next(node for node in sky.view.nodes if node.name == "Nanshan").cloudy
    sky.do(living.cloud("Nanshan", False))
    sky.until(lambda: "Nanshan" in {contact.station for contact in sky.view.contacts}, "a plan with Nanshan again")
    assert _told(sky, "planned: Micius, Nanshan")
    sky.do(living.pause(False))


def test_a_pass_is_won_at_speed(sky: Watcher) -> None:
    living = sky.living
    sky.do(living.set_speed(1.0))
    sky.do(living.jump("2016-12-19T18:00:00Z"))
    sky.do(living.jump("next pass"))
    planned = next(contact for contact in sky.view.contacts if contact.station == "Nanshan")
    assert 0.0 <= (parse_utc(planned.begins) - living.clock.now()).total_seconds() <= 5.0
    sky.do(living.set_speed(SPEED))
    sky.until(lambda: sky.line(DOWNLINK).rate_bps > 0.0, "a beam")
    assert [contact.state for contact in sky.view.contacts if contact.begins == planned.begins] == ["now"]
    sky.until(lambda: bool(_told(sky, "won: Micius, Nanshan")), "key of the pass")
    (begins,), (won,) = _told(sky, "begins: Micius, Nanshan"), _told(sky, "won: Micius, Nanshan")
    assert (begins.time, won.time, won.link) == (planned.begins, planned.ends, DOWNLINK)
    sky.until(lambda: sky.line(DOWNLINK).stock_bit > 100_000, "key at the station")
    assert sky.line(DOWNLINK).stock_bit == min(living.call(living.network.stocks_async("Micius", "Nanshan")))
    link = sky.see(living.link, DOWNLINK)
    assert 0.005 < link.qber < 0.03
    funnel = link.funnel
    assert funnel.pulses > funnel.detected > funnel.sifted_bit >= funnel.verified_bit > funnel.secret_bit > 100_000
    assert link.blocks[-1].secret_bit == funnel.secret_bit
    assert sky.view.totals.secret_bit == funnel.secret_bit


def test_a_satellite_hands_over_key_that_two_cities_fetch_at_their_doors(sky: Watcher) -> None:
    living = sky.living
    with living.network.key_client("sae-east") as east:
        assert east.status("sae-west").stored_key_count == 0
    sky.do(living.jump("2016-12-21T16:07:00Z"))
    sky.until(lambda: bool(_told(sky, "handed over: Micius, Xinglong, Nanshan")), "a hand-over")
    sky.do(living.set_speed(1.0))  # Customers are to leave some of it.
    (handed,) = _told(sky, "handed over")
    assert set(handed.pair) == {"Xinglong", "Nanshan"}
    assert handed.time == _told(sky, "won: Micius, Xinglong")[0].time
    # Exclusive or: the satellite pays as many bits of its key with each, and both stations then hold the same.
    spent = {
        line.stock: line.bit
        for line in sky.do(living.audit(node="Micius", kind="link", text="spent")).lines
        if line.bit > 100_000 and line.after == "spent"
    }
    assert {stock.split()[1] for stock in spent} == {"kme-xinglong", "kme-nanshan"}
    assert len(set(spent.values())) == 1
    with living.network.key_client("sae-east") as east, living.network.key_client("sae-west") as west:
        keys = east.get_keys("sae-west", number=3)
        assert west.get_keys_with_ids("sae-east", [key.key_ID for key in keys]) == keys
    sent = sky.do(living.send_message("Xinglong", "Nanshan", "by way of the sky"))
    assert sent.plaintext == "by way of the sky"
    assert sky.see(living.pair, "Xinglong", "Nanshan").route == ["Xinglong", "Nanshan"]
    sky.until(lambda: any(event.kind == "relay" and "Micius" in event.what for event in sky.events), "a relay by the satellite")
    assert sky.see(living.link, HAND_OVER).kind == "hand-over"


def test_no_pass_after_the_scenario_s_sky(sky: Watcher) -> None:
    sky.do(sky.living.jump("2016-12-23T00:00:01Z"))
    sky.until(lambda: bool(_told(sky, "the sky of this scenario ended")), "the end of the sky")
    with pytest.raises(InputError, match="no pass is planned"):
        sky.do(sky.living.jump("next pass"))


def test_clouds_hide_what_they_are_sent_to_and_no_longer() -> None:
    start, end = parse_utc("2026-01-01"), parse_utc("2026-01-08")
    climates = list(load_climates().values())[:2]
    places = [Station("a", 40.0, 116.0, 0.0), Station("b", 31.0, 121.0, 0.0)]
    weather = sample_weather(climates, places, start=start, end=end, seed=1)
    clouds = Clouds()
    chosen = ChosenWeather.over(weather, clouds)
    clouds.send(0, -900_000.0)
    clouds.call_back(0, -800_000.0)
    clouds.send(0, 1000.0)
    assert len(clouds.spells) == 1
    clouds.call_back(0, 200_000.0)
    clouds.send(1, 240_000.0)
    clouds.call_back(1, 240_000.0)
    clouds.send(1, 250_000.0)
    times_s = np.linspace(0.0, 6.0 * 86400.0, 4001)
    for station, (first_s, last_s) in enumerate([(1000.0, 200_000.0), (250_000.0, np.inf)]):
        numbers = np.full(times_s.size, station)
        hidden = (times_s >= first_s) & (times_s < last_s)
        assert (chosen.clear(numbers, times_s) == weather.clear(numbers, times_s) & ~hidden).all()
    # A share of an interval, against counting its seconds.
    for station, begin_s, finish_s in ((0, 199_000.0, 203_000.0), (0, 210_000.0, 220_000.0), (1, 249_900.0, 250_100.0), (1, 500.0, 900.0)):
        seconds_s = np.arange(begin_s, finish_s) + 0.5
        counted = chosen.clear(np.full(seconds_s.size, station), seconds_s).mean()
        share = chosen.clear_fraction(np.array(station), np.array(begin_s), np.array(finish_s))
        assert float(share) == pytest.approx(counted, abs=0.005)
    at_s, later_s = np.array([310_000.0]), np.array([400_000.0])
    assert chosen.forecast(np.array([1]), at_s, later_s) == 0.0
    assert chosen.forecast(np.array([0]), at_s, later_s) == weather.forecast(np.array([0]), at_s, later_s) > 0.0
