"""Circuits of random circuit sampling, whole, cut into patches, or nearly so.

Arute et al., Nature 574, 505 (2019), doi:10.1038/s41586-019-1666-5; Wu et al. (Zuchongzhi 2.0), Phys. Rev. Lett. 127, 180501 (2021),
doi:10.1103/PhysRevLett.127.180501. A cycle is a layer of one-qubit gates, each drawn from the roots of X, Y and W = (X + Y)/sqrt(2) and
never the one that its qubit had before, and a layer of fSim gates on the couplers of one pattern. A last layer of one-qubit gates
stands before the measurement. The patterns follow each other as ABCDCDAB in the papers; in the order ADCBCBAD, which is ours, gates
join the rows pair by pair, and circuits are far easier to contract.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import rustworkx
from numpy.typing import NDArray

from tiandi.computing.circuits.circuit import BARRIER, MEASURE, Circuit, Operation
from tiandi.computing.machines.lattice import NO_PATTERN, PUBLISHED_SEQUENCE, Lattice
from tiandi.errors import InputError
from tiandi.limits import require_each_within, require_within
from tiandi.random import twin_generator

FloatArray = NDArray[np.float64]

EASIER_SEQUENCE = "ADCBCBAD"
"""Two cycles between one half of the pairs of neighbouring rows, two between the other half: of no paper, and far easier to contract."""
LAYERS = "ABCD"
MOST_LAYERS = 64
MOST_CYCLES = 1000
KINDS = ("full", "patch", "elided")
_HALF_PI = math.pi / 2
_ROOTS = (("sx", ()), ("sy", ()), ("rxy", (_HALF_PI, math.pi / 4)))

SWAP_ANGLE_RAD, PHASE_ANGLE_RAD = _HALF_PI, math.pi / 6
"""Mean angles of the gates of Sycamore and Zuchongzhi 2 (label: recalled)."""
ANGLE_SPREAD_RAD = 0.05
"""Standard deviation over the couplers (label: assumed)."""


@dataclass(frozen=True, eq=False)
class CouplerAngles:
    """``theta_rad`` and ``phi_rad``, both (couplers,): what fSim each coupler makes."""

    theta_rad: FloatArray
    phi_rad: FloatArray


def drawn_angles(lattice: Lattice, *, seed: int = 1, spread_rad: float = ANGLE_SPREAD_RAD) -> CouplerAngles:
    """Angles around the published kind's means, one pair a coupler, always the same for a ``seed``."""
    require_within("spread_rad", spread_rad, 0.0, 0.5)
    draw = twin_generator(seed, "fsim angles").normal(0.0, spread_rad, (2, len(lattice.couplers)))
    return CouplerAngles(SWAP_ANGLE_RAD + draw[0], PHASE_ANGLE_RAD + draw[1])


