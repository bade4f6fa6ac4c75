"""The calling end over pyOpenSSL: whom it believes, what it speaks, and that it leaves nothing open and sends nothing twice."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from tests.kms.test_tls import Network, Serving
from tiandi.errors import InputError
from tiandi.kms.tls.calling import async_client, client
from tiandi.kms.tls.contexts import POST_QUANTUM_GROUP, ServerTls
from tiandi.kms.tls.pki import CertificateAuthority, Credentials

KME_A = {"sni_hostname": "kme-a"}
TIMEOUT_S = 5.0


@pytest.fixture
def network(tmp_path: Path) -> Network:
    return Network(tmp_path)


@pytest.fixture
def serving(network: Network) -> Iterator[Serving]:
    with Serving(ServerTls(network.kme)) as running:
        yield running


def ask(
    way: str,
    credentials: Credentials,
    address: str,
    *,
    name: str = "kme-a",
    post_quantum_only: bool = True,
    timeout_s: float = TIMEOUT_S,
) -> httpx.Response:
    """One GET by the client that waits, or by the other."""
    if way == "sync":
        with client(credentials, timeout_s=timeout_s, post_quantum_only=post_quantum_only) as caller:
            return caller.get(address, extensions={"sni_hostname": name})

    async def work() -> httpx.Response:
        async with async_client(credentials, timeout_s=timeout_s, post_quantum_only=post_quantum_only) as caller:
            return await caller.get(address, extensions={"sni_hostname": name})

    return asyncio.run(work())


both_ways = pytest.mark.parametrize("way", ["sync", "async"])


def open_sockets() -> int:
    """Of this process."""
    found = 0
    for name in os.listdir("/proc/self/fd"):
        with suppress(OSError):
            found += os.readlink(f"/proc/self/fd/{name}").startswith("socket:")
    return found


@both_ways
def test_kmes_speak_post_quantum_tls(network: Network, serving: Serving, way: str) -> None:
    if way == "sync":
        with (
            client(network.other_kme, timeout_s=TIMEOUT_S, post_quantum_only=True) as caller,
            caller.stream("GET", serving.address) as response,
        ):
            stream = response.extensions["network_stream"]
            seen = stream.get_extra_info("group"), stream.get_extra_info("version"), response.read()
    else:

        async def work() -> tuple[str, str, bytes]:
            caller = async_client(network.other_kme, timeout_s=TIMEOUT_S, post_quantum_only=True)
            async with caller, caller.stream("GET", serving.address) as response:
                stream = response.extensions["network_stream"]
                return stream.get_extra_info("group"), stream.get_extra_info("version"), await response.aread()

        seen = asyncio.run(work())
    assert seen[:2] == (POST_QUANTUM_GROUP, "TLSv1.3")
    assert b'[["kme", "kme-b"]]' in seen[2]


@both_ways
def test_an_sae_is_served_by_name_or_by_address(network: Network, serving: Serving, way: str) -> None:
    for post_quantum_only in (True, False):
        for name in ("kme-a", "127.0.0.1", "localhost"):
            assert ask(way, network.alice, serving.address, name=name, post_quantum_only=post_quantum_only).is_success


@both_ways
def test_an_sae_with_an_ml_dsa_certificate_is_served(network: Network, serving: Serving, way: str) -> None:
    assert ask(way, network.authority.issue("sae", "bob", algorithm="ml-dsa-65"), serving.address).json()["identities"] == [["sae", "bob"]]


@both_ways
def test_whoever_trusts_the_old_root_alone_follows_the_cross_certificate(network: Network, serving: Serving, way: str) -> None:
    alice = network.alice
    assert ask(way, Credentials("alice", alice.certificate, alice.private_key, alice.authority), serving.address).is_success


@both_ways
def test_another_server_than_was_called_is_refused(network: Network, serving: Serving, way: str) -> None:
    for name in ("kme-b", "10.0.0.1", "kme-a.example"):
        with pytest.raises(httpx.ConnectError, match="mismatch"):
            ask(way, network.alice, serving.address, name=name)
    for name in ("*", "kme-a\0.example"):
        with pytest.raises(InputError, match="server_name"):
            ask(way, network.alice, serving.address, name=name)


@both_ways
def test_a_server_of_another_authority_is_refused(network: Network, way: str, tmp_path: Path) -> None:
    forged = CertificateAuthority(tmp_path / "forged").issue("kme", "kme-a")
    with Serving(ServerTls(forged)) as serving, pytest.raises(httpx.ConnectError, match="certificate verify failed"):
        ask(way, network.alice, serving.address)


@both_ways
def test_a_clients_certificate_serves_nobody(network: Network, way: str) -> None:
    with Serving(ServerTls(network.alice)) as serving, pytest.raises(httpx.ConnectError, match="purpose"):
        ask(way, network.other_kme, serving.address, name="alice")


@both_ways
def test_a_server_without_the_group_is_refused_by_kmes_alone(network: Network, way: str) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(network.kme.authority))
    context.load_cert_chain(network.kme.certificate, network.kme.private_key)
    context.set_ecdh_curve("prime256v1")
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            for _ in range(2):
                plain, _peer = listener.accept()
                try:
                    with context.wrap_socket(plain, server_side=True) as peer:
                        peer.recv(65_536)
                        peer.sendall(b"HTTP/1.1 204 OK\r\nConnection: close\r\n\r\n")
                except OSError:
                    plain.close()

        thread = threading.Thread(target=serve)
        thread.start()
        address = f"https://127.0.0.1:{listener.getsockname()[1]}"
        with pytest.raises(httpx.ConnectError, match="handshake failure"):
            ask(way, network.alice, address, post_quantum_only=True)
        assert ask(way, network.alice, address, post_quantum_only=False).status_code == 204
        thread.join()


@both_ways
def test_a_revoked_server_is_called_no_more(network: Network, serving: Serving, way: str) -> None:
    async def work() -> None:
        async with async_client(network.alice, timeout_s=TIMEOUT_S, post_quantum_only=True) as caller:
            assert (await caller.get(serving.address, extensions=KME_A)).is_success
            await asyncio.to_thread(network.revoke, "kme-a")
            with pytest.raises(httpx.ConnectError, match="revoked"):
                await caller.get(serving.address, extensions=KME_A)

    if way == "async":
        asyncio.run(work())
        return
    with client(network.alice, timeout_s=TIMEOUT_S, post_quantum_only=True) as caller:
        assert caller.get(serving.address, extensions=KME_A).is_success
        network.revoke("kme-a")
        with pytest.raises(httpx.ConnectError, match="revoked"):
            caller.get(serving.address, extensions=KME_A)


@both_ways
def test_a_refused_caller_hears_why(network: Network, serving: Serving, way: str, tmp_path: Path) -> None:
    forged = CertificateAuthority(tmp_path / "forged").issue("sae", "alice")
    trusting = Credentials("alice", forged.certificate, forged.private_key, network.alice.authority)
    with pytest.raises(httpx.TransportError, match=r"unknown ca|decrypt error|hung up|bad certificate"):
        ask(way, trusting, serving.address)


def test_a_connection_is_kept_for_the_name_it_was_checked_under(network: Network, serving: Serving) -> None:
    async def work() -> None:
        async with async_client(network.alice, timeout_s=TIMEOUT_S, post_quantum_only=True) as caller:
            for _ in range(3):
                assert (await caller.get(serving.address, extensions=KME_A)).is_success
            assert len(serving.server.server_state.connections) == 1
            with pytest.raises(httpx.ConnectError, match="mismatch"):
                await caller.get(serving.address, extensions={"sni_hostname": "kme-b"})

    asyncio.run(work())


@both_ways
def test_a_dead_kept_connection_is_found_before_anything_is_sent(network: Network, way: str) -> None:
    def answer_once(listener: socket.socket, context: ssl.SSLContext, seen: list[bytes]) -> None:
        for _ in range(2):
            with context.wrap_socket(listener.accept()[0], server_side=True) as peer:
                seen.append(peer.recv(65_536))
                peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(network.kme.authority))
    context.load_cert_chain(network.kme.certificate, network.kme.private_key)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        seen: list[bytes] = []
        thread = threading.Thread(target=answer_once, args=(listener, context, seen))
        thread.start()
        address = f"https://127.0.0.1:{listener.getsockname()[1]}"
        if way == "sync":
            with client(network.alice, timeout_s=TIMEOUT_S, post_quantum_only=False) as caller:
                for _ in range(2):
                    assert caller.post(address, extensions=KME_A).status_code == 200
                    time.sleep(0.1)
        else:

            async def work() -> None:
                async with async_client(network.alice, timeout_s=TIMEOUT_S, post_quantum_only=False) as caller:
                    for _ in range(2):
                        assert (await caller.post(address, extensions=KME_A)).status_code == 200
                        time.sleep(0.1)  # The event loop itself has no chance to notice.

            asyncio.run(work())
        thread.join()
        assert len(seen) == 2


@both_ways
def test_what_was_sent_is_not_sent_again(network: Network, way: str) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(network.kme.authority))
    context.load_cert_chain(network.kme.certificate, network.kme.private_key)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        seen: list[bytes] = []

        def hang_up() -> None:
            with context.wrap_socket(listener.accept()[0], server_side=True) as peer:
                seen.append(peer.recv(65_536))

        thread = threading.Thread(target=hang_up)
        thread.start()
        with pytest.raises(httpx.TransportError):
            ask(way, network.alice, f"https://127.0.0.1:{listener.getsockname()[1]}", post_quantum_only=False)
        thread.join()
        listener.settimeout(0.2)
        with pytest.raises(TimeoutError):
            listener.accept()
        assert len(seen) == 1


@both_ways
def test_nobody_there_and_nobody_answering_are_clear_errors(network: Network, way: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"https://127.0.0.1:{listener.getsockname()[1]}"
        with pytest.raises(httpx.ConnectTimeout):
            ask(way, network.alice, address, timeout_s=0.2)
    with pytest.raises(httpx.ConnectError, match=r"refused|failed"):
        ask(way, network.alice, address)
    with pytest.raises(httpx.UnsupportedProtocol):
        ask(way, network.alice, address.replace("https", "http"))


def test_large_bodies_pass_both_ways(network: Network, serving: Serving) -> None:
    async def work() -> None:
        async with async_client(network.alice, timeout_s=TIMEOUT_S, post_quantum_only=True) as caller:
            assert (await caller.post(serving.address + "/length", content=bytes(3_000_000), extensions=KME_A)).json() == 3_000_000
            assert len((await caller.get(serving.address + "/large", extensions=KME_A)).content) == 4_000_000

    asyncio.run(work())
    with client(network.alice, timeout_s=TIMEOUT_S, post_quantum_only=True) as caller:
        assert caller.post(serving.address + "/length", content=bytes(3_000_000), extensions=KME_A).json() == 3_000_000
        assert len(caller.get(serving.address + "/large", extensions=KME_A).content) == 4_000_000


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="this system does not tell which sockets are open")
def test_whoever_is_cancelled_leaves_no_socket_open(network: Network, serving: Serving) -> None:
    async def work() -> None:
        async with async_client(network.alice, timeout_s=TIMEOUT_S, post_quantum_only=True) as caller:
            for turn in range(40):
                task = asyncio.create_task(caller.get(serving.address + "/large", extensions=KME_A))
                await asyncio.sleep(0.0005 * turn)
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
            assert (await caller.get(serving.address, extensions=KME_A)).is_success
        await asyncio.sleep(0.2)

    before = open_sockets()
    asyncio.run(work())
    end = time.monotonic() + TIMEOUT_S
    while open_sockets() > before and time.monotonic() < end:
        time.sleep(0.05)
    assert open_sockets() <= before
