"""Masters and slaves who write down every key they are given, and whether all of it was given rightly."""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
import signal
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec

from tests.crash.network import Network, Process
from tiandi.errors import KmeUnreachable, ProtocolViolation, RemoteRefused
from tiandi.kms.client import AsyncKeyClient, Key, KeyClient, KeysUncertain

OK = 200
NOT_THERE = 400
UNAVAILABLE = 503
NOT_YOURS = 401
CANNOT_OPEN = 2


class Line(msgspec.Struct, frozen=True):
    """``event``: "asked" before a slave's request is sent, "got" when keys came, "lost" when no answer did, "refused"."""

    event: str
    role: str
    master: str
    slave: str
    keys: dict[str, str]
    """Identifiers, and digests of the keys where they came."""


class Journal:
    """What came of every request, on disk before anything else is asked."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("ab", buffering=0)
        self.lines: list[Line] = []

    def write(self, event: str, role: str, pair: tuple[str, str], keys: dict[str, str]) -> None:
        line = Line(event, role, *pair, keys)
        self._file.write(msgspec.json.encode(line) + b"\n")
        os.fdatasync(self._file.fileno())
        self.lines.append(line)

    def close(self) -> None:
        self._file.close()


def digests(keys: Iterable[Key]) -> dict[str, str]:
    """Identifiers with digests of the keys."""
    return {str(key.key_ID): hashlib.sha256(key.key).hexdigest() for key in keys}


@dataclass
class Account:
    """What all SAEs were given, read from the journal."""

    masters: dict[str, tuple[str, tuple[str, str]]] = field(default_factory=dict)
    """Identifier -> digest and pair."""
    slaves: dict[str, str] = field(default_factory=dict)
    uncertain: set[str] = field(default_factory=set)
    """Identifiers that a slave has asked for without an answer."""

    @classmethod
    def read(cls, path: Path) -> Account:
        """Raises AssertionError for a key that was given twice, or is not the same at both."""
        account = cls()
        for text in path.read_bytes().splitlines():
            line = msgspec.json.decode(text, type=Line)
            pair = line.master, line.slave
            if line.event == "got" and line.role == "master":
                for key_id, digest in line.keys.items():
                    assert key_id not in account.masters, f"{key_id} was given to a master twice"
                    account.masters[key_id] = digest, pair
            elif line.event == "got":
                for key_id, digest in line.keys.items():
                    assert key_id not in account.slaves, f"{key_id} was given to a slave twice"
                    assert account.masters[key_id] == (digest, pair), f"{key_id} is another key at the slave, or another pair's"
                    account.slaves[key_id] = digest
            elif line.event == "lost" and line.role == "slave":
                account.uncertain |= line.keys.keys()
        assert len({digest for digest, _ in account.masters.values()}) == len(account.masters), "a key was given under two identifiers"
        return account

    def left(self) -> dict[tuple[str, str], list[UUID]]:
        """Keys that slaves have not been given, by pair."""
        left: dict[tuple[str, str], list[UUID]] = {}
        for key_id, (_, pair) in self.masters.items():
            if key_id not in self.slaves:
                left.setdefault(pair, []).append(UUID(key_id))
        return left


class Applications:
    """SAEs that ask in turn, each answer waited for; they go on asking until they are told."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.path = network.folder / "applications.journal"
        self.journal = Journal(self.path)
        self._clients: dict[str, KeyClient] = {}

    def client(self, sae: str, retry_s: float = 0.0) -> KeyClient:
        if sae not in self._clients:
            addresses, kme = self.network.addresses(sae), self.network.saes[sae]
            self._clients[sae] = KeyClient(addresses, kme, self.network.credentials(sae), retry_s=retry_s)
        return self._clients[sae]

    def close(self) -> None:
        for client in self._clients.values():
            client.close()
        self.journal.close()

    def get_keys(self, pair: tuple[str, str], number: int, *, between: Callable[[], None], timeout_s: float = 90.0) -> list[UUID]:
        """Ask as master until keys come; ``between`` is called after each failure."""
        until_s = time.monotonic() + timeout_s
        while True:
            try:
                keys = digests(self.client(pair[0]).get_keys(pair[1], number=number))
            except KeysUncertain:
                self.journal.write("lost", "master", pair, {})
            except (KmeUnreachable, RemoteRefused) as error:
                require_unavailable(error)
            else:
                self.journal.write("got", "master", pair, keys)
                return [UUID(key_id) for key_id in keys]
            assert time.monotonic() < until_s, f"no keys for {pair} after {timeout_s:g} s"
            between()

    def collect(self, pair: tuple[str, str], key_ids: Sequence[UUID], *, between: Callable[[], None], timeout_s: float = 90.0) -> bool:
        """Ask as slave until an answer comes; false when one was lost, so that the keys may be gone."""
        until_s = time.monotonic() + timeout_s
        while True:
            try:
                keys = digests(self.client(pair[1]).get_keys_with_ids(pair[0], key_ids))
            except KeysUncertain:
                self.journal.write("lost", "slave", pair, {str(key_id): "" for key_id in key_ids})
                return False
            except (KmeUnreachable, RemoteRefused) as error:
                require_unavailable(error)
            else:
                self.journal.write("got", "slave", pair, keys)
                return True
            assert time.monotonic() < until_s, f"no answer for {pair} after {timeout_s:g} s"
            between()

    # When all is quiet.

    def settle(self) -> Account:
        """Have slaves collect what they have not, and check the whole account. Whatever was lost may be gone, nothing else."""
        account = Account.read(self.path)
        for pair, key_ids in account.left().items():
            for key_id in key_ids:
                self._collect_one(pair, key_id, may_be_gone=str(key_id) in account.uncertain)
        account = Account.read(self.path)
        for text, (_, pair) in list(account.masters.items())[-8:]:
            self.assert_refused(pair, UUID(text))
        return account

    def doubt_refused(self) -> None:
        """Of what slaves were refused up to now nobody knows whether it is gone."""
        for pair, key_ids in Account.read(self.path).left().items():
            self.journal.write("lost", "slave", pair, {str(key_id): "" for key_id in key_ids})

    def _collect_one(self, pair: tuple[str, str], key_id: UUID, *, may_be_gone: bool) -> None:
        keys = self._answer(pair, key_id)
        if isinstance(keys, dict):
            self.journal.write("got", "slave", pair, keys)
        else:
            assert may_be_gone, f"{key_id} was given to {pair[0]} and is lost to {pair[1]}: {keys}"
            assert keys == NOT_THERE

    def _answer(self, pair: tuple[str, str], key_id: UUID) -> dict[str, str] | int:
        """The key that a slave is given, or the status it is refused with."""
        try:
            return digests(self.client(pair[1]).get_keys_with_ids(pair[0], [key_id]))
        except RemoteRefused as error:
            return error.status

    def assert_sound(self) -> None:
        """What was given up to now was given once, and to both the same."""
        Account.read(self.path)

    def assert_refused(self, pair: tuple[str, str], key_id: UUID) -> None:
        """A key that was collected is neither its slave's any more nor anybody else's."""
        others = [sae for sae, home in self.network.saes.items() if home == self.network.saes[pair[1]]]
        for slave in others:
            for master in {pair[0], next(sae for sae in self.network.saes if self.network.saes[sae] == self.network.saes[pair[0]])}:
                answer = self._answer((master, slave), key_id)
                assert answer in (NOT_THERE, NOT_YOURS), f"{key_id} of {pair} was given to {master} and {slave}"


