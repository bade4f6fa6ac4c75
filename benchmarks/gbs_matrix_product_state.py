"""Lossy matrix product states of Gaussian boson sampling: memory at bond dimension 4,096, speed, and error against bond dimension.

The machine is Jiuzhang 2.0 at 1.65 W, from the public data where TIANDI_JIUZHANG_DATA names its folder, else a synthetic stand-in. The
peer is a tensor's entry by a hafnian of its own, thewalrus's, as tensors were built before recurrences. `--large` prints the peak memory
of building a middle tensor at bond dimension 4,096 and contracting it, in a process of its own.

`python gbs_matrix_product_state.py --bond BOND SAMPLES FILE` draws whole samples at one bond dimension and adds a line of what they show to
a file; `--chart FILE CHART` draws the chart of error against bond dimension from it.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import json
import resource
import subprocess
import sys
import time
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from thewalrus import hafnian

from measure import Figure
from tiandi.computing.photonics.exact.clicks import click_moments
from tiandi.computing.photonics.gaussian import Machine
from tiandi.computing.photonics.machines import build_machine
from tiandi.computing.photonics.samplers.lossy_decomposition import decompose
from tiandi.computing.photonics.samplers.matrix_product import MatrixProductSampler
from tiandi.computing.photonics.samplers.site_tensors import cut, site_tensor

SAMPLES = {1: 40_000, 4: 40_000, 16: 40_000, 64: 20_000, 256: 4000}
LARGE_BOND = 4096
LEVELS = 4
ROWS = 64
BLOCKS = 20
FEWEST_FOR_PAIRS = 1000
"""Samples below which correlations of pairs are not told: their noise is all that would be seen."""
CUTS = (4, 16, 64, 256, 1024, 4096)


def benchmark_gbs_matrix_product_state() -> list[Figure]:
    """Decomposition, memory and time at 4,096, samples a second at 64 and 256, and what bonds lose."""
    machine, label = _machine()
    begin = time.process_time()
    decomposition = decompose(machine.state().covariance)
    figures = [
        Figure(f"{label}: lossy decomposition, {decomposition.pure_photons:.2f} photons stay pure", time.process_time() - begin, 60.0, "s")
    ]
    memory, build_s, contract_s = (float(word) for word in _in_own_process().split())
    sites = machine.modes
    figures += [
        Figure(
            f"matrix product state, bond {LARGE_BOND}: peak memory",
            memory,
            2.0,
            "GiB",
            f"{contract_s * sites:.2f} s a sample, {sites} such sites",
        ),
        Figure(
            f"matrix product state, bond {LARGE_BOND}: one tensor, {LARGE_BOND**2 * LEVELS / 1e6:.0f} million entries",
            build_s,
            30.0,
            "s",
            _peer(build_s),
        ),
    ]
    exact, pairs = click_moments(machine, 1), click_moments(machine, 2)
    for bond, number in SAMPLES.items():
        sampler = MatrixProductSampler(machine, bond=bond, levels=LEVELS, decomposition=decomposition)
        begin = time.process_time()
        samples = sampler.sample(number, np.random.default_rng(1)) > 0
        rate = number / (time.process_time() - begin)
        missing = float(1 - samples.mean(axis=0).sum() / exact.sum())
        error = 100 * _pair_error(samples, exact, pairs)
        note = f"{rate:,.0f} samples/s, two-mode cumulants {error:.1f} %, weight lost {sampler.discarded.max():.3f}"
        figures.append(Figure(f"{label}, bond {bond}: clicks missing", 100 * missing, 3.0 if bond < 64 else 1.5, "%", note))
    return figures


def _machine() -> tuple[Machine, str]:
    folder = os.environ.get("TIANDI_JIUZHANG_DATA")
    machine = build_machine("jiuzhang-2.0-1.65w", data=Path(folder) if folder else None)
    return machine, machine.name if folder else f"{machine.name} (synthetic)"


def _pair_error(samples: np.ndarray, rates: np.ndarray, products: np.ndarray) -> float:
    """Relative error of two-mode cumulants that two halves have in common."""
    first, second = np.triu_indices(len(rates), 1)
    exact = products - rates[first] * rates[second]
    halves = [np.cov(part.T.astype(np.float32))[first, second] - exact for part in np.array_split(samples, 2)]
    return float(np.sqrt(max(np.mean(halves[0] * halves[1]), 0.0) / np.mean(exact**2)))


def _peer(build_s: float) -> str:
    """Time of a tensor's entry by one hafnian of the number of photons that its heaviest entries have, over ours."""
    generator = np.random.default_rng(1)
    matrix = generator.standard_normal((6, 6)) + 1j * generator.standard_normal((6, 6))
    matrix += matrix.T
    hafnian(matrix, method="recursive")
    begin = time.perf_counter()
    for _ in range(200):
        hafnian(matrix, method="recursive")
    entry = (time.perf_counter() - begin) / 200
    return f"{entry * LARGE_BOND**2 * LEVELS / build_s:,.0f} times thewalrus's hafnian of 6 an entry"


def _in_own_process() -> str:
    done = subprocess.run([sys.executable, __file__, "--large"], capture_output=True, text=True, check=True)
    return done.stdout


