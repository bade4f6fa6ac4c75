"""Somebody on the line, or a peer who cheats: whatever is said, each end comes to one typed error, or to the key it should have.

Nothing here knows what the messages are called or hold: it changes what honest ends say. `require_fair_end` is the law: whoever has a key
heard every word of the peer and was heard in every word.
"""

from __future__ import annotations

import traceback
import tracemalloc
from collections.abc import Callable, Iterable
from itertools import chain

import msgspec
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.fuzz.fuzz_messages import (
    ACTIONS,
    BLOCKS,
    EDGES,
    LIVE,
    SETTINGS,
    Block,
    Change,
    Chooser,
    Conversation,
    converse,
    converse_about,
    foreign_message,
    honest_messages,
    numbers_by_type,
    records,
    repeatable,
    require_fair_end,
    two_ends,
    two_pools,
    unchanged,
)
from tiandi.distill import messages
from tiandi.distill.authentication import OneTimeTags
from tiandi.distill.bob import Bob
from tiandi.distill.party import Party
from tiandi.distill.records import KeyBlock, ReceiverRecord
from tiandi.errors import AuthenticationFailed, DistillationAborted, PeerAborted, ProtocolViolation, QberTooHigh

EACH_BLOCK = pytest.mark.parametrize("block", range(len(BLOCKS)))
EACH_WAY = pytest.mark.parametrize("block", [1, 3], ids=["asking", "telling"])
"""One block of each way to reconcile: by questions, and by syndromes."""
MOST_MEMORY_BYTE = 1 << 26
MOST_STEPS_OF_A_TYPE = 30


def steps(block: int) -> list[int]:
    """Of each type of message the first and the last that is said in a live session, by number."""
    return sorted({number for same in numbers_by_type(block) for number in (same[0], same[-1])})


def last(block: int) -> int:
    return len(honest_messages(block, LIVE)) - 1


def at(step: int, deliver: Callable[[bytes], Iterable[bytes]]) -> Change:
    """An honest line except for one message."""
    return lambda number, said: deliver(said) if number == step else (said,)


def acting(action: str, foreign: bytes = b"") -> Callable[[bytes], Iterable[bytes]]:
    """Does one of `ACTIONS`, which chooses nothing, to what is said."""
    return lambda said: ACTIONS[action](said, foreign, Chooser(b""))


def instead(message: bytes) -> Callable[[bytes], Iterable[bytes]]:
    """Delivers this in place of whatever is said."""
    return acting("replace", message)


def require_no_key(talk: Conversation) -> None:
    for party in (talk.alice, talk.bob):
        assert isinstance(party.outcome, DistillationAborted), party.outcome


def require_no_key_but_hers(talk: Conversation, block: int, step: int) -> None:
    """Alice has her key when only her last word was changed; otherwise nobody has any."""
    require_fair_end(talk)
    assert not isinstance(talk.bob.outcome, KeyBlock)
    assert isinstance(talk.alice.outcome, KeyBlock) == (step == last(block))


@EACH_BLOCK
def test_an_honest_line_gives_both_the_same_key(block: int) -> None:
    talk = converse_about(block, LIVE)
    require_fair_end(talk)
    assert isinstance(talk.bob.outcome, KeyBlock)
    assert talk.alice.outcome == talk.bob.outcome


@EACH_BLOCK
def test_a_message_that_never_arrives_gives_no_key(block: int) -> None:
    """Silence is no error of the protocol: whoever carries the messages has to notice it."""
    for step in steps(block):
        talk = converse_about(block, LIVE, at(step, acting("drop")))
        require_no_key_but_hers(talk, block, step)
        assert talk.bob.outcome is None


def require_no_key_unless_too_late(talk: Conversation, block: int, step: int) -> None:
    """One message too many after that of a step: an end that waits for no more has its key, all others have none."""
    require_fair_end(talk)
    assert isinstance(talk.alice.outcome, KeyBlock) == (step >= last(block) - 2)
    assert isinstance(talk.bob.outcome, KeyBlock) == (step >= last(block) - 1)


@EACH_BLOCK
def test_a_message_said_twice_ends_the_block_or_comes_too_late(block: int) -> None:
    for step in steps(block):
        require_no_key_unless_too_late(converse_about(block, LIVE, at(step, acting("repeat"))), block, step)


@EACH_BLOCK
@pytest.mark.parametrize("how", ["replace", "insert before", "insert after"])
def test_a_message_of_another_session_gives_no_key(block: int, how: str) -> None:
    """The same step of a session about the same light, whose tags are of another key."""
    recorded = honest_messages(block)
    for same_type in numbers_by_type(block):
        step = same_type[0]
        foreign = recorded[min(step, len(recorded) - 1)]
        if foreign == honest_messages(block, LIVE)[step]:
            continue  # The light is the same, and so is what is told of it before anything is drawn.
        talk = converse_about(block, LIVE, at(step, acting(how, foreign)))
        (require_no_key_unless_too_late if how == "insert after" else require_no_key_but_hers)(talk, block, step)


