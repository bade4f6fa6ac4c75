"""One possible course of a study: the weather of one seed, contacts planned and carried out under it, and key relayed day by day.

Each day begins with a contact plan under the forecast of that moment. Contacts then make what the clouds leave of them, fibres what their
rate gives; at the day's end link key is shared out to the pairs, and what nobody used stays in store.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import cos
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tiandi.constants import EARTH_EQUATORIAL_RADIUS_KM, SECONDS_PER_DAY
from tiandi.control.contact_model import PairDemands, SatelliteLimits, StationLimits, part_bit
from tiandi.control.contact_plan import plan_contacts
from tiandi.control.way_search import Ways
from tiandi.errors import InputError
from tiandi.physics.orbit import EARTH_ROTATION_RATE_RAD_PER_S, Elements
from tiandi.planning.ages import QUANTILES, key_ages_s, made_times
from tiandi.planning.carriers import Carriers
from tiandi.planning.climates import Climate
from tiandi.planning.contacts import ContactTable
from tiandi.planning.inputs import StudyInputs
from tiandi.planning.relay_flow import FluidRelay
from tiandi.planning.results import AGE_EDGES_S, CONTACT_OUTCOME, month_numbers
from tiandi.planning.station_pairs import station_pairs
from tiandi.planning.weather import Weather, sample_weather

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

STORE_S = 3600.0
"""A link that works all the time keeps at most what it makes in this time [s, assumed]: its stores are full then, and the oldest goes."""
PLAN_DEADLINE_S = 20.0
"""For the optimal plan of one day."""
LEAST_PRICE = 1e-6
"""Of a bit that no pair asks for, beside all that they want together."""


@dataclass(frozen=True)
class Window:
    """The time of a study: from ``start`` to ``end`` (UTC), in days from the start, of which the last may be short."""

    start: datetime
    end: datetime

    @property
    def length_s(self) -> float:
        return (self.end - self.start).total_seconds()

    @property
    def days(self) -> int:
        return int(np.ceil(self.length_s / SECONDS_PER_DAY))

    def day_length_s(self) -> FloatArray:
        """Length of each day [s], shape (days,)."""
        return np.diff(np.append(np.arange(self.days) * SECONDS_PER_DAY, self.length_s))

    def months(self) -> IntArray:
        """Number of each day's month, shape (days,)."""
        return month_numbers([self.start + timedelta(days=day) for day in range(self.days)])


@dataclass(frozen=True)
class Course:
    """What became of one seed; the fields are those of `tiandi.planning.results.StudyResult`, without its first axis.

    ``ways`` are those that the relay knew in the end, ``way_bit`` what each carried.
    """

    carried_bit: FloatArray
    key_age_s: FloatArray
    age_bit: FloatArray
    bottleneck: IntArray
    made_bit: FloatArray
    used_bit: FloatArray
    ways: Ways
    way_bit: FloatArray
    contacts_planned: IntArray
    contacts_lost: IntArray
    satellite_contact_s: FloatArray
    satellite_bit: FloatArray
    plan_value_bit: float
    plan_bound_bit: float
    contacts: NDArray[np.void]


class Ground:
    """What all seeds share: links by number and their steady rates, what is asked of the sky, contacts by day."""

    def __init__(self, inputs: StudyInputs, window: Window, table: ContactTable, *, candidates: int) -> None:
        self.inputs, self.window = inputs, window
        links = list(inputs.topology.links.values())
        self.links = tuple(link.name for link in links)
        self.day_s = window.day_length_s()
        self.rate_bps = steady_rates_bps(inputs)
        self.wanted_bps = np.array([demand.rate_bps for demand in inputs.demands])
        self.candidates = candidates
        self.downlink = _downlinks(inputs)
        rows = np.sort(table.rows, order=["start_s", "satellite", "station"])
        self.rows = rows[(self.downlink[rows["satellite"], rows["station"]] >= 0) & (rows["secret_bit"] > 0.0)]
        self.first_row = np.searchsorted(self.rows["start_s"], np.arange(window.days + 1) * SECONDS_PER_DAY)
        self.satellites = SatelliteLimits(
            contact_limit_s=[satellite.contact_limit_s for satellite in inputs.satellites] or [0.0],
            slew_s=[satellite.slew_s for satellite in inputs.satellites] or [0.0],
            telescopes=[inputs.topology.nodes[satellite.name].telescopes for satellite in inputs.satellites] or [1],
            speed_km_s=[passing_speed_km_s(satellite.elements) for satellite in inputs.satellites] or [0.0],
        )
        self.stations = StationLimits(
            telescopes=[station.telescopes for station in inputs.stations] or [1],
            slew_s=[station.slew_s for station in inputs.stations] or [0.0],
        )
        self.buffer_bit = np.array([satellite.buffer_bit for satellite in inputs.satellites])
        pairs, unmet_bps = station_pairs(inputs, self.rate_bps)
        self.demands = PairDemands(pairs, unmet_bps * SECONDS_PER_DAY) if len(pairs) else None
        self.midnight_s = -float(window.start.hour * 3600 + window.start.minute * 60 + window.start.second)

    def follow(self, seed: int, method: Literal["greedy", "optimal"]) -> Course:
        """The course of one seed."""
        return _Follower(self, seed, method).course()


