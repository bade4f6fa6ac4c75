"""What KMEs tell each other of their links, so that each can choose ways through the whole network (link state, ITU-T Y.3804).

A KME reports its own end of every link. Reports are numbered by their origin; of two the higher number counts, whichever way it came, and
only news is passed on, so that spreading ends. Nobody reports links that the topology does not have. A report that is not renewed is
forgotten: its KME may be dead. Reports are not signed: whoever passes them on can change them. They move keys from one way that keys may
take to another, or delay them; a node that is trusted with none is given none.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Annotated, NamedTuple

import msgspec

from tiandi.kms.store import ledger

FORGET_S = 90.0
RENEW_S = 30.0
"""How often a report is made anew when nothing has changed."""
WORTH_TELLING = 0.1
"""A change of stock, rate or demand by this share is news, if it is more than 1 bit, or bit/s: a rate that fades away is not."""
LONGEST_NAME = 256
FURTHEST_AHEAD_MS = 366 * 86_400_000
"""Reports are numbered by the time of day [ms]; one numbered further ahead than any clock goes wrong would leave no number after it."""

Count = Annotated[int, msgspec.Meta(ge=0, lt=1 << 62)]
Figure = Annotated[float, msgspec.Meta(ge=0.0, le=1e15)]
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=LONGEST_NAME)]


class LinkReport(msgspec.Struct, frozen=True, array_like=True, kw_only=True):
    """One end of a link, as the KME ``origin`` there sees it.

    ``stock_bit`` is the link key under which it can send to ``neighbour``, ``rate_bps`` what the link brought it of late, ``demand_bps``
    what it sent over it. ``qber`` is that of the last block, None where the modules do not tell. ``note`` says why it is out of service.
    ``age_s`` is how long ago it was made, which grows on the way.
    """

    origin: Name
    neighbour: Name
    sequence: Count
    stock_bit: Count
    rate_bps: Figure = 0.0
    demand_bps: Figure = 0.0
    qber: Annotated[float, msgspec.Meta(ge=0.0, le=0.5)] | None = None
    in_service: bool = True
    note: Annotated[str, msgspec.Meta(max_length=LONGEST_NAME)] = ""
    age_s: Figure = 0.0

    @property
    def link(self) -> tuple[str, str]:
        return self.origin, self.neighbour

    def is_news_after(self, other: LinkReport) -> bool:
        """Whether this says something else than ``other``, sequence and age aside."""
        if (self.in_service, self.note, self.qber) != (other.in_service, other.note, other.qber):
            return True
        figures = ((self.stock_bit, other.stock_bit), (self.rate_bps, other.rate_bps), (self.demand_bps, other.demand_bps))
        return any(abs(now - then) > max(1.0, WORTH_TELLING * max(now, then)) for now, then in figures)


class _Kept(NamedTuple):
    report: LinkReport
    made_s: float
    """When it was made, on this machine's clock that is never set."""
    turn: int
    sender: str


class LinkReports:
    """The newest report of every end of a link that the KME ``kme_id`` has heard of. ``is_link`` says which two KMEs have one.

    Numbers are times of day, so that of several processes of a node whichever spoke last is heard, and one that begins anew as well.
    """

    def __init__(
        self,
        kme_id: str,
        *,
        is_link: Callable[[str, str], bool],
        clock: Callable[[], float] = time.monotonic,
        now_ms: Callable[[], int] = ledger.now_ms,
    ) -> None:
        self._kme_id, self._is_link, self._clock, self._now_ms = kme_id, is_link, clock, now_ms
        self._kept: dict[tuple[str, str], _Kept] = {}
        self._contested: set[tuple[str, str]] = set()
        """Of this KME's own links those of which others have something else."""
        self._sequence = 0
        self.turn = 0
        """Grows with every report taken."""

    def __iter__(self) -> Iterator[LinkReport]:
        """All that is kept, with its age now."""
        return iter(self.since(-1, reader=""))

    def __len__(self) -> int:
        return len(self._kept)

    def report_own(self, reports: Iterable[LinkReport]) -> list[LinkReport]:
        """Take what this KME says of its links, all of them; returns those that are news, numbered."""
        news, named = [], set()
        for report in reports:
            named.add(report.link)
            kept = self._kept.get(report.link)
            is_old = kept is None or self._clock() - kept.made_s > RENEW_S or report.is_news_after(kept.report)
            if is_old or report.link in self._contested:
                news.append(self._numbered(report))
        self._contested.clear()
        for link in [link for link in self._kept if link[0] == self._kme_id and link not in named]:
            gone = self._kept[link].report
            if gone.in_service:
                news.append(self._numbered(msgspec.structs.replace(gone, in_service=False, note="the link was taken away")))
        return news

    def receive(self, sender: str, reports: Iterable[LinkReport]) -> list[LinkReport]:
        """Take what ``sender`` says; returns what was news.

        Of its own links this KME believes nobody. What others have of it, from another process of its node, from before its clock was set
        back, or from a forger, it outnumbers at its next look when it is wrong.
        """
        news = []
        for report in reports:
            if report.age_s > FORGET_S or report.sequence > self._now_ms() + FURTHEST_AHEAD_MS or not self._is_link(*report.link):
                continue
            kept = self._kept.get(report.link)
            is_newer = kept is None or report.sequence > kept.report.sequence
            if report.origin == self._kme_id:
                self._sequence = max(self._sequence, report.sequence)
                if kept is not None and is_newer and report.is_news_after(kept.report):
                    self._contested.add(report.link)
            elif is_newer:
                self._keep(report, self._clock() - report.age_s, sender)
                news.append(report)
        return news

    def since(self, turn: int, *, reader: str) -> list[LinkReport]:
        """What was taken after `turn` was that and did not come from ``reader``, with its age now."""
        now_s = self._clock()
        news = [kept for kept in self._kept.values() if kept.turn > turn and kept.sender != reader]
        return [_aged(kept, now_s) for kept in news]

    def forget_old(self) -> list[LinkReport]:
        """Forget what was not renewed in time, and links that others have no more; returns what was forgotten, with its age."""
        now_s = self._clock()
        old = [_aged(kept, now_s) for link, kept in self._kept.items() if now_s - kept.made_s > FORGET_S or self._is_gone(*link)]
        for report in old:
            del self._kept[report.link]
        return old

    def _is_gone(self, origin: str, neighbour: str) -> bool:
        """Whether a link is others' and there no more; of its own that are gone this KME goes on telling."""
        return origin != self._kme_id and not self._is_link(origin, neighbour)

    def _numbered(self, report: LinkReport) -> LinkReport:
        self._sequence = max(self._sequence + 1, self._now_ms())
        numbered = msgspec.structs.replace(report, sequence=self._sequence, age_s=0.0)
        self._keep(numbered, self._clock(), self._kme_id)
        return numbered

    def _keep(self, report: LinkReport, made_s: float, sender: str) -> None:
        self.turn += 1
        self._kept[report.link] = _Kept(report, made_s, self.turn, sender)


def _aged(kept: _Kept, now_s: float) -> LinkReport:
    return msgspec.structs.replace(kept.report, age_s=max(0.0, now_s - kept.made_s))
