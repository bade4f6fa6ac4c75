"""A program on single qubits, from its first moment to what is there when the measurement begins."""

from __future__ import annotations

import numpy as np

from tiandi.computing.chip.bench import Bench
from tiandi.computing.chip.checks import grid
from tiandi.computing.chip.ensemble import Ensemble, decay_of_entries, nodes_of, zz_of_entries
from tiandi.computing.chip.evolution.decay import Decay, idle_superoperators
from tiandi.computing.chip.evolution.hermitian import phase_superoperators
from tiandi.computing.chip.flux import FluxHistory, FluxPulses, elements_of, flux_pulses, history, sums_over
from tiandi.computing.chip.parameters import FloatArray, IntArray
from tiandi.computing.chip.pulsing import drive_group, groups, maps_of, part_of, played
from tiandi.computing.chip.tones import Heard, Sources, heard, narrow, sources_of
from tiandi.computing.chip.trains import LARGEST_MAPS, Row, follow
from tiandi.computing.instruments.program import Drive, Flux, Moment, Phase, Program, Train

SHIFT_HZ = 100e3
"""A drive pulse follows what flux does to its qubit's frequency where that is more than this; less is taken before and after it."""
WINDOW_SAMPLES = 129


def moment_ns(program: Program, moment: Moment) -> FloatArray:
    """(T, P or 1): as long as its longest operation."""
    length = np.zeros((program.targets, 1))
    for operation in moment:
        if isinstance(operation, Phase):
            continue
        end = narrow(grid(operation.duration_ns, program.targets, program.points, "duration_ns"))
        if isinstance(operation, Drive | Flux):
            end = end + narrow(grid(operation.start_ns, program.targets, program.points, "start_ns"))
        length = np.maximum(length, end)
    return length


def train_ns(program: Program, train: Train) -> FloatArray:
    """(T, P): length of a train."""
    total = np.zeros((program.targets, program.points))
    for row, moment in enumerate(train.table):
        total = total + moment_ns(program, moment) * (np.asarray(train.order) == row).sum(axis=2)
    return total


def program_ns(program: Program) -> FloatArray:
    """(T, P): without measurement and reset."""
    total = np.zeros((program.targets, program.points))
    for step in program.steps:
        total = total + (train_ns(program, step) if isinstance(step, Train) else moment_ns(program, step))
    return total


def entries_of(bench: Bench, program: Program) -> tuple[IntArray, IntArray]:
    """(E,): qubits that matter and their targets: those measured, measure by measure, then those that a line of a target drives besides."""
    qubits = [np.asarray(measure.lines, np.int64) for measure in program.measures]
    targets = [np.arange(program.targets)] * len(qubits)
    reach = abs(bench.now.drive).tocsc()
    known = np.zeros(bench.hidden.qubits, bool)
    known[np.concatenate(qubits)] = True
    strongest = np.asarray(reach.argmax(axis=0)).ravel()
    driven: dict[int, int] = {}
    for step in program.steps:
        for moment in step.table if isinstance(step, Train) else (step,):
            for operation in moment:
                if isinstance(operation, Drive):
                    for target, qubit in enumerate(strongest[operation.lines].tolist()):
                        if not known[qubit]:
                            driven.setdefault(qubit, target)
    qubits.append(np.array(list(driven), np.int64))
    targets.append(np.array(list(driven.values()), np.int64))
    return np.concatenate(qubits), np.concatenate(targets)


def play(bench: Bench, program: Program, initial: FloatArray, qubits: IntArray, target: IntArray) -> FloatArray:
    """(E, P, 3): populations at the end, from populations ``initial`` (E, P or 1, 3) at the begin."""
    now = bench.now
    offset, weight = nodes_of(now.slow_hz[qubits], _quiet_ns(program))
    vectors = np.zeros((len(qubits), program.points, len(weight), 9))
    vectors[..., :3] = initial[:, :, None, :]
    zz, ends = zz_of_entries(now, bench.hidden.layout.couplers, qubits, bench.hidden.qubits)
    ensemble = Ensemble(
        qubits=qubits,
        target=target,
        vectors=vectors,
        clock_ns=np.zeros((program.targets, program.points)),
        offset_hz=offset,
        weight=weight,
        decay=decay_of_entries(now, qubits),
        zz_hz=zz,
        zz_entries=ends,
    )
    virtual = np.zeros((bench.electronics.qubits, program.points))
    pulses = flux_pulses(bench, program, flux_of(program), qubits)
    past = None if pulses is None else history(pulses, program.points)
    for step in program.steps:
        if isinstance(step, Train):
            _play_train(bench, program, step, ensemble, virtual)
        else:
            _play_moment(bench, program, step, ensemble, virtual=virtual, flux=(pulses, past))
    return np.einsum("epnk,n->epk", ensemble.vectors[..., :3], ensemble.weight)


