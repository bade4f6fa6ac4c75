"""KMEs as processes: from files to keys, and through every way of stopping one."""

from __future__ import annotations

import asyncio
import json
import signal
import stat
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.kms.kme_processes import PATIENCE_S, Pair, Process
from tests.kms.postgres import postgres_server
from tests.ports import free_port
from tiandi.control.controller import controlled
from tiandi.errors import InputError, RemoteRefused, StateError
from tiandi.kms.operating.configuration import read_configuration
from tiandi.kms.operating.service import Service
from tiandi.kms.tls.calling import client


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    with Pair(tmp_path_factory.mktemp("kmes")) as running:
        running.start()
        running.feed()
        yield running


@pytest.fixture
def still(tmp_path: Path) -> Pair:
    """A pair that does not run."""
    return Pair(tmp_path)


def test_two_kmes_give_equal_keys_through_a_stop_a_kill_and_a_restart_of_each(pair: Pair) -> None:
    seen = pair.exchange(3)
    assert pair.processes["kme-a"].stop() == 0
    pair.processes["kme-a"].start()
    seen += pair.exchange(3)
    assert pair.processes["kme-b"].stop(signal.SIGKILL) == -signal.SIGKILL
    pair.processes["kme-b"].start()
    seen += pair.exchange(3)
    assert pair.processes["kme-a"].stop(signal.SIGKILL) == -signal.SIGKILL
    pair.processes["kme-a"].start()
    pair.feed()
    seen += pair.exchange(3)
    assert len(set(seen)) == len(seen)


def test_key_files_are_gone_once_they_are_stored(pair: Pair) -> None:
    pair.feed()
    end = time.monotonic() + PATIENCE_S
    while left := [file for kme in pair.ports for file in (pair.folder / f"{kme}.keys").iterdir()]:
        assert time.monotonic() < end, left
        time.sleep(0.05)


def test_what_a_kme_stores_is_for_its_owner_only(pair: Pair) -> None:
    files = list(pair.folder.glob("*.sqlite*"))
    assert len(files) >= 2
    assert all(stat.S_IMODE(file.stat().st_mode) == 0o600 for file in files)


def test_the_log_is_json_lines_without_key(pair: Pair) -> None:
    keys = pair.exchange(2)
    text = pair.processes["kme-a"].log.read_text()
    for line in text.splitlines():
        assert {"time", "level", "logger", "message"} <= json.loads(line).keys()
    assert not any(key.hex() in text for key in keys)


def test_sighup_takes_up_saes_and_pairs_and_an_error_in_the_file_changes_nothing(pair: Pair) -> None:
    process = pair.processes["kme-a"]
    before = process.config.read_text()
    with pair.client("alice") as alice:
        with pytest.raises(RemoteRefused, match="knows that SAE"):
            alice.status("carol")
        more = '[[saes]]\nid = "carol"\nhome = "kme-a"\n[[pairs]]\nmaster = "alice"\nslave = "carol"\n'
        process.config.write_text(before + more)
        assert process.running is not None
        process.running.send_signal(signal.SIGHUP)
        _wait_for(pair, "was read again")
        assert alice.status("carol").target_KME_ID == "kme-a"
        process.config.write_text(before + "[odd]\n")
        process.running.send_signal(signal.SIGHUP)
        _wait_for(pair, "was not taken up")
        assert alice.status("carol").target_KME_ID == "kme-a"
    process.config.write_text(before)


def test_skip_serves_the_saes_of_the_file(pair: Pair) -> None:
    with client(pair.credentials("sae", "alice"), timeout_s=PATIENCE_S, post_quantum_only=False) as http:
        answer = http.get(pair.address("kme-a") + "/capabilities", extensions={"sni_hostname": "kme-a"})
    assert answer.json()["localSystemID"] == "alice"


def test_the_operators_door_is_for_operators(pair: Pair) -> None:
    for kind, identity, expected in (("operator", "olga", 200), ("sae", "alice", 401)):
        with client(pair.credentials(kind, identity), timeout_s=PATIENCE_S, post_quantum_only=False) as http:
            for path in ("/admin/v1/status", "/admin/v1/backup"):
                answer = http.get(pair.address("kme-a") + path, extensions={"sni_hostname": "kme-a"})
                assert answer.status_code == expected, path


def test_a_second_process_on_the_same_file_does_not_start(pair: Pair) -> None:
    port = pair.processes["kme-a"].config.read_text().replace(f"port = {pair.ports['kme-a']}", "port = 0", 1)
    twin = pair.folder / "twin.toml"
    twin.write_text(port)
    done = pair.tiandi("run", "--config", twin)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "cannot be opened" in done.stderr


