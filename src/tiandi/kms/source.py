"""Where link key comes from. The key management layer owns this interface; links, other makers' boxes and files fill it."""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol
from uuid import UUID

from tiandi.distill.records import KeyBlock
from tiandi.kms.keys import Half


class KeySource(Protocol):
    """One end of something that makes the same key, in blocks under the same identifiers, at two KMEs.

    A block is handed over until it is acknowledged, so that none is lost when the process dies in between: the KME commits it to
    its store, knows it by its identifier when it sees it again, and acknowledges it in either case.
    """

    @property
    def name(self) -> str:
        """What operators call it."""
        ...

    @property
    def peer(self) -> str:
        """The KME at the other end."""
        ...

    @property
    def own_half(self) -> Half:
        """Under which half of a block this side sends; the other side says the other."""
        ...

    async def take_blocks(self) -> list[KeyBlock]:
        """Blocks that are not acknowledged yet, some or all of them; none when there are none now.

        Raises InputError or another TiandiError when there may be blocks that cannot be had; asked again later, it tries again.
        """
        ...

    async def acknowledge(self, block_ids: Collection[UUID]) -> None:
        """The KME has these blocks on disk: destroy the source's own copies. Identifiers that are not known are passed over."""
        ...
