"""Yardsticks that a twin is measured by: cross-entropy fidelity, and quantum volume as a stated model estimate."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import rustworkx

from tiandi.computing.circuits.circuit import BARRIER, MEASURE, Circuit, Operation
from tiandi.computing.machines.lattice import NO_PATTERN, PUBLISHED_SEQUENCE
from tiandi.computing.machines.sheets import DataSheet
from tiandi.computing.machines.twin import Twin
from tiandi.errors import InputError
from tiandi.limits import require_within
from tiandi.random import twin_generator

HEAVY_SHARE = (1 + math.log(2)) / 2
"""Share of heavy outputs of an ideal machine in the limit of many qubits (Cross et al., PRA 100, 032328 (2019))."""
HEAVY_ENOUGH = 2 / 3
CX_PER_PAIR, TURNS_PER_PAIR, CX_PER_SWAP, TURNS_PER_SWAP = 3, 8, 3, 6
"""Gates that any gate of two qubits, or an exchange of two, comes apart into, with single-qubit pulses around them."""
WIDEST = 24


@dataclass(frozen=True, slots=True)
class SamplingPrediction:
    """Cross-entropy fidelity of random circuits on ``qubits`` and ``cycles``: by the product formula, by the twin, and as published."""

    qubits: int
    cycles: int
    product: float
    twin: float
    published: float | None


def layered_circuit(twin: Twin, qubits: int, cycles: int) -> Circuit:
    """Layers of a random circuit, ABCDCDAB, on the twin's `subset`; the angles of its gates, which no error depends on, are all alike."""
    pattern = twin.lattice.pattern
    if (pattern == NO_PATTERN).any():
        raise InputError("machine", twin.sheet.id, "has no patterns of two-qubit gates for random circuits")
    require_within("cycles", cycles, 1, 1000)
    chosen = twin.subset(qubits)
    inside = np.isin(twin.lattice.couplers, chosen).all(axis=1) & twin.calibration.coupler_works
    gate, parameters = ("fsim", (math.pi / 2, math.pi / 6)) if "fsim" in twin.native_gates else ("cz", ())
    layers = {letter: twin.lattice.couplers[inside & (pattern == kind)].tolist() for kind, letter in enumerate("ABCD")}
    barrier = Operation(BARRIER, chosen)
    operations: list[Operation] = []
    for cycle in range(cycles + 1):
        # Roots of X and Y in turn: which of the two stands where is of no matter, but they are turns about the equator.
        operations += [*(Operation(_pulse(twin, cycle), (qubit,), _angles(twin, cycle)) for qubit in chosen), barrier]
        if cycle < cycles:
            layer = layers[PUBLISHED_SEQUENCE[cycle % len(PUBLISHED_SEQUENCE)]]
            operations += [*(Operation(gate, (first, second), parameters) for first, second in layer), barrier]
    return Circuit(twin.lattice.qubit_count, (*operations, *(Operation(MEASURE, (qubit,)) for qubit in chosen)))


def _pulse(twin: Twin, cycle: int) -> str:
    return "u" if "u" in twin.native_gates else ("sx", "sy")[cycle % 2]


def _angles(twin: Twin, cycle: int) -> tuple[float, ...]:
    return () if "u" not in twin.native_gates else (math.pi / 2, (-math.pi / 2, 0.0)[cycle % 2], (math.pi / 2, 0.0)[cycle % 2])


def predicted_sampling(twin: Twin, qubits: int | None = None, cycles: int | None = None) -> SamplingPrediction:
    """What random circuit sampling should give; the published experiment's size unless another is given."""
    sheet = twin.sheet
    own = sheet.number("qubits_used"), sheet.number("cycles_used")
    if (qubits is None and own[0] is None) or (cycles is None and own[1] is None):
        raise InputError("qubits", qubits, f"must be given with cycles: no experiment of {sheet.name} is known")
    width, depth = int(qubits if qubits is not None else own[0] or 0), int(cycles if cycles is not None else own[1] or 0)
    circuit = layered_circuit(twin, width, depth)
    published = sheet.number("xeb") if own == (width, depth) else None
    return SamplingPrediction(width, depth, product_formula(sheet, circuit), twin.predicted_fidelity(circuit), published)


