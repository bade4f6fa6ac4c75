"""The master key, under which the data keys of a store are wrapped: from a file, the environment, a command or a PKCS#11 token.

A master key of the first three kinds lives in this process's memory; one on a token never leaves it, and the token wraps and unwraps.
CPython cannot wipe a key that it has held: strings and bytes are immutable, and OpenSSL's key schedules last as long as the process
uses them. Whoever needs the master key out of reach of a memory dump puts it on a token, and switches core dumps off in either case.
"""

from __future__ import annotations

import base64
import os
import re
import shlex
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from threading import Lock
from typing import Any, Protocol
from urllib.parse import unquote

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from tiandi.errors import InputError, StateError
from tiandi.random import secret_bytes

MASTER_KEY_BYTE = 32
NONCE_BYTE = 12
TAG_BIT = 128
COMMAND_TIMEOUT_S = 10.0
LARGEST_SECRET_FILE_BYTE = 4096

_FIELD = "master key"
_KINDS = "must be file:PATH, environment:NAME, command:PROGRAM ARGUMENTS or pkcs11:ATTRIBUTES (RFC 7512)"
_FORMAT = "must be 32 bytes, written as 64 hexadecimal digits or in base64"
_REFUSED = "is not under this master key: it was altered, moved, or wrapped under another one"
_TOKEN_ATTRIBUTES = ("token", "object", "module-path", "pin-source")
_token_lock = Lock()  # A login counts for all sessions of a process with a token, so that one session at a time is open.


class MasterKey(Protocol):
    """What wraps data keys. ``name`` is public and tells one master key from another."""

    @property
    def name(self) -> str: ...

    def wrap(self, data_key: bytes, context: bytes) -> bytes:
        """``data_key`` encrypted and bound to ``context``. Raises StateError when a token fails."""
        ...

    def unwrap(self, wrapped: bytes, context: bytes) -> bytes:
        """What `wrap` was given. Raises StateError when altered, moved or under another master key, or when a token fails."""
        ...


def open_master_key(setting: str) -> MasterKey:
    """The master key that ``setting`` names; blocks while a file, a command or a token answers.

    ``file:PATH`` (32 bytes, its owner's alone), ``environment:NAME`` or ``command:PROGRAM ARGUMENTS`` (its output within 10 s, no shell;
    both 64 hexadecimal digits or base64), or ``pkcs11:token=T;object=O?module-path=LIBRARY&pin-source=file:PATH`` (RFC 7512; an AES-256
    key that cannot be extracted, whose token offers CKM_AES_GCM with a nonce given by the caller; the PIN's file is its owner's alone).
    Raises InputError for a setting or a key of another form, StateError when there is no key to be had.
    """
    kind, _, rest = setting.partition(":")
    if kind == "file":
        return _LocalKey(_of_length(read_secret(Path(rest)), rest))
    if kind == "environment":
        return _LocalKey(_from_environment(rest))
    if kind == "command":
        return _LocalKey(_from_command(rest))
    if kind == "pkcs11":
        return _TokenKey(_token_attributes(rest))
    raise InputError(_FIELD, "(not shown)", _KINDS)  # Somebody may have given the key itself.


def create_master_key_file(path: Path) -> None:
    """Write a new random master key for ``file:PATH``. Raises what `write_secret` raises."""
    write_secret(path, secret_bytes(MASTER_KEY_BYTE))


