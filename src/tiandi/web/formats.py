"""What the page sends: JSON bodies, each with its limits."""

from __future__ import annotations

from typing import Annotated, Any, get_args

import msgspec
from msgspec import Meta

from tiandi.clock import format_utc, parse_utc
from tiandi.errors import InputError
from tiandi.scenario.view import EventKind
from tiandi.web.sessions import Role

NEXT_PASS = "next pass"  # noqa: S105 - a satellite's.
SPEED_MAXIMUM = 1e6
BODY_LIMIT_BYTE = 16 * 1024

_Name = Annotated[str, Meta(min_length=1, max_length=200)]


JOURNAL: dict[str, Any] = {
    "type": "array",
    "items": {
        "title": "EventView",
        "description": "Something that happened, in one sentence; link, node and pair are left out where it has none.",
        "type": "object",
        "properties": {
            "id": {"type": "integer"},
            "time": {"type": "string"},
            "kind": {"enum": list(get_args(EventKind))},
            "what": {"type": "string"},
            "link": {"type": "string"},
            "node": {"type": "string"},
            "pair": {"type": "array", "items": {"type": "string"}, "minItems": 2, "maxItems": 2},
        },
        "required": ["id", "time", "kind", "what"],
    },
}
"""The schema of a list of `EventView`; its "pair" is of a type that no schema can be made from."""


class Switch(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Something begins, or ends."""

    on: bool


class NewMessage(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A message between two cities."""

    sender: _Name
    recipient: _Name
    text: Annotated[str, Meta(min_length=1, max_length=2000)]


class TimeChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """One of three: how many simulated seconds pass in a second, whether none pass, or the moment to jump to (ISO 8601 or "next pass")."""

    speed: Annotated[float, Meta(gt=0, le=SPEED_MAXIMUM)] | None = None
    paused: bool | None = None
    jump: Annotated[str, Meta(min_length=1, max_length=64)] | None = None

    def __post_init__(self) -> None:
        if sum(value is not None for value in (self.speed, self.paused, self.jump)) != 1:
            raise ValueError("give one of speed, paused and jump")

    def moment(self) -> str:
        """Where to jump to, as the network reads it. Raises InputError unless it is a time or "next pass"."""
        if self.jump is None or self.jump == NEXT_PASS:
            return NEXT_PASS
        try:
            return format_utc(parse_utc(self.jump, "jump"))
        except (OverflowError, ValueError):
            raise InputError("jump", self.jump, "out of the years that a calendar holds") from None


class Login(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What follows ``#login=`` in a one-time link."""

    token: Annotated[str, Meta(min_length=1, max_length=128)]


class LinkWanted(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """For whom a one-time link is to be."""

    role: Role


class LoginLink(msgspec.Struct, frozen=True):
    """A one-time link."""

    url: str


class Session(msgspec.Struct, frozen=True):
    """Who asks."""

    role: Role