def flux_of(program: Program) -> list[tuple[Flux, FloatArray]]:
    """Flux pulses outside of trains, and when their moments begin, (T, P)."""
    clock = np.zeros((program.targets, program.points))
    found: list[tuple[Flux, FloatArray]] = []
    for step in program.steps:
        if isinstance(step, Train):
            clock = clock + train_ns(program, step)
        else:
            found += [(operation, clock) for operation in step if isinstance(operation, Flux)]
            clock = clock + moment_ns(program, step)
    return found


def _quiet_ns(program: Program) -> float:
    """The longest time in which slow noise turns a qubit: that of moments without a drive pulse, for a train only its longest row."""
    total = 0.0
    for step in program.steps:
        if isinstance(step, Train):
            total = max([total, *(float(moment_ns(program, moment).max()) for moment in step.table)])
        elif not any(isinstance(operation, Drive) for operation in step):
            total += float(moment_ns(program, step).max())
    return total


def _play_moment(
    bench: Bench,
    program: Program,
    moment: Moment,
    ensemble: Ensemble,
    *,
    virtual: FloatArray,
    flux: tuple[FluxPulses | None, FluxHistory | None],
) -> None:
    length = moment_ns(program, moment)[ensemble.target]
    turn = 2e-9 * np.pi * (ensemble.neighbours_shift_hz()[:, :, None] + ensemble.offset_hz[:, None, :]) * length[:, :, None]
    drives = [operation for operation in moment if isinstance(operation, Drive)]
    sources = sources_of(program, drives, virtual, bench.electronics) if drives else None
    busy, series, sums = np.zeros((len(ensemble.qubits), 1)), None, None
    pulses, past = flux
    if pulses is not None and past is not None:
        clock = ensemble.clock_ns[ensemble.target]
        if pulses.first_ns < float((clock + length).max()):
            window = None if sources is None else _window(sources, ensemble, program.points)
            sums, series = sums_over(
                elements_of(bench.hidden, bench.now, ensemble.qubits), pulses, past, begin_ns=clock, length_ns=length, window=window
            )
            followed = np.abs(series).max(axis=(1, 2)) > SHIFT_HZ if window is not None else np.zeros(len(ensemble.qubits), bool)
            series = series if followed.any() else None
            # Where the pulse itself follows the frequency, only what lies outside of its window is left to turn.
            inside = 0.0 if series is None or window is None else _inside(series, window[1]) * followed[:, None]
            noise = ensemble.offset_hz / np.maximum(bench.now.slow_hz[ensemble.qubits], 1e-9)[:, None]
            turn = turn + 2 * np.pi * ((sums[..., 0] - inside)[:, :, None] + noise[:, None, :] * sums[..., 3, None])
    ensemble.turn(0.5 * turn)
    if sources is not None:
        busy = _play_drives(bench, sources, ensemble, series)
    ensemble.rest(np.maximum(length - busy, 0.0), None if sums is None else sums[..., 1:3])
    ensemble.turn(0.5 * turn)
    turn_virtually(program, moment, virtual)
    ensemble.clock_ns += moment_ns(program, moment)


def _window(sources: Sources, ensemble: Ensemble, points: int) -> tuple[FloatArray, FloatArray, int]:
    """When drive pulses of each entry's target begin and how long they last, (E, P), and at how many times their frequency is asked."""
    begin = np.full((int(sources.target.max()) + 1, points), np.inf)
    end = np.zeros_like(begin)
    np.minimum.at(begin, sources.target, np.broadcast_to(sources.start_ns, (len(sources.line), points)))
    np.maximum.at(end, sources.target, np.broadcast_to(sources.start_ns + sources.duration_ns, (len(sources.line), points)))
    return begin[ensemble.target], (end - begin)[ensemble.target], WINDOW_SAMPLES


