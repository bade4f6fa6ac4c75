"""The settings of a link that make most key: intensities, how often each is sent, and the bias of the bases."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import differential_evolution

from tiandi.physics.equipment import Receiver, Transmitter
from tiandi.protocols.decoy_bb84 import counts_from_outcomes, photons_at_detectors, squash
from tiandi.protocols.finite_key import Bound, expected_secret_bit

Array = NDArray[np.float64]

BINS = 24
"""Into how many parts of equal loss a pass is gathered while searching; the figure returned is that of all its steps."""
SMALLEST_SHARE = 0.01


def maximise(
    objective: Callable[[Array], Array], limits: Sequence[tuple[float, float]], *, seed: int = 0, generations: int = 300
) -> tuple[Array, float]:
    """Where ``objective`` is greatest within ``limits``, and how great.

    ``objective`` takes any number of candidates at once, shape (parameters, candidates), and returns (candidates,). Differential
    evolution (Storn and Price 1997, doi:10.1023/A:1008202821328) as SciPy has it, repeatable by ``seed``.
    """
    found = differential_evolution(
        lambda candidates: -objective(np.atleast_2d(candidates.T).T),
        limits,
        vectorized=True,
        updating="deferred",
        popsize=12,
        maxiter=generations,
        tol=1e-7,
        init="sobol",
        rng=seed,
        polish=False,
    )
    return np.asarray(found.x), -float(found.fun)


@dataclass(frozen=True)
class Optimum:
    """The best settings found and the secret bits [bit] that they are expected to give."""

    transmitter: Transmitter
    receiver: Receiver
    secret_bit: float


def optimise_decoy_bb84(
    transmitter: Transmitter,
    receiver: Receiver,
    transmittance: Array,
    pulses: NDArray[np.int64],
    *,
    epsilon_secrecy: float = 1e-9,
    epsilon_correctness: float = 1e-15,
    error_correction_efficiency: float = 1.06,
    error_pattern_told: bool = False,
    bound: Bound = "hoeffding",
    seed: int = 0,
) -> Optimum:
    """Intensities, probabilities and basis bias with the most key over a block of steps, ``transmittance`` and ``pulses`` (steps,).

    As many intensities as ``transmitter`` has (three or two); a last one of 0 stays 0. An active receiver shares the bias of the
    transmitter, a passive one keeps its beam splitter. ``error_pattern_told`` as in `proven_key`. The search repeats with ``seed``.
    """
    transmittance, pulses = np.asarray(transmittance, float), np.asarray(pulses, np.int64)
    settings = _Settings(len(transmitter.mean_photon_numbers), transmitter.mean_photon_numbers[-1] == 0.0)

    def secret_bit(candidates: Array, transmittance: Array, pulses: NDArray[np.int64]) -> Array:
        means, probabilities, x_basis = settings.of(candidates)
        received = means[:, None, :] * transmittance[:, None] * receiver.efficiency
        bob_x_basis = x_basis[:, None, None] if receiver.basis_choice == "active" else None
        outcomes = squash(photons_at_detectors(received, receiver, bob_x_basis), receiver, bob_x_basis)
        sent = probabilities[..., None] * np.stack([x_basis, 1.0 - x_basis], axis=-1)[:, None, :]
        counts = counts_from_outcomes(sent, outcomes, pulses, receiver=receiver, clock_hz=transmitter.clock_hz, x_basis_probability=x_basis)
        return expected_secret_bit(
            counts.sifted,
            counts.errors,
            mean_photon_numbers=means,
            probabilities=probabilities,
            epsilon_secrecy=epsilon_secrecy,
            epsilon_correctness=epsilon_correctness,
            error_correction_efficiency=error_correction_efficiency,
            error_pattern_told=error_pattern_told,
            bound=bound,
        )

    gathered = _gather(transmittance, pulses)
    best, _ = maximise(lambda candidates: secret_bit(candidates, *gathered), settings.limits, seed=seed)
    means, probabilities, x_basis = settings.of(best[:, None])
    bias = float(x_basis[0])
    return Optimum(
        replace(
            transmitter,
            mean_photon_numbers=tuple(means[0].tolist()),
            probabilities=tuple(probabilities[0].tolist()),
            x_basis_probability=bias,
        ),
        replace(receiver, x_basis_probability=bias) if receiver.basis_choice == "active" else receiver,
        float(secret_bit(best[:, None], transmittance, pulses)[0]),
    )


@dataclass(frozen=True)
class _Settings:
    """A transmitter's settings as shares of what is left, so that every candidate within the limits is a valid transmitter."""

    intensities: int
    has_vacuum: bool

    @property
    def limits(self) -> list[tuple[float, float]]:
        return [
            (0.05, 1.0),
            *[(0.02, 0.48)] * (self.intensities - 1 - self.has_vacuum),
            *[(SMALLEST_SHARE, 1.0 - SMALLEST_SHARE)] * self.intensities,
        ]

    def of(self, candidates: Array) -> tuple[Array, Array, Array]:
        """Mean photon numbers (n, intensities), probabilities (n, intensities) and X bias (n,) of candidates (parameters, n)."""
        shares, x_basis = candidates[:-1].T, candidates[-1]
        bright = self.intensities - self.has_vacuum
        means = np.pad(np.cumprod(shares[:, :bright], axis=1), ((0, 0), (0, int(self.has_vacuum))))
        cuts = shares[:, bright:]
        left = np.pad(np.cumprod(1.0 - cuts, axis=1), ((0, 0), (1, 0)), constant_values=1.0)
        return np.asarray(means, float), np.asarray(left * np.pad(cuts, ((0, 0), (0, 1)), constant_values=1.0), float), x_basis


def _gather(transmittance: Array, pulses: NDArray[np.int64]) -> tuple[Array, NDArray[np.int64]]:
    """The same pulses in at most `BINS` steps: neighbours in transmittance are given their mean."""
    if transmittance.size <= BINS:
        return transmittance, pulses
    order = np.argsort(transmittance)
    parts = [part for part in np.array_split(order, BINS) if pulses[part].sum() > 0]
    means = np.array([np.average(transmittance[part], weights=pulses[part]) for part in parts])
    return means, np.array([pulses[part].sum() for part in parts])
