"""A node as ETSI GS QKD 015 V2.1.1 (2022-04) shows it to an SDN controller: YANG module etsi-qkd-sdn-node, in JSON of RFC 7951.

Read only. Identifiers of the standard are UUIDs: they are derived from names (RFC 9562, version 5), the same wherever they are derived.
Figures of the light itself (attenuation, QBER) are the link's to tell; a KME does not know them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any
from uuid import UUID, uuid5

from tiandi.kms.directory import Directory
from tiandi.kms.states import State
from tiandi.kms.tls.identities import identity_uri

NODE = "etsi-qkd-sdn-node:qkd_node"
PATH = f"/restconf/data/{NODE}"
MEDIA_TYPE = b"application/yang-data+json"
NAMES = UUID("5f1d3c1e-5b3f-5d0c-9d3a-7c1c6a0b1f15")
"""The name space of derived identifiers."""
_TYPES = "etsi-qkd-node-types:"

Accounts = Mapping[str, Mapping[str, int]]


def node_id(kme: str) -> str:
    """The qkdn_id of a KME's node."""
    return str(uuid5(NAMES, identity_uri("kme", kme)))


def link_id(one: str, other: str) -> str:
    """The qkdl_id of the link between two nodes, from either end."""
    return str(uuid5(NAMES, " ".join(sorted((one, other)))))


def application_id(master: str, slave: str) -> str:
    """The app_id of a pair of SAEs."""
    return str(uuid5(NAMES, f"{identity_uri('sae', master)} {identity_uri('sae', slave)}"))


def node_view(kme: str, version: str, directory: Directory, accounts: Accounts, *, draining: bool) -> dict[str, Any]:
    """The container qkd_node of one KME, from its ledger's ``accounts``."""
    peers = sorted({name.split(" ")[1] for name in accounts if name.startswith("link ")})
    pairs = sorted({(words[1], words[2]) for words in map(str.split, accounts) if words[0] == "supply" and words[3] != "relay"})
    known = [pair for pair in pairs if all(sae in directory.saes for sae in pair)]
    far = sorted({home for pair in known for home in (directory.saes[sae].home for sae in pair)} - {kme, *peers})
    return {
        NODE: {
            "qkdn_id": node_id(kme),
            "qkdn_status": f"{_TYPES}{'OUT' if draining else 'OPERATING'}",
            "qkdn_version": version,
            "qkdn_location_id": kme,
            "qkdn_capabilities": {"link_stats_support": True, "application_stats_support": True, "key_relay_mode_enable": True},
            "qkd_applications": {"qkd_app": [_application(kme, pair, directory, accounts, peers=peers) for pair in known]},
            "qkd_interfaces": {"qkd_interface": [_interface(number, peer) for number, peer in enumerate(peers)]},
            "qkd_links": {
                "qkd_link": [
                    *(_physical_link(kme, peer, number, accounts) for number, peer in enumerate(peers)),
                    *_virtual_links(kme, far, directory),
                ]
            },
        }
    }


def _application(kme: str, pair: tuple[str, str], directory: Directory, accounts: Accounts, *, peers: list[str]) -> dict[str, Any]:
    master, slave = pair
    homes = [directory.saes[sae].home for sae in pair]
    remote = next((home for home in homes if home != kme), kme)
    policy = directory.policy(master, slave)
    consumed_bit = 0
    for name, states in accounts.items():
        words = name.split(" ")
        if words[0] == "supply" and (words[1], words[2]) == pair and words[3] != "relay":
            consumed_bit += states.get(State.DELIVERED, 0)
    return {
        "app_id": application_id(master, slave),
        "app_status": f"{_TYPES}ON",
        "app_type": f"{_TYPES}CLIENT",
        "server_app_id": identity_uri("sae", master),
        "client_app_id": [identity_uri("sae", slave)],
        "app_priority": policy.priority,
        # Of 64 bits, and so in quotation marks (RFC 7951, section 6.1).
        "app_statistics": {"statistics": [{"consumed_bits": str(consumed_bit)}]},
        "app_qos": {
            **({} if policy.maximum_bps is None else {"max_bandwidth": min(policy.maximum_bps, 2**32 - 1)}),
            "min_bandwidth": min(policy.minimum_bps, 2**32 - 1),
            "clients_shared_path_enable": False,
            "clients_shared_keys_required": False,
        },
        "backing_qkdl_id": [] if remote == kme else [link_id(kme, remote)],
        "local_qkdn_id": node_id(kme),
        "remote_qkdn_id": node_id(remote),
    }


def _interface(number: int, peer: str) -> dict[str, Any]:
    return {"qkdi_id": number, "qkdi_att_point": {"device": peer, "port": str(number)}, "qkdi_status": f"{_TYPES}ENABLED"}


def _physical_link(kme: str, peer: str, number: int, accounts: Accounts) -> dict[str, Any]:
    stored_bit = accounts.get(f"link {peer} own", {}).get(State.STORED, 0)
    return {
        "qkdl_id": link_id(kme, peer),
        "qkdl_status": f"{_TYPES}{'ACTIVE' if stored_bit else 'PASSIVE'}",
        "qkdl_enable": True,
        "qkdl_local": {"qkdn_id": node_id(kme), "qkdi_id": number},
        "qkdl_remote": {"qkdn_id": node_id(peer)},
        "qkdl_type": f"{_TYPES}PHYS",
    }


def _virtual_links(kme: str, far: list[str], directory: Directory) -> Iterator[dict[str, Any]]:
    """To nodes that keys reach through others."""
    for other in far:
        yield {
            "qkdl_id": link_id(kme, other),
            "qkdl_status": f"{_TYPES}{'ACTIVE' if other in directory.kme_addresses else 'PENDING'}",
            "qkdl_enable": True,
            "qkdl_local": {"qkdn_id": node_id(kme)},
            "qkdl_remote": {"qkdn_id": node_id(other)},
            "qkdl_type": f"{_TYPES}VIRT",
        }
