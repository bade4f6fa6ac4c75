"""Flux pulses at single qubits: through predistortion, the line's step response, crosstalk and skew to a turn, and to decay on the way.

The strongest line that a qubit hears goes through the settings' predistortion and the hidden step response of its qubit's line; pulses of
other lines, which reach it weakly, keep their shape. All pulses of a program count at all times, so that tails reach into later moments.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from tiandi.compiling import kernel
from tiandi.computing.chip.bench import Bench
from tiandi.computing.chip.checks import grid
from tiandi.computing.chip.conditions import WHITE_SHARE_OF_FLUX_NOISE, Conditions
from tiandi.computing.chip.evolution.batches import on_all_cores
from tiandi.computing.chip.parameters import FloatArray, Hidden, IntArray
from tiandi.computing.instruments.instrument import Settings
from tiandi.computing.instruments.program import Flux, Program, Shape
from tiandi.computing.instruments.waveforms import slepian_table

KINDS = {"cosine": 0, "flattop": 1, "gaussian": 2, "square": 3}
_FIRST_SLEPIAN = 4
SMALLEST_QUANTA = 2e-5
"""Pulses that make less flux than this at a qubit are left out."""
_NODES = 8
_NODES_BESIDE_SAMPLES = 3
_SUMS = 4


@dataclass(frozen=True, eq=False)
class FluxPulses:
    """All pulses of a program that reach E entries, K for each (the rest of weight 0); (E, P or 1, K) unless said otherwise."""

    start_ns: FloatArray
    """On the clock of the entry's drive line."""
    duration_ns: FloatArray
    quanta: FloatArray
    """Flux at the qubit."""
    kind: IntArray
    """(E, K)."""
    edge_ns: FloatArray
    """(E, K)."""
    own: np.ndarray
    """(E, K): whether the pulse goes through the filters."""
    filters: FloatArray
    """(E, 4, terms): amplitudes and times [ns] of the predistortion, then of the step response."""
    table: FloatArray
    """(S, 2, N): places and values of the program's Slepian shapes, which are the kinds from 4 on."""

    def rows(self, chosen: IntArray) -> FluxPulses:
        """Some of the entries."""
        names = ("start_ns", "duration_ns", "quanta", "kind", "edge_ns", "own", "filters")
        return replace(self, **{name: getattr(self, name)[chosen] for name in names})

    @property
    def first_ns(self) -> float:
        """When the first of all pulses begins."""
        return float(np.where(self.quanta != 0, self.start_ns, np.inf).min(initial=np.inf))


def flux_pulses(bench: Bench, program: Program, played: list[tuple[Flux, FloatArray]], entries: IntArray) -> FluxPulses | None:
    """What the elements ``entries`` (E,), qubits first and couplers after them, hear of ``played``; None for nothing.

    ``played``: pulses, and when their moments begin, (T, P or 1).
    """
    hidden, settings, now = bench.hidden, bench.settings, bench.now
    if not played:
        return None
    matrix = now.flux_matrix[entries].tocoo()
    skew = np.concatenate([hidden.flux_skew_ns + settings.flux_delay_ns, hidden.couplers.skew_ns + settings.coupler_delay_ns])
    # A coupler has no drive line: its clock is that of its first qubit.
    drive = hidden.drive_skew_ns + settings.drive_delay_ns
    ahead = np.concatenate([drive, drive[hidden.layout.couplers[:, 0]]])
    found = []
    for flux, begin in played:
        lines = np.asarray(flux.lines, np.int64) + (hidden.qubits if flux.coupler else 0)
        player = np.full(now.flux_matrix.shape[1], -1)
        player[lines] = np.arange(program.targets)
        there = player[matrix.col] >= 0
        found.append((flux, begin, matrix.row[there], matrix.col[there], player[matrix.col[there]], matrix.data[there]))
    most = int(np.sum([np.bincount(rows, minlength=len(entries)) for _, _, rows, _, _, _ in found], axis=0).max())
    if most == 0:
        return None
    wide = program.points
    start, duration, quanta = (np.zeros((len(entries), wide, most)) for _ in range(3))
    kind, edge = np.zeros((len(entries), most), np.int64), np.zeros((len(entries), most))
    own, used = np.zeros((len(entries), most), bool), np.zeros(len(entries), np.int64)
    strongest = np.asarray(abs(now.flux_matrix[entries]).argmax(axis=1)).ravel()
    slepians = _slepians(played)
    for flux, begin, *heard_by in found:
        fields = [grid(number, program.targets, wide, "flux pulse") for number in (flux.start_ns, flux.duration_ns, flux.amplitude)]
        order = np.argsort(heard_by[0], kind="stable")
        rows, columns, source, reach = (part[order] for part in heard_by)
        rank = np.arange(len(rows)) - np.searchsorted(rows, rows, "left")
        place = used[rows] + rank
        late = (skew[columns] - ahead[entries[rows]])[:, None]
        start[rows, :, place] = np.broadcast_to(begin, (program.targets, wide))[source] + fields[0][source] + late
        duration[rows, :, place] = fields[1][source]
        strength = fields[2][source] * reach[:, None]
        quanta[rows, :, place] = np.where(np.abs(strength) > SMALLEST_QUANTA, strength, 0.0)
        kind[rows, place], edge[rows, place] = _kind(flux.shape, slepians), flux.shape.edge_ns
        own[rows, place] = columns == strongest[rows]
        used += np.bincount(rows, minlength=len(entries))
    table = np.stack([np.stack(slepian_table(shape)) for shape in slepians])
    return FluxPulses(start, duration, quanta, kind, edge, own, _filters(hidden, settings, strongest), table)


