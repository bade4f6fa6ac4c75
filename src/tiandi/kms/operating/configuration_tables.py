"""The tables of a KME's configuration file, and what becomes of them. `tiandi.kms.operating.configuration` reads it.

Secrets stand elsewhere: the file says where.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, TypeAlias
from uuid import UUID

import msgspec

from tiandi.kms.directory import Directory, PairPolicy, RelayForm, Routing, Sae
from tiandi.kms.etsi014 import KEY_SIZE_BIT, MAX_KEY_PER_REQUEST, Limits
from tiandi.kms.interworking.partners import partner_credentials
from tiandi.kms.keys import Half
from tiandi.kms.operating.partner_tables import PartnerTable
from tiandi.kms.operating.routes_table import RoutesTable
from tiandi.kms.relay.patience import RECORDS_S
from tiandi.kms.relay.relay_messages import MOST_SHARES
from tiandi.kms.store.link_keys import LEAST_BLOCK_BYTE
from tiandi.kms.tls.identities import IdentityKind, IdentityRule, NameSource
from tiandi.kms.tls.pki import Credentials

Port: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=65535)]
Count: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
TrustClass: TypeAlias = Literal["foreign", "shared", "own", "guarded"]
"""Who keeps a node, the least trusted first; as `tiandi.control.topology` has it."""
Seconds: TypeAlias = Annotated[float, msgspec.Meta(gt=0, le=1e9)]


class _Table(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of the file."""


class Kme(_Table, frozen=True, kw_only=True):
    """``any_pair`` lets all SAEs of the network share keys; without it only those in ``[[pairs]]`` may."""

    id: str
    any_pair: bool = False


class StreamDoor(_Table, frozen=True, kw_only=True):
    """The door of ETSI GS QKD 004; it listens at the address of the others."""

    port: Port


class Listen(_Table, frozen=True, kw_only=True):
    """Where the HTTPS doors are; port 0 is any free one."""

    address: str = "127.0.0.1"
    port: Port
    streams: StreamDoor | None = None


class DatabaseTable(_Table, frozen=True, kw_only=True):
    """One of both: a file of SQLite, for one process; a PostgreSQL DSN, for any number."""

    sqlite: str | None = None
    postgresql: str | None = None


class Keys(_Table, frozen=True, kw_only=True):
    """As `master_keys.open_master_key` takes it."""

    master_key: str


class TlsFiles(_Table, frozen=True, kw_only=True):
    """A certificate and its private key (PEM)."""

    certificate: str
    private_key: str


class Tls(TlsFiles, frozen=True, kw_only=True):
    """``authority`` are those trusted; ``revocations`` must hold a list of each. ``post_quantum`` is this KME's ML-DSA-65 certificate."""

    authority: str | list[str]
    revocations: str | None = None
    post_quantum: TlsFiles | None = None
    identity_from: tuple[NameSource, ...] = ("uri", "common-name")
    roles: dict[str, IdentityKind] = {}


