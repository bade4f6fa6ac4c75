"""The dialects' shapes over HTTP, without the clients: what of them the clients do not show."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.computing.cloud import toys
from tests.computing.cloud.stores import PATIENCE_S, OpenDatabase, cloud, sqlite, store
from tiandi.computing.cloud import dialects, users
from tiandi.computing.cloud.dialects import chips, experiments, saved, shots, tokens
from tiandi.computing.cloud.dialects.experiments import task_id, task_of
from tiandi.computing.cloud.dialects.machines import Codes, configuration
from tiandi.computing.cloud.dialects.tokens import Tokens
from tiandi.computing.cloud.limits import ORIGIN, TIANYAN
from tiandi.computing.cloud.machines import TwinMachine
from tiandi.computing.cloud.server import CloudServer, create_app, listen
from tiandi.computing.cloud.service import Cloud
from tiandi.errors import InputError, NotAuthorised

SDK = "/qccp-quantum/sdk"
LOGIN = "/qccp-auth/oauth2/sdk/opnId"
FLIP = "X Q0\nM Q1 Q0"


@dataclass
class Door:
    """A served cloud of toys, with a client of anna's who has logged in."""

    cloud: Cloud
    client: httpx.AsyncClient
    keys: dict[str, str]

    async def log_in(self, key: str, path: str = LOGIN) -> dict[str, Any]:
        form = {"grant_type": "openId", "openId": key, "account_type": "member"}
        return (await self.client.post(path, data=form)).json()  # type: ignore[no-any-return]

    async def post(self, path: str, body: Any, **headers: str) -> dict[str, Any]:
        given = await self.client.post(SDK + path, json=body, headers=headers)
        assert given.status_code == 200, given.text
        return given.json()  # type: ignore[no-any-return]

    async def submit(self, *programs: str, machine: str = "dice", **more: Any) -> list[str]:
        body = {"circuit": list(programs) or [FLIP], "computerCode": machine, "shots": 20, "language": "qcis", **more}
        given = await self.post("/experiment/submit", body)
        assert given["code"] == 0, given
        return given["data"]["query_ids"]  # type: ignore[no-any-return]

    async def ended(self, tasks: list[str]) -> list[dict[str, Any]]:
        async with asyncio.timeout(PATIENCE_S):
            while True:
                found = (await self.post("/experiment/result/find", {"query_ids": tasks}))["data"]["experimentResultModelList"]
                if len(found) == len(tasks):
                    return found  # type: ignore[no-any-return]
                await asyncio.sleep(0.02)

    async def origin(self, path: str, body: Any, key: str | None = None) -> Any:
        headers = {"Authorization": f"oqcs_auth={key or self.keys['anna']}"}
        return (await self.client.post(f"/oqcs/task/{path}", json=body, headers=headers)).json()


@asynccontextmanager
async def door(folder: Path, *, workers: int = 0) -> AsyncIterator[Door]:
    async with cloud(sqlite(folder), "anna", "bert", workers=workers) as running:
        server = CloudServer(create_app(running, *dialects.routes(running)), listen(0), connection_limit=50)
        await server.start()
        keys = {name: await running.database.run(users.add_key, name) for name in ("anna", "bert")}
        async with httpx.AsyncClient(base_url=server.address, timeout=PATIENCE_S, trust_env=False) as client:
            opened = Door(running, client, keys)
            token = (await opened.log_in(keys["anna"]))["data"]["access_token"]
            client.headers["Authorization"] = f"Bearer {token}"
            yield opened
        await server.stop()


def run(folder: Path, work: Callable[[Door], Awaitable[None]], **options: Any) -> None:
    async def whole() -> None:
        async with door(folder, **options) as opened:
            await work(opened)

    asyncio.run(whole())


