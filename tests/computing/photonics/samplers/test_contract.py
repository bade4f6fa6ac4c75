"""What every sampler keeps to, and the file that samples are written to."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.computing.photonics.samplers.small import small_machine
from tiandi.computing.photonics.gaussian import Detectors, Machine
from tiandi.computing.photonics.samplers import SAMPLERS
from tiandi.computing.photonics.samplers.corrected import CorrectedSampler
from tiandi.computing.photonics.samplers.interface import Sampler, write_packed
from tiandi.computing.photonics.samplers.phase_space import PhaseSpaceSampler
from tiandi.errors import InputError

BINS = Detectors("pseudo-number", 4, 0.01)
KNOW_CLICKS_ONLY = {"boltzmann", "boltzmann-1", "greedy", "short-memory"}
KNOW_PURE_LIGHT_ONLY = {"mps", "pairs-and-singles", "short-memory"}


def build(name: str, machine: Machine, seed: int = 3) -> Sampler:
    generator = np.random.default_rng(seed)
    if name.startswith("corrected"):
        return CorrectedSampler(machine, generator, draws=4000)
    return SAMPLERS[name](machine, generator)


def machine_for(name: str) -> Machine:
    return small_machine(detectors=BINS if name == "corrected-number" else Detectors(dark_count_probability=0.01))


@pytest.mark.parametrize("name", SAMPLERS)
def test_samples_are_bytes_of_one_row_a_sample_and_repeat_with_their_seed(name: str) -> None:
    sampler = build(name, machine_for(name))
    samples = sampler.sample(1000, np.random.default_rng(7))
    again = build(name, machine_for(name)).sample(1000, np.random.default_rng(7))
    other = sampler.sample(1000, np.random.default_rng(8))
    assert samples.shape == (1000, 4)
    assert samples.dtype == np.uint8
    assert samples.max() <= (4 if name == "corrected-number" else 1)
    np.testing.assert_array_equal(samples, again)
    assert (samples != other).any()


@pytest.mark.parametrize("name", SAMPLERS)
def test_batches_add_up_and_every_sampler_names_its_source(name: str) -> None:
    sampler = build(name, machine_for(name))
    sizes = [len(batch) for batch in sampler.batches(9000, np.random.default_rng(1), 4096)]
    assert sum(sizes) == 9000
    assert max(sizes) <= 4096
    assert sampler.modes == 4
    assert any(word in sampler.describe() for word in ("arXiv", "doi"))


@pytest.mark.parametrize("name", ["squashed", "corrected", "greedy", "distinguishable"])
def test_batches_are_what_is_sampled_at_once(name: str) -> None:
    sampler = build(name, machine_for(name))
    batches = np.concatenate(list(sampler.batches(5000, np.random.default_rng(1), 4096)))
    np.testing.assert_array_equal(batches, sampler.sample(5000, np.random.default_rng(1)))


@pytest.mark.parametrize("name", SAMPLERS)
def test_no_sample_and_batches_of_none_are_refused(name: str) -> None:
    sampler = build(name, machine_for(name))
    with pytest.raises(InputError, match="number = 0"):
        sampler.sample(0, np.random.default_rng(1))
    with pytest.raises(InputError, match="batch = 0"):
        next(iter(sampler.batches(10, np.random.default_rng(1), 0)))


@pytest.mark.parametrize("name", sorted(KNOW_CLICKS_ONLY))
def test_samplers_of_clicks_refuse_detectors_that_count(name: str) -> None:
    with pytest.raises(InputError, match=r"detectors\.kind = 'number'"):
        build(name, small_machine(detectors=Detectors("number")))


@pytest.mark.parametrize("name", sorted(KNOW_PURE_LIGHT_ONLY))
def test_samplers_of_one_mode_of_light_refuse_partly_distinguishable_light(name: str) -> None:
    with pytest.raises(InputError, match=r"indistinguishability = 0\.9"):
        build(name, small_machine(indistinguishability=0.9))


def test_the_two_corrected_samplers_send_each_other_what_they_do_not_take() -> None:
    with pytest.raises(InputError, match="take corrected-number"):
        SAMPLERS["corrected"](small_machine(detectors=BINS), np.random.default_rng(1))
    with pytest.raises(InputError, match="take corrected"):
        SAMPLERS["corrected-number"](small_machine(), np.random.default_rng(1))


@pytest.mark.parametrize(
    ("machine", "field"),
    [
        (small_machine(strength=4.0), "squeezing_r"),
        (small_machine(strength=2.8, detectors=Detectors("number")), "mean photons"),
    ],
)
def test_machines_out_of_range_are_refused(machine: Machine, field: str) -> None:
    with pytest.raises(InputError, match=field):
        PhaseSpaceSampler(machine, "squeezed")


def test_a_transfer_matrix_that_makes_light_is_refused() -> None:
    with pytest.raises(InputError, match="transfer"):
        build("distinguishable", small_machine(transmission=1.2))


def test_a_file_of_samples_is_the_same_for_any_number_of_workers(tmp_path: Path) -> None:
    sampler = PhaseSpaceSampler(small_machine(12), "squashed")
    for workers in (1, 2):
        write_packed(sampler, 3000, np.random.default_rng(5), tmp_path / str(workers), workers=workers, batch=1024)
    packed = (tmp_path / "1").read_bytes()
    assert packed == (tmp_path / "2").read_bytes()
    rows = np.unpackbits(np.frombuffer(packed, np.uint8).reshape(3000, 2), axis=1, count=12)
    first = np.random.default_rng(5).spawn(3)[0]
    np.testing.assert_array_equal(rows[:1024], sampler.sample(1024, first))
