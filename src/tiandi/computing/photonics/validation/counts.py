"""Detectors that count: first, second and third moments of the counts against the exact ones."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tiandi.computing.photonics.gaussian import FloatArray
from tiandi.computing.photonics.validation.estimates import Estimate, pooled_and_left_out
from tiandi.computing.photonics.validation.ideal import CountMoments
from tiandi.computing.photonics.validation.moments import Agreement, agreement, rate_error
from tiandi.computing.photonics.validation.tally import Plan, Tally


def count_agreement(tally: Tally, exact: CountMoments) -> tuple[Estimate, Agreement, Agreement]:
    """Mean counts, covariances of two modes (variances too), and third cumulants of the anchors with two other modes."""
    plan, samples = tally.plan, tally.samples
    close, size = plan.close, len(plan.close)
    upper = np.triu_indices(size)
    chosen = third_places(plan)
    means, left_means = pooled_and_left_out(tally.counts[:, close], samples)
    products, left_products = pooled_and_left_out(tally.products, samples)
    triples, left_triples = pooled_and_left_out(tally.triple_products, samples)
    number = float(samples.sum())

    def pairs(block: int | None) -> FloatArray:
        mean, product = (means, products) if block is None else (left_means[block], left_products[block])
        rest = number if block is None else number - samples[block]
        return np.asarray((product - np.outer(mean, mean))[upper] * (rest / (rest - 1)))

    def thirds(block: int | None) -> FloatArray:
        mean, product = (means, products) if block is None else (left_means[block], left_products[block])
        triple = triples if block is None else left_triples[block]
        rest = number if block is None else number - samples[block]
        found = third_cumulants(mean, product, triple, plan)[chosen]
        return np.asarray(found * (rest**2 / ((rest - 1) * (rest - 2))))

    blocks = len(samples)
    return (
        rate_error(tally.counts, samples, exact.rates),
        agreement(pairs(None), pairs, blocks, exact.pairs[upper]),
        agreement(thirds(None), thirds, blocks, exact.triples[chosen]),
    )


def third_cumulants(means: FloatArray, products: FloatArray, triples: FloatArray, plan: Plan) -> FloatArray:
    """(anchors, close, close), of mean products of all of them."""
    anchors = plan.anchors
    a = means[anchors][:, None, None]
    with_anchor = products[anchors]
    pairs = products - 2 * np.outer(means, means)
    crossed = with_anchor[:, :, None] * means + with_anchor[:, None, :] * means[:, None]
    return np.asarray(triples - a * pairs - crossed)


def third_places(plan: Plan) -> NDArray[np.bool_]:
    """(anchors, close, close): which third cumulants are of three different modes, each pair of others once."""
    size = len(plan.close)
    upper = np.triu(np.ones((size, size), bool), 1)
    chosen = np.repeat(upper[None], len(plan.anchors), axis=0)
    for number, anchor in enumerate(plan.anchors):
        chosen[number, anchor] = chosen[number, :, anchor] = False
    return chosen
