"""What a cloud publishes as its limits for one submission: how many circuits, shots and measured qubits go together."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from tiandi.errors import InputError

MOST_RESULT_BYTE, MOST_CIRCUIT_BYTE = 1 << 27, 1 << 24
"""Of a submission and of one circuit, a bit for each measurement of a shot: more than 600 circuits that read a whole machine once give."""


class Limit(msgspec.Struct, frozen=True, kw_only=True):
    """A submission of at most ``circuits`` circuits may ask for ``shots`` of each, of at most ``measured`` qubits (None: all)."""

    circuits: int
    shots: int
    measured: int | None


TIANYAN: tuple[Limit, ...] = (
    Limit(circuits=50, shots=100_000, measured=15),
    Limit(circuits=100, shots=50_000, measured=30),
    Limit(circuits=600, shots=10_000, measured=None),
)
"""Published: the questions and answers of the Tianyan cloud (docs.quantumctek-cloud.com), seen in November 2026.

It does not say whether fewer circuits may use a later line; here they may, for otherwise one circuit could never read a whole machine.
"""

ORIGIN: tuple[Limit, ...] = (Limit(circuits=200, shots=10_000, measured=None),)
"""Assumed: no limits of the Origin cloud were found."""

PHOTONIC: tuple[Limit, ...] = (Limit(circuits=8, shots=100_000, measured=None), Limit(circuits=50, shots=10_000, measured=None))
"""Assumed: so many samples of 144 number detectors fit what a server holds."""

PHOTONIC_WIDE: tuple[Limit, ...] = (Limit(circuits=8, shots=10_000, measured=None),)
"""Assumed, for a machine of thousands of modes."""


def require_fitting(limits: Sequence[Limit], *, shots: int, measured: Sequence[int]) -> None:
    """Raise InputError unless some line of ``limits`` allows ``shots`` of circuits that read so many qubits each (``measured``).

    And unless a server can hold their results.
    """
    row_byte = [(number + 7) // 8 for number in measured]
    if shots > (most := min(MOST_RESULT_BYTE // sum(row_byte), MOST_CIRCUIT_BYTE // max(row_byte))):
        raise InputError("shots", shots, f"must be at most {most} for {sum(measured)} measurements")
    widest, circuits = max(measured), len(measured)
    if any(circuits <= line.circuits and shots <= line.shots and (line.measured is None or widest <= line.measured) for line in limits):
        return
    lines = "; ".join(f"{line.shots} shots of up to {line.circuits} circuits that read {_qubits(line)} qubits" for line in limits)
    most = max(
        (line.shots for line in limits if circuits <= line.circuits and (line.measured is None or widest <= line.measured)), default=0
    )
    if most:
        raise InputError("shots", shots, f"must be at most {most} for {circuits} circuits that read {widest} qubits ({lines})")
    raise InputError("programs", f"{circuits} circuits that read {widest} qubits", f"too many together: {lines}")


def _qubits(line: Limit) -> str:
    return "all" if line.measured is None else f"up to {line.measured}"
