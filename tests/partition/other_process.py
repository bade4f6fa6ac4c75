"""One KME in a process of its own, whose clock is a while ahead: run with a plan in JSON, serves until its standard input ends."""

from __future__ import annotations

import sys
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec

from tiandi.distill.records import KeyBlock
from tiandi.kms.directory import Directory, PairPolicy, Sae
from tiandi.kms.keys import Half
from tiandi.kms.server import KmeHost, listen
from tiandi.kms.store import ledger
from tiandi.kms.store.master_keys import create_master_key_file, open_master_key
from tiandi.kms.store.sqlite_database import SqliteDatabase
from tiandi.kms.tls.pki import credentials_in


class Plan(msgspec.Struct):
    """What there is to know."""

    folder: str
    pki: str
    kme: str
    address: str
    """At which this KME listens."""
    ahead_ms: int
    addresses: dict[str, str]
    """Of every KME, https://host:port."""
    homes: dict[str, str]
    """Of every SAE."""
    blocks: dict[str, list[tuple[UUID, bytes, Half]]]
    """Link key by peer: identifier, key, and which half is this end's."""
    ahead_count: int = 32


@dataclass
class Block:
    """A key source that has made one block."""

    peer: str
    own_half: Half
    block: KeyBlock
    name: str = "block"

    async def take_blocks(self) -> list[KeyBlock]:
        return [self.block]

    async def acknowledge(self, block_ids: Collection[UUID]) -> None:
        pass


def run(plan: Plan) -> None:
    """Serve, say the accounts for every line that is read, stop at the end."""
    now_ms = ledger.now_ms
    ledger.now_ms = lambda: now_ms() + plan.ahead_ms
    names = list(plan.addresses)

    def find_routes(source: str, target: str, wanted_bit: int, paths: int) -> list[list[str]]:
        here, there = names.index(source), names.index(target)
        return [names[here : there + 1] if here < there else names[there : here + 1][::-1]]

    host = KmeHost(Directory(find_routes=find_routes, default_policy=PairPolicy(ahead_count=plan.ahead_count)))
    folder = Path(plan.folder)
    create_master_key_file(folder / f"{plan.kme}.key")
    host_name, _, port = plan.address.rpartition(":")
    host.add(
        plan.kme,
        SqliteDatabase(folder / f"{plan.kme}.sqlite"),
        open_master_key(f"file:{folder / plan.kme}.key"),
        credentials=credentials_in(Path(plan.pki), "kme", plan.kme),
        listener=listen(int(port), "port", host_name),
    )
    host.directory.kme_addresses = dict(plan.addresses)
    host.directory.saes.update({sae: Sae(home) for sae, home in plan.homes.items()})
    with host:
        for peer, blocks in plan.blocks.items():
            for block_id, key, half in blocks:
                host.call(host.entities[plan.kme].collect(Block(peer, half, KeyBlock(block_id, key))))
        say("serving")
        for _ in sys.stdin:
            say(host.call(_open_count(host)))


async def _open_count(host: KmeHost) -> int:
    async def count(transaction: Any) -> int:
        query = "SELECT count(*) FROM reservation WHERE state IN ('reserved', 'uncertain', 'held')"
        return int((await transaction.rows(query))[0][0])

    return sum([await entity.database.run(count) for entity in host.entities.values()])


def say(what: object) -> None:
    """One line to whoever started this process."""
    print(what, flush=True)


if __name__ == "__main__":
    run(msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=Plan))
