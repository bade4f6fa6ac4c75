"""What every command does with its answers: JSON or tables on standard output, a progress bar on standard error."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Timer
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from rich.console import Console

PLAIN_WIDTH = 140
"""Columns where standard output is no terminal."""
QUICK_S = 2.0
"""Nobody looks at a bar for less."""


def print_json(value: object) -> None:
    """One indented JSON value."""
    import msgspec

    sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n")


def standard_output(plain_width: int = PLAIN_WIDTH) -> Console:
    """For tables; ``plain_width`` columns where it is no terminal."""
    from rich.console import Console

    return Console() if sys.stdout.isatty() else Console(width=plain_width)


class Progress(Protocol):
    """Hears what is being done."""

    def __call__(self, what: str, done: float, total: float = 1.0, /) -> None:
        """``done`` of ``total``."""


@contextmanager
def progress() -> Iterator[Progress]:
    """A bar on standard error, if somebody is looking and it takes longer than two seconds; a word when loops must be compiled first."""
    from rich.console import Console
    from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    from tiandi.compiling import announce_compilation

    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    bar = Bar(*columns, console=Console(stderr=True), transient=True)
    watched = sys.stderr.isatty()
    task = bar.add_task("", total=1.0)
    # By a clock of its own: what takes long may say nothing while it does.
    waiting = Timer(QUICK_S, bar.start) if watched else None

    def tell(what: str, done: float, total: float = 1.0, /) -> None:
        bar.update(task, description=what, completed=done, total=total)

    with announce_compilation(bar.console.print if watched else lambda _: None):
        if waiting is not None:
            waiting.start()
        try:
            yield tell
        finally:
            if waiting is not None:
                waiting.cancel()
                waiting.join()
            if bar.live.is_started:
                bar.stop()
