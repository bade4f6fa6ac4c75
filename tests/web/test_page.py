"""The page in a real browser: everything of "Try it", time, both sizes and schemes, languages, the keyboard, and what the page costs."""

from __future__ import annotations

import ast
import json
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from tests.web.browser import FLAGS, Mood, SampleNetwork, find_chromium, served
from tiandi.scenario.living import LivingNetwork
from tiandi.scenario.scenario import load_scenario

STATIC = files("tiandi.web") / "static"
DESK, PHONE = (1280, 800), (390, 844)
TELLING = ("tell", "_tell_of_block", "_alarm")
FIRST_PICTURE_LIMIT_S = 20.0
"""Far above what is measured: this notices a page that hangs, the benchmark how fast it is."""


def words(language: str) -> dict[str, Any]:
    return json.loads((STATIC / "words" / f"{language}.json").read_text(encoding="utf-8"))


def test_every_language_has_the_same_words():
    assert words("en").keys() == words("zh").keys()


def test_every_word_has_the_same_blanks_in_every_language():
    english, chinese = words("en"), words("zh")
    for key in english.keys() - {"names", "sentences"}:
        assert sorted(re.findall(r"\{\w+\}", english[key])) == sorted(re.findall(r"\{\w+\}", chinese[key])), key
    for told, own in chinese["sentences"]:
        assert sorted(re.findall(r"\{\w+\}", told)) == sorted(re.findall(r"\{\w+\}", own)), told


def sentences_told() -> set[str]:
    """What the source of a living network tells, an x in each blank, in every form that it has."""
    told: set[str] = set()
    for module in (files("tiandi.scenario") / name for name in ("living.py", "living_core.py")):
        for call in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr in TELLING:
                told.update(sentence for argument in call.args for sentence in forms(argument) if re.search(r"[a-wyz]{2} ", sentence))
    return told


def forms(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Constant):
        return [str(node.value)]
    if isinstance(node, ast.IfExp):
        return [*forms(node.body), *forms(node.orelse)]
    if isinstance(node, ast.FormattedValue):
        return forms(node.value) if isinstance(node.value, ast.IfExp) else ["x"]
    if isinstance(node, ast.JoinedStr):
        return ["".join(parts) for parts in product(*map(forms, node.values))]
    return []


def test_every_sentence_of_a_living_network_is_known_in_every_language():
    patterns = [re.compile(re.sub(r"\\{\w+\\}", ".+", re.escape(told))) for told, _ in words("zh")["sentences"]]
    told = sentences_told()
    assert len(told) > 15
    # The last two patterns only part a sentence: they know nothing.
    assert [sentence for sentence in sorted(told) if not any(pattern.fullmatch(sentence) for pattern in patterns[:-2])] == []


def test_every_word_that_the_page_says_is_known():
    known = words("en").keys()
    for module in STATIC.iterdir():
        if module.name.endswith(".js"):
            said = set(re.findall(r'\bsay\("(\w+)"', module.read_text(encoding="utf-8")))
            assert said <= known, (module.name, said - known)


def test_no_module_asks_elsewhere_or_writes_markup():
    for module in STATIC.iterdir():
        if module.name.endswith((".js", ".html", ".css")):
            text = module.read_text(encoding="utf-8")
            assert not re.search(r"https?://(?!www\.w3\.org)", text), module.name
            assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|style=", text), module.name


