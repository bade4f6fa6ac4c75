"""Frequency allocation: idle frequencies of the whole chip that stay out of each other's way.

Each qubit may idle anywhere between its sweet spot and 260 MHz below. A plan costs, in arbitrary units that add up,
- for neighbours: closer than 55 MHz (exchange), within 35 MHz of one anharmonicity (exchange of 11 with 20 or 02), further apart than 330
  MHz (a gate would need a long way);
- for next-nearest neighbours: closer than 14 MHz (a drive pulse that crosstalk brings would turn them);
- for each alone: the distance from the sweet spot, where flux noise dephases, and a defect that was found nearby. Such conditions are
  those of Hertzberg et al. (doi 10.1038/s41534-021-00464-5), such searches those of Klimov et al. (doi 10.1038/s41467-024-46623-y);
  widths and weights are ours. Simulated annealing (Kirkpatrick et al., doi 10.1126/science.220.4598.671) with chances from a fixed seed,
  then descent. A qubit that still collides with a neighbour is flagged.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tiandi.computing.control.experiment import Findings, Measurement
from tiandi.computing.control.experiments.allocation_kernel import anneal
from tiandi.computing.control.experiments.arcs import arcs
from tiandi.computing.control.experiments.node import HOUR_S, Node, column, known, neighbours, verdicts
from tiandi.computing.control.experiments.qubit_spectroscopy import ASIDE_HZ
from tiandi.computing.control.knowledge import Flag, Knowledge
from tiandi.computing.instruments.instrument import copied
from tiandi.computing.instruments.program import FloatArray, IntArray
from tiandi.random import twin_generator

MHZ = 1e6
LOWEST_MHZ, STEP_MHZ = 260.0, 4.0
SWEEPS, HOT, COLD = 400, 3.0, 0.02
FAR_FROM_SWEET_SPOT = 1.0
"""Cost of 100 MHz below the sweet spot: flux noise acts with the slope, which grows with the root of the distance, as a variance."""
DEFECT_MHZ, DEFECT_COST = 8.0, 6.0
NEVER_MHZ = -1e6
"""Stands for a frequency that nobody knows; no plan heeds it."""
NEIGHBOURS_MHZ, DOUBLE_MHZ, NEXT_MHZ = 25.0, 10.0, 5.0
"""Closer than this is a collision: neighbours, neighbours by an anharmonicity, next-nearest."""


@dataclass(frozen=True, eq=False)
class Plan:
    """What `allocate` found."""

    frequency_hz: FloatArray
    """(qubits,): to idle at."""
    collisions: IntArray
    """(pairs, 2): neighbours that collide all the same."""
    next_nearest_pairs: int
    """Next-nearest neighbours closer than 5 MHz."""

    def lost(self, movable: IntArray) -> list[int]:
        """Few qubits of ``movable`` without whom no collision is left: the one with most of them first, the higher number of two alike."""
        left = [pair for pair in self.collisions.tolist() if np.isin(pair, movable).any()]
        lost: list[int] = []
        while left:
            count = {one: sum(one in pair for pair in left) for pair in left for one in pair if one in movable}
            lost.append(max(count, key=lambda one: (count[one], one)))
            left = [pair for pair in left if lost[-1] not in pair]
        return lost


def next_nearest(couplers: IntArray, qubits: int) -> IntArray:
    """(qubits, most): qubits two couplers away from each, -1 for none."""
    near = neighbours(couplers, qubits)
    beyond = np.where((near >= 0)[:, :, None], near[near], -1).reshape(qubits, -1)
    beyond = np.where(beyond == np.arange(qubits)[:, None], -1, beyond)
    beyond = -np.sort(-beyond, axis=1)
    beyond[:, 1:] = np.where(beyond[:, 1:] == beyond[:, :-1], -1, beyond[:, 1:])
    return np.ascontiguousarray(beyond)


def allocate(
    couplers: IntArray,
    *,
    top_hz: FloatArray,
    fixed_hz: FloatArray,
    anharmonicity_hz: FloatArray,
    defects_hz: FloatArray,
) -> Plan:
    """Plan idle frequencies. (qubits,) each: ``top_hz``, NaN for a qubit that does not move, which stays at ``fixed_hz``, NaN for unknown.

    defects_hz: (qubits, any number), frequencies to keep away from, NaN for none.
    """
    qubits = len(top_hz)
    movable = np.flatnonzero(np.isfinite(top_hz))
    grid = np.where(np.isfinite(top_hz), top_hz, 0.0)[:, None] / MHZ - np.arange(0.0, LOWEST_MHZ + STEP_MHZ, STEP_MHZ)
    own = np.broadcast_to(FAR_FROM_SWEET_SPOT * np.arange(grid.shape[1]) * STEP_MHZ / 100.0, grid.shape).copy()
    for defect in defects_hz.T / MHZ:
        own += DEFECT_COST * np.nan_to_num(np.maximum(1.0 - np.abs(grid - column(defect)) / DEFECT_MHZ, 0.0))
    frequency = np.where(np.isfinite(fixed_hz), fixed_hz / MHZ, NEVER_MHZ * (1.0 + np.arange(qubits)))
    near, beyond = neighbours(couplers, qubits), next_nearest(couplers, qubits)
    size = np.abs(anharmonicity_hz) / MHZ
    generator = twin_generator(0, "control", "frequency-allocation")
    proposals = generator.integers(0, grid.shape[1], (SWEEPS, len(movable)))
    anneal(grid, own, frequency, movable, near, beyond, size, proposals, generator.random(proposals.shape), HOT, COLD)
    first, second = couplers.T
    apart = np.abs(frequency[first] - frequency[second])
    bad = (apart < NEIGHBOURS_MHZ) | (np.abs(apart - size[first]) < DOUBLE_MHZ)
    far = np.where(beyond >= 0, np.abs(frequency[:, None] - frequency[beyond]), np.inf)
    return Plan(np.where(frequency > 0, frequency * MHZ, np.nan), couplers[bad], int((far < NEXT_MHZ).sum()) // 2)


@dataclass(frozen=True)
class FrequencyAllocation(Node):
    """planned_frequency_hz and idle_bias_v; sets biases and oscillators; flags collisions."""

    name: str = "frequency-allocation"
    title: str = "Frequency allocation"
    after: tuple[str, ...] = ("flux-crosstalk",)
    valid_s: float = 720.0 * HOUR_S

    def measure(self, knowledge: Knowledge, targets: IntArray) -> Measurement:
        electronics = knowledge.electronics
        every = np.arange(electronics.qubits)
        top = np.full(electronics.qubits, np.nan)
        top[targets] = knowledge["top_frequency_hz"][targets]
        plan = allocate(
            electronics.couplers,
            top_hz=top,
            fixed_hz=known(knowledge, "frequency_hz", every, np.nan),
            anharmonicity_hz=known(knowledge, "anharmonicity_hz", every, electronics.design_anharmonicity_hz),
            defects_hz=column(known(knowledge, "defect_hz", every, np.nan)),
        )
        arc = arcs(knowledge, targets)
        planned = np.minimum(plan.frequency_hz[targets], arc.top_hz)
        bias = arc.bias(planned, np.zeros(len(targets)))
        settings = copied(knowledge.settings)
        reached = np.isfinite(bias) & (np.abs(bias) < 0.9 * electronics.flux_limit_v)
        settings.flux_bias_v[knowledge.flux_line[targets[reached]]] = bias[reached]
        settings.oscillator_hz[knowledge.drive_line[targets]] = planned - ASIDE_HZ
        yield settings
        reason = f"no idle frequency keeps it apart from a neighbour; {len(plan.collisions)} such pairs are left on the chip"
        flags = [Flag("qubit", qubit, "collision", reason) for qubit in plan.lost(targets)]
        flagged = np.isin(targets, [flag.index for flag in flags])
        return Findings(
            {"planned_frequency_hz": planned, "idle_bias_v": bias},
            {"planned_frequency_hz": np.full(len(targets), 1e6), "idle_bias_v": np.full(len(targets), 1e-3)},
            verdicts(len(targets), (flagged, reason), (~reached, "the bias for its idle frequency is out of the line's reach")),
            flags,
        )
