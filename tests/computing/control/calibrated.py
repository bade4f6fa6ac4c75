"""A chip as a control system would know it after a bring-up."""

from __future__ import annotations

import numpy as np

from tests.computing.control.bench import cold, electronics
from tiandi.computing.control.knowledge import Knowledge


def calibrated(rows: int = 3, columns: int = 4) -> Knowledge:
    """Qubit 5 is dead, qubit 2 was never benchmarked, the first coupler's CZ was not either."""
    chip, random = cold(electronics(rows, columns)), np.random.default_rng(8)
    qubits, couplers = np.arange(chip.electronics.qubits), np.arange(len(chip.electronics.couplers))
    frequency = random.normal(4.8e9, 5e7, len(qubits))
    figures = {
        "frequency_hz": frequency, "top_frequency_hz": frequency + 1e8, "anharmonicity_hz": random.normal(-2.5e8, 3e6, len(qubits)),
        "sweet_spot_v": random.normal(0.0, 0.03, len(qubits)), "volt_per_flux_quantum": random.normal(1.5, 0.05, len(qubits)),
        "t1_s": random.uniform(2e-5, 4e-5, len(qubits)), "t2_ramsey_s": random.uniform(5e-6, 1e-5, len(qubits)),
        "t2_echo_s": random.uniform(1e-5, 2e-5, len(qubits)), "pi_amplitude": random.uniform(0.5, 0.6, len(qubits)),
        "half_pi_amplitude": random.uniform(0.25, 0.3, len(qubits)), "drag_ns": random.uniform(-0.4, -0.3, len(qubits)),
        "half_pi_error": random.uniform(3e-4, 1e-3, len(qubits)), "one_for_zero": random.uniform(0.005, 0.02, len(qubits)),
        "zero_for_one": random.uniform(0.01, 0.04, len(qubits)),
    }  # fmt: skip
    for name, values in figures.items():
        chip.learn("qubit", name, qubits, values, np.abs(values) * 1e-3, measured_s=100.0)
    chip.parameters["half_pi_error"].value[2] = np.nan
    chip.learn("coupler", "cz_error", couplers[1:], random.uniform(2e-3, 6e-3, len(couplers) - 1), 1e-4, measured_s=100.0)
    chip.learn("coupler", "cz_duration_ns", couplers, np.where(couplers % 2, 52.0, 65.0), 1.0, measured_s=100.0)
    chip.learn("coupler", "coupling_hz", couplers, random.uniform(8e6, 1.2e7, len(couplers)), 1e5, measured_s=100.0)
    chip.settings.flux_bias_v[:] = random.normal(0.2, 0.02, len(qubits))
    chip.settings.coupler_bias_v[:] = random.normal(0.3, 0.02, len(couplers))
    chip.flag("qubit", 5, "dead", "nothing answers")
    return chip
