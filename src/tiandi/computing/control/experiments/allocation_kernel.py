"""Annealing of idle frequencies on the lattice: compiled, and repeatable, for its chances are drawn before."""

from __future__ import annotations

import numpy as np

from tiandi.compiling import kernel

# mypy: disable-error-code="no-untyped-def"


@kernel
def pair_cost(apart, anharmonicity, near):
    """Of two qubits whose frequencies are ``apart`` [MHz]; neighbours (``near``) or next-nearest. Half widths and weights: see the
    module.
    """
    apart = abs(apart)
    if not near:
        return 4.0 * (1.0 - apart / 14.0) ** 2 if apart < 14.0 else 0.0
    cost = 0.0
    if apart < 55.0:
        cost += 30.0 * (1.0 - apart / 55.0) ** 2
    double = abs(apart - anharmonicity)
    if double < 35.0:
        cost += 15.0 * (1.0 - double / 35.0) ** 2
    if apart > 330.0:
        cost += 0.0004 * (apart - 330.0) ** 2
    return cost


@kernel
def place_cost(qubit, choice, frequency, own, grid, neighbour, next_nearest, anharmonicity):  # noqa: PLR0917 - numba takes arguments by position.
    """Of a qubit at one of its choices, with all others where they are."""
    cost, here = own[qubit, choice], grid[qubit, choice]
    for place in range(neighbour.shape[1]):
        other = neighbour[qubit, place]
        if other >= 0 and frequency[other] > 0.0:
            cost += pair_cost(here - frequency[other], anharmonicity[qubit], True)
    for place in range(next_nearest.shape[1]):
        other = next_nearest[qubit, place]
        if other >= 0 and frequency[other] > 0.0:
            cost += pair_cost(here - frequency[other], anharmonicity[qubit], False)
    return cost


@kernel
def anneal(  # noqa: PLR0917 - numba takes arguments by position.
    grid, own, frequency, movable, neighbour, next_nearest, anharmonicity, proposals, chances, hot, cold
):
    """Choices (qubits,) of grid rows [MHz]; ``frequency`` (qubits,) is changed in place, NaN-free, and holds those that cannot move.

    proposals (sweeps, movable) pick choices, chances (sweeps, movable) decide; the temperature falls from ``hot`` to ``cold``
    geometrically. A last descent takes every qubit to its best choice until none moves.
    """
    choice = own[:, :].argmin(axis=1)
    for one in movable:
        frequency[one] = grid[one, choice[one]]
    sweeps = proposals.shape[0]
    for sweep in range(sweeps):
        temperature = hot * (cold / hot) ** (sweep / max(1, sweeps - 1))
        for place in range(len(movable)):
            one = movable[place]
            trial = proposals[sweep, place]
            now = place_cost(one, choice[one], frequency, own, grid, neighbour, next_nearest, anharmonicity)
            then = place_cost(one, trial, frequency, own, grid, neighbour, next_nearest, anharmonicity)
            if then < now or chances[sweep, place] < np.exp((now - then) / temperature):
                choice[one] = trial
                frequency[one] = grid[one, trial]
    for _ in range(20):
        moved = False
        for one in movable:
            best = place_cost(one, choice[one], frequency, own, grid, neighbour, next_nearest, anharmonicity)
            for trial in range(grid.shape[1]):
                cost = place_cost(one, trial, frequency, own, grid, neighbour, next_nearest, anharmonicity)
                if cost < best - 1e-12:
                    best, moved = cost, True
                    choice[one] = trial
                    frequency[one] = grid[one, trial]
        if not moved:
            break
    return choice
