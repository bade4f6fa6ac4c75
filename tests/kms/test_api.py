"""ETSI GS QKD 014 and the neighbours' door over real mutual TLS, as customers and strangers see them."""

from __future__ import annotations

import base64
import json
import ssl
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import msgspec
import pytest

from tests.conftest import KmeChain
from tiandi.errors import KmeUnreachable, NotAuthorised, RelayFailed, RemoteRefused
from tiandi.kms.client import KeyClient
from tiandi.kms.pki import CertificateAuthority, Credentials
from tiandi.kms.relay import RelayRequest, encrypt_hop, prepare_hand_over


def client(chain: KmeChain, kme: str, credentials: Credentials) -> KeyClient:
    return KeyClient(chain.address(kme), kme, credentials)


def relay(chain: KmeChain, number: int) -> list[UUID]:
    return chain.host.call(chain.host.entities["kme-0"].relay_keys("alice", "bob", number=number, route=chain.names))


def raw(chain: KmeChain, credentials: Credentials, method: str, path: str, kme: str = "kme-0", **more: Any) -> httpx.Response:
    return httpx.request(method, chain.address(kme) + path, verify=credentials.client_context(), trust_env=False, **more)


def test_a_key_crosses_two_hops_and_is_fetched_by_both(chain: KmeChain) -> None:
    relay(chain, 3)
    with client(chain, "kme-0", chain.alice) as alice, client(chain, "kme-2", chain.bob) as bob:
        status = alice.status("bob")
        assert (status.stored_key_count, status.key_size, status.source_KME_ID, status.target_KME_ID) == (3, 256, "kme-0", "kme-2")
        keys = alice.get_keys("bob", number=2)
        assert bob.get_keys_with_ids("alice", [item.key_ID for item in keys]) == keys
        assert alice.status("bob").stored_key_count == 1


def test_a_key_asked_for_twice_is_refused_the_second_time(chain: KmeChain) -> None:
    relay(chain, 1)
    with client(chain, "kme-0", chain.alice) as alice, client(chain, "kme-2", chain.bob) as bob:
        (key,) = alice.get_keys("bob")
        bob.get_keys_with_ids("alice", [key.key_ID])
        with pytest.raises(RemoteRefused, match="400: one or more keys specified are not found on KME"):
            bob.get_keys_with_ids("alice", [key.key_ID])
        with pytest.raises(RemoteRefused, match="503"):
            alice.get_keys("bob")


def test_a_key_of_others_is_refused(chain: KmeChain) -> None:
    chain.host.directory.sae_homes["eve"] = "kme-2"
    (key_id,) = relay(chain, 1)
    with client(chain, "kme-2", chain.issue("eve")) as eve, pytest.raises(RemoteRefused) as refused:
        eve.get_keys_with_ids("alice", [key_id])
    assert refused.value.status == 401


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
    with KeyClient(chain.address("kme-1"), "kme-0", chain.alice) as alice, pytest.raises(KmeUnreachable, match="Hostname mismatch"):
        alice.status("bob")


def test_a_kmes_certificate_does_not_open_the_saes_door_nor_the_reverse(chain: KmeChain, tmp_path: Path) -> None:
    kme = chain.authority.issue("kme", "kme-x")
    assert raw(chain, kme, "GET", "/api/v1/keys/bob/status").status_code == 401
    assert raw(chain, chain.alice, "POST", "/kx/v1/relay", content=b"{}").status_code == 401
    assert raw(chain, chain.alice, "POST", "/kx/v1/hand-over", content=b"{}").status_code == 401


def test_simple_requests_by_get(chain: KmeChain) -> None:
    relay(chain, 3)
    answer = raw(chain, chain.alice, "GET", "/api/v1/keys/bob/enc_keys?number=2&size=256")
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    keys = answer.json()["keys"]
    assert [len(base64.b64decode(item["key"])) for item in keys] == [32, 32]
    answer = raw(chain, chain.bob, "GET", f"/api/v1/keys/alice/dec_keys?key_ID={keys[0]['key_ID']}", "kme-2")
    assert answer.json()["keys"] == [keys[0]]


def test_post_with_an_empty_body_gives_one_key(chain: KmeChain) -> None:
    relay(chain, 1)
    assert len(raw(chain, chain.alice, "POST", "/api/v1/keys/bob/enc_keys").json()["keys"]) == 1


