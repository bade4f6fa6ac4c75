import inspect

import pytest

from tiandi import errors


def error_classes() -> list[type[Exception]]:
    return [item for _, item in inspect.getmembers(errors, inspect.isclass) if issubclass(item, errors.TiandiError)]


@pytest.mark.parametrize("error", error_classes())
def test_every_error_stands_in_the_tree_of_the_docstring(error: type[Exception]) -> None:
    assert errors.__doc__ is not None
    assert error.__name__ in errors.__doc__


def test_errors_carry_their_numbers() -> None:
    qber = errors.QberTooHigh(0.25, 0.11)
    assert (qber.qber, qber.limit) == (0.25, 0.11)
    stock = errors.KeysExhausted("stock", 128, 256)
    assert (stock.available_bit, stock.wanted_bit) == (128, 256)


def test_bad_input_names_field_value_and_limit() -> None:
    assert str(errors.InputError("length_km", -1, "must lie in [0, 2000]")) == "length_km = -1: must lie in [0, 2000]"
