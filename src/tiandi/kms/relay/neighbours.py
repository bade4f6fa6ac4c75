"""Calling other KMEs: TLS 1.3 with X25519MLKEM768 and certificates of both, under the name of the KME that is meant."""

from __future__ import annotations

import asyncio

import httpx
import msgspec

from tiandi.errors import RelayFailed, RemoteRefused
from tiandi.kms.directory import Directory
from tiandi.kms.etsi014 import Error
from tiandi.kms.tls.calling import async_client
from tiandi.kms.tls.pki import Credentials

TIMEOUT_S = 10.0
WHOLE_TIMEOUT_S = 15.0
"""For question and answer together: a neighbour that sends a byte now and then holds nobody up for longer."""
LARGEST_ANSWER_BYTE = 1024 * 1024


class Neighbours:
    """Posts to other KMEs; a `tiandi.kms.relay.exchange.Post`."""

    def __init__(self, credentials: Credentials, directory: Directory) -> None:
        self._client = async_client(credentials, timeout_s=TIMEOUT_S, post_quantum_only=True)
        self._directory = directory
        self._answering: dict[str, int] = {}
        """Which address of each KME answered last."""

    async def __call__(self, kme: str, path: str, body: bytes) -> bytes:
        """The answer's body. Raises RelayFailed when there is no whole answer or a 5xx, RemoteRefused for a refusal."""
        addresses = self._addresses(kme)
        # What is said between KMEs may be said twice, so that any other process of the node may be asked what one did not answer.
        first = self._answering.get(kme, 0)
        problem = RelayFailed(kme, "not asked")
        for number in range(first, first + len(addresses)):
            try:
                content = await self._ask(kme, addresses[number % len(addresses)] + path, body)
            except RelayFailed as error:
                problem = error
                continue
            self._answering[kme] = number % len(addresses)
            return content
        raise problem

    async def tell_all(self, kme: str, path: str, body: bytes) -> bytes:
        """As a call, but to every process of that KME; the answer of one. Raises as a call does when none has taken it."""
        asked = (self._ask(kme, address + path, body) for address in self._addresses(kme))
        answers = await asyncio.gather(*asked, return_exceptions=True)
        problems = [answer for answer in answers if isinstance(answer, BaseException)]
        if len(problems) == len(answers):
            raise problems[0]
        return next(answer for answer in answers if isinstance(answer, bytes))

    def _addresses(self, kme: str) -> list[str]:
        known = self._directory.kme_addresses.get(kme, ())
        if not known:
            raise RelayFailed(kme, "nobody knows the address of that KME")
        return [known] if isinstance(known, str) else list(known)

    async def _ask(self, kme: str, url: str, body: bytes) -> bytes:
        # Uncompressed, so that no answer is longer than it arrives.
        headers = {"Content-Type": "application/msgpack", "Accept-Encoding": "identity"}
        asked = self._client.stream("POST", url, content=body, headers=headers, extensions={"sni_hostname": kme})
        content = bytearray()
        try:
            async with asyncio.timeout(WHOLE_TIMEOUT_S), asked as response:
                async for part in response.aiter_raw():
                    content += part
                    if len(content) > LARGEST_ANSWER_BYTE:
                        raise RelayFailed(kme, f"its answer is longer than {LARGEST_ANSWER_BYTE} bytes")
        except (httpx.TransportError, TimeoutError) as error:
            raise RelayFailed(kme, f"no answer ({type(error).__name__}: {error})") from None
        if response.is_success:
            return bytes(content)
        try:
            reason = msgspec.json.decode(content, type=Error).message
        except msgspec.DecodeError:
            reason = response.reason_phrase
        if response.is_server_error:
            raise RelayFailed(kme, reason)
        raise RemoteRefused(response.status_code, reason)

    async def close(self) -> None:
        """Close every connection."""
        await self._client.aclose()
