"""Each fault as a laboratory meets it, through the interface of an instrument alone; and that nothing hidden comes by that way."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, is_dataclass

import numpy as np
import pytest

from tiandi.computing.chip.faults import PER_THOUSAND, Fault
from tiandi.computing.chip.twin import ChipTwin, chip_twin
from tiandi.computing.instruments.client import connect
from tiandi.computing.instruments.instrument import Instrument, Settings, idle
from tiandi.computing.instruments.program import Drive, Measure, Program
from tiandi.computing.instruments.server import serve

QUBITS = 66
ALL = np.arange(QUBITS)
INTERFACE = {"electronics", "now_s", "configure", "run", "monitor", "rest"}
FOR_A_JUDGE = {"truth", "conditions", "hidden", "settings"}


@pytest.fixture(scope="module")
def chip() -> ChipTwin:
    return chip_twin(QUBITS, seed=3)


def those(chip: ChipTwin, name: str) -> list[Fault]:
    found = [fault for fault in chip.truth().faults if fault.fault == name]
    assert found
    return found


def sound(chip: ChipTwin, count: int = 4) -> list[int]:
    """Qubits without faults, whose neighbours have none."""
    broken = {fault.index for fault in chip.truth().faults if fault.element == "qubit"}
    couplers = chip.electronics.couplers.tolist()
    for one, other in couplers:
        broken |= {other} if one in {fault.index for fault in chip.truth().faults} else set()
    return [qubit for qubit in range(QUBITS) if qubit not in broken][:count]


def dip(instrument: Instrument, settings: Settings, amplitude: float = 0.1) -> tuple[np.ndarray, np.ndarray]:
    """Depth of each resonator's dip, as a share, and where it is [Hz]: a scan of 30 MHz about the designed frequency."""
    instrument.configure(settings)
    scan = instrument.electronics.design_resonator_hz[:, None] + np.linspace(-10e6, 20e6, 121)
    answer = instrument.run(Program(QUBITS, 121, (), (Measure(ALL, scan, amplitude, 2_000.0),), 4_000, "mean")).iq
    assert answer is not None
    height = np.abs(answer[0])
    return 1 - height.min(axis=1) / np.median(height, axis=1), scan[ALL, height.argmin(axis=1)]


def cold(chip: ChipTwin) -> Settings:
    """Settings of electronics just switched on, with local oscillators 100 MHz beside the designed frequencies."""
    settings = idle(chip.electronics)
    settings.oscillator_hz = chip.electronics.design_qubit_hz - 100e6
    return settings


def excited_by(chip: ChipTwin, place: np.ndarray, qubit: int, line: int) -> float:
    """How far a strong tone on ``line`` moves the readout of ``qubit``, in standard deviations: a scan about the designed frequencies."""
    settings = cold(chip)
    centre = chip.electronics.design_qubit_hz.min() + 45e6
    settings.oscillator_hz[line] = centre
    chip.configure(settings)
    drive = Drive(np.array([line]), 0.05, 2_000.0, centre + np.linspace(-190e6, 190e6, 381)[None])
    program = Program(1, 381, ((drive,),), (Measure(np.array([qubit]), float(place[qubit]), 0.3, 1_000.0),), 2_000, "mean")
    answer = chip.run(program).iq
    assert answer is not None
    away = np.abs(answer[0, 0] - np.median(answer.real) - 1j * np.median(answer.imag))
    return float(away.max() / np.median(away))


def test_there_is_one_of_each(chip: ChipTwin) -> None:
    assert {fault.fault for fault in chip.truth().faults} == set(PER_THOUSAND)


def test_a_qubit_without_a_resonator_shows_no_dip(chip: ChipTwin) -> None:
    depth, _ = dip(chip, cold(chip))
    broken = [fault.index for fault in those(chip, "no resonator")]
    assert (depth[broken] < 0.3).all()
    assert (np.delete(depth, broken) > 0.4).all()


def test_a_dead_qubit_leaves_its_resonator_bare_and_nothing_moves_it(chip: ChipTwin) -> None:
    settings = cold(chip)
    _, at_rest = dip(chip, settings)
    settings.flux_bias_v[:] = 0.5
    _, biased = dip(chip, settings)
    broken = [fault.index for fault in those(chip, "dead")]
    assert (np.abs(biased - at_rest)[broken] <= 0.3e6).all()
    assert (np.abs(biased - at_rest)[sound(chip)] > 1e6).all()


def test_a_broken_drive_line_turns_nothing_and_a_swapped_one_the_partner(chip: ChipTwin) -> None:
    _, place = dip(chip, cold(chip))
    for qubit in sound(chip, 2):
        assert excited_by(chip, place, qubit, qubit) > 8.0
    for fault in those(chip, "drive line broken"):
        assert excited_by(chip, place, fault.index, fault.index) < 8.0
    fault = those(chip, "drive cables swapped")[0]
    assert excited_by(chip, place, fault.index, fault.partner) > 8.0
    assert excited_by(chip, place, fault.index, fault.partner) > 2.0 * excited_by(chip, place, fault.index, fault.index)


