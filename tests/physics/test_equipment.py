from dataclasses import replace
from typing import Any

import pytest

from tiandi.errors import InputError
from tiandi.physics.equipment import Receiver, Transmitter


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("clock_hz", 0),
        ("mean_photon_numbers", (0.1, 0.5, 0.0)),
        ("mean_photon_numbers", (0.5, 0.3, 0.25)),
        ("mean_photon_numbers", (3.0, 0.1, 0.0)),
        ("mean_photon_numbers", (0.5, 0.1, -0.1)),
        ("probabilities", (0.5, 0.4, 0.2)),
        ("probabilities", (1.0, 0.0, 0.0)),
        ("x_basis_probability", 0.0),
        ("pointing_loss_db", -1.0),
    ],
)
def test_a_transmitter_out_of_range_is_refused(transmitter: Transmitter, field: str, value: Any) -> None:
    with pytest.raises(InputError, match=field):
        replace(transmitter, **{field: value})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("optics_efficiency", 1.1),
        ("gate_s", 0),
        ("timing_sigma_s", -1e-9),
        ("basis_choice", "free"),
        ("misalignment", 0.6),
        ("background_rate_hz", float("nan")),
    ],
)
def test_a_receiver_out_of_range_is_refused(receiver: Receiver, field: str, value: float) -> None:
    with pytest.raises(InputError, match=field):
        replace(receiver, **{field: value})