def _inside(series: FloatArray, length_ns: FloatArray) -> FloatArray:
    """(E, P): cycles that the samples of a window add up to."""
    return 1e-9 * length_ns * (series.sum(axis=2) - 0.5 * (series[..., 0] + series[..., -1])) / (series.shape[2] - 1)


def turn_virtually(program: Program, moment: Moment, virtual: FloatArray, times: IntArray | int = 1) -> None:
    """Add the moment's virtual phases, ``times`` over, to ``virtual`` (lines, P)."""
    for operation in moment:
        if isinstance(operation, Phase):
            virtual[operation.lines] += times * grid(operation.angle_rad, program.targets, program.points, "angle_rad")


def _play_drives(bench: Bench, sources: Sources, ensemble: Ensemble, series: FloatArray | None) -> FloatArray:
    """Play all sources, while the frequency changes by ``series`` (E, P, M) [Hz]; returns how long each entry was driven, (E, P or 1)."""
    points = ensemble.vectors.shape[1]
    hear = heard(bench, sources, ensemble.qubits)
    busy = np.zeros((len(ensemble.qubits), points))
    for entries, places in groups(hear, len(ensemble.qubits)):
        tones, width = played(
            bench,
            sources,
            hear,
            places,
            qubits=ensemble.qubits[entries],
            qubit_hz=bench.now.frequency_hz[ensemble.qubits[entries]],
            clock_ns=ensemble.clock_ns[ensemble.target[entries]],
            shift_hz=None if series is None else series[entries],
        )
        drive_group(ensemble, entries, tones, width=width, shapes=sources.shapes, phase_rad=phase_of(sources, hear, places[:, 0]))
        busy[entries] = tones.window()[1].reshape(len(entries), width)
    return busy[:, :1] if (busy == busy[:, :1]).all() else busy


def phase_of(sources: Sources, hear: Heard, places: IntArray) -> FloatArray:
    """(G, P): phase of each group's strongest tone."""
    sign = np.where(hear.image[places], -1.0, 1.0)[:, None]
    return sign * sources.phase_rad[hear.source[places]] + np.angle(hear.reach_hz[places])[:, None]


