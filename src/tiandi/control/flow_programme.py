"""The linear programme behind `tiandi.control.flow`: its rows, its columns, and the rounds in which ways are found by their prices."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.optimize import OptimizeResult, linprog

from tiandi.control.topology import Topology
from tiandi.control.way_search import Floats, Ints, Pairs, WayFinder, Ways
from tiandi.errors import TiandiError

GAIN = 1e-6
"""A way is worth a column if it betters the objective by more than this per bit, of the worth of the dearest bit. HiGHS is good to 1e-7."""
MOST_ROUNDS = 1000
SOONER = 1e-5
"""What a bit of the first period is worth more than one of the last, as a fraction: of equal optima the one that serves sooner is taken."""


class Supply(NamedTuple):
    """What there is to share out [bit]: ``made`` (periods, links), ``stock`` (links,) at first, buffers by node, and a pair ahead."""

    made: Floats
    stock: Floats
    buffers: Mapping[str, float]
    ahead_bit: float


class Want(NamedTuple):
    """Who wants it: pairs of nodes, what they want [bit] (periods, demands), what a bit is worth and whom to serve first (demands,)."""

    pairs: Pairs
    bit: Floats
    weight: Floats
    priority: Ints


class Programme:
    """Variables, in this order, key in units of ``unit_bit``: the least share of all (1); key handed out (periods, demands); part of the
    time that links on switches are lit (periods, such links); stocks of links and key of demands ahead after each period but the last;
    key carried by each way found so far.
    """

    def __init__(self, topology: Topology, finder: WayFinder, supply: Supply, want: Want) -> None:
        positive = np.concatenate([supply.made[supply.made > 0.0], supply.stock[supply.stock > 0.0]])
        self.unit_bit = float(np.median(positive)) if positive.size else 1.0
        self._finder, self._want = finder, want
        self.periods, self.link_count = supply.made.shape
        self.demand_count = want.weight.size
        self._wanted = want.bit / self.unit_bit
        self._open = np.cumsum(supply.made, axis=0) + supply.stock > 0.0
        self._build(topology, supply)
        self.way_demand, self.way_period = np.zeros(0, np.int64), np.zeros(0, np.int64)
        self.way_links: list[Ints] = []
        self._add_first_ways()

    def _build(self, topology: Topology, supply: Supply) -> None:
        """The rows that stay: balances of links, switches and buffers as most values, balances of demands as equal ones."""
        periods, links, demands = self.periods, self.link_count, self.demand_count
        made = supply.made / self.unit_bit
        switch = {name: number for number, name in enumerate(topology.switches)}
        on_switch = np.array([switch.get(link.switch, -1) for link in topology.links.values()], np.int64)
        switched = np.flatnonzero(on_switch >= 0)
        through = sparse.coo_array(
            (np.ones(switched.size), (on_switch[switched], np.arange(switched.size))), shape=(len(switch), switched.size)
        )
        at_row, at_column = np.meshgrid(np.arange(periods), np.arange(switched.size), indexing="ij")
        lit = sparse.coo_array(
            (made[:, switched].ravel(), ((at_row * links + switched[at_column]).ravel(), np.arange(at_row.size))),
            shape=(periods * links, periods * switched.size),
        )
        touching = np.array([[float(node in link.ends) for link in topology.links.values()] for node in supply.buffers])
        touching = touching.reshape(len(supply.buffers), links)
        kept = sparse.eye_array(periods, periods - 1) - sparse.eye_array(periods, periods - 1, k=-1)
        widths = np.array([1, periods * demands, periods * switched.size, (periods - 1) * links, (periods - 1) * demands])
        self.starts = np.cumsum([0, *widths])

        def row(height: int, **blocks: sparse.sparray) -> sparse.csr_array:
            names = ("least", "handed", "lit", "stock", "ahead")
            parts = [blocks.get(name, sparse.coo_array((height, width))) for name, width in zip(names, widths, strict=True)]
            return sparse.hstack(parts, format="csr")

        self._most_rows = sparse.vstack(
            [
                row(periods * links, lit=-lit, stock=sparse.kron(kept, sparse.eye_array(links))),
                row(periods * len(switch), lit=sparse.kron(sparse.eye_array(periods), through)),
                row((periods - 1) * len(touching), stock=sparse.kron(sparse.eye_array(periods - 1), sparse.coo_array(touching))),
            ],
            format="csr",
        )
        always = np.where(on_switch >= 0, 0.0, made)
        always[0] += supply.stock / self.unit_bit
        at_once = [float(item.at_once) for item in topology.switches.values()]
        buffers = np.array(list(supply.buffers.values())) / self.unit_bit
        self._most = np.concatenate([always.ravel(), np.tile(at_once, periods), np.tile(buffers, periods - 1)])
        self._equal_rows = row(
            periods * demands, handed=sparse.eye_array(periods * demands), ahead=sparse.kron(kept, sparse.eye_array(demands))
        )
        self._upper = np.full(self.starts[-1], np.inf)
        self._upper[0] = 1.0
        self._upper[self.starts[1] : self.starts[2]] = self._wanted.ravel()
        self._upper[self.starts[2] : self.starts[3]] = 1.0
        self._upper[self.starts[4] :] = supply.ahead_bit / self.unit_bit

    def _add_first_ways(self) -> None:
        """The shortest way of each demand in each period over links that can have key by then."""
        for period in range(self.periods):
            self._add(period, self._finder.cheapest(self._want.pairs, np.where(self._open[period], 1.0, np.inf)))
        self._new_columns()

    def _add(self, period: int, ways: Ways, worth: NDArray[np.bool_] | None = None) -> int:
        """Note the ways of those demands for whom they are ``worth`` a column; how many there are."""
        has = np.diff(ways.of_pair) > 0
        demands = np.flatnonzero(has if worth is None else has & worth)
        numbers = ways.of_pair[demands]
        self.way_links += [ways.link[ways.of_way[number] : ways.of_way[number + 1]] for number in numbers]
        self.way_demand = np.concatenate([self.way_demand, demands])
        self.way_period = np.concatenate([self.way_period, np.full(demands.size, period)])
        return demands.size

    def _new_columns(self) -> None:
        """The matrices of all ways: what they take from each link, and bring each demand."""
        count = len(self.way_links)
        lengths = np.array([links.size for links in self.way_links], np.int64)
        links = np.concatenate([np.zeros(0, np.int64), *self.way_links]) + np.repeat(self.way_period, lengths) * self.link_count
        columns = np.repeat(np.arange(count), lengths)
        self._taken = sparse.csr_array((np.ones(links.size), (links, columns)), shape=(self._most.size, count))
        brought = self.way_period * self.demand_count + self.way_demand
        self._brought = sparse.csr_array((-np.ones(count), (brought, np.arange(count))), shape=(self.periods * self.demand_count, count))

    def reachable(self) -> NDArray[np.bool_]:
        """Which demands want something and have a way."""
        found = np.zeros(self.demand_count, bool)
        found[self.way_demand] = True
        return found & (self._wanted.sum(axis=0) > 0.0)

    def optimise(self, value: Floats, stage_rows: sparse.csr_array, stage: Floats) -> tuple[OptimizeResult, Floats]:
        """The greatest ``value`` under more rows of the fixed variables, with all ways there are; the price of links (periods, links)."""
        size, demands = self.starts[-1], self.periods * self.demand_count
        for _ in range(MOST_ROUNDS):
            count = len(self.way_links)
            rows = sparse.vstack(
                [sparse.hstack([self._most_rows, self._taken]), sparse.hstack([stage_rows, sparse.csr_array((stage.size, count))])]
            )
            done = linprog(
                -np.concatenate([value, np.zeros(count)]),
                A_ub=rows,
                b_ub=np.concatenate([self._most, stage]),
                A_eq=sparse.hstack([self._equal_rows, self._brought], format="csr"),
                b_eq=np.zeros(demands),
                bounds=np.column_stack([np.zeros(size + count), np.concatenate([self._upper, np.full(count, np.inf)])]),
                method="highs",
            )
            if done.status != 0:
                raise TiandiError(f"HiGHS found no optimum of key relay: {done.message}")
            price = np.maximum(-done.ineqlin.marginals[: self.periods * self.link_count], 0.0).reshape(self.periods, -1)
            if self._add_by_price(price, -done.eqlin.marginals.reshape(self.periods, -1), float(value.max())) == 0:
                return done, price
            self._new_columns()
        raise TiandiError(f"the optimum of key relay was not found in {MOST_ROUNDS} rounds")

    def _add_by_price(self, price: Floats, worth: Floats, dearest: float) -> int:
        """Add each demand's cheapest way of each period where a bit is worth more than what the way takes; how many."""
        added = 0
        for period in range(self.periods):
            cost = np.where(self._open[period], price[period], np.inf)
            ways = self._finder.cheapest(self._want.pairs, cost)
            paid = np.concatenate([[0.0], np.cumsum(cost[ways.link])])[ways.of_way]
            has = np.diff(ways.of_pair) > 0
            gain = np.full(self.demand_count, -np.inf)
            gain[has] = worth[period, has] - np.diff(paid)
            added += self._add(period, ways, gain > GAIN * dearest)
        return added

    def by_weight(self) -> tuple[OptimizeResult, Floats]:
        """The most weighted key of each class of priority, the first first."""
        handed = np.outer(np.linspace(1.0 + SOONER, 1.0, self.periods), self._want.weight).ravel()
        rows, least = sparse.csr_array((0, self.starts[-1])), np.zeros(0)
        for priority in np.unique(self._want.priority):
            value = np.zeros(self.starts[-1])
            value[1 : self.starts[2]] = np.where(np.tile(self._want.priority == priority, self.periods), handed, 0.0)
            done, price = self.optimise(value, rows, least)
            rows = sparse.vstack([rows, sparse.csr_array(-value[None, :])], format="csr")
            least = np.append(least, done.fun * (1.0 - 1e-9) if done.fun < 0.0 else 0.0)
        return done, price

    def by_fairness(self) -> OptimizeResult:
        """Progressive filling: each class of priority in turn, each round with those that can rise no further held where they are.

        Those are the demands whose share has a price: by complementary slackness it is the least one in every optimum.
        """
        total = self._wanted.sum(axis=0)
        level = np.zeros(self.demand_count)
        sums = sparse.kron(np.ones((1, self.periods)), sparse.eye_array(self.demand_count))
        rest = sparse.csr_array((self.demand_count, self.starts[-1] - self.starts[2]))
        for priority in np.unique(self._want.priority):
            rising = self.reachable() & (self._want.priority == priority)
            while True:
                stage_rows = sparse.hstack([sparse.coo_array(np.where(rising, total, 0.0)[:, None]), -sums, rest], format="csr")
                value = np.zeros(self.starts[-1])
                value[0] = max(float(total[rising].sum()), 1.0)
                done, _ = self.optimise(value, stage_rows, -level)
                if not rising.any():
                    break
                price = -done.ineqlin.marginals[self._most.size :]
                held = rising & (price > GAIN) if done.x[0] < 1.0 else rising
                held = held if held.any() else rising & (price >= price[rising].max())
                level[held] = done.x[0] * total[held] * (1.0 - 1e-9)
                rising &= ~held
        return done
