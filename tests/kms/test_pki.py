"""The authority in a folder: what it issues, revokes and remembers."""

import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA65PublicKey

from tiandi.errors import InputError
from tiandi.kms.tls.pki import CertificateAuthority, credentials_in, read_issued


def load(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificates(path.read_bytes())[0]


def revoked(folder: Path) -> list[set[int]]:
    text = (folder / "authority.crl").read_bytes()
    end = b"-----END X509 CRL-----\n"
    return [{entry.serial_number for entry in x509.load_pem_x509_crl(part + end)} for part in text.split(end)[:-1]]


def test_an_identity_stands_in_its_certificate(tmp_path: Path) -> None:
    credentials = CertificateAuthority(tmp_path).issue("sae", "alice")
    certificate = load(credentials.certificate)
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.UniformResourceIdentifier) == ["urn:tiandi:sae:alice"]
    assert names.get_values_for_type(x509.DNSName) == []
    certificate.verify_directly_issued_by(load(credentials.authority))
    assert credentials.post_quantum is None


def test_a_kme_has_an_ml_dsa_certificate_beside_the_other(tmp_path: Path) -> None:
    credentials = CertificateAuthority(tmp_path).issue("kme", "kme-a", hosts=["10.0.0.1", "a.example"])
    assert credentials.post_quantum is not None
    certificate = load(credentials.post_quantum.certificate)
    assert isinstance(certificate.public_key(), MLDSA65PublicKey)
    certificate.verify_directly_issued_by(load(credentials.post_quantum.authority))
    for each in (certificate, load(credentials.certificate)):
        names = each.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert names.get_values_for_type(x509.DNSName) == ["kme-a", "a.example"]
        assert [str(address) for address in names.get_values_for_type(x509.IPAddress)] == ["10.0.0.1"]


def test_the_ml_dsa_root_is_certified_by_the_other(tmp_path: Path) -> None:
    credentials = CertificateAuthority(tmp_path).issue("kme", "kme-a").post_quantum
    assert credentials is not None
    own, cross = x509.load_pem_x509_certificates(credentials.certificate.read_bytes())
    own.verify_directly_issued_by(cross)
    cross.verify_directly_issued_by(load(tmp_path / "authority.crt"))


def test_private_keys_are_their_owners_alone(tmp_path: Path) -> None:
    CertificateAuthority(tmp_path).issue("kme", "kme-a")
    secret = [path for path in tmp_path.iterdir() if b"PRIVATE" in path.read_bytes()]
    assert len(secret) == 4
    assert {stat.S_IMODE(path.stat().st_mode) for path in secret} == {0o600}


def test_an_authority_is_found_again(tmp_path: Path) -> None:
    first = CertificateAuthority(tmp_path)
    alice = first.issue("sae", "alice")
    again = CertificateAuthority(tmp_path, "another name")
    assert load(again.certificate) == load(first.certificate)
    load(again.issue("sae", "bob").certificate).verify_directly_issued_by(load(first.certificate))
    assert [item.identity for item in read_issued(tmp_path)] == ["alice", "bob"]
    assert credentials_in(tmp_path, "sae", "alice") == alice
    with pytest.raises(InputError, match="has no certificate as kme"):
        credentials_in(tmp_path, "kme", "alice")


def test_an_unfinished_authority_is_begun_again(tmp_path: Path) -> None:
    CertificateAuthority(tmp_path)
    (tmp_path / "authority.crt").unlink()
    load(CertificateAuthority(tmp_path).issue("sae", "alice").certificate).verify_directly_issued_by(load(tmp_path / "authority.crt"))


def test_a_passphrase_locks_the_authority(tmp_path: Path) -> None:
    CertificateAuthority(tmp_path, passphrase=b"correct horse")
    assert CertificateAuthority.is_encrypted(tmp_path)
    assert all(b"ENCRYPTED" in path.read_bytes() for path in tmp_path.glob("authority*.key"))
    CertificateAuthority(tmp_path, passphrase=b"correct horse").issue("sae", "alice")
    with pytest.raises(InputError, match="another passphrase"):
        CertificateAuthority(tmp_path, passphrase=b"wrong")
    with pytest.raises(InputError, match="passphrase is needed"):
        CertificateAuthority(tmp_path)


def test_a_key_that_others_may_read_is_refused(tmp_path: Path) -> None:
    CertificateAuthority(tmp_path)
    (tmp_path / "authority.key").chmod(0o640)
    with pytest.raises(InputError, match="readable by its owner only"):
        CertificateAuthority(tmp_path)


