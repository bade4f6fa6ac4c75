"""How `tiandi control` shows what is known: tables, a chip map of characters, scores."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tiandi.cli.terminal import print_json, standard_output
from tiandi.computing.control.graph import STATES
from tiandi.computing.instruments.program import IntArray
from tiandi.errors import InputError

if TYPE_CHECKING:
    from rich.table import Table

    from tiandi.computing.control.bringup import Session
    from tiandi.computing.control.page.board import Board
    from tiandi.computing.control.running import Outcome
    from tiandi.computing.control.watching import Round
    from tiandi.computing.judging.criteria import Score

PLAIN_WIDTH = 140
UNITS = {"hz": "Hz", "s": "s", "v": "V", "ns": "ns", "dbc": "dBc"}
SCALED = ("Hz", "s", "V")
PREFIXES = ((1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""), (1e-3, "m"), (1e-6, "u"), (1e-9, "n"))
STOPS = ((36, 86, 166), (79, 127, 168), (138, 154, 134), (201, 180, 88), (255, 220, 61))
"""Colours of maps, low to high: those of the page."""
MOST_REASONS = 30


def written(name: str, value: float | str | None, uncertainty: float | None = None) -> str:
    """A value with the unit that its name ends in, as "4.9857 GHz"."""
    if value is None:
        return "-"
    if isinstance(value, str):
        return value
    unit = UNITS.get(name.rsplit("_", 1)[-1], "")
    factor, prefix = 1.0, ""
    if unit in SCALED and value:
        factor, prefix = next(((one, word) for one, word in PREFIXES if abs(value) >= one), PREFIXES[-1])
    text = f"{value / factor:.5g}"
    if uncertainty:
        places = int(np.clip(1 - np.floor(np.log10(uncertainty / factor)), 0, 8))
        text = f"{value / factor:.{places}f} +- {uncertainty / factor:.{places}f}"
    return f"{text} {prefix}{unit}".rstrip()


def numbers_of(text: str) -> IntArray | None:
    """As "0,3,17"; None for nothing. Raises InputError for anything else."""
    if not text.strip():
        return None
    try:
        return np.array(sorted({int(part) for part in text.split(",")}), np.int64)
    except ValueError:
        raise InputError("elements", text, "must be whole numbers with commas between them, as 0,3,17") from None


def overview(board: Board) -> dict[str, Any]:
    """Experiments with their counts, and flags."""
    chip = board.chip()
    return {name: chip[name] for name in ("name", "now_s", "sound", "experiments", "flags", "parameters")}


def show_overview(board: Board, *, json: bool) -> None:
    """How far each experiment has come, and what was flagged."""
    found = overview(board)
    if json:
        print_json(found)
        return
    table = _table(f"{found['name']}; laboratory time {found['now_s']:,.0f} s", ["experiment", "what"])
    for word in STATES[1:]:
        table.add_column(word, justify="right")
    for one in found["experiments"]:
        table.add_row(one["name"], one["title"], *(str(one["counts"][word] or "-") for word in STATES[1:]))
    standard_output().print(table)
    for flag in found["flags"]:
        print(f"{flag['element']} {flag['index']}: {flag['fault']}: {flag['reason']}")
    sound = found["sound"]
    print(f"{sound['qubit']} qubits and {sound['coupler']} couplers without a flag; {len(found['flags'])} flags.")
    _show_reasons(board)


def _show_reasons(board: Board) -> None:
    """Why elements failed."""
    lines = [
        f"{progress.element} {index}: {name}: {reason}"
        for name, progress in board.condition.progress.items()
        for index, reason in sorted(progress.reason.items())
        if STATES[progress.state[index]] == "failed" and not board.knowledge.flagged(progress.element, index)
    ]
    for line in lines[:MOST_REASONS]:
        print(line)
    if len(lines) > MOST_REASONS:
        print(f"and {len(lines) - MOST_REASONS} more that failed: tiandi control show --element says why")


def show_parameter(board: Board, name: str, *, table: bool, json: bool) -> None:
    """One parameter on the map of the chip, with its distribution, or as a table."""
    found = board.parameter(name)
    if json:
        print_json(found)
        return
    if table:
        drawn = _table(name, [found["element"]])
        for column in ("value", "measured at s"):
            drawn.add_column(column, justify="right")
        nothing = [None] * len(found["value"])
        rows = zip(found["value"], found.get("uncertainty", nothing), found.get("measured_s", nothing), strict=True)
        for index, (value, uncertainty, measured_s) in enumerate(rows):
            if value is not None:
                drawn.add_row(str(index), written(name, value, uncertainty), "-" if measured_s is None else f"{measured_s:,.0f}")
        standard_output().print(drawn)
        return
    values = found["value"]
    if any(isinstance(value, str) for value in values):
        for word in STATES:
            print(f"{word:<8}{values.count(word):>6}")
        return
    known = np.array([value for value in values if value is not None], float)
    if found["element"] == "qubit":
        standard_output().print(_map(board, values))
    if not len(known):
        print(f"{name}: nothing is known")
        return
    low, median, high = (written(name, float(value)) for value in np.quantile(known, (0.0, 0.5, 1.0)))
    print(f"{name}: {low} to {high}, median {median}; {len(known)} of {len(values)} known")


def _map(board: Board, values: list[float | None]) -> Any:
    """Each qubit as two digits: its place between lowest (00) and highest (99); -- for unknown."""
    from rich.text import Text

    electronics = board.knowledge.electronics
    known = [value for value in values if value is not None]
    low, high = (min(known), max(known)) if known else (0.0, 1.0)
    rows, columns = electronics.position.max(axis=0) + 1
    cells = [[Text("   ") for _ in range(columns)] for _ in range(rows)]
    for (row, column), value in zip(electronics.position.tolist(), values, strict=True):
        if value is None:
            cells[row][column] = Text(" --", style="dim")
            continue
        share = (value - low) / (high - low) if high > low else 0.5
        at = share * (len(STOPS) - 1)
        first = min(int(at), len(STOPS) - 2)
        red, green, blue = (round(one + (other - one) * (at - first)) for one, other in zip(STOPS[first], STOPS[first + 1], strict=True))
        ink = "black" if share > 0.2 else "white"
        cells[row][column] = Text(f" {min(int(100 * share), 99):02d}", style=f"{ink} on rgb({red},{green},{blue})")
    return Text("\n").join(Text.assemble(*row) for row in cells)


def show_element(board: Board, kind: str, index: int, *, json: bool) -> None:
    """All that is known of one element."""
    found = board.element(kind, index)
    if json:
        print_json(found)
        return
    for flag in found["flags"]:
        print(f"flagged: {flag['fault']}: {flag['reason']}")
    table = _table(f"{kind} {index}", ["parameter"])
    table.add_column("value", justify="right")
    for one in found["parameters"]:
        table.add_row(one["name"], written(one["name"], one["value"], one["uncertainty"]))
    standard_output().print(table)
    for one in found["experiments"]:
        if one["state"] != "never":
            print(f"{one['state']:<8}{one['name']:<28}{one['reason']}".rstrip())


def show_outcome(session: Session, outcome: Outcome, *, json: bool) -> None:
    """What came of one experiment."""
    failed = {int(one): str(why) for one, why in zip(outcome.targets, outcome.verdicts, strict=True) if why}
    moved = [int(one) for one in outcome.targets[outcome.moved]]
    if json:
        print_json(
            {
                "experiment": outcome.experiment,
                "measured": len(outcome.targets),
                "moved": moved,
                "failed": {str(one): why for one, why in failed.items()},
            }
        )
        return
    kind = session.graph[outcome.experiment].element
    print(f"{outcome.experiment}: {len(outcome.targets)} measured, {int(outcome.good.sum())} good, {len(moved)} with a new value")
    for index, reason in failed.items():
        print(f"{kind} {index}: {reason}")


def round_as_json(one: Round) -> dict[str, Any]:
    """A round of the watch."""
    failed = {name: {str(index): why for index, why in found.items()} for name, found in one.failed.items()}
    return {"now_s": one.now_s, "checked": one.checked, "failed": failed, "measured": one.walk.measured}


def show_round(one: Round) -> None:
    """What a round of the watch checked, and what it measured anew."""
    print(f"laboratory time {one.now_s:,.0f} s")
    for name, count in one.checked.items():
        print(f"  {name:<28}{count:>6} checked{len(one.failed.get(name, {})):>6} failed")
    again = {name: count for name, count in one.walk.measured.items() if count}
    print(f"  measured anew: {', '.join(f'{name} {count}' for name, count in again.items()) or 'nothing'}")


def show_score(score: Score) -> None:
    """Each criterion beside its goal, and the flags."""
    table = _table("Against the hidden truth", ["criterion"])
    for column in ("limit", "within", "goal", "median", "95 %", "99 %", "measured", "worst"):
        table.add_column(column, justify="right")
    for mark in score.marks:
        own = mark.criterion
        figures = [f"{value:.3g}" for value in (mark.median, mark.within_95, mark.within_99)]
        worst = f"{mark.worst[0][0]}: {mark.worst[0][1]:.3g}" if mark.worst else "-"
        verdict = "" if mark.met else "  MISSED"
        table.add_row(
            f"{own.title}{verdict}", f"{own.limit:g} {own.unit}", f"{mark.share:.2%}", f"{own.goal:.0%}", *figures,
            f"{mark.measured} of {mark.judged}", worst,
        )  # fmt: skip
    standard_output().print(table)
    flags = score.flags
    print(f"flags: {len(flags.found)} found, {len(flags.missed)} missed, {len(flags.misnamed)} misnamed, {len(flags.false)} false")
    for name in ("missed", "misnamed", "false"):
        for flag in getattr(flags, name):
            print(f"  {name}: {flag.element} {flag.index}: {flag.fault}: {flag.reason}")
    print("All goals are met." if score.met else "Not all goals are met.")


def _table(title: str, columns: list[str]) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)
    for column in columns:
        table.add_column(column)
    return table
