"""Bayesian tests: is a set of samples likelier to come from the ideal machine, or from one of the mock-ups that imitate it?

The figure is the mean over samples of ln p_ideal(x) / p_mock(x), as in Zhong et al., Phys. Rev. Lett. 127, 180502 (2021),
doi:10.1103/PhysRevLett.127.180502: above 0 the samples speak for the ideal machine, and n of them multiply the odds by exp(n times it).
Probabilities are exact: of all patterns of small sets of modes, and of the first few hundred samples on as many modes as keep below 20
clicks. Only of coherent light, whose phases no one knows, they are means over random phases.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tiandi.computing.photonics.exact.clicks import no_click_probability_of_sets, pattern_probabilities, patterns_of_sets
from tiandi.computing.photonics.exact.kernels import all_click
from tiandi.computing.photonics.exact.light import dark_probability
from tiandi.computing.photonics.gaussian import CountArray, FloatArray, GaussianState, Machine
from tiandi.computing.photonics.validation.estimates import Estimate, jackknife, pooled_and_left_out
from tiandi.computing.photonics.validation.ideal import LEAST_PROBABILITY, Ideal
from tiandi.computing.photonics.validation.kernels import all_click_apart

IntArray = NDArray[np.int64]
MOST_CLICKS = 20
PHASES, PHASES_OF_PATTERNS = 10_000, 2_000
"""Random phases that a mean is taken over; 2 % or so of a probability is their scatter."""
MOCK_UPS = ("thermal", "squashed", "coherent", "distinguishable")


@dataclass(frozen=True, slots=True)
class Odds:
    """Of the ideal machine against one mock-up, a sample's mean logarithm (in nats)."""

    mock_up: str
    small_sets: Estimate
    """On sets of at most 12 modes, mean over the sets; all samples count."""
    wide: Estimate | None
    """On one wide set of modes; None where the samples did not allow it."""
    wide_modes: int
    wide_samples: int
    left_out: int
    """Samples with more than 20 clicks on the wide set, whose probability would take too long."""


@dataclass(frozen=True, eq=False)
class Law:
    """What a hypothesis says of clicks: ``patterns(modes)`` is (2**k,), ``logarithm(modes, clicks)`` ln p of each row of clicks."""

    patterns: Callable[[IntArray], FloatArray]
    logarithm: Callable[[IntArray, CountArray], FloatArray]


def classical_state(machine: Machine, kind: str) -> GaussianState:
    """The machine's output with thermal or squashed light of the same mean photon numbers n in place of its squeezed light.

    V - 1 of thermal light is 2n; of squashed light 4n along the stretched quadrature and 0 along the other (Qi, Brod, Quesada and
    Garcia-Patron, Phys. Rev. Lett. 124, 100502 (2020), doi:10.1103/PhysRevLett.124.100502).
    """
    photons = np.sinh(machine.squeezing_r) ** 2
    along_x = 2 * photons if kind == "thermal" else np.where(machine.squeezing_r > 0, 4 * photons, 0.0)
    along_p = 4 * photons - along_x
    transfer = np.block([[machine.transfer.real, -machine.transfer.imag], [machine.transfer.imag, machine.transfer.real]])
    covariance = np.eye(2 * machine.modes) + (transfer * np.concatenate([along_x, along_p])) @ transfer.T
    return GaussianState((covariance + covariance.T) / 2, np.zeros(2 * machine.modes))


def ideal_law(machine: Machine) -> Law:
    """The machine itself; of partly distinguishable light, no wide set of modes is asked (see `odds`)."""
    return Law(
        lambda modes: pattern_probabilities(machine, modes),
        lambda modes, clicks: _gaussian(_part(machine, modes).state(), clicks, dark_probability(machine)),
    )


