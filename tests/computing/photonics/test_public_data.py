"""The reader of the public data: both layouts, hostile folders, and the experiment's own statistics against the ideal state."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import scipy.io

from tests.computing.photonics.public_data import jiuzhang_data
from tiandi.computing.photonics.exact.clicks import all_subsets, click_moments
from tiandi.computing.photonics.machines import build_machine, haar_columns
from tiandi.computing.photonics.public_data import read_calibration, read_published
from tiandi.errors import InputError


def _cumulants(pairs: np.ndarray, rates: np.ndarray) -> np.ndarray:
    first, second = np.triu_indices(len(rates), 1)
    return pairs - rates[first] * rates[second]


def test_pair_moments_of_the_experiment_are_near_the_ideal_ones() -> None:
    """Correlation 0.991, slope 0.918, relative error 13.6 %, as other code found of the same data."""
    folder = jiuzhang_data()
    machine, published = build_machine("jiuzhang-2.0-1.65w", data=folder), read_published("jiuzhang-2.0-1.65w", folder)
    assert published.pair_moments is not None
    ideal = _cumulants(click_moments(machine, 2), click_moments(machine, 1))
    seen = _cumulants(published.pair_moments, published.rates)
    assert np.corrcoef(ideal, seen)[0, 1] == pytest.approx(0.991, abs=5e-4)
    assert ideal @ seen / (ideal @ ideal) == pytest.approx(0.918, abs=5e-4)
    assert np.linalg.norm(seen - ideal) / np.linalg.norm(ideal) == pytest.approx(0.136, abs=5e-4)


def test_triple_moments_stand_in_lexicographic_order() -> None:
    folder = jiuzhang_data()
    published = read_published("jiuzhang-2.0-1.65w", folder)
    assert published.triple_moments is not None
    chosen = np.arange(0, len(published.triple_moments), 2500)
    triples = all_subsets(144, 3)[chosen]
    ideal = click_moments(build_machine("jiuzhang-2.0-1.65w", data=folder), 3, triples)
    assert np.corrcoef(ideal, published.triple_moments[chosen])[0, 1] > 0.98


@pytest.mark.parametrize(("name", "mean"), [("jiuzhang-1.0", 42.53), ("jiuzhang-2.0-0.15w", 5.989), ("jiuzhang-2.0-1.65w", 68.22)])
def test_statistics_agree_with_each_other(name: str, mean: float) -> None:
    published = read_published(name, jiuzhang_data())
    counts = np.arange(published.modes + 1)
    assert published.total @ counts == pytest.approx(mean, abs=6e-3)
    assert published.rates.sum() == pytest.approx(published.total @ counts, rel=1e-6)
    assert published.halves.sum() == pytest.approx(1)
    assert published.samples > 4e7


def test_settings_that_are_not_in_the_folder_are_named() -> None:
    with pytest.raises(InputError, match=r"jiuzhang2-waist65um-1\.0W\.npz.*github\.com/peterddrummond/xqsim"):
        build_machine("jiuzhang-2.0-1.0w", data=jiuzhang_data())


def _write_xqsim(root: Path) -> tuple[np.ndarray, np.ndarray]:
    """A folder of xQSim's layout with made-up numbers: Jiuzhang 1.0 and Jiuzhang 2.0 at 0.5 W, spelled as its older state spells it."""
    generator = np.random.default_rng(1)
    transfer = 0.5 * haar_columns(100, 50, generator)
    half = generator.uniform(0.5, 1, 25)
    first = root / "xQSimGBSExperiments" / "USTC_100-mode_exp"
    first.mkdir(parents=True)
    np.savetxt(first / "matrix_re.csv", transfer.T.real, delimiter=",")
    np.savetxt(first / "matrix_im.csv", transfer.T.imag, delimiter=",")
    np.savetxt(first / "squeezing_parametersq.csv", np.tile(half, 2), delimiter=",")
    scipy.io.savemat(first / "expkm.mat", {"expkm": np.full(100, 0.25), "Count": 1000.0})
    scipy.io.savemat(first / "expk1.mat", {"expk1": np.eye(101)[25], "Count": 1000.0})
    scipy.io.savemat(first / "expk2.mat", {"expk2": np.full((51, 51), 51.0**-2), "Count": 1000.0})
    second = root / "xQSimGBSExperiments" / "USTC_144-mode_exp" / "wasit = 125um"
    (second / "Power = 0.5W").mkdir(parents=True)
    wide = np.zeros((144, 50), complex)
    wide[:100] = transfer
    np.savetxt(second / "matrix_re.csv", wide.T.real, delimiter=",")
    np.savetxt(second / "matrix_im.csv", wide.T.imag, delimiter=",")
    np.savetxt(second / "Power = 0.5W" / "squeezeing_p_05_sq.csv", np.repeat(half, 2) * np.tile([-1, 1], 25), delimiter=",")
    return transfer, half


def test_the_layout_of_xqsim_is_read(tmp_path: Path) -> None:
    transfer, half = _write_xqsim(tmp_path)
    for folder in (tmp_path, tmp_path / "xQSimGBSExperiments"):
        calibration = read_calibration("jiuzhang-1.0", folder)
        np.testing.assert_allclose(calibration.transfer, transfer)
        np.testing.assert_allclose(calibration.squeezing_r[::2], half)
        np.testing.assert_allclose(calibration.squeezing_r[1::2], -half)
    published = read_published("jiuzhang-1.0", tmp_path)
    assert (published.samples, published.pair_moments) == (1000, None)
    assert published.rates[0] == 0.25
    second = read_calibration("jiuzhang-2.0-125um-0.5w", tmp_path)
    np.testing.assert_allclose(second.squeezing_r[1::2], half)
    with pytest.raises(InputError, match=r"expk\.mat|expkm\.mat"):
        read_published("jiuzhang-2.0-125um-0.5w", tmp_path)


def test_hostile_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="github"):
        read_calibration("jiuzhang-1.0", tmp_path)
    with pytest.raises(InputError, match="calibration is public"):
        read_calibration("jiuzhang-4.0", tmp_path)
    at = tmp_path / "jiuzhang1.npz"
    at.write_bytes(b"no zip")
    with pytest.raises(InputError, match="npz"):
        read_calibration("jiuzhang-1.0", tmp_path)
    np.savez(at, transfer=np.array([{"a": 1}], dtype=object), squeezing_r=np.ones(50))
    with pytest.raises(InputError, match="transfer"):
        read_calibration("jiuzhang-1.0", tmp_path)
    np.savez(at, squeezing_r=np.ones(50))
    with pytest.raises(InputError, match="transfer"):
        read_calibration("jiuzhang-1.0", tmp_path)
    np.savez(at, transfer=np.ones((100, 50), complex), squeezing_r=np.ones(50))
    with pytest.raises(InputError, match="passive"):
        read_calibration("jiuzhang-1.0", tmp_path)
    np.savez(at, transfer=np.zeros((9, 50), complex), squeezing_r=np.ones(50))
    with pytest.raises(InputError, match="100 x 50"):
        read_calibration("jiuzhang-1.0", tmp_path)
    np.savez(at, transfer=np.zeros((100, 50), complex), squeezing_r=np.full(50, 9.0))
    with pytest.raises(InputError, match="squeezing_r"):
        read_calibration("jiuzhang-1.0", tmp_path)
    np.savez(at, expk=np.full(100, 2.0), expk1=np.ones(101), expk2=np.ones((51, 51)), expk_count=5)
    with pytest.raises(InputError, match="expk"):
        read_published("jiuzhang-1.0", tmp_path)
