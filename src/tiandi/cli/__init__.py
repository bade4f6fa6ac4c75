"""The command line. This file is the entry point and imports the rest inside its own guard: an interrupt is one line at any moment."""

from __future__ import annotations

import os
import signal
import sys
from typing import NoReturn

EXIT_FAILED, EXIT_BAD_INPUT, EXIT_INTERRUPTED = 1, 2, 130


def main() -> None:
    """Run `tiandi`: errors become one line on standard error and an exit status."""
    try:
        for name in ("SIGTERM", "SIGHUP"):
            if hasattr(signal, name):
                signal.signal(getattr(signal, name), _interrupt)
        from cyclopts import CycloptsError

        from tiandi.cli.main import app
        from tiandi.errors import InputError, TiandiError
        from tiandi.hosts.memory import keep_freed_memory

        # Here, since it holds for a whole process: where a command is called by another program, that keeps its own ways.
        if sys.argv[1:3] in (["distill", "serve"], ["distill", "connect"]):
            keep_freed_memory()
        try:
            app(exit_on_error=False, print_error=False)
            sys.stdout.flush()
        except CycloptsError as error:
            _fail(" ".join(str(error).split()), EXIT_BAD_INPUT)
        except InputError as error:
            _fail(str(error), EXIT_BAD_INPUT)
        except TiandiError as error:
            _fail(str(error), EXIT_FAILED)
        except OSError as error:
            # Nobody reads, or the disk is full: what is left in the buffer must not fail again at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            _fail(f"cannot write: {error.strerror or error}", EXIT_FAILED)
    except KeyboardInterrupt:
        _fail("interrupted", EXIT_INTERRUPTED)


def _interrupt(signal_number: int, frame: object) -> NoReturn:
    raise KeyboardInterrupt


def _fail(text: str, status: int) -> NoReturn:
    print(f"tiandi: {text}", file=sys.stderr)
    sys.exit(status)