def _play_train(bench: Bench, program: Program, train: Train, ensemble: Ensemble, virtual: FloatArray) -> None:
    order = np.asarray(train.order)
    rate = 2e-9 * np.pi * (ensemble.neighbours_shift_hz()[:, :, None] + ensemble.offset_hz[:, None, :])
    columns = max(columns_of(program, moment) for moment in train.table)
    share = max(1, LARGEST_MAPS // (columns * len(train.table)))
    lengths = np.zeros((program.targets, program.points))
    for first in range(0, len(ensemble.qubits), share):
        entries = np.arange(first, min(first + share, len(ensemble.qubits)))
        rows = [_row(bench, program, moment, ensemble, entries=entries, virtual=virtual) for moment in train.table]
        clock = ensemble.clock_ns[ensemble.target[entries]]
        length, _ = follow(ensemble, entries, rows, order, clock_ns=clock, rate_rad_ns=rate[entries])
        lengths[ensemble.target[entries]] = length
    ensemble.clock_ns += lengths
    for row, moment in enumerate(train.table):
        turn_virtually(program, moment, virtual, (order == row).sum(axis=2))


def columns_of(program: Program, moment: Moment) -> int:
    """P where a number of the moment changes over the points, else 1."""
    names = ("amplitude", "duration_ns", "frequency_hz", "phase_rad", "drag_ns", "start_ns", "angle_rad")
    numbers = [getattr(operation, name) for operation in moment for name in names if hasattr(operation, name)]
    return max((narrow(grid(number, program.targets, program.points, "number")).shape[1] for number in numbers), default=1)


def _row(bench: Bench, program: Program, moment: Moment, ensemble: Ensemble, *, entries: IntArray, virtual: FloatArray) -> Row:
    """One moment of a table for some entries. The tone is the strongest of the target's own lines."""
    target, qubits = ensemble.target[entries], ensemble.qubits[entries]
    length = moment_ns(program, moment)[target]
    drives = [operation for operation in moment if isinstance(operation, Drive)]
    turn = np.zeros((len(entries), program.points))
    own = np.asarray(abs(bench.now.drive[qubits]).argmax(axis=1)).ravel()
    for operation in moment:
        if isinstance(operation, Phase):
            angle = grid(operation.angle_rad, program.targets, program.points, "angle_rad")[target]
            turn += np.where((np.asarray(operation.lines)[target] == own)[:, None], angle, 0.0)
    turn = turn[:, :1] if (turn == turn[:, :1]).all() else turn
    count = len(entries)
    maps = np.broadcast_to(np.eye(9), (count, 1, 9, 9))
    phase, away, span = np.zeros((count, 1)), np.zeros((count, 1)), np.zeros((count, 1))
    if drives:
        sources = sources_of(program, drives, virtual, bench.electronics)
        hear = heard(bench, sources, qubits, own_target=target)
        alone = strongest_of(hear, count)
        driven = hear.entry[alone]
        tones, width = played(
            bench,
            sources,
            hear,
            alone[:, None],
            qubits=qubits[driven],
            qubit_hz=bench.now.frequency_hz[qubits[driven]],
            clock_ns=ensemble.clock_ns[target[driven]],
        )
        maps = np.broadcast_to(np.eye(9), (count, width, 9, 9)).copy()
        maps[driven] = maps_of(tones, sources.shapes, part_of(ensemble.decay, entries[driven], width)).reshape(-1, width, 9, 9)
        away, span = np.zeros((count, width)), np.zeros((count, width))
        away[driven] = 2e-9 * np.pi * (tones.frequency_hz[:, 0] - tones.qubit_hz).reshape(-1, width)
        span[driven] = tones.window()[1].reshape(-1, width)
        given = phase_of(sources, hear, alone)
        phase = np.zeros((count, given.shape[1]))
        phase[driven] = given
        phase = phase[:, :1] if (phase == phase[:, :1]).all() else phase
    cycles = _flux_of_row(bench, program, moment, ensemble=ensemble, entries=entries, length_ns=length)
    if cycles is not None:
        maps = phase_superoperators(2 * np.pi * cycles) @ maps
    quiet = np.maximum(length - span, 0.0)
    if quiet.any():
        maps = _resting(ensemble.decay, entries, quiet) @ maps
    return Row(maps, phase, away, span, length, turn)


def _flux_of_row(
    bench: Bench, program: Program, moment: Moment, *, ensemble: Ensemble, entries: IntArray, length_ns: FloatArray
) -> FloatArray | None:
    """(G, W): cycles that a row's flux pulses turn a qubit by; the lines are at rest when the row begins. None without flux pulses."""
    begin = np.zeros((program.targets, 1))
    played_here = [(operation, begin) for operation in moment if isinstance(operation, Flux)]
    pulses = flux_pulses(bench, program, played_here, ensemble.qubits[entries])
    if pulses is None:
        return None
    cells = history(pulses, program.points)
    zero = np.zeros((len(entries), 1))
    sums, _ = sums_over(elements_of(bench.hidden, bench.now, ensemble.qubits[entries]), pulses, cells, begin_ns=zero, length_ns=length_ns)
    cycles = sums[..., 0]
    return cycles[:, :1] if (cycles == cycles[:, :1]).all() else cycles


def strongest_of(hear: Heard, entries: int) -> IntArray:
    """Places of the strongest tone of each entry that hears one."""
    return np.concatenate([places[:, 0] for _, places in groups(hear, entries)]) if len(hear.entry) else np.zeros(0, np.int64)


def _resting(decay: Decay, entries: IntArray, quiet_ns: FloatArray) -> FloatArray:
    """(G, W, 9, 9): rest of so many nanoseconds, (G, W)."""
    maps = idle_superoperators(np.ascontiguousarray(quiet_ns).ravel() * 1e-9, part_of(decay, entries, quiet_ns.shape[1]))
    return maps.reshape(*quiet_ns.shape, 9, 9)
