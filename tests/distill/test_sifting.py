from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tiandi.bits import pack
from tiandi.distill import sifting_kernels as kernels
from tiandi.distill.sifting import (
    bytes_from,
    decode_slots,
    encode_slots,
    find_slots,
    matching,
    ones,
    pack_words,
    planes,
    select,
    unpack_words,
    values_of,
    words_for,
    words_from,
)
from tiandi.errors import InputError, ProtocolViolation

SIZES = [0, 1, 2, 63, 64, 65, 127, 128, 129, 1000, 4096, 4097]
FORMS = [None] if kernels.extraction_flag() is None else [None, True]
EVERY_FORM = pytest.mark.parametrize("flag", FORMS, ids=["shifts", "instruction"][: len(FORMS)])
TOO_HIGH = 2**62
BORDERS = [0, 1, *(2 ** (7 * digits) + step for digits in range(1, 9) for step in (-1, 0, 1))]
"""Gaps where the number of bytes changes."""


@contextmanager
def form(flag: bool | None) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kernels, "extraction_flag", lambda: flag)
        yield


def random_bits(count: int, seed: int, share: float = 0.5) -> NDArray[np.uint8]:
    return (np.random.default_rng(seed).random(count) < share).astype(np.uint8)


def encoded_one_by_one(slots: list[int]) -> bytes:
    data, previous = bytearray(), -1
    for slot in slots:
        gap = slot - previous - 1
        while gap >= 0x80:
            data.append(gap & 0x7F | 0x80)
            gap >>= 7
        data.append(gap)
        previous = slot
    return bytes(data)


def decoded_one_by_one(data: bytes) -> list[int] | None:
    """None when anything is wrong."""
    slots, slot, gap, length = [], -1, 0, 0
    for byte in data:
        gap |= (byte & 0x7F) << 7 * length
        length += 1
        if byte & 0x80:
            continue
        slot += gap + 1
        if length > 9 or (length > 1 and byte == 0) or slot >= TOO_HIGH:
            return None
        slots.append(slot)
        gap = length = 0
    return None if length else slots


def accepted(decode: Callable[[], NDArray[np.int64]]) -> list[int] | None:
    try:
        return decode().tolist()
    except ProtocolViolation:
        return None


@pytest.mark.parametrize("count", SIZES)
def test_bits_come_back_from_words_and_the_rest_is_zero(count: int) -> None:
    for bits in (np.zeros(count, np.uint8), np.ones(count, np.uint8), random_bits(count, count)):
        words = pack_words(bits)
        assert words.dtype == np.uint64
        assert [int(word) for word in words] == [
            sum(int(bit) << place for place, bit in enumerate(bits[start : start + 64])) for start in range(0, count, 64)
        ]
        assert (unpack_words(words, count) == bits).all()
        assert ones(words) == bits.sum()


@pytest.mark.parametrize("number", range(1, 9))
def test_values_come_back_from_their_planes(number: int) -> None:
    for count in SIZES:
        values = np.random.default_rng(number).integers(0, 2**number, count, dtype=np.uint8)
        split = planes(values, number)
        assert split.shape == (number, words_for(count))
        for digit, plane in enumerate(split):
            assert (unpack_words(plane, count) == values >> digit & 1).all()
            assert ones(plane) == (values >> digit & 1).sum()
        assert (values_of(split, count) == values).all()


def test_arrays_need_not_lie_together_nor_be_writable() -> None:
    values = np.random.default_rng(1).integers(0, 4, 5000, dtype=np.uint8)
    fixed = values.copy()
    fixed.flags.writeable = False
    assert (planes(values[::-3], 2) == planes(values[::-3].copy(), 2)).all()
    assert (planes(fixed, 2) == planes(values, 2)).all()
    assert (pack_words(values[::2] > 1) == planes(values[::2], 2)[1]).all()
    apart, chosen = np.repeat(planes(values, 2), 2, axis=1)[:, ::2], np.repeat(pack_words(values & 1), 2)[::2]
    chosen.flags.writeable = False
    assert (select(apart, chosen, 5000) == select(planes(values, 2), pack_words(values & 1), 5000)).all()
    assert (values_of(apart, 5000) == values).all()
    slots = np.arange(1000)[::7]
    assert encode_slots(slots) == encode_slots(slots.astype(np.int32)) == encoded_one_by_one(slots.tolist())
    assert (found_rows(slots[::2], slots) == np.arange(slots.size)[::2]).all()


def test_values_too_large_for_their_planes_are_refused() -> None:
    values = np.array([0, 1, 2, 3, 4], np.uint8)
    with pytest.raises(InputError, match="values = 4: must have no more than 2 binary digits"):
        planes(values, 2)
    with pytest.raises(InputError, match="values"):
        pack_words(values)
    for number in (0, 9):
        with pytest.raises(InputError, match="number"):
            planes(values, number)


