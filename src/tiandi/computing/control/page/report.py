"""The same page as one HTML file, with the data within: it needs no server and no network."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files

from tiandi.computing.control.page.board import Board, chosen_elements, encoded

MOST_WORST = 3


def report(board: Board, *, qubits: Sequence[int] = (), couplers: Sequence[int] = ()) -> str:
    """HTML with all parameters and states of the chip, and every fit of the chosen elements.

    Without a choice: of the first sound qubit and of some whose experiments failed. InputError for an element that the chip does not have.
    """
    if not qubits and not couplers:
        qubits = notable(board)
    static = files("tiandi.computing.control.page") / "static"
    page, style, script = ((static / name).read_text(encoding="utf-8") for name in ("index.html", "style.css", "board.js"))
    chip = board.chip()
    names = [one["name"] for one in chip["parameters"]] + [f"state:{one['name']}" for one in chip["experiments"]]
    data = {
        "chip": chip,
        "parameters": {name: board.parameter(name) for name in names},
        "elements": chosen_elements(board, qubits, couplers),
    }
    return (
        page.replace('<link rel="icon" href="/static/icon.svg" type="image/svg+xml">\n', "")
        .replace('<link rel="stylesheet" href="/static/style.css">', f"<style>\n{style}</style>")
        .replace(
            '<script type="module" src="/static/board.js"></script>',
            f'<script type="application/json" id="data">{encoded(data)}</script>\n<script type="module">\n{script}</script>',
        )
    )


def notable(board: Board) -> list[int]:
    """The first sound qubit, and some whose experiments failed."""
    sound = [int(one) for one in board.knowledge.sound("qubit")[:1]]
    failed = {
        index
        for name in board.graph.order
        if board.graph[name].element == "qubit"
        for index in board.condition.of(board.graph[name], board.knowledge).reason
    }
    return [*sound, *sorted(failed - set(sound))[:MOST_WORST]]
