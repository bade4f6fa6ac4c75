"""Files of machines of the user's own: an .npz file of plain arrays, as numpy.savez writes it.

``squeezing_r`` (inputs,), real, signed; ``transfer`` (modes, inputs), complex, with all losses: a_out = transfer a_in + vacuum. What else
may stand there, one value each: ``detector`` ("threshold", "pseudo-number", "number"), ``bins``, ``dark_count_probability``,
``indistinguishability``. All as in `gaussian.Machine`, which also says what is out of range. The machine's name is the file's.

    numpy.savez("mine.npz", squeezing_r=squeezing_r, transfer=transfer, detector="threshold")
"""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from tiandi.computing.photonics.array_files import open_arrays, read_array
from tiandi.computing.photonics.foreign import machine_from_matrices
from tiandi.computing.photonics.gaussian import DetectorKind, Detectors, Machine
from tiandi.errors import InputError

LARGEST_BYTE = 2**31
"""Of an array; a transfer matrix of 8,192 modes and inputs has a half of it."""
LARGEST_VALUE_BYTE = 1024
ARRAYS = ("squeezing_r", "transfer")
VALUES: dict[str, Any] = {"detector": "threshold", "bins": 1, "dark_count_probability": 0.0, "indistinguishability": 1.0}
"""What is taken where a file does not say."""
KINDS = {
    "squeezing_r": "fiu",
    "transfer": "cfiu",
    "detector": "U",
    "bins": "iu",
    "dark_count_probability": "fiu",
    "indistinguishability": "fiu",
}
"""What numpy calls the kinds of numbers, or of text, that a field may have."""


def is_machine_file(machine: str) -> bool:
    """Whether this is the name of a file, not of a machine that has a data sheet."""
    return machine.endswith(".npz")


def read_machine(at: Path) -> Machine:
    """The machine of the file ``at``. Raises InputError that names the field, its value and what it must be."""
    with open_arrays(at, "machine") as archive:
        known = {*ARRAYS, *VALUES}
        for entry in archive.namelist():
            if entry.removesuffix(".npy") not in known:
                raise InputError("machine", entry, f"must hold nothing but {', '.join((*ARRAYS, *VALUES))}, in {at}")
        squeezing_r, transfer = (_array(archive, name, at, LARGEST_BYTE) for name in ARRAYS)
        values = {name: _value(archive, name, at) for name in VALUES}
    detectors = Detectors(cast(DetectorKind, values["detector"]), int(values["bins"]), float(values["dark_count_probability"]))
    return machine_from_matrices(
        transfer, squeezing_r, name=at.stem, detectors=detectors, indistinguishability=float(values["indistinguishability"])
    )


def write_machine(at: Path, machine: Machine) -> None:
    """Write ``machine`` to the .npz file ``at``, which is replaced."""
    detectors = machine.detectors
    with at.open("wb") as file:
        np.savez_compressed(
            file,
            squeezing_r=machine.squeezing_r,
            transfer=machine.transfer,
            detector=np.array(detectors.kind),
            bins=np.array(detectors.bins),
            dark_count_probability=np.array(detectors.dark_count_probability),
            indistinguishability=np.array(machine.indistinguishability),
        )


def _array(archive: zipfile.ZipFile, name: str, at: Path, largest_byte: int) -> NDArray[np.generic]:
    array = read_array(archive, name, largest_byte=largest_byte, at=at)
    if array.dtype.kind not in KINDS[name]:
        raise InputError(name, str(array.dtype), f"must be {'text' if KINDS[name] == 'U' else 'numbers'}, in {at}")
    return array


def _value(archive: zipfile.ZipFile, name: str, at: Path) -> Any:
    if f"{name}.npy" not in archive.NameToInfo:
        return VALUES[name]
    value = _array(archive, name, at, LARGEST_VALUE_BYTE)
    if value.size != 1:
        raise InputError(name, list(value.shape), f"must be one value, in {at}")
    return value.item()
