"""Compiled loops over contacts in time: what fits beside what is taken, a greedy choice, its improvement by exchange, and cliques."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tiandi.compiling import kernel
from tiandi.control.contact_model import Choices, Floats, Indices


class Timeline(NamedTuple):
    """Contacts as stays at servers, which are satellites or stations, each lasting until the slew after it is done.

    Arrays go by server and start: a search in time reads neighbours. ``place`` is where each contact stands in them. Those of server s
    stand from ``first[s]`` to ``first[s + 1]``, none lasts longer than ``longest_s[s]``, and ``capacity[s]`` fit beside each other. Taken
    ones are ``busy``; ``rivals`` counts how many of them each stay overlaps, itself left out.
    """

    contact: Indices
    start_s: Floats
    until_s: Floats
    busy: np.ndarray
    rivals: Indices
    server: Indices
    place: Indices
    first: Indices
    capacity: Indices
    longest_s: Floats


class Board(NamedTuple):
    """A choice in the making: the contact taken of each row (-1 for none), pointing left [s] on each satellite's day, what is taken."""

    at_satellite: Timeline
    at_station: Timeline
    row: Indices
    day: Indices
    duration_s: Floats
    of_row: Indices
    left_s: Floats
    taken: np.ndarray


def empty_board(choices: Choices) -> Board:
    """A board on which nothing is taken."""
    contacts, limits, places = choices.contacts, choices.satellites, choices.stations
    _, row = np.unique(contacts["row"], return_inverse=True)
    return Board(
        at_satellite=_timeline(choices, "satellite", np.asarray(limits.slew_s), np.asarray(limits.telescopes)),
        at_station=_timeline(choices, "station", np.asarray(places.slew_s), np.asarray(places.telescopes)),
        row=row.astype(np.int64),
        day=choices.day,
        duration_s=contacts["end_s"] - contacts["start_s"],
        of_row=np.full(row.max(initial=-1) + 1, -1),
        left_s=choices.day_limit_s.astype(float),
        taken=np.zeros(row.size, np.bool_),
    )


def clear_board(board: Board, choices: Choices) -> None:
    """Take nothing any longer."""
    for line in (board.at_satellite, board.at_station):
        line.busy[:], line.rivals[:] = False, 0
    board.taken[:] = False
    board.of_row[:], board.left_s[:] = -1, choices.day_limit_s


def _timeline(choices: Choices, column: str, slew_s: Floats, capacity: Indices) -> Timeline:
    server, start_s = choices.contacts[column], choices.contacts["start_s"]
    contact = np.lexsort((start_s, server))
    place = np.empty_like(contact)
    place[contact] = np.arange(contact.size)
    server, start_s = server[contact], start_s[contact]
    until_s = choices.contacts["end_s"][contact] + slew_s[server]
    first = np.searchsorted(server, np.arange(slew_s.size + 1))
    longest_s = np.zeros(slew_s.size)
    np.maximum.at(longest_s, server, until_s - start_s)
    return Timeline(
        contact, start_s, until_s, np.zeros(contact.size, np.bool_), np.zeros_like(contact), server, place, first, capacity, longest_s
    )


@kernel
def neighbours(line: Timeline, here: int) -> tuple[int, int]:
    """From where to where the stays lie that may overlap the one at the place ``here``."""
    server = line.server[here]
    low, high = here, here + 1
    earliest_s, until_s = line.start_s[here] - line.longest_s[server], line.until_s[here]
    while low > line.first[server] and line.start_s[low - 1] > earliest_s:
        low -= 1
    while high < line.first[server + 1] and line.start_s[high] < until_s:
        high += 1
    return low, high


@kernel
def is_full(line: Timeline, here: int) -> bool:
    """Whether, at some moment of the stay at the place ``here``, all of its server is taken."""
    begin_s, capacity = line.start_s[here], line.capacity[line.server[here]]
    if line.rivals[here] < capacity or capacity == 1:
        return line.rivals[here] >= capacity
    low, high = neighbours(line, here)
    for at in range(low, high):
        if not line.busy[at] or line.until_s[at] <= begin_s:
            continue
        # The crowd is largest when somebody comes, or at the beginning.
        moment_s, crowd = max(begin_s, line.start_s[at]), 0
        for beside in range(low, high):
            crowd += line.busy[beside] and line.start_s[beside] <= moment_s < line.until_s[beside]
        if crowd >= capacity:
            return True
    return False


@kernel
def least_rival(line: Timeline, weight: Floats, here: int) -> int:
    """The lightest contact taken that overlaps the stay at the place ``here``."""
    low, high = neighbours(line, here)
    least = -1
    for at in range(low, high):
        if line.busy[at] and line.until_s[at] > line.start_s[here] and (least < 0 or weight[line.contact[at]] < weight[least]):
            least = line.contact[at]
    return least


@kernel
def stay(line: Timeline, here: int, sign: int) -> None:
    """Let the stay at the place ``here`` be taken (1), or no longer (-1)."""
    line.busy[here] = sign > 0
    low, high = neighbours(line, here)
    for at in range(low, high):
        if at != here and line.until_s[at] > line.start_s[here]:
            line.rivals[at] += sign


@kernel
def put(board: Board, contact: int) -> None:
    """Take ``contact``."""
    board.taken[contact] = True
    stay(board.at_satellite, board.at_satellite.place[contact], 1)
    stay(board.at_station, board.at_station.place[contact], 1)
    board.of_row[board.row[contact]] = contact
    board.left_s[board.day[contact]] -= board.duration_s[contact]


