"""A study as tables for a terminal, and as plain data."""

from __future__ import annotations

from typing import Any

import numpy as np
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from tiandi.cli.terminal import standard_output
from tiandi.clock import format_utc
from tiandi.planning.parameters import inputs_hash
from tiandi.planning.results import StudyResult

PLAIN_WIDTH = 120
PAIRS_SHOWN = 20
CUTS_SHOWN = 5
CUT_LINKS_SHOWN = 4


def show_study(result: StudyResult) -> None:
    """What a planner wants to read first: a line a pair, then satellites, what is full, what one more would buy, and the model."""
    console = standard_output(PLAIN_WIDTH)
    seeds = f"{len(result.seeds)} seed{'s' if len(result.seeds) > 1 else ''}"
    console.print(Text(f"\n{result.inputs.title}", style="bold"))
    console.print(f"{format_utc(result.start)} to {format_utc(result.end)}, {result.length_days:g} days, {seeds}\n", highlight=False)
    console.print(_pairs_table(result))
    if result.satellites:
        console.print(_satellites_table(result))
    for cut in result.full_cuts[:CUTS_SHOWN]:
        links = ", ".join(cut.links[:CUT_LINKS_SHOWN]) + (
            f" and {len(cut.links) - CUT_LINKS_SHOWN} more" if len(cut.links) > CUT_LINKS_SHOWN else ""
        )
        full = (
            f"{cut.pair}: the links {links or 'that would join them'} make {bits(cut.capacity_bps)}/s; {bits(cut.wanted_bps)}/s are wanted"
        )
        console.print(Text(f"full  {full} across them", style="yellow"))
    if result.values:
        console.print(_values_table(result))
    if result.cost is not None and result.inputs.prices is not None:
        total = float(result.carried_bit.sum() / len(result.seeds))
        console.print(
            f"cost {result.cost:,.0f} {result.inputs.prices.currency}; {bits(total / result.cost)} of key for each\n", highlight=False
        )
    console.print("[bold]How far to trust this[/bold]")
    for note in result.notes:
        console.print(Padding(Text(f"- {note}"), (0, 0, 0, 2)))
    elapsed = ", ".join(f"{what} {seconds:.1f} s" for what, seconds in result.elapsed_s.items())
    console.print(f"\n[dim]wall time: {elapsed}[/dim]", highlight=False)


def bits(value: float) -> str:
    """A number of bits as a person reads it."""
    size = abs(value)
    for power, unit in ((12, "Tbit"), (9, "Gbit"), (6, "Mbit"), (3, "kbit")):
        if size >= 10.0**power:
            return f"{value / 10.0**power:.3g} {unit}"
    return f"{value:.3g} bit" if size >= 0.001 else "0 bit"


def duration(seconds: float) -> str:
    """A time as a person reads it; a dash for none."""
    if np.isnan(seconds):
        return "–"
    for size, unit in ((86_400.0, "d"), (3600.0, "h"), (60.0, "min")):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} s"


def study_as_json(result: StudyResult) -> dict[str, Any]:
    """The figures of a study as plain data; a spread is the standard deviation over seeds, null with one seed."""
    key, age_s, met = result.key_per_day_bit(), result.mean_key_age_s(), result.met().mean(axis=(0, 1))
    outage, longest, month = result.outage_days(), result.longest_outage_days(), result.availability()
    wanted = result.wanted_bit.sum(axis=0) / result.length_days
    return {
        "name": result.inputs.name,
        "title": result.inputs.title,
        "from": format_utc(result.start),
        "to": format_utc(result.end),
        "seeds": list(result.seeds),
        "inputs_hash": inputs_hash(result.inputs, result.start, result.end),
        "pairs": [
            {
                "pair": name,
                "wanted_bit_per_day": float(wanted[pair]),
                "key_bit_per_day": float(key[:, pair].mean()),
                "spread_bit_per_day": _spread(key[:, pair]),
                "availability": float(met[pair]),
                "availability_by_month": dict(zip(result.months, month[:, pair].tolist(), strict=True)),
                "outage_days": float(outage[:, pair].mean()),
                "longest_outage_days": int(longest[:, pair].max()),
                "mean_key_age_s": None if np.isnan(age_s[pair]) else float(age_s[pair]),
                "bottlenecks": [{"link": link, "share_of_days": share} for link, share in result.bottleneck_shares(pair)[:5]],
            }
            for pair, name in enumerate(result.pairs)
        ],
        "satellites": [
            {
                "satellite": name,
                "contact_s_per_day": float(result.satellite_contact_s[:, number].mean() / result.length_days),
                "key_bit_per_day": float(result.satellite_bit[:, number].mean() / result.length_days),
            }
            for number, name in enumerate(result.satellites)
        ],
        "contacts": {
            "planned": float(result.contacts_planned.sum() / len(result.seeds)),
            "lost_to_cloud": float(result.contacts_lost.sum() / len(result.seeds)),
            "method": result.plan_method,
            "plan_value_bit": float(result.plan_value_bit.mean()),
            "plan_bound_bit": None if np.isnan(result.plan_bound_bit).any() else float(result.plan_bound_bit.mean()),
        },
        "full_cuts": result.full_cuts,
        "values": result.values,
        "cost": result.cost,
        "currency": result.inputs.prices.currency if result.inputs.prices else None,
        "notes": list(result.notes),
        "elapsed_s": result.elapsed_s,
    }


