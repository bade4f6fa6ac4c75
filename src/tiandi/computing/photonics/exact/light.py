"""What the exact functions need of the light at some detectors, whether a Gaussian state is given or a machine.

A machine whose light is only partly in the interfering mode sends, from each source, a second part (a share 1 - indistinguishability of its
light, split off by a beam splitter before the interferometer) through the same transfer matrix in a mode of its own: Shi and Byrnes, npj
Quantum Inf. 8, 54 (2022), doi:10.1038/s41534-022-00557-9. A detector clicks on light of any of them. The inputs are the columns of
``transfer``: both halves of a two-mode source have modes of their own. Dark counts are independent clicks of each threshold detector.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tiandi.computing.photonics.gaussian import ComplexArray, FloatArray, GaussianState, Machine
from tiandi.errors import InputError

IntArray = NDArray[np.int64]
LARGEST_SEEN_MODES = 4_000
"""A covariance of so many modes takes half a gibibyte."""


def require_subsets(subsets: IntArray, modes: int) -> IntArray:
    """``subsets`` (n, k) as int64; raises InputError unless each row names different modes below ``modes``."""
    rows = np.asarray(subsets, np.int64)
    if rows.ndim != 2:
        raise InputError("subsets", list(rows.shape), "must be a table (subsets, modes in each)")
    if rows.size and (rows.min() < 0 or rows.max() >= modes):
        raise InputError("subsets", int(rows.min() if rows.min() < 0 else rows.max()), f"must name modes 0 to {modes - 1}")
    ordered = np.sort(rows, axis=1)
    if (ordered[:, 1:] == ordered[:, :-1]).any():
        raise InputError("subsets", "a mode twice", "must name each mode once in a row")
    return rows


def dark_probability(light: GaussianState | Machine) -> float:
    """Probability that a mode's detector clicks without light: of any bin, where there are several."""
    if isinstance(light, GaussianState):
        return 0.0
    return float(-np.expm1(light.detectors.bins * np.log1p(-light.detectors.dark_count_probability)))


def is_pure_light(light: GaussianState | Machine) -> bool:
    """Whether each detector sees one mode only."""
    return isinstance(light, GaussianState) or light.indistinguishability == 1


def subset_moments(light: GaussianState | Machine, subsets: IntArray) -> tuple[FloatArray, FloatArray]:
    """A = (V + 1)/2 (n, 2k, 2k) and means (n, 2k) of each row of ``subsets`` (n, k), quadratures of a mode side by side.

    Of a machine, the interfering part, from the rows of the transfer matrix alone: no covariance of all modes is made.
    """
    if isinstance(light, GaussianState):
        rows = np.stack([subsets, subsets + light.modes], axis=2).reshape(len(subsets), -1)
        covariance = light.covariance[rows[:, :, None], rows[:, None, :]]
        return (covariance + np.eye(rows.shape[1])) / 2, light.mean[rows]
    return _machine_moments(light, subsets, light.indistinguishability)


def _machine_moments(machine: Machine, subsets: IntArray, share: float) -> tuple[FloatArray, FloatArray]:
    count, size = subsets.shape
    rows = machine.transfer[subsets]
    photons, pairs = np.sinh(machine.squeezing_r) ** 2, np.sinh(2 * machine.squeezing_r) / 2
    if size == 1:
        squares = rows[:, 0] ** 2
        normal, anomalous = (np.abs(squares) @ photons)[:, None, None], (squares @ pairs)[:, None, None]
    else:
        normal = (rows.conj() * photons) @ rows.swapaxes(1, 2)
        anomalous = (rows * pairs) @ rows.swapaxes(1, 2)
    matrix = np.empty((count, size, 2, size, 2))
    matrix[:, :, 0, :, 0] = (normal + anomalous).real
    matrix[:, :, 1, :, 1] = (normal - anomalous).real
    matrix[:, :, 0, :, 1] = (anomalous + normal).imag
    matrix[:, :, 1, :, 0] = (anomalous - normal).imag
    flat = share * matrix.reshape(count, 2 * size, 2 * size)
    return flat + np.eye(2 * size), np.zeros((count, 2 * size))


def seen_state(machine: Machine) -> tuple[GaussianState, IntArray]:
    """The whole state that the detectors see, and for each of its modes the detector it falls on.

    Of indistinguishable light that is `Machine.state`. Else the interfering modes come first, then, source by source, the modes of the
    light that does not interfere; those of the same source stay correlated with the interfering part, as both are halves of one squeezed
    mode. Raises InputError above 4,000 modes; `no_click_probabilities` knows no such limit.
    """
    modes, inputs = machine.transfer.shape
    detectors = np.arange(modes)
    share = machine.indistinguishability
    if share == 1:
        return machine.state(), detectors
    if modes * (inputs + 1) > LARGEST_SEEN_MODES:
        raise InputError(
            "modes", modes * (inputs + 1), f"must be at most {LARGEST_SEEN_MODES} for a whole covariance of partly distinguishable light"
        )
    own: ComplexArray = np.zeros((inputs, modes, inputs), complex)
    own[np.arange(inputs), :, np.arange(inputs)] = machine.transfer.T
    transfer = np.concatenate([np.sqrt(share) * machine.transfer, np.sqrt(1 - share) * own.reshape(-1, inputs)])
    return Machine(machine.name, machine.squeezing_r, transfer).state(), np.tile(detectors, inputs + 1)
