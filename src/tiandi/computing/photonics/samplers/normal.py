"""The normal distribution's function and its inverse in single precision, many at a time: 20 times as fast as to the last bit."""

from __future__ import annotations

import numpy as np

from tiandi.computing.photonics.samplers.light import Float32Array

LOGISTIC = (1.595435661, 0.073596522, -0.000631616)
LARGEST_SQUARE = 60.0
"""Of x, beyond which the polynomial would turn round."""
NUMERATOR = (0.626538411268608, 0.040254137855430784, 0.000406518158504685, 3.9256032295876466e-07)
DENOMINATOR = (1.0, 0.0819560297714157, 0.0011906373608314388, 2.1730769492980363e-06)


def normal_probability(values: Float32Array) -> Float32Array:
    """Phi of each of ``values``, which are used up: 1 / (1 + exp(-x P(x^2))), fitted by us, wrong by less than 2e-5."""
    squares = np.square(values)
    np.minimum(squares, np.float32(LARGEST_SQUARE), out=squares)
    values *= _polynomial(squares, LOGISTIC)
    np.negative(values, out=values)
    np.exp(values, out=values)
    values += np.float32(1)
    return np.reciprocal(values, out=values)


def normal_quantile(probabilities: Float32Array) -> Float32Array:
    """Phi^-1 of probabilities in [1e-6, 1 - 1e-6]: a rational function of ln(p / (1 - p)), fitted by us, wrong by less than 6e-5."""
    odds = np.log(probabilities)
    odds -= np.log1p(-probabilities)
    squares = np.square(odds)
    odds *= _polynomial(squares, NUMERATOR)
    odds /= _polynomial(squares, DENOMINATOR)
    return odds


def normal_density(values: Float32Array) -> Float32Array:
    """phi of each of ``values``."""
    density = np.square(values)
    density *= np.float32(-0.5)
    np.exp(density, out=density)
    density *= np.float32(1 / np.sqrt(2 * np.pi))
    return density


def _polynomial(values: Float32Array, coefficients: tuple[float, ...]) -> Float32Array:
    """Coefficients in rising order."""
    total = np.full_like(values, np.float32(coefficients[-1]))
    for coefficient in coefficients[-2::-1]:
        total *= values
        total += np.float32(coefficient)
    return total
