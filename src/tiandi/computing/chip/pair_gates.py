"""What a flux pulse on a coupler and its qubits does without decay and noise: for a judge of two-qubit gates."""

from __future__ import annotations

import numpy as np

from tiandi.computing.chip.bench import Bench
from tiandi.computing.chip.conditions import Conditions
from tiandi.computing.chip.evolution.pair import PairUnitaries, pair_unitaries
from tiandi.computing.chip.pairs import CELLS, PairPlay, pairs_of, samples_of
from tiandi.computing.chip.parameters import Hidden
from tiandi.computing.chip.playing import moment_ns
from tiandi.computing.instruments.instrument import Electronics, Settings
from tiandi.computing.instruments.program import Moment, Program
from tiandi.errors import InputError


def moment_unitaries(hidden: Hidden, electronics: Electronics, settings: Settings, now: Conditions, program: Program) -> PairUnitaries:
    """(targets, points): what the one moment of ``program``, flux pulses on couplers and qubits, does to each pair.

    Lines are at rest before it. Each qubit is seen in the frame of its own frequency. Raises InputError for a program of another form.
    """
    bench = Bench(hidden, electronics, settings, now)
    pairs = pairs_of(bench, program)
    if pairs is None or len(program.steps) != 1 or not isinstance(program.steps[0], tuple):
        raise InputError("program", f"{len(program.steps)} steps", "must be one moment with a flux pulse on couplers")
    moment: Moment = program.steps[0]
    play = PairPlay(bench, program, pairs)
    shape = (program.targets, program.points)
    length = np.broadcast_to(moment_ns(program, moment), shape)
    samples = samples_of(float(length.max()), moving=True)
    single, double = np.empty((*shape, 2, 2), np.complex128), np.empty((*shape, 3, 3), np.complex128)
    share = max(1, CELLS // (samples * program.points))
    for begin in range(0, program.targets, share):
        chosen = np.arange(begin, min(begin + share, program.targets))
        part = pair_unitaries(play.pulses(chosen, play.flux, np.zeros((len(chosen), program.points)), length[chosen], samples))
        single[chosen] = part.single.reshape(len(chosen), program.points, 2, 2)
        double[chosen] = part.double.reshape(len(chosen), program.points, 3, 3)
    apart = -1e9 * play.frame_rad_ns()[:, None]
    return PairUnitaries(single, double).seen_from(np.zeros_like(apart), apart, np.zeros(shape), 1e-9 * length)
