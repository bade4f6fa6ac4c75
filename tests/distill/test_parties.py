"""Alice and Bob with honest, broken and hostile peers: always one key at both ends, or one typed error and none."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import replace
from uuid import UUID, uuid4

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tiandi.distill import messages
from tiandi.distill.alice import Alice
from tiandi.distill.authentication import FULL_BIT, AuthenticationPool, OneTimeTags, PoolPosition
from tiandi.distill.bob import Bob
from tiandi.distill.cascade_plan import Question
from tiandi.distill.exchange import run_in_process
from tiandi.distill.ledger import BasisCounts
from tiandi.distill.party import Party, ProvenLength, Settings, State
from tiandi.distill.records import KeyBlock, ReceiverRecord, TransmitterRecord
from tiandi.errors import (
    AuthenticationFailed,
    DistillationAborted,
    ImplausibleStatistics,
    NoSecretKey,
    PeerAborted,
    ProtocolViolation,
    QberTooHigh,
    TooFewDetections,
    VerificationFailed,
)

DETECTIONS = 12_000


def half_of_the_key(counts: BasisCounts, *, basis: int, leaked_bit: int, error_pattern_told: bool) -> ProvenLength:
    """Not a proof: lets small blocks through so that the protocol can be tested quickly."""
    return ProvenLength(int(counts.counts[basis].sum() / 2) - leaked_bit // 4, 0.05)


SETTINGS = Settings(proof=half_of_the_key)


def records(qber: float = 0.01, detections: int = DETECTIONS, seed: int = 1) -> tuple[TransmitterRecord, ReceiverRecord]:
    generator = np.random.default_rng(seed)
    slots = np.cumsum(generator.integers(1, 1000, detections))
    bases, other_bases, bits = (generator.integers(0, 2, detections, dtype=np.uint8) for _ in range(3))
    intensities = generator.choice(np.arange(3, dtype=np.uint8), detections, p=[0.7, 0.2, 0.1])
    flips = (generator.random(detections) < qber).astype(np.uint8)
    return TransmitterRecord(slots, intensities, bases, bits), ReceiverRecord(slots, other_bases, bits ^ flips)


Pools = tuple[AuthenticationPool, AuthenticationPool]


def new_pools(size_byte: int = 1024) -> Pools:
    shared = os.urandom(size_byte)
    return AuthenticationPool("link", shared), AuthenticationPool("link", shared)


def parties(
    settings: Settings = SETTINGS, *, qber: float = 0.01, detections: int = DETECTIONS, pools: Pools | None = None, seed: int = 1
) -> tuple[Alice, Bob]:
    sent, received = records(qber, detections, seed)
    alice_pool, bob_pool = pools or new_pools()
    return Alice(sent, settings, OneTimeTags(alice_pool)), Bob(received, settings, OneTimeTags(bob_pool))


Tamper = Callable[[int, bytes], bytes]


def run_with(alice: Alice, bob: Bob, tamper: Tamper) -> None:
    """Like `run_in_process`, with somebody on the line who may change the message of each number."""
    message = bob.start()
    number = 0
    speakers: list[Party] = [alice, bob]
    while message is not None and number < 5000:
        message = speakers[number % 2].receive(tamper(number, message))
        number += 1


def require_no_key(alice: Party, bob: Party) -> None:
    """At most Alice has key, and only when Bob never heard her last word."""
    assert not isinstance(bob.outcome, KeyBlock)
    assert alice.outcome is not None or bob.outcome is not None


def test_both_ends_get_the_same_key_under_the_same_identifier() -> None:
    alice, bob = parties()
    run_in_process(alice, bob)
    assert isinstance(alice.outcome, KeyBlock)
    assert alice.outcome == bob.outcome
    assert alice.state == bob.state == State.FINISHED
    assert alice.outcome.length_bit > 1000


def test_the_ledgers_of_both_ends_agree() -> None:
    alice, bob = parties(qber=0.03)
    run_in_process(alice, bob)
    assert alice.ledger == bob.ledger
    ledger = bob.ledger
    assert ledger.detected == DETECTIONS
    assert ledger.total_sifted_bit == sum(ledger.sifted.values())
    assert isinstance(bob.outcome, KeyBlock)
    assert isinstance(alice.outcome, KeyBlock)
    spare = ledger.total_secret_bit - ledger.authentication_replenished_bit - bob.outcome.length_bit
    assert 0 <= spare < 8
    assert ledger.epsilon_authentication < 1e-20


def test_the_ledger_counts_every_parity_that_was_said() -> None:
    said_bit = 0

    def listen(number: int, data: bytes) -> bytes:
        nonlocal said_bit
        message = messages.decode(data)
        if isinstance(message, messages.Parities):
            said_bit += 8 * sum(map(len, message.bits))
        return data

    alice, bob = parties()
    run_with(alice, bob, listen)
    parities = sum(bob.ledger.parities_leaked_bit.values())
    assert parities <= said_bit < parities + 8 * 5000  # Each message is filled up to whole bytes.
    assert bob.ledger.verification_leaked_bit == {"X": 128, "Z": 128}


def test_errors_are_known_exactly_after_verification() -> None:
    alice, bob = parties(qber=0.02)
    sent, received = records(0.02)
    run_in_process(alice, bob)
    matched = sent.bases == received.bases
    wrong = int((matched & (sent.bits != received.bits)).sum())
    sampled = round(sum(bob.ledger.sample_qber[basis] * bob.ledger.sampled[basis] for basis in "XZ"))
    assert sum(bob.ledger.errors.values()) + sampled == wrong


def test_qber_above_limit_aborts_at_both_ends() -> None:
    alice, bob = parties(qber=0.25)
    run_in_process(alice, bob)
    assert isinstance(alice.outcome, QberTooHigh)
    assert isinstance(bob.outcome, QberTooHigh)
    assert bob.outcome.qber == pytest.approx(0.25, abs=0.08)
    assert bob.ledger.total_leaked_bit == 0


def test_too_few_detections_abort() -> None:
    alice, bob = parties(detections=500)
    run_in_process(alice, bob)
    assert isinstance(alice.outcome, TooFewDetections)
    assert isinstance(bob.outcome, PeerAborted)


def test_no_detection_at_all_aborts() -> None:
    alice, bob = parties(detections=0)
    run_in_process(alice, bob)
    assert isinstance(alice.outcome, TooFewDetections)


def test_what_the_proof_does_not_cover_is_never_key() -> None:
    alice, bob = parties(replace(SETTINGS, proof=lambda counts, basis, leaked_bit, error_pattern_told: ProvenLength(0, 0.5)))
    run_in_process(alice, bob)
    assert isinstance(bob.outcome, NoSecretKey)
    assert isinstance(alice.outcome, PeerAborted | NoSecretKey)


def test_pools_are_replenished_before_key_is_handed_out() -> None:
    pools = new_pools(64)
    for _ in range(3):
        alice, bob = parties(pools=pools)
        run_in_process(alice, bob)
        assert isinstance(bob.outcome, KeyBlock)
        position = pools[1].next_position(64)
        assert position.segment == bob.outcome.block_id
        assert pools[0].take(position, 64) == pools[1].take(position, 64)


def test_a_lost_last_message_does_not_part_the_pools() -> None:
    """Alice has finished, Bob has not: the next blocks must find authentication key that both have."""
    pools = new_pools(4 * 64)
    outcomes = []
    for lost in (True, False, True, False, False, False, False, False):
        alice, bob = parties(pools=pools)

        def lose(number: int, data: bytes, lost: bool = lost, alice: Alice = alice) -> bytes:
            return b"lost" if lost and alice.state is State.FINISHED else data

        run_with(alice, bob, lose)
        outcomes.append(isinstance(bob.outcome, KeyBlock))
    assert outcomes == [False, True, False, True, True, True, True, True]


def test_aborted_blocks_cost_no_authentication_key() -> None:
    pools = new_pools()
    before = pools[0].available_bit
    run_in_process(*parties(qber=0.25, pools=pools))
    assert pools[0].available_bit == pools[1].available_bit == before


@pytest.mark.parametrize("start", [64, 100, 256, 448])
def test_a_changed_position_in_the_pool_costs_one_block_and_no_more(start: int) -> None:
    """Somebody raises the position that Bob names: the block is lost, and the next honest one succeeds."""
    pools = new_pools(512)

    def shift(number: int, data: bytes) -> bytes:
        message = messages.decode(data)
        if isinstance(message, messages.Confirmation):
            return messages.encode(msgspec.structs.replace(message, start=start))
        return data

    alice, bob = parties(pools=pools)
    run_with(alice, bob, shift)
    require_no_key(alice, bob)
    alice, bob = parties(pools=pools)
    run_in_process(alice, bob)
    assert isinstance(bob.outcome, KeyBlock)
    assert pools[0].available_bit == pools[1].available_bit


def test_a_sample_changed_towards_one_end_ends_at_both() -> None:
    def spoil(number: int, data: bytes) -> bytes:
        message = messages.decode(data)
        if isinstance(message, messages.Sifting):
            x_inverted, z_inverted = (bytes(byte ^ 0xFF for byte in sample) for sample in message.sample_bits)
            return messages.encode(msgspec.structs.replace(message, sample_bits=(x_inverted, z_inverted)))
        return data

    alice, bob = parties()
    run_with(alice, bob, spoil)
    assert isinstance(bob.outcome, QberTooHigh | ProtocolViolation)
    assert isinstance(alice.outcome, DistillationAborted)


def test_verification_is_answered_only_so_often() -> None:
    alice, bob = parties()
    asked = messages.encode(messages.VerificationRequest((True, False)))
    for number, data in enumerate([bob.start()]):
        assert number == 0
        sifting = alice.receive(data or b"")
        alice.receive(bob.receive(sifting or b"") or b"")
    for _ in range(5):
        alice.receive(asked)
    assert isinstance(alice.outcome, ProtocolViolation)


def test_a_forged_announcement_costs_no_authentication_key() -> None:
    pools = new_pools()
    before = pools[0].available_bit
    alice, _ = parties(pools=pools)
    alice.receive(messages.encode(messages.Announcement(bytes(16), b"\x01", b"\0")))
    assert isinstance(alice.outcome, DistillationAborted)
    assert pools[0].available_bit == before


def test_a_block_without_authentication_key_does_not_begin() -> None:
    alice, bob = parties(pools=new_pools(63))
    run_in_process(alice, bob)
    assert "authentication pool of link holds 504 bit of key" in str(bob.outcome)
    assert isinstance(alice.outcome, PeerAborted)


def test_pools_that_differ_never_give_key() -> None:
    alice, bob = parties(pools=(new_pools()[0], new_pools()[1]))
    run_in_process(alice, bob)
    assert isinstance(alice.outcome, AuthenticationFailed)
    assert isinstance(bob.outcome, PeerAborted)


def test_spent_authentication_key_is_never_used_again() -> None:
    pools = new_pools()
    alice, bob = parties(pools=pools)
    pools[0].take(PoolPosition(UUID(int=0), 0), 64)
    run_in_process(alice, bob)
    assert isinstance(alice.outcome, ProtocolViolation)
    require_no_key(alice, bob)


@settings(deadline=None, max_examples=150)
@given(st.integers(0, 60), st.integers(0, 2**32), st.sampled_from(["flip", "cut", "extend", "empty", "noise"]))
def test_a_changed_message_never_gives_key_to_bob(number: int, seed: int, how: str) -> None:
    generator = np.random.default_rng(seed)
    changed = False

    def tamper(at: int, data: bytes) -> bytes:
        nonlocal changed
        if at != number:
            return data
        changed = True
        if how == "flip":
            place = int(generator.integers(len(data)))
            return data[:place] + bytes([data[place] ^ (1 << int(generator.integers(8)))]) + data[place + 1 :]
        if how == "cut":
            return data[: int(generator.integers(len(data)))]
        return {"extend": data + b"\x00", "empty": b"", "noise": generator.bytes(len(data))}[how]

    alice, bob = parties()
    run_with(alice, bob, tamper)
    if changed:
        require_no_key(alice, bob)
        for party in (alice, bob):
            assert party.outcome is None or isinstance(party.outcome, DistillationAborted | KeyBlock)
    else:
        assert isinstance(bob.outcome, KeyBlock)


@pytest.mark.parametrize("number", [0, 1, 2, 5, 20])
def test_a_message_of_another_session_never_gives_key(number: int) -> None:
    recorded: list[bytes] = []
    run_with(*parties(seed=2), tamper=lambda at, data: (recorded.append(data), data)[1])
    alice, bob = parties()
    same = False

    def replace_one(at: int, data: bytes) -> bytes:
        nonlocal same
        if at != number:
            return data
        same = recorded[at] == data
        return recorded[at]

    run_with(alice, bob, replace_one)
    if same:  # A question for the parities of a whole pass is alike in all sessions.
        assert isinstance(bob.outcome, KeyBlock)
    else:
        require_no_key(alice, bob)


def test_a_replayed_transcript_never_gives_key() -> None:
    recorded: list[bytes] = []
    run_with(*parties(), tamper=lambda at, data: (recorded.append(data), data)[1])
    alice, _ = parties()
    for message in recorded[::2]:
        alice.receive(message)
    assert not isinstance(alice.outcome, KeyBlock)


def test_a_repeated_message_is_refused() -> None:
    alice, bob = parties()
    first = bob.start()
    alice.receive(first)
    alice.receive(first)
    assert isinstance(alice.outcome, ProtocolViolation)
    assert alice.receive(first) is None


def test_wrong_bits_all_through_end_in_one_error() -> None:
    """A peer who verifies nothing: every hash is wrong."""

    def spoil(number: int, data: bytes) -> bytes:
        message = messages.decode(data)
        if isinstance(message, messages.Verification):
            return messages.encode(msgspec.structs.replace(message, hashes=(bytes(16), message.hashes[1])))
        return data

    alice, bob = parties()
    run_with(alice, bob, spoil)
    assert isinstance(bob.outcome, VerificationFailed)
    assert isinstance(alice.outcome, PeerAborted)
    assert bob.ledger.verification_leaked_bit["X"] == 3 * 128  # Twice of the key, then of its only piece.


@pytest.mark.parametrize(
    "message",
    [
        messages.Errors(((0, 0, 0), (0, 0, 0)), 1024),
        messages.Confirmation(UUID(int=0), 0, bytes(16)),
        messages.Acknowledgement(bytes(16)),
        messages.Parities((b"", b"")),
        messages.Syndromes((b"\1", b"")),
        messages.SyndromeRequest((messages.LdpcProposal(1, 40, 64, 0), None)),
        messages.IncrementRequest((b"\1", b"")),
        messages.PieceHashRequest((True, False)),
        messages.PieceHashes(bytes(32), (bytes(16), b"")),
        messages.RevelationRequest((b"\1", b"")),
        messages.Revelation((b"\1", b"")),
        messages.Amplification(uuid4(), (b"", b"")),
        messages.Query(((Question(0, b"", b"", b""),), ())),
        messages.Abort("enough"),
    ],
    ids=lambda message: type(message).__name__,
)
def test_messages_out_of_turn_end_in_one_error(message: messages.Message) -> None:
    for party in parties():
        party.receive(messages.encode(message))
        assert isinstance(party.outcome, ProtocolViolation | PeerAborted)


@settings(deadline=None, max_examples=300)
@given(st.binary(max_size=200))
def test_noise_is_never_a_message(data: bytes) -> None:
    alice, _ = parties(detections=10)
    alice.receive(data)
    assert alice.outcome is None or isinstance(alice.outcome, DistillationAborted)


def test_contradictory_parities_come_to_an_end() -> None:
    """Parities that fit no key at all could send the search round in circles."""
    generator = np.random.default_rng(4)

    def lie(number: int, data: bytes) -> bytes:
        message = messages.decode(data)
        if isinstance(message, messages.Parities):
            x_bits, z_bits = (generator.bytes(len(bits)) for bits in message.bits)
            return messages.encode(messages.Parities((x_bits, z_bits)))
        return data

    for _ in range(5):
        alice, bob = parties()
        run_with(alice, bob, lie)
        require_no_key(alice, bob)


def test_nothing_of_the_raw_key_survives_an_abort() -> None:
    alice, bob = parties()
    run_with(alice, bob, lambda number, data: b"cut" if number > 30 else data)
    for party in (alice, bob):
        assert party._keys == []
        assert party._secret == b""
        assert party._record is None  # type: ignore[attr-defined]
    assert alice._answerers == {}
    assert bob._correctors == {}


@pytest.mark.parametrize("gap", [2**32, 2**40])
def test_a_long_darkness_is_told_as_any_other_gap(gap: int) -> None:
    sent, received = records()
    alice_pool, bob_pool = new_pools()
    alice = Alice(replace(sent, slots=sent.slots + gap), SETTINGS, OneTimeTags(alice_pool))
    bob = Bob(replace(received, slots=received.slots + gap), SETTINGS, OneTimeTags(bob_pool))
    run_in_process(alice, bob)
    assert isinstance(bob.outcome, KeyBlock)


FAR = replace(SETTINGS, round_trip_s=1.0)
"""Two ends that cannot wait for the questions of Cascade."""


@pytest.mark.parametrize("qber", [0.0, 0.01, 0.03, 0.05])
def test_far_ends_reconcile_one_way(qber: float) -> None:
    alice, bob = parties(FAR, qber=qber, detections=40_000)
    spoken = 0

    def count(number: int, data: bytes) -> bytes:
        nonlocal spoken
        spoken = number
        return data

    run_with(alice, bob, count)
    assert isinstance(bob.outcome, KeyBlock)
    assert alice.outcome == bob.outcome
    assert alice.ledger == bob.ledger
    assert bob.ledger.reconciliation == "ldpc"
    assert spoken < 40


def test_bobs_words_count_where_his_errors_stay_his_own() -> None:
    """Of one-way codes the proof is told what Bob said; of Cascade that an eavesdropper knows his errors."""
    for agreed, told in ((SETTINGS, True), (FAR, False)):
        seen = []

        def proof(counts: BasisCounts, *, basis: int, leaked_bit: int, error_pattern_told: bool, seen: list[object] = seen) -> ProvenLength:
            seen.append((basis, leaked_bit, error_pattern_told))
            return half_of_the_key(counts, basis=basis, leaked_bit=leaked_bit, error_pattern_told=error_pattern_told)

        alice, bob = parties(replace(agreed, proof=proof))
        run_in_process(alice, bob)
        ledger = bob.ledger
        for basis, name in enumerate("XZ"):
            alice_said = ledger.parities_leaked_bit[name] + ledger.verification_leaked_bit[name]
            bob_said = ledger.bob_told_bit[name]
            assert bob_said > 3 * 8
            assert seen.count((basis, alice_said + (0 if told else bob_said), told)) == 2


@pytest.mark.parametrize("settings", [SETTINGS, FAR], ids=["cascade", "ldpc"])
def test_errors_that_nothing_finds_are_revealed_and_counted(monkeypatch: pytest.MonkeyPatch, settings: Settings) -> None:
    verify_corrected = Bob._verify_corrected

    def leave_an_error(bob: Bob, bases: Iterable[int]) -> messages.Message:
        wrong = set(bases)
        for basis in wrong:
            bob._keys[basis].words[70_000 // 64] ^= np.uint64(1 << 70_000 % 64)
        return verify_corrected(bob, wrong)

    monkeypatch.setattr(Bob, "_verify_corrected", leave_an_error)
    alice, bob = parties(settings, detections=400_000)
    run_in_process(alice, bob)
    assert isinstance(bob.outcome, KeyBlock)
    assert alice.outcome == bob.outcome
    assert alice.ledger == bob.ledger
    kept = {name: bob.ledger.sifted[name] - bob.ledger.sampled[name] for name in "XZ"}
    assert bob.ledger.revealed_bit == {name: min(65_536, size - 65_536) for name, size in kept.items()}
    assert all(bob.ledger.leaked_bit(name) > bob.ledger.revealed_bit[name] + 128 for name in "XZ")


def test_pieces_are_told_once_and_only_when_they_are_due() -> None:
    for number, bad in enumerate([[messages.RevelationRequest((b"\1", b""))], 2 * [messages.PieceHashRequest((True, False))]]):
        alice, bob = parties()
        sifting = alice.receive(bob.start() or b"")
        alice.receive(bob.receive(sifting or b"") or b"")
        for message in bad:
            alice.receive(messages.encode(message))
        assert isinstance(alice.outcome, ProtocolViolation), number


def test_counts_that_no_honest_channel_gives_end_before_anything_is_told() -> None:
    alice, bob = parties(replace(SETTINGS, objection=lambda counts: f"{counts.shape} looks odd"))
    run_in_process(alice, bob)
    assert isinstance(alice.outcome, ImplausibleStatistics)
    assert isinstance(bob.outcome, PeerAborted)
    assert "(2, 3) looks odd" in str(bob.outcome)


def test_ends_that_agreed_on_different_things_never_get_key() -> None:
    pools = new_pools()
    alice, _ = parties(replace(SETTINGS, agreement=b"50 km"), pools=pools)
    _, bob = parties(replace(SETTINGS, agreement=b"51 km"), pools=pools)
    run_in_process(alice, bob)
    assert isinstance(alice.outcome, AuthenticationFailed)
    assert isinstance(bob.outcome, PeerAborted)


def test_the_transcript_is_the_same_at_both_ends_and_ends_with_the_tags() -> None:
    alice, bob = parties(replace(SETTINGS, agreement=b"50 km"))
    run_in_process(alice, bob)
    assert alice.transcript == bob.transcript
    assert alice.transcript[0] == b"50 km"
    said = [type(messages.decode(data)) for data in alice.transcript[1:]]
    assert said[-2:] == [messages.Confirmation, messages.Acknowledgement]
    assert said.count(messages.Confirmation) == 1


def test_rounds_of_cascade_are_told_from_all_else() -> None:
    alice, bob = parties()
    run_in_process(alice, bob)
    said = alice.transcript[1:]
    rounds = [isinstance(messages.decode(data), messages.Query | messages.Parities) for data in said]
    assert [messages.is_round(data) for data in said] == rounds
    assert any(rounds)
    assert not any(map(messages.is_round, [b"", b"Query", b"\x81\xa4type", b"\x81\xa4type\x05", b"\x80"]))


def test_nothing_of_the_key_shows() -> None:
    alice, bob = parties()
    run_in_process(alice, bob)
    assert isinstance(bob.outcome, KeyBlock)
    assert bob.outcome.key.hex() not in repr(bob.outcome)
    assert repr(bob.outcome) == f"KeyBlock({bob.outcome.block_id}, {bob.outcome.length_bit} bit)"
    assert "array" not in repr(records()[0])
    assert "array" not in repr(records()[1])


def test_a_full_pool_is_given_no_more() -> None:
    pools = new_pools(FULL_BIT // 8)
    before = pools[0].available_bit
    for replenished_bit in (0, SETTINGS.replenish_limits_bit[0]):
        alice, bob = parties(pools=pools)
        run_in_process(alice, bob)
        assert isinstance(bob.outcome, KeyBlock)
        assert alice.outcome == bob.outcome
        assert alice.ledger.authentication_replenished_bit == replenished_bit
    assert pools[0].available_bit == pools[1].available_bit == before


def test_a_share_for_the_pool_that_was_not_agreed_on_is_refused() -> None:
    def raise_it(number: int, data: bytes) -> bytes:
        message = messages.decode(data)
        if isinstance(message, messages.Errors):
            return messages.encode(msgspec.structs.replace(message, replenish_bit=1000))
        return data

    alice, bob = parties()
    run_with(alice, bob, raise_it)
    assert isinstance(alice.outcome, ProtocolViolation)


def test_an_aborted_block_accounts_for_the_key_of_its_tags() -> None:
    alice, bob = parties()
    run_with(alice, bob, lambda number, data: b"lost" if alice.state is State.FINISHED else data)
    assert isinstance(bob.outcome, ProtocolViolation)
    assert bob.ledger.authentication_spent_bit == 512
    assert bob.ledger.epsilon_authentication == alice.ledger.epsilon_authentication > 0


def test_an_abandoned_block_is_destroyed() -> None:
    alice, bob = parties()
    alice.receive(bob.start() or b"")
    assert isinstance(messages.decode(alice.abandon("nobody answers") or b""), messages.Abort)
    assert "nobody answers" in str(alice.outcome)
    assert alice._keys == []
    assert alice.abandon("twice") is None
