"""A key management entity (KME): what it does for applications, for neighbours and for links, whatever the transport."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from tiandi.errors import InputError, NotAuthorised, RelayFailed, TiandiError
from tiandi.kms import etsi014
from tiandi.kms.relay import HandOver, RelayRequest, accept_hand_over, decrypt_hop, encrypt_hop, prepare_hand_over
from tiandi.kms.source import KeySource
from tiandi.kms.store import KeyStore, SupplyKey
from tiandi.random import secret_bytes
from tiandi.units import byte_from_bit

Post = Callable[[str, str, Any], Awaitable[None]]
"""Sends a message to a path of another KME; returns when it has accepted, raises RemoteRefused when it has not."""

RELAY_PATH = "/kx/v1/relay"
HAND_OVER_PATH = "/kx/v1/hand-over"


@dataclass
class Directory:
    """What the QKDN controller tells every KME: where KMEs and SAEs are, which way keys go, which satellites join which stations.

    A KME accepts a relay only along a route that stands here, from the KME before it, and a hand-over only from a satellite that
    stands here: no neighbour can plant a key between two others.
    """

    kme_addresses: dict[str, str] = field(default_factory=dict)
    sae_homes: dict[str, str] = field(default_factory=dict)
    routes: set[tuple[str, ...]] = field(default_factory=set)
    hand_overs: set[tuple[str, str, str]] = field(default_factory=set)
    """(satellite, station A, station B)."""

    def home(self, sae: str) -> str:
        """The KME of an SAE. Raises InputError when nobody knows it."""
        if sae not in self.sae_homes:
            raise InputError("SAE_ID", sae, "no KME of this network knows that SAE")
        return self.sae_homes[sae]

    def place_on_route(self, kme: str, request: RelayRequest, sender: str | None) -> int:
        """Where ``kme`` stands on the route of a relay. Raises NotAuthorised when the controller knows of no such relay."""
        route = tuple(request.route)
        if route not in self.routes or (route[0], route[-1]) != (self.home(request.master), self.home(request.slave)):
            raise NotAuthorised("the controller approved no such route for this pair of SAEs")
        place = route.index(kme) if kme in route else -1
        if place < 0 or (sender is None) != (place == 0) or (sender is not None and route[place - 1] != sender):
            raise NotAuthorised(f"{kme} does not follow {sender} on this route")
        return place


class KeyManagementEntity:
    """The KME of one trusted node over its key store."""

    def __init__(self, store: KeyStore, directory: Directory, post: Post) -> None:
        self.kme_id = store.kme
        self.store = store
        self._directory = directory
        self._post = post

    # For links: Kq-1.

    def collect(self, source: KeySource) -> int:
        """Store the blocks a source has made; returns their bits."""
        blocks = source.take_blocks()
        for block in blocks:
            self.store.add_block(source.peer, block.block_id, block.key, source.own_half)
        return sum(block.length_bit for block in blocks)

    # For applications: Ak, ETSI GS QKD 014.

    def status(self, caller: str, slave: str) -> etsi014.Status:
        """Get status for the pair of the calling SAE and ``slave``."""
        self._require_pair(caller, slave)
        return etsi014.Status(
            source_KME_ID=self.kme_id,
            target_KME_ID=self._directory.home(slave),
            master_SAE_ID=caller,
            slave_SAE_ID=slave,
            key_size=etsi014.KEY_SIZE_BIT,
            stored_key_count=self.store.supply_count(caller, slave, etsi014.KEY_SIZE_BIT),
            max_key_count=etsi014.MAX_KEY_COUNT,
            max_key_per_request=etsi014.MAX_KEY_PER_REQUEST,
            max_key_size=etsi014.KEY_SIZE_BIT,
            min_key_size=etsi014.KEY_SIZE_BIT,
            max_SAE_ID_count=0,
        )

    def get_keys(self, caller: str, slave: str, request: etsi014.KeyRequest) -> list[SupplyKey]:
        """Get key: the caller is master. Raises RequestRefused out of its limits, KeysExhausted when there are too few."""
        self._require_pair(caller, slave)
        request.require()
        return self.store.deliver_to_master(caller, slave, request.number, request.size)

    def get_keys_with_ids(self, caller: str, master: str, key_ids: list[UUID]) -> list[SupplyKey]:
        """Get key with key IDs: the caller is slave. Raises KeyNotFound or NotAuthorised, and then delivers none."""
        self._require_home(caller)
        if not key_ids or len(key_ids) > etsi014.MAX_KEY_PER_REQUEST:
            raise InputError("key_IDs", len(key_ids), f"must be 1 to {etsi014.MAX_KEY_PER_REQUEST} identifiers")
        return self.store.deliver_to_slave(master, caller, key_ids)

    def _require_home(self, sae: str) -> None:
        if self._directory.sae_homes.get(sae) != self.kme_id:
            raise NotAuthorised(f"SAE {sae} is not served by {self.kme_id}")

    def _require_pair(self, caller: str, slave: str) -> None:
        self._require_home(caller)
        if slave == caller:
            raise InputError("slave_SAE_ID", slave, "must be another SAE than the caller")
        self._directory.home(slave)

    # For other KMEs: Kx.

    async def relay_keys(self, master: str, slave: str, *, number: int, route: list[str]) -> list[UUID]:
        """Draw ``number`` keys for a pair of SAEs and carry them along ``route`` (the KMEs from this one to the slave's).

        The master can have them once the far end has stored them. Raises NotAuthorised for a route that the controller did not
        approve, RelayFailed when the relay stops on the way; the keys are destroyed then.
        """
        key_ids = [UUID(bytes=secret_bytes(16), version=4) for _ in range(number)]
        request = RelayRequest(key_ids=key_ids, master=master, slave=slave, route=route, segments=[], ciphertext=b"", tag=b"")
        self._directory.place_on_route(self.kme_id, request, None)
        keys = secret_bytes(number * byte_from_bit(etsi014.KEY_SIZE_BIT))
        await self._send_on(keys, request, 0)
        self.store.add_supply_keys(master, slave, "master", _supply_keys(key_ids, keys))
        return key_ids

    async def receive_relay(self, sender: str, request: RelayRequest) -> None:
        """Keys from a neighbour: store them if they end here, else send them on; returns when the far end has them."""
        place = self._directory.place_on_route(self.kme_id, request, sender)
        keys = decrypt_hop(self.store, sender, request)
        if place < len(request.route) - 1:
            await self._send_on(keys, request, place)
        else:
            self.store.add_supply_keys(request.master, request.slave, "slave", _supply_keys(request.key_ids, keys))

    async def _send_on(self, keys: bytes, request: RelayRequest, place: int) -> None:
        receiver = request.route[place + 1]
        try:
            await self._post(receiver, RELAY_PATH, encrypt_hop(self.store, receiver, keys, request))
        except RelayFailed:
            raise
        except TiandiError as error:
            raise RelayFailed(self.kme_id, str(error)) from error

    # For a satellite's KME.

    async def hand_over(self, station_a: str, station_b: str, length_byte: int) -> UUID:
        """Make two stations share ``length_byte`` bytes of what this satellite shares with each. Returns the block's identifier.

        B is told first: A may spend the block as soon as it knows of it, and B must be able to follow. If A then cannot be reached,
        B holds a block that nobody else has: relays over it are refused until it is voided, and no key is at risk.
        """
        block_id = UUID(bytes=secret_bytes(16), version=4)
        to_a, to_b = prepare_hand_over(self.store, station_a, station_b, block_id, length_byte)
        await self._post(station_b, HAND_OVER_PATH, to_b)
        await self._post(station_a, HAND_OVER_PATH, to_a)
        return block_id

    def receive_hand_over(self, satellite: str, message: HandOver) -> None:
        """A satellite made this station share a block with another. Raises NotAuthorised when it is not the one to do so."""
        is_a = (satellite, self.kme_id, message.peer) in self._directory.hand_overs
        if not is_a and (satellite, message.peer, self.kme_id) not in self._directory.hand_overs:
            raise NotAuthorised(f"{satellite} is not to join {self.kme_id} and {message.peer}")
        accept_hand_over(self.store, satellite, message, is_a=is_a)


def _supply_keys(key_ids: list[UUID], keys: bytes) -> list[SupplyKey]:
    size = byte_from_bit(etsi014.KEY_SIZE_BIT)
    return [SupplyKey(key_id, keys[i * size : (i + 1) * size]) for i, key_id in enumerate(key_ids)]
