"""How soon the page shows its first picture, on a software renderer in lite mode, and what it costs while nothing moves.

The network is that of Beijing-Shanghai with two satellites, as large as it is watched; it stands still. Every opening is a fresh browser
context, with nothing kept of the one before. The peer is a bare globe of CesiumJS in the same browser: no tiles, no network, no panels.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import statistics
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

from measure import Figure
from tiandi.scenario.view import EventView, NetworkView
from tiandi.web import WindowServer
from viewers import Pictured

OPENINGS = 5
GOAL_S, GOAL_CORE = 3.0, 0.05
SETTLE_S, IDLE_S = 3.0, 8.0
PATIENCE_S, POLL_MS = 60.0, 50
SIZE = {"width": 1280, "height": 800}
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = [
    "--headless=new", "--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist",
    "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
CESIUM = Path(__file__).parent.parent / ".venv-peers" / "cesium" / "package"
CESIUM_PAGE = b"""<!doctype html><meta charset="utf-8"><title>bare globe</title>
<link rel="stylesheet" href="/Build/Cesium/Widgets/CesiumWidget/CesiumWidget.css">
<div id="globe" style="width:1280px;height:800px"></div><script src="/Build/Cesium/Cesium.js"></script><script>
const widget = new Cesium.CesiumWidget("globe", { baseLayer: false, useBrowserRecommendedResolution: true });
const end = widget.scene.postRender.addEventListener(() => { end(); window.pictured = performance.now(); });
</script>"""
WATCH = """new MutationObserver((_, watching) => {
  if (!document.getElementById("stage")?.dataset.network) return;
  watching.disconnect();
  window.pictured = performance.now();
}).observe(document, { subtree: true, childList: true, attributes: true, attributeFilter: ["data-network"] });"""


class Still(Pictured):
    """The same picture every time, and nothing happens."""

    def __init__(self) -> None:
        super().__init__()
        self._picture = super().view()

    def view(self) -> NetworkView:
        return self._picture

    async def subscribe(self) -> AsyncIterator[EventView]:
        await asyncio.Event().wait()
        yield EventView(0, "", "speed", "")


def benchmark_window() -> list[Figure]:
    """Median seconds to the first picture; the share of a core that browser and server take while nothing moves."""
    with sync_playwright() as started, _served() as server:
        where = next((found for name in NAMES if (found := shutil.which(name))), started.chromium.executable_path)
        browser = started.chromium.launch(executable_path=where, args=FLAGS)
        ours = [_opening(browser, server.login_link("viewer").replace("/#", "/?lite#")) for _ in range(OPENINGS)]
        theirs: list[float] = []
        if CESIUM.is_dir():
            with _cesium_served() as address:
                theirs = [_opening(browser, address) for _ in range(OPENINGS)]
        peer = (
            f"CesiumJS, bare globe without tiles: {statistics.median(theirs):.3f} s" if theirs else "CesiumJS is not installed (make bench)"
        )
        idle = _idle_core(browser, server.login_link("viewer").replace("/#", "/?lite#"))
        browser.close()
    name = f"first picture in lite mode on a software renderer, median of {OPENINGS}"
    return [
        Figure(name, statistics.median(ours), GOAL_S, "s", peer),
        Figure("browser and server while nothing moves", idle, GOAL_CORE, "core"),
    ]


def _opening(browser: Any, address: str) -> float:
    """Seconds from the beginning of the navigation to the first picture, as the page's own clock has them."""
    context = browser.new_context(viewport=SIZE)
    page = context.new_page()
    page.add_init_script(WATCH)
    page.goto(address)
    # The page's policy allows no script from strings, so that it cannot be made to wait.
    until_s = time.monotonic() + PATIENCE_S
    while (taken_ms := page.evaluate("window.pictured")) is None:
        if time.monotonic() > until_s:
            raise TimeoutError(f"no picture within {PATIENCE_S:g} s")
        page.wait_for_timeout(POLL_MS)
    context.close()
    return float(taken_ms) / 1e3


def _idle_core(browser: Any, address: str) -> float:
    context = browser.new_context(viewport=SIZE)
    page = context.new_page()
    page.goto(address)
    page.wait_for_selector("html[data-ready]", state="attached", timeout=PATIENCE_S * 1e3)
    time.sleep(SETTLE_S)
    began_s, cpu_s = time.perf_counter(), _cpu_s()
    time.sleep(IDLE_S)
    share = (_cpu_s() - cpu_s) / (time.perf_counter() - began_s)
    context.close()
    return share


def _cpu_s() -> float:
    """Of this process and all that descend from it, as Linux tells it."""
    parents: dict[int, int] = {}
    ticks: dict[int, int] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        parents[int(folder.name)], ticks[int(folder.name)] = int(fields[1]), int(fields[11]) + int(fields[12])

    def is_ours(process: int) -> bool:
        while process not in (0, os.getpid()):
            process = parents.get(process, 0)
        return process != 0

    return sum(count for process, count in ticks.items() if is_ours(process)) / os.sysconf("SC_CLK_TCK")


@contextmanager
def _served() -> Iterator[WindowServer]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    async def begin() -> WindowServer:
        server = WindowServer(Still())  # type: ignore[arg-type]
        await server.start()
        return server

    server = asyncio.run_coroutine_threadsafe(begin(), loop).result()
    try:
        yield server
    finally:
        asyncio.run_coroutine_threadsafe(server.stop(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()


class _CesiumFiles(SimpleHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path != "/":
            super().do_GET()
            return
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(CESIUM_PAGE)))
        self.end_headers()
        self.wfile.write(CESIUM_PAGE)

    def log_message(self, *_: Any) -> None:
        """Nobody reads it."""


class _CesiumServer(ThreadingHTTPServer):
    def handle_error(self, *_: Any) -> None:
        """A browser that leaves in the middle of a file is none."""


@contextmanager
def _cesium_served() -> Iterator[str]:
    server = _CesiumServer(("127.0.0.1", 0), partial(_CesiumFiles, directory=str(CESIUM)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        thread.join()


if __name__ == "__main__":
    for figure in benchmark_window():
        print(figure.line())
