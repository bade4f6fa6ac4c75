"""What the window looks through: a network that lives, as the door asks for it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Protocol

from tiandi.scenario.view import AuditView, EventView, LinkView, MessageView, NetworkView, NodeView, PairView


class Watched(Protocol):
    """A living network. Views are cheap and are taken on the event loop; actions raise errors of `tiandi.errors`."""

    def view(self) -> NetworkView:
        """Everything at a glance."""
        ...

    def link(self, name: str) -> LinkView:
        """One link in detail."""
        ...

    def node(self, name: str) -> NodeView:
        """One node in detail."""
        ...

    def pair(self, one: str, other: str, /) -> PairView:
        """One pair in detail."""
        ...

    def subscribe(self) -> AsyncIterator[EventView]:
        """What happens from now on; ends when the reader is too slow."""
        ...

    async def audit(
        self, *, node: str = "", kind: str = "", since: str = "", until: str = "", limit: int = 200, text: str = ""
    ) -> AuditView:
        """The newest lines of the KMEs' audit journals, in real time."""
        ...

    async def send_message(self, sender: str, recipient: str, text: str) -> MessageView:
        """Encrypt ``text`` with quantum keys and deliver it."""
        ...

    async def eavesdrop(self, link: str, on: bool) -> None:
        """Let somebody measure the light of a link, or leave."""
        ...

    async def cut(self, link: str, on: bool) -> None:
        """Cut a fibre, or mend it."""
        ...

    async def cloud(self, station: str, on: bool) -> None:
        """Cloud over a ground station, or clear its sky."""
        ...

    async def compromise(self, node: str, on: bool) -> None:
        """Let somebody read all that passes through a node, or no more."""
        ...

    async def acknowledge(self, alarm_id: int, /) -> None:
        """An operator has seen an alarm."""
        ...

    async def set_speed(self, speed: float, /) -> None:
        """Simulated seconds a second."""
        ...

    async def pause(self, on: bool) -> None:
        """Stop the simulated clock, or let it go on."""
        ...

    async def jump(self, to: str) -> None:
        """Move the simulated clock on, to an ISO 8601 time or to the ``next pass``."""
        ...
