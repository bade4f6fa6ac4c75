"""The contact plan of a running network carried out on its clock: passes make key, satellites hand it over, clouds change the plan.

A contact counts as lost when the sky over its station is clear for less than half of it; else light is sent in its longest clear spell.
Either is known when the contact ends. The plan goes by the forecast, which is renewed every six hours, and is made anew with all news.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Literal

import numpy as np

from tiandi.clock import Clock, SimulatedClock, format_utc, julian_dates
from tiandi.constants import SECONDS_PER_DAY
from tiandi.control.contact_clock import ContactClock, ContactEvent
from tiandi.control.contact_model import Floats, PairDemands, Rows
from tiandi.control.contact_plan import ContactPlan
from tiandi.distill.ledger import Ledger
from tiandi.errors import KeysExhausted, NoRoute, RelayFailed, ScenarioError
from tiandi.kms.etsi014 import KEY_SIZE_BIT
from tiandi.physics.equipment import Receiver
from tiandi.physics.moon import moon_elevation_deg, moon_illuminated_fraction
from tiandi.physics.passes import SatellitePass
from tiandi.physics.sky import CLEAR_NIGHT, sky_radiance
from tiandi.physics.sun import sun_elevation_deg
from tiandi.planning.contacts import tabulate_contacts
from tiandi.planning.inputs import PlannedStation
from tiandi.planning.seasons import Ground, Window, climates_of
from tiandi.planning.weather import Weather, sample_weather
from tiandi.quantum.channel import FREE_SPACE_STEP_S, DownlinkChannel
from tiandi.quantum.link import LinkBlock, QkdLink
from tiandi.random import twin_generator
from tiandi.scenario import schema
from tiandi.scenario.checks import LINK_JOINT, known
from tiandi.scenario.network import RunningNetwork
from tiandi.scenario.scenario import Scenario
from tiandi.scenario.study import study_inputs

HORIZON_S = 3 * SECONDS_PER_DAY
FORECAST_EVERY_S = 6 * 3600.0
LEAST_CLEAR = 0.5
HAND_OVER_SHARE = 0.5
"""Of a block the satellite hands over its own half: the other is the station's to send under."""
LONGEST_PAUSE_S = 1.0
SHORTEST_STEP_S = 1e-3
"""A moment is told to a microsecond; a step beyond it is surely not before it."""

Kind = Literal["begins", "won", "lost", "handed over", "planned", "supplied", "refused", "out of service"]


@dataclass(frozen=True)
class PassReport:
    """What the light of a contact came to: the figures of its `LinkBlock` and ``aborted_because``, without the key."""

    length_km: float
    loss_db: float
    light_s: float
    pulses: int
    ledger: Ledger
    aborted_because: str = ""


@dataclass(frozen=True)
class SkyEvent:
    """What happened at ``time``, and to whom: a satellite and its station or stations, or a pair of SAEs that got keys.

    ``bit`` is key that was won, handed over or supplied. ``why`` tells the reason of a loss, the way of keys, the time of what was planned.
    ``report`` is there where light was sent.
    """

    time: datetime
    kind: Kind
    who: tuple[str, ...]
    bit: int = 0
    why: str = ""
    report: PassReport | None = field(default=None, compare=False, repr=False)

    def __str__(self) -> str:
        parts = [format_utc(self.time), f"{self.kind}:", ", ".join(self.who)]
        return " ".join([*parts, *([f"{self.bit} bit"] if self.bit else []), *([f"({self.why})"] if self.why else [])])


