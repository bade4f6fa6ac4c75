"""Sweeps: a row a run, nothing computed twice, and one clear error for what cannot be."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pyarrow as arrow
import pytest
from pyarrow import parquet

from tests.planning.networks import START, chain, sky
from tiandi.errors import InputError
from tiandi.planning.inputs import StudyInputs
from tiandi.planning.parameters import Value, inputs_hash, with_parameter
from tiandi.planning.sweep import Axis, Sweep

END = START + timedelta(days=3)
RATES = Axis("links.*.rate_bps", (100.0, 200.0, 800.0))


def swept(
    to: Path, *, inputs: StudyInputs | None = None, axes: tuple[Axis, ...] = (RATES,), seeds: int = 2
) -> tuple[Sweep, tuple[Axis, ...]]:
    names = [axis.parameter for axis in axes]
    return Sweep(inputs or chain(), names, start=START, end=END, to=to, seeds=seeds, workers=1), axes


@pytest.mark.parametrize("name", ["runs.parquet", "runs"])
def test_every_combination_is_a_row_and_is_not_computed_again(tmp_path: Path, name: str) -> None:
    sweep, axes = swept(tmp_path / name)
    assert (sweep.over_grid(axes).computed, len(list(tmp_path.iterdir()))) == (6, 1)
    table = parquet.read_table(tmp_path / name).sort_by("links.*.rate_bps").to_pydict()
    assert table["links.*.rate_bps"] == [100.0, 100.0, 200.0, 200.0, 800.0, 800.0]
    assert table["key_bit_per_day"] == pytest.approx([100.0 * 86_400] * 2 + [200.0 * 86_400] * 2 + [400.0 * 86_400] * 2)
    assert sorted(table["seed"]) == [1, 1, 1, 2, 2, 2]
    assert len(set(table["inputs_hash"])) == 3
    again, axes = swept(tmp_path / name)
    assert (again.over_grid(axes).computed, again.over_grid(axes).found) == (0, 12)
    more, axes = swept(tmp_path / name, axes=(Axis("links.*.rate_bps", (100.0, 300.0)),))
    assert more.over_grid(axes).computed == 2
    assert parquet.read_table(tmp_path / name).num_rows == 8


def test_a_sweep_that_is_killed_goes_on_where_it_was(tmp_path: Path) -> None:
    code = (
        "from tests.planning.test_sweep import *; import tests.planning.test_sweep as t, time; import tiandi.planning.sweep as s\n"
        "run = s._run\n"
        "def slow(shared, task):\n    time.sleep(0.3)\n    return run(shared, task)\n"
        "s._run = slow\n"
        f"sweep, axes = swept(Path({str(tmp_path / 'runs.parquet')!r}), seeds=20)\nsweep.over_grid(axes)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code], cwd=Path(__file__).parents[2])
    parts = tmp_path / ".runs.parquet.runs"
    until = time.monotonic() + 60
    while len(list(parts.glob("*.parquet")) if parts.is_dir() else []) < 3 and time.monotonic() < until:
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = len(list(parts.glob("*.parquet")))
    assert 3 <= done < 60
    sweep, axes = swept(tmp_path / "runs.parquet", seeds=20)
    outcome = sweep.over_grid(axes)
    assert (outcome.computed, outcome.found) == (60 - done, done)
    assert parquet.read_table(tmp_path / "runs.parquet").num_rows == 60
    assert not parts.exists()


def test_an_optimiser_finds_the_rate_that_is_enough_and_repeats_nothing(tmp_path: Path) -> None:
    axes = (Axis("links.AB.rate_bps", (0.0, 100.0)),)
    sweep, _ = swept(tmp_path / "best", axes=axes, seeds=1)
    outcome = sweep.optimise(axes, generations=4)
    assert outcome.best is not None
    assert outcome.best["links.AB.rate_bps"] == pytest.approx(100.0, rel=0.1)
    again, _ = swept(tmp_path / "best", axes=axes, seeds=1)
    assert again.optimise(axes, generations=4).computed == 0


def test_other_inputs_have_another_hash_and_the_same_have_the_same() -> None:
    one, two = sky(), sky()
    assert inputs_hash(one, START, END) == inputs_hash(two, START, END)
    varied = with_parameter(one, "stations.North.receiver.aperture_m", 0.7)
    assert varied.stations[0].receiver.aperture_m == 0.7
    assert varied.stations[1].receiver.aperture_m == 0.6
    hashes = {inputs_hash(item, START, END) for item in (one, varied, with_parameter(one, "epsilon_secrecy", 1e-10))}
    assert len(hashes | {inputs_hash(one, START, END + timedelta(1))}) == 4
    fewer = with_parameter(sky(satellites=3), "satellites.count", 1)
    assert [len(fewer.satellites), len(fewer.topology.links)] == [1, 2]


@pytest.mark.parametrize(
    ("parameter", "value"),
    [
        ("links.*.rate_bps", float("nan")),
        ("links.*.rate_bps", -1.0),
        ("links.*.rate_bps", "many"),
        ("links.XY.rate_bps", 1.0),
        ("links.*.colour", 1.0),
        ("links.*.ends", 1.0),
        ("moons.*.rate_bps", 1.0),
        ("links", 1.0),
        ("", 1.0),
        ("satellites.count", 7),
        ("demands.*.paths", 1.5),
        ("demands.*.post_quantum", 3),
    ],
)
def test_a_parameter_that_is_not_there_or_a_value_that_cannot_be_is_one_clear_error(parameter: str, value: Value) -> None:
    with pytest.raises(InputError):
        with_parameter(chain(), parameter, value)


def test_nothing_is_written_for_a_sweep_that_cannot_be(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="at least one parameter"):
        swept(tmp_path / "runs", axes=())
    with pytest.raises(InputError, match="at least one value"):
        Axis("links.*.rate_bps", ())
    with pytest.raises(InputError, match="twice"):
        swept(tmp_path / "runs", axes=(RATES, RATES))
    with pytest.raises(InputError, match="finite"):
        Axis("links.*.rate_bps", (1.0, float("nan")))
    sweep, axes = swept(tmp_path / "runs", axes=(Axis("links.*.rate_bps", (100.0, -1.0)),))
    with pytest.raises(InputError, match="rate_bps"):
        sweep.over_grid(axes)
    with pytest.raises(InputError, match="goal"):
        sweep.optimise(axes, goal="luck")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="least and the greatest"):
        sweep.optimise((replace(RATES, values=(1.0, 2.0, 3.0)),))
    assert list(tmp_path.iterdir()) == []


def test_files_of_others_are_left_alone(tmp_path: Path) -> None:
    broken, other = tmp_path / "broken.parquet", tmp_path / "other.parquet"
    broken.write_bytes(b"PAR1 and then nothing")
    parquet.write_table(arrow.table({"a": [1]}), other)
    for place, why in ((broken, "cannot be read as Parquet"), (other, "not a table of runs"), (tmp_path / "no" / "where", "must exist")):
        sweep, axes = swept(place)
        with pytest.raises(InputError, match=why):
            sweep.over_grid(axes)
    assert broken.read_bytes() == b"PAR1 and then nothing"
    first, axes = swept(tmp_path / "runs", seeds=1)
    first.over_grid(axes)
    second, axes = swept(tmp_path / "runs", axes=(Axis("demands.*.rate_bps", (1.0,)),), seeds=1)
    with pytest.raises(InputError, match=r"belongs to a sweep over links\.\*\.rate_bps"):
        second.over_grid(axes)
