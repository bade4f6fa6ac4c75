"""The sky of a living network: satellites on the clock, contacts planned and carried out in a thread of their own, clouds that can be sent.

Contacts are tabulated for some days ahead, and anew when those are over; a scenario's sky ends with its window, and says so.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from datetime import datetime, timedelta

import msgspec
import numpy as np
from numpy.typing import NDArray

from tiandi.clock import format_utc, julian_date, parse_utc
from tiandi.constants import EARTH_MEAN_RADIUS_KM, SECONDS_PER_DAY
from tiandi.errors import ElementsError, TiandiError
from tiandi.physics.eclipse import sunlit_fraction
from tiandi.physics.ground_track import geodetic, ground_track
from tiandi.physics.orbit import Elements, Station, look_angles, propagate
from tiandi.physics.sun import sun_positions
from tiandi.planning.seasons import climates_of
from tiandi.planning.weather import BoolArray, FloatArray, IntArray, Weather, sample_weather
from tiandi.scenario.contact_operations import ContactOperations, SkyEvent
from tiandi.scenario.network import RunningNetwork
from tiandi.scenario.scenario import Scenario
from tiandi.scenario.speed_clock import SpeedClock
from tiandi.scenario.study import study_inputs
from tiandi.scenario.view import ContactLine, SatellitePoint, SunPoint

DAYS_AHEAD = 7
TRACK_POINTS = 90
TRACK_EVERY = 0.02
"""Of a revolution: a track is drawn anew when its satellite has moved this far."""
MOST_CONTACTS_SHOWN = 10
WAIT_S = 0.2
SUNLIT = 0.5
WEATHER_SEED = 7

Tell = Callable[[list[SkyEvent]], None]


@dataclass(frozen=True)
class ChosenWeather(Weather):
    """Weather with clouds over some stations, by number, whatever the climate says; forecasts know of them."""

    clouded: set[int] = field(default_factory=set)

    @classmethod
    def over(cls, weather: Weather, clouded: set[int]) -> ChosenWeather:
        """That weather, and these clouds."""
        return cls(**{item.name: getattr(weather, item.name) for item in fields(weather)}, clouded=clouded)

    def clear(self, station: IntArray, time_s: FloatArray) -> BoolArray:
        """As `Weather.clear`."""
        return super().clear(station, time_s) & ~self._hidden(station)

    def clear_fraction(self, station: IntArray, start_s: FloatArray, end_s: FloatArray) -> FloatArray:
        """As `Weather.clear_fraction`."""
        return np.asarray(super().clear_fraction(station, start_s, end_s) * ~self._hidden(station))

    def forecast(self, station: IntArray, issued_s: FloatArray, time_s: FloatArray) -> FloatArray:
        """As `Weather.forecast`."""
        return np.asarray(super().forecast(station, issued_s, time_s) * ~self._hidden(station))

    def _hidden(self, station: IntArray) -> NDArray[np.bool_]:
        return np.isin(station, list(self.clouded))


class LivingSky:
    """The satellites of ``scenario``; ``tell`` hears, in this sky's thread, what happened, ``fail`` why there are no contacts any more."""

    def __init__(self, scenario: Scenario, network: RunningNetwork, clock: SpeedClock, tell: Tell, fail: Callable[[str], None]) -> None:
        self._scenario, self._network, self._clock, self._tell, self._fail = scenario, network, clock, tell, fail
        topology = scenario.file.topology
        self.satellites: dict[str, Elements] = {entry.name: scenario.elements(entry.name) for entry in topology.satellites}
        self.stations: dict[str, Station] = {entry.station: scenario.station(entry.station) for entry in topology.downlinks}
        self._station_numbers: dict[str, int] = {}
        self.clouded: set[str] = set()
        self._hidden: set[int] = set()
        self._weather: ChosenWeather | None = None
        self._weather_start = clock.now()
        self._tracks: dict[str, tuple[datetime, list[tuple[float, float, float]]]] = {}
        self._ahead: list[SkyEvent] = []
        self._under_way: dict[tuple[str, ...], tuple[str, str, float]] = {}
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
        if self._thread.is_alive():
            self._thread.join()

    def cloud(self, station: str, on: bool) -> None:
        """Send a cloud over a station, or let its climate rule again."""
        (self.clouded.add if on else self.clouded.discard)(station)
        number = self._station_numbers.get(station)
        if number is not None:
            (self._hidden.add if on else self._hidden.discard)(number)

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
        self._station_numbers = {station.name: number for number, station in enumerate(inputs.stations)}
        self._hidden = {self._station_numbers[name] for name in self.clouded if name in self._station_numbers}
        places = [station.station for station in inputs.stations]
        sampled = sample_weather(climates_of(inputs), places, start=start, end=last, seed=WEATHER_SEED)
        self._weather, self._weather_start = ChosenWeather.over(sampled, self._hidden), start
        return ContactOperations(scenario, self._network, self._clock, seed=WEATHER_SEED, weather=self._weather), end

    def _carry_out(self, operations: ContactOperations, end: datetime) -> None:
        renew = end - timedelta(days=1) if end < self._scenario.plan_window[1] else end
        while not self._stop.is_set() and self._clock.now() < renew:
            told = operations.catch_up()
            self._follow(told, operations.ahead())
            if told:
                self._tell(told)
            self._stop.wait(WAIT_S)

    def _follow(self, told: list[SkyEvent], ahead: list[SkyEvent]) -> None:
        planned = {(event.who, event.time): event for event in self._ahead}
        for event in told:
            if event.kind == "begins" and (known := planned.get((event.who, event.time))):
                self._under_way[event.who] = (format_utc(known.time), known.why.partition(" to ")[2], known.bit)
            elif event.kind in ("won", "lost"):
                self._under_way.pop(event.who, None)
        self._ahead = ahead

    # What is seen.

    def cloudy(self, station: str) -> bool:
        """Whether there is cloud over a station now."""
        weather, number = self._weather, self._station_numbers.get(station)
        if station in self.clouded or weather is None or number is None:
            return station in self.clouded
        time_s = (self._clock.now() - self._weather_start).total_seconds()
        return bool(weather.first_s <= time_s < weather.last_s and not weather.clear(np.array(number), np.array(time_s)))

    def contacts(self) -> list[ContactLine]:
        """Contacts under way, then the next ones."""
        now = self._clock.now()
        lines = [
            ContactLine(
                who[0], who[1], bit / max(1.0, _length_s(begins, ends)), self._elevation_deg(who[0], who[1], now), begins, ends, "now"
            )
            for who, (begins, ends, bit) in list(self._under_way.items())
        ]
        for event in self._ahead[:MOST_CONTACTS_SHOWN]:
            begins, _, ends = event.why.partition(" to ")
            middle = parse_utc(begins) + timedelta(seconds=0.5 * _length_s(begins, ends))
            elevation_deg = self._elevation_deg(event.who[0], event.who[1], middle)
            lines.append(
                ContactLine(
                    event.who[0], event.who[1], event.bit / max(1.0, _length_s(begins, ends)), elevation_deg, begins, ends, "planned"
                )
            )
        return lines

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


def _length_s(begins: str, ends: str) -> float:
    return (parse_utc(ends) - parse_utc(begins)).total_seconds()


def _until(scenario: Scenario, end: datetime) -> Scenario:
    """The same scenario with contacts until ``end`` only; its window begins where it did, for designed orbits hold from there."""
    file, plan, sky = scenario.file, scenario.file.plan, scenario.file.run.sky
    if plan is not None:
        file = msgspec.structs.replace(file, plan=msgspec.structs.replace(plan, end=format_utc(end)))
    elif sky is not None:
        file = msgspec.structs.replace(file, run=msgspec.structs.replace(file.run, sky=msgspec.structs.replace(sky, end=format_utc(end))))
    return Scenario(file, scenario.folder)
