"""`tiandi keys`: keys from a KME by ETSI GS QKD 014, for people and scripts."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from uuid import UUID

from cyclopts import App, Parameter

from tiandi.cli.terminal import print_json
from tiandi.errors import InputError, StateError

if TYPE_CHECKING:
    from tiandi.kms.client import Key, KeyClient

# Modules are imported by the command that needs them, so that --help answers at once.

app = App(name="keys", help="Fetch keys from a key management entity (KME) by ETSI GS QKD 014, as the application of a certificate.")


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Door:
    """Where the KME is, and who asks."""

    kme: Annotated[
        list[str],
        Parameter(
            env_var="TIANDI_KME",
            negative="",
            help="https://HOST:PORT of the KME; may be given again for further nodes of its cluster, which are tried in turn.",
        ),
    ]
    certificate: Annotated[Path, Parameter(env_var="TIANDI_CERTIFICATE", help="Certificate of this application (PEM).")]
    key: Annotated[Path, Parameter(env_var="TIANDI_KEY", help="Private key of the certificate (PEM).")]
    authority: Annotated[Path, Parameter(env_var="TIANDI_AUTHORITY", help="Certificate of the authority that the KME's must be of (PEM).")]
    kme_id: Annotated[
        str | None, Parameter(env_var="TIANDI_KME_ID", help="Name that the KME's certificate must bear; default: the host of --kme.")
    ] = None
    retry_s: Annotated[float, Parameter(help="How long to ask again what has certainly delivered nothing [s].")] = 2.0


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Delivery:
    """Where keys go. One of the three must be given: a key is delivered once."""

    output: Annotated[
        Path | None, Parameter(help="New file for the keys, as JSON, for its owner only; what is printed are their identifiers.")
    ] = None
    show: Annotated[bool, Parameter(negative="", help="Print the keys too, in base64 as on the wire.")] = False
    json: Annotated[
        bool,
        Parameter(negative="", help="Print JSON as the API has it: the key container, or with --output the identifiers for 'retrieve'."),
    ] = False


NOWHERE = Delivery()


@app.command
def status(
    slave: str, /, *, door: Door, json: Annotated[bool, Parameter(negative="", help="Print the answer as JSON instead of a table.")] = False
) -> None:
    """Ask how many keys the KME holds for this application and another one.

    Parameters
    ----------
    slave
        Identifier of the application at the other end (SAE ID).
    """
    from msgspec import structs

    with _client(door) as client:
        answer = structs.asdict(client.status(slave))
    if json:
        print_json(answer)
        return
    for name, value in answer.items():
        print(f"{name.replace('_', ' '):<24} {value}")


@app.command
def get(slave: str, /, *, door: Door, delivery: Delivery = NOWHERE, number: int = 1, size: int = 256) -> None:
    """Fetch new keys, and tell their identifiers to the other end, who fetches the same with 'retrieve'.

    Parameters
    ----------
    slave
        Identifier of the application at the other end (SAE ID).
    number
        How many keys.
    size
        Length of each [bit].
    """
    with _taking(delivery) as take, _client(door) as client:
        take(client.get_keys(slave, number=number, size_bit=size))


@app.command
def retrieve(
    master: str,
    /,
    *key_ids: Annotated[UUID, Parameter(help="Identifiers of keys, as 'get' prints them at the other end.")],
    door: Door,
    delivery: Delivery = NOWHERE,
) -> None:
    """Fetch the keys that another application has fetched with 'get'.

    Parameters
    ----------
    master
        Identifier of the application that has them (SAE ID).
    """
    with _taking(delivery) as take, _client(door) as client:
        take(client.get_keys_with_ids(master, key_ids))


@contextmanager
def _client(door: Door) -> Iterator[KeyClient]:
    from urllib.parse import urlsplit

    from tiandi.kms.client import KeyClient
    from tiandi.kms.tls.pki import Credentials

    if not door.retry_s >= 0:
        raise InputError("--retry-s", door.retry_s, "must be 0 or greater")
    kme_id = door.kme_id or urlsplit(door.kme[0]).hostname or ""
    credentials = Credentials(door.certificate.stem, door.certificate, door.key, door.authority)
    with KeyClient(door.kme, kme_id, credentials, retry_s=door.retry_s) as client:
        yield client


@contextmanager
def _taking(delivery: Delivery) -> Iterator[Callable[[Sequence[Key]], None]]:
    """What takes keys to where they are to go. What can be wrong there is found before there are any."""
    if not (delivery.output or delivery.show or delivery.json):
        raise InputError("--output", None, "must be given, or else --show or --json: a key is delivered once, and would be lost")
    if delivery.output is None:
        yield lambda keys: _tell(keys, delivery)
        return
    with _new_file(delivery.output) as write:

        def take(keys: Sequence[Key]) -> None:
            write(_container(keys))
            _tell(keys, delivery)

        yield take


@contextmanager
def _new_file(path: Path) -> Iterator[Callable[[bytes], None]]:
    """What writes a new file for its owner only, which appears when it is whole and on disk; nothing is written over."""
    if path.exists() or path.is_symlink():
        raise InputError("--output", str(path), "is there already, and nothing is written over")
    try:
        descriptor, partial = tempfile.mkstemp(prefix=".partial-", dir=path.parent)
    except OSError as error:
        raise InputError("--output", str(path), f"cannot be written: {error.strerror}") from None
    held = partial

    def write(content: bytes) -> None:
        nonlocal held
        try:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
            held = ""
            os.link(partial, path)
            held = partial
            folder = os.open(path.parent, os.O_RDONLY)
            os.fsync(folder)
            os.close(folder)
        except OSError as error:
            kept = "the keys are lost" if held else f"the keys are in {partial}"
            raise StateError("--output", str(path), f"cannot be written ({error.strerror}); {kept}") from None

    try:
        with os.fdopen(descriptor, "wb") as file:
            yield write
    finally:
        if held:
            os.unlink(held)


def _container(keys: Sequence[Key]) -> bytes:
    import msgspec

    from tiandi.kms.etsi014 import KeyContainer

    return msgspec.json.format(msgspec.json.encode(KeyContainer(list(keys))), indent=2) + b"\n"


def _tell(keys: Sequence[Key], delivery: Delivery) -> None:
    """Print identifiers, and keys only where they were asked for."""
    from base64 import b64encode

    if delivery.json and delivery.output is None:
        sys.stdout.buffer.write(_container(keys))
    elif delivery.json:
        print_json({"key_IDs": [{"key_ID": item.key_ID} for item in keys]})
    else:
        for item in keys:
            print(f"{item.key_ID}  {b64encode(item.key).decode()}" if delivery.show else item.key_ID)
