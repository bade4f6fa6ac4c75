import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiandi.bits import exclusive_or, pack, unpack


@given(st.lists(st.integers(0, 1), max_size=100))
def test_unpacking_undoes_packing(bits: list[int]) -> None:
    array = np.array(bits, np.uint8)
    assert (unpack(pack(array), array.size) == array).all()


def test_first_bit_is_lowest() -> None:
    assert pack(np.array([1, 0, 0, 0, 0, 0, 0, 0, 0, 1], np.uint8)) == b"\x01\x02"


@pytest.mark.parametrize("length_bit", [0, 7, 17, 100])
def test_unpacking_a_wrong_length_is_refused(length_bit: int) -> None:
    with pytest.raises(ValueError, match="bytes"):
        unpack(b"ab", length_bit)


@given(st.binary(max_size=50))
def test_a_pad_taken_twice_gives_the_message_back(message: bytes) -> None:
    pad = bytes(range(len(message)))
    assert exclusive_or(exclusive_or(message, pad), pad) == message


def test_a_pad_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="one-time pad"):
        exclusive_or(b"message", b"short")