def test_a_token_is_no_key_and_ends_with_it(tmp_path: Path) -> None:
    async def work(door: Door) -> None:
        for path in (LOGIN, "/api-uaa/oauth/token"):
            given = await door.log_in(door.keys["anna"], path)
            assert given["code"] == 0
            assert given["data"]["expires_in"] == 1800
            assert door.keys["anna"] not in json.dumps(given)
            refused = await door.log_in("f" * 64, path)
            assert (refused["code"], refused["data"]) == (401, None)
            assert "f" * 64 not in json.dumps(refused)
        assert (await door.client.get(SDK + "/quantumComputer/list")).status_code == 200
        # The key itself is no token, and neither is anything else.
        for wrong in (door.keys["anna"], "nonsense", "0" * 64):
            given = await door.client.get(SDK + "/quantumComputer/list", headers={"Authorization": f"Bearer {wrong}"})
            assert given.status_code == 401
        await door.cloud.database.run(users.revoke_key, door.keys["anna"][:16])
        assert (await door.client.get(SDK + "/quantumComputer/list")).status_code == 401

    run(tmp_path, work)


def test_old_tokens_end_and_make_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(door: Door) -> None:
        known = Tokens(door.cloud)
        monkeypatch.setattr(tokens, "MOST_OF_ONE", 3)
        given = [await known.log_in(door.keys["anna"]) for _ in range(4)]
        berts = await known.log_in(door.keys["bert"])
        with pytest.raises(NotAuthorised, match="log in again"):
            await known.authenticate(given[0])
        assert [await known.authenticate(token) for token in (*given[1:], berts)] == ["anna", "anna", "anna", "bert"]
        monkeypatch.setattr(tokens, "MOST_TOKENS", 3)
        await known.log_in(door.keys["bert"])
        with pytest.raises(NotAuthorised):
            await known.authenticate(given[1])
        monkeypatch.setattr(tokens, "LIFETIME_S", -1.0)
        old = await known.log_in(door.keys["anna"])
        with pytest.raises(NotAuthorised):
            await known.authenticate(old)
        with pytest.raises(NotAuthorised):
            await known.log_in("f" * 64)

    run(tmp_path, work)


def test_results_come_in_the_order_asked_for(tmp_path: Path) -> None:
    async def work(door: Door) -> None:
        first, second = await door.submit(FLIP, "X Q0\nM Q0"), await door.submit("H Q2\nM Q2 Q0 Q1")
        wanted = [first[1], second[0], first[0]]
        found = await door.ended(wanted)
        assert [item["experimentTaskId"] for item in found] == wanted
        assert [item["resultStatus"][0] for item in found] == [[0], [2, 0, 1], [1, 0]]
        for item in found:
            rows = item["resultStatus"][1:]
            assert len(rows) == 20
            counted: dict[str, float] = {}
            for row in rows:
                string = "".join(map(str, reversed(row)))
                counted[string] = counted.get(string, 0) + 1 / 20
            assert json.loads(item["probability"]) == pytest.approx(counted)
        circuits = (await door.post("/experiment/getQcis/by/taskIds", {"query_ids": wanted}))["data"]
        assert [item["qcis"] for item in circuits] == ["X Q0\nM Q0", "H Q2\nM Q2 Q0 Q1", FLIP]
        # A task of a job of many circuits, far from its beginning.
        many = await door.submit(*[f"X Q{number % 3}\nM Q{number % 3}" for number in range(100)])
        assert [item["resultStatus"][0] for item in await door.ended([many[99], many[1]])] == [[0], [1]]

    run(tmp_path, work, workers=1)


def test_a_failed_task_says_why(tmp_path: Path) -> None:
    async def work(door: Door) -> None:
        tasks = await door.submit(FLIP, machine="faulty")
        (item,) = await door.ended(tasks)
        assert item["status"] == -1
        assert "a wrong sign" in item["errorMessage"]
        assert "resultStatus" not in item
        refused = await door.post("/experiment/result/find", {"query_ids": tasks}, apiCode="config")
        assert (refused["code"], refused["data"]) == (409, None)
        assert "a wrong sign" in refused["msg"]

    run(tmp_path, work, workers=1)


