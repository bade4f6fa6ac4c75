"""The server's end of mutual TLS, over real sockets, as friends and strangers see it: ssl, httpx, openssl, and bytes by hand."""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from cryptography import x509
from OpenSSL import SSL

from tiandi.errors import InputError, NotAuthorised
from tiandi.kms.tls import certificates, revocation
from tiandi.kms.tls import connections as tls_streams
from tiandi.kms.tls import serving as tls
from tiandi.kms.tls.connections import TlsStream
from tiandi.kms.tls.contexts import ServerTls
from tiandi.kms.tls.identities import SCOPE_KEY, ClientCertificate, IdentityRule
from tiandi.kms.tls.pki import CertificateAuthority, Credentials
from tiandi.kms.tls.revocation import Revocations
from tiandi.kms.tls.serving import http_protocol, start_tls_server

PATIENCE_S = 10.0


async def application(scope: Any, receive: Any, send: Any) -> None:
    """Tells who calls; /length takes the body in, /large sends 4 MB."""
    caller = scope["extensions"][SCOPE_KEY]
    body = json.dumps({"identities": caller.identities, "serial": caller.serial}).encode()
    if scope["path"] == "/length":
        size, more = 0, True
        while more:
            message = await receive()
            size, more = size + len(message.get("body", b"")), message.get("more_body", False)
        body = json.dumps(size).encode()
    if scope["path"] == "/large":
        body = bytes(4_000_000)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", str(len(body)).encode())]})
    for start in range(0, len(body), 50_000):
        await send({"type": "http.response.body", "body": body[start : start + 50_000], "more_body": start + 50_000 < len(body)})


class Serving:
    """A uvicorn server with our protocol, on an event loop in a thread."""

    def __init__(self, door: ServerTls, **options: Any) -> None:
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self.address = f"https://127.0.0.1:{self.port}"
        config = uvicorn.Config(
            application, http=http_protocol(door, **options), ws="none", lifespan="off", log_config=None, access_log=False
        )
        config.timeout_graceful_shutdown = 1
        self.server = uvicorn.Server(config)
        self._thread = threading.Thread(target=lambda: asyncio.run(self.server._serve(sockets=[self.socket])))

    def __enter__(self) -> Serving:
        self._thread.start()
        while not self.server.started:
            time.sleep(0.005)
        return self

    def __exit__(self, *_: object) -> None:
        self.server.should_exit = True
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive()
        self.socket.close()

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), PATIENCE_S)