@pytest.mark.parametrize("count", [-64, 0, 64, 129, 1000])
def test_words_of_the_wrong_number_are_refused(count: int) -> None:
    words = pack_words(random_bits(128, 3))
    for refused in (
        lambda: unpack_words(words, count),
        lambda: values_of(words.reshape(1, 2), count),
        lambda: matching(words, words, count),
        lambda: select(words.reshape(1, 2), words, count),
    ):
        with pytest.raises(InputError, match=f"{count} bit need"):
            refused()
    for left, right in ((words, words[:1]), (words[:1], words)):
        with pytest.raises(InputError, match="128 bit need 2 words"):
            matching(left, right, 128)
        with pytest.raises(InputError, match="128 bit need 2 words"):
            select(left.reshape(1, -1), right, 128)


@pytest.mark.parametrize("count", SIZES)
def test_bases_match_where_they_are_equal(count: int) -> None:
    left, right = random_bits(count, 4), random_bits(count, 5)
    words = matching(pack_words(left), pack_words(right), count)
    assert (words == pack_words((left == right).astype(np.uint8))).all()


@EVERY_FORM
@pytest.mark.parametrize("count", SIZES)
@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 0.98, 1.0])
def test_what_is_selected_is_what_boolean_indexing_selects(count: int, share: float, flag: bool | None) -> None:
    values, chosen = np.random.default_rng(6).integers(0, 8, count, dtype=np.uint8), random_bits(count, 7, share)
    with form(flag):
        selected = select(planes(values, 3), pack_words(chosen), count)
    kept = values[chosen == 1]
    assert selected.shape == (3, words_for(kept.size))
    assert (selected == planes(kept, 3)).all()


@EVERY_FORM
def test_special_patterns_are_selected_bit_by_bit(flag: bool | None) -> None:
    patterns = [
        0,
        1,
        1 << 63,
        2**64 - 1,
        2**63 - 1,
        2**32 - 1,
        0x5555555555555555,
        0xAAAAAAAAAAAAAAAA,
        0x00FF00FF00FF00FF,
        0x8000000000000001,
    ]
    for chosen in patterns:
        for word in patterns:
            with form(flag):
                selected = select(np.array([[word, word]], np.uint64), np.array([chosen, chosen], np.uint64), 128)
            places = [place for place in range(64) if chosen >> place & 1]
            once = sum((word >> place & 1) << low for low, place in enumerate(places))
            twice = once | once << len(places)
            assert sum(int(part) << 64 * row for row, part in enumerate(selected[0])) == twice


@EVERY_FORM
def test_what_is_chosen_beyond_the_end_selects_nothing(flag: bool | None) -> None:
    values, chosen = np.array([1, 0, 1, 1], np.uint8), np.array([2**64 - 1], np.uint64)
    with form(flag):
        assert (select(planes(values, 1), chosen, 3) == [[0b101]]).all()
    assert chosen[0] == 2**64 - 1


def test_of_no_planes_none_are_selected() -> None:
    assert select(np.empty((0, 2), np.uint64), np.ones(2, np.uint64), 128).shape == (0, 1)


@settings(deadline=None, max_examples=200)
@given(st.integers(0, 1000), st.floats(0.0, 1.0), st.integers(1, 8), st.sampled_from(FORMS), st.integers(0, 2**32))
def test_any_selection_is_that_of_boolean_indexing(count: int, share: float, number: int, flag: bool | None, seed: int) -> None:
    values = np.random.default_rng(seed).integers(0, 2**number, count, dtype=np.uint8)
    chosen = random_bits(count, seed + 1, share)
    with form(flag):
        selected = select(planes(values, number), pack_words(chosen), count)
    assert (values_of(selected, int(chosen.sum())) == values[chosen == 1]).all()


@EVERY_FORM
def test_slots_are_told_byte_by_byte(flag: bool | None) -> None:
    lists = [
        [],
        [0],
        [TOO_HIGH - 1],
        [0, TOO_HIGH - 1],
        list(range(200)),
        *([first, first + 1 + gap] for first in (0, 5) for gap in BORDERS),
    ]
    lists += [np.cumsum(np.array(BORDERS) + 1).tolist(), (np.cumsum(np.array(BORDERS[::-1]) + 1) - 1).tolist()]
    for slots in lists:
        with form(flag):
            data = encode_slots(np.array(slots, np.int64))
            assert data == encoded_one_by_one(slots)
            assert decode_slots(data, len(slots)).tolist() == slots


