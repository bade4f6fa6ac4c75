"""Qiskit's door to a twin: the target's numbers, circuits through pass managers and primitives, errors in Qiskit's own classes."""

from __future__ import annotations

import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.primitives import BaseEstimatorV2, BaseSamplerV2
from qiskit.providers import JobError, JobStatus
from qiskit.providers.exceptions import QiskitBackendNotFoundError
from qiskit.quantum_info import SparsePauliOp, Statevector
from qiskit.transpiler import generate_preset_pass_manager

from tiandi.computing.backend import TiandiBackend, TiandiEstimator, TiandiSampler
from tiandi.computing.circuits.qiskit_circuits import from_qiskit


@pytest.fixture(scope="module")
def backend() -> TiandiBackend:
    return TiandiBackend("zuchongzhi-2.1", seed=3)


def ghz(count: int) -> QuantumCircuit:
    circuit = QuantumCircuit(count)
    circuit.h(0)
    for qubit in range(count - 1):
        circuit.cx(qubit, qubit + 1)
    circuit.measure_all()
    return circuit


def test_the_target_says_what_the_calibration_says(backend: TiandiBackend) -> None:
    data, target = backend.twin.calibration, backend.target
    assert target.num_qubits == backend.twin.lattice.qubit_count
    for number, pair in enumerate(backend.twin.lattice.couplers.tolist()):
        for qubits in (tuple(pair), tuple(pair[::-1])):
            assert target["cz"][qubits].error == data.two_qubit_error[number]
            assert target["cz"][qubits].duration == data.two_qubit_gate_s
    for qubit in range(target.num_qubits):
        assert target["r"][(qubit,)].error == data.single_qubit_error[qubit]
        assert target["sx"][(qubit,)].duration == data.single_qubit_gate_s
        assert target["measure"][(qubit,)].error == (data.one_for_zero[qubit] + data.zero_for_one[qubit]) / 2
        assert target["measure"][(qubit,)].duration == data.readout_s
        assert target["rz"][(qubit,)].error == 0
        assert target.qubit_properties[qubit].t1 == data.t1_s[qubit]
        assert target.qubit_properties[qubit].t2 == data.t2_s[qubit]


def test_ghz_through_a_pass_manager_and_the_sampler(backend: TiandiBackend) -> None:
    circuit = generate_preset_pass_manager(2, backend=backend, seed_transpiler=1).run(ghz(5))
    sampler = TiandiSampler(backend, options={"seed_simulator": 7})
    assert isinstance(sampler, BaseSamplerV2)
    counts = sampler.run([circuit], shots=4000).result()[0].data.meas.get_counts()
    right = (counts["00000"] + counts["11111"]) / 4000
    predicted = backend.twin.predicted_fidelity(from_qiskit(circuit))
    assert 0.6 < right < 1
    assert right > predicted - 0.05
    assert abs(counts["00000"] - counts["11111"]) < 1000


def test_bits_stand_where_qiskit_has_them(backend: TiandiBackend) -> None:
    circuit = QuantumCircuit(3, 4)
    circuit.x(0)
    circuit.measure([2, 0], [1, 3])
    laid_out = generate_preset_pass_manager(1, backend=backend, seed_transpiler=1).run(circuit)
    result = backend.run(laid_out, shots=500, memory=True, seed_simulator=1).result()
    assert max(result.get_counts(), key=result.get_counts().get) == "1000"
    assert sum(result.get_counts().values()) == len(result.get_memory()) == 500


def test_one_line_is_enough(backend: TiandiBackend) -> None:
    counts = TiandiSampler("zuchongzhi-2.1", options={"seed_simulator": 1}).run([ghz(3)], shots=1000).result()[0].data.meas.get_counts()
    assert counts["000"] + counts["111"] > 700


def test_the_estimator_is_within_noise_of_the_exact_value(backend: TiandiBackend) -> None:
    circuit = QuantumCircuit(3)
    circuit.ry(0.7, 0)
    circuit.cx(0, 1)
    circuit.rx(-0.4, 2)
    circuit.cx(1, 2)
    observables = [SparsePauliOp(word) for word in ("IIZ", "ZZI", "YXX", "ZII")]
    exact = np.array([Statevector(circuit).expectation_value(observable).real for observable in observables])
    estimator = TiandiEstimator(backend, options={"seed_simulator": 3})
    assert isinstance(estimator, BaseEstimatorV2)
    data = estimator.run([(circuit, observables)], precision=0.02).result()[0].data
    # Each of up to three qubits is misread with a few per cent, which takes as much twice from a mean.
    assert np.abs(data.evs - exact).max() < 0.2
    assert np.all(np.abs(data.evs) < np.abs(exact) + 0.08)
    assert np.abs(data.evs - exact).max() > 0.005


def test_seeds_repeat_results(backend: TiandiBackend) -> None:
    circuit = generate_preset_pass_manager(1, backend=backend, seed_transpiler=1).run(ghz(4))
    first, second = (backend.run(circuit, shots=300, seed_simulator=5).result().get_counts() for _ in range(2))
    assert first == second


def test_disabled_qubits_and_couplers_have_no_gates() -> None:
    for name in ("zuchongzhi-2.1", "origin-wukong"):
        backend = TiandiBackend(name)
        data, target = backend.twin.calibration, backend.target
        assert {qubits[0] for qubits in target["measure"]} == set(np.flatnonzero(data.qubit_works).tolist())
        works = data.coupler_works & data.qubit_works[backend.twin.lattice.couplers].all(axis=1)
        assert len(target["cz"]) == 2 * works.sum()
        laid_out = generate_preset_pass_manager(1, backend=backend, seed_transpiler=1).run(ghz(6))
        assert backend.run(laid_out, shots=100).result().success


def test_errors_are_of_qiskit(backend: TiandiBackend) -> None:
    with pytest.raises(QiskitBackendNotFoundError, match="must be one of"):
        TiandiBackend("zuchongzhi-9")
    with pytest.raises(QiskitBackendNotFoundError, match="annealer"):
        TiandiBackend("dwave-advantage2")
    with pytest.raises(JobError, match="native"):
        backend.run(ghz(3))
    with pytest.raises(JobError, match="shots"):
        backend.run(ghz(3), shots=0)
    with pytest.raises(JobError, match="must be one of shots"):
        backend.run(ghz(3), shoots=10)
    far = QuantumCircuit(66)
    far.cz(0, 65)
    far.measure_all()
    with pytest.raises(JobError, match="coupler"):
        backend.run(far)
    job = backend.run(generate_preset_pass_manager(1, backend=backend, seed_transpiler=1).run(ghz(3)), shots=10, engine="none such")
    with pytest.raises(JobError, match="none such"):
        job.result()
    assert job.status() == JobStatus.ERROR
