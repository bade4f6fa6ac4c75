"""What operators change while a KME runs: SAEs, pairs, and whether it is being drained.

It stands in a table, so that it survives a restart and reaches every process of a node; a configuration file gives what holds where
nothing stands here. What an operator deletes stays in the table as deleted, so that a file does not bring it back.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

import msgspec

from tiandi.errors import InputError
from tiandi.kms.directory import PairPolicy, RelayForm, Sae
from tiandi.kms.entity import KeyManagementEntity
from tiandi.kms.relay.relay_messages import MOST_SHARES
from tiandi.kms.skip import Systems
from tiandi.kms.store import ledger
from tiandi.kms.store.database import Row, Transaction
from tiandi.kms.tls.identities import require_identity

SCHEMA = """
CREATE TABLE setting (
    kind TEXT NOT NULL, name TEXT NOT NULL, value TEXT NOT NULL, changed_ms INTEGER NOT NULL, PRIMARY KEY (kind, name)
) STRICT;
"""

Kind = Literal["sae", "pair", "draining"]
REVISION = "revision"
DELETED = "null"
LARGEST_RATE_BPS = 2**53
LARGEST_STOCK_COUNT = 100_000

Rate: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=LARGEST_RATE_BPS)]
Paths: TypeAlias = Annotated[int, msgspec.Meta(ge=1, le=MOST_SHARES)]


class SaeSetting(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An SAE as operators write it; see `tiandi.kms.directory.Sae`."""

    home: str
    system_id: str = ""
    may_pair_with_itself: bool = False
    beyond: str = ""


