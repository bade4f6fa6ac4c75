"""What operators are told and what they may ask, in JSON: the formats of /admin/v1."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

import msgspec

from tiandi.kms.directory import PairPolicy, RelayForm, Sae
from tiandi.kms.operating.operations import Checks

MOST_KEYS = 1024

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]


class NodeStatus(msgspec.Struct, frozen=True):
    """A KME at a glance; times in ms since 1970. ``checks`` say what is wrong, or nothing."""

    kme_id: str
    version: str
    started_ms: int
    now_ms: int
    draining: bool
    ready: bool
    checks: Checks
    reservations: dict[str, int]
    outbox: int
    confirmations: int
    alarms: dict[str, int]
    sae_count: int
    pair_count: int


class SaeEntry(msgspec.Struct, frozen=True):
    """An SAE that this node knows."""

    sae_id: str
    home: str
    system_id: str
    may_pair_with_itself: bool
    beyond: str


class PairEntry(msgspec.Struct, frozen=True):
    """What a pair may have."""

    master: str
    slave: str
    priority: int
    minimum_bps: int
    maximum_bps: int | None
    ahead_count: int
    ahead_sizes: int
    paths: int
    threshold: int | None
    post_quantum: bool
    relay_form: RelayForm
    least_trust: str


class LinkEntry(msgspec.Struct, frozen=True):
    """Link key shared with a peer [bit]: by who spends it, and by state."""

    peer: str
    own: dict[str, int]
    peers: dict[str, int]


class LinkStateEntry(msgspec.Struct, frozen=True):
    """One end of a link somewhere in the network; see `tiandi.kms.relay.link_reports.LinkReport`."""

    kme: str
    neighbour: str
    stock_bit: int
    rate_bps: float
    demand_bps: float
    qber: float | None
    in_service: bool
    note: str
    age_s: float


class StockEntry(msgspec.Struct, frozen=True):
    """Supply keys of a pair at this KME [bit]: what is there and what became of the rest."""

    master: str
    slave: str
    role: str
    size_bit: int
    living: dict[str, int]
    ended: dict[str, int]


class Drain(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whether to hold back new keys."""

    draining: bool


class Void(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What to void: exactly one of these."""

    pair: tuple[Name, Name] | None = None
    link: Name | None = None
    key_ids: Annotated[list[UUID], msgspec.Meta(min_length=1, max_length=MOST_KEYS)] | None = None


def sae_entry(name: str, sae: Sae) -> SaeEntry:
    """An SAE of a directory."""
    return SaeEntry(name, sae.home, sae.system_id, sae.may_pair_with_itself, sae.beyond)


def pair_entry(pair: tuple[str, str], policy: PairPolicy) -> PairEntry:
    """A pair of a directory."""
    return PairEntry(
        *pair,
        policy.priority,
        policy.minimum_bps,
        policy.maximum_bps,
        policy.ahead_count,
        policy.ahead_sizes,
        policy.paths,
        policy.threshold,
        policy.post_quantum,
        policy.relay_form,
        policy.least_trust,
    )
