"""`tiandi node`: folders for the hosts of a scenario, and clear errors for what cannot stand on several."""

from __future__ import annotations

import json
import stat
import subprocess
from pathlib import Path

import pytest

from tests.kms.kme_processes import PATIENCE_S, command, tiandi
from tiandi.hosts.pool_file import PoolFile
from tiandi.kms.tls.pki import CertificateAuthority
from tiandi.scenario.node_files import read_node

TOWNS = ("North", "East", "South", "West")
DOCS = Path(__file__).parents[2] / "docs"


def hosts_text(**changes: str) -> str:
    """Four towns at four addresses; ``changes`` are the lines of a town."""
    lines = {town: f'address = "192.0.2.{number}"' for number, town in enumerate(TOWNS, 1)} | changes
    return "".join(f"[nodes.{town}]\n{text}\n" for town, text in lines.items())


def prepared(folder: Path, text: str, *more: object, scenario: str = "ring") -> subprocess.CompletedProcess[str]:
    (folder / "hosts.toml").write_text(text, encoding="utf-8")
    return tiandi("node", "prepare", scenario, "--hosts", folder / "hosts.toml", "--into", folder / "made", *more)


def test_prepare_makes_a_folder_for_each_node_that_its_kme_takes(tmp_path: Path) -> None:
    done = prepared(tmp_path, hosts_text(East='address = "east.example"\nport = 9000'), "--json")
    assert (done.returncode, done.stderr) == (0, "")
    told = {each["node"]: each for each in json.loads(done.stdout)["nodes"]}
    assert told["East"]["address"] == "https://east.example:9000"
    for town in TOWNS:
        folder = Path(told[town]["folder"])
        facts = json.loads(tiandi("kme", "check", "--config", folder / "kme.toml", "--json").stdout)
        assert facts["kme"] == told[town]["kme"]
        assert len(facts["peers"]) == 3
        assert len(facts["ways"]) == 4
        assert len(facts["sources"]) == 2
        for path in folder.rglob("*"):
            secret = path.suffix in {".key", ".pool"} or path.is_dir()
            assert not secret or not stat.S_IMODE(path.stat().st_mode) & 0o077, path
    east = read_node(Path(told["East"]["folder"]) / "node.toml", "East")
    ends = {link.name: (link.role, link.post_processing, link.twin) for link in east.links}
    assert ends["North - East"] == ("receiver", "192.0.2.1:8444", "192.0.2.1:8445")
    assert ends["East - South"] == ("transmitter", "0.0.0.0:9001", "0.0.0.0:9002")


def test_the_hosts_of_the_guide_can_be_prepared(tmp_path: Path) -> None:
    done = prepared(tmp_path, (DOCS / "examples" / "hosts" / "ring.toml").read_text(encoding="utf-8"))
    assert (done.returncode, done.stderr) == (0, "")
    guide = (DOCS / "several-hosts.md").read_text(encoding="utf-8")
    for folder in sorted(path for path in (tmp_path / "made").iterdir() if path.name != "pki"):
        for file in folder.iterdir():
            assert f"`{file.name}`".replace(folder.name, "KME") in guide or file.suffix == ".png", file


def test_both_ends_of_a_link_have_one_pool_of_pre_shared_key(tmp_path: Path) -> None:
    assert prepared(tmp_path, hosts_text()).returncode == 0
    made = tmp_path / "made"
    with PoolFile(made / "kme-north" / "pools" / "link-1.pool") as here, PoolFile(made / "kme-east" / "pools" / "link-1.pool") as there:
        assert here.name == there.name == "North - East"
        assert here.identifier == there.identifier
        assert here.available_bit == there.available_bit > 0


def test_an_authority_that_is_there_issues_and_is_not_copied(tmp_path: Path) -> None:
    CertificateAuthority(tmp_path / "pki")
    assert prepared(tmp_path, hosts_text(), "--authority", tmp_path / "pki").returncode == 0
    assert not (tmp_path / "made" / "pki").exists()
    assert not list((tmp_path / "made").rglob("authority.key"))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (hosts_text().replace("[nodes.West]", "[nodes.Vest]"), "nodes.West = None: must say at which address"),
        (hosts_text() + '[nodes.Up]\naddress = "192.0.2.9"\n', "nodes.Up = 'Up': must be one of North"),
        (hosts_text(East='address = "192.0.2.1"'), "nodes.East.port = 8443: must be another: North has port 8443 of 192.0.2.1"),
        (hosts_text(East='address = "192.0.2.1"\nport = 8445'), "nodes.East.port = 8445: must be another: North has port 8445"),
        (hosts_text(East='address = "192.0.2.2"\nport = 65535'), "nodes.East.port = 65535: must be lower"),
        (hosts_text(East='address = "a"\nlisten = "a"'), "nodes.East.listen = 'a': must be an IP address"),
        (hosts_text(East='adress = "a"'), "unknown field `adress`"),
        (hosts_text(East='address = "a b"'), "host = 'a b'"),
        ("[nodes", "must be TOML"),
    ],
)
def test_hosts_that_cannot_be_are_refused_and_nothing_is_made(tmp_path: Path, text: str, words: str) -> None:
    done = prepared(tmp_path, text)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert words in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["hosts.toml"]


def test_a_scenario_with_satellites_and_a_folder_that_is_taken_are_refused(tmp_path: Path) -> None:
    done = prepared(tmp_path, hosts_text(), scenario="shanghai-vienna")
    assert (done.returncode, done.stdout) == (2, "")
    assert "has satellites" in done.stderr
    (tmp_path / "made").mkdir()
    done = prepared(tmp_path, hosts_text())
    assert (done.returncode, done.stdout) == (2, "")
    assert "is there already" in done.stderr


def test_a_node_with_another_ones_file_or_none_does_not_start(tmp_path: Path) -> None:
    assert prepared(tmp_path, hosts_text()).returncode == 0
    config = tmp_path / "made" / "kme-north" / "node.toml"
    assert tiandi("node", "East", "--config", config).stderr == f"tiandi: name = 'East': must be North, whose file {config} is\n"
    assert "cannot be read" in tiandi("node", "North", "--config", tmp_path / "none.toml").stderr
    for before, after, words in (
        ("format = 1", "format = 2", "format"),
        ('role = "transmitter"', 'role = "sender"', "role"),
        ('"192.0.2.1:8444"', '"192.0.2.1"', "links[0].post_processing = '192.0.2.1': must be HOST:PORT"),
        ('name = "North - East"', 'name = "North - South"', "must be a fibre link of ring"),
        ('node = "North"', 'node = "North"\nfolder = "x"', "folder"),
    ):
        text = config.read_text(encoding="utf-8")
        wrong = config.with_name("wrong.toml")
        wrong.write_text(text.replace(before, after, 1), encoding="utf-8")
        done = tiandi("node", "North", "--config", wrong)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1), done.stderr
        assert words in done.stderr


def test_an_address_that_is_not_of_this_host_is_told_in_one_line(tmp_path: Path) -> None:
    assert prepared(tmp_path, hosts_text()).returncode == 0
    running = command("node", "North", "--config", tmp_path / "made" / "kme-north" / "node.toml")
    done = subprocess.run(running, capture_output=True, text=True, check=False, timeout=PATIENCE_S)
    assert (done.returncode, done.stdout) == (2, "")
    assert "listen.port" in done.stderr.splitlines()[-1]
