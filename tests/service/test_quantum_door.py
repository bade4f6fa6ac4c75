"""The quantum door: a cloud with real jobs behind it, two KMEs, and those who should not get in."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID, uuid4

import httpx
import pytest
from OpenSSL import SSL

from tests.computing.cloud import toys
from tests.computing.cloud.stores import PATIENCE_S, cloud, sqlite
from tests.conftest import KmeChain
from tiandi.cli.cloud import _sae_of
from tiandi.computing.cloud import users
from tiandi.computing.cloud.server import CloudServer, create_app, listen
from tiandi.errors import InputError, NotAuthorised, RemoteRefused
from tiandi.kms.client import KeyClient
from tiandi.kms.directory import Sae
from tiandi.service import preshared_tls
from tiandi.service.preshared_tls import Secured, calling_end, serving_end
from tiandi.service.quantum_door import DrawKey, FindKey, KeyFinder, QuantumDoor, QuantumTunnel, key_drawer, parse_place, read_settings

KEY = bytes(range(32))
ALLOW_NO_DHE_KEX = 1 << 10
"""SSL_OP_ALLOW_NO_DHE_KEX of openssl/ssl.h."""
KEY_ID = UUID("7c1a3b52-0000-4000-8000-000000000001")


@pytest.fixture
def two(tmp_path: Path) -> Iterator[KmeChain]:
    """Two KMEs that share key: alice, who asks, at one, and bob, the cloud, at the other."""
    (tmp_path / "kmes").mkdir()
    chain = KmeChain(tmp_path / "kmes", 2)
    with chain.host:
        chain.share("kme-0", "kme-1", os.urandom(4000))
        yield chain


@dataclass
class Opened:
    """A cloud behind a quantum door, and the local end of a tunnel to it."""

    door: QuantumDoor
    tunnel: QuantumTunnel
    client: httpx.AsyncClient
    key: str


@asynccontextmanager
async def opened(folder: Path, find_key: FindKey, draw_key: DrawKey, *, workers: int = 0) -> AsyncIterator[Opened]:
    async with cloud(sqlite(folder), "anna", workers=workers) as running:
        server = CloudServer(create_app(running), listen(0))
        await server.start()
        door = QuantumDoor(listen(0), find_key, server.adopt)
        await door.start()
        host, _, port = door.address.rpartition(":")
        tunnel = QuantumTunnel(listen(0), host, int(port), "alice", draw_key)
        await tunnel.start()
        key = await running.database.run(users.add_key, "anna")
        headers = {"Authorization": f"Bearer {key}"}
        async with httpx.AsyncClient(base_url=f"http://{tunnel.address}", headers=headers, timeout=PATIENCE_S, trust_env=False) as client:
            yield Opened(door, tunnel, client, key)
        await tunnel.stop()
        await door.stop()
        await server.stop()


def run(work: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(work(), PATIENCE_S))  # type: ignore[arg-type]


def given(key: bytes = KEY) -> DrawKey:
    return lambda: (KEY_ID, key)


def shake_hands(caller: Secured, server: Secured) -> None:
    """Over memory. Raises SSL.Error at the end that refuses first."""
    assert not caller.advance(b"")
    assert not server.advance(caller.output())
    assert caller.advance(server.output())
    assert server.advance(caller.output())
    caller.opened(server.output())  # Tickets, which nobody takes.


def test_an_unmodified_client_runs_a_job_through_two_kmes(two: KmeChain, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    drawn: list[bytes] = []

    async def work() -> None:
        with (
            KeyClient(two.address("kme-0"), "kme-0", two.alice) as alice,
            KeyClient(two.address("kme-1"), "kme-1", two.bob) as bob,
        ):
            draw = key_drawer(alice, "bob")

            def noted() -> tuple[UUID, bytes]:
                key_id, key = draw()
                drawn.append(key)
                return key_id, key

            async with opened(tmp_path, KeyFinder(bob, ["alice"]), noted, workers=1) as through:
                body = {"machine": "dice", "programs": [toys.BELL], "shots": 5000}
                job = (await through.client.post("/api/v1/jobs", json=body)).json()
                while (await through.client.get(f"/api/v1/jobs/{job['id']}")).json()["state"] != "completed":
                    await asyncio.sleep(0.02)
                results = (await through.client.get(f"/api/v1/jobs/{job['id']}/results")).json()
                assert sum(results["results"][0]["counts"].values()) == 5000
                long = await through.client.post("/api/v1/check", json={**body, "programs": [toys.BELL + "// " + "x" * 900_000]})
                assert long.json() == {"measured": [[0, 1]]}
                assert len(drawn) == 1, "one connection was kept alive, under one key"
                async with through.client.stream("GET", "/api/v1/events") as stream:
                    assert (await anext(stream.aiter_text())).startswith("retry: 1000")
                # Another connection, another key.
                async with httpx.AsyncClient(base_url=through.client.base_url, trust_env=False) as other:
                    assert (await other.get("/healthz")).status_code == 200
                assert len(set(drawn)) == len(drawn) == 2

    run(work)
    assert not any(key.hex() in caplog.text or repr(key) in caplog.text for key in drawn)


def test_a_kme_that_is_down_means_no_connection_and_says_so(two: KmeChain, tmp_path: Path) -> None:
    async def work() -> None:
        with KeyClient("https://127.0.0.1:1", "kme-1", two.bob, retry_s=0) as nobody:
            async with opened(tmp_path, KeyFinder(nobody, ["alice"]), given()) as through:
                answer = await through.client.get("/healthz")
                assert answer.status_code == 502
                assert "the far end refused the handshake" in answer.json()["detail"]
        (tmp_path / "other").mkdir()
        with KeyClient("https://127.0.0.1:1", "kme-0", two.alice, retry_s=0) as nobody:
            async with opened(tmp_path / "other", lambda *_: KEY, key_drawer(nobody, "bob")) as through:
                answer = await through.client.get("/healthz")
                assert answer.status_code == 502
                assert "kme-0" in answer.json()["detail"]

    run(work)


def test_a_key_serves_one_connection(two: KmeChain) -> None:
    with (
        KeyClient(two.address("kme-0"), "kme-0", two.alice) as alice,
        KeyClient(two.address("kme-1"), "kme-1", two.bob) as bob,
    ):
        key_id, key = key_drawer(alice, "bob")()
        finder = KeyFinder(bob, ["alice"])
        shake_hands(calling_end("alice", key_id, key), serving_end(finder))
        again = serving_end(finder)
        with pytest.raises(SSL.Error):
            shake_hands(calling_end("alice", key_id, key), again)
        assert again.refusal == f"key {key_id} was used for another connection"
        # A door that was started anew has forgotten, the KME has not.
        with pytest.raises(RemoteRefused):
            KeyFinder(bob, ["alice"])("alice", key_id)


def test_a_replayed_hello_is_refused_at_the_door(tmp_path: Path) -> None:
    """What somebody recorded of a good connection, sent once more."""
    hello: list[bytes] = []
    found: dict[UUID, bytes] = {KEY_ID: KEY}

    def find(sae_id: str, key_id: UUID) -> bytes:
        if (key := found.pop(key_id, None)) is None:
            raise NotAuthorised("no such key")
        return key

    async def work() -> None:
        async with opened(tmp_path, find, given()) as through:
            caller = calling_end("alice", KEY_ID, KEY)
            caller.advance(b"")
            hello.append(caller.output())
            host, _, port = through.door.address.rpartition(":")
            for expected in (0x16, 0x15):  # A server's hello; an alert.
                reader, writer = await asyncio.open_connection(host, int(port))
                writer.write(hello[0])
                assert (await reader.readexactly(5))[0] == expected
                writer.close()

    run(work)


def test_an_answer_that_is_cut_is_not_taken_for_whole() -> None:
    """An answer without a length ends where the connection does: it must not look as if it had."""

    async def half_an_answer(connection: socket.socket) -> None:
        connection.setblocking(False)
        given.append(connection)
        answering.append(asyncio.create_task(answer_half(connection)))

    async def answer_half(connection: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        await loop.sock_recv(connection, 4096)
        await loop.sock_sendall(connection, b"HTTP/1.1 200 OK\r\n\r\nthe first half")

    answering: list[asyncio.Task[None]] = []
    given: list[socket.socket] = []

    async def work() -> None:
        door = QuantumDoor(listen(0), lambda *_: KEY, half_an_answer)
        await door.start()
        host, _, port = door.address.rpartition(":")
        tunnel = QuantumTunnel(listen(0), host, int(port), "alice", lambda: (uuid4(), KEY))
        await tunnel.start()
        for is_cut in (False, True):
            async with (
                httpx.AsyncClient(trust_env=False, timeout=PATIENCE_S) as client,
                client.stream("GET", f"http://{tunnel.address}") as answer,
            ):
                parts = answer.aiter_text()
                assert await anext(parts) == "the first half"
                if is_cut:
                    await door.stop()
                    with pytest.raises(httpx.ReadError):
                        await anext(parts)
                else:
                    given.pop().close()
                    assert await anext(parts, None) is None
        await tunnel.stop()
        given.pop().close()

    run(work)


def test_another_key_under_a_good_identity_is_refused() -> None:
    end = serving_end(lambda *_: os.urandom(32))
    with pytest.raises(SSL.Error):
        shake_hands(calling_end("alice", KEY_ID, KEY), end)


@pytest.mark.parametrize("sae_id", ["eve", "alice/..", ""])
def test_another_sae_costs_no_question_to_the_kme(sae_id: str) -> None:
    class NoKme:
        def get_keys_with_ids(self, *_: object, **__: object) -> None:
            raise AssertionError("it was asked")

    end = serving_end(KeyFinder(NoKme(), ["alice"]))  # type: ignore[arg-type]
    with pytest.raises(SSL.Error):
        shake_hands(calling_end(sae_id, KEY_ID, KEY), end)
    assert "may not come here" in end.refusal or "not SAE_ID/key_ID" in end.refusal


def test_a_caller_without_a_preshared_key_or_with_an_older_tls_is_refused() -> None:
    for lowest, highest in ((SSL.TLS1_3_VERSION, SSL.TLS1_3_VERSION), (SSL.TLS1_2_VERSION, SSL.TLS1_2_VERSION)):
        context = SSL.Context(SSL.TLS_METHOD)
        context.set_min_proto_version(lowest)
        context.set_max_proto_version(highest)
        stranger = SSL.Connection(context, None)
        stranger.set_connect_state()
        with pytest.raises(SSL.WantReadError):
            stranger.do_handshake()
        end = serving_end(lambda *_: KEY)
        with pytest.raises(SSL.Error):
            end.advance(stranger.bio_read(1 << 16))


def test_a_server_with_a_certificate_in_the_place_of_the_key_is_refused(two: KmeChain) -> None:
    context = SSL.Context(SSL.TLS_METHOD)
    context.use_certificate_file(str(two.bob.certificate))
    context.use_privatekey_file(str(two.bob.private_key))
    impostor = SSL.Connection(context, None)
    impostor.set_accept_state()
    caller = calling_end("alice", KEY_ID, KEY)
    caller.advance(b"")
    impostor.bio_write(caller.output())
    with suppress(SSL.WantReadError):
        impostor.do_handshake()
    with pytest.raises(SSL.Error):
        caller.advance(impostor.bio_read(1 << 16))


def test_a_hello_that_is_said_again_costs_one_key(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[UUID] = []

    def find(_: str, key_id: UUID) -> bytes:
        asked.append(key_id)
        return KEY

    with monkeypatch.context() as patch:
        patch.setattr(preshared_tls, "GROUP", b"X25519:X25519MLKEM768")
        caller = calling_end("alice", KEY_ID, KEY)
    server = serving_end(find)
    assert not caller.advance(b"")
    assert not server.advance(caller.output())
    assert not caller.advance(server.output()), "it is asked for another share"
    assert not server.advance(caller.output())
    assert caller.advance(server.output())
    assert server.advance(caller.output())
    assert asked == [KEY_ID]


def test_a_caller_that_would_do_without_a_key_exchange_gets_one() -> None:
    caller = calling_end("alice", KEY_ID, KEY)
    preshared_tls._lib.SSL_set_options(caller._tls._ssl, ALLOW_NO_DHE_KEX)
    shake_hands(caller, serving_end(lambda *_: KEY))
    assert caller._tls.get_group_name() == "X25519MLKEM768"


def unknown(sae_id: str, key_id: UUID) -> bytes:
    raise NotAuthorised("no such key")


def test_the_key_is_mixed_with_a_key_exchange_and_nothing_can_be_resumed() -> None:
    caller, server = calling_end("alice", KEY_ID, KEY), serving_end(lambda *_: KEY)
    shake_hands(caller, server)
    assert caller._tls.get_protocol_version_name() == "TLSv1.3"
    assert caller._tls.get_group_name() == "X25519MLKEM768"
    server.seal(b"hello")
    assert caller.opened(server.output()) == (b"hello", False)
    # Neither end keeps the key.
    assert caller._key == server._key == []
    # Whatever ticket came, it is good for nothing.
    session = caller._tls.get_session()
    assert session is not None
    assert preshared_tls._lib.SSL_SESSION_get_max_early_data(session._session) == 0
    resuming = SSL.Connection(caller._tls.get_context(), None)
    resuming.set_session(session)
    resuming.set_connect_state()
    with pytest.raises(SSL.WantReadError):
        resuming.do_handshake()
    end = serving_end(unknown)
    with pytest.raises(SSL.Error):
        end.advance(resuming.bio_read(1 << 16))


def test_what_was_changed_on_the_way_is_noticed() -> None:
    caller, server = calling_end("alice", KEY_ID, KEY), serving_end(lambda *_: KEY)
    shake_hands(caller, server)
    server.seal(b"hello")
    record = bytearray(server.output())
    record[-1] ^= 1
    with pytest.raises(SSL.Error):
        caller.opened(bytes(record))


def test_a_fault_while_the_key_is_looked_for_does_not_quote_it(capfd: pytest.CaptureFixture[str]) -> None:
    def find(*_: object) -> bytes:
        raise ValueError(KEY.hex())

    end = serving_end(find)
    with pytest.raises(SSL.Error):
        shake_hands(calling_end("alice", KEY_ID, KEY), end)
    assert end.refusal == "fault (ValueError)"
    assert KEY.hex() not in capfd.readouterr().err


def test_keys_of_another_size_and_a_door_for_nobody_are_refused() -> None:
    with pytest.raises(InputError, match="256 bits"):
        calling_end("alice", uuid4(), b"short")
    with pytest.raises(InputError, match="peers"):
        KeyFinder(None, [])  # type: ignore[arg-type]
    end = serving_end(lambda *_: b"short")
    with pytest.raises(SSL.Error):
        shake_hands(calling_end("alice", KEY_ID, KEY), end)


DOCUMENT = Path(__file__).parents[2] / "docs" / "cloud-over-qkd.md"


def test_the_lines_of_the_document_lead_to_the_cloud(two: KmeChain, tmp_path: Path) -> None:
    """Its file and its commands, at other addresses."""
    two.host.directory.saes.update({"anna": Sae("kme-0"), "cloud": Sae("kme-1")})
    here = two.issue("anna").certificate.parent
    two.issue("cloud")
    blocks = dict(re.findall(r"```(toml|sh)\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL))
    lines = [
        line for block in re.findall(r"```sh\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL) for line in block.splitlines()
    ]
    asked = {"8600": "0", "https://127.0.0.1:8443": two.address("kme-1"), "kme-b": "kme-1"}
    (here / "door.toml").write_text(replaced(blocks["toml"], asked))
    environment = os.environ | {"PYTHONPATH": str(DOCUMENT.parents[1])}
    for word in (word for line in lines if line.startswith("export") for word in line.split()[1:]):
        name, _, value = replaced(word, {"https://127.0.0.1:8442": two.address("kme-0"), "kme-a": "kme-0"}).partition("=")
        environment[name] = value

    def tiandi(line: str, *more: str) -> list[str]:
        assert line in lines
        return [sys.executable, "-m", *line.split(), *more]

    key = subprocess.run(tiandi("tiandi cloud users add anna"), cwd=here, env=environment, check=True, capture_output=True, text=True)
    serve = tiandi("tiandi cloud serve --quantum-door door.toml", "--port", "0", "--workers", "1", "--machines", toys.CATALOGUE)
    with started(serve, here, environment, "quantum door at ([0-9.:]+) as cloud, for anna") as place:
        connect = tiandi("tiandi cloud connect 127.0.0.1:8600 --peer cloud", "--port", "0")
        connect[connect.index("127.0.0.1:8600")] = place
        with started(connect, here, environment, "(http://[0-9.:]+) leads to .* under keys of anna and cloud") as address:
            headers = {"Authorization": f"Bearer {key.stdout.strip()}"}
            told = httpx.get(f"{address}/api/v1/machines", headers=headers, timeout=PATIENCE_S, trust_env=False).json()
            assert "dice" in [machine["name"] for machine in told["machines"]]
            page = httpx.get(address, timeout=PATIENCE_S, trust_env=False)
            assert "tiandi cloud" in page.text


def replaced(text: str, words: dict[str, str]) -> str:
    for word, other in words.items():
        text = text.replace(word, other)
    return text


@contextmanager
def started(command: list[str], folder: Path, environment: dict[str, str], said: str) -> Iterator[str]:
    """A command as a process; gives what the group in ``said`` matches of a line it prints."""
    with (folder / "said.log").open("ab") as log:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=log, text=True)
    try:
        assert process.stdout is not None
        found = next((match for line in process.stdout if (match := re.search(said, line))), None)
        assert found is not None, (folder / "said.log").read_text()
        yield found[1]
    finally:
        process.terminate()
        assert process.wait(PATIENCE_S) == 0
        assert process.stdout is not None
        process.stdout.close()


def test_settings_of_a_door_that_cannot_be_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "door.toml"
    for text in ("", "listen = 1", 'listen = "127.0.0.1:1"\nunknown = 2', "\xff"):
        file.write_text(text, encoding="latin-1")
        with pytest.raises(InputError, match="cannot be read"):
            read_settings(file)
    with pytest.raises(InputError, match="cannot be read"):
        read_settings(tmp_path / "nowhere.toml")
    for place in ("here", "127.0.0.1:", ":80", "127.0.0.1:65536", "127.0.0.1:-1"):
        with pytest.raises(InputError, match="HOST:PORT"):
            parse_place("listen", place)
    assert parse_place("listen", "[::1]:80") == ("::1", 80)
    with pytest.raises(InputError, match="one SAE"):
        _sae_of(file)
