"""Calling KMEs of other networks: as to neighbours, but each partner under its own authority, which vouches for that partner only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path

import httpx

from tiandi.errors import RelayFailed
from tiandi.kms.directory import Partner
from tiandi.kms.tls.calling import async_client
from tiandi.kms.tls.pki import Credentials

TIMEOUT_S = 10.0
LARGEST_ANSWER_BYTE = 4 * 1024 * 1024


def partner_credentials(own: Credentials, authority: Sequence[Path], *, revocations: Path | None = None) -> Credentials:
    """This KME's certificates beside a partner's ``authority`` (files of its roots) in the place of our own.

    For `Partners` and for the port that this partner calls: what its authority signs opens no other door.
    """
    theirs = replace(own, authority=authority[0], revocations=revocations, also_trusted=tuple(authority))
    if own.post_quantum is None:
        return theirs
    return replace(theirs, post_quantum=replace(own.post_quantum, authority=authority[0], revocations=revocations))


class Partners:
    """Posts to partners; a `tiandi.kms.interworking.border_kme.Call`.

    ``credentials`` by the partner's KME: this KME's certificate, and as authority (and revocations) the partner's.
    """

    def __init__(self, credentials: Mapping[str, Credentials]) -> None:
        self._clients = {kme_id: async_client(files, timeout_s=TIMEOUT_S, post_quantum_only=True) for kme_id, files in credentials.items()}

    async def __call__(self, partner: Partner, path: str, body: bytes) -> tuple[int, bytes]:
        """Status and body of the answer; redirections are not followed. Raises RelayFailed when there is no whole answer."""
        if partner.kme_id not in self._clients:
            raise RelayFailed(partner.kme_id, "nobody knows the authority of that KME")
        client, answer = self._clients[partner.kme_id], bytearray()
        request = client.build_request(
            "POST",
            partner.address + path,
            content=body,
            headers={"Content-Type": "application/json"},
            extensions={"sni_hostname": partner.kme_id},
        )
        try:
            response = await client.send(request, stream=True)
            async with aclosing(response):
                async for part in response.aiter_bytes():
                    answer += part
                    if len(answer) > LARGEST_ANSWER_BYTE:
                        raise RelayFailed(partner.kme_id, f"its answer exceeds {LARGEST_ANSWER_BYTE} bytes")
        except (httpx.TransportError, httpx.DecodingError) as error:
            raise RelayFailed(partner.kme_id, f"no answer ({type(error).__name__}: {error})") from None
        return response.status_code, bytes(answer)

    async def close(self) -> None:
        """Close every connection."""
        for client in self._clients.values():
            await client.aclose()
