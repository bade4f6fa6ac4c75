"""KMEs of two networks from their configuration files, each under an authority of its own."""

from __future__ import annotations

import asyncio
import base64
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.kms.network import assert_balanced
from tests.ports import free_port
from tiandi.control.controller import controlled
from tiandi.errors import InputError, KeyNotFound, NotAuthorised, StateError, TiandiError
from tiandi.kms.etsi014 import KeyRequest
from tiandi.kms.keys import SupplyKey
from tiandi.kms.operating.configuration import read_configuration
from tiandi.kms.operating.service import MORE_TABLES, Service
from tiandi.kms.states import LIVING
from tiandi.kms.store import backup, ledger, restoring
from tiandi.kms.store.master_keys import create_master_key_file
from tiandi.kms.store.sqlite_database import SqliteDatabase
from tiandi.kms.streams.etsi004 import Qos
from tiandi.kms.tls.calling import client
from tiandi.kms.tls.pki import CertificateAuthority, Credentials, credentials_in

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
PATIENCE_S = 20.0
OPEN_ROWS = (
    "SELECT count(*) FROM outgoing WHERE state = 'held' OR state = 'voiding'",
    "SELECT count(*) FROM incoming WHERE state = 'carrying' OR state = 'voiding'",
    "SELECT count(*) FROM notice",
)


