"""A study as one HTML page that asks nothing of any other place, with its figures and their tables in a folder beside it."""

from __future__ import annotations

import base64
import csv
import io
import math
from collections.abc import Iterable, Sequence
from html import escape
from importlib.metadata import version
from pathlib import Path

import numpy as np

from tiandi.clock import format_utc
from tiandi.control.trust import MOST_WAYS, TrustMap, trust_map
from tiandi.errors import InputError
from tiandi.planning.drawing import FAINT, GRID, INK, LAND, PAPER, Chart, in_bits, in_time, shown_name
from tiandi.planning.figures import (
    availability,
    bottlenecks,
    contacts_by_month,
    key_age,
    key_over_time,
    named_value,
    trust_matrix,
    values_of_more,
)
from tiandi.planning.maps import network_map
from tiandi.planning.parameters import inputs_hash
from tiandi.planning.results import FloatArray, StudyResult

STYLE = f"""
:root {{ color-scheme: light dark; --ink: {INK}; --faint: {FAINT}; --grid: {GRID}; --paper: {PAPER}; --land: {LAND}; --accent: #0072b2; }}
@media (prefers-color-scheme: dark) {{ :root:not([data-theme=light]) {{ --ink: #e4e7eb; --faint: #9aa4af; --grid: #343b44; --paper: #15191e;
  --land: #22282f; --accent: #56b4e9; }} }}
* {{ box-sizing: border-box; }}
body {{ font: 15px/1.55 system-ui, "Helvetica Neue", Arial, sans-serif; color: var(--ink); background: var(--paper); margin: 0; }}
main {{ max-width: 54rem; margin: 0 auto; padding: 2.5rem 1.25rem 4rem; }}
h1 {{ font-size: 1.75rem; line-height: 1.2; margin: 0 0 .25rem; letter-spacing: -.01em; }}
h2 {{ font-size: 1.15rem; margin: 2.75rem 0 .5rem; }}
p {{ margin: .5rem 0; }} .aside {{ color: var(--faint); font-size: .875rem; }}
.answer {{ font-size: 1.15rem; line-height: 1.5; border-left: 3px solid var(--accent); padding-left: 1rem; margin: 1.5rem 0; }}
figure {{ margin: .5rem 0 0; break-inside: avoid; }} figure svg {{ display: block; width: 100%; height: auto; }}
figcaption {{ color: var(--faint); font-size: .85rem; margin-top: .25rem; }} a {{ color: var(--accent); }}
.table {{ overflow-x: auto; margin-top: 1rem; }}
table {{ border-collapse: collapse; width: 100%; font-size: .85rem; font-variant-numeric: tabular-nums; }}
th, td {{ text-align: left; padding: .3rem .75rem .3rem 0; border-bottom: 1px solid var(--grid); vertical-align: top; }}
th {{ color: var(--faint); font-weight: 600; }} .number {{ text-align: right; white-space: nowrap; }}
dl {{ display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1.25rem; font-size: .85rem; }} dt {{ color: var(--faint); }}
dd {{ margin: 0; overflow-wrap: anywhere; }} ul {{ padding-left: 1.2rem; }}
pre {{ white-space: pre-wrap; overflow-wrap: anywhere; font: .8rem/1.5 ui-monospace, monospace; }}
@media print {{ :root:root {{ --ink: {INK}; --faint: {FAINT}; --grid: {GRID}; --paper: #ffffff; --land: {LAND}; --accent: #0072b2; }}
  main {{ max-width: none; padding: 0; }} h2 {{ break-after: avoid; }} .links {{ display: none; }} details {{ display: none; }} }}
"""
MOST_EMBEDDED_ROWS = 1000
"""A table up to this length is in the page too; a longer one only stands beside it."""
MOST_LISTED = 40
Cells = Sequence[object]


