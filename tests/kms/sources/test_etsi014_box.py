"""Two KMEs between another maker's boxes: equal blocks at both ends, and none at one end only, whatever is lost on the way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.kms.sources.makers_box import MakersAuthority, MakersBox, Mishap, Pool, answering, hang_up, lose_the_answer
from tiandi.distill.records import KeyBlock
from tiandi.errors import InputError, KmeUnreachable, ProtocolViolation, RemoteRefused, TiandiError
from tiandi.kms.client import AsyncKeyClient, KeysUncertain
from tiandi.kms.sources.etsi014_box import Etsi014Box
from tiandi.kms.sources.offers import BLOCKS_AT_ONCE, SCHEMA, Initiator, Responder, block_identifier
from tiandi.kms.store import sealing
from tiandi.kms.store.database import Transaction
from tiandi.kms.store.master_keys import create_master_key_file, open_master_key
from tiandi.kms.store.sealing import open_sealer
from tiandi.kms.store.sqlite_database import SqliteDatabase
from tiandi.kms.tls.pki import Credentials

KEYS_PER_BLOCK = 4


@dataclass
class Site:
    """Two boxes that share a pool, and the folder for the stores of the KMEs beside them."""

    folder: Path
    credentials: dict[str, Credentials]
    boxes: tuple[MakersBox, MakersBox]
    pool: Pool


@dataclass
class Ends:
    """Both ends while their processes run, and what the wire between them is to do with the next offers."""

    here: Initiator
    there: Responder
    offers: list[str]


@pytest.fixture(scope="module")
def credentials(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Credentials]:
    authority = MakersAuthority(tmp_path_factory.mktemp("pki"))
    return {name: authority.issue(name) for name in ("box-a", "box-b", "sae-a", "sae-b")}


@pytest.fixture
def site(tmp_path: Path, credentials: dict[str, Credentials]) -> Iterator[Site]:
    with running_boxes(tmp_path, credentials) as site:
        yield site


@contextmanager
def running_boxes(folder: Path, credentials: dict[str, Credentials]) -> Iterator[Site]:
    pool = Pool(stock=3 * KEYS_PER_BLOCK)
    for name in ("a", "b"):
        create_master_key_file(folder / f"{name}.key")
    with MakersBox(credentials["box-a"], pool) as here, MakersBox(credentials["box-b"], pool) as there:
        yield Site(folder, credentials, (here, there), pool)


@asynccontextmanager
async def processes(site: Site) -> AsyncIterator[Ends]:
    """Both ends from their start to their death; what they knew and did not write down is gone afterwards."""
    async with AsyncExitStack() as running:
        parts = []
        for name, box in zip("ab", site.boxes, strict=True):
            database = SqliteDatabase(site.folder / f"{name}.sqlite")
            running.push_async_callback(database.close)

            async def create(transaction: Transaction) -> None:
                if not await transaction.rows("SELECT 1 FROM sqlite_master WHERE name = 'box_block'"):
                    for statement in filter(str.strip, (SCHEMA + sealing.SCHEMA).split(";")):
                        await transaction.rows(statement)

            await database.run(create)
            sealer = await open_sealer(database, open_master_key(f"file:{site.folder / name}.key"), name)
            client = AsyncKeyClient(box.address, box.kme_id, site.credentials[f"sae-{name}"], retry_s=0.0)
            far_sae = "sae-b" if name == "a" else "sae-a"
            parts.append((Etsi014Box(await running.enter_async_context(client), far_sae, keys_per_block=KEYS_PER_BLOCK), database, sealer))
        there = Responder(*parts[1], name="boxes", peer="kme-a")
        offers: list[str] = []

        async def offer(key_ids: Sequence[UUID]) -> bool:
            what = offers.pop(0) if offers else "carry"
            if what == "lose the offer":
                raise KmeUnreachable("no way")
            answer = await there.receive_offer(key_ids)
            if what == "lose the answer":
                raise KmeUnreachable("no way back")
            return answer

        yield Ends(Initiator(*parts[0], name="boxes", peer="kme-b", offer=offer), there, offers)


async def settled(site: Site) -> tuple[list[KeyBlock], list[KeyBlock]]:
    """What both ends have once nothing is lost any more."""
    async with processes(site) as ends:
        return await ends.here.take_blocks(), await ends.there.take_blocks()


def test_both_ends_get_equal_blocks_and_send_under_different_halves(site: Site) -> None:
    async def life() -> None:
        async with processes(site) as ends:
            blocks = await ends.here.take_blocks()
            assert len(blocks) == 3
            assert all(len(block.key) == 32 * KEYS_PER_BLOCK and block.block_id.version == 8 for block in blocks)
            assert await ends.there.take_blocks() == blocks
            assert {ends.here.own_half, ends.there.own_half} == {"first", "second"}
            assert (ends.here.peer, ends.there.peer) == ("kme-b", "kme-a")

    asyncio.run(life())
    assert site.pool.waiting == {}


def test_blocks_survive_a_crash_until_they_are_acknowledged(site: Site) -> None:
    async def acknowledge() -> None:
        async with processes(site) as ends:
            for end in (ends.here, ends.there):
                await end.acknowledge([block.block_id for block in await end.take_blocks()][:2])

    before = asyncio.run(settled(site))
    asyncio.run(acknowledge())
    after = asyncio.run(settled(site))
    assert after == (before[0][2:], before[1][2:])
    assert len(after[0]) == 1


def test_an_acknowledged_block_leaves_no_key_and_its_offer_is_remembered(site: Site) -> None:
    async def life() -> None:
        async with processes(site) as ends:
            blocks = await ends.here.take_blocks()
            ids = [block.block_id for block in blocks]
            for end in (ends.here, ends.there, ends.there):
                await end.acknowledge(ids)
            assert await ends.here._database.run(sealed_count) == 0

    async def sealed_count(transaction: Transaction) -> int:
        return len(await transaction.rows("SELECT 1 FROM box_block WHERE sealed IS NOT NULL OR key_ids IS NOT NULL"))

    asyncio.run(life())


@pytest.mark.parametrize("lost", ["lose the offer", "lose the answer"])
def test_an_offer_without_an_answer_is_made_again_before_new_keys_are_fetched(site: Site, lost: str) -> None:
    async def life() -> None:
        async with processes(site) as ends:
            ends.offers[:] = [lost]
            with pytest.raises(KmeUnreachable):
                await ends.here.take_blocks()
        stock = site.pool.stock
        async with processes(site) as ends:
            ends.offers[:] = [lost]
            with pytest.raises(KmeUnreachable):
                await ends.here.take_blocks()
        assert site.pool.stock == stock

    asyncio.run(life())
    here, there = asyncio.run(settled(site))
    assert here == there
    assert len(here) == 3


@pytest.mark.parametrize("mishap", [lose_the_answer, hang_up, answering(200, b"?"), answering(400, b'{"message": "not found"}')])
def test_keys_that_came_to_one_end_only_are_void_at_both(site: Site, mishap: Mishap) -> None:
    site.boxes[1].mishaps.append(mishap)
    here, there = asyncio.run(settled(site))
    assert here == there
    assert len(here) == 2
    assert asyncio.run(settled(site)) == (here, there)


@pytest.mark.parametrize("status", [401, 503])
def test_a_box_that_delivers_nothing_now_is_asked_again_later(site: Site, status: int) -> None:
    async def fail() -> None:
        async with processes(site) as ends:
            site.boxes[1].mishaps.append(answering(status, b'{"message": "no"}'))
            with pytest.raises(RemoteRefused, match=str(status)):
                await ends.here.take_blocks()

    asyncio.run(fail())
    here, there = asyncio.run(settled(site))
    assert here == there
    assert len(here) == 3


def test_a_process_that_died_while_it_fetched_finds_its_keys_void(site: Site) -> None:
    async def life() -> None:
        async with processes(site) as ends:
            ends.offers[:] = ["lose the offer"]
            with pytest.raises(KmeUnreachable):
                await ends.here.take_blocks()
            (key_ids,) = {tuple(UUID(key_id) for key_id in site.pool.waiting)}
            assert await ends.there._begin(key_ids, "fetching", None) is None
        async with processes(site) as ends:
            assert len(await ends.here.take_blocks()) == 2
            assert not await ends.there.receive_offer(key_ids)

    asyncio.run(life())


@pytest.mark.parametrize(
    ("mishap", "error"), [(lose_the_answer, KeysUncertain), (answering(200, b"?"), ProtocolViolation), (answering(500, b""), KeysUncertain)]
)
def test_a_box_that_fails_the_initiator_is_told_of(site: Site, mishap: Mishap, error: type[TiandiError]) -> None:
    async def life() -> None:
        async with processes(site) as ends:
            site.boxes[0].mishaps.append(mishap)
            with pytest.raises(error):
                await ends.here.take_blocks()

    asyncio.run(life())
    here, there = asyncio.run(settled(site))
    assert here == there


def test_keys_that_a_box_gives_twice_are_discarded(site: Site) -> None:
    async def life() -> None:
        async with processes(site) as ends:
            first = site.boxes[0].serve("sae-a", "/api/v1/keys/sae-b/enc_keys", b'{"number": 4, "size": 256}')
            site.boxes[0].mishaps += [lambda serve: first] * 2
            blocks = await ends.here.take_blocks()
            assert len(blocks) == 1
            assert await ends.there.take_blocks() == blocks

    asyncio.run(life())


def test_no_more_is_fetched_than_the_kme_takes(site: Site) -> None:
    site.pool.stock = 2 * BLOCKS_AT_ONCE * KEYS_PER_BLOCK

    async def life() -> None:
        async with processes(site) as ends:
            assert len(await ends.here.take_blocks()) == len(await ends.here.take_blocks()) == BLOCKS_AT_ONCE
        assert site.pool.stock == BLOCKS_AT_ONCE * KEYS_PER_BLOCK

    asyncio.run(life())


def test_an_offer_of_another_shape_than_agreed_is_refused(site: Site) -> None:
    async def life() -> None:
        async with processes(site) as ends:
            for key_ids in ([], [UUID(int=1)] * KEYS_PER_BLOCK, [UUID(int=number) for number in range(KEYS_PER_BLOCK + 1)]):
                with pytest.raises(InputError, match="key_IDs"):
                    await ends.there.receive_offer(key_ids)

    asyncio.run(life())
    assert site.boxes[1].requests == []


def test_the_same_keys_in_another_order_are_another_block() -> None:
    assert block_identifier([UUID(int=1), UUID(int=2)]) != block_identifier([UUID(int=2), UUID(int=1)])


@given(
    st.lists(st.sampled_from(["carry", "lose the offer", "lose the answer"]), max_size=6),
    st.lists(st.sampled_from([None, lose_the_answer, hang_up]), max_size=4),
    st.lists(st.sampled_from([None, lose_the_answer, hang_up]), max_size=4),
)
@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_is_lost_the_ends_agree_in_the_end(
    credentials: dict[str, Credentials],
    tmp_path_factory: pytest.TempPathFactory,
    wire: list[str],
    mishaps_a: list[Mishap | None],
    mishaps_b: list[Mishap | None],
) -> None:
    async def stumble(site: Site) -> None:
        for box, mishaps in zip(site.boxes, (mishaps_a, mishaps_b), strict=True):
            box.mishaps += [mishap or (lambda serve: serve()) for mishap in mishaps]
        left = list(wire)
        for _ in range(8):
            async with processes(site) as ends:
                ends.offers[:], left = left[:1], left[1:]
                try:
                    await ends.here.take_blocks()
                except TiandiError:
                    continue

    with running_boxes(tmp_path_factory.mktemp("site"), credentials) as site:
        asyncio.run(stumble(site))
        here, there = asyncio.run(settled(site))
        assert here == there
        assert site.pool.stock == 0
