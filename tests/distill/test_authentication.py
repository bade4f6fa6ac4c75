import os
from uuid import UUID, uuid4

import pytest
from cryptography.hazmat.primitives.poly1305 import Poly1305

from tiandi.distill.authentication import AuthenticationPool, PoolPosition
from tiandi.errors import AuthenticationFailed, KeysExhausted, ProtocolViolation
from tiandi.tags import forgery_probability, one_time_tag, verify_one_time_tag

KEY = bytes(range(32))


def test_tag_of_one_message_is_poly1305_of_length_and_message() -> None:
    """RFC 8439, section 2.5.2, gives the tag of its own text; ours has the length in front, so the text is split to match."""
    assert one_time_tag(KEY, [b"abc"]) == Poly1305.generate_tag(KEY, b"\x03" + bytes(7) + b"abc")


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
