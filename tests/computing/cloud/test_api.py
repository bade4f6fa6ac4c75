"""The cloud's own API, over HTTP and a real server in this process."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import pytest

from tests.computing.cloud import toys
from tests.computing.cloud.stores import PATIENCE_S, audit, cloud, sqlite
from tiandi.computing.cloud import api, service, users
from tiandi.computing.cloud import server as serving
from tiandi.computing.cloud.pool import ProcessPool, Reader, worker_environment
from tiandi.computing.cloud.queue import Taken
from tiandi.computing.cloud.server import CloudServer, create_app, listen, tls_context
from tiandi.computing.cloud.service import Cloud
from tiandi.computing.cloud.users import Quotas
from tiandi.computing.cloud.worker import Reply, Request
from tiandi.errors import InputError, StateError
from tiandi.kms.tls.pki import CertificateAuthority

BELL = {"machine": "dice", "programs": [toys.BELL], "shots": 100}


@dataclass
class Door:
    """A served cloud: a client of anna's, and anna's key."""

    cloud: Cloud
    server: CloudServer
    client: httpx.AsyncClient
    key: str

    async def submit(self, expected: int = 201, **more: Any) -> dict[str, Any]:
        headers = more.pop("headers", {})
        answer = await self.client.post("/api/v1/jobs", json={**BELL, **more}, headers=headers)
        assert answer.status_code == expected, answer.text
        return answer.json()  # type: ignore[no-any-return]

    async def ended(self, job_id: str) -> dict[str, Any]:
        async with asyncio.timeout(PATIENCE_S):
            while (job := (await self.client.get(f"/api/v1/jobs/{job_id}")).json())["state"] in ("queued", "running"):
                await asyncio.sleep(0.02)
        return job  # type: ignore[no-any-return]


@asynccontextmanager
async def door(
    folder: Path, *, workers: int = 0, connection_limit: int = 100, quotas: Quotas | None = None, **more: Any
) -> AsyncIterator[Door]:
    async with cloud(sqlite(folder), "anna", "bert", workers=workers, quotas=quotas, **more) as running:
        server = CloudServer(create_app(running), listen(0), connection_limit=connection_limit)
        await server.start()
        key = await running.database.run(users.add_key, "anna")
        headers = {"Authorization": f"Bearer {key}"}
        async with httpx.AsyncClient(base_url=server.address, headers=headers, timeout=PATIENCE_S, trust_env=False) as client:
            yield Door(running, server, client, key)
        await server.stop()
        await audit(running.database)


def run(folder: Path, work: Callable[[Door], Awaitable[None]], **options: Any) -> None:
    async def whole() -> None:
        async with door(folder, **options) as opened:
            await work(opened)

    asyncio.run(whole())


def test_the_life_of_a_job(tmp_path: Path) -> None:
    async def work(door: Door) -> None:
        job = await door.submit(programs=[toys.BELL, "M Q5"], name="pair", seed=4)
        assert (job["state"], job["circuits"], job["name"]) == ("queued", 2, "pair")
        done = await door.ended(job["id"])
        assert done["state"] == "completed"
        assert done["busy_s"] > 0
        results = (await door.client.get(f"/api/v1/jobs/{job['id']}/results")).json()
        assert [(item["circuit"], item["qubits"], sum(item["counts"].values())) for item in results["results"]] == [
            (0, [0, 1], 100),
            (1, [5], 100),
        ]
        assert results["next"] is None
        rest = (await door.client.get(f"/api/v1/jobs/{job['id']}/results?first=1")).json()
        assert rest["results"] == results["results"][1:]
        assert (await door.client.get(f"/api/v1/jobs/{job['id']}/programs")).json()["programs"][1] == "M Q5"
        again = await door.submit(programs=[toys.BELL, "M Q5"], seed=4)
        await door.ended(again["id"])
        assert (await door.client.get(f"/api/v1/jobs/{again['id']}/results")).json()["results"] == results["results"]
        listed = (await door.client.get("/api/v1/jobs?limit=1")).json()
        assert [item["id"] for item in listed["jobs"]] == [again["id"]]
        second = (await door.client.get(f"/api/v1/jobs?limit=1&before={listed['next']}")).json()
        assert [item["id"] for item in second["jobs"]] == [job["id"]]
        assert (await door.client.get("/api/v1/user")).json()["shots_today"] == 400

    run(tmp_path, work, workers=1)


def test_jobs_that_misbehave_fail_and_say_why(tmp_path: Path) -> None:
    async def work(door: Door) -> None:
        expected = {
            "killer": "its worker died 3 times (signal SIGKILL)",
            "hog": "more memory than a job may have",
            "faulty": "fault of the machine (ZeroDivisionError: a wrong sign)",
            "sleeper-60000": "longer than the 1 s",
            "dice": "",
        }
        jobs = {machine: await door.submit(machine=machine) for machine in expected}
        for machine, reason in expected.items():
            done = await door.ended(jobs[machine]["id"])
            assert done["state"] == ("failed" if reason else "completed")
            assert reason in done["reason"]

    run(tmp_path, work, workers=2, time_limit_s=1.0)


def test_a_job_that_runs_can_be_cancelled_and_leaves_its_worker(tmp_path: Path) -> None:
    async def work(door: Door) -> None:
        job = await door.submit(machine="sleeper-60000")
        async with asyncio.timeout(PATIENCE_S):
            while (await door.client.get(f"/api/v1/jobs/{job['id']}")).json()["state"] != "running":
                await asyncio.sleep(0.02)
        assert (await door.client.post(f"/api/v1/jobs/{job['id']}/cancel")).json()["state"] == "cancelled"
        for what in ("results", "clicks"):
            refused = await door.client.get(f"/api/v1/jobs/{job['id']}/{what}")
            assert (refused.status_code, refused.headers["content-type"]) == (409, "application/problem+json")
        other = await door.submit()
        assert (await door.ended(other["id"]))["state"] == "completed"
        assert (await door.client.post(f"/api/v1/jobs/{other['id']}/cancel")).status_code == 409
        qubits = await door.client.get(f"/api/v1/jobs/{other['id']}/clicks")
        assert (qubits.status_code, qubits.json()["field"], qubits.json()["value"]) == (400, "machine", "dice")

    run(tmp_path, work, workers=1)


@pytest.mark.parametrize(
    ("change", "field", "words"),
    [
        ({"machine": "abacus"}, "machine", "must be one of dice"),
        ({"programs": ["X Q0"]}, "program", "must measure"),
        ({"programs": [toys.BELL, "X Q3\nM Q3"]}, "programs[1]: qubit", "is disabled"),
        ({"programs": ["H Q0\nWHAT Q1\nM Q0"]}, "QCIS line 2", ""),
        ({"shots": 100_001}, "shots", "at most 100000"),
        ({"programs": [toys.BELL] * 51, "shots": 50_001}, "shots", "at most 50000 for 51 circuits"),
        ({"programs": ["\n".join(f"M Q{qubit}" for qubit in range(20) if qubit != 3)], "shots": 60_000}, "shots", "at most 50000"),
        ({"priority": 9}, "priority", "must be at most 5"),
        ({"programs": ["OPENQASM 3.0; nonsense"]}, "", ""),
        ({"shots": 0}, "body", "$.shots"),
        ({"colour": "red"}, "body", "colour"),
        ({"programs": []}, "body", "$.programs"),
    ],
)
def test_what_cannot_be_is_refused_with_field_and_limit(tmp_path: Path, change: dict[str, Any], field: str, words: str) -> None:
    async def work(door: Door) -> None:
        told = await door.submit(400, **change)
        assert told["status"] == 400
        assert told["field"].startswith(field)
        assert words in told["detail"]
        assert (await door.client.get("/api/v1/jobs")).json()["jobs"] == []

    run(tmp_path, work)


def test_quotas_are_told_as_such(tmp_path: Path) -> None:
    async def work(door: Door) -> None:
        await door.submit()
        assert "1 jobs wait, 1 may" in (await door.submit(429))["detail"]

    run(tmp_path, work, quotas=Quotas(most_waiting=1))


def test_a_repeated_request_makes_one_job(tmp_path: Path) -> None:
    async def work(door: Door) -> None:
        headers = {"Idempotency-Key": "once"}
        first = await door.submit(headers=headers)
        assert (await door.submit(200, headers=headers))["id"] == first["id"]
        assert "another job" in (await door.submit(400, headers=headers, shots=3))["detail"]

    run(tmp_path, work)


def test_no_key_opens_nothing_and_is_told_to_nobody(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def work(door: Door) -> None:
        wrong = door.key[:-1] + ("0" if door.key[-1] != "0" else "1")
        for value in ("", "Bearer", f"Basic {door.key}", f"Bearer {wrong}", "Bearer x", f"Bearer {door.key * 50}"):
            for path in ("/api/v1/jobs", "/api/v1/events", "/api/v1/nothing"):
                answer = await door.client.get(path, headers={"Authorization": value})
                assert answer.status_code == 401
                assert answer.headers["www-authenticate"].startswith("Bearer")
                assert door.key[16:-1] not in answer.text
        job = await door.submit()
        bert = await door.cloud.database.run(users.add_key, "bert")
        for path in ("", "/results", "/clicks", "/programs"):
            answer = await door.client.get(f"/api/v1/jobs/{job['id']}{path}", headers={"Authorization": f"Bearer {bert}"})
            assert answer.status_code == 404
        assert (await door.client.get("/healthz", headers={"Authorization": ""})).json() == {"status": "up"}

    caplog.set_level(logging.DEBUG)
    run(tmp_path, work)
    assert not [record for record in caplog.records if record.name.startswith(("tiandi", "uvicorn", "litestar"))]


def test_events_tell_what_becomes_of_jobs_and_what_was_missed(tmp_path: Path) -> None:
    async def work(door: Door) -> None:
        async def read(last: str | None, until: int) -> list[tuple[str, dict[str, Any]]]:
            found: list[tuple[str, dict[str, Any]]] = []
            headers = {} if last is None else {"Last-Event-ID": last}
            async with asyncio.timeout(PATIENCE_S), door.client.stream("GET", "/api/v1/events", headers=headers) as stream:
                assert stream.headers["content-type"] == "text/event-stream"
                reading.set()
                number = ""
                async for line in stream.aiter_lines():
                    if line.startswith("id: "):
                        number = line[4:]
                    if line.startswith("data: "):
                        found.append((number, json.loads(line[6:])))
                        if sum(job["state"] in ("completed", "cancelled") for _, job in found) == until:
                            return found
            raise AssertionError("the stream ended")

        reading = asyncio.Event()
        following = asyncio.create_task(read(None, 2))
        await reading.wait()
        jobs = {(await door.submit(machine="sleeper-20"))["id"] for _ in range(2)}
        told = await following
        assert {job["id"] for _, job in told} == jobs
        assert [int(number) for number, _ in told] == sorted({int(number) for number, _ in told})
        missed = await read("0", 2)
        assert [job["state"] for _, job in missed] == ["completed"] * 2
        later = await read(missed[0][0], 1)
        assert [job["id"] for _, job in later] == [missed[1][1]["id"]]

    run(tmp_path, work, workers=1)


def test_hostile_requests_are_refused(tmp_path: Path) -> None:
    async def work(door: Door) -> None:
        post = door.client.post
        assert (await post("/api/v1/jobs", content=b"{" * 10_000, headers={"Content-Type": "application/json"})).status_code == 400
        assert (await post("/api/v1/jobs", content=b"x" * ((8 << 20) + 1), headers={"Content-Type": "application/json"})).status_code == 413
        assert (await post("/api/v1/jobs", content=b"{}", headers={"Content-Type": "text/plain"})).status_code == 415
        assert (await post("/api/v1/jobs", content=b"\xff\xfe", headers={"Content-Type": "application/json"})).status_code == 400
        assert (await door.client.put("/api/v1/jobs")).status_code == 405
        for path in ("/api/v1/jobs?limit=0", "/api/v1/jobs?limit=x", "/api/v1/jobs?state=odd", "/api/v1/jobs?a=1", "/api/v1/user?a=1"):
            assert (await door.client.get(path)).status_code == 400
        for path in ("/nothing", "/api/v1/jobs/x", "/api/v1/machines/x", "/api/v1/jobs/%ff", "/api/v1//jobs", "/api/v1/jobs/x/results"):
            answer = await door.client.get(path)
            assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json"), path

    run(tmp_path, work)


def test_those_who_only_connect_make_room(tmp_path: Path) -> None:
    async def work(door: Door) -> None:
        port = int(door.server.address.rpartition(":")[2])
        idle = [socket.create_connection(("127.0.0.1", port)) for _ in range(40)]
        await asyncio.sleep(0.1)
        assert door.server.connection_count <= 10
        await door.submit()
        idle[-1].sendall(b"GET /healthz HTTP/1.1\r\nX: " + b"x" * 100_000)
        await asyncio.sleep(0.2)
        await door.submit()
        for connection in idle:
            connection.close()

    run(tmp_path, work, connection_limit=10)


def test_who_never_finishes_a_request_is_cut_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "REQUEST_TIMEOUT_S", 0.2)

    async def work(door: Door) -> None:
        port = int(door.server.address.rpartition(":")[2])
        begun = f"POST /api/v1/jobs HTTP/1.1\r\nAuthorization: Bearer {door.key}\r\nContent-Length: 10\r\n\r\n"
        for beginning in (b"", b"GET /healthz HT", begun.encode()):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(beginning)
            async with asyncio.timeout(5):
                try:
                    while await reader.read(1000):
                        pass
                except ConnectionResetError:
                    pass
            writer.close()

    run(tmp_path, work)


def test_a_stranger_keeps_no_connection_by_ending_a_request_after_its_answer(tmp_path: Path) -> None:
    async def work(door: Door) -> None:
        port = int(door.server.address.rpartition(":")[2])
        writers = []
        for _ in range(20):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"POST /api/v1/jobs HTTP/1.1\r\nContent-Length: 3\r\n\r\n")
            assert (await reader.read(1000)).startswith(b"HTTP/1.1 401")
            writer.write(b"abc")
            writers.append(writer)
        await asyncio.sleep(0.1)
        await door.submit()
        for writer in writers:
            writer.close()

    run(tmp_path, work, connection_limit=10)


def test_thousands_of_requests_in_one_breath_are_not_taken_up(tmp_path: Path) -> None:
    async def work(door: Door) -> None:
        port = int(door.server.address.rpartition(":")[2])
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /healthz HTTP/1.1\r\n\r\n" * 5000)
        async with asyncio.timeout(5):
            told = b""
            with suppress(ConnectionError):
                while more := await reader.read(1 << 16):
                    told += more
        assert told.count(b"HTTP/1.1 200") <= serving.PIPELINE_LIMIT + 1
        writer.close()
        await door.submit()

    run(tmp_path, work)


async def _pour(writer: asyncio.StreamWriter, more: bytes) -> None:
    for _ in range(10_000):
        writer.write(more)
        await writer.drain()
        await asyncio.sleep(0)


def test_headers_behind_a_body_take_no_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "MESSAGE_LIMIT_BYTE", 1 << 20)

    async def work(door: Door) -> None:
        port = int(door.server.address.rpartition(":")[2])
        begun = b"POST /api/v1/jobs HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n"
        for more in (b"x: y\r\n" * 1000, b"y" * 10_000):  # Many, and one without end.
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(begun)
            await asyncio.sleep(0.1)
            [connection] = [member for member in door.server._crowd.members if member.client == writer.get_extra_info("sockname")]
            with pytest.raises(ConnectionError):
                await _pour(writer, more)
            assert len(connection.headers) == 1
            writer.close()

    run(tmp_path, work)


def test_a_stream_that_nobody_reads_is_broken_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "TAKE_TIMEOUT_S", 0.2)

    async def work(door: Door) -> None:
        for _ in range(4):
            await door.submit(name="n" * 200)
        jobs = await door.cloud.jobs("anna")

        async def follow(owner: str, after: int, ping_s: float) -> AsyncIterator[list[Any]]:
            while True:
                yield jobs * 100

        monkeypatch.setattr(door.cloud, "follow", follow)
        port = int(door.server.address.rpartition(":")[2])
        before = door.server.connection_count
        with socket.create_connection(("127.0.0.1", port)) as deaf:
            deaf.sendall(f"GET /api/v1/events HTTP/1.1\r\nAuthorization: Bearer {door.key}\r\n\r\n".encode())
            async with asyncio.timeout(5):
                while door.server.connection_count == before:
                    await asyncio.sleep(0.01)
                while door.server.connection_count > before:
                    await asyncio.sleep(0.01)

    run(tmp_path, work)


def test_a_fault_ends_no_slot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Too many open files when a worker is to be started, then a result that cannot be kept: the jobs behind are done."""

    async def work(door: Door) -> None:
        monkeypatch.setattr(service, "AGAIN_S", 0.05)
        runner = door.cloud._runner
        assert isinstance(runner, ProcessPool)
        asked = runner.run

        async def run_badly(taken: Taken) -> Reply:
            if not faults:
                return await asked(taken)
            if isinstance(fault := faults.pop(0), Exception):
                raise fault
            return fault

        faults: list[Exception | Reply] = [OSError(24, "Too many open files"), Reply(outcomes=[object()])]  # type: ignore[list-item]
        monkeypatch.setattr(runner, "run", run_badly)
        job = await door.ended((await door.submit())["id"])
        assert (job["state"], job["reason"]) == ("failed", "its result cannot be kept")
        assert (await door.ended((await door.submit())["id"]))["state"] == "completed"

    run(tmp_path, work, workers=1)


