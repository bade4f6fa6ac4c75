"""`tiandi keys`: what a script gets, what a terminal never sees, and one clear line for every mistake before a key is fetched."""

from __future__ import annotations

import base64
import contextlib
import io
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from cyclopts import CycloptsError

from tests.kms.sources.makers_box import MakersAuthority, MakersBox, Pool, answering, lose_the_answer
from tiandi.cli import EXIT_BAD_INPUT, EXIT_FAILED
from tiandi.cli.keys import app
from tiandi.errors import InputError, TiandiError
from tiandi.kms.tls.pki import Credentials


@pytest.fixture(scope="module")
def credentials(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Credentials]:
    authority = MakersAuthority(tmp_path_factory.mktemp("pki"))
    return {name: authority.issue(name) for name in ("box", "alice", "bob")}


@pytest.fixture
def box(credentials: dict[str, Credentials]) -> Iterator[MakersBox]:
    with MakersBox(credentials["box"], Pool()) as box:
        yield box


def keys(*arguments: object) -> subprocess.CompletedProcess[str]:
    """The command in this process."""
    err, status = io.StringIO(), 0
    with contextlib.redirect_stdout(io.TextIOWrapper(io.BytesIO(), write_through=True)) as out, contextlib.redirect_stderr(err):
        try:
            app(list(map(str, arguments)), exit_on_error=False, print_error=False)
        except SystemExit as leaving:
            status = int(leaving.code or 0)
        except (CycloptsError, InputError) as error:
            status = EXIT_BAD_INPUT
            err.write(f"{error}\n")
        except TiandiError as error:
            status = EXIT_FAILED
            err.write(f"{error}\n")
    return subprocess.CompletedProcess(list(map(str, arguments)), status, out.buffer.getvalue().decode(), err.getvalue())


def door(box: MakersBox, shown: Credentials, kme_id: str = "box") -> list[object]:
    files = ["--certificate", shown.certificate, "--key", shown.private_key, "--authority", shown.authority]
    return ["--kme", box.address, "--kme-id", kme_id, *files]


def delivered(box: MakersBox) -> list[str]:
    """Every key that the box has given out and nobody has retrieved, as on the wire."""
    return [base64.b64encode(key).decode() for _, _, key in box.pool.waiting.values()]


def test_both_ends_get_the_same_keys_as_json(box: MakersBox, credentials: dict[str, Credentials]) -> None:
    got = keys("get", "bob", *door(box, credentials["alice"]), "--number", 3, "--size", 512, "--json")
    container = json.loads(got.stdout)
    assert [len(base64.b64decode(item["key"])) for item in container["keys"]] == [64] * 3
    key_ids = [item["key_ID"] for item in container["keys"]]
    retrieved = keys("retrieve", "alice", *key_ids, *door(box, credentials["bob"]), "--json")
    assert (retrieved.returncode, retrieved.stderr) == (0, "")
    assert json.loads(retrieved.stdout) == container


def test_keys_go_to_a_file_for_its_owner_and_identifiers_to_the_terminal(
    box: MakersBox, credentials: dict[str, Credentials], tmp_path: Path
) -> None:
    got = keys("get", "bob", *door(box, credentials["alice"]), "--number", 2, "--output", tmp_path / "keys.json")
    assert got.returncode == 0, got.stderr
    assert (tmp_path / "keys.json").stat().st_mode & 0o777 == 0o600
    written = json.loads((tmp_path / "keys.json").read_bytes())["keys"]
    assert [item["key"] for item in written] == delivered(box)
    assert got.stdout.split() == [item["key_ID"] for item in written]
    assert [path.name for path in tmp_path.iterdir()] == ["keys.json"]


def test_identifiers_as_json_are_what_the_other_end_asks_with(box: MakersBox, credentials: dict[str, Credentials], tmp_path: Path) -> None:
    got = keys("get", "bob", *door(box, credentials["alice"]), "--output", tmp_path / "keys.json", "--json")
    assert not any(key in got.stdout for key in delivered(box))
    assert list(json.loads(got.stdout)) == ["key_IDs"]


def test_keys_are_shown_where_somebody_asks_to_see_them(box: MakersBox, credentials: dict[str, Credentials]) -> None:
    got = keys("get", "bob", *door(box, credentials["alice"]), "--show")
    assert got.stdout.split()[1:] == delivered(box)


def test_status_as_a_table_and_as_json(box: MakersBox, credentials: dict[str, Credentials]) -> None:
    assert "stored key count         1000" in keys("status", "bob", *door(box, credentials["alice"])).stdout
    answer = json.loads(keys("status", "bob", *door(box, credentials["alice"]), "--json").stdout)
    assert (answer["source_KME_ID"], answer["stored_key_count"]) == ("box", 1000)