class PairSetting(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a pair may have as operators write it; see `tiandi.kms.directory.PairPolicy`."""

    priority: Annotated[int, msgspec.Meta(ge=0, le=255)] = 1
    minimum_bps: Rate = 0
    maximum_bps: Rate | None = None
    ahead_count: Annotated[int, msgspec.Meta(ge=0, le=LARGEST_STOCK_COUNT)] = 64
    ahead_sizes: Annotated[int, msgspec.Meta(ge=1, le=64)] = 4
    paths: Paths = 1
    threshold: Paths | None = None
    post_quantum: bool = False
    relay_form: RelayForm = "hop-by-hop"
    least_trust: Literal["", "foreign", "shared", "own", "guarded"] = ""


_decode_sae = msgspec.json.Decoder(SaeSetting)
_decode_pair = msgspec.json.Decoder(PairSetting)


class Settings:
    """The settings of one node, as one of its processes sees them. Call `refresh` at start, and every second or two."""

    def __init__(self, entity: KeyManagementEntity) -> None:
        self._entity = entity
        self._revision = -1
        self._known: dict[tuple[str, str], str] = {}

    async def refresh(self) -> None:
        """Have the entity and its directory know what was changed, here or by another process. Raises StateError."""
        revision, rows = await self._entity.database.run(_changed_since, self._revision)
        for kind, name, value in rows:
            if self._known.get((kind, name)) != value:
                self._apply(kind, name, value)
                self._known[kind, name] = value
        self._revision = revision

    async def refresh_all(self) -> None:
        """As `refresh`, over a directory that was written anew from the configuration file."""
        self._revision, self._known = -1, {}
        await self.refresh()

    async def put_sae(self, who: str, sae: str, setting: SaeSetting) -> bool:
        """Make or change an SAE; false when it is so already. Raises InputError for what cannot stand."""
        await self.refresh()
        require_identity(sae, "SAE_ID")
        known = {self._entity.kme_id, *self._entity.directory.kme_addresses}
        if setting.home not in known:
            raise InputError("home", setting.home, "must be a KME of this network")
        if setting.beyond and setting.beyond not in self._entity.directory.partners:
            raise InputError("beyond", setting.beyond, "must be a partner of this network")
        if setting.system_id:
            others = {name: other.system_id for name, other in self._entity.directory.saes.items() if name != sae and other.system_id}
            Systems({**others, sae: setting.system_id})
        if self._entity.directory.saes.get(sae) == _sae(setting):
            return False
        return await self._write(who, "sae", sae, msgspec.json.encode(setting).decode())

    async def delete_sae(self, who: str, sae: str) -> bool:
        """From now on no SAE of that name is known; false when none was."""
        await self.refresh()
        return sae in self._entity.directory.saes and await self._write(who, "sae", sae, DELETED)

    async def put_pair(self, who: str, master: str, slave: str, setting: PairSetting) -> bool:
        """Let a pair share keys, under this policy; false when it is so already. Raises InputError for what cannot stand."""
        await self.refresh()
        for sae in (master, slave):
            self._entity.directory.home(sae)
        if master == slave and not self._entity.directory.saes[master].may_pair_with_itself:
            raise InputError("slave_SAE_ID", slave, "must be another SAE than the master")
        if setting.maximum_bps is not None and setting.maximum_bps < setting.minimum_bps:
            raise InputError("maximum_bps", setting.maximum_bps, f"must not be below minimum_bps = {setting.minimum_bps}")
        if setting.threshold is not None and not setting.paths // 2 < setting.threshold <= setting.paths:
            raise InputError("threshold", setting.threshold, f"must be more than half of paths = {setting.paths}, and not above it")
        if self._entity.directory.policies.get((master, slave)) == _policy(setting) and self._may_share(master, slave):
            return False
        return await self._write(who, "pair", _pair_name(master, slave), msgspec.json.encode(setting).decode())

    async def delete_pair(self, who: str, master: str, slave: str) -> bool:
        """Forget a pair: it may share no more keys or, where any pair may, falls back to the policy of all; false for an unknown one."""
        await self.refresh()
        directory = self._entity.directory
        is_known = (master, slave) in directory.policies or (master, slave) in (directory.pairs or ())
        return is_known and await self._write(who, "pair", _pair_name(master, slave), DELETED)

    async def drain(self, who: str, *, draining: bool) -> bool:
        """Hand out no new keys, in every process of the node, or do so again; false when it is so already."""
        await self.refresh()
        return draining != self._entity.draining and await self._write(who, "draining", "", msgspec.json.encode(draining).decode())

    def _may_share(self, master: str, slave: str) -> bool:
        pairs = self._entity.directory.pairs
        return pairs is None or (master, slave) in pairs

    async def _write(self, who: str, kind: Kind, name: str, value: str) -> bool:
        await self._entity.database.run(_write, who, kind, name, value)
        await self.refresh()
        return True

    def _apply(self, kind: str, name: str, value: str) -> None:
        directory = self._entity.directory
        if kind == "draining":
            self._entity.draining = value == "true"
        elif kind == "sae" and value == DELETED:
            directory.saes.pop(name, None)
        elif kind == "sae":
            directory.saes[name] = _sae(_decode_sae.decode(value))
        elif kind == "pair":
            master, _, slave = name.partition(" ")
            if value == DELETED:
                directory.policies.pop((master, slave), None)
                (directory.pairs or set()).discard((master, slave))
            else:
                directory.policies[master, slave] = _policy(_decode_pair.decode(value))
                if directory.pairs is not None:
                    directory.pairs.add((master, slave))


async def _changed_since(transaction: Transaction, revision: int) -> tuple[int, list[Row]]:
    """The revision of the table, and its rows when it is another one."""
    found = await transaction.rows("SELECT value FROM setting WHERE kind = $1", REVISION)
    now = int(found[0][0]) if found else 0
    if now == revision:
        return now, []
    return now, await transaction.rows("SELECT kind, name, value FROM setting WHERE kind <> $1 ORDER BY kind, name", REVISION)


async def _write(transaction: Transaction, who: str, kind: Kind, name: str, value: str) -> None:
    query = (
        "INSERT INTO setting (kind, name, value, changed_ms) VALUES ($1, $2, $3, $4)"
        " ON CONFLICT (kind, name) DO UPDATE SET value = excluded.value, changed_ms = excluded.changed_ms"
    )
    # The revision's row makes writers take turns, so that whoever has seen a revision has seen all before it.
    now_ms = ledger.now_ms()
    await transaction.rows(
        "INSERT INTO setting (kind, name, value, changed_ms) VALUES ($1, '', '1', $2) ON CONFLICT (kind, name)"
        " DO UPDATE SET value = CAST(CAST(setting.value AS INTEGER) + 1 AS TEXT), changed_ms = excluded.changed_ms",
        REVISION,
        now_ms,
    )
    await transaction.rows(query, kind, name, value, now_ms)
    ledger.note(transaction, who, f"{kind} {name} {value}".replace("  ", " "))


def _pair_name(master: str, slave: str) -> str:
    for sae in (master, slave):
        require_identity(sae, "SAE_ID")
    return f"{master} {slave}"


def _sae(setting: SaeSetting) -> Sae:
    return Sae(**msgspec.structs.asdict(setting))


def _policy(setting: PairSetting) -> PairPolicy:
    return PairPolicy(**msgspec.structs.asdict(setting))