def test_bundles_stay_small():
    size = sum(len((STATIC / "vendor" / name).read_bytes()) for name in ("three.js", "uplot.js"))
    assert size < 900_000


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
    chromium: Any,
    network: SampleNetwork,
    *,
    size: tuple[int, int] = DESK,
    scheme: str = "dark",
    role: str = "operator",
    query: str = "?lite",
) -> Iterator[Any]:
    """The page, logged in; at the end nothing may have gone wrong in it, and nothing have been asked of others."""
    with served(network) as server:
        context = chromium.new_context(
            viewport={"width": size[0], "height": size[1]}, color_scheme=scheme, locale="en-GB", reduced_motion="reduce"
        )
        page = context.new_page()
        wrong: list[str] = []
        page.on("pageerror", lambda error: wrong.append(str(error)))
        # The browser itself notes every refused request as an error: those are answers, too.
        page.on(
            "console",
            lambda said: wrong.append(said.text) if said.type == "error" and "responded with a status of" not in said.text else None,
        )
        page.on("request", lambda asked: None if asked.url.startswith((server.address, "data:", "blob:")) else wrong.append(asked.url))
        address = server.login_link(role).replace("/#", f"/{query}#")
        page.goto(address)
        page.wait_for_selector("html[data-ready]", state="attached", timeout=FIRST_PICTURE_LIMIT_S * 1e3)
        try:
            yield page
            if kept := os.environ.get("TIANDI_SCREENSHOTS"):
                name = os.environ["PYTEST_CURRENT_TEST"].rpartition("::")[2].split(" ")[0]
                Path(kept).mkdir(parents=True, exist_ok=True)
                page.screenshot(path=Path(kept) / (re.sub(r"\W+", "-", name).strip("-") + ".png"))
            assert wrong == []
        finally:
            context.close()


def test_a_message_shows_key_identifiers_ciphertext_and_plaintext(chromium):
    network = SampleNetwork()
    with opened(chromium, network) as page:
        page.get_by_role("tab", name="Try it").click()
        page.locator("textarea").fill("天地 <b>")
        page.get_by_role("button", name="Send").click()
        assert page.locator(".plaintext").inner_text() == "天地 <b>"
        assert "7c1a3b52" in page.locator(".answer").inner_text()
        assert page.locator("#detail h2").inner_text() == "Beijing – Shanghai"
    assert ("message", "Beijing", "Shanghai", "天地 <b>") in network.done


def test_a_message_that_is_refused_says_why(chromium):
    with opened(chromium, SampleNetwork()) as page:
        page.get_by_role("tab", name="Try it").click()
        page.locator("select[name=recipient]").select_option("Beijing")
        with page.expect_response("**/api/v1/messages") as answered:
            page.get_by_role("button", name="Send").click()
        assert answered.value.status >= 400
        assert page.locator("#banner.bad").inner_text().startswith("Refused: ")
        assert page.locator(".answer").is_hidden()


def test_an_eavesdropper_raises_the_alarm_and_it_can_be_acknowledged(chromium):
    network = SampleNetwork()
    with opened(chromium, network) as page:
        page.get_by_role("tab", name="Try it").click()
        page.locator("select[name=link]").select_option("Dezhou-Jinan")
        page.locator("[data-try=link]").get_by_role("button", name="Eavesdropper").click()
        page.get_by_role("tab", name="Alarms 1").click()
        page.locator(".alarm-card", has_text="QBER 0.193 is above the limit").wait_for()
        assert "19.30 %" in page.locator("#detail").inner_text()
        page.get_by_role("button", name="Acknowledge").click()
        page.get_by_text("acknowledged").wait_for()
        page.get_by_role("tab", name="Journal").click()
        page.locator(".journal").get_by_text("above the limit").wait_for()
    assert ("eavesdrop", "Dezhou-Jinan", True) in network.done
    assert ("acknowledge", 1) in network.done


def test_a_fibre_is_cut_and_mended(chromium):
    network = SampleNetwork()
    with opened(chromium, network) as page:
        page.locator(".row", has_text="Beijing-Langfang").click()
        cut = page.locator("#detail").get_by_role("button", name="Cut")
        cut.click()
        page.locator("#detail button[aria-pressed=true]", has_text="Cut").wait_for()
        cut.click()
        page.locator("#detail button[aria-pressed=false]", has_text="Cut").wait_for()
    assert [done for done in network.done if done[0] == "cut"] == [("cut", "Beijing-Langfang", True), ("cut", "Beijing-Langfang", False)]


@pytest.mark.parametrize(("card", "button", "node"), [("cloud", "Cloud", "Lijiang"), ("compromise", "Compromise", "Jinan")])
def test_clouds_and_spies_come_and_go(chromium, card, button, node):
    network = SampleNetwork()
    with opened(chromium, network) as page:
        page.get_by_role("tab", name="Try it").click()
        page.locator(f"select[name={card}]").select_option(node)
        page.locator(f"[data-try={card}]").get_by_role("button", name=button).click()
        page.locator(f"[data-try={card}] button[aria-pressed=true]").wait_for()
        if card == "compromise":
            page.get_by_role("heading", name="What it learns").wait_for()
    assert (card, node, True) in network.done


