"""Teleportation against density matrices and photons behind beam splitters, and against the published flight of Ren et al. 2017.

Statistical tests allow five standard deviations: one false alarm in 1.7 million comparisons, with fixed seeds. The figures of the
flight (4,080 fourfold events per second, 41 dB at 500 km and 76 degrees, 52 dB at 1,400 km and 14.5 degrees, 911 events in 32 passes,
6, 10, 3 and 4 % of errors) are recalled; the mean fidelity of 0.80 +- 0.01 is published.
"""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from tiandi.errors import InputError
from tiandi.protocols.teleportation import (
    BELL_STATES,
    CLASSICAL_FIDELITY,
    BellAnalyser,
    ErrorBudget,
    TeleportationSource,
    compose,
    dephasing,
    depolarising,
    error_rates,
    event_table,
    input_fidelities,
    mean_fidelity,
    measure_fidelity,
    uplink_loss_db,
    werner,
)
from tiandi.units import transmittance_from_loss

SIGMAS = 5.0
SOURCE = TeleportationSource(clock_hz=80e6, fourfold_rate_hz=4080.0)
REN_2017 = ErrorBudget(double_pair=0.06, distinguishability=0.10, polarisation=0.03, background=0.04)

PAULIS = np.array([[[1, 0], [0, 1]], [[1, 0], [0, -1]], [[0, 1], [1, 0]], [[0, -1j], [1j, 0]]])
BELL = np.array([[1, 0, 0, 1], [1, 0, 0, -1], [0, 1, 1, 0], [0, 1, -1, 0]]) / np.sqrt(2)
INPUTS = np.array([[1, 0], [0, 1], [1, 1] / np.sqrt(2), [1, -1] / np.sqrt(2), [1, 1j] / np.sqrt(2), [1, -1j] / np.sqrt(2)])

Matrix = NDArray[np.complex128]
bell_weights = st.lists(st.floats(0.01, 1.0), min_size=4, max_size=4).map(lambda raw: np.array(raw) / sum(raw))


def projector(state: Matrix) -> Matrix:
    return np.outer(state, state.conj())


def bell_diagonal(weights: NDArray[np.float64]) -> Matrix:
    return sum(weight * projector(bell) for weight, bell in zip(weights, BELL, strict=True))


def teleport(state: Matrix, pair: Matrix, effect: Matrix, correction: Matrix) -> tuple[float, float]:
    """Probability of ``effect`` on qubits 1 and 2, and the fidelity of qubit 3 after the correction."""
    whole = np.kron(projector(state), pair).reshape([2] * 6)
    after = np.einsum("abcd,cdxaby->xy", effect.reshape([2] * 4), whole)
    probability = float(np.trace(after).real)
    corrected = correction @ after @ correction.conj().T
    return probability, float((state.conj() @ corrected @ state).real) / probability


def analyser_effects(overlap: float) -> dict[str, Matrix]:
    """What a polarising beam splitter and counters in the diagonal basis measure, from the photons' wave packets in time.

    Photon 1 enters at one port with packet f, photon 2 at the other with g; H goes through and V is reflected. Kept are events with
    one photon in each output c and d; the counters there see polarisation + or - and no packets.
    """
    f, g = np.array([1.0, 0.0]), np.array([np.sqrt(overlap), np.sqrt(1 - overlap)])
    effects = {name: np.zeros((4, 4), complex) for name in ("phi+", "phi-")}
    for sign_c in (1, -1):
        for sign_d in (1, -1):
            # Columns: HH, HV, VH, VV of photons 1 and 2; rows: packets found in c and d.
            amplitude = np.zeros((4, 4))
            amplitude[:, 0] = np.kron(f, g) / 2  # Photon 1 to c, photon 2 to d.
            amplitude[:, 3] = sign_c * sign_d * np.kron(g, f) / 2  # Photon 1 to d, photon 2 to c.
            effects["phi+" if sign_c == sign_d else "phi-"] += amplitude.conj().T @ amplitude
    return effects


@pytest.mark.parametrize("fidelity", [0.25, 0.5, 0.8, 1.0])
def test_a_werner_pair_teleports_with_two_thirds_of_its_fidelity_and_one_third(fidelity: float) -> None:
    pair = bell_diagonal(werner(fidelity))
    for state in INPUTS:
        for bell, correction in zip(BELL, PAULIS, strict=True):
            # Psi+ and psi- ask for X and Y, phi- for Z; the order of the corrections is that of the states.
            probability, seen = teleport(state, pair, projector(bell), correction)
            assert probability == pytest.approx(0.25)
            assert seen == pytest.approx((2 * fidelity + 1) / 3)
    assert input_fidelities(werner(fidelity)) == pytest.approx((2 * fidelity + 1) / 3)


