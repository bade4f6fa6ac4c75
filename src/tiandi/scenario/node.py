"""One node of a scenario that stands on several hosts: its KME with all doors, and its ends of the fibre links.

The KME is the one that `tiandi kme run` runs, from the configuration that the node's file names. Each link's keys reach it as key files,
under the same identifiers at both ends. Times are real: nothing here runs on a simulated clock.
"""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from typing import TYPE_CHECKING

from tiandi.control.controller import controlled
from tiandi.errors import InputError
from tiandi.hosts.key_folder import KeyFolder
from tiandi.hosts.pool_file import PoolFile
from tiandi.kms.operating.configuration import read_configuration
from tiandi.kms.operating.service import Service
from tiandi.kms.operating.service import run as run_service
from tiandi.scenario.node_links import Module, Receiver, Transmitter, wipe_partial
from tiandi.scenario.scenario import Scenario, load_scenario

if TYPE_CHECKING:
    from tiandi.kms.operating.configuration_tables import Configuration
    from tiandi.scenario.node_files import LinkEndTable, NodeFile


class NodeRun:
    """What one process runs of a scenario. A context manager: it holds the pools and the folders of keys of the node's links.

    Raises InputError when its files do not belong together, StateError for a pool that another process has.
    """

    def __init__(self, file: NodeFile) -> None:
        self._file = file
        self.configuration: Configuration = read_configuration(file.folder / file.kme)
        self._scenario: Scenario = load_scenario(str(file.folder / file.scenario))
        self._planned = {planned.link.name: planned for planned in self._scenario.fibre_links()}
        self._systems = {entry.name: entry.systems for entry in self._scenario.file.topology.fibres}
        for number, table in enumerate(file.links):
            self._require_link(number, table)
        self.modules: list[Module] = []
        self._service: Service | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._closing = ExitStack()

    def _require_link(self, number: int, table: LinkEndTable) -> None:
        planned = self._planned.get(table.name)
        if planned is None:
            raise InputError(f"links[{number}].name", table.name, f"must be a fibre link of {self._scenario.name}")
        ends = {"transmitter": planned.link.alice, "receiver": planned.link.bob}
        if ends[table.role] != self._file.node:
            raise InputError(f"links[{number}].role", table.role, f"is that of {ends[table.role]}, as the scenario says")

    def __enter__(self) -> NodeRun:
        with ExitStack() as opened:
            self.modules = [self._module(table, opened) for table in self._file.links]
            self._closing = opened.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.close()

    def _module(self, table: LinkEndTable, opened: ExitStack) -> Module:
        pool = opened.enter_context(PoolFile(self._file.folder / table.pool))
        keys = KeyFolder(self._file.folder / table.keys)
        wipe_partial(keys.path)  # Only now: while another process has the pool, these are files that it writes.
        if pool.name != table.name:
            raise InputError("pool", str(table.pool), f"must be of the link {table.name}, not of {pool.name}")
        return (Transmitter if table.role == "transmitter" else Receiver)(
            table=table,
            planned=self._planned[table.name],
            systems=self._systems[table.name],
            pool=pool,
            keys=keys,
            credentials=self.configuration.credentials(),
            stock_bit=self._stock_bit,
            measured=self._measured,
            trouble=self._trouble,
        )

    async def run(self) -> None:
        """Serve until SIGTERM or SIGINT. Raises InputError or StateError when the KME cannot begin."""
        try:
            await run_service(self.configuration, make_routing=controlled, ready=self._begin)
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def _begin(self, service: Service) -> None:
        self._service = service
        self._tasks = [asyncio.create_task(module.run()) for module in self.modules]

    async def _stock_bit(self, peer: str) -> int:
        assert self._service is not None
        return await self._service.entity.stock_bit(peer)

    def _measured(self, peer: str, qber: float) -> None:
        """The KME reports it with its links, by which ways are found."""
        assert self._service is not None
        self._service.link_watch.qber[peer] = qber

    async def _trouble(self, link: str, why: str) -> None:
        """An alarm for operators of the KME; they close it."""
        assert self._service is not None
        if why:
            await self._service.operations.raise_alarm("source-silent", link, why)
