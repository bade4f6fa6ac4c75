"""`tiandi cloud`: accounts from the command line, and a server that they can use at once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.computing.cloud import toys
from tests.computing.cloud.serving import served
from tiandi.cli.cloud import app
from tiandi.errors import InputError


def tiandi(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    """What `tiandi cloud` prints."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as leaving:
        app([*map(str, words)], exit_on_error=False, print_error=False)
    assert not leaving.value.code
    return capsys.readouterr().out


def test_accounts_are_made_changed_and_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = ("--store", tmp_path / "cloud.sqlite")
    key = tiandi(capsys, "users", "add", "anna", "--share", 2, "--most-waiting", 7, *store).strip()
    assert len(key) == 64
    told = json.loads(
        tiandi(capsys, "users", "change", "anna", "--shots-a-day", 5, "--program-mb-a-day", 3, "--disabled", "--json", *store)
    )
    assert not told["enabled"]
    assert told["quotas"] == {"share": 2.0, "highest_priority": 5, "most_waiting": 7, "shots_a_day": 5, "program_mb_a_day": 3}
    assert "anna (shut)" in tiandi(capsys, "users", "list", *store)
    second = json.loads(tiandi(capsys, "users", "key", "anna", "--json", *store))["key"]
    shown = tiandi(capsys, "users", "keys", "anna", *store)
    assert all(item[:16] in shown and item[16:] not in shown for item in (key, second))
    assert "of anna" in tiandi(capsys, "users", "revoke", key[:16], *store)
    left = json.loads(tiandi(capsys, "users", "keys", "anna", "--json", *store))
    assert [item["key"] for item in left] == [second[:16]]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("users", "add", "a b"), "user = 'a b'"),
        (("users", "add", "anna", "--share", "0"), "share = 0.0"),
        (("users", "key", "nobody"), "there is no such user"),
        (("users", "revoke", "0123456789abcdef"), "no key begins so"),
        (("serve", "--certificate", "x.crt"), "go together"),
        (("serve", "--workers", "0"), "workers = 0"),
        (("serve", "--machines", "nowhere:nothing"), "must be module:function"),
        (("serve", "--address", "0.0.0.0"), "needs --certificate"),
    ],
)
def test_mistakes_are_told(tmp_path: Path, words: tuple[str, ...], said: str) -> None:
    with pytest.raises(InputError, match=said):
        app([*words, "--store", str(tmp_path / "cloud.sqlite")], exit_on_error=False, print_error=False)


def test_users_come_and_go_while_it_serves(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = tmp_path / "cloud.sqlite"
    with served(store, tmp_path, "--workers", "1") as running:
        key = tiandi(capsys, "users", "add", "anna", "--store", store).strip()
        with running.client(key) as client:
            body = {"machine": "dice", "programs": [toys.BELL]}
            assert client.post("/api/v1/jobs", json=body).status_code == 201
            tiandi(capsys, "users", "revoke", key[:16], "--store", store)
            assert client.post("/api/v1/jobs", json=body).status_code == 401
        workers = running.workers()
        assert workers
        assert running.stop() == 0
    assert not any(Path(f"/proc/{pid}").exists() for pid in workers)
    assert key[16:] not in running.log.read_text()
