"""What no machine is: hostile figures are refused where they come in, by name."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy.stats import unitary_group

from tiandi.computing.photonics.gaussian import Detectors, Machine
from tiandi.errors import InputError

GOOD = Machine("good", np.array([0.5, -0.3]), 0.9 * unitary_group.rvs(3, random_state=1)[:, :2])


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"transfer": GOOD.transfer * np.nan}, "transfer"),
        ({"transfer": GOOD.transfer * 1.2}, "largest singular value of transfer"),
        ({"transfer": np.full((3, 2), 0.55 + 0j)}, "largest singular value of transfer"),
        ({"transfer": np.zeros((0, 2), complex)}, "transfer"),
        ({"transfer": np.zeros((3, 0), complex), "squeezing_r": np.zeros(0)}, "transfer"),
        ({"transfer": GOOD.transfer[0]}, "transfer"),
        ({"squeezing_r": np.array([0.5])}, "transfer"),
        ({"squeezing_r": np.array([0.5, np.nan])}, "squeezing_r"),
        ({"squeezing_r": np.array([0.5, np.inf])}, "squeezing_r"),
        ({"indistinguishability": 1.1}, "indistinguishability"),
        ({"indistinguishability": -0.1}, "indistinguishability"),
        ({"indistinguishability": float("nan")}, "indistinguishability"),
    ],
)
def test_a_machine_that_cannot_be_is_refused_by_the_name_of_the_figure(changed: dict[str, Any], field: str) -> None:
    with pytest.raises(InputError) as caught:
        replace(GOOD, **changed)
    assert str(caught.value).startswith(f"{field} = ")
    assert "must" in str(caught.value)


def test_rows_and_columns_of_large_interferometers_are_looked_at_without_their_singular_values() -> None:
    squeezing_r, transfer = np.zeros(300), np.eye(301, 300, dtype=complex)
    assert Machine("large", squeezing_r, transfer).modes == 301
    transfer[300] = 0.1
    with pytest.raises(InputError, match="largest singular value"):
        Machine("large", squeezing_r, transfer)


@pytest.mark.parametrize(
    ("figures", "field"),
    [
        (("homodyne", 1, 0.0), "kind"),
        (("pseudo-number", 0, 0.0), "bins"),
        (("pseudo-number", 1, 0.0), "bins"),
        (("pseudo-number", 256, 0.0), "bins"),
        (("threshold", 8, 0.0), "bins"),
        (("number", 8, 0.0), "bins"),
        (("threshold", 1, -0.1), "dark_count_probability"),
        (("threshold", 1, 1.5), "dark_count_probability"),
        (("number", 1, float("nan")), "dark_count_probability"),
    ],
)
def test_detectors_that_cannot_be_are_refused(figures: tuple[Any, int, float], field: str) -> None:
    with pytest.raises(InputError, match=f"detectors.{field}"):
        Detectors(*figures)
