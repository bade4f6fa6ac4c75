"""Two hosts distil as fast as detectors click: time per sifted bit, first announcement to last confirmation, a core for each end."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from measure import Figure
from tiandi.distill.records import ReceiverRecord, TransmitterRecord
from tiandi.hosts.key_folder import KeyFolder
from tiandi.hosts.link_end import LinkEnd, Report
from tiandi.hosts.memory import keep_freed_memory
from tiandi.hosts.pool_file import PoolFile, create_pair
from tiandi.hosts.post_processing import connect, serve
from tiandi.hosts.recordings import Record, Recording, Recordings
from tiandi.hosts.waiting import run_wakefully
from tiandi.hosts.wire import Address, tls_context
from tiandi.kms.tls.pki import CertificateAuthority, Credentials
from tiandi.protocols.event_file import Run

GOALS_NS = {"TCP": 1000 / 60, "TLS": 1000 / 50}
"""60 Mbit/s of sifted key; a bit less where all that is said is enciphered as well."""
BLOCKS, WARM_BLOCKS = 40, 2
SIFTED_BIT = 16_000_000
"""Of a block."""
EVEN, BIASED = 0.5, 0.9
"""How often an end chooses the X basis: links that are that fast choose one basis more often, and have fewer events to tell of."""
DETECTED_PER_PULSE = 0.05
QBER = 0.02
MEAN_PHOTON_NUMBERS, PROBABILITIES = (0.5, 0.1, 0.0), (0.5, 0.3, 0.2)
DARK_SHARE = 1e-4
NANOSECOND = 1e9
PATIENCE_S = 300.0
CORES = sorted(os.sched_getaffinity(0))
"""An end is a process of its own, on one of these."""


def benchmark_end_to_end() -> list[Figure]:
    """Blocks of 16e6 sifted bits at 2 % errors, several in flight; the records are in memory, and both processes have run before."""
    figures = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        authority = CertificateAuthority(folder / "pki")
        credentials = authority.issue("kme", "alice"), authority.issue("kme", "bob")
        for x_share, ways in ((EVEN, ("TCP", "TLS")), (BIASED, ("TCP",))):
            records = _records(np.random.default_rng(1), x_share)
            for way in ways:
                report = _distil(folder / f"{way}-{x_share}", records, credentials if way == "TLS" else (None, None))
                sifted_bit = sum(block.ledger.total_sifted_bit for block in report.blocks)
                rate = f"{sifted_bit / report.elapsed_s / 1e6:,.0f} Mbit/s"
                what = f"distil between two processes over {way}, X basis chosen in {x_share:.0%} ({rate})"
                figures.append(Figure(what, NANOSECOND * report.elapsed_s / sifted_bit, GOALS_NS[way], "ns"))
    return figures


def _records(generator: np.random.Generator, x_share: float) -> tuple[TransmitterRecord, ReceiverRecord]:
    """Both ends' records of one block: which intensity was detected follows from its brightness, and QBER of the bits differ."""
    events = round(SIFTED_BIT / (x_share**2 + (1.0 - x_share) ** 2))
    slots = np.cumsum(generator.geometric(DETECTED_PER_PULSE, events))
    shares = np.array(PROBABILITIES) * (np.array(MEAN_PHOTON_NUMBERS) + DARK_SHARE)
    intensities = generator.choice(3, events, p=shares / shares.sum()).astype(np.uint8)
    sent, measured = (generator.random((2, events)) > x_share).astype(np.uint8)
    bits, guess = generator.integers(0, 2, (2, events), dtype=np.uint8)
    received = np.where(sent == measured, bits ^ (generator.random(events) < QBER), guess).astype(np.uint8)
    return TransmitterRecord(slots, intensities, sent, bits), ReceiverRecord(slots, measured, received)


def _distil(
    folder: Path, records: tuple[TransmitterRecord, ReceiverRecord], credentials: tuple[Credentials | None, Credentials | None]
) -> Report:
    """Bob's report of a run of two processes, which have had a short one before: compiled loops are in memory at both ends."""
    context = get_context("fork")
    runs = [(folder / "warm", WARM_BLOCKS), (folder / "timed", BLOCKS)]
    for name, _ in runs:
        name.mkdir(parents=True)
        create_pair(name / "alice.pool", name / "bob.pool", "benchmark", 64)
    addresses, called_at = context.Pipe(duplex=False)
    alice = context.Process(target=_serve, args=(runs, records[0], credentials[0], called_at))
    heard, told = context.Pipe(duplex=False)
    bob = context.Process(target=_connect, args=(runs, records[1], credentials[1], addresses, told))
    alice.start()
    bob.start()
    try:
        report: Report | None = heard.recv() if heard.poll(PATIENCE_S) else None
        alice.join(PATIENCE_S)
        bob.join(PATIENCE_S)
    finally:
        alice.terminate()
        bob.terminate()
    if report is None or not report.complete or alice.exitcode or bob.exitcode:
        raise RuntimeError(f"a block failed: {report}")
    return report


def _serve(runs: list[tuple[Path, int]], record: Record, credentials: Credentials | None, pipe: Connection) -> None:
    def tell(line: str) -> None:
        if line.startswith("listening at"):
            pipe.send(Address.parse(line.rsplit(maxsplit=1)[-1]))

    address = Address("127.0.0.1", 0)
    keep_freed_memory()
    for name, blocks in runs:
        _run(name / "alice", record, blocks, 1, partial(serve, address, tls=_tls(credentials, serving=True), tell=tell))


def _connect(
    runs: list[tuple[Path, int]], record: Record, credentials: Credentials | None, addresses: Connection, pipe: Connection
) -> None:
    """Bob: tell of the last of these runs."""
    keep_freed_memory()
    for name, blocks in runs:
        report = _run(name / "bob", record, blocks, 0, partial(connect, addresses.recv(), tls=_tls(credentials, serving=False)))
    pipe.send(report)


def _run(name: Path, record: Record, blocks: int, core: int, talk: Callable[[LinkEnd], Any]) -> Report:
    os.sched_setaffinity(0, {CORES[core % len(CORES)]})
    with (
        Recordings([_recording(name, record, number) for number in range(blocks)]) as recordings,
        PoolFile(name.with_suffix(".pool")) as pool,
    ):
        report: Report = run_wakefully(talk(LinkEnd(recordings, pool, KeyFolder(name.with_suffix(".keys")))))
    return report


def _recording(name: Path, record: Record, number: int) -> Recording:
    run = Run(
        "decoy BB84", 1e9, datetime(2026, 1, 1, tzinfo=UTC), np.array([int(record.slots[-1]) + 1]), MEAN_PHOTON_NUMBERS, PROBABILITIES
    )
    role = "transmitter" if isinstance(record, TransmitterRecord) else "receiver"
    return Recording(name.with_name(f"{name.name}-{number}.h5"), role, run, record.slots.size, lambda: record)


def _tls(credentials: Credentials | None, *, serving: bool) -> Any:
    if credentials is None:
        return None
    return tls_context(
        serving=serving, certificate=credentials.certificate, private_key=credentials.private_key, authority=credentials.authority
    )


if __name__ == "__main__":
    for figure in benchmark_end_to_end():
        print(figure.line())
    sys.exit(0)
