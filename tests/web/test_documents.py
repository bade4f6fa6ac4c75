"""The OpenAPI document says what the door does, whatever it is sent; the files of the page are served as what they are."""

from __future__ import annotations

import asyncio
import json
import re
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.web import CITIES, LINKS, SmallNetwork, Window, run
from tiandi.scenario.view import EventView
from tiandi.web import documents, formats
from tiandi.web.app import WindowApp

ROOT = Path(__file__).parents[2]
STATIC = Path(str(files("tiandi.web"))) / "static"
HOST = b"127.0.0.1:8080"


class Bench:
    """The application alone, asked without a socket."""

    def __init__(self) -> None:
        self.network = SmallNetwork()
        self.app = WindowApp(self.network)
        sessions = self.app.sessions
        self.session, _ = sessions.log_in(sessions.offer("operator"))
        self.document = json.loads(self.app._document)

    def ask(self, method: str, path: str, body: bytes = b"", query: bytes = b"") -> tuple[int, bytes]:
        headers = [
            (b"host", HOST),
            (b"origin", b"http://" + HOST),
            (b"x-tiandi", b"1"),
            (b"cookie", f"tiandi-8080={self.session}".encode()),
        ]
        scope = {
            "type": "http", "method": method, "path": path, "raw_path": path.encode(), "query_string": query,
            "headers": headers, "server": ("127.0.0.1", 8080),
        }  # fmt: skip
        sent: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        asyncio.run(self.app(scope, receive, send))  # type: ignore[arg-type]
        return sent[0]["status"], sent[1]["body"]


BENCH = Bench()
POSTS = sorted(path for path, item in BENCH.document["paths"].items() if "post" in item and "requestBody" in item["post"])


def schema_of(path: str) -> dict[str, Any]:
    """What a body must be, with what it refers to."""
    schema = BENCH.document["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"]
    return {**schema, "components": BENCH.document["components"]}


def filled(path: str) -> str:
    for name, value in {"link": next(iter(LINKS)), "node": next(iter(CITIES)), "other_node": "Jinan", "alarm_id": "7"}.items():
        path = path.replace(f"{{{name}}}", value)
    return path


def test_every_operation_is_in_the_document_and_in_the_manual() -> None:
    manual = (ROOT / "docs" / "window.md").read_text(encoding="utf-8")
    described = {(method.upper(), path) for path, item in BENCH.document["paths"].items() for method in item}
    served = {(operation.method, re.sub(r"\{\}", "{}", operation.path)) for operation in BENCH.app.operations}
    assert {(method, re.sub(r"\{\w+\}", "{}", path)) for method, path in described} == served | {
        ("GET", documents.EVENTS),
        ("GET", documents.DOCUMENT),
    }
    for _, path in described:
        assert f"`{path}`" in manual, path


def test_the_document_is_openapi_and_holds_together() -> None:
    document = BENCH.document
    assert document["openapi"] == "3.1.0"
    text = json.dumps(document)
    for reference in re.findall(r'"#/([^"]+)"', text):
        found: Any = document
        for part in reference.split("/"):
            found = found[part]
    for schema in document["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)
    identifiers = [item["operationId"] for path in document["paths"].values() for item in path.values()]
    assert len(set(identifiers)) == len(identifiers)
    for path, item in document["paths"].items():
        for operation in item.values():
            named = [parameter["name"] for parameter in operation.get("parameters", []) if parameter["in"] == "path"]
            assert named == re.findall(r"\{(\w+)\}", path)


@pytest.mark.parametrize(
    "path", sorted(path for path, item in BENCH.document["paths"].items() if "get" in item and path != documents.EVENTS)
)
def test_what_is_answered_is_what_the_document_says(path: str) -> None:
    status, body = BENCH.ask("GET", filled(path))
    assert status == 200
    schema = BENCH.document["paths"][path]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
    jsonschema.validate(json.loads(body), {**schema, "components": BENCH.document["components"]})


def test_events_are_as_described() -> None:
    assert set(formats.JOURNAL["items"]["properties"]) == set(EventView.__struct_fields__)
    assert len(formats.JOURNAL["items"]["properties"]["kind"]["enum"]) == 9


ATOMS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=30)
    | st.sampled_from(["next pass", "2026-03-20T12:00:00Z", "Beijing", "Jinan", "viewer", 60, 1e300, -0.0, 2**70])
)
NAMES = st.sampled_from(["on", "sender", "recipient", "text", "token", "role", "speed", "paused", "jump"]) | st.text(max_size=10)
BODIES = st.recursive(ATOMS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4), max_leaves=8)


