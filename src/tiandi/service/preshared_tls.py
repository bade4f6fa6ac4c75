"""TLS 1.3 under an external preshared key (PSK) that serves one connection, over memory.

The handshake also agrees on X25519MLKEM768 (psk_dhe_ke; RFC 8446, 4.2.9 and 4.2.11): whoever wants the traffic has to break that and the
preshared key. The identity of the PSK is ``SAE_ID/key_ID``. There are no certificates: whoever has the key is the peer. Nothing is resumed
and no data is sent early, for that would live on an old key.

A key is in this process as immutable ``bytes``, as the key client decodes it: dropped after the handshake, but not overwritten.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any
from uuid import UUID

from OpenSSL import SSL

from tiandi.errors import InputError, NotAuthorised, StateError, TiandiError
from tiandi.units import BIT_PER_BYTE

KEY_SIZE_BIT = 256
CIPHERSUITE = b"TLS_CHACHA20_POLY1305_SHA256"
"""OpenSSL binds a PSK that it takes by identity to SHA-256; of the ciphersuites over that hash this one has a key of 256 bits."""
GROUP = b"X25519MLKEM768"
CHUNK_BYTE = 16_384
LONGEST_IDENTITY = 256

# pyOpenSSL has no method for preshared keys, but the library beneath it has the functions.
_lib, _ffi = SSL._lib, SSL._ffi  # type: ignore[attr-defined]
_CLIENT_CALLBACK = "unsigned int(SSL *, const char *, char *, unsigned int, unsigned char *, unsigned int)"
_SERVER_CALLBACK = "unsigned int(SSL *, const char *, unsigned char *, unsigned int)"

FindKey = Callable[[str, UUID], bytes]


class Secured:
    """One end of a connection, over memory: OpenSSL's state, which nothing else shares. `serving_end` and `calling_end` make it."""

    def __init__(self, context: SSL.Context, key: list[bytes], *, serving: bool) -> None:
        self.refusal = ""
        """Why there was no key, where there was none."""
        self._key = key
        self._tls = SSL.Connection(context, None)
        (self._tls.set_accept_state if serving else self._tls.set_connect_state)()

    def advance(self, data: bytes) -> bool:
        """Go on with the handshake by what the peer said; whether it is done. Waits for ``find_key``. Raises SSL.Error."""
        if data:
            self._tls.bio_write(data)
        try:
            self._tls.do_handshake()
        except SSL.WantReadError:
            return False
        except SSL.Error:
            self._key.clear()
            raise
        self._key.clear()
        said = self._tls.get_protocol_version_name(), self._tls.get_cipher_name(), self._tls.get_group_name()
        if said != ("TLSv1.3", CIPHERSUITE.decode(), GROUP.decode()):
            raise SSL.Error(f"agreed on {' '.join(map(str, said))}")
        return True

    def output(self) -> bytes:
        """What is to be sent to the peer now."""
        parts: list[bytes] = []
        with suppress(SSL.WantReadError):
            while True:
                parts.append(self._tls.bio_read(1 << 16))
        return b"".join(parts)

    def opened(self, data: bytes) -> tuple[bytes, bool]:
        """What records say, and whether the peer has said that it is done. Raises SSL.Error for a record that was changed."""
        parts: list[bytes] = []
        if data:
            self._tls.bio_write(data)
        try:
            while True:
                parts.append(self._tls.recv(CHUNK_BYTE))
        except SSL.WantReadError:
            return b"".join(parts), False
        except SSL.ZeroReturnError:
            return b"".join(parts), True

    def seal(self, data: bytes) -> None:
        """Put ``data`` into records of `output`; none at all says that no more will come."""
        if data:
            self._tls.sendall(data)
        else:
            self._tls.shutdown()


def serving_end(find_key: FindKey) -> Secured:
    """The end that is called. ``find_key`` gives the key that an SAE ID and a key ID name, or raises TiandiError."""
    context = _context()
    key: list[bytes] = []

    @_ffi.callback(_SERVER_CALLBACK)  # type: ignore[untyped-decorator]
    def find(_: Any, identity: Any, secret: Any, longest: int) -> int:
        try:
            # After a hello that has to be said again OpenSSL asks again; the key is fetched once.
            if not key:
                key.append(find_key(*_parts(_ffi.string(identity, LONGEST_IDENTITY))))
                _require_size(key[0])
            return _put(key[0], secret, longest)
        except TiandiError as error:
            end.refusal = str(error)
        except Exception as error:
            # Its words may quote a key, and what leaves a callback is printed.
            end.refusal = f"fault ({type(error).__name__})"
        return 0

    _lib.SSL_CTX_set_psk_server_callback(context._context, find)
    context.set_app_data(find)  # The callback lives as long as OpenSSL may call it.
    end = Secured(context, key, serving=True)
    return end


def calling_end(sae_id: str, key_id: UUID, key: bytes) -> Secured:
    """The end that calls, as the master SAE ``sae_id`` of a key that is for this connection alone. Raises InputError."""
    _require_size(key)
    name = f"{sae_id}/{key_id}".encode() + b"\0"
    if len(name) > LONGEST_IDENTITY or not name.isascii():
        raise InputError("SAE ID", sae_id, "must be ASCII and shorter")
    context, kept = _context(), [key]

    @_ffi.callback(_CLIENT_CALLBACK)  # type: ignore[untyped-decorator]
    def give(_: Any, __: Any, identity: Any, longest_name: int, secret: Any, longest: int) -> int:
        if not kept or len(name) > longest_name:
            return 0
        _ffi.memmove(identity, name, len(name))
        return _put(kept[0], secret, longest)

    # A server that has not the key may show a certificate instead. None is good enough, and OpenSSL would take any unless told.
    context.set_verify(SSL.VERIFY_PEER, lambda *_: False)
    _lib.SSL_CTX_set_psk_client_callback(context._context, give)
    context.set_app_data(give)
    return Secured(context, kept, serving=False)


def _put(key: bytes, secret: Any, longest: int) -> int:
    """Put ``key`` where OpenSSL wants it; how long it is, or 0 where there is no room."""
    if len(key) > longest:
        return 0
    _ffi.memmove(secret, key, len(key))
    return len(key)


def _require_size(key: bytes) -> None:
    if len(key) * BIT_PER_BYTE != KEY_SIZE_BIT:
        raise InputError("key", f"{len(key)} bytes", f"must be {KEY_SIZE_BIT} bits")


def _parts(identity: bytes) -> tuple[str, UUID]:
    """The SAE ID and the key ID. Raises NotAuthorised for any other text."""
    sae_id, _, key_id = identity.decode("ascii", "replace").rpartition("/")
    with suppress(ValueError):
        if sae_id and str(UUID(key_id)) == key_id:
            return sae_id, UUID(key_id)
    raise NotAuthorised("the identity of the preshared key is not SAE_ID/key_ID")


def _context() -> SSL.Context:
    """TLS 1.3 with one ciphersuite and one group, and nothing that outlives the connection."""
    context = SSL.Context(SSL.TLS_METHOD)
    context.set_min_proto_version(SSL.TLS1_3_VERSION)
    context.set_tls13_ciphersuites(CIPHERSUITE)
    if not _lib.SSL_CTX_set1_curves_list(context._context, GROUP):
        raise StateError("OpenSSL", SSL.SSLeay_version(SSL.SSLEAY_VERSION).decode(), f"must have {GROUP.decode()}: needs a newer one")
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    context.set_options(SSL.OP_NO_TICKET)
    return context
