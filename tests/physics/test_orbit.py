import json
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from skyfield.api import EarthSatellite, load, wgs84
from skyfield.framelib import itrs

from tiandi.clock import julian_date, julian_dates, parse_utc
from tiandi.errors import ElementsError
from tiandi.physics.ground_track import geodetic, ground_track
from tiandi.physics.omm import parse_omm
from tiandi.physics.orbit import Elements, Station, look_angles, propagate, propagate_with_velocities, range_rate_km_per_s

MICIUS = (
    "1 41731U 16051A   16353.90152003  .00000364  00000-0  17957-4 0  9993",
    "2 41731  97.3699 267.4500 0013200 178.5836 246.0824 15.23915303 19063",
)
XINGLONG = Station("Xinglong", 40.395867, 117.577458, 890)
# skyfield 1.55 sets a dtype in place, which NumPy 2.5 deprecates; it is the oracle here and not ours to mend.
pytestmark = pytest.mark.filterwarnings("ignore:Setting the dtype:DeprecationWarning")
MICIUS_OMM = {
    "OBJECT_NAME": "Micius",
    "OBJECT_ID": "2016-051A",
    "CENTER_NAME": "EARTH",
    "REF_FRAME": "TEME",
    "TIME_SYSTEM": "UTC",
    "MEAN_ELEMENT_THEORY": "SGP4",
    "EPOCH": "2016-12-18T21:38:11.331",
    "MEAN_MOTION": "15.23915303",
    "ECCENTRICITY": "0.0013200",
    "INCLINATION": "97.3699",
    "RA_OF_ASC_NODE": "267.4500",
    "ARG_OF_PERICENTER": "178.5836",
    "MEAN_ANOMALY": "246.0824",
    "EPHEMERIS_TYPE": "0",
    "CLASSIFICATION_TYPE": "U",
    "NORAD_CAT_ID": "41731",
    "ELEMENT_SET_NO": "999",
    "REV_AT_EPOCH": "1906",
    "BSTAR": "0.000017957",
    "MEAN_MOTION_DOT": "0.00000364",
    "MEAN_MOTION_DDOT": "0",
}
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


def test_vallados_first_satellite_is_where_his_program_puts_it() -> None:
    """Satellite 00005 of AIAA 2006-6753: position and velocity of date six hours after its epoch (recalled), to the millimetre."""
    line1 = "1 00005U 58002B   00179.78495062  .00000023  00000-0  28098-4 0  4753"
    line2 = "2 00005  34.2682 348.7242 1859667 331.7664  19.3264 10.82419157413667"
    elements = Elements("Vanguard 1", line1, line2)
    (position,), (velocity,) = propagate_with_velocities(elements, np.array([elements.epoch_julian_date + 0.25]))
    assert position[2] == pytest.approx(-3536.19412294, abs=2e-4)
    assert np.linalg.norm(position) == pytest.approx(np.linalg.norm([-7154.03120202, -3783.17682504, -3536.19412294]), abs=2e-4)
    assert velocity[2] == pytest.approx(-2.093935425, abs=1e-6)


@pytest.mark.parametrize(
    ("start", "within_km"),
    [("2016-12-19", 0.25), ("2017-01-05", 0.3)],
)
def test_positions_are_skyfields_but_for_what_utc_is_off_the_turning_earth(start: str, within_km: float) -> None:
    """UT1 was 0.4 s behind UTC then, and 0.6 s ahead after the leap second: 0.2 km and 0.3 km at this latitude."""
    timescale = load.timescale(builtin=True)
    origin, offsets_s = parse_utc(start), np.arange(0.0, 6000.0, 60.0)
    moments = timescale.from_datetimes([origin + timedelta(seconds=float(offset)) for offset in offsets_s])
    theirs = EarthSatellite(*MICIUS, "Micius", timescale).at(moments).frame_xyz(itrs).km.T
    apart_km = np.linalg.norm(propagate(Elements("Micius", *MICIUS), julian_dates(origin, offsets_s)) - theirs, axis=1)
    assert apart_km.max() < within_km


def test_velocities_are_those_of_the_positions() -> None:
    moments = julian_dates(parse_utc("2016-12-19T16:50:00"), np.arange(0.0, 300.0, 10.0))
    elements = Elements("Micius", *MICIUS)
    _, velocities = propagate_with_velocities(elements, moments)
    # A double holds a Julian date to 40 microseconds, so a difference over 2 x 4 s is good to some centimetres per second.
    near, far = ((propagate(elements, moments + h / 86400) - propagate(elements, moments - h / 86400)) / (2 * h) for h in (4.0, 8.0))
    assert velocities == pytest.approx((4 * near - far) / 3, abs=3e-4)


