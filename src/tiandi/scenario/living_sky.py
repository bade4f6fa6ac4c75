"""The sky of a living network: satellites on the clock, contacts planned and carried out in a thread of their own, clouds that can be sent.

Contacts are tabulated for some days ahead, and anew when those are over; a scenario's sky ends with its window, and says so.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime, timedelta

import msgspec
import numpy as np

from tiandi.clock import format_utc, julian_date, parse_utc
from tiandi.constants import EARTH_MEAN_RADIUS_KM, SECONDS_PER_DAY
from tiandi.errors import ElementsError, TiandiError
from tiandi.physics.eclipse import sunlit_fraction
from tiandi.physics.ground_track import geodetic, ground_track
from tiandi.physics.orbit import Elements, Station, look_angles, propagate
from tiandi.physics.sun import sun_positions
from tiandi.planning.seasons import climates_of
from tiandi.planning.weather import sample_weather
from tiandi.scenario.checks import LINK_JOINT
from tiandi.scenario.contact_operations import ContactOperations, SkyEvent
from tiandi.scenario.living_weather import ChosenWeather, Clouds
from tiandi.scenario.network import RunningNetwork
from tiandi.scenario.scenario import Scenario
from tiandi.scenario.speed_clock import SpeedClock
from tiandi.scenario.study import study_inputs
from tiandi.scenario.view import ContactLine, SatellitePoint, SunPoint
from tiandi.units import loss_from_transmittance

DAYS_AHEAD = 7
TRACK_POINTS = 90
TRACK_EVERY = 0.02
"""Of a revolution: a track is drawn anew when its satellite has moved this far."""
MOST_CONTACTS_SHOWN = 10
WAIT_S = 0.2
SUNLIT = 0.5
WEATHER_SEED = 7

Tell = Callable[[list[SkyEvent]], None]


class LivingSky:
    """The satellites of ``scenario``; ``tell`` hears, in this sky's thread, what happened, ``fail`` why there are no contacts any more."""

    def __init__(self, scenario: Scenario, network: RunningNetwork, clock: SpeedClock, tell: Tell, fail: Callable[[str], None]) -> None:
        self._scenario, self._network, self._clock, self._tell, self._fail = scenario, network, clock, tell, fail
        topology = scenario.file.topology
        self.satellites: dict[str, Elements] = {entry.name: scenario.elements(entry.name) for entry in topology.satellites}
        self.stations: dict[str, Station] = {entry.station: scenario.station(entry.station) for entry in topology.downlinks}
        self._station_numbers: dict[str, int] = {}
        self.clouded: set[str] = set()
        self._clouds = Clouds()
        self._weather: ChosenWeather | None = None
        self._weather_start = clock.now()
        self._tracks: dict[str, tuple[datetime, list[tuple[float, float, float]]]] = {}
        self.is_planned = False
        """Whether there is a plan of contacts yet: the first takes a while."""
        self.channels: dict[str, tuple[float, float]] = {}
        """Least length [km] and loss [dB] of the next planned contact of each downlink."""
        self._channels_of: dict[tuple[str, ...], datetime] = {}
        self._ahead: list[SkyEvent] = []
        self._begun: dict[tuple[str, ...], SkyEvent] = {}
        self._sky_changed = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sky", daemon=True)

    # Contacts.

    @property
    def has_contacts(self) -> bool:
        """Whether satellites hand over key here."""
        return bool(self._scenario.file.topology.hand_overs)

    def start(self) -> None:
        """Plan and carry out contacts from now on."""
        if self.has_contacts:
            self._thread.start()

    def close(self) -> None:
        """Stop after what is under way."""
        self._stop.set()
        self._sky_changed.set()
        if self._thread.is_alive():
            self._thread.join()

    def cloud(self, station: str, on: bool) -> None:
        """Send a cloud over a station, or let its climate rule again, from now on; contacts ahead are planned anew at once."""
        if on == (station in self.clouded):
            return
        (self.clouded.add if on else self.clouded.discard)(station)
        number = self._station_numbers.get(station)
        if number is not None:
            (self._clouds.send if on else self._clouds.call_back)(number, self._weather_s())
            self._sky_changed.set()

    def _weather_s(self) -> float:
        return (self._clock.now() - self._weather_start).total_seconds()

    def next_pass(self) -> datetime | None:
        """When the next planned contact begins."""
        now = self._clock.now()
        return min((event.time for event in self._ahead if event.time > now), default=None)

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                operations, end = self._operations()
                if operations is None:
                    self._fail(f"the sky of this scenario ended at {format_utc(end)}: no more contacts are planned")
                    return
                self._carry_out(operations, end)
        except TiandiError as error:
            self._fail(f"contacts are not planned any more: {error}")

    def _operations(self) -> tuple[ContactOperations | None, datetime]:
        """The contacts of some days ahead, or none when the scenario's window is over; and until when."""
        start, last = self._scenario.plan_window
        now = self._clock.now()
        end = min(last, now + timedelta(days=DAYS_AHEAD))
        if end - now < timedelta(hours=1):
            return None, last
        scenario = _until(self._scenario, end)
        inputs = study_inputs(scenario)
        places = [station.station for station in inputs.stations]
        sampled = sample_weather(climates_of(inputs), places, start=start, end=last, seed=WEATHER_SEED)
        if self._weather is None:  # The window begins where it did: what was sent stays right.
            self._weather_start = start
            self._station_numbers = {station.name: number for number, station in enumerate(inputs.stations)}
            for name in self.clouded & self._station_numbers.keys():
                self._clouds.send(self._station_numbers[name], self._weather_s())
        self._weather = ChosenWeather.over(sampled, self._clouds)
        return ContactOperations(scenario, self._network, self._clock, seed=WEATHER_SEED, weather=self._weather), end

    def _carry_out(self, operations: ContactOperations, end: datetime) -> None:
        renew = end - timedelta(days=1) if end < self._scenario.plan_window[1] else end
        while not self._stop.is_set() and self._clock.now() < renew:
            if self._sky_changed.is_set():
                self._sky_changed.clear()
                operations.see_the_sky()
            told = operations.catch_up()
            self._follow(told, operations)
            if told:
                self._tell(told)
            self._sky_changed.wait(WAIT_S)

    def _follow(self, told: list[SkyEvent], operations: ContactOperations) -> None:
        known = {(event.who, event.time): event for event in self._ahead}
        for event in told:
            if event.kind == "begins" and (event.who, event.time) in known:
                self._begun[event.who] = known[event.who, event.time]
            elif event.kind in ("won", "lost"):
                self._begun.pop(event.who, None)
        self._ahead, self.is_planned = operations.ahead(), True
        nearest: dict[tuple[str, ...], datetime] = {}
        for event in self._ahead:
            nearest.setdefault(event.who, event.time)
        for who, begins in nearest.items():
            if self._channels_of.get(who) != begins and (channel := operations.next_channel(*who)) is not None:
                self._channels_of[who] = begins
                transmittance = float(channel.steps().transmittance.max(initial=0.0)) * channel.receiver.optics_efficiency
                if transmittance > 0.0:
                    self.channels[LINK_JOINT.join(who)] = channel.length_km, float(loss_from_transmittance(transmittance))

    # What is seen.

    def cloudy(self, station: str) -> bool:
        """Whether there is cloud over a station now."""
        weather, number = self._weather, self._station_numbers.get(station)
        if station in self.clouded or weather is None or number is None:
            return station in self.clouded
        time_s = self._weather_s()
        return bool(weather.first_s <= time_s < weather.last_s and not weather.clear(np.array(number), np.array(time_s)))

    def contacts(self) -> list[ContactLine]:
        """Contacts under way by the clock, however late their news may be, then the next ones."""
        now = self._clock.now()
        lines = [self._contact(event, now) for event in [*list(self._begun.values()), *self._ahead[:MOST_CONTACTS_SHOWN]]]
        return [line for line in lines if parse_utc(line.ends) > now]

    def rates_bps(self) -> dict[str, float]:
        """Key rate expected of the downlinks that are in contact now, by link."""
        return {LINK_JOINT.join((line.satellite, line.station)): line.rate_bps for line in self.contacts() if line.state == "now"}

    def _contact(self, event: SkyEvent, now: datetime) -> ContactLine:
        begins, _, ends = event.why.partition(" to ")
        length_s = max(1.0, (parse_utc(ends) - parse_utc(begins)).total_seconds())
        has_begun = event.time <= now
        seen = now if has_begun else event.time + timedelta(seconds=0.5 * length_s)
        satellite, station = event.who
        elevation_deg = self._elevation_deg(satellite, station, seen)
        return ContactLine(satellite, station, event.bit / length_s, elevation_deg, begins, ends, "now" if has_begun else "planned")

    def _elevation_deg(self, satellite: str, station: str, moment: datetime) -> float:
        try:
            positions = propagate(self.satellites[satellite], np.array([julian_date(moment)]))
        except ElementsError:
            return 0.0
        return round(float(look_angles(self.stations[station], positions).elevation_deg[0]), 1)

    def points(self) -> list[SatellitePoint]:
        """Every satellite whose elements hold now."""
        now = self._clock.now()
        points = []
        for name, elements in self.satellites.items():
            try:
                points.append(self._point(name, elements, now))
            except ElementsError:
                continue
        return points

    def _point(self, name: str, elements: Elements, now: datetime) -> SatellitePoint:
        date = np.array([julian_date(now)])
        positions = propagate(elements, date)
        below = geodetic(positions)
        altitude_km = float(below.altitude_km[0])
        made, track = self._tracks.get(name, (None, []))
        if made is None or abs((now - made).total_seconds()) > TRACK_EVERY * elements.period_s:
            track = _track(elements, now)
            self._tracks[name] = now, track
        return SatellitePoint(
            name,
            round(float(below.latitude_deg[0]), 4),
            round(float(below.longitude_deg[0]), 4),
            round(altitude_km, 2),
            bool(sunlit_fraction(positions, date)[0] > SUNLIT),
            round(EARTH_MEAN_RADIUS_KM * float(np.arccos(EARTH_MEAN_RADIUS_KM / (EARTH_MEAN_RADIUS_KM + max(0.0, altitude_km)))), 1),
            track,
        )


