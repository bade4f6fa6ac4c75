"""OpenSSL contexts of both ends of a connection: which versions, groups, signatures and certificates are taken.

pyOpenSSL over cryptography's own OpenSSL, because the standard library's cannot do X25519MLKEM768 everywhere. Groups and signature
algorithms are set by its private bindings; `ServerTls` tries everything out when it is made.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from cryptography import x509
from OpenSSL import SSL
from OpenSSL._util import ffi as _ffi
from OpenSSL._util import lib as _lib

from tiandi.errors import InputError, NotAuthorised, StateError
from tiandi.kms.tls.identities import ClientCertificate, IdentityRule
from tiandi.kms.tls.pki import HOST, Credentials
from tiandi.kms.tls.revocation import Revocations

POST_QUANTUM_GROUP = "X25519MLKEM768"
GROUPS = f"{POST_QUANTUM_GROUP}:X25519:P-256"
CIPHERS = b"ECDHE+AESGCM:ECDHE+CHACHA20"
"""Of TLS 1.2; those of TLS 1.3 are all sound."""
SIGNATURES = "mldsa65:ECDSA+SHA256:ECDSA+SHA384:ed25519:RSA-PSS+SHA256:RSA-PSS+SHA384:RSA+SHA256:RSA+SHA384"
"""In the order of preference: whoever can verify ML-DSA gets it."""
READ_BYTE = 65_536


class ServerTls:
    """How a KME is served: its certificates, whom it trusts, and how identities are read from certificates of other makers.

    Raises InputError for files that do not belong together, StateError when this OpenSSL cannot do what is promised.
    """

    def __init__(self, credentials: Credentials, *, rule: IdentityRule | None = None) -> None:
        self.context = _context(credentials, groups=GROUPS)
        self.context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT)
        self.context.set_options(SSL.OP_NO_TICKET | SSL.OP_NO_RENEGOTIATION | SSL.OP_CIPHER_SERVER_PREFERENCE)
        self.context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
        self.revocations = Revocations(credentials.revocations, _authorities(credentials))
        self._rule = rule or IdentityRule()
        _try_out(self.context, credentials)

    def connection(self) -> SSL.Connection:
        """The serving end of a new connection, over memory."""
        connection = SSL.Connection(self.context, None)
        connection.set_accept_state()
        return connection

    def admit(self, connection: SSL.Connection) -> ClientCertificate:
        """Who is at the other end, after the handshake. Raises NotAuthorised for a certificate that is not good, or a KME without
        TLS 1.3 and X25519MLKEM768.
        """
        certificate = _admit(connection, self._rule, self.revocations)
        if certificate.is_of("kme"):
            _require_post_quantum(connection)
        return certificate


class ClientTls:
    """How a KME or an SAE calls: its certificate, whom it trusts, and what is demanded of the server.

    ``post_quantum_only`` allows TLS 1.3 with X25519MLKEM768 and nothing else; KMEs call each other so.
    """

    def __init__(self, credentials: Credentials, *, post_quantum_only: bool) -> None:
        self.context = _context(credentials, groups=POST_QUANTUM_GROUP if post_quantum_only else GROUPS)
        if post_quantum_only:
            self.context.set_min_proto_version(SSL.TLS1_3_VERSION)
        self.context.set_verify(SSL.VERIFY_PEER)
        self.context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
        self.context.set_options(SSL.OP_NO_TICKET)
        self.revocations = Revocations(credentials.revocations, _authorities(credentials))
        self._post_quantum_only = post_quantum_only
        self._rule = IdentityRule()

    def connection(self, server_name: str) -> SSL.Connection:
        """The calling end of a new connection, over memory; the handshake fails unless the certificate is ``server_name``'s."""
        connection = SSL.Connection(self.context, None)
        _expect(connection, server_name)
        connection.set_connect_state()
        return connection

    def admit(self, connection: SSL.Connection) -> ClientCertificate:
        """Who has answered, after the handshake. Raises NotAuthorised for a certificate or a connection that is not good."""
        if self._post_quantum_only:
            _require_post_quantum(connection)
        return _admit(connection, self._rule, self.revocations)


def pending_output(connection: SSL.Connection) -> bytes:
    """What a connection over memory has to say to its peer now."""
    parts: list[bytes] = []
    with suppress(SSL.WantReadError):
        while not parts or len(parts[-1]) == READ_BYTE:
            parts.append(connection.bio_read(READ_BYTE))
    return b"".join(parts)


def reason_of(error: SSL.Error, connection: SSL.Connection | None = None) -> str:
    """An error of OpenSSL in a few words, with what is amiss in the peer's certificate."""
    queue = error.args[0] if error.args and isinstance(error.args[0], list) else []
    words = "; ".join(str(entry[-1]) for entry in queue) or str(error) or type(error).__name__
    verdict = _lib.X509_V_OK if connection is None else _lib.SSL_get_verify_result(connection._ssl)
    if verdict == _lib.X509_V_OK:
        return words
    return f"{words}: {_ffi.string(_lib.X509_verify_cert_error_string(verdict)).decode()}"


