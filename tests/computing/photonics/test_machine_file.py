"""Machines of the user's own, in files."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tiandi.computing.photonics.gaussian import Detectors, Machine
from tiandi.computing.photonics.machine_file import read_machine, write_machine
from tiandi.errors import InputError

R = np.array([-0.5, 0.5])
TRANSFER = np.array([[0.6, 0.3j], [0.2, -0.5], [0.1j, 0.1]])


def test_a_machine_is_read_as_it_was_written(tmp_path: Path) -> None:
    machine = Machine("mine", R, TRANSFER, 0.9, Detectors("pseudo-number", 4, 1e-3))
    write_machine(tmp_path / "mine.npz", machine)
    read = read_machine(tmp_path / "mine.npz")
    assert (read.name, read.indistinguishability, read.detectors) == ("mine", 0.9, machine.detectors)
    np.testing.assert_array_equal(read.transfer, TRANSFER)
    np.testing.assert_array_equal(read.squeezing_r, R)


def test_what_numpy_writes_is_a_machine_of_threshold_detectors(tmp_path: Path) -> None:
    np.savez(tmp_path / "plain.npz", squeezing_r=R, transfer=TRANSFER)
    read = read_machine(tmp_path / "plain.npz")
    assert read.detectors == Detectors()
    assert read.modes == 3


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"transfer": 3 * TRANSFER}, "largest singular value"),
        ({"transfer": TRANSFER.astype(str)}, "transfer = .*numbers"),
        ({"transfer": TRANSFER[:, :1]}, "transfer"),
        ({"squeezing_r": R * np.nan}, "squeezing_r"),
        ({"squeezing_r": np.array([9.0, 0.0])}, "squeezing_r"),
        ({"detector": "camera"}, "detectors.kind = 'camera'"),
        ({"detector": "pseudo-number", "bins": 1}, "detectors.bins"),
        ({"bins": np.array([1, 2])}, "bins = .*one value"),
        ({"dark_count_probability": 2.0}, "dark_count_probability"),
        ({"losses": 0.3}, "losses.npy.*nothing but"),
    ],
)
def test_what_is_no_machine_is_refused_by_name(tmp_path: Path, change: dict[str, Any], what: str) -> None:
    np.savez(tmp_path / "bad.npz", **({"squeezing_r": R, "transfer": TRANSFER} | change))
    with pytest.raises(InputError, match=what):
        read_machine(tmp_path / "bad.npz")


def test_files_that_are_none_or_lack_an_array_are_refused(tmp_path: Path) -> None:
    (tmp_path / "text.npz").write_text("squeezing")
    np.savez(tmp_path / "half.npz", transfer=TRANSFER)
    np.savez(tmp_path / "pickled.npz", squeezing_r=np.array([{}]), transfer=TRANSFER)
    with zipfile.ZipFile(tmp_path / "cut.npz", "w") as archive:
        archive.writestr("squeezing_r.npy", b"\x93NUMPY")
    for name in ("text", "half", "pickled", "cut", "absent"):
        with pytest.raises(InputError):
            read_machine(tmp_path / f"{name}.npz")
