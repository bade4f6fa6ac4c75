"""What every sampler is: it draws samples by number, whole or in batches, and tells what it approximates."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

import numpy as np

from tiandi.computing.photonics.gaussian import CountArray
from tiandi.errors import InputError

BATCH = 65_536
"""Samples of a batch, where nobody says otherwise."""
LARGEST_COUNT = 255
"""Of a number detector: samples are bytes."""


class Sampler(Protocol):
    """A source of samples of one machine. Equal calls with equal seeds give equal samples."""

    name: str
    modes: int

    def describe(self) -> str:
        """What it is exact in, what it only approximates, and whose it is."""

    def sample(self, number: int, generator: np.random.Generator) -> CountArray:
        """(number, modes)."""

    def batches(self, number: int, generator: np.random.Generator, batch: int = BATCH) -> Iterator[CountArray]:
        """``number`` of samples in all, about ``batch`` at a time."""


class BlockSampler:
    """A sampler that draws independent samples in blocks that fit the processor's cache."""

    name: str
    modes: int
    block = 512

    def sample(self, number: int, generator: np.random.Generator) -> CountArray:
        """(number, modes)."""
        require_number(number)
        samples = np.empty((number, self.modes), np.uint8)
        for start in range(0, number, self.block):
            rows = samples[start : start + self.block]
            self._draw(rows, generator)
        return samples

    def batches(self, number: int, generator: np.random.Generator, batch: int = BATCH) -> Iterator[CountArray]:
        """The same samples as ``sample`` gives; ``batch`` is rounded up to whole blocks."""
        require_number(number)
        require_number(batch, "batch")
        whole = -(-batch // self.block) * self.block
        for start in range(0, number, whole):
            yield self.sample(min(whole, number - start), generator)

    def _draw(self, rows: CountArray, generator: np.random.Generator) -> None:
        """Fill the rows of a block."""
        raise TypeError(f"{type(self).__name__} draws nothing")


def require_number(number: int, field: str = "number") -> None:
    """Raise InputError unless ``number`` of samples is at least one."""
    if number < 1:
        raise InputError(field, number, "must be at least 1")


def write_packed(
    sampler: Sampler, number: int, generator: np.random.Generator, path: Path, *, workers: int = 1, batch: int = 4 * BATCH
) -> None:
    """Write samples of threshold detectors to a file: one row a sample, eight modes a byte, the first mode the highest bit.

    Each batch has a generator of its own, spawned in order, so that the file is the same for any number of ``workers``. At most two
    batches a worker are in memory.
    """
    require_number(number)
    require_number(workers, "workers")
    require_number(batch, "batch")
    sizes = [min(batch, number - start) for start in range(0, number, batch)]
    children = generator.spawn(len(sizes))

    def packed(part: int) -> bytes:
        rows = [np.packbits(samples, axis=1).tobytes() for samples in sampler.batches(sizes[part], children[part])]
        return b"".join(rows)

    with ThreadPoolExecutor(workers) as pool, path.open("wb") as file:
        for first in range(0, len(sizes), 2 * workers):
            for rows in pool.map(packed, range(first, min(first + 2 * workers, len(sizes)))):
                file.write(rows)
