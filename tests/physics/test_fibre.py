"""Fibre against data sheets, quadrature, a pulse propagated by Fourier transform, and clicks drawn one by one.

Statistical tests allow five standard deviations: one false alarm in 1.7 million comparisons.
"""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.constants import speed_of_light
from scipy.integrate import quad

from tiandi.errors import InputError
from tiandi.physics.detectors import gate_acceptance
from tiandi.physics.fibre import (
    FibreKind,
    SharedFibre,
    backward_raman_rate_hz,
    chromatic_dispersion_ps_per_nm_km,
    dispersion_sigma_s,
    fibre_attenuation_db_per_km,
    fibre_transmittance,
    forward_raman_rate_hz,
    gate_shares,
    joint_loss_db,
    noise_counts_per_gate,
    transform_limited_bandwidth_sigma_nm,
)

SIGMAS = 5.0
KINDS: list[FibreKind] = ["G.652.D", "ultra-low-loss"]


def test_fifty_kilometres_of_good_fibre_lose_nine_tenths() -> None:
    assert fibre_transmittance(50.0, attenuation_db_per_km=0.2) == pytest.approx(0.1)


def test_connectors_add_to_the_loss() -> None:
    assert fibre_transmittance(0.0, attenuation_db_per_km=0.2, insertion_loss_db=3.0103) == pytest.approx(0.5, rel=1e-5)


def test_joints_lose_what_each_of_them_loses() -> None:
    assert joint_loss_db(splices=20, splice_loss_db=0.05, connectors=4, connector_loss_db=0.25) == pytest.approx(2.0)


@pytest.mark.parametrize(("kind", "at_1550"), [("G.652.D", 0.20), ("ultra-low-loss", 0.17)])
def test_attenuation_is_that_of_the_data_sheets(kind: FibreKind, at_1550: float) -> None:
    """Beside the tabulated values both sheets promise no more than 0.02 above 1550 nm's from 1525 to 1575, 0.03 from 1550 to 1625."""
    assert float(fibre_attenuation_db_per_km(1550.0, kind=kind)) == pytest.approx(at_1550)
    assert (fibre_attenuation_db_per_km(np.linspace(1525.0, 1575.0, 51), kind=kind) <= at_1550 + 0.02 + 1e-12).all()
    assert (fibre_attenuation_db_per_km(np.linspace(1550.0, 1625.0, 51), kind=kind) <= at_1550 + 0.03 + 1e-12).all()


@pytest.mark.parametrize("kind", KINDS)
def test_between_1310_and_1550_nm_attenuation_falls_as_rayleigh_scattering_does(kind: FibreKind) -> None:
    """Rayleigh coefficients of silica fibres: 0.7 to 1.0 dB/km times micrometre^4 in the textbooks (recalled)."""
    at_1310, at_1550 = fibre_attenuation_db_per_km([1310.0, 1550.0], kind=kind)
    assert 0.7 < (at_1310 - at_1550) / (1.310**-4 - 1.550**-4) < 1.0


@pytest.mark.parametrize("wavelength_nm", [1309.0, 1626.0, float("nan"), [1550.0, 850.0]])
def test_attenuation_refuses_wavelengths_without_a_figure(wavelength_nm: float | list[float]) -> None:
    with pytest.raises(InputError, match="wavelength_nm"):
        fibre_attenuation_db_per_km(wavelength_nm)


def test_dispersion_at_1550_nm_is_the_textbooks_seventeen() -> None:
    for zero_nm in (1304.0, 1310.0, 1317.0, 1324.0):
        assert float(chromatic_dispersion_ps_per_nm_km(1550.0, zero_dispersion_wavelength_nm=zero_nm)) == pytest.approx(17.0, abs=0.8)


def test_dispersion_stays_below_what_data_sheets_allow() -> None:
    """SMF-28: at most 18 ps/(nm km) at 1550 nm and 22 at 1625 nm, for a zero from 1304 nm and a slope up to 0.092."""
    at_1550, at_1625 = chromatic_dispersion_ps_per_nm_km([1550.0, 1625.0], zero_dispersion_wavelength_nm=1304.0)
    assert 17.5 < at_1550 <= 18.0
    assert 21.5 < at_1625 <= 22.0


def test_dispersion_vanishes_with_the_given_slope_at_its_zero() -> None:
    below, at, above = chromatic_dispersion_ps_per_nm_km([1311.0, 1312.0, 1313.0])
    assert at == pytest.approx(0.0, abs=1e-9)
    assert (above - below) / 2.0 == pytest.approx(0.092, rel=1e-5)


