"""What the controller knows of every link now (ITU-T Y.3804): stock at both ends, rate, QBER, demand, whether it is in service.

KMEs report their ends of links (`tiandi.kms.relay.link_reports`); a report that is older than one already taken is ignored, and a link
of which an end has been silent for too long is taken for dead, until it is reported again, under whatever number: its KME may have begun
anew on a clock that was set back. Key that was sent since the last report counts as gone.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tiandi.constants import LIGHT_SPEED_IN_FIBRE_KM_PER_S, LIGHT_SPEED_KM_PER_S
from tiandi.control.topology import Link, Topology
from tiandi.errors import InputError
from tiandi.kms.relay.link_reports import FORGET_S, LinkReport
from tiandi.limits import require_within

FloatArray = NDArray[np.float64]

MILLISECOND_PER_SECOND = 1e3
PROCESSING_MS = 1.0
"""What a KME takes to pass a key on (assumed)."""
SATELLITE_WAIT_S = 43_200.0
"""How long key waits for a satellite's next contact, until the contact plan says it (assumed: half a day)."""
MOST_BIT = 1e18


@dataclass
class _End:
    """What one end of a link said last: figures, when, under which number; and what it sent since, as (time [s], bit)."""

    stock_bit: float = 0.0
    rate_bps: float = np.nan
    demand_bps: float = 0.0
    qber: float = np.nan
    in_service: bool = True
    note: str = ""
    made_s: float = -np.inf
    sequence: int = -1
    sent: list[tuple[float, float]] = field(default_factory=list)

    @property
    def left_bit(self) -> float:
        return max(0.0, self.stock_bit - sum(bit for _, bit in self.sent))


_UNREPORTED = (_End(), _End())


