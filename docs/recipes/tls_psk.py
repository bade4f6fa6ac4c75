"""TLS 1.3 with a quantum key as its external preshared key, its key_ID as the identity. docs/recipes/openssl.md says how.

    python tls_psk.py serve HOST:PORT --peer SAE ...      answers each line with the same line
    python tls_psk.py call HOST:PORT --peer SAE ...       sends standard input, prints the answers

The client is the master: it fetches a key and names it in its first message. The server fetches the same key from its own KME at that
moment. The handshake is psk_dhe_ke with X25519MLKEM768: whoever wants the traffic needs to break the quantum key, ECDH and ML-KEM.
"""

from __future__ import annotations

import argparse
import os
import socket
import struct
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from OpenSSL import SSL

from tiandi.errors import TiandiError
from tiandi.kms.client import KeyClient
from tiandi.kms.tls.pki import Credentials

KEY_SIZE_BIT = 256
CIPHERSUITE = b"TLS_CHACHA20_POLY1305_SHA256"
"""OpenSSL takes a preshared key by identity for SHA-256 alone; of those ciphersuites this one has a key of 256 bits."""
GROUPS = b"X25519MLKEM768:X25519"
TIMEOUT_S = 30
# pyOpenSSL has no method for preshared keys, but the library beneath it has the functions.
_lib, _ffi = SSL._lib, SSL._ffi
_CLIENT = "unsigned int(SSL *, const char *, char *, unsigned int, unsigned char *, unsigned int)"
_SERVER = "unsigned int(SSL *, const char *, unsigned char *, unsigned int)"


def _context() -> SSL.Context:
    """TLS 1.3 and nothing less."""
    context = SSL.Context(SSL.TLS_METHOD)
    context.set_min_proto_version(SSL.TLS1_3_VERSION)
    context.set_tls13_ciphersuites(CIPHERSUITE)
    if not _lib.SSL_CTX_set1_curves_list(context._context, GROUPS):
        raise SystemExit("this OpenSSL lacks X25519MLKEM768: a newer cryptography brings one that has it")
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    return context


def client_context(keys: KeyClient, peer: str) -> SSL.Context:
    """A context for one connection to ``peer``, under a new key."""
    (key,) = keys.get_keys(peer, size_bit=KEY_SIZE_BIT)

    @_ffi.callback(_CLIENT)
    def give(_: Any, __: Any, identity: Any, longest: int, secret: Any, ___: int) -> int:
        name = str(key.key_ID).encode() + b"\0"
        _ffi.memmove(identity, name, len(name))
        _ffi.memmove(secret, key.key, len(key.key))
        return len(key.key)

    context = _context()
    # A server that has not the key may show a certificate instead. None is good enough, and OpenSSL would take any unless told.
    context.set_verify(SSL.VERIFY_PEER, lambda *_: False)
    _lib.SSL_CTX_set_psk_client_callback(context._context, give)
    context.set_app_data(give)
    return context


def server_context(keys: KeyClient, peer: str) -> SSL.Context:
    """A context for connections from ``peer``, each under the key that it names."""

    @_ffi.callback(_SERVER)
    def find(_: Any, identity: Any, secret: Any, longest: int) -> int:
        try:
            (key,) = keys.get_keys_with_ids(peer, [UUID(_ffi.string(identity).decode())])
        except (TiandiError, ValueError) as error:
            print(f"refused: {error}", file=sys.stderr)
            return 0
        if len(key.key) > longest:
            return 0
        _ffi.memmove(secret, key.key, len(key.key))
        return len(key.key)

    context = _context()
    _lib.SSL_CTX_set_psk_server_callback(context._context, find)
    context.set_app_data(find)
    return context


def _serve(place: tuple[str, int], context: SSL.Context, times: int | None) -> None:
    done = 0
    with socket.create_server(place) as server:
        print(f"serves at port {server.getsockname()[1]}", flush=True)
        while times is None or done < times:
            raw, _ = server.accept()
            done += 1
            with raw:
                try:
                    _echo(_secured(context, raw, serving=True))
                except (SSL.Error, OSError) as error:
                    print(f"connection ended: {error}", file=sys.stderr)


def _echo(connection: SSL.Connection) -> None:
    _say_what_it_is(connection)
    while True:
        try:
            connection.sendall(connection.recv(16_384))
        except (SSL.ZeroReturnError, SSL.SysCallError):
            return


def _call(place: tuple[str, int], context: SSL.Context) -> None:
    with socket.create_connection(place) as raw:
        connection = _secured(context, raw, serving=False)
        _say_what_it_is(connection)
        for line in sys.stdin.buffer:
            connection.sendall(line)
            answer = b""
            while not answer.endswith(b"\n"):
                answer += connection.recv(16_384)
            sys.stdout.buffer.write(answer)
        connection.shutdown()


def _secured(context: SSL.Context, raw: socket.socket, *, serving: bool) -> SSL.Connection:
    raw.settimeout(None)
    # OpenSSL reads the socket itself, past the timeouts of Python.
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", TIMEOUT_S, 0))
    connection = SSL.Connection(context, raw)
    (connection.set_accept_state if serving else connection.set_connect_state)()
    connection.do_handshake()
    return connection


def _say_what_it_is(connection: SSL.Connection) -> None:
    print(connection.get_protocol_version_name(), connection.get_cipher_name(), connection.get_group_name(), file=sys.stderr, flush=True)


def main() -> None:
    """Serve or call."""
    parser = argparse.ArgumentParser(description="TLS 1.3 with a quantum key as its external preshared key.")
    parser.add_argument("verb", choices=("serve", "call"))
    parser.add_argument("place", metavar="HOST:PORT")
    parser.add_argument("--peer", required=True, metavar="SAE", help="SAE ID of the other end")
    parser.add_argument("--times", type=int, metavar="N", help="serve so many connections (default: go on for ever)")
    for name in ("kme", "kme-id", "certificate", "key", "authority"):
        variable = f"TIANDI_{name.upper().replace('-', '_')}"
        parser.add_argument(f"--{name}", default=os.environ.get(variable), required=variable not in os.environ, help=f"or in {variable}")
    given = parser.parse_args()
    parts = urlsplit(f"//{given.place}")
    if parts.hostname is None or parts.port is None:
        parser.error(f"{given.place}: must be HOST:PORT")
    place = parts.hostname, parts.port
    files = (Path(name) for name in (given.certificate, given.key, given.authority))
    with KeyClient(given.kme, given.kme_id, Credentials("SAE", *files)) as keys:
        if given.verb == "serve":
            _serve(place, server_context(keys, given.peer), given.times)
        else:
            try:
                _call(place, client_context(keys, given.peer))
            except (SSL.Error, OSError) as error:
                raise SystemExit(f"no connection: {error}") from None


if __name__ == "__main__":
    main()
