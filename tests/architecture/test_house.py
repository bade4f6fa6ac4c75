"""The house keeps its shape: one door, named units, modest rooms, nothing said that does not run."""

from __future__ import annotations

import ast
import importlib
import re
from functools import cache
from pathlib import Path

import pytest

import tiandi

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "tiandi"
MODULES = sorted(SOURCE.rglob("*.py"))

LONGEST_MODULE = 420
LONGEST_FUNCTION = 62
INTERFACE = ("now", "put", "take_blocks", "steps", "measure")
"""Methods of a protocol, which says what they do for all that follow it."""
DIMENSION = re.compile(
    r"(length|distance|range|height|altitude|duration|time|delay|rate|frequency|clock|loss|attenuation|angle|divergence"
    r"|elevation|latitude|longitude|aperture|wavelength|extinction)$"
)


@cache
def functions() -> list[tuple[Path, ast.FunctionDef | ast.AsyncFunctionDef]]:
    return [
        (path.relative_to(SOURCE), node)
        for path in MODULES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]


def test_the_one_obvious_door() -> None:
    assert sorted(name for name in dir(tiandi) if not name.startswith("_")) == [
        "Detector",
        "DownlinkChannel",
        "Elements",
        "FibreChannel",
        "InterSatelliteChannel",
        "LinkBlock",
        "QkdLink",
        "Receiver",
        "SatellitePass",
        "Scenario",
        "SecuritySettings",
        "Station",
        "TiandiError",
        "Transmitter",
        "UplinkChannel",
        "Visibility",
        "demonstrate",
        "find_passes",
        "load_scenario",
    ]
    assert all(getattr(tiandi, name) is not None for name in tiandi.__all__)
    with pytest.raises(AttributeError, match="nothing_here"):
        _ = tiandi.nothing_here


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_every_module_says_what_it_is_for_and_stays_modest(path: Path) -> None:
    text = path.read_text()
    assert ast.get_docstring(ast.parse(text))
    assert len(text.splitlines()) <= LONGEST_MODULE


def test_functions_stay_modest() -> None:
    lengths = {f"{path}:{node.name}": (node.end_lineno or 0) - node.lineno for path, node in functions()}
    assert {name: length for name, length in lengths.items() if length > LONGEST_FUNCTION} == {}


def test_every_public_function_says_what_it_does() -> None:
    silent = []
    for path in MODULES:
        for node in ast.parse(path.read_text()).body:
            inside = node.body if isinstance(node, ast.ClassDef) and not node.name.startswith("_") else []
            for item in [node, *inside]:
                if not isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) or item.name.startswith("_"):
                    continue
                trivial = len(item.body) == 1 and isinstance(item.body[0], ast.Return | ast.Expr)
                if not ast.get_docstring(item) and not trivial and item.name not in INTERFACE:
                    silent.append(f"{path.relative_to(SOURCE)}:{item.name}")
    assert silent == []


def test_every_figure_with_a_dimension_has_its_unit_in_its_name() -> None:
    """A parameter annotated float whose last word is a physical quantity lacks its unit."""
    bare = [
        f"{path}:{node.name}({argument.arg})"
        for path, node in functions()
        for argument in [*node.args.args, *node.args.kwonlyargs]
        if isinstance(argument.annotation, ast.Name) and argument.annotation.id == "float" and DIMENSION.search(argument.arg)
    ]
    assert bare == []


def test_nobody_lives_in_a_room_called_utils() -> None:
    assert not [path for path in SOURCE.rglob("*") if re.fullmatch(r"(util|utils|helpers|common|misc)(\.py)?", path.name)]


def test_nothing_is_left_open() -> None:
    left = re.compile(r"\b(TODO|FIXME|XXX|HACK|NotImplementedError)\b")
    assert [path.name for path in MODULES if left.search(path.read_text())] == []


@pytest.mark.parametrize(
    "name", ["cli", "scenario", "service", "management", "control", "quantum", "kms", "protocols", "physics", "distill"]
)
def test_every_floor_of_the_design_is_there(name: str) -> None:
    assert importlib.import_module(f"tiandi.{name}").__doc__
