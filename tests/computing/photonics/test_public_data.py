"""The reader of the public data: both layouts, hostile folders, and the experiment's own statistics against the ideal state."""

from __future__ import annotations

import struct
import zlib
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


def _bomb() -> bytes:
    """A .mat file of 65 KB whose one array has 65 MiB."""
    packed = zlib.compress(b"\0" * (65 * 2**20), 9)
    return b"MATLAB 5.0 MAT-file".ljust(124) + b"\x00\x01IM" + struct.pack("<II", 15, len(packed)) + packed


@pytest.mark.parametrize(
    "content", [b"", b"PK\x03\x04 no zip", b"\x93NUMPY\x01\x00", b"PK\x05\x06" + b"\0" * 18], ids=["empty", "zip", "array", "no members"]
)
def test_files_that_are_no_npz_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "jiuzhang1.npz").write_bytes(content)
    for read in (read_calibration, read_published):
        with pytest.raises(InputError):
            read("jiuzhang-1.0", tmp_path)


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("transfer", np.full((100, 50), "a")),
        ("squeezing_r", np.full(50, 1j)),
        ("squeezing_r", np.full(50, np.datetime64("2020-01-01"))),
        ("transfer", np.zeros((100, 50), [("a", float)])),
        ("transfer", np.zeros(9_000_000)),
        ("expk_count", np.ones(3)),
        ("expk_count", np.array(0.0)),
        ("expk_count", np.array(np.nan)),
        ("expk_count", np.array("many")),
        ("expk", np.full(100, np.nan)),
        ("expk1", np.full(101, "a")),
    ],
)
def test_arrays_that_are_no_such_numbers_are_refused_by_name(tmp_path: Path, name: str, array: np.ndarray) -> None:
    """One of nine million zeros too: 70 KB that unpack to 72 MB."""
    honest = {
        "transfer": np.zeros((100, 50), complex),
        "squeezing_r": np.tile([-0.5, 0.5], 25),
        "expk": np.zeros(100),
        "expk1": np.zeros(101),
        "expk2": np.zeros((51, 51)),
        "expk_count": np.array(10.0),
    }
    np.savez_compressed(tmp_path / "jiuzhang1.npz", **{**honest, name: array})  # type: ignore[arg-type] # numpy types allow_pickle apart
    read = read_calibration if name in {"transfer", "squeezing_r"} else read_published
    with pytest.raises(InputError, match=name):
        read("jiuzhang-1.0", tmp_path)


@pytest.mark.parametrize("content", [b"", b"no matlab", _bomb(), _bomb()[:400]], ids=["empty", "text", "bomb", "cut"])
def test_mat_files_that_are_none_or_unpack_to_too_much_are_refused(tmp_path: Path, content: bytes) -> None:
    _write_xqsim(tmp_path)
    (tmp_path / "xQSimGBSExperiments" / "USTC_100-mode_exp" / "expk1.mat").write_bytes(content)
    with pytest.raises(InputError, match="expk1"):
        read_published("jiuzhang-1.0", tmp_path)


def test_mat_files_of_cells_are_refused(tmp_path: Path) -> None:
    _write_xqsim(tmp_path)
    cells = np.empty(101, dtype=object)
    cells[:] = [np.zeros(2)] * 101
    scipy.io.savemat(tmp_path / "xQSimGBSExperiments" / "USTC_100-mode_exp" / "expk1.mat", {"expk1": cells, "Count": 1000.0})
    with pytest.raises(InputError, match="expk1"):
        read_published("jiuzhang-1.0", tmp_path)
