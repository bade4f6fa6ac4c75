"""Tables of events refuse what no pulse can do, and bases have one order."""

import numpy as np
import pytest

from tiandi.distill.records import BASIS_NAMES
from tiandi.errors import InputError
from tiandi.limits import require_distribution
from tiandi.protocols.bbm92 import BASES_RAD
from tiandi.protocols.events import MOST_KINDS, Basis, EventTable


def test_as_many_kinds_as_a_byte_tells_apart_are_counted_each_as_itself() -> None:
    table = EventTable(np.full((1, MOST_KINDS), 1.0 / MOST_KINDS))
    counts = table.sample(np.array([200_000]), np.random.default_rng(1)).counts()
    assert counts.shape == (256,)
    # Five standard deviations, one false alarm in 1.7 million comparisons.
    assert np.abs(counts - 200_000 / 256).max() < 5 * np.sqrt(200_000 / 256)


@pytest.mark.parametrize(
    ("probabilities", "limit"),
    [
        (np.zeros((2, 16, 17)), "must be of at most 256 kinds"),
        (np.array([[0.1, -1e-12]]), "must lie in"),
        (np.array([[0.1, np.nan]]), "must lie in"),
        (np.array([[0.1, np.inf]]), "must add up to at most 1"),
        (np.array([[0.5, 0.5], [0.5, 0.5001]]), "must add up to at most 1"),
    ],
)
def test_a_table_that_no_pulse_obeys_is_refused(probabilities: np.ndarray, limit: str) -> None:
    with pytest.raises(InputError, match=limit) as refused:
        EventTable(probabilities)
    assert refused.value.field == "probabilities"


def test_rounding_is_forgiven() -> None:
    assert EventTable(np.array([[1.0 / 3.0 + 1e-12] * 3])).probabilities.sum() > 1.0


@pytest.mark.parametrize("values", [[0.5, 0.4], [1.5, -0.5], [np.nan, 1.0], [[0.5, 0.5], [0.5, 0.6]], []])
def test_what_is_no_distribution_is_refused(values: list[float]) -> None:
    with pytest.raises(InputError, match="shares") as refused:
        require_distribution("shares", values)
    assert refused.value.field == "shares"


def test_bases_have_one_order() -> None:
    assert tuple(basis.name for basis in Basis) == BASIS_NAMES
    assert (BASES_RAD[Basis.X], BASES_RAD[Basis.Z]) == (np.pi / 4, 0.0)
