"""KMEs as processes of their own, from configuration files, as an operator runs them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self
from uuid import uuid4

from tests import command_line
from tests.ports import free_port
from tiandi.kms.client import KeyClient
from tiandi.kms.store.master_keys import create_master_key_file
from tiandi.kms.tls.pki import CertificateAuthority, Credentials, credentials_in

PATIENCE_S = 60.0

TEMPLATE = """
[kme]
id = "{kme}"
[listen]
port = {port}
[database]
{database}
[keys]
master_key = "file:{kme}.master"
[tls]
certificate = "pki/kme.{kme}.crt"
private_key = "pki/kme.{kme}.key"
authority = ["pki/authority.crt", "pki/authority+ml-dsa-65.crt"]
revocations = "pki/authority.crl"
[tls.post_quantum]
certificate = "pki/kme.{kme}+ml-dsa-65.crt"
private_key = "pki/kme.{kme}+ml-dsa-65.key"
[skip]
[[peers]]
id = "{peer}"
address = "https://127.0.0.1:{peer_port}"
[[links]]
ends = ["kme-a", "kme-b"]
[[sources]]
kind = "files"
peer = "{peer}"
folder = "{kme}.keys"
interval_s = 0.1
[[saes]]
id = "alice"
home = "kme-a"
[[saes]]
id = "bob"
home = "kme-b"
[[pairs]]
master = "alice"
slave = "bob"
ahead_count = 8
"""


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "tiandi", *map(str, arguments)]


def tiandi(*arguments: object) -> subprocess.CompletedProcess[str]:
    """The command in this process, since starting one takes longer than most of them; one that serves has its own."""
    if "run" in arguments:
        return subprocess.run(command(*arguments), capture_output=True, text=True, check=False, timeout=PATIENCE_S)
    return command_line.tiandi(*arguments)


@dataclass
class Process:
    """A KME that runs, or has run."""

    config: Path
    log: Path
    running: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Returns when it serves."""
        before = self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("ab") as log:
            self.running = subprocess.Popen(command("kme", "run", "--config", self.config), stderr=log, cwd="/")
        end = time.monotonic() + PATIENCE_S
        while b" serves " not in self.log.read_bytes()[before:]:
            assert self.running.poll() is None, self.log.read_text()
            assert time.monotonic() < end, self.log.read_text()
            time.sleep(0.02)

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Its exit status."""
        assert self.running is not None
        self.running.send_signal(number)
        return self.running.wait(PATIENCE_S)


@dataclass
class Pair:
    """kme-a with the SAE alice and kme-b with bob in ``folder``. A context manager that leaves no process behind."""

    folder: Path
    databases: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        authority = CertificateAuthority(self.folder / "pki")
        self.ports = {kme: free_port() for kme in ("kme-a", "kme-b")}
        self.processes: dict[str, Process] = {}
        for kind, identity in (("sae", "alice"), ("sae", "bob"), ("operator", "olga")):
            authority.issue(kind, identity)  # type: ignore[arg-type]
        for kme, peer in (("kme-a", "kme-b"), ("kme-b", "kme-a")):
            authority.issue("kme", kme)
            create_master_key_file(self.folder / f"{kme}.master")
            (self.folder / f"{kme}.keys").mkdir()
            database = self.databases.get(kme, f'sqlite = "{kme}.sqlite"')
            ports = {"port": self.ports[kme], "peer_port": self.ports[peer]}
            config = self.folder / f"{kme}.toml"
            config.write_text(TEMPLATE.format(kme=kme, peer=peer, database=database, **ports), encoding="utf-8")
            self.processes[kme] = Process(config, self.folder / f"{kme}.log")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for process in self.processes.values():
            if process.running is not None and process.running.poll() is None:
                process.running.kill()
                process.running.wait()

    def start(self) -> None:
        """Start both."""
        for process in self.processes.values():
            process.start()

    def address(self, kme: str) -> str:
        return f"https://127.0.0.1:{self.ports[kme]}"

    def credentials(self, kind: str, identity: str) -> Credentials:
        return credentials_in(self.folder / "pki", kind, identity)  # type: ignore[arg-type]

    def client(self, sae: str) -> KeyClient:
        kme = {"alice": "kme-a", "bob": "kme-b"}[sae]
        return KeyClient(self.address(kme), kme, self.credentials("sae", sae))

    def feed(self, length_byte: int = 60_000) -> None:
        """The same block of link key into both folders, as `tiandi distill` writes it."""
        name, key = str(uuid4()), os.urandom(length_byte)
        for kme in self.ports:
            partial, file = self.folder / f"{kme}.keys" / f".{name}", self.folder / f"{kme}.keys" / f"{name}.key"
            partial.touch(0o600)
            partial.write_bytes(key)
            partial.rename(file)

    def exchange(self, number: int = 1) -> list[bytes]:
        """Keys that alice and bob now share, asked for until there are any."""
        end = time.monotonic() + PATIENCE_S
        with self.client("alice") as alice, self.client("bob") as bob:
            while True:
                try:
                    keys = alice.get_keys("bob", number=number)
                    break
                except Exception:
                    assert time.monotonic() < end
                    time.sleep(0.2)
            assert bob.get_keys_with_ids("alice", [item.key_ID for item in keys]) == keys
        return [item.key for item in keys]

    def operator(self, *arguments: object, kme: str = "kme-a") -> subprocess.CompletedProcess[str]:
        """``tiandi kme`` with an operator's certificate."""
        folder = self.folder / "pki"
        files = (
            "--certificate",
            folder / "operator.olga.crt",
            "--key",
            folder / "operator.olga.key",
            "--authority",
            folder / "authority.crt",
        )
        return self.tiandi(*arguments, "--kme", self.address(kme), "--kme-id", kme, *files)

    def tiandi(self, *arguments: object) -> subprocess.CompletedProcess[str]:
        return tiandi("kme", *arguments)
