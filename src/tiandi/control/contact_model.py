"""What a contact plan chooses from, what limits it, and whom its key serves: satellites, stations, pairs that want key, parts of passes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tiandi.constants import SECONDS_PER_DAY
from tiandi.errors import InputError
from tiandi.limits import require_each_within, require_within

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]
Rows = NDArray[np.void]

ROW_FIELDS = ("satellite", "station", "start_s", "end_s", "culmination_s", "closest_km", "secret_bit")
"""What the rows of passes to choose from must have: numbers, times [s] after the start of the plan's time, range [km] and key [bit]."""

CONTACT = np.dtype(
    [
        ("row", np.int64),
        ("satellite", np.int64),
        ("station", np.int64),
        ("start_s", np.float64),
        ("end_s", np.float64),
        ("expected_bit", np.float64),
    ]
)
"""A pass, by the number of its row, or a part of one, in which the satellite serves the station; the key is what clouds leave of it."""

LATEST_S = 1e10
MOST_DAYS = 1_000_000
MOST_BIT = 1e18
FLUCTUATION_BIT = 40_000.0
"""What fluctuation takes of a pass, squared, over the key that it would prove without [bit]; computed: for the passes of 20 kbit to 5 Mbit
of all low satellites with a data sheet it is 30,000 to 60,000, as their blocks halved show."""
SURPLUS_SHARE = 0.1
"""Worth of a bit for a pair that already has what it wants, over one that it wants [assumed]."""
STORED_SHARE = 0.01
"""Worth of a bit that stays aboard because its pair's other station has none yet, over one that is wanted [assumed]."""


@dataclass(frozen=True)
class SatelliteLimits:
    """Of each satellite, shape (satellites,): most pointing [s] in a day of UTC, slew [s] between stations, stations served at a time.

    ``speed_km_s`` is that of the satellite past the station; it says how much of a pass's key falls near its culmination. Scalars beside
    arrays hold for all. Raises InputError.
    """

    contact_limit_s: ArrayLike
    slew_s: ArrayLike = 60.0
    telescopes: ArrayLike = 1
    speed_km_s: ArrayLike = 7.5

    def __post_init__(self) -> None:
        _check_columns(
            self,
            "satellites",
            {"contact_limit_s": (0.0, SECONDS_PER_DAY), "slew_s": (0.0, 3600.0), "telescopes": (1, 64), "speed_km_s": (0.0, 12.0)},
        )


@dataclass(frozen=True)
class StationLimits:
    """Of each station, shape (stations,): satellites served at a time, and slew [s] between them. Raises InputError."""

    telescopes: ArrayLike
    slew_s: ArrayLike = 60.0

    def __post_init__(self) -> None:
        _check_columns(self, "stations", {"telescopes": (1, 64), "slew_s": (0.0, 3600.0)})


@dataclass(frozen=True)
class PairDemands:
    """Pairs of stations, shape (pairs, 2), that want ``wanted_bit`` of key, shape (pairs,), in the plan's time; a bit is worth ``weight``.

    What a satellite shares with both stations of a pair becomes key of the pair, bit for bit, by the XOR that it sends down. Of that worth,
    a bit beyond what is wanted has `SURPLUS_SHARE`, a bit that waits aboard for its other station `STORED_SHARE`. Without any pairs a bit
    is worth 1 wherever it is shared. Raises InputError.
    """

    stations: ArrayLike
    wanted_bit: ArrayLike
    weight: ArrayLike = 1.0

    def __post_init__(self) -> None:
        pairs = _whole("demands.stations", self.stations)
        if pairs.size and (pairs.ndim != 2 or pairs.shape[1] != 2):
            raise InputError("demands.stations", pairs.shape, "must be two stations for each pair")
        pairs = pairs.reshape(-1, 2)
        object.__setattr__(self, "stations", pairs)
        same = pairs[pairs[:, 0] == pairs[:, 1]]
        if same.size:
            raise InputError("demands.stations", same[0].tolist(), "must be two different stations")
        for name, high in (("wanted_bit", MOST_BIT), ("weight", 1e6)):
            column = require_each_within(f"demands.{name}", getattr(self, name), 0.0, high)
            if column.ndim and column.shape != (len(pairs),):
                raise InputError(f"demands.{name}", column.shape, f"must be one number for each of {len(pairs)} pairs")
            object.__setattr__(self, name, np.broadcast_to(column, len(pairs)).copy())


@dataclass(frozen=True)
class Choices:
    """Everything a plan is made from. ``contacts`` of `CONTACT`, shape (n,), begins with ``kept`` ones that are promised already.

    ``stock_bit``, shape (satellites, stations), is aboard already. ``day`` numbers the satellite's day of each contact, of which it may
    point ``day_limit_s``, shape (days,). At most one contact of the same ``row`` is chosen.
    """

    contacts: Rows
    kept: int
    satellites: SatelliteLimits
    stations: StationLimits
    demands: PairDemands
    stock_bit: Floats
    day: Indices
    day_limit_s: Floats


