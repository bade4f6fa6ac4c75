"""The two ends of a recipe take the same key, or neither does; wg is a program of ours that writes down what it is given."""

from __future__ import annotations

import os
import shlex
import socket
import sys
from base64 import b64decode
from contextlib import suppress
from pathlib import Path
from uuid import UUID

import pytest

from tests.kms.kme_processes import Pair
from tests.ports import free_port
from tests.recipes.scripts import finish, start, wait_for_port

WG = """
import sys
refuses = sys.argv[1] == "refuse"
key = sys.stdin.read()
if refuses:
    raise SystemExit("Unable to modify interface: No such device")
with open(sys.argv[2], "a") as file:
    file.write(" ".join(sys.argv[3:]) + " " + key)
"""


def recorder(file: Path, *, refuses: bool = False) -> str:
    """How a wg is called that only keeps a record."""
    return shlex.join([sys.executable, "-c", WG, "refuse" if refuses else "take", str(file)])


def words(role: str, port: int, peer: str, command: str, times: int = 1) -> list[str]:
    said = ["wireguard.py", role, f"127.0.0.1:{port}", "--peer", peer, "--interface", "wg0", "--public-key", "PUBLIC"]
    return [*said, "--command", command, "--times", str(times), "--every", "0"]


def test_both_ends_install_the_same_keys_in_the_same_order(pair: Pair, tmp_path: Path) -> None:
    port = free_port()
    follower = start(pair, "bob", *words("--follow", port, "alice", recorder(tmp_path / "right"), 3))
    wait_for_port(port)
    leader = start(pair, "alice", *words("--lead", port, "bob", recorder(tmp_path / "left"), 3))
    led, followed = finish(leader), finish(follower)
    assert led == followed
    assert led[0] == 0
    assert len(set(led[1].splitlines())) == 3
    left, right = ((tmp_path / name).read_text() for name in ("left", "right"))
    assert left == right
    for line in left.splitlines():
        *said, key = line.split(" ")
        assert said == ["set", "wg0", "peer", "PUBLIC", "preshared-key", "/dev/stdin"]
        assert len(b64decode(key)) == 32


def test_what_the_other_end_did_not_install_is_not_installed_here(pair: Pair, tmp_path: Path) -> None:
    port = free_port()
    follower = start(pair, "bob", *words("--follow", port, "alice", recorder(tmp_path / "right", refuses=True)))
    wait_for_port(port)
    leader = start(pair, "alice", *words("--lead", port, "bob", recorder(tmp_path / "left")))
    assert leader.stderr is not None
    assert leader.stderr.readline() == "no new key: the other end did not take the key\n"
    assert follower.stderr is not None
    assert follower.stderr.readline() == "no new key: wg: Unable to modify interface: No such device\n"
    for process in (leader, follower):
        process.kill()
        process.communicate()
    assert not (tmp_path / "left").exists()


@pytest.mark.parametrize(
    "said",
    [b"\n", b"not identifiers\n", b"\xff" * 1000, f"{UUID(int=1)} {UUID(int=2)}\n".encode(), f"{UUID(int=1)}\n".encode()],
    ids=["nothing", "words", "long", "unknown", "one"],
)
def test_a_stranger_has_nothing_installed(pair: Pair, tmp_path: Path, said: bytes) -> None:
    port = free_port()
    follower = start(pair, "bob", *words("--follow", port, "alice", recorder(tmp_path / "right")))
    wait_for_port(port)
    with socket.create_connection(("127.0.0.1", port)) as stranger:
        stranger.sendall(said)
        stranger.shutdown(socket.SHUT_WR)
        with suppress(ConnectionResetError):
            assert stranger.recv(100) == b""
    assert follower.poll() is None
    leader = start(pair, "alice", *words("--lead", port, "bob", recorder(tmp_path / "left")))
    assert finish(leader)[0] == finish(follower)[0] == 0
    assert os.path.getsize(tmp_path / "left") == os.path.getsize(tmp_path / "right")


@pytest.mark.parametrize("said", [b"0" * 64, b"\xff" * 64, b""], ids=["zeros", "no-text", "nothing"])
def test_an_end_that_only_says_it_has_the_key_is_not_believed(pair: Pair, tmp_path: Path, said: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        leader = start(pair, "alice", *words("--lead", server.getsockname()[1], "bob", recorder(tmp_path / "left")))
        liar, _ = server.accept()
        with liar:
            liar.recv(1000)
            liar.sendall(said + b"\n")
        assert leader.stderr is not None
        assert leader.stderr.readline() == "no new key: the other end did not take the key\n"
        leader.kill()
        leader.communicate()
    assert not (tmp_path / "left").exists()
