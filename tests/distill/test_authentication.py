import hashlib
import itertools
import os
import random
import sys
import threading
from collections.abc import Callable, Sequence
from uuid import UUID, uuid4

import pytest
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA65PrivateKey
from cryptography.hazmat.primitives.poly1305 import Poly1305
from hypothesis import given, settings
from hypothesis import strategies as st

from tiandi.distill.authentication import BLOCK_KEY_BYTE, Authentication, AuthenticationPool, OneTimeTags, PoolPosition, Seal, Signatures
from tiandi.errors import AuthenticationFailed, InputError, KeysExhausted, ProtocolViolation
from tiandi.tags import PIECE_BYTE, forgery_probability, one_time_tag, verify_one_time_tag

KEY = bytes(range(32))


def test_tag_of_one_message_is_poly1305_of_length_and_message() -> None:
    """RFC 8439, section 2.5.2, gives the tag of its own text; ours has the length in front, so the text is split to match."""
    assert one_time_tag(KEY, [b"abc"]) == Poly1305.generate_tag(KEY, b"\x03" + bytes(7) + b"abc")


@pytest.mark.parametrize("size_byte", [PIECE_BYTE - 1, PIECE_BYTE, PIECE_BYTE + 1, 3 * PIECE_BYTE + 7])
@pytest.mark.parametrize("before", [[], [b"abc"], [b"a message", b"of 16 bytes less", b""]])
def test_a_long_message_has_the_tag_of_poly1305(size_byte: int, before: list[bytes]) -> None:
    messages = [*before, random.Random(size_byte).randbytes(size_byte), b"after"]
    whole = b"".join(len(message).to_bytes(8, "little") + message for message in messages)
    assert one_time_tag(KEY, messages) == Poly1305.generate_tag(KEY, whole)


@pytest.mark.parametrize("changed", [[b"ab", b"cd"], [b"abcd"], [b"abc", b""], [], [b"c", b"ab"]])
def test_another_split_or_order_has_another_tag(changed: list[bytes]) -> None:
    with pytest.raises(AuthenticationFailed):
        verify_one_time_tag(KEY, changed, one_time_tag(KEY, [b"ab", b"c"]))


@pytest.mark.parametrize("length", [0, 31, 33])
def test_a_key_of_the_wrong_length_is_refused(length: int) -> None:
    with pytest.raises(AuthenticationFailed):
        verify_one_time_tag(bytes(length), [b"message"], bytes(16))


@pytest.mark.parametrize("tag", [b"", b"short", bytes(16), bytes(17)])
def test_a_tag_of_any_other_form_is_refused(tag: bytes) -> None:
    with pytest.raises(AuthenticationFailed):
        verify_one_time_tag(KEY, [b"message"], tag)


def test_forging_is_harder_than_the_epsilons_ask() -> None:
    assert forgery_probability(100_000_000) < 1e-22


PRE_SHARED = UUID(int=0)


def test_both_ends_spend_the_same_key_once() -> None:
    shared = os.urandom(256)
    here, there = AuthenticationPool("link", shared), AuthenticationPool("link", shared)
    first = here.next_position(64)
    assert here.take(first, 64) == there.take(first, 64) == shared[:64]
    assert here.take(here.next_position(64), 64) == shared[64:128]
    with pytest.raises(ProtocolViolation):
        here.take(first, 64)


def test_skipped_key_is_burned() -> None:
    pool = AuthenticationPool("link", bytes(range(200)))
    assert pool.take(PoolPosition(PRE_SHARED, 100), 10) == bytes(range(100, 110))
    assert pool.available_bit == 90 * 8
    with pytest.raises(ProtocolViolation):
        pool.take(PoolPosition(PRE_SHARED, 0), 10)


