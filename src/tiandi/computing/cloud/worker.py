"""A worker: a process that prepares and runs programs, one request after another, from its standard input to its standard output.

Requests and answers are MessagePack behind their length in 4 bytes. The process ends with whoever started it, and a job that needs more
memory than it may have ends as a failed job, not with a machine that swaps.
"""

from __future__ import annotations

import os
import resource
import signal
import struct
import sys
import threading
from collections.abc import Mapping, Sequence
from queue import SimpleQueue
from typing import BinaryIO

import msgspec

from tiandi.computing.circuits.program import Program
from tiandi.computing.cloud.clicks import ClickFigures
from tiandi.computing.cloud.jobs import Outcome
from tiandi.computing.cloud.machines import Machine, open_catalogue, require_clicks, require_machine
from tiandi.errors import InputError, TiandiError

LENGTH = struct.Struct(">I")
AFTER_A_FAILURE = 3
"""Exit status: what a job that failed for memory or a fault left behind is not to be trusted with the next."""


class Request(msgspec.Struct, frozen=True):
    """Programs to run; without ``shots`` they are only prepared, and with the ``outcome`` of one its clicks are looked at."""

    machine: str
    language: str | None
    compile: bool
    programs: list[str]
    shots: int = 0
    seed: int = 0
    outcome: Outcome | None = None


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """Results; or the measured qubits of each prepared program; or figures; or what is wrong, as the parts of an InputError or in words."""

    outcomes: list[Outcome] = []
    measured: list[list[int]] = []
    clicks: ClickFigures | None = None
    refused: tuple[str, str, str] | None = None
    failed: str = ""


def answer(machines: Mapping[str, Machine], request: Request) -> Reply:
    """Do what is asked; whatever goes wrong with it is an answer, too."""
    try:
        machine = require_machine(machines, request.machine)
        programs = [
            prepared(machine, request.programs, number, request.language, compile=request.compile)
            for number in range(len(request.programs))
        ]
        if request.outcome is not None:
            return Reply(clicks=require_clicks(machine).clicks(programs[0], request.outcome))
        if not request.shots:
            return Reply(measured=[list(program.circuit.measured_qubits) for program in programs])
        # Every circuit of a job draws from a stream of its own.
        return Reply(
            outcomes=[
                machine.run(program, request.shots, seed=(request.seed + number) % 2**63, compile=request.compile)
                for number, program in enumerate(programs)
            ]
        )
    except InputError as error:
        return Reply(refused=(error.field, str(error.value), error.limit))
    except Exception as error:
        return Reply(failed=_told(error))


def _told(error: Exception) -> str:
    """Why a job failed, in words for its user."""
    if isinstance(error, MemoryError):
        return "it needs more memory than a job may have"
    if isinstance(error, RecursionError):
        return "it is nested too deep"
    return str(error) if isinstance(error, TiandiError) else f"fault of the machine ({type(error).__name__}: {str(error)[:300]})"


def prepared(machine: Machine, programs: Sequence[str], number: int, language: str | None, *, compile: bool) -> Program:
    """Program ``number`` of ``programs``. Raises InputError that says which it is, where there are several."""
    try:
        return machine.prepare(programs[number], language, compile=compile)
    except InputError as error:
        if len(programs) == 1:
            raise
        raise InputError(f"programs[{number}]: {error.field}", error.value, error.limit) from None


def serve(catalogue: str, memory_byte: int, requests: BinaryIO, answers: BinaryIO) -> None:
    """Answer until the requests end."""
    machines = open_catalogue(catalogue)
    decoder, encoder = msgspec.msgpack.Decoder(Request), msgspec.msgpack.Encoder()
    waiting: SimpleQueue[bytes] = SimpleQueue()
    # A thread of its own sees that whoever asked is gone, even in the middle of a job.
    threading.Thread(target=_read_all, args=(requests, waiting), daemon=True).start()
    if memory_byte:
        resource.setrlimit(resource.RLIMIT_DATA, (memory_byte, memory_byte))
    _send(answers, b"")  # It is ready.
    while True:
        reply = answer(machines, decoder.decode(waiting.get()))
        _send(answers, encoder.encode(reply))
        if reply.failed:
            os._exit(AFTER_A_FAILURE)


def _send(answers: BinaryIO, body: bytes) -> None:
    answers.write(LENGTH.pack(len(body)) + body)
    answers.flush()


def _read_all(requests: BinaryIO, waiting: SimpleQueue[bytes]) -> None:
    while len(head := requests.read(LENGTH.size)) == LENGTH.size:
        waiting.put(requests.read(LENGTH.unpack(head)[0]))
    os._exit(0)


def main() -> None:
    """``python -m tiandi.computing.cloud.worker CATALOGUE MEMORY_BYTE``."""
    for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(name, signal.SIG_IGN)  # Whoever started it decides when it ends.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # What a library prints goes to standard error, not between the answers.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    serve(sys.argv[1], int(sys.argv[2]), sys.stdin.buffer, answers)


if __name__ == "__main__":
    main()
