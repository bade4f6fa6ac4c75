"""Drive pulses on an ensemble: what is heard becomes a batch for evolution.transmon, each thing evolved once.

Each entry's strongest tone makes the frame of its pulse: the state is turned into it, evolved, and turned back. Where nothing of the pulse
changes over the points the map is computed once for the entry; where it does, each point's state is evolved by itself.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from tiandi.computing.chip.bench import Bench
from tiandi.computing.chip.ensemble import Ensemble
from tiandi.computing.chip.evolution.decay import Decay, idle_superoperators
from tiandi.computing.chip.evolution.hermitian import unitary_superoperators
from tiandi.computing.chip.evolution.transmon import Pulses, Tones, density_matrices, samples_needed, superoperators, unitaries
from tiandi.computing.chip.parameters import ComplexArray, FloatArray, IntArray
from tiandi.computing.chip.tones import Heard, Sources, frequency_of
from tiandi.computing.instruments.program import Shape
from tiandi.computing.instruments.waveforms import drive_envelope

ERROR = 1e-4
"""Of a pulse's evolution, in elements of the map."""
SHORT_S = 100e-9
BATCH = 60_000
"""Pulses evolved at once; bounds the memory."""


@dataclass(frozen=True, eq=False)
class Played:
    """Tones of the same number K for B states, strongest first; (B, K) unless said otherwise. Images have their signs turned already."""

    rabi_rad_s: FloatArray
    frequency_hz: FloatArray
    phase_rad: FloatArray
    drag_ns: FloatArray
    duration_ns: FloatArray
    start_ns: FloatArray
    shape: IntArray
    clock_ns: FloatArray
    """(B,): when the moment began."""
    qubit_hz: FloatArray
    anharmonicity_hz: FloatArray
    """(B,)."""
    shift_hz: FloatArray | None = None
    """(B, M): what flux pulses add to the frequency over the window, at M even times; None without flux pulses."""

    def window(self) -> tuple[FloatArray, FloatArray]:
        """(B,): when the first of the tones begins, after the moment's start, and how long until the last one's end."""
        begin = self.start_ns.min(axis=1)
        return begin, (self.start_ns + self.duration_ns).max(axis=1) - begin

    def rows(self, chosen: IntArray | slice) -> Played:
        """Some of the B states."""
        values = {name: getattr(self, name)[chosen] for name in self.__dataclass_fields__ if getattr(self, name) is not None}
        return replace(self, **values)


def groups(hear: Heard, entries: int) -> list[tuple[IntArray, IntArray]]:
    """(entries (G,), places in ``hear`` (G, K), strongest first) for each number K of tones that some entries hear."""
    order = np.lexsort((-hear.strength_rad, hear.entry))
    count = np.bincount(hear.entry, minlength=entries)
    begin = np.concatenate([[0], np.cumsum(count)[:-1]])
    found = []
    for tones in np.unique(count[count > 0]):
        chosen = np.flatnonzero(count == tones)
        found.append((chosen, order[begin[chosen][:, None] + np.arange(tones)]))
    return found


def played(
    bench: Bench,
    sources: Sources,
    hear: Heard,
    places: IntArray,
    *,
    qubits: IntArray,
    qubit_hz: FloatArray,
    clock_ns: FloatArray,
    shift_hz: FloatArray | None = None,
) -> tuple[Played, int]:
    """Tones of a group of G entries, ``places`` (G, K), as B = G x width states, and the width: P, or 1 where no point differs."""
    group, tones = places.shape
    source, image = hear.source[places], hear.image[places]
    sign = np.where(image, -1.0, 1.0)[:, :, None]
    flat = source.ravel()
    frequency = frequency_of(bench.settings, sources, flat, image.ravel())
    amplitude = sources.amplitude[flat]
    fields = [amplitude, frequency, sources.drag_ns[flat], sources.duration_ns[flat], sources.start_ns[flat]]
    if tones > 1:
        fields += [sources.phase_rad[flat], np.repeat(clock_ns, tones, axis=0)]
    width = max(1 if _alike(field) else field.shape[1] for field in fields)
    if shift_hz is not None:
        width = shift_hz.shape[1]

    def spread(values: FloatArray) -> FloatArray:
        values = values[:, :1] if width == 1 else np.broadcast_to(values, (len(values), width))
        return values.reshape(group, tones, width)

    def flatten(values: FloatArray) -> FloatArray:
        return np.ascontiguousarray(values.swapaxes(1, 2)).reshape(group * width, tones)

    reach = hear.reach_hz[places][:, :, None]
    phase = sign * spread(sources.phase_rad[flat]) + np.angle(reach)
    clock = clock_ns[:, :1] if width == 1 else np.broadcast_to(clock_ns, (group, width))
    one = np.ones((group, tones, width))
    result = Played(
        rabi_rad_s=flatten(2 * np.pi * np.abs(reach) * spread(amplitude)),
        frequency_hz=flatten(spread(frequency)),
        phase_rad=flatten(phase),
        drag_ns=flatten(sign * spread(sources.drag_ns[flat])),
        duration_ns=flatten(spread(sources.duration_ns[flat])),
        start_ns=flatten(spread(sources.start_ns[flat])),
        shape=flatten(sources.shape[source][:, :, None] * one).astype(np.int64),
        clock_ns=np.ascontiguousarray(clock).ravel(),
        qubit_hz=np.repeat(qubit_hz, width),
        anharmonicity_hz=np.repeat(bench.hidden.anharmonicity_hz[qubits], width),
        shift_hz=None if shift_hz is None else shift_hz.reshape(group * width, -1),
    )
    return result, width


