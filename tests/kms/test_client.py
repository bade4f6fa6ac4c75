"""The key client against a KME that delivers each key once, and against one that lies, stalls and hangs up."""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
import socket
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.kms.sources.makers_box import MakersAuthority, MakersBox, Pool, answering, hang_up, lose_the_answer
from tiandi.errors import InputError, KmeUnreachable, ProtocolViolation, RemoteRefused, TiandiError
from tiandi.kms import client
from tiandi.kms.client import AsyncKeyClient, Key, KeyClient, KeysUncertain
from tiandi.kms.conversation import LONGEST_PAUSE_S, Failure, Reply, ask_keys, ask_keys_with_ids, ask_status, converse
from tiandi.kms.tls.pki import Credentials

Ask = Callable[..., Any]
KEY = base64.b64encode(b"secret of thirty-two bytes 0123!")


@pytest.fixture(scope="module")
def credentials(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Credentials]:
    authority = MakersAuthority(tmp_path_factory.mktemp("pki"))
    return {name: authority.issue(name) for name in ("box", "alice", "bob")}


@pytest.fixture
def box(credentials: dict[str, Credentials]) -> Iterator[MakersBox]:
    with MakersBox(credentials["box"], Pool()) as box:
        yield box


@pytest.fixture(params=["sync", "async"])
def ask(request: pytest.FixtureRequest, box: MakersBox, credentials: dict[str, Credentials]) -> Ask:
    """Asks the box as an SAE, by either client."""

    def ask_sync(sae: str, method: str, *arguments: Any, addresses: Sequence[str] = (), retry_s: float = 2.0, **named: Any) -> Any:
        with KeyClient(addresses or box.address, "box", credentials[sae], retry_s=retry_s) as asking:
            return getattr(asking, method)(*arguments, **named)

    def ask_async(sae: str, method: str, *arguments: Any, addresses: Sequence[str] = (), retry_s: float = 2.0, **named: Any) -> Any:
        async def asking() -> Any:
            async with AsyncKeyClient(addresses or box.address, "box", credentials[sae], retry_s=retry_s) as asker:
                return await getattr(asker, method)(*arguments, **named)

        return asyncio.run(asking())

    return ask_sync if request.param == "sync" else ask_async


# What both ends get.


def test_the_slave_gets_the_masters_keys_in_the_order_it_asks_in(ask: Ask) -> None:
    keys: list[Key] = ask("alice", "get_keys", "bob", number=5, size_bit=136)
    assert [len(item.key) for item in keys] == [17] * 5
    wanted = [keys[place] for place in (3, 0, 4)]
    assert ask("bob", "get_keys_with_ids", "alice", [item.key_ID for item in wanted], size_bit=136) == wanted


def test_status_tells_what_the_kme_holds(ask: Ask, box: MakersBox) -> None:
    ask("alice", "get_keys", "bob", number=7)
    status = ask("alice", "status", "bob")
    assert (status.stored_key_count, status.source_KME_ID, status.slave_SAE_ID) == (993, "box", "bob")


def test_slaves_and_extensions_travel_as_the_standard_writes_them() -> None:
    question = ask_keys("bob", number=2, size_bit=64, additional_slaves=["carol"], mandatory={"a_b": 1, "a_c": "x"}, optional={"d_e": None})
    assert json.loads(question.body) == {
        "number": 2,
        "size": 64,
        "additional_slave_SAE_IDs": ["carol"],
        "extension_mandatory": [{"a_b": 1}, {"a_c": "x"}],
        "extension_optional": [{"d_e": None}],
    }
    assert json.loads(ask_keys("bob", number=1, size_bit=256).body) == {"number": 1, "size": 256}
    assert ask_status("a/b c%").path == "/api/v1/keys/a%2Fb%20c%25/status"


@pytest.mark.parametrize(
    "asking",
    [
        lambda: ask_keys("bob", number=0, size_bit=256),
        lambda: ask_keys("bob", number=1, size_bit=255),
        lambda: ask_keys("bob", number=1, size_bit=0),
        lambda: ask_keys_with_ids("alice", []),
        lambda: ask_keys_with_ids("alice", [UUID(int=1)] * 2),
        *(lambda sae=sae: ask_status(sae) for sae in ("", " ", "..", "a\0", "x" * 256)),
    ],
)
def test_what_cannot_be_asked_is_refused_before_it_is_sent(asking: Callable[[], object]) -> None:
    with pytest.raises(InputError):
        asking()


@pytest.mark.parametrize("address", ["", "http://localhost:1", "localhost:1", "https://", "https://user@host:1", "https://host/path", []])
def test_an_address_that_is_none_is_refused(address: Any, credentials: dict[str, Credentials]) -> None:
    with pytest.raises(InputError, match="KME address"):
        KeyClient(address, "box", credentials["alice"])


# Never twice.


