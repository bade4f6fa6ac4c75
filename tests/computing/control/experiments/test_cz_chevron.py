"""The first return of |11>."""

from __future__ import annotations

from copy import deepcopy

import numpy as np

from tests.computing.control.experiments.known_chip import pairs_up_to, runner
from tiandi.computing.control.experiments.cz_chevron import SHOTS, STEPS, CzChevron, _return

SEED = 20240611


def test_the_resonance_lies_near_where_the_arcs_say() -> None:
    _, knowledge = pairs_up_to("cz-chevron")
    good = knowledge.sound("coupler")
    assert np.abs(knowledge["cz_offset_hz"][good]).max() < 20e6
    assert (knowledge["cz_amplitude_v"][good] > knowledge["coupler_strong_v"][good]).all()
    assert (knowledge["cz_duration_ns"][good] == 52.0).all()


def test_a_coupler_that_reaches_too_little_is_told() -> None:
    twin, knowledge = deepcopy(pairs_up_to("coupler-timing"))
    knowledge.parameters["coupler_strong_v"].value[:] = -0.05
    outcome = runner(twin, knowledge, CzChevron()).run("cz-chevron", knowledge.sound("coupler"))
    told = ["meets 20 nowhere" in verdict or "does not return" in verdict for verdict in outcome.verdicts]
    # The one whose coupling grows fastest does reach.
    assert sum(told) >= len(told) - 1


def test_the_return_is_found_however_fast_the_population_swings_behind_it() -> None:
    """Population sin^2(half the angle), an angle that grows with a power of the voltage."""
    generator = np.random.default_rng(SEED)
    volt = 0.12 + np.broadcast_to(1.6 * STEPS, (500, len(STEPS)))
    whole = generator.uniform(0.14, 0.185, (500, 1))
    angle = 2.0 * np.pi * (volt / whole) ** generator.uniform(3.0, 8.0, (500, 1))
    seen = generator.binomial(SHOTS, 0.05 + 0.9 * np.sin(0.5 * angle) ** 2) / SHOTS
    found, swing, returns = _return(volt, seen)
    assert returns.all()
    assert np.abs(found - whole[:, 0]).max() < 8e-3
    assert (swing > 0.0).all()
    assert (swing < whole[:, 0]).all()
