"""The instrument as a server: round trips, refusals, hostile frames, one controller at a time."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tiandi.computing.chip.twin import chip_twin
from tiandi.computing.instruments import frames
from tiandi.computing.instruments.client import connect
from tiandi.computing.instruments.instrument import idle
from tiandi.computing.instruments.program import Drive, Measure, Program, Shape, Train, Wait
from tiandi.computing.instruments.server import MOST_CONNECTIONS, InstrumentServer, serve
from tiandi.errors import InputError, StateError

LINES = np.arange(4)
CHIP = chip_twin(4, seed=3, faults=False).electronics


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
        (framed(b"\xc1"), "text of a frame"),
        (framed(b"\xff\xff\xff\xff\xc1"), "text of a frame"),
        (framed(b"\x00\x00\x00\x01\xc1"), "frame"),
        (framed(b"\x00\x01\x00\x00" + b"\x91" * 65_536), "frame"),
        (framed(frames.pack([[[[[[[[[[[[[[[1]]]]]]]]]]]]]]])), "frame"),
        (framed(frames.pack({"call": "rm -rf", "argument": None})), "call"),
        (framed(frames.pack([1, 2])), "call"),
        (framed(frames.pack({"call": "run", "argument": {"type": "ChipTwin"}})), "type in a frame"),
        (framed(frames.pack({"call": "run", "argument": {"type": "Wait"}})), "Wait in a frame"),
        (framed(frames.pack({"call": "run", "argument": 5})), "argument"),
        (framed(frames.pack({"call": "rest", "argument": -1.0})), "time_s"),
        (framed(frames.pack({"call": "rest", "argument": "long"})), "request"),
        (framed(frames.pack({"call": "monitor", "argument": {"type": "array", "kind": "<f8", "shape": [9]}})), "array in a frame"),
        (framed(frames.pack({"call": "monitor", "argument": {"type": "array", "kind": "|O", "shape": [1]}})), "array in a frame"),
        (
            framed(frames.pack({"call": "monitor", "argument": {"type": "array", "kind": "<f8", "shape": [1 << 28, 1 << 28]}})),
            "array in a frame",
        ),
        (
            framed(frames.pack({"call": "monitor", "argument": {"type": "array", "kind": "<f8", "shape": [-1]}})),
            "shape of an array in a frame",
        ),
        (framed(frames.pack({"call": "monitor", "argument": {"type": {"a": 1}}})), "type in a frame"),
        (framed(frames.pack({"call": "monitor", "argument": np.zeros(10_000)})), "lines"),
        (framed(frames.pack({"call": "configure", "argument": replace(idle(CHIP), flux_bias_v=(0.0, 0.0, 0.0, 0.0))})), "flux_bias_v"),
        (framed(frames.pack({"call": "configure", "argument": replace(idle(CHIP), flux_bias_v=1j * np.zeros(4))})), "flux_bias_v"),
        (framed(frames.pack({"call": "run", "argument": replace(a_program(), points=1 << 60)})), "points"),
        (framed(frames.pack({"call": "run", "argument": replace(a_program(), shots=1e300)})), "shots"),
        (framed(frames.pack({"call": "run", "argument": replace(a_program(), steps=3)})), "request"),
        (framed(frames.pack({"call": "run", "argument": replace(a_program(), steps=((Wait("long"),),))})), "duration_ns"),
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


def test_whoever_says_nothing_or_is_slow_is_sent_away_and_holds_nothing() -> None:
    with InstrumentServer(chip_twin(4, seed=3, faults=False), "127.0.0.1", 0, silent_s=0.3) as served:
        host, port = served.address.split(":")
        begin = time.monotonic()
        with socket.create_connection((host, int(port))) as silent, socket.create_connection((host, int(port))) as slow:
            slow.sendall(framed(frames.pack({"call": "now_s"}))[:9])
            with connect(served.address) as there:
                assert there.now_s == 0.0
                for connection in (silent, slow):
                    connection.settimeout(5.0)
                    assert connection.recv(1) == b""
                assert time.monotonic() - begin < 3.0
                # A controller that has spoken may think for longer than that.
                time.sleep(0.5)
                assert there.now_s == 0.0


def test_an_answer_that_nobody_takes_does_not_hold_the_instrument() -> None:
    with InstrumentServer(chip_twin(4, seed=3, faults=False), "127.0.0.1", 0, silent_s=0.3) as served:
        raw = replace(a_program(5.0e9), shots=100_000, outcome="shots")
        host, port = served.address.split(":")
        with socket.create_connection((host, int(port))) as deaf:
            deaf.sendall(framed(frames.pack({"call": "run", "argument": raw})))
            assert time_of(served) > 0.0


def time_of(served: InstrumentServer) -> float:
    """Laboratory time, as soon as it has passed and nobody else holds the instrument."""
    for _ in range(80):
        with contextlib.suppress(InputError), connect(served.address) as there:
            if there.now_s > 0.0:
                return there.now_s
        time.sleep(0.1)
    raise AssertionError("the instrument is still held")


def test_a_controller_that_hangs_up_in_a_call_leaves_the_instrument_free() -> None:
    with serve(chip_twin(4, seed=3, faults=False)) as served:
        host, port = served.address.split(":")
        connection = socket.create_connection((host, int(port)))
        connection.sendall(framed(frames.pack({"call": "run", "argument": a_program(5.0e9)})))
        connection.close()
        assert time_of(served) > 0.0


def test_more_connections_than_allowed_are_closed(server: InstrumentServer) -> None:
    host, port = server.address.split(":")
    with contextlib.ExitStack() as stack:
        every = [stack.enter_context(socket.create_connection((host, int(port)))) for _ in range(MOST_CONNECTIONS + 1)]
        every[-1].settimeout(5.0)
        assert every[-1].recv(1) == b""


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org", ""])
def test_a_host_that_others_reach_is_refused_unless_it_is_meant(host: str) -> None:
    with pytest.raises(InputError, match="no authentication"):
        serve(chip_twin(4), host)


def test_it_may_be_reachable_when_it_is_meant() -> None:
    with serve(chip_twin(4), "0.0.0.0", reachable=True) as served, connect(f"127.0.0.1:{served.address.split(':')[1]}") as there:
        assert there.now_s == 0.0


def test_the_same_bytes_cannot_be_taken_twice() -> None:
    array = {"type": "array", "kind": "<f8", "shape": [1000]}
    text = frames.msgspec.msgpack.encode([array, array])
    with pytest.raises(InputError, match="array in a frame"):
        frames.unpack(len(text).to_bytes(4, "big") + text + bytes(8000))
