"""`tiandi kme`: what would run, what runs, and what becomes of it."""

from __future__ import annotations

import json
import re
import resource
import shlex
import shutil
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kms.kme_processes import PATIENCE_S, Pair, Process, tiandi
from tests.ports import free_port
from tiandi.cli.kme import MOST_FILES
from tiandi.kms.operating.configuration import read_configuration

LEAST_FILES = 256
DOCS = Path(__file__).parents[2] / "docs"
EXAMPLES = DOCS / "examples"


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    with Pair(tmp_path_factory.mktemp("kmes")) as running:
        running.start()
        running.feed()
        running.exchange()
        yield running


@pytest.fixture
def still(tmp_path: Path) -> Pair:
    return Pair(tmp_path)


def test_check_prints_what_would_run_even_while_it_runs(pair: Pair) -> None:
    done = pair.tiandi("check", "--config", pair.processes["kme-a"].config)
    assert (done.returncode, done.stderr) == (0, "")
    for words in ("kme-a", "SKIP", "kme-a.sqlite", "aes256:", "alice at kme-a", "alice to bob", "kme-a - kme-b", "files in kme-a.keys"):
        assert words in done.stdout
    told = json.loads(pair.tiandi("check", "--config", pair.processes["kme-a"].config, "--json").stdout)
    assert told["peers"] == ["kme-b"]


def test_check_and_run_tell_a_mistake_in_one_line_with_status_2(still: Pair) -> None:
    config = still.processes["kme-a"].config
    config.write_text(config.read_text().replace('home = "kme-b"', 'home = "kme-z"'))
    for verb in ("check", "run"):
        done = still.tiandi(verb, "--config", config)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr == "tiandi: saes[1].home = 'kme-z': must be kme.id or one of peers\n"


def test_status_tells_links_and_stocks(pair: Pair) -> None:
    told = json.loads(pair.operator("status", "--json").stdout)
    assert (told["kme_id"], told["draining"]) == ("kme-a", False)
    assert told["links"][0]["peer"] == "kme-b"
    assert told["stocks"][0]["slave"] == "bob"
    assert "kme_id: kme-a" in pair.operator("status").stdout


def test_a_drained_kme_hands_out_no_new_keys_until_that_is_over(pair: Pair) -> None:
    assert pair.operator("drain").returncode == 0
    assert json.loads(pair.operator("status", "--json").stdout)["draining"]
    assert json.loads(pair.operator("drain", "--end", "--json").stdout) == {"draining": False}
    pair.exchange()


def test_voided_keys_are_gone_at_both_ends(pair: Pair) -> None:
    with pair.client("alice") as alice:
        pair.exchange()
        assert alice.status("bob").stored_key_count > 0
        told = json.loads(pair.operator("void", "--pair", "alice", "bob", "--json").stdout)
        assert told["voided_bit"] > 0
        assert told["not_told"] == []
    done = pair.operator("void")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)


def test_an_operator_who_is_none_is_refused(pair: Pair) -> None:
    folder = pair.folder / "pki"
    files = ("--certificate", folder / "sae.alice.crt", "--key", folder / "sae.alice.key", "--authority", folder / "authority.crt")
    done = pair.tiandi("status", "--kme", pair.address("kme-a"), "--kme-id", "kme-a", *files)
    assert (done.returncode, done.stdout) == (1, "")
    assert "401" in done.stderr


def test_a_kme_of_another_name_is_not_believed(pair: Pair) -> None:
    folder = pair.folder / "pki"
    files = ("--certificate", folder / "operator.olga.crt", "--key", folder / "operator.olga.key", "--authority", folder / "authority.crt")
    done = pair.tiandi("status", "--kme", pair.address("kme-b"), "--kme-id", "kme-a", *files)
    assert done.returncode == 1
    assert "mismatch" in done.stderr


def test_a_backup_is_taken_from_a_running_kme_and_put_back(pair: Pair) -> None:
    file, process = pair.folder / "a.backup", pair.processes["kme-a"]
    pair.exchange()
    done = pair.operator("backup", file)
    assert (done.returncode, done.stderr) == (0, "")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert pair.operator("backup", file).returncode == 2, "a backup is never written over"
    locked = pair.tiandi("backup", pair.folder / "b.backup", "--config", process.config)
    assert (locked.returncode, locked.stderr.count("\n")) == (2, 1)
    process.stop()
    assert pair.tiandi("restore", file, "--config", process.config).returncode == 2, "a store that is in use is left alone"
    for part in pair.folder.glob("kme-a.sqlite*"):
        part.unlink()
    done = pair.tiandi("restore", file, "--config", process.config)
    assert (done.returncode, done.stderr) == (0, "")
    assert pair.tiandi("backup", pair.folder / "b.backup", "--config", process.config).returncode == 0
    process.start()
    time.sleep(1)
    pair.feed()
    end = time.monotonic() + PATIENCE_S
    while json.loads(pair.operator("status", "--json", kme="kme-b").stdout)["links"][0]["own"].get("stored", 0) == 0:
        assert time.monotonic() < end
    pair.exchange(2)


