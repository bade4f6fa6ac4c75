"""The public data of Jiuzhang 1.0 and 2.0, read from a folder that the user names. None of it is part of this project: it has no licence.

Two layouts are read: one ``.npz`` a setting (``transfer`` (modes, 50), ``squeezing_r`` (50,), ``expk``, ``expk1``, ``expk2``, each with
``_count``; measured pair and triple moments in a file of their own), and the folders of xQSim (``matrix_re.csv`` and ``matrix_im.csv``,
a ``.csv`` of squeezing, ``expk.mat`` and its like), github.com/peterddrummond/xqsim, folder xQSimGBSExperiments.
Experiments: Zhong et al., Science 370, 1460 (2020), doi:10.1126/science.abe8770; Zhong et al., Phys. Rev. Lett. 127, 180502 (2021),
doi:10.1103/PhysRevLett.127.180502. The statistics were computed from their samples by the authors of xQSim (P. D. Drummond and others).
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.io
from numpy.typing import NDArray
from scipy.io.matlab import MatReadError

from tiandi.computing.photonics.array_files import UNREADABLE, open_arrays, read_array
from tiandi.computing.photonics.gaussian import ComplexArray, FloatArray
from tiandi.errors import InputError
from tiandi.limits import require_each_within, require_within

XQSIM = "https://github.com/peterddrummond/xqsim (folder xQSimGBSExperiments)"
LARGEST_FILE_BYTE = 64 * 2**20
MAT_HEADER_BYTE, MAT_COMPRESSED = 128, 15
MOST_SAMPLES = 1e15
INPUTS = 50
WAISTS = ("waist = 65um", "waist = 125um", "wasit = 125um")
"""Folders of xQSim; an earlier state of it spells one differently."""


@dataclass(frozen=True, slots=True)
class Setting:
    """Where one published setting of a machine stands in the public data."""

    modes: int
    npz: str
    """Name of the .npz file without its ending."""
    waist_um: int | None
    """Waist of the pump; None for Jiuzhang 1.0, which has one setting."""
    power: str
    """Pump power as the folders of xQSim write it."""

    @property
    def folders(self) -> tuple[str, ...]:
        """Where xQSim keeps it, one after another to be tried, below xQSimGBSExperiments."""
        if self.waist_um is None:
            return ("USTC_100-mode_exp",)
        waists = [name for name in WAISTS if name.endswith(f" {self.waist_um}um")]
        return tuple(f"USTC_144-mode_exp/{waist}/{word} = {self.power}" for waist in waists for word in ("Power", "power"))


SETTINGS: dict[str, Setting] = {
    "jiuzhang-1.0": Setting(100, "jiuzhang1", None, ""),
    "jiuzhang-2.0-0.15w": Setting(144, "jiuzhang2-waist65um-0.15W", 65, "0.15W"),
    "jiuzhang-2.0-0.3w": Setting(144, "jiuzhang2-waist65um-0.3W", 65, "0.3W"),
    "jiuzhang-2.0-0.6w": Setting(144, "jiuzhang2-waist65um-0.6W", 65, "0.6W"),
    "jiuzhang-2.0-1.0w": Setting(144, "jiuzhang2-waist65um-1.0W", 65, "1.0W"),
    "jiuzhang-2.0-1.65w": Setting(144, "jiuzhang2-waist65um-1.65W", 65, "1.65W"),
    "jiuzhang-2.0-125um-0.5w": Setting(144, "jiuzhang2-waist125um-0.5W", 125, "0.5W"),
    "jiuzhang-2.0-125um-1.41w": Setting(144, "jiuzhang2-waist125um-1.41W", 125, "1.41W"),
}
"""Settings of which calibration and statistics are public, by the machine's id."""


@dataclass(frozen=True, eq=False)
class Published:
    """Click statistics of one setting of an experiment. Modes stand in the order of its transfer matrix."""

    machine: str
    rates: FloatArray
    """(modes,): mean clicks of each mode."""
    total: FloatArray
    """(modes + 1,): distribution of the number of clicks."""
    halves: FloatArray
    """(modes/2 + 1, modes/2 + 1): joint distribution of the clicks in the first and in the second half of the modes."""
    samples: int
    """Shots behind all of it."""
    pair_moments: FloatArray | None = None
    """(modes choose 2,): mean product of two modes' clicks, i < j in lexicographic order; None where not there."""
    triple_moments: FloatArray | None = None
    """(modes choose 3,): the same of three modes."""

    @property
    def modes(self) -> int:
        return len(self.rates)


