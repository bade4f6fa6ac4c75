"""The page's door: who may ask for what, what comes back, and what is kept out."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Any
from urllib.parse import quote

import msgspec
import pytest

from tests.web import Window, run
from tiandi.errors import InputError, StateError, TiandiError
from tiandi.scenario.view import AuditView, LinkView, MessageView, NetworkView, NodeView, PairView
from tiandi.web import WindowServer, formats
from tiandi.web.sessions import Role

SHANGHAI = quote("中 国/a", safe="")
JINAN_LINK = quote("Jinan-中", safe="")
READ = [
    ("/api/v1/network", NetworkView),
    ("/api/v1/links/Beijing-Jinan", LinkView),
    (f"/api/v1/links/{JINAN_LINK}", LinkView),
    (f"/api/v1/nodes/{SHANGHAI}", NodeView),
    (f"/api/v1/pairs/Beijing/{SHANGHAI}", PairView),
    ("/api/v1/audit", AuditView),
]
ACT: list[tuple[str, Any, tuple[Any, ...]]] = [
    ("links/Beijing-Jinan/eavesdropper", {"on": True}, ("eavesdrop", "Beijing-Jinan", True)),
    (f"links/{JINAN_LINK}/cut", {"on": False}, ("cut", "Jinan-中", False)),
    (f"stations/{SHANGHAI}/cloud", {"on": True}, ("cloud", "中 国/a", True)),
    ("nodes/Jinan/compromise", {"on": True}, ("compromise", "Jinan", True)),
    ("alarms/7/acknowledge", None, ("acknowledge", 7)),
    ("alarms/7/acknowledge", {}, ("acknowledge", 7)),
    ("time", {"speed": 60}, ("speed", 60.0)),
    ("time", {"paused": True}, ("pause", True)),
    ("time", {"paused": False}, ("pause", False)),
    ("time", {"jump": "next pass"}, ("jump", "next pass")),
    ("time", {"jump": "2026-03-20T20:00:00+08:00"}, ("jump", "2026-03-20T12:00:00Z")),
]


# What is shown, and what is done.


def test_everything_is_shown_to_a_viewer() -> None:
    async def work(window: Window) -> None:
        for path, kind in READ:
            answer = await window.ask("GET", path, role="viewer")
            assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json"), path
            msgspec.json.decode(answer.content, type=kind)
        assert (await window.ask("GET", "/api/v1/session", role="viewer")).json() == {"role": "viewer"}

    run(work)


def test_an_operator_acts_and_sees_what_became_of_it() -> None:
    async def work(window: Window) -> None:
        for path, body, done in ACT:
            answer = await window.ask("POST", f"/api/v1/{path}", body)
            assert answer.status_code == 200, answer.text
            msgspec.json.decode(answer.content, type=NetworkView)
            assert window.network.done.pop() == done
        answer = await window.ask("POST", "/api/v1/links/Beijing-Jinan/eavesdropper", {"on": True})
        assert answer.json()["links"][0]["state"] == "eavesdropped"
        body = {"sender": "Beijing", "recipient": "Jinan", "text": "你好 \x00"}
        sent = msgspec.json.decode((await window.ask("POST", "/api/v1/messages", body)).content, type=MessageView)
        assert (sent.plaintext, sent.key_ids) == ("你好 \x00", ["id"])

    run(work)


def test_the_audit_journal_is_asked_for_what_is_wanted() -> None:
    async def work(window: Window) -> None:
        path = f"/api/v1/audit?node={SHANGHAI}&kind=link&since=2026-01-01T00:00:00Z&text=sp%20ent&limit=5"
        found = msgspec.json.decode((await window.ask("GET", path, role="viewer")).content, type=AuditView)
        assert found.lines[0].after == "spent"
        wanted = {"node": "中 国/a", "kind": "link", "since": "2026-01-01T00:00:00Z", "text": "sp ent", "limit": 5}
        assert window.network.done == [("audit", wanted)]
        for bad in ("kind=nonsense", "limit=x", "nonsense=1", "node=a&node=b"):
            assert (await window.ask("GET", f"/api/v1/audit?{bad}")).status_code == 400, bad
        assert (await window.ask("GET", "/api/v1/audit", role=None)).status_code == 401

    run(work)


def test_few_search_the_audit_journal_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A search reads thousands of pages on the thread that makes keys."""

    async def work(window: Window) -> None:
        go_on, search = asyncio.Event(), window.network.audit

        async def slow(**wanted: Any) -> AuditView:
            await go_on.wait()
            return await search(**wanted)

        monkeypatch.setattr(window.network, "audit", slow)
        asked = [asyncio.create_task(window.ask("GET", "/api/v1/audit", role="viewer")) for _ in range(4)]
        await asyncio.sleep(0.1)
        refused = await window.ask("GET", "/api/v1/audit", role="viewer")
        assert (refused.status_code, "try again" in refused.text) == (503, True)
        go_on.set()
        assert [answer.status_code for answer in await asyncio.gather(*asked)] == [200] * 4
        assert (await window.ask("GET", "/api/v1/audit", role="viewer")).status_code == 200

    run(work)


