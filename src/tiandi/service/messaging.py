"""Messages between two SAEs under quantum keys.

Text: one-time pad and a one-time Wegman-Carter tag, secret against any computer. Pictures and other files: AES-256-GCM with a fresh key
for every block, secret against any computer that needs 2^128 steps to break AES-256, a quantum one by Grover's search.

Whoever guesses a text knows the pad it was sent under, and identifiers of keys travel in the clear. So that such a pad can never serve
as the key of a forged tag or file, each key has two halves: one for pads, one for tags; files are encrypted under a key derived from both
halves, for files only; and the keys of a message stand in the order of their identifiers. A text is therefore authentic against any
computer that has not broken the AES-256 of a file which it kept from arriving; a file forged under the keys of a known text has 128
unknown bits of key against it.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from uuid import UUID

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from tiandi.bits import exclusive_or
from tiandi.errors import AuthenticationFailed, InputError, MessageRejected, RemoteRefused
from tiandi.kms.client import KEY_SIZE_BIT, MAX_KEY_PER_REQUEST, Key, KeyClient
from tiandi.tags import TAG_KEY_BYTE, one_time_tag, verify_one_time_tag
from tiandi.units import BIT_PER_BYTE

HALF_BYTE = KEY_SIZE_BIT // BIT_PER_BYTE // 2
FEWEST_TEXT_KEYS = TAG_KEY_BYTE // HALF_BYTE
FILE_BLOCK_BYTE = 1024
TEXT_LIMIT_BYTE = MAX_KEY_PER_REQUEST * HALF_BYTE
FILE_LIMIT_BYTE = MAX_KEY_PER_REQUEST * FILE_BLOCK_BYTE


class SealedText(msgspec.Struct, frozen=True, tag="text"):
    """What travels for a text: the first halves of its keys are the pad, the second halves of the first two keys pay for the tag."""

    master: str
    slave: str
    key_ids: list[UUID]
    ciphertext: bytes
    tag: bytes


class SealedFile(msgspec.Struct, frozen=True, tag="file"):
    """What travels for a file: one ciphertext, with its GCM tag, for each key."""

    master: str
    slave: str
    key_ids: list[UUID]
    blocks: list[bytes]


Sealed = SealedText | SealedFile


def keys_for_text(text: str) -> int:
    """Keys that a text takes."""
    return max(FEWEST_TEXT_KEYS, -(-len(text.encode()) // HALF_BYTE))


def keys_for_file(data: bytes) -> int:
    """Keys that a file takes."""
    return max(1, -(-len(data) // FILE_BLOCK_BYTE))


def require_text(text: str, field: str = "message") -> None:
    """Raise InputError unless ``text`` can be sent in one message."""
    try:
        length_byte = len(text.encode())
    except UnicodeEncodeError:
        raise InputError(field, ascii(text), "must be text that UTF-8 can write") from None
    if not 1 <= length_byte <= TEXT_LIMIT_BYTE:
        raise InputError(field, f"{length_byte} bytes", f"must be 1 to {TEXT_LIMIT_BYTE} bytes of UTF-8")


def require_file(length_byte: int, field: str = "file") -> None:
    """Raise InputError unless a file of this length can be sent in one message."""
    if not 1 <= length_byte <= FILE_LIMIT_BYTE:
        raise InputError(field, f"{length_byte} bytes", f"must be 1 to {FILE_LIMIT_BYTE} bytes")


class Correspondent:
    """One SAE with its key client: seals messages to others, opens theirs."""

    def __init__(self, sae_id: str, client: KeyClient) -> None:
        self.sae_id = sae_id
        self._client = client

    def seal_text(self, recipient: str, text: str) -> bytes:
        """Fetch keys and encrypt ``text``. Raises InputError when it is too long, RemoteRefused when the KME has no keys."""
        require_text(text)
        keys = self._fetch(recipient, keys_for_text(text))
        plain = text.encode()
        sealed = SealedText(self.sae_id, recipient, [item.key_ID for item in keys], exclusive_or(plain, _pad(keys, len(plain))), b"")
        return msgspec.msgpack.encode(msgspec.structs.replace(sealed, tag=one_time_tag(_tag_key(keys), _said(sealed))))

    def seal_file(self, recipient: str, data: bytes) -> bytes:
        """Fetch keys and encrypt ``data`` block by block. Raises like `seal_text`."""
        require_file(len(data))
        keys = self._fetch(recipient, keys_for_file(data))
        blocks = [
            _block_cipher(item).encrypt(
                _nonce(number), data[number * FILE_BLOCK_BYTE : (number + 1) * FILE_BLOCK_BYTE], _context(keys, number)
            )
            for number, item in enumerate(keys)
        ]
        return msgspec.msgpack.encode(SealedFile(self.sae_id, recipient, [item.key_ID for item in keys], blocks))

    def _fetch(self, recipient: str, number: int) -> list[Key]:
        return sorted(self._client.get_keys(recipient, number=number), key=lambda item: item.key_ID)

    def open(self, wire: bytes, sender: str) -> str | bytes:
        """The text or file that ``sender`` sent over the wire. Raises MessageRejected when it was changed, is not between these two,
        or has no key.
        """
        try:
            sealed = msgspec.msgpack.decode(wire, type=Sealed)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise MessageRejected(f"not a sealed message: {error}") from None
        if (sealed.master, sealed.slave) != (sender, self.sae_id):
            raise MessageRejected(f"not a message from {sender} to {self.sae_id}")
        if not sealed.key_ids or len(sealed.key_ids) != _keys_of(sealed):
            raise MessageRejected("the message names another number of keys than its length takes")
        if any(first >= second for first, second in pairwise(sealed.key_ids)):
            raise MessageRejected("the message does not name its keys in order")
        try:
            keys = self._client.get_keys_with_ids(sealed.master, sealed.key_ids)
        except RemoteRefused as error:
            raise MessageRejected(f"the KME gives no key for it: {error.message}") from error
        return _open_text(sealed, keys) if isinstance(sealed, SealedText) else _open_file(sealed, keys)


def _keys_of(sealed: Sealed) -> int:
    """Keys that a message of this length takes."""
    if isinstance(sealed, SealedFile):
        return len(sealed.blocks)
    return max(FEWEST_TEXT_KEYS, -(-len(sealed.ciphertext) // HALF_BYTE))


def _pad(keys: Sequence[Key], length_byte: int) -> bytes:
    return b"".join(item.key[:HALF_BYTE] for item in keys)[:length_byte]


def _tag_key(keys: Sequence[Key]) -> bytes:
    return b"".join(item.key[HALF_BYTE:] for item in keys[:FEWEST_TEXT_KEYS])


def _open_text(sealed: SealedText, keys: Sequence[Key]) -> str:
    try:
        verify_one_time_tag(_tag_key(keys), _said(sealed), sealed.tag)
        return exclusive_or(sealed.ciphertext, _pad(keys, len(sealed.ciphertext))).decode()
    except (AuthenticationFailed, UnicodeDecodeError):
        raise MessageRejected("the tag does not fit: the message was changed on its way") from None


def _open_file(sealed: SealedFile, keys: Sequence[Key]) -> bytes:
    try:
        return b"".join(
            _block_cipher(item).decrypt(_nonce(number), block, _context(keys, number))
            for number, (item, block) in enumerate(zip(keys, sealed.blocks, strict=True))
        )
    except InvalidTag:
        raise MessageRejected("the tag of a block does not fit: the file was changed on its way") from None


def _said(sealed: SealedText) -> list[bytes]:
    return [msgspec.msgpack.encode(msgspec.structs.replace(sealed, tag=b""))]


def _block_cipher(item: Key) -> AESGCM:
    return AESGCM(HKDF(hashes.SHA256(), 32, salt=None, info=b"tiandi file block").derive(item.key))


def _nonce(number: int) -> bytes:
    # A key encrypts one block and never another, so a nonce that can be foretold is safe here.
    return number.to_bytes(12, "big")


def _context(keys: Sequence[Key], number: int) -> bytes:
    """Binds a block to its place in this file: blocks cannot be swapped, dropped or taken from elsewhere."""
    return b"".join(item.key_ID.bytes for item in keys) + number.to_bytes(4, "big")
