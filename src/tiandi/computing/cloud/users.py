"""Users, their API keys and their quotas.

A key is 64 hexadecimal digits: 16 that find it and 48 that prove it. It comes from the operating system's generator and is shown once;
the store has a hash, for which a fast one is enough because 192 random bits cannot be guessed.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from typing import Annotated

import msgspec
from msgspec import Meta

from tiandi.computing.cloud.database import Row, Transaction
from tiandi.computing.cloud.jobs import HIGHEST_PRIORITY, LOWEST_PRIORITY, USUAL_PRIORITY, as_text, require_name
from tiandi.errors import InputError, NotAuthorised
from tiandi.limits import require_within
from tiandi.random import secret_bytes

_ID_BYTE, _PROOF_BYTE = 8, 24
_NOBODY = hashlib.sha256(b"").digest()


class Quotas(msgspec.Struct, frozen=True, kw_only=True):
    """What a user may have: ``share`` weighs it against others who wait."""

    share: Annotated[float, Meta(gt=0)] = 1.0
    highest_priority: Annotated[int, Meta(ge=LOWEST_PRIORITY, le=HIGHEST_PRIORITY)] = USUAL_PRIORITY
    most_waiting: Annotated[int, Meta(ge=0)] = 1000
    """Jobs that wait at once."""
    shots_a_day: Annotated[int, Meta(ge=0)] = 10_000_000
    """Of all circuits together, a day of UTC."""
    program_mb_a_day: Annotated[int, Meta(ge=0)] = 100
    """MiB of programs that are taken, a day of UTC; the store keeps them as long as their jobs."""

    def check(self) -> None:
        """Raise InputError for a quota out of its range."""
        require_within("share", self.share, 0.001, 1000)
        require_within("highest_priority", self.highest_priority, LOWEST_PRIORITY, HIGHEST_PRIORITY)
        require_within("most_waiting", self.most_waiting, 0, 10_000_000)
        require_within("shots_a_day", self.shots_a_day, 0, 10**15)
        require_within("program_mb_a_day", self.program_mb_a_day, 0, 10**9)


class User(msgspec.Struct, frozen=True, kw_only=True):
    """An account, as its user sees it."""

    name: str
    enabled: bool
    quotas: Quotas
    waiting: int
    running: int
    shots_today: int
    program_byte_today: int
    created: str | None


_COLUMNS = (
    "name, enabled, share, highest_priority, most_waiting, shots_a_day, program_mb_a_day, waiting, running, day, shots_today,"
    " program_byte_today, created_s"
)


def _user(row: Row) -> User:
    name, enabled, share, priority, most_waiting, shots_a_day, mb_a_day, waiting, running, day, shots_today, byte_today, created_s = row
    is_today = day == today()
    return User(
        name=name,
        enabled=bool(enabled),
        quotas=Quotas(
            share=share, highest_priority=priority, most_waiting=most_waiting, shots_a_day=shots_a_day, program_mb_a_day=mb_a_day
        ),
        waiting=waiting,
        running=running,
        shots_today=shots_today if is_today else 0,
        program_byte_today=byte_today if is_today else 0,
        created=as_text(created_s),
    )


def today(now_s: float | None = None) -> int:
    """The day of UTC, counted from 1970."""
    return int((time.time() if now_s is None else now_s) // 86_400)


async def add_user(transaction: Transaction, name: str, quotas: Quotas) -> None:
    """A new account. Raises InputError for a name that is taken or cannot be one, or a quota out of its range."""
    require_name("user", name)
    quotas.check()
    made = await transaction.rows(
        "INSERT INTO users (name, created_s, enabled, share, highest_priority, most_waiting, shots_a_day, program_mb_a_day, had, waiting,"
        " running, day, shots_today, program_byte_today, changes) VALUES ($1, $2, 1, $3, $4, $5, $6, $7, 0.0, 0, 0, 0, 0, 0, 0)"
        " ON CONFLICT DO NOTHING RETURNING name",
        name, time.time(), quotas.share, quotas.highest_priority, quotas.most_waiting, quotas.shots_a_day, quotas.program_mb_a_day,
    )  # fmt: skip
    if not made:
        raise InputError("user", name, "is there already")


async def change_user(transaction: Transaction, name: str, quotas: Quotas, *, enabled: bool) -> None:
    """Give an account other quotas, or shut it. Raises InputError as `add_user`, and for an unknown user."""
    quotas.check()
    changed = await transaction.rows(
        "UPDATE users SET share = $2, highest_priority = $3, most_waiting = $4, shots_a_day = $5, program_mb_a_day = $6, enabled = $7"
        " WHERE name = $1 RETURNING name",
        name, quotas.share, quotas.highest_priority, quotas.most_waiting, quotas.shots_a_day, quotas.program_mb_a_day, int(enabled),
    )  # fmt: skip
    if not changed:
        raise _unknown(name)


async def find_user(transaction: Transaction, name: str) -> User:
    """The account of a name. Raises InputError for an unknown user."""
    rows = await transaction.rows(f"SELECT {_COLUMNS} FROM users WHERE name = $1", name)
    if not rows:
        raise _unknown(name)
    return _user(rows[0])


async def list_users(transaction: Transaction) -> list[User]:
    """Every account, by name."""
    return [_user(row) for row in await transaction.rows(f"SELECT {_COLUMNS} FROM users ORDER BY name")]


async def add_key(transaction: Transaction, name: str) -> str:
    """A new API key of a user: print it once, log it nowhere. Raises InputError for an unknown user."""
    await find_user(transaction, name)
    key_id, proof = secret_bytes(_ID_BYTE), secret_bytes(_PROOF_BYTE)
    await transaction.rows(
        "INSERT INTO keys (id, owner, hash, created_s) VALUES ($1, $2, $3, $4)",
        key_id.hex(),
        name,
        _hash(key_id.hex(), proof.hex()),
        time.time(),
    )
    return (key_id + proof).hex()


async def list_keys(transaction: Transaction, name: str) -> list[tuple[str, str | None]]:
    """Identifier and time of each of a user's keys, oldest first."""
    rows = await transaction.rows("SELECT id, created_s FROM keys WHERE owner = $1 ORDER BY created_s, id", name)
    return [(key_id, as_text(created_s)) for key_id, created_s in rows]


