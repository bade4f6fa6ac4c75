from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.physics.test_orbit import MICIUS, XINGLONG
from tiandi.clock import parse_utc
from tiandi.errors import InputError
from tiandi.physics.constellation import designed_orbit
from tiandi.physics.equipment import Receiver, Transmitter
from tiandi.physics.orbit import Elements
from tiandi.physics.passes import Visibility, find_passes
from tiandi.quantum.channel import DownlinkChannel, FibreChannel, InterSatelliteChannel, UplinkChannel
from tiandi.units import loss_from_transmittance


@pytest.fixture
def downlink(transmitter: Transmitter, receiver: Receiver) -> DownlinkChannel:
    (found,) = find_passes(
        Elements("Micius", *MICIUS),
        XINGLONG,
        start=parse_utc("2016-12-19"),
        end=parse_utc("2016-12-20"),
        visibility=Visibility(sun_elevation_limit_deg=-12),
    )
    return DownlinkChannel(
        replace(transmitter, divergence_full_angle_urad=10.0), replace(receiver, aperture_m=1.0), found, zenith_extinction_db=2.5
    )


def test_a_fibre_is_the_same_all_the_time() -> None:
    steps = FibreChannel(50.0).steps(12.0)
    assert steps.duration_s.tolist() == [12.0]
    assert steps.transmittance == pytest.approx([0.1])


def test_a_downlink_is_best_at_the_closest_point(downlink: DownlinkChannel) -> None:
    steps = downlink.steps()
    assert steps.transmittance.argmax() == pytest.approx(steps.transmittance.size / 2, abs=3)
    assert downlink.length_km == pytest.approx(645, abs=1)


def test_key_is_made_within_reach_only(downlink: DownlinkChannel) -> None:
    """Liao et al. 2017: from 1,200 km to 645 km and back took 273 s."""
    assert replace(downlink, maximum_range_km=1200.0).steps().duration_s.sum() == pytest.approx(273, abs=2)
    assert replace(downlink, maximum_range_km=600.0).steps().duration_s.sum() == 0


def test_a_pass_can_be_cut_short(downlink: DownlinkChannel) -> None:
    assert downlink.steps(10.0).duration_s.sum() == 10.0
    assert np.isfinite(downlink.steps(np.inf).transmittance).all()


@pytest.mark.parametrize(("field", "value"), [("length_km", -1.0), ("attenuation_db_per_km", 0.0), ("insertion_loss_db", -0.1)])
def test_a_fibre_out_of_range_is_refused(field: str, value: float) -> None:
    with pytest.raises(InputError, match=field):
        replace(FibreChannel(10.0), **{field: value})


@pytest.mark.parametrize(
    ("part", "changes", "field"),
    [
        ("transmitter", {"divergence_full_angle_urad": None}, "divergence_full_angle_urad"),
        ("receiver", {"aperture_m": None}, "aperture_m"),
        ("receiver", {"aperture_m": -1.0}, "aperture_m"),
    ],
)
def test_a_downlink_without_its_figures_is_refused(downlink: DownlinkChannel, part: str, changes: dict[str, Any], field: str) -> None:
    with pytest.raises(InputError, match=field):
        replace(downlink, **{part: replace(getattr(downlink, part), **changes)})


def test_jitter_costs_what_the_closed_form_says(downlink: DownlinkChannel) -> None:
    """1 / (1 + 4 sigma^2 / theta^2), in the limit of a small telescope."""
    shaking = replace(downlink, transmitter=replace(downlink.transmitter, pointing_jitter_urad=1.2))
    assert shaking.steps().transmittance / downlink.steps().transmittance == pytest.approx(1 / (1 + 4 * (1.2 / 5.0) ** 2), rel=1e-3)


def test_on_its_axis_a_gaussian_beam_gives_twice_a_top_hat(downlink: DownlinkChannel) -> None:
    assert replace(downlink, beam="gaussian").steps().transmittance / downlink.steps().transmittance == pytest.approx(2.0, rel=0.03)


def test_an_uplink_loses_more_to_turbulence_than_a_downlink(downlink: DownlinkChannel) -> None:
    """From near sea level turbulence spreads a beam of 10 microradian over 6 to 14 dB; nothing when there is none."""
    down = replace(downlink, beam="gaussian").steps().transmittance
    up = UplinkChannel(downlink.transmitter, downlink.receiver, downlink.satellite_pass, zenith_extinction_db=2.5)
    cost_db = loss_from_transmittance(up.steps().transmittance / down)
    assert (cost_db > 5.0).all()
    assert (cost_db < 20.0).all()
    still = replace(up, air=replace(up.air, high_wind_m_per_s=0.0, ground_strength=0.0))
    assert still.steps().transmittance.max() > 3 * up.steps().transmittance.max()


def test_satellites_see_each_other_past_the_earth(transmitter: Transmitter, receiver: Receiver) -> None:
    """Two on one circle: a chord of 2 r sin(angle / 2) while it clears the air, nothing when they stand opposite."""
    epoch = parse_utc("2026-01-01")
    first, near, opposite = (
        designed_orbit(f"at {place:.0f}", epoch=epoch, altitude_km=500.0, inclination_deg=97.4, mean_anomaly_deg=place)
        for place in (0.0, 20.0, 180.0)
    )
    ends = (replace(transmitter, divergence_full_angle_urad=10.0), replace(receiver, aperture_m=0.3))
    channel = InterSatelliteChannel(*ends, first, near, epoch, 60.0)
    assert channel.length_km == pytest.approx(2 * 6878.137 * np.sin(np.radians(10.0)), rel=5e-3)
    expected = 1 - np.exp(-2 * 0.15**2 / (5e-6 * channel.length_km * 1e3) ** 2)
    assert channel.steps(60.0).transmittance.max() == pytest.approx(expected, rel=1e-6)
    assert channel.steps().transmittance.size == 60
    assert (replace(channel, recipient=opposite).steps().transmittance == 0.0).all()
