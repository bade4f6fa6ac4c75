"""Event files of a twin: what both ends of a fibre link would have recorded, to try distillation without hardware."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from tiandi.distill.records import ReceiverRecord, TransmitterRecord
from tiandi.errors import InputError
from tiandi.limits import require_within
from tiandi.physics.detectors import SUPERCONDUCTING_NANOWIRE
from tiandi.physics.equipment import Receiver, Transmitter
from tiandi.protocols.decoy_bb84 import outcome_probabilities, sample_detections
from tiandi.protocols.event_file import Run, write_blocks
from tiandi.quantum.channel import FibreChannel
from tiandi.quantum.link import QkdLink
from tiandi.random import twin_generator

MOST_DETECTIONS = 50_000_000
TRANSMITTER = Transmitter(clock_hz=100e6, mean_photon_numbers=(0.5, 0.1, 0.0), probabilities=(0.5, 0.3, 0.2))
RECEIVER = Receiver(optics_efficiency=0.6, detector=SUPERCONDUCTING_NANOWIRE, gate_s=200e-12, misalignment=0.01)


@dataclass(frozen=True)
class TwinRecording:
    """How many events were recorded, and how much key they are expected to make."""

    detected: int
    secret_bit: int


def record_twin(alice: Path, bob: Path, *, length_km: float, duration_s: float, seed: int | None = None) -> TwinRecording:
    """Write the event files of ``duration_s`` [s] of light through ``length_km`` [km] of fibre at 100 MHz, with superconducting detectors.

    Intensities are those that give such a block the most key. With ``seed`` light and detectors repeat. Raises InputError for a fibre or a
    duration out of range, and for files that are there already.
    """
    require_within("duration_s", duration_s, 0.01, 1e6)
    if alice.resolve() == bob.resolve():
        raise InputError("files", str(alice), "must be two, one for each end")
    link = QkdLink("Alice", "Bob", transmitter=TRANSMITTER, receiver=RECEIVER, channel=FibreChannel(length_km))
    if link.forecast(duration_s).counts.detected > MOST_DETECTIONS:
        raise InputError(
            "duration_s", duration_s, f"must give at most {MOST_DETECTIONS:,} detections; take a shorter run or a longer fibre"
        )
    link = link.optimised(duration_s)
    run = twin_run(link, duration_s)
    with write_blocks(alice, run, TransmitterRecord) as write_alice, write_blocks(bob, run, ReceiverRecord) as write_bob:
        sent, received = twin_light(link, run, twin_generator(seed, "record"))
        write_alice(sent)
        write_bob(received)
    return TwinRecording(sent.slots.size, int(link.forecast(duration_s).secret_bit))


def twin_run(link: QkdLink, duration_s: float) -> Run:
    """A run of ``duration_s`` [s] of light of a twin that begins now."""
    transmitter = link.transmitter
    pulses = np.floor(link.channel.steps(duration_s).duration_s * transmitter.clock_hz).astype(np.int64)
    return Run(
        "decoy BB84",
        transmitter.clock_hz,
        datetime.now(UTC),
        pulses,
        transmitter.mean_photon_numbers,
        transmitter.probabilities,
        comment=f"digital twin, {link.channel.length_km:g} km of fibre",
    )


def twin_light(link: QkdLink, run: Run, generator: np.random.Generator) -> tuple[TransmitterRecord, ReceiverRecord]:
    """What the modules of ``link`` record of a run from `twin_run`. ``generator`` is of light and detectors; the bits never repeat."""
    transmittance = link.channel.steps(float(np.sum(run.pulses)) / run.clock_hz).transmittance
    outcomes = outcome_probabilities(link.transmitter, link.receiver, transmittance)
    return sample_detections(link.transmitter, link.receiver, outcomes, run.pulses, generator)