@kernel
def drop(board: Board, contact: int) -> None:
    """Take ``contact`` no longer."""
    board.taken[contact] = False
    stay(board.at_satellite, board.at_satellite.place[contact], -1)
    stay(board.at_station, board.at_station.place[contact], -1)
    board.of_row[board.row[contact]] = -1
    board.left_s[board.day[contact]] += board.duration_s[contact]


@kernel
def next_rival(board: Board, weight: Floats, contact: int) -> int:
    """What must go first before ``contact`` can be taken: another part of its pass, or the lightest in its way.

    -1 stands for nothing, -2 for that its satellite can never point that long.
    """
    part = board.of_row[board.row[contact]]
    if part >= 0:
        return part
    here = board.at_satellite.place[contact]
    if is_full(board.at_satellite, here):
        return least_rival(board.at_satellite, weight, here)
    there = board.at_station.place[contact]
    if is_full(board.at_station, there):
        return least_rival(board.at_station, weight, there)
    if board.left_s[board.day[contact]] >= board.duration_s[contact] - 1e-6:
        return -1
    return least_of_day(board, weight, contact)


@kernel
def least_of_day(board: Board, weight: Floats, contact: int) -> int:
    """The lightest contact taken on the satellite's day of ``contact``, or -2."""
    line, least = board.at_satellite, -2
    here = line.place[contact]
    for way in (-1, 1):
        at = here + way
        while line.first[line.server[here]] <= at < line.first[line.server[here] + 1] and board.day[line.contact[at]] == board.day[contact]:
            if line.busy[at] and (least < 0 or weight[line.contact[at]] < weight[least]):
                least = line.contact[at]
            at += way
    return least


@kernel
def take_in_order(board: Board, weight: Floats, merit: Indices) -> None:
    """Take what fits and weighs anything, in the order ``merit``."""
    for contact in merit:
        if weight[contact] > 0.0 and not board.taken[contact] and fits(board, contact):
            put(board, contact)


@kernel
def fits(board: Board, contact: int) -> bool:
    """Whether ``contact`` can be taken as well."""
    if board.of_row[board.row[contact]] >= 0 or board.left_s[board.day[contact]] < board.duration_s[contact] - 1e-6:
        return False
    full = is_full(board.at_satellite, board.at_satellite.place[contact]) or is_full(board.at_station, board.at_station.place[contact])
    return not full


@kernel
def exchange(board: Board, weight: Floats, merit: Indices, kept: int) -> int:
    """Take each contact that outweighs all that must go for it, in the order ``merit``; the first ``kept`` stay. Returns how many did."""
    exchanged = 0
    dropped = np.empty(256, np.int64)
    for contact in merit:
        if board.taken[contact] or weight[contact] <= 0.0:
            continue
        count, lost = 0, 0.0
        rival = next_rival(board, weight, contact)
        while rival >= kept and lost + weight[rival] < weight[contact] and count < dropped.size:
            drop(board, rival)
            dropped[count] = rival
            count, lost = count + 1, lost + weight[rival]
            rival = next_rival(board, weight, contact)
        if rival == -1:
            put(board, contact)
            exchanged += 1
        else:
            for at in range(count):
                put(board, dropped[at])
    return exchanged


def cliques(line: Timeline, row: Indices) -> tuple[Indices, Indices]:
    """The largest sets of contacts that overlap at a moment, of more passes than a server holds: members, and where each set ends."""
    nothing = np.empty(0, np.int64)
    filled, sets = _list_cliques(line, row, nothing, nothing)
    members, ends = np.empty(filled, np.int64), np.empty(sets, np.int64)
    if filled:
        _list_cliques(line, row, members, ends)
    return members, ends


@kernel
def _list_cliques(line: Timeline, row: Indices, members: Indices, ends: Indices) -> tuple[int, int]:
    """Enter `cliques` into ``members`` and ``ends``, or only count when they are empty. Returns how many members and sets there are."""
    filled = sets = 0
    active = np.empty(line.contact.size, np.int64)
    for server in range(line.capacity.size):
        count, grown = 0, False
        for at in range(line.first[server], line.first[server + 1] + 1):
            last = at == line.first[server + 1]
            moment_s = np.inf if last else line.start_s[at]
            left = 0
            for i in range(count):
                left += line.until_s[active[i]] > moment_s
            # Only a set that has grown since one was left last is not part of another.
            if grown and left < count and passes_among(line, row, active[:count]) > line.capacity[server]:
                if members.size:
                    members[filled : filled + count] = line.contact[active[:count]]
                    ends[sets] = filled + count
                filled, sets = filled + count, sets + 1
            grown = grown and left == count
            left = 0
            for i in range(count):
                if line.until_s[active[i]] > moment_s:
                    active[left] = active[i]
                    left += 1
            count = left
            if not last:
                active[count], grown = at, True
                count += 1
    return filled, sets


@kernel
def passes_among(line: Timeline, row: Indices, places: Indices) -> int:
    """Of how many passes the contacts at these places are."""
    passes = 0
    for i in range(places.size):
        seen = False
        for j in range(i):
            seen = seen or row[line.contact[places[i]]] == row[line.contact[places[j]]]
        passes += not seen
    return passes
