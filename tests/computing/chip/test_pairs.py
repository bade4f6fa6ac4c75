"""Programs on pairs: the pair's evolution agrees with single qubits where it must, and trains with their moments."""

from __future__ import annotations

import numpy as np

from tiandi.computing.chip.bench import Bench
from tiandi.computing.chip.pairs import pairs_of, play_pairs
from tiandi.computing.chip.twin import ChipTwin, chip_twin
from tiandi.computing.instruments.program import Drive, Flux, Measure, Moment, Phase, Program, Shape, Train, Wait

COUPLER = np.array([0])


def a_pair(coupling: float) -> tuple[ChipTwin, np.ndarray]:
    """Two qubits, the coupler biased to about ``coupling`` [Hz]."""
    twin = chip_twin(2, seed=6, faults=False)
    settings = twin.settings
    biases = np.linspace(0.0, 0.5, 251)
    found = []
    for bias in biases:
        settings.coupler_bias_v[:] = bias
        found.append(twin.conditions(settings=settings).coupling_hz[0])
    settings.coupler_bias_v[:] = biases[np.abs(np.array(found) - coupling).argmin()]
    settings.oscillator_hz = twin.truth().frequency_hz - 70e6
    twin.configure(settings)
    return twin, twin.conditions().frequency_hz


def joint(twin: ChipTwin, steps: tuple[Moment | Train, ...], points: int = 1) -> np.ndarray:
    """(P, 3, 3)."""
    measures = tuple(Measure(np.array([line]), 6.4e9, 0.1, 500.0) for line in (0, 1))
    program = Program(1, points, steps, measures, 1)
    bench = Bench(twin.hidden, twin.electronics, twin.settings, twin.conditions())
    pairs = pairs_of(bench, program)
    assert pairs is not None
    start = np.zeros((2, 1, 3))
    start[..., 0] = 1.0
    return play_pairs(bench, program, pairs, start)[0]


def drive(frequency: np.ndarray, line: int, amplitude: float, phase: float | np.ndarray = 0.0) -> Drive:
    return Drive(np.array([line]), amplitude, 30.0, float(frequency[line]), phase, 0.33)


NOTHING = Flux(COUPLER, 0.0, 0.0, Shape("square"), coupler=True)


def test_exchange_swaps_at_twice_the_coupling() -> None:
    """Two qubits in resonance exchange an excitation as sin^2(2 pi g t)."""
    twin, frequency = a_pair(0.0)
    high = int(frequency.argmax())
    now, hidden = twin.conditions(), twin.hidden
    angle = np.linspace(0, 0.3, 3001)
    from tiandi.computing.chip.transmons import transmon_hz  # noqa: PLC0415

    volts = angle * hidden.volt[high]
    arc = transmon_hz(
        now.flux[high] + np.sign(now.flux[high]) * angle, hidden.maximum_hz[high], hidden.asymmetry[high], hidden.anharmonicity_hz[high]
    )
    volt = float(np.sign(now.flux[high]) * volts[np.abs(arc - now.bare_hz[1 - high]).argmin()])
    settings = twin.settings
    settings.flux_bias_v[high] = volt
    bias = np.linspace(0.0, 0.6, 61)
    for each in bias:
        settings.coupler_bias_v[:] = each
        if twin.conditions(settings=settings).coupling_hz[0] < -4e6:
            break
    twin.configure(settings)
    resonant = twin.conditions()
    coupling, apart = float(resonant.coupling_hz[0]), float(np.diff(resonant.bare_hz)[0])
    time = np.linspace(0.0, 150.0, 31)
    excited = np.zeros((1, 31, 3, 3))
    excited[..., 1, 0] = 1.0
    measures = tuple(Measure(np.array([line]), 6.4e9, 0.1, 500.0) for line in (0, 1))
    program = Program(1, 31, ((Flux(COUPLER, 0.0, time, Shape("square"), coupler=True),),), measures, 1)
    bench = Bench(twin.hidden, twin.electronics, twin.settings, resonant)
    pairs = pairs_of(bench, program)
    assert pairs is not None
    start = np.zeros((2, 1, 3))
    start[0, 0, 1] = start[1, 0, 0] = 1.0
    found = play_pairs(bench, program, pairs, start)[0, :, 0, 1]
    whole = np.hypot(coupling, 0.5 * apart)
    expected = (coupling / whole) ** 2 * np.sin(2 * np.pi * whole * time * 1e-9) ** 2
    assert np.abs(found - expected).max() < 0.03


def test_an_idle_pair_is_two_single_qubits() -> None:
    twin, frequency = a_pair(0.0)
    turn = np.linspace(0, 2 * np.pi, 9)
    steps: tuple[Moment, ...] = ((drive(frequency, 0, 0.27),), (Wait(400.0), NOTHING), (drive(frequency, 0, 0.27, turn),))
    found = joint(twin, steps, 9).sum(axis=2)[:, 1]
    reference = joint(twin, ((drive(frequency, 0, 0.27),), (NOTHING,), (drive(frequency, 0, 0.27, turn),)), 9).sum(axis=2)[:, 1]
    assert np.abs(found - reference).max() < 0.03
    assert found.max() - found.min() > 0.9


def test_a_train_on_a_pair_is_its_moments() -> None:
    twin, frequency = a_pair(0.0)
    both = (drive(frequency, 0, 0.27), drive(frequency, 1, 0.25, 0.4))
    gate = (Flux(np.array([int(frequency.argmax())]), 0.1, 40.0), Flux(COUPLER, 0.1, 40.0, coupler=True))
    table: tuple[Moment, ...] = (both, gate, (Phase(np.array([0]), 0.7),), (drive(frequency, 1, 0.3),))
    order = np.array([[[0, 1, 2, 3, 0, 1, -1, 3, 2, 0]]], np.int16)
    train = joint(twin, (Train(table, order),))[0]
    one_by_one = joint(twin, tuple(table[row] for row in order[0, 0] if row >= 0))[0]
    # Tails of flux pulses end with their rows in a train, and what is swapped has a fixed phase there.
    assert np.abs(train - one_by_one).max() < 0.03
    assert train.sum() == np.float64(1.0) or abs(train.sum() - 1) < 1e-9