def test_the_range_rate_is_how_the_range_changes_and_what_skyfield_says() -> None:
    elements, offsets_s = Elements("Micius", *MICIUS), np.arange(0.0, 300.0, 10.0)
    origin = parse_utc("2016-12-19T16:50:00")
    moments = julian_dates(origin, offsets_s)
    rate = range_rate_km_per_s(XINGLONG, *propagate_with_velocities(elements, moments))

    def difference(h: float) -> np.ndarray:
        later, earlier = (look_angles(XINGLONG, propagate(elements, moments + sign * h / 86400)).range_km for sign in (1, -1))
        return (later - earlier) / (2 * h)

    assert rate == pytest.approx((4 * difference(2.0) - difference(4.0)) / 3, abs=4e-4)
    timescale = load.timescale(builtin=True)
    site = wgs84.latlon(XINGLONG.latitude_deg, XINGLONG.longitude_deg, XINGLONG.altitude_m)
    times = timescale.from_datetimes([origin + timedelta(seconds=float(offset)) for offset in offsets_s])
    away, velocity = (EarthSatellite(*MICIUS, "Micius", timescale) - site).at(times).frame_xyz_and_velocity(itrs)
    theirs = (away.km * velocity.km_per_s).sum(axis=0) / np.linalg.norm(away.km, axis=0)
    assert rate == pytest.approx(theirs, abs=2e-3)
    assert rate.min() < -6
    assert rate.max() > 5


def test_geodetic_coordinates_are_the_inverse_of_a_stations_position() -> None:
    rng = np.random.default_rng(1)
    stations = [Station("Somewhere", *rng.uniform((-90, -180, -9000), (90, 180, 9000))) for _ in range(500)]
    stations += [Station("Pole", 90.0, 0.0, 2800), Station("South Pole", -90.0, 0.0), Station("Null Island", 0.0, 0.0)]
    found = geodetic(np.array([station.position_km() for station in stations]))
    again = [
        Station("Again", latitude, longitude, 1000 * altitude).position_km()
        for latitude, longitude, altitude in zip(found.latitude_deg, found.longitude_deg, found.altitude_km, strict=True)
    ]
    assert np.array(again) == pytest.approx(np.array([station.position_km() for station in stations]), abs=1e-9)
    assert found.latitude_deg == pytest.approx([station.latitude_deg for station in stations], abs=1e-9)
    assert found.altitude_km == pytest.approx([station.altitude_m / 1000 for station in stations], abs=1e-9)


def test_the_ground_track_is_skyfields() -> None:
    timescale = load.timescale(builtin=True)
    origin, offsets_s = parse_utc("2016-12-19"), np.arange(0.0, 6000.0, 60.0)
    track = ground_track(Elements("Micius", *MICIUS), julian_dates(origin, offsets_s))
    times = timescale.from_datetimes([origin + timedelta(seconds=float(offset)) for offset in offsets_s])
    theirs = wgs84.geographic_position_of(EarthSatellite(*MICIUS, "Micius", timescale).at(times))
    assert track.latitude_deg == pytest.approx(theirs.latitude.degrees, abs=1e-4)
    assert track.altitude_km == pytest.approx(theirs.elevation.km, abs=1e-3)
    across_deg = (track.longitude_deg - theirs.longitude.degrees + 180) % 360 - 180
    assert np.abs(across_deg).max() < 0.0025  # UT1 - UTC = -0.4 s, in which the Earth turns by 0.0017 degree.


def omm_as_xml() -> str:
    in_metadata = ("OBJECT_NAME", "OBJECT_ID", "CENTER_NAME", "REF_FRAME", "TIME_SYSTEM", "MEAN_ELEMENT_THEORY")
    mean = ("EPOCH", "MEAN_MOTION", "ECCENTRICITY", "INCLINATION", "RA_OF_ASC_NODE", "ARG_OF_PERICENTER", "MEAN_ANOMALY")
    metadata, elements, other = (
        "".join(f"<{field}>{value}</{field}>" for field, value in MICIUS_OMM.items() if chosen(field))
        for chosen in (in_metadata.__contains__, mean.__contains__, lambda field: field not in in_metadata + mean)
    )
    data = f"<data><meanElements>{elements}</meanElements><tleParameters>{other}</tleParameters></data>"
    body = f"<body><segment><metadata>{metadata}</metadata>{data}</segment></body>"
    return f'<?xml version="1.0"?><ndm><!-- one --><omm id="CCSDS_OMM_VERS" version="3.0"><header/>{body}</omm></ndm>'


