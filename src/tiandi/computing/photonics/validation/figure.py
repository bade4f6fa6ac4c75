"""Pictures of a verdict: how many modes click, and measured correlations against the ideal ones, the experiment's beside."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tiandi.computing.photonics.gaussian import FloatArray
from tiandi.computing.photonics.validation.judge import EXPERIMENT, Score, Verdict
from tiandi.computing.photonics.validation.ranking import shown
from tiandi.errors import InputError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

SUFFIXES = (".png", ".svg", ".pdf")
COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#882255", "#56b4e9", "#332288", "#999933", "#44aa99", "#aa4499")
EXPERIMENT_COLOUR = "#d55e00"
MOST_POINTS = 6_000
LEAST_SHARE = 1e-6
MOST_COLUMNS = 7


def require_drawable(path: Path) -> None:
    """Raise InputError unless a picture can be written to ``path``: its ending is known and its folder is there."""
    if path.suffix not in SUFFIXES:
        raise InputError("figure", str(path), f"must end in {', '.join(SUFFIXES)}")
    if not path.absolute().parent.is_dir():
        raise InputError("figure", str(path), "its folder must exist")


def colours(verdict: Verdict) -> dict[str, str]:
    """One for each participant; the experiment's is its own."""
    names = [score.name for score in verdict.scores if score.name != EXPERIMENT]
    return {EXPERIMENT: EXPERIMENT_COLOUR} | {name: COLOURS[place % len(COLOURS)] for place, name in enumerate(names)}


def draw_verdict(verdict: Verdict, path: Path) -> None:
    """Write the whole picture to ``path``, whose ending says its format; raises InputError where it cannot be written."""
    require_drawable(path)
    from matplotlib.figure import Figure  # noqa: PLC0415 - only who wants a picture waits for its library.

    columns = len(drawn_scores(verdict))
    figure = Figure(figsize=(max(2.6 * columns, 7.0), 3.4 + (5.0 if columns else 0.0)), layout="constrained")
    if columns:
        parts = figure.subfigures(2, 1, squeeze=False, height_ratios=(3.4, 5.0))
        draw_totals(parts[0, 0].add_subplot(), verdict)
        draw_correlations(parts[1, 0], verdict)
    else:
        draw_totals(figure.add_subplot(), verdict)
    figure.suptitle(verdict.machine)
    try:
        figure.savefig(path, dpi=150)
    except OSError as error:
        raise InputError("figure", str(path), f"cannot be written: {error.strerror}") from None


def draw_totals(axes: Axes, verdict: Verdict) -> None:
    """The distribution of the total, on a logarithmic scale: the ideal one as a band of its error, the samples as steps."""
    ideal = verdict.ideal.totals
    if ideal is not None:
        at = np.arange(len(ideal.probabilities))
        above = ideal.probabilities > LEAST_SHARE
        low = np.maximum(ideal.probabilities - ideal.errors, LEAST_SHARE)
        axes.fill_between(at[above], low[above], (ideal.probabilities + ideal.errors)[above], color="#8a929b", alpha=0.5, linewidth=0)
        axes.plot(at[above], ideal.probabilities[above], color="#4b535c", linewidth=1.6, label="ideal")
    last = 1
    for score in verdict.scores:
        shares = np.where(score.histogram > 0, score.histogram, np.nan)
        last = max(last, int(np.flatnonzero(score.histogram > LEAST_SHARE).max(initial=0)))
        own = score.name == EXPERIMENT
        axes.plot(
            np.arange(len(shares)),
            shares,
            color=colours(verdict)[score.name],
            linestyle="none" if own else "-",
            marker="o" if own else None,
            markersize=2.5,
            linewidth=1.0,
            label=score.name,
        )
    what = "clicks" if verdict.ideal.plan.largest_count == 1 else "counts"
    axes.set(yscale="log", ylim=(LEAST_SHARE, None), xlim=(-0.5, last + 1.5), xlabel=f"{what} in all", ylabel="share of samples")
    # Plain numbers: where text stays text, as on the page, powers of ten are drawn as the formula's source.
    axes.yaxis.set_major_formatter(lambda share, _: f"{share:g}")
    axes.grid(visible=True, alpha=0.25)
    axes.legend(frameon=False, fontsize=7, loc="upper left", bbox_to_anchor=(1.0, 1.0))


def drawn_scores(verdict: Verdict) -> list[Score]:
    """Those whose correlations are drawn: the experiment first, then the closest, at most seven."""
    places = {place.name: place.place for place in verdict.ranking}
    having = [score for score in verdict.scores if len(score.pairs)]
    return sorted(having, key=lambda score: (score.name != EXPERIMENT, places[score.name]))[:MOST_COLUMNS]


def draw_correlations(figure: Figure | SubFigure, verdict: Verdict) -> None:
    """Measured over ideal cumulants, two modes above, three below, one column a participant, all on one scale."""
    scores = drawn_scores(verdict)
    table = figure.subplots(2, len(scores), sharex="row", sharey="row", squeeze=False)
    rows = (("pairs", verdict.ideal.pairs, "pair"), ("triples", verdict.ideal.triples, "triple"))
    for row, (field, exact, key) in enumerate(rows):
        chosen = np.unique(np.linspace(0, len(exact) - 1, MOST_POINTS).astype(int)) if len(exact) else np.empty(0, int)
        for column, score in enumerate(scores):
            axes = table[row, column]
            _draw_scatter(axes, exact[chosen], getattr(score, field), chosen, colours(verdict)[score.name])
            slope = score.figures.get(f"{key}_slope")
            axes.set_title((f"{score.name}\n" if row == 0 else "") + ("" if slope is None else f"slope {shown(slope)}"), fontsize=7.5)
        table[row, 0].set_ylabel(("two" if row == 0 else "three") + "-mode cumulant", fontsize=8)
    table[1, len(scores) // 2].set_xlabel("ideal cumulant", fontsize=8)


def _draw_scatter(axes: Axes, exact: FloatArray, measured: FloatArray, chosen: FloatArray, colour: str) -> None:
    ends = np.array([exact.min(initial=0.0), exact.max(initial=0.0)])
    if len(measured):
        # Thousands of points are one picture within the page, not thousands of shapes.
        axes.plot(exact, measured[chosen], ".", color=colour, markersize=1.5, alpha=0.5, rasterized=True)
    else:
        axes.text(0.5, 0.5, "not public", transform=axes.transAxes, ha="center", color="#5b646e", fontsize=8)
    axes.plot(ends, ends, color="#1f2329", linewidth=0.7)
    axes.tick_params(labelsize=6.5)
    axes.xaxis.get_offset_text().set_fontsize(6.5)
    axes.yaxis.get_offset_text().set_fontsize(6.5)
    axes.ticklabel_format(style="sci", scilimits=(-2, 2))
    axes.grid(visible=True, alpha=0.25)
