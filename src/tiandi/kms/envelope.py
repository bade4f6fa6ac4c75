"""Keys at rest: sealed under AES-256-GCM, bound to what they are."""

from __future__ import annotations

import os
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from tiandi.errors import StateError
from tiandi.random import secret_bytes

MASTER_KEY_BYTE = 32
NONCE_BYTE = 12


def create_master_key(path: Path) -> bytes:
    """A new master key, written to a file that only its owner can read."""
    key = secret_bytes(MASTER_KEY_BYTE)
    write_secret(path, key)
    return key


def write_secret(path: Path, secret: bytes) -> None:
    """Write a new file that only its owner can read, and see it safely to disk. Raises FileExistsError when it is there."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(secret)
        file.flush()
        os.fsync(descriptor)


class Envelope:
    """Seals and opens secrets of one store. The key is derived from a master key and the store's name."""

    def __init__(self, master_key: bytes, store: str) -> None:
        derived = HKDF(hashes.SHA256(), MASTER_KEY_BYTE, salt=None, info=b"tiandi key store\0" + store.encode()).derive(master_key)
        self._cipher = AESGCM(derived)

    def seal(self, secret: bytes, context: str) -> bytes:
        """Nonce, ciphertext and tag of ``secret``, which opens only under the same ``context``."""
        nonce = secret_bytes(NONCE_BYTE)
        return nonce + self._cipher.encrypt(nonce, secret, context.encode())

    def open(self, sealed: bytes, context: str) -> bytes:
        """The secret in ``sealed``. Raises StateError when it was changed, moved, or sealed under another master key."""
        try:
            return self._cipher.decrypt(sealed[:NONCE_BYTE], sealed[NONCE_BYTE:], context.encode())
        except InvalidTag:
            raise StateError("key store", context, "this entry was altered or belongs to another master key") from None
