"""The table of cloud against the papers it leans on, and files of the user's own with every fault they can have."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tiandi.errors import InputError
from tiandi.planning import climates
from tiandi.planning.climates import LABELS, Climate, load_climates, read_climates, read_cloud_record, record_fractions

GROUND_STATIONS = (
    "Xinglong",
    "Nanshan",
    "Delingha",
    "Lijiang",
    "Ngari",
    "Graz",
    "Jinan",
    "Hefei",
    "Wuhan",
    "Nanjing",
    "Beijing",
    "Shanghai",
    "Stellenbosch",
)
CLASSES = ("arid", "highland", "mediterranean", "monsoon", "temperate", "tropical")
ROW = """
[Roof]
cloud_fraction = [0.7, 0.6, 0.6, 0.5, 0.5, 0.5, 0.4, 0.4, 0.5, 0.6, 0.7, 0.8]
persistence_h = 8
source = "a camera on the roof, 2024"
label = "computed"
"""


def write(folder: Path, text: str, name: str = "file.csv") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_every_station_and_class_is_in_the_table_and_says_how_well_it_is_known() -> None:
    table = load_climates()
    assert set(GROUND_STATIONS + CLASSES) < set(table)
    for name, climate in table.items():
        assert climate.name == name
        assert climate.label in LABELS
        assert len(climate.source) > 20


@pytest.mark.parametrize(
    ("name", "months", "published", "within"),
    [
        pytest.param("Xinglong", range(12), 0.37, 0.01, id="Xinglong: 63 % spectroscopic nights, PASP 127, 1292"),
        pytest.param("Tenerife", range(12), 0.314, 0.01, id="Izana: 68.6 % cloud-free nights, arXiv 1211.1520"),
        pytest.param("Ngari", range(12), 0.20, 0.03, id="Ali: about 20 % by night, MNRAS stae582"),
        pytest.param("Ngari", (5, 6, 7), 0.50, 0.03, id="Ali in summer: 50 %, MNRAS stae582"),
    ],
)
def test_the_table_agrees_with_what_was_read(name: str, months: tuple[int, ...], published: float, within: float) -> None:
    fraction = np.array(load_climates()[name].cloud_fraction)
    assert fraction[list(months)].mean() == pytest.approx(published, abs=within)


def test_a_table_of_the_user_s_own(tmp_path: Path) -> None:
    (roof,) = read_climates(write(tmp_path, ROW)).values()
    assert roof == Climate(
        "Roof", (0.7, 0.6, 0.6, 0.5, 0.5, 0.5, 0.4, 0.4, 0.5, 0.6, 0.7, 0.8), (8.0,) * 12, "a camera on the roof, 2024", "computed"
    )


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("0.7, 0.6, 0.6,", "0.7,", r"climates \(Roof\).cloud_fraction = .* must have 12 values"),
        ("0.8]", "1.8]", r"climates \(Roof\).cloud_fraction = 1.8: must lie in \[0, 1\]"),
        ("0.8]", "nan]", r"climates \(Roof\).cloud_fraction = nan"),
        ("= 8", "= 0", r"climates \(Roof\).persistence_h = 0.0: must lie in \[0.5, 240\]"),
        ("computed", "measured", r"climates \(Roof\).label = 'measured': must be one of published"),
        ('"a camera on the roof, 2024"', '""', r"climates \(Roof\).source = '': must say where"),
        ("label", "labell", r"climates \(Roof\) = .* unknown field `labell`"),
        ("source =", "# source =", r"climates \(Roof\) = .* missing required field `source`"),
        ("[Roof]", "Roof = 3\n[other]", r"climates \(Roof\) = '3': Expected `object`"),
        ("[Roof]", "[Roof", "must be TOML in UTF-8"),
    ],
    ids=lambda value: None,
)
def test_bad_tables_name_field_value_and_limit(tmp_path: Path, old: str, new: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_climates(write(tmp_path, ROW.replace(old, new, 1)))


def test_a_record_of_the_sky_holds_until_the_next_line_or_six_hours(tmp_path: Path) -> None:
    lines = ("2025-01-01T00:00:00Z,A,1", "2025-01-01T00:00:00Z,B,0.5", "", "2025-01-01T08:00:00+08:00,C,0", "2025-01-01T01:00:00,A,0")
    record = read_cloud_record(write(tmp_path, "\n".join(("time, station, cloudy", *lines))))
    assert record.stations == ("A", "B", "C")
    midnight_s = record.time_s["A"][0]
    assert record.time_s["C"][0] == midnight_s
    wanted_s = midnight_s + 3600.0 * np.array([-0.1, 0.0, 0.9, 1.0, 6.9, 7.0])
    assert record_fractions(record, "A", wanted_s, 6 * 3600.0) == pytest.approx([np.nan, 1.0, 1.0, 0.0, 0.0, np.nan], nan_ok=True)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "file.csv, line 1 = ''"),
        ("when,who,what\n", "file.csv, line 1 = 'when,who,what': must be time,station,cloudy"),
        ("time,station,cloudy\n", "must have at least one line"),
        ("time,station,cloudy\n2025-01-01T00:00:00,A\n", "file.csv, line 2 = .* must have 3 values"),
        ("time,station,cloudy\nnoon,A,1\n", "file.csv, line 2, time = 'noon'"),
        ("time,station,cloudy\n2025-01-01T00:00:00,A,1\n2025-01-01T01:00:00,A,yes\n", "file.csv, line 3, cloudy = 'yes': must be a number"),
        ("time,station,cloudy\n2025-01-01T00:00:00,A,1.5\n", r"file.csv, line 2, cloudy = 1.5: must lie in \[0, 1\]"),
        ("time,station,cloudy\n2025-01-01T00:00:00,A,nan\n", "file.csv, line 2, cloudy = nan"),
        ("time,station,cloudy\n2025-01-01T00:00:00,,1\n", "file.csv, line 2, station = ''"),
        (
            "time,station,cloudy\n2025-01-01T00:00:00,A,1\n2025-01-01T00:00:00,A,0\n",
            "file.csv, line 3, time = .* later than the line before of A",
        ),
    ],
    ids=range(10),
)
def test_bad_records_name_the_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_cloud_record(write(tmp_path, text))


def test_files_that_are_missing_too_large_or_no_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for read in (read_climates, read_cloud_record):
        with pytest.raises(InputError, match="must be an existing file"):
            read(tmp_path / "nowhere")
        binary = tmp_path / "binary"
        binary.write_bytes(b"\xff\xfe\x00")
        with pytest.raises(InputError, match="in UTF-8"):
            read(binary)
    monkeypatch.setattr(climates, "RECORD_FILE_LIMIT_BYTE", 10)
    monkeypatch.setattr(climates, "CLIMATE_FILE_LIMIT_BYTE", 10)
    for read in (read_climates, read_cloud_record):
        with pytest.raises(InputError, match="must be smaller than 10 bytes"):
            read(write(tmp_path, ROW))
