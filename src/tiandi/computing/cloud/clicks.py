"""What is told of the clicks in a photonic job beside what ideal light would give: far more modes than outcomes that repeat."""

from __future__ import annotations

import msgspec


class ClickFigure(msgspec.Struct, frozen=True, kw_only=True):
    """A figure and its standard error."""

    value: float
    error: float


class ClickAgreement(msgspec.Struct, frozen=True, kw_only=True):
    """How all measured two-mode cumulants agree with the ideal ones, without the sampling noise of single pairs.

    ``slope`` is sum(s k) / sum(k k) of measured s over ideal k; ``relative_error`` rms(s - k) / rms(k), below 0 where the noise is more.
    """

    slope: ClickFigure
    relative_error: ClickFigure


class ClickTotals(msgspec.Struct, frozen=True, kw_only=True):
    """How often each sum of counts came, from 0 on: all lists are as long. Of detectors with bins it is the sum of bins that click."""

    samples: list[int]
    ideal: list[float] | None
    """Probabilities; null where they were not worked out."""
    ideal_errors: list[float] | None
    """Their standard errors, 0 where they are exact."""
    ideal_mean: float | None
    """Exact, of sampled probabilities too."""
    source: str
    """Where the ideal ones come from, or why there are none."""
    experiment: list[float] | None
    """Published shares; null where the operator has not given the public data, or nothing is public of just these modes or this light."""


class ClickPairs(msgspec.Struct, frozen=True, kw_only=True):
    """Two-mode cumulants <ab> - <a><b> of clicks, of at most 2,000 pairs: half those with the strongest ideal ones, half evenly spread."""

    modes: list[tuple[int, int]]
    ideal: list[float]
    samples: list[float]
    experiment: list[float] | None
    """Null where the moments are not public."""
    all: int
    """Number of all pairs, which the agreements are of."""
    standard_error: float
    """Of the sampling noise of one pair, root mean square."""
    agreement: ClickAgreement | None
    """Of the samples; null of fewer than 1,000."""
    experiment_agreement: ClickAgreement | None


class ClickFigures(msgspec.Struct, frozen=True, kw_only=True):
    """Totals and correlations of the clicks of one circuit."""

    modes: list[int]
    """The modes told."""
    looked_at: list[int]
    """Those that the figures are of: all told ones up to 160, else 160 evenly spread among them."""
    totals: ClickTotals
    pairs: ClickPairs | None
    """Null where only totals were asked for, and of fewer than two modes or samples."""


class Clicks(ClickFigures, frozen=True, kw_only=True):
    """Totals and correlations of the clicks of one circuit of a photonic job."""

    job: str
    circuit: int
    shots: int
    engine: str
    why: str
