"""Who looks: one-time links, the sessions that they open, and the two roles.

A link and a session are each 256 secret bits, of which only a hash is kept here. Links and sessions end by themselves, and of too many
the oldest must go.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from tiandi.errors import NotAuthorised
from tiandi.random import secret_bytes

Role = Literal["viewer", "operator"]
"""A viewer reads; an operator also acts."""

SECRET_BYTE = 32
LINK_LIFE_S = 24 * 3600.0
SESSION_LIFE_S = 7 * 24 * 3600.0
LINKS_KEPT = 64
SESSIONS_KEPT = 128


@dataclass(frozen=True)
class _Entry:
    role: Role
    ends_s: float


class _Secrets:
    """Secrets given out, known by their hashes, each with a role and an end."""

    def __init__(self, kept: int, life_s: float, now: Callable[[], float]) -> None:
        self._kept, self._life_s, self._now = kept, life_s, now
        self._entries: dict[bytes, _Entry] = {}

    def give(self, role: Role) -> str:
        now_s = self._now()
        self._entries = {key: entry for key, entry in self._entries.items() if entry.ends_s > now_s}
        if len(self._entries) >= self._kept:
            del self._entries[next(iter(self._entries))]
        secret = urlsafe_b64encode(secret_bytes(SECRET_BYTE)).rstrip(b"=").decode()
        self._entries[_hash(secret)] = _Entry(role, now_s + self._life_s)
        return secret

    def find(self, secret: str) -> Role | None:
        """Every hash is compared, each in constant time: how long it takes tells nothing of them."""
        wanted, now_s = _hash(secret), self._now()
        found = [entry for key, entry in self._entries.items() if hmac.compare_digest(key, wanted)]
        return found[0].role if found and found[0].ends_s > now_s else None

    def drop(self, secret: str) -> None:
        self._entries.pop(_hash(secret), None)


class Sessions:
    """The links and sessions of one page. ``now`` tells the time [s]."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._links = _Secrets(LINKS_KEPT, LINK_LIFE_S, now)
        self._sessions = _Secrets(SESSIONS_KEPT, SESSION_LIFE_S, now)

    def offer(self, role: Role) -> str:
        """The secret of a new link, which opens one session of ``role``."""
        return self._links.give(role)

    def log_in(self, link: str) -> tuple[str, Role]:
        """The secret of a new session, and its role. Raises NotAuthorised for a link that is unknown, used or too old."""
        role = self._links.find(link)
        if role is None:
            raise NotAuthorised("this link was used before, or is too old: ask for a new one")
        self._links.drop(link)
        return self._sessions.give(role), role

    def role(self, session: str) -> Role | None:
        """What a session may do; None for one that is unknown or has ended."""
        return self._sessions.find(session)

    def log_out(self, session: str) -> None:
        """End a session."""
        self._sessions.drop(session)


def _hash(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()