def test_dispersion_is_the_derivative_of_the_three_term_sellmeier_delay() -> None:
    """The group delay S0 / 8 (wavelength - zero^2 / wavelength)^2 [ps/km] from which the formula comes, derived numerically."""

    def delay_ps_per_km(wavelength_nm: float) -> float:
        return 0.092 / 8.0 * (wavelength_nm - 1312.0**2 / wavelength_nm) ** 2

    for wavelength_nm in (1290.0, 1400.0, 1550.0, 1625.0):
        slope = (delay_ps_per_km(wavelength_nm + 0.01) - delay_ps_per_km(wavelength_nm - 0.01)) / 0.02
        assert float(chromatic_dispersion_ps_per_nm_km(wavelength_nm)) == pytest.approx(slope, rel=1e-6)


def test_a_pulse_spreads_as_its_propagated_field_does() -> None:
    """20 ps through 50 km: the field's spectrum gets the quadratic phase of dispersion, and its width is read off."""
    sigma_s, length_km, dispersion = 20e-12, 50.0, 17.0
    time = np.linspace(-2e-9, 2e-9, 2**14, endpoint=False)
    angular_frequency = 2 * np.pi * np.fft.fftfreq(time.size, time[1] - time[0])
    group_velocity_dispersion = -dispersion * 1e-6 * 1550e-9**2 / (2 * np.pi * speed_of_light)  # 1 ps/(nm km) is 1e-6 s/m^2.
    field = np.exp(-(time**2) / (4 * sigma_s**2))
    phase = 0.5 * group_velocity_dispersion * length_km * 1e3 * angular_frequency**2
    intensity = np.abs(np.fft.ifft(np.fft.fft(field) * np.exp(1j * phase))) ** 2
    propagated = np.sqrt(np.sum(intensity * time**2) / intensity.sum())

    bandwidth = transform_limited_bandwidth_sigma_nm(sigma_s, wavelength_nm=1550.0)
    added = dispersion_sigma_s(length_km, dispersion_ps_per_nm_km=dispersion, bandwidth_sigma_nm=bandwidth)
    assert np.hypot(sigma_s, added) == pytest.approx(propagated, rel=1e-6)
    assert added > sigma_s


def test_gates_accept_what_falls_into_them_and_their_neighbours_the_rest() -> None:
    generator, clicks, clock_hz, gate_s, offset_s = np.random.default_rng(2), 2_000_000, 1e9, 0.5e-9, 0.1e-9
    widths = {"pulse_sigma_s": 0.1e-9, "dispersion_sigma_s": 0.2e-9, "jitter_sigma_s": 0.25e-9}
    arrival = offset_s + sum(generator.normal(0.0, width, clicks) for width in widths.values())
    shares = gate_shares(**widths, gate_s=gate_s, clock_hz=clock_hz, offset_s=offset_s)
    for gate, share in ((-1, shares.into_previous), (0, shares.accepted), (1, shares.into_next)):
        seen = (np.abs(arrival - gate / clock_hz) < 0.5 * gate_s).mean()
        assert abs(seen - share) < SIGMAS * np.sqrt(share * (1.0 - share) / clicks)


def test_gates_side_by_side_lose_nothing_of_a_pulse_narrower_than_them() -> None:
    shares = gate_shares(pulse_sigma_s=0.1e-9, dispersion_sigma_s=0.0, jitter_sigma_s=0.0, gate_s=1e-9, clock_hz=1e9, offset_s=0.4e-9)
    assert shares.accepted + shares.into_previous + shares.into_next == pytest.approx(1.0, abs=1e-12)
    assert shares.into_next > 1000 * shares.into_previous


def test_the_faintest_leak_keeps_its_digits() -> None:
    """Ten sigmas away, against the density integrated."""
    shares = gate_shares(pulse_sigma_s=60e-12, dispersion_sigma_s=80e-12, jitter_sigma_s=0.0, gate_s=1e-9, clock_hz=1.0 / 1.5e-9)
    expected, _ = quad(lambda sigmas: np.exp(-(sigmas**2) / 2) / np.sqrt(2 * np.pi), 10.0, 20.0)
    assert float(shares.into_next) == pytest.approx(expected, rel=1e-6)
    assert float(shares.into_previous) == pytest.approx(expected, rel=1e-6)


@given(st.floats(1e-12, 1e-9), st.floats(0.0, 1e-9), st.floats(0.0, 1e-9))
def test_a_centred_gate_accepts_what_the_detectors_module_says(pulse: float, dispersed: float, jitter: float) -> None:
    shares = gate_shares(pulse_sigma_s=pulse, dispersion_sigma_s=dispersed, jitter_sigma_s=jitter, gate_s=0.4e-9, clock_hz=1e9)
    spread = np.sqrt(pulse**2 + dispersed**2 + jitter**2)
    assert float(shares.accepted) == pytest.approx(float(gate_acceptance(0.4e-9, spread)), rel=1e-9)


def test_gates_that_overlap_are_refused() -> None:
    with pytest.raises(InputError, match="gate_s"):
        gate_shares(pulse_sigma_s=1e-10, dispersion_sigma_s=0.0, jitter_sigma_s=0.0, gate_s=2e-9, clock_hz=1e9)


