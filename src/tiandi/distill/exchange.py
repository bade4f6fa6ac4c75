"""Carries messages between two ends in one process, in turn, until neither has anything to say."""

from __future__ import annotations

from tiandi.distill.alice import Alice
from tiandi.distill.bob import Bob


def run_in_process(alice: Alice, bob: Bob) -> None:
    """Let both ends talk; their outcomes tell how it went."""
    message: bytes | None = bob.start()
    while message is not None:
        answer = alice.receive(message)
        message = None if answer is None else bob.receive(answer)
