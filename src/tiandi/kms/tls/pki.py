"""A small certificate authority in a folder: who is a KME, an SAE, an operator; and whose word is no longer good.

It has two roots. The P-256 root certifies everybody, for any TLS of today. The ML-DSA-65 root certifies KMEs once more, for peers that
verify post-quantum signatures; a cross certificate under the P-256 root lets those follow who know only that one.
"""

from __future__ import annotations

import fcntl
import ipaddress
import os
import re
import ssl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import quote

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from tiandi.errors import InputError
from tiandi.kms.tls.certificates import (
    ALGORITHMS,
    Algorithm,
    PrivateKey,
    Template,
    generate_key,
    key_bytes,
    put,
    read_key,
    sign_certificate,
    sign_revocations,
)
from tiandi.kms.tls.identities import KINDS, IdentityKind, identity_uri, require_identity
from tiandi.limits import require_within

DAYS, ROOT_DAYS = 365, 3650
REVOCATION_DAYS = 90
"""How long a list of revocations stands; any use of the authority renews one that is past half of it."""
HOST = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}(\.[A-Za-z0-9][A-Za-z0-9_-]{0,62})*")
CROSS = "authority.cross.crt"
HERE = ("localhost", "127.0.0.1")


@dataclass(frozen=True)
class Credentials:
    """Files with which an identity shows itself, the authority it trusts, and the list of whom it trusts no longer."""

    identity: str
    certificate: Path
    private_key: Path
    authority: Path
    revocations: Path | None = None
    post_quantum: Credentials | None = None
    """The same identity's ML-DSA-65 certificate, under its own root."""
    also_trusted: tuple[Path, ...] = ()
    """More files of authorities: the other root of ours, roots of other networks and makers."""

    def client_context(self) -> ssl.SSLContext:
        """TLS 1.2 or later by the standard library; the server must show a certificate of the authority under the name it is called by."""
        context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=str(self.authority))
        context.load_cert_chain(self.certificate, self.private_key)
        return context


class Issued(msgspec.Struct, frozen=True):
    """A line of the authority's index."""

    kind: IdentityKind
    identity: str
    algorithm: Algorithm
    serial: str
    """In hexadecimal."""
    expires: datetime
    revoked: datetime | None = None


class _Index(msgspec.Struct):
    renew: datetime
    revocation_number: int
    issued: list[Issued]


def credentials_in(folder: Path, kind: IdentityKind, identity: str) -> Credentials:
    """The files of an identity in ``folder``. Raises InputError when there are none."""
    require_identity(identity)
    there = [files for algorithm in ALGORITHMS if (files := _files(folder, kind, identity, algorithm)).certificate.exists()]
    if not there:
        raise InputError("identity", identity, f"has no certificate as {kind} in {folder}")
    roots = tuple(_root_file(folder, algorithm, "crt") for algorithm in ALGORITHMS)
    return replace(there[0], post_quantum=there[1] if len(there) > 1 else None, also_trusted=roots)


def read_issued(folder: Path) -> list[Issued]:
    """What the authority in ``folder`` has issued, oldest first. Raises InputError when there is no authority."""
    return _read_index(folder).issued


