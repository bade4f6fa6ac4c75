"""Lossy matrix product states of Gaussian boson sampling: memory at bond dimension 4,096, speed, and error against bond dimension.

The machine is Jiuzhang 2.0 at 1.65 W, from the public data where TIANDI_JIUZHANG_DATA names its folder, else a synthetic stand-in. The
peer is a tensor's entry by a hafnian of its own, thewalrus's, as tensors were built before recurrences. `python
gbs_matrix_product_state.py CHART` draws the error against the bond dimension into a file; `--large` prints the peak memory of building a
middle tensor at bond dimension 4,096 and contracting it, in a process of its own.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

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

BONDS = (1, 4, 16, 64, 256)
SAMPLES = {1: 40_000, 4: 40_000, 16: 40_000, 64: 20_000, 256: 4000}
LARGE_BOND = 4096
LEVELS = 4
ROWS = 64


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


def _chart(path: str) -> None:
    """Error of rates and pairs against bond dimension."""
    machine, label = _machine()
    decomposition = decompose(machine.state().covariance)
    rates, pairs = click_moments(machine, 1), click_moments(machine, 2)
    found = []
    for bond in BONDS:
        samples = MatrixProductSampler(machine, bond=bond, decomposition=decomposition).sample(SAMPLES[bond], np.random.default_rng(1)) > 0
        found.append((abs(1 - samples.mean(axis=0).sum() / rates.sum()), _pair_error(samples, rates, pairs)))
    figure, axes = plt.subplots()
    axes.loglog(BONDS, [100 * clicks for clicks, _ in found], "o-", label="total clicks")
    axes.loglog(BONDS, [100 * error for _, error in found], "s-", label="two-mode cumulants")
    axes.set(title=label, xlabel="bond dimension", ylabel="relative error / %")
    axes.legend()
    figure.savefig(path)


if __name__ == "__main__":
    if sys.argv[1:] == ["--large"]:
        print(_large())
    elif sys.argv[1:]:
        _chart(sys.argv[1])
    else:
        for one in benchmark_gbs_matrix_product_state():
            print(one.line())