@settings(deadline=None, max_examples=200)
@given(st.lists(st.integers(0, 2**62 - 1), unique=True, max_size=300), st.integers(0, 55), st.sampled_from(FORMS))
def test_any_rising_slots_come_back(high: list[int], shift: int, flag: bool | None) -> None:
    slots = sorted({slot >> shift for slot in high})
    with form(flag):
        data = encode_slots(np.array(slots, np.int64))
        assert data == encoded_one_by_one(slots)
        assert decode_slots(data, len(slots)).tolist() == slots


@pytest.mark.parametrize(
    "slots",
    [
        [-1],
        [3, 3],
        [5, 4],
        [0, 1, 2, 1],
        [TOO_HIGH],
        [1, TOO_HIGH],
        [-(2**63)],
        [2**63 - 1, -(2**63)],
        [2**63 - 1, 0, 1],
        [-(2**63), 2**63 - 1],
    ],
)
def test_slots_that_cannot_be_told_are_refused(slots: list[int]) -> None:
    with pytest.raises(InputError, match="slots"):
        encode_slots(np.array(slots, np.int64))


@EVERY_FORM
@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\x80", "cut off"),
        (b"\x05\xff", "cut off"),
        (b"\x01" * 63 + b"\xff", "cut off"),
        (b"\xff" * 200, "cut off"),
        (b"\x80\x00", "longer than it need be"),
        (b"\x81\x80\x00", "longer than it need be"),
        (b"\x00" * 63 + b"\x81\x00", "longer than it need be"),
        (b"\x81" + b"\x80" * 7 + b"\x00", "longer than it need be"),
        (b"\x81" * 9 + b"\x01", "longer than 9 bytes"),
        (b"\x81" * 9 + b"\x00", "longer than 9 bytes"),
        (b"\x81" * 150 + b"\x01", "longer than 9 bytes"),
        (b"\xff" * 8 + b"\x40", "not below"),
        (b"\xff" * 8 + b"\x3f\x00", "not below"),
        (encoded_one_by_one([TOO_HIGH]), "not below"),
        (encoded_one_by_one([TOO_HIGH - 1, TOO_HIGH]), "not below"),
        ((b"\xff" * 8 + b"\x7f") * 2 + b"\x05", "not below"),
        (b"\xff" * 7 + b"\x01" + (b"\xff" * 8 + b"\x7f") * 20, "not below"),
    ],
)
def test_bytes_that_tell_no_slots_are_refused(data: bytes, message: str, flag: bool | None) -> None:
    assert decoded_one_by_one(data) is None
    with form(flag), pytest.raises(ProtocolViolation, match=message):
        decode_slots(data, 1000)


@pytest.mark.parametrize("padding", range(130))
def test_a_superfluous_byte_is_found_wherever_it_lies(padding: int) -> None:
    with pytest.raises(ProtocolViolation, match="longer than it need be"):
        decode_slots(b"\x00" * padding + b"\x83\x00\x01", 1000)
    assert decode_slots(b"\x00" * padding + b"\x83\x01\x00", 1000).size == padding + 2


def test_more_slots_than_there_can_be_are_refused() -> None:
    data = encode_slots(np.arange(100))
    assert decode_slots(data, 100).size == 100
    with pytest.raises(ProtocolViolation, match="100 slots are told of where there can be 99"):
        decode_slots(data, 99)


@settings(deadline=None, max_examples=500)
@given(st.lists(st.sampled_from([b"\x00", b"\x01", b"\x7f", b"\x80", b"\xff", b"\x81\x02", b"\xff" * 8, b"\x00" * 60]), max_size=30))
def test_bytes_of_an_adversary_decode_as_one_by_one_or_not_at_all(pieces: list[bytes]) -> None:
    data = b"".join(pieces)
    expected = decoded_one_by_one(data)
    for flag in FORMS:
        with form(flag):
            slots = accepted(lambda: decode_slots(data, len(data)))
        assert slots == expected
    if expected is not None:
        assert encode_slots(np.array(expected, np.int64)) == data


@settings(deadline=None, max_examples=300)
@given(st.binary(max_size=300))
def test_random_bytes_decode_as_one_by_one_or_not_at_all(data: bytes) -> None:
    assert accepted(lambda: decode_slots(data, len(data))) == decoded_one_by_one(data)


@pytest.mark.parametrize("gap", [127, 128, 2**14])
def test_one_long_gap_among_short_ones_may_stand_anywhere(gap: int) -> None:
    for place in range(200):
        gaps = np.full(200, 3)
        gaps[place] = gap
        slots = np.cumsum(gaps + 1) - 1
        data = encode_slots(slots)
        assert data == encoded_one_by_one(slots.tolist())
        assert (decode_slots(data, 200) == slots).all()
        assert found_rows(slots, slots).size == 200
        sent_slots = np.delete(np.arange(slots[-1] + 1), slots[0] + 1)
        assert (sent_slots[found_rows(slots, sent_slots)] == slots).all()


