"""What the key that satellites share with stations is worth to pairs of stations: a linear programme, its prices, a bound from them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import sparse
from scipy.optimize import linprog

from tiandi.control.contact_model import STORED_SHARE, SURPLUS_SHARE, Choices, Floats, Indices


@dataclass(frozen=True)
class Worth:
    """The worth of key: concave, because pairs want only so much and each bit of a pair takes one of both its stations.

    A key is what one satellite shares with one station; number satellite * stations + station. Hand-over h gives a pair ``pair[h]`` the XOR
    of key ``near[h]`` and key ``far[h]`` of a satellite. The worth of stocks K [bit] is

        max  stored . K + sum_h (s w_pair - stored_near - stored_far) u_h + sum_p (1 - s) w_p v_p
        over u >= 0, 0 <= v <= wanted,  sum of u that take key k <= K_k,  v_p <= sum of u of pair p,

    with s = `SURPLUS_SHARE`: v is what counts in full.
    """

    stored: Floats
    pair: Indices
    near: Indices
    far: Indices
    weight: Floats
    wanted_bit: Floats

    @classmethod
    def of(cls, choices: Choices) -> Worth:
        """The worth of what these choices can bring: hand-overs of keys that nobody can have are left out."""
        satellites, stations = choices.stock_bit.shape
        pairs, weight = np.asarray(choices.demands.stations), np.asarray(choices.demands.weight)
        stored = np.zeros(stations) if len(pairs) else np.ones(stations)
        for end in pairs.T:
            np.maximum.at(stored, end, STORED_SHARE * weight)
        possible = np.bincount(key_numbers(choices), minlength=satellites * stations).astype(bool) | (choices.stock_bit.ravel() > 0.0)
        first = stations * np.arange(satellites)[:, None]
        near, far = first + pairs[:, 0], first + pairs[:, 1]
        satellite, pair = np.nonzero(possible[near] & possible[far])
        wanted_bit = np.asarray(choices.demands.wanted_bit)
        return cls(np.tile(stored, satellites), pair, near[satellite, pair], far[satellite, pair], weight, wanted_bit)

    @cached_property
    def gains(self) -> Floats:
        """What a bit of each hand-over and a bit that counts in full add, shape (hand-overs + pairs,)."""
        handed = SURPLUS_SHARE * self.weight[self.pair] - self.stored[self.near] - self.stored[self.far]
        return np.concatenate([handed, (1.0 - SURPLUS_SHARE) * self.weight])

    @cached_property
    def upper(self) -> Floats:
        """The upper bounds of the same variables."""
        return np.concatenate([np.full(self.pair.size, np.inf), self.wanted_bit])

    @cached_property
    def uses(self) -> sparse.csr_array:
        """What the same variables take of each key, and then of the hand-overs of each pair, shape (keys + pairs, hand-overs + pairs)."""
        keys, pairs, handovers = self.stored.size, self.weight.size, np.arange(self.pair.size)
        row = np.concatenate([self.near, self.far, keys + self.pair, keys + np.arange(pairs)])
        column = np.concatenate([handovers, handovers, handovers, self.pair.size + np.arange(pairs)])
        value = np.concatenate([np.ones(2 * self.pair.size), -np.ones(self.pair.size), np.ones(pairs)])
        return sparse.csr_array((value, (row, column)), shape=(keys + pairs, self.pair.size + pairs))

    def of_stock(self, stock_bit: Floats) -> tuple[float, Floats]:
        """The worth of ``stock_bit``, shape (keys,), and the price of one more bit of each key there."""
        if not self.pair.size:
            return float(self.stored @ stock_bit), self.stored
        unit = max(1.0, float(stock_bit.max()))
        limits = np.concatenate([stock_bit / unit, np.zeros(self.weight.size)])
        bounds = np.column_stack([np.zeros(self.upper.size), self.upper / unit])
        solution = linprog(-self.gains, A_ub=self.uses, b_ub=limits, bounds=bounds, method="highs")
        prices = self.stored - solution.ineqlin.marginals[: self.stored.size]
        return float(self.stored @ stock_bit - unit * solution.fun), prices

    def first_prices(self) -> Floats:
        """Prices to begin with: both ends of the best pair that a key can serve share its worth."""
        prices = self.stored.copy()
        for end in (self.near, self.far):
            np.maximum.at(prices, end, 0.5 * self.weight[self.pair])
        return prices

    def constant(self, prices: Floats) -> float:
        """c such that no stock K is worth more than c + ``prices`` . K, shape (keys,); the prices are averages of prices `of_stock` gave.

        It is the dual of the programme above: of each bit wanted, what its cheapest hand-over costs less than the pair's weight.
        """
        cheapest = np.full(self.weight.size, np.inf)
        np.minimum.at(cheapest, self.pair, prices[self.near] + prices[self.far])
        return float(self.wanted_bit @ np.maximum(0.0, self.weight - cheapest))


def key_numbers(choices: Choices) -> Indices:
    """The key that each contact adds to, shape (n,)."""
    return choices.contacts["satellite"] * choices.stock_bit.shape[1] + choices.contacts["station"]


def stock_with(choices: Choices, taken: np.ndarray) -> Floats:
    """The stock [bit], shape (keys,), when the contacts ``taken``, a mask of shape (n,), have brought what is expected of them."""
    added = np.bincount(key_numbers(choices), choices.contacts["expected_bit"] * taken, minlength=choices.stock_bit.size)
    return choices.stock_bit.ravel() + added
