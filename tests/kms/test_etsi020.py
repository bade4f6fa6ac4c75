"""Formats of GS QKD 020: what they take, what they refuse, and that nothing of a key shows."""

from __future__ import annotations

import base64
from typing import Any
from uuid import uuid4

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiandi.kms.etsi020 import AckContainers, ExternalKey, KeyContainer, Problem, VoidContainer, callback_path

ID = "550e8400-e29b-41d4-a716-446655440000"
PAIR = {"initiator_sae_id": "encryptor1", "target_sae_ids": ["encryptor2"]}
ACK = {"key_id_container": [{"key_id": ID}], "ack_status": "relayed", **PAIR}


def read(kind: Any, value: Any) -> Any:
    return msgspec.json.decode(msgspec.json.encode(value), type=kind)


@given(st.binary(min_size=1, max_size=300))
def test_a_key_is_read_as_it_was_written(key: bytes) -> None:
    item = ExternalKey(ID, base64.b64encode(key).decode())
    assert item.key() == key
    assert base64.b64encode(key).decode() not in repr(item)


@pytest.mark.parametrize(
    "value", ["", "=", "A", "AB", "AB=", "AB==", "AAA", "AAB=", "wHHV ", "wHHV\n", "wH-_", "====", "AAAA====", "é", "AA==AA=="]
)
def test_what_is_no_canonical_base64_is_no_key(value: str) -> None:
    if value in {"AB==", "AAB="}:
        assert base64.b64decode(value)  # Only its padding bits are wrong: they are no key.
    with pytest.raises(Problem) as refused:
        ExternalKey(ID, value).key()
    assert refused.value.status == 400
    assert not value or value == "=" or value not in str(refused.value).replace("base64 (RFC 4648, table 1) of at least one byte", "")


@pytest.mark.parametrize("key_id", ["", ID[:-1], ID + "0", ID.replace("-", ""), "{" + ID + "}", ID + "\n", "g" * 36])
def test_an_identifier_is_a_uuid_in_the_standard_form(key_id: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        read(VoidContainer, {"key_ids": [key_id], **PAIR})


@pytest.mark.parametrize("sae", ["a", "a" * 64, "urn:tiandi:sae:a", "https://x/y?z#f", "[::1]", "a%2Fb", "!$&'()*+,;=~"])
def test_an_sae_id_has_any_characters_of_a_uri(sae: str) -> None:
    assert read(VoidContainer, {"key_ids": [ID], "initiator_sae_id": sae, "target_sae_ids": ["b"]}).initiator_sae_id == sae


@pytest.mark.parametrize("sae", ["", "a" * 65, "a b", "a\n", "ü", "a%", "a%2", 'a"', "a\\", "<a>", "a{", "a|b", "a^"])
def test_an_sae_id_has_no_other_characters_and_at_most_64(sae: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        read(VoidContainer, {"key_ids": [ID], "initiator_sae_id": sae, "target_sae_ids": ["b"]})


def test_the_limits_of_the_standard_hold() -> None:
    assert len(read(AckContainers, [ACK] * 1024)) == 1024
    read(AckContainers, [{**ACK, "message": "x" * 4096}])
    read(AckContainers, [{**ACK, "key_id_container": [{"key_id": ID}] * 1024}])
    refused = (
        [ACK] * 1025,
        [{**ACK, "message": "x" * 4097}],
        [{**ACK, "key_id_container": [{"key_id": ID}] * 1025}],
        [{**ACK, "ack_status": "Relayed"}],
        [{**ACK, "extension": {}}],
        [{**ACK, "extension": {"x": 1}}],
        [{name: value for name, value in ACK.items() if name != "key_id_container"}],
        ACK,
        None,
    )
    for value in refused:
        with pytest.raises(msgspec.ValidationError):
            read(AckContainers, value)


def test_a_request_names_each_key_once() -> None:
    keys = [{"key_id": ID, "value": "AAAA"}, {"key_id": ID.upper(), "value": "AAAA"}]
    with pytest.raises(Problem, match="once"):
        read(KeyContainer, {"keys": keys, **PAIR}).require()


def test_mandatory_extensions_are_named_in_the_refusal_and_optional_ones_are_kept_as_written() -> None:
    request = {"keys": [{"key_id": ID, "value": "AAAA"}], **PAIR, "extension_mandatory": {"E32473_ext1": 1, "E32473_ext2": {}}}
    with pytest.raises(Problem, match="E32473_ext1 and E32473_ext2") as refused:
        read(KeyContainer, request).require()
    assert (refused.value.status, set(refused.value.details)) == (503, {"unsupported_mandatory_extension"})
    text = b'{"keys":[{"key_id":"%s","value":"AAAA"}],"initiator_sae_id":"a","target_sae_ids":["b"],"extension_optional":{"E1_x":%s}}'
    odd = b'[1.0, 1e2,  {"b":1,"a":2}]'
    decoded = msgspec.json.decode(text % (str(uuid4()).encode(), odd), type=KeyContainer)
    assert odd in msgspec.json.encode(decoded)


def test_all_keys_are_voided_only_when_that_is_confirmed() -> None:
    for more in ({}, {"all_confirmation": False}):
        with pytest.raises(Problem) as refused:
            read(VoidContainer, {"key_ids": [], **PAIR, **more}).require()
        assert refused.value.kind == "no-key-ids-or-confirmation"
    read(VoidContainer, {"key_ids": [], **PAIR, "all_confirmation": True}).require()


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("https://kme-b:8020/kmapi/v1/ext_keys/ack", "/kmapi/v1/ext_keys/ack"),
        ("https://KME-B:8020/other?x=1", "/other?x=1"),
    ],
)
def test_a_callback_may_go_anywhere_at_the_registered_host(url: str, path: str) -> None:
    assert callback_path(url, "https://kme-b:8020") == path


@pytest.mark.parametrize(
    "url",
    [
        "", "/ack", "kme-b:8020/ack", "http://kme-b:8020/ack", "https://kme-b/ack", "https://kme-b:8021/ack", "https://kme-c:8020/ack",
        "https://u@kme-b:8020/ack", "https://kme-b:8020@evil/ack", "https://kme-b:8020#@evil/ack", "https://kme-b:8020\\@evil/ack",
        "https://kme-b:8020", "https://kme-b:8020/a b", "https://kme-b:8020/\r\nHost:x", "https://kme-b:x/ack", "https://[kme-b:8020/ack",
        "file:///etc/passwd", "https://kme-b.:8020/ack", "https://kme‑b:8020/ack",
    ],
)  # fmt: skip
def test_a_callback_to_anywhere_else_is_refused(url: str) -> None:
    with pytest.raises(Problem) as refused:
        callback_path(url, "https://kme-b:8020")
    assert refused.value.status == 400
