"""Experiments of the calibration graph, one small file each: pulse sequence, model, fit, verdict with a reason."""

from __future__ import annotations

from tiandi.computing.control.experiment import Experiment
from tiandi.computing.control.experiments.active_reset import ActiveReset
from tiandi.computing.control.experiments.anharmonicity import Anharmonicity
from tiandi.computing.control.experiments.discrimination import Discrimination
from tiandi.computing.control.experiments.drag import Drag
from tiandi.computing.control.experiments.drive_crosstalk import DriveCrosstalk
from tiandi.computing.control.experiments.drive_wiring import DriveWiring
from tiandi.computing.control.experiments.echo import Echo
from tiandi.computing.control.experiments.fine_amplitude import FineAmplitude
from tiandi.computing.control.experiments.flux_arc import FluxArc
from tiandi.computing.control.experiments.flux_crosstalk import FluxCrosstalk
from tiandi.computing.control.experiments.flux_wiring import FluxWiring
from tiandi.computing.control.experiments.frequency_allocation import FrequencyAllocation
from tiandi.computing.control.experiments.leakage import Leakage
from tiandi.computing.control.experiments.mixer import Mixer
from tiandi.computing.control.experiments.predistortion import Predistortion
from tiandi.computing.control.experiments.qubit_spectroscopy import IdleSpectroscopy, QubitSpectroscopy
from tiandi.computing.control.experiments.rabi import Rabi
from tiandi.computing.control.experiments.ramsey import Ramsey, RamseyCoarse
from tiandi.computing.control.experiments.randomised_benchmarking import RandomisedBenchmarking
from tiandi.computing.control.experiments.readout_optimisation import ReadoutOptimisation
from tiandi.computing.control.experiments.readout_power import ReadoutPower
from tiandi.computing.control.experiments.resonator_spectroscopy import ResonatorSpectroscopy
from tiandi.computing.control.experiments.t1 import Relaxation
from tiandi.computing.control.experiments.timing import Timing


def single_qubit_experiments() -> tuple[Experiment, ...]:
    """All experiments on single qubits, each behind those that it needs.

    Two happen twice: spectroscopy and Rabi first where the qubits lie with no bias, to find their flux arcs, and again where frequency
    allocation has put them.
    """
    return (
        Mixer(),
        ResonatorSpectroscopy(),
        ReadoutPower(),
        QubitSpectroscopy(),
        DriveWiring(),
        FluxWiring(),
        Rabi(name="first-rabi", after=("flux-wiring",)),
        FluxArc(),
        FluxCrosstalk(),
        FrequencyAllocation(),
        IdleSpectroscopy(),
        Rabi(after=("idle-spectroscopy",)),
        RamseyCoarse(),
        ReadoutOptimisation(),
        Anharmonicity(),
        Discrimination(),
        Timing(),
        Ramsey(),
        Drag(),
        FineAmplitude(),
        ActiveReset(),
        Relaxation(),
        Echo(),
        Predistortion(),
        DriveCrosstalk(),
        RandomisedBenchmarking(),
        Leakage(),
    )
