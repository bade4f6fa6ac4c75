"""Programs on pairs: a coupler and its two qubits for each target, evolved together.

Moments without a drive pulse are the pair's own evolution (evolution.pair), with frequencies and coupling as the flux pulses make them.
Drive pulses act on each qubit alone, with the strongest tone of their target's lines, and the pair's ZZ is put beside them. Slow noise is
left out, decay is that of the idle frequencies, and other pairs are seen through crosstalk of flux lines alone.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from tiandi.computing.chip.bench import Bench
from tiandi.computing.chip.checks import grid
from tiandi.computing.chip.ensemble import decay_of_entries, equilibrium
from tiandi.computing.chip.evolution.chains import apply_pair_chains
from tiandi.computing.chip.evolution.decay import Decay, idle_superoperators
from tiandi.computing.chip.evolution.hermitian import phase_superoperators
from tiandi.computing.chip.evolution.pair import CHUNKS, PairPulses, pair_density_matrices
from tiandi.computing.chip.flux import FluxHistory, FluxPulses, elements_of, flux_pulses, history, sums_over
from tiandi.computing.chip.pair_points import alike_points, flux_at, strongest_tones
from tiandi.computing.chip.pair_turns import turn_pair
from tiandi.computing.chip.parameters import FloatArray, IntArray
from tiandi.computing.chip.playing import columns_of, flux_of, moment_ns, phase_of, train_ns, turn_virtually
from tiandi.computing.chip.pulsing import maps_of, part_of, played, turn_coherences
from tiandi.computing.chip.tones import sources_of
from tiandi.computing.chip.transmons import coupling_hz, push
from tiandi.computing.instruments.program import Drive, Flux, Moment, Operation, Phase, Program, Train
from tiandi.errors import InputError

CELLS = 3_000_000
"""Samples of one quantity kept at once; bounds the memory."""
MOST_SAMPLES = 2_049


@dataclass(frozen=True, eq=False)
class Pairs:
    """(T,): of each target the coupler and its qubits; ``ends`` (2, T)."""

    coupler: IntArray
    ends: IntArray


def pairs_of(bench: Bench, program: Program) -> Pairs | None:
    """The pairs of a program with flux pulses on couplers; None for programs without. InputError for pairs that share a qubit."""
    moments = [moment for step in program.steps for moment in (step.table if isinstance(step, Train) else (step,))]
    found = [np.asarray(part.lines, np.int64) for moment in moments for part in moment if isinstance(part, Flux) and part.coupler]
    if not found:
        return None
    if any((lines != found[0]).any() for lines in found):
        raise InputError("couplers of a target", "several", "must be one for each target in all its flux pulses")
    ends = bench.hidden.layout.couplers[found[0]].T
    if len(np.unique(ends)) != ends.size:
        raise InputError("couplers of one program", "two that share a qubit", "must have qubits of their own")
    for measure in program.measures:
        if ((np.asarray(measure.lines) != ends[0]) & (np.asarray(measure.lines) != ends[1])).any():
            raise InputError("lines of a measure", "not of the pair", "must be one of the two qubits that the target's coupler joins")
    return Pairs(found[0], ends)


def play_pairs(bench: Bench, program: Program, pairs: Pairs, initial: FloatArray) -> FloatArray:
    """(T, P, 3, 3): joint populations at the end, first qubit first, from ``initial`` (2 T, P or 1, 3) of the two, one after the other."""
    targets, points = program.targets, program.points
    state = np.zeros((targets, points, 9, 9))
    first, second = (np.broadcast_to(part, (targets, points, 3)) for part in np.split(initial, 2))
    state[..., :3, :3] = first[..., :, None] * second[..., None, :]
    pair = PairPlay(bench, program, pairs)
    for step in program.steps:
        state = pair.train(state, step) if isinstance(step, Train) else pair.moment(state, step)
    return state[..., :3, :3]


def resting_pairs(bench: Bench, pairs: Pairs) -> FloatArray:
    """(2 T, 1, 3): both qubits in equilibrium."""
    return equilibrium(bench.now, pairs.ends.ravel())[:, None, :]


class PairPlay:
    """The pairs of one program on their way through it."""

    def __init__(self, bench: Bench, program: Program, pairs: Pairs) -> None:
        self._bench, self._program, self._pairs = bench, program, pairs
        self._clock = np.zeros((program.targets, program.points))
        self._virtual = np.zeros((bench.electronics.qubits, program.points))
        self._elements = np.stack([*pairs.ends, bench.hidden.qubits + pairs.coupler])
        played_flux = flux_of(program)
        parts = [flux_pulses(bench, program, played_flux, each) for each in self._elements]
        self.flux: list[tuple[FluxPulses, FluxHistory] | None] = [
            None if part is None else (part, history(part, program.points)) for part in parts
        ]
        lengths = [train_ns(program, step) if isinstance(step, Train) else moment_ns(program, step) for step in program.steps]
        self._alike = alike_points(self.flux, lengths, program.points)
        self._folded = flux_at(self.flux, self._alike[:, 0])
        self._decay = [decay_of_entries(bench.now, each) for each in pairs.ends]

    def moment(self, state: FloatArray, moment: Moment) -> FloatArray:
        """``state`` (T, P, 9, 9) after one moment."""
        length = np.broadcast_to(moment_ns(self._program, moment), self._clock.shape)
        drives = [operation for operation in moment if isinstance(operation, Drive)]
        if drives and any(isinstance(operation, Flux) for operation in moment):
            raise InputError("moment", "drive and flux pulses at once", "must hold one kind where a pair is played")
        if drives:
            state = self._driven(state, drives, length, self._clock, self._virtual)
        elif length.any():
            alike, clock = self._alike, self._clock
            folded = self._joint(state[:, alike], self._folded, clock[:, alike[:, 0]], length[:, alike[:, 0]], moving=self._moves(moment))
            state = np.empty_like(state)
            state[:, alike] = folded
        turn_virtually(self._program, moment, self._virtual)
        self._clock = self._clock + length
        return state

    def _moves(self, moment: Moment) -> bool:
        return any(isinstance(operation, Flux) for operation in moment)

    def _driven(self, state: FloatArray, drives: list[Drive], length: FloatArray, clock: FloatArray, virtual: FloatArray) -> FloatArray:
        for side in (0, 1):
            view = state.swapaxes(2, 3) if side == 0 else state
            maps, angle, away, span, entries = _local(
                self._bench, self._program, drives, qubits=self._pairs.ends[side], decay=self._decay[side], clock=clock, virtual=virtual
            )
            if len(entries):
                part = view[entries]
                turned_by = angle - away * clock[entries]
                turn_coherences(part, turned_by[:, :, None])
                part = part @ maps.swapaxes(-1, -2)
                turn_coherences(part, (-turned_by + away * span)[:, :, None])
                view[entries] = part
            rest = length.copy()
            rest[entries] -= span
            maps = _rest(self._decay[side], np.maximum(rest, 0.0))
            view[:] = view @ maps.swapaxes(-1, -2)
        return turn_pair(state, 2e-9 * np.pi * self._bench.now.zz_hz[self._pairs.coupler][:, None] * length)

    def _joint(
        self,
        state: FloatArray,
        flux: list[tuple[FluxPulses, FluxHistory] | None],
        clock: FloatArray,
        length: FloatArray,
        *,
        moving: bool,
    ) -> FloatArray:
        """The pair's own evolution over ``length`` (T, P) from ``clock``; ``state`` (T, P, ..., 9, 9) in the qubits' own frames."""
        samples = samples_of(float(length.max()), moving)
        frame = self.frame_rad_ns()
        points = length.shape[1]
        result = np.empty_like(state)
        share = max(1, CELLS // (samples * points))
        for begin in range(0, len(state), share):
            chosen = np.arange(begin, min(begin + share, len(state)))
            given = state[chosen].copy()
            turn_coherences(given, _wide(-frame[chosen, None] * clock[chosen], given.ndim))
            rows = given.reshape(len(chosen) * points, -1, 81)
            pulses = self.pulses(chosen, flux, clock[chosen], length[chosen], samples)
            one, other = (part_of(decay, chosen, points) for decay in self._decay)
            out = pair_density_matrices(pulses, one, other, rows).reshape(given.shape)
            turn_coherences(out, _wide(frame[chosen, None] * (clock[chosen] + length[chosen]), given.ndim))
            result[chosen] = out
        return result

    def frame_rad_ns(self) -> FloatArray:
        """(T,): the common frame, the first qubit's, minus the second's own."""
        first, second = self._bench.now.frequency_hz[self._pairs.ends]
        return 2e-9 * np.pi * (first - second)

    def pulses(
        self, chosen: IntArray, flux: list[tuple[FluxPulses, FluxHistory] | None], clock: FloatArray, length: FloatArray, samples: int
    ) -> PairPulses:
        """What the chosen pairs live through: detunings and exchange at ``samples`` times of each moment."""
        hidden, now = self._bench.hidden, self._bench.now
        first, second = self._pairs.ends[:, chosen]
        coupler = self._pairs.coupler[chosen]
        shifts = [self._series(place, chosen=chosen, flux=flux[place], clock=clock, length=length, samples=samples) for place in range(3)]
        own = push(now.bare_hz[first] - now.bare_hz[second], now.coupling_hz[coupler])
        one = now.frequency_hz[first] - own
        other = now.frequency_hz[second] + own

        def whole(values: FloatArray) -> FloatArray:
            return values[:, None, None]

        exchange = coupling_hz(
            whole(now.bare_hz[first]) + shifts[0],
            whole(now.bare_hz[second]) + shifts[1],
            whole(now.coupler_hz[coupler]) + shifts[2],
            direct=whole(hidden.couplers.direct_hz[coupler]),
            first=whole(hidden.couplers.first_hz[coupler]),
            second=whole(hidden.couplers.second_hz[coupler]),
        )
        count = len(chosen) * clock.shape[1]
        table = np.concatenate(
            [np.broadcast_to(part, (*clock.shape, samples)).reshape(count, samples) for part in (
                shifts[0], whole(other - one) + shifts[1] , exchange
            )]
        )  # fmt: skip
        # The frame is the first qubit's frequency with its neighbours: its bare one lies below by the push.
        base = np.repeat(2 * np.pi * -own, clock.shape[1])
        rows = np.arange(count)
        unit = np.full(count, 2 * np.pi)
        return PairPulses(
            shapes=table,
            duration_s=1e-9 * length.ravel(),
            first_shape=rows,
            second_shape=count + rows,
            coupling_shape=2 * count + rows,
            first_rad_s=np.stack([base, unit], axis=1),
            second_rad_s=np.stack([base, unit], axis=1),
            coupling_rad_s=np.stack([np.zeros(count), unit], axis=1),
            first_anharmonicity_rad_s=np.repeat(2 * np.pi * hidden.anharmonicity_hz[first], clock.shape[1]),
            second_anharmonicity_rad_s=np.repeat(2 * np.pi * hidden.anharmonicity_hz[second], clock.shape[1]),
        )

    def _series(
        self,
        place: int,
        *,
        chosen: IntArray,
        flux: tuple[FluxPulses, FluxHistory] | None,
        clock: FloatArray,
        length: FloatArray,
        samples: int,
    ) -> FloatArray:
        """(G, P, samples), or zeros (1, 1, 1): change of a frequency [Hz]."""
        if flux is None or flux[0].first_ns > float((clock + length).max()):
            return np.zeros((1, 1, 1))
        elements = self._elements[place][chosen]
        past = FluxHistory(flux[1].state[chosen])
        _, series = sums_over(
            elements_of(self._bench.hidden, self._bench.now, elements),
            flux[0].rows(chosen),
            past,
            begin_ns=clock,
            length_ns=length,
            window=(np.zeros_like(clock), length, samples),
        )
        flux[1].state[chosen] = past.state
        return series

    def train(self, state: FloatArray, train: Train) -> FloatArray:
        """``state`` after a train: points together where they differ only in their order, else one by one."""
        order = np.asarray(train.order)
        alike = all(columns_of(self._program, moment) == 1 for moment in train.table) and bool((state == state[:, :1]).all())
        if alike and (self._clock == self._clock[:, :1]).all() and (self._virtual == self._virtual[:, :1]).all():
            state = self._chains(state[:, 0], train, 0, order)
        else:
            parts = [self._chains(state[:, point], train, point, order[:, point : point + 1]) for point in range(self._program.points)]
            state = np.concatenate(parts, axis=1)
        for row, moment in enumerate(train.table):
            times = (order == row).sum(axis=2)
            self._clock = self._clock + moment_ns(self._program, moment) * times
            turn_virtually(self._program, moment, self._virtual, times)
        return state

    def _chains(self, given: FloatArray, train: Train, point: int, order: np.ndarray) -> FloatArray:
        """(T, P, 9, 9) from ``given`` (T, 9, 9), with the numbers of one point.

        States are kept in the frames of the train's own tones. What a pulse on the coupler leaves swapped or leaked has the phase of a
        pulse at time 0, and ZZ beside drive pulses is left out.
        """
        targets = self._program.targets
        alone = _at_point(self._program, train, point)
        single = PairPlay(self._bench, alone, self._pairs)
        table = alone.steps[0].table if isinstance(alone.steps[0], Train) else ()
        away, line = _tones_of(self._bench, alone, table, self._pairs)
        clock, virtual = self._clock[:, point], self._virtual[:, point]
        rows = len(table)
        local, joint = np.zeros((2, targets, rows, 9, 9)), list[FloatArray]()
        places = np.full((rows, 3), -1)
        for row, moment in enumerate(table):
            length = moment_ns(alone, moment)
            turns = np.stack([_turn_of(alone, moment, each) for each in line])
            if any(isinstance(part, Flux) for part in moment):
                places[row, 2] = len(joint)
                joint.append(single.joint_map(moment, length, turns - away * length[:, 0]))
            else:
                places[row, :2] = row
                for side in (0, 1):
                    local[side, :, row] = single.local_map(side, moment, length, away[side], turns[side])
        start = given[:, None].copy()
        for side in (0, 1):
            turn_coherences(_side(start, side), (virtual[line[side]] - away[side] * clock)[:, None, None])
        both = np.stack(joint, axis=1) if joint else np.zeros((targets, 1, 81, 81))
        words = np.where(order[..., None] >= 0, places[order], -1)
        out = apply_pair_chains(start.reshape(targets, 81), local[0], local[1], both, words).reshape(targets, -1, 9, 9)
        spent, turned = np.zeros(out.shape[:2]), np.zeros((2, *out.shape[:2]))
        for row, moment in enumerate(table):
            times = (order == row).sum(axis=2)
            spent = spent + moment_ns(alone, moment) * times
            turned = turned + np.stack([_turn_of(alone, moment, each) for each in line])[:, :, None] * times
        for side in (0, 1):
            back = away[side][:, None] * (clock[:, None] + spent) - turned[side] - virtual[line[side]][:, None]
            turn_coherences(_side(out, side), back[:, :, None])
        return out

    def joint_map(self, moment: Moment, length: FloatArray, turns: FloatArray) -> FloatArray:
        """(T, 81, 81): a moment with flux pulses, lines at rest before it, and then a turn of each qubit, (2, T)."""
        here = [(part, np.zeros_like(length)) for part in moment if isinstance(part, Flux)]
        parts = [flux_pulses(self._bench, self._program, here, each) for each in self._elements]
        flux: list[tuple[FluxPulses, FluxHistory] | None] = [None if part is None else (part, history(part, 1)) for part in parts]
        unit = np.broadcast_to(np.eye(81).reshape(81, 9, 9), (len(length), 1, 81, 9, 9))
        images = self._joint(unit, flux, np.zeros_like(length), length, moving=True)
        for side in (0, 1):
            turn_coherences(_side(images, side), turns[side][:, None, None, None])
        return images.reshape(len(length), 81, 81).swapaxes(1, 2)

    def local_map(self, side: int, moment: Moment, length: FloatArray, away: FloatArray, turn: FloatArray) -> FloatArray:
        """(T, 9, 9): a moment of one qubit in its tone's frame, and then its turn (T,)."""
        result = np.broadcast_to(np.eye(9), (len(length), 9, 9)).copy()
        drives = [part for part in moment if isinstance(part, Drive)]
        rest = length.copy()
        if drives:
            qubits, clock = self._pairs.ends[side], np.zeros_like(length)
            maps, angle, _, span, entries = _local(
                self._bench,
                self._program,
                drives,
                qubits=qubits,
                decay=self._decay[side],
                clock=clock,
                virtual=np.zeros((self._bench.electronics.qubits, 1)),
                own=True,
            )
            turned = phase_superoperators(angle[:, 0]), phase_superoperators(-angle[:, 0])
            result[entries] = turned[1] @ maps[:, 0] @ turned[0]
            rest[entries] -= span
        quiet = np.maximum(rest, 0.0)
        return phase_superoperators(turn - away * quiet[:, 0]) @ _rest(self._decay[side], quiet)[:, 0] @ result


