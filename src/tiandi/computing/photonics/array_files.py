"""Arrays of .npz files that anybody may have written: read in bounded memory, without pickles, whatever their headers claim."""

from __future__ import annotations

import io
import math
import tokenize
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.lib import format as numpy_format
from numpy.typing import NDArray

from tiandi.errors import InputError

LARGEST_HEADER_BYTE = 16_384
UNREADABLE = (
    zipfile.BadZipFile,
    zlib.error,
    tokenize.TokenError,
    SyntaxError,
    ValueError,
    TypeError,
    OSError,
    EOFError,
    RuntimeError,
)
"""What zip and numpy raise for files that are damaged or no .npz files."""


@contextmanager
def open_arrays(at: Path, field: str) -> Iterator[zipfile.ZipFile]:
    """The zip of the .npz file ``at``; whatever cannot be read in it is InputError for ``field``."""
    try:
        with zipfile.ZipFile(at) as archive:
            yield archive
    except InputError:
        raise
    except UNREADABLE as error:
        raise InputError(field, str(at), "must be an .npz file of plain arrays") from error


def read_array(archive: zipfile.ZipFile, name: str, *, largest_byte: int, at: Path) -> NDArray[np.generic]:
    """The array ``name``; raises InputError unless it is there, plain, and of at most ``largest_byte`` bytes as its header claims."""
    info = archive.NameToInfo.get(f"{name}.npy")
    if info is None or info.file_size > largest_byte + LARGEST_HEADER_BYTE:
        size = None if info is None else f"{info.file_size} bytes"
        raise InputError(name, size, f"must be there, of at most {largest_byte} bytes, in {at}")
    with archive.open(info) as file:
        content = io.BytesIO(file.read(info.file_size))
    version = numpy_format.read_magic(content)
    reader = numpy_format.read_array_header_1_0 if version == (1, 0) else numpy_format.read_array_header_2_0
    shape, fortran, dtype = reader(content)
    rest = content.getbuffer()[content.tell() :]
    if dtype.hasobject or math.prod(shape) * dtype.itemsize != len(rest):
        raise InputError(name, f"{dtype} {list(shape)[:4]}"[:80], f"must be a plain array as large as its header says, in {at}")
    return np.frombuffer(rest, dtype).reshape(shape, order="F" if fortran else "C")
