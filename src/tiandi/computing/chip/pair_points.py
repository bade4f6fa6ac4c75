"""Of programs on pairs: points that differ only in their drive pulses, for which flux is worked out once; tones that are heard."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tiandi.computing.chip.bench import Bench
from tiandi.computing.chip.flux import FluxHistory, FluxPulses, history
from tiandi.computing.chip.parameters import FloatArray, IntArray
from tiandi.computing.chip.playing import strongest_of
from tiandi.computing.chip.tones import Heard, Sources, heard

PairFlux = list[tuple[FluxPulses, FluxHistory] | None]
"""Of the first qubits, the second ones and the couplers."""


def alike_points(flux: PairFlux, lengths: list[FloatArray], points: int) -> IntArray:
    """(groups, points of each): points with the same flux pulses and the same ``lengths`` (T, P or 1) of all moments.

    Each point by itself where the groups are not of one size.
    """
    numbers = [*lengths]
    for part in flux:
        if part is not None:
            numbers += [part[0].start_ns, part[0].duration_ns, part[0].quanta]
    columns = [np.moveaxis(np.broadcast_to(one, (len(one), points, *one.shape[2:])), 1, 0).reshape(points, -1) for one in numbers]
    rows = np.concatenate(columns, axis=1) if columns else np.zeros((points, 0))
    found: dict[bytes, list[int]] = {}
    for point, row in enumerate(rows):
        found.setdefault(row.tobytes(), []).append(point)
    if len({len(group) for group in found.values()}) > 1:
        return np.arange(points)[:, None]
    return np.array(list(found.values()), np.int64)


def flux_at(flux: PairFlux, points: IntArray) -> PairFlux:
    """The same pulses at some points, lines at rest."""

    def chosen(values: FloatArray) -> FloatArray:
        return values if values.shape[1] == 1 else values[:, points]

    parts = [
        None if part is None else replace(
            part[0], start_ns=chosen(part[0].start_ns), duration_ns=chosen(part[0].duration_ns), quanta=chosen(part[0].quanta)
        )
        for part in flux
    ]  # fmt: skip
    return [None if part is None else (part, history(part, len(points))) for part in parts]


def strongest_tones(bench: Bench, sources: Sources, qubits: IntArray, *, own: bool) -> tuple[Heard, IntArray]:
    """What the qubits hear and the number of each one's strongest tone; ``own``: only if its best line plays it, as in trains."""
    hear = heard(bench, sources, qubits, own_target=np.arange(len(qubits)))
    alone = strongest_of(hear, len(qubits))
    best = np.asarray(abs(bench.now.drive[qubits]).argmax(axis=1)).ravel()
    return hear, alone[sources.line[hear.source[alone]] == best[hear.entry[alone]]] if own else alone
