"""ML-KEM end to end over relayed keys, so that neither a broken relay nor a broken algorithm alone reveals a key.

The two KMEs of a reservation agree on a secret by ML-KEM-768 (FIPS 203, doi:10.6028/NIST.FIPS.203), derive from it a stream as long as
the keys, and use relayed XOR stream:

    extracted = HKDF-Extract(SHA-384, salt = LABEL, IKM = framed(KEM secret))
    stream key = HKDF-Expand(SHA-384, extracted, info = framed(LABEL, reservation, both SAEs, both KMEs,
                             SHA-384(ciphertext), SHA-384(public key), length in bytes), 32 bytes)
    stream = AES-256 in counter mode under the stream key, from 0

where framed() puts its length, 4 bytes big-endian, before every part, so that no two lists of parts read alike (HKDF: RFC 5869).

- While no relay is broken, the result is secret whatever becomes of ML-KEM: the stream does not depend on the relayed keys, and uniform
  bytes XOR anything independent of them are uniform.
- While ML-KEM, HKDF and AES hold, it is secret whatever becomes of the relays: the stream key is used once, and n blocks of AES in counter
  mode are told from random ones with an advantage of n^2 / 2^129 at most beyond AES's own, 2^-105 for 64 kB.

The second needs a public key that is the peer's: it has to come over a channel that authenticates the peer without relayed keys, such as
TLS between the two KMEs. A ciphertext changed on its way gives another stream, not an error, as FIPS 203 wants it; that the keys at both
ends are equal is for the caller to confirm. A pair of keys made for one reservation and destroyed after it keeps the past secret.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import CTR
from cryptography.hazmat.primitives.kdf.hkdf import HKDF, HKDFExpand

from tiandi.errors import InputError

LABEL = b"tiandi hybrid 1: ML-KEM-768, HKDF-SHA-384, AES-256-CTR"
RESERVATION_PREFIX_BYTE = 14
PRIVATE_KEY_BYTE = 64
PUBLIC_KEY_BYTE = 1184
CIPHERTEXT_BYTE = 1088


@dataclass(frozen=True, kw_only=True)
class Context:
    """What a mask is bound to: one reservation, its two SAEs and their two KMEs. Both ends must give the same.

    Raises InputError unless ``reservation_prefix`` has the 14 bytes that all key_IDs of the reservation begin with.
    """

    reservation_prefix: bytes
    master_sae: str
    slave_sae: str
    master_kme: str
    slave_kme: str

    def __post_init__(self) -> None:
        if len(self.reservation_prefix) != RESERVATION_PREFIX_BYTE:
            raise InputError("reservation_prefix", self.reservation_prefix.hex(), f"must have {RESERVATION_PREFIX_BYTE} bytes")


@dataclass(frozen=True, eq=False)
class KemKeys:
    """A pair of ML-KEM-768 keys, kept as the 64 bytes d and z that it grows from; to be sealed by whoever stores it.

    Raises InputError unless ``private`` has 64 bytes. Its repr does not show it.
    """

    private: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.private) != PRIVATE_KEY_BYTE:
            raise InputError("private key's length", len(self.private), f"must be {PRIVATE_KEY_BYTE} bytes")

    @classmethod
    def generate(cls) -> KemKeys:
        """A new pair."""
        return cls(MLKEM768PrivateKey.generate().private_bytes_raw())

    @property
    def public(self) -> bytes:
        """The public key, 1184 bytes."""
        return MLKEM768PrivateKey.from_seed_bytes(self.private).public_key().public_bytes_raw()


@dataclass(frozen=True, eq=False)
class Mask:
    """Hides the keys of one reservation, and no others: two results under one mask and length tell their difference to broken relays."""

    _extracted: bytes = field(repr=False)
    _bound: tuple[bytes, ...] = field(repr=False)

    def over(self, keys: bytes) -> bytes:
        """``keys`` XOR a stream of their length. Twice gives ``keys`` back, which lets several slaves be sent the same key."""
        info = _framed(*self._bound, len(keys).to_bytes(8, "big"))
        stream_key = HKDFExpand(hashes.SHA384(), 32, info).derive(self._extracted)
        return Cipher(AES256(stream_key), CTR(bytes(16))).encryptor().update(keys)


def encapsulate(public: bytes, context: Context) -> tuple[bytes, Mask]:
    """A ciphertext of 1088 bytes for the holder of ``public``'s private key, and the mask that it opens there.

    Raises InputError when ``public`` is no ML-KEM-768 public key.
    """
    try:
        key = MLKEM768PublicKey.from_public_bytes(public)
    except ValueError:
        raise InputError("public key", f"{len(public)} bytes", f"must be an ML-KEM-768 public key of {PUBLIC_KEY_BYTE} bytes") from None
    kem_secret, ciphertext = key.encapsulate()
    return ciphertext, _mask(kem_secret, context, ciphertext, public)


def decapsulate(keys: KemKeys, ciphertext: bytes, context: Context) -> Mask:
    """The mask that `encapsulate` gave with ``ciphertext`` for ``keys.public``; another one when anything differs.

    Raises InputError unless ``ciphertext`` has 1088 bytes.
    """
    if len(ciphertext) != CIPHERTEXT_BYTE:
        raise InputError("ciphertext's length", len(ciphertext), f"must be {CIPHERTEXT_BYTE} bytes")
    key = MLKEM768PrivateKey.from_seed_bytes(keys.private)
    return _mask(key.decapsulate(ciphertext), context, ciphertext, key.public_key().public_bytes_raw())


def _mask(kem_secret: bytes, context: Context, ciphertext: bytes, public: bytes) -> Mask:
    names = (context.master_sae, context.slave_sae, context.master_kme, context.slave_kme)
    digests = (hashlib.sha384(ciphertext).digest(), hashlib.sha384(public).digest())
    bound = (LABEL, context.reservation_prefix, *(name.encode() for name in names), *digests)
    return Mask(HKDF.extract(hashes.SHA384(), LABEL, _framed(kem_secret)), bound)


def _framed(*parts: bytes) -> bytes:
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)
