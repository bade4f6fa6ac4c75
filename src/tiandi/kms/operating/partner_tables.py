"""KMEs of other networks in a KME's configuration file: the tables ``[[partners]]``, and what must hold of them."""

from __future__ import annotations

from typing import Annotated

import msgspec

from tiandi.errors import InputError
from tiandi.kms.directory import Partner
from tiandi.kms.tls.identities import IdentityKind, IdentityRule, NameSource, require_identity
from tiandi.kms.tls.pki import HOST

NEEDED = ("kme_id", "address", "own_address", "port", "authority")


class PartnerTable(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A network next to ours, by a ``name`` of our choice; see `directory.Partner`.

    In the file of the ``border``, which is the KME itself unless another is named: the KME there, ``kme_id`` in its certificate, is at
    ``address``, and calls this one at ``own_address``, which leads to ``port`` here. There nobody is trusted but ``authority``, that
    network's roots; ``revocations`` must hold a list of each. In the files of other KMEs ``name`` and ``border`` stand alone.
    """

    name: str
    border: str | None = None
    kme_id: str = ""
    address: str = ""
    own_address: str = ""
    port: Annotated[int, msgspec.Meta(ge=1, le=65535)] | None = None
    authority: str | list[str] = []
    revocations: str | None = None
    synchronous: bool = False
    identity_from: tuple[NameSource, ...] = ("uri", "common-name")

    def is_at(self, kme: str) -> bool:
        """Whether that KME is the border."""
        return self.border in (None, kme)

    def partner(self, own_kme: str) -> Partner:
        """As a directory has it."""
        return Partner(self.border or own_kme, self.kme_id, self.address, self.own_address, self.synchronous)

    def rule(self) -> IdentityRule:
        """How the name of another maker's certificate is read: it is this KME's, or nobody's that may enter."""
        roles: dict[str, IdentityKind] = {self.kme_id: "kme"}
        return IdentityRule(self.identity_from, roles)

    def require(self, place: str, own_kme: str) -> None:
        """Raise InputError for what no type tells, but addresses."""
        require_identity(self.name, f"{place}.name")
        given = msgspec.structs.asdict(self)
        if not self.is_at(own_kme):
            alone = msgspec.structs.asdict(PartnerTable(name=self.name, border=self.border))
            for field in given:
                if given[field] != alone[field]:
                    raise InputError(f"{place}.{field}", given[field], f"stands in the file of {self.border} alone, which is the border")
            return
        for field in NEEDED:
            if not given[field]:
                raise InputError(f"{place}.{field}", given[field], "must be given in the file of the KME at the border")
        require_identity(self.kme_id, f"{place}.kme_id")
        if not HOST.fullmatch(self.kme_id):
            raise InputError(f"{place}.kme_id", self.kme_id, "must be a host name, under which that KME's certificate is checked")
