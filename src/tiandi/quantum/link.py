"""A QKD link: two QKD modules, a channel between them, and one block of key after another."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from tiandi.distill.alice import Alice
from tiandi.distill.authentication import AuthenticationPool, OneTimeTags
from tiandi.distill.bob import Bob
from tiandi.distill.exchange import run_in_process
from tiandi.distill.ledger import Ledger
from tiandi.distill.records import KeyBlock, ReceiverRecord, TransmitterRecord
from tiandi.errors import DistillationAborted, InputError
from tiandi.physics.equipment import Receiver, Transmitter
from tiandi.protocols.decoy_bb84 import (
    ExpectedCounts,
    Probabilities,
    expected_counts,
    outcome_probabilities,
    sample_detections,
)
from tiandi.protocols.detector_attacks import detector_blinding, time_shift
from tiandi.protocols.eavesdroppers import (
    Eavesdropping,
    beam_splitting,
    intercept_resend,
    photon_number_splitting,
    unambiguous_discrimination,
)
from tiandi.protocols.finite_key import EPSILON_SHARES, expected_secret_bit
from tiandi.protocols.optimiser import optimise_decoy_bb84
from tiandi.quantum.agreement import Agreement
from tiandi.quantum.channel import Channel, ChannelSteps
from tiandi.random import secret_bytes, twin_generator
from tiandi.tags import TAG_KEY_BYTE
from tiandi.units import loss_from_transmittance

if TYPE_CHECKING:
    from tiandi.protocols.event_file import Run

Eavesdropper = Literal[
    "none",
    "intercept-resend",
    "photon-number-splitting",
    "unambiguous-discrimination",
    "beam-splitting",
    "time-shift",
    "detector-blinding",
]
_ATTACKS: dict[Eavesdropper, Callable[[Transmitter, Receiver, NDArray[np.float64]], Eavesdropping]] = {
    "intercept-resend": intercept_resend,
    "photon-number-splitting": photon_number_splitting,
    "unambiguous-discrimination": unambiguous_discrimination,
    "beam-splitting": beam_splitting,
    "time-shift": time_shift,
    "detector-blinding": detector_blinding,
}

PRE_SHARED_BLOCKS = 8
"""For how many blocks the pre-shared key pays before the first must have replenished it."""
EXPECTED_ERROR_CORRECTION_EFFICIENCY = 1.06
"""Leak of Cascade over its Shannon limit, for forecasts only; a block counts what it leaked."""


@dataclass(frozen=True)
class SecuritySettings:
    """What a link promises. Epsilons are for a whole block."""

    epsilon_secrecy: float = 1e-9
    epsilon_correctness: float = 1e-15
    qber_limit: float = 0.11

    def __post_init__(self) -> None:
        for name in ("epsilon_secrecy", "epsilon_correctness"):
            if not 1e-24 <= getattr(self, name) <= 1e-3:
                raise InputError(name, getattr(self, name), "must lie in [1e-24, 1e-3]")
        if not 0.001 <= self.qber_limit <= 0.11:
            raise InputError("qber_limit", self.qber_limit, "must lie in [0.001, 0.11]: no key is proven above 11 %")


@dataclass(frozen=True)
class LinkBlock:
    """One block of a link: its figures, and the key of both ends unless it was aborted.

    ``loss_db`` is the smallest loss of the block, channel and receiver optics, without detectors.
    """

    link: str
    ends: tuple[str, str]
    duration_s: float
    length_km: float
    loss_db: float
    pulses: int
    ledger: Ledger
    alice: KeyBlock | DistillationAborted
    bob: KeyBlock | DistillationAborted

    @property
    def aborted(self) -> bool:
        return not (isinstance(self.alice, KeyBlock) and isinstance(self.bob, KeyBlock))

    @property
    def secret_bit(self) -> int:
        """Secret bits won, those for authentication included."""
        return 0 if self.aborted else self.ledger.total_secret_bit

    @property
    def secret_key_rate_bps(self) -> float:
        return self.secret_bit / self.duration_s

    def keys(self) -> tuple[KeyBlock, KeyBlock]:
        """Alice's and Bob's key. Raises the reason when the block was aborted."""
        for outcome in (self.alice, self.bob):
            if isinstance(outcome, DistillationAborted):
                raise outcome
        assert isinstance(self.alice, KeyBlock)
        assert isinstance(self.bob, KeyBlock)
        return self.alice, self.bob


@dataclass(frozen=True)
class Forecast:
    """What a block is expected to give: mean counts through the same proof, without sampling."""

    duration_s: float
    counts: ExpectedCounts
    secret_bit: float


class QkdLink:
    """A pair of QKD modules, Alice with the transmitter and Bob with the receiver, that trust each other by a pre-shared key.

    Raises InputError for a receiver that the proof does not cover.
    """

    def __init__(
        self,
        alice: str,
        bob: str,
        *,
        transmitter: Transmitter,
        receiver: Receiver,
        channel: Channel,
        security: SecuritySettings | None = None,
    ) -> None:
        if receiver.basis_choice == "passive" and receiver.x_basis_probability != 0.5:
            raise InputError(
                "x_basis_probability", receiver.x_basis_probability, "must be 0.5: the proof does not cover a biased passive receiver"
            )
        if len(transmitter.mean_photon_numbers) not in EPSILON_SHARES:
            raise InputError(
                "mean_photon_numbers", transmitter.mean_photon_numbers, "must be 3 or 2: there are proofs for two decoys and one"
            )
        self.alice, self.bob = alice, bob
        self.name = f"{alice} - {bob}"
        self.transmitter, self.receiver, self.channel = transmitter, receiver, channel
        self.security = security or SecuritySettings()
        pre_shared = secret_bytes(PRE_SHARED_BLOCKS * 2 * TAG_KEY_BYTE)
        self._pools = (AuthenticationPool(self.name, pre_shared), AuthenticationPool(self.name, pre_shared))
        self._blocks = 0

    def __repr__(self) -> str:
        return f"QkdLink({self.name!r})"

    def forecast(self, duration_s: float) -> Forecast:
        """Expected counts and secret bits of a block of ``duration_s`` (or as long as the channel lasts)."""
        steps = self.channel.steps(duration_s)
        pulses = self._pulses(steps)
        counts = expected_counts(self.transmitter, self.receiver, self._outcomes(steps, "none"), pulses)
        secret_bit = expected_secret_bit(
            counts.sifted,
            counts.errors,
            mean_photon_numbers=self.transmitter.mean_photon_numbers,
            probabilities=self.transmitter.probabilities,
            epsilon_secrecy=self.security.epsilon_secrecy,
            epsilon_correctness=self.security.epsilon_correctness,
            error_correction_efficiency=EXPECTED_ERROR_CORRECTION_EFFICIENCY,
            error_pattern_told=True,
        )
        return Forecast(float(steps.duration_s.sum()), counts, float(secret_bit))

    def optimised(self, duration_s: float) -> QkdLink:
        """This link with the intensities, probabilities and basis bias that give a block of ``duration_s`` [s] the most key.

        Modules keep their hardware: an active receiver changes its bias, a passive one keeps its beam splitter.
        """
        steps = self.channel.steps(duration_s)
        best = optimise_decoy_bb84(
            self.transmitter,
            self.receiver,
            steps.transmittance,
            self._pulses(steps),
            epsilon_secrecy=self.security.epsilon_secrecy,
            epsilon_correctness=self.security.epsilon_correctness,
            error_correction_efficiency=EXPECTED_ERROR_CORRECTION_EFFICIENCY,
            error_pattern_told=True,
        )
        return QkdLink(
            self.alice, self.bob, transmitter=best.transmitter, receiver=best.receiver, channel=self.channel, security=self.security
        )

    def distil(
        self,
        duration_s: float,
        *,
        generator: np.random.Generator | None = None,
        seed: int | None = None,
        eavesdropper: Eavesdropper = "none",
    ) -> LinkBlock:
        """Send light for ``duration_s`` [s] (or as long as the channel lasts) and distil key from what arrives.

        ``generator``, or ``seed``, makes the twins repeat: light and detectors, not the key. An aborted block is returned, not
        raised: its outcomes say why, and it holds no key. Raises InputError when ``duration_s`` holds no pulse.
        """
        steps = self.channel.steps(duration_s)
        pulses = self._pulses(steps)
        if pulses.sum() < 1:
            raise InputError("duration_s", duration_s, "must hold at least one pulse")
        self._blocks += 1
        generator = generator or twin_generator(seed, self.name, str(self._blocks))
        records = sample_detections(self.transmitter, self.receiver, self._outcomes(steps, eavesdropper), pulses, generator)
        return self._distil(*records, steps, int(pulses.sum()))

    def distil_recorded(self, transmitter_record: TransmitterRecord, receiver_record: ReceiverRecord, run: Run) -> LinkBlock:
        """Distil key from what real modules recorded, as `tiandi.protocols.event_file` reads it; ``run`` is that of Alice's file.

        Everything but the light is as in `distil`; Alice's record must have every slot of Bob's. The proof takes that the receiver blanked
        all detectors together after a click and gave a double click a random bit. Raises InputError when the light of the run is not
        the one that this link's data sheet states.
        """
        for name in ("clock_hz", "mean_photon_numbers", "probabilities"):
            stated, recorded = getattr(self.transmitter, name), getattr(run, name)
            if not np.array_equal(stated, recorded):
                raise InputError(name, recorded, f"must be {stated}, as the transmitter's data sheet states")
        pulses = int(np.sum(run.pulses))
        return self._distil(transmitter_record, receiver_record, self.channel.steps(pulses / run.clock_hz), pulses)

    def _distil(
        self, transmitter_record: TransmitterRecord, receiver_record: ReceiverRecord, steps: ChannelSteps, pulses: int
    ) -> LinkBlock:
        settings = self._agreement(pulses).settings()
        alice_tags, bob_tags = map(OneTimeTags, self._pools)
        alice, bob = Alice(transmitter_record, settings, alice_tags), Bob(receiver_record, settings, bob_tags)
        run_in_process(alice, bob)
        if not isinstance(alice.outcome, KeyBlock | DistillationAborted) or not isinstance(bob.outcome, KeyBlock | DistillationAborted):
            raise RuntimeError(f"distillation on {self.name} stopped in state {alice.state.value} / {bob.state.value}")
        return LinkBlock(
            link=self.name,
            ends=(self.alice, self.bob),
            duration_s=float(steps.duration_s.sum()),
            length_km=self.channel.length_km,
            loss_db=float(loss_from_transmittance(steps.transmittance.max() * self.receiver.optics_efficiency)),
            pulses=pulses,
            ledger=bob.ledger,
            alice=alice.outcome,
            bob=bob.outcome,
        )

    def _agreement(self, pulses: int) -> Agreement:
        return Agreement(
            link=self.name,
            mean_photon_numbers=self.transmitter.mean_photon_numbers,
            probabilities=self.transmitter.probabilities,
            clock_hz=self.transmitter.clock_hz,
            pulses=pulses,
            epsilon_secrecy=self.security.epsilon_secrecy,
            epsilon_correctness=self.security.epsilon_correctness,
            qber_limit=self.security.qber_limit,
        )

    def _pulses(self, steps: ChannelSteps) -> NDArray[np.int64]:
        return np.floor(steps.duration_s * self.transmitter.clock_hz).astype(np.int64)

    def _outcomes(self, steps: ChannelSteps, eavesdropper: Eavesdropper) -> Probabilities:
        if eavesdropper == "none":
            return outcome_probabilities(self.transmitter, self.receiver, steps.transmittance)
        if eavesdropper not in _ATTACKS:
            raise InputError("eavesdropper", eavesdropper, f"must be none or one of {', '.join(_ATTACKS)}")
        return _ATTACKS[eavesdropper](self.transmitter, self.receiver, steps.transmittance).outcomes