@EACH_BLOCK
def test_nobody_takes_her_own_words_for_the_peers(block: int) -> None:
    """A mirror on the line: it returns to an end what this end said last, tags among it."""
    for step in steps(block)[1:]:
        said_before = honest_messages(block, LIVE)[step - 1]
        talk = converse_about(block, LIVE, at(step, instead(said_before)))
        require_no_key_but_hers(talk, block, step)


@EACH_BLOCK
def test_messages_in_another_order_give_no_key(block: int) -> None:
    """What the peer says later, had it been known, delivered first."""
    spoken = honest_messages(block, LIVE)
    for step in steps(block):
        if step + 2 < len(spoken) - 2 and spoken[step] != spoken[step + 2]:
            talk = converse_about(block, LIVE, at(step, acting("insert before", spoken[step + 2])))
            require_fair_end(talk)
            require_no_key(talk)


@EACH_BLOCK
@pytest.mark.parametrize("cut", [0, 1, 0.5, -1], ids=["nothing", "a byte", "half", "all but a byte"])
def test_a_message_cut_off_is_an_error_of_its_hearer(block: int, cut: float) -> None:
    for step in steps(block):
        talk = converse_about(block, LIVE, at(step, lambda said: (said[: int(cut * len(said)) if 0 < cut < 1 else int(cut)],)))
        require_no_key_but_hers(talk, block, step)
        hearer, speaker = (talk.alice, talk.bob) if step % 2 == 0 else (talk.bob, talk.alice)
        assert isinstance(hearer.outcome, ProtocolViolation)
        assert step == last(block) or isinstance(speaker.outcome, PeerAborted)


def leaves(value: object, path: tuple[object, ...] = ()) -> list[tuple[tuple[object, ...], object]]:
    """Every value in a message as MessagePack knows it, with the way to it."""
    if isinstance(value, dict):
        return list(chain.from_iterable(leaves(inner, (*path, name)) for name, inner in value.items()))
    if isinstance(value, list):
        return [(path, value), *chain.from_iterable(leaves(inner, (*path, place)) for place, inner in enumerate(value[:3]))]
    return [(path, value)]


def with_leaf(value: object, path: tuple[object, ...], leaf: object) -> object:
    """``value`` with another value at the end of a way."""
    if not path:
        return leaf
    if isinstance(value, dict):
        return value | {path[0]: with_leaf(value[path[0]], path[1:], leaf)}
    assert isinstance(value, list)
    return [with_leaf(inner, path[1:], leaf) if place == path[0] else inner for place, inner in enumerate(value)]


def extremes(value: object) -> list[object]:
    """What a cheating peer might put in the place of an honest value."""
    match value:
        case bytes():
            return [b"", b"\0" * len(value), b"\xff" * len(value), value[:-1], value + b"\0", value[::-1], value * 1000]
        case int():
            return list(EDGES)
        case str():
            return ["", "\0", "a" * 10_000, "\x1b[2J", "00000000-0000-0000-0000-000000000000"]
        case list():
            return [[], value[:-1], value + value, value * 1000, value[::-1]]
        case _:
            return [None, 0, b"", ""]


@EACH_WAY
def test_every_value_of_every_message_at_its_extremes(block: int) -> None:
    """One value of one message is as small, as large, as long or as empty as MessagePack lets it be."""
    live = honest_messages(block, LIVE)
    for step in {same_type[0] for same_type in numbers_by_type(block)}:
        told = msgspec.msgpack.decode(live[step])
        for path, leaf in leaves(told):
            for extreme in extremes(leaf):
                changed = msgspec.msgpack.encode(with_leaf(told, path, extreme))
                if changed != live[step]:
                    talk = converse_about(block, LIVE, at(step, instead(changed)))
                    require_no_key_but_hers(talk, block, step)


def slightly_changed(value: object) -> list[object]:
    """The least that can be changed in an honest value."""
    match value:
        case bytes() if value:
            return [bytes([value[0] ^ 1]) + value[1:], value[:-1] + bytes([value[-1] ^ 1])]
        case bool():
            return [not value]
        case int():
            return [value + 1]
        case _:
            return []


