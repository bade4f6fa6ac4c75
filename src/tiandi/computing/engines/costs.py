"""What a circuit would cost each engine: operations, memory, and time on one core.

The times per operation were measured on one core of a server of 2023 (AMD EPYC, Zen 4, 2.6 GHz); elsewhere they are a guide.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import ceil, expm1

import numpy as np

from tiandi.computing.engines import density_matrix, matrix_product_state, state_vector, trajectories
from tiandi.computing.engines.amplitudes import LEAST_BITS, state_byte
from tiandi.computing.engines.preparing import Block, Prepared, fuse

PASS_S = 3e-10
"""To load and store an amplitude: less in the processor's cache, twice that beyond it."""
ROW_S = 1e-10
"""For an amplitude and a row of the matrix multiplied on it: 8 operations in single precision."""
DOUBLE_TIMES = 2.4
"""How much longer double precision takes."""
BLOCK_S = 1.3e-5
"""To begin a pass."""
HISTORY_S = 3e-4
"""To draw, sort and read one history of its own."""
STEP_S = 5e-5
"""To make the matrix of a step with noise, once."""
FLOP_A_ROW = 8
FACTORISATION_FLOP = 1000
"""To factorise the pair of tensors about a bond, over the cube of the bond."""
FACTORISATION_FLOP_PER_S = 5e9
CALL_S = 1e-4
"""To begin a contraction and a factorisation."""
CONTRACTION_FLOP_PER_S = 1e10
"""What NumPy's matrix products reach in contractions."""
DRAWS_A_SHOT = 1.3
"""Contractions of a tensor network for a sample of a deep circuit: its weights scatter by 2**-4, the envelope lies 3.5 times that above."""


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
    amplitudes = 2.0 ** max(bits, LEAST_BITS)
    rows = [2.0 ** (copies * len(block.qubits)) for block in blocks]
    seconds = sum(BLOCK_S + amplitudes * (PASS_S + ROW_S * row) for row in rows)
    return Estimate(FLOP_A_ROW * amplitudes * sum(rows), 0, seconds)


def state_vector_cost(prepared: Prepared, shots: int) -> Estimate:
    """One evolution, then samples of its last state."""
    one = _passes(fuse(prepared.body, state_vector.FUSED), prepared.qubit_count, 1)
    return Estimate(one.flop, state_byte(prepared.qubit_count), one.seconds + shots * 2e-7)


def density_matrix_cost(prepared: Prepared, shots: int) -> Estimate:
    """One evolution in double precision; each measurement inside the circuit may double the branches."""
    one = _passes(fuse(prepared.body, density_matrix.FUSED), 2 * prepared.qubit_count, 2)
    branches = min(2.0 ** len(prepared.body_columns), shots)
    scaled = one.scaled(DOUBLE_TIMES * branches)
    memory_byte = state_byte(2 * prepared.qubit_count, np.float64) * (2 + len(prepared.body_columns))
    return Estimate(scaled.flop, memory_byte, STEP_S * len(prepared.body) + scaled.seconds + shots * 1e-6)


def distinct_histories(prepared: Prepared, shots: int) -> float:
    """How many whole evolutions the tree of ``shots`` histories takes, if noise strikes evenly along the circuit.

    With on average s strikes a shot, a shot shares with the undisturbed one what comes before its first strike: the mean of what is left
    is 1 - (1 - exp(-s)) / s.
    """
    strikes, looks = trajectories.strikes_a_shot(prepared)
    share = 1 + expm1(-strikes) / strikes if strikes > 1e-9 else 0.0
    return 1 + min(shots * share + 2.0 ** min(looks, 60), shots)


def trajectories_cost(prepared: Prepared, shots: int, allowed_byte: float) -> Estimate:
    """As many evolutions as there are distinct histories, in as many trees as memory asks for."""
    one = _passes(fuse(prepared.body, trajectories.FUSED), prepared.qubit_count, 1)
    at_once, memory_byte = trajectories.shots_at_once(prepared, shots, state_byte(prepared.qubit_count), allowed_byte)
    runs = distinct_histories(prepared, min(shots, at_once)) * ceil(shots / at_once)
    return Estimate(
        one.flop * runs, memory_byte + shots * len(prepared.measurements), STEP_S * len(prepared.body) + (one.seconds + HISTORY_S) * runs
    )


def matrix_product_state_cost(prepared: Prepared, shots: int, allowed_byte: float) -> tuple[Estimate, float]:
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
    chain_byte = matrix_product_state.state_byte(prepared, places)
    at_once, memory_byte = trajectories.shots_at_once(prepared, shots, chain_byte, allowed_byte)
    runs = distinct_histories(prepared, min(shots, at_once)) * ceil(shots / at_once)
    seconds = runs * (flop / FACTORISATION_FLOP_PER_S + calls * CALL_S) + shots * chain_byte / CONTRACTION_FLOP_PER_S
    return Estimate(flop * runs, memory_byte + shots * len(prepared.measurements), seconds), widest


def stabilizer_cost(prepared: Prepared, shots: int) -> Estimate:
    """Frames of stim: about a bit operation a step and shot, and the results."""
    steps = len(prepared.body) + len(prepared.final_qubits)
    measured = len(prepared.measurements)
    return Estimate(float(steps * shots), float(shots * measured + prepared.qubit_count**2), 5e-3 + 2e-5 * steps + 2e-10 * steps * shots)
