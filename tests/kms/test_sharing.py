from collections.abc import Sequence
from functools import reduce
from itertools import combinations, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiandi.errors import InputError
from tiandi.kms.relay import sharing
from tiandi.kms.relay.sharing import join, split


def _times(left: int, right: int) -> int:
    """Multiplication in GF(2^8) as at school: long multiplication, then long division."""
    product = reduce(lambda total, place: total ^ (left << place if right >> place & 1 else 0), range(8), 0)
    for place in reversed(range(8, 15)):
        product ^= 0x11B << place - 8 if product >> place & 1 else 0
    return product


def _value(coefficients: Sequence[int], x: int) -> int:
    return reduce(lambda total, coefficient: _times(total, x) ^ coefficient, reversed(coefficients), 0)


def _let_chance_be(monkeypatch: pytest.MonkeyPatch, *drawn: bytes) -> None:
    left = list(drawn)
    monkeypatch.setattr(sharing, "secret_bytes", lambda length: left.pop(0))


@given(st.data())
def test_every_subset_of_threshold_size_joins_to_the_secret(data: st.DataObject) -> None:
    secret = data.draw(st.binary(min_size=1, max_size=33))
    count = data.draw(st.integers(2, 6))
    threshold = data.draw(st.integers(2, count))
    shares = split(secret, threshold=threshold, shares=count)
    assert [len(share) for share in shares] == [len(secret)] * count
    for subset in combinations(range(count), threshold):
        assert join({index: shares[index] for index in reversed(subset)}, threshold=threshold, share_count=count) == secret


@pytest.mark.parametrize("threshold", [2, 3, 100, 254, 255])
def test_as_many_shares_as_the_field_has_points(threshold: int) -> None:
    secret = bytes(range(100))
    shares = split(secret, threshold=threshold, shares=255)
    for subset in (range(threshold), range(255 - threshold, 255)):
        assert join({index: shares[index] for index in subset}, threshold=threshold, share_count=255) == secret


@pytest.mark.parametrize(("threshold", "count"), [(2, 2), (2, 3), (2, 5), (3, 3), (3, 4)])
def test_fewer_shares_than_the_threshold_are_equally_likely_for_every_secret(
    threshold: int, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All that chance can draw, for one byte: each outcome of any ``threshold`` - 1 shares comes exactly once with each secret."""
    secrets = range(256) if threshold == 2 else (0, 1, 2, 0x53, 0x80, 0xFF)
    cases = np.array(list(product(secrets, range(256 ** (threshold - 1)))))
    drawn = [(cases[:, 1] >> 8 * place & 0xFF).astype(np.uint8).tobytes() for place in range(threshold - 1)]
    _let_chance_be(monkeypatch, *drawn)
    shares = split(cases[:, 0].astype(np.uint8).tobytes(), threshold=threshold, shares=count)
    for subset in combinations(shares, threshold - 1):
        seen = reduce(lambda total, share: total << 8 | np.frombuffer(share, np.uint8), subset, cases[:, 0])
        assert len(np.unique(seen)) == len(cases)


def test_as_many_shares_as_the_threshold_tell_the_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    """The counting above can fail: with one share more, each outcome belongs to one secret only."""
    secrets, drawn = (np.array(half, np.uint8).tobytes() for half in zip(*product(range(256), repeat=2), strict=True))
    _let_chance_be(monkeypatch, drawn)
    first, second, _ = split(secrets, threshold=2, shares=3)
    assert len(set(zip(first, second, secrets, strict=True))) == len(set(zip(first, second, strict=True))) == 65536


def test_shares_are_values_of_the_polynomial(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [bytes(np.random.default_rng(seed).bytes(21)) for seed in range(4)]
    _let_chance_be(monkeypatch, *rows[1:])
    shares = split(rows[0], threshold=4, shares=255)
    for index in (0, 1, 2, 100, 254):
        assert shares[index] == bytes(_value(coefficients, index + 1) for coefficients in zip(*rows, strict=True))


def test_multiplication_is_that_of_the_field_of_aes(monkeypatch: pytest.MonkeyPatch) -> None:
    """FIPS 197, section 4.2: {57} times {83} is {c1}, {57} times {13} is {fe}."""
    _let_chance_be(monkeypatch, b"\x57")
    shares = split(b"\0", threshold=2, shares=255)
    assert (shares[0x83 - 1], shares[0x13 - 1]) == (b"\xc1", b"\xfe")
    assert _times(0x57, 0x83) == 0xC1


@pytest.mark.parametrize(("threshold", "count"), [(2, 3), (3, 3)])
def test_shares_are_drawn_anew_each_time(threshold: int, count: int) -> None:
    seen = {share for _ in range(20) for share in split(bytes(16), threshold=threshold, shares=count)}
    assert len(seen) == 20 * count


@pytest.mark.parametrize(("threshold", "count"), [(2, 3), (3, 3), (2, 255)])
@pytest.mark.parametrize("change", [0x01, 0x80, 0xFF])
def test_a_wrong_share_goes_unnoticed_and_changes_that_byte_alone(threshold: int, count: int, change: int) -> None:
    secret = bytes(range(10))
    shares = dict(enumerate(split(secret, threshold=threshold, shares=count)))
    shares[1] = bytes([*shares[1][:4], shares[1][4] ^ change, *shares[1][5:]])
    joined = join(shares, threshold=threshold, share_count=count)
    assert [place for place in range(10) if joined[place] != secret[place]] == [4]


def test_one_share_of_one_is_the_secret() -> None:
    assert split(b"secret", threshold=1, shares=1) == [b"secret"]
    assert join({0: b"secret"}, threshold=1, share_count=1) == b"secret"


@pytest.mark.parametrize(("threshold", "count"), [(1, 2), (0, 2), (3, 2), (0, 0), (2, 256), (256, 256)])
def test_counts_out_of_range_are_refused(threshold: int, count: int) -> None:
    with pytest.raises(InputError, match="must lie in"):
        split(b"secret", threshold=threshold, shares=count)
    with pytest.raises(InputError, match="must lie in"):
        join(dict.fromkeys(range(count), b"share"), threshold=threshold, share_count=count)


def test_an_empty_secret_is_refused() -> None:
    with pytest.raises(InputError, match="at least one byte"):
        split(b"", threshold=2, shares=3)


@pytest.mark.parametrize(
    ("shares", "why"),
    [
        ({0: b"qqqq"}, "at least 2 are needed"),
        ({0: b"qqqq", 3: b"qqqq"}, "index of a share = 3"),
        ({-1: b"qqqq", 0: b"qqqq"}, "index of a share = -1"),
        ({0: b"qqqq", 1: b"qqq"}, r"\[3, 4\]"),
        ({0: b"qqqq", 1: b"qqqq", 2: b"qqqqq"}, r"\[4, 5\]"),
        ({0: b"", 1: b""}, r"\[0\]"),
    ],
)
def test_shares_that_cannot_be_joined_are_refused_without_being_shown(shares: dict[int, bytes], why: str) -> None:
    with pytest.raises(InputError, match=why) as refusal:
        join(shares, threshold=2, share_count=3)
    assert "q" not in str(refusal.value).replace("required", "")
