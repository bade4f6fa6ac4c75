"""The dialect of the Origin cloud: OriginIR for Wukong, as pyqpanda3 0.5.1 speaks it.

Answers are ``{success, message, obj}``; a wrong key has status 401. The API key comes with every request, so there is no login. In counts
the rightmost character (the least bit of a hexadecimal number) is c[0].
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from functools import cached_property
from typing import Any

import msgspec
from litestar.exceptions import NotFoundException
from litestar.handlers import ASGIRouteHandler
from litestar.types import HTTPScope, Receive

from tiandi.computing.cloud.answers import (
    Answer,
    answer,
    decode,
    header,
    path_segments,
    read_body,
    require_method,
    route,
)
from tiandi.computing.cloud.dialects.chips import blocks, chip, corrected
from tiandi.computing.cloud.dialects.machines import ORIGIN
from tiandi.computing.cloud.dialects.refusals import reason, submission
from tiandi.computing.cloud.jobs import Job, JobConflict, Outcome, State
from tiandi.computing.cloud.machines import Machine, require_machine
from tiandi.computing.cloud.service import Cloud
from tiandi.errors import InputError, NotAuthorised

DOOR = "/oqcs/task"
SCHEME = "oqcs_auth="
LANGUAGE = "originir"
CHIP, FULL_AMPLITUDE = "5", "0"
AS_MEASURED, CORRECTED = "pyqpanda3, as measured", "pyqpanda3, readout corrected"
"""Names of jobs, by which their results are known to be wanted corrected or not."""
MOST_CORRECTED = 14
"""Bits of a result whose readout is corrected, for that takes a table of 2**bits numbers."""
_STATES: dict[State, str] = {"queued": "5", "running": "2", "completed": "3", "failed": "4", "cancelled": "4"}
_RESULTS_BYTE = 32 << 20


class Configuration(msgspec.Struct, frozen=True):
    """How a task is to be run. ``amend``: 0 gives results as measured, 1 and 3 correct their readout."""

    shot: int
    mapping: bool = msgspec.field(default=True, name="mappingFlag")
    amend: int = msgspec.field(default=0, name="amendFlag")
    block: list[int] = msgspec.field(default=[], name="specified_block")
    noise: Any = msgspec.field(default=None, name="noisemodel")


class Task(msgspec.Struct, frozen=True):
    """The body of submit.json."""

    configuration: Configuration = msgspec.field(name="Configuration")
    kind: str | int = msgspec.field(default=CHIP, name="QMachineType")
    chip: str = msgspec.field(default="", name="ChipID")
    programs: list[str] | str = msgspec.field(default=[], name="QProg")


class _TaskId(msgspec.Struct, frozen=True):
    task: str = msgspec.field(name="taskId")


class _ChipId(msgspec.Struct, frozen=True):
    chip: str = msgspec.field(name="ChipID")


class _Blocks(msgspec.Struct, frozen=True):
    chip: str = msgspec.field(name="chipId")
    qubits: int = msgspec.field(name="qubitNum")
    count: int = msgspec.field(default=1, name="qubitBlockNum")


_task, _task_id = msgspec.json.Decoder(Task), msgspec.json.Decoder(_TaskId)
_chip_id, _blocks = msgspec.json.Decoder(_ChipId), msgspec.json.Decoder(_Blocks)


def routes(cloud: Cloud) -> list[ASGIRouteHandler]:
    """The routes of this dialect."""
    return [route(DOOR, _Door(cloud).answer, refuse=refuse, is_mount=True)]


def refuse(error: Exception) -> Answer:
    """How an error is told."""
    code, status, words = reason(error)
    return answer({"success": False, "message": words, "code": code, "obj": None}, status)


def _give(obj: Any) -> Answer:
    return answer({"success": True, "message": "", "obj": obj})


def _key(scope: HTTPScope) -> str:
    given = header(scope, b"authorization")
    if not given.startswith(SCHEME):
        raise NotAuthorised(f"an API key is needed: Authorization: {SCHEME}KEY")
    return given.removeprefix(SCHEME).strip()


class _Door:
    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self._table: dict[str, tuple[str, Callable[[str, bytes], Awaitable[Answer]]]] = {
            "getResourceList.json": ("GET", self._list),
            "origin/chipInfo.json": ("POST", self._chip),
            "origin/submit.json": ("POST", self._submit),
            "origin/taskDetail.json": ("POST", self._detail),
            "cancelTask.json": ("POST", self._cancel),
            "management/bestQubitBlocks.json": ("POST", self._best),
        }

    async def answer(self, scope: HTTPScope, receive: Receive) -> Answer:
        """Answer one request."""
        owner = await self._cloud.authenticate(_key(scope))
        path = "/".join(path_segments(scope)[2:])
        if path not in self._table:
            raise NotFoundException("no such path")
        method, handle = self._table[path]
        require_method(scope, (method,))
        return await handle(owner, await read_body(scope, receive))

    @cached_property
    def _machines(self) -> dict[str, Machine]:
        """Those of its maker; asked for late, for a twin takes a moment to build."""
        return {name: machine for name, machine in self._cloud.machines.items() if str(machine.facts().get("maker", "")).startswith(ORIGIN)}

    def _machine(self, name: str) -> Machine:
        try:
            return require_machine(self._machines, name)
        except InputError as error:
            raise InputError("ChipID", name[:64], error.limit) from None

    async def _list(self, _: str, __: bytes) -> Answer:
        return answer([{"machineType": int(CHIP), "onlineFlag": True, "sinanChipId": name} for name in self._machines])

    async def _chip(self, _: str, body: bytes) -> Answer:
        return _give(chip(self._machine(decode(body, _chip_id).chip)))

    async def _best(self, _: str, body: bytes) -> Answer:
        given = decode(body, _blocks)
        found = blocks(self._machine(given.chip).calibration(), given.qubits, given.count)
        return _give({"ChipID": given.chip, "QubitNum": given.qubits, "Label": 1, "QubitBlockNum": len(found), "QubitBlocks": found})

    async def _submit(self, owner: str, body: bytes) -> Answer:
        asked = decode(body, _task)
        settings = asked.configuration
        if str(asked.kind) != CHIP:
            raise InputError("QMachineType", asked.kind, f"must be {CHIP}: a chip runs circuits, and nothing else is served")
        self._machine(asked.chip)
        for field, value in (("specified_block", settings.block), ("noisemodel", settings.noise)):
            if value:
                raise InputError(field, str(value)[:60], "is not known here: leave it out")
        programs = [asked.programs] if isinstance(asked.programs, str) else asked.programs
        if not programs:
            raise InputError("QProg", "nothing", "must hold programs in OriginIR; binary programs and instruction lists are not read")
        wanted = {
            "machine": asked.chip, "programs": programs, "shots": settings.shot, "language": LANGUAGE, "compile": settings.mapping,
            "name": CORRECTED if settings.amend else AS_MEASURED,
        }  # fmt: skip
        job, _ = await self._cloud.submit(owner, submission(wanted))
        return _give({"taskId": job.id})

    async def _detail(self, owner: str, body: bytes) -> Answer:
        job = await self._cloud.job(owner, decode(body, _task_id).task)
        told: dict[str, Any] = {"taskId": job.id, "taskState": _STATES[job.state]}
        if job.state == "completed":
            outcomes = await self._cloud.outcomes(owner, job.id, limit_byte=_RESULTS_BYTE)
            if len(outcomes) < job.circuits:
                raise InputError("taskId", job.id, f"its results are more than {_RESULTS_BYTE} bytes: ask for fewer circuits at once")
            told |= await asyncio.to_thread(_results, self._machines[job.machine].calibration(), job, outcomes)
        elif job.is_final:
            told |= {"errCode": 1, "errInfo": job.reason}
        return _give(told)

    async def _cancel(self, owner: str, body: bytes) -> Answer:
        try:
            job = await self._cloud.cancel(owner, decode(body, _task_id).task)
        except JobConflict as error:
            return answer({"success": False, "message": str(error), "code": 409, "obj": None})
        return _give({"taskId": job.id})


def _results(calibration: dict[str, Any], job: Job, outcomes: list[Outcome]) -> dict[str, Any]:
    """Counts as they were measured; probabilities of them, or with the readout corrected where that was asked for."""
    counts = [{string[::-1]: number for string, number in outcome.counts().items()} for outcome in outcomes]
    shares = [
        corrected(number_of, outcome.qubits, calibration)
        if job.name == CORRECTED and len(outcome.qubits) <= MOST_CORRECTED
        else {string: number / job.shots for string, number in number_of.items()}
        for number_of, outcome in zip(counts, outcomes, strict=True)
    ]
    return {
        "taskResult": [_table(share) for share in shares],
        "probCount": [_table(number_of) for number_of in counts],
        "measureQubitSize": [len(outcome.qubits) for outcome in outcomes],
        "measureQubits": [outcome.qubits for outcome in outcomes],
    }


def _table(values: dict[str, Any]) -> str:
    return json.dumps({"key": [hex(int(string, 2)) for string in values], "value": list(values.values())})
