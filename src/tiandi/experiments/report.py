"""The table of experiments and their figures as one HTML file that needs nothing beside it."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Sequence
from html import escape

import numpy as np

from tiandi.experiments.experiment import DataFile, Experiment, Plot, Row

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 88em; margin: 2em auto; padding: 0 1em; color: #1b1f24; background: #fff; }
h1 { font-size: 1.6em; } h2 { font-size: 1.2em; margin-top: 2.2em; border-top: 1px solid #d0d7de; padding-top: 1em; }
table { border-collapse: collapse; width: 100%; font-size: 13px; font-variant-numeric: tabular-nums; }
td:first-child { white-space: nowrap; } div.table { overflow-x: auto; } ol.why { font-size: 13px; }
th, td { padding: .3em .7em; text-align: left; border-bottom: 1px solid #eaeef2; vertical-align: top; }
th { font-weight: 600; color: #57606a; } td.number, th.number { text-align: right; white-space: nowrap; }
.pass { color: #1a7f37; } .check { color: #57606a; } .fail { color: #cf222e; font-weight: 600; } .not { color: #9a6700; }
.label, .why, .source { color: #57606a; }
.figures { display: flex; flex-wrap: wrap; gap: 1em; } .figures svg { max-width: 100%; height: auto; }
"""
LABELS = (
    "published: read in the source; recalled: quoted from memory, the source not re-read; computed: worked out from other figures;"
    " assumed: ours."
)
EXPLANATION = (
    f"{LABELS} No parameter was fitted. Where an assumed value was chosen with the result in view, its line says so. A free parameter is"
    " one that the publication leaves open: the spread is ours over the ends of all such ranges. The verdict is for the stated values;"
    " where the spread reaches beyond what passes, it depends on them. A check holds beside nothing that was measured."
)
FIGURE_INCHES = (4.8, 3.3)


def figure_text(value: float | None) -> str:
    """A figure as a person reads it: four or five digits, thousands apart; a dash for none."""
    if value is None:
        return "–"
    size = abs(value)
    if value == 0:
        return "0"
    if size >= 1e7 or size < 1e-3:
        return f"{value:.3g}"
    return f"{value:,.0f}" if size >= 1000 else f"{value:.5g}" if size >= 100 else f"{value:.4g}"


def difference(row: Row) -> str:
    """Ours against the published figure: in decibels, in percent, from a factor of two on as a ratio; plain where it is 0."""
    if row.ours is None:
        return "–"
    if row.unit == "dB":
        return f"{row.ours - row.published:+.2f} dB"
    if row.published == 0:
        return f"{row.ours - row.published:+.3g}"
    ratio = row.ours / row.published
    return f"{round(100 * (ratio - 1), 1) + 0.0:+.1f} %" if 0.5 < ratio < 2 else f"{ratio:,.3g} times"


def spread(row: Row) -> str:
    """Ours over the ranges of the free parameters."""
    return "" if row.spread is None or row.spread[0] == row.spread[1] else f"{figure_text(row.spread[0])} to {figure_text(row.spread[1])}"


def allowed(row: Row) -> str:
    """What would pass."""
    if row.low is None or row.high is None:
        return ""
    return f"{figure_text(row.low)} to {figure_text(row.high)}" if row.high != float("inf") else f"at least {figure_text(row.low)}"


def tally(rows: Sequence[Row]) -> str:
    """How many rows of each verdict, and of those that pass, against how well known a figure."""
    verdicts: Counter[str] = Counter(row.verdict for row in rows)
    labels = Counter(row.label for row in rows if row.verdict == "pass")
    known = ", ".join(f"{count} {label}" for label, count in labels.most_common())
    passed = f"{verdicts['pass']} pass{f' (figures {known})' if known else ''}"
    return ", ".join([passed, *(f"{verdicts[verdict]} {verdict}" for verdict in ("check", "fail", "not reproducible"))])


