"""Results as the Tianyan cloud tells them: every shot, in the order of the measurements.

``resultStatus`` is a table: its first row has the qubits in the order in which the program measures them, each other row one shot's bits in
that order. ``probability`` has one entry for each string of bits that came, whose rightmost character is the qubit measured first.
"""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

from tiandi.computing.cloud.jobs import Job, Outcome

FAILED = -1
"""The state of a task; one that has a result has no state, since the clients do not agree on its name."""
MOST_BYTE = 64 << 20
"""Of shots in one answer."""


def size_byte(outcome: Outcome) -> int:
    """How long the shots of a result become."""
    return outcome.shots * (2 * len(outcome.qubits) + 2)


def finished(task: str, outcome: Outcome) -> bytes:
    """One circuit's result in JSON."""
    probability = {string[::-1]: number / outcome.shots for string, number in outcome.counts().items()}
    facts = {
        "experimentTaskId": task,
        "shots": outcome.shots,
        "measureQubitList": [f"Q{qubit}" for qubit in outcome.qubits],
        "probability": msgspec.json.encode(probability).decode(),
        "engine": outcome.engine,
        "why": outcome.why,
    }
    head = msgspec.json.encode(facts)[:-1]
    return b'%s,"resultStatus":[%s%s]}' % (head, msgspec.json.encode(outcome.qubits), table(outcome.bits()))


def failed(task: str, job: Job) -> bytes:
    """What is told of a circuit whose job failed or was cancelled."""
    return msgspec.json.encode({"experimentTaskId": task, "status": FAILED, "errorMessage": job.reason})


def table(bits: NDArray[np.uint8]) -> bytes:
    """``,[0,1],[1,1]`` from ``bits`` (shots, measured): every row has the same length, so that it is one array of characters."""
    shots, measured = bits.shape
    text = np.full((shots, 2 * measured + 2), ord(","), np.uint8)
    text[:, 1], text[:, -1] = ord("["), ord("]")
    text[:, 2:-1:2] = bits + ord("0")
    return text.tobytes()