def test_a_running_kme_writes_no_core_and_may_have_many_connections(pair: Pair) -> None:
    process = pair.processes["kme-a"].running
    assert process is not None
    assert resource.prlimit(process.pid, resource.RLIMIT_CORE) == (0, 0)
    soft, hard = resource.prlimit(process.pid, resource.RLIMIT_NOFILE)
    assert soft == (MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_FILES)) or soft > MOST_FILES


def test_a_low_limit_of_files_is_raised_as_far_as_the_system_lets_it() -> None:
    hard = 4 * LEAST_FILES
    code = (
        f"import resource; resource.setrlimit(resource.RLIMIT_NOFILE, ({LEAST_FILES}, {hard}));"
        "from tiandi.cli.kme import _set_limits; _set_limits(); print(*resource.getrlimit(resource.RLIMIT_NOFILE))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=PATIENCE_S)
    assert done.stdout.split() == [str(hard), str(hard)]


def test_a_master_key_is_made_once(tmp_path: Path, still: Pair) -> None:
    file = tmp_path / "new.master"
    assert still.tiandi("master-key", file).returncode == 0
    assert (stat.S_IMODE(file.stat().st_mode), file.stat().st_size) == (0o600, 32)
    again = still.tiandi("master-key", file)
    assert (again.returncode, again.stderr) == (2, f"tiandi: file = '{file}': is there already\n")


# The page of the manual, step by step.


def section(title: str) -> list[list[str]]:
    """The commands of a section of the page."""
    text = (DOCS / "running-a-kme.md").read_text(encoding="utf-8").split(f"\n## {title}\n")[1].split("\n## ")[0]
    return [shlex.split(line) for line in re.findall(r"^ {4,}(tiandi .*)$", text, re.MULTILINE)]


class Reader:
    """Does what the page says, with other ports and hosts than it names."""

    def __init__(self, places: dict[str, str]) -> None:
        self.places, self.processes = places, list[Process]()

    def told(self, text: str) -> str:
        for old, new in self.places.items():
            text = text.replace(old, new)
        return text

    def take(self, example: str, folder: Path) -> None:
        (folder / example).write_text(self.told((EXAMPLES / example).read_text(encoding="utf-8")), encoding="utf-8")

    def do(self, step: list[str], folder: Path) -> subprocess.CompletedProcess[str] | None:
        assert step[0] == "tiandi"
        if step[1:3] == ["kme", "run"]:
            process = Process(folder / step[-1], folder / "log")
            self.processes.append(process)
            process.start()
            return None
        done = tiandi(*map(self.told, step[1:]))
        assert (done.returncode, done.stderr) == (0, ""), step
        return done

    def stop(self) -> None:
        for process in self.processes:
            if process.running is not None and process.running.poll() is None:
                assert process.stop() == 0


def test_one_kme_as_the_page_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    reader = Reader({"8443": str(free_port())})
    reader.take("one-kme.toml", tmp_path)
    try:
        for step in section("One KME"):
            reader.do(step, tmp_path)
        keys = json.loads((tmp_path / "alice.json").read_text())
        where = reader.told("--kme https://127.0.0.1:8443 --kme-id kme-a --authority authority.crt").split()
        bobs = ("--certificate", "sae.bob.crt", "--key", "sae.bob.key", "--json")
        done = tiandi("keys", "retrieve", "alice", keys["keys"][0]["key_ID"], *where, *bobs)
        assert json.loads(done.stdout) == keys
        [taken] = section("Backup and restoration")
        reader.do(taken, tmp_path)
    finally:
        reader.stop()
    (tmp_path / "kme-a.sqlite").unlink()
    assert tiandi("kme", "restore", "kme-a.backup", "--config", "one-kme.toml").returncode == 0


def test_two_kmes_as_the_page_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ports = {kme: str(free_port()) for kme in "ab"}
    readers = {kme: Reader({}) for kme in "ab"}
    authority = tmp_path / "authority"
    authority.mkdir()
    for kme, reader in readers.items():
        peer = "b" if kme == "a" else "a"
        streams = str(free_port())
        reader.places = {
            f"https://{peer}.example:8443": f"https://127.0.0.1:{ports[peer]}", "8443": ports[kme], "8004": streams, "0.0.0.0": "127.0.0.1",
        }  # fmt: skip
        (tmp_path / kme / "link-keys").mkdir(parents=True)
        reader.take(f"two-kmes-{kme}.toml", tmp_path / kme)
    steps = section("Two KMEs on two hosts")
    try:
        monkeypatch.chdir(authority)
        for step in steps:
            if step[1] == "pki":
                readers["a"].do(step, authority)
        for kme, reader in readers.items():
            for name in ("authority.crt", "authority+ml-dsa-65.crt", "authority.crl"):
                shutil.copy(authority / name, tmp_path / kme)
            for file in authority.glob(f"kme.kme-{kme}*"):
                shutil.copy(file, tmp_path / kme)
            monkeypatch.chdir(tmp_path / kme)
            for step in steps:
                if step[1] == "kme" and re.search(rf"-{kme}\b", step[-1]):
                    reader.do(step, tmp_path / kme)
        assert all(reader.processes for reader in readers.values())
        name, key = "00000000-0000-4000-8000-000000000001", bytes(range(256)) * 200
        for kme in readers:
            partial = tmp_path / kme / "link-keys" / f".{name}"
            partial.touch(0o600)
            partial.write_bytes(key)
            partial.rename(partial.with_name(f"{name}.key"))
        monkeypatch.chdir(authority)
        end = time.monotonic() + PATIENCE_S
        get = ("get", "bob", "--kme", f"https://127.0.0.1:{ports['a']}", "--kme-id", "kme-a", "--json")
        while (done := tiandi("keys", *get, *_files("alice"))).returncode:
            assert time.monotonic() < end, done.stderr
        item = json.loads(done.stdout)["keys"][0]
        where = ("--kme", f"https://127.0.0.1:{ports['b']}", "--kme-id", "kme-b", "--json")
        done = tiandi("keys", "retrieve", "alice", item["key_ID"], *where, *_files("bob"))
        assert json.loads(done.stdout)["keys"] == [item]
    finally:
        for reader in readers.values():
            reader.stop()


def test_two_networks_as_the_page_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = section("Exchange keys with another network")
    begins = [number for number, step in enumerate(steps) if step[1:3] == ["pki", "init"]]
    places = {f"https://{kme}.example:{port}": f"https://127.0.0.1:{free_port()}" for kme in "ab" for port in (8443, 8020)}
    readers: dict[str, Reader] = {}
    for kme, begin in zip("ab", begins, strict=True):
        own = {f"port = {port}": "port = " + places[f"https://{kme}.example:{port}"].rpartition(":")[2] for port in (8443, 8020)}
        readers[kme] = reader = Reader(places | own | {"0.0.0.0": "127.0.0.1"})
        (tmp_path / f"authority-{kme}").mkdir()
        monkeypatch.chdir(tmp_path / f"authority-{kme}")
        for step in steps[begin : begin + 3]:
            assert step[1] == "pki"
            reader.do(step, Path())
    try:
        for kme, other in ("ab", "ba"):
            folder = tmp_path / kme
            (folder / f"network-{other}").mkdir(parents=True)
            for name in ("authority.crt", "authority+ml-dsa-65.crt", "authority.crl"):
                shutil.copy(tmp_path / f"authority-{kme}" / name, folder)
                shutil.copy(tmp_path / f"authority-{other}" / name, folder / f"network-{other}")
            for file in (tmp_path / f"authority-{kme}").glob(f"kme.kme-{kme}*"):
                shutil.copy(file, folder)
            readers[kme].take(f"border-{kme}.toml", folder)
            monkeypatch.chdir(folder)
            for step in steps:
                if step[1] == "kme" and re.search(rf"-{kme}\b", step[-1]):
                    done = readers[kme].do(step, folder)
                    assert done is None or "check" not in step or f"network-{other}: kme-{other}" in done.stdout
        monkeypatch.chdir(tmp_path / "authority-a")
        got, retrieved = (step for step in steps if step[1] == "keys")
        _until_done(readers["a"], got)
        [item] = json.loads(Path("alice.json").read_text())["keys"]
        monkeypatch.chdir(tmp_path / "authority-b")
        readers["b"].places["KEY_ID"] = item["key_ID"]
        done = readers["b"].do([*retrieved, "--json"], Path())
        assert done is not None
        assert json.loads(done.stdout)["keys"] == [item]
    finally:
        for reader in readers.values():
            reader.stop()


def _until_done(reader: Reader, step: list[str]) -> None:
    end = time.monotonic() + PATIENCE_S
    while (done := tiandi(*map(reader.told, step[1:]))).returncode:
        assert time.monotonic() < end, done.stderr
        time.sleep(0.1)


def _files(sae: str) -> tuple[str, ...]:
    return ("--certificate", f"sae.{sae}.crt", "--key", f"sae.{sae}.key", "--authority", "authority.crt")


@pytest.mark.parametrize("example", sorted(EXAMPLES.glob("*.toml")), ids=lambda path: path.stem)
def test_every_example_is_a_good_configuration(example: Path) -> None:
    assert read_configuration(example).kme.id in {"kme-a", "kme-b"}
