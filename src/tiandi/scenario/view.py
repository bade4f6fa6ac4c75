"""What a living network shows of itself: plain data, the same for a page, a program and a test.

Times are ISO 8601 in UTC of the simulated clock, rates bit/s, stocks bit. A rate or a QBER of a link whose ``fidelity`` is "expected" comes
from the link's forecast, not from events.
"""

from __future__ import annotations

from typing import Literal

import msgspec

Fidelity = Literal["events", "expected"]
LinkState = Literal["up", "idle", "eavesdropped", "alarm", "cut"]
EventKind = Literal["block", "aborted", "alarm", "cleared", "contact", "relay", "message", "action", "speed"]


class NodePoint(msgspec.Struct, frozen=True):
    """A node on the map; latitude and longitude are missing where the scenario gives none."""

    name: str
    kind: str
    latitude_deg: float | None
    longitude_deg: float | None
    altitude_m: float
    trust: str
    alarms: int
    cloudy: bool
    compromised: bool


class LinkLine(msgspec.Struct, frozen=True):
    """A link: the key rate of its last block, the key both ends hold together, and its error rate (null before the first block)."""

    name: str
    ends: tuple[str, str]
    kind: str
    rate_bps: float
    stock_bit: int
    qber: float | None
    state: LinkState
    fidelity: Fidelity
    eavesdropped: bool = False
    """Whether somebody listens, whatever the state: who listens raises an alarm soon."""


class SatellitePoint(msgspec.Struct, frozen=True):
    """A satellite now: the point below it, and one revolution of its track as [longitude_deg, latitude_deg, altitude_km]."""

    name: str
    latitude_deg: float
    longitude_deg: float
    altitude_km: float
    sunlit: bool
    footprint_km: float
    """Radius on the ground within which it stands above the horizon."""
    track: list[tuple[float, float, float]]


class ContactLine(msgspec.Struct, frozen=True):
    """A contact of the plan, under way or to come; ``rate_bps`` is the key expected of it over its length."""

    satellite: str
    station: str
    rate_bps: float
    elevation_deg: float
    """Now, or at culmination where it has not begun."""
    begins: str
    ends: str
    state: Literal["now", "planned"]


class PairLine(msgspec.Struct, frozen=True):
    """A pair of customers: what it wants at this time of day, what it got of late, how old the key is that it got last."""

    ends: tuple[str, str]
    wanted_bps: float
    served_bps: float
    age_s: float | None
    state: Literal["served", "short", "none"]


class AlarmLine(msgspec.Struct, frozen=True):
    """An alarm that is not cleared."""

    id: int
    time: str
    severity: str
    link: str
    cause: str
    acknowledged: bool


class Totals(msgspec.Struct, frozen=True):
    """Since the network was first started: key distilled, key delivered to customers, keys and messages."""

    secret_bit: int = 0
    delivered_bit: int = 0
    keys: int = 0
    messages: int = 0


class SunPoint(msgspec.Struct, frozen=True):
    """Where the sun stands in the zenith."""

    latitude_deg: float
    longitude_deg: float


class NetworkView(msgspec.Struct, frozen=True):
    """Everything that is seen at a glance."""

    name: str
    title: str
    time: str
    speed: float
    """Reached: simulated seconds a second, over the last few seconds."""
    wanted_speed: float
    paused: bool
    fidelity: Literal["events", "expected", "mixed"]
    started: str
    """Real time at which this process began."""
    now_real: str
    nodes: list[NodePoint]
    links: list[LinkLine]
    satellites: list[SatellitePoint]
    contacts: list[ContactLine]
    pairs: list[PairLine]
    alarms: list[AlarmLine]
    totals: Totals
    sun: SunPoint


class Funnel(msgspec.Struct, frozen=True):
    """From pulses to secret bits, added up since this process began; of "expected" blocks only pulses and secret bits are known."""

    pulses: int = 0
    detected: int = 0
    sifted_bit: int = 0
    verified_bit: int = 0
    secret_bit: int = 0


