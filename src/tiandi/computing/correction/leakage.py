"""Samples of a memory experiment with qubits that leak.

A leaked qubit stands beside the Pauli frame, which stim's `FlipSimulator` carries for a whole batch of shots: it is a mark per qubit and
shot. Each qubit of a two-qubit gate leaks with the coupler's probability. A gate with a leaked qubit leaves its partner depolarised; a
leaked qubit reads 0 or 1 alike; when it comes back, by a reset, by a leakage removal or by decay, it is in the maximally mixed state.
Leaked qubits do not pass their leakage on.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tiandi.computing.correction.extraction import Memory, Stage, stim_module

BoolTable = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Samples:
    """``detectors`` (shots, detectors) and ``observable`` (shots,) as flips; ``leaked``: share of the code's qubits by cycle, before any is
    brought back."""

    detectors: BoolTable
    observable: BoolTable
    leaked: NDArray[np.float64]


def sample(experiment: Memory, shots: int, generator: np.random.Generator) -> Samples:
    """``shots`` runs of ``experiment``; without leakage in its noise stim's compiled sampler is used, which is faster."""
    seed = int(generator.integers(1 << 62))
    if not experiment.noise.leaking.any():
        detectors, observables = experiment.circuit.compile_detector_sampler(seed=seed).sample(shots, separate_observables=True)
        return Samples(detectors, observables[:, 0], np.zeros(experiment.rounds))
    return _Batch(experiment, shots, seed, generator).run()


class _Batch:
    """One batch of shots: the frames, and which qubits are leaked, shape (qubits, shots)."""

    def __init__(self, experiment: Memory, shots: int, seed: int, generator: np.random.Generator) -> None:
        self._experiment, self._shots, self._generator = experiment, shots, generator
        noise, patch = experiment.noise, experiment.patch
        self._frames = stim_module().FlipSimulator(batch_size=shots, num_qubits=noise.lattice.qubit_count, seed=seed)
        self._leaked = np.zeros((noise.lattice.qubit_count, shots), bool)
        coupler = noise.lattice.coupler_number()
        self._rate = {pair: -np.log1p(-noise.leaking[number]) for pair, number in coupler.items()}
        stay = np.ones(noise.lattice.qubit_count)
        stay[list(patch.data)] = (1 - noise.data_removal) * (1 - noise.settling)
        stay[[check.ancilla for check in patch.checks]] = (1 - noise.ancilla_removal) * (1 - noise.settling)
        self._stay = stay
        self._size = len(patch.qubits)

    def run(self) -> Samples:
        shares = []
        for stage in self._experiment.stages:
            if stage.kind == "readout":
                qubit, shot = np.nonzero(self._leaked)
                self._scramble(qubit, shot, letters=(1,))
            self._frames.do(stage.circuit)
            if stage.kind == "gates":
                self._gate(stage)
            elif stage.kind == "end of cycle":
                shares.append(self._leaked.sum() / (self._size * self._shots))
                self._bring_back()
        detectors = np.ascontiguousarray(self._frames.get_detector_flips().T)
        return Samples(detectors, self._frames.get_observable_flips()[0], np.array(shares))

    def _gate(self, stage: Stage) -> None:
        pairs = np.array(stage.qubits, np.int64)
        partners, shots = [], []
        for side in (0, 1):
            place, shot = np.nonzero(self._leaked[pairs[:, side]])
            partners.append(pairs[place, 1 - side])
            shots.append(shot)
        self._scramble(np.concatenate(partners), np.concatenate(shots))
        rates = np.array([self._rate[min(pair), max(pair)] for pair in pairs.tolist()])
        for side in (0, 1):
            # As many points as of a Poisson process whose cells are hit at least once with just the probability of leaking.
            counts = self._generator.poisson(rates * self._shots)
            self._leaked[np.repeat(pairs[:, side], counts), self._generator.integers(self._shots, size=counts.sum())] = True

    def _bring_back(self) -> None:
        qubit, shot = np.nonzero(self._leaked)
        back = self._generator.random(len(qubit)) >= self._stay[qubit]
        self._leaked[qubit[back], shot[back]] = False
        self._scramble(qubit[back], shot[back])

    def _scramble(self, qubits: NDArray[np.int64], shots: NDArray[np.int64], *, letters: tuple[int, ...] = (1, 3)) -> None:
        """Flip each of ``qubits`` in its shot by X and by Z, each with probability 1/2."""
        if not len(qubits):
            return
        for letter in letters:
            mask = np.zeros_like(self._leaked)
            chosen = self._generator.random(len(qubits)) < 0.5
            np.logical_xor.at(mask, (qubits[chosen], shots[chosen]), True)
            self._frames.broadcast_pauli_errors(pauli=letter, mask=mask)
