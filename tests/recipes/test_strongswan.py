"""IKEv2 with quantum keys as PPKs (RFC 8784): what the script writes, and two strongSwans that meet under it."""

from __future__ import annotations

import os
import re
import runpy
import shutil
import stat
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from tests.kms.kme_processes import PATIENCE_S, Pair
from tests.ports import free_port
from tests.recipes.namespaces import Host, echo_at, inside, is_answered, two_hosts, why_none
from tests.recipes.scripts import RECIPES, finish, start, wait_for_port
from tiandi.kms.client import Key

CHARON = Path("/usr/lib/ipsec/charon")
GUARDS = Path("/sys/kernel/security/apparmor/profiles")
USERLAND = CHARON.with_name("plugins") / "libstrongswan-kernel-libipsec.so"
"""Protects traffic where the kernel does not."""

DAEMON = """
charon {{
    filelog {{
        log {{
            path = {folder}/charon.log
            default = 1
            ike = 2
            flush_line = yes
        }}
    }}
    plugins {{
        kernel-libipsec {{
            load = {userland}
        }}
        bypass-lan {{
            load = no
        }}
        vici {{
            socket = unix://{folder}/charon.vici
        }}
    }}
}}
swanctl {{
    load {{ }}
}}
"""
CONNECTION = """
connections {{
    gateway {{
        version = 2
        local_addrs = {here}
        remote_addrs = {there}
        proposals = aes256-sha384-modp3072
        local {{
            auth = psk
            id = {here}
        }}
        remote {{
            auth = psk
            id = {there}
        }}
        children {{
            traffic {{
                esp_proposals = aes256-sha384
                local_ts = {inner}/32
                remote_ts = {inner_there}/32
            }}
        }}
    }}
}}
secrets {{
    ike-gateway {{
        secret = "a word that somebody may guess"
    }}
}}
include {folder}/conf.d/*.conf
"""


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.syspath_prepend(str(RECIPES))
    return runpy.run_path(str(RECIPES / "strongswan.py"))


def key(number: int) -> Key:
    return Key(UUID(int=number), bytes([number]) * 32)


def parse(text: str) -> dict[str, Any]:
    """The sections of a strongSwan file (strongswan.conf(5)): NAME { ... } and NAME = VALUE."""
    stack: list[dict[str, Any]] = [{}]
    for line in filter(None, map(str.strip, text.splitlines())):
        if opens := re.fullmatch(r"([\w-]+) \{", line):
            stack.append(stack[-1].setdefault(opens[1], {}))
        elif line == "}":
            stack.pop()
        else:
            name, value = line.split(" = ")
            stack[-1][name] = value
    assert len(stack) == 1
    return stack[0]


def test_the_newest_key_is_used_and_the_one_before_is_still_known(script: dict[str, Any]) -> None:
    written = parse(script["configuration"]("gateway", [key(1), key(2)]))
    assert written == {
        "connections": {"gateway": {"ppk_id": str(UUID(int=2)), "ppk_required": "yes"}},
        "secrets": {f"ppk-{UUID(int=n)}": {"id": str(UUID(int=n)), "secret": "0x" + f"{n:02x}" * 32} for n in (1, 2)},
    }


def test_the_file_is_its_owners_only_and_swanctl_is_told(script: dict[str, Any], tmp_path: Path) -> None:
    record = tmp_path / "record"
    command = f"""{sys.executable} -c 'import sys; open("{record}", "a").write(" ".join(sys.argv[1:]) + "\\n")'"""
    install: Callable[..., None] = script["install"]
    keys: deque[Key] = deque(maxlen=2)
    for number in (1, 2, 3):
        facts = {"keys": keys, "file": tmp_path / "ppk.conf", "connection": "gateway", "child": "traffic", "command": command}
        install(key(number), **facts, leads=number == 3)
    assert stat.S_IMODE((tmp_path / "ppk.conf").stat().st_mode) == 0o600
    assert list(parse((tmp_path / "ppk.conf").read_text())["secrets"]) == [f"ppk-{UUID(int=n)}" for n in (2, 3)]
    said = record.read_text().splitlines()
    last = ["--list-sas --ike gateway", "--initiate --ike gateway --child traffic --timeout 30"]
    assert said == ["--load-creds --noprompt", "--load-conns"] * 3 + last
    with pytest.raises(OSError, match="swanctl --load-creds"):
        install(key(4), **{**facts, "command": f"{sys.executable} -c 'raise SystemExit(1)'"}, leads=False)