def test_a_connection_under_way_is_answered_when_a_kme_is_stopped(still: Pair) -> None:
    async def stopped() -> None:
        service = Service(read_configuration(still.processes["kme-a"].config), controlled)
        await service.open()
        await service.start()
        await service.close()
        assert service.entity.draining
        with pytest.raises(httpx.ConnectError):
            async with httpx.AsyncClient(verify=False) as plain:
                await plain.get(service.address)
        # Nothing is left open: another may have the store, the port and the folder of keys.
        again = Service(read_configuration(still.processes["kme-a"].config), controlled)
        await again.open()
        await again.close()

    asyncio.run(stopped())


def _set(pair: Pair, old: str, new: str) -> Path:
    config = pair.processes["kme-a"].config
    text = config.read_text()
    assert old in text
    config.write_text(text.replace(old, new))
    return config


@pytest.mark.parametrize(
    ("old", "new", "field"),
    [
        ("kme-a.master", "none.master", "secret file"),
        ("file:kme-a.master", "kme-a.master", "master key"),
        ("pki/kme.kme-a.crt", "pki/none.crt", "tls.certificate"),
        ("pki/kme.kme-a.crt", "pki/kme.kme-b.crt", "tls.certificate"),
        ("pki/kme.kme-a.key", "pki/kme.kme-b.key", "credentials"),
        ("pki/authority.crl", "pki/none.crl", "tls.revocations"),
        ('sqlite = "kme-a.sqlite"', 'sqlite = "none/kme-a.sqlite"', "database.sqlite"),
        ('sqlite = "kme-a.sqlite"', 'sqlite = "kme-a.toml"', "database.sqlite"),
        ('folder = "kme-a.keys"', 'folder = "none.keys"', "key folder"),
    ],
)
def test_whatever_cannot_be_is_refused_and_leaves_nothing_open(still: Pair, old: str, new: str, field: str) -> None:
    config = _set(still, old, new)

    async def refused() -> None:
        with pytest.raises((InputError, StateError)) as told:
            await Service(read_configuration(config), controlled).open()
        assert told.value.field == field

    asyncio.run(refused())
    _set(still, new, old)

    async def works() -> None:
        service = Service(read_configuration(config), controlled)
        await service.open()
        await service.close()

    asyncio.run(works())


def test_a_store_that_others_can_read_is_refused(still: Pair) -> None:
    store = still.folder / "kme-a.sqlite"
    store.touch(0o644)

    async def refused() -> None:
        with pytest.raises(StateError, match="chmod 600"):
            await Service(read_configuration(still.processes["kme-a"].config), controlled).open()

    asyncio.run(refused())


def test_a_store_of_another_kme_is_refused(still: Pair) -> None:
    async def both() -> None:
        service = Service(read_configuration(still.processes["kme-a"].config), controlled)
        await service.open()
        await service.close()
        (still.folder / "kme-a.sqlite").rename(still.folder / "kme-b.sqlite")
        with pytest.raises(StateError, match="of kme-a"):
            await Service(read_configuration(still.processes["kme-b"].config), controlled).open()

    asyncio.run(both())


def _wait_for(pair: Pair, words: str) -> None:
    end = time.monotonic() + PATIENCE_S
    while words not in pair.processes["kme-a"].log.read_text():
        assert time.monotonic() < end, words
        time.sleep(0.05)


def test_two_processes_on_postgresql_serve_one_kme_and_either_may_die(tmp_path: Path) -> None:
    with postgres_server() as create, Pair(tmp_path, {"kme-a": f'postgresql = "{create("kme-a")}"'}) as pair:
        first, other = pair.processes["kme-a"], pair.processes["kme-b"]
        second_port = free_port()
        text = first.config.read_text().replace(f"port = {pair.ports['kme-a']}", f"port = {second_port}", 1)
        before, _, after = text.partition("[[sources]]")
        (tmp_path / "second.toml").write_text(before + after[after.index("[[saes]]") :])
        second = pair.processes["second"] = Process(tmp_path / "second.toml", tmp_path / "second.log")
        addresses = f'["{pair.address("kme-a")}", "https://127.0.0.1:{second_port}"]'
        other.config.write_text(other.config.read_text().replace(f'"{pair.address("kme-a")}"', addresses))
        pair.start()
        pair.feed()
        keys = pair.exchange()
        assert first.stop(signal.SIGKILL) == -signal.SIGKILL
        pair.ports["kme-a"], gone = second_port, pair.ports["kme-a"]
        keys += pair.exchange(4)
        pair.operator("void", "--pair", "alice", "bob")
        keys += pair.exchange(2)  # Made anew, so that the two KMEs have talked.
        first.start()
        second.stop()
        pair.ports["kme-a"] = gone
        keys += pair.exchange(2)
        assert len(set(keys)) == len(keys)
