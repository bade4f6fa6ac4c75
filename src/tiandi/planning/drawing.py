"""How figures of a study are drawn: one look for screen, print and paper, as SVG that stays small and takes the page's colours."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

INK, FAINT, GRID, PAPER, LAND = "#1f2329", "#5b646e", "#d9dee4", "#fefefd", "#ecedea"
"""Of what is written, of what is said aside, of lines behind, of the ground, and of land on a map."""
BLUE, ORANGE, GREEN, RED, SKY, PURPLE = "#0072b2", "#e69f00", "#009e73", "#d55e00", "#56b4e9", "#cc79a7"
"""Seven colours that the colour-blind tell apart, less black and yellow (Okabe and Ito 2008, https://jfly.uni-koeln.de/color/)."""
SEQUENCE = ("#e8f1f7", "#b9d7e8", "#7fb5d5", "#3d8dbb", "#14608f")
"""From little to much, told apart by lightness alone."""
THEME = {INK: "--ink", FAINT: "--faint", GRID: "--grid", PAPER: "--paper", LAND: "--land"}
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "font.family": ["DejaVu Sans"],
    "font.size": 8.5,
    "text.parse_math": False,
    "text.color": INK,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 8.5,
    "axes.titlelocation": "left",
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "lines.linewidth": 1.4,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "legend.handlelength": 1.6,
}
WRITTEN_IN = "system-ui, 'Helvetica Neue', Arial, sans-serif"
LONGEST_NAME, LONGEST_BAR_NAME = 40, 54
BIT_UNITS = ((1e12, "Tbit"), (1e9, "Gbit"), (1e6, "Mbit"), (1e3, "kbit"), (1.0, "bit"))
TIME_UNITS = ((86_400.0, "days"), (3600.0, "h"), (60.0, "min"), (1.0, "s"))


@dataclass(frozen=True)
class Chart:
    """A figure with what it says, and the table behind it. ``name`` is that of its files."""

    name: str
    title: str
    caption: str
    svg: str
    columns: tuple[str, ...]
    rows: Sequence[Sequence[object]]

    @property
    def themed(self) -> str:
        """The figure in the colours of the page around it."""
        svg = self.svg
        for colour, variable in THEME.items():
            svg = svg.replace(colour, f"var({variable}, {colour})")
        return svg


@contextmanager
def drawn(name: str, width_inch: float, height_inch: float) -> Iterator[Figure]:
    """A figure to draw on, in the one look. The same drawing gives the same bytes."""
    with mpl.rc_context(STYLE | {"svg.hashsalt": name}), warnings.catch_warnings():
        # Text stays text: a letter that the measuring font lacks is drawn by the reader's own.
        warnings.filterwarnings("ignore", message=r"Glyph \d+ .*missing from font")
        yield Figure(figsize=(width_inch, height_inch), layout="constrained", facecolor=PAPER)


def svg_of(figure: Figure) -> str:
    """The figure as SVG without a header; to be called inside `drawn`. Coordinates keep a hundredth of a point."""
    text = io.StringIO()
    figure.patch.set_alpha(0.0)
    for axes in figure.axes:
        axes.patch.set_alpha(0.0)
    FigureCanvasSVG(figure).print_svg(text, metadata={"Date": None, "Creator": None})  # type: ignore[no-untyped-call]
    svg = text.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r" <metadata>.*?</metadata>\n", "", svg, flags=re.DOTALL)
    svg = re.sub(r'<g id="[^"]*"', "<g", svg)
    svg = re.sub(r'( d="[^"]*")', lambda match: re.sub(r"(\.\d\d)\d+", r"\1", match[1]), svg)
    return svg.replace("'DejaVu Sans'", WRITTEN_IN)


def shown_name(name: str, longest: int = LONGEST_NAME) -> str:
    """A name as it is drawn: letters that cannot be printed replaced, and shortened when it is long."""
    name = "".join(letter if letter.isprintable() else "�" for letter in name)
    return name if len(name) <= longest else name[: longest - 1] + "…"


def bit_unit(largest_bit: float) -> tuple[float, str]:
    """Size [bit] and name of the unit in which numbers up to ``largest_bit`` read well."""
    return next((unit for unit in BIT_UNITS if largest_bit >= unit[0]), BIT_UNITS[-1])


def in_bits(amount_bit: float) -> str:
    """An amount of key as a person reads it."""
    size, unit = bit_unit(abs(amount_bit))
    return f"{amount_bit / size:.3g} {unit}"


def in_time(span_s: float) -> str:
    """A span of time as a person reads it."""
    size, unit = next((unit for unit in TIME_UNITS if span_s >= 2 * unit[0]), TIME_UNITS[-1])
    return f"{span_s / size:.3g} {unit}"


def bars_across(axes: Axes, names: Sequence[str], lengths: Sequence[float], texts: Sequence[str], colour: str = BLUE) -> None:
    """Horizontal bars, the first on top, each with what it says at its end."""
    places, shown = range(len(names)), [shown_name(name, LONGEST_BAR_NAME) for name in names]
    axes.barh(places, lengths, color=colour, height=0.62)
    axes.set_yticks(places, shown)
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)
    for place, length, text in zip(places, lengths, texts, strict=True):
        written = axes.annotate(text, (max(length, 0.0), place), (5, 0), textcoords="offset points", va="center", color=FAINT)
        written.set_in_layout(False)
    # Room to the right for the longest of the texts, at some five points a letter.
    drawn_point = max(72 * axes.figure.get_figwidth() - 5.0 * max(map(len, shown)), 150.0)  # type: ignore[union-attr]
    room = min((5.0 * max(map(len, texts)) + 10.0) / drawn_point, 0.6)
    axes.set_xlim(min(0.0, *lengths), max(0.0, *lengths) / (1.0 - room) or 1.0)


def month_ticks(months: Sequence[str]) -> list[str]:
    """Months such as "2026-01" as the labels of an axis: by name, with the year beneath the first and every January."""
    names = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
    split = [month.split("-") for month in months]
    return [names[int(month) - 1] + (f"\n{year}" if place == 0 or month == "01" else "") for place, (year, month) in enumerate(split)]
