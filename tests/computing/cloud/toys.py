"""Machines that behave as a test needs: they read QCIS on five qubits in a row, and draw, sleep, hog or die as they are named."""

from __future__ import annotations

import os
import signal
import time
from typing import Any

import numpy as np

from tiandi.computing.circuits.languages import language_of, read_program
from tiandi.computing.circuits.program import Program
from tiandi.computing.cloud.jobs import Outcome
from tiandi.computing.cloud.limits import TIANYAN
from tiandi.computing.cloud.machines import Machine, require_measured
from tiandi.errors import InputError
from tiandi.random import twin_generator

CATALOGUE = "tests.computing.cloud.toys:machines"
QUBITS = 20
BELL = "H Q0\nH Q1\nCZ Q0 Q1\nM Q0\nM Q1\n"
GIBIBYTE = 1 << 30


class Toy:
    """Draws even bits from the job's seed."""

    limits = TIANYAN

    def __init__(self, name: str) -> None:
        self.name = name

    def facts(self) -> dict[str, Any]:
        return {"name": self.name, "qubits": QUBITS}

    def calibration(self) -> dict[str, Any]:
        return {"machine": self.name, "qubits": [{"qubit": number, "works": number != 3} for number in range(QUBITS)]}

    def is_slow_to_read(self, program: str, language: str | None) -> bool:
        return (language_of(program) if language is None else language) == "openqasm"

    def prepare(self, program: str, language: str | None, *, compile: bool) -> Program:
        read = require_measured(read_program(program, language))
        for qubit in read.circuit.used_qubits:
            if qubit == 3 or qubit >= QUBITS:
                raise InputError("qubit", qubit, "is disabled")
        return read

    def run(self, program: Program, shots: int, *, seed: int, compile: bool) -> Outcome:
        self.behave()
        measured = list(program.circuit.measured_qubits)
        bits = twin_generator(seed, self.name).integers(0, 2, (shots, len(measured)), dtype=np.uint8)
        return Outcome.of(bits, measured, engine="dice", why="it is a toy")

    def behave(self) -> None:
        """What happens before the bits are drawn."""


class Sleeper(Toy):
    """Takes as many milliseconds as its name says."""

    def behave(self) -> None:
        time.sleep(int(self.name.removeprefix("sleeper-")) / 1000)


class Killer(Toy):
    """Its worker dies of every job."""

    def behave(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)


class Hog(Toy):
    """Wants more memory than there is."""

    def behave(self) -> None:
        np.ones(64 * GIBIBYTE // 8)


class Faulty(Toy):
    """Has a fault."""

    def behave(self) -> None:
        raise ZeroDivisionError("a wrong sign")


def machines() -> dict[str, Machine]:
    """One of each."""
    toys = [Toy("dice"), Killer("killer"), Hog("hog"), Faulty("faulty"), *(Sleeper(f"sleeper-{ms}") for ms in (20, 200, 60_000))]
    return {toy.name: toy for toy in toys}
