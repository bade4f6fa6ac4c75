"""The positive-P sampler with a latent Gaussian: one- and two-mode moments of the clicks or counts put right.

A sample is drawn in two layers. Hidden positive-P amplitudes give each detector its cumulative probabilities, clipped to [0, 1] as in
Goodman, Dellios, Reid and Drummond, arXiv 2604.12330; the clipping is all that is wrong with that sampler. Then, in place of independent
uniform numbers, detectors compare them with Phi(g z_j - s_j), where z is Gaussian with correlations R. The shifts s, for counts the
scales g, put each mode's mean and variance right, and R each pair's covariance: a Gaussian copula on top of the hidden amplitudes. In weak
light, where clipping takes most away, the copula ties three clicks together too strongly, and a part of what pairs lack comes instead from
independent pairs of clicks, as in Bulmer et al., Sci. Adv. 8, eabl9236 (2022), arXiv 2108.01622: so much that three-mode cumulants have a
slope of one. We know of no publication of this. How all is found is told in `latent_fit` and `pair_share`.
"""

from __future__ import annotations

import numpy as np

from tiandi.computing.photonics.exact.clicks import click_cumulants, click_moments
from tiandi.computing.photonics.gaussian import CountArray, Machine
from tiandi.computing.photonics.samplers.detection import detect, require_detectors
from tiandi.computing.photonics.samplers.interface import BlockSampler
from tiandi.computing.photonics.samplers.latent_fit import EDGE, Exact, Latent, Task, fit_latent, largest_count
from tiandi.computing.photonics.samplers.light import random_field
from tiandi.computing.photonics.samplers.normal import normal_probability
from tiandi.computing.photonics.samplers.pair_share import choose_pairs
from tiandi.errors import InputError
from tiandi.limits import require_within

NOISE = 1.1
"""Strength of the hidden amplitudes' quantum part over the state's own. Pairs can be put right with any. On Jiuzhang 1.0 and 2.0 at 0.6 and
1.65 W, slopes of three-mode cumulants against the exact ones are 0.96 to 0.98 with 1 and 1.00 to 1.02 with 1.2, while strongly correlated
12-mode marginals get worse with more of it (computed, a million samples each)."""
LARGEST_PAIRED_MODES = 2048
"""Above, only means are put right: each pair's correlation would take too many draws to find. `wide` finds them without draws."""
LARGEST_EXACT_MODES = 512
"""Up to which exact covariances are computed, which makes the fit less noisy, and pairs are drawn."""
FEWEST_DRAWS = 2000


class CorrectedSampler(BlockSampler):
    """Independent samples with the ideal state's means and covariances of clicks or counts, up to the fit's noise."""

    def __init__(
        self, machine: Machine, generator: np.random.Generator, *, draws: int | None = None, noise: float = NOISE, pairs: bool | None = None
    ) -> None:
        """Fit on ``draws`` hidden samples, by default as many as take about eight seconds.

        ``pairs`` says whether covariances are put right too, by default up to 2,048 modes. Raises InputError where the machine's sources
        or detectors are out of range.
        """
        self._detectors = require_detectors(machine, "corrected")
        self.name = "corrected" if self._detectors.kind == "threshold" else "corrected-number"
        self.modes = machine.modes
        self.pairs = machine.modes <= LARGEST_PAIRED_MODES if pairs is None else pairs
        if self.pairs:
            require_within("modes", machine.modes, 1, LARGEST_PAIRED_MODES)
        require_within("noise", noise, 0.0, 2.0)
        brightest = float((np.abs(machine.transfer) ** 2 @ np.sinh(machine.squeezing_r) ** 2).max())
        largest = largest_count(self._detectors, brightest)
        light = random_field(machine, "squeezed")
        draws = _default_draws(machine, largest, self.pairs) if draws is None else draws
        if draws < FEWEST_DRAWS:
            raise InputError("draws", draws, f"must be at least {FEWEST_DRAWS}")
        latent = Latent(np.zeros(self.modes), np.ones(self.modes), largest=largest)
        exact = None
        if self.pairs and self._detectors.kind == "threshold" and machine.modes <= LARGEST_EXACT_MODES:
            exact = Exact(click_moments(machine, 1), click_cumulants(machine))
        task = Task(light, self._detectors, noise, self.pairs, exact)
        latent.pairs = self._pairs = choose_pairs(machine, task, generator, draws)
        self.fit = fit_latent(task, latent, generator, draws)
        self._mixing, self._largest = latent.mixing, largest
        self._shift, self._scale = latent.shift.astype(np.float32), latent.scale.astype(np.float32)
        self._field = random_field(machine, "squeezed", noise=noise)

    def describe(self) -> str:
        """What was put right, and how well."""
        what = "mean" if self._largest == 1 else "mean and variance"
        pairs = " and each pair's covariance" if self.pairs else ""
        beside = ""
        if self._pairs is not None:
            beside = (
                f" Beside them {self._pairs.mean_number:.2g} independent pairs of clicks a sample, for three-mode cumulants of slope one."
            )
        repair = f" Correlations had to be changed by {self.fit.repaired:.1%} to exist." if self.fit.repaired else ""
        return (
            f"Positive-P amplitudes with a latent Gaussian, fitted on {self.fit.draws:,} draws: each mode's {what}{pairs} are the ideal "
            f"state's up to the fit's noise, other orders are approximate.{repair}{beside} "
            "Amplitudes as in Goodman et al., arXiv 2604.12330."
        )

    def _draw(self, rows: CountArray, generator: np.random.Generator) -> None:
        real, imaginary = self._field.draw(len(rows), generator)
        latent = generator.standard_normal(rows.shape, np.float32)
        if self._mixing is not None:
            latent = latent @ self._mixing
        if self._largest > 1:
            latent *= self._scale
        latent -= self._shift
        uniform = normal_probability(latent)
        if self._largest > 1:
            np.minimum(uniform, np.float32(1 - EDGE), out=uniform)
        detect(real, imaginary, uniform, self._detectors, rows)
        if self._pairs is not None:
            self._pairs.add(rows, generator)


def _default_draws(machine: Machine, largest: int, pairs: bool) -> int:
    """So many draws as take about eight seconds on one core; at least 20,000 and at most two million."""
    modes, inputs = machine.transfer.shape
    nanoseconds = modes * (0.15 * inputs + 25 * largest + (0.15 * modes if pairs else 0))
    return max(20_000, min(2_000_000, int(8e9 / nanoseconds)))
