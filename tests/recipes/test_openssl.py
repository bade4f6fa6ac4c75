"""TLS 1.3 under a quantum key: our script at both ends, and OpenSSL's own program at either."""

from __future__ import annotations

import re
import shutil
import socket
import ssl
import subprocess
import threading
from uuid import uuid4

import pytest

from tests.kms.kme_processes import PATIENCE_S, Pair
from tests.ports import free_port
from tests.recipes.scripts import finish, start, wait_for_port
from tiandi.kms.client import Key
from tiandi.kms.tls.pki import CertificateAuthority

OPENSSL = shutil.which("openssl")
needs_openssl = pytest.mark.skipif(OPENSSL is None, reason="the openssl program is not installed")
SECURED = "TLSv1.3 TLS_CHACHA20_POLY1305_SHA256"


def say(port: int, key: Key, word: str) -> str:
    """What a server answers to a word that `openssl s_client` sends it under a key."""
    client = f"s_client -connect 127.0.0.1:{port} -tls1_3 -ciphersuites TLS_CHACHA20_POLY1305_SHA256 -quiet"
    words = [str(OPENSSL), *client.split(), "-psk_identity", str(key.key_ID), "-psk", key.key.hex()]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        print(word, file=process.stdin, flush=True)
        answer = process.stdout.readline()
        process.kill()
    return answer.strip()


def test_two_ends_meet_under_a_key_that_each_has_from_its_own_kme(pair: Pair) -> None:
    port = free_port()
    server = start(pair, "bob", "tls_psk.py", "serve", f"127.0.0.1:{port}", "--peer", "alice", "--times", 2)
    wait_for_port(port)
    for word in ("one", "two"):
        client = start(pair, "alice", "tls_psk.py", "call", f"127.0.0.1:{port}", "--peer", "bob")
        assert finish(client, f"{word}\n") == (0, f"{word}\n", f"{SECURED} X25519MLKEM768\n")
    status, _, told = finish(server)
    assert (status, told) == (0, f"{SECURED} X25519MLKEM768\n" * 2)


@needs_openssl
def test_openssl_s_client_connects_with_a_key_by_014(pair: Pair) -> None:
    port = free_port()
    server = start(pair, "bob", "tls_psk.py", "serve", f"127.0.0.1:{port}", "--peer", "alice", "--times", 1)
    wait_for_port(port)
    with pair.client("alice") as alice:
        (key,) = alice.get_keys("bob")
    assert say(port, key, "hello") == "hello"
    assert SECURED in finish(server)[2]


@needs_openssl
def test_openssl_s_server_is_reached_with_a_key_by_014(pair: Pair) -> None:
    """s_server knows one key only, given when it starts, so here the server's end is the master of the key."""
    port = free_port()
    server = f"s_server -accept 127.0.0.1:{port} -tls1_3 -ciphersuites TLS_CHACHA20_POLY1305_SHA256 -nocert -quiet -naccept 1 -rev"
    with pair.client("alice") as alice, pair.client("bob") as bob:
        (key,) = alice.get_keys("bob")
        words = [str(OPENSSL), *server.split(), "-psk_identity", str(key.key_ID), "-psk", key.key.hex()]
        with subprocess.Popen(words, stdin=subprocess.PIPE) as process:
            try:
                wait_for_port(port)
                (same,) = bob.get_keys_with_ids("alice", [key.key_ID])
                assert say(port, same, "hello") == "olleh"
            finally:
                process.kill()


def test_a_key_nobody_fetched_opens_nothing(pair: Pair) -> None:
    port = free_port()
    server = start(pair, "bob", "tls_psk.py", "serve", f"127.0.0.1:{port}", "--peer", "alice", "--times", 1)
    wait_for_port(port)
    if OPENSSL is not None:
        words = f"{OPENSSL} s_client -connect 127.0.0.1:{port} -tls1_3 -psk_identity {uuid4()} -psk {'00' * 32}"
        done = subprocess.run(words.split(), input=b"", capture_output=True, timeout=PATIENCE_S, check=False)
        assert done.returncode == 1
    else:
        socket.create_connection(("127.0.0.1", port)).close()
    status, _, told = finish(server)
    assert status == 0
    assert "connection ended" in told
    assert SECURED not in told


def test_a_server_with_a_certificate_in_the_place_of_the_key_is_refused(pair: Pair) -> None:
    """Even one of the authority's own KMEs: the key is what counts."""
    files = CertificateAuthority(pair.folder / "pki").issue("kme", f"mallory-{uuid4().hex[:8]}")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(files.certificate, files.private_key)
    heard: list[bytes] = []

    def pretend(listening: socket.socket) -> None:
        raw, _ = listening.accept()
        try:
            with context.wrap_socket(raw, server_side=True) as connection:
                heard.append(connection.recv(100))
        except OSError:
            raw.close()

    with socket.create_server(("127.0.0.1", 0)) as listening:
        mallory = threading.Thread(target=pretend, args=(listening,))
        mallory.start()
        client = start(pair, "alice", "tls_psk.py", "call", f"127.0.0.1:{listening.getsockname()[1]}", "--peer", "bob")
        status, out, told = finish(client, "secret\n")
        mallory.join(PATIENCE_S)
    assert (status, out) == (1, "")
    assert re.search("no connection: .*certificate verify failed", told)
    assert [word for word in heard if word] == []
