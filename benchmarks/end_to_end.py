"""Two hosts distil as fast as detectors click: time per sifted bit, first announcement to last confirmation, a core for each end."""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from measure import Figure
from tiandi.distill.records import ReceiverRecord, TransmitterRecord
from tiandi.hosts.key_folder import KeyFolder
from tiandi.hosts.link_end import LinkEnd, Report
from tiandi.hosts.pool_file import PoolFile, create_pair
from tiandi.hosts.post_processing import connect, serve
from tiandi.hosts.recordings import Record, Recording, Recordings
from tiandi.hosts.wire import Address, tls_context
from tiandi.kms.tls.pki import CertificateAuthority, Credentials
from tiandi.protocols.event_file import Run

GOAL_NS = 1000 / 60
"""60 Mbit/s of sifted key."""
BLOCKS, WARM_BLOCKS = 12, 2
EVENTS = 16_000_000
DETECTED_PER_PULSE = 0.05
QBER = 0.02
MEAN_PHOTON_NUMBERS, PROBABILITIES = (0.5, 0.1, 0.0), (0.5, 0.3, 0.2)
DARK_SHARE = 1e-4
NANOSECOND = 1e9


def benchmark_end_to_end() -> list[Figure]:
    """Blocks of 8e6 sifted bits at 2 % errors, several in flight; the records are in memory, and everything is compiled before."""
    records = _records(np.random.default_rng(1))
    figures = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        authority = CertificateAuthority(folder / "pki")
        credentials = authority.issue("kme", "alice"), authority.issue("kme", "bob")
        _distil(folder / "warm", records, WARM_BLOCKS, (None, None))
        for way, shown in (("TCP", (None, None)), ("TLS", credentials)):
            report = _distil(folder / way, records, BLOCKS, shown)
            sifted_bit = sum(block.ledger.total_sifted_bit for block in report.blocks)
            what = f"distil between two processes over {way} ({sifted_bit / report.elapsed_s / 1e6:,.0f} Mbit/s)"
            figures.append(Figure(what, NANOSECOND * report.elapsed_s / sifted_bit, GOAL_NS, "ns"))
    return figures


def _records(generator: np.random.Generator) -> tuple[TransmitterRecord, ReceiverRecord]:
    """Both ends' records of one block: which intensity was detected follows from its brightness, and QBER of the bits differ."""
    slots = np.cumsum(generator.geometric(DETECTED_PER_PULSE, EVENTS))
    shares = np.array(PROBABILITIES) * (np.array(MEAN_PHOTON_NUMBERS) + DARK_SHARE)
    intensities = generator.choice(3, EVENTS, p=shares / shares.sum()).astype(np.uint8)
    bases, bits, other, guess = generator.integers(0, 2, (4, EVENTS), dtype=np.uint8)
    received = np.where(other == 1, guess, bits ^ (generator.random(EVENTS) < QBER))
    return TransmitterRecord(slots, intensities, bases, bits), ReceiverRecord(slots, bases ^ other, received.astype(np.uint8))


def _distil(
    folder: Path, records: tuple[TransmitterRecord, ReceiverRecord], blocks: int, credentials: tuple[Credentials | None, Credentials | None]
) -> Report:
    """Bob's report of a run of two processes."""
    folder.mkdir()
    create_pair(folder / "alice.pool", folder / "bob.pool", "benchmark", 64)
    context = get_context("fork")
    pipe, far_pipe = context.Pipe()
    alice = context.Process(target=_serve, args=(folder, records[0], blocks, credentials[0], far_pipe))
    alice.start()
    try:
        address = pipe.recv()
        report = _run(folder / "bob", records[1], blocks, 0, lambda end: connect(address, end, tls=_tls(credentials[1], serving=False)))
        alice.join(60)
    finally:
        alice.terminate()
    if not report.complete or alice.exitcode:
        raise RuntimeError(f"a block failed: {report}")
    return report


def _serve(folder: Path, record: Record, blocks: int, credentials: Credentials | None, pipe: Connection) -> None:
    def tell(line: str) -> None:
        if line.startswith("listening at"):
            pipe.send(Address.parse(line.rsplit(maxsplit=1)[-1]))

    address = Address("127.0.0.1", 0)
    _run(folder / "alice", record, blocks, 1, lambda end: serve(address, end, tls=_tls(credentials, serving=True), tell=tell))


def _run(name: Path, record: Record, blocks: int, core: int, talk: Callable[[LinkEnd], Any]) -> Report:
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[core % len(cores)]})
    try:
        with (
            Recordings([_recording(name, record, number) for number in range(blocks)]) as recordings,
            PoolFile(name.with_suffix(".pool")) as pool,
        ):
            return asyncio.run(talk(LinkEnd(recordings, pool, KeyFolder(name.with_suffix(".keys")))))
    finally:
        os.sched_setaffinity(0, set(cores))


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
