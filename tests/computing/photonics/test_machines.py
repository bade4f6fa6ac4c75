"""Data sheets, machines from the public data, synthetic ones, and the checks of both."""

from __future__ import annotations

import numpy as np
import pytest

from tests.computing.photonics.public_data import jiuzhang_data
from tiandi.computing.photonics.exact.clicks import click_moments, click_probability
from tiandi.computing.photonics.foreign import require_physical
from tiandi.computing.photonics.gaussian import Machine
from tiandi.computing.photonics.machines import build_machine, find_machine, haar_columns, load_machines, read_machines
from tiandi.computing.photonics.public_data import SETTINGS
from tiandi.errors import InputError

THEORY = {
    "jiuzhang-1.0": 41.04,
    "jiuzhang-2.0-0.15w": 5.976,
    "jiuzhang-2.0-0.3w": 11.94,
    "jiuzhang-2.0-0.6w": 24.66,
    "jiuzhang-2.0-1.65w": 66.87,
    "jiuzhang-2.0-125um-0.5w": 7.27,
}
"""Mean clicks of the ideal lossy state, computed before by other code of the same data; to all digits that were written down."""


@pytest.mark.parametrize("name", THEORY)
def test_mean_clicks_of_the_public_calibration(name: str) -> None:
    machine = build_machine(name, data=jiuzhang_data())
    digits = len(str(THEORY[name]).split(".")[1])
    assert round(float(click_moments(machine, 1).sum()), digits) == THEORY[name]
    assert "synthetic" not in machine.name
    require_physical(machine.state())


def test_sheets_have_a_label_and_a_source_for_every_figure() -> None:
    sheets = load_machines()
    assert set(SETTINGS) | {"jiuzhang-3.0", "jiuzhang-4.0"} == set(sheets)
    assert all(fact.source for sheet in sheets.values() for fact in sheet.facts.values())
    assert sheets["jiuzhang-2.0-125um-1.41w"].number("mean_photons") is None, "of its setting, not of the one it is like"
    assert sheets["jiuzhang-2.0-125um-1.41w"].need("transmission") == pytest.approx(0.5399)


@pytest.mark.parametrize("name", [name for name in THEORY if name != "jiuzhang-2.0-0.6w"] + ["jiuzhang-3.0", "jiuzhang-2.0-125um-1.41w"])
def test_synthetic_machines_have_the_published_summary(name: str) -> None:
    sheet, machine = find_machine(name), build_machine(name)
    assert machine.name.endswith("(synthetic)")
    assert machine.modes == sheet.need("modes")
    assert np.linalg.norm(machine.transfer) ** 2 / machine.transfer.shape[1] == pytest.approx(sheet.need("transmission"))
    assert np.linalg.svd(machine.transfer, compute_uv=False).max() <= 1
    photons = sheet.number("mean_photons")
    if photons is not None:
        assert machine.state().mean_photon_numbers.sum() == pytest.approx(photons, rel=1e-6)
        spread = np.abs(machine.squeezing_r).max() / np.abs(machine.squeezing_r).min()
        assert spread <= sheet.need("squeezing_r_max") / sheet.need("squeezing_r_min") + 1e-9
    assert machine.squeezing_r.sum() == pytest.approx(0, abs=1e-9), "pairs of opposite squeezing"
    assert np.array_equal(build_machine(name).transfer, machine.transfer)
    assert not np.array_equal(build_machine(name, seed=2).transfer, machine.transfer)


def test_jiuzhang_3_counts_bins_and_jiuzhang_4_is_known() -> None:
    machine = build_machine("jiuzhang-3.0")
    assert (machine.detectors.kind, machine.detectors.bins) == ("pseudo-number", 8)
    sheet = find_machine("jiuzhang-4.0")
    assert (sheet.need("modes"), sheet.need("sources"), sheet.two_mode_sources) == (8176, 1024, False)


@pytest.mark.slow
def test_jiuzhang_4_is_built_without_a_covariance() -> None:
    machine = build_machine("jiuzhang-4.0")
    assert machine.transfer.shape == (8176, 1024)
    assert click_moments(machine, 1).sum() == pytest.approx(2200, rel=1e-6)
    pairs = np.random.default_rng(1).integers(0, 4088, (200, 2)) + np.array([0, 4088])
    rates = click_moments(machine, 1)
    assert np.abs(click_moments(machine, 2, pairs) - rates[pairs].prod(axis=1)).max() < 0.05


def test_moments_from_the_transfer_matrix_are_those_of_the_covariance() -> None:
    machine = build_machine("jiuzhang-2.0-1.65w")
    subsets = np.array([[0, 5, 100], [143, 2, 7]])
    np.testing.assert_allclose(click_moments(machine, 3, subsets), click_moments(machine.state(), 3, subsets), atol=1e-13)


def test_haar_columns_are_orthonormal_and_phases_are_uniform() -> None:
    generator = np.random.default_rng(1)
    columns = haar_columns(30, 7, generator)
    np.testing.assert_allclose(columns.conj().T @ columns, np.eye(7), atol=1e-12)
    phases = np.array([haar_columns(2, 1, generator)[0, 0] for _ in range(2000)])
    assert abs((phases / np.abs(phases)).mean()) < 5 / np.sqrt(2000)


def test_one_source_is_the_textbook_two_mode_squeezed_state() -> None:
    """Both modes click together or not at all, with probability tanh^2 r: no photon is lost."""
    r = 0.7
    splitter = np.array([[1, -1], [1, 1]]) / np.sqrt(2)
    state = Machine("two", np.array([-r, r]), splitter.astype(complex)).state()
    assert click_probability(state, [1, 1]) == pytest.approx(np.tanh(r) ** 2)
    assert click_probability(state, [1, 0]) == pytest.approx(0, abs=1e-14)


def test_bad_sheets_and_names_are_refused() -> None:
    with pytest.raises(InputError, match=r"jiuzhang-1\.0"):
        build_machine("jiuzhang-9")
    text = '[a]\nname = "a"\nyear = 1\nnote = ""\ndetector = "threshold"\ntwo_mode_sources = true\n[a.facts]\n'
    with pytest.raises(InputError, match="label of modes"):
        read_machines(text + 'modes = { value = 1, label = "guessed", source = "x" }')
    with pytest.raises(InputError, match="source of modes"):
        read_machines(text + 'modes = { value = 1, label = "assumed", source = "" }')
    with pytest.raises(InputError, match="finite"):
        read_machines(text + 'modes = { value = inf, label = "assumed", source = "x" }')
    with pytest.raises(InputError, match="like"):
        read_machines('[a]\nlike = "b"\n[a.facts]')
    with pytest.raises(InputError, match="name"):
        read_machines("[a]\n[a.facts]")
    with pytest.raises(InputError, match="not known"):
        find_machine("jiuzhang-3.0").need("mean_photons")
