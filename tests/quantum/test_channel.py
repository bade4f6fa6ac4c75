from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.physics.test_orbit import MICIUS, XINGLONG
from tiandi.clock import parse_utc
from tiandi.errors import InputError
from tiandi.physics.equipment import Receiver, Transmitter
from tiandi.physics.orbit import Elements
from tiandi.physics.passes import Visibility, find_passes
from tiandi.quantum.channel import DownlinkChannel, FibreChannel


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
        found, replace(transmitter, divergence_full_angle_urad=10.0), replace(receiver, aperture_m=1.0), zenith_extinction_db=2.5
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
