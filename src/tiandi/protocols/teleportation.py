"""Teleportation of a polarisation qubit from the ground to a satellite, and the algebra of Bell-diagonal states behind it.

A Bell-diagonal pair is four weights on the last axis, in the order phi+, phi-, psi+, psi-. Teleporting through it applies the Pauli errors
1, Z, X, Y with these same probabilities (Bowen and Bose 2001, doi:10.1103/PhysRevLett.87.267901), so a pair and the error channel it
makes are one array, and errors one after another compose by convolution over Z2 x Z2 (`compose`). H and V are the eigenstates of Z.

Left out: feed-forward of the Bell result in time (the satellite's outcomes are sorted afterwards, as in Ren et al. 2017,
doi:10.1038/nature23675) and any change of the errors with the light, unless weights are given step by step.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import binom

from tiandi.errors import InputError
from tiandi.limits import require_distribution, require_each_within, require_within
from tiandi.protocols.events import EventTable

Array = NDArray[np.float64]
BellState = Literal["phi+", "phi-", "psi+", "psi-"]

BELL_STATES: tuple[BellState, ...] = ("phi+", "phi-", "psi+", "psi-")
INPUT_STATES = ("H", "V", "+", "-", "R", "L")
CLASSICAL_FIDELITY = 2 / 3
"""Most that measuring and preparing anew reaches on average over all qubits: Massar and Popescu 1995, doi:10.1103/PhysRevLett.74.1259.