def _side(state: FloatArray, side: int) -> FloatArray:
    """A view of (..., 9, 9) with the vector of one qubit last."""
    return state.swapaxes(-1, -2) if side == 0 else state


def _at_point(program: Program, train: Train, point: int) -> Program:
    """The same train with the numbers of one point alone."""
    table = tuple(tuple(_of_point(program, part, point) for part in moment) for moment in train.table)
    return replace(program, points=1, steps=(Train(table, np.full((1, 1, 1), -1, np.int16)),))


def _of_point(program: Program, operation: Operation, point: int) -> Operation:
    numbers = ("amplitude", "duration_ns", "frequency_hz", "phase_rad", "drag_ns", "start_ns", "angle_rad")
    given = {name: grid(getattr(operation, name), program.targets, program.points, name) for name in numbers if hasattr(operation, name)}
    return replace(operation, **{name: values[:, point : point + 1] for name, values in given.items()})  # type: ignore[arg-type]


def _turn_of(program: Program, moment: Moment, line: IntArray) -> FloatArray:
    """(T,): by how much the moment's virtual phases turn later pulses on each target's ``line``."""
    total = np.zeros(program.targets)
    for part in moment:
        if isinstance(part, Phase):
            total += np.where(np.asarray(part.lines) == line, grid(part.angle_rad, program.targets, 1, "angle_rad")[:, 0], 0.0)
    return total


