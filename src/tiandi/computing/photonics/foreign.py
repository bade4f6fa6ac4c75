"""Gaussian states and interferometers of the user's own: from matrices, thewalrus, Piquasso and Perceval. None of them is imported here.

Conventions are told by the caller, never guessed: the order of the quadratures ("xxpp": x_1..x_M, p_1..p_M, or "xpxp": x_1, p_1, ..) and
the covariance of the vacuum, which is hbar/2 times the identity in thewalrus and most texts, but hbar times it in Piquasso.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tiandi.computing.photonics.gaussian import PASSIVE_TOLERANCE, WHOLLY_CHECKED, Detectors, FloatArray, GaussianState, Machine
from tiandi.errors import InputError
from tiandi.limits import require_within

Order = Literal["xxpp", "xpxp"]
PHYSICAL_TOLERANCE = 1e-7
LARGEST_MODES = 2048


def state_from_matrices(covariance: ArrayLike, mean: ArrayLike | None = None, *, order: Order, hbar: float) -> GaussianState:
    """The state with ``covariance`` (2 modes, 2 modes), whose vacuum is hbar/2 times the identity, and ``mean`` (2 modes,), 0 unless given.

    A coherent state alpha has the mean sqrt(2 hbar) (Re alpha, Im alpha). Raises InputError where the uncertainty relation is broken.
    """
    require_within("hbar", hbar, 1e-6, 1e6)
    matrix = _numbers("covariance", covariance, float)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or matrix.shape[0] % 2 or not 2 <= len(matrix) <= 2 * LARGEST_MODES:
        raise InputError("covariance", list(matrix.shape), f"must be square, with two rows a mode, of at most {LARGEST_MODES} modes")
    vector = np.zeros(len(matrix)) if mean is None else _numbers("mean", mean, float)
    if vector.shape != (len(matrix),):
        raise InputError("mean", list(vector.shape), f"must have {len(matrix)} entries")
    places = _places(len(matrix) // 2, order)
    scaled = matrix[np.ix_(places, places)] * (2 / hbar)
    state = GaussianState(scaled, vector[places] * np.sqrt(2 / hbar))
    require_physical(state)
    return GaussianState((scaled + scaled.T) / 2, state.mean)


def require_physical(state: GaussianState) -> None:
    """Raise InputError unless V + i Omega >= 0: with the smallest eigenvalue, and a hint at the usual mistake."""
    modes = state.modes
    zero, unit = np.zeros((modes, modes)), np.eye(modes)
    smallest = float(np.linalg.eigvalsh(state.covariance + 1j * np.block([[zero, unit], [-unit, zero]]))[0])
    if smallest < -PHYSICAL_TOLERANCE * max(1.0, float(np.abs(state.covariance).max())):
        hint = "must not be below 0 by the uncertainty relation: look at order and hbar"
        raise InputError("least eigenvalue of V + i Omega, vacuum at 1", smallest, hint)


def state_from_thewalrus(mean: ArrayLike, covariance: ArrayLike, *, hbar: float = 2.0) -> GaussianState:
    """The state that thewalrus writes as ``mean, covariance``: order xxpp, vacuum hbar/2; its functions take hbar = 2 unless told."""
    return state_from_matrices(covariance, mean, order="xxpp", hbar=hbar)


def state_from_piquasso(state: Any) -> GaussianState:
    """The state of a Piquasso GaussianState, known by its attributes; its covariance is twice the usual one, its vacuum hbar."""
    try:
        covariance, mean = np.asarray(state.xxpp_covariance_matrix, float), np.asarray(state.xxpp_mean_vector, float)
        hbar = float(state._config.hbar)
    except (AttributeError, TypeError, ValueError) as error:
        raise InputError("state", type(state).__name__, "must be a GaussianState of Piquasso") from error
    return state_from_matrices(covariance / 2, mean, order="xxpp", hbar=hbar)


def machine_from_matrices(
    transfer: ArrayLike,
    squeezing_r: ArrayLike,
    *,
    name: str = "user's own",
    detectors: Detectors | None = None,
    indistinguishability: float = 1.0,
) -> Machine:
    """A machine of ``squeezing_r`` (inputs,) through ``transfer`` (modes, inputs): a_out = transfer a_in; r > 0 stretches x.

    Raises InputError where the interferometer amplifies.
    """
    matrix = _numbers("transfer", transfer, complex)
    squeezing = np.asarray(_numbers("squeezing_r", squeezing_r, float), float)
    machine = Machine(name, squeezing, matrix, indistinguishability, detectors or Detectors())
    if min(matrix.shape) > WHOLLY_CHECKED:
        require_within("largest singular value of transfer", float(np.linalg.norm(matrix, 2)), 0.0, 1.0 + PASSIVE_TOLERANCE)
    return machine


def machine_from_perceval(
    circuit: Any, squeezing_r: ArrayLike, *, transmission: float = 1.0, detectors: Detectors | None = None
) -> Machine:
    """A machine of a Perceval circuit, or of anything with ``compute_unitary()``; mode i gets ``squeezing_r[i]``, 0 for the vacuum.

    Perceval's unitaries act on creation operators of the inputs as columns: amplitudes at output i from input j stand at [i, j], as here.
    """
    require_within("transmission", transmission, 0.0, 1.0)
    try:
        unitary: NDArray[np.complex128] = np.array(circuit.compute_unitary(), complex)
    except (AttributeError, TypeError, ValueError) as error:
        raise InputError("circuit", type(circuit).__name__, "must have compute_unitary() with numbers for all its parameters") from error
    name = str(getattr(circuit, "name", "") or "Perceval circuit")[:80]
    return machine_from_matrices(np.sqrt(transmission) * unitary, squeezing_r, name=name, detectors=detectors)


def _numbers(field: str, values: ArrayLike, kind: type) -> NDArray[Any]:
    """``values`` as a new array of numbers; raises InputError where they are none."""
    try:
        return np.array(values, kind)
    except (TypeError, ValueError) as error:
        raise InputError(field, type(values).__name__, "must be a table of numbers") from error


def _places(modes: int, order: Order) -> NDArray[np.int64]:
    """Where the quadratures x_1..x_M, p_1..p_M stand in ``order``."""
    if order == "xxpp":
        return np.arange(2 * modes)
    if order == "xpxp":
        return np.concatenate([np.arange(0, 2 * modes, 2), np.arange(1, 2 * modes, 2)])
    raise InputError("order", order, "must be xxpp or xpxp")


def covariance_in(state: GaussianState, *, order: Order, hbar: float) -> tuple[FloatArray, FloatArray]:
    """Covariance and mean of ``state`` in another convention, for other libraries: the inverse of `state_from_matrices`."""
    require_within("hbar", hbar, 1e-6, 1e6)
    back = np.argsort(_places(state.modes, order))
    return state.covariance[np.ix_(back, back)] * (hbar / 2), state.mean[back] * np.sqrt(hbar / 2)
