"""Clients that others wrote, unmodified, against two KMEs over mutual TLS.

They live in an environment of their own (requirements/outside-clients.txt), and run as programs of that environment.
"""

from __future__ import annotations

import json
import re
from uuid import uuid4

import pytest

from tests.outside.programs import ABSENT, CLIENTS, OutsidePair, is_installed

pytestmark = pytest.mark.skipif(not CLIENTS.exists(), reason=ABSENT)

TWO_ENDED_DOCTOR = """
import json, sys
from qkdsec.client import ETSI014Client
from qkdsec.doctor import run_all

class TwoEnded:
    def __init__(self, master, slave, master_id):
        self.master, self.slave, self.master_id = master, slave, master_id
    def __getattr__(self, name):
        return getattr(self.master, name)
    def get_dec_keys(self, _, **more):
        return self.slave.get_dec_keys(self.master_id, **more)

here, there, authority, alice, bob = sys.argv[1:]
master = ETSI014Client(here, client_cert=(alice + ".crt", alice + ".key"), verify=authority)
slave = ETSI014Client(there, client_cert=(bob + ".crt", bob + ".key"), verify=authority)
print(json.dumps(run_all(TwoEnded(master, slave, "alice"), "bob").to_dict()))
"""

SIZES = (8, 64, 128, 192, 256, 352, 512, 1024, 65_536, 2**20)

EVERY_SIZE = f"""
import sys
from qkdsec.client import ETSI014Client

here, there, authority, alice, bob = sys.argv[1:]
master = ETSI014Client(here, client_cert=(alice + ".crt", alice + ".key"), verify=authority)
slave = ETSI014Client(there, client_cert=(bob + ".crt", bob + ".key"), verify=authority)
for size in {SIZES}:
    given = master.get_enc_keys("bob", number=2, size=size)
    taken = slave.get_dec_keys("alice", key_ids=[key.key_id for key in given])
    assert list(taken) == list(given) and {{key.size_bits for key in given}} == {{size}}, size
    print(size)
"""

ENCRYPTOR = """
import json, sys
from skip_qkd import MTLSConfig, SkipQKDClient

here, there, authority, alice, bob = sys.argv[1:]
def call(address, server, name):
    return SkipQKDClient(address, server, mtls_config=MTLSConfig(authority, name + ".crt", name + ".key"))
key = call(here, "alice", alice).request_key("bob", 512)
told = [call(here, "alice", alice).capabilities(), key, call(there, "bob", bob).fetch_key_by_id(key["keyId"], "alice")]
told.append(call(there, "bob", bob).entropy(128))
try:
    call(there, "bob", bob).fetch_key_by_id(key["keyId"], "alice")
except RuntimeError as error:
    told.append(str(error))
print(json.dumps(told))
"""


def test_qkdsec_gets_and_retrieves_across_two_kmes(pair: OutsidePair) -> None:
    status = pair.qkdsec("alice", "status", "{kme}", "bob", "--json")
    assert status.returncode == 0, status.stderr
    assert json.loads(status.stdout)["slave_sae_id"] == "bob"
    for method in ("GET", "POST"):
        given = pair.qkdsec("alice", "keys", "get", "{kme}", "bob", "-n", "2", "--size", "512", "--method", method, "--json")
        assert given.returncode == 0, given.stderr
        keys = json.loads(given.stdout)
        assert [item["size_bits"] for item in keys] == [512, 512]
        wanted = ("keys", "retrieve", "{kme}", "alice", *(item["key_id"] for item in keys), "--json")
        taken = pair.qkdsec("bob", *wanted)
        assert taken.returncode == 0, taken.stderr
        assert json.loads(taken.stdout) == keys
        again = pair.qkdsec("bob", *wanted)
        assert again.returncode == 1
        assert "one or more keys specified are not found on KME" in " ".join(again.stderr.split())


def test_qkdsec_gets_keys_of_every_size(pair: OutsidePair) -> None:
    told = pair.script(EVERY_SIZE, "https://")
    assert told.stdout.split() == list(map(str, SIZES)), told.stderr


def test_qkdsec_doctor_with_two_identities_finds_no_failure(pair: OutsidePair) -> None:
    told = pair.script(TWO_ENDED_DOCTOR, "https://")
    assert told.returncode == 0, told.stderr
    report = json.loads(told.stdout)
    found = {result["name"]: result["status"] for result in report["results"]}
    # It warns of 400 for an unknown key; the standard knows no 404.
    assert {name for name, status in found.items() if status != "pass"} == {"error_contract_404"}
    assert found["error_contract_404"] == "warn"
    assert report["passed"]


def test_qkdsec_doctor_passes_for_an_sae_that_may_pair_with_itself_and_for_no_other(pair: OutsidePair) -> None:
    told = pair.qkdsec("probe", "doctor", "{kme}", "--slave-sae-id", "probe", "--format", "json")
    assert told.returncode == 0, told.stdout + told.stderr
    assert json.loads(told.stdout)["counts"] == {"pass": 9, "warn": 1, "fail": 0, "skip": 0}
    # alice's pair with herself stands in the file; what is missing is may_pair_with_itself.
    assert pair.qkdsec("alice", "doctor", "{kme}", "--slave-sae-id", "alice", "--format", "json").returncode == 1


def test_etsi_qkd_014_client_gets_the_same_key_at_both_ends(pair: OutsidePair) -> None:
    assert "Response code : 200" in pair.qkd014("alice", "get_status", "bob")
    given = pair.qkd014("alice", "get_key", "bob")
    assert "Response code : 200" in given
    [key_id] = re.findall(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", given)
    taken = pair.qkd014("bob", "get_key_with_id", key_id, "alice")
    assert "Response code : 200" in taken
    [key] = re.findall(r"Key : (\S+)", given)
    assert re.findall(r"Key : (\S+)", taken) == [key]
    assert "Response code : 400" in pair.qkd014("bob", "get_key_with_id", key_id, "alice")
    assert "Response code : 400" in pair.qkd014("bob", "get_key_with_id", str(uuid4()), "alice")


def test_etsi_qkd_014_client_reads_a_refusal_of_authority(pair: OutsidePair) -> None:
    """It takes JSON out of every answer: a 401 without a body would end in a traceback."""
    [key_id] = re.findall(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", pair.qkd014("alice", "get_key", "bob"))
    assert "Response code : 401" in pair.qkd014("alice", "get_key_with_id", key_id, "alice")


@pytest.mark.skipif(not is_installed("skip_qkd"), reason="skip-qkd is not installed: it needs a C compiler and OpenSSL's headers")
def test_skip_qkd_gets_the_same_key_at_both_ends(pair: OutsidePair) -> None:
    told = pair.script(ENCRYPTOR)
    assert told.returncode == 0, told.stderr
    capabilities, given, taken, entropy, refused = json.loads(told.stdout)
    assert (capabilities["localSystemID"], capabilities["remoteSystemID"]) == ("alice", ["*"])
    assert len(given["key"]) == 128
    assert taken == given
    assert len(entropy["randomStr"]) == 32
    assert " 400 " in refused
