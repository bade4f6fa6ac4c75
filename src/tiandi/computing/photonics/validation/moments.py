"""Rates and correlations: cumulants of two and of three modes against the exact ones, with sampling noise taken out and both shown.

The cumulant of two modes is <ab> - <a><b>; of three, <abc> with everything taken off that pairs explain. Slope is sum(s k)/sum(k k) of
measured s over exact k, which noise does not bias; correlation is Pearson's; residual is what the slope leaves; relative error is
rms(s - k)/rms(k). The measured cumulants are unbiased (n/(n-1) and n^2/((n-1)(n-2)): Fisher's k-statistics).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tiandi.compiling import kernel
from tiandi.computing.photonics.gaussian import CountArray, FloatArray
from tiandi.computing.photonics.public_data import Published
from tiandi.computing.photonics.validation.estimates import (
    BINOMIAL,
    BOOTSTRAP,
    JACKKNIFE,
    Estimate,
    jackknife_error,
    pooled_and_left_out,
    root_of_square,
)

LARGEST_ERROR = 0.3
"""Of a correlation coefficient, from which on it says nothing."""
DRAWS = 100
"""Of the bootstrap for published moments; its error bars are known to 7 %."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """How measured cumulants agree with exact ones."""

    entries: int
    slope: Estimate
    correlation: Estimate | None
    """None where there is too little above the noise."""
    residual: Estimate
    relative_error: Estimate


def pair_cumulants(rates: FloatArray, pairs: FloatArray, samples: float = math.inf) -> FloatArray:
    """Of mean products of all pairs i < j, (pairs,), and rates (modes,); unbiased for moments of ``samples`` samples."""
    first, second = np.triu_indices(len(rates), 1)
    return (pairs - rates[first] * rates[second]) * (1.0 if math.isinf(samples) else samples / (samples - 1))


def triple_cumulants(rates: FloatArray, pairs: FloatArray, triples: FloatArray, samples: float = math.inf) -> FloatArray:
    """Of mean products of all triples i < j < k, in lexicographic order as the pairs."""
    found = np.empty_like(triples)
    _triple_cumulants(rates, _square(pairs, len(rates)), triples, found)
    return found * (1.0 if math.isinf(samples) else samples**2 / ((samples - 1) * (samples - 2)))


def _square(pairs: FloatArray, modes: int) -> FloatArray:
    table = np.zeros((modes, modes))
    table[np.triu_indices(modes, 1)] = pairs
    return table


@kernel
def _triple_cumulants(rates, pairs, triples, found):  # type: ignore[no-untyped-def]
    at = 0
    for i in range(len(rates)):
        for j in range(i + 1, len(rates)):
            left = pairs[i, j] - 2 * rates[i] * rates[j]
            for k in range(j + 1, len(rates)):
                found[at] = triples[at] - left * rates[k] - pairs[i, k] * rates[j] - pairs[j, k] * rates[i]
                at += 1


def rate_error(left_clicks: FloatArray, samples: FloatArray, exact: FloatArray) -> Estimate:
    """Root mean square of the modes' rates against the exact ones; ``left_clicks`` (blocks, modes) are sums."""
    pooled, left = pooled_and_left_out(left_clicks, samples)
    return _root_mean_square(pooled - exact, left - exact)


def _root_mean_square(off: FloatArray, left: FloatArray) -> Estimate:
    blocks = len(left)
    noise = float(((blocks - 1) * left.var(axis=0)).mean())
    squares = (left**2).mean(axis=1)
    raw = float((off**2).mean())
    return root_of_square(raw - noise, jackknife_error(squares), raw_square=raw, noise_square=noise)


@dataclass(frozen=True, slots=True)
class _Sums:
    """Of measured s against exact k."""

    s: float
    sk: float
    ss: float


