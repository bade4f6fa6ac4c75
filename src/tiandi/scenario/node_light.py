"""The quantum-channel twin: what carries light from the transmitter's host to the receiver's while there is no fibre.

The transmitter's host draws what becomes of the light, keeps what its module would remember, and hands to the other host what its detectors
would have seen, on a connection of its own over which nothing else goes. With real modules this connection is the one that is taken away:
each module then writes down its own record. TLS hides it from others; the transmitter's host must be trusted not to look at what it draws,
as any twin must. The rest of distillation knows each end's own record only.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import numpy as np
from cryptography import x509

from tiandi.bits import pack, unpack
from tiandi.distill.records import ReceiverRecord
from tiandi.distill.sifting import decode_slots, encode_slots
from tiandi.errors import InputError, ProtocolViolation
from tiandi.kms.tls.identities import IdentityRule
from tiandi.protocols.event_file import Run
from tiandi.quantum.agreement import LONGEST_NAME
from tiandi.unshown import Unshown

if TYPE_CHECKING:
    from tiandi.bits import Data
    from tiandi.hosts.wire import Wire

LIGHT = 0
"""The number of frames with light; a call is of no block, and may come before the twin has seen who calls."""
LIGHT_BYTE = 1 << 30
"""Longest description of a block's detections."""
MEMORY = Path("light of the quantum-channel twin")
"""What stands for a file's name in the account of a block."""


class Call(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="quantum-channel twin 1"):
    """The receiver: send light for a block of this link; the last one, if there was one, is over."""

    link: Annotated[str, msgspec.Meta(max_length=LONGEST_NAME)]


class Detections(Unshown, frozen=True, forbid_unknown_fields=True, tag=True):
    """The twin: what the detectors saw of a run; bases and bits packed, slots as `tiandi.distill.sifting.encode_slots` has them."""

    start_s: float
    clock_hz: float
    pulses: Annotated[int, msgspec.Meta(ge=1, le=2**62)]
    mean_photon_numbers: Annotated[tuple[float, ...], msgspec.Meta(max_length=8)]
    probabilities: Annotated[tuple[float, ...], msgspec.Meta(max_length=8)]
    events: Annotated[int, msgspec.Meta(ge=0, le=2**40)]
    slots: bytes
    bases: bytes
    bits: bytes

    def __repr__(self) -> str:
        return f"Detections({self.events} events)"


_DECODER = msgspec.msgpack.Decoder(Call | Detections)


def call(link: str) -> bytes:
    """What a receiver says when its detectors are ready."""
    return msgspec.msgpack.encode(Call(link))


def require_call(payload: Data, link: str) -> None:
    """Raise ProtocolViolation unless ``payload`` calls for light of ``link``."""
    message = _decoded(payload)
    if not isinstance(message, Call) or message.link != link:
        raise ProtocolViolation(f"the peer does not call for light of {link}")


def encode_detections(run: Run, record: ReceiverRecord) -> bytes:
    """What the detectors saw, for the other host."""
    return msgspec.msgpack.encode(
        Detections(
            start_s=run.start.timestamp(),
            clock_hz=float(run.clock_hz),
            pulses=int(np.sum(run.pulses)),
            mean_photon_numbers=tuple(map(float, run.mean_photon_numbers)),
            probabilities=tuple(map(float, run.probabilities)),
            events=record.slots.size,
            slots=bytes(encode_slots(record.slots)),
            bases=pack(record.bases),
            bits=pack(record.bits),
        )
    )


def decode_detections(payload: Data) -> tuple[Run, ReceiverRecord]:
    """The run, and what this host's detectors saw of it. Raises ProtocolViolation for what no twin says."""
    told = _decoded(payload)
    if not isinstance(told, Detections):
        raise ProtocolViolation("the peer sends no light")
    try:
        slots = decode_slots(told.slots, most=told.pulses)
        if slots.size != told.events or (slots.size and slots[-1] >= told.pulses):
            raise ValueError(f"{slots.size} slots are not {told.events} events of {told.pulses} pulses")
        record = ReceiverRecord(slots, unpack(told.bases, slots.size), unpack(told.bits, slots.size))
        run = Run(
            "decoy BB84",
            told.clock_hz,
            datetime.fromtimestamp(told.start_s, UTC),
            np.array([told.pulses]),
            told.mean_photon_numbers,
            told.probabilities,
            comment="quantum-channel twin",
        )
    except (InputError, ValueError, OverflowError) as error:
        raise ProtocolViolation(f"the light of the twin cannot be: {error}") from None
    return run, record


def is_kme(wire: Wire, kme: str) -> bool:
    """Whether the certificate at the other end of ``wire``, which TLS has verified, is that of the KME ``kme``."""
    return bool(wire.certificate) and ("kme", kme) in IdentityRule().read(x509.load_der_x509_certificate(wire.certificate)).identities


def _decoded(payload: Data) -> Call | Detections:
    try:
        return _DECODER.decode(payload)
    except (msgspec.DecodeError, RecursionError) as error:
        raise ProtocolViolation(f"what the twin says cannot be read: {error}") from None
