"""KMEs for benchmarks: each a process of its own behind mutual TLS on loopback, over a durable store, told what to do through a pipe."""

from __future__ import annotations

import asyncio
import os
import random
import socket
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any
from uuid import UUID

from tiandi.distill.records import KeyBlock
from tiandi.kms.directory import Directory, PairPolicy, Sae
from tiandi.kms.entity import KeyManagementEntity
from tiandi.kms.etsi014 import Limits
from tiandi.kms.keys import Half
from tiandi.kms.relay.neighbours import Neighbours
from tiandi.kms.server import LOOPBACK, KmeServer, create_app, listen
from tiandi.kms.store.master_keys import create_master_key_file, open_master_key
from tiandi.kms.store.sqlite_database import SqliteDatabase
from tiandi.kms.tls.contexts import ServerTls
from tiandi.kms.tls.pki import CertificateAuthority, Credentials

FORK = get_context("fork")
BLOCK_BYTE = 1 << 20
RESERVATION = 1024
AT_ONCE = 8
KEY_BIT = 256
DISK_S = 0.5
LIMITS = Limits(max_key_count=10_000_000)


@dataclass(frozen=True)
class Plan:
    """A line of KMEs and the pairs (master at the first, slave at the last) whose keys go along it."""

    kmes: tuple[str, ...]
    pairs: tuple[tuple[str, str], ...]
    addresses: dict[str, str]
    credentials: dict[str, Credentials]

    def directory(self) -> Directory:
        """What every KME of the line knows."""
        homes = {master: self.kmes[0] for master, _ in self.pairs} | {slave: self.kmes[-1] for _, slave in self.pairs}
        return Directory(
            kme_addresses=dict(self.addresses),
            saes={sae: Sae(home) for sae, home in homes.items()},
            find_routes=lambda source, target, bit, paths: [self.kmes],
            default_policy=PairPolicy(ahead_count=0),
        )


@dataclass
class Block:
    """A block of key as a link gives it to one end; both ends draw it from the same seed."""

    peer: str
    own_half: Half
    seed: int
    name: str = "benchmark"

    async def take_blocks(self) -> list[KeyBlock]:
        """The block."""
        drawn = random.Random(self.seed)
        return [KeyBlock(UUID(int=drawn.getrandbits(128), version=4), drawn.randbytes(BLOCK_BYTE))]

    async def acknowledge(self, block_ids: Any) -> None:
        """There is no other copy."""


class Network:
    """A line of KMEs that run. `call` has one of them do one of `Kme`'s methods."""

    def __init__(self, plan: Plan, folder: Path, pipes: dict[str, Connection]) -> None:
        self.plan, self.folder, self._pipes = plan, folder, pipes

    def call(self, kme: str, method: str, *arguments: Any) -> Any:
        """What the method returns there. Raises RuntimeError for whatever it raised."""
        return self.call_all([kme], method, *arguments)[0]

    def call_all(self, kmes: Sequence[str], method: str, *arguments: Any) -> list[Any]:
        """As `call`, at several KMEs at once."""
        for kme in kmes:
            self._pipes[kme].send((method, arguments))
        answers = [self._pipes[kme].recv() for kme in kmes]
        for answer in answers:
            if isinstance(answer, Exception):
                raise RuntimeError(f"{method}: {answer!r}")
        return answers

    def fill_links(self, megabyte: int) -> None:
        """Give every link ``megabyte`` MiB of key under which the first of its ends can send, and wait until it is compared."""
        for _ in range(2 * megabyte):
            for near, far in zip(self.plan.kmes, self.plan.kmes[1:], strict=False):
                seed = random.getrandbits(62)
                self.call(far, "collect", Block(near, "second", seed))
                self.call(near, "collect", Block(far, "first", seed))
        for near, far in zip(self.plan.kmes, self.plan.kmes[1:], strict=False):
            self.call(near, "await_link", far, megabyte * 8 * BLOCK_BYTE * 9 // 10)

    def cpu_s(self) -> dict[str, float]:
        """Processor time of each KME so far [s]."""
        return dict(zip(self.plan.kmes, self.call_all(self.plan.kmes, "cpu_s"), strict=True))


@contextmanager
def network(folder: Path, *, kmes: int, pairs: int = 1) -> Iterator[Network]:
    """``kmes`` KMEs in a line, each serving in its own process."""
    names = tuple(f"kme-{number}" for number in range(kmes))
    saes = tuple((f"master-{number}", f"slave-{number}") for number in range(pairs))
    authority = CertificateAuthority(folder / "pki")
    credentials = {name: authority.issue("kme", name) for name in names}
    credentials |= {sae: authority.issue("sae", sae) for pair in saes for sae in pair}
    listeners = {name: listen(0, "benchmark") for name in names}
    addresses = {name: f"https://{LOOPBACK}:{listeners[name].getsockname()[1]}" for name in names}
    plan = Plan(names, saes, addresses, credentials)
    with _processes({name: (_serve_kme, plan, folder, name, listeners[name]) for name in names}) as pipes:
        yield Network(plan, folder, pipes)


@contextmanager
def empty_handler(plan: Plan, body_byte: int) -> Iterator[tuple[str, Callable[[], dict[str, float]]]]:
    """The bare limit: a server of the same TLS and uvicorn that answers ``body_byte`` bytes without a thought.

    Gives its address, and what tells its processor time.
    """
    listener = listen(0, "benchmark")
    address = f"https://{LOOPBACK}:{listener.getsockname()[1]}"
    with _processes({"server": (_serve_empty, plan, body_byte, listener)}) as pipes:
        yield address, Network(replace(plan, kmes=("server",)), Path(), pipes).cpu_s


@contextmanager
def _processes(wanted: dict[str, tuple[Any, ...]]) -> Iterator[dict[str, Connection]]:
    pipes, running = {}, []
    for name, (work, *arguments) in wanted.items():
        pipes[name], far = FORK.Pipe()
        running.append(FORK.Process(target=_run, args=(work, far, *arguments)))
        running[-1].start()
        far.close()
    try:
        for name, pipe in pipes.items():
            if (answer := pipe.recv()) != "ready":
                raise RuntimeError(f"{name}: {answer!r}")
        yield pipes
    finally:
        for pipe in pipes.values():
            pipe.send(("stop", ()))
        for process in running:
            process.join(20)
            process.terminate()


def _run(work: Callable[..., Coroutine[Any, Any, None]], pipe: Connection, *arguments: Any) -> None:
    asyncio.run(work(pipe, *arguments))


async def _serve_kme(pipe: Connection, plan: Plan, folder: Path, name: str, listener: socket.socket) -> None:
    directory = plan.directory()
    post = Neighbours(plan.credentials[name], directory)
    key = folder / f"{name}.key"
    create_master_key_file(key)
    store = SqliteDatabase(folder / f"{name}.sqlite")
    entity = await KeyManagementEntity.open(name, store, open_master_key(f"file:{key}"), directory=directory, post=post, limits=LIMITS)
    server = KmeServer(entity, create_app(entity), ServerTls(plan.credentials[name]), listener)
    await server.start()
    await _obey(pipe, Kme(entity))
    await server.stop()
    await post.close()


async def _serve_empty(pipe: Connection, plan: Plan, body_byte: int, listener: socket.socket) -> None:
    body = bytes(body_byte).replace(b"\0", b" ")
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % body_byte), (b"cache-control", b"no-store")]

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body, "more_body": False})

    server: Any = KmeServer(_Nobody(), app, ServerTls(plan.credentials[plan.kmes[0]]), listener)  # type: ignore[arg-type]
    await server.start()
    await _obey(pipe, _Nobody())
    await server.stop()


