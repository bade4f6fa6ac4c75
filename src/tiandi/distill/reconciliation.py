"""Which way a key is reconciled: Cascade leaks least and asks often, LDPC codes leak more and ask hardly at all."""

from __future__ import annotations

import math
from collections.abc import Sequence

from tiandi.distill.cascade import BATCHES_IN_FLIGHT
from tiandi.distill.cascade_plan import BATCH_FRAMES, FRAME_BIT
from tiandi.distill.ldpc import LARGEST_QBER, LEAST_KEY_BIT
from tiandi.distill.ledger import CASCADE, LDPC, Way

BITS_IN_FLIGHT = BATCHES_IN_FLIGHT * BATCH_FRAMES * FRAME_BIT
FEWEST_ROUND_TRIPS = 600


def cascade_round_trips(key_bit: int, qber: float) -> int:
    """About how many questions and answers Cascade takes for a key of ``key_bit`` bits.

    Between 0.7 and 4 times as many as were measured with 62 to 256 frames from 0.1 to 11 %, which were 240 to 1,000: mostly more, so that
    LDPC codes are taken rather early than late.
    """
    return -(-key_bit // BITS_IN_FLIGHT) * max(FEWEST_ROUND_TRIPS, math.ceil(6200 * math.sqrt(qber)))


def choose_reconciliation(keys_bit: Sequence[int], qber: float, *, round_trip_s: float, patience_s: float) -> Way:
    """For keys that are reconciled side by side, ``qber`` being the worst: Cascade, unless its round trips of ``round_trip_s`` [s] together
    exceed ``patience_s`` [s] and LDPC codes cover the keys, which takes 2048 bits each and a QBER of up to 12 %."""
    impatient = cascade_round_trips(max(keys_bit), qber) * round_trip_s > patience_s
    return LDPC if impatient and min(keys_bit) >= LEAST_KEY_BIT and qber <= LARGEST_QBER else CASCADE
