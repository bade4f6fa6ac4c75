"""Two hosts on one machine: network namespaces with a cable between them, gone afterwards."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tests.kms.kme_processes import PATIENCE_S

ECHO = """
import socket, sys
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as echo:
    echo.bind((sys.argv[1], 7))
    while True:
        echo.sendto(*echo.recvfrom(100))
"""
ASK = """
import socket, sys
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
    asking.settimeout(1)
    for attempt in range(int(sys.argv[2])):
        asking.sendto(b"here is a word", (sys.argv[1], 7))
        try:
            print(asking.recv(100).decode())
            break
        except TimeoutError:
            pass
"""


def ip(*words: object, check: bool = True) -> subprocess.CompletedProcess[str]:
    """The ip program."""
    return subprocess.run(["ip", *map(str, words)], capture_output=True, text=True, timeout=PATIENCE_S, check=check)


@dataclass(frozen=True)
class Host:
    """A network namespace with an address on the cable."""

    name: str
    address: str

    @property
    def prefix(self) -> list[str]:
        """Words before a command that is to run there."""
        return ["ip", "netns", "exec", self.name]

    def run(self, *words: object, given: str | None = None) -> str:
        """What a command prints there. Raises CalledProcessError."""
        command = [*self.prefix, *map(str, words)]
        return subprocess.run(command, input=given, capture_output=True, text=True, timeout=PATIENCE_S, check=True).stdout.strip()


def why_none() -> str:
    """Why there can be no two hosts here, or nothing."""
    if shutil.which("ip") is None or os.geteuid() != 0:
        return "network namespaces take the ip program and root"
    name = f"tiandi-{os.getpid()}-probe"
    done = ip("netns", "add", name, check=False)
    ip("netns", "del", name, check=False)
    return f"no network namespace can be made: {done.stderr.strip()}" if done.returncode else ""


@contextmanager
def two_hosts() -> Iterator[tuple[Host, Host]]:
    """10.9.0.1 and 10.9.0.2, which nobody else sees."""
    left, right = (Host(f"tiandi-{os.getpid()}-{end}", f"10.9.0.{number}") for number, end in enumerate("ab", 1))
    try:
        for host in (left, right):
            ip("netns", "add", host.name)
        ip("-n", left.name, "link", "add", "cable", "type", "veth", "peer", "name", "cable", "netns", right.name)
        for host in (left, right):
            ip("-n", host.name, "address", "add", f"{host.address}/24", "dev", "cable")
            for device in ("lo", "cable"):
                ip("-n", host.name, "link", "set", device, "up")
        yield left, right
    finally:
        for host in (left, right):
            ip("netns", "del", host.name, check=False)


def inside(host: Host) -> str:
    """A second address, for traffic that is to be protected."""
    return host.address.replace("10.9", "10.8")


@contextmanager
def echo_at(host: Host) -> Iterator[None]:
    """Somebody who sends back every datagram to the second address."""
    with subprocess.Popen([*host.prefix, sys.executable, "-c", ECHO, inside(host)]) as echo:
        try:
            yield
        finally:
            echo.kill()


def is_answered(host: Host, there: Host, *, attempts: int = 20) -> bool:
    """Whether a datagram of ``host`` comes back from the second address of ``there``, asked once a second."""
    return host.run(sys.executable, "-c", ASK, inside(there), attempts) == "here is a word"
