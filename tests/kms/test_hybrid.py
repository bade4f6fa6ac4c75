import hashlib
import hmac
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import ECB
from hypothesis import given, settings
from hypothesis import strategies as st

from tiandi.bits import exclusive_or
from tiandi.errors import InputError
from tiandi.kms.relay.hybrid import Context, KemKeys, decapsulate, encapsulate

CONTEXT = Context(
    reservation_prefix=bytes(range(14)), master_sae="sae-beijing", slave_sae="sae-上海", master_kme="kme-beijing", slave_kme="kme-shanghai"
)
SEED_D = bytes.fromhex("cbfc4405d1b2a3a386c94c25e0f2d5f5ee92cb0388ff4d6aa04223086d51c3fd")
SEED_Z = bytes.fromhex("24752da14c9fc3b8ae0d9e4a8b1016b8d8fc69e229c03ea2ef08a4ae0cffc37f")
"""FIPS 203's d and z of the ML-KEM-768 vector of Wycheproof and C2SP/CCTV."""


def test_keys_grow_from_their_seed_as_fips_203_says() -> None:
    """The first and last 32 bytes of that vector's ek."""
    public = KemKeys(SEED_D + SEED_Z).public
    assert len(public) == 1184
    assert public[:32].hex() == "8b9a7354e8c1c17a9898f96caf99bba1c625ae0983c4d26e60c12f59bc25d756"
    assert public[-32:].hex() == "486a6822b9bbf59fbfcaedc13284b9813cabdd526e326a6832d3b36efc3102ef"


