"""`tiandi distill` as two processes: equal keys, one clear line for every mistake, and nothing half-written."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from cyclopts import CycloptsError

from tiandi.cli import EXIT_BAD_INPUT, EXIT_FAILED, EXIT_INTERRUPTED
from tiandi.cli.main import app
from tiandi.errors import InputError, TiandiError
from tiandi.hosts.twin_recording import record_twin
from tiandi.kms.tls.pki import CertificateAuthority, Credentials

PATIENCE_S = 120.0
BLOCK_EVENTS = "800000"


@pytest.fixture(scope="module")
def twins(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("twins")
    record_twin(folder / "alice.h5", folder / "bob.h5", length_km=20.0, duration_s=0.45, seed=1)
    return folder


@pytest.fixture
def folder(tmp_path: Path, twins: Path) -> Path:
    """Event files that make three blocks, and a pair of pools."""
    for name in ("alice.h5", "bob.h5"):
        shutil.copy(twins / name, tmp_path)
    done = tiandi("pair", "Here - There", tmp_path / "alice.pool", tmp_path / "bob.pool")
    assert done.returncode == 0, done.stderr
    return tmp_path


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "tiandi", "distill", *map(str, arguments)]


def tiandi(*arguments: object) -> subprocess.CompletedProcess[str]:
    """The command in this process: starting one takes longer than most of them."""
    err, status = io.StringIO(), 0
    with contextlib.redirect_stdout(io.TextIOWrapper(io.BytesIO(), write_through=True)) as out, contextlib.redirect_stderr(err):
        try:
            app(["distill", *map(str, arguments)], exit_on_error=False, print_error=False)
        except SystemExit as leaving:
            status = int(leaving.code or 0)
        except (CycloptsError, InputError) as error:
            status = EXIT_BAD_INPUT
            err.write(f"{error}\n")
        except TiandiError as error:
            status = EXIT_FAILED
            err.write(f"{error}\n")
    return subprocess.CompletedProcess(list(map(str, arguments)), status, out.buffer.getvalue().decode(), err.getvalue())


def end(folder: Path, name: str, *options: object, safe: Sequence[object] = ("--plain",)) -> list[object]:
    return [folder / f"{name}.h5", "--pool", folder / f"{name}.pool", "--keys", folder / f"{name}.keys", *safe, *options]


def certificates(shown: Credentials) -> list[object]:
    return ["--tls-certificate", shown.certificate, "--tls-key", shown.private_key, "--tls-authority", shown.authority]


@contextlib.contextmanager
def serving(*arguments: object) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A process that serves, and the address that it says."""
    process = subprocess.Popen(
        command("serve", *arguments, "--listen", "127.0.0.1:0"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stderr is not None
        line = process.stderr.readline()
        assert line.startswith("listening at "), line + process.stderr.read()
        yield process, line.split()[-1]
    finally:
        process.kill()
        process.communicate()


def keys(folder: Path, name: str) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (folder / f"{name}.keys").glob("*.key")}


def no_partials(folder: Path) -> bool:
    return not [path for path in folder.rglob(".*") if "partial" in path.name]


def test_two_processes_find_the_same_keys_and_show_them(folder: Path) -> None:
    cut = ("--block-events", BLOCK_EVENTS)
    with serving(*end(folder, "alice", *cut)) as (server, address):
        done = tiandi("connect", address, *end(folder, "bob", *cut))
        told, _ = server.communicate(timeout=PATIENCE_S)
    assert (done.returncode, server.returncode) == (0, 0), done.stderr
    assert len(keys(folder, "alice")) == 3
    assert keys(folder, "alice") == keys(folder, "bob")
    for text, role in ((done.stdout, "receiver"), (told, "transmitter")):
        assert f"Here - There, {role}'s end" in text
        assert all(name.removesuffix(".key") in text for name in keys(folder, "bob"))
    assert "QBER %" in done.stdout
    assert "bit of key in" in done.stdout
    life = json.loads(tiandi("status", folder / "bob.pool", "--json").stdout)
    assert (life["link"], life["blocks"], life["aborted_blocks"], life["strength"]) == ("Here - There", 3, 0, "information-theoretic")
    assert life["secret_bit"] >= sum(8 * len(key) for key in keys(folder, "bob").values())
    assert "secret bit" in tiandi("status", folder / "alice.pool").stdout


def test_tls_json_and_transcripts(folder: Path) -> None:
    authority = CertificateAuthority(folder / "pki")
    shown = {name: authority.issue("kme", name) for name in ("alice", "bob")}
    safe = {
        name: ("--tls-certificate", it.certificate, "--tls-key", it.private_key, "--tls-authority", it.authority)
        for name, it in shown.items()
    }
    with serving(*end(folder, "bob", "--json", safe=safe["bob"])) as (server, address):
        done = tiandi("connect", address, *end(folder, "alice", "--json", "--transcripts", safe=safe["alice"]))
        told, _ = server.communicate(timeout=PATIENCE_S)
    assert (done.returncode, server.returncode) == (0, 0), done.stderr
    here, there = json.loads(done.stdout), json.loads(told)
    assert (here["role"], there["role"]) == ("transmitter", "receiver")
    assert [block["block_id"] for block in here["blocks"]] == [block["block_id"] for block in there["blocks"]]
    assert keys(folder, "alice") == keys(folder, "bob") != {}
    assert len(list((folder / "alice.keys").glob("*.transcript"))) == 1


def test_a_certificate_of_another_authority_is_refused(folder: Path) -> None:
    safe = []
    for name in ("alice", "bob"):
        safe.append(certificates(CertificateAuthority(folder / name).issue("kme", name)))
    with serving(*end(folder, "alice", safe=safe[0])) as (server, address):
        done = tiandi("connect", address, *end(folder, "bob", safe=safe[1]))
        assert server.poll() is None
    assert done.returncode == EXIT_BAD_INPUT
    assert "shows a certificate that is not accepted" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_link_without_pre_shared_key_begins_with_signatures(folder: Path) -> None:
    for name in ("alice", "bob"):
        os.unlink(folder / f"{name}.pool")
        assert tiandi("identity", folder / f"{name}.id").returncode == 0
        assert (folder / f"{name}.id").stat().st_mode & 0o777 == 0o600
    signing = {
        own: ("--block-events", BLOCK_EVENTS, "--link", "New", "--identity", folder / f"{own}.id", "--peer", folder / f"{peer}.id.pub")
        for own, peer in (("alice", "bob"), ("bob", "alice"))
    }
    with serving(*end(folder, "alice", *signing["alice"])) as (server, address):
        done = tiandi("connect", address, *end(folder, "bob", *signing["bob"]))
        server.communicate(timeout=PATIENCE_S)
    assert (done.returncode, server.returncode) == (0, 0), done.stderr
    assert keys(folder, "alice") == keys(folder, "bob")
    life = json.loads(tiandi("status", folder / "alice.pool", "--json").stdout)
    assert (life["origin"], life["strength"], life["blocks"]) == ("signatures", "computational", 3)
    # The first block was signed, the others were paid for with its key.
    assert life["authentication_spent_bit"] == 2 * 512


@pytest.mark.slow
def test_a_stranger_s_signature_makes_no_key(folder: Path) -> None:
    for name in ("alice", "bob", "eve"):
        (folder / f"{name}.pool").unlink(missing_ok=True)
        assert tiandi("identity", folder / f"{name}.id").returncode == 0
    alice = ("--link", "New", "--identity", folder / "alice.id", "--peer", folder / "bob.id.pub")
    eve = ("--link", "New", "--identity", folder / "eve.id", "--peer", folder / "alice.id.pub")
    with serving(*end(folder, "alice", *alice)) as (server, address):
        done = tiandi("connect", address, *end(folder, "bob", *eve))
        told, _ = server.communicate(timeout=PATIENCE_S)
    assert (done.returncode, server.returncode) == (EXIT_FAILED, EXIT_FAILED)
    assert "signature does not match" in " ".join(told.split())
    assert keys(folder, "alice") == keys(folder, "bob") == {}


@pytest.mark.parametrize(
    ("victim", "after_s"),
    [("bob", 0.05), *(pytest.param(*rest, marks=pytest.mark.slow) for rest in [("alice", 0.05), ("alice", 0.3), ("bob", 0.3)])],
)
def test_one_end_killed_in_the_middle_leaves_pools_that_fit_for_the_next_run(folder: Path, victim: str, after_s: float) -> None:
    cut = ("--block-events", BLOCK_EVENTS, "--blocks-in-flight", "1")
    with serving(*end(folder, "alice", *cut)) as (server, address):
        client = subprocess.Popen(command("connect", address, *end(folder, "bob", *cut)), stderr=subprocess.PIPE, text=True)
        assert client.stderr is not None
        assert "blocks: " in client.stderr.readline()
        time.sleep(after_s)
        (server if victim == "alice" else client).kill()
        server.communicate(timeout=PATIENCE_S)
        client.communicate(timeout=PATIENCE_S)
    before = keys(folder, "alice").keys() & keys(folder, "bob").keys()
    assert all(keys(folder, "alice")[name] == keys(folder, "bob")[name] for name in before)
    record_twin(folder / "more-alice.h5", folder / "more-bob.h5", length_km=20.0, duration_s=0.15, seed=2)
    more = {name: end(folder, name) for name in ("alice", "bob")}
    for name, arguments in more.items():
        arguments[0] = folder / f"more-{name}.h5"
    with serving(*more["alice"]) as (server, address):
        done = tiandi("connect", address, *more["bob"])
        server.communicate(timeout=PATIENCE_S)
    assert (done.returncode, server.returncode) == (0, 0), done.stderr
    common = keys(folder, "alice").keys() & keys(folder, "bob").keys()
    assert len(common) == len(before) + 1
    assert all(keys(folder, "alice")[name] == keys(folder, "bob")[name] for name in common)


@pytest.mark.parametrize("signal_number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)])
def test_an_interrupt_leaves_nothing_half_written_and_tells_the_other_end(folder: Path, signal_number: signal.Signals) -> None:
    cut = ("--block-events", "200000")
    with serving(*end(folder, "alice", *cut)) as (server, address):
        client = subprocess.Popen(command("connect", address, *end(folder, "bob", *cut)), stderr=subprocess.PIPE, text=True)
        assert client.stderr is not None
        assert "blocks: " in client.stderr.readline()
        time.sleep(0.2)
        client.send_signal(signal_number)
        _, said = client.communicate(timeout=PATIENCE_S)
        _, heard = server.communicate(timeout=PATIENCE_S)
    assert client.returncode == EXIT_INTERRUPTED
    assert said == "tiandi: interrupted\n"
    assert server.returncode == EXIT_FAILED
    assert "the connection broke" in heard
    assert no_partials(folder)
    for name in ("alice", "bob"):
        assert tiandi("status", folder / f"{name}.pool").returncode == 0


def test_an_interrupt_while_waiting_leaves_nothing(folder: Path) -> None:
    with serving(*end(folder, "alice")) as (server, _):
        server.send_signal(signal.SIGTERM)
        _, said = server.communicate(timeout=PATIENCE_S)
    assert (server.returncode, said) == (EXIT_INTERRUPTED, "tiandi: interrupted\n")
    assert not (folder / "alice.h5.used").exists()
    assert not list((folder / "alice.keys").iterdir())


@pytest.mark.slow
def test_a_disk_that_fills_up_is_one_clear_error(folder: Path) -> None:
    """No file may grow beyond 40 kB: the pool does not, the key of the whole recording would."""
    limit = "import resource, runpy; resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000)); runpy.run_module('tiandi')"
    arguments = [sys.executable, "-c", limit, *command("serve", *end(folder, "alice"), "--listen", "127.0.0.1:0")[3:]]
    limited = subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True)
    assert limited.stderr is not None
    address = limited.stderr.readline().split()[-1]
    done = tiandi("connect", address, *end(folder, "bob"))
    _, said = limited.communicate(timeout=PATIENCE_S)
    assert (done.returncode, limited.returncode) == (EXIT_FAILED, EXIT_BAD_INPUT)
    assert "cannot be written: File too large" in said.splitlines()[-1]
    assert keys(folder, "alice") == keys(folder, "bob") == {}
    assert no_partials(folder)
    assert tiandi("status", folder / "alice.pool").returncode == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--plain", "--tls-key", "k"], "--plain = True: does not go with --tls-certificate"),
        ([], "--plain = False: must be given, or else --tls-certificate, --tls-key and --tls-authority, all three"),
        (["--plain", "--join", "--block-events", "2000"], "block-events = 2000"),
        (["--plain", "--blocks-in-flight", "0"], "blocks_in_flight = 0: must lie in [1, 64]"),
        (["--plain", "--identity", "none"], "identity = 'none': goes with --peer"),
        (["--plain", "--link", "Elsewhere"], "link = 'Elsewhere': must be Here - There"),
        (["--plain", "--pool", "none"], "none"),
    ],
)
def test_bad_options_are_one_clear_line(folder: Path, arguments: list[str], words: str) -> None:
    base = [folder / "alice.h5", "--keys", folder / "keys"] + ([] if "--pool" in arguments else ["--pool", folder / "alice.pool"])
    done = tiandi("connect", "127.0.0.1:1", *base, *arguments)
    assert done.returncode == EXIT_BAD_INPUT
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_nobody_to_connect_to_is_one_clear_line(folder: Path) -> None:
    with socket.socket() as idle:
        idle.bind(("127.0.0.1", 0))
        done = tiandi("connect", f"127.0.0.1:{idle.getsockname()[1]}", *end(folder, "bob"))
    assert done.returncode == EXIT_BAD_INPUT
    assert "cannot be reached: connect" in done.stderr
    assert not (folder / "bob.h5.used").exists()


