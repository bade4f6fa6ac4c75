"""The links of a living network that satellites make: downlinks, and what is handed over between two stations."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from tiandi.clock import format_utc
from tiandi.distill.ledger import Ledger
from tiandi.scenario.contact_operations import SkyEvent
from tiandi.scenario.link_workers import BLOCKS_KEPT, HISTORY_KEPT
from tiandi.scenario.view import BlockLine, Funnel


@dataclass(eq=False)
class SkyLink:
    """A downlink, or what satellites hand over between two stations, and how it does."""

    name: str
    ends: tuple[str, str]
    kind: str
    own_bit: int = 0
    peers_bit: int = 0
    rate_bps: float = 0.0
    qber: float | None = None
    length_km: float = 0.0
    loss_db: float = 0.0
    epsilon_spent: float = 0.0
    funnel: Funnel = field(default_factory=Funnel)
    blocks: deque[BlockLine] = field(default_factory=lambda: deque(maxlen=BLOCKS_KEPT))
    history: deque[tuple[str, float, float | None, int]] = field(default_factory=lambda: deque(maxlen=HISTORY_KEPT))

    @property
    def stock_bit(self) -> int:
        """Key that both ends hold to send under."""
        return min(self.own_bit, self.peers_bit)

    def take(self, event: SkyEvent) -> int:
        """Note what a contact came to; returns the secret bits that it made."""
        report = event.report
        if report is None:
            return 0
        ledger, why = report.ledger, report.aborted_because
        secret_bit = 0 if why else ledger.total_secret_bit
        self.qber = ledger.qber if ledger.detected else None
        self.length_km, self.loss_db = report.length_km, report.loss_db
        self.epsilon_spent += epsilon_of(ledger)
        self.funnel = funnel_with(self.funnel, report.pulses, ledger, secret_bit, aborted=bool(why))
        self.blocks.append(
            BlockLine(
                format_utc(event.time),
                round(report.light_s, 3),
                ledger.detected,
                self.qber,
                ledger.total_leaked_bit,
                secret_bit,
                why,
                "events",
            )
        )
        return secret_bit


def epsilon_of(ledger: Ledger) -> float:
    """What a block may have let slip, or be wrong or forged with: a probability."""
    return ledger.epsilon_secrecy + ledger.epsilon_correctness + ledger.epsilon_authentication


def funnel_with(funnel: Funnel, pulses: int, ledger: Ledger, secret_bit: int, *, aborted: bool) -> Funnel:
    """A funnel with one block more."""
    return Funnel(
        funnel.pulses + pulses,
        funnel.detected + ledger.detected,
        funnel.sifted_bit + ledger.total_sifted_bit,
        funnel.verified_bit + (0 if aborted else ledger.total_sifted_bit - sum(ledger.sampled.values())),
        funnel.secret_bit + secret_bit,
    )
