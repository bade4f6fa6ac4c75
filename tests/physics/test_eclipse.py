import numpy as np
import pytest
from skyfield.api import EarthSatellite, load

from tests.physics.test_sun import JPL_WEEK, jpl, jpl_week
from tiandi.clock import julian_dates, parse_utc
from tiandi.constants import EARTH_EQUATORIAL_RADIUS_KM
from tiandi.physics.constellation import designed_orbit
from tiandi.physics.eclipse import SUN_RADIUS_KM, covered_fraction, sunlit_fraction
from tiandi.physics.orbit import propagate
from tiandi.physics.sun import sun_positions

# skyfield 1.55 sets a dtype in place, which NumPy 2.5 deprecates; it is the oracle here and not ours to mend.
pytestmark = pytest.mark.filterwarnings("ignore:Setting the dtype:DeprecationWarning")
MOMENT = julian_dates(parse_utc("2016-12-19T16:52:00"), [0.0])


def behind_the_earth(height_km: float, from_edge_rad: float) -> np.ndarray:
    """A place ``height_km`` above the ground from which the sun's centre is ``from_edge_rad`` outside the Earth's edge, to first order."""
    sun = sun_positions(MOMENT)[0]
    away = -sun / np.linalg.norm(sun)
    across = np.cross(away, [0.0, 0.0, 1.0])
    across /= np.linalg.norm(across)
    radius_km = EARTH_EQUATORIAL_RADIUS_KM + height_km
    turn_rad = np.arcsin(EARTH_EQUATORIAL_RADIUS_KM / radius_km) + from_edge_rad
    return radius_km * (np.cos(turn_rad) * away + np.sin(turn_rad) * across)


def share_of_rays_past_the_earth(position: np.ndarray, rays: int, rng: np.random.Generator) -> float:
    """Rays from a place to points spread evenly over the sun's disc: how many miss a sphere."""
    sun = sun_positions(MOMENT)[0]
    towards = (sun - position) / np.linalg.norm(sun - position)
    first = np.cross(towards, [0.3, 0.4, 0.5])
    first /= np.linalg.norm(first)
    second = np.cross(towards, first)
    edge_rad = np.arcsin(SUN_RADIUS_KM / np.linalg.norm(sun - position))
    radius, turn = np.tan(edge_rad) * np.sqrt(rng.random(rays)), 2 * np.pi * rng.random(rays)
    directions = towards + radius[:, None] * (np.cos(turn)[:, None] * first + np.sin(turn)[:, None] * second)
    directions /= np.linalg.norm(directions, axis=1)[:, None]
    along_km = -directions @ position
    miss_km = np.linalg.norm(position + np.maximum(along_km, 0.0)[:, None] * directions, axis=1)
    return float((miss_km > EARTH_EQUATORIAL_RADIUS_KM).mean())


@pytest.mark.parametrize("height_km", [500.0, 23222.0, 400000.0])
@pytest.mark.parametrize("from_edge_rad", [-0.008, -0.004, -0.002, 0.0, 0.001, 0.003, 0.0045, 0.006])
def test_as_much_of_the_sun_is_seen_as_rays_get_past_the_earth(height_km: float, from_edge_rad: float) -> None:
    """Five sigma of 40,000 rays, 1.3 %; false alarm below 1e-6 a case."""
    position = behind_the_earth(height_km, from_edge_rad)
    fraction = sunlit_fraction(position[None, :], MOMENT)[0]
    rays = share_of_rays_past_the_earth(position, 40_000, np.random.default_rng(2016))
    assert fraction == pytest.approx(rays, abs=5 * np.sqrt(max(rays * (1 - rays), 1e-4) / 40_000) + 1e-3)
    assert (fraction == 0.0) == (rays == 0.0)


def test_beyond_the_umbra_the_earth_covers_the_middle_of_the_sun() -> None:
    """The umbra ends where both discs look alike; behind it the Earth is a disc of a share of the sun's that falls with the distance."""
    sun = sun_positions(MOMENT)[0]
    sun_km = np.linalg.norm(sun)
    umbra_km = sun_km * EARTH_EQUATORIAL_RADIUS_KM / (SUN_RADIUS_KM - EARTH_EQUATORIAL_RADIUS_KM)
    fractions = sunlit_fraction(np.array([[0.999], [1.001], [2.0]]) * umbra_km * -sun / sun_km, np.repeat(MOMENT, 3))
    assert fractions[0] == 0.0
    assert 0.0 < fractions[1] < 0.003
    share = EARTH_EQUATORIAL_RADIUS_KM * (sun_km + 2 * umbra_km) / (2 * umbra_km * SUN_RADIUS_KM)
    assert fractions[2] == pytest.approx(1 - share**2, rel=1e-4)


@pytest.mark.parametrize(
    ("disc", "cover", "apart"), [(1.0, 0.5, 0.2), (1.0, 0.5, 0.9), (0.5, 1.0, 0.6), (1.0, 1.0, 1.0), (1.0, 0.5, 1.6), (1.0, 1.0, 0.0)]
)
def test_discs_overlap_as_points_thrown_on_them_say(disc: float, cover: float, apart: float) -> None:
    """Five sigma of 100,000 points, 0.8 %; false alarm below 1e-6 a case."""
    rng = np.random.default_rng(7)
    radius, turn = disc * np.sqrt(rng.random(100_000)), 2 * np.pi * rng.random(100_000)
    hit = np.hypot(radius * np.cos(turn) - apart, radius * np.sin(turn)) < cover
    found = covered_fraction(np.array([disc]), np.array([cover]), np.array([apart]))[0]
    assert found == pytest.approx(hit.mean(), abs=0.008)


def test_skyfield_sees_the_same_satellite_in_the_sun() -> None:
    """It asks whether the line to the sun's centre misses the Earth: half of the disc, but for the 0.2 s that 0.01 degree of sun makes."""
    satellite = designed_orbit("Design", epoch=parse_utc(JPL_WEEK[0]), altitude_km=500.0, inclination_deg=97.4, node_deg=30.0)
    moments, times = jpl_week(20.0)
    moments, times = moments[:4320], times[:4320]
    fraction = sunlit_fraction(propagate(satellite, moments), moments)
    lit = EarthSatellite.from_satrec(satellite.satellite, load.timescale(builtin=True)).at(times).is_sunlit(jpl())
    edges = int((lit[1:] != lit[:-1]).sum())
    assert edges > 28
    assert np.abs(fraction > 0.5).sum() == pytest.approx(lit.sum(), abs=2)
    assert ((fraction > 0.5) != lit).sum() <= 2
    # Each crossing of the penumbra takes about 0.53 degree of sun over 3.8 degrees of orbit a minute, at the slant of the edge.
    assert 8 < ((fraction > 0) & (fraction < 1)).sum() * 20.0 / edges < 25
