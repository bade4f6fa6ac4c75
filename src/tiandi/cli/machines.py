"""`tiandi machines list`, `show` and `compare`: data sheets of quantum computers, and why their order depends on who asks."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter

from tiandi.cli.terminal import print_json, progress, standard_output

if TYPE_CHECKING:
    from rich.table import Table

    from tiandi.computing.machines.comparison import Row, Yardstick
    from tiandi.computing.machines.sheets import DataSheet, Fact

app = App(name="machines", help="Quantum computers: what is published of each, their twins, and how they compare.", help_format="plaintext")

PLAIN_WIDTH = 140
"""Columns when the output is not a terminal."""

Json = Annotated[bool, Parameter(name="--json", negative="", help="Print one JSON object instead of tables.")]
MARK_OF_LABEL = {"published": "", "installed package": "", "computed": "", "recalled": "?", "assumed": "*", "fitted": "*"}
LEGEND = "? recalled, not read again, or computed from such; * assumed; blank: published, read from a package, or computed."
UNITS = {"_s": (1e6, "us"), "_hz": (1e-9, "GHz")}


@app.command(name="list")
def list_machines(*, json: Json = False) -> None:
    """Every machine of the catalogue in one line."""
    from tiandi.computing.machines.sheets import load_sheets

    sheets = load_sheets()
    if json:
        return print_json({"machines": [_summary(sheet) for sheet in sheets.values()]})
    table = _table("Quantum computers", ["machine", "year", "size"], ["T1 us", "e1 %", "e2 %", "readout %"])
    table.add_column("twin")
    for sheet in sheets.values():
        table.add_row(
            sheet.id,
            str(sheet.year),
            sheet.size,
            *(_cell(sheet.facts.get(field), scale) for field, scale in _LISTED),
            "no" if sheet.no_twin else "yes",
        )
    _print_table(table)
    print(f"{LEGEND}\ne1 and e2 as their makers give them, Pauli errors or average infidelities: tiandi machines show says which.")
    return None


_LISTED = (("t1_s", 1e6), ("single_qubit_error", 100.0), ("two_qubit_error", 100.0), ("readout_error", 100.0))


@app.command
def show(machine: Annotated[str, Parameter(help="Name as tiandi machines list gives it.")], *, json: Json = False) -> None:
    """One data sheet: every figure with its label and its source."""
    from tiandi.computing.machines.sheets import find_sheet

    sheet = find_sheet(machine)
    if json:
        return print_json({**_summary(sheet), "facts": sheet.facts, "layout": sheet.layout})
    table = _table(f"{sheet.name}: {sheet.size}", ["field"], ["value"])
    for name in ("label", "source"):
        table.add_column(name)
    for field, fact in sheet.facts.items():
        table.add_row(field, _value(field, fact), fact.label, fact.source)
    if sheet.layout is not None:
        layout = sheet.layout
        table.add_row("layout", f"{layout.kind}, {layout.rows} x {layout.columns}", layout.label, layout.source)
    _print_table(table)
    print(f"{sheet.maker}, {sheet.year}, {sheet.kind}. {sheet.note}".rstrip())
    if sheet.native_gates:
        kind = "Pauli errors" if sheet.error_kind == "pauli" else "average infidelities"
        print(f"Native gates: {', '.join(sheet.native_gates)}. Gate errors are {kind}.")
    if sheet.no_twin:
        print(f"No twin: {sheet.no_twin}.")
    return None


@app.command
def compare(
    *,
    figure: Annotated[Path | None, Parameter(help="Also draw the changes of order into this .png, .svg or .pdf file.")] = None,
    seed: Annotated[int, Parameter(help="Of the twins' calibrations.")] = 1,
    json: Json = False,
) -> None:
    """All machines by eight yardsticks, with their place by each: the order changes with the yardstick."""
    from tiandi.computing.machines.comparison import YARDSTICKS
    from tiandi.computing.machines.comparison import compare as compare_machines
    from tiandi.computing.machines.comparison_figure import draw_comparison, require_drawable

    if figure is not None:
        require_drawable(figure)
    with progress() as tell:
        rows = compare_machines(seed=seed, progress=tell)
    if figure is not None:
        draw_comparison(rows, figure)
        print(f"written: {figure}", file=sys.stderr)
    if json:
        return print_json(_comparison(rows))
    table = _table(
        "The same machines by eight yardsticks (in brackets the place by each)", ["machine"], [item.title for item in YARDSTICKS]
    )
    for row in rows:
        table.add_row(row.sheet.id, *(_compared(row, yardstick) for yardstick in YARDSTICKS))
    _print_table(table)
    print(_notes(rows))
    return None


def _notes(rows: Sequence[Row]) -> str:
    """What the table means, and what does not fit into it."""
    from tiandi.computing.machines.comparison import YARDSTICKS
    from tiandi.computing.machines.factoring import ESTIMATES

    lines = [
        LEGEND + " What is assumed has no place.",
        "-: not known, or there is no such thing. No size: above threshold. M: million.",
        "",
    ]
    lines += [f"{item.title}: {item.explanation}." for item in YARDSTICKS]
    lines += [
        "",
        "Published cross-entropy fidelities: " + "; ".join(f"{row.sheet.name} {row.published_xeb}" for row in rows if row.published_xeb),
    ]
    lines += [
        f"{row.sheet.name}: by its measured Lambda of {row.sheet.need('suppression').number:g},"
        f" {_rounded(row.by_published_suppression)} qubits."
        for row in rows
        if row.by_published_suppression is not None
    ]
    lines += [
        "RSA-2048 at errors of 1e-3: " + "; ".join(f"{item.name}, {item.qubits:,.0f} qubits, {item.time}" for item in ESTIMATES) + "."
    ]
    lines += [f"{row.sheet.name}: {row.sheet.size}." for row in rows if "named" in row.sheet.facts]
    lines += [f"{row.sheet.name}: {row.sheet.note}" for row in rows if row.sheet.kind == "annealer"]
    return "\n".join(lines)


def _compared(row: Row, yardstick: Yardstick) -> str:
    """A figure, what it rests on, and the machine's place."""
    figure = row.figures[yardstick.key]
    if figure.value is None:
        return "-"
    if math.isinf(figure.value):
        text = "no size"
    elif yardstick.key.endswith("_error"):
        text = f"{100 * figure.value:.3g} %"
    elif yardstick.key in {"sampling", "suppression"}:
        text = f"{figure.value:.3g}"
    elif yardstick.key.startswith("factoring"):
        text = _rounded(figure.value)
    else:
        text = f"{figure.value:,.0f}"
    place = row.ranks.get(yardstick.key)
    return text + MARK_OF_LABEL.get(figure.label, "") + ("" if place is None else f" ({place})")


