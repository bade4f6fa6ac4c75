"""MessagePack made to break the reader, at every door for neighbours: answered with 400, at once, in little memory."""

from __future__ import annotations

import time

import httpx
import msgspec
import pytest

from tests.security.fortress import Fortress
from tiandi.kms.relay import exchange

PATHS = [
    exchange.RELAY_PATH,
    exchange.CONFIRM_PATH,
    exchange.VOID_PATH,
    exchange.FAILED_PATH,
    exchange.COMPARE_PATH,
    exchange.HAND_OVER_PATH,
    exchange.KEM_PATH,
    exchange.STREAM_PATH,
]
HUGE = b"\xff\xff\xff\xff"
PREFIX = b"\xc4\x0e" + bytes(14)
BOMBS = {
    "an array of four thousand million": b"\xdd" + HUGE,
    "a map of four thousand million": b"\xdf" + HUGE,
    "a text of four gigabytes": b"\x91\xdb" + HUGE,
    "bytes of four gigabytes": b"\x91\xc6" + HUGE,
    "an extension of four gigabytes": b"\x91\xc9" + HUGE + b"\x01",
    "a small extension": b"\x91\xd4\x01\x00",
    "a time": b"\x91\xd6\xff\x00\x00\x00\x00",
    "arrays within arrays": b"\x91" * 500_000 + b"\xc0",
    "maps within maps": b"\x81\xa1a" * 500_000 + b"\xc0",
    "maps within a message": b"\x91" + b"\x81\xabreservation" * 100_000 + b"\xc0",
    "an unknown field with nested arrays": b"\x91\x81\xa1x" + b"\x91" * 200_000 + b"\xc0",
    "a list of four thousand million slaves": b"\x91\x81\xabreservation\x81\xa6slaves\xdd" + HUGE,
    "a list of four thousand million segments": b"\x91\x81\xacown_segments\xdd" + HUGE,
    "four thousand million ends": b"\x91\x81\xa4ends\xdf" + HUGE,
    "a reserved byte": b"\xc1",
    "nothing": b"",
    "half a message": b"\x92\x81",
    "text that is no UTF-8": b"\x91\x81\xa6master\xa2\xff\xfe",
    "a million empty messages": b"\xdd\x00\x0f\x42\x40" + b"\xc4\x00" * 1_000_000,
    "more places than are ever sent": b"\xdc\x00\x41" + (b"\x82\xa6prefix" + PREFIX + b"\xabfirst_index\x00") * 65,
    "a number beyond 64 bit": b"\x91\x82\xa6prefix" + PREFIX + b"\xabfirst_index\xcf" + HUGE * 2,
    "a negative number": b"\x91\x82\xa6prefix" + PREFIX + b"\xabfirst_index\xff",
    "a prefix of a megabyte": b"\x91\x82\xa6prefix\xc6\x00\x10\x00\x00" + bytes(2**20) + b"\xabfirst_index\x00",
    "not a number": b"\x91\x82\xa6prefix" + PREFIX + b"\xabfirst_index\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00",
}


def memory_byte() -> int:
    """What this process, and so the KMEs in it, may have had at most."""
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))


@pytest.mark.parametrize("path", PATHS)
def test_bombs_are_refused_at_once(fortress: Fortress, path: str) -> None:
    kme = fortress.credentials_of("kme-1")
    before, start_s = memory_byte(), time.monotonic()
    for name, bomb in BOMBS.items():
        status, words = fortress.call(kme, path, bomb)
        assert (name, status) == (name, 400)
        assert len(words["message"]) < 600
    assert time.monotonic() - start_s < 10
    assert memory_byte() - before < 100 * 2**20


def test_a_body_beyond_every_limit_is_cut_off(fortress: Fortress) -> None:
    before = memory_byte()
    try:
        status, _ = fortress.call(fortress.credentials_of("kme-1"), exchange.RELAY_PATH, bytes(34 * 2**20))
    except httpx.TransportError:
        status = 413
    assert status in {400, 413}
    assert memory_byte() - before < 200 * 2**20


def test_a_message_as_large_as_any_is_read(fortress: Fortress) -> None:
    """What the refusals above would prove nothing without: a list of as many as are ever sent."""
    places = [{"prefix": bytes([number]) * 14, "first_index": 0} for number in range(exchange.LARGEST_BATCH)]
    body = msgspec.msgpack.encode(places)
    assert fortress.call(fortress.credentials_of("kme-1"), exchange.VOID_PATH, body) == (200, ["voided"] * len(places))
