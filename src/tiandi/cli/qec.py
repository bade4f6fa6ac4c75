"""`tiandi qec`: memory experiments of surface codes on a machine's twin."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import App, Parameter

from tiandi.cli.terminal import print_json, progress
from tiandi.errors import InputError

if TYPE_CHECKING:
    from tiandi.computing.correction.budget import Share
    from tiandi.computing.correction.conditions import Conditions
    from tiandi.computing.correction.memory import LogicalError, Suppression
    from tiandi.computing.correction.noise import CycleNoise
    from tiandi.computing.machines.twin import Twin

# Modules are imported by the command that needs them, so that --help answers at once.


@dataclass(frozen=True)
class Answer:
    """All that is shown."""

    twin: Twin
    noise: CycleNoise
    conditions: Conditions
    errors: Sequence[LogicalError]
    found: Suppression | None
    shares: Sequence[Share]
    decoder: str
    basis: str


app = App(name="qec", help="Error correction on a machine's twin.", help_format="plaintext")

DEFAULT_SHOTS = 10_000


@app.default
def qec(
    machine: Annotated[str, Parameter(help="A machine with a twin, as tiandi machines list gives it.")],
    *,
    distances: Annotated[
        str,
        Parameter(help="Odd, with commas; larger than the lattice holds: on a larger one that does not exist. As published unless given."),
    ] = "",
    rounds: Annotated[int | None, Parameter(help="Cycles of an experiment. As in the published one unless given.")] = None,
    shots: Annotated[int, Parameter(help="Runs per distance.")] = DEFAULT_SHOTS,
    basis: Annotated[Literal["Z", "X", "both"], Parameter(help="Of the logical state that is kept.")] = "both",
    decoder: Annotated[Literal["plain", "correlated"], Parameter(help="How matching decodes.")] = "correlated",
    budget: Annotated[bool, Parameter(help="Also turn off each mechanism of the noise, with half the shots.")] = True,
    seed: Annotated[int, Parameter(help="Of the twin and the samples.")] = 1,
    figure: Annotated[Path | None, Parameter(help="Draw error against distance (.png, .svg or .pdf).")] = None,
    json: Annotated[bool, Parameter(name="--json", negative="", help="Print one JSON object instead of text.")] = False,
) -> None:
    """Keep a logical state in surface codes on the machine, and hold its errors against the published ones."""
    from tiandi.computing.correction.budget import error_budget
    from tiandi.computing.correction.conditions import conditions_of
    from tiandi.computing.correction.memory import memory_experiment, suppression
    from tiandi.computing.correction.noise import cycle_noise
    from tiandi.computing.machines.comparison_figure import require_drawable
    from tiandi.computing.machines.twin import build_twin

    if figure is not None:
        require_drawable(figure)
    twin = build_twin(machine, seed=seed)
    conditions, noise = conditions_of(twin.sheet.id), cycle_noise(twin)
    wanted = _distances(distances, conditions)
    kept = None if basis == "both" else basis
    with progress() as tell:

        def measured(distance: int) -> LogicalError:
            return memory_experiment(
                twin, distance, shots=shots, rounds=rounds, basis=kept, decoder=decoder, noise=noise, seed=seed, progress=tell
            )

        errors = [measured(distance) for distance in wanted]
        ends = sorted({wanted[0], wanted[-1]}) if budget else []
        half = max(shots // 2, 1)
        shares = error_budget(twin, ends, noise, shots=half, rounds=rounds, basis=kept, decoder=decoder, seed=seed, progress=tell)
    answer = Answer(twin, noise, conditions, errors, suppression(errors), shares, decoder, basis)
    if figure is not None:
        from tiandi.computing.correction.figure import draw_errors

        draw_errors(errors, conditions, twin.sheet.name, figure)
        print(f"written: {figure}", file=sys.stderr)
    if json:
        print_json(_as_json(answer))
    else:
        _show(answer)


def _distances(given: str, conditions: Conditions) -> list[int]:
    """Distances asked for, or the published ones, or 3 and 5."""
    if not given:
        return list(conditions.distances) if len(conditions.distances) > 1 else [3] if conditions.distances == (3,) else [3, 5, 7]
    try:
        return sorted({int(part) for part in given.split(",")})
    except ValueError:
        raise InputError("distances", given, "must be whole numbers with commas between them, as 3,5,7") from None


def _show(answer: Answer) -> None:
    facts, found = answer.conditions.facts, answer.found
    print(f"{answer.twin.sheet.name}: surface code, {answer.decoder} matching, cycles of {1e6 * answer.noise.cycle_s:.2f} us")
    print(f"  {'distance':<10}{'qubits':>7}{'codes':>7}{'cycles':>8}{'runs':>10}{'error per cycle':>24}{'published':>14}{'leaked':>10}")
    for error in answer.errors:
        size = f"{len(error.qubits)}{'*' if error.hypothetical else ''}"
        figure = _rate(error)
        fact = facts.get(f"error_of_{error.distance}")
        published = "-" if fact is None else f"{100 * fact.number:.3g} %"
        print(
            f"  {error.distance:<10}{size:>7}{error.patches:>7}{error.rounds:>8}{error.shots:>10,}{figure:>24}{published:>14}"
            f"{100 * error.leaked:>8.3f} %"
        )
    if any(error.hypothetical for error in answer.errors):
        print("  * on a larger lattice that does not exist, its qubits and couplers drawn from the machine's")
    if found is not None:
        fact = facts.get("suppression")
        told = "" if fact is None else f"   (published: {fact.number:g} +- {fact.uncertainty:g})"
        print(f"Lambda {found.value:.2f} +- {found.uncertainty:.2f}{told}")
    if answer.shares:
        _show_budget(answer)
    if answer.conditions.name:
        print(f"Published: {answer.conditions.name}.")
    stray = facts.get("stray")
    if stray is not None:
        print(f"stray: {stray.number:g} per pair and layer of gates, {stray.label}: {stray.source}.")


def _rate(error: LogicalError) -> str:
    return "state lost" if error.lost else f"{100 * error.per_cycle:.3f} +- {100 * error.uncertainty:.3f} %"


def _show_budget(answer: Answer) -> None:
    last = answer.errors[-1]
    print(f"What each mechanism costs: the error per cycle at distance {last.distance}{' and Lambda' if answer.found else ''} without it")
    for share in sorted(answer.shares, key=lambda item: item.errors[-1].per_cycle):
        own = share.errors[-1]
        gain = "" if share.suppression is None else f"   Lambda {share.suppression.value:.2f} +- {share.suppression.uncertainty:.2f}"
        figure = _rate(own)
        print(f"  without {share.mechanism:<20}{figure:>20}{gain}   {share.explanation}")


def _as_json(answer: Answer) -> dict[str, Any]:
    return {
        "machine": answer.twin.sheet.id,
        "decoder": answer.decoder,
        "basis": answer.basis,
        "cycle_s": answer.noise.cycle_s,
        "errors": [_error_as_json(error) for error in answer.errors],
        "lambda": answer.found,
        "budget": [
            {"without": share.mechanism, "errors": [_error_as_json(error) for error in share.errors], "lambda": share.suppression}
            for share in answer.shares
        ],
        "experiment": answer.conditions.name or None,
        "facts": answer.conditions.facts,
    }


def _error_as_json(error: LogicalError) -> dict[str, Any]:
    return {
        "distance": error.distance,
        "qubits": error.qubits,
        "codes": error.patches,
        "rounds": error.rounds,
        "shots": error.shots,
        "failures": error.failures,
        "error_per_cycle": error.per_cycle,
        "uncertainty": error.uncertainty,
        "leaked": error.leaked,
        "lost": error.lost,
        "hypothetical": error.hypothetical,
    }
