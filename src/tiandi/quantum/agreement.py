"""What both ends of a QKD link agree on before a block: the light, the proof, and what it must promise."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated

import msgspec
import numpy as np

from tiandi.distill.ledger import BasisCounts
from tiandi.distill.party import ProvenLength, Settings
from tiandi.errors import InputError, ProtocolViolation
from tiandi.limits import require_within
from tiandi.protocols.concentration import EPSILON_LIMITS
from tiandi.protocols.decoy_bb84 import implausibility
from tiandi.protocols.finite_key import EPSILON_SHARES, proven_key

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tiandi.protocols.event_file import Run
    from tiandi.quantum.link import SecuritySettings

LONGEST_NAME = 200
ROUNDING = 1e-6


class Agreement(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The first words of every transcript, the same at both ends. Epsilons are for the whole block, both bases.

    Raises InputError for intensities that no proof covers.
    """

    link: Annotated[str, msgspec.Meta(max_length=LONGEST_NAME)]
    mean_photon_numbers: Annotated[tuple[float, ...], msgspec.Meta(max_length=8)]
    probabilities: Annotated[tuple[float, ...], msgspec.Meta(max_length=8)]
    clock_hz: float
    pulses: Annotated[int, msgspec.Meta(ge=1, le=2**62)]
    epsilon_secrecy: float
    epsilon_correctness: float
    qber_limit: float

    def __post_init__(self) -> None:
        if len(self.mean_photon_numbers) not in EPSILON_SHARES:
            raise InputError("mean_photon_numbers", self.mean_photon_numbers, "must be 3 or 2: there are proofs for two decoys and one")
        means, shares = self.mean_photon_numbers, self.probabilities
        if not (all(a > b for a, b in pairwise(means)) and means[-1] >= 0 and math.inf > means[0] > sum(means[1:])):
            raise InputError("mean_photon_numbers", means, "must fall to no less than 0, the first above the sum of the others")
        if len(shares) != len(means) or not all(0 < share < 1 for share in shares) or abs(sum(shares) - 1) > ROUNDING:
            raise InputError("probabilities", shares, f"must be {len(means)} above 0 that add up to 1")
        for name in ("epsilon_secrecy", "epsilon_correctness"):
            require_within(name, getattr(self, name), *EPSILON_LIMITS)

    @classmethod
    def of(cls, run: Run, link: str, security: SecuritySettings) -> Agreement:
        """The agreement on the light of ``run``, which the transmitter's event file describes."""
        return cls(
            link=link,
            mean_photon_numbers=tuple(map(float, run.mean_photon_numbers)),
            probabilities=tuple(map(float, run.probabilities)),
            clock_hz=float(run.clock_hz),
            pulses=int(np.sum(run.pulses)),
            epsilon_secrecy=security.epsilon_secrecy,
            epsilon_correctness=security.epsilon_correctness,
            qber_limit=security.qber_limit,
        )

    @classmethod
    def decode(cls, data: bytes) -> Agreement:
        """The agreement in ``data``. Raises ProtocolViolation when it is none."""
        try:
            return msgspec.json.decode(data, type=cls)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, InputError) as error:
            raise ProtocolViolation(f"an agreement cannot be read: {error}") from None

    def encode(self) -> bytes:
        """The agreement as JSON, fields in order."""
        return msgspec.json.encode(self)

    def settings(self, round_trip_s: float = 0.0) -> Settings:
        """How a party distils under this agreement; ``round_trip_s`` [s] is how long this end waits for an answer."""
        return Settings(
            proof=self._prove,
            objection=self._object_to,
            agreement=self.encode(),
            epsilon_secrecy=self.epsilon_secrecy,
            epsilon_correctness=self.epsilon_correctness,
            qber_limit=self.qber_limit,
            intensities=len(self.mean_photon_numbers),
            round_trip_s=round_trip_s,
        )

    def _object_to(self, counts: NDArray[np.int64]) -> str | None:
        return implausibility(counts, self.mean_photon_numbers, self.probabilities)

    def _prove(self, counts: BasisCounts, *, basis: int, leaked_bit: int, error_pattern_told: bool) -> ProvenLength:
        """Lim et al. 2014, or Rusca et al. 2018 with one decoy; each basis has half of the epsilons: both keys together keep them."""
        proven = proven_key(
            key_counts=counts.counts[basis],
            key_errors=counts.errors[basis],
            test_counts=counts.counts[1 - basis],
            test_errors=counts.errors[1 - basis],
            mean_photon_numbers=self.mean_photon_numbers,
            probabilities=self.probabilities,
            leaked_bit=leaked_bit,
            error_pattern_told=error_pattern_told,
            epsilon_secrecy=self.epsilon_secrecy / 2,
            epsilon_correctness=self.epsilon_correctness / 2,
        )
        return ProvenLength(int(proven.length_bit), float(proven.phase_error))
