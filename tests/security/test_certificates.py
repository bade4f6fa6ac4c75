"""Who is let in at which door, over real TLS: certificates that are not good, and good ones at doors of others."""

from __future__ import annotations

import http.client
import ssl
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

from tests.security.fortress import PAIR, Fortress, answer, request
from tiandi.kms.relay import exchange
from tiandi.kms.tls import calling as transport
from tiandi.kms.tls import certificates, revocation
from tiandi.kms.tls.identities import identity_uri
from tiandi.kms.tls.pki import CertificateAuthority, Credentials

NEIGHBOURS_PATHS = [
    exchange.RELAY_PATH,
    exchange.CONFIRM_PATH,
    exchange.VOID_PATH,
    exchange.FAILED_PATH,
    exchange.COMPARE_PATH,
    exchange.HAND_OVER_PATH,
    exchange.KEM_PATH,
    exchange.STREAM_PATH,
]
OPERATORS_PATHS = ["/admin/v1/status", "/admin/v1/alarms", "/metrics", "/restconf/data/etsi-qkd-sdn-node:qkd_node"]
SAES_PATHS = [PAIR + "/status", PAIR + "/enc_keys", PAIR + "/dec_keys", "/key?remoteSystemID=b", "/capabilities", "/entropy"]


def is_let_in(fortress: Fortress, context: ssl.SSLContext) -> bool:
    try:
        return fortress.ask(context, PAIR + "/status")[0] == httpx.codes.OK
    except (OSError, http.client.HTTPException):
        return False


def trusting(fortress: Fortress) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(fortress.alice.authority))


def made_by_hand(
    fortress: Fortress, folder: Path, name: str, *, starts_h: float, ends_h: float, is_self_signed: bool = False
) -> ssl.SSLContext:
    """A certificate for alice with these dates [hours from now], signed by the authority or by itself."""
    key, now = certificates.generate_key("p256"), datetime.now(UTC)
    own = x509.load_pem_x509_certificate(fortress.alice.certificate.read_bytes())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "alice")])
    dates = (now + timedelta(hours=starts_h), now + timedelta(hours=ends_h))
    issuer = subject if is_self_signed else own.issuer
    builder = x509.CertificateBuilder(issuer, subject, key.public_key(), x509.random_serial_number(), *dates)
    builder = builder.add_extension(
        x509.SubjectAlternativeName([x509.UniformResourceIdentifier(identity_uri("sae", "alice"))]), critical=False
    )
    signer = key if is_self_signed else fortress.authority._keys["p256"]
    made = builder.sign(signer, certificates._hash(signer))
    certificates.put(folder / f"{name}.crt", made.public_bytes(certificates.Encoding.PEM))
    certificates.put(folder / f"{name}.key", certificates.key_bytes(key, None), 0o600)
    context = trusting(fortress)
    context.load_cert_chain(folder / f"{name}.crt", folder / f"{name}.key")
    return context


def test_a_certificate_by_hand_that_is_good_is_let_in(fortress: Fortress, tmp_path: Path) -> None:
    """What the refusals below would prove nothing without."""
    assert is_let_in(fortress, made_by_hand(fortress, tmp_path, "good", starts_h=-1, ends_h=1))


@pytest.mark.parametrize(("name", "starts_h", "ends_h"), [("expired", -2, -0.01), ("not yet valid", 0.1, 2)])
def test_dates_are_kept(fortress: Fortress, tmp_path: Path, name: str, starts_h: float, ends_h: float) -> None:
    assert not is_let_in(fortress, made_by_hand(fortress, tmp_path, name, starts_h=starts_h, ends_h=ends_h))


def test_a_self_signed_certificate_is_refused(fortress: Fortress, tmp_path: Path) -> None:
    assert not is_let_in(fortress, made_by_hand(fortress, tmp_path, "own", starts_h=-1, ends_h=1, is_self_signed=True))


def test_nobody_comes_in_without_a_certificate(fortress: Fortress) -> None:
    assert not is_let_in(fortress, trusting(fortress))


