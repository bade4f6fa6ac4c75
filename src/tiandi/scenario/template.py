"""Scenario files of the user's own: commented templates, or a copy of a packaged scenario, under a new name."""

from __future__ import annotations

import json
import re
from importlib import resources
from pathlib import Path

from tiandi.errors import ScenarioError
from tiandi.scenario.checks import known
from tiandi.scenario.scenario import load_scenario, packaged_scenarios

NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")
EQUIPMENT = "equipment"
DEFAULT_TEMPLATE = "network"


def templates() -> list[str]:
    """Names of the templates that come with tiandi."""
    folder = resources.files("tiandi.scenario") / "data" / "templates"
    return sorted(item.name.removesuffix(".toml") for item in folder.iterdir() if item.name != f"{EQUIPMENT}.toml")


def equipment_text() -> str:
    """Usual equipment of fibre links as TOML, every figure labelled."""
    return _data("templates", f"{EQUIPMENT}.toml")


def require_name(name: str) -> None:
    """Raise ScenarioError unless ``name`` can be that of a new scenario."""
    if not NAME.fullmatch(name):
        raise ScenarioError("name", name, "must be 1 to 64 small letters, digits and hyphens, such as my-network")
    if name in packaged_scenarios():
        raise ScenarioError("name", name, "is the name of a scenario that comes with tiandi; choose another")


def new_scenario(name: str, template: str, folder: Path) -> list[Path]:
    """Write NAME.toml into ``folder`` after a template or a packaged scenario, with its picture if it has one; returns the new files.

    Raises ScenarioError on a bad name, an unknown template, or files that are there already.
    """
    require_name(name)
    known("from", template, [*templates(), *packaged_scenarios()])
    files = {f"{name}.toml": b""}
    if template in templates():
        text = _data("templates", f"{template}.toml")
    else:
        text = _data(f"{template}.toml")
        message = load_scenario(template).file.run.demonstration
        if message is not None and message.picture:
            files[message.picture] = (resources.files("tiandi.scenario") / "data" / message.picture).read_bytes()
    text = re.sub(r'^name = ".*"$', f"name = {json.dumps(name)}", text, count=1, flags=re.MULTILINE)
    files[f"{name}.toml"] = text.encode()
    for file in files:
        _require_absent(folder / file)
    return [write_new(folder / file, content) for file, content in files.items()]


def write_new(path: Path, content: bytes) -> Path:
    """Write a file that is not there yet. Raises ScenarioError when it is, or cannot be written."""
    _require_absent(path)
    try:
        with path.open("xb") as file:
            file.write(content)
    except OSError as error:
        raise ScenarioError("file", str(path), f"cannot be written: {error.strerror}") from None
    return path


def _require_absent(path: Path) -> None:
    if path.exists():
        raise ScenarioError("file", str(path), "is there already; remove it or choose another name")


def _data(*parts: str) -> str:
    return resources.files("tiandi.scenario").joinpath("data", *parts).read_text(encoding="utf-8")
