"""How much key a contact of a satellite is expected to give: `tiandi.quantum.link.QkdLink.forecast` for thousands of contacts at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tiandi.errors import InputError
from tiandi.limits import require_within
from tiandi.physics.equipment import Receiver, Transmitter
from tiandi.physics.free_space import downlink_transmittance, uplink_transmittance
from tiandi.protocols.decoy_bb84 import expected_counts, photons_at_detectors, squash
from tiandi.protocols.finite_key import EPSILON_SHARES, expected_secret_bit
from tiandi.quantum.link import EXPECTED_ERROR_CORRECTION_EFFICIENCY, SecuritySettings

Floats = NDArray[np.float64]

CONTACTS_AT_A_TIME = 256
"""As many contacts as stay in a processor's cache; the answer does not depend on it."""


@dataclass(frozen=True)
class SkyLink:
    """A transmitter and a receiver in free space, one of them in orbit, under clear sky.

    Light goes down, or up where ``uplink_wavelength_nm`` is given: then the transmitter stands on the ground and its beam is spread by the
    turbulence it meets first. The receiver's background rate is that of a dark sky. Conventions of the beam as in
    `tiandi.quantum.channel`: top hat down, Gaussian up. Raises InputError when a data sheet lacks what it needs or no proof covers it.
    """

    transmitter: Transmitter
    receiver: Receiver
    zenith_extinction_db: float
    epsilon_secrecy: float = 1e-9
    epsilon_correctness: float = 1e-15
    uplink_wavelength_nm: float | None = None

    def __post_init__(self) -> None:
        # The same limits as of a link that distils.
        SecuritySettings(self.epsilon_secrecy, self.epsilon_correctness)
        require_within("zenith_extinction_db", self.zenith_extinction_db, 0.0, 30.0)
        if self.transmitter.divergence_full_angle_urad is None:
            raise InputError("divergence_full_angle_urad", None, "a link in free space needs it")
        if self.receiver.aperture_m is None:
            raise InputError("aperture_m", None, "a link in free space needs it")
        if self.receiver.basis_choice == "passive" and self.receiver.x_basis_probability != 0.5:
            raise InputError("x_basis_probability", self.receiver.x_basis_probability, "must be 0.5 for a passive receiver: see QkdLink")
        if len(self.transmitter.mean_photon_numbers) not in EPSILON_SHARES:
            raise InputError("mean_photon_numbers", self.transmitter.mean_photon_numbers, "must be 3 or 2: there are proofs for them")

    def transmittance(self, range_km: Floats, elevation_deg: Floats) -> Floats:
        """Mean fraction of the light that arrives, before the receiver's optics; the shape of both."""
        assert self.transmitter.divergence_full_angle_urad is not None
        assert self.receiver.aperture_m is not None
        divergence, aperture = self.transmitter.divergence_full_angle_urad, self.receiver.aperture_m
        extinction, loss = self.zenith_extinction_db, self.transmitter.pointing_loss_db
        jitter = self.transmitter.pointing_jitter_urad
        if self.uplink_wavelength_nm is None:
            return downlink_transmittance(
                range_km,
                elevation_deg,
                divergence_full_angle_urad=divergence,
                aperture_m=aperture,
                zenith_extinction_db=extinction,
                pointing_loss_db=loss,
                jitter_urad=jitter,
            )
        return uplink_transmittance(
            range_km,
            elevation_deg,
            divergence_full_angle_urad=divergence,
            aperture_m=aperture,
            wavelength_nm=self.uplink_wavelength_nm,
            zenith_extinction_db=extinction,
            pointing_loss_db=loss,
            jitter_urad=jitter,
        )

    def expected_key(
        self, range_km: Floats, elevation_deg: Floats, *, duration_s: Floats, brightness: Floats | None = None
    ) -> tuple[Floats, Floats]:
        """Sifted bits and proven secret bits of contacts, each of shape (contacts,).

        All arguments have shape (contacts, nodes): where the satellite is at each node of a contact, for how many seconds the node stands,
        and how often brighter than a dark sky the sky is. All of a contact is one block of `finite_key.expected_secret_bit`; its
        sifted bits are those of all intensities in both bases.
        """
        brightness = np.ones_like(range_km) if brightness is None else brightness
        sifted_bit, secret_bit = np.empty(len(range_km)), np.empty(len(range_km))
        for first in range(0, len(range_km), CONTACTS_AT_A_TIME):
            part = slice(first, first + CONTACTS_AT_A_TIME)
            transmittance = self.transmittance(range_km[part], elevation_deg[part])
            sifted_bit[part], secret_bit[part] = self._key(transmittance, duration_s[part], brightness[part])
        return sifted_bit, secret_bit

    def _key(self, transmittance: Floats, duration_s: Floats, brightness: Floats) -> tuple[Floats, Floats]:
        transmitter, receiver = self.transmitter, self.receiver
        received = np.asarray(transmitter.mean_photon_numbers) * transmittance[..., None] * receiver.efficiency
        # Noise of a mean number more a gate acts as light of that mean number at each detector.
        glow = receiver.background_rate_hz * receiver.gate_s * (brightness - 1.0)
        outcomes = squash(photons_at_detectors(received, receiver) + glow[..., None, None, None], receiver)
        counts = expected_counts(transmitter, receiver, outcomes, duration_s * transmitter.clock_hz)  # type: ignore[arg-type]
        secret_bit = expected_secret_bit(
            counts.sifted,
            counts.errors,
            mean_photon_numbers=transmitter.mean_photon_numbers,
            probabilities=transmitter.probabilities,
            epsilon_secrecy=self.epsilon_secrecy,
            epsilon_correctness=self.epsilon_correctness,
            error_correction_efficiency=EXPECTED_ERROR_CORRECTION_EFFICIENCY,
            error_pattern_told=True,
        )
        return counts.sifted.sum(axis=(-2, -1)), secret_bit
