"""Measurement-device-independent QKD with infinitely many decoys against reference values."""

import json
from pathlib import Path

import numpy as np
import pytest

from tiandi.protocols.events import Basis
from tiandi.protocols.measurement_device_independent import (
    DecoySource,
    Outcome,
    RelayLink,
    asymptotic_key_rate,
    bell_gains,
    single_photon_pairs,
)

VECTORS = json.loads((Path(__file__).parent / "vectors.json").read_text())["mdi_asymptotic"]


@pytest.mark.parametrize("row", VECTORS, ids=lambda row: f"eta {row['eta']:g}")
def test_gains_and_key_rate_to_nine_digits(row: dict[str, float]) -> None:
    source = DecoySource((row["mu"],), (0.0,), (1.0,))
    link = RelayLink(source, source, np.ones(1), np.ones(1), row["eta"], row["pd"], (row["ed"], row["ed"]))
    signal, pairs = bell_gains(link)[0, Basis.Z, 0, 0], single_photon_pairs(link)
    assert signal.sum() == pytest.approx(row["QZ"], rel=1e-9)
    assert signal[Outcome.WRONG] / signal.sum() == pytest.approx(row["EZ"], rel=1e-9)
    assert float(pairs.yields[0]) == pytest.approx(row["Y11"], rel=1e-9)
    assert float(pairs.error_rates[0, Basis.X]) == pytest.approx(row["e11X"], rel=1e-9)
    assert float(asymptotic_key_rate(link, row["f"])[0]) == pytest.approx(row["R"], rel=1e-9)


def test_coherent_pulses_err_in_a_quarter_of_the_pairs_in_x() -> None:
    """Two weak coherent pulses of random phase interfere with a visibility of 1/2, which is an error rate of 1/4."""
    source = DecoySource((0.5,), (1.0,), (0.0,))
    link = RelayLink(source, source, np.array([1e-7]), np.array([1e-7]), 1.0, 0.0, (0.0, 0.0))
    right, wrong = bell_gains(link)[0, Basis.X, 0, 0]
    assert wrong / (right + wrong) == pytest.approx(0.25, rel=1e-6)