def test_the_journal_is_chosen_from_newest_first() -> None:
    async def work(window: Window) -> None:
        await asyncio.sleep(0.02)
        window.network.tell("one", link="Beijing-Jinan")
        window.network.tell("two", kind="alarm", link="Beijing-Jinan")
        window.network.tell("three", kind="alarm", node="Jinan")
        await asyncio.sleep(0.02)

        async def found(query: str) -> list[str]:
            return [event["what"] for event in (await window.ask("GET", f"/api/v1/journal{query}", role="viewer")).json()]

        assert await found("") == ["three", "two", "one"]
        assert await found("?kind=alarm") == ["three", "two"]
        assert await found("?kind=alarm&link=Beijing-Jinan") == ["two"]
        assert await found("?node=Jinan") == ["three"]
        assert await found("?limit=1") == ["three"]
        assert await found("?node=nowhere") == []
        for query in ("?limit=0", "?limit=2001", "?limit=x", "?id=1", "?kind=a&kind=b"):
            assert (await window.ask("GET", f"/api/v1/journal{query}")).status_code == 400

    run(work)


# Who may ask.


def test_nothing_is_told_without_a_session_and_nothing_is_done_by_a_viewer() -> None:
    async def work(window: Window) -> None:
        operations = window.server.app.operations
        assert {(operation.method, operation.path) for operation in operations if operation.role is None} == {("POST", "/login")}
        for operation in operations:
            path = operation.path.replace("{}", "Jinan")
            if operation.role is not None:
                answer = await window.ask(operation.method, path, role=None)
                assert (answer.status_code, answer.json().keys()) == (401, {"message"}), path
            if operation.role == "operator":
                assert (await window.ask(operation.method, path, {"on": True}, role="viewer")).status_code == 403
        assert (await window.ask("GET", "/api/v1/events", role=None)).status_code == 401
        forged = {"Cookie": f"tiandi-{window.server.address.rpartition(':')[2]}={'A' * 43}"}
        assert (await window.ask("GET", "/api/v1/network", role=None, headers=forged)).status_code == 401
        assert window.network.done == []

    run(work)


@pytest.mark.parametrize("role", ["viewer", "operator"])
def test_a_link_opens_a_session_once(role: Role) -> None:
    async def work(window: Window) -> None:
        address, _, secret = window.server.login_link(role).partition("/#login=")
        assert address == window.server.address
        answer = await window.ask("POST", "/login", {"token": secret}, role=None)
        assert (answer.status_code, answer.json()) == (200, {"role": role})
        cookie, *attributes = answer.headers["set-cookie"].split("; ")
        assert set(attributes) == {"Path=/", "HttpOnly", "SameSite=Strict", "Max-Age=604800"}
        assert secret not in cookie
        assert (await window.ask("POST", "/login", {"token": secret}, role=None)).status_code == 401
        seen = await window.ask("GET", "/api/v1/session", role=None, headers={"Cookie": cookie})
        assert seen.json() == {"role": role}
        out = await window.ask("POST", "/logout", role=None, headers={"Cookie": cookie})
        assert (out.status_code, out.content) == (204, b"")
        assert "Max-Age=0" in out.headers["set-cookie"]
        assert (await window.ask("GET", "/api/v1/session", role=None, headers={"Cookie": cookie})).status_code == 401

    run(work)


