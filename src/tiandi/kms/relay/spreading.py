"""Link states on their way: each KME tells its neighbours what is new, at once, until all know (flooding, as in RFC 2328, section 13)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress

import msgspec

from tiandi.errors import NotAuthorised, RelayFailed, RemoteRefused, TiandiError
from tiandi.kms.relay.exchange import LARGEST_BATCH, Post
from tiandi.kms.relay.link_reports import LinkReport, LinkReports

LINK_STATE_PATH = "/kx/v1/link-states"
LOOK_EVERY_S = 1.0
"""How often a KME looks at its own links."""
GATHER_S = 0.02
"""News that comes within this time travels together."""
LONGEST_PAUSE_S = 10.0
"""Before a neighbour that did not answer is told again."""

SILENT_AFTER = 3
"""A neighbour that did not answer so many times in a row is silent."""

Heard = Callable[[Sequence[LinkReport]], None]


class Spreading:
    """Spreads link states for one KME. Begin with `start`, end with `close`.

    ``look`` gives this KME's own reports, ``neighbours`` the KMEs that it has links with. ``heard`` is told whatever is new, a report that
    was forgotten as out of service.
    """

    def __init__(
        self,
        reports: LinkReports,
        *,
        post: Post,
        look: Callable[[], Awaitable[Sequence[LinkReport]]],
        neighbours: Callable[[], Iterable[str]],
        heard: Heard = lambda _: None,
    ) -> None:
        self.reports = reports
        self._post, self._look, self._neighbours, self._heard = post, look, neighbours, heard
        self._news = asyncio.Condition()
        self._looking: asyncio.Task[None] | None = None
        self._telling: dict[str, asyncio.Task[None]] = {}
        self._unanswered: dict[str, int] = {}
        self._spoke: dict[str, asyncio.Event] = {}

    def start(self) -> None:
        """Begin to look and to tell."""
        self._looking = asyncio.create_task(self._keep_looking())

    async def close(self) -> None:
        """Say no more."""
        tasks = [task for task in (self._looking, *self._telling.values()) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    @property
    def silent(self) -> set[str]:
        """Neighbours that do not answer."""
        return {neighbour for neighbour, times in self._unanswered.items() if times >= SILENT_AFTER}

    async def receive(self, sender: str, reports: list[LinkReport]) -> list[bool]:
        """Take what a neighbour says and pass on what is news; says of each whether it was. Raises NotAuthorised to who is none."""
        if sender not in self._neighbours():
            raise NotAuthorised(f"{sender} has no link with this KME")
        if sender in self._spoke:
            self._spoke[sender].set()  # It is there: whoever waits to tell it need wait no longer.
        news = self.reports.receive(sender, reports)
        await self._take(news)
        fresh = {report.link for report in news}
        return [report.link in fresh for report in reports]

    async def look(self) -> None:
        """Report this KME's own links now, and forget what was not renewed."""
        forgotten = [msgspec.structs.replace(old, in_service=False, note="no report for too long") for old in self.reports.forget_old()]
        await self._take([*self.reports.report_own(await self._look()), *forgotten])
        self._follow_neighbours()

    async def _take(self, news: Sequence[LinkReport]) -> None:
        if news:
            self._heard(news)
            async with self._news:
                self._news.notify_all()

    async def _keep_looking(self) -> None:
        while True:
            try:
                await self.look()
            except TiandiError:
                pass  # A disk that fails now may not fail in a second.
            except Exception as error:  # Whoever routes by these reports must hear that they have stopped.
                asyncio.get_running_loop().call_exception_handler({"message": "spreading of link states", "exception": error})
            await asyncio.sleep(LOOK_EVERY_S)

    def _follow_neighbours(self) -> None:
        """Tell every neighbour there is now, and no other."""
        now = set(self._neighbours())
        ended = {neighbour for neighbour, task in self._telling.items() if task.done()}
        for gone in (set(self._telling) - now) | ended:
            self._telling.pop(gone).cancel()
            self._unanswered.pop(gone, None)
            self._spoke.pop(gone, None)
        for new in now - set(self._telling):
            self._spoke[new] = asyncio.Event()
            self._telling[new] = asyncio.create_task(self._keep_telling(new))

    async def _keep_telling(self, neighbour: str) -> None:
        told, pause_s, spoke = 0, LOOK_EVERY_S, self._spoke[neighbour]
        while True:
            await self._news_after(told)
            await asyncio.sleep(GATHER_S)
            turn = self.reports.turn
            try:
                await self._tell(neighbour, self.reports.since(told, reader=neighbour))
            except (RelayFailed, RemoteRefused) as error:
                # One that refuses is there: older, perhaps, and knows nothing of link states.
                self._unanswered[neighbour] = 0 if isinstance(error, RemoteRefused) else self._unanswered.get(neighbour, 0) + 1
                spoke.clear()
                with suppress(TimeoutError):
                    async with asyncio.timeout(pause_s):  # `wait_for` of Python 3.11 may lose a cancellation.
                        await spoke.wait()
                pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
                told = 0  # It may have begun anew and know nothing.
            else:
                told, pause_s = turn, LOOK_EVERY_S
                self._unanswered[neighbour] = 0

    async def _news_after(self, turn: int) -> None:
        async with self._news:
            await self._news.wait_for(lambda: self.reports.turn > turn)

    async def _tell(self, neighbour: str, reports: Sequence[LinkReport]) -> None:
        for start in range(0, len(reports), LARGEST_BATCH):
            await self._post(neighbour, LINK_STATE_PATH, msgspec.msgpack.encode(reports[start : start + LARGEST_BATCH]))
