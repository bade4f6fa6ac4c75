"""WireGuard under quantum keys: two hosts, a tunnel, and a preshared key that changes while it is in use."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.kms.kme_processes import PATIENCE_S, Pair
from tests.ports import free_port
from tests.recipes.namespaces import Host, echo_at, inside, ip, is_answered, two_hosts, why_none
from tests.recipes.scripts import finish, start, wait_for_port


def why_no_tunnel() -> str:
    """Why WireGuard cannot run here, or nothing."""
    if shutil.which("wg") is None:
        return "the wg program is not installed (wireguard-tools)"
    if reason := why_none():
        return reason
    if shutil.which("wireguard-go") is None:
        done = ip("link", "add", "tiandi-probe", "type", "wireguard", check=False)
        ip("link", "del", "tiandi-probe", check=False)
        if done.returncode:
            return "neither the kernel nor wireguard-go has WireGuard"
    return ""


@contextmanager
def interface(host: Host, name: str) -> Iterator[str]:
    """A WireGuard interface, of the kernel or of wireguard-go; gives its public key."""
    process = None
    if ip("-n", host.name, "link", "add", name, "type", "wireguard", check=False).returncode:
        process = subprocess.Popen([*host.prefix, "wireguard-go", "-f", name], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        end = time.monotonic() + PATIENCE_S
        while subprocess.run([*host.prefix, "wg", "show", name], capture_output=True, check=False).returncode:
            assert time.monotonic() < end
            time.sleep(0.05)
        private = host.run("wg", "genkey")
        host.run("wg", "set", name, "listen-port", 51820, "private-key", "/dev/stdin", given=private)
        yield host.run("wg", "pubkey", given=private)
    finally:
        if process is not None:
            process.terminate()
            process.wait(PATIENCE_S)


def up(host: Host, name: str) -> None:
    ip("-n", host.name, "address", "add", f"{inside(host)}/24", "dev", name)
    ip("-n", host.name, "link", "set", name, "up")


def meet(host: Host, name: str, peer: Host, peer_key: str) -> None:
    host.run("wg", "set", name, "peer", peer_key, "endpoint", f"{peer.address}:51820", "allowed-ips", f"{inside(peer)}/32")


def test_a_tunnel_takes_new_keys_while_it_is_in_use(pair: Pair) -> None:
    if reason := why_no_tunnel():
        pytest.skip(reason)
    with two_hosts() as (left, right), interface(left, "wg-left") as left_key, interface(right, "wg-right") as right_key:
        for host, name, peer, peer_key in ((left, "wg-left", right, right_key), (right, "wg-right", left, left_key)):
            up(host, name)
            meet(host, name, peer, peer_key)
        port = free_port()
        place = f"127.0.0.1:{port}"

        def words(role: str, host: Host, name: str, peer: str, key: str) -> tuple[str, ...]:
            said = ("wireguard.py", role, place, "--peer", peer, "--interface", name, "--public-key", key)
            return (*said, "--command", f"ip netns exec {host.name} wg", "--every", "0.01", "--times", "2")

        follower = start(pair, "bob", *words("--follow", right, "wg-right", "alice", left_key))
        wait_for_port(port)
        leader = start(pair, "alice", *words("--lead", left, "wg-left", "bob", right_key))
        assert leader.stdout is not None
        first = leader.stdout.readline().split()[0]
        with echo_at(right):
            assert is_answered(left, right)
            status, out, err = finish(leader)
            assert (status, err) == (0, "")
            second = out.split()[0]
            assert finish(follower)[:2] == (0, f"{first} is in use\n{second} is in use\n")
            (key,) = {host.run("wg", "show", name, "preshared-keys").split()[1] for host, name in ((left, "wg-left"), (right, "wg-right"))}
            # A new handshake fails without the second key, and succeeds under it.
            left.run("wg", "set", "wg-left", "peer", right_key, "remove")
            meet(left, "wg-left", right, right_key)
            assert not is_answered(left, right, attempts=2)
            left.run("wg", "set", "wg-left", "peer", right_key, "preshared-key", "/dev/stdin", given=key)
            assert is_answered(left, right)
