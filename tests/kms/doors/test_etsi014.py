"""The 014 door: every decision of the interface as the caller sees it."""

from __future__ import annotations

import base64
import json
import logging
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from litestar import Litestar

from tests.kms.doors import Supply, application, ask
from tiandi.kms import etsi014 as formats
from tiandi.kms.doors import etsi014
from tiandi.kms.etsi014 import KEYS_NOT_FOUND, Limits

ENC = "/api/v1/keys/bob/enc_keys"
DEC = "/api/v1/keys/alice/dec_keys"
STATUS = "/api/v1/keys/bob/status"


class Bench:
    """The door over a supply of its own."""

    def __init__(self, **limits: int) -> None:
        self.supply = Supply(Limits(**limits))
        self.app: Litestar = application(etsi014.routes(self.supply))

    def refused(self, sae: str | None, method: str, path: str, **more: Any) -> tuple[int, str]:
        """Status and message of a refusal, which must be a 014 Error and cost no key."""
        before = self.supply.stock_bit
        answer = ask(self.app, sae, method, path, **more)
        assert answer.headers["content-type"] == "application/json"
        assert answer.headers["cache-control"] == "no-store"
        assert answer.json().keys() == {"message"}
        assert self.supply.stock_bit == before
        return answer.status_code, answer.json()["message"]

    def keys(self, sae: str, method: str, path: str, **more: Any) -> list[tuple[str, bytes]]:
        answer = ask(self.app, sae, method, path, **more)
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"] == "application/json"
        assert answer.headers["cache-control"] == "no-store"
        return [(item["key_ID"], base64.b64decode(item["key"], validate=True)) for item in answer.json()["keys"]]


@pytest.fixture
def bench() -> Bench:
    return Bench()


def key_ids(*names: str) -> dict[str, Any]:
    return {"json": {"key_IDs": [{"key_ID": name} for name in names]}}


# What is granted.


def test_status_has_every_field_of_the_standard(bench: Bench) -> None:
    answer = ask(bench.app, "alice", "GET", STATUS)
    assert answer.status_code == 200
    assert answer.json() == {
        "source_KME_ID": "kme-0",
        "target_KME_ID": "kme-1",
        "master_SAE_ID": "alice",
        "slave_SAE_ID": "bob",
        "key_size": 256,
        "stored_key_count": 256,
        "max_key_count": 100_000,
        "max_key_per_request": 128,
        "max_key_size": 2**20,
        "min_key_size": 8,
        "max_SAE_ID_count": 8,
    }


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_request_of_nothing_gives_one_key_of_the_size_of_the_kme(method: str) -> None:
    bench = Bench(key_size=512)
    [(key_id, key)] = bench.keys("alice", method, ENC)
    assert (UUID(key_id).version, len(key)) == (4, 64)


@pytest.mark.parametrize(
    ("method", "path", "more"),
    [
        ("GET", ENC + "?number=3&size=24", {}),
        ("GET", ENC + "?size=24&number=%33", {}),
        ("POST", ENC, {"json": {"number": 3, "size": 24}}),
        ("POST", ENC, {"content": b' {"number": 3, "size": 24, "from_the_future": [1]} '}),
        ("POST", ENC, {"content": b'{"number":3,"size":24}', "headers": {"Content-Type": "Application/JSON; charset=utf-8"}}),
        ("GET", "/api/v1/keys/%62ob/enc_keys?number=3&size=24", {}),
        ("GET", "/api//v1/keys/bob//enc_keys/?number=3&size=24", {}),
    ],
)
def test_keys_are_asked_for_in_either_form(bench: Bench, method: str, path: str, more: dict[str, Any]) -> None:
    keys = bench.keys("alice", method, path, **more)
    assert [len(key) for _, key in keys] == [3, 3, 3]
    assert len({key_id for key_id, _ in keys}) == 3


