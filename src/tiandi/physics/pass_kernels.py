"""Loops over the steps of one satellite's way, seen from one station: where it culminates, rises, sets, and comes near.

A ``way`` is (states, grid_s): the Earth-fixed position [km], velocity [km/s] and acceleration [km/s^2] at each step, shape (steps, 9), and
(moment of the first step, length of a step) [s]. Between the steps runs the polynomial of fifth degree that meets all three at both ends
(quintic Hermite). In low orbits, at 48 steps a revolution, it stays within a metre of SGP4. A ``place`` (6,) is a station: its Earth-fixed
position [km], and the unit vector up.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tiandi.compiling import kernel

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]
States = tuple[Floats, Floats]

LOW_SINE = -0.02
"""The coarse step nearest to a culmination above the horizon stands higher than this sine of elevation: -0.011 at 120 km altitude."""
PRECISION_S = 1e-4
ROUND_LIMIT = 50
ABOVE, CULMINATING, APPROACHING, WITHIN = 0, 1, 2, 3
"""Of what a zero is sought: sine of elevation less a level, its rate, the rate of the range, range less a level."""


@kernel
def look(way: States, places: Floats, station: Indices, times_s: Floats) -> tuple[Floats, Floats]:
    """Sine of the elevation and range [km] of the satellite from places[station[k]] at times_s[k, :], both of that shape."""
    sine, range_km = np.empty_like(times_s), np.empty_like(times_s)
    away, motion = np.empty(3), np.empty((3, 3))
    for row in range(times_s.shape[0]):
        place = places[station[row]]
        for column in range(times_s.shape[1]):
            _interpolate(way, times_s[row, column], motion)
            for axis in range(3):
                away[axis] = motion[0, axis] - place[axis]
            distance = np.sqrt(away[0] ** 2 + away[1] ** 2 + away[2] ** 2)
            range_km[row, column] = distance
            sine[row, column] = (place[3] * away[0] + place[4] * away[1] + place[5] * away[2]) / distance
    return sine, range_km


@kernel
def culminations(way: States, place: Floats, cutoff: float, window_s: Floats, found: Floats) -> int:
    """Write each pass above the sine ``cutoff`` that culminates in [window_s[0], window_s[1]) into a row of ``found``; returns how many.

    A row is the last step below the cut-off [s], the highest culmination [s], its sine, the first step below again [s]; ``found`` needs
    half as many rows as there are steps. Left out is what does not rise and set between the first step and the last.
    """
    states, grid_s = way
    count, last_below, best_s, best_sine = 0, -1, 0.0, -2.0
    before, here = -2.0, _sine_of_step(way, 0, place)
    for step in range(states.shape[0] - 1):
        after = _sine_of_step(way, step + 1, place)
        top_s, top_sine = 0.0, -2.0
        if step > 0 and here > before and here >= after and here > LOW_SINE:
            middle_s = grid_s[0] + step * grid_s[1]
            top_s = zero(way, place, (CULMINATING, 0.0), (middle_s, middle_s - grid_s[1], middle_s + grid_s[1]), -1.0)
            top_sine = _sine_at(way, place, top_s)
        if here > cutoff:
            if top_sine > best_sine:
                best_s, best_sine = top_s, top_sine
        else:
            ends = step
            if top_sine > cutoff:
                # It is above the cut-off between two steps only.
                last_below, ends, best_s, best_sine = step - 1, step + 1, top_s, top_sine
            if best_sine > cutoff and last_below >= 0 and window_s[0] <= best_s < window_s[1]:
                found[count, 0], found[count, 1] = grid_s[0] + last_below * grid_s[1], best_s
                found[count, 2], found[count, 3] = best_sine, grid_s[0] + ends * grid_s[1]
                count += 1
            last_below, best_sine = step, -2.0
        before, here = here, after
    return count


@kernel
def edges(way: States, places: Floats, station: Indices, cutoffs: Floats, found: Floats) -> Floats:
    """Rising [s], setting [s], time [s] of the closest approach and its range [km] of each row of `culminations`, shape (n, 4)."""
    out = np.empty((found.shape[0], 4))
    step_s = way[1][1]
    motion = np.empty((3, 3))
    for row in range(found.shape[0]):
        place, cutoff = places[station[row]], cutoffs[station[row]]
        low_s, top_s, high_s = found[row, 0], found[row, 1], found[row, 3]
        rise_s = zero(way, place, (ABOVE, cutoff), (min(low_s + 0.5 * step_s, top_s), low_s, top_s), 1.0)
        set_s = zero(way, place, (ABOVE, cutoff), (max(high_s - 0.5 * step_s, top_s), top_s, high_s), -1.0)
        near_s = zero(way, place, (APPROACHING, 0.0), (top_s, rise_s, set_s), 1.0)
        _interpolate(way, near_s, motion)
        square = 0.0
        for axis in range(3):
            square += (motion[0, axis] - place[axis]) ** 2
        out[row, 0], out[row, 1], out[row, 2], out[row, 3] = rise_s, set_s, near_s, np.sqrt(square)
    return out


@kernel
def reach(way: States, places: Floats, station: Indices, passes_s: Floats, maximum_range_km: Floats) -> Floats:
    """First and last moment [s] of each pass within ``maximum_range_km`` (n,), shape (n, 2); not a number where it never is.

    ``passes_s`` (n, 3) are its start, culmination and end [s].
    """
    out = np.full((station.size, 2), np.nan)
    for row in range(station.size):
        place, limit_km = places[station[row]], maximum_range_km[row]
        start_s, top_s, end_s = passes_s[row]
        near_s = zero(way, place, (APPROACHING, 0.0), (top_s, start_s, end_s), 1.0)
        if _range_at(way, place, near_s) > limit_km:
            continue
        out[row, 0], out[row, 1] = start_s, end_s
        if _range_at(way, place, start_s) > limit_km:
            out[row, 0] = zero(way, place, (WITHIN, limit_km), (0.5 * (start_s + near_s), start_s, near_s), -1.0)
        if _range_at(way, place, end_s) > limit_km:
            out[row, 1] = zero(way, place, (WITHIN, limit_km), (0.5 * (near_s + end_s), near_s, end_s), 1.0)
    return out


@kernel
def zero(way: States, place: Floats, aim: tuple[int, float], bracket_s: tuple[float, float, float], sign: float) -> float:
    """Where what is aimed at passes zero, by Newton's steps from a guess between two ends, halving where one leads out.

    ``aim`` is one of `ABOVE` and so on and its level; ``bracket_s`` the guess and the ends [s]. It goes from below to above zero with
    ``sign`` 1, from above to below with -1; where it does neither, the answer is an end.
    """
    motion = np.empty((3, 3))
    here_s, low_s, high_s = bracket_s
    for _ in range(ROUND_LIMIT):
        _interpolate(way, here_s, motion)
        value, rate = _value(motion, place, aim)
        if value * sign < 0.0:
            low_s = here_s
        else:
            high_s = here_s
        next_s = here_s - value / rate if rate != 0.0 else low_s - 1.0
        if not low_s <= next_s <= high_s:
            next_s = 0.5 * (low_s + high_s)
        moved_s = abs(next_s - here_s)
        here_s = next_s
        if moved_s <= PRECISION_S:
            break
    return here_s


@kernel
def _value(motion: Floats, place: Floats, aim: tuple[int, float]) -> tuple[float, float]:
    """The value that `zero` seeks the zero of, and its rate; ``motion`` holds position, velocity and acceleration in its rows."""
    what, level = aim
    square = height = climb = drift = speed = fall = pull = 0.0
    for axis in range(3):
        away = motion[0, axis] - place[axis]
        square += away * away
        drift += away * motion[1, axis]
        speed += motion[1, axis] * motion[1, axis]
        pull += away * motion[2, axis]
        height += place[3 + axis] * away
        climb += place[3 + axis] * motion[1, axis]
        fall += place[3 + axis] * motion[2, axis]
    if what == ABOVE:
        distance = np.sqrt(square)
        return height / distance - level, (climb - height * drift / square) / distance
    if what == CULMINATING:
        # The rate of the sine times the range.
        turn = climb * drift + height * (speed + pull) - 2.0 * height * drift * drift / square
        return climb - height * drift / square, fall - turn / square
    if what == APPROACHING:
        return drift, speed + pull
    distance = np.sqrt(square)
    return distance - level, drift / distance


@kernel
def _interpolate(way: States, time_s: float, motion: Floats) -> None:
    """Position, velocity and acceleration at ``time_s`` [s] into the rows of ``motion``."""
    states, grid_s = way
    step_s = grid_s[1]
    number = min(max(int((time_s - grid_s[0]) / step_s), 0), states.shape[0] - 2)
    u = (time_s - grid_s[0]) / step_s - number
    left, right = states[number], states[number + 1]
    for axis in range(3):
        # In units of steps: a + b u + c u^2 / 2 and three more terms that meet the right end.
        a, b, c = left[axis], left[3 + axis] * step_s, left[6 + axis] * step_s**2
        far = right[axis] - (a + b + 0.5 * c)
        fast = right[3 + axis] * step_s - (b + c)
        hard = right[6 + axis] * step_s**2 - c
        d = 10.0 * far - 4.0 * fast + 0.5 * hard
        e = -15.0 * far + 7.0 * fast - hard
        f = 6.0 * far - 3.0 * fast + 0.5 * hard
        motion[0, axis] = a + u * (b + u * (0.5 * c + u * (d + u * (e + u * f))))
        motion[1, axis] = (b + u * (c + u * (3.0 * d + u * (4.0 * e + u * 5.0 * f)))) / step_s
        motion[2, axis] = (c + u * (6.0 * d + u * (12.0 * e + u * 20.0 * f))) / step_s**2


@kernel
def _sine_at(way: States, place: Floats, time_s: float) -> float:
    motion = np.empty((3, 3))
    _interpolate(way, time_s, motion)
    return _value(motion, place, (ABOVE, 0.0))[0]


@kernel
def _range_at(way: States, place: Floats, time_s: float) -> float:
    motion = np.empty((3, 3))
    _interpolate(way, time_s, motion)
    return _value(motion, place, (WITHIN, 0.0))[0]


@kernel
def _sine_of_step(way: States, step: int, place: Floats) -> float:
    states = way[0]
    x, y, z = states[step, 0] - place[0], states[step, 1] - place[1], states[step, 2] - place[2]
    return (place[3] * x + place[4] * y + place[5] * z) / np.sqrt(x * x + y * y + z * z)
