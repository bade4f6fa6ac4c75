"""What can be asked of the cloud's own API: one table, from which requests are answered and the OpenAPI document is made."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, get_args

import msgspec
from litestar.exceptions import NotFoundException
from litestar.types import HTTPScope, Receive

from tiandi.computing.cloud.answers import Answer, answer, decode, header, parameters, read_body, whole_number
from tiandi.computing.cloud.clicks import Clicks
from tiandi.computing.cloud.jobs import Job, Outcome, State, Submission
from tiandi.computing.cloud.limits import Limit
from tiandi.computing.cloud.machines import Machine, require_machine
from tiandi.computing.cloud.service import Cloud
from tiandi.computing.cloud.users import User
from tiandi.errors import InputError

RESULTS_BYTE = 512 * 1024
"""Packed bits in one answer; one circuit's are never split."""
JOBS_GIVEN, JOBS_MOST = 50, 500


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """How often each string of bits came. Leftmost is classical bit 0, or the first measurement where a language has no such bits.

    Of a photonic machine a string has a bit for each mode told, or, where detectors count, numbers with commas between; of a program that
    asks for totals it is the sum of the counts.
    """

    circuit: int
    qubits: list[int]
    """The qubit, or mode, of the machine that each bit comes from; -1 for none of them alone."""
    shots: int
    counts: dict[str, int]
    engine: str
    why: str


class Results(msgspec.Struct, frozen=True, kw_only=True):
    """Results of some circuits of a job; ``next`` is the first of the others, to be asked for with ``first``, or null."""

    job: str
    results: list[Result]
    next: int | None


class JobList(msgspec.Struct, frozen=True, kw_only=True):
    """Jobs by their last change, latest first; ``next`` is what to give as ``before`` for the next page, or null."""

    jobs: list[Job]
    next: int | None


class Programs(msgspec.Struct, frozen=True, kw_only=True):
    """What was submitted."""

    job: str
    programs: list[str]


class Checked(msgspec.Struct, frozen=True, kw_only=True):
    """A submission that would be accepted: the qubits, or modes, that each program measures."""

    measured: list[list[int]]


class MachineView(msgspec.Struct, frozen=True, kw_only=True):
    """A machine: what is known of it, and the limits of a submission, of which one line must fit."""

    name: str
    facts: dict[str, Any]
    limits: tuple[Limit, ...]


class MachineList(msgspec.Struct, frozen=True, kw_only=True):
    """Every machine of this cloud."""

    machines: list[MachineView]


@dataclass(frozen=True)
class Asked:
    """A request: what its path names, who asks, and the rest of it."""

    names: tuple[str, ...]
    owner: str
    scope: HTTPScope
    receive: Receive


@dataclass(frozen=True)
class Operation:
    """A method and a path under /api/v1, what is sent and answered, and which parameters its query may have, with their schemas."""

    method: str
    path: str
    summary: str
    handle: Callable[[Asked], Awaitable[Answer]]
    answers: Any
    body: Any = None
    query: dict[str, Any] | None = None
    is_creating: bool = False

    def names(self, segments: Sequence[str]) -> tuple[str, ...] | None:
        """What the segments of a path give for this one's {names}; None where it is another path."""
        own = self.path.split("/")[1:]
        if len(own) != len(segments) or any(not mine.startswith("{") and mine != given for mine, given in zip(own, segments, strict=True)):
            return None
        return tuple(given for mine, given in zip(own, segments, strict=True) if mine.startswith("{"))


_whole: dict[str, Any] = {"type": "integer", "minimum": 0}
_submission = msgspec.json.Decoder(Submission)


