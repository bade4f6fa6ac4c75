"""The control page: what it tells, to whom, the stream of a run, and the page in a browser."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.computing.control.bench import Bench, electronics
from tests.computing.control.bench import Node as Experiment
from tests.web.browser import FLAGS, find_chromium
from tiandi.computing.control.bringup import Session, bring_up, open_session
from tiandi.computing.control.experiment import Curves, Findings, Measurement
from tiandi.computing.control.graph import Graph
from tiandi.computing.control.knowledge import Knowledge
from tiandi.computing.control.page.board import encoded
from tiandi.computing.control.page.looking import Folder, board_of
from tiandi.computing.control.page.report import report
from tiandi.computing.control.page.server import MOST_CONNECTIONS, News, PageServer
from tiandi.computing.control.store import Store
from tiandi.computing.instruments.program import IntArray
from tiandi.errors import InputError, StateError

EVIL = "</script><script>alert(1)</script>"


def found(knowledge: Knowledge, targets: IntArray) -> Measurement:
    """Values for all; qubit 2 fails with a reason that looks like markup."""
    yield from ()
    knowledge.flag("qubit", 5, "dead", "nothing answers")
    verdicts = np.where(targets == 2, EVIL, "").astype(object)
    x = np.linspace(0.0, 1e-6, 30)
    y = np.exp(-x / 4e-7) * np.ones((len(targets), 1))
    return Findings(
        {"t1_s": 2e-5 + 1e-6 * targets}, {"t1_s": np.full(len(targets), 3e-7)}, verdicts, curves=Curves(x, y, y, "delay (s)", "population")
    )


@pytest.fixture
def session(tmp_path: Path) -> Session:
    graph = Graph([Experiment("decay", does=found), Experiment("later", after=("decay",))])
    session = open_session(Bench.of(electronics()), graph, store=Store(tmp_path / "chip"))
    bring_up(session, ["decay"])
    return session


@pytest.fixture
def server(session: Session) -> Iterator[PageServer]:
    with PageServer(lambda: board_of(session), News(), 0) as server:
        yield server


def ask(server: PageServer, path: str, **headers: str) -> tuple[int, http.client.HTTPResponse, bytes]:
    host = server.address.removeprefix("http://")
    connection = http.client.HTTPConnection(host, timeout=5)
    connection.request("GET", path, headers=headers)
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, answer, body


def test_what_it_tells(server: PageServer) -> None:
    chip = json.loads(ask(server, "/api/chip")[2])
    assert chip["experiments"][0]["counts"] == {"never": 0, "good": 10, "stale": 0, "failed": 1}
    assert chip["flags"][0]["fault"] == "dead"
    assert {"name": "t1_s", "element": "qubit"} in chip["parameters"]
    values = json.loads(ask(server, "/api/parameter?name=t1_s")[2])
    assert values["value"][3] == pytest.approx(2.3e-5)
    assert values["value"][2] is None
    states = json.loads(ask(server, "/api/parameter?name=state:decay")[2])["value"]
    assert (states[2], states[3]) == ("failed", "good")
    element = json.loads(ask(server, "/api/element?kind=qubit&index=2")[2])
    assert element["experiments"][0]["reason"] == EVIL
    fit = json.loads(ask(server, "/api/fit?experiment=decay&index=3")[2])
    assert fit["y"][0] == 1.0
    assert fit["x_name"] == "delay (s)"


@pytest.mark.parametrize(
    ("path", "status", "word"),
    [
        ("/api/parameter?name=nonsense", 400, "must be one of"),
        ("/api/parameter", 400, "name"),
        ("/api/element?kind=qubit&index=99", 400, "must be from 0 to 11"),
        ("/api/element?kind=qubit&index=-1", 400, "whole number"),
        ("/api/element?kind=moon&index=1", 400, "qubit, coupler"),
        ("/api/fit?experiment=later&index=1", 400, "no curve"),
        ("/api/fit?experiment=..%2F..%2Fetc&index=1", 400, "must be one of"),
        ("/static/../server.py", 404, "no such path"),
        ("/nothing", 404, "no such path"),
    ],
)
def test_what_cannot_be_asked(server: PageServer, path: str, status: int, word: str) -> None:
    got, _, body = ask(server, path)
    assert got == status
    assert word in json.loads(body)["detail"]


def test_the_page_allows_nothing_from_elsewhere(server: PageServer) -> None:
    status, answer, body = ask(server, "/")
    assert status == 200
    assert b"board.js" in body
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    for name in ("board.js", "style.css", "icon.svg"):
        assert ask(server, f"/static/{name}")[0] == 200
        assert b"http://" not in ask(server, f"/static/{name}")[2].replace(b"http://www.w3.org/2000/svg", b"")


@pytest.mark.parametrize("headers", [{"Host": "evil.example"}, {"Host": "evil.example:80"}, {"Sec-Fetch-Site": "cross-site"}])
def test_another_site_and_another_name_are_refused(server: PageServer, headers: dict[str, str]) -> None:
    assert ask(server, "/api/chip", **headers)[0] == 403
    assert server.address.startswith("http://127.0.0.1:")


def test_events_tell_of_the_run(session: Session) -> None:
    news = News()
    session.runner.progress = news.step
    with PageServer(lambda: board_of(session), news, 0) as server:
        connection = http.client.HTTPConnection(server.address.removeprefix("http://"), timeout=5)
        connection.request("GET", "/api/events")
        stream = connection.getresponse()
        assert stream.headers["Content-Type"].startswith("text/event-stream")
        worker = threading.Thread(target=bring_up, args=(session, ["later"]))
        worker.start()
        lines = []
        while not any('"later"' in line and '"done": 10' in line for line in lines):
            lines.append(stream.readline().decode())
        worker.join()
        connection.close()
    assert any(line.startswith("event: step") for line in lines)


def test_a_folder_is_read_again_when_it_was_written(session: Session) -> None:
    assert session.store is not None
    folder = Folder(session.store, session.graph)
    assert folder.board() is folder.board()
    session.knowledge.flag("coupler", 1, "coupler broken", "no effect")
    session.save()
    assert len(folder.board().chip()["flags"]) == 2
    session.store.file.write_text("nonsense =", encoding="utf-8")
    with pytest.raises(StateError):
        folder.board()


def test_looking_at_a_session_adds_nothing_to_it(session: Session) -> None:
    before = set(session.condition.progress)
    board_of(session).chip()
    assert set(session.condition.progress) == before


def test_ports_that_cannot_be(session: Session, server: PageServer) -> None:
    with pytest.raises(InputError):
        PageServer(lambda: board_of(session), News(), 70_000)
    with pytest.raises(StateError, match="cannot be listened to"):
        PageServer(lambda: board_of(session), News(), int(server.address.rpartition(":")[2]))


def test_one_connection_too_many_is_closed(server: PageServer) -> None:
    host = server.address.removeprefix("http://")
    held = [http.client.HTTPConnection(host, timeout=5) for _ in range(MOST_CONNECTIONS)]
    for one in held:
        one.request("GET", "/")
        one.getresponse().read()
    with pytest.raises((http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError)):
        ask(server, "/")
    for one in held:
        one.close()


def test_a_report_is_one_file_without_anything_from_elsewhere(session: Session) -> None:
    text = report(board_of(session))
    assert "/static/" not in text
    assert "src=" not in text
    assert EVIL not in text
    assert text.count("</script>") == 2
    data = json.loads(text.partition('id="data">')[2].partition("</script>")[0])
    assert set(data["elements"]) == {"qubit:0", "qubit:2"}
    assert data["elements"]["qubit:2"]["element"]["experiments"][0]["reason"] == EVIL
    assert set(data["parameters"]) >= {"t1_s", "flux_bias_v", "state:decay"}
    with pytest.raises(InputError, match="must be from 0 to 11"):
        report(board_of(session), qubits=[99])


def test_text_in_json_begins_no_tag() -> None:
    assert "<" not in encoded({"a": EVIL})
    assert json.loads(encoded({"a": EVIL})) == {"a": EVIL}


def test_the_page_in_a_browser(session: Session, tmp_path: Path) -> None:
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as play:
        path = find_chromium(play.chromium.executable_path)
        if path is None:
            pytest.skip("no chromium here")
        file = tmp_path / "report.html"
        file.write_text(report(board_of(session), qubits=[3]), encoding="utf-8")
        browser = play.chromium.launch(executable_path=path, args=list(FLAGS))
        with PageServer(lambda: board_of(session), News(), 0) as server:
            for address, width in ((server.address, 1300), (server.address, 390), (file.as_uri(), 1300)):
                page = browser.new_page(viewport={"width": width, "height": 800})
                troubles: list[str] = []
                page.on("console", lambda message, into=troubles: into.append(message.text) if message.type == "error" else None)
                page.on("pageerror", lambda error, into=troubles: into.append(str(error)))
                page.goto(address)
                page.wait_for_selector("html[data-ready]")
                page.locator('[data-key="qubit 3"]').click()
                page.wait_for_selector("#element .plots .model")
                assert page.locator(".lattice .qubit").count() == 12
                assert page.evaluate("document.documentElement.scrollWidth") <= width
                assert "23" in page.locator("#element .facts").inner_text()
                assert troubles == []
                page.close()
        browser.close()
