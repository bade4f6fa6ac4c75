"""Photonic machines behind the cloud: twins of the Jiuzhang machines, with a kind of job of their own.

A program is a JSON object (`PhotonicJob`): which sampler, which detectors are told, and, within the machine's limits, light of the user's
own. To everything else of the cloud it is a circuit that measures modes. Workers keep the last fitted sampler.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from msgspec import Meta

from tiandi.computing.circuits.circuit import MEASURE, Circuit, Operation
from tiandi.computing.circuits.program import Program
from tiandi.computing.cloud.clicks import ClickFigures
from tiandi.computing.cloud.jobs import Outcome
from tiandi.computing.cloud.limits import PHOTONIC, PHOTONIC_WIDE, Limit
from tiandi.errors import InputError
from tiandi.limits import require_each_within, require_within
from tiandi.random import twin_generator

if TYPE_CHECKING:
    import numpy as np

    from tiandi.computing.photonics.gaussian import CountArray, Machine
    from tiandi.computing.photonics.machines import MachineSheet
    from tiandi.computing.photonics.public_data import Published
    from tiandi.computing.photonics.samplers.interface import Sampler

LANGUAGE = "photonic"
KIND = "photonic"
MAKER = "University of Science and Technology of China"
EXACT = "exact"
MOST_EXACT_S = 300.0
"""Of one worker, for exact samples of one program."""
MOST_EXACT_MODES = 1000
MOST_LETTERS_OF_A_SAMPLER = 32
NAMES = (
    "jiuzhang-1.0", "jiuzhang-2.0-0.15w", "jiuzhang-2.0-0.3w", "jiuzhang-2.0-0.6w", "jiuzhang-2.0-1.0w", "jiuzhang-2.0-1.65w",
    "jiuzhang-2.0-125um-0.5w", "jiuzhang-2.0-125um-1.41w", "jiuzhang-3.0", "jiuzhang-4.0",
)  # fmt: skip
"""Known without reading the data sheets, which waits until one is asked for."""
WIDE = "jiuzhang-4.0"


class PhotonicJob(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A program of a photonic machine.

    ``sampler``: "exact", or the name of an approximate one; the answer says what it is exact in. ``modes``: the detectors told, in that
    order; all unless given. ``totals``: only the sum of their counts is told. ``squeezing_r`` replaces the machine's squeezing, and
    ``interferometer`` (modes, inputs), each entry [real, imaginary], its interferometer, behind which the machine's mean loss comes.
    """

    sampler: Annotated[str, Meta(min_length=1, max_length=MOST_LETTERS_OF_A_SAMPLER)]
    modes: list[int] | None = None
    totals: bool = False
    squeezing_r: list[float] | None = None
    interferometer: list[list[tuple[float, float]]] | None = None

    @property
    def is_own(self) -> bool:
        """Whether the light is not the machine's own setting."""
        return self.squeezing_r is not None or self.interferometer is not None


@dataclass(frozen=True)
class PhotonicProgram(Program):
    """A circuit that measures the modes that are told, and the job that it stands for."""

    job: PhotonicJob


