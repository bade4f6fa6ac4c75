"""The same fresh key at both ends of something, again and again: the part that the recipes for WireGuard and strongSwan share.

One end leads. Every few minutes it fetches two keys from its KME and sends their identifiers to the other end, which follows: it fetches
the same two from its own KME, installs the first, and answers with a proof that it has the second. Then the leader installs the first,
too. Where anything goes wrong the leader begins anew with other keys.

The identifiers travel in the open: they are no secret, and a KME gives a key only to the pair that it belongs to. Who may cut the line
may keep the ends from changing keys, and nothing more.
"""

from __future__ import annotations

import argparse
import hashlib
import hmac
import os
import socket
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit
from uuid import UUID

from tiandi.errors import TiandiError
from tiandi.kms.client import Key, KeyClient
from tiandi.kms.tls.pki import Credentials

LONGEST_LINE_BYTE = 200
TIMEOUT_S = 30.0
RETRY_S = 5.0
KEY_SIZE_BIT = 256

Install = Callable[[Key], None]
"""What puts a key to use at this end. Raises OSError when it cannot."""


def options(what: str) -> argparse.ArgumentParser:
    """The options that every recipe has."""
    parser = argparse.ArgumentParser(description=what)
    part = parser.add_mutually_exclusive_group(required=True)
    part.add_argument("--lead", metavar="HOST:PORT", help="lead, and call the other end there")
    part.add_argument("--follow", metavar="HOST:PORT", help="follow, and be called here")
    parser.add_argument("--peer", required=True, metavar="SAE", help="SAE ID of the other end")
    parser.add_argument("--every", type=float, default=10.0, metavar="MINUTES", help="how often the leader changes the key (default 10)")
    parser.add_argument("--times", type=int, metavar="N", help="stop after so many keys (default: go on for ever)")
    for name, what_it_is in (
        ("kme", "https://HOST:PORT of this end's KME"),
        ("kme-id", "name in that KME's certificate"),
        ("certificate", "certificate of this end's SAE (PEM)"),
        ("key", "its private key (PEM)"),
        ("authority", "certificate of the KME's authority (PEM)"),
    ):
        variable = f"TIANDI_{name.upper().replace('-', '_')}"
        given = os.environ.get(variable)
        parser.add_argument(f"--{name}", default=given, required=given is None, help=f"{what_it_is}; or in {variable}")
    return parser


def keep_same(given: argparse.Namespace, install: Install) -> None:
    """Lead or follow, as the options say."""
    files = (Path(name) for name in (given.certificate, given.key, given.authority))
    with KeyClient(given.kme, given.kme_id, Credentials("SAE", *files)) as client:
        if given.lead:
            _lead(client, given, install)
        else:
            _follow(client, given, install)


def _lead(client: KeyClient, given: argparse.Namespace, install: Install) -> None:
    done = 0
    while given.times is None or done < given.times:
        try:
            key, proof = client.get_keys(given.peer, number=2, size_bit=KEY_SIZE_BIT)
            _tell(_place(given.lead), key.key_ID, proof)
            install(key)
        except (TiandiError, OSError) as error:
            print(f"no new key: {error}", file=sys.stderr)
            time.sleep(RETRY_S)
            continue
        print(f"{key.key_ID} is in use", flush=True)
        done += 1
        if done != given.times:
            time.sleep(given.every * 60)


def _tell(place: tuple[str, int], key_id: UUID, proof: Key) -> None:
    """Have the other end install a key. Raises OSError when it did not, or when that was somebody else."""
    with socket.create_connection(place, timeout=TIMEOUT_S) as connection:
        connection.sendall(f"{key_id} {proof.key_ID}\n".encode())
        if not hmac.compare_digest(_line(connection).encode(), _answer(key_id, proof).encode()):
            raise ConnectionError("the other end did not take the key")


def _follow(client: KeyClient, given: argparse.Namespace, install: Install) -> None:
    done = 0
    with socket.create_server(_place(given.follow)) as server:
        while given.times is None or done < given.times:
            connection, _ = server.accept()
            connection.settimeout(TIMEOUT_S)
            with connection:
                try:
                    wanted, other = (UUID(word) for word in _line(connection).split(" "))
                    found = {item.key_ID: item for item in client.get_keys_with_ids(given.peer, [wanted, other])}
                    key, proof = found[wanted], found[other]
                    install(key)
                except (TiandiError, OSError, ValueError, KeyError) as error:
                    print(f"no new key: {error}", file=sys.stderr)
                    continue
                with suppress(OSError):
                    connection.sendall(f"{_answer(key.key_ID, proof)}\n".encode())
            print(f"{key.key_ID} is in use", flush=True)
            done += 1


def _answer(key_id: UUID, proof: Key) -> str:
    """What only the two ends can say, once."""
    return hmac.new(proof.key, f"{key_id} is installed".encode(), hashlib.sha256).hexdigest()


def _line(connection: socket.socket) -> str:
    with connection.makefile("rb") as file:
        return file.readline(LONGEST_LINE_BYTE).decode("ascii", "replace").strip()


def _place(text: str) -> tuple[str, int]:
    """HOST:PORT, or [ADDRESS]:PORT."""
    parts = urlsplit(f"//{text}")
    if parts.hostname is None or parts.port is None:
        raise SystemExit(f"{text}: must be HOST:PORT")
    return parts.hostname, parts.port
