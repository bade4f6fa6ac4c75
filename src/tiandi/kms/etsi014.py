"""ETSI GS QKD 014 V1.1.1 (2019-02): data formats, limits and fixed messages of the key delivery API.

An extension is a name and a value; the standard asks that the name begins with its maker's. Ours, mandatory or optional:

    tiandi_route_type          "direct", "relayed" or "satellite": which way the key came
    tiandi_max_age_s           integer above 0: the oldest key that will do [s]
    tiandi_min_disjoint_paths  integer from 1 to 8: how many node-disjoint paths the key was shared over
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal, cast
from uuid import UUID

import msgspec

from tiandi.errors import InputError, RequestRefused
from tiandi.kms.tls.identities import require_identity
from tiandi.unshown import Unshown

KEY_SIZE_BIT = 256
"""The size of a key when a request names none and the KME is not told otherwise."""
MAX_KEY_COUNT = 100_000
MAX_KEY_PER_REQUEST = 128

SIZE_NOT_MULTIPLE_OF_8 = "size shall be a multiple of 8"
EXTENSION_NOT_SUPPORTED = "not all extension_mandatory parameters are supported"
EXTENSION_NOT_MET = "not all extension_mandatory request options could be met"
KEYS_NOT_FOUND = "one or more keys specified are not found on KME"

RouteType = Literal["direct", "relayed", "satellite"]

# Numbers that every JSON reader keeps exactly (RFC 8259, section 6); nobody has to print a number of a million digits.
_Integer = Annotated[int, msgspec.Meta(ge=-(2**53), le=2**53)]


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What a KME grants one request: sizes [bit] and counts under the standard's names. Raises InputError when they contradict."""

    key_size: int = KEY_SIZE_BIT
    min_key_size: int = 8
    max_key_size: int = 2**20
    max_key_per_request: int = MAX_KEY_PER_REQUEST
    max_key_count: int = MAX_KEY_COUNT
    max_SAE_ID_count: int = 8
    max_request_bit: int = 2**23
    """Key in one answer, number times size."""

    def __post_init__(self) -> None:
        if not 8 <= self.min_key_size <= self.key_size <= self.max_key_size <= self.max_request_bit:
            raise InputError("key_size", self.key_size, "8 <= min_key_size <= key_size <= max_key_size <= max_request_bit must hold")
        for field in ("key_size", "min_key_size", "max_key_size"):
            if getattr(self, field) % 8:
                raise InputError(field, getattr(self, field), "must be a multiple of 8")
        for field, low, high in (("max_key_per_request", 1, 1024), ("max_key_count", 1, 2**53), ("max_SAE_ID_count", 0, 64)):
            if not low <= getattr(self, field) <= high:
                raise InputError(field, getattr(self, field), f"must lie in [{low}, {high}]")


class SupplyOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How a key should have come about; None where nothing is asked."""

    route_type: RouteType | None = None
    maximum_age_s: Annotated[int, msgspec.Meta(ge=1, le=2**53)] | None = None
    minimum_disjoint_paths: Annotated[int, msgspec.Meta(ge=1, le=8)] | None = None


_OPTIONS = {
    "tiandi_route_type": ("route_type", "must be direct, relayed or satellite"),
    "tiandi_max_age_s": ("maximum_age_s", "must be an integer above 0"),
    "tiandi_min_disjoint_paths": ("minimum_disjoint_paths", "must be an integer from 1 to 8"),
}


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

    number: _Integer = 1
    size: _Integer = KEY_SIZE_BIT
    additional_slave_SAE_IDs: list[str] | None = None
    extension_mandatory: list[dict[str, Any]] | None = None
    extension_optional: list[dict[str, Any]] | None = None

    def require(self, limits: Limits) -> None:
        """Raise RequestRefused, in the standard's words where it has any, when no KME of these limits can meet this."""
        if self.size % 8:
            raise RequestRefused(SIZE_NOT_MULTIPLE_OF_8)
        _require_within("size", self.size, limits.min_key_size, limits.max_key_size, " bit")
        _require_within("number", self.number, 1, limits.max_key_per_request)
        if self.number * self.size > limits.max_request_bit:
            raise RequestRefused(f"number * size = {self.number * self.size}: must not exceed {limits.max_request_bit} bit a request")
        self.mandatory_options()
        additional = self.additional_slave_SAE_IDs
        if additional is not None and not 1 <= len(additional) <= limits.max_SAE_ID_count:
            raise RequestRefused(
                f"additional_slave_SAE_IDs: {len(additional)} given, must be 1 to max_SAE_ID_count = {limits.max_SAE_ID_count}"
            )

    def slaves(self, master: str, slave: str) -> list[str]:
        """``slave`` and the additional slaves. Raises RequestRefused for one named twice or who is ``master``, InputError for no SAE ID."""
        additional = self.additional_slave_SAE_IDs or []
        for sae_id in additional:
            require_identity(sae_id, "additional_slave_SAE_IDs")
        if master in additional or len({slave, *additional}) <= len(additional):
            raise RequestRefused("additional_slave_SAE_IDs: must not repeat one another, the slave or the master")
        return [slave, *additional]

    def mandatory_options(self) -> SupplyOptions:
        """What the keys must fulfil. Raises RequestRefused for an extension that is not known, named twice or of no possible value."""
        asked: dict[str, Any] = {}
        for name, value in _pairs(self.extension_mandatory):
            if name not in _OPTIONS:
                raise RequestRefused(EXTENSION_NOT_SUPPORTED)
            field, must = _OPTIONS[name]
            if field in asked:
                raise RequestRefused(f"extension_mandatory: {name} is given twice")
            if not _is_possible(field, value):
                raise RequestRefused(f"{name}: {must}")
            asked[field] = value
        return SupplyOptions(**asked)

    def optional_options(self) -> SupplyOptions:
        """What the keys should fulfil where they can; what is not known, or of no possible value, is ignored."""
        known = ((_OPTIONS[name][0], value) for name, value in _pairs(self.extension_optional) if name in _OPTIONS)
        return SupplyOptions(**{field: value for field, value in known if _is_possible(field, value)})


def key_request_type(limits: Limits) -> type[KeyRequest]:
    """`KeyRequest` as a KME of ``limits`` reads it: a request that names no size is for the KME's own ``key_size``."""
    size = ("size", _Integer, limits.key_size)
    return cast(type[KeyRequest], msgspec.defstruct("KeyRequest", [size], bases=(KeyRequest,), frozen=True, kw_only=True))


class KeyID(msgspec.Struct, frozen=True, omit_defaults=True):
    """One entry of `KeyIDs`."""

    key_ID: UUID
    key_ID_extension: dict[str, Any] | None = None


class KeyIDs(msgspec.Struct, frozen=True, omit_defaults=True):
    """Clause 6.4."""

    key_IDs: list[KeyID]
    key_IDs_extension: dict[str, Any] | None = None

    def require(self, limits: Limits) -> list[UUID]:
        """The identifiers. Raises RequestRefused unless they are 1 to ``max_key_per_request`` and no two are equal."""
        key_ids = [item.key_ID for item in self.key_IDs]
        _require_within("number of key_IDs", len(key_ids), 1, limits.max_key_per_request)
        if len({key_id.int for key_id in key_ids}) < len(key_ids):
            raise RequestRefused("key_IDs: a key is handed out once, none may be named twice")
        return key_ids


class Key(Unshown, frozen=True):
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


def _require_within(field: str, value: int, low: int, high: int, unit: str = "") -> None:
    if not low <= value <= high:
        must = f"be {low}" if low == high else f"lie in [{low}, {high}]"
        raise RequestRefused(f"{field} = {value}: must {must}{unit}")


def _pairs(extensions: list[dict[str, Any]] | None) -> Iterator[tuple[str, Any]]:
    return ((name, value) for extension in extensions or () for name, value in extension.items())


def _is_possible(field: str, value: Any) -> bool:
    try:
        msgspec.convert({field: value}, SupplyOptions)
    except msgspec.ValidationError:
        return False
    return value is not None