def patches_of(lattice: Lattice, qubits: Sequence[int], count: int = 2) -> tuple[tuple[int, ...], ...]:
    """``qubits`` cut across the lattice's longer side into ``count`` patches of nearly equal size.

    What the cut leaves apart from the rest of its patch goes to a patch that it is coupled to, so that each is in one piece if all are.
    """
    require_within("patches", count, 2, len(qubits) // 2)
    position = lattice.position[list(qubits)]
    longer = int(np.argmax(np.ptp(position, axis=0)))
    order = np.lexsort((position[:, 1 - longer], position[:, longer]))
    patches = [{int(qubits[place]) for place in part} for part in np.array_split(order, count)]
    graph = rustworkx.PyGraph()
    graph.add_nodes_from(range(lattice.qubit_count))
    graph.add_edges_from_no_data([(int(first), int(second)) for first, second in lattice.couplers])
    for patch in patches:
        pieces = sorted(_pieces(graph, patch), key=lambda piece: (-len(piece), min(piece)))
        for piece in pieces[1:]:
            around = {neighbour for qubit in piece for neighbour in graph.neighbors(qubit)}
            if takers := [other for other in patches if other is not patch and other & around]:
                takers[0].update(piece)
                patch.difference_update(piece)
    return tuple(tuple(sorted(patch)) for patch in patches)


def _pieces(graph: rustworkx.PyGraph[int, None], qubits: set[int]) -> list[set[int]]:
    """Groups of ``qubits`` that couplers between them join."""
    left, pieces = set(qubits), []
    while left:
        piece, new = set(), {min(left)}
        while new:
            piece |= new
            new = {neighbour for qubit in new for neighbour in graph.neighbors(qubit)} & (left - piece)
        pieces.append(piece)
        left -= piece
    return pieces


def random_circuit(
    lattice: Lattice,
    qubits: Sequence[int],
    cycles: int,
    *,
    sequence: str = PUBLISHED_SEQUENCE,
    seed: int | None = 1,
    angles: CouplerAngles | None = None,
    patches: Sequence[Sequence[int]] = (),
    elided_cycles: int | None = None,
    without: Collection[tuple[int, int]] = (),
) -> Circuit:
    """A random circuit on ``qubits`` of a machine, by its numbers, measured in their order; a barrier parts the layers.

    ``sequence``: which layers of two-qubit gates follow each other, over and over, 1 to 64 of the letters A to D (`Lattice.pattern`).
    ``patches``: gates between two of them are left out: in every cycle (a patch circuit), or in the first ``elided_cycles`` (an elided
    one). ``without``: couplers (smaller qubit first) that do not work. Circuits of one ``seed`` that differ in patches alone have the
    same gates elsewhere. Raises InputError for a lattice without patterns, another sequence, unknown or repeated qubits, cycles outside
    [1, 1000].
    """
    _check(lattice, qubits, cycles, elided_cycles)
    if not 1 <= len(sequence) <= MOST_LAYERS or not set(sequence) <= set(LAYERS):
        raise InputError("sequence", sequence, f"must be 1 to {MOST_LAYERS} letters out of {LAYERS}, as {PUBLISHED_SEQUENCE}")
    angles = drawn_angles(lattice) if angles is None else angles
    if not len(angles.theta_rad) == len(angles.phi_rad) == len(lattice.couplers):
        raise InputError("angles", len(angles.theta_rad), f"must be {len(lattice.couplers)}, one pair for each coupler")
    require_each_within("angles.phi_rad", angles.phi_rad, -2 * math.pi, 2 * math.pi)
    require_each_within("angles.theta_rad", angles.theta_rad, -2 * math.pi, 2 * math.pi)
    generator = twin_generator(seed, "random circuit")
    patch_of = {qubit: number for number, patch in enumerate(patches) for qubit in patch}
    taken = set(qubits)
    layers: dict[str, list[Operation]] = {letter: [] for letter in LAYERS}
    for number, (first, second) in enumerate(lattice.couplers.tolist()):
        if first in taken and second in taken and (first, second) not in without:
            parameters = (float(angles.theta_rad[number]), float(angles.phi_rad[number]))
            layers[LAYERS[int(lattice.pattern[number])]].append(Operation("fsim", (first, second), parameters))
    operations: list[Operation] = []
    before = np.full(len(qubits), -1)
    for cycle in range(cycles + 1):
        # One of the two others, or in the first layer one of three.
        step = generator.integers(1, 3, len(qubits))
        before = (before + step) % 3 if cycle else generator.integers(0, 3, len(qubits))
        operations += [Operation(*_root(int(kind), qubit)) for kind, qubit in zip(before, qubits, strict=True)]
        operations.append(Operation(BARRIER, tuple(qubits)))
        if cycle < cycles:
            whole = not patches or (elided_cycles is not None and cycle >= elided_cycles)
            layer = layers[sequence[cycle % len(sequence)]]
            operations += [gate for gate in layer if whole or patch_of.get(gate.qubits[0]) == patch_of.get(gate.qubits[1])]
            operations.append(Operation(BARRIER, tuple(qubits)))
    operations += [Operation(MEASURE, (qubit,)) for qubit in qubits]
    return Circuit(lattice.qubit_count, tuple(operations))


def _root(kind: int, qubit: int) -> tuple[str, tuple[int, ...], tuple[float, ...]]:
    name, parameters = _ROOTS[kind]
    return name, (qubit,), parameters


def _check(lattice: Lattice, qubits: Sequence[int], cycles: int, elided_cycles: int | None) -> None:
    if not len(lattice.pattern) or (lattice.pattern == NO_PATTERN).any():
        raise InputError("lattice", "no patterns", "must have a pattern A to D for each coupler")
    require_within("cycles", cycles, 1, MOST_CYCLES)
    for qubit in qubits:
        require_within("qubit", qubit, 0, lattice.qubit_count - 1)
    if len(set(qubits)) < len(qubits) or not qubits:
        raise InputError("qubits", tuple(qubits), "must be one or more, and differ")
    if elided_cycles is not None:
        require_within("elided_cycles", elided_cycles, 0, cycles)