def test_another_authoritys_certificate_of_the_same_name_is_refused(fortress: Fortress, tmp_path: Path) -> None:
    forged = CertificateAuthority(tmp_path / "forged").issue("sae", "alice")
    context = trusting(fortress)
    context.load_cert_chain(forged.certificate, forged.private_key)
    assert not is_let_in(fortress, context)


def test_a_revoked_sae_is_refused_on_the_next_request_of_a_kept_connection(fortress: Fortress) -> None:
    fortress.host.directory.saes["traitor"] = fortress.host.directory.saes["alice"]
    traitor = fortress.issue("traitor")
    with fortress.connected(traitor) as peer:
        peer.sendall(request(PAIR + "/status"))
        assert answer(peer)[0] == 200
        fortress.authority.revoke("traitor")
        time.sleep(revocation.LOOK_EVERY_S)
        peer.sendall(request(PAIR + "/enc_keys"))
        assert answer(peer)[0] == 401
    with pytest.raises((OSError, http.client.HTTPException)):
        fortress.ask(traitor, PAIR + "/status")


def test_a_revoked_kme_is_refused_on_the_next_request_of_a_kept_connection(fortress: Fortress) -> None:
    fallen = fortress.authority.issue("kme", "kme-fallen")
    with transport.client(fallen, timeout_s=5, post_quantum_only=True) as client:

        def ask() -> int:
            return client.post(
                fortress.address("kme-0") + exchange.KEM_PATH,
                content=b"\x91\xc4\x00",
                headers={"Content-Type": "application/msgpack"},
                extensions={"sni_hostname": "kme-0"},
            ).status_code

        assert ask() == 200
        fortress.authority.revoke("kme-fallen")
        time.sleep(revocation.LOOK_EVERY_S)
        with pytest.raises((httpx.TransportError, AssertionError)):
            assert ask() == 200


@pytest.mark.parametrize("path", [*NEIGHBOURS_PATHS, *OPERATORS_PATHS])
def test_an_sae_opens_no_door_of_neighbours_or_operators(fortress: Fortress, path: str) -> None:
    body = b"\x90" if path in NEIGHBOURS_PATHS else None
    assert fortress.ask(fortress.alice, path, body, headers="Content-Type: application/msgpack\r\n" if body else "")[0] == 401


@pytest.mark.parametrize("path", [*SAES_PATHS, *OPERATORS_PATHS])
def test_a_kme_opens_no_door_of_saes_or_operators(fortress: Fortress, path: str) -> None:
    kme = fortress.credentials_of("kme-1")
    with transport.client(kme, timeout_s=5, post_quantum_only=True) as client:
        response = client.get(fortress.address("kme-0") + path, extensions={"sni_hostname": "kme-0"})
    assert response.status_code == 401


@pytest.mark.parametrize("path", [*SAES_PATHS, *NEIGHBOURS_PATHS])
def test_an_operator_opens_no_door_of_saes_or_neighbours(fortress: Fortress, path: str) -> None:
    body = b"\x90" if path in NEIGHBOURS_PATHS else None
    status, _ = fortress.ask(fortress.operator, path, body, headers="Content-Type: application/msgpack\r\n" if body else "")
    assert status == 401


@pytest.mark.parametrize("path", OPERATORS_PATHS)
def test_an_operator_opens_the_operators_door(fortress: Fortress, path: str) -> None:
    """What the refusals above would prove nothing without."""
    assert fortress.ask(fortress.operator, path)[0] == 200


def test_an_sae_that_is_named_like_a_kme_is_an_sae(fortress: Fortress) -> None:
    twin: Credentials = fortress.authority.issue("sae", "kme-7")
    assert fortress.ask(twin, exchange.VOID_PATH, b"\x90", headers="Content-Type: application/msgpack\r\n")[0] == 401
    assert fortress.ask(twin, PAIR + "/status")[0] == 401


def test_a_kme_without_post_quantum_tls_is_refused(fortress: Fortress) -> None:
    with pytest.raises((OSError, http.client.HTTPException)):
        fortress.ask(fortress.credentials_of("kme-1"), exchange.KEM_PATH, b"\x91\xc4\x00", headers="Content-Type: application/msgpack\r\n")
