"""Samplers that know only the ideal clicks' means and pair moments: Boltzmann machines and the greedy sampler.

Both are after Villalonga, Niu, Li, Neven, Platt, Smelyanskiy and Boixo, arXiv 2109.11525; solving the mean field and the order in which the
greedy sampler chooses are ours.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy.special import logit

from tiandi.compiling import kernel
from tiandi.computing.photonics.exact.clicks import click_moments
from tiandi.computing.photonics.gaussian import CountArray, FloatArray, Machine
from tiandi.computing.photonics.samplers.detection import require_detectors
from tiandi.computing.photonics.samplers.interface import BATCH, BlockSampler, require_number
from tiandi.limits import require_within

LARGEST_MODES = 2048
SWEEPS = 12
SETTLING_STEPS = 8
SETTLING_SAMPLES = 10_000
NEVER = 1e-9
"""A click as rare, or as sure, as this is taken as this rare."""


def pair_moments(machine: Machine) -> FloatArray:
    """(modes, modes): exact means of products of two modes' clicks, on the diagonal of one mode's; up to 2,048 modes."""
    require_within("modes", machine.modes, 1, LARGEST_MODES)
    moments = np.diag(np.clip(click_moments(machine, 1), NEVER, 1 - NEVER))
    if machine.modes > 1:
        first, second = np.triu_indices(machine.modes, 1)
        moments[first, second] = moments[second, first] = click_moments(machine, 2)
    return moments


class BoltzmannSampler(BlockSampler):
    """Independent samples of a Boltzmann machine, P(x) ~ exp(sum h_i x_i + sum J_ij x_i x_j), by Gibbs sampling.

    Order 1 has J = 0: independent clicks at the exact rates, without error. Order 2 takes J from the exact covariance C of clicks by mean
    field, -(C^-1)_ij, corrected for each pair alone, the expansion of Sessak and Monasson, J. Phys. A 42, 055001 (2009), doi
    10.1088/1751-8113/42/5/055001; h starts at the mean-field equations with the Onsager term and is moved until samples have the exact
    rates, to about 0.2 %. Pairs are approximate: the better, the weaker they are correlated.
    """

    block = 64

    def __init__(self, machine: Machine, *, order: int = 2) -> None:
        """Raises InputError for detectors that count, or above 2,048 modes at order 2."""
        require_detectors(machine, "boltzmann", kinds=("threshold",))
        require_within("order", order, 1, 2)
        self.name, self.modes, self.order = "boltzmann", machine.modes, order
        if order == 1:
            self._rates = np.clip(click_moments(machine, 1), NEVER, 1 - NEVER)
            return
        moments = pair_moments(machine)
        self._rates = moments.diagonal().copy()
        variances = self._rates * (1 - self._rates)
        covariance = moments - np.outer(self._rates, self._rates)
        np.fill_diagonal(covariance, variances)
        self._couplings = _couplings(moments, covariance)
        reaction = (self._couplings**2 @ variances) * (1 - 2 * self._rates) / 2
        self._fields = logit(self._rates) - self._couplings @ self._rates - reaction
        self._settle_fields()

    def describe(self) -> str:
        """Which moments it knows."""
        if self.order == 1:
            return "Boltzmann machine of first order: independent clicks at the exact rates. Villalonga et al., arXiv 2109.11525."
        return (
            f"Boltzmann machine of second order from exact one- and two-mode moments by mean field, {SWEEPS} Gibbs sweeps a sample. "
            "Villalonga et al., arXiv 2109.11525."
        )

    def _settle_fields(self) -> None:
        """Move the fields until samples have the exact rates, to about 0.2 %: in smaller and smaller steps, from a seed of its own."""
        generator = np.random.default_rng(0)
        for step in range(1, SETTLING_STEPS + 1):
            found = self.sample(SETTLING_SAMPLES, generator).mean(axis=0)
            self._fields += (logit(self._rates) - logit(np.clip(found, 1 / SETTLING_SAMPLES, 1 - 1 / SETTLING_SAMPLES))) / step

    def _draw(self, rows: CountArray, generator: np.random.Generator) -> None:
        rows[:] = generator.random(rows.shape) < self._rates
        if self.order == 2:
            uniform = generator.random((SWEEPS, *rows.shape), np.float32)
            _gibbs(rows, self._fields, self._couplings, logit(uniform))


def _couplings(moments: FloatArray, covariance: FloatArray) -> FloatArray:
    """J of mean field, -(C^-1)_ij, plus what two modes alone have beyond it: J of the pair less its own mean field."""
    rates, variances = moments.diagonal(), covariance.diagonal()
    both = np.maximum(moments, NEVER)
    one, other = np.maximum(rates[:, None] - moments, NEVER), np.maximum(rates[None, :] - moments, NEVER)
    neither = np.maximum(1 - rates[:, None] - rates[None, :] + moments, NEVER)
    off = covariance - np.diag(variances)
    alone = np.log(both * neither / (one * other)) - off / (np.outer(variances, variances) - off**2)
    couplings: FloatArray = alone - np.linalg.inv(covariance)
    np.fill_diagonal(couplings, 0.0)
    return couplings


@kernel
def _gibbs(rows, fields, couplings, thresholds):  # type: ignore[no-untyped-def]
    """Each mode in turn clicks if its field is above a logistic random number."""
    sweeps, samples, modes = thresholds.shape
    for s in range(samples):
        here = fields.copy()
        for j in range(modes):
            if rows[s, j]:
                here += couplings[j]
        for sweep in range(sweeps):
            for j in range(modes):
                clicks = here[j] > thresholds[sweep, s, j]
                if clicks and not rows[s, j]:
                    rows[s, j] = 1
                    here += couplings[j]
                elif rows[s, j] and not clicks:
                    rows[s, j] = 0
                    here -= couplings[j]


class GreedySampler:
    """Samples chosen one after another so that the pair moments of all so far stay as near to the exact ones as may be.

    Modes of a sample are decided in random order; a mode clicks if that lessens the squared error of the sums over samples, over the pairs
    with modes already decided to click and the mode's own mean. Means and pair moments converge faster than those of independent samples;
    nothing is said of other orders, and samples are not independent of each other.
    """

    name = "greedy"

    def __init__(self, machine: Machine) -> None:
        """Raises InputError for detectors that count, or above 2,048 modes."""
        require_detectors(machine, self.name, kinds=("threshold",))
        self.modes = machine.modes
        self._moments = pair_moments(machine)

    def describe(self) -> str:
        """Which moments it knows."""
        return (
            "Greedy sampler on exact one- and two-mode moments: each bit lessens the error of all samples so far, so that samples are not "
            "independent. After Villalonga et al., arXiv 2109.11525."
        )

    def sample(self, number: int, generator: np.random.Generator) -> CountArray:
        """(number, modes)."""
        return np.concatenate(list(self.batches(number, generator)))

    def batches(self, number: int, generator: np.random.Generator, batch: int = BATCH) -> Iterator[CountArray]:
        """At most ``batch`` at a time; each goes on where the one before ended."""
        require_number(number)
        require_number(batch, "batch")
        owed = np.zeros_like(self._moments)
        for start in range(0, number, batch):
            rows = np.zeros((min(batch, number - start), self.modes), np.uint8)
            for first in range(0, len(rows), 1024):
                part = rows[first : first + 1024]
                order = generator.permuted(np.tile(np.arange(self.modes), (len(part), 1)), axis=1)
                _choose(part, order, generator.random((len(part), self.modes)), self._moments, owed)
            yield rows


@kernel
def _choose(rows, order, uniform, moments, owed):  # type: ignore[no-untyped-def]
    """``owed`` (modes, modes) is what the samples' sums lack; the first mode of a sample is decided by chance, as nothing else would
    vary."""
    samples, modes = rows.shape
    clicked = np.empty(modes, np.int64)
    for s in range(samples):
        owed += moments
        count = 0
        for place in range(modes):
            j = order[s, place]
            gain = modes * (2 * (owed[j, j] - uniform[s, j]))
            for i in range(count):
                gain += 2 * owed[j, clicked[i]] - 1
            if gain > 0:
                rows[s, j] = 1
                clicked[count] = j
                count += 1
        for i in range(count):
            for k in range(count):
                owed[clicked[i], clicked[k]] -= 1
