"""Hostile bytes for the two ends of distillation, and what may come of them.

    python tests/fuzz/fuzz_messages.py -runs=1000000                bytes that may or may not be a message
    python tests/fuzz/fuzz_messages.py conversation -runs=30000     whole conversations of two ends with somebody on the line

The fuzzer is atheris, which takes libFuzzer's options. Every input begins from what honest ends said, so that whatever they learn to say
is fuzzed too. A conversation depends on its input alone: the operating system's randomness is replaced by a seeded one.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import lru_cache
from random import Random
from types import FunctionType, ModuleType, SimpleNamespace
from typing import Any, NamedTuple
from unittest import mock

import msgspec
import numpy as np

from tiandi.distill import messages
from tiandi.distill.alice import Alice
from tiandi.distill.authentication import AuthenticationPool, OneTimeTags
from tiandi.distill.bob import Bob
from tiandi.distill.ledger import BasisCounts
from tiandi.distill.party import Party, ProvenLength, Settings
from tiandi.distill.records import KeyBlock, ReceiverRecord, TransmitterRecord
from tiandi.errors import DistillationAborted, ProtocolViolation
from tiandi.tags import TAG_KEY_BYTE
from tiandi.units import BIT_PER_BYTE

LONGEST_CONVERSATION = 20_000
"""Messages; honest ones of these sizes take some hundreds."""


class Block(NamedTuple):
    """Raw key as two ends may have it: every bit of Bob is wrong with probability ``qber``, and an answer takes ``round_trip_s`` [s]."""

    seed: int
    qber: float
    detections: int = 4000
    round_trip_s: float = 0.0


BLOCKS = (Block(1, 0.0), Block(2, 0.01), Block(3, 0.02), Block(4, 0.02, detections=12_000, round_trip_s=1.0))
"""The blocks whose conversations are changed; each ends with key, the last by the codes for ends that are far apart."""

EDGES = (0, 1, -1, 2, 7, 8, 255, 256, 2**16, 2**31 - 1, 2**31, 2**32, 2**40, 2**62, 2**63 - 1, -(2**63), 2**64 - 1)


def half_of_the_key(counts: BasisCounts, *, basis: int, leaked_bit: int, error_pattern_told: bool) -> ProvenLength:
    """Not a proof: lets small blocks through so that a conversation takes a few milliseconds."""
    return ProvenLength(int(counts.counts[basis].sum() / 2) - leaked_bit // 4, 0.05)


SETTINGS = Settings(proof=half_of_the_key, sample_limits_bit=(60, 1000), replenish_limits_bit=2 * (2 * TAG_KEY_BYTE * BIT_PER_BYTE,))


def records(block: Block) -> tuple[TransmitterRecord, ReceiverRecord]:
    """What both ends know of the light of a block."""
    generator = np.random.default_rng(block.seed)
    slots = np.cumsum(generator.integers(1, 1000, block.detections))
    bases, other_bases, bits = (generator.integers(0, 2, slots.size, dtype=np.uint8) for _ in range(3))
    intensities = generator.choice(np.arange(3, dtype=np.uint8), slots.size, p=[0.7, 0.2, 0.1])
    flips = (generator.random(slots.size) < block.qber).astype(np.uint8)
    return TransmitterRecord(slots, intensities, bases, bits), ReceiverRecord(slots, other_bases, bits ^ flips)


Pools = tuple[AuthenticationPool, AuthenticationPool]


def two_ends(block: Block, pools: Pools) -> tuple[Alice, Bob]:
    """The two ends of a block, which pay for their tags from ``pools``."""
    sent, received = records(block)
    settings = replace(SETTINGS, round_trip_s=block.round_trip_s)
    return Alice(sent, settings, OneTimeTags(pools[0])), Bob(received, settings, OneTimeTags(pools[1]))


def two_pools(seed: int) -> Pools:
    """The same authentication key at both ends; another one for another seed."""
    shared = Random(seed).randbytes(1024)
    return AuthenticationPool("link", shared), AuthenticationPool("link", shared)


@contextmanager
def repeatable(seed: int) -> Iterator[None]:
    """Within it both ends draw the same secrets every time; others, as a compiler that names its files, keep the operating system's."""
    with mock.patch("tiandi.random.os", SimpleNamespace(urandom=Random(seed).randbytes)):
        yield


Change = Callable[[int, bytes], Iterable[bytes]]
"""What is delivered in place of the message of each number, counted over both directions: nothing, one message or several."""


def unchanged(number: int, said: bytes) -> Iterable[bytes]:
    """An honest line."""
    return (said,)


@dataclass
class Conversation:
    """Two ends and everything each of them said, and heard before it came to its outcome."""

    alice: Party
    bob: Party
    said: dict[str, list[bytes]] = field(default_factory=lambda: {"alice": [], "bob": []})
    heard: dict[str, list[bytes]] = field(default_factory=lambda: {"alice": [], "bob": []})


