from hypothesis import given
from hypothesis import strategies as st

from tiandi.kms.relay.relay_messages import OVERHEAD_BIT, relay_cost_bit
from tiandi.kms.store.supply_keys import Reservation
from tiandi.kms.supply.portions import LARGEST_BYTE, affordable_count, cost_bit, portion_size

COUNTS = st.integers(1, 100_000)
SIZES = st.sampled_from([8, 128, 256, 1024, 65_536, 2**20])


@given(COUNTS, SIZES)
def test_what_is_paid_is_affordable_and_one_bit_less_is_not(count: int, size_bit: int) -> None:
    portion = portion_size(count, size_bit)
    cost = cost_bit(count, size_bit, portion)
    assert affordable_count(cost, size_bit, portion) == count
    assert affordable_count(cost - 1, size_bit, portion) < count


@given(COUNTS, SIZES)
def test_the_cost_is_that_of_the_reservations_which_are_made(count: int, size_bit: int) -> None:
    portion = portion_size(count, size_bit)
    parts = [portion] * (count // portion) + ([count % portion] if count % portion else [])
    made = [Reservation(prefix=bytes(14), master="a", slaves=["b"], size_bit=size_bit, count=part) for part in parts]
    assert cost_bit(count, size_bit, portion) == sum(relay_cost_bit(reservation) for reservation in made)


@given(COUNTS, SIZES)
def test_a_reservation_has_a_key_at_least_and_is_never_large(count: int, size_bit: int) -> None:
    portion = portion_size(count, size_bit)
    assert portion == 1 or portion * size_bit // 8 <= LARGEST_BYTE


def test_few_keys_are_made_in_small_reservations() -> None:
    assert portion_size(64, 256) < portion_size(50_000, 256)


def test_what_pays_for_no_key_affords_none() -> None:
    assert affordable_count(OVERHEAD_BIT + 255, 256, 256) == 0
    assert affordable_count(0, 256, 256) == 0
