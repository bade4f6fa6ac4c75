import pytest

from tiandi.units import byte_from_bit, loss_from_transmittance, transmittance_from_loss


@pytest.mark.parametrize(("loss_db", "transmittance"), [(0.0, 1.0), (10.0, 0.1), (3.0102999566, 0.5)])
def test_decibels_and_fractions(loss_db: float, transmittance: float) -> None:
    assert transmittance_from_loss(loss_db) == pytest.approx(transmittance)
    assert loss_from_transmittance(transmittance) == pytest.approx(loss_db, abs=1e-9)


@pytest.mark.parametrize(("length_bit", "length_byte"), [(0, 0), (1, 1), (8, 1), (9, 2)])
def test_bits_fit_into_whole_bytes(length_bit: int, length_byte: int) -> None:
    assert byte_from_bit(length_bit) == length_byte