@pytest.mark.parametrize("path", POSTS)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(body=BODIES)
def test_whatever_is_sent_is_taken_only_when_the_document_allows_it(path: str, body: Any) -> None:
    before = list(BENCH.network.done)
    status, given_back = BENCH.ask("POST", filled(path), json.dumps(body).encode())
    valid = jsonschema.Draft202012Validator(schema_of(path)).is_valid(body)
    if status == 200:
        assert valid
    else:
        assert status in ({400, 401, 503} if valid else {400}), given_back
        assert json.loads(given_back).keys() == {"message"}
        assert BENCH.network.done == before


@pytest.mark.parametrize("path", POSTS)
@settings(max_examples=40, deadline=None)
@given(
    body=st.binary(max_size=200)
    | st.sampled_from([b"[" * 5000, b'{"on":' * 2000, b"\xff", b'"\\ud800"', b'{"on":true}x', b'{"on":true,"on":1}'])
)
def test_bytes_that_are_no_json_are_refused(path: str, body: bytes) -> None:
    before = list(BENCH.network.done)
    status, given_back = BENCH.ask("POST", filled(path), body)
    assert (status, json.loads(given_back).keys()) == (400, {"message"})
    assert BENCH.network.done == before


@settings(max_examples=100, deadline=None)
@given(path=st.text(max_size=60), query=st.binary(max_size=20), method=st.sampled_from(["GET", "POST", "HEAD", "PUT", "TRACE", "é"]))
def test_whatever_is_asked_for_is_answered(path: str, query: bytes, method: str) -> None:
    address = "/api/v1/" + path.encode("utf-8", "replace").hex("%")
    status, _ = BENCH.ask(method, address, query=query)
    assert status in {400, 404, 405}


# Files of the page.


def test_every_file_of_the_page_is_served_as_what_it_is() -> None:
    async def work(window: Window) -> None:
        served = documents.static_files()
        for path, file in served.items():
            answer = await window.ask("GET", path, role=None)
            assert (answer.status_code, answer.content) == (200, file.body), path
            assert answer.headers["content-type"].encode() == file.media_type
            head = await window.ask("HEAD", path, role=None)
            assert (head.status_code, head.content, head.headers["content-length"]) == (200, b"", str(len(file.body)))
        names = {f"/static/{file.relative_to(STATIC).as_posix()}" for file in STATIC.rglob("*") if file.suffix[1:] in documents.MEDIA_TYPES}
        assert served.keys() - {documents.HOME} == names
        assert served[documents.HOME].media_type == b"text/html; charset=utf-8"

    run(work)


def test_no_file_of_the_page_is_left_out_but_sources_and_licences() -> None:
    left = {file.name for file in STATIC.rglob("*") if file.is_file() and file.suffix[1:] not in documents.MEDIA_TYPES}
    assert not {name for name in left if not re.search(r"licen[cs]e|\.md$|~$", name, re.IGNORECASE)}


def test_a_file_that_the_browser_has_is_not_sent_again() -> None:
    async def work(window: Window) -> None:
        first = await window.ask("GET", "/", role=None)
        tag = first.headers["etag"]
        for known in (tag, f"W/{tag}", f'"x", {tag}'):
            again = await window.ask("GET", "/", role=None, headers={"If-None-Match": known})
            assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
        assert (await window.ask("GET", "/", role=None, headers={"If-None-Match": '"x"'})).status_code == 200

    run(work)


def test_the_page_obeys_its_own_policy() -> None:
    """No script or style within the page, and nothing from elsewhere."""
    for file in STATIC.rglob("*.html"):
        text = file.read_text(encoding="utf-8")
        assert not re.findall(r"<script(?![^>]*\ssrc=)|<style|\sstyle=|\son\w+=|(?:src|href)=[\"']?(?:https?:)?//", text), file.name