class Network:
    """An authority with a KME and an SAE."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "pki"
        self.authority = CertificateAuthority(self.folder)
        self.kme, self.other_kme = self.authority.issue("kme", "kme-a"), self.authority.issue("kme", "kme-b")
        self.alice = self.authority.issue("sae", "alice")

    def revoke(self, which: str) -> None:
        self.authority.revoke(which)
        time.sleep(revocation.LOOK_EVERY_S)

    def dated(self, starts: timedelta, ends: timedelta) -> Credentials:
        """An SAE's certificate of the authority's, valid from then to then, counted from now."""
        key, now = certificates.generate_key("p256"), datetime.now(UTC)
        old = x509.load_pem_x509_certificate(self.alice.certificate.read_bytes())
        builder = x509.CertificateBuilder(old.issuer, old.subject, key.public_key(), x509.random_serial_number(), now + starts, now + ends)
        for extension in old.extensions:
            if not isinstance(extension.value, x509.SubjectKeyIdentifier):
                builder = builder.add_extension(extension.value, extension.critical)
        issuer = self.authority._keys["p256"]
        made = builder.sign(issuer, certificates._hash(issuer))
        certificates.put(self.folder / "dated.crt", made.public_bytes(certificates.Encoding.PEM))
        certificates.put(self.folder / "dated.key", certificates.key_bytes(key, None), 0o600)
        return Credentials("alice", self.folder / "dated.crt", self.folder / "dated.key", self.alice.authority)


@pytest.fixture
def network(tmp_path: Path) -> Network:
    return Network(tmp_path)


@pytest.fixture
def serving(network: Network) -> Iterator[Serving]:
    with Serving(ServerTls(network.kme)) as running:
        yield running


def context_of(credentials: Credentials) -> ssl.SSLContext:
    return credentials.client_context()


def get(serving: Serving, context: ssl.SSLContext, path: str = "/") -> httpx.Response:
    return httpx.get(serving.address + path, verify=context, trust_env=False)


def refused(serving: Serving, context: ssl.SSLContext) -> bool:
    """In TLS 1.3 the client hears of it with its first read."""
    try:
        return not get(serving, context).is_success
    except httpx.TransportError:
        return True


@contextmanager
def connected(serving: Serving, credentials: Credentials) -> Iterator[ssl.SSLSocket]:
    with serving.connect() as plain, context_of(credentials).wrap_socket(plain, server_hostname="kme-a") as made:
        yield made


def is_cut_off(peer: socket.socket) -> bool:
    try:
        while peer.recv(65_536):
            pass
    except TimeoutError:
        return False
    except OSError:
        pass
    return True


def answer(peer: ssl.SSLSocket) -> bytes:
    head = b""
    while b"\r\n\r\n" not in head:
        data = peer.recv(65_536)
        if not data:
            return head
        head += data
    return head


REQUEST = b"GET / HTTP/1.1\r\nHost: kme-a\r\n\r\n"


def test_the_callers_certificate_is_in_the_scope(network: Network, serving: Serving) -> None:
    response = get(serving, context_of(network.alice))
    serial = x509.load_pem_x509_certificate(network.alice.certificate.read_bytes()).serial_number
    assert response.json() == {"identities": [["sae", "alice"]], "serial": serial}


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("group", ["prime256v1", "X25519"])
def test_ordinary_clients_are_served(network: Network, serving: Serving, version: ssl.TLSVersion, group: str) -> None:
    context = context_of(network.alice)
    context.minimum_version = context.maximum_version = version
    if group == "prime256v1":
        context.set_ecdh_curve(group)
    assert get(serving, context).is_success


def test_tls_1_1_is_refused(network: Network, serving: Serving) -> None:
    context = SSL.Context(SSL.TLS_METHOD)
    context.set_min_proto_version(SSL.TLS1_VERSION)
    context.set_max_proto_version(SSL.TLS1_1_VERSION)
    context.set_cipher_list(b"ALL:@SECLEVEL=0")
    with serving.connect() as plain:
        plain.setblocking(True)
        connection = SSL.Connection(context, plain)
        connection.set_connect_state()
        with pytest.raises(SSL.Error, match="protocol version"):
            connection.do_handshake()


def test_nobody_comes_in_without_a_certificate(network: Network, serving: Serving) -> None:
    assert refused(serving, ssl.create_default_context(cafile=str(network.alice.authority)))


def test_another_authoritys_certificate_is_refused(network: Network, serving: Serving, tmp_path: Path) -> None:
    forged = CertificateAuthority(tmp_path / "forged").issue("sae", "alice")
    context = ssl.create_default_context(cafile=str(network.alice.authority))
    context.load_cert_chain(forged.certificate, forged.private_key)
    assert refused(serving, context)


def test_a_self_signed_certificate_is_refused(network: Network, serving: Serving, tmp_path: Path) -> None:
    key = certificates.generate_key("p256")
    template = certificates.Template("alice", (x509.UniformResourceIdentifier("urn:tiandi:sae:alice"),), 30)
    made = certificates.sign_certificate(template, key.public_key(), None, key)
    certificates.put(tmp_path / "own.pem", made.public_bytes(certificates.Encoding.PEM) + certificates.key_bytes(key, None))
    context = ssl.create_default_context(cafile=str(network.alice.authority))
    context.load_cert_chain(tmp_path / "own.pem")
    assert refused(serving, context)


@pytest.mark.parametrize(("starts_h", "ends_h", "is_good"), [(-2, -1, False), (1, 2, False), (-1, 1, True)])
def test_dates_are_kept(network: Network, serving: Serving, starts_h: int, ends_h: int, is_good: bool) -> None:
    credentials = network.dated(timedelta(hours=starts_h), timedelta(hours=ends_h))
    assert refused(serving, context_of(credentials)) is not is_good


def test_a_kept_connection_ends_when_its_certificate_expires(network: Network, serving: Serving) -> None:
    credentials = network.dated(timedelta(hours=-1), timedelta(seconds=2))
    with httpx.Client(verify=context_of(credentials), trust_env=False) as caller:
        ask = lambda: caller.get(serving.address, extensions={"sni_hostname": "kme-a"})  # noqa: E731
        assert ask().is_success
        end = time.monotonic() + PATIENCE_S
        while (response := ask()).is_success and time.monotonic() < end:
            time.sleep(0.1)
        assert (response.status_code, response.json()) == (401, {"message": "the certificate has expired"})


def test_a_revoked_certificate_is_refused_on_the_next_request(network: Network, serving: Serving) -> None:
    context = context_of(network.alice)
    with connected(serving, network.alice) as kept:
        kept.sendall(REQUEST)
        assert answer(kept).startswith(b"HTTP/1.1 200")
        network.revoke("alice")
        kept.sendall(REQUEST)
        assert answer(kept).startswith(b"HTTP/1.1 401")
        assert is_cut_off(kept)
    assert refused(serving, context)
    assert get(serving, context_of(network.authority.issue("sae", "bob"))).is_success


def test_a_list_of_revocations_that_cannot_be_trusted_lets_nobody_in(network: Network, serving: Serving, tmp_path: Path) -> None:
    path, context = network.folder / "authority.crl", context_of(network.alice)
    good, mark = path.read_bytes(), b"-----END X509 CRL-----\n"
    strange = tmp_path / "strange"
    CertificateAuthority(strange)
    for bad in (b"", b"junk", good.split(mark)[0] + mark, (strange / "authority.crl").read_bytes(), good.replace(b"M", b"N", 1)):
        path.write_bytes(bad)
        time.sleep(revocation.LOOK_EVERY_S)
        assert refused(serving, context), bad[:40]
    path.unlink()
    time.sleep(revocation.LOOK_EVERY_S)
    assert refused(serving, context)
    path.write_bytes(good)
    time.sleep(revocation.LOOK_EVERY_S)
    assert not refused(serving, context)


def test_an_outdated_list_of_revocations_lets_nobody_in(network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    alice = IdentityRule().read(x509.load_pem_x509_certificate(network.alice.certificate.read_bytes()))
    good = (network.folder / "authority.crl", [network.alice.authority])
    assert Revocations(*good).refusal(alice) is None
    now = time.time()
    for late_s, failure in ((90 * 86_400 + 10, None), (90 * 86_400 + revocation.GRACE_S + 10, "out of date")):
        monkeypatch.setattr(time, "time", lambda late_s=late_s: now + late_s)
        asked = Revocations(*good)
        assert (asked.failure or "").endswith(failure or ""), asked.failure
        assert (asked.failure is None) == (failure is None)
        assert (asked.refusal(alice) is None) == (failure is None)


def test_a_certificate_whose_authority_has_no_list_is_refused(network: Network, tmp_path: Path) -> None:
    stranger = CertificateAuthority(tmp_path / "other", "other")
    shown = IdentityRule().read(x509.load_pem_x509_certificate(stranger.issue("sae", "x").certificate.read_bytes()))
    asked = Revocations(network.folder / "authority.crl", [network.alice.authority])
    assert asked.refusal(shown) == "nobody tells what its authority has revoked"


def test_a_kme_must_speak_post_quantum_tls(network: Network, serving: Serving) -> None:
    context = context_of(network.other_kme)
    context.set_ecdh_curve("prime256v1")
    assert refused(serving, context)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not on this machine")
def test_openssl_is_served(network: Network, serving: Serving) -> None:
    files = {"-cert": network.alice.certificate, "-key": network.alice.private_key, "-CAfile": network.alice.authority}
    options = [str(part) for pair in files.items() for part in pair]
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{serving.port}", "-servername", "kme-a", "-verify_hostname", "kme-a"]
    request = REQUEST.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    done = subprocess.run(
        [*command, *options, "-verify_return_error", "-ign_eof"], input=request, capture_output=True, timeout=20, check=False
    )
    assert b"HTTP/1.1 200 OK" in done.stdout, done.stderr


def test_no_session_is_resumed(network: Network, serving: Serving) -> None:
    context = context_of(network.alice)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    session = None
    for _ in range(2):
        with serving.connect() as plain, context.wrap_socket(plain, server_hostname="kme-a", session=session) as made:
            made.sendall(REQUEST)
            assert answer(made)
            session = made.session
            assert not made.session_reused


@pytest.mark.parametrize(
    "garbage", [b"GET / HTTP/1.1\r\n\r\n", b"\0" * 100_000, b"\x16\x03\x01\xff\xff" + b"x" * 70_000, b"\x16\x03\x01\0\x05hello"]
)
def test_garbage_is_cut_off(network: Network, serving: Serving, garbage: bytes) -> None:
    with serving.connect() as peer:
        try:
            peer.sendall(garbage)
        except OSError:
            return
        assert is_cut_off(peer)
    assert get(serving, context_of(network.alice)).is_success


def test_half_a_handshake_is_cut_off_in_time(network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tls_streams, "HANDSHAKE_TIMEOUT_S", 0.3)
    with Serving(ServerTls(network.kme)) as serving, serving.connect() as silent, serving.connect() as slow:
        slow.sendall(b"\x16\x03\x01\x02\x00\x01")
        assert is_cut_off(silent)
        assert is_cut_off(slow)
        assert get(serving, context_of(network.alice)).is_success


@pytest.mark.parametrize(
    "begun", [b"", b"\r\n", b"GET / HTTP/1.1\r\nHost: k", b"POST / HTTP/1.1\r\nHost: k\r\nContent-Length: 9\r\n\r\nhalf"]
)
def test_a_request_that_does_not_end_is_cut_off_in_time(network: Network, monkeypatch: pytest.MonkeyPatch, begun: bytes) -> None:
    monkeypatch.setattr(tls, "REQUEST_TIMEOUT_S", 0.3)
    with Serving(ServerTls(network.kme)) as serving, connected(serving, network.alice) as peer:
        peer.sendall(begun or b"G")
        assert is_cut_off(peer)


def test_a_kept_connection_that_says_nothing_of_use_is_cut_off_in_time(network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tls, "REQUEST_TIMEOUT_S", 0.3)
    with Serving(ServerTls(network.kme)) as serving, connected(serving, network.alice) as peer:
        peer.sendall(REQUEST)
        assert answer(peer).startswith(b"HTTP/1.1 200")
        peer.sendall(b"\r\n")
        assert is_cut_off(peer)


@pytest.mark.parametrize(
    "head", [b"GET /" + b"a" * 90_000, b"GET / HTTP/1.1\r\n" + b"x: y\r\n" * 40_000, b"GET / HTTP/1.1\r\nx: " + b"y" * 90_000]
)
def test_headers_without_end_are_refused(network: Network, serving: Serving, head: bytes) -> None:
    with connected(serving, network.alice) as peer:
        try:
            peer.sendall(head)
            assert answer(peer).startswith((b"HTTP/1.1 400", b""))
        except OSError:
            pass
        assert is_cut_off(peer)


def test_bad_http_gets_an_answer_in_json(network: Network, serving: Serving) -> None:
    with connected(serving, network.alice) as peer:
        peer.sendall(b"NONSENSE\r\n\r\n")
        head, body = answer(peer).split(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 400")
        assert "message" in json.loads(body)
        assert is_cut_off(peer)


def test_requests_in_a_row_are_answered_in_their_order_up_to_a_limit(network: Network, serving: Serving) -> None:
    with connected(serving, network.alice) as peer:
        peer.sendall(REQUEST * 20)
        received = b""
        while received.count(b"HTTP/1.1 200") < 20:
            received += peer.recv(65_536)
    with connected(serving, network.alice) as peer:
        peer.sendall(REQUEST * 500)
        assert is_cut_off(peer)


def test_large_bodies_pass_both_ways(network: Network, serving: Serving) -> None:
    context = context_of(network.alice)
    response = httpx.post(serving.address + "/length", content=bytes(3_000_000), verify=context, trust_env=False)
    assert response.json() == 3_000_000
    assert len(get(serving, context, "/large").content) == 4_000_000


def test_who_takes_no_answer_is_cut_off(network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tls_streams, "STALL_TIMEOUT_S", 0.3)
    with Serving(ServerTls(network.kme)) as serving, serving.connect() as plain:
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
        with context_of(network.alice).wrap_socket(plain, server_hostname="kme-a") as peer:
            peer.sendall(REQUEST.replace(b"GET /", b"GET /large") * 20)
            end = time.monotonic() + PATIENCE_S
            while serving.server.server_state.connections and time.monotonic() < end:
                time.sleep(0.05)
            assert not serving.server.server_state.connections


def test_an_answer_ends_with_a_close_notify(network: Network, serving: Serving) -> None:
    with connected(serving, network.alice) as peer:
        peer.suppress_ragged_eofs = False
        peer.sendall(REQUEST.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        assert answer(peer).startswith(b"HTTP/1.1 200")
        assert peer.recv(1) == b""


def test_the_longest_idle_makes_room(network: Network) -> None:
    context = context_of(network.alice)
    with Serving(ServerTls(network.kme), connection_limit=5) as serving:
        idle = [serving.connect() for _ in range(5)]
        assert get(serving, context).is_success
        assert is_cut_off(idle[0])
        idle[4].settimeout(0.2)
        assert not is_cut_off(idle[4])
        for each in idle:
            each.close()


def test_whoever_hangs_up_leaves_nothing_behind(network: Network, serving: Serving) -> None:
    for size in (0, 5, 300):
        with serving.connect() as peer:
            peer.sendall(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[:size])
    end = time.monotonic() + PATIENCE_S
    while serving.server.server_state.connections and time.monotonic() < end:
        time.sleep(0.02)
    assert not serving.server.server_state.connections


def test_files_that_do_not_belong_together_are_refused(network: Network, tmp_path: Path) -> None:
    (tmp_path / "junk").write_text("junk")
    for credentials in (
        Credentials("x", network.alice.certificate, network.kme.private_key, network.alice.authority),
        Credentials("x", tmp_path / "none", network.kme.private_key, network.alice.authority),
    ):
        with pytest.raises(InputError, match="belong together"):
            ServerTls(credentials)
    with pytest.raises(InputError, match="must be a file of certificates"):
        ServerTls(Credentials("x", network.kme.certificate, network.kme.private_key, tmp_path / "junk"))


def test_a_stream_is_served_and_its_certificate_watched(network: Network) -> None:
    seen: list[Any] = []

    async def echo(stream: TlsStream, certificate: ClientCertificate) -> None:
        seen.append(certificate.identity("sae"))
        try:
            while True:
                await stream.write((await stream.read_exactly(4))[::-1])
        except (asyncio.IncompleteReadError, NotAuthorised) as error:
            seen.append(type(error))
            raise

    async def work() -> None:
        listener = socket.create_server(("127.0.0.1", 0))
        server = await start_tls_server(echo, listener, ServerTls(network.kme))
        context = context_of(network.alice)
        for end in ("close", "revoke"):
            reader, writer = await asyncio.open_connection(*listener.getsockname(), ssl=context, server_hostname="kme-a")
            for text in (b"abcd", b"1234" * 50_000):
                writer.write(text)
                assert await reader.readexactly(len(text)) == b"".join(text[at : at + 4][::-1] for at in range(0, len(text), 4))
            if end == "revoke":
                await asyncio.to_thread(network.revoke, "alice")
                writer.write(b"abcd")
                assert await reader.read() == b""
            writer.close()
            await asyncio.sleep(0.05)
        server.close()
        await server.wait_closed()

    asyncio.run(asyncio.wait_for(work(), PATIENCE_S))
    assert seen == ["alice", asyncio.IncompleteReadError, "alice", NotAuthorised]