def test_broken_and_swapped_flux_lines_move_nothing_and_the_partners_resonator(chip: ChipTwin) -> None:
    settings = cold(chip)
    _, at_rest = dip(chip, settings)

    def moved(line: int) -> np.ndarray:
        settings.flux_bias_v[:] = 0.0
        settings.flux_bias_v[line] = 0.8
        return np.abs(dip(chip, settings)[1] - at_rest)

    broken = those(chip, "flux line broken")[0].index
    assert moved(broken)[broken] <= 0.3e6
    fault = those(chip, "flux cables swapped")[0]
    away = moved(fault.index)
    assert away[fault.partner] > 1e6
    assert away[fault.index] <= 0.3e6


def test_the_bias_of_a_broken_coupler_moves_nothing_and_that_of_a_sound_one_its_qubits(chip: ChipTwin) -> None:
    """Spectroscopy sees it: near its qubits a coupler pushes their frequencies by megahertz."""
    broken = [fault.index for fault in those(chip, "coupler broken")]
    settings = cold(chip)
    before = chip.truth(settings=settings)
    settings.coupler_bias_v[:] = 0.55
    after = chip.truth(settings=settings)
    moved = np.abs(after.coupler_hz - before.coupler_hz)
    # What is left is the crosstalk of its neighbours' lines.
    assert (moved[broken] < 30e6).all()
    assert (np.delete(moved, broken) > 300e6).all()
    assert np.median(np.abs(after.frequency_hz - before.frequency_hz)) > 1e6


def test_a_collision_is_two_neighbours_with_one_sweet_spot(chip: ChipTwin) -> None:
    truth = chip.truth()
    pairs = {tuple(sorted((fault.index, fault.partner))) for fault in those(chip, "collision")}
    neighbours = {tuple(pair) for pair in chip.electronics.couplers.tolist()}
    for one, other in pairs:
        assert (one, other) in neighbours
        assert abs(truth.maximum_hz[one] - truth.maximum_hz[other]) < 2e6
        # Flux parts them.
        settings = cold(chip)
        settings.flux_bias_v[one] = 0.4
        apart = chip.truth(settings=settings).frequency_hz
        assert abs(apart[one] - apart[other]) > 20e6


def reachable(value: object, seen: set[int]) -> Iterator[object]:
    """Everything that can be had from ``value`` by names without an underscore, and by looking into containers."""
    if id(value) in seen or isinstance(value, str | bytes | int | float | complex | type(None)):
        return
    seen.add(id(value))
    yield value
    if isinstance(value, np.ndarray):
        if value.base is not None:
            yield from reachable(value.base, seen)
        return
    if isinstance(value, dict):
        parts: list[object] = [*value.keys(), *value.values()]
    elif isinstance(value, list | tuple | set):
        parts = list(value)
    elif is_dataclass(value):
        parts = [getattr(value, field.name) for field in fields(value)]
    else:
        parts = []
    for part in parts:
        yield from reachable(part, seen)


def test_an_instrument_gives_only_its_interface_and_a_judge_a_little_more() -> None:
    twin = chip_twin(4)
    assert {name for name in dir(twin) if not name.startswith("_")} == INTERFACE | FOR_A_JUDGE
    with serve(twin) as served, connect(served.address) as there:
        assert {name for name in dir(there) if not name.startswith("_")} == INTERFACE | {"close"}
        for instrument in (twin, there):
            lines = np.arange(4)
            reading = instrument.run(Program(4, 1, (), (Measure(lines, 6.4e9, 0.1, 500.0),), 1, "mean"))  # type: ignore[attr-defined]
            given = [instrument.electronics, reading, instrument.monitor(lines), instrument.now_s]  # type: ignore[attr-defined]
            hidden = {id(part) for part in reachable(twin.hidden, set())} | {id(part) for part in reachable(twin.conditions(), set())}
            for part in reachable(given, set()):
                assert id(part) not in hidden
                assert not type(part).__module__.startswith("tiandi.computing.chip")


def test_nobody_changes_the_twin_by_what_it_gave() -> None:
    twin = chip_twin(4)
    for value in vars(twin.electronics).values():
        if isinstance(value, np.ndarray):
            with pytest.raises(ValueError, match="read-only"):
                value[...] = 0
    twin.settings.flux_bias_v[:] = 0.5
    assert (twin.settings.flux_bias_v == 0).all()


def test_drift_knows_the_time_alone() -> None:
    one, other = chip_twin(4, seed=6), chip_twin(4, seed=6)
    one.rest(5_000.0)
    for _ in range(50):
        other.rest(100.0)
    for name in ("frequency_hz", "t1_s", "zz_hz", "angle_rad", "defect_hz"):
        assert getattr(one.conditions(), name) == pytest.approx(getattr(other.conditions(), name), rel=1e-12)
    assert (one.conditions(0.0).t1_s == chip_twin(4, seed=6).conditions().t1_s).all()
