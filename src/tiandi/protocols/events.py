"""What a protocol records: kinds of events with a probability per pulse, their expected counts, and samples of them.

A protocol lays its events out on axes, such as (intensity, basis, outcome), and gives each kind its probability in one pulse. From that
one table come both the expected counts and samples that are exact in distribution. The gap to the next event is geometric, so the
work grows with the events and never with the pulses.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from tiandi.errors import InputError
from tiandi.limits import require_each_within
from tiandi.protocols.clicks import sample_clicks

MOST_KINDS = 256
"""As many kinds of events as one byte can tell apart."""


class Basis(IntEnum):
    """Index of a basis wherever counts, bits or errors are laid out by bases: X is the diagonal one, Z the rectilinear."""

    X = 0
    Z = 1


@dataclass(frozen=True)
class Events:
    """Recorded events: the pulse each belongs to (n,), its kind (n,) as an index into ``shape`` flattened, in order of time."""

    slots: NDArray[np.int64]
    kinds: NDArray[np.uint8]
    shape: tuple[int, ...]

    def counts(self) -> NDArray[np.int64]:
        """How many there are of each kind, of shape ``shape``."""
        return np.bincount(self.kinds, minlength=int(np.prod(self.shape))).reshape(self.shape)


@dataclass(frozen=True)
class EventTable:
    """Probability per pulse of each kind of event, shape (steps, ...): steps of constant light, then the axes of the protocol.

    The rest of each step's probability is that nothing is recorded. After an event ``dead_pulses`` pulses pass unseen. Raises InputError
    on more than `MOST_KINDS` kinds, a negative probability, or a step whose probabilities add up to more than 1.
    """

    probabilities: NDArray[np.float64]
    dead_pulses: int = 0

    def __post_init__(self) -> None:
        require_each_within("probabilities", self.probabilities, 0.0, np.inf)
        kinds = self._flat.shape[1]
        if kinds > MOST_KINDS:
            raise InputError("probabilities", f"{kinds} kinds of events", f"must be of at most {MOST_KINDS} kinds")
        largest = float(self._flat.sum(axis=1).max(initial=0.0))
        if largest > 1.0 + 1e-9:
            raise InputError("probabilities", largest, "must add up to at most 1 in each step")

    @property
    def _flat(self) -> NDArray[np.float64]:
        return self.probabilities.reshape(self.probabilities.shape[0], -1)

    def expected_counts(self, pulses: NDArray[np.int64]) -> NDArray[np.float64]:
        """Mean counts, shaped as the axes, when step t sends ``pulses[t]`` pulses; exact but for the dead time at the border of steps."""
        live = pulses / (1.0 + self.dead_pulses * self._flat.sum(axis=1))
        return np.asarray(np.tensordot(live, self.probabilities, axes=1))

    def sample(self, pulses: NDArray[np.int64], generator: np.random.Generator) -> Events:
        """Events of a run in which step t sends ``pulses[t]`` pulses, exact in distribution."""
        clicks = sample_clicks(self._flat, np.asarray(pulses, np.int64), self.dead_pulses, generator)
        return Events(clicks.slots, clicks.kinds, self.probabilities.shape[1:])