class PhotonicMachine:
    """The twin of a Jiuzhang machine: as calibrated, from the public data in the folder ``data``, or a synthetic one, named so."""

    def __init__(self, name: str, limits: tuple[Limit, ...] = PHOTONIC, *, data: Path | None = None, seed: int = 1) -> None:
        self.name, self.limits, self._data, self._seed = name, limits, data, seed

    @cached_property
    def _sheet(self) -> MachineSheet:
        from tiandi.computing.photonics.machines import find_machine  # noqa: PLC0415 - a server's other machines need not wait for it.

        return find_machine(self.name)

    @cached_property
    def _machine(self) -> Machine:
        from tiandi.computing.photonics.machines import build_machine  # noqa: PLC0415 - only who reads or runs programs needs it.

        return build_machine(self.name, data=self._data, seed=self._seed)

    def facts(self) -> dict[str, Any]:
        """See `Machine.facts`. ``modes`` are its detectors."""
        sheet = self._sheet
        synthetic = "" if self._data is not None and sheet.has_public_data else " (synthetic)"
        return {
            "name": self.name, "title": f"{sheet.name}{synthetic}", "maker": MAKER, "kind": KIND, "year": sheet.year, "note": sheet.note,
            "twin": True, "modes": int(sheet.need("modes")), "inputs": self._inputs, "detector": sheet.detector,
            "bins": int(sheet.number("bins") or 1), "largest_squeezing_r": sheet.need("squeezing_r_max"),
            "transmission": sheet.need("transmission"), "languages": [LANGUAGE],
        }  # fmt: skip

    def calibration(self) -> dict[str, Any]:
        """The figures of its data sheet, each with what it is worth and where it stands; it has no qubits."""
        figures = {name: {"value": fact.value, "label": fact.label, "source": fact.source} for name, fact in self._sheet.facts.items()}
        return {"machine": self.name, "qubits": [], "figures": figures}

    def is_slow_to_read(self, program: str, language: str | None) -> bool:
        """Always: what samples cost is reckoned before they are accepted."""
        _require_language(language)
        return True

    def prepare(self, program: str, language: str | None, *, compile: bool) -> PhotonicProgram:
        """See `Machine.prepare`; exact samples of which even one would take too long are refused with their cost."""
        _require_language(language)
        try:
            job = _decoder.decode(program)
        except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
            raise InputError("program", f"{len(program)} characters", f"must be a photonic program in JSON ({error})") from None
        modes = self._require_light(job)
        told = range(modes) if job.modes is None else job.modes
        if not told or len(set(told)) < len(told):
            raise InputError("modes", f"{len(told)} modes", "must name at least one mode, and each once")
        for mode in told:
            require_within("modes", mode, 0, modes - 1)
        if job.sampler == EXACT:
            require_within("modes for exact samples", modes, 1, MOST_EXACT_MODES)
            _require_affordable(self._lit(job))
        else:
            _require_sampler(job.sampler)
        circuit = Circuit(modes, tuple(Operation(MEASURE, (mode,)) for mode in told))
        return PhotonicProgram(circuit, tuple(range(len(told))), len(told), job)

    def run(self, program: Program, shots: int, *, seed: int, compile: bool) -> Outcome:
        """See `Machine.run`."""
        if not isinstance(program, PhotonicProgram):
            raise InputError("program", type(program).__name__, f"must be one that {self.name} prepared")
        job, machine = program.job, self._lit(program.job)
        generator = twin_generator(seed, "cloud", self.name)
        modes = list(program.circuit.measured_qubits)
        if job.sampler == EXACT:
            samples, how = _exact(machine, shots, generator)
        else:
            sampler = self._fitted(job, machine)
            samples, how = sampler.sample(shots, generator), sampler.describe()
        why = f"{how} Of {machine.name}."
        kept = samples[:, modes]
        if job.totals:
            return Outcome.of(kept.sum(axis=1, dtype="u2")[:, None], [-1], engine=job.sampler, why=why, value_byte=2)
        value_byte = 0 if machine.detectors.kind == "threshold" else 1
        return Outcome.of(kept, modes, engine=job.sampler, why=why, value_byte=value_byte)

    def clicks(self, program: Program, outcome: Outcome) -> ClickFigures:
        """Totals and correlations of an ``outcome`` beside the ideal ones, and the experiment's where its data were given."""
        from tiandi.computing.cloud.click_figures import click_figures  # noqa: PLC0415 - see above.

        if not isinstance(program, PhotonicProgram):
            raise InputError("program", type(program).__name__, f"must be one that {self.name} prepared")
        job, told = program.job, list(program.circuit.measured_qubits)
        published = None if job.is_own else self._published
        return click_figures(outcome, told, key=self._light(job), build=lambda: self._lit(job), published=published)

    @cached_property
    def _published(self) -> Published | None:
        """The experiment's statistics, where its data were given."""
        from tiandi.computing.photonics.public_data import read_published  # noqa: PLC0415 - see above.

        return read_published(self.name, self._data) if self._data is not None and self._sheet.has_public_data else None

    def _light(self, job: PhotonicJob) -> tuple[object, ...]:
        """What tells the job's light from all others."""
        own = msgspec.json.encode((job.squeezing_r, job.interferometer)) if job.is_own else b""
        return self.name, str(self._data), self._seed, own

    @property
    def _inputs(self) -> int:
        return int(self._sheet.need("sources")) * (2 if self._sheet.two_mode_sources else 1)

    def _fitted(self, job: PhotonicJob, machine: Machine) -> Sampler:
        """A sampler for the job, always from the same seed, so that counts depend on the job's alone."""
        key = (*self._light(job), job.sampler)
        if key not in _last:
            from tiandi.computing.photonics.samplers import SAMPLERS  # noqa: PLC0415 - see above.

            _last.clear()
            _last[key] = SAMPLERS[job.sampler](machine, twin_generator(1, "cloud", "photonic fit", job.sampler))
        return _last[key]

    def _require_light(self, job: PhotonicJob) -> int:
        """The modes of the job's light. Raises InputError where that is beyond the limits; builds no machine: that may take long."""
        inputs, modes = self._inputs, int(self._sheet.need("modes"))
        if job.interferometer is not None:
            modes, inputs = self._interferometer(job.interferometer).shape
        if job.squeezing_r is not None:
            most = self._sheet.need("squeezing_r_max")
            require_each_within("squeezing_r", job.squeezing_r, -most, most)
        if (given := self._inputs if job.squeezing_r is None else len(job.squeezing_r)) != inputs:
            raise InputError("squeezing_r", f"{given} numbers", f"must have one squeezing parameter an input, {inputs} here")
        return modes

    def _lit(self, job: PhotonicJob) -> Machine:
        """The machine with the job's light."""
        if not job.is_own:
            return self._machine
        from tiandi.computing.photonics.foreign import machine_from_matrices  # noqa: PLC0415 - see above.

        sheet, own = self._sheet, self._machine
        transfer = own.transfer if job.interferometer is None else self._interferometer(job.interferometer)
        squeezing = own.squeezing_r if job.squeezing_r is None else job.squeezing_r
        name = f"user's light through {own.name if job.interferometer is None else f'an interferometer with the loss of {sheet.name}'}"
        return machine_from_matrices(transfer, squeezing, name=name, detectors=own.detectors)

    def _interferometer(self, rows: list[list[tuple[float, float]]]) -> np.ndarray:
        """The user's, with the machine's transmission behind it."""
        import numpy as np  # noqa: PLC0415 - see above.

        require_within("modes of interferometer", len(rows), 1, self._sheet.need("modes"))
        require_within("inputs of interferometer", len(rows[0]), 1, self._inputs)
        if any(len(row) != len(rows[0]) for row in rows):
            raise InputError("interferometer", "rows of different lengths", "must be a matrix")
        parts = np.array(rows, float)
        unitary = parts[:, :, 0] + 1j * parts[:, :, 1]
        require_within("largest singular value of interferometer", float(np.linalg.norm(unitary, 2)), 0.0, 1.0 + 1e-7)
        return unitary * np.sqrt(self._sheet.need("transmission"))


