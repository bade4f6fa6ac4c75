"""The 020 door: what it answers to whom, as the published description of the interface has it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Collection, Sequence
from importlib.resources import files
from typing import Any

import httpx
import jsonschema
import pytest

from tests.kms.border import certificate_of
from tests.kms.doors import application
from tiandi.errors import KeysExhausted, NoRoute, NotAuthorised, RelayFailed, StateError
from tiandi.kms.doors import etsi020
from tiandi.kms.etsi020 import ACK_PATH, KEYS_PATH, VERSIONS_PATH, VOID_PATH, AckContainer, KeyContainer, KeyIdItem, VoidContainer

DOCUMENT = json.loads(files("tiandi.kms").joinpath("openapi", "etsi020.json").read_text())
ID = "550e8400-e29b-41d4-a716-446655440000"
PAIR = {"initiator_sae_id": "encryptor1", "target_sae_ids": ["encryptor2"]}
CALLBACK = {"ack_callback_url": "https://kme1/kmapi/v1/ext_keys/ack"}
KEYS = {"keys": [{"key_id": ID, "value": "wHHVxRwDJs3/bXd38GHP3oe4svTuRpZS0yCC7x4Ly+s="}], **PAIR}
ACKS = [{"key_id_container": [{"key_id": ID}], "ack_status": "relayed", **PAIR}]
VOID = {"key_ids": [ID], **PAIR}
BODIES = {KEYS_PATH: KEYS, ACK_PATH: ACKS, VOID_PATH: VOID}


class Border:
    """Takes whatever it is given, or fails as it is told."""

    def __init__(self) -> None:
        self.failure: Exception | None = None
        self.taken: list[Any] = []

    def partner_of(self, kme_id: str, among: Collection[str] | None = None) -> str:
        if kme_id != "kme1" or (among is not None and "west" not in among):
            raise NotAuthorised(f"{kme_id} is no partner")
        return "west"

    async def receive_keys(self, partner: str, request: KeyContainer) -> list[AckContainer] | None:
        return self._take(request, request.ack_callback_url, "relayed")

    async def receive_void(self, partner: str, request: VoidContainer) -> list[AckContainer] | None:
        return self._take(request, request.ack_callback_url, "voided")

    async def receive_acks(self, partner: str, acks: Sequence[AckContainer]) -> None:
        self._take(acks, "", "relayed")

    def _take(self, request: Any, callback: Any, status: Any) -> list[AckContainer] | None:
        if self.failure is not None:
            raise self.failure
        self.taken.append(request)
        return None if isinstance(callback, str) else [AckContainer([KeyIdItem(ID)], status, "encryptor1", ["encryptor2"])]


class Bench:
    def __init__(self) -> None:
        self.border = Border()
        self.app = application(etsi020.routes(self.border, ["west"]))

    def ask(self, method: str, path: str, *, identities: Any = (("kme", "kme1"),), **more: Any) -> httpx.Response:
        """The answer, which is as the document says."""

        async def run() -> httpx.Response:
            transport = httpx.ASGITransport(app=certificate_of(self.app, identities))
            async with httpx.AsyncClient(transport=transport, base_url="https://kme2") as client:
                return await client.request(method, path, **more)

        response = asyncio.run(run())
        assert response.headers["cache-control"] == "no-store"
        operations = DOCUMENT["paths"][path.partition("?")[0]]
        answers = operations.get(method.lower(), next(iter(operations.values())))["responses"]
        found = answers[str(response.status_code)]
        found = DOCUMENT["components"]["responses"][found["$ref"].rpartition("/")[2]] if "$ref" in found else found
        if "content" not in found:
            assert response.content == b""
            return response
        assert response.headers["content-type"] == "application/json"
        schema = found["content"]["application/json"]["schema"]
        jsonschema.validate(response.json(), {**schema, "components": DOCUMENT["components"]}, jsonschema.Draft202012Validator)
        return response

    def problem(self, method: str, path: str, **more: Any) -> tuple[int, str]:
        """Status and kind of problem; nothing is taken."""
        before = len(self.border.taken)
        response = self.ask(method, path, **more)
        assert len(self.border.taken) == before
        assert response.json()["status"] == response.status_code
        return response.status_code, response.json()["type"].rpartition("/")[2]


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_versions_are_told_with_the_synchronous_mode(bench: Bench) -> None:
    assert bench.ask("GET", VERSIONS_PATH).json() == {"versions": ["v1"], "capabilities": ["synchronous_mode"]}


@pytest.mark.parametrize(("path", "body"), [(KEYS_PATH, KEYS), (VOID_PATH, VOID)])
def test_a_callback_decides_the_mode(bench: Bench, path: str, body: dict[str, Any]) -> None:
    assert bench.ask("POST", path, json={**body, **CALLBACK}).status_code == 202
    response = bench.ask("POST", path, json=body)
    assert response.status_code == 200
    assert response.json()[0]["key_id_container"] == [{"key_id": ID}]


def test_acknowledgements_are_taken_with_an_empty_answer(bench: Bench) -> None:
    assert bench.ask("POST", ACK_PATH, json=ACKS).status_code == 200
    assert [ack.ack_status for ack in bench.border.taken[0]] == ["relayed"]


@pytest.mark.parametrize("identities", [(), (("sae", "kme1"),), (("kme", "kme9"),), (("kme", "kme1"), ("kme", "kme9"))])
def test_who_is_no_partner_is_told_so_whatever_is_sent(bench: Bench, identities: Any) -> None:
    assert bench.problem("GET", VERSIONS_PATH, identities=identities) == (401, "unauthorized")
    for path in BODIES:
        assert bench.problem("POST", path, identities=identities, content=b"\x00") == (401, "unauthorized")


@pytest.mark.parametrize(
    ("path", "kind"),
    [(KEYS_PATH, "invalid-parameter"), (ACK_PATH, "ack-not-understood"), (VOID_PATH, "void-request-not-understood")],
)
@pytest.mark.parametrize("body", [b"", b"{", b"null", b"{}", b"[1]", b'"x"', b"\xff", b"[" * 100_000, b'{"keys": 1}'])
def test_what_cannot_be_understood_is_400(bench: Bench, path: str, kind: str, body: bytes) -> None:
    assert bench.problem("POST", path, content=body) == (400, kind)


@pytest.mark.parametrize("path", BODIES)
def test_a_body_that_is_too_large_or_of_another_type_is_refused(bench: Bench, path: str) -> None:
    assert bench.problem("POST", path, content=b" " * (10 * 1024 * 1024))[0] == 400
    assert bench.problem("POST", path, content=b"x", headers={"Content-Type": "text/plain"}) == (415, "invalid-request")
    given = {"content": json.dumps(BODIES[path]), "headers": {"Content-Type": "application/json; charset=UTF-8"}}
    assert bench.ask("POST", path, **given).status_code == 200


@pytest.mark.parametrize("path", BODIES)
def test_another_method_is_refused_with_the_ones_that_are_served(bench: Bench, path: str) -> None:
    for asked, method, allowed in ((path, "GET", "POST"), (path, "DELETE", "POST"), (VERSIONS_PATH, "POST", "GET")):
        response = bench.ask(method, asked)
        assert (response.status_code, response.headers["allow"]) == (405, allowed)


@pytest.mark.parametrize("path", BODIES)
def test_a_query_is_refused(bench: Bench, path: str) -> None:
    assert bench.problem("POST", path + "?all=1", json=BODIES[path])[0] == 400


@pytest.mark.parametrize(
    ("failure", "told"),
    [
        (NotAuthorised("not yours"), (401, "unauthorized")),
        (TimeoutError(), (408, "timeout")),
        (NoRoute("a", "b", "none"), (503, "key-routing-error")),
        (KeysExhausted("link key", 0, 1), (503, "insufficient-key-material")),
        (RelayFailed("b", "down"), (503, "server-side-general-error")),
        (StateError("key store", "x", "cannot be written"), (503, "server-side-general-error")),
        (ZeroDivisionError("secret"), (503, "server-side-general-error")),
    ],
)
def test_failures_are_told_in_the_words_of_the_standard(bench: Bench, failure: Exception, told: tuple[int, str]) -> None:
    bench.border.failure = failure
    for path in (KEYS_PATH, VOID_PATH):
        assert bench.problem("POST", path, json=BODIES[path]) == told
        assert "secret" not in bench.ask("POST", path, json=BODIES[path]).text


def test_no_answer_quotes_a_key(bench: Bench) -> None:
    value = KEYS["keys"][0]["value"]  # type: ignore[index]
    for broken in ({"initiator_sae_id": ""}, {"target_sae_ids": value}, {"ack_callback_url": 1}, {"keys": {"value": value}}):
        assert value not in bench.ask("POST", KEYS_PATH, json={**KEYS, **broken}).text


def test_the_document_is_given_to_partners(bench: Bench) -> None:
    assert bench.ask("GET", "/openapi/etsi020.json").json() == DOCUMENT


def test_the_documents_examples_are_taken(bench: Bench) -> None:
    for path in BODIES:
        example = DOCUMENT["paths"][path]["post"]["requestBody"]["content"]["application/json"]["examples"]["one"]["value"]
        assert bench.ask("POST", path, json=example).status_code in {200, 202}
