"""The judge of boson samplers over all settings whose calibration is public: six samplers and the experiment each.

The public data is not part of the project: its folder is named by TIANDI_JIUZHANG_DATA, or lies beside the repository; without it machines
of the same sizes are drawn from the published summary figures, and no experiment is judged (the figure's name says so). To run fewer
samples: python gbs_validate.py SAMPLES.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import resource
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from measure import Figure
from tiandi.computing.photonics.gaussian import CountArray, Machine
from tiandi.computing.photonics.machines import build_machine
from tiandi.computing.photonics.public_data import SETTINGS, read_published
from tiandi.computing.photonics.samplers import SAMPLERS
from tiandi.computing.photonics.validation import validate
from tiandi.computing.photonics.validation.kernels import count_together, pack_clicks

NAMES = ("thermal", "squashed", "coherent", "distinguishable", "positive-P", "boltzmann-1")
SAMPLES, BATCH = 200_000, 50_000
GOAL_S, GOAL_BYTE = 300.0, 2 * 2**30
BESIDE = Path(__file__).parents[2] / "shared" / "reference" / "jiuzhang"


def data_folder() -> Path | None:
    """Where the public data is, if it is here."""
    folder = Path(os.environ.get("TIANDI_JIUZHANG_DATA", BESIDE))
    return folder if folder.is_dir() else None


def settings(folder: Path | None) -> list[str]:
    """Settings of which the folder has the data; all of them where there is none."""
    return [name for name, setting in SETTINGS.items() if folder is None or (folder / f"{setting.npz}.npz").is_file()]


class Drawn:
    """Samples of one sampler in batches, and the seconds that drawing them took, which are not the judge's."""

    def __init__(self, name: str, machine: Machine, samples: int) -> None:
        self.name, self.machine, self.samples, self.seconds, self.processor_s = name, machine, samples, 0.0, 0.0

    def __iter__(self) -> Iterator[CountArray]:
        generator = np.random.default_rng(1)
        began, used = time.perf_counter(), time.process_time()
        batches = SAMPLERS[self.name](self.machine, generator).batches(self.samples, generator, BATCH)
        while (batch := next(batches, None)) is not None:
            self.seconds += time.perf_counter() - began
            self.processor_s += time.process_time() - used
            yield batch
            began, used = time.perf_counter(), time.process_time()


def triples_against_matrix_products(samples: CountArray) -> tuple[float, float]:
    """Seconds for all triples of a batch by our loop, and by single-precision matrix products (one a mode), as anyone would begin."""

    def ours() -> float:
        began = time.perf_counter()
        packed = np.zeros((-(-len(samples) // 64), samples.shape[1]), np.uint64)
        pack_clicks(samples, packed)
        modes = samples.shape[1]
        pairs, triples = np.zeros(modes * (modes - 1) // 2, np.int64), np.zeros(modes * (modes - 1) * (modes - 2) // 6, np.int64)
        count_together(np.ascontiguousarray(packed.T), pairs, triples)
        return time.perf_counter() - began

    ours()
    own = ours()
    began = time.perf_counter()
    clicks = samples.astype(np.float32)
    for mode in range(samples.shape[1] - 2):
        later = clicks[samples[:, mode] > 0, mode + 1 :]
        _ = later.T @ later
    return own, time.perf_counter() - began


def benchmark_gbs_validate(samples: int = SAMPLES) -> list[Figure]:
    """Seconds and memory for the verdicts on all settings; the peer is of its costliest loop."""
    folder, judging_s, processor_s, drawing_s = data_folder(), 0.0, 0.0, 0.0
    names = settings(folder)
    for name in names:
        machine = build_machine(name, data=folder)
        drawn = {sampler: Drawn(sampler, machine, samples) for sampler in NAMES}
        began, used = time.perf_counter(), time.process_time()
        validate(machine, drawn, None if folder is None else read_published(name, folder))
        spent = sum(part.seconds for part in drawn.values())
        judging_s, drawing_s = judging_s + time.perf_counter() - began - spent, drawing_s + spent
        processor_s += time.process_time() - used - sum(part.processor_s for part in drawn.values())
    byte = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    batch = (np.random.default_rng(1).random((8192, 144)) < 0.46).astype(np.uint8)
    own, products = triples_against_matrix_products(batch)
    peer = f"triples of 8,192 samples: {1e3 * own:.0f} ms, by matrix products {1e3 * products:.0f} ms, ratio {own / products:.2f}"
    kind = "settings" if folder else "synthetic settings"
    what = f"{len(names)} {kind}, {len(NAMES)} samplers of {samples:,}{' + experiment' if folder else ''}"
    return [
        Figure(
            f"judge: {what}",
            judging_s,
            GOAL_S,
            "s",
            f"{peer}; {processor_s:.0f} s of processor; drawing the samples took {drawing_s:.0f} s more",
        ),
        Figure("judge: largest memory", byte / 2**30, GOAL_BYTE / 2**30, "GiB"),
    ]


if __name__ == "__main__":
    for figure in benchmark_gbs_validate(*(int(argument) for argument in sys.argv[1:])):
        print(figure.line())