def passing_speed_km_s(elements: Elements) -> float:
    """Speed of a satellite past the ground below, of a circular orbit: that of a low orbit, and none of a geostationary one."""
    satellite = elements.satellite
    turning_rad_per_s = satellite.no_kozai / 60.0 - EARTH_ROTATION_RATE_RAD_PER_S * cos(satellite.inclo)
    return abs(turning_rad_per_s) * float(satellite.a) * EARTH_EQUATORIAL_RADIUS_KM


def steady_rates_bps(inputs: StudyInputs) -> FloatArray:
    """Key that each link makes all the time [bit/s], shape (links,): none for a downlink; those on a switch share its time evenly."""
    links = list(inputs.topology.links.values())
    behind = [link.switch for link in links]
    shares = {name: min(1.0, switch.at_once / behind.count(name)) for name, switch in inputs.topology.switches.items() if name in behind}
    return np.array([0.0 if link.kind == "downlink" else link.rate_bps * shares.get(link.switch, 1.0) for link in links])


def key_prices(aboard: FloatArray, demands: PairDemands, rows: NDArray[np.void], clear: FloatArray) -> FloatArray:
    """What a bit of each contact is worth for the pairs of stations, shape of ``rows``, where a plan is made of prices alone.

    A bit counts for every pair that its station is in, by what the pair wants: less where the satellite has more of this station's key
    than of the other's, which it waits for, and where the satellites together have enough for days. ``aboard`` has the stocks, shape
    (satellites, stations). On 10 satellites and 20 stations the worths of `plan_contacts` took twelve times as long for a month, and
    pairs got a tenth less, as they look no further than the day.
    """
    one, other = np.asarray(demands.stations).T
    wanted = np.asarray(demands.wanted_bit)
    usual = float((rows["secret_bit"] * clear).mean()) + 1.0
    ready = np.minimum(aboard[:, one], aboard[:, other]).sum(axis=0)
    urgent = wanted / wanted.sum() * wanted / (wanted + ready)
    price = np.full(aboard.shape, LEAST_PRICE)
    for here, there in ((one, other), (other, one)):
        np.add.at(price.T, here, (urgent * np.minimum(1.0, (aboard[:, there] + usual) / (aboard[:, here] + usual))).T)
    return price[rows["satellite"], rows["station"]] / price.max()


def _downlinks(inputs: StudyInputs) -> IntArray:
    """Number of the link between each satellite and station, shape (satellites, stations), -1 where there is none."""
    satellites = {satellite.name: number for number, satellite in enumerate(inputs.satellites)}
    stations = {station.name: number for number, station in enumerate(inputs.stations)}
    numbers = np.full((max(len(satellites), 1), max(len(stations), 1)), -1, np.int64)
    for number, link in enumerate(inputs.topology.links.values()):
        if link.kind == "downlink":
            satellite, station = link.ends if link.ends[0] in satellites else link.ends[::-1]
            numbers[satellites[satellite], stations[station]] = number
    return numbers


def climates_of(inputs: StudyInputs) -> list[Climate]:
    """The climate of each station. Raises InputError when one names a row that the table of cloud does not have."""
    found = []
    for station in inputs.stations:
        climate = inputs.climates.get(station.climate)
        if not isinstance(climate, Climate):
            known = ", ".join(sorted(inputs.climates)) or "none"
            raise InputError(f"stations ({station.name}).climate", station.climate, f"must be in the table of cloud: {known}")
        found.append(climate)
    return found


