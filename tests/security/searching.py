"""Looking for key where none may be: any 16 bytes in a row of it, raw, in hexadecimal, in base64 or as Python writes bytes."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable

import numpy as np

WINDOW_BYTE = 8
"""Every 15 bytes in a row of a secret hold one of its blocks of eight."""
_SOME_BITS = np.uint64(2**20 - 1)
_HEX = re.compile(rb"[0-9a-fA-F]{16,}")
_BASE64 = re.compile(rb"[A-Za-z0-9+/_-]{12,}")
_ESCAPED = re.compile(rb"\\(x[0-9a-fA-F]{2}|[tnr\\'\"])")
_SHORT = {b"t": b"\t", b"n": b"\n", b"r": b"\r"}
_URL_SAFE = bytes.maketrans(b"-_", b"+/")


class Search:
    """Finds any 16 bytes in a row of ``secrets``."""

    def __init__(self, secrets: Iterable[bytes]) -> None:
        blocks = [block for secret in secrets for block in _cut(secret)]
        self._blocks = set(blocks)
        # Most places are dismissed by some bits of what stands there.
        self._may_be = np.zeros(2**20, bool)
        self._may_be[np.frombuffer(b"".join(blocks), np.uint64) & _SOME_BITS] = True

    def finds(self, text: bytes) -> bool:
        """Whether any of the secrets is in ``text``, in any writing."""
        return any(self._is_in(form) for form in _readings(text))

    def _is_in(self, text: bytes) -> bool:
        for shift in range(WINDOW_BYTE):
            count = (len(text) - shift) // WINDOW_BYTE
            if count <= 0:
                continue
            for place in np.flatnonzero(self._may_be[np.frombuffer(text, np.uint64, count, shift) & _SOME_BITS]):
                start = shift + int(place) * WINDOW_BYTE
                if text[start : start + WINDOW_BYTE] in self._blocks:
                    return True
        return False


def _cut(secret: bytes) -> list[bytes]:
    return [secret[start : start + WINDOW_BYTE] for start in range(0, len(secret) - WINDOW_BYTE + 1, WINDOW_BYTE)]


def _unescaped(found: re.Match[bytes]) -> bytes:
    what = found[1]
    return bytes([int(what[1:], 16)]) if len(what) > 1 else _SHORT.get(what, what)


def _readings(text: bytes) -> Iterable[bytes]:
    """The text as it is, and what it would mean in each writing, with gaps between."""
    yield text
    # A log in JSON escapes what is escaped already.
    yield (once := _ESCAPED.sub(_unescaped, text))
    yield _ESCAPED.sub(_unescaped, once)
    for shift in (0, 1):
        yield b"\0".join(bytes.fromhex(run[shift : len(run) - (len(run) - shift) % 2].decode()) for run in _HEX.findall(text))
    for shift in range(4):
        parts = []
        for run in _BASE64.findall(text):
            whole = run[shift : len(run) - (len(run) - shift) % 4].translate(_URL_SAFE)
            parts.append(base64.b64decode(whole))
        yield b"\0".join(parts)