@pytest.mark.parametrize("position", [PoolPosition(uuid4(), 0), PoolPosition(PRE_SHARED, 150), PoolPosition(PRE_SHARED, 10**9)])
def test_key_that_is_not_there_is_refused_and_costs_nothing(position: PoolPosition) -> None:
    pool = AuthenticationPool("link", bytes(200))
    with pytest.raises(ProtocolViolation):
        pool.take(position, 64)
    assert pool.available_bit == 1600


def test_an_empty_pool_says_what_it_has_and_what_is_wanted() -> None:
    pool = AuthenticationPool("link", bytes(40))
    with pytest.raises(KeysExhausted, match="holds 320 bit of key, 512 bit are wanted"):
        pool.next_position(64)
    assert pool.available_bit == 320


def test_replenished_key_comes_after_the_rest() -> None:
    pool, block_id = AuthenticationPool("link", b"a" * 70), uuid4()
    pool.replenish(block_id, b"b" * 64)
    assert pool.take(pool.next_position(64), 64) == b"a" * 64
    assert pool.take(pool.next_position(64), 64) == b"b" * 64
    with pytest.raises(KeysExhausted):
        pool.next_position(64)


def test_a_pool_does_not_show_its_key() -> None:
    assert repr(AuthenticationPool("link", b"secretsecret")) == "AuthenticationPool(link, 96 bit)"


@pytest.mark.parametrize("pre_shared", [b"", bytearray()])
def test_a_pool_of_no_key_is_not_taken_for_one_that_signatures_begin(pre_shared: bytes) -> None:
    with pytest.raises(InputError, match="must hold key"):
        AuthenticationPool("link", pre_shared)


def test_two_blocks_of_one_name_are_refused() -> None:
    pool, block_id = AuthenticationPool("link", bytes(64)), uuid4()
    pool.replenish(block_id, b"a" * 64)
    for name in (block_id, PRE_SHARED):
        with pytest.raises(ProtocolViolation):
            pool.replenish(name, b"b" * 64)
    assert pool.available_bit == 1024