def write_report(result: StudyResult, path: Path) -> None:
    """Write a study's page to ``path``, and the SVG and CSV of each figure to a folder of its name beside it.

    Raises InputError when ``path`` cannot be written.
    """
    trust = trust_of(result)
    drawn = [
        network_map(result),
        key_over_time(result),
        availability(result),
        contacts_by_month(result),
        key_age(result),
        bottlenecks(result),
        values_of_more(result),
        trust_matrix(trust) if trust else None,
    ]
    charts = [chart for chart in drawn if chart]
    folder = path.with_name(path.stem + "-figures")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for chart in charts:
            (folder / f"{chart.name}.svg").write_text(chart.svg, encoding="utf-8")
            (folder / f"{chart.name}.csv").write_text(csv_of(chart.columns, chart.rows), encoding="utf-8", newline="")
        page = html_report(result, charts, trust, folder=folder.name)
        path.write_text(page, encoding="utf-8")
    except OSError as error:
        raise InputError("report", str(path), f"must be a file that can be written: {error.strerror}") from None


def html_report(result: StudyResult, charts: Sequence[Chart], trust: TrustMap | None, *, folder: str) -> str:
    """The page itself."""
    inputs = result.inputs
    sections = {chart.name: _section(chart, folder) for chart in charts}
    extra = {"key-over-time": _pairs_table(result), "bottlenecks": _cuts_table(result), "values": _cost_table(result)}
    for name, table in extra.items():
        sections[name] = sections.get(name, "") + table
    if trust:
        lines = escape(_plain("\n".join(trust.lines(MOST_LISTED))))
        sections["trust"] += f"<details><summary>In words, pair by pair</summary><pre>{lines}</pre></details>"
    body = "".join(sections.pop(name, "") for name in [*(chart.name for chart in charts), *extra])
    answer = " ".join(answers(result))
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{_text(inputs.title or inputs.name)}</title><style>{STYLE}</style></head><body><main>"
        f"<h1>{_text(inputs.title or inputs.name)}</h1>"
        f'<p class="aside">A study of {result.start:%Y-%m-%d} to {result.end:%Y-%m-%d} by tiandi. All figures come out of a model.</p>'
        f'<p class="answer">{_text(answer)}</p>{_model(result)}{body}</main></body></html>\n'
    )


def answers(result: StudyResult) -> list[str]:
    """What the study found, in three sentences: how much key, where it falls short, what would help."""
    wanted, carried = result.wanted_bit.sum() / result.length_days, result.key_per_day_bit().sum(axis=1)
    seeds = len(result.seeds)
    spread = f" (standard deviation over {seeds} seeds {in_bits(float(carried.std(ddof=1)))})" if seeds > 1 else ""
    share = f" of {in_bits(wanted)} wanted, {100 * carried.mean() / wanted:.0f} %" if wanted else ""
    outage = result.outage_days().mean(axis=0)
    whole = int((outage == 0).sum())
    first = (
        f"Over {result.length_days:,.0f} days the network carries {in_bits(float(carried.mean()))} of key a day{share}{spread};"
        f" {whole} of {len(result.pairs)} pairs have all they want on every day."
    )
    return [first, _shortfall(result, outage), _help(result)]


def _shortfall(result: StudyResult, outage: FloatArray) -> str:
    ages = result.mean_key_age_s()
    if not outage.any():
        if not np.isfinite(ages).any():
            return "No key was used."
        oldest = int(np.nanargmax(ages))
        return f"The oldest key is that of {result.pairs[oldest]}, {in_time(ages[oldest])} on the mean."
    worst = int(np.lexsort((result.carried_bit.sum(axis=(0, 1)), -outage))[0])
    longest, days = int(result.longest_outage_days()[:, worst].max()), len(result.days)
    text = f"{result.pairs[worst]} is served worst: it goes short on {outage[worst]:.0f} of {days} days, at most {longest} in a row"
    causes = result.bottleneck_shares(worst)
    return text + (f", most often for want of key on {causes[0][0]}." if causes else ".")


