"""Tables and pictures at the widths and colours that terminals have."""

from __future__ import annotations

import io
from functools import cache

import pytest
from rich.console import Console

from tests.conftest import RING_SCENARIO
from tiandi.cli.render import show_report
from tiandi.scenario.demonstration import Pictures, demonstrate
from tiandi.scenario.report import Report
from tiandi.scenario.scenario import load_scenario


@cache
def result() -> tuple[Report, Pictures]:
    return demonstrate(load_scenario(str(RING_SCENARIO)), seed=1)


def shown(width: int, colors: str | None) -> str:
    console = Console(file=io.StringIO(), width=width, color_system=colors, force_terminal=colors is not None)  # type: ignore[arg-type]
    show_report(console, *result())
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize("width", [80, 118, 200])
def test_every_figure_is_whole_at_every_width(width: int) -> None:
    text = shown(width, None)
    assert "…" not in text
    for row in result()[0].links:
        line = next(line for line in text.splitlines() if f"{row.detected:,}" in line)
        for figure in (f"{row.sifted_bit:,}", f"{row.leaked_bit:,}", f"{row.secret_bit:,}", f"{100 * row.qber:.2f}"):
            assert figure in line
    assert max(len(line) for line in text.splitlines()) <= width


def test_a_picture_is_shown_in_colour_where_there_is_colour() -> None:
    assert "\x1b[38;2;250;220;120" in shown(120, "truecolor")  # The yellow dot of the ring's picture.
    assert "\x1b[" not in shown(120, None)
