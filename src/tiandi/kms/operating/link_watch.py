"""What a KME reports of its own links: stock, rate, use, QBER, and whether it would send keys over them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Container, Iterable, Mapping
from dataclasses import dataclass, field

from tiandi.kms.entity import KeyManagementEntity
from tiandi.kms.relay.link_reports import LONGEST_NAME, LinkReport
from tiandi.kms.states import State
from tiandi.kms.store import ledger
from tiandi.kms.store.database import Transaction
from tiandi.kms.supply.rates import RateMeter

OUT_OF_SERVICE = ("block-differs", "relay-tag")
"""Alarms that say somebody may be on the link, or at its other end: no key goes over it until an operator has looked."""

SILENT = "its KME does not answer"

Obstacles = Callable[[], Awaitable[Mapping[str, str]]]


@dataclass
class _Flow:
    """How fast something grows, of which only the sum is seen."""

    sum_bit: int
    meter: RateMeter = field(default_factory=RateMeter)

    def rate_bps(self, sum_bit: int) -> float:
        self.meter.add(max(0, sum_bit - self.sum_bit))
        self.sum_bit = sum_bit
        return self.meter.rate


class LinkWatch:
    """Looks at the links of one KME.

    ``obstacles`` says by neighbour why nothing may be sent, `alarms_of_links` for instance; ``silent`` which neighbours do not answer.
    `qber` is told by who has the modules. All else is read from the store, so that all processes of a node say the same.
    """

    def __init__(
        self,
        entity: KeyManagementEntity,
        neighbours: Callable[[], Iterable[str]],
        *,
        obstacles: Obstacles,
        silent: Callable[[], Container[str]] = tuple,
    ) -> None:
        self._entity, self._neighbours, self._obstacles, self._silent = entity, neighbours, obstacles, silent
        self._flows: dict[tuple[str, str], _Flow] = {}
        self.qber: dict[str, float] = {}

    async def look(self) -> list[LinkReport]:
        """A report of each link. Raises StateError when the store fails."""
        obstacles, silent, neighbours = await self._obstacles(), self._silent(), sorted(self._neighbours())
        accounts = await self._entity.database.run(_accounts, neighbours)
        return [self._report(peer, accounts[peer], obstacles.get(peer, SILENT if peer in silent else "")) for peer in neighbours]

    def _report(self, peer: str, account: Mapping[str, int], obstacle: str) -> LinkReport:
        if self._entity.draining:
            obstacle = obstacle or "its KME is being drained"
        return LinkReport(
            origin=self._entity.kme_id,
            neighbour=peer,
            sequence=0,
            stock_bit=account.get(State.STORED, 0),
            rate_bps=self._rate_bps(peer, "came", sum(account.values())),
            demand_bps=self._rate_bps(peer, "spent", account.get(State.SPENT, 0)),
            qber=self.qber.get(peer),
            in_service=not obstacle,
            note=obstacle[:LONGEST_NAME],
        )

    def _rate_bps(self, peer: str, what: str, sum_bit: int) -> float:
        return self._flows.setdefault((peer, what), _Flow(sum_bit)).rate_bps(sum_bit)


async def _accounts(transaction: Transaction, neighbours: Iterable[str]) -> dict[str, dict[str, int]]:
    """Link key of this end with each neighbour, all that ever came by its state [bit]."""
    query = "SELECT stock, state, bit FROM account WHERE stock = $1"
    stocks = {peer: ledger.link_stock(peer, own=True) for peer in neighbours}
    return {peer: ledger.sum_up(await transaction.rows(query, stock)).get(stock, {}) for peer, stock in stocks.items()}


async def alarms_of_links(transaction: Transaction) -> dict[str, str]:
    """Open alarms that take a link out of service, by the neighbour they are about."""
    found: dict[str, str] = {}
    for kind in OUT_OF_SERVICE:
        rows = await transaction.rows("SELECT source, text FROM alarm WHERE kind = $1 AND acknowledged_ms = 0", kind)
        found |= {str(source): str(text) for source, text in rows}
    return found
