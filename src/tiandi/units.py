"""Conversions between units. Everything else in tiandi calls these instead of writing a factor."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Real = TypeVar("Real", float, NDArray[np.float64])

METRE_PER_KILOMETRE = 1000.0
RADIAN_PER_MICRORADIAN = 1e-6
METRE_PER_NANOMETRE = 1e-9
MICROMETRE_PER_NANOMETRE = 1e-3
SECOND_PER_PICOSECOND = 1e-12
WATT_PER_MILLIWATT = 1e-3
BIT_PER_BYTE = 8


def transmittance_from_loss(loss_db: Real) -> Real:
    """Fraction of the light that a loss of ``loss_db`` [dB] lets through."""
    return 10.0 ** (-loss_db / 10.0)


def loss_from_transmittance(transmittance: Real) -> Real:
    """Loss [dB] of a fraction of light let through."""
    return -10.0 * np.log10(transmittance)


def byte_from_bit(length_bit: int) -> int:
    """Whole bytes that hold ``length_bit`` bits."""
    return -(-length_bit // BIT_PER_BYTE)
