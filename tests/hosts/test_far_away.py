"""Far away: two network namespaces, 50 ms and one lost packet in a hundred each way between them.

What carries the packets is this test, between two TUN devices: a kernel need not have been built with network emulation.
"""

from __future__ import annotations

import fcntl
import os
import random
import select
import shutil
import struct
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from uuid import uuid4

import msgspec
import pytest

from tiandi.hosts.pool_file import create_pair
from tiandi.hosts.twin_recording import record_twin

HERE, THERE = "10.203.0.1", "10.203.0.2"
DELAY_S, LOSS = 0.05, 0.01
PATIENCE_S = 120.0
TUN, SET_INTERFACE, IP_PACKETS = "/dev/net/tun", 0x400454CA, 0x1001
LONGEST_PACKET = 65536


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)


class Distance:
    """Carries the packets of two TUN devices to each other, late, and not all of them."""

    def __init__(self, devices: tuple[str, str]) -> None:
        self.lost = self.carried = 0
        self._over = threading.Event()
        self._ends = [os.open(TUN, os.O_RDWR | os.O_NONBLOCK) for _ in devices]
        for end, device in zip(self._ends, devices, strict=True):
            fcntl.ioctl(end, SET_INTERFACE, struct.pack("16sH22x", device.encode(), IP_PACKETS))
        self._thread = threading.Thread(target=self._carry_on)
        self._thread.start()

    def close(self) -> None:
        """End it; the devices vanish."""
        self._over.set()
        self._thread.join()
        for end in self._ends:
            os.close(end)

    def _carry_on(self) -> None:
        with suppress(OSError):  # A device that goes away ends it.
            self._carry()

    def _carry(self) -> None:
        chance, under_way = random.Random(1), deque[tuple[float, int, bytes]]()
        while not self._over.is_set():
            ready, _, _ = select.select(self._ends, [], [], min(0.1, max(0.0, under_way[0][0] - time.monotonic())) if under_way else 0.1)
            for end in ready:
                packet = os.read(end, LONGEST_PACKET)
                if chance.random() < LOSS:
                    self.lost += 1
                else:
                    under_way.append((time.monotonic() + DELAY_S, self._ends[end == self._ends[0]], packet))
            while under_way and under_way[0][0] <= time.monotonic():
                _, end, packet = under_way.popleft()
                os.write(end, packet)
                self.carried += 1


@pytest.fixture
def far_apart() -> Iterator[tuple[tuple[str, str], Distance]]:
    """Names of two namespaces, and the distance between them; skipped where that is not allowed."""
    if not shutil.which("ip"):
        pytest.skip("needs ip")
    mark = uuid4().hex[:6]
    names, devices = (f"tiandi-a-{mark}", f"tiandi-b-{mark}"), (f"td-a-{mark}", f"td-b-{mark}")
    with ExitStack() as cleaning:
        try:
            distance = Distance(devices)
            cleaning.callback(distance.close)
            for name, device, addresses in zip(names, devices, ((HERE, THERE), (THERE, HERE)), strict=True):
                ip("netns", "add", name)
                cleaning.callback(ip, "netns", "delete", name)
                ip("link", "set", device, "netns", name)
                ip("-n", name, "address", "add", addresses[0], "peer", addresses[1], "dev", device)
                ip("-n", name, "link", "set", device, "up")
        except (OSError, subprocess.CalledProcessError) as error:
            pytest.skip(f"network devices and namespaces are not allowed here: {error}")
        yield names, distance


def test_two_hosts_far_from_each_other_find_the_same_key(far_apart: tuple[tuple[str, str], Distance], tmp_path: Path) -> None:
    namespaces, distance = far_apart
    record_twin(tmp_path / "alice.h5", tmp_path / "bob.h5", length_km=20.0, duration_s=0.15, seed=1)
    create_pair(tmp_path / "alice.pool", tmp_path / "bob.pool", "Here - There", 8)

    def command(place: str, verb: list[str], name: str) -> list[str]:
        files = [str(tmp_path / f"{name}.{what}") for what in ("h5", "pool", "keys")]
        options = [files[0], "--pool", files[1], "--keys", files[2], "--plain", "--json"]
        return ["ip", "netns", "exec", place, sys.executable, "-m", "tiandi", "distill", *verb, *options]

    serving = command(namespaces[0], ["serve", "--listen", f"{HERE}:7000"], "alice")
    server = subprocess.Popen(serving, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert server.stderr is not None
        line = server.stderr.readline()
        assert line.startswith("listening at"), line
        connecting = command(namespaces[1], ["connect", f"{HERE}:7000"], "bob")
        done = subprocess.run(connecting, capture_output=True, text=True, check=False, timeout=PATIENCE_S)
        server.communicate(timeout=PATIENCE_S)
    finally:
        server.kill()
    assert (done.returncode, server.returncode) == (0, 0), done.stderr
    report = msgspec.json.decode(done.stdout)
    assert distance.lost > 0
    assert 0.099 < report["round_trip_s"] < 1.0
    ledger = report["blocks"][0]["ledger"]
    # Cascade asks hundreds of times; over such a round trip a code is told once.
    assert ledger["reconciliation"] == "ldpc"
    (alice,), (bob,) = ([path.read_bytes() for path in (tmp_path / f"{name}.keys").glob("*.key")] for name in ("alice", "bob"))
    assert alice == bob
    assert len(alice) > 1000
