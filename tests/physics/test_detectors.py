from dataclasses import replace

import numpy as np
import pytest

from tiandi.errors import InputError
from tiandi.physics.detectors import INGAAS, SILICON, SUPERCONDUCTING_NANOWIRE, Detector, gate_acceptance, observed_rate_hz

FALSE_ALARM_SIGMAS = 5.0


@pytest.mark.parametrize("spread_s", [0.1e-9, 0.5e-9, 3e-9])
def test_a_gate_accepts_what_falls_into_it(spread_s: float) -> None:
    """A million delays; five standard deviations, one false alarm in 1.7 million."""
    delays = np.random.default_rng(1).normal(0.0, spread_s, 1_000_000)
    expected = float(gate_acceptance(2e-9, spread_s))
    assert abs((np.abs(delays) < 1e-9).mean() - expected) < FALSE_ALARM_SIGMAS * np.sqrt(expected * (1 - expected) / delays.size) + 1e-12


def test_without_spread_a_gate_accepts_everything() -> None:
    assert gate_acceptance(np.array([1e-9, 2e-9]), 0.0).tolist() == [1.0, 1.0]


def test_full_width_and_standard_deviation_of_the_jitter() -> None:
    """Half of the maximum of a Gaussian is reached half a full width from its middle."""
    sigma_s = replace(SILICON, jitter_fwhm_s=1e-9).jitter_sigma_s
    assert np.exp(-0.5 * (0.5e-9 / sigma_s) ** 2) == pytest.approx(0.5, rel=1e-12)


def test_a_detector_saturates_at_one_click_a_dead_time() -> None:
    rates = observed_rate_hz(np.array([0.0, 1e3, 1e7, 1e12]), 1e-7)
    assert rates[0] == 0.0
    assert rates[1] == pytest.approx(1e3, rel=2e-4)
    assert rates[2] == pytest.approx(0.5e7)
    assert rates[3] == pytest.approx(1e7, rel=1e-4)


def test_presets_are_of_their_kind() -> None:
    assert SUPERCONDUCTING_NANOWIRE.after_pulse_probability == 0.0
    assert SUPERCONDUCTING_NANOWIRE.jitter_fwhm_s < INGAAS.jitter_fwhm_s < SILICON.jitter_fwhm_s
    assert INGAAS.dark_count_rate_hz > SILICON.dark_count_rate_hz


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("efficiency", -0.1),
        ("efficiency", float("nan")),
        ("dark_count_rate_hz", -1.0),
        ("dead_time_s", 1.0),
        ("after_pulse_probability", 0.6),
        ("after_pulse_lifetime_s", 0.0),
        ("jitter_fwhm_s", -1e-12),
    ],
)
def test_a_detector_out_of_range_is_refused(field: str, value: float) -> None:
    with pytest.raises(InputError, match=field):
        replace(Detector(0.5, 10.0), **{field: value})