def test_files_are_never_written_over(folder: Path) -> None:
    for arguments in (
        ("pair", "Again", folder / "alice.pool", folder / "new.pool"),
        ("record", folder / "alice.h5", folder / "new.h5"),
        ("identity", folder / "alice.h5"),
    ):
        before = (folder / "alice.h5").read_bytes(), (folder / "alice.pool").read_bytes()
        done = tiandi(*arguments)
        assert done.returncode == EXIT_BAD_INPUT, arguments
        assert len(done.stderr.splitlines()) == 1
        assert before == ((folder / "alice.h5").read_bytes(), (folder / "alice.pool").read_bytes())


def test_a_twin_says_what_it_recorded_and_refuses_what_it_cannot(tmp_path: Path) -> None:
    done = tiandi("record", tmp_path / "a.h5", tmp_path / "b.h5", "--length-km", "80", "--duration-s", "0.1", "--seed", "3")
    assert done.returncode == 0
    assert "detections in 0.1 s over 80 km" in done.stdout
    for options in (("--length-km", "9999"), ("--duration-s", "0"), ("--duration-s", "10000"), ("--seed", "-1")):
        assert tiandi("record", tmp_path / "c.h5", tmp_path / "d.h5", *options).returncode == EXIT_BAD_INPUT
    assert {path.name for path in tmp_path.iterdir()} == {"a.h5", "b.h5"}
