"""Supply keys: made for a pair of SAEs in reservations of many keys, handed out one by one, each once to each side.

A reservation is one row at the master's KME and one for every slave at the slave's: what is left of its keys under one seal, and a
bit for each key that was delivered. The row without keys stays as the tombstone of all its identifiers.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal
from uuid import UUID

import msgspec

from tiandi.errors import KeyNotFound, KeysExhausted, NotAuthorised, StateError
from tiandi.kms.keys import PREFIX_BYTE, Role, SupplyKey, key_identifier, key_identifiers, split_identifier
from tiandi.kms.states import State
from tiandi.kms.store import ledger
from tiandi.kms.store.database import Row, Transaction
from tiandi.kms.store.ledger import supply_stock
from tiandi.kms.store.sealing import Sealer
from tiandi.units import BIT_PER_BYTE, byte_from_bit

RouteType = Literal["direct", "relayed", "satellite"]
LARGEST_READ = 64

SCHEMA = """
CREATE TABLE reservation (
    prefix BLOB NOT NULL, first_index INTEGER NOT NULL, role TEXT NOT NULL, slave TEXT NOT NULL, master TEXT NOT NULL,
    size_bit INTEGER NOT NULL, key_count INTEGER NOT NULL, left_count INTEGER NOT NULL, state TEXT NOT NULL, stream INTEGER NOT NULL,
    route_type TEXT NOT NULL, paths INTEGER NOT NULL, hops INTEGER NOT NULL, created_ms INTEGER NOT NULL,
    delivered BLOB NOT NULL, sealed BLOB, PRIMARY KEY (prefix, first_index, role, slave)
) STRICT;
CREATE INDEX reservation_ready ON reservation (master, slave, size_bit, created_ms, prefix)
    WHERE state = 'ready' AND role = 'master' AND stream = 0;
