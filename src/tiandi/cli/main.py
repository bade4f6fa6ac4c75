"""`tiandi`: what can be done from a shell."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter, Token

import tiandi
from tiandi.cli import EXIT_FAILED, audit, cloud, control, distill, gbs, keys, kme, machines, node, pki, plan, qec, rcs, sae, scenarios, up
from tiandi.cli.terminal import print_json, progress, standard_output
from tiandi.errors import InputError, NoPassError

if TYPE_CHECKING:
    pass

DEFAULT_SCENARIO = "shanghai-vienna"
PLAIN_WIDTH = 120
"""Columns when the output is not a terminal."""

# Modules are imported by the command that needs them, so that --help answers at once.

app = App(
    name="tiandi",
    help="The space-ground integrated quantum-secure network as running software. Light and satellites are digital twins; key distillation,"
    " key management, relay and encryption are real.",
    help_format="plaintext",
    version=tiandi.__version__,
    suppress_keyboard_interrupt=False,
)

app.command(distill.app)
app.command(kme.app)
app.command(keys.app)
app.command(node.app)
app.command(pki.app)
app.command(audit.app)
app.command(plan.app)
app.command(sae.app)
app.command(scenarios.app)
app.command(machines.app)
app.command(rcs.app)
app.command(qec.app)
app.command(control.app)
app.command(gbs.app)
app.command(cloud.app)
app.command(up.up)
app.command(up.down)
app.command(up.status)

ScenarioName = Annotated[str, Parameter(name="--scenario", help="Name of a packaged scenario, or a TOML file.")]
Json = Annotated[bool, Parameter(name="--json", negative="", help="Print one JSON object instead of tables.")]


def _whole_number(_: object, tokens: Sequence[Token]) -> int:
    """A whole number as it is written; 1.5 is none."""
    try:
        return int(tokens[0].value)
    except ValueError:
        raise InputError("seed", tokens[0].value, "must be a whole number") from None


@app.command
def demo(
    *,
    scenario: ScenarioName = DEFAULT_SCENARIO,
    message: Annotated[str | None, Parameter(help="Text to send; default: the scenario's.")] = None,
    seed: Annotated[
        int | None, Parameter(converter=_whole_number, help="Makes the twins (light, detectors) repeat; keys never do.")
    ] = None,
    eavesdropper: Annotated[
        str | None,
        Parameter(help="Link on which somebody listens in a second round, such as \"Jinan - Tai'an\", or none; default: the scenario's."),
    ] = None,
    state: Annotated[Path | None, Parameter(help="New folder that keeps key stores, certificates, pictures and the report.")] = None,
    json: Json = False,
) -> None:
    """Grow quantum keys over fibre and sky, manage them, and send a message that only its receiver can read."""
    if seed is not None and seed < 0:
        raise InputError("seed", seed, "must be 0 or greater")
    with progress() as notify:
        from tiandi.cli.render import show_report
        from tiandi.scenario.demonstration import demonstrate
        from tiandi.scenario.scenario import load_scenario

        loaded = load_scenario(scenario)
        planned = loaded.file.run.eavesdropper
        link = eavesdropper if eavesdropper is not None else (planned.link if planned else "none")
        report, pictures = demonstrate(
            loaded, seed=seed, text=message, eavesdropped_link=None if link == "none" else link, state=state, notify=notify
        )
    if json:
        print_json(report)
        return
    show_report(standard_output(PLAIN_WIDTH), report, pictures)


@app.command
def passes(
    *,
    scenario: ScenarioName = DEFAULT_SCENARIO,
    station: Annotated[str | None, Parameter(help="Only this ground station.")] = None,
    start: Annotated[str | None, Parameter(name="--from", help="ISO 8601, UTC; default: the scenario's window.")] = None,
    end: Annotated[str | None, Parameter(name="--to", help="ISO 8601, UTC; default: the scenario's window.")] = None,
    json: Json = False,
) -> None:
    """Find the night passes of the scenario's satellites over its ground stations."""
    from tiandi.cli.render import show_passes
    from tiandi.clock import format_utc, parse_utc
    from tiandi.scenario.scenario import load_scenario

    loaded = load_scenario(scenario)
    first = parse_utc(start, "--from") if start is not None else loaded.window[0]
    last = parse_utc(end, "--to") if end is not None else loaded.window[1]
    found = loaded.passes(station=station, start=first, end=last)
    rows = [
        {
            "satellite": item.elements.name,
            "station": item.station.name,
            "start": format_utc(item.start),
            "culmination": format_utc(item.culmination),
            "end": format_utc(item.end),
            "duration_s": round(item.duration_s, 1),
            "culmination_deg": round(item.culmination_deg, 2),
            "closest_km": round(item.closest_km, 1),
            "sun_elevation_deg": round(item.sun_elevation_deg, 1),
        }
        for item in found
    ]
    if not rows:
        raise NoPassError("--from, --to", f"{format_utc(first)} to {format_utc(last)}", "no usable pass lies in it; widen it")
    if json:
        print_json({"passes": rows})
        return
    show_passes(standard_output(PLAIN_WIDTH), loaded.title, rows)


@app.command
def reproduce(
    *names: Annotated[str, Parameter(help="Experiments, such as micius-2017 or gys-2004; default: all. A wrong name lists them.")],
    report: Annotated[Path | None, Parameter(help="Also write the table and the figures to this HTML file.")] = None,
    json: Json = False,
) -> None:
    """Put published experiments beside our figures: value and label, ours, difference, tolerance and why, verdict."""
    with progress() as notify:
        from tiandi.cli.render import show_experiments
        from tiandi.experiments.catalogue import choose_experiments

        chosen = choose_experiments(names)
        if report is not None:
            _require_writable(report)
        rows = []
        for done, experiment in enumerate(chosen):
            notify(experiment.name, done, len(chosen))
            rows += experiment.rows()
        if report is not None:
            from tiandi.experiments.report import html_report

            notify("report", len(chosen), len(chosen))
            _write_whole(report, html_report(chosen, rows))
            print(f"written: {report}", file=sys.stderr)
    if json:
        print_json({"experiments": rows})
    else:
        show_experiments(standard_output(PLAIN_WIDTH), chosen, rows)
    if any(row.verdict == "fail" for row in rows):
        raise SystemExit(EXIT_FAILED)


def _require_writable(path: Path) -> None:
    if not path.parent.is_dir():
        raise InputError("report", str(path), "its folder must exist")
    if path.is_dir():
        raise InputError("report", str(path), "must be a file, not a folder")


def _write_whole(path: Path, text: str) -> None:
    """The file is there as a whole or not at all."""
    partial = path.with_name(f".{path.name}.partial")
    try:
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise InputError("report", str(path), f"cannot be written: {error.strerror}") from None
