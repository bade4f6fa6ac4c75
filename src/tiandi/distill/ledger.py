"""The account of one block: every bit leaked, spent and won, and every epsilon."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiandi.distill.records import BASIS_NAMES


def _per_basis() -> dict[str, int]:
    return dict.fromkeys(BASIS_NAMES, 0)


@dataclass
class Ledger:
    """Both ends keep one; for an honest block they agree in every field. Dictionaries go by basis."""

    detected: int = 0
    sifted: dict[str, int] = field(default_factory=_per_basis)
    signal_sifted: int = 0
    signal_qber: float = 0.0
    sampled: dict[str, int] = field(default_factory=_per_basis)
    parities_leaked_bit: dict[str, int] = field(default_factory=_per_basis)
    verification_leaked_bit: dict[str, int] = field(default_factory=_per_basis)
    sample_qber: dict[str, float] = field(default_factory=dict)
    errors: dict[str, int] = field(default_factory=_per_basis)
    secret_bit: dict[str, int] = field(default_factory=_per_basis)
    phase_error: dict[str, float] = field(default_factory=dict)
    authentication_spent_bit: int = 0
    authentication_replenished_bit: int = 0
    epsilon_secrecy: float = 0.0
    epsilon_correctness: float = 0.0
    epsilon_authentication: float = 0.0

    def leaked_bit(self, basis: str) -> int:
        """Every parity and hash that Alice told of the key of ``basis``, failed attempts included."""
        return self.parities_leaked_bit[basis] + self.verification_leaked_bit[basis]

    @property
    def total_leaked_bit(self) -> int:
        return sum(self.leaked_bit(basis) for basis in BASIS_NAMES)

    @property
    def total_sifted_bit(self) -> int:
        return sum(self.sifted.values())

    @property
    def total_secret_bit(self) -> int:
        return sum(self.secret_bit.values())

    @property
    def qber(self) -> float:
        """Share of errors among the reconciled bits when they are known, else among the sample."""
        reconciled = self.total_sifted_bit - sum(self.sampled.values())
        if reconciled and sum(self.errors.values()):
            return sum(self.errors.values()) / reconciled
        return float(np.mean(list(self.sample_qber.values()))) if self.sample_qber else 0.0


@dataclass(frozen=True)
class BasisCounts:
    """Counts of the two bases by intensity, shape (bases, intensities): what the proof is computed from."""

    counts: NDArray[np.number[Any]]
    errors: NDArray[np.number[Any]]
