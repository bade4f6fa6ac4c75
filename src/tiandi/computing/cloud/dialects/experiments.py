"""What the Tianyan dialect does with experiments: submit, save, run again, and tell what became of them.

A job holds all circuits of a submission; its clients know each circuit as a task. A task's identifier is the job's and the circuit's number
in one decimal number, for some clients make an int of it.
"""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
from litestar.types import HTTPScope

from tiandi.computing.cloud.answers import JSON, Answer, header
from tiandi.computing.cloud.dialects import saved, shots
from tiandi.computing.cloud.dialects.machines import Codes
from tiandi.computing.cloud.dialects.refusals import submission
from tiandi.computing.cloud.jobs import MOST_CIRCUITS, Job, JobConflict, Outcome
from tiandi.computing.cloud.service import Cloud
from tiandi.errors import InputError

QCIS = "qcis"
MOST_TASKS = 50
"""In one query, as published."""
USUAL_SHOTS = 12_000
_CIRCUIT_DIGITS = 3
_JOB_HEX = 32
_MOST_NAME = 200
_CHUNK_BYTE = 1 << 20

Id = str | int | None


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """The body of any request of this dialect; its clients fill different fields for the same thing."""

    circuit: list[str] | str | None = None
    input_code: list[str] | str | None = msgspec.field(default=None, name="inputCode")
    language: str | None = None
    language_code: str | None = msgspec.field(default=None, name="languageCode")
    computer: str | None = msgspec.field(default=None, name="computerCode")
    shots: int | None = None
    name: str | None = None
    lab_name: str | None = None
    lab_id: Id = None
    exp_id: Id = None
    query_id: Id = None
    query_ids: list[str | int] | str | int | None = None
    noise: Any = None
    rules: Any = msgspec.field(default=None, name="nm")
    quantum_state: Any = msgspec.field(default=None, name="quantumState")
    data_type: str | None = msgspec.field(default=None, name="dataType")


def require_qcis(language: str | None) -> str:
    """``language``. Raises InputError for any but QCIS."""
    if (language or QCIS).lower() != QCIS:
        raise InputError("language", language, f"must be {QCIS}")
    return QCIS


def task_id(job_id: str, circuit: int) -> str:
    """The identifier of a circuit of a job."""
    return f"{int(job_id, 16)}{circuit:0{_CIRCUIT_DIGITS}d}"


def task_of(task: Id) -> tuple[str, int]:
    """Job and circuit of a task. Raises InputError for what is no identifier."""
    digits = str(task)
    if not (
        digits.isascii() and digits.isdigit() and _CIRCUIT_DIGITS < len(digits) <= 48 and int(digits[:-_CIRCUIT_DIGITS]) < 16**_JOB_HEX
    ):
        raise InputError("query_id", digits[:64], "is no identifier of a task")
    return f"{int(digits[:-_CIRCUIT_DIGITS]):0{_JOB_HEX}x}", int(digits[-_CIRCUIT_DIGITS:])


