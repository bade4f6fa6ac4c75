"""`tiandi rcs`: random circuit sampling on a machine's twin, every sample checked by its own ideal amplitude."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import App, Parameter

from tiandi.cli.terminal import print_json, progress
from tiandi.errors import InputError

if TYPE_CHECKING:
    from tiandi.computing.sampling.experiment import Experiment, Result

# Modules are imported by the command that needs them, so that --help answers at once.

app = App(name="rcs", help="Random circuit sampling on a machine's twin.", help_format="plaintext")


@app.default
def rcs(
    machine: Annotated[str, Parameter(help="A machine with a twin, as tiandi machines list gives it.")],
    *,
    qubits: Annotated[int, Parameter(help="How many of its qubits.")],
    cycles: Annotated[int, Parameter(help="Layers of two-qubit gates.")],
    shots: Annotated[int, Parameter(help="Samples.")] = 1000,
    seed: Annotated[int, Parameter(help="Of the twin, the circuit and the samples.")] = 1,
    circuit: Annotated[
        Literal["full", "patch", "elided"],
        Parameter(help="full; patch: without the gates between two halves; elided: without the first few of them."),
    ] = "full",
    sequence: Annotated[
        str,
        Parameter(
            help="Layers of two-qubit gates in turn. ABCDCDAB: as in the papers; ADCBCBAD: ours, rows pair by pair, far easier to contract."
        ),
    ] = "ABCDCDAB",
    figure: Annotated[Path | None, Parameter(help="Draw the histogram of the samples' ideal probabilities (.png, .svg or .pdf).")] = None,
    json: Annotated[bool, Parameter(name="--json", negative="", help="Print one JSON object instead of text.")] = False,
) -> None:
    """Sample a random circuit with the twin's noise, and hold its cross entropy against what the noise lets expect."""
    _require_drawable(figure)
    from tiandi.computing.sampling.experiment import prepare, run

    experiment = prepare(machine, qubits=qubits, cycles=cycles, shots=shots, seed=seed, circuit=circuit, sequence=sequence)
    with progress() as tell:
        tell("looking for a path", 0, 1)
        cost = experiment.cost()
        print(
            f"engine: tensor network, {cost.flop:.1e} operations and {cost.memory_byte / 1e6:,.0f} MB for a sample and its amplitude;"
            f" about {_duration(cost.seconds)} for {shots:,} samples",
            file=sys.stderr,
        )
        result = run(experiment, progress=tell)
    if figure is not None:
        from tiandi.cli.rcs_figure import draw_histogram

        draw_histogram(figure, experiment, result)
        print(f"written: {figure}", file=sys.stderr)
    if json:
        print_json(_as_json(experiment, result))
    else:
        _show(experiment, result)


def _show(experiment: Experiment, result: Result) -> None:
    twin, linear, logarithmic = experiment.twin, result.linear, result.logarithmic
    size = f"{len(experiment.qubits)} qubits, {experiment.cycles} cycles"
    print(f"{twin.sheet.name}: {size} of {experiment.sequence}, {experiment.kind} circuit, {linear.shots:,} samples")
    deviations = (linear.value - result.expected) / math.hypot(linear.error, result.expected_error)
    rows = [
        ("XEB, linear", f"{linear.value:.5f} +- {linear.error:.5f}"),
        ("XEB, logarithmic", f"{logarithmic.value:.5f} +- {logarithmic.error:.5f}"),
        (
            "expected of the twin's noise",
            f"{result.expected:.5f} +- {result.expected_error:.5f}   ({deviations:+.1f} standard errors)",
        ),
        ("machine without noise", f"{result.ideal:.3f}   (1 where a circuit is deep)"),
        ("product formula", f"{result.product:.5f}"),
    ]
    if experiment.published is not None:
        qubits, cycles, fact = experiment.published
        rows.append((f"reported, {qubits} x {cycles} cycles", f"{fact.number:.3g} ({fact.label}: {fact.source})"))
    for name, text in rows:
        print(f"  {name:<30} {text}")
    print(
        f"{result.proposals:,} contractions for {linear.shots:,} samples; distance to the noise model by sampling: {result.cut:.1e} or less"
        f" (estimated); {result.seconds:.1f} s"
    )


def _as_json(experiment: Experiment, result: Result) -> dict[str, Any]:
    published = experiment.published
    return {
        "machine": experiment.twin.sheet.id,
        "qubits": experiment.qubits,
        "cycles": experiment.cycles,
        "circuit": experiment.kind,
        "sequence": experiment.sequence,
        "engine": "tensor network",
        "xeb_linear": result.linear,
        "xeb_logarithmic": result.logarithmic,
        "expected": result.expected,
        "expected_error": result.expected_error,
        "without_noise": result.ideal,
        "product_formula": result.product,
        "published": None if published is None else {"qubits": published[0], "cycles": published[1], "xeb": published[2]},
        "contractions": result.proposals,
        "sampling_distance": result.cut,
        "seconds": result.seconds,
    }


def _duration(seconds: float) -> str:
    for size, unit in ((86400.0 * 365, "years"), (86400.0, "days"), (3600.0, "hours"), (60.0, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:,.0f} {unit}"
    return f"{math.ceil(seconds)} s"


def _require_drawable(figure: Path | None) -> None:
    if figure is None:
        return
    if figure.suffix not in {".png", ".svg", ".pdf"}:
        raise InputError("figure", str(figure), "must end in .png, .svg or .pdf")
    if not figure.absolute().parent.is_dir():
        raise InputError("figure", str(figure), "its folder must exist")
