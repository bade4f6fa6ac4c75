from collections.abc import Iterator
from uuid import uuid4

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from rich.pretty import pretty_repr

from tiandi.kms import etsi014, etsi020, skip
from tiandi.kms.keys import (
    LARGEST_COUNT,
    PREFIX_BYTE,
    SupplyKey,
    key_identifier,
    key_identifiers,
    marked_prefix,
    new_prefix,
    split_identifier,
)
from tiandi.kms.streams import etsi004
from tiandi.unshown import Unshown

__all__ = ["etsi004", "etsi014", "etsi020", "skip"]

PREFIXES = st.binary(min_size=PREFIX_BYTE, max_size=PREFIX_BYTE).map(marked_prefix)


@given(PREFIXES, st.lists(st.integers(0, LARGEST_COUNT - 1)))
def test_identifiers_made_together_are_those_made_one_by_one(prefix: bytes, indices: list[int]) -> None:
    assert key_identifiers(prefix, indices) == [key_identifier(prefix, index) for index in indices]


@given(PREFIXES, st.integers(0, LARGEST_COUNT - 1))
def test_an_identifier_tells_its_reservation_and_its_place_there(prefix: bytes, index: int) -> None:
    [key_id] = key_identifiers(prefix, [index])
    assert split_identifier(key_id) == (prefix, index)
    assert key_id.version == 8


def test_a_key_shows_its_identifier_and_length_only() -> None:
    key_id = uuid4()
    assert repr(SupplyKey(key_id, b"not for any log")) == f"SupplyKey({key_id}, 120 bit)"
    assert "log" not in str([SupplyKey(key_id, b"not for any log")])


def test_what_hides_a_secret_from_repr_hides_it_from_rich_as_well() -> None:
    hiding = [kind for kind in every_struct(msgspec.Struct) if kind.__module__.startswith("tiandi") and "__repr__" in vars(kind)]
    assert {"SupplyKey", "Key", "ExternalKey", "GetKeyResponse"} <= {kind.__name__ for kind in hiding}
    assert [kind for kind in hiding if not issubclass(kind, Unshown)] == []
    assert "secret" not in pretty_repr(SupplyKey(key_identifier(new_prefix(), 1), b"secret"))


def every_struct(kind: type) -> Iterator[type]:
    for child in kind.__subclasses__():
        yield child
        yield from every_struct(child)