def test_an_operator_makes_links_for_others() -> None:
    async def work(window: Window) -> None:
        tunnel = {"Host": "localhost:9999", "Origin": "http://localhost:9999"}
        answer = await window.ask("POST", "/api/v1/login-links", {"role": "viewer"}, headers=tunnel)
        address, _, secret = answer.json()["url"].partition("/#login=")
        assert address == "http://localhost:9999"
        assert (await window.ask("POST", "/login", {"token": secret}, role=None)).json() == {"role": "viewer"}
        assert (await window.ask("POST", "/api/v1/login-links", {"role": "king"})).status_code == 400

    run(work)


# What is kept out.


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"X-Tiandi": "-"}, 403),
        ({"X-Tiandi": "2"}, 403),
        ({"Origin": "-"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "http://127.0.0.1"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Sec-Fetch-Site": "same-origin"}, 200),
        ({"Host": "evil.example"}, 421),
        ({"Host": "evil.example:80", "Origin": "http://evil.example:80"}, 421),
        ({"Host": "127.0.0.1.evil.example"}, 421),
        ({"Host": "127.0.0.1@evil.example"}, 421),
        ({"Host": "localhost:x"}, 421),
        ({"Host": ""}, 421),
        ({"Host": "LOCALHOST:1", "Origin": "http://localhost:1"}, 200),
        ({"Host": "[::1]:1", "Origin": "http://[::1]:1"}, 200),
        ({"Content-Type": "text/plain"}, 415),
        ({"Content-Type": "application/x-www-form-urlencoded"}, 415),
        ({"Content-Encoding": "gzip"}, 415),
    ],
)
def test_other_sites_cannot_act(headers: dict[str, str], status: int) -> None:
    async def work(window: Window) -> None:
        answer = await window.ask("POST", "/api/v1/links/Beijing-Jinan/cut", {"on": True}, headers=headers)
        assert answer.status_code == status
        assert len(window.network.done) == (status == 200)

    run(work)


def test_other_sites_cannot_read_nor_log_in() -> None:
    async def work(window: Window) -> None:
        for path in ("/api/v1/network", "/api/v1/events"):
            assert (await window.ask("GET", path, headers={"Sec-Fetch-Site": "same-site"})).status_code == 403
            assert (await window.ask("GET", path, headers={"Host": "evil.example"})).status_code == 421
        for path in ("/", "/static/style.css", "/api/openapi.json", "/nothing"):
            assert (await window.ask("GET", path, headers={"Host": "evil.example"})).status_code == 421
        token = {"token": window.server.app.sessions.offer("operator")}
        for headers in ({"Origin": "http://evil.example"}, {"X-Tiandi": "-"}):
            assert (await window.ask("POST", "/login", token, role=None, headers=headers)).status_code == 403
        assert (await window.ask("POST", "/login", token, role=None)).status_code == 200

    run(work)


def test_every_answer_has_the_headers_that_keep_a_page_to_itself() -> None:
    async def work(window: Window) -> None:
        for method, path in (("GET", "/"), ("GET", "/api/v1/network"), ("GET", "/nothing"), ("POST", "/login"), ("POST", "/logout")):
            headers = (await window.ask(method, path)).headers
            policy = dict(item.strip().partition(" ")[::2] for item in headers["content-security-policy"].split(";"))
            assert policy["default-src"] == policy["form-action"] == "'self'"
            assert policy["frame-ancestors"] == policy["base-uri"] == policy["object-src"] == "'none'"
            assert "unsafe" not in headers["content-security-policy"]
            assert (headers["x-content-type-options"], headers["referrer-policy"]) == ("nosniff", "no-referrer")
            assert headers["cache-control"] in {"no-store", "no-cache"}
            assert "server" not in headers
            assert "access-control-allow-origin" not in headers
        async with window.follow() as told:
            assert told.answer.headers["cache-control"] == "no-store"
            assert "content-security-policy" in told.answer.headers

    run(work)


