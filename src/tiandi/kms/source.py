"""Where link key comes from. The key management layer owns this interface; links, other makers' boxes and files fill it."""

from __future__ import annotations

from typing import Protocol

from tiandi.distill.records import KeyBlock
from tiandi.kms.store import Half


class KeySource(Protocol):
    """One end of something that makes the same key at two KMEs."""

    @property
    def peer(self) -> str:
        """The KME at the other end."""
        ...

    @property
    def own_half(self) -> Half:
        """Under which half of a block this side sends; the other side says the other."""
        ...

    def take_blocks(self) -> list[KeyBlock]:
        """Blocks made since the last call; each is handed over once."""
        ...
