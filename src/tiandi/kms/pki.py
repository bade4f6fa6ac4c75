"""A small certificate authority: who is a KME and who is an SAE. ECDSA P-256, one authority for one network."""

from __future__ import annotations

import ipaddress
import re
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tiandi.errors import InputError
from tiandi.kms.envelope import write_secret

IdentityKind = Literal["kme", "sae"]
IDENTITY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
VALIDITY = timedelta(days=365)
CLOCK_TOLERANCE = timedelta(minutes=5)


@dataclass(frozen=True)
class Credentials:
    """Files with which an identity shows itself, and the authority it trusts."""

    identity: str
    certificate: Path
    private_key: Path
    authority: Path

    def server_context(self) -> ssl.SSLContext:
        """TLS 1.2 or later, clients must show a certificate of the authority."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(self.authority))
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_cert_chain(self.certificate, self.private_key)
        return context

    def client_context(self) -> ssl.SSLContext:
        """TLS 1.2 or later, the server must show a certificate of the authority under the name it is called by."""
        context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=str(self.authority))
        context.load_cert_chain(self.certificate, self.private_key)
        return context


def identity_uri(kind: IdentityKind, identity: str) -> str:
    """How an identity stands in a certificate (subject alternative name, URI)."""
    return f"urn:tiandi:{kind}:{identity}"


def require_identity(identity: str, field: str = "identity") -> None:
    """Raise InputError unless ``identity`` can stand in a certificate, a URI and a file name alike."""
    if not IDENTITY.fullmatch(identity):
        raise InputError(field, identity, "must be 1 to 63 of a-z, A-Z, 0-9, '-', '_' and '.', the first a letter or digit")


class CertificateAuthority:
    """Issues certificates into a folder. Its own private key stays in memory and dies with the process."""

    def __init__(self, folder: Path, name: str = "tiandi") -> None:
        self._folder = folder
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"{name} authority")])
        self._private_key = ec.generate_private_key(ec.SECP256R1())
        self.certificate = folder / "authority.crt"
        certificate = (
            self._builder(self._name, self._private_key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_key_usage(certificates=True), critical=True)
            .sign(self._private_key, hashes.SHA256())
        )
        folder.mkdir(parents=True, exist_ok=True)
        self.certificate.write_bytes(certificate.public_bytes(Encoding.PEM))

    def issue(self, kind: IdentityKind, identity: str) -> Credentials:
        """A certificate and private key (readable by the owner only) for a KME or an SAE.

        A KME's serves and calls under its own name, at 127.0.0.1 and localhost; an SAE's only calls.
        Raises InputError for an identity of odd characters, FileExistsError for one issued before.
        """
        require_identity(identity)
        private_key = ec.generate_private_key(ec.SECP256R1())
        alternative_names: list[x509.GeneralName] = [x509.UniformResourceIdentifier(identity_uri(kind, identity))]
        usages = [ExtendedKeyUsageOID.CLIENT_AUTH]
        if kind == "kme":
            usages.append(ExtendedKeyUsageOID.SERVER_AUTH)
            alternative_names += [x509.DNSName(identity), x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, identity)])
        certificate = (
            self._builder(subject, private_key.public_key())
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
            .add_extension(x509.SubjectAlternativeName(alternative_names), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._private_key.public_key()), critical=False)
            .sign(self._private_key, hashes.SHA256())
        )
        stem = self._folder / f"{kind}.{identity}"
        credentials = Credentials(identity, stem.with_name(stem.name + ".crt"), stem.with_name(stem.name + ".key"), self.certificate)
        credentials.certificate.write_bytes(certificate.public_bytes(Encoding.PEM))
        write_secret(credentials.private_key, private_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        return credentials

    def _builder(self, subject: x509.Name, public_key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        now = datetime.now(UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - CLOCK_TOLERANCE)
            .not_valid_after(now + VALIDITY)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
        )


def _key_usage(*, certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=certificates,
        crl_sign=certificates,
        encipher_only=False,
        decipher_only=False,
    )