def test_slots_that_run_over_are_refused() -> None:
    with np.errstate(over="ignore"):
        beyond = np.int64(2**63 - 50) + np.arange(100)
    for slots in (beyond, np.concatenate([[0], beyond]), np.arange(-100, 0), np.arange(-100, 100)):
        with pytest.raises(InputError, match="must rise from 0"):
            encode_slots(slots)


def found_rows(slots: np.ndarray, sent_slots: np.ndarray) -> np.ndarray:
    marks = find_slots(encode_slots(slots), sent_slots)
    return np.flatnonzero(unpack_words(marks, sent_slots.size))


@settings(deadline=None, max_examples=300)
@given(st.integers(0, 400), st.floats(0.0, 1.0), st.floats(1.0, 100.0), st.integers(0, 2**32))
def test_rows_are_those_of_a_search(count: int, share: float, mean_gap: float, seed: int) -> None:
    generator = np.random.default_rng(seed)
    sent_slots = np.cumsum(generator.geometric(1 / mean_gap, count)).astype(np.int64)
    rows = np.flatnonzero(generator.random(count) < share)
    assert (found_rows(sent_slots[rows], sent_slots) == rows).all()


@pytest.mark.parametrize("mean_gap", [1, 2, 20, 300])
def test_rows_where_every_slot_was_sent_are_counted_from_the_first(mean_gap: int) -> None:
    slots = np.cumsum(np.random.default_rng(8).geometric(1 / mean_gap, 2000)).astype(np.int64)
    first = int(slots[0]) - 1
    assert (found_rows(slots, np.arange(first, slots[-1] + 1)) == slots - first).all()


def test_rows_far_apart_are_found() -> None:
    generator = np.random.default_rng(9)
    sent_slots = np.unique(generator.integers(0, 2**62, 100_000))
    rows = np.unique(generator.integers(0, sent_slots.size, 50))
    assert (found_rows(sent_slots[rows], sent_slots) == rows).all()


@settings(deadline=None, max_examples=500)
@given(st.sets(st.integers(0, 30), max_size=12), st.sets(st.integers(0, 30), max_size=25))
def test_slots_that_were_not_sent_are_refused(slots: set[int], sent: set[int]) -> None:
    found = accepted(lambda: found_rows(np.array(sorted(slots), np.int64), np.array(sorted(sent), np.int64)))
    assert found == ([sorted(sent).index(slot) for slot in sorted(slots)] if slots <= sent else None)


@pytest.mark.parametrize("slots", [[10], [2**62 - 1], [0, 2**62 - 1], [9, 10], [1]])
def test_slots_outside_of_what_was_sent_are_refused(slots: list[int]) -> None:
    for sent_slots in (np.array([0, 2, 3, 9]), np.arange(2, 10), np.arange(0, 20, 11), np.empty(0, np.int64)):
        with pytest.raises(ProtocolViolation):
            found_rows(np.array(slots), sent_slots)


@pytest.mark.parametrize("told", [4, 100, 300])
def test_more_slots_than_were_sent_are_refused(told: int) -> None:
    with pytest.raises(ProtocolViolation, match="that was not sent"):
        find_slots(encode_slots(np.arange(told)), np.arange(told - 1))


def test_the_instruction_is_taken_where_it_is_quick() -> None:
    assert kernels.flag_with("znver4", {"bmi2": True}) is True
    assert kernels.flag_with("skylake", {"bmi2": True}) is True
    assert kernels.flag_with("znver2", {"bmi2": True}) is None
    assert kernels.flag_with("nehalem", {"bmi2": False}) is None
    assert kernels.flag_with("apple-m1", {}) is None


def test_code_for_another_processor_is_plain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "target_features", dict)
    kernels.extraction_flag.cache_clear()
    assert kernels.extraction_flag() is None
    kernels.extraction_flag.cache_clear()


@pytest.mark.parametrize("size", SIZES)
def test_words_travel_as_bytes(size: int) -> None:
    bits = random_bits(size, seed=17)
    assert bytes_from(pack_words(bits), size) == pack(bits)
    assert (words_from(pack(bits), size) == pack_words(bits)).all()


def test_what_fills_up_the_last_byte_of_a_message_is_cleared() -> None:
    assert words_from(b"\xff\xff", 11).tolist() == [0x7FF]


@pytest.mark.parametrize("size_byte", [0, 1, 3])
def test_bytes_of_another_length_are_no_words(size_byte: int) -> None:
    with pytest.raises(ProtocolViolation, match="wrong length"):
        words_from(bytes(size_byte), 11)


@pytest.mark.parametrize("position", [0, 63, 64, 99])
def test_one_value_with_too_many_digits_is_refused_wherever_it_stands(position: int) -> None:
    values = np.ones(100, np.uint8)
    values[position] = 4
    with pytest.raises(InputError, match="no more than 2"):
        planes(values, 2)
