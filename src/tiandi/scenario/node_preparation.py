"""Folders for the hosts of a scenario: `prepare` makes one for each node, with all that `tiandi node` needs there.

Certificates come from one authority. A pair of files of an authentication pool holds the pre-shared key of each link, so a folder is
carried to its host in a way that nobody reads or changes, and does not stay where it was made.
"""

from __future__ import annotations

import ipaddress
import json
import shutil
import tempfile
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Annotated

import msgspec

from tiandi.errors import InputError, StateError
from tiandi.hosts.pool_file import create_pair
from tiandi.hosts.wire import Address
from tiandi.kms.store.master_keys import create_master_key_file
from tiandi.kms.tls.certificates import put
from tiandi.kms.tls.pki import CertificateAuthority, Credentials
from tiandi.scenario.network import kme_identity
from tiandi.scenario.node_files import FORMAT_VERSION, KME_FILE, NODE_FILE, SCENARIO_FILE
from tiandi.scenario.scenario import Scenario, load_scenario, packaged_scenarios

DEFAULT_PORT = 8443
PORTS_PER_LINK = 2
PRE_SHARED_BLOCKS = 64
LINK_KEY_S, SUPPLY_KEY_S = 7 * 86_400.0, 86_400.0
"""After which keys that nobody has used are destroyed; as in the examples of docs/running-a-kme.md."""
LINK_KEYS, POOLS, SAES, MASTER_KEY = "link-keys", "pools", "saes", "master.key"
ANY_ADDRESS = "0.0.0.0"  # noqa: S104 - A name leads to whichever address of the host it is called at.


