import json
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest

from tiandi.clock import julian_date, parse_utc
from tiandi.errors import ElementsError
from tiandi.physics.orbit import Elements, Station, look_angles, propagate

MICIUS = (
    "1 41731U 16051A   16353.90152003  .00000364  00000-0  17957-4 0  9993",
    "2 41731  97.3699 267.4500 0013200 178.5836 246.0824 15.23915303 19063",
)
XINGLONG = Station("Xinglong", 40.395867, 117.577458, 890)
ROWS = json.loads((Path(__file__).parents[1] / "against" / "vectors.json").read_text())["sgp4_micius_xinglong_2016-12-19"]["rows"]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["utc"][11:19])
def test_micius_over_xinglong_as_skyfield_sees_it(row: dict[str, float | str]) -> None:
    moments = np.array([julian_date(datetime.fromisoformat(str(row["utc"])))])
    look = look_angles(XINGLONG, propagate(Elements("Micius", *MICIUS), moments))
    assert look.range_km[0] == pytest.approx(row["range_km"], abs=0.5)
    assert look.elevation_deg[0] == pytest.approx(row["el"], abs=0.02)
    across_deg = (look.azimuth_deg[0] - float(row["az"]) + 180) % 360 - 180
    assert abs(across_deg) * np.cos(np.radians(float(row["el"]))) < 0.02


def test_published_separations_are_chords_between_stations() -> None:
    delingha = Station("Delingha", 37.379008, 97.726947, 3153).position_km()
    lijiang = Station("Lijiang", 26.693931, 100.029319, 3233).position_km()
    nanshan = Station("Nanshan", 43.475461, 87.176686, 2028).position_km()
    # 1,203 km: Yin et al. 2017, doi:10.1126/science.aan3211; 1,120 km: Yin et al. 2020, doi:10.1038/s41586-020-2401-y.
    assert np.linalg.norm(delingha - lijiang) == pytest.approx(1203, abs=1)
    assert np.linalg.norm(delingha - nanshan) == pytest.approx(1120, abs=1)


def test_a_changed_digit_fails_the_checksum() -> None:
    with pytest.raises(ElementsError, match=r"line 1.*checksum must be 4, not 3"):
        Elements("Micius", MICIUS[0].replace("16051A   16353", "16051A   16354"), MICIUS[1])


@pytest.mark.parametrize("line", ["", "1 41731U", MICIUS[1]])
def test_something_else_than_line_1_is_refused(line: str) -> None:
    with pytest.raises(ElementsError, match="elements of Micius, line 1"):
        Elements("Micius", line, MICIUS[1])


@pytest.mark.parametrize("moment", ["2014-12-19T00:00:00", "2026-11-22T00:00:00"])
def test_elements_are_refused_years_from_their_date(moment: str) -> None:
    with pytest.raises(ElementsError, match=r"age at .* must lie within 30 days"):
        Elements("Micius", *MICIUS).require_age(parse_utc(moment))


def test_a_decayed_orbit_is_refused() -> None:
    # The set of September 2025, whose drag brings it down within months.
    line1 = "1 41731U 16051A   25265.33409832  .00080539  00000-0  89175-3 0  9999"
    line2 = "2 41731  97.2945 187.6583 0004596  12.3887 347.7483 15.62724089508176"
    with pytest.raises(ElementsError, match="SGP4 must reach the date"):
        propagate(Elements("Micius", line1, line2), np.array([julian_date(parse_utc("2026-06-01"))]))