async def revoke_key(transaction: Transaction, key_id: str) -> str:
    """End a key, named by its first 16 digits; whose it was. Raises InputError for an unknown one."""
    rows = await transaction.rows("DELETE FROM keys WHERE id = $1 RETURNING owner", key_id)
    if not rows:
        raise InputError("key", key_id[:16], "no key begins so")
    return str(rows[0][0])


async def authenticate(transaction: Transaction, key: str) -> str:
    """The user whose API key this is. Raises NotAuthorised, for whatever reason in the same words."""
    key_id, proof = key[: 2 * _ID_BYTE], key[2 * _ID_BYTE : 2 * (_ID_BYTE + _PROOF_BYTE)]
    rows = await transaction.rows(
        "SELECT k.hash, k.owner, u.enabled FROM keys k JOIN users u ON u.name = k.owner WHERE k.id = $1", key_id if key_id.isalnum() else ""
    )
    wanted, owner, enabled = rows[0] if rows else (_NOBODY, "", 0)
    # The whole key is hashed, whatever its length and letters: what follows takes the same time for every one of them.
    given = _hash(key_id, proof) if len(key) == 2 * (_ID_BYTE + _PROOF_BYTE) else _hash("", "")
    if not (hmac.compare_digest(bytes(wanted), given) and enabled):
        raise NotAuthorised("the API key is not known here")
    return str(owner)


def _hash(key_id: str, proof: str) -> bytes:
    return hashlib.sha256(b"tiandi cloud\0" + key_id.encode(errors="replace") + b"\0" + proof.encode(errors="replace")).digest()


def _unknown(name: str) -> InputError:
    return InputError("user", name[:64], "there is no such user")
