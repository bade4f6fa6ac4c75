"""Vibronic spectra at harmonic potentials: a molecule becomes a Gaussian state whose photons are the quanta of the final vibrations.

The final normal coordinates are q' = U q + d. In dimensionless coordinates x' = J x + delta with J = sqrt(W') U / sqrt(W), so that the
initial vacuum is, to the final oscillators, squeezed, rotated and displaced light: Doktorov, Malkin and Man'ko; on a boson sampler Huh,
Guerreschi, Peropadre, McClean and Aspuru-Guzik, Nature Photonics 9, 615 (2015), doi 10.1038/nphoton.2015.153. At a temperature each initial
mode is one half of two-mode squeezed light, whose other half holds the quanta that were there: Huh and Yung, Sci. Rep. 7, 7462 (2017), doi
10.1038/s41598-017-07770-z.

None of this needs a quantum device: Oh, Lim, Wong, Fefferman and Jiang, Nature Physics (2024), doi 10.1038/s41567-023-02308-9, give the
spectrum at any resolution by a Fourier transform of determinants, as `exact_spectrum` does here.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.constants import c, h, k

from tiandi.computing.photonics.exact.chain_rule import sample_state
from tiandi.computing.photonics.gaussian import ComplexArray, CountArray, FloatArray, GaussianState
from tiandi.errors import InputError
from tiandi.limits import require_each_within, require_within

IntArray = NDArray[np.int64]
KELVIN_TIMES_CM = 100 * h * c / k
ORTHOGONAL = 2e-3
"""Published matrices have four digits."""
LARGEST_MODES = 64
MOST_LEVELS = 2_000_000
MOST_BINS, MOST_POINTS = 1 << 17, 1 << 18
ROUNDING = 1e-9
CHUNK = 4096
HIGHEST_PER_CM = 20_000.0


@dataclass(frozen=True, eq=False)
class Molecule:
    """Two harmonic electronic states."""

    name: str
    initial_per_cm: FloatArray
    """(modes,): vibrations of the initial state [1/cm]."""
    final_per_cm: FloatArray
    """(modes,): of the final state."""
    duschinsky: FloatArray
    """(modes, modes): U, orthogonal."""
    displacement: FloatArray
    """(modes,): sqrt(omega' / hbar) d, without dimension."""
    label: str = "assumed"
    source: str = ""

    def __post_init__(self) -> None:
        modes = len(self.initial_per_cm)
        require_within("modes", modes, 1, LARGEST_MODES)
        for field, shape in (("final_per_cm", (modes,)), ("duschinsky", (modes, modes)), ("displacement", (modes,))):
            if getattr(self, field).shape != shape:
                raise InputError(field, list(getattr(self, field).shape), f"must be {list(shape)}")
        require_each_within("initial_per_cm", self.initial_per_cm, 1.0, 1e5)
        require_each_within("final_per_cm", self.final_per_cm, 1.0, 1e5)
        require_each_within("displacement", self.displacement, -10.0, 10.0)
        require_each_within("duschinsky", self.duschinsky, -1.0 - ORTHOGONAL, 1.0 + ORTHOGONAL)
        off = float(np.abs(self.duschinsky @ self.duschinsky.T - np.eye(modes)).max())
        if off > ORTHOGONAL:
            raise InputError("duschinsky", off, f"must be orthogonal within {ORTHOGONAL:g}")

    @property
    def modes(self) -> int:
        return len(self.initial_per_cm)

    def scaled_rotation(self) -> FloatArray:
        """J (modes, modes), with x' = J x + displacement."""
        return np.sqrt(self.final_per_cm)[:, None] * self.duschinsky / np.sqrt(self.initial_per_cm)


@dataclass(frozen=True, eq=False)
class Spectrum:
    """Shares of transitions in bins of energy above the 0-0 line."""

    energies_per_cm: FloatArray
    """(bins,): the middle of each bin."""
    shares: FloatArray
    errors: FloatArray
    """One standard error of each share; 0 where it is exact."""


@cache
def load_molecules() -> dict[str, Molecule]:
    """Molecules with published parameters, by their id."""
    text = files("tiandi.computing.photonics.uses").joinpath("data", "molecules.toml").read_text(encoding="utf-8")
    found: dict[str, Molecule] = {}
    for name, raw in tomllib.loads(text).items():
        fields: dict[str, Any] = {key: np.array(value) if isinstance(value, list) else value for key, value in raw.items()}
        found[name] = Molecule(**fields)
    return found


def displaced_only(molecule: Molecule) -> Molecule:
    """The same displacements without rotation and change of frequencies: coherent light, which is classical (linear coupling)."""
    return replace(
        molecule, name=f"{molecule.name}, displaced only", initial_per_cm=molecule.final_per_cm, duschinsky=np.eye(molecule.modes)
    )


def vibronic_state(molecule: Molecule, temperature_k: float = 0.0) -> GaussianState:
    """The light to be counted: final modes first; at a temperature [K] followed by as many modes that hold the initial quanta."""
    require_within("temperature_k", temperature_k, 0.0, 10_000.0)
    modes, rotation = molecule.modes, molecule.scaled_rotation()
    if temperature_k == 0:
        zero = np.zeros((modes, modes))
        squeezed = rotation @ rotation.T
        covariance = np.block([[squeezed, zero], [zero, np.linalg.inv(squeezed)]])
    else:
        width = 1 / np.tanh(KELVIN_TIMES_CM * molecule.initial_per_cm / (2 * temperature_k))
        pairs = np.sqrt(width**2 - 1)
        half = np.block([[np.diag(width), np.diag(pairs)], [np.diag(pairs), np.diag(width)]])
        twin = np.block([[np.diag(width), -np.diag(pairs)], [-np.diag(pairs), np.diag(width)]])
        zero, unit, none = np.zeros((modes, modes)), np.eye(modes), np.zeros((2 * modes, 2 * modes))
        place = np.block([[rotation, zero], [zero, unit]])
        momentum = np.block([[np.linalg.inv(rotation).T, zero], [zero, unit]])
        covariance = np.block([[place @ half @ place.T, none], [none, momentum @ twin @ momentum.T]])
    mean = np.zeros(len(covariance))
    mean[:modes] = math.sqrt(2) * molecule.displacement
    return GaussianState((covariance + covariance.T) / 2, mean)


def sample_energies(molecule: Molecule, number: int, generator: np.random.Generator, *, temperature_k: float = 0.0) -> FloatArray:
    """(number,): energies [1/cm] above the 0-0 line, of exact samples."""
    samples = sample_state(vibronic_state(molecule, temperature_k), number, generator, threshold=False)
    return energies(samples, molecule)


def energies(samples: CountArray, molecule: Molecule) -> FloatArray:
    """Energies [1/cm] of samples (number, modes), or (number, 2 modes) with the initial quanta behind, of anyone."""
    rows = np.asarray(samples)
    if rows.ndim != 2 or rows.shape[1] not in (molecule.modes, 2 * molecule.modes):
        raise InputError("samples", list(rows.shape), f"must be (samples, {molecule.modes}) or (samples, {2 * molecule.modes})")
    levels = np.concatenate([molecule.final_per_cm, -molecule.initial_per_cm])[: rows.shape[1]]
    return rows @ levels


def binned(
    energies_per_cm: ArrayLike, *, lowest_per_cm: float = 0.0, highest_per_cm: float = HIGHEST_PER_CM, resolution_per_cm: float = 50.0
) -> Spectrum:
    """The spectrum of sampled energies in bins around multiples of ``resolution_per_cm``; what lies outside is in no bin."""
    values = np.asarray(energies_per_cm, float)
    if not values.size:
        raise InputError("energies", 0, "must be at least one")
    first, bins = _bins(lowest_per_cm, highest_per_cm, resolution_per_cm)
    places = np.rint(values / resolution_per_cm).astype(np.int64) - first
    shares = np.bincount(places[(places >= 0) & (places < bins)], minlength=bins) / len(values)
    return Spectrum(_middles(first, bins, resolution_per_cm), shares, np.sqrt(shares * (1 - shares) / len(values)))


def franck_condon_factors(molecule: Molecule, most_quanta: int) -> tuple[IntArray, FloatArray]:
    """All final levels (levels, modes) of at most ``most_quanta`` in all, and |<level|initial ground state>|^2 (levels,).

    The amplitudes come from each other: sqrt(m_k + 1) A(m + 1_k) = g_k A(m) + sum_j B_kj sqrt(m_j) A(m - 1_j), with B = (X - 1) / (X + 1),
    X = J J^t and g = (1 - B) delta / sqrt 2: Doktorov, Malkin and Man'ko, J. Mol. Spectrosc. 64, 302 (1977), doi
    10.1016/0022-2852(77)90199-X. InputError above two million levels.
    """
    require_within("most_quanta", most_quanta, 0, 1000)
    if (count := math.comb(most_quanta + molecule.modes, molecule.modes)) > MOST_LEVELS:
        raise InputError("levels", count, f"must be at most {MOST_LEVELS}")
    rotation, unit = molecule.scaled_rotation(), np.eye(molecule.modes)
    squeezed = rotation @ rotation.T
    inverse = np.linalg.inv(squeezed + unit)
    coupling = (squeezed - unit) @ inverse
    linear = ((unit - coupling) @ molecule.displacement / math.sqrt(2)).tolist()
    ground = 2**molecule.modes / math.sqrt(np.linalg.det(squeezed + unit) * np.linalg.det(np.linalg.inv(squeezed) + unit))
    start = math.sqrt(ground) * math.exp(-float(molecule.displacement @ inverse @ molecule.displacement) / 2)
    amplitudes = {(0,) * molecule.modes: start}
    table, roots = coupling.tolist(), [math.sqrt(n) for n in range(most_quanta + 1)]
    for level in _levels(molecule.modes, most_quanta):
        mode = next(i for i, n in enumerate(level) if n)
        below = _lower(level, mode)
        value = linear[mode] * amplitudes[below]
        for other, quanta in enumerate(below):
            if quanta:
                value += table[mode][other] * roots[quanta] * amplitudes[_lower(below, other)]
        amplitudes[level] = value / roots[level[mode]]
    return np.array(list(amplitudes), np.int64), np.array(list(amplitudes.values())) ** 2


def exact_spectrum(
    molecule: Molecule,
    *,
    temperature_k: float = 0.0,
    lowest_per_cm: float = 0.0,
    highest_per_cm: float = HIGHEST_PER_CM,
    resolution_per_cm: float = 50.0,
    step_per_cm: float = 1.0,
) -> Spectrum:
    """The spectrum in bins, in a time that grows as the cube of the modes; vibrations are rounded to steps of at most ``step_per_cm``.

    The Fourier transform of the energy is <prod z_k^n_k> = det(1 + D (V - 1))^(-1/2) exp(-d (1 + D (V - 1))^-1 D d / 2), D = (1 - z) / 2,
    V and d the state's covariance and mean. The way from z = 1 is straight, inside the unit disc, where the root has one branch. Lines
    outside of the bins are folded into them. Above zero temperature ``lowest_per_cm`` must leave room for lines below the 0-0 line.
    """
    first, bins = _bins(lowest_per_cm, highest_per_cm, resolution_per_cm)
    require_within("step_per_cm", step_per_cm, 0.01, 1e4)
    parts = 2 * math.ceil((resolution_per_cm / step_per_cm - 1) / 2 - ROUNDING) + 1 if step_per_cm < resolution_per_cm else 1
    points = bins * parts
    if points > MOST_POINTS:
        raise InputError("steps", points, f"must be at most {MOST_POINTS}")
    state = vibronic_state(molecule, temperature_k)
    steps = np.rint(np.concatenate([molecule.final_per_cm, -molecule.initial_per_cm])[: state.modes] * (parts / resolution_per_cm))
    shares = np.clip(np.fft.irfft(_transform(state, steps, points).conj(), points), 0.0, 1.0)
    # An odd number of steps makes a bin, whose middle is that of the middle one.
    rolled = np.roll(shares, parts // 2 - first * parts)
    return Spectrum(_middles(first, bins, resolution_per_cm), rolled.reshape(bins, parts).sum(axis=1), np.zeros(bins))


def _transform(state: GaussianState, steps: FloatArray, points: int) -> ComplexArray:
    """<exp(2 pi i q E / points)> for q = 0, 1, .., points / 2, where a photon of mode k has E = ``steps[k]``."""
    unit = np.eye(state.modes)
    excess = [state.covariance[part, part] - unit for part in (slice(state.modes), slice(state.modes, None))]
    mean = state.mean[: state.modes]
    numbers = np.arange(points // 2 + 1)
    transform = np.empty(len(numbers), complex)
    for start in range(0, len(numbers), CHUNK):
        half = (1 - np.exp(2j * np.pi * np.outer(numbers[start : start + CHUNK], steps) / points)) / 2
        matrices = half[:, :, None] * excess[0]
        moved = np.linalg.solve(unit + matrices, (half * mean)[:, :, None])[:, :, 0]
        logarithm = -(moved @ mean) / 2
        for matrix in (matrices, half[:, :, None] * excess[1]):
            logarithm -= np.log(1 + np.linalg.eigvals(matrix)).sum(axis=1) / 2
        transform[start : start + CHUNK] = np.exp(logarithm)
    return transform


def total_variation(one: Spectrum, other: Spectrum) -> float:
    """Half the sum of the differences of two spectra over the same bins."""
    if one.shares.shape != other.shares.shape or (one.energies_per_cm != other.energies_per_cm).any():
        raise InputError("spectra", [len(one.shares), len(other.shares)], "must have the same bins")
    return float(np.abs(one.shares - other.shares).sum() / 2)


def _bins(lowest_per_cm: float, highest_per_cm: float, resolution_per_cm: float) -> tuple[int, int]:
    """The number of the first bin, and how many there are: an even number."""
    require_within("resolution_per_cm", resolution_per_cm, 0.01, 1e4)
    require_within("lowest_per_cm", lowest_per_cm, -1e6, highest_per_cm)
    first = math.floor(lowest_per_cm / resolution_per_cm)
    bins = 2 * math.ceil((math.ceil(highest_per_cm / resolution_per_cm) - first + 1) / 2)
    if bins > MOST_BINS:
        raise InputError("bins", bins, f"must be at most {MOST_BINS}")
    return first, bins


def _middles(first: int, bins: int, resolution_per_cm: float) -> FloatArray:
    return resolution_per_cm * np.arange(first, first + bins, dtype=np.float64)


def _levels(modes: int, most: int) -> Iterator[tuple[int, ...]]:
    """All levels of 1 to ``most`` quanta, fewer quanta first."""
    for total in range(1, most + 1):
        yield from _with_total(modes, total)


def _with_total(modes: int, total: int) -> Iterator[tuple[int, ...]]:
    if modes == 1:
        yield (total,)
        return
    for first in range(total, -1, -1):
        yield from ((first, *rest) for rest in _with_total(modes - 1, total - first))


def _lower(level: tuple[int, ...], mode: int) -> tuple[int, ...]:
    return (*level[:mode], level[mode] - 1, *level[mode + 1 :])