The six input states give the same average as the whole sphere, so the limit is theirs as well.
"""

# Characters of Z2 x Z2: a convolution of weights is a product of their transforms.
_CHARACTERS = np.array([[1.0, 1, 1, 1], [1, -1, 1, -1], [1, 1, -1, -1], [1, -1, -1, 1]])
# Each input state is kept by the identity and by the Pauli operator whose eigenstate it is: Z, X, Y.
_KEPT_BY = np.array([[1, 1, 0, 0]] * 2 + [[1, 0, 1, 0]] * 2 + [[1, 0, 0, 1]] * 2, float)


def _require_weights(weights: ArrayLike) -> Array:
    """``weights`` as an array (..., 4); InputError unless they are probabilities that add up to 1."""
    if np.shape(weights)[-1:] != (4,):
        raise InputError("weights", weights, "must be four weights of Bell states on the last axis")
    return require_distribution("weights", weights)


def werner(fidelity: ArrayLike) -> Array:
    """Weights (..., 4) of a Werner state of ``fidelity`` (...) to phi+: the rest is spread evenly over the other three Bell states.

    Werner 1989, doi:10.1103/PhysRevA.40.4277. Raises InputError on a fidelity outside [0, 1].
    """
    kept = require_each_within("fidelity", fidelity, 0.0, 1.0)[..., None]
    return np.concatenate([kept, np.repeat((1.0 - kept) / 3.0, 3, axis=-1)], axis=-1)


def dephasing(coherence: ArrayLike) -> Array:
    """Weights (..., 4) of a channel that leaves H and V alone and multiplies the coherence between them by ``coherence`` (...).

    Raises InputError on a coherence outside [0, 1].
    """
    flip = 0.5 * (1.0 - require_each_within("coherence", coherence, 0.0, 1.0))
    return np.stack([1.0 - flip, flip, np.zeros_like(flip), np.zeros_like(flip)], axis=-1)


def depolarising(contraction: ArrayLike) -> Array:
    """Weights (..., 4) of a channel that keeps the state with probability ``contraction`` (...) and forgets it otherwise.

    Raises InputError on a contraction outside [0, 1].
    """
    return werner(0.25 + 0.75 * require_each_within("contraction", contraction, 0.0, 1.0))


def compose(*weights: ArrayLike) -> Array:
    """Weights (..., 4) of Pauli channels one after another, or of Bell-diagonal pairs swapped into one; shapes broadcast.

    A convolution over Z2 x Z2, hence in any order. Swapping is teleporting half of a pair: Zukowski, Zeilinger, Horne, Ekert 1993,
    doi:10.1103/PhysRevLett.71.4287. Raises InputError on weights that are not four probabilities.
    """
    product = np.ones(4)
    for one in weights:
        product = product * (_require_weights(one) @ _CHARACTERS)
    return np.asarray(np.clip(product @ _CHARACTERS / 4.0, 0.0, 1.0))


def input_fidelities(weights: ArrayLike) -> Array:
    """Fidelity (..., 6) of the teleported state for each of `INPUT_STATES`, through errors of ``weights`` (..., 4).

    H and V suffer from X and Y, + and - from Z and Y, R and L from Z and X. Raises InputError on weights that are none.
    """
    return _require_weights(weights) @ _KEPT_BY.T


def mean_fidelity(weights: ArrayLike) -> Array:
    """Fidelity (...) averaged over the six input states, or over all qubits: (2 F + 1) / 3 with F the weight of phi+.

    Horodecki, Horodecki, Horodecki 1999, doi:10.1103/PhysRevA.60.1888. Raises InputError on weights that are none.
    """
    return np.asarray((2.0 * _require_weights(weights)[..., 0] + 1.0) / 3.0)


def error_rates(weights: ArrayLike) -> tuple[Array, Array]:
    """QBER in the X basis (+, -) and in the Z basis (H, V), each (...), of pairs with ``weights`` (..., 4) that should be phi+.

    Raises InputError on weights that are not four probabilities.
    """
    state = _require_weights(weights)
    return state[..., 1] + state[..., 3], state[..., 2] + state[..., 3]


@dataclass(frozen=True)
class BellAnalyser:
    """A Bell-state measurement of linear optics, photon counters and no auxiliary photons.

    A polarising beam splitter tells phi+ from phi-, a balanced one psi+ from psi-; nothing tells more than two of the four, so that
    at most half of the pairs are heralded (Calsamiglia and Luetkenhaus 2001, doi:10.1007/s003400000484).

    Behind a polarising beam splitter HH and VV both leave one photon in each port and differ only in which photon went where.
    ``overlap`` is that of the photons' wave packets, |<f|g>|^2: it multiplies the coherence between HH and VV, and the analyser takes phi+
    for phi- with probability (1 - overlap) / 2. The parity of the two polarisations is read without interference, so H and V do not
    suffer. The same holds for psi+ and psi- if the counters behind a balanced beam splitter resolve polarisation. Left out: loss.
    Raises InputError on a field out of its range.
    """

    heralded: tuple[BellState, ...] = ("phi+", "phi-")
    overlap: float = 1.0

    def __post_init__(self) -> None:
        require_within("overlap", self.overlap, 0.0, 1.0)
        if not self.heralded or not any(set(self.heralded) <= set(pair) for pair in (BELL_STATES[:2], BELL_STATES[2:])):
            raise InputError("heralded", self.heralded, "must be one or both of phi+ and phi-, or of psi+ and psi-")

    @property
    def success_probability(self) -> float:
        """Probability that two photons, neither lost, are heralded: a quarter per Bell state told apart, whatever qubit is teleported."""
        return len(set(self.heralded)) / 4.0

    @property
    def weights(self) -> Array:
        """Errors (4,) that confusing the two states of a pair puts on the teleported qubit."""
        return dephasing(self.overlap)


@dataclass(frozen=True)
class ErrorBudget:
    """What each imperfection alone takes off the mean fidelity of a perfect teleportation, as in the budget of Ren et al. 2017.

    The reading is ours: a loss x of mean fidelity is a depolarising channel that forgets the state with probability 2 x, since a
    forgotten qubit is still right half of the time. Twice the loss is thus the share of events that tell nothing: emission of two pairs
    at once (uncorrelated photons), unstable polarisation on the way up, background and dark counts aboard. Photons that can be told apart
    only dephase (`BellAnalyser`): poles unhurt, equator hit by 3 x / 2, so that the mean over six states loses x. Left out: the parts of
    double pairs and polarisation that are not depolarising. Raises InputError on a loss above 1/2, or 1/3 for ``distinguishability``.
    """

    double_pair: float
    distinguishability: float
    polarisation: float
    background: float

    def __post_init__(self) -> None:
        for field in fields(self):
            require_within(field.name, getattr(self, field.name), 0.0, 1.0 / 3.0 if field.name == "distinguishability" else 0.5)

    @property
    def analyser(self) -> BellAnalyser:
        """The polarising-beam-splitter analyser whose photons overlap as little as the budget says: 1 - 3 x."""
        return BellAnalyser(overlap=max(0.0, 1.0 - 3.0 * self.distinguishability))

    @property
    def channels(self) -> Mapping[str, Array]:
        """Weights (4,) of each imperfection by its name."""
        uniform = ("double_pair", "polarisation", "background")
        return {name: depolarising(1.0 - 2.0 * getattr(self, name)) for name in uniform} | {"distinguishability": self.analyser.weights}

    @property
    def weights(self) -> Array:
        """Weights (4,) of all imperfections together."""
        return compose(*self.channels.values())


@dataclass(frozen=True)
class TeleportationSource:
    """Pulsed source on the ground: ``fourfold_rate_hz`` is the rate of heralded Bell measurements together with a photon to send up.

    The rate is what four counters on the ground would see, success of the Bell measurement included; the pump pulses at
    ``clock_hz``. Each pulse sends one of the six input states, all equally often. Raises InputError on a field out of its range.
    """

    clock_hz: float
    fourfold_rate_hz: float

    def __post_init__(self) -> None:
        require_within("clock_hz", self.clock_hz, 1.0, 1e11)
        require_within("fourfold_rate_hz", self.fourfold_rate_hz, 0.0, self.clock_hz)

    def pulses(self, duration_s: ArrayLike) -> NDArray[np.int64]:
        """Pump pulses in ``duration_s`` [s], shape as given."""
        return np.rint(self.clock_hz * np.asarray(duration_s, float)).astype(np.int64)


def uplink_loss_db(range_km: ArrayLike, elevation_deg: ArrayLike, *, far_field_loss_db: float, zenith_extinction_db: float) -> Array:
    """Loss [dB] of an uplink at a range [km] and an elevation [degrees], broadcast: inverse square of the range, plus extinction.

    20 log10(range / 1 km) + ``far_field_loss_db`` + ``zenith_extinction_db`` / sin(elevation). The second is geometry, optics, turbulence
    and pointing carried back to 1 km by the inverse square, negative where the beam is narrower than the telescope at 1 km. Good in
    the far field and above some 10 degrees; scintillation is left out. Raises InputError on a range or elevation that is not positive.
    """
    distance, elevation = np.asarray(range_km, float), np.asarray(elevation_deg, float)
    if not np.all(distance > 0.0):
        raise InputError("range_km", range_km, "must be positive")
    if not np.all((elevation > 0.0) & (elevation <= 90.0)):
        raise InputError("elevation_deg", elevation_deg, "must lie in (0, 90]")
    return np.asarray(20.0 * np.log10(distance) + far_field_loss_db + zenith_extinction_db / np.sin(np.radians(elevation)))


def event_table(source: TeleportationSource, weights: ArrayLike, transmittance: ArrayLike) -> EventTable:
    """Probability per pump pulse of (input state, projection) with 0 for right and 1 for wrong, shape (steps, 6, 2).

    ``transmittance`` (steps,) is from the ground's source to a click aboard, ``weights`` (4,) or (steps, 4) all errors together, those of
    the resource included. The satellite measures in the basis of the input state. Raises InputError on values out of [0, 1].
    """
    arrived = np.atleast_1d(require_each_within("transmittance", transmittance, 0.0, 1.0))
    rate = source.fourfold_rate_hz / source.clock_hz * arrived / len(INPUT_STATES)
    right = np.broadcast_to(input_fidelities(weights), (arrived.size, len(INPUT_STATES)))
    return EventTable(rate[:, None, None] * np.stack([right, 1.0 - right], axis=-1))


@dataclass(frozen=True)
class MeasuredFidelity:
    """Fidelities and standard errors, each (6,), their mean with its own, and how likely the best classical scheme does as well."""

    fidelities: Array
    standard_errors: Array
    mean: float
    mean_standard_error: float
    p_value: float


def measure_fidelity(counts: ArrayLike) -> MeasuredFidelity:
    """Fidelities from ``counts`` (6, 2) of right and wrong projections, and a one-sided binomial test against 2/3.

    The standard error is sqrt(F (1 - F) / n) with F = (right + 1) / (n + 2), lest a few lucky events claim certainty; without events
    the fidelity is 1/2. ``p_value`` is the chance of at least so many right projections in all if each is right with probability 2/3. It
    holds if every input state was equally likely in each event; were H and V sent more often, a classical scheme could favour them.
    Raises InputError on counts of another shape, negative or not whole.
    """
    table = np.asarray(counts, float)
    if table.shape != (len(INPUT_STATES), 2) or not np.all((table >= 0) & (table == np.rint(table))):
        raise InputError("counts", counts, "must be six rows of two whole numbers, right and wrong")
    right, events = table[:, 0], table.sum(axis=1)
    fidelities = np.where(events > 0, right / np.maximum(events, 1.0), 0.5)
    cautious = (right + 1.0) / (events + 2.0)
    errors = np.sqrt(cautious * (1.0 - cautious) / np.maximum(events, 1.0))
    return MeasuredFidelity(
        fidelities=fidelities,
        standard_errors=errors,
        mean=float(fidelities.mean()),
        mean_standard_error=float(np.sqrt(np.sum(errors**2)) / len(INPUT_STATES)),
        p_value=float(binom.sf(right.sum() - 1.0, events.sum(), CLASSICAL_FIDELITY)),
    )
