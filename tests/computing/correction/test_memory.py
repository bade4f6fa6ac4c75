"""Memory experiments: leakage, decoders, error bars, and the published results."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tiandi.computing.correction.budget import error_budget
from tiandi.computing.correction.conditions import load_conditions
from tiandi.computing.correction.memory import LogicalError, memory_experiment, suppression
from tiandi.computing.correction.noise import MECHANISMS, cycle_noise
from tiandi.computing.machines.sheets import LABELS, load_sheets
from tiandi.computing.machines.twin import build_twin
from tiandi.errors import InputError

pytest.importorskip("stim")
pytest.importorskip("pymatching")

WILLOW, ZUCHONGZHI = build_twin("google-willow"), build_twin("zuchongzhi-3.2")


def test_all_facts_have_labels_and_sources_and_a_sheet() -> None:
    for machine, conditions in load_conditions().items():
        assert machine in load_sheets()
        assert all(fact.label in LABELS and fact.source for fact in conditions.facts.values())
        assert all((fact.label == "fitted") == (field == "stray") for field, fact in conditions.facts.items())


def test_leakage_of_zuchongzhi_3_2_is_as_published() -> None:
    # Published: 0.0464 of the qubits leaked after 40 cycles without suppression, 6.4e-4 with it, and the code is worse for its size then.
    noise = cycle_noise(ZUCHONGZHI)
    without = replace(noise, data_removal=0.0, ancilla_removal=0.0)
    facts = load_conditions()["zuchongzhi-3.2"].facts
    errors = [memory_experiment(ZUCHONGZHI, distance, shots=1000, rounds=40, noise=without, basis="Z") for distance in (3, 7)]
    assert errors[1].leaked == pytest.approx(facts["leaked_without_removal"].number, rel=0.1)
    assert errors[1].per_cycle > errors[0].per_cycle
    # The share stands here before removal; the published one, at an unstated moment of the cycle, lies below it.
    kept = memory_experiment(ZUCHONGZHI, 7, shots=500, rounds=20, basis="Z")
    assert facts["leaked_with_removal"].number < kept.leaked < 4 * facts["leaked_with_removal"].number


def test_correlated_matching_is_better_than_plain() -> None:
    plain, correlated = (memory_experiment(ZUCHONGZHI, 5, shots=6000, decoder=method) for method in ("plain", "correlated"))
    assert correlated.per_cycle < plain.per_cycle - 2 * correlated.uncertainty


def test_the_number_of_processes_changes_nothing() -> None:
    alone, together = (memory_experiment(WILLOW, 3, shots=2000, rounds=3, workers=workers, seed=5) for workers in (1, 2))
    assert alone == together


def test_error_per_cycle_undoes_the_composition_of_cycles() -> None:
    lost = (1 - (1 - 2 * 0.01) ** 20) / 2
    error = LogicalError(3, 20, 10**6, round(lost * 10**6), 0.0, (), 1, hypothetical=False)
    assert error.per_cycle == pytest.approx(0.01, rel=1e-4)
    again = np.random.default_rng(1).binomial(10**6, lost, 4000) / 10**6
    assert error.uncertainty == pytest.approx(np.std((1 - (1 - 2 * again) ** (1 / 20)) / 2), rel=0.1)


def test_lambda_is_that_of_an_exact_law_and_its_error_that_of_the_draws() -> None:
    def drawn(generator: np.random.Generator) -> list[LogicalError]:
        found = []
        for distance, error in ((3, 0.008), (5, 0.004), (7, 0.002)):
            lost = (1 - (1 - 2 * error) ** 10) / 2
            found.append(LogicalError(distance, 10, 20_000, int(generator.binomial(20_000, lost)), 0.0, (), 1, hypothetical=False))
        return found

    generator = np.random.default_rng(2)
    found = [suppression(drawn(generator)) for _ in range(500)]
    values = np.array([each.value for each in found if each is not None])
    assert values.mean() == pytest.approx(2.0, rel=0.01)
    assert np.median([each.uncertainty for each in found if each is not None]) == pytest.approx(values.std(), rel=0.1)
    assert suppression(drawn(generator)[:1]) is None


def test_zuchongzhi_2_1_loses_its_state_as_published() -> None:
    # Zuchongzhi 2.1: 0.26 a cycle at d = 3, nothing fitted. Error bars of these few runs are allowed for.
    small = memory_experiment(build_twin("zuchongzhi-2.1"), 3, shots=30_000)
    assert small.per_cycle == pytest.approx(0.26, abs=0.026 + 2 * small.uncertainty)


@pytest.mark.parametrize(("machine", "shots"), [("zuchongzhi-3.2", 6000), ("google-willow", 8000)])
def test_lambda_is_near_the_published_one(machine: str, shots: int) -> None:
    twin, facts = build_twin(machine), load_conditions()[machine].facts
    errors = [memory_experiment(twin, distance, shots=shots) for distance in (3, 7)]
    found = suppression(errors)
    assert found is not None
    assert found.value == pytest.approx(facts["suppression"].number, abs=0.1 + 2 * found.uncertainty)
    assert errors[-1].per_cycle == pytest.approx(facts["error_of_7"].number, abs=0.00014 + 2 * errors[-1].uncertainty)


@pytest.mark.slow
@pytest.mark.parametrize("machine", ["zuchongzhi-3.2", "google-willow"])
def test_lambda_and_errors_are_within_a_tenth_of_the_published_ones(machine: str) -> None:
    twin, facts = build_twin(machine), load_conditions()[machine].facts
    noise = cycle_noise(twin)
    errors = [memory_experiment(twin, distance, shots=80_000, noise=noise) for distance in (3, 5, 7)]
    found = suppression(errors)
    assert found is not None
    assert found.value == pytest.approx(facts["suppression"].number, rel=0.1)
    for error in errors:
        if f"error_of_{error.distance}" in facts:
            assert error.per_cycle == pytest.approx(facts[f"error_of_{error.distance}"].number, rel=0.1)
    # The authors' own simulations gave too large a Lambda as well: 1.56(3) for Zuchongzhi 3.2, some 20 % too much for Willow.
    bare = suppression([memory_experiment(twin, distance, shots=80_000, noise=noise.without("stray")) for distance in (3, 5, 7)])
    assert bare is not None
    assert found.value + 2 * found.uncertainty < bare.value < 1.25 * facts["suppression"].number


def test_the_budget_turns_each_mechanism_off() -> None:
    noise = cycle_noise(WILLOW)
    shares = {share.mechanism: share for share in error_budget(WILLOW, [3], noise, shots=3000, rounds=6, basis="Z")}
    assert set(shares) == set(MECHANISMS) - {"crosstalk"}
    whole = memory_experiment(WILLOW, 3, shots=3000, rounds=6, basis="Z")
    # The two that the paper names first (arXiv:2408.13687): gates and data qubits that wait.
    costly = sorted(shares.values(), key=lambda share: share.errors[0].per_cycle)[:2]
    assert {share.mechanism for share in costly} == {"two-qubit gates", "idling"}
    assert costly[1].errors[0].per_cycle < whole.per_cycle / 1.5
    with pytest.raises(InputError, match="mechanism"):
        noise.without("gremlins")


def test_codes_beyond_the_lattice_say_so() -> None:
    assert memory_experiment(WILLOW, 9, shots=200, rounds=2, basis="Z").hypothetical
    assert not memory_experiment(WILLOW, 7, shots=200, rounds=2, basis="Z").hypothetical


@pytest.mark.parametrize(("what", "change"), [("shots", {"shots": 0}), ("workers", {"workers": 0}), ("decoder", {"decoder": "oracle"})])
def test_bad_input_is_named(what: str, change: dict[str, object]) -> None:
    with pytest.raises(InputError, match=what):
        memory_experiment(WILLOW, 3, **change)