class LinkStates:
    """The state of every link of a topology; arrays have the shape (links,), in the order of ``names``.

    ``stock_bit`` is what both ends hold, ``booked_bit`` what of it is promised (`tiandi.control.reservations`), ``rate_bps`` [bit/s] what
    both ends get, ``demand_bps`` what both send, ``qber`` the worse one, NaN where nobody tells. ``latency_ms`` is processing, light's
    way, and the wait for a satellite. Until a link is reported it holds nothing and makes what the topology says, divided among those
    that share its switch. Times ``_s`` are on one clock of the caller's. Not for several threads at once.
    """

    def __init__(self, topology: Topology, *, stale_after_s: float = FORGET_S) -> None:
        self.stale_after_s = stale_after_s
        self._ends: dict[str, tuple[_End, _End]] = {}
        self._wait_s: dict[str, float] = {}
        self._silent: set[str] = set()
        self._booked_bit: dict[str, float] = {}
        self._renew(topology)

    def change(self, topology: Topology) -> None:
        """Take another topology. Links of the same name between the same nodes keep their state; what was booked stays booked by name."""
        old = self.topology.links
        stay = {name for name, link in topology.links.items() if name in old and old[name].ends == link.ends}
        self._ends = {name: ends for name, ends in self._ends.items() if name in stay}
        self._wait_s = {name: wait_s for name, wait_s in self._wait_s.items() if name in stay}
        self._silent &= stay
        self._renew(topology)

    def _renew(self, topology: Topology) -> None:
        self.topology, self.names = topology, tuple(topology.links)
        self.number = {name: number for number, name in enumerate(self.names)}
        self.first_between: dict[frozenset[str], str] = {}
        through: dict[str, int] = {}
        for link in topology.links.values():
            self.first_between.setdefault(frozenset(link.ends), link.name)
            through[link.switch] = through.get(link.switch, 0) + 1
        self._share = {name: min(1.0, switch.at_once / through.get(name, 1)) for name, switch in topology.switches.items()}
        self.stock_bit, self.rate_bps, self.demand_bps, self.latency_ms = (np.zeros(len(self.names)) for _ in range(4))
        self.booked_bit = np.array([self._booked_bit.get(name, 0.0) for name in self.names])
        self.qber = np.full(len(self.names), np.nan)
        self.in_service = np.ones(len(self.names), bool)
        for name in self.names:
            self._refresh(name)

    def update(
        self,
        name: str,
        *,
        stock_bit: float | None = None,
        rate_bps: float | None = None,
        qber: float | None = None,
        demand_bps: float | None = None,
        in_service: bool | None = None,
        note: str | None = None,
        wait_s: float | None = None,
    ) -> None:
        """Set what is known of both ends at once, ``demand_bps`` [bit/s] of both together.

        ``note`` says why a link is out of service; ``wait_s`` [s] is how long key waits for a contact.
        Raises InputError on an unknown link and on a figure out of its range; then nothing has changed.
        """
        link = self._link(name)
        half_bps = None if demand_bps is None else demand_bps / 2.0
        figures = {"stock_bit": stock_bit, "rate_bps": rate_bps, "demand_bps": half_bps, "qber": qber}
        for key, figure in (figures | {"wait_s": wait_s}).items():
            if figure is not None:
                require_within(f"links ({name}).{key}", figure, 0.0, 0.5 if key == "qber" else MOST_BIT)
        for end in self._ends_of(link):
            for key, value in (*figures.items(), ("in_service", in_service), ("note", note)):
                if value is not None:
                    setattr(end, key, value)
            if stock_bit is not None:
                end.sent.clear()
        if wait_s is not None:
            self._wait_s[name] = wait_s
        self._refresh(name)

    def receive(self, report: LinkReport, *, now_s: float) -> bool:
        """Take what a KME says of its end of a link; whether it was newer than what is known.

        A KME has one stock for all links to a neighbour: it is that of the first of them. Raises InputError on a link that is not there.
        """
        name = self.first_between.get(frozenset((report.origin, report.neighbour)))
        if name is None:
            raise InputError("report", f"{report.origin} - {report.neighbour}", "there is no such link")
        link = self.topology.links[name]
        end = self._ends_of(link)[link.ends.index(report.origin)]
        # A report that was forgotten comes once more under its number, as out of service.
        is_old = report.sequence < end.sequence or (report.sequence == end.sequence and report.in_service)
        if is_old and now_s - end.made_s <= self.stale_after_s:
            return False
        end.sequence, end.made_s = report.sequence, now_s - report.age_s
        end.stock_bit, end.rate_bps, end.demand_bps = float(report.stock_bit), report.rate_bps, report.demand_bps
        end.qber, end.in_service, end.note = np.nan if report.qber is None else report.qber, report.in_service, report.note
        end.sent = [(sent_s, bit) for sent_s, bit in end.sent if sent_s >= end.made_s]
        if now_s - end.made_s <= self.stale_after_s:
            self._silent.discard(name)
        self._refresh(name)
        return True

    def age(self, now_s: float) -> list[str]:
        """Take links out of service of which an end has been silent for ``stale_after_s``; returns those that fell out now.

        Links that nobody ever reported are left alone.
        """
        silent = {
            name for name, ends in self._ends.items() for end in ends if np.isfinite(end.made_s) and now_s - end.made_s > self.stale_after_s
        }
        fallen = [name for name in self.names if name in silent - self._silent and self.in_service[self.number[name]]]
        changed = silent ^ self._silent
        self._silent = silent
        for name in changed:
            self._refresh(name)
        return fallen

    def spend(self, name: str, bit: float, *, time_s: float) -> None:
        """Count ``bit`` as sent over a link at ``time_s``, until both ends report later than that. Raises InputError on an unknown link."""
        for end in self._ends_of(self._link(name)):
            end.sent.append((time_s, bit))
        self._refresh(name)

    def book(self, name: str, bit: float) -> None:
        """Count ``bit`` more as booked on a link, or with a minus less; also on one that is gone, should it come back."""
        self._booked_bit[name] = self._booked_bit.get(name, 0.0) + bit
        if name in self.number:
            self.booked_bit[self.number[name]] = self._booked_bit[name]
        if not self._booked_bit[name]:
            del self._booked_bit[name]

    def obstacle(self, name: str, wanted_bit: float, *, stock_share: float = 1.0) -> str | None:
        """Why a link cannot carry ``wanted_bit`` out of ``stock_share`` of its stock, or None when it can."""
        number = self.number[self._link(name).name]
        if not self.in_service[number]:
            return f"{name} is out of service ({self._note(name)})"
        if stock_share * self.stock_bit[number] - self.booked_bit[number] >= wanted_bit:
            return None
        booked = f", {self.booked_bit[number]:.0f} of them booked" if self.booked_bit[number] else ""
        kept_back = f", {1.0 - stock_share:.0%} kept back" if stock_share < 1.0 else ""
        return f"{name} holds {self.stock_bit[number]:.0f} bit of key{booked}{kept_back}, {wanted_bit:.0f} bit are wanted"

    def free_bit(self, stock_share: float = 1.0) -> FloatArray:
        """Key on each link that nobody has booked, out of ``stock_share`` of its stock; negative where too much is. Shape (links,)."""
        return stock_share * self.stock_bit - self.booked_bit

    def _link(self, name: str) -> Link:
        if name not in self.topology.links:
            raise InputError("link", name, "there is no such link")
        return self.topology.links[name]

    def _ends_of(self, link: Link) -> tuple[_End, _End]:
        if link.name not in self._ends:
            self._ends[link.name] = (_End(), _End())
        return self._ends[link.name]

    def _note(self, name: str) -> str:
        notes = [end.note for end in self._ends.get(name, ()) if not end.in_service and end.note]
        return "; ".join(dict.fromkeys(notes)) or ("no report for too long" if name in self._silent else "no reason given")

    def _refresh(self, name: str) -> None:
        """Bring the arrays up to what the ends of a link say."""
        number, link = self.number[name], self.topology.links[name]
        here, there = self._ends.get(name, _UNREPORTED)
        self.stock_bit[number] = min(here.left_bit, there.left_bit)
        rate_bps = np.fmin(here.rate_bps, there.rate_bps)
        self.rate_bps[number] = link.rate_bps * self._share.get(link.switch, 1.0) if np.isnan(rate_bps) else rate_bps
        self.demand_bps[number] = here.demand_bps + there.demand_bps
        self.qber[number] = np.fmax(here.qber, there.qber)
        self.in_service[number] = here.in_service and there.in_service and name not in self._silent
        self.latency_ms[number] = PROCESSING_MS + _light_ms(link) + MILLISECOND_PER_SECOND * self._wait_s.get(name, _first_wait_s(link))


def _light_ms(link: Link) -> float:
    through_fibre = link.kind in ("fibre", "gateway")
    speed_km_per_s = LIGHT_SPEED_IN_FIBRE_KM_PER_S if through_fibre else LIGHT_SPEED_KM_PER_S
    return MILLISECOND_PER_SECOND * link.length_km / speed_km_per_s


def _first_wait_s(link: Link) -> float:
    return SATELLITE_WAIT_S if link.kind == "downlink" else 0.0