def converse(alice: Alice, bob: Bob, change: Change = unchanged) -> Conversation:
    """Let both ends talk until silence, with somebody on the line."""
    talk = Conversation(alice, bob)
    waiting = deque([("bob", bob.start())])
    number = delivered = 0
    while waiting:
        speaker, said = waiting.popleft()
        if said is None:
            continue
        talk.said[speaker].append(said)
        name, listener = ("alice", alice) if speaker == "bob" else ("bob", bob)
        for message in change(number, said):
            if listener.outcome is None:
                talk.heard[name].append(message)
            waiting.append((name, listener.receive(message)))
            delivered += 1
        number += 1
        assert delivered < LONGEST_CONVERSATION, "a conversation does not come to an end"
    return talk


def require_fair_end(talk: Conversation) -> None:
    """Each end has come to a key, a typed error or silence; who has a key heard what was said, and so was heard; two keys are one."""
    ends = {"alice": talk.alice, "bob": talk.bob}
    for party in ends.values():
        assert party.outcome is None or isinstance(party.outcome, KeyBlock | DistillationAborted), party.outcome
    for name, peer in (("alice", "bob"), ("bob", "alice")):
        if isinstance(ends[name].outcome, KeyBlock):
            heard = talk.heard[name]
            before = len(heard) - 1
            assert heard[:before] == talk.said[peer][:before], f"{name} has a key though what she heard was not said"
            assert talk.heard[peer][:before] == talk.said[name][:before], f"{name} has a key though what she said was not heard"
            # A last message is a tag: who repeats it in another encoding has said the same.
            assert messages.decode(heard[before]) == messages.decode(talk.said[peer][before])
    if isinstance(talk.bob.outcome, KeyBlock) or (talk.heard["alice"], talk.heard["bob"]) == (talk.said["bob"], talk.said["alice"]):
        assert isinstance(talk.alice.outcome, KeyBlock)
        assert talk.alice.outcome == talk.bob.outcome


RECORDED, LIVE = 1, 2
"""Two sessions about the same light, with other random choices and other authentication key: one to take from, one to change.

Taken from the same session, a tag yet to be said would be known to somebody on the line, who could then forge it.
"""


def converse_about(block: int, session: int, change: Change = unchanged) -> Conversation:
    """A conversation about one of `BLOCKS`; the same every time for one session and one ``change``."""
    with repeatable(1000 * session + block):
        return converse(*two_ends(BLOCKS[block], two_pools(session)), change)


@lru_cache
def honest_messages(block: int, session: int = RECORDED) -> tuple[bytes, ...]:
    """Everything said in an honest conversation about one of `BLOCKS`, in order."""
    said: list[bytes] = []

    def listen(number: int, message: bytes) -> Iterable[bytes]:
        said.append(message)
        return (message,)

    require_fair_end(converse_about(block, session, listen))
    return tuple(said)


@lru_cache
def numbers_by_type(block: int) -> tuple[tuple[int, ...], ...]:
    """Numbers of the honest messages of a live session, those of one type together."""
    by_type: dict[type, list[int]] = {}
    for number, message in enumerate(honest_messages(block, LIVE)):
        by_type.setdefault(type(messages.decode(message)), []).append(number)
    return tuple(map(tuple, by_type.values()))


