"""A Rabi sweep on Qibolab's emulator: seconds and the population of state 1 at each amplitude, as JSON.

Called as: qibolab_rabi.py POINTS DURATION_NS RABI_HZ. One transmon of three levels with decay, a Gaussian pulse of a fifth of its duration.
"""

from __future__ import annotations

import json
import sys
import time

import numpy as np
from qibolab import (
    Acquisition,
    AcquisitionType,
    AveragingMode,
    ExecutionParameters,
    Gaussian,
    Parameter,
    Pulse,
    PulseSequence,
    Readout,
    Rectangular,
    Sweeper,
)
from qibolab._core.components.configs import AcquisitionConfig
from qibolab._core.instruments.emulator.hamiltonians import Qubit
from qibolab.instruments.emulator import DriveEmulatorConfig, EmulatorController, HamiltonianConfig

points, duration, rabi = int(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3])
qubit = Qubit(frequency=5e9, anharmonicity=-0.25e9, t1={(0, 1): 30_000.0}, t2={(0, 1): 20_000.0})
configs = {
    "hamiltonian": HamiltonianConfig(transmon_levels=3, qubits={0: qubit}),
    "0/drive": DriveEmulatorConfig(frequency=5e9, rabi_frequency=rabi),
    "0/acquisition": AcquisitionConfig(delay=0.0, smearing=0.0, threshold=0.5, iq_angle=0.0, kernel=None),
}
pulse = Pulse(duration=duration, amplitude=0.5, envelope=Gaussian(rel_sigma=0.2))
readout = Readout(acquisition=Acquisition(duration=1.0), probe=Pulse(duration=1.0, amplitude=0.1, envelope=Rectangular()))
sequence = PulseSequence([("0/drive", pulse)]) | PulseSequence([("0/acquisition", readout)])
sweeper = Sweeper(parameter=Parameter.amplitude, values=np.linspace(0.0, 1.0, points), pulses=[pulse])
options = ExecutionParameters(nshots=100_000, acquisition_type=AcquisitionType.DISCRIMINATION, averaging_mode=AveragingMode.CYCLIC)
emulator = EmulatorController(address="0", channels={})
begin = time.perf_counter()
answers = emulator.play(configs, [sequence], options, [[sweeper]])
print(json.dumps({"seconds": time.perf_counter() - begin, "populations": next(iter(answers.values())).tolist()}))