def test_time_is_paused_sped_up_and_jumps(chromium):
    network = SampleNetwork()
    with opened(chromium, network) as page:
        page.locator("#pause").click()
        page.get_by_role("button", name="Go on").click()
        page.get_by_role("button", name="600×").click()
        page.locator("[data-speed='600'][aria-pressed=true]").wait_for()
        page.locator("#next-pass").click()
        page.get_by_text("18:10:00").first.wait_for()
        page.get_by_role("tab", name="Sky").click()
        page.get_by_role("button", name="Jump there: 2026-03-20T18:17:00Z").click()
        page.locator(".clock", has_text="18:17:00").wait_for()
    assert network.done == [
        ("pause", True), ("pause", False), ("speed", 600.0), ("jump", "next pass"), ("jump", "2026-03-20T18:17:00Z"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("size", "scheme", "mood"),
    [
        (DESK, "dark", "alarms"),
        (DESK, "light", "busy"),
        (DESK, "light", "empty"),
        (PHONE, "light", "alarms"),
        (PHONE, "dark", "busy"),
        (PHONE, "dark", "empty"),
    ],
    ids=["desk-dark-alarms", "desk-light-busy", "desk-light-empty", "phone-light-alarms", "phone-dark-busy", "phone-dark-empty"],
)
def test_the_page_fits(chromium, size, scheme, mood: Mood):
    with opened(chromium, SampleNetwork(mood), size=size, scheme=scheme) as page:
        assert page.evaluate("document.documentElement.scrollWidth") == size[0]
        for name in ("Sky", "Try it", "Journal", "Alarms", "Network"):
            page.get_by_role("tab", name=name).click()
            assert page.evaluate("document.getElementById('tab-body').scrollWidth <= document.getElementById('tab-body').clientWidth")
        if mood == "empty":
            assert page.locator("#stage-note").inner_text() == words("en")["empty_network"]


def test_the_audit_journal_is_searched(chromium):
    network = SampleNetwork()
    with opened(chromium, network) as page:
        page.get_by_role("tab", name="Journal").click()
        page.get_by_role("button", name="Audit journal").click()
        page.locator("select[name=kind]").select_option("link")
        page.locator("input[name=since]").fill("2026-11-22T10:00:00")
        page.get_by_role("button", name="Look").click()
        page.get_by_text("stored → spent · 29.3 kbit").wait_for()
        assert page.locator(".audit li").count() == 2
        page.get_by_role("button", name="Older lines").click()
        page.locator("input[name=text]").fill("broken")
        page.locator("input[name=text]").press("Enter")
        page.get_by_text("The journal was changed: Jinan: chain link, page 3").wait_for()
    asked = [wanted for what, wanted in network.done if what == "audit"]
    assert asked[0] == {"limit": 100, "since": "2026-11-22T10:00:00Z", "kind": "link"}
    assert asked[1] == asked[0] | {"until": "2026-11-22T23:33:33.279Z"}


def test_the_language_changes_and_what_is_chosen_stays(chromium):
    with opened(chromium, SampleNetwork("alarms")) as page:
        page.locator(".row", has_text="Beijing – Shanghai").click()
        page.get_by_role("button", name="中文").click()
        page.locator("#detail h2", has_text="北京 – 上海").wait_for()
        page.get_by_role("tab", name="告警").click()
        page.get_by_text("严重: 沧州：误码率 0.193 超过上限 0.110；德州：误码率 0.193 超过上限 0.110").wait_for()
        page.get_by_role("tab", name="日志").click()
        page.get_by_text("济南 用 3 个密钥向 合肥 发送了 32 字节的消息").first.wait_for()
        assert page.evaluate("document.documentElement.lang") == "zh-CN"
        page.get_by_role("button", name="English").click()
        page.locator("#detail h2", has_text="Beijing – Shanghai").wait_for()


def test_the_keyboard_reaches_tabs_rows_and_globe(chromium):
    with opened(chromium, SampleNetwork()) as page:
        page.locator("#tab-network").focus()
        page.keyboard.press("ArrowRight")
        assert page.evaluate("document.activeElement.id") == "tab-sky"
        page.locator(".row", has_text="Micius").first.press("Enter")
        page.locator("#detail h2", has_text="Micius").wait_for()
        page.keyboard.press("Escape")
        page.locator("#detail").wait_for(state="hidden")
        drawn = page.locator("#stage").get_attribute("data-pictures")
        page.locator("#overlay").press("ArrowLeft")
        page.locator(f"#stage:not([data-pictures='{drawn}'])").wait_for()


def test_nothing_is_drawn_while_nothing_changes(chromium):
    with opened(chromium, SampleNetwork()) as page:
        drawn = []
        # On a busy machine the first pictures come late: then there is peace.
        while len(drawn) < 8 and (len(drawn) < 2 or drawn[-1] != drawn[-2]):
            page.wait_for_timeout(1500)
            drawn.append(page.locator("#stage").get_attribute("data-pictures"))
        assert drawn[-1] == drawn[-2]


def test_a_viewer_looks_but_does_not_act(chromium):
    network = SampleNetwork("alarms")
    with opened(chromium, network, role="viewer") as page:
        page.locator("header .chip", has_text="viewer").wait_for()
        assert "#" not in page.url
        assert page.locator("#pause").is_disabled()
        page.get_by_role("tab", name="Try it").click()
        page.get_by_text(words("en")["viewer_help"]).wait_for()
        assert page.locator("#tab-body button, #tab-body select").count() > 0
        assert page.locator("#tab-body button:enabled, #tab-body select:enabled").count() == 0
        page.get_by_role("tab", name="Alarms").click()
        page.get_by_role("button", name="Show").first.click()
        assert page.get_by_role("button", name="Acknowledge").count() == 0
        page.locator("#detail fieldset:disabled").wait_for()
        # The server says no, too.
        assert (
            page.evaluate("""fetch("/api/v1/time", {method: "POST", headers: {"X-Tiandi": "1", "Content-Type": "application/json"},
            body: '{"paused": true}'}).then((answer) => answer.status)""")
            == 403
        )
    assert network.done == []


@pytest.mark.parametrize("query", ["", "?lite"], ids=["full", "lite"])
def test_the_first_picture_comes_soon(chromium, query):
    begun_s = time.monotonic()
    with opened(chromium, SampleNetwork(), query=query) as page:
        page.locator("#stage[data-pictures]").wait_for()
        assert time.monotonic() - begun_s < FIRST_PICTURE_LIMIT_S


def test_axe_finds_no_serious_fault(chromium):
    axe = pytest.importorskip("axe_playwright_python", reason="not run: axe is not installed")
    script = next(Path(axe.__file__).parent.rglob("axe.min.js")).read_text(encoding="utf-8")
    with opened(chromium, SampleNetwork("alarms")) as page:
        page.locator(".row", has_text="Cangzhou-Dezhou").first.click()
        page.evaluate(script)
        for name in ("Network", "Sky", "Try it", "Journal", "Audit journal", "Alarms"):
            page.get_by_role("button" if name == "Audit journal" else "tab", name=name).click()
            # All of the page once, then what a tab has changed.
            found = page.evaluate("axe.run()" if name == "Network" else "axe.run('#side')")["violations"]
            assert [fault["id"] for fault in found if fault["impact"] in ("serious", "critical")] == [], name


def test_a_living_network_answers_to_the_page(chromium, tmp_path):
    """The ring of the packaged scenarios lives: a message goes, somebody listens in, the alarm stands."""
    with LivingNetwork(load_scenario("ring"), tmp_path, speed=60.0) as living, opened(chromium, living) as page:
        page.locator(".row .under", has_text=re.compile(r"fibre · Stock \d[\d.]* [kM]bit")).first.wait_for(timeout=40_000)
        page.get_by_role("tab", name="Try it").click()
        for _ in range(20):
            with page.expect_response("**/api/v1/messages") as answered:
                page.get_by_role("button", name="Send").click()
            if answered.value.ok:
                break
            page.wait_for_timeout(1000)
        assert page.locator(".plaintext").inner_text() == words("en")["text_value"]
        page.locator("[data-try=link]").get_by_role("button", name="Eavesdropper").click()
        page.get_by_role("tab", name="Alarms 1").click(timeout=40_000)
        page.locator(".alarm-card.critical").wait_for()
