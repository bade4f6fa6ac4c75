"""`tiandi sae enrol`: what it prints works as it stands, against two KMEs that run."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import sys
from base64 import b64decode
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest

from tests.kms.kme_processes import PATIENCE_S, Pair, tiandi
from tests.outside.programs import ABSENT, CLIENTS, run
from tiandi.kms.client import KeyClient
from tiandi.kms.tls.pki import CertificateAuthority, read_issued


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    with Pair(tmp_path_factory.mktemp("kmes")) as running:
        running.start()
        running.feed()
        running.exchange()
        yield running


def enrol(pair: Pair, name: str, *more: object) -> subprocess.CompletedProcess[str]:
    config = pair.processes["kme-a"].config
    return tiandi("sae", "enrol", name, "--config", config, "--authority", pair.folder / "pki", *more)


@pytest.fixture(scope="module")
def printed(pair: Pair) -> dict[str, list[str]]:
    """The lines for an SAE that no file knows, by the program they call."""
    done = enrol(pair, "encryptor-1", "--with", "bob")
    assert (done.returncode, done.stderr) == (0, "")
    lines = [shlex.split(line) for line in done.stdout.splitlines()]
    return {words[0]: words for words in lines if words and words[0] in ("curl", "qkdsec", "tiandi")}


def collect(pair: Pair, key_id: str) -> bytes:
    """The key as bob gets it."""
    with pair.client("bob") as bob:
        return bob.get_keys_with_ids("encryptor-1", [UUID(key_id)])[0].key


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_line_of_curl_fetches_a_key(pair: Pair, printed: dict[str, list[str]]) -> None:
    done = subprocess.run([*printed["curl"], "--silent"], capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (key,) = json.loads(done.stdout)["keys"]
    assert collect(pair, key["key_ID"]) == b64decode(key["key"])


@pytest.mark.skipif(not CLIENTS.exists(), reason=ABSENT)
def test_the_line_of_qkdsec_fetches_a_key(pair: Pair, printed: dict[str, list[str]]) -> None:
    done = run(*printed["qkdsec"])
    assert done.returncode == 0, done.stdout + done.stderr
    (key,) = json.loads(done.stdout)
    assert len(collect(pair, key["key_id"])) == 32


def test_the_line_of_our_client_fetches_a_key(pair: Pair, printed: dict[str, list[str]]) -> None:
    words = [sys.executable, "-m", *printed["tiandi"]]
    done = subprocess.run(words, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert done.returncode == 0, done.stderr
    key_id, key = done.stdout.split()
    assert collect(pair, key_id) == b64decode(key)


def test_keys_go_both_ways(pair: Pair, printed: dict[str, list[str]]) -> None:
    with pair.client("bob") as bob:
        keys = bob.get_keys("encryptor-1")
    with KeyClient(pair.address("kme-a"), "kme-a", pair.credentials("sae", "encryptor-1")) as encryptor:
        assert encryptor.get_keys_with_ids("bob", [keys[0].key_ID]) == keys


def test_enrolling_again_changes_nothing_unless_asked_to(pair: Pair, printed: dict[str, list[str]]) -> None:
    def own() -> list[str]:
        return [item.serial for item in read_issued(pair.folder / "pki") if item.identity == "encryptor-1"]

    before, journal = own(), pair.operator("status", "--json").stdout
    told = json.loads(enrol(pair, "encryptor-1", "--json").stdout)
    assert (told["sae"], told["kme"], told["partner"], told["address"]) == ("encryptor-1", "kme-a", "bob", pair.address("kme-a"))
    assert (own(), json.loads(journal)["sae_count"]) == (before, 3)
    assert set(told["first_key"]) == {"curl", "qkdsec", "tiandi"}
    assert Path(told["certificate"]).is_file()
    assert enrol(pair, "encryptor-1", "--replace", "--json").returncode == 0
    assert len(own()) == len(before) + 1


def test_an_sae_of_another_kme_and_an_unknown_partner_are_told(pair: Pair) -> None:
    elsewhere = enrol(pair, "bob", "--with", "alice")
    assert (elsewhere.returncode, elsewhere.stderr) == (2, "tiandi: name = 'bob': lives at kme-b already, kme-a says\n")
    unknown = enrol(pair, "encryptor-2", "--with", "mallory")
    assert (unknown.returncode, unknown.stderr) == (2, "tiandi: --with = 'mallory': must be an SAE that kme-a knows\n")


def test_the_first_of_two_has_nobody_to_share_keys_with_until_the_second_is_there(pair: Pair) -> None:
    first = enrol(pair, "first")
    assert first.returncode == 0
    assert "shares keys with nobody yet" in first.stdout
    assert "curl" not in first.stdout
    assert json.loads(enrol(pair, "first", "--json").stdout)["partner"] is None
    assert json.loads(enrol(pair, "second", "--with", "first", "--json").stdout)["partner"] == "first"
    assert json.loads(enrol(pair, "first", "--json").stdout)["partner"] == "second"


def test_an_operator_is_needed_and_chosen_where_there_are_several(pair: Pair, tmp_path: Path) -> None:
    CertificateAuthority(tmp_path / "pki")
    config = pair.processes["kme-a"].config
    done = tiandi("sae", "enrol", "x", "--config", config, "--authority", tmp_path / "pki")
    assert (done.returncode, done.stdout) == (2, "")
    assert "'tiandi pki issue' makes one" in done.stderr
    unknown = enrol(pair, "encryptor-1", "--operator", "otto")
    assert "otto" in unknown.stderr
    assert enrol(pair, "encryptor-1", "--operator", "olga").returncode == 0


def test_kmes_that_do_not_answer_are_named(pair: Pair) -> None:
    done = enrol(pair, "encryptor-1", "--kme", "https://127.0.0.1:1")
    assert (done.returncode, done.stdout) == (1, "")
    assert "https://127.0.0.1:1" in done.stderr
