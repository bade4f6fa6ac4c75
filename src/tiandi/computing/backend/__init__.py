"""Qiskit's door: a twin as a backend with primitives. Importing it imports Qiskit; InputError names the extra where that is absent."""

from tiandi.computing.circuits.qiskit_circuits import qiskit

qiskit()

from tiandi.computing.backend.backend import TiandiBackend  # noqa: E402
from tiandi.computing.backend.primitives import TiandiEstimator, TiandiSampler  # noqa: E402

__all__ = ["TiandiBackend", "TiandiEstimator", "TiandiSampler"]