@pytest.mark.parametrize("mishap", [lose_the_answer, hang_up, answering(502, b"Bad Gateway"), answering(503, b"upstream reset")])
def test_keys_whose_answer_is_lost_are_not_asked_for_again(ask: Ask, box: MakersBox, mishap: Any) -> None:
    seen = []
    box.mishaps += [lambda serve: (seen.append(1), mishap(serve))[1]] * 2
    with pytest.raises(KeysUncertain, match="the keys may be gone"):
        ask("alice", "get_keys", "bob")
    assert len(seen) == 1


def test_keys_of_identifiers_whose_answer_is_lost_are_named(ask: Ask, box: MakersBox) -> None:
    key_ids = [item.key_ID for item in ask("alice", "get_keys", "bob", number=2)]
    box.mishaps.append(lose_the_answer)
    with pytest.raises(KeysUncertain) as lost:
        ask("bob", "get_keys_with_ids", "alice", key_ids)
    assert lost.value.key_ids == tuple(key_ids)
    assert box.requests[1:] == ["/api/v1/keys/alice/dec_keys"]


def test_a_refusal_that_delivered_nothing_is_followed_by_another_attempt(ask: Ask, box: MakersBox) -> None:
    box.mishaps += [answering(503, b'{"message": "later"}')] * 2
    assert len(ask("alice", "get_keys", "bob", number=3)) == 3
    assert box.pool.stock == 997


def test_attempts_end_and_the_refusal_is_told(ask: Ask, box: MakersBox) -> None:
    box.pool.stock = 0
    with pytest.raises(RemoteRefused, match="503: no key"):
        ask("alice", "get_keys", "bob", retry_s=0.2)
    assert len(box.requests) > 1


def test_a_lost_status_is_asked_for_again(ask: Ask, box: MakersBox) -> None:
    box.mishaps += [lose_the_answer, hang_up]
    assert ask("alice", "status", "bob").stored_key_count == 1000


def test_a_refusal_for_good_is_not_followed_by_another_attempt(ask: Ask, box: MakersBox) -> None:
    with pytest.raises(RemoteRefused, match="400: not found"):
        ask("bob", "get_keys_with_ids", "alice", [uuid4()])
    assert len(box.requests) == 1


def test_a_node_of_a_cluster_that_is_down_is_passed_over(ask: Ask, box: MakersBox) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        dead = f"https://127.0.0.1:{closed.getsockname()[1]}"
    assert len(ask("alice", "get_keys", "bob", addresses=[dead, box.address], retry_s=0.0)) == 1
    with pytest.raises(KmeUnreachable, match="box at"):
        ask("alice", "get_keys", "bob", addresses=[dead, dead], retry_s=0.1)


def test_a_node_that_refuses_or_loses_an_answer_is_not_passed_over(ask: Ask, box: MakersBox, credentials: dict[str, Credentials]) -> None:
    with MakersBox(credentials["box"], Pool()) as other:
        box.pool.stock = 0
        with pytest.raises(RemoteRefused):
            ask("alice", "get_keys", "bob", addresses=[box.address, other.address], retry_s=0.1)
        box.mishaps.append(lose_the_answer)
        with pytest.raises(KeysUncertain):
            ask("alice", "get_keys", "bob", addresses=[box.address, other.address])
        assert other.requests == []


# Certificates.


def test_a_kme_of_another_name_gets_no_request(box: MakersBox, credentials: dict[str, Credentials]) -> None:
    with KeyClient(box.address, "other", credentials["alice"]) as other, pytest.raises(KmeUnreachable):
        other.get_keys("bob")
    assert box.requests == []


def test_a_client_that_the_kme_does_not_trust_gets_nothing(
    ask: Ask, box: MakersBox, credentials: dict[str, Credentials], tmp_path: Path
) -> None:
    """With TLS 1.3 it may hear of it only after it has asked, and its hanging up may be all it hears."""
    forged = MakersAuthority(tmp_path).issue("mallory")
    credentials["mallory"] = Credentials("mallory", forged.certificate, forged.private_key, credentials["alice"].authority)
    with pytest.raises(KmeUnreachable):
        ask("mallory", "status", "bob", retry_s=0.1)
    with pytest.raises((KmeUnreachable, KeysUncertain)):
        ask("mallory", "get_keys", "bob")
    assert box.requests == []


# What a hostile KME may send.


def container(*keys: tuple[UUID, bytes]) -> bytes:
    return json.dumps({"keys": [{"key_ID": str(key_id), "key": key.decode()} for key_id, key in keys]}).encode()


