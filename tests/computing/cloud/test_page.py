"""The cloud's page: its doors over HTTP, and in a real browser over a running cloud of twins."""

from __future__ import annotations

import asyncio
import json
import os
import re
import threading
import time
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest

from tests.computing.cloud import shown
from tests.computing.cloud.stores import PATIENCE_S, sqlite
from tests.web.browser import FLAGS, find_chromium
from tiandi.computing.cloud import users
from tiandi.computing.cloud.page import SESSION_LIFE_S, SESSIONS_OF_ONE, Sessions, _set_cookie
from tiandi.computing.cloud.pool import ProcessPool, Reader
from tiandi.computing.cloud.schema import create_tables
from tiandi.computing.cloud.server import CloudServer, create_app, listen
from tiandi.computing.cloud.service import Cloud

STATIC = files("tiandi.computing.cloud") / "static"
DESK, PHONE = (1280, 800), (390, 844)
Given = TypeVar("Given")


class Running:
    """A cloud that serves from a thread; ``key`` is anna's."""

    def __init__(self, folder: Path) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self.cloud, self.server, self.key = self.call(self._begin(folder))

    def call(self, work: Coroutine[Any, Any, Given]) -> Given:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(PATIENCE_S)

    async def _begin(self, folder: Path) -> tuple[Cloud, CloudServer, str]:
        database = await sqlite(folder)()
        await create_tables(database)
        await database.run(users.add_user, "anna", users.Quotas())
        key = await database.run(users.add_key, "anna")
        pool = ProcessPool(shown.CATALOGUE, size=1, time_limit_s=PATIENCE_S, memory_byte=4 << 30)
        cloud = Cloud(database, shown.machines(), reader=Reader(shown.CATALOGUE), runner=pool)
        await cloud.start()
        await pool.start()
        server = CloudServer(create_app(cloud), listen(0))
        await server.start()
        return cloud, server, key

    def close(self) -> None:
        async def end() -> None:
            await self.server.stop()
            await self.cloud.close(grace_s=0.1)

        self.call(end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def client(self, **headers: str) -> httpx.Client:
        return httpx.Client(base_url=self.server.address, headers=headers, timeout=PATIENCE_S, trust_env=False)

    def browser_client(self) -> httpx.Client:
        """As the page asks."""
        return self.client(**{"Origin": self.server.address, "X-Tiandi": "1", "Sec-Fetch-Site": "same-origin"})


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    cloud = Running(tmp_path_factory.mktemp("page"))
    yield cloud
    cloud.close()


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="not run: playwright is not installed")
    with playwright.sync_playwright() as started:
        where = find_chromium(started.chromium.executable_path)
        if where is None:
            pytest.skip("not run: this machine has no chromium, and none could be brought (make browser)")
        try:
            browser = started.chromium.launch(executable_path=where, args=list(FLAGS))
        except playwright.Error as error:
            pytest.skip(f"not run: {where} does not start: {str(error).splitlines()[0]}")
        yield browser
        browser.close()


@contextmanager
def opened(
    chromium: Any, running: Running, *, size: tuple[int, int] = DESK, scheme: str = "dark", locale: str = "en-GB", logged_in: bool = True
) -> Iterator[Any]:
    """The page; at the end nothing may have gone wrong in it, and nothing have been asked of others."""
    context = chromium.new_context(
        viewport={"width": size[0], "height": size[1]}, color_scheme=scheme, locale=locale, reduced_motion="reduce", has_touch=size == PHONE
    )
    page = context.new_page()
    page.set_default_timeout(20_000)
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    # The browser itself notes every refused request as an error: those are answers, too.
    page.on(
        "console",
        lambda said: (
            wrong.append(said.text) if said.type in ("error", "warning") and "responded with a status of" not in said.text else None
        ),
    )
    page.on("request", lambda asked: None if asked.url.startswith(running.server.address + "/") else wrong.append(asked.url))
    try:
        page.goto(running.server.address)
        page.wait_for_selector("html[data-ready]", state="attached")
        if logged_in:
            page.locator("input[name=key]").fill(running.key)
            page.locator("#login button").click()
            page.locator("#views button.jobs").wait_for()
        yield page
        assert wrong == []
    finally:
        context.close()