class _Follower:
    """Follows one seed through the days, and keeps the accounts."""

    def __init__(self, ground: Ground, seed: int, method: Literal["greedy", "optimal"]) -> None:
        self._ground, self._method = ground, method
        inputs, window = ground.inputs, ground.window
        self._weather: Weather | None = None
        if ground.rows.size:
            places = [station.station for station in inputs.stations]
            self._weather = sample_weather(climates_of(inputs), places, start=window.start, end=window.end, seed=seed)
        links, days, pairs = len(ground.links), window.days, len(inputs.demands)
        self._stock = np.zeros(links)
        self._made, self._kept, self._used = (np.zeros((days, links)) for _ in range(3))
        self._carried = np.zeros((days, pairs))
        self._bottleneck = np.full((days, pairs), -1, np.int64)
        self._relay = FluidRelay(inputs.topology, inputs.demands, candidates=ground.candidates)
        self._carriers = Carriers(self._relay)
        self._outcomes: list[NDArray[np.void]] = [np.empty(0, CONTACT_OUTCOME)]
        self._promised = np.zeros(2)
        shape = ground.downlink.shape
        self._satellite_free_s, self._station_free_s = np.full(shape[0], -np.inf), np.full(shape[1], -np.inf)

    def course(self) -> Course:
        ground = self._ground
        room = np.where(ground.rate_bps > 0.0, ground.rate_bps * STORE_S, np.inf)
        for day, day_s in enumerate(ground.day_s):
            self._made[day] = ground.rate_bps * day_s + self._contacts_of(day)
            available = self._stock + self._made[day]
            allocation = self._relay.share_out(available, ground.wanted_bps * day_s)
            self._carried[day], self._bottleneck[day] = allocation.carried_bit, allocation.bottleneck
            self._carriers.note(allocation)
            self._used[day] = np.minimum(allocation.used_bit, available)
            left = available - self._used[day]
            self._stock = np.minimum(left, room)
            self._kept[day] = self._made[day] - (left - self._stock)
        return self._account()

    def _contacts_of(self, day: int) -> FloatArray:
        """Plan a day's contacts and carry them out: the key that each link made and its satellite could keep."""
        ground = self._ground
        made = np.zeros(len(ground.links))
        rows = ground.rows[ground.first_row[day] : ground.first_row[day + 1]]
        # A contact that began before midnight may still go on.
        rows = rows[
            (rows["start_s"] >= self._satellite_free_s[rows["satellite"]]) & (rows["start_s"] >= self._station_free_s[rows["station"]])
        ]
        if not rows.size or self._weather is None:
            return made
        begins_s = day * SECONDS_PER_DAY
        middle_s = 0.5 * (rows["start_s"] + rows["end_s"])
        clear = self._weather.forecast(rows["station"], np.full(rows.size, begins_s), middle_s)
        aboard = np.where(ground.downlink >= 0, self._stock[ground.downlink], 0.0)
        limits = {"satellites": ground.satellites, "stations": ground.stations, "midnight_s": ground.midnight_s}
        price = np.ones(rows.size)
        if self._method == "optimal":
            plan = plan_contacts(
                rows,
                demands=ground.demands,
                clear_probability=clear,
                method="optimal",
                deadline_s=PLAN_DEADLINE_S,
                stock_bit=aboard,
                **limits,  # type: ignore[arg-type]
            )
        else:
            if ground.demands is not None:
                price = key_prices(aboard, ground.demands, rows, clear)
            plan = plan_contacts(rows, clear_probability=clear * price, bounded=False, **limits)  # type: ignore[arg-type]
        outcome = self._carry_out(plan.contacts, clear, price, aboard)
        # At prices of a day's own making a plan's worth is no amount of key.
        promised_bit = plan.value_bit if self._method == "optimal" else float(outcome["planned_bit"].sum())
        self._promised += promised_bit, np.nan if plan.bound_bit is None else plan.bound_bit
        np.add.at(made, ground.downlink[outcome["satellite"], outcome["station"]], outcome["made_bit"])
        self._outcomes.append(outcome)
        return made

    def _carry_out(self, contacts: NDArray[np.void], clear: FloatArray, price: FloatArray, aboard: FloatArray) -> NDArray[np.void]:
        """What comes of planned contacts, of `CONTACT`, under the true sky, in order of time."""
        assert self._weather is not None
        ground = self._ground
        outcome = np.zeros(contacts.size, CONTACT_OUTCOME)
        for name in ("satellite", "station", "start_s", "end_s"):
            outcome[name] = contacts[name]
        outcome["planned_bit"] = contacts["expected_bit"] / price[contacts["row"]]
        outcome["clear_fraction"] = self._weather.clear_fraction(contacts["station"], contacts["start_s"], contacts["end_s"])
        outcome["made_bit"] = part_bit(outcome["clear_fraction"], outcome["planned_bit"] / clear[contacts["row"]])
        satellite = contacts["satellite"]
        np.maximum.at(self._satellite_free_s, satellite, contacts["end_s"] + np.asarray(ground.satellites.slew_s)[satellite])
        np.maximum.at(
            self._station_free_s, contacts["station"], contacts["end_s"] + np.asarray(ground.stations.slew_s)[contacts["station"]]
        )
        # Each station has its part of the buffer, or key that waits for its other half would keep out that half.
        served = np.maximum((ground.downlink >= 0).sum(axis=1), 1)[: ground.buffer_bit.size]
        room = np.maximum((ground.buffer_bit / served)[:, None] - aboard, 0.0)
        key = satellite * aboard.shape[1] + contacts["station"]
        for number in np.unique(key):
            own = key == number
            kept = np.minimum(np.cumsum(outcome["made_bit"][own]), room.flat[number])
            outcome["made_bit"][own] = np.diff(kept, prepend=0.0)
        return outcome

    def _account(self) -> Course:
        ground = self._ground
        contacts = np.concatenate(self._outcomes)
        satellites, stations = len(ground.inputs.satellites), len(ground.inputs.stations)
        month = ground.window.months()[np.minimum((contacts["start_s"] // SECONDS_PER_DAY).astype(np.int64), ground.window.days - 1)]
        cells = month * stations + contacts["station"]
        months = int(ground.window.months()[-1]) + 1
        lost = (contacts["made_bit"] <= 0.0) & (contacts["clear_fraction"] < 1.0)
        age_s, age_bit = self._ages(contacts)
        return Course(
            carried_bit=self._carried,
            key_age_s=age_s,
            age_bit=age_bit,
            bottleneck=self._bottleneck,
            made_bit=self._made.sum(axis=0),
            used_bit=self._used.sum(axis=0),
            ways=self._relay.ways,
            way_bit=self._carriers.total_bit(),
            contacts_planned=np.bincount(cells, minlength=months * stations).reshape(months, stations),
            contacts_lost=np.bincount(cells[lost], minlength=months * stations).reshape(months, stations),
            satellite_contact_s=np.asarray(np.bincount(contacts["satellite"], contacts["end_s"] - contacts["start_s"], satellites), float),
            satellite_bit=np.asarray(np.bincount(contacts["satellite"], contacts["made_bit"], satellites), float),
            plan_value_bit=float(self._promised[0]),
            plan_bound_bit=float(self._promised[1]),
            contacts=contacts,
        )

    def _ages(self, contacts: NDArray[np.void]) -> tuple[FloatArray, FloatArray]:
        """Mean age [s] of each pair's key by day, shape (days, pairs), and key by bin of age, shape (pairs, bins)."""
        pairs = self._carried.shape[1]
        made_s = made_times(self._making(contacts), self._used)
        # Where the oldest gives way to the new, nothing that is used is older than a store is deep.
        used_s = (np.arange(len(made_s))[:, None, None] + QUANTILES) * SECONDS_PER_DAY
        steady = self._ground.rate_bps > 0.0
        made_s[:, steady] = np.maximum(made_s[:, steady], used_s - STORE_S)
        mean_s, bins = np.full(self._carried.shape, np.nan), np.zeros((pairs, AGE_EDGES_S.size))
        for day, (pair, routes, way_bit) in enumerate(self._carriers.days()):
            ages_s = key_ages_s(made_s[day] - day * SECONDS_PER_DAY, routes)
            bits = np.repeat(way_bit[:, None] / QUANTILES.size, QUANTILES.size, axis=1)
            total = np.bincount(pair, way_bit, pairs)
            np.divide(np.bincount(pair, (ages_s * bits).sum(axis=1), pairs), total, out=mean_s[day], where=total > 0.0)
            place = np.clip(np.searchsorted(AGE_EDGES_S, ages_s, side="right") - 1, 0, AGE_EDGES_S.size - 1)
            np.add.at(bins, (np.broadcast_to(pair[:, None], place.shape), place), bits)
        return mean_s, bins

    def _making(self, contacts: NDArray[np.void]) -> Sequence[tuple[FloatArray, FloatArray]]:
        """For each link, times and the key kept until then, as `made_times` wants them."""
        ground = self._ground
        days_s = np.append(0.0, np.cumsum(ground.day_s))
        kept_bit = np.concatenate([np.zeros((1, len(ground.links))), np.cumsum(self._kept, axis=0)])
        making: list[tuple[FloatArray, FloatArray]] = [(days_s, kept_bit[:, link]) for link in range(len(ground.links))]
        link = ground.downlink[contacts["satellite"], contacts["station"]]
        order = np.lexsort((contacts["start_s"], link))
        names, first = np.unique(link[order], return_index=True)
        for number, own in zip(names, np.split(order, first[1:]), strict=False):
            moments_s = np.column_stack([contacts["start_s"][own], contacts["end_s"][own]]).ravel()
            kept = np.cumsum(contacts["made_bit"][own])
            making[number] = moments_s, np.column_stack([kept - contacts["made_bit"][own], kept]).ravel()
        return making
