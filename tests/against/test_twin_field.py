"""Twin-field QKD against figures from outside: reference vectors to 1e-9, and published experiments by their order of magnitude.

What the experiments leave open (light lost in the station, pulses sent, noise in a gate) is stated beside each, and nothing is tuned.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tiandi.protocols import sending_or_not_sending, twin_field
from tiandi.protocols.information import binary_entropy, plob_bound
from tiandi.protocols.sending_or_not_sending import SendingSource
from tiandi.protocols.twin_field import CentralStation, TwinFieldSource, phase_mismatch_rad
from tiandi.protocols.twin_field_finite_key import sending_key, twin_field_key
from tiandi.units import transmittance_from_loss

VECTORS = json.loads((Path(__file__).parent / "vectors.json").read_text())


def by_loss(row: dict[str, Any]) -> str:
    return f"{row['loss_total_dB']} dB"


def one_arm(row: dict[str, Any]) -> float:
    return transmittance_from_loss(row["loss_total_dB"] / 2)


@pytest.mark.parametrize("row", VECTORS["cal19"], ids=by_loss)
def test_the_protocol_of_curty_azuma_lo(row: dict[str, Any]) -> None:
    """The vectors stop at ``nmax`` photons and take nothing for the rest; we go on, so that our phase error is larger by up to 1e-8."""
    arm, station = one_arm(row), CentralStation(row["pd"], phase_mismatch_rad=row["phi_rad"])
    ours = twin_field.asymptotic_rate(arm, arm, station, key_mean_photon_number=row["alpha2"], error_correction_efficiency=row["f"])
    assert ours.gain / 2 == pytest.approx(row["pXX"], rel=1e-9)
    assert ours.bit_error == pytest.approx(row["eX"], rel=1e-9)
    yields = twin_field.fock_yields(arm, arm, station, row["nmax"])
    stopped = twin_field.phase_error_gain(yields, row["alpha2"], tail=np.zeros(2)) / ours.gain
    assert stopped == pytest.approx(row["eZ"], rel=1e-9)
    rate = ours.gain * (1 - row["f"] * binary_entropy(ours.bit_error) - binary_entropy(stopped))
    assert rate == pytest.approx(row["R"], rel=1e-9)
    assert row["eZ"] < ours.phase_error < row["eZ"] * (1 + 2e-8)
    assert row["R"] * (1 - 2e-8) < ours.bit_per_pulse < row["R"]
    assert plob_bound(arm**2) == pytest.approx(row["plob"], rel=1e-9)


def sending_rate(row: dict[str, Any], *, pairing: bool) -> sending_or_not_sending.SendingRate:
    return sending_or_not_sending.asymptotic_rate(
        one_arm(row),
        one_arm(row),
        CentralStation(row["pd"], phase_mismatch_rad(row["ed"])),
        signal_mean_photon_number=row["mu"],
        sending_probability=row["eps"],
        error_correction_efficiency=row["f"],
        pairing=pairing,
    )


@pytest.mark.parametrize("row", VECTORS["sns_asymptotic_inf_decoy"], ids=by_loss)
def test_sending_or_not_sending(row: dict[str, Any]) -> None:
    ours = sending_rate(row, pairing=False)
    station = CentralStation(row["pd"], phase_mismatch_rad(row["ed"]))
    of_alice, of_bob, error = sending_or_not_sending.single_photon_yields(one_arm(row), one_arm(row), station)
    assert [float(of_alice), float(of_bob), float(error)] == pytest.approx([row["s1"], row["s1"], row["e1"]], rel=1e-9)
    assert [float(x) for x in (ours.gain, ours.bit_error, ours.bit_per_pulse)] == pytest.approx(
        [row["S_Z"], row["E_Z"], row["R"]], rel=1e-9
    )
    assert plob_bound(one_arm(row) ** 2) == pytest.approx(row["plob"], rel=1e-9)


@pytest.mark.parametrize("row", VECTORS["sns_aopp_asymptotic"], ids=by_loss)
def test_sending_or_not_sending_with_pairing(row: dict[str, Any]) -> None:
    ours = sending_rate(row, pairing=True)
    names = ("nt", "E_after", "n1_after", "eph_after", "R")
    figures = (ours.gain, ours.bit_error, ours.single_photon, ours.phase_error, ours.bit_per_pulse)
    assert [float(figure) for figure in figures] == pytest.approx([row[name] for name in names], rel=1e-9)


def paired_key_rate(
    *,
    loss_db: float,
    efficiency: float,
    dark_count_probability: float,
    misalignment: float,
    source: SendingSource,
    pulses: float,
    **how: Any,
) -> float:
    """Secret bits per pulse of sending or not sending with pairing over two equal arms, from expected counts; f = 1.16."""
    arm = efficiency * transmittance_from_loss(loss_db / 2)
    station = CentralStation(dark_count_probability, phase_mismatch_rad(misalignment))
    counts = pulses * sending_or_not_sending.event_table(station, source, arm, arm).probabilities[0]
    bits, errors = sending_or_not_sending.paired_counts(counts[:2, :2].sum(axis=-1))
    leaked_bit = 1.16 * bits * binary_entropy(errors / bits)
    return (
        float(
            sending_key(
                counts, source=source, pulses=pulses, leaked_bit=leaked_bit, epsilon_secrecy=1e-9, epsilon_correctness=1e-10, **how
            ).length_bit
        )
        / pulses
    )


def test_511_km_in_the_field_lie_between_what_the_station_may_lose() -> None:
    """Chen et al. 2021 (recalled): 89.1 dB, 3.45e-8 per pulse, above the absolute PLOB bound.

    Open: what part of the light the station and the gates keep (29 % to 50 % here, detectors included), and the pulses (1e12). Ours with
    intensities at their best: from 0.7 to 1.8 times the published rate.
    """
    source = SendingSource(0.49, 0.278, 0.79, (0.07, 0.49), (0.046, 0.054, 0.9), 0.29)
    low, high = (
        paired_key_rate(
            loss_db=89.1, efficiency=efficiency, dark_count_probability=1e-9, misalignment=0.048, source=source, pulses=1e12, **how
        )
        for efficiency, how in ((0.29, {}), (0.5, {"composition": "sum"}))
    )
    assert low < 3.45e-8 < high
    assert high < 2 * low * 0.5 / 0.29
    assert low > 5 * float(plob_bound(transmittance_from_loss(89.1)))


KILOMETRES_1002 = {"loss_db": 156.5, "efficiency": 0.6, "dark_count_probability": 4e-12, "misalignment": 0.04}


def test_1002_km_need_the_pulses_of_weeks() -> None:
    """Liu et al. 2023: 156.5 dB, 9.53e-12 per pulse without finite-size effects (recalled), 3.11e-12 with (doi:10.1007/s44214-023-00039-9).

    Open: efficiency (0.6 here), noise in a gate (0.02 Hz in 0.2 ns), pulses. Without fluctuations ours is below 1e-10; 3e14 pulses come
    within a factor of 2 of what was published with finite-size effects, and with all that is proven of them give less.
    """
    source = SendingSource(0.482, 0.274, 0.664, (0.08, 0.539), (0.054, 0.103, 0.843), 0.276)
    published = 3.11e-12
    finite = {
        composition: paired_key_rate(**KILOMETRES_1002, source=source, pulses=3e14, composition=composition)
        for composition in ("sum", "root")
    }
    assert published / 2 < finite["sum"] < published * 2
    assert finite["root"] < finite["sum"]
    assert 9.53e-12 < paired_key_rate(**KILOMETRES_1002, source=source, pulses=1e20) < 1e-10
    assert float(plob_bound(transmittance_from_loss(156.5))) < 1e-3 * published


def test_noise_of_one_hertz_would_leave_nothing_at_1002_km() -> None:
    source = SendingSource(0.482, 0.274, 0.664, (0.08, 0.539), (0.054, 0.103, 0.843), 0.276)
    noisy = KILOMETRES_1002 | {"dark_count_probability": 2e-10}
    assert paired_key_rate(**noisy, source=source, pulses=1e20) == 0.0


def test_ten_thousand_million_signals_pass_the_plob_bound() -> None:
    """Curras-Lorenzo et al. 2021 say so of their analysis with about 1e10 signals; ours does at 60 dB."""
    source = TwinFieldSource(0.014, (0.7, 0.2), 0.71, (0.07, 0.23, 0.7))
    station, pulses = CentralStation(1e-8, np.arccos(0.96)), 1e10
    counts = pulses * twin_field.event_table(station, source, 1e-3, 1e-3).probabilities[0]
    bits, errors = counts[0, 0].sum(), counts[0, 0, 1]
    key = twin_field_key(
        counts,
        source=source,
        pulses=pulses,
        leaked_bit=1.16 * bits * binary_entropy(errors / bits),
        epsilon_secrecy=1e-10,
        epsilon_correctness=1e-10,
    )
    assert float(key.length_bit) / pulses > float(plob_bound(1e-6))