def _filters(hidden: Hidden, settings: Settings, lines: IntArray) -> FloatArray:
    """Of the lines (E,); those of couplers have none."""
    terms = max(hidden.step_amplitude.shape[1], settings.predistortion_amplitude.shape[1])
    filters = np.ones((len(lines), 4, terms))
    filters[:, 0], filters[:, 2] = 0.0, 0.0
    of_qubit = lines < hidden.qubits
    chosen = lines[of_qubit]
    for place, values in enumerate(
        (settings.predistortion_amplitude, settings.predistortion_time_ns, hidden.step_amplitude, hidden.step_time_ns)
    ):
        filters[of_qubit, place, : values.shape[1]] = values[chosen]
    return filters


def _kind(shape: Shape, slepians: list[Shape]) -> int:
    if shape.kind == "slepian":
        return _FIRST_SLEPIAN + slepians.index(shape)
    return KINDS["square" if shape.kind == "flattop" and shape.edge_ns < 2e-3 else shape.kind]


def _slepians(played: list[tuple[Flux, FloatArray]]) -> list[Shape]:
    """The different Slepian shapes of a program; one where there is none."""
    return list(dict.fromkeys(flux.shape for flux, _ in played if flux.shape.kind == "slepian")) or [Shape("slepian")]


@dataclass(eq=False)
class FluxHistory:
    """What is known of the lines' filters at the end of the last moment: (E, P, 2 + 2 terms)."""

    state: FloatArray


def history(pulses: FluxPulses, points: int) -> FluxHistory:
    """Lines at rest."""
    return FluxHistory(np.zeros((len(pulses.kind), points, 2 + 2 * pulses.filters.shape[2])))


def elements_of(hidden: Hidden, now: Conditions, elements: IntArray) -> tuple[FloatArray, FloatArray]:
    """What the loop needs of qubits and couplers: (E, 7) and, of their two-level systems, (E, 3, defects)."""
    couplers = hidden.couplers
    count = len(couplers.volt)

    def both(qubits: FloatArray, of_couplers: FloatArray) -> FloatArray:
        return np.concatenate([qubits, of_couplers])[elements]

    numbers = [
        both(now.flux, now.coupler_flux),
        both(hidden.maximum_hz, couplers.maximum_hz),
        both(hidden.asymmetry, couplers.asymmetry),
        -both(hidden.anharmonicity_hz, couplers.anharmonicity_hz),
        both(now.frequency_hz, now.coupler_hz),
        both(hidden.flux_noise, np.zeros(count)),
        both(hidden.slow_hz, np.ones(count)),
    ]
    none = np.ones((count, hidden.defect_hz.shape[1]))
    defects = [both(now.defect_hz, none), both(hidden.defect_coupling_hz, 0 * none), both(hidden.defect_width_hz, none)]
    return np.stack(numbers, axis=1), np.stack(defects, axis=1)