def _help(result: StudyResult) -> str:
    values = sorted(result.values, key=lambda value: -value.gained_bit_per_day)
    if values and values[0].gained_bit_per_day > 0:
        best = values[0]
        error = "" if math.isnan(best.error_bit_per_day) else f" (± {in_bits(best.error_bit_per_day)})"
        more = "more" if best.kind == "aperture" else "one more"
        return f"Of what was tried, {more} {named_value(best)} helps most: {in_bits(best.gained_bit_per_day)} a day more{error}."
    if values:
        return "Nothing that was tried would carry more key."
    numbers, counts = np.unique(result.bottleneck[result.bottleneck >= 0], return_counts=True)
    if not len(numbers):
        return "No link limits any pair."
    link, share = result.links[numbers[counts.argmax()]], counts.max() / counts.sum()
    return f"{link} is the link that limits most, on {100 * share:.0f} % of the days on which one does."


def trust_of(result: StudyResult) -> TrustMap | None:
    """The map of trust of the ways that carried key in the study; None where it did not keep them."""
    demands = {demand.ends: demand for demand in result.inputs.demands}
    ways: dict[tuple[str, str], list[tuple[str, ...]]] = {}
    choices: dict[tuple[str, str], list[list[int]]] = {}
    for demand, found in zip(result.inputs.demands, result.ways, strict=False):
        # Node-disjoint ways that made a key together stand one after another.
        routes = [way.nodes if way.nodes[0] == demand.ends[0] else way.nodes[::-1] for way in found[:MOST_WAYS]]
        groups = [routes[first : first + demand.paths] for first in range(0, len(routes) - demand.paths + 1, demand.paths)]
        if groups:
            ways[demand.ends] = list(dict.fromkeys(route for group in groups for route in group))
            choices[demand.ends] = [[ways[demand.ends].index(route) for route in group] for group in groups]
    if not ways:
        return None
    safe = {pair for pair in ways if demands[pair].post_quantum}
    return trust_map(result.inputs.topology, ways, choices=choices, post_quantum=safe)