_decoder = msgspec.json.Decoder(PhotonicJob)
_last: dict[tuple[object, ...], Sampler] = {}
"""The last fitted sampler of this process: to fit may take ten seconds."""


def photonic_machines() -> dict[str, PhotonicMachine]:
    """Every setting of every Jiuzhang machine, drawn from published summary figures."""
    return {name: PhotonicMachine(name, PHOTONIC_WIDE if name == WIDE else PHOTONIC) for name in NAMES}


def _require_language(language: str | None) -> None:
    if language is not None and language.lower() != LANGUAGE:
        raise InputError("language", language[:32], f"must be {LANGUAGE}")


def _require_sampler(name: str) -> None:
    from tiandi.computing.photonics.samplers import SAMPLERS  # noqa: PLC0415 - see above.

    if name not in SAMPLERS:
        raise InputError("sampler", name, f"must be one of {EXACT}, {', '.join(SAMPLERS)}")


def _require_affordable(machine: Machine) -> None:
    """Raise InputError, with the cost, unless one exact sample can be had."""
    from tiandi.computing.photonics.exact.costs import cost_of_exact  # noqa: PLC0415 - see above.

    cost = cost_of_exact(machine)
    if cost.mean_seconds > MOST_EXACT_S:
        raise InputError("sampler", EXACT, f"would take too long: {cost.words()}; a program may take {MOST_EXACT_S:g} s")


def _exact(machine: Machine, shots: int, generator: np.random.Generator) -> tuple[CountArray, str]:
    from tiandi.computing.photonics.exact.chain_rule import sample_exact  # noqa: PLC0415 - see above.

    samples = sample_exact(machine, shots, generator, largest_seconds=MOST_EXACT_S, workers=1)
    return samples, "Exact samples by the chain rule: Quesada et al., PRX Quantum 3, 010306 (2022), doi 10.1103/PRXQuantum.3.010306."
