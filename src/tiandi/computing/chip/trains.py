"""Trains: moments of a table in an order of their own for each target and point. Each row's map is made once for an entry, then followed.

Within a train a qubit hears the strongest tone of its own target's lines alone, the neighbours' excitation is that of the train's
begin, and what a flux pulse leaves behind ends with its row.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tiandi.compiling import kernel
from tiandi.computing.chip.ensemble import Ensemble
from tiandi.computing.chip.evolution.batches import on_all_cores
from tiandi.computing.chip.parameters import FloatArray, IntArray

LARGEST_MAPS = 200_000
"""Maps kept at once, 648 bytes each."""


@dataclass(frozen=True, eq=False)
class Row:
    """One moment of a table for a share of the entries; G entries, W points or one for all."""

    maps: FloatArray
    """(G, W, 9, 9): in the frame and at the phase of the row's tone."""
    phase_rad: FloatArray
    """(G, W): of the tone."""
    away_rad_ns: FloatArray
    """(G, W): the tone's frequency minus the entry's, in rad/ns; 0 without a tone."""
    span_ns: FloatArray
    """(G, W): how long the tone's frame holds."""
    length_ns: FloatArray
    """(G, W)."""
    virtual_rad: FloatArray
    """(G, W): by how much later pulses are turned."""

    def numbers(self) -> tuple[FloatArray, ...]:
        """What the loop takes beside the maps."""
        return self.phase_rad, self.away_rad_ns, self.span_ns, self.length_ns, self.virtual_rad


@kernel
def _follow(begin, end, vectors, maps, order, order_of, numbers, clock, rate, final):  # type: ignore[no-untyped-def]  # noqa: PLR0917
    """``numbers`` (G, W, R, 5): phase, away, span, length, virtual turn. ``final`` (G, P, 2): length and virtual turn of the whole."""
    points, nodes = vectors.shape[1], vectors.shape[2]
    width, length = maps.shape[1], order.shape[2]
    state = np.zeros(9)
    for cell in range(begin, end):
        entry, point = cell // points, cell % points
        column, place_of = point if width > 1 else 0, point if numbers.shape[1] > 1 else 0
        for node in range(nodes):
            for place in range(9):
                state[place] = vectors[entry, point, node, place]
            held, virtual, time, quiet = 0.0, 0.0, 0.0, 0.0
            for number in range(length):
                row = order[order_of[entry], point, number]
                if row < 0:
                    continue
                phase, away, span = numbers[entry, place_of, row, 0], numbers[entry, place_of, row, 1], numbers[entry, place_of, row, 2]
                wanted = phase + virtual - away * (clock[entry, point] + time) if span > 0 else held
                angle = wanted - held + rate[entry, point, node] * quiet
                quiet = 0.0
                if abs(angle) > 1e-9:
                    c, s = np.cos(angle), np.sin(angle)
                    c2, s2 = c * c - s * s, 2 * c * s
                    state[3], state[4] = state[3] * c - state[4] * s, state[3] * s + state[4] * c
                    state[5], state[6] = state[5] * c2 - state[6] * s2, state[5] * s2 + state[6] * c2
                    state[7], state[8] = state[7] * c - state[8] * s, state[7] * s + state[8] * c
                held = wanted - away * span
                step = maps[entry, column, row]
                a0, a1, a2, a3, a4, a5, a6, a7, a8 = (
                    state[0], state[1], state[2], state[3], state[4], state[5], state[6], state[7], state[8]
                )  # fmt: skip
                for place in range(9):
                    state[place] = (
                        step[place, 0] * a0 + step[place, 1] * a1 + step[place, 2] * a2
                        + step[place, 3] * a3 + step[place, 4] * a4 + step[place, 5] * a5
                        + step[place, 6] * a6 + step[place, 7] * a7 + step[place, 8] * a8
                    )  # fmt: skip
                duration = numbers[entry, place_of, row, 3]
                time += duration
                quiet += duration
                virtual += numbers[entry, place_of, row, 4]
            angle = rate[entry, point, node] * quiet - held
            c, s = np.cos(angle), np.sin(angle)
            c2, s2 = c * c - s * s, 2 * c * s
            state[3], state[4] = state[3] * c - state[4] * s, state[3] * s + state[4] * c
            state[5], state[6] = state[5] * c2 - state[6] * s2, state[5] * s2 + state[6] * c2
            state[7], state[8] = state[7] * c - state[8] * s, state[7] * s + state[8] * c
            for place in range(9):
                vectors[entry, point, node, place] = state[place]
            final[entry, point, 0], final[entry, point, 1] = time, virtual


def follow(
    ensemble: Ensemble, entries: IntArray, rows: list[Row], order: np.ndarray, *, clock_ns: FloatArray, rate_rad_ns: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Play a train on ``entries`` (G,); returns its length [ns] and virtual turn [rad] for each of them and each point, (G, P).

    ``order`` (1 or T, P, length); ``clock_ns`` (G, P) when it begins; ``rate_rad_ns`` (G, P, N): slow noise and neighbours' shift.
    """
    width = max(row.maps.shape[1] for row in rows)
    wide = max(part.shape[1] for row in rows for part in row.numbers())
    maps = np.ascontiguousarray(np.stack([np.broadcast_to(row.maps, (len(entries), width, 9, 9)) for row in rows], axis=2))
    numbers = np.stack(
        [np.stack([np.broadcast_to(part, (len(entries), wide)) for part in row.numbers()], axis=-1) for row in rows],
        axis=2,
    )
    vectors = np.ascontiguousarray(ensemble.vectors[entries])
    points = vectors.shape[1]
    final = np.zeros((len(entries), points, 2))
    order_of = ensemble.target[entries] if order.shape[0] > 1 else np.zeros(len(entries), np.int64)
    on_all_cores(
        _follow,
        len(entries) * points,
        vectors,
        maps,
        np.ascontiguousarray(order, np.int64),
        np.ascontiguousarray(order_of, np.int64),
        np.ascontiguousarray(numbers),
        np.ascontiguousarray(np.broadcast_to(clock_ns, (len(entries), points))),
        np.ascontiguousarray(np.broadcast_to(rate_rad_ns, vectors.shape[:3])),
        final,
    )
    ensemble.vectors[entries] = vectors
    return final[..., 0], final[..., 1]
