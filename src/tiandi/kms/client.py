"""How an SAE fetches keys: a client of the ETSI GS QKD 014 API over mutual TLS."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import quote
from uuid import UUID

import httpx
import msgspec

from tiandi.errors import KmeUnreachable, RemoteRefused
from tiandi.kms import etsi014
from tiandi.kms.etsi014 import KEY_SIZE_BIT, MAX_KEY_PER_REQUEST, Key
from tiandi.kms.pki import Credentials

__all__ = ["KEY_SIZE_BIT", "MAX_KEY_PER_REQUEST", "Key", "KeyClient"]

TIMEOUT_S = 30.0

Format = TypeVar("Format")


class KeyClient:
    """The KME at ``address`` (https://host:port) as the SAE of ``credentials`` sees it. Checks that it is ``kme_id`` who answers."""

    def __init__(self, address: str, kme_id: str, credentials: Credentials) -> None:
        self._kme_id = kme_id
        self._http = httpx.Client(base_url=address, verify=credentials.client_context(), timeout=TIMEOUT_S, trust_env=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._http.close()

    def status(self, slave_sae: str) -> etsi014.Status:
        """Get status."""
        return self._ask("GET", slave_sae, "status", None, etsi014.Status)

    def get_keys(self, slave_sae: str, *, number: int = 1, size_bit: int = KEY_SIZE_BIT) -> list[Key]:
        """Get key, as master. Never asks twice: a lost answer loses its keys, as single delivery demands."""
        request = etsi014.KeyRequest(number=number, size=size_bit)
        return self._ask("POST", slave_sae, "enc_keys", request, etsi014.KeyContainer).keys

    def get_keys_with_ids(self, master_sae: str, key_ids: Sequence[UUID]) -> list[Key]:
        """Get key with key IDs, as slave."""
        request = etsi014.KeyIDs([etsi014.KeyID(key_id) for key_id in key_ids])
        return self._ask("POST", master_sae, "dec_keys", request, etsi014.KeyContainer).keys

    def _ask(self, method: str, sae: str, what: str, request: Any, answer: type[Format]) -> Format:
        """Raises RemoteRefused with the KME's status and words, KmeUnreachable when there was no conversation."""
        body = None if request is None else msgspec.json.encode(request)
        path = f"/api/v1/keys/{quote(sae, safe='')}/{what}"
        try:
            response = self._http.request(
                method, path, content=body, headers={"Content-Type": "application/json"}, extensions={"sni_hostname": self._kme_id}
            )
        except httpx.TransportError as error:
            raise KmeUnreachable(f"{self._kme_id} at {self._http.base_url}: {error}") from None
        if not response.is_success:
            try:
                message = msgspec.json.decode(response.content, type=etsi014.Error).message
            except msgspec.DecodeError:
                message = response.reason_phrase
            raise RemoteRefused(response.status_code, message)
        return msgspec.json.decode(response.content, type=answer)