class FileLimits(Limits, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """As `etsi014.Limits`."""


class SaeTable(_Table, frozen=True, kw_only=True):
    """An SAE; ``home`` is its KME, or one of another network is ``beyond`` one of the partners, and its home the KME at that border."""

    id: str
    home: str | None = None
    beyond: str = ""
    system_id: str = ""
    may_pair_with_itself: bool = False


class Pair(_Table, frozen=True, kw_only=True):
    """What a pair may have; see `directory.PairPolicy`."""

    master: str
    slave: str
    priority: Annotated[int, msgspec.Meta(ge=0, le=255)] = 1
    minimum_bps: Count = 0
    maximum_bps: Count | None = None
    ahead_count: Annotated[int, msgspec.Meta(ge=0, le=100_000)] = 64
    ahead_sizes: Annotated[int, msgspec.Meta(ge=1, le=64)] = 4
    paths: Annotated[int, msgspec.Meta(ge=1, le=MOST_SHARES)] = 1
    threshold: Annotated[int, msgspec.Meta(ge=1, le=MOST_SHARES)] | None = None
    post_quantum: bool = False
    relay_form: RelayForm = "hop-by-hop"
    least_trust: TrustClass | Literal[""] = ""


class Peer(_Table, frozen=True, kw_only=True):
    """Another KME, at https://host:port; a cluster has several. ``trust`` says who keeps it; it ``relays`` keys of others, or does not."""

    id: str
    address: str | list[str]
    trust: TrustClass = "own"
    relays: bool = True


class Link(_Table, frozen=True, kw_only=True):
    """Two KMEs of the network that share link key; ``length_km`` of fibre, where it is known, makes a way longer in time."""

    ends: list[str]
    length_km: Annotated[float, msgspec.Meta(ge=0.0, le=500_000.0)] = 0.0


class Route(_Table, frozen=True, kw_only=True):
    """KMEs that keys may go through, from end to end; they may go back the same way."""

    nodes: list[str]


class FilesSource(_Table, frozen=True, kw_only=True, tag_field="kind", tag="files"):
    """Key files in ``folder``; the end whose ID sorts first sends under the first half unless ``own_half`` says otherwise at both."""

    peer: str
    folder: str
    own_half: Half | None = None
    interval_s: Seconds = 1.0

    @property
    def title(self) -> str:
        """What operators call it."""
        return f"files in {self.folder}"


class BoxTable(_Table, frozen=True, kw_only=True):
    """Another maker's box. ``name`` is the same at both ends, of which one is "initiator". ``sae`` is as whom the boxes know this KME,
    ``far_sae`` as whom they know ``peer``; certificate, private key and authority are those for the box's own network."""

    name: str
    peer: str
    role: Literal["initiator", "responder"]
    box_kme: str
    sae: str
    far_sae: str
    certificate: str
    private_key: str
    authority: str
    interval_s: Seconds = 1.0

    @property
    def title(self) -> str:
        """What operators call it."""
        return self.name


class Etsi014Source(BoxTable, frozen=True, kw_only=True, tag_field="kind", tag="etsi014"):
    """A box behind ETSI GS QKD 014 at ``address``, https://HOST:PORT; sizes are the same at both ends."""

    address: str | list[str]
    key_size_bit: Annotated[int, msgspec.Meta(ge=8, le=2**20, multiple_of=8)] = KEY_SIZE_BIT
    keys_per_block: Annotated[int, msgspec.Meta(ge=1, le=1024)] = MAX_KEY_PER_REQUEST


class Etsi004Source(BoxTable, frozen=True, kw_only=True, tag_field="kind", tag="etsi004"):
    """A box behind ETSI GS QKD 004 at ``host`` and ``port``; ``ksid`` and ``chunk_byte`` are the same at both ends."""

    host: str
    port: Annotated[int, msgspec.Meta(ge=1, le=65535)]
    ksid: UUID
    chunk_byte: Annotated[int, msgspec.Meta(ge=LEAST_BLOCK_BYTE, le=2**20)] = 4096


Source: TypeAlias = FilesSource | Etsi014Source | Etsi004Source


class Skip(_Table, frozen=True, kw_only=True):
    """The door of SKIP is open when this table is there; ``remote`` are systems that may be asked for, names or patterns."""

    remote: tuple[str, ...] = ("*",)


class Expiry(_Table, frozen=True, kw_only=True):
    """Ages [s] beyond which key is destroyed; without them it is kept. A slave's KME keeps supply keys ``collection_s``
    longer, since the master may have got a key at the last moment. What KMEs said of settled keys is kept for ``records_s``."""

    link_key_s: Seconds | None = None
    supply_key_s: Seconds | None = None
    collection_s: Seconds = 3600.0
    records_s: Seconds = RECORDS_S


class Configuration(_Table, frozen=True, kw_only=True):
    """A KME and what it knows of its network. Paths are as written; `path` resolves them."""

    kme: Kme
    listen: Listen
    database: DatabaseTable
    keys: Keys
    tls: Tls
    limits: FileLimits = FileLimits()
    saes: list[SaeTable] = []
    pairs: list[Pair] = []
    peers: list[Peer] = []
    links: list[Link] = []
    routes: list[Route] = []
    partners: list[PartnerTable] = []
    sources: list[Source] = []
    skip: Skip | None = None
    expiry: Expiry = Expiry()
    file: Path = Path()
    """Where all this was read."""

    def path(self, text: str) -> Path:
        """A path as the file means it: relative to its own folder."""
        return self.file.parent / text

    @property
    def kme_ids(self) -> set[str]:
        """Every KME that the file names as one of the network's."""
        return {self.kme.id, *(peer.id for peer in self.peers)}

    def master_key(self) -> str:
        """The setting for `open_master_key`, its path resolved."""
        kind, colon, rest = self.keys.master_key.partition(":")
        return f"file:{self.path(rest)}" if (kind, colon) == ("file", ":") else self.keys.master_key

    def credentials(self) -> Credentials:
        """This KME's files."""
        tls = self.tls
        authorities = [self.path(name) for name in as_list(tls.authority)]
        revocations = None if tls.revocations is None else self.path(tls.revocations)

        def of(files: TlsFiles, post_quantum: Credentials | None = None) -> Credentials:
            both = self.path(files.certificate), self.path(files.private_key)
            return Credentials(self.kme.id, *both, authorities[0], revocations, post_quantum, tuple(authorities))

        return of(tls, None if tls.post_quantum is None else of(tls.post_quantum))

    def partner_credentials(self, partner: PartnerTable) -> Credentials:
        """This KME's files and a partner's authority."""
        revocations = None if partner.revocations is None else self.path(partner.revocations)
        authority = [self.path(name) for name in as_list(partner.authority)]
        return partner_credentials(self.credentials(), authority, revocations=revocations)

    @property
    def borders(self) -> dict[str, str]:
        """The KME at the border to each partner."""
        return {partner.name: partner.border or self.kme.id for partner in self.partners}

    def home(self, sae: SaeTable) -> str:
        """The KME of an SAE, or that at the border to it."""
        return sae.home or self.borders[sae.beyond]

    def identity_rule(self) -> IdentityRule:
        """How identities are read from certificates of other makers."""
        return IdentityRule(self.tls.identity_from, self.tls.roles)

    def routes_table(self) -> RoutesTable:
        """The routes that the file names one by one."""
        return RoutesTable([tuple(route.nodes) for route in self.routes], kme_id=self.kme.id)

    def put_into(self, directory: Directory, routing: Routing) -> None:
        """Have a directory know what this file says of the network, and nothing else; ``routing`` decides which ways keys go."""
        directory.kme_addresses = {peer.id: tuple(as_list(peer.address)) for peer in self.peers}
        directory.saes = {sae.id: Sae(self.home(sae), sae.system_id, sae.may_pair_with_itself, sae.beyond) for sae in self.saes}
        directory.partners = {partner.name: partner.partner(self.kme.id) for partner in self.partners}
        directory.policies = {(pair.master, pair.slave): policy(pair) for pair in self.pairs}
        directory.pairs = None if self.kme.any_pair else set(directory.policies)
        directory.routes, directory.find_routes = routing, routing.find


def policy(pair: Pair) -> PairPolicy:
    """What a pair of the file may have."""
    given = msgspec.structs.asdict(pair)
    return PairPolicy(**{name: value for name, value in given.items() if name not in ("master", "slave")})


def as_list(given: str | list[str]) -> list[str]:
    """One or several."""
    return [given] if isinstance(given, str) else given
