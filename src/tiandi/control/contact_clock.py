"""A contact plan carried out on a clock: what begins and ends as time goes on, news from the sky, and a new plan of all that is left."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from tiandi.clock import Clock
from tiandi.constants import SECONDS_PER_DAY
from tiandi.control.contact_model import CONTACT, LATEST_S, MOST_BIT, Floats, PairDemands, Rows, SatelliteLimits, StationLimits
from tiandi.control.contact_plan import ContactPlan, Method, plan_contacts
from tiandi.errors import InputError
from tiandi.limits import require_each_within, require_within

ROUNDING_BIT = 1.0


@dataclass(frozen=True)
class ContactEvent:
    """A contact that begins or ends: which pass by its row, which satellite and station by number."""

    time: datetime
    kind: Literal["begins", "ends"]
    row: int
    satellite: int
    station: int


class ContactClock:
    """Carries out plans of the passes ``rows`` (`ROW_FIELDS`), whose times are seconds after ``start``, as ``clock`` goes on.

    Contacts are planned up to ``horizon_s`` ahead and anew every half of it, and whenever there is news. Those under way are kept; the pass
    of a contact that has begun is never planned again; key that is aboard, or handed over, is not wanted once more. ``daily`` is what pairs
    want in a day; what they did not get they want on top.
    """

    def __init__(
        self,
        rows: Rows,
        *,
        satellites: SatelliteLimits,
        stations: StationLimits,
        daily: PairDemands,
        clock: Clock,
        start: datetime,
        clear_probability: ArrayLike = 1.0,
        horizon_s: float = 3 * SECONDS_PER_DAY,
        method: Method = "greedy",
        deadline_s: float = 10.0,
    ) -> None:
        """Plan from the clock's time on. Raises InputError."""
        require_within("horizon_s", horizon_s, 3600.0, 366 * SECONDS_PER_DAY)
        self._rows, self._clock, self._start = rows, clock, start
        self._satellites, self._stations, self._daily = satellites, stations, daily
        self._horizon_s, self._method, self._deadline_s = horizon_s, method, deadline_s
        self._stock_bit = np.zeros((np.size(satellites.contact_limit_s), np.size(stations.telescopes)))
        self._handed_bit = np.zeros(len(np.asarray(daily.wanted_bit)))
        self._credited_bit: dict[int, float] = {}
        self._blocked = np.zeros(rows.size, np.bool_)
        self._begun = self._done = self._ahead = np.empty(0, CONTACT)
        self._events: list[ContactEvent] = []
        self._reached_s = self._now_s()
        self._set_forecast(clear_probability)
        self._replan()

    @property
    def plan(self) -> ContactPlan:
        """The plan in force, as it was made; contacts that had begun by then, and those of the day before, stand in it as they were."""
        return self._plan

    @property
    def under_way(self) -> Rows:
        """The contacts, of `CONTACT`, that have begun and not ended."""
        return self._begun.copy()

    @property
    def ahead(self) -> Rows:
        """The contacts, of `CONTACT`, that are planned and have not begun, by start."""
        return self._ahead.copy()

    @property
    def stock_bit(self) -> Floats:
        """Key aboard, shape (satellites, stations): of contacts without news what was expected of them."""
        return self._stock_bit.copy()

    def next_event(self) -> datetime | None:
        """When the next contact begins or ends, as far as is planned."""
        moments_s = np.concatenate([self._begun["end_s"], self._ahead["start_s"]])
        return self._moment(float(moments_s.min())) if moments_s.size else None

    def events(self) -> list[ContactEvent]:
        """What has begun and ended since the last call, in order of time; plans anew where that is due."""
        self._catch_up()
        told, self._events = self._events, []
        return told

    def lost(self, row: int) -> None:
        """News: the pass of this row brings nothing, or brought nothing; a contact under way ends now. Raises InputError."""
        require_within("row", row, 0, self._rows.size - 1)
        self._catch_up()
        self._break_off(self._begun["row"] == row)
        if row in self._credited_bit:
            self._credit(row, 0.0)
        self._blocked[row] = True
        self._replan()

    def out_of_service(self, until: datetime, *, satellite: int | None = None, station: int | None = None) -> None:
        """News: a satellite, a station or the link between both does not work until then; contacts under way end now. Raises InputError."""
        for name, number, limit in (("satellite", satellite, self._stock_bit.shape[0]), ("station", station, self._stock_bit.shape[1])):
            if number is not None:
                require_within(name, number, 0, limit - 1)
        if satellite is None and station is None:
            raise InputError("satellite", None, "name a satellite, a station or both")
        self._catch_up()
        self._break_off(_of(self._begun, satellite, station))
        until_s = (until - self._start).total_seconds()
        self._blocked |= _of(self._rows, satellite, station) & (self._rows["start_s"] < until_s) & (self._rows["end_s"] > self._reached_s)
        self._replan()

    def forecast(self, clear_probability: ArrayLike) -> None:
        """News: another probability of clear sky, a number or shape (rows,). Raises InputError."""
        self._catch_up()
        self._set_forecast(clear_probability)
        self._replan()

    def won(self, row: int, bit: float) -> None:
        """News: how much key the contact in the pass of this row really brought. Raises InputError where none has ended."""
        self._catch_up()
        if row not in self._credited_bit:
            raise InputError("row", row, "no contact in this pass has ended")
        require_within("bit", bit, 0.0, MOST_BIT)
        self._credit(row, bit)
        self._replan()

    def handed_over(self, pair: int, satellite: int, bit: float) -> None:
        """News: a pair of ``daily`` got key by the XOR of a satellite, which has as much less for both stations. Raises InputError."""
        require_within("pair", pair, 0, self._handed_bit.size - 1)
        require_within("satellite", satellite, 0, self._stock_bit.shape[0] - 1)
        self._catch_up()
        ends = np.asarray(self._daily.stations)[pair]
        require_within("bit", bit, 0.0, float(self._stock_bit[satellite, ends].min()) + ROUNDING_BIT)
        self._stock_bit[satellite, ends] = np.maximum(0.0, self._stock_bit[satellite, ends] - bit)
        self._handed_bit[pair] += bit

    def _now_s(self) -> float:
        return (self._clock.now() - self._start).total_seconds()

    def _moment(self, time_s: float) -> datetime:
        return self._start + timedelta(seconds=time_s)

    def _set_forecast(self, clear_probability: ArrayLike) -> None:
        self._clear = np.broadcast_to(require_each_within("clear_probability", clear_probability, 0.0, 1.0), self._rows.shape).copy()

    def _catch_up(self) -> None:
        """Let all happen that is due by now, plans at the times when they were due."""
        now_s = self._now_s()
        while self._planned_s + self._horizon_s / 2 <= now_s:
            self._pass_until(self._planned_s + self._horizon_s / 2)
            self._replan()
        self._pass_until(now_s)

    def _pass_until(self, time_s: float) -> None:
        """Begin and end contacts up to ``time_s``, the earliest first; at the same moment ends go first."""
        while True:
            ends_s, starts_s = (column.min(initial=np.inf) for column in (self._begun["end_s"], self._ahead["start_s"]))
            if min(ends_s, starts_s) > time_s:
                break
            if ends_s <= starts_s:
                self._end(np.arange(self._begun.size) == self._begun["end_s"].argmin())
            else:
                self._tell("begins", self._ahead[0], starts_s)
                self._begun, self._ahead = np.append(self._begun, self._ahead[:1]), self._ahead[1:]
        self._reached_s = time_s

    def _end(self, which: np.ndarray) -> None:
        """End contacts under way, credited with what is expected of them until there is news."""
        for contact in self._begun[which]:
            self._tell("ends", contact, float(contact["end_s"]))
            self._credit(int(contact["row"]), float(contact["expected_bit"]))
        ended = self._begun[which]
        # Its key is in the stock from now on.
        ended["expected_bit"] = 0.0
        self._done, self._begun = np.append(self._done, ended), self._begun[~which]

    def _break_off(self, which: np.ndarray) -> None:
        """End contacts under way now; they have brought nothing."""
        self._begun["end_s"][which] = self._reached_s
        self._begun["expected_bit"][which] = 0.0
        self._end(which)

    def _credit(self, row: int, bit: float) -> None:
        """Let the contact of ``row`` have brought ``bit``. Key that was handed over already stays so."""
        key = self._rows["satellite"][row], self._rows["station"][row]
        self._stock_bit[key] = max(0.0, self._stock_bit[key] + bit - self._credited_bit.get(row, 0.0))
        self._credited_bit[row] = bit

    def _tell(self, kind: Literal["begins", "ends"], contact: np.void, time_s: float) -> None:
        self._events.append(
            ContactEvent(self._moment(time_s), kind, int(contact["row"]), int(contact["satellite"]), int(contact["station"]))
        )

    def _replan(self) -> None:
        """Plan everything from the time reached to the horizon, beside what is under way and what today's pointing went into."""
        now_s = self._planned_s = self._reached_s
        until_s = now_s + self._horizon_s
        self._done = self._done[(self._done["end_s"] > now_s - SECONDS_PER_DAY) & (self._done["end_s"] > self._done["start_s"])]
        open_rows = ~self._blocked & (self._rows["start_s"] >= now_s - SECONDS_PER_DAY) & (self._rows["start_s"] < until_s)
        open_rows[list(self._credited_bit)] = False
        wanted_bit = np.asarray(self._daily.wanted_bit) * max(0.0, until_s) / SECONDS_PER_DAY - self._handed_bit
        midnight = self._start.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        self._plan = plan_contacts(
            self._rows,
            satellites=self._satellites,
            stations=self._stations,
            demands=replace(self._daily, wanted_bit=np.maximum(0.0, wanted_bit)),
            clear_probability=self._clear * open_rows,
            method=self._method,
            deadline_s=self._deadline_s,
            stock_bit=self._stock_bit,
            kept=np.concatenate([self._done, self._begun]),
            now_s=max(now_s, -LATEST_S),
            midnight_s=(midnight - self._start).total_seconds(),
        )
        contacts = self._plan.contacts
        started = np.isin(contacts["row"], np.concatenate([self._done["row"], self._begun["row"]]))
        self._ahead = contacts[~started]


def _of(rows: Rows, satellite: int | None, station: int | None) -> np.ndarray:
    """Which rows are of this satellite, of this station, or of both."""
    chosen = np.ones(rows.size, np.bool_)
    for name, number in (("satellite", satellite), ("station", station)):
        if number is not None:
            chosen &= rows[name] == number
    return chosen