def sums_over(
    elements: tuple[FloatArray, FloatArray],
    pulses: FluxPulses,
    past: FluxHistory,
    *,
    begin_ns: FloatArray,
    length_ns: FloatArray,
    window: tuple[FloatArray, FloatArray, int] | None = None,
) -> tuple[FloatArray, FloatArray]:
    """Integrals over a moment, (E, P, 4), of what the flux changes: frequency (cycles), 1/T1, 1/Tphi (numbers), slow noise (cycles).

    ``begin_ns`` and ``length_ns`` (E, P). With a ``window`` (its begin after the moment's, its length, both (E, P), a number M) also the
    change of the frequency [Hz] at M even times in it, (E, P, M).
    """
    count, points = past.state.shape[:2]
    samples = 0 if window is None else window[2]
    series = np.zeros((count, points, samples))
    sums = np.zeros((count, points, _SUMS))
    seen = np.zeros((count, points, 2))
    if window is not None:
        seen[..., 0], seen[..., 1] = window[0], window[1]
    on_all_cores(
        _walk,
        count * points,
        *(np.ascontiguousarray(np.broadcast_to(part, (count, points, pulses.kind.shape[1]))) for part in (
            pulses.start_ns, pulses.duration_ns, pulses.quanta
        )),
        pulses.kind,
        pulses.edge_ns,
        pulses.own,
        pulses.filters,
        pulses.table,
        np.ascontiguousarray(np.broadcast_to(begin_ns, (count, points))),
        np.ascontiguousarray(np.broadcast_to(length_ns, (count, points))),
        *elements,
        seen,
        past.state,
        sums,
        series,
        WHITE_SHARE_OF_FLUX_NOISE,
    )  # fmt: skip
    return sums, series


@kernel
def _shape(kind, edge, time, duration, table):  # type: ignore[no-untyped-def]
    """The envelopes of instruments.waveforms."""
    if time < -1e-9 or time > duration + 1e-9 or duration <= 0.0:
        return 0.0
    time = min(max(time, 0.0), duration)
    share = time / duration
    if kind == 0:
        return 0.5 - 0.5 * np.cos(2 * np.pi * share)
    if kind == 1:
        rise = min(max(edge, 1e-9), 0.5 * duration)
        near = min(time, duration - time)
        return 1.0 if near >= rise else 0.5 - 0.5 * np.cos(np.pi * near / rise)
    if kind == 2:
        foot = np.exp(-3.125)
        return (np.exp(-12.5 * (share - 0.5) ** 2) - foot) / (1 - foot)
    if kind == 3:
        return 1.0
    return np.interp(share, table[kind - _FIRST_SLEPIAN, 0], table[kind - _FIRST_SLEPIAN, 1])


@kernel
def _played(cell_start, cell_duration, quanta, kind, edge, own, table, time):  # type: ignore[no-untyped-def]  # noqa: PLR0917
    """Flux of the own line and of all others at ``time``, before filters."""
    filtered, direct = 0.0, 0.0
    for number in range(len(kind)):
        if quanta[number] == 0.0:
            continue
        value = quanta[number] * _shape(kind[number], edge[number], time - cell_start[number], cell_duration[number], table)
        if own[number]:
            filtered += value
        else:
            direct += value
    return filtered, direct


@kernel
def _changes(flux, idle, defects, white, out):  # type: ignore[no-untyped-def]
    """Change of frequency, 1/T1, 1/Tphi and slow noise against ``flux`` = 0."""
    angle0, angle1 = np.pi * idle[0], np.pi * (idle[0] + flux)
    share = idle[2] ** 2
    plasma = idle[1] + idle[3]
    squared0 = np.cos(angle0) ** 2 + share * np.sin(angle0) ** 2
    squared1 = np.cos(angle1) ** 2 + share * np.sin(angle1) ** 2
    shift = plasma * (squared1**0.25 - squared0**0.25)
    slope0 = abs(plasma * 0.25 * squared0**-0.75 * np.pi * (share - 1) * np.sin(2 * angle0)) * idle[5]
    slope1 = abs(plasma * 0.25 * squared1**-0.75 * np.pi * (share - 1) * np.sin(2 * angle1)) * idle[5]
    rate = 0.0
    for number in range(defects.shape[1]):
        width, coupling = defects[2, number], defects[1, number]
        away0 = defects[0, number] - idle[4]
        away1 = away0 - shift
        rate += 4 * np.pi * coupling**2 * width * (1 / (width**2 + away1**2) - 1 / (width**2 + away0**2))
    out[0], out[1], out[2] = shift, rate, 2 * np.pi * white * (slope1 - slope0)
    out[3] = np.sqrt(idle[6] ** 2 + slope1**2) - np.sqrt(idle[6] ** 2 + slope0**2)


