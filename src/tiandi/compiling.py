"""Compiled loops: how they are made, for which processor, and a word to whoever waits for them.

numba compiles a loop when it is first called with arguments of new types, and keeps the result on disk. That takes seconds, once for an
installation; afterwards a loop is there at once. Nothing here loads numba before a module with loops does.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

COMPILING = "Compiling the fast loops for this processor; once for an installation, about 20 seconds."
"""The time is that of all loops together, on one core of a server of 2023."""

_UNCOUNTED: dict[str, Any] = {"_nrt": False}
"""numba's option, of which its documentation says nothing: no counting of references, hence no new arrays."""


class _Announcement:
    """Says once that loops are being compiled. numba compiles one loop at a time, so that two threads never ask at once."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self._told = False

    def compilation_begins(self) -> None:
        if not self._told:
            self._told = True
            self._tell(COMPILING)


_announcements = [_Announcement(logging.getLogger("tiandi").info)]
"""The innermost last; where nobody has asked to be told, the log is."""


@contextmanager
def announce_compilation(tell: Callable[[str], None]) -> Iterator[None]:
    """Call ``tell`` with one sentence when the first compilation of a loop of tiandi begins inside, in whichever thread.

    Nothing is said when all loops are found compiled. ``tell`` must return soon: the compiler waits for it. Outside of any such context the
    same sentence is one record, INFO, of the logger "tiandi".
    """
    announcement = _Announcement(tell)
    _announcements.append(announcement)
    try:
        yield
    finally:
        _announcements.remove(announcement)


def kernel(function: Callable[..., Any]) -> Callable[..., Any]:
    """A decorator for loops: compiled at the first call, kept on disk, and run without the interpreter's lock."""
    import numba

    _listen()
    return numba.njit(cache=True, nogil=True)(function)


def lean_kernel(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same for loops that make no arrays: numba does not count who holds those that they are given.

    It does elsewhere, by an atomic operation wherever a loop hands an array to an inner function and the compiler cannot tell that this
    is in vain: a fifth of the time of a search of Cascade. A loop that makes an array after all does not compile.
    """
    import numba

    _listen()
    return numba.njit(cache=True, nogil=True, **_UNCOUNTED)(function)


def inlined(function: Callable[..., Any]) -> Callable[..., Any]:
    """A decorator for what kernels call: each holds its code. Arrays are passed by value, a dozen numbers each, which costs more than what
    most of these functions do. They make no arrays."""
    import numba

    return numba.njit(nogil=True, forceinline=True, **_UNCOUNTED)(function)


def target_features() -> dict[str, bool]:
    """What compiled loops may use of the processor and what not, by LLVM's names: numba can be told to leave some of it alone.

    Features that only follow from the name of a processor (NUMBA_CPU_NAME) are not among them.
    """
    from numba.core.registry import cpu_target

    _, _, features = cpu_target.target_context.codegen().magic_tuple()
    return {feature[1:]: feature.startswith("+") for feature in features.split(",") if feature}


@cache
def _listen() -> None:
    """Hear of each compilation of a loop of tiandi from now on; of one that is found on disk nothing is heard."""
    from numba.core import event

    class Compilations(event.Listener):
        def on_start(self, compilation: Any) -> None:
            if compilation.data["dispatcher"].py_func.__module__.startswith("tiandi."):
                _announcements[-1].compilation_begins()

        def on_end(self, compilation: Any) -> None:
            """Nothing is said at the end."""

    event.register("numba:compile", Compilations())  # type: ignore[no-untyped-call]
