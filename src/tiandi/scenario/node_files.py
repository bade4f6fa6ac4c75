"""The file of one node of a scenario that stands on several hosts: which node, which configuration of its KME, which ends of links.

`tiandi.scenario.node_preparation` writes it. Paths are relative to its folder.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from tiandi.errors import InputError
from tiandi.hosts.recordings import Role
from tiandi.hosts.wire import Address

FORMAT_VERSION = 1
NODE_FILE, KME_FILE, SCENARIO_FILE = "node.toml", "kme.toml", "scenario.toml"


class _Table(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of the file."""


class LinkEndTable(_Table, frozen=True, kw_only=True):
    """One end of a fibre link of the scenario. The transmitter listens at both addresses; the receiver calls there.

    ``twin`` is the quantum-channel twin, ``post_processing`` where the two ends distil. ``keys`` is a folder that the KME collects from.
    """

    name: str
    role: Role
    peer: str
    post_processing: str
    twin: str
    pool: str
    keys: str


class NodeFile(_Table, frozen=True, kw_only=True):
    """A node, and all that it has on this host."""

    format: Literal[1]
    node: str
    scenario: str = SCENARIO_FILE
    kme: str = KME_FILE
    links: list[LinkEndTable] = []
    folder: Annotated[Path, msgspec.Meta(description="Where the file stands.")] = Path()


def read_node(path: Path, name: str) -> NodeFile:
    """The file at ``path``, which must be that of the node ``name``. Raises InputError naming field, value and limit."""
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError("--config", str(path), f"cannot be read: {(error.strerror or '').lower()}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError("--config", str(path), f"must be TOML in UTF-8: {error}") from None
    if "folder" in raw:
        raise InputError("folder", raw["folder"], "is no field of the file of a node")
    try:
        file = msgspec.convert(raw, NodeFile)
    except msgspec.ValidationError as error:
        what, _, where = str(error).partition(" - at `$")
        raise InputError(where.strip("`.") or "--config", str(path), what) from None
    if file.node != name:
        raise InputError("name", name, f"must be {file.node}, whose file {path} is")
    for number, link in enumerate(file.links):
        for field in ("post_processing", "twin"):
            try:
                Address.parse(getattr(link, field))
            except InputError as error:
                raise InputError(f"links[{number}].{field}", getattr(link, field), error.limit) from None
    return msgspec.structs.replace(file, folder=path.parent)