@pytest.mark.parametrize("length", [1, 16, 31, 4096, 65536])
def test_the_stream_is_the_one_described(length: int) -> None:
    """Computed apart from the module: RFC 5869 from HMAC, counter mode from single blocks of AES.

    The ciphertext of zeros is nobody's, so that FIPS 203, algorithm 18, gives the KEM secret SHAKE256(z, ciphertext).
    """
    ciphertext, keys = bytes(1088), KemKeys(SEED_D + SEED_Z)
    kem_secret = hashlib.shake_256(SEED_Z + ciphertext).digest(32)
    label = b"tiandi hybrid 1: ML-KEM-768, HKDF-SHA-384, AES-256-CTR"
    digests = [hashlib.sha384(ciphertext).digest(), hashlib.sha384(keys.public).digest()]
    parts = [label, bytes(range(14)), b"sae-beijing", "sae-上海".encode(), b"kme-beijing", b"kme-shanghai", *digests]
    info = b"".join(len(part).to_bytes(4, "big") + part for part in [*parts, length.to_bytes(8, "big")])
    extracted = hmac.digest(label, b"\0\0\0\x20" + kem_secret, "sha384")
    stream_key = hmac.digest(extracted, info + b"\x01", "sha384")[:32]
    counters = b"".join(block.to_bytes(16, "big") for block in range(-(-length // 16)))
    stream = Cipher(AES256(stream_key), ECB()).encryptor().update(counters)[:length]
    assert decapsulate(keys, ciphertext, CONTEXT).over(bytes(length)) == stream
    relayed = bytes(index * 7 % 256 for index in range(length))
    assert decapsulate(keys, ciphertext, CONTEXT).over(relayed) == exclusive_or(relayed, stream)


@given(relayed=st.binary(max_size=300), names=st.tuples(*[st.text(st.characters(codec="utf-8"), max_size=20)] * 4))
@settings(max_examples=30)
def test_both_ends_get_the_same_keys(relayed: bytes, names: tuple[str, str, str, str]) -> None:
    context = Context(reservation_prefix=bytes(14), master_sae=names[0], slave_sae=names[1], master_kme=names[2], slave_kme=names[3])
    keys = KemKeys.generate()
    ciphertext, mask = encapsulate(keys.public, context)
    assert len(ciphertext) == 1088
    final = mask.over(relayed)
    assert decapsulate(KemKeys(keys.private), ciphertext, context).over(relayed) == final
    assert mask.over(final) == relayed


def test_every_name_and_the_length_change_the_whole_stream() -> None:
    keys = KemKeys.generate()
    ciphertext, mask = encapsulate(keys.public, CONTEXT)
    others = [
        CONTEXT,
        replace(CONTEXT, reservation_prefix=bytes(14)),
        replace(CONTEXT, master_sae="sae-x"),
        replace(CONTEXT, slave_sae="sae-x"),
        replace(CONTEXT, master_kme="kme-x"),
        replace(CONTEXT, slave_kme="kme-x"),
        replace(CONTEXT, master_sae=CONTEXT.slave_sae, slave_sae=CONTEXT.master_sae),
        replace(CONTEXT, master_kme=CONTEXT.slave_kme, slave_kme=CONTEXT.master_kme),
        replace(CONTEXT, master_sae="sae-beijin", slave_sae="gsae-上海"),
    ]
    streams = [decapsulate(keys, ciphertext, other).over(bytes(32)) for other in others]
    assert streams[0] == mask.over(bytes(32))
    assert len({*streams, mask.over(bytes(33))[:32], mask.over(bytes(31))}) == len(others) + 2


def test_a_changed_ciphertext_or_another_key_gives_another_stream() -> None:
    keys, other = KemKeys.generate(), KemKeys.generate()
    ciphertext, mask = encapsulate(keys.public, CONTEXT)
    changed = bytes([ciphertext[0] ^ 1]) + ciphertext[1:]
    streams = {decapsulate(keys, changed, CONTEXT).over(bytes(32)), decapsulate(other, ciphertext, CONTEXT).over(bytes(32))}
    assert len(streams | {mask.over(bytes(32))}) == 3


def test_the_public_key_is_bound_even_where_the_kem_secret_is_the_same() -> None:
    """Two pairs with one z reject a ciphertext that is neither's with the same secret."""
    pairs = KemKeys(SEED_D + SEED_Z), KemKeys(bytes(32) + SEED_Z)
    assert len({decapsulate(keys, bytes(1088), CONTEXT).over(bytes(32)) for keys in pairs}) == 2


def test_two_encapsulations_have_nothing_in_common() -> None:
    public = KemKeys.generate().public
    (first, first_mask), (second, second_mask) = encapsulate(public, CONTEXT), encapsulate(public, CONTEXT)
    assert first != second
    assert first_mask.over(bytes(32)) != second_mask.over(bytes(32))


def test_several_slaves_can_be_sent_one_key() -> None:
    key = bytes(range(32))
    for _ in range(2):
        keys = KemKeys.generate()
        ciphertext, mask = encapsulate(keys.public, CONTEXT)
        relayed = mask.over(key)
        assert relayed != key
        assert decapsulate(keys, ciphertext, CONTEXT).over(relayed) == key


def test_what_is_secret_is_not_shown() -> None:
    keys = KemKeys.generate()
    _, mask = encapsulate(keys.public, CONTEXT)
    assert repr(keys) == "KemKeys()"
    assert repr(mask) == "Mask()"


def test_what_is_no_key_and_no_ciphertext_is_refused() -> None:
    keys = KemKeys.generate()
    for public in (b"", keys.public[:-1], keys.public + b"\0", b"\xff" * 1184):
        with pytest.raises(InputError, match="must be an ML-KEM-768 public key"):
            encapsulate(public, CONTEXT)
    for ciphertext in (b"", bytes(1087), bytes(1089)):
        with pytest.raises(InputError, match="must be 1088 bytes"):
            decapsulate(keys, ciphertext, CONTEXT)
    with pytest.raises(InputError, match="must be 64 bytes") as refusal:
        KemKeys(b"q" * 63)
    assert "qq" not in str(refusal.value)


@pytest.mark.parametrize("length", [0, 13, 15, 16])
def test_a_reservation_prefix_has_fourteen_bytes(length: int) -> None:
    with pytest.raises(InputError, match="must have 14 bytes"):
        replace(CONTEXT, reservation_prefix=bytes(length))