def write_secret(path: Path, secret: bytes) -> None:
    """Write a new file that only its owner can read, whole or absent, safely on disk. Raises FileExistsError when it is there."""
    descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(secret)
            file.flush()
            os.fsync(descriptor)
        os.link(temporary, path)  # Unlike a rename, a link never takes the place of a file.
    finally:
        os.unlink(temporary)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def read_secret(path: Path) -> bytes:
    """A small secret file. Raises StateError when it cannot be read, is no plain file, or anybody but its owner may read or write it."""
    try:
        # A pipe without a writer would hold the process up for ever.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except (OSError, ValueError) as error:
        raise StateError("secret file", str(path), f"cannot be read: {getattr(error, 'strerror', error)}") from None
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_size > LARGEST_SECRET_FILE_BYTE:
            raise StateError("secret file", str(path), f"must be a plain file of at most {LARGEST_SECRET_FILE_BYTE} bytes")
        if status.st_mode & (stat.S_IRWXG | stat.S_IRWXO) or status.st_uid != os.geteuid():
            raise StateError("secret file", str(path), "must belong to this process's user and be open to nobody else (chmod 600)")
        return os.read(descriptor, LARGEST_SECRET_FILE_BYTE)
    finally:
        os.close(descriptor)


def _of_length(key: bytes, source: str) -> bytes:
    if len(key) != MASTER_KEY_BYTE:
        raise InputError(_FIELD, source, f"must hold {MASTER_KEY_BYTE} bytes, holds {len(key)}")
    return key


def _from_text(text: str | bytes, source: str) -> bytes:
    """32 bytes of hexadecimal or base64 text. What is wrong with it is not said, nor shown."""
    key = b""
    try:
        stripped = text.strip() if isinstance(text, str) else text.decode("ascii").strip()
        key = bytes.fromhex(stripped) if re.fullmatch(r"[0-9A-Fa-f]{64}", stripped) else base64.b64decode(stripped, validate=True)
    except ValueError:
        pass  # Its message or its cause could show part of the key.
    if len(key) != MASTER_KEY_BYTE:
        raise InputError(_FIELD, source, _FORMAT)
    return key


def _from_environment(name: str) -> bytes:
    text = os.environ.get(name)
    if text is None:
        raise StateError(_FIELD, f"environment:{name}", "this variable is not set")
    return _from_text(text, f"environment:{name}")


def _from_command(command: str) -> bytes:
    try:
        arguments = shlex.split(command)
    except ValueError:
        arguments = []
    if not arguments:
        raise InputError(_FIELD, "command:", "must name a program and its arguments, quoted as for a shell")
    source, problem = f"command:{arguments[0]}", ""
    try:
        done = subprocess.run(arguments, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, timeout=COMMAND_TIMEOUT_S, check=False)  # noqa: S603 - the operator's own program.
    except subprocess.TimeoutExpired:
        problem = f"gave no answer within {COMMAND_TIMEOUT_S:g} s"
    except (OSError, ValueError) as error:
        problem = f"cannot be run: {getattr(error, 'strerror', error)}"
    if problem:  # Outside of the handler, whose error holds what the program has written.
        raise StateError(_FIELD, source, problem)
    if done.returncode:
        raise StateError(_FIELD, source, f"failed with status {done.returncode}")
    return _from_text(done.stdout, source)


class _LocalKey:
    """A master key in memory: AES-256-GCM, wrapped = nonce | ciphertext | tag. Its name follows from the key, wherever that was read."""

    def __init__(self, key: bytes) -> None:
        self.name = "aes256:" + _derived(key, b"tiandi master key: name", 8).hex()
        self._cipher = AESGCM(_derived(key, b"tiandi master key: wrapping", MASTER_KEY_BYTE))

    def wrap(self, data_key: bytes, context: bytes) -> bytes:
        nonce = secret_bytes(NONCE_BYTE)
        return nonce + self._cipher.encrypt(nonce, data_key, context)

    def unwrap(self, wrapped: bytes, context: bytes) -> bytes:
        try:
            return self._cipher.decrypt(wrapped[:NONCE_BYTE], wrapped[NONCE_BYTE:], context)
        except (InvalidTag, ValueError):
            raise StateError("data key", self.name, _REFUSED) from None


def _derived(key: bytes, purpose: bytes, length_byte: int) -> bytes:
    return HKDF(hashes.SHA256(), length_byte, salt=None, info=purpose).derive(key)


