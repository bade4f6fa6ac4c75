"""The comparison as a picture: a column a yardstick, a line a machine, so that every change of order is a crossing."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from tiandi.computing.machines.comparison import YARDSTICKS, Row
from tiandi.errors import InputError

COLOUR_OF_MAKER = {"IBM": "#1f5fbf", "Google": "#2a8c4a", "Origin Quantum": "#8a5a00", "Atom Computing": "#6a4c93", "D-Wave": "#555555"}
"""All others are of USTC and its partners."""
CHINESE = "#c0272d"
SUFFIXES = (".png", ".svg", ".pdf")


def require_drawable(path: Path) -> None:
    """Raise InputError unless a picture can be written to ``path``: its ending is known and its folder is there."""
    if path.suffix not in SUFFIXES:
        raise InputError("figure", str(path), f"must end in {', '.join(SUFFIXES)}")
    if not path.absolute().parent.is_dir():
        raise InputError("figure", str(path), "its folder must exist")


def draw_comparison(rows: Sequence[Row], path: Path) -> None:
    """Write the picture to ``path``, whose ending says its format; raises InputError as `require_drawable` does."""
    require_drawable(path)
    from matplotlib.figure import Figure  # noqa: PLC0415 - only who wants a picture waits for its library.

    figure = Figure(figsize=(15, 8.5), layout="constrained")
    axes = figure.add_subplot()
    keys, places = [yardstick.key for yardstick in YARDSTICKS], _places(rows)
    for row in rows:
        colour = COLOUR_OF_MAKER.get(row.sheet.maker, CHINESE)
        own = [(column, places[key][row.sheet.id]) for column, key in enumerate(keys) if row.sheet.id in places[key]]
        for (column, place), (next_column, next_place) in pairwise(own):
            style, strength = ("-", 0.6) if next_column == column + 1 else (":", 0.4)
            axes.plot([column, next_column], [place, next_place], color=colour, alpha=strength, linestyle=style)
        for column, place in own:
            name = _short(row) if keys[column] != "qubits" else f"{_short(row)}: {row.sheet.need('qubits').number:,.0f}"
            box = {"boxstyle": "round,pad=0.28", "facecolor": colour, "edgecolor": "white"}
            axes.text(column, place, name, color="white", fontsize=7.5, ha="center", va="center", bbox=box)
    axes.set_xticks(range(len(keys)), [yardstick.title for yardstick in YARDSTICKS])
    axes.xaxis.tick_top()
    axes.set_xlim(-0.5, len(keys) - 0.5)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_yticks(range(len(rows)), [str(place + 1) for place in range(len(rows))])
    axes.set_ylabel("place (1 is best; equals stand one below the other)")
    axes.set_xlabel(
        "A machine is missing where a yardstick does not apply or no figure is known but an assumed one; dotted lines leap over that."
    )
    axes.tick_params(length=0)
    for side in axes.spines.values():
        side.set_visible(False)
    figure.suptitle(f"The same machines, ranked by {len(keys)} yardsticks: each crossing is a change of order")
    figure.savefig(path, dpi=130)


def _places(rows: Sequence[Row]) -> dict[str, dict[str, int]]:
    """A place of its own for each machine of a yardstick: equals stand one below the other, in the order of the catalogue."""
    return {
        yardstick.key: {
            row.sheet.id: place
            for place, row in enumerate(
                sorted((row for row in rows if yardstick.key in row.ranks), key=lambda row: row.ranks[yardstick.key])
            )
        }
        for yardstick in YARDSTICKS
    }


def _short(row: Row) -> str:
    """A name that fits between two columns."""
    name = row.sheet.name.split(" (")[0].removeprefix("Google ").removeprefix("Origin ").removeprefix("D-Wave ")
    return f"{name} ({row.sheet.kind})" if row.sheet.kind == "annealer" else name