@dataclass(frozen=True, eq=False)
class Calibration:
    """What enters a machine: ``transfer`` (modes, 50) before the splitter of each pair, ``squeezing_r`` (50,) in pairs of opposite sign."""

    transfer: ComplexArray
    squeezing_r: FloatArray


def read_calibration(machine: str, folder: Path) -> Calibration:
    """Transfer matrix and squeezing of ``machine``; InputError says what is missing and where to get it."""
    setting = find_setting(machine)
    at = _npz(setting, folder)
    if at is not None:
        arrays = _read_npz(at, ("transfer", "squeezing_r"))
        transfer, squeezing_r = _numbers("transfer", arrays["transfer"], "biufc"), _numbers("squeezing_r", arrays["squeezing_r"])
        calibration = Calibration(transfer.astype(np.complex128), squeezing_r.astype(float))
    else:
        calibration = _xqsim_calibration(setting, _xqsim(machine, setting, folder))
    return _checked(calibration, setting, folder)


def read_published(machine: str, folder: Path) -> Published:
    """The experiment's own click statistics of ``machine``; InputError says what is missing and where to get it."""
    setting = find_setting(machine)
    at = _npz(setting, folder)
    if at is not None:
        found = _read_npz(at, ("expk", "expk1", "expk2", "expk_count"))
        moments = at.with_name(f"{setting.npz}-moments.npz")
        if moments.is_file():
            found |= _read_npz(moments, (), maybe=("expk2m", "expk3m"))
    else:
        found = _xqsim_statistics(_xqsim(machine, setting, folder))
    return _statistics(machine, setting, found)


def find_setting(machine: str) -> Setting:
    """Where ``machine`` stands in the public data; raises InputError for one of which nothing is public."""
    if machine not in SETTINGS:
        raise InputError("machine", machine, f"must be one whose calibration is public: {', '.join(SETTINGS)}")
    return SETTINGS[machine]


def _npz(setting: Setting, folder: Path) -> Path | None:
    at = folder / f"{setting.npz}.npz"
    return at if at.is_file() else None


def _xqsim(machine: str, setting: Setting, folder: Path) -> Path:
    """The folder of xQSim with the statistics of ``machine``."""
    for root in (folder, folder / "xQSimGBSExperiments"):
        for name in setting.folders:
            if (root / name).is_dir():
                return root / name
    wanted = f"{setting.npz}.npz or the folder {setting.folders[0]} of xQSim"
    raise InputError("data", str(folder), f"must hold {wanted} for {machine}; the public data set is at {XQSIM}")


def _read_npz(at: Path, names: tuple[str, ...], *, maybe: tuple[str, ...] = ()) -> dict[str, NDArray[np.generic]]:
    """Arrays ``names`` of an .npz file, and those of ``maybe`` that are in it."""
    _require_size(at)
    with open_arrays(at, "data") as archive:
        there = [name for name in maybe if f"{name}.npy" in archive.NameToInfo]
        return {name: read_array(archive, name, largest_byte=LARGEST_FILE_BYTE, at=at) for name in (*names, *there)}


def _numbers(name: str, array: NDArray[np.generic], kinds: str = "biuf") -> NDArray[np.generic]:
    """``array`` if it holds numbers of the ``kinds`` of dtypes."""
    if array.dtype.kind not in kinds:
        raise InputError(name, str(array.dtype)[:80], "must be an array of numbers")
    return array


def _require_size(at: Path) -> None:
    if not at.is_file():
        raise InputError("data", str(at), f"must be there; the public data set is at {XQSIM}")
    if at.stat().st_size > LARGEST_FILE_BYTE:
        raise InputError("data", str(at), f"must be a file of at most {LARGEST_FILE_BYTE} bytes")


def _table(at: Path) -> FloatArray:
    _require_size(at)
    try:
        return np.loadtxt(at, delimiter=",")
    except ValueError as error:
        raise InputError("data", str(at), "must be a table of numbers with commas") from error


def _xqsim_calibration(setting: Setting, folder: Path) -> Calibration:
    """xQSim writes inputs as rows, and the squeezing of Jiuzhang 1.0 as 25 figures tiled twice, which stand for pairs (r, -r)."""
    matrices = folder if setting.waist_um is None else folder.parent
    transfer = (_table(matrices / "matrix_re.csv") + 1j * _table(matrices / "matrix_im.csv")).T
    squeezing = sorted(folder.glob("squeez*.csv"))
    if not squeezing:
        raise InputError("data", str(folder), f"must hold a file squeez*.csv; the public data set is at {XQSIM}")
    return Calibration(transfer, _table(squeezing[0]).ravel())


