"""Whole experiments on twins."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tiandi.computing.sampling.experiment import prepare, run
from tiandi.errors import InputError

pytest.importorskip("cotengra")


@pytest.mark.parametrize("circuit", ["full", "patch", "elided"])
def test_samples_have_the_cross_entropy_that_the_noise_lets_expect(circuit: str) -> None:
    result = run(prepare("zuchongzhi-3.0", qubits=12, cycles=14, shots=1500, seed=2, circuit=circuit))
    # What one circuit gives scatters around the expectation over circuits: a tenth, at this size.
    error = math.hypot(result.linear.error, result.expected_error, 0.1 * result.expected)
    assert abs(result.linear.value - result.expected) < 3 * error
    assert result.product < result.expected
    assert result.scaled.shape == (2 if circuit == "patch" else 1, 1500)
    assert result.ideal == pytest.approx(1.0, abs=0.5)
    assert result.cut < 0.02


def test_a_seed_repeats_an_experiment() -> None:
    first, second = (run(prepare("zuchongzhi-2.1", qubits=6, cycles=8, shots=50, seed=5)) for _ in range(2))
    assert np.array_equal(first.scaled, second.scaled)


def test_what_was_reported_of_the_machine_is_shown_with_its_size() -> None:
    published = prepare("zuchongzhi-2.1", qubits=6, cycles=4, shots=10).published
    assert published is not None
    assert published[:2] == (60, 24)
    assert published[2].number == pytest.approx(3.66e-4)


def test_what_is_out_of_reach_is_refused_with_its_cost() -> None:
    with pytest.raises(InputError, match=r"days and .* GiB in all.*: try fewer .*, the circuit patch, .*sequence ADCBCBAD") as caught:
        prepare("zuchongzhi-2.1", qubits=66, cycles=30, shots=10**5).cost()
    assert caught.value.field == "cost"


def test_the_easier_sequence_brings_more_qubits_within_reach() -> None:
    published, easier = (
        prepare("zuchongzhi-2.1", qubits=20, cycles=8, shots=100, sequence=sequence).cost() for sequence in ("ABCDCDAB", "ADCBCBAD")
    )
    assert easier.flop < 0.75 * published.flop


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"machine": "dwave-advantage2"}, "machine"),
        ({"machine": "abacus"}, "machine"),
        ({"qubits": 67}, "qubits"),
        ({"qubits": 1}, "qubits"),
        ({"qubits": 3, "circuit": "patch"}, "qubits"),
        ({"cycles": 0}, "cycles"),
        ({"shots": 1}, "shots"),
        ({"circuit": "half"}, "circuit"),
        ({"sequence": "ABCX"}, "sequence"),
    ],
)
def test_bad_input_is_named(change: dict[str, object], field: str) -> None:
    values: dict[str, object] = {"machine": "zuchongzhi-2.1", "qubits": 6, "cycles": 4, "shots": 10, **change}
    with pytest.raises(InputError) as caught:
        prepare(values.pop("machine"), **values)  # type: ignore[arg-type]
    assert caught.value.field == field