class Experiments:
    """The experiments of one cloud's users."""

    def __init__(self, cloud: Cloud, codes: Codes) -> None:
        self._cloud, self._codes = cloud, codes
        self._has_tables = False

    async def save_lab(self, owner: str, asked: Asked, _: HTTPScope) -> Any:
        """A new laboratory."""
        await self._tables()
        return {"lab_id": await self._cloud.database.run(saved.add_lab, owner, (asked.name or "")[:_MOST_NAME])}

    async def save(self, owner: str, asked: Asked, _: HTTPScope) -> Any:
        """Keep an experiment; it is checked when it is run."""
        require_qcis(asked.language_code)
        programs = _programs(asked)
        if len(programs) != 1:
            raise InputError("inputCode", f"{len(programs)} circuits", "must be one to be saved")
        self._codes.name(asked.computer)
        kept = saved.Experiment(_text(asked.lab_id), asked.computer or "", (asked.name or "")[:_MOST_NAME], programs[0])
        await self._tables()
        return {"exp_id": await self._cloud.database.run(saved.add_experiment, owner, kept)}

    async def run_saved(self, owner: str, asked: Asked, _: HTTPScope) -> Any:
        """Run a saved experiment; one task."""
        return {"query_id": (await self._submit(owner, asked))[0]}

    async def submit(self, owner: str, asked: Asked, _: HTTPScope) -> Any:
        """Run circuits, or a saved experiment; a task for each circuit."""
        return {"query_ids": await self._submit(owner, asked)}

    async def again(self, owner: str, asked: Asked, _: HTTPScope) -> Any:
        """Run a task's circuit once more, or every job of a laboratory."""
        if asked.query_id is not None:
            job_id, circuit = task_of(asked.query_id)
            job = await self._cloud.job(owner, job_id)
            programs = await self._cloud.programs(owner, job_id)
            wanted = {"machine": job.machine, "programs": [_nth(programs, circuit)], "shots": job.shots, "name": job.name}
            return (await self._accept(owner, wanted))[0]
        tasks = []
        for job_id in await self._jobs_of_lab(owner, asked):
            job = await self._cloud.job(owner, job_id)
            programs = await self._cloud.programs(owner, job_id)
            wanted = {"machine": job.machine, "programs": programs, "shots": job.shots, "name": job.name}
            tasks += await self._accept(owner, wanted, _text(asked.lab_id))
        return tasks

    async def cancel(self, owner: str, asked: Asked, _: HTTPScope) -> Any:
        """End the job of a task with all its circuits, or every job of a laboratory that has not ended."""
        if asked.query_id is not None:
            job_id, circuit = task_of(asked.query_id)
            await self._cloud.cancel(owner, job_id)
            return task_id(job_id, circuit)
        ended = []
        for job_id in await self._jobs_of_lab(owner, asked):
            if not (await self._cloud.job(owner, job_id)).is_final:
                job = await self._cloud.cancel(owner, job_id)
                ended += [task_id(job_id, circuit) for circuit in range(job.circuits)]
        return ended

    async def programs(self, owner: str, asked: Asked, _: HTTPScope) -> Any:
        """The circuits of tasks."""
        tasks = [task_of(task) for task in _tasks(asked)]
        of_job = {job_id: await self._cloud.programs(owner, job_id) for job_id in dict.fromkeys(job_id for job_id, _ in tasks)}
        return [{"query_id": task_id(job_id, circuit), "qcis": _nth(of_job[job_id], circuit)} for job_id, circuit in tasks]

    async def results(self, owner: str, asked: Asked, scope: HTTPScope) -> Any:
        """What became of tasks that have ended, in the order asked for; of others nothing is told.

        A failed task is told as an entry, but to who comes from the web's door, who expects only results: there the query is refused.
        """
        tasks = [task_of(task) for task in _tasks(asked)]
        of_web = bool(header(scope, b"apicode"))
        found: dict[tuple[str, int], Outcome] = {}
        jobs: dict[str, Job] = {}
        for job_id in dict.fromkeys(job_id for job_id, _ in tasks):
            job = jobs[job_id] = await self._cloud.job(owner, job_id)
            wanted = {circuit for other, circuit in tasks if other == job_id}
            if max(wanted) >= job.circuits:
                raise InputError("query_id", task_id(job_id, max(wanted)), f"the job has {job.circuits} circuits")
            if job.state == "completed":
                found |= {(job_id, circuit): outcome for circuit, outcome in (await self._outcomes(owner, job, wanted)).items()}
            elif job.is_final and of_web:
                raise JobConflict(job.reason)
        if (length_byte := sum(map(shots.size_byte, found.values()))) > shots.MOST_BYTE:
            raise InputError(
                "query_ids", f"{length_byte} bytes of shots", f"at most {shots.MOST_BYTE} fit one answer: ask for fewer at once"
            )
        return Answer(200, await asyncio.to_thread(_told, tasks, jobs, found), media_type=JSON)

    async def _outcomes(self, owner: str, job: Job, wanted: set[int]) -> dict[int, Outcome]:
        """Results of the circuits ``wanted`` of a completed job; those between are read and left."""
        found: dict[int, Outcome] = {}
        first = min(wanted)
        while first <= max(wanted):
            read = await self._cloud.outcomes(owner, job.id, first=first, limit_byte=_CHUNK_BYTE)
            found |= {circuit: outcome for circuit, outcome in enumerate(read, first) if circuit in wanted}
            first = min((circuit for circuit in wanted if circuit >= first + len(read)), default=max(wanted) + 1)
        return found

    async def _submit(self, owner: str, asked: Asked) -> list[str]:
        """Tasks of what is asked."""
        for field, value in (
            ("noise", asked.noise),
            ("quantumState", asked.quantum_state),
            ("rules", asked.rules),
            ("dataType", asked.data_type),
        ):
            if value:
                raise InputError(field, str(value)[:60], "is not known here: machines have their own noise, and results are bits")
        if asked.circuit is None and asked.input_code is None:
            if asked.exp_id is None:
                raise InputError("exp_id", None, "must be given where there is no circuit")
            await self._tables()
            kept = await self._cloud.database.read(saved.find_experiment, owner, _text(asked.exp_id))
            machine, programs, name, lab = self._codes.name(kept.machine), [kept.program], kept.name, kept.lab
        else:
            require_qcis(asked.language_code or asked.language)
            machine, programs, lab = self._codes.name(asked.computer), _programs(asked), _text(asked.lab_id)
            name = asked.name or asked.lab_name or ""
        count = USUAL_SHOTS if asked.shots is None else asked.shots
        return await self._accept(owner, {"machine": machine, "programs": programs, "shots": count, "name": name[:_MOST_NAME]}, lab)

    async def _accept(self, owner: str, wanted: dict[str, Any], lab: str = "") -> list[str]:
        """Tasks of a submission of these fields."""
        if lab:
            await self._tables()
            await self._cloud.database.read(saved.require_lab, owner, lab)
        job, _ = await self._cloud.submit(owner, submission(wanted | {"language": QCIS}))
        if lab:
            await self._cloud.database.run(saved.add_run, owner, lab, job.id)
        return [task_id(job.id, circuit) for circuit in range(job.circuits)]

    async def _jobs_of_lab(self, owner: str, asked: Asked) -> list[str]:
        if asked.lab_id is None:
            raise InputError("query_id", None, "must be given, or lab_id")
        await self._tables()
        return await self._cloud.database.read(saved.runs_of, owner, _text(asked.lab_id))

    async def _tables(self) -> None:
        if not self._has_tables:
            await saved.create_tables(self._cloud.database)
            self._has_tables = True


