"""The command line. This file is the entry point and imports the rest inside its own guard: an interrupt is one line at any moment."""

from __future__ import annotations

import signal
import sys
from typing import NoReturn

EXIT_FAILED, EXIT_BAD_INPUT, EXIT_INTERRUPTED = 1, 2, 130


def main() -> None:
    """Run `tiandi`: errors become one line on standard error and an exit status."""
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        from tiandi.cli.main import app
        from tiandi.errors import InputError, TiandiError

        try:
            app()
        except InputError as error:
            _fail(str(error), EXIT_BAD_INPUT)
        except TiandiError as error:
            _fail(str(error), EXIT_FAILED)
        except BrokenPipeError:
            sys.exit(EXIT_FAILED)
    except KeyboardInterrupt:
        _fail("interrupted; nothing was kept", EXIT_INTERRUPTED)


def _interrupt(signal_number: int, frame: object) -> NoReturn:
    raise KeyboardInterrupt


def _fail(text: str, status: int) -> NoReturn:
    print(f"tiandi: {text}", file=sys.stderr)
    sys.exit(status)
