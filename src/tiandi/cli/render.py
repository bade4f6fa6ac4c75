"""Tables and pictures for a terminal."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image
from rich.columns import Columns
from rich.console import Console, Group
from rich.padding import Padding
from rich.panel import Panel
from rich.style import Style
from rich.table import Table
from rich.text import Text

from tiandi.experiments.report import LABELS, allowed, difference, figure_text, spread, tally

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tiandi.experiments.experiment import Experiment, Row
    from tiandi.scenario.demonstration import Pictures
    from tiandi.scenario.report import EavesdropperReport, Hop, LinkRow, PassRow, Report

THUMBNAIL_COLUMNS, THUMBNAIL_ROWS = 36, 11
SHADES = " .:-=+*#%@"
WIRE_SHOWN_BYTE = 48
WIDE_COLUMNS = 118


def show_report(console: Console, report: Report, pictures: Pictures) -> None:
    """Everything a person wants to read of a demonstration."""
    console.print(Text(f"\n{report.title}\n", style="bold"))
    console.print(_links_table(console, report.links))
    if report.passes:
        console.print(_passes_table(console, report.passes))
    console.print(_route_text("Route of the key", report.route))
    console.print(_message_panel(console, report, pictures))
    if report.eavesdropper is not None:
        console.print(_eavesdropper_panel(report.eavesdropper))
    console.print("[bold]How far to trust this[/bold]")
    for note in report.notes:
        console.print(Padding(f"- {note}", (0, 0, 0, 2)), highlight=False)
    elapsed = ", ".join(f"{what} {seconds:.1f} s" for what, seconds in report.elapsed_s.items())
    console.print(f"\n[dim]wall time: {elapsed}[/dim]", highlight=False)


def show_passes(console: Console, title: str, rows: Sequence[dict[str, object]]) -> None:
    """One line a pass."""
    table = _table(title, ["satellite", "station", "rises (UTC)", "highest", "sets"], ["s", "up to", "km", "sun"])
    table.padding = (0, 1, 0, 0)
    for row in rows:
        table.add_row(
            str(row["satellite"]),
            str(row["station"]),
            str(row["start"])[:-1].replace("T", " "),
            str(row["culmination"])[11:-1],
            str(row["end"])[11:-1],
            f"{row['duration_s']:.0f}",
            f"{row['culmination_deg']:.1f}°",
            f"{row['closest_km']:.1f}",
            f"{row['sun_elevation_deg']:.0f}°",
        )
    console.print(table)


def show_experiments(console: Console, experiments: Sequence[Experiment], rows: Sequence[Row]) -> None:
    """One table an experiment, with the reasons of its tolerances, its free parameters and its model; then a count of the verdicts."""
    for experiment in experiments:
        data = experiment.data
        own = [row for row in rows if row.experiment == experiment.name]
        reasons = list(dict.fromkeys(row.why for row in own))
        table = _table(f"{data.title}: {experiment.name}", ["figure"], ["published", "ours", "difference", "spread"])
        table.add_column("passes within")
        table.add_column("verdict", min_width=16)
        for row in own:
            table.add_row(
                Text(f"{row.what}{f' [{row.unit}]' if row.unit else ''}"),
                figure_text(row.published) + ("" if row.label == "published" else f" ({row.label})"),
                figure_text(row.ours),
                difference(row),
                spread(row),
                Text.assemble(allowed(row), (f" ({reasons.index(row.why) + 1})", "dim")),
                Text(row.verdict, style={"pass": "green", "fail": "bold red"}.get(row.verdict, "yellow")),
            )
        console.print(table)
        notes = [f"({place}) {reason}." for place, reason in enumerate(reasons, 1)]
        notes += [
            f"Free: {name} = {figure_text(entry.value)}, {' to '.join(figure_text(end) for end in entry.ends)} ({entry.why})."
            for name, entry in data.parameters.items()
            if entry.ends
        ]
        notes += [" ".join(data.model.split()), f"{data.source}."]
        console.print(Padding(Text("\n".join(notes), style="dim"), (0, 1, 1, 1)))
    console.print(Text(f"{tally(rows)}.\n{LABELS}"))


def _table(title: str, texts: Sequence[str], numbers: Sequence[str]) -> Table:
    table = Table(title=Text(title), title_justify="left", title_style="bold", box=None, padding=(0, 1), header_style="dim")
    for name in texts:
        table.add_column(name)
    for name in numbers:
        table.add_column(name, justify="right")
    return table


def _figures(row: LinkRow) -> list[str]:
    return [
        f"{row.length_km:.1f}",
        f"{row.loss_db:.1f}",
        f"{row.duration_s:.0f}",
        f"{row.pulses:.1e}".replace("e+0", "e").replace("e+", "e"),
        f"{row.detected:,}",
        f"{100 * row.qber:.2f}",
        f"{row.sifted_bit:,}",
        f"{row.leaked_bit:,}",
        f"{row.secret_bit:,}",
        f"{row.secret_key_rate_bps:,.0f}",
    ]


FIGURE_COLUMNS = [6, 6, 4, 7, 10, 8, 10, 8, 9, 8]
FIGURE_NAMES = ["km", "dB", "s", "pulses", "photons", "QBER %", "sifted", "leaked", "secret", "bit/s"]


def _blocks(console: Console, title: str, rows: Sequence[LinkRow]) -> Table:
    """A line a block; where the terminal is narrow, a line for the name and one for the figures."""
    if console.width >= WIDE_COLUMNS:
        table = _table(title, ["link"], FIGURE_NAMES)
        for row in rows:
            table.add_row(row.link, *_figures(row), style="red" if row.aborted else "")
        return table
    table = Table(title=title, title_justify="left", title_style="bold", box=None, padding=0, show_header=False)
    table.add_row(_aligned(FIGURE_NAMES), style="dim")
    for row in rows:
        table.add_row(row.link, style="red" if row.aborted else "bold")
        table.add_row(_aligned(_figures(row)))
    return table


def _aligned(cells: Sequence[str]) -> str:
    return "".join(cell.rjust(width) for cell, width in zip(cells, FIGURE_COLUMNS, strict=True))


def _links_table(console: Console, rows: Sequence[LinkRow]) -> Group:
    total = (
        f"{len(rows)} links, {sum(row.length_km for row in rows):,.0f} km: {sum(row.pulses for row in rows):.2e} pulses,"
        f" {sum(row.detected for row in rows):,} photons, {sum(row.sifted_bit for row in rows):,} sifted,"
        f" {sum(row.leaked_bit for row in rows):,} leaked, {sum(row.secret_bit for row in rows):,} secret bits"
    )
    table = _blocks(console, "Fibre links: one block of decoy-state BB84 each (dB: loss without detectors)", rows)
    return Group(table, Text(f" {total}\n", style="bold"))


def _passes_table(console: Console, rows: Sequence[PassRow]) -> Group:
    table = _blocks(console, "Satellite passes: closest range, smallest loss, seconds within reach", [item.row for item in rows])
    beside = _table("Beside the experiment (sifted and QBER of signal states)", ["pass", "from"], ["photons", "sifted", "QBER %", "secret"])
    times = Text()
    for item in rows:
        name = item.row.link
        when = f"{item.start[:10]} {item.start[11:19]} to {item.end[11:19]} UTC, sun at {item.sun_elevation_deg:.0f}°"
        times.append(f" {name}: {when}, satellite up to {item.culmination_deg:.1f}°\n", style="dim")
        figures = [f"{item.row.detected:,}", f"{item.signal_sifted_bit:,}", f"{100 * item.signal_qber:.2f}", f"{item.row.secret_bit:,}"]
        beside.add_row(name, "this run (model)", *figures)
        if item.published is not None:
            detected = item.published["detected"]
            beside.add_row(
                "",
                f"{item.published['what']} ({item.published['label']})",
                "-" if detected is None else f"{detected:,}",
                f"{item.published['sifted_bit']:,}",
                f"{100 * float(str(item.published['qber'])):.2f}",
                f"{item.published['secret_bit']:,}",
            )
            if item.published["same_pass"]:
                beside.add_row("", "this run over published", *_ratios(item), style="dim")
    return Group(table, times, beside)


def _ratios(item: PassRow) -> list[str]:
    """Our figures over the published ones."""
    assert item.published is not None
    ours = [item.row.detected, item.signal_sifted_bit, item.signal_qber, item.row.secret_bit]
    theirs = [item.published[name] for name in ("detected", "sifted_bit", "qber", "secret_bit")]
    return ["-" if published is None else f"{our / float(str(published)):.2f}" for our, published in zip(ours, theirs, strict=True)]


def _route_text(title: str, hops: Sequence[Hop]) -> Text:
    text = Text(f"\n{title}, {len(hops)} hops\n", style="bold")
    for number, hop in enumerate(hops):
        if number == 0:
            text.append(hop.sender, style="not bold")
        text.append(" ⇢ " if hop.by_satellite else " → ", style="bold cyan" if hop.by_satellite else "dim")
        text.append(hop.receiver, style="not bold")
    text.append("\n→ one-time pad, decrypted and encrypted again at each trusted node   ", style="not bold dim")
    text.append("⇢ one-time pad under key that the satellite's XOR made both stations share\n", style="not bold dim")
    return text


def _message_panel(console: Console, report: Report, pictures: Pictures) -> Panel:
    text, picture = report.text, report.picture
    wire = bytes.fromhex(text.wire_hex)
    shown = wire[:WIRE_SHOWN_BYTE].hex(" ", 2) + (" ..." if len(wire) > WIRE_SHOWN_BYTE else "")
    noise = np.resize(np.frombuffer(pictures.wire, np.uint8), (2 * THUMBNAIL_ROWS, THUMBNAIL_COLUMNS, 3))
    views = (("picture before", _pixels(pictures.sent)), ("on the wire", noise), ("after", _pixels(pictures.received)))
    thumbnails = [Group(Text(label, style="dim"), _thumbnail(console, pixels)) for label, pixels in views]
    verdict = "identical" if picture.identical else "DIFFERENT"
    body = Group(
        Text.assemble(("text before  ", "dim"), text.sent),
        Text.assemble(("on the wire  ", "dim"), shown),
        Text.assemble(("text after   ", "dim"), text.received),
        Text.assemble(("             ", ""), (f"{text.keys} keys of 256 bit: {text.protection}\n", "dim")),
        Columns(thumbnails, padding=(0, 2)),
        Text(
            f"{picture.sent_byte:,} bytes sent, {picture.received_byte:,} received: {verdict}; {picture.keys} keys: {picture.protection}",
            "dim",
        ),
    )
    return Panel(body, title=f"{report.route[0].sender} to {report.route[-1].receiver}", title_align="left")


def _pixels(png: bytes) -> NDArray[np.uint8]:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))


def _thumbnail(console: Console, pixels: NDArray[np.uint8]) -> Text:
    """A picture in characters: two colours a character where there is colour, else shades of ink."""
    image = Image.fromarray(pixels)
    text = Text()
    if console.color_system in (None, "standard", "windows"):
        grey = np.asarray(image.convert("L").resize((THUMBNAIL_COLUMNS, THUMBNAIL_ROWS), Image.Resampling.BOX))
        for row in grey:
            text.append("".join(SHADES[min(len(SHADES) - 1, int(value) * len(SHADES) // 200)] for value in row) + "\n")
        return text
    small = np.asarray(image.resize((THUMBNAIL_COLUMNS, 2 * THUMBNAIL_ROWS), Image.Resampling.BOX))
    for upper, lower in zip(small[::2], small[1::2], strict=True):
        for top, bottom in zip(upper, lower, strict=True):
            text.append("▀", Style(color=_rgb(top), bgcolor=_rgb(bottom)))
        text.append("\n")
    return text


def _rgb(pixel: NDArray[np.uint8]) -> str:
    return f"#{pixel[0]:02x}{pixel[1]:02x}{pixel[2]:02x}"


def _eavesdropper_panel(found: EavesdropperReport) -> Panel:
    lines = [
        Text(f"Somebody intercepts and resends every pulse between {found.link.replace(' - ', ' and ')}."),
        Text(f"The error rate rises to {100 * found.qber:.1f} %, mean of both bases (limit {100 * found.qber_limit:.0f} % in either)."),
        *(Text(f"  {end} notices: {what}") for end, what in found.noticed.items()),
        Text(f"Both ends destroy the block: {found.secret_bit} secret bits. Alarm: {found.alarm_severity}, {found.alarm_time}."),
        Text("The link is out of service until an operator has looked."),
    ]
    if found.refusal is not None:
        lines.append(Text(f"The message is refused: {found.refusal}."))
    else:
        lines.append(
            Text(f"The message is {found.message}: " + " → ".join([found.route[0].sender, *(hop.receiver for hop in found.route)]))
        )
    return Panel(Group(*lines), title="Once more, with an eavesdropper", title_align="left", border_style="red")
