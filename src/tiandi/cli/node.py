"""`tiandi node`: one node of a scenario, so that the same scenario stands on several hosts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter

from tiandi.cli.terminal import print_json
from tiandi.errors import InputError

# Modules are imported by the command that needs them, so that --help answers at once.

app = App(name="node", help="Run one node of a scenario on this host, or prepare the folders of all its hosts.")


@app.default
def run(
    name: str,
    /,
    *,
    config: Annotated[Path, Parameter(name="--config", help="File of the node (node.toml), from 'prepare'.")],
    log: Annotated[Literal["debug", "info", "warning", "error"], Parameter(help="Least level logged.")] = "info",
) -> None:
    """Run one node of a scenario until SIGTERM: its KME with all doors, and its ends of the fibre links. Logs are JSON lines.

    Parameters
    ----------
    name
        The node, as the scenario calls it.
    """
    import asyncio

    from tiandi.cli.kme import _set_limits
    from tiandi.kms.operating.logs import log_to_stderr
    from tiandi.scenario.node import NodeRun
    from tiandi.scenario.node_files import read_node

    with NodeRun(read_node(config, name)) as node:
        log_to_stderr(log)
        _set_limits()
        asyncio.run(node.run())


@app.command
def prepare(
    scenario: str,
    /,
    *,
    hosts: Annotated[Path, Parameter(help="TOML file with a table [nodes.NAME] for each node: address, port, listen.")],
    into: Annotated[Path, Parameter(help="New folder, in which each node gets one of its own.")],
    authority: Annotated[
        Path | None, Parameter(help="Folder of the authority that issues the certificates; default: a new one in the new folder.")
    ] = None,
    json: Annotated[bool, Parameter(name="--json", negative="", help="Print JSON instead of words.")] = False,
) -> None:
    """Make a folder for each node of a scenario: certificates, configurations, and pre-shared keys of its links.

    Parameters
    ----------
    scenario
        Name of a packaged scenario, or a TOML file; of fibre only.
    """

    from tiandi.cli import pki
    from tiandi.scenario.node_preparation import prepare as prepare_nodes

    try:
        made = prepare_nodes(scenario, hosts, into, None if authority is None else pki._open(authority))
    except FileExistsError as error:
        raise InputError("--into", str(into), str(error)) from None
    if json:
        nodes = [{"node": each.node, "kme": each.kme, "folder": str(each.folder), "address": each.address} for each in made]
        print_json({"nodes": nodes})
        return
    for each in made:
        print(f"{each.folder}: for the host of {each.node}, {each.address}; there: tiandi node {each.node!r} --config node.toml")
    print("Carry each folder to its host in a way that nobody reads or changes, and remove it here: it holds secrets.")
    if authority is None:
        print(f"{into / 'pki'} is the authority: keep it to yourself.")
