"""Light through fibre."""

from __future__ import annotations

from tiandi.units import transmittance_from_loss


def fibre_transmittance(length_km: float, *, attenuation_db_per_km: float, insertion_loss_db: float = 0.0) -> float:
    """Fraction of the light that arrives through ``length_km`` [km] of fibre and its connectors.

    Beer-Lambert: 10^(-(attenuation length + insertion loss) / 10).
    """
    return transmittance_from_loss(attenuation_db_per_km * length_km + insertion_loss_db)
