"""Bell tests with entangled pairs (E91), and keys that rest on them alone: device-independent QKD.

Ekert 1991, doi:10.1103/PhysRevLett.67.661; Clauser, Horne, Shimony, Holt 1969, doi:10.1103/PhysRevLett.23.880. Counts of coincidences
have the axes (Alice's setting, Bob's setting, Alice's bit, Bob's bit); the first two settings of either end are those of the Bell test, and
S = E00 + E01 + E10 - E11. In device-independent QKD Bob has a third setting, which gives key when Alice takes her first.

Only the asymptotic rate is given. A finite key of such a protocol needs the entropy accumulation theorem with the constants of the protocol
run, which we could not check against their source.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tiandi.limits import require_distribution, require_each_within, require_within
from tiandi.protocols.events import EventTable
from tiandi.protocols.information import binary_entropy

Array = NDArray[np.float64]

CLASSICAL_BOUND = 2.0
TSIRELSON_BOUND = 2.0 * math.sqrt(2.0)
"""Largest S of quantum theory (Cirel'son 1980, doi:10.1007/BF00417500)."""

CHSH_ANGLES_RAD = ((0.0, math.pi / 4.0), (math.pi / 8.0, -math.pi / 8.0))
"""Angles of Alice's and of Bob's analysers [rad] that give the largest S."""

MOST_HERALDED = 0.5
"""A Bell measurement with linear optics succeeds at most every other time (Luetkenhaus, Calsamiglia, Suominen 1999; recalled)."""


def polarisation_correlation(alice_angle_rad: ArrayLike, bob_angle_rad: ArrayLike, visibility: ArrayLike = 1.0) -> Array:
    """E(a, b) = V cos 2(a - b) [1] of two photons whose polarisations agree, by the angles of the analysers; broadcast."""
    return np.asarray(visibility, float) * np.cos(2.0 * (np.asarray(alice_angle_rad, float) - np.asarray(bob_angle_rad, float)))


def visibility_from_qber(qber: ArrayLike) -> Array:
    """V = 1 - 2 QBER [1], shape as given."""
    return 1.0 - 2.0 * np.asarray(qber, float)


def chsh_from_visibility(visibility: ArrayLike) -> Array:
    """S = 2 sqrt(2) V [1] at the best angles, shape as given; above 2 from V = 0.7071 on."""
    return TSIRELSON_BOUND * np.asarray(visibility, float)


def fidelity_from_visibility(visibility: ArrayLike) -> Array:
    """Fidelity (1 + 3 V) / 4 [1] with the Bell state of a Werner state, V of it and the rest white; shape as given.

    Werner 1989, doi:10.1103/PhysRevA.40.4277. Colourless noise is an assumption: errors in one basis alone leave a higher fidelity.
    """
    return 0.25 * (1.0 + 3.0 * np.asarray(visibility, float))


def error_rate(counts: ArrayLike) -> tuple[Array, Array]:
    """Share of unequal bits [1] among ``counts`` (..., 2, 2) and its standard error, shape (...,); 1/2 and infinite without counts."""
    correlation, deviation = correlation_from_counts(counts)
    return 0.5 * (1.0 - correlation), 0.5 * deviation


def correlation_from_counts(counts: ArrayLike) -> tuple[Array, Array]:
    """E [1] of ``counts`` (..., 2, 2) and its standard error sqrt((1 - E^2) / n), shape (...,); 0 and infinite without counts.

    The standard error is that of a binomial at the rate seen; it is 0 when no bit, or every bit, differs.
    """
    seen = np.asarray(counts, float)
    total = seen.sum(axis=(-2, -1))
    equal = seen[..., 0, 0] + seen[..., 1, 1]
    known = np.where(total > 0.0, total, 1.0)
    correlation = np.where(total > 0.0, (2.0 * equal - total) / known, 0.0)
    return correlation, np.where(total > 0.0, np.sqrt(np.maximum(1.0 - correlation**2, 0.0) / known), np.inf)


def chsh_from_counts(counts: ArrayLike) -> tuple[Array, Array]:
    """S [1] and its standard error, shape (...,), from ``counts`` (..., settings, settings, 2, 2): the first two settings of either end."""
    correlation, deviation = correlation_from_counts(np.asarray(counts, float)[..., :2, :2, :, :])
    value = correlation[..., 0, 0] + correlation[..., 0, 1] + correlation[..., 1, 0] - correlation[..., 1, 1]
    return value, np.sqrt(np.sum(deviation**2, axis=(-2, -1)))


def asymptotic_key_rate(chsh: ArrayLike, qber: ArrayLike, *, added_noise: ArrayLike = 0.0) -> Array:
    """Secret bits per key event [1] of infinitely many events against collective attacks; broadcast, 0 where S is not above 2.

    1 - h(Q) - h((1 + sqrt((S / 2)^2 - 1)) / 2): Acin et al. 2007, doi:10.1103/PhysRevLett.98.230501. ``added_noise`` is the probability
    with which Alice flips each bit of her own before correction. It costs an eavesdropper more than Bob and pays when errors are many: the
    last term becomes h((1 + sqrt((S / 2)^2 - 1)) / 2) - h((1 + sqrt(1 - p (1 - p) (8 - S^2))) / 2), and Q becomes Q + p - 2 p Q (Ho et al.
    2020, doi:10.1103/PhysRevLett.124.230502). Error correction at Shannon's limit; settings and sifting are not in it. Raises InputError
    on S outside [-4, 4], an error rate outside [0, 1] or added noise outside [0, 0.5].
    """
    violation = np.clip(require_each_within("chsh", chsh, -4.0, 4.0), CLASSICAL_BOUND, TSIRELSON_BOUND)
    error = require_each_within("qber", qber, 0.0, 1.0)
    flip = require_each_within("added_noise", added_noise, 0.0, 0.5)
    known = binary_entropy(0.5 * (1.0 + np.sqrt((0.5 * violation) ** 2 - 1.0)))
    hidden = binary_entropy(0.5 * (1.0 + np.sqrt(np.maximum(1.0 - flip * (1.0 - flip) * (8.0 - violation**2), 0.0))))
    rate = 1.0 - known + hidden - binary_entropy(error + flip - 2.0 * flip * error)
    return np.where(violation > CLASSICAL_BOUND, np.maximum(rate, 0.0), 0.0)


def event_table(
    chsh: float,
    qber: float,
    *,
    heralding_probability: ArrayLike,
    alice_probabilities: tuple[float, float],
    bob_probabilities: tuple[float, float, float],
) -> EventTable:
    """Events of a device-independent run on the axes (Alice's two settings, Bob's three, Alice's bit, Bob's bit).

    Every heralded attempt is an event, with ``heralding_probability`` (steps,), whatever the detectors did: a missing click is a bit as
    well, so that no loophole is left. The four correlations of the Bell test are S / 4 each (the last with its sign), Alice's first and
    Bob's third setting err with ``qber``, and her second is as good as random beside it, as at the best angles. Bits are even. Raises
    InputError on S beyond 2 sqrt(2), an error rate outside [0, 1], heralding outside [0, 0.5] or settings whose probabilities do not add
    up to 1.
    """
    require_within("chsh", chsh, -TSIRELSON_BOUND, TSIRELSON_BOUND)
    require_within("qber", qber, 0.0, 1.0)
    heralded = np.atleast_1d(require_each_within("heralding_probability", heralding_probability, 0.0, MOST_HERALDED))
    share = 0.25 * chsh
    correlation = np.array([[share, share, 1.0 - 2.0 * qber], [share, -share, 0.0]])
    outcomes = 0.25 * (1.0 + correlation[:, :, None, None] * np.array([[1.0, -1.0], [-1.0, 1.0]]))
    alice = require_distribution("alice_probabilities", alice_probabilities)
    bob = require_distribution("bob_probabilities", bob_probabilities)
    return EventTable(np.multiply.outer(heralded, np.multiply.outer(alice, bob)[:, :, None, None] * outcomes))
