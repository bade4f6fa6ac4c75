import stat
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from tiandi.errors import InputError
from tiandi.kms.pki import CertificateAuthority


def test_an_identity_stands_in_its_certificate(tmp_path: Path) -> None:
    credentials = CertificateAuthority(tmp_path).issue("sae", "alice")
    certificate = x509.load_pem_x509_certificate(credentials.certificate.read_bytes())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.UniformResourceIdentifier) == ["urn:tiandi:sae:alice"]
    assert names.get_values_for_type(x509.DNSName) == []
    authority = x509.load_pem_x509_certificate(credentials.authority.read_bytes())
    certificate.verify_directly_issued_by(authority)


def test_a_private_key_is_its_owners_alone(tmp_path: Path) -> None:
    credentials = CertificateAuthority(tmp_path).issue("kme", "kme-a")
    assert stat.S_IMODE(credentials.private_key.stat().st_mode) == 0o600


def test_the_authority_keeps_its_private_key_to_itself(tmp_path: Path) -> None:
    authority = CertificateAuthority(tmp_path)
    assert isinstance(authority._private_key, ec.EllipticCurvePrivateKey)
    assert all(b"PRIVATE" not in path.read_bytes() for path in tmp_path.iterdir())


@pytest.mark.parametrize("identity", ["", " ", "../escaped", "a/b", "a\0b", "北京", "-a", "a" * 64])
def test_an_identity_that_cannot_be_a_file_name_is_refused(tmp_path: Path, identity: str) -> None:
    with pytest.raises(InputError, match="identity"):
        CertificateAuthority(tmp_path / "pki").issue("sae", identity)
    assert [path.name for path in (tmp_path / "pki").iterdir()] == ["authority.crt"]


def test_an_sae_cannot_take_the_files_of_a_kme(tmp_path: Path) -> None:
    authority = CertificateAuthority(tmp_path)
    kme = authority.issue("kme", "same")
    before = kme.private_key.read_bytes()
    assert authority.issue("sae", "same").private_key != kme.private_key
    assert kme.private_key.read_bytes() == before
    with pytest.raises(FileExistsError):
        authority.issue("kme", "same")
