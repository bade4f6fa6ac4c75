"""HTTP made to confuse or to exhaust a KME: names, bodies, headers, smuggling, pipelines, slow and silent clients, over real TLS."""

from __future__ import annotations

import gzip
import http.client
import resource
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from statistics import median

import msgspec
import pytest
from OpenSSL import SSL

from tests.security.fortress import PAIR, Fortress, answer, is_cut_off, request
from tests.security.test_message_bombs import memory_byte
from tiandi.kms.tls import serving as tls

SHORT_S = 0.3
PATIENCE_S = 10.0
"""An answer may be slow, and would then count as that of the next test."""


@contextmanager
def one_key_at_most(fortress: Fortress) -> Iterator[None]:
    """A hidden second request would have cost a second key."""
    entity = fortress.entity("kme-0")

    def delivered() -> int:
        return sum(states.get("delivered", 0) for states in fortress.host.call(entity.account()).values())

    before = delivered()
    yield
    assert delivered() - before <= 256


NAMES = [
    "bob%2F", "%2Fbob", "bob%252F", "bob%2Fstatus", "..", "%2e%2e", ".", "%2e", "bob%00", "%00", "bob%0d%0aX:%20y", "bob%20", "%20bob", "%",
    "%zz", "%c0%af", "%ff%fe", "b%C3%B6b", "%D0%B2%D0%BE%D0%B2", "b%D0%BEb", "%EF%BD%82ob", "bob%E2%80%8B", "Bob", "BOB", "bob;x", "bob\\",
    "bob%5c..", "b" * 65, "b" * 20_000, "-bob", "~", "urn:tiandi:sae:bob", "%2562ob", "'%20OR%20'1'='1", "bob'--", "$1", "{sae}",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_no_name_that_is_not_bobs_is_bobs(fortress: Fortress, name: str) -> None:
    for method in ("status", "enc_keys"):
        status, body = fortress.ask(fortress.alice, f"/api/v1/keys/{name}/{method}")
        assert status in {400, 404}
        assert set(msgspec.json.decode(body)) == {"message"}
        assert len(body) < 1000


def test_bobs_name_is_his_however_it_is_escaped(fortress: Fortress) -> None:
    assert fortress.ask(fortress.alice, "/api/v1/keys/%62%6Fb/status")[0] == 200


@pytest.mark.parametrize("path", ["/api/v1/keys/../keys/bob/status", "//etc/passwd", "/api/v1/keys/bob/status/..", "*", "http://x/metrics"])
def test_no_way_round_leads_to_another_door(fortress: Fortress, path: str) -> None:
    assert fortress.ask(fortress.alice, path)[0] in {400, 401, 404}


# Bodies.

BODIES = {
    "nested arrays": b'{"number": ' + b"[" * 30_000 + b"]" * 30_000 + b"}",
    "nested objects": b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
    "nested in an extension": b'{"extension_optional": [{"x": ' + b"[" * 30_000 + b"]" * 30_000 + b"}]}",
    "a number of sixty thousand digits": b'{"number": ' + b"9" * 60_000 + b"}",
    "a number beyond every float": b'{"number": 1e999999999}',
    "a negative number": b'{"number": -1}',
    "a size beyond 64 bit": b'{"size": 18446744073709551616}',
    "a number that is none": b'{"number": NaN}',
    "half a surrogate": b'{"additional_slave_SAE_IDs": ["\\ud800"]}',
    "a NUL in a name": b'{"additional_slave_SAE_IDs": ["bob\\u0000"]}',
    "a look-alike": '{"additional_slave_SAE_IDs": ["m\u0430llory"]}'.encode(),
    "ten thousand slaves": msgspec.json.encode({"additional_slave_SAE_IDs": ["mallory"] * 5000}),
    "text that is no UTF-8": b'{"number": "\xff"}',
    "UTF-16": '{"number": 1}'.encode("utf-16"),
    "two values": b"{} {}",
    "a list": b"[]",
    "nothing but a byte order mark": b"\xef\xbb\xbf{}",
}


@pytest.mark.parametrize("name", BODIES)
def test_a_body_that_cannot_stand_is_refused_in_words(fortress: Fortress, name: str) -> None:
    start_s = time.monotonic()
    status, body = fortress.ask(fortress.alice, PAIR + "/enc_keys", BODIES[name])
    assert status == 400
    assert len(msgspec.json.decode(body)["message"]) < 600
    assert time.monotonic() - start_s < 2


def test_of_a_name_that_stands_twice_one_is_taken_and_the_limits_hold(fortress: Fortress) -> None:
    with one_key_at_most(fortress):
        assert fortress.ask(fortress.alice, PAIR + "/enc_keys", b'{"number": 1000000, "number": 1}')[0] == 200
        assert fortress.ask(fortress.alice, PAIR + "/enc_keys", b'{"number": 1, "number": 1000000}')[0] == 400


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd", "gzip, gzip", "x-bomb"])
def test_a_compressed_body_is_refused_unopened(fortress: Fortress, coding: str) -> None:
    bomb = gzip.compress(bytes(30 * 2**20))
    before = memory_byte()
    assert fortress.ask(fortress.alice, PAIR + "/enc_keys", bomb, headers=f"Content-Encoding: {coding}\r\n")[0] == 415
    assert memory_byte() - before < 20 * 2**20


def test_ten_megabytes_are_refused_and_not_kept(fortress: Fortress) -> None:
    before = memory_byte()
    with fortress.connected(fortress.alice) as peer:
        peer.sendall(f"POST {PAIR}/enc_keys HTTP/1.1\r\nHost: k\r\nContent-Length: {10 * 2**20}\r\n\r\n".encode())
        assert answer(peer)[0] == 413
        # Whether the rest is taken and forgotten or cut off is HTTP's choice; it is never taken for a request.
        if sent_whole(peer, bytes(10 * 2**20)):
            peer.sendall(request(PAIR + "/status"))
            assert answer(peer)[0] == 200
    assert memory_byte() - before < 20 * 2**20


def sent_whole(peer: ssl.SSLSocket, data: bytes) -> bool:
    try:
        peer.sendall(data)
    except OSError:
        return False
    return True


def test_a_chunked_body_without_end_is_refused(fortress: Fortress) -> None:
    with fortress.connected(fortress.alice) as peer:
        peer.sendall(f"POST {PAIR}/enc_keys HTTP/1.1\r\nHost: k\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
        chunk = b"1000\r\n" + b" " * 0x1000 + b"\r\n"
        sent = sum(sent_whole(peer, chunk) for _ in range(64))
        assert sent >= 16
        assert answer(peer)[0] == 413


def test_tiny_chunks_cost_no_more_than_large_ones(fortress: Fortress) -> None:
    start_s = time.monotonic()
    with fortress.connected(fortress.alice) as peer:
        head = f"POST {PAIR}/enc_keys HTTP/1.1\r\nHost: k\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
        peer.sendall(head + b"1\r\n \r\n" * 60_000 + b"2\r\n{}\r\n0\r\n\r\n")
        assert answer(peer)[0] == 200
    assert time.monotonic() - start_s < 5


# Headers, smuggling, pipelines.


def test_a_flood_of_headers_is_refused(fortress: Fortress) -> None:
    for flood in (b"X: y\r\n" * 20_000, b"X: " + b"y" * 100_000 + b"\r\n", b"x" * 100_000):
        with fortress.connected(fortress.alice) as peer:
            sent_whole(peer, b"GET / HTTP/1.1\r\nHost: k\r\n" + flood + b"\r\n\r\n")
            with suppress(OSError, http.client.HTTPException):
                assert answer(peer)[0] == 400


HIDDEN = f"GET {PAIR}/enc_keys HTTP/1.1\r\nHost: k\r\n\r\n"
SMUGGLED = {
    "two lengths": f"Content-Length: 2\r\nContent-Length: {2 + len(HIDDEN)}\r\n\r\n{{}}{HIDDEN}",
    "two lengths in one": f"Content-Length: 2, {2 + len(HIDDEN)}\r\n\r\n{{}}{HIDDEN}",
    "a length and chunks": f"Content-Length: {7 + len(HIDDEN)}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{HIDDEN}",
    "chunks and a length": f"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n{HIDDEN}",
    "chunks that are not last": f"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n{HIDDEN}",
    "another coding": f"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n{HIDDEN}",
    "two codings": f"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n{HIDDEN}",
    "a space before the colon": f"Transfer-Encoding : chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n{HIDDEN}",
    "a folded header": f"Content-Length: 2\r\nX: y\r\n Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n{{}}{HIDDEN}",
    "a signed length": f"Content-Length: +2\r\n\r\n{{}}{HIDDEN}",
    "a length in hexadecimal": f"Content-Length: 0x2\r\n\r\n{{}}{HIDDEN}",
    "a negative length": f"Content-Length: -1\r\n\r\n{{}}{HIDDEN}",
    "a length beyond 64 bit": f"Content-Length: 18446744073709551618\r\n\r\n{{}}{HIDDEN}",
    "a chunk beyond 64 bit": f"Transfer-Encoding: chunked\r\n\r\n10000000000000002\r\n{{}}\r\n0\r\n\r\n{HIDDEN}",
    "bare line feeds": f"Transfer-Encoding: chunked\n\n2\n{{}}\n0\n\n{HIDDEN}",
    "a chunk with a bare line feed": f"Transfer-Encoding: chunked\r\n\r\n2\n{{}}\n0\n\n{HIDDEN}",
    "a NUL in a header": f"X: a\0b\r\nContent-Length: 2\r\n\r\n{{}}{HIDDEN}",
    "a carriage return in a header": f"X: a\rContent-Length: {2 + len(HIDDEN)}\r\nContent-Length: 2\r\n\r\n{{}}{HIDDEN}",
}


@pytest.mark.parametrize("name", SMUGGLED)
def test_no_request_is_smuggled_within_another(fortress: Fortress, name: str) -> None:
    with one_key_at_most(fortress), fortress.connected(fortress.alice) as peer:
        peer.settimeout(PATIENCE_S)
        peer.sendall(f"POST {PAIR}/enc_keys HTTP/1.1\r\nHost: k\r\n{SMUGGLED[name]}".encode())
        heard = b""
        try:
            while data := peer.recv(65_536):
                heard += data
                peer.settimeout(SHORT_S)
        except OSError:
            pass
        assert heard.count(b"HTTP/1.1 2") <= 1


def test_requests_in_a_row_are_answered_in_order_and_each_once(fortress: Fortress) -> None:
    with fortress.connected(fortress.alice) as peer:
        peer.sendall(b"".join(request(f"{PAIR}/enc_keys?size={size}") for size in range(64, 64 + 8 * 20, 8)))
        for size in range(64, 64 + 8 * 20, 8):
            status, body = answer(peer)
            assert status == 200
            assert len(msgspec.convert(msgspec.json.decode(body)["keys"][0]["key"], bytes)) == size // 8


def test_thousands_of_requests_at_once_are_too_many(fortress: Fortress) -> None:
    with fortress.connected(fortress.alice) as peer:
        sent_whole(peer, request(PAIR + "/status") * 5000)
        assert is_cut_off(peer)


@pytest.mark.parametrize("version", ["HTTP/0.9", "HTTP/1.0", "HTTP/2.0", "HTTP/9.9", "ICY"])
def test_other_versions_get_nothing_or_an_answer_of_http_1(fortress: Fortress, version: str) -> None:
    with one_key_at_most(fortress), fortress.connected(fortress.alice) as peer:
        peer.settimeout(PATIENCE_S)
        peer.sendall(f"GET {PAIR}/enc_keys {version}\r\nHost: k\r\n\r\n".encode())
        try:
            heard = peer.recv(65_536)
        except OSError:
            heard = b""
        assert heard == b"" or heard.startswith(b"HTTP/1.")


@pytest.mark.parametrize("method", ["CONNECT", "TRACE", "OPTIONS", "PUT", "DELETE", "PATCH", "HEAD", "PRI"])
def test_other_methods_deliver_nothing(fortress: Fortress, method: str) -> None:
    with fortress.connected(fortress.alice) as peer:
        peer.settimeout(1)
        peer.sendall(f"{method} {PAIR}/enc_keys HTTP/1.1\r\nHost: k\r\n\r\n".encode())
        try:
            heard = peer.recv(65_536)
        except OSError:
            heard = b""
        assert not heard.startswith(b"HTTP/1.1 2")
        assert b"key_ID" not in heard


def test_no_upgrade_is_taken(fortress: Fortress) -> None:
    with fortress.connected(fortress.alice) as peer:
        peer.sendall(request(PAIR + "/status", headers="Connection: Upgrade\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"))
        assert answer(peer)[0] == 200


# Time.


def test_slow_requests_hold_nobody_up_and_are_cut_off(fortress: Fortress, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tls, "REQUEST_TIMEOUT_S", 1.0)
    begun = [
        b"GET /api",
        b"GET / HTTP/1.1\r\nHost: k\r\nX: ",
        f"POST {PAIR}/enc_keys HTTP/1.1\r\nHost: k\r\nContent-Length: 100\r\n\r\n{{".encode(),
        f"POST {PAIR}/enc_keys HTTP/1.1\r\nHost: k\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n".encode(),
    ]
    with ExitStack() as stack:
        peers = [stack.enter_context(fortress.connected(fortress.alice)) for _ in range(10) for _ in begun]
        for number, peer in enumerate(peers):
            peer.sendall(begun[number % len(begun)])
        end_s = time.monotonic() + 2.5
        while time.monotonic() < end_s:
            start_s = time.monotonic()
            assert fortress.ask(fortress.alice, PAIR + "/status")[0] == 200
            assert time.monotonic() - start_s < 1
            for peer in peers:
                sent_whole(peer, b" ")
            time.sleep(0.1)
        assert all(is_cut_off(peer) for peer in peers)


def test_whoever_half_closes_is_let_go(fortress: Fortress) -> None:
    for begun in (b"", b"GET /api", request(PAIR + "/status"), request(PAIR + "/enc_keys")):
        with fortress.connected(fortress.alice) as peer:
            peer.sendall(begun)
            peer.shutdown(socket.SHUT_WR)
            assert is_cut_off(peer)


def test_nobody_renegotiates(fortress: Fortress) -> None:
    context = SSL.Context(SSL.TLS_METHOD)
    context.set_max_proto_version(SSL.TLS1_2_VERSION)
    context.use_certificate_file(str(fortress.alice.certificate))
    context.use_privatekey_file(str(fortress.alice.private_key))
    with socket.create_connection(("127.0.0.1", fortress.port("kme-0")), 5) as plain:
        plain.setblocking(True)
        connection = SSL.Connection(context, plain)
        connection.set_connect_state()
        connection.do_handshake()
        connection.renegotiate()

        def go_on() -> None:
            for _ in range(5):
                connection.do_handshake()
                connection.send(b"GET / HTTP/1.1\r\nHost: k\r\n\r\n")
                connection.recv(1000)

        with pytest.raises(SSL.Error):
            go_on()


IDLE = """
import resource, socket, ssl, sys
port, plain, shaken = (int(word) for word in sys.argv[1:4])
resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
context = ssl.create_default_context(cafile=sys.argv[4])
context.load_cert_chain(sys.argv[5], sys.argv[6])
kept = [context.wrap_socket(socket.create_connection(("127.0.0.1", port)), server_hostname="kme-0") for _ in range(shaken)]
kept += [socket.create_connection(("127.0.0.1", port)) for _ in range(plain)]
print(len(kept), flush=True)
sys.stdin.read()
"""


@contextmanager
def idle_crowd(fortress: Fortress, *, plain: int, shaken: int) -> Iterator[None]:
    """Connections of another process that say nothing; some have shaken hands."""
    a = fortress.alice
    words = [str(word) for word in (fortress.port("kme-0"), plain, shaken, a.authority, a.certificate, a.private_key)]
    crowd = subprocess.Popen([sys.executable, "-c", IDLE, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert crowd.stdout is not None
    try:
        assert crowd.stdout.readline() == f"{plain + shaken}\n"
        yield
    finally:
        crowd.communicate("")


@pytest.mark.parametrize(
    ("plain", "shaken"), [(1500, 100), pytest.param(9000, 1000, marks=pytest.mark.slow), pytest.param(14_000, 0, marks=pytest.mark.slow)]
)
def test_a_crowd_that_says_nothing_keeps_nobody_from_being_served(fortress: Fortress, plain: int, shaken: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < plain + shaken + 1000:
        pytest.skip(f"this machine lets a process open {hard} files")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        before = memory_byte()
        with idle_crowd(fortress, plain=plain, shaken=shaken):
            waits_s = []
            for _ in range(20):
                start_s = time.monotonic()
                assert fortress.ask(fortress.alice, PAIR + "/enc_keys")[0] == 200
                waits_s.append(time.monotonic() - start_s)
            assert median(waits_s) < 1  # Of all, since the machine may be busy with other tests for a while.
            assert memory_byte() - before < 20 * 2**20 + plain * 8 * 2**10 + shaken * 100 * 2**10
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