def agreement(pooled: FloatArray, left_out: Callable[[int], FloatArray], blocks: int, exact: FloatArray) -> Agreement:
    """Cumulants of all samples, (entries,), and ``left_out(block)``, those without a block, against ``exact``.

    The noise of each entry is its jackknife variance over the blocks; its mean is taken off every mean square. One block's cumulants are in
    memory at a time.
    """
    whole = _sums(pooled, exact)
    left, first, second = [], np.zeros_like(exact), np.zeros_like(exact)
    for block in range(blocks):
        values = left_out(block)
        left.append(_sums(values, exact))
        first += values - pooled
        second += (values - pooled) ** 2
    noise = float((blocks - 1) * (second / blocks - (first / blocks) ** 2).mean())
    return _agreement(whole, left, noise, exact, math.sqrt(blocks - 1.0), noise_share=blocks / (blocks - 1))


def published_agreement(
    pooled: FloatArray, variances: FloatArray, exact: FloatArray, generator: np.random.Generator, together: float = 1.0
) -> Agreement:
    """Published cumulants with the sampling ``variances`` of each; errors are ``together`` times those of cumulants that scatter alone.

    The error bars hold for sampling noise only: what the calibration does not know is not in them.
    """
    draws = [_sums(pooled + generator.standard_normal(len(exact)) * np.sqrt(variances), exact) for _ in range(DRAWS)]
    return _agreement(_sums(pooled, exact), draws, float(variances.mean()), exact, together, noise_share=2.0, method=BOOTSTRAP)


def scatter_together(pooled: FloatArray, variances: FloatArray, exact: FloatArray, centred: FloatArray) -> float:
    """How much more sums of cumulants scatter than if each did alone, as they are of the same shots; at least 1.

    ``variances`` (cumulants,) are those of one shot's product, ``centred`` (shots, modes) clicks less their means. Of the two sums that the
    figures are made of, that over the exact cumulants (slope) and that over what the measured ones are off (errors), the larger is taken.
    """
    found = 1.0
    for weights in (exact, pooled - exact):
        alone = float(weights**2 @ variances)
        if alone > 0:
            found = max(found, math.sqrt(float(_products(weights, centred).var()) / alone))
    return found


def _products(weights: FloatArray, centred: FloatArray) -> FloatArray:
    """(shots,): of each shot, the sum of ``weights`` of all pairs, or triples, times their product."""
    modes = centred.shape[1]
    if len(weights) == modes * (modes - 1) // 2:
        return np.asarray(((centred @ _square(weights, modes)) * centred).sum(axis=1))
    found, at = np.zeros(len(centred)), 0
    for i in range(modes - 2):
        others = centred[:, i + 1 :]
        size = others.shape[1] * (others.shape[1] - 1) // 2
        found += centred[:, i] * _products(weights[at : at + size], others)
        at += size
    return found


def _sums(values: FloatArray, exact: FloatArray) -> _Sums:
    return _Sums(float(values.mean()), float(values @ exact) / len(exact), float(values @ values) / len(exact))


def _agreement(
    whole: _Sums, others: list[_Sums], noise: float, exact: FloatArray, scale: float, *, noise_share: float, method: str = JACKKNIFE
) -> Agreement:
    """``scale`` times the scatter of the ``others`` is the error; their noise is ``noise_share`` times that of the whole."""
    power, mean, variance = max(float((exact**2).mean()), 1e-300), float(exact.mean()), float(exact.var())

    def figures(sums: _Sums, noise: float) -> tuple[float, float, float, float]:
        # Where noise is all there is, or one entry, the coefficient runs away with its error, and is not told.
        spread = max((sums.ss - noise - sums.s**2) * variance, 1e-300)
        correlation = (sums.sk - sums.s * mean) / math.sqrt(spread)
        residual = (sums.ss - noise - sums.sk**2 / power) / power
        return sums.sk / power, correlation, residual, (sums.ss - noise - 2 * sums.sk + power) / power

    value, raw = figures(whole, noise), figures(whole, 0.0)
    scatter = [float(value) for value in np.std([figures(sums, noise * noise_share) for sums in others], axis=0) * scale]
    share = noise / power
    attenuated = math.sqrt(variance / max(variance + noise, 1e-300))
    return Agreement(
        len(exact),
        Estimate(value[0], scatter[0], 1.0, method=method),
        Estimate(value[1], scatter[1], 1.0, raw[1], attenuated, method) if scatter[1] < LARGEST_ERROR else None,
        root_of_square(value[2], scatter[2], raw_square=raw[2], noise_square=share, method=method),
        root_of_square(value[3], scatter[3], raw_square=raw[3], noise_square=share, method=method),
    )