def mock_up_law(machine: Machine, kind: str, generator: np.random.Generator) -> Law:
    """One of `MOCK_UPS`. Coherent light has a random phase in each input and sample; distinguishable squeezers do not interfere."""
    dark = dark_probability(machine)
    if kind == "distinguishable":
        return Law(
            lambda modes: pattern_probabilities(replace(machine, indistinguishability=0.0), modes),
            lambda modes, clicks: _apart(_part(machine, modes), clicks, dark),
        )
    if kind == "coherent":
        phases = np.exp(2j * np.pi * generator.random((PHASES, len(machine.squeezing_r))))
        amplitudes = phases * np.abs(np.sinh(machine.squeezing_r))

        def rates(modes: IntArray, most: int = PHASES) -> FloatArray:
            return 1 - (1 - dark) * np.exp(-(np.abs(amplitudes[:most] @ machine.transfer[modes].T) ** 2))

        return Law(lambda modes: _mixed_patterns(rates(modes, PHASES_OF_PATTERNS)), lambda modes, clicks: _mixed(rates(modes), clicks))
    return Law(
        lambda modes: _classical_patterns(_part(machine, modes), kind, dark), lambda modes, clicks: _classical(machine, kind, modes, clicks)
    )


def _part(machine: Machine, modes: IntArray) -> Machine:
    return replace(machine, transfer=machine.transfer[modes])


def _classical_patterns(part: Machine, kind: str, dark: float) -> FloatArray:
    sets = np.arange(1 << part.modes)
    silent = no_click_probability_of_sets(classical_state(part, kind), np.arange(part.modes))
    return patterns_of_sets(silent * (1 - dark) ** np.bitwise_count(sets))


def _classical(machine: Machine, kind: str, modes: IntArray, clicks: CountArray) -> FloatArray:
    return _gaussian(classical_state(_part(machine, modes), kind), clicks, dark_probability(machine))


def _gaussian(state: GaussianState, clicks: CountArray, dark: float) -> FloatArray:
    """ln p of each row: silence of the silent, then of the rest, given that silence, that all click (torontonian).

    With A = (V + 1)/2 and its inverse P, the rest is left with A' = (P of the rest)^-1, and det A of the silent is det A times det P of the
    rest: only the modes that click make work.
    """
    modes = state.modes
    matrix = (state.covariance + np.eye(2 * modes)) / 2
    inverse, whole = np.linalg.inv(matrix), np.linalg.slogdet(matrix)[1]
    found = np.empty(len(clicks))
    for number, row in enumerate(clicks):
        on = np.flatnonzero(row)
        near = np.stack([on, on + modes], axis=1).ravel()
        rest = inverse[np.ix_(near, near)]
        logarithm = (modes - len(on)) * math.log1p(-dark) - (whole + np.linalg.slogdet(rest)[1]) / 2
        probability = all_click(np.linalg.inv(rest), np.zeros(len(near)), 1 - dark)[0] if len(on) else 1.0
        found[number] = logarithm + math.log(max(probability, LEAST_PROBABILITY))
    return found


def _apart(part: Machine, clicks: CountArray, dark: float) -> FloatArray:
    shares = np.abs(part.transfer) ** 2
    excess = np.stack([np.expm1(2 * part.squeezing_r), np.expm1(-2 * part.squeezing_r)]) / 2
    found = np.empty(len(clicks))
    for number, row in enumerate(clicks):
        on = np.ascontiguousarray(shares[row > 0])
        probability = all_click_apart(on, shares[row == 0].sum(axis=0), excess, 1 - dark)
        found[number] = math.log(max(probability, LEAST_PROBABILITY)) + int((row == 0).sum()) * math.log1p(-dark)
    return found


def _mixed_patterns(rates: FloatArray) -> FloatArray:
    """(2**k,): mean over rows of ``rates`` (phases, k) of what independent modes do."""
    modes = rates.shape[1]
    table = np.ones((len(rates), 1))
    for mode in range(modes):
        rate = rates[:, mode, None]
        table = np.concatenate([table * (1 - rate), table * rate], axis=1)
    return np.asarray(table.mean(axis=0))


