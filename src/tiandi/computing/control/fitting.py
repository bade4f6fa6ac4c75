"""Fits over all targets at once, for experiments: data (targets, points) in, values with uncertainties and goodness (targets,) out.

Each target is fitted by itself, all in step. What cannot be fitted is NaN and not ``good``; `diagnosing` says why in a sentence. First
guesses come of grids over all that is not linear, so that no guess has to be given. Own models: `levenberg_marquardt`.
"""

from __future__ import annotations

from tiandi.computing.control.fits.arcs import arc_bias, arc_frequency, fit_arc
from tiandi.computing.control.fits.clouds import Clouds, best_threshold, fit_clouds
from tiandi.computing.control.fits.decays import fit_benchmarking, fit_decay, fit_step_response
from tiandi.computing.control.fits.engine import Fit, Model, Solution, levenberg_marquardt, shot_noise, table
from tiandi.computing.control.fits.lines import fit_line, fit_lorentzian, fit_parabola, fit_resonator
from tiandi.computing.control.fits.oscillations import fit_damped_cosine

__all__ = [
    "Clouds",
    "Fit",
    "Model",
    "Solution",
    "arc_bias",
    "arc_frequency",
    "best_threshold",
    "fit_arc",
    "fit_benchmarking",
    "fit_clouds",
    "fit_damped_cosine",
    "fit_decay",
    "fit_line",
    "fit_lorentzian",
    "fit_parabola",
    "fit_resonator",
    "fit_step_response",
    "levenberg_marquardt",
    "shot_noise",
    "table",
]