HOSTILE = ["%2e%2e", "%2e%2e%2fetc", "%00", "%ff", "a" * 5000, "%3Cscript%3E", "Beijing%2fJinan", "%25", "Beijing-Jinan%20", "-", "%c0%ae"]


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_are_not_found(name: str) -> None:
    async def work(window: Window) -> None:
        for path in (f"links/{name}", f"nodes/{name}", f"pairs/{name}/Jinan", f"pairs/Jinan/{name}", name):
            answer = await window.ask("GET", f"/api/v1/{path}")
            assert (answer.status_code in {400, 404}, answer.json().keys()) == (True, {"message"})
        for path in (f"links/{name}/cut", f"stations/{name}/cloud", f"nodes/{name}/compromise", f"alarms/{name}/acknowledge"):
            assert (await window.ask("POST", f"/api/v1/{path}", {"on": True})).status_code in {400, 404}
        assert (await window.ask("GET", f"/static/{name}")).status_code in {400, 404}
        assert window.network.done == []

    run(work)


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/api/v1/nothing", None, 404),
        ("GET", "/api", None, 404),
        ("GET", "/api/v1/network/more", None, 404),
        ("GET", "/api/v1/network?x=1", None, 400),
        ("GET", "/api/v1/events?x=1", None, 400),
        ("POST", "/api/v1/network", {}, 405),
        ("POST", "/api/v1/events", {}, 405),
        ("DELETE", "/api/v1/links/Beijing-Jinan", None, 405),
        ("GET", "/api/v1/links/Beijing-Jinan/cut", None, 405),
        ("HEAD", "/api/v1/network", None, 405),
        ("OPTIONS", "/api/v1/network", None, 405),
        ("PUT", "/", None, 405),
        ("POST", "/api/v1/links/nowhere/cut", {"on": True}, 404),
        ("POST", "/api/v1/alarms/8/acknowledge", None, 404),
        ("POST", "/api/v1/links/Beijing-Jinan/cut", {"on": 1}, 400),
        ("POST", "/api/v1/links/Beijing-Jinan/cut", {"on": True, "off": True}, 400),
        ("POST", "/api/v1/links/Beijing-Jinan/cut?on=1", {"on": True}, 400),
        ("POST", "/api/v1/links/Beijing-Jinan/cut", None, 400),
        ("POST", "/api/v1/messages", {"sender": "", "recipient": "Jinan", "text": "x"}, 400),
        ("POST", "/api/v1/messages", {"sender": "Beijing", "recipient": "Jinan", "text": "x" * 2001}, 400),
        ("POST", "/api/v1/messages", {"sender": "Beijing", "recipient": "Jinan", "text": "x" * 20_000}, 413),
        ("POST", "/api/v1/messages", {"sender": "Beijing", "recipient": "nobody", "text": "x"}, 503),
        ("POST", "/api/v1/alarms/7/acknowledge", {"x": "x" * 20_000}, 413),
        ("POST", "/api/v1/time", {}, 400),
        ("POST", "/api/v1/time", {"speed": 1, "paused": True}, 400),
        ("POST", "/api/v1/time", {"speed": 0}, 400),
        ("POST", "/api/v1/time", {"speed": -1}, 400),
        ("POST", "/api/v1/time", {"speed": 1e7}, 400),
        ("POST", "/api/v1/time", {"speed": None}, 400),
        ("POST", "/api/v1/time", {"jump": "tomorrow"}, 400),
        ("POST", "/api/v1/time", {"jump": "0001-01-01T00:00:00+23:00"}, 400),
        ("POST", "/api/v1/time", {"jump": "2000-01-01"}, 400),
        ("POST", "/login", {"token": "x"}, 401),
        ("POST", "/login", {"token": ""}, 400),
        ("POST", "/login", {}, 400),
    ],
)
def test_odd_requests_are_refused_and_change_nothing(method: str, path: str, body: Any, status: int) -> None:
    async def work(window: Window) -> None:
        answer = await window.ask(method, path, body)
        assert answer.status_code == status, answer.text
        if method != "HEAD":
            assert answer.json().keys() == {"message"}
            assert len(answer.json()["message"]) < 600
        assert answer.headers["cache-control"] == "no-store"
        assert window.network.done == []

    run(work)


def test_a_fault_is_told_by_its_name_alone(caplog: pytest.LogCaptureFixture) -> None:
    async def work(window: Window) -> None:
        async def fail(*_: object) -> None:
            raise ZeroDivisionError(f"the key is {key}")

        key = "01" + "23"
        window.network.cut = fail  # type: ignore[method-assign]
        answer = await window.ask("POST", "/api/v1/links/Beijing-Jinan/cut", {"on": True})
        assert (answer.status_code, answer.json()) == (503, {"message": "internal error (ZeroDivisionError)"})

    run(work)
    assert "0123" not in caplog.text