def _admit(connection: SSL.Connection, rule: IdentityRule, revocations: Revocations) -> ClientCertificate:
    shown = connection.get_peer_certificate(as_cryptography=True)
    if shown is None:
        raise NotAuthorised("no certificate was shown")
    certificate = rule.read(shown)
    if refusal := revocations.refusal(certificate):
        raise NotAuthorised(refusal)
    return certificate


def _require_post_quantum(connection: SSL.Connection) -> None:
    version, group = connection.get_protocol_version_name(), connection.get_group_name()
    if (version, group) != ("TLSv1.3", POST_QUANTUM_GROUP):
        raise NotAuthorised(f"KMEs speak TLSv1.3 with {POST_QUANTUM_GROUP}, not {version} with {group}")


def _all_of(credentials: Credentials) -> Iterator[Credentials]:
    yield credentials
    if credentials.post_quantum is not None:
        yield credentials.post_quantum


def _context(credentials: Credentials, *, groups: str) -> SSL.Context:
    """OpenSSL keeps a certificate for each kind of key and shows the one that the peer's signature algorithms ask for."""
    context = SSL.Context(SSL.TLS_METHOD)
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
    context.set_cipher_list(CIPHERS)
    context.set_mode(SSL.MODE_RELEASE_BUFFERS)
    _set(_lib.SSL_CTX_set1_curves_list(context._context, groups.encode()), groups)
    _set(_lib.SSL_CTX_set1_sigalgs_list(context._context, SIGNATURES.encode()), SIGNATURES)
    for files in _all_of(credentials):
        try:
            context.use_certificate_chain_file(str(files.certificate))
            context.use_privatekey_file(str(files.private_key))
            context.check_privatekey()
        except SSL.Error as error:
            named = f"{files.certificate}, {files.private_key}"
            raise InputError("credentials", named, f"must be PEM files that belong together ({reason_of(error)})") from None
    for authority in _authorities(credentials):
        try:
            context.load_verify_locations(str(authority))
        except SSL.Error as error:
            raise InputError("authority", str(authority), f"must be a file of certificates (PEM) ({reason_of(error)})") from None
    return context


def _authorities(credentials: Credentials) -> list[Path]:
    return sorted({files.authority for files in _all_of(credentials)} | set(credentials.also_trusted))


def _expect(connection: SSL.Connection, server_name: str) -> None:
    """Have OpenSSL check the server's name, or address, itself. Raises InputError for one that cannot be checked."""
    parameters = _lib.SSL_get0_param(connection._ssl)
    try:
        address = ipaddress.ip_address(server_name).packed
        done = _lib.X509_VERIFY_PARAM_set1_ip(parameters, address, len(address))
    except ValueError:
        if not HOST.fullmatch(server_name):
            raise InputError("server_name", server_name, "must be a host name or an address") from None
        name = server_name.encode()
        connection.set_tlsext_host_name(name)
        _lib.X509_VERIFY_PARAM_set_hostflags(parameters, _lib.X509_CHECK_FLAG_NO_WILDCARDS | _lib.X509_CHECK_FLAG_NEVER_CHECK_SUBJECT)
        done = _lib.X509_VERIFY_PARAM_set1_host(parameters, name, len(name))
    _set(done, server_name)


def _set(done: int, what: str) -> None:
    if not done:
        raise StateError("tls", what, "is not known to this OpenSSL; install the pinned pyopenssl and cryptography")


def _try_out(server: SSL.Context, credentials: Credentials) -> None:
    """Shake hands in memory as peers will, with ML-DSA where there is such a certificate and without. Raises StateError."""
    trials = [(SIGNATURES, credentials)]
    if credentials.post_quantum is not None:
        trials = [("mldsa65:ECDSA+SHA256", credentials.post_quantum), ("ECDSA+SHA256:RSA-PSS+SHA256:ed25519", credentials)]
    for signatures, files in trials:
        context = SSL.Context(SSL.TLS_METHOD)
        _set(_lib.SSL_CTX_set1_sigalgs_list(context._context, signatures.encode()), signatures)
        _set(_lib.SSL_CTX_set1_curves_list(context._context, POST_QUANTUM_GROUP.encode()), POST_QUANTUM_GROUP)
        serving, calling = SSL.Connection(server, None), SSL.Connection(context, None)
        serving.set_accept_state()
        serving.set_verify(SSL.VERIFY_NONE)
        calling.set_connect_state()
        try:
            _shake_hands(calling, serving)
        except SSL.Error as error:
            raise StateError("tls", str(files.certificate), f"fails when it is tried out ({reason_of(error, calling)})") from None
        shown = calling.get_peer_certificate(as_cryptography=True)
        own = x509.load_pem_x509_certificate(files.certificate.read_bytes())
        if shown != own or calling.get_group_name() != POST_QUANTUM_GROUP:
            raise StateError("tls", str(files.certificate), "is not what this OpenSSL shows to those who can verify it")


def _shake_hands(calling: SSL.Connection, serving: SSL.Connection) -> None:
    ends = [(calling, serving), (serving, calling)]
    waiting = True
    while waiting:
        waiting = False
        for end, other in ends:
            try:
                end.do_handshake()
            except SSL.WantReadError:
                waiting = True
            if output := pending_output(end):
                other.bio_write(output)