def html_report(experiments: Sequence[Experiment], rows: Sequence[Row]) -> str:
    """The whole report."""
    sections = "".join(_section(experiment, [row for row in rows if row.experiment == experiment.name]) for experiment in experiments)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>tiandi: published experiments, reproduced</title>'
        f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style></head><body><h1>Published experiments, reproduced</h1>'
        f"<p>{tally(rows)}. {EXPLANATION}</p>{sections}</body></html>\n"
    )


def _section(experiment: Experiment, rows: Sequence[Row]) -> str:
    data = experiment.data
    reasons = list(dict.fromkeys(row.why for row in rows))
    head = "".join(
        f'<th class="{kind}">{name}</th>'
        for name, kind in (
            ("figure", ""),
            ("published", "number"),
            ("", ""),
            ("ours", "number"),
            ("difference", "number"),
            ("verdict", ""),
            ("spread", "number"),
            ("passes within", "number"),
        )
    )
    body = "".join(_table_row(row, reasons.index(row.why) + 1) for row in rows)
    notes = "".join(f"<li>{escape(reason)}</li>" for reason in reasons)
    figures = "".join(_svg(plot) for plot in experiment.plots())
    return (
        f'<h2 id="{escape(experiment.name)}">{escape(data.title)} <small class="label">{escape(experiment.name)}</small></h2>'
        f'<p class="source">{escape(data.source)}</p><p>{escape(data.model)}</p>'
        f'<div class="table"><table><tr>{head}</tr>{body}</table></div><ol class="why">{notes}</ol>'
        f'{_free_parameters(data)}<div class="figures">{figures}</div>'
    )


def _table_row(row: Row, note: int) -> str:
    unit = f" {row.unit}" if row.unit else ""
    cells = [
        f"<td>{escape(row.what)}</td>",
        f'<td class="number">{figure_text(row.published)}{escape(unit)}</td><td class="label">{row.label}</td>',
        f'<td class="number">{figure_text(row.ours)}</td><td class="number">{difference(row)}</td>',
        f'<td class="{row.verdict.split()[0]}">{row.verdict}</td><td class="number">{spread(row)}</td>',
        f'<td class="number">{allowed(row)} <span class="why">({note})</span></td>',
    ]
    return f"<tr>{''.join(cells)}</tr>"


def _free_parameters(data: DataFile) -> str:
    free = [
        f"<li>{escape(name)} = {figure_text(entry.value)}, {' to '.join(figure_text(end) for end in entry.ends)}: {escape(entry.why)}</li>"
        for name, entry in data.parameters.items()
        if entry.ends
    ]
    return f"<p>Free parameters:</p><ul>{''.join(free)}</ul>" if free else ""


def _svg(plot: Plot) -> str:
    """A plot as inline SVG; the same input gives the same bytes."""
    import matplotlib as mpl
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    with mpl.rc_context({"svg.hashsalt": plot.title, "svg.fonttype": "none", "font.size": 9, "axes.grid": True, "grid.alpha": 0.3}):
        figure = Figure(figsize=FIGURE_INCHES, layout="constrained")
        axes = figure.add_subplot()
        for curve in plot.curves:
            # A rate of zero has no place on a logarithmic axis, and a line down to it would say that it had.
            y = np.where(np.asarray(curve.y) > 0, curve.y, np.nan) if plot.logarithmic else curve.y
            axes.plot(curve.x, y, "o" if curve.points else "-", color="black" if curve.points else None, label=curve.label, markersize=4)
        for x in plot.marks:
            axes.axvline(x, color="black", linestyle=":", linewidth=1)
        axes.set(title=plot.title, xlabel=plot.x_label, ylabel=plot.y_label, yscale="log" if plot.logarithmic else "linear")
        if plot.ticks:
            axes.set_xticks(range(len(plot.ticks)), plot.ticks)
        if len(plot.curves) > 1:
            axes.legend(frameon=False)
        drawn = io.StringIO()
        FigureCanvasSVG(figure).print_svg(  # type: ignore[no-untyped-call]
            drawn, metadata={"Date": None}
        )
    text = drawn.getvalue()
    return text[text.index("<svg") :]
