"""Programs of others, and the KMEs that they are let loose on."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

from tests.kms.kme_processes import Pair
from tests.ports import free_port
from tiandi.kms.tls.pki import CertificateAuthority

ROOT = Path(__file__).parents[2]
CLIENTS = Path(os.environ.get("OUTSIDE_CLIENTS", ROOT / ".venv-outside"))
ABSENT = "the outside clients are not installed: make .venv-outside/ready"

MORE = """
[listen.streams]
port = {streams_port}
[[saes]]
id = "probe"
home = "kme-a"
may_pair_with_itself = true
[[pairs]]
master = "bob"
slave = "alice"
[[pairs]]
master = "probe"
slave = "probe"
[[pairs]]
master = "alice"
slave = "alice"
"""
LINK_KEY_BYTE = 15_000_000
"""A block; half of it goes each way."""


def is_installed(package: str) -> bool:
    """Whether the clients' environment has a package."""
    return any(CLIENTS.glob(f"lib/python*/site-packages/{package}"))


def run(program: str, *words: object, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    """A program of the clients' environment, whose own tools and proxies it does not see."""
    environment = {name: value for name, value in os.environ.items() if "proxy" not in name.lower() and name != "PYTHONPATH"}
    command = [str(CLIENTS / "bin" / program), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=600, env=environment, cwd=folder, check=False)


class OutsidePair(Pair):
    """`Pair` with whatever else outside clients use: a probe, key streams, both directions, and link key in plenty."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        CertificateAuthority(folder / "pki").issue("sae", "probe")
        self.streams_ports = {kme: free_port() for kme in self.ports}
        for kme, process in self.processes.items():
            with process.config.open("a", encoding="utf-8") as file:
                file.write(MORE.format(streams_port=self.streams_ports[kme]))

    def serve(self, blocks: int = 1) -> None:
        """Start both; returns when there is key for alice and bob."""
        self.start()
        for _ in range(blocks):
            self.feed(LINK_KEY_BYTE)
        self.exchange()

    def finish(self) -> None:
        """Stop both; neither may have logged an error."""
        for process in self.processes.values():
            assert process.stop() == 0
            lines = [json.loads(line) for line in process.log.read_text().splitlines()]
            assert not [line for line in lines if line["level"] in ("error", "critical")]

    @property
    def authority(self) -> Path:
        return self.folder / "pki" / "authority.crt"

    def qkdsec(self, sae: str, *words: str) -> subprocess.CompletedProcess[str]:
        """qkdsec ``words`` as an SAE at its own KME, whose address stands where {kme} does."""
        who = self.credentials("sae", sae)
        said = (word.format(kme=self.address(self.home(sae))) for word in words)
        return run("qkdsec", *said, "--cert", who.certificate, "--key", who.private_key, "--ca-cert", self.authority)

    def qkd014(self, sae: str, *words: str) -> str:
        """What qkd014-client ``words`` prints; its exit code is 0 even for a refusal."""
        who = self.credentials("sae", sae)
        host = self.address(self.home(sae)).removeprefix("https://")
        return run("qkd014-client", "-H", host, "-c", who.certificate, "-k", who.private_key, "-r", self.authority, *words).stdout

    def script(self, text: str, scheme: str = "") -> subprocess.CompletedProcess[str]:
        """A script that is told both addresses, the authority's file and the files of alice and bob without their ending."""
        addresses = [scheme + self.address(kme).removeprefix("https://") for kme in self.ports]
        stems = [self.credentials("sae", sae).certificate.with_suffix("") for sae in ("alice", "bob")]
        return run("python", "-c", text, *addresses, self.authority, *stems)

    def home(self, sae: str) -> str:
        return "kme-b" if sae == "bob" else "kme-a"