class BlockLine(msgspec.Struct, frozen=True):
    """One block of a link."""

    time: str
    duration_s: float
    detected: int
    qber: float | None
    leaked_bit: int
    secret_bit: int
    aborted_because: str
    """Empty where it was not."""
    fidelity: Fidelity


class LinkView(LinkLine, frozen=True, kw_only=True):
    """A link in detail; ``history`` rows are [time, rate_bps, qber, stock_bit].

    Of a downlink length and loss are the least of its last pass, before the first those of the next that is planned, 0 where none is; of a
    hand-over, whose key comes by two downlinks, they are 0.
    """

    length_km: float
    loss_db: float
    funnel: Funnel
    epsilon_spent: float
    blocks: list[BlockLine]
    history: list[tuple[str, float, float | None, int]]


class StockLine(msgspec.Struct, frozen=True):
    """Link key with a neighbour: what this node may send under, and what the neighbour may."""

    peer: str
    own_bit: int
    peers_bit: int


class NodeView(msgspec.Struct, frozen=True):
    """A node in detail. ``address`` is the door of its KME; ``what_it_learns`` are sentences, where it is compromised.

    ``alarm_lines`` are the alarms of its links; ``alarms`` counts them; ``relays_in_flight`` are keys (of 256 bit) on their way through it,
    counted a second after somebody has begun to look.
    """

    name: str
    kind: str
    latitude_deg: float | None
    longitude_deg: float | None
    altitude_m: float
    trust: str
    alarms: int
    cloudy: bool
    compromised: bool
    kme_id: str
    address: str
    stocks: list[StockLine]
    saes: list[str]
    relays_in_flight: int
    alarm_lines: list[AlarmLine]
    what_it_learns: list[str]


class PairView(msgspec.Struct, frozen=True):
    """A pair in detail: the way its keys go now, ways that share no node between the ends, and whom the pair trusts."""

    ends: tuple[str, str]
    route: list[str]
    routes: list[list[str]]
    trust: list[str]
    """Sentences of `tiandi.control.trust`."""
    age_s: float | None
    served_bps: float
    wanted_bps: float
    why: str
    """Why there is no way, where there is none."""


class MessageView(msgspec.Struct, frozen=True):
    """A message that went: ``ciphertext`` is hexadecimal, its first 64 bytes; ``plaintext`` is what the recipient decrypted."""

    sender: str
    recipient: str
    key_ids: list[str]
    ciphertext: str
    plaintext: str
    route: list[str]
    method: str


class EventView(msgspec.Struct, frozen=True, omit_defaults=True):
    """Something that happened, in one sentence."""

    id: int
    time: str
    kind: EventKind
    what: str
    link: str = ""
    node: str = ""
    pair: tuple[str, ...] = ()


AuditKind = Literal["link", "supply", "operator"]


class AuditLine(msgspec.Struct, frozen=True):
    """One line of a KME's audit journal: ``bit`` bits of ``stock`` went from ``before`` to ``after``, or an operator did something.

    A step has no key in it, only how much there was. ``time`` is real time to a millisecond, not that of the simulated clock.
    """

    node: str
    chain: str
    page: int
    time: str
    kind: str
    """An `AuditKind`: of link key, of keys supplied to applications, or of an operator; in a journal that was changed, anything."""
    stock: str
    before: str
    """Empty where the key entered the KME."""
    after: str
    bit: int
    what: str
    digest: str
    """SHA-256 over the page and the one before, hexadecimal: what binds the journal together."""


class AuditView(msgspec.Struct, frozen=True):
    """Lines of the audit journals, newest first."""

    lines: list[AuditLine]
    more: bool
    """Whether older lines were left out or not looked at: ask again with ``until`` at the time of the last line, or ``looked_back_to``."""
    looked_back_to: str
    """Everything since this real time was looked at; empty where all was, back to ``since`` or the journals' beginning."""
    pages: int
    """How many pages were read."""
    broken: list[str]
    """Pages read that do not follow from the page before them, so that somebody changed the journal; none where it holds together."""
