"""Clients that others wrote, as they are, against a cloud with twins: what the documents show, and then the clients' own use of it.

Each runs in an environment of its own, which `make test` builds; where one cannot be built, only its test is left out.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.computing.cloud.clients import worn
from tests.computing.cloud.serving import ROOT, Served, make_user, served
from tiandi.kms.tls.pki import CertificateAuthority

ENVIRONMENTS = Path(os.environ.get("CLOUD_CLIENTS", ROOT / ".venv-cloud"))
SCRIPTS = Path(__file__).parent / "scripts"
DOCUMENT = ROOT / "docs" / "cloud-clients.md"
PATIENCE_S = 120.0
SCRIPT_OF = {
    "cqlib": "cqlib",
    "cqlib-guodun": "cqlib_guodun",
    "cqlib-adapter": "cqlib_adapter",
    "tensorcircuit-ng": "tensorcircuit",
    "pyqpanda3": "pyqpanda3",
    "cqlib-tianyan": "cqlib_tianyan",
}


def python_of(client: str) -> Path:
    """The Python that has a client; the test is left out where there is none, with the reason."""
    folder = ENVIRONMENTS / client
    if (broken := folder / "broken").exists():
        pytest.skip(f"{client} could not be installed here: {(broken.read_text(errors='replace').strip().splitlines() or [''])[-1][:200]}")
    if not (folder / "ready").exists():
        pytest.skip(f"{client} is not installed: make .venv-cloud/ready")
    return folder / "bin" / "python"


def shown(client: str) -> str:
    """The program that the document has for a client."""
    found = re.search(rf"^## {re.escape(client)}$(.*?)(?=^## |\Z)", DOCUMENT.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert found is not None
    (program,) = re.findall(r"```py\n(.*?)```", found[1], re.DOTALL)
    return str(program)


def run(client: str, cloud: Served, key: str, folder: Path, **environment: str) -> None:
    """Run a client's program, and behind it what is checked of it."""
    python = python_of(client)
    text = shown(client) + (SCRIPTS / f"{SCRIPT_OF[client]}.py").read_text(encoding="utf-8")
    port = cloud.address.rpartition(":")[2]
    program = folder / "program.py"
    program.write_text(text.replace(":8500", f":{port}"), encoding="utf-8")
    around = {name: value for name, value in os.environ.items() if "proxy" not in name.lower() and not name.startswith("PYTHON")}
    around |= {"TIANDI_CLOUD_KEY": key, "HOME": str(folder), "PYTHONPATH": str(folder), "MPLCONFIGDIR": str(folder), **environment}
    (folder / "expecting.py").write_text((SCRIPTS / "expecting.py").read_text(encoding="utf-8"), encoding="utf-8")
    done = subprocess.run([python, program], capture_output=True, text=True, timeout=PATIENCE_S, env=around, cwd=folder, check=False)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}\n{cloud.log.read_text()[-2000:]}"
    assert key not in cloud.log.read_text()


@pytest.fixture(scope="module")
def key_and_store(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    store = tmp_path_factory.mktemp("cloud") / "cloud.sqlite"
    return make_user(store, "anna"), store


@pytest.fixture(scope="module")
def cloud(key_and_store: tuple[str, Path]) -> Iterator[Served]:
    """One server for all clients that speak http."""
    store = key_and_store[1]
    with served(store, store.parent, "--workers", "1", catalogue=worn.CATALOGUE) as running:
        yield running


@pytest.mark.parametrize("client", [client for client in SCRIPT_OF if client != "cqlib-tianyan"])
def test_an_unmodified_client(client: str, cloud: Served, key_and_store: tuple[str, Path], tmp_path: Path) -> None:
    run(client, cloud, key_and_store[0], tmp_path)


def test_an_unmodified_client_over_tls(tmp_path: Path) -> None:
    python_of("cqlib-tianyan")
    (folder := tmp_path / "pki").mkdir()
    credentials = CertificateAuthority(folder).issue("kme", "localhost", hosts=("localhost", "127.0.0.1"), algorithm="p256")
    key = make_user(tmp_path / "cloud.sqlite", "anna")
    words = ("--workers", "1", "--certificate", str(credentials.certificate), "--key", str(credentials.private_key))
    with served(tmp_path / "cloud.sqlite", tmp_path, *words, catalogue=worn.CATALOGUE) as running:
        run("cqlib-tianyan", running, key, tmp_path, SSL_CERT_FILE=str(credentials.authority))


def test_the_document_shows_every_client() -> None:
    names = {path.stem for path in (ROOT / "requirements" / "cloud-clients").glob("*.txt")}
    assert names == set(SCRIPT_OF)
    for client in names:
        compile(shown(client), client, "exec")
