"""Draws the tables of docs/distillation.md from the code of the two state machines: python docs/draw_tables.py"""

from __future__ import annotations

import ast
import inspect
import textwrap
from pathlib import Path
from typing import get_type_hints

from tiandi.distill import messages
from tiandi.distill.alice import Alice
from tiandi.distill.bob import Bob
from tiandi.distill.party import Party, State

PAGE = Path(__file__).with_name("distillation.md")
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


def drawn(page: str) -> str:
    """``page`` with its tables drawn anew."""
    for name, table in {"alice": states(Alice), "bob": states(Bob), "messages": said()}.items():
        begin = BEGIN.format(name)
        before, _, rest = page.partition(begin)
        page = f"{before}{begin}\n{table}\n{rest[rest.index(END) :]}"
    return page


if __name__ == "__main__":
    PAGE.write_text(drawn(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