def test_workers_know_no_password_of_the_store(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIANDI_CLOUD_STORE", "postgresql://cloud:secret@db/cloud")
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    environment = worker_environment()
    assert not any("secret" in value for value in environment.values())
    assert environment["OMP_NUM_THREADS"] == "2"
    assert environment["PATH"]


def test_nobody_keeps_others_from_the_reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Slow programs of one user wait for each other; another's is read after at most one of them."""

    async def work() -> None:
        reader, read = Reader(toys.CATALOGUE), []

        async def ask(request: Request, timeout_s: float) -> Reply:
            await asyncio.sleep(0.01)
            read.append(request.machine)
            return Reply(measured=[[0]])

        monkeypatch.setattr(reader.worker, "ask", ask)
        flood = [asyncio.create_task(reader.measured("annas", None, ["x"], compile=False, owner="anna")) for _ in range(12)]
        await asyncio.sleep(0)
        await reader.measured("berts", None, ["x"], compile=False, owner="bert")
        assert read == ["annas", "berts"]
        told = await asyncio.gather(*flood, return_exceptions=True)
        assert sum(isinstance(each, StateError) for each in told) == 4

    asyncio.run(work())


def test_tls_by_certificate_files(tmp_path: Path) -> None:
    credentials = CertificateAuthority(tmp_path / "pki").issue("kme", "cloud")

    async def work() -> None:
        async with cloud(sqlite(tmp_path), "anna", workers=0) as running:
            context = tls_context(credentials.certificate, credentials.private_key)
            server = CloudServer(create_app(running), listen(0, protected=True), context=context)
            await server.start()
            trusting = ssl.create_default_context(cafile=str(credentials.authority))
            trusting.check_hostname = False
            trusting.verify_flags &= ~ssl.VERIFY_X509_STRICT if hasattr(ssl, "VERIFY_X509_STRICT") else trusting.verify_flags
            async with httpx.AsyncClient(base_url=server.address, verify=trusting, trust_env=False) as client:
                assert (await client.get("/healthz")).status_code == 200
            await server.stop()

    asyncio.run(work())


def test_peers_that_never_shake_hands_have_a_limit(tmp_path: Path) -> None:
    credentials = CertificateAuthority(tmp_path / "pki").issue("kme", "cloud", hosts=("127.0.0.1",))

    async def work() -> None:
        async with cloud(sqlite(tmp_path), "anna", workers=0) as running:
            context = tls_context(credentials.certificate, credentials.private_key)
            server = CloudServer(create_app(running), listen(0, protected=True), context=context, connection_limit=8)
            await server.start()
            place = httpx.URL(server.address)
            silent = [await asyncio.open_connection(place.host, place.port) for _ in range(20)]
            async with asyncio.timeout(5.0):
                for reader, _ in silent[:12]:  # Long before their time is over.
                    with suppress(ConnectionResetError):
                        assert await reader.read() == b""
            trusting = ssl.create_default_context(cafile=str(credentials.authority))
            async with httpx.AsyncClient(base_url=server.address, verify=trusting, trust_env=False) as client:
                assert (await client.get("/healthz")).status_code == 200
            assert not silent[-1][0].at_eof()
            await server.stop()
            for _, writer in silent:
                writer.close()

    asyncio.run(work())


def test_only_with_tls_do_others_reach_it() -> None:
    with pytest.raises(InputError, match="needs --certificate"):
        listen(0, "0.0.0.0")
    taken = listen(0)
    taken.listen()
    with pytest.raises(StateError, match="choose a free port"):
        listen(taken.getsockname()[1])
    taken.close()
    with pytest.raises(InputError, match="cannot be used"):
        tls_context(Path("nowhere.crt"), Path("nowhere.key"))


def test_answers_are_as_the_document_says(tmp_path: Path) -> None:
    """Every operation that reads, and each kind of refusal, beside its schema; Schemathesis asks the rest."""

    async def work(door: Door) -> None:
        document = (await door.client.get("/openapi.json")).json()
        job = await door.submit()
        await door.ended(job["id"])
        names = {"machine": "dice", "job": job["id"]}
        asked = 0
        for path, methods in document["paths"].items():
            # The stream has no end, and dice no clicks: those of light are held against their schema where photonic jobs are tested.
            if "get" not in methods or path in ("/api/v1/events", "/api/v1/jobs/{job}/clicks"):
                continue
            answer = await door.client.get(path.format(**names))
            assert answer.status_code == 200, path
            schema = methods["get"]["responses"]["200"]["content"]["application/json"]["schema"]
            jsonschema.validate(answer.json(), {**schema, "components": document["components"]})
            asked += 1
        assert asked >= 10
        problem = document["components"]["responses"]["400"]["content"]["application/problem+json"]["schema"]
        jsonschema.validate(await door.submit(400, shots=200_000), {**problem, "components": document["components"]})

    run(tmp_path, work, workers=1)
