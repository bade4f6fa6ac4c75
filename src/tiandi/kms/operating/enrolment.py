"""How an SAE comes to be known to a network: what an operator asks of its KMEs, and the words with which a first key is fetched.

Every KME of the network must know an SAE and where it lives; what stands there already is left as it is, so that enrolling again
does no harm.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol, TypeVar
from urllib.parse import quote

import msgspec

from tiandi.errors import InputError, RemoteRefused
from tiandi.kms.operating.administration import PairEntry, SaeEntry
from tiandi.kms.operating.configuration_tables import Configuration, as_list
from tiandi.kms.operating.settings import PairSetting, SaeSetting
from tiandi.kms.tls.pki import Credentials

NOT_FOUND = 404
ANYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - Where a KME may listen; nothing listens here.

Entry = TypeVar("Entry")


class Network(msgspec.Struct, frozen=True):
    """The KMEs of a network as an operator calls them: ``addresses`` (https://HOST:PORT) by KME ID. The SAE is to live at ``home``."""

    home: str
    addresses: dict[str, str]
    any_pair: bool


class Operator(Protocol):
    """An operator's connection to one KME."""

    def ask(self, method: str, path: str, body: bytes | None) -> bytes:
        """The body of the answer. Raises RemoteRefused for a refusal."""


def network_of(configuration: Configuration, address: str | None = None) -> Network:
    """The network as the configuration of one KME knows it; ``address`` is where that KME is called, if not where it listens."""
    listen = configuration.listen
    if address is None and listen.port == 0:
        raise InputError("--kme", None, "must be given: the configuration lets the KME listen at any free port")
    host = ANYWHERE.get(listen.address, listen.address)
    own = address or f"https://{f'[{host}]' if ':' in host else host}:{listen.port}"
    peers = {peer.id: as_list(peer.address)[0] for peer in configuration.peers}
    return Network(configuration.kme.id, {configuration.kme.id: own, **peers}, configuration.kme.any_pair)


def enter(sae: str, home: str, partners: Sequence[str], operators: Mapping[str, Operator]) -> None:
    """Make ``sae`` known to the KMEs of ``operators`` (by KME ID) as living at ``home``, and let it share keys both ways with ``partners``.

    Raises InputError when it lives elsewhere already or a partner is unknown, RemoteRefused and KmeUnreachable as KMEs answer.
    """
    for kme, operator in operators.items():
        known = _entry(operator, f"saes/{_segment(sae)}", SaeEntry)
        if known is not None and known.home != home:
            raise InputError("name", sae, f"lives at {known.home} already, {kme} says")
        if known is None:
            _put(operator, f"saes/{_segment(sae)}", SaeSetting(home=home))
        for partner in partners:
            if _entry(operator, f"saes/{_segment(partner)}", SaeEntry) is None:
                raise InputError("--with", partner, f"must be an SAE that {kme} knows")
            for pair in ((sae, partner), (partner, sae)):
                path = f"pairs/{'/'.join(map(_segment, pair))}"
                if _entry(operator, path, PairEntry) is None:
                    _put(operator, path, PairSetting())


def find_partner(sae: str, operator: Operator, *, any_pair: bool) -> str | None:
    """One SAE that ``sae`` may fetch keys for, or None while there is none."""
    pairs = msgspec.json.decode(operator.ask("GET", "/admin/v1/pairs", None), type=list[PairEntry])
    found = [pair.slave for pair in pairs if pair.master == sae]
    if any_pair and not found:
        saes = msgspec.json.decode(operator.ask("GET", "/admin/v1/saes", None), type=list[SaeEntry])
        found = [entry.sae_id for entry in saes if entry.sae_id != sae]
    return found[0] if found else None


def first_key(address: str, kme: str, partner: str, files: Credentials) -> dict[str, str]:
    """Lines for a shell, by the program they call, each of which fetches a key that is shared with ``partner``."""
    certificate, key, authority = (_absolute(file) for file in (files.certificate, files.private_key, files.authority))
    url = f"{address}/api/v1/keys/{_segment(partner)}/enc_keys?number=1"
    lines = {
        "curl": ["curl", "--fail-with-body", "--cert", certificate, "--key", key, "--cacert", authority, url],
        "qkdsec": ["qkdsec", "keys", "get", address, partner, "--cert", certificate, "--key", key, "--ca-cert", authority, "--json"],
        "tiandi": [
            *("tiandi", "keys", "get", partner, "--kme", address, "--kme-id", kme),
            *("--certificate", certificate, "--key", key, "--authority", authority, "--show"),
        ],
    }
    return {program: shlex.join(words) for program, words in lines.items()}


def _entry(operator: Operator, path: str, kind: type[Entry]) -> Entry | None:
    try:
        return msgspec.json.decode(operator.ask("GET", f"/admin/v1/{path}", None), type=kind)
    except RemoteRefused as refusal:
        if refusal.status == NOT_FOUND:
            return None
        raise


def _put(operator: Operator, path: str, setting: SaeSetting | PairSetting) -> None:
    operator.ask("PUT", f"/admin/v1/{path}", msgspec.json.encode(setting))


def _segment(identity: str) -> str:
    return quote(identity, safe="")


def _absolute(file: Path) -> str:
    return str(file.resolve())