def require_unavailable(error: Exception) -> None:
    """A KME that cannot serve says 503 or nothing."""
    if isinstance(error, RemoteRefused):
        assert error.status == UNAVAILABLE, error


@dataclass
class Served:
    """What came of a load: requests that both SAEs had keys of, and requests that failed."""

    served: int
    failed: int


async def under_load(
    network: Network, journal: Journal, pairs: Sequence[tuple[str, str]], disturb: Callable[[], Awaitable[None]], *, chance: random.Random
) -> Served:
    """SAEs ask all the time until ``disturb`` has done what it does."""
    loaders = [Loader(network, journal, pair) for pair in pairs for _ in range(2)]
    goes_on = True

    async def ask(loader: Loader) -> None:
        while goes_on:
            failed = loader.failed
            await loader.step(chance.randrange(1, 5))
            await asyncio.sleep(0.1 if loader.failed > failed else 0.01)

    tasks = [asyncio.create_task(ask(loader)) for loader in loaders]
    try:
        await disturb()
    finally:
        goes_on = False
        await asyncio.gather(*tasks)
        for loader in loaders:
            await loader.close()
    return Served(sum(loader.served for loader in loaders), sum(loader.failed for loader in loaders))


async def ask_at_once(network: Network, journal: Journal, pair: tuple[str, str], key_id: UUID, times: int) -> list[int]:
    """The slave asks for one key on many connections at the same time; the statuses of the answers."""
    addresses, kme, credentials = network.addresses(pair[1]), network.saes[pair[1]], network.credentials(pair[1])
    clients = [AsyncKeyClient(addresses[number % len(addresses)], kme, credentials, retry_s=0.0) for number in range(times)]

    async def ask(client: AsyncKeyClient) -> int:
        try:
            keys = digests(await client.get_keys_with_ids(pair[0], [key_id]))
        except RemoteRefused as error:
            return error.status
        journal.write("got", "slave", pair, keys)
        return OK

    # A connection first, so that the requests come together.
    await asyncio.gather(*(client.status(pair[0]) for client in clients))
    statuses = await asyncio.gather(*(ask(client) for client in clients))
    for client in clients:
        await client.close()
    return sorted(statuses)


