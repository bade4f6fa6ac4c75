"""A twin as a backend of Qiskit: `TiandiBackend("zuchongzhi-2.1")` where another backend stood."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotYet
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import numpy as np
from numpy.typing import NDArray
from qiskit import QuantumCircuit
from qiskit.providers import BackendV2, JobError, JobStatus, JobTimeoutError, JobV1, Options
from qiskit.providers.exceptions import QiskitBackendNotFoundError
from qiskit.result import Result
from qiskit.result.models import ExperimentResult, ExperimentResultData
from qiskit.transpiler import Target

from tiandi.computing.backend.target import qiskit_target
from tiandi.computing.circuits.program import Program
from tiandi.computing.circuits.qiskit_circuits import from_qiskit_program
from tiandi.computing.engines import run
from tiandi.computing.machines.twin import build_twin
from tiandi.errors import TiandiError

MOST_SHOTS = 1_000_000


class TiandiJob(JobV1):  # type: ignore[misc] # Qiskit has no types.
    """Circuits under way in a thread. `result` raises JobError with the reason where one of them could not be run."""

    def __init__(self, backend: TiandiBackend, work: Callable[[str], Result]) -> None:
        super().__init__(backend, str(uuid.uuid4()))
        self._work = work
        self._future: Future[Result] | None = None

    def submit(self) -> None:
        """Start it; a job runs once."""
        if self._future is not None:
            raise JobError("this job has been submitted already")
        executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="tiandi")
        self._future = executor.submit(self._work, self.job_id())
        executor.shutdown(wait=False)

    def _submitted(self) -> Future[Result]:
        if self._future is None:
            raise JobError("this job has not been submitted: job.submit()")
        return self._future

    def result(self, timeout: float | None = None) -> Result:
        """The counts, after at most ``timeout`` seconds. Raises JobTimeoutError, or JobError with the reason of a failure."""
        try:
            return self._submitted().result(timeout)
        except NotYet:
            raise JobTimeoutError(f"no result after {timeout} s") from None
        except TiandiError as error:
            raise JobError(str(error)) from error

    def status(self) -> JobStatus:
        """Where it stands."""
        future = self._submitted()
        if not future.done():
            return JobStatus.RUNNING
        return JobStatus.DONE if future.exception() is None else JobStatus.ERROR


class TiandiBackend(BackendV2):  # type: ignore[misc] # Qiskit has no types.
    """The twin of machine ``name``. ``seed`` and ``age_s`` choose the twin, as in `build_twin`."""

    def __init__(self, name: str, *, seed: int = 1, age_s: float = 0.0) -> None:
        try:
            self.twin = build_twin(name, seed=seed, age_s=age_s)
        except TiandiError as error:
            raise QiskitBackendNotFoundError(str(error)) from error
        super().__init__(name=name, description=f"Twin of {self.twin.sheet.name}", backend_version=version("tiandi"))
        self._target = qiskit_target(self.twin)

    @property
    def target(self) -> Target:
        """Gates, errors, durations, T1 and T2 (see `qiskit_target`)."""
        return self._target

    @property
    def max_circuits(self) -> None:
        """A job may hold any number of circuits."""
        return

    @classmethod
    def _default_options(cls) -> Options:
        options = Options(shots=1024, memory=False, seed_simulator=None, engine=None)
        options.set_validator("shots", (1, MOST_SHOTS))
        return options

    def run(self, run_input: QuantumCircuit | Iterable[QuantumCircuit], **options: Any) -> TiandiJob:
        """Run circuits that are written in the target's gates on its qubits.

        Options: ``shots``, ``memory`` (keep every shot), ``seed_simulator``, ``engine`` (see `tiandi.computing.engines.run`).
        Raises JobError for a circuit that this machine cannot hold or an option that does not exist.
        """
        circuits = [run_input] if isinstance(run_input, QuantumCircuit) else list(run_input)
        chosen = {**{name: getattr(self.options, name) for name in ("shots", "memory", "seed_simulator", "engine")}, **options}
        unknown = set(chosen) - {"shots", "memory", "seed_simulator", "engine"}
        if unknown or not 1 <= chosen["shots"] <= MOST_SHOTS:
            what = f"option {sorted(unknown)[0]}: must be one of shots, memory, seed_simulator, engine" if unknown else ""
            raise JobError(what or f"shots = {chosen['shots']}: must lie in [1, {MOST_SHOTS}]")
        try:
            programs = [from_qiskit_program(circuit) for circuit in circuits]
            noisy = [self.twin.noisy(program.circuit) for program in programs]
        except TiandiError as error:
            raise JobError(str(error)) from error

        def work(job_id: str) -> Result:
            results = []
            for number, (circuit, program, written) in enumerate(zip(circuits, programs, noisy, strict=True)):
                seed = None if chosen["seed_simulator"] is None else chosen["seed_simulator"] + number
                done = run(written, chosen["shots"], seed=seed, engine=chosen["engine"])
                results.append(_experiment(circuit, program, done.bits, memory=chosen["memory"], engine=done.engine))
            return Result(
                backend_name=self.name, backend_version=self.backend_version, job_id=job_id, success=True, results=results,
                date=datetime.now(UTC),
            )  # fmt: skip

        job = TiandiJob(self, work)
        job.submit()
        return job


def _experiment(circuit: QuantumCircuit, program: Program, bits: NDArray[np.uint8], *, memory: bool, engine: str) -> ExperimentResult:
    """One circuit's counts as Qiskit keeps them: hexadecimal, bit 0 least significant."""
    columns = np.zeros((len(bits), max(1, program.classical_bit_count)), np.uint8)
    for column, bit in enumerate(program.classical_bits):
        columns[:, bit] = bits[:, column]
    packed = np.packbits(columns[:, ::-1], axis=1)
    unused = -columns.shape[1] % 8
    shots = [hex(int.from_bytes(row.tobytes(), "big") >> unused) for row in packed]
    header = {
        "name": circuit.name, "memory_slots": circuit.num_clbits, "n_qubits": circuit.num_qubits, "metadata": circuit.metadata or {},
        "creg_sizes": [[register.name, register.size] for register in circuit.cregs], "engine": engine,
    }  # fmt: skip
    data = ExperimentResultData(counts=dict(Counter(shots)), **({"memory": shots} if memory else {}))
    return ExperimentResult(shots=len(bits), success=True, data=data, header=header, status="DONE")
