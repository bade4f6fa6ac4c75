"""The SKIP door: what an encryptor gets, what it is refused, and the quirks of a client written by hand."""

from __future__ import annotations

import asyncio
import json
import socket
from typing import Any
from uuid import UUID

import msgspec
import pytest
import uvicorn
from hypothesis import given, settings
from hypothesis import strategies as st
from litestar import Litestar

from tests.kms.doors import Supply, application, ask, with_certificate
from tiandi.errors import InputError
from tiandi.kms import skip as formats
from tiandi.kms.doors import etsi014, skip
from tiandi.kms.etsi014 import Limits
from tiandi.kms.skip import Systems, random_string

SYSTEMS = Systems({"alice": "KP_Alice", "bob": "KP_Bob"}, ("KP_*", "carol"))


class Bench:
    """The door over a supply of its own, beside the 014 door of the same KME."""

    def __init__(self) -> None:
        self.supply = Supply(Limits())
        self.app: Litestar = application([*skip.routes(self.supply, SYSTEMS), *etsi014.routes(self.supply)])

    def given(self, sae: str | None, path: str) -> Any:
        answer = ask(self.app, sae, "GET", path)
        assert answer.status_code == 200, answer.text
        assert answer.headers["cache-control"] == "no-store"
        return answer.json()

    def refused(self, sae: str | None, path: str, method: str = "GET") -> int:
        before = self.supply.stock_bit
        answer = ask(self.app, sae, method, path)
        assert answer.json()["message"]
        assert answer.headers["cache-control"] == "no-store"
        assert self.supply.stock_bit == before
        return answer.status_code


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_capabilities_name_the_system_of_the_caller_and_those_it_may_ask_for(bench: Bench) -> None:
    expected = {"entropy": True, "key": True, "algorithm": "QKD", "localSystemID": "KP_Alice", "remoteSystemID": ["KP_*", "carol"]}
    assert bench.given("alice", "/capabilities") == expected
    assert bench.given("carol", "/capabilities")["localSystemID"] == "carol"


@pytest.mark.parametrize(("query", "size_bit"), [("", 256), ("&size=128", 128), ("&size=1000", 1000)])
def test_both_encryptors_get_the_same_key_once(bench: Bench, query: str, size_bit: int) -> None:
    answer = bench.given("alice", f"/key?remoteSystemID=KP_Bob{query}")
    assert answer.keys() == {"keyId", "key"}
    assert len(bytes.fromhex(answer["keyId"])) == 16
    assert len(bytes.fromhex(answer["key"])) * 8 == size_bit
    assert answer["keyId"] not in answer["key"]
    by_id = f"/key/{answer['keyId']}?remoteSystemID=KP_Alice"
    assert bench.given("bob", by_id) == answer
    assert bench.refused("bob", by_id) == 400


def test_a_key_from_one_door_is_fetched_at_the_other(bench: Bench) -> None:
    answer = bench.given("alice", "/key?remoteSystemID=KP_Bob")
    [item] = ask(bench.app, "bob", "GET", f"/api/v1/keys/alice/dec_keys?key_ID={answer['keyId']}").json()["keys"]
    assert item["key_ID"].replace("-", "") == answer["keyId"]


def test_a_key_of_others_is_not_found(bench: Bench) -> None:
    key_id = bench.given("alice", "/key?remoteSystemID=KP_Bob")["keyId"]
    for sae, remote in (("dave", "KP_Alice"), ("alice", "KP_Bob"), ("bob", "carol"), ("alice", "KP_Alice")):
        assert bench.refused(sae, f"/key/{key_id}?remoteSystemID={remote}") == 400
    assert bench.given("bob", f"/key/{key_id.upper()}?remoteSystemID=KP_Alice")["keyId"] == key_id


