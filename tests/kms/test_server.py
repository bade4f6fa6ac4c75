"""Three KMEs in a row over real mutual TLS, as customers and strangers see them. What each door refuses is tested beside the door."""

from __future__ import annotations

import base64
import json
import ssl
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.conftest import KmeChain
from tiandi.errors import KmeUnreachable, RemoteRefused
from tiandi.kms.client import KeyClient
from tiandi.kms.directory import Sae
from tiandi.kms.tls.pki import CertificateAuthority, Credentials


def client(chain: KmeChain, kme: str, credentials: Credentials) -> KeyClient:
    return KeyClient(chain.address(kme), kme, credentials, retry_s=0.0)


def reserve(chain: KmeChain, count: int) -> None:
    chain.host.call(chain.entity("kme-0").reserve("alice", ["bob"], size_bit=256, count=count))


def raw(chain: KmeChain, credentials: Credentials, method: str, path: str, kme: str = "kme-0", **more: Any) -> httpx.Response:
    return httpx.request(method, chain.address(kme) + path, verify=credentials.client_context(), trust_env=False, **more)


def test_a_key_crosses_two_hops_and_is_fetched_by_both(chain: KmeChain) -> None:
    reserve(chain, 3)
    with client(chain, "kme-0", chain.alice) as alice, client(chain, "kme-2", chain.bob) as bob:
        status = alice.status("bob")
        assert (status.stored_key_count, status.key_size, status.source_KME_ID, status.target_KME_ID) == (3, 256, "kme-0", "kme-2")
        keys = alice.get_keys("bob", number=2)
        assert bob.get_keys_with_ids("alice", [item.key_ID for item in keys]) == keys
        assert alice.status("bob").stored_key_count == 1


def test_keys_of_any_size_are_made_when_they_are_asked_for(chain: KmeChain) -> None:
    with client(chain, "kme-0", chain.alice) as alice, client(chain, "kme-2", chain.bob) as bob:
        for size_bit in (8, 200, 4096):
            keys = alice.get_keys("bob", number=2, size_bit=size_bit)
            assert [len(item.key) * 8 for item in keys] == [size_bit, size_bit]
            assert bob.get_keys_with_ids("alice", [item.key_ID for item in keys]) == keys


def test_a_key_asked_for_twice_is_refused_the_second_time(chain: KmeChain) -> None:
    with client(chain, "kme-0", chain.alice) as alice, client(chain, "kme-2", chain.bob) as bob:
        (key,) = alice.get_keys("bob")
        bob.get_keys_with_ids("alice", [key.key_ID])
        with pytest.raises(RemoteRefused, match="400: one or more keys specified are not found on KME"):
            bob.get_keys_with_ids("alice", [key.key_ID])


def test_more_keys_than_the_link_has_are_refused_and_none_is_lost(chain: KmeChain) -> None:
    with client(chain, "kme-0", chain.alice) as alice:
        with pytest.raises(RemoteRefused, match="503"):
            alice.get_keys("bob", number=100)
        assert len(alice.get_keys("bob", number=4)) == 4


def test_a_key_of_others_is_refused(chain: KmeChain) -> None:
    chain.host.directory.saes["eve"] = Sae("kme-2")
    with client(chain, "kme-0", chain.alice) as alice:
        (key,) = alice.get_keys("bob")
    with client(chain, "kme-2", chain.issue("eve")) as eve, pytest.raises(RemoteRefused, match="401"):
        eve.get_keys_with_ids("alice", [key.key_ID])


def test_an_sae_of_another_kme_is_refused(chain: KmeChain) -> None:
    with client(chain, "kme-1", chain.alice) as alice, pytest.raises(RemoteRefused, match="401"):
        alice.get_keys("bob")


def test_no_certificate_is_refused(chain: KmeChain) -> None:
    context = ssl.create_default_context(cafile=str(chain.alice.authority))
    with pytest.raises(httpx.TransportError):
        httpx.get(chain.address("kme-0") + "/api/v1/keys/bob/status", verify=context, trust_env=False)


def test_a_certificate_of_another_authority_is_refused(chain: KmeChain, tmp_path: Path) -> None:
    forged = CertificateAuthority(tmp_path / "forged").issue("sae", "alice")
    trusting = Credentials("alice", forged.certificate, forged.private_key, chain.alice.authority)
    with client(chain, "kme-0", trusting) as eve, pytest.raises(KmeUnreachable):
        eve.status("bob")


def test_a_client_refuses_another_kme_than_it_asked_for(chain: KmeChain) -> None:
    with KeyClient(chain.address("kme-1"), "kme-0", chain.alice, retry_s=0.0) as alice, pytest.raises(KmeUnreachable):
        alice.status("bob")


def test_simple_requests_by_get(chain: KmeChain) -> None:
    answer = raw(chain, chain.alice, "GET", "/api/v1/keys/bob/enc_keys?number=2&size=256")
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    keys = answer.json()["keys"]
    assert [len(base64.b64decode(item["key"])) for item in keys] == [32, 32]
    answer = raw(chain, chain.bob, "GET", f"/api/v1/keys/alice/dec_keys?key_ID={keys[0]['key_ID']}", "kme-2")
    assert answer.json()["keys"] == [keys[0]]


def test_a_refusal_shows_no_key(chain: KmeChain) -> None:
    with client(chain, "kme-0", chain.alice) as alice:
        (item,) = alice.get_keys("bob")
    body = json.dumps({"key_IDs": [{"key_ID": str(item.key_ID)}]})
    refused = raw(chain, chain.alice, "POST", "/api/v1/keys/alice/dec_keys", content=body)
    assert refused.status_code == 401
    for form in (base64.b64encode(item.key).decode(), item.key.hex(), repr(item.key)):
        assert form not in refused.text
        assert form not in repr(item)
