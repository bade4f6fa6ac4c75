"""Files of samples, of anyone's machine or sampler.

``.npz``, version 1: a zip of plain arrays, no pickles.
  ``metadata``: bytes (uint8) of a JSON object: ``format`` "tiandi-gbs-samples", ``version`` 1, ``modes``, ``samples``, ``detector``
  ("threshold", "pseudo-number", "number"), ``bins`` (of pseudo-number detectors; else 1), ``source`` (who or what made them), ``machine``
  (what they are samples of; may be empty). ``samples``: uint8 (samples, modes): counts; or, of threshold detectors, ``packed``: uint8
  (samples, ceil(modes / 8)), the first mode in the highest bit, as numpy.packbits does. One of the two.
``.csv``, ``.txt``: one sample a line, one number a mode, split by commas or blanks; of threshold detectors also as a word of 0 and 1. Lines
that begin with # are left out, but for ``# detector: ..``, ``# bins: ..``, ``# source: ..``, ``# machine: ..``.

Reading is bounded: sizes are checked before anything is unpacked, and every count against what the detectors can show.
"""

from __future__ import annotations

import os
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import msgspec
import numpy as np
from numpy.lib import format as numpy_format

from tiandi.computing.photonics.gaussian import CountArray, DetectorKind
from tiandi.errors import InputError

FORMAT = "tiandi-gbs-samples"
VERSION = 1
LARGEST_MODES = 16_384
LARGEST_CELLS = 4 * 2**30
"""Samples times modes: 4 GiB unpacked."""
LARGEST_TEXT_BYTE = 2**30
LARGEST_METADATA_BYTE = 16_384
LARGEST_WORDS = 200
LARGEST_BINS = 255


