"""Minimum-weight perfect matching by pymatching: Higgott and Gidney, Quantum 9, 1600 (2025), doi:10.22331/q-2025-01-20-1600.

Correlated matching matches twice; what the first pass finds of a Y error makes its other half cheaper in the second.
"""

from __future__ import annotations

from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from tiandi.computing.correction.leakage import BoolTable
from tiandi.errors import InputError

Method = Literal["plain", "correlated"]
METHODS: tuple[Method, ...] = get_args(Method)


class Decoder:
    """A matching decoder for one circuit, whose errors it takes for what happens. Raises InputError where pymatching is not installed."""

    def __init__(self, circuit: Any, method: Method = "correlated") -> None:
        if method not in METHODS:
            raise InputError("decoder", method, f"must be one of {', '.join(METHODS)}")
        try:
            from pymatching import Matching  # noqa: PLC0415 - an extra, and slow to load
        except ImportError as error:
            raise InputError("decoder", method, "needs the extra: pip install 'tiandi[computing]'") from error
        model = circuit.detector_error_model(decompose_errors=True, approximate_disjoint_errors=True)
        self._correlated = method == "correlated"
        self._matching = Matching.from_detector_error_model(model, enable_correlations=self._correlated)

    def decode(self, detectors: BoolTable) -> BoolTable:
        """Whether the logical operator was flipped, shape (shots,), by what ``detectors`` (shots, detectors) say."""
        predictions: NDArray[np.uint8] = self._matching.decode_batch(detectors, enable_correlations=self._correlated)
        return predictions[:, 0].astype(bool)
