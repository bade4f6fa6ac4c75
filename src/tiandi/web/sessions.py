"""Who looks: one-time links, the sessions that they open, and the two roles.

A link and a session are each 256 secret bits, of which only a hash is kept: in memory, or in a folder that only its owner may read, one
file each. In a folder they outlive the process, and whoever may write there may make a link beside a running page. Links and sessions end
by themselves, and of too many the oldest must go.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Literal

import msgspec

from tiandi.errors import NotAuthorised
from tiandi.kms.tls.certificates import put
from tiandi.random import secret_bytes

Role = Literal["viewer", "operator"]
"""A viewer reads; an operator also acts."""

SECRET_BYTE = 32
LINK_LIFE_S = 24 * 3600.0
SESSION_LIFE_S = 7 * 24 * 3600.0
LINKS_KEPT = 64
SESSIONS_KEPT = 128


class _Entry(msgspec.Struct, frozen=True):
    role: Role
    ends_s: float


class _Secrets:
    """Secrets given out, known by their hashes, each with a role and an end; ``folder`` keeps them, or only memory does."""

    def __init__(self, kept: int, life_s: float, now: Callable[[], float], folder: Path | None) -> None:
        self._kept, self._life_s, self._now, self._folder = kept, life_s, now, folder
        self._entries: dict[bytes, _Entry] = {}
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self.read()

    def read(self) -> None:
        """Take up what stands in the folder, which another process may have changed. A file that says nothing is none."""
        if self._folder is None:
            return
        found: dict[bytes, _Entry] = {}
        for file in self._folder.iterdir():
            with suppress(OSError, ValueError, msgspec.DecodeError):
                found[bytes.fromhex(file.name)] = msgspec.json.decode(file.read_bytes(), type=_Entry)
        self._entries = dict(sorted(found.items(), key=lambda item: item[1].ends_s))

    def give(self, role: Role) -> str:
        self.read()
        now_s = self._now()
        over = [key for key, entry in self._entries.items() if entry.ends_s <= now_s]
        for key in over:
            self._take(key)
        if len(self._entries) >= self._kept:
            self._take(next(iter(self._entries)))
        secret = urlsafe_b64encode(secret_bytes(SECRET_BYTE)).rstrip(b"=").decode()
        self._entries[_hash(secret)] = entry = _Entry(role, now_s + self._life_s)
        if self._folder is not None:
            put(self._folder / _hash(secret).hex(), msgspec.json.encode(entry), 0o600)
        return secret

    def find(self, secret: str) -> Role | None:
        """Every hash is compared, each in constant time: how long it takes tells nothing of them.

        Whoever removes its file ends a secret at once.
        """
        wanted, now_s = _hash(secret), self._now()
        found = [entry for key, entry in self._entries.items() if hmac.compare_digest(key, wanted)]
        if not found or found[0].ends_s <= now_s or (self._folder is not None and not (self._folder / wanted.hex()).exists()):
            return None
        return found[0].role

    def drop(self, secret: str) -> bool:
        """Forget it; whether it was there, and nobody else took it first."""
        return self._take(_hash(secret))

    def _take(self, key: bytes) -> bool:
        if self._entries.pop(key, None) is None:
            return False
        if self._folder is not None:
            try:
                (self._folder / key.hex()).unlink()
            except FileNotFoundError:
                return False
        return True


class Sessions:
    """The links and sessions of one page, in memory or in ``folder``. ``now`` tells the time [s], for a folder since 1970."""

    def __init__(self, now: Callable[[], float] = time.time, *, folder: Path | None = None) -> None:
        self._links = _Secrets(LINKS_KEPT, LINK_LIFE_S, now, folder and folder / "links")
        self._sessions = _Secrets(SESSIONS_KEPT, SESSION_LIFE_S, now, folder and folder / "sessions")

    def offer(self, role: Role) -> str:
        """The secret of a new link, which opens one session of ``role``."""
        return self._links.give(role)

    def log_in(self, link: str) -> tuple[str, Role]:
        """The secret of a new session, and its role. Raises NotAuthorised for a link that is unknown, used or too old."""
        self._links.read()
        role = self._links.find(link)
        if role is None or not self._links.drop(link):
            raise NotAuthorised("this link was used before, or is too old: ask for a new one")
        return self._sessions.give(role), role

    def role(self, session: str) -> Role | None:
        """What a session may do; None for one that is unknown or has ended."""
        return self._sessions.find(session)

    def log_out(self, session: str) -> None:
        """End a session."""
        self._sessions.drop(session)


def _hash(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()