TWO = UUID(int=1), UUID(int=2)
HOSTILE = {
    "nothing": b"",
    "no JSON": b"<html>" + KEY,
    "no UTF-8": b'{"keys": "\xff' + KEY,
    "nested": b"[" * 50_000,
    "other members": b'{"Keys": []}',
    "fewer": container((TWO[0], KEY)),
    "more": container(*((UUID(int=number), KEY) for number in range(1, 4))),
    "one identifier twice": container((TWO[0], KEY), (TWO[0], KEY)),
    "short": container((TWO[0], KEY), (TWO[1], KEY[:16])),
    "long": container((TWO[0], KEY), (TWO[1], KEY[:40] + KEY)),
    "empty": container((TWO[0], KEY), (TWO[1], b"")),
    "no base64": container((TWO[0], KEY), (TWO[1], b"!" + KEY)),
    "no identifier": container((TWO[0], KEY), (TWO[1], KEY)).replace(b"-", b"+"),
    "huge": container((TWO[0], KEY), (TWO[1], KEY)) + b" " * 1_000_000,
    "compressed": gzip.compress(container((TWO[0], KEY), (TWO[1], KEY))),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_an_answer_that_does_not_fit_is_discarded_and_shows_no_key(ask: Ask, box: MakersBox, name: str) -> None:
    box.mishaps.append(answering(200, HOSTILE[name]))
    with pytest.raises(ProtocolViolation, match="its keys are discarded") as violation:
        ask("alice", "get_keys", "bob", number=2)
    assert KEY.decode()[:16] not in repr(violation.value)
    assert base64.b64decode(KEY) not in repr(violation.value).encode()
    assert box.requests == []


def test_keys_under_other_identifiers_than_asked_for_are_discarded(ask: Ask, box: MakersBox) -> None:
    box.mishaps.append(answering(200, container((TWO[0], KEY), (UUID(int=3), KEY))))
    with pytest.raises(ProtocolViolation, match="other identifiers"):
        ask("bob", "get_keys_with_ids", "alice", TWO)


def test_an_endless_answer_is_cut_off(ask: Ask, box: MakersBox) -> None:
    box.mishaps.append(answering(200, b" " * 50_000_000))
    with pytest.raises(ProtocolViolation, match="more than"):
        ask("alice", "status", "bob")


def test_an_answer_that_comes_in_drops_is_given_up(ask: Ask, box: MakersBox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "ANSWER_TIMEOUT_S", 0.2)
    monkeypatch.setattr(client, "CONNECT_TIMEOUT_S", 0.2)
    box.pause_s = 0.05
    with pytest.raises(KeysUncertain):
        ask("alice", "get_keys", "bob")
    with pytest.raises(KmeUnreachable):
        ask("alice", "status", "bob", retry_s=0.0)


def test_a_refusal_cannot_play_with_the_terminal(ask: Ask, box: MakersBox) -> None:
    box.mishaps.append(answering(400, json.dumps({"message": "\x1b[2J\r\nno" + "!" * 10_000}).encode()))
    with pytest.raises(RemoteRefused) as refused:
        ask("alice", "get_keys", "bob")
    assert refused.value.message.isprintable()
    assert len(refused.value.message) <= 300


# The rule itself, over every course that a conversation can take.

DELIVERED_NOTHING: list[Reply | Failure] = [Reply(503, "", b'{"message": "later"}'), Failure("refused", sent=False)]
MAY_HAVE_DELIVERED = [Reply(503, "", b""), Reply(500, "", b'{"message": "?"}'), Failure("lost", sent=True)]
FINAL = [Reply(401, "", b""), Reply(302, "", b""), Reply(200, "", b"?"), Failure("bad certificate", sent=True, untrusted=True)]


@given(st.lists(st.sampled_from(DELIVERED_NOTHING * 4 + MAY_HAVE_DELIVERED + FINAL), min_size=1, max_size=40), st.integers(1, 3))
def test_only_what_delivered_nothing_is_followed_by_another_request(outcomes: list[Reply | Failure], nodes: int) -> None:
    clock_s = 0.0
    talk = converse(ask_keys("bob", number=1, size_bit=256), "box", deque(map(str, range(nodes))), retry_s=3.0, now=lambda: clock_s)
    step = next(talk)
    for outcome in outcomes:
        assert isinstance(step, str)
        ended: TiandiError | None = None
        try:
            step = talk.send(outcome)
        except TiandiError as error:
            ended = error
        if ended is not None:
            assert isinstance(ended, KeysUncertain) == (outcome in MAY_HAVE_DELIVERED)
            return
        assert outcome in DELIVERED_NOTHING
        if isinstance(step, float):
            clock_s += step
            assert 0 < step <= LONGEST_PAUSE_S
            assert clock_s <= 3.0
            step = talk.send(None)


@pytest.mark.parametrize("shown", [Reply(200, "OK", KEY), Key(TWO[0], KEY)])
def test_what_holds_key_does_not_show_it(shown: object) -> None:
    assert KEY.decode()[:8] not in repr(shown)


def test_an_answer_in_another_order_is_put_in_order() -> None:
    question = ask_keys_with_ids("alice", TWO)
    assert [item.key_ID for item in question.read(container((TWO[1], KEY), (TWO[0], KEY)))] == list(TWO)