def _alike(field: FloatArray) -> bool:
    return field.shape[1] == 1 or bool((field == field[:, :1]).all())


def drive_group(
    ensemble: Ensemble, entries: IntArray, tones: Played, *, width: int, shapes: tuple[Shape, ...], phase_rad: FloatArray
) -> None:
    """Play ``tones`` on ``entries`` (G,) of the ensemble.

    ``phase_rad`` (G, P or 1): of the strongest tone at all points; the state is turned by it, so that it need not be in the pulse.
    """
    points, nodes = ensemble.vectors.shape[1:3]
    begin, length = (part.reshape(len(entries), width) for part in tones.window())
    clock = ensemble.clock_ns[ensemble.target[entries]]
    away = 2e-9 * np.pi * (tones.frequency_hz[:, 0] - tones.qubit_hz).reshape(len(entries), width)
    vectors = ensemble.vectors[entries]
    turned_by = phase_rad - away * (clock + begin)
    turn_coherences(vectors, turned_by[:, :, None])
    decay = part_of(ensemble.decay, entries, width)
    if width == 1:
        vectors = vectors @ maps_of(tones, shapes, decay)[:, None].swapaxes(-1, -2)
    else:
        given = vectors.reshape(len(entries) * points, nodes, 9)
        out = np.empty_like(given)
        for first in range(0, len(given), BATCH):
            chosen = np.arange(first, min(first + BATCH, len(given)))
            out[chosen] = evolved(tones.rows(chosen), shapes, part_of(decay, chosen, 1), given[chosen])
        vectors = out.reshape(vectors.shape)
    turn_coherences(vectors, (-turned_by + away * length)[:, :, None])
    ensemble.vectors[entries] = vectors


def evolved(tones: Played, shapes: tuple[Shape, ...], decay: Decay, given: FloatArray) -> FloatArray:
    """(B, R, 9) -> (B, R, 9): density matrices after the tones, in the frame of the strongest.

    Many states of a short pulse get its unitary, half of the decay before it and half after: the error is below T/T1 times a tenth.
    """
    pulses = _pulses(tones, shapes)
    if given.shape[1] == 1 or float(np.max(pulses.duration_s)) > SHORT_S:
        return density_matrices(pulses, decay, given)
    half = idle_superoperators(0.5 * pulses.duration_s, decay)
    return given @ (half @ unitary_superoperators(unitaries(pulses)) @ half).swapaxes(1, 2)


def turn_coherences(vectors: FloatArray, angle_rad: FloatArray) -> None:
    """Turn <0|rho|1> of vectors (..., 9) by exp(i angle), in place."""
    phase = np.exp(1j * angle_rad)
    for place, factor in ((3, phase), (5, phase * phase), (7, phase)):
        value = (vectors[..., place] + 1j * vectors[..., place + 1]) * factor
        vectors[..., place], vectors[..., place + 1] = value.real, value.imag


def maps_of(tones: Played, shapes: tuple[Shape, ...], decay: Decay) -> FloatArray:
    """(B, 9, 9): the same as `evolved`, as a map."""
    out = np.empty((len(tones.clock_ns), 9, 9))
    for first in range(0, len(out), BATCH):
        chosen = np.arange(first, min(first + BATCH, len(out)))
        out[chosen] = superoperators(_pulses(tones.rows(chosen), shapes), part_of(decay, chosen, 1))
    return out


def part_of(decay: Decay, entries: IntArray, width: int) -> Decay:
    """Rates of some entries, each repeated ``width`` times."""
    return Decay(*(np.repeat(np.asarray(rate)[entries], width) for rate in (decay.down_per_s, decay.dephasing_per_s, decay.up_per_s)))