def product_formula(sheet: DataSheet, circuit: Circuit) -> float:
    """(1-e1)^n1 (1-e2)^n2 (1-er)^n with the data sheet's errors (Arute et al. 2019, supplement, formula 77)."""
    errors = sheet.pauli_errors
    if errors is None:
        raise InputError("machine", sheet.id, "has no published gate errors")
    widths = [len(operation.qubits) for operation in circuit.operations if operation.name not in {BARRIER, MEASURE}]
    readout = len(circuit.measured_qubits) * math.log1p(-sheet.need("readout_error").number)
    return math.exp(widths.count(1) * math.log1p(-errors[0]) + widths.count(2) * math.log1p(-errors[1]) + readout)


def quantum_volume(twin: Twin) -> int:
    """2^n for the widest square circuit that should pass, by a model: heavy outputs 1/2 + F (ln 2)/2 > 2/3 (Cross et al. 2019).

    F is the product of what is left of every gate and readout, at the median errors of the machine; pairs that do not touch are brought
    together by exchanges that a greedy router finds on the lattice, each of three CX. Better compilers and the best
    qubits of a machine give more: a lower estimate, fit to compare machines by one rule.
    """
    working, calibration = twin.calibration.qubit_works, twin.calibration
    single = math.log1p(-float(np.median(calibration.single_qubit_error[working])))
    two = math.log1p(-float(np.median(calibration.two_qubit_error[calibration.coupler_works])))
    read = math.log1p(-float(np.median((calibration.one_for_zero + calibration.zero_for_one)[working])) / 2)
    least = (HEAVY_ENOUGH - 0.5) / (HEAVY_SHARE - 0.5)
    widest = 0
    for width in range(2, min(WIDEST, int(working.sum())) + 1):
        pairs, swaps = width * (width // 2), _swaps(twin, width)
        left = two * (CX_PER_PAIR * pairs + CX_PER_SWAP * swaps) + single * (TURNS_PER_PAIR * pairs + TURNS_PER_SWAP * swaps)
        if math.exp(left + width * read) <= least:
            break
        widest = width
    return 2**widest


def _swaps(twin: Twin, width: int) -> int:
    """Exchanges that ``width`` layers of random pairs need on ``width`` neighbouring qubits, mean of ten draws, rounded up."""
    chosen = twin.subset(width)
    place = {qubit: number for number, qubit in enumerate(chosen)}
    edges = [(place[a], place[b]) for a, b in twin.lattice.couplers.tolist() if a in place and b in place]
    graph = rustworkx.PyGraph()
    graph.add_nodes_from(range(width))
    graph.add_edges_from([(first, second, None) for first, second in edges])
    distance = rustworkx.distance_matrix(graph)
    generator = twin_generator(1, "quantum volume", str(width))
    draws = 10
    return math.ceil(sum(_routed(distance, edges, generator.permutation(width)) for _ in range(draws * width)) / draws)


def _routed(distance: np.ndarray, edges: list[tuple[int, int]], order: np.ndarray) -> int:
    """Exchanges until every pair of ``order`` has been side by side once, each the one that shortens the ways most."""
    at = list(range(len(order)))
    waiting = [(int(order[2 * k]), int(order[2 * k + 1])) for k in range(len(order) // 2)]
    count = 0
    while waiting := [(a, b) for a, b in waiting if distance[at[a], at[b]] > 1]:
        here = {where: qubit for qubit, where in enumerate(at)}

        def total(edge: tuple[int, int], here: dict[int, int] = here, pairs: list[tuple[int, int]] = waiting) -> tuple[float, float]:
            moved = {here[edge[0]]: edge[1], here[edge[1]]: edge[0]}
            ways = [float(distance[moved.get(a, at[a]), moved.get(b, at[b])]) for a, b in pairs]
            return sum(ways), min(ways)

        best = min(edges, key=total)
        if total(best)[0] >= sum(float(distance[at[a], at[b]]) for a, b in waiting):
            # No exchange shortens all ways together: the first pair goes its own.
            a, b = waiting[0]
            best = min((edge for edge in edges if at[a] in edge), key=lambda edge: distance[sum(edge) - at[a], at[b]])
        first, second = here[best[0]], here[best[1]]
        at[first], at[second] = at[second], at[first]
        count += 1
    return count
