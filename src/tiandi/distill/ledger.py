"""The account of one block, and of a link's life: every bit leaked, spent and won, and every epsilon."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from tiandi.distill.records import BASIS_NAMES

Way = Literal["cascade", "ldpc"]
"""How a key is reconciled: two-way, or one-way."""
CASCADE: Final = "cascade"
LDPC: Final = "ldpc"

Strength = Literal["information-theoretic", "computational"]
"""What authentication rests on: on nothing, or on nobody having forged a signature while a pool was begun."""


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
    revealed_bit: dict[str, int] = field(default_factory=_per_basis)
    bob_told_bit: dict[str, int] = field(default_factory=_per_basis)
    reconciliation: Way | None = None
    sample_qber: dict[str, float] = field(default_factory=dict)
    errors: dict[str, int] = field(default_factory=_per_basis)
    secret_bit: dict[str, int] = field(default_factory=_per_basis)
    phase_error: dict[str, float] = field(default_factory=dict)
    authentication_spent_bit: int = 0
    authentication_replenished_bit: int = 0
    authentication_strength: Strength = "information-theoretic"
    epsilon_secrecy: float = 0.0
    epsilon_correctness: float = 0.0
    epsilon_authentication: float = 0.0

    def leaked_bit(self, basis: str) -> int:
        """Every bit told of the key of ``basis``, failed attempts included.

        What Bob says of his errors counts where the proof does not give all of them to an eavesdropper anyway.
        """
        told = self.parities_leaked_bit[basis] + self.verification_leaked_bit[basis] + self.revealed_bit[basis]
        return told + (0 if self.error_pattern_told else self.bob_told_bit[basis])

    @property
    def error_pattern_told(self) -> bool:
        """Whether Bob's questions told which of his bits were wrong."""
        return self.reconciliation == CASCADE

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


def _summed(kind: type[int] | type[float], of: Callable[[Ledger], float]) -> Any:
    """A field of the life account: the sum of this over all blocks."""
    return field(default=kind(), metadata={"of": of})


@dataclass(frozen=True)
class LifeLedger:
    """The sums of all blocks of a link's life, as one end saw them; ``leaked_bit`` includes ``revealed_bit``.

    Epsilons add up, because the distances from the ideal that they bound do, and a block that was aborted adds its own in full. An epsilon
    bounds the chance that a block passes every test *and* is not what it should be, from before it is known whether it passes: each block
    begun is one more chance for an eavesdropper, and counting only delivered blocks would give her the failed attempts for nothing.
    Authentication adds what the block's account says: 0 where no tag was made or checked, for then nobody could pass a forged one.
    """

    blocks: int = 0
    aborted_blocks: int = 0
    sifted_bit: int = _summed(int, lambda ledger: ledger.total_sifted_bit)
    leaked_bit: int = _summed(int, lambda ledger: ledger.total_leaked_bit)
    revealed_bit: int = _summed(int, lambda ledger: sum(ledger.revealed_bit.values()))
    authentication_spent_bit: int = _summed(int, lambda ledger: ledger.authentication_spent_bit)
    authentication_replenished_bit: int = _summed(int, lambda ledger: ledger.authentication_replenished_bit)
    secret_bit: int = _summed(int, lambda ledger: ledger.total_secret_bit)
    epsilon_secrecy: float = _summed(float, lambda ledger: ledger.epsilon_secrecy)
    epsilon_correctness: float = _summed(float, lambda ledger: ledger.epsilon_correctness)
    epsilon_authentication: float = _summed(float, lambda ledger: ledger.epsilon_authentication)
    strength: Strength = "information-theoretic"

    def with_block(self, ledger: Ledger, delivered: bool) -> LifeLedger:
        """This account and one block more, whose secret bits count only when it was ``delivered``."""
        sums = {}
        for entry in fields(self):
            if entry.metadata and (delivered or entry.name != "secret_bit"):
                before = getattr(self, entry.name)
                sums[entry.name] = before + type(before)(entry.metadata["of"](ledger))
        return replace(self, blocks=self.blocks + 1, aborted_blocks=self.aborted_blocks + (not delivered), **sums)


@dataclass(frozen=True)
class BasisCounts:
    """Counts of the two bases by intensity, shape (bases, intensities): what the proof is computed from."""

    counts: NDArray[np.number[Any]]
    errors: NDArray[np.number[Any]]