def _pulses(tones: Played, shapes: tuple[Shape, ...]) -> Pulses:
    """The batch for evolution.transmon. Rows of samples are shared by states whose tones have the same times, shapes and DRAG."""
    begin, length = tones.window()
    count, number = tones.rabi_rad_s.shape
    keys = np.stack(
        [tones.shape, tones.start_ns - begin[:, None], tones.duration_ns, tones.drag_ns, np.repeat(length[:, None], number, 1)], axis=2
    )
    keys, row = _distinct(keys.reshape(-1, 5))
    row = row.reshape(count, number)
    away = 2 * np.pi * (tones.frequency_hz - tones.frequency_hz[:, :1])
    needed = _samples(tones, length, away, shapes)
    samples = np.zeros(len(keys), np.int64)
    np.maximum.at(samples, row, needed[:, None])
    # Tones of one state have as many samples as its first: give each row the most that any of its states needs.
    for _ in range(2):
        np.maximum.at(samples, row, samples[row].max(axis=1, keepdims=True))
    table = np.zeros((len(keys), samples.max()), np.complex128)
    for number_of_shape, shape in enumerate(shapes):
        chosen = np.flatnonzero(keys[:, 0] == number_of_shape)
        if len(chosen):
            table[chosen] = _sampled(shape, keys[chosen], samples[chosen], samples.max())
    extra = None
    if number > 1:
        turn = np.exp(1j * (tones.phase_rad[:, 1:] - tones.phase_rad[:, :1]))
        start = np.repeat(((tones.clock_ns + begin) * 1e-9)[:, None], number - 1, axis=1)
        extra = Tones(row[:, 1:].copy(), tones.rabi_rad_s[:, 1:] * turn, away[:, 1:].copy(), start)
    flux: dict[str, FloatArray | IntArray] = {}
    if tones.shift_hz is not None:
        flux = {
            "flux_shapes": _followed(tones.shift_hz, samples[row[:, 0]], samples.max()),
            "flux_shape": np.arange(count),
            "flux_rad_s": np.full((count, 1), 2 * np.pi),
        }
    return Pulses(
        shapes=table,
        shape=row[:, 0].copy(),
        scale_rad_s=tones.rabi_rad_s[:, 0].astype(np.complex128),
        duration_s=length * 1e-9,
        detuning_rad_s=2 * np.pi * (tones.qubit_hz - tones.frequency_hz[:, 0]),
        anharmonicity_rad_s=2 * np.pi * tones.anharmonicity_hz,
        samples=samples,
        tones=extra,
        **flux,  # type: ignore[arg-type]
    )


def _followed(shift_hz: FloatArray, samples: IntArray, most: int) -> FloatArray:
    """(B, most): the shifts (B, M) at as many even times as the pulse has samples, straight lines between those given."""
    place = np.minimum(np.arange(most) / (samples[:, None] - 1), 1.0) * (shift_hz.shape[1] - 1)
    low = np.minimum(place.astype(np.int64), shift_hz.shape[1] - 2)
    left, right = np.take_along_axis(shift_hz, low, axis=1), np.take_along_axis(shift_hz, low + 1, axis=1)
    return left + (place - low) * (right - left)


def _distinct(keys: FloatArray) -> tuple[FloatArray, IntArray]:
    """Distinct rows of ``keys``, and of each row which it is. A row is known by its product with irrational numbers: equal rows have equal
    products, and that others fall together is as good as impossible."""
    marks = keys @ np.sqrt(np.array([2.0, 3.0, 5.0, 7.0, 11.0]))
    _, first, row = np.unique(marks, return_index=True, return_inverse=True)
    return keys[first], row


def _sampled(shape: Shape, keys: FloatArray, samples: IntArray, most: int) -> ComplexArray:
    number = np.arange(most)
    share = np.minimum(number / (samples[:, None] - 1), 1.0)
    time = share * keys[:, 4:5] - keys[:, 1:2]
    # A sample on the pulse's very end must not fall outside by rounding.
    time = np.where(
        np.abs(time - keys[:, 2:3]) < 1e-9 * keys[:, 4:5], keys[:, 2:3], np.where(np.abs(time) < 1e-9 * keys[:, 4:5], 0.0, time)
    )
    return drive_envelope(shape, time, keys[:, 2:3], keys[:, 3:4])


def _samples(tones: Played, length_ns: FloatArray, away_rad_s: FloatArray, shapes: tuple[Shape, ...]) -> IntArray:
    """(B,): odd numbers. A short pulse needs steps that follow its anharmonicity; a long weak one only steps that follow its own turns."""
    rabi, far = np.abs(tones.rabi_rad_s).max(axis=1), np.abs(away_rad_s).max(axis=1)
    edges = np.array([1 / shape.edge_ns if shape.kind == "flattop" and shape.edge_ns > 0 else 0.0 for shape in shapes])
    rise = 4e9 * np.maximum(edges[tones.shape].max(axis=1), 1 / np.maximum(length_ns, 1e-3))
    fastest = np.minimum(2e9, np.maximum(8 * rabi, rise) + 1.5 * far)
    fastest = np.where(length_ns < 60.0, 2e9, fastest)
    levels = np.unique(np.ceil(np.log2(np.maximum(fastest * length_ns * 1e-9, 1.0)) * 2).astype(np.int64), return_inverse=True)
    counts = np.array([samples_needed(2.0 ** (level / 2) / 2e9, error=ERROR) for level in levels[0]], np.int64)
    return counts[levels[1]]