class Networks:
    """The two of the manual's examples, in a folder; a for kme-a and alice, b for kme-b and bob."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ports = {port: str(free_port()) for port in ("a.example:8443", "a.example:8020", "b.example:8443", "b.example:8020")}
        for own, sae in (("a", "alice"), ("b", "bob")):
            authority = CertificateAuthority(folder / own)
            authority.issue("kme", f"kme-{own}")
            authority.issue("sae", sae)
            create_master_key_file(folder / own / f"kme-{own}.master")
        for own, other in ("ab", "ba"):
            (folder / own / f"network-{other}").mkdir()
            for name in ("authority.crt", "authority+ml-dsa-65.crt", "authority.crl"):
                shutil.copy(folder / other / name, folder / own / f"network-{other}")
            text = (EXAMPLES / f"border-{own}.toml").read_text(encoding="utf-8").replace('"0.0.0.0"', '"127.0.0.1"')
            for place, port in self.ports.items():
                text = text.replace(f"https://{place}", f"https://127.0.0.1:{port}")
                if place.startswith(own):
                    text = text.replace(f"port = {place[-4:]}", f"port = {port}")
            self.config(own).write_text(text.replace("ahead_count = 16", "ahead_count = 2"), encoding="utf-8")

    def config(self, network: str) -> Path:
        return self.folder / network / "kme.toml"

    def change(self, network: str, old: str, new: str) -> None:
        text = self.config(network).read_text(encoding="utf-8")
        assert old in text
        self.config(network).write_text(text.replace(old, new), encoding="utf-8")

    @asynccontextmanager
    async def serving(self, network: str) -> AsyncIterator[Service]:
        service = Service(read_configuration(self.config(network)), controlled)
        await service.open()
        try:
            await service.start()
            yield service
        finally:
            await service.close()

    def status_of(self, credentials: Credentials, place: str, kme: str, path: str) -> int | None:
        """What a caller is answered, or None when TLS lets nothing through."""
        try:
            with client(credentials, timeout_s=5, post_quantum_only=True) as calls:
                address = f"https://127.0.0.1:{self.ports[place]}{path}"
                return calls.get(address, extensions={"sni_hostname": kme}).status_code
        except httpx.TransportError:
            return None


@pytest.fixture
def networks(tmp_path: Path) -> Networks:
    return Networks(tmp_path)


async def until(condition: Callable[[], Any]) -> Any:
    async with asyncio.timeout(PATIENCE_S):
        while True:
            with suppress(TiandiError):
                if found := await condition():
                    return found
            await asyncio.sleep(0.05)


async def share(here: Service, there: Service, master: str, slave: str) -> list[SupplyKey]:
    """Keys that both SAEs have."""
    keys: list[SupplyKey] = await until(lambda: here.entity.get_keys(master, slave, KeyRequest(number=2)))
    assert await there.entity.get_keys_with_ids(slave, master, [key.key_id for key in keys]) == keys
    return keys


async def count(service: Service, *queries: str) -> int:
    async def rows(transaction: Any) -> int:
        return sum([int((await transaction.rows(query))[0][0]) for query in queries])

    return await service.database.run(rows)


async def living_bit(transaction: Any) -> int:
    accounts = await ledger.accounts(transaction)
    return sum(bit for states in accounts.values() for state, bit in states.items() if state in LIVING)


async def lines_of(service: Service) -> list[bytes]:
    return [line async for line in backup.dump(service.database, service.configuration.kme.id, MORE_TABLES)]


def test_saes_of_two_networks_share_keys_both_ways_and_again_after_a_restart(networks: Networks) -> None:
    async def work() -> None:
        async with networks.serving("a") as a:
            async with networks.serving("b") as b:
                seen = await share(a, b, "alice", "bob") + await share(b, a, "bob", "alice")
            async with networks.serving("b") as b:
                seen += await share(a, b, "alice", "bob") + await share(b, a, "bob", "alice")
                assert len({key.key for key in seen}) == len(seen)
                for service in (a, b):
                    await service.database.run(assert_balanced)

    asyncio.run(work())


@pytest.mark.parametrize("mode", ["false", "true"])
def test_a_partner_that_is_asked_synchronously_is_another_way_to_the_same_keys(networks: Networks, mode: str) -> None:
    networks.change("a", "port = " + networks.ports["a.example:8020"], f"port = {networks.ports['a.example:8020']}\nsynchronous = {mode}")

    async def work() -> None:
        async with networks.serving("a") as a, networks.serving("b") as b:
            await share(a, b, "alice", "bob")

    asyncio.run(work())


def test_each_authority_opens_the_port_of_its_network_and_no_other(networks: Networks) -> None:
    theirs = networks.folder / "b"
    b_to_a = Credentials(
        "kme-b", theirs / "kme.kme-b.crt", theirs / "kme.kme-b.key", networks.folder / "a" / "authority.crt",
        also_trusted=(networks.folder / "a" / "authority+ml-dsa-65.crt",),
    )  # fmt: skip
    own = credentials_in(networks.folder / "a", "kme", "kme-a")

    async def work() -> None:
        async with networks.serving("a"):
            for credentials, place, path, expected in (
                (b_to_a, "a.example:8020", "/kmapi/versions", 200),
                (b_to_a, "a.example:8020", "/kx/v1/relay", 404),
                (b_to_a, "a.example:8020", "/api/v1/keys/bob/status", 404),
                (b_to_a, "a.example:8443", "/kmapi/versions", None),
                (own, "a.example:8020", "/kmapi/versions", None),
                (own, "a.example:8443", "/kmapi/versions", 404),
            ):
                assert await asyncio.to_thread(networks.status_of, credentials, place, "kme-a", path) == expected, (place, path)

    asyncio.run(work())


def test_a_key_stream_to_an_sae_of_another_network_is_refused_in_words(networks: Networks) -> None:
    async def work() -> None:
        async with networks.serving("a") as a:
            for caller, peer in (("alice", "bob"), ("bob", "alice")):
                with pytest.raises(NotAuthorised, match="bob is of another network: key streams end at the border"):
                    await a.streams.open(caller, peer, Qos(timeout_ms=100))

    asyncio.run(work())


def test_partners_stay_as_they_were_at_the_start_until_the_next(networks: Networks) -> None:
    async def work() -> None:
        async with networks.serving("a") as a, networks.serving("b") as b:
            networks.change("a", 'kme_id = "kme-b"', 'kme_id = "kme-z"')
            await a.reload()
            assert a.directory.partners["network-b"].kme_id == "kme-b"
            await share(a, b, "alice", "bob")

    asyncio.run(work())


@pytest.mark.parametrize(
    ("old", "new", "field"),
    [
        ('"network-b/authority.crt"', '"network-b/none.crt"', "partners[0].authority"),
        ('"network-b/authority.crt"', '"kme.kme-a.key"', "partners[0].authority"),
        ("network-b/authority.crl", "network-b/none.crl", "partners[0].revocations"),
        ("network-b/authority.crl", "authority.crl", "partners[0].revocations"),
    ],
)
def test_a_partner_whose_authority_cannot_be_known_is_refused_at_the_start(networks: Networks, old: str, new: str, field: str) -> None:
    before = networks.config("a").read_text(encoding="utf-8")
    networks.change("a", old, new)

    async def refused() -> None:
        with pytest.raises(InputError) as told:
            await Service(read_configuration(networks.config("a")), controlled).open()
        assert told.value.field == field

    asyncio.run(refused())
    networks.config("a").write_text(before, encoding="utf-8")
    asyncio.run(_opens(networks))


def test_a_partners_port_that_is_taken_is_named_and_nothing_is_left_open(networks: Networks) -> None:
    own, taken = networks.ports["a.example:8020"], networks.ports["b.example:8020"]

    async def refused() -> None:
        async with networks.serving("b"):
            networks.change("a", f"port = {own}", f"port = {taken}")
            with pytest.raises(StateError) as told:
                await Service(read_configuration(networks.config("a")), controlled).open()
            assert told.value.field == "partners[0].port"
        networks.change("a", f"port = {taken}", f"port = {own}")

    asyncio.run(refused())
    asyncio.run(_opens(networks))


async def _opens(networks: Networks) -> None:
    async with networks.serving("a"):
        pass


def test_what_a_restored_border_had_under_way_is_void_in_both_networks(networks: Networks) -> None:
    async def held() -> list[bytes]:
        async with networks.serving("a") as a:
            asked = asyncio.create_task(a.entity.get_keys("alice", "bob", KeyRequest()))
            await until(lambda: count(a, "SELECT count(*) FROM outgoing WHERE state = 'held' AND attempts > 0"))
            lines = await lines_of(a)
            # Whatever this backup says, keys go out and are given to alice after it.
            async with networks.serving("b") as b:
                await asyncio.gather(asked, return_exceptions=True)
                await share(a, b, "alice", "bob")
            return lines

    lines = asyncio.run(held())
    assert any(b"outgoing" in line for line in lines)
    _restore(networks, "a", lines)

    async def void() -> None:
        async with networks.serving("a") as a, networks.serving("b") as b:

            async def settled() -> bool:
                return await count(a, *OPEN_ROWS) == await count(b, *OPEN_ROWS) == 0

            await until(settled)
            rows = "SELECT count(*) FROM outgoing WHERE state = 'voided' OR state = 'undone'"
            assert await count(a, rows) > 0
            await share(a, b, "alice", "bob")
            await share(b, a, "bob", "alice")

    asyncio.run(void())


def test_keys_that_a_restored_border_had_taken_in_are_handed_out_by_nobody(networks: Networks) -> None:
    async def ready() -> tuple[list[bytes], list[SupplyKey]]:
        async with networks.serving("a") as a, networks.serving("b") as b:
            keys: list[SupplyKey] = await until(lambda: a.entity.get_keys("alice", "bob", KeyRequest(number=2)))
            lines = await lines_of(b)
            await b.entity.get_keys_with_ids("bob", "alice", [keys[0].key_id])
            return lines, keys

    lines, keys = asyncio.run(ready())
    text = b"".join(lines)
    assert b'"incoming"' in text
    for key in keys:
        assert base64.b64encode(key.key)[:40] not in text
    _restore(networks, "b", lines)

    async def void() -> None:
        async with networks.serving("a") as a, networks.serving("b") as b:
            for key in keys:
                with pytest.raises(KeyNotFound):
                    await b.entity.get_keys_with_ids("bob", "alice", [key.key_id])

            async def settled() -> bool:
                return await count(b, *OPEN_ROWS) == 0

            await until(settled)
            assert await count(b, "SELECT count(*) FROM incoming WHERE state = 'relayed'") == 0
            # What the other network keeps ready is for its operators to void, as the manual says.
            await a.operations.voiding.void_pair("olga", "alice", "bob")
            await share(a, b, "alice", "bob")

    asyncio.run(void())


def _restore(networks: Networks, network: str, lines: list[bytes]) -> None:
    store = networks.folder / network / f"kme-{network}.sqlite"
    for part in store.parent.glob(f"{store.name}*"):
        part.unlink()
    store.touch(0o600)

    async def put_back() -> None:
        database = SqliteDatabase(store)
        try:
            await restoring.restore(database, f"kme-{network}", lines, MORE_TABLES)
            await database.run(assert_balanced)
            assert await database.run(living_bit) == 0
        finally:
            await database.close()

    asyncio.run(put_back())