def _tones_of(bench: Bench, program: Program, table: tuple[Moment, ...], pairs: Pairs) -> tuple[FloatArray, IntArray]:
    """(2, T) twice: how far each side's tone is above its qubit [rad/ns], and its line; without a tone 0, and the strongest line."""
    away = np.zeros((2, program.targets))
    line = np.stack([np.asarray(abs(bench.now.drive[qubits]).argmax(axis=1)).ravel() for qubits in pairs.ends]).astype(np.int64)
    known = np.zeros((2, program.targets), bool)
    for moment in table:
        drives = [part for part in moment if isinstance(part, Drive)]
        if not drives:
            continue
        sources = sources_of(program, drives, np.zeros((bench.electronics.qubits, 1)), bench.electronics)
        for side in (0, 1):
            qubits = pairs.ends[side]
            hear, alone = strongest_tones(bench, sources, qubits, own=True)
            entries = hear.entry[alone]
            found = 2e-9 * np.pi * (sources.frequency_hz[hear.source[alone], 0] - bench.now.frequency_hz[qubits[entries]])
            other = known[side, entries] & (np.abs(found - away[side, entries]) > 1e-12)
            if other.any():
                raise InputError(
                    "frequency_hz in a train on pairs", "several for one qubit", "must be the same in all moments of the table"
                )
            away[side, entries], line[side, entries], known[side, entries] = found, sources.line[hear.source[alone]], True
    return away, line