def test_waiting_cancelling_and_running_again(tmp_path: Path) -> None:
    async def work(door: Door) -> None:
        lab = (await door.post("/experiment/save", {"name": "mine", "remark": ""}))["data"]["lab_id"]
        (task,) = await door.submit(lab_id=int(lab))
        assert (await door.post("/experiment/result/find", {"query_ids": [task]}))["data"] == {"experimentResultModelList": []}
        (again,) = (await door.post("/experiment/resubmit", {"lab_id": lab, "query_id": None}))["data"]
        cancelled = await door.client.post("/experiment/sdk/experiment/discontinue", json={"query_id": int(task), "lab_id": None})
        assert cancelled.json()["data"] == task
        assert (await door.cloud.job("anna", task_of(task)[0])).state == "cancelled"
        rest = await door.client.post("/experiment/sdk/experiment/discontinue", json={"query_id": None, "lab_id": lab})
        assert rest.json()["data"] == [again]
        (item,) = (await door.post("/experiment/result/find", {"query_ids": again}))["data"]["experimentResultModelList"]
        assert item["errorMessage"] == "cancelled by its user"

        saved_one = {"inputCode": FLIP, "lab_id": lab, "languageCode": "qcis", "name": "n", "computerCode": "dice"}
        number = (await door.post("/experiment/detail/save", saved_one))["data"]["exp_id"]
        ran = (await door.post("/experiment/detail/run", {"exp_id": number, "shots": 5}))["data"]["query_id"]
        assert (await door.cloud.programs("anna", task_of(ran)[0])) == [FLIP]
        assert (await door.cloud.job("anna", task_of(ran)[0])).shots == 5

        # Nothing of anna's is bert's.
        token = (await door.log_in(door.keys["bert"]))["data"]["access_token"]
        berts = {"Authorization": f"Bearer {token}"}
        for path, body in (
            ("/experiment/result/find", {"query_ids": [ran]}),
            ("/experiment/getQcis/by/taskIds", {"query_ids": [ran]}),
            ("/experiment/resubmit", {"query_id": ran}),
            ("/experiment/resubmit", {"lab_id": lab}),
            ("/experiment/discontinue", {"query_id": ran}),
            ("/experiment/detail/run", {"exp_id": number}),
            ("/experiment/submit", {"circuit": FLIP, "computerCode": "dice", "lab_id": lab}),
        ):
            given = await door.post(path, body, **berts)
            assert given["code"] in (400, 404), given
            assert "no " in given["msg"]

    run(tmp_path, work)


def test_what_is_refused(tmp_path: Path) -> None:
    async def work(door: Door) -> None:
        usual = {"circuit": [FLIP], "computerCode": "dice", "shots": 10}
        for change, words in (
            ({"shots": 0}, ">= 1"),
            ({"shots": 1 << 40}, "<= 1000000"),
            ({"circuit": []}, "1 to 600"),
            ({"circuit": [FLIP] * 601}, "1 to 600"),
            ({"circuit": None}, "exp_id"),
            ({"language": "quingo"}, "must be qcis"),
            ({"computerCode": None}, "dice"),
            ({"circuit": ["X Q3\nM Q3"]}, "is disabled"),
            ({"circuit": [FLIP, "X Q0"]}, "programs[1]"),
            ({"quantumState": 3}, "quantumState"),
            ({"lab_id": "12"}, "no such laboratory"),
            ({"shots": "many"}, "body"),
        ):
            given = await door.post("/experiment/submit", usual | change)
            assert given["code"] == 400, given
            assert words in given["msg"], given
        for wrong in ("x", "12", "9" * 60, [], ["1"] * 51, [task_id("0" * 32, 0)]):
            given = await door.post("/experiment/result/find", {"query_ids": wrong})
            assert given["code"] in (400, 404)
        (task,) = await door.submit()
        assert "has 1 circuits" in (await door.post("/experiment/result/find", {"query_ids": [task[:-3] + "001"]}))["msg"]
        for method, path, status in (
            ("GET", "/experiment/submit", 405),
            ("POST", "/quantumComputer/list", 405),
            ("POST", "/experiment/nothing", 404),
            ("POST", "/experiment/download/config/dice", 405),
        ):
            assert (await door.client.request(method, SDK + path)).status_code == status
        waves = await door.client.get("/experiment/sdk/getWaveformDiagram?id=1")
        assert waves.headers["content-type"] == "application/json"
        assert "no pickles" in waves.json()["msg"]
        unknown = await door.client.get(SDK + "/experiment/download/config/nothing")
        assert (unknown.status_code, unknown.json()["code"]) == (200, 400)

    run(tmp_path, work)


