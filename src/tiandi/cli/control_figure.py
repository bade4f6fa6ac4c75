"""The chip map that `tiandi control show --figure` draws."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.colors import LinearSegmentedColormap, ListedColormap
from matplotlib.figure import Figure

from tiandi.cli.control_show import STOPS
from tiandi.computing.control.graph import STATES
from tiandi.computing.control.page.board import Board
from tiandi.computing.machines.comparison_figure import require_drawable
from tiandi.errors import InputError

STATE_COLOURS = ("#dde4ec", "#00795a", "#e0a030", "#b3310c")
OFF = "#dde4ec"


def draw_chip(board: Board, name: str, path: Path) -> None:
    """Qubits as squares, couplers as lines, coloured by a parameter; crosses where something is flagged. Raises InputError."""
    require_drawable(path)
    found = board.parameter(name)
    electronics = board.knowledge.electronics
    row, column = electronics.position.T
    is_state = name.startswith("state:")
    numbers = [STATES.index(value) if is_state else np.nan if value is None else value for value in found["value"]]
    values = np.array(numbers, float)
    plain = ListedColormap(STATE_COLOURS) if is_state else LinearSegmentedColormap.from_list("map", np.array(STOPS) / 255)
    colours = plain.with_extremes(bad=OFF)
    known = values[np.isfinite(values)]
    low, high = (-0.5, 3.5) if is_state else (known.min(), known.max()) if len(known) else (0.0, 1.0)
    figure = Figure(figsize=(2.5 + 0.36 * (column.max() + 1), 1.5 + 0.36 * (row.max() + 1)), layout="constrained")
    axes = figure.add_subplot()
    for number, (first, second) in enumerate(electronics.couplers):
        share = (values[number] - low) / ((high - low) or 1.0) if found["element"] == "coupler" else np.nan
        colour = colours(share) if np.isfinite(share) else OFF
        axes.plot(column[[first, second]], row[[first, second]], color=colour, linewidth=4, zorder=1)
    shown = values if found["element"] == "qubit" else np.full(len(row), np.nan)
    marks = axes.scatter(column, row, c=shown, cmap=colours, vmin=low, vmax=high, s=150, edgecolors="#7d8fa3", plotnonfinite=True, zorder=2)
    for flag in board.knowledge.flags:
        ends = [flag.index] if flag.element == "qubit" else electronics.couplers[flag.index]
        axes.plot(column[ends].mean(), row[ends].mean(), "x", color="#b3310c", markersize=9, markeredgewidth=2, zorder=3)
    bar = figure.colorbar(marks, ax=axes, shrink=0.7, label=name)
    if is_state:
        bar.set_ticks(range(len(STATES)), labels=STATES)
    axes.set(aspect="equal", xlabel="column", ylabel="row", title=electronics.name.partition(" (")[0])
    axes.invert_yaxis()
    try:
        figure.savefig(path, dpi=150)
    except OSError as error:
        raise InputError("figure", str(path), f"cannot be written: {error.strerror}") from None
