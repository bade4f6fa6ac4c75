"""WireGuard whose preshared key is a quantum key, a new one every few minutes. Run it at both ends; docs/recipes/wireguard.md says how."""

from __future__ import annotations

import shlex
import subprocess
from base64 import b64encode
from functools import partial

from same_key import keep_same, options

from tiandi.kms.client import Key


def install(key: Key, *, command: str, interface: str, peer: str) -> None:
    """Have WireGuard use ``key`` from its next handshake on. Raises OSError when `wg` refuses."""
    words = [*shlex.split(command), "set", interface, "peer", peer, "preshared-key", "/dev/stdin"]
    done = subprocess.run(words, input=b64encode(key.key) + b"\n", capture_output=True, check=False)  # noqa: S603 - The operator's own.
    if done.returncode:
        raise OSError(f"wg: {done.stderr.decode(errors='replace').strip()}")


def main() -> None:
    """Keep the preshared key of one peer new."""
    parser = options("Give a WireGuard peer a preshared key from a KME, a new one every few minutes.")
    parser.add_argument("--interface", required=True, help="WireGuard's interface here, such as wg0")
    parser.add_argument("--public-key", required=True, help="the other end's WireGuard public key")
    parser.add_argument("--command", default="wg", help="how wg is called (default: wg)")
    given = parser.parse_args()
    keep_same(given, partial(install, command=given.command, interface=given.interface, peer=given.public_key))


if __name__ == "__main__":
    main()