class Operations:
    """The operations of one cloud."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        listing = {
            "state": {"enum": list(get_args(State))},
            "before": _whole,
            "limit": {"type": "integer", "minimum": 1, "maximum": JOBS_MOST},
        }
        self.table = [
            Operation("GET", "/user", "Who asks, and what is left of the quotas", self._user, User),
            Operation("GET", "/machines", "Every machine", self._machines, MachineList),
            Operation("GET", "/machines/{machine}", "One machine", self._machine, MachineView),
            Operation("GET", "/machines/{machine}/calibration", "Qubits and couplers as they are now", self._calibration, None),
            Operation("POST", "/jobs", "Submit a job", self._submit, Job, body=Submission, is_creating=True),
            Operation("POST", "/check", "Whether a job would be accepted; none is made", self._check, Checked, body=Submission),
            Operation("GET", "/jobs", "Jobs by their last change, latest first", self._jobs, JobList, query=listing),
            Operation("GET", "/jobs/{job}", "One job", self._job, Job),
            Operation("GET", "/jobs/{job}/programs", "What was submitted", self._programs, Programs),
            Operation("GET", "/jobs/{job}/results", "Results of a completed job", self._results, Results, query={"first": _whole}),
            Operation("GET", "/jobs/{job}/clicks", "Clicks of a photonic job", self._clicks, Clicks, query={"first": _whole}),
            Operation("POST", "/jobs/{job}/cancel", "End a job that waits or runs", self._cancel, Job),
        ]

    async def _user(self, asked: Asked) -> Answer:
        return answer(await self._cloud.user(asked.owner))

    async def _machines(self, asked: Asked) -> Answer:
        return answer(MachineList(machines=[_view(machine) for machine in self._cloud.machines.values()]))

    async def _machine(self, asked: Asked) -> Answer:
        return answer(_view(self._named(asked)))

    async def _calibration(self, asked: Asked) -> Answer:
        return answer(self._named(asked).calibration())

    def _named(self, asked: Asked) -> Machine:
        try:
            return require_machine(self._cloud.machines, asked.names[0])
        except InputError as error:
            raise NotFoundException(str(error)[:500]) from None

    async def _submit(self, asked: Asked) -> Answer:
        submission = decode(await read_body(asked.scope, asked.receive), _submission)
        request = header(asked.scope, b"idempotency-key") or None
        job, is_new = await self._cloud.submit(asked.owner, submission, request=request)
        where = (b"location", f"/api/v1/jobs/{job.id}".encode())
        return Answer(201 if is_new else 200, msgspec.json.encode(job), (where,))

    async def _check(self, asked: Asked) -> Answer:
        submission = decode(await read_body(asked.scope, asked.receive), _submission)
        return answer(Checked(measured=await self._cloud.check(submission, owner=asked.owner)))

    async def _jobs(self, asked: Asked) -> Answer:
        query = parameters(asked.scope, ("state", "before", "limit"))
        state: Any = query.get("state")
        if state not in (None, *get_args(State)):
            raise InputError("state", state[:32], f"must be one of {', '.join(get_args(State))}")
        limit = whole_number("limit", query.get("limit", str(JOBS_GIVEN)), JOBS_MOST)
        if not limit:
            raise InputError("limit", limit, f"must lie in [1, {JOBS_MOST}]")
        before = whole_number("before", query["before"]) if "before" in query else None
        jobs = await self._cloud.jobs(asked.owner, before=before, state=state, limit=limit)
        return answer(JobList(jobs=jobs, next=jobs[-1].change if len(jobs) == limit else None))

    async def _job(self, asked: Asked) -> Answer:
        return answer(await self._cloud.job(asked.owner, asked.names[0]))

    async def _programs(self, asked: Asked) -> Answer:
        return answer(Programs(job=asked.names[0], programs=await self._cloud.programs(asked.owner, asked.names[0])))

    async def _results(self, asked: Asked) -> Answer:
        job, first = await self._circuit(asked)
        outcomes = await self._cloud.outcomes(asked.owner, job.id, first=first, limit_byte=RESULTS_BYTE)
        # Thousands of shots are counted elsewhere, so that others are served meanwhile.
        return Answer(200, await asyncio.to_thread(_results, job, first, outcomes))

    async def _clicks(self, asked: Asked) -> Answer:
        job, circuit = await self._circuit(asked)
        return answer(await self._cloud.clicks(asked.owner, job.id, circuit=circuit))

    async def _circuit(self, asked: Asked) -> tuple[Job, int]:
        """The job and the circuit that are asked for."""
        first = whole_number("first", parameters(asked.scope, ("first",)).get("first", "0"))
        job = await self._cloud.job(asked.owner, asked.names[0])
        if first >= job.circuits:
            raise InputError("first", first, f"must lie in [0, {job.circuits - 1}]")
        return job, first

    async def _cancel(self, asked: Asked) -> Answer:
        return answer(await self._cloud.cancel(asked.owner, asked.names[0]))


def _view(machine: Machine) -> MachineView:
    return MachineView(name=machine.name, facts=machine.facts(), limits=machine.limits)


def _results(job: Job, first: int, outcomes: list[Outcome]) -> bytes:
    results = [
        Result(
            circuit=number, qubits=outcome.qubits, shots=outcome.shots, counts=outcome.counts(), engine=outcome.engine, why=outcome.why
        )
        for number, outcome in enumerate(outcomes, first)
    ]  # fmt: skip
    end = first + len(results)
    return msgspec.json.encode(Results(job=job.id, results=results, next=end if end < job.circuits else None))
