"""`tiandi sae`: bring an application (SAE) into a network of KMEs, up to its first key."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from tiandi.cli import pki
from tiandi.cli.terminal import print_json
from tiandi.errors import InputError

if TYPE_CHECKING:
    from tiandi.kms.tls.pki import CertificateAuthority, Credentials

# Modules are imported by the command that needs them, so that --help answers at once.

app = App(name="sae", help="Bring an application (SAE), such as an encryptor, into a network of key management entities (KMEs).")


@app.command
def enrol(
    name: str,
    /,
    *,
    state: Annotated[Path | None, Parameter(help="Folder of a network that 'tiandi up' runs; needs --node.")] = None,
    node: Annotated[str | None, Parameter(help="Where in that network it is to be.")] = None,
    config: Annotated[
        Path | None, Parameter(name="--config", help="Configuration of the KME that is to serve it; needs --authority.")
    ] = None,
    authority: Annotated[
        Path | None, Parameter(help="Folder of the authority of that KME, with its private keys and an operator's certificate.")
    ] = None,
    partners: Annotated[
        tuple[str, ...], Parameter(name="--with", negative="", help="SAE to share keys with, both ways; again for more.")
    ] = (),
    kme: Annotated[str | None, Parameter(help="https://HOST:PORT of that KME; default: where the configuration has it listen.")] = None,
    operator: Annotated[str | None, Parameter(help="As whom the KMEs are told; default: the authority's only operator.")] = None,
    days: Annotated[int, Parameter(help="How long the certificate is valid, with --config.")] = 365,
    replace: Annotated[bool, Parameter(negative="", help="Make a new certificate; the one before is good until it is revoked.")] = False,
    json: Annotated[bool, Parameter(name="--json", negative="", help="Print JSON instead of words.")] = False,
) -> None:
    """Make an SAE a certificate, have the network know it, and print three ways to fetch its first key.

    Calling it again changes nothing that is so already.

    Parameters
    ----------
    name
        Its SAE ID.
    """
    if (state is None) == (config is None):
        raise InputError("--state, --config", "both" if state else "neither", "one of both must be given")
    if state is not None:
        if node is None:
            raise InputError("--node", None, "must be given with --state")
        if replace or len(partners) > 1:
            raise InputError(
                "--replace, --with", "as given", "with --state certificates stay, and all SAEs may share keys: name one at most"
            )
        from tiandi.scenario.enrolment import join

        joined = join(state, name, node, partner=partners[0] if partners else None)
        _tell(name, joined.kme, joined.address, joined.partner, joined.files, json=json)
        return
    if config is None or authority is None:
        raise InputError("--authority", None, "must be given with --config")
    from tiandi.cli.backups import Client
    from tiandi.kms.operating.configuration import read_configuration
    from tiandi.kms.operating.enrolment import enter, find_partner, network_of
    from tiandi.kms.tls.identities import require_identity

    require_identity(name, "name")
    network = network_of(read_configuration(config), kme)
    opened = pki._open(authority)
    who = _operator(authority, operator)
    operators = {kme_id: Client(address, kme_id, who) for kme_id, address in network.addresses.items()}
    files = _certificate(opened, authority, name, days=days, replace=replace)
    enter(name, network.home, partners, operators)
    partner = partners[0] if partners else find_partner(name, operators[network.home], any_pair=network.any_pair)
    _tell(name, network.home, network.addresses[network.home], partner, files, json=json)


def _tell(name: str, kme: str, address: str, partner: str | None, files: Credentials, *, json: bool) -> None:
    """Where the SAE is now, and the lines."""
    from tiandi.kms.operating.enrolment import first_key

    lines = {} if partner is None else first_key(address, kme, partner, files)
    if json:
        facts = {"certificate": files.certificate, "private_key": files.private_key, "authority": files.authority}
        told = {"sae": name, "kme": kme, "address": address, "partner": partner, **{what: str(file) for what, file in facts.items()}}
        print_json(told | {"first_key": lines})
        return
    print(f"{name} lives at {kme} and shares keys with {partner or 'nobody yet: enrol another SAE --with it'}.")
    print(f"It needs {files.certificate}, {files.private_key} and {files.authority}.")
    if lines:
        print(f"\nEach of these fetches a key; {partner} fetches the same by its identifier.")
    for line in lines.values():
        print(f"\n{line}")


def _certificate(authority: CertificateAuthority, folder: Path, name: str, *, days: int, replace: bool) -> Credentials:
    """The certificate that it has, or a new one."""
    from tiandi.kms.tls.pki import credentials_in

    try:
        return pki._writing(folder, lambda: authority.issue("sae", name, days=days, replacing=replace))
    except FileExistsError:
        return credentials_in(folder, "sae", name)


def _operator(folder: Path, name: str | None) -> Credentials:
    from tiandi.kms.tls.pki import credentials_in, read_issued

    if name is not None:
        return credentials_in(folder, "operator", name)
    known = sorted({item.identity for item in read_issued(folder) if item.kind == "operator" and item.revoked is None})
    if len(known) != 1:
        raise InputError("--operator", ", ".join(known) or None, f"must be given: {folder} has {len(known)}; 'tiandi pki issue' makes one")
    return credentials_in(folder, "operator", known[0])