@pytest.mark.parametrize(
    "path",
    [
        "/key",
        "/key?remoteSystemID=",
        "/key?remoteSystemID=KP_Nobody",
        "/key?remoteSystemID=KP_*",
        "/key?remoteSystemID=bob",
        "/key?remoteSystemID=alice",
        "/key?remoteSystemID=KP_Alice",
        "/key?remoteSystemID=KP_Bob&remoteSystemID=KP_Bob",
        "/key?remoteSystemID=KP_Bob&size=0",
        "/key?remoteSystemID=KP_Bob&size=7",
        "/key?remoteSystemID=KP_Bob&size=-8",
        "/key?remoteSystemID=KP_Bob&size=x",
        "/key?remoteSystemID=KP_Bob&size=99999999",
        "/key?remoteSystemID=KP_%00",
        "/key?remoteSystemID=%FF",
        "/key?remoteSystemID=KP_Bob&number=2",
        "/key/xyz?remoteSystemID=KP_Alice",
        "/key/" + "0" * 31 + "?remoteSystemID=KP_Alice",
        "/key/" + "0" * 32 + "?remoteSystemID=KP_Alice",
        "/key/" + "0" * 32,
        f"/key/{UUID(int=1)}?remoteSystemID=KP_Alice",
        "/key/%FF?remoteSystemID=KP_Alice",
        "/entropy?minentropy=0",
        "/entropy?minentropy=65537",
        "/entropy?minentropy=x",
        "/capabilities?x=1",
    ],
)
def test_what_is_asked_wrongly_is_refused(bench: Bench, path: str) -> None:
    assert bench.refused("alice", path) == 400


@pytest.mark.parametrize("path", ["/", "/keys", "/key/a/b", "/capabilities/x", "/Key", "/entropy/1"])
def test_other_paths_are_not_found(bench: Bench, path: str) -> None:
    assert bench.refused("alice", path) == 404


@pytest.mark.parametrize("path", ["/capabilities", "/key?remoteSystemID=KP_Bob", "/key/" + "0" * 32, "/entropy"])
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
def test_other_methods_are_refused(bench: Bench, method: str, path: str) -> None:
    assert bench.refused("alice", path, method) == 405


def test_a_certificate_of_no_sae_opens_nothing(bench: Bench) -> None:
    for path in ("/capabilities", "/key?remoteSystemID=KP_Bob", "/key/" + "0" * 32, "/entropy", "/openapi/skip.json"):
        assert bench.refused(None, path) == 401


def test_want_of_key_is_unavailable_and_a_fault_is_a_fault(bench: Bench) -> None:
    bench.supply.stock_bit = 255
    assert bench.refused("alice", "/key?remoteSystemID=KP_Bob") == 503

    async def broken(*_: Any) -> Any:
        raise OSError("the disk is gone")

    bench.supply.get_keys = broken  # type: ignore[method-assign]
    answer = ask(bench.app, "alice", "GET", "/key?remoteSystemID=KP_Bob")
    assert (answer.status_code, answer.json()) == (500, {"message": "internal error (OSError)"})


@pytest.mark.parametrize(
    ("query", "entropy_bit"), [("", 256), ("?minentropy=1", 8), ("?minentropy=128", 128), ("?minentropy=65536", 65536)]
)
def test_entropy_is_as_much_as_asked_for_in_whole_bytes(bench: Bench, query: str, entropy_bit: int) -> None:
    answer = bench.given("alice", "/entropy" + query)
    assert answer.keys() == {"randomStr", "minentropy"}
    assert len(bytes.fromhex(answer["randomStr"])) * 8 == answer["minentropy"] == entropy_bit


def test_entropy_never_repeats(bench: Bench) -> None:
    assert bench.given("alice", "/entropy") != bench.given("alice", "/entropy")