BAD_KEY_REQUESTS = [
    (b'{"size": 7}', "size shall be a multiple of 8"),
    (b'{"size": 512}', "must be 256 bit"),
    (b'{"number": 0}', "must lie in [1, 128]"),
    (b'{"number": 129}', "must lie in [1, 128]"),
    (b'{"number": "two"}', "Expected `int`"),
    (b'{"number": 1e400}', ""),
    (b'{"extension_mandatory": [{"x": 1}]}', "not all extension_mandatory parameters are supported"),
    (b'{"additional_slave_SAE_IDs": ["carol"]}', "max_SAE_ID_count = 0"),
    (b"not JSON", "body"),
    (b"\xff\xfe", "body"),
    (b'{"extension_optional": [{"a": "\xff"}]}', "body"),
    (b"[" * 20_000, "body"),
]


@pytest.mark.parametrize(("body", "message"), BAD_KEY_REQUESTS, ids=lambda value: value[:24])
def test_bad_key_requests_are_refused_with_a_reason(chain: KmeChain, body: bytes, message: str) -> None:
    relay(chain, 1)
    answer = raw(chain, chain.alice, "POST", "/api/v1/keys/bob/enc_keys", content=body)
    assert answer.status_code == 400
    assert message in answer.json()["message"]
    with client(chain, "kme-0", chain.alice) as alice:
        assert alice.status("bob").stored_key_count == 1


@pytest.mark.parametrize(
    "query",
    ["number=0", "number=-1", "number=x", "size=9", "size=8", "number=1&number=2", "foo=1", "number=99999999999999999999"],
)
def test_bad_queries_are_refused(chain: KmeChain, query: str) -> None:
    answer = raw(chain, chain.alice, "GET", f"/api/v1/keys/bob/enc_keys?{query}")
    assert answer.status_code == 400
    assert answer.json()["message"]


@pytest.mark.parametrize("body", [b"", b"{}", b'{"key_IDs": []}', b'{"key_IDs": [{"key_ID": "x"}]}', b'{"key_IDs": [1]}'])
def test_bad_key_ids_are_refused(chain: KmeChain, body: bytes) -> None:
    answer = raw(chain, chain.bob, "POST", "/api/v1/keys/alice/dec_keys", "kme-2", content=body)
    assert answer.status_code == 400
    assert answer.json()["message"]


@pytest.mark.parametrize("slave", ["alice", "nobody", "%20", "bob%00"])
def test_a_slave_that_is_the_caller_or_unknown_is_refused(chain: KmeChain, slave: str) -> None:
    answer = raw(chain, chain.alice, "GET", f"/api/v1/keys/{slave}/status")
    assert answer.status_code == 400
    assert "slave_SAE_ID" in answer.json()["message"] or "SAE_ID" in answer.json()["message"]


def test_endless_headers_are_cut_off(chain: KmeChain) -> None:
    with pytest.raises(httpx.TransportError):
        raw(chain, chain.alice, "GET", "/api/v1/keys/bob/status", headers=[(f"x-{number}", "y" * 1000) for number in range(200)])


def test_a_large_body_is_refused(chain: KmeChain) -> None:
    answer = raw(chain, chain.alice, "POST", "/api/v1/keys/bob/enc_keys", content=b" " * 10_000_000)
    assert answer.status_code == 413


def test_a_refusal_shows_no_key(chain: KmeChain) -> None:
    (key_id,) = relay(chain, 1)
    body = json.dumps({"key_IDs": [{"key_ID": str(key_id)}]})
    refused = raw(chain, chain.alice, "POST", "/api/v1/keys/alice/dec_keys", content=body)
    assert refused.status_code == 401
    with client(chain, "kme-0", chain.alice) as alice:
        (item,) = alice.get_keys("bob")
    for form in (base64.b64encode(item.key).decode(), item.key.hex(), repr(item.key)):
        assert form not in refused.text
        assert form not in repr(item)


# Relay.


def relay_request(chain: KmeChain, route: list[str], **changes: Any) -> RelayRequest:
    request = RelayRequest(key_ids=[uuid4()], master="alice", slave="bob", route=route, segments=[], ciphertext=b"", tag=b"")
    request = encrypt_hop(chain.store("kme-0"), "kme-1", bytes(32), request)
    return msgspec.structs.replace(request, **changes)


def send(chain: KmeChain, request: RelayRequest, sender: str = "kme-0", receiver: str = "kme-1") -> None:
    chain.host.call(chain.host.entities[receiver].receive_relay(sender, request))


def test_a_relay_along_a_route_nobody_approved_is_refused_before_key_is_spent(chain: KmeChain) -> None:
    before = chain.store("kme-1").account()
    for route in (["kme-0", "kme-1"], ["kme-0", "kme-1", "kme-0", "kme-1", "kme-2"], [], ["kme-1"], ["kme-2", "kme-1", "kme-0"]):
        with pytest.raises(NotAuthorised):
            send(chain, relay_request(chain, route))
    with pytest.raises(NotAuthorised):
        send(chain, relay_request(chain, chain.names), sender="kme-2")
    assert chain.store("kme-1").account() == before