def test_threads_never_spend_the_same_key() -> None:
    interval_s = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    pool = AuthenticationPool("link", bytes(400 * 64))
    seals: list[Seal] = []

    def spend() -> None:
        for _ in range(50):
            seals.append(OneTimeTags(pool).seal(SAID))

    threads = [threading.Thread(target=spend) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sys.setswitchinterval(interval_s)
    assert sorted(seal.start for seal in seals) == [64 * number for number in range(400)]
    assert pool.available_bit == 0


# One block, whoever authenticates it. Alice first, Bob second.

SAID, CONFIRMATION = [b"announcement", b"sifting", b""], b"confirmation"
OTHER = [b"announcement", b"sifting", b"more"]
ALICE_KEY, BOB_KEY, STRANGE_KEY = (MLDSA65PrivateKey.from_seed_bytes(bytes([number]) * 32) for number in range(3))
Ends = tuple[Authentication, Authentication]
Pools = tuple[AuthenticationPool, AuthenticationPool]


def new_pools(blocks: int | None) -> Pools:
    shared = None if blocks is None else os.urandom(blocks * BLOCK_KEY_BYTE)
    return AuthenticationPool("link", shared), AuthenticationPool("link", shared)


def tags(pools: Pools | None = None) -> Ends:
    alice, bob = pools or new_pools(4)
    return OneTimeTags(alice), OneTimeTags(bob)


def signatures(pools: Pools | None = None) -> Ends:
    alice, bob = pools or new_pools(None)
    return Signatures(alice, ALICE_KEY, BOB_KEY.public_key()), Signatures(bob, BOB_KEY, ALICE_KEY.public_key())


either = pytest.mark.parametrize("new_ends", [tags, signatures])
NewEnds = Callable[..., Ends]


def talk(alice: Authentication, bob: Authentication, block_id: UUID | None = None) -> None:
    """A block that comes to its end."""
    bob.require()
    alice.open(SAID, bob.seal(SAID))
    block_id = block_id or uuid4()
    alice.replenish(block_id, block_key(block_id))
    bob.open_answer(CONFIRMATION, alice.answer(CONFIRMATION))
    bob.replenish(block_id, block_key(block_id))


def block_key(block_id: UUID) -> bytes:
    return hashlib.shake_128(block_id.bytes).digest(2 * BLOCK_KEY_BYTE)


@either
def test_a_block_that_both_ends_saw_alike_is_authentic(new_ends: NewEnds) -> None:
    alice, bob = new_ends()
    talk(alice, bob)
    assert alice.spent_bit == bob.spent_bit == (512 if new_ends is tags else 0)


@either
@pytest.mark.parametrize("heard", [OTHER, [b"announcementsifting", b""], [b"announcement", b"sifting"], [], SAID[::-1]])
def test_a_changed_transcript_fails(new_ends: NewEnds, heard: Sequence[bytes]) -> None:
    alice, bob = new_ends()
    seal = bob.seal(SAID)
    with pytest.raises(AuthenticationFailed):
        alice.open(heard, seal)


@either
@pytest.mark.parametrize("heard", [b"", CONFIRMATION[:-1], CONFIRMATION + b"\0", CONFIRMATION[::-1]])
def test_an_answer_to_another_confirmation_fails(new_ends: NewEnds, heard: bytes) -> None:
    alice, bob = new_ends()
    alice.open(SAID, bob.seal(SAID))
    with pytest.raises(AuthenticationFailed):
        bob.open_answer(heard, alice.answer(CONFIRMATION))


@either
def test_a_seal_that_does_not_match_costs_alice_nothing(new_ends: NewEnds) -> None:
    pools = new_pools(4 if new_ends is tags else None)
    alice, bob = new_ends(pools)
    before = pools[0].available_bit
    seal = bob.seal(SAID)
    for forged in (seal._replace(tag=seal.tag[::-1]), seal._replace(tag=b""), seal._replace(tag=bytes(16))):
        with pytest.raises(AuthenticationFailed):
            alice.open(SAID, forged)
    assert (pools[0].available_bit, alice.spent_bit) == (before, 0)


@pytest.mark.parametrize("change", [{"segment": UUID(int=7)}, {"start": -64}, {"start": 193}, {"start": 2**60}])
def test_a_seal_that_names_no_key_costs_nothing(change: dict[str, object]) -> None:
    pools = new_pools(4)
    alice, bob = tags(pools)
    with pytest.raises(ProtocolViolation):
        alice.open(SAID, bob.seal(SAID)._replace(**change))
    assert pools[0].available_bit == 2048


@either
def test_another_sessions_seal_and_answer_fail(new_ends: NewEnds) -> None:
    pools = new_pools(4 if new_ends is tags else None)
    first_alice, first_bob = new_ends(pools)
    second_alice, second_bob = new_ends(pools)
    first, second = first_bob.seal(SAID), second_bob.seal(OTHER)
    with pytest.raises(AuthenticationFailed):
        second_alice.open(OTHER, first)
    first_alice.open(SAID, first)
    second_alice.open(OTHER, second)
    # Signatures are all under one key: what tells one session's confirmation from another's is Bob's signature in it.
    heard = CONFIRMATION if new_ends is tags else b"of the second session"
    with pytest.raises(AuthenticationFailed):
        second_bob.open_answer(heard, first_alice.answer(CONFIRMATION))


def test_a_replayed_seal_is_refused_even_for_the_same_words() -> None:
    pools = new_pools(4)
    alice, bob = tags(pools)
    seal = bob.seal(SAID)
    alice.open(SAID, seal)
    again, _ = tags(pools)
    with pytest.raises(ProtocolViolation):
        again.open(SAID, seal)
    assert pools[0].available_bit == 3 * 512


@either
def test_one_ends_tag_is_never_the_others(new_ends: NewEnds) -> None:
    """Bob's own tag comes back to him as Alice's, and hers to her as Bob's."""
    alice, bob = new_ends()
    seal = bob.seal(SAID)
    alice.open(SAID, seal)
    answer = alice.answer(CONFIRMATION)
    with pytest.raises(AuthenticationFailed):
        bob.open_answer(CONFIRMATION, seal.tag)
    fresh, _ = new_ends()
    with pytest.raises(AuthenticationFailed):
        fresh.open(SAID, seal._replace(tag=answer))


def test_a_signature_made_in_the_other_role_fails_under_the_same_key() -> None:
    """One signing key at both ends, as a careless user might have it: the context alone keeps the roles apart."""
    alice, bob = (Signatures(pool, BOB_KEY, BOB_KEY.public_key()) for pool in new_pools(None))
    seal = bob.seal(SAID)
    alice.open(SAID, seal)
    with pytest.raises(AuthenticationFailed):
        bob.open_answer(CONFIRMATION, seal.tag)
    with pytest.raises(AuthenticationFailed):
        alice.open(SAID, seal._replace(tag=alice.answer(CONFIRMATION)))


def test_a_strangers_signature_fails() -> None:
    pools = new_pools(None)
    alice, _ = signatures(pools)
    with pytest.raises(AuthenticationFailed):
        alice.open(SAID, Signatures(pools[1], STRANGE_KEY, ALICE_KEY.public_key()).seal(SAID))


def test_the_key_of_an_answer_is_used_once() -> None:
    alice, bob = tags()
    with pytest.raises(ProtocolViolation):
        alice.answer(CONFIRMATION)
    alice.open(SAID, bob.seal(SAID))
    answer = alice.answer(CONFIRMATION)
    with pytest.raises(ProtocolViolation):
        alice.answer(b"another")
    with pytest.raises(AuthenticationFailed):
        bob.open_answer(b"another", answer)
    with pytest.raises(ProtocolViolation):
        bob.open_answer(CONFIRMATION, answer)


def test_bob_asks_whether_the_pool_can_pay() -> None:
    pool = AuthenticationPool("link", bytes(2 * BLOCK_KEY_BYTE - 1))
    OneTimeTags(pool).require()
    OneTimeTags(pool).seal(SAID)
    with pytest.raises(KeysExhausted, match="holds 504 bit of key, 512 bit are wanted"):
        OneTimeTags(pool).require()
    with pytest.raises(KeysExhausted):
        OneTimeTags(pool).seal(SAID)
    assert pool.available_bit == 504


def test_epsilon_is_that_of_two_tags_and_signatures_have_none() -> None:
    assert tags()[0].epsilon(1600) == 2 * 8 * 100 / 2**106
    assert signatures()[0].epsilon(1600) == 0.0


def test_what_descends_from_signatures_is_computational_for_ever() -> None:
    pools = new_pools(None)
    assert all(pool.unused and pool.origin == "signatures" for pool in pools)
    talk(*signatures(pools))
    for _ in range(3):
        ends = tags(pools)
        talk(*ends)
        assert [end.strength for end in ends] == ["computational"] * 2
    assert [end.strength for end in tags()] == ["information-theoretic"] * 2
    assert not any(pool.unused for pool in pools)


def test_signatures_are_refused_once_a_pool_has_held_key() -> None:
    replenished, begun = AuthenticationPool("link"), new_pools(None)
    replenished.replenish(uuid4(), bytes(128))
    talk(*signatures(begun))
    talk(*tags(begun))
    for pool in (AuthenticationPool("link", bytes(64)), replenished, *begun):
        with pytest.raises(InputError, match="must never have held key"):
            Signatures(pool, ALICE_KEY, BOB_KEY.public_key())


def test_a_first_block_whose_answer_was_lost_begins_again() -> None:
    """Alice has key that Bob lacks; what he has after the second attempt, she finds behind it."""
    pools = new_pools(None)
    alice, bob = signatures(pools)
    alice.open(SAID, bob.seal(SAID))
    alice.answer(CONFIRMATION)
    alice.replenish(uuid4(), bytes(128))
    assert pools[0].stage == "unconfirmed"
    assert pools[1].unused
    talk(*signatures(pools))
    talk(*tags(pools))
    assert [pool.stage for pool in pools] == ["confirmed"] * 2
    assert pools[0].available_bit == pools[1].available_bit


def test_blocks_that_finish_in_another_order_leave_both_pools_alike() -> None:
    """Bob hears the answer of his second block first; the third block is paid by the first."""
    pools = new_pools(2)
    ends = [tags(pools), tags(pools)]
    for alice, bob in ends:
        alice.open(SAID, bob.seal(SAID))
    names = [UUID(int=1), UUID(int=2)]
    for (alice, _), name in zip(ends, names, strict=True):
        alice.replenish(name, block_key(name))
    for (alice, bob), name in reversed(list(zip(ends, names, strict=True))):
        bob.open_answer(CONFIRMATION, alice.answer(CONFIRMATION))
        bob.replenish(name, block_key(name))
    assert pools[1].next_position(64).segment == names[0]
    for _ in range(4):
        talk(*tags(pools))
    assert pools[0].available_bit == pools[1].available_bit


def test_key_of_a_block_that_the_peer_has_passed_over_is_dropped() -> None:
    """Bob has spent key of his second block before he hears the answer of the first: Alice has passed over that by then."""
    pools = new_pools(2)
    (slow_alice, slow_bob), (alice, bob) = tags(pools), tags(pools)
    slow_alice.open(SAID, slow_bob.seal(SAID))
    slow_alice.replenish(UUID(int=1), block_key(UUID(int=1)))
    talk(alice, bob, UUID(int=2))
    talk(*tags(pools))
    slow_bob.open_answer(CONFIRMATION, slow_alice.answer(CONFIRMATION))
    slow_bob.replenish(UUID(int=1), block_key(UUID(int=1)))
    assert pools[0].available_bit == pools[1].available_bit
    for _ in range(5):
        talk(*tags(pools))


STEPS = st.tuples(st.sampled_from(["seal", "deliver", "lose seal", "hear", "hear", "lose answer"]), st.integers(0, 3))


@settings(max_examples=300, deadline=None)
@given(steps=st.lists(STEPS, min_size=30, max_size=80), blocks=st.integers(1, 3))
def test_however_blocks_in_flight_interleave_no_key_is_used_twice_and_both_ends_stay_together(
    steps: list[tuple[str, int]], blocks: int
) -> None:
    """Seals travel in order and answers in any; either may be lost. Whatever came before, all key that Bob has left is key to Alice."""
    pools = new_pools(blocks)
    sealed: list[tuple[Authentication, Authentication, Seal]] = []
    answered: list[tuple[Authentication, UUID, bytes]] = []
    places: list[tuple[UUID, int]] = []
    names = (UUID(int=number) for number in itertools.count(1))
    for step, choice in steps:
        if step == "seal" and pools[1].available_bit >= 512:
            alice, bob = tags(pools)
            sealed.append((alice, bob, bob.seal(SAID)))
            places.append(sealed[-1][2][:2])
        elif step == "deliver" and sealed:
            alice, bob, seal = sealed.pop(0)
            alice.open(SAID, seal)
            block_id = next(names)
            alice.replenish(block_id, block_key(block_id))
            answered.append((bob, block_id, alice.answer(CONFIRMATION)))
        elif step == "lose seal" and sealed:
            sealed.pop(choice % len(sealed))
        elif answered and step in ("hear", "lose answer"):
            bob, block_id, answer = answered.pop(choice % len(answered))
            if step == "hear":
                bob.open_answer(CONFIRMATION, answer)
                bob.replenish(block_id, block_key(block_id))
    while pools[1].available_bit:
        alice, bob = tags(pools)
        seal = bob.seal(SAID)
        alice.open(SAID, seal)
        bob.open_answer(CONFIRMATION, alice.answer(CONFIRMATION))
        places.append(seal[:2])
    assert len(set(places)) == len(places)
