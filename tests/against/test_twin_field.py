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
from tiandi.protocols.twin_field_finite_key import Composition, sending_key, twin_field_key
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
    source: SendingSource,
    *,
    loss_db: float,
    efficiency: float,
    dark_count_probability: float,
    misalignment: float,
    pulses: float,
    composition: Composition = "root",
) -> float:
    """Secret bits per pulse of sending or not sending with pairing over two equal arms, from expected counts; f = 1.16."""
    arm = efficiency * transmittance_from_loss(loss_db / 2)
    station = CentralStation(dark_count_probability, phase_mismatch_rad(misalignment))
    counts = pulses * sending_or_not_sending.event_table(station, source, arm, arm).probabilities[0]
    bits, errors = sending_or_not_sending.paired_counts(counts[:2, :2].sum(axis=-1))
    key = sending_key(
        counts,
        source=source,
        pulses=pulses,
        leaked_bit=1.16 * bits * binary_entropy(errors / bits),
        epsilon_secrecy=1e-9,
        epsilon_correctness=1e-10,
        composition=composition,
    )
    return float(key.length_bit) / pulses


KILOMETRES_511 = {"loss_db": 89.1, "dark_count_probability": 1e-9, "misalignment": 0.048, "pulses": 1e12}
SOURCE_511 = SendingSource(0.49, 0.278, 0.79, (0.07, 0.49), (0.054, 0.9, 0.046), 0.29)

KILOMETRES_1002 = {"loss_db": 156.5, "efficiency": 0.6, "dark_count_probability": 4e-12, "misalignment": 0.04}
SOURCE_1002 = SendingSource(0.482, 0.274, 0.664, (0.08, 0.539), (0.103, 0.843, 0.054), 0.276)


def test_511_km_in_the_field_lie_within_what_the_station_may_lose() -> None:
    """Chen et al. 2021: 89.1 dB, 3.45e-8 per pulse, above the PLOB bound without any loss in the station (recalled).

    Open: what part of the light station, gates and detectors keep (29 % to 50 % here), the pulses (1e12), the noise. Intensities and
    probabilities are at their best for this model.
    """
    low, high = (paired_key_rate(SOURCE_511, efficiency=efficiency, **KILOMETRES_511) for efficiency in (0.29, 0.5))
    assert 3.45e-8 / 2 < low < 3.45e-8 < high < 3.45e-8 * 2
    assert low > 5 * float(plob_bound(transmittance_from_loss(89.1)))


def test_1002_km_need_hundreds_of_millions_of_millions_of_pulses() -> None:
    """Liu et al. 2023: 156.5 dB; 9.53e-12 per pulse without finite-size effects (recalled), later 3.11e-12 with them.

    The latter is read in the abstract of doi:10.1007/s44214-023-00039-9. Open: efficiency (0.6 here), the noise in a gate (0.02 Hz in
    0.2 ns), the pulses. Ours meets it between 2e14 and 6e14 pulses where failures are added up as published; as proven here 6e14 give
    less and 2e14 nothing. With pulses and decoys without end ours is several times above 9.53e-12, which kept what was seen.
    """
    few, many = (paired_key_rate(SOURCE_1002, pulses=pulses, composition="sum", **KILOMETRES_1002) for pulses in (2e14, 6e14))
    assert few < 3.11e-12 < many < 2e-11
    proven = [paired_key_rate(SOURCE_1002, pulses=pulses, **KILOMETRES_1002) for pulses in (2e14, 6e14)]
    assert proven[0] == 0.0
    assert 0.0 < proven[1] < many
    assert 9.53e-12 < paired_key_rate(SOURCE_1002, pulses=1e20, **KILOMETRES_1002) < 1e-10
    assert float(plob_bound(transmittance_from_loss(156.5))) < 1e-3 * 3.11e-12


def test_noise_of_one_hertz_would_leave_nothing_at_1002_km() -> None:
    assert paired_key_rate(SOURCE_1002, pulses=1e20, **KILOMETRES_1002 | {"dark_count_probability": 2e-10}) == 0.0


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