def test_a_changed_relay_is_refused_and_its_link_key_gone(chain: KmeChain) -> None:
    for changes in ({"ciphertext": bytes(32)}, {"tag": bytes(16)}, {"key_ids": [uuid4()]}):
        with pytest.raises(Exception, match="tag does not match"):
            send(chain, relay_request(chain, chain.names, **changes))
    assert chain.store("kme-2").account()["kme-1"] == {"received": 32_000}


def test_a_repeated_relay_is_refused(chain: KmeChain) -> None:
    request = relay_request(chain, chain.names)
    send(chain, request)
    with pytest.raises(Exception, match="not kme-0's to spend"):
        send(chain, request)


@pytest.mark.parametrize("ciphertext", [b"", bytes(31), bytes(64)])
def test_a_relay_of_odd_lengths_is_refused_before_key_is_spent(chain: KmeChain, ciphertext: bytes) -> None:
    with pytest.raises(Exception, match="ciphertext"):
        send(chain, relay_request(chain, chain.names, ciphertext=ciphertext))
    assert chain.store("kme-1").account()["kme-0"] == {"received": 32_000}


def test_an_exhausted_hop_stops_the_relay_and_destroys_the_keys(chain: KmeChain) -> None:
    stock_byte = chain.store("kme-1").stock_bit("kme-2") // 8
    chain.store("kme-1").spend(("kme-2", stock_byte))
    with pytest.raises(RelayFailed, match=r"kme-1.*holds 0 bit of key"):
        relay(chain, 1)
    with client(chain, "kme-0", chain.alice) as alice:
        assert alice.status("bob").stored_key_count == 0


def test_a_dead_neighbour_stops_the_relay(chain: KmeChain) -> None:
    chain.host.directory.kme_addresses["kme-1"] = "https://127.0.0.1:1"
    with pytest.raises(RelayFailed, match=r"kme-1.*no answer"):
        relay(chain, 1)


def test_what_crosses_a_hop_is_key_under_a_pad_that_is_used_once(chain: KmeChain) -> None:
    """The same key sent twice looks different, and each ciphertext xor key is the link key that both ends have spent."""
    first, second = (relay_request(chain, chain.names) for _ in range(2))
    assert first.ciphertext != second.ciphertext
    named = [segment for request in (first, second) for segment in request.segments]
    assert len({(segment.block_id, segment.start) for segment in named}) == len(named)
    pad = chain.store("kme-1").spend_segments("kme-0", first.segments)
    assert pad[:32] == first.ciphertext  # The key of these requests is all zeros.


# Hand-over.


def test_a_satellite_makes_two_stations_share_key(chain: KmeChain) -> None:
    """kme-1 stands for a satellite between kme-0 and kme-2."""
    chain.host.directory.hand_overs.add(("kme-1", "kme-0", "kme-2"))
    satellite = chain.host.entities["kme-1"]
    chain.host.call(satellite.hand_over("kme-0", "kme-2", 1000))
    [(spent, segments)] = chain.store("kme-0").spend(("kme-2", 400))
    assert chain.store("kme-2").spend_segments("kme-0", segments) == spent
    [(spent, segments)] = chain.store("kme-2").spend(("kme-0", 400))
    assert chain.store("kme-0").spend_segments("kme-2", segments) == spent


def test_the_announcement_of_a_satellite_tells_nothing_without_its_keys(chain: KmeChain) -> None:
    chain.host.directory.hand_overs.add(("kme-1", "kme-0", "kme-2"))
    store = chain.store("kme-1")
    to_a, to_b = prepare_hand_over(store, "kme-0", "kme-2", uuid4(), 500)
    chain.host.entities["kme-2"].receive_hand_over("kme-1", to_b)
    chain.host.entities["kme-0"].receive_hand_over("kme-1", to_a)
    [(shared, _)] = chain.store("kme-0").spend(("kme-2", 250))
    assert to_a.announcement == b""
    assert shared not in to_b.announcement
    assert to_b.announcement[:250] != shared


def test_a_hand_over_by_a_stranger_is_refused(chain: KmeChain) -> None:
    to_a, _ = prepare_hand_over(chain.store("kme-1"), "kme-0", "kme-2", uuid4(), 100)
    with pytest.raises(NotAuthorised):
        chain.host.entities["kme-0"].receive_hand_over("kme-1", to_a)
    assert chain.store("kme-0").stock_bit("kme-2") == 0
