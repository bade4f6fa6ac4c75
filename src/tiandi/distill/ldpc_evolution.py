"""Density evolution of the decoder in `tiandi.distill.ldpc_decoder`: how its messages spread in an endless random code.

Richardson and Urbanke 2001, doi:10.1109/18.910577, for messages of eight bits and a layered schedule. A check answers each of its bits
with the least magnitude of the others, which overstates what it knows; the evolution gives the true log-likelihood ratio of every such
least magnitude, as a table. It follows from the degrees of a code and a QBER alone: nothing is learnt from data.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

from tiandi.compiling import kernel

STEPS_PER_NAT = 3.5
"""A message of one stands for this part of a natural unit of log-likelihood ratio: finer steps, and a certain bit would look doubtful."""
LARGEST_MESSAGE = 63
LARGEST_BELIEF = 127
STEPS_PER_ITERATION = 8
"""An iteration goes through the checks in this many groups; each later group already hears what the earlier ones said."""
MAXIMUM_ITERATIONS = 60
_SETTLED = 1e-7  # So few errors are left that they die out.
_LEAST_GAIN = 0.9995  # An iteration that leaves more of the errors than this is the last.


@dataclass(frozen=True)
class Evolution:
    """How decoding goes at one QBER, step by step.

    ``prior`` is what the rarity of errors says of a bit beforehand, in steps of a message. ``tables`` (steps, kinds of checks, 64) tell the
    magnitude of a check's answer from the least magnitude it heard; ``unsatisfied`` (steps,) the share of checks whose bits, as heard,
    contradict the syndrome. ``converges`` says whether the errors die out.
    """

    prior: int
    tables: NDArray[np.int8]
    unsatisfied: NDArray[np.float64]
    converges: bool

    @property
    def iterations(self) -> float:
        """Passes over all checks that were followed."""
        return self.unsatisfied.size / STEPS_PER_ITERATION


def evolve(
    bit_degrees: NDArray[np.int64],
    bit_counts: NDArray[np.int64],
    check_degrees: NDArray[np.int64],
    check_counts: NDArray[np.int64],
    qber: float,
) -> Evolution:
    """Decoding at ``qber`` of a random code with so many bits and checks of each degree; the degrees of bits must ascend.

    Bits of one degree are taken as independent and alike, which holds for long codes without short cycles.
    """
    steps = MAXIMUM_ITERATIONS * STEPS_PER_ITERATION
    tables = np.zeros((steps, check_degrees.size, LARGEST_MESSAGE + 1), np.int8)
    unsatisfied = np.zeros(steps)
    edges = bit_degrees * bit_counts / np.sum(bit_degrees * bit_counts)
    checks = check_counts / check_counts.sum()
    check_edges = check_degrees * checks / np.sum(check_degrees * checks)
    prior = max(1, round(STEPS_PER_NAT * math.log((1.0 - qber) / qber)))
    taken, converges = _evolve(bit_degrees, edges, check_degrees, checks, check_edges, qber, prior, tables, unsatisfied)
    return Evolution(prior, tables[:taken], unsatisfied[:taken], converges)


@numba.njit(cache=True, nogil=True, fastmath=True)
def _add_message(belief, message, wide):  # type: ignore[no-untyped-def]
    """Turn the distribution of a belief (-127 ... 127) into that of its sum with a message (-63 ... 63), held at the ends of the range."""
    for i in range(wide.size):
        wide[i] = 0.0
    for j in range(message.size):
        if message[j] > 0.0:
            for i in range(belief.size):
                wide[i + j] += message[j] * belief[i]
    for i in range(belief.size):
        belief[i] = wide[LARGEST_MESSAGE + i]
    for i in range(LARGEST_MESSAGE):
        belief[0] += wide[i]
        belief[belief.size - 1] += wide[wide.size - 1 - i]


@kernel
def _hear(bit_degrees, edges, qber, prior, message, above, agreeing):  # type: ignore[no-untyped-def]
    """What a check hears along an edge when the bit's every other edge carries ``message``.

    ``above[k]`` becomes the chance of a magnitude of k or more, ``agreeing[k]`` the same with a minus where the sign is wrong.
    """
    belief = np.zeros(2 * LARGEST_BELIEF + 1)
    belief[LARGEST_BELIEF + prior], belief[LARGEST_BELIEF - prior] = 1.0 - qber, qber
    heard, wide = np.zeros(belief.size), np.empty(belief.size + message.size - 1)
    others, total = 0, 0.0
    for i in range(bit_degrees.size):
        while others < bit_degrees[i] - 1:
            _add_message(belief, message, wide)
            others += 1
        for j in range(belief.size):
            heard[j] += edges[i] * belief[j]
            total += edges[i] * belief[j]
    right, wrong = 0.0, 0.0
    for k in range(LARGEST_BELIEF, 0, -1):
        # High powers are taken of these sums: without the division rounding errors would grow from step to step.
        right += heard[LARGEST_BELIEF + k] / total
        wrong += heard[LARGEST_BELIEF - k] / total
        if k <= LARGEST_MESSAGE:
            above[k], agreeing[k] = right + wrong, right - wrong
    above[0], agreeing[0] = 1.0, agreeing[1]


@kernel
def _answer(above, agreeing, others, scale, table, answer, share):  # type: ignore[no-untyped-def]
    """Fill the ``table`` of checks that hear ``others`` bits beside the one they answer; add ``share`` of their answers to ``answer``."""
    told = 0
    for k in range(LARGEST_MESSAGE + 1):
        chance = above[k] ** others - above[k + 1] ** others
        signed = agreeing[k] ** others - agreeing[k + 1] ** others
        right, wrong = max((chance + signed) / 2, 1e-300), max((chance - signed) / 2, 1e-300)
        if k and chance > 1e-13:
            # Never less than for a smaller magnitude.
            told = min(max(int(np.rint(scale * np.log(right / wrong))), told), LARGEST_MESSAGE)
        table[k] = told
        answer[LARGEST_MESSAGE + told] += share * right
        answer[LARGEST_MESSAGE - told] += share * wrong


@kernel
def _evolve(bit_degrees, edges, check_degrees, checks, check_edges, qber, prior, tables, unsatisfied):  # type: ignore[no-untyped-def]
    """Fill ``tables`` and ``unsatisfied``; returns the steps taken and whether the errors die out."""
    recent = np.zeros((STEPS_PER_ITERATION, 2 * LARGEST_MESSAGE + 1))
    recent[:, LARGEST_MESSAGE] = 1.0
    message = np.empty(2 * LARGEST_MESSAGE + 1)
    above, agreeing = np.zeros(LARGEST_MESSAGE + 2), np.zeros(LARGEST_MESSAGE + 2)
    scale, least_error = prior / np.log((1.0 - qber) / qber), 1.0
    for step in range(unsatisfied.size):
        # The other checks of a bit spoke last at some time within the last iteration.
        for j in range(message.size):
            message[j] = 0.0
            for i in range(STEPS_PER_ITERATION):
                message[j] += recent[i, j] / STEPS_PER_ITERATION
        _hear(bit_degrees, edges, qber, prior, message, above, agreeing)
        answer = recent[step % STEPS_PER_ITERATION]
        answer[:] = 0.0
        for i in range(check_degrees.size):
            _answer(above, agreeing, check_degrees[i] - 1, scale, tables[step, i], answer, check_edges[i])
            unsatisfied[step] += checks[i] * (1.0 - agreeing[0] ** check_degrees[i]) / 2
        error = (1.0 - agreeing[0]) / 2
        if error < _SETTLED:
            return step + 1, True
        if step % STEPS_PER_ITERATION == STEPS_PER_ITERATION - 1 and step > 6 * STEPS_PER_ITERATION:
            if error > least_error * _LEAST_GAIN:
                return step + 1, False
            least_error = error
    return unsatisfied.size, False
