"""Clouds over ground stations as a random process correlated in time and space, and what a forecast can know of it.

Each station has a latent Gaussian process, of mean 0 and variance 1, that forgets exponentially (Ornstein-Uhlenbeck) and is correlated
between stations by an exponential of their distance; the sky is cloudy while it is below the quantile of the month's cloud fraction, so
that the fraction holds exactly. Correlations of observed cloud cover are exponentials of time and of distance (P. A. Jones, J. Appl.
Meteorol. 31, 732 (1992), who found half-lives of 5 to 40 h; abstract read); a Gaussian field cut at a threshold is the "truncated Gaussian"
of geostatistics (G. Matheron et al., SPE 16753 (1987); recalled). It leaves out the daily round of clouds, fronts that travel, thin cloud
that light gets through, and years that are cloudier than others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri, owens_t

from tiandi.constants import EARTH_MEAN_RADIUS_KM
from tiandi.errors import InputError
from tiandi.limits import require_each_within, require_within
from tiandi.physics.orbit import Station
from tiandi.planning.climates import (
    MONTHS,
    Climate,
    CloudRecord,
    climate_named,
    load_climates,
    read_climates,
    read_cloud_record,
    record_fractions,
)
from tiandi.random import twin_generator

__all__ = ["Climate", "CloudRecord", "Weather", "climate_named", "load_climates", "read_climates", "read_cloud_record", "sample_weather"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

STEP_S = 1800.0
CORRELATION_KM = 500.0
"""Distance over which the latent processes of two stations decorrelate to 1/e; assumed."""
SPIN_UP_MONTHS = 2
"""The process begins so long before the window that the window's start does not matter: it has forgotten by then."""
MARGIN = timedelta(days=1)
"""The sky is known so long before and after the window: passes at its ends reach over."""
RECORD_HOLD_S = 6 * 3600.0
LONGEST_WINDOW = timedelta(days=366 * 50)
SURE = 8.0
"""A threshold of so many standard deviations stands for never and always in forecasts."""


@dataclass(frozen=True)
class Weather:
    """The sky over ``stations`` in steps of half an hour, a bit each. Times are seconds after ``start``; a station is given by its number.

    It knows one day before and after its window. Arrays of stations and times must have shapes that fit together.
    """

    stations: tuple[str, ...]
    start: datetime
    first_s: float
    clear_bits: NDArray[np.uint8] = field(repr=False)
    clear_before: NDArray[np.uint32] = field(repr=False)
    month_start_s: FloatArray = field(repr=False)
    threshold: FloatArray = field(repr=False)
    decay_per_s: FloatArray = field(repr=False)

    @property
    def last_s(self) -> float:
        """Up to when the sky is known [s]."""
        return float(self.month_start_s[-1])

    def clear(self, station: IntArray, time_s: FloatArray) -> BoolArray:
        """Whether the sky over ``station`` is clear at ``time_s``, of their common shape. Raises InputError outside what is known."""
        step = self._steps("time_s", time_s).astype(np.int64)
        return (self.clear_bits[station, step >> 3] >> (step & 7).astype(np.uint8)) & 1 == 1

    def clear_fraction(self, station: IntArray, start_s: FloatArray, end_s: FloatArray) -> FloatArray:
        """Share of [``start_s``, ``end_s``] with a clear sky; at an empty interval 1 or 0. Raises InputError outside what is known."""
        begin, end = self._steps("start_s", start_s), self._steps("end_s", end_s)
        length = end - begin
        if (length < 0).any():
            raise InputError("end_s", float(np.asarray(end_s).flat[int(np.argmin(length))]), "must not be before start_s")
        clear_steps = self._clear_steps_until(station, end) - self._clear_steps_until(station, begin)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(length > 0.0, np.clip(clear_steps / length, 0.0, 1.0), self.clear(station, start_s))

    def forecast(self, station: IntArray, issued_s: FloatArray, time_s: FloatArray) -> FloatArray:
        """Probability of a clear sky at ``time_s`` for somebody who sees the sky until ``issued_s``; of times seen, 1 or 0.

        The exact conditional probability of the process given the sky at ``issued_s``; how long it has been so is not used, nor other
        stations. So it is calibrated, and worth as much as a forecast by persistence and climatology: weather services do better.
        """
        station, issued_s, time_s = np.broadcast_arrays(np.asarray(station), np.asarray(issued_s, float), np.asarray(time_s, float))
        seen = self._steps("issued_s", issued_s).astype(np.int64)
        asked = self._steps("time_s", time_s).astype(np.int64)
        now, then = (np.clip(self.threshold[station, self._month(step)], -SURE, SURE) for step in (seen, asked))
        memory = np.exp(self._decay(station, seen) - self._decay(station, np.maximum(asked, seen)))
        cloudy_both = both_below(now, then, memory)
        clear_now = self.clear(station, issued_s)
        cloudy_then = np.where(clear_now, (ndtr(then) - cloudy_both) / ndtr(-now), cloudy_both / ndtr(now))
        return np.where(asked <= seen, self.clear(station, time_s), np.clip(1.0 - cloudy_then, 0.0, 1.0))

    def _steps(self, field_name: str, time_s: FloatArray) -> FloatArray:
        # The last moment belongs to the last step.
        times_s = require_each_within(field_name, time_s, self.first_s, self.last_s)
        return np.minimum((times_s - self.first_s) / STEP_S, np.nextafter((self.last_s - self.first_s) / STEP_S, 0.0))

    def _clear_steps_until(self, station: IntArray, steps: FloatArray) -> FloatArray:
        whole = steps.astype(np.int64)
        byte, bit = self.clear_bits[station, whole >> 3], (whole & 7).astype(np.uint8)
        ones = np.bitwise_count(byte & ((np.uint8(1) << bit) - np.uint8(1)))
        return np.asarray(self.clear_before[station, whole >> 3] + ones + (steps - whole) * ((byte >> bit) & 1))

    def _month(self, step: IntArray) -> IntArray:
        return np.searchsorted(self.month_start_s, self.first_s + step * STEP_S, side="right") - 1

    def _decay(self, station: IntArray, step: IntArray) -> FloatArray:
        """How many times the process has forgotten to 1/e since the first month's start."""
        month, time_s = self._month(step), self.first_s + step * STEP_S
        whole = np.cumsum(self.decay_per_s * np.diff(self.month_start_s), axis=1) - self.decay_per_s * np.diff(self.month_start_s)
        return np.asarray(whole[station, month] + self.decay_per_s[station, month] * (time_s - self.month_start_s[month]))


