"""`tiandi up`, `down` and `status`: a network that lives on this machine."""

from __future__ import annotations

import os
import resource
import signal
import sys
import threading
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from tiandi.errors import InputError, StateError

if TYPE_CHECKING:
    from tiandi.scenario.living import LivingNetwork
    from tiandi.scenario.living_state import Running
    from tiandi.scenario.scenario import Scenario

MOST_FILES = 65_536
"""That a network of many KMEs may have open at once."""
DEFAULT_SCENARIO = "shanghai-vienna"

State = Annotated[
    Path | None, Parameter(name="--state", help="Folder of the network; default: one for the scenario in ~/.local/state/tiandi.")
]
Json = Annotated[bool, Parameter(name="--json", negative="", help="Print JSON instead of words.")]


def up(
    scenario: Annotated[str, Parameter(help="Name of a packaged scenario, or a TOML file.")] = DEFAULT_SCENARIO,
    *,
    speed: Annotated[float | None, Parameter(help="Simulated seconds a second; default: that of the last run, else 1, real time.")] = None,
    port_base: Annotated[int | None, Parameter(help="First port of the KMEs' doors, 0 for any; the page takes the one before it.")] = None,
    state: State = None,
    lite: Annotated[bool, Parameter(negative="", help="Without the page: KMEs, links and customers only.")] = False,
) -> None:
    """Start a whole network that goes on living, and a page on which it is watched; `tiandi down` or Ctrl-C stops it.

    It goes on where the last run in the same folder stopped.
    """
    from tiandi.scenario.living import LivingNetwork
    from tiandi.scenario.living_state import Running, StateLock, default_folder
    from tiandi.scenario.scenario import load_scenario

    loaded = _with_ports(load_scenario(scenario), port_base)
    folder = default_folder() / loaded.name if state is None else state
    _raise_file_limit()
    stopped = threading.Event()
    before = [(number, signal.getsignal(number)) for number in (signal.SIGTERM, signal.SIGINT)]
    with ExitStack() as stack:
        lock = stack.enter_context(StateLock(folder))
        for number, handler in before:
            signal.signal(number, lambda *_: stopped.set())
            stack.callback(signal.signal, number, handler)
        print(f"starting {loaded.title} (the first time on a machine, its loops are compiled for some 20 s)", file=sys.stderr, flush=True)
        living = stack.enter_context(LivingNetwork(loaded, folder, speed=speed))
        if stopped.is_set():
            return
        doors = {node: living.node_address(node) for node in living.nodes}
        page, links = "", dict[str, str]()
        if not lite:
            page, links = _open_page(stack, living, loaded.file.run.port_base)
        lock.tell(Running(process=os.getpid(), scenario=loaded.name, started=datetime.now(UTC).isoformat(), page=page, doors=doors))
        _print_doors(living, doors, folder, links)
        while not stopped.wait(1.0):
            pass
    print("stopped", flush=True)


def down(*, state: State = None) -> None:
    """Stop a running network; its keys and its time are kept for the next `tiandi up`."""
    from tiandi.scenario.living_state import stop_running

    folder = _running_folder(state)
    running = stop_running(folder)
    print(f"{running.scenario}: stopped; its state is in {folder}")


def status(*, state: State = None, json: Json = False) -> None:
    """Tell which networks run on this machine, and where their doors are."""
    import msgspec

    from tiandi.scenario.living_state import find_running

    found = {str(folder): running for folder in _folders(state) if (running := find_running(folder)) is not None}
    if json:
        sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode({"running": found}), indent=2) + b"\n")
        return
    if not found:
        print("no network is running")
    for folder, running in found.items():
        print(_line(folder, running))


def _line(folder: str, running: Running) -> str:
    page = f", page {running.page}" if running.page else ""
    return f"{running.scenario}: process {running.process} since {running.started[:19]}Z, {len(running.doors)} KMEs{page}, state {folder}"


def _folders(state: Path | None) -> list[Path]:
    from tiandi.scenario.living_state import default_folder

    if state is not None:
        return [state]
    return sorted(path for path in default_folder().iterdir() if path.is_dir()) if default_folder().is_dir() else []


def _running_folder(state: Path | None) -> Path:
    """The folder that is named, or that of the only network which runs."""
    from tiandi.scenario.living_state import default_folder, find_running

    if state is not None:
        return state
    running = [folder for folder in _folders(None) if find_running(folder) is not None]
    if not running:
        raise StateError("state", str(default_folder()), "no network is running; name its folder with --state if it has one of its own")
    if len(running) > 1:
        raise InputError("state", ", ".join(map(str, running)), "several networks are running: name one with --state")
    return running[0]


def _with_ports(scenario: Scenario, port_base: int | None) -> Scenario:
    """The scenario with its doors at these ports."""
    import msgspec

    if port_base is None:
        return scenario
    if port_base and not 1025 <= port_base <= 65_535 - len(scenario.file.topology.nodes):
        raise InputError("port-base", port_base, f"must be 0, or from 1025 to {65_535 - len(scenario.file.topology.nodes)}")
    run = msgspec.structs.replace(scenario.file.run, port_base=port_base)
    return type(scenario)(msgspec.structs.replace(scenario.file, run=run), scenario.folder)


def _raise_file_limit() -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_FILES if most == resource.RLIM_INFINITY else min(MOST_FILES, most)
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))


def _open_page(stack: ExitStack, living: LivingNetwork, port_base: int) -> tuple[str, dict[str, str]]:
    """Serve the page; its address, and a one-time link for each role."""
    from tiandi.web.server import WindowServer

    async def offer() -> dict[str, str]:
        return {"viewer": server.login_link("viewer"), "operator": server.login_link("operator")}

    server = WindowServer(living, port=port_base - 1 if port_base else 0)
    living.call(server.start())
    stack.callback(lambda: living.call(server.stop()))
    return server.address, living.call(offer())


def _print_doors(living: LivingNetwork, doors: dict[str, str], folder: Path, links: dict[str, str]) -> None:
    print(f"{living.scenario.title}: {len(doors)} KMEs, {len(living.workers.links)} fibre links, speed {living.clock.wanted_speed:g}")
    for node, address in doors.items():
        print(f"  {node}: {address}")
    print(f"Certificates are in {folder / 'pki'}; what a network is told survives in {folder}.")
    for role, link in links.items():
        print(f"One-time link to the page, {role}: {link}")
    print("`tiandi down`, or Ctrl-C here, stops it.", flush=True)