def test_the_webs_door_needs_no_login(tmp_path: Path) -> None:
    async def work(door: Door) -> None:
        del door.client.headers["Authorization"]
        base = "/qccp-quantum/experiments/quantum/computer"
        listed = (await door.client.get(f"{base}/by/user?a=1&apiCode=byUser")).json()
        assert listed["code"] == 200
        (dice,) = [machine for machine in listed["data"] if machine["code"] == "dice"]
        assert (dice["bitWidth"], dice["disabledQubits"]) == (toys.QUBITS, "Q3")
        layout = (await door.client.get(f"{base}/config?a=1&type=overview&quantumComputerId={dice['id']}&label=qubits")).json()
        assert layout["data"]["qubits"] == [f"Q{number}" for number in range(toys.QUBITS)]
        wrong = (await door.client.get(f"{base}/config?quantumComputerId=99")).json()
        assert wrong["code"] == 400
        assert "quantumComputerId" in wrong["message"]
        assert (await door.client.get(f"{base}/else")).status_code == 404

    run(tmp_path, work)


def test_origin_tasks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = toys.Toy.facts
    monkeypatch.setattr(
        toys.Toy, "facts", lambda toy: {**plain(toy), "maker": "Origin Quantum" if toy.name in ("dice", "faulty") else "else"}
    )
    program = "QINIT 2\nCREG 2\nX q[0]\nMEASURE q[0],c[0]\nMEASURE q[1],c[1]"
    usual = {"QProg": [program], "QMachineType": "5", "ChipID": "dice", "Configuration": {"shot": 50, "amendFlag": 0, "mappingFlag": False}}

    async def ended(door: Door, task: str) -> dict[str, Any]:
        async with asyncio.timeout(PATIENCE_S):
            while (found := (await door.origin("origin/taskDetail.json", {"taskId": task}))["obj"])["taskState"] in ("2", "5"):
                await asyncio.sleep(0.02)
        return found  # type: ignore[no-any-return]

    async def work(door: Door) -> None:
        listed = await door.client.get("/oqcs/task/getResourceList.json", headers={"Authorization": f"oqcs_auth={door.keys['anna']}"})
        assert [machine["sinanChipId"] for machine in listed.json()] == ["dice", "faulty"]
        for authorization in (f"oqcs_auth={'f' * 64}", f"Bearer {door.keys['anna']}", ""):
            given = await door.client.get("/oqcs/task/getResourceList.json", headers={"Authorization": authorization})
            assert given.status_code == 401
        done = await ended(door, (await door.origin("origin/submit.json", usual))["obj"]["taskId"])
        counts = json.loads(done["probCount"][0])
        assert (done["taskState"], sum(counts["value"]), done["measureQubitSize"]) == ("3", 50, [2])
        assert json.loads(done["taskResult"][0])["value"] == pytest.approx([number / 50 for number in counts["value"]])
        failed = await ended(door, (await door.origin("origin/submit.json", {**usual, "ChipID": "faulty"}))["obj"]["taskId"])
        assert (failed["taskState"], failed["errCode"]) == ("4", 1)
        assert "a wrong sign" in failed["errInfo"]
        again = await door.origin("cancelTask.json", {"taskId": done["taskId"]})
        assert (again["success"], again["code"]) == (False, 409)
        assert not (await door.origin("origin/taskDetail.json", {"taskId": done["taskId"]}, door.keys["bert"]))["success"]
        for change, words in (
            ({"QMachineType": "0"}, "QMachineType"),
            ({"ChipID": "killer"}, "dice"),
            ({"QProg": []}, "OriginIR"),
            ({"QProg": ["QINIT 1\nBAD q[0]"]}, "line 2"),
            ({"Configuration": {"shot": 0}}, ">= 1"),
            ({"Configuration": {"shot": 5, "specified_block": [1, 2]}}, "specified_block"),
        ):
            given = await door.origin("origin/submit.json", usual | change)
            assert (given["success"], given["code"]) == (False, 400), given
            assert words in given["message"], given
        assert (
            await door.client.post("/oqcs/task/nothing", headers={"Authorization": f"oqcs_auth={door.keys['anna']}"})
        ).status_code == 404

    run(tmp_path, work, workers=1)