class Metadata(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a file says of its samples."""

    modes: int
    samples: int
    detector: DetectorKind
    bins: int = 1
    source: str = ""
    machine: str = ""
    format: str = FORMAT
    version: int = VERSION


@dataclass(frozen=True, eq=False)
class SampleFile:
    """Samples (samples, modes), uint8, and what is said of them."""

    samples: CountArray
    metadata: Metadata


def write_samples(
    at: Path, samples: CountArray, *, detector: DetectorKind = "threshold", bins: int = 1, source: str = "", machine: str = ""
) -> None:
    """Write ``samples`` (samples, modes) to ``at``, by its ending .npz (packed, if of threshold detectors), .csv or .txt."""
    array = np.asarray(samples)
    if array.ndim != 2 or array.dtype.kind not in "biu":
        raise InputError("samples", f"{array.dtype} {list(array.shape)}", "must be whole numbers (samples, modes)")
    metadata = Metadata(array.shape[1], array.shape[0], detector, bins, source, machine)
    _require_metadata(metadata, at)
    _require_counts(array, metadata, at)
    counts = array.astype(np.uint8)
    if at.suffix == ".npz":
        header = np.frombuffer(msgspec.json.encode(metadata), np.uint8)
        stored = {"packed": np.packbits(counts, axis=1)} if detector == "threshold" else {"samples": counts}
        with at.open("wb") as file:
            np.savez_compressed(file, metadata=header, **stored)  # type: ignore[arg-type] # numpy types the name allow_pickle apart
    elif at.suffix in {".csv", ".txt"}:
        words = {"detector": detector, "bins": bins, "source": source, "machine": machine}
        header_text = "\n".join(f"{name}: {' '.join(str(word).split())}" for name, word in words.items())
        np.savetxt(at, counts, fmt="%d", delimiter=",", header=header_text)
    else:
        raise InputError("file", str(at), "must end in .npz, .csv or .txt")


def read_samples(at: Path, *, modes: int | None = None, detector: DetectorKind | None = None) -> SampleFile:
    """Samples of the file ``at``; raises InputError that names the file for whatever is not as it must be.

    ``modes`` and ``detector``, where given, are what the file must hold; ``detector`` also stands in where a text does not say.
    """
    if not at.is_file():
        raise InputError("file", str(at), "must be there")
    if at.suffix == ".npz":
        read = _read_npz(at)
    elif at.suffix in {".csv", ".txt"}:
        read = _read_text(at, detector)
    else:
        raise InputError("file", str(at), "must end in .npz, .csv or .txt")
    if modes is not None and read.metadata.modes != modes:
        raise InputError("modes", read.metadata.modes, f"must be {modes} in {at}")
    if detector is not None and read.metadata.detector != detector:
        raise InputError("detector", read.metadata.detector, f"must be {detector} in {at}")
    return read


def _read_npz(at: Path) -> SampleFile:
    try:
        with zipfile.ZipFile(at) as archive:
            members = {info.filename: info for info in archive.infolist()}
            metadata = _metadata(archive, members, at)
            packed = "packed.npy" in members
            name, width = ("packed.npy", (metadata.modes + 7) // 8) if packed else ("samples.npy", metadata.modes)
            if packed and metadata.detector != "threshold":
                raise InputError("detector", metadata.detector, f"must be threshold where samples are packed, in {at}")
            array = _member(archive, members, name, (metadata.samples, width), at)
    except (zipfile.BadZipFile, ValueError, OSError, EOFError, RuntimeError) as error:
        raise InputError("file", str(at), "must be an .npz file of plain arrays") from error
    samples = np.unpackbits(array, axis=1, count=metadata.modes) if packed else array
    if packed and not np.array_equal(np.packbits(samples, axis=1), array):
        raise InputError("packed", "bits behind the last mode", f"must be 0 in {at}")
    _require_counts(samples, metadata, at)
    return SampleFile(samples, metadata)


def _metadata(archive: zipfile.ZipFile, members: dict[str, zipfile.ZipInfo], at: Path) -> Metadata:
    info = members.get("metadata.npy")
    if info is None or info.file_size > LARGEST_METADATA_BYTE:
        raise InputError(
            "metadata", None if info is None else info.file_size, f"must be there, of at most {LARGEST_METADATA_BYTE} bytes, in {at}"
        )
    with archive.open(info) as file:
        raw = numpy_format.read_array(file, allow_pickle=False)
    if raw.dtype != np.uint8 or raw.ndim != 1:
        raise InputError("metadata", str(raw.dtype), f"must be bytes in {at}")
    try:
        metadata = msgspec.json.decode(raw.tobytes(), type=Metadata)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InputError("metadata", str(error), f"must be the JSON of a sample file in {at}") from error
    _require_metadata(metadata, at)
    return metadata


def _member(archive: zipfile.ZipFile, members: dict[str, zipfile.ZipInfo], name: str, shape: tuple[int, int], at: Path) -> CountArray:
    """A uint8 array whose size is checked, in the directory and in its own header, before it is unpacked."""
    info = members.get(name)
    size = shape[0] * shape[1]
    if info is None or not size <= info.file_size <= size + LARGEST_METADATA_BYTE:
        raise InputError(
            name, None if info is None else info.file_size, f"must hold the {shape[0]} x {shape[1]} bytes that metadata tells, in {at}"
        )
    with archive.open(info) as file:
        version = numpy_format.read_magic(file)
        reader = numpy_format.read_array_header_1_0 if version == (1, 0) else numpy_format.read_array_header_2_0
        stored, fortran, dtype = reader(file)
        if stored != shape or dtype != np.uint8 or fortran:
            raise InputError(name, f"{dtype} {list(stored)}", f"must be uint8 {list(shape)}, row by row, in {at}")
        content = file.read(size + 1)
    if len(content) != size:
        raise InputError(name, len(content), f"must hold {size} bytes in {at}")
    return np.frombuffer(content, np.uint8).reshape(shape)


def _read_text(at: Path, detector: DetectorKind | None) -> SampleFile:
    if at.stat().st_size > LARGEST_TEXT_BYTE:
        raise InputError("file", str(at), f"must be a text of at most {LARGEST_TEXT_BYTE} bytes")
    words: dict[str, Any] = {}
    rows: list[np.ndarray] = []
    try:
        with at.open(encoding="utf-8") as file:
            for line in file:
                if line.startswith("#"):
                    name, _, value = line[1:].partition(":")
                    words[name.strip()] = value.strip()
                elif line.strip():
                    rows.append(_row(line, at, len(rows)))
                    if len(rows[-1]) != len(rows[0]):
                        raise InputError(f"sample {len(rows) - 1}", len(rows[-1]), f"must have {len(rows[0])} modes, as the first, in {at}")
    except UnicodeDecodeError as error:
        raise InputError("file", str(at), "must be a text of numbers") from error
    if not rows:
        raise InputError("file", str(at), "must hold a sample")
    said = words.get("detector") or detector or "threshold"
    bins = words.get("bins", "1")
    if not (bins.isascii() and bins.isdigit() and len(bins) <= 3):
        raise InputError("bins", bins[:20], f"must be a whole number in {at}")
    metadata = Metadata(len(rows[0]), len(rows), said, int(bins), words.get("source", ""), words.get("machine", ""))
    _require_metadata(metadata, at)
    samples = np.stack(rows)
    _require_counts(samples, metadata, at)
    return SampleFile(samples, metadata)


def _row(line: str, at: Path, number: int) -> CountArray:
    fields = line.replace(",", " ").split()
    if len(fields) == 1 and len(fields[0]) > 1 and set(fields[0]) <= {"0", "1"}:
        fields = list(fields[0])
    if len(fields) > LARGEST_MODES or not all(
        len(field) <= 3 and field.isascii() and field.isdigit() and int(field) <= 255 for field in fields
    ):
        raise InputError(f"sample {number}", line[:40].strip(), f"must be at most {LARGEST_MODES} numbers from 0 to 255 in {at}")
    return np.array([int(field) for field in fields], np.uint8)


def _require_metadata(metadata: Metadata, at: Path) -> None:
    if metadata.format != FORMAT or metadata.version != VERSION:
        raise InputError("format", f"{metadata.format} {metadata.version}"[:LARGEST_WORDS], f"must be {FORMAT} {VERSION} in {at}")
    if metadata.detector not in get_args(DetectorKind):
        raise InputError("detector", str(metadata.detector)[:LARGEST_WORDS], f"must be one of {', '.join(get_args(DetectorKind))} in {at}")
    if not 1 <= metadata.modes <= LARGEST_MODES:
        raise InputError("modes", metadata.modes, f"must lie in [1, {LARGEST_MODES}] in {at}")
    if not 0 <= metadata.samples <= LARGEST_CELLS // metadata.modes:
        raise InputError(
            "samples", metadata.samples, f"must be at most {LARGEST_CELLS // metadata.modes} of {metadata.modes} modes in {at}"
        )
    if not 1 <= metadata.bins <= LARGEST_BINS or (metadata.bins > 1) != (metadata.detector == "pseudo-number"):
        raise InputError("bins", metadata.bins, f"must be 2 to {LARGEST_BINS} of pseudo-number detectors and 1 of others, in {at}")
    if max(len(metadata.source), len(metadata.machine)) > LARGEST_WORDS:
        raise InputError(
            "source or machine", f"{max(len(metadata.source), len(metadata.machine))} characters", f"must have at most {LARGEST_WORDS}"
        )


def _require_counts(samples: np.ndarray, metadata: Metadata, at: Path | os.PathLike[str]) -> None:
    largest = {"threshold": 1, "pseudo-number": metadata.bins, "number": 255}[metadata.detector]
    if samples.size and not 0 <= int(samples.min()) <= int(samples.max()) <= largest:
        raise InputError("count", int(samples.max()), f"must be at most {largest} of {metadata.detector} detectors, in {at}")
