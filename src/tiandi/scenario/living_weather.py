"""The sky over the stations of a living network: the climate's, and clouds that an operator sends from one moment to another."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields

import numpy as np
from numpy.typing import NDArray

from tiandi.constants import SECONDS_PER_DAY
from tiandi.planning.weather import BoolArray, FloatArray, IntArray, Weather

SAMPLES = 256
"""Moments at which an interval is looked at in which a cloud was sent or called back."""


@dataclass
class Clouds:
    """Clouds that were sent over stations, by number, from when to when [s]; one that is still there ends at infinity."""

    spells: list[tuple[int, float, float]] = field(default_factory=list)

    def send(self, station: int, time_s: float) -> None:
        """A cloud stands over ``station`` from now on. Those that went a day ago are forgotten: no contact is that long."""
        kept = [spell for spell in self.spells if spell[2] > time_s - SECONDS_PER_DAY]
        self.spells = [*kept, (station, time_s, math.inf)]

    def call_back(self, station: int, time_s: float) -> None:
        """The clouds that stand over ``station`` go."""
        self.spells = [
            (number, first_s, time_s if number == station and math.isinf(last_s) else last_s) for number, first_s, last_s in self.spells
        ]

    def hide(self, station: IntArray, time_s: FloatArray) -> NDArray[np.bool_]:
        """Whether there is one over ``station`` at ``time_s``, of their common shape."""
        station, time_s = np.broadcast_arrays(station, time_s)
        hidden = np.zeros(station.shape, np.bool_)
        for number, first_s, last_s in self.spells:
            hidden |= (station == number) & (first_s <= time_s) & (time_s < last_s)
        return hidden

    def touch(self, station: IntArray, start_s: FloatArray, end_s: FloatArray) -> NDArray[np.bool_]:
        """Whether there is one at any time of an interval."""
        station, start_s, end_s = np.broadcast_arrays(station, start_s, end_s)
        touched = np.zeros(station.shape, np.bool_)
        for number, first_s, last_s in self.spells:
            touched |= (station == number) & (first_s < end_s) & (start_s < last_s)
        return touched


@dataclass(frozen=True)
class ChosenWeather(Weather):
    """Weather with ``clouds`` beside those of the climate. Forecasts know of those that are there, and take it that they stay."""

    clouds: Clouds = field(default_factory=Clouds)

    @classmethod
    def over(cls, weather: Weather, clouds: Clouds) -> ChosenWeather:
        """That weather, and these clouds."""
        return cls(**{item.name: getattr(weather, item.name) for item in fields(weather)}, clouds=clouds)

    def clear(self, station: IntArray, time_s: FloatArray) -> BoolArray:
        """As `Weather.clear`."""
        return super().clear(station, time_s) & ~self.clouds.hide(station, time_s)

    def clear_fraction(self, station: IntArray, start_s: FloatArray, end_s: FloatArray) -> FloatArray:
        """As `Weather.clear_fraction`; of an interval with such a cloud good to one in `SAMPLES`."""
        fraction = np.asarray(super().clear_fraction(station, start_s, end_s))
        touched = self.clouds.touch(station, start_s, end_s)
        if not touched.any():
            return fraction
        places, begins_s, ends_s = (np.asarray(values)[..., None] for values in np.broadcast_arrays(station, start_s, end_s))
        moments_s = begins_s + (ends_s - begins_s) * (np.arange(SAMPLES) + 0.5) / SAMPLES
        return np.where(touched, self.clear(places, moments_s).mean(axis=-1), fraction)

    def forecast(self, station: IntArray, issued_s: FloatArray, time_s: FloatArray) -> FloatArray:
        """As `Weather.forecast`."""
        return np.asarray(super().forecast(station, issued_s, time_s) * ~self.clouds.hide(station, time_s))
