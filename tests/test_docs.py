"""What the documents show, runs; what they name, exists."""

from __future__ import annotations

import contextlib
import io
import json
import re
import runpy
import subprocess
from pathlib import Path

import pytest

from tests.command_line import tiandi
from tiandi.cli import audit, cloud, control, distill, gbs, keys, kme, machines, node, pki, plan, sae, scenarios
from tiandi.cli.main import app

ROOT = Path(__file__).parents[1]
DOCUMENTS = [ROOT / "README.md", ROOT / "ARCHITECTURE.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"```(python|text)\n(.*?)```", re.DOTALL)


def python_blocks() -> list[tuple[str, str, str | None]]:
    """Each block of Python with the block of text behind it, its output."""
    found = []
    for path in DOCUMENTS:
        blocks = BLOCK.findall(path.read_text(encoding="utf-8"))
        for number, (kind, code) in enumerate(blocks):
            if kind == "python":
                follower = blocks[number + 1] if number + 1 < len(blocks) else ("", "")
                found.append((f"{path.name}-{number}", code, follower[1] if follower[0] == "text" else None))
    return found


@pytest.mark.parametrize(("name", "code", "output"), python_blocks(), ids=[name for name, _, _ in python_blocks()])
def test_python_in_the_documents_runs_and_prints_what_they_say(name: str, code: str, output: str | None) -> None:
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(code, name, "exec"), {})
    if output is not None:
        assert _steady(printed.getvalue()) == _steady(output)


def _steady(text: str) -> list[str]:
    """Lines without the digits that differ from run to run: the sample and the shuffles of error correction are drawn afresh."""
    lines = [line.rstrip() for line in text.strip().splitlines()]
    return [re.sub(r"\d", "9", line) if re.search("secret bits|sifted|leaked|secret   ", line) else line for line in lines]


def test_the_readme_shows_eight_lines() -> None:
    _, code, _ = python_blocks()[0]
    assert len([line for line in code.splitlines() if line.strip()]) == 8


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_links_between_documents_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", path.read_text(encoding="utf-8")):
        assert (path.parent / target).exists(), target


# fmt: off
COMMANDS = [
    "demo", "passes", "reproduce", "distill", "kme", "keys", "node", "pki", "audit", "scenario", "plan", "sae", "up", "down", "status",
    "machines", "rcs", "qec", "control", "gbs", "cloud",
]
# fmt: on
GROUPS = (distill, kme, keys, node, pki, audit, scenarios, plan, sae, machines, control, gbs, cloud)
PARTS = [f"{group.app.name[0]} {name}" for group in GROUPS for name in group.app if not name.startswith("-")]


@pytest.mark.parametrize("command", COMMANDS + PARTS)
def test_every_command_and_option_is_in_the_manual(command: str) -> None:
    manual = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    assert f"tiandi {command}" in manual
    for option in re.findall(r"--[a-z][a-z-]+", tiandi(*command.split(), "--help").stdout):
        assert option in manual


@pytest.mark.parametrize("page", ["distillation.md", "key-management.md"])
def test_the_tables_of_the_protocols_are_those_of_the_code(page: str) -> None:
    drawn = runpy.run_path(str(ROOT / "docs" / "draw_tables.py"))["drawn"](page)
    assert (ROOT / "docs" / page).read_text(encoding="utf-8") == drawn


def test_every_test_that_the_protocol_names_is_there() -> None:
    page = (ROOT / "docs" / "distillation.md").read_text(encoding="utf-8")
    source = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    for name in re.findall(r"`(test_\w+)`", page):
        assert f"def {name}(" in source
    for path in re.findall(r"`(tests/[\w/.]+)`", page):
        assert (ROOT / path).exists()


def test_no_command_is_left_out_of_the_manual() -> None:
    assert {name for name in app if not name.startswith("-")} == set(COMMANDS)


def test_every_route_of_the_kme_is_in_the_manual() -> None:
    manual = (ROOT / "docs" / "kme-api.md").read_text(encoding="utf-8")
    room = ROOT / "src" / "tiandi" / "kms"
    documented = [path for document in room.glob("openapi/*.json") for path in json.loads(document.read_text(encoding="utf-8"))["paths"]]
    between_kmes = [path for module in room.rglob("*.py") for path in re.findall(r'"(/kx/v1/[\w-]+)"', module.read_text(encoding="utf-8"))]
    assert len(documented) > 20
    assert len(between_kmes) > 5
    for path in {*documented, *between_kmes}:
        assert path in manual or path.startswith("/openapi/")


def test_architecture_fits_on_two_pages() -> None:
    assert len((ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8").split()) < 1100


def test_nothing_in_the_project_names_a_machine_or_a_registry_host() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\n")
    files = [ROOT / name for name in listed if name and (ROOT / name).is_file() and name != "tests/test_docs.py"]
    hosts = re.compile(rb"pypi\.(org|python)|pythonhosted|registry\.npm|deb\.debian|/(work|farm)/")
    assert [path.name for path in files if hosts.search(path.read_bytes())] == []
