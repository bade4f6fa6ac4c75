"""The greedy choice of contacts: fast, at prices of key that are learnt from one choice to the next."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from tiandi.constants import SECONDS_PER_DAY
from tiandi.control import contact_timelines as timelines
from tiandi.control.contact_model import Choices, Floats, Indices
from tiandi.control.contact_worth import Worth, key_numbers, stock_with
from tiandi.errors import InputError

Taken = NDArray[np.bool_]

ROUNDS = 12
"""Of learning prices; twice as many bring less than a part in a hundred."""
SAMPLE_CONTACTS = 30_000
"""Of longer choices, prices are learnt on some of the days first."""
LAST_ROUNDS = 1
SETTLED = 3
"""After so many rounds with the same choice no other is looked for."""


def choose_greedily(choices: Choices, worth: Worth) -> tuple[Taken, float]:
    """What is taken, shape (n,), and its worth: contacts at a price for each key, most worth a second first, exchanged while that pays.

    The prices are what one more bit of each key is worth beside the plan of the round before, averaged over the rounds. Raises InputError
    for kept contacts that break a limit.
    """
    stride = 1 + choices.contacts.size // SAMPLE_CONTACTS
    if not worth.pair.size:
        _, _, taken = _rounds(choices, worth, worth.stored, range(1))
    elif stride == 1:
        _, _, taken = _rounds(choices, worth, worth.first_prices(), range(ROUNDS))
    else:
        prices, _, _ = _rounds(*_some_days(choices, stride), worth.first_prices(), range(ROUNDS))
        _, _, taken = _rounds(choices, worth, prices, range(ROUNDS, ROUNDS + LAST_ROUNDS))
    return taken, worth.of_stock(stock_with(choices, taken))[0]


def _some_days(choices: Choices, stride: int) -> tuple[Choices, Worth]:
    """One day in ``stride``, with as small a part of stocks and wants."""
    contacts = choices.contacts
    sample = np.floor(contacts["start_s"] / SECONDS_PER_DAY).astype(np.int64) % stride == 0
    wanted_bit = np.asarray(choices.demands.wanted_bit) / stride
    fewer = replace(
        choices,
        contacts=contacts[sample],
        kept=int(sample[: choices.kept].sum()),
        day=choices.day[sample],
        stock_bit=choices.stock_bit / stride,
        demands=replace(choices.demands, wanted_bit=wanted_bit),
    )
    return fewer, Worth.of(fewer)


def _rounds(choices: Choices, worth: Worth, prices: Floats, numbers: range) -> tuple[Floats, float, Taken]:
    """The prices after these rounds, and the best choice among them with its worth."""
    board, key = timelines.empty_board(choices), key_numbers(choices)
    best, best_worth, unchanged = np.zeros(key.size, np.bool_), -1.0, 0
    last = best
    for number in numbers:
        taken = _choose_at_prices(choices, board, prices[key] * choices.contacts["expected_bit"])
        value, new_prices = worth.of_stock(stock_with(choices, taken))
        if value > best_worth:
            best, best_worth = taken, value
        prices = prices + (new_prices - prices) / (number + 2)
        unchanged, last = unchanged + 1 if np.array_equal(taken, last) else 0, taken
        if unchanged == SETTLED:
            break
    return prices, best_worth, best


def _choose_at_prices(choices: Choices, board: timelines.Board, weight: Floats) -> Taken:
    """A choice of much ``weight``: first what brings most a second, which short parts do, then whole passes for parts where that pays."""
    timelines.clear_board(board, choices)
    for contact in range(choices.kept):
        if not timelines.fits(board, contact):
            raise InputError("kept", choices.contacts[contact].tolist(), "does not fit beside the others that are kept")
        timelines.put(board, contact)
    timelines.take_in_order(board, weight, _heaviest_first(choices, weight / (board.duration_s + 60.0)))
    merit = _heaviest_first(choices, weight)
    timelines.exchange(board, weight, merit, choices.kept)
    timelines.take_in_order(board, weight, merit)
    return board.taken.copy()


def _heaviest_first(choices: Choices, weight: Floats) -> Indices:
    """Contacts day after day, the heaviest of a day first: days hardly meet, and a day fits into the processor's cache."""
    day = np.floor(choices.contacts["start_s"] / SECONDS_PER_DAY)
    return np.argsort(day - weight / max(weight.max(initial=0.0) * 1.001, 1e-300), kind="stable")
