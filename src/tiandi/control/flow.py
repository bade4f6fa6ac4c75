"""The most key that a network can relay: multi-commodity flow, at once or over time, by linear programming (HiGHS).

Key relay spends a bit of the key of every link on the way for each bit of a pair's key, in whichever direction. Ways are not listed: the
prices of links in one solution find those that would better it (column generation; L. R. Ford and D. R. Fulkerson, Management Science 5:97
(1958), DOI 10.1287/mnsc.5.1.97). Max-min fairness is progressive filling: raise the least served share of all, hold those that can rise no
further, go on with the rest (D. Bertsekas and R. Gallager, Data Networks, 2nd ed. (1992), section 6.5). Citations are recalled.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike

from tiandi.control.flow_programme import Programme, Supply, Want
from tiandi.control.topology import Topology, TrustClass
from tiandi.control.way_search import Floats, WayFinder
from tiandi.errors import InputError
from tiandi.limits import require_each_within, require_within

Objective = Literal["most", "fair"]
MOST_BIT = 1e18
LEAST_CARRIED = 1e-6
"""What a way carries less of, in units of the median link's key, is rounding: HiGHS meets its constraints to 1e-7."""


@dataclass(frozen=True)
class KeyDemand:
    """Key [bit] that two nodes want. A bit is worth ``weight``; the least ``priority`` is served first and regardless of the others.

    ``paths`` node-disjoint ways make a key together; only nodes of at least ``least_trust`` relay it.
    """

    ends: tuple[str, str]
    wanted_bit: float
    weight: float = 1.0
    priority: int = 1
    paths: int = 1
    least_trust: TrustClass = "foreign"

    def __post_init__(self) -> None:
        require_within("demands.wanted_bit", self.wanted_bit, 0.0, MOST_BIT)
        require_within("demands.weight", self.weight, 1e-3, 1e3)
        require_within("demands.paths", self.paths, 1, 16)
        if self.ends[0] == self.ends[1]:
            raise InputError("demands.ends", self.ends, "must be two different nodes")


@dataclass(frozen=True)
class Carried:
    """Key [bit] that one demand, by number, is carried over these links in one period; links of disjoint routes stand together."""

    demand: int
    period: int
    links: tuple[str, ...]
    carried_bit: float


@dataclass(frozen=True)
class FlowSolution:
    """The optimum: ``carried_bit`` per demand, ``used_bit`` and ``price`` per link, and the ``routes`` that carry something.

    ``price`` is the weighted key that one bit more of a link's key would add for the last class of priority; zero where shares are fair.
    """

    carried_bit: Floats
    used_bit: Floats
    price: Floats
    routes: tuple[Carried, ...]


@dataclass(frozen=True)
class FlowOverTime:
    """The optimum over periods: ``carried_bit`` (periods, demands) handed out, ``used_bit`` and ``price`` (periods, links), and routes.

    ``stock_bit`` (periods - 1, links) is what links keep at the end of each period for the next.
    """

    carried_bit: Floats
    used_bit: Floats
    stock_bit: Floats
    price: Floats
    routes: tuple[Carried, ...]


def optimal_flow(topology: Topology, link_bit: ArrayLike, demands: Sequence[KeyDemand], *, objective: Objective = "most") -> FlowSolution:
    """The most weighted key, or the fairest shares of what is wanted, for ``link_bit`` [bit] per link in the topology's order.

    A link on an optical switch has its ``link_bit`` when it is lit all the time, and its part of it for a part of the time. Good to 1e-6
    of the median link's key. Raises InputError.
    """
    made = np.atleast_2d(np.asarray(link_bit, float))
    flow = flow_over_time(topology, made, demands, [[demand.wanted_bit for demand in demands]], objective=objective)
    return FlowSolution(flow.carried_bit[0], flow.used_bit[0], flow.price[0], flow.routes)


def flow_over_time(
    topology: Topology,
    link_bit: ArrayLike,
    demands: Sequence[KeyDemand],
    wanted_bit: ArrayLike,
    *,
    stock_bit: ArrayLike = 0.0,
    buffer_bit: Mapping[str, float] | None = None,
    ahead_bit: float = 0.0,
    objective: Objective = "most",
) -> FlowOverTime:
    """The optimum over periods in which links make ``link_bit`` (periods, links) and demands want ``wanted_bit`` (periods, demands) [bit].

    ``wanted_bit`` takes the place of the demands' own. Links begin with ``stock_bit`` and carry over what they do not spend; a node in
    ``buffer_bit`` carries over no more than that in all its links together. A pair may be served ahead by ``ahead_bit`` at most.
    Fairness is between the sums over all periods. Raises InputError on names, shapes and values that do not fit.
    """
    if objective not in get_args(Objective):
        raise InputError("objective", objective, f"must be one of {', '.join(get_args(Objective))}")
    made = require_each_within("link_bit", link_bit, 0.0, MOST_BIT)
    wanted = require_each_within("wanted_bit", wanted_bit, 0.0, MOST_BIT)
    if made.ndim != 2 or made.shape[1] != len(topology.links) or made.shape[0] == 0:
        raise InputError("link_bit", made.shape, f"must have a row per period and {len(topology.links)} columns")
    if wanted.shape != (made.shape[0], len(demands)):
        raise InputError("wanted_bit", wanted.shape, f"must have shape {(made.shape[0], len(demands))}")
    require_within("ahead_bit", ahead_bit, 0.0, MOST_BIT)
    stock = np.broadcast_to(require_each_within("stock_bit", stock_bit, 0.0, MOST_BIT), made.shape[1:])
    for name, limit in (buffer_bit or {}).items():
        require_within(f"buffer_bit ({name})", limit, 0.0, MOST_BIT)
        if name not in topology.nodes:
            raise InputError("buffer_bit", name, "there is no such node")
    finder = WayFinder(topology)
    pairs = finder.pairs([item.ends for item in demands], [item.least_trust for item in demands], [item.paths for item in demands])
    want = Want(pairs, wanted, np.array([item.weight for item in demands]), np.array([item.priority for item in demands], np.int64))
    if not demands:
        return FlowOverTime(wanted, np.zeros_like(made), np.cumsum(made, axis=0)[:-1] + stock, np.zeros_like(made), ())
    return _solve(Programme(topology, finder, Supply(made, stock, buffer_bit or {}, ahead_bit), want), finder.links, objective)


def _solve(programme: Programme, names: tuple[str, ...], objective: Objective) -> FlowOverTime:
    if objective == "most":
        done, price = programme.by_weight()
    else:
        done, price = programme.by_fairness(), np.zeros((programme.periods, programme.link_count))
    starts, unit, periods = programme.starts, programme.unit_bit, programme.periods
    flow = np.where(done.x[starts[-1] :] > LEAST_CARRIED, done.x[starts[-1] :], 0.0) * unit
    used = np.zeros((periods, programme.link_count))
    for way in np.flatnonzero(flow):
        used[programme.way_period[way], programme.way_links[way]] += flow[way]
    routes = tuple(
        Carried(
            int(programme.way_demand[way]),
            int(programme.way_period[way]),
            tuple(names[link] for link in programme.way_links[way]),
            float(flow[way]),
        )
        for way in np.flatnonzero(flow)
    )
    return FlowOverTime(
        np.maximum(done.x[1 : starts[2]], 0.0).reshape(periods, -1) * unit,
        used,
        np.maximum(done.x[starts[3] : starts[4]], 0.0).reshape(periods - 1, programme.link_count) * unit,
        price,
        routes,
    )
