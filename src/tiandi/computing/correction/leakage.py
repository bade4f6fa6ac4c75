"""Samples of a memory experiment with qubits that leak.

Each qubit of a two-qubit gate leaks with the coupler's probability. A gate with a leaked qubit leaves its partner depolarised; a leaked
qubit reads 0 or 1 alike; when it comes back, by a reset, by a leakage removal or by decay, it is in the maximally mixed state. Leaked
qubits do not pass their leakage on.

Whether a qubit is leaked does not depend on the Pauli errors, and what leakage does is Pauli errors at known places. So stim samples the
Pauli noise, the leaked qubits are followed beside it as a list, and what their Pauli errors flip is looked up and added: flips are linear.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tiandi.computing.correction.extraction import Memory, Stage, stim_module
from tiandi.computing.machines.lattice import IntArray

BoolTable = NDArray[np.bool_]
LARGEST_TABLE = 50_000_000
X, Z = 0, 1


@dataclass(frozen=True, eq=False)
class Samples:
    """``detectors`` (shots, detectors) and ``observable`` (shots,) as flips.

    ``leaked`` (rounds,): share of the code's qubits that are leaked at the end of each cycle, before any is brought back.
    """

    detectors: BoolTable
    observable: BoolTable
    leaked: NDArray[np.float64]


class Sampler:
    """Samples one experiment; without leakage it is stim's compiled sampler alone."""

    def __init__(self, experiment: Memory) -> None:
        noise, patch = experiment.noise, experiment.patch
        self._experiment, self._qubits = experiment, noise.lattice.qubit_count
        self._circuit = sum((stage.circuit for stage in experiment.stages), start=stim_module().Circuit())
        self._leaks = bool(noise.leaking.any())
        if not self._leaks:
            return
        self._signatures = _Signatures(experiment)
        coupler = noise.lattice.coupler_number()
        self._gates = {number: _Gates(stage, noise.leaking, coupler, self._qubits) for number, stage in _gate_stages(experiment)}
        self._stay = np.ones(self._qubits)
        self._stay[list(patch.data)] = (1 - noise.data_removal) * (1 - noise.settling)
        self._stay[[check.ancilla for check in patch.checks]] = (1 - noise.ancilla_removal) * (1 - noise.settling)

    def sample(self, shots: int, generator: np.random.Generator) -> Samples:
        """``shots`` runs."""
        sampler = self._circuit.compile_detector_sampler(seed=int(generator.integers(1 << 62)))
        detectors, observables = sampler.sample(shots, separate_observables=True)
        if not self._leaks:
            return Samples(detectors, observables[:, 0], np.zeros(self._experiment.rounds))
        points, runs, leaked = self._follow(shots, generator)
        observable = observables[:, 0].copy()
        self._signatures.add(points, runs, detectors, observable)
        return Samples(detectors, observable, leaked)

    def _follow(self, shots: int, generator: np.random.Generator) -> tuple[IntArray, IntArray, NDArray[np.float64]]:
        """Points of `_Signatures` that leakage flips, the shots in which it does, and the leaked shares."""
        # A leaked qubit is one number, qubit times shots plus shot; the list is sorted and holds each once.
        leaked = np.zeros(0, np.int64)
        found_points: list[IntArray] = []
        found_runs: list[IntArray] = []
        shares = []

        def scramble(stage: int, qubits: IntArray, runs: IntArray, letters: tuple[int, ...]) -> None:
            for letter in letters:
                chosen = generator.random(len(qubits)) < 0.5
                found_points.append(self._signatures.point(stage, letter, qubits[chosen]))
                found_runs.append(runs[chosen])

        for number, stage in enumerate(self._experiment.stages):
            qubits, runs = np.divmod(leaked, shots)
            if stage.kind == "readout":
                scramble(number, qubits, runs, (X,))
            elif stage.kind == "gates":
                gates = self._gates[number]
                partners = gates.partner[qubits]
                scramble(number, partners[partners >= 0], runs[partners >= 0], (X, Z))
                leaked = np.union1d(leaked, gates.leaking(shots, generator))
            elif stage.kind == "end of cycle":
                shares.append(len(leaked) / (len(self._experiment.patch.qubits) * shots))
                back = generator.random(len(leaked)) >= self._stay[qubits]
                scramble(number, qubits[back], runs[back], (X, Z))
                leaked = leaked[~back]
        return np.concatenate(found_points), np.concatenate(found_runs), np.array(shares)


