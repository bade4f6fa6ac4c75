"""Who a certificate speaks for: a KME, an SAE, an operator or a viewer, by names that TLS has verified."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import NameOID

from tiandi.errors import InputError, NotAuthorised

IdentityKind = Literal["kme", "sae", "operator", "viewer"]
NameSource = Literal["uri", "common-name"]
KINDS: tuple[IdentityKind, ...] = get_args(IdentityKind)
SOURCES: tuple[NameSource, ...] = get_args(NameSource)
IDENTITY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._~!$&'()*+,;=:@-]{0,63}")
URN = "urn:tiandi:"
SCOPE_KEY = "tiandi.client"


def identity_uri(kind: IdentityKind, identity: str) -> str:
    """How an identity stands in a certificate (subject alternative name, URI)."""
    return f"{URN}{kind}:{identity}"


def require_identity(identity: str, name: str = "identity") -> None:
    """Raise InputError, for the field ``name``, unless ``identity`` is 1 to 64 characters of a path segment in a URI (RFC 3986, 3.3).

    Percent signs are left out, so that an identity is written in one way only; the first character is a letter or a digit.
    """
    if not IDENTITY.fullmatch(identity):
        raise InputError(name, identity, "must be 1 to 64 of a-z, A-Z, 0-9 and -._~!$&'()*+,;=:@, the first a letter or digit")


@dataclass(frozen=True)
class ClientCertificate:
    """What is asked of a certificate that TLS has verified, read once a connection."""

    identities: tuple[tuple[IdentityKind, str], ...]
    issuer: bytes
    """Distinguished name of the issuer (DER)."""
    serial: int
    fingerprint: str
    """SHA-256 of the certificate, in hexadecimal."""
    starts: float
    expires: float
    """Seconds since 1970 within which it is valid."""

    def is_of(self, kind: IdentityKind) -> bool:
        """Whether it speaks for anybody of ``kind``."""
        return any(kind == own for own, _ in self.identities)

    def identity(self, kind: IdentityKind) -> str:
        """The one identity of ``kind``. Raises NotAuthorised when there is none, or more than one."""
        found = [name for own, name in self.identities if own == kind]
        if len(found) != 1:
            raise NotAuthorised(f"this door is for the certificate of one {kind.upper()}")
        return found[0]


@dataclass(frozen=True)
class IdentityRule:
    """Where identities are looked for in certificates of other makers, which carry no name of ours.

    The first of ``identity_from`` that gives a name decides: ``uri`` any subject alternative name that is a URI, ``common-name`` the
    subject's. Two names from one source are none. It is an SAE's unless ``roles`` says otherwise. Raises InputError for an unknown source.
    """

    identity_from: tuple[NameSource, ...] = SOURCES
    roles: Mapping[str, IdentityKind] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for source in self.identity_from:
            if source not in SOURCES:
                raise InputError("identity_from", source, f"must be of {', '.join(SOURCES)}")
        for name, kind in self.roles.items():
            if kind not in KINDS:
                raise InputError(f"roles.{name}", kind, f"must be one of {', '.join(KINDS)}")

    def read(self, certificate: x509.Certificate) -> ClientCertificate:
        """The certificate's names and marks. One whose names cannot be read has none."""
        return ClientCertificate(
            identities=self._identities(certificate),
            issuer=certificate.issuer.public_bytes(),
            serial=certificate.serial_number,
            fingerprint=certificate.fingerprint(SHA256()).hex(),
            starts=certificate.not_valid_before_utc.timestamp(),
            expires=certificate.not_valid_after_utc.timestamp(),
        )

    def _identities(self, certificate: x509.Certificate) -> tuple[tuple[IdentityKind, str], ...]:
        try:
            uris = _uris(certificate)
        except ValueError:
            return ()
        ours = [uri for uri in uris if uri.startswith(URN)]
        if ours:
            pairs = (uri.removeprefix(URN).partition(":") for uri in ours)
            return tuple((kind, name) for word, _, name in pairs for kind in KINDS if word == kind and IDENTITY.fullmatch(name))
        for source in self.identity_from:
            names = uris if source == "uri" else _common_names(certificate)
            if len(names) > 1:
                return ()
            if names and IDENTITY.fullmatch(names[0]):
                return ((self.roles.get(names[0], "sae"), names[0]),)
        return ()


def caller_identity(scope: Mapping[str, Any], kind: IdentityKind) -> str:
    """The one identity of ``kind`` in the certificate of who sent a request. Raises NotAuthorised when it has none."""
    certificate = scope.get("extensions", {}).get(SCOPE_KEY)
    if not isinstance(certificate, ClientCertificate):
        raise NotAuthorised("this door is for callers with a certificate")
    return certificate.identity(kind)


def _uris(certificate: x509.Certificate) -> list[str]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return names.get_values_for_type(x509.UniformResourceIdentifier)


def _common_names(certificate: x509.Certificate) -> list[str]:
    return [str(name.value) for name in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