OMM_TEXTS = {
    "json": json.dumps([{**MICIUS_OMM, "MEAN_MOTION": 15.23915303, "NORAD_CAT_ID": 41731, "DECAY_DATE": None}]),
    "kvn": "CCSDS_OMM_VERS = 3.0\nCOMMENT as broadcast\n\n"
    + "\n".join(f"{field} = {value}{' [deg]' if field == 'INCLINATION' else ''}" for field, value in MICIUS_OMM.items()),
    "xml": omm_as_xml(),
}


@pytest.mark.parametrize("form", OMM_TEXTS)
def test_an_omm_puts_the_satellite_where_its_two_lines_do(form: str) -> None:
    (message,) = parse_omm(OMM_TEXTS[form])
    elements, moments = Elements.from_omm(message), julian_dates(parse_utc("2016-12-19"), np.arange(0.0, 86400.0, 600.0))
    assert elements.name == "Micius"
    # The epochs differ by the 0.3 ms that two lines round off.
    assert propagate(elements, moments) == pytest.approx(propagate(Elements("Micius", *MICIUS), moments), abs=5e-3)
    with pytest.raises(ElementsError, match="must lie within 30 days"):
        elements.require_age(parse_utc("2017-06-01"))


def test_a_file_of_messages_holds_each() -> None:
    two = OMM_TEXTS["kvn"] + "\n" + OMM_TEXTS["kvn"].replace("Micius", "Stand-in")
    assert [Elements.from_omm(message).name for message in parse_omm(two)] == ["Micius", "Stand-in"]


@pytest.mark.parametrize(
    ("field", "value", "limit"),
    [
        ("MEAN_MOTION", "fast", r"must be a number in \[0.01, 18\]"),
        ("MEAN_MOTION", "nan", "must be a number"),
        ("ECCENTRICITY", 1.2, "must be a number"),
        ("INCLINATION", None, "must be there"),
        ("BSTAR", "", "must be there"),
        ("EPOCH", "yesterday", "write it as 2016-12-18"),
        ("EPOCH", "2016-400T00:00:00", "write it as 2016-12-18"),
        ("REF_FRAME", "ICRF", "must be TEME"),
        ("EPHEMERIS_TYPE", 4, "must be 0 or 2"),
    ],
)
def test_an_omm_that_sgp4_cannot_use_is_refused_by_field(field: str, value: object, limit: str) -> None:
    with pytest.raises(ElementsError, match=rf"elements of Micius.*{limit}") as caught:
        Elements.from_omm({**MICIUS_OMM, field: value})
    assert field in caught.value.field


@pytest.mark.parametrize(
    "text", ["", "[]", "[1]", "{}", "Micius", "<ndm>", "<ndm/>", "<ndm><segment/></ndm>", '<!DOCTYPE a [<!ENTITY b "c">]><a/>']
)
def test_text_that_is_no_omm_is_refused(text: str) -> None:
    with pytest.raises(ElementsError, match="OMM"):
        parse_omm(text)


def test_an_omm_without_a_name_is_refused() -> None:
    with pytest.raises(ElementsError, match="an OMM, OBJECT_NAME = None: must be there"):
        Elements.from_omm({field: value for field, value in MICIUS_OMM.items() if field != "OBJECT_NAME"})


def test_an_epoch_may_be_a_day_of_the_year_and_a_catalogue_number_may_have_nine_digits() -> None:
    calendar = Elements.from_omm(MICIUS_OMM)
    ordinal = Elements.from_omm({**MICIUS_OMM, "EPOCH": "2016-353T21:38:11.331", "NORAD_CAT_ID": "799500001"})
    assert ordinal.epoch_julian_date == calendar.epoch_julian_date


def test_elements_are_equal_when_they_were_made_from_the_same() -> None:
    assert Elements("Micius", *MICIUS) == Elements("Micius", *MICIUS)
    assert len({Elements.from_omm(MICIUS_OMM), Elements.from_omm(dict(MICIUS_OMM)), Elements("Micius", *MICIUS)}) == 2
    assert repr(Elements("Micius", *MICIUS)).startswith("Elements(name='Micius', source=('1 41731U 16051A")
