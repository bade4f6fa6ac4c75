"""A machine's twin: its lattice, a calibration drawn around what is published, and the noise that follows from them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from tiandi.computing.circuits.circuit import Circuit
from tiandi.computing.circuits.noise import NoisyCircuit
from tiandi.computing.machines.calibrating import draw_calibration
from tiandi.computing.machines.calibration import Calibration
from tiandi.computing.machines.drift import OLDEST_S, drifted
from tiandi.computing.machines.lattice import Lattice
from tiandi.computing.machines.layouts import lattice_of, subset
from tiandi.computing.machines.mechanisms import Mechanisms, mechanisms_of
from tiandi.computing.machines.noise_model import NoiseModel
from tiandi.computing.machines.prediction import predicted_cross_entropy
from tiandi.computing.machines.sheets import DataSheet, find_sheet
from tiandi.errors import InputError
from tiandi.limits import require_within


@dataclass(frozen=True, eq=False)
class Twin:
    """The machine as software: ``calibration`` is over the qubits and couplers of ``lattice``."""

    sheet: DataSheet
    lattice: Lattice
    calibration: Calibration
    mechanisms: Mechanisms
    seed: int

    @property
    def native_gates(self) -> tuple[str, ...]:
        """Gates that the machine carries out without further translation."""
        return self.sheet.native_gates

    @cached_property
    def _noise_model(self) -> NoiseModel:
        return NoiseModel(self.lattice, self.calibration, self.mechanisms, self.native_gates)

    def subset(self, count: int) -> tuple[int, ...]:
        """``count`` well-connected qubits for an experiment on fewer than all (see `layouts.subset`)."""
        return subset(self.sheet.id, count)

    def noisy(self, circuit: Circuit) -> NoisyCircuit:
        """``circuit``, in native gates on this machine's qubits, with everything that goes wrong written out (see `noise_model`).

        Raises InputError for a gate that is not native, a qubit or coupler that does not work or is not there.
        """
        return self._noise_model.write(circuit)

    def predicted_fidelity(self, circuit: Circuit) -> float:
        """What linear cross-entropy benchmarking of ``circuit``, a random one, should give on this twin (see `prediction`)."""
        return predicted_cross_entropy(self.noisy(circuit))[0]


def build_twin(name: str, *, seed: int = 1, age_s: float = 0.0) -> Twin:
    """The twin of machine ``name``; the same seed gives the same one. ``age_s``: time since its calibration, during which it drifts.

    Raises InputError for a machine without gates or without a published lattice or errors, saying which.
    """
    sheet = find_sheet(name)
    if sheet.no_twin or sheet.layout is None:
        raise InputError("machine", name, f"has no twin: {sheet.no_twin}")
    require_within("seed", seed, 0, 2**63 - 1)
    require_within("age_s", age_s, 0.0, OLDEST_S)
    lattice = lattice_of(sheet.layout)
    calibration = drifted(draw_calibration(sheet, lattice, seed), lattice.couplers, age_s, machine=sheet.id, seed=seed)
    return Twin(sheet, lattice, calibration, mechanisms_of(sheet), seed)
