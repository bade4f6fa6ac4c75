"""`tiandi up`, `status` and `down`, as a newcomer runs them."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

import tiandi
from tests import command_line
from tiandi.kms.tls.pki import credentials_in

SOURCE = str(Path(tiandi.__file__ or "").parents[1])
PATIENCE_S = 60.0


def _environment(home: Path) -> dict[str, str]:
    return os.environ | {"PYTHONPATH": SOURCE, "XDG_STATE_HOME": str(home)}


def _run(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(home))
        return command_line.tiandi(*arguments)


@contextmanager
def _up(home: Path, *arguments: str) -> Iterator[tuple[subprocess.Popen[str], list[str]]]:
    command = [sys.executable, "-m", "tiandi", "up", "ring", *arguments]
    with subprocess.Popen(command, env=_environment(home), stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            lines = []
            for line in process.stdout:
                lines.append(line.rstrip())
                if "tiandi down" in line:
                    break
            yield process, lines
        finally:
            if process.poll() is None:
                process.kill()


def test_up_says_where_the_doors_are_status_finds_it_and_down_stops_it(tmp_path: Path) -> None:
    with _up(tmp_path, "--lite", "--speed", "30") as (process, lines):
        doors = [line for line in lines if re.fullmatch(r"  \w+: https://127\.0\.0\.1:\d+", line)]
        assert [line.split(":")[0].strip() for line in doors] == ["North", "East", "South", "West"]
        assert lines[0] == "A ring of four towns: 4 KMEs, 4 fibre links, speed 30"
        found = json.loads(_run(tmp_path, "status", "--json").stdout)["running"]
        assert list(found) == [str(tmp_path / "tiandi" / "ring")]
        assert found[str(tmp_path / "tiandi" / "ring")]["process"] == process.pid
        assert "it has no page" in _run(tmp_path, "status", "--links").stdout
        again = _run(tmp_path, "up", "ring", "--lite")
        assert again.returncode != 0
        assert "in use by a running network" in again.stderr
        down = _run(tmp_path, "down")
        assert down.stdout.startswith("ring: stopped")
        assert process.wait(PATIENCE_S) == 0
    assert _run(tmp_path, "status").stdout == "no network is running\n"
    assert "no network is running" in _run(tmp_path, "down").stderr


def test_a_signal_stops_it_cleanly_and_it_goes_on_where_it_was(tmp_path: Path) -> None:
    state = tmp_path / "state"
    with _up(tmp_path, "--lite", "--speed", "60", "--state", str(state)) as (process, _):
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_S) == 0
    before = json.loads((state / "living.json").read_bytes())
    with _up(tmp_path, "--lite", "--state", str(state)) as (process, lines):
        assert lines[0].endswith("speed 60")
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE_S) == 0
    assert json.loads((state / "living.json").read_bytes())["time"] > before["time"]


def _opened(page: httpx.Client, link: str) -> httpx.Response:
    address, _, token = link.partition("/#login=")
    return page.post(f"{address}/login", json={"token": token}, headers={"X-Tiandi": "1", "Origin": address})


def test_links_to_the_page_are_made_while_it_runs_and_sessions_outlive_it(tmp_path: Path) -> None:
    state = tmp_path / "tiandi" / "ring"
    with httpx.Client(trust_env=False) as page:
        with _up(tmp_path) as (process, lines):
            printed = {role: link for line in lines for role, link in re.findall(r"One-time link to the page, (\w+): (\S+)", line)}
            assert _opened(page, printed["viewer"]).json() == {"role": "viewer"}
            assert _opened(page, printed["viewer"]).status_code == 401
            made = json.loads(_run(tmp_path, "status", "--links", "--json").stdout)["links"][str(state)]
            assert _opened(page, made["operator"]).json() == {"role": "operator"}
            by_certificate = next(re.findall(r"https://127.0.0.1:\d+$", line) for line in lines if "tiandi pki issue" in line)[0]
            assert _run(tmp_path, "status").stdout.endswith(f"by certificate {by_certificate}, state {state}\n")
            assert _run(tmp_path, "pki", "issue", str(state / "pki"), "operator", "ops").returncode == 0
            context = credentials_in(state / "pki", "operator", "ops").client_context()
            assert httpx.get(f"{by_certificate}/api/v1/session", verify=context, trust_env=False).json() == {"role": "operator"}
            process.send_signal(signal.SIGTERM)
            assert process.wait(PATIENCE_S) == 0
        address = made["operator"].partition("/#")[0]
        with _up(tmp_path) as (process, lines):
            assert any(line.startswith(f"One-time link to the page, operator: {address}/#login=") for line in lines)
            assert page.get(f"{address}/api/v1/session").json() == {"role": "operator"}
    secrets = [link.partition("=")[2] for link in (*printed.values(), *made.values())] + list(page.cookies.values())
    kept = b"".join(file.read_bytes() for file in (state / "page").rglob("*") if file.is_file())
    assert not [secret for secret in secrets if secret.encode() in kept]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("up", "nowhere"), "must be one of"),
        (("up", "ring", "--speed", "0"), "speed = 0"),
        (("up", "ring", "--speed", "nan"), "speed = nan"),
        (("up", "ring", "--port-base", "80"), "port-base = 80"),
    ],
)
def test_bad_input_is_one_line(tmp_path: Path, arguments: tuple[str, ...], words: str) -> None:
    done = _run(tmp_path, *arguments)
    assert done.returncode == 2
    assert words in done.stderr.splitlines()[-1]


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "letters.txt").write_text("mine", encoding="utf-8")
    done = _run(tmp_path, "up", "ring", "--lite", "--state", str(tmp_path))
    assert done.returncode != 0
    assert "not a living network's" in done.stderr