CREATE INDEX reservation_age ON reservation (state, created_ms);
"""
_COLUMNS = "prefix, first_index, role, slave, master, size_bit, key_count, left_count, state, created_ms, hops, delivered, sealed"


class Reservation(msgspec.Struct, frozen=True, kw_only=True):
    """What both KMEs know of the keys of one reservation. Key ``i`` of ``count`` has index ``first_index + i``."""

    prefix: bytes
    master: str
    slaves: list[str]
    size_bit: int
    count: int
    first_index: int = 0
    stream: bool = False
    route_type: RouteType = "direct"
    paths: int = 1
    hops: int = 0
    extension: bytes = b""
    """What keys from another network bring along for the next (`etsi020`)."""

    @property
    def length_byte(self) -> int:
        """All keys together."""
        return self.count * byte_from_bit(self.size_bit)

    @property
    def key_ids(self) -> list[UUID]:
        """The identifiers, in order."""
        return key_identifiers(self.prefix, range(self.first_index, self.first_index + self.count))


@dataclass(frozen=True)
class Wanted:
    """Which keys of a pair would do: their route, age [ms] and number of node-disjoint paths; None is no wish."""

    route_type: RouteType | None = None
    maximum_age_ms: int | None = None
    minimum_paths: int = 1


NO_WISH = Wanted()


class _Row(msgspec.Struct, frozen=True, gc=False):
    """A row of the table, its keys still sealed."""

    prefix: bytes
    first_index: int
    role: Role
    slave: str
    master: str
    size_bit: int
    key_count: int
    left_count: int
    state: str
    created_ms: int
    hops: int
    delivered: bytes
    sealed: bytes | None

    @property
    def stock(self) -> str:
        return supply_stock(self.master, self.slave, self.role, self.size_bit)

    def covers(self, index: int) -> bool:
        return self.first_index <= index < self.first_index + self.key_count


class SupplyKeys:
    """The supply keys of one KME. Every method is part of the caller's transaction."""

    def __init__(self, sealer: Sealer) -> None:
        self._sealer = sealer

    async def add(self, transaction: Transaction, reservation: Reservation, role: Role, slave: str, *, keys: bytes, state: State) -> None:
        """Store the keys of a reservation for one side of a pair. Raises StateError when an identifier was used before."""
        r, first = reservation, str(key_identifier(reservation.prefix, reservation.first_index))
        overlapping = await transaction.rows(
            "SELECT 1 FROM reservation WHERE prefix = $1 AND role = $2 AND slave = $3"
            " AND first_index < $5 AND first_index + key_count > $4",
            r.prefix,
            role,
            slave,
            r.first_index,
            r.first_index + r.count,
        )
        if overlapping:
            raise StateError("key_ID", first, "this identifier was used before")
        await transaction.rows(
            "INSERT INTO reservation (prefix, first_index, role, slave, master, size_bit, key_count, left_count, state, stream,"
            " route_type, paths, hops, created_ms, delivered, sealed)"
            " VALUES ($1, $2, $3, $4, $5, $6, $7, $7, $8, $9, $10, $11, $12, $13, $14, $15)",
            r.prefix,
            r.first_index,
            role,
            slave,
            r.master,
            r.size_bit,
            r.count,
            state.value,
            int(r.stream),
            r.route_type,
            r.paths,
            r.hops,
            ledger.now_ms(),
            bytes(-(-r.count // BIT_PER_BYTE)),
            self._sealer.seal(keys, _context(r.prefix, r.first_index, role, slave)),
        )
        stock = supply_stock(r.master, slave, role, r.size_bit)
        await ledger.move(transaction, stock, None, state, r.count * r.size_bit, what=first)

    async def change(
        self, transaction: Transaction, prefix: bytes, first_index: int, before: Sequence[State], after: State, *, role: Role | None = None
    ) -> int:
        """Move what is left of a reservation to another state, here for every side or for one; returns the bits moved.

        An end of life destroys the keys. Rows in other states than ``before`` stay as they are.
        """
        total = 0
        for row in await self._rows(transaction, "prefix = $1 AND first_index = $2", prefix, first_index):
            if row.state not in before or (role is not None and row.role != role):
                continue
            ends = after in {State.VOIDED, State.EXPIRED, State.RELAYED}
            await transaction.rows(
                "UPDATE reservation SET state = $5, sealed = CASE WHEN $6 = 1 THEN NULL ELSE sealed END"
                " WHERE prefix = $1 AND first_index = $2 AND role = $3 AND slave = $4",
                prefix,
                first_index,
                row.role,
                row.slave,
                after.value,
                int(ends),
            )
            bit = row.left_count * row.size_bit
            await ledger.move(transaction, row.stock, State(row.state), after, bit, what=str(key_identifier(prefix, first_index)))
            total += bit
        return total

    async def expire(self, transaction: Transaction, before_ms: int, role: Role) -> int:
        """Destroy one side's ready keys made before that time; returns the bits destroyed. A slave may collect what its master was given
        at the last moment, so that its side is to live longer."""
        conditions = "state = 'ready' AND role = $2 AND created_ms < $1 ORDER BY created_ms LIMIT 100"
        found = {(row.prefix, row.first_index) for row in await self._rows(transaction, conditions, before_ms, role)}
        return sum([await self.change(transaction, *place, [State.READY], State.EXPIRED, role=role) for place in sorted(found)])

    # Delivery.

    async def ready_count(self, transaction: Transaction, master: str, slave: str, size_bit: int) -> int:
        """Keys of this size that the master of a pair can be given now."""
        # Not from the ledger, whose stock also holds what is kept apart.
        rows = await transaction.rows(
            "SELECT coalesce(sum(left_count), 0) FROM reservation WHERE master = $1 AND slave = $2 AND size_bit = $3"
            " AND role = 'master' AND state = 'ready' AND stream = 0",
            master,
            slave,
            size_bit,
        )
        return int(rows[0][0])

    async def deliver_to_master(
        self, transaction: Transaction, master: str, slave: str, *, size_bit: int, number: int, wanted: Wanted = NO_WISH
    ) -> list[SupplyKey]:
        """The oldest ``number`` keys of a pair, marked as delivered. Raises KeysExhausted, and delivers none, when there are fewer."""
        conditions = "master = $1 AND slave = $2 AND size_bit = $3 AND role = 'master' AND state = 'ready' AND stream = 0"
        values: list[object] = [master, slave, size_bit]
        if wanted.route_type is not None:
            values.append(wanted.route_type)
            conditions += f" AND route_type = ${len(values)}"
        if wanted.maximum_age_ms is not None:
            values.append(ledger.now_ms() - wanted.maximum_age_ms)
            conditions += f" AND created_ms >= ${len(values)}"
        if wanted.minimum_paths > 1:
            values.append(wanted.minimum_paths)
            conditions += f" AND paths >= ${len(values)}"
        taken: list[SupplyKey] = []
        most = 1  # One reservation is enough for most requests, and reading what is not needed costs more than asking again.
        while len(taken) < number:
            rows = await self._rows(transaction, f"{conditions} ORDER BY created_ms, prefix LIMIT {most}", *values)
            # In a cluster others may have emptied these rows meanwhile, while there are more.
            if not rows and (wanted != NO_WISH or await self.ready_count(transaction, master, slave, size_bit) < number - len(taken)):
                raise KeysExhausted(f"supply for {master} and {slave}", len(taken) * size_bit, number * size_bit)
            for row in rows:
                count = min(number - len(taken), row.left_count)
                if count:
                    taken += await self._take(transaction, row, _first_left(row, count))
            most = min(2 * most, LARGEST_READ)
        return taken

    async def deliver_to_slave(self, transaction: Transaction, master: str, slave: str, key_ids: Sequence[UUID]) -> list[SupplyKey]:
        """The keys of these identifiers, marked as delivered; all or none.

        Raises KeyNotFound when one is unknown or was delivered before, NotAuthorised when one is another pair's.
        """
        if len(set(key_ids)) < len(key_ids):
            raise KeyNotFound("a key identifier is asked for twice")
        wanted: dict[bytes, list[int]] = {}
        for key_id in key_ids:
            prefix, index = split_identifier(key_id)
            wanted.setdefault(prefix, []).append(index)
        keys: dict[UUID, SupplyKey] = {}
        for prefix, indices in sorted(wanted.items()):
            rows = await self._rows(transaction, "prefix = $1 ORDER BY first_index, role, slave", prefix)
            portions: dict[int, list[int]] = {}
            for index in indices:
                portions.setdefault(_row_for(rows, index, master, slave), []).append(index)
            for place, portion in portions.items():
                keys |= {key.key_id: key for key in await self._take(transaction, rows[place], sorted(portion))}
        return [keys[key_id] for key_id in key_ids]

    async def deliver_all(self, transaction: Transaction, prefix: bytes, first_index: int, count: int) -> list[SupplyKey]:
        """Every key of a reservation to its master. Raises KeyNotFound when they are not there, or not all of them."""
        rows = await self._rows(transaction, "prefix = $1 AND first_index = $2 AND role = 'master'", prefix, first_index)
        if not rows or rows[0].state != State.READY or rows[0].left_count != count:
            raise KeyNotFound(str(key_identifier(prefix, first_index)))
        return await self._take(transaction, rows[0], _first_left(rows[0], count))

    async def deliver_of(self, transaction: Transaction, prefix: bytes, index: int, sae: str) -> tuple[SupplyKey, int, int]:
        """One key of a stream's reservation to one of its SAEs: the key, its age [ms], and trusted nodes on its way. Raises KeyNotFound."""
        for row in await self._rows(transaction, "prefix = $1 AND first_index = 0 AND stream = 1", prefix):
            if (row.master if row.role == "master" else row.slave) != sae:
                continue
            if row.state == State.READY and row.covers(index) and not _is_delivered(row, index):
                [key] = await self._take(transaction, row, [index])
                return key, ledger.now_ms() - row.created_ms, row.hops
        raise KeyNotFound(str(key_identifier(prefix, index)))

    async def _take(self, transaction: Transaction, row: _Row, indices: Sequence[int]) -> list[SupplyKey]:
        """Keys of one row, indices rising; what is left is sealed anew, so that no delivered key stays."""
        assert row.sealed is not None
        context = _context(row.prefix, row.first_index, row.role, row.slave)
        await self._sealer.ensure(transaction, [row.sealed])
        left = self._sealer.open(row.sealed, context)
        delivered = int.from_bytes(row.delivered, "little")
        places = [index - row.first_index for index in indices]
        keys, rest, delivered = _cut(left, delivered, places, byte_from_bit(row.size_bit))
        taken = [SupplyKey(key_id, key) for key_id, key in zip(key_identifiers(row.prefix, indices), keys, strict=True)]
        left_count = row.left_count - len(indices)
        state = State.READY if left_count else State.DELIVERED
        await transaction.rows(
            "UPDATE reservation SET delivered = $5, left_count = $6, state = $7, sealed = $8"
            " WHERE prefix = $1 AND first_index = $2 AND role = $3 AND slave = $4",
            row.prefix,
            row.first_index,
            row.role,
            row.slave,
            delivered.to_bytes(len(row.delivered), "little"),
            left_count,
            state.value,
            self._sealer.seal(rest, context) if left_count else None,
        )
        bit = len(indices) * row.size_bit
        what = f"{taken[0].key_id} and {len(taken) - 1} more" if len(taken) > 1 else str(taken[0].key_id)
        await ledger.move(transaction, row.stock, State.READY, State.DELIVERED, bit, what=what)
        return taken

    async def held(self, transaction: Transaction, prefix: bytes, first_index: int, slave: str) -> bytes:
        """All keys of a reservation that is held for a slave beyond this network. Raises KeyNotFound when it is not."""
        rows = await self._rows(
            transaction, "prefix = $1 AND first_index = $2 AND role = 'slave' AND slave = $3", prefix, first_index, slave
        )
        if not rows or rows[0].state != State.HELD or rows[0].sealed is None:
            raise KeyNotFound(str(key_identifier(prefix, first_index)))
        await self._sealer.ensure(transaction, [rows[0].sealed])
        return self._sealer.open(rows[0].sealed, _context(prefix, first_index, "slave", slave))

    async def is_taken(self, transaction: Transaction, prefix: bytes, index: int) -> bool:
        """Whether this KME knows, or knew, a key of that identifier."""
        query = "SELECT 1 FROM reservation WHERE prefix = $1 AND first_index <= $2 AND first_index + key_count > $2 LIMIT 1"
        return bool(await transaction.rows(query, prefix, index))

    async def find(self, transaction: Transaction, prefix: bytes, first_index: int) -> list[tuple[Role, str, State]]:
        """Role, slave and state of every side of a reservation that this KME knows."""
        rows = await self._rows(transaction, "prefix = $1 AND first_index = $2", prefix, first_index)
        return [(row.role, row.slave, State(row.state)) for row in rows]

    async def _rows(self, transaction: Transaction, conditions: str, *values: object) -> list[_Row]:
        rows: list[Row] = await transaction.rows(f"SELECT {_COLUMNS} FROM reservation WHERE {conditions} FOR UPDATE", *values)
        return [_Row(*row) for row in rows]


def _first_left(row: _Row, count: int) -> Sequence[int]:
    """The first ``count`` indices that were not delivered."""
    delivered = int.from_bytes(row.delivered, "little")
    if delivered & (delivered + 1) == 0:  # All that were delivered come before all that were not.
        start = row.first_index + delivered.bit_length()
        return range(start, start + count)
    left = (row.first_index + i for i in range(row.key_count) if not delivered >> i & 1)
    return list(itertools.islice(left, count))


def _cut(left: bytes, delivered: int, places: Sequence[int], size: int) -> tuple[list[bytes], bytes, int]:
    """The keys at rising ``places``, none of which was delivered; what is left without them; and what is delivered from now on."""
    keys, rest, after, gone = [], [], 0, delivered
    for low, high in _runs(places):
        start = (low - (delivered & ((1 << low) - 1)).bit_count()) * size
        end = start + (high - low) * size
        keys += [left[at : at + size] for at in range(start, end, size)]
        rest.append(left[after:start])
        after = end
        gone |= (1 << high) - (1 << low)
    rest.append(left[after:])
    return keys, b"".join(rest), gone


def _runs(places: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Rising numbers in ranges without a gap: from, and up to but not including."""
    low = previous = places[0]
    if places[-1] - low + 1 == len(places):
        yield low, low + len(places)
        return
    for place in places:
        if place > previous + 1:
            yield low, previous + 1
            low = place
        previous = place
    yield low, previous + 1


def _is_delivered(row: _Row, index: int) -> bool:
    place = index - row.first_index
    return bool(row.delivered[place // BIT_PER_BYTE] >> place % BIT_PER_BYTE & 1)


def _row_for(rows: list[_Row], index: int, master: str, slave: str) -> int:
    """Which row holds key ``index`` for a slave. Raises KeyNotFound, or NotAuthorised when it is others' only."""
    covering = [place for place, row in enumerate(rows) if row.covers(index)]
    if not covering:
        raise KeyNotFound("an identifier is unknown")
    for place in covering:
        row = rows[place]
        if (row.role, row.slave, row.master) == ("slave", slave, master):
            if row.state != State.READY or _is_delivered(row, index):
                raise KeyNotFound(f"{key_identifier(row.prefix, index)} was delivered before, or is {row.state}")
            return place
    raise NotAuthorised(f"a key is not for {slave}")


def _context(prefix: bytes, first_index: int, role: Role, slave: str) -> bytes:
    """What the keys of a row are sealed as: they open nowhere else."""
    assert len(prefix) == PREFIX_BYTE
    return b"supply key " + prefix + first_index.to_bytes(2, "big") + f"{role} {slave}".encode()
