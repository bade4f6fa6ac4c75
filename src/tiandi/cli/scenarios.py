"""`tiandi scenario`: the scenarios there are, new ones of the user's own, and topologies of others made into scenarios."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import App, Parameter

from tiandi.cli.terminal import print_json
from tiandi.errors import InputError

if TYPE_CHECKING:
    from tiandi.scenario.scenario import Scenario

# Modules are imported by the command that needs them, so that --help answers at once.

app = App(
    name="scenario", help="List, show and check scenarios; write one of your own from a template, or from a topology in GraphML or CSV."
)

Json = Annotated[bool, Parameter(name="--json", negative="", help="Print one JSON object instead of text.")]
Folder = Annotated[Path, Parameter(help="Folder that the file goes to.")]


@app.command(name="list")
def list_scenarios(*, json: Json = False) -> None:
    """List the scenarios that come with tiandi, and the templates of `new`."""
    from tiandi.scenario.scenario import load_scenario, packaged_scenarios
    from tiandi.scenario.template import templates

    titles = {name: load_scenario(name).title for name in packaged_scenarios()}
    if json:
        print_json({"scenarios": [{"name": name, "title": title} for name, title in titles.items()], "templates": templates()})
        return
    width = max(map(len, titles))
    for name, title in titles.items():
        print(f"{name:{width}}  {title}")
    print(f"templates: {', '.join(templates())}")


@app.command
def show(scenario: str, /, *, json: Json = False) -> None:
    """Say what is in a scenario: its nodes, fibres, sky, demands, and how far its model is to be trusted.

    Parameters
    ----------
    scenario
        Name of a packaged scenario, or a TOML file.
    """
    from tiandi.scenario.scenario import load_scenario

    facts = _facts(load_scenario(scenario))
    if json:
        print_json(facts)
        return
    for name, value in facts.items():
        for line in value if isinstance(value, list) else [value]:
            shown = ", ".join(f"{number} {kind}" for kind, number in line.items()) if isinstance(line, dict) else line
            print(f"{name.replace('_', ' '):15} {shown}")


@app.command
def check(scenario: str, /, *, json: Json = False) -> None:
    """Look for mistakes in a scenario: names, ranges, fibres too long for key, a network in parts, elements too old.

    Parameters
    ----------
    scenario
        Name of a packaged scenario, or a TOML file.
    """
    from tiandi.clock import format_utc
    from tiandi.scenario.scenario import load_scenario
    from tiandi.scenario.study import study_inputs

    loaded = load_scenario(scenario)
    inputs = study_inputs(loaded)
    window = loaded.plan_window if loaded.file.plan is not None or loaded.file.run.sky is not None else None
    for satellite in inputs.satellites:
        for moment in window or ():
            satellite.elements.require_age(moment)
    rates = [link.rate_bps for link in inputs.topology.links.values() if link.kind == "fibre"]
    found: dict[str, Any] = {
        "scenario": loaded.name,
        "window": [format_utc(moment) for moment in window] if window else None,
        "links": dict(Counter(link.kind for link in inputs.topology.links.values())),
        "fibre_rate_bps": [round(min(rates), 1), round(max(rates), 1)] if rates else None,
        "demands": len(inputs.demands),
        "wanted_bps": round(sum(demand.rate_bps for demand in inputs.demands), 3),
    }
    if json:
        print_json(found)
        return
    rate = f", fibres of {min(rates) / 1000:.2f} to {max(rates) / 1000:.2f} kbit/s" if rates else ""
    print(f"{loaded.name}: no mistake found; {len(inputs.topology.nodes)} nodes, {len(inputs.topology.links)} links{rate}")
    print(f"{len(inputs.demands)} pairs want {found['wanted_bps']:g} bit/s in all")


@app.command
def new(
    name: str,
    /,
    *,
    template: Annotated[
        str, Parameter(name="--from", help="A template (`tiandi scenario list`), or a packaged scenario to copy.")
    ] = "network",
    folder: Folder = Path(),
    json: Json = False,
) -> None:
    """Write NAME.toml, a commented scenario of your own that runs as it is.

    Parameters
    ----------
    name
        Small letters, digits and hyphens.
    """
    from tiandi.scenario.template import new_scenario

    _written(new_scenario(name, template, folder), json=json)


@app.command(name="import")
def import_topology(
    file: Path,
    /,
    *,
    format: Annotated[Literal["graphml", "csv"], Parameter(help="What FILE is.")],
    nodes: Annotated[Path | None, Parameter(help="With csv: a table of nodes; FILE is that of the links.")] = None,
    name: Annotated[str, Parameter(help="Name of the scenario, and of its file NAME.toml.")] = "imported",
    folder: Folder = Path(),
    json: Json = False,
) -> None:
    """Make a scenario of a topology; links that are too long for one hop get trusted relays.

    Parameters
    ----------
    file
        GraphML such as the Topology Zoo's, or CSV with the columns from, to, length_km, systems, rate_bps.
    """
    from tiandi.scenario.importing import import_csv, import_graphml
    from tiandi.scenario.template import require_name, write_new

    require_name(name)
    if format == "graphml" and nodes is not None:
        raise InputError("nodes", str(nodes), "goes with --format csv only; GraphML has nodes of its own")
    text = import_graphml(file, name) if format == "graphml" else import_csv(file, nodes, name)
    _written([write_new(folder / f"{name}.toml", text.encode())], json=json)


def _facts(scenario: Scenario) -> dict[str, Any]:
    topology, plan = scenario.file.topology, scenario.file.plan
    return {
        "name": scenario.name,
        "title": scenario.title,
        "nodes": dict(Counter(node.kind for node in topology.nodes)),
        "synthetic_nodes": sum(node.source.startswith("synthetic") for node in topology.nodes),
        "fibres": len(topology.fibres),
        "fibre_km": round(sum(fibre.length_km for fibre in topology.fibres), 1),
        "systems": sum(fibre.systems for fibre in topology.fibres),
        "downlinks": len(topology.downlinks),
        "window": None if plan is None else f"{plan.start} to {plan.end}",
        "demonstration": "yes" if scenario.file.run.demonstration is not None else "none: for studies only",
        "notes": list(scenario.file.run.notes),
    }


def _written(paths: list[Path], *, json: bool) -> None:
    if json:
        print_json({"written": [str(path) for path in paths]})
        return
    for path in paths:
        print(f"written: {path}")
