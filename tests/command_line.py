"""`tiandi` in this process: starting another takes longer than most commands do."""

from __future__ import annotations

import contextlib
import io
import sys
from pathlib import Path
from subprocess import CompletedProcess

from cyclopts import CycloptsError

from tiandi.cli import EXIT_BAD_INPUT, EXIT_FAILED
from tiandi.cli.main import app
from tiandi.errors import InputError, TiandiError


def tiandi(*arguments: object, folder: Path | None = None) -> CompletedProcess[str]:
    """What it prints and its exit status, standing in ``folder``."""
    words, status = [*map(str, arguments)], 0
    out, err = io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), contextlib.chdir(folder or Path.cwd()):
        try:
            app(words, exit_on_error=False, print_error=False)
        except SystemExit as leaving:
            status = int(leaving.code or 0)
        except (CycloptsError, TiandiError) as error:
            print("tiandi:", *str(error).split() if isinstance(error, CycloptsError) else [error], file=sys.stderr)
            status = EXIT_BAD_INPUT if isinstance(error, InputError | CycloptsError) else EXIT_FAILED
    out.seek(0)
    return CompletedProcess(words, status, out.read(), err.getvalue())
