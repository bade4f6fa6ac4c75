"""Reading the configuration of a KME: a TOML file, as docs/running-a-kme.md goes through it.

What is wrong in it is one InputError that names field, value and limit.
"""

from __future__ import annotations

import ipaddress
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

from tiandi.errors import InputError
from tiandi.kms.operating.configuration_tables import BoxTable, Configuration, Etsi014Source, as_list
from tiandi.kms.skip import Systems
from tiandi.kms.tls.identities import require_identity

NOT_SHOWN = "(not shown)"
"""For values that somebody may have written a secret into."""
_SECRETIVE = ("keys", "database")


def read_configuration(path: Path) -> Configuration:
    """The configuration in a file. Raises InputError naming field, value and limit."""
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError("configuration", str(path), f"cannot be read: {(error.strerror or '').lower()}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError("configuration", str(path), f"must be TOML in UTF-8: {error}") from None
    if "file" in raw:
        raise InputError("file", raw["file"], "is no table of a configuration")
    try:
        configuration = msgspec.convert(raw, Configuration)
    except msgspec.ValidationError as error:
        what, _, where = str(error).partition(" - at `$")
        field = where.strip("`.")
        value = NOT_SHOWN if field.startswith(_SECRETIVE) else _value_at(raw, field)
        raise InputError(field or "configuration", value if field else str(path), what) from None
    _require_sound(configuration)
    return msgspec.structs.replace(configuration, file=path)


def _value_at(raw: Any, field: str) -> Any:
    """The value that a path like ``pairs[3].priority`` names; a table is told by its members."""
    for part in field.replace("[", ".[").split("."):
        index = part.removeprefix("[").removesuffix("]")
        try:
            raw = raw[int(index)] if part.startswith("[") else raw[part]
        except (KeyError, IndexError, TypeError, ValueError):
            return None
    return sorted(raw) if isinstance(raw, dict) else raw


def _require_sound(c: Configuration) -> None:
    """Raise InputError for what no type tells."""
    require_identity(c.kme.id, "kme.id")
    _require_address("listen.address", c.listen.address)
    if c.listen.streams is not None and c.listen.port == c.listen.streams.port != 0:
        raise InputError("listen.streams.port", c.listen.port, "must be another port than listen.port")
    if (c.database.sqlite is None) == (c.database.postgresql is None):
        raise InputError("database", NOT_SHOWN, "must have either sqlite or postgresql")
    if not as_list(c.tls.authority):
        raise InputError("tls.authority", c.tls.authority, "must name one file at least")
    for place, peer in _each("peers", c.peers):
        require_identity(peer.id, f"{place}.id")
        if peer.id == c.kme.id:
            raise InputError(f"{place}.id", peer.id, "is this KME itself")
        _require_urls(f"{place}.address", as_list(peer.address))
    _require_unique("peers", (peer.id for peer in c.peers))
    _require_partners(c)
    _require_saes(c)
    _require_pairs(c)
    _require_ways(c)
    _require_sources(c)
    Systems({sae.id: sae.system_id for sae in c.saes if sae.system_id}, c.skip.remote if c.skip else ("*",))


def _require_partners(c: Configuration) -> None:
    ports = {c.listen.port: "listen.port"} | ({c.listen.streams.port: "listen.streams.port"} if c.listen.streams else {})
    for place, partner in _each("partners", c.partners):
        partner.require(place, c.kme.id)
        if not partner.is_at(c.kme.id):
            _require_known(f"{place}.border", partner.border, c.kme_ids, "kme.id or one of peers")
            continue
        for name in ("address", "own_address"):
            _require_urls(f"{place}.{name}", [getattr(partner, name)])
        if partner.port in ports:
            raise InputError(f"{place}.port", partner.port, f"must be another port than {ports[partner.port]}: each partner has its own")
        if partner.port is not None:
            ports[partner.port] = f"{place}.port"
    _require_unique("partners", (partner.name for partner in c.partners))
    _require_unique("partners", (partner.kme_id for partner in c.partners if partner.is_at(c.kme.id)))


def _require_saes(c: Configuration) -> None:
    for place, sae in _each("saes", c.saes):
        require_identity(sae.id, f"{place}.id")
        if not sae.beyond:
            _require_known(f"{place}.home", sae.home, c.kme_ids, "kme.id or one of peers")
            continue
        _require_known(f"{place}.beyond", sae.beyond, set(c.borders), "one of partners")
        border = c.borders[sae.beyond]
        _require_known(f"{place}.home", sae.home or border, {border}, f"{border}, the border to {sae.beyond}, or be left out")
    _require_unique("saes", (sae.id for sae in c.saes))


def _require_pairs(c: Configuration) -> None:
    saes = {sae.id for sae in c.saes}
    for place, pair in _each("pairs", c.pairs):
        for name in ("master", "slave"):
            _require_known(f"{place}.{name}", getattr(pair, name), saes, "one of saes")
        if pair.maximum_bps is not None and pair.maximum_bps < pair.minimum_bps:
            raise InputError(f"{place}.maximum_bps", pair.maximum_bps, f"must not be below minimum_bps = {pair.minimum_bps}")
        if pair.threshold is not None and not pair.paths // 2 < pair.threshold <= pair.paths:
            raise InputError(f"{place}.threshold", pair.threshold, f"must be more than half of paths = {pair.paths}, and not above it")
    _require_unique("pairs", (f"{pair.master} {pair.slave}" for pair in c.pairs))


def _require_ways(c: Configuration) -> None:
    if c.links and c.routes:
        raise InputError("routes", len(c.routes), "must not stand beside links: one of both says which ways keys go")
    for place, link in _each("links", c.links):
        if len(set(link.ends)) != 2 or len(link.ends) != 2:
            raise InputError(f"{place}.ends", link.ends, "must be two KMEs")
        for end in link.ends:
            _require_known(f"{place}.ends", end, c.kme_ids, "kme.id or one of peers")
    for place, route in _each("routes", c.routes):
        if len(route.nodes) < 2 or len(set(route.nodes)) < len(route.nodes):
            raise InputError(f"{place}.nodes", route.nodes, "must be two KMEs at least, each once")
        for node in route.nodes:
            _require_known(f"{place}.nodes", node, c.kme_ids, "kme.id or one of peers")


def _require_sources(c: Configuration) -> None:
    peers = {peer.id for peer in c.peers}
    for place, source in _each("sources", c.sources):
        _require_known(f"{place}.peer", source.peer, peers, "one of peers")
        if isinstance(source, BoxTable):
            require_identity(source.name, f"{place}.name")
        if isinstance(source, Etsi014Source):
            for name in ("sae", "far_sae"):
                require_identity(getattr(source, name), f"{place}.{name}")
            _require_urls(f"{place}.address", as_list(source.address))
    _require_unique("sources", (source.title for source in c.sources))


def _each(name: str, items: list[Any]) -> Iterable[tuple[str, Any]]:
    return ((f"{name}[{number}]", item) for number, item in enumerate(items))


def _require_known(field: str, value: str | None, known: set[str], what: str) -> None:
    if value not in known:
        raise InputError(field, value, f"must be {what}")


def _require_unique(field: str, names: Iterable[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise InputError(field, name, "must stand there once")
        seen.add(name)


def _require_urls(field: str, addresses: list[str]) -> None:
    wrong = [address for address in addresses if not _is_url(address)]
    if wrong or not addresses:
        raise InputError(field, wrong[0] if wrong else addresses, "must be https://HOST:PORT")


def _is_url(address: str) -> bool:
    try:
        parts = urlsplit(address)
        return parts.scheme == "https" and bool(parts.hostname and parts.port) and address == f"https://{parts.netloc}"
    except ValueError:
        return False


def _require_address(field: str, address: str) -> None:
    try:
        ipaddress.ip_address(address)
    except ValueError:
        raise InputError(field, address, "must be an address of this host, such as 127.0.0.1, 0.0.0.0 or ::") from None
