"""Private keys, certificates and lists of revocations as the authority makes them, and files that are whole or absent."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal, get_args

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA65PrivateKey, MLDSA65PublicKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tiandi.errors import InputError

Algorithm = Literal["p256", "ml-dsa-65"]
PrivateKey = ec.EllipticCurvePrivateKey | MLDSA65PrivateKey
PublicKey = ec.EllipticCurvePublicKey | MLDSA65PublicKey
ALGORITHMS: tuple[Algorithm, ...] = get_args(Algorithm)
CLOCK_TOLERANCE = timedelta(minutes=5)


@dataclass(frozen=True)
class Template:
    """What a certificate is to say. ``depth`` is how many authorities may follow an authority; None for whoever is none."""

    name: str
    alternative_names: tuple[x509.GeneralName, ...]
    days: int
    depth: int | None = None
    serving: bool = False


def generate_key(algorithm: Algorithm) -> PrivateKey:
    """A new private key for ECDSA on P-256, or for ML-DSA-65 (FIPS 204)."""
    return ec.generate_private_key(ec.SECP256R1()) if algorithm == "p256" else MLDSA65PrivateKey.generate()


def key_bytes(key: PrivateKey, passphrase: bytes | None) -> bytes:
    """A private key as PKCS #8 in PEM, encrypted where there is a passphrase."""
    encryption = BestAvailableEncryption(passphrase) if passphrase else NoEncryption()
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)


def read_key(path: Path, passphrase: bytes | None) -> PrivateKey:
    """The private key in ``path``. Raises InputError when it is not there, others may read it, or the passphrase does not open it."""
    try:
        if path.stat().st_mode & 0o077:
            raise InputError("key", str(path), "must be readable by its owner only (chmod 600)")
        text = path.read_bytes()
        # A passphrase for a key that is not encrypted is no error: the key opens.
        key = load_pem_private_key(text, passphrase if b"ENCRYPTED" in text else None)
    except OSError as error:
        raise InputError("key", str(path), f"cannot be read: {error.strerror}") from None
    except TypeError:
        raise InputError("key", str(path), "is encrypted: its passphrase is needed") from None
    except ValueError:
        raise InputError("key", str(path), "is opened by another passphrase, or is no private key") from None
    if not isinstance(key, PrivateKey):
        raise InputError("key", str(path), "must be a private key for P-256 or ML-DSA-65")
    return key


def sign_certificate(template: Template, public_key: PublicKey, issuer: x509.Certificate | None, key: PrivateKey) -> x509.Certificate:
    """A certificate of ``public_key``, signed by ``key`` in the name of ``issuer``, or in its own name where there is none.

    Raises InputError when it would outlive its issuer.
    """
    now = datetime.now(UTC)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, template.name)])
    until = now + timedelta(days=template.days)
    if issuer is not None and until > issuer.not_valid_after_utc + timedelta(days=1):
        raise InputError("days", template.days, f"is longer than the authority lives: until {issuer.not_valid_after_utc:%Y-%m-%d}")
    is_authority = template.depth is not None
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject if issuer is None else issuer.subject)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_TOLERANCE)
        .not_valid_after(until)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False)
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=template.depth), critical=True)
        .add_extension(_key_usage(certificates=is_authority), critical=True)
    )
    if not is_authority:
        usages = [ExtendedKeyUsageOID.CLIENT_AUTH, *([ExtendedKeyUsageOID.SERVER_AUTH] if template.serving else [])]
        builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        builder = builder.add_extension(x509.SubjectAlternativeName(template.alternative_names), critical=False)
    return builder.sign(key, _hash(key))


def sign_revocations(
    issuer: x509.Certificate, key: PrivateKey, revoked: Sequence[tuple[int, datetime]], *, number: int, until: datetime
) -> x509.CertificateRevocationList:
    """The list of revoked serial numbers, with the moment of each, that stands ``until`` then (RFC 5280)."""
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer.subject)
        .last_update(datetime.now(UTC) - CLOCK_TOLERANCE)
        .next_update(until)
        .add_extension(x509.CRLNumber(number), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False)
    )
    for serial, moment in revoked:
        builder = builder.add_revoked_certificate(x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(moment).build())
    return builder.sign(key, _hash(key))


def put(path: Path, content: bytes, mode: int = 0o644) -> None:
    """Write a file that is there whole or not at all, also after a loss of power; it takes the place of an older one."""
    descriptor, name = tempfile.mkstemp(prefix=".partial-", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fchmod(descriptor, mode)
            os.fsync(descriptor)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _hash(key: PrivateKey) -> hashes.SHA256 | None:
    return hashes.SHA256() if isinstance(key, ec.EllipticCurvePrivateKey) else None


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