def _spread(figures: np.ndarray[Any, np.dtype[np.float64]]) -> float | None:
    return float(figures.std(ddof=1)) if figures.size > 1 else None


def _pairs_table(result: StudyResult) -> Table:
    """The pairs that are served worst, if there are many."""
    key, age_s, met = result.key_per_day_bit(), result.mean_key_age_s(), result.met().mean(axis=(0, 1))
    outage, longest = result.outage_days().mean(axis=0), result.longest_outage_days().max(axis=0)
    wanted = result.wanted_bit.sum(axis=0) / result.length_days
    shown = np.argsort(met, kind="stable")[:PAIRS_SHOWN] if len(result.pairs) > PAIRS_SHOWN else np.arange(len(result.pairs))
    title = f"The {PAIRS_SHOWN} of {len(result.pairs)} pairs served worst" if len(result.pairs) > PAIRS_SHOWN else "Key per day"
    table = _table(title, ["pair"], ["wanted", "key", "spread", "days met", "days short", "longest", "age"])
    table.add_column("limited by")
    for pair in shown:
        spread = _spread(key[:, pair])
        table.add_row(
            Text(result.pairs[pair]),
            bits(wanted[pair]),
            bits(float(key[:, pair].mean())),
            "" if spread is None else f"± {bits(spread)}",
            f"{100 * met[pair]:.1f} %",
            f"{outage[pair]:.1f}",
            f"{longest[pair]}",
            duration(age_s[pair]),
            Text(", ".join(f"{link} {100 * share:.0f} %" for link, share in result.bottleneck_shares(int(pair))[:1])),
        )
    return table


def _satellites_table(result: StudyResult) -> Table:
    planned, lost = result.contacts_planned.sum() / len(result.seeds), result.contacts_lost.sum() / len(result.seeds)
    share = f", {100 * lost / planned:.0f} % lost to cloud" if planned else ""
    table = _table(
        f"Satellites: {planned:,.0f} contacts planned ({result.plan_method}){share}", ["satellite"], ["contact a day", "key a day"]
    )
    for number, name in enumerate(result.satellites):
        contact_s = result.satellite_contact_s[:, number].mean() / result.length_days
        table.add_row(Text(name), duration(float(contact_s)), bits(float(result.satellite_bit[:, number].mean() / result.length_days)))
    return table


def _values_table(result: StudyResult) -> Table:
    table = _table("What one more buys, of all pairs' key together", ["one more", ""], ["key a day", "error", "cost"])
    for value in result.values:
        error = "" if np.isnan(value.error_bit_per_day) else f"± {bits(value.error_bit_per_day)}"
        cost = "" if value.cost is None else f"{value.cost:,.0f}"
        table.add_row(value.kind, Text(value.what), bits(value.gained_bit_per_day), error, cost)
    return table


def _table(title: str, texts: list[str], numbers: list[str]) -> Table:
    table = Table(title=Text(title), title_justify="left", title_style="bold", box=None, padding=(0, 1), header_style="dim")
    for name in texts:
        table.add_column(name)
    for name in numbers:
        table.add_column(name, justify="right")
    return table
