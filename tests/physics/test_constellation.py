from datetime import timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiandi.clock import julian_dates, parse_utc
from tiandi.constants import EARTH_EQUATORIAL_RADIUS_KM, SECONDS_PER_DAY
from tiandi.errors import InputError
from tiandi.physics.constellation import designed_orbit, sun_synchronous_inclination_deg, walker_constellation
from tiandi.physics.orbit import Elements, propagate

EPOCH = parse_utc("2024-01-01T06:00:00")


def states_of_date(elements: Elements, offsets_s: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    moments = julian_dates(EPOCH, offsets_s)
    failures, positions, velocities = elements.satellite.sgp4_array(np.floor(moments), moments % 1.0)
    assert not failures.any()
    return positions, velocities


def node_deg(elements: Elements, offsets_s: np.ndarray) -> np.ndarray:
    """Right ascension of the ascending node, from the normal of the plane in which the satellite moves."""
    normal = np.cross(*states_of_date(elements, offsets_s))
    return np.degrees(np.arctan2(normal[:, 0], -normal[:, 1])) % 360


def argument_of_latitude_deg(elements: Elements) -> float:
    """Angle from the ascending node to the satellite at the epoch."""
    positions, velocities = states_of_date(elements, np.array([0.0]))
    normal = np.cross(positions, velocities)[0]
    to_node = np.array([-normal[1], normal[0], 0.0]) / np.hypot(normal[0], normal[1])
    ahead = np.cross(normal / np.linalg.norm(normal), to_node)
    return float(np.degrees(np.arctan2(positions[0] @ ahead, positions[0] @ to_node)) % 360)


def turn_deg(angle_deg: float) -> float:
    return (angle_deg + 180.0) % 360.0 - 180.0


@pytest.mark.parametrize(("altitude_km", "inclination_deg"), [(500.0, 97.4), (500.0, 30.0), (1200.0, 87.9), (23222.0, 56.0)])
def test_a_circular_orbit_keeps_its_altitude(altitude_km: float, inclination_deg: float) -> None:
    """The mean distance over a revolution is the semi-major axis but for the short periods of J2, some 10 km."""
    elements = designed_orbit("Design", epoch=EPOCH, altitude_km=altitude_km, inclination_deg=inclination_deg)
    distance_km = np.linalg.norm(states_of_date(elements, np.linspace(0.0, elements.period_s, 400))[0], axis=1)
    assert np.abs(distance_km - EARTH_EQUATORIAL_RADIUS_KM - altitude_km).max() < 15.0
    assert elements.satellite.a * 6378.135 == pytest.approx(EARTH_EQUATORIAL_RADIUS_KM + altitude_km, abs=0.03)


def test_the_period_is_keplers_but_for_the_flattening() -> None:
    elements = designed_orbit("Design", epoch=EPOCH, altitude_km=35786.0, inclination_deg=0.0)
    assert elements.period_s == pytest.approx(86164.1, abs=10)
    low = designed_orbit("Design", epoch=EPOCH, altitude_km=500.0, inclination_deg=97.4)
    assert low.period_s == pytest.approx(2 * np.pi * np.sqrt((EARTH_EQUATORIAL_RADIUS_KM + 500.0) ** 3 / 398600.4), rel=2e-3)


def test_perigee_lies_where_the_elements_put_it() -> None:
    """An orbit of the Molniya kind stays long over the north: apogee is opposite an argument of perigee of 270 degrees."""
    elements = designed_orbit(
        "Molniya", epoch=EPOCH, altitude_km=20180.0, inclination_deg=63.4, eccentricity=0.737, argument_of_perigee_deg=270.0
    )
    positions, _ = states_of_date(elements, np.linspace(0.0, elements.period_s, 2000))
    distance_km = np.linalg.norm(positions, axis=1)
    assert distance_km.min() == pytest.approx((EARTH_EQUATORIAL_RADIUS_KM + 20180.0) * (1 - 0.737), abs=30)
    assert np.degrees(np.arcsin(positions[distance_km.argmax(), 2] / distance_km.max())) == pytest.approx(63.4, abs=0.2)


@pytest.mark.parametrize(
    ("altitude_km", "published_deg"),
    [(500.0, 97.4), (705.0, 98.2), (786.0, 98.6), (475.0, 97.3)],
    ids=["500 km", "Landsat 8", "Sentinel-2", "2022-087"],
)
def test_sun_synchronous_inclinations_are_those_of_satellites_that_are(altitude_km: float, published_deg: float) -> None:
    assert sun_synchronous_inclination_deg(altitude_km) == pytest.approx(published_deg, abs=0.08)


@pytest.mark.parametrize("altitude_km", [400.0, 500.0, 800.0, 1200.0])
def test_sgp4_turns_a_sun_synchronous_plane_once_a_year(altitude_km: float) -> None:
    """SGP4 counts J2 squared and J4 as well: the turn is 360 degrees within 2, 8 minutes of local time in a year."""
    inclination_deg = sun_synchronous_inclination_deg(altitude_km)
    elements = designed_orbit("Design", epoch=EPOCH, altitude_km=altitude_km, inclination_deg=inclination_deg)
    revolution_s = np.linspace(0.0, elements.period_s, 64, endpoint=False)
    year_s = 365.2422 * SECONDS_PER_DAY
    unwrapped = [np.unwrap(np.radians(node_deg(elements, revolution_s + later_s))).mean() for later_s in (0.0, 0.25 * year_s, year_s)]
    quarter_deg, year_deg = (turn_deg(np.degrees(angle - unwrapped[0])) for angle in unwrapped[1:])
    assert quarter_deg == pytest.approx(90.0, abs=0.6)
    assert year_deg == pytest.approx(0.0, abs=2.0)


@pytest.mark.parametrize("eccentricity", [0.0, 0.1])
def test_no_orbit_is_sun_synchronous_above_6000_km(eccentricity: float) -> None:
    with pytest.raises(InputError, match="too high for a sun-synchronous orbit"):
        sun_synchronous_inclination_deg(6500.0, eccentricity)


def test_galileos_constellation_is_walker_24_3_1() -> None:
    """Galileo's design: 56 degrees, 23,222 km, three planes 120 degrees apart, satellites 45 degrees apart, 15 from plane to plane.

    To 0.1 degree: SGP4 counts the periodic pull of moon and sun.
    """
    satellites = walker_constellation(24, 3, 1, altitude_km=23222.0, inclination_deg=56.0, epoch=EPOCH, name="Galileo")
    assert [item.name for item in satellites[6:10]] == ["Galileo 1-7", "Galileo 1-8", "Galileo 2-1", "Galileo 2-2"]
    nodes = np.array([node_deg(item, np.array([0.0]))[0] for item in satellites])
    latitudes = np.array([argument_of_latitude_deg(item) for item in satellites])
    for plane in range(3):
        assert [turn_deg(node - 120 * plane) for node in nodes[8 * plane : 8 * plane + 8]] == pytest.approx([0.0] * 8, abs=0.1)
        steps = [turn_deg(latitude - 45 * slot - 15 * plane) for slot, latitude in enumerate(latitudes[8 * plane : 8 * plane + 8])]
        assert steps == pytest.approx([0.0] * 8, abs=0.1)


def test_a_star_spreads_its_planes_over_half_the_equator() -> None:
    """66/6/2, the pattern nearest to Iridium's: neighbours move side by side but where the first plane meets the last, head on."""
    satellites = walker_constellation(
        66, 6, 2, altitude_km=780.0, inclination_deg=86.4, epoch=EPOCH, pattern="star", first_node_deg=10.0, name="Star"
    )
    nodes = [node_deg(item, np.array([0.0]))[0] for item in satellites[::11]]
    assert nodes == pytest.approx([10, 40, 70, 100, 130, 160], abs=0.1)
    ahead = [turn_deg(argument_of_latitude_deg(satellites[11 * plane]) - plane * 2 * 360 / 66) for plane in range(6)]
    assert ahead == pytest.approx([0.0] * 6, abs=0.15)


@given(planes=st.integers(1, 6), slots=st.integers(1, 6), data=st.data())
def test_a_delta_turned_by_one_plane_is_itself(planes: int, slots: int, data: st.DataObject) -> None:
    """What Walker's definition is for: seen from any plane, the others stand alike."""
    phasing, total = data.draw(st.integers(0, planes - 1)), planes * slots
    satellites = walker_constellation(total, planes, phasing, altitude_km=800.0, inclination_deg=60.0, epoch=EPOCH)

    def places(shift_node_deg: float, shift_latitude_deg: float) -> set[tuple[int, int]]:
        fields = [dict(line.split(" = ") for line in item.source) for item in satellites]
        return {
            (
                round(float(field["RA_OF_ASC_NODE"]) + shift_node_deg) % 360,
                round(10 * (float(field["MEAN_ANOMALY"]) + shift_latitude_deg)) % 3600,
            )
            for field in fields
        }

    def near(left: set[tuple[int, int]], right: set[tuple[int, int]]) -> bool:
        return all(any(abs(a[0] - b[0]) % 359 <= 1 and abs(a[1] - b[1]) % 3599 <= 1 for b in right) for a in left)

    assert len(satellites) == total
    assert near(places(0.0, 0.0), places(360.0 / planes, phasing * 360.0 / total))


def test_designed_orbits_are_believed_at_any_age() -> None:
    elements = designed_orbit("Design", epoch=EPOCH, altitude_km=500.0, inclination_deg=97.4)
    elements.require_age(EPOCH + timedelta(days=3650))
    height_km = np.linalg.norm(propagate(elements, julian_dates(EPOCH, np.array([0.0, 3650 * 86400.0]))), axis=1)
    assert height_km == pytest.approx(EARTH_EQUATORIAL_RADIUS_KM + 500.0, abs=15)


@pytest.mark.parametrize(
    ("name", "value"),
    [("altitude_km", 50.0), ("altitude_km", 2e5), ("inclination_deg", 181.0), ("eccentricity", -0.1), ("eccentricity", 0.1)],
)
def test_orbits_that_cannot_be_are_refused(name: str, value: float) -> None:
    with pytest.raises(InputError, match=name):
        designed_orbit("Design", epoch=EPOCH, **{"altitude_km": 500.0, "inclination_deg": 97.4, name: value})


@pytest.mark.parametrize(
    ("total", "planes", "phasing", "pattern", "field"),
    [(24, 5, 1, "delta", "planes"), (24, 0, 0, "delta", "planes"), (24, 3, 3, "delta", "phasing"), (24, 3, 1, "rose", "pattern")],
)
def test_patterns_that_do_not_come_out_even_are_refused(total: int, planes: int, phasing: int, pattern: str, field: str) -> None:
    with pytest.raises(InputError, match=field):
        walker_constellation(total, planes, phasing, altitude_km=500.0, inclination_deg=97.4, epoch=EPOCH, pattern=pattern)
