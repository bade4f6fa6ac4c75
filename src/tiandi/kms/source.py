"""Where link key comes from. The key management layer owns this interface; links, other makers' boxes and files fill it."""

from __future__ import annotations

from typing import Protocol

from tiandi.distill.records import KeyBlock
from tiandi.kms.store import End


class KeySource(Protocol):
    """One end of something that makes the same key at two KMEs."""

    @property
    def peer(self) -> str:
        """The KME at the other end."""
        ...

    @property
    def spend_from(self) -> End:
        """From which end of a block this side spends; the other side says the other."""
        ...

    def take_blocks(self) -> list[KeyBlock]:
        """Blocks made since the last call; each is handed over once."""
        ...
