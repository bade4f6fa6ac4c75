"""What a demonstration found out: plain data, ready for a table or for JSON."""

from __future__ import annotations

from dataclasses import dataclass

from tiandi.distill.ledger import Ledger
from tiandi.quantum.link import LinkBlock

MODEL_NOTES = (
    "Light and detectors are digital twins; sifting, reconciliation, amplification, tags, key stores, TLS, relay and messages are real.",
    "Finite-key proof: Lim et al. 2014. Every parity and hash that Alice tells is counted; an eavesdropper is given the position of every"
    " error, as Bob's questions tell it (see arXiv:2307.00576).",
)
"""What holds for every scenario; a scenario adds notes of its own."""


@dataclass(frozen=True)
class LinkRow:
    """One block of one link."""

    link: str
    length_km: float
    loss_db: float
    duration_s: float
    pulses: int
    detected: int
    sifted_bit: int
    qber: float
    leaked_bit: int
    secret_bit: int
    secret_key_rate_bps: float
    aborted: str | None
    ledger: Ledger

    @classmethod
    def of(cls, block: LinkBlock) -> LinkRow:
        return cls(
            link=block.link,
            length_km=block.length_km,
            loss_db=block.loss_db,
            duration_s=block.duration_s,
            pulses=block.pulses,
            detected=block.ledger.detected,
            sifted_bit=block.ledger.total_sifted_bit,
            qber=block.ledger.qber,
            leaked_bit=block.ledger.total_leaked_bit,
            secret_bit=block.secret_bit,
            secret_key_rate_bps=block.secret_key_rate_bps,
            aborted=str(block.bob) if block.aborted else None,
            ledger=block.ledger,
        )


@dataclass(frozen=True)
class PassRow:
    """One pass of a satellite over a station. ``row`` counts all intensities; signal figures compare with publications."""

    satellite: str
    station: str
    start: str
    culmination: str
    end: str
    culmination_deg: float
    closest_km: float
    sun_elevation_deg: float
    signal_sifted_bit: int
    signal_qber: float
    row: LinkRow
    published: dict[str, object] | None


@dataclass(frozen=True)
class Hop:
    """One step of a route: one-time pad under link key, which ``by_satellite``, if any, made both ends share by its XOR."""

    sender: str
    receiver: str
    link: str
    by_satellite: str | None


@dataclass(frozen=True)
class TextReport:
    """A text before, on the wire, and after."""

    sent: str
    wire_hex: str
    received: str
    keys: int
    protection: str = "one-time pad, one-time Wegman-Carter tag (half of each key for either)"


@dataclass(frozen=True)
class PictureReport:
    """A picture before, on the wire, and after; the bytes themselves are files in the state directory."""

    sent_byte: int
    received_byte: int
    identical: bool
    keys: int
    protection: str = "AES-256-GCM, a fresh key for every 1,024 bytes"


@dataclass(frozen=True)
class EavesdropperReport:
    """What an eavesdropper changed."""

    link: str
    attack: str
    qber: float
    qber_limit: float
    noticed: dict[str, str]
    secret_bit: int
    alarm_severity: str
    alarm_time: str
    message: str
    route: list[Hop]
    refusal: str | None


@dataclass(frozen=True)
class Report:
    """A whole demonstration."""

    scenario: str
    title: str
    seed: int | None
    links: list[LinkRow]
    passes: list[PassRow]
    handed_over_bit: dict[str, int]
    key_count: int
    route: list[Hop]
    text: TextReport
    picture: PictureReport
    eavesdropper: EavesdropperReport | None
    accounts: dict[str, dict[str, dict[str, int]]]
    elapsed_s: dict[str, float]
    notes: tuple[str, ...]
