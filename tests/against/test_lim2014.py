"""Finite-key lengths against a run of SatQuMA (Strathclyde), to one bit."""

import json
from pathlib import Path
from typing import Any

import pytest

from tiandi.protocols.finite_key import Bound, proven_key
from tiandi.protocols.information import binary_entropy

VECTORS = json.loads((Path(__file__).parent / "vectors.json").read_text())


@pytest.mark.parametrize("bound", ["hoeffding", "chernoff", "asymptotic"])
@pytest.mark.parametrize("row", VECTORS["lim2014_counts_to_key"], ids=lambda row: f"Pec {row['in']['Pec']:g}")
def test_key_length_to_one_bit(row: dict[str, Any], bound: Bound) -> None:
    given, counts = row["in"], row["counts"]
    ours = proven_key(
        key_counts=counts["nX"],
        key_errors=counts["mX"],
        test_counts=counts["nZ"],
        test_errors=counts["mZ_satquma_convention"],
        mean_photon_numbers=given["mu"],
        probabilities=given["pk"],
        leaked_bit=row["leak_fEC1.16"],
        epsilon_secrecy=given["eps_s"],
        epsilon_correctness=given["eps_c"],
        bound=bound,
        sampling="printed",
    )
    theirs = row["satquma"][bound.capitalize()]
    assert abs(float(ours.length_bit) - theirs["l"]) < 1.0
    assert float(ours.phase_error) == pytest.approx(theirs["phi"], rel=1e-9)
    assert float(ours.key_basis.single_photon) == pytest.approx(theirs["sx1"], rel=1e-9)
    assert float(ours.test_basis.single_photon) == pytest.approx(theirs["sz1"], rel=1e-9)


@pytest.mark.parametrize(("probability", "entropy"), VECTORS["binary_entropy"])
def test_binary_entropy(probability: float, entropy: float) -> None:
    assert float(binary_entropy(probability)) == pytest.approx(entropy, rel=1e-12)


@pytest.mark.parametrize("efficiency", ["1.0", "1.16", "1.22", "1.35", "1.4", "1.5"])
def test_key_from_the_published_counts_of_micius(efficiency: str) -> None:
    """Liao et al. 2017: detections split by intensity as emitted, both bases used, QBER 1.1 %; published key 300,939 bit."""
    published = VECTORS["micius2017_consistency"]
    mean_photon_numbers, probabilities = (0.8, 0.1, 0.0), (0.5, 0.25, 0.25)
    weights = [mu * p for mu, p in zip(mean_photon_numbers, probabilities, strict=True)]
    matched = published["detections"] / 2
    counts = [matched / 2 * weight / sum(weights) for weight in weights]
    errors = [count * published["qber"] for count in counts]
    one_basis = proven_key(
        key_counts=counts,
        key_errors=errors,
        test_counts=counts,
        test_errors=errors,
        mean_photon_numbers=mean_photon_numbers,
        probabilities=probabilities,
        leaked_bit=float(efficiency) * float(binary_entropy(published["qber"])) * sum(counts),
        epsilon_secrecy=published["eps"],
        epsilon_correctness=published["eps"],
        sampling="printed",
    )
    expected = published["lim_hoeffding_from_counts"][efficiency]["hoeffding"]
    assert 2 * float(one_basis.length_bit) == pytest.approx(expected, abs=100)  # Theirs uses another epsilon of correctness.


@pytest.mark.parametrize("row", VECTORS["lim2014_fibre_fixed_params"], ids=lambda row: f"{row['L']} km, {row['N']:.0e} pulses")
def test_key_over_fibre_to_one_bit(row: dict[str, Any]) -> None:
    """Key in X (90 % of the pulses), intensities 0.5, 0.1, 0.0002 at 40, 40, 20 %, epsilons 1e-10 and 1e-15, f = 1.16."""
    ours = proven_key(
        key_counts=row["nX"],
        key_errors=row["mX"],
        test_counts=row["nZ"],
        test_errors=row["mZ"],
        mean_photon_numbers=(0.5, 0.1, 2e-4),
        probabilities=(0.4, 0.4, 0.2),
        leaked_bit=row["leak"],
        epsilon_secrecy=1e-10,
        epsilon_correctness=1e-15,
        sampling="printed",
    )
    assert float(ours.length_bit) == pytest.approx(row["l"], abs=1.0)
    assert float(ours.phase_error) == pytest.approx(row["phi"], rel=1e-9)
    assert float(ours.key_basis.single_photon) == pytest.approx(row["sx1"], rel=1e-9)
    assert float(ours.test_basis.single_photon) == pytest.approx(row["sz1"], rel=1e-9)


def test_every_group_of_outside_figures_is_compared_with() -> None:
    tests = "".join(path.read_text() for path in Path(__file__).parents[1].rglob("test_*.py"))
    assert [group for group in VECTORS if not group.startswith("_") and f'"{group}"' not in tests] == []
