"""ETSI GS QKD 014 V1.1.1 (2019-02): data formats, limits and fixed messages of the key delivery API."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import msgspec

from tiandi.errors import RequestRefused

KEY_SIZE_BIT = 256
"""The one size of key that this KME supplies."""
MAX_KEY_COUNT = 100_000
MAX_KEY_PER_REQUEST = 128

SIZE_NOT_MULTIPLE_OF_8 = "size shall be a multiple of 8"
EXTENSION_NOT_SUPPORTED = "not all extension_mandatory parameters are supported"
KEYS_NOT_FOUND = "one or more keys specified are not found on KME"


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """Clause 6.1."""

    source_KME_ID: str
    target_KME_ID: str
    master_SAE_ID: str
    slave_SAE_ID: str
    key_size: int
    stored_key_count: int
    max_key_count: int
    max_key_per_request: int
    max_key_size: int
    min_key_size: int
    max_SAE_ID_count: int


class KeyRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Clause 6.2."""

    number: int = 1
    size: int = KEY_SIZE_BIT
    additional_slave_SAE_IDs: list[str] | None = None
    extension_mandatory: list[dict[str, Any]] | None = None
    extension_optional: list[dict[str, Any]] | None = None

    def require(self) -> None:
        """Raise RequestRefused, in the standard's words where it has any, when this cannot be met, whoever asks."""
        if self.size % 8:
            raise RequestRefused(SIZE_NOT_MULTIPLE_OF_8)
        if self.size != KEY_SIZE_BIT:
            raise RequestRefused(f"size = {self.size}: must be {KEY_SIZE_BIT} bit")
        if not 1 <= self.number <= MAX_KEY_PER_REQUEST:
            raise RequestRefused(f"number = {self.number}: must lie in [1, {MAX_KEY_PER_REQUEST}]")
        if self.extension_mandatory:
            raise RequestRefused(EXTENSION_NOT_SUPPORTED)
        if self.additional_slave_SAE_IDs is not None:
            raise RequestRefused("additional_slave_SAE_IDs: this KME supplies one slave a key (max_SAE_ID_count = 0)")


class KeyID(msgspec.Struct, frozen=True, omit_defaults=True):
    """One entry of `KeyIDs`."""

    key_ID: UUID
    key_ID_extension: dict[str, Any] | None = None


class KeyIDs(msgspec.Struct, frozen=True, omit_defaults=True):
    """Clause 6.4."""

    key_IDs: list[KeyID]
    key_IDs_extension: dict[str, Any] | None = None


class Key(msgspec.Struct, frozen=True):
    """One key, base64 on the wire. Its repr shows the identifier only."""

    key_ID: UUID
    key: bytes

    def __repr__(self) -> str:
        return f"Key({self.key_ID})"


class KeyContainer(msgspec.Struct, frozen=True):
    """Clause 6.3."""

    keys: list[Key]


class Error(msgspec.Struct, frozen=True, omit_defaults=True):
    """Clause 6.5."""

    message: str
    details: list[dict[str, Any]] | None = None
