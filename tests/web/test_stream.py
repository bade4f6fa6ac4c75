"""What readers of the stream are told, and what it costs that there are many."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from tests.web import SmallNetwork, Window, run
from tiandi.web import app, stream
from tiandi.web.stream import Stream


def streamed(work: Callable[[SmallNetwork, Stream], Awaitable[None]], **more: int) -> None:
    async def started() -> None:
        network = SmallNetwork()
        told = Stream(network, **more)
        told.start()
        try:
            async with asyncio.timeout(10):
                await asyncio.sleep(0.01)
                await work(network, told)
        finally:
            await told.close()

    asyncio.run(started())


async def first(reader: AsyncIterator[bytes]) -> bytes:
    return await anext(reader)


def identifiers(text: bytes) -> list[str]:
    return re.findall(r"id: (\S+)\n", text.decode())


def sentences(text: bytes) -> list[str]:
    return re.findall(r'"what":"([^"]*)"', text.decode())


async def happened(network: SmallNetwork, *sentences: str) -> None:
    for sentence in sentences:
        network.tell(sentence)
    await asyncio.sleep(0.02)


def test_the_network_comes_at_once_and_then_when_it_changes() -> None:
    async def work(window: Window) -> None:
        async with window.follow() as told:
            assert told.answer.headers["content-type"] == "text/event-stream"
            assert (await told.next())[:2] == ("network", "")
            await asyncio.sleep(1.3)
            window.network.tell("Nothing else changed.")
            assert (await told.next())[0] == "event"
            window.network.eavesdropped.add("Jinan-中")
            kind, _, view = await told.next()
            assert (kind, view["links"][1]["state"]) == ("network", "eavesdropped")

    run(work)


def test_an_action_is_seen_by_others_without_waiting_for_the_second() -> None:
    async def work(window: Window) -> None:
        async with window.follow() as told:
            await told.next("network")
            await asyncio.sleep(0.3)
            await window.ask("POST", "/api/v1/links/Beijing-Jinan/eavesdropper", {"on": True})
            async with asyncio.timeout(0.6):
                _, _, view = await told.next("network")
            assert view["links"][0]["state"] == "eavesdropped"

    run(work)


def test_who_comes_again_gets_what_it_missed() -> None:
    async def work(network: SmallNetwork, told: Stream) -> None:
        await happened(network, "one", "two", "three")
        fresh = told.follow()
        assert sentences(await first(fresh)) == []
        await happened(network, "four")
        body = await first(fresh)
        assert sentences(body) == ["four"]
        known = identifiers(body)[0]
        await fresh.aclose()  # type: ignore[attr-defined]
        await happened(network, "five", "six")
        assert sentences(await first(told.follow(known))) == ["five", "six"]
        process = known.partition("-")[0]
        assert sentences(await first(told.follow(f"{process}-0"))) == ["two", "three", "four", "five", "six"]
        everything = ["one", "two", "three", "four", "five", "six"]
        for odd in ("another-5", process, f"{process}-x", f"{process}-²", "-", f"{process}-" + "9" * 100):
            assert sentences(await first(told.follow(odd))) == everything, odd
        assert sentences(await first(told.follow(f"{process}-99999"))) == []

    streamed(work)


def test_a_reader_who_asks_again_and_again_hears_everything_once() -> None:
    async def work(network: SmallNetwork, told: Stream) -> None:
        heard: list[str] = []
        known = ""
        for number in range(8):
            reader = told.follow(known)
            body = await first(reader)
            heard += sentences(body)
            await happened(network, f"{number}a", f"{number}b")
            body = await first(reader)
            heard += sentences(body)
            known = identifiers(body)[-1]
            await reader.aclose()  # type: ignore[attr-defined]
            await happened(network, f"{number}c")
        assert heard == [f"{number}{letter}" for number in range(8) for letter in "abc"][:-1]

    streamed(work)


def test_who_was_away_too_long_is_told_how_much_it_lost() -> None:
    async def work(network: SmallNetwork, told: Stream) -> None:
        reader = told.follow()
        await first(reader)
        await happened(network, "0")
        known = identifiers(await first(reader))[0]
        await happened(network, *(str(number) for number in range(1, 25)))
        body = await first(told.follow(known))
        assert b'event: lost\ndata: {"events":14}\n\n' in body
        assert sentences(body) == [str(number) for number in range(15, 25)]

    streamed(work, events_kept=10)


def test_a_slow_reader_skips_pictures_but_no_events() -> None:
    async def work(network: SmallNetwork, told: Stream) -> None:
        slow, quick = told.follow(), told.follow()
        await first(slow)
        await first(quick)
        heard = []
        for number in range(4):
            network.time = str(number)
            told.changed()
            await happened(network, str(number))
            heard += sentences(await first(quick))
        body = await first(slow)
        assert sentences(body) == heard == ["0", "1", "2", "3"]
        assert body.count(b"event: network") == 1
        assert b'"time":"3"' in body
        await happened(network, "4")
        assert sentences(await first(slow)) == sentences(await first(quick)) == ["4"]

    streamed(work)


def test_many_readers_share_one_picture() -> None:
    async def work(network: SmallNetwork, told: Stream) -> None:
        readers = [told.follow() for _ in range(50)]
        await asyncio.gather(*(first(reader) for reader in readers))
        looked = network.views
        network.time = "later"
        bodies = await asyncio.gather(*(first(reader) for reader in readers))
        assert len({id(body) for body in bodies}) == 1
        assert network.views - looked <= 2

    streamed(work)


def test_nobody_looks_at_the_network_when_nobody_reads() -> None:
    async def work(network: SmallNetwork, told: Stream) -> None:
        await asyncio.sleep(0.6)
        assert network.views == 0
        reader = told.follow()
        await first(reader)
        await reader.aclose()  # type: ignore[attr-defined]
        looked = network.views
        await asyncio.sleep(1.3)
        assert (network.views, told.readers) == (looked, 0)

    streamed(work)


def test_a_sign_of_life_is_sent_when_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "PING_S", 0.05)

    async def work(_: SmallNetwork, told: Stream) -> None:
        reader = told.follow()
        await first(reader)
        assert await first(reader) == b":\n\n"

    streamed(work)


def test_a_network_that_cannot_be_seen_for_a_while_is_shown_again(caplog: pytest.LogCaptureFixture) -> None:
    async def work(network: SmallNetwork, told: Stream) -> None:
        reader = told.follow()
        await first(reader)
        sees, network.view = network.view, lambda: 1 / 0  # type: ignore[assignment, method-assign, return-value]
        told.changed()
        await asyncio.sleep(0.4)
        network.view = sees  # type: ignore[method-assign]
        network.time = "later"
        assert b'"time":"later"' in await first(reader)

    streamed(work)
    assert "could not be shown" in caplog.text


def test_events_that_break_off_are_listened_to_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "AGAIN_S", 0.05)

    async def work(network: SmallNetwork, told: Stream) -> None:
        await happened(network, "before")
        network._queues[0].put_nowait(object())  # type: ignore[arg-type]
        await asyncio.sleep(0.2)
        assert len(network._queues) == 2
        await happened(network, "after")
        assert [event.what for event in told.events()] == ["after", "before"]

    streamed(work)


def test_a_session_that_ends_takes_its_stream_along() -> None:
    async def work(window: Window) -> None:
        sessions = window.server.app.sessions
        session, _ = sessions.log_in(sessions.offer("viewer"))
        name = f"tiandi-{window.server.address.rpartition(':')[2]}"
        async with window.follow(Cookie=f"{name}={session}") as told:
            await told.next("network")
            sessions.log_out(session)
            window.network.tell("a secret")
            with pytest.raises(EOFError):
                await told.next("event")

    run(work)


def test_who_takes_nothing_is_dropped(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(app, "TAKE_TIMEOUT_S", 0.3)

    async def work(window: Window) -> None:
        cookie = window.cookie("viewer")["Cookie"]
        host, _, port = window.server.address.removeprefix("http://").partition(":")
        reader, writer = await asyncio.open_connection(host, int(port), limit=1024)
        writer.write(f"GET /api/v1/events HTTP/1.1\r\nHost: {host}\r\nCookie: {cookie}\r\n\r\n".encode())
        await reader.readexactly(100)
        assert window.server.app.stream.readers == 1
        async with asyncio.timeout(8):
            while window.server.app.stream.readers:
                window.network.time += "."
                window.server.app.stream.changed()
                await asyncio.sleep(0.1)
        assert not (await reader.read(-1)).endswith(b"0\r\n\r\n")
        writer.close()

    run(work, padding=3_000_000)
    assert caplog.text == ""


def test_no_more_streams_than_the_limit_and_none_is_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "STREAMS_LIMIT", 2)

    async def work(window: Window) -> None:
        async with window.follow() as one, window.follow() as other:
            await one.next()
            await other.next()
            async with window.follow() as third:
                assert third.answer.status_code == 503
        async with asyncio.timeout(2):
            while window.server.app.stream.readers:
                await asyncio.sleep(0.02)

    run(work)
