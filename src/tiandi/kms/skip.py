"""Secure Key Integration Protocol (draft-cisco-skip-02, 2025-09-03): data formats, and whose keys its names stand for.

SKIP knows key providers by system identifiers, ETSI GS QKD 014 knows applications by SAE IDs. Here every SAE speaks for one system:
the encryptor that asks is the SAE of its certificate, and the remote system it names is the SAE at the other end.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from fnmatch import fnmatchcase
from uuid import UUID

import msgspec

from tiandi.errors import InputError
from tiandi.kms.tls.identities import require_identity
from tiandi.random import secret_bytes
from tiandi.units import BIT_PER_BYTE, byte_from_bit
from tiandi.unshown import Unshown

ALGORITHM = "QKD"
DEFAULT_ENTROPY_BIT = 256
MAX_ENTROPY_BIT = 2**16

_KEY_ID = re.compile(r"[0-9A-Fa-f]{32}")


class Capabilities(msgspec.Struct, frozen=True, kw_only=True):
    """Section 4.1."""

    entropy: bool
    key: bool
    algorithm: str
    localSystemID: str
    remoteSystemID: list[str]


class Key(Unshown, frozen=True):
    """Section 4.2: both in hexadecimal. Its repr shows the identifier only."""

    keyId: str
    key: str

    def __repr__(self) -> str:
        return f"Key({self.keyId})"


class Entropy(Unshown, frozen=True):
    """Section 4.3: random bytes in hexadecimal and their entropy [bit]. Its repr shows the entropy only."""

    randomStr: str
    minentropy: int

    def __repr__(self) -> str:
        return f"Entropy({self.minentropy} bit)"


class Systems:
    """Which system each SAE speaks for.

    ``names`` gives system identifiers by SAE ID; an SAE that does not stand there has its own SAE ID for a system identifier.
    ``remote`` are the systems that may be asked for, each a name or a pattern (* ? [list] [!list]). Raises InputError for an
    identifier of odd characters, for a system of two SAEs, and when ``remote`` is empty.
    """

    def __init__(self, names: Mapping[str, str], remote: tuple[str, ...] = ("*",)) -> None:
        for sae, system in names.items():
            require_identity(sae, "names")
            require_identity(system, f"names.{sae}")
        self._systems = dict(names)
        self._saes = {system: sae for sae, system in names.items()}
        if len(self._saes) < len(names):
            raise InputError("names", sorted(names.values()), "each system belongs to one SAE")
        if not remote:
            raise InputError("remote", remote, "must name one system or pattern at least")
        self.remote = remote

    def local_system(self, sae: str) -> str:
        """The system identifier of an SAE."""
        return self._systems.get(sae, sae)

    def sae(self, system: str) -> str:
        """The SAE of a remote system. Raises InputError for one that may not be asked for."""
        require_identity(system, "remoteSystemID")
        if not any(fnmatchcase(system, pattern) for pattern in self.remote):
            raise InputError("remoteSystemID", system, "this key provider knows no such system")
        sae = self._saes.get(system, system)
        if self.local_system(sae) != system:
            raise InputError("remoteSystemID", system, "an SAE of that name speaks for another system")
        return sae


def key_identifier(key_id: UUID) -> str:
    """How a key is named: its UUID in 32 hexadecimal digits."""
    return key_id.hex


def parse_key_identifier(text: str) -> UUID:
    """The UUID behind a keyId. Raises InputError unless it is 32 hexadecimal digits."""
    if not _KEY_ID.fullmatch(text):
        raise InputError("keyId", text[:64], "must be 32 hexadecimal digits")
    return UUID(hex=text)


def random_string(entropy_bit: int = DEFAULT_ENTROPY_BIT) -> Entropy:
    """At least ``entropy_bit`` bits from the operating system, in whole bytes. Raises InputError unless it lies in [1, 65536]."""
    if not 1 <= entropy_bit <= MAX_ENTROPY_BIT:
        raise InputError("minentropy", entropy_bit, f"must lie in [1, {MAX_ENTROPY_BIT}]")
    length_byte = byte_from_bit(entropy_bit)
    return Entropy(secret_bytes(length_byte).hex(), length_byte * BIT_PER_BYTE)
