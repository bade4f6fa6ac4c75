"""Formats of ETSI GS QKD 020 V1.1.1 (2026-06), by which KMEs of two networks pass keys on within one site.

Where the OpenAPI document and the text of the standard differ, the text holds: items of ``key_id_container`` are objects. Members that
the standard does not name are ignored. Errors are problem details (RFC 9457).
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Sequence
from typing import Annotated, Literal, cast
from urllib.parse import urlsplit
from uuid import UUID

import msgspec
from msgspec import UNSET, UnsetType

from tiandi.errors import RequestRefused
from tiandi.unshown import Unshown

VERSIONS_PATH = "/kmapi/versions"
KEYS_PATH = "/kmapi/v1/ext_keys"
ACK_PATH = "/kmapi/v1/ext_keys/ack"
VOID_PATH = "/kmapi/v1/ext_keys/void"
SYNCHRONOUS_MODE = "synchronous_mode"
PROBLEMS = "https://qkd.etsi.org/gs020-interop-kms/"
MOST_ITEMS = 1024
"""Acknowledgements in a request and keys in an acknowledgement, by the standard; keys in a request, by us."""
MOST_TARGETS = 16

KeyId = Annotated[str, msgspec.Meta(pattern=r"^[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}\Z")]
SaeId = Annotated[str, msgspec.Meta(min_length=1, max_length=64, pattern=r"^([A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=-]|%[0-9A-Fa-f]{2})+\Z")]
Targets = Annotated[list[SaeId], msgspec.Meta(min_length=1, max_length=MOST_TARGETS)]
Url = Annotated[str, msgspec.Meta(max_length=1024)]
ExtensionName = Annotated[str, msgspec.Meta(pattern=r"^E[0-9]+_", max_length=1024)]
Extension = Annotated[dict[ExtensionName, msgspec.Raw], msgspec.Meta(min_length=1, max_length=1024)]
"""Values stay as they were written: what is not understood is passed on unchanged."""
AckStatus = Literal["relayed", "failed", "voided", "failed to void", "key not present"]


class Problem(RequestRefused):
    """A refusal in the standard's words: HTTP ``status``, problem type, and one entry of ``details``."""

    def __init__(self, status: int, kind: str, name: str, text: str) -> None:
        self.status, self.kind, self.details = status, kind, {name: text}
        super().__init__(f"{kind}: {text}")


class ProblemDetails(msgspec.Struct, omit_defaults=True):
    """The body of every error; ``details`` is a table of strings."""

    type: str
    status: int = 0
    title: str = ""
    details: dict[str, str] = {}


class ExternalKey(Unshown, frozen=True):
    """A key and its identifier. Its repr shows no key."""

    key_id: KeyId
    value: str
    extension: Extension | UnsetType = UNSET

    def __repr__(self) -> str:
        return f"ExternalKey({self.key_id})"

    def key(self) -> bytes:
        """The key. Raises Problem unless it is base64 of whole bytes, its padding bits zero: those are no key."""
        try:
            key = base64.b64decode(self.value, validate=True)
        except (binascii.Error, ValueError):
            key = b""
        if not key or base64.b64encode(key).decode() != self.value:
            text = "must be base64 (RFC 4648, table 1) of at least one byte, padding bits zero"
            raise Problem(400, "invalid-parameter", "value", text)
        return key


class KeyContainer(msgspec.Struct, frozen=True):
    """ext_key_container: keys for the target SAEs that the initiator will have as well."""

    keys: Annotated[list[ExternalKey], msgspec.Meta(min_length=1, max_length=MOST_ITEMS)]
    initiator_sae_id: SaeId
    target_sae_ids: Targets
    ack_callback_url: Url | UnsetType = UNSET
    extension_mandatory: Extension | UnsetType = UNSET
    extension_optional: Extension | UnsetType = UNSET

    def require(self) -> None:
        """Raise Problem for what the types let pass."""
        require_pair(self.initiator_sae_id, self.target_sae_ids)
        if len({UUID(key.key_id) for key in self.keys}) < len(self.keys):
            raise Problem(400, "invalid-parameter", "key_id", "each key_id may be given once")
        if not isinstance(self.extension_mandatory, UnsetType):
            names = " and ".join(self.extension_mandatory)[:1024]
            text = f"Mandatory extensions {names} cannot be supported for this request."
            raise Problem(503, "unsupported-mandatory-extension", "unsupported_mandatory_extension", text)


