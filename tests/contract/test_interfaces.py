"""One list of tests for every implementation of an interface."""

from __future__ import annotations

import asyncio
import os
from datetime import UTC, datetime
from uuid import uuid4

import numpy as np
import pytest

from tests.quantum.test_channel import downlink
from tiandi.clock import Clock, SimulatedClock
from tiandi.distill.alice import Alice
from tiandi.distill.bob import Bob
from tiandi.distill.messages import Message
from tiandi.distill.party import Party, State
from tiandi.distill.records import KeyBlock
from tiandi.kms.source import KeySource
from tiandi.quantum.channel import Channel, DownlinkChannel, FibreChannel
from tiandi.scenario.network import QkdLinkEnd

__all__ = ["downlink"]


# Channel.


@pytest.fixture(params=["fibre", "downlink"])
def channel(request: pytest.FixtureRequest, downlink: DownlinkChannel) -> Channel:
    return FibreChannel(50.0) if request.param == "fibre" else downlink


def test_steps_of_a_channel_are_fractions_of_light_over_times(channel: Channel) -> None:
    steps = channel.steps(20.0)
    assert steps.duration_s.shape == steps.transmittance.shape
    assert ((steps.transmittance > 0) & (steps.transmittance <= 1)).all()
    assert steps.duration_s.sum() <= 20.0
    assert channel.length_km > 0


def test_a_channel_is_the_same_every_time(channel: Channel) -> None:
    assert np.array_equal(channel.steps(20.0).transmittance, channel.steps(20.0).transmittance)


def test_a_channel_of_no_time_carries_nothing(channel: Channel) -> None:
    assert channel.steps(0.0).duration_s.sum() == 0.0


# KeySource.


@pytest.fixture(params=["QKD link"])
def source_ends(request: pytest.FixtureRequest) -> tuple[KeySource, KeySource, KeyBlock]:
    """Both ends of a source that has made one block."""
    block = KeyBlock(uuid4(), os.urandom(100))
    here, there = QkdLinkEnd("kme-b", "first"), QkdLinkEnd("kme-a", "second")
    here.put(block)
    there.put(block)
    return here, there, block


def test_both_ends_of_a_source_hand_over_the_same_key_until_it_is_acknowledged(source_ends: tuple[KeySource, KeySource, KeyBlock]) -> None:
    here, there, block = source_ends
    for end in (here, there):
        assert asyncio.run(end.take_blocks()) == asyncio.run(end.take_blocks()) == [block]
        asyncio.run(end.acknowledge([block.block_id]))
        assert asyncio.run(end.take_blocks()) == []


def test_the_ends_of_a_source_spend_different_halves(source_ends: tuple[KeySource, KeySource, KeyBlock]) -> None:
    here, there, _ = source_ends
    assert {here.own_half, there.own_half} == {"first", "second"}
    assert here.peer != there.peer


# Clock.


@pytest.fixture(params=["simulated"])
def clock(request: pytest.FixtureRequest) -> Clock:
    return SimulatedClock(datetime(2016, 12, 19, tzinfo=UTC))


def test_a_clock_tells_utc_and_never_runs_back(clock: Clock) -> None:
    first, second = clock.now(), clock.now()
    assert first.utcoffset() == second.utcoffset() == datetime.now(UTC).utcoffset()
    assert second >= first


# Party.


@pytest.mark.parametrize("role", [Alice, Bob])
def test_every_message_has_one_place_in_a_partys_table(role: type[Party]) -> None:
    assert role.TRANSITIONS
    assert all(isinstance(state, State) and issubclass(kind, Message) for state, kind in role.TRANSITIONS)


def test_what_one_party_may_hear_the_other_may_say() -> None:
    heard = {kind.__name__ for role in (Alice, Bob) for _, kind in role.TRANSITIONS}
    assert heard | {"Abort"} == {kind.__name__ for kind in Message.__subclasses__()}