def sample_weather(
    climates: Sequence[Climate],
    places: Sequence[Station],
    *,
    start: datetime,
    end: datetime,
    seed: int,
    record: CloudRecord | None = None,
    correlation_km: float = CORRELATION_KM,
) -> Weather:
    """Weather over ``places``, each with its climate, from ``start`` to ``end`` (UTC) and a day beyond both.

    The sky of a station at a moment depends on ``seed``, its own name and climate and the places before it in the list: neither the window
    nor places added at the end change it. Where ``record`` has a line of the last six hours for a station, the probability of cloud is the
    one recorded: certain where that is 0 or 1. Raises InputError on a window that is empty or longer than fifty years, on no places, on
    lists of different lengths, and on a record of a station that is not among the places.
    """
    _check(climates, places, start, end, record)
    require_within("correlation_km", correlation_km, 1.0, 10_000.0)
    # Months before the window let the process forget how it began; each draws from a stream of its own.
    begin, finish = start.astimezone(UTC) - MARGIN, end.astimezone(UTC) + MARGIN
    begin -= timedelta(seconds=begin.timestamp() % STEP_S)
    months = _months(begin, finish)
    month_of_year = np.array([month.month - 1 for month in months[:-1]])
    fraction = np.array([climate.cloud_fraction for climate in climates])
    decay_per_s = 1.0 / (latent_time_h(fraction, np.array([climate.persistence_h for climate in climates])) * 3600.0)
    threshold = ndtri(fraction)
    mixing = np.linalg.cholesky(np.exp(-distances_km(places) / correlation_km) + 1e-9 * np.eye(len(places)))

    state: FloatArray | None = None
    clear: list[BoolArray] = []
    for number, (first, following) in enumerate(pairwise(months)):
        month, steps = month_of_year[number], int((following - first).total_seconds() / STEP_S)
        fresh = [twin_generator(seed, "weather", place.name, f"{first:%Y-%m}").standard_normal(steps) for place in places]
        latent = np.ascontiguousarray((mixing @ np.stack(fresh)).T)
        state = _remember(latent, np.exp(-decay_per_s[:, month] * STEP_S), state)
        if number >= SPIN_UP_MONTHS:
            limits: FloatArray = np.broadcast_to(threshold[:, month], latent.shape)
            if record is not None:
                limits = _with_record(limits, record, places, first.timestamp() + STEP_S * np.arange(steps, dtype=np.float64))
            clear.append((latent >= limits).T)
    known = months[SPIN_UP_MONTHS:]
    skipped, count = (int(np.ceil((late - early).total_seconds() / STEP_S)) for early, late in ((known[0], begin), (begin, finish)))
    bits = np.packbits(np.concatenate(clear, axis=1)[:, skipped : skipped + count], axis=1, bitorder="little")
    first_s = (begin - start).total_seconds()
    edges_s = np.array([(month - start).total_seconds() for month in known])
    edges_s[-1] = first_s + count * STEP_S
    ones = np.cumsum(np.bitwise_count(bits), axis=1, dtype=np.uint32)
    return Weather(
        stations=tuple(place.name for place in places),
        start=start,
        first_s=first_s,
        clear_bits=bits,
        clear_before=np.concatenate([np.zeros((len(places), 1), np.uint32), ones[:, :-1]], axis=1),
        month_start_s=edges_s,
        threshold=threshold[:, month_of_year[SPIN_UP_MONTHS:]],
        decay_per_s=decay_per_s[:, month_of_year[SPIN_UP_MONTHS:]],
    )