def _large() -> str:
    """GiB at most, seconds to build the middle tensor, and seconds a sample to contract it."""
    machine, _ = _machine()
    decomposition = decompose(machine.state().covariance, steps=200)
    middle = machine.modes // 2
    left, right = (cut(decomposition.pure, length, LARGE_BOND) for length in (middle, middle + 1))
    site_tensor(cut(decomposition.pure, 2, 4), cut(decomposition.pure, 3, 4), LEVELS)
    begin = time.process_time()
    tensor = site_tensor(left, right, LEVELS)
    build_s = time.process_time() - begin
    vectors = np.ones((ROWS, len(tensor)), np.complex64)
    begin = time.process_time()
    joint = (vectors @ tensor.reshape(len(tensor), -1)).reshape(ROWS, LEVELS, -1)
    contract_s = (time.process_time() - begin) / ROWS
    assert joint.shape[2] == len(left.occupations)
    return f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20} {build_s} {contract_s}"


class _Timed(MatrixProductSampler):
    """Says how much of its time went into building tensors."""

    build_s = 0.0

    def tensor(self, site: int) -> np.ndarray:
        begin = time.process_time()
        tensor = super().tensor(site)
        self.build_s += time.process_time() - begin
        return tensor


def _whole_samples(bond: int, number: int, file: Path) -> None:
    """Draw ``number`` whole samples and add to ``file`` what they cost, what they miss, and their two-mode cumulants."""
    machine, label = _machine()
    decomposition = decompose(machine.state().covariance)
    MatrixProductSampler(machine, bond=1, decomposition=decomposition).sample(1, np.random.default_rng(1))
    sampler = _Timed(machine, bond=bond, levels=LEVELS, decomposition=decomposition)
    begin = time.process_time()
    samples = sampler.sample(number, np.random.default_rng(1)) > 0
    draw_s = time.process_time() - begin - sampler.build_s
    rates = click_moments(machine, 1)
    missing = 1 - samples.sum(axis=1) / rates.sum()
    enough = number >= FEWEST_FOR_PAIRS
    error, error_error, slope = _pair_figures(samples, rates, click_moments(machine, 2)) if enough else (None, None, None)
    found = {
        "machine": label,
        "bond": bond,
        "samples": number,
        "weight_lost": float(sampler.discarded.max()),
        "build_s": sampler.build_s,
        "samples_per_s": number / draw_s,
        "peak_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
        "clicks_missing": float(missing.mean()),
        "clicks_missing_error": float(missing.std(ddof=1) / np.sqrt(number)),
        "pair_error": error,
        "pair_error_error": error_error,
        "pair_slope": slope,
    }
    with file.open("a", encoding="utf-8") as lines:
        lines.write(json.dumps(found) + "\n")


def _pair_figures(samples: np.ndarray, rates: np.ndarray, products: np.ndarray) -> tuple[float, float, float]:
    """Relative error of two-mode cumulants, its standard error (jackknife), and their slope.

    The mean square is that of different blocks of samples with each other, so that their noise adds nothing to it.
    """
    first, second = np.triu_indices(len(rates), 1)
    exact = products - rates[first] * rates[second]
    off = np.array([np.cov(part.T.astype(np.float32))[first, second] - exact for part in np.array_split(samples, BLOCKS)])
    together = off @ off.T / (exact @ exact)
    np.fill_diagonal(together, 0.0)
    square = together.sum() / (BLOCKS * (BLOCKS - 1))
    left = (together.sum() - 2 * together.sum(axis=1)) / ((BLOCKS - 1) * (BLOCKS - 2))
    error = float(np.sqrt(max(square, 0.0)))
    upper = np.sqrt(max(square, 0.0) + np.sqrt((BLOCKS - 1) * left.var()))
    slope = 1 + float(off.mean(axis=0) @ exact / (exact @ exact))
    return error, float(upper - error), slope


def _chart(file: Path, path: str) -> None:
    """Schmidt weight lost at the middle cut, and of whole samples clicks missing and error of pairs, against bond dimension."""
    machine, label = _machine()
    pure = decompose(machine.state().covariance).pure
    lost = [100 * (1 - cut(pure, machine.modes // 2, bond).occupations.weight) for bond in CUTS]
    for bond, weight in zip(CUTS, lost, strict=True):
        print(f"bond {bond:>5,}: {weight:.1f} % of the Schmidt weight lost at the middle cut")
    found = sorted((json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()), key=lambda one: one["bond"])
    assert {one["machine"] for one in found} <= {label}, "the file is of another machine"
    figure, axes = plt.subplots(layout="constrained")
    axes.plot(CUTS, lost, "^--", color="grey", label="Schmidt weight lost at the middle cut")
    for key, mark, name in (("pair_error", "s", "two-mode cumulants, relative error"), ("clicks_missing", "o", "clicks missing")):
        known = [one for one in found if one[key] is not None]
        values, bars = ([100 * one[field] for one in known] for field in (key, f"{key}_error"))
        axes.errorbar([one["bond"] for one in known], values, bars, fmt=mark, capsize=3, label=name)
    known = [one for one in found if one["pair_slope"] is not None]
    axes.plot(
        [one["bond"] for one in known],
        [100 * (1 - one["pair_slope"]) for one in known],
        "d",
        label="two-mode cumulants, too small by (slope)",
    )
    axes.set(title=label, xlabel="bond dimension", ylabel="%", xscale="log", ylim=(0, None))
    axes.set_xticks(CUTS, [f"{bond:,}" for bond in CUTS])
    axes.minorticks_off()
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["--large"]:
            print(_large())
        case ["--bond", bond, samples, file]:
            _whole_samples(int(bond), int(samples), Path(file))
        case ["--chart", file, chart]:
            _chart(Path(file), chart)
        case _:
            for one in benchmark_gbs_matrix_product_state():
                print(one.line())