def test_both_ends_get_the_same_keys_each_once(bench: Bench) -> None:
    keys = bench.keys("alice", "POST", ENC, json={"number": 3})
    first, second, third = (key_id for key_id, _ in keys)
    assert bench.keys("bob", "POST", DEC, **key_ids(third, first)) == [keys[2], keys[0]]
    assert bench.keys("bob", "GET", f"{DEC}?key_ID={second}") == [keys[1]]
    assert bench.refused("bob", "GET", f"{DEC}?key_ID={second}") == (400, KEYS_NOT_FOUND)
    assert bench.refused("bob", "POST", DEC, **key_ids(first)) == (400, KEYS_NOT_FOUND)


def test_one_key_that_is_not_there_fails_the_whole_request(bench: Bench) -> None:
    [item] = bench.keys("alice", "POST", ENC)
    assert bench.refused("bob", "POST", DEC, **key_ids(item[0], str(uuid4()))) == (400, KEYS_NOT_FOUND)
    assert bench.keys("bob", "POST", DEC, **key_ids(item[0])) == [item]


def test_every_slave_that_was_named_takes_a_copy_of_its_own(bench: Bench) -> None:
    [item] = bench.keys("alice", "POST", ENC, json={"additional_slave_SAE_IDs": ["carol"]})
    for slave in ("bob", "carol"):
        assert bench.keys(slave, "POST", DEC, **key_ids(item[0])) == [item]
        assert bench.refused(slave, "POST", DEC, **key_ids(item[0])) == (400, KEYS_NOT_FOUND)
    assert bench.refused("dave", "POST", DEC, **key_ids(item[0]))[0] == 401


def test_the_master_does_not_read_its_key_back(bench: Bench) -> None:
    [(key_id, _)] = bench.keys("alice", "POST", ENC)
    assert bench.refused("alice", "POST", DEC, **key_ids(key_id))[0] == 401


def test_extensions_reach_the_entity(bench: Bench) -> None:
    bench.keys(
        "alice", "POST", ENC, json={"extension_optional": [{"tiandi_max_age_s": 5}, {"abc_x": {"deep": [1]}}], "extension_mandatory": []}
    )
    assert bench.supply.asked[0].optional_options().maximum_age_s == 5
    body = {"extension_mandatory": [{"tiandi_route_type": "direct"}]}
    assert bench.refused("alice", "POST", ENC, json=body) == (400, "not all extension_mandatory request options could be met")


def test_a_short_stock_hands_out_no_part_of_a_batch(bench: Bench) -> None:
    bench.supply.stock_bit = 3 * 256
    status, message = bench.refused("alice", "POST", ENC, json={"number": 4})
    assert status == 503
    assert "768 bit" in message
    assert ask(bench.app, "alice", "POST", ENC, json={"number": 4}).headers["retry-after"] == "1"
    assert "retry-after" not in ask(bench.app, "alice", "POST", ENC, json={"number": 0}).headers
    assert len(bench.keys("alice", "POST", ENC, json={"number": 3})) == 3


# What is refused: what is asked for.