class Host(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where a node stands: ``address``, name or IP, at which the others reach it; ``port`` is that of its KME, and its links take the next.

    It listens at ``listen``, where the address is a name or belongs to a gateway before it.
    """

    address: str
    port: Annotated[int, msgspec.Meta(ge=1, le=65_535)] = DEFAULT_PORT
    listen: str = ""

    @property
    def listens_at(self) -> str:
        """An address of the host."""
        return self.listen or (self.address if _is_ip(self.address) else ANY_ADDRESS)

    def reached_at(self, port: int) -> str:
        """HOST:PORT for the others."""
        return str(Address(self.address, port))


class _Hosts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    nodes: dict[str, Host]


@dataclass(frozen=True)
class PreparedNode:
    """A folder that was made, and where its KME will be."""

    node: str
    kme: str
    folder: Path
    address: str


def read_hosts(path: Path, scenario: Scenario) -> dict[str, Host]:
    """Where each node of ``scenario`` stands, from a TOML file with a table `[nodes.NAME]` for each. Raises InputError."""
    try:
        hosts = msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), _Hosts).nodes
    except OSError as error:
        raise InputError("--hosts", str(path), f"cannot be read: {(error.strerror or '').lower()}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError("--hosts", str(path), f"must be TOML in UTF-8: {error}") from None
    except msgspec.ValidationError as error:
        what, _, where = str(error).partition(" - at `$.")
        raise InputError(where.strip("`") or "--hosts", str(path), what) from None
    names = [node.name for node in scenario.file.topology.nodes]
    for name in names:
        if name not in hosts:
            raise InputError(f"nodes.{name}", None, "must say at which address the node stands")
    for name in hosts:
        if name not in names:
            raise InputError(f"nodes.{name}", name, f"must be one of {', '.join(names)}")
    _require_apart(hosts, scenario)
    return hosts


def _require_apart(hosts: Mapping[str, Host], scenario: Scenario) -> None:
    """Raise InputError where two nodes would share a port, or one has an address that cannot be."""
    taken: dict[tuple[str, int], str] = {}
    for name, host in hosts.items():
        if host.listen and not _is_ip(host.listen):
            raise InputError(f"nodes.{name}.listen", host.listen, "must be an IP address of the host, such as 0.0.0.0")
        last = host.port + PORTS_PER_LINK * sum(entry.ends[0] == name for entry in scenario.file.topology.fibres)
        if last > 65_535:
            raise InputError(f"nodes.{name}.port", host.port, f"must be lower: the links of the node take ports up to {last}")
        for port in range(host.port, last + 1):
            if (other := taken.setdefault((host.address, port), name)) != name:
                raise InputError(f"nodes.{name}.port", host.port, f"must be another: {other} has port {port} of {host.address}")


def prepare(name: str, hosts_file: Path, into: Path, authority: CertificateAuthority | None = None) -> list[PreparedNode]:
    """Make a folder in ``into``, which is not there yet, for every node of the scenario ``name``; it is there whole or not at all.

    Without an ``authority`` one is made at `pki` in ``into``; one that is given issues new certificates beside those of before. Raises
    InputError for a scenario with satellites and for hosts that do not fit it, StateError when the folder cannot be written.
    """
    scenario = load_scenario(name)
    topology = scenario.file.topology
    if topology.satellites or topology.downlinks or topology.inter_satellite_links or topology.hand_overs:
        raise InputError("scenario", scenario.name, "has satellites: only scenarios of fibre stand on several hosts; take `tiandi up`")
    scenario.fibre_links()
    hosts = read_hosts(hosts_file, scenario)
    if into.exists():
        raise StateError("--into", str(into), "is there already: name a new folder")
    try:
        into.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=f".{into.name}.", dir=into.parent))
        try:
            _fill(partial, name, scenario, hosts, authority)
            partial.rename(into)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise
    except OSError as error:
        raise StateError("--into", str(into), f"cannot be written: {(error.strerror or '').lower()}") from None
    return [
        PreparedNode(node, kme_identity(node), into / kme_identity(node), f"https://{host.reached_at(host.port)}")
        for node, host in hosts.items()
    ]


def _fill(into: Path, name: str, scenario: Scenario, hosts: Mapping[str, Host], authority: CertificateAuthority | None) -> None:
    authority = authority or CertificateAuthority(into / "pki", scenario.name)
    files = _scenario_files(name, scenario)
    for node, host in hosts.items():
        folder = into / kme_identity(node)
        folder.mkdir(mode=0o700)
        for part in (LINK_KEYS, POOLS, SAES):
            (folder / part).mkdir(mode=0o700)
        for file, content in files.items():
            put(folder / file, content)
        _put_credentials(folder, authority.issue("kme", kme_identity(node), hosts=(host.address,), replacing=True))
        create_master_key_file(folder / MASTER_KEY)
        put(folder / KME_FILE, _kme_text(scenario, hosts, node).encode())
        put(folder / NODE_FILE, _node_text(scenario, hosts, node).encode())
    for application in scenario.file.topology.applications:
        _put_credentials(into / kme_identity(application.node) / SAES, authority.issue("sae", application.sae, replacing=True))
    for number, entry in enumerate(scenario.file.topology.fibres):
        pools = [into / kme_identity(end) / POOLS / _pool_name(number) for end in entry.ends]
        create_pair(pools[0], pools[1], entry.name, PRE_SHARED_BLOCKS)


def _scenario_files(name: str, scenario: Scenario) -> dict[str, bytes]:
    """The scenario's own text, and what it names beside it."""
    if name in packaged_scenarios():
        text = resources.files("tiandi.scenario").joinpath("data", f"{name}.toml").read_bytes()
    else:
        text = Path(name).read_bytes()
    files = {SCENARIO_FILE: text}
    run, plan = scenario.file.run.demonstration, scenario.file.plan
    if run is not None and run.picture:
        files[run.picture] = scenario.picture_path.read_bytes()
    if plan is not None and plan.climate_file:
        files[plan.climate_file] = (scenario.folder / plan.climate_file).read_bytes()
    return files


def _put_credentials(folder: Path, credentials: Credentials) -> None:
    """An identity's certificates and keys, and what all of the network trust."""
    for each in (credentials, credentials.post_quantum):
        if each is not None:
            put(folder / each.certificate.name, each.certificate.read_bytes())
            put(folder / each.private_key.name, each.private_key.read_bytes(), 0o600)
    trusted = {credentials.authority, *credentials.also_trusted, *([credentials.revocations] if credentials.revocations else [])}
    for path in trusted:
        put(folder / path.name, path.read_bytes())


def _kme_text(scenario: Scenario, hosts: Mapping[str, Host], node: str) -> str:
    """The configuration of the node's KME, as `tiandi kme check` reads it."""
    topology, host, kme = scenario.file.topology, hosts[node], kme_identity(node)
    lines = [f"# The KME of {node}, in {scenario.title}. `tiandi kme check` reads it; docs/running-a-kme.md goes through it.", ""]
    lines += _table("[kme]", id=kme, any_pair=True)
    lines += _table("[listen]", address=host.listens_at, port=host.port)
    lines += _table("[database]", sqlite="store.sqlite")
    lines += _table("[keys]", master_key=f"file:{MASTER_KEY}")
    authorities = ["authority.crt", "authority+ml-dsa-65.crt"]
    own = {"certificate": f"kme.{kme}.crt", "private_key": f"kme.{kme}.key"}
    lines += _table("[tls]", **own, authority=authorities, revocations="authority.crl")
    post_quantum = {"certificate": f"kme.{kme}+ml-dsa-65.crt", "private_key": f"kme.{kme}+ml-dsa-65.key"}
    lines += _table("[tls.post_quantum]", **post_quantum)
    # A block that the other host lost in a fall is never equal at both, and goes by age.
    lines += _table("[expiry]", link_key_s=LINK_KEY_S, supply_key_s=SUPPLY_KEY_S)
    for other in topology.nodes:
        if other.name != node:
            there = hosts[other.name]
            address, relays = f"https://{there.reached_at(there.port)}", other.kind != "user node"
            lines += _table("[[peers]]", id=kme_identity(other.name), address=address, trust=other.trust, relays=relays)
    for entry in topology.fibres:
        lines += _table("[[links]]", ends=[kme_identity(end) for end in entry.ends], length_km=float(entry.length_km))
    for number, _, peer in _links_of(scenario, node):
        lines += _table("[[sources]]", kind="files", peer=kme_identity(peer), folder=_keys_name(number))
    for application in topology.applications:
        lines += _table("[[saes]]", id=application.sae, home=kme_identity(application.node))
    return "\n".join(lines)


def _node_text(scenario: Scenario, hosts: Mapping[str, Host], node: str) -> str:
    """The file of the node: its ends of links."""
    lines = [f"# {node}, in {scenario.title}: tiandi node {json.dumps(node)} --config {NODE_FILE}", ""]
    lines += _table("", format=FORMAT_VERSION, node=node, scenario=SCENARIO_FILE, kme=KME_FILE)
    for number, role, peer in _links_of(scenario, node):
        entry = scenario.file.topology.fibres[number]
        transmitter = hosts[entry.ends[0]]
        before = sum(other.ends[0] == entry.ends[0] for other in scenario.file.topology.fibres[:number])
        port = transmitter.port + PORTS_PER_LINK * before
        where = transmitter.listens_at if role == "transmitter" else transmitter.address
        lines += _table(
            "[[links]]",
            name=entry.name,
            role=role,
            peer=kme_identity(peer),
            post_processing=str(Address(where, port + 1)),
            twin=str(Address(where, port + 2)),
            pool=f"{POOLS}/{_pool_name(number)}",
            keys=_keys_name(number),
        )
    return "\n".join(lines)


def _links_of(scenario: Scenario, node: str) -> Iterator[tuple[int, str, str]]:
    """Of each fibre at a node its number, the node's role, and the node at the other end."""
    for number, entry in enumerate(scenario.file.topology.fibres):
        if node in entry.ends:
            is_first = node == entry.ends[0]
            yield number, "transmitter" if is_first else "receiver", entry.ends[1] if is_first else entry.ends[0]


def _table(head: str, **values: str | bool | float | Sequence[str]) -> list[str]:
    """A table of TOML; a string or a list of strings is written in JSON as in TOML, but for letters that JSON writes by number."""
    lines = [head] if head else []
    return [*lines, *(f"{name} = {json.dumps(value, ensure_ascii=False)}" for name, value in values.items()), ""]


def _pool_name(number: int) -> str:
    return f"link-{number + 1}.pool"


def _keys_name(number: int) -> str:
    return f"{LINK_KEYS}/link-{number + 1}"


def _is_ip(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