@given(weights=bell_weights)
def test_every_bell_diagonal_pair_teleports_as_its_density_matrix_does(weights: NDArray[np.float64]) -> None:
    seen = [
        [teleport(state, bell_diagonal(weights), projector(bell), correction)[1] for bell, correction in zip(BELL, PAULIS, strict=True)]
        for state in INPUTS
    ]
    assert np.asarray(seen) == pytest.approx(np.repeat(input_fidelities(weights)[:, None], 4, axis=1))
    assert mean_fidelity(weights) == pytest.approx(np.mean(seen))


@pytest.mark.parametrize("overlap", [0.0, 0.7, 1.0])
def test_photons_that_can_be_told_apart_spare_the_poles_as_behind_a_beam_splitter(overlap: float) -> None:
    """Full calculation with the packets of both photons, through a noisy pair: the dephasing of the analyser and nothing else."""
    pair = werner(0.95)
    analyser = BellAnalyser(overlap=overlap)
    expected = input_fidelities(compose(pair, analyser.weights))
    effects = analyser_effects(overlap)
    for state, fidelity in zip(INPUTS, expected, strict=True):
        outcomes = [teleport(state, bell_diagonal(pair), effects[name], PAULIS[BELL_STATES.index(name)]) for name in analyser.heralded]
        assert sum(probability for probability, _ in outcomes) == pytest.approx(analyser.success_probability)
        assert [seen for _, seen in outcomes] == pytest.approx([fidelity] * 2)
    assert expected[0] == pytest.approx((2 * 0.95 + 1) / 3)
    assert expected[2] == pytest.approx(0.5 + overlap * (expected[0] - 0.5))


def test_channels_do_to_a_qubit_what_their_names_say() -> None:
    state = INPUTS[2] * 0.6 + INPUTS[4] * 0.3
    density = projector(state / np.linalg.norm(state))

    def apply(weights: NDArray[np.float64]) -> Matrix:
        return sum(weight * pauli @ density @ pauli.conj().T for weight, pauli in zip(weights, PAULIS, strict=True))

    assert apply(dephasing(0.3)) == pytest.approx(density * np.array([[1, 0.3], [0.3, 1]]))
    assert apply(depolarising(0.3)) == pytest.approx(0.3 * density + 0.7 * np.eye(2) / 2)


@given(first=bell_weights, second=bell_weights)
def test_swapping_two_pairs_gives_the_composed_weights(first: NDArray[np.float64], second: NDArray[np.float64]) -> None:
    """Pairs on qubits 1, 2 and 3, 4; a Bell measurement on 2 and 3 with any outcome and the correction on 4."""
    whole = np.kron(bell_diagonal(first), bell_diagonal(second)).reshape([2] * 8)
    for bell, correction in zip(BELL, PAULIS, strict=True):
        effect = projector(bell).reshape([2] * 4)
        after = np.einsum("efbc,abcdxefy->adxy", effect, whole).reshape(4, 4)
        fix = np.kron(np.eye(2), correction)
        assert 4 * fix @ after @ fix.conj().T == pytest.approx(bell_diagonal(compose(first, second)), abs=1e-12)


@given(weights=bell_weights)
def test_error_rates_are_what_two_observers_in_one_basis_see(weights: NDArray[np.float64]) -> None:
    for (one, other), rate in zip((INPUTS[2:4], INPUTS[:2]), error_rates(weights), strict=True):
        unequal = projector(np.kron(one, other)) + projector(np.kron(other, one))
        assert rate == pytest.approx(np.trace(unequal @ bell_diagonal(weights)).real)


def test_the_recalled_budget_gives_the_published_fidelity() -> None:
    """0.80 +- 0.01 published. 0.804 as channels; 0.788 if each error left an orthogonal state, with no qubit right by chance."""
    assert mean_fidelity(REN_2017.weights) == pytest.approx(0.80, abs=0.03)
    assert mean_fidelity(REN_2017.weights) == pytest.approx(0.5 * (1 + 0.88 * 0.80 * 0.94 * 0.92))
    assert mean_fidelity(REN_2017.weights) == pytest.approx(0.94 * 0.90 * 0.97 * 0.96, abs=0.03)
    poles, equator = input_fidelities(REN_2017.weights)[[0, 2]]
    assert poles > mean_fidelity(REN_2017.weights) > equator > CLASSICAL_FIDELITY


@pytest.mark.parametrize("name", ["double_pair", "distinguishability", "polarisation", "background"])
@pytest.mark.parametrize("loss", [0.0, 0.06, 1 / 3])
def test_each_error_alone_takes_its_share_off_the_mean_fidelity(name: str, loss: float) -> None:
    budget = replace(ErrorBudget(0.0, 0.0, 0.0, 0.0), **{name: loss})
    assert mean_fidelity(budget.weights) == pytest.approx(1 - loss)
    assert mean_fidelity(budget.channels[name]) == pytest.approx(1 - loss)