def _rounded(count: float) -> str:
    """An estimate to three digits."""
    return f"{count / 1e6:,.0f} M" if count >= 1e9 else f"{count / 1e6:.3g} M" if count >= 1e6 else f"{float(f'{count:.3g}'):,.0f}"


def _comparison(rows: Sequence[Row]) -> dict[str, Any]:
    """The comparison as JSON; null stands for unknown, "above threshold" for no size at all."""
    from tiandi.computing.machines.comparison import YARDSTICKS
    from tiandi.computing.machines.factoring import ESTIMATES

    def written(value: float | None) -> float | str | None:
        return "above threshold" if value is not None and math.isinf(value) else value

    return {
        "yardsticks": YARDSTICKS,
        "rsa_2048_estimates": ESTIMATES,
        "machines": [
            {
                "id": row.sheet.id,
                "name": row.sheet.name,
                "size": row.sheet.size,
                "note": row.sheet.note,
                "figures": {key: {"value": written(figure.value), "label": figure.label} for key, figure in row.figures.items()},
                "places": row.ranks,
                "published_xeb": row.published_xeb or None,
                "rsa_2048_qubits_by_published_lambda": row.by_published_suppression,
            }
            for row in rows
        ],
    }


def _summary(sheet: DataSheet) -> dict[str, Any]:
    return {
        "id": sheet.id,
        "name": sheet.name,
        "maker": sheet.maker,
        "kind": sheet.kind,
        "year": sheet.year,
        "size": sheet.size,
        "note": sheet.note,
        "native_gates": sheet.native_gates,
        "error_kind": sheet.error_kind,
        "pauli_errors": sheet.pauli_errors,
        "no_twin": sheet.no_twin or None,
    }


def _cell(fact: Fact | None, scale: float) -> str:
    return "-" if fact is None else f"{scale * fact.number:.3g}{MARK_OF_LABEL[fact.label]}"


def _value(field: str, fact: Fact) -> str:
    """A figure with its unit, uncertainty and which statistic it is."""
    scale, unit = next(((factor, unit) for ending, (factor, unit) in UNITS.items() if field.endswith(ending)), (1.0, ""))
    text = (
        f"{scale * fact.number:,.4g}" + (f" +- {scale * fact.uncertainty:.3g}" if fact.uncertainty else "") + (f" {unit}" if unit else "")
    )
    return f"{text} (median)" if fact.statistic == "median" else text


def _table(title: str, texts: Sequence[str], numbers: Sequence[str]) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(title), title_justify="left", title_style="bold", box=None, padding=(0, 1), header_style="dim")
    for name in texts:
        table.add_column(name, no_wrap=name == "machine")
    for name in numbers:
        table.add_column(name, justify="right")
    return table


def _print_table(table: Table) -> None:
    standard_output().print(table)