BAD_BODIES = [
    (b'{"size": 7}', "size shall be a multiple of 8"),
    (b'{"size": 0}', "size = 0"),
    (b'{"size": -8}', "size = -8"),
    (b'{"size": 1048584}', "size = 1048584"),
    (b'{"size": 256.0}', "Expected `int`, got `float`"),
    (b'{"size": null}', "Expected `int`, got `null`"),
    (b'{"size": ' + b"9" * 5000 + b"}", "out of range"),
    (b'{"size": 1e400}', "body"),
    (b'{"number": 0}', "number = 0"),
    (b'{"number": -1}', "number = -1"),
    (b'{"number": 129}', "number = 129"),
    (b'{"number": "2"}', "Expected `int`, got `str`"),
    (b'{"number": true}', "Expected `int`, got `bool`"),
    (b'{"number": 128, "size": 1048576}', "bit a request"),
    (b'{"additional_slave_SAE_IDs": []}', "additional_slave_SAE_IDs"),
    (b'{"additional_slave_SAE_IDs": [""]}', "additional_slave_SAE_IDs"),
    (b'{"additional_slave_SAE_IDs": [" "]}', "additional_slave_SAE_IDs"),
    (b'{"additional_slave_SAE_IDs": ["carol\\u0000"]}', "additional_slave_SAE_IDs"),
    (b'{"additional_slave_SAE_IDs": ["carol", "carol"]}', "must not repeat"),
    (b'{"additional_slave_SAE_IDs": ["bob"]}', "must not repeat"),
    (b'{"additional_slave_SAE_IDs": ["alice"]}', "must not repeat"),
    (b'{"additional_slave_SAE_IDs": ["nobody"]}', "nobody"),
    (b'{"additional_slave_SAE_IDs": "carol"}', "Expected `array | null`"),
    (b'{"additional_slave_SAE_IDs": [["carol"]]}', "Expected `str`"),
    (b'{"extension_mandatory": [{"abc_x": 1}]}', "not all extension_mandatory parameters are supported"),
    (b'{"extension_mandatory": [{"tiandi_max_age_s": 0}]}', "tiandi_max_age_s: must be an integer above 0"),
    (b'{"extension_mandatory": {"tiandi_max_age_s": 1}}', "Expected `array | null`"),
    (b'{"extension_optional": [1]}', "Expected `object`"),
    (b'{"extension_optional": [{"a": "\xff"}]}', "body"),
    (b'{"extension_optional": [{"a": "\\ud800"}]}', "body"),
    (b'{"extension_optional": [{"a":' + b"[" * 20_000, "body"),
    (b"[" * 60_000, "body"),
    (b"[]", "Expected `object`, got `array`"),
    (b"null", "Expected `object`"),
    (b" ", "body"),
    (b"{}{}", "body"),
    (b"number=1", "body"),
    (b"\xef\xbb\xbf{}", "body"),
    (b"\xff\xfe{\0}\0", "body"),
]


@pytest.mark.parametrize(("body", "message"), BAD_BODIES, ids=lambda value: repr(value[:40]))
def test_a_bad_key_request_is_refused_with_its_reason(bench: Bench, body: bytes, message: str) -> None:
    status, given = bench.refused("alice", "POST", ENC, content=body)
    assert status == 400
    assert message in given
    assert len(given) < 600


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("number=0", "number = 0"),
        ("number=-1", "number = -1"),
        ("number=129", "number = 129"),
        ("number=x", "whole number"),
        ("number=", "whole number"),
        ("number", "whole number"),
        ("number=1.0", "whole number"),
        ("number=%D9%A1", "whole number"),
        ("number=+1", "whole number"),
        ("number=1_0", "whole number"),
        ("number=" + "9" * 5000, "whole number"),
        ("size=9", "size shall be a multiple of 8"),
        ("size=0", "size = 0"),
        ("number=1&number=1", "once"),
        ("foo=1", "only number, size"),
        ("Number=1", "only number, size"),
        ("additional_slave_SAE_IDs=carol", "only number, size"),
        ("number=%FF", "UTF-8"),
        ("&".join(["a=1"] * 100), "at most 16"),
    ],
)
def test_a_bad_query_is_refused_with_its_reason(bench: Bench, query: str, message: str) -> None:
    status, given = bench.refused("alice", "GET", f"{ENC}?{query}")
    assert status == 400
    assert message in given


def test_a_query_beside_a_body_or_for_status_is_refused(bench: Bench) -> None:
    assert bench.refused("alice", "POST", ENC + "?number=2")[0] == 400
    assert bench.refused("alice", "GET", STATUS + "?number=2")[0] == 400


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b'{"key_IDs": []}',
        b'{"key_IDs": [{}]}',
        b'{"key_IDs": [1]}',
        b'{"key_IDs": [{"key_ID": "x"}]}',
        b'{"key_IDs": [{"key_ID": null}]}',
        b'{"key_IDs": ["00000000-0000-4000-8000-000000000000"]}',
        b'{"key_IDs": {"key_ID": "00000000-0000-4000-8000-000000000000"}}',
        b'{"key_IDs": [{"key_ID": "00000000-0000-4000-8000-000000000000", "key_ID_extension": 1}]}',
    ],
)
def test_bad_key_ids_are_refused(bench: Bench, body: bytes) -> None:
    assert bench.refused("bob", "POST", DEC, content=body)[0] == 400