def click_agreement(
    clicks: FloatArray, pairs: NDArray[np.int64], triples: NDArray[np.int64], samples: FloatArray, exact: tuple[FloatArray, FloatArray]
) -> tuple[Agreement, Agreement]:
    """Two- and three-mode cumulants of clicks counted in blocks, against the ``exact`` ones of both orders."""
    number, total = samples.sum(), (clicks.sum(axis=0), pairs.sum(axis=0), triples.sum(axis=0))

    def moments(block: int | None) -> tuple[float, FloatArray, FloatArray, FloatArray]:
        if block is None:
            return number, total[0] / number, total[1] / number, total[2] / number
        rest = number - samples[block]
        return rest, (total[0] - clicks[block]) / rest, (total[1] - pairs[block]) / rest, (total[2] - triples[block]) / rest

    def two(block: int | None) -> FloatArray:
        rest, rates, products, _ = moments(block)
        return pair_cumulants(rates, products, rest)

    def three(block: int | None) -> FloatArray:
        rest, rates, products, third = moments(block)
        return triple_cumulants(rates, products, third, rest)

    blocks = len(samples)
    return agreement(two(None), two, blocks, exact[0]), agreement(three(None), three, blocks, exact[1])


def published_rates(published: Published, exact: FloatArray) -> Estimate:
    """The experiment's rates against the exact ones, with binomial noise."""
    variances = published.rates * (1 - published.rates) / published.samples
    off = published.rates - exact
    raw, noise = float((off**2).mean()), float(variances.mean())
    error = 2 * math.sqrt(float((off**2 * variances).sum())) / len(off)
    return root_of_square(raw - noise, error, raw_square=raw, noise_square=noise, method=BINOMIAL)


def published_click_agreement(
    published: Published, exact: tuple[FloatArray, FloatArray], shots: CountArray, generator: np.random.Generator
) -> tuple[Agreement | None, Agreement | None]:
    """The experiment's cumulants, as far as its moments are public.

    The sampling variance of a cumulant is that of the product of the modes' centred clicks, from the rates and the moments themselves. How
    they scatter together is taken from ``shots`` (number, modes), of a sampler near to the machine.
    """
    if published.pair_moments is None:
        return None, None
    centred = shots - shots.mean(axis=0)
    rates, number = published.rates, published.samples
    two = pair_cumulants(rates, published.pair_moments)
    first, second = np.triu_indices(len(rates), 1)
    spread, tilt = rates * (1 - rates), 1 - 2 * rates
    noise = np.maximum(spread[first] * spread[second] + tilt[first] * tilt[second] * two - two**2, 0.0)
    pairs = published_agreement(two, noise / number, exact[0], generator, scatter_together(two, noise, exact[0], centred))
    if published.triple_moments is None:
        return pairs, None
    three = triple_cumulants(rates, published.pair_moments, published.triple_moments)
    # The mean square of a product of three centred clicks; what pairs add to it is of second order and left out.
    i, j, k = _triples(len(rates))
    noise = spread[i] * spread[j] * spread[k]
    together = scatter_together(three, noise, exact[1], centred)
    return pairs, published_agreement(three, noise / number, exact[1], generator, together)


def _triples(modes: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """All i < j < k in lexicographic order."""
    j, k = np.triu_indices(modes, 1)
    first = [(np.full(int((j > i).sum()), i), j[j > i], k[j > i]) for i in range(modes)]
    return tuple(np.concatenate(part) for part in zip(*first, strict=True))  # type: ignore[return-value]
