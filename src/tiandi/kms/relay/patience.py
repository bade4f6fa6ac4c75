"""How long KMEs wait for each other: a few times that only make sense together. Read as ``patience.CLAIM_MS``, so that each stands once.

Whoever begins something asks, and sends anew with growing pauses, for `ASKING_MS`; then it lets go, and any process of the node goes on,
once in a while, until `PATIENCE_S` is over. A claim keeps two from being at work on the same thing, so it is longer than asking and one
request more (`neighbours.WHOLE_TIMEOUT_S`); it only runs out when its holder has died. Patience is longer than one request too, so that
one which nobody answers is sent anew before the keys are given up.
"""

from __future__ import annotations

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.005, 1.0
"""Between two questions of whoever began, doubling."""
ASKING_MS = 12_000
CLAIM_MS = 30_000
PATIENCE_S = 20.0
"""How long keys may be on their way before both ends give them up; `Directory.satellite_patience_s` where a satellite carries them."""
SWEEP_PAUSE_S = 1.0
"""How often a process looks for what was let go."""
RECORDS_S = 30 * 86_400.0
"""How long a KME remembers what it said to others of keys that are long settled."""
PRUNE_EVERY_S = 10.0
KEM_MEMORY_S = 3600.0
"""How long another KME's ML-KEM key is used before it is asked for anew."""


def rest_ms(age_ms: int) -> int:
    """How long what is so old and was not answered is left alone: the older, the longer, up to a claim [ms]."""
    return min(max(age_ms // 8, int(1000 * SWEEP_PAUSE_S)), CLAIM_MS)
