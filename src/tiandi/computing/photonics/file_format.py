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

from tiandi.computing.photonics.array_files import open_arrays, read_array
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
LARGEST_LINE = 8 * LARGEST_MODES
"""Characters of a text's line."""
WORDS = ("detector", "bins", "source", "machine")
"""What a text may say of itself."""


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
    with open_arrays(at, "file") as archive:
        metadata = _metadata(archive, at)
        packed = "packed.npy" in archive.NameToInfo
        name, width = ("packed", (metadata.modes + 7) // 8) if packed else ("samples", metadata.modes)
        if packed and metadata.detector != "threshold":
            raise InputError("detector", metadata.detector, f"must be threshold where samples are packed, in {at}")
        shape = (metadata.samples, width)
        read = read_array(archive, name, largest_byte=shape[0] * shape[1], at=at)
    if read.shape != shape or read.dtype != np.uint8 or not read.flags.c_contiguous:
        raise InputError(name, f"{read.dtype} {list(read.shape)}", f"must be uint8 {list(shape)}, row by row, as metadata tells, in {at}")
    array = read.astype(np.uint8, copy=False)
    samples = np.unpackbits(array, axis=1, count=metadata.modes) if packed else array
    if packed and not np.array_equal(np.packbits(samples, axis=1), array):
        raise InputError("packed", "bits behind the last mode", f"must be 0 in {at}")
    _require_counts(samples, metadata, at)
    return SampleFile(samples, metadata)


def _metadata(archive: zipfile.ZipFile, at: Path) -> Metadata:
    raw = read_array(archive, "metadata", largest_byte=LARGEST_METADATA_BYTE, at=at)
    if raw.dtype != np.uint8 or raw.ndim != 1:
        raise InputError("metadata", str(raw.dtype), f"must be bytes in {at}")
    try:
        metadata = msgspec.json.decode(raw.tobytes(), type=Metadata)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InputError("metadata", str(error), f"must be the JSON of a sample file in {at}") from error
    _require_metadata(metadata, at)
    return metadata


def _read_text(at: Path, detector: DetectorKind | None) -> SampleFile:
    if at.stat().st_size > LARGEST_TEXT_BYTE:
        raise InputError("file", str(at), f"must be a text of at most {LARGEST_TEXT_BYTE} bytes")
    words: dict[str, Any] = {}
    cells, modes, number = bytearray(), 0, 0
    try:
        with at.open(encoding="utf-8") as file:
            while line := file.readline(LARGEST_LINE):
                if len(line) == LARGEST_LINE:
                    raise InputError(
                        f"sample {number}", line[:40].strip(), f"must be a line of less than {LARGEST_LINE} characters in {at}"
                    )
                if line.startswith("#"):
                    name, _, value = line[1:].partition(":")
                    if name.strip() in WORDS:
                        words[name.strip()] = value.strip()
                elif line.strip():
                    row = _row(line, at, number)
                    modes = modes or len(row)
                    if len(row) != modes:
                        raise InputError(f"sample {number}", len(row), f"must have {modes} modes, as the first, in {at}")
                    cells += row
                    number += 1
    except UnicodeDecodeError as error:
        raise InputError("file", str(at), "must be a text of numbers") from error
    if not number:
        raise InputError("file", str(at), "must hold a sample")
    said = words.get("detector") or detector or "threshold"
    bins = words.get("bins", "1")
    if not (bins.isascii() and bins.isdigit() and len(bins) <= 3):
        raise InputError("bins", bins[:20], f"must be a whole number in {at}")
    metadata = Metadata(modes, number, said, int(bins), words.get("source", ""), words.get("machine", ""))
    _require_metadata(metadata, at)
    samples = np.frombuffer(cells, np.uint8).reshape(number, modes)
    _require_counts(samples, metadata, at)
    return SampleFile(samples, metadata)


def _row(line: str, at: Path, number: int) -> bytes:
    fields = line.replace(",", " ").split()
    if len(fields) == 1 and len(fields[0]) > 1 and set(fields[0]) <= {"0", "1"}:
        fields = list(fields[0])
    if len(fields) > LARGEST_MODES or not all(
        len(field) <= 3 and field.isascii() and field.isdigit() and int(field) <= 255 for field in fields
    ):
        raise InputError(f"sample {number}", line[:40].strip(), f"must be at most {LARGEST_MODES} numbers from 0 to 255 in {at}")
    return bytes(map(int, fields))


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
