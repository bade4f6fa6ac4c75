"""Photonic machines behind the cloud: what is refused before it costs anything, and what comes out, beside the exact functions."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import msgspec
import numpy as np
import pytest
from scipy.stats import chi2

from tests.computing.cloud.stores import PATIENCE_S, sqlite
from tests.computing.control.calibrated import calibrated
from tiandi.computing.cloud import users
from tiandi.computing.cloud.dialects.machines import Codes
from tiandi.computing.cloud.jobs import Outcome
from tiandi.computing.cloud.limits import require_fitting
from tiandi.computing.cloud.machines import TwinMachine, open_catalogue, twins
from tiandi.computing.cloud.photonic import NAMES, PhotonicMachine
from tiandi.computing.cloud.pool import ProcessPool, Reader
from tiandi.computing.cloud.schema import create_tables
from tiandi.computing.cloud.server import CloudServer, create_app, listen
from tiandi.computing.cloud.service import Cloud
from tiandi.computing.cloud.worker import Reply, Request, answer
from tiandi.computing.control.sheet import write_sheet
from tiandi.computing.photonics.exact.clicks import click_moments, pattern_probabilities
from tiandi.computing.photonics.foreign import machine_from_matrices
from tiandi.computing.photonics.machines import build_machine, load_machines
from tiandi.computing.photonics.samplers import SAMPLERS
from tiandi.errors import InputError

CATALOGUE = "tests.computing.cloud.test_photonic_jobs:machines"
WEAK, STRONG, COUNTING = "jiuzhang-2.0-0.15w", "jiuzhang-2.0-1.65w", "jiuzhang-3.0"
SPLITTER = [[[0.6, 0.0], [0.0, 0.8]], [[0.0, 0.3], [0.225, 0.0]]]
"""The second mode has less light: the two can be told apart."""


def machines() -> dict[str, PhotonicMachine]:
    return {name: PhotonicMachine(name) for name in (WEAK, STRONG, COUNTING)}


MACHINES = machines()


def ran(machine: str, shots: int = 2000, seed: int = 3, **job: Any) -> Reply:
    request = Request(machine=machine, language=None, compile=False, programs=[json.dumps(job)], shots=shots, seed=seed)
    return answer(MACHINES, request)  # type: ignore[arg-type]


def outcome(machine: str, shots: int = 2000, **job: Any) -> Outcome:
    reply = ran(machine, shots, **job)
    assert (reply.refused, reply.failed) == (None, "")
    return reply.outcomes[0]


def test_every_setting_is_offered_and_says_what_it_is() -> None:
    assert set(NAMES) == set(load_machines())
    offered = twins()
    assert set(NAMES) <= set(offered)
    facts = offered["jiuzhang-3.0"].facts()
    assert (facts["modes"], facts["bins"], facts["kind"]) == (144, 8, "photonic")
    assert facts["title"].endswith("(synthetic)")
    for figure in offered["jiuzhang-4.0"].calibration()["figures"].values():
        assert figure["label"]
        assert figure["source"]
    msgspec.json.encode([offered[name].calibration() for name in NAMES])


def test_clouds_whose_clients_write_circuits_do_not_offer_them() -> None:
    assert set(Codes(twins()).names.values()).isdisjoint(NAMES)


def test_clicks_come_at_the_rates_of_the_machine() -> None:
    modes = [5, 17, 100]
    result = outcome(WEAK, 20_000, sampler="squashed", modes=modes)
    assert (result.qubits, result.engine, result.value_byte) == (modes, "squashed", 0)
    assert "(synthetic)" in result.why
    exact = click_moments(build_machine(WEAK), 1)[modes].ravel()
    seen = result.bits().mean(axis=0)
    # Squashed light has the mean photons of the machine, not quite its clicks.
    assert seen == pytest.approx(exact, abs=4 * np.sqrt(0.25 / 20_000) + 0.01)
    assert sum(result.counts().values()) == 20_000
    assert set(map(len, result.counts())) == {3}


def test_exact_totals_follow_the_machine_and_a_seed_repeats_them() -> None:
    result = outcome(WEAK, 100, sampler="exact", totals=True)
    assert (result.qubits, result.engine) == ([-1], "exact")
    counts = {int(total): number for total, number in result.counts().items()}
    mean = sum(total * number for total, number in counts.items()) / 100
    assert mean == pytest.approx(float(click_moments(build_machine(WEAK), 1).sum()), abs=4 * 3.0 / 10)
    assert outcome(WEAK, 100, sampler="exact", totals=True).rows == result.rows


def test_number_detectors_tell_numbers() -> None:
    result = outcome(COUNTING, 500, sampler="squashed", modes=[0, 1, 2, 3])
    assert result.value_byte == 1
    numbers = [list(map(int, text.split(","))) for text in result.counts()]
    assert 1 < max(map(max, numbers)) <= 8
    assert result.bits().shape == (500, 4)
    totals = outcome(COUNTING, 500, sampler="squashed", totals=True)
    assert max(map(int, totals.counts())) > 50


def test_light_of_the_users_own_goes_through_its_own_interferometer() -> None:
    """All four patterns of two modes against their exact probabilities; false alarm one in a thousand."""
    sheet = load_machines()[WEAK]
    matrix = np.array([[complex(*entry) for entry in row] for row in SPLITTER]) * np.sqrt(sheet.need("transmission"))
    exact = pattern_probabilities(machine_from_matrices(matrix, [0.5, -0.4]), [0, 1])
    result = outcome(WEAK, 20_000, sampler="exact", squeezing_r=[0.5, -0.4], interferometer=SPLITTER)
    numbers = np.zeros(4)
    for text, number in result.counts().items():
        numbers[int(text[0]) + 2 * int(text[1])] = number
    assert ((numbers - 20_000 * exact) ** 2 / (20_000 * exact)).sum() < chi2.isf(1e-3, 3)
    assert "user's light" in result.why
    other = outcome(WEAK, 500, sampler="positive-P", squeezing_r=[0.1] * 50, totals=True)
    assert sum(int(total) * number for total, number in other.counts().items()) / 500 < 1.0


@pytest.mark.parametrize(
    ("machine", "job", "words"),
    [
        (WEAK, {"sampler": "magic"}, "must be one of exact, thermal"),
        (WEAK, {"sampler": "squashed", "modes": [144]}, r"modes = 144"),
        (WEAK, {"sampler": "squashed", "modes": [1, 1]}, "each once"),
        (WEAK, {"sampler": "squashed", "modes": []}, "at least one mode"),
        (WEAK, {"sampler": "squashed", "shots": 3}, "unknown field"),
        (WEAK, {"totals": True}, "sampler"),
        (STRONG, {"sampler": "exact"}, r"would take too long: .* counts and .* s a sample"),
        (WEAK, {"sampler": "squashed", "squeezing_r": [0.6] * 50}, r"squeezing_r = 0.6"),
        (WEAK, {"sampler": "squashed", "squeezing_r": [0.1]}, "one squeezing parameter an input"),
        (WEAK, {"sampler": "squashed", "interferometer": [[[1, 0], [1, 0]]], "squeezing_r": [0.1, 0.1]}, "largest singular value"),
        (WEAK, {"sampler": "squashed", "interferometer": [[[1, 0]], []], "squeezing_r": [0.1]}, "must be a matrix"),
        (WEAK, {"sampler": "squashed", "interferometer": [[[1, 0]]] * 145, "squeezing_r": [0.1]}, "modes of interferometer"),
    ],
)
def test_what_could_never_run_or_costs_too_much_is_refused(machine: str, job: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        MACHINES[machine].prepare(json.dumps(job), None, compile=False)


def test_other_languages_and_broken_programs_are_refused() -> None:
    for program, language, words in (("H Q0", None, "in JSON"), ("{}", "qcis", "must be photonic"), ("[" * 5000, "photonic", "in JSON")):
        with pytest.raises(InputError, match=words):
            MACHINES[WEAK].prepare(program, language, compile=False)
    with pytest.raises(InputError, match="must be photonic"):
        MACHINES[WEAK].is_slow_to_read("{}", "qcis")


def test_too_many_exact_samples_are_refused_with_their_cost() -> None:
    reply = ran(WEAK, 1_000_000, sampler="exact")
    assert reply.refused is not None
    assert "would take" in reply.refused[2]
    assert "s a sample" in reply.refused[2]


def test_every_sampler_of_the_table_is_taken_at_its_word() -> None:
    for name in SAMPLERS:
        assert MACHINES[WEAK].prepare(json.dumps({"sampler": name}), "photonic", compile=True).job.sampler == name


def test_results_fit_what_a_server_holds_at_every_limit() -> None:
    for machine in MACHINES.values():
        for line in machine.limits:
            require_fitting(machine.limits, shots=line.shots, measured=[144] * line.circuits)
            assert line.shots * line.circuits * 144 <= 1 << 27


def test_values_of_any_size_come_back_from_the_store() -> None:
    values = np.array([[0, 255], [3, 0], [0, 255]])
    for width in (1, 2):
        stored = msgspec.msgpack.encode(Outcome.of(values, [4, 2], engine="e", why="w", value_byte=width))
        back = msgspec.msgpack.decode(stored, type=Outcome)
        assert back.counts() == {"0,255": 2, "3,0": 1}
        assert back.bits().tolist() == [[0, 1], [1, 0], [0, 1]]
    old = msgspec.msgpack.encode({"qubits": [0, 1], "shots": 1, "rows": b"\x40", "engine": "e", "why": "w"})
    assert msgspec.msgpack.decode(old, type=Outcome).counts() == {"01": 1}


def test_a_job_goes_through_queue_quota_and_worker(tmp_path: Path) -> None:
    async def whole() -> None:
        database = await sqlite(tmp_path)()
        await create_tables(database)
        await database.run(users.add_user, "anna", users.Quotas(shots_a_day=3000))
        pool = ProcessPool(CATALOGUE, size=1, time_limit_s=60.0, memory_byte=2 << 30)
        cloud = Cloud(database, machines(), reader=Reader(CATALOGUE), runner=pool)  # type: ignore[arg-type]
        await cloud.start()
        server = CloudServer(create_app(cloud), listen(0))
        await server.start()
        headers = {"Authorization": f"Bearer {await database.run(users.add_key, 'anna')}"}
        try:
            async with httpx.AsyncClient(base_url=server.address, headers=headers, timeout=PATIENCE_S, trust_env=False) as client:
                await _ask(client)
        finally:
            await server.stop()
            await cloud.close(grace_s=0.1)

    asyncio.run(whole())


async def _ask(client: httpx.AsyncClient) -> None:
    job = {"machine": WEAK, "programs": [json.dumps({"sampler": "thermal", "modes": [3, 4]})], "shots": 2000, "seed": 5}
    checked = await client.post("/api/v1/check", json=job)
    assert checked.json() == {"measured": [[3, 4]]}
    sent = (await client.post("/api/v1/jobs", json=job)).json()
    async with asyncio.timeout(PATIENCE_S):
        while (state := (await client.get(f"/api/v1/jobs/{sent['id']}")).json()["state"]) in ("queued", "running"):
            await asyncio.sleep(0.02)
    assert state == "completed"
    [result] = (await client.get(f"/api/v1/jobs/{sent['id']}/results")).json()["results"]
    assert (result["qubits"], result["engine"], sum(result["counts"].values())) == ([3, 4], "thermal", 2000)
    assert "thermal" in result["why"].lower()
    assert result["counts"] == ran(WEAK, 2000, 5, sampler="thermal", modes=[3, 4]).outcomes[0].counts()
    await _ask_clicks(client, sent["id"], result["counts"])
    costly = await client.post("/api/v1/jobs", json={**job, "machine": STRONG, "programs": ['{"sampler": "exact"}']})
    assert costly.status_code == 400
    assert "s a sample" in costly.json()["limit"]
    assert (await client.post("/api/v1/jobs", json=job)).status_code == 429
    document = (await client.get("/openapi.json")).json()
    assert set(document["components"]["schemas"]["PhotonicJob"]["properties"]) >= {"sampler", "modes", "totals"}


async def _ask_clicks(client: httpx.AsyncClient, job: str, counts: dict[str, int]) -> None:
    answer = await client.get(f"/api/v1/jobs/{job}/clicks")
    told = answer.json()
    assert answer.status_code == 200, told
    assert (told["job"], told["circuit"], told["shots"], told["engine"], told["modes"]) == (job, 0, 2000, "thermal", [3, 4])
    assert told["totals"]["samples"] == [counts["00"], counts["01"] + counts["10"], counts["11"]]
    document = (await client.get("/openapi.json")).json()
    schema = document["paths"]["/api/v1/jobs/{job}/clicks"]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
    jsonschema.validate(told, {**schema, "components": document["components"]})
    wrong = await client.get(f"/api/v1/jobs/{job}/clicks?first=1")
    assert (wrong.status_code, wrong.json()["field"]) == (400, "first")
    assert (await client.get(f"/api/v1/jobs/{job}/clicks", headers={"Authorization": "Bearer 0"})).status_code == 401
    assert (await client.get("/api/v1/jobs/none/clicks")).status_code == 404


def test_a_machine_that_was_calibrated_here_is_served_from_its_sheet(tmp_path: Path) -> None:
    path = tmp_path / "here.toml"
    write_sheet(path, calibrated(), name="xiaohong-here", now_s=123.4)
    offered = open_catalogue(str(path))
    assert set(offered) == {*twins(), "xiaohong-here"}
    machine = offered["xiaohong-here"]
    assert isinstance(machine, TwinMachine)
    assert machine.facts()["qubits_that_work"] == 10
    program = machine.prepare("Y2P Q0\nY2P Q4\nCZ Q0 Q4\nY2M Q4\nM Q0 Q4", "qcis", compile=False)
    counts = machine.run(program, 500, seed=3, compile=False).counts()
    assert counts["00"] + counts["11"] > 430
    with pytest.raises(InputError, match="cannot be read"):
        open_catalogue(str(tmp_path / "absent.toml"))
