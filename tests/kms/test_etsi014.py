"""Formats, limits and extensions of ETSI GS QKD 014, without a door."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import msgspec
import pytest

from tiandi.errors import InputError, RequestRefused
from tiandi.kms.etsi014 import (
    EXTENSION_NOT_SUPPORTED,
    SIZE_NOT_MULTIPLE_OF_8,
    Key,
    KeyContainer,
    KeyID,
    KeyIDs,
    KeyRequest,
    Limits,
    SupplyOptions,
    key_request_type,
)

LIMITS = Limits()


@pytest.mark.parametrize("size", [8, 16, 256, 264, 1000, 2**20])
def test_any_size_that_is_a_multiple_of_8_is_granted(size: int) -> None:
    KeyRequest(size=size).require(LIMITS)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"size": 7}, f"^{SIZE_NOT_MULTIPLE_OF_8}$"),
        ({"size": -1}, f"^{SIZE_NOT_MULTIPLE_OF_8}$"),
        ({"size": 0}, r"size = 0: must lie in \[8, 1048576\] bit"),
        ({"size": -8}, r"size = -8"),
        ({"size": 2**20 + 8}, "size"),
        ({"number": 0}, r"number = 0: must lie in \[1, 128\]"),
        ({"number": -1}, "number"),
        ({"number": 129}, "number"),
        ({"number": 9, "size": 2**20}, "must not exceed 8388608 bit a request"),
        ({"additional_slave_SAE_IDs": []}, "additional_slave_SAE_IDs: 0 given"),
        ({"additional_slave_SAE_IDs": [f"sae-{n}" for n in range(9)]}, "additional_slave_SAE_IDs: 9 given.* max_SAE_ID_count = 8"),
    ],
)
def test_a_request_out_of_the_limits_is_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(RequestRefused, match=message):
        KeyRequest(**fields).require(LIMITS)


def test_the_limits_themselves_are_granted() -> None:
    KeyRequest(number=128, size=2**16).require(LIMITS)
    KeyRequest(additional_slave_SAE_IDs=[f"sae-{n}" for n in range(8)]).require(LIMITS)


def test_a_kme_without_multicast_refuses_any_additional_slave() -> None:
    with pytest.raises(RequestRefused, match="max_SAE_ID_count = 0"):
        KeyRequest(additional_slave_SAE_IDs=["carol"]).require(Limits(max_SAE_ID_count=0))


def test_a_request_without_a_size_is_for_the_size_of_the_kme() -> None:
    request_type = key_request_type(Limits(key_size=512))
    assert msgspec.json.decode(b"{}", type=request_type).size == 512
    assert msgspec.json.decode(b'{"size": 256}', type=request_type).size == 256


def test_slaves_are_the_one_of_the_path_and_the_additional_ones() -> None:
    assert KeyRequest().slaves("alice", "bob") == ["bob"]
    assert KeyRequest(additional_slave_SAE_IDs=["carol", "dave"]).slaves("alice", "bob") == ["bob", "carol", "dave"]


@pytest.mark.parametrize("additional", [["carol", "carol"], ["bob"], ["alice"], ["carol", "alice"]])
def test_additional_slaves_repeat_nobody(additional: list[str]) -> None:
    with pytest.raises(RequestRefused, match="must not repeat"):
        KeyRequest(additional_slave_SAE_IDs=additional).slaves("alice", "bob")


@pytest.mark.parametrize("sae", ["", " ", "a b", "\0", "é", "x" * 65, "a/b"])
def test_an_additional_slave_is_named_as_an_sae_is(sae: str) -> None:
    with pytest.raises(InputError, match="additional_slave_SAE_IDs"):
        KeyRequest(additional_slave_SAE_IDs=[sae]).slaves("alice", "bob")


def test_our_extensions_become_options() -> None:
    extensions = [{"tiandi_route_type": "satellite"}, {"tiandi_max_age_s": 60}, {"tiandi_min_disjoint_paths": 2}]
    options = SupplyOptions(route_type="satellite", maximum_age_s=60, minimum_disjoint_paths=2)
    assert KeyRequest(extension_mandatory=extensions).mandatory_options() == options
    assert KeyRequest(extension_optional=extensions).optional_options() == options
    assert KeyRequest(extension_optional=extensions).mandatory_options() == SupplyOptions()
    assert KeyRequest().optional_options() == SupplyOptions()


@pytest.mark.parametrize("extensions", [[{"abc_route_type": "direct"}], [{"tiandi_max_age_s": 1}, {"": 1}], [{"TIANDI_MAX_AGE_S": 1}]])
def test_a_mandatory_extension_that_is_not_known_is_refused_in_the_words_of_the_standard(extensions: list[dict[str, Any]]) -> None:
    with pytest.raises(RequestRefused, match=f"^{EXTENSION_NOT_SUPPORTED}$"):
        KeyRequest(extension_mandatory=extensions).require(LIMITS)


MALFORMED = [
    ("tiandi_route_type", "fast"),
    ("tiandi_route_type", None),
    ("tiandi_route_type", ["direct"]),
    ("tiandi_max_age_s", 0),
    ("tiandi_max_age_s", -1),
    ("tiandi_max_age_s", 1.5),
    ("tiandi_max_age_s", True),
    ("tiandi_max_age_s", "60"),
    ("tiandi_max_age_s", 10**30),
    ("tiandi_min_disjoint_paths", 0),
    ("tiandi_min_disjoint_paths", 9),
    ("tiandi_min_disjoint_paths", {}),
]


@pytest.mark.parametrize(("name", "value"), MALFORMED)
def test_a_mandatory_extension_of_no_possible_value_is_refused_by_name(name: str, value: Any) -> None:
    with pytest.raises(RequestRefused, match=f"^{name}: must be "):
        KeyRequest(extension_mandatory=[{name: value}]).require(LIMITS)


@pytest.mark.parametrize(("name", "value"), [*MALFORMED, ("abc_route_type", "direct")])
def test_an_optional_extension_that_says_nothing_is_ignored(name: str, value: Any) -> None:
    request = KeyRequest(extension_optional=[{name: value}, {"tiandi_max_age_s": 5}])
    request.require(LIMITS)
    assert request.optional_options() == SupplyOptions(maximum_age_s=5)


def test_a_mandatory_extension_is_given_once() -> None:
    with pytest.raises(RequestRefused, match="tiandi_max_age_s is given twice"):
        KeyRequest(extension_mandatory=[{"tiandi_max_age_s": 1}, {"tiandi_max_age_s": 2}]).require(LIMITS)


def test_key_ids_are_one_at_least_and_each_another() -> None:
    first, second = KeyID(UUID(int=1)), KeyID(UUID(int=2))
    assert KeyIDs([first, second]).require(LIMITS) == [UUID(int=1), UUID(int=2)]
    for key_ids in ([], [first, second, first], [KeyID(UUID(int=n)) for n in range(129)]):
        with pytest.raises(RequestRefused, match="key_IDs"):
            KeyIDs(key_ids).require(LIMITS)


@pytest.mark.parametrize(
    "fields",
    [
        {"key_size": 100},
        {"min_key_size": 12},
        {"min_key_size": 512},
        {"max_key_size": 128},
        {"max_request_bit": 2**19},
        {"min_key_size": 0},
        {"max_key_per_request": 0},
        {"max_key_per_request": 1025},
        {"max_SAE_ID_count": -1},
    ],
)
def test_limits_that_contradict_are_refused(fields: dict[str, int]) -> None:
    with pytest.raises(InputError):
        Limits(**fields)


def test_a_key_is_base64_on_the_wire_and_absent_from_its_repr() -> None:
    container = KeyContainer([Key(UUID(int=7), b"\xfb\xff" * 16)])
    assert b'"key":"' + b"+/" in msgspec.json.encode(container)
    assert "fb" not in repr(container)
    assert "\\xff" not in repr(container)
