"""`tiandi control`: bring a chip up, keep it calibrated, and look at what is known of it."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import App, Parameter

from tiandi.cli.control_session import (
    STATE,
    Chip,
    Experiments,
    Json,
    State,
    existing_store,
    following,
    open_control,
    open_folder,
    open_instrument,
)
from tiandi.cli.terminal import print_json
from tiandi.errors import InputError

if TYPE_CHECKING:
    from tiandi.computing.control.bringup import Session, Walk
    from tiandi.computing.control.page.server import News, PageServer
    from tiandi.computing.control.watching import Round
    from tiandi.computing.judging.criteria import Score

DEFAULT_CHIP = Chip()
DEFAULT_PORT = 8600

# Modules are imported by the command that needs them, so that --help answers at once.

app = App(
    name="control", help="Bring up and calibrate a superconducting chip, or its twin at the level of pulses.", help_format="plaintext"
)

Judge = Annotated[bool, Parameter(help="Hold the result against the hidden truth of the twin in this process.", negative="")]
Serve = Annotated[int | None, Parameter(help="Show the page at this port of this machine (0: any) meanwhile and until interrupted.")]
Elements = Annotated[str, Parameter(help="Qubits or couplers by their numbers, with commas, as 0,3,17; default: all.")]


@app.command
def bringup(
    *,
    chip: Chip = DEFAULT_CHIP,
    state: State = STATE,
    upto: Annotated[str | None, Parameter(help="Experiments, with commas: these and what they need alone; default: all.")] = None,
    cold: Annotated[bool, Parameter(help="Forget what the state folder knows; its history stays.", negative="")] = False,
    judge: Judge = False,
    serve: Serve = None,
    experiments: Experiments = None,
    json: Json = False,
) -> None:
    """Measure whatever is not known or has gone stale, in the order of the calibration graph. Once stopped, it goes on where it was."""
    from tiandi.computing.control.bringup import bring_up
    from tiandi.computing.control.page.server import News

    opened = open_instrument(chip, state)
    if judge and opened.twin is None:
        raise InputError("judge", str(chip.instrument), "the truth is known of a twin in this process alone")
    news, began = News(), time.monotonic()
    with following(news.step) as tell:
        session = open_control(opened, state, experiments, cold=cold, progress=tell)
        names = None if upto is None else [name.strip() for name in upto.split(",")]
        if names is not None:
            session.graph.upto(names)  # A wrong name is said before anything is measured.
        page = None if serve is None else _page(session, news, serve)
        walk = bring_up(session, names)
        news.tell({})
    score = None if not judge or opened.twin is None else _judged(session, opened.twin)
    _tell_walk(session, walk, time.monotonic() - began, score, json=json)
    if page is not None:
        _wait(page)


@app.command
def calibrate(
    experiment: Annotated[str, Parameter(help="Name of an experiment; a wrong one lists them.")],
    /,
    *,
    elements: Elements = "",
    chip: Chip = DEFAULT_CHIP,
    state: State = STATE,
    experiments: Experiments = None,
    json: Json = False,
) -> None:
    """Measure one experiment now, stale or not. What follows from a value that moved becomes stale."""
    from tiandi.cli import control_show
    from tiandi.computing.control.bringup import calibrate as measure

    existing_store(state)
    opened = open_instrument(chip, state)
    with following() as tell:
        session = open_control(opened, state, experiments, progress=tell)
        outcome = measure(session, experiment, control_show.numbers_of(elements))
    control_show.show_outcome(session, outcome, json=json)


@app.command
def watch(
    *,
    period_s: Annotated[float, Parameter(help="Seconds of laboratory time between rounds.")] = 3600.0,
    rounds: Annotated[int, Parameter(help="Rounds.")] = 1,
    chip: Chip = DEFAULT_CHIP,
    state: State = STATE,
    experiments: Experiments = None,
    json: Json = False,
) -> None:
    """Check the calibration with short measurements, and measure anew only what went stale."""
    from tiandi.cli import control_show
    from tiandi.computing.control.checks import standard_checks
    from tiandi.computing.control.watching import watch as keep

    existing_store(state)
    opened = open_instrument(chip, state)

    def told(one: Round) -> None:
        if not json:
            control_show.show_round(one)

    with following() as tell:
        session = open_control(opened, state, experiments, progress=tell)
        done = keep(session, standard_checks(), period_s=period_s, rounds=rounds, told=told)
    if json:
        print_json({"rounds": [control_show.round_as_json(one) for one in done]})


@app.command
def show(
    what: Annotated[str | None, Parameter(help="A parameter, or state:EXPERIMENT; default: an overview.")] = None,
    /,
    *,
    element: Annotated[str | None, Parameter(help="All of one element, as qubit:3 or coupler:17.")] = None,
    table: Annotated[bool, Parameter(help="List every value instead of drawing the chip.", negative="")] = False,
    figure: Annotated[Path | None, Parameter(help="Draw the chip to this file (.png, .svg or .pdf).")] = None,
    state: State = STATE,
    experiments: Experiments = None,
    json: Json = False,
) -> None:
    """What is known: an overview, a parameter on the map of the chip or as a table, or all of one qubit or coupler."""
    from tiandi.cli import control_show

    board = open_folder(state, experiments).board()
    if figure is not None:
        if what is None:
            raise InputError("figure", str(figure), "needs a parameter to draw")
        from tiandi.cli.control_figure import draw_chip

        draw_chip(board, what, figure)
        print(f"written: {figure}", file=sys.stderr)
    if element is not None:
        kind, _, number = element.partition(":")
        if not (number.isascii() and number.isdigit()):
            raise InputError("element", element, "must be as qubit:3 or coupler:17")
        control_show.show_element(board, kind, int(number), json=json)
    elif what is not None:
        control_show.show_parameter(board, what, table=table, json=json)
    else:
        control_show.show_overview(board, json=json)


@app.command
def report(
    file: Annotated[Path, Parameter(help="HTML file to write.")],
    /,
    *,
    qubits: Annotated[str, Parameter(help="Whose fits are in it, as 0,3; default: the first sound one and some that failed.")] = "",
    couplers: Annotated[str, Parameter(help="Whose fits are in it, as 0,3.")] = "",
    state: State = STATE,
    experiments: Experiments = None,
) -> None:
    """Write one HTML file with chip maps by every parameter, histograms, states, flags, and the fits of some elements as plots."""
    from tiandi.cli.control_show import numbers_of
    from tiandi.computing.control.page.report import report as written

    board = open_folder(state, experiments).board()
    chosen = [[] if (found := numbers_of(text)) is None else found.tolist() for text in (qubits, couplers)]
    _write(file, written(board, qubits=chosen[0], couplers=chosen[1]))


@app.command
def page(
    *,
    port: Annotated[int, Parameter(help="Of this machine; 0 for any that is free.")] = DEFAULT_PORT,
    state: State = STATE,
    experiments: Experiments = None,
) -> None:
    """Show the calibration in a browser until interrupted, also while another process measures."""
    import threading

    from tiandi.computing.control.page.looking import POLL_S
    from tiandi.computing.control.page.server import News, PageServer

    folder, news = open_folder(state, experiments), News()
    ended = threading.Event()

    def poll() -> None:
        seen = folder.written()
        while not ended.wait(POLL_S):
            if folder.written() != seen:
                seen = folder.written()
                news.tell({})

    with PageServer(folder.board, news, port) as server:
        threading.Thread(target=poll, name="state", daemon=True).start()
        try:
            _wait(server)
        finally:
            ended.set()


@app.command(name="serve-chip")
def serve_chip(
    *,
    port: Annotated[int, Parameter(help="Of this machine; 0 for any that is free.")] = 8610,
    qubits: Annotated[int, Parameter(help="Of the twin.")] = 504,
    seed: Annotated[int, Parameter(help="Of the twin.")] = 1,
    faults: Annotated[bool, Parameter(help="Whether it has broken parts.")] = True,
) -> None:
    """Serve a chip twin over TCP until interrupted, for `tiandi control bringup --instrument`. One controller at a time."""
    from tiandi.computing.chip.twin import chip_twin
    from tiandi.computing.instruments.server import serve

    with serve(chip_twin(qubits, seed=seed, faults=faults), port=port) as server:
        print(f"serves a twin of {qubits} qubits at {server.address}", flush=True)
        server.wait()


@app.command
def export(
    kind: Annotated[Literal["cqlib", "sheet"], Parameter(help="cqlib: its calibration file. sheet: a machine that the cloud serves.")],
    file: Annotated[Path, Parameter(help="To write.")],
    /,
    *,
    name: Annotated[str, Parameter(help="What the machine is called.")] = "xiaohong-here",
    state: State = STATE,
) -> None:
    """Write the calibration for others. A sheet is served by `tiandi cloud serve --machines FILE.toml`."""
    from tiandi.computing.control.sheet import write_sheet

    loaded = existing_store(state).load()
    if not file.absolute().parent.is_dir():
        raise InputError("file", str(file), "its folder must exist")
    if kind == "sheet":
        write_sheet(file, loaded.knowledge, name=name, now_s=loaded.now_s)
        print(f"written: {file}", file=sys.stderr)
        return
    import json
    import tempfile

    from tiandi.computing.cloud.dialects.machines import configuration
    from tiandi.computing.cloud.limits import TIANYAN
    from tiandi.computing.cloud.machines import TwinMachine
    from tiandi.computing.control.calibration_file import with_pulses

    with tempfile.TemporaryDirectory() as folder:
        sheet = Path(folder) / "sheet.toml"
        write_sheet(sheet, loaded.knowledge, name=name, now_s=loaded.now_s)
        found = with_pulses(configuration(name, TwinMachine(name, TIANYAN, file=str(sheet))), loaded.knowledge)
    _write(file, json.dumps(found, indent=1) + "\n")


@app.command(name="import")
def import_(
    file: Annotated[Path, Parameter(help="Calibration file of cqlib (JSON).")],
    /,
    *,
    chip: Chip = DEFAULT_CHIP,
    state: State = STATE,
    json: Json = False,
) -> None:
    """Take what a calibration file of cqlib says into the state. What it does not say stays as it is."""
    from json import JSONDecodeError, loads

    from tiandi.computing.control.calibration_file import take_configuration

    try:
        given: Any = loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, JSONDecodeError) as error:
        raise InputError("file", str(file), f"cannot be read as JSON ({error})") from None
    if not isinstance(given, dict):
        raise InputError("file", str(file), "must hold one JSON object")
    session = open_control(open_instrument(chip, state), state, None)
    counts = take_configuration(given, session.knowledge, measured_s=session.now_s)
    session.runner.instrument.configure(session.knowledge.settings)
    session.save(keep=True)
    if json:
        print_json({"taken": counts})
    else:
        print("\n".join(f"{count:>6}  {name}" for name, count in counts.items()) or "nothing was in it")


def _judged(session: Session, twin: Any) -> Score:
    from tiandi.computing.judging.score import judge

    return judge(twin, session.knowledge)


def _page(session: Session, news: News, port: int) -> PageServer:
    from tiandi.computing.control.page.looking import board_of
    from tiandi.computing.control.page.server import PageServer

    server = PageServer(lambda: board_of(session), news, port)
    print(f"page: {server.address}", file=sys.stderr, flush=True)
    return server


def _wait(page: PageServer) -> None:
    """Until interrupted."""
    import threading

    print(f"serves {page.address}", file=sys.stderr, flush=True)
    try:
        threading.Event().wait()
    finally:
        page.close()


def _tell_walk(session: Session, walk: Walk, took_s: float, score: Score | None, *, json: bool) -> None:
    from tiandi.cli import control_show
    from tiandi.computing.control.page.looking import board_of

    if json:
        answer = {"took_s": took_s, "measured": walk.measured, "repaired": walk.repaired, **control_show.overview(board_of(session))}
        print_json(answer | ({} if score is None else {"score": score.as_json()}))
        return
    control_show.show_overview(board_of(session), json=False)
    print(f"{took_s:.1f} s; {walk.ended_s - walk.began_s:,.0f} s of laboratory time.")
    if score is not None:
        control_show.show_score(score)


def _write(file: Path, text: str) -> None:
    from tiandi.computing.control.writing import write_whole

    if not file.absolute().parent.is_dir() or file.is_dir():
        raise InputError("file", str(file), "must be a file in a folder that exists")
    try:
        write_whole(file, text.encode())
    except OSError as error:
        raise InputError("file", str(file), f"cannot be written: {error.strerror}") from None
    print(f"written: {file}", file=sys.stderr)
