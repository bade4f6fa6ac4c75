"""A clock that goes faster than real time, as fast as the machine keeps up with; it can be paused and set forward."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from datetime import datetime, timedelta

from tiandi.clock import format_utc
from tiandi.errors import InputError
from tiandi.limits import require_within

LEAST_SPEED, MOST_SPEED = 0.1, 10_000.0
END_YEAR = 9000
MEASURED_OVER_S = 5.0
LEAST_SHARE = 0.01


class SpeedClock:
    """Simulated time that begins at ``start`` and goes ``wanted_speed`` times as fast as ``real`` [s], or a share of that.

    Safe for several threads. Raises InputError on a speed out of its limits.
    """

    def __init__(self, start: datetime, speed: float = 1.0, *, real: Callable[[], float] = time.monotonic) -> None:
        self._real, self._lock = real, threading.Lock()
        self._base, self._base_s = start, real()
        self.wanted_speed = _speed(speed)
        self.share = 1.0
        """Of the wanted speed, as far as the machine keeps up."""
        self.paused = False
        self._marks: deque[tuple[float, float]] = deque([(self._base_s, 0.0)], maxlen=64)
        self._gone_s = 0.0

    def now(self) -> datetime:
        """Simulated time."""
        with self._lock:
            return self._now(self._real())

    @property
    def speed(self) -> float:
        """Simulated seconds a real second now, 0 while paused."""
        return 0.0 if self.paused else self.wanted_speed * self.share

    @property
    def speed_reached(self) -> float:
        """Simulated seconds a real second over the last few seconds; what was jumped over does not count."""
        with self._lock:
            self._settle()
            now_s, gone_s = self._base_s, self._gone_s
            if now_s - self._marks[-1][0] > MEASURED_OVER_S / 16:
                self._marks.append((now_s, gone_s))
            while len(self._marks) > 2 and now_s - self._marks[1][0] > MEASURED_OVER_S:
                self._marks.popleft()
            then_s, then_gone_s = self._marks[0]
            return (gone_s - then_gone_s) / (now_s - then_s) if now_s - then_s > 1e-3 else self.speed

    def set_speed(self, speed: float) -> None:
        """Go at another speed from now on."""
        wanted = _speed(speed)
        with self._lock:
            self._settle()
            self.wanted_speed, self.share = wanted, 1.0
            self._forget()

    def keep_up(self, share: float) -> None:
        """Go at this share of the wanted speed, because the machine reaches no further, or does again."""
        with self._lock:
            self._settle()
            self.share = min(1.0, max(LEAST_SHARE, share))

    def pause(self, on: bool) -> None:
        """Stand still, or go on."""
        with self._lock:
            self._settle()
            self.paused = on
            self._forget()

    def jump(self, moment: datetime) -> None:
        """Go on from a later moment. Raises InputError for an earlier one, and for one near the end of the calendar."""
        if moment.year >= END_YEAR:
            raise InputError("jump", format_utc(moment), f"must be before the year {END_YEAR}: no time follows the last of a calendar")
        with self._lock:
            self._settle()
            if moment < self._base:
                raise InputError(
                    "jump", format_utc(moment), f"must be later than now, {format_utc(self._base)}: time does not run backwards"
                )
            self._base = moment

    def _now(self, real_s: float) -> datetime:
        return self._base + timedelta(seconds=(real_s - self._base_s) * self.speed)

    def _settle(self) -> None:
        """Begin anew from this moment, so that what changes now does not change what has been."""
        real_s = self._real()
        self._gone_s += (real_s - self._base_s) * self.speed
        self._base, self._base_s = self._now(real_s), real_s

    def _forget(self) -> None:
        self._marks.clear()
        self._marks.append((self._base_s, self._gone_s))


def _speed(speed: float) -> float:
    require_within("speed", speed, LEAST_SPEED, MOST_SPEED)
    return float(speed)
