"""Another maker's box behind ETSI GS QKD 014: our KMEs are SAEs of the boxes, the initiator master, the responder slave."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from tiandi.errors import InputError, ProtocolViolation, RemoteRefused
from tiandi.kms.client import KEY_SIZE_BIT, MAX_KEY_PER_REQUEST, AsyncKeyClient, KeysUncertain

KEYS_NOT_FOUND, EXHAUSTED = 400, 503
"""Statuses of a box."""


class Etsi014Box:
    """A `Box` of `tiandi.kms.sources.offers`: a block is the keys of one request, one after the other.

    ``far_sae`` is as whom the boxes know the KME at the other end; sizes are the same at both ends, and within what the boxes grant.
    """

    def __init__(
        self, client: AsyncKeyClient, far_sae: str, *, key_size_bit: int = KEY_SIZE_BIT, keys_per_block: int = MAX_KEY_PER_REQUEST
    ) -> None:
        self._client, self._far_sae = client, far_sae
        self._key_size_bit, self._keys_per_block = key_size_bit, keys_per_block

    async def join(self) -> None:
        """Nothing: these boxes give key to whom they know."""

    async def draw(self) -> tuple[list[UUID], bytes] | None:
        """Get key. Raises as `KeyClient` does."""
        try:
            keys = await self._client.get_keys(self._far_sae, number=self._keys_per_block, size_bit=self._key_size_bit)
        except RemoteRefused as error:
            if error.status == EXHAUSTED:
                return None
            raise
        return [item.key_ID for item in keys], b"".join(item.key for item in keys)

    async def draw_named(self, key_ids: Sequence[UUID]) -> bytes | None:
        """Get key with key IDs. Raises InputError for another number of keys than agreed, KmeUnreachable, RemoteRefused."""
        if len(key_ids) != self._keys_per_block or len(set(key_ids)) < len(key_ids):
            raise InputError("key_IDs", len(key_ids), f"must be {self._keys_per_block}, each once")
        try:
            keys = await self._client.get_keys_with_ids(self._far_sae, key_ids, size_bit=self._key_size_bit)
        except (KeysUncertain, ProtocolViolation):
            return None
        except RemoteRefused as error:
            if error.status == KEYS_NOT_FOUND:
                return None
            raise
        return b"".join(item.key for item in keys)
