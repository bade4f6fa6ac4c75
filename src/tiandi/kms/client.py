"""How an SAE fetches keys: a client of the ETSI GS QKD 014 API over mutual TLS, for programs with and without an event loop.

What is asked, how answers are read and when to ask again stands in `tiandi.kms.conversation`; here it meets the network.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self
from uuid import UUID

import httpx

from tiandi.errors import InputError
from tiandi.kms import etsi014
from tiandi.kms.conversation import Answer, Failure, KeysUncertain, Question, Reply, ask_keys, ask_keys_with_ids, ask_status, converse
from tiandi.kms.etsi014 import KEY_SIZE_BIT, MAX_KEY_PER_REQUEST, Key
from tiandi.kms.tls import calling as transport
from tiandi.kms.tls.pki import Credentials

__all__ = ["KEY_SIZE_BIT", "MAX_KEY_PER_REQUEST", "AsyncKeyClient", "Key", "KeyClient", "KeysUncertain"]

CONNECT_TIMEOUT_S = 5.0
ANSWER_TIMEOUT_S = 30.0
RETRY_S = 2.0

_TIMEOUT = httpx.Timeout(ANSWER_TIMEOUT_S, connect=CONNECT_TIMEOUT_S)
_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
_LOST = (httpx.TransportError, TimeoutError)


class KeyClient:
    """The KME ``kme_id`` at ``address`` (https://host:port; several for a cluster) as the SAE of ``credentials`` sees it.

    Whoever answers must show the certificate of ``kme_id``. What has certainly delivered nothing is asked again for ``retry_s`` [s].
    Every question raises InputError for what cannot be asked, RemoteRefused with the KME's status and words, KmeUnreachable when
    there was no conversation, KeysUncertain when an answer with keys was lost, ProtocolViolation for an answer that does not fit.
    """

    def __init__(self, address: str | Sequence[str], kme_id: str, credentials: Credentials, *, retry_s: float = RETRY_S) -> None:
        self._addresses, self._kme_id, self._retry_s = _addresses(address), kme_id, retry_s
        self._http = transport.client(credentials, timeout_s=ANSWER_TIMEOUT_S, post_quantum_only=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close every connection."""
        self._http.close()

    def status(self, slave_sae: str) -> etsi014.Status:
        """Get status."""
        return self._ask(ask_status(slave_sae))

    def get_keys(
        self,
        slave_sae: str,
        *,
        number: int = 1,
        size_bit: int = KEY_SIZE_BIT,
        additional_slaves: Sequence[str] = (),
        mandatory: Mapping[str, Any] | None = None,
        optional: Mapping[str, Any] | None = None,
    ) -> list[Key]:
        """Get key, as master: ``number`` new keys of ``size_bit`` each. ``mandatory`` and ``optional`` are extensions by name."""
        question = ask_keys(
            slave_sae, number=number, size_bit=size_bit, additional_slaves=additional_slaves, mandatory=mandatory, optional=optional
        )
        return self._ask(question)

    def get_keys_with_ids(self, master_sae: str, key_ids: Sequence[UUID], *, size_bit: int | None = None) -> list[Key]:
        """Get key with key IDs, as slave, in the order of ``key_ids``; of ``size_bit`` each, where that is given."""
        return self._ask(ask_keys_with_ids(master_sae, key_ids, size_bit))

    def _ask(self, question: Question[Answer]) -> Answer:
        talk = converse(question, self._kme_id, self._addresses, retry_s=self._retry_s)
        outcome: Reply | Failure | None = None
        while True:
            try:
                step = talk.send(outcome)
            except StopIteration as end:
                return end.value
            if isinstance(step, str):
                outcome = self._exchange(step, question)
            else:
                time.sleep(step)
                outcome = None

    def _exchange(self, address: str, question: Question[Any]) -> Reply | Failure:
        content = bytearray()
        until_s = time.monotonic() + ANSWER_TIMEOUT_S
        try:
            with self._http.stream(question.method, address + question.path, **_particulars(question, self._kme_id)) as response:
                for chunk in response.iter_raw():
                    content += chunk
                    if len(content) > question.limit_byte:
                        break
                    if time.monotonic() > until_s:
                        raise TimeoutError(f"not whole after {ANSWER_TIMEOUT_S:g} s")
        except _LOST as error:
            return _failure(error)
        return Reply(response.status_code, response.reason_phrase, bytes(content))


class AsyncKeyClient:
    """`KeyClient` for programs with an event loop. A question that is cancelled may have cost its keys."""

    def __init__(self, address: str | Sequence[str], kme_id: str, credentials: Credentials, *, retry_s: float = RETRY_S) -> None:
        self._addresses, self._kme_id, self._retry_s = _addresses(address), kme_id, retry_s
        self._http = transport.async_client(credentials, timeout_s=ANSWER_TIMEOUT_S, post_quantum_only=False)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()

    async def close(self) -> None:
        """Close every connection."""
        await self._http.aclose()

    async def status(self, slave_sae: str) -> etsi014.Status:
        """See `KeyClient.status`."""
        return await self._ask(ask_status(slave_sae))

    async def get_keys(
        self,
        slave_sae: str,
        *,
        number: int = 1,
        size_bit: int = KEY_SIZE_BIT,
        additional_slaves: Sequence[str] = (),
        mandatory: Mapping[str, Any] | None = None,
        optional: Mapping[str, Any] | None = None,
    ) -> list[Key]:
        """See `KeyClient.get_keys`."""
        question = ask_keys(
            slave_sae, number=number, size_bit=size_bit, additional_slaves=additional_slaves, mandatory=mandatory, optional=optional
        )
        return await self._ask(question)

    async def get_keys_with_ids(self, master_sae: str, key_ids: Sequence[UUID], *, size_bit: int | None = None) -> list[Key]:
        """See `KeyClient.get_keys_with_ids`."""
        return await self._ask(ask_keys_with_ids(master_sae, key_ids, size_bit))

    async def _ask(self, question: Question[Answer]) -> Answer:
        talk = converse(question, self._kme_id, self._addresses, retry_s=self._retry_s)
        outcome: Reply | Failure | None = None
        while True:
            try:
                step = talk.send(outcome)
            except StopIteration as end:
                return end.value
            if isinstance(step, str):
                outcome = await self._exchange(step, question)
            else:
                await asyncio.sleep(step)
                outcome = None

    async def _exchange(self, address: str, question: Question[Any]) -> Reply | Failure:
        content = bytearray()
        asked = _particulars(question, self._kme_id)
        try:
            async with (
                asyncio.timeout(CONNECT_TIMEOUT_S + ANSWER_TIMEOUT_S),
                self._http.stream(question.method, address + question.path, **asked) as response,
            ):
                async for chunk in response.aiter_raw():
                    content += chunk
                    if len(content) > question.limit_byte:
                        break
        except _LOST as error:
            return _failure(error)
        return Reply(response.status_code, response.reason_phrase, bytes(content))


def _addresses(given: str | Sequence[str]) -> deque[str]:
    """The addresses without a slash at the end. Raises InputError when there is none, or one that is no https://host:port."""
    addresses = deque([given] if isinstance(given, str) else given)
    if not addresses:
        raise InputError("KME address", given, "must be one or more of https://host:port")
    for address in addresses:
        try:
            url = httpx.URL(address)
        except httpx.InvalidURL:
            url = httpx.URL("")
        if url.scheme != "https" or not url.host or url.path not in {"", "/"} or url.query or url.userinfo:
            raise InputError("KME address", address, "must be https://host:port")
    return deque(address.rstrip("/") for address in addresses)


def _particulars(question: Question[Any], kme_id: str) -> dict[str, Any]:
    """How a question is sent: uncompressed, so that no answer is longer than it arrives, and to nobody but ``kme_id``."""
    headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
    if question.body:
        headers["Content-Type"] = "application/json"
    return {"content": question.body or None, "headers": headers, "timeout": _TIMEOUT, "extensions": {"sni_hostname": kme_id}}


def _failure(error: Exception) -> Failure:
    """What came of a request without an answer. A certificate that does not do will not do the next time either."""
    why = " ".join((str(error) or type(error).__name__).split())
    untrusted = any(word in why.lower() for word in ("certificate", "unknown ca", "unknown_ca"))
    return Failure(why, not isinstance(error, _NOT_SENT), untrusted)