def sun_point(now: datetime) -> SunPoint:
    """Where the sun stands in the zenith."""
    below = geodetic(sun_positions(np.array([julian_date(now)])))
    return SunPoint(round(float(below.latitude_deg[0]), 3), round(float(below.longitude_deg[0]), 3))


def _track(elements: Elements, now: datetime) -> list[tuple[float, float, float]]:
    """One revolution from now on, as longitude, latitude, altitude."""
    dates = julian_date(now) + np.linspace(0.0, elements.period_s / SECONDS_PER_DAY, TRACK_POINTS)
    try:
        track = ground_track(elements, dates)
    except ElementsError:
        return []
    columns = (np.round(track.longitude_deg, 3), np.round(track.latitude_deg, 3), np.round(track.altitude_km, 1))
    return [(float(longitude), float(latitude), float(altitude)) for longitude, latitude, altitude in zip(*columns, strict=True)]


def _until(scenario: Scenario, end: datetime) -> Scenario:
    """The same scenario with contacts until ``end`` only; its window begins where it did, for designed orbits hold from there."""
    file, plan, sky = scenario.file, scenario.file.plan, scenario.file.run.sky
    if plan is not None:
        file = msgspec.structs.replace(file, plan=msgspec.structs.replace(plan, end=format_utc(end)))
    elif sky is not None:
        file = msgspec.structs.replace(file, run=msgspec.structs.replace(file.run, sky=msgspec.structs.replace(sky, end=format_utc(end))))
    return Scenario(file, scenario.folder)