def _text(number: Id) -> str:
    return "" if number is None else str(number)


def _programs(asked: Asked) -> list[str]:
    given = asked.input_code if asked.circuit is None else asked.circuit
    programs = [given] if isinstance(given, str) else given or []
    if not 1 <= len(programs) <= MOST_CIRCUITS:
        raise InputError("circuit", f"{len(programs)} circuits", f"must be 1 to {MOST_CIRCUITS}")
    return programs


def _tasks(asked: Asked) -> list[str | int]:
    given = asked.query_ids
    tasks = [given] if isinstance(given, str | int) else given or []
    if not 1 <= len(tasks) <= MOST_TASKS:
        raise InputError("query_ids", f"{len(tasks)} tasks", f"must be 1 to {MOST_TASKS}")
    return tasks


def _nth(programs: list[str], circuit: int) -> str:
    if circuit >= len(programs):
        raise InputError("query_id", circuit, f"the job has {len(programs)} circuits")
    return programs[circuit]


def _told(tasks: list[tuple[str, int]], jobs: dict[str, Job], found: dict[tuple[str, int], Outcome]) -> bytes:
    """The answer to a query."""
    told = []
    for job_id, circuit in tasks:
        job, task = jobs[job_id], task_id(job_id, circuit)
        if job.state == "completed":
            told.append(shots.finished(task, found[job_id, circuit]))
        elif job.is_final:
            told.append(shots.failed(task, job))
    inside = b",".join(told)
    return b'{"code":0,"msg":"success","data":{"experimentResultModelList":[%s]}}' % inside
