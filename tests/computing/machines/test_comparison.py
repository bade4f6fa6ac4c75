"""The comparison: figures, places, and a picture."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from tiandi.computing.machines.comparison import YARDSTICKS, Row, compare
from tiandi.computing.machines.comparison_figure import draw_comparison
from tiandi.computing.machines.twin import build_twin
from tiandi.computing.machines.yardsticks import HEAVY_SHARE, quantum_volume
from tiandi.errors import InputError


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    return compare()


def winner(rows: list[Row], key: str) -> set[str]:
    return {row.sheet.id for row in rows if row.ranks.get(key) == 1}


def test_the_order_changes_with_the_yardstick(rows: list[Row]) -> None:
    assert winner(rows, "qubits") == {"dwave-advantage2"}
    assert winner(rows, "two_qubit_error") == {"ibm-heron-r3"}
    assert winner(rows, "suppression") == {"google-willow"}
    assert len({frozenset(winner(rows, yardstick.key)) for yardstick in YARDSTICKS}) >= 4


def test_an_annealer_has_a_place_by_its_qubits_alone(rows: list[Row]) -> None:
    annealer = next(row for row in rows if row.sheet.kind == "annealer")
    assert set(annealer.ranks) == {"qubits"}


def test_what_is_assumed_is_shown_without_a_place(rows: list[Row]) -> None:
    row = next(row for row in rows if row.sheet.id == "zuchongzhi-3.2")
    assert row.figures["two_qubit_error"].label == "assumed"
    assert set(row.ranks) == {"qubits", "suppression"}
    assert row.by_published_suppression == pytest.approx(46.8e6, rel=0.01)


def test_what_is_computed_from_recalled_errors_says_so(rows: list[Row]) -> None:
    labels = {row.sheet.id: {row.figures[key].label for key in ("sampling", "quantum_volume", "factoring_qubits")} for row in rows}
    assert labels["zuchongzhi-2.1"] == {"recalled"}
    assert labels["zuchongzhi-3.0"] == {"computed"}
    assert labels["tianyan-287"] == {"assumed"}


def test_equals_share_a_place(rows: list[Row]) -> None:
    places = {row.sheet.id: row.ranks["qubits"] for row in rows}
    assert places["zuchongzhi-2.0"] == places["zuchongzhi-2.1"] == places["tianyan-176"]
    assert sorted(places.values())[:5] == [1, 2, 3, 4, 5]


def test_quantum_volume_grows_as_errors_shrink(rows: list[Row]) -> None:
    volumes = {row.sheet.id: row.figures["quantum_volume"].value for row in rows}
    assert volumes["origin-wukong"] < volumes["zuchongzhi-2.1"] < volumes["zuchongzhi-3.0"] <= volumes["ibm-nighthawk"]  # type: ignore[operator]
    assert quantum_volume(build_twin("google-willow", age_s=0.0)) in {64, 128, 256}
    # Cross et al. 2019: heavy outputs have (1 + ln 2)/2 of the probability, about 0.847.
    assert pytest.approx(0.847, abs=0.001) == HEAVY_SHARE


@pytest.mark.parametrize("ending", [".png", ".svg"])
def test_the_picture_can_be_opened(rows: list[Row], tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"order{ending}"
    draw_comparison(rows, path)
    if ending == ".png":
        assert min(Image.open(path).size) > 800
    else:
        assert "<svg" in path.read_text(encoding="utf-8")


@pytest.mark.parametrize(("path", "why"), [("order.bmp", "must end in .png"), ("/nowhere/order.png", "its folder must exist")])
def test_a_picture_that_cannot_be_written_is_refused(rows: list[Row], path: str, why: str) -> None:
    with pytest.raises(InputError, match=why):
        draw_comparison(rows, Path(path))
