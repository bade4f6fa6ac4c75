"""IKEv2 by strongSwan with quantum keys as post-quantum preshared keys (RFC 8784). Run it at both ends (strongswan.md says how)."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from collections import deque
from functools import partial
from pathlib import Path

from same_key import keep_same, options

from tiandi.kms.client import Key

KEPT = 2
"""Keys in the file: the one in use, and the one before, with which the other end may just be coming."""
TIMEOUT_S = "30"
NAME = re.compile(r"[A-Za-z0-9_-]+")


def configuration(connection: str, keys: list[Key]) -> str:
    """What swanctl reads: the last of ``keys`` is used, the others are accepted. The key's identifier is the PPK_ID."""
    secrets = "".join(f"    ppk-{key.key_ID} {{\n        id = {key.key_ID}\n        secret = 0x{key.key.hex()}\n    }}\n" for key in keys)
    use = f"        ppk_id = {keys[-1].key_ID}\n        ppk_required = yes\n"
    return f"connections {{\n    {connection} {{\n{use}    }}\n}}\nsecrets {{\n{secrets}}}\n"


def install(key: Key, *, keys: deque[Key], file: Path, connection: str, child: str, command: str, leads: bool) -> None:
    """Put ``key`` into ``file`` and have strongSwan read it; who leads sets the connection up anew. Raises OSError when it refuses."""
    keys.append(key)
    partial_file = file.with_name(f".{file.name}.partial")
    with open(os.open(partial_file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="ascii") as new:
        new.write(configuration(connection, list(keys)))
    partial_file.replace(file)
    _swanctl(command, "--load-creds", "--noprompt")
    _swanctl(command, "--load-conns")
    if leads:
        before = _numbers(command, connection)
        _swanctl(command, "--initiate", "--ike", connection, "--child", child, "--timeout", TIMEOUT_S)
        for number in before:
            _swanctl(command, "--terminate", "--ike-id", number)


def _numbers(command: str, connection: str) -> list[str]:
    """The IKE SAs that stand. A PPK counts when one is set up, not when it is rekeyed, so each key takes a new one (RFC 8784)."""
    return re.findall(rf"^{connection}: #(\d+), ESTABLISHED", _swanctl(command, "--list-sas", "--ike", connection), re.MULTILINE)


def _swanctl(command: str, *words: str) -> str:
    done = subprocess.run([*shlex.split(command), *words], capture_output=True, check=False)  # noqa: S603 - The operator's own.
    if done.returncode:
        raise OSError(f"swanctl {words[0]}: {(done.stdout + done.stderr).decode(errors='replace').strip()}")
    return done.stdout.decode(errors="replace")


def main() -> None:
    """Keep the PPK of one connection new."""
    parser = options("Give a strongSwan connection post-quantum preshared keys (RFC 8784) from a KME, a new one every few minutes.")
    parser.add_argument("--connection", required=True, help="its name under connections in swanctl.conf")
    parser.add_argument("--child", required=True, help="the child of it that the leader sets up")
    parser.add_argument("--file", type=Path, default=Path("/etc/swanctl/conf.d/quantum-keys.conf"), help="file that swanctl.conf includes")
    parser.add_argument("--command", default="swanctl", help="how swanctl is called (default: swanctl)")
    given = parser.parse_args()
    if not NAME.fullmatch(given.connection):
        parser.error(f"--connection {given.connection}: must be letters, digits, '-' and '_'")
    facts = {name: getattr(given, name) for name in ("file", "connection", "child", "command")}
    keep_same(given, partial(install, keys=deque(maxlen=KEPT), leads=given.lead is not None, **facts))


if __name__ == "__main__":
    main()
