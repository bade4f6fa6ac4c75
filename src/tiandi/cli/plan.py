"""`tiandi plan` and `tiandi plan sweep`: studies of months and constellations."""

from __future__ import annotations

import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from tiandi.cli.terminal import print_json, progress
from tiandi.errors import InputError

if TYPE_CHECKING:
    from tiandi.planning.inputs import StudyInputs
    from tiandi.planning.parameters import Value
    from tiandi.planning.sweep import Axis

QUICK_S = 2.0
"""No bar is shown for work that is done sooner."""

# Modules are imported by the command that needs them, so that --help answers at once.

app = App(name="plan", help="How much key would these pairs get, through nights, clouds and seasons?", help_format="plaintext")

ScenarioName = Annotated[str, Parameter(help="Name of a packaged scenario, or a TOML file.")]
Start = Annotated[str | None, Parameter(name="--from", help="ISO 8601, UTC; default: the scenario's [plan].")]
End = Annotated[str | None, Parameter(name="--to", help="ISO 8601, UTC; default: the scenario's [plan].")]
Seeds = Annotated[int, Parameter(help="How many courses of the weather.")]
FirstSeed = Annotated[int, Parameter(help="Seed of the first of them; the others follow.")]
Workers = Annotated[int | None, Parameter(help="Processes on this machine; default: as many as processors.")]
Scheduler = Annotated[str | None, Parameter(help="Address of a Dask scheduler that runs the tasks instead, such as tcp://10.0.0.1:8786.")]
Json = Annotated[bool, Parameter(name="--json", negative="", help="Print one JSON object instead of tables.")]


@app.default
def plan(
    scenario: ScenarioName,
    *,
    start: Start = None,
    end: End = None,
    seeds: Seeds = 1,
    first_seed: FirstSeed = 1,
    report: Annotated[Path | None, Parameter(help="Also write a page with figures to this HTML file.")] = None,
    values: Annotated[bool, Parameter(help="Also study what one more of everything would buy, which takes several times as long.")] = True,
    workers: Workers = None,
    scheduler: Scheduler = None,
    json: Json = False,
) -> None:
    """Study a scenario: key per pair per day with its spread, outages, age of key, bottlenecks, and what one more of everything buys."""
    from tiandi.cli.plan_tables import show_study, study_as_json

    inputs, begins, ends = _study_of(scenario, start, end)
    if report is not None:
        _require_writable(report)
    with progress() as tell:
        from dataclasses import replace

        from tiandi.planning.study import run_study
        from tiandi.planning.value import marginal_values

        courses = {"seeds": seeds, "first_seed": first_seed, "workers": workers, "scheduler": scheduler}
        result = run_study(inputs, start=begins, end=ends, progress=tell, **courses)  # type: ignore[arg-type]
        if values:
            result = replace(result, values=marginal_values(result, workers=workers, scheduler=scheduler, progress=tell))
        if report is not None:
            from tiandi.planning.report import write_report

            tell("report", 0.0)
            write_report(result, report)
    if report is not None:
        print(f"written: {report}", file=sys.stderr)
    if json:
        print_json(study_as_json(result))
    else:
        show_study(result)


@app.command
def sweep(
    scenario: ScenarioName,
    *,
    vary: Annotated[
        list[str] | None,
        Parameter(
            negative="",
            help="A parameter and its values: stations.*.receiver.aperture_m=0.3,0.6,1.2 or satellites.count=1,2,4; may be repeated.",
        ),
    ] = None,
    store: Annotated[
        Path, Parameter(name="--store", help="Folder, or file ending in .parquet, for a row a run; runs in it are not repeated.")
    ],
    optimise: Annotated[
        str | None,
        Parameter(
            help="Look between two values of each parameter for the most key_bit_per_day, least_availability or key_bit_per_day_and_cost."
        ),
    ] = None,
    generations: Annotated[int, Parameter(help="Of the optimiser.")] = 20,
    start: Start = None,
    end: End = None,
    seeds: Seeds = 1,
    first_seed: FirstSeed = 1,
    workers: Workers = None,
    scheduler: Scheduler = None,
    json: Json = False,
) -> None:
    """Study a scenario again and again with other parameters. Stopped at any time, it goes on when it is started again."""
    axes = [_axis(text) for text in vary or []]
    inputs, begins, ends = _study_of(scenario, start, end)
    with progress() as tell:
        from tiandi.planning.sweep import Sweep

        runs = Sweep(
            inputs,
            [axis.parameter for axis in axes],
            start=begins,
            end=ends,
            to=store,
            seeds=seeds,
            first_seed=first_seed,
            workers=workers,
            scheduler=scheduler,
            progress=lambda what, done, total: tell(what, done / total if total else 1.0),
        )
        outcome = (
            runs.over_grid(axes) if optimise is None else runs.optimise(axes, goal=optimise, generations=generations)  # type: ignore[arg-type]
        )
    if json:
        print_json(outcome)
        return
    print(f"{outcome.computed} runs computed, {outcome.found} found: {store}")
    if outcome.best is not None:
        print(f"best {optimise}: " + ", ".join(f"{axis.parameter} = {outcome.best[axis.parameter]:g}" for axis in axes))


def _study_of(name: str, start: str | None, end: str | None) -> tuple[StudyInputs, datetime, datetime]:
    """What the scenario asks, and from when to when."""
    from tiandi.clock import parse_utc
    from tiandi.scenario.scenario import load_scenario
    from tiandi.scenario.study import study_inputs

    scenario = load_scenario(name)
    options = scenario.file.plan
    moments = []
    for field, given, own in (("--from", start, options and options.start), ("--to", end, options and options.end)):
        text = given if given is not None else own
        if not text:
            raise InputError(field, "", f"must be given: scenario {name} has no [plan] that says it")
        moments.append(parse_utc(text, field))
    return study_inputs(scenario), moments[0], moments[1]


def _axis(text: str) -> Axis:
    from tiandi.planning.sweep import Axis

    parameter, equals, values = text.partition("=")
    if not equals or not parameter.strip() or not values.strip():
        raise InputError("vary", text, "write NAME=VALUE,VALUE,...")
    return Axis(parameter.strip(), tuple(_value(value.strip()) for value in values.split(",")))


def _value(text: str) -> Value:
    """A whole number, a number, true or false, or else a word."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return {"true": True, "false": False}.get(text, text)


def _require_writable(path: Path) -> None:
    if not path.absolute().parent.is_dir():
        raise InputError("report", str(path), "its folder must exist")
    if path.is_dir():
        raise InputError("report", str(path), "must be a file, not a folder")
