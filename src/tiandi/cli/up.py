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

from tiandi.cli.terminal import print_json
from tiandi.errors import InputError, StateError

if TYPE_CHECKING:
    from tiandi.kms.tls.pki import Credentials
    from tiandi.scenario.living import LivingNetwork
    from tiandi.scenario.living_state import Running
    from tiandi.scenario.scenario import Scenario
    from tiandi.web.server import WindowServer

MOST_FILES = 65_536
"""That a network of many KMEs may have open at once."""
DEFAULT_SCENARIO = "shanghai-vienna"
PAGE, PORTS = "page", "ports"
"""Folder, in a network's own, of what its page keeps: hashes of links and sessions, and the ports it had last."""
PAGE_IDENTITY = "page"
"""Under which the page's door for certificates serves; no KME of a network is called so."""

State = Annotated[
    Path | None, Parameter(name="--state", help="Folder of the network; default: one for the scenario in ~/.local/state/tiandi.")
]
Json = Annotated[bool, Parameter(name="--json", negative="", help="Print JSON instead of words.")]


def up(
    scenario: Annotated[str, Parameter(help="Name of a packaged scenario, or a TOML file.")] = DEFAULT_SCENARIO,
    *,
    speed: Annotated[float | None, Parameter(help="Simulated seconds a second; default: that of the last run, else 1, real time.")] = None,
    port_base: Annotated[int | None, Parameter(help="First port of the KMEs' doors, 0 for any; the page takes the two before it.")] = None,
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
        server = None if lite else _open_page(stack, living, loaded.file.run.port_base)
        page = server.address if server else ""
        lock.tell(Running(process=os.getpid(), scenario=loaded.name, started=datetime.now(UTC).isoformat(), page=page, doors=doors))
        _print_doors(living, doors, folder)
        if server is not None:
            _print_page(server, folder)
        print("`tiandi down`, or Ctrl-C here, stops it.", flush=True)
        while not stopped.wait(1.0):
            pass
    print("stopped", flush=True)


def down(*, state: State = None) -> None:
    """Stop a running network; its keys and its time are kept for the next `tiandi up`."""
    from tiandi.scenario.living_state import stop_running

    folder = _running_folder(state)
    running = stop_running(folder)
    print(f"{running.scenario}: stopped; its state is in {folder}")


def status(
    *,
    state: State = None,
    links: Annotated[bool, Parameter(negative="", help="Make a new one-time link to the page for each role, and print it.")] = False,
    json: Json = False,
) -> None:
    """Tell which networks run on this machine, and where their doors are."""

    from tiandi.scenario.living_state import find_running

    found = {str(folder): running for folder in _folders(state) if (running := find_running(folder)) is not None}
    made = {folder: _new_links(Path(folder), running.page) for folder, running in found.items()} if links else {}
    if json:
        by_certificate = {folder: _by_certificate(Path(folder)) for folder, running in found.items() if running.page}
        told = {"running": found, "by_certificate": by_certificate} | ({"links": made} if links else {})
        print_json(told)
        return
    if not found:
        print("no network is running")
    for folder, running in found.items():
        print(_line(folder, running))
        for role, link in made.get(folder, {}).items():
            print(f"  one-time link to the page, {role}: {link}")
        if links and not running.page:
            print("  it has no page: it was started with --lite")


def _line(folder: str, running: Running) -> str:
    page = f", page {running.page}, by certificate {_by_certificate(Path(folder))}" if running.page else ""
    return f"{running.scenario}: process {running.process} since {running.started[:19]}Z, {len(running.doors)} KMEs{page}, state {folder}"


def _by_certificate(folder: Path) -> str:
    """Where a running page is for those who have a certificate."""
    return f"https://127.0.0.1:{_last_ports(folder)[1]}"


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
    if port_base and not 1026 <= port_base <= 65_535 - len(scenario.file.topology.nodes):
        raise InputError("port-base", port_base, f"must be 0, or from 1026 to {65_535 - len(scenario.file.topology.nodes)}")
    run = msgspec.structs.replace(scenario.file.run, port_base=port_base)
    return type(scenario)(msgspec.structs.replace(scenario.file, run=run), scenario.folder)


def _raise_file_limit() -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_FILES if most == resource.RLIM_INFINITY else min(MOST_FILES, most)
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))


def _open_page(stack: ExitStack, living: LivingNetwork, port_base: int) -> WindowServer:
    """Serve the page, where it was served last if it can be: browsers' sessions belong to a port."""
    from tiandi.web.server import WindowServer
    from tiandi.web.sessions import Sessions

    async def serve(port: int, certificate_port: int) -> WindowServer:
        sessions = Sessions(folder=living.folder / PAGE)
        server = WindowServer(living, port=port, sessions=sessions, credentials=credentials, certificate_port=certificate_port)
        await server.start()
        return server

    credentials = _page_credentials(living.folder / "pki", living.scenario.name)
    if port_base:
        server = living.call(serve(port_base - 1, port_base - 2))
    else:
        try:
            server = living.call(serve(*_last_ports(living.folder)))
        except StateError:
            server = living.call(serve(0, 0))
    stack.callback(lambda: living.call(server.stop()))
    ports = [int(address.rpartition(":")[2]) for address in (server.address, server.certificate_address)]
    (living.folder / PAGE / PORTS).write_text(f"{ports[0]} {ports[1]}", encoding="ascii")
    return server


def _last_ports(folder: Path) -> tuple[int, int]:
    """Those of the page's last run; 0 where there was none, or what it left cannot be read."""
    try:
        page, by_certificate = (folder / PAGE / PORTS).read_text(encoding="ascii").split()
        return int(page), int(by_certificate)
    except (OSError, ValueError):
        return 0, 0


def _page_credentials(pki: Path, name: str) -> Credentials:
    from tiandi.kms.tls.pki import CertificateAuthority, credentials_in

    try:
        return credentials_in(pki, "kme", PAGE_IDENTITY)
    except InputError:
        return CertificateAuthority(pki, name).issue("kme", PAGE_IDENTITY)


def _new_links(folder: Path, page: str) -> dict[str, str]:
    """A one-time link for each role, which the running page finds in its folder; none where there is no page."""
    from typing import get_args

    from tiandi.web.server import login_link
    from tiandi.web.sessions import Role, Sessions

    if not page:
        return {}
    sessions = Sessions(folder=folder / PAGE)
    return {role: login_link(page, sessions, role) for role in get_args(Role)}


def _print_doors(living: LivingNetwork, doors: dict[str, str], folder: Path) -> None:
    print(f"{living.scenario.title}: {len(doors)} KMEs, {len(living.workers.links)} fibre links, speed {living.clock.wanted_speed:g}")
    for node, address in doors.items():
        print(f"  {node}: {address}")
    print(f"Certificates are in {folder / 'pki'}; what a network is told survives in {folder}.")


def _print_page(server: WindowServer, folder: Path) -> None:
    for role, link in _new_links(folder, server.address).items():
        print(f"One-time link to the page, {role}: {link}")
    print(f"The page for those with a certificate of `tiandi pki issue {folder / 'pki'} operator NAME`: {server.certificate_address}")
