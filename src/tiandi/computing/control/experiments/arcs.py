"""The arcs of some qubits as they are known, and biases on them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tiandi.computing.control.experiments.node import known
from tiandi.computing.control.fitting import arc_bias, arc_frequency
from tiandi.computing.control.knowledge import Knowledge
from tiandi.computing.instruments.program import FloatArray, IntArray

STEP_V = 1e-5
ALIKE_V = 1e-6
"""Two biases about equally near: from the sweet spot rounding must not choose between them, now one and now the other."""


@dataclass(frozen=True, eq=False)
class Arcs:
    """(targets,) each; biases are absolute, static bias and pulse together."""

    top_hz: FloatArray
    sweet_v: FloatArray
    period_v: FloatArray
    asymmetry: FloatArray
    anharmonicity_hz: FloatArray

    def frequency(self, bias_v: FloatArray) -> FloatArray:
        """(targets,) or (targets, points): at a bias."""
        extra = (slice(None), *(None,) * (np.ndim(bias_v) - 1))
        return arc_frequency(
            bias_v,
            top_hz=self.top_hz[extra],
            offset_v=self.sweet_v[extra],
            period_v=self.period_v[extra],
            asymmetry=self.asymmetry[extra],
            anharmonicity_hz=self.anharmonicity_hz[extra],
        )

    def slope(self, bias_v: FloatArray) -> FloatArray:
        """Hz per volt at a bias."""
        return (self.frequency(bias_v + STEP_V) - self.frequency(bias_v - STEP_V)) / (2.0 * STEP_V)

    def bias(self, frequency_hz: FloatArray, near_v: FloatArray) -> FloatArray:
        """(targets,): of the two biases at which the arc has a frequency, the one nearer to ``near_v``, above the sweet spot if both
        are; NaN where it does not reach it."""
        above = arc_bias(
            frequency_hz,
            top_hz=self.top_hz,
            offset_v=self.sweet_v,
            period_v=self.period_v,
            asymmetry=self.asymmetry,
            anharmonicity_hz=self.anharmonicity_hz,
        )
        below = 2.0 * self.sweet_v - above
        return np.where(np.abs(above - near_v) <= np.abs(below - near_v) + ALIKE_V, above, below)


def arcs(knowledge: Knowledge, targets: IntArray) -> Arcs:
    """KeyError where no arc was ever measured."""
    return Arcs(
        knowledge["top_frequency_hz"][targets],
        knowledge["sweet_spot_v"][targets],
        knowledge["volt_per_flux_quantum"][targets],
        knowledge["asymmetry"][targets],
        known(knowledge, "anharmonicity_hz", targets, knowledge.electronics.design_anharmonicity_hz[targets]),
    )
