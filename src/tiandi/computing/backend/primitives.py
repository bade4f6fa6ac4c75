"""Qiskit's primitives on a twin: `TiandiSampler("zuchongzhi-2.1")` where another sampler stood.

Both are Qiskit's own over `TiandiBackend.run`. A circuit as wide as the machine is taken to be laid out for it already; any other is laid
out and translated first (Qiskit's level 1 with ``seed_transpiler``), and observables follow it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from qiskit import QuantumCircuit
from qiskit.primitives import BackendEstimatorV2, BackendSamplerV2, PrimitiveJob, PrimitiveResult
from qiskit.primitives.containers import EstimatorPubLike, SamplerPubLike
from qiskit.primitives.containers.estimator_pub import EstimatorPub
from qiskit.primitives.containers.sampler_pub import SamplerPub
from qiskit.transpiler import generate_preset_pass_manager

from tiandi.computing.backend.backend import TiandiBackend


def _backend(machine: str | TiandiBackend) -> TiandiBackend:
    return TiandiBackend(machine) if isinstance(machine, str) else machine


def _laid_out(circuit: QuantumCircuit, backend: TiandiBackend, seed: int) -> QuantumCircuit:
    if circuit.num_qubits == backend.num_qubits:
        return circuit
    return generate_preset_pass_manager(1, target=backend.target, seed_transpiler=seed).run(circuit)


class TiandiSampler(BackendSamplerV2):  # type: ignore[misc] # Qiskit has no types.
    """A sampler (BaseSamplerV2) on the twin ``machine``, a name or a backend. ``options``: those of BackendSamplerV2."""

    def __init__(self, machine: str | TiandiBackend, *, options: dict[str, Any] | None = None, seed_transpiler: int = 1) -> None:
        super().__init__(backend=_backend(machine), options=options)
        self._seed_transpiler = seed_transpiler

    def run(self, pubs: Iterable[SamplerPubLike], *, shots: int | None = None) -> PrimitiveJob[PrimitiveResult[Any]]:
        """Sample each pub ``shots`` times."""
        given = [SamplerPub.coerce(pub, self.options.default_shots if shots is None else shots) for pub in pubs]
        ready = [
            SamplerPub(_laid_out(pub.circuit, self._backend, self._seed_transpiler), pub.parameter_values, pub.shots, validate=False)
            for pub in given
        ]
        return super().run(ready, shots=shots)


class TiandiEstimator(BackendEstimatorV2):  # type: ignore[misc] # Qiskit has no types.
    """An estimator (BaseEstimatorV2) on the twin ``machine``, a name or a backend. ``options``: those of BackendEstimatorV2."""

    def __init__(self, machine: str | TiandiBackend, *, options: dict[str, Any] | None = None, seed_transpiler: int = 1) -> None:
        super().__init__(backend=_backend(machine), options=options)
        self._seed_transpiler = seed_transpiler

    def run(self, pubs: Iterable[EstimatorPubLike], *, precision: float | None = None) -> PrimitiveJob[PrimitiveResult[Any]]:
        """Estimate each pub's observables to ``precision``, one standard deviation of the sampling."""
        chosen = self.options.default_precision if precision is None else precision
        ready = []
        for pub in (EstimatorPub.coerce(pub, chosen) for pub in pubs):
            circuit = _laid_out(pub.circuit, self._backend, self._seed_transpiler)
            observables = pub.observables if circuit is pub.circuit else pub.observables.apply_layout(circuit.layout)
            ready.append(EstimatorPub(circuit, observables, pub.parameter_values, pub.precision, validate=False))
        return super().run(ready, precision=chosen)