def _mixed(rates: FloatArray, clicks: CountArray) -> FloatArray:
    rates = np.clip(rates, 1e-300, 1 - 1e-16)
    on = clicks.astype(float)
    logarithms = on @ np.log(rates).T + (1 - on) @ np.log1p(-rates).T
    highest = logarithms.max(axis=1)
    return np.asarray(highest + np.log(np.exp(logarithms - highest[:, None]).mean(axis=1)))


@dataclass(frozen=True, eq=False)
class Trial:
    """All hypotheses' probabilities on the sets of modes that are looked at, worked out once."""

    names: tuple[str, ...]
    small: FloatArray
    """(mock-ups, sets, patterns): ln p_ideal / p_mock."""
    wide: IntArray
    """Modes of the wide set."""
    ideal: Law
    laws: tuple[Law, ...]
    wholly_interfering: bool


SMALL = "clustered 12"
"""The sets on which all samples count: those of modes that hang together most, where hypotheses differ most."""


def make_trial(ideal: Ideal, generator: np.random.Generator, mock_ups: tuple[str, ...] = MOCK_UPS) -> Trial:
    """Tests for everything that is judged against ``ideal``."""
    machine, plan = ideal.machine, ideal.plan
    law, laws = ideal_law(machine), tuple(mock_up_law(machine, kind, generator) for kind in mock_ups)
    sets, known = plan.subsets[SMALL], np.log(ideal.patterns[SMALL])
    small = np.array([known - np.log(np.maximum([mock.patterns(modes) for modes in sets], LEAST_PROBABILITY)) for mock in laws])
    return Trial(
        mock_ups, small.reshape(len(mock_ups), *known.shape), wide_set(ideal, generator), law, laws, machine.indistinguishability == 1
    )


def wide_set(ideal: Ideal, generator: np.random.Generator) -> IntArray:
    """Modes at random, as many as keep four standard deviations below 20 clicks (of a large machine, among the close ones)."""
    close = ideal.plan.close
    order = generator.permutation(len(close))
    rates = ideal.rates[close][order]
    covariance = np.zeros((len(close), len(close)))
    covariance[np.triu_indices(len(close), 1)] = ideal.pairs
    covariance = (covariance + covariance.T)[np.ix_(order, order)]
    means = np.cumsum(rates)
    variances = np.cumsum(rates * (1 - rates)) + 2 * np.cumsum(np.triu(covariance, 1).sum(axis=0))
    enough = int((means + 4 * np.sqrt(np.maximum(variances, 0.0)) <= MOST_CLICKS).sum())
    return np.asarray(close[np.sort(order[: max(enough, min(len(close), 8))])])


def odds(trial: Trial, counts: NDArray[np.int64], samples: FloatArray, kept: CountArray) -> tuple[Odds, ...]:
    """Of pattern ``counts`` (blocks, sets, patterns) of the small sets, and of the ``kept`` samples (number, modes)."""
    pooled, left = pooled_and_left_out(counts.astype(float), samples)
    clicks = (kept[:, trial.wide] > 0).astype(np.uint8)
    few = clicks.sum(axis=1) <= MOST_CLICKS
    # Of light that interferes in part no torontonian is at hand: only the small sets speak.
    chosen = clicks[few & trial.wholly_interfering]
    own = trial.ideal.logarithm(trial.wide, chosen)
    found = []
    for name, table, law in zip(trial.names, trial.small, trial.laws, strict=True):
        small = jackknife(float((pooled * table).sum(axis=1).mean()), (left * table).sum(axis=2).mean(axis=1))
        wide = None
        if len(chosen) > 1:
            differences = own - law.logarithm(trial.wide, chosen)
            error = float(differences.std(ddof=1) / math.sqrt(len(chosen)))
            wide = Estimate(float(differences.mean()), error, method="scatter of the samples")
        found.append(Odds(name, small, wide, len(trial.wide), len(chosen), int((~few).sum())))
    return tuple(found)
