"""Who a certificate speaks for: our names, other makers' names, and names that nobody may have."""

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from tiandi.errors import InputError, NotAuthorised
from tiandi.kms.tls.identities import SCOPE_KEY, IdentityRule, caller_identity, require_identity

KEY = ec.generate_private_key(ec.SECP256R1())


def certificate(common_names: list[str], names: list[str]) -> x509.Certificate:
    now = datetime.now(UTC)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name) for name in common_names])
    builder = x509.CertificateBuilder(subject, subject, KEY.public_key(), 7, now, now + timedelta(days=1))
    if names:
        builder = builder.add_extension(
            x509.SubjectAlternativeName([x509.UniformResourceIdentifier(name) for name in names]), critical=False
        )
    return builder.sign(KEY, hashes.SHA256())


@pytest.mark.parametrize(
    ("common_names", "names", "identities"),
    [
        (["other"], ["urn:tiandi:sae:alice"], (("sae", "alice"),)),
        ([], ["urn:tiandi:kme:a", "urn:tiandi:sae:b"], (("kme", "a"), ("sae", "b"))),
        (["other"], ["urn:tiandi:queen:alice"], ()),
        (["other"], ["urn:tiandi:sae:a/b"], ()),
        (["other"], ["urn:tiandi:sae:"], ()),
        (["other"], ["urn:maker:sae:1"], (("sae", "urn:maker:sae:1"),)),
        (["other"], ["https://maker/sae"], (("sae", "other"),)),
        (["other"], ["urn:maker:1", "urn:maker:2"], ()),
        (["other"], [], (("sae", "other"),)),
        (["one", "two"], [], ()),
        (["two words"], [], ()),
        ([], [], ()),
    ],
)
def test_names_are_read_in_their_order(common_names: list[str], names: list[str], identities: tuple[tuple[str, str], ...]) -> None:
    assert IdentityRule().read(certificate(common_names, names)).identities == identities


def test_where_to_look_is_configured() -> None:
    shown = certificate(["other"], ["urn:maker:1"])
    assert IdentityRule(("common-name", "uri")).read(shown).identities == (("sae", "other"),)
    assert IdentityRule(()).read(shown).identities == ()
    assert IdentityRule(("common-name",), {"other": "kme"}).read(shown).identities == (("kme", "other"),)
    with pytest.raises(InputError, match="identity_from"):
        IdentityRule(("serial",))  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"roles\.other"):
        IdentityRule(roles={"other": "queen"})  # type: ignore[dict-item]


def test_a_caller_is_who_the_certificate_says() -> None:
    shown = IdentityRule().read(certificate([], ["urn:tiandi:kme:a", "urn:tiandi:sae:b", "urn:tiandi:sae:c"]))
    scope = {"extensions": {SCOPE_KEY: shown}}
    assert caller_identity(scope, "kme") == "a"
    for kind in ("operator", "sae"):
        with pytest.raises(NotAuthorised, match=kind.upper()):
            caller_identity(scope, kind)  # type: ignore[arg-type]
    for empty in ({}, {"extensions": {}}, {"extensions": {SCOPE_KEY: {"names": ["urn:tiandi:kme:a"]}}}):
        with pytest.raises(NotAuthorised):
            caller_identity(empty, "kme")


def test_marks_of_a_certificate_are_its_own() -> None:
    shown = certificate(["x"], [])
    read = IdentityRule().read(shown)
    assert (read.serial, read.fingerprint, read.expires - read.starts) == (7, shown.fingerprint(hashes.SHA256()).hex(), 86_400)


@pytest.mark.parametrize("identity", ["a", "A1-._~", "a" * 64, "urn:x:y", "user@host", "0"])
def test_what_a_uri_can_carry_is_an_identity(identity: str) -> None:
    require_identity(identity)


@pytest.mark.parametrize(
    "identity", ["", " ", "..", ".", "-a", "a/b", "a\0b", "a%2Fb", "a b", "北京", "a\n", "a?b", "a#b", 'a"b', "a" * 65]
)
def test_what_a_uri_cannot_carry_is_refused(identity: str) -> None:
    with pytest.raises(InputError, match="sae = "):
        require_identity(identity, "sae")


@given(st.text(max_size=70))
def test_every_identity_survives_its_certificate(name: str) -> None:
    try:
        require_identity(name)
    except InputError:
        return
    assert IdentityRule().read(certificate([], [f"urn:tiandi:sae:{name}"])).identities == (("sae", name),)
