"""Bayesian tests: is a set of samples likelier to come from the ideal machine, or from one of the mock-ups that imitate it?

The figure is the mean over samples of ln p_ideal(x) / p_mock(x), as in Zhong et al., Phys. Rev. Lett. 127, 180502 (2021),
doi:10.1103/PhysRevLett.127.180502: above 0 the samples speak for the ideal machine, and n of them multiply the odds by exp(n times it).
Probabilities are exact: of all patterns of small sets of modes, of the first few hundred samples on as many modes as keep below 20 clicks,
and, where light is weak, on all modes at once. Only of coherent light, whose phases no one knows, they are means over random phases.

Of whole patterns only those with at most 20 clicks are worked out, or fewer where that would take too long. So that this choice speaks for
nobody, each probability is divided by that of so few clicks under the same hypothesis: as the experiments, which compare samples within a
number of clicks.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tiandi.computing.photonics.exact.clicks import (
    DIGITS_LOST,
    EPSILON,
    click_logarithms,
    no_click_probability_of_sets,
    pattern_probabilities,
    patterns_of_sets,
)
from tiandi.computing.photonics.exact.double_double import LANES, all_click_apart_precisely
from tiandi.computing.photonics.exact.light import dark_probability
from tiandi.computing.photonics.gaussian import CountArray, FloatArray, GaussianState, Machine
from tiandi.computing.photonics.samplers import SAMPLERS
from tiandi.computing.photonics.validation.estimates import Estimate, jackknife, pooled_and_left_out
from tiandi.computing.photonics.validation.ideal import LEAST_PROBABILITY, Ideal
from tiandi.computing.photonics.validation.kernels import all_click_apart
from tiandi.computing.photonics.validation.tally import KEPT
from tiandi.computing.photonics.validation.totals import of_sums

IntArray = NDArray[np.int64]
MOST_CLICKS = 20
PHASES, PHASES_OF_PATTERNS = 10_000, 2_000
"""Random phases that a mean is taken over; 2 % or so of a probability is their scatter."""
MOCK_UPS = ("thermal", "squashed", "coherent", "distinguishable")
LEAST_SHARE = 0.05
"""Of ideal samples with few enough clicks, from which on whole patterns are looked at."""
MOST_TERMS = 1 << 21
"""Of the sums of all whole patterns together, 2^c of c clicks: about four seconds."""
DRAWN = 50_000
"""Samples of a mock-up that tell how often it has so few clicks."""


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
    whole: Estimate | None
    """On all modes, given that no more than ``whole_clicks`` click; None where too few samples have so few, and of coherent light."""
    whole_samples: int
    whole_clicks: int


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
        lambda modes, clicks: click_logarithms(_part(machine, modes).state(), clicks, dark_probability(machine)),
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
    return click_logarithms(classical_state(_part(machine, modes), kind), clicks, dark_probability(machine))


def _apart(part: Machine, clicks: CountArray, dark: float) -> FloatArray:
    shares = np.abs(part.transfer) ** 2
    excess = np.stack([np.expm1(2 * part.squeezing_r), np.expm1(-2 * part.squeezing_r)]) / 2
    photons = np.sinh(part.squeezing_r) ** 2
    weights = np.sqrt(photons / (1 + photons))
    fill = -len(photons) % LANES
    weighted = np.pad(shares * weights, ((0, 0), (0, fill)))
    found = np.empty(len(clicks))
    for number, row in enumerate(clicks):
        on, silent = row > 0, shares[row == 0].sum(axis=0)
        value, size = all_click_apart(shares[on], silent, excess, 1 - dark)
        constant = int((row == 0).sum()) * math.log1p(-dark)
        if EPSILON * size > DIGITS_LOST * value:
            value, size = all_click_apart_precisely(weighted[on], np.pad(weights * (1 - silent), (0, fill)), 1 - dark)
            constant -= np.log1p(photons).sum() / 2
        found[number] = math.log(max(value, EPSILON**2 * size)) + constant
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
    most_clicks: int
    """Of whole patterns; 0 where none are looked at."""
    few: tuple[Estimate | None, ...]
    """Of each mock-up, ln of how often ideal samples have so few clicks over how often its own do; None where it is not asked."""


SMALL = "clustered 12"
"""The sets on which all samples count: those of modes that hang together most, where hypotheses differ most."""


def make_trial(ideal: Ideal, generator: np.random.Generator, mock_ups: tuple[str, ...] = MOCK_UPS) -> Trial:
    """Tests for everything that is judged against ``ideal``."""
    machine, plan = ideal.machine, ideal.plan
    law, laws = ideal_law(machine), tuple(mock_up_law(machine, kind, generator) for kind in mock_ups)
    sets, known = plan.subsets[SMALL], np.log(ideal.patterns[SMALL])
    small = np.array([known - np.log(np.maximum([mock.patterns(modes) for modes in sets], LEAST_PROBABILITY)) for mock in laws])
    most = _most_clicks(ideal)
    return Trial(
        mock_ups,
        small.reshape(len(mock_ups), *known.shape),
        wide_set(ideal, generator),
        law,
        laws,
        machine.indistinguishability == 1,
        most,
        tuple(_few(ideal, kind, most, generator) for kind in mock_ups),
    )


def _most_clicks(ideal: Ideal) -> int:
    """So many that the kept samples, were they ideal, would take `MOST_TERMS`; 0 where less than `LEAST_SHARE` of them have so few."""
    machine = ideal.machine
    if machine.indistinguishability != 1 or not ideal.grouped:
        return 0
    totals = of_sums(ideal.grouped[0].probabilities, machine.modes)[: MOST_CLICKS + 1]
    terms = KEPT * np.cumsum(np.maximum(totals, 0.0) * 2.0 ** np.arange(len(totals)))
    most = int((terms <= MOST_TERMS).sum()) - 1
    return most if float(totals[: most + 1].sum()) >= LEAST_SHARE else 0


def _few(ideal: Ideal, kind: str, most: int, generator: np.random.Generator) -> Estimate | None:
    """How often the ideal machine has at most ``most`` clicks, over how often a mock-up's sampler has: ln of it."""
    if kind == "coherent" or not most:
        return None
    machine, totals = ideal.machine, ideal.grouped[0]
    batches = totals.probabilities[None] if totals.batches is None else totals.batches
    shares = np.array([of_sums(one, machine.modes)[: most + 1].sum() for one in batches])
    share = float(shares.mean())
    error = float(shares.std(ddof=1) / math.sqrt(len(shares))) if len(shares) > 1 else 0.0
    drawn = SAMPLERS[kind](machine, generator).sample(DRAWN, generator)
    mock = (int((np.count_nonzero(drawn, axis=1) <= most).sum()) + 0.5) / (DRAWN + 1)
    return Estimate(math.log(share / mock), math.hypot(error / share, math.sqrt((1 - mock) / (mock * DRAWN))))


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
    all_modes, clicks_of_all = np.arange(kept.shape[1]), (kept > 0).astype(np.uint8)
    clicks = clicks_of_all[:, trial.wide]
    few = clicks.sum(axis=1) <= MOST_CLICKS
    # Of light that interferes in part no torontonian is at hand: only the small sets speak.
    chosen = clicks[few & trial.wholly_interfering]
    own = trial.ideal.logarithm(trial.wide, chosen)
    few_clicks = clicks_of_all[clicks_of_all.sum(axis=1) <= trial.most_clicks] if trial.most_clicks else clicks_of_all[:0]
    own_whole = trial.ideal.logarithm(all_modes, few_clicks)
    found = []
    for name, table, law, share in zip(trial.names, trial.small, trial.laws, trial.few, strict=True):
        small = jackknife(float((pooled * table).sum(axis=1).mean()), (left * table).sum(axis=2).mean(axis=1))
        wide = _mean(own - law.logarithm(trial.wide, chosen)) if len(chosen) > 1 else None
        whole = None
        if share is not None and len(few_clicks) > 1:
            mean = _mean(own_whole - law.logarithm(all_modes, few_clicks))
            whole = replace(mean, value=mean.value - share.value, error=math.hypot(mean.error, share.error))
        asked = 0 if whole is None else len(few_clicks)
        found.append(Odds(name, small, wide, len(trial.wide), len(chosen), int((~few).sum()), whole, asked, trial.most_clicks))
    return tuple(found)


def _mean(differences: FloatArray) -> Estimate:
    error = float(differences.std(ddof=1) / math.sqrt(len(differences)))
    return Estimate(float(differences.mean()), error, method="scatter of the samples")
