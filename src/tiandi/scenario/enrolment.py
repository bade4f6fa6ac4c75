"""SAEs that join a living network while it runs: what a command leaves in its folder, and the network takes up."""

from __future__ import annotations

import time
from pathlib import Path
from urllib.parse import quote

import msgspec

from tiandi.errors import InputError, RemoteRefused, StateError
from tiandi.kms.client import KeyClient
from tiandi.kms.tls.certificates import put
from tiandi.kms.tls.identities import require_identity
from tiandi.kms.tls.pki import Credentials, credentials_in, read_issued
from tiandi.scenario.living_state import find_running
from tiandi.scenario.network import RunningNetwork, kme_identity

ENROLLED = "enrolled"
"""Folder of a living network with a file for each SAE that joined; in it stands the SAE's node."""
PATIENCE_S = 15.0
POLL_S = 0.2


class Joined(msgspec.Struct, frozen=True):
    """An SAE of a living network: its KME, where that is called, its files, and another SAE it may share keys with, if there is one."""

    kme: str
    address: str
    files: Credentials
    partner: str | None


class Enrolments:
    """SAEs that joined the network which lives in ``folder``."""

    def __init__(self, network: RunningNetwork, folder: Path) -> None:
        self._network, self._folder = network, folder / ENROLLED
        self._known: set[str] = set()

    def take_up(self) -> list[str]:
        """Have the network serve whoever joined since this was called last, and all of them at first; who they are."""
        joined = []
        for file in sorted(self._folder.glob("*.json")):
            if file.name not in self._known:
                sae, node = msgspec.json.decode(file.read_bytes(), type=tuple[str, str])
                self._network.enrol(sae, node)
                self._known.add(file.name)
                joined.append(sae)
        return joined


def join(folder: Path, sae: str, node: str, *, partner: str | None = None) -> Joined:
    """Bring ``sae`` into the network that runs in ``folder``, at ``node``; returns when it is served there, with a certificate.

    An SAE that joined before keeps what it has. Raises InputError for a node, partner or name that cannot be, StateError when no network
    runs there or it does not take the SAE up.
    """
    require_identity(sae, "name")
    running = find_running(folder)
    if running is None:
        raise StateError("--state", str(folder), "no network is running in it; start it with 'tiandi up'")
    if node not in running.doors:
        raise InputError("--node", node, f"must be one of {', '.join(sorted(running.doors))}")
    known = {item.identity for item in read_issued(folder / "pki") if item.kind == "sae"}
    others = sorted(known - {sae})
    if partner is not None and partner not in others:
        raise InputError("--with", partner, "must be an SAE of the network")
    file = folder / ENROLLED / f"{quote(sae, safe='')}.json"
    if file.exists():
        before = msgspec.json.decode(file.read_bytes(), type=tuple[str, str])[1]
        if before != node:
            raise InputError("--node", node, f"must be {before}: {sae} lives there already")
    elif sae in known:
        raise InputError("name", sae, "is an SAE of the network itself")
    file.parent.mkdir(exist_ok=True, mode=0o700)
    put(file, msgspec.json.encode((sae, node)))
    kme, address, partner = kme_identity(node), running.doors[node], partner or next(iter(others), None)
    end_s = time.monotonic() + PATIENCE_S
    while not _is_served(folder / "pki", sae, kme, address, partner):
        if time.monotonic() > end_s:
            raise StateError("--state", str(folder), f"its network has not taken {sae} up within {PATIENCE_S:g} s")
        time.sleep(POLL_S)
    return Joined(kme, address, credentials_in(folder / "pki", "sae", sae), partner)


def _is_served(pki: Path, sae: str, kme: str, address: str, partner: str | None) -> bool:
    try:
        files = credentials_in(pki, "sae", sae)
    except InputError:
        return False
    if partner is None:
        return True
    try:
        with KeyClient(address, kme, files, retry_s=0.0) as client:
            client.status(partner)
    except RemoteRefused:
        return False
    return True
