"""`tiandi distill`: key between two hosts, from what their detectors recorded."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter

from tiandi.cli import EXIT_FAILED
from tiandi.cli.terminal import print_json, standard_output
from tiandi.errors import InputError

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Coroutine

    from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA65PrivateKey, MLDSA65PublicKey

    from tiandi.hosts.link_end import BlockReport, LinkEnd, Report
    from tiandi.hosts.pool_file import PoolFile
    from tiandi.hosts.wire import Address

# Modules are imported by the command that needs them, so that --help answers at once.

app = App(name="distill", help="Distil key between two hosts, over TLS or plain TCP, from what their modules recorded.")

Json = Annotated[bool, Parameter(name="--json", negative="", help="Print one JSON object instead of a table.")]


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Options:
    """What both ends are told."""

    pool: Annotated[Path, Parameter(help="This end's file of the authentication pool, from 'pair'.")]
    keys: Annotated[Path, Parameter(help="Folder for the keys; made if it is not there.")]
    plain: Annotated[
        bool, Parameter(negative="", help="Plain TCP: the tags of each block authenticate it, and nothing secret is said.")
    ] = False
    tls_certificate: Annotated[Path | None, Parameter(help="This end's certificate (PEM), for TLS 1.3.")] = None
    tls_key: Annotated[Path | None, Parameter(help="Private key of the certificate (PEM).")] = None
    tls_authority: Annotated[Path | None, Parameter(help="Certificate of the authority that the other end's must be of (PEM).")] = None
    join: Annotated[bool, Parameter(negative="", help="Make one block of all files, such as several passes of a satellite.")] = False
    block_events: Annotated[int | None, Parameter(help="Cut each file into equal blocks of about so many detections.")] = None
    blocks_in_flight: Annotated[int, Parameter(help="How many blocks are worked on at once.")] = 4
    link: Annotated[str | None, Parameter(help="Begin a pool without pre-shared key, under this name; needs --identity and --peer.")] = None
    identity: Annotated[Path | None, Parameter(help="This end's private ML-DSA key, from 'identity': it signs the first block.")] = None
    peer: Annotated[Path | None, Parameter(help="The other end's public ML-DSA key.")] = None
    transcripts: Annotated[bool, Parameter(negative="", help="Keep beside each key all that was said, for an audit.")] = False
    json: Json = False


@app.command
def pair(name: str, alice: Path, bob: Path, /, *, blocks: int = 64) -> None:
    """Make the two files of an authentication pool, with the same fresh pre-shared key. Carry one to the other end, by hand.

    Parameters
    ----------
    name
        Name of the link.
    alice
        File for one end.
    bob
        File for the other end.
    blocks
        For how many blocks the key pays before the first has replenished it; 64 bytes each.
    """
    from tiandi.hosts.pool_file import create_pair

    create_pair(alice, bob, name, blocks)
    print(f"{alice} and {bob}: key for {blocks} blocks of the link {name}. Bring one to each end; who copies one can pretend to be it.")


@app.command
def identity(file: Path, /) -> None:
    """Make a key pair that signs the first block of a pool without pre-shared key: ML-DSA-65 (FIPS 204).

    Parameters
    ----------
    file
        File for the private key; the public one goes to FILE.pub.
    """
    from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA65PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

    from tiandi.kms.store.master_keys import write_secret

    public = file.with_name(file.name + ".pub")
    key = MLDSA65PrivateKey.generate()
    try:
        write_secret(file, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        try:
            write_secret(public, key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
            public.chmod(0o644)
        except OSError:
            file.unlink()
            raise
    except OSError as error:
        raise InputError("file", error.filename, f"cannot be written: {(error.strerror or '').lower()}") from None
    print(f"{file} stays here. Give {public} to the other end, in a way that nobody can change.")


@app.command
def record(alice: Path, bob: Path, /, *, length_km: float = 50.0, duration_s: float = 1.0, seed: int | None = None) -> None:
    """Let a digital twin of a fibre link write both ends' event files, to try everything without hardware.

    Parameters
    ----------
    alice
        Event file for the transmitter's end.
    bob
        Event file for the receiver's end.
    length_km
        Length of the fibre [km].
    duration_s
        How long light is sent [s], at 100 MHz.
    seed
        Makes light and detectors repeat; the bits never do.
    """
    from tiandi.hosts.twin_recording import record_twin

    if seed is not None and seed < 0:
        raise InputError("seed", seed, "must be 0 or greater")
    made = record_twin(alice, bob, length_km=length_km, duration_s=duration_s, seed=seed)
    light = f"{made.detected:,} detections in {duration_s:g} s over {length_km:g} km"
    print(f"{alice} and {bob}: {light}, enough for about {made.secret_bit:,} bit of key")


@app.command
def serve(
    *files: Annotated[Path, Parameter(help="Event files of this end, in the order of the other end's.")],
    listen: Annotated[str, Parameter(help="HOST:PORT to listen at.")],
    options: Options,
) -> None:
    """Wait for the other end of a link and distil key with it, once."""
    from tiandi.hosts.post_processing import serve as serve_end
    from tiandi.hosts.wire import Address

    _distil(files, options, Address.parse(listen), serve_end, serving=True)


@app.command
def connect(
    address: Annotated[str, Parameter(help="HOST:PORT at which the other end serves.")],
    /,
    *files: Annotated[Path, Parameter(help="Event files of this end, in the order of the other end's.")],
    options: Options,
) -> None:
    """Distil key with the end that serves at HOST:PORT."""
    from tiandi.hosts.post_processing import connect as connect_end
    from tiandi.hosts.wire import Address

    _distil(files, options, Address.parse(address), connect_end, serving=False)


@app.command
def status(pool: Path, /, *, json: Json = False) -> None:
    """Show the life account of a link: blocks, bits and epsilons since its pool was begun.

    Parameters
    ----------
    pool
        This end's file of the authentication pool.
    """
    from dataclasses import asdict

    from tiandi.hosts.pool_file import PoolFile

    with PoolFile(pool) as opened:
        account = {"link": opened.name, "origin": opened.origin, "available_bit": opened.available_bit, **asdict(opened.life())}
    if json:
        print_json(account)
        return
    for name, value in account.items():
        print(f"{name.replace('_', ' '):<32} {f'{value:,}' if isinstance(value, int) else value}")


@app.command
def audit(transcript: Path, /, *, json: Json = False) -> None:
    """Recompute the report of a block from all that was said, and put both side by side. Fails where they differ.

    Parameters
    ----------
    transcript
        File from serve or connect with --transcripts.
    """
    from tiandi.hosts.audit import audit as recompute
    from tiandi.hosts.transcript import read_transcript

    said = read_transcript(transcript)
    figures = recompute(said)
    agrees = all(figure.agrees for figure in figures)
    if json:
        rows = [{**figure._asdict(), "agrees": figure.agrees} for figure in figures]
        print_json({"outcome": said.outcome, "messages": len(said.said) - 1, "agrees": agrees, "figures": rows})
    else:
        print(f"{said.outcome}: {len(said.said) - 1} messages\n{'':<32} {'reported':>24} {'from what was said':>24}")
        for figure in figures:
            verdict = "" if figure.agrees else "  DIFFERS"
            print(f"{figure.name.replace('_', ' '):<32} {figure.reported:>24} {figure.recomputed:>24}{verdict}")
        print("every figure of the report follows from what was said" if agrees else "the report does not follow from what was said")
    if not agrees:
        raise SystemExit(EXIT_FAILED)


def _distil(
    files: Sequence[Path], options: Options, address: Address, talk: Callable[..., Coroutine[Any, Any, Report]], *, serving: bool
) -> None:
    from tiandi.compiling import announce_compilation
    from tiandi.hosts.link_end import Report
    from tiandi.hosts.waiting import run_wakefully
    from tiandi.hosts.wire import tls_context

    tls: ssl.SSLContext | None = None
    shown = certificate, private_key, authority = options.tls_certificate, options.tls_key, options.tls_authority
    if options.plain and any(shown):
        raise InputError("--plain", True, "does not go with --tls-certificate, --tls-key and --tls-authority")
    if not options.plain and not all(shown):
        raise InputError("--plain", False, "must be given, or else --tls-certificate, --tls-key and --tls-authority, all three")
    if certificate is not None and private_key is not None and authority is not None:
        tls = tls_context(serving=serving, certificate=certificate, private_key=private_key, authority=authority)
    with announce_compilation(_tell), _link_end(files, options) as end:
        done: list[BlockReport] = []

        def note(block: BlockReport, blocks: int) -> None:
            done.append(block)
            _tell_block(block, blocks)

        try:
            report = run_wakefully(talk(address, end, tls=tls, tell=_tell, tell_block=note))
        except BaseException as error:
            if done:  # Their keys are on disk, whatever came after.
                why = str(error) or "interrupted"
                _show(Report(end.pool.name, end.recordings.role, "the peer", 0.0, 0.0, tuple(done), 0, why), as_json=options.json)
            raise
    _show(report, as_json=options.json)
    if not report.complete:
        raise SystemExit(EXIT_FAILED)


@contextmanager
def _link_end(files: Sequence[Path], options: Options) -> Iterator[LinkEnd]:
    from tiandi.hosts.key_folder import KeyFolder
    from tiandi.hosts.link_end import LinkEnd
    from tiandi.hosts.recordings import Recording, Recordings

    signing = _signing(options)
    with ExitStack() as opened:
        recordings = Recordings([Recording.open(path) for path in files], join=options.join, block_events=options.block_events)
        pool = opened.enter_context(_pool(options))
        yield LinkEnd(
            recordings=opened.enter_context(recordings),
            pool=pool,
            keys=KeyFolder(options.keys),
            signing=signing,
            transcripts=options.transcripts,
            blocks_in_flight=options.blocks_in_flight,
        )


@contextmanager
def _pool(options: Options) -> Iterator[PoolFile]:
    """The pool of this end; a new one, empty, where it is to be begun by signatures."""
    from tiandi.hosts.pool_file import PoolFile

    if options.pool.exists() or options.link is None:
        with PoolFile(options.pool) as pool:
            if options.link is not None and pool.name != options.link:
                raise InputError("link", options.link, f"must be {pool.name}, as the pool says, or left out")
            yield pool
        return
    if options.identity is None:
        raise InputError("link", options.link, "needs --identity and --peer: signatures authenticate the first block of a new pool")
    with PoolFile.create(options.pool, options.link, None) as pool:
        yield pool


def _signing(options: Options) -> tuple[MLDSA65PrivateKey, MLDSA65PublicKey] | None:
    """This end's private and the peer's public key, where both are given."""
    from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA65PrivateKey, MLDSA65PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

    if (options.identity is None) != (options.peer is None):
        raise InputError("identity", str(options.identity), "goes with --peer: this end's private and the other end's public key")
    if options.identity is None or options.peer is None:
        return None
    if options.identity.is_file() and options.identity.stat().st_mode & 0o077:
        raise InputError("identity", str(options.identity), "must be readable by its owner only (chmod 600)")
    try:
        own = load_pem_private_key(options.identity.read_bytes(), password=None)
    except (OSError, ValueError, TypeError):
        own = None
    if not isinstance(own, MLDSA65PrivateKey):
        raise InputError("identity", str(options.identity), "must be a private key from 'tiandi distill identity'")
    try:
        peer = load_pem_public_key(options.peer.read_bytes())
    except (OSError, ValueError):
        peer = None
    if not isinstance(peer, MLDSA65PublicKey):
        raise InputError("peer", str(options.peer), "must be a public key (FILE.pub) from 'tiandi distill identity'")
    if own.public_key() == peer:
        raise InputError("peer", str(options.peer), "must be the other end's public key, not this end's own")
    return own, peer


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _tell_block(block: BlockReport, blocks: int) -> None:
    """Progress, if somebody is looking at it."""
    if sys.stderr.isatty():
        _tell(f"block {block.number + 1} of {blocks}: {f'{block.key_bit:,} bit of key' if block.block_id else f'aborted: {block.why}'}")


def _show(report: Report, *, as_json: bool) -> None:
    """The blocks of a run, one a line, and what it was all in all."""
    if as_json:
        print_json(report)
        return
    from rich.table import Table
    from rich.text import Text

    console = standard_output(120)
    table = Table(title=Text(f"{report.link}, {report.role}'s end"), title_justify="left", title_style="bold", box=None, header_style="dim")
    for name in ("block", "sifted", "QBER %", "leaked", "key bit"):
        table.add_column(name, justify="right")
    table.add_column("identifier, or why there is none", overflow="fold")
    for block in report.blocks:
        ledger, aborted = block.ledger, block.block_id is None
        figures = (
            f"{ledger.total_sifted_bit:,}",
            f"{100 * ledger.qber:.2f}" if ledger.total_sifted_bit else "-",
            f"{ledger.total_leaked_bit:,}",
            f"{block.key_bit:,}",
        )
        table.add_row(str(block.number + 1), *figures, str(block.block_id or block.why), style="red" if aborted else "")
    console.print(table)
    total = sum(block.key_bit for block in report.blocks)
    console.print(f"{total:,} bit of key in {report.elapsed_s:.1f} s with {report.peer}", highlight=False)
    if report.broken is not None:
        left = f"; {report.left} blocks were not begun" if report.left else ""
        print(f"tiandi: {report.broken}{left}; what is listed with a key stays", file=sys.stderr)