async def kill_and_start(victim: Process, chance: random.Random) -> None:
    """SIGKILL, and a new start a little later, and another one while its database cannot be opened."""
    victim.kill()
    await asyncio.sleep(chance.uniform(0.0, 0.2))
    while not victim.is_ready():
        if victim.has_ended():
            assert victim.status in {None, CANNOT_OPEN, -signal.SIGKILL}, victim.log[-2000:]
            victim.begin()
        await asyncio.sleep(0.05)


class Loader:
    """One SAE of a pair as master and the other as slave, asking all the time on a connection that is kept."""

    def __init__(self, network: Network, journal: Journal, pair: tuple[str, str]) -> None:
        self._pair, self._journal = pair, journal
        self._master, self._slave = (
            AsyncKeyClient(network.addresses(sae), network.saes[sae], network.credentials(sae), retry_s=0.0) for sae in pair
        )
        self.served = 0
        self.failed = 0

    async def close(self) -> None:
        await self._master.close()
        await self._slave.close()

    async def step(self, number: int) -> None:
        """Get keys and collect them, once; whatever goes wrong is written down."""
        try:
            keys = digests(await self._master.get_keys(self._pair[1], number=number))
        except (KeysUncertain, KmeUnreachable, RemoteRefused, ProtocolViolation) as error:
            self._note("master", error, {})
            return
        self._journal.write("got", "master", self._pair, keys)
        try:
            found = digests(await self._slave.get_keys_with_ids(self._pair[0], [UUID(key_id) for key_id in keys]))
        except (KeysUncertain, KmeUnreachable, RemoteRefused, ProtocolViolation) as error:
            self._note("slave", error, dict.fromkeys(keys, ""))
            return
        self._journal.write("got", "slave", self._pair, found)
        self.served += 1

    def _note(self, role: str, error: Exception, keys: dict[str, Any]) -> None:
        assert not isinstance(error, ProtocolViolation), error
        if isinstance(error, RemoteRefused):
            assert error.status == UNAVAILABLE, f"{role} of {self._pair}, {list(keys)}: {error}"
        self.failed += 1
        if isinstance(error, KeysUncertain):
            self._journal.write("lost", role, self._pair, keys)
