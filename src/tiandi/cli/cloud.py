"""`tiandi cloud`: lend the quantum computers to users, and manage who they are."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypeVar

from cyclopts import App, Parameter

from tiandi.cli.keys import Door, _client
from tiandi.cli.terminal import print_json
from tiandi.errors import InputError

if TYPE_CHECKING:
    from tiandi.computing.cloud.database import Database
    from tiandi.computing.cloud.server import CloudServer
    from tiandi.computing.cloud.serving import OtherDoor
    from tiandi.computing.cloud.users import Quotas, User
    from tiandi.kms.client import KeyClient

Result = TypeVar("Result")
MEGABYTE = 1 << 20
STORE = "cloud.sqlite"
LEAST_MEMORY_MB = 256
MOST_WORKERS = 1024

# Modules are imported by the command that needs them, so that --help answers at once.

app = App(
    name="cloud", help="Lend twins of quantum computers to users: a durable queue of jobs, workers, and an API.", help_format="plaintext"
)
users = App(name="users", help="Accounts, their API keys and their quotas; also while the cloud runs.", help_format="plaintext")
app.command(users)

Store = Annotated[
    str, Parameter(name="--store", env_var="TIANDI_CLOUD_STORE", help="File of SQLite, or postgresql://... for several servers.")
]
Json = Annotated[bool, Parameter(name="--json", negative="", help="Print JSON instead of words.")]


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class QuotaOptions:
    """What a user may have; what is not given is left as it is, or usual."""

    share: Annotated[float | None, Parameter(help="Weight against others who wait; usual: 1.")] = None
    highest_priority: Annotated[int | None, Parameter(help="Of the user's jobs, 0 to 9; usual: 5.")] = None
    most_waiting: Annotated[int | None, Parameter(help="Jobs that wait at once; usual: 1000.")] = None
    shots_a_day: Annotated[int | None, Parameter(help="Of all circuits together, a day of UTC; usual: 10,000,000.")] = None
    program_mb_a_day: Annotated[int | None, Parameter(help="MiB of programs, a day of UTC; usual: 100.")] = None

    def applied(self, quotas: Quotas) -> Quotas:
        """``quotas`` with what is given."""
        import msgspec

        return msgspec.structs.replace(quotas, **{name: value for name, value in vars(self).items() if value is not None})


@app.command
def serve(
    *,
    store: Store = STORE,
    port: Annotated[int, Parameter(help="0 for any that is free.")] = 8500,
    address: Annotated[str, Parameter(help="To listen on; others than this machine's own need --certificate.")] = "127.0.0.1",
    certificate: Annotated[Path | None, Parameter(help="Certificate chain of this server (PEM), for https.")] = None,
    key: Annotated[Path | None, Parameter(help="Private key of the certificate (PEM).")] = None,
    workers: Annotated[int | None, Parameter(help="Jobs at once; default: as many as processors.")] = None,
    scheduler: Annotated[
        str | None, Parameter(help="Address of a Dask scheduler whose workers run the jobs, such as tcp://10.0.0.1:8786.")
    ] = None,
    time_limit_s: Annotated[float, Parameter(help="Seconds that a job may take.")] = 600.0,
    memory_limit_mb: Annotated[int, Parameter(help="MiB of data that a job may take.")] = 4096,
    keep_days: Annotated[float, Parameter(help="For how long jobs that ended are kept.")] = 90.0,
    machines: Annotated[
        str | None, Parameter(help="module:function that gives other machines than the twins, or a data sheet written by tiandi control.")
    ] = None,
    quantum_door: Annotated[
        Path | None, Parameter(help="Settings (TOML) of a door over the quantum-secured network, for 'tiandi cloud connect'.")
    ] = None,
    log: Annotated[Literal["debug", "info", "warning", "error"], Parameter(help="Least level logged.")] = "info",
) -> None:
    """Serve until SIGTERM. Jobs survive the end of the server, however it comes. Logs go to standard error."""
    import asyncio

    from tiandi.computing.cloud.machines import DEFAULT_CATALOGUE
    from tiandi.computing.cloud.serving import Settings, serve_cloud
    from tiandi.limits import require_within

    if (certificate is None) != (key is None):
        raise InputError("certificate", str(certificate), "--certificate and --key go together")
    if workers is not None:
        require_within("workers", workers, 1, MOST_WORKERS)
    require_within("time_limit_s", time_limit_s, 1.0, 1e7)
    require_within("memory_limit_mb", memory_limit_mb, LEAST_MEMORY_MB, 1 << 24)
    require_within("keep_days", keep_days, 0.0, 36_500.0)
    _start_log(log)
    settings = Settings(
        address=address, port=port, certificate=certificate, key=key, workers=workers, scheduler=scheduler, time_limit_s=time_limit_s,
        memory_byte=memory_limit_mb * MEGABYTE, keep_s=86_400.0 * keep_days, catalogue=machines or DEFAULT_CATALOGUE,
    )  # fmt: skip
    other_door = None if quantum_door is None else _quantum_door(quantum_door)
    asyncio.run(serve_cloud(lambda: _open(store, serving=True), settings, lambda text: print(text, flush=True), other_door))


@app.command
def connect(
    place: str,
    /,
    *,
    peer: Annotated[str, Parameter(help="SAE ID of the cloud.")],
    door: Door,
    port: Annotated[int, Parameter(help="Of this machine, for clients; 0 for any that is free.")] = 8501,
    log: Annotated[Literal["debug", "info", "warning", "error"], Parameter(help="Least level logged.")] = "info",
) -> None:
    """Give clients on this machine a port that leads to a cloud's quantum door, until SIGTERM.

    Every connection is TLS 1.3 under a quantum key of its own, drawn from the KME.

    Parameters
    ----------
    place
        HOST:PORT of the cloud's quantum door.
    """
    import asyncio
    import signal

    from tiandi.service.quantum_door import QuantumTunnel, key_drawer, listen, parse_place

    host, its_port = parse_place("place", place)
    _start_log(log)
    sae_id = _sae_of(door.certificate)

    async def run(client: KeyClient) -> None:
        ended = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            asyncio.get_running_loop().add_signal_handler(number, ended.set)
        tunnel = QuantumTunnel(listen("127.0.0.1", port), host, its_port, sae_id, key_drawer(client, peer))
        await tunnel.start()
        print(f"http://{tunnel.address} leads to {place} under keys of {sae_id} and {peer}", flush=True)
        try:
            await ended.wait()
        finally:
            await tunnel.stop()

    with _client(door) as client:
        client.status(peer)  # What is wrong with the KME or the pair is said now.
        asyncio.run(run(client))


def _quantum_door(path: Path) -> OtherDoor:
    """The door that a file describes."""
    from contextlib import asynccontextmanager

    from tiandi.kms.client import KeyClient
    from tiandi.kms.tls.pki import Credentials
    from tiandi.service.quantum_door import KeyFinder, QuantumDoor, listen, parse_place, read_settings

    settings = read_settings(path)
    place = parse_place("listen", settings.listen)
    sae_id = _sae_of(Path(settings.certificate))
    credentials = Credentials(sae_id, Path(settings.certificate), Path(settings.key), Path(settings.authority))
    client = KeyClient(settings.kme, settings.kme_id, credentials)
    find_key = KeyFinder(client, settings.peers)

    @asynccontextmanager
    async def opened(server: CloudServer) -> AsyncIterator[str]:
        with client:
            door = QuantumDoor(listen(*place), find_key, server.adopt)
            await door.start()
            try:
                yield f"quantum door at {door.address} as {sae_id}, for {', '.join(settings.peers)}"
            finally:
                await door.stop()

    return opened


def _sae_of(certificate: Path) -> str:
    """The SAE ID in a certificate. Raises InputError where there is none."""
    from cryptography import x509

    from tiandi.errors import NotAuthorised
    from tiandi.kms.tls.identities import IdentityRule

    try:
        return IdentityRule().read(x509.load_pem_x509_certificate(certificate.read_bytes())).identity("sae")
    except (OSError, ValueError, NotAuthorised) as error:
        raise InputError("certificate", str(certificate), f"must be that of one SAE: {error}") from None


def _start_log(level: str) -> None:
    import logging

    logging.basicConfig(level=level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("httpx").setLevel("WARNING")  # It tells of every question to a KME.


@users.command(name="list")
def list_(*, store: Store = STORE, json: Json = False) -> None:
    """Show every account: quotas, jobs that wait and run, shots of today."""
    from tiandi.computing.cloud.users import list_users

    accounts = _with(store, lambda database: database.read(list_users))
    if json:
        print_json(accounts)
        return
    _show(accounts)


@users.command
def add(name: str, /, *, quotas: QuotaOptions = QuotaOptions(), store: Store = STORE, json: Json = False) -> None:
    """Make an account, and print its first API key, which is shown this once.

    Parameters
    ----------
    name
        1 to 64 letters, digits, dots, dashes, underscores or @.
    """
    from tiandi.computing.cloud.database import Transaction
    from tiandi.computing.cloud.users import Quotas, add_key, add_user

    async def make(transaction: Transaction) -> str:
        await add_user(transaction, name, quotas.applied(Quotas()))
        return await add_key(transaction, name)

    _print_key(name, _with(store, lambda database: database.run(make)), json)


@users.command
def change(
    name: str,
    /,
    *,
    quotas: QuotaOptions = QuotaOptions(),
    enabled: Annotated[
        bool | None, Parameter(negative="--disabled", help="Open an account, or shut it: its keys are refused, its jobs stay.")
    ] = None,
    store: Store = STORE,
    json: Json = False,
) -> None:
    """Give an account other quotas, or shut it.

    Parameters
    ----------
    name
        The user.
    """
    from tiandi.computing.cloud.database import Transaction
    from tiandi.computing.cloud.users import change_user, find_user

    async def alter(transaction: Transaction) -> User:
        before = await find_user(transaction, name)
        await change_user(transaction, name, quotas.applied(before.quotas), enabled=before.enabled if enabled is None else enabled)
        return await find_user(transaction, name)

    account = _with(store, lambda database: database.run(alter))
    if json:
        print_json(account)
    else:
        _show([account])


@users.command
def key(name: str, /, *, store: Store = STORE, json: Json = False) -> None:
    """Make one more API key of a user; it is printed this once.

    Parameters
    ----------
    name
        The user.
    """
    from tiandi.computing.cloud.users import add_key

    _print_key(name, _with(store, lambda database: database.run(add_key, name)), json)


@users.command
def keys(name: str, /, *, store: Store = STORE, json: Json = False) -> None:
    """Show the first 16 digits of a user's API keys, by which they can be revoked; the rest is in no store.

    Parameters
    ----------
    name
        The user.
    """
    from tiandi.computing.cloud.users import find_user, list_keys

    async def read(database: Database) -> list[tuple[str, str | None]]:
        await database.read(find_user, name)
        return await database.read(list_keys, name)

    found = _with(store, read)
    if json:
        print_json([{"key": key_id, "created": created} for key_id, created in found])
        return
    for key_id, created in found:
        print(f"{key_id}  made {created}")


@users.command
def revoke(key_id: str, /, *, store: Store = STORE, json: Json = False) -> None:
    """End an API key at once.

    Parameters
    ----------
    key_id
        Its first 16 digits.
    """
    from tiandi.computing.cloud.users import revoke_key

    owner = _with(store, lambda database: database.run(revoke_key, key_id))
    if json:
        print_json({"user": owner, "revoked": key_id})
    else:
        print(f"key {key_id} of {owner} ends here")


async def _open(store: str, *, serving: bool = False) -> Database:
    if store.startswith(("postgresql://", "postgres://")):
        try:
            from tiandi.computing.cloud.postgres_database import PostgresDatabase
        except ImportError:
            raise InputError("store", "postgresql", "needs asyncpg: pip install 'tiandi[postgresql]'") from None
        database = PostgresDatabase(store)
        await database.open()
        return database
    from tiandi.computing.cloud.sqlite_database import SqliteDatabase

    return SqliteDatabase(Path(store), serving=serving)


def _with(store: str, work: Callable[[Database], Awaitable[Result]]) -> Result:
    """What ``work`` gives over the store."""
    import asyncio

    from tiandi.computing.cloud.schema import create_tables

    async def run() -> Result:
        database = await _open(store)
        try:
            await create_tables(database)
            return await work(database)
        finally:
            await database.close()

    return asyncio.run(run())


def _print_key(name: str, text: str, json: bool) -> None:
    if json:
        print_json({"user": name, "key": text})
        return
    print(text)
    print(f"the API key of {name}: it is shown this once", file=sys.stderr)


def _show(accounts: Sequence[User]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("user", "share", "priority to", "waiting", "running", "shots today", "created", box=None)
    for account in accounts:
        quotas = account.quotas
        table.add_row(
            account.name if account.enabled else f"{account.name} (shut)", f"{quotas.share:g}", str(quotas.highest_priority),
            f"{account.waiting:,} of {quotas.most_waiting:,}", f"{account.running:,}", f"{account.shots_today:,} of {quotas.shots_a_day:,}",
            account.created or "",
        )  # fmt: skip
    Console().print(table)
