"""Contact plans: which satellite serves which station in which pass, or part of one, so that pairs of stations get the key they want.

Optimal by mixed-integer programming for days, greedy for months; both say how far from the best they can be. Every plan keeps the
telescopes of satellites and stations, the slew between two contacts, and the pointing that a satellite can afford in a day.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike
from scipy import sparse
from scipy.optimize import Bounds, LinearConstraint, OptimizeResult, linprog, milp

from tiandi.control import contact_timelines as timelines
from tiandi.control.contact_greedy import Taken, choose_greedily
from tiandi.control.contact_model import LATEST_S, Choices, Floats, Indices, PairDemands, Rows, SatelliteLimits, StationLimits, list_choices
from tiandi.control.contact_worth import Worth, key_numbers, stock_with
from tiandi.errors import InputError
from tiandi.limits import require_within

Method = Literal["greedy", "optimal"]


@dataclass(frozen=True)
class ContactPlan:
    """``contacts`` of `tiandi.control.contact_model.CONTACT` by start, kept ones among them, are worth ``value_bit`` over none at all.

    No plan of the same choices is worth more than ``bound_bit``, where that was asked for. Worth is weighted key as `PairDemands` says, of
    expected keys: of two uncertain passes the less lucky one decides, so that on the average a pair gets a little less.
    """

    contacts: Rows
    value_bit: float
    bound_bit: float | None
    method: Method

    @property
    def gap(self) -> float | None:
        """By how much of the bound the value may be short of the best, in [0, 1]; None without a bound."""
        if self.bound_bit is None:
            return None
        return max(0.0, 1.0 - self.value_bit / self.bound_bit) if self.bound_bit > 0.0 else 0.0


def plan_contacts(
    rows: Rows,
    *,
    satellites: SatelliteLimits,
    stations: StationLimits,
    demands: PairDemands | None = None,
    clear_probability: ArrayLike = 1.0,
    method: Method = "greedy",
    deadline_s: float = 60.0,
    close_enough: float = 1e-4,
    bounded: bool = True,
    stock_bit: ArrayLike = 0.0,
    kept: Rows | None = None,
    now_s: float = -LATEST_S,
    parts: int = 3,
    midnight_s: float = 0.0,
) -> ContactPlan:
    """Choose contacts from passes ``rows`` (`ROW_FIELDS`, shape (n,)) under the ``clear_probability`` of each, a number or shape (n,).

    What a satellite has shared already is in ``stock_bit``, shape (satellites, stations); contacts ``kept``, of `CONTACT`, are in the plan
    before it is made, and nothing that begins before ``now_s`` is put in. `list_choices` tells how passes are divided into ``parts``.

    The optimal method stops when its gap is ``close_enough``, or after ``deadline_s`` with the best that it has, the greedy plan at worst.
    The greedy one is compared with the relaxed programme, in which contacts may be taken by halves, unless it is not to be ``bounded``: for
    a year of ten satellites and twenty stations that takes minutes. Raises InputError.
    """
    if method not in get_args(Method):
        raise InputError("method", method, f"must be one of {', '.join(get_args(Method))}")
    require_within("deadline_s", deadline_s, 0.0, 1e6)
    require_within("close_enough", close_enough, 0.0, 1.0)
    choices = list_choices(
        rows,
        clear_probability=clear_probability,
        satellites=satellites,
        stations=stations,
        demands=demands,
        stock_bit=stock_bit,
        kept=kept,
        now_s=now_s,
        parts=parts,
        midnight_s=midnight_s,
    )
    worth = Worth.of(choices)
    nothing, _ = worth.of_stock(choices.stock_bit.ravel())
    taken, value = choose_greedily(choices, worth)
    bound = None
    if not choices.contacts.size:
        bound = value
    elif method == "optimal":
        taken, value, bound = _choose_optimally(choices, worth, (taken, value), {"time_limit": deadline_s, "mip_rel_gap": close_enough})
    elif bounded:
        bound = _Programme.of(choices, worth).relaxed_bound()
    contacts = choices.contacts[taken]
    by_start = contacts[np.argsort(contacts["start_s"], kind="stable")]
    return ContactPlan(by_start, value - nothing, None if bound is None else max(value, bound) - nothing, method)


def _choose_optimally(choices: Choices, worth: Worth, greedy: tuple[Taken, float], options: dict[str, float]) -> tuple[Taken, float, float]:
    """What is taken, its worth, and the solver's bound; what is taken is ``greedy`` where the solver found nothing better."""
    taken, value = greedy
    # What all contacts together would be worth bounds every choice, should the solver have no time to say more.
    bound, _ = worth.of_stock(stock_with(choices, np.ones(taken.size, np.bool_)))
    programme = _Programme.of(choices, worth)
    solution = programme.solve(options)
    if solution.mip_dual_bound is not None and np.isfinite(solution.mip_dual_bound):
        bound = min(bound, -programme.unit_bit * solution.mip_dual_bound)
    if solution.x is not None:
        found = solution.x[: taken.size] > 0.5
        found_value, _ = worth.of_stock(stock_with(choices, found))
        if found_value > value:
            taken, value = found, found_value
    return taken, value, bound


