"""`tiandi gbs`: Gaussian boson sampling on the Jiuzhang machines' twins, and a judge of anybody's samples."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter

from tiandi.cli.terminal import Progress, print_json, progress
from tiandi.errors import InputError

if TYPE_CHECKING:
    from tiandi.computing.photonics.gaussian import CountArray, Machine
    from tiandi.computing.photonics.public_data import Published
    from tiandi.computing.photonics.validation import Verdict

# Modules are imported by the command that needs them, so that --help answers at once.

app = App(name="gbs", help="Gaussian boson sampling: machines, samplers, exact samples, and a judge.", help_format="plaintext")

BATCH = 100_000
MOCK_UPS = ("thermal", "squashed", "coherent", "distinguishable", "positive-P")
DEFAULT_MOST_S = 600.0

MachineName = Annotated[str, Parameter(help="As tiandi gbs machines lists it, or an .npz file of your own.")]
Data = Annotated[
    Path | None,
    Parameter(help="Folder with the public calibration and statistics; without it a synthetic machine, and no experiment."),
]
Seed = Annotated[int, Parameter(help="Of synthetic machines, of samples, and of what the judge picks at random.")]
Number = Annotated[int, Parameter(help="Samples.")]
Out = Annotated[Path, Parameter(help="Write the samples to this new file: .npz, .csv or .txt.")]
Json = Annotated[bool, Parameter(name="--json", negative="", help="Print one JSON object instead of text.")]


@app.command(name="machines")
def list_machines(
    machine: Annotated[str | None, Parameter(help="Only this one, with all its figures.")] = None, *, json: Json = False
) -> None:
    """The machines: modes, detectors, squeezing, where their figures are from, and whether their calibration is public."""
    from tiandi.computing.photonics.machines import find_machine, load_machines

    sheets = list(load_machines().values()) if machine is None else [find_machine(machine)]
    if json:
        return print_json({"machines": [{**_fields(sheet), "public_data": sheet.has_public_data} for sheet in sheets]})
    if machine is not None:
        sheet = sheets[0]
        print(f"{sheet.name} ({sheet.year}), {sheet.detector} detectors; public calibration: {'yes' if sheet.has_public_data else 'no'}")
        print(f"  {sheet.note}")
        for name, fact in sheet.facts.items():
            print(f"  {name:<28}{fact.value:>12.6g}  {fact.label}: {fact.source}")
        print("Purity and dark counts are not in the machine that is built: its light interferes wholly, as in the papers' ideal states.")
        return None
    print(f"{'machine':<28}{'year':>6}{'modes':>7}{'sources':>9}  {'detectors':<15}public calibration")
    for sheet in sheets:
        modes, sources = (f"{sheet.number(field) or 0:.0f}" for field in ("modes", "sources"))
        public = "yes" if sheet.has_public_data else "no: synthetic"
        print(f"{sheet.id:<28}{sheet.year:>6}{modes:>7}{sources:>9}  {sheet.detector:<15}{public}")
    from tiandi.computing.photonics.public_data import XQSIM

    print(f"Without --data every machine is synthetic. The public data has no licence and is not part of tiandi: {XQSIM}")
    return None


@app.command
def sample(
    machine: MachineName,
    out: Out,
    *,
    sampler: Annotated[str, Parameter(help="An approximate sampler; a wrong name lists them. The best for the machine unless told.")] = "",
    samples: Number = 100_000,
    data: Data = None,
    seed: Seed = 1,
    json: Json = False,
) -> None:
    """Draw samples with one of the fast, approximate samplers, and say what it approximates."""
    from tiandi.limits import require_within

    _require_new(out)
    from tiandi.computing.photonics.file_format import LARGEST_CELLS
    from tiandi.computing.photonics.samplers import SAMPLERS, best_sampler

    require_within("samples", samples, 1, LARGEST_CELLS // _modes_of(machine))
    _require_samplers([sampler] if sampler else [])
    with progress() as tell:
        tell("building the machine", 0, 1)
        twin = _build(machine, data, seed)
        sampler = sampler or best_sampler(twin)
        generator = _generator(seed, sampler)
        tell("fitting the sampler", 0, 1)
        began = time.perf_counter()
        made = SAMPLERS[sampler](twin, generator)
        fitted = time.perf_counter()
        drawn = _collect(made.batches(samples, generator, BATCH), samples, tell)
        seconds = time.perf_counter() - fitted
    _write(out, drawn, twin, f"tiandi, sampler {sampler}, seed {seed}")
    totals = drawn.sum(axis=1, dtype=int)
    told = {
        "machine": twin.name,
        "sampler": sampler,
        "approximates": made.describe(),
        "samples": samples,
        "fit_s": round(fitted - began, 3),
        "seconds": round(seconds, 3),
        "mean_total": float(totals.mean()),
        "largest_total": int(totals.max()),
        "file": str(out),
    }
    if json:
        return print_json(told)
    times = f"{fitted - began:.1f} s to fit, {seconds:.1f} s to draw"
    print(f"{twin.name}: {samples:,} samples, {totals.mean():.2f} in all on the mean, {totals.max()} at most; {times}")
    print(f"  {sampler}: {made.describe()}")
    print(f"  written: {out}")
    return None


@app.command
def exact(
    machine: MachineName,
    out: Out,
    *,
    samples: Number = 1_000,
    most_seconds: Annotated[float, Parameter(help="Refuse what would take longer.")] = DEFAULT_MOST_S,
    data: Data = None,
    seed: Seed = 1,
    json: Json = False,
) -> None:
    """Draw exact samples by the chain rule. The cost is told before it begins, and doubles with each click."""
    from tiandi.limits import require_within

    _require_new(out)
    from tiandi.computing.photonics.exact.chain_rule import LARGEST_NUMBER, sample_exact
    from tiandi.computing.photonics.exact.costs import LARGEST_MODES, cost_of_exact

    require_within("samples", samples, 1, LARGEST_NUMBER)
    require_within("most_seconds", most_seconds, 0.0, float("inf"))
    require_within("modes", _modes_of(machine), 1, LARGEST_MODES)
    with progress() as tell:
        tell("building the machine", 0, 1)
        twin = _build(machine, data, seed)
        tell("working out the cost", 0, 1)
        cost = cost_of_exact(twin)
        print(f"exact samples: {cost.words()}; {cost.expected_seconds(samples):,.3g} s for {samples:,} on one thread", file=sys.stderr)
        began = time.perf_counter()
        drawn = sample_exact(
            twin,
            samples,
            _generator(seed, "exact"),
            largest_seconds=most_seconds,
            progress=lambda done: tell("exact samples", done, samples),
        )
        seconds = time.perf_counter() - began
    _write(out, drawn, twin, f"tiandi, exact samples by the chain rule, seed {seed}")
    totals = drawn.sum(axis=1, dtype=int)
    told = {
        "machine": twin.name,
        "samples": samples,
        "expected_seconds": cost.expected_seconds(samples),
        "seconds": round(seconds, 3),
        "mean_total": float(totals.mean()),
        "largest_total": int(totals.max()),
        "file": str(out),
    }
    if json:
        return print_json(told)
    print(f"{twin.name}: {samples:,} exact samples in {seconds:.1f} s, {totals.mean():.2f} in all on the mean, {totals.max()} at most")
    print(f"  written: {out}")
    return None


@app.command
def validate(
    machine: MachineName,
    *files: Annotated[Path, Parameter(help="Files of samples, of anybody; each is judged by the name of its file.")],
    samplers: Annotated[
        str, Parameter(help="Also judge these samplers, with commas between them; none for none. Six of them unless told.")
    ] = "",
    samples: Annotated[int, Parameter(help="Samples that each of them draws.")] = 200_000,
    data: Data = None,
    seed: Seed = 1,
    figure: Annotated[Path | None, Parameter(help="Draw totals and correlations (.png, .svg or .pdf).")] = None,
    report: Annotated[Path | None, Parameter(help="Write everything to one HTML page.")] = None,
    json: Json = False,
) -> None:
    """Judge samples, samplers and the experiment against the ideal machine: who is closest, and where each fails."""
    from tiandi.computing.photonics.samplers import best_sampler
    from tiandi.computing.photonics.validation import validate as judge
    from tiandi.computing.photonics.validation.figure import draw_verdict, require_drawable
    from tiandi.computing.photonics.validation.tally import LEAST_SAMPLES
    from tiandi.limits import require_within

    if figure is not None:
        require_drawable(figure)
    if report is not None and (not report.absolute().parent.is_dir() or report.is_dir()):
        raise InputError("report", str(report), "must be a file in a folder that exists")
    chosen = [] if samplers == "none" else [name.strip() for name in samplers.split(",")] if samplers else list(MOCK_UPS)
    _require_samplers(chosen)
    if chosen:
        require_within("samples", samples, LEAST_SAMPLES, float("inf"))
    with progress() as tell:
        tell("building the machine", 0, 1)
        twin = _build(machine, data, seed)
        chosen += [] if samplers else [best_sampler(twin)]
        given: dict[str, Any] = {}
        for file in files:
            if file.stem in given or file.stem in chosen:
                raise InputError("file", str(file), "must have a name of its own, unlike other files and samplers")
            given[file.stem] = _read(file, twin)
        given |= {name: _batches(name, twin, samples, seed, tell) for name in chosen}
        verdict = judge(twin, given, _published(machine, data), seed=seed, progress=tell)
    if figure is not None:
        draw_verdict(verdict, figure)
        print(f"written: {figure}", file=sys.stderr)
    if report is not None:
        from tiandi.cli.gbs_report import html_report

        try:
            report.write_text(html_report(verdict), encoding="utf-8")
        except OSError as error:
            raise InputError("report", str(report), f"cannot be written: {error.strerror}") from None
        print(f"written: {report}", file=sys.stderr)
    if json:
        print_json(verdict.as_json())
    else:
        _show(verdict)


def _show(verdict: Verdict) -> None:
    from tiandi.computing.photonics.validation.ranking import shown

    scores = {score.name: score for score in verdict.scores}
    print(f"{verdict.machine}: {verdict.ideal.machine.modes} modes, ideal mean total {verdict.ideal.total_mean:.2f}")
    columns = (("total_mean", "mean total"), ("pair_relative_error", "two-mode error"), ("triple_slope", "three-mode slope"))
    print(f"  {'':<20}{'place':>6}{'won':>7}{'samples':>13}" + "".join(f"{title:>22}" for _, title in columns))
    for place in verdict.ranking:
        score = scores[place.name]
        cells = "".join(f"{shown(score.figures[key]) if key in score.figures else '-':>22}" for key, _ in columns)
        print(f"  {place.name:<20}{place.place:>6}{100 * place.won:>5.0f} %{score.samples:>13,}{cells}")
    print("won: share of comparisons in which it is closer to the ideal than another; ties are half. Errors are standard errors.")
    for place in verdict.ranking:
        print(f"{place.name}:")
        for text in scores[place.name].failures or ("no figure tells it from the ideal",):
            print(f"  - {text}")
        whole = [item for item in scores[place.name].odds if item.whole is not None]
        if whole:
            told = ", ".join(f"{item.mock_up} {shown(item.whole)}" for item in whole if item.whole is not None)
            first = whole[0]
            print(f"  ln p(ideal) / p(mock-up) of {first.whole_samples} whole patterns of at most {first.whole_clicks} clicks: {told}")


def _read(file: Path, machine: Machine) -> CountArray:
    from tiandi.computing.photonics.file_format import read_samples

    read = read_samples(file, modes=machine.modes, detector=machine.detectors.kind)
    if read.metadata.bins != (machine.detectors.bins if machine.detectors.kind == "pseudo-number" else 1):
        raise InputError("bins", read.metadata.bins, f"must be {machine.detectors.bins} in {file}, as of the machine")
    return read.samples


def _write(out: Path, drawn: CountArray, machine: Machine, source: str) -> None:
    from tiandi.computing.photonics.file_format import write_samples

    bins = machine.detectors.bins if machine.detectors.kind == "pseudo-number" else 1
    try:
        write_samples(out, drawn, detector=machine.detectors.kind, bins=bins, source=source, machine=machine.name)
    except OSError as error:
        raise InputError("out", str(out), f"cannot be written: {error.strerror}") from None


def _published(machine: str, data: Path | None) -> Published | None:
    """The experiment's statistics, where the user has them and they were published."""
    from tiandi.computing.photonics.public_data import SETTINGS, read_published

    return read_published(machine, data) if data is not None and machine in SETTINGS else None