class KeyIdItem(msgspec.Struct, frozen=True, omit_defaults=True):
    """A key that is acknowledged."""

    key_id: KeyId
    extension: Extension | UnsetType = UNSET


class AckContainer(msgspec.Struct, frozen=True, omit_defaults=True):
    """What became of some keys of one initiator and its targets."""

    key_id_container: Annotated[list[KeyIdItem], msgspec.Meta(max_length=MOST_ITEMS)]
    ack_status: AckStatus
    initiator_sae_id: SaeId
    target_sae_ids: Targets
    message: Annotated[str, msgspec.Meta(max_length=4096)] | UnsetType = UNSET
    extension: Extension | UnsetType = UNSET

    def require(self) -> None:
        """Raise Problem for what the types let pass."""
        if len(set(self.target_sae_ids)) < len(self.target_sae_ids):
            raise Problem(400, "ack-not-understood", "target_sae_ids", "must name each target once")


AckContainers = Annotated[list[AckContainer], msgspec.Meta(max_length=MOST_ITEMS)]


class VoidContainer(msgspec.Struct, frozen=True, omit_defaults=True):
    """Keys that nobody may have any more; without any, all of the pair."""

    key_ids: Annotated[list[KeyId], msgspec.Meta(max_length=MOST_ITEMS)]
    initiator_sae_id: SaeId
    target_sae_ids: Targets
    ack_callback_url: Url | UnsetType = UNSET
    extension: Extension | UnsetType = UNSET
    all_confirmation: bool | UnsetType = UNSET

    def require(self) -> None:
        """Raise Problem for what the types let pass, and for voiding all keys unless that is confirmed."""
        require_pair(self.initiator_sae_id, self.target_sae_ids)
        if not self.key_ids and self.all_confirmation is not True:
            text = "Without key_ids all keys of these SAEs would be voided; all_confirmation must be true to confirm that."
            raise Problem(400, "no-key-ids-or-confirmation", "no_all_confirmation", text)


class VersionContainer(msgspec.Struct, frozen=True):
    """What this KME speaks."""

    versions: list[str]
    capabilities: list[str]


def require_pair(initiator: str, targets: Sequence[str]) -> None:
    """Raise Problem unless the targets are each named once and are others than the initiator."""
    if len(set(targets)) < len(targets) or initiator in targets:
        raise Problem(400, "invalid-parameter", "target_sae_ids", "must name each target once, and not the initiator")


def ack_containers(items: Iterable[tuple[str, str, tuple[str, ...], str]]) -> list[AckContainer]:
    """Acknowledgements of (status, initiator, targets, key), as few as the standard allows."""
    grouped: dict[tuple[str, str, tuple[str, ...]], list[str]] = {}
    for status, initiator, targets, key_id in items:
        grouped.setdefault((status, initiator, targets), []).append(key_id)
    return [
        AckContainer(
            [KeyIdItem(key_id) for key_id in key_ids[start : start + MOST_ITEMS]], cast(AckStatus, status), initiator, list(targets)
        )
        for (status, initiator, targets), key_ids in grouped.items()
        for start in range(0, len(key_ids), MOST_ITEMS)
    ]


def callback_path(url: str, address: str) -> str:
    """Path and query of a callback at ``address`` (https://host:port). Raises Problem for any other place."""
    try:
        asked, known = urlsplit(url), urlsplit(address)
        same = asked.hostname == known.hostname and (asked.port or 443) == (known.port or 443)
    except ValueError:
        same = False
    clean = url.isascii() and url.isprintable() and not {" ", "\\"} & set(url)
    if not same or not clean or asked.scheme != "https" or "@" in asked.netloc or asked.fragment or not asked.path.startswith("/"):
        text = "must be an https URL at the host and port that are registered for the calling KME"
        raise Problem(400, "invalid-parameter", "ack_callback_url", text)
    return asked.path + (f"?{asked.query}" if asked.query else "")
