"""`tiandi pki`: the certificates of KMEs, SAEs and operators, and their revocation."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypeVar

from cyclopts import App, Parameter

from tiandi.cli.terminal import print_json
from tiandi.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tiandi.kms.tls.pki import CertificateAuthority, Issued

# Modules are imported by the command that needs them, so that --help answers at once.

PASSPHRASE = "TIANDI_PKI_PASSPHRASE"  # noqa: S105 - The name of a variable, no secret.

app = App(name="pki", help="A small certificate authority in a folder: issue and revoke the certificates of a network.")

Kind = Literal["kme", "sae", "operator", "viewer"]
Algorithm = Literal["p256", "ml-dsa-65"]
Made = TypeVar("Made")
Json = Annotated[bool, Parameter(name="--json", negative="", help="Print JSON instead of words.")]
Hosts = Annotated[tuple[str, ...], Parameter(name="--host", negative="", help="Name or address at which a KME is called; again for more.")]


@app.command
def init(
    folder: Path,
    /,
    *,
    name: Annotated[str, Parameter(help="Name of the network, which stands in the authority's certificates.")] = "tiandi",
    encrypt: Annotated[
        bool, Parameter(negative="", help=f"Encrypt the authority's private keys; asks for a passphrase, or takes {PASSPHRASE}.")
    ] = False,
    json: Json = False,
) -> None:
    """Make an authority: a P-256 root, an ML-DSA-65 root, and an empty list of revocations.

    Parameters
    ----------
    folder
        Folder for it; made if it is not there. Keep it to yourself: whoever has its private keys can be anybody.
    """
    from tiandi.kms.tls.pki import CertificateAuthority

    if not name.isprintable() or not 1 <= len(name) <= 40:
        raise InputError("name", name, "must be 1 to 40 printable characters")
    if CertificateAuthority.exists(folder):
        raise InputError("folder", str(folder), "holds an authority already")
    passphrase = _passphrase(twice=True) if encrypt or PASSPHRASE in os.environ else None
    authority = _writing(folder, lambda: CertificateAuthority(folder, name, passphrase=passphrase))
    if json:
        files = {"authority": str(authority.certificate), "revocations": str(authority.revocations)}
        print_json({**files, "encrypted": passphrase is not None})
    else:
        print(f"{authority.certificate}: give it to everybody. {authority.revocations}: give it to every KME, and again after each change.")


@app.command
def issue(
    folder: Path,
    kind: Kind,
    identity: str,
    /,
    *,
    host: Hosts = (),
    days: Annotated[int, Parameter(help="How long it is valid.")] = 365,
    algorithm: Annotated[
        Algorithm | None, Parameter(help="One certificate of this kind; without it P-256, and for a KME ML-DSA-65 as well.")
    ] = None,
    replace: Annotated[bool, Parameter(negative="", help="Put new files in the place of those issued before.")] = False,
    json: Json = False,
) -> None:
    """Issue a certificate and its private key to a KME, an SAE, an operator, or a viewer of a living network's page.

    Parameters
    ----------
    folder
        The authority.
    kind
        What it is.
    identity
        Its KME ID, SAE ID or name.
    """
    authority = _open(folder)
    try:
        made = _writing(folder, lambda: authority.issue(kind, identity, hosts=host, days=days, algorithm=algorithm, replacing=replace))
    except FileExistsError:
        raise InputError("identity", identity, f"has a certificate as {kind}; --replace makes a new one") from None
    files = [each for each in (made, made.post_quantum) if each is not None]
    if json:
        names = ("certificate", "private_key", "authority")
        print_json([{name: str(getattr(each, name)) for name in names} for each in files])
        return
    for each in files:
        print(f"{each.certificate} and {each.private_key}, under {each.authority}")


@app.command
def revoke(folder: Path, which: str, /, *, json: Json = False) -> None:
    """Revoke every certificate of an identity, or the one with a serial number.

    Parameters
    ----------
    folder
        The authority.
    which
        Identity, serial number, or full name (urn:tiandi:sae:alice) where several kinds share an identity.
    """
    authority = _open(folder)
    revoked = _writing(folder, lambda: authority.revoke(which))
    if json:
        print_json(revoked)
        return
    _show(revoked)
    print(f"{authority.revocations}: bring it to every KME; it holds from the next request on.")


@app.command
def renew(folder: Path, /, *, json: Json = False) -> None:
    """Sign the list of revocations anew: KMEs trust nobody when it is out of date.

    Parameters
    ----------
    folder
        The authority.
    """
    from tiandi.kms.tls.pki import REVOCATION_DAYS

    authority = _open(folder)
    _writing(folder, authority.renew_revocations)
    if json:
        print_json({"revocations": str(authority.revocations), "days": REVOCATION_DAYS})
    else:
        print(f"{authority.revocations}: good for {REVOCATION_DAYS} days; bring it to every KME")


@app.command(name="list")
def list_(folder: Path, /, *, json: Json = False) -> None:
    """List what the authority has issued.

    Parameters
    ----------
    folder
        The authority.
    """
    from tiandi.kms.tls.pki import read_issued

    issued = read_issued(folder)
    if json:
        print_json(issued)
    else:
        _show(issued)


def _open(folder: Path) -> CertificateAuthority:
    from tiandi.kms.tls.pki import CertificateAuthority

    if not CertificateAuthority.exists(folder):
        raise InputError("folder", str(folder), "holds no authority; make one with 'tiandi pki init'")
    passphrase = _passphrase(twice=False) if CertificateAuthority.is_encrypted(folder) else None
    return _writing(folder, lambda: CertificateAuthority(folder, passphrase=passphrase))


def _passphrase(*, twice: bool) -> bytes:
    """From the environment, or typed by somebody."""
    from getpass import getpass

    given = os.environ.get(PASSPHRASE)
    if given is None:
        if not sys.stdin.isatty():
            raise InputError("passphrase", "none", f"is needed: set {PASSPHRASE}, or call this from a terminal")
        given = getpass("Passphrase of the authority: ")
        if twice and getpass("Once more: ") != given:
            raise InputError("passphrase", "as typed", "must be the same twice")
    if not given:
        raise InputError("passphrase", "as given", "must not be empty")
    return given.encode()


def _writing(folder: Path, work: Callable[[], Made]) -> Made:
    """What ``work`` gives. Raises InputError when the folder cannot be written to."""
    try:
        return work()
    except FileExistsError:
        raise
    except OSError as error:
        raise InputError("folder", str(folder), f"cannot be written to: {error.strerror}") from None


def _show(issued: Sequence[Issued]) -> None:
    for item in issued:
        state = f"revoked {item.revoked:%Y-%m-%d}" if item.revoked else f"until {item.expires:%Y-%m-%d}"
        print(f"{item.kind:<8} {item.identity:<32} {item.algorithm:<9} {item.serial:>40}  {state}")