@EACH_WAY
def test_the_least_change_of_what_is_told_gives_no_key(block: int) -> None:
    """A bit of a string, or one more in a count, as somebody would change it who hopes that nobody minds; of each type in many places."""
    live = honest_messages(block, LIVE)
    for same_type in numbers_by_type(block):
        for step in same_type[:: -(-len(same_type) // MOST_STEPS_OF_A_TYPE)]:
            told = msgspec.msgpack.decode(live[step])
            for path, leaf in leaves(told):
                for changed in slightly_changed(leaf):
                    talk = converse_about(block, LIVE, at(step, instead(msgspec.msgpack.encode(with_leaf(told, path, changed)))))
                    require_no_key_but_hers(talk, block, step)


@EACH_WAY
def test_hostile_words_cost_little_memory(block: int) -> None:
    """Sizes, counts and seeds of 2^62, and strings a thousand times too long, are refused before anything is made for them."""
    live = honest_messages(block, LIVE)
    converse_about(block, LIVE)
    tracemalloc.start()
    try:
        for step in {same_type[0] for same_type in numbers_by_type(block)}:
            told = msgspec.msgpack.decode(live[step])
            for path, leaf in leaves(told):
                if isinstance(leaf, int | bytes):
                    largest = 2**62 if isinstance(leaf, int) else leaf * 1000
                    changed = msgspec.msgpack.encode(with_leaf(told, path, largest))
                    converse_about(block, LIVE, at(step, instead(changed)))
        assert tracemalloc.get_traced_memory()[1] < MOST_MEMORY_BYTE
    finally:
        tracemalloc.stop()


def test_an_end_listens_only_to_so_much() -> None:
    """A message of a gigabyte ends the block before anything of it is looked at."""
    for party in hearers():
        party.receive(bytes(1 << 30))
        assert isinstance(party.outcome, ProtocolViolation)


def hearers() -> tuple[Party, Party]:
    """Two ends that wait for their first message, Bob after his start."""
    alice, bob = two_ends(BLOCKS[0], two_pools(LIVE))
    bob.start()
    return alice, bob


@EACH_BLOCK
def test_a_recorded_session_replayed_to_either_end_gives_no_key(block: int) -> None:
    """The same light and even the same unspent authentication key, as after a copy of a disk: what this end draws is new."""
    recorded = honest_messages(block)
    sent, received = two_ends(BLOCKS[block], two_pools(1))
    for message in recorded[::2]:
        sent.receive(message)
    assert isinstance(sent.outcome, DistillationAborted)
    received.start()
    for message in recorded[1::2]:
        received.receive(message)
    assert not isinstance(received.outcome, KeyBlock)


def test_a_session_replayed_where_its_authentication_key_is_spent_gives_no_key() -> None:
    """Even an end that draws the same once more takes no tag twice."""
    pools = two_pools(LIVE)
    with repeatable(1):
        first = converse(*two_ends(BLOCKS[0], pools))
    assert isinstance(first.alice.outcome, KeyBlock)
    with repeatable(1):
        again, bob = two_ends(BLOCKS[0], pools)
        assert bob.start() == first.said["bob"][0]
        for message in first.said["bob"]:
            again.receive(message)
    assert isinstance(again.outcome, ProtocolViolation | AuthenticationFailed)


def test_a_tag_of_another_session_is_no_tag() -> None:
    """Neither end takes the last words of another session, and only Alice, who heard Bob's true tag, has a key in the second case."""
    recorded = honest_messages(0)
    for step, hearer in ((last(0) - 1, "alice"), (last(0), "bob")):
        foreign = recorded[len(recorded) - 1 - (last(0) - step)]
        talk = converse_about(0, LIVE, at(step, instead(foreign)))
        require_no_key_but_hers(talk, 0, step)
        assert isinstance({"alice": talk.alice, "bob": talk.bob}[hearer].outcome, AuthenticationFailed | ProtocolViolation)


def test_a_stranger_who_knows_the_protocol_and_not_the_key_gets_none() -> None:
    """Somebody who is Bob towards Alice, has measured all of her light, and shares no authentication key with her; and the reverse."""
    for strange_end in range(2):
        pools, strange = list(two_pools(LIVE)), two_pools(99)
        pools[strange_end] = strange[strange_end]
        talk = converse(*two_ends(BLOCKS[1], (pools[0], pools[1])))
        assert isinstance(talk.alice.outcome, AuthenticationFailed)
        assert isinstance(talk.bob.outcome, PeerAborted)


def test_ends_that_know_of_different_light_have_no_key() -> None:
    """Bob's bits are another session's: every second one is wrong."""
    alice, _ = two_ends(BLOCKS[0], two_pools(LIVE))
    known, other = records(BLOCKS[0])[1], records(Block(seed=77, qber=0.0))[1]
    bob = Bob(ReceiverRecord(known.slots, known.bases, other.bits), SETTINGS, OneTimeTags(two_pools(LIVE)[1]))
    talk = converse(alice, bob)
    require_no_key(talk)
    assert isinstance(talk.alice.outcome, QberTooHigh)
    assert isinstance(talk.bob.outcome, QberTooHigh)


@pytest.mark.parametrize("change", [unchanged, at(0, lambda said: (b"",)), at(5, lambda said: (b"\x80",))])
def test_after_its_end_an_end_says_at_most_one_more_word(change: Change) -> None:
    """Two ends that have given up do not tell each other so for ever, and a key stays what it is."""
    talk = converse_about(1, LIVE, change)
    for party in (talk.alice, talk.bob):
        outcome = party.outcome
        kept = bytes(outcome.key) if isinstance(outcome, KeyBlock) else b""
        answers = [party.receive(message) for message in (*honest_messages(1), *honest_messages(1, LIVE), b"", b"\xff" * 1000)]
        assert sum(answer is not None for answer in answers) <= 1
        assert party.outcome is outcome
        assert not isinstance(outcome, KeyBlock) or outcome.key == kept


@EACH_BLOCK
def test_who_speaks_before_the_start_is_refused(block: int) -> None:
    for message in {
        honest_messages(block)[same_type[0]] for same_type in numbers_by_type(block) if same_type[0] < len(honest_messages(block))
    }:
        _, bob = two_ends(BLOCKS[block], two_pools(LIVE))
        bob.receive(message)
        assert isinstance(bob.outcome, ProtocolViolation | PeerAborted)


def test_what_a_peer_calls_its_reason_does_not_reach_a_terminal_as_it_is() -> None:
    for party in hearers():
        party.receive(messages.encode(messages.Abort("\x1b[2J\r\n\x00\x9b31m\u202e")))
        assert isinstance(party.outcome, PeerAborted)
        assert str(party.outcome).isprintable()


def raw_key_held(error: BaseException | None) -> list[str]:
    """Names of arrays in the frames that hang on an error and on those behind it."""
    if error is None:
        return []
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    held = [
        f"{frame.f_code.co_name}: {name}" for frame in frames for name, value in frame.f_locals.items() if isinstance(value, np.ndarray)
    ]
    return held + raw_key_held(error.__cause__) + raw_key_held(error.__context__)


@EACH_WAY
def test_an_error_holds_nothing_of_the_raw_key(block: int) -> None:
    """Callers keep outcomes; what was being worked on when an end gave up must not hang on them."""
    live = honest_messages(block, LIVE)
    for step in {same_type[0] for same_type in numbers_by_type(block)}:
        told = msgspec.msgpack.decode(live[step])
        for path, leaf in leaves(told):
            if isinstance(leaf, bytes):
                for spoiled in (bytes(byte ^ 0xFF for byte in leaf), leaf[:-1]):
                    talk = converse_about(block, LIVE, at(step, instead(msgspec.msgpack.encode(with_leaf(told, path, spoiled)))))
                    for party in (talk.alice, talk.bob):
                        if isinstance(party.outcome, DistillationAborted):
                            assert raw_key_held(party.outcome) == []


def test_the_next_honest_block_gives_key_whatever_happened_to_the_last_ones() -> None:
    """A line that was hostile for a while parts nobody from the authentication key that both still have."""
    pools = two_pools(LIVE)
    for step in steps(0):
        for deliver in (acting("drop"), lambda said: (said[:-1],), lambda said: (said[:-1] + bytes([said[-1] ^ 1]),)):
            require_fair_end(converse(*two_ends(BLOCKS[0], pools), at(step, deliver)))
            talk = converse(*two_ends(BLOCKS[0], pools))
            assert isinstance(talk.bob.outcome, KeyBlock), step
            assert talk.alice.outcome == talk.bob.outcome


@settings(deadline=None, max_examples=200)
@given(
    block=st.integers(0, len(BLOCKS) - 1),
    script=st.dictionaries(st.integers(0, 400), st.tuples(st.sampled_from(list(ACTIONS)), st.binary(max_size=40)), max_size=4),
)
@example(block=0, script={})
def test_somebody_on_the_line_who_does_several_things_gets_nobody_a_key_unfairly(block: int, script: dict[int, tuple[str, bytes]]) -> None:
    plan = {step % (last(block) + 1): deed for step, deed in script.items()}

    def change(number: int, said: bytes) -> Iterable[bytes]:
        if number not in plan:
            return (said,)
        action, data = plan[number]
        choose = Chooser(data)
        return ACTIONS[action](said, foreign_message(choose), choose)

    require_fair_end(converse_about(block, LIVE, change))
