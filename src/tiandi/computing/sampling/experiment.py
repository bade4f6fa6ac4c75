"""One experiment of random circuit sampling on a machine's twin: circuit, cost, samples, their ideal amplitudes, cross entropy."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from tiandi.computing.circuits.circuit import Circuit
from tiandi.computing.circuits.noise import NoisyCircuit, without_noise
from tiandi.computing.engines.tensor_network import CONTRACTION_FLOP_PER_S, draw, estimate, ideal_cross_entropy, scaled_probabilities
from tiandi.computing.machines.lattice import PUBLISHED_SEQUENCE
from tiandi.computing.machines.prediction import predicted_cross_entropy, product_formula
from tiandi.computing.machines.sheets import Fact
from tiandi.computing.machines.twin import Twin, build_twin
from tiandi.computing.sampling.cross_entropy import (
    CrossEntropy,
    linear_cross_entropy,
    logarithmic_cross_entropy,
    product_of_parts,
)
from tiandi.computing.sampling.random_circuits import EASIER_SEQUENCE, KINDS, patches_of, random_circuit
from tiandi.errors import InputError
from tiandi.limits import require_within

MOST_SECONDS = 7 * 86400.0
MOST_MEMORY_BYTE = 2**35
ELIDED_SHARE = 4
"""An elided circuit lacks the gates between its halves in the first quarter of its cycles, and in one at least."""
USUAL_ENVELOPE = 1.7
"""Contractions for one sample of these circuits (label: measured)."""
IDEAL_DRAWS = 128
OVERHEAD_S = 3e-3
"""What a sample costs beside its arithmetic (label: measured)."""

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class Cost:
    """``flop`` real operations for one sample and its amplitude, ``memory_byte`` at a time, ``seconds`` for all samples on one core."""

    flop: float
    memory_byte: int
    seconds: float


@dataclass(frozen=True, eq=False)
class Experiment:
    """A circuit of ``kind`` on the ``qubits`` of a ``twin``, as meant and with its noise."""

    twin: Twin
    qubits: tuple[int, ...]
    cycles: int
    shots: int
    seed: int
    kind: str
    sequence: str
    circuit: Circuit
    noisy: NoisyCircuit

    @property
    def published(self) -> tuple[int, int, Fact] | None:
        """Qubits, cycles and cross entropy of the experiment reported of this machine, if there was one."""
        sheet = self.twin.sheet
        qubits, cycles = sheet.number("qubits_used"), sheet.number("cycles_used")
        if qubits is None or cycles is None or "xeb" not in sheet.facts:
            return None
        return round(qubits), round(cycles), sheet.facts["xeb"]

    def cost(self) -> Cost:
        """What it costs; the first call looks for the path. Raises InputError, with the cost, where it is beyond a week or 32 GiB."""
        checking, memory = estimate(without_noise(self.circuit), open_qubits=0)
        # Where the amplitudes alone are beyond it, no path for the samples is looked for.
        self._within_reach(checking, memory)
        sampling, other_memory = estimate(self.noisy)
        return self._within_reach(USUAL_ENVELOPE * sampling + checking, max(memory, other_memory))

    def _within_reach(self, flop: float, memory_byte: int) -> Cost:
        cost = Cost(flop, memory_byte, (self.shots + IDEAL_DRAWS) * (flop / CONTRACTION_FLOP_PER_S + OVERHEAD_S))
        if cost.seconds > MOST_SECONDS or cost.memory_byte > MOST_MEMORY_BYTE:
            days, size = cost.seconds / 86400, memory_byte / 2**30
            text = f"at least {flop:.1e} operations a sample, {days:,.1e} days and {size:,.0f} GiB in all"
            others = ["fewer cycles, qubits or shots", *(f"the circuit {kind}" for kind in ("patch", "elided") if kind != self.kind)]
            if self.sequence != EASIER_SEQUENCE:
                others.append(f"the easier sequence {EASIER_SEQUENCE}")
            raise InputError("cost", text, f"must be at most 7 days and 32 GiB: try {', '.join(others)}")
        return cost


@dataclass(frozen=True, eq=False)
class Result:
    """``scaled`` (parts, shots): 2**n times each sample's ideal probability, for each part of n qubits that no gate joins to others.

    Cross entropies are products over the parts, of which there is more than one in patch circuits alone. ``ideal`` is what a machine
    without noise gives for this circuit (1 where it is deep); ``expected`` and ``product`` are what of that the twin's noise should
    leave, by `predicted_cross_entropy` and by the product formula.
    """

    scaled: NDArray[np.float64]
    linear: CrossEntropy
    logarithmic: CrossEntropy
    ideal: float
    expected: float
    expected_error: float
    product: float
    proposals: int
    cut: float
    seconds: float


def prepare(
    machine: str,
    *,
    qubits: int,
    cycles: int,
    shots: int,
    seed: int = 1,
    circuit: str = "full",
    sequence: str = PUBLISHED_SEQUENCE,
) -> Experiment:
    """The experiment, its circuit as by `random_circuit`.

    Raises InputError for a machine without twin or patterns, a size it does not have, an unknown ``circuit`` or ``sequence``.
    """
    if circuit not in KINDS:
        raise InputError("circuit", circuit, f"must be one of {', '.join(KINDS)}")
    require_within("shots", shots, 2, 10**8)
    twin = build_twin(machine, seed=seed)
    require_within("qubits", qubits, 2 if circuit == "full" else 4, twin.lattice.qubit_count)
    taken = twin.subset(qubits)
    broken = {
        (int(first), int(second))
        for (first, second), works in zip(twin.lattice.couplers, twin.calibration.coupler_works, strict=True)
        if not works
    }
    made = random_circuit(
        twin.lattice,
        taken,
        cycles,
        sequence=sequence,
        seed=seed,
        patches=() if circuit == "full" else patches_of(twin.lattice, taken),
        elided_cycles=max(1, cycles // ELIDED_SHARE) if circuit == "elided" else None,
        without=broken,
    )
    return Experiment(twin, taken, cycles, shots, seed, circuit, sequence, made, twin.noisy(made))


def run(experiment: Experiment, *, progress: Progress | None = None) -> Result:
    """Samples with full noise, and each one's ideal amplitude; ``progress`` hears what is done, how much of it and of how much."""
    tell = progress or (lambda what, done, total: None)
    began = time.monotonic()
    sampled = draw(experiment.noisy, experiment.shots, seed=experiment.seed, progress=partial(tell, "sampling"))
    scaled = scaled_probabilities(experiment.circuit, sampled.bits, progress=partial(tell, "checking"))
    left, left_error = predicted_cross_entropy(experiment.noisy)
    ideal, ideal_error = ideal_cross_entropy(experiment.circuit, draws=IDEAL_DRAWS, seed=experiment.seed)
    return Result(
        scaled,
        product_of_parts([linear_cross_entropy(part) for part in scaled]),
        product_of_parts([logarithmic_cross_entropy(part) for part in scaled]),
        ideal,
        ideal * left,
        math.hypot(ideal * left_error, ideal_error * left),
        ideal * product_formula(experiment.noisy),
        sampled.proposals,
        sampled.cut,
        time.monotonic() - began,
    )
