"""Which pulses click: the one hot loop behind every sample of events."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tiandi.compiling import kernel

GUIDE_SIZE = 64
"""Into how many parts the guide to the kinds divides [0, 1): a kind is found in little more than one look."""


@dataclass(frozen=True)
class AfterPulsing:
    """Carriers that stay trapped after a click and start another.

    A click leaves, with ``probability``, one carrier that is still trapped when the dead time ends; it is released after an exponential
    time of mean ``lifetime_pulses``, and lost when the detectors are dead at that moment. ``settings`` (steps, settings) are
    the probabilities of what was sent in a gate in which no light clicked: an after-pulse knows nothing of it.
    """

    probability: float
    lifetime_pulses: float
    settings: NDArray[np.float64]


@dataclass(frozen=True)
class Clicks:
    """Clicks in order of time: ``slots`` (n,), ``kinds`` (n,).

    A kind at or above the number of kinds of light is an after-pulse; what is above says which setting was sent. ``after_pulses`` (m,) are
    the indices of these clicks and ``roots`` (m,) the indices of the clicks by light or noise that they descend from.
    """

    slots: NDArray[np.int64]
    kinds: NDArray[np.uint8]
    after_pulses: NDArray[np.int64]
    roots: NDArray[np.int64]


def sample_clicks(
    events: NDArray[np.float64],
    pulses: NDArray[np.int64],
    dead_pulses: int,
    generator: np.random.Generator,
    after_pulsing: AfterPulsing | None = None,
) -> Clicks:
    """Every click when step t sends ``pulses[t]`` pulses, each clicking in kind j with probability ``events[t, j]`` (steps, kinds).

    After a click ``dead_pulses`` pulses pass unseen. The gap to the next click is geometric, so the work grows with the clicks
    and not with the pulses. The sample is exact in distribution, after-pulses of after-pulses included.
    """
    total = np.minimum(events.sum(axis=1), 1.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        cumulative = np.where(total[:, None] > 0, np.cumsum(events, axis=1) / total[:, None], 1.0)
        scale = np.where(total > 0, -1.0 / np.log1p(-total), np.inf)
    probability, lifetime, settings = 0.0, 1.0, np.ones((pulses.size, 1))
    if after_pulsing is not None and after_pulsing.probability > 0.0:
        probability, lifetime, settings = (
            after_pulsing.probability,
            after_pulsing.lifetime_pulses,
            np.cumsum(after_pulsing.settings, axis=1),
        )
    mean = float(np.sum(pulses * total / (1.0 + dead_pulses * total))) / (1.0 - probability)
    capacity = int(mean + 8.0 * np.sqrt(mean) + 64)
    while True:
        bit_generator_state = generator.bit_generator.state
        slots, kinds = np.empty(capacity, np.int64), np.empty(capacity, np.uint8)
        children, roots = np.empty((2, int(capacity * min(1.0, 2.0 * probability)) + 64), np.int64)
        count, born = _walk(
            cumulative, scale, pulses, dead_pulses, settings, probability, lifetime, generator, slots, kinds, children, roots
        )
        if count <= slots.size and born <= roots.size:
            return Clicks(slots[:count], kinds[:count], children[:born], roots[:born])
        generator.bit_generator.state = bit_generator_state
        capacity *= 2


@kernel
def _draw(generator, cumulative, guide):  # type: ignore[no-untyped-def]
    draw = generator.random()
    kind = guide[int(draw * GUIDE_SIZE)]
    while draw >= cumulative[kind] and kind < cumulative.size - 1:
        kind += 1
    return kind


@kernel
def _fill_guide(guide, cumulative):  # type: ignore[no-untyped-def]
    """First kind that a draw in each part of [0, 1) can be."""
    kind = 0
    for part in range(GUIDE_SIZE):
        while cumulative[kind] * GUIDE_SIZE <= part and kind < cumulative.size - 1:
            kind += 1
        guide[part] = kind


@kernel
def _walk(  # type: ignore[no-untyped-def]
    cumulative, scale, pulses, dead_pulses, settings, probability, lifetime, generator, slots, kinds, children, roots
):
    """Fill the arrays; returns the numbers of clicks and of after-pulses, one more than there is room for when there is none."""
    light_kinds = cumulative.shape[1]
    guide, setting_guide = np.empty(GUIDE_SIZE, np.int64), np.empty(GUIDE_SIZE, np.int64)
    traps = np.empty(16, np.int64)
    filled = count = born = np.int64(0)
    until_filled = _clicks_until_filled(generator, probability)
    step_start = position = np.int64(0)
    for step in range(pulses.size):
        step_end = step_start + pulses[step]
        position = max(position, step_start)
        _fill_guide(guide, cumulative[step])
        if probability > 0.0:
            _fill_guide(setting_guide, settings[step])
        while position < step_end:
            ahead = step_end - position
            gap = generator.standard_exponential() * scale[step]
            is_light, root, blind = True, count, float(dead_pulses)
            if filled > 0:
                release = generator.standard_exponential() * lifetime / filled
                if release < ahead and np.int64(release) <= min(gap, ahead):
                    # In one and the same gate either click is kept at random.
                    same = gap < ahead and np.int64(release) == np.int64(gap)
                    is_light = same and generator.random() < 0.5
                    gap = release
                    blind += 1.0 - release % 1.0
                    root = _empty_one(generator, traps, filled)
                    filled -= 1
            if gap >= ahead:
                break
            if count == slots.size or born == roots.size:
                return slots.size + 1, born
            position += np.int64(gap)
            if is_light:
                root = count
                kinds[count] = _draw(generator, cumulative[step], guide)
            else:
                kinds[count] = light_kinds + _draw(generator, settings[step], setting_guide)
                children[born], roots[born] = count, root
                born += 1
            slots[count] = position
            count += 1
            position += 1 + dead_pulses
            if filled > 0:
                filled = _keep_some(generator, traps, filled, np.exp(-blind / lifetime))
            until_filled -= 1
            if until_filled == 0:
                if filled == traps.size:
                    traps = np.concatenate((traps, traps))
                traps[filled] = root
                filled += 1
                until_filled = _clicks_until_filled(generator, probability)
        step_start = step_end
    return count, born


@kernel
def _clicks_until_filled(generator, probability):  # type: ignore[no-untyped-def]
    """Number of the next click that leaves a carrier trapped; 0, which is never reached, when none does."""
    if probability <= 0.0:
        return np.int64(0)
    return np.int64(generator.standard_exponential() / -np.log1p(-probability)) + 1


@kernel
def _empty_one(generator, traps, filled):  # type: ignore[no-untyped-def]
    """Empty any one of the ``filled`` traps with equal chance; returns the root of the click that had filled it."""
    chosen = min(int(generator.random() * filled), filled - 1)
    root = traps[chosen]
    traps[chosen] = traps[filled - 1]
    return root


@kernel
def _keep_some(generator, traps, filled, probability):  # type: ignore[no-untyped-def]
    """Keep each filled trap with ``probability``; returns how many stay."""
    kept = np.int64(0)
    for trap in range(filled):
        if generator.random() < probability:
            traps[kept] = traps[trap]
            kept += 1
    return kept
