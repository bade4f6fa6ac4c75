from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.kms.network import Network, chain, read_rows
from tiandi.kms.etsi014 import KeyRequest
from tiandi.kms.operating.alarms import raise_alarm
from tiandi.kms.operating.link_watch import SILENT, LinkWatch, alarms_of_links
from tiandi.kms.relay.link_reports import LinkReport

NAMES = ["kme-0", "kme-1", "kme-2"]


def watch(network: Network, silent: set[str] = frozenset()) -> LinkWatch:  # type: ignore[assignment]
    kme = network.entities["kme-1"]
    return LinkWatch(kme, lambda: {"kme-0", "kme-2"}, obstacles=lambda: kme.database.run(alarms_of_links), silent=lambda: silent)


async def seen(watch: LinkWatch) -> dict[str, LinkReport]:
    return {report.neighbour: report for report in await watch.look()}


def test_two_processes_of_a_node_say_the_same_of_stock_arrivals_and_use(tmp_path: Path) -> None:
    async def run() -> None:
        async with chain(tmp_path, NAMES) as network:
            first, second = watch(network), watch(network)
            before = [await seen(process) for process in (first, second)]
            assert before[0] == before[1]
            assert before[0]["kme-2"].stock_bit == await network.entities["kme-1"].stock_bit("kme-2") > 0
            assert before[0]["kme-2"].rate_bps == before[0]["kme-2"].demand_bps == 0.0
            await network.entities["kme-0"].get_keys("alice", "bob", KeyRequest(number=4))
            await network.link("kme-1", "kme-2", 10_000)
            await network.entities["kme-0"].supply.close()
            await network.rest()
            for process in (first, second):
                after = (await seen(process))["kme-2"]
                spent_bit = before[0]["kme-2"].stock_bit + 40_000 - after.stock_bit
                # Of what came 60 s ago or less a sixtieth a second; 16 bytes of each half of a block are spent on comparing it.
                assert after.rate_bps == pytest.approx(40_000 / 60, rel=0.01)
                assert after.demand_bps == pytest.approx(spent_bit / 60, rel=0.01)
                assert not process.qber
            assert not await network.entities["kme-1"].database.run(read_rows, "SELECT 1 FROM alarm")

    asyncio.run(run())


def test_alarms_silence_and_draining_take_links_out_of_service(tmp_path: Path) -> None:
    async def run() -> None:
        async with chain(tmp_path, NAMES) as network:
            kme = network.entities["kme-1"]
            reports = await seen(watch(network, {"kme-0"}))
            assert [(reports[peer].in_service, reports[peer].note) for peer in ("kme-0", "kme-2")] == [(False, SILENT), (True, "")]
            await kme.database.run(raise_alarm, "block-differs", "kme-2", "a block differs")
            await kme.database.run(raise_alarm, "link-key-low", "kme-0", "little is left")
            reports = await seen(watch(network))
            assert [(reports[peer].in_service, reports[peer].note) for peer in ("kme-0", "kme-2")] == [
                (True, ""),
                (False, "a block differs"),
            ]
            kme.draining = True
            reports = await seen(watch(network))
            assert [reports[peer].note for peer in ("kme-0", "kme-2")] == ["its KME is being drained", "a block differs"]

    asyncio.run(run())
