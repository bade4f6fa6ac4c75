"""One-decoy key lengths against an independent implementation of Rusca et al. 2018 (doi:10.1063/1.5023340)."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tiandi.protocols.finite_key import proven_key

ROWS = json.loads((Path(__file__).parent / "vectors.json").read_text())["rusca2018_counts_to_key"]


def key_of(row: dict[str, Any]) -> Any:
    return proven_key(
        key_counts=row["nZ"],
        key_errors=row["mZ"],
        test_counts=row["nX"],
        test_errors=row["mX"],
        mean_photon_numbers=row["mus"],
        probabilities=row["ps"],
        leaked_bit=row["leak"],
        epsilon_secrecy=1e-9,
        epsilon_correctness=1e-15,
        sampling="printed",
    )


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row['L']} km, {row['nZ_total']:g}")
def test_key_length_to_one_bit(row: dict[str, Any]) -> None:
    ours = key_of(row)
    assert float(ours.length_bit) == pytest.approx(row["l"], abs=1.0)
    assert float(ours.key_basis.vacuum) == pytest.approx(row["sz0"], rel=1e-9)
    assert float(ours.key_basis.single_photon) == pytest.approx(row["sz1"], rel=1e-9)
    assert float(ours.test_basis.single_photon) == pytest.approx(row["sx1"], rel=1e-9)
    assert float(ours.test_basis.single_photon_errors) == pytest.approx(row["vx1"], rel=1e-9)
    assert float(ours.phase_error) == pytest.approx(row["phi"], rel=1e-9)


def test_some_of_the_vectors_carry_key() -> None:
    assert sum(row["l"] > 0 for row in ROWS) >= 2
    assert np.isfinite([row["l"] for row in ROWS]).all()
