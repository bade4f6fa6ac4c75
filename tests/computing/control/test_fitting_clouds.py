"""Clouds in the IQ plane: centres, widths, shares and the best boundary, against what was drawn and against all boundaries tried."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from tiandi.computing.control.fitting import best_threshold, fit_clouds
from tiandi.errors import InputError

TARGETS, SHOTS = 40, 2_000


def drawn(states: int, *, relaxed: float = 0.08, seed: int = 3) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Shots, centres, and the state in which each shot ended; one in ``relaxed`` has fallen by one."""
    random = np.random.default_rng(seed)
    angle = random.uniform(0, 2 * np.pi, TARGETS)
    centres = np.stack([np.zeros(TARGETS), 4.5 * np.exp(1j * angle), 7.0 * np.exp(1j * (angle + 0.9))], axis=1)[:, :states]
    state = np.broadcast_to(np.arange(states)[:, None], (TARGETS, states, SHOTS)).copy()
    state -= (random.random(state.shape) < relaxed) & (state > 0)
    noise = random.normal(size=state.shape) + 1j * random.normal(size=state.shape)
    return centres[np.arange(TARGETS)[:, None, None], state] + noise, centres, state


@pytest.mark.parametrize("states", [2, 3])
def test_clouds_are_found(states: int) -> None:
    shots, centres, state = drawn(states)
    found = fit_clouds(shots)
    assert found.good.all()
    pull = (found.centres - centres) / found.uncertainty
    assert np.concatenate([pull.real, pull.imag]).std() == pytest.approx(1.0, abs=0.2)
    assert found.width == pytest.approx(1.0, abs=0.03)
    assert found.share[:, 1, 0] == pytest.approx((state[:, 1] == 0).mean(axis=1), abs=0.02)
    assert found.overlap_error == pytest.approx(norm.sf(2.25), rel=0.3)


def test_the_boundary_is_as_good_as_any() -> None:
    shots, centres, _ = drawn(2, relaxed=0.0)
    random = np.random.default_rng(1)
    # Relaxation during the measurement leaves a shot anywhere between the centres: the best boundary moves towards 0.
    between = random.random((TARGETS, SHOTS)) < 0.3
    shots[:, 1] -= np.where(between, random.random((TARGETS, SHOTS)), 0.0) * centres[:, 1, None]
    shift, one_for_zero, zero_for_one = best_threshold(shots, centres)
    along = (shots * (centres[:, 1] / np.abs(centres[:, 1])).conj()[:, None, None]).real
    places = np.linspace(0.5, 4.0, 351)
    errors = np.stack([0.5 * ((along[:, 0] > place).mean(axis=1) + (along[:, 1] < place).mean(axis=1)) for place in places])
    ours = 0.5 * (one_for_zero + zero_for_one)
    assert (shift < 0).all()
    assert np.mean(ours - errors.min(axis=0)) < 2e-3
    assert (ours - errors.min(axis=0)).max() < 5e-3


def test_what_is_not_known_is_nan() -> None:
    shots, centres, _ = drawn(2)
    shots[0, 0, 5] = np.nan
    shots[1] = shots[1, :1]
    found = fit_clouds(shots)
    assert not found.good[0]
    assert np.isnan(found.centres[0]).all()
    assert found.good[2:].all()
    centres[1] = np.nan
    shift, *_ = best_threshold(shots, centres)
    assert np.isnan(shift[:2]).all()
    assert np.isfinite(shift[2:]).all()


def test_shots_of_one_preparation_are_refused() -> None:
    with pytest.raises(InputError, match="prepared"):
        fit_clouds(np.zeros((3, 1, 10), complex))
