"""The instrument as a server: round trips, refusals, hostile frames, one controller at a time."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tiandi.computing.chip.twin import chip_twin
from tiandi.computing.instruments import frames
from tiandi.computing.instruments.client import connect
from tiandi.computing.instruments.instrument import idle
from tiandi.computing.instruments.program import Drive, Measure, Program, Shape, Train, Wait
from tiandi.computing.instruments.server import InstrumentServer, serve
from tiandi.errors import InputError, StateError

LINES = np.arange(4)


def a_program(frequency: float = 5.0e9) -> Program:
    moment = (Drive(LINES, np.linspace(0, 0.5, 3), 30.0, frequency, shape=Shape("gaussian")),)
    train = Train((moment, (Wait(10.0),)), np.array([[[0, 1, -1]] * 3], np.int16))
    return Program(4, 3, (moment, train), (Measure(LINES, 6.4e9, 0.3, 500.0),), shots=100, outcome="mean")


@pytest.fixture
def server() -> Iterator[InstrumentServer]:
    with serve(chip_twin(4, seed=3, faults=False)) as served:
        yield served


def test_a_controller_elsewhere_cannot_tell(server: InstrumentServer) -> None:
    here = chip_twin(4, seed=3, faults=False)
    with connect(server.address) as there:
        biased = idle(here.electronics)
        biased.flux_bias_v[:] = 0.05
        biased.flux_compensation = {(0, 1): 0.02}
        for instrument in (here, there):
            instrument.configure(biased)
        frequency = float(here.electronics.design_qubit_hz.mean())
        one, other = here.run(a_program(frequency)), there.run(a_program(frequency))
        assert np.array_equal(one.iq, other.iq)
        assert one.ended_s == other.ended_s == there.now_s
        assert there.electronics.name == here.electronics.name
        assert np.array_equal(there.monitor(LINES).image_dbc, here.monitor(LINES).image_dbc)
        there.rest(10.0)
        assert there.now_s == pytest.approx(here.now_s + 10.0)


def test_refusals_arrive_as_the_same_error(server: InstrumentServer) -> None:
    with connect(server.address) as there:
        with pytest.raises(InputError, match="local oscillator") as caught:
            there.run(a_program(7e9))
        assert caught.value.limit.startswith("must be at most 2e+08")
        assert there.now_s == 0.0


def test_a_second_controller_is_sent_away_and_may_come_later(server: InstrumentServer) -> None:
    with connect(server.address) as first:
        assert first.now_s == 0.0
        with connect(server.address) as second, pytest.raises((InputError, StateError)) as caught:
            assert second.now_s
        assert "another controller" in str(caught.value) or "connection" in str(caught.value)
        assert first.now_s == 0.0
    with connect(server.address) as later:
        assert later.now_s == 0.0


def hostile(address: str, sent: bytes) -> object:
    host, port = address.split(":")
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(sent)
        connection.shutdown(socket.SHUT_WR)
        return frames.receive(connection)


def framed(payload: bytes) -> bytes:
    return len(payload).to_bytes(4, "big") + payload


@pytest.mark.parametrize(
    ("sent", "field"),
    [
        (b"\xff\xff\xff\xff", "length of a frame"),
        (b"\x00\x00\x00\x00", "length of a frame"),
        (framed(b"\xc1"), "frame"),
        (framed(frames.pack({"call": "rm -rf", "argument": None})), "call"),
        (framed(frames.pack([1, 2])), "call"),
        (framed(frames.pack({"call": "run", "argument": {"type": "ChipTwin"}})), "type in a frame"),
        (framed(frames.pack({"call": "run", "argument": {"type": "Wait"}})), "Wait in a frame"),
        (framed(frames.pack({"call": "run", "argument": 5})), "argument"),
        (framed(frames.pack({"call": "rest", "argument": -1.0})), "time_s"),
        (framed(frames.pack({"call": "rest", "argument": "long"})), "request"),
        (
            framed(frames.pack({"call": "monitor", "argument": {"type": "array", "kind": "<f8", "shape": [9], "data": b"1"}})),
            "array in a frame",
        ),
        (
            framed(frames.pack({"call": "monitor", "argument": {"type": "array", "kind": "|O", "shape": [1], "data": b"1"}})),
            "array in a frame",
        ),
    ],
)
def test_hostile_frames_get_one_clear_error(server: InstrumentServer, sent: bytes, field: str) -> None:
    answer = hostile(server.address, sent)
    assert isinstance(answer, dict)
    assert answer["refused"]["field"] == field
    with connect(server.address) as there:
        assert there.now_s == 0.0


def test_a_frame_cut_short_ends_the_conversation(server: InstrumentServer) -> None:
    assert hostile(server.address, b"\x00\x00\x01\x00abc") is None


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=300))
def test_no_payload_does_more_than_raise_an_input_error(payload: bytes) -> None:
    with contextlib.suppress(InputError):
        frames.unpack(payload)


def test_nobody_there_is_said() -> None:
    with pytest.raises(StateError, match="cannot be reached"):
        connect("127.0.0.1:1")
    with pytest.raises(InputError, match="must be a host and a port"):
        connect("somewhere")
