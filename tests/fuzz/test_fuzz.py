"""Fuzzing, a moment of it with every run of the tests and minutes of it with the slow ones; and that the fuzzer's judge is awake."""

from __future__ import annotations

import re
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from uuid import uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz import fuzz_messages
from tests.fuzz.fuzz_messages import (
    BLOCKS,
    LIVE,
    RECORDED,
    Chooser,
    Conversation,
    converse_about,
    damaged,
    honest_messages,
    numbers_by_type,
    recorded_messages,
    require_fair_end,
    try_conversation,
    try_message,
    with_one_field_changed,
)
from tiandi.distill import messages
from tiandi.distill.records import KeyBlock
from tiandi.errors import ProtocolViolation

MOST_MEMORY_BYTE = 1 << 20

needs_fuzzer = pytest.mark.skipif(find_spec("atheris") is None, reason="atheris, the fuzzer, is not installed")


@settings(deadline=None, max_examples=1000)
@given(st.integers(0, 10_000), st.binary(max_size=80), st.sampled_from([damaged, with_one_field_changed]))
def test_a_changed_message_is_a_message_or_a_protocol_violation(
    number: int, data: bytes, change: Callable[[bytes, Chooser], bytes]
) -> None:
    recorded = recorded_messages()
    try_message(change(recorded[number % len(recorded)], Chooser(data)))


@settings(deadline=None, max_examples=1000)
@given(st.binary(max_size=300))
def test_bytes_are_a_message_or_a_protocol_violation(data: bytes) -> None:
    try_message(data)


@settings(deadline=None, max_examples=300)
@given(st.binary(max_size=600))
def test_a_changed_conversation_comes_to_a_fair_end(data: bytes) -> None:
    try_conversation(data)


LENGTH_ALONE = [b"\xdd", b"\xdf", b"\xc6", b"\xdb", b"\xc9"]
"""MessagePack's longest arrays, maps, bytes, texts and extensions."""


@pytest.mark.parametrize("begin", LENGTH_ALONE, ids=["array", "map", "bytes", "text", "extension"])
def test_a_length_without_its_content_takes_no_memory(begin: bytes) -> None:
    """Four bytes can promise four gigabytes, alone or where an honest message has something."""
    promise = begin + b"\xff\xff\xff\xff"
    recorded = recorded_messages()
    tracemalloc.start()
    try:
        for data in [promise, *(message[:place] + promise for message in recorded[::20] for place in range(1, min(len(message), 80)))]:
            with pytest.raises(ProtocolViolation):
                messages.decode(data)
        assert tracemalloc.get_traced_memory()[1] < MOST_MEMORY_BYTE
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("nest", [b"\x91", b"\x81\xa4type", b"\x81\xa1a"], ids=["arrays", "types", "maps"])
def test_a_message_nested_too_deep_is_a_protocol_violation(nest: bytes) -> None:
    with pytest.raises(ProtocolViolation):
        messages.decode(nest * 100_000)


def test_what_honest_ends_say_is_what_the_fuzzer_begins_from() -> None:
    """Of every type of message there is one, except for those that honest ends of these blocks have no need of."""
    known = {type(messages.decode(message)) for message in recorded_messages()}
    assert len(known) >= 12
    for block in range(len(BLOCKS)):
        assert len(numbers_by_type(block)) >= 10
        assert honest_messages(block, LIVE) != honest_messages(block, RECORDED)
        assert honest_messages.__wrapped__(block, LIVE) == honest_messages(block, LIVE)


def fair() -> Conversation:
    return converse_about(0, LIVE)


def without_alice(talk: Conversation) -> None:
    talk.alice.outcome = None


def another_key(talk: Conversation) -> None:
    assert isinstance(talk.bob.outcome, KeyBlock)
    talk.bob.outcome = replace(talk.bob.outcome, key=bytes(len(talk.bob.outcome.key)))


def another_name(talk: Conversation) -> None:
    assert isinstance(talk.bob.outcome, KeyBlock)
    talk.bob.outcome = replace(talk.bob.outcome, block_id=uuid4())


def an_odd_end(talk: Conversation) -> None:
    talk.bob.outcome = ValueError("not one of ours")  # type: ignore[assignment]


def something_else_heard(talk: Conversation) -> None:
    talk.heard["bob"][1] += b"\0"


def something_unheard(talk: Conversation) -> None:
    del talk.heard["alice"][2]


def another_tag(talk: Conversation) -> None:
    talk.heard["bob"][-1] = honest_messages(0, RECORDED)[-1]


@pytest.mark.parametrize(
    "spoil", [without_alice, another_key, another_name, an_odd_end, something_else_heard, something_unheard, another_tag]
)
def test_an_unfair_end_is_seen(spoil: Callable[[Conversation], None]) -> None:
    talk = fair()
    require_fair_end(talk)
    spoil(talk)
    with pytest.raises(AssertionError):
        require_fair_end(talk)


def test_a_decoder_that_lets_another_error_out_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    def careless(data: bytes) -> messages.AnyMessage:
        raise MemoryError

    monkeypatch.setattr(messages, "decode", careless)
    with pytest.raises(MemoryError):
        try_message(b"\x80")


def fuzzed(folder: Path, *options: str) -> int:
    """How many inputs the fuzzer tried; fails with its report when one of them broke something."""
    script = Path(fuzz_messages.__file__)
    done = subprocess.run([sys.executable, str(script), *options], cwd=folder, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return int(re.findall(r"Done (\d+) runs", done.stderr)[-1])


@needs_fuzzer
@pytest.mark.slow
def test_a_million_inputs_are_messages_or_protocol_violations(tmp_path: Path) -> None:
    assert fuzzed(tmp_path, "-runs=1000000", "-seed=1") >= 1_000_000


@needs_fuzzer
@pytest.mark.slow
def test_minutes_of_hostile_conversations_come_to_fair_ends(tmp_path: Path) -> None:
    """About two hundred a second."""
    assert fuzzed(tmp_path, "conversation", "-max_total_time=150") > 3000
