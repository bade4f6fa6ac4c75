"""Behind `tiandi kme`: an operator's questions to a running KME, and files of backups."""

from __future__ import annotations

import os
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import msgspec

from tiandi.errors import InputError, KmeUnreachable, RemoteRefused
from tiandi.kms.etsi014 import Error
from tiandi.kms.operating.configuration import read_configuration
from tiandi.kms.operating.service import MORE_TABLES, open_database
from tiandi.kms.store import backup, restoring
from tiandi.kms.tls import calling as transport
from tiandi.kms.tls.pki import Credentials

TIMEOUT_S = 60.0
BACKUP_PATH = "/admin/v1/backup"


class Client:
    """An operator's connection to the KME at ``address`` (https://HOST:PORT), which must show the certificate of ``kme_id``."""

    def __init__(self, address: str, kme_id: str | None, credentials: Credentials) -> None:
        parts = urlsplit(address)
        if parts.scheme != "https" or not parts.hostname:
            raise InputError("--kme", address, "must be https://HOST:PORT")
        self._address, self._credentials = address.rstrip("/"), credentials
        self._extensions = {"sni_hostname": kme_id or parts.hostname}

    def ask(self, method: str, path: str, body: bytes | None) -> bytes:
        """The body of the answer. Raises KmeUnreachable when there is none, RemoteRefused for a refusal."""
        headers = {} if body is None else {"Content-Type": "application/json"}
        with transport.client(self._credentials, timeout_s=TIMEOUT_S, post_quantum_only=False) as client:
            try:
                url = self._address + path
                response = client.request(method, url, content=body, headers=headers, extensions=self._extensions)
            except httpx.TransportError as error:
                raise KmeUnreachable(f"{self._address}: {error or type(error).__name__}") from None
            return _content(response)

    async def backup_lines(self) -> AsyncIterator[bytes]:
        """The lines of a backup as they come. Raises as `ask`."""
        async with transport.async_client(self._credentials, timeout_s=TIMEOUT_S, post_quantum_only=False) as client:
            try:
                async with client.stream("GET", self._address + BACKUP_PATH, extensions=self._extensions) as response:
                    if not response.is_success:
                        await response.aread()
                        _content(response)
                    async for line in response.aiter_lines():
                        yield line.encode() + b"\n"
            except httpx.TransportError as error:
                raise KmeUnreachable(f"{self._address}: {error or type(error).__name__}") from None


def _content(response: httpx.Response) -> bytes:
    if response.is_success:
        return response.content
    try:
        reason = msgspec.json.decode(response.content, type=Error).message
    except msgspec.DecodeError:
        reason = response.reason_phrase
    raise RemoteRefused(response.status_code, reason)


def fetched(client: Client) -> AsyncIterator[bytes]:
    """A backup from a running KME."""
    return client.backup_lines()


async def dumped(config: Path) -> AsyncIterator[bytes]:
    """A backup from the database that a configuration names. Raises StateError when a running KME has it."""
    configuration = read_configuration(config)
    if configuration.database.sqlite and not configuration.path(configuration.database.sqlite).exists():
        raise InputError("database.sqlite", configuration.database.sqlite, "is not there")
    database = await open_database(configuration)
    try:
        async for line in backup.dump(database, configuration.kme.id, MORE_TABLES):
            yield line
    finally:
        await database.close()


async def write_backup(path: Path, lines: AsyncIterator[bytes]) -> int:
    """Write a backup to a new file, whole or not at all; how many rows. Raises InputError when it breaks off or the file cannot be."""
    if path.exists():
        raise InputError("file", str(path), "is there already")
    try:
        descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    except OSError as error:
        raise InputError("file", str(path), f"cannot be written: {(error.strerror or '').lower()}") from None
    try:
        count, last = -2, b""
        with os.fdopen(descriptor, "wb") as file:
            async for line in lines:
                file.write(line)
                count, last = count + 1, line
            file.flush()
            os.fsync(descriptor)
        if last != msgspec.json.encode(["end", count]) + b"\n":
            raise InputError("backup", max(count, 0), "broke off; nothing was written")
        os.link(temporary, path)
    finally:
        os.unlink(temporary)
    return count


async def put_back(path: Path, config: Path) -> int:
    """Fill the database that a configuration names from a backup; how many rows. Raises InputError or StateError, and changes nothing."""
    configuration = read_configuration(config)
    try:
        file = path.open("rb")
    except OSError as error:
        raise InputError("file", str(path), f"cannot be read: {(error.strerror or '').lower()}") from None
    with file:
        database = await open_database(configuration)
        try:
            return await restoring.restore(database, configuration.kme.id, file, MORE_TABLES)
        finally:
            await database.close()