UNEQUAL = SharedFibre(
    launch_power_dbm=-3.0, filter_bandwidth_nm=0.6, wavelength_nm=1310.0, attenuation_db_per_km=0.35, data_attenuation_db_per_km=0.2
)


def scattered_hz(length_km: float, shared: SharedFibre, *, back: bool) -> float:
    """Photons a second from every piece of the fibre, summed by quadrature."""
    photon_energy_j = 6.62607015e-34 * 299792458.0 / (shared.wavelength_nm * 1e-9)
    photons_hz = 1e-3 * 10 ** (shared.launch_power_dbm / 10) / photon_energy_j

    def piece(z_km: float) -> float:
        way_km = z_km if back else length_km - z_km
        loss_db = shared.data_attenuation_db_per_km * z_km + shared.attenuation_db_per_km * way_km
        return photons_hz * shared.raman_coefficient_per_km_nm * shared.filter_bandwidth_nm * 10 ** (-loss_db / 10)

    return quad(piece, 0.0, length_km, limit=200)[0]


@pytest.mark.parametrize("length_km", [0.1, 21.7, 80.0, 300.0])
@pytest.mark.parametrize("shared", [SharedFibre(0.0, 0.8), UNEQUAL, SharedFibre(0.0, 0.8, data_attenuation_db_per_km=0.2 + 1e-12)])
def test_raman_noise_is_the_sum_over_the_fibre(shared: SharedFibre, length_km: float) -> None:
    assert float(forward_raman_rate_hz(length_km, shared)) == pytest.approx(scattered_hz(length_km, shared, back=False), rel=1e-7)
    assert float(backward_raman_rate_hz(length_km, shared)) == pytest.approx(scattered_hz(length_km, shared, back=True), rel=1e-7)


def test_raman_noise_has_the_published_form_in_terms_of_the_power_that_arrives() -> None:
    """Eraerds et al. 2010 (recalled) write P_out length rho and P_out sinh(alpha length) / alpha rho, each times the bandwidth."""
    shared, length_km, alpha = SharedFibre(0.0, 1.0), 40.0, 0.2 * np.log(10) / 10
    arriving_hz = 1e-3 * np.exp(-alpha * length_km) / (6.62607015e-34 * 299792458.0 / 1550e-9)
    assert float(forward_raman_rate_hz(length_km, shared)) == pytest.approx(arriving_hz * length_km * 3e-9, rel=1e-9)
    assert float(backward_raman_rate_hz(length_km, shared)) == pytest.approx(
        arriving_hz * np.sinh(alpha * length_km) / alpha * 3e-9, rel=1e-9
    )


def test_forward_noise_peaks_at_one_over_alpha_and_backward_noise_only_grows() -> None:
    length_km = np.linspace(0.0, 200.0, 2001)
    shared = SharedFibre(0.0, 1.0)
    assert length_km[np.argmax(forward_raman_rate_hz(length_km, shared))] == pytest.approx(21.7, abs=0.06)
    assert (np.diff(backward_raman_rate_hz(length_km, shared)) > 0).all()
    assert (backward_raman_rate_hz(length_km, shared) >= forward_raman_rate_hz(length_km, shared) * (1 - 1e-12)).all()


def test_long_fibres_of_unequal_attenuation_do_not_overflow() -> None:
    rate_hz = forward_raman_rate_hz([0.0, 1e4], SharedFibre(20.0, 1.0, attenuation_db_per_km=5.0, data_attenuation_db_per_km=0.1))
    assert rate_hz[0] == 0.0
    assert 0.0 <= rate_hz[1] < 1e-3


def test_a_milliwatt_of_data_drowns_the_photons_unless_it_is_weakened() -> None:
    """Backward, 50 km, 0.1 nm: 0 dBm makes at least a third of the clicks that pulses of half a photon make; -25 dBm, under 1 %."""
    signal_clicks = 0.5 * fibre_transmittance(50.0, attenuation_db_per_km=0.2) * 0.1
    loud, weak = (
        float(noise_counts_per_gate(backward_raman_rate_hz(50.0, SharedFibre(power_dbm, 0.1)), efficiency=0.1, gate_s=1e-9))
        for power_dbm in (0.0, -25.0)
    )
    assert 0.33 * signal_clicks < loud < signal_clicks
    assert weak < 0.01 * signal_clicks


@pytest.mark.parametrize("field", ["launch_power_dbm", "filter_bandwidth_nm", "wavelength_nm", "attenuation_db_per_km"])
def test_a_shared_fibre_refuses_what_cannot_be(field: str) -> None:
    with pytest.raises(InputError, match=field):
        SharedFibre(**({"launch_power_dbm": 0.0, "filter_bandwidth_nm": 1.0} | {field: 1e9}))
