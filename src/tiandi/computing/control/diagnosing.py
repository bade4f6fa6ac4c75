"""Why a measurement failed, in a sentence, and what would help: read off the fit and the data. Nothing is tried again without a reason."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tiandi.computing.control.fits.engine import Fit
from tiandi.computing.instruments.program import FloatArray

Remedy = Literal["", "widen", "shift", "lengthen", "shorten", "refine", "power", "average"]
"""What to do next: scan a wider range, scan around another place, longer or shorter times, finer steps, stronger pulses, more shots."""

_SIGNIFICANT = 30.0
"""Chi square that a model must take away from a constant before a signal is believed: five parameters do so by chance once in 1e5 scans,
once in 1e3 where the best of a hundred places was chosen."""
_MISFIT, _COARSE = 5.0, 0.05
"""Reduced chi square, and residuals as a share of the swing, above which a model does not describe the data."""
_SECOND, _SECOND_SIGMA = 0.35, 7.0
"""A second line counts from this share of the first's height, and from so many standard deviations."""
_EDGE = 0.04
"""Share of a scan that counts as its edge."""


@dataclass(eq=False)
class Diagnosis:
    """For each target what is wrong ("" for nothing) and the remedy ("" where none is known). The first thing found counts."""

    verdicts: NDArray[np.object_]
    remedies: NDArray[np.object_]

    @classmethod
    def clean(cls, targets: int) -> Diagnosis:
        """Nothing wrong with any of them yet."""
        return cls(np.full(targets, "", object), np.full(targets, "", object))

    @property
    def good(self) -> NDArray[np.bool_]:
        """(targets,)."""
        return np.asarray(self.verdicts == "", bool)

    def needs(self, *remedies: Remedy) -> NDArray[np.int64]:
        """Positions of the targets that one of these would help."""
        return np.flatnonzero(np.isin(self.remedies.astype(str), remedies))

    def blame(self, where: NDArray[np.bool_], sentence: str, remedy: Remedy = "", **numbers: ArrayLike) -> None:
        """Note ``sentence`` for targets that are still good. ``{name}`` in it is replaced by the target's element of ``numbers``, as
        text.
        """
        for target in np.flatnonzero(where & self.good):
            words = {name: np.broadcast_to(np.asarray(values), where.shape)[target] for name, values in numbers.items()}
            self.verdicts[target] = sentence.format(**words)
            self.remedies[target] = remedy


def diagnose(
    fit: Fit,
    kind: Literal["line", "oscillation", "decay", "extremum", "any"],
    *,
    unit: str = "",
    y_name: str = "signal",
    least_swing: ArrayLike = 0.0,
    one_line: bool = True,
) -> Diagnosis:
    """What is wrong with a fit. ``unit``: of x, as "Hz", "s" or "V"; ``least_swing``: how far y must move within the scan, or (targets,).

    line: of `fit_lorentzian` or `fit_resonator`; oscillation: of `fit_damped_cosine`; decay: of `fit_decay` or `fit_benchmarking`;
    extremum: of `fit_parabola`; any: no more than whether there is a signal that the model describes. ``one_line``: a second line is a
    fault.
    """
    found = Diagnosis.clean(len(fit.y))
    there = np.isfinite(fit.y)
    found.blame(there.sum(axis=1) < 3, "hardly any data came back: {count} points", count=there.sum(axis=1))
    signal = significance(fit)
    found.blame(
        np.where(fit.good, signal, _roughness(fit)) < _SIGNIFICANT,
        "no signal: " + y_name + " scatters by {noise} around {mean} and does nothing else over {span}",
        "power", noise=_texts(_scatter(fit), ""), mean=_texts(_mean(fit), ""), span=_texts(np.ptp(fit.x, axis=1), unit),
    )  # fmt: skip
    if kind == "oscillation":
        found.blame(
            ~fit.good, y_name + " bends, but shows no whole period within {span}", "lengthen", span=_texts(np.ptp(fit.x, axis=1), unit)
        )
    found.blame(~fit.good, y_name + " changes, but not as the model says", "average")
    found.blame(
        fit.swing < np.asarray(least_swing, float),
        "contrast too small: " + y_name + " moves by {swing} and {least} was expected",
        "power", swing=_texts(fit.swing, ""), least=_texts(np.broadcast_to(np.asarray(least_swing, float), signal.shape), ""),
    )  # fmt: skip
    _KINDS[kind](fit, found, unit, one_line)
    misfit = (fit.chi_square > _MISFIT) & (fit.noise > _COARSE * fit.swing)
    found.blame(
        misfit,
        "the data scatter {times:.1f} times more than shots explain: something drifts or jumps, or the model is wrong",
        "average", times=np.sqrt(np.where(misfit, fit.chi_square, 1.0)),
    )  # fmt: skip
    return found


