"""What the commands of `tiandi control` share: which instrument, which state folder, and how far a run is."""

from __future__ import annotations

import json
import sys
import time
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from tiandi.errors import InputError, StateError

if TYPE_CHECKING:
    from tiandi.computing.chip.twin import ChipTwin
    from tiandi.computing.control.bringup import Session
    from tiandi.computing.control.graph import Graph
    from tiandi.computing.control.page.looking import Folder
    from tiandi.computing.control.running import Step
    from tiandi.computing.control.store import Store
    from tiandi.computing.instruments.instrument import Instrument

STATE = Path("chip")
TWIN_FILE = "twin.toml"
"""In a state folder: which twin the state is of."""
QUBITS, SEED = 504, 1

State = Annotated[Path, Parameter(name="--state", env_var="TIANDI_CONTROL_STATE", help="Folder of the calibration.")]
Experiments = Annotated[str | None, Parameter(help="module:function that gives more experiments, or others of the same names.")]
Json = Annotated[bool, Parameter(name="--json", negative="", help="Print one JSON object instead of tables.")]


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Chip:
    """Which chip is controlled."""

    instrument: Annotated[str | None, Parameter(help="HOST:PORT of an instrument server; default: a twin within this process.")] = None
    qubits: Annotated[int | None, Parameter(help="Of the twin; default: as the state says, else 504.")] = None
    seed: Annotated[int | None, Parameter(help="Of the twin; default: as the state says, else 1.")] = None
    faults: Annotated[bool | None, Parameter(help="Whether the twin has broken parts; default: as the state says, else yes.")] = None


@dataclass(frozen=True)
class Opened:
    """An instrument, and the twin behind it where that is in this process."""

    instrument: Instrument
    twin: ChipTwin | None


def open_instrument(chip: Chip, state: Path) -> Opened:
    """The instrument that a command controls. A twin takes up the laboratory time at which the state was left.

    Raises InputError where the state is of another twin than asked for, StateError where nobody answers.
    """
    if chip.instrument is not None:
        from tiandi.computing.instruments.client import connect

        return Opened(connect(chip.instrument), None)
    from tiandi.computing.chip.twin import chip_twin

    kept = _kept(state / TWIN_FILE)
    asked = {"qubits": chip.qubits, "seed": chip.seed, "faults": chip.faults}
    for name, value in asked.items():
        if kept is not None and value is not None and value != kept[name]:
            raise InputError(name, value, f"the state in {state} is of a twin with {name} {kept[name]}: give another folder")
    usual = kept or {"qubits": QUBITS, "seed": SEED, "faults": True}
    chosen = {name: usual[name] if value is None else value for name, value in asked.items()}
    twin = chip_twin(int(chosen["qubits"]), seed=int(chosen["seed"]), faults=bool(chosen["faults"]))
    state.mkdir(parents=True, exist_ok=True)
    (state / TWIN_FILE).write_text("".join(f"{name} = {json.dumps(value)}\n" for name, value in chosen.items()), encoding="utf-8")
    return Opened(twin, twin)


def _kept(path: Path) -> dict[str, int] | None:
    if not path.exists():
        return None
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
        return {name: found[name] for name in ("qubits", "seed", "faults")}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, KeyError) as error:
        raise StateError("twin", str(path), f"cannot be read ({error})") from None


def graph_of(experiments: str | None) -> Graph:
    """The standard graph, and what a user adds."""
    from tiandi.computing.control.standard import experiments_of, standard_graph

    return standard_graph(*(() if experiments is None else experiments_of(experiments)))


def open_control(
    opened: Opened, state: Path, experiments: str | None, *, cold: bool = False, progress: Callable[[Step], None] | None = None
) -> Session:
    """The control system at work on an instrument. Laboratory time of a twin goes on where the state was left."""
    from tiandi.computing.control.bringup import open_session
    from tiandi.computing.control.store import Store

    store = Store(state)
    if opened.twin is not None and not cold and store.file.exists():
        left = store.load().now_s - opened.twin.now_s
        if left > 0.0:
            opened.twin.rest(left)
    return open_session(opened.instrument, graph_of(experiments), store=store, cold=cold, progress=progress or (lambda step: None))


def open_folder(state: Path, experiments: str | None) -> Folder:
    """What a state folder holds, to be looked at. Raises StateError where there is none."""
    from tiandi.computing.control.page.looking import Folder

    return Folder(existing_store(state), graph_of(experiments))


def existing_store(state: Path) -> Store:
    """The store of a folder that holds a state; StateError where it does not."""
    from tiandi.computing.control.store import FILE, Store

    if not (state / FILE).is_file():
        raise StateError("state", str(state / FILE), "does not exist: bring the chip up first (tiandi control bringup)")
    return Store(state)


@contextmanager
def following(*others: Callable[[Step], None]) -> Iterator[Callable[[Step], None]]:
    """A line for each experiment on standard error, if somebody is looking at it; ``others`` hear of each step, too."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

    from tiandi.compiling import announce_compilation

    columns = (
        TextColumn("{task.description:<44}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[good]} good"),
        TimeElapsedColumn(),
    )
    watched = sys.stderr.isatty()
    bar = Progress(*columns, console=Console(stderr=True), disable=not watched)
    task: TaskID | None = None
    last = ""
    began = time.monotonic()

    def tell(step: Step) -> None:
        nonlocal task, last
        if task is None or step.experiment != last or step.done == 0:
            if task is not None:
                bar.stop_task(task)
            task, last = bar.add_task(step.title, total=step.total, good=0), step.experiment
        bar.update(task, completed=step.done, good=step.good)
        for other in others:
            other(step)

    with bar, announce_compilation(bar.console.print if watched else lambda _: None):
        yield tell
    if watched:
        bar.console.print(f"{time.monotonic() - began:.1f} s")