def csv_of(columns: Sequence[str], rows: Iterable[Cells]) -> str:
    """A table as CSV (RFC 4180). Text that a spreadsheet would take for a formula is made plain by an apostrophe."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(columns)
    writer.writerows([_harmless(cell) for cell in row] for row in rows)
    return text.getvalue()


def _harmless(cell: object) -> object:
    if isinstance(cell, str):
        return "'" + cell if cell[:1] in {"=", "+", "-", "@", "\t", "\r"} else cell
    if isinstance(cell, float):
        return f"{cell:.10g}" if math.isfinite(cell) else "inf" if cell > 0 else ""
    return "" if cell is None else cell


def _plain(text: str) -> str:
    return "".join(letter if letter.isprintable() or letter == "\n" else "�" for letter in text)


def _text(text: str) -> str:
    return escape(_plain(text))


def _section(chart: Chart, folder: str) -> str:
    links = [f'<a href="{_text(folder)}/{chart.name}.{kind}">{kind.upper()}</a>' for kind in ("svg", "csv")]
    if len(chart.rows) <= MOST_EMBEDDED_ROWS:
        data = base64.b64encode(csv_of(chart.columns, chart.rows).encode()).decode()
        links.append(f'<a download="{chart.name}.csv" href="data:text/csv;base64,{data}">table in this page</a>')
    described = chart.themed.replace("<svg ", f'<svg role="img" aria-label="{_text(chart.title)}" ', 1)
    return (
        f'<section id="{chart.name}"><h2>{_text(chart.title)}</h2><figure>{described}'
        f'<figcaption>{_text(chart.caption)} <span class="links">{" · ".join(links)}</span></figcaption></figure></section>'
    )


def _model(result: StudyResult) -> str:
    elapsed = sum(result.elapsed_s.values())
    method = f"{result.plan_method}"
    gap = 1.0 - result.plan_value_bit.sum() / result.plan_bound_bit.sum() if np.isfinite(result.plan_bound_bit).all() else math.nan
    if math.isfinite(gap):
        method += f", {100 * max(gap, 0.0):.1f} % below what no plan can exceed"
    facts = {
        "Inputs": f"{result.inputs.name}, hash {inputs_hash(result.inputs, result.start, result.end)}",
        "From, to": f"{format_utc(result.start)}, {format_utc(result.end)}",
        "Seeds": ", ".join(str(seed) for seed in result.seeds[:20]) + " …" * (len(result.seeds) > 20),
        "Contact plan": method if result.satellites else "",
        "Software": f"tiandi {version('tiandi')}" + (f", {elapsed:.1f} s" if elapsed else ""),
    }
    listed = "".join(f"<dt>{name}</dt><dd>{_text(fact)}</dd>" for name, fact in facts.items() if fact)
    # The model's own notes, with its largest known difference, come before those of the scenario.
    told = sorted(dict.fromkeys([*result.notes, *result.inputs.notes]), key=result.inputs.notes.__contains__)
    notes = "".join(f"<li>{_text(note)}</li>" for note in told)
    return f"<dl>{listed}</dl>" + (f'<h2>The model, and how far to trust it</h2><ul class="aside">{notes}</ul>' if notes else "")


def _table(columns: Sequence[tuple[str, bool]], rows: Iterable[Sequence[str]]) -> str:
    """A table of texts; the columns say which of them are numbers."""

    def line(cells: Sequence[str], tag: str) -> str:
        shown = zip(cells, columns, strict=True)
        return "<tr>" + "".join(f"<{tag}{' class=number' * number}>{_text(cell)}</{tag}>" for cell, (_, number) in shown) + "</tr>"

    body = "".join(line(row, "td") for row in rows)
    return f'<div class="table"><table>{line([name for name, _ in columns], "th")}{body}</table></div>' if body else ""


def _pairs_table(result: StudyResult) -> str:
    keys, outage, longest, ages = result.key_per_day_bit(), result.outage_days(), result.longest_outage_days(), result.mean_key_age_s()
    wanted = result.wanted_bit.sum(axis=0) / result.length_days
    rows = [
        (
            shown_name(pair, 60),
            in_bits(wanted[place]),
            in_bits(keys[:, place].mean()),
            f"{in_bits(keys[:, place].min())} to {in_bits(keys[:, place].max())}",
            f"{outage[:, place].mean():.1f}",
            str(longest[:, place].max()),
            in_time(ages[place]) if math.isfinite(ages[place]) else "–",
        )
        for place, pair in enumerate(result.pairs[:MOST_LISTED])
    ]
    names = ("pair", "wanted a day", "key a day", "over seeds", "days short", "longest", "age of key")
    more = f'<p class="aside">And {len(result.pairs) - MOST_LISTED} pairs more, in the table of the figure.</p>'
    return _table([(name, place > 0) for place, name in enumerate(names)], rows) + more * (len(result.pairs) > MOST_LISTED)


def _cuts_table(result: StudyResult) -> str:
    rows = [
        (
            shown_name(cut.pair, 60),
            f"{in_bits(cut.wanted_bps)}/s",
            f"{in_bits(cut.capacity_bps)}/s",
            ", ".join(shown_name(link) for link in cut.links[:8]) + (f" and {len(cut.links) - 8} more" if len(cut.links) > 8 else ""),
        )
        for cut in result.full_cuts[:MOST_LISTED]
    ]
    names = ("pair that goes short", "wanted", "its fullest cut makes", "links of the full cut")
    return _table([(name, place in {1, 2}) for place, name in enumerate(names)], rows)


def _amount(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _cost_table(result: StudyResult) -> str:
    prices = result.inputs.prices
    if prices is None:
        return ""
    asked = {
        "satellite": prices.satellite,
        "station": prices.station,
        "metre of aperture": prices.aperture_per_metre,
        "relay": prices.relay,
        "km of fibre for a year": prices.fibre_per_km_year,
    }
    rows = [(name, f"{_amount(price)} {prices.currency}") for name, price in asked.items() if price is not None]
    text = ""
    if result.cost is not None:
        carried_bit = float(result.carried_bit.mean(axis=0).sum())
        each = f", {_amount(result.cost / carried_bit * 1e6)} {prices.currency} for each Mbit carried" if carried_bit else ""
        text = f"<p>The network of this study costs {result.cost:,.0f} {_text(prices.currency)}{_text(each)}.</p>"
    source = f'<p class="aside">Prices: {_text(prices.source)}</p>' if prices.source else ""
    return f'<section id="cost"><h2>Cost</h2>{text}{_table([("what", False), ("price", True)], rows)}{source}</section>'
