"""Every OpenAPI document beside what is served: Schemathesis asks whatever fits the document, and much that does not.

Of its checks one is left out: that a request fits the document does not mean that the key, or the other SAE, exists.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpcore
import pytest

from tests.kms.test_interworking import TlsNetwork
from tests.outside.programs import ABSENT, CLIENTS, ROOT, OutsidePair, run
from tiandi.kms.etsi014 import KeyRequest
from tiandi.kms.etsi020 import PROBLEMS
from tiandi.kms.tls.backends import AsyncBackend
from tiandi.kms.tls.contexts import ClientTls
from tiandi.kms.tls.pki import Credentials

pytestmark = pytest.mark.skipif(not CLIENTS.exists(), reason=ABSENT)

EXAMPLES = 3
MORE_EXAMPLES = 50


def schemathesis(document: str, folder: Path, *words: object, examples: int = EXAMPLES, configuration: str = "") -> None:
    """Fails unless everything asked was answered as the document says, and nothing with 5xx."""
    (folder / "schemathesis.toml").write_text(configuration)
    fixed = ("--exclude-checks", "positive_data_acceptance", "--seed", 1, "--generation-database", "none", "--no-color")
    path = ROOT / "src/tiandi/kms/openapi" / document
    told = run("schemathesis", "run", path, *fixed, "--max-examples", examples, *words, folder=folder)
    assert told.returncode == 0, told.stdout[-8000:] + told.stderr


def as_caller(pair: OutsidePair, kind: str, identity: str) -> tuple[object, ...]:
    """The options that make Schemathesis somebody at kme-a."""
    who = pair.credentials(kind, identity)
    certificate = ("--request-cert", who.certificate, "--request-cert-key", who.private_key)
    return ("--url", pair.address("kme-a"), *certificate, "--tls-verify", pair.authority)


BOB = '[parameters]\nslave_SAE_ID = "bob"\nmaster_SAE_ID = "bob"\nremoteSystemID = "bob"\n'
PAIR = '[parameters]\nsae_id = "bob"\nmaster = "alice"\nslave = "bob"\n'
# The standard has 503 for these; see to it that it is for these only.
MANDATORY_EXTENSIONS = """
[[operations]]
include-operation-id = "post_ext_keys"
checks.not_a_server_error.expected-statuses = ["2xx", "4xx", 503]
"""
BOTH = pytest.mark.parametrize(
    "examples", [EXAMPLES, pytest.param(MORE_EXAMPLES, marks=pytest.mark.slow)], ids=["few examples", "many examples"]
)


@BOTH
@pytest.mark.parametrize("configuration", [pytest.param("", marks=pytest.mark.slow), BOB], ids=["anybody", "bob"])
@pytest.mark.parametrize("document", ["etsi014.json", "skip.json"])
def test_applications_are_served_as_the_document_says(
    pair: OutsidePair, document: str, configuration: str, examples: int, tmp_path: Path
) -> None:
    schemathesis(document, tmp_path, *as_caller(pair, "sae", "alice"), examples=examples, configuration=configuration)
    pair.exchange()


@BOTH
@pytest.mark.parametrize("document", ["etsi014.json", "operations.json"])
def test_others_are_refused_as_the_document_says(pair: OutsidePair, document: str, examples: int, tmp_path: Path) -> None:
    kind, identity = ("sae", "alice") if document == "operations.json" else ("operator", "olga")
    schemathesis(document, tmp_path, *as_caller(pair, kind, identity), "--phases", "coverage,fuzzing", examples=examples)


@BOTH
def test_operators_are_served_as_the_document_says(examples: int, tmp_path: Path) -> None:
    """At KMEs of their own, which an operator may drain. A KME that is drained says so with 503 at /readyz."""
    with OutsidePair(tmp_path) as own:
        own.serve()
        for configuration in (PAIR,) if examples == EXAMPLES else ("", PAIR):
            words = (*as_caller(own, "operator", "olga"), "--exclude-operation-id", "get_readiness")
            schemathesis("operations.json", tmp_path, *words, examples=examples, configuration=configuration)
        own.finish()


# ETSI GS QKD 020: between KMEs nothing but X25519MLKEM768 is spoken, which Schemathesis' TLS need not know.


class Tunnel:
    """A port without TLS of this host, behind which is a port with it, as ``credentials`` sees it."""

    def __init__(self, address: str, kme_id: str, credentials: Credentials) -> None:
        self._backend = AsyncBackend(ClientTls(credentials, post_quantum_only=True))
        self._port, self._kme_id = int(address.rpartition(":")[2]), kme_id
        self.url = ""

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._carry, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def close(self) -> None:
        self._server.close()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        raw = await self._backend.connect_tcp("127.0.0.1", self._port)
        stream = await raw.start_tls(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), self._kme_id)

        async def there() -> None:
            while data := await reader.read(65_536):
                await stream.write(data)

        async def back() -> None:
            while data := await stream.read(65_536):
                writer.write(data)
                await writer.drain()

        ways = [asyncio.create_task(there()), asyncio.create_task(back())]
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        for way in ways:
            way.cancel()
        with suppress(httpcore.NetworkError, OSError):
            await asyncio.gather(*ways, return_exceptions=True)
        await stream.aclose()
        writer.close()


@contextmanager
def two_networks(folder: Path) -> Iterator[tuple[TlsNetwork, TlsNetwork]]:
    """alice's network and bob's, each with an authority of its own; their borders serve each other."""
    for name in ("west", "east"):
        (folder / name).mkdir()
    west, east = TlsNetwork(folder / "west", "alice", "bob"), TlsNetwork(folder / "east", "bob", "alice")
    west.trust(east)
    east.trust(west)
    with west.host, east.host:
        for network in (west, east):
            network.host.call(network.serve())
        try:
            yield west, east
        finally:
            for network in (west, east):
                network.host.call(network.stop())


def exchange(here: TlsNetwork, there: TlsNetwork) -> None:
    """Keys from an SAE in one network for the SAE in the other."""
    keys = here.host.call(here.host.entities["kme-0"].get_keys(here.sae, there.sae, KeyRequest(number=2)))
    ids = [key.key_id for key in keys]
    assert there.host.call(there.host.entities["kme-0"].get_keys_with_ids(there.sae, here.sae, ids)) == keys


@BOTH
def test_another_network_is_served_as_the_document_says(examples: int, tmp_path: Path) -> None:
    with two_networks(tmp_path) as (west, east):
        tunnel = Tunnel(west.address, "kme-1", east.credentials)
        east.host.call(tunnel.open())
        for here, there in ((west, east), (east, west)):
            exchange(here, there)
        har = tmp_path / "asked.har"
        schemathesis(
            "etsi020.json", tmp_path, "--url", tunnel.url, "--report-har-path", har, examples=examples, configuration=MANDATORY_EXTENSIONS
        )
        answers = [entry["response"] for entry in json.loads(har.read_text())["log"]["entries"]]
        assert len(answers) > 100
        kinds = {json.loads(answer["content"]["text"])["type"] for answer in answers if answer["status"] == 503}
        assert kinds <= {PROBLEMS + "unsupported-mandatory-extension"}
        for here, there in ((west, east), (east, west)):
            exchange(here, there)
        east.host.call(tunnel.close())