def test_the_door_may_stand_in_the_environment(
    box: MakersBox, credentials: dict[str, Credentials], monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = credentials["alice"]
    monkeypatch.setenv("TIANDI_KME", f"https://127.0.0.1:1 {box.address}")
    monkeypatch.setenv("TIANDI_CERTIFICATE", str(shown.certificate))
    monkeypatch.setenv("TIANDI_KEY", str(shown.private_key))
    monkeypatch.setenv("TIANDI_AUTHORITY", str(shown.authority))
    assert keys("status", "bob").returncode == 0


# Mistakes cost no key.


def test_keys_that_would_go_nowhere_are_not_fetched(box: MakersBox, credentials: dict[str, Credentials]) -> None:
    got = keys("get", "bob", *door(box, credentials["alice"]))
    assert (got.returncode, box.requests) == (EXIT_BAD_INPUT, [])
    assert "--show or --json" in got.stderr


@pytest.mark.parametrize("place", ["there.json", "link.json", "no folder/keys.json"])
def test_a_file_that_cannot_be_written_is_found_before_keys_are_fetched(
    box: MakersBox, credentials: dict[str, Credentials], tmp_path: Path, place: str
) -> None:
    (tmp_path / "there.json").write_text("mine")
    (tmp_path / "link.json").symlink_to("nowhere")
    got = keys("get", "bob", *door(box, credentials["alice"]), "--output", tmp_path / place)
    assert (got.returncode, box.requests) == (EXIT_BAD_INPUT, [])
    assert "--output" in got.stderr
    assert (tmp_path / "there.json").read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link.json", "there.json"]


def test_a_file_that_appears_meanwhile_is_not_written_over_and_the_keys_are_kept(
    box: MakersBox, credentials: dict[str, Credentials], tmp_path: Path
) -> None:
    path = tmp_path / "keys.json"
    box.mishaps.append(lambda serve: (path.write_text("mine"), serve())[1])
    got = keys("get", "bob", *door(box, credentials["alice"]), "--output", path)
    assert got.returncode == EXIT_BAD_INPUT
    assert path.read_text() == "mine"
    (kept,) = (other for other in tmp_path.iterdir() if other != path)
    assert str(kept) in got.stderr
    assert [item["key"] for item in json.loads(kept.read_bytes())["keys"]] == delivered(box)


def test_a_refusal_leaves_no_file_behind(box: MakersBox, credentials: dict[str, Credentials], tmp_path: Path) -> None:
    box.mishaps.append(answering(400, b'{"message": "size shall be a multiple of 8"}'))
    got = keys("get", "bob", *door(box, credentials["alice"]), "--output", tmp_path / "keys.json")
    assert got.returncode == EXIT_FAILED
    assert "refused with status 400: size shall be a multiple of 8" in got.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_lost_answer_says_that_the_keys_may_be_gone(box: MakersBox, credentials: dict[str, Credentials]) -> None:
    box.mishaps.append(lose_the_answer)
    got = keys("get", "bob", *door(box, credentials["alice"]), "--json")
    assert (got.returncode, got.stdout) == (EXIT_FAILED, "")
    assert "the keys may be gone" in got.stderr
    assert not any(key in got.stderr for key in delivered(box))


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (["--size", "255"], "size = 255"),
        (["--number", "0"], "number = 0"),
        (["--kme", "http://127.0.0.1:1"], "https://host:port"),
        (["--retry-s", "-1"], "--retry-s"),
        (["--key", os.devnull], "credentials"),
        (["--certificate", "nowhere.crt"], "credentials"),
        (["--authority", "nowhere.crt"], "nowhere.crt"),
        (["--colour", "red"], "--colour"),
    ],
)
def test_bad_input_is_one_line_and_costs_no_key(box: MakersBox, credentials: dict[str, Credentials], options: list[str], word: str) -> None:
    wanted = door(box, credentials["alice"])
    if options[0] in wanted:
        del wanted[wanted.index(options[0]) : wanted.index(options[0]) + 2]
    got = keys("get", "bob", *wanted, *options, "--json")
    assert (got.returncode, box.requests) == (EXIT_BAD_INPUT, [])
    assert word in got.stderr
    assert "\n" not in got.stderr.strip()


def test_an_identifier_that_is_none_is_refused(box: MakersBox, credentials: dict[str, Credentials]) -> None:
    for key_ids in ([], ["x"]):
        got = keys("retrieve", "alice", *key_ids, *door(box, credentials["bob"]), "--json")
        assert (got.returncode, box.requests) == (EXIT_BAD_INPUT, [])


def test_another_kme_than_expected_gets_no_request(box: MakersBox, credentials: dict[str, Credentials]) -> None:
    got = keys("get", "bob", *door(box, credentials["alice"], kme_id="other"), "--json")
    assert (got.returncode, box.requests) == (EXIT_FAILED, [])