def _batches(name: str, machine: Machine, number: int, seed: int, tell: Progress) -> Iterator[CountArray]:
    """Samples of a sampler that is fitted when its turn comes."""
    from tiandi.computing.photonics.samplers import SAMPLERS

    generator = _generator(seed, name)
    tell(f"{name}: fitting", 0, number)
    done = 0
    for batch in SAMPLERS[name](machine, generator).batches(number, generator, BATCH):
        done += len(batch)
        yield batch
        tell(name, done, number)


def _collect(batches: Iterator[CountArray], number: int, tell: Progress) -> CountArray:
    import numpy as np

    drawn = []
    for batch in batches:
        drawn.append(batch)
        tell("drawing", sum(map(len, drawn)), number)
    return np.concatenate(drawn)


def _generator(seed: int, name: str) -> Any:
    from tiandi.random import twin_generator

    return twin_generator(seed, "photonics", "samples", name)


def _modes_of(machine: str) -> int:
    """As the file or the data sheet says, before anything is built."""
    from tiandi.computing.photonics.machine_file import is_machine_file, read_machine
    from tiandi.computing.photonics.machines import find_machine

    return read_machine(Path(machine)).modes if is_machine_file(machine) else int(find_machine(machine).need("modes"))


def _build(machine: str, data: Path | None, seed: int) -> Machine:
    from tiandi.computing.photonics.machine_file import is_machine_file, read_machine
    from tiandi.computing.photonics.machines import build_machine

    if not is_machine_file(machine):
        return build_machine(machine, data=data, seed=seed)
    if data is not None:
        raise InputError("data", str(data), f"must not be given: {machine} says all of its machine")
    return read_machine(Path(machine))


def _require_samplers(names: list[str]) -> None:
    from tiandi.computing.photonics.samplers import SAMPLERS

    for name in names:
        if name not in SAMPLERS:
            raise InputError("sampler", name, f"must be one of {', '.join(SAMPLERS)}")
    if len(set(names)) < len(names):
        raise InputError("samplers", ",".join(names), "must name each once")


def _require_new(out: Path) -> None:
    if out.suffix not in {".npz", ".csv", ".txt"}:
        raise InputError("out", str(out), "must end in .npz, .csv or .txt")
    if out.exists() or not out.absolute().parent.is_dir():
        raise InputError("out", str(out), "must be a new file in a folder that exists")


def _fields(sheet: Any) -> dict[str, Any]:
    import dataclasses

    return dataclasses.asdict(sheet)