def test_an_origin_task_that_waits_can_be_cancelled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(toys.Toy, "facts", lambda toy: {"name": toy.name, "qubits": toys.QUBITS, "maker": "Origin Quantum"})
    usual = {"QProg": "QINIT 1\nCREG 1\nMEASURE q[0],c[0]", "ChipID": "dice", "Configuration": {"shot": 50}}

    async def work(door: Door) -> None:
        task = (await door.origin("origin/submit.json", usual))["obj"]["taskId"]
        assert (await door.origin("origin/taskDetail.json", {"taskId": task}))["obj"]["taskState"] == "5"
        assert (await door.origin("cancelTask.json", {"taskId": task}))["success"]
        assert (await door.origin("origin/taskDetail.json", {"taskId": task}))["obj"]["errInfo"] == "cancelled by its user"

    run(tmp_path, work)


def test_the_latest_of_what_is_saved_is_kept(opened: OpenDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(saved, "MOST_KEPT", 3)

    async def whole() -> None:
        async with store(opened, "anna", "bert") as database:
            await saved.create_tables(database)
            await saved.create_tables(database)
            labs = [await database.run(saved.add_lab, "anna", f"lab {number}") for number in range(5)]
            berts = await database.run(saved.add_lab, "bert", "lab")
            assert len({*labs, berts}) == 6
            for lab in labs[:2]:
                with pytest.raises(InputError, match="no such laboratory"):
                    await database.read(saved.require_lab, "anna", lab)
            with pytest.raises(InputError, match="no such laboratory"):
                await database.read(saved.require_lab, "anna", berts)
            kept = saved.Experiment(labs[4], "dice", "n", FLIP)
            number = await database.run(saved.add_experiment, "anna", kept)
            assert await database.read(saved.find_experiment, "anna", number) == kept
            with pytest.raises(InputError, match="no such experiment"):
                await database.read(saved.find_experiment, "bert", number)
            with pytest.raises(InputError, match="bytes to be saved"):
                await database.run(saved.add_experiment, "anna", saved.Experiment("", "dice", "n", "H" * (saved.MOST_PROGRAM_BYTE + 1)))
            for job in ("a", "b"):
                await database.run(saved.add_run, "anna", labs[4], job)
            assert await database.read(saved.runs_of, "anna", labs[4]) == ["a", "b"]

    asyncio.run(whole())


@given(st.integers(1, 16**32 - 1), st.integers(0, 599))
def test_a_task_is_its_job_and_circuit(job: int, circuit: int) -> None:
    text = f"{job:032x}"
    assert task_of(task_id(text, circuit)) == task_of(int(task_id(text, circuit))) == (text, circuit)


@settings(deadline=None)
@given(st.integers(1, 40), st.integers(1, 30), st.integers(0, 2**32 - 1))
def test_the_table_of_shots_is_json(count: int, measured: int, seed: int) -> None:
    bits = np.random.default_rng(seed).integers(0, 2, (count, measured), dtype=np.uint8)
    assert json.loads(b"[[]" + shots.table(bits) + b"]")[1:] == bits.tolist()


def test_readout_errors_are_taken_out() -> None:
    machine = TwinMachine("origin-wukong", ORIGIN)
    calibration = machine.calibration()
    qubits = [7, 1, 12]
    ideal = np.random.default_rng(5).dirichlet(np.ones(8))
    confusion = np.ones((1, 1))
    for qubit in reversed(qubits):  # The first qubit is the least significant bit.
        entry = calibration["qubits"][qubit]
        a, b = entry["one_for_zero"], entry["zero_for_one"]
        confusion = np.kron(confusion, np.array([[1 - a, b], [a, 1 - b]]))
    read = {f"{place:03b}": round(share * 10**9) for place, share in enumerate(confusion @ ideal)}
    given = chips.corrected(read, qubits, calibration)
    assert [given[f"{place:03b}"] for place in range(8)] == pytest.approx(ideal.tolist(), abs=1e-7)
    assert chips.corrected({"10": 4}, [-1, -1], calibration) == {"10": 1.0}
    assert sum(chips.corrected({"0": 1}, [3], calibration).values()) == pytest.approx(1.0)


def test_best_blocks_hold_together() -> None:
    calibration = TwinMachine("origin-wukong", ORIGIN).calibration()
    for entry in calibration["qubits"][:6]:
        entry["works"] = False
    couplers = {frozenset(entry["qubits"]) for entry in calibration["couplers"]}
    found = chips.blocks(calibration, 5, 4)
    assert len(found) == 4
    for block in found:
        reached, todo = {block[0]}, [block[0]]
        while todo:
            more = {other for other in block if frozenset((todo[-1], other)) in couplers} - reached
            todo = [*todo[:-1], *more]
            reached |= more
        assert reached == set(block)
        assert min(block) > 5
    # The best single qubit is the one with the least error.
    cost = {entry["qubit"]: entry["readout_error"] + entry["single_qubit_error"] for entry in calibration["qubits"] if entry["works"]}
    assert chips.blocks(calibration, 1, 1) == [[min(cost, key=cost.__getitem__)]]
    for size, count in ((0, 1), (67, 1), (2, 0), (2, 101)):
        with pytest.raises(InputError):
            chips.blocks(calibration, size, count)


def test_the_calibration_file_says_what_the_twin_has() -> None:
    machine = TwinMachine("tianyan-176", TIANYAN)
    codes = Codes({machine.name: machine, "zuchongzhi-2.1": TwinMachine("zuchongzhi-2.1", TIANYAN)})
    assert codes.names == {"tianyan176": "tianyan-176", "zuchongzhi-2-1": "zuchongzhi-2.1"}
    file, own = configuration("tianyan176", machine), machine.calibration()
    assert file["qubit"]["relatime"]["T1"]["unit"] == "us"
    assert file["qubit"]["relatime"]["T1"]["param_list"] == pytest.approx([1e6 * entry["t1_s"] for entry in own["qubits"]])
    assert file["qubit"]["frequency"]["f01"]["param_list"][4] == pytest.approx(own["qubits"][4]["frequency_hz"] / 1e6)
    assert len(file["overview"]["couplers"]) == 110
    for kind, name in (("czGate", "gate error"), ("czGate", "coupling strength")):
        assert len(file["twoQubitGate"][kind][name]["param_list"]) == len(file["twoQubitGate"][kind][name]["qubit_used"]) == 110
    readout = file["readout"]["readoutArray"]
    both = (np.array(readout["|0> readout fidelity"]["param_list"]) + readout["|1> readout fidelity"]["param_list"]) / 2
    assert both == pytest.approx(1 - np.array(readout["Readout Error"]["param_list"]))
    with pytest.raises(InputError, match="tianyan176"):
        codes.machine("tianyan504")


def test_an_answer_of_shots_has_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shots, "MOST_BYTE", 200)
    monkeypatch.setattr(experiments, "_CHUNK_BYTE", 1)

    async def work(door: Door) -> None:
        tasks = await door.submit(FLIP, FLIP)
        assert len(await door.ended(tasks[:1])) == 1
        refused = await door.post("/experiment/result/find", {"query_ids": tasks})
        assert (refused["code"], refused["msg"].split(" =")[0]) == (400, "query_ids")

    run(tmp_path, work, workers=1)
