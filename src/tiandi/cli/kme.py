"""`tiandi kme`: run a key management entity (KME), and see to one that runs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import App, Parameter

from tiandi.cli.terminal import print_json
from tiandi.errors import InputError

if TYPE_CHECKING:
    from tiandi.cli.backups import Client
    from tiandi.kms.operating.configuration_tables import Configuration
    from tiandi.kms.operating.partner_tables import PartnerTable

MOST_FILES = 65_536
"""That a KME may have open at once."""

# Modules are imported by the command that needs them, so that --help answers at once.

app = App(name="kme", help="Run a key management entity (KME) from a configuration file, and see to one that runs.")

Config = Annotated[Path, Parameter(name="--config", help="The configuration (TOML).")]
Json = Annotated[bool, Parameter(name="--json", negative="", help="Print JSON instead of words.")]


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Door:
    """Where a running KME is, and which operator asks."""

    kme: Annotated[str, Parameter(env_var="TIANDI_KME", help="https://HOST:PORT of the KME.")]
    certificate: Annotated[Path, Parameter(env_var="TIANDI_CERTIFICATE", help="Certificate of the operator (PEM).")]
    key: Annotated[Path, Parameter(env_var="TIANDI_KEY", help="Private key of the certificate (PEM).")]
    authority: Annotated[Path, Parameter(env_var="TIANDI_AUTHORITY", help="Certificate of the authority that the KME's must be of (PEM).")]
    kme_id: Annotated[
        str | None, Parameter(env_var="TIANDI_KME_ID", help="Name that the KME's certificate must bear; default: the host of --kme.")
    ] = None


@app.command
def master_key(file: Path, /) -> None:
    """Make a new random master key, under which a KME seals whatever it stores.

    Parameters
    ----------
    file
        New file for it, for its owner only. Without it the key in the store is lost: keep a copy where no copy of the store is.
    """
    from tiandi.kms.store.master_keys import create_master_key_file

    try:
        create_master_key_file(file)
    except FileExistsError:
        raise InputError("file", str(file), "is there already") from None
    except OSError as error:
        raise InputError("file", str(file), f"cannot be written: {(error.strerror or '').lower()}") from None
    print(f'{file}: for the configuration, master_key = "file:{file}"')


@app.command
def check(*, config: Config, json: Json = False) -> None:
    """Read a configuration and what it names, and print what would run. Nothing is opened that a running KME has open."""
    from tiandi.kms.operating.border import partner_tls
    from tiandi.kms.operating.configuration import read_configuration
    from tiandi.kms.operating.service import server_tls
    from tiandi.kms.store.master_keys import open_master_key

    configuration = read_configuration(config)
    server_tls(configuration)
    partner_tls(configuration)
    master = open_master_key(configuration.master_key())
    facts = _facts(configuration, master.name)
    if json:
        print_json(facts)
        return
    for name, value in facts.items():
        print(f"{name:<12} {', '.join(map(str, value)) if isinstance(value, list) else value}")


@app.command
def run(
    *, config: Config, log: Annotated[Literal["debug", "info", "warning", "error"], Parameter(help="Least level logged.")] = "info"
) -> None:
    """Run a KME until SIGTERM. Logs are JSON lines on standard error; SIGHUP reads SAEs, pairs, peers and ways anew."""
    import asyncio

    from tiandi.control.controller import controlled
    from tiandi.kms.operating.configuration import read_configuration
    from tiandi.kms.operating.logs import log_to_stderr
    from tiandi.kms.operating.service import run as run_service

    configuration = read_configuration(config)
    log_to_stderr(log)
    _set_limits()
    asyncio.run(run_service(configuration, make_routing=controlled))


@app.command
def status(*, door: Door, json: Json = False) -> None:
    """Show how a running KME does: checks, alarms, reservations, link key and supply keys."""
    answer = _ask(door, "GET", "/admin/v1/status")
    answer |= {name: _ask(door, "GET", f"/admin/v1/{name}") for name in ("links", "stocks")}
    if json:
        print_json(answer)
        return
    _show(answer)


@app.command
def drain(*, door: Door, end: Annotated[bool, Parameter(negative="", help="Hand out keys again.")] = False, json: Json = False) -> None:
    """Have a running KME hand out no new keys; slaves may still collect theirs."""
    answer = _ask(door, "POST", "/admin/v1/drain", {"draining": not end})
    if json:
        print_json(answer)
    else:
        print("hands out keys again" if end else "hands out no new keys")


@app.command
def void(
    *key_ids: Annotated[str, Parameter(help="Identifiers of supply keys.")],
    door: Door,
    pair: Annotated[tuple[str, str] | None, Parameter(negative="", help="Every key of a pair, at both KMEs: MASTER SLAVE.")] = None,
    link: Annotated[str | None, Parameter(help="All link key with this neighbouring KME.")] = None,
    json: Json = False,
) -> None:
    """Destroy keys that must not be used: of a pair of SAEs, of a link, or one by one."""
    asked = {"pair": list(pair) if pair else None, "link": link, "key_ids": list(key_ids) or None}
    given = {name: value for name, value in asked.items() if value is not None}
    if len(given) != 1:
        raise InputError("void", ", ".join(given) or "nothing", "needs one of --pair MASTER SLAVE, --link KME, or key identifiers")
    answer = _ask(door, "POST", "/admin/v1/void", given)
    if json:
        print_json(answer)
    else:
        _show(answer)


@app.command
def backup(
    file: Path,
    /,
    *,
    config: Annotated[Path | None, Parameter(name="--config", help="Of a KME that does not run, or whose database is PostgreSQL.")] = None,
    door: Door | None = None,
) -> None:
    """Write down what a KME's store must never forget, and no key. From its database with --config; from a running KME with --kme.

    Parameters
    ----------
    file
        New file for it, for its owner only.
    """
    import asyncio

    from tiandi.cli.backups import dumped, fetched, write_backup

    if config is not None:
        lines = dumped(config)
    elif door is not None:
        lines = fetched(_client(door))
    else:
        raise InputError("backup", "neither", "needs --config, or --kme with --certificate, --key and --authority")
    count = asyncio.run(write_backup(file, lines))
    print(f"{file}: {count} rows and no key")


@app.command
def restore(file: Path, /, *, config: Config) -> None:
    """Make the store of a KME out of a backup. It knows every identifier and holds no key; neighbours hear of it when the KME starts.

    Parameters
    ----------
    file
        The backup.
    """
    import asyncio

    from tiandi.cli.backups import put_back

    count = asyncio.run(put_back(file, config))
    print(f"{count} rows; key that was alive when the backup was made is voided. Start the KME with 'tiandi kme run'.")


def _client(door: Door) -> Client:
    from tiandi.cli.backups import Client
    from tiandi.kms.tls.pki import Credentials

    return Client(door.kme, door.kme_id, Credentials("operator", door.certificate, door.key, door.authority))


def _ask(door: Door, method: str, path: str, body: object = None) -> Any:
    """The answer of a running KME. Raises KmeUnreachable, RemoteRefused."""
    import msgspec

    return msgspec.json.decode(_client(door).ask(method, path, None if body is None else msgspec.json.encode(body)))


def _facts(configuration: Configuration, master_key_name: str) -> dict[str, Any]:
    """What would run."""
    c = configuration
    streams = [f"tls {c.listen.address}:{c.listen.streams.port} (ETSI 004)"] if c.listen.streams else []
    return {
        "kme": c.kme.id,
        "doors": [f"https {c.listen.address}:{c.listen.port} (ETSI 014{', SKIP' if c.skip else ''}, KMEs, operators)", *streams],
        "database": str(c.path(c.database.sqlite)) if c.database.sqlite else "postgresql",
        "master key": master_key_name,
        "saes": [f"{sae.id} {f'beyond {sae.beyond} ' if sae.beyond else ''}at {c.home(sae)}" for sae in c.saes],
        "pairs": "any" if c.kme.any_pair else [f"{pair.master} to {pair.slave}" for pair in c.pairs],
        "peers": [peer.id for peer in c.peers],
        "ways": [" - ".join(link.ends) for link in c.links] or [" - ".join(route.nodes) for route in c.routes],
        "partners": [_partner_facts(c, partner) for partner in c.partners],
        "sources": [f"{source.title} with {source.peer}" for source in c.sources],
    }


def _partner_facts(c: Configuration, partner: PartnerTable) -> str:
    if not partner.is_at(c.kme.id):
        return f"{partner.name} behind {partner.border}"
    mode = "synchronous" if partner.synchronous else "asynchronous"
    where = f"https {c.listen.address}:{partner.port} (ETSI 020) for {partner.address}"
    return f"{partner.name}: {partner.kme_id}, {where}, {mode}"


def _set_limits() -> None:
    """Of this process: no memory with keys in it becomes a file, and it may have many connections."""
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_FILES if hard == resource.RLIM_INFINITY else min(MOST_FILES, hard)
    if resource.RLIM_INFINITY != soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _show(value: Any, indent: int = 0) -> None:
    """Nested tables as indented lines."""
    for name, item in value.items() if isinstance(value, dict) else enumerate(value, 1):
        if isinstance(item, dict | list) and item:
            print(f"{' ' * indent}{name}")
            _show(item, indent + 2)
        else:
            print(f"{' ' * indent}{name}: {'-' if item in ({}, [], None, '') else item}")