def latent_time_h(cloud_fraction: FloatArray, persistence_h: FloatArray) -> FloatArray:
    """Time [h] in which the latent process must forget to 1/e for the autocorrelation of the sky to reach 1/e after ``persistence_h``.

    With the correlation r of two latent values that of the sky is (P(both cloudy) - c^2) / (c (1 - c)), which is solved for r; a fraction
    c of 0 or 1 has no autocorrelation and is taken at 0.001 from it.
    """
    share = np.clip(cloud_fraction, 1e-3, 1.0 - 1e-3)
    limit = ndtri(share)
    low, high = np.zeros_like(share), np.ones_like(share)
    for _ in range(40):
        middle = 0.5 * (low + high)
        remembers = (both_below(limit, limit, middle) - share**2) / (share * (1.0 - share)) > np.exp(-1.0)
        low, high = np.where(remembers, low, middle), np.where(remembers, middle, high)
    return np.asarray(persistence_h / -np.log(high))


def both_below(first: FloatArray, second: FloatArray, correlation: FloatArray) -> FloatArray:
    """Probability that two standard normal values of that correlation are below ``first`` and ``second``.

    By Owen's T function (D. B. Owen, Ann. Math. Stat. 27, 1075 (1956), doi 10.1214/aoms/1177728074, eq. 2.1; recalled).
    """
    # Off zero, where the formula divides; the value is continuous there.
    h, k = (np.where(np.abs(limit) < 1e-12, 1e-12, limit) for limit in (first, second))
    spread = np.sqrt((1.0 - np.minimum(correlation, 1.0 - 1e-14)) * (1.0 + correlation))
    apart = np.where(h * k > 0.0, 0.0, 0.5)
    parts = owens_t(h, (k - correlation * h) / (h * spread)) + owens_t(k, (h - correlation * k) / (k * spread))
    return np.asarray(np.clip(0.5 * (ndtr(h) + ndtr(k)) - parts - apart, 0.0, 1.0))


def distances_km(places: Sequence[Station]) -> FloatArray:
    """Great-circle distances [km] between the places, shape (n, n), on a sphere (haversine formula)."""
    latitude_rad, longitude_rad = (np.radians([getattr(place, name) for place in places]) for name in ("latitude_deg", "longitude_deg"))
    across = np.sin(0.5 * (longitude_rad[:, None] - longitude_rad)) ** 2
    haversine = np.sin(0.5 * (latitude_rad[:, None] - latitude_rad)) ** 2 + np.cos(latitude_rad[:, None]) * np.cos(latitude_rad) * across
    return np.asarray(2.0 * EARTH_MEAN_RADIUS_KM * np.arcsin(np.sqrt(np.clip(haversine, 0.0, 1.0))))


def _remember(latent: FloatArray, memory: FloatArray, state: FloatArray | None) -> FloatArray:
    """Turn fresh normal values, shape (steps, stations), into the process that goes on from ``state``, in place; returns its last state."""
    renewal = np.sqrt(1.0 - memory**2)
    for number in range(latent.shape[0]):
        if state is not None:
            latent[number] *= renewal
            latent[number] += memory * state
        state = latent[number]
    return latent[-1].copy()


def _with_record(limits: FloatArray, record: CloudRecord, places: Sequence[Station], moments_s: FloatArray) -> FloatArray:
    """The thresholds, shape (steps, stations), with those of the recorded cloud fractions where there are any."""
    limits = limits.copy()
    for number, place in enumerate(places):
        if place.name in record.time_s:
            recorded = record_fractions(record, place.name, moments_s, RECORD_HOLD_S)
            limits[:, number] = np.where(np.isnan(recorded), limits[:, number], ndtri(recorded))
    return limits


def _months(begin: datetime, finish: datetime) -> list[datetime]:
    """Starts of the months from before ``begin``, with those of the spin-up, to the first at or after ``finish``."""
    number = begin.year * MONTHS + begin.month - 1 - SPIN_UP_MONTHS
    months = [datetime(number // MONTHS, number % MONTHS + 1, 1, tzinfo=UTC)]
    while months[-1] < finish:
        number += 1
        months.append(datetime(number // MONTHS, number % MONTHS + 1, 1, tzinfo=UTC))
    return months


def _check(climates: Sequence[Climate], places: Sequence[Station], start: datetime, end: datetime, record: CloudRecord | None) -> None:
    if not start < end <= start + LONGEST_WINDOW:
        raise InputError("to", end.isoformat(), f"must be later than from = {start.isoformat()}, by at most {LONGEST_WINDOW.days} days")
    if not places or len(climates) != len(places):
        raise InputError("climates", len(climates), f"must be one for each place, and at least one; there are {len(places)} places")
    names = [place.name for place in places]
    for station in record.stations if record else ():
        if station not in names:
            raise InputError("record", station, f"must be one of the stations {', '.join(names)}")