class Chooser:
    """Turns bytes into choices. When the bytes are used up it always chooses the first."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def below(self, limit: int) -> int:
        """A whole number from 0 to ``limit`` - 1."""
        length = 1 if limit <= 1 << 8 else 4
        chosen, self._data = self._data[:length], self._data[length:]
        return int.from_bytes(chosen, "little") % limit

    def bytes(self, longest: int) -> bytes:
        """Up to ``longest`` bytes."""
        length = self.below(longest + 1)
        chosen, self._data = self._data[:length], self._data[length:]
        return chosen

    def spent(self) -> bool:
        """Whether no bytes are left."""
        return not self._data


def damaged(data: bytes, choose: Chooser) -> bytes:
    """``data`` with one byte changed, cut off, made longer, or replaced."""
    place = choose.below(len(data) + 1)
    match choose.below(4):
        case 0:
            return data[:place] + bytes(byte ^ (choose.below(255) + 1) for byte in data[place : place + 1]) + data[place + 1 :]
        case 1:
            return data[:place]
        case 2:
            return data[:place] + choose.bytes(64) + data[place:]
        case _:
            return choose.bytes(255)


def varied(value: Any, choose: Chooser) -> Any:
    """``value``, as MessagePack knows values, with one thing in it changed and its shape kept."""
    match value:
        case dict():
            name = list(value)[choose.below(len(value))]
            return value | {name: varied(value[name], choose)}
        case [*items] if items:
            place = choose.below(len(items))
            kept = items[:place], items[place + 1 :]
            return ([*kept[0], varied(items[place], choose), *kept[1]], [*kept[0], *kept[1]], items + items[place:])[choose.below(3)]
        case bytes():
            return damaged(value, choose)
        case int():
            edge = EDGES[choose.below(len(EDGES))]
            return (edge, value + 1, value - 1, 2 * value)[choose.below(4)]
        case str():
            return choose.bytes(255).decode("latin-1")
        case _:
            return (None, 0.5, [], {}, b"")[choose.below(5)]


def with_one_field_changed(message: bytes, choose: Chooser) -> bytes:
    """A message that decodes as well as it did, except for one of its values."""
    value = msgspec.msgpack.decode(message)
    try:
        return msgspec.msgpack.encode(varied(value, choose))
    except OverflowError:
        return message


ACTIONS: dict[str, Callable[[bytes, bytes, Chooser], tuple[bytes, ...]]] = {
    "change a value": lambda said, foreign, choose: (with_one_field_changed(said, choose),),
    "damage": lambda said, foreign, choose: (damaged(said, choose),),
    "drop": lambda said, foreign, choose: (),
    "repeat": lambda said, foreign, choose: (said, said),
    "insert before": lambda said, foreign, choose: (foreign, said),
    "insert after": lambda said, foreign, choose: (said, foreign),
    "replace": lambda said, foreign, choose: (foreign,),
}
"""What somebody on the line may deliver instead of what was said, given a message of a recorded session."""


def foreign_message(choose: Chooser) -> bytes:
    """A message of one of the recorded sessions."""
    recorded = honest_messages(choose.below(len(BLOCKS)))
    return recorded[choose.below(len(recorded))]


def try_message(data: bytes) -> None:
    """Arbitrary bytes are a message, which survives being said again, or a ProtocolViolation."""
    try:
        message = messages.decode(data)
    except ProtocolViolation:
        return
    again = messages.encode(message)
    assert messages.encode(messages.decode(again)) == again


def try_conversation(data: bytes) -> None:
    """One to three messages of a conversation are changed as ``data`` says; it comes to a fair end."""
    choose = Chooser(data)
    block = choose.below(len(BLOCKS))
    changes: dict[int, Chooser] = {}
    while len(changes) < 3 and not (changes and choose.spent()):
        numbers = numbers_by_type(block)
        same_type = numbers[choose.below(len(numbers))]
        changes[same_type[choose.below(len(same_type))]] = Chooser(choose.bytes(255))

    def change(number: int, said: bytes) -> Iterable[bytes]:
        if number not in changes:
            return (said,)
        choose = changes[number]
        action = list(ACTIONS.values())[choose.below(len(ACTIONS))]
        return action(said, foreign_message(choose), choose)

    require_fair_end(converse_about(block, LIVE, change))


def recorded_messages() -> list[bytes]:
    """What the honest conversations consist of, each message once."""
    return sorted({message for block in range(len(BLOCKS)) for message in honest_messages(block)})


def is_compiled(module: ModuleType) -> bool:
    """Whether a module holds compiled loops, whose source must stay as it is."""
    return any(str(getattr(item, name, "")).startswith("numba") for item in vars(module).values() for name in ("__name__", "__module__"))


def instrument() -> None:
    """Let the fuzzer see which lines of the protocol run; not what they compare, because atheris keeps every array compared for good."""
    from atheris.instrument_bytecode import patch_code  # type: ignore[import-untyped]  # noqa: PLC0415

    for module in [module for name, module in sys.modules.items() if name.startswith("tiandi.distill.") and not is_compiled(module)]:
        owners = [module, *(item for item in vars(module).values() if isinstance(item, type) and item.__module__ == module.__name__)]
        for item in [item for owner in owners for item in vars(owner).values()]:
            if isinstance(item, FunctionType) and item.__module__ == module.__name__:
                item.__code__ = patch_code(item.__code__, trace_dataflow=False)


def main() -> None:
    """Fuzz for as long as the options say."""
    import atheris  # type: ignore[import-untyped]  # noqa: PLC0415  Everything above serves tests that run without the fuzzer.

    arguments = sys.argv[1:]
    target = try_conversation if arguments[:1] == ["conversation"] else try_message
    recorded = recorded_messages()
    instrument()

    def mutate(data: bytes, max_size: int, seed: int) -> bytes:
        random = Random(seed)
        if target is try_conversation or random.random() < 0.3:
            return bytes(atheris.Mutate(data, max_size))
        message = random.choice(recorded)
        if random.random() < 0.5:
            return bytes(atheris.Mutate(message[:max_size], max_size))
        return with_one_field_changed(message, Chooser(random.randbytes(300)))[:max_size]

    options = ["-max_len=16384" if target is try_message else "-max_len=800", "-timeout=20", "-rss_limit_mb=1024"]
    atheris.Setup([sys.argv[0], *options, *arguments[target is try_conversation :]], target, custom_mutator=mutate)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
