"""Logical error per cycle against distance, as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tiandi.computing.correction.conditions import Conditions
from tiandi.computing.correction.memory import LogicalError, suppression
from tiandi.computing.machines.comparison_figure import require_drawable


def draw_errors(errors: Sequence[LogicalError], conditions: Conditions, title: str, path: Path) -> None:
    """Write the picture to ``path``, whose ending says its format; raises InputError as `require_drawable` does."""
    require_drawable(path)
    from matplotlib.figure import Figure  # noqa: PLC0415 - only who wants a picture waits for its library.

    figure = Figure(figsize=(7, 4.8), layout="constrained")
    axes = figure.add_subplot()
    for larger, name, style in ((False, "twin", "o-"), (True, "twin, on a larger lattice that does not exist", "o:")):
        own = [error for error in errors if error.hypothetical == larger]
        if own:
            axes.errorbar(
                [error.distance for error in own],
                [error.per_cycle for error in own],
                [error.uncertainty for error in own],
                fmt=style,
                color="#c0272d",
                mfc="white" if larger else "#c0272d",
                capsize=3,
                label=name,
            )
    if conditions.distances:
        published = [conditions.facts[f"error_of_{distance}"] for distance in conditions.distances]
        axes.errorbar(
            conditions.distances,
            [fact.number for fact in published],
            [fact.uncertainty for fact in published],
            fmt="s",
            color="#203040",
            mfc="none",
            capsize=3,
            label="published",
        )
    found = suppression(errors)
    gain = "" if found is None else f", $\\Lambda$ = {found.value:.2f} $\\pm$ {found.uncertainty:.2f}"
    axes.set(yscale="log", xlabel="distance", ylabel="logical error per cycle", title=title + gain)
    axes.set_xticks(sorted({error.distance for error in errors} | set(conditions.distances)))
    axes.grid(visible=True, which="both", alpha=0.25)
    axes.legend(frameon=False)
    figure.savefig(path, dpi=150)