def why_no_daemons() -> str:
    """Why two strongSwans cannot run here, or nothing."""
    if not CHARON.exists() or shutil.which("swanctl") is None:
        return "charon and swanctl are not installed (strongswan-charon, strongswan-swanctl)"
    if reason := why_none():
        return reason
    if GUARDS.exists() and f"{CHARON} (enforce)" in GUARDS.read_text():
        return "AppArmor keeps charon from files of a test"
    with two_hosts() as (host, _):
        if not kernel_protects(host) and not USERLAND.exists():
            return "neither the kernel nor strongSwan protects traffic here (ESP; libcharon-extra-plugins)"
    return ""


def kernel_protects(host: Host) -> bool:
    """Whether the kernel knows ESP."""
    state = "src 10.9.9.1 dst 10.9.9.2 proto esp spi 0x1000 mode tunnel auth hmac(sha256)"
    command = [*host.prefix, "ip", "xfrm", "state", "add", *state.split(), "0x" + "11" * 32, "enc", "cbc(aes)", "0x" + "22" * 32]
    done = subprocess.run(command, capture_output=True, check=False)
    return done.returncode == 0


@contextmanager
def daemon(host: Host, there: Host, folder: Path) -> Iterator[str]:
    """A charon of its own; gives how swanctl is called for it. Its process file lies where nobody else sees it."""
    (folder / "conf.d").mkdir(parents=True)
    userland = "no" if kernel_protects(host) else "yes"
    (folder / "strongswan.conf").write_text(DAEMON.format(folder=folder, userland=userland))
    places = {"here": host.address, "there": there.address, "inner": inside(host), "inner_there": inside(there)}
    (folder / "swanctl.conf").write_text(CONNECTION.format(folder=folder, **places))
    host.run("ip", "address", "add", f"{inside(host)}/32", "dev", "lo")
    host.run("ip", "route", "add", f"{inside(there)}/32", "dev", "cable", "src", inside(host))
    alone = ["sh", "-c", f"mount -t tmpfs none /run && exec {CHARON}"]
    environment = {**os.environ, "STRONGSWAN_CONF": str(folder / "strongswan.conf")}
    silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen([*host.prefix, *alone], env=environment, **silent)
    try:
        end = time.monotonic() + PATIENCE_S
        while not (folder / "charon.vici").exists():
            assert process.poll() is None
            assert time.monotonic() < end
            time.sleep(0.05)
        yield f"{folder}/swanctl"
    finally:
        process.terminate()
        process.wait(PATIENCE_S)


def swanctl(folder: Path) -> Path:
    """A program that calls swanctl for the daemon of ``folder``."""
    program = folder / "swanctl"
    program.write_text(
        f'#!/bin/sh\nverb=$1; shift\ncase $verb in --load*) set -- --file {folder}/swanctl.conf "$@";; esac\n'
        f'STRONGSWAN_CONF={folder}/strongswan.conf exec {shutil.which("swanctl")} "$verb" --uri unix://{folder}/charon.vici "$@"\n'
    )
    program.chmod(0o755)
    return program


def test_two_strongswans_meet_under_quantum_keys_and_change_them(pair: Pair, tmp_path: Path) -> None:
    if reason := why_no_daemons():
        pytest.skip(reason)
    folders = tmp_path / "left", tmp_path / "right"
    with two_hosts() as (left, right), ExitStack() as running:
        for host, there, folder in ((left, right, folders[0]), (right, left, folders[1])):
            running.enter_context(daemon(host, there, folder))
            swanctl(folder)
        port = free_port()

        def words(role: str, folder: Path, peer: str) -> tuple[str, ...]:
            said = ("strongswan.py", role, f"127.0.0.1:{port}", "--peer", peer, "--connection", "gateway", "--child", "traffic")
            return (*said, "--command", f"{folder}/swanctl", "--file", f"{folder}/conf.d/ppk.conf", "--times", "2", "--every", "0.01")

        follower = start(pair, "bob", *words("--follow", folders[1], "alice"))
        wait_for_port(port)
        leader = start(pair, "alice", *words("--lead", folders[0], "bob"))
        led, followed = finish(leader), finish(follower)
        logs = [(folder / "charon.log").read_text() for folder in folders]
        assert led == followed, "\n".join(logs)
        assert led[0] == 0
        for line in led[1].splitlines():
            assert all(f"using PPK for PPK_ID '{line.split()[0]}'" in log for log in logs), "\n".join(logs)
        with echo_at(right):
            assert is_answered(left, right)
        sas = subprocess.run([folders[0] / "swanctl", "--list-sas"], capture_output=True, text=True, check=True).stdout
        assert sas.count("ESTABLISHED") == 1
        assert sas.count("INSTALLED") == 1
        assert re.search(r"in .* [1-9]\d* packets", sas)