@pytest.mark.parametrize("query", ["", "?key_ID=", "?key_ID=x", "?key_ID=1&key_ID=2", "?number=1", "?key_ID=%00", f"?key_id={UUID(int=1)}"])
def test_a_bad_key_id_is_refused(bench: Bench, query: str) -> None:
    status, message = bench.refused("bob", "GET", DEC + query)
    assert status == 400
    assert message != KEYS_NOT_FOUND


def test_a_key_named_twice_is_not_delivered_at_all(bench: Bench) -> None:
    [item] = bench.keys("alice", "POST", ENC)
    status, message = bench.refused("bob", "POST", DEC, **key_ids(item[0], item[0].upper()))
    assert status == 400
    assert "twice" in message
    assert bench.keys("bob", "POST", DEC, **key_ids(item[0].upper())) == [item]


def test_an_unknown_key_is_not_found_in_the_words_of_the_standard(bench: Bench) -> None:
    assert bench.refused("bob", "POST", DEC, **key_ids(str(uuid4()))) == (400, "one or more keys specified are not found on KME")
    assert bench.refused("bob", "GET", f"{DEC}?key_ID={uuid4()}") == (400, "one or more keys specified are not found on KME")


# What is refused: who asks, and where.


@pytest.mark.parametrize("path", [STATUS, ENC, DEC, "/api/v1/keys/bob/other", "/openapi/etsi014.json"])
def test_a_caller_without_the_certificate_of_an_sae_is_refused(bench: Bench, path: str) -> None:
    assert bench.refused(None, "GET", path)[0] == 401


@pytest.mark.parametrize(
    "sae", ["alice", "nobody", "%20", "%00", "bob%00", "bob%2F", "%2e%2e", "b%FFb", "%C3%A9", "x" * 65, "bob%252F", "%ED%A0%80"]
)
def test_a_slave_that_is_the_caller_or_nobody_or_no_name_at_all_is_refused(bench: Bench, sae: str) -> None:
    for what in ("status", "enc_keys"):
        assert bench.refused("alice", "GET", f"/api/v1/keys/{sae}/{what}")[0] == 400


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/api/v1/keys",
        "/api/v1/keys/",
        "/api/v1/keys/bob",
        "/api/v1/keys//status",
        "/api/v1/keysbob/x/status",
        "/api/v1/keys/bob/status/x",
        "/api/v1/keys/bob/STATUS",
        "/api/v1/keys/a/b/status",
        "/api/v2/keys/bob/status",
        "/api/v1/keys/bob%2Fstatus",
        "/nowhere/%00",
    ],
)
def test_what_nobody_serves_is_not_found(bench: Bench, path: str) -> None:
    assert bench.refused("alice", "GET", path)[0] == 404


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("POST", STATUS, "GET"),
        ("PUT", ENC, "GET, POST"),
        ("DELETE", DEC, "GET, POST"),
        ("OPTIONS", ENC, "GET, POST"),
        ("TRACE", STATUS, "GET"),
    ],
)
def test_a_method_that_is_not_served_is_told_which_are(bench: Bench, method: str, path: str, allowed: str) -> None:
    answer = ask(bench.app, "alice", method, path)
    assert (answer.status_code, answer.headers["allow"]) == (405, allowed)
    assert answer.json()["message"]


def test_a_large_body_is_refused_before_it_is_read(bench: Bench) -> None:
    async def endless() -> Any:
        for _ in range(20):
            yield b" " * 10_000
        raise AssertionError("the door read on")

    assert bench.refused("alice", "POST", ENC, content=b" " * 10_000_000)[0] == 413
    assert bench.refused("alice", "POST", ENC, content=endless())[0] == 413
    assert bench.refused("alice", "POST", ENC, headers={"Content-Length": "9" * 100})[0] == 413


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": ""},
        {"Content-Encoding": "gzip"},
    ],
)
def test_a_body_that_is_no_plain_json_is_refused(bench: Bench, headers: dict[str, str]) -> None:
    assert bench.refused("alice", "POST", ENC, content=b"{}", headers=headers)[0] == 415