class CertificateAuthority:
    """The authority in ``folder``, made if there is none. ``passphrase`` opens its private keys, or encrypts new ones.

    Raises InputError when the passphrase is wrong or missing, when others may read the keys, or when the folder is damaged.
    """

    def __init__(self, folder: Path, name: str = "tiandi", *, passphrase: bytes | None = None) -> None:
        self._folder = folder
        self.certificate, self.revocations = _root_file(folder, "p256", "crt"), _revocations_file(folder)
        folder.mkdir(parents=True, exist_ok=True)
        with self._locked():
            if not self.exists(folder):
                self._create(name, passphrase)
            self._keys = {algorithm: read_key(_root_file(folder, algorithm, "key"), passphrase) for algorithm in ALGORITHMS}
            self._roots = {algorithm: _load(_root_file(folder, algorithm, "crt")) for algorithm in ALGORITHMS}
            self._cross = (folder / CROSS).read_bytes()
            if _read_index(folder).renew < datetime.now(UTC):
                self._write_revocations(_read_index(folder))

    @staticmethod
    def exists(folder: Path) -> bool:
        """Whether there is an authority in ``folder``."""
        return _root_file(folder, "p256", "crt").exists()

    @staticmethod
    def is_encrypted(folder: Path) -> bool:
        """Whether the private keys of the authority in ``folder`` ask for a passphrase."""
        return b"ENCRYPTED" in _root_file(folder, "p256", "key").read_bytes()

    def issue(
        self,
        kind: IdentityKind,
        identity: str,
        *,
        hosts: Sequence[str] = (),
        days: int = DAYS,
        algorithm: Algorithm | None = None,
        replacing: bool = False,
    ) -> Credentials:
        """A certificate and private key (readable by the owner only), valid for ``days``; for a KME two, P-256 and ML-DSA-65.

        A KME's serves and calls under its own name and at ``hosts`` (names or addresses; this machine's loopback when none is given);
        others only call. ``algorithm`` asks for one certificate of that kind. ``replacing`` puts new files in the place of those issued
        before, which stay valid until they are revoked. Raises InputError for what cannot stand in a certificate, FileExistsError for
        an identity issued before.
        """
        names = _alternative_names(kind, identity, hosts)
        require_within("days", days, 1, ROOT_DAYS)
        wanted: tuple[Algorithm, ...] = (algorithm,) if algorithm else ALGORITHMS if kind == "kme" else ("p256",)
        with self._locked():
            self._refuse_twin(kind, identity)
            taken = [file for each in wanted if (file := _files(self._folder, kind, identity, each).certificate).exists()]
            if taken and not replacing:
                raise FileExistsError(f"{taken[0]} was issued before")
            template = Template(identity, names, days, serving=kind == "kme")
            for each in wanted:
                self._issue_one(kind, each, template)
        return credentials_in(self._folder, kind, identity)

    def revoke(self, which: str) -> list[Issued]:
        """Revoke by serial number, by identity, or by its full name (urn:tiandi:sae:alice); gives what is revoked by that.

        On return the signed list is on disk. Raises InputError when nothing matches, or when an identity is of several kinds.
        """
        with self._locked():
            index = _read_index(self._folder)
            found = [item for item in index.issued if which in (item.identity, identity_uri(item.kind, item.identity))]
            found = found or [item for item in index.issued if item.serial == which.lower()]
            if not found:
                raise InputError("revoke", which, "is no identity and no serial number that this authority issued")
            if len({item.kind for item in found}) > 1:
                raise InputError("revoke", which, f"is of several kinds; write {' or '.join(_full_names(found))}")
            now = datetime.now(UTC)
            gone = {item.serial: msgspec.structs.replace(item, revoked=item.revoked or now) for item in found}
            index.issued = [gone.get(item.serial, item) for item in index.issued]
            self._write_revocations(index)
        return list(gone.values())

    def renew_revocations(self) -> None:
        """Sign the list of revocations anew, for another `REVOCATION_DAYS`."""
        with self._locked():
            self._write_revocations(_read_index(self._folder))

    def _create(self, name: str, passphrase: bytes | None) -> None:
        """Both roots, the cross certificate, an empty index and list; the P-256 root last, for it says that there is an authority."""
        keys: dict[Algorithm, PrivateKey] = {algorithm: generate_key(algorithm) for algorithm in ALGORITHMS}
        old, new = (Template(f"{name} authority", (), ROOT_DAYS, depth=1), Template(f"{name} ML-DSA-65 authority", (), ROOT_DAYS, depth=0))
        for algorithm, key in keys.items():
            put(_root_file(self._folder, algorithm, "key"), key_bytes(key, passphrase), 0o600)
        root = sign_certificate(old, keys["p256"].public_key(), None, keys["p256"])
        post_quantum = sign_certificate(new, keys["ml-dsa-65"].public_key(), None, keys["ml-dsa-65"])
        cross = sign_certificate(new, keys["ml-dsa-65"].public_key(), root, keys["p256"])
        self._keys, self._roots = keys, {"p256": root, "ml-dsa-65": post_quantum}
        put(self._folder / CROSS, cross.public_bytes(Encoding.PEM))
        put(_root_file(self._folder, "ml-dsa-65", "crt"), post_quantum.public_bytes(Encoding.PEM))
        self._write_revocations(_Index(datetime.now(UTC), 0, []))
        put(self.certificate, root.public_bytes(Encoding.PEM))

    def _issue_one(self, kind: IdentityKind, algorithm: Algorithm, template: Template) -> None:
        """The index knows of a certificate before anybody can have it; the certificate comes last."""
        files = _files(self._folder, kind, template.name, algorithm)
        key = generate_key(algorithm)
        certificate = sign_certificate(template, key.public_key(), self._roots[algorithm], self._keys[algorithm])
        index = _read_index(self._folder)
        serial = f"{certificate.serial_number:x}"
        index.issued.append(Issued(kind, template.name, algorithm, serial, certificate.not_valid_after_utc))
        put(_index_file(self._folder), msgspec.json.encode(index))
        put(files.private_key, key_bytes(key, None), 0o600)
        put(files.certificate, certificate.public_bytes(Encoding.PEM) + (self._cross if algorithm == "ml-dsa-65" else b""))

    def _write_revocations(self, index: _Index) -> None:
        """The index first: what it says is revoked will be in every later list, whatever happens now."""
        now = datetime.now(UTC)
        until = now + timedelta(days=REVOCATION_DAYS)
        index.renew = now + timedelta(days=REVOCATION_DAYS / 2)
        index.revocation_number += 1
        put(_index_file(self._folder), msgspec.json.encode(index))
        content = b""
        for algorithm, root in self._roots.items():
            own = [item for item in index.issued if item.algorithm == algorithm and item.expires > now - timedelta(days=1)]
            revoked = [(int(item.serial, 16), item.revoked) for item in own if item.revoked]
            signed = sign_revocations(root, self._keys[algorithm], revoked, number=index.revocation_number, until=until)
            content += signed.public_bytes(Encoding.PEM)
        put(self.revocations, content)

    def _refuse_twin(self, kind: IdentityKind, identity: str) -> None:
        """TLS does not tell upper from lower case in a server's name."""
        for item in _read_index(self._folder).issued:
            if kind == item.kind == "kme" and identity != item.identity and identity.lower() == item.identity.lower():
                raise InputError("identity", identity, f"differs from the KME {item.identity} only by its case")

    @contextmanager
    def _locked(self) -> Iterator[None]:
        descriptor = os.open(self._folder, os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


def _alternative_names(kind: IdentityKind, identity: str, hosts: Sequence[str]) -> tuple[x509.GeneralName, ...]:
    require_identity(identity)
    if kind not in KINDS:
        raise InputError("kind", kind, f"must be one of {', '.join(KINDS)}")
    names: list[x509.GeneralName] = [x509.UniformResourceIdentifier(identity_uri(kind, identity))]
    if kind != "kme":
        if hosts:
            raise InputError("host", hosts[0], f"is for a KME; an {kind.upper()} serves nobody")
        return tuple(names)
    if not HOST.fullmatch(identity):
        raise InputError("identity", identity, "must be a host name (letters, digits, '-', '_' and '.'): a KME is called by it")
    for host in (identity, *(hosts or HERE)):
        try:
            names.append(x509.IPAddress(ipaddress.ip_address(host)))
        except ValueError:
            if not HOST.fullmatch(host):
                raise InputError("host", host, "must be a host name or an address") from None
            names.append(x509.DNSName(host))
    return tuple(names)


def _files(folder: Path, kind: IdentityKind, identity: str, algorithm: Algorithm) -> Credentials:
    stem = f"{kind}.{quote(identity, safe='')}" + ("" if algorithm == "p256" else f"+{algorithm}")
    files = folder / f"{stem}.crt", folder / f"{stem}.key", _root_file(folder, algorithm, "crt")
    return Credentials(identity, *files, _revocations_file(folder))


def _root_file(folder: Path, algorithm: Algorithm, kind: str) -> Path:
    return folder / (f"authority.{kind}" if algorithm == "p256" else f"authority+{algorithm}.{kind}")


def _revocations_file(folder: Path) -> Path:
    return folder / "authority.crl"


def _index_file(folder: Path) -> Path:
    return folder / "issued.json"


def _read_index(folder: Path) -> _Index:
    try:
        return msgspec.json.decode(_index_file(folder).read_bytes(), type=_Index)
    except FileNotFoundError:
        raise InputError("folder", str(folder), "holds no authority; make one with 'tiandi pki init'") from None
    except (OSError, msgspec.DecodeError) as error:
        raise InputError("folder", str(folder), f"has an index that cannot be read: {error}") from None


def _load(path: Path) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(path.read_bytes())
    except (OSError, ValueError):
        raise InputError("folder", str(path), "must be the certificate of the authority") from None


def _full_names(found: Sequence[Issued]) -> list[str]:
    return sorted({identity_uri(item.kind, item.identity) for item in found})