def picture(page: Any, name: str) -> None:
    if kept := os.environ.get("TIANDI_SCREENSHOTS"):
        Path(kept).mkdir(parents=True, exist_ok=True)
        page.screenshot(path=Path(kept) / f"cloud-{name}.png")


def words(language: str) -> dict[str, str]:
    return json.loads((STATIC / "words" / f"{language}.json").read_text(encoding="utf-8"))


def test_every_word_is_there_in_every_language_with_the_same_blanks() -> None:
    english, chinese = words("en"), words("zh")
    assert english.keys() == chinese.keys()
    for key, text in english.items():
        assert sorted(re.findall(r"\{\w+\}", text)) == sorted(re.findall(r"\{\w+\}", chinese[key])), key
    for module in STATIC.iterdir():
        if module.name.endswith(".js"):
            said = set(re.findall(r'\bsay\("(\w+)"', module.read_text(encoding="utf-8")))
            assert said <= english.keys(), module.name


def test_no_file_asks_elsewhere_or_writes_markup_or_styles() -> None:
    for module in STATIC.iterdir():
        if module.name.endswith((".js", ".html", ".css")):
            text = module.read_text(encoding="utf-8")
            assert not re.search(r"https?://(?!www\.w3\.org)", text), module.name
            assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|style=|sessionStorage", text), module.name


def test_the_page_allows_its_own_files_alone(running: Running) -> None:
    with running.client() as client:
        for path in ("/", "/static/main.js", "/static/words/zh.json", "/session"):
            answer = client.get(path)
            assert answer.status_code == 200, path
            policy = answer.headers["content-security-policy"]
            assert "default-src 'none'" in policy
            assert "unsafe" not in policy
            assert "frame-ancestors 'none'" in policy
            assert answer.headers["x-content-type-options"] == "nosniff"
        assert client.get("/static/words/en.json").headers["content-type"] == "application/json"
        for path in ("/static/../page.py", "/static/%2e%2e/page.py", "/static/", "/static", "/static/words", "/index.html"):
            assert client.get(path).status_code == 404, path
        assert client.post("/", content=b"").status_code == 405


