"""Asymptotic rates of GG02 against reference vectors and against a public program, qosst-skr 0.10.0 (Pietri et al.)."""

import json
from pathlib import Path
from typing import Any

import pytest

from tiandi.protocols.continuous_variable import GaussianProtocol, asymptotic_key_rate, holevo_information, mutual_information

VECTORS = json.loads((Path(__file__).parent / "vectors.json").read_text())

QOSST_SKR = [
    # modulation variance, transmittance, excess noise, efficiency, electronic noise, beta, homodyne and heterodyne [bit per symbol]
    (4.0, 0.1, 0.01, 0.6, 0.1, 0.95, 0.021004925910063227, 0.020902762856893353),
    (5.0, 0.5, 0.01, 0.5, 0.1, 0.95, 0.14504367965197745, 0.14919548730727228),
    (2.0, 0.01, 0.005, 0.8, 0.05, 0.98, 0.0028600842608857945, 0.002862375835814083),
    (12.0, 0.9, 0.05, 0.95, 0.02, 0.9, 0.6270116994147249, 0.7937078524761845),
]


@pytest.mark.parametrize("row", VECTORS["gg02_homodyne_rr_trusted"], ids=lambda row: f"{row['L_km']} km")
def test_homodyne_with_a_trusted_detector(row: dict[str, Any]) -> None:
    protocol = GaussianProtocol(
        modulation_variance=row["VA"],
        excess_noise=row["xi"],
        detector_efficiency=row["eta"],
        electronic_noise=row["vel"],
        reconciliation_efficiency=row["beta"],
    )
    assert float(mutual_information(protocol, row["T"])) == pytest.approx(row["I_AB"], abs=1e-12)
    assert float(holevo_information(protocol, row["T"])) == pytest.approx(row["chi_BE"], abs=1e-12)
    assert float(asymptotic_key_rate(protocol, row["T"])) == pytest.approx(row["R"], abs=1e-12)


@pytest.mark.parametrize("row", QOSST_SKR, ids=lambda row: f"T {row[1]:g}")
def test_both_detections_as_another_program_has_them(row: tuple[float, ...]) -> None:
    variance, transmittance, noise, efficiency, electronic, beta, homodyne, heterodyne = row
    for detection, theirs in (("homodyne", homodyne), ("heterodyne", heterodyne)):
        protocol = GaussianProtocol(variance, noise, efficiency, electronic, beta, detection)  # type: ignore[arg-type]
        assert float(asymptotic_key_rate(protocol, transmittance)) == pytest.approx(theirs, abs=1e-11)