def sample(experiment: Memory, shots: int, generator: np.random.Generator) -> Samples:
    """``shots`` runs of ``experiment``."""
    return Sampler(experiment).sample(shots, generator)


def _gate_stages(experiment: Memory) -> list[tuple[int, Stage]]:
    return [(number, stage) for number, stage in enumerate(experiment.stages) if stage.kind == "gates"]


class _Gates:
    """One layer of two-qubit gates: ``partner`` (qubits,) of each qubit, -1 for none."""

    def __init__(self, stage: Stage, rates: NDArray[np.float64], coupler: dict[tuple[int, int], int], qubits: int) -> None:
        pairs = np.array(stage.qubits, np.int64).reshape(-1, 2)
        self.partner = np.full(qubits, -1)
        self.partner[pairs[:, 0]], self.partner[pairs[:, 1]] = pairs[:, 1], pairs[:, 0]
        each = np.array([rates[coupler[min(pair), max(pair)]] for pair in pairs.tolist()])
        self._qubits, self._rates = pairs.T.ravel(), np.tile(-np.log1p(-each), 2)

    def leaking(self, shots: int, generator: np.random.Generator) -> IntArray:
        """Qubits that leak, as qubit times shots plus shot, perhaps several times the same.

        As many as of a Poisson process whose cells are hit at least once with just the probability of leaking.
        """
        counts = generator.poisson(self._rates * shots)
        return np.repeat(self._qubits, counts) * shots + generator.integers(shots, size=counts.sum())


class _Signatures:
    """What an X or a Z on one qubit flips, after each stage or, of a readout, before it: rows of detectors, and the observable."""

    def __init__(self, experiment: Memory) -> None:
        qubits = np.array(experiment.patch.qubits)
        self._place = np.full(experiment.noise.lattice.qubit_count, -1)
        self._place[qubits] = np.arange(len(qubits))
        self._size = len(qubits)
        acting = [number for number, stage in enumerate(experiment.stages) if stage.kind != "other"]
        self._number = {stage: number for number, stage in enumerate(acting)}
        bare = [stage.circuit.without_noise() for stage in experiment.stages]
        before = [stage.kind == "readout" for stage in experiment.stages]
        at_once = max(1, LARGEST_TABLE // (experiment.circuit.num_detectors * 2 * self._size))
        detectors, counts, observables = [], [], []
        for first in range(0, len(acting), at_once):
            flips, observable = _flips(bare, before, acting[first : first + at_once], qubits)
            row, detector = np.nonzero(flips)
            detectors.append(detector)
            counts.append(np.bincount(row, minlength=len(flips)))
            observables.append(observable)
        self._detectors, self._observable = np.concatenate(detectors), np.concatenate(observables)
        self._counts = np.concatenate(counts)
        self._first = np.cumsum(self._counts) - self._counts

    def point(self, stage: int, letter: int, qubits: IntArray) -> IntArray:
        """Row numbers of ``letter`` on ``qubits`` at ``stage``."""
        points: IntArray = (2 * self._number[stage] + letter) * self._size + self._place[qubits]
        return points

    def add(self, points: IntArray, runs: IntArray, detectors: BoolTable, observable: BoolTable) -> None:
        """Flip in ``detectors`` and ``observable``, in place, what ``points`` flip in the shots ``runs``."""
        counts = self._counts[points]
        within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        flipped = self._detectors[np.repeat(self._first[points], counts) + within]
        np.logical_xor.at(detectors, (np.repeat(runs, counts), flipped), True)
        np.logical_xor.at(observable, runs, self._observable[points])


def _flips(bare: list[object], before: list[bool], stages: list[int], qubits: IntArray) -> tuple[BoolTable, BoolTable]:
    """Detectors (points, detectors) and the observable (points,) that X, then Z, on each of ``qubits`` at each of ``stages`` flip."""
    size = 2 * len(qubits)
    frames = stim_module().FlipSimulator(batch_size=size * len(stages), disable_stabilizer_randomization=True)
    row_of = {stage: number * size for number, stage in enumerate(stages)}
    for number, circuit in enumerate(bare):
        if not before[number]:
            frames.do(circuit)
        if number in row_of:
            for place, (letter, qubit) in enumerate((letter, qubit) for letter in "XZ" for qubit in qubits.tolist()):
                frames.set_pauli_flip(letter, qubit_index=qubit, instance_index=row_of[number] + place)
        if before[number]:
            frames.do(circuit)
    return np.ascontiguousarray(frames.get_detector_flips().T), frames.get_observable_flips()[0]