@given(first=st.floats(0, 0.3), second=st.floats(0, 0.3))
def test_more_of_an_error_is_never_better(first: float, second: float) -> None:
    for name in ("double_pair", "distinguishability", "polarisation", "background"):
        low, high = (mean_fidelity(replace(REN_2017, **{name: loss}).weights) for loss in sorted((first, second)))
        assert high <= low + 1e-12


def pass_over_the_station(highest_elevation_deg: float, step_s: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Range [km] and elevation [degrees] above 14.5 degrees of a circular orbit at 500 km, over a round Earth that stands still."""
    station, orbit = 6371.0 + 5.0, 6371.0 + 500.0
    speed = np.sqrt(398_600.4 / orbit**3)
    highest = np.radians(highest_elevation_deg)
    nearest = np.arccos(station * np.cos(highest) / orbit) - highest
    time_s = np.arange(-400.0, 400.0, step_s)
    cosine = np.cos(nearest) * np.cos(speed * time_s)
    range_km = np.sqrt(station**2 + orbit**2 - 2 * station * orbit * cosine)
    elevation = np.degrees(np.arcsin((orbit * cosine - station) / range_km))
    return range_km[elevation > 14.5], elevation[elevation > 14.5]


def recalled_loss_db(range_km: NDArray[np.float64], elevation_deg: NDArray[np.float64]) -> NDArray[np.float64]:
    """The uplink through both recalled ends: 41 dB at 500 km and 76 degrees, 52 dB at 1,400 km and 14.5 degrees."""
    secant = 1 / np.sin(np.radians([76.0, 14.5]))
    far_field, extinction = np.linalg.solve(np.stack([np.ones(2), secant], axis=1), [41.0, 52.0] - 20 * np.log10([500.0, 1400.0]))
    assert (far_field, extinction) == (pytest.approx(-13.69, abs=0.01), pytest.approx(0.694, abs=0.001))
    return uplink_loss_db(range_km, elevation_deg, far_field_loss_db=far_field, zenith_extinction_db=extinction)


@pytest.mark.parametrize(("highest_elevation_deg", "reference"), [(30.0, 548), (45.0, 966), (60.0, 1303), (76.0, 1530)])
def test_thirty_two_passes_bring_the_published_number_of_events(highest_elevation_deg: float, reference: float) -> None:
    """911 events in 32 passes; the passes' heights are not known, and the reference is an independent sum over four of them."""
    range_km, elevation_deg = pass_over_the_station(highest_elevation_deg, 1.0)
    transmittance = transmittance_from_loss(recalled_loss_db(range_km, elevation_deg))
    table = event_table(SOURCE, REN_2017.weights, transmittance)
    events = 32 * table.expected_counts(SOURCE.pulses(np.ones(range_km.size))).sum()
    assert 911 / 1.7 < events < 911 * 1.7
    assert events == pytest.approx(reference, rel=0.05)


def flight(generator: np.random.Generator) -> NDArray[np.int64]:
    """Counts of 24 passes at 45 degrees: about 720 events."""
    transmittance = transmittance_from_loss(recalled_loss_db(*pass_over_the_station(45.0, 1.0)))
    table = event_table(SOURCE, REN_2017.weights, transmittance)
    return table.sample(SOURCE.pulses(np.full(transmittance.size, 24.0)), generator).counts()


def test_sampled_projections_have_the_expected_counts() -> None:
    transmittance = transmittance_from_loss(recalled_loss_db(*pass_over_the_station(45.0, 1.0)))
    # The noise grows with the loss: weights step by step.
    weights = depolarising(np.linspace(0.5, 0.9, transmittance.size))
    table = event_table(SOURCE, compose(weights, dephasing(0.7)), transmittance)
    pulses = SOURCE.pulses(np.full(transmittance.size, 10_000.0))
    counts = table.sample(pulses, np.random.default_rng(4)).counts()
    expected = SOURCE.fourfold_rate_hz * 10_000.0 * transmittance.sum() / 6
    right = SOURCE.fourfold_rate_hz * 10_000.0 / 6 * transmittance @ (0.5 + 0.5 * np.linspace(0.5, 0.9, transmittance.size))
    assert (np.abs(counts.sum(axis=1) - expected) < SIGMAS * np.sqrt(expected)).all()
    assert (np.abs(counts[:2, 0] - right) < SIGMAS * np.sqrt(right)).all()
    assert (np.abs(counts - table.expected_counts(pulses)) < SIGMAS * np.sqrt(table.expected_counts(pulses))).all()
    assert (np.abs(counts[2:, 0] - right) > SIGMAS * np.sqrt(right)).all()


def test_a_flight_measures_the_fidelity_as_well_as_the_published_one_and_beats_the_classical_limit() -> None:
    counts = flight(np.random.default_rng(2017))
    measured = measure_fidelity(counts)
    assert abs(measured.mean - mean_fidelity(REN_2017.weights)) < SIGMAS * measured.mean_standard_error
    assert (np.abs(measured.fidelities - input_fidelities(REN_2017.weights)) < SIGMAS * measured.standard_errors).all()
    assert measured.p_value < 1e-9
    # Ren et al. state 0.80 +- 0.01 from 911 events.
    published = measure_fidelity(np.array([[122, 30]] * 6))
    assert published.mean_standard_error == pytest.approx(0.013, abs=0.001)


def test_standard_errors_are_the_spread_of_many_flights() -> None:
    generator = np.random.default_rng(9)
    flights = [measure_fidelity(flight(generator)) for _ in range(300)]
    spread = np.std([one.mean for one in flights])
    claimed = np.mean([one.mean_standard_error for one in flights])
    # The standard deviation of 300 samples is itself known to one in sqrt(600).
    assert abs(spread / claimed - 1) < SIGMAS / np.sqrt(600)


def test_the_best_classical_scheme_is_seldom_taken_for_teleportation() -> None:
    """Measuring H or V and sending what was seen: 1 at the poles, 1/2 on the equator, 2/3 on average; p-values not too small."""
    generator = np.random.default_rng(8)
    right = np.array([1.0, 1.0, 0.5, 0.5, 0.5, 0.5])
    p_values = []
    for _ in range(2000):
        events = generator.multinomial(300, np.full(6, 1 / 6))
        hits = generator.binomial(events, right)
        p_values.append(measure_fidelity(np.stack([hits, events - hits], axis=1)).p_value)
    for level in (0.01, 0.05, 0.2):
        below = int(np.sum(np.array(p_values) <= level))
        assert stats.binomtest(below, 2000, level, alternative="greater").pvalue > 1e-6


def test_the_test_of_significance_is_the_binomial_tail_summed_term_by_term() -> None:
    counts = np.array([[4, 1], [3, 2], [5, 0], [2, 2], [4, 1], [3, 1]])
    right, events = 21, 28
    tail = sum(stats.binom.pmf(k, events, 2 / 3) for k in range(right, events + 1))
    assert measure_fidelity(counts).p_value == pytest.approx(tail)


def test_without_events_nothing_is_claimed() -> None:
    measured = measure_fidelity(np.zeros((6, 2)))
    assert measured.mean == 0.5
    assert (measured.standard_errors == 0.5).all()
    assert measured.p_value == 1.0
    certain = measure_fidelity(np.array([[3, 0]] * 6))
    assert (certain.standard_errors > 0.2).all()


def test_analysers_herald_a_quarter_for_each_state_told_apart() -> None:
    assert BellAnalyser().success_probability == 0.5
    assert BellAnalyser(heralded=("phi+",)).success_probability == 0.25
    assert BellAnalyser(heralded=("psi-", "psi+")).success_probability == 0.5


@pytest.mark.parametrize(
    ("make", "field"),
    [
        (lambda: werner(1.1), "fidelity"),
        (lambda: dephasing(-0.1), "coherence"),
        (lambda: depolarising(np.nan), "contraction"),
        (lambda: compose([0.5, 0.5, 0.5, 0.5]), "weights"),
        (lambda: input_fidelities([0.5, 0.5]), "weights"),
        (lambda: BellAnalyser(heralded=("phi+", "psi+")), "heralded"),
        (lambda: BellAnalyser(heralded=()), "heralded"),
        (lambda: BellAnalyser(overlap=1.5), "overlap"),
        (lambda: ErrorBudget(0.6, 0, 0, 0), "double_pair"),
        (lambda: ErrorBudget(0, 0.4, 0, 0), "distinguishability"),
        (lambda: TeleportationSource(clock_hz=1e6, fourfold_rate_hz=2e6), "fourfold_rate_hz"),
        (lambda: uplink_loss_db(0.0, 30.0, far_field_loss_db=0.0, zenith_extinction_db=0.0), "range_km"),
        (lambda: uplink_loss_db(500.0, 0.0, far_field_loss_db=0.0, zenith_extinction_db=0.0), "elevation_deg"),
        (lambda: event_table(SOURCE, werner(1.0), np.array([1.1])), "transmittance"),
        (lambda: measure_fidelity(np.ones((5, 2))), "counts"),
        (lambda: measure_fidelity(np.full((6, 2), 0.5)), "counts"),
    ],
)
def test_bad_input_is_named(make, field: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(InputError) as raised:
        make()
    assert raised.value.field == field