@dataclass(frozen=True)
class _Programme:
    """max ``gains`` . x over x in [``lower``, ``upper``] with ``matrix`` x <= ``limits``: contacts taken or not, then what `Worth` varies.

    Key goes in units of ``unit_bit``, so that all coefficients are of the order of 1.
    """

    matrix: sparse.csr_array
    limits: Floats
    gains: Floats
    lower: Floats
    upper: Floats
    contacts: int
    unit_bit: float

    @classmethod
    def of(cls, choices: Choices, worth: Worth) -> _Programme:
        """The programme of these choices."""
        count, keys, uses = choices.contacts.size, key_numbers(choices), worth.uses
        unit_bit = max(1.0, float(choices.contacts["expected_bit"].max(initial=0.0)))
        brought = choices.contacts["expected_bit"] / unit_bit
        supply = sparse.csr_array((-brought, (keys, np.arange(count))), shape=(uses.shape[0], count))
        at_once, limits = _at_once(choices)
        nothing = sparse.csr_array((limits.size, uses.shape[1]))
        lower = np.zeros(count + uses.shape[1])
        lower[: choices.kept] = 1.0
        return cls(
            matrix=sparse.vstack([sparse.hstack([supply, uses]), sparse.hstack([at_once, nothing])]).tocsr(),
            limits=np.concatenate([choices.stock_bit.ravel() / unit_bit, np.zeros(worth.weight.size), limits]),
            gains=np.concatenate([worth.stored[keys] * brought, worth.gains]),
            lower=lower,
            upper=np.concatenate([np.ones(count), worth.upper / unit_bit]),
            contacts=count,
            unit_bit=unit_bit,
        )

    def relaxed_bound(self) -> float:
        """What no plan exceeds: the optimum when contacts may be taken by any fraction."""
        bounds = np.column_stack([self.lower, self.upper])
        return -self.unit_bit * linprog(-self.gains, A_ub=self.matrix, b_ub=self.limits, bounds=bounds, method="highs").fun

    def solve(self, options: dict[str, float]) -> OptimizeResult:
        """The optimum as far as HiGHS comes under its ``options``."""
        integral = np.zeros(self.gains.size)
        integral[: self.contacts] = 1
        return milp(
            -self.gains,
            constraints=LinearConstraint(self.matrix, ub=self.limits),
            bounds=Bounds(self.lower, self.upper),
            integrality=integral,
            options=options,
        )


def _at_once(choices: Choices) -> tuple[sparse.csr_array, Floats]:
    """What cannot be taken together, as rows of a matrix over contacts and their limits.

    One part of a pass; as many of those that overlap at one moment as a satellite or station has telescopes, which for intervals says
    everything that pairs would; as much pointing as a satellite's day allows.
    """
    contacts, board = choices.contacts, timelines.empty_board(choices)
    _, row = np.unique(contacts["row"], return_inverse=True)
    groups: list[tuple[Indices, Indices, Floats, Floats]] = [
        (*_grouped(row, np.bincount(row)[row] > 1), np.ones(contacts.size), np.ones(contacts.size))
    ]
    for line in (board.at_satellite, board.at_station):
        members, ends = timelines.cliques(line, board.row)
        which = np.repeat(np.arange(ends.size), np.diff(ends, prepend=0))
        groups.append((which, members, np.ones(contacts.size), line.capacity[line.server[line.place]].astype(float)))
    asked_s = np.bincount(choices.day, board.duration_s)
    limit_s = choices.day_limit_s[choices.day]
    groups.append((*_grouped(choices.day, asked_s[choices.day] > limit_s), board.duration_s, limit_s))
    blocks, limits = [], []
    for which, members, weight, limit in groups:
        blocks.append(sparse.csr_array((weight[members], (which, members)), shape=(which.max(initial=-1) + 1, contacts.size)))
        _, first = np.unique(which, return_index=True)
        limits.append(limit[members[first]])
    return sparse.vstack(blocks).tocsr(), np.concatenate(limits).astype(float)


def _grouped(group: Indices, mask: Taken) -> tuple[Indices, Indices]:
    """The contacts in ``mask``, and a number from 0 on for the group of each."""
    members = np.flatnonzero(mask)
    return np.unique(group[members], return_inverse=True)[1], members