class ContactOperations:
    """Plans the contacts of ``scenario`` in its window and carries them out in ``network`` as ``clock``, which is the network's, goes on.

    Light and weather repeat with ``seed``; the key, and what error correction leaks of it, do not. ``weather`` begins with the window and
    has the stations of `study_inputs`; without one it is drawn. After each hand-over as many keys as ``supply`` says are made ready for
    pairs of SAEs. Raises InputError when the scenario has no hand-overs, and as `study_inputs` and `tabulate_contacts` do.
    """

    def __init__(
        self,
        scenario: Scenario,
        network: RunningNetwork,
        clock: Clock,
        *,
        seed: int,
        weather: Weather | None = None,
        supply: Mapping[tuple[str, str], int] | None = None,
    ) -> None:
        self._hand_overs = scenario.file.topology.hand_overs
        if not self._hand_overs:
            raise ScenarioError("topology.hand_overs", [], "must name two stations at least that a satellite makes share key")
        self._scenario, self._network, self._clock, self._seed = scenario, network, clock, seed
        self._supply = dict(supply or {})
        self._inputs = study_inputs(scenario)
        self._start, self._end = scenario.plan_window
        self._satellites = [satellite.name for satellite in self._inputs.satellites]
        self._stations = [station.name for station in self._inputs.stations]
        places = [station.station for station in self._inputs.stations]
        self._weather = weather or sample_weather(climates_of(self._inputs), places, start=self._start, end=self._end, seed=seed)
        self._pairs = sorted({self._pair(entry) for entry in self._hand_overs})
        self._links: dict[tuple[int, int], QkdLink] = {}
        self._begun_s: dict[int, float] = {}
        self._broken: dict[int, str] = {}
        self._handed_bit = dict.fromkeys((entry.name for entry in self._hand_overs), 0)
        self._told: list[SkyEvent] = []
        self._plan_contacts()

    def _plan_contacts(self) -> None:
        window = Window(self._start, self._end)
        ground = Ground(self._inputs, window, tabulate_contacts(self._inputs, start=self._start, end=self._end), candidates=1)
        served = {(self._satellites.index(entry.satellite), number) for entry in self._hand_overs for number in self._pair(entry)}
        self._rows: Rows = ground.rows[[(int(row["satellite"]), int(row["station"])) in served for row in ground.rows]]
        self._rows["secret_bit"] *= HAND_OVER_SHARE
        self._planned_s = self._now_s()
        self._forecast_s = self._planned_s + FORECAST_EVERY_S
        self._contacts = ContactClock(
            self._rows,
            satellites=ground.satellites,
            stations=ground.stations,
            daily=self._demands(ground),
            clock=self._clock,
            start=self._start,
            clear_probability=self._clear_probability(),
            horizon_s=HORIZON_S,
        )
        self._tell_waits()

    def _demands(self, ground: Ground) -> PairDemands:
        """What the pairs that are handed key want in a day: what the plan's demands leave to the sky, else all there is."""
        asked = ground.demands or PairDemands([], [])
        pairs, bits = np.asarray(asked.stations).tolist(), np.asarray(asked.wanted_bit).tolist()
        wanted = {(one, other): bit for (one, other), bit in zip(pairs, bits, strict=True)}
        everything = float(self._rows["secret_bit"].sum()) * SECONDS_PER_DAY / ground.window.length_s
        return PairDemands(self._pairs, [wanted.get(pair, everything) for pair in self._pairs])

    @property
    def plan(self) -> ContactPlan:
        """The plan in force; its contacts go by the numbers of satellites and stations, as in `study_inputs`."""
        return self._contacts.plan

    def ahead(self) -> list[SkyEvent]:
        """Contacts that are planned and have not begun, as they will begin, with the key [bit] that is expected of them."""
        return [
            SkyEvent(self._moment(contact["start_s"]), "begins", self._who(contact), int(contact["expected_bit"]), self._span(contact))
            for contact in self._contacts.ahead
        ]

    def next_moment(self) -> datetime:
        """When something is next to be done: a contact begins or ends, or a new forecast comes."""
        event, forecast = self._contacts.next_event(), self._moment(self._forecast_s)
        return forecast if event is None else min(event, forecast)

    def catch_up(self) -> list[SkyEvent]:
        """Do what is due by now and tell of it, in order of time.

        Call it at each `next_moment`, or soon after: news that comes late finds what was planned for the time between already begun.
        """
        for event in self._contacts.events():
            if event.kind == "begins":
                self._begun_s[event.row] = (event.time - self._start).total_seconds()
                self._tell(event.time, "begins", self._who(self._rows[event.row]))
            else:
                self._end_contact(event)
        if self._now_s() >= self._forecast_s:
            self._renew_forecast()
        self._tell_waits()
        told, self._told = self._told, []
        return told

    def run(self, until: datetime) -> list[SkyEvent]:
        """Catch up at every moment until then: a simulated clock is moved on, any other waited for."""
        told = self.catch_up()
        while self._clock.now() < until:
            pause_s = (min(until, self.next_moment()) - self._clock.now()).total_seconds()
            if isinstance(self._clock, SimulatedClock):
                self._clock.advance(max(pause_s, SHORTEST_STEP_S))
            else:
                time.sleep(min(max(pause_s, SHORTEST_STEP_S), LONGEST_PAUSE_S))
            told += self.catch_up()
        return told

    def out_of_service(self, satellite: str, until: datetime, *, why: str = "out of service") -> None:
        """A satellite does not work until then: a contact under way is lost, and others take the place of those ahead.

        Raises ScenarioError on an unknown name.
        """
        known("satellite", satellite, self._satellites)
        number = self._satellites.index(satellite)
        self._tell(self._clock.now(), "out of service", (satellite,), why=f"{why}, until {format_utc(until)}")
        under_way = self._contacts.under_way
        self._broken |= {int(row): why for row in under_way["row"][under_way["satellite"] == number]}
        with self._new_plan_told(self._clock.now()):
            self._contacts.out_of_service(until, satellite=number)

    def see_the_sky(self) -> None:
        """News: clouds came or went that no forecast knew of. Contacts ahead are planned anew by the forecast of now."""
        with self._new_plan_told(self._clock.now()):
            self._renew_forecast()

    def next_channel(self, satellite: str, station: str) -> DownlinkChannel | None:
        """The way of the light in the next contact that is planned of both; None where none is."""
        ahead = self._contacts.ahead
        numbers = self._satellites.index(satellite), self._stations.index(station)
        for contact in ahead[(ahead["satellite"] == numbers[0]) & (ahead["station"] == numbers[1])]:
            return self._channel_of(int(contact["row"]), float(contact["start_s"]), float(contact["end_s"]))
        return None

    def _renew_forecast(self) -> None:
        self._planned_s = self._now_s()
        self._forecast_s = self._planned_s + FORECAST_EVERY_S
        self._contacts.forecast(self._clear_probability())

    # Contacts.

    def _end_contact(self, event: ContactEvent) -> None:
        """Let a contact that has ended make key, or be lost, and do all that follows."""
        who = self._who(self._rows[event.row])
        before_bit = self._network.stock_bit(*who)
        block, why = self._block_of(event)
        alarm = None if block is None else self._network.receive(block)
        report = None if block is None else _report(block, "" if alarm is None else alarm.cause)
        if block is None or alarm is not None:
            self._tell(event.time, "lost", who, why=why if alarm is None else alarm.cause, report=report)
            with self._new_plan_told(event.time):
                self._contacts.lost(event.row)
                if fault := self._network.faults.out_of_service(LINK_JOINT.join(who)):
                    self._tell(event.time, "out of service", who, why=fault)
                    self._contacts.out_of_service(self._end, satellite=event.satellite, station=event.station)
            return
        won_bit = self._network.stock_bit(*who) - before_bit
        self._tell(event.time, "won", who, won_bit, why=why, report=report)
        self._contacts.won(event.row, won_bit)
        self._planned_s = self._now_s()
        self._hand_over(event)

    def _block_of(self, event: ContactEvent) -> tuple[LinkBlock | None, str]:
        """The block of a contact and how long its light was sent; or none, and why."""
        start_s, end_s = self._begun_s.pop(event.row), (event.time - self._start).total_seconds()
        if event.row in self._broken:
            return None, self._broken.pop(event.row)
        clear = float(self._weather.clear_fraction(np.array(event.station), np.array(start_s), np.array(end_s)))
        if clear < LEAST_CLEAR:
            return None, f"cloud for {1.0 - clear:.0%} of it"
        first_s, last_s = self._clear_spell(event.station, start_s, end_s)
        link = self._link_of(event, first_s, last_s)
        if not link.channel.steps(np.inf).duration_s.size:
            return None, "no time within reach"
        generator = twin_generator(self._seed, "contact", link.name, str(event.row))
        try:
            return link.distil(np.inf, generator=generator), f"{last_s - first_s:.0f} s of light"
        except KeysExhausted as error:
            return None, str(error)

    def _clear_spell(self, station: int, start_s: float, end_s: float) -> tuple[float, float]:
        """The longest time without cloud in a contact, to a second."""
        moments_s = np.arange(start_s, end_s, FREE_SPACE_STEP_S)
        clear = self._weather.clear(np.full(moments_s.size, station), moments_s)
        edges = np.flatnonzero(np.diff(np.concatenate([[False], clear, [False]]).astype(np.int8)))
        begins, ends = edges[::2], edges[1::2]
        longest = int(np.argmax(ends - begins))
        return float(moments_s[begins[longest]]), min(end_s, float(moments_s[ends[longest] - 1]) + FREE_SPACE_STEP_S)

    def _link_of(self, event: ContactEvent, start_s: float, end_s: float) -> QkdLink:
        """The QKD link of a downlink under the sky of this contact; one and the same in all, so that its authentication key lives on."""
        channel = self._channel_of(event.row, start_s, end_s)
        key = event.satellite, event.station
        if key not in self._links:
            satellite, station = self._who(self._rows[event.row])
            self._links[key] = QkdLink(
                satellite,
                station,
                transmitter=channel.transmitter,
                receiver=channel.receiver,
                channel=channel,
                security=self._scenario.security,
            )
        link = self._links[key]
        link.channel, link.receiver = channel, channel.receiver
        return link

    def _channel_of(self, number: int, start_s: float, end_s: float) -> DownlinkChannel:
        """The way of the light between two moments of the pass of a row."""
        row = self._rows[number]
        satellite, station = self._inputs.satellites[int(row["satellite"])], self._inputs.stations[int(row["station"])]
        receiver = self._receiver_at(station, self._moment(0.5 * (start_s + end_s)))
        under_way = SatellitePass(
            satellite.elements,
            station.station,
            self._moment(start_s),
            self._moment(min(max(float(row["culmination_s"]), start_s), end_s)),
            self._moment(end_s),
            float(row["culmination_deg"]),
            float(row["closest_km"]),
            float(sun_elevation_deg(station.station, julian_dates(self._start, [float(row["culmination_s"])]))[0]),
        )
        return DownlinkChannel(satellite.transmitter, receiver, under_way, station.zenith_extinction_db, station.maximum_range_km)

    def _receiver_at(self, station: PlannedStation, moment: datetime) -> Receiver:
        """A station's receiver with the background of the sky at a moment, of moon and twilight, as `tabulate_contacts` counts it."""
        dates = julian_dates(moment, [0.0])
        radiance = sky_radiance(
            sun_elevation_deg(station.station, dates),
            moon_elevation_deg=moon_elevation_deg(station.station, dates),
            illuminated_fraction=moon_illuminated_fraction(dates),
        )
        return replace(station.receiver, background_rate_hz=station.receiver.background_rate_hz * float(radiance[0] / CLEAR_NIGHT))

    # Key on the ground.

    def _hand_over(self, event: ContactEvent) -> None:
        """Let the satellite hand over what it has for this station and others, to the pair first that had least; then supply keys."""
        satellite, station = self._who(self._rows[event.row])
        mine = [entry for entry in self._hand_overs if entry.satellite == satellite and station in entry.stations]
        shared = False
        for entry in sorted(mine, key=lambda entry: self._handed_bit[entry.name]):
            before_bit = [self._network.stock_bit(satellite, end) for end in entry.stations]
            try:
                bit = self._network.hand_over(entry)
            except RelayFailed as error:
                self._tell(event.time, "refused", (satellite, *entry.stations), why=str(error))
                continue
            if not bit:
                continue
            shared = True
            self._handed_bit[entry.name] += bit
            used_bit = before_bit[0] - self._network.stock_bit(satellite, entry.stations[0])
            known_bit = float(self._contacts.stock_bit[event.satellite, self._pair(entry)].min())  # Rounding may leave it a little less.
            self._contacts.handed_over(self._pairs.index(self._pair(entry)), event.satellite, min(float(used_bit), known_bit))
            self._tell(event.time, "handed over", (satellite, *entry.stations), bit)
        if shared:
            self._supply_keys(event.time)

    def _supply_keys(self, moment: datetime) -> None:
        for pair, number in self._supply.items():
            try:
                way, _ = self._network.relay_keys(*pair, number)
            except (NoRoute, RelayFailed) as error:
                self._tell(moment, "refused", pair, why=str(error))
            else:
                self._tell(moment, "supplied", pair, number * KEY_SIZE_BIT, why="by " + ", ".join(way))

    # News.

    @contextmanager
    def _new_plan_told(self, moment: datetime) -> Iterator[None]:
        """Around news: tells of contacts that the new plan has and the old one, which looked less far, could have had."""
        before, horizon_s = self._contacts.ahead["row"], self._planned_s + HORIZON_S
        yield
        self._planned_s = self._now_s()
        after = self._contacts.ahead
        for contact in after[~np.isin(after["row"], before) & (after["start_s"] < horizon_s)]:
            self._tell(moment, "planned", self._who(contact), int(contact["expected_bit"]), why=self._span(contact))

    def _tell_waits(self) -> None:
        """Tell the network when each hand-over gets key again: when its satellite has met those of both stations that it has no key of."""
        planned = np.concatenate([self._contacts.under_way, self._contacts.ahead])
        aboard_bit = self._contacts.stock_bit
        for entry in self._hand_overs:
            satellite = self._satellites.index(entry.satellite)
            moments = [self._clock.now()]
            for station in self._pair(entry):
                own = (planned["satellite"] == satellite) & (planned["station"] == station)
                met_s = float(planned["end_s"][own].min(initial=np.inf))
                if aboard_bit[satellite, station] < KEY_SIZE_BIT:
                    moments.append(self._moment(met_s) if np.isfinite(met_s) else self._end)
            self._network.expect(entry.name, max(moments))

    def _tell(
        self, moment: datetime, kind: Kind, who: tuple[str, ...], bit: int = 0, *, why: str = "", report: PassReport | None = None
    ) -> None:
        self._told.append(SkyEvent(moment, kind, who, bit, why, report))

    # Names and numbers.

    def _pair(self, entry: schema.HandOverEntry) -> tuple[int, int]:
        one, other = sorted(self._stations.index(station) for station in entry.stations)
        return one, other

    def _who(self, contact: np.void) -> tuple[str, str]:
        return self._satellites[contact["satellite"]], self._stations[contact["station"]]

    def _span(self, contact: np.void) -> str:
        return f"{format_utc(self._moment(contact['start_s']))} to {format_utc(self._moment(contact['end_s']))}"

    def _moment(self, time_s: float) -> datetime:
        return self._start + timedelta(seconds=float(time_s))

    def _now_s(self) -> float:
        return (self._clock.now() - self._start).total_seconds()

    def _clear_probability(self) -> Floats:
        """For each row, what the forecast of now says of its middle."""
        middle_s = 0.5 * (self._rows["start_s"] + self._rows["end_s"])
        return self._weather.forecast(self._rows["station"], np.full(middle_s.size, self._now_s()), middle_s)


def _report(block: LinkBlock, aborted_because: str) -> PassReport:
    return PassReport(block.length_km, block.loss_db, block.duration_s, block.pulses, block.ledger, aborted_because)
