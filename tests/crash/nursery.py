"""Where KME processes of the crash tests come from: a process that has imported everything and forks, so that a start costs little.

It reads lines of JSON, [command, argument], and answers each with a line. When its input ends it kills what it has started.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import traceback
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from tests.crash.runner import Start, serve

FAULT = 70
ROOT = Path(__file__).parents[2]


def main() -> None:
    children: set[int] = set()
    try:
        for line in iter(sys.stdin.buffer.readline, b""):
            command, argument = msgspec.json.decode(line)
            answer: Any = _start(msgspec.convert(argument, Start), children) if command == "start" else _status(argument, children, command)
            sys.stdout.buffer.write(msgspec.json.encode(answer) + b"\n")
            sys.stdout.buffer.flush()
    finally:
        for child in children:
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)


def _start(start: Start, children: set[int]) -> int:
    child = os.fork()
    if not child:
        try:
            os.close(0)
            serve(start)
        except BaseException:  # Whatever it is, the log tells; the parent's stack is not this process's.
            traceback.print_exc()
        finally:
            os._exit(FAULT)
    children.add(child)
    return child


def _status(child: int, children: set[int], command: str) -> int | None:
    """How a child ended, or None while it runs and nobody wants to wait for it. Until it is asked, nobody else gets the number."""
    found, status = os.waitpid(child, 0 if command == "wait" else os.WNOHANG)
    if not found:
        return None
    children.discard(child)
    return os.waitstatus_to_exitcode(status)


class Nursery:
    """The nursery as the test sees it."""

    def __init__(self) -> None:
        folders = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(folders), "OPENBLAS_NUM_THREADS": "1"}
        self._process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "tests.crash.nursery"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
            env=environment,
        )

    def start(self, start: Start) -> int:
        """The number of a new process."""
        return int(self._ask("start", start))

    def poll(self, child: int) -> int | None:
        """How a child ended, None while it runs; ask no more once it has."""
        status: int | None = self._ask("poll", child)
        return status

    def wait(self, child: int) -> int:
        """How a child ends."""
        return int(self._ask("wait", child))

    def close(self) -> None:
        self._process.communicate(timeout=30)

    def _ask(self, command: str, argument: Any) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(msgspec.json.encode([command, argument]) + b"\n")
        self._process.stdin.flush()
        return msgspec.json.decode(self._process.stdout.readline())


if __name__ == "__main__":
    main()