@pytest.mark.parametrize("identity", ["", " ", "../escaped", "a/b", "a\0b", "北京", "-a", "a" * 65])
def test_a_name_that_is_no_identity_is_refused(tmp_path: Path, identity: str) -> None:
    authority = CertificateAuthority(tmp_path / "pki")
    before = sorted((tmp_path / "pki").iterdir())
    with pytest.raises(InputError, match="identity"):
        authority.issue("sae", identity)
    assert sorted((tmp_path / "pki").iterdir()) == before


def test_odd_names_have_files_of_their_own(tmp_path: Path) -> None:
    authority = CertificateAuthority(tmp_path)
    kme = authority.issue("kme", "x")
    names = ["x+ml-dsa-65", "urn:x", "urn%3Ax".replace("%", "~"), "a*b", "a" * 64]
    files = {authority.issue("sae", name).certificate for name in names} | {authority.issue("sae", "x").certificate, kme.certificate}
    assert len(files) == len(names) + 2
    assert {path.parent for path in files} == {tmp_path}


@pytest.mark.parametrize(("identity", "hosts"), [("a:b", []), ("a" * 64, []), ("kme", ["bad host"]), ("kme", ["*.example"]), ("kme", [""])])
def test_a_kme_is_called_by_host_names_only(tmp_path: Path, identity: str, hosts: list[str]) -> None:
    with pytest.raises(InputError, match="host name"):
        CertificateAuthority(tmp_path).issue("kme", identity, hosts=hosts)


def test_kmes_that_differ_by_case_alone_are_refused(tmp_path: Path) -> None:
    authority = CertificateAuthority(tmp_path)
    authority.issue("kme", "kme-a")
    with pytest.raises(InputError, match="only by its case"):
        authority.issue("kme", "KME-A")


def test_an_identity_is_issued_once_unless_it_is_to_be_replaced(tmp_path: Path) -> None:
    authority = CertificateAuthority(tmp_path)
    kme = authority.issue("kme", "same")
    before = kme.private_key.read_bytes()
    assert authority.issue("sae", "same").private_key != kme.private_key
    with pytest.raises(FileExistsError):
        authority.issue("kme", "same")
    assert kme.private_key.read_bytes() == before
    authority.issue("kme", "same", replacing=True)
    assert kme.private_key.read_bytes() != before


def test_days_are_kept_and_limited(tmp_path: Path) -> None:
    authority = CertificateAuthority(tmp_path)
    certificate = load(authority.issue("sae", "alice", days=3).certificate)
    assert certificate.not_valid_after_utc - datetime.now(UTC) == pytest.approx(timedelta(days=3), abs=timedelta(minutes=1))
    for days in (0, 3651):
        with pytest.raises(InputError, match="days"):
            authority.issue("sae", "bob", days=days)


def test_revoked_is_every_certificate_of_an_identity(tmp_path: Path) -> None:
    authority = CertificateAuthority(tmp_path)
    kme = authority.issue("kme", "kme-a")
    authority.issue("sae", "alice")
    assert revoked(tmp_path) == [set(), set()]
    assert len(authority.revoke("kme-a")) == 2
    assert kme.post_quantum is not None
    wanted = [{load(kme.certificate).serial_number}, {load(kme.post_quantum.certificate).serial_number}]
    assert revoked(tmp_path) == wanted
    CertificateAuthority(tmp_path).renew_revocations()
    assert revoked(tmp_path) == wanted
    assert [item.revoked is not None for item in read_issued(tmp_path)] == [True, True, False]


def test_one_serial_number_is_revoked(tmp_path: Path) -> None:
    authority = CertificateAuthority(tmp_path)
    authority.issue("sae", "alice")
    authority.issue("sae", "alice", replacing=True)
    first, second = read_issued(tmp_path)
    authority.revoke(first.serial.upper())
    assert revoked(tmp_path) == [{int(first.serial, 16)}, set()]
    authority.revoke("alice")
    assert revoked(tmp_path) == [{int(first.serial, 16), int(second.serial, 16)}, set()]


def test_who_is_to_be_revoked_must_be_clear(tmp_path: Path) -> None:
    authority = CertificateAuthority(tmp_path)
    authority.issue("sae", "same")
    authority.issue("operator", "same")
    with pytest.raises(InputError, match="urn:tiandi:operator:same or urn:tiandi:sae:same"):
        authority.revoke("same")
    with pytest.raises(InputError, match="no identity"):
        authority.revoke("nobody")
    assert revoked(tmp_path) == [set(), set()]
    assert [item.kind for item in authority.revoke("urn:tiandi:sae:same")] == ["sae"]


def test_a_folder_without_authority_is_no_authority(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no authority"):
        read_issued(tmp_path)
