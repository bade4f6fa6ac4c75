"""The sampler by matrix product states with lossy decomposition (Oh et al., arXiv 2306.03709; Nat. Phys. 20, 1461).

The state's covariance is split as V = V_p + W; the pure V_p becomes a matrix product state whose tensors are built one site at a time, used
for all samples of a call, and dropped; each sample is displaced at random with covariance W. Sites are measured from the last to the first,
so that left-canonical tensors suffice. Bonds are cut to ``bond`` Schmidt vectors, sites to ``levels`` photons of V_p. Time of a sample
grows as modes x levels x bond^2, memory as levels x bond^2: 0.54 GB at bond 4,096.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from tiandi.compiling import kernel
from tiandi.computing.photonics.gaussian import CountArray, Detectors, Machine
from tiandi.computing.photonics.samplers.detection import require_detectors
from tiandi.computing.photonics.samplers.interface import BATCH, require_number
from tiandi.computing.photonics.samplers.lossy_decomposition import LossyDecomposition, decompose
from tiandi.computing.photonics.samplers.site_tensors import Bond, Complex64Array, cut, site_tensor
from tiandi.errors import InputError
from tiandi.limits import require_within

LARGEST_BOND = 16_384
ROWS = 256


class MatrixProductSampler:
    """Independent samples of a machine of indistinguishable light."""

    name = "mps"

    def __init__(
        self, machine: Machine, *, bond: int = 256, levels: int = 4, steps: int = 400, decomposition: LossyDecomposition | None = None
    ) -> None:
        """Decompose the machine's state, or take a ``decomposition`` of it, and cut it at each mode.

        Raises InputError where the light is partly distinguishable, or sizes are out of range.
        """
        self._detectors = require_detectors(machine, self.name)
        if machine.indistinguishability != 1:
            raise InputError("indistinguishability", machine.indistinguishability, "must be 1 for the sampler mps")
        require_within("bond", bond, 1, LARGEST_BOND)
        require_within("levels", levels, 2, 16)
        self.modes, self.bond, self._levels = machine.modes, bond, levels
        self.decomposition = decompose(machine.state().covariance, steps=steps) if decomposition is None else decomposition
        values, vectors = np.linalg.eigh(self.decomposition.displacement)
        self._displacement = (vectors * np.sqrt(np.maximum(values, 0.0))).T.astype(np.float32)
        self._bonds = [cut(self.decomposition.pure, length, bond) for length in range(1, self.modes + 1)]

    @property
    def discarded(self) -> NDArray[np.float64]:
        """(modes,): Schmidt weight lost at the cut after each mode."""
        return 1 - np.array([bond.occupations.weight for bond in self._bonds])

    def describe(self) -> str:
        """What is cut, and whose it is."""
        return (
            f"Matrix product state of the pure part ({self.decomposition.pure_photons:.2f} photons) with random displacements, bond "
            f"dimension {self.bond}: at most {self.discarded.max():.2%} of the Schmidt weight is lost at a cut, and photons with it. Oh et "
            "al., arXiv 2306.03709."
        )

    def sample(self, number: int, generator: np.random.Generator) -> CountArray:
        """(number, modes). All tensors are built once for the call."""
        require_number(number)
        modes = self.modes
        shifts = generator.standard_normal((number, 2 * modes), np.float32) @ self._displacement
        amplitudes = ((shifts[:, :modes] + 1j * shifts[:, modes:]) / 2).astype(np.complex64)
        samples = np.empty((number, modes), np.uint8)
        vectors = np.ones((number, 1), np.complex64)
        for site in range(modes - 1, -1, -1):
            tensor = self.tensor(site)
            uniform = generator.random(number)
            kept = np.empty((number, tensor.shape[2]), np.complex64)
            for start in range(0, number, ROWS):
                rows = slice(start, start + ROWS)
                joint = (vectors[rows] @ tensor.reshape(len(tensor), -1)).reshape(-1, *tensor.shape[1:])
                overlaps = joint @ joint.conj().swapaxes(1, 2)
                found = np.empty(joint.shape[:2], np.complex64)
                _measure(overlaps, amplitudes[rows, site], uniform[rows], samples[rows, site], found)
                kept[rows] = (found[:, None, :] @ joint)[:, 0]
            vectors = kept
            del tensor  # Before the next one is built: one tensor is in memory, not two.
        return seen(samples, self._detectors, generator)

    def batches(self, number: int, generator: np.random.Generator, batch: int = BATCH) -> Iterator[CountArray]:
        """The same number of samples, at most ``batch`` at a time; tensors are built anew for each."""
        require_number(number)
        require_number(batch, "batch")
        for start in range(0, number, batch):
            yield self.sample(min(batch, number - start), generator)

    def tensor(self, site: int) -> Complex64Array:
        """(right bond, levels, left bond) of a site, from 0."""
        empty = Bond(np.eye(0), cut(np.eye(2), 1, 1).occupations)
        return site_tensor(self._bonds[site - 1] if site else empty, self._bonds[site], self._levels)


def seen(photons: CountArray, detectors: Detectors, generator: np.random.Generator) -> CountArray:
    """What detectors make of photons (samples, modes): dark counts are added, bins are filled at random."""
    dark = detectors.dark_count_probability
    if detectors.kind == "number":
        return photons + (generator.random(photons.shape) < dark).astype(np.uint8) if dark else photons
    if detectors.kind == "threshold":
        clicks = photons > 0
        return (clicks | (generator.random(photons.shape) < dark) if dark else clicks).astype(np.uint8)
    out = np.zeros_like(photons)
    dark_bins = generator.binomial(detectors.bins, dark, photons.shape)
    _fill_bins(photons, dark_bins, detectors.bins, generator.random(int(photons.sum())), out)
    return out


@kernel
def _fill_bins(photons, dark_bins, bins, uniform, out):  # type: ignore[no-untyped-def]
    """Each photon falls into an empty bin or one that has clicked, as bins are even."""
    used = 0
    for i in range(photons.shape[0]):
        for j in range(photons.shape[1]):
            clicked = dark_bins[i, j]
            for _ in range(photons[i, j]):
                if uniform[used] * bins >= clicked:
                    clicked += 1
                used += 1
            out[i, j] = clicked


@kernel
def _measure(overlaps, amplitudes, uniform, photons, found):  # type: ignore[no-untyped-def]
    """Draw each sample's photons at a site, displaced by its amplitude: overlaps (samples, levels, levels) are those of the vectors left.

    ``found`` (samples, levels) is what was projected on, over the norm of what is left. <m|D(a) follows from <m-1|D(a) by one use of the
    annihilation operator; counts end at 255.
    """
    samples, levels, _ = overlaps.shape
    row, above = np.empty(levels, np.complex128), np.empty(levels, np.complex128)
    for s in range(samples):
        norm = 0.0
        for n in range(levels):
            norm += overlaps[s, n, n].real
        a = np.complex128(amplitudes[s])
        row[0] = np.exp(-(abs(a) ** 2) / 2)
        for n in range(1, levels):
            row[n] = -row[n - 1] * np.conj(a) / np.sqrt(n)
        photon, reached = 0, 0.0
        while True:
            here = 0.0
            for n in range(levels):
                for m in range(levels):
                    here += (row[n] * overlaps[s, n, m] * np.conj(row[m])).real
            reached += here
            if reached > uniform[s] * norm or photon == 255:
                break
            photon += 1
            for n in range(levels):
                above[n] = a * row[n]
                if n:
                    above[n] += np.sqrt(n) * row[n - 1]
            row[:] = above / np.sqrt(photon)
        photons[s] = photon
        found[s] = row / np.sqrt(max(here, 1e-60))
