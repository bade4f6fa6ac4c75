"""The histogram that `tiandi rcs --figure` draws."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

from tiandi.errors import InputError

if TYPE_CHECKING:
    from tiandi.computing.sampling.experiment import Experiment, Result

BINS = 40
MOST_SCALED = 10.0


def draw_histogram(place: Path, experiment: Experiment, result: Result) -> None:
    """The samples' scaled ideal probabilities (of a patch circuit: each patch's) beside the laws for an ideal machine, even bits, and the
    expected mixture of both.

    Even bits follow Porter and Thomas, exp(-x); ideal samples x exp(-x); with cross entropy F the mixture ((1-F) + F x) exp(-x).
    """
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.add_subplot()
    edges = np.linspace(0.0, MOST_SCALED, BINS + 1)
    counts, _ = np.histogram(result.scaled, edges)
    parts, shots = result.scaled.shape
    density = counts / (parts * shots * np.diff(edges))
    axes.stairs(density, edges, fill=True, color="#b8cde0", label=f"{shots:,} samples" + (f", {parts} patches" if parts > 1 else ""))
    at = np.linspace(0.0, MOST_SCALED, 400)
    expected = max(result.expected, 0.0) ** (1 / parts)
    for share, style, name in ((0.0, ":", "even bits"), (1.0, "--", "ideal machine"), (expected, "-", "expected of the noise")):
        axes.plot(at, (1 - share + share * at) * np.exp(-at), style, color="#203040", label=name)
    lowest = 0.3 / (parts * shots * (edges[1] - edges[0]))
    axes.set(yscale="log", ylim=(lowest, 2.0), xlim=(0.0, MOST_SCALED), xlabel="$2^n p(x)$", ylabel="density")
    axes.set_title(f"{experiment.twin.sheet.name}: {len(experiment.qubits)} qubits, {experiment.cycles} cycles, {experiment.kind}")
    axes.legend(frameon=False)
    try:
        figure.savefig(place, dpi=150)
    except OSError as error:
        raise InputError("figure", str(place), f"cannot be written: {error.strerror}") from None
