"""The experiments on pairs, each behind those that it needs; all after those on single qubits."""

from __future__ import annotations

from tiandi.computing.control.experiment import Experiment
from tiandi.computing.control.experiments.coupler_bias import CouplerBias
from tiandi.computing.control.experiments.coupler_timing import CouplerTiming
from tiandi.computing.control.experiments.cross_entropy_benchmarking import CrossEntropyBenchmarking
from tiandi.computing.control.experiments.cz_chevron import CzChevron
from tiandi.computing.control.experiments.cz_fine import CzFine
from tiandi.computing.control.experiments.cz_phase import CzPhase
from tiandi.computing.control.experiments.leakage_pairs import LeakagePairs
from tiandi.computing.control.experiments.randomised_benchmarking_pairs import RandomisedBenchmarkingPairs
from tiandi.computing.control.experiments.residual_zz import ResidualZz


def pair_experiments() -> tuple[Experiment, ...]:
    """In order. `CouplerBias` needs only readout, and moves the qubits by some hundred kilohertz: it belongs before their last Ramsey."""
    return (
        CouplerBias(),
        ResidualZz(),
        CouplerTiming(),
        CzChevron(),
        CzPhase(),
        CzFine(),
        LeakagePairs(),
        CrossEntropyBenchmarking(),
        RandomisedBenchmarkingPairs(),
    )