def explained(failed: NDArray[np.bool_], diagnosis: Diagnosis, otherwise: str) -> NDArray[np.object_]:
    """(targets,): for those that ``failed`` what the diagnosis says, or ``otherwise`` where it finds nothing; "" for the rest."""
    return np.where(failed, np.where(diagnosis.good, otherwise, diagnosis.verdicts), "").astype(object)


def significance(fit: Fit) -> FloatArray:
    """(targets,): how much chi square the model takes away from a constant, in units of what is left per point; 0 where there is no fit."""
    there = np.isfinite(fit.y)
    count = np.maximum(there.sum(axis=1), 1)
    total = (np.where(there, fit.y - _mean(fit)[:, None], 0.0) ** 2).sum(axis=1)
    left = np.where(fit.good, (np.where(there, fit.y - np.where(fit.good[:, None], fit.model, 0.0), 0.0) ** 2).sum(axis=1), total)
    return np.asarray((total - left) / np.maximum(left / count, 1e-300), float)


def _roughness(fit: Fit) -> FloatArray:
    """(targets,): the same as `significance` for data without a fit, from how much smaller steps between neighbours are than the scatter.

    White noise gives von Neumann's ratio of 2 within 2 / sqrt(points); a signal gives less.
    """
    there = np.isfinite(fit.y)
    data = np.where(there, fit.y, _mean(fit)[:, None])
    variance = data.var(axis=1)
    ratio = (np.diff(data, axis=1) ** 2).mean(axis=1) / np.maximum(variance, 1e-300)
    points = fit.y.shape[1]
    return np.where(variance > 0, np.maximum((2.0 - ratio) * np.sqrt(points) / 2.0, 0.0) ** 2, 0.0)


def _mean(fit: Fit) -> FloatArray:
    there = np.isfinite(fit.y)
    return np.asarray(np.where(there, fit.y, 0.0).sum(axis=1) / np.maximum(there.sum(axis=1), 1), float)


def _scatter(fit: Fit) -> FloatArray:
    there = np.isfinite(fit.y)
    square = (np.where(there, fit.y - _mean(fit)[:, None], 0.0) ** 2).sum(axis=1) / np.maximum(there.sum(axis=1), 1)
    return np.asarray(np.sqrt(square), float)


def _line(fit: Fit, found: Diagnosis, unit: str, one_line: bool) -> None:
    first, last = fit.x.min(axis=1), fit.x.max(axis=1)
    span, spacing = last - first, (last - first) / max(fit.x.shape[1] - 1, 1)
    centre, width = fit["centre"], fit["width"]
    edge = np.maximum(_EDGE * span, np.minimum(0.5 * width, 0.15 * span))
    words = {"centre": _texts(centre, unit), "width": _texts(width, unit), "span": _texts(span, unit), "spacing": _texts(spacing, unit)}
    found.blame(width > 0.6 * span, "the line is {width} wide, the scan only {span}", "widen", **words)
    found.blame(
        (centre < first + edge) | (centre > last - edge), "the line at {centre} lies at the edge of the scan of {span}", "shift", **words
    )
    found.blame(width < 0.8 * spacing, "the line is narrower than the steps of {spacing}: a single point stands out", "refine", **words)
    if one_line:
        other, share = second_line(fit)
        found.blame(
            share > _SECOND,
            "two lines where one was expected: at {centre}, and at {other} with {share:.0%} of its height",
            "", centre=words["centre"], other=_texts(other, unit), share=np.nan_to_num(share),
        )  # fmt: skip


