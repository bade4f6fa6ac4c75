"""What one end of a link brings to distillation, and what it is told afterwards."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol
from uuid import UUID

from tiandi.distill.authentication import OneTimeTags, Signatures
from tiandi.distill.ledger import Ledger
from tiandi.errors import InputError
from tiandi.hosts.greeting import Authenticated
from tiandi.limits import require_within
from tiandi.quantum.link import SecuritySettings

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA65PrivateKey, MLDSA65PublicKey

    from tiandi.hosts.key_folder import KeyFolder
    from tiandi.hosts.pool_file import PoolFile
    from tiandi.hosts.recordings import Recordings


@dataclass(frozen=True)
class LinkEnd:
    """What one end brings: its recordings, the pool that pays for its tags, and the folder where its keys go.

    ``signing``, this end's private and the peer's public key, authenticates the first block of a pool that was begun empty. A peer that is
    not heard for ``silence_s`` [s], or owes an answer for ``answer_s`` [s], is given up.
    """

    recordings: Recordings
    pool: PoolFile
    keys: KeyFolder
    security: SecuritySettings = field(default_factory=SecuritySettings)
    signing: tuple[MLDSA65PrivateKey, MLDSA65PublicKey] | None = None
    transcripts: bool = False
    blocks_in_flight: int = 4
    silence_s: float = 30.0
    answer_s: float = 600.0

    def __post_init__(self) -> None:
        require_within("blocks_in_flight", self.blocks_in_flight, 1, 64)

    @property
    def authenticated_by(self) -> Authenticated:
        """What can authenticate the next block. Raises InputError when nothing can.

        An end whose signed answer the peer may have missed holds key that the peer may lack: it does as the peer can.
        """
        if self.pool.stage == "unused" and self.signing is None:
            raise InputError("pool", self.pool.name, "holds no key: it is to be begun by signatures, with --identity and --peer")
        if self.signing is None or self.pool.stage == "confirmed":
            return "one-time tags"
        return "signatures" if self.pool.stage == "unused" else "either"

    def authentication(self, *, signed: bool) -> Signatures | OneTimeTags:
        """What authenticates one block."""
        if signed and self.signing is not None:
            return Signatures(self.pool, *self.signing)
        return OneTimeTags(self.pool)


@dataclass(frozen=True)
class BlockReport:
    """What became of a block at this end; ``block_id`` is None, and ``why`` says something, where it was aborted."""

    number: int
    block_id: UUID | None
    key_bit: int
    why: str
    ledger: Ledger


@dataclass(frozen=True)
class Report:
    """What became of a run; ``broken`` says why it ended early, and ``left`` counts the blocks that were never begun."""

    link: str
    role: str
    peer: str
    round_trip_s: float
    elapsed_s: float
    blocks: tuple[BlockReport, ...]
    left: int
    broken: str | None

    @property
    def complete(self) -> bool:
        return self.broken is None and all(block.block_id is not None for block in self.blocks)


class Tell(Protocol):
    """Hears what goes on, a line at a time."""

    def __call__(self, line: str, /) -> None: ...


class TellBlock(Protocol):
    """Hears of a block that has come to its end, and of how many there are."""

    def __call__(self, block: BlockReport, blocks: int, /) -> None: ...