class _Nobody:
    """In the place of an entity where there is none."""

    def start(self) -> None:
        """Nothing to take up."""

    async def close(self) -> None:
        """Nothing to close."""

    async def cpu_s(self) -> float:
        """Processor time of this process [s]."""
        return time.process_time()


async def _obey(pipe: Connection, servant: Any) -> None:
    """Do what comes through the pipe until it says stop."""
    loop = asyncio.get_running_loop()
    pipe.send("ready")
    while True:
        method, arguments = await loop.run_in_executor(None, pipe.recv)
        if method == "stop":
            return
        try:
            pipe.send(await getattr(servant, method)(*arguments))
        except Exception as error:  # Whoever asked is told.
            pipe.send(error)


class Kme:
    """What a benchmark can have a KME do."""

    def __init__(self, entity: KeyManagementEntity) -> None:
        self._entity = entity

    async def cpu_s(self) -> float:
        """Processor time of this process, all its threads [s]."""
        return time.process_time()

    async def collect(self, block: Block) -> int:
        """Store a block of link key."""
        return await self._entity.collect(block)

    async def await_link(self, peer: str, bit: int) -> None:
        """Wait for so much link key with a peer."""
        async with asyncio.timeout(60):
            while await self._entity.stock_bit(peer) < bit:
                await self._entity.exchange.compare(peer)
                await asyncio.sleep(0.02)

    async def reserve(self, pairs: Sequence[tuple[str, str]], reservations: int, count: int = RESERVATION) -> float:
        """Make ``reservations`` of ``count`` keys for each pair, some at once; how long that took [s]."""
        began_s = time.perf_counter()
        turns = [pair for _ in range(reservations) for pair in pairs]
        free = asyncio.Semaphore(AT_ONCE)

        async def one(master: str, slave: str) -> None:
            async with free:
                await self._entity.reserve(master, [slave], size_bit=KEY_BIT, count=count)

        await asyncio.gather(*(one(*pair) for pair in turns))
        return time.perf_counter() - began_s

    async def ready_count(self, pairs: Sequence[tuple[str, str]]) -> int:
        """Keys that masters can be given now."""
        return sum([await self._entity.supply.ready_count(*pair, KEY_BIT) for pair in pairs])

    async def keep_ahead(self, count: int) -> None:
        """Keep so many keys ready for every pair from now on, more for one that takes more; 0 for none."""
        self._entity.directory.default_policy = PairPolicy(ahead_count=count)

    async def made_count(self) -> int:
        """Keys ready or delivered, whether they still are there or not."""
        accounts = await self._entity.account()
        bits = [states.get(name, 0) for stock, states in accounts.items() if stock.startswith("supply ") for name in ("ready", "delivered")]
        return sum(bits) // KEY_BIT


def fdatasync_rate(folder: Path) -> float:
    """How often a second the disk takes a page for good."""
    page, number = bytes(4096), 0
    with (folder / "disk").open("w+b") as file:
        file.write(page * 256)
        os.fsync(file.fileno())
        end_s = time.perf_counter() + DISK_S
        while time.perf_counter() < end_s:
            os.pwrite(file.fileno(), page, number % 256 * 4096)
            os.fdatasync(file.fileno())
            number += 1
    return number / DISK_S