def second_line(fit: Fit) -> tuple[FloatArray, FloatArray]:
    """Where the strongest line is that a fit of one line leaves over, and its height as a share of the first's; 0 where it may be noise."""
    there = np.isfinite(fit.y) & np.isfinite(fit.model)
    left = np.where(there, fit.y - fit.model, 0.0)
    points = fit.x.shape[1]
    width = np.nan_to_num(fit["width"] / np.maximum(np.ptp(fit.x, axis=1), 1e-300), nan=0.1)
    reach = np.clip(np.round(width * points / 2.0), 0, points // 6).astype(np.int64)
    total = np.concatenate([np.zeros((len(left), 1)), np.cumsum(left, axis=1)], axis=1)
    columns, rows = np.arange(points), np.arange(len(left))
    low, high = np.maximum(columns - reach[:, None], 0), np.minimum(columns + reach[:, None] + 1, points)
    mean = (total[rows[:, None], high] - total[rows[:, None], low]) / (high - low)
    away = np.abs(fit.x - fit["centre"][:, None]) > 1.5 * fit["width"][:, None]
    sign = np.sign(
        np.where(
            fit.good, fit.y[rows, np.abs(np.nan_to_num(fit.model - np.median(fit.model, axis=1)[:, None])).argmax(axis=1)] - _mean(fit), 1
        )
    )
    answer = np.where(away, mean * np.nan_to_num(sign, nan=1.0)[:, None], -np.inf)
    place = answer.argmax(axis=1)
    height = np.maximum(answer[rows, place], 0.0)
    quiet = 1.4826 * np.median(np.abs(left), axis=1)
    sure = height * np.sqrt((high - low)[rows, place]) > _SECOND_SIGMA * np.maximum(quiet, 1e-300)
    return fit.x[rows, place], np.where(sure & fit.good, height / np.maximum(fit.swing, 1e-300), 0.0)


def _oscillation(fit: Fit, found: Diagnosis, unit: str, _: bool) -> None:
    span = np.ptp(fit.x, axis=1)
    spacing = span / max(fit.x.shape[1] - 1, 1)
    frequency, rate = fit["frequency"], fit["rate"]
    with np.errstate(all="ignore"):
        period = 1.0 / frequency
    words = {"period": _texts(period, unit), "span": _texts(span, unit), "spacing": _texts(spacing, unit)}
    found.blame(frequency * span < 0.7, "the period of {period} is too long for the window of {span}", "lengthen", **words)
    found.blame(
        frequency * spacing > 0.45,
        "the period of {period} is hardly two steps of {spacing}: the oscillation may be aliased",
        "refine", **words,
    )  # fmt: skip
    found.blame(rate > 2.0 * frequency, "the oscillation decays before a period of {period} has passed", "shorten", **words)


def _decay(fit: Fit, found: Diagnosis, unit: str, _: bool) -> None:
    span = np.ptp(fit.x, axis=1)
    spacing = span / max(fit.x.shape[1] - 1, 1)
    with np.errstate(all="ignore"):
        time = fit["time"] if "time" in fit.values else -1.0 / np.log(fit["decay"])
    words = {"time": _texts(time, unit), "span": _texts(span, unit), "spacing": _texts(spacing, unit)}
    unsure = fit.uncertainties["time"] > 0.4 * np.abs(time) if "time" in fit.values else np.zeros(len(time), bool)
    found.blame(
        (time < 0) | (time > 4.0 * span) | (unsure & (time > span)), "the decay is too slow for the window of {span}", "lengthen", **words
    )
    smallest = np.diff(np.sort(fit.x, axis=1), axis=1)[:, :2].max(axis=1)
    found.blame(time < smallest, "the decay, {time}, is over within the first steps of the window of {span}", "shorten", **words)


def _extremum(fit: Fit, found: Diagnosis, unit: str, _: bool) -> None:
    first, last = fit.x.min(axis=1), fit.x.max(axis=1)
    edge = _EDGE * (last - first)
    place = fit["extremum"]
    found.blame(
        (place < first + edge) | (place > last - edge),
        "the extremum at {place} lies at the edge of the scan from {first} to {last} or beyond",
        "shift", place=_texts(place, unit), first=_texts(first, unit), last=_texts(last, unit),
    )  # fmt: skip


def _any(fit: Fit, found: Diagnosis, unit: str, one_line: bool) -> None:
    """No more to be said."""


_KINDS = {"line": _line, "oscillation": _oscillation, "decay": _decay, "extremum": _extremum, "any": _any}


def _texts(values: ArrayLike, unit: str) -> NDArray[np.object_]:
    """(targets,): numbers as short text with a prefix to their unit."""
    return np.array([amount(float(value), unit) for value in np.asarray(values, float)], object)


_PREFIXES = ((1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""), (1e-3, "m"), (1e-6, "u"), (1e-9, "n"), (1e-12, "p"))


def amount(value: float, unit: str) -> str:
    """A number as people write it: 5.12 GHz, 34 us, 0.012; three digits, or seven for a frequency above 1 GHz."""
    if not np.isfinite(value):
        return "unknown"
    if not unit or value == 0.0:
        return f"{value:.3g} {unit}".rstrip()
    size, prefix = next((entry for entry in _PREFIXES if abs(value) >= entry[0]), _PREFIXES[-1])
    return f"{value / size:.{7 if unit == 'Hz' and size == 1e9 else 3}g} {prefix}{unit}"