def _token_attributes(uri: str) -> dict[str, str]:
    """The attributes of an RFC 7512 URI after ``pkcs11:``. None is skipped: each narrows down which key is meant."""
    path, _, query = uri.partition("?")
    attributes: dict[str, str] = {}
    for part in [*path.split(";"), *(query.split("&") if query else [])]:
        name, _, value = part.partition("=")
        if name == "pin-value":
            raise InputError(_FIELD, "pkcs11:(not shown)", "a PIN does not belong into a setting: give pin-source=file:PATH")
        if name not in _TOKEN_ATTRIBUTES or name in attributes or not value:
            raise InputError(_FIELD, f"pkcs11:{name}", f"must give each of {', '.join(_TOKEN_ATTRIBUTES)} once, and nothing else")
        attributes[name] = unquote(value)
    for name in _TOKEN_ATTRIBUTES:
        if name not in attributes:
            raise InputError(_FIELD, "pkcs11:", f"must give {name}")
    return attributes


class _TokenKey:
    """A master key on a PKCS#11 token, which encrypts and decrypts with it: CKM_AES_GCM, wrapped = nonce | ciphertext | tag."""

    def __init__(self, attributes: dict[str, str]) -> None:
        self._token, self._object, self._module_path = attributes["token"], attributes["object"], attributes["module-path"]
        self.name = f"pkcs11:token={self._token};object={self._object}"
        try:
            self._pin = read_secret(Path(attributes["pin-source"].removeprefix("file:"))).decode().rstrip("\r\n")
        except UnicodeDecodeError:
            raise StateError(_FIELD, self.name, "the file of its PIN must be text") from None
        try:
            self._pkcs11 = import_module("pkcs11")  # An extra of the package: who has no token needs no library.
        except ImportError:
            raise StateError(_FIELD, self.name, "needs the package python-pkcs11") from None
        with self._key() as key:
            self._require_kept(key)
        if self.unwrap(self.wrap(b"known", b"test"), b"test") != b"known":
            raise StateError(_FIELD, self.name, "the token does not give back what it has wrapped")

    def wrap(self, data_key: bytes, context: bytes) -> bytes:
        nonce = secret_bytes(NONCE_BYTE)
        with self._key() as key:
            return nonce + bytes(key.encrypt(data_key, **self._mechanism(nonce, context)))

    def unwrap(self, wrapped: bytes, context: bytes) -> bytes:
        nonce, ciphertext = wrapped[:NONCE_BYTE], wrapped[NONCE_BYTE:]
        if len(ciphertext) < TAG_BIT // 8:
            raise StateError("data key", self.name, _REFUSED)
        with self._key() as key:
            return bytes(key.decrypt(ciphertext, **self._mechanism(nonce, context)))

    def _mechanism(self, nonce: bytes, context: bytes) -> dict[str, Any]:
        return {"mechanism": self._pkcs11.Mechanism.AES_GCM, "mechanism_param": self._pkcs11.GCMParams(nonce, context, TAG_BIT)}

    @contextmanager
    def _key(self) -> Iterator[Any]:
        """The key in a session of its own, so that a token which was away or restarted is found again."""
        kind, pkcs11 = self._pkcs11.ObjectClass.SECRET_KEY, self._pkcs11
        with _token_lock:
            try:
                token = pkcs11.lib(self._module_path).get_token(token_label=self._token)
                with token.open(user_pin=self._pin) as session:
                    yield session.get_key(object_class=kind, key_type=pkcs11.KeyType.AES, label=self._object)
            except pkcs11.PKCS11Error as error:
                # Tokens do not tell apart a text that was altered from a fault of their own.
                why = f"the token refused ({type(error).__name__}), or what it was given {_REFUSED}"
                raise StateError(_FIELD, self.name, why) from None

    def _require_kept(self, key: Any) -> None:
        """Raise StateError unless the token keeps the key to itself."""
        attribute = self._pkcs11.Attribute
        if key[attribute.EXTRACTABLE] or not key[attribute.SENSITIVE] or key[attribute.VALUE_LEN] != MASTER_KEY_BYTE:
            raise StateError(_FIELD, self.name, "must be an AES-256 key that is sensitive and cannot be extracted from its token")
