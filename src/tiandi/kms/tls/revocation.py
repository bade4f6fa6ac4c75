"""Whether a certificate is still good: its dates and its authority's list of revocations, asked on every request."""

from __future__ import annotations

import logging
import time
from pathlib import Path

from cryptography import x509

from tiandi.errors import InputError
from tiandi.kms.tls.identities import ClientCertificate

LOOK_EVERY_S = 0.1
"""How long a change of the file may go unseen."""
GRACE_S = 3 * 86_400.0
"""How long a list still serves after its next update was due."""

_log = logging.getLogger(__name__)


class Revocations:
    """The lists of revocations in the PEM file ``lists``, signed by the certificates in ``authorities``; read again when the file changes.

    Every authority must have a list, and every certificate one of them as its direct issuer. Without ``lists`` only dates are looked at.
    While a list is missing, damaged, not its authority's or out of date, no certificate is good, `failure` says why, and so does the log,
    once. Raises InputError for files that hold no certificates.
    """

    def __init__(self, lists: Path | None, authorities: list[Path]) -> None:
        self.failure: str | None = None
        self._path = lists
        self._issuers = [issuer for path in authorities for issuer in _certificates(path)]
        self._revoked: dict[bytes, frozenset[int]] = {}
        self._due = float("inf")
        self._seen: tuple[int, int, int] | None = None
        self._look_at = 0.0
        self._look(time.monotonic())

    def refusal(self, certificate: ClientCertificate) -> str | None:
        """Why ``certificate`` is not good now; None when it is."""
        tick = time.monotonic()
        if tick >= self._look_at:
            self._look(tick)
        now = time.time()
        if not certificate.starts <= now < certificate.expires:
            return "the certificate has expired" if now >= certificate.expires else "the certificate is not valid yet"
        if self._path is None:
            return None
        if self.failure is not None:
            return "revocations are unknown"
        revoked = self._revoked.get(certificate.issuer)
        if revoked is None:
            return "nobody tells what its authority has revoked"
        return "the certificate was revoked" if certificate.serial in revoked else None

    def _look(self, tick: float) -> None:
        self._look_at = tick + LOOK_EVERY_S
        if self._path is None:
            return
        try:
            status = self._path.stat()
            seen = (status.st_mtime_ns, status.st_size, status.st_ino)
            if seen != self._seen:
                self._revoked, self._due = _read(self._path, self._issuers)
                self._seen = seen
            failure = None if time.time() < self._due + GRACE_S else "the list of revocations is out of date"
        except OSError as error:
            self._seen, failure = None, f"the list of revocations cannot be read: {error.strerror}"
        except ValueError as error:
            self._seen, failure = None, f"the list of revocations is not good: {error}"
        if failure != self.failure:
            self.failure = failure
            _log.log(logging.INFO if failure is None else logging.ERROR, "%s: %s", self._path, failure or "revocations are known again")


def _read(path: Path, issuers: list[x509.Certificate]) -> tuple[dict[bytes, frozenset[int]], float]:
    """Revoked serial numbers by issuer (DER of its name), and when the first list is due for its next update. Raises ValueError."""
    revoked: dict[bytes, frozenset[int]] = {}
    due, signers = [], set[int]()
    for text in path.read_bytes().split(_END)[:-1]:
        found = x509.load_pem_x509_crl(text + _END)
        named = [number for number, issuer in enumerate(issuers) if found.issuer == issuer.subject]
        signed_by = {number for number in named if _signed_by(found, issuers[number])}
        if not named:
            continue  # An authority that nobody here trusts.
        if not signed_by:
            raise ValueError(f"another has signed the list of {found.issuer.rfc4514_string()}")
        if found.next_update_utc is None:
            raise ValueError("it does not say when its next update is due")
        if any(extension.critical for extension in found.extensions):
            raise ValueError("it has a critical extension")
        name = found.issuer.public_bytes()
        revoked[name] = revoked.get(name, frozenset()) | {entry.serial_number for entry in found}
        due.append(found.next_update_utc.timestamp())
        signers |= signed_by
    for number, issuer in enumerate(issuers):
        if number not in signers:
            raise ValueError(f"there is none of {issuer.subject.rfc4514_string()}")
    return revoked, min(due)


_END = b"-----END X509 CRL-----"


def _signed_by(found: x509.CertificateRevocationList, issuer: x509.Certificate) -> bool:
    try:
        return found.is_signature_valid(issuer.public_key())  # type: ignore[arg-type] # Any other kind of key raises TypeError.
    except (TypeError, ValueError):
        return False


def _certificates(path: Path) -> list[x509.Certificate]:
    """The authorities in a PEM file. Raises InputError when there is none."""
    try:
        return x509.load_pem_x509_certificates(path.read_bytes())
    except (OSError, ValueError):
        raise InputError("authority", str(path), "must be a file of certificates (PEM)") from None