@pytest.mark.parametrize("host", ["KP_Bob", "127.0.0.1:8443", "[::1]", "wherever"])
def test_any_host_is_answered(bench: Bench, host: str) -> None:
    assert ask(bench.app, "alice", "GET", STATUS, headers={"Host": host}).status_code == 200


def test_a_fault_tells_nothing_but_its_name(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    secret = "5ec2e7c0ffee"

    async def broken(*_: Any) -> Any:
        raise ValueError(secret)

    bench.supply.get_keys = broken  # type: ignore[method-assign]
    with caplog.at_level(logging.DEBUG):
        assert bench.refused("alice", "GET", ENC) == (503, "internal error (ValueError)")
    assert "ValueError" in caplog.text
    assert "get_keys" in caplog.text
    assert secret not in caplog.text


# Anything at all.

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
)
members = st.sampled_from(
    ["number", "size", "additional_slave_SAE_IDs", "extension_mandatory", "extension_optional", "key_IDs", "key_ID", "key_IDs_extension"]
)
bodies = st.binary(max_size=200) | st.dictionaries(members, values, max_size=4).map(lambda body: json.dumps(body).encode())
BENCH = Bench()


def require_told(answer: Any) -> None:
    assert answer.status_code in {200, 400, 401, 404, 405, 413, 415} or "holds" in answer.json()["message"]
    if answer.status_code != 200:
        assert msgspec.json.decode(answer.content)["message"]


@settings(max_examples=150, deadline=None)
@given(bodies, st.sampled_from([ENC, DEC]))
def test_no_body_makes_the_kme_fail(body: bytes, path: str) -> None:
    require_told(ask(BENCH.app, "alice", "POST", path, content=body))


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=40), st.binary(max_size=40), st.sampled_from(["GET", "POST", "PATCH"]))
def test_no_path_and_no_query_makes_the_kme_fail(path: bytes, query: bytes, method: str) -> None:
    where = (
        "".join(f"%{byte:02X}" for byte in path)
        + "/enc_keys?"
        + "".join(chr(byte) if 32 < byte < 127 and byte != 35 else f"%{byte:02X}" for byte in query)
    )
    require_told(ask(BENCH.app, "alice", method, "/api/v1/keys/" + where))


# The document.


def test_the_document_describes_what_is_served(bench: Bench) -> None:
    answer = ask(bench.app, "bob", "GET", "/openapi/etsi014.json")
    document = answer.json()
    assert (answer.status_code, document["openapi"]) == (200, "3.1.0")
    served = {
        f"/api/v1/keys/{{{who}_SAE_ID}}/{what}": set(methods)
        for what, methods in etsi014.METHODS.items()
        for who in ["master" if what == "dec_keys" else "slave"]
    }
    described = {path: {method.upper() for method in item if method != "parameters"} for path, item in document["paths"].items()}
    assert described == served
    for path, item in document["paths"].items():
        names = {parameter["name"] for parameter in item["get"].get("parameters", [])}
        assert names == set(etsi014.PARAMETERS[path.rsplit("/")[-1]])


@pytest.mark.parametrize("name", ["Status", "KeyRequest", "KeyIDs", "KeyContainer", "Key", "Error"])
def test_the_document_has_the_fields_of_the_formats(bench: Bench, name: str) -> None:
    schema = ask(bench.app, "bob", "GET", "/openapi/etsi014.json").json()["components"]["schemas"][name]
    fields = msgspec.structs.fields(getattr(formats, name))
    assert set(schema["properties"]) == {field.name for field in fields}
    assert set(schema.get("required", [])) == {field.name for field in fields if field.required}