@kernel
def _marks(start, duration, quanta, kind, edge, begin, end, marks):  # type: ignore[no-untyped-def]  # noqa: PLR0917
    """Times in [begin, end] between which nothing jumps or turns sharply, sorted into ``marks``; returns how many."""
    count = 2
    marks[0], marks[1] = begin, end
    for number in range(len(kind)):
        if quanta[number] == 0.0 or start[number] > end or start[number] + duration[number] < begin:
            continue
        first, last = start[number], start[number] + duration[number]
        rise = min(edge[number], 0.5 * duration[number])
        for place in range(6):
            if kind[number] == 1:
                time = (first, first + rise, last - rise, last, first, last)[place]
            elif kind[number] == 3:
                time = (first - 1e-3, first, last, last + 1e-3, first, last)[place]
            else:
                time = first + duration[number] * place / 5
            if begin < time < end:
                marks[count] = time
                count += 1
    marks[:count] = np.sort(marks[:count])
    return count


@kernel
def _sent(filters, held, step, filtered):  # type: ignore[no-untyped-def]
    """What the predistortion sends so that the line's step response makes ``filtered`` of it."""
    wanted, whole = filtered, 1.0
    for term in range(filters.shape[1]):
        if filters[0, term] == 0.0:
            continue
        kept = np.exp(-0.5 * step / filters[1, term])
        wanted -= filters[0, term] * (kept * kept * held[2 + term] - kept * held[1])
        whole += filters[0, term] * kept
    return wanted / whole


@kernel
def _walk(  # type: ignore[no-untyped-def]  # noqa: PLR0917, PLR0912
    first, stop, start, duration, quanta, kind, edge, own, filters, table, begin, length, idle, defects, window, state, sums, series, white
):
    points, terms, pulses = start.shape[1], filters.shape[2], kind.shape[1]
    marks = np.zeros(6 * pulses + 2)
    before, after = np.zeros(4), np.zeros(4)
    samples = series.shape[2]
    nodes = _NODES_BESIDE_SAMPLES if samples > 0 else _NODES
    for cell in range(first, stop):
        entry, point = cell // points, cell % points
        now, end = begin[entry, point], begin[entry, point] + length[entry, point]
        count = _marks(start[entry, point], duration[entry, point], quanta[entry, point], kind[entry], edge[entry], now, end, marks)
        held = state[entry, point]
        filtered, direct = _played(
            start[entry, point], duration[entry, point], quanta[entry, point], kind[entry], edge[entry], own[entry], table, now
        )
        seen = 0
        begin_window = begin[entry, point] + window[entry, point, 0]
        step_window = window[entry, point, 1] / max(samples - 1, 1)
        flux = held[1] + direct
        for term in range(terms):
            flux += filters[entry, 2, term] * held[2 + terms + term]
        _changes(flux, idle[entry], defects[entry], white, before)
        for mark in range(count - 1):
            low, long = marks[mark], marks[mark + 1] - marks[mark]
            if long <= 0.0:
                continue
            # What jumps just when the moment begins is taken in a step of no length.
            node = 1 if mark > 0 else 0
            while node <= nodes:
                share = node / nodes
                at = low + long * (share**3 if long > 40.0 else share)
                sampled = seen < samples and begin_window + step_window * seen <= at
                if sampled:
                    at = max(begin_window + step_window * seen, now)
                else:
                    node += 1
                step = at - now
                filtered, direct = _played(
                    start[entry, point], duration[entry, point], quanta[entry, point], kind[entry], edge[entry], own[entry], table, at
                )
                sent = _sent(filters[entry], held, step, filtered)
                flux = sent + direct
                for term in range(terms):
                    if filters[entry, 0, term] != 0.0:
                        kept = np.exp(-0.5 * step / filters[entry, 1, term])
                        held[2 + term] = kept * kept * held[2 + term] + kept * (sent - held[1])
                    if filters[entry, 2, term] != 0.0:
                        kept = np.exp(-0.5 * step / filters[entry, 3, term])
                        held[2 + terms + term] = kept * kept * held[2 + terms + term] + kept * (sent - held[1])
                        flux += filters[entry, 2, term] * held[2 + terms + term]
                held[0], held[1] = filtered, sent
                _changes(flux, idle[entry], defects[entry], white, after)
                for kind_of_sum in range(4):
                    sums[entry, point, kind_of_sum] += 0.5e-9 * step * (before[kind_of_sum] + after[kind_of_sum])
                    before[kind_of_sum] = after[kind_of_sum]
                if sampled:
                    series[entry, point, seen] = after[0]
                    seen += 1
                now = at
        while seen < samples:
            series[entry, point, seen] = before[0]
            seen += 1
