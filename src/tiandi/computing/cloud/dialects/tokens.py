"""Access tokens: a login gives one for an API key, and it says who asks until it is too old.

They live in this process only. A client whose token is not known here, because it is old or because another server gave it, is answered
401 and logs in again by itself. A key that is revoked ends its tokens at once, since every use asks for the key.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from dataclasses import dataclass, field
from hashlib import sha256

from tiandi.computing.cloud.service import Cloud
from tiandi.errors import NotAuthorised
from tiandi.random import secret_bytes

LIFETIME_S = 1800.0
MOST_TOKENS, MOST_OF_ONE = 20_000, 50
"""Clients exist that log in for every call: the oldest token of a user makes room."""
_TOKEN_BYTE = 32


@dataclass(frozen=True, repr=False)
class _Login:
    key: str
    owner: str
    until_s: float


@dataclass(repr=False)
class Tokens:
    """The tokens of one server, found by their hashes."""

    cloud: Cloud
    _logins: OrderedDict[bytes, _Login] = field(default_factory=OrderedDict)
    _of_one: dict[str, dict[bytes, None]] = field(default_factory=dict)

    async def log_in(self, key: str) -> str:
        """A new token. Raises NotAuthorised."""
        owner = await self.cloud.authenticate(key)
        token = secret_bytes(_TOKEN_BYTE).hex()
        now_s = time.monotonic()
        while self._logins and (next(iter(self._logins.values())).until_s < now_s or len(self._logins) >= MOST_TOKENS):
            self._forget(next(iter(self._logins)))
        if len(own := self._of_one.get(owner, {})) >= MOST_OF_ONE:
            self._forget(next(iter(own)))
        digest = _digest(token)
        self._logins[digest] = _Login(key, owner, now_s + LIFETIME_S)
        self._of_one.setdefault(owner, {})[digest] = None
        return token

    async def authenticate(self, token: str) -> str:
        """The user whose token this is. Raises NotAuthorised."""
        login = self._logins.get(_digest(token))
        if login is None or login.until_s < time.monotonic():
            raise NotAuthorised("the access token is not known here, or too old: log in again")
        return await self.cloud.authenticate(login.key)

    def _forget(self, digest: bytes) -> None:
        owner = self._logins.pop(digest).owner
        del self._of_one[owner][digest]
        if not self._of_one[owner]:
            del self._of_one[owner]


def _digest(token: str) -> bytes:
    return sha256(token.encode(errors="replace")).digest()
