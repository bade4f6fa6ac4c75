"""Draws the tables of docs/distillation.md and docs/key-management.md from the code: python docs/draw_tables.py"""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterable
from pathlib import Path
from typing import get_type_hints

from tiandi.distill import messages
from tiandi.distill.alice import Alice
from tiandi.distill.bob import Bob
from tiandi.distill.party import Party, State
from tiandi.kms import states as kms_states

DOCS = Path(__file__).parent
BEGIN, END = "<!-- drawn: {} -->", "<!-- end -->"


def reached(role: type[Party], name: str, seen: set[str]) -> tuple[set[str], set[str]]:
    """Messages that a method of a role may answer with, and states it may go to, its own methods included."""
    if name in seen or not inspect.isfunction(getattr(role, name, None)):
        return set(), set()
    seen.add(name)
    says, goes = set(), set()
    for node in ast.walk(ast.parse(textwrap.dedent(inspect.getsource(getattr(role, name))))):
        match node:
            case ast.Call(func=ast.Attribute(value=ast.Name(id="messages"), attr=message)):
                says.add(message)
            case ast.Attribute(value=ast.Name(id="State"), attr=state, ctx=ast.Load()):
                goes.add(State[state].value)
            case ast.Attribute(value=ast.Name(id="self"), attr=method):
                more_says, more_goes = reached(role, method, seen)
                says |= more_says
                goes |= more_goes
    return says, goes


def states(role: type[Party]) -> str:
    """Table of what a role does with each message it may hear in each state."""
    rows = ["| while | hears | answers with | and stays, or goes on to |", "|---|---|---|---|"]
    for (state, heard), handler in role.TRANSITIONS.items():
        says, goes = reached(role, handler.__name__, {"_abort"})
        order = [message.__name__ for message in messages.Message.__subclasses__()]
        answers = " or ".join(f"`{name}`" for name in order if name in says) or "nothing"
        then = " or ".join(sorted(goes, key=[state.value for state in State].index)) or state.value
        rows.append(f"| {state.value} | `{heard.__name__}` | {answers} | {then} |")
    return "\n".join(rows)


def said() -> str:
    """Table of all messages and their fields."""
    rows = ["| message | what it says | fields |", "|---|---|---|"]
    for message in messages.Message.__subclasses__():
        meaning = " ".join((message.__doc__ or "").split())
        fields = ", ".join(f"`{name}`" for name in get_type_hints(message))
        rows.append(f"| `{message.__name__}` | {meaning} | {fields} |")
    return "\n".join(rows)


def meanings() -> str:
    """Table of what the states of a key bit mean."""
    rows = ["| state | meaning |", "|---|---|"]
    return "\n".join([*rows, *(f"| {state} | {meaning} |" for state, meaning in kms_states.MEANING.items())])


def life(kind: str) -> str:
    """Table of the steps in the life of link key or supply keys."""
    rows = ["| from | to |", "|---|---|", f"| (enters the KME) | {_in_order(kms_states.FIRST[kind])} |"]
    return "\n".join([*rows, *(f"| {before} | {_in_order(after)} |" for before, after in kms_states.LIFE[kind].items())])


def _in_order(states_: Iterable[kms_states.State]) -> str:
    return ", ".join(state for state in kms_states.State if state in set(states_))


PAGES = {
    "distillation.md": lambda: {"alice": states(Alice), "bob": states(Bob), "messages": said()},
    "key-management.md": lambda: {"meaning": meanings(), "link": life("link"), "supply": life("supply")},
}


def drawn(name: str) -> str:
    """The page of that name with its tables drawn anew."""
    page = (DOCS / name).read_text(encoding="utf-8")
    for table_name, table in PAGES[name]().items():
        begin = BEGIN.format(table_name)
        before, _, rest = page.partition(begin)
        page = f"{before}{begin}\n{table}\n{rest[rest.index(END) :]}"
    return page


if __name__ == "__main__":
    for name in PAGES:
        (DOCS / name).write_text(drawn(name), encoding="utf-8")
