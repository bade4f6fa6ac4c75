"""KMEs in processes of their own, how they are killed and started again, and what must hold of them when all is quiet."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any
from uuid import uuid4

import msgspec

from tests.crash.faults import Fault
from tests.crash.nursery import Nursery
from tests.crash.runner import Start
from tests.ports import free_port
from tiandi.kms.store.master_keys import create_master_key_file, write_secret
from tiandi.kms.store.postgres_database import COMMAND_TIMEOUT_S, LOOK_UP_S
from tiandi.kms.tls.pki import CertificateAuthority, Credentials, credentials_in

QUIET_TIMEOUT_S = 30.0 + COMMAND_TIMEOUT_S + LOOK_UP_S
"""What was asked just when a server of PostgreSQL went may take its own time beside that of KMEs."""
START_TIMEOUT_S = 240.0
"""The first start of an installation compiles the loops, which other workers of the tests may do at the same time."""
LINK_KEY_BYTE = 4096
FAULT = re.compile("Traceback|fault at a door|never retrieved|never awaited")
"""What nobody ought to find in a log."""
USABLE = {"ready", "delivered"}


class Died(Exception):
    """A process ended while it was asked something."""


@dataclass
class Process:
    """One process of a KME. ``status`` is how it ended last, ``deaths`` how often it was killed."""

    name: str
    kme: str
    folder: Path
    port: int
    nursery: Nursery
    hand_overs: list[tuple[str, str, str]] = field(default_factory=list)
    stored_in: Path | None = None
    """Where its SQLite file is, if not in the network's folder."""
    number: int | None = None
    status: int | None = None
    deaths: int = 0

    @property
    def address(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    @property
    def store(self) -> Path:
        return (self.stored_in or self.folder) / f"{self.kme}.sqlite"

    @property
    def log(self) -> str:
        path = self.folder / f"{self.name}.log"
        return path.read_text() if path.exists() else ""

    @property
    def _control(self) -> Path:
        return self.folder / f"{self.name}.control"

    def begin(self, fault: Fault | None = None) -> None:
        """Start; it need not be ready when this returns."""
        assert self.number is None, f"{self.name} runs"
        self._control.unlink(missing_ok=True)
        files = {"configuration": str(self.folder / f"{self.name}.toml"), "control": str(self._control)}
        start = Start(**files, log=str(self.folder / f"{self.name}.log"), hand_overs=self.hand_overs, fault=fault)
        self.number = self.nursery.start(start)

    def wait_until_ready(self) -> bool:
        """True once it serves, False when it has ended instead."""
        until_s = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < until_s:
            if self.is_ready():
                return True
            if self.has_ended():
                return False
            time.sleep(0.02)
        raise AssertionError(f"{self.name} is not ready after {START_TIMEOUT_S:g} s:\n{self.log[-2000:]}")

    def is_ready(self) -> bool:
        """Whether it answers the test, which it does as soon as it serves."""
        if not self._control.exists():
            return False
        try:
            self.ask("counts")
        except Died:
            return False
        return True

    def start(self) -> None:
        self.begin()
        assert self.wait_until_ready(), f"{self.name} ended: {self.log[-2000:]}"

    def kill(self) -> None:
        """SIGKILL, wherever it is."""
        assert self.number is not None
        os.kill(self.number, signal.SIGKILL)
        self.end()

    def stop(self) -> int:
        """SIGTERM; the exit status."""
        assert self.number is not None
        os.kill(self.number, signal.SIGTERM)
        return self.end()

    def end(self) -> int:
        """Wait for its end; the exit status."""
        assert self.number is not None
        return self._ended(self.nursery.wait(self.number))

    def has_ended(self) -> bool:
        """Whether it has ended by itself; not asked again once it has."""
        if self.number is None:
            return True
        status = self.nursery.poll(self.number)
        if status is None:
            return False
        self._ended(status)
        return True

    def _await_end(self) -> None:
        """The socket of a process that was killed may be closed before its parent hears of it."""
        until_s = time.monotonic() + 0.2
        while not self.has_ended() and time.monotonic() < until_s:
            time.sleep(0.01)

    def _ended(self, status: int) -> int:
        self.number, self.status = None, status
        self.deaths += status == -signal.SIGKILL
        return status

    def ask(self, command: str, argument: Any = None) -> Any:
        """What the process answers. Raises Died when it ended instead, AssertionError when what was asked does not hold."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(20.0)
            try:
                connection.connect(str(self._control))
                connection.sendall(msgspec.json.encode([command, argument]))
                connection.shutdown(socket.SHUT_WR)
                answer = b"".join(iter(lambda: connection.recv(65_536), b""))
            except (ConnectionError, FileNotFoundError):
                answer = b""
        if not answer:
            self._await_end()
            raise Died(self.name)
        is_good, what = msgspec.json.decode(answer)
        assert is_good, f"{self.name}: {command}: {what}"
        return what


@dataclass
class Network:
    """KMEs in a row, each with link key to the next; the middle one may hand key over to its two neighbours, as a satellite does."""

    folder: Path
    saes: dict[str, str]
    links: list[tuple[str, str]]
    processes: list[Process]

    def of(self, kme: str) -> Process:
        """A process of a KME that runs."""
        return next(process for process in self.processes if process.kme == kme and process.number is not None)

    @property
    def kmes(self) -> list[str]:
        return list(dict.fromkeys(process.kme for process in self.processes))

    @property
    def kills(self) -> int:
        return sum(process.deaths for process in self.processes)

    def addresses(self, sae: str) -> list[str]:
        return [process.address for process in self.processes if process.kme == self.saes[sae]]

    def credentials(self, sae: str) -> Credentials:
        return credentials_in(self.folder / "pki", "sae", sae)

    def put_link_key(self, length_byte: int = LINK_KEY_BYTE) -> None:
        """A new block of key for every link, in files at both ends."""
        for here, there in self.links:
            name, key = str(uuid4()), os.urandom(length_byte)
            for own, peer in ((here, there), (there, here)):
                folder = self.folder / own / peer
                write_secret(folder / f"{name}.new", key)
                (folder / f"{name}.new").rename(folder / f"{name}.key")

    def start(self) -> None:
        for process in self.processes:
            process.begin()
        for process in self.processes:
            assert process.wait_until_ready(), f"{process.name} ended: {process.log[-2000:]}"

    def restart_ended(self) -> None:
        """Start again whatever has ended."""
        ended = [process for process in self.processes if process.has_ended()]
        for process in ended:
            process.begin()
        for process in ended:
            assert process.wait_until_ready(), f"{process.name} ended: {process.log[-2000:]}"

    def close(self) -> None:
        for process in self.processes:
            if process.number is not None:
                process.kill()
        shutil.rmtree(self.folder)

    # What must hold.

    def settle(self) -> None:
        """Wait until nobody has anything left to do, then check whatever can be checked from outside."""
        self._wait_until_quiet()
        for process in self.processes:
            process.ask("alive")
            assert not FAULT.search(process.log), f"{process.name} made a mistake:\n{process.log[-6000:]}"
        for kme in self.kmes:
            self.of(kme).ask("balance")
        for attempts_left in reversed(range(5)):
            try:
                self._assert_same_reservations()
                break
            except AssertionError:
                # Stocks are topped up at any time: what was on its way just then has arrived when it is quiet again.
                if not attempts_left:
                    raise
                self._wait_until_quiet()
        self._assert_same_link_keys()

    def _wait_until_quiet(self) -> None:
        until_s = time.monotonic() + QUIET_TIMEOUT_S
        while left := self._left_over():
            assert time.monotonic() < until_s, f"not settled after {QUIET_TIMEOUT_S:g} s: {left}"
            time.sleep(0.05)

    def _left_over(self) -> dict[str, Any]:
        left: dict[str, Any] = {kme: found for kme in self.kmes if (found := self.of(kme).ask("unsettled"))}
        for here, there in self.links:
            for own, peer in ((here, there), (there, here)):
                if files := [file.name for file in (self.folder / own / peer).iterdir()]:
                    left[f"{own} {peer}"] = files
        for kme in self.kmes:
            if blocks := self.of(kme).ask("query", "SELECT block_id, peer FROM link_block WHERE state = 'received'"):
                left[f"{kme} compares"] = blocks
        return left

    def _assert_same_reservations(self) -> None:
        masters: dict[tuple[str, int], str] = {}
        slaves: dict[tuple[str, int], str] = {}
        for kme in self.kmes:
            for prefix, first_index, role, state in self.of(kme).ask("query", "SELECT prefix, first_index, role, state FROM reservation"):
                side = masters if role == "master" else slaves
                assert (prefix, first_index) not in side, "two KMEs have one reservation"
                side[prefix, first_index] = state
        for place in masters.keys() | slaves.keys():
            state, other = masters.get(place), slaves.get(place)
            assert state in {*USABLE, "voided"}, f"the slave's KME says {other}, the master's {state}"
            # What its master has and its slave not, an operator may have voided; `Applications.settle` sees whether it was to be.
            assert state != "ready" or other in USABLE, f"the master's KME says {state}, the slave's {other}"
            assert state != "delivered" or other in {*USABLE, "voided"}, f"delivered, but the slave's KME says {other}"
            assert state != "voided" or other in {None, "voided", "delivered"}, f"voided, but the slave's KME says {other}"

    def _assert_same_link_keys(self) -> None:
        """What one end may still send under, the other still has, and it is the same."""
        owned: dict[tuple[str, str, str], list[tuple[int, bytes]]] = {}
        kept: dict[tuple[str, str, str], dict[int, int]] = {}
        for kme in self.kmes:
            for block, peer, own, stored, start, key in self.of(kme).ask("link keys"):
                if own and stored:
                    owned.setdefault((block, kme, peer), []).append((start, bytes.fromhex(key)))
                elif not own:
                    kept.setdefault((block, peer, kme), {}).update(enumerate(bytes.fromhex(key), start))
        for (block, kme, peer), chunks in owned.items():
            others = kept.get((block, kme, peer), {})
            for start, key in chunks:
                assert all(others.get(start + i) == byte for i, byte in enumerate(key)), f"{kme} and {peer} differ in {block}"


@contextmanager
def row_of_kmes(
    nursery: Nursery,
    *,
    stores: dict[str, Path] | None = None,
    databases: dict[str, str] | None = None,
    processes: dict[str, int] | None = None,
) -> Iterator[Network]:
    """kme-0, kme-1 and kme-2 in a row, running: alice, erin and oscar at the first, bob, frank and peggy at the last.

    ``stores`` names folders for stores that are not in the network's own, ``databases`` the KMEs whose store is in PostgreSQL, and
    ``processes`` how many processes a KME has if not one.
    """
    names = ["kme-0", "kme-1", "kme-2"]
    saes = dict.fromkeys(["alice", "erin", "oscar"], "kme-0") | dict.fromkeys(["bob", "frank", "peggy"], "kme-2")
    databases, processes, stores = databases or {}, processes or {}, stores or {}
    folder = Path(tempfile.mkdtemp(prefix="tiandi-crash-"))
    authority = CertificateAuthority(folder / "pki")
    hand_overs = [(names[1], names[0], names[2])]
    started = [
        Process(name if not number else f"{name}-{number}", name, folder, free_port(), nursery, hand_overs, stores.get(name))
        for name in names
        for number in range(processes.get(name, 1))
    ]
    network = Network(folder, saes, list(pairwise(names)), started)
    try:
        for sae in saes:
            authority.issue("sae", sae)
        for name in names:
            create_master_key_file(folder / f"{name}.key")
            authority.issue("kme", name, algorithm="p256")
            for peer in _neighbours(network, name):
                (folder / name / peer).mkdir(parents=True)
        for process in started:
            sources = process.name == process.kme
            (folder / f"{process.name}.toml").write_text(_configuration(network, process, databases.get(process.kme), sources=sources))
        network.start()
        yield network
    finally:
        network.close()


def _neighbours(network: Network, kme: str) -> list[str]:
    return [peer for link in network.links for peer in link if kme in link and peer != kme]


def _configuration(network: Network, process: Process, dsn: str | None, *, sources: bool) -> str:
    """The file of one process. Of several of one node the first reads the files of link key."""
    kme = process.kme
    files = credentials_in(network.folder / "pki", "kme", kme)
    lines = [
        f'[kme]\nid = "{kme}"\nany_pair = true',
        f"[listen]\nport = {process.port}",
        f'[database]\npostgresql = "{dsn}"' if dsn else f'[database]\nsqlite = "{process.store}"',
        f'[keys]\nmaster_key = "file:{network.folder / kme}.key"',
        f'[tls]\ncertificate = "{files.certificate}"\nprivate_key = "{files.private_key}"\nauthority = "{files.authority}"',
    ]
    lines += [f'[[saes]]\nid = "{sae}"\nhome = "{home}"' for sae, home in network.saes.items()]
    homes = network.saes
    lines += [f'[[pairs]]\nmaster = "{a}"\nslave = "{b}"\nahead_count = 4' for a in homes for b in homes if homes[a] != homes[b]]
    for peer in network.kmes:
        if peer != kme:
            addresses = ", ".join(f'"{other.address}"' for other in network.processes if other.kme == peer)
            lines.append(f'[[peers]]\nid = "{peer}"\naddress = [{addresses}]')
    lines += [f'[[links]]\nends = ["{a}", "{b}"]' for a, b in network.links]
    if sources:
        for peer in _neighbours(network, kme):
            folder = network.folder / kme / peer
            lines.append(f'[[sources]]\nkind = "files"\npeer = "{peer}"\nfolder = "{folder}"\ninterval_s = 0.05')
    return "\n".join(lines)


def eventually(work: Callable[[], bool], timeout_s: float = 20.0) -> None:
    """Wait until ``work`` gives true."""
    until_s = time.monotonic() + timeout_s
    while not work():
        assert time.monotonic() < until_s, "it did not come about in time"
        time.sleep(0.05)
