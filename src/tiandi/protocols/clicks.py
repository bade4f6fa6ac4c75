"""Which pulses click: the one hot loop behind every sample of events."""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray


def sample_clicks(
    events: NDArray[np.float64], pulses: NDArray[np.int64], dead_pulses: int, generator: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """Slot and kind of every click: step t sends ``pulses[t]`` pulses, each of kind j with probability ``events[t, j]``.

    After a click ``dead_pulses`` pulses pass unseen. The gap to the next click is geometric, so the work grows with the clicks
    and not with the pulses. Returns arrays of shape (n,).
    """
    total = events.sum(axis=1)
    mean = float(np.sum(pulses * total / (1.0 + dead_pulses * total)))
    capacity = int(mean + 8.0 * np.sqrt(mean) + 64)
    with np.errstate(divide="ignore", invalid="ignore"):
        cumulative = np.where(total[:, None] > 0, np.cumsum(events, axis=1) / total[:, None], 1.0)
        scale = np.where(total > 0, -1.0 / np.log1p(-total), np.inf)
    while True:
        bit_generator_state = generator.bit_generator.state
        slots = np.empty(capacity, np.int64)
        kinds = np.empty(capacity, np.uint8)
        count = _walk(cumulative, scale, pulses, dead_pulses, generator, slots, kinds)
        if count <= capacity:
            return slots[:count], kinds[:count]
        generator.bit_generator.state = bit_generator_state
        capacity *= 2


@numba.njit(cache=True, nogil=True)
def _walk(cumulative, scale, pulses, dead_pulses, generator, slots, kinds):  # type: ignore[no-untyped-def]
    """Fill ``slots`` and ``kinds``; returns the number of clicks, or one more than there is room for."""
    count = 0
    step_start = np.int64(0)
    position = np.int64(0)
    for step in range(pulses.size):
        step_end = step_start + pulses[step]
        position = max(position, step_start)
        while position < step_end:
            gap = generator.standard_exponential() * scale[step]
            if gap >= step_end - position:
                break
            position += np.int64(gap)
            if count == slots.size:
                return count + 1
            draw = generator.random()
            kind = 0
            while draw >= cumulative[step, kind] and kind < cumulative.shape[1] - 1:
                kind += 1
            slots[count] = position
            kinds[count] = kind
            count += 1
            position += 1 + dead_pulses
        step_start = step_end
    return count