def _xqsim_statistics(folder: Path) -> dict[str, NDArray[np.generic]]:
    found: dict[str, NDArray[np.generic]] = {}
    for name in ("expk", "expk1", "expk2", "expk2m", "expk3m"):
        at = folder / f"{name}.mat"
        if not at.is_file() and name == "expk":
            at = folder / "expkm.mat"
        if not at.is_file() and name in {"expk2m", "expk3m"}:
            continue
        _require_size(at)
        try:
            _require_no_bomb(at)
            content = scipy.io.loadmat(os.fspath(at))
        except (*UNREADABLE, MatReadError, struct.error, KeyError, IndexError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError("data", str(at), "must be a .mat file up to version 7") from error
        values = [value for key, value in content.items() if not key.startswith("__") and key != "Count"]
        if len(values) != 1 or "Count" not in content:
            raise InputError("data", str(at), "must hold one array and Count")
        found[name] = np.squeeze(values[0])
        found.setdefault("expk_count", np.squeeze(content["Count"]))
    return found


def _require_no_bomb(at: Path) -> None:
    """Raise InputError where a compressed element of a .mat file of version 5 to 7 is larger than any file here may be."""
    content = at.read_bytes()
    order = "<" if content[126:128] == b"IM" else ">"
    place = MAT_HEADER_BYTE
    while place + 8 <= len(content):
        kind, size = struct.unpack_from(f"{order}II", content, place)
        if kind == MAT_COMPRESSED:
            unpacked = zlib.decompressobj().decompress(content[place + 8 : place + 8 + size], LARGEST_FILE_BYTE + 1)
            if len(unpacked) > LARGEST_FILE_BYTE:
                raise InputError("data", str(at), f"must hold arrays of at most {LARGEST_FILE_BYTE} bytes")
        place += 8 + size


def _checked(calibration: Calibration, setting: Setting, folder: Path) -> Calibration:
    """Refuses what no passive interferometer does; makes pairs of the squeezing that Jiuzhang 1.0's files give without signs."""
    transfer, squeezing_r = calibration.transfer, calibration.squeezing_r
    if transfer.shape != (setting.modes, INPUTS) or squeezing_r.shape != (INPUTS,):
        shapes = [list(transfer.shape), list(squeezing_r.shape)]
        raise InputError(
            "data", shapes, f"must be a transfer matrix of {setting.modes} x {INPUTS} and {INPUTS} squeezing parameters, in {folder}"
        )
    require_each_within("squeezing_r", squeezing_r, -3.0, 3.0)
    if not np.isfinite(transfer).all() or np.linalg.norm(transfer, 2) > 1 + 1e-6:
        raise InputError("transfer", "amplifies or is not finite", f"must be a passive interferometer, in {folder}")
    if (squeezing_r > 0).all():
        squeezing_r = np.repeat(squeezing_r[: INPUTS // 2], 2) * np.tile([1.0, -1.0], INPUTS // 2)
    return Calibration(transfer, squeezing_r)


def _statistics(machine: str, setting: Setting, found: Mapping[str, NDArray[np.generic]]) -> Published:
    modes = setting.modes
    shapes = {
        "expk": (modes,),
        "expk1": (modes + 1,),
        "expk2": (modes // 2 + 1, modes // 2 + 1),
        "expk2m": (modes * (modes - 1) // 2,),
        "expk3m": (modes * (modes - 1) * (modes - 2) // 6,),
    }
    checked: dict[str, FloatArray] = {}
    for name, shape in shapes.items():
        if name in found:
            if found[name].shape != shape:
                raise InputError(name, list(found[name].shape), f"must have the shape {list(shape)}")
            checked[name] = require_each_within(name, _numbers(name, found[name]).astype(float), 0.0, 1.0)
    count = _numbers("expk_count", found["expk_count"])
    if count.size != 1:
        raise InputError("expk_count", list(count.shape), "must be one number")
    samples = float(count.astype(float).item())
    require_within("expk_count", samples, 1, MOST_SAMPLES)
    return Published(
        machine,
        checked["expk"],
        checked["expk1"],
        checked["expk2"],
        int(samples),
        checked.get("expk2m"),
        checked.get("expk3m"),
    )