def test_a_session_is_as_good_as_its_key_for_its_own_page(running: Running) -> None:
    body = {"machine": "tianyan-176", "programs": ["M Q0"], "shots": 1}
    with running.browser_client() as client:
        assert client.get("/session").json() == {"user": None}
        assert client.get("/api/v1/user").status_code == 401
        answer = client.post("/session", json={"key": running.key})
        cookie = answer.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=Strict" in cookie
        assert running.key not in cookie
        assert client.get("/session").json() == {"user": "anna"}
        assert client.get("/api/v1/user").json()["name"] == "anna"
        assert client.post("/api/v1/check", json=body).status_code == 200
        for name, value in (("X-Tiandi", ""), ("Origin", "http://evil.example"), ("Origin", ""), ("Sec-Fetch-Site", "same-site")):
            assert client.post("/api/v1/check", json=body, headers={name: value}).status_code == 403, name
        assert client.get("/api/v1/user", headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403
        assert client.get("/api/v1/user", headers={"Authorization": "Bearer wrong"}).status_code == 401
        assert client.delete("/session").json() == {"user": None}
        client.cookies.clear()
        assert client.get("/api/v1/user", headers={"Cookie": cookie.partition(";")[0]}).status_code == 401


def test_a_wrong_key_or_body_opens_no_session(running: Running) -> None:
    with running.browser_client() as client:
        for key in ("", "0" * 64, running.key[:-1]):
            answer = client.post("/session", json={"key": key})
            assert answer.status_code == 401
            assert "set-cookie" not in answer.headers
        assert client.post("/session", json={"key": running.key}, headers={"Origin": "http://evil.example"}).status_code == 403
        assert client.post("/session", json=[1]).status_code == 400
        assert client.post("/session", json={"key": "x" * 2000}).status_code == 413
        assert client.put("/session").status_code == 405


def test_a_revoked_key_ends_its_sessions(running: Running) -> None:
    key = running.call(running.cloud.database.run(users.add_key, "anna"))
    with running.browser_client() as client:
        client.post("/session", json={"key": key})
        assert client.get("/api/v1/user").status_code == 200
        running.call(running.cloud.database.run(users.revoke_key, key[:16]))
        assert client.get("/api/v1/user").status_code == 401
        assert client.get("/session").json() == {"user": None}


def test_over_https_the_cookie_is_secure() -> None:
    given: Any = {"scheme": "https", "headers": [(b"host", b"cloud.example:8500")]}
    assert _set_cookie(given, "x", 1)[1] == b"tiandi-cloud-8500=x; Path=/; Max-Age=1; HttpOnly; SameSite=Strict; Secure"


def test_sessions_end_by_themselves_and_of_too_many_the_oldest_goes() -> None:
    now_s = 0.0
    sessions = Sessions(lambda: now_s)
    berts = sessions.give("b" * 64, "bert")
    given = [sessions.give("a" * 64, "anna") for _ in range(SESSIONS_OF_ONE + 1)]
    assert sessions.key(given[0]) is None
    assert sessions.key(given[1]) == "a" * 64
    assert sessions.key(berts) == "b" * 64
    now_s = SESSION_LIFE_S
    assert sessions.key(given[1]) is None
    assert sessions.key("") is None


def test_a_job_is_submitted_watched_and_read(chromium: Any, running: Running) -> None:
    with opened(chromium, running, logged_in=False) as page:
        picture(page, "login")
        page.locator("input[name=key]").fill("0" * 64)
        page.locator("#login button").click()
        page.get_by_role("alert").get_by_text(words("en")["wrong_key"]).wait_for()
        page.locator("input[name=key]").fill(running.key)
        page.keyboard.press("Enter")
        page.get_by_text("66 qubits, 110 couplers (176 is their sum)").first.wait_for()
        assert page.evaluate("JSON.stringify([document.cookie, {...sessionStorage}, {...localStorage}])") == '["",{},{}]'
        page.get_by_role("button", name="Submit", exact=True).first.click()
        page.locator("textarea").fill("M Q999")
        page.locator("input[name=compile]").uncheck()
        page.get_by_role("button", name="Check only").click()
        page.get_by_role("alert").get_by_text("qubits are 0 to 65").wait_for()
        picture(page, "submit-refused")
        page.get_by_role("button", name="QCIS").click()
        page.locator("input[name=compile]").check()
        page.locator("input[name=name]").fill("a <b>pair</b>")
        page.locator("input[name=shots]").fill("2000")
        page.locator("#submit button.main").click()
        page.locator("#jobs .state.completed").wait_for()
        page.locator(".histogram tbody tr").first.wait_for()
        assert page.locator("#jobs h2").inner_text() == "a <b>pair</b>"
        text = page.locator("#jobs").inner_text()
        assert "Outcomes of 2,000 shots" in text
        assert "Engine: " in text
        outcomes = page.locator(".histogram code").all_inner_texts()
        assert sorted(outcomes[:2]) == ["00", "11"]
        counts = [int(told.split(" ")[0].replace(",", "")) for told in page.locator(".histogram td span").all_inner_texts()]
        assert sum(counts) == 2000
        picture(page, "job-dark")
        page.locator("summary").click()
        assert "CZ Q0 Q1" in page.locator("#jobs pre").inner_text()
        assert "2,000" in page.locator(".totals").inner_text()
        # Who comes again is still there, until logging out.
        page.reload()
        page.get_by_text("a <b>pair</b>").wait_for()
        page.get_by_role("button", name="Log out").click()
        page.locator("input[name=key]").wait_for()
        assert page.get_by_text("pair").count() == 0
        assert "pair" not in page.content()


def test_a_job_is_cancelled_and_others_are_heard_of(chromium: Any, running: Running) -> None:
    with opened(chromium, running, size=PHONE, scheme="light") as page, running.client(Authorization=f"Bearer {running.key}") as client:
        page.get_by_role("button", name="Jobs").click()
        body = {"machine": "sleeper-60000", "programs": ["M Q0"], "shots": 10, "name": "by a program"}
        job = client.post("/api/v1/jobs", json=body).json()
        page.locator(f"[data-job='{job['id']}'] .running").first.wait_for()
        picture(page, "jobs-phone")
        page.locator(f"[data-job='{job['id']}']").click()
        page.get_by_role("button", name="Cancel job").click()
        page.locator("#jobs .state.cancelled").wait_for()
        assert client.get(f"/api/v1/jobs/{job['id']}").json()["state"] == "cancelled"
        page.get_by_role("button", name="Submit", exact=True).first.click()
        picture(page, "submit-phone")


def test_the_map_shows_every_qubit_and_what_it_is_like(chromium: Any, running: Running) -> None:
    told = shown.machines()["origin-wukong"].calibration()
    with opened(chromium, running) as page:
        assert page.locator(".qubit").count() == 66
        assert page.locator(".coupler").count() == 110
        strokes = page.evaluate("[...document.querySelectorAll('.wire')].map((wire) => getComputedStyle(wire).stroke)")
        assert len(set(strokes)) > 50, "couplers are coloured by their error"
        picture(page, "map-dark")
        page.locator("#list").get_by_role("button", name="Origin Wukong").click()
        page.locator("#map h2", has_text="Origin Wukong").wait_for()
        assert page.locator(".qubit").count() == 72
        assert page.locator(".qubit.off .cross").count() == len(shown.BROKEN_QUBITS)
        assert page.locator(".coupler.off .cross").count() == sum(not coupler["works"] for coupler in told["couplers"])
        page.locator("[data-qubit='10']").hover()
        best = f"{told['qubits'][10]['t1_s'] * 1e6:.3g} µs"
        assert best in page.locator("#detail").inner_text()
        # By the keyboard alone: the first qubit, the one below it, and its neighbours' errors.
        page.locator("[data-qubit='0']").focus()
        page.keyboard.press("ArrowDown")
        assert page.locator("#detail h3").first.inner_text() == "Qubit 6"
        page.keyboard.press("ArrowRight")
        assert "disabled" in page.locator("#detail").inner_text()
        page.locator("#map select").select_option("t2_s")
        worst = min(qubit["t2_s"] for qubit in told["qubits"] if qubit["works"])
        assert f"{worst * 1e6:.3g} µs worst" in page.locator(".legend").first.inner_text()
        picture(page, "map-t2-dark")
        page.locator("#list").get_by_role("button", name="sleeper-60000").click()
        page.get_by_text(words("en")["no_map"]).wait_for()


@pytest.mark.parametrize(("size", "scheme", "locale"), [(PHONE, "dark", "en-GB"), (DESK, "light", "zh-CN")])
def test_both_sizes_schemes_and_languages(chromium: Any, running: Running, size: tuple[int, int], scheme: str, locale: str) -> None:
    with opened(chromium, running, size=size, scheme=scheme, locale=locale) as page:
        page.locator("#list").get_by_role("button", name="Zuchongzhi 3.2").click()
        page.locator("#map h2", has_text="3.2").wait_for()
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        if size == PHONE:
            page.locator("[data-qubit='30']").scroll_into_view_if_needed()
            page.locator("[data-qubit='30'] circle").tap()
        else:
            page.locator("[data-qubit='30'] circle").click()
        page.locator("#detail").scroll_into_view_if_needed()
        picture(page, f"machine-{size[0]}-{scheme}-{locale}")
        page.evaluate("document.documentElement.scrollTo(0, 0)")
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == (
            "rgb(233, 238, 244)" if scheme == "light" else "rgb(4, 7, 13)"
        )
        assert words("zh" if locale == "zh-CN" else "en")["title"] in page.title()
        page.locator("[data-key=language]").click()
        page.get_by_role("heading", name=words("en" if locale == "zh-CN" else "zh")["title"]).wait_for()


def photonic_job(client: httpx.Client, *programs: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """A job that has ended, and what is told of its first circuit's clicks: the page then waits for neither."""
    body = {"machine": "jiuzhang-2.0-0.15w", "programs": [json.dumps(program) for program in programs], "shots": 2000, "name": "light"}
    job = client.post("/api/v1/jobs", json=body).json()["id"]
    end_s = time.monotonic() + PATIENCE_S
    while client.get(f"/api/v1/jobs/{job}").json()["state"] in ("queued", "running"):
        assert time.monotonic() < end_s
        time.sleep(0.05)
    return job, client.get(f"/api/v1/jobs/{job}/clicks").json()


def test_of_a_photonic_job_clicks_and_correlations_are_drawn_beside_the_ideal(chromium: Any, running: Running) -> None:
    with running.client(Authorization=f"Bearer {running.key}") as client:
        job, told = photonic_job(client, {"sampler": "squashed"}, {"sampler": "squashed", "modes": [3, 4, 5]})
        client.get(f"/api/v1/jobs/{job}/clicks?first=1")
    with opened(chromium, running, size=PHONE) as page:
        page.get_by_role("button", name="Jobs").click()
        page.locator(f"[data-job='{job}']").click()
        page.locator(".totals-plot").wait_for()
        assert page.locator(".histogram").count() == 0, "nearly every outcome of 144 modes comes once"
        assert page.locator(".totals-plot rect.bars").count() == sum(number > 0 for number in told["totals"]["samples"])
        for name in ("ideal", "points", "band"):
            assert page.locator(f".pairs-plot path.{name}").count() == 1
        assert page.locator(".pairs-plot .points").get_attribute("d").count("M") == len(told["pairs"]["modes"]) == 2000
        assert page.locator(".pairs-plot .crosses").count() == 0, "nothing is known of an experiment here"
        text = page.locator(".clicks").inner_text()
        mean = sum(total * number for total, number in enumerate(told["totals"]["samples"])) / 2000
        assert f"samples {mean:.2f}, ideal {told['totals']['ideal_mean']:.2f}" in text
        assert "2,000 of 10,296 pairs" in text
        for plot in page.locator(".plot").all():
            about = plot.get_attribute("aria-describedby")
            assert len(page.locator(f"#{about}").text_content()) > 20
        page.locator("[data-key=figures]").click()
        rows = page.locator(".told").first.locator("tbody tr").all_inner_texts()
        assert any(row.split()[:2] == ["6", f"{told['totals']['samples'][6]:,}"] for row in rows)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        picture(page, "clicks-phone-dark")
        # Of few modes each outcome is told, too.
        page.locator("[data-key=circuit]").select_option(index=1)
        page.locator(".histogram tbody tr").first.wait_for()
        assert page.locator(".histogram code").first.inner_text() in ("000", "100", "010", "001")
        assert page.locator(".pairs-plot .points").get_attribute("d").count("M") == 3


def test_axe_finds_no_serious_fault(chromium: Any, running: Running) -> None:
    axe = pytest.importorskip("axe_playwright_python", reason="not run: axe is not installed")
    script = next(Path(axe.__file__).parent.rglob("axe.min.js")).read_text(encoding="utf-8")

    def faults(page: Any) -> list[str]:
        return [
            fault["id"]
            for fault in page.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]
            if fault["impact"] in ("serious", "critical")
        ]

    with opened(chromium, running, scheme="light") as page, running.client(Authorization=f"Bearer {running.key}") as client:
        page.evaluate(script)
        assert faults(page) == []
        page.get_by_role("button", name="Submit", exact=True).first.click()
        assert faults(page) == []
        body = {
            "machine": "tianyan-176",
            "programs": ["\n".join([f"H Q{n}" for n in range(20)] + [f"M Q{n}" for n in range(20)])],
            "shots": 500,
        }
        job = client.post("/api/v1/jobs", json={**body, "name": "twenty coins"}).json()
        page.get_by_role("button", name="Jobs").click()
        page.locator(f"[data-job='{job['id']}']").click()
        page.locator(".histogram").wait_for()
        assert faults(page) == []
        picture(page, "wide-light")
        lit, _ = photonic_job(client, {"sampler": "squashed", "modes": list(range(20))})
        page.locator("[data-key=back]").click()
        page.locator(f"[data-job='{lit}'] .completed").first.wait_for()
        page.locator(f"[data-job='{lit}']").click()
        page.locator(".pairs-plot").wait_for()
        assert faults(page) == []
        page.get_by_role("button", name="Log out").click()
        page.locator("input[name=key]").wait_for()
        assert faults(page) == []
