import pytest

from tiandi.physics.fibre import fibre_transmittance


def test_fifty_kilometres_of_good_fibre_lose_nine_tenths() -> None:
    assert fibre_transmittance(50.0, attenuation_db_per_km=0.2) == pytest.approx(0.1)


def test_connectors_add_to_the_loss() -> None:
    assert fibre_transmittance(0.0, attenuation_db_per_km=0.2, insertion_loss_db=3.0103) == pytest.approx(0.5, rel=1e-5)
