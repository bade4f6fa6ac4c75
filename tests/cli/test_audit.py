"""`tiandi audit`: what it prints, what it remembers, and how it ends."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import apsw
import pytest

from tests.kms.network import master_key_file
from tests.kms.operated import operated
from tiandi.cli.audit import app
from tiandi.errors import InputError, StateError
from tiandi.kms.store.sqlite_database import SqliteDatabase


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """The store of a KME that was used."""
    path = tmp_path / "kme-a.sqlite"

    async def run() -> None:
        async with operated(tmp_path, "kme-a", "kme-b", databases={"kme-a": SqliteDatabase(path)}) as network:
            await network.keys(5)
            await network.ask("kme-a", "POST", "/admin/v1/drain", json={"draining": True})

    asyncio.run(run())
    return path


def tiandi_audit(*words: object) -> int:
    """`tiandi audit` with these words; its exit status."""
    try:
        app([str(word) for word in words], exit_on_error=False, print_error=False, result_action="return_none")
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def tamper(store: Path) -> None:
    connection = apsw.Connection(str(store))
    connection.execute("UPDATE account SET bit = bit + 8 WHERE state = 'spent'")
    connection.close()


def test_a_good_store_is_verified_in_words(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert tiandi_audit("verify", store) == 0
    told = capsys.readouterr().out
    assert "Nothing is amiss." in told
    assert "without the master key nothing sealed was opened" in told
    assert "head of chain sqlite: page " in told


def test_a_good_store_is_verified_with_its_master_key_in_json(store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert tiandi_audit("verify", store, "--master-key", f"file:{master_key_file(tmp_path)}", "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["kme"], report["findings"]) == ("kme-a", [])
    assert report["opened"] > 0
    assert report["heads"]["chains"]["sqlite"]["number"] == report["pages"]


def test_what_is_amiss_is_told_and_the_exit_status_is_1(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tamper(store)
    assert tiandi_audit("verify", store) == 1
    told = capsys.readouterr().out
    assert "link kme-b own, spent" in told
    assert "1 findings." in told
    assert tiandi_audit("verify", store, "--json") == 1
    assert json.loads(capsys.readouterr().out)["findings"][0]["check"] == "account"


def test_heads_are_remembered_while_all_is_well_and_missed_when_they_are_gone(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    heads = tmp_path / "heads.json"
    assert tiandi_audit("verify", store, "--head", heads) == 0
    remembered = heads.read_bytes()
    assert json.loads(remembered)["kme"] == "kme-a"
    assert tiandi_audit("verify", store, "--head", heads) == 0
    connection = apsw.Connection(str(store))
    connection.execute("DELETE FROM journal WHERE number = (SELECT max(number) FROM journal)")
    connection.close()
    assert tiandi_audit("verify", store) == 0  # The last page was a note, which moves no bits.
    capsys.readouterr()
    assert tiandi_audit("verify", store, "--head", heads) == 1
    assert "the chain was cut off" in capsys.readouterr().out
    assert heads.read_bytes() == remembered
    assert list(tmp_path.glob(".*partial")) == []


@pytest.mark.parametrize("text", ["", "{}", '{"kme": 1, "chains": {}}', "\xff"])
def test_a_file_of_heads_that_is_none_is_refused(store: Path, tmp_path: Path, text: str) -> None:
    heads = tmp_path / "heads.json"
    heads.write_text(text, encoding="latin-1")
    with pytest.raises(InputError, match="must be a file that this command has written"):
        tiandi_audit("verify", store, "--head", heads)
    with pytest.raises(InputError, match="cannot be written"):
        tiandi_audit("verify", store, "--head", tmp_path / "nowhere" / "heads.json")


def test_accounts_and_the_end_of_the_journal_are_shown(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert tiandi_audit("show", store) == 0
    told = capsys.readouterr().out
    assert "stock of kme-a" in told
    assert "supply alice bob master 256" in told
    assert "operator olga" in told
    assert "ready > delivered" in told


def test_accounts_and_the_end_of_the_journal_are_shown_in_json(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert tiandi_audit("show", store, "--limit", 2, "--json") == 0
    told: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert (told["kme"], len(told["journal"])) == ("kme-a", 2)
    assert told["journal"][0]["stock"] == "operator olga"
    assert told["accounts"]["supply alice bob master 256"]["delivered"] == 5 * 256


@pytest.mark.parametrize("limit", [0, 1001])
def test_a_limit_out_of_range_is_refused(store: Path, limit: int) -> None:
    with pytest.raises(InputError, match="limit"):
        tiandi_audit("show", store, "--limit", limit)


@pytest.mark.parametrize("command", ["verify", "show"])
def test_what_is_no_store_is_refused(tmp_path: Path, command: str) -> None:
    with pytest.raises(StateError, match="must be a file"):
        tiandi_audit(command, tmp_path / "nothing")


def test_text_in_a_store_that_was_tampered_with_is_shown_as_it_is(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    connection = apsw.Connection(str(store))
    connection.execute("INSERT INTO account VALUES ('link [bold]x[/nonsense] own', 'stored', 8)")
    connection.close()
    assert tiandi_audit("verify", store) == 1
    assert "link [bold]x[/nonsense] own" in capsys.readouterr().out
