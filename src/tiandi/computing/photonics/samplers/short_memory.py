"""Weak light almost exactly: the chain rule, which at each mode looks back only at the clicks that matter most to it.

In weak light correlations come from few pairs of photons that interfere, and hidden classical light does not make them: positive-P
probabilities leave [0, 1] at most modes. The chain rule (Quesada et al., PRX Quantum 3, 010306 (2022),
doi:10.1103/PRXQuantum.3.010306) has all of it, by the loop hafnian f of all clicks so far. Here f is of the few clicks whose couplings
to the mode are largest; of the others only a mean field is left: their couplings B_ki times r_i = f(without i) / f(all), as last known,
are added to the loops. Where a sample has no more clicks than that, only derivatives of f beyond the third are left out. The cost no
longer doubles with each click or two. We know of no publication of this.

Two more things make it fast. The state is split so that its pure part has fewest photons (`lossy_decomposition`), which makes couplings
small; and at most modes the random number says dark already by r_i that follow the loops to first order.
"""

from __future__ import annotations

import numpy as np

from tiandi.computing.photonics.exact.chain_rule import bargmann_quadratic
from tiandi.computing.photonics.gaussian import CountArray, FloatArray, Machine
from tiandi.computing.photonics.samplers.detection import require_detectors
from tiandi.computing.photonics.samplers.interface import BlockSampler
from tiandi.computing.photonics.samplers.light import Float32Array
from tiandi.computing.photonics.samplers.lossy_decomposition import LossyDecomposition, decompose
from tiandi.computing.photonics.samplers.short_memory_kernels import draw_clicks
from tiandi.errors import InputError
from tiandi.limits import require_within

MEMORY = 10
"""Clicks that are looked back at: two to this power are the sets of them that a step works out. On Jiuzhang 2.0 at 0.15 W, 0.5 W
(125 um) and 0.3 W, slopes of pairs' cumulants are 1.011, 1.017 and 1.011 with 6, 1.000, 1.004 and 1.002 with 10 (computed, with noise of
some 0.003)."""
LARGEST_MEMORY = 16
LARGEST_MODES = 512
"""The split takes some 400 eigenvalue problems of twice as many rows."""
FEW_PHOTONS = 16.0
"""Mean photon number up to which this sampler is the better one; with more it slows down, and others do well."""
SMALLEST_VARIANCE = 1e-7


class ShortMemorySampler(BlockSampler):
    """Independent samples of clicks by the chain rule with the ``memory`` clicks that matter most, the others as a mean field."""

    name = "short-memory"

    def __init__(self, machine: Machine, *, memory: int = MEMORY) -> None:
        """Raises InputError where the light is partly distinguishable, detectors count, or there are more than 512 modes."""
        self._detectors = require_detectors(machine, self.name, kinds=("threshold",))
        require_within("modes", machine.modes, 1, LARGEST_MODES)
        require_within("memory", memory, 1, LARGEST_MEMORY)
        if machine.indistinguishability != 1:
            raise InputError("indistinguishability", machine.indistinguishability, "must be 1 for the sampler short-memory")
        self.modes, self.memory = machine.modes, memory
        state = machine.state()
        self._order = np.argsort(state.mean_photon_numbers)
        split = decompose(state.part(self._order).covariance)
        self.pure_photons = split.pure_photons
        self._quadratic = np.ascontiguousarray(bargmann_quadratic(split.pure))
        self._fields = _linear_map(split, self._quadratic)

    def describe(self) -> str:
        """What is exact, and what is left out."""
        return (
            f"The chain rule on a displaced pure state of {self.pure_photons:.3g} photons, where each mode sees the {self.memory} clicks "
            "that matter most to it and a mean field of the others: nearly exact up to so many clicks, and close beyond. Chain rule as in "
            "Quesada et al., doi:10.1103/PRXQuantum.3.010306."
        )

    def _draw(self, rows: CountArray, generator: np.random.Generator) -> None:
        normals = generator.standard_normal((len(rows), len(self._fields)), np.float32)
        fields = (normals @ self._fields).view(np.complex64)
        uniform = generator.random(rows.shape, np.float32)
        clicks = np.empty_like(rows)
        draw_clicks(self._quadratic, fields[:, : self.modes], fields[:, self.modes :], self.memory, uniform, generator, clicks)
        rows[:, self._order] = clicks
        if self._detectors.dark_count_probability:
            rows |= generator.random(rows.shape, np.float32) < self._detectors.dark_count_probability


def _linear_map(split: LossyDecomposition, quadratic: np.ndarray) -> Float32Array:
    """(normals, 4 modes): normal numbers times this are g of each mode given the outcomes of those behind it, and conjugate outcomes.

    g = a - B a* + (B b*)_behind, where a is the random displacement and b, the heterodyne outcome, a and the pure state's own noise.
    """
    modes = len(quadratic)
    values, vectors = np.linalg.eigh(split.displacement)
    kept = values > SMALLEST_VARIANCE
    displaced = _amplitudes((vectors[:, kept] * np.sqrt(values[kept])).T)
    outcomes = np.concatenate([displaced, _amplitudes(np.linalg.cholesky(split.pure + np.eye(2 * modes)).T.astype(np.float64))]).conj()
    linear = outcomes @ np.triu(quadratic, 1).T
    linear[: len(displaced)] += displaced - displaced.conj() @ quadratic
    return np.ascontiguousarray(np.concatenate([linear, outcomes], axis=1), np.complex64).view(np.float32)


def _amplitudes(quadratures: FloatArray) -> np.ndarray:
    """Complex amplitudes (n, modes) of ``quadratures`` (n, 2 modes)."""
    real, imaginary = np.split(quadratures, 2, axis=1)
    return (real + 1j * imaginary) / 2
