"""What the pages of the recipes say is what the scripts take and write."""

from __future__ import annotations

import re
import runpy
import shlex
import subprocess
import sys
from uuid import UUID

import pytest

from tests.recipes.scripts import RECIPES
from tiandi.kms.client import Key

LINES = [
    (page.name, line.strip())
    for page in [RECIPES.parent / "recipes.md", *sorted(RECIPES.glob("*.md"))]
    for line in page.read_text(encoding="utf-8").splitlines()
    if re.match(r"    (.*\| )?(python \w+\.py|tiandi) ", line)
]


@pytest.mark.parametrize(("page", "line"), LINES, ids=[f"{page}-{number}" for number, (page, _) in enumerate(LINES)])
def test_options_on_the_pages_are_those_of_the_programs(page: str, line: str) -> None:
    words = shlex.split(line.rsplit(" | ", maxsplit=1)[-1].split(" > ", maxsplit=1)[0])
    program = [str(RECIPES / words[1])] if words[0] == "python" else ["-m", *words[:3]]
    done = subprocess.run([sys.executable, *program, "--help"], capture_output=True, text=True, check=True)
    for option in (word for word in words if word.startswith("--")):
        assert re.search(rf"{option}\b", done.stdout), f"{page}: {option}"


def test_every_script_has_a_page_and_every_page_is_listed() -> None:
    listed = (RECIPES.parent / "recipes.md").read_text(encoding="utf-8")
    for file in RECIPES.iterdir():
        assert file.suffix not in (".py", ".md") or file.name in listed


def test_the_page_of_strongswan_shows_what_the_script_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(RECIPES))
    page = (RECIPES / "strongswan.md").read_text(encoding="utf-8")
    (identifier,) = set(re.findall(r"ppk_id = (\S+)", page))
    written = runpy.run_path(str(RECIPES / "strongswan.py"))["configuration"]("gateway", [Key(UUID(identifier), bytes(32))])
    shown = "".join(f"    {line}\n" for line in written.replace("0" * 64, "...").splitlines())
    assert shown in page
