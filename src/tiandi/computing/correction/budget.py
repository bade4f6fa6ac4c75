"""What each mechanism costs: a code's logical error with it and without."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tiandi.computing.correction.decoding import Method
from tiandi.computing.correction.extraction import Basis
from tiandi.computing.correction.memory import LogicalError, Progress, Suppression, memory_experiment, suppression
from tiandi.computing.correction.noise import MECHANISMS, CycleNoise
from tiandi.computing.machines.twin import Twin


@dataclass(frozen=True)
class Share:
    """The experiment without ``mechanism``: its logical errors and Lambda, None for fewer than two distances."""

    mechanism: str
    explanation: str
    errors: tuple[LogicalError, ...]
    suppression: Suppression | None


def error_budget(
    twin: Twin,
    distances: Sequence[int],
    noise: CycleNoise,
    *,
    shots: int,
    rounds: int | None = None,
    basis: Basis | None = None,
    decoder: Method = "correlated",
    seed: int = 1,
    progress: Progress = lambda what, done, total: None,
) -> list[Share]:
    """The experiment once more for each of `noise.MECHANISMS` that happens on the machine, with that one turned off."""
    shares = []
    for mechanism in noise.happening() if distances else []:
        less = noise.without(mechanism)

        def tell(what: str, done: int, total: int, mechanism: str = mechanism) -> None:
            progress(f"without {mechanism}, {what}", done, total)

        errors = tuple(
            memory_experiment(
                twin, distance, shots=shots, rounds=rounds, basis=basis, decoder=decoder, noise=less, seed=seed, progress=tell
            )
            for distance in distances
        )
        shares.append(Share(mechanism, MECHANISMS[mechanism], errors, suppression(errors)))
    return shares
