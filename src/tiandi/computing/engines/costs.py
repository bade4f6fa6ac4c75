"""What a circuit would cost each engine: operations, memory, and time on one core.

The times per operation were measured on one core of a server of 2023 (AMD EPYC, Zen 4, 2.6 GHz); elsewhere they are a guide.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import expm1

import numpy as np

from tiandi.computing.circuits.noise import Measurement, Reset
from tiandi.computing.engines import density_matrix, matrix_product_state, trajectories
from tiandi.computing.engines.channels import outcome_probabilities
from tiandi.computing.engines.preparing import Block, Prepared, fuse

PASS_S = 1.3e-9
"""To load and store an amplitude."""
ROW_S = 1.2e-10
"""For an amplitude and a row of the matrix multiplied on it: 8 operations."""
BLOCK_S = 3e-5
"""To begin a pass."""
HISTORY_S = 2e-4
"""To draw, sort and read one history of its own."""
FLOP_A_ROW = 8
FACTORISATION_FLOP = 1000
"""To factorise the pair of tensors about a bond, over the cube of the bond."""
FACTORISATION_FLOP_PER_S = 5e9
CALL_S = 1e-4
"""To begin a contraction and a factorisation."""
CONTRACTION_FLOP_PER_S = 1e10
"""What NumPy's matrix products reach in contractions."""
SINGLE_BYTE, DOUBLE_BYTE = 8, 16
KEPT_STATES = 6
"""States that a walk through the tree of histories keeps, at most in all that we have seen."""


@dataclass(frozen=True)
class Estimate:
    """One engine's cost: real operations, bytes, seconds on one core."""

    flop: float
    memory_byte: float
    seconds: float

    def scaled(self, runs: float) -> Estimate:
        """The cost of ``runs`` of it one after the other."""
        return Estimate(self.flop * runs, self.memory_byte, self.seconds * runs)


def _passes(blocks: Iterable[Block], bits: int, copies: int) -> Estimate:
    """One pass for each block over 2**bits amplitudes; a block's matrix has 2**(copies * qubits) rows."""
    amplitudes = 2.0**bits
    rows = [2.0 ** (copies * len(block.qubits)) for block in blocks]
    seconds = sum(BLOCK_S + amplitudes * (PASS_S + ROW_S * row) for row in rows)
    return Estimate(FLOP_A_ROW * amplitudes * sum(rows), 0, seconds)


def state_vector_cost(prepared: Prepared, shots: int) -> Estimate:
    """One evolution, then samples of its last state."""
    one = _passes(fuse(prepared.body, trajectories.FUSED), prepared.qubit_count, 1)
    return Estimate(one.flop, SINGLE_BYTE * 2.0**prepared.qubit_count, one.seconds + shots * 2e-7)


def density_matrix_cost(prepared: Prepared, shots: int) -> Estimate:
    """One evolution in double precision; each measurement inside the circuit may double the branches."""
    one = _passes(fuse(prepared.body, density_matrix.FUSED), 2 * prepared.qubit_count, 2)
    branches = min(2.0 ** len(prepared.body_columns), shots)
    scaled = one.scaled(2 * branches)
    return Estimate(scaled.flop, DOUBLE_BYTE * 4.0**prepared.qubit_count * (2 + len(prepared.body_columns)), scaled.seconds + shots * 1e-6)


def distinct_histories(prepared: Prepared, shots: int) -> float:
    """How many whole evolutions the tree of ``shots`` histories takes, if noise strikes evenly along the circuit.

    With on average s strikes a shot, a shot shares with the undisturbed one what comes before its first strike: the mean of what is left
    is 1 - (1 - exp(-s)) / s.
    """
    strikes = 0.0
    looks = 0
    for step in prepared.body:
        if isinstance(step, Measurement | Reset):
            looks += 1
        else:
            strikes += float(outcome_probabilities(step)[1:].sum())
    share = 1 + expm1(-strikes) / strikes if strikes > 1e-9 else 0.0
    return 1 + min(shots * share + 2.0 ** min(looks, 60), shots)


def trajectories_cost(prepared: Prepared, shots: int) -> Estimate:
    """As many evolutions as there are distinct histories."""
    one = _passes(fuse(prepared.body, trajectories.FUSED), prepared.qubit_count, 1)
    runs = distinct_histories(prepared, shots)
    return Estimate(one.flop * runs, SINGLE_BYTE * 2.0**prepared.qubit_count * KEPT_STATES, (one.seconds + HISTORY_S) * runs)


def matrix_product_state_cost(prepared: Prepared, shots: int) -> tuple[Estimate, float]:
    """The cost, and the widest bond that the gates can make (not cut at what the engine allows)."""
    places = matrix_product_state.line_up(prepared)
    bits = matrix_product_state.bond_bits(prepared, places)
    widest = 2.0 ** float(bits.max(initial=0.0))
    bond = np.minimum(2.0**bits, matrix_product_state.MOST_BOND)
    flop = 0.0
    calls = 0
    for block in fuse(prepared.body, matrix_product_state.FUSED):
        first, last = int(places[list(block.qubits)].min()), int(places[list(block.qubits)].max())
        # Each partner on the way is swapped with, there and back.
        flop += FACTORISATION_FLOP * float((2 * bond[first:last] ** 3).sum())
        calls += 2 * (last - first) + 1
    runs = distinct_histories(prepared, shots)
    size = float((bond**2).sum() + prepared.qubit_count)
    seconds = runs * (flop / FACTORISATION_FLOP_PER_S + calls * CALL_S) + shots * size * 32 / CONTRACTION_FLOP_PER_S
    return Estimate(flop * runs, DOUBLE_BYTE * 2 * size * KEPT_STATES, seconds), widest


def stabilizer_cost(prepared: Prepared, shots: int) -> Estimate:
    """Frames of stim: about a bit operation a step and shot, and the results."""
    steps = len(prepared.body) + len(prepared.final_qubits)
    measured = len(prepared.measurements)
    return Estimate(float(steps * shots), float(shots * measured + prepared.qubit_count**2), 5e-3 + 2e-5 * steps + 2e-10 * steps * shots)
