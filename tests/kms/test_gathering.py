import asyncio

import pytest

from tiandi.errors import KeysExhausted
from tiandi.kms.relay.gathering import LARGEST_LIST, Gatherer


def test_whatever_comes_while_one_list_is_under_way_goes_in_the_next() -> None:
    lists: list[list[int]] = []
    is_free = asyncio.Event()

    async def send(items: list[int]) -> list[int | BaseException]:
        lists.append(items)
        await is_free.wait()
        return [item * item for item in items]

    async def run() -> None:
        gatherer = Gatherer(send)
        first = [asyncio.create_task(gatherer.ask(number)) for number in (1, 2)]
        await asyncio.sleep(0.01)
        second = [asyncio.create_task(gatherer.ask(number)) for number in (3, 4, 5)]
        await asyncio.sleep(0.01)
        is_free.set()
        assert await asyncio.gather(*first, *second) == [1, 4, 9, 16, 25]
        assert lists == [[1, 2], [3, 4, 5]]

    asyncio.run(run())


def test_a_list_has_an_end() -> None:
    sizes: list[int] = []

    async def send(items: list[int]) -> list[int | BaseException]:
        sizes.append(len(items))
        return [*items]

    async def run() -> None:
        gatherer = Gatherer(send)
        assert await asyncio.gather(*(gatherer.ask(number) for number in range(LARGEST_LIST + 1))) == list(range(LARGEST_LIST + 1))
        assert sizes == [LARGEST_LIST, 1]

    asyncio.run(run())


def test_an_error_is_told_to_the_one_it_is_for_or_to_all_of_its_list() -> None:
    async def send(items: list[int]) -> list[int | BaseException]:
        if 0 in items:
            raise KeysExhausted("all", 0, 1)
        return [KeysExhausted("one", 0, 1) if item < 0 else item for item in items]

    async def run() -> None:
        gatherer = Gatherer(send)
        outcomes = await asyncio.gather(*(gatherer.ask(number) for number in (1, -1, 2)), return_exceptions=True)
        assert [outcomes[0], type(outcomes[1]), outcomes[2]] == [1, KeysExhausted, 2]
        outcomes = await asyncio.gather(*(gatherer.ask(number) for number in (1, 0)), return_exceptions=True)
        assert all(isinstance(outcome, KeysExhausted) for outcome in outcomes)
        assert await gatherer.ask(7) == 7

    asyncio.run(run())


def test_fewer_outcomes_than_items_keep_nobody_waiting() -> None:
    async def send(items: list[int]) -> list[int | BaseException]:
        return [*items[1:]]

    async def run() -> None:
        with pytest.raises(ValueError, match="shorter"):
            await asyncio.wait_for(Gatherer(send).ask(1), 1)

    asyncio.run(run())


def test_nothing_is_sent_for_whoever_has_gone() -> None:
    lists: list[list[int]] = []

    async def send(items: list[int]) -> list[int | BaseException]:
        lists.append(items)
        return [*items]

    async def run() -> None:
        gatherer = Gatherer(send)
        gone, stays = asyncio.create_task(gatherer.ask(1)), asyncio.create_task(gatherer.ask(2))
        gone.cancel()
        await asyncio.sleep(0)
        gone.cancel()
        assert await stays == 2
        assert lists == [[2]]

    asyncio.run(run())


def test_closing_keeps_nobody_waiting_for_a_list_under_way_or_the_next() -> None:
    async def send(items: list[int]) -> list[int | BaseException]:
        await asyncio.sleep(60)
        return [*items]

    async def run() -> None:
        gatherer = Gatherer(send)
        under_way = asyncio.create_task(gatherer.ask(1))
        await asyncio.sleep(0.01)
        waiting = asyncio.create_task(gatherer.ask(2))
        await asyncio.sleep(0.01)
        gatherer.close()
        outcomes = await asyncio.wait_for(asyncio.gather(under_way, waiting, return_exceptions=True), 1)
        assert all(isinstance(outcome, asyncio.CancelledError) for outcome in outcomes)

    asyncio.run(run())