def test_no_secret_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    secrets: list[str] = []

    async def work(window: Window) -> None:
        link = window.server.app.sessions.offer("operator")
        answer = await window.ask("POST", "/login", {"token": link}, role=None)
        cookie = answer.headers["set-cookie"].partition(";")[0]
        await window.ask("POST", "/login", {"token": link}, role=None)
        await window.ask("POST", "/login", {"token": link + "x" * 200}, role=None)
        other = (await window.ask("POST", "/api/v1/login-links", {"role": "viewer"}, role=None, headers={"Cookie": cookie})).json()["url"]
        body = {"sender": "Beijing", "recipient": "Jinan", "text": "attack at dawn"}
        await window.ask("POST", "/api/v1/messages", body, role=None, headers={"Cookie": cookie})
        await window.ask("POST", "/api/v1/links/Beijing-Jinan/cut", {"on": True}, role=None, headers={"Cookie": cookie})
        secrets.extend((link, cookie.partition("=")[2], other.partition("=")[2], "attack at dawn"))

    run(work)
    own = "".join(record.getMessage() for record in caplog.records if record.name.startswith(("tiandi", "uvicorn", "asyncio")))
    assert "an operator acted" in own
    assert not [secret for secret in secrets if secret in own]


# The server.


async def raw(window: Window, data: bytes, *, wait_s: float = 5.0) -> bytes:
    host, _, port = window.server.address.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(data)
    try:
        async with asyncio.timeout(wait_s):
            return await reader.read()
    except ConnectionResetError:
        return b""
    finally:
        writer.close()


def test_requests_that_are_no_http_or_have_too_long_headers_are_refused() -> None:
    async def work(window: Window) -> None:
        assert b" 400 " in await raw(window, b"\x16\x03\x01 nonsense\r\n\r\n")
        assert b" 400 " in await raw(window, b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 100_000)
        assert b" 400 " in await raw(window, b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n")
        assert b" 421 " in await raw(window, b"GET / HTTP/1.0\r\n\r\n")

    run(work)


@pytest.mark.parametrize("data", [b"", b"GET / HTT", b"POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n{"])
def test_whoever_sends_no_whole_request_is_cut_off(data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tiandi.web.server.REQUEST_TIMEOUT_S", 0.2)
    whole = b"GET /nothing HTTP/1.1\r\nHost: localhost\r\n\r\n"

    async def work(window: Window) -> None:
        assert b"HTTP/1.1 2" not in await raw(window, data)
        if data:
            assert b"HTTP/1.1 404" in await raw(window, whole + data)

    run(work)


def test_a_path_with_dots_leads_nowhere() -> None:
    async def work(window: Window) -> None:
        for path in ("/static/../app.py", "/static/%2e%2e/app.py", "/../../etc/passwd", "//etc/passwd", "/static//style.css", "/%00"):
            answer = await raw(window, f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
            assert b" 404 " in answer.partition(b"\r\n")[0], path

    run(work)


def test_the_page_is_for_this_machine_alone() -> None:
    async def work(window: Window) -> None:
        port = int(window.server.address.rpartition(":")[2])
        with pytest.raises(StateError, match="port"):
            WindowServer(window.network, port=port)
        for address in ("0.0.0.0", "192.0.2.1", "localhost", ""):
            with pytest.raises(InputError, match="this machine alone"):
                WindowServer(window.network, address=address)

    run(work)


def test_stopping_ends_the_streams_at_once() -> None:
    async def work(window: Window) -> None:
        async with window.follow() as told:
            await told.next("network")
            async with asyncio.timeout(1.5):
                await window.server.stop()
            with pytest.raises(EOFError):
                await told.next("event")

    run(work)


def test_where_to_jump_is_a_time_or_the_next_pass() -> None:
    assert formats.TimeChange(jump="next pass").moment() == "next pass"
    assert json.loads(msgspec.json.encode(formats.TimeChange(paused=False))) == {"paused": False}
    with pytest.raises(TiandiError, match="jump"):
        formats.TimeChange(jump="now").moment()
