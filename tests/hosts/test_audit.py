"""What a listener recomputes of a block is what both ends report; a report that was touched up is found out."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest

from tiandi.distill import messages
from tiandi.distill.alice import Alice
from tiandi.distill.authentication import AuthenticationPool, OneTimeTags
from tiandi.distill.bob import Bob
from tiandi.distill.exchange import run_in_process
from tiandi.distill.records import KeyBlock
from tiandi.errors import InputError, ProtocolViolation
from tiandi.hosts.audit import audit
from tiandi.hosts.transcript import Transcript, read_transcript, write_transcript
from tiandi.physics.detectors import Detector
from tiandi.physics.equipment import Receiver, Transmitter
from tiandi.protocols.decoy_bb84 import outcome_probabilities, sample_detections
from tiandi.quantum.agreement import Agreement

PULSES = 4 * 10**7
TRANSMITTER = Transmitter(clock_hz=1e9, mean_photon_numbers=(0.5, 0.15, 0.0), probabilities=(0.7, 0.2, 0.1))
RECEIVER = Receiver(
    optics_efficiency=0.8, detector=Detector(efficiency=0.5, dark_count_rate_hz=300.0, dead_time_s=1e-8), gate_s=5e-10, misalignment=0.01
)
AGREEMENT = Agreement(
    link="here - there",
    mean_photon_numbers=TRANSMITTER.mean_photon_numbers,
    probabilities=TRANSMITTER.probabilities,
    clock_hz=TRANSMITTER.clock_hz,
    pulses=PULSES,
    epsilon_secrecy=1e-9,
    epsilon_correctness=1e-15,
    qber_limit=0.11,
)


def run(round_trip_s: float = 0.0, transmittance: float = 0.1) -> tuple[Alice, Bob]:
    outcomes = outcome_probabilities(TRANSMITTER, RECEIVER, np.array([transmittance]))
    sent, received = sample_detections(TRANSMITTER, RECEIVER, outcomes, np.array([PULSES]), np.random.default_rng(1))
    shared, settings = os.urandom(256), AGREEMENT.settings(round_trip_s)
    alice = Alice(sent, settings, OneTimeTags(AuthenticationPool("link", shared)))
    bob = Bob(received, settings, OneTimeTags(AuthenticationPool("link", shared)))
    run_in_process(alice, bob)
    return alice, bob


@pytest.fixture(scope="module", params=[0.0, 1.0], ids=["cascade", "ldpc"])
def parties(request: pytest.FixtureRequest) -> tuple[Alice, Bob]:
    return run(request.param)


def test_both_reports_follow_from_the_transcript(parties: tuple[Alice, Bob]) -> None:
    for party in parties:
        assert isinstance(party.outcome, KeyBlock)
        figures = audit(Transcript.of(party))
        assert all(figure.agrees for figure in figures), [figure for figure in figures if not figure.agrees]
        heard = {figure.name: figure.recomputed for figure in figures}
        assert heard["key_bit"] == party.outcome.length_bit > 5_000
        assert heard["parities_leaked_bit X"] > 1000
        assert {"sample_qber Z", "phase_error X", "epsilon_authentication", "secret_bit Z", "reconciliation"} <= set(heard)


@pytest.mark.parametrize("field", ["parities_leaked_bit", "verification_leaked_bit", "errors", "secret_bit", "sifted", "bob_told_bit"])
def test_a_touched_up_figure_is_found(parties: tuple[Alice, Bob], field: str) -> None:
    transcript = Transcript.of(parties[1])
    changed = {**getattr(transcript.ledger, field)}
    changed["X"] -= 1
    figures = audit(msgspec.structs.replace(transcript, ledger=replace(transcript.ledger, **{field: changed})))
    assert [figure.name for figure in figures if not figure.agrees] == [f"{field} X"]


def test_a_missing_message_is_found(parties: tuple[Alice, Bob]) -> None:
    transcript = Transcript.of(parties[0])
    for number in (1, 2, 5, len(transcript.said) - 3):
        said = transcript.said[:number] + transcript.said[number + 1 :]
        try:
            figures = audit(msgspec.structs.replace(transcript, said=said))
        except ProtocolViolation:
            continue
        assert not all(figure.agrees for figure in figures), number


DROPPED = {
    "reconciliation and verification": lambda name: name in RECONCILING,
    "verification": lambda name: name.startswith("Verification"),
    "the sample": lambda name: name in ("Estimate", "Proceed"),
    "the tags": lambda name: name in ("Confirmation", "Acknowledgement"),
    "the last tag": lambda name: name == "Acknowledgement",
}
RECONCILING = {
    "Reconciliation",
    "Query",
    "Parities",
    "SyndromeRequest",
    "IncrementRequest",
    "Syndromes",
    "VerificationRequest",
    "Verification",
}


@pytest.mark.parametrize("what", DROPPED)
def test_a_block_that_left_something_out_is_found(parties: tuple[Alice, Bob], what: str) -> None:
    transcript = Transcript.of(parties[0])
    said = [data for data in transcript.said[1:] if not DROPPED[what](type(messages.decode(data)).__name__)]
    assert len(said) < len(transcript.said) - 1
    with pytest.raises(ProtocolViolation):
        audit(msgspec.structs.replace(transcript, said=(transcript.said[0], *said)))


def test_an_error_rate_above_the_limit_is_found(parties: tuple[Alice, Bob]) -> None:
    transcript = Transcript.of(parties[0])
    said = list(transcript.said)
    number, estimate = next(
        (at, message) for at, data in enumerate(said[1:], 1) if isinstance(message := messages.decode(data), messages.Estimate)
    )
    x_sample, z_sample = (bytes(byte ^ 0x0F for byte in sample) for sample in estimate.sample_bits)
    said[number] = messages.encode(messages.Estimate((x_sample, z_sample)))
    with pytest.raises(ProtocolViolation, match="this error rate"):
        audit(msgspec.structs.replace(transcript, said=tuple(said)))


def test_figures_left_out_and_another_name_are_found(parties: tuple[Alice, Bob]) -> None:
    transcript = Transcript.of(parties[1])
    shorter = msgspec.structs.replace(transcript, ledger=replace(transcript.ledger, phase_error={}), outcome="another block")
    assert {figure.name for figure in audit(shorter) if not figure.agrees} == {"phase_error X", "phase_error Z", "outcome"}
    spared = msgspec.structs.replace(transcript, ledger=replace(transcript.ledger, authentication_spent_bit=0, epsilon_authentication=0.0))
    assert {figure.name for figure in audit(spared) if not figure.agrees} == {"authentication_spent_bit", "epsilon_authentication"}


def test_a_block_that_was_aborted_is_audited_as_far_as_it_came() -> None:
    alice, bob = run(transmittance=3e-6)
    for party in (alice, bob):
        assert not isinstance(party.outcome, KeyBlock)
        figures = audit(Transcript.of(party))
        assert next(figure.recomputed for figure in figures if figure.name == "key_bit") == 0


def test_a_transcript_on_disk_is_whole_or_absent(parties: tuple[Alice, Bob], tmp_path: Path) -> None:
    path = tmp_path / "block.transcript"
    write_transcript(path, parties[0])
    assert read_transcript(path) == Transcript.of(parties[0])
    assert [each.name for each in tmp_path.iterdir()] == ["block.transcript"]
    with pytest.raises(InputError, match=r"block\.transcript"):
        write_transcript(path, parties[1])
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(InputError, match="is no transcript"):
        read_transcript(path)
    with pytest.raises(InputError, match="cannot be read"):
        read_transcript(tmp_path / "none")


def test_no_byte_of_the_key_is_in_the_transcript(parties: tuple[Alice, Bob]) -> None:
    for party in parties:
        assert isinstance(party.outcome, KeyBlock)
        assert party.outcome.key[:16] not in b"".join(party.transcript)
        assert not any(isinstance(messages.decode(data), messages.Revelation) for data in party.transcript[1:])


@pytest.mark.parametrize(
    "data", [b"", b"{}", b'{"link":1}', AGREEMENT.encode().replace(b"0.7,0.2,0.1", b"0.7,0.3"), AGREEMENT.encode()[:-1] + b',"more":1}']
)
def test_what_is_no_agreement_is_refused(data: bytes) -> None:
    assert Agreement.decode(AGREEMENT.encode()) == AGREEMENT
    with pytest.raises(ProtocolViolation):
        Agreement.decode(data)