def list_choices(
    rows: Rows,
    *,
    clear_probability: ArrayLike,
    satellites: SatelliteLimits,
    stations: StationLimits,
    demands: PairDemands | None = None,
    stock_bit: ArrayLike = 0.0,
    kept: Rows | None = None,
    now_s: float = -LATEST_S,
    parts: int = 3,
    midnight_s: float = 0.0,
) -> Choices:
    """The contacts that a plan may choose from ``rows`` of `ROW_FIELDS`: whole passes, and parts of those that stand in each other's way.

    Such a pass is broken at equal steps of time into ``parts``; any run of them may be served. A part's key follows from light that falls
    with the square of the range along a straight line past the station, and from fluctuations that weigh more on a shorter sample
    (`part_bit`). What begins before ``now_s`` is no choice. ``midnight_s`` is any midnight of UTC. Raises InputError.
    """
    require_within("parts", parts, 1, 8)
    require_within("midnight_s", midnight_s, -LATEST_S, LATEST_S)
    clear = _check_rows(rows, clear_probability, satellites, stations)
    kept = np.empty(0, CONTACT) if kept is None else kept
    demands = demands or PairDemands([], [])
    shape = np.size(satellites.contact_limit_s), np.size(stations.telescopes)
    pairs = np.asarray(demands.stations)
    require_each_within("demands.stations", pairs, 0, shape[1] - 1)
    open_rows = np.flatnonzero((rows["secret_bit"] * clear > 0.0) & ~np.isin(np.arange(rows.size), kept["row"]))
    crowded = _in_the_way(rows[open_rows], kept, satellites, stations, midnight_s)
    pieces = []
    for first in range(parts):
        for last in range(first + 1, parts + 1):
            whole = last - first == parts
            numbers = open_rows if whole else open_rows[crowded]
            pieces.append(_parts(rows, clear, numbers, satellites, (first / parts, last / parts)))
    offered = np.concatenate(pieces)
    offered = offered[(offered["start_s"] >= now_s) & (offered["expected_bit"] > 0.0)]
    # In the order of time, loops over what may stand in each other's way stay in the processor's cache.
    contacts = np.concatenate([kept, offered[np.argsort(offered["start_s"], kind="stable")]])
    days, day = np.unique(_day_number(contacts["satellite"], contacts["start_s"], midnight_s), return_inverse=True)
    # A satellite that was made to point for longer than its limit does so no more on that day.
    spent_s = np.bincount(day[: kept.size], kept["end_s"] - kept["start_s"], minlength=days.size)
    limit_s = np.maximum(np.asarray(satellites.contact_limit_s)[days // MOST_DAYS], spent_s)
    stock = np.broadcast_to(require_each_within("stock_bit", stock_bit, 0.0, MOST_BIT), shape).copy()
    return Choices(contacts, kept.size, satellites, stations, demands, stock, day.astype(np.int64), limit_s)


def part_bit(share: ArrayLike, whole_bit: ArrayLike) -> Floats:
    """Key [bit] that a part proves when ``share`` of the light of a pass of ``whole_bit`` [bit] falls into it; both shapes broadcast.

    With n detections the key is a n - b sqrt(n), as in any proof whose fluctuations grow with the root of the sample; b^2 / a is
    `FLUCTUATION_BIT`. Much is lost of a weak pass, a half of which may prove nothing. A part of a part follows the same law.
    """
    light, whole = np.asarray(share, float), np.asarray(whole_bit, float)
    lost = 0.5 * (FLUCTUATION_BIT + np.sqrt(FLUCTUATION_BIT**2 + 4.0 * FLUCTUATION_BIT * whole))
    return np.maximum(0.0, (whole + lost) * light - lost * np.sqrt(light))


def _parts(rows: Rows, clear: Floats, numbers: Indices, satellites: SatelliteLimits, ends: tuple[float, float]) -> Rows:
    """The part of each numbered row between two ``ends`` in [0, 1] of its time."""
    first, last = ends
    chosen = rows[numbers]
    duration_s = chosen["end_s"] - chosen["start_s"]
    # A speed of zero would divide zero by zero below; at a millimetre a second the light is as even as at none.
    steepness = np.maximum(np.asarray(satellites.speed_km_s)[chosen["satellite"]], 1e-6) / chosen["closest_km"]

    def light_until(part: float) -> Floats:
        return np.arctan(steepness * (chosen["start_s"] + part * duration_s - chosen["culmination_s"]))

    whole = light_until(1.0) - light_until(0.0)
    part = np.empty(numbers.size, CONTACT)
    part["row"], part["satellite"], part["station"] = numbers, chosen["satellite"], chosen["station"]
    part["start_s"] = chosen["start_s"] + first * duration_s
    part["end_s"] = chosen["end_s"] if last == 1.0 else chosen["start_s"] + last * duration_s
    share = np.clip((light_until(last) - light_until(first)) / whole, 0.0, 1.0)
    part["expected_bit"] = clear[numbers] * part_bit(share, chosen["secret_bit"])
    return part


def _in_the_way(rows: Rows, kept: Rows, satellites: SatelliteLimits, stations: StationLimits, midnight_s: float) -> NDArray[np.bool_]:
    """Which rows overlap another, slew included, at their satellite or station, or share a day in which the satellite may not serve all."""
    satellite, station, start_s, end_s = (np.concatenate([rows[name], kept[name]]) for name in ("satellite", "station", "start_s", "end_s"))
    crowded = np.zeros(start_s.size, bool)
    if not crowded.size:
        return crowded
    for resource, slew in ((satellite, satellites.slew_s), (station, stations.slew_s)):
        until_s = end_s + np.asarray(slew)[resource]
        order = np.lexsort((start_s, resource))
        # Times of one resource lie beyond all of the one before, so that one running maximum serves all.
        shift = resource[order] * (np.ptp(start_s) + 1e5)
        busy_until = np.maximum.accumulate(until_s[order] + shift)
        touches = start_s[order][1:] + shift[1:] < busy_until[:-1]
        overlaps_next = start_s[order][1:] + shift[1:] < (until_s[order] + shift)[:-1]
        crowded[order[1:]] |= touches
        crowded[order[:-1]] |= overlaps_next
    _, day = np.unique(_day_number(satellite, start_s, midnight_s), return_inverse=True)
    crowded |= np.bincount(day, end_s - start_s)[day] > np.asarray(satellites.contact_limit_s)[satellite]
    return crowded[: rows.size]


def _day_number(satellite: Indices, start_s: Floats, midnight_s: float) -> Indices:
    """A number for each satellite's day of UTC; divided by `MOST_DAYS` it is the satellite."""
    return satellite * MOST_DAYS + np.floor((start_s - midnight_s) / SECONDS_PER_DAY).astype(np.int64) + MOST_DAYS // 2


def _check_rows(rows: Rows, clear_probability: ArrayLike, satellites: SatelliteLimits, stations: StationLimits) -> Floats:
    """The probability of clear sky of each row. Raises InputError on rows that no plan can be made from."""
    missing = [name for name in ROW_FIELDS if name not in (rows.dtype.names or ())]
    if missing:
        raise InputError("rows", missing[0], f"must have the fields {', '.join(ROW_FIELDS)}")
    for name, among in (("satellite", np.size(satellites.contact_limit_s)), ("station", np.size(stations.telescopes))):
        require_each_within(f"rows.{name}", rows[name], 0, among - 1)
    for name, low, high in (("start_s", -LATEST_S, LATEST_S), ("closest_km", 1.0, 500_000.0), ("secret_bit", 0.0, MOST_BIT)):
        require_each_within(f"rows.{name}", rows[name], low, high)
    late = rows[~((rows["end_s"] > rows["start_s"]) & (rows["end_s"] <= rows["start_s"] + SECONDS_PER_DAY))]
    if late.size:
        raise InputError("rows.end_s", float(late["end_s"][0]), f"must be later than start_s = {late['start_s'][0]:g}, by a day at most")
    require_each_within("rows.culmination_s", rows["culmination_s"], -LATEST_S, LATEST_S)
    clear = require_each_within("clear_probability", clear_probability, 0.0, 1.0)
    if clear.ndim and clear.shape != rows.shape:
        raise InputError("clear_probability", clear.shape, f"must be one number for each of {rows.size} rows")
    return np.broadcast_to(clear, rows.shape)


def _check_columns(limits: SatelliteLimits | StationLimits, where: str, within: dict[str, tuple[float, float]]) -> None:
    """Make every field of ``limits`` an array of the same length. Raises InputError."""
    columns = {name: np.atleast_1d(require_each_within(f"{where}.{name}", getattr(limits, name), *ends)) for name, ends in within.items()}
    length = max(column.size for column in columns.values())
    for name, column in columns.items():
        if column.shape not in ((1,), (length,)):
            raise InputError(f"{where}.{name}", column.shape, f"must be one number for each of {length} {where}")
        whole = _whole(f"{where}.{name}", column) if name == "telescopes" else column
        object.__setattr__(limits, name, np.broadcast_to(whole, length).copy())


def _whole(field: str, values: ArrayLike) -> Indices:
    array = require_each_within(field, values, -1e9, 1e9)
    numbers = array.astype(np.int64)
    if (numbers != array).any():
        raise InputError(field, float(array[numbers != array][0]), "must be a whole number")
    return numbers
