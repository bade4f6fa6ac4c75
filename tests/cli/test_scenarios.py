"""`tiandi scenario`, as its user meets it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.command_line import tiandi
from tiandi.cli import EXIT_BAD_INPUT


def test_list_names_scenarios_and_templates() -> None:
    listed = json.loads(tiandi("scenario", "list", "--json").stdout)
    assert {"national", "shanghai-vienna"} <= {entry["name"] for entry in listed["scenarios"]}
    assert listed["templates"] == ["network", "satellite"]
    assert "national " in tiandi("scenario", "list").stdout


def test_show_says_what_is_in_a_scenario() -> None:
    shown = json.loads(tiandi("scenario", "show", "national", "--json").stdout)
    assert shown["nodes"] == {"trusted node": 145, "ground station": 6, "satellite": 1}
    assert "145 trusted node" in tiandi("scenario", "show", "national").stdout


def test_a_new_scenario_is_checked_and_runs(tmp_path: Path) -> None:
    assert tiandi("scenario", "new", "mine", folder=tmp_path).stdout == "written: mine.toml\n"
    checked = json.loads(tiandi("scenario", "check", "mine.toml", "--json", folder=tmp_path).stdout)
    assert checked["links"] == {"fibre": 4}
    assert checked["wanted_bps"] == 6000.0
    again = tiandi("scenario", "new", "mine", folder=tmp_path)
    assert (again.returncode, again.stderr.count("\n")) == (EXIT_BAD_INPUT, 1)
    done = tiandi("demo", "--scenario", "mine.toml", "--seed", "1", "--eavesdropper", "none", "--json", folder=tmp_path)
    assert json.loads(done.stdout)["text"]["received"] == "Greetings from North to South."


def test_a_scenario_for_studies_only_has_no_demonstration() -> None:
    done = tiandi("demo", "--scenario", "national", "--eavesdropper", "none")
    assert done.returncode == EXIT_BAD_INPUT
    assert done.stderr == "tiandi: run.message = None: the demonstration needs it: say who sends what to whom, or use `tiandi plan`\n"


def test_a_table_is_imported(tmp_path: Path) -> None:
    (tmp_path / "links.csv").write_text("from,to,length_km\nA,B,50\nB,C,120\n")
    done = tiandi("scenario", "import", "links.csv", "--format", "csv", "--name", "abc", "--json", folder=tmp_path)
    assert json.loads(done.stdout) == {"written": ["abc.toml"]}
    assert "4 nodes, 3 links" in tiandi("scenario", "check", "abc.toml", folder=tmp_path).stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("show", "nowhere"), "scenario = 'nowhere': must be one of"),
        (("check", "missing.toml"), "scenario = 'missing.toml'"),
        (("new", "Bad Name"), "name = 'Bad Name'"),
        (("new", "mine", "--from", "mars"), "from = 'mars': must be one of"),
        (("new", "mine", "--folder", "nowhere"), "cannot be written"),
        (("import", "missing.graphml", "--format", "graphml"), "file = 'missing.graphml': must be an existing file"),
        (("import", "x.graphml", "--format", "graphml", "--nodes", "x.csv"), "nodes = 'x.csv': goes with --format csv only"),
    ],
)
def test_bad_input_gets_one_line(tmp_path: Path, arguments: tuple[str, ...], message: str) -> None:
    done = tiandi("scenario", *arguments, folder=tmp_path)
    assert done.returncode == EXIT_BAD_INPUT
    assert done.stderr.startswith("tiandi: ")
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