def _wide(angle: FloatArray, dimensions: int) -> FloatArray:
    """(T, P) -> as many axes as a state has, without its last."""
    return angle.reshape(*angle.shape, *([1] * (dimensions - 3)))


def samples_of(longest_ns: float, moving: bool) -> int:
    """Odd, a multiple of twice the parts between which decay is put, and 1."""
    if not moving:
        return 2 * CHUNKS + 1
    parts = max(1, int(np.ceil(longest_ns * 1.2 / CHUNKS)))
    return min(2 * CHUNKS * parts + 1, MOST_SAMPLES)


def _rest(decay: Decay, time_ns: FloatArray) -> FloatArray:
    """(T, P or 1, 9, 9)."""
    time = time_ns[:, :1] if (time_ns == time_ns[:, :1]).all() else time_ns
    maps = idle_superoperators(np.ascontiguousarray(time).ravel() * 1e-9, part_of(decay, np.arange(len(time)), time.shape[1]))
    return maps.reshape(*time.shape, 9, 9)


def _local(
    bench: Bench,
    program: Program,
    drives: list[Drive],
    *,
    qubits: IntArray,
    decay: Decay,
    clock: FloatArray,
    virtual: FloatArray,
    own: bool = False,
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray, IntArray]:
    """Maps (G, W, 9, 9), phase, detuning of the frame [rad/ns] and length [ns] (G, P or W) of what drive pulses do to the entries (G,)."""
    sources = sources_of(program, drives, virtual, bench.electronics)
    hear, alone = strongest_tones(bench, sources, qubits, own=own)
    entries = hear.entry[alone]
    frequency = bench.now.frequency_hz[qubits[entries]]
    tones, width = played(bench, sources, hear, alone[:, None], qubits=qubits[entries], qubit_hz=frequency, clock_ns=clock[entries])
    maps = maps_of(tones, sources.shapes, part_of(decay, entries, width)).reshape(len(entries), width, 9, 9)
    away = 2e-9 * np.pi * (tones.frequency_hz[:, 0] - tones.qubit_hz).reshape(len(entries), width)
    return maps, phase_of(sources, hear, alone), away, tones.window()[1].reshape(len(entries), width), entries
