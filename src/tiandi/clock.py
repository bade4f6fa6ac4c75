"""Time in UTC: reading it, writing it, counting it in Julian days, and letting it pass in a simulation."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from tiandi.constants import JULIAN_DATE_UNIX_EPOCH, SECONDS_PER_DAY
from tiandi.errors import InputError


def parse_utc(text: str, field: str = "time") -> datetime:
    """A moment from ISO 8601 text; without an offset it is UTC. Raises InputError naming ``field``."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise InputError(field, text, "write a time as 2016-12-19T16:50:00 (ISO 8601, UTC)") from None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def format_utc(moment: datetime) -> str:
    """ISO 8601 to the second, with Z."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def julian_date(moment: datetime) -> float:
    """Julian date (UTC) [day]; a double resolves about 40 microseconds."""
    return JULIAN_DATE_UNIX_EPOCH + moment.timestamp() / SECONDS_PER_DAY


def julian_dates(start: datetime, offsets_s: Sequence[float] | NDArray[np.float64]) -> NDArray[np.float64]:
    """Julian dates (UTC) [day], shape (n,), of moments ``offsets_s`` [s] after ``start``."""
    return julian_date(start) + np.asarray(offsets_s, float) / SECONDS_PER_DAY


class Clock(Protocol):
    """What tells the time to a running network."""

    def now(self) -> datetime: ...


class SimulatedClock:
    """A clock that stands still until it is moved on."""

    def __init__(self, start: datetime) -> None:
        self._now = start

    def now(self) -> datetime:
        return self._now

    def advance(self, duration_s: float) -> None:
        """Let ``duration_s`` [s] pass. Raises InputError when that is negative."""
        if duration_s < 0:
            raise InputError("duration_s", duration_s, "a clock does not run backwards")
        self._now += timedelta(seconds=duration_s)