def test_want_of_randomness_is_unavailable(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def exhausted(length_byte: int) -> bytes:
        raise OSError(length_byte)

    monkeypatch.setattr(formats, "secret_bytes", exhausted)
    assert bench.refused("alice", "/entropy") == 503


def test_reprs_show_no_secret() -> None:
    assert "ab" not in repr(formats.Key("00", "ab" * 16))
    entropy = random_string()
    assert entropy.randomStr not in repr(entropy)


@pytest.mark.parametrize(
    ("pattern", "system"),
    [("KP_Bob", "KP_Bob"), ("*", "KP_Bob"), ("KP_?ob", "KP_Bob"), ("KP_[AB]*", "KP_Bob"), ("KP_[!C]*", "KP_Bob")],
)
def test_remote_systems_are_known_by_patterns(pattern: str, system: str) -> None:
    systems = Systems({"bob": "KP_Bob", "carol": "KP_Carol"}, (pattern,))
    assert systems.sae(system) == "bob"


@pytest.mark.parametrize("pattern", ["KP_Bo", "kp_bob", "KP_[!B]*", "KP_?", "KP_[AC]*"])
def test_a_remote_system_that_no_pattern_fits_is_refused(pattern: str) -> None:
    with pytest.raises(InputError, match="knows no such system"):
        Systems({"bob": "KP_Bob"}, (pattern,)).sae("KP_Bob")


@pytest.mark.parametrize(("names", "remote"), [({"a": "x", "b": "x"}, ("*",)), ({"a": "x y"}, ("*",)), ({"": "x"}, ("*",)), ({}, ())])
def test_names_that_contradict_are_refused(names: dict[str, str], remote: tuple[str, ...]) -> None:
    with pytest.raises(InputError):
        Systems(names, remote)


def test_an_sae_is_not_reached_under_the_name_of_another_system() -> None:
    """bob speaks for KP_Bob: who asks for the system "bob" must not get keys that bob's encryptor cannot ask for."""
    with pytest.raises(InputError, match="another system"):
        Systems({"bob": "KP_Bob"}).sae("bob")
    assert Systems({"bob": "KP_Bob", "kiosk": "bob"}).sae("bob") == "kiosk"


BENCH = Bench()


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(["/key", "/key/", "/entropy", "/capabilities"]), st.binary(max_size=40), st.binary(max_size=40))
def test_no_request_makes_the_door_fail(path: str, rest: bytes, value: bytes) -> None:
    escaped = ["".join(f"%{byte:02X}" for byte in part) for part in (rest, value)]
    for query in (f"remoteSystemID={escaped[1]}", f"minentropy={escaped[1]}", f"remoteSystemID=KP_Bob&size={escaped[1]}", escaped[1]):
        answer = ask(BENCH.app, "alice", "GET", f"{path}{escaped[0] if path.endswith('/') else ''}?{query}")
        assert answer.status_code in {200, 400, 404} or "holds" in answer.json()["message"]


def test_a_client_by_hand_that_names_the_server_and_reads_to_the_end_is_served(bench: Bench) -> None:
    """As skip-qkd does it: Host is a system, Connection is close, and what comes until the end of the stream is the answer."""

    async def run() -> bytes:
        listener = socket.create_server(("127.0.0.1", 0))
        app = with_certificate(bench.app, "alice")
        server = uvicorn.Server(uvicorn.Config(app, http="httptools", ws="none", lifespan="off", log_config=None, access_log=False))  # type: ignore[arg-type]
        task = asyncio.create_task(server._serve(sockets=[listener]))
        reader, writer = await asyncio.open_connection(*listener.getsockname())
        writer.write(b"GET /key?remoteSystemID=KP_Bob&size=256 HTTP/1.1\r\nHost: KP_Alice\r\nConnection: close\r\n\r\n")
        received = await asyncio.wait_for(reader.read(), 5)
        writer.close()
        await writer.wait_closed()
        server.should_exit = True
        await task
        return received

    head, body = asyncio.run(run()).split(b"\r\n\r\n", 1)
    assert b" 200 " in head.split(b"\r\n")[0]
    assert json.loads(body[body.find(b"{") : body.rfind(b"}") + 1]).keys() == {"keyId", "key"}


def test_the_document_describes_what_is_served(bench: Bench) -> None:
    document = bench.given("carol", "/openapi/skip.json")
    assert set(document["paths"]) == {"/capabilities", "/key", "/key/{keyId}", "/entropy"}
    for name in ("Capabilities", "Key", "Entropy"):
        schema = document["components"]["schemas"][name]
        assert schema["required"] == list(schema["properties"]) == [field.name for field in msgspec.structs.fields(getattr(formats, name))]
